//! The estimate thread: takes the newest frame, fills a pose sample, hands it on, and tells what learns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::load::{Load, Work};
use crate::adapt::Observation;
use crate::adapt::thread::Link;
use crate::base::clock::{Clock, MonoNs};
use crate::base::slots::{Sender, Taker};
use crate::base::step::Step;
use crate::camera::Calibration;
use crate::counters::{Counters, DropReason};
use crate::detect::{Detect, PeopleNet};
use crate::estimate::{Estimator, frame_fault};
use crate::frame::Frame;
use crate::pose::PoseSample;

/// Longest sleep of the estimate thread before it looks at the stop flag.
const WAIT: Duration = Duration::from_millis(50);

/// What the estimate thread shares with the others.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time.
    pub clock: &'a Clock,
    /// Where it counts.
    pub counters: &'a Counters,
    /// Set once the capture thread has left.
    pub frames_ended: &'a AtomicBool,
    /// Asks it to leave.
    pub stop: &'a AtomicBool,
}

/// The estimate thread's side of the adapter.
pub struct Learner<'a> {
    /// People for the adapter.
    pub tell: Sender<'a, Observation>,
    /// Heads from it.
    pub link: &'a Link,
}

impl Learner<'_> {
    /// Tells what was seen, and puts a head in that has come. Never waits.
    fn poll<D: Detect>(&mut self, estimator: &mut Estimator<D>) {
        let observations = estimator.observations();
        for (told, observation) in observations.iter().enumerate() {
            let Some(mut slot) = self.tell.free() else {
                let left = (observations.len() - told) as u64;
                self.link.untold.fetch_add(left, Ordering::Relaxed);
                break;
            };
            Observation::clone_from(&mut slot, observation);
            self.tell.put(slot);
        }
        if let Some(head) = self.link.heads.take() {
            let old = estimator.replace_head(head);
            // The adapter frees it. Heads come many seconds apart, so the mailbox is empty.
            let _ = self.link.retired.put(old);
        }
    }
}

/// The estimate thread's work, step by step: one frame a step.
pub struct Estimating<'a, D = PeopleNet> {
    estimator: Estimator<D>,
    calibration: &'a Calibration,
    frames: Taker<'a, Frame>,
    poses: Sender<'a, PoseSample>,
    learner: Option<Learner<'a>>,
    context: Context<'a>,
    load: Load,
    /// A slot that was not handed on, since its frame failed.
    kept: Option<Box<PoseSample>>,
    /// When the camera was opened that the newest frame came from.
    opened: u64,
}

impl<'a, D: Detect> Estimating<'a, D> {
    /// Starts with no person in view.
    pub fn new(
        estimator: Estimator<D>,
        calibration: &'a Calibration,
        frames: Taker<'a, Frame>,
        poses: Sender<'a, PoseSample>,
        learner: Option<Learner<'a>>,
        context: Context<'a>,
    ) -> Self {
        Self {
            estimator,
            calibration,
            frames,
            poses,
            learner,
            context,
            load: Load::default(),
            kept: None,
            opened: 0,
        }
    }

    /// Works until it is asked to leave, or frames have ended.
    pub fn run(mut self) {
        loop {
            match self.step() {
                Step::Again => {}
                Step::Wait(most) => self.frames.wait(most),
                Step::Left(()) => return,
            }
        }
    }

    /// Takes the newest frame, where there is one. Wakes the publisher when it leaves.
    pub fn step(&mut self) -> Step {
        self.context.counters.estimate_beats.add(1);
        if self.context.stop.load(Ordering::Acquire) {
            return self.leave();
        }
        // Read before the last look, so that the last frame is not left behind.
        let ending = self.context.frames_ended.load(Ordering::Acquire);
        let Some(frame) = self.frames.take() else {
            return if ending {
                self.leave()
            } else {
                Step::Wait(WAIT)
            };
        };
        self.estimate(&frame);
        self.frames.give_back(frame);
        Step::Again
    }

    fn leave(&self) -> Step {
        self.poses.wake();
        Step::Left(())
    }

    fn estimate(&mut self, frame: &Frame) {
        let Context {
            clock, counters, ..
        } = self.context;
        let reopened = counters.capture.reopened_ns.load(Ordering::Acquire);
        if reopened > self.opened && frame.meta.capture >= MonoNs(reopened) {
            // It may look elsewhere now, or be another camera.
            self.opened = reopened;
            self.estimator.reset();
        }
        let Some(mut sample) = self.kept.take().or_else(|| self.poses.free()) else {
            counters.dropped(DropReason::PublisherFull, 1);
            return;
        };
        let begun = clock.now();
        let seen = self
            .estimator
            .step(frame, self.calibration, clock, counters, &mut sample);
        match seen {
            Ok(seen) => {
                let work = Work {
                    took: clock.now().since(begun),
                    inferences: seen.regions - seen.waiting,
                    waiting: seen.waiting,
                };
                self.estimator.shed(self.load.take(&frame.meta, work));
                counters.set_load(self.load.level(), self.load.busy());
                self.poses.put(sample);
            }
            // It is not known who is in view, and an empty message would say that the room is empty.
            Err(error) => {
                counters.frame_failed(frame_fault(error));
                self.kept = Some(sample);
            }
        }
        if let Some(learner) = &mut self.learner {
            learner.poll(&mut self.estimator);
        }
    }
}
