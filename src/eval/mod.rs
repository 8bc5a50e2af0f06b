//! The accuracy table: motion capture through simulated cameras and the same
//! tracker and lifter that the daemon runs, frame by frame, each scored with what
//! was known when it came (prequential; nothing sees the future).
//!
//! ```text
//!  motion ─▶ simulate (scenario) ─▶ Tracker ─▶ Lifter ─▶ metrics ─▶ rows
//! ```
//!
//! `docs/accuracy.md` says what each column is.

pub mod metrics;
pub mod motion;
pub mod scenario;
pub mod simulate;
pub mod table;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use glam::Vec3;

use crate::error::StartError;
use crate::lift::model::{self, NetworkBackbone};
use crate::lift::{LiftConfig, Lifter};
use crate::pose::People;
use crate::skeleton::JOINTS;
use crate::sys::rt::spawn;
use crate::track::{TrackConfig, TrackedPeople, Tracker};

use metrics::{RADIUS_90, accel_mm, angle_deg, mpjpe_mm, pa_mpjpe_mm, symmetry_mm};
use motion::Motion;
use scenario::Scenario;
use simulate::{Moment, stream};
use table::{Score, Sums};

/// Threads that share the motions. Two: what the smallest device has.
const THREADS: usize = 2;

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The lifter's folder.
    pub lifter: PathBuf,
    /// The views.
    pub scenarios: Vec<Scenario>,
    /// The motions.
    pub motions: Vec<Motion>,
    /// Fixes everything that is drawn.
    pub seed: u64,
}

/// Sums of each scenario, in the plan's order.
///
/// `done` is called after each motion of each scenario, from any thread.
///
/// # Errors
///
/// The lifter does not open, or a thread does not start.
///
/// # Panics
///
/// A thread panicked.
pub fn run(plan: &Plan, done: impl Fn() + Sync) -> Result<Vec<Sums>, StartError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Sums)>, StartError> {
        let mut results = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(motion) = plan.motions.get(at) else {
                return Ok(results);
            };
            // A lifter each, so that no motion sees what another left behind.
            for (which, scenario) in plan.scenarios.iter().enumerate() {
                let sums = one(plan, scenario, motion)?;
                results.push((at * plan.scenarios.len() + which, sums));
                done();
            }
        }
    };
    let mut results = std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for _ in 0..THREADS {
            let handle = spawn(scope, "eval", work).map_err(|source| StartError::Thread {
                name: "eval",
                source,
            })?;
            handles.push(handle);
        }
        let mut all = Vec::new();
        for handle in handles {
            all.extend(handle.join().expect("a panic ends the process")?);
        }
        Ok::<_, StartError>(all)
    })?;
    // Threads finish in any order, sums of floating point do not.
    results.sort_by_key(|(at, _)| *at);
    let mut totals = vec![Sums::default(); plan.scenarios.len()];
    for (at, sums) in &results {
        totals[at % plan.scenarios.len()].add(sums);
    }
    Ok(totals)
}

/// One motion in one scenario.
fn one(plan: &Plan, scenario: &Scenario, motion: &Motion) -> Result<Sums, StartError> {
    let stream = stream(scenario, motion, plan.seed)?;
    let (backbone, head) = model::open(&plan.lifter)?;
    let mut tracker = Tracker::new(TrackConfig::default());
    let mut lifter = Lifter::new(LiftConfig::default(), backbone, head.into());
    let mut sums = Sums::default();
    sums.motions = 1;
    let mut last: [Option<([Vec3; JOINTS], [Vec3; JOINTS])>; 2] = [None, None];
    for moment in &stream.moments {
        let estimate = step(&mut tracker, &mut lifter, &stream.calibration, moment);
        sums.frames += 1;
        let Some((joints, sigmas)) = estimate else {
            last = [None, None];
            continue;
        };
        let score = score(&joints, &sigmas, moment, &last);
        sums.take(&score);
        last = [Some((joints, moment.joints_camera_m)), last[0].take()];
    }
    Ok(sums)
}

/// A frame through the tracker and the lifter; joints relative to the pelvis.
fn step(
    tracker: &mut Tracker,
    lifter: &mut Lifter<NetworkBackbone>,
    calibration: &crate::calibration::Calibration,
    moment: &Moment,
) -> Option<([Vec3; JOINTS], [f32; JOINTS])> {
    let mut people = People::new();
    if let Some(seen) = &moment.seen {
        let pushed = people.push(seen.clone());
        debug_assert!(pushed.is_ok(), "there is room for one");
    }
    let mut known = TrackedPeople::new();
    tracker.update(moment.time, &people, &mut known);
    let person = known.first()?;
    let estimate = lifter.lift(moment.time, calibration, person).ok()?;
    Some((estimate.relative_camera_m, estimate.sigmas_m))
}

/// Scores a frame; joints relative to the pelvis, the truth in the camera frame.
fn score(
    joints: &[Vec3; JOINTS],
    sigmas: &[f32; JOINTS],
    moment: &Moment,
    last: &[Option<([Vec3; JOINTS], [Vec3; JOINTS])>; 2],
) -> Score {
    let truth = &moment.joints_camera_m;
    let align = metrics::Similarity::between(joints, truth);
    let mut hidden = Vec::new();
    let mut within = 0_u32;
    for joint in 1..JOINTS {
        let error = (joints[joint] - joints[0]) - (truth[joint] - truth[0]);
        within += u32::from(error.length() <= RADIUS_90 * sigmas[joint]);
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
        accel_mm: accel,
        angle_deg: angle_deg(joints, truth),
        symmetry_mm: symmetry_mm(joints),
        within,
    }
}
