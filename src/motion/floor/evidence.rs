//! What one frame says: how likely a person's trunk is on the floor.
//!
//! With `h` the height above the floor of the higher end of the trunk, `e` the elevation of its axis, and `x` how far
//! that end is above the lowest joint of the body,
//!
//! ```text
//! p = P(h < limit) P(e < flat) P(x < extent)
//! ```
//!
//! all under normal errors: of the joints, of the distance, of how the camera hangs. The first tells the floor from a
//! sofa and is the least sure, since it needs the distance; the others need only the shape of the body, and tell
//! lying from sitting, crouching, crawling and push-ups.

use glam::{Quat, Vec2, Vec3};

use crate::camera::Mount;
use crate::pose::{JointState, PersonPose, SizeSource};
use crate::skeleton::JOINTS;

const PELVIS: usize = 0;
const THORAX: usize = 8;
const HEAD: usize = 10;

/// COCO keypoints at the ends of the trunk: shoulders and hips.
const TRUNK_KEYPOINTS: [usize; 4] = [5, 6, 11, 12];

/// The higher end of the trunk of a person who lies on the floor is below this, metres. In recorded motion of people
/// who lie on the floor it is at 0.1 to 0.3, of those who crouch or kneel above 0.55.
const LIMIT_M: f32 = 0.5;

/// The higher end of the trunk of a person who lies is less than this above the lowest joint, metres: simulated cameras
/// see 0.08 to 0.2 in nine of ten frames of people who lie, and 0.2 to 0.5 in push-ups.
const EXTENT_M: f32 = 0.3;

/// Standard deviation of that, metres.
const EXTENT_SIGMA_M: f32 = 0.05;

/// The trunk's axis of a person who lies rises by less than this, radians: half of a right angle.
const FLAT_RAD: f32 = std::f32::consts::FRAC_PI_4;

/// Standard deviation of the elevation of a trunk beside what its joints say, radians: simulated cameras show it within
/// 10 degrees in nine of ten frames of people who lie.
const ELEVATION_SIGMA: f32 = 0.15;

/// Relative standard deviation of the size of a person who was never seen standing, against the lifter's guess: that of
/// the sizes that feet on the floor tell of adults in recorded motion.
const UNKNOWN_SIZE_SIGMA: f32 = 0.08;

/// The same of a person who was.
const STANDING_SIZE_SIGMA: f32 = 0.05;

/// Standard deviation of how high a camera is said to hang, relative.
const HEIGHT_SIGMA: f32 = 0.03;

/// Standard deviation of how far down it is said to look, radians: one degree.
const TILT_SIGMA: f32 = 0.017;

/// Log odds of one frame stay within: one frame is never surer than 1 in 150.
const LOG_ODDS_MAX: f32 = 5.0;

/// A trunk shorter than this has no direction, metres.
const AXIS_M_MIN: f32 = 0.05;

/// The floor below a camera.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground {
    up_camera: Vec3,
    to_floor: Quat,
    height_m: f32,
}

/// What one frame says of a person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Evidence {
    /// Log odds of the trunk being on the floor.
    pub log_odds: f32,
    /// Where the trunk is: metres along the floor before the camera, and to its left.
    pub place_m: Vec2,
    /// Elevation of the trunk's axis, radians: how upright a person is.
    pub elevation: f32,
    /// Height of the higher end of the trunk above the floor, metres, and its standard deviation.
    pub height_m: [f32; 2],
    /// That height of a person as large as the pose has them, metres.
    pub own_height_m: f32,
}

impl Ground {
    pub fn of(mount: &Mount) -> Self {
        Self {
            up_camera: mount.up(),
            to_floor: mount.to_floor(),
            height_m: mount.height_m,
        }
    }

    /// What a pose says, if enough of the trunk is measured: the thorax, and pelvis or head. `standing` is how large
    /// the person was, against the lifter's guess, when they last stood on the floor.
    ///
    /// A size that is taken from the feet of a person who lies is no evidence: feet on a sofa would put the sofa on the
    /// floor.
    pub fn evidence(&self, person: &PersonPose, standing: Option<f32>) -> Option<Evidence> {
        let measured = |joint: usize| person.states[joint] == JointState::Measured;
        if !measured(THORAX) {
            return None;
        }
        let (low, high) = match (measured(PELVIS), measured(HEAD)) {
            (true, _) => (PELVIS, THORAX),
            (false, true) => (THORAX, HEAD),
            (false, false) => return None,
        };
        let scale = standing.unwrap_or(1.0) / person.size.factor;
        let [a, b] = [low, high].map(|joint| scale * person.joints_camera_m[joint]);
        let [height_a, height_b] = [a, b].map(|at| self.height_m + at.dot(self.up_camera));
        let (height_m, higher) = if height_b > height_a {
            (height_b, high)
        } else {
            (height_a, low)
        };
        let axis = b - a;
        let length = axis.length();
        if length.is_nan() || length < AXIS_M_MIN || !height_m.is_finite() {
            return None;
        }
        let elevation = (axis.dot(self.up_camera) / length).clamp(-1.0, 1.0).asin();
        let sigma_m = self.height_sigma(person, scale, standing.is_some(), higher);
        let ends = person.sigmas_m[low].hypot(person.sigmas_m[high]);
        let elevation_sigma = (scale * ends / length)
            .hypot(ELEVATION_SIGMA)
            .hypot(TILT_SIGMA);
        let below = normal_below((LIMIT_M - height_m) / sigma_m);
        let flat = normal_below((FLAT_RAD - elevation) / elevation_sigma);
        let lowest_m = (0..JOINTS)
            .filter(|joint| measured(*joint))
            .map(|joint| self.height_m + scale * person.joints_camera_m[joint].dot(self.up_camera))
            .fold(height_m, f32::min);
        let shallow = normal_below((EXTENT_M - (height_m - lowest_m)) / EXTENT_SIGMA_M);
        let place = self.to_floor * (0.5 * (a + b));
        let evidence = Evidence {
            log_odds: log_odds(below * flat * shallow),
            place_m: place.truncate(),
            elevation,
            height_m: [height_m, sigma_m],
            own_height_m: self.height_m + person.joints_camera_m[higher].dot(self.up_camera),
        };
        // One number that is none would stay in the mean.
        (evidence.log_odds.is_finite() && evidence.place_m.is_finite()).then_some(evidence)
    }

    /// Standard deviation of the height of a joint above the floor, metres.
    fn height_sigma(&self, person: &PersonPose, scale: f32, known: bool, joint: usize) -> f32 {
        let root = scale * person.root_camera_m;
        let distance = root.length().max(AXIS_M_MIN);
        // The pose's own size was undone, and its error with it.
        let size_m = person.size.sigma * person.root_camera_m.z;
        let depth_m = (person.root_sigma_m.powi(2) - size_m * size_m)
            .max(0.0)
            .sqrt();
        let size_sigma = if known {
            STANDING_SIZE_SIGMA
        } else {
            UNKNOWN_SIZE_SIGMA
        };
        let along_m = (scale * depth_m).hypot(size_sigma * distance);
        let drop = root.dot(self.up_camera) / distance;
        let aside_m = distance * (1.0 - drop * drop).max(0.0).sqrt();
        (along_m * drop)
            .hypot(scale * person.sigmas_m[joint])
            .hypot(HEIGHT_SIGMA * self.height_m)
            .hypot(TILT_SIGMA * aside_m)
    }
}

/// The size of a person who stands, where the floor tells it.
///
/// Judged as large as the pose has them: a child taken for an adult would never stand high enough to be seen as one.
pub(super) fn standing_size(person: &PersonPose, evidence: &Evidence) -> Option<f32> {
    /// The trunk of an average adult who stands or walks rises by more than this, radians, and its higher end is above
    /// this height, metres.
    const STANDING: (f32, f32) = (1.0, 0.9);
    let factor = person.size.factor;
    let stands = evidence.elevation > STANDING.0 && evidence.own_height_m > STANDING.1 * factor;
    (stands && person.size.source == SizeSource::Floor).then_some(factor)
}

/// The middle of a person's trunk in the image, pixels: of the shoulders and hips that are seen, else of the box.
pub(super) fn trunk_px(person: &PersonPose) -> Vec2 {
    let seen = TRUNK_KEYPOINTS.map(|place| person.keypoints[place]);
    let (mut sum, mut count) = (Vec2::ZERO, 0.0);
    for keypoint in seen.iter().filter(|keypoint| keypoint.is_seen()) {
        sum += Vec2::new(keypoint.x_px, keypoint.y_px);
        count += 1.0;
    }
    if count > 0.0 {
        sum / count
    } else {
        person.bounds.centre().into()
    }
}

/// Chance of a standard normal number below `z`, within 0.01: the logistic function that is nearest.
fn normal_below(z: f32) -> f32 {
    1.0 / (1.0 + (-1.702 * z).exp())
}

/// Log odds of a chance, bounded.
fn log_odds(chance: f32) -> f32 {
    let odds = chance / (1.0 - chance).max(f32::MIN_POSITIVE);
    odds.ln().clamp(-LOG_ODDS_MAX, LOG_ODDS_MAX)
}

/// The chance of log odds.
pub(super) fn chance(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}
