//! The adapter's thread: takes observations, works as long as its share of a core lasts, hands heads over.
//!
//! ```text
//!   estimate ── observations ──▶ Worker ── heads ──▶ estimate
//!                            ▲ │
//!      Zenoh ── commands ────┘ └── report ──▶ publish
//! ```
//!
//! No thread waits for it: observations that find no room are left out, a head is taken when the estimate
//! thread looks, and steps that do not fit into the budget are dropped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::control::Control;
use super::state::{Frozen, State};
use super::{AdaptConfig, Adapter, Command, Mode, Observation, Report};
use crate::base::clock::{Clock, MonoNs};
use crate::base::mailbox::{Mailbox, Put};
use crate::base::slots::Receiver;
use crate::base::step::Step;
use crate::capture::thread::words;
use crate::lift::head::Head;
use crate::motion::mount::{MountChange, MountFinder};
use crate::sys::rt::{stand_back, thread_cpu_ns};

/// Longest sleep of the thread; a observation wakes it earlier.
const WAIT: Duration = Duration::from_millis(20);

/// Most of the budget that is saved up, seconds of processor time: a decision of the guard.
const SAVED_MAX_S: f32 = 0.05;

/// Each command may write a file, so of a peer that sends them without end one a second is done.
const COMMAND_EVERY: Duration = Duration::from_secs(1);

/// Commands that may be done at once after a quiet time: as many as wait.
const COMMANDS_AT_ONCE: u32 = 8;

/// What a command is answered with that is done, but where nothing is kept.
const NOT_KEPT: &str = "until a restart: adapt.state is not set, so nothing is kept";

/// What the thread and the others hand each other.
#[derive(Debug, Default)]
pub struct Link {
    /// Heads for the estimate thread.
    pub heads: Mailbox<Arc<Head>>,
    /// Heads that the estimate thread no longer needs: freed here, not there.
    pub retired: Mailbox<Arc<Head>>,
    /// Its state, for the publisher.
    pub reports: Mailbox<Report>,
    /// People of frames that found no room.
    pub untold: AtomicU64,
    /// Times that the camera was moved.
    pub moved: AtomicU64,
}

/// What learns: the [`Adapter`], or what a test puts in its place.
pub trait Learn {
    /// As [`Adapter::networks`].
    fn networks(&self) -> &str;
    /// As [`Adapter::take`].
    fn take(&mut self, observation: &Observation);
    /// As [`Adapter::work`].
    fn work(&mut self) -> bool;
    /// As [`Adapter::decide`].
    fn decide(&mut self) -> Option<Arc<Head>>;
    /// As [`Adapter::obey`].
    ///
    /// # Errors
    ///
    /// Why it cannot be done.
    fn obey(&mut self, command: Command) -> Result<Option<Arc<Head>>, &'static str>;
    /// As [`Adapter::report`].
    fn report(&self) -> Report;
    /// As [`Adapter::frozen`].
    fn frozen(&self) -> Option<Frozen>;
    /// As [`Adapter::state`].
    fn state(&self) -> Option<State>;
    /// As [`Adapter::resume`].
    #[must_use = "the head that is in use from now on"]
    fn resume(&mut self, state: &State) -> Option<Arc<Head>>;
}

impl Learn for Adapter {
    fn networks(&self) -> &str {
        Self::networks(self)
    }
    fn take(&mut self, observation: &Observation) {
        Self::take(self, observation);
    }
    fn work(&mut self) -> bool {
        Self::work(self)
    }
    fn decide(&mut self) -> Option<Arc<Head>> {
        Self::decide(self)
    }
    fn obey(&mut self, command: Command) -> Result<Option<Arc<Head>>, &'static str> {
        Self::obey(self, command)
    }
    fn report(&self) -> Report {
        Self::report(self)
    }
    fn frozen(&self) -> Option<Frozen> {
        Self::frozen(self)
    }
    fn state(&self) -> Option<State> {
        Self::state(self)
    }
    fn resume(&mut self, state: &State) -> Option<Arc<Head>> {
        Self::resume(self, state)
    }
}

/// The adapter and what it needs on the device.
#[derive(Debug)]
pub struct Worker<A = Adapter> {
    adapter: A,
    share: Share,
    path: Option<PathBuf>,
    link: Arc<Link>,
    control: Option<Arc<Control>>,
    /// A head that found the mailbox taken.
    pending: Option<Arc<Head>>,
    /// Tells whether the camera was moved; `None` where that is of no interest.
    mount: Option<MountFinder>,
    chores: Chores,
}

/// How much processor time there is for learning: decided from times alone.
#[derive(Debug)]
struct Share {
    /// Seconds of processor time for each second.
    rate: f32,
    saved_s: f32,
    last: MonoNs,
}

impl Share {
    const fn new(core_share: f32, now: MonoNs) -> Self {
        Self {
            rate: core_share,
            saved_s: SAVED_MAX_S,
            last: now,
        }
    }

    /// What there is at `now`, seconds; below zero where more was spent.
    fn at(&mut self, now: MonoNs) -> f32 {
        let passed_s = now.since(self.last).as_secs_f32();
        self.last = now;
        self.saved_s = (self.saved_s + self.rate * passed_s).min(SAVED_MAX_S);
        self.saved_s
    }

    fn spent(&mut self, spent_s: f32) {
        self.saved_s -= spent_s;
    }
}

/// What of learning is worth a writing: what changed since the last tells whether another is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    steps: u64,
    frozen: Option<Frozen>,
}

/// When to write, and which command is done: decided from events and times alone, without a file or a clock.
#[derive(Debug)]
struct Chores {
    /// What was written last; `None` if that failed.
    written: Option<Mark>,
    written_at: MonoNs,
    /// Time between two writings of what was learned.
    write_every: Duration,
    /// How far the commands done so far reach ahead of [`COMMAND_EVERY`].
    commands_until: MonoNs,
    mode: Mode,
}

impl Chores {
    const fn new(mark: Mark, mode: Mode, write_every: Duration, now: MonoNs) -> Self {
        Self {
            written: Some(mark),
            written_at: now,
            write_every,
            commands_until: MonoNs(0),
            mode,
        }
    }

    /// Whether a command may be done now.
    fn may_obey(&self, now: MonoNs) -> bool {
        self.commands_until <= now.plus(COMMAND_EVERY * (COMMANDS_AT_ONCE - 1))
    }

    /// A command is done.
    fn obeyed(&mut self, now: MonoNs) {
        self.commands_until = self.commands_until.max(now).plus(COMMAND_EVERY);
    }

    /// Whether it is time to write what has changed.
    fn is_write_due(&self, mark: Mark, now: MonoNs) -> bool {
        self.has_changed(mark) && now.since(self.written_at) >= self.write_every
    }

    fn has_changed(&self, mark: Mark) -> bool {
        self.written != Some(mark)
    }

    /// Takes how a writing of `mark` went.
    const fn wrote(&mut self, mark: Mark, good: bool, now: MonoNs) {
        self.written = if good { Some(mark) } else { None };
        self.written_at = now;
    }

    /// Whether the mode is another one than at the last call.
    fn is_new(&mut self, mode: Mode) -> bool {
        std::mem::replace(&mut self.mode, mode) != mode
    }
}

impl<A: Learn> Worker<A> {
    /// Takes up what was kept at `config.state`. A file that is broken or belongs to other networks is
    /// named in the log and left where it is until something has been learned; learning then starts again.
    pub fn new(config: &AdaptConfig, mut adapter: A, now: MonoNs) -> Self {
        let link = Arc::<Link>::default();
        if let Some(path) = &config.state {
            let wrong = |path: &std::path::Path, error: &super::state::StateError| {
                log::warn!("{}: {error}; going on without it", path.display());
            };
            if let Some(state) = State::read(path, adapter.networks(), wrong) {
                log::info!("{}: continuing after {} steps", path.display(), state.steps);
                if let Some(head) = adapter.resume(&state) {
                    let generation = head.tag.generation;
                    log::info!("adaptation: frozen with generation {generation}, until thaw");
                    // Before the estimate thread runs, so the mailbox is free.
                    let _ = link.heads.put(head);
                }
            }
        }
        let write_every = Duration::from_secs(config.state_every_s.into());
        let report = adapter.report();
        let mode = report.mode;
        // What is published first is what was kept, though it is asked for before this thread has run.
        let _ = link.reports.put(report);
        let chores = Chores::new(mark_of(&adapter), mode, write_every, now);
        Self {
            adapter,
            share: Share::new(config.core_share, now),
            path: config.state.clone(),
            link,
            control: None,
            pending: None,
            mount: config.restart_if_moved.then(MountFinder::default),
            chores,
        }
    }

    /// What others hold of it.
    pub fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// From now on does what comes in on `control`.
    pub fn obey(&mut self, control: Arc<Control>) {
        self.control = Some(control);
    }

    /// Learns until `ended` is set, then writes what was learned.
    pub fn run(
        mut self,
        mut observations: Receiver<'_, Observation>,
        clock: &Clock,
        ended: &AtomicBool,
    ) {
        if let Err(error) = stand_back() {
            log::debug!("learning keeps its priority: {error}");
        }
        loop {
            let ending = ended.load(Ordering::Acquire);
            match self.step(&mut observations, ending, clock.now(), &mut thread_cpu_ns) {
                Step::Again => {}
                Step::Wait(most) => observations.wait(most),
                Step::Left(()) => return,
            }
        }
    }

    /// Takes the observations that have come, works while there is time for it, and does what is due beside. `ending`: what
    /// tells it of people has left. `cpu_ns` is the processor time of this thread.
    pub fn step(
        &mut self,
        observations: &mut Receiver<'_, Observation>,
        ending: bool,
        now: MonoNs,
        cpu_ns: &mut dyn FnMut() -> u64,
    ) -> Step {
        let budget_s = self.share.at(now);
        let begun = cpu_ns();
        while let Some(observation) = observations.take() {
            self.watch_mount(&observation, now);
            self.adapter.take(&observation);
            observations.give_back(observation);
        }
        let taken_s = seconds(cpu_ns() - begun);
        let spent_s = self.work(budget_s - taken_s, cpu_ns);
        self.share.spent(taken_s + spent_s);
        self.poll(now);
        if ending {
            self.leave(now);
            return Step::Left(());
        }
        Step::Wait(WAIT)
    }

    /// What was learned belongs to where the camera was: it begins again where people tell that it was moved. While it is
    /// frozen nothing changes, so that is only told.
    fn watch_mount(&mut self, observation: &Observation, now: MonoNs) {
        let Some(mount) = &mut self.mount else { return };
        match mount.add(observation.time, observation.id, &observation.rays) {
            Some(MountChange::Found(found)) => log::debug!(
                "people say that the camera is {:.2} m high and looks {:.1} degrees down",
                found.mount.height_m,
                found.mount.down_deg
            ),
            Some(MountChange::Moved) => {
                self.link.moved.fetch_add(1, Ordering::Relaxed);
                if self.adapter.frozen().is_some() {
                    log::warn!("the camera was moved; adaptation is frozen and stays as it is");
                    return;
                }
                log::warn!("the camera was moved: what was learned is forgotten");
                if let Err(error) = self.obey_one(Command::Reset, now) {
                    log::error!("{error}");
                }
            }
            None => {}
        }
    }

    /// Works while `budget_s` lasts; gives the processor time that it took, seconds.
    fn work(&mut self, budget_s: f32, cpu_ns: &mut dyn FnMut() -> u64) -> f32 {
        let begun = cpu_ns();
        let mut spent_s = || seconds(cpu_ns() - begun);
        while spent_s() < budget_s && self.adapter.work() {}
        if let Some(head) = self.adapter.decide() {
            self.hand_over(head);
        }
        spent_s()
    }

    fn hand_over(&mut self, head: Arc<Head>) {
        match self.link.heads.put(head) {
            Put::Stored | Put::Replaced(_) => self.pending = None,
            Put::Busy(head) => self.pending = Some(head),
        }
    }

    /// Commands, what is to be handed over again, what is to be said and written.
    fn poll(&mut self, now: MonoNs) {
        if let Some(head) = self.pending.take() {
            self.hand_over(head);
        }
        drop(self.link.retired.take());
        self.obey_next(now);
        let report = self.adapter.report();
        if self.chores.is_new(report.mode) {
            match report.finding {
                Some(found) => log::info!(
                    "adaptation: {}, generation {}; error on synthetic views {:.0} mm, the factory head's {:.0} mm",
                    report.mode.name(),
                    report.generation,
                    1e3 * found.candidate_m,
                    1e3 * found.factory_m
                ),
                None => log::info!("adaptation: {}", report.mode.name()),
            }
        }
        // Where the publisher is just taking, the next one will do.
        let _ = self.link.reports.put(report);
        if self.chores.is_write_due(mark_of(&self.adapter), now) {
            self.log_write(now);
        }
    }

    /// Does the oldest command that waits, and answers it.
    fn obey_next(&mut self, now: MonoNs) {
        let Some(control) = &self.control else { return };
        // A command that comes too soon waits in the queue.
        if !self.chores.may_obey(now) {
            return;
        }
        let Some(order) = control.take() else { return };
        self.chores.obeyed(now);
        let command = order.command;
        let result = self.obey_one(command, now);
        match &result {
            Ok(_) => log::info!("adaptation: {}", command.name()),
            Err(why) => log::warn!("adaptation: {}: {why}", command.name()),
        }
        order.answer(result);
    }

    /// Does a command; returns details, or why it was not done.
    fn obey_one(&mut self, command: Command, now: MonoNs) -> Result<Option<&'static str>, String> {
        if let Some(head) = self.adapter.obey(command)? {
            self.hand_over(head);
        }
        if command == Command::Reset {
            self.forget(now)?;
        }
        if !self.chores.has_changed(mark_of(&self.adapter)) && command != Command::Snapshot {
            return Ok(None);
        }
        self.write(now)
    }

    /// Writes what has changed, and leaves no peer waiting for an answer.
    fn leave(&mut self, now: MonoNs) {
        while let Some(order) = self.control.as_ref().and_then(|control| control.take()) {
            order.answer(Err("the daemon is stopping".into()));
        }
        if self.chores.has_changed(mark_of(&self.adapter)) {
            self.log_write(now);
        }
    }

    /// What was kept is not to come back.
    fn forget(&mut self, now: MonoNs) -> Result<(), String> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        self.chores.wrote(
            Mark {
                steps: 0,
                frozen: None,
            },
            true,
            now,
        );
        super::state::remove(path)
            .map_err(|error| format!("{}: the learned weights may come back", words(&error)))
    }

    /// As [`Self::write`], for a time when no peer waits for an answer.
    fn log_write(&mut self, now: MonoNs) {
        if let Err(error) = self.write(now) {
            log::error!("{error}");
        }
    }

    /// Writes what there is to keep; returns details.
    fn write(&mut self, now: MonoNs) -> Result<Option<&'static str>, String> {
        let mark = mark_of(&self.adapter);
        self.chores.wrote(mark, true, now);
        let Some(path) = &self.path else {
            return Ok(Some(NOT_KEPT));
        };
        // Nothing was learned, so what may lie there is not to be replaced.
        let Some(state) = self.adapter.state() else {
            return Ok(Some("nothing was learned yet, so nothing was written"));
        };
        state
            .write(path, self.adapter.networks())
            .map_err(|error| {
                self.chores.wrote(mark, false, now);
                format!("{}: the learned weights are not saved", words(&error))
            })?;
        Ok(None)
    }
}

/// A few milliseconds of processor time.
#[expect(clippy::cast_precision_loss, reason = "a few milliseconds")]
fn seconds(cpu_ns: u64) -> f32 {
    cpu_ns as f32 * 1e-9
}

fn mark_of(adapter: &impl Learn) -> Mark {
    Mark {
        steps: adapter.report().steps,
        frozen: adapter.frozen(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::adapt::control::Outcome;
    use crate::adapt::observation::tests::observation;
    use crate::estimate::{EstimateConfig, Poser};
    use crate::motion::mount::tests::{Room, mount};

    #[test]
    fn how_often_it_is_written_is_a_key_with_a_range() {
        let config: AdaptConfig = toml::from_str("state_every_s = 3600").unwrap();
        config.validate().unwrap();
        assert_eq!(config.state_every_s, 3600);
        for wrong in [0, 9, 86_401] {
            let config = AdaptConfig {
                state_every_s: wrong,
                ..AdaptConfig::default()
            };
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("adapt.state_every_s"), "{error}");
        }
    }

    fn worker(path: &std::path::Path) -> Worker {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config.semantics.enabled = false;
        config.adapt.state = Some(path.to_owned());
        let adapter = Poser::open(&config).unwrap().adapter(1).unwrap().unwrap();
        Worker::new(&config.adapt, adapter, MonoNs(0))
    }

    #[test]
    fn an_unreadable_file_stays_until_something_was_learned_or_a_reset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.adapted");
        std::fs::write(&path, "of another program").unwrap();
        let mut worker = worker(&path);
        assert!(
            worker
                .write(MonoNs(1))
                .unwrap()
                .unwrap()
                .contains("nothing was learned")
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"of another program");
        worker.forget(MonoNs(2)).unwrap();
        assert!(!path.exists());
        // Where nothing is kept, it is not tried again and again.
        worker.path = None;
        assert_eq!(worker.write(MonoNs(3)), Ok(Some(NOT_KEPT)));
        assert!(!worker.chores.has_changed(mark_of(&worker.adapter)));
    }

    fn order(control: &Control, command: Command) -> mpsc::Receiver<Outcome> {
        let mut cbor = minicbor::Encoder::new(Vec::new());
        cbor.map(1)
            .unwrap()
            .str("command")
            .unwrap()
            .str(command.name())
            .unwrap();
        let (tell, told) = mpsc::channel();
        let answer = Box::new(move |outcome: &Outcome| tell.send(outcome.clone()).unwrap());
        control.receive(&cbor.into_writer(), Some(answer));
        told
    }

    #[test]
    fn commands_in_a_row_are_all_done_in_their_order_and_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.adapted");
        let mut worker = worker(&path);
        let control = Arc::<Control>::default();
        worker.obey(Arc::clone(&control));
        // Sent before the thread looks, as by a script.
        let sent = [
            Command::Freeze,
            Command::Snapshot,
            Command::RollBack,
            Command::Thaw,
        ];
        let told = sent.map(|command| order(&control, command));
        for _ in sent {
            worker.poll(MonoNs(1));
        }
        let results = told.map(|told| told.try_recv().expect("it is answered").result);
        assert_eq!(results[0], Ok(None));
        assert_eq!(results[1], Ok(None));
        assert!(results[2].as_ref().unwrap_err().contains("no earlier head"));
        assert_eq!(results[3], Ok(None));
        assert_eq!(worker.adapter.frozen(), None);
        assert!(path.exists());
    }

    #[test]
    fn frozen_stays_frozen_over_a_restart_and_so_does_thawed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.adapted");
        for (command, frozen) in [
            (Command::Freeze, Some(Frozen::Factory)),
            (Command::Reset, Some(Frozen::Factory)),
            (Command::Thaw, None),
        ] {
            let mut worker = worker(&path);
            let control = Arc::<Control>::default();
            worker.obey(Arc::clone(&control));
            let told = order(&control, command);
            worker.poll(MonoNs(1));
            assert_eq!(told.try_recv().unwrap().result, Ok(None));
            // The power goes: nothing is written at the end.
            drop(worker);
            let next = self::worker(&path);
            assert_eq!(next.adapter.frozen(), frozen, "after {command:?}");
            // Known to the publisher before the thread has run once.
            let report = next.link().reports.take().expect("it is told");
            assert_eq!(report.mode == Mode::Frozen, frozen.is_some());
        }
    }

    #[test]
    fn what_was_learned_is_forgotten_where_the_camera_was_moved_but_not_while_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.adapted");
        for frozen in [true, false] {
            let mut worker = worker(&path);
            let command = if frozen {
                Command::Freeze
            } else {
                Command::Thaw
            };
            worker.obey_one(command, MonoNs(1)).unwrap();
            let mut room = Room::new(mount(2.2, 18.0, 1.0), 5);
            let mut people = 1;
            let mut pass_by = |room: &mut Room, worker: &mut Worker| {
                room.walk(people, 20, |time, id, rays| {
                    let mut walker = observation(time, id);
                    walker.rays = *rays;
                    worker.watch_mount(&walker, time);
                });
                people += 20;
            };
            pass_by(&mut room, &mut worker);
            let moved = |worker: &Worker| worker.link.moved.load(Ordering::Relaxed);
            assert_eq!(moved(&worker), 0);
            assert!(path.exists());
            room.mount = mount(2.2, 30.0, -5.0);
            pass_by(&mut room, &mut worker);
            assert_eq!(moved(&worker), 1);
            assert_eq!(path.exists(), frozen);
            assert_eq!(worker.adapter.frozen().is_some(), frozen);
        }
    }

    #[test]
    fn a_state_that_cannot_be_written_is_the_answer_and_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/front.adapted");
        let mut worker = worker(&path);
        let why = worker.obey_one(Command::Freeze, MonoNs(1)).unwrap_err();
        assert!(
            why.contains("cannot be written") && why.contains("not saved"),
            "{why}"
        );
        let mark = mark_of(&worker.adapter);
        assert!(!worker.chores.is_write_due(mark, MonoNs(1)));
        assert!(
            worker
                .chores
                .is_write_due(mark, MonoNs(1).plus(worker.chores.write_every))
        );
    }

    #[test]
    fn a_flood_of_commands_is_done_at_one_a_second() {
        let mut chores = Chores::new(
            Mark {
                steps: 0,
                frozen: None,
            },
            Mode::Waiting,
            Duration::from_mins(1),
            MonoNs(0),
        );
        let done = |chores: &mut Chores, ms: std::ops::Range<u64>| {
            let at = |ms| MonoNs(1).plus(Duration::from_millis(ms));
            let may = ms.filter(|ms| {
                let may = chores.may_obey(at(*ms));
                if may {
                    chores.obeyed(at(*ms));
                }
                may
            });
            may.count()
        };
        assert_eq!(done(&mut chores, 0..100), 8);
        assert_eq!(done(&mut chores, 100..10_100), 10);
        // After a quiet time as many at once as before.
        assert_eq!(done(&mut chores, 60_000..60_010), 8);
    }

    #[test]
    fn when_the_daemon_leaves_no_peer_waits_for_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(&folder.path().join("front.adapted"));
        let control = Arc::<Control>::default();
        worker.obey(Arc::clone(&control));
        let told = order(&control, Command::Freeze);
        worker.leave(MonoNs(1));
        assert!(
            told.try_recv()
                .unwrap()
                .result
                .unwrap_err()
                .contains("stopping")
        );
    }
}
