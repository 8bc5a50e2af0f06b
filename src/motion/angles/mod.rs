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
use crate::skeleton::JOINTS;
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

/// One angle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Angle {
    /// Degrees; 0 where it is absent.
    pub deg: f32,
    /// Standard deviation, degrees, from the joints' own, taken as independent; 0 where it is absent.
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
    let sigmas_m = sigmas_m.map(f64::from);
    DEFINITIONS
        .each_ref()
        .map(|definition| one(definition, &mut body, &sigmas_m, states))
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
    sigmas_m: &[f64; JOINTS],
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
            form(body).map(|radians| (radians, numeric(definition, body, sigmas_m, form, radians)))
        }
        Form::Bend(chain) => define::bend(body, chain, chain.map(|joint| sigmas_m[joint])),
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

/// Standard deviation of an angle by its central differences, for joints whose errors are independent.
fn numeric(
    definition: &Definition,
    body: &mut Body,
    sigmas_m: &[f64; JOINTS],
    form: fn(&Body) -> Option<f64>,
    here: f64,
) -> f64 {
    let mut variance = 0.0;
    for &joint in definition.needs {
        let (place, error_m) = (body.joints[joint], sigmas_m[joint]);
        if error_m <= 0.0 {
            continue;
        }
        for axis in DVec3::AXES {
            // Just beside a place where it is not defined, the angle itself stands in for its neighbour.
            body.joints[joint] = place + STEP_M * axis;
            let above = form(body).unwrap_or(here);
            body.joints[joint] = place - STEP_M * axis;
            let below = form(body).unwrap_or(here);
            let slope = turn(above - below) / (2.0 * STEP_M);
            variance += (slope * error_m).powi(2);
        }
        body.joints[joint] = place;
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
