//! What holds for every input.

use std::path::Path;

use glam::{Mat3, Vec2, Vec3};
use poised::base::clock::MonoNs;
use poised::camera::rotate::{rotate_ray, rotation_facing};
use poised::camera::{Calibration, Distortion, Intrinsics, Mount, Origin};
use poised::motion::dictionary::{Dictionary, NewEntry};
use poised::output::record::{Recorder, Recording};
use poised::pose::{BoxPx, Detection, Keypoint, People, PersonPose, PoseSample};
use poised::skeleton::KEYPOINTS;
use poised::track::{TrackConfig, TrackedPeople, Tracker};
use proptest::prelude::*;

use crate::common::samples;

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

/// Where a lens may come from.
fn origin() -> impl Strategy<Value = Origin> {
    let date = prop::option::of(Just("2026-11-21".to_owned()));
    prop_oneof![
        Just(Origin::Assumed),
        (".{0,20}", date, prop::option::of(0.0..10.0_f64)).prop_map(
            |(camera, date, residual_px)| Origin::Measured {
                camera,
                date,
                residual_px,
            }
        ),
    ]
}

fn mount() -> impl Strategy<Value = Mount> {
    (0.2..30.0_f32, -60.0..90.0_f32, -180.0..180.0_f32).prop_map(
        |(height_m, down_deg, roll_deg)| Mount {
            height_m,
            down_deg,
            roll_deg,
        },
    )
}

/// A person as published, or one with a number that is not finite.
fn person() -> impl Strategy<Value = PersonPose> {
    let broken = prop::option::of(0_u8..6);
    (1_u32..1000, -3.0..3.0_f32, broken).prop_map(|(id, right_m, broken)| {
        let mut person = samples::person(id, right_m);
        match broken {
            None => {}
            Some(0) => person.score = f32::NAN,
            Some(1) => person.bounds.top = f32::INFINITY,
            Some(2) => person.root_camera_m.z = f32::NAN,
            Some(3) => person.joints_camera_m[16].x = f32::NEG_INFINITY,
            Some(4) => person.keypoints[9].y_px = f32::NAN,
            Some(_) => person.size.factor = f32::NAN,
        }
        person
    })
}

/// Whether all numbers are finite that [`person`] may break.
fn is_whole(person: &PersonPose) -> bool {
    person.score.is_finite()
        && person.bounds.top.is_finite()
        && person.root_camera_m.is_finite()
        && person.joints_camera_m[16].is_finite()
        && person.keypoints[9].y_px.is_finite()
        && person.size.factor.is_finite()
}

/// A detection as a broken network might give it: anything, now and then not a number.
fn detection() -> impl Strategy<Value = Detection> {
    let number = || prop_oneof![9 => -50.0..700.0_f32, 1 => Just(f32::NAN)];
    let chance = || prop_oneof![9 => 0.0..1.0_f32, 1 => Just(f32::NAN)];
    let keypoint = (number(), number(), chance(), chance()).prop_map(
        |(x_px, y_px, visibility, confidence)| Keypoint {
            x_px,
            y_px,
            visibility,
            confidence,
        },
    );
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

    /// People come in no order: in whatever order they come, the same ones get the same ids.
    #[test]
    fn tracks_do_not_depend_on_the_order_of_detections(
        mut people in prop::collection::vec(detection(), 1..=8), seed in any::<u64>(),
    ) {
        // The surest first, no two as sure.
        for (rank, person) in (0_u8..).zip(&mut people) {
            person.score = 1.0 - 0.1 * f32::from(rank);
            person.bounds = BoxPx { left: 0.0, top: 0.0, right: 300.0, bottom: 500.0 };
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        let [mut one, mut other] = [(); 2].map(|()| Tracker::new(TrackConfig::default()));
        let (mut known, mut again) = (TrackedPeople::new(), TrackedPeople::new());
        for frame in 1..20 {
            let time = MonoNs(1_000_000_000 + 33_000_000 * frame);
            for keypoint in people.iter_mut().flat_map(|person| &mut person.keypoints) {
                keypoint.x_px += 4.0 * (rng.f32() - 0.5);
            }
            // Now and then one is not found.
            let mut seen = people.clone();
            seen.retain(|_| rng.u8(..6) > 0);
            one.update(time, &seen.iter().cloned().collect(), &mut known);
            rng.shuffle(&mut seen);
            other.update(time, &seen.into_iter().collect(), &mut again);
            // As text, in which NaN is NaN.
            prop_assert_eq!(format!("{known:?}"), format!("{again:?}"));
        }
    }

    /// A calibration that is written is read back as it was.
    #[test]
    fn a_calibration_that_is_written_is_read_back(
        camera in camera(), origin in origin(), mount in prop::option::of(mount()),
    ) {
        let (lens, pinhole) = (camera.distortion(), camera.intrinsics());
        let mut camera = Calibration::new(camera.size_px(), pinhole, lens, origin).unwrap();
        if let Some(mount) = mount {
            camera = camera.with_mount(mount).unwrap();
        }
        let text = camera.to_toml();
        let back = Calibration::from_toml(&text, Path::new("a.toml"));
        prop_assert!(back.is_ok(), "{back:?}: {text}");
        prop_assert_eq!(back.unwrap(), camera);
    }

    /// A recording gives what was published: all but people with a number that is not finite.
    #[test]
    fn a_recording_gives_what_was_published(
        frames in prop::collection::vec(prop::collection::vec(person(), 0..=8), 0..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.poses");
        let mut recorder = Recorder::create(&path, &Calibration::assumed(640, 480)).unwrap();
        let mut published = Vec::new();
        for (frame, people) in (0_u32..).zip(frames) {
            let mut sample = PoseSample {
                frame_sequence: frame,
                capture: MonoNs(1_000_000_000 + 33_000_000 * u64::from(frame)),
                width_px: 640,
                height_px: 480,
                people: people.into_iter().collect(),
                ..PoseSample::default()
            };
            let left_out = recorder.add(&sample).unwrap();
            let before = sample.people.len();
            sample.people.retain(is_whole);
            prop_assert_eq!(left_out, before - sample.people.len());
            // A frame of such people alone would read as an empty room.
            if before == 0 || !sample.people.is_empty() {
                published.push(sample);
            }
        }
        recorder.finish().unwrap();
        let recorded = Recording::open(&path).unwrap().map(Result::unwrap);
        prop_assert_eq!(recorded.collect::<Vec<PoseSample>>(), published);
    }

    /// A dictionary is a list: what is added goes to its end, and what is removed leaves the others as they were.
    #[test]
    fn a_dictionary_is_a_list(steps in prop::collection::vec((any::<bool>(), 0_u8..12), 1..60)) {
        let named = |number: u8| format!("action {number}");
        let direction = |number: u8| {
            let (sin, cos) = f32::from(number).sin_cos();
            vec![sin, cos, 0.0, 0.0]
        };
        let mut dictionary = Dictionary::empty("encoder", 4, 2);
        let mut list = Vec::new();
        for (adds, number) in steps {
            let at = list.iter().position(|other| *other == number);
            if adds {
                let mut new = NewEntry { text: direction(number), ..NewEntry::default() };
                new.entry.phrase = named(number);
                prop_assert_eq!(dictionary.add(new).is_ok(), at.is_none());
                if at.is_none() {
                    list.push(number);
                }
            } else {
                prop_assert_eq!(dictionary.remove(&named(number)).is_ok(), at.is_some());
                list.retain(|other| *other != number);
            }
            prop_assert_eq!(dictionary.entries().len(), list.len());
            for (at, number) in list.iter().enumerate() {
                prop_assert_eq!(dictionary.entries()[at].phrase.clone(), named(*number));
                prop_assert_eq!(dictionary.text(at), direction(*number));
            }
        }
        if !list.is_empty() {
            let back = Dictionary::from_bytes(&dictionary.to_bytes(), "encoder", 4, 2);
            prop_assert_eq!(back.unwrap(), dictionary);
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
