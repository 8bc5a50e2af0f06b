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
            let keypoint = Keypoint::new(100.0 + 4.0 * f32::from(number), 200.0, 0.8);
            motion.observe(frame(number), &[keypoint; KEYPOINTS]);
        }
        let expected = motion.expect_at(frame(30))[5].unwrap();
        assert!((expected.at_px - Vec2::new(220.0, 200.0)).length() < 0.5);
        assert!((expected.age_s - 0.033).abs() < 1e-4);
        assert!(Motion::default().expect_at(frame(3))[0].is_none());
    }

    #[test]
    fn place_and_velocity_take_their_shares_of_each_surprise() {
        let mut motion = Motion::default();
        let at_ms = |ms: u64| MonoNs(5_000_000_000 + ms * 1_000_000);
        let shown = |x_px: f32, y_px: f32| [Keypoint::new(x_px, y_px, 0.8); KEYPOINTS];
        let expects = |motion: &Motion, ms: u64, x: f32, y: f32, age_s: f32| {
            let expected = motion.expect_at(at_ms(ms))[3].unwrap();
            let off = (expected.at_px - Vec2::new(x, y)).length();
            assert!(off < 1e-3, "{ms} ms: {expected:?}, want {x} {y}");
            assert!((expected.age_s - age_s).abs() < 1e-6, "{expected:?}");
        };
        motion.observe(at_ms(0), &shown(100.0, 200.0));
        // A surprise of (10, -20): 0.85 of it moves the place, 0.3 / 0.1 s of it is the velocity.
        motion.observe(at_ms(100), &shown(110.0, 180.0));
        expects(&motion, 100, 108.5, 183.0, 0.0);
        expects(&motion, 200, 111.5, 177.0, 0.1);
        // Beyond 0.2 s the point stands.
        expects(&motion, 500, 114.5, 171.0, 0.4);
        // (10, 0) off what was expected: the velocity grows by (30, 0).
        motion.observe(at_ms(200), &shown(121.5, 177.0));
        expects(&motion, 300, 126.0, 171.0, 0.1);
        // Of 0.5 s, the most that is bridged, the velocity covers 0.2: expected at (132, 165).
        motion.observe(at_ms(700), &shown(142.0, 165.0));
        expects(&motion, 800, 140.5 + 6.6, 165.0 - 6.0, 0.1);
        // Unseen for longer it starts again, at rest; so it does in the same instant.
        motion.observe(at_ms(1300), &shown(50.0, 60.0));
        expects(&motion, 1400, 50.0, 60.0, 0.1);
        motion.observe(at_ms(1300), &shown(70.0, 80.0));
        expects(&motion, 1400, 70.0, 80.0, 0.1);
    }

    #[test]
    fn a_keypoint_that_is_not_seen_or_forgotten_changes_no_other() {
        let mut motion = Motion::default();
        let mut keypoints = [Keypoint::new(10.0, 20.0, 0.8); KEYPOINTS];
        motion.observe(MonoNs(1_000_000_000), &keypoints);
        keypoints[4] = Keypoint::new(500.0, 500.0, 0.1);
        motion.observe(MonoNs(1_100_000_000), &keypoints);
        motion.forget(9);
        let expected = motion.expect_at(MonoNs(1_100_000_000));
        let hidden = expected[4].unwrap();
        assert!((hidden.at_px - Vec2::new(10.0, 20.0)).length() < 1e-6);
        assert!((hidden.age_s - 0.1).abs() < 1e-6);
        for (keypoint, expected) in expected.iter().enumerate() {
            assert_eq!(expected.is_none(), keypoint == 9, "{keypoint}");
        }
    }
}
