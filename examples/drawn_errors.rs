//! How the networks err on drawn people, for `models/training/people/detector_errors.py`:
//! `drawn_errors INDEX OUT --clips 200 --seed 1`.
//!
//! Each clip is some seconds of a recorded motion, done by a synthetic person before a camera by chance
//! ([`poised::lab::eval::render`]). `OUT` is a safetensors file with a row for each frame: `truth` f32 [N,17,2] and `said`
//! f32 [N,17,3] (pixels, confidence; COCO; zeros where the person was not found), `visible` u8 [N,17], `height` f32 [N]
//! (the person's longer side in the image, pixels), `side` f32 [N] (that of the square image), `time` f32 [N] (seconds),
//! `clip` i64 [N].

#![expect(clippy::print_stdout, reason = "a program that says what it did")]

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use glam::Vec2;
use poised::lab::eval::motion::{self, Motion};
use poised::lab::eval::simulate::Stream;
use poised::skeleton::{KEYPOINTS, SHARED, keypoints_of};
use safetensors::tensor::{Dtype, TensorView};

#[path = "common/drawn_clip.rs"]
mod drawn_clip;
#[path = "common/in_order.rs"]
mod in_order;

use drawn_clip::drawn_clip;
use in_order::in_order;

/// Length of a clip, seconds: many times what lasts of an error.
const CLIP_S: f64 = 8.0;

#[derive(Parser)]
struct Arguments {
    /// Index of labelled motion (docs/reference/motion-format.md).
    index: PathBuf,
    /// File to write.
    out: PathBuf,
    /// Clips to draw.
    #[arg(long, default_value_t = 200)]
    clips: usize,
    /// Fixes all choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Default)]
struct Rows {
    truth: Vec<f32>,
    said: Vec<f32>,
    visible: Vec<u8>,
    height: Vec<f32>,
    side: Vec<f32>,
    time: Vec<f32>,
    clip: Vec<i64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let motions = motion::read(&arguments.index)?;
    let clips = in_order(arguments.clips, |clip| seen(&motions, arguments.seed, clip))?;
    let mut rows = Rows::default();
    for (number, stream) in clips.into_iter().enumerate() {
        rows.add(&stream, number);
    }
    let n = rows.height.len();
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let clip: Vec<u8> = rows.clip.iter().flat_map(|v| v.to_le_bytes()).collect();
    let data = [
        (
            "truth",
            Dtype::F32,
            vec![n, KEYPOINTS, 2],
            bytes(&rows.truth),
        ),
        ("said", Dtype::F32, vec![n, KEYPOINTS, 3], bytes(&rows.said)),
        ("visible", Dtype::U8, vec![n, KEYPOINTS], rows.visible),
        ("height", Dtype::F32, vec![n], bytes(&rows.height)),
        ("side", Dtype::F32, vec![n], bytes(&rows.side)),
        ("time", Dtype::F32, vec![n], bytes(&rows.time)),
        ("clip", Dtype::I64, vec![n], clip),
    ];
    let mut views = Vec::new();
    for (name, kind, shape, bytes) in &data {
        views.push((*name, TensorView::new(*kind, shape.clone(), bytes)?));
    }
    safetensors::serialize_to_file(views, None, &arguments.out)?;
    println!("{n} frames of {} clips", arguments.clips);
    Ok(())
}

fn seen(motions: &[Motion], seed: u64, clip: usize) -> Result<Stream> {
    Ok(drawn_clip(motions, seed, clip, CLIP_S)?.1)
}

impl Rows {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        reason = "some hundred clips of a few seconds"
    )]
    fn add(&mut self, stream: &Stream, number: usize) {
        for moment in &stream.moments {
            let (points, turned_away) = keypoints_of(&moment.joints_camera_m);
            let pixels = points.map(|p| stream.calibration.pixel(p.truncate() / p.z.max(0.1)));
            let low = pixels.iter().copied().fold(Vec2::INFINITY, Vec2::min);
            let high = pixels.iter().copied().fold(Vec2::NEG_INFINITY, Vec2::max);
            let mut visible = turned_away.map(|away| u8::from(!away));
            for (joint, keypoint) in SHARED {
                visible[keypoint] = u8::from(moment.visible[joint]);
            }
            self.truth.extend(pixels.iter().flat_map(Vec2::to_array));
            let said = moment.seen.as_ref().map(|seen| seen.keypoints);
            self.said.extend(
                said.unwrap_or_default()
                    .iter()
                    .flat_map(|k| [k.x_px, k.y_px, k.visibility]),
            );
            self.visible.extend(visible);
            self.height.push((high - low).max_element());
            self.side.push(stream.calibration.size_px().0 as f32);
            self.time.push(moment.time_s() as f32);
            self.clip.push(number as i64);
        }
    }
}
