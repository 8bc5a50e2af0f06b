//! The accuracy table: motion capture through simulated cameras and the same
//! tracker and lifter that the daemon runs, frame by frame, each scored with what
//! was known when it came (prequential; nothing sees the future).
//!
//! ```text
//!  motions of a person ─▶ simulate (scenario) ─▶ Poser (tracks, lifter, meaning) ─▶ metrics ─▶ rows
//! ```
//!
//! A person's motions come one after the other at one site, as a device would see
//! them; what is learned in one is there in the next.
//!
//! `docs/accuracy.md` says what each column is.

pub mod metrics;
pub mod motion;
pub mod recordings;
pub mod scenario;
pub mod simulate;
pub mod table;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use glam::Vec3;

use crate::adapt;
use crate::calibration::Calibration;
use crate::error::StartError;
use crate::lift::Estimate;
use crate::pipeline::estimate::{EstimateConfig, Poser};
use crate::pose::{JointState, People};
use crate::skeleton::JOINTS;
use crate::sys::rt::{spawn, thread_cpu_ns};
use crate::track::smooth::OneEuroConfig;

use metrics::{RADIUS_90, accel_mm, angle_deg, mpjpe_mm, pa_mpjpe_mm, symmetry_mm};
use motion::Motion;
use scenario::Scenario;
use simulate::{Moment, Stream, stream};
use table::{Score, Sums};

/// Threads that share people and scenarios. Two: what the smallest device has.
const THREADS: usize = 2;

/// The smoothing that goes with the lifter's own output. The refined output is less steady and is
/// smoothed more; with the factory's filter its acceleration error would be 14 % larger.
const FACTORY_SMOOTHING: OneEuroConfig = OneEuroConfig {
    min_cutoff_hz: 3.0,
    cutoff_per_speed: 10.0,
    speed_cutoff_hz: 1.0,
};

/// A way from keypoints to poses, a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Lifter and head as they ship; joints that nobody sees are the lifter's guess.
    Factory,
    /// The same, each frame's pose moved to agree with its rays and with the person's bones.
    Latent,
    /// That, and the camera's mount is known but for an installer's error, so that the floor
    /// tells how large people are.
    Floor,
    /// As `latent`, hidden joints completed with the dictionary, actions named.
    Complete,
    /// As `latent`, the final layers following plain reprojection: the warning.
    Reprojection,
    /// As `latent`, the final layers following keypoints and smoothed poses (after `CycleAdapt`).
    Cycle,
    /// As `latent`, the final layers learning from echoes ([`crate::adapt`]).
    Replay,
    /// All of it: `replay` and `complete`. What the daemon does without further words.
    Semantic,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Factory,
        Self::Reprojection,
        Self::Cycle,
        Self::Latent,
        Self::Floor,
        Self::Complete,
        Self::Replay,
        Self::Semantic,
    ];

    /// Name on the command line and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Latent => "latent",
            Self::Floor => "floor",
            Self::Complete => "complete",
            Self::Reprojection => "2d",
            Self::Cycle => "cycle",
            Self::Replay => "replay",
            Self::Semantic => "semantic",
        }
    }

    /// The method of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Networks and settings.
    pub config: EstimateConfig,
    /// The ways.
    pub methods: Vec<Method>,
    /// The views.
    pub scenarios: Vec<Scenario>,
    /// The motions.
    pub motions: Vec<Motion>,
    /// Fixes everything that is drawn.
    pub seed: u64,
}

impl Plan {
    /// People times scenarios: how often `done` is called.
    pub fn streams(&self) -> usize {
        people_of(&self.motions).len() * self.scenarios.len()
    }
}

/// One person's motions, and where they stand in the plan.
struct Person<'a> {
    name: &'a str,
    motions: Vec<&'a Motion>,
    places: Vec<usize>,
}

/// Everybody who moves, in the order of the plan.
fn people_of(motions: &[Motion]) -> Vec<Person<'_>> {
    let mut people: Vec<Person<'_>> = Vec::new();
    for (place, motion) in motions.iter().enumerate() {
        let at = people
            .iter()
            .position(|person| person.name == motion.subject);
        let at = at.unwrap_or_else(|| {
            people.push(Person {
                name: &motion.subject,
                motions: Vec::new(),
                places: Vec::new(),
            });
            people.len() - 1
        });
        people[at].motions.push(motion);
        people[at].places.push(place);
    }
    people
}

/// Sums of each scenario for each method, both in the plan's order.
///
/// `done` is called after each person in each scenario, from any thread.
///
/// # Errors
///
/// The lifter or the dictionary does not open, or a thread does not start.
///
/// # Panics
///
/// A thread panicked.
pub fn run(plan: &Plan, done: impl Fn() + Sync) -> Result<Vec<Vec<Sums>>, StartError> {
    let people = people_of(&plan.motions);
    let mut jobs: Vec<(&Person<'_>, usize)> = people
        .iter()
        .flat_map(|person| (0..plan.scenarios.len()).map(move |scenario| (person, scenario)))
        .collect();
    // The longest first, so that no thread is left with one at the end.
    let frames = |person: &Person<'_>| -> usize {
        person.motions.iter().map(|m| m.joints_world_m.len()).sum()
    };
    jobs.sort_by_key(|(person, _)| std::cmp::Reverse(frames(person)));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((person, scenario)) = jobs.get(at) else {
                return Ok::<_, StartError>(results);
            };
            let view = &plan.scenarios[*scenario];
            let stream = stream(view, person.name, &person.motions, plan.seed)?;
            for (method, way) in plan.methods.iter().enumerate() {
                let sums = one(plan, *way, &stream, &person.motions)?;
                for (place, sums) in person.places.iter().zip(sums) {
                    results.push(([method, *scenario, *place], sums));
                }
            }
            done();
        }
    };
    let results = std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for _ in 0..THREADS {
            let handle = spawn(scope, "eval", work).map_err(|source| StartError::Thread {
                name: "eval",
                source,
            })?;
            handles.push(handle);
        }
        let mut all = BTreeMap::new();
        for handle in handles {
            all.extend(handle.join().expect("a panic ends the process")?);
        }
        Ok::<_, StartError>(all)
    })?;
    Ok(totals(plan, &results))
}

/// Sums of each scenario for each method, over motions in the plan's order: threads finish in
/// any order, sums of floating point do not.
fn totals(plan: &Plan, results: &BTreeMap<[usize; 3], Sums>) -> Vec<Vec<Sums>> {
    let factory = plan.methods.iter().position(|way| *way == Method::Factory);
    let mut totals = vec![vec![Sums::default(); plan.scenarios.len()]; plan.methods.len()];
    for ([method, scenario, place], sums) in results {
        let mut sums = sums.clone();
        if let Some(factory) = factory {
            sums.compare(&results[&[factory, *scenario, *place]]);
        }
        totals[*method][*scenario].add(&sums);
    }
    totals
}

/// One person in one scenario, one way; sums of each motion.
fn one(
    plan: &Plan,
    method: Method,
    stream: &Stream,
    motions: &[&Motion],
) -> Result<Vec<Sums>, StartError> {
    // Opened anew, so that nobody sees what another left behind.
    let mut config = plan.config.clone();
    config.adapt.method = match method {
        Method::Factory => adapt::Method::Off,
        Method::Latent | Method::Floor | Method::Complete => adapt::Method::Latent,
        Method::Reprojection => adapt::Method::Reprojection,
        Method::Cycle => adapt::Method::Cycle,
        Method::Replay => adapt::Method::Replay,
        Method::Semantic => adapt::Method::Semantic,
    };
    if method == Method::Factory {
        config.lift.smooth_joints = FACTORY_SMOOTHING;
    }
    config.semantics.enabled = matches!(method, Method::Complete | Method::Semantic);
    let mut calibration = stream.calibration.clone();
    if method == Method::Floor {
        calibration = calibration.with_mount(stream.measured)?;
    }
    let mut poser = Poser::open(&config)?;
    let mut adapter = poser.adapter(plan.seed)?;
    let mut sums = vec![Sums::default(); motions.len()];
    for sums in &mut sums {
        sums.motions = 1;
    }
    let mut learning_ns = 0;
    let mut last: [Option<([Vec3; JOINTS], [Vec3; JOINTS])>; 2] = [None, None];
    let mut motion = 0;
    for moment in &stream.moments {
        if moment.motion != motion {
            motion = moment.motion;
            last = [None, None];
        }
        let sums = &mut sums[motion];
        sums.frames += 1;
        let stepped = step(&mut poser, &calibration, moment);
        if let Some(adapter) = &mut adapter {
            let begun = thread_cpu_ns();
            poser.learn(adapter);
            learning_ns += thread_cpu_ns() - begun;
        }
        let Some((estimate, id)) = stepped else {
            last = [None, None];
            continue;
        };
        let mut score = score(&estimate, moment, &last);
        score.named = named(&poser, id, motions[motion]);
        sums.take(&score, minute_of(stream, moment));
        last = [
            Some((estimate.relative_camera_m, moment.joints_camera_m)),
            last[0].take(),
        ];
    }
    if adapter.is_some()
        && let (Some(first), [begin, .., end]) = (sums.first_mut(), &stream.moments[..])
    {
        let processor = Duration::from_nanos(learning_ns).as_secs_f64();
        first.learned(processor, end.time.seconds_after(begin.time));
    }
    Ok(sums)
}

/// Which minute of its stream a frame is in.
fn minute_of(stream: &Stream, moment: &Moment) -> usize {
    let begin = stream
        .moments
        .first()
        .map_or(moment.time, |first| first.time);
    usize::try_from(moment.time.since(begin).as_secs() / 60).unwrap_or(0)
}

/// A frame through everything behind the 2D networks.
fn step(poser: &mut Poser, calibration: &Calibration, moment: &Moment) -> Option<(Estimate, u32)> {
    let mut people = People::new();
    if let Some(seen) = &moment.seen {
        let pushed = people.push(seen.clone());
        debug_assert!(pushed.is_ok(), "there is room for one");
    }
    let id = poser.track(moment.time, &people).first()?.id;
    let mut estimate = poser.lift(moment.time, calibration, 0);
    poser.name(moment.time, calibration, 0, estimate.as_mut());
    Some((estimate?, id))
}

/// Whether the likeliest entry is one of the motion's actions, and whether one of the
/// likeliest five is; `None` where nobody names, or none of its actions has an entry with motion.
fn named(poser: &Poser, id: u32, motion: &Motion) -> Option<[bool; 2]> {
    let semantics = poser.semantics()?;
    let probabilities = semantics.probabilities(id)?;
    let entries = semantics.dictionary().entries();
    let right = |at: usize| motion.actions.contains(&entries[at].phrase);
    if !(0..entries.len()).any(|at| entries[at].windows > 0 && right(at)) {
        return None;
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    Some([right(order[0]), order.iter().take(5).any(|at| right(*at))])
}

/// Scores a frame; joints relative to the pelvis, the truth in the camera frame.
fn score(
    estimate: &Estimate,
    moment: &Moment,
    last: &[Option<([Vec3; JOINTS], [Vec3; JOINTS])>; 2],
) -> Score {
    let (joints, sigmas) = (&estimate.relative_camera_m, &estimate.sigmas_m);
    let truth = &moment.joints_camera_m;
    let align = metrics::Similarity::between(joints, truth);
    let (mut hidden, mut hidden_root) = (Vec::new(), Vec::new());
    let (mut within, mut completed) = (0_u32, Vec::new());
    for joint in 1..JOINTS {
        let error = (joints[joint] - joints[0]) - (truth[joint] - truth[0]);
        let inside = error.length() <= RADIUS_90 * sigmas[joint];
        within += u32::from(inside);
        if estimate.states[joint] == JointState::Completed {
            completed.push((f64::from(error.length()) * 1e3, inside));
        }
        if !moment.visible[joint] {
            hidden_root.push(f64::from(error.length()) * 1e3);
        }
        if !moment.visible[joint]
            && let Some(align) = &align
        {
            let apart = (align.apply(joints[joint]) - truth[joint]).length();
            hidden.push(f64::from(apart) * 1e3);
        }
    }
    let accel = match last {
        [Some((j1, t1)), Some((j2, t2))] => Some(accel_mm([j2, j1, joints], [t2, t1, truth])),
        _ => None,
    };
    Score {
        mpjpe_mm: mpjpe_mm(joints, joints[0], truth, truth[0]),
        pa_mpjpe_mm: pa_mpjpe_mm(joints, truth),
        hidden_mm: hidden,
        hidden_root_mm: hidden_root,
        accel_mm: accel,
        angle_deg: angle_deg(joints, truth),
        symmetry_mm: symmetry_mm(joints),
        within,
        known: estimate
            .states
            .iter()
            .filter(|state| **state != JointState::Absent)
            .count(),
        completed,
        named: None,
    }
}
