//! What the capture thread does with a frame stays off the heap, drawing one
//! included; a JPEG's decoder is the exception, and is held to a number.
//!
//! The counting allocator adds one to a number of this thread for every call.

use std::time::Duration;

use crate::common::heap;
use poised::capture::convert::{jpeg_into, unpad_into};
use poised::capture::{Camera, Next};
use poised::frame::{Frame, PixelFormat};
use poised::synthetic::{Scenario, Scene, SyntheticCamera, SyntheticConfig, SyntheticFormat};

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

#[test]
fn rows_are_unpadded_without_the_heap() {
    let source = vec![7; (640 * 3 + 32) * 720];
    let mut frame = Frame::with_room(640, 480);
    for format in [
        PixelFormat::Rgb24,
        PixelFormat::Yuyv,
        PixelFormat::Nv12,
        PixelFormat::Grey,
    ] {
        for stride in [0, 640 * 3 + 32] {
            let calls = heap::heap_calls(|| {
                unpad_into(format, 640, 480, stride, &source, &mut frame.bytes).unwrap();
            });
            assert_eq!(calls, 0, "{format:?}, {stride}");
        }
    }
}

/// Heap calls that decoding one JPEG may cost, in colour and in grey, whatever
/// its size: the decoder makes its rows and tables again. May fall and not rise.
const JPEG_CALLS: [(&[u8], (u32, u32), u64); 3] = [
    (include_bytes!("../data/ramp_48x32.jpg"), (48, 32), 34),
    (
        include_bytes!("../data/ramp_320x240_422.jpg"),
        (320, 240),
        34,
    ),
    (include_bytes!("../data/grey_64x64.jpg"), (64, 64), 4),
];

#[test]
fn a_jpeg_keeps_to_its_budget() {
    for (bytes, (width_px, height_px), budget) in JPEG_CALLS {
        let mut frame = Frame::with_room(width_px, height_px);
        let mut decode = || {
            heap::heap_calls(|| jpeg_into(bytes, width_px, height_px, &mut frame.bytes).unwrap())
        };
        let calls = decode();
        assert!(
            calls <= budget,
            "{width_px}x{height_px}: {calls} heap calls, {budget} allowed"
        );
        assert_eq!(decode(), calls, "{width_px}x{height_px}");
    }
}
