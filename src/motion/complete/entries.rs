//! What the dictionary's entries say of joints: their Gaussians, given the last two seconds.
//!
//! A few entries a step are asked how well they explain the window; those that do best are conditioned on it in every
//! frame in which something is hidden.

use glam::Vec3;
use nalgebra::DMatrix;

use super::file::{CANDIDATES_MAX, Constants};
use super::{Completer, CompletionMemory, Opinion, Scratch, Step, ring};
use crate::base::limits::{MOTION_SAMPLES, RATE_HZ};
use crate::motion::dictionary::triangle;
use crate::motion::encoder::BodyFrame;
use crate::motion::prior::Prior;
use crate::skeleton::JOINTS;
use crate::sys::simd::{
    LANES, Lane, add_rows, add_squares, cholesky, place_in, solve_lower, solve_upper, sum,
    symmetric,
};

/// Entries whose evidence is observed at in one step while candidates are searched and joints
/// are hidden: all of a hundred within half a second.
pub(super) const SEARCH_STEP: usize = 8;

/// The same while everything is seen: within two seconds, as long as the window is.
pub(super) const IDLE_STEP: usize = 2;

/// What a hint is worth, in natural units of evidence: the odds of a source that is right
/// nineteen times of twenty, about one of a hundred entries: ln(19 * 99).
pub(super) const HINT_NATS: f32 = 7.54;

/// An entry's Gaussian, ready to be conditioned.
#[derive(Clone, Debug)]
pub(super) struct Gaussian {
    /// Inverse of the covariance. Rows that fill the last lane are those of the unit matrix.
    pub(super) precision: Box<[Lane]>,
    /// Precision times mean.
    pub(super) own: Box<[Lane]>,
    /// What the evidence has of the entry alone: `(ln |P| - m P m) / 2`.
    pub(super) constant: f32,
}

impl Gaussian {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "single precision is what is used"
    )]
    pub(super) fn new(mean: &[f32], factor: &[f32]) -> Self {
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
pub(super) const fn blocks(rank: usize) -> usize {
    rank.div_ceil(LANES)
}

/// Room for a symmetric matrix.
pub(super) fn matrix(blocks: usize) -> Box<[Lane]> {
    vec![[0.0; LANES]; symmetric(blocks)].into()
}

/// Numbers in lanes, nothing in what is left over.
pub(super) fn lanes(numbers: impl IntoIterator<Item = f32>, blocks: usize) -> Box<[Lane]> {
    let mut out = vec![[0.0; LANES]; blocks].into_boxed_slice();
    for (out, number) in out.as_flattened_mut().iter_mut().zip(numbers) {
        *out = number;
    }
    out
}

/// What a window says about a point of the basis.
#[derive(Clone, Debug)]
pub(super) struct WindowLikelihood {
    pub(super) precision: Box<[Lane]>,
    pub(super) information: Box<[Lane]>,
}

impl WindowLikelihood {
    pub(super) fn new(blocks: usize) -> Self {
        Self {
            precision: matrix(blocks),
            information: lanes([], blocks),
        }
    }
}

/// The search for the entries that explain a window best, a few at a time.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) likelihood: WindowLikelihood,
    /// The entry that comes next; `None` while no search runs.
    pub(super) next: Option<usize>,
    pub(super) best: [(f32, usize); CANDIDATES_MAX],
    pub(super) all: f32,
    /// The largest evidence, whatever was hinted.
    pub(super) highest: f32,
}

impl Completer {
    /// What the candidates say of the joints of the newest pose that are not seen, given the window.
    pub(super) fn ask_gaussians(
        &mut self,
        memory: &CompletionMemory,
        seen: &[bool; JOINTS],
    ) -> Option<Opinion> {
        if memory.gate <= 0.0 || memory.found == 0 {
            return None;
        }
        let mut likelihood = std::mem::replace(
            &mut self.scratch.likelihood,
            WindowLikelihood {
                precision: Box::default(),
                information: Box::default(),
            },
        );
        let body = self.likelihood(memory, &mut likelihood);
        let candidates = &memory.candidates[..memory.found];
        let opinion = self.condition(&likelihood, &body, candidates, memory.lead, seen);
        self.scratch.likelihood = likelihood;
        opinion
    }

    /// The likelihood of the window, into `likelihood`.
    pub(super) fn likelihood(
        &mut self,
        memory: &CompletionMemory,
        likelihood: &mut WindowLikelihood,
    ) -> BodyFrame {
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
        let body = BodyFrame::of(&scratch.window[..]);
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
        likelihood.information.fill([0.0; LANES]);
        let information = likelihood.information.as_flattened_mut();
        add_rows(
            self.observed_basis.as_flattened(),
            &scratch.weighted,
            information,
        );
        self.likelihood_precision(&mut likelihood.precision);
        body
    }

    /// What observed numbers of the weights in the scratch say. Most joints are seen most of the time:
    /// only what differs from that, or from nothing at all, is added up.
    #[expect(clippy::float_cmp, reason = "the same number, or another one")]
    fn likelihood_precision(&mut self, precision: &mut [Lane]) {
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
        let rows = self.observed_basis.chunks_exact(blocks);
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

    /// Conditions `which` entries on a window: the pose, weighed by how well each explains it.
    /// Joints that are seen are left out: they are not needed.
    pub(super) fn condition(
        &mut self,
        likelihood: &WindowLikelihood,
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
            evidences[place] = evidence(entry, likelihood, factor, point)? + favour(lead, *at);
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
    pub(super) fn search(&mut self, memory: &mut CompletionMemory) {
        let Some(next) = memory.search.next else {
            // The shortest window that says something.
            if memory.steps >= u64::from(RATE_HZ) && !self.entries.is_empty() {
                let mut likelihood = std::mem::replace(
                    &mut memory.search.likelihood,
                    WindowLikelihood {
                        precision: Box::default(),
                        information: Box::default(),
                    },
                );
                self.likelihood(memory, &mut likelihood);
                let Scratch { matrix, points, .. } = &mut self.scratch;
                let all = evidence(&self.all, &likelihood, matrix, &mut points[0]);
                memory.search.likelihood = likelihood;
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
            let found = evidence(
                &self.entries[entry],
                &search.likelihood,
                matrix,
                &mut points[0],
            );
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
pub(super) fn favour(lead: Option<usize>, entry: usize) -> f32 {
    if lead == Some(entry) { HINT_NATS } else { 0.0 }
}

/// Share of the dictionary's weight, from how much better the best entry explains a
/// window than all motions together do.
pub(super) fn gate(constants: &Constants, margin: f32) -> f32 {
    let width = constants.gate_high - constants.gate_low;
    ((margin - constants.gate_low) / width).clamp(0.0, 1.0)
}

/// How well an entry explains a window: the logarithm of its likelihood, but for a constant that all
/// entries share. Leaves the factor of the joint precision, and in `point` the solution of its lower half.
pub(super) fn evidence(
    entry: &Gaussian,
    likelihood: &WindowLikelihood,
    factor: &mut [Lane],
    point: &mut [Lane],
) -> Option<f32> {
    sum(&entry.precision, &likelihood.precision, factor);
    if !cholesky(factor, point.len()) {
        return None;
    }
    sum(&entry.own, &likelihood.information, point);
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
pub(super) fn log_diagonal(factor: &[Lane], blocks: usize) -> f32 {
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

/// Weight of a observed number of a joint: the inverse of its variance in torso lengths. `own` is the
/// lifter's sigma where the joint is not seen.
pub(super) fn weight(constants: &Constants, prior: &Prior, joint: usize, own: Option<f32>) -> f32 {
    let sigma = own.unwrap_or(constants.seen_sigma);
    1.0 / (sigma * sigma * constants.repeated + prior.noise(joint))
}
