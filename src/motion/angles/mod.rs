//! Joint angles of a pose: signed, on joint centres, each with a standard deviation and a state.
//!
//! ```text
//!  joints, sigmas, states, up ─▶ closed forms (define.rs) ─▶ 15 angles in degrees
//!                                 └▶ their derivatives ─▶ sigma of each
//! ```
//!
//! `docs/reference/angles.md` explains each definition. They follow the sequence of the ISB (Wu et al. 2002, 2005:
//! flexion about the body's left-to-right axis, then abduction), but joint centres are no segment frames: these are
//! angles between joint centres, not angles as the ISB defines them. The publisher, the exporters and the counter of
//! repetitions call [`angles`]; it touches no heap.

mod define;
pub mod figure;

use glam::{DVec3, Vec3};

use crate::pose::{JointState, PersonPose};
use crate::skeleton::{JOINTS, PARENTS};
use define::{Body, DEFINITIONS, Definition, Form};

/// Angles of a person.
pub const ANGLES: usize = 15;

/// Names of the angles, in the order of every `[_; ANGLES]` array and of the wire.
pub const ANGLE_NAMES: [&str; ANGLES] = [
    "left_hip_flexion",
    "right_hip_flexion",
    "left_hip_abduction",
    "right_hip_abduction",
    "left_knee_flexion",
    "right_knee_flexion",
    "left_shoulder_flexion",
    "right_shoulder_flexion",
    "left_shoulder_abduction",
    "right_shoulder_abduction",
    "left_elbow_flexion",
    "right_elbow_flexion",
    "trunk_flexion",
    "trunk_lateral_lean",
    "neck_flexion",
];

/// The same angle of the other side; angles of the middle are their own.
pub const ANGLE_MIRROR: [usize; ANGLES] = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13, 14];

/// Places of the trunk's angles in [`ANGLE_NAMES`].
pub const TRUNK_FLEXION: usize = 12;
/// Positive to the person's right: in a mirror it changes its sign.
pub const TRUNK_LATERAL_LEAN: usize = 13;

/// Step of the numeric derivatives, metres: far above the rounding of 64 bits, far below any bone.
const STEP_M: f64 = 1e-5;

/// Errors run along the body from the pelvis: a joint's error is its parent's and its own. The own one has the variance
/// by which the joint's is larger than its parent's, and at least this share of the joint's: what a bone adds is never
/// nothing.
const OWN_SHARE_MIN: f64 = 0.25;

/// Of each joint a bit for itself and for each joint beyond it.
const BEYOND: [u32; JOINTS] = {
    let mut beyond = [0; JOINTS];
    let mut joint = 0;
    while joint < JOINTS {
        let mut at = joint;
        loop {
            beyond[at] |= 1 << joint;
            if at == 0 {
                break;
            }
            at = PARENTS[at];
        }
        joint += 1;
    }
    beyond
};

/// One angle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Angle {
    /// Degrees; 0 where it is absent.
    pub deg: f32,
    /// Standard deviation, degrees, from those of the joints, whose errors are taken to run along the body; 0 where it
    /// is absent.
    pub sigma_deg: f32,
    /// Absent: a joint it needs is, or the angle is not defined in this posture. Completed: a joint it needs is.
    pub state: JointState,
}

impl Angle {
    /// The degrees, where it is not absent.
    pub fn known(&self) -> Option<f32> {
        (self.state != JointState::Absent).then_some(self.deg)
    }
}

/// All angles of a person, in the order of [`ANGLE_NAMES`].
pub type Angles = [Angle; ANGLES];

/// The angles of a person. `up` is against gravity, in the frame of the joints, of any length; without it the angles
/// of the trunk are absent.
///
/// ```
/// use glam::Vec3;
/// use poised::motion::angles::{angles, ANGLE_NAMES};
/// use poised::pose::JointState;
///
/// let absent = angles(&[Vec3::ZERO; 17], &[0.0; 17], &[JointState::Absent; 17], None);
/// assert_eq!(absent.len(), ANGLE_NAMES.len());
/// assert!(absent.iter().all(|angle| angle.known().is_none()));
/// ```
pub fn angles(
    joints: &[Vec3; JOINTS],
    sigmas_m: &[f32; JOINTS],
    states: &[JointState; JOINTS],
    up: Option<Vec3>,
) -> Angles {
    let mut body = Body {
        joints: joints.map(Vec3::as_dvec3),
        up: up.map(Vec3::as_dvec3),
    };
    let own_m = own_errors(&sigmas_m.map(f64::from));
    DEFINITIONS
        .each_ref()
        .map(|definition| one(definition, &mut body, &own_m, states))
}

/// Standard deviation, per axis, of what each joint adds to the error of its parent, metres.
pub(in crate::motion) fn own_errors(sigmas_m: &[f64; JOINTS]) -> [f64; JOINTS] {
    let mut own_m = *sigmas_m;
    for joint in 1..JOINTS {
        let variance = sigmas_m[joint].powi(2);
        let more = variance - sigmas_m[PARENTS[joint]].powi(2);
        own_m[joint] = more.max(OWN_SHARE_MIN * variance).sqrt();
    }
    own_m
}

/// The angles of a published pose; `up` as [`angles`] takes it, in the camera frame.
pub fn angles_of(person: &PersonPose, up: Option<Vec3>) -> Angles {
    angles(
        &person.joints_camera_m,
        &person.sigmas_m,
        &person.states,
        up,
    )
}

/// Joints that an angle is made of.
pub fn needs(angle: usize) -> &'static [usize] {
    DEFINITIONS[angle].needs
}

/// The person as a camera behind a mirror sees them: left and right exchanged.
pub fn mirrored(angles: &Angles) -> Angles {
    let mut other = ANGLE_MIRROR.map(|angle| angles[angle]);
    other[TRUNK_LATERAL_LEAN].deg = -other[TRUNK_LATERAL_LEAN].deg;
    other
}

fn one(
    definition: &Definition,
    body: &mut Body,
    own_m: &[f64; JOINTS],
    states: &[JointState; JOINTS],
) -> Angle {
    let mut state = JointState::Measured;
    for &joint in definition.needs {
        match states[joint] {
            JointState::Absent => return Angle::default(),
            JointState::Completed => state = JointState::Completed,
            JointState::Measured => {}
        }
    }
    let value = match definition.form {
        Form::Signed(form) => {
            form(body).map(|radians| (radians, numeric(definition, body, own_m, form, radians)))
        }
        Form::Bend(chain) => define::bend(body, chain, [own_m[chain[1]], own_m[chain[2]]]),
    };
    let Some((radians, sigma)) = value else {
        return Angle::default();
    };
    let deg = wrapped(radians.to_degrees(), definition.lowest_deg);
    let sigma_deg = sigma.to_degrees();
    #[expect(clippy::cast_possible_truncation, reason = "degrees")]
    let (deg, sigma_deg) = (deg as f32, sigma_deg as f32);
    if !deg.is_finite() || !sigma_deg.is_finite() {
        return Angle::default();
    }
    Angle {
        deg,
        sigma_deg,
        state,
    }
}

/// Standard deviation of an angle by its central differences. What a joint adds to the error moves all joints beyond it.
fn numeric(
    definition: &Definition,
    body: &mut Body,
    own_m: &[f64; JOINTS],
    form: fn(&Body) -> Option<f64>,
    here: f64,
) -> f64 {
    let joints = body.joints;
    let needs = definition
        .needs
        .iter()
        .fold(0, |all, joint| all | 1 << joint);
    let mut variance = 0.0;
    for (joint, &error_m) in own_m.iter().enumerate() {
        let moved = BEYOND[joint] & needs;
        // All of them together change no angle.
        if moved == 0 || moved == needs || error_m <= 0.0 {
            continue;
        }
        for axis in DVec3::AXES {
            let mut beside = |step_m: f64| {
                for &at in definition.needs {
                    if moved & 1 << at != 0 {
                        body.joints[at] = joints[at] + step_m * axis;
                    }
                }
                // Just beside a place where it is not defined, the angle itself stands in for its neighbour.
                form(body).unwrap_or(here)
            };
            let slope = turn(beside(STEP_M) - beside(-STEP_M)) / (2.0 * STEP_M);
            variance += (slope * error_m).powi(2);
        }
        body.joints = joints;
    }
    variance.sqrt()
}

/// The difference of two angles, radians, the short way round.
fn turn(radians: f64) -> f64 {
    radians - std::f64::consts::TAU * (radians / std::f64::consts::TAU).round()
}

/// The same angle from `lowest` up to a full turn above it.
fn wrapped(deg: f64, lowest: f64) -> f64 {
    lowest + (deg - lowest).rem_euclid(360.0)
}

const _: () = {
    let mut angle = 0;
    while angle < ANGLES {
        assert!(
            ANGLE_MIRROR[ANGLE_MIRROR[angle]] == angle,
            "mirroring twice is nothing"
        );
        angle += 1;
    }
};

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small counts and whole degrees")]
mod tests;
