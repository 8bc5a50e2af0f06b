//! Where the joints are that the camera does not see, and how far off those are that it does.
//!
//! ```text
//!  lifter's joints, 30 a second ─┬─▶ network: three seconds, and where a joint was when last seen ─┬─▶ seen joints
//!                                └─▶ Gaussians of the likeliest entries, given what is seen ───────┴─▶ hidden joints
//! ```
//!
//! A small network remembers longer than the lifter does, sees what rays are missed by and what mirror, refinement
//! and filter changed, and says how far off each joint is. Seen joints are moved by half of that, by all of it where
//! the head saw the image, and not at all where poses are not refined (`adapt.method = "off"`). A hidden joint is a
//! weighed mean of three opinions: the lifter's, moved likewise, the network's, and that of the dictionary: the motion
//! of the entries that explain the last two seconds best, given the joints that are seen. The last has a say only where
//! those entries explain much better than "any motion" does, so that outside the vocabulary it is silent.
//! `models/training/dictionary/COMPLETION.md` is the exact text of what is done here.

mod entries;
mod features;
mod file;

pub use file::{CompletionError, CompletionNet};

use glam::{Mat3, Vec2, Vec3};

use super::dictionary::Dictionary;
use super::encoder::JointSamples;
use super::prior::Prior;
use crate::base::clock::MonoNs;
use crate::base::limits::{MOTION_SAMPLES, RATE_HZ};
use crate::lift::window::RaySample;
use crate::lift::{Estimate, Stages};
use crate::pose::JointState;
use crate::skeleton::{JOINTS, KEYPOINTS};
use crate::sys::simd::{LANES, Lane, add_squares};

use entries::{Gaussian, Search, WindowLikelihood, blocks, lanes, matrix, weight};
use features::features;
use file::{ANSWER, CANDIDATES_MAX, CODE, Constants, FEATURES, INNER, LAG_MAX, LIMBS};

/// Smallest sigma given out, metres.
const SIGMA_MIN_M: f32 = 0.01;

/// A gap after which a person's memory starts again: the length of the network's memory.
const GAP_STEPS_MAX: u64 = 91;

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
pub struct CompletionMemory {
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

impl CompletionMemory {
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
                likelihood: WindowLikelihood::new(blocks(rank)),
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

/// Completes joints. Shared by all people; what is theirs is in their [`CompletionMemory`].
#[derive(Clone, Debug)]
pub struct Completer {
    net: CompletionNet,
    prior: Prior,
    all: Gaussian,
    /// One for each entry with motion.
    entries: Vec<Gaussian>,
    /// Which of them is that of an entry of the dictionary.
    places: Vec<Option<usize>>,
    /// Basis at the numbers that are observed, a row of lanes for each.
    observed_basis: Box<[Lane]>,
    /// Weight of a observed number whose joint is seen.
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
    likelihood: WindowLikelihood,
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
        let observed = times.len() * LIMBS * 3;
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
        let observed_basis: Box<[Lane]> = places
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
        add_squares(&mut seen_precision, blocks, &observed_basis, &seen_weights);
        let zeros = |count: usize| vec![0.0; count].into_boxed_slice();
        Self {
            all: Gaussian::new(&net.all_mean, &net.all_factor),
            scratch: Scratch {
                features: zeros(FEATURES),
                lagged: zeros(CODE * net.constants.lags.len()),
                inner: [zeros(INNER), zeros(INNER)],
                answer: zeros(ANSWER),
                window: Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]),
                weights: zeros(observed),
                weighted: zeros(observed),
                column: lanes([], blocks),
                other_rows: vec![[0.0; LANES]; observed * blocks].into(),
                other_weights: zeros(observed),
                likelihood: WindowLikelihood::new(blocks),
                matrix: matrix(blocks),
                factors: std::array::from_fn(|_| matrix(blocks)),
                points: std::array::from_fn(|_| lanes([], blocks)),
            },
            net,
            prior,
            places: (0..entries.len()).map(Some).collect(),
            entries,
            observed_basis,
            seen_weights,
            seen_precision,
            newest_basis,
        }
    }

    /// Room for one person.
    pub fn memory(&self) -> CompletionMemory {
        CompletionMemory::new(self.prior.rank())
    }

    /// Sets the entry of the dictionary that a hint names, `None` without a hint: that
    /// entry is taken for likelier by `HINT_NATS`, and what is seen still has the last word. An
    /// entry without motion has nothing to say of joints.
    pub fn lead(&self, memory: &mut CompletionMemory, entry: Option<usize>) {
        memory.lead = entry.and_then(|entry| self.places.get(entry).copied().flatten());
    }

    /// Takes the lifter's pose of a person at `time`, moves the joints that are seen and fills in those that are not:
    /// place, sigma and state. A joint unseen for longer than `within_s` stays absent, with 0 all of them.
    pub fn step(
        &mut self,
        memory: &mut CompletionMemory,
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
    fn take(&mut self, memory: &mut CompletionMemory, time: MonoNs, now: &Frame) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "time since the person came into view, in thirtieths of a second"
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
    fn remember(&mut self, memory: &mut CompletionMemory, frame: &Frame) {
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
    fn ask_net(&mut self, memory: &CompletionMemory, now: &Step) -> Opinion {
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
}

/// Share of each joint's completion, from how long it has been unseen: of a joint that was there a
/// moment ago the lifter knows more than anybody.
fn ramps(constants: &Constants, memory: &CompletionMemory) -> [f32; JOINTS] {
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

#[cfg(test)]
mod tests;
