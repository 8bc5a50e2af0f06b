//! The figures that `demo` and `replay` print: one object, its names stable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use poised::counters::{Counters, Timed};
use poised::pose::PoseSample;
use poised::sys::rt::{process_cpu_ns, resident_bytes};

/// Figures of a run. What does not apply is left out.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Frames that went through the estimator.
    pub frames: u64,
    /// Frames a second, over the whole run.
    pub fps: f64,
    /// From the capture of a frame to its pose, milliseconds.
    pub latency_ms: Percentiles,
    /// Most people seen in one frame.
    pub people: u32,
    /// Frames passed over because a newer one was there.
    pub dropped: u64,
    /// Processor milliseconds a frame, all threads of this process, loading left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<f64>,
    /// Resident memory at the end, megabytes (10^6).
    pub rss_mb: f64,
    /// Mean milliseconds a frame in each stage.
    pub stages_ms: BTreeMap<&'static str, f64>,
    /// The inference engine.
    pub engine: &'static str,
    /// Frames with at least one person.
    pub frames_with_people: u64,
    /// People told apart over the whole run.
    pub tracks: u64,
    /// What people did, and in which share of the frames with people.
    pub actions: Vec<ActionShare>,
    /// Share of joints that were completed rather than seen; absent joints do not count.
    pub completed_share: f64,
    /// Messages handed to Zenoh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u64>,
    /// Messages that came back in through our own subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// Mean joint error after moving both pelvises together, millimetres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mpjpe_mm: Option<f64>,
    /// Mean joint error after the best similarity transform, millimetres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pa_mpjpe_mm: Option<f64>,
    /// The same with the head as shipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factory_pa_mpjpe_mm: Option<f64>,
}

/// Two points of a distribution.
#[derive(Debug, Default, Serialize)]
pub struct Percentiles {
    /// Half lie below.
    pub p50: f64,
    /// All but one in a hundred lie below.
    pub p99: f64,
}

/// An action and how much of the time it was seen.
#[derive(Debug, Serialize)]
pub struct ActionShare {
    /// The phrase.
    pub label: String,
    /// Share of person-frames, 0 to 1.
    pub share: f64,
}

/// What is added up over a run, frame by frame.
#[derive(Debug, Default)]
pub struct Tally {
    frames: u64,
    with_people: u64,
    people_most: usize,
    ids: BTreeSet<u32>,
    joints: [u64; 3],
    actions: BTreeMap<String, u64>,
}

impl Tally {
    /// Takes in one frame's poses.
    pub fn add(&mut self, sample: &PoseSample) {
        self.frames += 1;
        self.with_people += u64::from(!sample.people.is_empty());
        self.people_most = self.people_most.max(sample.people.len());
        for person in &sample.people {
            self.ids.insert(person.id);
            for state in person.states {
                self.joints[state as usize] += 1;
            }
            if let Some(action) = &person.action {
                *self
                    .actions
                    .entry(action.label.as_str().to_owned())
                    .or_default() += 1;
            }
        }
    }

    /// Frames so far.
    pub const fn frames(&self) -> u64 {
        self.frames
    }
}

impl Report {
    /// With the processor time since `begun_ns`, a reading of [`process_cpu_ns`].
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn with_cpu_since(mut self, begun_ns: u64) -> Self {
        let spent_ms = (process_cpu_ns() - begun_ns) as f64 * 1e-6;
        self.cpu_ms = Some(round(spent_ms / self.frames.max(1) as f64));
        self
    }

    /// The figures of a run that took `elapsed`.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn of(tally: &Tally, counters: &Counters, engine: &'static str, elapsed: Duration) -> Self {
        let latency = counters.latency.read();
        let [_, measured, completed] = tally.joints;
        let people: u64 = tally.actions.values().sum();
        let frames = tally.frames.max(1) as f64;
        Self {
            frames: tally.frames,
            fps: round(tally.frames as f64 / elapsed.as_secs_f64().max(1e-9)),
            latency_ms: Percentiles {
                p50: round(latency.quantile_ms(0.5).unwrap_or_default()),
                p99: round(latency.quantile_ms(0.99).unwrap_or_default()),
            },
            people: u32::try_from(tally.people_most).unwrap_or(u32::MAX),
            dropped: counters.drops_total(),
            rss_mb: round(resident_bytes().unwrap_or_default() as f64 * 1e-6),
            stages_ms: stages_ms(counters, frames),
            engine,
            frames_with_people: tally.with_people,
            tracks: tally.ids.len() as u64,
            actions: tally
                .actions
                .iter()
                .map(|(label, count)| ActionShare {
                    label: label.clone(),
                    share: round(*count as f64 / people.max(1) as f64),
                })
                .collect(),
            completed_share: round(completed as f64 / (measured + completed).max(1) as f64),
            ..Self::default()
        }
    }

    /// Prints the figures: one JSON object, or a few lines to read.
    ///
    /// # Errors
    ///
    /// A figure is not a number that JSON knows.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        println!(
            "{} frames, {} with people, {} people told apart, at most {} at once",
            self.frames, self.frames_with_people, self.tracks, self.people
        );
        println!(
            "{:.1} frames/s, {} ms (99 %: {} ms) from capture to pose, {} dropped, {} MB, engine {}",
            self.fps,
            self.latency_ms.p50,
            self.latency_ms.p99,
            self.dropped,
            self.rss_mb,
            self.engine
        );
        let stages: Vec<String> = self
            .stages_ms
            .iter()
            .map(|(name, ms)| format!("{name} {ms} ms"))
            .collect();
        println!("a frame: {}", stages.join(", "));
        if let Some(cpu) = self.cpu_ms {
            println!("{cpu} ms of processor time a frame, all threads");
        }
        if let (Some(published), Some(received)) = (self.published, self.received) {
            println!("{published} messages published, {received} received");
        }
        if let (Some(mpjpe), Some(pa)) = (self.mpjpe_mm, self.pa_mpjpe_mm) {
            println!("error against truth: MPJPE {mpjpe} mm, PA-MPJPE {pa} mm");
        }
        Ok(())
    }
}

/// Mean milliseconds a frame in each stage that took part.
pub fn stages_ms(counters: &Counters, frames: f64) -> BTreeMap<&'static str, f64> {
    let took = |part: &Timed| {
        let reading = counters.timed(*part).read();
        (reading.count() > 0).then(|| (part.name(), round(reading.total_ms() / frames)))
    };
    Timed::ALL.iter().filter_map(took).collect()
}

/// Three digits after the point: what these figures are good for.
pub fn round(value: f64) -> f64 {
    (value * 1e3).round() * 1e-3
}
