//! Joint angles against the truth, by the direction from which a person is seen: bias, spread, and how true the
//! published standard deviation is.
//!
//! ```text
//!  stream or clip ─▶ poser ─▶ angles with sigma ─┐
//!                └─▶ true joints ─▶ true angles ─┴─▶ differences, by angle and view of the frame
//! ```
//!
//! Left and right count as one angle. `docs/reference/angles.md` has the table.

use glam::Vec3;
use serde::Serialize;

use super::clips::Clip;
use super::method_run::{Followed, MethodRun};
use super::metrics::DISTANCE_90;
use super::render::{rendered, unseen_appearance};
use super::simulate::stream;
use super::{ClipsPlan, EvalPerson, EvalPlan, Method, in_parallel, people_of};
use crate::base::limits::PEOPLE_MAX;
use crate::error::StartError;
use crate::lift::Estimate;
use crate::motion::angles::{ANGLE_MIRROR, ANGLE_NAMES, ANGLES, Angles, angles};
use crate::pose::JointState;
use crate::skeleton::JOINTS;

/// The cameras that ship.
pub const SHIPPED: &str = include_str!("angles.toml");

/// A camera that is higher than this above a person's pelvis, degrees, sees them from above.
const ABOVE_DEG: f32 = 30.0;

/// A person is seen from the front up to this angle between where they face and the camera, degrees, ...
const FRONT_DEG: f32 = 22.5;

/// ... at 45 degrees up to this, ...
const OBLIQUE_DEG: f32 = 67.5;

/// ... and from the side up to this.
const SIDE_DEG: f32 = 112.5;

/// Share of the hips' width that must be level for a person to face anywhere: one who lies on a side does not.
const LEVEL_SHARE: f32 = 0.5;

/// A limb is straight whose true bend is less than this, degrees.
const STRAIGHT_DEG: f32 = 10.0;

/// From where a frame shows a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AngleView {
    /// Facing the camera.
    Front,
    /// Turned by about 45 degrees.
    Oblique,
    /// Turned by about 90 degrees.
    Side,
    /// With the back to the camera.
    Behind,
    /// From above, whatever the turn.
    Above,
    /// Every frame, those with no such direction, too.
    All,
}

impl AngleView {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Front,
        Self::Oblique,
        Self::Side,
        Self::Behind,
        Self::Above,
        Self::All,
    ];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Oblique => "oblique",
            Self::Side => "side",
            Self::Behind => "behind",
            Self::Above => "above",
            Self::All => "all",
        }
    }

    /// The view of a person whose joints these are, camera frame; `up` is against gravity.
    fn of(joints_camera_m: &[Vec3; JOINTS], up: Vec3) -> Option<Self> {
        let level = |line: Vec3| line - up * line.dot(up);
        let to_camera = (-joints_camera_m[0]).try_normalize()?;
        if to_camera.dot(up) > ABOVE_DEG.to_radians().sin() {
            return Some(Self::Above);
        }
        // From the right hip to the left.
        let hips = joints_camera_m[4] - joints_camera_m[1];
        let left = level(hips);
        if left.length() < LEVEL_SHARE * hips.length() {
            return None;
        }
        let ahead = left.cross(up);
        let turned = ahead.angle_between(level(to_camera)).to_degrees();
        Some(match turned {
            _ if turned <= FRONT_DEG => Self::Front,
            _ if turned <= OBLIQUE_DEG => Self::Oblique,
            _ if turned <= SIDE_DEG => Self::Side,
            _ if turned.is_finite() => Self::Behind,
            _ => return None,
        })
    }
}

/// Sums of differences.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Differences {
    count: u32,
    sum: f64,
    squares: f64,
}

impl Differences {
    fn take(&mut self, difference: f64) {
        self.count += 1;
        self.sum += difference;
        self.squares += difference * difference;
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Mean and standard deviation.
    fn moments(&self) -> Option<[f64; 2]> {
        let count = f64::from(self.count);
        (self.count > 0).then(|| {
            let mean = self.sum / count;
            [mean, (self.squares / count - mean * mean).max(0.0).sqrt()]
        })
    }
}

/// One angle from one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    /// Frames in which the angle truly is one.
    real: u32,
    completed: u32,
    all: Differences,
    /// Of limbs that are straight.
    straight: Differences,
    within: u32,
    /// Sum of the squares of the published sigma.
    variances: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.real += other.real;
        self.completed += other.completed;
        self.all.add(&other.all);
        self.straight.add(&other.straight);
        self.within += other.within;
        self.variances += other.variances;
    }
}

/// All angles from all directions.
#[derive(Clone, Debug, Default, PartialEq)]
struct Table([[Sums; ANGLES]; AngleView::ALL.len()]);

impl Table {
    fn add(&mut self, other: &Self) {
        let all = self.0.iter_mut().flatten();
        for (own, more) in all.zip(other.0.iter().flatten()) {
            own.add(more);
        }
    }

    /// Takes a frame: what was published of a person, if anything, and the truth.
    fn take(&mut self, view: Option<AngleView>, found: Option<&Angles>, truth: &Angles) {
        for (at, (angle, real)) in ANGLE_NAMES.iter().zip(truth).enumerate() {
            let Some(real) = real.known() else {
                continue;
            };
            let found = found.map(|found| found[at]);
            let found = found.filter(|found| found.state != JointState::Absent);
            let is_bend = angle.contains("knee") || angle.contains("elbow");
            // Both sides are one row.
            let row = at.min(ANGLE_MIRROR[at]);
            for view in [view, Some(AngleView::All)].into_iter().flatten() {
                let sums = &mut self.0[view as usize][row];
                sums.real += 1;
                let Some(found) = found else {
                    continue;
                };
                let difference = f64::from(turned(found.deg - real));
                let sigma = f64::from(found.sigma_deg);
                sums.completed += u32::from(found.state == JointState::Completed);
                sums.all.take(difference);
                sums.variances += sigma * sigma;
                sums.within += u32::from(difference.abs() <= f64::from(DISTANCE_90) * sigma);
                if is_bend && real.abs() < STRAIGHT_DEG {
                    sums.straight.take(difference);
                }
            }
        }
    }
}

/// A difference of two angles, the short way round, degrees.
fn turned(deg: f32) -> f32 {
    deg - 360.0 * (deg / 360.0).round()
}

/// An angle from one direction, by one method.
#[derive(Clone, Debug, Serialize)]
pub struct AngleRow {
    /// The method.
    pub method: &'static str,
    /// The angle, without a side.
    pub angle: &'static str,
    /// From where the person is seen.
    pub view: AngleView,
    /// Angles that were compared, left and right each one.
    pub count: u32,
    /// Share of the true ones that were published, 0 to 1.
    pub known_share: f64,
    /// Share of the published ones that were completed, 0 to 1.
    pub completed_share: f64,
    /// Mean of published less true, degrees.
    pub bias_deg: Option<f64>,
    /// Standard deviation of that, degrees.
    pub sd_deg: Option<f64>,
    /// Root of the mean square of the published standard deviation, degrees.
    pub sigma_deg: Option<f64>,
    /// Share of the differences within 1.645 published standard deviations: 0.90 if they are true.
    pub coverage90: Option<f64>,
    /// Straight knees and elbows: how many, and the mean difference, degrees.
    pub straight: u32,
    /// See `straight`.
    pub straight_bias_deg: Option<f64>,
}

impl AngleRow {
    fn of(method: Method, view: AngleView, angle: usize, sums: &Sums) -> Self {
        let name = ANGLE_NAMES[angle];
        let count = f64::from(sums.all.count);
        let share = |of: u32, all: f64| f64::from(of) / all.max(1.0);
        let some = sums.all.count > 0;
        let moments = sums.all.moments();
        Self {
            method: method.name(),
            angle: name.strip_prefix("left_").unwrap_or(name),
            view,
            count: sums.all.count,
            known_share: share(sums.all.count, sums.real.into()),
            completed_share: share(sums.completed, count),
            bias_deg: moments.map(|[mean, _]| mean),
            sd_deg: moments.map(|[_, spread]| spread),
            sigma_deg: some.then(|| (sums.variances / count).sqrt()),
            coverage90: some.then(|| share(sums.within, count)),
            straight: sums.straight.count,
            straight_bias_deg: sums.straight.moments().map(|[mean, _]| mean),
        }
    }
}

/// Rows by method, angle and view; those without a true angle are left out.
fn rows(methods: &[Method], tables: &[Table]) -> Vec<AngleRow> {
    let mut rows = Vec::new();
    for (method, table) in methods.iter().zip(tables) {
        for angle in (0..ANGLES).filter(|angle| *angle <= ANGLE_MIRROR[*angle]) {
            for view in AngleView::ALL {
                let sums = &table.0[view as usize][angle];
                if sums.real > 0 {
                    rows.push(AngleRow::of(*method, view, angle, sums));
                }
            }
        }
    }
    rows
}

/// Compares the angles of simulated or rendered motion.
///
/// `done` is called after each person in each scenario, from any thread.
///
/// # Errors
///
/// Networks do not open, or a thread does not start.
pub fn run(plan: &EvalPlan, done: impl Fn() + Sync) -> Result<Vec<AngleRow>, StartError> {
    let people = people_of(&plan.motions);
    let mut jobs: Vec<(&EvalPerson<'_>, usize)> = Vec::new();
    for scenario in 0..plan.scenarios.len() {
        jobs.extend(people.iter().map(|person| (person, scenario)));
    }
    let found = in_parallel(&jobs, |(person, scenario)| {
        let view = &plan.scenarios[*scenario];
        let mut seen = stream(view, person.name, &person.motions, plan.seed)?;
        if plan.render {
            let appearance = unseen_appearance(view, person.name, plan.seed);
            seen = rendered(seen, view, appearance, &plan.config)?;
        }
        let up = seen.mount.up();
        let mut tables = Vec::new();
        for method in &plan.methods {
            let mut calibration = seen.calibration.clone();
            if method.knows_mount() {
                calibration = calibration.with_mount(seen.measured)?;
            }
            let known_up = calibration.mount().map(crate::camera::Mount::up);
            let mut run = MethodRun::open(&plan.config, *method, plan.seed)?;
            let mut table = Table::default();
            for moment in &seen.moments {
                let people = moment.seen.iter().cloned().collect();
                let followed = run.frame(moment.time, &calibration, &people);
                let joints = &moment.joints_camera_m;
                let truth = angles(joints, &[0.0; JOINTS], &TRUE, Some(up));
                let found = followed.first().and_then(|person| {
                    let estimate = person.estimate.as_ref()?;
                    Some(published(estimate, known_up))
                });
                table.take(AngleView::of(joints, up), found.as_ref(), &truth);
            }
            tables.push(table);
        }
        done();
        Ok(tables)
    })?;
    Ok(rows(&plan.methods, &totals(plan.methods.len(), found)))
}

/// Compares the angles of recorded clips. Without a mount the camera is taken as level for the view, and angles against
/// gravity are none.
///
/// `done` is called after each clip, from any thread.
///
/// # Errors
///
/// Networks do not open, or a thread does not start.
pub fn run_clips(plan: &ClipsPlan, done: impl Fn() + Sync) -> Result<Vec<AngleRow>, StartError> {
    let found = in_parallel(&plan.clips, |clip| {
        let mut tables = Vec::new();
        for method in &plan.methods {
            tables.push(of_clip(plan, *method, clip)?);
        }
        done();
        Ok(tables)
    })?;
    Ok(rows(&plan.methods, &totals(plan.methods.len(), found)))
}

fn of_clip(plan: &ClipsPlan, method: Method, clip: &Clip) -> Result<Table, StartError> {
    let Clip { entry, frames } = clip;
    let mount = entry.calibration.mount().copied();
    let mut table = Table::default();
    if method.knows_mount() && mount.is_none() {
        return Ok(table);
    }
    let (calibration, known_up) = if method.knows_mount() {
        (entry.calibration.clone(), mount.map(|mount| mount.up()))
    } else {
        (entry.calibration.clone().without_mount(), None)
    };
    let up = mount.map(|mount| mount.up());
    let mut run = MethodRun::open(&plan.config, method, plan.seed)?;
    for frame in frames {
        let mut followed = run.frame(frame.time, &calibration, &frame.detections());
        let mut found: [Option<Followed>; PEOPLE_MAX] = std::array::from_fn(|_| None);
        while let Some(person) = followed.pop() {
            if let Some(place) = frame.place_of(&person.bounds) {
                found[place] = Some(person);
            }
        }
        for (person, found) in frame.people.iter().zip(found) {
            if !person.is_scored() {
                continue;
            }
            let joints = &person.truth.joints_camera_m;
            let states = person.truth.known.map(|known| {
                if known {
                    JointState::Measured
                } else {
                    JointState::Absent
                }
            });
            let truth = angles(joints, &[0.0; JOINTS], &states, up);
            let estimate = found.and_then(|found| found.estimate);
            let found = estimate.map(|estimate| published(&estimate, known_up));
            let view = AngleView::of(joints, up.unwrap_or(Vec3::NEG_Y));
            table.take(view, found.as_ref(), &truth);
        }
    }
    Ok(table)
}

/// A simulation knows every joint.
const TRUE: [JointState; JOINTS] = [JointState::Measured; JOINTS];

/// The angles that the daemon publishes of an estimate. They are those of its joints wherever the pelvis is.
fn published(estimate: &Estimate, up: Option<Vec3>) -> Angles {
    angles(
        &estimate.relative_camera_m,
        &estimate.sigmas_m,
        &estimate.states,
        up,
    )
}

/// The sum for each method, of what jobs found for each. Threads finish in any order, which floating point may show in
/// the last digits.
fn totals(methods: usize, found: Vec<Vec<Table>>) -> Vec<Table> {
    let mut totals = vec![Table::default(); methods];
    for tables in found {
        for (total, table) in totals.iter_mut().zip(&tables) {
            total.add(table);
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::EstimateConfig;
    use crate::lab::eval::motion::Motion;
    use crate::lab::eval::scenario::Scenario;
    use crate::lab::eval::simulate::tests::standing;
    use crate::motion::angles::{Angle, mirrored};
    use crate::pose::{BoxPx, Detection, Keypoint, VISIBILITY_GATE};
    use crate::skeleton::KEYPOINT_MIRROR;

    /// A person who bends the right knee and lifts the right arm.
    fn motion() -> Motion {
        #[expect(clippy::cast_precision_loss, reason = "a few frames")]
        let pose = |frame: usize| {
            let lift = 0.5 - 0.5 * (frame as f32 * 0.1).cos();
            let mut pose = standing();
            pose[3] += Vec3::new(0.0, 0.22 * lift, -0.3 * lift);
            pose[15] += Vec3::new(-0.1, 0.25 * lift, 0.12 * lift);
            pose[16] += Vec3::new(-0.15, 0.5 * lift, 0.3 * lift);
            pose
        };
        Motion {
            id: "m".into(),
            subject: "s".into(),
            rate_hz: 30.0,
            actions: Vec::new(),
            joints_world_m: (0..90).map(pose).collect(),
        }
    }

    fn scenarios() -> Vec<Scenario> {
        Scenario::parse("angles.toml".into(), SHIPPED).unwrap()
    }

    #[test]
    fn the_shipped_cameras_show_what_they_are_named_after() {
        let still = Motion {
            joints_world_m: vec![standing(); 4],
            ..motion()
        };
        for scenario in scenarios() {
            for seed in 0..20 {
                let seen = stream(&scenario, "site", &[&still], seed).unwrap();
                let view = AngleView::of(&seen.moments[0].joints_camera_m, seen.mount.up());
                assert_eq!(view.unwrap().name(), scenario.name, "seed {seed}");
            }
        }
        // From behind, and a person who lies on a side.
        let site = stream(&scenarios()[0], "site", &[&still], 1).unwrap();
        let (joints, up) = (site.moments[0].joints_camera_m, site.mount.up());
        let mut behind = joints;
        behind.swap(1, 4);
        assert_eq!(AngleView::of(&behind, up), Some(AngleView::Behind));
        let mut lying = joints;
        lying[4] = lying[1] + up * 0.2;
        assert_eq!(AngleView::of(&lying, up), None);
    }

    #[test]
    fn bias_spread_and_coverage_are_those_of_the_differences() {
        let angle = |deg: f32, sigma_deg: f32| Angle {
            deg,
            sigma_deg,
            state: JointState::Measured,
        };
        let mut table = Table::default();
        // Knees: the left 3 too far, the right 1 too little, both straight; one is sure, one is not.
        let mut truth = [Angle::default(); ANGLES];
        (truth[4], truth[5]) = (angle(5.0, 0.0), angle(-2.0, 0.0));
        let mut found = truth;
        (found[4], found[5]) = (angle(8.0, 1.0), angle(-3.0, 1.0));
        table.take(Some(AngleView::Side), Some(&found), &truth);
        table.take(Some(AngleView::Side), None, &truth);
        let rows = rows(&[Method::Latent], &[table]);
        assert_eq!(rows.len(), 2, "from the side, and all");
        let row = &rows[0];
        assert_eq!((row.angle, row.view), ("knee_flexion", AngleView::Side));
        assert_eq!((row.count, row.straight), (2, 2));
        let near = |value: Option<f64>, want: f64| (value.unwrap() - want).abs() < 1e-6;
        assert!(near(row.bias_deg, 1.0) && near(row.sd_deg, 2.0), "{row:?}");
        assert!(near(row.coverage90, 0.5) && near(row.sigma_deg, 1.0));
        assert!(near(row.straight_bias_deg, 1.0));
        assert!((row.known_share - 0.5).abs() < 1e-6);
        assert!((turned(359.0) + 1.0).abs() < 1e-6);
    }

    /// What a camera behind a mirror sees.
    fn in_mirror(seen: &Detection, width_px: f32) -> Detection {
        let keypoints = KEYPOINT_MIRROR.map(|other| Keypoint {
            x_px: width_px - 1.0 - seen.keypoints[other].x_px,
            ..seen.keypoints[other]
        });
        Detection {
            bounds: BoxPx::around(&keypoints, VISIBILITY_GATE).unwrap(),
            keypoints,
            ..seen.clone()
        }
    }

    /// Angles before refinement, and as they are published.
    fn angles_of(followed: &heapless::Vec<Followed, PEOPLE_MAX>, up: Vec3) -> Option<[Angles; 2]> {
        let estimate = followed.first()?.estimate.as_ref()?;
        let joints = &estimate.stages.unrefined_m;
        let unrefined = angles(joints, &[0.0; JOINTS], &TRUE, Some(up));
        Some([unrefined, published(estimate, Some(up))])
    }

    /// Largest difference of an angle, degrees, between a stream and the same in a mirror: before refinement, as
    /// published, and as published of elbows; and how many were compared.
    fn apart(scenario: &Scenario) -> ([f32; 3], usize) {
        let config = EstimateConfig::default();
        let motion = motion();
        let stream = stream(scenario, "site", &[&motion], 3).unwrap();
        let calibration = &stream.calibration;
        let up = stream.mount.up();
        let mut runs = [(); 2].map(|()| MethodRun::open(&config, Method::Latent, 1).unwrap());
        let (mut most, mut compared) = ([0.0_f32; 3], 0);
        for moment in &stream.moments {
            let (width_px, _) = calibration.size_px();
            #[expect(clippy::cast_precision_loss, reason = "an image side")]
            let width_px = width_px as f32;
            let seen = moment.seen.iter().cloned().collect();
            let other = moment.seen.iter().map(|seen| in_mirror(seen, width_px));
            let other = other.collect();
            let own = runs[0].frame(moment.time, calibration, &seen);
            let other = runs[1].frame(moment.time, calibration, &other);
            let own = angles_of(&own, up);
            let other = angles_of(&other, up * Vec3::new(-1.0, 1.0, 1.0));
            assert_eq!(own.is_some(), other.is_some());
            let (Some(own), Some(other)) = (own, other) else {
                continue;
            };
            for (stage, (own, other)) in own.iter().zip(&other).enumerate() {
                for (angle, (own, other)) in own.iter().zip(mirrored(other)).enumerate() {
                    if let (Some(own), Some(other)) = (own.known(), other.known()) {
                        let is_elbow = ANGLE_NAMES[angle].ends_with("elbow_flexion");
                        let of = stage + usize::from(stage == 1 && is_elbow);
                        most[of] = most[of].max(turned(own - other).abs());
                        compared += 1;
                    }
                }
            }
        }
        (most, compared)
    }

    #[test]
    fn a_mirrored_view_of_mirrored_motion_gives_the_same_angles_with_sides_exchanged() {
        for scenario in scenarios() {
            let (most, compared) = apart(&scenario);
            assert!(compared > 1_000, "{}: {compared}", scenario.name);
            assert!(most[0] < 0.1, "{}: {most:?} degrees", scenario.name);
            // Steps of Adam are as long for a small gradient as for a large one, which may magnify small differences.
            assert!(most[1] < 2.0, "{}: {most:?} degrees", scenario.name);
            // What is taken off a nearly straight arm makes differences up to half as large again.
            assert!(most[2] < 4.0, "{}: {most:?} degrees", scenario.name);
        }
    }
}
