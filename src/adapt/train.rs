//! The step that changes final layers: gradient by hand, Adam, a pull to the factory weights.
//!
//! ```text
//! loss = mean over samples and joints of |joints(f) - truth|  +  PULL Σ (w - factory)²
//! ```
//!
//! Only `lift` and `joints` of a [`Head`] learn; what it makes of the image, and its sigmas, stay the factory head's.
//! A synthetic view has no image: it is shown with what the image added for that person on the mean, so that what the
//! image says beyond that is neither learned nor lost. Of supervised samples what is handed out lies half way between
//! the factory weights and the running mean of the learned ones: for layers this near each other that is the mean of
//! the two poses, which held-out streams liked better than either alone.

use glam::Vec3;

use crate::base::limits::LIFT_FEATURES;
use crate::lift::head::{HIDDEN, Head};
use crate::pose::HeadTag;
use crate::skeleton::JOINTS;
use crate::sys::simd::{add_rows, rows_times};

/// How a trainer goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Length of Adam's step in a weight.
    pub rate: f32,
    /// Adam's memory of the gradient and of its square.
    pub moments: (f32, f32),
    /// Memory of the running mean of the weights, steps.
    pub mean_steps: f32,
    /// Share of the learned weights in those that are handed out; the factory has the rest.
    pub share: f32,
}

impl Pace {
    /// For steps of supervised samples.
    pub const SUPERVISED: Self = Self {
        rate: 3e-4,
        moments: (0.9, 0.99),
        mean_steps: 400.0,
        share: 0.5,
    };
}

/// Steps after which the moments no longer show where they began.
const REMEMBERED_MAX: u16 = 10_000;

/// Weight of the squared distance from the factory weights, metres.
pub(super) const PULL: f32 = 1e-2;

/// The running mean follows closely at first: its memory is this share of [`Pace::mean_steps`] then.
const MEAN_BEGIN: f32 = 0.1;

/// Numbers of the joints layer's output.
const OUTPUTS: usize = 3 * JOINTS;

/// Where each tensor of the layers that learn stands in one row of numbers.
const LIFT_BIAS: usize = HIDDEN * LIFT_FEATURES;
const JOINTS_WEIGHT: usize = LIFT_BIAS + HIDDEN;
const JOINTS_BIAS: usize = JOINTS_WEIGHT + OUTPUTS * HIDDEN;

/// Weights that learn.
pub const WEIGHTS: usize = JOINTS_BIAS + OUTPUTS;

/// What the final layers are shown: features of the frozen backbone and where the joints are.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The backbone's features.
    pub features: [f32; LIFT_FEATURES],
    /// What the image adds to the hidden layer: of a synthetic view, what it added on the mean.
    pub image_part: [f32; HIDDEN],
    /// Joints relative to joint 0, rotated frame, metres.
    pub joints_m: [Vec3; JOINTS],
}

impl Sample {
    /// Numbers that stand for nothing, to fill room with.
    pub const fn nothing() -> Self {
        Self {
            features: [f32::NAN; LIFT_FEATURES],
            image_part: [f32::NAN; HIDDEN],
            joints_m: [Vec3::NAN; JOINTS],
        }
    }
}

/// Final layers that learn.
#[derive(Debug)]
pub struct Trainer {
    pace: Pace,
    factory: Box<[f32]>,
    weights: Box<[f32]>,
    /// Running mean of the weights.
    mean: Box<[f32]>,
    gradient: Box<[f32]>,
    adam: Adam,
    steps: u64,
}

/// Adam's memory of how weights were moved.
#[derive(Debug)]
pub(super) struct Adam {
    first: Box<[f32]>,
    second: Box<[f32]>,
    /// Steps that the moments remember, up to [`REMEMBERED_MAX`].
    remembered: u16,
}

impl Adam {
    /// For so many weights.
    pub(super) fn new(weights: usize) -> Self {
        Self {
            first: zeros(weights),
            second: zeros(weights),
            remembered: 0,
        }
    }

    /// Begins again.
    pub(super) fn forget(&mut self) {
        self.first.fill(0.0);
        self.second.fill(0.0);
        self.remembered = 0;
    }

    /// Moves `weights` against `gradient`, by about `rate` each; `moments` are the memory of the gradient and of its
    /// square.
    pub(super) fn step(
        &mut self,
        rate: f32,
        moments: (f32, f32),
        weights: &mut [f32],
        gradient: &[f32],
    ) {
        self.remembered = (self.remembered + 1).min(REMEMBERED_MAX);
        let remembered = i32::from(self.remembered);
        let first_left = 1.0 - moments.0.powi(remembered);
        let second_left = 1.0 - moments.1.powi(remembered);
        let rows = weights.iter_mut().zip(gradient);
        for (((weight, g), first), second) in rows.zip(&mut self.first).zip(&mut self.second) {
            *first = moments.0 * *first + (1.0 - moments.0) * g;
            *second = moments.1 * *second + (1.0 - moments.1) * g * g;
            *weight -= rate * (*first / first_left) / ((*second / second_left).sqrt() + 1e-8);
        }
    }
}

/// The weights that learn, in one row.
fn row_of(head: &Head) -> Box<[f32]> {
    let parts = [
        &head.lift.weight,
        &head.lift.bias,
        &head.joints.weight,
        &head.joints.bias,
    ];
    parts
        .into_iter()
        .flat_map(|part| part.iter().copied())
        .collect()
}

pub(super) fn zeros(count: usize) -> Box<[f32]> {
    // Memory that is zero from the start is not there before it is written to.
    let mut row: Box<[f32]> = vec![1.0; count].into();
    row.fill(0.0);
    row
}

impl Trainer {
    /// Begins at the factory weights, at the pace for supervised samples.
    ///
    /// # Panics
    ///
    /// The head is of another shape than a head has.
    pub fn new(factory: &Head) -> Self {
        Self::with_pace(factory, Pace::SUPERVISED)
    }

    /// Begins at the factory weights.
    ///
    /// # Panics
    ///
    /// The head is of another shape than a head has.
    pub fn with_pace(factory: &Head, pace: Pace) -> Self {
        let row = row_of(factory);
        assert_eq!(row.len(), WEIGHTS, "a head has one shape");
        Self {
            pace,
            weights: row.clone(),
            mean: row.clone(),
            factory: row,
            gradient: zeros(WEIGHTS),
            adam: Adam::new(WEIGHTS),
            steps: 0,
        }
    }

    /// Steps taken since the factory weights.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The running mean of the weights, `[WEIGHTS]`: what is kept over a restart.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Goes on from weights that were kept.
    ///
    /// # Panics
    ///
    /// There are not [`WEIGHTS`].
    pub fn resume(&mut self, mean: &[f32], steps: u64) {
        self.mean.copy_from_slice(mean);
        self.weights.copy_from_slice(mean);
        self.adam.forget();
        self.steps = steps;
    }

    /// The factory weights, `[WEIGHTS]`.
    pub fn factory(&self) -> &[f32] {
        &self.factory
    }

    /// Whether every number that may be handed out is one.
    pub fn is_finite(&self) -> bool {
        self.mean.iter().all(|weight| weight.is_finite())
    }

    /// Back to the factory weights by `share` of the way; 1 is all of it.
    pub fn return_by(&mut self, share: f32) {
        for weights in [&mut self.weights, &mut self.mean] {
            if share >= 1.0 {
                // Not mixed: nothing times a number that is not finite is not finite either.
                weights.copy_from_slice(&self.factory);
                continue;
            }
            for (weight, factory) in weights.iter_mut().zip(&self.factory) {
                *weight = (1.0 - share) * *weight + share * factory;
            }
        }
        self.adam.forget();
        if share >= 1.0 {
            self.steps = 0;
        }
    }

    /// Joints of what the final layers are shown, relative to joint 0, and into `hidden` the hidden layer behind its
    /// rectifier. `None` if a number before it is not finite.
    pub fn joints_of(
        &self,
        features: &[f32; LIFT_FEATURES],
        image_part: &[f32; HIDDEN],
        hidden: &mut [f32; HIDDEN],
    ) -> Option<[Vec3; JOINTS]> {
        let (lift_weight, rest) = self.weights.split_at(LIFT_BIAS);
        let (lift_bias, rest) = rest.split_at(HIDDEN);
        let (joints_weight, joints_bias) = rest.split_at(OUTPUTS * HIDDEN);
        rows_times(lift_weight, features, lift_bias, hidden);
        add(hidden, image_part);
        // Before the rectifier: the larger of NaN and zero is zero.
        if !hidden.iter().all(|value| value.is_finite()) {
            return None;
        }
        for value in hidden.iter_mut() {
            *value = value.max(0.0);
        }
        let mut joints = [0.0; OUTPUTS];
        rows_times(joints_weight, hidden, joints_bias, &mut joints);
        let root = Vec3::from_slice(&joints[..3]);
        Some(std::array::from_fn(|joint| {
            Vec3::from_slice(&joints[3 * joint..]) - root
        }))
    }

    /// Adds to the gradient of the next step what follows from that of the loss with respect to the joints (relative to
    /// joint 0), of which [`Self::joints_of`] gave `hidden`. Nothing is added where a number is not finite.
    ///
    /// Returns whether it counts.
    pub fn follow(
        &mut self,
        features: &[f32; LIFT_FEATURES],
        hidden: &[f32; HIDDEN],
        gradient: &[Vec3; JOINTS],
    ) -> bool {
        if !gradient.iter().all(|joint| joint.is_finite()) {
            return false;
        }
        let mut of_outputs = [0.0; OUTPUTS];
        for (numbers, joint) in of_outputs.as_chunks_mut::<3>().0.iter_mut().zip(gradient) {
            *numbers = joint.to_array();
        }
        // Joint 0 is taken off all others.
        let root: Vec3 = gradient[1..].iter().sum();
        of_outputs[..3].copy_from_slice(&(-root).to_array());
        let joints_weight = &self.weights[JOINTS_WEIGHT..JOINTS_BIAS];
        let mut of_hidden = [0.0; HIDDEN];
        add_rows(joints_weight, &of_outputs, &mut of_hidden);
        for (of_hidden, hidden) in of_hidden.iter_mut().zip(hidden) {
            if *hidden <= 0.0 {
                *of_hidden = 0.0;
            }
        }
        let (of_lift, rest) = self.gradient.split_at_mut(LIFT_BIAS);
        let (of_lift_bias, rest) = rest.split_at_mut(HIDDEN);
        let (of_joints, of_joints_bias) = rest.split_at_mut(OUTPUTS * HIDDEN);
        add_outer(of_lift, &of_hidden, features);
        add(of_lift_bias, &of_hidden);
        add_outer(of_joints, &of_outputs, hidden);
        add(of_joints_bias, &of_outputs);
        true
    }

    /// Adds one sample to the gradient of the next step. `gradient_of` gives the loss' gradient with
    /// respect to the joints (relative to joint 0); where it gives `None` the sample is left out.
    ///
    /// Returns whether it counts.
    pub fn take(
        &mut self,
        features: &[f32; LIFT_FEATURES],
        image_part: &[f32; HIDDEN],
        gradient_of: impl FnOnce(&[Vec3; JOINTS]) -> Option<[Vec3; JOINTS]>,
    ) -> bool {
        let mut hidden = [0.0; HIDDEN];
        let gradient = self
            .joints_of(features, image_part, &mut hidden)
            .and_then(|joints| gradient_of(&joints));
        gradient.is_some_and(|gradient| self.follow(features, &hidden, &gradient))
    }

    /// Adds one sample whose joints are known to the gradient of the next step; returns its mean error, metres.
    pub fn take_sample(&mut self, sample: &Sample) -> f32 {
        let mut error = 0.0;
        self.take(&sample.features, &sample.image_part, |joints| {
            let (mean, gradient) = distance(joints, &sample.joints_m);
            error = mean;
            Some(gradient)
        });
        error
    }

    /// Moves the weights by what `samples` samples said. Nothing moves where a number is not finite.
    pub fn step(&mut self, samples: usize) {
        if samples == 0 {
            return;
        }
        self.steps = self.steps.saturating_add(1);
        let Pace {
            rate,
            moments,
            mean_steps,
            ..
        } = self.pace;
        #[expect(clippy::cast_precision_loss, reason = "shares of large counts")]
        let (share, steps) = (1.0 / samples as f32, self.steps as f32);
        let kept = (steps / (steps + MEAN_BEGIN * mean_steps)).min(1.0 - 1.0 / mean_steps);
        let finite = self.gradient.iter().all(|g| g.is_finite());
        let pulled = self.weights.iter().zip(&self.factory);
        for (gradient, (weight, factory)) in self.gradient.iter_mut().zip(pulled) {
            *gradient = if finite {
                share * *gradient + 2.0 * PULL * (weight - factory)
            } else {
                0.0
            };
        }
        self.adam
            .step(rate, moments, &mut self.weights, &self.gradient);
        self.gradient.fill(0.0);
        for (mean, weight) in self.mean.iter_mut().zip(&self.weights) {
            *mean += (1.0 - kept) * (*weight - *mean);
        }
    }

    /// `factory` with what was learned: what may be handed out.
    pub fn candidate(&self, factory: &Head, tag: HeadTag) -> Head {
        let mixed: Vec<f32> = self
            .factory
            .iter()
            .zip(&self.mean)
            .map(|(factory, mean)| factory + self.pace.share * (mean - factory))
            .collect();
        let mut head = factory.clone();
        head.lift.weight.copy_from_slice(&mixed[..LIFT_BIAS]);
        head.lift
            .bias
            .copy_from_slice(&mixed[LIFT_BIAS..JOINTS_WEIGHT]);
        head.joints
            .weight
            .copy_from_slice(&mixed[JOINTS_WEIGHT..JOINTS_BIAS]);
        head.joints.bias.copy_from_slice(&mixed[JOINTS_BIAS..]);
        head.tag = tag;
        head
    }
}

/// Mean distance of joints, and its gradient.
pub fn distance(joints: &[Vec3; JOINTS], truth: &[Vec3; JOINTS]) -> (f32, [Vec3; JOINTS]) {
    #[expect(clippy::cast_precision_loss, reason = "17")]
    let share = 1.0 / JOINTS as f32;
    let mut mean = 0.0;
    let gradient = std::array::from_fn(|joint| {
        let apart = joints[joint] - truth[joint];
        mean += share * apart.length();
        share * apart.normalize_or_zero()
    });
    (mean, gradient)
}

/// `matrix[r] += y[r] x`.
fn add_outer(matrix: &mut [f32], y: &[f32], x: &[f32]) {
    for (row, y) in matrix.chunks_exact_mut(x.len()).zip(y) {
        if *y != 0.0 {
            for (to, x) in row.iter_mut().zip(x) {
                *to += y * x;
            }
        }
    }
}

fn add(to: &mut [f32], numbers: &[f32]) {
    for (to, number) in to.iter_mut().zip(numbers) {
        *to += number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::head::tests::{file_of, random_tensors};

    fn head() -> Head {
        Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap()
    }

    fn sample(rng: &mut fastrand::Rng) -> Sample {
        let mut joints_m: [Vec3; JOINTS] =
            std::array::from_fn(|_| Vec3::new(rng.f32() - 0.5, rng.f32() - 0.5, rng.f32() - 0.5));
        joints_m[0] = Vec3::ZERO;
        Sample {
            features: std::array::from_fn(|_| rng.f32() - 0.5),
            image_part: [0.0; HIDDEN],
            joints_m,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sixteen")]
    fn error(head: &Head, samples: &[Sample]) -> f32 {
        let errors = samples.iter().map(|sample| {
            let joints = head.apply(Some(&sample.features), None).unwrap().joints_m;
            distance(&joints, &sample.joints_m).0
        });
        errors.sum::<f32>() / samples.len() as f32
    }

    #[test]
    fn the_gradient_is_that_of_the_mean_distance() {
        let mut rng = fastrand::Rng::with_seed(1);
        let sample = sample(&mut rng);
        let mut trainer = Trainer::new(&head());
        trainer.take_sample(&sample);
        let gradient = trainer.gradient.clone();
        let loss = |trainer: &mut Trainer| f64::from(trainer.take_sample(&sample));
        // One of each tensor, and of the root, which the others hang on.
        for at in [
            300,
            LIFT_BIAS + 7,
            JOINTS_WEIGHT + 1,
            JOINTS_WEIGHT + 5_000,
            JOINTS_BIAS + 1,
            JOINTS_BIAS + 20,
        ] {
            let step = 2e-3;
            let before = trainer.weights[at];
            trainer.weights[at] = before + step;
            let up = loss(&mut trainer);
            trainer.weights[at] = before - step;
            let down = loss(&mut trainer);
            trainer.weights[at] = before;
            let want = (up - down) / f64::from(2.0 * step);
            let got = f64::from(gradient[at]);
            assert!(
                (want - got).abs() < 1e-3 * want.abs().max(0.05),
                "{at}: {got}, want {want}"
            );
        }
    }

    #[test]
    fn what_is_shown_is_learned_and_handed_out_half_way() {
        let mut rng = fastrand::Rng::with_seed(2);
        let samples: Vec<Sample> = (0..16).map(|_| sample(&mut rng)).collect();
        let factory = head();
        let mut trainer = Trainer::new(&factory);
        let tag = HeadTag {
            generation: 3,
            adapted: true,
        };
        assert!(trainer.candidate(&factory, HeadTag::default()) == factory);
        for _ in 0..200 {
            for sample in &samples {
                trainer.take_sample(sample);
            }
            trainer.step(samples.len());
        }
        let candidate = trainer.candidate(&factory, tag);
        assert_eq!(candidate.tag, tag);
        let (before, after) = (error(&factory, &samples), error(&candidate, &samples));
        assert!(after < 0.8 * before, "{before} {after}");
        trainer.return_by(1.0);
        assert!(trainer.candidate(&factory, HeadTag::default()) == factory);
        assert_eq!(trainer.steps(), 0);
    }

    #[test]
    fn a_sample_that_is_no_number_moves_nothing() {
        let factory = head();
        let mut trainer = Trainer::new(&factory);
        assert!(!trainer.take(&[0.1; LIFT_FEATURES], &[0.0; HIDDEN], |_| None));
        assert!(
            !trainer.take(&[f32::NAN; LIFT_FEATURES], &[0.0; HIDDEN], |joints| Some(
                *joints
            ))
        );
        trainer.gradient[5] = f32::INFINITY;
        trainer.step(1);
        assert!(trainer.candidate(&factory, HeadTag::default()) == factory);
    }

    #[test]
    fn steps_after_a_restart_are_as_long_as_the_first_ones() {
        let mut rng = fastrand::Rng::with_seed(3);
        let factory = head();
        let sample = sample(&mut rng);
        let longest = |mut trainer: Trainer| {
            let mut longest = 0.0_f32;
            for _ in 0..10 {
                let before = trainer.weights.clone();
                trainer.take_sample(&sample);
                trainer.step(1);
                for (now, before) in trainer.weights.iter().zip(&before) {
                    longest = longest.max((now - before).abs());
                }
            }
            longest
        };
        let mut again = Trainer::new(&factory);
        again.resume(&row_of(&factory), 5000);
        let (first, later) = (longest(Trainer::new(&factory)), longest(again));
        assert!((later / first - 1.0).abs() < 1e-3, "{first} {later}");
        assert!(first < 1.1 * Pace::SUPERVISED.rate, "{first}");
    }

    #[test]
    fn what_was_kept_is_gone_on_from() {
        let mut rng = fastrand::Rng::with_seed(3);
        let factory = head();
        let mut trainer = Trainer::new(&factory);
        let sample = sample(&mut rng);
        for _ in 0..20 {
            trainer.take_sample(&sample);
            trainer.step(1);
        }
        let kept = trainer.mean().to_vec();
        let mut again = Trainer::new(&factory);
        again.resume(&kept, trainer.steps());
        let tag = HeadTag::default();
        assert!(again.candidate(&factory, tag) == trainer.candidate(&factory, tag));
    }
}
