//! How a detector errs: measured on photographs and on drawn people, and simulated from there.
//!
//! ```text
//!  keypoints, and which are hidden ─▶ error, slow and quick ─▶ confidence, given the error ─▶ exchanged, lost ─▶ answer
//! ```
//!
//! `detectors.toml` holds what `models/training/people/detector_errors.py` has measured. Without one, the simulation's
//! `ideal` detector errs afresh in each frame, knows how much, and always knows what is hidden.

#![expect(
    clippy::cast_possible_truncation,
    reason = "seconds and shares between two frames"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use fastrand::Rng;
use glam::Vec2;
use serde::Deserialize;

use super::simulate::normal;
use crate::base::config::{ConfigError, check};
use crate::pose::{Keypoint, VISIBILITY_GATE};
use crate::skeleton::{KEYPOINT_MIRROR, KEYPOINTS};

/// The detectors that ship.
pub const SHIPPED: &str = include_str!("detectors.toml");

/// Keypoints that are exchanged with their counterparts together: arms from the elbow on, legs from the knee on.
const LIMBS: [&[usize]; 2] = [&[7, 9], &[13, 15]];

/// An error as small as this share of the usual one is not told from a smaller one by any confidence.
const LEAST_ERROR: f32 = 0.1;

/// Errors of a detector. Lengths are shares of the person's height in the image.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// Standard deviation of each seen keypoint's error, along each axis; 0 to 0.2.
    pub noise: [f32; KEYPOINTS],
    /// Share of errors that are `tail` times as large; 0 to 0.5.
    pub tail_share: f32,
    /// See `tail_share`; 1 to 20.
    pub tail: f32,
    /// How long such an error lasts, seconds; 0.01 to 10.
    pub tail_s: f32,
    /// Share of the error's variance that changes slowly; 0 to 1.
    pub correlated: f32,
    /// Time in which that part loses two thirds of its correlation with itself, seconds; 0.01 to 10.
    pub lasts_s: f32,
    /// Share of the slow part's variance that all keypoints of a person have in common; 0 to 1.
    pub shared: f32,
    /// How many times larger the error of a hidden keypoint is; 1 to 20.
    pub hidden: f32,
    /// Mean logit of a seen keypoint's confidence at the usual error; -10 to 10.
    pub confidence: f32,
    /// By how much that falls where the error is e times as large; 0 to 5.
    pub confidence_slope: f32,
    /// Standard deviation of the logit about that; 0 to 5.
    pub confidence_spread: f32,
    /// Mean and standard deviation of the logit of a hidden keypoint's confidence. Those that come out at the gate or
    /// above are hallucinated: given as if they were seen.
    pub hallucinated: [f32; 2],
    /// How often arms or legs are exchanged, times a second, and for how long, seconds; 0 to 10.
    pub swap: [f32; 2],
    /// How often the answer of the frame before is given again, times a second, and for how long, seconds; 0 to 10.
    pub freeze: [f32; 2],
    /// How often the person is not found, times a second, and for how long, seconds; 0 to 10.
    pub missed: [f32; 2],
}

impl Detector {
    /// The shipped detector of a name; `None` is the ideal one.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn named(name: &str) -> Result<Option<Self>, ConfigError> {
        if name == "ideal" {
            return Ok(None);
        }
        let mut all: BTreeMap<String, Self> =
            toml::from_str(SHIPPED).map_err(|error| ConfigError::Parse {
                path: PathBuf::from("detectors.toml"),
                message: error.to_string().trim_end().to_owned(),
            })?;
        let found = all.remove(name).ok_or_else(|| ConfigError::Value {
            key: "detector",
            value: name.to_owned(),
            want: "ideal or measured",
        })?;
        found.validate()?;
        Ok(Some(found))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for noise in self.noise {
            check("detector.noise", noise, 0.0, 0.2)?;
        }
        check("detector.tail_share", self.tail_share, 0.0, 0.5)?;
        check("detector.tail", self.tail, 1.0, 20.0)?;
        check("detector.tail_s", self.tail_s, 0.01, 10.0)?;
        check("detector.correlated", self.correlated, 0.0, 1.0)?;
        check("detector.lasts_s", self.lasts_s, 0.01, 10.0)?;
        check("detector.shared", self.shared, 0.0, 1.0)?;
        check("detector.hidden", self.hidden, 1.0, 20.0)?;
        check("detector.confidence", self.confidence, -10.0, 10.0)?;
        check("detector.confidence_slope", self.confidence_slope, 0.0, 5.0)?;
        check(
            "detector.confidence_spread",
            self.confidence_spread,
            0.0,
            5.0,
        )?;
        check("detector.hallucinated", self.hallucinated[0], -10.0, 10.0)?;
        check("detector.hallucinated", self.hallucinated[1], 0.0, 5.0)?;
        for (key, [often, long]) in [
            ("detector.swap", self.swap),
            ("detector.freeze", self.freeze),
            ("detector.missed", self.missed),
        ] {
            check(key, often, 0.0, 10.0)?;
            check(key, long, 0.0, 10.0)?;
        }
        Ok(())
    }
}

/// A keypoint before the detector errs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    /// Where it is, pixels.
    pub at: Vec2,
    /// Whether the camera sees it.
    pub seen: bool,
    /// Whether it is in the image.
    pub inside: bool,
}

/// A detector at work on one person: what it errs by goes on from frame to frame.
#[derive(Clone, Debug)]
pub(super) struct Erring<'a> {
    detector: &'a Detector,
    rng: Rng,
    common: Vec2,
    own: [Vec2; KEYPOINTS],
    /// Of the confidences, standard normal.
    mood: [f32; KEYPOINTS],
    wild: [bool; KEYPOINTS],
    swapped: [bool; LIMBS.len()],
    frozen: bool,
    missed: bool,
    last: Option<[Keypoint; KEYPOINTS]>,
}

impl<'a> Erring<'a> {
    /// Begins with a person who has just come into view.
    pub fn new(detector: &'a Detector, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut plane = || Vec2::new(normal(&mut rng), normal(&mut rng));
        let (common, own) = (plane(), std::array::from_fn(|_| plane()));
        let mood = std::array::from_fn(|_| normal(&mut rng));
        Self {
            detector,
            rng,
            common,
            own,
            mood,
            wild: [false; KEYPOINTS],
            swapped: [false; LIMBS.len()],
            frozen: false,
            missed: false,
            last: None,
        }
    }

    /// The answer for a person of a height in pixels, `span_s` after the last one; `None` if the person is not found.
    pub fn answer(
        &mut self,
        real: &[Real; KEYPOINTS],
        height_px: f32,
        span_s: f64,
    ) -> Option<[Keypoint; KEYPOINTS]> {
        let span_s = span_s as f32;
        self.go_on(span_s);
        let [often, long_s] = self.detector.missed;
        if happens(
            &mut self.rng,
            &mut self.missed,
            often * span_s,
            long_s,
            span_s,
        ) {
            return None;
        }
        let [often, long_s] = self.detector.freeze;
        if happens(
            &mut self.rng,
            &mut self.frozen,
            often * span_s,
            long_s,
            span_s,
        ) && let Some(last) = self.last
        {
            return Some(last);
        }
        let mut said = std::array::from_fn(|k| self.keypoint(k, &real[k], height_px, span_s));
        let [often, long_s] = self.detector.swap;
        for (limb, swapped) in LIMBS.into_iter().zip(&mut self.swapped) {
            if happens(&mut self.rng, swapped, often * span_s, long_s, span_s) {
                for &k in limb {
                    said.swap(k, KEYPOINT_MIRROR[k]);
                }
            }
        }
        self.last = Some(said);
        Some(said)
    }

    /// The slow parts a while later: Ornstein and Uhlenbeck's process, of unit variance.
    fn go_on(&mut self, span_s: f32) {
        let kept = (-span_s / self.detector.lasts_s).exp();
        let fresh = (1.0 - kept * kept).sqrt();
        for slow in std::iter::once(&mut self.common).chain(&mut self.own) {
            let plane = Vec2::new(normal(&mut self.rng), normal(&mut self.rng));
            *slow = kept * *slow + fresh * plane;
        }
        for mood in &mut self.mood {
            *mood = kept * *mood + fresh * normal(&mut self.rng);
        }
    }

    fn keypoint(&mut self, k: usize, real: &Real, height_px: f32, span_s: f32) -> Keypoint {
        let detector = self.detector;
        let (slow, shared) = (detector.correlated, detector.shared);
        let quick = Vec2::new(normal(&mut self.rng), normal(&mut self.rng));
        let mut error = slow.sqrt()
            * (shared.sqrt() * self.common + (1.0 - shared).sqrt() * self.own[k])
            + (1.0 - slow).sqrt() * quick;
        // So often that `tail_share` of the frames have one.
        let begins =
            ends(detector.tail_s, span_s) * detector.tail_share / (1.0 - detector.tail_share);
        if happens(
            &mut self.rng,
            &mut self.wild[k],
            begins,
            detector.tail_s,
            span_s,
        ) {
            error *= detector.tail;
        }
        let usual = error.length();
        if !real.seen {
            error *= detector.hidden;
        }
        let at = real.at + error * (detector.noise[k] * height_px);
        let logit = if real.seen && real.inside {
            detector.confidence - detector.confidence_slope * (usual + LEAST_ERROR).ln()
                + detector.confidence_spread * self.mood[k]
        } else {
            detector.hallucinated[0] + detector.hallucinated[1] * self.mood[k]
        };
        let mut visibility = 1.0 / (1.0 + (-logit).exp());
        if !real.inside {
            // A crop ends at the border of the image: what lies beyond has no heatmap.
            visibility = visibility.min(0.5 * VISIBILITY_GATE);
        }
        Keypoint::new(at.x, at.y, visibility)
    }
}

/// Whether something that lasts `long_s` on the mean, and begins with the chance `begins`, goes on or begins now.
///
/// A chain of two states: whatever the time between two frames, it lasts as many frames on the mean as `long_s` has.
fn happens(rng: &mut Rng, on: &mut bool, begins: f32, long_s: f32, span_s: f32) -> bool {
    let chance = if *on {
        1.0 - ends(long_s, span_s)
    } else {
        begins
    };
    *on = rng.f32() < chance;
    *on
}

/// The chance that what lasts so long on the mean ends from one frame to the next.
fn ends(long_s: f32, span_s: f32) -> f32 {
    if long_s > span_s {
        span_s / long_s
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector(change: impl FnOnce(&mut Detector)) -> Detector {
        let mut detector = Detector {
            noise: [0.02; KEYPOINTS],
            tail_share: 0.0,
            tail: 1.0,
            tail_s: 0.1,
            correlated: 0.5,
            lasts_s: 0.5,
            shared: 0.0,
            hidden: 3.0,
            confidence: 1.0,
            confidence_slope: 1.0,
            confidence_spread: 0.5,
            hallucinated: [-1.0, 1.0],
            swap: [0.0; 2],
            freeze: [0.0; 2],
            missed: [0.0; 2],
        };
        change(&mut detector);
        detector
    }

    const HEIGHT_PX: f32 = 400.0;
    const STEP_S: f64 = 1.0 / 30.0;

    fn real(seen: bool) -> [Real; KEYPOINTS] {
        std::array::from_fn(|k| Real {
            #[expect(clippy::cast_precision_loss, reason = "a keypoint's number")]
            at: Vec2::new(100.0 * k as f32, 50.0),
            seen,
            inside: true,
        })
    }

    /// Errors of the nose in shares of the height, and its confidences.
    fn errors(detector: &Detector, seen: bool, frames: usize) -> (Vec<Vec2>, Vec<f32>) {
        let mut erring = Erring::new(detector, 5);
        let real = real(seen);
        (0..frames)
            .filter_map(|_| erring.answer(&real, HEIGHT_PX, STEP_S))
            .map(|said| {
                let at = Vec2::new(said[0].x_px, said[0].y_px);
                ((at - real[0].at) / HEIGHT_PX, said[0].confidence)
            })
            .unzip()
    }

    #[expect(clippy::cast_precision_loss, reason = "thousands of frames")]
    fn mean(values: impl Iterator<Item = f32>) -> f32 {
        let (count, sum) = values.fold((0, 0.0), |(n, s), v| (n + 1, s + v));
        sum / count as f32
    }

    #[test]
    fn errors_are_as_large_and_as_lasting_as_the_detector_says() {
        let one = detector(|_| {});
        let (found, _) = errors(&one, true, 60_000);
        let variance = mean(found.iter().map(|e| e.x * e.x));
        assert!(
            (variance.sqrt() - 0.02).abs() < 0.001,
            "{}",
            variance.sqrt()
        );
        for (steps, part) in [(1_usize, (-2.0_f32 / 30.0).exp()), (15, (-1.0_f32).exp())] {
            let pairs = found.iter().zip(found.iter().skip(steps));
            let kept = mean(pairs.map(|(a, b)| a.x * b.x)) / variance;
            assert!((kept - 0.5 * part).abs() < 0.05, "{steps} steps: {kept}");
        }
        let (hidden, _) = errors(&one, false, 20_000);
        let apart = mean(hidden.iter().map(|e| e.x * e.x)).sqrt();
        assert!((apart - 0.06).abs() < 0.004, "{apart}");
    }

    #[test]
    fn confidence_tells_something_of_the_error_and_not_all() {
        let (found, said) = errors(&detector(|_| {}), true, 20_000);
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|a, b| found[*a].length().total_cmp(&found[*b].length()));
        let (near, far) = order.split_at(order.len() / 2);
        let (near, far) = (
            mean(near.iter().map(|at| said[*at])),
            mean(far.iter().map(|at| said[*at])),
        );
        assert!(near > far + 0.05, "{near} and {far}");
        assert!(said.iter().any(|s| *s > 0.9) && said.iter().any(|s| *s < 0.5));
        let (_, hidden) = errors(&detector(|_| {}), false, 20_000);
        let above = mean(
            hidden
                .iter()
                .map(|c| f32::from(u8::from(*c >= VISIBILITY_GATE))),
        );
        // The gate's logit is -1.386: a normal number over -0.386 in 65 of 100 cases.
        assert!((above - 0.65).abs() < 0.04, "{above}");
    }

    #[test]
    fn what_is_outside_the_image_is_never_given_as_seen() {
        let one = detector(|_| {});
        let mut erring = Erring::new(&one, 1);
        let outside = real(true).map(|real| Real {
            inside: false,
            ..real
        });
        for _ in 0..2000 {
            let said = erring.answer(&outside, HEIGHT_PX, STEP_S).unwrap();
            assert!(said.iter().all(|keypoint| !keypoint.is_seen()));
        }
    }

    #[test]
    fn people_are_missed_limbs_exchanged_and_answers_repeated_for_a_share_of_the_time() {
        let share =
            |change: fn(&mut Detector), span_s: f64, counts: fn(&[Keypoint; KEYPOINTS]) -> bool| {
                let detector = detector(change);
                let mut erring = Erring::new(&detector, 3);
                let real = real(true);
                mean((0..60_000).map(|_| {
                    let said = erring.answer(&real, HEIGHT_PX, span_s);
                    f32::from(u8::from(said.is_none_or(|said| counts(&said))))
                }))
            };
        let left_of_right = |said: &[Keypoint; KEYPOINTS]| said[13].x_px > said[14].x_px;
        assert!(share(|_| {}, STEP_S, left_of_right) < 0.01);
        for span_s in [STEP_S, 2.0 * STEP_S, 0.1] {
            // Once every two seconds of the others, for half a second: a fifth.
            let missed = share(|d| d.missed = [0.5, 0.5], span_s, |_| false);
            assert!((missed - 0.2).abs() < 0.02, "{span_s} s: {missed}");
            let swapped = share(|d| d.swap = [0.5, 0.5], span_s, left_of_right);
            assert!((swapped - 0.2).abs() < 0.02, "{span_s} s: {swapped}");
            let wild = share(
                |d| {
                    d.noise = [0.001; KEYPOINTS];
                    (d.tail, d.tail_share, d.tail_s) = (20.0, 0.26, 0.177);
                },
                span_s,
                |said| said[0].x_px.hypot(said[0].y_px - 50.0) > 0.004 * HEIGHT_PX,
            );
            // Of those twenty times as large, the 0.98 that are above a fifth of their own size.
            assert!((wild - 0.255).abs() < 0.015, "{span_s} s: {wild}");
        }
    }

    #[test]
    fn the_shipped_detectors_are_read_and_others_refused_by_name() {
        assert_eq!(Detector::named("ideal").unwrap(), None);
        let measured = Detector::named("measured").unwrap().unwrap();
        assert!(measured.correlated > 0.0 && measured.noise.iter().all(|noise| *noise > 0.0));
        let refused = Detector::named("perfect").unwrap_err().to_string();
        assert!(refused.contains("perfect"), "{refused}");
    }
}
