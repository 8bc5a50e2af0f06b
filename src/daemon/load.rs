//! What is left out first when a machine cannot keep up.
//!
//! In this order, and no further than it has to:
//!
//! 1. **Learning.** Its thread has the lowest priority and gets what the others leave ([`rt::stand_back`]).
//! 2. **Runs of the person detector**, where frames take nearly all the time there is: a third as many
//!    ([`Level::Saving`]).
//! 3. **Frames.** The newest wins; what comes while one is worked on is passed over ([`slots`]).
//! 4. **People**, where a frame of all of them would take so long that poses are old when they come: they are
//!    looked at in turn, so many a frame as fit ([`Level::Turns`]). New people come first.
//!
//! Nothing queues up, so nothing grows. Its state is in `/health`. Recordings take the time they need and
//! leave nothing out.
//!
//! [`rt::stand_back`]: crate::sys::rt::stand_back
//! [`slots`]: crate::base::slots

use std::time::Duration;

use crate::base::clock::MonoNs;
use crate::base::limits::PEOPLE_MAX;
use crate::counters::Level;
use crate::detect::Shed;
use crate::frame::FrameMeta;

/// Share of the time between two frames of the camera that a frame takes, above which something is left out.
const BUSY: f32 = 0.9;

/// Share below which it is taken up again. Fewer runs of the person detector lower the share by a few hundredths.
const IDLE: f32 = 0.75;

/// Longest that all inferences of one frame may take together. With the wait for the frame before it, poses are then
/// about a fifth of a second old.
const INFERENCE_MAX: Duration = Duration::from_millis(100);

/// Share of the newest frame in the running means: a second at ten frames a second.
const NEWEST: f32 = 0.1;

/// What a frame came to.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Time it took.
    pub took: Duration,
    /// People looked at.
    pub inferences: usize,
    /// People who have to wait for their turn.
    pub waiting: usize,
}

/// Watches how long frames take and says what to leave out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    level: Level,
    /// Number and time of the frame before.
    last: Option<(u32, MonoNs)>,
    /// Mean time between two frames of the camera, seconds.
    interval_s: Option<f32>,
    /// Mean time a frame takes, seconds.
    took_s: Option<f32>,
    /// Mean time that a person takes, with a share of all else, seconds.
    person_s: Option<f32>,
    inferences: usize,
}

impl Load {
    /// Takes a frame that has been worked on; gives what to leave out of the next.
    pub fn take(&mut self, frame: &FrameMeta, work: Work) -> Shed {
        if let Some((sequence, capture)) = self.last.replace((frame.sequence, frame.capture)) {
            let frames = frame.sequence.wrapping_sub(sequence);
            let between = frame.capture.since(capture);
            // After the camera is reopened, counting starts again.
            if (1..=SKIPPED_MAX).contains(&frames) && !between.is_zero() {
                mix(&mut self.interval_s, (between / frames).as_secs_f32());
            }
        }
        let took_s = work.took.as_secs_f32();
        mix(&mut self.took_s, took_s);
        #[expect(clippy::cast_precision_loss, reason = "at most eight")]
        if work.inferences > 0 {
            mix(&mut self.person_s, took_s / work.inferences as f32);
        }
        self.inferences = self.fitting();
        // What was left out, not what may be: a network for whole frames knows no turns.
        self.level = if work.waiting > 0 {
            Level::Turns
        } else if self.busy() > BUSY || self.level != Level::Full && self.busy() > IDLE {
            Level::Saving
        } else {
            Level::Full
        };
        Shed {
            detector: self.level != Level::Full,
            inferences: self.inferences,
        }
    }

    /// How much is left out.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Share of the time between two frames that a frame takes: above one, frames are passed over.
    pub fn busy(&self) -> f32 {
        match (self.took_s, self.interval_s) {
            (Some(took), Some(interval)) => took / interval,
            _ => 0.0,
        }
    }

    /// People whose inferences fit into [`INFERENCE_MAX`], at least one.
    fn fitting(&self) -> usize {
        let fit = self
            .person_s
            .map_or(f32::INFINITY, |person| INFERENCE_MAX.as_secs_f32() / person);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped; a NaN is one"
        )]
        let fit = fit.clamp(1.0, PEOPLE_MAX_F32) as usize;
        fit.max(1)
    }
}

/// Frames that may be missing between two: a second at the highest rate.
const SKIPPED_MAX: u32 = 120;

#[expect(clippy::cast_precision_loss, reason = "eight")]
const PEOPLE_MAX_F32: f32 = PEOPLE_MAX as f32;

fn mix(mean: &mut Option<f32>, newest: f32) {
    let before = mean.unwrap_or(newest);
    *mean = Some(before + NEWEST * (newest - before));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    /// A camera of 30 frames a second whose people take `person` each, watched for ten seconds.
    fn watched(load: &mut Load, people: usize, person: Duration) -> Shed {
        let mut shed = Shed::default();
        let mut sequence = load.last.map_or(0, |(sequence, _)| sequence);
        for _ in 0..300 {
            let inferences = people.min(shed.inferences);
            let took = person * u32::try_from(inferences).unwrap();
            // What comes meanwhile is passed over.
            sequence += 1 + u32::try_from(took.as_millis() / 33).unwrap();
            let mut meta = Frame::with_room(64, 64).meta;
            meta.sequence = sequence;
            meta.capture = MonoNs(u64::from(sequence) * 33_333_333);
            let waiting = people - inferences;
            shed = load.take(
                &meta,
                Work {
                    took,
                    inferences,
                    waiting,
                },
            );
        }
        shed
    }

    #[test]
    fn a_machine_that_keeps_up_leaves_nothing_out() {
        let mut load = Load::default();
        let shed = watched(&mut load, 3, Duration::from_millis(8));
        assert_eq!(shed, Shed::default());
        assert_eq!(load.level(), Level::Full);
        assert!((load.busy() - 0.72).abs() < 0.01, "{}", load.busy());
    }

    #[test]
    fn one_that_does_not_sheds_detector_runs_first_and_people_last() {
        let mut load = Load::default();
        let shed = watched(&mut load, 8, Duration::from_millis(6));
        assert!(shed.detector && shed.inferences == PEOPLE_MAX, "{shed:?}");
        assert_eq!(load.level(), Level::Saving);
        let shed = watched(&mut load, 8, Duration::from_millis(30));
        assert!(shed.detector && shed.inferences == 3, "{shed:?}");
        assert_eq!(load.level(), Level::Turns);
        // The person network runs for one person however slow the machine is.
        let shed = watched(&mut load, 8, Duration::from_millis(900));
        assert_eq!(shed.inferences, 1);
        let shed = watched(&mut load, 1, Duration::from_millis(8));
        assert_eq!((shed, load.level()), (Shed::default(), Level::Full));
    }

    #[test]
    fn it_does_not_waver_between_two_levels() {
        let mut load = Load::default();
        watched(&mut load, 4, Duration::from_millis(8));
        assert_eq!(load.level(), Level::Saving);
        watched(&mut load, 4, Duration::from_micros(7200));
        assert_eq!(load.level(), Level::Saving, "{}", load.busy());
        watched(&mut load, 4, Duration::from_millis(6));
        assert_eq!(load.level(), Level::Full, "{}", load.busy());
    }
}
