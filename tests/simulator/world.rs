//! All threads of the daemon on one, in an order that the seed draws, on a clock that stands between two turns.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use poised::adapt::control::{Control, Outcome};
use poised::adapt::thread::Worker;
use poised::adapt::{Command, Method, Observation};
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::{FRAME_SLOTS, OBSERVATION_SLOTS, POSE_SLOTS};
use poised::base::slots::{Newest, Queued, Receiver};
use poised::base::step::Step;
use poised::camera::Calibration;
use poised::capture::thread::{Capturing, Ended, Reopen, Shared as CaptureShared};
use poised::counters::{Counters, DropReason as Reason};
use poised::daemon::estimating::{Context, Estimating, Learner};
use poised::engine::EngineStatus;
use poised::estimate::{EstimateConfig, Estimator, Poser};
use poised::frame::Frame;
use poised::lift::head::Head;
use poised::lift::model::NetworkBackbone;
use poised::output::{PublishConfig, Publisher};
use poised::pose::PoseSample;

use super::air::Air;
use super::device::{Device, Plug, SIZE_PX};
use super::heap::live_bytes;
use super::ledger::{Ledger, Shared};
use super::people::{Knowing, Restless, Same};
use super::plan::{Plan, chance, spell};

/// Turns after which a run that does not end is given up.
const TURNS_MAX: u32 = 200_000;

/// The daemon has left so long after it was asked to.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// A camera is asked again after so long without a frame, as by its own wait.
const CAMERA_WAIT: Duration = Duration::from_millis(100);

/// Memory that may come and go while the daemon runs: heads, texts of errors, messages, and what the ledger writes down.
const GROWTH_BYTES_MAX: isize = 4 << 20;

/// Frames that are neither published nor counted: one waits, one is looked at, and poses wait for the publisher.
const IN_FLIGHT_MAX: u64 = 2 + POSE_SLOTS as u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Capture,
    Estimate,
    Publish,
    Adapt,
}

const ACTORS: [Actor; 4] = [
    Actor::Capture,
    Actor::Estimate,
    Actor::Publish,
    Actor::Adapt,
];

/// A command that a peer has asked for.
struct Asked {
    command: Command,
    outcome: Arc<Mutex<Vec<Outcome>>>,
}

/// All threads but the one that estimates, and what disturbs them.
struct Others<'a> {
    plan: Plan,
    rng: Rng,
    clock: &'a Clock,
    counters: &'a Counters,
    ledger: Shared,
    plug: Plug,
    stop: &'a AtomicBool,
    frames_ended: &'a AtomicBool,
    poses_ended: &'a AtomicBool,
    capturing: Option<Capturing<'a, 'a>>,
    publisher: Option<Publisher<'a, Air>>,
    poses: Receiver<'a, PoseSample>,
    worker: Option<Worker<Restless>>,
    observations: Receiver<'a, Observation>,
    control: Arc<Control>,
    asked: Vec<Asked>,
    /// When each has its next turn, unless it is woken.
    due: [MonoNs; ACTORS.len()],
    /// Until when each is held up.
    held: [MonoNs; ACTORS.len()],
    /// Whether the capture thread waits in the camera.
    is_at_camera: bool,
    estimating: bool,
    ended: Option<Ended>,
    stop_at: MonoNs,
    stopped_at: Option<MonoNs>,
    left_at: MonoNs,
    cpu_ns: u64,
    base_bytes: isize,
}

impl Others<'_> {
    fn is_alive(&self, actor: Actor) -> bool {
        match actor {
            Actor::Capture => self.capturing.is_some(),
            Actor::Estimate => self.estimating,
            Actor::Publish => self.publisher.is_some(),
            Actor::Adapt => self.worker.is_some(),
        }
    }

    fn all_have_left(&self) -> bool {
        !ACTORS.into_iter().any(|actor| self.is_alive(actor))
    }

    /// When it has its next turn.
    fn turn_of(&self, actor: Actor, now: MonoNs) -> MonoNs {
        let mut due = self.due[actor as usize];
        if actor == Actor::Capture && self.is_at_camera {
            due = due.min(self.plug.lock().ready(now));
        }
        due.max(self.held[actor as usize])
    }

    /// Lets time pass until somebody's turn has come, at most until `until`, and says whose.
    fn choose(&mut self, with_estimate: bool, until: MonoNs) -> Option<Actor> {
        self.disturb();
        let mut now = self.clock.now();
        loop {
            let mut ready = [Actor::Capture; ACTORS.len()];
            let (mut count, mut next) = (0, until);
            for actor in ACTORS {
                if !self.is_alive(actor) || actor == Actor::Estimate && !with_estimate {
                    continue;
                }
                let turn = self.turn_of(actor, now);
                if turn <= now {
                    ready[count] = actor;
                    count += 1;
                }
                next = next.min(turn);
            }
            if count > 0 {
                return Some(ready[self.rng.usize(..count)]);
            }
            if now >= until {
                return None;
            }
            // Now and then nobody is on time.
            let late = if self.rng.u8(0..4) == 0 {
                spell(&mut self.rng, 3)
            } else {
                Duration::ZERO
            };
            now = next.plus(late).min(until);
            self.clock.set(now);
        }
    }

    /// What goes wrong between two turns.
    fn disturb(&mut self) {
        let now = self.clock.now();
        if self.stopped_at.is_some() {
            return;
        }
        if now >= self.stop_at {
            self.ledger.lock().note(now, || "asked to stop".into());
            self.stop.store(true, Ordering::Release);
            self.stopped_at = Some(now);
            return;
        }
        let rates = self.plan.rates;
        if chance(&mut self.rng, rates.unplug) {
            self.ledger.lock().note(now, || "unplugged".into());
            self.plug.lock().unplug(now);
        }
        if chance(&mut self.rng, rates.mute) {
            self.plug.lock().mute(now);
        }
        if chance(&mut self.rng, rates.hold) {
            let actor = ACTORS[self.rng.usize(..ACTORS.len())];
            self.held[actor as usize] = now.plus(spell(&mut self.rng, 1_000));
        }
        if chance(&mut self.rng, rates.freeze) {
            let stands = spell(&mut self.rng, 8_000);
            self.ledger
                .lock()
                .note(now, || format!("all stand still for {stands:?}"));
            self.clock.set(now.plus(stands));
        }
        if self.worker.is_some() && chance(&mut self.rng, rates.command) {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let command = Command::ALL[self.rng.usize(..Command::ALL.len())];
        self.ledger
            .lock()
            .note(self.clock.now(), || format!("a peer asks for {command:?}"));
        let mut message = minicbor::Encoder::new(Vec::new());
        message.map(1).unwrap();
        message.str("command").unwrap().str(command.name()).unwrap();
        let outcome = Arc::<Mutex<Vec<Outcome>>>::default();
        let told = Arc::clone(&outcome);
        let answer = Box::new(move |outcome: &Outcome| told.lock().unwrap().push(outcome.clone()));
        self.control.receive(&message.into_writer(), Some(answer));
        self.asked.push(Asked { command, outcome });
    }

    fn step(&mut self, actor: Actor) {
        let now = self.clock.now();
        match actor {
            Actor::Capture => self.capture(now),
            Actor::Publish => self.publish(now),
            Actor::Adapt => self.adapt(now),
            Actor::Estimate => {}
        }
        self.check();
    }

    fn capture(&mut self, now: MonoNs) {
        let Some(capturing) = &mut self.capturing else {
            return;
        };
        let before = self.counters.captured();
        let step = capturing.step();
        // Opening a camera takes time.
        let now = self.clock.now().max(now);
        let due = match step {
            Step::Again if self.plug.lock().is_open => now.plus(CAMERA_WAIT),
            Step::Again => now,
            Step::Wait(most) => now.plus(most),
            Step::Left(ended) => {
                self.capturing = None;
                self.ended = Some(ended);
                self.frames_ended.store(true, Ordering::Release);
                self.left(now, "capture");
                now
            }
        };
        // Its wait for a frame is the scheduler's.
        self.is_at_camera = step == Step::Again && self.plug.lock().is_open;
        self.due[Actor::Capture as usize] = due;
        if self.counters.captured() != before || self.capturing.is_none() {
            self.wake(Actor::Estimate, now);
        }
    }

    fn publish(&mut self, now: MonoNs) {
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        // As on the thread, the flag is read before the ring is emptied.
        let stopping = self.poses_ended.load(Ordering::Acquire);
        match publisher.step(&mut self.poses, stopping) {
            Step::Again => {}
            Step::Wait(most) => self.due[Actor::Publish as usize] = now.plus(most),
            Step::Left(()) => {
                if let Some(publisher) = self.publisher.take() {
                    publisher.leave();
                }
                self.left(now, "publish");
            }
        }
    }

    fn adapt(&mut self, now: MonoNs) {
        let Some(worker) = &mut self.worker else {
            return;
        };
        let ending = self.poses_ended.load(Ordering::Acquire);
        let cpu_ns = &mut self.cpu_ns;
        let mut spend = || {
            *cpu_ns += 500_000;
            *cpu_ns
        };
        match worker.step(&mut self.observations, ending, now, &mut spend) {
            Step::Again => {}
            Step::Wait(most) => self.due[Actor::Adapt as usize] = now.plus(most),
            Step::Left(()) => {
                self.worker = None;
                self.left(now, "adapt");
            }
        }
    }

    /// The estimate thread had its turn; gives whether that was its last.
    fn has_estimated(&mut self, step: Step) -> bool {
        let now = self.clock.now();
        self.due[Actor::Estimate as usize] = match step {
            Step::Wait(most) => now.plus(most),
            Step::Again | Step::Left(()) => now,
        };
        let has_left = step == Step::Left(());
        if has_left {
            self.estimating = false;
            self.poses_ended.store(true, Ordering::Release);
            self.left(now, "estimate");
        }
        self.wake(Actor::Publish, now);
        self.wake(Actor::Adapt, now);
        self.check();
        has_left
    }

    fn left(&mut self, now: MonoNs, who: &str) {
        self.left_at = now;
        self.ledger.lock().note(now, || format!("{who} has left"));
    }

    /// Somebody has been woken.
    fn wake(&mut self, actor: Actor, now: MonoNs) {
        let due = &mut self.due[actor as usize];
        *due = (*due).min(now.plus(spell(&mut self.rng, 2)));
    }

    /// The others go on for so long while a frame is estimated.
    fn go_on_for(&mut self, time: Duration) {
        let until = self.clock.now().plus(time);
        while self.clock.now() < until {
            match self.choose(false, until) {
                Some(actor) => self.step(actor),
                None => break,
            }
        }
    }

    /// What holds between any two turns.
    fn check(&self) {
        let mut ledger = self.ledger.lock();
        let (given, accounted) = (ledger.frames.len() as u64, accounted(self.counters));
        ledger.check(accounted <= given, || {
            format!("{given} frames were captured, and {accounted} published or counted")
        });
        ledger.check(given <= accounted + IN_FLIGHT_MAX, || {
            format!("{given} frames were captured, and only {accounted} published or counted")
        });
        let stale = self.counters.drops(Reason::Stale);
        let captured = self.counters.captured() + stale;
        ledger.check(captured == given, || {
            format!("the camera gave {given} frames, and {captured} were counted")
        });
        let (lost, bad) = (ledger.lost, ledger.bad);
        let counted = [Reason::LostByCamera, Reason::Short, Reason::Damaged]
            .map(|reason| self.counters.drops(reason));
        ledger.check(counted == [lost, bad[0], bad[1]], || {
            format!("lost, short and damaged are {lost} and {bad:?}; counted: {counted:?}")
        });
        let grown = live_bytes() - self.base_bytes;
        ledger.check(grown <= GROWTH_BYTES_MAX, || {
            format!("{grown} bytes more than at the start")
        });
    }
}

/// Frames that were published or counted.
fn accounted(counters: &Counters) -> u64 {
    let reasons = [
        Reason::PassedOver,
        Reason::Stale,
        Reason::EstimateFailed,
        Reason::PublisherFull,
        Reason::NotSent,
    ];
    let drops = reasons.map(|reason| counters.drops(reason));
    counters.published.get() + drops.iter().sum::<u64>()
}

/// How it ended.
struct End {
    asked: Vec<Asked>,
    stopped_at: Option<MonoNs>,
    left_at: MonoNs,
}

impl End {
    /// What holds once all have left.
    fn check(&self, counters: &Counters, ledger: &mut Ledger) {
        let (given, accounted) = (ledger.frames.len() as u64, accounted(counters));
        ledger.check(given == accounted, || {
            format!("{given} frames were captured, {accounted} published or counted")
        });
        let (failed, counted) = (ledger.failed, counters.drops(Reason::EstimateFailed));
        ledger.check(failed == counted, || {
            format!("{failed} frames failed, {counted} are counted")
        });
        let (unpublished, counted) = (ledger.unpublished(), counters.drops(Reason::NotSent));
        ledger.check(unpublished == counted, || {
            format!("{unpublished} poses were not published, {counted} are counted")
        });
        let (published, counted) = (ledger.published, counters.published.get());
        ledger.check(published == counted, || {
            format!("{published} messages left, {counted} are counted")
        });
        let is_closed = ledger.closed;
        ledger.check(is_closed, || "the session was not closed".into());
        if let Some(stopped) = self.stopped_at {
            let took = self.left_at.since(stopped);
            ledger.check(took <= FAREWELL_MAX, || {
                format!("it left {took:?} after it was asked to")
            });
        }
        let mut done = Vec::new();
        for asked in &self.asked {
            let command = asked.command;
            let outcomes = asked.outcome.lock().unwrap();
            let [outcome] = &outcomes[..] else {
                let count = outcomes.len();
                ledger.wrong(|| format!("{command:?} was answered {count} times"));
                continue;
            };
            let refused = |why: &String| why.contains("wait already") || why.contains("stopping");
            if !outcome.result.as_ref().is_err_and(refused) {
                done.push(command);
            }
        }
        let obeyed = std::mem::take(&mut ledger.obeyed);
        ledger.check(done == obeyed, || {
            format!("peers were told that {done:?} was done, and {obeyed:?} was")
        });
    }
}

/// The shipped head, read once.
fn factory_head() -> Arc<Head> {
    static HEAD: OnceLock<Arc<Head>> = OnceLock::new();
    let head = HEAD.get_or_init(|| {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/models/lifter/head.safetensors"
        );
        Arc::new(Head::from_safetensors(&std::fs::read(file).unwrap()).unwrap())
    });
    Arc::clone(head)
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Turns of all threads.
    pub turns: u64,
    /// Frames that the camera gave.
    pub frames: u64,
    /// Of which so many were looked at.
    pub looked_at: u64,
    /// Messages with poses.
    pub published: u64,
    /// Times the camera was opened again.
    pub reopened: u64,
    /// Commands that peers asked for.
    pub commands: u64,
    /// Runs that ended before they were asked to.
    pub ended: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.turns += other.turns;
        self.frames += other.frames;
        self.looked_at += other.looked_at;
        self.published += other.published;
        self.reopened += other.reopened;
        self.commands += other.commands;
        self.ended += other.ended;
    }
}

/// Runs a seed. With `traced` an error ends with what happened last.
///
/// # Errors
///
/// What must not be.
pub fn run(seed: u64, traced: bool) -> Result<Tally, String> {
    thread_local! {
        static IS_WARM: Cell<bool> = const { Cell::new(false) };
    }
    factory_head();
    // What is made once for all seeds is made in the first.
    if !IS_WARM.replace(true) {
        let _ = run_inside(seed, traced);
    }
    let before = live_bytes();
    let tally = run_inside(seed, traced)?;
    let kept = live_bytes() - before;
    if kept != 0 {
        return Err(format!("{kept} bytes were not given back at the end"));
    }
    Ok(tally)
}

fn config(plan: &Plan) -> EstimateConfig {
    let mut config = EstimateConfig::default();
    config.adapt.method = if plan.learns {
        Method::Replay
    } else {
        Method::Off
    };
    config
}

fn run_inside(seed: u64, traced: bool) -> Result<Tally, String> {
    let plan = Plan::of(seed);
    let ledger = Shared::new(Ledger::new(traced));
    let mut rng = plan.rng(6);
    let start = MonoNs(rng.u64(1 << 40..1 << 50));
    let clock = Arc::new(Clock::standing(start));
    let (counters, config) = (Box::<Counters>::default(), config(&plan));
    let calibration = Calibration::assumed(SIZE_PX.0, SIZE_PX.1);
    let [stop, frames_ended, poses_ended] = [(); 3].map(|()| AtomicBool::new(false));

    // As `daemon::wiring` does it.
    let mut frames =
        Newest::<Frame, { FRAME_SLOTS + 1 }>::new(|| Frame::with_room(SIZE_PX.0, SIZE_PX.1));
    let mut poses = Queued::<PoseSample, { POSE_SLOTS + 1 }>::new(PoseSample::default);
    let mut observations =
        Queued::<Observation, { OBSERVATION_SLOTS + 1 }>::new(Observation::empty);
    let (filler, taker) = frames.split();
    let (sender, receiver) = poses.split();
    let (tell, told) = observations.split();

    let plug = Plug::new(Device::new(&plan, ledger.clone()), &clock);
    let camera = plug.open();
    let opener = plug.clone();
    let mut reopen = move |goes_on: &mut dyn FnMut() -> bool| opener.reopen(goes_on);
    let reopen: &mut Reopen<'_> = &mut reopen;
    let shared = CaptureShared {
        counters: &counters.capture,
        stop: &stop,
        clock: &clock,
    };
    let can_reopen = plan.kind.is_live();
    let capturing = Capturing::new(camera, can_reopen.then_some(reopen), filler, shared);

    let head = factory_head();
    let control = Arc::<Control>::default();
    let worker = plan.learns.then(|| {
        let learner = Restless::new(&plan, ledger.clone(), &clock, Arc::clone(&head));
        let mut worker = Worker::new(&config.adapt, learner, start);
        worker.obey(Arc::clone(&control));
        worker
    });
    let link = worker.as_ref().map(Worker::link);

    let air = Air::new(&plan, ledger.clone(), &clock);
    let engine = Arc::new(EngineStatus::default());
    let mut publisher = Publisher::new(
        &PublishConfig::default(),
        "front",
        engine,
        &clock,
        &counters,
        air,
    );
    if let Some(link) = &link {
        publisher.tell_of(config.adapt.method, Arc::clone(link));
    }

    let others = RefCell::new(Others {
        rng,
        clock: &clock,
        counters: &counters,
        ledger: ledger.clone(),
        plug,
        stop: &stop,
        frames_ended: &frames_ended,
        poses_ended: &poses_ended,
        capturing: Some(capturing),
        publisher: Some(publisher),
        poses: receiver,
        worker,
        observations: told,
        control,
        asked: Vec::new(),
        due: [start; ACTORS.len()],
        held: [start; ACTORS.len()],
        is_at_camera: true,
        estimating: true,
        ended: None,
        stop_at: start.plus(plan.stop_after),
        stopped_at: None,
        left_at: start,
        cpu_ns: 0,
        base_bytes: 0,
        plan: plan.clone(),
    });
    let backbone = NetworkBackbone::new(Box::new(Same::new(&plan)), 0, "simulated".into());
    let poser = Poser::new(&config, backbone, head, None);
    let meanwhile = |time| others.borrow_mut().go_on_for(time);
    let detector = Knowing::new(&plan, ledger.clone(), &clock, meanwhile);
    let estimator = Estimator::new(detector, poser);
    let learner = link.as_deref().map(|link| Learner { tell, link });
    let context = Context {
        clock: &clock,
        counters: &counters,
        frames_ended: &frames_ended,
        stop: &stop,
    };
    let mut estimating = Some(Estimating::new(
        estimator,
        &calibration,
        taker,
        sender,
        learner,
        context,
    ));
    others.borrow_mut().base_bytes = live_bytes();

    let turns = turns(&others, &mut estimating, &ledger)?;
    drop(estimating);
    let mut others = others.into_inner();
    let looked_at = ledger.lock().looked_at;
    let mut tally = Tally {
        turns,
        looked_at,
        reopened: counters.capture.reopened.load(Ordering::Relaxed),
        commands: others.asked.len() as u64,
        ended: u64::from(others.ended != Some(Ended::Stopped)),
        ..Tally::default()
    };
    let end = End {
        asked: std::mem::take(&mut others.asked),
        stopped_at: others.stopped_at,
        left_at: others.left_at,
    };
    drop(others);
    // As `daemon::wiring` does it once all threads have left.
    if frames.left_behind() {
        counters.dropped(Reason::PassedOver, 1);
    }
    let mut ledger = ledger.lock();
    end.check(&counters, &mut ledger);
    (tally.frames, tally.published) = (ledger.frames.len() as u64, ledger.published);
    match ledger.take_wrong() {
        Some(wrong) => Err(format!("{wrong}\n{}", ledger.trace())),
        None => Ok(tally),
    }
}

/// Lets all have their turns until they have left; gives how many there were.
fn turns(
    others: &RefCell<Others<'_>>,
    estimating: &mut Option<Estimating<'_, Knowing<'_>>>,
    ledger: &Shared,
) -> Result<u64, String> {
    for turn in 0..TURNS_MAX {
        let mut ledger = ledger.lock();
        if let Some(wrong) = ledger.take_wrong() {
            return Err(format!("{wrong}\n{}", ledger.trace()));
        }
        drop(ledger);
        if others.borrow().all_have_left() {
            return Ok(turn.into());
        }
        let actor = others.borrow_mut().choose(true, MonoNs(u64::MAX));
        match (actor, &mut *estimating) {
            (Some(Actor::Estimate), Some(thread)) => {
                let step = thread.step();
                if others.borrow_mut().has_estimated(step) {
                    *estimating = None;
                }
            }
            (Some(actor), _) => others.borrow_mut().step(actor),
            (None, _) => {}
        }
    }
    Err(format!(
        "it has not ended after {TURNS_MAX} turns\n{}",
        ledger.lock().trace()
    ))
}
