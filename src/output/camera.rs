//! What is told of the camera: that it is gone or back, that no frames come, that frames are bad, that it hangs turned.
//!
//! Told of the counters now and then, it says what to do; it reads no clock and sends nothing itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::MonoNs;
use crate::capture::thread::CameraState;
use crate::counters::{Counters, DropReason};

/// Bad frames are said again only after so long without any.
const BAD_FRAMES_QUIET: Duration = Duration::from_secs(10);

/// Most that one look leads to: one about the state, one about silence, one about bad frames, one about how it hangs.
const ACTIONS_MAX: usize = 4;

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The camera is gone.
    Lost,
    /// It is back.
    Back,
    /// It gives no frames.
    Silent {
        /// For so long.
        silence: Duration,
    },
    /// It gives frames again.
    FramesBack,
    /// Frames are bad, so many of each kind so far.
    BadFrames {
        /// With too few bytes.
        short: u64,
        /// Damaged.
        damaged: u64,
        /// Of another size than agreed.
        resized: u64,
    },
    /// People are seen better in frames that are turned.
    Turned {
        /// Clockwise by this.
        degrees: u32,
    },
}

/// The counters of the camera at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    state: CameraState,
    frames: u64,
    /// Short, damaged, of another size.
    bad: [u64; 3],
    better_turned_deg: u32,
}

impl Reading {
    fn of(counters: &Counters) -> Self {
        let resized = counters.capture.resized.load(Ordering::Relaxed);
        let [short, damaged] =
            [DropReason::Short, DropReason::Damaged].map(|kind| counters.drops(kind));
        Self {
            state: counters.capture.state(),
            frames: counters.captured(),
            bad: [short, damaged, resized],
            better_turned_deg: counters.better_turned_deg(),
        }
    }
}

/// Watches the counters of the camera.
#[derive(Debug)]
pub struct Watch {
    state: CameraState,
    frames: u64,
    frames_at: MonoNs,
    silent: bool,
    bad: u64,
    bad_at: Option<MonoNs>,
    better_turned_deg: u32,
}

impl Watch {
    /// Begins with the camera as it is at `now`.
    pub fn new(counters: &Counters, now: MonoNs) -> Self {
        Self {
            state: counters.capture.state(),
            frames: counters.captured(),
            frames_at: now,
            silent: false,
            bad: 0,
            bad_at: None,
            better_turned_deg: 0,
        }
    }

    /// Whether no frames come, for longer than is usual.
    pub const fn is_silent(&self) -> bool {
        self.silent
    }

    /// What follows from the counters at `now`; a camera that runs and gives no frame for `silent_after` is silent.
    pub fn look(
        &mut self,
        counters: &Counters,
        silent_after: Duration,
        now: MonoNs,
    ) -> heapless::Vec<Action, ACTIONS_MAX> {
        self.take(Reading::of(counters), silent_after, now)
    }

    fn take(
        &mut self,
        reading: Reading,
        silent_after: Duration,
        now: MonoNs,
    ) -> heapless::Vec<Action, ACTIONS_MAX> {
        let mut actions = heapless::Vec::new();
        let told = [
            self.state(reading.state, now),
            self.silence(reading, silent_after, now),
            self.bad_frames(reading.bad, now),
            self.turned(reading.better_turned_deg),
        ];
        actions.extend(told.into_iter().flatten());
        actions
    }

    fn state(&mut self, state: CameraState, now: MonoNs) -> Option<Action> {
        let before = std::mem::replace(&mut self.state, state);
        if before == state {
            return None;
        }
        self.frames_at = now;
        match (before, state) {
            (_, CameraState::Lost) => Some(Action::Lost),
            (CameraState::Lost, CameraState::Running) => Some(Action::Back),
            _ => None,
        }
    }

    fn silence(&mut self, reading: Reading, silent_after: Duration, now: MonoNs) -> Option<Action> {
        if reading.frames != self.frames {
            (self.frames, self.frames_at) = (reading.frames, now);
            return std::mem::take(&mut self.silent).then_some(Action::FramesBack);
        }
        let silence = now.since(self.frames_at);
        let is_new = reading.state == CameraState::Running && silence >= silent_after;
        if !is_new || self.silent {
            return None;
        }
        self.silent = true;
        Some(Action::Silent { silence })
    }

    /// Tells once that frames are bad, however many there are.
    fn bad_frames(&mut self, bad: [u64; 3], now: MonoNs) -> Option<Action> {
        let sum = bad.iter().sum();
        if std::mem::replace(&mut self.bad, sum) == sum {
            return None;
        }
        let last = self.bad_at.replace(now);
        let quiet = last.is_none_or(|last| now.since(last) >= BAD_FRAMES_QUIET);
        let [short, damaged, resized] = bad;
        quiet.then_some(Action::BadFrames {
            short,
            damaged,
            resized,
        })
    }

    fn turned(&mut self, degrees: u32) -> Option<Action> {
        let before = std::mem::replace(&mut self.better_turned_deg, degrees);
        (degrees != before && degrees != 0).then_some(Action::Turned { degrees })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT_AFTER: Duration = Duration::from_secs(2);

    fn look(
        watch: &mut Watch,
        state: CameraState,
        frames: u64,
        bad: [u64; 3],
        seconds: u64,
    ) -> Vec<Action> {
        let now = MonoNs(1).plus(Duration::from_secs(seconds));
        let reading = Reading {
            state,
            frames,
            bad,
            better_turned_deg: 0,
        };
        watch.take(reading, SILENT_AFTER, now).to_vec()
    }

    fn watch() -> Watch {
        Watch::new(&Counters::default(), MonoNs(1))
    }

    #[test]
    fn a_loss_and_the_way_back_are_told_and_the_first_frame_is_not() {
        use CameraState::{Lost, Running};
        let mut watch = watch();
        assert_eq!(look(&mut watch, Running, 1, [0; 3], 0), []);
        assert_eq!(look(&mut watch, Lost, 1, [0; 3], 1), [Action::Lost]);
        assert_eq!(look(&mut watch, Lost, 1, [0; 3], 9), [], "it is known");
        assert_eq!(look(&mut watch, Running, 2, [0; 3], 10), [Action::Back]);
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        use CameraState::Running;
        let mut watch = watch();
        assert_eq!(look(&mut watch, Running, 1, [0; 3], 0), []);
        assert_eq!(look(&mut watch, Running, 1, [0; 3], 1), []);
        let silence = Duration::from_secs(2);
        let told = look(&mut watch, Running, 1, [0; 3], 2);
        assert_eq!(told, [Action::Silent { silence }]);
        assert!(watch.is_silent());
        assert_eq!(look(&mut watch, Running, 1, [0; 3], 3), []);
        assert_eq!(
            look(&mut watch, Running, 2, [0; 3], 4),
            [Action::FramesBack]
        );
        assert!(!watch.is_silent());
    }

    #[test]
    fn a_camera_that_hangs_turned_is_told_once() {
        let (counters, mut watch) = (Counters::default(), watch());
        let mut look = |quarters| {
            counters.set_better_turned(quarters);
            watch.look(&counters, SILENT_AFTER, MonoNs(1)).to_vec()
        };
        assert_eq!(look(0), []);
        assert_eq!(look(2), [Action::Turned { degrees: 180 }]);
        assert_eq!(look(2), []);
        assert_eq!(look(0), [], "it was turned");
        assert_eq!(look(3), [Action::Turned { degrees: 270 }]);
    }

    #[test]
    fn bad_frames_are_told_of_again_only_after_ten_seconds_without() {
        use CameraState::Running;
        let mut watch = watch();
        let told = |short, damaged, resized| {
            vec![Action::BadFrames {
                short,
                damaged,
                resized,
            }]
        };
        assert_eq!(look(&mut watch, Running, 1, [0, 1, 0], 0), told(0, 1, 0));
        for second in 1..20 {
            assert_eq!(
                look(&mut watch, Running, 1 + second, [0, 1 + second, 0], second),
                []
            );
        }
        assert_eq!(
            look(&mut watch, Running, 90, [1, 20, 2], 40),
            told(1, 20, 2)
        );
    }
}
