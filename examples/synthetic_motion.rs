//! The synthetic people's motion as labelled motion capture (docs/reference/motion-format.md):
//! `synthetic_motion OUT FIRST_SEED SCENES SECONDS`.
//!
//! Every stretch of one action that lasts at least a second becomes a motion, 30
//! frames a second. What an action implies is named too: who waves with the right hand
//! waves. For training the encoders of motion and building the dictionary: the
//! synthetic camera shows actions that motion capture at hand has little or nothing of.

#![expect(clippy::print_stdout, reason = "a command-line program")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "minutes at 30 frames a second, metres to half precision"
)]

use std::path::PathBuf;

use glam::Vec3;
use poised::synthetic::{Scenario, Scene, SyntheticConfig};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

const RATE_HZ: f64 = 30.0;

/// Frames of the shortest stretch kept.
const SHORTEST: usize = 30;

/// Name of the tensor file.
const FILE: &str = "motion_synthetic.safetensors";

/// Scenarios, in turn; the one that varies everything as often as the others together.
const SCENARIOS: [Scenario; 10] = [
    Scenario::Varied,
    Scenario::Squat,
    Scenario::Varied,
    Scenario::Walk,
    Scenario::Varied,
    Scenario::Sit,
    Scenario::Varied,
    Scenario::Climb,
    Scenario::Varied,
    Scenario::Exercise,
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, first, scenes, seconds] = arguments.as_slice() else {
        return Err("wanted: OUT FIRST_SEED SCENES SECONDS".into());
    };
    let out = PathBuf::from(out);
    let (first, scenes): (u64, usize) = (first.parse()?, scenes.parse()?);
    let frames = (seconds.parse::<f64>()? * RATE_HZ) as u32;
    std::fs::create_dir_all(&out)?;
    let (mut joints, mut pelvis) = (Vec::new(), Vec::new());
    let mut index = Vec::new();
    for (number, seed) in (first..).take(scenes).enumerate() {
        let scene = Scene::new(&SyntheticConfig {
            scenario: SCENARIOS[number % SCENARIOS.len()],
            seed,
            people: Some(1),
            ..SyntheticConfig::default()
        })?;
        let optics = *scene.optics();
        let mut begin = 0;
        let poses: Vec<_> = (0..frames)
            .map(|frame| scene.pose_at(0, f64::from(frame) / RATE_HZ))
            .collect();
        for end in 1..=poses.len() {
            if end < poses.len() && poses[end].action == poses[begin].action {
                continue;
            }
            if end - begin >= SHORTEST {
                let start = pelvis.len() / 12;
                for pose in &poses[begin..end] {
                    let world = pose.joints_camera_m.map(|p| {
                        optics.place + p.x * optics.right + p.y * optics.down + p.z * optics.ahead
                    });
                    pelvis.extend(bytes_of(world[0]));
                    for joint in world {
                        for value in (joint - world[0]).to_array() {
                            joints.extend(half(value).to_le_bytes());
                        }
                    }
                }
                index.push(json!({
                    "id": format!("synthetic_{seed}_{begin}"),
                    "source": "synthetic",
                    "subject": format!("synthetic_{seed}"),
                    "file": FILE,
                    "row": index.len(),
                    "start": start,
                    "frames": end - begin,
                    "fps": RATE_HZ,
                    "actions": implied(poses[begin].action),
                }));
            }
            begin = end;
        }
    }
    let count = pelvis.len() / 12;
    let tensors = [
        (
            "joints17",
            TensorView::new(Dtype::F16, vec![count, 17, 3], &joints)?,
        ),
        (
            "pelvis",
            TensorView::new(Dtype::F32, vec![count, 3], &pelvis)?,
        ),
    ];
    std::fs::write(out.join(FILE), safetensors::serialize(tensors, None)?)?;
    std::fs::write(out.join("index.json"), serde_json::to_vec_pretty(&index)?)?;
    println!("{} motions, {count} frames", index.len());
    Ok(())
}

/// A phrase and what it implies.
fn implied(action: &'static str) -> Vec<&'static str> {
    let more: &[&str] = match action {
        "wave with the right hand" | "wave with both hands" => &["wave"],
        "sit down and stand up" => &["sit", "sit down", "stand up"],
        "front kick" => &["kick"],
        "jump in place" => &["jump"],
        "pick up an object" => &["bend over"],
        _ => &[],
    };
    std::iter::once(action)
        .chain(more.iter().copied())
        .collect()
}

fn bytes_of(v: Vec3) -> impl Iterator<Item = u8> {
    v.to_array().into_iter().flat_map(f32::to_le_bytes)
}

/// Metres below two to half precision, to the nearest.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = value.abs();
    if magnitude < 6.2e-5 {
        return sign;
    }
    // Round the 23 bits of fraction to 10, then move the exponent's bias from 127 to 15.
    let rounded = (bits & 0x7fff_ffff) + 0x0fff + (bits >> 13 & 1);
    sign | ((rounded >> 13) as u16 - ((127 - 15) << 10))
}
