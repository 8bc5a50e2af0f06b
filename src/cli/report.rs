//! The figures that `demo` and `replay` print: one object, its names stable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use poised::base::clock::MonoNs;
use poised::counters::{Counters, Timed};
use poised::pose::PoseSample;
use poised::sys::rt::{process_cpu_ns, resident_bytes};

use super::floor::FloorReport;
use super::repetitions::Repetitions;

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
    /// What people did, and in which share of the time that they were seen. What is
    /// left of 1 had no name.
    pub actions: Vec<ActionShare>,
    /// The same in order: who was doing what, from when to when.
    pub actions_over_time: Vec<ActionSpan>,
    /// Person-frames whose label found no room there.
    pub actions_left_out: u64,
    /// Repetitions of the exercise that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetitions: Option<Repetitions>,
    /// People on the floor, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<FloorReport>,
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

/// A stretch of time in which a person kept one label, in seconds since the first frame.
#[derive(Debug, Serialize)]
pub struct ActionSpan {
    /// The first frame with the label.
    pub from_s: f64,
    /// The last frame with it.
    pub to_s: f64,
    /// The person.
    pub id: u32,
    /// The phrase.
    pub label: String,
}

/// Spans that a report keeps at most, the first ones: hours of a stream, not days.
const SPANS_MAX: usize = 10_000;

/// Spans that are printed to read; `--json` has them all.
const SPANS_PRINTED: usize = 40;

/// What is added up over a run, frame by frame.
#[derive(Debug, Default)]
pub struct Tally {
    frames: u64,
    with_people: u64,
    people_most: usize,
    ids: BTreeSet<u32>,
    joints: [u64; 3],
    actions: BTreeMap<String, u64>,
    person_frames: u64,
    first: Option<MonoNs>,
    spans: Vec<ActionSpan>,
    spans_left_out: u64,
    /// By person, the span that the frame before belonged to.
    open: BTreeMap<u32, usize>,
}

impl Tally {
    /// Takes in one frame's poses.
    pub fn add(&mut self, sample: &PoseSample) {
        let first = *self.first.get_or_insert(sample.capture);
        let at_s = round(sample.capture.since(first).as_secs_f64());
        self.frames += 1;
        self.person_frames += sample.people.len() as u64;
        self.with_people += u64::from(!sample.people.is_empty());
        self.people_most = self.people_most.max(sample.people.len());
        for person in &sample.people {
            self.ids.insert(person.id);
            for state in person.states {
                self.joints[state as usize] += 1;
            }
            let Some(action) = &person.action else {
                self.open.remove(&person.id);
                continue;
            };
            let label = action.label.as_str();
            *self.actions.entry(label.to_owned()).or_default() += 1;
            self.span(person.id, label, at_s);
        }
        self.open
            .retain(|id, _| sample.people.iter().any(|person| person.id == *id));
    }

    /// Makes a person's span longer, or begins another.
    fn span(&mut self, id: u32, label: &str, at_s: f64) {
        if let Some(span) = self.open.get(&id).map(|index| &mut self.spans[*index])
            && span.label == label
        {
            span.to_s = at_s;
            return;
        }
        self.open.remove(&id);
        if self.spans.len() < SPANS_MAX {
            self.open.insert(id, self.spans.len());
            self.spans.push(ActionSpan {
                from_s: at_s,
                to_s: at_s,
                id,
                label: label.to_owned(),
            });
        } else {
            // Each frame of such a span counts: its beginning is not known.
            self.spans_left_out += 1;
        }
    }

    /// Frames so far.
    pub const fn frames(&self) -> u64 {
        self.frames
    }
}

impl Report {
    /// With what was counted.
    pub fn with_repetitions(mut self, repetitions: Option<Repetitions>) -> Self {
        self.repetitions = repetitions;
        self
    }

    /// With what happened on the floor.
    pub fn with_floor(mut self, floor: Option<FloorReport>) -> Self {
        self.floor = floor;
        self
    }

    /// With the processor time since `begun_ns`, a reading of [`process_cpu_ns`].
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn with_cpu_since(mut self, begun_ns: u64) -> Self {
        let spent_ms = (process_cpu_ns() - begun_ns) as f64 * 1e-6;
        self.cpu_ms = Some(round(spent_ms / self.frames.max(1) as f64));
        self
    }

    /// The figures of a run that took `elapsed`.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn of(tally: Tally, counters: &Counters, engine: &'static str, elapsed: Duration) -> Self {
        let latency = counters.latency.read();
        let [_, measured, completed] = tally.joints;
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
                    share: round(*count as f64 / tally.person_frames.max(1) as f64),
                })
                .collect(),
            actions_over_time: tally.spans,
            actions_left_out: tally.spans_left_out,
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
            say!("{}", serde_json::to_string_pretty(self)?)?;
            return Ok(());
        }
        say!(
            "{} frames, {} with people, {} tracks, at most {} people at once",
            self.frames,
            self.frames_with_people,
            self.tracks,
            self.people
        )?;
        say!(
            "{:.1} frames/s, {} ms (99 %: {} ms) from capture to pose, {} dropped, {} MB, engine {}",
            self.fps,
            self.latency_ms.p50,
            self.latency_ms.p99,
            self.dropped,
            self.rss_mb,
            self.engine
        )?;
        for span in self.actions_over_time.iter().take(SPANS_PRINTED) {
            say!(
                "{:7.1} to {:.1} s, person {}: {}",
                span.from_s,
                span.to_s,
                span.id,
                span.label
            )?;
        }
        let more = self.actions_over_time.len().saturating_sub(SPANS_PRINTED);
        if more > 0 {
            say!("        and {more} more (--json)")?;
        }
        if let Some(repetitions) = &self.repetitions {
            repetitions.print()?;
        }
        if let Some(floor) = &self.floor {
            floor.print()?;
        }
        let stages: Vec<String> = self
            .stages_ms
            .iter()
            .map(|(name, ms)| format!("{name} {ms} ms"))
            .collect();
        say!("a frame: {}", stages.join(", "))?;
        if let Some(cpu) = self.cpu_ms {
            say!("{cpu} ms of processor time a frame, all threads")?;
        }
        if let (Some(published), Some(received)) = (self.published, self.received) {
            say!("{published} messages published, {received} received")?;
        }
        if let (Some(mpjpe), Some(pa)) = (self.mpjpe_mm, self.pa_mpjpe_mm) {
            say!("error against truth: MPJPE {mpjpe} mm, PA-MPJPE {pa} mm")?;
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
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use super::*;
    use poised::pose::{
        Action, ActionSource, BoxPx, HeadTag, JointState, Keypoint, PersonPose, Size,
    };
    use poised::skeleton::{JOINTS, KEYPOINTS};

    fn sample(at_ms: u64, labels: &[(u32, Option<&str>)]) -> PoseSample {
        let mut sample = PoseSample {
            capture: MonoNs(at_ms * 1_000_000),
            ..PoseSample::default()
        };
        for &(id, label) in labels {
            let action = label.map(|label| Action {
                label: label.try_into().unwrap(),
                probability: 0.9,
                source: ActionSource::Dictionary,
            });
            let person = PersonPose {
                id,
                score: 1.0,
                bounds: BoxPx::default(),
                root_camera_m: Vec3::ZERO,
                root_sigma_m: 0.0,
                joints_camera_m: [Vec3::ZERO; JOINTS],
                sigmas_m: [0.0; JOINTS],
                states: [JointState::Measured; JOINTS],
                keypoints: [Keypoint::default(); KEYPOINTS],
                size: Size::default(),
                action,
                head: HeadTag::default(),
            };
            sample.people.push(person).unwrap();
        }
        sample
    }

    #[test]
    fn spans_end_with_the_label_the_name_or_the_person_and_shares_count_unnamed_time() {
        let mut tally = Tally::default();
        for (at_ms, labels) in [
            (5000, &[(1, Some("walk"))][..]),
            (5100, &[(1, Some("walk")), (2, Some("walk"))]),
            (5200, &[(1, None), (2, Some("sit"))]),
            (5300, &[(1, Some("walk"))]),
            (5400, &[(1, Some("walk")), (2, Some("sit"))]),
        ] {
            tally.add(&sample(at_ms, labels));
        }
        let report = Report::of(tally, &Counters::default(), "none", Duration::from_secs(1));
        let spans: Vec<_> = report
            .actions_over_time
            .iter()
            .map(|span| (span.id, span.label.as_str(), span.from_s, span.to_s))
            .collect();
        let want = [
            (1, "walk", 0.0, 0.1),
            (2, "walk", 0.1, 0.1),
            (2, "sit", 0.2, 0.2),
            (1, "walk", 0.3, 0.4),
            (2, "sit", 0.4, 0.4),
        ];
        assert_eq!(spans, want);
        let shares: Vec<_> = report.actions.iter().map(|action| action.share).collect();
        assert_eq!(shares, [0.25, 0.625]);
    }
}
