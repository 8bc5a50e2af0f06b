//! The motion denoiser: two seconds of poses, some frames of which are masked, to the same poses without noise.
//!
//! ```text
//!  [60, 51] ─▶ linear over channels ─▶ 4 times x + norm over channels(linear over time) ─▶ linear over channels ─▶ [60, 51]
//! ```
//!
//! The network of `CycleAdapt` (ICCV 2023, its `MDNet`) on joints in place of rotations: there is no other nonlinearity.
//! Poses are relative to the pelvis, in the body frame of the window and in torso lengths ([`BodyFrame`]); a masked frame
//! is zeros. Adaptation moves it on the device, so the gradient with respect to its weights is asked for.
//! [`DenoiserSpace`] holds all that a pass writes; neither direction allocates.
//!
//! `models/training/dictionary/denoiser.py` is the same network in `PyTorch`; tests hold both sides together.

use std::ops::Range;
use std::path::{Path, PathBuf};

use glam::Vec3;
use safetensors::SafeTensors;

use super::encoder::{BodyFrame, JointSamples};
use crate::base::file;
use crate::base::limits::{DENOISER_BYTES_MAX, MOTION_SAMPLES};
use crate::base::tensors::{self, TensorError};
use crate::skeleton::JOINTS;
use crate::sys::simd::{add_rows, rows_times};

/// Channels: the coordinates of all joints.
pub const CHANNELS: usize = 3 * JOINTS;

/// Blocks that mix frames.
const BLOCKS: usize = 4;

/// Added to the variance that a frame is divided by, as in `PyTorch`.
const EPSILON: f32 = 1e-5;

/// Numbers of a layer over channels, and of one over time, without their biases.
const OVER_CHANNELS: usize = CHANNELS * CHANNELS;
const OVER_TIME: usize = MOTION_SAMPLES * MOTION_SAMPLES;

/// Where the tensors stand in the row of all weights: the first layer, the blocks, the last layer.
const FIRST_BIAS: usize = OVER_CHANNELS;
const FIRST_BLOCK: usize = FIRST_BIAS + CHANNELS;
const BLOCK: usize = OVER_TIME + MOTION_SAMPLES + 2 * CHANNELS;
const LAST_WEIGHT: usize = FIRST_BLOCK + BLOCKS * BLOCK;
const LAST_BIAS: usize = LAST_WEIGHT + OVER_CHANNELS;

/// Numbers that the network has learned.
pub const DENOISER_WEIGHTS: usize = LAST_BIAS + CHANNELS;

/// Poses of a window, `[time, channel]`, body frame, torso lengths.
pub type PoseWindow = [[f32; CHANNELS]; MOTION_SAMPLES];

/// What can be wrong with a denoiser file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DenoiserError {
    /// The file cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Larger than any such file.
    #[error("{bytes} bytes, a denoiser has at most {DENOISER_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Where a block's tensors stand in the row of all weights.
struct BlockPlaces {
    /// `[to time, from time]`.
    weight: Range<usize>,
    /// One for each time.
    bias: Range<usize>,
    /// Gain and shift of the norm, one for each channel.
    gain: Range<usize>,
    shift: Range<usize>,
}

impl BlockPlaces {
    const fn of(block: usize) -> Self {
        let weight = FIRST_BLOCK + block * BLOCK;
        let bias = weight + OVER_TIME;
        let gain = bias + MOTION_SAMPLES;
        let shift = gain + CHANNELS;
        Self {
            weight: weight..bias,
            bias: bias..gain,
            gain: gain..shift,
            shift: shift..shift + CHANNELS,
        }
    }
}

/// The network.
#[derive(Clone, Debug, PartialEq)]
pub struct Denoiser {
    /// All weights in one row, `[DENOISER_WEIGHTS]`.
    weights: Box<[f32]>,
}

impl Denoiser {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or what does not fit in it.
    pub fn read(path: &Path) -> Result<Self, DenoiserError> {
        let failed = |source| DenoiserError::Read {
            path: path.to_owned(),
            source,
        };
        let bytes = file::read_bounded(path, DENOISER_BYTES_MAX)
            .map_err(failed)?
            .map_err(|bytes| DenoiserError::TooLarge { bytes })?;
        Self::from_bytes(&bytes)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DenoiserError> {
        let file = tensors::open(bytes)?;
        let mut weights = Vec::with_capacity(DENOISER_WEIGHTS);
        let mut read = |file: &SafeTensors<'_>, name: &str, shape: &[usize]| {
            let numbers = tensors::numbers(file, &format!("denoiser.{name}"), shape)?;
            weights.extend_from_slice(&numbers);
            Ok::<(), TensorError>(())
        };
        read(&file, "inner.weight", &[CHANNELS, CHANNELS])?;
        read(&file, "inner.bias", &[CHANNELS])?;
        for block in 0..BLOCKS {
            let name = |part| format!("blocks.{block}.{part}");
            let square = [MOTION_SAMPLES, MOTION_SAMPLES];
            read(&file, &name("time.weight"), &square)?;
            read(&file, &name("time.bias"), &[MOTION_SAMPLES])?;
            read(&file, &name("norm.weight"), &[CHANNELS])?;
            read(&file, &name("norm.bias"), &[CHANNELS])?;
        }
        read(&file, "outer.weight", &[CHANNELS, CHANNELS])?;
        read(&file, "outer.bias", &[CHANNELS])?;
        Ok(Self {
            weights: weights.into(),
        })
    }

    /// Its weights, `[DENOISER_WEIGHTS]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The same, to be changed.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// From the input in `space` to poses without noise, in `space` as well. `None` if one of their numbers is not
    /// finite.
    pub fn forward<'s>(&self, space: &'s mut DenoiserSpace) -> Option<&'s PoseWindow> {
        let (weight, bias) = (
            &self.weights[..FIRST_BIAS],
            &self.weights[FIRST_BIAS..FIRST_BLOCK],
        );
        for (x, state) in space.input.iter().zip(space.states[0].iter_mut()) {
            rows_times(weight, x, bias, state);
        }
        for block in 0..BLOCKS {
            let (before, after) = space.states.split_at_mut(block + 1);
            let (before, after) = (&before[block], &mut after[0]);
            let places = BlockPlaces::of(block);
            let rows = self.weights[places.weight].chunks_exact(MOTION_SAMPLES);
            let biases = &self.weights[places.bias];
            let (gain, shift) = (&self.weights[places.gain], &self.weights[places.shift]);
            for (time, (row, bias)) in rows.zip(biases).enumerate() {
                let mut mixed = [*bias; CHANNELS];
                add_rows(before.as_flattened(), row, &mut mixed);
                space.scales[block][time] = normalise(&mut mixed);
                space.normal[block][time] = mixed;
                for channel in 0..CHANNELS {
                    after[time][channel] =
                        before[time][channel] + gain[channel] * mixed[channel] + shift[channel];
                }
            }
        }
        let (weight, bias) = (
            &self.weights[LAST_WEIGHT..LAST_BIAS],
            &self.weights[LAST_BIAS..],
        );
        for (state, y) in space.states[BLOCKS].iter().zip(space.output.iter_mut()) {
            rows_times(weight, state, bias, y);
        }
        let finite = space.output.as_flattened().iter().all(|y| y.is_finite());
        finite.then_some(&*space.output)
    }

    /// From a gradient with respect to the output of the newest [`Self::forward`] to that with respect to the weights,
    /// which is added to `gradient`, `[DENOISER_WEIGHTS]`.
    pub fn backward(
        &self,
        output_gradient: &PoseWindow,
        space: &mut DenoiserSpace,
        gradient: &mut [f32],
    ) {
        let DenoiserSpace {
            input,
            states,
            normal,
            scales,
            slopes,
            mixed_slopes,
            ..
        } = space;
        for ((of_y, state), slope) in output_gradient
            .iter()
            .zip(states[BLOCKS].iter())
            .zip(slopes.iter_mut())
        {
            add_outer(&mut gradient[LAST_WEIGHT..LAST_BIAS], of_y, state);
            add(&mut gradient[LAST_BIAS..], of_y);
            slope.fill(0.0);
            add_rows(&self.weights[LAST_WEIGHT..LAST_BIAS], of_y, slope);
        }
        for block in (0..BLOCKS).rev() {
            let places = BlockPlaces::of(block);
            let gain = &self.weights[places.gain.clone()];
            for time in 0..MOTION_SAMPLES {
                let (slope, normal) = (&slopes[time], &normal[block][time]);
                for (at, (g, n)) in places.gain.clone().zip(slope.iter().zip(normal)) {
                    gradient[at] += g * n;
                }
                add(&mut gradient[places.shift.clone()], slope);
                let mixed = &mut mixed_slopes[time];
                for (m, (g, gain)) in mixed.iter_mut().zip(slope.iter().zip(gain)) {
                    *m = g * gain;
                }
                through_normalise(normal, scales[block][time], mixed);
                gradient[places.bias.start + time] += mixed.iter().sum::<f32>();
                let row = places.weight.start + time * MOTION_SAMPLES;
                let mut of_row = [0.0; MOTION_SAMPLES];
                let zeros = [0.0; MOTION_SAMPLES];
                rows_times(states[block].as_flattened(), mixed, &zeros, &mut of_row);
                add(&mut gradient[row..row + MOTION_SAMPLES], &of_row);
            }
            let rows = self.weights[places.weight].chunks_exact(MOTION_SAMPLES);
            for (row, mixed) in rows.zip(mixed_slopes.iter()) {
                add_outer(slopes.as_flattened_mut(), row, mixed);
            }
        }
        for (slope, x) in slopes.iter().zip(input.iter()) {
            add_outer(&mut gradient[..FIRST_BIAS], slope, x);
            add(&mut gradient[FIRST_BIAS..FIRST_BLOCK], slope);
        }
    }
}

/// What passes through a [`Denoiser`] write.
#[derive(Clone, Debug)]
pub struct DenoiserSpace {
    /// The input; masked frames are zeros.
    pub input: Box<PoseWindow>,
    /// What goes into each block, and what comes out of the last.
    states: [Box<PoseWindow>; BLOCKS + 1],
    /// Of each block and frame what is behind its norm, before gain and shift, and what it was multiplied by there.
    normal: [Box<PoseWindow>; BLOCKS],
    scales: [[f32; MOTION_SAMPLES]; BLOCKS],
    output: Box<PoseWindow>,
    /// Gradient of a block's output, and of what is before its norm.
    slopes: Box<PoseWindow>,
    mixed_slopes: Box<PoseWindow>,
}

impl Default for DenoiserSpace {
    fn default() -> Self {
        // Memory that is zero from the start is not there before it is written to.
        let window = || Box::new([[1.0; CHANNELS]; MOTION_SAMPLES]);
        Self {
            input: window(),
            states: std::array::from_fn(|_| window()),
            normal: std::array::from_fn(|_| window()),
            scales: [[1.0; MOTION_SAMPLES]; BLOCKS],
            output: window(),
            slopes: window(),
            mixed_slopes: window(),
        }
    }
}

impl DenoiserSpace {
    /// The output of the newest [`Denoiser::forward`].
    pub fn output(&self) -> &PoseWindow {
        &self.output
    }
}

/// Writes a window's joints into `poses`; returns the frame they are in.
pub fn enter(joints_m: &JointSamples, poses: &mut PoseWindow) -> BodyFrame {
    let body = BodyFrame::of(joints_m);
    for (pose, joints) in poses.iter_mut().zip(joints_m) {
        for (place, joint) in pose.as_chunks_mut::<3>().0.iter_mut().zip(joints) {
            *place = body.enter(*joint - joints[0]).to_array();
        }
    }
    body
}

/// Joint `joint` of a pose: body frame, torso lengths.
pub fn joint_of(pose: &[f32; CHANNELS], joint: usize) -> Vec3 {
    Vec3::from_slice(&pose[3 * joint..])
}

/// One of the channels of a frame.
#[expect(clippy::cast_precision_loss, reason = "51")]
const SHARE: f32 = 1.0 / CHANNELS as f32;

/// To mean 0 and variance 1; returns what was multiplied by.
fn normalise(frame: &mut [f32; CHANNELS]) -> f32 {
    let mean = SHARE * frame.iter().sum::<f32>();
    for x in frame.iter_mut() {
        *x -= mean;
    }
    let variance = SHARE * frame.iter().map(|x| x * x).sum::<f32>();
    let scale = 1.0 / (variance + EPSILON).sqrt();
    for x in frame.iter_mut() {
        *x *= scale;
    }
    scale
}

/// The gradient of [`normalise`], in place: of its result `normal` to that of its input.
fn through_normalise(normal: &[f32; CHANNELS], scale: f32, gradient: &mut [f32; CHANNELS]) {
    let mean = SHARE * gradient.iter().sum::<f32>();
    let along = SHARE * gradient.iter().zip(normal).map(|(g, n)| g * n).sum::<f32>();
    for (g, n) in gradient.iter_mut().zip(normal) {
        *g = scale * (*g - mean - n * along);
    }
}

/// `matrix[r] += y[r] x`.
fn add_outer(matrix: &mut [f32], y: &[f32], x: &[f32]) {
    for (row, y) in matrix.chunks_exact_mut(x.len()).zip(y) {
        for (to, x) in row.iter_mut().zip(x) {
            *to += y * x;
        }
    }
}

fn add(to: &mut [f32], numbers: &[f32]) {
    for (to, number) in to.iter_mut().zip(numbers) {
        *to += number;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::motion::DENOISER_FILE;
    use safetensors::tensor::{Dtype, TensorView};

    /// Windows in the stored cases.
    const CASES: usize = 2;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary")
    }

    /// The one that ships.
    pub(crate) fn shipped() -> Denoiser {
        Denoiser::read(&folder().join(DENOISER_FILE)).unwrap()
    }

    /// Stored windows: joints in metres, the masked input, the output, the gradient of the mean distance of masked
    /// frames from the input.
    pub(crate) fn golden(name: &str, shape: &[usize]) -> Box<[f32]> {
        let bytes = std::fs::read(folder().join("golden_denoiser.safetensors")).unwrap();
        tensors::numbers(&tensors::open(&bytes).unwrap(), name, shape).unwrap()
    }

    /// The joints of a stored window, metres.
    pub(crate) fn golden_joints(case: usize) -> Box<JointSamples> {
        let numbers = golden("denoiser.joints", &[CASES, MOTION_SAMPLES, JOINTS, 3]);
        let mut joints = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
        let places = numbers.as_chunks::<3>().0.iter();
        let of_case = places.skip(case * MOTION_SAMPLES * JOINTS);
        for (joint, place) in joints.as_flattened_mut().iter_mut().zip(of_case) {
            *joint = Vec3::from_array(*place);
        }
        joints
    }

    #[test]
    fn what_pytorch_stored_comes_out_with_its_gradient() {
        let net = shipped();
        let mut space = DenoiserSpace::default();
        let window = [CASES, MOTION_SAMPLES, CHANNELS];
        let (outputs, masks) = (
            golden("denoiser.output", &window),
            golden("denoiser.masked", &[CASES, MOTION_SAMPLES]),
        );
        let gradients = golden("denoiser.gradient", &[CASES, DENOISER_WEIGHTS]);
        let near = |got: &[f32], want: &[f32], tolerance: f32| {
            for (at, (got, want)) in got.iter().zip(want).enumerate() {
                assert!((got - want).abs() < tolerance, "{at}: {got} {want}");
            }
        };
        for case in 0..CASES {
            let masked = &masks[case * MOTION_SAMPLES..][..MOTION_SAMPLES];
            let mut poses = space.input.clone();
            enter(&golden_joints(case), &mut poses);
            space.input.copy_from_slice(&poses[..]);
            for (frame, masked) in space.input.iter_mut().zip(masked) {
                if *masked > 0.0 {
                    frame.fill(0.0);
                }
            }
            let got = net.forward(&mut space).unwrap();
            let numbers = MOTION_SAMPLES * CHANNELS;
            let want = &outputs[case * numbers..][..numbers];
            near(got.as_flattened(), want, 2e-4);
            // The loss that export_denoiser.py took the gradient of: the sum of squares over all masked frames.
            let mut slopes = poses.clone();
            for ((slope, (out, pose)), masked) in slopes
                .iter_mut()
                .zip(got.iter().zip(poses.iter()))
                .zip(masked)
            {
                for ((slope, out), pose) in slope.iter_mut().zip(out).zip(pose) {
                    *slope = 2.0 * masked * (out - pose);
                }
            }
            let mut gradient = vec![0.0; DENOISER_WEIGHTS];
            net.backward(&slopes, &mut space, &mut gradient);
            let want = &gradients[case * DENOISER_WEIGHTS..][..DENOISER_WEIGHTS];
            let largest = want.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
            near(&gradient, want, 1e-3 * largest);
        }
    }

    /// A network with random weights, none of which is without effect.
    fn random(rng: &mut fastrand::Rng) -> Denoiser {
        let mut weights: Box<[f32]> = (0..DENOISER_WEIGHTS)
            .map(|_| 0.3 * (rng.f32() - 0.5))
            .collect();
        for block in 0..BLOCKS {
            for gain in &mut weights[BlockPlaces::of(block).gain] {
                *gain += 0.5;
            }
        }
        Denoiser { weights }
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut net = random(&mut rng);
        let mut space = DenoiserSpace::default();
        let mut toward = space.input.clone();
        for numbers in [&mut space.input, &mut toward] {
            for number in numbers.as_flattened_mut() {
                *number = 2.0 * rng.f32() - 1.0;
            }
        }
        let mut gradient = vec![0.0; DENOISER_WEIGHTS];
        net.forward(&mut space).unwrap();
        net.backward(&toward, &mut space, &mut gradient);
        let mut loss = |net: &Denoiser| -> f64 {
            let out = net.forward(&mut space).unwrap().as_flattened().iter();
            let pairs = out.zip(toward.as_flattened());
            pairs.map(|(o, t)| f64::from(*o) * f64::from(*t)).sum()
        };
        let mut tensors = vec![
            0..FIRST_BIAS,
            FIRST_BIAS..FIRST_BLOCK,
            LAST_WEIGHT..LAST_BIAS,
            LAST_BIAS..DENOISER_WEIGHTS,
        ];
        for block in 0..BLOCKS {
            let BlockPlaces {
                weight,
                bias,
                gain,
                shift,
            } = BlockPlaces::of(block);
            tensors.extend([weight, gain, shift]);
            // It is the same in all channels of a frame, so the norm takes it off.
            assert!(gradient[bias].iter().all(|slope| slope.abs() < 1e-4));
        }
        for places in tensors {
            let largest = gradient[places.clone()]
                .iter()
                .fold(0.0_f32, |most, g| most.max(g.abs()));
            assert!(largest > 1e-3, "a gradient of zero proves nothing");
            for _ in 0..6 {
                let at = rng.usize(places.clone());
                let (before, h) = (net.weights[at], 5e-3);
                net.weights[at] = before + h;
                let above = loss(&net);
                net.weights[at] = before - h;
                let below = loss(&net);
                net.weights[at] = before;
                let want = (above - below) / (2.0 * f64::from(h));
                let apart = (f64::from(gradient[at]) - want).abs();
                assert!(
                    apart < 0.01 * f64::from(largest),
                    "{at}: {} {want}",
                    gradient[at]
                );
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_give_nothing() {
        let mut net = shipped();
        let mut space = DenoiserSpace::default();
        assert!(net.forward(&mut space).is_some());
        space.input[7][3] = f32::NAN;
        assert!(net.forward(&mut space).is_none());
        space.input[7][3] = 0.0;
        net.weights_mut()[FIRST_BLOCK + 9] = f32::INFINITY;
        assert!(net.forward(&mut space).is_none());
    }

    #[test]
    fn a_file_that_does_not_fit_is_refused_by_the_tensor_that_does_not() {
        let bytes = std::fs::read(folder().join(DENOISER_FILE)).unwrap();
        let file = tensors::open(&bytes).unwrap();
        let without = |name: &str, instead: Option<TensorView<'_>>| {
            let kept = file.iter().filter(|(own, _)| *own != name);
            let all = kept.chain(instead.map(|view| (name, view)));
            let bytes = safetensors::serialize(all, None).unwrap();
            Denoiser::from_bytes(&bytes).unwrap_err().to_string()
        };
        let name = "denoiser.blocks.2.time.weight";
        assert_eq!(
            without(name, None),
            format!("tensor {name} [60, 60] is missing")
        );
        let zeros = vec![0; 2 * 49 * 49];
        let small = TensorView::new(Dtype::F16, vec![49, 49], &zeros).unwrap();
        assert_eq!(
            without(name, Some(small)),
            format!("{name} is F16 [49, 49]: must be F32 or F16 [60, 60]")
        );
        let infinite = vec![0x7c; 2 * CHANNELS];
        let infinite = TensorView::new(Dtype::F16, vec![CHANNELS], &infinite).unwrap();
        let error = without("denoiser.outer.bias", Some(infinite));
        assert!(error.starts_with("denoiser.outer.bias[0] = "), "{error}");
        assert!(Denoiser::from_bytes(b"{}").is_err());
        let missing = Denoiser::read(&folder().join("no.safetensors")).unwrap_err();
        assert!(
            missing
                .to_string()
                .ends_with("no.safetensors: cannot be read")
        );
    }
}
