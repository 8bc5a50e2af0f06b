//! Exercises: repetitions, range of motion and the difference of the sides, from joint angles over time.
//!
//! ```text
//!  angles and elevations of a frame (signals.rs) ─▶ one signal (file.rs) ─▶ two thresholds, by person (count.rs) ─▶ repetitions
//!                                           └─▶ range of motion (range.rs)
//! ```
//!
//! A file defines each exercise (`models/exercises.toml`). The publisher and `poised replay --exercise` hand
//! every frame to [`Counting`]; [`teach`] makes an exercise from clips. `docs/reference/exercises.md` explains what is
//! counted.

mod count;
mod file;
mod range;
mod signals;
pub mod teach;
mod write;

use std::time::Duration;

use crate::base::clock::MonoNs;
use crate::base::limits::TRACKS_MAX;
use crate::pose::PersonPose;

use count::{Counter, Frame};

pub use file::{Counted, Exercise, ExerciseConfig, Rest, Sides};
pub use signals::{SIGNAL_NAMES, SIGNALS, Signals, signals_of};
pub use write::{can_add, with_exercise};

/// What a person had begun ends when they have not been seen for so long: twice as long as the tracker looks for one who
/// is hidden, as it usually is set.
const LEFT_AFTER: Duration = Duration::from_secs(2);

/// A person who has not been seen for so long is forgotten: longer than any tracker keeps an id (`track.keep_s`).
const FORGOTTEN_AFTER: Duration = Duration::from_secs(12);

/// One repetition of a person. Times are those of frames, degrees those of the signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Repetition {
    /// Who.
    pub person: u32,
    /// Whole repetitions of the person so far, with this one if it is whole.
    pub count: u32,
    /// Partial ones so far, with this one if it is partial.
    pub partials: u32,
    /// Whether it turned back before the far threshold. It is not counted then.
    pub partial: bool,
    /// When the signal left rest.
    pub start: MonoNs,
    /// When it was farthest from rest.
    pub peak: MonoNs,
    /// When the effort ended.
    pub end: MonoNs,
    /// The signal at its farthest from rest, degrees: a median over a sixth of a second.
    pub depth_deg: f32,
    /// Its standard deviation, degrees.
    pub depth_sigma_deg: f32,
    /// Mean speed between the thresholds on the way out, degrees a second.
    pub out_deg_s: Option<f32>,
    /// The same on the way back.
    pub back_deg_s: Option<f32>,
    /// Left less right beyond the far threshold, degrees, with its standard deviation; only where both sides are
    /// measured and equally sure.
    pub difference_deg: Option<[f32; 2]>,
    /// Share of the joints of the signal that were completed, 0 to 1.
    pub completed_share: f32,
    /// Range of motion so far, left and right, degrees: the 5th and the 95th percentile of the measured angle. An
    /// angle without sides is in both.
    pub range_deg: [Option<[f32; 2]>; 2],
}

/// Counts the repetitions of everybody in view.
#[derive(Debug)]
pub struct Counting {
    exercise: Exercise,
    people: Vec<Counter>,
    /// For newcomers: with these, counting touches no heap.
    spare: Vec<Counter>,
}

impl Counting {
    /// Counts `exercise`. All memory is reserved here: [`TRACKS_MAX`] people of about 7 kB.
    pub fn new(exercise: Exercise) -> Self {
        Self {
            exercise,
            people: Vec::with_capacity(TRACKS_MAX),
            spare: (0..TRACKS_MAX).map(|_| Counter::default()).collect(),
        }
    }

    /// What is counted.
    pub const fn exercise(&self) -> &Exercise {
        &self.exercise
    }

    /// Takes the people of the frame of `time` and their signals, in the same order, and hands out what has ended.
    pub fn add(
        &mut self,
        time: MonoNs,
        people: &[PersonPose],
        signals: &[Signals],
        out: &mut dyn FnMut(&Repetition),
    ) {
        self.leave(time, out);
        for (person, signals) in people.iter().zip(signals) {
            let place = self.place(person.id, time, out);
            let action = person.action.as_ref();
            let frame = Frame {
                time,
                states: &person.states,
                label: action.map(|action| action.label.as_str()),
                signals,
            };
            if let Some(repetition) = self.people[place].add(&self.exercise, &frame) {
                out(&repetition);
            }
        }
    }

    /// Ends and hands out what people had begun who have not been seen for two seconds. A person who comes back under
    /// the same id goes on with the same count.
    pub fn leave(&mut self, time: MonoNs, out: &mut dyn FnMut(&Repetition)) {
        let mut place = 0;
        while let Some(counter) = self.people.get_mut(place) {
            let unseen = time.since(counter.seen);
            if unseen > LEFT_AFTER
                && let Some(repetition) = counter.finish(&self.exercise)
            {
                out(&repetition);
            }
            if unseen > FORGOTTEN_AFTER {
                self.spare.push(self.people.remove(place));
            } else {
                place += 1;
            }
        }
    }

    /// Ends what is under way: the stream ends, and the last repetition of each person with it.
    pub fn finish(&mut self, out: &mut dyn FnMut(&Repetition)) {
        for mut counter in self.people.drain(..) {
            if let Some(repetition) = counter.finish(&self.exercise) {
                out(&repetition);
            }
        }
    }

    /// Place of a person's counter, which is made where there is none.
    fn place(&mut self, id: u32, time: MonoNs, out: &mut dyn FnMut(&Repetition)) -> usize {
        if let Some(place) = self.people.iter().position(|own| own.person == id) {
            return place;
        }
        if self.people.len() == TRACKS_MAX {
            let oldest = (0..TRACKS_MAX).min_by_key(|place| self.people[*place].seen);
            let mut gone = self.people.swap_remove(oldest.unwrap_or_default());
            if let Some(repetition) = gone.finish(&self.exercise) {
                out(&repetition);
            }
            self.spare.push(gone);
        }
        let mut counter = self.spare.pop().unwrap_or_default();
        counter.begin(id, time);
        self.people.push(counter);
        self.people.len() - 1
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "frames of a minute"
)]
mod tests;
