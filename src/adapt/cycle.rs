//! The motion denoiser of `CycleAdapt` (ICCV 2023), which adapts in turns with the final layers.
//!
//! ```text
//!  final layers' poses ─▶ masked ─▶ denoiser ─┬─▶ what these poses are drawn towards     turn of the final layers
//!                                             └─▶ masked frames, as they were without    turn of the denoiser
//! ```
//!
//! What is different here, and why:
//!
//! - A window has 60 samples of joints in the body frame, in torso lengths, and no body shape: that is what the final
//!   layers give. The share of masked samples is the paper's.
//! - The paper averages the denoiser's output over all windows that cover a frame, each masked in another way. Windows
//!   here do not overlap, so the mean is taken over a few masks of the one window.
//! - The stream has no end, so a weak pull to the weights that ship keeps the denoiser near them, as it does the final
//!   layers, and the length of a step stays what it is at first.

use glam::Vec3;

use super::train::{Adam, PULL, zeros};
use crate::base::limits::MOTION_SAMPLES;
use crate::motion::denoiser::{
    CHANNELS, DENOISER_WEIGHTS, Denoiser, DenoiserSpace, PoseWindow, enter, joint_of,
};
use crate::motion::encoder::JointSamples;

/// Masked samples: the paper masks 25 frames of 49.
const MASKED: usize = 31;

/// The sample that is always masked.
const CENTRE: usize = MOTION_SAMPLES / 2;

/// Masks whose outputs are averaged. On people who were held out from its training the mean distance of a joint from the
/// truth is 0.075 torso lengths with one mask, 0.071 with four, 0.070 with eight; that of the poses themselves is 0.078.
const MASKS: usize = 4;

/// Length of Adam's step in a weight, and its memory of the gradient and of its square, as in the paper.
const RATE: f32 = 5e-5;
const MOMENTS: (f32, f32) = (0.5, 0.9);

/// Coordinates of a window.
const COORDINATES: usize = MOTION_SAMPLES * CHANNELS;

/// Which samples are masked.
type Mask = [bool; MOTION_SAMPLES];

/// A denoiser that adapts.
#[derive(Debug)]
pub(super) struct AdaptingDenoiser {
    net: Denoiser,
    /// As it ships.
    factory: Box<[f32]>,
    gradient: Box<[f32]>,
    adam: Adam,
    space: DenoiserSpace,
    /// The window without a mask.
    poses: Box<PoseWindow>,
    /// The mean of the outputs of several masks, and the gradient of one output.
    denoised: Box<PoseWindow>,
    slopes: Box<PoseWindow>,
    /// Windows in the gradient of the next step.
    taken: usize,
}

impl AdaptingDenoiser {
    /// Begins with what ships.
    pub(super) fn new(net: Denoiser) -> Self {
        let space = DenoiserSpace::default();
        let window = || space.input.clone();
        Self {
            factory: net.weights().into(),
            gradient: zeros(DENOISER_WEIGHTS),
            adam: Adam::new(DENOISER_WEIGHTS),
            poses: window(),
            denoised: window(),
            slopes: window(),
            taken: 0,
            net,
            space,
        }
    }

    /// The denoiser's weights.
    #[cfg(test)]
    pub(super) fn weights(&self) -> &[f32] {
        self.net.weights()
    }

    /// Back to the weights that ship by `share` of the way; 1 is all of it.
    pub(super) fn return_by(&mut self, share: f32) {
        let weights = self.net.weights_mut();
        for (weight, factory) in weights.iter_mut().zip(&self.factory) {
            *weight += share * (*factory - *weight);
        }
        if share >= 1.0 {
            weights.copy_from_slice(&self.factory);
        }
        self.adam.forget();
        self.gradient.fill(0.0);
        self.taken = 0;
    }

    /// The mean distance of a coordinate of `joints_m` (any frame) from the same without noise, metres, and into
    /// `gradient` its gradient per metre; what is without noise is taken as given.
    ///
    /// `None` for numbers that are not finite; `gradient` is then not written.
    pub(super) fn distance(
        &mut self,
        joints_m: &JointSamples,
        rng: &mut fastrand::Rng,
        gradient: &mut JointSamples,
    ) -> Option<f32> {
        let body = enter(joints_m, &mut self.poses);
        self.denoised.as_flattened_mut().fill(0.0);
        for _ in 0..MASKS {
            self.pass(&random_mask(rng))?;
            let outputs = self.space.output().as_flattened();
            for (sum, output) in self.denoised.as_flattened_mut().iter_mut().zip(outputs) {
                *sum += output;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "4")]
        let mean = 1.0 / MASKS as f32;
        for place in self.denoised.as_flattened_mut() {
            *place *= mean;
        }
        #[expect(clippy::cast_precision_loss, reason = "3060")]
        let share = 1.0 / COORDINATES as f32;
        let mut loss = 0.0;
        let back = body.rotation.transpose();
        for (slopes, (pose, denoised)) in gradient
            .iter_mut()
            .zip(self.poses.iter().zip(self.denoised.iter()))
        {
            let mut root = Vec3::ZERO;
            for (joint, slope) in slopes.iter_mut().enumerate().skip(1) {
                let apart = joint_of(pose, joint) - joint_of(denoised, joint);
                loss += share * body.torso_m * apart.abs().element_sum();
                *slope = share * (back * sign(apart));
                root -= *slope;
            }
            slopes[0] = root;
        }
        Some(loss)
    }

    /// Adds to the gradient of the next step that of the masked reconstruction of `joints_m` (any frame). Nothing is
    /// added where a number is not finite.
    ///
    /// Returns the mean distance of a coordinate from what was masked, torso lengths; samples that were not masked count
    /// as exact.
    pub(super) fn take(&mut self, joints_m: &JointSamples, rng: &mut fastrand::Rng) -> Option<f32> {
        enter(joints_m, &mut self.poses);
        let masked = random_mask(rng);
        self.pass(&masked)?;
        #[expect(clippy::cast_precision_loss, reason = "3060")]
        let share = 1.0 / COORDINATES as f32;
        let mut loss = 0.0;
        let frames = self.space.output().iter().zip(self.poses.iter());
        for ((slopes, (output, pose)), masked) in self.slopes.iter_mut().zip(frames).zip(masked) {
            slopes.fill(0.0);
            if !masked {
                continue;
            }
            for (slope, (output, pose)) in slopes.iter_mut().zip(output.iter().zip(pose)) {
                let apart = output - pose;
                loss += share * apart.abs();
                // The slope of a length that is zero is taken as zero.
                *slope = if apart == 0.0 {
                    0.0
                } else {
                    share.copysign(apart)
                };
            }
        }
        if !loss.is_finite() {
            return None;
        }
        let Self {
            net,
            space,
            gradient,
            slopes,
            ..
        } = self;
        net.backward(slopes, space, gradient);
        self.taken += 1;
        Some(loss)
    }

    /// Moves the weights by what the windows taken since the last step said. A step whose gradient is not finite, or so
    /// large that its square is not, is dropped.
    pub(super) fn step(&mut self) {
        if self.taken == 0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few windows")]
        let share = 1.0 / self.taken as f32;
        self.taken = 0;
        let weights = self.net.weights_mut();
        let mut squares = 0.0;
        for ((gradient, weight), factory) in
            self.gradient.iter_mut().zip(&*weights).zip(&self.factory)
        {
            *gradient = share * *gradient + 2.0 * PULL * (weight - factory);
            squares += *gradient * *gradient;
        }
        if squares.is_finite() {
            self.adam.step(RATE, MOMENTS, weights, &self.gradient);
        }
        self.gradient.fill(0.0);
    }

    /// The window without its masked samples through the network. `None` if a number of it or of what comes out is not
    /// finite.
    fn pass(&mut self, masked: &Mask) -> Option<()> {
        let inputs = self.space.input.iter_mut().zip(self.poses.iter());
        for ((input, pose), masked) in inputs.zip(masked) {
            if *masked {
                if !pose.iter().all(|place| place.is_finite()) {
                    return None;
                }
                input.fill(0.0);
            } else {
                *input = *pose;
            }
        }
        self.net.forward(&mut self.space).map(|_| ())
    }
}

/// The centre and random others.
fn random_mask(rng: &mut fastrand::Rng) -> Mask {
    let (mut left, mut wanted) = (MOTION_SAMPLES - 1, MASKED - 1);
    std::array::from_fn(|at| {
        if at == CENTRE {
            return true;
        }
        let taken = rng.usize(..left) < wanted;
        left -= 1;
        wanted -= usize::from(taken);
        taken
    })
}

/// The signs of a vector's coordinates, zero where one is zero.
fn sign(v: Vec3) -> Vec3 {
    Vec3::select(v.cmpeq(Vec3::ZERO), Vec3::ZERO, v.signum())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::motion::denoiser::tests::{golden_joints, shipped};

    fn rng() -> fastrand::Rng {
        fastrand::Rng::with_seed(6)
    }

    #[test]
    fn the_centre_and_thirty_others_are_masked_each_as_often() {
        let (mut rng, mut often) = (rng(), [0; MOTION_SAMPLES]);
        for _ in 0..2000 {
            let mask = random_mask(&mut rng);
            assert_eq!(mask.iter().filter(|masked| **masked).count(), MASKED);
            for (often, masked) in often.iter_mut().zip(mask) {
                *often += usize::from(masked);
            }
        }
        assert_eq!(often[CENTRE], 2000);
        often[CENTRE] = 1017;
        assert!(
            often.iter().all(|often| (900..1130).contains(often)),
            "{often:?}"
        );
    }

    /// Masked reconstruction of a window, torso lengths, mean over masks.
    fn error(denoiser: &mut AdaptingDenoiser, joints_m: &JointSamples) -> f32 {
        let mut rng = fastrand::Rng::with_seed(1);
        let errors = (0..20).map(|_| denoiser.take(joints_m, &mut rng).unwrap());
        let mean = errors.sum::<f32>() / 20.0;
        denoiser.gradient.fill(0.0);
        denoiser.taken = 0;
        mean
    }

    #[test]
    fn a_motion_is_reconstructed_better_after_adapting_to_it_and_as_before_after_a_reset() {
        let joints_m = golden_joints(1);
        let mut denoiser = AdaptingDenoiser::new(shipped());
        let before = error(&mut denoiser, &joints_m);
        let mut rng = rng();
        for _ in 0..150 {
            for _ in 0..4 {
                denoiser.take(&joints_m, &mut rng).unwrap();
            }
            denoiser.step();
        }
        let after = error(&mut denoiser, &joints_m);
        assert!(after < 0.9 * before, "{before} {after}");
        denoiser.return_by(0.5);
        let between = error(&mut denoiser, &joints_m);
        assert!(between < before, "{before} {between}");
        denoiser.return_by(1.0);
        assert!(denoiser.net == shipped());
    }

    #[test]
    fn the_gradient_of_the_distance_points_from_what_is_without_noise() {
        let joints_m = golden_joints(0);
        let mut denoiser = AdaptingDenoiser::new(shipped());
        let mut gradient = joints_m.clone();
        let loss = denoiser
            .distance(&joints_m, &mut rng(), &mut gradient)
            .unwrap();
        assert!((1e-4..0.1).contains(&loss), "{loss}");
        // What is without noise is held constant: the same body frame, the other end moved.
        let mut poses = denoiser.poses.clone();
        let body = enter(&joints_m, &mut poses);
        #[expect(clippy::cast_precision_loss, reason = "3060")]
        let share = 1.0 / COORDINATES as f32;
        for (time, joint) in [(3, 3), (20, 13), (41, 16), (59, 6)] {
            let target = joint_of(&denoiser.denoised[time], joint);
            let of = |moved: Vec3| {
                let place = joint_of(&poses[time], joint) + body.rotation * moved / body.torso_m;
                share * body.torso_m * (place - target).abs().element_sum()
            };
            let h = 1e-5;
            for axis in [Vec3::X, Vec3::Y, Vec3::Z] {
                let want = (of(h * axis) - of(-h * axis)) / (2.0 * h);
                let got = gradient[time][joint].dot(axis);
                assert!((got - want).abs() < 0.05 * share, "{time}: {got} {want}");
            }
        }
        for slopes in gradient.iter() {
            let sum: Vec3 = slopes.iter().sum();
            assert!(sum.length() < 1e-6, "joints are relative to the pelvis");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_change_nothing() {
        let mut denoiser = AdaptingDenoiser::new(shipped());
        let mut gradient = golden_joints(0);
        for broken in [f32::NAN, f32::INFINITY, 1e38] {
            for time in [0, CENTRE, 59] {
                let mut joints_m = golden_joints(0);
                joints_m[time][13].y = broken;
                if denoiser.take(&joints_m, &mut rng()).is_some() {
                    denoiser.step();
                }
                let distance = denoiser.distance(&joints_m, &mut rng(), &mut gradient);
                assert!(distance.is_none_or(f32::is_finite));
                assert!(denoiser.net.weights().iter().all(|w| w.is_finite()));
            }
        }
        denoiser.return_by(1.0);
        denoiser.step();
        assert!(denoiser.net == shipped(), "nothing was taken");
        denoiser.take(&golden_joints(0), &mut rng()).unwrap();
        denoiser.gradient[17] = f32::NAN;
        denoiser.step();
        assert!(denoiser.net == shipped());
        denoiser.take(&golden_joints(0), &mut rng()).unwrap();
        denoiser.step();
        assert!(
            denoiser.net != shipped(),
            "a step that was dropped leaves nothing behind"
        );
    }
}
