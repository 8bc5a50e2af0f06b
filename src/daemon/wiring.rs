//! Every queue and every thread, on one screen.
//!
//! ```text
//!   capture ── newest frame ──▶ estimate ── poses ──▶ publish
//!      ▲                          │  ▲                   │
//!      └────────── free ◀─────────┘  └────── free ◀──────┘
//!                                 │ ▲
//!                    observations │ │ heads
//!                                 ▼ │
//!                                adapt
//! ```
//!
//! Where an engine for the GPU is still to be built, a thread `build` does that and hands it to the thread that runs
//! the network (`engine::relay`).
//!
//! Outlets have threads of their own beside these, which live as long as the publisher has them: the runtime of Zenoh,
//! `web` (`output::web`) and `ros` (`output::ros`), where the configuration wants them.
//!
//! Threads are scoped: they borrow queues and counters, and none outlives them.
//! A thread that does not start, or that panics, takes the others with it: [`run`] gives the error once they have left.
//! Stop is one flag. Capture leaves first, then estimate, then publish and adapt, so that
//! what was estimated is published; a frame that no thread has started on is dropped,
//! because it would delay shutdown on a slow machine.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use super::estimating::{Context, Estimating, Learner};
use crate::adapt::Observation;
use crate::adapt::thread::{Link, Worker};
use crate::base::clock::Clock;
use crate::base::limits::{FRAME_SLOTS, OBSERVATION_SLOTS, POSE_SLOTS};
use crate::base::slots::{Filler, Newest, Queued, Receiver, Sender, Taker};
use crate::camera::Calibration;
use crate::capture::Camera;
use crate::capture::thread::{self as capture_thread, Ended, Reopen, Shared};
use crate::counters::{Counters, DropReason};
use crate::engine::relay::Builder;
use crate::error::StartError;
use crate::estimate::Estimator;
use crate::frame::Frame;
use crate::output::Publisher;
use crate::pose::PoseSample;
use crate::sys::rt;

/// What the threads work with.
pub struct Parts<'a> {
    /// Frames.
    pub camera: Box<dyn Camera>,
    /// Opens the camera again; `None` for a recording.
    pub reopen: Option<&'a mut Reopen<'a>>,
    /// Rays of its pixels.
    pub calibration: &'a Calibration,
    /// Frames to poses.
    pub estimator: Estimator,
    /// Builds for the GPU what the estimator runs on the processor for now.
    pub builder: Option<Builder>,
    /// Learns from poses, where that is wanted.
    pub worker: Option<Worker>,
    /// Poses to Zenoh.
    pub publisher: Publisher<'a>,
    /// The time.
    pub clock: &'a Clock,
    /// What all of them count.
    pub counters: &'a Counters,
    /// Asks all of them to leave.
    pub stop: &'a AtomicBool,
}

/// Starts the threads.
pub trait Spawn {
    /// Starts a thread in a scope.
    ///
    /// # Errors
    ///
    /// The system has no room for it.
    fn spawn<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        name: &'static str,
        work: Box<dyn FnOnce() + Send + 'scope>,
    ) -> io::Result<ScopedJoinHandle<'scope, ()>>;
}

/// The system's own threads.
struct Threads;

impl Spawn for Threads {
    fn spawn<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        name: &'static str,
        work: Box<dyn FnOnce() + Send + 'scope>,
    ) -> io::Result<ScopedJoinHandle<'scope, ()>> {
        rt::spawn(scope, name, work)
    }
}

/// The flags that make threads leave.
#[derive(Clone, Copy)]
struct Flags<'a> {
    stop: &'a AtomicBool,
    frames_ended: &'a AtomicBool,
    poses_ended: &'a AtomicBool,
}

/// Makes all threads leave when it is dropped, unless all went well until then. One lives on each thread, so that a
/// panic does not leave the others waiting for what never comes.
struct LeaveTogether<'a> {
    flags: Flags<'a>,
    well: bool,
}

impl<'a> LeaveTogether<'a> {
    const fn new(flags: Flags<'a>) -> Self {
        Self { flags, well: false }
    }

    fn all_well(mut self) {
        self.well = true;
    }
}

impl std::ops::Drop for LeaveTogether<'_> {
    fn drop(&mut self) {
        if !self.well {
            let Flags {
                stop,
                frames_ended,
                poses_ended,
            } = self.flags;
            for flag in [stop, frames_ended, poses_ended] {
                flag.store(true, Ordering::Release);
            }
        }
    }
}

/// Runs until `stop` is set or the recording is over. `meanwhile` runs on the
/// calling thread once the others are up, and is told when frames have ended.
///
/// # Errors
///
/// A thread does not start, or panics; the others have left then, and `stop` is set.
pub fn run(parts: Parts<'_>, meanwhile: impl FnOnce(&AtomicBool)) -> Result<Ended, StartError> {
    run_on(&mut Threads, parts, meanwhile)
}

/// As [`run`], on threads from `threads`.
///
/// # Errors
///
/// As [`run`].
pub fn run_on(
    threads: &mut dyn Spawn,
    parts: Parts<'_>,
    meanwhile: impl FnOnce(&AtomicBool),
) -> Result<Ended, StartError> {
    let mode = parts.camera.mode();
    let (width_px, height_px) = (mode.width_px, mode.height_px);
    let mut frames =
        Newest::<Frame, { FRAME_SLOTS + 1 }>::new(|| Frame::with_room(width_px, height_px));
    let mut poses = Queued::<PoseSample, { POSE_SLOTS + 1 }>::new(PoseSample::default);
    let mut observations =
        Queued::<Observation, { OBSERVATION_SLOTS + 1 }>::new(Observation::empty);
    let (frames_ended, poses_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (stop, counters) = (parts.stop, parts.counters);
    let flags = Flags {
        stop,
        frames_ended: &frames_ended,
        poses_ended: &poses_ended,
    };
    let link = parts.worker.as_ref().map(Worker::link);
    let ended = OnceLock::new();
    let queues = Queues {
        frames: frames.split(),
        poses: poses.split(),
        observations: observations.split(),
        link: link.as_deref(),
    };
    std::thread::scope(|scope| {
        let leave = LeaveTogether::new(flags);
        let mut crew = Crew {
            threads,
            scope,
            flags,
            running: heapless::Vec::new(),
        };
        start(&mut crew, parts, queues, &ended)?;
        meanwhile(flags.frames_ended);
        crew.join()?;
        leave.all_well();
        Ok::<_, StartError>(())
    })?;
    if frames.left_behind() {
        counters.dropped(DropReason::PassedOver, 1);
    }
    // Capture has left without a panic, so it has said how it ended.
    Ok(ended.into_inner().unwrap_or(Ended::Stopped))
}

/// Both sides of every queue.
struct Queues<'a> {
    frames: (Filler<'a, Frame>, Taker<'a, Frame>),
    poses: (Sender<'a, PoseSample>, Receiver<'a, PoseSample>),
    observations: (Sender<'a, Observation>, Receiver<'a, Observation>),
    /// Heads and reports, where something learns.
    link: Option<&'a Link>,
}

/// Starts every thread, those that take before those that give.
fn start<'scope, 'a: 'scope>(
    crew: &mut Crew<'_, 'scope, '_>,
    parts: Parts<'a>,
    queues: Queues<'scope>,
    ended: &'scope OnceLock<Ended>,
) -> Result<(), StartError> {
    let Parts {
        camera,
        reopen,
        calibration,
        estimator,
        builder,
        worker,
        publisher,
        clock,
        counters,
        stop,
    } = parts;
    let ((filler, taker), (sender, receiver)) = (queues.frames, queues.poses);
    let (tell, told) = queues.observations;
    let Flags {
        frames_ended,
        poses_ended,
        ..
    } = crew.flags;
    crew.start("publish", || publisher.run(receiver, poses_ended))?;
    if let Some(worker) = worker {
        crew.start("adapt", || worker.run(told, clock, poses_ended))?;
    }
    if let Some(builder) = builder {
        crew.start("build", || builder.run(poses_ended))?;
    }
    let learner = queues.link.map(|link| Learner { tell, link });
    let context = Context {
        clock,
        counters,
        frames_ended,
        stop,
    };
    crew.start("estimate", move || {
        Estimating::new(estimator, calibration, taker, sender, learner, context).run();
        poses_ended.store(true, Ordering::Release);
    })?;
    crew.start("capture", move || {
        let shared = Shared {
            counters: &counters.capture,
            stop,
            clock,
        };
        let how = capture_thread::run(camera, reopen, filler, shared);
        let set = ended.set(how);
        debug_assert!(set.is_ok(), "it ends once");
        frames_ended.store(true, Ordering::Release);
    })
}

/// Publish, adapt, build, estimate and capture.
const THREADS_MAX: usize = 5;

/// The threads that run, in the order they were started.
struct Crew<'t, 'scope, 'env> {
    threads: &'t mut dyn Spawn,
    scope: &'scope Scope<'scope, 'env>,
    flags: Flags<'scope>,
    running: heapless::Vec<(&'static str, ScopedJoinHandle<'scope, ()>), THREADS_MAX>,
}

impl<'scope> Crew<'_, 'scope, '_> {
    fn start(
        &mut self,
        name: &'static str,
        work: impl FnOnce() + Send + 'scope,
    ) -> Result<(), StartError> {
        let flags = self.flags;
        let work = Box::new(move || {
            let leave = LeaveTogether::new(flags);
            work();
            leave.all_well();
        });
        let thread = self
            .threads
            .spawn(self.scope, name, work)
            .map_err(|source| StartError::Thread { name, source })?;
        let pushed = self.running.push((name, thread));
        debug_assert!(pushed.is_ok(), "there is room for every thread");
        Ok(())
    }

    /// Waits until all have left, the last that was started first.
    fn join(mut self) -> Result<(), StartError> {
        let mut joined = Ok(());
        while let Some((name, thread)) = self.running.pop() {
            if thread.join().is_err() {
                joined = Err(StartError::Panicked { name });
            }
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use super::*;
    use crate::camera::CalibrationConfig;
    use crate::counters::FrameFault;
    use crate::detect::{PeopleNet, VisionNet};
    use crate::engine::models::Folder;
    use crate::engine::{Engine, EngineStatus, InferError, Input, Network, TensorSpec};
    use crate::estimate::{EstimateConfig, Poser};
    use crate::output::subscribe::{Received, Subscription};
    use crate::output::{Documents, Outlet, PublishConfig, ZenohConfig};
    use crate::synthetic::{SyntheticCamera, SyntheticConfig};

    /// Longest wait for anything, on a busy machine.
    const PATIENCE: Duration = Duration::from_mins(1);

    /// A network that fails or panics when it is told to.
    struct Unsteady {
        network: Box<dyn Network>,
        failing: Arc<AtomicBool>,
        panicking: Arc<AtomicBool>,
    }

    impl Network for Unsteady {
        fn inputs(&self) -> &[TensorSpec] {
            self.network.inputs()
        }
        fn outputs(&self) -> &[TensorSpec] {
            self.network.outputs()
        }
        fn engine(&self) -> &'static str {
            self.network.engine()
        }
        fn share(&self) -> Result<Box<dyn Network>, InferError> {
            self.network.share()
        }
        fn run_into(
            &mut self,
            inputs: &[Input<'_>],
            outputs: &mut [Vec<f32>],
        ) -> Result<(), InferError> {
            assert!(!self.panicking.load(Ordering::Acquire), "told to panic");
            if self.failing.load(Ordering::Acquire) {
                return Err(InferError::Engine);
            }
            self.network.run_into(inputs, outputs)
        }
    }

    /// Fails at one of the threads.
    struct NoRoomAt {
        left: usize,
        names: Vec<&'static str>,
    }

    impl Spawn for NoRoomAt {
        fn spawn<'scope>(
            &mut self,
            scope: &'scope Scope<'scope, '_>,
            name: &'static str,
            work: Box<dyn FnOnce() + Send + 'scope>,
        ) -> io::Result<ScopedJoinHandle<'scope, ()>> {
            if self.left == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.left -= 1;
            self.names.push(name);
            rt::spawn(scope, name, work)
        }
    }

    /// What runs in a test: the real threads on a synthetic scene, with a person network that can be made to fail.
    #[derive(Default)]
    struct Stage {
        failing: Arc<AtomicBool>,
        panicking: Arc<AtomicBool>,
        stop: AtomicBool,
        counters: Counters,
    }

    impl Stage {
        /// Runs it under a name of its own; gives how it ended.
        fn run(
            &self,
            name: &str,
            threads: &mut dyn Spawn,
            meanwhile: impl FnOnce(&ZenohConfig),
        ) -> Result<Ended, StartError> {
            let mut config = EstimateConfig::default();
            config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
            config.semantics.enabled = false;
            let engine = Engine::tract();
            let folder = Folder::open(&config.models.folder("person")).unwrap();
            let network = Unsteady {
                network: engine.load(&folder).unwrap(),
                failing: Arc::clone(&self.failing),
                panicking: Arc::clone(&self.panicking),
            };
            let person = VisionNet::with_network(&folder, Box::new(network)).unwrap();
            // Without a person detector the person network looks at each frame.
            let people = PeopleNet::new(person, None, config.people);
            let estimator = Estimator::new(people, Poser::open_with(&engine, &config).unwrap());

            let clock = Arc::new(Clock::live());
            let scene = SyntheticConfig {
                width_px: 160,
                height_px: 120,
                ..SyntheticConfig::default()
            };
            let camera = SyntheticCamera::live(&scene, Arc::clone(&clock)).unwrap();
            let calibration = CalibrationConfig::default().open(160, 120).unwrap();
            let zenoh = ZenohConfig {
                site: "wiring".into(),
                device: name.into(),
                listen: Some(vec!["tcp/127.0.0.1:0".into()]),
                ..ZenohConfig::default()
            };
            let outlet = Outlet::open(&zenoh, "front", Documents::default(), clock.now()).unwrap();
            let reached = ZenohConfig {
                connect: outlet.endpoints().to_vec(),
                ..zenoh
            };
            let publisher = Publisher::new(
                &PublishConfig::default(),
                "front",
                Arc::new(EngineStatus::default()),
                &clock,
                &self.counters,
                outlet,
            );
            let adapter = estimator.adapter(1).unwrap().unwrap();
            let worker = Worker::new(&config.adapt, adapter, clock.now());
            let parts = Parts {
                camera: Box::new(camera),
                reopen: None,
                calibration: &calibration,
                estimator,
                builder: None,
                worker: Some(worker),
                publisher,
                clock: &clock,
                counters: &self.counters,
                stop: &self.stop,
            };
            run_on(threads, parts, |_| meanwhile(&reached))
        }

        fn stop(&self) {
            self.stop.store(true, Ordering::Release);
        }
    }

    fn eventually(what: &str, mut done: impl FnMut() -> bool) {
        let clock = Clock::live();
        let begun = clock.now();
        while !done() {
            assert!(clock.now().since(begun) < PATIENCE, "{what}: not yet");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Does `work` on a thread of its own and gives up on one that hangs.
    fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().spawn(move || tell.send(work()));
        assert!(thread.is_ok());
        told.recv_timeout(PATIENCE)
            .expect("it hangs, or has panicked")
    }

    #[test]
    fn a_frame_whose_network_fails_is_never_published_as_an_empty_room() {
        let stage = Stage::default();
        let ended = stage.run("fails", &mut Threads, |zenoh| {
            let counters = &stage.counters;
            let poses = Arc::new(Mutex::new(Vec::new()));
            let events = Arc::new(Mutex::new(Vec::new()));
            let (into, told) = (Arc::clone(&poses), Arc::clone(&events));
            let key = |leaf| zenoh.key("front", leaf);
            let _poses = Subscription::open(zenoh, &key("poses"), move |received: Received| {
                let sequence = received.message.unwrap().sample.frame_sequence;
                into.lock().unwrap().push(sequence);
            });
            let _events = Subscription::raw(zenoh, &key("events"), move |_, bytes| {
                let json = crate::output::json::to_json(bytes).unwrap();
                told.lock()
                    .unwrap()
                    .push(json["event"].as_str().unwrap().to_owned());
            });
            let heard = |event: &str| events.lock().unwrap().iter().any(|e| e == event);
            eventually("poses", || poses.lock().unwrap().len() > 3);

            stage.failing.store(true, Ordering::Release);
            eventually("the event", || heard("estimate_failed"));
            // What was published before the first failure has arrived by now, or arrives at once.
            let failed = || counters.frame_faults(FrameFault::Engine);
            let published = counters.published.get();
            let (before, first) = (failed(), poses.lock().unwrap().len());
            eventually("more failures than slots", || {
                failed() > before + 2 * POSE_SLOTS as u64
            });
            assert_eq!(
                counters.published.get(),
                published,
                "nothing goes out meanwhile"
            );
            assert!(poses.lock().unwrap().len() <= first + POSE_SLOTS);
            assert_eq!(
                counters.drops(DropReason::PublisherFull),
                0,
                "and no slot is lost"
            );

            stage.failing.store(false, Ordering::Release);
            eventually("the end of it", || heard("estimate_back"));
            eventually("poses again", || counters.published.get() > published + 3);
            stage.stop();
        });
        assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
        let counters = &stage.counters;
        // Every frame that was looked at was published or counted, and none both.
        let unsent = counters.drops(DropReason::NotSent);
        assert_eq!(counters.estimated.get(), counters.published.get() + unsent);
    }

    #[test]
    fn a_thread_that_does_not_start_is_an_error_and_the_others_leave() {
        let order = ["publish", "adapt", "estimate", "capture"];
        for (left, wanted) in order.into_iter().enumerate() {
            let (ended, names) = in_time(move || {
                let mut threads = NoRoomAt {
                    left,
                    names: Vec::new(),
                };
                let stage = Stage::default();
                let ended = stage.run("no-room", &mut threads, |_| {
                    unreachable!("not all threads are up")
                });
                (ended, threads.names)
            });
            assert_eq!(names, order[..left]);
            let error = ended.unwrap_err();
            let is_it = matches!(error, StartError::Thread { name, .. } if name == wanted);
            assert!(is_it, "{error}");
            assert_eq!(error.exit_code(), 70);
        }
    }

    #[test]
    fn a_thread_that_panics_ends_the_rest_and_is_named() {
        let ended = in_time(|| {
            let stage = Stage::default();
            stage.panicking.store(true, Ordering::Release);
            stage.run("panics", &mut Threads, |_| {
                eventually("all are asked to leave", || {
                    stage.stop.load(Ordering::Acquire)
                });
            })
        });
        let error = ended.unwrap_err();
        assert!(error.to_string().contains("estimate panicked"), "{error}");
    }

    #[test]
    fn a_panic_of_the_calling_thread_does_not_leave_the_others_running() {
        in_time(|| {
            let run = || Stage::default().run("main", &mut Threads, |_| panic!("told to"));
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            assert!(caught.is_err());
        });
    }
}
