//! `session_summary/v1`: the summary as JSON. `docs/guide/session.md` explains each key.

use serde::Serialize;

use crate::base::clock::{MonoNs, Utc};
use crate::motion::angles::Angle;
use crate::motion::exercise::{Exercise, Repetition, SIGNAL_NAMES};
use crate::motion::session::{PersonSummary, Sample, Summary};
use crate::output::repetition::KINDS;

/// Value of `schema` in a summary.
pub const SUMMARY_SCHEMA: &str = "session_summary/v1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    camera: &'a str,
    label: Option<&'a str>,
    exercise: ExerciseKeys<'a>,
    person: Option<u32>,
    started: Option<String>,
    duration_s: f64,
    ended: &'static str,
    max_s: f64,
    frames: u64,
    frames_missed: u64,
    people: Vec<Person>,
    people_left_out: u64,
    repetitions_left_out: u64,
    note: &'static str,
}

#[derive(Serialize)]
struct ExerciseKeys<'a> {
    name: &'a str,
    signal: &'a str,
    low_deg: f64,
    high_deg: f64,
}

#[derive(Serialize)]
struct Person {
    #[serde(rename = "person")]
    id: u32,
    first_s: f64,
    last_s: f64,
    measured_share: f64,
    whole: u32,
    partial: u32,
    depth_deg: Option<DepthKeys>,
    range_left_deg: Option<[f64; 2]>,
    range_right_deg: Option<[f64; 2]>,
    difference_deg: Option<f64>,
    difference_sigma_deg: Option<f64>,
    difference_repetitions: u32,
    repetitions: Vec<Row>,
    samples: Samples,
}

#[derive(Serialize)]
struct DepthKeys {
    mean: f64,
    sigma: f64,
    least: f64,
    most: f64,
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    start_s: f64,
    peak_s: f64,
    end_s: f64,
    depth_deg: f64,
    depth_sigma_deg: f64,
    out_deg_s: Option<f64>,
    back_deg_s: Option<f64>,
    difference_deg: Option<f64>,
    difference_sigma_deg: Option<f64>,
    completed_share: f64,
}

#[derive(Serialize)]
struct Samples {
    time_s: Vec<f64>,
    angles: Vec<Series>,
}

#[derive(Serialize)]
struct Series {
    name: &'static str,
    deg: Vec<Option<f64>>,
    sigma_deg: Vec<Option<f64>>,
    state: Vec<u8>,
}

/// What every summary says of itself.
pub(super) const NOTE: &str = "Estimated from a camera. Not a medical device.";

/// Renders a summary; arguments as [`super::Rendered::of`] takes them.
pub(super) fn json(summary: &Summary, source: &str, started_unix_ns: Option<u64>) -> String {
    let exercise = &summary.plan.exercise;
    let label = summary.plan.label.as_str();
    let document = Document {
        schema: SUMMARY_SCHEMA,
        camera: source,
        label: (!label.is_empty()).then_some(label),
        exercise: ExerciseKeys {
            name: &exercise.name,
            signal: &exercise.signal,
            low_deg: round(exercise.low_deg),
            high_deg: round(exercise.high_deg),
        },
        person: summary.plan.person,
        started: started_unix_ns.map(|ns| Utc::of(ns / 1_000_000_000).to_string()),
        duration_s: seconds(summary.duration),
        ended: summary.ended.name(),
        max_s: seconds(summary.plan.longest),
        frames: summary.frames,
        frames_missed: summary.missed,
        people: summary
            .people
            .iter()
            .map(|one| person(one, exercise, summary.started))
            .collect(),
        people_left_out: summary.people_left_out,
        repetitions_left_out: summary.repetitions_left_out,
        note: NOTE,
    };
    // Texts, numbers and lists: there is nothing in it that JSON cannot hold.
    serde_json::to_string(&document).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "frames of half an hour")]
fn person(one: &PersonSummary, exercise: &Exercise, started: MonoNs) -> Person {
    let [first, last] = one.seen;
    let [left, right] = one.range_deg;
    Person {
        id: one.person,
        first_s: seconds(first),
        last_s: seconds(last),
        measured_share: rounded(one.measured as f64 / one.frames.max(1) as f64),
        whole: one.whole,
        partial: one.partials,
        depth_deg: one.depth.map(|depth| DepthKeys {
            mean: round(depth.mean_deg),
            sigma: round(depth.sigma_deg),
            least: round(depth.least_deg),
            most: round(depth.most_deg),
        }),
        range_left_deg: left.map(|range| range.map(round)),
        range_right_deg: right.map(|range| range.map(round)),
        difference_deg: one.difference.map(|found| round(found.deg)),
        difference_sigma_deg: one.difference.map(|found| round(found.sigma_deg)),
        difference_repetitions: one.difference.map_or(0, |found| found.repetitions),
        repetitions: one
            .repetitions
            .iter()
            .map(|found| row(found, started))
            .collect(),
        samples: Samples {
            time_s: one
                .samples
                .iter()
                .map(|sample| seconds(sample.time.since(started)))
                .collect(),
            angles: angles(exercise)
                .into_iter()
                .map(|(side, name)| series(name, side, &one.samples))
                .collect(),
        },
    }
}

fn row(found: &Repetition, started: MonoNs) -> Row {
    let [difference, sigma] = match found.difference_deg {
        Some(pair) => pair.map(Some),
        None => [None; 2],
    };
    let since = |time: MonoNs| seconds(time.since(started));
    Row {
        kind: KINDS[usize::from(found.partial)],
        start_s: since(found.start),
        peak_s: since(found.peak),
        end_s: since(found.end),
        depth_deg: round(found.depth_deg),
        depth_sigma_deg: round(found.depth_sigma_deg),
        out_deg_s: found.out_deg_s.map(round),
        back_deg_s: found.back_deg_s.map(round),
        difference_deg: difference.map(round),
        difference_sigma_deg: sigma.map(round),
        completed_share: round(found.completed_share),
    }
}

fn series(name: &'static str, side: usize, samples: &[Sample]) -> Series {
    let each = || samples.iter().map(|sample| &sample.angles[side]);
    let known = |angle: &Angle, value: f32| angle.known().map(|_| round(value));
    Series {
        name,
        deg: each().map(|angle| known(angle, angle.deg)).collect(),
        sigma_deg: each().map(|angle| known(angle, angle.sigma_deg)).collect(),
        state: each().map(|angle| angle.state as u8).collect(),
    }
}

/// The angles of an exercise: the side's place in a sample, and the angle's name. One without sides is there once.
pub(super) fn angles(exercise: &Exercise) -> Vec<(usize, &'static str)> {
    let [left, right] = exercise.signals;
    let both = [(0, SIGNAL_NAMES[left]), (1, SIGNAL_NAMES[right])];
    let sides = if left == right { 1 } else { 2 };
    both.into_iter().take(sides).collect()
}

fn seconds(time: std::time::Duration) -> f64 {
    rounded(time.as_secs_f64())
}

fn round(value: f32) -> f64 {
    rounded(value.into())
}

/// To hundredths: a hundredth of a degree is far below any sigma.
fn rounded(value: f64) -> f64 {
    (value * 1e2).round() / 1e2
}
