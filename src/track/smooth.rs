//! The one-euro filter (Casiez, Roussel, Vogel, CHI 2012), on points.
//!
//! A first-order low pass whose cutoff rises with speed: a standing joint is
//! held still, a fast one hardly delayed. For a slowly moving signal the delay is
//! `1 / (2 π cutoff)`: [`OneEuroConfig::latency_s`] says how much. Speed is taken
//! from the whole point, so that all directions are smoothed alike.

use std::f32::consts::TAU;

use serde::Deserialize;

use crate::base::clock::MonoNs;
use crate::base::config::{ConfigError, check};

/// A point unseen for longer starts again instead of being interpolated from its last place, seconds.
const RESTART_S: f64 = 0.25;

/// How strongly to smooth. Speeds are in the unit of the points filtered: box
/// sizes a second for keypoints, metres a second for joints.
///
/// ```toml
/// min_cutoff_hz = 2.0
/// cutoff_per_speed = 3.0
/// speed_cutoff_hz = 1.0
/// ```
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OneEuroConfig {
    /// Cutoff of a point at rest, hertz, 0.01 to 100. Lower is calmer and later:
    /// 2 Hz is a delay of 80 ms.
    pub min_cutoff_hz: f32,
    /// By how much the cutoff rises with each unit of speed, hertz per (unit per
    /// second), 0 to 1000.
    pub cutoff_per_speed: f32,
    /// Cutoff of the speed's own low pass, hertz, 0.01 to 100; 1 in the paper.
    #[serde(default = "default_speed_cutoff_hz")]
    pub speed_cutoff_hz: f32,
}

const fn default_speed_cutoff_hz() -> f32 {
    1.0
}

impl OneEuroConfig {
    /// Checks the ranges; `keys` are the three fields with their section, in order.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self, keys: [&'static str; 3]) -> Result<(), ConfigError> {
        check(keys[0], self.min_cutoff_hz, 0.01, 100.0)?;
        check(keys[1], self.cutoff_per_speed, 0.0, 1000.0)?;
        check(keys[2], self.speed_cutoff_hz, 0.01, 100.0)
    }

    /// Delay of a point that moves steadily at `speed`, in seconds.
    pub fn latency_s(&self, speed: f32) -> f32 {
        1.0 / (TAU * (self.min_cutoff_hz + self.cutoff_per_speed * speed.abs()))
    }
}

/// The filter's memory of one point with `N` coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneEuro<const N: usize> {
    last: Option<MonoNs>,
    value: [f32; N],
    /// Filtered derivative, coordinates a second.
    slope: [f32; N],
}

impl<const N: usize> Default for OneEuro<N> {
    fn default() -> Self {
        Self {
            last: None,
            value: [0.0; N],
            slope: [0.0; N],
        }
    }
}

impl<const N: usize> OneEuro<N> {
    /// Smooths `point`, seen at `time`; `unit` is how many coordinates make one
    /// unit of speed (box size in pixels, 1 for metres).
    ///
    /// The first point, and one after a gap, comes back as it is.
    #[expect(clippy::cast_possible_truncation, reason = "a step of at most 0.25 s")]
    pub fn step(
        &mut self,
        config: &OneEuroConfig,
        time: MonoNs,
        point: [f32; N],
        unit: f32,
    ) -> [f32; N] {
        let step_s = self.last.map(|last| time.seconds_after(last));
        let Some(step_s) = step_s.filter(|step_s| *step_s > 0.0 && *step_s <= RESTART_S) else {
            *self = Self {
                last: Some(time),
                value: point,
                slope: [0.0; N],
            };
            return point;
        };
        let step_s = step_s as f32;
        let share = low_pass_share(config.speed_cutoff_hz, step_s);
        let mut squared = 0.0;
        for ((slope, new), old) in self.slope.iter_mut().zip(point).zip(self.value) {
            *slope += share * ((new - old) / step_s - *slope);
            squared += *slope * *slope;
        }
        let speed = squared.sqrt() / unit.max(f32::MIN_POSITIVE);
        let cutoff_hz = config.min_cutoff_hz + config.cutoff_per_speed * speed;
        let share = low_pass_share(cutoff_hz, step_s);
        for (value, new) in self.value.iter_mut().zip(point) {
            *value += share * (new - *value);
        }
        self.last = Some(time);
        self.value
    }

    /// Forgets the point.
    pub fn clear(&mut self) {
        self.last = None;
    }
}

/// Share of the new value in a first-order low pass: `1 / (1 + tau / step)`.
fn low_pass_share(cutoff_hz: f32, step_s: f32) -> f32 {
    1.0 / (1.0 + 1.0 / (TAU * cutoff_hz * step_s))
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "frame numbers are small")]
mod tests {
    use super::*;

    const CONFIG: OneEuroConfig = OneEuroConfig {
        min_cutoff_hz: 1.5,
        cutoff_per_speed: 2.0,
        speed_cutoff_hz: 1.0,
    };

    fn frame(number: u64) -> MonoNs {
        MonoNs(1_000_000_000 + number * 33_333_333)
    }

    #[test]
    fn a_standing_point_is_held_still() {
        let mut filter = OneEuro::<2>::default();
        let mut random = fastrand::Rng::with_seed(1);
        let (mut raw, mut smooth) = (0.0, 0.0);
        for number in 0..600 {
            let noise = random.f32() - 0.5;
            let out = filter.step(&CONFIG, frame(number), [100.0 + noise, 50.0], 200.0);
            if number > 30 {
                raw += noise * noise;
                smooth += (out[0] - 100.0).powi(2);
            }
        }
        assert!(smooth < 0.25 * raw, "{smooth} of {raw}");
    }

    #[test]
    fn a_steady_point_lags_by_the_stated_latency() {
        let mut filter = OneEuro::<1>::default();
        let speed = 0.8;
        let mut lag_s = 0.0;
        for number in 0..300 {
            let at = speed * number as f32 / 30.0;
            let out = filter.step(&CONFIG, frame(number), [at], 1.0)[0];
            lag_s = (at - out) / speed;
        }
        let stated_s = CONFIG.latency_s(speed);
        // The filter takes in the newest point at once, so the lag is up to a frame less.
        assert!(
            lag_s < stated_s && lag_s > stated_s - 0.035,
            "{lag_s} {stated_s}"
        );
    }

    #[test]
    fn after_a_gap_or_a_step_back_the_point_is_taken_as_it_is() {
        let mut filter = OneEuro::<1>::default();
        let _ = filter.step(&CONFIG, frame(0), [0.0], 1.0);
        let _ = filter.step(&CONFIG, frame(1), [1.0], 1.0);
        let [after_gap] = filter.step(&CONFIG, frame(20), [9.0], 1.0);
        assert!((after_gap - 9.0).abs() < 1e-6);
        let [stepped_back] = filter.step(&CONFIG, frame(5), [3.0], 1.0);
        assert!((stepped_back - 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_cutoff_of_zero_is_refused_by_name() {
        let config = OneEuroConfig {
            min_cutoff_hz: 0.0,
            ..CONFIG
        };
        let keys = ["track.smooth.min_cutoff_hz", "", ""];
        let error = config.validate(keys).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("track.smooth.min_cutoff_hz = 0")
        );
    }

    #[test]
    fn the_filter_is_what_its_formula_says() {
        // In double precision, from the paper: a low pass of the derivative sets the cutoff of that of the point.
        let share = |cutoff_hz: f64, step_s: f64| {
            let tau = 1.0 / (std::f64::consts::TAU * cutoff_hz);
            1.0 / (1.0 + tau / step_s)
        };
        let (unit, mut filter) = (50.0, OneEuro::<2>::default());
        let mut random = fastrand::Rng::with_seed(4);
        let (mut time, mut last, mut slope) = (MonoNs(1_000_000_000), [20.0, -30.0], [0.0; 2]);
        let _ = filter.step(&CONFIG, time, [20.0, -30.0], unit);
        // A quarter of a second is the longest that is bridged.
        for step_ms in [33_u32, 10, 100, 250, 67, 20, 250] {
            time = MonoNs(time.0 + u64::from(step_ms) * 1_000_000);
            let step_s = f64::from(step_ms) * 1e-3;
            let point = [100.0 * random.f32(), -100.0 * random.f32()];
            for axis in 0..2 {
                let raw = (f64::from(point[axis]) - last[axis]) / step_s;
                slope[axis] += share(1.0, step_s) * (raw - slope[axis]);
            }
            let speed = f64::hypot(slope[0], slope[1]) / f64::from(unit);
            let follow = share(1.5 + 2.0 * speed, step_s);
            let got = filter.step(&CONFIG, time, point, unit);
            for axis in 0..2 {
                last[axis] += follow * (f64::from(point[axis]) - last[axis]);
                let off = (f64::from(got[axis]) - last[axis]).abs();
                assert!(off < 1e-3, "{step_ms} ms: {got:?}, want {last:?}");
            }
        }
    }

    #[test]
    fn a_point_of_the_same_instant_and_one_after_clearing_are_taken_as_they_are() {
        let mut filter = OneEuro::<1>::default();
        for (number, point) in [(3, 1.0), (4, 2.0), (4, 5.0)] {
            let [out] = filter.step(&CONFIG, frame(number), [point], 1.0);
            assert_eq!(out.to_bits() == point.to_bits(), number == 3 || point > 4.0);
        }
        filter.clear();
        let [out] = filter.step(&CONFIG, frame(5), [9.0], 1.0);
        assert!((out - 9.0).abs() < 1e-6, "{out}");
    }

    #[test]
    fn the_stated_latencies_are_those_of_the_configuration() {
        // As `lift.smooth_joints` documents its defaults: 80 ms at rest, 30 ms at 0.5 m/s.
        let config = OneEuroConfig {
            min_cutoff_hz: 2.0,
            cutoff_per_speed: 6.5,
            speed_cutoff_hz: 1.0,
        };
        for (speed, want_s) in [(0.0, 0.0796), (0.5, 0.0303), (-0.5, 0.0303)] {
            let got_s = config.latency_s(speed);
            assert!((got_s - want_s).abs() < 1e-4, "{speed}: {got_s}");
        }
    }
}
