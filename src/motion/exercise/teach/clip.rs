//! A clip to learn from: the joint angles of one person over time.

use std::collections::BTreeMap;

use super::TeachError;
use crate::base::clock::MonoNs;
use crate::motion::angles::angles_of;
use crate::motion::exercise::count::GAP_MAX;
use crate::motion::exercise::{Signals, signals_of};
use crate::pose::{JointState, PoseSample};
use crate::skeleton::JOINTS;

/// Frames kept of a clip, of everybody together: ten minutes of one person at 60 Hz, 8 MB.
const FRAMES_MAX: usize = 36_000;

/// A clip is at least so long, seconds: rest, one repetition, rest.
const LEAST_S: f64 = 2.0;

/// Another person is in a clip, too, who is seen in this share of the frames of the one it is about: a passer-by is not.
const OTHER_SHARE: f64 = 0.2;

/// One frame of a person.
#[derive(Clone, Debug)]
pub struct TeachFrame {
    /// When.
    pub time: MonoNs,
    /// How each joint is known.
    pub states: [JointState; JOINTS],
    /// The joint angles and elevations.
    pub signals: Signals,
}

/// One person doing the exercise.
#[derive(Clone, Debug)]
pub struct TeachClip {
    /// What messages call it: the file.
    pub name: String,
    /// Who.
    pub person: u32,
    /// How often the exercise is done in it.
    pub repetitions: u32,
    /// From the first frame with the person to the last.
    pub frames: Vec<TeachFrame>,
    /// Share of the frames of the whole film in which the person is seen, 0 to 1.
    pub seen_share: f64,
}

impl TeachClip {
    /// From the first frame to the last, seconds.
    pub fn seconds(&self) -> f64 {
        match self.frames.as_slice() {
            [first, .., last] => last.time.seconds_after(first.time),
            _ => 0.0,
        }
    }
}

/// Collects the people of a film, frame by frame.
#[derive(Debug)]
pub struct TeachReader {
    name: String,
    repetitions: u32,
    person: Option<u32>,
    people: BTreeMap<u32, Vec<TeachFrame>>,
    frames: usize,
    kept: usize,
}

impl TeachReader {
    /// Of a film called `name`, in which the exercise is done so many times, by the person of this id or by the only one.
    pub fn new(name: &str, repetitions: u32, person: Option<u32>) -> Self {
        Self {
            name: name.to_owned(),
            repetitions,
            person,
            people: BTreeMap::new(),
            frames: 0,
            kept: 0,
        }
    }

    /// Takes a frame.
    ///
    /// # Errors
    ///
    /// The film is too long.
    pub fn add(&mut self, sample: &PoseSample) -> Result<(), TeachError> {
        self.frames += 1;
        for person in &sample.people {
            if self.kept == FRAMES_MAX {
                return Err(TeachError::Long {
                    clip: self.name.clone(),
                });
            }
            self.kept += 1;
            self.people.entry(person.id).or_default().push(TeachFrame {
                time: sample.capture,
                states: person.states,
                signals: signals_of(
                    person,
                    &angles_of(person, sample.up_camera),
                    sample.up_camera,
                ),
            });
        }
        Ok(())
    }

    /// The clip of the person it is about.
    ///
    /// # Errors
    ///
    /// There is no person, or more than one; it is too short, or has too few frames a second.
    pub fn finish(mut self) -> Result<TeachClip, TeachError> {
        let clip = self.name.clone();
        let ids: Vec<u32> = self.people.keys().copied().collect();
        let person = match self.person {
            Some(person) if ids.contains(&person) => person,
            Some(person) => return Err(TeachError::NotSeen { clip, person, ids }),
            None => self.only()?,
        };
        let frames = self.people.remove(&person).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "frames of ten minutes")]
        let share = frames.len() as f64 / self.frames.max(1) as f64;
        let found = TeachClip {
            name: self.name,
            person,
            repetitions: self.repetitions,
            frames,
            seen_share: share,
        };
        let seconds = found.seconds();
        if seconds < LEAST_S {
            return Err(TeachError::Short {
                clip,
                seconds,
                least_s: LEAST_S,
            });
        }
        let mut steps: Vec<_> = found
            .frames
            .windows(2)
            .map(|pair| pair[1].time.since(pair[0].time))
            .collect();
        steps.sort_unstable();
        let step = steps[steps.len() / 2];
        if step > GAP_MAX {
            let rate_hz = 1.0 / step.as_secs_f64();
            return Err(TeachError::Slow { clip, rate_hz });
        }
        Ok(found)
    }

    /// The person seen longest, if no other is seen at the same time for long.
    fn only(&self) -> Result<u32, TeachError> {
        let clip = || self.name.clone();
        let longest = self.people.iter().max_by_key(|(_, frames)| frames.len());
        let Some((&person, own)) = longest else {
            return Err(TeachError::NoPerson { clip: clip() });
        };
        let (first, last) = (own[0].time, own[own.len() - 1].time);
        let beside = |frames: &[TeachFrame]| {
            let within = frames
                .iter()
                .filter(|frame| (first..=last).contains(&frame.time));
            #[expect(clippy::cast_precision_loss, reason = "frames of ten minutes")]
            let share = within.count() as f64 / own.len() as f64;
            share >= OTHER_SHARE
        };
        let others = self.people.iter();
        let ids: Vec<u32> = others
            .filter(|(id, frames)| **id == person || beside(frames))
            .map(|(id, _)| *id)
            .collect();
        if ids.len() > 1 {
            return Err(TeachError::People { clip: clip(), ids });
        }
        Ok(person)
    }
}
