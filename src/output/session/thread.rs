//! The thread of sessions: starts them, ends them, renders and keeps their summaries, and answers.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::desk::{
    Ask, Last, Request, SessionCommand, SessionDesk, SessionOutcome, SessionState, quoted,
};
use super::keep::Keep;
use super::{Link, Offered, Rendered};
use crate::base::clock::{Clock, MonoNs, unix_ns};
use crate::motion::session::{Collector, Ended, Plan, Progress};

/// Longest time between two looks at whether a session has reached its longest time.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The age of kept sessions is looked after so often.
const TIDY_EVERY: Duration = Duration::from_mins(10);

/// What sessions there may be and where they go.
pub(super) struct Place {
    pub camera: String,
    pub longest: Duration,
    pub offered: Offered,
    pub keep: Option<Keep>,
}

/// What is told of the session that runs, or of the last one.
struct Told {
    started: MonoNs,
    state: SessionState,
}

/// The thread's state.
pub(super) struct Worker {
    link: Arc<Link>,
    desk: Arc<SessionDesk>,
    clock: Arc<Clock>,
    place: Place,
    told: Option<Told>,
    tidied: Option<MonoNs>,
}

impl Worker {
    pub fn new(link: Arc<Link>, desk: Arc<SessionDesk>, clock: Arc<Clock>, place: Place) -> Self {
        Self {
            link,
            desk,
            clock,
            place,
            told: None,
            tidied: None,
        }
    }

    /// Answers requests until the daemon ends, and a session that runs then ends with it.
    pub fn run(mut self, asks: &Receiver<Ask>) {
        while !self.link.stop.load(Ordering::Acquire) {
            self.tidy();
            match asks.recv_timeout(LOOK_EVERY) {
                Ok(Ask::Request(request, answer)) => answer(&self.obey(request)),
                Ok(Ask::Leave) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.cut(),
            }
        }
        if self.runs() {
            self.end(Ended::Shutdown);
        }
        while let Ok(ask) = asks.try_recv() {
            if let Ask::Request(request, answer) = ask {
                let why = "the daemon is shutting down".to_owned();
                answer(&self.outcome(request.command, Err(why)));
            }
        }
    }

    /// Does what is asked.
    pub fn obey(&mut self, request: Request) -> SessionOutcome {
        self.cut();
        let command = request.command;
        let result = match command {
            SessionCommand::Start => self.start(request),
            SessionCommand::Stop if self.runs() => Ok(self.end(Ended::Stopped)),
            SessionCommand::Stop => Err(match &self.told {
                Some(told) => format!(
                    "no session runs: the last one {}; its summary can still be asked for",
                    match told.state.ended {
                        Some(Ended::Cut) => "ended by itself at session.max_minutes",
                        _ => "was stopped already",
                    }
                ),
                None => "no session runs".to_owned(),
            }),
            SessionCommand::Status => Ok(None),
        };
        self.outcome(command, result)
    }

    fn outcome(
        &mut self,
        command: SessionCommand,
        result: Result<Option<String>, String>,
    ) -> SessionOutcome {
        self.look();
        SessionOutcome {
            command: Some(command),
            result,
            session: self.told.as_ref().map(|told| told.state.clone()),
        }
    }

    fn runs(&self) -> bool {
        self.link.running.load(Ordering::Acquire)
    }

    /// The lock covers one frame, which leaves nothing half where it panics: the session is over then.
    fn under_way(&self) -> MutexGuard<'_, Option<Box<Collector>>> {
        let under_way = self.link.under_way.lock();
        under_way.unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what is told of a session that runs up to date.
    fn look(&mut self) {
        let progress = self
            .under_way()
            .as_ref()
            .map(|collector| collector.progress());
        if let (Some(told), Some(progress)) = (&mut self.told, progress) {
            told.state.progress = progress;
            told.state.duration = self.clock.now().since(told.started);
        }
    }

    fn start(&mut self, request: Request) -> Result<Option<String>, String> {
        if let (true, Some(told)) = (self.runs(), &self.told) {
            let (name, since) = (&told.state.exercise, self.clock.now().since(told.started));
            let seconds = since.as_secs();
            return Err(format!(
                "a session of {name} has been running for {seconds} s: stop it first"
            ));
        }
        let Offered { exercises, usual } = &self.place.offered;
        let name = request.exercise.as_ref().or(usual.as_ref()).ok_or(
            "exercise: missing, and the configuration has no [exercise] name in its place",
        )?;
        let exercise = exercises.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = exercises.keys().map(String::as_str).collect();
            let known = known.join(", ");
            format!("exercise = {}: must be one of {known}", quoted(name))
        })?;
        let plan = Plan {
            exercise,
            person: request.person,
            label: request.label,
            longest: self.place.longest,
        };
        let state = SessionState {
            exercise: plan.exercise.name.clone(),
            person: plan.person,
            label: plan.label.clone(),
            started_unix_ns: unix_ns(),
            duration: Duration::ZERO,
            ended: None,
            progress: Progress::default(),
        };
        // Made before the lock is taken, as that takes longer than a frame may.
        let started = self.clock.now();
        let collector = Box::new(Collector::new(plan, started));
        log::info!("session: {} started", state.exercise);
        self.told = Some(Told { started, state });
        self.desk.set_last(Last::Running);
        self.link.missed.store(0, Ordering::Relaxed);
        *self.under_way() = Some(collector);
        self.link.running.store(true, Ordering::Release);
        Ok(None)
    }

    /// Ends a session that has reached its longest time.
    fn cut(&mut self) {
        let now = self.clock.now();
        let is_over = |told: &Told| now.since(told.started) >= self.place.longest;
        if self.runs() && self.told.as_ref().is_some_and(is_over) {
            self.end(Ended::Cut);
        }
    }

    /// Ends the session that runs; what there is to say about it.
    fn end(&mut self, ended: Ended) -> Option<String> {
        let now = self.clock.now();
        self.link.running.store(false, Ordering::Release);
        let collector = self.under_way().take()?;
        let missed = self.link.missed.load(Ordering::Relaxed);
        let progress = collector.progress();
        let summary = collector.finish(now, ended, missed);
        let started_unix_ns = self.told.as_ref().map(|told| told.state.started_unix_ns);
        let rendered = Arc::new(Rendered::of(&summary, &self.place.camera, started_unix_ns));
        let whole = summary.people.iter().map(|person| person.whole);
        let partials = summary.people.iter().map(|person| person.partials);
        let progress = Progress {
            whole: whole.fold(0, u32::saturating_add),
            partials: partials.fold(0, u32::saturating_add),
            ..progress
        };
        log::info!(
            "session: {} {} after {:.0} s: {} whole, {} partial repetitions",
            summary.plan.exercise.name,
            ended.name(),
            summary.duration.as_secs_f64(),
            progress.whole,
            progress.partials
        );
        if let Some(told) = &mut self.told {
            told.state.duration = summary.duration;
            told.state.ended = Some(ended);
            told.state.progress = progress;
        }
        self.desk.set_last(Last::Ended(Arc::clone(&rendered)));
        let keep = self.place.keep.as_ref()?;
        match keep.store(
            started_unix_ns.unwrap_or_default() / 1_000_000_000,
            &rendered,
        ) {
            Ok(path) => {
                log::info!("session: {}", path.display());
                None
            }
            Err(error) => {
                log::warn!("session: {}: not kept: {error}", keep.folder().display());
                Some(format!(
                    "the summary can be asked for, but is not kept in session.folder: {error}"
                ))
            }
        }
    }

    /// Removes kept sessions that are too old.
    fn tidy(&mut self) {
        let now = self.clock.now();
        let Some(keep) = &self.place.keep else {
            return;
        };
        if self.tidied.is_some_and(|last| now.since(last) < TIDY_EVERY) {
            return;
        }
        self.tidied = Some(now);
        if let Err(error) = keep.remove_surplus(None) {
            log::warn!("session: {}: {error}", keep.folder().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::super::config::SessionsConfig;
    use super::*;
    use crate::motion::exercise::ExerciseConfig;

    const BEGUN: MonoNs = MonoNs(5_000_000_000);

    fn worker(keep: Option<Keep>) -> Worker {
        let clock = Arc::new(Clock::standing(BEGUN));
        // Requests are given to the worker itself.
        let (asks, _) = sync_channel(1);
        let place = Place {
            camera: "front".into(),
            longest: Duration::from_mins(1),
            offered: Offered {
                exercises: ExerciseConfig::default().all().unwrap(),
                usual: Some("lunge".into()),
            },
            keep,
        };
        let desk = SessionDesk::new(asks, Arc::clone(&clock));
        Worker::new(Arc::default(), Arc::new(desk), clock, place)
    }

    fn request(command: SessionCommand, exercise: Option<&str>) -> Request {
        Request {
            command,
            exercise: exercise.map(str::to_owned),
            person: Some(4),
            label: "station 2".into(),
        }
    }

    impl Worker {
        fn ask(&mut self, command: SessionCommand) -> SessionOutcome {
            self.obey(request(command, None))
        }

        fn after(&self, seconds: u64) {
            self.clock.set(BEGUN.plus(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn a_session_that_is_never_stopped_is_cut_and_the_kiosk_is_told_why() {
        let mut worker = worker(None);
        let started = worker.ask(SessionCommand::Start);
        assert_eq!(started.result, Ok(None));
        let session = started.session.unwrap();
        assert_eq!(
            (session.exercise.as_str(), session.person),
            ("lunge", Some(4))
        );
        worker.after(59);
        let session = worker.ask(SessionCommand::Status).session.unwrap();
        assert_eq!((session.ended, session.duration.as_secs()), (None, 59));
        let why = worker.obey(request(SessionCommand::Start, Some("squat")));
        assert_eq!(
            why.result.unwrap_err(),
            "a session of lunge has been running for 59 s: stop it first"
        );
        // Long after, as where no one asked for hours.
        worker.after(9_000);
        worker.cut();
        let session = worker.ask(SessionCommand::Status).session.unwrap();
        assert_eq!(session.ended, Some(Ended::Cut));
        assert_eq!(session.duration, Duration::from_mins(1));
        let why = worker.ask(SessionCommand::Stop).result.unwrap_err();
        assert!(
            why.contains("ended by itself at session.max_minutes"),
            "{why}"
        );
        let summary = worker.desk.summary().unwrap();
        assert!(
            summary.json.contains("\"ended\":\"cut\""),
            "{}",
            summary.json
        );
        assert!(summary.html.contains("It was not stopped"));
    }

    #[test]
    fn the_summary_is_there_until_the_next_session_starts() {
        let mut worker = worker(None);
        assert!(worker.desk.summary().is_err());
        let why = worker.ask(SessionCommand::Stop).result.unwrap_err();
        assert_eq!(why, "no session runs");
        worker.ask(SessionCommand::Start);
        assert!(worker.desk.summary().unwrap_err().contains("stop it first"));
        worker.after(7);
        assert_eq!(worker.ask(SessionCommand::Stop).result, Ok(None));
        // A wrong request costs nothing.
        let wrong = worker.obey(request(SessionCommand::Start, Some("\u{1b}dance")));
        let why = wrong.result.unwrap_err();
        assert!(
            why.starts_with("exercise = \"\\u{1b}dance\": must be one of arm_raise, "),
            "{why}"
        );
        assert_eq!(wrong.session.unwrap().ended, Some(Ended::Stopped));
        let first = worker.desk.summary().unwrap();
        assert!(first.json.contains("\"duration_s\":7.0"), "{}", first.json);
        worker.obey(request(SessionCommand::Start, Some("squat")));
        assert!(worker.desk.summary().is_err());
        worker.ask(SessionCommand::Stop);
        assert!(
            worker
                .desk
                .summary()
                .unwrap()
                .html
                .contains("<h1>Squat</h1>")
        );
    }

    #[test]
    fn a_summary_that_cannot_be_kept_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let bounds = SessionsConfig::default().bounds();
        let mut lost = worker(Some(Keep::new(&file.join("below"), "front", bounds)));
        lost.tidy();
        lost.ask(SessionCommand::Start);
        let note = lost.ask(SessionCommand::Stop).result.unwrap().unwrap();
        assert!(note.contains("is not kept in session.folder"), "{note}");
        assert!(lost.desk.summary().is_ok());
        let mut kept = worker(Some(Keep::new(folder.path(), "front", bounds)));
        kept.ask(SessionCommand::Start);
        assert_eq!(kept.ask(SessionCommand::Stop).result, Ok(None));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn the_end_of_the_daemon_ends_the_session_and_answers_who_waits() {
        let mut worker = worker(None);
        worker.ask(SessionCommand::Start);
        let (ask, asks) = sync_channel(2);
        let (tell, told) = std::sync::mpsc::channel();
        ask.send(Ask::Leave).unwrap();
        let answer = move |outcome: &SessionOutcome| tell.send(outcome.clone()).unwrap();
        ask.send(Ask::Request(
            request(SessionCommand::Stop, None),
            Box::new(answer),
        ))
        .unwrap();
        let desk = Arc::clone(&worker.desk);
        worker.run(&asks);
        let outcome = told.recv().unwrap();
        assert!(outcome.result.unwrap_err().contains("shutting down"));
        assert_eq!(outcome.session.unwrap().ended, Some(Ended::Shutdown));
        assert!(
            desk.summary()
                .unwrap()
                .html
                .contains("the program was shut down")
        );
    }
}
