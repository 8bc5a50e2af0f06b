//! Tracking, lifting, naming and completing stay off the heap once they are made.
//!
//! The counting allocator adds one to a number of this thread for every call.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::common::heap;
use poised::base::clock::MonoNs;
use poised::base::limits::LIFT_FEATURES;
use poised::camera::{Calibration, Distortion, Intrinsics, Origin};
use poised::lift::head::Head;
use poised::lift::input::LIFT_INPUT;
use poised::lift::window::rays_of;
use poised::lift::{LiftConfig, Lifter, person_pose};
use poised::motion::{Semantics, SemanticsConfig, open, open_completer};
use poised::pose::{BoxPx, Detection, JointState, Keypoint, People};
use poised::skeleton::KEYPOINTS;
use poised::track::smooth::OneEuroConfig;
use poised::track::{TrackConfig, TrackedPeople, Tracker};
use safetensors::tensor::{Dtype, TensorView};

/// A head whose body stands upright, so that there is a root to solve for.
fn head() -> Head {
    let layers = [
        ("lift", 256, 256),
        ("image", 256, 128),
        ("joints", 51, 256),
        ("log_sigma", 17, 256),
    ];
    let mut bytes = BTreeMap::new();
    for (layer, outputs, inputs) in layers {
        bytes.insert(
            format!("{layer}.weight"),
            (vec![outputs, inputs], vec![0.0_f32; outputs * inputs]),
        );
        bytes.insert(format!("{layer}.bias"), (vec![outputs], vec![0.0; outputs]));
    }
    let joints: [[f32; 3]; 17] = [
        [0.0, 0.0, 0.0],
        [-0.12, 0.0, 0.0],
        [-0.13, 0.42, 0.0],
        [-0.13, 0.84, 0.0],
        [0.12, 0.0, 0.0],
        [0.13, 0.42, 0.0],
        [0.13, 0.84, 0.0],
        [0.0, -0.25, 0.0],
        [0.0, -0.5, 0.0],
        [0.0, -0.6, 0.0],
        [0.0, -0.72, 0.0],
        [0.17, -0.45, 0.0],
        [0.22, -0.18, 0.0],
        [0.24, 0.06, 0.0],
        [-0.17, -0.45, 0.0],
        [-0.22, -0.18, 0.0],
        [-0.24, 0.06, 0.0],
    ];
    bytes.insert(
        "joints.bias".into(),
        (vec![51], joints.as_flattened().to_vec()),
    );
    let raw: BTreeMap<&str, Vec<u8>> = bytes
        .iter()
        .map(|(name, (_, values))| {
            let raw = values.iter().flat_map(|value| value.to_le_bytes());
            (name.as_str(), raw.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, (shape, _))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), &raw[name.as_str()]);
        (name.as_str(), view.expect("shape and bytes fit"))
    });
    let file = safetensors::serialize(views, None).expect("a small file");
    Head::from_safetensors(&file).expect("a whole head")
}

/// Person `number` of frame `frame`: standing, walking to the right, limbs hidden now and then.
fn person(number: u16, frame: u16) -> Detection {
    let (x, y) = (
        60.0 + 70.0 * f32::from(number) + 0.2 * f32::from(frame % 100),
        240.0,
    );
    let offsets: [(f32, f32); KEYPOINTS] = [
        (0.0, -72.0),
        (3.0, -75.0),
        (-3.0, -75.0),
        (6.0, -74.0),
        (-6.0, -74.0),
        (16.0, -52.0),
        (-16.0, -52.0),
        (21.0, -28.0),
        (-21.0, -28.0),
        (22.0, -6.0),
        (-22.0, -6.0),
        (11.0, 0.0),
        (-11.0, 0.0),
        (12.0, 38.0),
        (-12.0, 38.0),
        (12.0, 76.0),
        (-12.0, 76.0),
    ];
    let mut joint = 0;
    let keypoints = offsets.map(|(dx, dy)| {
        joint += 1;
        let hidden = (frame / 7 + joint).is_multiple_of(11);
        Keypoint::new(x + dx, y + dy, if hidden { 0.1 } else { 0.9 })
    });
    Detection {
        score: 0.9,
        bounds: BoxPx {
            left: x - 28.0,
            top: y - 84.0,
            right: x + 28.0,
            bottom: y + 80.0,
        },
        keypoints,
        // Every other person comes with what the image shows.
        features: number.is_multiple_of(2).then_some([0.05; 128]),
    }
}

fn camera() -> Calibration {
    let pinhole = Intrinsics {
        fx_px: 420.0,
        fy_px: 420.0,
        cx_px: 320.0,
        cy_px: 240.0,
    };
    let lens = Distortion::PlumbBob {
        k1: -0.28,
        k2: 0.07,
        p1: 0.0005,
        p2: -0.0003,
        k3: 0.0,
    };
    Calibration::new((640, 480), pinhole, lens, Origin::Assumed).expect("a usual lens")
}

#[test]
fn a_thousand_frames_of_eight_people_stay_off_the_heap() {
    let smooth = Some(OneEuroConfig {
        min_cutoff_hz: 2.0,
        cutoff_per_speed: 3.0,
        speed_cutoff_hz: 1.0,
    });
    let backbone = |input: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]| {
        features.copy_from_slice(&input[..LIFT_FEATURES]);
        Ok::<(), ()>(())
    };
    let camera = camera();
    let mut tracker = Tracker::new(TrackConfig {
        smooth,
        ..TrackConfig::default()
    });
    let mut lifter = Lifter::new(LiftConfig::default(), backbone, Arc::new(head()));
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/dictionary"));
    let (encoders, dictionary) = open(folder, None).expect("it ships");
    let completer = open_completer(folder, &encoders, &dictionary).expect("it ships");
    let config = SemanticsConfig::default();
    let mut semantics = Semantics::new(&config, encoders, dictionary, completer);
    let mut known = TrackedPeople::new();
    let (mut poses, mut measured, mut inferred, mut named) = (0, 0, 0, 0);
    let calls = heap::heap_calls(|| {
        for frame in 0..1_000_u16 {
            let time = MonoNs(1_000_000_000 + u64::from(frame) * 33_333_333);
            // A person leaves and comes back; one is found twice.
            let count = if frame % 50 < 30 { 8 } else { 5 };
            let mut people: People = (0..count - 1).map(|number| person(number, frame)).collect();
            let again = people[0].clone();
            people.push(again).expect("room for eight");
            tracker.update(time, &people, &mut known);
            semantics.begin_frame(time, &known.iter().map(|person| person.id));
            for person in &known {
                let mut estimate = lifter.lift(time, &camera, person).ok();
                let rays = rays_of(&camera, &person.detection.keypoints);
                let label = semantics.step(time, person.id, &rays, estimate.as_mut());
                let mut pose = person_pose(person, estimate.as_ref());
                pose.action = label.map(|label| semantics.action(label));
                named += u32::from(semantics.probabilities(person.id).is_some());
                inferred += pose
                    .states
                    .iter()
                    .filter(|&&s| s == JointState::Completed)
                    .count();
                poses += u32::from(estimate.is_some());
                measured += pose
                    .states
                    .iter()
                    .filter(|&&s| s == JointState::Measured)
                    .count();
            }
        }
    });
    assert!(poses > 5_000, "{poses} poses");
    assert!(measured > 50_000, "{measured} joints");
    assert!(inferred > 1_000, "{inferred} completed joints");
    assert!(named > 1_000, "{named} people looked at");
    assert!(tracker.counters().duplicates > 900);
    assert_eq!(calls, 0, "heap calls over 1000 frames");
}
