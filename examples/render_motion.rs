//! Recorded motion as the networks see it in pictures, for training: `render_motion INDEX OUT --clips 2000 --seed 1`.
//!
//! Each clip is some seconds of a recorded motion, done by a drawn person before a camera by chance
//! ([`poised::eval::render`]). `OUT` is a safetensors file with a row for each frame that got a pose: `features` f32 [N,256]
//! of the lifter's backbone, `image` f32 [N,128] of the person network, `joints` f32 [N,17,3] (metres from the pelvis,
//! in the rotated frame that the final layers work in), `group` i64 [N], the clip.

#![expect(clippy::print_stdout, reason = "a program that says what it did")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use clap::Parser;
use glam::Vec3;
use poised::eval::motion::{self, Motion};
use poised::eval::render::rendered;
use poised::eval::scenario::{Hide, Scenario};
use poised::eval::simulate::stream;
use poised::limits::{IMAGE_FEATURES, LIFT_FEATURES};
use poised::pipeline::estimate::{EstimateConfig, Poser};
use poised::skeleton::JOINTS;
use safetensors::tensor::{Dtype, TensorView};

/// Looks that evaluations never draw.
const LOOKS: std::ops::Range<u64> = 1_000_000_000..2_000_000_000;

/// Length of a clip, seconds.
const CLIP_S: f64 = 5.0;

/// Frames of a clip without the window's past: somebody has just come.
const FIRST: usize = 6;

#[derive(Parser)]
struct Arguments {
    /// Index of labelled motion (docs/motion-format.md).
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
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Rows::default());
    let work = || -> Result<()> {
        loop {
            let clip = next.fetch_add(1, Ordering::Relaxed);
            if clip >= arguments.clips {
                return Ok(());
            }
            let found = follow(&motions, arguments.seed, clip)?;
            let mut rows = rows.lock().expect("no thread panicked");
            rows.features.extend(found.features);
            rows.image.extend(found.image);
            rows.joints.extend(found.joints);
            rows.group.extend(found.group);
            if clip.is_multiple_of(50) {
                println!("{clip} clips, {} frames", rows.group.len());
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(work));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a panic ends the program"))
    })?;
    write(
        &arguments.out,
        &rows.into_inner().expect("no thread panicked"),
    )
}

/// One clip: a few seconds of a motion, from somewhere.
fn follow(motions: &[Motion], seed: u64, clip: usize) -> Result<Rows> {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ clip as u64);
    let mut motion = rng.choice(motions).context("the index is empty")?.clone();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few hundred frames"
    )]
    let length = (CLIP_S * motion.rate_hz) as usize;
    let begin = rng.usize(0..=motion.joints_world_m.len().saturating_sub(length));
    motion.joints_world_m.drain(..begin);
    motion.joints_world_m.truncate(length);
    let scenario = chance(clip, &mut rng);
    let config = EstimateConfig::default();
    let shown = stream(&scenario, "clip", &[&motion], rng.u64(..))?;
    let shown = rendered(shown, &scenario, rng.u64(LOOKS), &config)?;
    let mut config = config;
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
        let (Some(estimate), Some(image)) = (estimate, image) else {
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

/// A camera, a build and gaps by chance.
fn chance(clip: usize, rng: &mut fastrand::Rng) -> Scenario {
    let mut between = |low: f32, high: f32| low + (high - low) * rng.f32();
    let down = if between(0.0, 1.0) < 0.35 {
        between(-5.0, 50.0)
    } else {
        between(0.0, 18.0)
    };
    let far = between(1.6, 4.5);
    let stature = if between(0.0, 1.0) < 0.2 {
        between(0.65, 0.85)
    } else {
        between(0.88, 1.1)
    };
    let fov_deg = between(45.0, 95.0);
    let gap_s = f64::from(between(1.0, 3.0));
    let large = between(0.0, 3.0);
    let hidden = between(0.0, 1.0);
    let rate_hz = if between(0.0, 1.0) < 0.5 { 30.0 } else { 15.0 };
    let hide = |names: &[&str], below_hips| Hide {
        keypoints: names.iter().map(|name| (*name).to_owned()).collect(),
        region: None,
        every_s: 2.0 * gap_s,
        for_s: gap_s,
        below_hips,
    };
    let legs = ["left_knee", "right_knee", "left_ankle", "right_ankle"];
    Scenario {
        name: format!("clip {clip}"),
        down_deg: [down, down],
        roll_sd_deg: 3.0,
        fov_deg,
        distance_m: [far, far + 0.3],
        side_px: match large {
            ..1.0 => 240,
            1.0..2.0 => 320,
            _ => 480,
        },
        stature,
        rate_hz: Some(rate_hz),
        hide: match hidden {
            ..0.15 => vec![hide(&legs, false)],
            0.15..0.25 => vec![hide(&[], true)],
            0.25..0.32 => vec![hide(&["left_elbow", "left_wrist"], false)],
            _ => Vec::new(),
        },
        ..Scenario::default()
    }
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
