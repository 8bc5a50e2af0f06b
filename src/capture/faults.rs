//! A camera around a camera that does to it what cables, drivers and clocks do.
//! Seeded, so that a bad run can be run again.

use std::time::Duration;

use super::{Camera, CameraMode, CaptureError, Next, SourceKind};
use crate::base::clock::MonoNs;
use crate::frame::Frame;

/// What goes wrong, and how often. Shares are of the frames, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Seed of the dice.
    pub seed: u64,
    /// Share of frames that never come.
    pub drop_share: f32,
    /// Share of frames that come one wait late, with the time they were taken at.
    pub delay_share: f32,
    /// Share of frames with too few bytes.
    pub short_share: f32,
    /// Share of frames marked as damaged.
    pub damage_share: f32,
    /// Share of frames from which on the camera's clock is set back.
    pub step_back_share: f32,
    /// By how much it is set back.
    pub step_back: Duration,
    /// Frame from which on the camera delivers another size, if any.
    pub resize_at: Option<u32>,
    /// Frame at which the camera is unplugged, if any.
    pub unplug_at: Option<u32>,
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none(seed: u64) -> Self {
        Self {
            seed,
            drop_share: 0.0,
            delay_share: 0.0,
            short_share: 0.0,
            damage_share: 0.0,
            step_back_share: 0.0,
            step_back: Duration::ZERO,
            resize_at: None,
            unplug_at: None,
        }
    }
}

/// A camera with [`Faults`].
#[derive(Debug)]
pub struct Faulty<C> {
    inner: C,
    faults: Faults,
    rng: fastrand::Rng,
    /// How far the clock has been set back so far.
    behind: Duration,
    /// A frame that is late.
    late: Option<Frame>,
    /// What the camera's own frames count from the opening on.
    count: u32,
}

impl<C: Camera> Faulty<C> {
    /// Puts faults around a camera.
    pub fn new(inner: C, faults: Faults) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(faults.seed),
            inner,
            faults,
            behind: Duration::ZERO,
            late: None,
            count: 0,
        }
    }

    fn dice(&mut self, share: f32) -> bool {
        // Rolled for every fault and frame, so that one share does not change
        // what the dice say for another.
        self.rng.f32() < share
    }
}

impl<C: Camera> Camera for Faulty<C> {
    fn mode(&self) -> &CameraMode {
        self.inner.mode()
    }

    fn kind(&self) -> SourceKind {
        self.inner.kind()
    }

    fn native_px(&self) -> (u32, u32) {
        self.inner.native_px()
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        if let Some(late) = self.late.take() {
            *frame = late;
            return Ok(Next::Frame);
        }
        loop {
            let count = self.count;
            if self.faults.unplug_at.is_some_and(|at| count >= at) {
                return Err(CaptureError::System {
                    call: "VIDIOC_DQBUF",
                    errno: libc::ENODEV,
                    last_sequence: count.saturating_sub(1),
                });
            }
            match self.inner.next_into(frame, timeout)? {
                Next::Frame => self.count += 1,
                other => return Ok(other),
            }
            let drop = self.dice(self.faults.drop_share);
            let delay = self.dice(self.faults.delay_share);
            let short = self.dice(self.faults.short_share);
            let damage = self.dice(self.faults.damage_share);
            if self.dice(self.faults.step_back_share) {
                self.behind += self.faults.step_back;
            }
            let meta = &mut frame.meta;
            let behind_ns = u64::try_from(self.behind.as_nanos()).unwrap_or(u64::MAX);
            meta.capture = MonoNs(meta.capture.0.saturating_sub(behind_ns));
            let sequence = meta.sequence;
            if drop {
                continue;
            }
            if self.faults.resize_at.is_some_and(|at| count >= at) {
                return Err(CaptureError::Resized {
                    sequence,
                    width_px: meta.width_px / 2,
                    height_px: meta.height_px / 2,
                });
            }
            if short {
                let want = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
                return Err(CaptureError::ShortFrame {
                    sequence,
                    got: self.rng.u32(0..want.max(1)),
                    want,
                });
            }
            if damage {
                return Err(CaptureError::Damaged { sequence });
            }
            if delay {
                let room = Frame::with_room(meta.width_px, meta.height_px);
                self.late = Some(std::mem::replace(frame, room));
                return Err(CaptureError::Timeout {
                    waited_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                    last_sequence: sequence.saturating_sub(1),
                });
            }
            return Ok(Next::Frame);
        }
    }

    fn complaint(&self) -> Option<&str> {
        self.inner.complaint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    /// Counts, and ends after a thousand.
    struct Counting(CameraMode, u32);

    impl Camera for Counting {
        fn mode(&self) -> &CameraMode {
            &self.0
        }

        fn next_into(&mut self, frame: &mut Frame, _: Duration) -> Result<Next, CaptureError> {
            if self.1 == 1000 {
                return Ok(Next::End);
            }
            frame.bytes.clear();
            frame.bytes.resize(64 * 64, 1);
            frame.meta.sequence = self.1;
            frame.meta.capture = MonoNs(1_000_000_000 * u64::from(self.1));
            self.1 += 1;
            Ok(Next::Frame)
        }
    }

    fn run(faults: Faults) -> Vec<Result<(u32, u64), CaptureError>> {
        let mode = CameraMode {
            name: "counting".to_owned(),
            width_px: 64,
            height_px: 64,
            rate_hz: 1.0,
            format: PixelFormat::Grey,
        };
        let mut camera = Faulty::new(Counting(mode, 0), faults);
        let mut frame = Frame::with_room(64, 64);
        let mut seen = Vec::new();
        for _ in 0..5000 {
            match camera.next_into(&mut frame, Duration::from_millis(100)) {
                Ok(Next::End | Next::Pause) => break,
                Ok(Next::Frame) => seen.push(Ok((frame.meta.sequence, frame.meta.capture.0))),
                Err(error) => seen.push(Err(error)),
            }
        }
        seen
    }

    fn count(seen: &[Result<(u32, u64), CaptureError>], what: fn(&CaptureError) -> bool) -> usize {
        seen.iter()
            .filter_map(|one| one.as_ref().err())
            .filter(|error| what(error))
            .count()
    }

    #[test]
    fn without_faults_it_is_the_camera_within() {
        let seen = run(Faults::none(1));
        let want: Vec<_> = (0..1000)
            .map(|n| Ok((n, 1_000_000_000 * u64::from(n))))
            .collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn faults_come_at_their_share_and_the_same_for_the_same_seed() {
        let faults = Faults {
            drop_share: 0.1,
            delay_share: 0.1,
            short_share: 0.1,
            damage_share: 0.1,
            ..Faults::none(5)
        };
        let seen = run(faults.clone());
        assert_eq!(seen, run(faults.clone()));
        assert_ne!(seen, run(Faults { seed: 6, ..faults }));
        let short = count(&seen, |error| {
            matches!(error, CaptureError::ShortFrame { .. })
        });
        let damaged = count(&seen, |error| matches!(error, CaptureError::Damaged { .. }));
        let late = count(&seen, |error| matches!(error, CaptureError::Timeout { .. }));
        let came = seen.iter().filter(|one| one.is_ok()).count();
        for share in [short, damaged, late] {
            assert!((50..150).contains(&share), "{share}");
        }
        let dropped = 1000 - came - short - damaged;
        assert!((60..140).contains(&dropped), "{dropped}");
    }

    #[test]
    fn a_late_frame_keeps_the_time_it_was_taken_at() {
        let seen = run(Faults {
            delay_share: 1.0,
            ..Faults::none(2)
        });
        assert!(matches!(seen[0], Err(CaptureError::Timeout { .. })));
        assert_eq!(seen[1], Ok((0, 0)));
        assert_eq!(seen[3], Ok((1, 1_000_000_000)));
    }

    #[test]
    fn the_clock_is_set_back_and_stays_there() {
        let seen = run(Faults {
            step_back_share: 0.01,
            step_back: Duration::from_secs(5),
            ..Faults::none(4)
        });
        let steps = seen
            .windows(2)
            .filter(|pair| match (pair[0], pair[1]) {
                (Ok(before), Ok(after)) => after.1 < before.1,
                _ => false,
            })
            .count();
        assert!((3..25).contains(&steps), "{steps}");
    }

    #[test]
    fn size_and_plug_go_at_the_frame_named() {
        let seen = run(Faults {
            resize_at: Some(3),
            unplug_at: Some(4),
            ..Faults::none(4)
        });
        assert!(seen[..3].iter().all(Result::is_ok));
        assert!(matches!(seen[3], Err(CaptureError::Resized { .. })));
        assert!(matches!(
            seen[4],
            Err(CaptureError::System {
                errno: libc::ENODEV,
                ..
            })
        ));
        assert_eq!(seen[4], seen[5]);
    }
}
