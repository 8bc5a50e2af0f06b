//! A daemon made for a seed, and run until it has left.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use poised::adapt::control::Control;
use poised::adapt::thread::{Link, Worker};
use poised::adapt::{Method, Observation};
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::{FRAME_SLOTS, OBSERVATION_SLOTS, POSE_SLOTS};
use poised::base::slots::{Filler, Newest, Queued};
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
use super::others::{Actor, End, Others, Threads};
use super::people::{Knowing, Restless, Same};
use super::plan::Plan;

/// Turns after which a run that does not end is given up.
const TURNS_MAX: u32 = 200_000;

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

/// What the threads of a daemon share, and what they are made from.
pub struct Machine {
    pub plan: Plan,
    pub ledger: Shared,
    pub clock: Arc<Clock>,
    pub start: MonoNs,
    pub counters: Box<Counters>,
    config: EstimateConfig,
    calibration: Calibration,
    pub control: Arc<Control>,
    pub plug: Plug,
    pub stop: AtomicBool,
    pub frames_ended: AtomicBool,
    pub poses_ended: AtomicBool,
}

impl Machine {
    fn of(seed: u64, traced: bool) -> Self {
        let plan = Plan::of(seed);
        let ledger = Shared::new(Ledger::new(traced));
        let start = MonoNs(plan.rng(7).u64(1 << 40..1 << 50));
        let clock = Arc::new(Clock::standing(start));
        let mut config = EstimateConfig::default();
        config.adapt.method = if plan.learns {
            Method::Replay
        } else {
            Method::Off
        };
        let [stop, frames_ended, poses_ended] = [(); 3].map(|()| AtomicBool::new(false));
        Self {
            plug: Plug::new(Device::new(&plan, ledger.clone()), &clock),
            calibration: Calibration::assumed(SIZE_PX.0, SIZE_PX.1),
            counters: Box::default(),
            control: Arc::default(),
            plan,
            ledger,
            clock,
            start,
            config,
            stop,
            frames_ended,
            poses_ended,
        }
    }

    fn capturing<'a>(
        &'a self,
        reopen: &'a mut Reopen<'a>,
        filler: Filler<'a, Frame>,
    ) -> Capturing<'a, 'a> {
        let shared = CaptureShared {
            counters: &self.counters.capture,
            stop: &self.stop,
            clock: &self.clock,
        };
        let reopen = self.plan.kind.is_live().then_some(reopen);
        Capturing::new(self.plug.open(), reopen, filler, shared)
    }

    fn worker(&self) -> Option<Worker<Restless>> {
        self.plan.learns.then(|| {
            let ledger = self.ledger.clone();
            let learner = Restless::new(&self.plan, ledger, &self.clock, factory_head());
            let mut worker = Worker::new(&self.config.adapt, learner, self.start);
            worker.obey(Arc::clone(&self.control));
            worker
        })
    }

    fn publisher(&self, link: Option<&Arc<Link>>) -> Publisher<'_, Air> {
        let air = Air::new(&self.plan, self.ledger.clone(), &self.clock);
        let (config, engine) = (PublishConfig::default(), Arc::new(EngineStatus::default()));
        let (clock, counters) = (&self.clock, &self.counters);
        let mut publisher = Publisher::new(&config, "front", engine, clock, counters, air);
        if let Some(link) = link {
            publisher.tell_of(self.config.adapt.method, Arc::clone(link));
        }
        publisher
    }

    fn estimator<'b>(&self, meanwhile: impl FnMut(Duration) + 'b) -> Estimator<Knowing<'b>> {
        let network = Box::new(Same::new(&self.plan));
        let backbone = NetworkBackbone::new(network, 0, "simulated".into());
        let poser = Poser::new(&self.config, backbone, factory_head(), None);
        let ledger = self.ledger.clone();
        let detector = Knowing::new(&self.plan, ledger, &self.clock, meanwhile);
        Estimator::new(detector, poser)
    }

    fn context(&self) -> Context<'_> {
        Context {
            clock: &self.clock,
            counters: &self.counters,
            frames_ended: &self.frames_ended,
            stop: &self.stop,
        }
    }
}

/// A daemon from its start to its end; the queues as in `daemon::wiring`.
fn run_inside(seed: u64, traced: bool) -> Result<Tally, String> {
    let machine = Machine::of(seed, traced);
    let mut frames =
        Newest::<Frame, { FRAME_SLOTS + 1 }>::new(|| Frame::with_room(SIZE_PX.0, SIZE_PX.1));
    let mut poses = Queued::<PoseSample, { POSE_SLOTS + 1 }>::new(PoseSample::default);
    let mut observations =
        Queued::<Observation, { OBSERVATION_SLOTS + 1 }>::new(Observation::empty);
    let (filler, taker) = frames.split();
    let (sender, receiver) = poses.split();
    let (tell, told) = observations.split();
    let plug = machine.plug.clone();
    let mut reopen = move |goes_on: &mut dyn FnMut() -> bool| plug.reopen(goes_on);
    let worker = machine.worker();
    let link = worker.as_ref().map(Worker::link);
    let threads = Threads {
        capturing: Some(machine.capturing(&mut reopen, filler)),
        publisher: Some(machine.publisher(link.as_ref())),
        poses: receiver,
        worker,
        observations: told,
    };
    let others = RefCell::new(Others::new(&machine, threads));
    let estimator = machine.estimator(|time| others.borrow_mut().go_on_for(time));
    let learner = link.as_deref().map(|link| Learner { tell, link });
    let (calibration, context) = (&machine.calibration, machine.context());
    let mut estimating = Some(Estimating::new(
        estimator,
        calibration,
        taker,
        sender,
        learner,
        context,
    ));
    others.borrow_mut().base_bytes = live_bytes();

    let turns = turns(&others, &mut estimating, &machine.ledger)?;
    drop(estimating);
    let others = others.into_inner();
    let counters = &machine.counters;
    let mut tally = Tally {
        turns,
        reopened: counters.capture.reopened.load(Ordering::Relaxed),
        commands: others.asked.len() as u64,
        ended: u64::from(others.ended != Some(Ended::Stopped)),
        ..Tally::default()
    };
    let end = End::of(others);
    // As `daemon::wiring` does it once all threads have left.
    if frames.left_behind() {
        counters.dropped(Reason::PassedOver, 1);
    }
    let mut ledger = machine.ledger.lock();
    end.check(counters, &mut ledger);
    tally.frames = ledger.frames.len() as u64;
    (tally.looked_at, tally.published) = (ledger.looked_at, ledger.published);
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
