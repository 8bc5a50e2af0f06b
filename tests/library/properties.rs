//! What holds for every input.

use glam::{Mat3, Vec2, Vec3};
use poised::base::clock::MonoNs;
use poised::camera::rotate::{rotate_ray, rotation_facing};
use poised::camera::{Calibration, Distortion, Intrinsics, Origin};
use poised::pose::{BoxPx, Detection, Keypoint, People};
use poised::skeleton::KEYPOINTS;
use poised::track::{TrackConfig, TrackedPeople, Tracker};
use proptest::prelude::*;

fn lens() -> impl Strategy<Value = Distortion> {
    prop_oneof![
        Just(Distortion::None {}),
        (
            -0.45..0.3_f64,
            -0.2..0.3_f64,
            -0.003..0.003_f64,
            -0.003..0.003_f64,
            -0.05..0.05_f64
        )
            .prop_map(|(k1, k2, p1, p2, k3)| Distortion::PlumbBob { k1, k2, p1, p2, k3 }),
        (
            -0.1..0.1_f64,
            -0.03..0.03_f64,
            -0.01..0.01_f64,
            -0.003..0.003_f64
        )
            .prop_map(|(k1, k2, k3, k4)| Distortion::Equidistant { k1, k2, k3, k4 }),
        (
            // As of lenses that were measured: stronger ones fold far out, where two rays share a pixel.
            proptest::array::uniform3(-0.01..0.02_f64),
            proptest::array::uniform3(0.0..0.01_f64),
            proptest::array::uniform6(-0.0003..0.0003_f64)
        )
            .prop_map(|([k1, k2, k3], [k4, k5, k6], [p1, p2, s1, s2, s3, s4])| {
                Distortion::RationalPolynomial {
                    k1,
                    k2,
                    p1,
                    p2,
                    k3,
                    k4,
                    k5,
                    k6,
                    s1,
                    s2,
                    s3,
                    s4,
                }
            }),
    ]
}

/// A camera whose lens is usable; lenses that fold in the middle are refused at reading.
fn camera() -> impl Strategy<Value = Calibration> {
    (
        lens(),
        250.0..2000.0_f64,
        0.98..1.02_f64,
        280.0..360.0_f64,
        200.0..280.0_f64,
    )
        .prop_filter_map(
            "the lens folds over",
            |(lens, focal, ratio, cx_px, cy_px)| {
                let pinhole = Intrinsics {
                    fx_px: focal,
                    fy_px: focal * ratio,
                    cx_px,
                    cy_px,
                };
                Calibration::new((640, 480), pinhole, lens, Origin::Assumed).ok()
            },
        )
}

/// A detection as a broken network might give it: anything, now and then not a number.
fn detection() -> impl Strategy<Value = Detection> {
    let number = || prop_oneof![9 => -50.0..700.0_f32, 1 => Just(f32::NAN)];
    let confidence = prop_oneof![9 => 0.0..1.0_f32, 1 => Just(f32::NAN)];
    let keypoint = (number(), number(), confidence).prop_map(|(x_px, y_px, confidence)| Keypoint {
        x_px,
        y_px,
        confidence,
    });
    (
        0.0..1.0_f32,
        [number(), number(), number(), number()],
        prop::collection::vec(keypoint, KEYPOINTS),
    )
        .prop_map(|(score, [left, top, right, bottom], keypoints)| Detection {
            score,
            bounds: BoxPx {
                left,
                top,
                right,
                bottom,
            },
            keypoints: keypoints.try_into().expect("as many as asked for"),
            features: None,
        })
}

proptest! {
    /// Whatever comes in, ids rise within a frame, are never given twice to
    /// different runs of frames, and no person is made up.
    #[test]
    fn ids_rise_and_no_person_is_made_up(
        frames in prop::collection::vec(
            (prop::collection::vec(detection(), 0..=8), -20_i64..120), 1..25),
    ) {
        let mut tracker = Tracker::new(TrackConfig::default());
        let mut known = TrackedPeople::new();
        let mut time_ms = 10_000;
        let mut ended = 0;
        for (people, step_ms) in frames {
            time_ms += step_ms;
            let count = people.len();
            let people: People = people.into_iter().collect();
            tracker.update(MonoNs(u64::try_from(time_ms).unwrap() * 1_000_000), &people, &mut known);
            prop_assert!(known.len() <= count);
            for pair in known.windows(2) {
                prop_assert!(pair[0].id < pair[1].id);
            }
            let given = tracker.counters().confirmed;
            prop_assert!(known.iter().all(|person| u64::from(person.id) <= given));
            prop_assert!(given >= ended);
            ended = given;
        }
    }

    /// Whatever pixel has a ray, the ray lands on that pixel.
    #[test]
    fn a_ray_lands_on_its_pixel(camera in camera(), x in -100.0..740.0_f32, y in -100.0..580.0_f32) {
        if let Some(ray) = camera.ray(x, y) {
            prop_assert!(camera.in_field(ray));
            let back = camera.pixel(ray);
            prop_assert!((back - Vec2::new(x, y)).length() < 5e-3, "{ray} {back}");
        }
    }

    /// Undistorting takes back what distorting did, all over the field but its very edge.
    #[test]
    fn undistort_takes_back_distort(camera in camera(), share in 0.0..0.9_f64, turn in 0.0..6.3_f64) {
        let lens = camera.distortion();
        let field = lens.field();
        let radius = share * field.min(3.0);
        let ray = glam::DVec2::from_angle(turn) * radius;
        let back = lens.undistort(lens.distort(ray), field);
        prop_assert!(back.is_some_and(|back| (back - ray).length() < 1e-6), "{ray} {back:?}");
    }

    /// The rotation is one, brings the centre to the axis and commutes with projection.
    #[test]
    fn facing_is_a_rotation(
        cx in -3.0..3.0_f32, cy in -3.0..3.0_f32,
        x in -1.0..1.0_f32, y in -1.0..1.0_f32, z in 1.0..8.0_f32,
    ) {
        let rotation = rotation_facing(Vec2::new(cx, cy));
        prop_assert!((rotation * rotation.transpose()).abs_diff_eq(Mat3::IDENTITY, 1e-5));
        prop_assert!(rotate_ray(&rotation, Vec2::new(cx, cy)).length() < 1e-5);
        let point = Vec3::new(cx * z + x, cy * z + y, z);
        let turned = rotation * point;
        prop_assume!(turned.z > 0.2);
        let ray = rotate_ray(&rotation, point.truncate() / point.z);
        prop_assert!((ray - turned.truncate() / turned.z).length() < 1e-4);
    }

    /// A camera_info with anything put in anywhere is read or refused, never a panic,
    /// and what is read is usable.
    #[test]
    fn a_mutilated_camera_info_is_refused_or_sound(at in 0_usize..400, cut in 0_usize..40, put in ".{0,12}") {
        const WHOLE: &str = "image_width: 640\nimage_height: 480\ncamera_name: door\n\
            camera_matrix:\n  rows: 3\n  cols: 3\n\
            \x20 data: [430.5, 0, 306.7, 0,\n    430.5, 227.2, 0, 0, 1]  # K\n\
            distortion_model: plumb_bob\ndistortion_coefficients:\n  rows: 1\n  cols: 5\n\
            \x20 data: [-0.337, 0.11, -0.0006, 0.0019, 0]\n";
        let start = at.min(WHOLE.len());
        let end = (start + cut).min(WHOLE.len());
        let text = format!("{}{put}{}", &WHOLE[..start], &WHOLE[end..]);
        if let Ok(camera) = poised::camera::ros_yaml::parse(&text) {
            let k = camera.intrinsics();
            prop_assert!(k.fx_px > 0.0 && k.fy_px > 0.0 && camera.size_px().0 > 0);
            prop_assert!(camera.pixel(Vec2::ZERO).is_finite());
        }
        prop_assert!(poised::camera::ros_yaml::parse(WHOLE).is_ok());
    }
}
