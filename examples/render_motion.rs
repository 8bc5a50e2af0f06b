//! Recorded motion as the networks see it in pictures, for training: `render_motion INDEX OUT --clips 2000 --seed 1`.
//!
//! Each clip is some seconds of a recorded motion, done by a synthetic person before a camera by chance
//! ([`poised::lab::eval::render`]). `OUT` is a safetensors file with a row for each frame that got a pose: `features`
//! f32 [N,256] of the lifter's backbone, `image` f32 [N,128] of the person network, `joints` f32 [N,17,3] (metres
//! from the pelvis, in the rotated frame that the final layers work in), `group` i64 [N], the clip.

#![expect(clippy::print_stdout, reason = "a program that says what it did")]

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use glam::Vec3;
use poised::base::limits::{IMAGE_FEATURES, LIFT_FEATURES};
use poised::estimate::{EstimateConfig, Poser};
use poised::lab::eval::motion::{self, Motion};
use poised::skeleton::JOINTS;
use safetensors::tensor::{Dtype, TensorView};

#[path = "common/drawn_clip.rs"]
mod drawn_clip;
#[path = "common/in_order.rs"]
mod in_order;

use drawn_clip::drawn_clip;
use in_order::in_order;

/// Length of a clip, seconds.
const CLIP_S: f64 = 5.0;

/// Frames of a clip without the window's past: a person has just come.
const FIRST: usize = 6;

#[derive(Parser)]
struct Arguments {
    /// Index of labelled motion (docs/reference/motion-format.md).
    index: PathBuf,
    /// File to write.
    out: PathBuf,
    /// Clips to draw.
    #[arg(long, default_value_t = 1000)]
    clips: usize,
    /// Fixes all choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// People who are left out, by commas.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
}

#[derive(Default)]
struct Rows {
    features: Vec<f32>,
    image: Vec<f32>,
    joints: Vec<f32>,
    group: Vec<i64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut motions = motion::read(&arguments.index)?;
    motions.retain(|motion| !arguments.without.contains(&motion.subject));
    let clips = in_order(arguments.clips, |clip| {
        follow(&motions, arguments.seed, clip)
    })?;
    let mut rows = Rows::default();
    for clip in clips {
        rows.features.extend(clip.features);
        rows.image.extend(clip.image);
        rows.joints.extend(clip.joints);
        rows.group.extend(clip.group);
    }
    write(&arguments.out, &rows)
}

/// One clip: a few seconds of a motion, from somewhere.
fn follow(motions: &[Motion], seed: u64, clip: usize) -> Result<Rows> {
    let (_, shown) = drawn_clip(motions, seed, clip, CLIP_S)?;
    let mut config = EstimateConfig::default();
    config.semantics.enabled = false;
    config.lift.image_features = false;
    let mut poser = Poser::open(&config)?;
    let mut rows = Rows::default();
    for (at, moment) in shown.moments.iter().enumerate() {
        let people = moment.seen.iter().cloned().collect();
        if poser.track(moment.time, &people).is_empty() {
            continue;
        }
        let estimate = poser.lift(moment.time, &shown.calibration, 0);
        let image = moment.seen.as_ref().and_then(|person| person.features);
        let (Ok(estimate), Some(image)) = (estimate, image) else {
            continue;
        };
        if at < FIRST {
            continue;
        }
        let root = moment.joints_camera_m[0];
        let turned = moment
            .joints_camera_m
            .map(|j| estimate.view.rotation * (j - root));
        rows.features.extend(estimate.features);
        rows.image.extend(image);
        rows.joints.extend(turned.iter().flat_map(Vec3::to_array));
        rows.group.push(i64::try_from(clip)?);
    }
    Ok(rows)
}

fn write(path: &std::path::Path, rows: &Rows) -> Result<()> {
    let count = rows.group.len();
    let bytes =
        |numbers: &[f32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let (features, image, joints) = (
        bytes(&rows.features),
        bytes(&rows.image),
        bytes(&rows.joints),
    );
    let group: Vec<u8> = rows.group.iter().flat_map(|n| n.to_le_bytes()).collect();
    let tensors = [
        (
            "features",
            TensorView::new(Dtype::F32, vec![count, LIFT_FEATURES], &features)?,
        ),
        (
            "image",
            TensorView::new(Dtype::F32, vec![count, IMAGE_FEATURES], &image)?,
        ),
        (
            "joints",
            TensorView::new(Dtype::F32, vec![count, JOINTS, 3], &joints)?,
        ),
        ("group", TensorView::new(Dtype::I64, vec![count], &group)?),
    ];
    std::fs::write(path, safetensors::serialize(tensors, None)?)?;
    println!("{}: {count} frames", path.display());
    Ok(())
}
