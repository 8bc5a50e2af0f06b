//! The lifter around a backbone that a test can see through.

use std::slice::from_ref;

use glam::Vec2;

use super::head::tests::{file_of, random_tensors};
use super::*;
use crate::camera::{Mount, rotate};
use crate::pose::{BoxPx, Detection, Keypoint, SizeSource};

/// A standing body around the pelvis, both sides alike, directions of the camera frame, metres.
const BODY: [[f32; 3]; JOINTS] = [
    [0.0, 0.0, 0.0],
    [-0.12, 0.0, 0.0],
    [-0.13, 0.42, -0.05],
    [-0.13, 0.84, 0.05],
    [0.12, 0.0, 0.0],
    [0.13, 0.42, -0.05],
    [0.13, 0.84, 0.05],
    [0.0, -0.25, 0.02],
    [0.0, -0.5, 0.0],
    [0.0, -0.6, -0.05],
    [0.0, -0.72, -0.04],
    [0.17, -0.45, 0.0],
    [0.22, -0.18, 0.02],
    [0.24, 0.06, -0.08],
    [-0.17, -0.45, 0.0],
    [-0.22, -0.18, 0.02],
    [-0.24, 0.06, -0.08],
];

/// A head that says [`BODY`] whatever comes in.
fn constant_head() -> Arc<Head> {
    constant_head_with(false)
}

/// The same, where asked with an image layer that nothing comes of.
fn constant_head_with(image: bool) -> Arc<Head> {
    let mut tensors = random_tensors(2, image);
    for (name, (_, values)) in &mut tensors {
        match name.as_str() {
            "image.weight" => {}
            "joints.bias" => values.copy_from_slice(BODY.as_flattened()),
            "log_sigma.bias" => values.fill(0.03_f32.ln()),
            _ => values.fill(0.0),
        }
    }
    Arc::new(Head::from_safetensors(&file_of(&tensors)).unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "what a backbone returns")]
fn silent(_: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]) -> Result<(), ()> {
    features.fill(0.0);
    Ok(())
}

/// What the camera sees of [`BODY`] turned by the view's rotation, at `root_m`.
fn seen_at(calibration: &Calibration, id: u32, joints_m: &[Vec3; JOINTS]) -> TrackedPerson {
    let mut keypoints = [Keypoint::default(); KEYPOINTS];
    for (joint, keypoint) in SHARED {
        let point = joints_m[joint];
        let pixel = calibration.pixel(point.truncate() / point.z);
        keypoints[keypoint] = Keypoint::new(pixel.x, pixel.y, 0.9);
    }
    TrackedPerson {
        id,
        detection: Detection {
            score: 0.8,
            bounds: BoxPx::around(&keypoints, 0.2).unwrap(),
            keypoints,
            features: None,
        },
    }
}

fn body_at(root_m: Vec3) -> [Vec3; JOINTS] {
    BODY.map(|joint| root_m + Vec3::from(joint))
}

fn frame(number: u64) -> MonoNs {
    MonoNs(1_000_000_000 + number * 33_333_333)
}

#[test]
fn a_person_ahead_is_put_where_it_stands() {
    let camera = Calibration::assumed(640, 480);
    let mut lifter = Lifter::new(LiftConfig::default(), silent, constant_head());
    // Centred so that the rotation is next to nothing and the head's answer is the truth.
    let truth = body_at(Vec3::new(0.0, -0.19, 3.5));
    let mut last = None;
    for number in 0..40 {
        let person = seen_at(&camera, 4, &truth);
        last = Some(lifter.lift(frame(number), &camera, &person).unwrap());
    }
    let estimate = last.unwrap();
    for (joint, truth) in truth.iter().enumerate() {
        let apart = (estimate.joint_camera_m(joint) - truth).length();
        assert!(apart < 0.02, "{joint}: {apart} m");
    }
    assert!(estimate.root_sigma_m > 0.0 && estimate.root_sigma_m < 0.7);
    // No keypoint of the face is seen, so neck and head are not measured.
    let pose = person_pose(&seen_at(&camera, 4, &truth), Some(&estimate));
    for (joint, truth) in truth.iter().enumerate() {
        if joint == 9 || joint == 10 {
            assert_eq!(pose.states[joint], JointState::Absent);
            assert_eq!(pose.joints_camera_m[joint], Vec3::ZERO);
        } else {
            assert_eq!(pose.states[joint], JointState::Measured, "{joint}");
            assert!((pose.joints_camera_m[joint] - truth).length() < 0.02);
        }
    }
    assert_eq!(pose.id, 4);
}

#[test]
fn the_answer_is_turned_back_into_the_camera_frame() {
    let camera = Calibration::assumed(1280, 720);
    let mut lifter = Lifter::new(LiftConfig::default(), silent, constant_head());
    // The head says BODY in the frame that faces the person; so a person at the
    // side who is turned along with that frame must come out exactly.
    let centre = Vec2::new(0.45, 0.1);
    let rotation = rotate::rotation_facing(centre);
    let facing = body_at(Vec3::new(0.0, -0.05, 4.0));
    let truth = facing.map(|joint| rotation.transpose() * joint);
    let estimate = lifter
        .lift(frame(0), &camera, &seen_at(&camera, 1, &truth))
        .unwrap();
    for (joint, truth) in truth.iter().enumerate() {
        let apart = (estimate.joint_camera_m(joint) - truth).length();
        assert!(apart < 0.12, "{joint}: {apart} m");
    }
    // Without turning back the root would be 1.6 m off.
    assert!((estimate.root_camera_m - truth[0]).length() < 0.05);
}

#[test]
fn image_features_of_no_meaning_are_left_out() {
    let camera = Calibration::assumed(640, 480);
    let head = constant_head_with(true);
    let part_of = |norm: f32| {
        let mut lifter = Lifter::new(LiftConfig::default(), silent, Arc::clone(&head));
        let mut person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, -0.19, 3.5)));
        let mut features = [0.0; IMAGE_FEATURES];
        features[7] = norm;
        person.detection.features = Some(features);
        lifter.lift(frame(0), &camera, &person).unwrap().image_part
    };
    let counts = |part: [f32; HIDDEN]| part.iter().any(|number| number.abs() > 0.0);
    assert!(counts(part_of(0.9 * IMAGE_NORM_MAX)));
    assert!(!counts(part_of(1.1 * IMAGE_NORM_MAX)));
    assert!(!counts(part_of(f32::NAN)));
}

#[test]
fn with_too_little_seen_there_are_keypoints_but_no_pose() {
    let camera = Calibration::assumed(640, 480);
    let mut lifter = Lifter::new(LiftConfig::default(), silent, constant_head());
    let mut person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, 0.0, 3.0)));
    for keypoint in [7, 8, 9, 10, 13, 14, 15, 16, 12] {
        person.detection.keypoints[keypoint].visibility = 0.1;
    }
    let outcome = lifter.lift(frame(0), &camera, &person);
    assert_eq!(outcome.unwrap_err(), NoPose::TooFewSeen);
    let pose = person_pose(&person, None);
    assert_eq!(pose.keypoints, person.detection.keypoints);
    assert_eq!(pose.states, [JointState::Absent; JOINTS]);
}

#[test]
fn each_failure_says_what_it_was_and_the_next_frame_goes_on() {
    let camera = Calibration::assumed(640, 480);
    let fail = std::cell::Cell::new(0);
    let backbone = |_: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]| {
        features.fill(if fail.get() == 1 { f32::NAN } else { 0.0 });
        if fail.get() == 2 { Err(7_u8) } else { Ok(()) }
    };
    let mut lifter = Lifter::new(LiftConfig::default(), backbone, constant_head());
    let person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, 0.0, 3.0)));
    assert!(lifter.lift(frame(10), &camera, &person).is_ok());
    let outcome = lifter.lift(frame(9), &camera, &person);
    assert_eq!(outcome.unwrap_err(), NoPose::TimeStoodBack);
    fail.set(1);
    let outcome = lifter.lift(frame(11), &camera, &person);
    assert_eq!(outcome.unwrap_err(), NoPose::NotFinite);
    fail.set(2);
    let outcome = lifter.lift(frame(12), &camera, &person);
    assert_eq!(outcome.unwrap_err(), NoPose::Engine(7));
    fail.set(0);
    assert!(lifter.lift(frame(13), &camera, &person).is_ok());
    // A head whose body is inside out has no root before the camera.
    let mut inside_out = (*constant_head()).clone();
    inside_out
        .joints
        .bias
        .iter_mut()
        .for_each(|value| *value = -*value);
    let old = lifter.replace_head(Arc::new(inside_out));
    assert_eq!(old.tag, HeadTag::default());
    let outcome = lifter.lift(frame(14), &camera, &person);
    assert_eq!(outcome.unwrap_err(), NoPose::NoRoot);
}

#[test]
fn each_person_has_a_window_and_a_new_id_starts_empty() {
    let camera = Calibration::assumed(640, 480);
    let missing = std::cell::Cell::new(0);
    let backbone = |input: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]| {
        features.fill(0.0);
        let confidences = input.chunks(input::CHANNELS).map(|values| values[2]);
        // Left shoulder, sample by sample.
        let shoulders = confidences.skip(5).step_by(KEYPOINTS);
        missing.set(shoulders.filter(|confidence| *confidence < 0.1).count());
        Ok::<(), ()>(())
    };
    // Without refinement there is no second inference, in which left is right.
    let config = LiftConfig {
        refine: false,
        ..LiftConfig::default()
    };
    let mut lifter = Lifter::new(config, backbone, constant_head());
    let person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, 0.0, 3.0)));
    for number in 0..30 {
        assert!(lifter.lift(frame(number), &camera, &person).is_ok());
    }
    assert_eq!(missing.get(), 0);
    // Forty others come and go; each starts with one sample, and the first comes back empty.
    for id in 2..42 {
        let other = TrackedPerson {
            id,
            ..person.clone()
        };
        for other in from_ref(&other) {
            assert!(
                lifter
                    .lift(frame(u64::from(id) + 30), &camera, other)
                    .is_ok()
            );
        }
        assert_eq!(missing.get(), LIFT_SAMPLES - 1, "{id}");
    }
    assert!(lifter.lift(frame(90), &camera, &person).is_ok());
    assert_eq!(missing.get(), LIFT_SAMPLES - 1);
}

#[test]
fn smoothing_calms_the_distance() {
    let camera = Calibration::assumed(640, 480);
    let spread = |smooth| {
        let config = LiftConfig {
            smooth,
            ..LiftConfig::default()
        };
        let mut lifter = Lifter::new(config, silent, constant_head());
        let mut random = fastrand::Rng::with_seed(3);
        let mut sum = 0.0;
        for number in 0..150 {
            let mut person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, 0.0, 4.0)));
            for keypoint in &mut person.detection.keypoints {
                keypoint.x_px += 4.0 * (random.f32() - 0.5);
                keypoint.y_px += 4.0 * (random.f32() - 0.5);
            }
            let estimate = lifter.lift(frame(number), &camera, &person).unwrap();
            if number > 30 {
                sum += (estimate.root_camera_m.z - 4.0).powi(2);
            }
        }
        sum
    };
    let (smooth, rough) = (spread(true), spread(false));
    assert!(smooth < 0.6 * rough, "{smooth} {rough}");
}

#[test]
fn the_documented_section_is_read_and_bad_values_are_named() {
    #[derive(Deserialize)]
    struct File {
        lift: LiftConfig,
    }
    let text: String = include_str!("mod.rs")
        .lines()
        .skip_while(|line| *line != "/// ```toml")
        .skip(1)
        .take_while(|line| *line != "/// ```")
        .map(|line| line.trim_start_matches("///").trim_start().to_owned() + "\n")
        .collect();
    let config = toml::from_str::<File>(&text).unwrap().lift;
    config.validate().unwrap();
    assert_eq!(config, LiftConfig::default());
    let bad = text.replace("cutoff_per_speed = 2.0", "cutoff_per_speed = -1.0");
    let error = toml::from_str::<File>(&bad)
        .unwrap()
        .lift
        .validate()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("lift.smooth_distance.cutoff_per_speed = -1")
    );
    assert!(toml::from_str::<File>("[lift]\nimage = true").is_err());
    assert_eq!(
        LiftConfig::default(),
        toml::from_str::<LiftConfig>("").unwrap()
    );
}

/// A head with an image layer of which nothing comes, whose pose hangs on its features.
fn head_that_can_be_moved() -> Arc<Head> {
    let mut tensors = random_tensors(2, true);
    for (name, (_, values)) in &mut tensors {
        match name.as_str() {
            "image.weight" => values.fill(0.0),
            "joints.bias" => values.copy_from_slice(BODY.as_flattened()),
            "joints.weight" => values.iter_mut().for_each(|value| *value *= 0.1),
            "log_sigma.bias" => values.fill(0.03_f32.ln()),
            _ => {}
        }
    }
    Arc::new(Head::from_safetensors(&file_of(&tensors)).unwrap())
}

#[test]
fn with_refinement_the_pose_is_between_two_inferences_and_without_it_the_heads() {
    let camera = Calibration::assumed(640, 480);
    // Only the left arm is stretched out, and of that the head is less sure.
    let mut lopsided = body_at(Vec3::ZERO);
    lopsided[13] = Vec3::new(0.6, -0.4, -0.1);
    let sigmas_m: [f32; JOINTS] = std::array::from_fn(|j| if j == 13 { 0.09 } else { 0.03 });
    let mut tensors = random_tensors(2, true);
    for (name, (_, values)) in &mut tensors {
        match name.as_str() {
            "joints.bias" => values.copy_from_slice(&lopsided.map(|j| j.to_array()).concat()),
            "log_sigma.bias" => values.copy_from_slice(&sigmas_m.map(f32::ln)),
            _ => values.fill(0.0),
        }
    }
    let head = Arc::new(Head::from_safetensors(&file_of(&tensors)).unwrap());
    let wrists = |refine: bool, picture: bool| {
        let config = LiftConfig {
            refine,
            smooth: false,
            ..LiftConfig::default()
        };
        let mut person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, -0.19, 3.5)));
        person.detection.features = picture.then_some([0.05; IMAGE_FEATURES]);
        let mut lifter = Lifter::new(config, silent, Arc::clone(&head));
        let estimate = lifter.lift(frame(0), &camera, &person).unwrap();
        [13, 16].map(|joint| {
            let at = estimate.view.rotation * estimate.relative_camera_m[joint];
            (at, estimate.sigmas_m[joint])
        })
    };
    // Weights are zero, so rays move nothing: a share of the way to the mirrored other side is all there is.
    let between = |share: f32| {
        [(13, 16), (16, 13)].map(|(joint, opposite)| {
            let other_side = Vec3::new(-1.0, 1.0, 1.0) * lopsided[opposite];
            let sigma = sigmas_m[joint] + share * (sigmas_m[opposite] - sigmas_m[joint]);
            (lopsided[joint].lerp(other_side, share), sigma)
        })
    };
    for (refine, picture, share) in [
        (false, false, 0.0),
        (false, true, 0.0),
        (true, false, 0.5),
        (true, true, 0.5),
    ] {
        for (got, want) in wrists(refine, picture).into_iter().zip(between(share)) {
            assert!(
                (got.0 - want.0).length() < 1e-4,
                "{share}: {got:?}, want {want:?}"
            );
            assert!(
                (got.1 - want.1).abs() < 1e-5,
                "{share}: {got:?}, want {want:?}"
            );
        }
    }
}

#[test]
fn a_pose_says_how_it_came_to_be() {
    let camera = Calibration::assumed(640, 480);
    let head = head_that_can_be_moved();
    let standing = body_at(Vec3::new(0.0, -0.19, 3.5));
    let mut elsewhere = standing;
    elsewhere[13] += Vec3::new(0.15, -0.1, 0.0);
    let last = |refine: bool, smooth: bool| {
        let config = LiftConfig {
            refine,
            smooth,
            ..LiftConfig::default()
        };
        let mut lifter = Lifter::new(config, silent, Arc::clone(&head));
        let mut lift = |number, joints_m| {
            let person = seen_at(&camera, 1, joints_m);
            lifter.lift(frame(number), &camera, &person).unwrap()
        };
        for number in 0..20 {
            lift(number, &standing);
        }
        lift(20, &elsewhere)
    };
    let apart = |a: &[Vec3; JOINTS], b: &[Vec3; JOINTS]| (a[13] - b[13]).length();
    let plain = last(false, false);
    assert_eq!(plain.stages.unsmoothed_m, plain.relative_camera_m);
    assert_eq!(plain.stages.unrefined_m, plain.relative_camera_m);
    assert_eq!(plain.stages.apart_m, [Vec3::ZERO; JOINTS]);
    assert!(!plain.stages.picture && !plain.stages.refined);
    let refined = last(true, false).stages;
    assert!(refined.refined);
    assert!(apart(&refined.unrefined_m, &refined.unsmoothed_m) > 1e-3);
    let late = last(true, true);
    assert!(apart(&late.stages.unsmoothed_m, &late.relative_camera_m) > 1e-3);
    assert!(apart(&late.stages.unsmoothed_m, &refined.unsmoothed_m) < 1e-6);
}

#[test]
fn the_backbone_runs_once_more_for_the_mirror_and_may_fail_there() {
    let camera = Calibration::assumed(640, 480);
    let person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, -0.19, 3.5)));
    let runs = std::cell::Cell::new(0);
    let fails_at = std::cell::Cell::new(0);
    let lift = |refine: bool| {
        let backbone = |_: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]| {
            runs.set(runs.get() + 1);
            features.fill(0.0);
            if runs.get() == fails_at.get() {
                return Err(7_u8);
            }
            Ok(())
        };
        runs.set(0);
        let config = LiftConfig {
            refine,
            ..LiftConfig::default()
        };
        let outcome =
            Lifter::new(config, backbone, constant_head()).lift(frame(0), &camera, &person);
        (runs.get(), outcome.err())
    };
    assert_eq!(lift(false), (1, None));
    assert_eq!(lift(true), (2, None));
    fails_at.set(2);
    assert_eq!(lift(true), (2, Some(NoPose::Engine(7))));
}

#[test]
fn a_size_scales_lengths_and_adds_its_own_uncertainty() {
    let camera = Calibration::assumed(640, 480);
    let mut lifter = Lifter::new(LiftConfig::default(), silent, head_that_can_be_moved());
    let mut person = seen_at(&camera, 1, &body_at(Vec3::new(0.3, -0.19, 3.5)));
    person.detection.keypoints[9].x_px += 5.0;
    let before = lifter.lift(frame(0), &camera, &person).unwrap();
    let mut after = before.clone();
    after.size = Size {
        factor: 1.25,
        sigma: 0.1,
        source: SizeSource::Floor,
    };
    after.scale();
    let near = |got: Vec3, want: Vec3| assert!((got - want).length() < 1e-5, "{got} {want}");
    near(after.root_camera_m, 1.25 * before.root_camera_m);
    let size_m = 0.1 * after.root_camera_m.z;
    let fit_m = 1.25 * before.root_sigma_m;
    let want = (fit_m * fit_m + size_m * size_m).sqrt();
    assert!((after.root_sigma_m - want).abs() < 1e-5);
    for joint in 0..JOINTS {
        near(
            after.relative_camera_m[joint],
            1.25 * before.relative_camera_m[joint],
        );
        assert!((after.sigmas_m[joint] - 1.25 * before.sigmas_m[joint]).abs() < 1e-6);
        for part in [
            |stages: &Stages| stages.unrefined_m,
            |stages: &Stages| stages.unsmoothed_m,
            |stages: &Stages| stages.apart_m,
        ] {
            near(
                part(&after.stages)[joint],
                1.25 * part(&before.stages)[joint],
            );
        }
    }
    assert_eq!(after.stages.refined, before.stages.refined);
}

#[test]
fn two_shoulders_and_an_arm_are_enough_for_a_pose() {
    let camera = Calibration::assumed(640, 480);
    for (seen, enough) in [(&[5, 6, 7, 9][..], true), (&[5, 6, 7], false)] {
        let mut lifter = Lifter::new(LiftConfig::default(), silent, constant_head());
        let mut person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, 0.0, 3.0)));
        for (keypoint, of) in person.detection.keypoints.iter_mut().enumerate() {
            if !seen.contains(&keypoint) {
                of.visibility = 0.1;
            }
        }
        let outcome = lifter.lift(frame(0), &camera, &person);
        assert_eq!(outcome.is_ok(), enough, "{seen:?}");
    }
}

#[test]
fn image_features_are_used_where_head_and_person_have_them_and_all_of_them_count() {
    let camera = Calibration::assumed(640, 480);
    let lift = |image: bool, features: Option<f32>| {
        let mut person = seen_at(&camera, 1, &body_at(Vec3::new(0.0, -0.19, 3.5)));
        // All numbers alike: 128 of 0.17 have a norm of 1.92, of 0.18 one of 2.04.
        person.detection.features = features.map(|number| [number; IMAGE_FEATURES]);
        let head = constant_head_with(image);
        let mut lifter = Lifter::new(LiftConfig::default(), silent, head);
        let estimate = lifter.lift(frame(0), &camera, &person).unwrap();
        let adds = estimate.image_part.iter().any(|part| part.abs() > 0.0);
        (estimate.stages.picture, adds)
    };
    assert_eq!(lift(true, Some(0.17)), (true, true));
    assert_eq!(lift(true, Some(-0.17)), (true, true));
    assert_eq!(lift(true, Some(0.18)), (false, false));
    assert_eq!(lift(true, None), (false, false));
    assert_eq!(lift(false, Some(0.17)), (false, false));
}

#[test]
fn after_a_gap_refinement_begins_at_the_own_pose_again() {
    let camera = Calibration::assumed(640, 480);
    let standing = body_at(Vec3::new(0.0, -0.19, 3.5));
    let mut elsewhere = standing;
    elsewhere[13] += Vec3::new(0.15, -0.1, 0.0);
    let person = seen_at(&camera, 1, &elsewhere);
    let moved_after = |gap_ns: u64| {
        let config = LiftConfig {
            smooth: false,
            ..LiftConfig::default()
        };
        let mut lifter = Lifter::new(config, silent, head_that_can_be_moved());
        for number in 0..20 {
            assert!(lifter.lift(frame(number), &camera, &person).is_ok());
        }
        let time = MonoNs(frame(19).0 + gap_ns);
        let stages = lifter.lift(time, &camera, &person).unwrap().stages;
        (stages.unrefined_m[13] - stages.unsmoothed_m[13]).length()
    };
    let (bridged, gap) = (moved_after(250_000_000), moved_after(250_000_001));
    assert!(gap < 0.7 * bridged, "{gap} {bridged}");
}

#[test]
fn the_root_is_smoothed_along_its_line_of_sight_and_joints_around_it() {
    let camera = Calibration::assumed(640, 480);
    let config = |smooth: bool| LiftConfig {
        smooth,
        refine: false,
        ..LiftConfig::default()
    };
    let mut smooth = Lifter::new(config(true), silent, constant_head());
    let mut rough = Lifter::new(config(false), silent, constant_head());
    let (mut distance, mut wrist) = (OneEuro::<1>::default(), OneEuro::<3>::default());
    let of = config(true);
    for number in 0..20_u16 {
        let time = frame(u64::from(number));
        let along = 0.05 * f32::from(number);
        let body = body_at(Vec3::new(1.0 - along, -0.19, 3.0 + along));
        let person = seen_at(&camera, 1, &body);
        let [got, raw] =
            [&mut smooth, &mut rough].map(|lifter| lifter.lift(time, &camera, &person).unwrap());
        let root_m = raw.root_camera_m;
        let [far_m] = distance.step(&of.smooth_distance, time, [root_m.length()], 1.0);
        let want = far_m * root_m.normalize();
        assert!((got.root_camera_m - want).length() < 1e-5, "{number}");
        let joint = raw.relative_camera_m[13].to_array();
        let want = Vec3::from(wrist.step(&of.smooth_joints, time, joint, 1.0));
        assert!(
            (got.relative_camera_m[13] - want).length() < 1e-6,
            "{number}"
        );
    }
}

#[test]
fn over_a_floor_feet_that_are_seen_say_how_large_a_person_is() {
    let truth = body_at(Vec3::new(0.0, -0.19, 3.5));
    // The ankles of BODY are 0.65 m below the camera; the floor is 0.8 m.
    let mount = Mount {
        height_m: 0.8,
        down_deg: 0.0,
        roll_deg: 0.0,
    };
    let camera = Calibration::assumed(640, 480).with_mount(mount).unwrap();
    for (feet, source) in [(true, SizeSource::Floor), (false, SizeSource::Guess)] {
        let mut lifter = Lifter::new(LiftConfig::default(), silent, constant_head());
        let mut person = seen_at(&camera, 1, &truth);
        if !feet {
            person.detection.keypoints[15].visibility = 0.1;
        }
        let mut last = None;
        for number in 0..90 {
            last = Some(lifter.lift(frame(number), &camera, &person).unwrap());
        }
        let estimate = last.unwrap();
        assert_eq!(estimate.size.source, source);
        let lower = estimate.joint_camera_m(3).y;
        let pose = person_pose(&person, Some(&estimate));
        assert_eq!(pose.size, estimate.size);
        // An ankle is 85 mm high, of which the guess takes a little back.
        let want = if feet { 0.8 - 0.085 } else { 0.65 };
        assert!((lower - want).abs() < 0.03, "{source:?}: {lower}");
    }
}

#[test]
fn an_id_keeps_its_place_and_a_new_one_takes_a_free_one_or_the_oldest() {
    let at = |id: u32, seen: u64| (Some(id), Some(MonoNs(seen)));
    let full = [at(3, 50), at(4, 20), at(6, 90)];
    assert_eq!(place_of(full.into_iter(), 6), (2, false));
    assert_eq!(place_of(full.into_iter(), 9), (1, true));
    let free = [at(3, 50), at(4, 20), (None, None)];
    assert_eq!(place_of(free.into_iter(), 4), (1, false));
    assert_eq!(place_of(free.into_iter(), 9), (2, true));
}
