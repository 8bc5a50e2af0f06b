//! Drawing a frame and reading its truth stay off the heap once the scene is made.
//!
//! The counting allocator adds one to a number of this thread for every call.

#[path = "common/heap.rs"]
mod heap;

use std::time::Duration;

use poised::capture::synthetic::{
    Scenario, Scene, SyntheticCamera, SyntheticConfig, SyntheticFormat,
};
use poised::capture::{Camera, Next};
use poised::frame::Frame;

#[test]
fn the_counter_counts() {
    assert!(heap::heap_calls(|| drop(std::hint::black_box(vec![1_u8; 9]))) >= 2);
}

#[test]
fn a_scene_draws_and_tells_the_truth_without_the_heap() {
    let config = SyntheticConfig {
        width_px: 160,
        height_px: 120,
        ..SyntheticConfig::of(Scenario::Crowd)
    };
    let mut scene = Scene::new(&config).unwrap();
    let mut rgb = vec![0; scene.image_bytes()];
    let calls = heap::heap_calls(|| {
        for frame in 0..300 {
            let time_s = f64::from(frame) * 0.21;
            scene.render_into(time_s, &mut rgb);
            assert_eq!(scene.truth_at(time_s).people.len(), 4);
        }
    });
    assert_eq!(calls, 0);
}

#[test]
fn a_camera_fills_frames_without_the_heap() {
    let config = SyntheticConfig {
        width_px: 160,
        height_px: 120,
        format: SyntheticFormat::Yuyv,
        ..SyntheticConfig::of(Scenario::Default)
    };
    let mut camera = SyntheticCamera::free_running(&config, None).unwrap();
    let mut frame = Frame::with_room(160, 120);
    let calls = heap::heap_calls(|| {
        for _ in 0..300 {
            assert_eq!(
                camera.next_into(&mut frame, Duration::ZERO),
                Ok(Next::Frame)
            );
        }
    });
    assert_eq!(calls, 0);
    assert_eq!(frame.meta.sequence, 299);
}
