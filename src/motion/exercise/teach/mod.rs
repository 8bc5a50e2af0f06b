//! Teaching: from one to three clips of one's own to an exercise.
//!
//! ```text
//!  clips, each with a count ─▶ every signal (signal.rs): as many peaks as were counted ─▶ thresholds ─▶ counted again
//!                                                    the best of those that count right ◀──┘
//! ```
//!
//! `poised exercise teach` calls [`teach`]; nothing in the daemon does. A signal is a joint angle or the elevation of a limb, with a
//! rule for its sides and with rest below or above. Of those whose thresholds count every clip exactly, the one is
//! taken whose repetitions stand out most: by how far the narrowest of them goes, over the signal's standard deviation
//! and its largest movement that is no repetition.

mod clip;
mod peaks;
mod signal;
#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "frames of ten minutes"
)]
mod tests;

use serde::Serialize;

use super::file::{sides_of, signal_names};
use super::{Exercise, Rest, Sides};
use signal::{Question, counted};

pub use clip::{TeachClip, TeachFrame, TeachReader};

/// Clips that one exercise is learned from at most.
pub const TEACH_CLIPS_MAX: usize = 3;

/// Repetitions of a clip at most: more than ten minutes hold.
pub const TEACH_REPETITIONS_MAX: u32 = 500;

/// A rule for the sides that is asked for first must stand out at least by this share of the best one.
const GOOD_SHARE: f32 = 0.6;

/// Both rules for one side alone.
const ONE_SIDE: [Sides; 2] = [Sides::Left, Sides::Right];

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeachError {
    /// A clip shows no one.
    #[error("{clip}: no person is seen; film one person alone, from head to foot")]
    NoPerson {
        /// The clip.
        clip: String,
    },
    /// A clip shows several people.
    #[error(
        "{clip}: more than one person is seen, ids {}; film one person alone, or choose with --person ID",
        list(ids)
    )]
    People {
        /// The clip.
        clip: String,
        /// Who.
        ids: Vec<u32>,
    },
    /// The person who was chosen is not in it.
    #[error("{clip}: person {person} is not seen; seen are: {}", list(ids))]
    NotSeen {
        /// The clip.
        clip: String,
        /// Who was chosen.
        person: u32,
        /// Who is seen.
        ids: Vec<u32>,
    },
    /// A clip is too short.
    #[error("{clip}: the person is seen for {seconds:.1} s, must be at least {least_s:.0} s")]
    Short {
        /// The clip.
        clip: String,
        /// Its length with the person.
        seconds: f64,
        /// The bound.
        least_s: f64,
    },
    /// A clip is too long.
    #[error("{clip}: longer than ten minutes at 60 frames a second; cut out the set")]
    Long {
        /// The clip.
        clip: String,
    },
    /// A clip has too few frames.
    #[error("{clip}: {rate_hz:.1} frames a second, must be at least 2; 10 or more are better")]
    Slow {
        /// The clip.
        clip: String,
        /// Its rate.
        rate_hz: f64,
    },
    /// The signal that was chosen does not exist.
    #[error("signal {signal:?}: must be one of {}", signal_names().join(", "))]
    Signal {
        /// The name.
        signal: String,
    },
    /// Each signal is hidden for too long.
    #[error(
        "no signal is measured in half of the frames of each clip: joints are hidden or out of the image; \
         film the whole body"
    )]
    Hidden {
        /// What was tried.
        candidates: Vec<Candidate>,
    },
    /// No signal counts right.
    #[error(
        "no signal gives the repetitions of each clip{}; check --count, rest for a second before the first repetition and \
         after the last, and film from where the movement is seen best",
        nearest(candidates)
    )]
    NoSignal {
        /// What was tried.
        candidates: Vec<Candidate>,
    },
}

impl TeachError {
    /// What was tried, where anything was.
    pub fn candidates(&self) -> &[Candidate] {
        match self {
            Self::Hidden { candidates } | Self::NoSignal { candidates } => candidates,
            _ => &[],
        }
    }
}

fn list(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    ids.join(", ")
}

/// The first of the candidates in words.
fn nearest(candidates: &[Candidate]) -> String {
    candidates
        .iter()
        .find(|one| one.outcome == Outcome::Miscounts)
        .map_or_else(String::new, |one| {
            let counts: Vec<u32> = one.counted.iter().map(|[whole, _]| *whole).collect();
            format!("; {} gives {}", one.exercise.signal, list(&counts))
        })
}

/// What came of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It counts each clip right.
    Counts,
    /// It does not.
    Miscounts,
    /// It moves too little for two thresholds.
    Still,
    /// It is not measured in half of the frames.
    Hidden,
}

impl Outcome {
    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Miscounts => "miscounts",
            Self::Still => "moves too little",
            Self::Hidden => "hidden",
        }
    }
}

/// A signal that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The exercise with this signal.
    #[serde(flatten)]
    pub exercise: Exercise,
    /// What came of it.
    pub outcome: Outcome,
    /// Whole and partial repetitions of each clip; empty if it was not counted.
    #[serde(rename = "repetitions")]
    pub counted: Vec<[u32; 2]>,
    /// The signal at rest and at its farthest, degrees: medians over the repetitions.
    pub range_deg: [f32; 2],
    /// Degrees between a threshold and the repetition, or rest, that comes nearest to it.
    pub margin_deg: f32,
    /// The signal's standard deviation, degrees: the median of the worst clip.
    pub sigma_deg: f32,
    /// Its largest movement that is no repetition, degrees.
    pub other_deg: f32,
    /// Share of the frames in which it is measured, 0 to 1, of the worst clip.
    pub measured_share: f32,
    /// How much the repetitions stand out; 0 where it does not count right.
    pub score: f32,
}

/// What was learned.
#[derive(Clone, Debug, Serialize)]
pub struct Taught {
    /// The best signal.
    pub best: Candidate,
    /// The best of each angle, by name, that one among them.
    pub candidates: Vec<Candidate>,
    /// For each clip, if there are several: whole and partial repetitions of it counted with what the others teach.
    /// `None` if they teach nothing.
    pub left_out: Vec<Option<[u32; 2]>>,
}

/// Learns an exercise of this name from clips, with any signal or with this one.
///
/// # Errors
///
/// No signal counts each clip right; the error has what was tried.
pub fn teach(name: &str, clips: &[TeachClip], only: Option<&str>) -> Result<Taught, TeachError> {
    if let Some(signal) = only
        && !signal_names().contains(&signal)
    {
        let signal = signal.to_owned();
        return Err(TeachError::Signal { signal });
    }
    let all: Vec<&TeachClip> = clips.iter().collect();
    let candidates = candidates(name, &all, only);
    let Some(best) = best(&candidates).cloned() else {
        let is_hidden = |one: &Candidate| one.outcome == Outcome::Hidden;
        return Err(if candidates.iter().all(is_hidden) {
            TeachError::Hidden { candidates }
        } else {
            TeachError::NoSignal { candidates }
        });
    };
    let mut left_out = Vec::new();
    for (at, clip) in all.iter().enumerate().filter(|_| all.len() > 1) {
        let mut others = all.clone();
        others.remove(at);
        let learned = self::candidates(name, &others, only);
        left_out.push(self::best(&learned).map(|one| counted(&one.exercise, clip)));
    }
    Ok(Taught {
        best,
        candidates,
        left_out,
    })
}

/// The best of each angle, those first that count right.
fn candidates(name: &str, clips: &[&TeachClip], only: Option<&str>) -> Vec<Candidate> {
    let names = signal_names().into_iter();
    let mut found: Vec<Candidate> = names
        .filter(|signal| only.is_none_or(|only| only == *signal))
        .filter_map(|signal| of_signal(name, clips, signal))
        .collect();
    found.sort_by(|a, b| {
        let away = |one: &Candidate| misses(one, clips);
        (a.outcome.cmp(&b.outcome))
            .then(b.score.total_cmp(&a.score))
            .then(away(a).cmp(&away(b)))
    });
    found
}

fn best(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates
        .first()
        .filter(|one| one.outcome == Outcome::Counts)
}

/// How many repetitions a candidate is off, all clips together.
fn misses(candidate: &Candidate, clips: &[&TeachClip]) -> u32 {
    let counts = candidate.counted.iter().zip(clips);
    counts
        .map(|([whole, _], clip)| whole.abs_diff(clip.repetitions))
        .sum()
}

/// The best rule for the sides and for rest of one angle.
fn of_signal(name: &str, clips: &[&TeachClip], signal: &str) -> Option<Candidate> {
    let signals = sides_of(signal)?;
    let rules: &[Sides] = if signals[0] == signals[1] {
        &[Sides::Mean]
    } else {
        &[
            Sides::Mean,
            Sides::Min,
            Sides::Max,
            Sides::Left,
            Sides::Right,
        ]
    };
    let ask = |rest: Rest| -> Option<Candidate> {
        let answers: Vec<Candidate> = rules
            .iter()
            .map(|sides| {
                let question = Question {
                    name,
                    signal,
                    signals,
                    sides: *sides,
                    rest,
                };
                question.answer(clips)
            })
            .collect();
        chosen(answers, clips)
    };
    [Rest::Low, Rest::High]
        .into_iter()
        .filter_map(ask)
        .min_by(|a, b| {
            (a.outcome.cmp(&b.outcome))
                .then(b.score.total_cmp(&a.score))
                .then(misses(a, clips).cmp(&misses(b, clips)))
        })
}

/// Of the rules for the sides, the narrowest that fits what was shown: where both sides move together, both have to;
/// where one side moves, that one.
fn chosen(answers: Vec<Candidate>, clips: &[&TeachClip]) -> Option<Candidate> {
    let of = |sides: Sides| answers.iter().find(|one| one.exercise.sides == sides);
    let outcome = |sides: Sides| of(sides).map(|one| one.outcome);
    let counts = |sides: Sides| outcome(sides) == Some(Outcome::Counts);
    let hidden = |sides: Sides| outcome(sides) == Some(Outcome::Hidden);
    let [left, right] = ONE_SIDE.map(counts);
    let order: &[Sides] = match (left, right) {
        (true, true) => &[Sides::Min, Sides::Mean, Sides::Max],
        // The other side is not seen: it may do the same.
        (true, false) if hidden(Sides::Right) => &[Sides::Mean, Sides::Left],
        (false, true) if hidden(Sides::Left) => &[Sides::Mean, Sides::Right],
        (true, false) => &[Sides::Left],
        (false, true) => &[Sides::Right],
        (false, false) => &[Sides::Max, Sides::Mean, Sides::Min],
    };
    let most = answers.iter().map(|one| one.score).fold(0.0, f32::max);
    let first = order
        .iter()
        .filter(|sides| counts(**sides))
        .filter_map(|sides| of(*sides))
        .find(|one| one.score >= GOOD_SHARE * most)
        .cloned();
    first.or_else(|| {
        answers.into_iter().min_by(|a, b| {
            (a.outcome.cmp(&b.outcome))
                .then(b.score.total_cmp(&a.score))
                .then(misses(a, clips).cmp(&misses(b, clips)))
        })
    })
}
