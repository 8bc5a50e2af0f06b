use super::figure::{self, Posture, joints, seen, up};
use super::*;

const SEEN: [JointState; JOINTS] = [JointState::Measured; JOINTS];
const SIGMAS: [f32; JOINTS] = [0.015; JOINTS];

fn of(posture: &Posture, heading_deg: f64, down_deg: f64) -> Angles {
    let joints = seen(&joints(posture), heading_deg, down_deg);
    angles(
        &joints,
        &[0.0; JOINTS],
        &SEEN,
        Some(up(heading_deg, down_deg)),
    )
}

fn place(name: &str) -> usize {
    ANGLE_NAMES.iter().position(|own| *own == name).unwrap()
}

fn is(angles: &Angles, name: &str, deg: f32) {
    let angle = angles[place(name)];
    let got = angle.known().unwrap_or_else(|| panic!("{name} is absent"));
    assert!((got - deg).abs() < 0.02, "{name}: {got}, not {deg}");
}

/// Bent everywhere, differently on each side.
fn bent() -> Posture {
    Posture {
        hip_flexion: [70.0, 20.0],
        hip_abduction: [15.0, 25.0],
        knee_flexion: [80.0, 10.0],
        shoulder_flexion: [60.0, -30.0],
        elbow_flexion: [90.0, 30.0],
        trunk_flexion: 25.0,
        neck_flexion: 15.0,
        ..Posture::default()
    }
}

#[test]
fn a_posed_figure_has_the_angles_it_was_posed_with_from_every_side() {
    for heading in [0.0, 37.0, 90.0, 180.0, 270.0] {
        for down in [0.0, 35.0] {
            let angles = of(&bent(), heading, down);
            is(&angles, "left_hip_flexion", 70.0);
            is(&angles, "right_hip_flexion", 20.0);
            is(&angles, "left_hip_abduction", 15.0);
            is(&angles, "right_hip_abduction", 25.0);
            is(&angles, "left_knee_flexion", 80.0);
            is(&angles, "right_knee_flexion", 10.0);
            is(&angles, "left_shoulder_flexion", 60.0);
            is(&angles, "right_shoulder_flexion", -30.0);
            is(&angles, "left_elbow_flexion", 90.0);
            is(&angles, "right_elbow_flexion", 30.0);
            is(&angles, "trunk_flexion", 25.0);
            is(&angles, "trunk_lateral_lean", 0.0);
            is(&angles, "neck_flexion", 15.0);
            let leans = Posture {
                trunk_lateral: 10.0,
                ..Posture::default()
            };
            is(&of(&leans, heading, down), "trunk_lateral_lean", 10.0);
            is(&of(&leans, heading, down), "trunk_flexion", 0.0);
        }
    }
}

#[test]
fn arms_overhead_and_beyond_do_not_jump() {
    let mut before = [f32::NAN; 4];
    for deg in -60..=220 {
        let raised = f64::from(deg);
        let forward = Posture {
            shoulder_flexion: [raised; 2],
            ..Posture::default()
        };
        let aside = Posture {
            shoulder_abduction: [raised; 2],
            ..Posture::default()
        };
        let (forward, aside) = (of(&forward, 20.0, 10.0), of(&aside, 20.0, 10.0));
        let now = [
            forward[place("left_shoulder_flexion")].deg,
            forward[place("right_shoulder_flexion")].deg,
            aside[place("left_shoulder_abduction")].deg,
            aside[place("right_shoulder_abduction")].deg,
        ];
        for (now, before) in now.into_iter().zip(before) {
            assert!(
                before.is_nan() || (now - before - 1.0).abs() < 0.02,
                "{before} {now}"
            );
        }
        assert!((now[0] - deg as f32).abs() < 0.02);
        before = now;
    }
}

#[test]
fn a_knee_bends_without_a_jump_from_beyond_straight_to_the_heel() {
    for rotation in [0.0_f64, 40.0, 90.0, -90.0] {
        let mut before: Option<f32> = None;
        for step in -30..=300 {
            let bend = f64::from(step) * 0.5;
            let mut joints = joints(&Posture::default());
            // The thigh turned about itself, as with the foot turned out.
            let shank = glam::DQuat::from_rotation_y(rotation.to_radians())
                * glam::DQuat::from_rotation_z(-bend.to_radians());
            joints[6] = joints[5] + shank * DVec3::new(0.0, -0.42, 0.0);
            let angles = angles(&seen(&joints, 10.0, 0.0), &[0.0; JOINTS], &SEEN, None);
            let now = angles[place("left_knee_flexion")].deg;
            if let Some(before) = before {
                // Within the smooth step the reading goes faster than the knee.
                assert!((now - before).abs() < 2.5, "{rotation}: {before} to {now}");
            }
            if rotation == 0.0 || bend > 50.0 {
                assert!(
                    (f64::from(now) - bend).abs() < 0.02,
                    "{rotation}: {bend} reads {now}"
                );
            }
            before = Some(now);
        }
    }
}

#[test]
fn a_mirrored_view_of_mirrored_motion_exchanges_the_sides() {
    let leans = Posture {
        trunk_lateral: 10.0,
        ..bent()
    };
    let joints = seen(&joints(&leans), 30.0, 20.0);
    let up = up(30.0, 20.0);
    let own = angles(&joints, &SIGMAS, &SEEN, Some(up));
    let other = angles(
        &figure::mirrored(&joints),
        &SIGMAS,
        &SEEN,
        Some(up * Vec3::new(-1.0, 1.0, 1.0)),
    );
    for (name, (own, other)) in ANGLE_NAMES.iter().zip(own.iter().zip(mirrored(&other))) {
        assert!(
            (own.deg - other.deg).abs() < 0.01,
            "{name}: {own:?} {other:?}"
        );
        assert!((own.sigma_deg - other.sigma_deg).abs() < 0.01, "{name}");
    }
}

/// Mean, spread and mean sigma of an angle over draws of the joints' errors, each its parent's and its own of `sigma_m`,
/// and its values.
fn drawn(posture: &Posture, sigma_m: f32, angle: usize) -> (f64, f64, f64, Vec<f64>) {
    let truth = seen(&joints(posture), 25.0, 10.0);
    let up = up(25.0, 10.0);
    let mut random = fastrand::Rng::with_seed(7);
    let mut normal = || (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
    let (mut values, mut sigma) = (Vec::new(), 0.0);
    for _ in 0..1500 {
        let (mut errors, mut variances) = ([Vec3::ZERO; JOINTS], [0.0; JOINTS]);
        for joint in 1..JOINTS {
            let own = sigma_m * Vec3::new(normal(), normal(), normal());
            errors[joint] = errors[PARENTS[joint]] + own;
            variances[joint] = variances[PARENTS[joint]] + sigma_m.powi(2);
        }
        let joints = std::array::from_fn(|joint| truth[joint] + errors[joint]);
        let all = angles(&joints, &variances.map(f32::sqrt), &SEEN, Some(up));
        if let Some(deg) = all[angle].known() {
            values.push(f64::from(deg));
            sigma += f64::from(all[angle].sigma_deg);
        }
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
    values.sort_by(f64::total_cmp);
    (mean, spread, sigma / count, values)
}

#[test]
fn sigmas_are_the_spread_of_the_angles() {
    let posture = Posture {
        shoulder_abduction: [30.0, 20.0],
        ..bent()
    };
    for (angle, name) in ANGLE_NAMES.iter().enumerate() {
        let (_, spread, sigma, values) = drawn(&posture, 0.012, angle);
        assert_eq!(values.len(), 1500, "{name}");
        let ratio = spread / sigma;
        assert!(
            (0.85..1.15).contains(&ratio),
            "{name}: {spread:.2} {sigma:.2}"
        );
    }
}

#[test]
fn a_straight_leg_has_no_bias_and_a_straight_arm_half_of_what_errors_make() {
    for sigma_m in [0.015, 0.03] {
        let (mean, ..) = drawn(&Posture::default(), sigma_m, place("left_knee_flexion"));
        assert!(mean.abs() < 0.5, "knee: {mean:.2}");
        let (mean, _, sigma, _) = drawn(&Posture::default(), sigma_m, place("right_elbow_flexion"));
        // Without the correction the mean is 1.25 sigma.
        assert!(mean < 0.7 * sigma, "elbow: {mean:.2} of {sigma:.2}");
    }
    let bent = Posture {
        elbow_flexion: [70.0; 2],
        ..Posture::default()
    };
    let (mean, ..) = drawn(&bent, 0.02, place("left_elbow_flexion"));
    assert!((mean - 70.0).abs() < 1.5, "{mean}");
}

#[test]
fn an_elbow_moves_at_most_half_as_far_again_as_its_joints() {
    let deg = |bend: f64| {
        let posture = Posture {
            elbow_flexion: [bend, 0.0],
            ..Posture::default()
        };
        let joints = seen(&joints(&posture), 0.0, 0.0);
        let all = super::angles(&joints, &[0.03; JOINTS], &SEEN, None);
        f64::from(all[place("left_elbow_flexion")].deg)
    };
    for step in 0..240 {
        let (from, to) = (f64::from(step) * 0.5, f64::from(step + 1) * 0.5);
        let slope = (deg(to) - deg(from)) / (to - from);
        assert!((-0.01..1.55).contains(&slope), "at {from}: {slope:.2}");
    }
}

#[test]
fn an_angle_is_as_well_known_as_the_worst_of_its_joints() {
    let joints = seen(&joints(&bent()), 0.0, 0.0);
    let mut states = SEEN;
    states[3] = JointState::Completed;
    states[13] = JointState::Absent;
    let angles = angles(&joints, &SIGMAS, &states, None);
    let state = |name| angles[place(name)].state;
    assert_eq!(state("right_knee_flexion"), JointState::Completed);
    assert_eq!(state("left_knee_flexion"), JointState::Measured);
    assert_eq!(state("left_elbow_flexion"), JointState::Absent);
    assert_eq!(state("left_shoulder_flexion"), JointState::Measured);
    // No mount, no gravity.
    assert_eq!(state("trunk_flexion"), JointState::Absent);
    assert_eq!(state("trunk_lateral_lean"), JointState::Absent);
}

#[test]
fn an_angle_about_the_axis_that_a_limb_lies_along_is_absent() {
    let posture = Posture {
        shoulder_abduction: [90.0, 70.0],
        ..Posture::default()
    };
    let angles = of(&posture, 0.0, 0.0);
    assert_eq!(angles[place("left_shoulder_flexion")].known(), None);
    is(&angles, "left_shoulder_abduction", 90.0);
    is(&angles, "right_shoulder_flexion", 0.0);
    // An arm of which nothing is known.
    let mut wild = [0.2; JOINTS];
    wild[13] = 0.4;
    let joints = seen(&joints(&bent()), 0.0, 0.0);
    let unsure = super::angles(&joints, &wild, &SEEN, None);
    assert_eq!(unsure[place("left_elbow_flexion")].known(), None);
    // All joints in one place, or nowhere.
    for place in [Vec3::ZERO, Vec3::NAN, Vec3::INFINITY] {
        let angles = super::angles(&[place; JOINTS], &SIGMAS, &SEEN, Some(Vec3::NEG_Y));
        assert!(
            angles.iter().all(|angle| angle.known().is_none()),
            "{place}"
        );
    }
    let wild = [f32::NAN; JOINTS];
    let some = super::angles(&joints, &wild, &SEEN, Some(Vec3::NEG_Y));
    assert!(some.iter().all(|angle| angle.known().is_none()));
}

#[test]
fn an_arm_that_is_folded_whole_reads_180_degrees() {
    let folded = Posture {
        elbow_flexion: [180.0, 0.0],
        ..Posture::default()
    };
    let angles = of(&folded, 20.0, 0.0);
    assert!((angles[place("left_elbow_flexion")].deg - 180.0).abs() < 0.1);
    // An error that makes it straighter than straight, or more than folded, changes nothing of that.
    let joints = seen(&joints(&folded), 20.0, 0.0);
    let mut sigmas = SIGMAS;
    sigmas[12] = 0.05;
    sigmas[13] = 0.12;
    let unsure = super::angles(&joints, &sigmas, &SEEN, None);
    let left = unsure[place("left_elbow_flexion")];
    assert!(
        (left.deg - 180.0).abs() < 0.1 && left.sigma_deg > 10.0,
        "{left:?}"
    );
}

#[test]
fn an_error_that_runs_down_a_limb_does_not_count_twice() {
    let joints = seen(&joints(&bent()), 0.0, 0.0);
    let sigma = |sigmas: [f32; JOINTS]| {
        super::angles(&joints, &sigmas, &SEEN, None)[place("left_knee_flexion")].sigma_deg
    };
    let mut outwards = [0.01; JOINTS];
    // Hip, knee and ankle of the left leg: the same error, and a little of their own.
    for (joint, sigma_m) in [(4, 0.05), (5, 0.052), (6, 0.054)] {
        outwards[joint] = sigma_m;
    }
    let apart = [0.01, 0.05, 0.052, 0.054].map(|sigma: f32| sigma.powi(2));
    let independent: f32 = (apart[1] + 2.0 * apart[2] + apart[3]).sqrt() / 0.43;
    assert!(sigma(outwards) < 0.6 * independent.to_degrees());
    assert!(sigma(outwards) > 1.0);
}
