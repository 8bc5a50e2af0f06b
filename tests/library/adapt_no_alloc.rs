//! Learning from windows stays off the heap once an adapter is made, the denoiser's turn included.

use crate::common::heap;
use poised::adapt::{Method, Observation};
use poised::base::clock::MonoNs;
use poised::estimate::{EstimateConfig, Poser};
use poised::lift::input::View;
use poised::lift::window::RayKeypoint;
use poised::motion::angles::figure::{self, Posture};
use poised::skeleton::keypoints_of;

/// A person who stands 3 m before the camera and moves an arm.
fn observation(frame: u16) -> Observation {
    let arm_deg = 20.0 * (f64::from(frame) / 10.0).sin();
    let posture = Posture {
        shoulder_flexion: [30.0 + arm_deg, 0.0],
        elbow_flexion: [20.0; 2],
        ..Posture::default()
    };
    let mut seen = Observation::empty();
    seen.time = MonoNs(1_000_000_000 + 33_333_333 * u64::from(frame));
    seen.id = 1;
    seen.joints_camera_m = figure::seen(&figure::joints(&posture), 90.0, 0.0);
    let (points, _) = keypoints_of(&seen.joints_camera_m);
    seen.rays = points.map(|point| RayKeypoint {
        ray: point.truncate() / point.z,
        visibility: 0.8,
    });
    for (feature, at) in seen.features.iter_mut().zip(0_u16..) {
        *feature = (f32::from(frame) / 9.0 + f32::from(at)).sin() / 5.0;
    }
    seen.view = View {
        rotation: glam::Mat3::IDENTITY,
        scale: 0.27,
        newest: seen.rays,
    };
    seen
}

#[test]
fn steps_of_final_layers_and_denoiser_make_no_heap_calls() {
    let mut config = EstimateConfig::default();
    config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
    config.adapt.method = Method::Cycle;
    let poser = Poser::open(&config).unwrap();
    let mut adapter = poser.adapter(1).unwrap().unwrap();
    // A newcomer gets room for a clip.
    adapter.take(&observation(0));
    let calls = heap::heap_calls(|| {
        for frame in 1..140 {
            adapter.take(&observation(frame));
            // A frame that comes twice ends a clip and no window: two windows, and no clip for the guard, whose synthetic
            // views go through the inference engine.
            if frame % 40 == 39 {
                adapter.take(&observation(frame));
            }
            while adapter.work() {}
        }
    });
    let report = adapter.report();
    assert!(report.steps >= 1, "{report:?}");
    assert_eq!(
        report.synthetic_views, 0,
        "the engine has a heap of its own"
    );
    assert_eq!(calls, 0, "heap calls over 139 frames");
}
