//! What motions of an action look like: a Gaussian in a basis that all entries share.
//!
//! Two seconds of joints, in the body's frame and in torso lengths, are a point `x` of
//! [`WINDOW_NUMBERS`] numbers; `z = B (x - m)` with the few orthonormal rows of `B` keeps
//! nearly all of it. An entry of the dictionary is the mean and the covariance of `z`
//! over its windows: enough to say how likely a motion is, to fill in hidden joints
//! from visible ones (a Gaussian conditioned on a part of itself is a
//! Gaussian), and to draw motions like it.

use glam::Vec3;
use nalgebra::{DMatrix, DVector};
use safetensors::SafeTensors;

use super::dictionary::triangle;
use super::encoder::{BodyFrame, JointSamples};
use crate::base::limits::MOTION_SAMPLES;
use crate::base::tensors::{self, TensorError};
use crate::skeleton::JOINTS;
use crate::sys::simd::{add_rows, rows_times};

/// Numbers of a window: time, joint, axis.
pub const WINDOW_NUMBERS: usize = MOTION_SAMPLES * JOINTS * 3;

/// Most directions a basis may have: conditioning costs their cube.
pub const RANK_MAX: usize = 128;

/// Windows of all motions that an entry's covariance is mixed with, as if it had
/// been seen so often: with few clips a covariance says more about their people than
/// about the action.
const SHRINK_WINDOWS: f64 = 30.0;

/// Smallest standard deviation kept in any direction, torso lengths: rounding must
/// not make a covariance singular.
const SPREAD_MIN: f64 = 1e-3;

/// The shared basis.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    rank: usize,
    /// Mean window, `[WINDOW_NUMBERS]`.
    mean: Box<[f32]>,
    /// `[rank, WINDOW_NUMBERS]`, orthonormal rows.
    basis: Box<[f32]>,
    /// Variance of what the basis leaves out, per joint and axis, torso lengths squared.
    noise: Box<[f32]>,
}

/// Mean and covariance of an entry, in the basis.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// `[rank]`.
    pub mean: Vec<f32>,
    /// Lower Cholesky factor of the covariance, packed row by row.
    pub factor: Vec<f32>,
}

impl Prior {
    /// Reads `prior.mean`, `prior.basis` and `prior.noise`.
    ///
    /// # Errors
    ///
    /// A tensor is missing, of another shape, or not finite.
    pub fn read(file: &SafeTensors<'_>, rank: usize) -> Result<Self, TensorError> {
        let rank = rank.clamp(1, RANK_MAX);
        Ok(Self {
            rank,
            mean: tensors::numbers(file, "prior.mean", &[WINDOW_NUMBERS])?,
            basis: tensors::numbers(file, "prior.basis", &[rank, WINDOW_NUMBERS])?,
            noise: tensors::numbers(file, "prior.noise", &[JOINTS])?,
        })
    }

    /// Directions in the basis.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Variance of a joint that the basis leaves out, per axis, torso lengths squared.
    pub fn noise(&self, joint: usize) -> f32 {
        self.noise[joint]
    }

    /// Row of the mean window: one joint at one time.
    pub fn mean_of(&self, time: usize, joint: usize) -> Vec3 {
        Vec3::from_slice(&self.mean[3 * (time * JOINTS + joint)..])
    }

    /// How coordinate `axis` of a joint at a time hangs on direction `direction`.
    pub fn basis_of(&self, direction: usize, time: usize, joint: usize, axis: usize) -> f32 {
        self.basis[direction * WINDOW_NUMBERS + 3 * (time * JOINTS + joint) + axis]
    }

    /// A window in the basis.
    pub fn project(&self, joints_m: &JointSamples) -> Vec<f32> {
        let body = BodyFrame::of(joints_m);
        let mut window = vec![0.0; WINDOW_NUMBERS];
        let rows = window.as_chunks_mut::<3>().0.iter_mut();
        let joints = joints_m
            .iter()
            .flat_map(|pose| pose.iter().map(|joint| *joint - pose[0]));
        for ((row, joint), mean) in rows.zip(joints).zip(self.mean.as_chunks::<3>().0) {
            *row = (body.enter(joint) - Vec3::from_array(*mean)).to_array();
        }
        let mut z = vec![0.0; self.rank];
        rows_times(&self.basis, &window, &vec![0.0; self.rank], &mut z);
        z
    }

    /// The window of a point of the basis, body frame, torso lengths.
    pub fn window_of(&self, z: &[f32]) -> Box<JointSamples> {
        let mut out = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
        self.window_into(z, &mut vec![0.0; WINDOW_NUMBERS], &mut out);
        out
    }

    /// The same into `out`; `window`, [`WINDOW_NUMBERS`] numbers, is written over.
    ///
    /// # Panics
    ///
    /// The lengths do not fit.
    pub fn window_into(&self, z: &[f32], window: &mut [f32], out: &mut JointSamples) {
        window.copy_from_slice(&self.mean);
        add_rows(&self.basis, z, window);
        for (joint, numbers) in out
            .as_flattened_mut()
            .iter_mut()
            .zip(window.as_chunks::<3>().0)
        {
            *joint = Vec3::from_array(*numbers);
        }
    }
}

impl Statistics {
    /// Mean and covariance of windows `z`, the covariance shrunk towards that of all
    /// motions where there is one.
    ///
    /// With `n` windows and their covariance `S` it is `(n S + k S_all) / (n + k)`, where
    /// `k` is 30 windows: what few windows cannot know, they do not claim.
    ///
    /// # Panics
    ///
    /// Without windows.
    #[expect(clippy::cast_precision_loss, reason = "counts of windows are small")]
    pub fn of(windows: &[Vec<f32>], all: Option<&Self>) -> Self {
        assert!(!windows.is_empty(), "there is a window");
        let rank = windows[0].len();
        let count = windows.len() as f64;
        let mut mean = DVector::<f64>::zeros(rank);
        for window in windows {
            mean += DVector::from_iterator(rank, window.iter().map(|v| f64::from(*v)));
        }
        mean /= count;
        let mut scatter = DMatrix::<f64>::zeros(rank, rank);
        for window in windows {
            let apart = DVector::from_iterator(rank, window.iter().map(|v| f64::from(*v))) - &mean;
            scatter.ger(1.0, &apart, &apart, 1.0);
        }
        let covariance = match all {
            None => scatter / count,
            Some(all) => {
                let factor = all.lower();
                let shared = &factor * factor.transpose();
                (scatter + shared * SHRINK_WINDOWS) / (count + SHRINK_WINDOWS)
            }
        };
        let mut covariance = covariance;
        for at in 0..rank {
            covariance[(at, at)] += SPREAD_MIN * SPREAD_MIN;
        }
        let factor = covariance
            .cholesky()
            .expect("a sum of squares with something on its diagonal")
            .l();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "single precision is what is stored"
        )]
        let narrow = |value: f64| value as f32;
        Self {
            mean: mean.iter().map(|v| narrow(*v)).collect(),
            factor: (0..rank)
                .flat_map(|row| (0..=row).map(move |column| (row, column)))
                .map(|(row, column)| narrow(factor[(row, column)]))
                .collect(),
        }
    }

    /// The factor as a matrix.
    fn lower(&self) -> DMatrix<f64> {
        let rank = self.mean.len();
        DMatrix::from_fn(rank, rank, |row, column| {
            if column > row {
                return 0.0;
            }
            f64::from(self.factor[triangle(row) + column])
        })
    }
}

/// A point drawn from mean and packed Cholesky factor.
pub fn draw(mean: &[f32], factor: &[f32], rng: &mut fastrand::Rng) -> Vec<f32> {
    let mut point = vec![0.0; mean.len()];
    draw_into(mean, factor, rng, &mut point);
    point
}

/// The same into `point`, as long as `mean`.
pub fn draw_into(mean: &[f32], factor: &[f32], rng: &mut fastrand::Rng, point: &mut [f32]) {
    for number in &mut *point {
        *number = normal(rng);
    }
    // From the last row on, since each needs the normals before it.
    for (row, mean) in mean.iter().enumerate().rev() {
        let factor = &factor[triangle(row)..=triangle(row) + row];
        point[row] = mean + factor.iter().zip(&*point).map(|(l, n)| l * n).sum::<f32>();
    }
}

/// A number of mean 0 and variance 1 (Box and Muller).
fn normal(rng: &mut fastrand::Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.f32()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.f32()).cos()
}
