//! Left/right swaps on captured motion: fast arms must not be taken for swaps,
//! and injected swaps must be set right.
//!
//! Needs the motion data beside the checkout (or at `POISED_DATA`).

use crate::common::data;
use glam::{Mat3, Vec3};
use poised::base::clock::MonoNs;
use poised::pose::{BoxPx, Detection, Keypoint, People};
use poised::skeleton::{JOINTS, KEYPOINT_MIRROR, KEYPOINTS, SHARED};
use poised::track::{TrackConfig, TrackedPeople, Tracker};
use safetensors::SafeTensors;

/// Captured motion at 30 Hz: trials of frames of joints, y up, metres.
type Trials = Vec<Vec<[Vec3; JOINTS]>>;

/// IEEE half precision, as the joints are stored.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from((bits >> 10) & 31);
    let fraction = f32::from(bits & 1023);
    if exponent == 0 {
        sign * fraction * 2_f32.powi(-24)
    } else {
        sign * (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15)
    }
}

fn trials(file: &str) -> Option<Trials> {
    let bytes = std::fs::read(data::file(&format!("motion/{file}"))?).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let raw = |name| tensors.tensor(name).unwrap().data().to_vec();
    let halves = raw("joints17");
    let joints: Vec<f32> = halves
        .as_chunks()
        .0
        .iter()
        .map(|&b| half(u16::from_le_bytes(b)))
        .collect();
    let floats = raw("pelvis");
    let pelvis: Vec<f32> = floats
        .as_chunks()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect();
    let whole = raw("starts");
    let starts = whole.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b));
    let starts: Vec<usize> = starts
        .map(|start| usize::try_from(start).unwrap())
        .collect();
    let frame = |n: usize| {
        let pelvis = Vec3::from_slice(&pelvis[3 * n..]);
        std::array::from_fn(|joint| pelvis + Vec3::from_slice(&joints[3 * (JOINTS * n + joint)..]))
    };
    Some(
        starts
            .windows(2)
            .map(|w| (w[0]..w[1]).map(frame).collect())
            .collect(),
    )
}

#[derive(Debug, Default)]
struct Outcome {
    frames: u32,
    undone: u64,
    ids: u64,
    injected: u32,
    righted: u32,
}

/// Shows each trial, seen from 5 m at a random angle with 1.5 pixels of noise at
/// `rate_hz`, to a tracker; `swap` are the left keypoints swapped for up to 0.3 s
/// in one frame of twenty, where they are apart.
fn run(trials: &Trials, every: usize, swap: &[usize]) -> Outcome {
    let mut random = fastrand::Rng::with_seed(1);
    let mut outcome = Outcome::default();
    for trial in trials {
        let yaw = random.f32() * std::f32::consts::TAU;
        let turn = Mat3::from_diagonal(Vec3::new(1.0, -1.0, -1.0))
            * Mat3::from_rotation_x(0.2)
            * Mat3::from_rotation_y(yaw);
        let mut tracker = Tracker::new(TrackConfig::default());
        let mut out = TrackedPeople::new();
        let mut left_to_swap = 0;
        for (n, joints) in (0_u64..).zip(trial).step_by(every) {
            let mut noise = || 1.5 * (random.f32() + random.f32() + random.f32() - 1.5) * 2.0;
            let mut truth = [Keypoint::default(); KEYPOINTS];
            for (joint, keypoint) in SHARED {
                let point = turn * (joints[joint] - trial[0][0]) + Vec3::new(0.0, 0.0, 5.0);
                truth[keypoint] = Keypoint::new(
                    320.0 + 500.0 * point.x / point.z + noise(),
                    240.0 + 500.0 * point.y / point.z + noise(),
                    0.9,
                );
            }
            let apart = |a: &Keypoint, b: &Keypoint| (a.x_px - b.x_px).hypot(a.y_px - b.y_px);
            if left_to_swap == 0 && random.f32() < 0.05 {
                left_to_swap = random.usize(1..10) / every;
            }
            let mut seen = truth;
            let swapped = left_to_swap > 0
                && swap
                    .iter()
                    .any(|&k| apart(&truth[k], &truth[KEYPOINT_MIRROR[k]]) > 30.0);
            if swapped {
                for &keypoint in swap {
                    seen.swap(keypoint, KEYPOINT_MIRROR[keypoint]);
                }
            }
            left_to_swap = left_to_swap.saturating_sub(1);
            let people: People = std::iter::once(Detection {
                score: 0.9,
                bounds: BoxPx::around(&seen, 0.2).unwrap(),
                keypoints: seen,
                features: None,
            })
            .collect();
            let time = MonoNs(1_000_000_000 + n * 33_333_333);
            tracker.update(time, &people, &mut out);
            let Some(person) = out.first() else { continue };
            outcome.frames += 1;
            if swapped {
                outcome.injected += 1;
                let keypoints = &person.detection.keypoints;
                let right = truth.iter().zip(keypoints).all(|(a, b)| apart(a, b) < 15.0);
                outcome.righted += u32::from(right);
            }
        }
        outcome.undone += tracker.counters().swaps_undone;
        outcome.ids += tracker.counters().confirmed;
    }
    outcome
}

const ARMS: [usize; 3] = [5, 7, 9];
const LEGS: [usize; 2] = [13, 15];
const ALL: [usize; 8] = [1, 3, 5, 7, 9, 11, 13, 15];

#[test]
fn captured_motion_is_left_alone_and_injected_swaps_are_set_right() {
    for file in ["motion_val_cmu.safetensors", "motion_val_mhad.safetensors"] {
        let Some(trials) = trials(file) else {
            return;
        };
        for every in [1, 2, 3] {
            let clean = run(&trials, every, &[]);
            println!("{file}, every {every}: {clean:?}");
            assert_eq!(clean.ids, trials.len() as u64, "one id for each trial");
            assert!(clean.undone * 100 <= u64::from(clean.frames), "{clean:?}");
            for swap in [&ARMS[..], &LEGS, &ALL] {
                let outcome = run(&trials, every, swap);
                println!("{file}, every {every}, {} swapped: {outcome:?}", swap.len());
                assert_eq!(outcome.ids, trials.len() as u64);
                // At 10 frames a second labels are left as they come.
                let share = [0.0, 0.95, 0.85, 0.0][every];
                let righted = f64::from(outcome.righted);
                assert!(
                    righted >= share * f64::from(outcome.injected),
                    "{outcome:?}"
                );
            }
        }
    }
}
