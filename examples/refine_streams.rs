//! Streams of models/training/dictionary/streams.py with the poses of the daemon's own lifter, refined and smoothed, in
//! place of the network's bare output: `refine_streams IN OUT`.
//!
//! What completes hidden joints is trained and measured on what it gets on the device. Frames for which the
//! daemon has no pose (somebody has just come) keep the one they had.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use poised::calibration::{Calibration, Distortion, Intrinsics, Origin};
use poised::clock::MonoNs;
use poised::pipeline::estimate::{EstimateConfig, Poser};
use poised::pose::{BoxPx, CONFIDENCE_GATE, Detection, Keypoint, People};
use poised::skeleton::{JOINTS, KEYPOINTS};
use poised::tensors::half;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Pixels a ray, and of the image's side: nothing that a lens sees lies outside.
const FOCAL_PX: f32 = 1000.0;
const SIDE_PX: u32 = 6000;

/// Between two frames, nanoseconds.
const PERIOD_NS: u64 = 1_000_000_000 / 30;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        return Err("wanted: IN OUT".into());
    };
    let bytes = std::fs::read(from)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let rays = halves(&tensors.tensor("rays")?);
    let mut lifted = halves(&tensors.tensor("lifted")?);
    let mut sigma = halves(&tensors.tensor("sigma")?);
    let starts: Vec<usize> = tensors
        .tensor("starts")?
        .data()
        .chunks_exact(8)
        .map(|b| Ok(usize::try_from(i64::from_le_bytes(b.try_into()?))?))
        .collect::<Result<_>>()?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Frame)>> {
        let mut found = Vec::new();
        loop {
            let stream = next.fetch_add(1, Ordering::Relaxed);
            let Some([first, end]) = starts.get(stream..stream + 2) else {
                return Ok(found);
            };
            follow(
                *first,
                &rays[first * 3 * KEYPOINTS..end * 3 * KEYPOINTS],
                &mut found,
            )?;
        }
    };
    let found = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(work));
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a panic ends the program")?);
        }
        Result::Ok(all)
    })?;
    for (frame, (joints, sigmas)) in &found {
        lifted[frame * 3 * JOINTS..][..3 * JOINTS].copy_from_slice(joints);
        sigma[frame * JOINTS..][..JOINTS].copy_from_slice(sigmas);
    }
    let count = sigma.len() / JOINTS;
    let (lifted, sigma) = (bytes_of(&lifted), bytes_of(&sigma));
    let mut out: HashMap<String, TensorView<'_>> = tensors.tensors().into_iter().collect();
    out.insert(
        "lifted".into(),
        TensorView::new(Dtype::F32, vec![count, JOINTS, 3], &lifted)?,
    );
    out.insert(
        "sigma".into(),
        TensorView::new(Dtype::F32, vec![count, JOINTS], &sigma)?,
    );
    std::fs::write(to, safetensors::serialize(&out, header.metadata().clone())?)?;
    println!(
        "{to}: {} of {count} frames in {} streams",
        found.len(),
        starts.len() - 1
    );
    Ok(())
}

/// Joints relative to the pelvis, camera frame, and sigmas per axis, metres.
type Frame = ([f32; 3 * JOINTS], [f32; JOINTS]);

/// The poses of one stream; whoever it shows was never seen before.
fn follow(first: usize, rays: &[f32], found: &mut Vec<(usize, Frame)>) -> Result<()> {
    let mut config = EstimateConfig::default();
    config.semantics.enabled = false;
    let mut poser = Poser::open(&config)?;
    let middle = 0.5 * f64::from(SIDE_PX - 1);
    let camera = Calibration::new(
        (SIDE_PX, SIDE_PX),
        Intrinsics {
            fx_px: FOCAL_PX.into(),
            fy_px: FOCAL_PX.into(),
            cx_px: middle,
            cy_px: middle,
        },
        Distortion::None {},
        Origin::Assumed,
    )?;
    for ((frame, time), rays) in (first..)
        .zip((1..).map(|n| n * PERIOD_NS))
        .zip(rays.chunks_exact(3 * KEYPOINTS))
    {
        let keypoints: [Keypoint; KEYPOINTS] = std::array::from_fn(|k| {
            let ray = &rays[3 * k..3 * k + 3];
            let pixel = camera.pixel(glam::Vec2::new(ray[0], ray[1]));
            Keypoint {
                x_px: pixel.x,
                y_px: pixel.y,
                confidence: ray[2],
            }
        });
        let mut people = People::new();
        if let Some(bounds) = BoxPx::around(&keypoints, CONFIDENCE_GATE) {
            let pushed = people.push(Detection {
                score: 0.9,
                bounds,
                keypoints,
                features: None,
            });
            debug_assert!(pushed.is_ok(), "there is room for one");
        }
        let time = MonoNs(time);
        if poser.track(time, &people).is_empty() {
            continue;
        }
        if let Some(estimate) = poser.lift(time, &camera, 0) {
            let joints = estimate.relative_camera_m.map(|joint| joint.to_array());
            let joints = joints.as_flattened().try_into().expect("all of them");
            found.push((frame, (joints, estimate.sigmas_m)));
        }
    }
    Ok(())
}

fn halves(tensor: &TensorView<'_>) -> Vec<f32> {
    let numbers = tensor.data().chunks_exact(2);
    numbers
        .map(|b| half(u16::from_le_bytes([b[0], b[1]])))
        .collect()
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}
