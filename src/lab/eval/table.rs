//! Scores of frames, their sums, and the rows of the accuracy table.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::clips::{Clip, Source, groups};
use super::scenario::Scenario;

/// The scores of one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Mean joint error, pelvis at the pelvis.
    pub mpjpe_mm: f64,
    /// Mean joint error after the best similarity transform, where there is one.
    pub pa_mpjpe_mm: Option<f64>,
    /// Errors of the hidden joints after that transform.
    pub hidden_mm: Vec<f64>,
    /// Errors of the hidden joints with the pelvis at the pelvis.
    pub hidden_root_mm: Vec<f64>,
    /// Error of acceleration, where the two frames before were estimated as well.
    pub accel_mm: Option<f64>,
    /// How far joints at rest move beyond what they do, where the frame before was estimated as well.
    pub jitter_mm: Option<f64>,
    /// How far the root is off across the line of sight.
    pub root_across_mm: f64,
    /// How far along it.
    pub root_along_mm: f64,
    /// As `jitter_mm`, of the root.
    pub root_jitter_mm: Option<f64>,
    /// Whether the root is as near along the line of sight as its sigma says of 90 %.
    pub root_within: bool,
    /// Mean error of joint angles, where the bones have a length.
    pub angle_deg: Option<f64>,
    /// Mean difference of left and right bones.
    pub symmetry_mm: f64,
    /// Joints whose error lies within the radius that sigma says holds 90 %.
    pub within: u32,
    /// Joints that were compared, without the pelvis.
    pub compared: u32,
    /// Compared joints that are measured or completed, with the pelvis.
    pub known: usize,
    /// Errors of the completed joints with the pelvis at the pelvis, and whether each lies
    /// within the radius that its sigma says holds 90 %.
    pub completed: Vec<(f64, bool)>,
    /// Whether the likeliest action is right, and whether one of the likeliest five is.
    pub named: Option<[bool; 2]>,
}

/// A sum and how many there are in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn take(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn take_some(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.take(value);
        }
    }

    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Rounded to a hundredth: finer is noise, and the table stays readable.
    fn value(self) -> Option<f64> {
        self.mean().map(hundredths)
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The scores of many frames.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Motions.
    pub motions: u64,
    /// Frames, with and without an estimate.
    pub frames: u64,
    mpjpe: Mean,
    pa_mpjpe: Mean,
    hidden: Mean,
    hidden_root: Mean,
    accel: Mean,
    jitter: Mean,
    root_across: Mean,
    root_along: Mean,
    root_jitter: Mean,
    root_within: Mean,
    angle: Mean,
    symmetry: Mean,
    within: Mean,
    known: u64,
    completed: Mean,
    completed_within: Mean,
    top1: Mean,
    top5: Mean,
    harm: Option<Harm>,
    /// PA-MPJPE of each minute of a stream.
    minutes: Vec<Mean>,
    /// Processor time of learning, and the time of the streams in which it learned, seconds.
    learning: [f64; 2],
}

/// Share by which the PA-MPJPE of a motion must exceed that of the factory head before the
/// motion counts as harmed.
const HARM: f64 = 0.02;

/// Motions that came out worse than with the factory head.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Harm {
    motions: u64,
    worst_mm: f64,
}

impl Sums {
    /// Those of one motion before its first frame.
    pub fn of_one() -> Self {
        Self {
            motions: 1,
            ..Self::default()
        }
    }

    /// Takes one frame in, of minute `minute` of its stream.
    pub fn take(&mut self, score: &Score, minute: usize) {
        if self.minutes.len() <= minute {
            self.minutes.resize(minute + 1, Mean::default());
        }
        self.minutes[minute].take_some(score.pa_mpjpe_mm);
        self.mpjpe.take(score.mpjpe_mm);
        self.pa_mpjpe.take_some(score.pa_mpjpe_mm);
        for error in &score.hidden_mm {
            self.hidden.take(*error);
        }
        for error in &score.hidden_root_mm {
            self.hidden_root.take(*error);
        }
        self.accel.take_some(score.accel_mm);
        self.jitter.take_some(score.jitter_mm);
        self.root_across.take(score.root_across_mm);
        self.root_along.take(score.root_along_mm);
        self.root_jitter.take_some(score.root_jitter_mm);
        self.root_within
            .take(f64::from(u8::from(score.root_within)));
        self.angle.take_some(score.angle_deg);
        self.symmetry.take(score.symmetry_mm);
        self.within
            .take(f64::from(score.within) / f64::from(score.compared.max(1)));
        self.known += score.known as u64;
        for (error, within) in &score.completed {
            self.completed.take(*error);
            self.completed_within.take(f64::from(u8::from(*within)));
        }
        if let Some([first, five]) = score.named {
            self.top1.take(f64::from(u8::from(first)));
            self.top5.take(f64::from(u8::from(five)));
        }
    }

    /// Notes how much processor time learning took in how much time of a stream, seconds.
    pub fn learned(&mut self, processor_s: f64, stream_s: f64) {
        self.learning[0] += processor_s;
        self.learning[1] += stream_s;
    }

    /// Notes whether this motion came out worse than `factory` did.
    pub fn compare(&mut self, factory: &Self) {
        let mut harm = Harm::default();
        if let (Some(own), Some(theirs)) = (self.pa_mpjpe.mean(), factory.pa_mpjpe.mean()) {
            harm.motions = u64::from(own > theirs * (1.0 + HARM));
            harm.worst_mm = (own - theirs).max(0.0);
        }
        self.harm = Some(harm);
    }

    /// Takes other frames in.
    pub fn add(&mut self, other: &Self) {
        self.motions += other.motions;
        self.frames += other.frames;
        self.mpjpe.add(other.mpjpe);
        self.pa_mpjpe.add(other.pa_mpjpe);
        self.hidden.add(other.hidden);
        self.hidden_root.add(other.hidden_root);
        self.accel.add(other.accel);
        self.jitter.add(other.jitter);
        self.root_across.add(other.root_across);
        self.root_along.add(other.root_along);
        self.root_jitter.add(other.root_jitter);
        self.root_within.add(other.root_within);
        self.angle.add(other.angle);
        self.symmetry.add(other.symmetry);
        self.within.add(other.within);
        self.known += other.known;
        self.completed.add(other.completed);
        self.completed_within.add(other.completed_within);
        self.top1.add(other.top1);
        self.top5.add(other.top5);
        if self.minutes.len() < other.minutes.len() {
            self.minutes.resize(other.minutes.len(), Mean::default());
        }
        for (minute, other) in self.minutes.iter_mut().zip(&other.minutes) {
            minute.add(*other);
        }
        for (sum, other) in self.learning.iter_mut().zip(other.learning) {
            *sum += other;
        }
        if let Some(theirs) = other.harm {
            let harm = self.harm.get_or_insert_default();
            harm.motions += theirs.motions;
            harm.worst_mm = harm.worst_mm.max(theirs.worst_mm);
        }
    }

    /// The row of the table.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn row(&self, scenario: &str, method: &str) -> Row {
        let completed = self.completed.count as f64 / self.known.max(1) as f64;
        let estimated = self.mpjpe.count as f64 / self.frames.max(1) as f64;
        Row {
            scenario: scenario.to_owned(),
            method: method.to_owned(),
            mpjpe_mm: self.mpjpe.value(),
            pa_mpjpe_mm: self.pa_mpjpe.value(),
            pa_mpjpe_hidden_mm: self.hidden.value(),
            mpjpe_hidden_mm: self.hidden_root.value(),
            accel_mm: self.accel.value(),
            jitter_mm: self.jitter.value(),
            root_across_mm: self.root_across.value(),
            root_along_mm: self.root_along.value(),
            root_jitter_mm: self.root_jitter.value(),
            root_coverage90: self.root_within.value(),
            angle_deg: self.angle.value(),
            symmetry_mm: self.symmetry.value(),
            completed_share: (self.completed.count > 0).then(|| (completed * 1e4).round() / 1e4),
            completed_mm: self.completed.value(),
            completed_coverage90: self.completed_within.value(),
            coverage90: self.within.value(),
            label_top1: self.top1.value(),
            label_top5: self.top5.value(),
            adapt_ms_per_s: (self.learning[1] > 0.0)
                .then(|| hundredths(1e3 * self.learning[0] / self.learning[1])),
            pa_mpjpe_by_minute_mm: self.minutes.iter().map(|minute| minute.value()).collect(),
            harmed: self.harm.map(|harm| harm.motions),
            worst_harm_mm: self.harm.map(|harm| hundredths(harm.worst_mm)),
            estimated_share: (estimated * 1e4).round() / 1e4,
        }
    }
}

/// A row of the table; what does not apply is `None`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The scenario; `all` and `hard` are over several.
    pub scenario: String,
    /// The method.
    pub method: String,
    /// Mean joint error with the pelvis at the pelvis, millimetres.
    pub mpjpe_mm: Option<f64>,
    /// Mean joint error after the best similarity transform, millimetres.
    pub pa_mpjpe_mm: Option<f64>,
    /// The same of hidden joints only; the transform is of all joints.
    pub pa_mpjpe_hidden_mm: Option<f64>,
    /// Mean error of hidden joints with the pelvis at the pelvis, millimetres.
    pub mpjpe_hidden_mm: Option<f64>,
    /// Error of acceleration, millimetres per frame squared.
    pub accel_mm: Option<f64>,
    /// How far joints at rest move from frame to frame beyond what they do, millimetres.
    pub jitter_mm: Option<f64>,
    /// Mean distance of the root from the true one across the line of sight, millimetres.
    pub root_across_mm: Option<f64>,
    /// The same along it.
    pub root_along_mm: Option<f64>,
    /// How far the root of a person at rest moves from frame to frame beyond what it does, millimetres.
    pub root_jitter_mm: Option<f64>,
    /// Share of frames in which the root is as near along the line of sight as its sigma says of 90 %.
    pub root_coverage90: Option<f64>,
    /// Error of knee, elbow, hip and shoulder angles, degrees.
    pub angle_deg: Option<f64>,
    /// Difference of left and right bones, millimetres.
    pub symmetry_mm: Option<f64>,
    /// Share of completed joints.
    pub completed_share: Option<f64>,
    /// Error of completed joints with the pelvis at the pelvis, millimetres.
    pub completed_mm: Option<f64>,
    /// Share of completed joints within the radius that sigma says holds 90 %.
    pub completed_coverage90: Option<f64>,
    /// Share of joints within the radius that sigma says holds 90 %.
    pub coverage90: Option<f64>,
    /// Share of frames whose label is right.
    pub label_top1: Option<f64>,
    /// Share of frames whose label is among the best five.
    pub label_top5: Option<f64>,
    /// Processor time of learning on the device, milliseconds a second of the stream. The one figure
    /// that is not the same each time.
    pub adapt_ms_per_s: Option<f64>,
    /// PA-MPJPE of the frames of each minute of the streams, millimetres; null if a minute has none.
    pub pa_mpjpe_by_minute_mm: Vec<Option<f64>>,
    /// Motions whose PA-MPJPE is more than 2 % above that of `factory`, where that was run too.
    pub harmed: Option<u64>,
    /// By how much the worst of them, millimetres.
    pub worst_harm_mm: Option<f64>,
    /// Share of frames with an estimate; the others had too few joints in view
    /// or the person was not yet known.
    pub estimated_share: f64,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// The seed.
    pub seed: u64,
    /// Frames of one method over all scenarios.
    pub frames: u64,
    /// Motions, or clips.
    pub motions: u64,
    /// Whether the keypoints come from rendered images, in place of a simulated detector.
    pub rendered: bool,
    /// The simulated detector; null where there is none.
    pub detector: Option<String>,
    /// One row for each scenario and method, and `all` and `hard`; of clips one for each group
    /// and method, and `all`.
    pub rows: Vec<Row>,
    /// Where the keypoints of each group of clips come from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keypoints: BTreeMap<String, BTreeSet<Source>>,
}

impl Table {
    /// The table of each method's sums over `motions`, in the scenarios' order.
    pub fn of(
        seed: u64,
        methods: &[&str],
        scenarios: &[Scenario],
        motions: u64,
        sums: &[Vec<Sums>],
    ) -> Self {
        let names: Vec<&str> = scenarios.iter().map(|s| s.name.as_str()).collect();
        let hard: Vec<bool> = scenarios.iter().map(|scenario| scenario.hard).collect();
        let over = [("all", vec![true; names.len()]), ("hard", hard)];
        Self {
            motions,
            ..Self::over(seed, methods, &names, &over, sums)
        }
    }

    /// The table of each method's sums over `clips`, in the order of their [`groups`].
    pub fn of_clips(seed: u64, methods: &[&str], clips: &[Clip], sums: &[Vec<Sums>]) -> Self {
        let groups = groups(clips);
        let all = [("all", vec![true; groups.len()])];
        let mut table = Self::over(seed, methods, &groups, &all, sums);
        table.motions = clips.len() as u64;
        for clip in clips {
            let sources = table.keypoints.entry(clip.entry.group.clone());
            sources.or_default().insert(clip.entry.keypoints);
        }
        table
    }

    /// Rows of `groups`, and those `over` the groups that are marked.
    fn over(
        seed: u64,
        methods: &[&str],
        groups: &[&str],
        over: &[(&str, Vec<bool>)],
        sums: &[Vec<Sums>],
    ) -> Self {
        let mut table = Self {
            seed,
            frames: 0,
            motions: 0,
            rendered: false,
            detector: None,
            rows: Vec::new(),
            keypoints: BTreeMap::new(),
        };
        for (method, sums) in methods.iter().zip(sums) {
            let rows = groups.iter().zip(sums);
            table
                .rows
                .extend(rows.map(|(group, sums)| sums.row(group, method)));
            for (name, marked) in over {
                let mut total = Sums::default();
                for (sums, _) in sums.iter().zip(marked).filter(|(_, marked)| **marked) {
                    total.add(sums);
                }
                table.rows.push(total.row(name, method));
            }
            let frames = sums.iter().map(|sums| sums.frames).sum();
            table.frames = table.frames.max(frames);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str, hard: bool) -> Scenario {
        Scenario {
            name: name.into(),
            hard,
            ..Scenario::default()
        }
    }

    fn sums(mpjpe_mm: f64, frames: u64) -> Sums {
        let mut sums = Sums {
            motions: 1,
            frames,
            ..Sums::default()
        };
        for _ in 0..frames {
            sums.take(
                &Score {
                    mpjpe_mm,
                    within: 8,
                    compared: 16,
                    ..Score::default()
                },
                0,
            );
        }
        sums
    }

    #[test]
    fn hard_leaves_the_easy_view_out_and_all_weighs_frames() {
        let scenarios = [scenario("easy", false), scenario("high", true)];
        let sums = [vec![sums(10.0, 3), sums(50.0, 1)]];
        let table = Table::of(1, &["factory"], &scenarios, 1, &sums);
        let mpjpe = |name: &str| {
            let row = table.rows.iter().find(|row| row.scenario == name);
            row.unwrap().mpjpe_mm
        };
        assert_eq!(mpjpe("all"), Some(20.0));
        assert_eq!(mpjpe("hard"), Some(50.0));
        assert_eq!(table.frames, 4);
        assert_eq!(table.rows[0].coverage90, Some(0.5));
    }

    #[test]
    fn what_does_not_apply_is_null() {
        let nothing = [vec![Sums::default()]];
        let table = Table::of(1, &["factory"], &[scenario("easy", false)], 0, &nothing);
        let json = serde_json::to_value(&table).unwrap();
        assert!(json["rows"][0]["mpjpe_mm"].is_null());
        assert!(json["rows"][0]["label_top1"].is_null());
        assert_eq!(json["rows"][0]["scenario"], "easy");
    }
}
