//! Where the joints are that the camera does not see, and how far off those are that it does.
//!
//! ```text
//!  lifter's joints, 30 a second ─┬─▶ network: three seconds, and where a joint was when last seen ─┬─▶ seen joints
//!                                └─▶ Gaussians of the likeliest entries, given what is seen ───────┴─▶ hidden joints
//! ```
//!
//! A small network remembers longer than the lifter does, sees what rays are missed by and what mirror, refinement
//! and filter changed, and says how far off each joint is. Seen joints are moved by half of that, by all of it where
//! the head saw the picture, and not at all where poses are not refined (`adapt.method = "off"`). A hidden joint is a
//! weighed mean of three opinions: the lifter's, moved likewise, the network's, and that of the dictionary: the motion
//! of the entries that explain the last two seconds best, given the joints that are seen. The last has a say only where
//! those entries explain much better than "any motion" does, so that outside the vocabulary it is silent.
//! `models/training/dictionary/COMPLETION.md` is the exact text of what is done here.

use std::path::{Path, PathBuf};

use glam::{Mat3, Vec2, Vec3};
use nalgebra::DMatrix;
use safetensors::SafeTensors;
use serde::Deserialize;

use super::dictionary::{Dictionary, triangle};
use super::encoder::{BodyFrame, JointSamples};
use super::prior::Prior;
use crate::clock::MonoNs;
use crate::file;
use crate::lift::window::RaySample;
use crate::lift::{Estimate, Stages};
use crate::limits::{ENCODER_BYTES_MAX, MOTION_SAMPLES, RATE_HZ};
use crate::pose::JointState;
use crate::skeleton::{JOINTS, KEYPOINTS, SHARED};
use crate::sys::simd::{
    LANES, Lane, add_rows, add_squares, cholesky, place_in, rows_times, solve_lower, solve_upper,
    sum, symmetric,
};
use crate::tensors::{self, TensorError};

/// Numbers of one step's input.
const FEATURES: usize = 358;

/// Of these, numbers that say where joints are and how long they have not been seen; the rest says how the pose
/// came to be.
const OWN: usize = 160;

/// Numbers kept of a step.
const CODE: usize = 128;

/// Width of the inner layers.
const INNER: usize = 256;

/// Answer: residuals of sixteen joints and a logarithm of sigma each.
const ANSWER: usize = 64;

/// Joints that can be completed; the pelvis is the origin.
const LIMBS: usize = JOINTS - 1;

/// Most steps back that an answer may look at: four seconds.
const LAG_MAX: usize = 120;

/// Most entries that are conditioned at every frame.
const CANDIDATES_MAX: usize = 4;

/// Entries whose evidence is looked at in one step while candidates are searched and joints
/// are hidden: all of a hundred within half a second.
const SEARCH_STEP: usize = 8;

/// The same while everything is seen: within two seconds, as long as the window is.
const IDLE_STEP: usize = 2;

/// Added to ln sigma, so that it lies near zero.
const SIGMA_SHIFT: f32 = 3.0;

/// What a hint is worth, in natural units of evidence: the odds of somebody who is right
/// nineteen times of twenty, about one of a hundred entries: ln(19 * 99).
const HINT_NATS: f32 = 7.54;

/// Most that a ray is taken to be missed by, for each axis, metres.
const MISS_MAX_M: f32 = 0.2;

/// Metres times these are of order one: misses of rays, the mirrored against the first look, what refinement and filter
/// changed.
const MISS_GAIN: f32 = 5.0;
const APART_GAIN: f32 = 3.0;
const CHANGE_GAIN: f32 = 5.0;

/// Shortest spine or hip line that still gives a direction, metres.
const AXIS_MIN_M: f32 = 1e-3;

/// Smallest summed square spread of joints that gives a scale, square metres.
const SPREAD_MIN: f32 = 1e-4;

/// Smallest sigma given out, metres.
const SIGMA_MIN_M: f32 = 0.01;

/// A gap after which somebody is begun anew: what the network remembers.
const GAP_STEPS_MAX: u64 = 91;

/// Keypoints of shoulders and hips: their movement in the image is the body's.
const TORSO: [usize; 4] = [5, 6, 11, 12];

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
struct Constants {
    lags: Vec<usize>,
    away_steps: u32,
    leak: f32,
    move_max_m: f32,
    sigma_min_m: f32,
    sigma_max_m: f32,
    times: Vec<usize>,
    seen_sigma: f32,
    repeated: f32,
    candidates: usize,
    gauss_weight: f32,
    net_weight: f32,
    seen_weight: f32,
    picture_weight: f32,
    gate_low: f32,
    gate_high: f32,
    sigma_factor: f32,
    ramp_steps: f32,
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

    /// Share of the network's residual that a joint is moved by. Of pictures it has learned how keypoints err
    /// together; keypoints alone come from any detector. Of poses that were not refined it has learned nothing.
    fn share(&self, stages: &Stages) -> f32 {
        match (stages.refined, stages.picture) {
            (false, _) => 0.0,
            (true, false) => self.seen_weight,
            (true, true) => self.picture_weight,
        }
    }
}

#[derive(Clone, Debug)]
struct Layer {
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

    fn apply(&self, x: &[f32], y: &mut [f32]) {
        rows_times(&self.weight, x, &self.bias, y);
    }

    fn apply_silu(&self, x: &[f32], y: &mut [f32]) {
        self.apply(x, y);
        for value in y {
            *value /= 1.0 + (-*value).exp();
        }
    }
}

/// The weights, and the constants that go with them.
#[derive(Clone, Debug)]
pub struct CompletionNet {
    constants: Constants,
    code: Layer,
    mix0: Layer,
    mix1: Layer,
    out: Layer,
    all_mean: Box<[f32]>,
    all_factor: Box<[f32]>,
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

/// An entry's Gaussian, ready to be conditioned.
#[derive(Clone, Debug)]
struct Gaussian {
    /// Inverse of the covariance. Rows that fill the last lane are those of the unit matrix.
    precision: Box<[Lane]>,
    /// Precision times mean.
    own: Box<[Lane]>,
    /// What the evidence has of the entry alone: `(ln |P| - m P m) / 2`.
    constant: f32,
}

impl Gaussian {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "single precision is what is used"
    )]
    fn new(mean: &[f32], factor: &[f32]) -> Self {
        let rank = mean.len();
        let lower = DMatrix::<f64>::from_fn(rank, rank, |row, column| {
            if column > row {
                return 0.0;
            }
            f64::from(factor[triangle(row) + column])
        });
        // The factor's diagonal is positive: the dictionary was checked when it was read.
        let inverse = lower
            .solve_lower_triangular(&DMatrix::identity(rank, rank))
            .unwrap_or_else(|| DMatrix::identity(rank, rank));
        let precision = inverse.tr_mul(&inverse);
        let mean = nalgebra::DVector::from_iterator(rank, mean.iter().map(|v| f64::from(*v)));
        let own = &precision * &mean;
        let log_det: f64 = -2.0 * (0..rank).map(|at| lower[(at, at)].ln()).sum::<f64>();
        let blocks = blocks(rank);
        let mut filled = matrix(blocks);
        for row in 0..LANES * blocks {
            for column in row..LANES * blocks {
                let (lane, within) = place_in(blocks, row, column);
                filled[lane][within] = if column < rank {
                    precision[(row, column)] as f32
                } else if row == column {
                    1.0
                } else {
                    0.0
                };
            }
        }
        let constant = (0.5 * (log_det - own.dot(&mean))) as f32;
        Self {
            precision: filled,
            constant,
            own: lanes(own.iter().map(|v| *v as f32), blocks),
        }
    }
}

/// Lanes that hold `rank` numbers.
const fn blocks(rank: usize) -> usize {
    rank.div_ceil(LANES)
}

/// Room for a symmetric matrix.
fn matrix(blocks: usize) -> Box<[Lane]> {
    vec![[0.0; LANES]; symmetric(blocks)].into()
}

/// Numbers in lanes, nothing in what is left over.
fn lanes(numbers: impl IntoIterator<Item = f32>, blocks: usize) -> Box<[Lane]> {
    let mut out = vec![[0.0; LANES]; blocks].into_boxed_slice();
    for (out, number) in out.as_flattened_mut().iter_mut().zip(numbers) {
        *out = number;
    }
    out
}

/// What a window says about a point of the basis.
#[derive(Clone, Debug)]
struct Look {
    precision: Box<[Lane]>,
    information: Box<[Lane]>,
}

impl Look {
    fn new(blocks: usize) -> Self {
        Self {
            precision: matrix(blocks),
            information: lanes([], blocks),
        }
    }
}

/// One step of a person, as the lifter gave it.
#[derive(Clone, Copy, Debug)]
struct Step {
    joints: [Vec3; JOINTS],
    sigmas: [f32; JOINTS],
    seen: [bool; JOINTS],
    rays: RaySample,
}

/// What the network is told of a step.
#[derive(Clone, Copy, Debug)]
struct Frame {
    step: Step,
    /// The pelvis, camera frame, metres.
    root: Vec3,
    stages: Stages,
}

impl Frame {
    /// A pose and its rays, as large as the lifter took the person for: so the network knows people.
    fn of(estimate: &Estimate, rays: &RaySample) -> Self {
        let size = estimate.size.factor.recip();
        Self {
            step: Step {
                joints: estimate.relative_camera_m.map(|joint| size * joint),
                sigmas: estimate.sigmas_m.map(|sigma| size * sigma),
                seen: estimate.states.map(|state| state == JointState::Measured),
                rays: *rays,
            },
            root: size * estimate.root_camera_m,
            stages: estimate.stages.map(|vector| size * vector),
        }
    }
}

/// What is remembered of one person.
#[derive(Clone, Debug)]
pub struct Memory {
    begun: Option<MonoNs>,
    /// Steps taken since then.
    steps: u64,
    last: Option<Frame>,
    axes: Mat3,
    hold: [Vec3; JOINTS],
    away: [u32; JOINTS],
    seen_at: [MonoNs; JOINTS],
    drift: Vec2,
    scale: f32,
    /// Codes of the newest steps, a ring of `LAG_MAX + 1`; place `steps % len` is the oldest.
    codes: Box<[[f32; CODE]]>,
    /// The newest `MOTION_SAMPLES` steps, a ring likewise.
    window: Box<[Step]>,
    candidates: [usize; CANDIDATES_MAX],
    found: usize,
    gate: f32,
    /// The entry that a hint names, while it holds.
    lead: Option<usize>,
    search: Search,
}

/// The search for the entries that explain a window best, a few at a time.
#[derive(Clone, Debug)]
struct Search {
    look: Look,
    /// The entry that comes next; `None` while no search runs.
    next: Option<usize>,
    best: [(f32, usize); CANDIDATES_MAX],
    all: f32,
    /// The largest evidence, whatever was hinted.
    highest: f32,
}

impl Memory {
    fn new(rank: usize) -> Self {
        let nothing = Step {
            joints: [Vec3::ZERO; JOINTS],
            sigmas: [1.0; JOINTS],
            seen: [false; JOINTS],
            rays: [crate::lift::window::RayKeypoint::default(); KEYPOINTS],
        };
        Self {
            begun: None,
            steps: 0,
            last: None,
            axes: Mat3::IDENTITY,
            hold: [Vec3::ZERO; JOINTS],
            away: [u32::MAX; JOINTS],
            seen_at: [MonoNs(0); JOINTS],
            drift: Vec2::ZERO,
            scale: 0.0,
            codes: vec![[0.0; CODE]; LAG_MAX + 1].into(),
            window: vec![nothing; MOTION_SAMPLES].into(),
            candidates: [0; CANDIDATES_MAX],
            found: 0,
            gate: 0.0,
            lead: None,
            search: Search {
                look: Look::new(blocks(rank)),
                next: None,
                best: [(f32::NEG_INFINITY, 0); CANDIDATES_MAX],
                all: 0.0,
                highest: f32::NEG_INFINITY,
            },
        }
    }

    /// Forgets the person. The room stays.
    pub fn clear(&mut self) {
        self.begun = None;
        self.steps = 0;
        self.last = None;
        self.axes = Mat3::IDENTITY;
        self.hold = [Vec3::ZERO; JOINTS];
        self.away = [u32::MAX; JOINTS];
        self.drift = Vec2::ZERO;
        self.scale = 0.0;
        self.codes.fill([0.0; CODE]);
        self.found = 0;
        self.gate = 0.0;
        self.lead = None;
        self.search.next = None;
    }
}

/// Completes joints. Shared by all people; what is theirs is in their [`Memory`].
#[derive(Clone, Debug)]
pub struct Completer {
    net: CompletionNet,
    prior: Prior,
    all: Gaussian,
    /// One for each entry with motion.
    entries: Vec<Gaussian>,
    /// Which of them is that of an entry of the dictionary.
    places: Vec<Option<usize>>,
    /// Basis at the numbers that are looked at, a row of lanes for each.
    looked_basis: Box<[Lane]>,
    /// Weight of a looked-at number whose joint is seen.
    seen_weights: Box<[f32]>,
    /// What a window says of which everything is seen.
    seen_precision: Box<[Lane]>,
    /// Basis at the newest pose, a row of lanes for each axis of each joint.
    newest_basis: Box<[Lane]>,
    scratch: Scratch,
}

/// Room for one person's frame.
#[derive(Clone, Debug)]
struct Scratch {
    features: Box<[f32]>,
    lagged: Box<[f32]>,
    inner: [Box<[f32]>; 2],
    answer: Box<[f32]>,
    window: Box<JointSamples>,
    weights: Box<[f32]>,
    weighted: Box<[f32]>,
    column: Box<[Lane]>,
    /// Rows of the basis that count otherwise than a seen joint's, and by how much.
    other_rows: Box<[Lane]>,
    other_weights: Box<[f32]>,
    look: Look,
    matrix: Box<[Lane]>,
    factors: [Box<[Lane]>; CANDIDATES_MAX],
    points: [Box<[Lane]>; CANDIDATES_MAX],
}

/// A pose and the variance of each joint per axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opinion {
    /// Joints relative to the pelvis, camera frame, metres.
    pub joints_m: [Vec3; JOINTS],
    /// Square metres.
    pub variances: [f32; JOINTS],
}

impl Completer {
    /// One for the entries of a dictionary.
    pub fn new(net: CompletionNet, prior: Prior, dictionary: &Dictionary) -> Self {
        let (mut entries, mut places) = (Vec::new(), Vec::new());
        for at in 0..dictionary.entries().len() {
            let statistics = dictionary.statistics(at);
            places.push(statistics.map(|_| entries.len()));
            entries.extend(statistics.map(|(mean, factor)| Gaussian::new(mean, factor)));
        }
        Self {
            places,
            ..Self::of(net, prior, entries)
        }
    }

    fn of(net: CompletionNet, prior: Prior, entries: Vec<Gaussian>) -> Self {
        let rank = prior.rank();
        let times = net.constants.times.clone();
        let looked = times.len() * LIMBS * 3;
        let blocks = blocks(rank);
        let at_pose = |time: usize, joint: usize| -> Vec<Lane> {
            let axes = (0..3).map(|axis| {
                let row = (0..rank).map(|direction| prior.basis_of(direction, time, joint, axis));
                lanes(row, blocks)
            });
            axes.collect::<Vec<_>>().concat()
        };
        let joints = |time: &usize| {
            let time = *time;
            (1..JOINTS).map(move |joint| (time, joint))
        };
        let places: Vec<(usize, usize)> = times.iter().flat_map(joints).collect();
        let looked_basis: Box<[Lane]> = places
            .iter()
            .flat_map(|(time, joint)| at_pose(*time, *joint))
            .collect();
        let newest_basis = (0..JOINTS)
            .flat_map(|joint| at_pose(MOTION_SAMPLES - 1, joint))
            .collect();
        let seen_weights: Box<[f32]> = places
            .iter()
            .flat_map(|(_, joint)| [weight(&net.constants, &prior, *joint, None); 3])
            .collect();
        let mut seen_precision = matrix(blocks);
        add_squares(&mut seen_precision, blocks, &looked_basis, &seen_weights);
        let zeros = |count: usize| vec![0.0; count].into_boxed_slice();
        Self {
            all: Gaussian::new(&net.all_mean, &net.all_factor),
            scratch: Scratch {
                features: zeros(FEATURES),
                lagged: zeros(CODE * net.constants.lags.len()),
                inner: [zeros(INNER), zeros(INNER)],
                answer: zeros(ANSWER),
                window: Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]),
                weights: zeros(looked),
                weighted: zeros(looked),
                column: lanes([], blocks),
                other_rows: vec![[0.0; LANES]; looked * blocks].into(),
                other_weights: zeros(looked),
                look: Look::new(blocks),
                matrix: matrix(blocks),
                factors: std::array::from_fn(|_| matrix(blocks)),
                points: std::array::from_fn(|_| lanes([], blocks)),
            },
            net,
            prior,
            places: (0..entries.len()).map(Some).collect(),
            entries,
            looked_basis,
            seen_weights,
            seen_precision,
            newest_basis,
        }
    }

    /// Room for one person.
    pub fn memory(&self) -> Memory {
        Memory::new(self.prior.rank())
    }

    /// Says which entry of the dictionary somebody outside names, `None` while nobody does: that
    /// entry is taken for likelier by `HINT_NATS`, and what is seen still has the last word. An
    /// entry without motion has nothing to say of joints.
    pub fn lead(&self, memory: &mut Memory, entry: Option<usize>) {
        memory.lead = entry.and_then(|entry| self.places.get(entry).copied().flatten());
    }

    /// Takes the lifter's pose of a person at `time`, moves the joints that are seen and fills in those that are not:
    /// place, sigma and state. A joint unseen for longer than `within_s` stays absent, with 0 all of them.
    pub fn step(
        &mut self,
        memory: &mut Memory,
        time: MonoNs,
        rays: &RaySample,
        estimate: &mut Estimate,
        within_s: f32,
    ) {
        let frame = Frame::of(estimate, rays);
        let now = frame.step;
        self.take(memory, time, &frame);
        for (at, seen) in memory.seen_at.iter_mut().zip(now.seen) {
            if seen {
                *at = time;
            }
        }
        let net = self.ask_net(memory, &now);
        let share = self.net.constants.share(&frame.stages);
        let moved = Opinion {
            joints_m: std::array::from_fn(|joint| {
                now.joints[joint].lerp(net.joints_m[joint], share)
            }),
            variances: now.sigmas.map(|sigma| sigma * sigma),
        };
        let hidden = (within_s > 0.0 && now.seen.contains(&false)).then(|| {
            let gauss = self.ask_gaussians(memory, &now.seen);
            blend(
                &self.net.constants,
                &moved,
                gauss.as_ref(),
                &net,
                memory.gate,
                &ramps(&self.net.constants, memory),
            )
        });
        let factor = estimate.size.factor;
        // What rays say of the whole stays: the pelvis moves against what seen joints move on the mean.
        let mut way = Vec3::ZERO;
        let mut count = 0.0;
        for joint in 0..JOINTS {
            let opinion = match &hidden {
                Some(completed) if !now.seen[joint] => completed,
                _ => &moved,
            };
            if joint > 0 && opinion.joints_m[joint].is_finite() {
                if now.seen[joint] {
                    way += opinion.joints_m[joint] - now.joints[joint];
                    count += 1.0;
                }
                estimate.relative_camera_m[joint] = factor * opinion.joints_m[joint];
                estimate.sigmas_m[joint] = factor * opinion.variances[joint].sqrt();
            }
            let away = time.since(memory.seen_at[joint]).as_secs_f32();
            if hidden.is_some() && !now.seen[joint] && away <= within_s {
                estimate.states[joint] = JointState::Completed;
            }
        }
        if count > 0.0 {
            estimate.root_camera_m -= factor / count * way;
        }
    }

    /// Brings a memory up to `time` in steps of the network's rate: a camera that is slower
    /// repeats what it saw, one that is quicker leaves frames out.
    fn take(&mut self, memory: &mut Memory, time: MonoNs, now: &Frame) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "time since somebody came, in thirtieths of a second"
        )]
        let steps_at = |begun: MonoNs| -> u64 {
            (time.since(begun).as_secs_f64() * f64::from(RATE_HZ)).round() as u64 + 1
        };
        let due = memory.begun.map(steps_at);
        match due {
            Some(due) if due < memory.steps + GAP_STEPS_MAX => {
                let missed = due.saturating_sub(memory.steps + 1);
                if let Some(last) = memory.last {
                    for _ in 0..missed {
                        self.remember(memory, &last);
                    }
                }
                if due > memory.steps {
                    self.remember(memory, now);
                }
            }
            _ => {
                memory.clear();
                memory.begun = Some(time);
                memory.seen_at = [time; JOINTS];
                self.remember(memory, now);
            }
        }
    }

    /// One step of the network's memory and of the window.
    fn remember(&mut self, memory: &mut Memory, frame: &Frame) {
        features(
            &self.net.constants,
            memory,
            frame,
            &mut self.scratch.features,
        );
        let place = ring(memory.steps, memory.codes.len());
        self.net
            .code
            .apply_silu(&self.scratch.features, &mut memory.codes[place]);
        memory.window[ring(memory.steps, MOTION_SAMPLES)] = frame.step;
        memory.steps += 1;
        memory.last = Some(*frame);
        self.search(memory);
    }

    /// The network's opinion of all joints.
    fn ask_net(&mut self, memory: &Memory, now: &Step) -> Opinion {
        let constants = &self.net.constants;
        let scratch = &mut self.scratch;
        for (lag, out) in constants
            .lags
            .iter()
            .zip(scratch.lagged.chunks_exact_mut(CODE))
        {
            let back = *lag as u64 + 1;
            if back > memory.steps {
                out.fill(0.0);
            } else {
                out.copy_from_slice(&memory.codes[ring(memory.steps - back, memory.codes.len())]);
            }
        }
        let [first, second] = &mut scratch.inner;
        self.net.mix0.apply_silu(&scratch.lagged, first);
        self.net.mix1.apply_silu(first, second);
        for (sum, value) in second.iter_mut().zip(&*first) {
            *sum += value;
        }
        self.net.out.apply(second, &mut scratch.answer);
        let (residuals, log_sigmas) = scratch.answer.split_at(3 * LIMBS);
        let mut opinion = Opinion {
            joints_m: now.joints,
            variances: now.sigmas.map(|sigma| sigma * sigma),
        };
        let back = memory.axes.transpose();
        for joint in 1..JOINTS {
            let residual = Vec3::from_slice(&residuals[3 * (joint - 1)..]);
            opinion.joints_m[joint] += back * residual;
            let (low, high) = (constants.sigma_min_m.ln(), constants.sigma_max_m.ln());
            opinion.variances[joint] = (2.0 * log_sigmas[joint - 1].clamp(low, high)).exp();
        }
        opinion
    }

    /// What the candidates say of the joints of the newest pose that are not seen, given the window.
    fn ask_gaussians(&mut self, memory: &Memory, seen: &[bool; JOINTS]) -> Option<Opinion> {
        if memory.gate <= 0.0 || memory.found == 0 {
            return None;
        }
        let mut look = std::mem::replace(
            &mut self.scratch.look,
            Look {
                precision: Box::default(),
                information: Box::default(),
            },
        );
        let body = self.look(memory, &mut look);
        let candidates = &memory.candidates[..memory.found];
        let opinion = self.condition(&look, &body, candidates, memory.lead, seen);
        self.scratch.look = look;
        opinion
    }

    /// What the window says, into `look`.
    fn look(&mut self, memory: &Memory, look: &mut Look) -> BodyFrame {
        let constants = &self.net.constants;
        let scratch = &mut self.scratch;
        let known = memory.steps.min(MOTION_SAMPLES as u64);
        let sample = |time: usize| -> (&Step, bool) {
            let back = (MOTION_SAMPLES - 1 - time) as u64;
            let there = back < known;
            let back = back.min(known - 1);
            let place = ring(memory.steps - 1 - back, MOTION_SAMPLES);
            (&memory.window[place], there)
        };
        for (time, pose) in scratch.window.iter_mut().enumerate() {
            *pose = sample(time).0.joints;
        }
        let body = BodyFrame::of(&scratch.window);
        let mut at = 0;
        for time in &constants.times {
            let (step, there) = sample(*time);
            for joint in 1..JOINTS {
                let own = step.sigmas[joint] / body.torso_m;
                let weight = match (there, step.seen[joint]) {
                    (false, _) => 0.0,
                    (true, true) => self.seen_weights[at],
                    (true, false) => weight(constants, &self.prior, joint, Some(own)),
                };
                let place = body.enter(step.joints[joint] - step.joints[0]);
                let apart = place - self.prior.mean_of(*time, joint);
                for axis in 0..3 {
                    scratch.weights[at] = weight;
                    scratch.weighted[at] = weight * apart[axis];
                    at += 1;
                }
            }
        }
        look.information.fill([0.0; LANES]);
        let information = look.information.as_flattened_mut();
        add_rows(
            self.looked_basis.as_flattened(),
            &scratch.weighted,
            information,
        );
        self.look_precision(&mut look.precision);
        body
    }

    /// What looked-at numbers of the weights in the scratch say. Most joints are seen most of the time:
    /// only what differs from that, or from nothing at all, is added up.
    #[expect(clippy::float_cmp, reason = "the same number, or another one")]
    fn look_precision(&mut self, precision: &mut [Lane]) {
        let blocks = blocks(self.prior.rank());
        let Scratch {
            weights,
            other_rows,
            other_weights,
            ..
        } = &mut self.scratch;
        let pairs = || weights.iter().zip(&self.seen_weights);
        let hidden = pairs().filter(|(weight, seen)| weight != seen).count();
        let spoken = weights.iter().filter(|weight| **weight != 0.0).count();
        let from_seen = hidden < spoken;
        if from_seen {
            precision.copy_from_slice(&self.seen_precision);
        } else {
            precision.fill([0.0; LANES]);
        }
        let mut count = 0;
        let rows = self.looked_basis.chunks_exact(blocks);
        for ((weight, seen), row) in pairs().zip(rows) {
            let other = if from_seen { weight - seen } else { *weight };
            if other != 0.0 {
                other_rows[count * blocks..][..blocks].copy_from_slice(row);
                other_weights[count] = other;
                count += 1;
            }
        }
        let rows = &other_rows[..count * blocks];
        add_squares(precision, blocks, rows, &other_weights[..count]);
    }

    /// Conditions `which` entries on a look: the pose, weighed by how well each explains it.
    /// Joints that are seen are left out: nobody asks for them.
    fn condition(
        &mut self,
        look: &Look,
        body: &BodyFrame,
        which: &[usize],
        lead: Option<usize>,
        seen: &[bool; JOINTS],
    ) -> Option<Opinion> {
        let mut evidences = [f32::NEG_INFINITY; CANDIDATES_MAX];
        for (place, at) in which.iter().enumerate() {
            let entry = &self.entries[*at];
            let (factor, point) = (
                &mut self.scratch.factors[place],
                &mut self.scratch.points[place],
            );
            evidences[place] = evidence(entry, look, factor, point)? + favour(lead, *at);
            solve_upper(factor, point);
        }
        let best = (0..which.len()).max_by(|a, b| evidences[*a].total_cmp(&evidences[*b]))?;
        let highest = evidences[best];
        let mut shares = evidences.map(|evidence| (evidence - highest).exp());
        let sum: f32 = shares.iter().sum();
        for share in &mut shares {
            *share /= sum;
        }
        let newest = MOTION_SAMPLES - 1;
        let blocks = blocks(self.prior.rank());
        let mut opinion = Opinion {
            joints_m: [Vec3::ZERO; JOINTS],
            variances: [0.0; JOINTS],
        };
        for joint in (1..JOINTS).filter(|joint| !seen[*joint]) {
            let mean = self.prior.mean_of(newest, joint);
            let mut poses = [Vec3::ZERO; CANDIDATES_MAX];
            let mut place = Vec3::ZERO;
            for (candidate, pose) in poses.iter_mut().enumerate().take(which.len()) {
                let point = &*self.scratch.points[candidate];
                *pose = mean
                    + Vec3::from_array(std::array::from_fn(|axis| {
                        let basis = &self.newest_basis[(3 * joint + axis) * blocks..][..blocks];
                        let pairs = basis.as_flattened().iter().zip(point.as_flattened());
                        pairs.map(|(b, z)| b * z).sum()
                    }));
                place += shares[candidate] * *pose;
            }
            let mut variance: f32 = poses
                .iter()
                .zip(shares)
                .map(|(pose, share)| share * (*pose - place).length_squared() / 3.0)
                .sum();
            for axis in 0..3 {
                let column = &mut self.scratch.column;
                column.copy_from_slice(&self.newest_basis[(3 * joint + axis) * blocks..][..blocks]);
                solve_lower(&self.scratch.factors[best], column);
                variance += column.as_flattened().iter().map(|v| v * v).sum::<f32>() / 3.0;
            }
            opinion.joints_m[joint] = body.leave(place);
            opinion.variances[joint] =
                (variance + self.prior.noise(joint)) * body.torso_m * body.torso_m;
        }
        Some(opinion)
    }

    /// Goes on with the search for candidates, or begins a new one.
    fn search(&mut self, memory: &mut Memory) {
        let Some(next) = memory.search.next else {
            // The shortest window that says something.
            if memory.steps >= u64::from(RATE_HZ) && !self.entries.is_empty() {
                let mut look = std::mem::replace(
                    &mut memory.search.look,
                    Look {
                        precision: Box::default(),
                        information: Box::default(),
                    },
                );
                self.look(memory, &mut look);
                let Scratch { matrix, points, .. } = &mut self.scratch;
                let all = evidence(&self.all, &look, matrix, &mut points[0]);
                memory.search.look = look;
                if let Some(all) = all {
                    memory.search.all = all;
                    memory.search.best = [(f32::NEG_INFINITY, 0); CANDIDATES_MAX];
                    memory.search.highest = f32::NEG_INFINITY;
                    memory.search.next = Some(0);
                }
            }
            return;
        };
        let newest = ring(memory.steps - 1, MOTION_SAMPLES);
        let hidden = memory.window[newest].seen.contains(&false);
        let stride = if hidden { SEARCH_STEP } else { IDLE_STEP };
        let end = (next + stride).min(self.entries.len());
        let search = &mut memory.search;
        for entry in next..end {
            let Scratch { matrix, points, .. } = &mut self.scratch;
            let found = evidence(&self.entries[entry], &search.look, matrix, &mut points[0]);
            let Some(found) = found else {
                continue;
            };
            search.highest = search.highest.max(found);
            let mut better = (found + favour(memory.lead, entry), entry);
            for place in &mut search.best {
                if better.0 > place.0 {
                    std::mem::swap(place, &mut better);
                }
            }
        }
        if end < self.entries.len() {
            search.next = Some(end);
            return;
        }
        search.next = None;
        let constants = &self.net.constants;
        let found = search.best.iter().take(constants.candidates);
        let found = found.take_while(|(evidence, _)| evidence.is_finite());
        memory.found = 0;
        for (_, entry) in found {
            memory.candidates[memory.found] = *entry;
            memory.found += 1;
        }
        memory.gate = gate(constants, search.highest - search.all);
    }
}

/// What a hint adds to the evidence of the entry it names.
fn favour(lead: Option<usize>, entry: usize) -> f32 {
    if lead == Some(entry) { HINT_NATS } else { 0.0 }
}

/// Share of the dictionary's weight, from how much better the best entry explains a
/// window than all motions together do.
fn gate(constants: &Constants, margin: f32) -> f32 {
    let width = constants.gate_high - constants.gate_low;
    ((margin - constants.gate_low) / width).clamp(0.0, 1.0)
}

/// How well an entry explains a look: the logarithm of its likelihood, but for a constant that all
/// entries share. Leaves the factor of the joint precision, and in `point` the solution of its lower half.
fn evidence(entry: &Gaussian, look: &Look, factor: &mut [Lane], point: &mut [Lane]) -> Option<f32> {
    sum(&entry.precision, &look.precision, factor);
    if !cholesky(factor, point.len()) {
        return None;
    }
    sum(&entry.own, &look.information, point);
    solve_lower(factor, point);
    let square: f32 = point.as_flattened().iter().map(|v| v * v).sum();
    let evidence = 0.5 * square + entry.constant - log_diagonal(factor, point.len());
    evidence.is_finite().then_some(evidence)
}

/// Sum of the logarithms of a factor's diagonal.
#[expect(
    clippy::cast_possible_truncation,
    reason = "single precision is what is compared"
)]
fn log_diagonal(factor: &[Lane], blocks: usize) -> f32 {
    let mut sum = 0.0_f64;
    for first in (0..LANES * blocks).step_by(LANES) {
        // A logarithm costs as much as ten products, and eight numbers of single precision
        // cannot leave the range of double precision.
        let product: f64 = (first..first + LANES)
            .map(|row| {
                let (lane, within) = place_in(blocks, row, row);
                f64::from(factor[lane][within])
            })
            .product();
        sum += product.ln();
    }
    sum as f32
}

/// Weight of a looked-at number of a joint: the inverse of its variance in torso lengths. `own` is the
/// lifter's sigma where the joint is not seen.
fn weight(constants: &Constants, prior: &Prior, joint: usize, own: Option<f32>) -> f32 {
    let sigma = own.unwrap_or(constants.seen_sigma);
    1.0 / (sigma * sigma * constants.repeated + prior.noise(joint))
}

/// Share of each joint's completion, from how long it has been unseen: of a joint that was there a
/// moment ago the lifter knows more than anybody.
fn ramps(constants: &Constants, memory: &Memory) -> [f32; JOINTS] {
    #[expect(clippy::cast_precision_loss, reason = "steps of four seconds at most")]
    memory
        .away
        .map(|away| (away as f32 / constants.ramp_steps).min(1.0))
}

/// The weighed mean of the opinions, and the variance of their mixture.
fn blend(
    constants: &Constants,
    lifter: &Opinion,
    gauss: Option<&Opinion>,
    net: &Opinion,
    gate: f32,
    ramps: &[f32; JOINTS],
) -> Opinion {
    let dictionary = if gauss.is_some() {
        constants.gauss_weight * gate
    } else {
        0.0
    };
    let mut out = *lifter;
    for (joint, ramp) in ramps.iter().enumerate() {
        let (dictionary, network) = (ramp * dictionary, ramp * constants.net_weight);
        let parts = [
            (1.0 - dictionary - network, lifter),
            (dictionary, gauss.unwrap_or(lifter)),
            (network, net),
        ];
        let place: Vec3 = parts
            .iter()
            .map(|(weight, opinion)| *weight * opinion.joints_m[joint])
            .sum();
        let variance: f32 = parts
            .iter()
            .map(|(weight, opinion)| {
                let apart = (opinion.joints_m[joint] - place).length_squared() / 3.0;
                weight * (opinion.variances[joint] + apart)
            })
            .sum();
        let sigma = (constants.sigma_factor * variance.sqrt()).max(SIGMA_MIN_M);
        out.joints_m[joint] = place;
        out.variances[joint] = sigma * sigma;
    }
    out
}

/// Place of step `step` in a ring of `length`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "less than the ring's length"
)]
const fn ring(step: u64, length: usize) -> usize {
    (step % length as u64) as usize
}

/// The body's axes of a pose, rows left, up, forward; `None` where they have no direction.
fn body_axes(joints: &[Vec3; JOINTS]) -> Option<Mat3> {
    let up = joints[8] - joints[0];
    if up.length() < AXIS_MIN_M {
        return None;
    }
    let up = up.normalize();
    let left = joints[4] - joints[1];
    let left = left - left.dot(up) * up;
    if left.length() < AXIS_MIN_M {
        return None;
    }
    let left = left.normalize();
    Some(Mat3::from_cols(left, up, left.cross(up)).transpose())
}

/// A step's input of the network; brings the memory up to the step.
fn features(constants: &Constants, memory: &mut Memory, frame: &Frame, out: &mut [f32]) {
    let step = &frame.step;
    if let Some(axes) = body_axes(&step.joints) {
        memory.axes = axes;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most four seconds of steps")]
    let share = |away: u32| away as f32 / constants.away_steps as f32;
    for joint in 0..JOINTS {
        let place = memory.axes * step.joints[joint];
        if step.seen[joint] {
            memory.away[joint] = 0;
            memory.hold[joint] = place;
        } else {
            memory.away[joint] = memory.away[joint]
                .saturating_add(1)
                .min(constants.away_steps);
        }
        if joint > 0 {
            let at = 3 * (joint - 1);
            out[at..at + 3].copy_from_slice(&place.to_array());
            out[48 + at..48 + at + 3].copy_from_slice(&memory.hold[joint].to_array());
        }
        out[96 + joint] = step.sigmas[joint].ln() + SIGMA_SHIFT;
        out[113 + joint] = if step.seen[joint] { 1.0 } else { 0.0 };
        out[130 + joint] = share(memory.away[joint]);
    }
    let rows = memory.axes.transpose();
    for axis in 0..3 {
        out[147 + 3 * axis..][..3].copy_from_slice(&rows.col(axis).to_array());
    }
    if let Some(scale) = rays_per_m(step) {
        memory.scale = scale;
    }
    let moved = memory.last.filter(|_| memory.scale > 0.0).map_or(
        Vec2::ZERO,
        |Frame { step: last, .. }| {
            let both = || {
                TORSO
                    .into_iter()
                    .filter(|k| step.rays[*k].is_present() && last.rays[*k].is_present())
            };
            let sum: Vec2 = both().map(|k| step.rays[k].ray - last.rays[k].ray).sum();
            #[expect(clippy::cast_precision_loss, reason = "at most four keypoints")]
            let count = both().count() as f32;
            if count == 0.0 {
                return Vec2::ZERO;
            }
            let most = Vec2::splat(constants.move_max_m);
            (sum / (count * memory.scale)).clamp(-most, most)
        },
    );
    memory.drift = constants.leak * memory.drift + moved;
    out[156..158].copy_from_slice(&memory.drift.to_array());
    out[158..160].copy_from_slice(&(10.0 * moved).to_array());
    came_to_be(memory.axes, frame, &mut out[OWN..]);
}

/// The part of a step's input that says what rays are missed by and how the pose came to be.
fn came_to_be(axes: Mat3, frame: &Frame, out: &mut [f32]) {
    let Frame { step, root, stages } = frame;
    let mut numbers = out.iter_mut();
    let mut put = |new: &[f32]| {
        for (number, to) in new.iter().zip(numbers.by_ref()) {
            *to = *number;
        }
    };
    for (joint, keypoint) in SHARED {
        let (at, seen) = (step.joints[joint] + root, &step.rays[keypoint]);
        let most = Vec2::splat(MISS_MAX_M);
        let miss = if seen.is_present() {
            (seen.ray * at.z - at.truncate()).clamp(-most, most)
        } else {
            Vec2::ZERO
        };
        put(&(MISS_GAIN * (axes * miss.extend(0.0))).to_array());
    }
    for seen in &step.rays {
        put(&[if seen.is_present() {
            seen.confidence
        } else {
            0.0
        }]);
    }
    let mut put_limbs = |of: &dyn Fn(usize) -> Vec3| {
        for joint in 1..JOINTS {
            put(&(axes * of(joint)).to_array());
        }
    };
    put_limbs(&|joint| APART_GAIN * stages.apart_m[joint]);
    put_limbs(&|joint| CHANGE_GAIN * (stages.unsmoothed_m[joint] - step.joints[joint]));
    put_limbs(&|joint| CHANGE_GAIN * (stages.unrefined_m[joint] - stages.unsmoothed_m[joint]));
    put(&[if stages.picture { 1.0 } else { 0.0 }]);
}

/// Rays a metre: the spread of the keypoints against that of the joints they show.
fn rays_per_m(step: &Step) -> Option<f32> {
    let shown = || {
        SHARED
            .into_iter()
            .filter(|(_, keypoint)| step.rays[*keypoint].is_present())
            .map(|(joint, keypoint)| (step.rays[keypoint].ray, step.joints[joint].truncate()))
    };
    #[expect(clippy::cast_precision_loss, reason = "at most twelve keypoints")]
    let count = shown().count() as f32;
    if count < 2.0 {
        return None;
    }
    let (rays, joints) = shown().fold((Vec2::ZERO, Vec2::ZERO), |sum, pair| {
        (sum.0 + pair.0, sum.1 + pair.1)
    });
    let (rays, joints) = (rays / count, joints / count);
    let (of_rays, of_joints) = shown().fold((0.0, 0.0), |sum, pair| {
        (
            sum.0 + (pair.0 - rays).length_squared(),
            sum.1 + (pair.1 - joints).length_squared(),
        )
    });
    (of_joints > SPREAD_MIN && of_rays > 0.0).then(|| (of_rays / of_joints).sqrt())
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
