//! How exactly repetitions are counted: sets of ten of each exercise that ships, through simulated cameras, the daemon's
//! poser, its signals and [`Counting`]; and what is counted in other motion.
//!
//! ```text
//!  set of a figure, or recorded motion ─▶ stream, or pictures ─▶ poser ─▶ signals ─▶ Counting ─┐
//!                                                  └─▶ true signals ─▶ Counting ───────────────┴─▶ rows
//! ```
//!
//! A set is ten repetitions that differ in depth and speed, with a pause in one of them, and a half attempt that is not to
//! be counted. What is truly counted in recorded motion is not known, so it is what the true angles come to.
//! `docs/reference/exercises.md` has the table.

use std::f64::consts::{PI, TAU};

use fastrand::Rng;
use glam::{DVec3, Vec3};
use serde::Serialize;

use super::motion::Motion;
use super::render::{rendered, unseen_appearance};
use super::scenario::Scenario;
use super::simulate::{Moment, Stream, stream};
use super::{in_parallel, people_of};
use crate::adapt::Method as Learning;
use crate::base::limits::PEOPLE_MAX;
use crate::error::StartError;
use crate::estimate::{EstimateConfig, Poser};
use crate::lift::person_pose;
use crate::motion::angles::angles_of;
use crate::motion::angles::figure::{Posture, joints};
use crate::motion::exercise::{
    Counting, Exercise, ExerciseConfig, Repetition, Signals, signals_of,
};
use crate::pose::{BoxPx, HeadTag, JointState, Keypoint, People, PersonPose, Size};
use crate::skeleton::{JOINTS, KEYPOINTS};

/// Repetitions of a set.
const REPETITIONS: usize = 10;

/// Frames a second.
const RATE_HZ: f64 = 30.0;

/// Sets of each exercise before each camera.
const SETS: u64 = 5;

/// The same of drawn people: a set is a thousand pictures, a minute of one core.
const SETS_DRAWN: u64 = 2;

/// Height of an ankle of one who stands, metres.
const ANKLE_M: f64 = 0.09;

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct RepetitionPlan {
    /// Networks and settings. Nothing learns.
    pub config: EstimateConfig,
    /// The cameras.
    pub scenarios: Vec<Scenario>,
    /// Recorded motion, in which is counted what is no set.
    pub motions: Vec<Motion>,
    /// Whether a person is drawn doing it and the networks run on the pictures, in place of a simulated detector.
    pub render: bool,
    /// Fixes everything that is drawn.
    pub seed: u64,
}

/// An exercise before a camera.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RepetitionRow {
    /// The exercise.
    pub exercise: String,
    /// The camera.
    pub scenario: String,
    /// Sets of ten.
    pub sets: u32,
    /// Those of which exactly ten were counted.
    pub exact: u32,
    /// Whole repetitions that were counted in all of them.
    pub counted: u32,
    /// Sets whose half attempt was told as a partial repetition, and was the only one.
    pub partial_right: u32,
    /// From when the true angles count a repetition to when it is counted, seconds: the median.
    pub delay_s: Option<f64>,
    /// Recorded motion, minutes.
    pub other_minutes: f64,
    /// Repetitions of it that the true angles come to.
    pub other_true: u32,
    /// Counted more than that, added up over the motions.
    pub other_more: u32,
    /// Counted less.
    pub other_less: u32,
    #[serde(skip)]
    delays_s: Vec<f64>,
}

impl RepetitionRow {
    fn add(&mut self, other: Self) {
        self.sets += other.sets;
        self.exact += other.exact;
        self.counted += other.counted;
        self.partial_right += other.partial_right;
        self.other_minutes += other.other_minutes;
        self.other_true += other.other_true;
        self.other_more += other.other_more;
        self.other_less += other.other_less;
        self.delays_s.extend(other.delays_s);
    }

    fn finish(mut self) -> Self {
        self.delays_s.sort_by(f64::total_cmp);
        self.delay_s = self.delays_s.get(self.delays_s.len() / 2).copied();
        self
    }
}

/// What is shown to a camera.
enum Shown<'a> {
    /// A set of an exercise, by its number.
    Set(usize, u64),
    /// All that a person was recorded doing.
    Recorded(&'a str, Vec<&'a Motion>),
}

/// A row for each exercise and camera.
///
/// `done` is called after each stream, from any thread, with how many there are.
///
/// # Errors
///
/// Networks do not open, or a thread does not start.
pub fn run(
    plan: &RepetitionPlan,
    done: impl Fn(usize) + Sync,
) -> Result<Vec<RepetitionRow>, StartError> {
    let exercises: Vec<Exercise> = ExerciseConfig::default().all()?.into_values().collect();
    let sets = if plan.render { SETS_DRAWN } else { SETS };
    let mut jobs = Vec::new();
    for scenario in 0..plan.scenarios.len() {
        for person in people_of(&plan.motions) {
            jobs.push((scenario, Shown::Recorded(person.name, person.motions)));
        }
        for exercise in 0..exercises.len() {
            jobs.extend((0..sets).map(|set| (scenario, Shown::Set(exercise, set))));
        }
    }
    let found = in_parallel(&jobs, |(scenario, shown)| {
        let rows = match shown {
            Shown::Set(at, set) => {
                let row = of_set(plan, &plan.scenarios[*scenario], &exercises[*at], *set)?;
                vec![(*at, row)]
            }
            Shown::Recorded(name, motions) => {
                of_recorded(plan, &plan.scenarios[*scenario], &exercises, name, motions)?
            }
        };
        done(jobs.len());
        Ok(rows
            .into_iter()
            .map(|(at, row)| (*scenario, at, row))
            .collect::<Vec<_>>())
    })?;
    let mut rows: Vec<RepetitionRow> = Vec::new();
    for exercise in &exercises {
        rows.extend(plan.scenarios.iter().map(|scenario| RepetitionRow {
            exercise: exercise.name.clone(),
            scenario: scenario.name.clone(),
            ..RepetitionRow::default()
        }));
    }
    for (scenario, exercise, row) in found.into_iter().flatten() {
        rows[exercise * plan.scenarios.len() + scenario].add(row);
    }
    Ok(rows.into_iter().map(RepetitionRow::finish).collect())
}

fn of_set(
    plan: &RepetitionPlan,
    scenario: &Scenario,
    exercise: &Exercise,
    set: u64,
) -> Result<RepetitionRow, StartError> {
    let mut rng = Rng::with_seed(plan.seed ^ set.rotate_left(17));
    let motion = set_of(exercise, &mut rng);
    // Another place for each set: the camera hangs a little differently.
    let place = format!("{} {set}", exercise.name);
    let seen = watched(plan, scenario, &place, &motion)?;
    let counts = count(plan, &seen, std::slice::from_ref(exercise))?;
    let [published, truth] = &counts[0];
    // Which is which is clear only where both have counted the same number.
    let alike = published.whole() == truth.whole();
    let pairs = std::iter::zip(&published.whole_s, &truth.whole_s).filter(|_| alike);
    Ok(RepetitionRow {
        sets: 1,
        exact: u32::from(published.whole_s.len() == REPETITIONS),
        counted: published.whole(),
        partial_right: u32::from(published.partials == 1),
        delays_s: pairs
            .map(|(at, truth)| at - truth)
            .filter(|delay| delay.is_finite())
            .collect(),
        ..RepetitionRow::default()
    })
}

fn of_recorded(
    plan: &RepetitionPlan,
    scenario: &Scenario,
    exercises: &[Exercise],
    name: &str,
    motions: &[&Motion],
) -> Result<Vec<(usize, RepetitionRow)>, StartError> {
    let mut rows = vec![RepetitionRow::default(); exercises.len()];
    // One motion after the other, so that a repetition too many here does not make up for one too few there.
    for motion in motions {
        let seen = watched(plan, scenario, name, motion)?;
        let counts = count(plan, &seen, exercises)?;
        for (row, [published, truth]) in rows.iter_mut().zip(&counts) {
            let (published, truth) = (published.whole(), truth.whole());
            #[expect(clippy::cast_precision_loss, reason = "thousands of frames")]
            let frames = motion.joints_world_m.len() as f64;
            row.other_minutes += frames / motion.rate_hz / 60.0;
            row.other_true += truth;
            row.other_more += published.saturating_sub(truth);
            row.other_less += truth.saturating_sub(published);
        }
    }
    Ok(rows.into_iter().enumerate().collect())
}

/// A motion through a camera.
fn watched(
    plan: &RepetitionPlan,
    scenario: &Scenario,
    place: &str,
    motion: &Motion,
) -> Result<Stream, StartError> {
    let seen = stream(scenario, place, &[motion], plan.seed)?;
    if !plan.render {
        return Ok(seen);
    }
    let appearance = unseen_appearance(scenario, place, plan.seed);
    rendered(seen, scenario, appearance, &plan.config)
}

/// What was counted.
#[derive(Default)]
struct Counted {
    /// When whole repetitions were counted, seconds from the stream's start; infinity for one that the stream's end ended.
    whole_s: Vec<f64>,
    partials: u32,
}

impl Counted {
    fn take(&mut self, repetition: &Repetition, at_s: f64) {
        if repetition.partial {
            self.partials += 1;
        } else {
            self.whole_s.push(at_s);
        }
    }

    fn whole(&self) -> u32 {
        u32::try_from(self.whole_s.len()).unwrap_or(u32::MAX)
    }
}

/// Counts exercises in a stream: what the daemon publishes of it, and what the true angles come to.
fn count(
    plan: &RepetitionPlan,
    seen: &Stream,
    exercises: &[Exercise],
) -> Result<Vec<[Counted; 2]>, StartError> {
    let mut config = plan.config.clone();
    config.adapt.method = Learning::Latent;
    let mut poser = Poser::open(&config)?;
    let mut countings: Vec<[Counting; 2]> = exercises
        .iter()
        .map(|exercise| [0, 1].map(|_| Counting::new(exercise.clone())))
        .collect();
    let mut counted: Vec<[Counted; 2]> = exercises.iter().map(|_| Default::default()).collect();
    let start = seen.moments.first().map(|moment| moment.time);
    for moment in &seen.moments {
        let now_s = start.map_or(0.0, |start| moment.time.seconds_after(start));
        let shown = [
            published(&mut poser, seen, moment),
            vec![truly(&moment.joints_camera_m)],
        ];
        let signals = shown.each_ref().map(|people| -> Vec<Signals> {
            people
                .iter()
                .map(|person| signals_of(person, &angles_of(person, None), None))
                .collect()
        });
        for (countings, counted) in countings.iter_mut().zip(&mut counted) {
            for at in 0..2 {
                let counted = &mut counted[at];
                countings[at].add(moment.time, &shown[at], &signals[at], &mut |one| {
                    counted.take(one, now_s);
                });
            }
        }
    }
    for (countings, counted) in countings.iter_mut().zip(&mut counted) {
        for (counting, counted) in countings.iter_mut().zip(counted) {
            counting.finish(&mut |one| counted.take(one, f64::INFINITY));
        }
    }
    Ok(counted)
}

/// The people that the daemon publishes of a frame.
fn published(poser: &mut Poser, seen: &Stream, moment: &Moment) -> Vec<PersonPose> {
    let people: People = moment.seen.iter().cloned().collect();
    let tracked = poser.track(moment.time, &people).clone();
    let mut shown = Vec::with_capacity(PEOPLE_MAX);
    for (place, person) in tracked.iter().enumerate() {
        let mut estimate = poser.lift(moment.time, &seen.calibration, place).ok();
        poser.name(moment.time, &seen.calibration, place, estimate.as_mut());
        shown.push(person_pose(person, estimate.as_ref()));
    }
    shown
}

/// The person as they really are.
fn truly(joints_camera_m: &[Vec3; JOINTS]) -> PersonPose {
    PersonPose {
        id: 1,
        score: 1.0,
        bounds: BoxPx::default(),
        root_camera_m: joints_camera_m[0],
        root_sigma_m: 0.0,
        joints_camera_m: *joints_camera_m,
        sigmas_m: [0.0; JOINTS],
        states: [JointState::Measured; JOINTS],
        keypoints: [Keypoint::default(); KEYPOINTS],
        size: Size::default(),
        action: None,
        head: HeadTag::default(),
    }
}

/// How an exercise is done.
struct Style {
    /// The signal at rest and at its farthest, degrees.
    way_deg: [f64; 2],
    /// Time of a repetition, seconds.
    seconds: f64,
    /// Least and most time at rest between two.
    rest_s: [f64; 2],
}

/// `None` for an exercise whose style is not known.
fn style(exercise: &str) -> Option<Style> {
    let (way_deg, seconds, rest_s) = match exercise {
        "squat" => ([8.0, 105.0], 2.2, [0.3, 1.3]),
        "sit_to_stand" => ([92.0, 6.0], 1.8, [0.4, 1.2]),
        "lunge" => ([5.0, 88.0], 2.4, [0.3, 1.3]),
        "arm_raise" => ([8.0, 150.0], 2.2, [0.2, 1.0]),
        "shoulder_abduction" => ([8.0, 92.0], 2.2, [0.2, 1.0]),
        "biceps_curl" => ([12.0, 130.0], 1.8, [0.2, 1.0]),
        "jumping_jack" => ([15.0, 150.0], 1.0, [0.0, 0.1]),
        "marching" => ([8.0, 80.0], 0.9, [0.0, 0.1]),
        _ => return None,
    };
    Some(Style {
        way_deg,
        seconds,
        rest_s,
    })
}

/// The body `way` from rest (0) to the farthest (1), where the signal is `deg`; `side` changes with each repetition.
fn posture(exercise: &str, deg: f64, way: f64, side: usize) -> Posture {
    let mut posture = Posture {
        hip_flexion: [4.0; 2],
        knee_flexion: [6.0; 2],
        shoulder_flexion: [6.0; 2],
        shoulder_abduction: [8.0; 2],
        elbow_flexion: [14.0; 2],
        ..Posture::default()
    };
    match exercise {
        "squat" => {
            posture.knee_flexion = [deg; 2];
            posture.trunk_flexion = 35.0 * way;
            posture.hip_flexion = [0.75 * deg + posture.trunk_flexion; 2];
            posture.shoulder_flexion = [6.0 + 70.0 * way; 2];
        }
        "sit_to_stand" => {
            posture.knee_flexion = [deg; 2];
            // Forward before the seat is left.
            posture.trunk_flexion = 35.0 * (PI * way).sin();
            posture.hip_flexion = [0.97 * deg + posture.trunk_flexion; 2];
        }
        "lunge" => {
            posture.knee_flexion = [0.95 * deg; 2];
            posture.knee_flexion[side] = 1.05 * deg;
            posture.hip_flexion[side] = 4.0 + 80.0 * way;
            posture.hip_flexion[1 - side] = 4.0 - 12.0 * way;
        }
        "arm_raise" => posture.shoulder_flexion[side] = deg,
        "shoulder_abduction" => posture.shoulder_abduction = [deg; 2],
        "biceps_curl" => posture.elbow_flexion[side] = deg,
        "jumping_jack" => {
            posture.shoulder_abduction = [deg; 2];
            posture.hip_abduction = [4.0 + 22.0 * way; 2];
        }
        _ => {
            posture.hip_flexion[side] = deg;
            posture.knee_flexion[side] = 6.0 + 80.0 * way;
        }
    }
    posture
}

/// A set: rest, repetitions, a half attempt among them, rest. A motion of nothing where it is not known how to do it.
fn set_of(exercise: &Exercise, rng: &mut Rng) -> Motion {
    let mut frames = Vec::new();
    if let Some(style) = style(&exercise.name) {
        let [rest, far] = style.way_deg;
        let middle = 0.5 * f64::from(exercise.low_deg + exercise.high_deg);
        let half = (middle - rest) / (far - rest);
        let mut show = |way: f64, side: usize| {
            let deg = rest + (far - rest) * way;
            frames.push(standing(&posture(&exercise.name, deg, way, side)));
        };
        hold(&mut show, 0.0, 1.5, 0);
        for number in 0..REPETITIONS {
            let side = number % 2;
            // The half attempt comes after six.
            for is_half in [true, false] {
                if is_half && number != 6 {
                    continue;
                }
                let reach = if is_half {
                    half
                } else {
                    0.94 + 0.12 * rng.f64()
                };
                let seconds = style.seconds * (0.8 + 0.4 * rng.f64());
                let pause_s = if number == 3 { 1.5 } else { 0.0 };
                there_and_back(&mut show, reach, seconds, pause_s, side);
                let [least, most] = style.rest_s;
                hold(&mut show, 0.0, least + (most - least) * rng.f64(), side);
            }
        }
        hold(&mut show, 0.0, 1.0, 0);
    }
    Motion {
        id: exercise.name.clone(),
        subject: "figure".into(),
        rate_hz: RATE_HZ,
        actions: vec![exercise.name.replace('_', " ")],
        joints_world_m: frames,
    }
}

/// Stays at a share of the way for a time.
fn hold(show: &mut impl FnMut(f64, usize), way: f64, seconds: f64, side: usize) {
    let mut at_s = 0.0;
    while at_s < seconds {
        show(way, side);
        at_s += 1.0 / RATE_HZ;
    }
}

/// To a share of the way and back, as a cosine, with a pause there.
fn there_and_back(
    show: &mut impl FnMut(f64, usize),
    reach: f64,
    seconds: f64,
    pause_s: f64,
    side: usize,
) {
    let (mut at_s, mut has_paused) = (0.0, pause_s <= 0.0);
    while at_s < seconds {
        if !has_paused && at_s >= 0.5 * seconds {
            hold(show, reach, pause_s, side);
            has_paused = true;
        }
        show(reach * 0.5 * (1.0 - (TAU * at_s / seconds).cos()), side);
        at_s += 1.0 / RATE_HZ;
    }
}

/// A figure with the lower foot on the floor, and the middle of its feet in one place.
fn standing(posture: &Posture) -> [Vec3; JOINTS] {
    let at = joints(posture);
    let feet = 0.5 * (at[3] + at[6]);
    let lowest = at[3].y.min(at[6].y);
    let moved = DVec3::new(-feet.x, ANKLE_M - lowest, -feet.z);
    at.map(|joint| (joint + moved).as_vec3())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::MonoNs;

    fn scenario(detector: &str) -> Scenario {
        let mut scenario = Scenario::parse("angles.toml".into(), super::super::angles::SHIPPED)
            .unwrap()
            .remove(0);
        scenario.detector = super::super::detector::Detector::named(detector).unwrap();
        scenario
    }

    #[test]
    fn each_exercise_that_ships_has_sets_of_ten_whose_true_angles_count_ten_and_one_half_attempt() {
        for exercise in ExerciseConfig::default().all().unwrap().values() {
            for seed in 0..5 {
                let motion = set_of(exercise, &mut Rng::with_seed(seed));
                let mut counting = Counting::new(exercise.clone());
                let (mut whole, mut partials) = (0, 0);
                let mut told = |one: &Repetition| {
                    whole += u32::from(!one.partial);
                    partials += u32::from(one.partial);
                };
                for (frame, joints) in motion.joints_world_m.iter().enumerate() {
                    let time = MonoNs(1 + 33_333_333 * frame as u64);
                    let person = truly(joints);
                    let up = Some(Vec3::Y);
                    let signals = signals_of(&person, &angles_of(&person, up), up);
                    counting.add(time, &[person], &[signals], &mut told);
                }
                counting.finish(&mut told);
                assert_eq!((whole, partials), (10, 1), "{} {seed}", exercise.name);
            }
        }
    }

    #[test]
    fn feet_stay_on_the_floor() {
        for exercise in ExerciseConfig::default().all().unwrap().values() {
            for joints in set_of(exercise, &mut Rng::with_seed(1)).joints_world_m {
                let lowest = joints[3].y.min(joints[6].y);
                assert!((f64::from(lowest) - ANKLE_M).abs() < 1e-5);
                assert!(joints.iter().all(|joint| joint.is_finite()));
            }
        }
    }

    #[test]
    fn a_set_is_counted_through_a_camera_and_the_daemons_poser() {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config.semantics.enabled = false;
        let plan = RepetitionPlan {
            config,
            scenarios: vec![scenario("ideal")],
            motions: Vec::new(),
            render: false,
            seed: 1,
        };
        let squat = ExerciseConfig::default().all().unwrap()["squat"].clone();
        let row = of_set(&plan, &plan.scenarios[0], &squat, 0).unwrap();
        assert_eq!((row.sets, row.exact, row.counted), (1, 1, 10), "{row:?}");
        assert!(
            row.delays_s.iter().all(|delay| delay.abs() < 1.0),
            "{row:?}"
        );
    }
}
