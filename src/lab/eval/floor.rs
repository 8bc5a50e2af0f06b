//! How well people on the floor are found: recorded motion through simulated cameras, the daemon's poser and
//! [`FloorWatch`].
//!
//! ```text
//!  motions ─▶ cases (who lies down, crawls; made: sits, lies on a sofa, does push-ups; the rest) ─▶ stream
//!          ─▶ Poser ─▶ FloorWatch ─▶ hits, delay, false alarms an hour
//! ```
//!
//! Recorded trials end when the actor lies. What a person who has fallen does next, nothing, is made of the last
//! recorded frame, seen for fifteen more seconds with the detector's noise; where a trial begins on the floor, of the
//! first. `docs/reference/floor.md` has the table.

use std::f32::consts::FRAC_PI_4;
use std::time::Duration;

use glam::Vec3;
use serde::Serialize;

use super::motion::Motion;
use super::render::{rendered, unseen_appearance};
use super::scenario::Scenario;
use super::simulate::{Stream, stream};
use super::{in_parallel, people_of};
use crate::adapt::Method as Learning;
use crate::base::clock::MonoNs;
use crate::base::limits::PEOPLE_MAX;
use crate::camera::Calibration;
use crate::error::StartError;
use crate::estimate::{EstimateConfig, Poser};
use crate::lift::person_pose;
use crate::motion::floor::{FloorChange, FloorConfig, FloorEvent, FloorWatch};
use crate::pose::{People, PersonPose};
use crate::skeleton::JOINTS;
use crate::sys::rt::thread_cpu_ns;

/// The cameras that ship.
pub const SHIPPED: &str = include_str!("floor.toml");

/// The trunk is on the floor if the pelvis is below this, metres ...
const PELVIS_M: f32 = 0.35;

/// ... the thorax below this, metres, and its axis rises by less than half of a right angle.
const THORAX_M: f32 = 0.45;

/// Least time on the floor to be a case of lying, seconds: rolls are shorter.
const LYING_S: f64 = 1.0;

/// For how long the first or last frame of a trial is held, seconds.
const HOLD_S: f64 = 15.0;

/// A person who sits on the floor has the pelvis below this, metres, and the trunk upright by [`SITS_RAD`].
const SITS_M: f32 = 0.25;

/// Elevation of the trunk of a person who sits on the floor, radians: 60 degrees.
const SITS_RAD: f32 = 1.05;

/// Height of the seat of a sofa, metres.
const SOFA_M: f32 = 0.45;

/// Push-ups a second.
const PUSH_UPS_HZ: f32 = 0.5;

/// What a case shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FloorKind {
    /// A person who lies on the floor, or lies down: to be reported.
    Lie,
    /// A person who crawls on the belly: to be reported.
    Crawl,
    /// A person who sits on the floor: not to be.
    Sit,
    /// A person who lies on a sofa of 0.45 m, seen only there: not to be.
    Sofa,
    /// The same, in a region that is ignored.
    SofaIgnored,
    /// Push-ups, half of them a second: not to be.
    PushUps,
    /// Every other recorded motion: not to be.
    Other,
}

impl FloorKind {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Lie,
        Self::Crawl,
        Self::Sit,
        Self::Sofa,
        Self::SofaIgnored,
        Self::PushUps,
        Self::Other,
    ];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lie => "lie",
            Self::Crawl => "crawl",
            Self::Sit => "sit",
            Self::Sofa => "sofa",
            Self::SofaIgnored => "sofa, ignored",
            Self::PushUps => "push-ups",
            Self::Other => "other",
        }
    }

    /// Whether it is to be reported.
    const fn is_wanted(self) -> bool {
        matches!(self, Self::Lie | Self::Crawl)
    }
}

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct FloorPlan {
    /// Networks and settings. Nothing learns.
    pub config: EstimateConfig,
    /// When a person is reported.
    pub floor: FloorConfig,
    /// The cameras.
    pub scenarios: Vec<Scenario>,
    /// The motions.
    pub motions: Vec<Motion>,
    /// Fixes everything that is drawn.
    pub seed: u64,
    /// Whether people are rendered and the networks run on the images, in place of a simulated detector.
    pub render: bool,
    /// Whether motions with no one on the floor are left out: a look at the others.
    pub only_floor: bool,
}

/// Motions of one person, one after the other, and what they show.
struct Case {
    kind: FloorKind,
    place: String,
    motions: Vec<Motion>,
}

/// What came of one or more cases.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FloorRow {
    /// The camera.
    pub scenario: String,
    /// What is shown.
    pub kind: Option<FloorKind>,
    /// How many cases: motions that are to be reported, else people.
    pub cases: usize,
    /// Those of them that were reported while the person was on the floor.
    pub hits: usize,
    /// From when the trunk came to the floor to the report, seconds, one for each hit, sorted.
    pub delays_s: Vec<f64>,
    /// Those with the person up again at the end whose event ended, and how many there were.
    pub ended: [usize; 2],
    /// Ends of events while the person was on the floor.
    pub ended_early: usize,
    /// Reports with no person on the floor.
    pub false_alarms: usize,
    /// Seconds seen.
    pub seconds: f64,
    /// Processor time of the watch for a person and frame, microseconds.
    pub watch_us: f64,
    /// Names of cases that were missed, or that raised a false alarm.
    pub wrong: Vec<String>,
}

impl FloorRow {
    /// False alarms an hour.
    pub fn alarms_an_hour(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few alarms")]
        let alarms = self.false_alarms as f64;
        3600.0 * alarms / self.seconds.max(1.0)
    }

    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.hits += other.hits;
        self.delays_s.extend(other.delays_s);
        self.delays_s.sort_by(f64::total_cmp);
        for (sum, one) in self.ended.iter_mut().zip(other.ended) {
            *sum += one;
        }
        self.ended_early += other.ended_early;
        self.false_alarms += other.false_alarms;
        let seconds = self.seconds + other.seconds;
        self.watch_us = (self.watch_us * self.seconds + other.watch_us * other.seconds) / seconds;
        self.seconds = seconds;
        self.wrong.extend(other.wrong);
    }
}

/// A row for each camera and kind, in the order of the plan; kinds without a case are left out.
///
/// `done` is called after each case, from any thread, with how many there are.
///
/// # Errors
///
/// Networks do not open, or a thread does not start.
pub fn run(plan: &FloorPlan, done: impl Fn(usize) + Sync) -> Result<Vec<FloorRow>, StartError> {
    let cases = cases(&plan.motions, !plan.only_floor);
    let mut jobs: Vec<(usize, &Case)> = Vec::new();
    for scenario in 0..plan.scenarios.len() {
        jobs.extend(cases.iter().map(|case| (scenario, case)));
    }
    let frames =
        |case: &Case| -> usize { case.motions.iter().map(|m| m.joints_world_m.len()).sum() };
    jobs.sort_by_key(|(_, case)| std::cmp::Reverse(frames(case)));
    let rows = in_parallel(&jobs, |(scenario, case)| {
        let rows = one(plan, &plan.scenarios[*scenario], case)?;
        done(jobs.len());
        let rows = rows.into_iter();
        Ok(rows
            .map(|(kind, row)| (*scenario, kind, row))
            .collect::<Vec<_>>())
    })?;
    let mut rows: Vec<_> = rows.into_iter().flatten().collect();
    // Threads finish in any order.
    rows.sort_by(|a, b| (a.0, a.1, &a.2.wrong).cmp(&(b.0, b.1, &b.2.wrong)));
    let mut table = Vec::new();
    for (at, scenario) in plan.scenarios.iter().enumerate() {
        for kind in FloorKind::ALL {
            let mut sum = FloorRow {
                scenario: scenario.name.clone(),
                kind: Some(kind),
                ..FloorRow::default()
            };
            for (_, _, row) in rows.extract_if(.., |row| (row.0, row.1) == (at, kind)) {
                sum.add(row);
            }
            if sum.cases > 0 {
                table.push(sum);
            }
        }
    }
    Ok(table)
}

/// One case before one camera: a row, and for a sofa another with the sofa ignored.
fn one(
    plan: &FloorPlan,
    scenario: &Scenario,
    case: &Case,
) -> Result<Vec<(FloorKind, FloorRow)>, StartError> {
    let motions: Vec<&Motion> = case.motions.iter().collect();
    let mut seen = stream(scenario, &case.place, &motions, plan.seed)?;
    if plan.render {
        let appearance = unseen_appearance(scenario, &case.place, plan.seed);
        seen = rendered(seen, scenario, appearance, &plan.config)?;
    }
    let calibration = seen.calibration.clone().with_mount(seen.measured)?;
    let mut floor = FloorConfig {
        events: true,
        ..plan.floor.clone()
    };
    let mut watches = vec![(case.kind, floor.watch(&calibration)?)];
    if case.kind == FloorKind::Sofa {
        floor.ignore = vec![around(&seen)];
        watches.push((FloorKind::SofaIgnored, floor.watch(&calibration)?));
    }
    let mut runs: Vec<Run> = watches
        .into_iter()
        .filter_map(|(kind, watch)| Some(Run::new(kind, watch?)))
        .collect();
    watch(plan, &seen, &calibration, &mut runs)?;
    let scored = runs.iter().map(|run| (run.kind, score(case, &seen, run)));
    Ok(scored.collect())
}

/// A watch and what came of it.
struct Run {
    kind: FloorKind,
    watch: FloorWatch,
    events: Vec<FloorEvent>,
    /// Processor time that the watch took, and for how many people.
    spent: Duration,
    looks: u32,
}

impl Run {
    const fn new(kind: FloorKind, watch: FloorWatch) -> Self {
        Self {
            kind,
            watch,
            events: Vec::new(),
            spent: Duration::ZERO,
            looks: 0,
        }
    }
}

/// Shows a stream to watches, through the poser.
fn watch(
    plan: &FloorPlan,
    seen: &Stream,
    calibration: &Calibration,
    runs: &mut [Run],
) -> Result<(), StartError> {
    let mut config = plan.config.clone();
    config.adapt.method = Learning::Latent;
    let mut poser = Poser::open(&config)?;
    for moment in &seen.moments {
        let people: People = moment.seen.iter().cloned().collect();
        let tracked = poser.track(moment.time, &people).clone();
        let mut shown: heapless::Vec<PersonPose, PEOPLE_MAX> = heapless::Vec::new();
        for (place, person) in tracked.iter().enumerate() {
            let mut estimate = poser.lift(moment.time, calibration, place).ok();
            poser.name(moment.time, calibration, place, estimate.as_mut());
            let pushed = shown.push(person_pose(person, estimate.as_ref()));
            debug_assert!(pushed.is_ok(), "no more people than places for them");
        }
        for Run {
            watch,
            events,
            spent,
            looks,
            ..
        } in &mut *runs
        {
            let begun = thread_cpu_ns();
            watch.add(moment.time, &shown, &mut |event| events.push(*event));
            *spent += Duration::from_nanos(thread_cpu_ns() - begun);
            *looks += u32::try_from(shown.len()).unwrap_or_default();
        }
    }
    Ok(())
}

/// A region around all keypoints of a stream, as a person would draw one around a sofa.
fn around(seen: &Stream) -> Vec<[f32; 2]> {
    let (width, height) = seen.calibration.size_px();
    #[expect(clippy::cast_precision_loss, reason = "image sides")]
    let (width, height) = (width as f32, height as f32);
    let (mut low, mut high) = ([width, height], [0.0_f32; 2]);
    for detection in seen
        .moments
        .iter()
        .filter_map(|moment| moment.seen.as_ref())
    {
        let bounds = &detection.bounds;
        low = [low[0].min(bounds.left), low[1].min(bounds.top)];
        high = [high[0].max(bounds.right), high[1].max(bounds.bottom)];
    }
    let [left, top] = low.map(|side| side.max(0.0));
    let (right, bottom) = (high[0].min(width), high[1].min(height));
    vec![[left, top], [right, top], [right, bottom], [left, bottom]]
}

/// Compares events with the truth.
fn score(case: &Case, seen: &Stream, run: &Run) -> FloorRow {
    let mut row = FloorRow {
        cases: 1,
        watch_us: run.spent.as_secs_f64() * 1e6 / f64::from(run.looks.max(1)),
        ..FloorRow::default()
    };
    let down: Vec<(MonoNs, bool)> = seen
        .moments
        .iter()
        .map(|moment| {
            let heights = heights(&moment.joints_camera_m, seen);
            (moment.time, case.kind.is_wanted() && is_on_floor(heights))
        })
        .collect();
    let mut before = None;
    for (time, _) in &down {
        // A pause between two motions is not seen.
        let step = before.map_or(0.0, |before: MonoNs| time.seconds_after(before));
        row.seconds += if step < 1.0 { step } else { 0.0 };
        before = Some(*time);
    }
    let at = |time: MonoNs| down.iter().rev().find(|frame| frame.0 <= time);
    let first = down.iter().find(|frame| frame.1).map(|frame| frame.0);
    // A lost person who is seen again is reported again, under the same number.
    let mut false_number = 0;
    for event in &run.events {
        let is_down = at(event.time).is_some_and(|frame| frame.1);
        match event.change {
            FloorChange::On if is_down => {
                if row.hits == 0
                    && let Some(first) = first
                {
                    row.hits = 1;
                    row.delays_s.push(event.time.seconds_after(first));
                }
            }
            FloorChange::On => {
                row.false_alarms += usize::from(event.number > false_number);
                false_number = false_number.max(event.number);
            }
            FloorChange::Off if is_down => row.ended_early += 1,
            FloorChange::Off | FloorChange::Lost => {}
        }
    }
    if case.kind.is_wanted() && row.hits > 0 && down.last().is_some_and(|frame| !frame.1) {
        let off = run
            .events
            .iter()
            .any(|event| event.change == FloorChange::Off);
        row.ended = [usize::from(off), 1];
    }
    if row.false_alarms > 0 || (case.kind.is_wanted() && row.hits == 0) {
        row.wrong.push(case.place.clone());
    }
    row
}

/// Heights of the joints above the floor, in the truth: as if up were y.
fn heights(joints_camera_m: &[Vec3; JOINTS], seen: &Stream) -> [Vec3; JOINTS] {
    let to_floor = seen.mount.to_floor();
    joints_camera_m.map(|joint| {
        let place = to_floor * joint;
        Vec3::new(place.x, place.z + seen.mount.height_m, place.y)
    })
}

/// Elevation of the trunk's axis of joints with y up, radians.
fn elevation(joints: &[Vec3; JOINTS]) -> f32 {
    let axis = joints[8] - joints[0];
    axis.normalize_or_zero().y.clamp(-1.0, 1.0).asin()
}

/// Whether the trunk is on the floor, joints with y up.
fn is_on_floor(joints: [Vec3; JOINTS]) -> bool {
    joints[0].y < PELVIS_M && joints[8].y < THORAX_M && elevation(&joints) < FRAC_PI_4
}

/// Cases of recorded motion, and those made of it.
fn cases(motions: &[Motion], others: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut rest = Vec::new();
    for motion in motions {
        let down: Vec<bool> = motion
            .joints_world_m
            .iter()
            .map(|joints| is_on_floor(*joints))
            .collect();
        let longest = down
            .split(|down| !down)
            .map(<[bool]>::len)
            .max()
            .unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "frames of a trial")]
        let lying_s = longest as f64 / motion.rate_hz;
        let (begins, ends) = (down.first() == Some(&true), down.last() == Some(&true));
        let crawls = motion.actions.iter().any(|action| action == "crawl");
        if lying_s < LYING_S || !(begins || ends || crawls) {
            rest.push(motion.clone());
            continue;
        }
        if crawls {
            cases.push(case(FloorKind::Crawl, motion.clone()));
            continue;
        }
        let poses = &motion.joints_world_m;
        cases.push(case(FloorKind::Lie, held(motion, begins && !ends)));
        if let Some(pose) = poses
            .iter()
            .filter(|pose| sits(pose))
            .max_by(|a, b| elevation(a).total_cmp(&elevation(b)))
        {
            cases.push(case(FloorKind::Sit, still(motion, pose)));
        }
        let lying = if ends { poses.last() } else { poses.first() };
        if let Some(lying) = lying {
            let raised = lying.map(|joint| joint + Vec3::new(0.0, SOFA_M, 0.0));
            cases.push(case(FloorKind::Sofa, still(motion, &raised)));
        }
    }
    if others {
        cases.extend(people_of(&rest).into_iter().map(|person| Case {
            kind: FloorKind::Other,
            place: person.name.to_owned(),
            motions: person.motions.into_iter().cloned().collect(),
        }));
    }
    for deep_m in [0.12, 0.2] {
        cases.push(case(FloorKind::PushUps, push_ups(deep_m)));
    }
    cases
}

fn case(kind: FloorKind, motion: Motion) -> Case {
    Case {
        kind,
        place: format!("{} {}", motion.id, kind.name()),
        motions: vec![motion],
    }
}

fn sits(pose: &[Vec3; JOINTS]) -> bool {
    pose[0].y < SITS_M && elevation(pose) > SITS_RAD
}

/// A motion whose first frame is held before it, or the last after it; the last is held in any case.
fn held(motion: &Motion, first: bool) -> Motion {
    let poses = &motion.joints_world_m;
    let mut held = motion.clone();
    if let (Some(begin), Some(end)) = (poses.first(), poses.last()) {
        let count = frames(motion.rate_hz);
        if first {
            held.joints_world_m.splice(0..0, vec![*begin; count]);
        }
        held.joints_world_m.extend(vec![*end; count]);
    }
    held
}

/// A motion without any.
fn still(motion: &Motion, pose: &[Vec3; JOINTS]) -> Motion {
    Motion {
        joints_world_m: vec![*pose; frames(motion.rate_hz)],
        ..motion.clone()
    }
}

/// Frames of [`HOLD_S`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 1000 Hz"
)]
fn frames(rate_hz: f64) -> usize {
    (HOLD_S * rate_hz) as usize
}

/// Half a minute of push-ups: a straight body on its toes, the thorax between `deep_m` and the length of the arms above the
/// floor.
fn push_ups(deep_m: f32) -> Motion {
    /// Frames a second, and frames.
    const RATE: (f32, u16) = (30.0, 900);
    /// From the ankles along the body to knees, hips, spine, thorax, neck and head, metres.
    const ALONG: [(usize, f32); 8] = [
        (2, 0.42),
        (5, 0.42),
        (1, 0.86),
        (4, 0.86),
        (7, 1.1),
        (8, 1.36),
        (9, 1.46),
        (10, 1.56),
    ];
    /// Half the distance of hips, and of shoulders; ankles above the floor; upper arm and forearm, metres.
    const BODY: [f32; 4] = [0.1, 0.17, 0.1, 0.27];
    let [hips, shoulders, ankles, arm] = BODY;
    let pose = |frame: u16| {
        let phase = std::f32::consts::TAU * PUSH_UPS_HZ * f32::from(frame) / RATE.0;
        let high = 2.0 * arm - 0.03;
        let thorax = deep_m + (high - deep_m) * (0.5 + 0.5 * phase.cos());
        let rise = ((thorax - ankles) / 1.36).asin();
        let (sin, cos) = rise.sin_cos();
        let at = |along: f32, side: f32| Vec3::new(side, ankles + along * sin, along * cos);
        let mut pose = [Vec3::ZERO; JOINTS];
        for (joint, along) in ALONG {
            pose[joint] = at(along, 0.0);
        }
        pose[0] = at(0.86, 0.0);
        // Face down, the head to +z: the right side is at -x.
        for (side, [hip, knee, ankle, shoulder, elbow, wrist]) in
            [(-1.0, [1, 2, 3, 14, 15, 16]), (1.0, [4, 5, 6, 11, 12, 13])]
        {
            pose[hip] = at(0.86, side * hips);
            pose[knee] = at(0.42, side * hips);
            pose[ankle] = at(0.0, side * hips);
            pose[shoulder] = at(1.36, side * shoulders);
            pose[wrist] = Vec3::new(side * (shoulders + 0.05), 0.03, pose[shoulder].z);
            let apart = pose[wrist] - pose[shoulder];
            let out = (arm * arm - 0.25 * apart.length_squared()).max(0.0).sqrt();
            let bend = Vec3::new(side * 0.7, 0.0, -0.7).normalize_or_zero();
            pose[elbow] = pose[shoulder] + 0.5 * apart + out * bend;
        }
        pose
    };
    Motion {
        id: format!("push-ups to {deep_m} m"),
        subject: "made".to_owned(),
        rate_hz: RATE.0.into(),
        actions: vec!["push-ups".to_owned()],
        joints_world_m: (0..RATE.1).map(pose).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_ups_are_none_on_the_floor_but_for_their_lowest_part() {
        let motion = push_ups(0.2);
        let poses = &motion.joints_world_m;
        let lengths = |pose: &[Vec3; JOINTS]| {
            [(11, 12), (12, 13), (14, 15), (15, 16)].map(|(a, b)| (pose[a] - pose[b]).length())
        };
        for pose in poses {
            assert!(pose.iter().all(|joint| joint.y > 0.0));
            for length in lengths(pose) {
                assert!((length - 0.27).abs() < 0.02, "{length}");
            }
        }
        let high = poses.iter().map(|pose| pose[8].y).fold(0.0, f32::max);
        assert!(high > 0.45, "{high}");
        let down = poses.iter().filter(|pose| is_on_floor(**pose)).count();
        assert!(down > 0 && down < poses.len(), "{down}");
    }

    #[test]
    fn a_trial_that_ends_lying_is_held_and_gives_a_sofa() {
        let upright = super::super::simulate::tests::standing();
        let lying = upright.map(|joint| Vec3::new(joint.x, 0.15 - joint.z, joint.y));
        assert!(is_on_floor(lying) && !is_on_floor(upright));
        let mut poses = vec![upright; 30];
        poses.extend(vec![lying; 60]);
        let motion = Motion {
            id: "m".into(),
            subject: "s".into(),
            rate_hz: 30.0,
            actions: Vec::new(),
            joints_world_m: poses,
        };
        let cases = cases(&[motion], true);
        let kinds: Vec<FloorKind> = cases.iter().map(|case| case.kind).collect();
        assert_eq!(
            kinds,
            [
                FloorKind::Lie,
                FloorKind::Sofa,
                FloorKind::PushUps,
                FloorKind::PushUps
            ]
        );
        assert_eq!(cases[0].motions[0].joints_world_m.len(), 90 + 450);
        let sofa = cases[1].motions[0].joints_world_m[0][0].y;
        assert!((sofa - (lying[0].y + SOFA_M)).abs() < 1e-6);
    }
}
