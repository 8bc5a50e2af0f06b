//! Exercise sessions: what is collected from the start of an exercise to its end, and the summary.
//!
//! ```text
//!  poses of a frame ─▶ angles ─▶ repetitions (exercise/) ─┐
//!                         └────▶ samples, ten a second ───┴─▶ Collector ─▶ Summary
//! ```
//!
//! [`Collector::new`] reserves all memory; [`Collector::add`] touches no heap. Times are those of frames, on the
//! monotonic clock: a wall clock that is set in between changes nothing.

mod collect;
mod summary;

use std::time::Duration;

use crate::base::clock::MonoNs;
use crate::base::limits::PEOPLE_MAX;

use super::angles::Angle;
use super::exercise::{Exercise, Repetition};

pub use collect::Collector;
pub use summary::{Depth, Difference, PersonSummary, Summary};

/// Longest label of a session, bytes: a short phrase.
pub const LABEL_BYTES_MAX: usize = 64;

/// Longest session, minutes: an hour of everybody in view would be 10 MB.
pub const MINUTES_MAX: u32 = 30;

/// Time between two samples of an angle: enough for a curve of the fastest repetition that counts (0.1 s is its least
/// time, most take a second and more).
pub const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Repetitions of a session, of everybody together: two a second for half an hour.
pub const REPETITIONS_MAX: usize = 3_600;

/// People of a session. Ids change when a person steps out for long, so there may be more: a newcomer takes the place of
/// the one who did least of those who are gone, first of all one without a whole repetition.
pub const SESSION_PEOPLE_MAX: usize = PEOPLE_MAX;

/// Ids of people left out that are remembered, so that each is counted once: one every two seconds of the longest
/// session. Those beyond are counted each time they are left out.
pub const LEFT_OUT_IDS_MAX: usize = 1_024;

/// What a session is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is counted, and whose angles are sampled.
    pub exercise: Exercise,
    /// Who; `None` for everybody in view.
    pub person: Option<u32>,
    /// What the kiosk calls it, at most [`LABEL_BYTES_MAX`] bytes; empty for nothing.
    pub label: String,
    /// It ends by itself after this.
    pub longest: Duration,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// It had reached its longest time: it was cut.
    Cut,
    /// The daemon was shut down.
    Shutdown,
    /// The film or recording was over.
    RecordingOver,
    /// The film or recording was not played to its end: interrupted, broken off, or only so many frames were wanted.
    Unfinished,
}

impl Ended {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Cut => "cut",
            Self::Shutdown => "shutdown",
            Self::RecordingOver => "recording_over",
            Self::Unfinished => "unfinished",
        }
    }
}

/// The angle of each side at one moment; the same twice for an angle without sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Capture time of its frame.
    pub time: MonoNs,
    /// Left and right.
    pub angles: [Angle; 2],
}

/// What a session has so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// People with samples.
    pub people: usize,
    /// Whole repetitions of all of them.
    pub whole: u32,
    /// Partial ones.
    pub partials: u32,
}

const _: () = {
    let tenths = SAMPLE_EVERY.as_nanos() == 100_000_000;
    assert!(tenths, "ten samples a second");
    let samples = MINUTES_MAX as usize * 60 * 10;
    let bytes = SESSION_PEOPLE_MAX * samples * size_of::<Sample>();
    assert!(bytes <= 5 << 20, "the samples of a session have 5 MiB");
    let bytes = REPETITIONS_MAX * size_of::<Repetition>();
    assert!(bytes <= 1 << 19, "its repetitions have half a MiB");
};

#[cfg(test)]
mod tests;
