//! Where a person's keypoints will be next: an alpha-beta filter for each.

use glam::Vec2;

use crate::base::clock::MonoNs;
use crate::pose::Keypoint;
use crate::skeleton::KEYPOINTS;

/// Share of a surprise that moves the position.
const ALPHA: f32 = 0.85;

/// Share of a surprise that changes the velocity.
const BETA: f32 = 0.3;

/// A velocity is trusted this long, seconds; then the point stands.
const COAST_S: f32 = 0.2;

/// A keypoint unseen for longer starts again, seconds.
const FORGET_S: f32 = 0.5;

/// Where a keypoint is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Place in the image, pixels.
    pub at_px: Vec2,
    /// Time since it was last seen, seconds.
    pub age_s: f32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Moving {
    at_px: Vec2,
    velocity_px_s: Vec2,
    seen: Option<MonoNs>,
}

/// Positions and velocities of one person's keypoints.
#[derive(Clone, Debug, Default)]
pub struct Motion {
    points: [Moving; KEYPOINTS],
}

impl Motion {
    /// Where each keypoint is expected at `time`; `None` if it was never seen.
    pub fn expect_at(&self, time: MonoNs) -> [Option<Expected>; KEYPOINTS] {
        self.points.map(|point| {
            let age_s = seconds(time, point.seen?);
            Some(Expected {
                at_px: point.at_px + point.velocity_px_s * age_s.clamp(0.0, COAST_S),
                age_s,
            })
        })
    }

    /// Takes in what was seen at `time`.
    pub fn observe(&mut self, time: MonoNs, keypoints: &[Keypoint; KEYPOINTS]) {
        for (point, keypoint) in self.points.iter_mut().zip(keypoints) {
            if !keypoint.is_seen() {
                continue;
            }
            let seen_px = Vec2::new(keypoint.x_px, keypoint.y_px);
            let age_s = point.seen.map(|seen| seconds(time, seen));
            if let Some(age_s) = age_s.filter(|age_s| *age_s > 0.0 && *age_s <= FORGET_S) {
                let expected = point.at_px + point.velocity_px_s * age_s.min(COAST_S);
                let surprise = seen_px - expected;
                point.at_px = expected + ALPHA * surprise;
                point.velocity_px_s += BETA / age_s * surprise;
            } else {
                point.at_px = seen_px;
                point.velocity_px_s = Vec2::ZERO;
            }
            point.seen = Some(time);
        }
    }

    /// Forgets one keypoint.
    pub fn forget(&mut self, keypoint: usize) {
        self.points[keypoint] = Moving::default();
    }
}

/// Seconds from `then` to `time`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "seconds of one track's life"
)]
pub(super) fn seconds(time: MonoNs, then: MonoNs) -> f32 {
    time.seconds_after(then) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_walk_is_foreseen() {
        let mut motion = Motion::default();
        let frame = |number: u16| MonoNs(u64::from(number) * 33_000_000);
        for number in 0..30 {
            let keypoint = Keypoint {
                x_px: 100.0 + 4.0 * f32::from(number),
                y_px: 200.0,
                confidence: 0.8,
            };
            motion.observe(frame(number), &[keypoint; KEYPOINTS]);
        }
        let expected = motion.expect_at(frame(30))[5].unwrap();
        assert!((expected.at_px - Vec2::new(220.0, 200.0)).length() < 0.5);
        assert!((expected.age_s - 0.033).abs() < 1e-4);
        assert!(Motion::default().expect_at(frame(3))[0].is_none());
    }
}
