//! What an exercise can be counted by: the joint angles, and how far limbs are raised.
//!
//! The elevation of a limb does not ask in which direction it is raised, nor how the trunk is held: an angle of two
//! joints and gravity, where a flexion has up to six joints. What it gains is in docs/reference/exercises.md.

use glam::Vec3;

use crate::motion::angles::{
    ANGLE_NAMES, ANGLES, Angle, Angles, needs as needs_of_angle, own_errors,
};
use crate::pose::{JointState, PersonPose};

/// Signals of a person: the angles, then the elevations.
pub const SIGNALS: usize = ANGLES + ELEVATIONS.len();

/// All signals of a person, in the order of [`SIGNAL_NAMES`].
pub type Signals = [Angle; SIGNALS];

/// Each limb that is raised, with the joints at its upper and its lower end.
const ELEVATIONS: [(&str, [usize; 2]); 6] = [
    ("left_thigh_elevation", [4, 5]),
    ("right_thigh_elevation", [1, 2]),
    ("left_upper_arm_elevation", [11, 12]),
    ("right_upper_arm_elevation", [14, 15]),
    ("left_forearm_elevation", [12, 13]),
    ("right_forearm_elevation", [15, 16]),
];

/// Names of the signals, in the order of every [`Signals`].
pub const SIGNAL_NAMES: [&str; SIGNALS] = {
    let mut names = [""; SIGNALS];
    let mut at = 0;
    while at < SIGNALS {
        names[at] = if at < ANGLES {
            ANGLE_NAMES[at]
        } else {
            ELEVATIONS[at - ANGLES].0
        };
        at += 1;
    }
    names
};

/// A limb is no direction below this length, metres.
const LENGTH_MIN_M: f32 = 1e-3;

/// All signals of a person: their `angles`, and the elevations of their limbs, degrees from hanging straight down (0) over
/// level (90) to straight up (180). `up` is against gravity, in the frame of the joints; without it the camera is taken
/// to be level.
pub fn signals_of(person: &PersonPose, angles: &Angles, up: Option<Vec3>) -> Signals {
    let up = up.unwrap_or(Vec3::NEG_Y).normalize_or(Vec3::NEG_Y);
    let own_m = own_errors(&person.sigmas_m.map(f64::from));
    let mut signals = [Angle::default(); SIGNALS];
    signals[..ANGLES].copy_from_slice(angles);
    for (signal, (_, [above, below])) in signals[ANGLES..].iter_mut().zip(ELEVATIONS) {
        let state = match [person.states[above], person.states[below]] {
            [JointState::Absent, _] | [_, JointState::Absent] => continue,
            [JointState::Measured, JointState::Measured] => JointState::Measured,
            _ => JointState::Completed,
        };
        let limb = person.joints_camera_m[below] - person.joints_camera_m[above];
        let length = limb.length();
        if length.is_nan() || length < LENGTH_MIN_M {
            continue;
        }
        let raised = limb.dot(up);
        #[expect(clippy::cast_possible_truncation, reason = "metres of a limb")]
        let own_m = own_m[below] as f32;
        *signal = Angle {
            deg: (limb - raised * up).length().atan2(-raised).to_degrees(),
            sigma_deg: (own_m / length).to_degrees(),
            state,
        };
    }
    signals
}

/// Joints that a signal is made of.
pub fn needs(signal: usize) -> &'static [usize] {
    match signal.checked_sub(ANGLES) {
        None => needs_of_angle(signal),
        Some(elevation) => &ELEVATIONS[elevation].1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::angles::angles_of;
    use crate::motion::angles::figure::{Posture, joints, seen, up};
    use crate::motion::exercise::tests::person;

    fn place(name: &str) -> usize {
        SIGNAL_NAMES.iter().position(|own| *own == name).unwrap()
    }

    fn of(person: &PersonPose, up: Option<Vec3>) -> Signals {
        signals_of(person, &angles_of(person, up), up)
    }

    #[test]
    fn a_limb_is_as_high_from_every_side() {
        let posture = Posture {
            hip_flexion: [80.0, 0.0],
            shoulder_flexion: [0.0, 150.0],
            shoulder_abduction: [45.0, 0.0],
            elbow_flexion: [0.0, 30.0],
            ..Posture::default()
        };
        for heading_deg in [0.0, 45.0, 90.0, 200.0] {
            for down_deg in [0.0, 35.0] {
                let mut person = person(1);
                person.joints_camera_m = seen(&joints(&posture), heading_deg, down_deg);
                let signals = of(&person, Some(up(heading_deg, down_deg)));
                for (name, deg) in [
                    ("left_thigh_elevation", 80.0),
                    ("right_thigh_elevation", 0.0),
                    ("left_upper_arm_elevation", 45.0),
                    ("right_upper_arm_elevation", 150.0),
                    ("left_forearm_elevation", 45.0),
                    ("right_forearm_elevation", 180.0),
                ] {
                    let found = signals[place(name)].deg;
                    assert!(
                        (found - deg).abs() < 0.1,
                        "{name} {found}, {heading_deg} {down_deg}"
                    );
                }
            }
        }
    }

    #[test]
    fn without_a_mount_the_camera_is_taken_to_be_level() {
        let mut person = person(1);
        person.joints_camera_m = seen(&joints(&Posture::default()), 30.0, 20.0);
        let thigh = place("left_thigh_elevation");
        assert!((of(&person, None)[thigh].deg - 20.0).abs() < 0.1);
        // Of any length, and nothing is no direction.
        let up = up(30.0, 20.0);
        assert!(of(&person, Some(5.0 * up))[thigh].deg < 0.1);
        assert!((of(&person, Some(Vec3::ZERO))[thigh].deg - 20.0).abs() < 0.1);
    }

    #[test]
    fn an_elevation_is_known_as_its_joints_are_and_its_sigma_is_that_of_the_lower_end() {
        let mut person = person(1);
        person.joints_camera_m = seen(&joints(&Posture::default()), 0.0, 0.0);
        let [thigh, arm] = ["left_thigh_elevation", "left_upper_arm_elevation"].map(place);
        // The knee adds sqrt(0.05^2 - 0.03^2) = 0.04 m to a thigh of 0.43 m.
        (person.sigmas_m[4], person.sigmas_m[5]) = (0.03, 0.05);
        let sigma_deg = of(&person, None)[thigh].sigma_deg;
        assert!((sigma_deg - (0.04_f32 / 0.43).to_degrees()).abs() < 0.01);
        person.states[5] = JointState::Completed;
        person.states[11] = JointState::Absent;
        let signals = of(&person, None);
        assert_eq!(signals[thigh].state, JointState::Completed);
        assert_eq!(signals[arm], Angle::default());
        person.joints_camera_m[5] = person.joints_camera_m[4];
        assert_eq!(of(&person, None)[thigh], Angle::default());
        person.joints_camera_m[5].x = f32::NAN;
        assert_eq!(of(&person, None)[thigh], Angle::default());
        // Angles come first, as they are.
        assert_eq!(of(&person, None)[..ANGLES], angles_of(&person, None));
    }

    #[test]
    fn a_signal_is_made_of_the_joints_at_its_ends() {
        assert_eq!(needs(place("right_forearm_elevation")), [15, 16]);
        assert_eq!(needs(4), needs_of_angle(4));
    }
}
