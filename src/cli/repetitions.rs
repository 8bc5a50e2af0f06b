//! Repetitions of an exercise in a recording: `poised replay --exercise`.

use serde::Serialize;

use poised::base::clock::MonoNs;
use poised::motion::angles::angles_of;
use poised::motion::exercise::{Counting, Exercise, Repetition, Signals, signals_of};
use poised::output::repetition::KINDS;
use poised::pose::PoseSample;

use super::report::round;

/// Repetitions that a report keeps at most, the first ones: days of exercise.
const REPETITIONS_MAX: usize = 10_000;

/// Counts over a recording.
pub struct Exercised {
    counting: Counting,
    first: Option<MonoNs>,
    found: Vec<Row>,
    /// Whole and partial ones, those that found no room too.
    totals: [u64; 2],
    left_out: u64,
}

/// What was counted in a recording.
#[derive(Debug, Serialize)]
pub struct Repetitions {
    /// The exercise.
    pub exercise: String,
    /// Whole repetitions of all people.
    pub whole: u64,
    /// Partial ones, which do not count.
    pub partial: u64,
    /// Each of them, in the order in which they ended.
    pub each: Vec<Row>,
    /// Repetitions that found no room there.
    pub left_out: u64,
}

/// One repetition. Times are seconds since the first frame.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The person.
    pub person: u32,
    /// `whole` or `partial`.
    pub kind: &'static str,
    /// Its number among those of its kind and person, from 1.
    pub number: u32,
    /// When the signal left rest.
    pub start_s: f64,
    /// When it was farthest from rest.
    pub peak_s: f64,
    /// When the effort ended.
    pub end_s: f64,
    /// The signal at its farthest, degrees.
    pub depth_deg: f64,
    /// Its standard deviation, degrees.
    pub depth_sigma_deg: f64,
    /// Speed on the way out, degrees a second.
    pub out_deg_s: Option<f64>,
    /// Speed on the way back, degrees a second.
    pub back_deg_s: Option<f64>,
    /// Left less right, degrees, and its standard deviation.
    pub difference_deg: Option<[f64; 2]>,
    /// Share of completed joints, 0 to 1.
    pub completed_share: f64,
    /// Range of motion so far, left and right, degrees.
    pub range_deg: [Option<[f64; 2]>; 2],
}

impl Row {
    fn of(found: &Repetition, first: MonoNs) -> Self {
        let since = |time: MonoNs| round(time.since(first).as_secs_f64());
        let figure = |value: f32| round(value.into());
        Self {
            person: found.person,
            kind: KINDS[usize::from(found.partial)],
            number: if found.partial {
                found.partials
            } else {
                found.count
            },
            start_s: since(found.start),
            peak_s: since(found.peak),
            end_s: since(found.end),
            depth_deg: figure(found.depth_deg),
            depth_sigma_deg: figure(found.depth_sigma_deg),
            out_deg_s: found.out_deg_s.map(figure),
            back_deg_s: found.back_deg_s.map(figure),
            difference_deg: found.difference_deg.map(|pair| pair.map(figure)),
            completed_share: figure(found.completed_share),
            range_deg: found
                .range_deg
                .map(|side| side.map(|range| range.map(figure))),
        }
    }
}

impl Exercised {
    pub fn new(exercise: Exercise) -> Self {
        Self {
            counting: Counting::new(exercise),
            first: None,
            found: Vec::new(),
            totals: [0; 2],
            left_out: 0,
        }
    }

    /// Takes in one frame's poses.
    pub fn add(&mut self, sample: &PoseSample) {
        let first = *self.first.get_or_insert(sample.capture);
        let up = sample.up_camera;
        let signals: Vec<Signals> = sample
            .people
            .iter()
            .map(|person| signals_of(person, &angles_of(person, up), up))
            .collect();
        let mut ended = Vec::new();
        self.counting
            .add(sample.capture, &sample.people, &signals, &mut |found| {
                ended.push(Row::of(found, first));
            });
        self.keep(ended);
    }

    fn keep(&mut self, ended: Vec<Row>) {
        for row in ended {
            self.totals[usize::from(row.kind != KINDS[0])] += 1;
            if self.found.len() < REPETITIONS_MAX {
                self.found.push(row);
            } else {
                self.left_out += 1;
            }
        }
    }

    /// The recording has ended, and with it what is under way.
    pub fn finish(mut self) -> Repetitions {
        let first = self.first.unwrap_or_default();
        let mut ended = Vec::new();
        self.counting
            .finish(&mut |found| ended.push(Row::of(found, first)));
        self.keep(ended);
        let [whole, partial] = self.totals;
        Repetitions {
            exercise: self.counting.exercise().name.clone(),
            whole,
            partial,
            left_out: self.left_out,
            each: self.found,
        }
    }
}

impl Repetitions {
    /// Prints a table to read.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn print(&self) -> anyhow::Result<()> {
        let (name, whole, partial) = (&self.exercise, self.whole, self.partial);
        say!("{name}: {whole} whole, {partial} partial repetitions")?;
        if self.each.is_empty() {
            return Ok(());
        }
        say!(
            "person  kind       no   start s   peak s    end s  depth deg  out deg/s  back deg/s  left-right deg  completed"
        )?;
        let speed =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        for row in &self.each {
            let difference = match row.difference_deg {
                Some([difference, sigma]) => format!("{difference:.0} ± {sigma:.0}"),
                None => "-".to_owned(),
            };
            say!(
                "{:6}  {:8} {:4}  {:8.1} {:8.1} {:8.1}  {:>9}  {:>9}  {:>10}  {:>14}  {:8.0} %",
                row.person,
                row.kind,
                row.number,
                row.start_s,
                row.peak_s,
                row.end_s,
                format!("{:.0} ± {:.0}", row.depth_deg, row.depth_sigma_deg),
                speed(row.out_deg_s),
                speed(row.back_deg_s),
                difference,
                1e2 * row.completed_share
            )?;
        }
        if self.left_out > 0 {
            say!("and {} more", self.left_out)?;
        }
        Ok(())
    }
}
