//! Two seconds of motion, or of what the camera saw of it, to the space of the phrases.
//!
//! [`MotionEncoder`] looks at joints in 3D and knows its gradient, so that motion can
//! be drawn towards a meaning. [`RayEncoder`] looks at keypoints alone: it names the
//! action from evidence that no adaptation of the 3D side can bend. Both end in the
//! space of the sentence encoder that made the phrases' vectors.
//!
//! The inputs are those of `models/training/dictionary/encoder.py`; tests hold both sides together.

use std::path::{Path, PathBuf};

use glam::{Mat3, Vec2, Vec3};
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::dictionary::hex;
use super::label::LabelConstants;
use super::net::{Conv, Net, Workspace};
use super::prior::Prior;
use crate::base::file;
use crate::base::limits::{ENCODER_BYTES_MAX, ENCODER_MULTIPLY_ADDS_MAX, MOTION_SAMPLES};
use crate::base::tensors::{self, TensorError};
use crate::lift::window::RaySample;
use crate::skeleton::{JOINTS, KEYPOINTS};

/// Differences of successive frames are multiplied by this, so that they are of the size of positions.
const VELOCITY: f32 = 5.0;

/// Shortest torso that a pose is divided by, metres.
const TORSO_MIN_M: f32 = 0.1;

/// Hips that point to all sides within a window cancel each other; when less than
/// this share of their lengths is left, the newest frame decides.
const HIPS_MIN: f32 = 0.2;

/// Bound of scaled ray coordinates.
const RAY_LIMIT: f32 = 4.0;

/// Smallest scale that rays are divided by.
const SCALE_MIN: f32 = 0.01;

/// Channels of the motion encoder: positions and velocities.
const MOTION_CHANNELS: usize = 2 * 3 * JOINTS;

/// Channels of the ray encoder: place and presence, velocities.
const RAY_CHANNELS: usize = (3 + 2) * KEYPOINTS;

/// Joints of one window, metres, any frame, oldest first, 30 a second.
pub type JointSamples = [[Vec3; JOINTS]; MOTION_SAMPLES];

/// Keypoints of one window, oldest first, 30 a second.
pub type KeypointSamples = [RaySample; MOTION_SAMPLES];

/// What can be wrong with an encoder file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The file cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Larger than any encoder may be.
    #[error("{bytes} bytes, an encoder has at most {ENCODER_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Its metadata say nothing usable.
    #[error("metadata: {0}")]
    Metadata(String),
    /// Its layers do not fit together.
    #[error("{encoder}: {what}")]
    Layers {
        /// Motion or rays.
        encoder: &'static str,
        /// What does not fit, with the numbers.
        what: String,
    },
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

#[derive(Debug, Deserialize)]
struct Metadata {
    encoders: Shapes,
    labels: LabelConstants,
    prior: PriorShape,
}

#[derive(Debug, Deserialize)]
struct PriorShape {
    rank: usize,
}

#[derive(Debug, Deserialize)]
struct Shapes {
    motion: Shape,
    rays: Shape,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    convs: Vec<ConvShape>,
    linears: Vec<LinearShape>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvShape {
    kernel: usize,
    stride: usize,
    pad: usize,
    inputs: usize,
    outputs: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearShape {
    inputs: usize,
    outputs: usize,
}

/// Everything that comes with the encoders' file.
#[derive(Clone, Debug)]
pub struct Encoders {
    /// SHA-256 of the file: dictionaries are made for one.
    pub id: String,
    /// Joints to the space of the phrases.
    pub motion: MotionEncoder,
    /// Keypoints to the space of the phrases.
    pub rays: RayEncoder,
    /// From cosines to probabilities.
    pub labels: LabelConstants,
    /// The basis in which entries describe their motions.
    pub prior: Prior,
}

impl Encoders {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or what does not fit in it.
    pub fn read(path: &Path) -> Result<Self, EncoderError> {
        let failed = |source| EncoderError::Read {
            path: path.to_owned(),
            source,
        };
        let bytes = file::read_bounded(path, ENCODER_BYTES_MAX)
            .map_err(failed)?
            .map_err(|bytes| EncoderError::TooLarge { bytes })?;
        Self::from_bytes(&bytes)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncoderError> {
        let file = tensors::open(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(TensorError::from)?;
        let text = header
            .metadata()
            .as_ref()
            .and_then(|map| map.get("poised"))
            .ok_or_else(|| EncoderError::Metadata("no key \"poised\"".into()))?;
        let metadata: Metadata = serde_json::from_str(text)
            .map_err(|error| EncoderError::Metadata(error.to_string()))?;
        metadata.labels.check().map_err(EncoderError::Metadata)?;
        let motion = net(&file, "motion", &metadata.encoders.motion, MOTION_CHANNELS)?;
        let rays = net(&file, "rays", &metadata.encoders.rays, RAY_CHANNELS)?;
        if motion.width() != rays.width() {
            return Err(EncoderError::Layers {
                encoder: "rays",
                what: format!(
                    "{} numbers out, motion has {}",
                    rays.width(),
                    motion.width()
                ),
            });
        }
        Ok(Self {
            id: hex(&Sha256::digest(bytes)),
            motion: MotionEncoder { net: motion },
            rays: RayEncoder { net: rays },
            labels: metadata.labels,
            prior: Prior::read(&file, metadata.prior.rank)?,
        })
    }

    /// Numbers in an embedding.
    pub fn width(&self) -> usize {
        self.motion.net.width()
    }
}

fn net(
    file: &SafeTensors<'_>,
    encoder: &'static str,
    shape: &Shape,
    channels: usize,
) -> Result<Net, EncoderError> {
    let wrong = |what: String| EncoderError::Layers { encoder, what };
    if shape.convs.is_empty() || shape.linears.is_empty() {
        return Err(wrong("needs a convolution and a linear layer".into()));
    }
    let (mut steps, mut width) = (MOTION_SAMPLES, channels);
    let mut work = 0_usize;
    let mut convs = Vec::new();
    for (at, conv) in shape.convs.iter().enumerate() {
        let name = format!("{encoder}.conv{at}");
        let sound = (1..=MOTION_SAMPLES).contains(&conv.kernel)
            && (1..=MOTION_SAMPLES).contains(&conv.stride)
            && conv.pad < MOTION_SAMPLES
            && (1..=WIDTH_MAX).contains(&conv.outputs);
        if conv.inputs != width || !sound {
            return Err(wrong(format!(
                "conv{at} is {conv:?}, {width} channels come in"
            )));
        }
        let layer = Conv {
            kernel: conv.kernel,
            stride: conv.stride,
            pad: conv.pad,
            inputs: conv.inputs,
            outputs: conv.outputs,
            weight: tensors::numbers(
                file,
                &format!("{name}.weight"),
                &[conv.outputs, conv.kernel, conv.inputs],
            )?,
            bias: tensors::numbers(file, &format!("{name}.bias"), &[conv.outputs])?,
        };
        steps = layer.steps_out(steps);
        if steps == 0 {
            return Err(wrong(format!("conv{at}: nothing of the window is left")));
        }
        work += steps * layer.weight.len();
        width = conv.outputs;
        convs.push(layer);
    }
    let mut linears = Vec::new();
    for (at, linear) in shape.linears.iter().enumerate() {
        let name = format!("{encoder}.linear{at}");
        if linear.inputs != width || !(1..=WIDTH_MAX).contains(&linear.outputs) {
            return Err(wrong(format!(
                "linear{at} is {linear:?}, {width} numbers come in"
            )));
        }
        linears.push(Conv {
            kernel: 1,
            stride: 1,
            pad: 0,
            inputs: linear.inputs,
            outputs: linear.outputs,
            weight: tensors::numbers(
                file,
                &format!("{name}.weight"),
                &[linear.outputs, linear.inputs],
            )?,
            bias: tensors::numbers(file, &format!("{name}.bias"), &[linear.outputs])?,
        });
        work += linear.inputs * linear.outputs;
        width = linear.outputs;
    }
    if work > ENCODER_MULTIPLY_ADDS_MAX {
        return Err(wrong(format!(
            "{work} multiply-adds, at most {ENCODER_MULTIPLY_ADDS_MAX}"
        )));
    }
    Ok(Net {
        steps: MOTION_SAMPLES,
        convs,
        linears,
    })
}

/// Widest layer accepted: far above what the budget of multiply-adds allows.
const WIDTH_MAX: usize = 4096;

/// Where a body looks and how large it is, held fixed within a window: articulation
/// has a meaning, the heading and the size have none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BodyFrame {
    /// Rows are the body's axes: x from right to left hip, y along the spine, z forward.
    pub rotation: Mat3,
    /// Length from pelvis to thorax, metres, lower median over the window.
    pub torso_m: f32,
}

impl BodyFrame {
    /// The frame of a window of joints.
    ///
    /// y is the sum of the spines, x the sum of the hips' lines made orthogonal to
    /// it. Of people who turn around within the window, whose hips cancel each other,
    /// the newest frame's line is taken.
    ///
    /// # Panics
    ///
    /// There are no samples, or more than a window has.
    pub fn of(joints_m: &[[Vec3; JOINTS]]) -> Self {
        let spine = |pose: &[Vec3; JOINTS]| pose[8] - pose[0];
        let hips = |pose: &[Vec3; JOINTS]| pose[4] - pose[1];
        let y = joints_m
            .iter()
            .map(spine)
            .sum::<Vec3>()
            .normalize_or(Vec3::Y);
        let flat = |v: Vec3| v - v.dot(y) * y;
        let sum = flat(joints_m.iter().map(hips).sum());
        let lengths: f32 = joints_m.iter().map(|pose| hips(pose).length()).sum();
        let x = if sum.length() >= HIPS_MIN * lengths {
            sum
        } else {
            flat(hips(&joints_m[joints_m.len() - 1]))
        };
        let x = x
            .try_normalize()
            .unwrap_or_else(|| y.any_orthonormal_vector());
        let mut room = [0.0; MOTION_SAMPLES];
        let torsos = &mut room[..joints_m.len()];
        for (torso, pose) in torsos.iter_mut().zip(joints_m) {
            *torso = spine(pose).length();
        }
        torsos.sort_unstable_by(f32::total_cmp);
        Self {
            rotation: Mat3::from_cols(x, y, x.cross(y)).transpose(),
            torso_m: torsos[(joints_m.len() - 1) / 2].max(TORSO_MIN_M),
        }
    }

    /// A joint relative to the pelvis to the body's frame, in torso lengths.
    pub fn enter(&self, relative_m: Vec3) -> Vec3 {
        self.rotation * relative_m / self.torso_m
    }

    /// The inverse.
    pub fn leave(&self, place: Vec3) -> Vec3 {
        self.rotation.transpose() * place * self.torso_m
    }
}

/// Joints of two seconds to the space of the phrases.
#[derive(Clone, Debug)]
pub struct MotionEncoder {
    net: Net,
}

impl MotionEncoder {
    /// The network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Room for one pass.
    pub fn workspace(&self) -> Workspace {
        Workspace::new(&self.net)
    }

    /// Embeds a window; length 1. `None` for numbers that are not finite.
    pub fn embed<'s>(
        &self,
        joints_m: &JointSamples,
        space: &'s mut Workspace,
    ) -> Option<&'s [f32]> {
        self.enter(joints_m, space);
        self.net.forward(space)
    }

    /// Writes the input and returns the frame it is in.
    fn enter(&self, joints_m: &JointSamples, space: &mut Workspace) -> BodyFrame {
        let body = BodyFrame::of(joints_m);
        let mut before: Option<[Vec3; JOINTS]> = None;
        let rows = space.input(&self.net).as_chunks_mut::<MOTION_CHANNELS>().0;
        for (pose, row) in joints_m.iter().zip(rows) {
            let now = pose.map(|joint| body.enter(joint - pose[0]));
            let (places, speeds) = row.split_at_mut(3 * JOINTS);
            for joint in 0..JOINTS {
                places[3 * joint..][..3].copy_from_slice(&now[joint].to_array());
                let speed =
                    before.map_or(Vec3::ZERO, |before| VELOCITY * (now[joint] - before[joint]));
                speeds[3 * joint..][..3].copy_from_slice(&speed.to_array());
            }
            before = Some(now);
        }
        body
    }

    /// `1 - cos` between the window's embedding and `text` (length 1), and into
    /// `gradient` how it changes with each joint, per metre, with heading and size
    /// of the body held fixed (equation 4 of "Semantics-aware test-time adaptation",
    /// arXiv 2502.10724, on joints in place of rotations).
    ///
    /// `None` for numbers that are not finite; `gradient` is then not written.
    pub fn misalignment(
        &self,
        joints_m: &JointSamples,
        text: &[f32],
        space: &mut Workspace,
        gradient: &mut JointSamples,
    ) -> Option<f32> {
        let body = self.enter(joints_m, space);
        let embedding = self.net.forward(space)?;
        let cosine: f32 = embedding.iter().zip(text).map(|(e, t)| e * t).sum();
        // d(1 - cos)/d embedding = -text; the sign is put in at the end.
        let rows = self
            .net
            .backward(text, space)
            .as_chunks::<MOTION_CHANNELS>()
            .0;
        for (time, out) in gradient.iter_mut().enumerate() {
            let (places, speeds) = rows[time].split_at(3 * JOINTS);
            let mut root = Vec3::ZERO;
            for joint in 1..JOINTS {
                let mut slope = Vec3::from_slice(&places[3 * joint..]);
                if time > 0 {
                    slope += VELOCITY * Vec3::from_slice(&speeds[3 * joint..]);
                }
                if let Some(later) = rows.get(time + 1) {
                    slope -= VELOCITY * Vec3::from_slice(&later[3 * (JOINTS + joint)..]);
                }
                let slope = -(body.rotation.transpose() * slope) / body.torso_m;
                out[joint] = slope;
                root -= slope;
            }
            out[0] = root;
        }
        Some(1.0 - cosine)
    }
}

/// Keypoints of two seconds to the space of the phrases.
#[derive(Clone, Debug)]
pub struct RayEncoder {
    net: Net,
}

impl RayEncoder {
    /// The network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Room for one pass.
    pub fn workspace(&self) -> Workspace {
        Workspace::new(&self.net)
    }

    /// Embeds a window; length 1. `None` if no frame shows two keypoints, and
    /// for numbers that are not finite.
    ///
    /// Of every frame with two or more keypoints the middle of their box and half its
    /// larger side are taken; rays are relative to the mean middle, over the mean half side.
    pub fn embed<'s>(
        &self,
        samples: &KeypointSamples,
        space: &'s mut Workspace,
    ) -> Option<&'s [f32]> {
        let (mut middle, mut half, mut counted) = (Vec2::ZERO, 0.0, 0.0);
        for (low, high) in samples.iter().filter_map(box_of) {
            middle += 0.5 * (low + high);
            half += 0.5 * (high - low).max_element();
            counted += 1.0;
        }
        if counted == 0.0 {
            return None;
        }
        middle /= counted;
        let scale = (half / counted).max(SCALE_MIN);
        let mut before: Option<[Option<Vec2>; KEYPOINTS]> = None;
        let rows = space.input(&self.net).as_chunks_mut::<RAY_CHANNELS>().0;
        for (sample, row) in samples.iter().zip(rows) {
            let now = sample.map(|keypoint| {
                let limit = Vec2::splat(RAY_LIMIT);
                keypoint
                    .is_present()
                    .then(|| ((keypoint.ray - middle) / scale).clamp(-limit, limit))
            });
            let (places, speeds) = row.split_at_mut(3 * KEYPOINTS);
            for keypoint in 0..KEYPOINTS {
                let place = now[keypoint].map_or([0.0; 3], |place| [place.x, place.y, 1.0]);
                places[3 * keypoint..][..3].copy_from_slice(&place);
                let speed = before
                    .and_then(|before| Some(VELOCITY * (now[keypoint]? - before[keypoint]?)))
                    .unwrap_or(Vec2::ZERO);
                speeds[2 * keypoint..][..2].copy_from_slice(&speed.to_array());
            }
            before = Some(now);
        }
        self.net.forward(space)
    }
}

/// The box of a frame's keypoints, where there are two or more.
fn box_of(sample: &RaySample) -> Option<(Vec2, Vec2)> {
    let seen = || {
        sample
            .iter()
            .filter(|keypoint| keypoint.is_present())
            .map(|keypoint| keypoint.ray)
    };
    (seen().count() >= 2).then(|| {
        (
            seen().fold(Vec2::INFINITY, Vec2::min),
            seen().fold(Vec2::NEG_INFINITY, Vec2::max),
        )
    })
}
