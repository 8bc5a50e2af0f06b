//! Collecting: frames in, samples and repetitions in memory that was reserved at the start.

use std::time::Duration;

use glam::Vec3;

use super::summary::{PersonSummary, Summary, Totals};
use super::{
    Ended, LEFT_OUT_IDS_MAX, Plan, Progress, REPETITIONS_MAX, SAMPLE_EVERY, SESSION_PEOPLE_MAX,
    Sample,
};
use crate::base::clock::MonoNs;
use crate::base::limits::PEOPLE_MAX;
use crate::motion::angles::{Angle, angles_of};
use crate::motion::exercise::{Counting, Exercise, Repetition, Signals, signals_of};
use crate::pose::{JointState, PersonPose};

/// One person's part.
#[derive(Debug)]
pub(super) struct Record {
    pub person: u32,
    pub first: MonoNs,
    pub last: MonoNs,
    /// When the next sample is taken.
    due: MonoNs,
    pub frames: u64,
    /// Frames in which an angle of the exercise was measured.
    pub measured: u64,
    pub samples: Vec<Sample>,
    pub totals: Totals,
}

impl Record {
    fn with_room(samples: usize) -> Self {
        Self {
            person: 0,
            first: MonoNs(0),
            last: MonoNs(0),
            due: MonoNs(0),
            frames: 0,
            measured: 0,
            samples: Vec::with_capacity(samples),
            totals: Totals::default(),
        }
    }

    /// Begins with another person, in the memory it has.
    fn begin(&mut self, person: u32, time: MonoNs) {
        self.person = person;
        (self.first, self.last, self.due) = (time, time, time);
        (self.frames, self.measured) = (0, 0);
        self.samples.clear();
        self.totals = Totals::default();
    }

    fn add(&mut self, time: MonoNs, angles: [Angle; 2]) {
        self.last = time;
        self.frames += 1;
        let is_measured = |angle: &Angle| angle.state == JointState::Measured;
        self.measured += u64::from(angles.iter().any(is_measured));
        if time < self.due || self.samples.len() == self.samples.capacity() {
            return;
        }
        self.samples.push(Sample { time, angles });
        // The grid stays, unless frames come more slowly than samples are due.
        self.due = self.due.plus(SAMPLE_EVERY).max(time.plus(SAMPLE_EVERY / 2));
    }
}

/// What was collected of everybody.
#[derive(Debug)]
struct Records {
    people: Vec<Record>,
    spare: Vec<Record>,
    repetitions: Vec<Repetition>,
    /// People who were in view and have no record, each once.
    left_out: Vec<u32>,
    /// How many more there were when `left_out` was full.
    more_left_out: u64,
    repetitions_left_out: u64,
}

impl Records {
    /// Takes a sample of each person.
    fn sample(
        &mut self,
        exercise: &Exercise,
        time: MonoNs,
        people: &[PersonPose],
        signals: &[Signals],
    ) {
        for (person, signals) in people.iter().zip(signals) {
            let sides = exercise.signals.map(|signal| signals[signal]);
            if let Some(record) = self.record(person.id, time, people) {
                record.add(time, sides);
            }
        }
    }

    /// The record of a person, which begins where there is none.
    fn record(&mut self, id: u32, time: MonoNs, in_view: &[PersonPose]) -> Option<&mut Record> {
        let own = self.people.iter().position(|record| record.person == id);
        if let Some(place) = own {
            return self.people.get_mut(place);
        }
        if self.spare.is_empty() {
            self.make_room(in_view);
        }
        let Some(mut record) = self.spare.pop() else {
            self.leave_out(id);
            return None;
        };
        // One who comes back is listed again.
        if let Some(place) = self.left_out.iter().position(|left| *left == id) {
            self.left_out.swap_remove(place);
        }
        record.begin(id, time);
        self.people.push(record);
        self.people.last_mut()
    }

    /// Frees the record of the person who did least of those who are gone, and of equals the one who left first. Who is
    /// in view keeps theirs.
    fn make_room(&mut self, in_view: &[PersonPose]) {
        let is_gone = |record: &Record| in_view.iter().all(|person| person.id != record.person);
        let people = self.people.iter().enumerate();
        let gone = people.filter(|(_, record)| is_gone(record));
        let did_least = gone.min_by_key(|(_, record)| {
            let totals = &record.totals;
            (totals.whole, totals.partials, record.last)
        });
        let Some((place, _)) = did_least else {
            return;
        };
        let record = self.people.remove(place);
        let before = self.repetitions.len();
        self.repetitions
            .retain(|found| found.person != record.person);
        self.repetitions_left_out += (before - self.repetitions.len()) as u64;
        self.leave_out(record.person);
        self.spare.push(record);
    }

    /// Counts a person who has no record, once.
    fn leave_out(&mut self, id: u32) {
        if self.left_out.contains(&id) {
            return;
        }
        if self.left_out.len() == self.left_out.capacity() {
            self.more_left_out += 1;
        } else {
            self.left_out.push(id);
        }
    }

    fn people_left_out(&self) -> u64 {
        self.left_out.len() as u64 + self.more_left_out
    }

    fn keep(&mut self, found: &Repetition) {
        let own = |record: &&mut Record| record.person == found.person;
        let Some(record) = self.people.iter_mut().find(own) else {
            self.repetitions_left_out += 1;
            return;
        };
        record.totals.add(found);
        if self.repetitions.len() == self.repetitions.capacity() {
            self.repetitions_left_out += 1;
        } else {
            self.repetitions.push(found.clone());
        }
    }
}

/// A session under way.
#[derive(Debug)]
pub struct Collector {
    plan: Plan,
    started: MonoNs,
    newest: Option<MonoNs>,
    frames: u64,
    counting: Counting,
    records: Records,
}

impl Collector {
    /// Begins a session at `started` and reserves all its memory: 20 kB a minute for the samples of each person, 5 MB
    /// for the longest session of everybody in view, and half a megabyte for repetitions.
    pub fn new(plan: Plan, started: MonoNs) -> Self {
        let samples = plan.longest.as_millis() / SAMPLE_EVERY.as_millis() + 1;
        let samples = usize::try_from(samples).unwrap_or(usize::MAX);
        // One person needs one record; in view of the kiosk others need as many as fit in a frame.
        let people = plan.person.map_or(SESSION_PEOPLE_MAX, |_| 1);
        Self {
            counting: Counting::new(plan.exercise.clone()),
            records: Records {
                people: Vec::with_capacity(people),
                spare: (0..people).map(|_| Record::with_room(samples)).collect(),
                repetitions: Vec::with_capacity(REPETITIONS_MAX),
                left_out: Vec::with_capacity(LEFT_OUT_IDS_MAX),
                more_left_out: 0,
                repetitions_left_out: 0,
            },
            plan,
            started,
            newest: None,
            frames: 0,
        }
    }

    /// What it is about.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// When it began.
    pub const fn started(&self) -> MonoNs {
        self.started
    }

    /// Whether it has reached its longest time.
    pub fn is_over(&self, time: MonoNs) -> bool {
        time.since(self.started) >= self.plan.longest
    }

    /// What it has so far.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress {
            people: self.records.people.len(),
            ..Progress::default()
        };
        for record in &self.records.people {
            progress.whole = progress.whole.saturating_add(record.totals.whole);
            progress.partials = progress.partials.saturating_add(record.totals.partials);
        }
        progress
    }

    /// Takes the people of the frame of `time`; `up` as [`angles_of`] takes it. A frame from before the start, from
    /// after the longest time or not later than the one before is none of the session. Touches no heap.
    pub fn add(&mut self, time: MonoNs, people: &[PersonPose], up: Option<Vec3>) {
        let old = self.newest.is_some_and(|newest| time <= newest);
        if time < self.started || old || self.is_over(time) {
            return;
        }
        self.newest = Some(time);
        self.frames += 1;
        let people = match self.plan.person {
            None => people,
            Some(id) => people
                .iter()
                .find(|person| person.id == id)
                .map(std::slice::from_ref)
                .unwrap_or_default(),
        };
        let mut signals = heapless::Vec::<Signals, PEOPLE_MAX>::new();
        signals.extend(
            people
                .iter()
                .take(PEOPLE_MAX)
                .map(|person| signals_of(person, &angles_of(person, up), up)),
        );
        let records = &mut self.records;
        records.sample(&self.plan.exercise, time, people, &signals);
        self.counting
            .add(time, people, &signals, &mut |found| records.keep(found));
    }

    /// Ends it at `time`, with what is under way; `missed` frames did not reach it.
    pub fn finish(mut self, time: MonoNs, ended: Ended, missed: u64) -> Summary {
        let records = &mut self.records;
        self.counting.finish(&mut |found| records.keep(found));
        let duration = match ended {
            Ended::Cut => self.plan.longest,
            _ => time.since(self.started).min(self.plan.longest),
        };
        let people_left_out = self.records.people_left_out();
        let mut repetitions = self.records.repetitions;
        let started = self.started;
        let since = |time: MonoNs| -> Duration { time.since(started) };
        let mut people: Vec<PersonSummary> = self
            .records
            .people
            .into_iter()
            .map(|record| {
                let own = |found: &mut Repetition| found.person == record.person;
                PersonSummary {
                    person: record.person,
                    seen: [since(record.first), since(record.last)],
                    frames: record.frames,
                    measured: record.measured,
                    whole: record.totals.whole,
                    partials: record.totals.partials,
                    depth: record.totals.depth(),
                    range_deg: record.totals.range_deg,
                    difference: record.totals.difference(),
                    repetitions: repetitions.extract_if(.., own).collect(),
                    samples: record.samples,
                }
            })
            .collect();
        // Those who exercised first, and of those the one who did most.
        people.sort_by_key(|person| {
            std::cmp::Reverse((person.whole, person.partials, person.samples.len()))
        });
        Summary {
            plan: self.plan,
            started,
            ended,
            duration,
            frames: self.frames,
            missed,
            people,
            people_left_out,
            repetitions_left_out: self.records.repetitions_left_out,
        }
    }
}
