//! The summary of a session: robust figures of each person, and what they were made of.

use std::time::Duration;

use super::{Ended, Plan, Sample};
use crate::base::clock::MonoNs;
use crate::motion::exercise::Repetition;

/// What a session came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What it was about.
    pub plan: Plan,
    /// When it began.
    pub started: MonoNs,
    /// Why it ended.
    pub ended: Ended,
    /// From start to end.
    pub duration: Duration,
    /// Frames that were looked at.
    pub frames: u64,
    /// Frames that came while the session was being asked about, and were left out.
    pub missed: u64,
    /// Who was in view, those with most repetitions first.
    pub people: Vec<PersonSummary>,
    /// People who were in view and are not listed: there was no room for them, or others took their place when they
    /// were gone.
    pub people_left_out: u64,
    /// Repetitions that are not listed: those of people left out, which no figure includes, and those beyond
    /// [`REPETITIONS_MAX`](super::REPETITIONS_MAX), which figures include.
    pub repetitions_left_out: u64,
}

/// One person's part of a session. Degrees are those of the exercise's signal or of the angles it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonSummary {
    /// Who.
    pub person: u32,
    /// First and last frame, since the start.
    pub seen: [Duration; 2],
    /// Frames with the person.
    pub frames: u64,
    /// Those of them in which an angle of the exercise was measured, and not completed or absent.
    pub measured: u64,
    /// Whole repetitions.
    pub whole: u32,
    /// Partial ones, which do not count.
    pub partials: u32,
    /// How deep the whole ones were.
    pub depth: Option<Depth>,
    /// Range of motion of the left and the right side in repetitions, degrees: the 5th and the 95th percentile of the
    /// measured angle, never of completed joints. An angle without sides is in both.
    pub range_deg: [Option<[f32; 2]>; 2],
    /// Left less right, where both sides were equally sure.
    pub difference: Option<Difference>,
    /// Each of them, in the order in which they ended.
    pub repetitions: Vec<Repetition>,
    /// The angles over time, ten a second.
    pub samples: Vec<Sample>,
}

/// Depths of whole repetitions, degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// Their mean.
    pub mean_deg: f32,
    /// Standard deviation of that of one repetition: a camera's errors are the same in each.
    pub sigma_deg: f32,
    /// The smallest angle.
    pub least_deg: f32,
    /// The largest.
    pub most_deg: f32,
}

/// The difference of the sides over the repetitions that have one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of left less right, degrees.
    pub deg: f32,
    /// Standard deviation of that of one repetition, degrees. A camera's errors are the same in each, so more
    /// repetitions do not make it smaller.
    pub sigma_deg: f32,
    /// Whole repetitions in which both sides were measured and equally sure.
    pub repetitions: u32,
}

/// Sums over the repetitions of a person, without the repetitions themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub whole: u32,
    pub partials: u32,
    pub range_deg: [Option<[f32; 2]>; 2],
    depth_sum: f64,
    depth_variance_sum: f64,
    depth_ends: Option<[f32; 2]>,
    differences: u32,
    difference_sum: f64,
    variance_sum: f64,
}

impl Totals {
    pub fn add(&mut self, found: &Repetition) {
        // Of all repetitions so far.
        self.range_deg = found.range_deg;
        if found.partial {
            self.partials = self.partials.saturating_add(1);
            return;
        }
        self.whole = self.whole.saturating_add(1);
        let deg = found.depth_deg;
        self.depth_sum += f64::from(deg);
        self.depth_variance_sum += f64::from(found.depth_sigma_deg).powi(2);
        let [least, most] = self.depth_ends.unwrap_or([deg; 2]);
        self.depth_ends = Some([least.min(deg), most.max(deg)]);
        if let Some([difference, sigma]) = found.difference_deg {
            self.differences += 1;
            self.difference_sum += f64::from(difference);
            self.variance_sum += f64::from(sigma).powi(2);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "degrees")]
    pub fn depth(&self) -> Option<Depth> {
        let count = f64::from(self.whole);
        self.depth_ends.map(|[least_deg, most_deg]| Depth {
            mean_deg: (self.depth_sum / count) as f32,
            sigma_deg: (self.depth_variance_sum / count).sqrt() as f32,
            least_deg,
            most_deg,
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "degrees")]
    pub fn difference(&self) -> Option<Difference> {
        let count = f64::from(self.differences);
        (self.differences > 0).then(|| Difference {
            deg: (self.difference_sum / count) as f32,
            sigma_deg: (self.variance_sum / count).sqrt() as f32,
            repetitions: self.differences,
        })
    }
}
