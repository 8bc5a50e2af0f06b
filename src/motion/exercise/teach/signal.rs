//! One signal in all clips: its curve, its repetitions, the thresholds between them, and what they count.

use super::clip::TeachClip;
use super::peaks::peaks;
use super::{Candidate, Outcome};
use crate::motion::exercise::count::{Counter, Filter, Frame, GAP_MAX, signal};
use crate::motion::exercise::file::{BAND_MIN_DEG, MIN_S};
use crate::motion::exercise::{Counted, Exercise, Repetition, Rest, Sides};
use crate::pose::JointState;

/// Least way of a repetition, degrees: with less, thresholds far enough apart leave no room beside them.
const RANGE_MIN_DEG: f32 = 30.0;

/// Where the thresholds are on the way from rest to the farthest, as those of the exercises that ship: between 0.2 and
/// 0.35, and between 0.6 and 0.75.
const WAY: [f32; 2] = [0.3, 0.65];

/// They keep at least this share of the narrowest repetition's way from its ends.
const CLEAR: f32 = 0.15;

/// Where the worst repetitions leave no room, the 5th and the 95th percentile are tried, in hundredths.
const EXTREMES_PERCENT: [usize; 2] = [5, 95];

/// Share of the frames in which a signal must be measured.
const MEASURED_SHARE: f32 = 0.5;

/// The least time is this share of the shortest repetition's: others are faster than the one who taught.
const TIME_SHARE: f32 = 0.5;

/// Times in a file, steps a second.
const TIME_STEPS: f32 = 20.0;

/// What is asked of one signal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub name: &'a str,
    pub signal: &'a str,
    pub signals: [usize; 2],
    pub sides: Sides,
    pub rest: Rest,
}

/// Its curve in a clip; what is farther from rest is higher.
struct Curve {
    values: Vec<f32>,
    sigmas_deg: Vec<f32>,
    measured: usize,
}

/// What the repetitions of all clips go through, degrees away from rest.
#[derive(Default)]
struct Extremes {
    rests: Vec<f32>,
    reaches: Vec<f32>,
    /// The most prominent peak that is none of them.
    other: f32,
}

impl Question<'_> {
    /// The answer of all clips.
    pub fn answer(&self, clips: &[&TeachClip]) -> Candidate {
        let curves: Vec<Curve> = clips.iter().map(|clip| self.curve(clip)).collect();
        let mut candidate = Candidate {
            exercise: self.exercise([0.0, BAND_MIN_DEG]),
            outcome: Outcome::Hidden,
            counted: Vec::new(),
            range_deg: [0.0; 2],
            margin_deg: 0.0,
            sigma_deg: 0.0,
            other_deg: 0.0,
            measured_share: 1.0,
            score: 0.0,
        };
        for (curve, clip) in curves.iter().zip(clips) {
            let share = share_of(curve.measured, clip.frames.len());
            candidate.measured_share = candidate.measured_share.min(share);
            candidate.sigma_deg = candidate.sigma_deg.max(median(&curve.sigmas_deg));
        }
        if candidate.measured_share < MEASURED_SHARE
            || curves.iter().any(|curve| curve.values.is_empty())
        {
            return candidate;
        }
        candidate.outcome = Outcome::Still;
        let extremes = extremes(&curves, clips);
        candidate.other_deg = extremes.other;
        let sign = self.sign();
        for [rest, reach] in [extremes.typical(), percentiles(&curves)] {
            if reach - rest < RANGE_MIN_DEG {
                continue;
            }
            let worst = extremes.worst();
            let Some([near, far]) = thresholds([rest, reach], worst) else {
                continue;
            };
            let turned = |near: f32, far: f32| match self.rest {
                Rest::Low => [near, far],
                Rest::High => [-far, -near],
            };
            let exercise = self.exercise(turned(near.round(), far.round()));
            count(&mut candidate, exercise, clips);
            candidate.range_deg = [sign * rest, sign * reach];
            candidate.margin_deg = (near - worst[0]).min(worst[1] - far);
            if candidate.outcome == Outcome::Counts {
                let gap = worst[1] - worst[0];
                candidate.score = gap / (candidate.sigma_deg + candidate.other_deg).max(1.0);
                break;
            }
        }
        candidate
    }

    const fn sign(&self) -> f32 {
        match self.rest {
            Rest::Low => 1.0,
            Rest::High => -1.0,
        }
    }

    fn exercise(&self, [low_deg, high_deg]: [f32; 2]) -> Exercise {
        Exercise {
            name: self.name.to_owned(),
            signal: self.signal.to_owned(),
            signals: self.signals,
            sides: self.sides,
            low_deg,
            high_deg,
            min_s: MIN_S[0],
            rest: self.rest,
            counted: Counted::Back,
            labels: Vec::new(),
        }
    }

    /// The signal of a clip as the counter filters it.
    fn curve(&self, clip: &TeachClip) -> Curve {
        let mut curve = Curve {
            values: Vec::new(),
            sigmas_deg: Vec::new(),
            measured: 0,
        };
        let mut filter = Filter::default();
        let mut last = None;
        for frame in &clip.frames {
            let sides = self.signals.map(|signal| frame.signals[signal]);
            let is = |side: usize| sides[side].state == JointState::Measured;
            curve.measured += usize::from(match self.sides {
                Sides::Left => is(0),
                Sides::Right => is(1),
                Sides::Mean | Sides::Min | Sides::Max => is(0) || is(1),
            });
            let Some(value) = signal(self.sides, &sides) else {
                continue;
            };
            if last.is_some_and(|last| frame.time.since(last) > GAP_MAX) {
                filter = Filter::default();
            }
            last = Some(frame.time);
            curve.sigmas_deg.push(value.sigma_deg);
            let value = filter.push(frame.time, value);
            curve.values.push(self.sign() * value);
        }
        curve
    }
}

/// Counts with an exercise, once to learn how long repetitions take, once with the least time that follows.
fn count(candidate: &mut Candidate, mut exercise: Exercise, clips: &[&TeachClip]) {
    let found: Vec<Repetition> = clips
        .iter()
        .flat_map(|clip| repetitions(&exercise, clip))
        .filter(|one| !one.partial)
        .collect();
    let took = found
        .iter()
        .map(|one| one.end.since(one.start).as_secs_f32());
    let shortest = took.fold(f32::INFINITY, f32::min);
    if shortest.is_finite() {
        let least = (TIME_SHARE * shortest * TIME_STEPS).floor() / TIME_STEPS;
        exercise.min_s = least.clamp(MIN_S[0], MIN_S[1]);
    }
    candidate.counted = clips.iter().map(|clip| counted(&exercise, clip)).collect();
    let counts = candidate.counted.iter().zip(clips);
    candidate.outcome = if counts
        .into_iter()
        .all(|([whole, _], clip)| *whole == clip.repetitions)
    {
        Outcome::Counts
    } else {
        Outcome::Miscounts
    };
    candidate.exercise = exercise;
}

/// Whole and partial repetitions that an exercise counts in a clip.
pub(super) fn counted(exercise: &Exercise, clip: &TeachClip) -> [u32; 2] {
    repetitions(exercise, clip)
        .last()
        .map_or([0; 2], |last| [last.count, last.partials])
}

fn repetitions(exercise: &Exercise, clip: &TeachClip) -> Vec<Repetition> {
    let mut counter = Counter::default();
    let first = clip
        .frames
        .first()
        .map(|frame| frame.time)
        .unwrap_or_default();
    counter.begin(clip.person, first);
    let mut found = Vec::new();
    for frame in &clip.frames {
        found.extend(counter.add(
            exercise,
            &Frame {
                time: frame.time,
                states: &frame.states,
                label: None,
                signals: &frame.signals,
            },
        ));
    }
    found.extend(counter.finish(exercise));
    found
}

/// The extremes of the most prominent peaks, as many in each clip as repetitions were done. Where a clip has fewer
/// peaks, those.
fn extremes(curves: &[Curve], clips: &[&TeachClip]) -> Extremes {
    let mut found = Extremes::default();
    for (curve, clip) in curves.iter().zip(clips) {
        let mut peaks = peaks(&curve.values);
        let count = peaks.len().min(clip.repetitions as usize);
        let other = peaks.get(count).map_or(0.0, |peak| peak.prominence);
        found.other = found.other.max(other);
        peaks.truncate(count);
        peaks.sort_by_key(|peak| peak.at);
        // What follows the last one may be anything: the clip may end at its farthest.
        let mut from = 0;
        for peak in peaks {
            let way = &curve.values[from..=peak.at];
            found
                .rests
                .push(way.iter().copied().fold(f32::INFINITY, f32::min));
            found.reaches.push(curve.values[peak.at]);
            from = peak.at;
        }
    }
    found
}

impl Extremes {
    fn typical(&self) -> [f32; 2] {
        [median(&self.rests), median(&self.reaches)]
    }

    /// The rest farthest out, and the repetition that reaches least far.
    fn worst(&self) -> [f32; 2] {
        let most = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = |values: &[f32]| values.iter().copied().fold(f32::INFINITY, f32::min);
        [most(&self.rests), least(&self.reaches)]
    }
}

/// The thresholds, near and far: where those that ship have them, moved away from the worst repetitions.
fn thresholds([rest, reach]: [f32; 2], [rest_worst, reach_worst]: [f32; 2]) -> Option<[f32; 2]> {
    let at = |share: f32| rest + share * (reach - rest);
    let clear = CLEAR * (reach_worst - rest_worst).max(0.0);
    let pair = if clear > 0.0 {
        [
            at(WAY[0]).max(rest_worst + clear),
            at(WAY[1]).min(reach_worst - clear),
        ]
    } else {
        WAY.map(at)
    };
    // Both are rounded.
    (pair[1] - pair[0] >= BAND_MIN_DEG + 1.0).then_some(pair)
}

/// Lowest and highest value of all curves, but for a few.
fn percentiles(curves: &[Curve]) -> [f32; 2] {
    let mut all: Vec<f32> = curves
        .iter()
        .flat_map(|curve| curve.values.iter().copied())
        .collect();
    all.sort_by(f32::total_cmp);
    EXTREMES_PERCENT.map(|percent| all[(all.len() - 1) * percent / 100])
}

/// The middle value, the upper of two; 0 of none.
fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "frames of ten minutes")]
fn share_of(count: usize, all: usize) -> f32 {
    count as f32 / all.max(1) as f32
}
