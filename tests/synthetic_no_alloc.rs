//! Drawing a frame and reading its truth stay off the heap once the scene is made.
//!
//! The counting allocator adds one to a number of this thread for every call.

#![expect(unsafe_code, reason = "an allocator is unsafe by nature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use poised::capture::synthetic::{
    Scenario, Scene, SyntheticCamera, SyntheticConfig, SyntheticFormat,
};
use poised::capture::{Camera, Next};
use poised::frame::Frame;

thread_local! {
    static HEAP_CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP_CALLS.set(HEAP_CALLS.get() + 1);
        // SAFETY: the caller keeps the contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HEAP_CALLS.set(HEAP_CALLS.get() + 1);
        // SAFETY: `pointer` came from `alloc` above, hence from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Heap calls this thread makes while `work` runs.
fn heap_calls(work: impl FnOnce()) -> u64 {
    let before = HEAP_CALLS.get();
    work();
    HEAP_CALLS.get() - before
}

#[test]
fn the_counter_counts() {
    assert!(heap_calls(|| drop(std::hint::black_box(vec![1_u8; 9]))) >= 2);
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
    let calls = heap_calls(|| {
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
    let calls = heap_calls(|| {
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
