//! The completion's file: weights, and the constants that go with them.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::Deserialize;

use crate::base::file;
use crate::base::limits::{ENCODER_BYTES_MAX, MOTION_SAMPLES};
use crate::base::tensors::{self, TensorError};
use crate::lift::Stages;
use crate::motion::dictionary::triangle;
use crate::skeleton::JOINTS;
use crate::sys::simd::rows_times;

/// Numbers of one step's input.
pub(super) const FEATURES: usize = 358;

/// Of these, numbers that say where joints are and how long they have not been seen; the rest says how the pose
/// came to be.
pub(super) const OWN: usize = 160;

/// Numbers kept of a step.
pub(super) const CODE: usize = 128;

/// Width of the inner layers.
pub(super) const INNER: usize = 256;

/// Answer: residuals of sixteen joints and a logarithm of sigma each.
pub(super) const ANSWER: usize = 64;

/// Joints that can be completed; the pelvis is the origin.
pub(super) const LIMBS: usize = JOINTS - 1;

/// Most steps back that an answer may look at: four seconds.
pub(super) const LAG_MAX: usize = 120;

/// Most entries that are conditioned at every frame.
pub(super) const CANDIDATES_MAX: usize = 4;

/// What can be wrong with a completion file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompletionError {
    /// The file cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Larger than any such file.
    #[error("{bytes} bytes, at most {ENCODER_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Its metadata say nothing usable.
    #[error("metadata: {0}")]
    Metadata(String),
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

#[derive(Debug, Deserialize)]
struct Metadata {
    completion: Constants,
}

/// Constants that go with the weights.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Constants {
    pub(super) lags: Vec<usize>,
    pub(super) away_steps: u32,
    pub(super) leak: f32,
    pub(super) move_max_m: f32,
    pub(super) sigma_min_m: f32,
    pub(super) sigma_max_m: f32,
    pub(super) times: Vec<usize>,
    pub(super) seen_sigma: f32,
    pub(super) repeated: f32,
    pub(super) candidates: usize,
    pub(super) gauss_weight: f32,
    pub(super) net_weight: f32,
    pub(super) seen_weight: f32,
    pub(super) picture_weight: f32,
    pub(super) gate_low: f32,
    pub(super) gate_high: f32,
    pub(super) sigma_factor: f32,
    pub(super) ramp_steps: f32,
}

impl Constants {
    fn check(&self) -> Result<(), String> {
        let share = 0.0..=1.0;
        let wrong = |name: &str| Err(format!("completion.{name} is out of range"));
        if self.lags.is_empty() || self.lags.iter().any(|lag| *lag > LAG_MAX) {
            return wrong("lags");
        }
        if self.times.is_empty() || self.times.iter().any(|time| *time >= MOTION_SAMPLES) {
            return wrong("times");
        }
        if !(1..=CANDIDATES_MAX).contains(&self.candidates) {
            return wrong("candidates");
        }
        if !share.contains(&self.gauss_weight)
            || !share.contains(&self.net_weight)
            || !share.contains(&(self.gauss_weight + self.net_weight))
        {
            return wrong("gauss_weight + net_weight");
        }
        for (name, value, min, max) in [
            ("leak", self.leak, 0.0, 1.0),
            ("move_max_m", self.move_max_m, 0.0, 10.0),
            ("sigma_min_m", self.sigma_min_m, 1e-4, 1.0),
            ("sigma_max_m", self.sigma_max_m, self.sigma_min_m, 10.0),
            ("seen_weight", self.seen_weight, 0.0, 1.0),
            ("picture_weight", self.picture_weight, 0.0, 1.0),
            ("seen_sigma", self.seen_sigma, 1e-4, 10.0),
            ("repeated", self.repeated, 1.0, 100.0),
            ("gate_high", self.gate_high, self.gate_low + 1e-3, 1e6),
            ("sigma_factor", self.sigma_factor, 0.1, 10.0),
            ("ramp_steps", self.ramp_steps, 1.0, 1000.0),
        ] {
            if !(min..=max).contains(&value) {
                return Err(format!(
                    "completion.{name} = {value}: must be from {min} to {max}"
                ));
            }
        }
        Ok(())
    }

    /// Share of the network's residual that a joint is moved by. Of images it has learned how keypoints err
    /// together; keypoints alone come from any detector. Of poses that were not refined it has learned nothing.
    pub(super) fn share(&self, stages: &Stages) -> f32 {
        match (stages.refined, stages.picture) {
            (false, _) => 0.0,
            (true, false) => self.seen_weight,
            (true, true) => self.picture_weight,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Layer {
    weight: Box<[f32]>,
    bias: Box<[f32]>,
}

impl Layer {
    fn read(
        file: &SafeTensors<'_>,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, TensorError> {
        Ok(Self {
            weight: tensors::numbers(file, &format!("complete.{name}.weight"), &[outputs, inputs])?,
            bias: tensors::numbers(file, &format!("complete.{name}.bias"), &[outputs])?,
        })
    }

    pub(super) fn apply(&self, x: &[f32], y: &mut [f32]) {
        rows_times(&self.weight, x, &self.bias, y);
    }

    pub(super) fn apply_silu(&self, x: &[f32], y: &mut [f32]) {
        self.apply(x, y);
        for value in y {
            *value /= 1.0 + (-*value).exp();
        }
    }
}

/// The weights, and the constants that go with them.
#[derive(Clone, Debug)]
pub struct CompletionNet {
    pub(super) constants: Constants,
    pub(super) code: Layer,
    pub(super) mix0: Layer,
    pub(super) mix1: Layer,
    pub(super) out: Layer,
    pub(super) all_mean: Box<[f32]>,
    pub(super) all_factor: Box<[f32]>,
}

impl CompletionNet {
    /// Reads a file made for a basis of `rank`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or what does not fit in it.
    pub fn read(path: &Path, rank: usize) -> Result<Self, CompletionError> {
        let failed = |source| CompletionError::Read {
            path: path.to_owned(),
            source,
        };
        let bytes = file::read_bounded(path, ENCODER_BYTES_MAX)
            .map_err(failed)?
            .map_err(|bytes| CompletionError::TooLarge { bytes })?;
        Self::from_bytes(&bytes, rank)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn from_bytes(bytes: &[u8], rank: usize) -> Result<Self, CompletionError> {
        let file = tensors::open(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(TensorError::from)?;
        let text = header
            .metadata()
            .as_ref()
            .and_then(|map| map.get("poised"))
            .ok_or_else(|| CompletionError::Metadata("no key \"poised\"".into()))?;
        let Metadata {
            completion: constants,
        } = serde_json::from_str(text)
            .map_err(|error| CompletionError::Metadata(error.to_string()))?;
        constants.check().map_err(CompletionError::Metadata)?;
        Ok(Self {
            code: Layer::read(&file, "code", CODE, FEATURES)?,
            mix0: Layer::read(&file, "mix0", INNER, CODE * constants.lags.len())?,
            mix1: Layer::read(&file, "mix1", INNER, INNER)?,
            out: Layer::read(&file, "out", ANSWER, INNER)?,
            all_mean: tensors::numbers(&file, "complete.all.mean", &[rank])?,
            all_factor: tensors::numbers(&file, "complete.all.factor", &[triangle(rank)])?,
            constants,
        })
    }
}
