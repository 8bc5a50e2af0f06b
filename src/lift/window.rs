//! The last seconds of what was seen of one person, and their resampling to a fixed rate.
//!
//! Observations come when the camera delivers them, with gaps; networks want
//! samples at exactly [`RATE_HZ`], newest last: the lifter [`LIFT_SAMPLES`] of
//! keypoints. Of `n` samples, sample `k` is at `t_newest - (n - 1 - k) / 30 s` and takes,
//! joint by joint, what stands there: an observation within [`EXACT`], or the
//! straight line between the two neighbours where both see the joint and are at
//! most [`BRIDGE`] apart.

use std::time::Duration;

use glam::Vec2;
use heapless::Deque;

use crate::base::clock::MonoNs;
use crate::base::limits::{LIFT_SAMPLES, RATE_HZ, WINDOW_FRAMES};
use crate::camera::Calibration;
use crate::pose::Keypoint;
use crate::skeleton::KEYPOINTS;

/// An observation this close to a sample stands for it: far less
/// than a frame, more than the jitter of a camera's clock.
pub const EXACT: Duration = Duration::from_millis(5);

/// Longest gap between two observations that a straight line bridges.
pub const BRIDGE: Duration = Duration::from_millis(250);

/// A time that lies this far back is another clock, not a late frame.
pub const OTHER_CLOCK: Duration = Duration::from_secs(1);

/// One keypoint as a ray with its visibility; visibility 0 is a missing keypoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RayKeypoint {
    /// Ray on the plane z = 1 of the camera.
    pub ray: Vec2,
    /// 0 where the keypoint is missing.
    pub visibility: f32,
}

impl RayKeypoint {
    /// Whether there is a keypoint.
    pub fn is_present(&self) -> bool {
        self.visibility > 0.0
    }
}

/// The keypoints of one sample, COCO order.
pub type RaySample = [RayKeypoint; KEYPOINTS];

/// The lifter's window at its own rate, oldest first.
pub type RaySamples = [RaySample; LIFT_SAMPLES];

/// Keypoints in pixels to rays; what is below the gate, not finite or outside the
/// lens's field is missing.
pub fn rays_of(calibration: &Calibration, keypoints: &[Keypoint; KEYPOINTS]) -> RaySample {
    keypoints.map(|keypoint| {
        if !keypoint.is_seen() {
            return RayKeypoint::default();
        }
        calibration
            .ray(keypoint.x_px, keypoint.y_px)
            .map_or_else(RayKeypoint::default, |ray| RayKeypoint {
                ray,
                visibility: keypoint.visibility.min(1.0),
            })
    })
}

/// What a [`Timeline`] keeps.
pub trait Observed: Clone {
    /// Nothing was seen.
    const MISSING: Self;

    /// The straight line from `before` (share 0) to `after` (share 1).
    #[must_use]
    fn between(before: &Self, after: &Self, share: f32) -> Self;
}

#[derive(Clone, Debug)]
struct Observation<S> {
    time: MonoNs,
    seen: S,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an observation that was not taken has to be counted"]
pub enum Pushed {
    /// It is the newest now.
    Taken,
    /// Its time does not lie after the newest's; it was left out.
    TimeStoodBack,
    /// Its time lies so far back that the clock must have been set; what was
    /// there is gone and it is the only one.
    ClockWasSet,
}

/// One person's keypoints of about the last second, for the lifter.
pub type Window = Timeline<RaySample, WINDOW_FRAMES>;

/// One person's newest `N` observations, oldest first.
#[derive(Clone, Debug)]
pub struct Timeline<S, const N: usize> {
    observations: Deque<Observation<S>, N>,
}

impl<S, const N: usize> Default for Timeline<S, N> {
    fn default() -> Self {
        Self {
            observations: Deque::new(),
        }
    }
}

impl<S: Observed, const N: usize> Timeline<S, N> {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.observations.clear();
    }

    /// Takes in what was seen at `time`; the oldest makes room.
    pub fn push(&mut self, time: MonoNs, seen: &S) -> Pushed {
        let mut pushed = Pushed::Taken;
        if let Some(newest) = self.observations.back() {
            if newest.time.since(time) >= OTHER_CLOCK {
                self.observations.clear();
                pushed = Pushed::ClockWasSet;
            } else if time <= newest.time {
                return Pushed::TimeStoodBack;
            }
        }
        if self.observations.is_full() {
            self.observations.pop_front();
        }
        let stored = self.observations.push_back(Observation {
            time,
            seen: seen.clone(),
        });
        debug_assert!(stored.is_ok(), "room was made");
        pushed
    }

    /// Time of the newest observation.
    pub fn newest(&self) -> Option<MonoNs> {
        self.observations.back().map(|newest| newest.time)
    }

    /// Number of observations held.
    pub fn len(&self) -> usize {
        self.observations.len()
    }

    /// Whether nothing has been observed.
    pub fn is_empty(&self) -> bool {
        self.observations.is_empty()
    }

    /// Fills `samples`, newest last; all missing for an empty window.
    ///
    /// Costs one walk through the observations, newest to oldest.
    pub fn resample_into(&self, samples: &mut [S]) {
        samples.fill(S::MISSING);
        let Some(newest) = self.newest() else { return };
        let age = |observation: &Observation<S>| newest.since(observation.time);
        let mut older = self.observations.iter().rev().peekable();
        // The youngest observation that is still older than the sample stands in
        // `older`, the oldest that is not in `younger`.
        let mut younger: Option<&Observation<S>> = None;
        for (back, sample) in (0..).zip(samples.iter_mut().rev()) {
            let wanted = Duration::from_secs(back) / RATE_HZ;
            while let Some(next) = older.next_if(|next| age(next) <= wanted) {
                younger = Some(next);
            }
            let after = younger.map(|found| (found, wanted.saturating_sub(age(found))));
            let before = older
                .peek()
                .map(|&found| (found, age(found).saturating_sub(wanted)));
            *sample = match (before, after) {
                (Some((found, apart)), other)
                    if apart <= EXACT && other.is_none_or(|(_, than)| apart < than) =>
                {
                    found.seen.clone()
                }
                (_, Some((found, apart))) if apart <= EXACT => found.seen.clone(),
                (Some((before, from)), Some((after, to))) if from + to <= BRIDGE => {
                    S::between(&before.seen, &after.seen, from.div_duration_f32(from + to))
                }
                _ => continue,
            };
        }
    }
}

impl Observed for RaySample {
    const MISSING: Self = [RayKeypoint {
        ray: Vec2::ZERO,
        visibility: 0.0,
    }; KEYPOINTS];

    fn between(before: &Self, after: &Self, share: f32) -> Self {
        std::array::from_fn(|joint| {
            let (from, to) = (&before[joint], &after[joint]);
            if !from.is_present() || !to.is_present() {
                return RayKeypoint::default();
            }
            RayKeypoint {
                ray: from.ray.lerp(to.ray, share),
                visibility: from.visibility + share * (to.visibility - from.visibility),
            }
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds and indices are small"
)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> MonoNs {
        MonoNs(10_000_000_000 + ms * 1_000_000)
    }

    /// Every joint's ray is `(ms / 1000, joint)`: time can be read off.
    fn seen_at(ms: u64) -> RaySample {
        std::array::from_fn(|joint| RayKeypoint {
            ray: Vec2::new(ms as f32 * 1e-3, joint as f32),
            visibility: 0.5,
        })
    }

    fn samples_of(window: &Window) -> Box<RaySamples> {
        let mut samples = Box::new([[RayKeypoint::default(); KEYPOINTS]; LIFT_SAMPLES]);
        window.resample_into(&mut samples[..]);
        samples
    }

    #[test]
    fn samples_lie_on_the_line_between_observations_at_any_camera_rate() {
        for step_ms in [8, 20, 33, 40, 100, 200] {
            let mut window = Window::default();
            for ms in (0..2000).step_by(step_ms) {
                assert_eq!(window.push(at_ms(ms), &seen_at(ms)), Pushed::Taken);
            }
            let newest_s = (window.newest().unwrap().0 - at_ms(0).0) as f32 * 1e-9;
            for (k, sample) in samples_of(&window).iter().enumerate() {
                let wanted = newest_s - (LIFT_SAMPLES - 1 - k) as f32 / 30.0;
                // An observation within 5 ms stands for the sample as it is.
                let got = sample[3].ray;
                assert!(sample[3].is_present(), "{step_ms} ms, sample {k}");
                assert!(
                    (got.x - wanted).abs() < 5.1e-3,
                    "{step_ms} {k} {got} {wanted}"
                );
                assert!((got.y - 3.0).abs() < 1e-6);
                if step_ms == 200 && k % 6 != 2 {
                    assert!((got.x - wanted).abs() < 1e-4, "{k} {got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_gap_longer_than_a_quarter_second_stays_a_gap() {
        let mut window = Window::default();
        for ms in [0, 33, 66, 400, 433, 466] {
            let _ = window.push(at_ms(ms), &seen_at(ms));
        }
        let samples = samples_of(&window);
        let present: Vec<bool> = samples.iter().map(|s| s[0].is_present()).collect();
        // Newest 466: samples at 466, 432.7, 399.3, then 366 to 99.3 missing, then 66, 32.7, -0.7.
        assert_eq!(&present[24..], [true; 3]);
        assert_eq!(&present[15..24], [false; 9]);
        assert_eq!(&present[12..15], [true; 3]);
        assert_eq!(&present[..12], [false; 12]);
    }

    #[test]
    fn a_joint_that_one_neighbour_misses_is_missing_between_them_only() {
        let mut window = Window::default();
        for ms in (0..1000).step_by(50) {
            let mut rays = seen_at(ms);
            if ms == 900 {
                rays[7] = RayKeypoint::default();
            }
            let _ = window.push(at_ms(ms), &rays);
        }
        let samples = samples_of(&window);
        // Newest 950: samples at 950, 916.7, 883.3, 850.
        assert!(samples[26][7].is_present());
        assert!(!samples[25][7].is_present());
        assert!(!samples[24][7].is_present());
        assert!(samples[23][7].is_present());
        assert!(samples[25][8].is_present());
    }

    #[test]
    fn a_frame_from_the_past_is_left_out_and_another_clock_starts_again() {
        let mut window = Window::default();
        let _ = window.push(at_ms(3000), &seen_at(3000));
        assert_eq!(window.push(at_ms(2990), &seen_at(0)), Pushed::TimeStoodBack);
        assert_eq!(window.push(at_ms(3000), &seen_at(0)), Pushed::TimeStoodBack);
        assert_eq!(window.len(), 1);
        assert_eq!(window.push(at_ms(1000), &seen_at(1)), Pushed::ClockWasSet);
        assert_eq!((window.len(), window.newest()), (1, Some(at_ms(1000))));
    }

    #[test]
    fn keypoints_below_the_gate_or_not_finite_are_missing() {
        let camera = Calibration::assumed(640, 480);
        let mut keypoints = [Keypoint::new(100.0, 100.0, 0.9); KEYPOINTS];
        keypoints[0].visibility = 0.19;
        keypoints[1].visibility = f32::NAN;
        keypoints[2].x_px = f32::NAN;
        keypoints[3].x_px = 1e9;
        let rays = rays_of(&camera, &keypoints);
        assert_eq!(rays[..4], [RayKeypoint::default(); 4]);
        assert!(rays[4].is_present());
    }

    /// Sample `back` before the newest, of a window of observations of these ages, nanoseconds, oldest first; each is
    /// seen at its number.
    fn sample_of(ages_ns: &[u64], back: usize) -> RayKeypoint {
        let mut window = Window::default();
        for (number, age_ns) in ages_ns.iter().enumerate() {
            let seen = [RayKeypoint {
                ray: Vec2::new(number as f32, 0.0),
                visibility: 0.5,
            }; KEYPOINTS];
            let _ = window.push(MonoNs(20_000_000_000 - age_ns), &seen);
        }
        samples_of(&window)[LIFT_SAMPLES - 1 - back][0]
    }

    #[test]
    fn the_nearest_observation_within_five_milliseconds_stands_as_it_is() {
        // The sample before the newest lies 33,333,333 ns back.
        for (ages_ns, at) in [
            ([38_333_333, 0].as_slice(), 0.0),
            (
                [38_333_334, 0].as_slice(),
                1.0 - 33_333_333.0 / 38_333_334.0,
            ),
            ([60_000_000, 28_333_333, 0].as_slice(), 1.0),
            ([36_333_333, 30_333_334, 0].as_slice(), 1.0),
            ([36_333_332, 30_333_333, 0].as_slice(), 0.0),
            // As near on both sides: the newer one.
            ([36_333_333, 30_333_333, 0].as_slice(), 1.0),
        ] {
            let got = sample_of(ages_ns, 1);
            assert!(got.is_present());
            assert!((got.ray.x - at).abs() < 1e-6, "{ages_ns:?}: {got:?}");
        }
    }

    #[test]
    fn a_quarter_of_a_second_is_bridged_and_no_more() {
        let got = sample_of(&[250_000_000, 0], 3);
        assert!((got.ray.x - 0.6).abs() < 1e-6, "{got:?}");
        assert!((got.visibility - 0.5).abs() < 1e-6, "{got:?}");
        assert!(!sample_of(&[250_000_001, 0], 3).is_present());
    }

    #[test]
    fn a_window_holds_the_newest_and_knows_how_many() {
        let mut window = Window::default();
        assert!(window.is_empty() && window.newest().is_none());
        for ms in 0..200 {
            assert_eq!(window.push(at_ms(ms), &seen_at(ms)), Pushed::Taken);
        }
        assert!(!window.is_empty());
        assert_eq!(window.len(), WINDOW_FRAMES);
        assert_eq!(window.newest(), Some(at_ms(199)));
        // A second back is another clock, less is late.
        assert_eq!(window.push(at_ms(0), &seen_at(0)), Pushed::TimeStoodBack);
        let long_ago = MonoNs(at_ms(199).0 - 1_000_000_000);
        assert_eq!(window.push(long_ago, &seen_at(0)), Pushed::ClockWasSet);
        assert_eq!(window.len(), 1);
        window.clear();
        assert!(window.is_empty());
    }
}
