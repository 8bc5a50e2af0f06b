//! Every queue and every thread, on one screen.
//!
//! ```text
//!   capture ── newest frame ──▶ estimate ── poses ──▶ publish
//!      ▲                          │  ▲                   │
//!      └────────── free ◀─────────┘  └────── free ◀──────┘
//!                                 │ ▲
//!                          sights │ │ heads
//!                                 ▼ │
//!                                adapt
//! ```
//!
//! Where an engine for the GPU is still to be built, a thread `build` does that and hands it to whoever runs the
//! network (`infer::relay`).
//!
//! Threads are scoped: they borrow queues and counters, and none outlives them.
//! Stop is one flag. Capture leaves first, then estimate, then publish and adapt, so that
//! what was estimated is published; a frame that nobody has begun with is let go,
//! because on a slow machine it would hold up the farewell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::estimate::Estimator;
use super::load::{Load, Work};
use super::slots::{Newest, Queued, Sender, Taker};
use crate::adapt::Sight;
use crate::adapt::thread::{Link, Worker};
use crate::calibration::Calibration;
use crate::capture::Camera;
use crate::capture::thread::{self as capture_thread, Ended, Reopen, Shared};
use crate::clock::Clock;
use crate::counters::{Counters, Drop};
use crate::error::StartError;
use crate::frame::Frame;
use crate::infer::relay::Builder;
use crate::limits::{FRAME_SLOTS, POSE_SLOTS, SIGHT_SLOTS};
use crate::pose::PoseSample;
use crate::publish::Publisher;
use crate::sys::rt::spawn;

/// Longest sleep of the estimate thread before it looks at the stop flag.
const WAIT: Duration = Duration::from_millis(50);

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

/// Runs until `stop` is set or the recording is over. `meanwhile` runs on the
/// calling thread once the others are up, and is told when frames have ended.
///
/// # Errors
///
/// A thread does not start.
///
/// # Panics
///
/// When one of the threads did.
pub fn run(parts: Parts<'_>, meanwhile: impl FnOnce(&AtomicBool)) -> Result<Ended, StartError> {
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
    let mode = camera.mode();
    let (width_px, height_px) = (mode.width_px, mode.height_px);
    let mut frames =
        Newest::<Frame, { FRAME_SLOTS + 1 }>::new(|| Frame::with_room(width_px, height_px));
    let mut poses = Queued::<PoseSample, { POSE_SLOTS + 1 }>::new(PoseSample::default);
    let (filler, taker) = frames.split();
    let (sender, receiver) = poses.split();
    let mut sights = Queued::<Sight, { SIGHT_SLOTS + 1 }>::new(Sight::nobody);
    let (tell, told) = sights.split();
    let link = worker.as_ref().map(Worker::link);
    let learner = link.as_deref().map(|link| Learner { tell, link });
    let frames_ended = AtomicBool::new(false);
    let poses_ended = AtomicBool::new(false);
    let poses_ended = &poses_ended;

    std::thread::scope(|scope| {
        let failed = |name| move |source| StartError::Thread { name, source };
        let publish = spawn(scope, "publish", || publisher.run(receiver, poses_ended))
            .map_err(failed("publish"))?;
        let adapt = worker
            .map(|worker| spawn(scope, "adapt", || worker.run(told, clock, poses_ended)))
            .transpose()
            .map_err(failed("adapt"))?;
        let build = builder
            .map(|builder| spawn(scope, "build", move || builder.run(poses_ended)))
            .transpose()
            .map_err(failed("build"))?;
        let estimate = spawn(scope, "estimate", || {
            estimate_loop(
                estimator,
                calibration,
                taker,
                sender,
                learner,
                &Context {
                    clock,
                    counters,
                    frames_ended: &frames_ended,
                    stop,
                },
            );
            poses_ended.store(true, Ordering::Release);
        })
        .map_err(failed("estimate"))?;
        let capture = spawn(scope, "capture", || {
            let shared = Shared {
                counters: &counters.capture,
                stop,
                clock,
            };
            let ended = capture_thread::run(camera, reopen, filler, shared);
            frames_ended.store(true, Ordering::Release);
            ended
        })
        .map_err(failed("capture"))?;

        meanwhile(&frames_ended);
        let ended = capture.join().expect("a panic ends the process");
        estimate.join().expect("a panic ends the process");
        publish.join().expect("a panic ends the process");
        if let Some(adapt) = adapt {
            adapt.join().expect("a panic ends the process");
        }
        if let Some(build) = build {
            build.join().expect("a panic ends the process");
        }
        Ok(ended)
    })
}

/// What the estimate thread shares with the others.
struct Context<'a> {
    clock: &'a Clock,
    counters: &'a Counters,
    frames_ended: &'a AtomicBool,
    stop: &'a AtomicBool,
}

/// The estimate thread's side of the adapter.
struct Learner<'a> {
    tell: Sender<'a, Sight>,
    link: &'a Link,
}

impl Learner<'_> {
    /// Tells what was seen, and puts a head in that has come. Never waits.
    fn tend(&mut self, estimator: &mut Estimator) {
        let sights = estimator.sights();
        for (told, sight) in sights.iter().enumerate() {
            let Some(mut slot) = self.tell.free() else {
                let left = (sights.len() - told) as u64;
                self.link.untold.fetch_add(left, Ordering::Relaxed);
                break;
            };
            Sight::clone_from(&mut slot, sight);
            self.tell.put(slot);
        }
        if let Some(head) = self.link.heads.take() {
            let old = estimator.replace_head(head);
            // The adapter frees it. Heads come many seconds apart, so the mailbox is empty.
            let _ = self.link.retired.put(old);
        }
    }
}

/// The estimate thread: takes the newest frame, fills a pose sample, hands it on.
fn estimate_loop(
    mut estimator: Estimator,
    calibration: &Calibration,
    mut frames: Taker<'_, Frame>,
    mut poses: Sender<'_, PoseSample>,
    mut learner: Option<Learner<'_>>,
    context: &Context<'_>,
) {
    let Context {
        clock, counters, ..
    } = *context;
    let mut load = Load::default();
    loop {
        counters.estimate_beats.add(1);
        if context.stop.load(Ordering::Acquire) {
            poses.wake();
            return;
        }
        // Read before the last look, so that the last frame is not left behind.
        let ending = context.frames_ended.load(Ordering::Acquire);
        let Some(frame) = frames.take() else {
            if ending {
                poses.wake();
                return;
            }
            frames.wait(WAIT);
            continue;
        };
        match poses.free() {
            None => counters.dropped(Drop::PublisherFull, 1),
            Some(mut sample) => {
                let begun = clock.now();
                match estimator.step(&frame, calibration, clock, counters, &mut sample) {
                    Ok(seen) => {
                        let work = Work {
                            took: clock.now().since(begun),
                            looks: seen.regions - seen.waiting,
                            waiting: seen.waiting,
                        };
                        estimator.spare(load.take(&frame.meta, work));
                        counters.set_load(load.level(), load.busy());
                    }
                    Err(_) => counters.dropped(Drop::EstimateFailed, 1),
                }
                poses.put(sample);
                if let Some(learner) = &mut learner {
                    learner.tend(&mut estimator);
                }
            }
        }
        frames.give_back(frame);
    }
}
