//! Draws labelled pictures of people for training.
//!
//! ```text
//! render_people crops DIR --count 20000 --seed 1     training shards of the person network
//! render_people sheet FILE.png --scenario crowd      a sheet of frames to look at
//! ```
//!
//! A shard is a folder of raw arrays, one record a sample, and `count.json`:
//! `image.bin` u8 [192,144,3] RGB; `keypoints.bin` f32 [17,4] (column, row in the
//! crop, 1 if it can be seen, 1 if it is inside the crop); `mask.bin` u8 [48,36]
//! (0 background, 1 skin and hair, 2 clothes, at crop pixels 4 i + 1); `joints.bin`
//! f32 [17,3] (metres from the pelvis, axes of the crop's camera); `rays.bin` f32
//! [27,17,2] (x/z, y/z of the keypoints in that camera over the last 27 samples at
//! 30 Hz, newest last); `camera.bin` f32 [4] (focal length, principal point, depth
//! of the pelvis).

#![expect(clippy::print_stdout, reason = "a program that says what it did")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "pixels: small numbers, clamped before they are cut"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use glam::{Mat3, Vec3};
use poised::base::clock::Clock;
use poised::skeleton::KEYPOINTS;
use poised::synthetic::{PersonTruth, Scenario, Scene, SyntheticConfig, Visibility};

/// Columns and rows of a crop.
const CROP: (usize, usize) = (144, 192);
/// A crop is this much larger than the person's box.
const MARGIN: f32 = 1.25;
/// Samples of the past, at 30 Hz.
const PAST: usize = 27;
/// Times drawn of one scene before another is made.
const TIMES: usize = 12;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Training shards of person crops.
    Crops {
        /// Folder; samples are added to what it holds.
        folder: PathBuf,
        /// Samples to make.
        #[arg(long, default_value_t = 1000)]
        count: usize,
        /// Fixes all choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Frames of a scenario, side by side.
    Sheet {
        /// PNG file.
        file: PathBuf,
        /// Scenario.
        #[arg(long, default_value = "default")]
        scenario: String,
        /// Seeds, one row each.
        #[arg(long, value_delimiter = ',', default_value = "1")]
        seeds: Vec<u64>,
        /// Times in seconds, one column each.
        #[arg(long, value_delimiter = ',', default_value = "1,4,8,14,30")]
        times: Vec<f64>,
        /// Columns of a frame.
        #[arg(long, default_value_t = 320)]
        width: u32,
        /// Rows of a frame.
        #[arg(long, default_value_t = 240)]
        height: u32,
        /// Further keys as in `[synthetic]`, separated by semicolons.
        #[arg(long, default_value = "")]
        set: String,
        /// Mark the keypoints: green seen, red hidden.
        #[arg(long)]
        marks: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Crops {
            folder,
            count,
            seed,
        } => crops(&folder, count, seed),
        Command::Sheet {
            file,
            scenario,
            seeds,
            times,
            width,
            height,
            set,
            marks,
        } => {
            let config = |seed: u64| -> Result<SyntheticConfig> {
                let text = format!("seed = {seed}\n{}", set.replace(';', "\n"));
                Ok(SyntheticConfig {
                    scenario: Scenario::from_name(&scenario)?,
                    width_px: width,
                    height_px: height,
                    ..toml::from_str(&text)?
                })
            };
            let configs = seeds.into_iter().map(config).collect::<Result<Vec<_>>>()?;
            sheet(&file, &configs, &times, marks)
        }
    }
}

fn between(rng: &mut fastrand::Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.f32()
}

/// About normal, standard deviation 1.
fn normal(rng: &mut fastrand::Rng) -> f32 {
    (0..6).map(|_| rng.f32()).sum::<f32>() * 1.414 - 4.243
}

/// A camera, a room and people by chance.
fn chance(rng: &mut fastrand::Rng) -> SyntheticConfig {
    let (width_px, height_px) =
        [(320, 240), (320, 240), (480, 360), (640, 360), (240, 320)][rng.usize(..5)];
    let height_m = between(rng, 0.5, 2.6);
    let distance_m = (between(rng, 0.45, 1.65)).exp();
    let aim = ((height_m - 0.9) / distance_m).atan().to_degrees();
    let scenarios = [
        Scenario::Varied,
        Scenario::Varied,
        Scenario::Varied,
        Scenario::Exercise,
        Scenario::Default,
        Scenario::Occluded,
        Scenario::Squat,
        Scenario::Sit,
        Scenario::Climb,
        Scenario::Walk,
    ];
    SyntheticConfig {
        scenario: scenarios[rng.usize(..scenarios.len())],
        width_px,
        height_px,
        // Looks of training lie far from those anybody would choose by hand.
        seed: 1_000_000_000 + rng.u64(..1_000_000_000),
        people: Some([1, 1, 1, 2, 2, 3][rng.usize(..6)]),
        stature_m: Some(if rng.u32(0..7) == 0 {
            between(rng, 1.0, 1.5)
        } else {
            between(rng, 1.55, 1.9)
        }),
        height_m: Some(height_m),
        distance_m: Some(distance_m),
        pitch_deg: Some((aim + 5.0 * normal(rng)).clamp(-25.0, 70.0)),
        roll_deg: (4.0 * normal(rng)).clamp(-15.0, 15.0),
        azimuth_deg: if rng.bool() {
            between(rng, -40.0, 40.0)
        } else {
            between(rng, -180.0, 180.0)
        },
        fov_deg: Some(between(rng, 45.0, 85.0)),
        ..SyntheticConfig::default()
    }
}

struct Shard {
    files: Vec<BufWriter<File>>,
    folder: PathBuf,
    count: usize,
}

impl Shard {
    const NAMES: [&str; 6] = ["image", "keypoints", "mask", "joints", "rays", "camera"];

    fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let counted = fs::read_to_string(folder.join("count.json")).unwrap_or_default();
        let count = counted
            .chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap_or(0);
        let open = |name: &str| {
            let path = folder.join(format!("{name}.bin"));
            let file = OpenOptions::new().create(true).append(true).open(&path);
            Ok(BufWriter::new(
                file.with_context(|| path.display().to_string())?,
            ))
        };
        Ok(Self {
            files: Self::NAMES
                .iter()
                .map(|name| open(name))
                .collect::<Result<_>>()?,
            folder: folder.to_owned(),
            count,
        })
    }

    fn write(&mut self, sample: &Sample) -> Result<()> {
        self.files[0].write_all(&sample.image)?;
        self.files[2].write_all(&sample.mask)?;
        for (file, numbers) in [
            (1, &sample.keypoints),
            (3, &sample.joints),
            (4, &sample.rays),
            (5, &sample.camera),
        ] {
            for number in numbers {
                self.files[file].write_all(&number.to_le_bytes())?;
            }
        }
        self.count += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for file in &mut self.files {
            file.flush()?;
        }
        fs::write(
            self.folder.join("count.json"),
            format!("{{\"count\": {}}}", self.count),
        )?;
        Ok(())
    }
}

struct Sample {
    image: Vec<u8>,
    keypoints: Vec<f32>,
    mask: Vec<u8>,
    joints: Vec<f32>,
    rays: Vec<f32>,
    camera: Vec<f32>,
}

fn crops(folder: &Path, count: usize, seed: u64) -> Result<()> {
    let clock = Clock::live();
    let start = clock.now();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut shard = Shard::open(folder)?;
    let (mut made, mut flushed) = (0, 0);
    while made < count {
        let config = chance(&mut rng);
        let mut scene = Scene::new(&config)?;
        let mut rgb = vec![0; scene.image_bytes()];
        for _ in 0..TIMES {
            let time_s = rng.f64() * f64::from(scene.period_s(0));
            scene.render_into(time_s, &mut rgb);
            let truth = scene.truth_at(time_s);
            for (person, truth) in truth.people.iter().enumerate() {
                if let Some(sample) = sample(&scene, &rgb, person, truth, time_s, &mut rng) {
                    shard.write(&sample)?;
                    made += 1;
                }
            }
        }
        if made >= flushed + 250 {
            shard.flush()?;
            flushed = made;
        }
    }
    shard.flush()?;
    let seconds = clock.now().since(start).as_secs_f64();
    println!(
        "{made} samples in {seconds:.0} s, {} in {}",
        shard.count,
        folder.display()
    );
    Ok(())
}

/// The smallest rotation that takes `ray` to +z (closed form).
fn facing(ray: Vec3) -> Mat3 {
    let Vec3 { x, y, z } = ray.normalize();
    let q = 1.0 / (1.0 + z);
    Mat3::from_cols(
        Vec3::new(1.0 - q * x * x, -q * x * y, x),
        Vec3::new(-q * x * y, 1.0 - q * y * y, y),
        Vec3::new(-x, -y, z),
    )
}

fn sample(
    scene: &Scene,
    rgb: &[u8],
    person: usize,
    truth: &PersonTruth,
    time_s: f64,
    rng: &mut fastrand::Rng,
) -> Option<Sample> {
    let (width, height) = scene.size_px();
    let seen = truth
        .keypoint_visibility
        .iter()
        .filter(|visibility| **visibility == Visibility::Seen)
        .count();
    if seen < 3 {
        return None;
    }
    let (low, high) = person_box(truth, width as f32, height as f32, rng)?;
    let k = scene.intrinsics();
    let ray = |x: f32, y: f32| Vec3::new((x - k.cx) / k.fx, (y - k.cy) / k.fy, 1.0);
    let middle = 0.5 * (low + high);
    let turn = facing(ray(middle.x, middle.y));
    let mut half = Vec3::ZERO;
    for (x, y) in [
        (low.x, low.y),
        (high.x, low.y),
        (high.x, high.y),
        (low.x, high.y),
    ] {
        let turned = turn * ray(x, y);
        half = half.max((turned / turned.z).abs());
    }
    let (cw, ch) = (CROP.0 as f32, CROP.1 as f32);
    let zoom = (0.2 * between(rng, -1.0, 1.0)).exp();
    let focal = zoom * (cw / (2.0 * MARGIN * half.x)).min(ch / (2.0 * MARGIN * half.y));
    let (cx, cy) = (0.5 * (cw - 1.0), 0.5 * (ch - 1.0));
    let image = warp(
        rgb,
        (width, height),
        focal,
        &|x, y| {
            let way = turn.transpose() * Vec3::new((x - cx) / focal, (y - cy) / focal, 1.0);
            (way.z > 0.05).then(|| (k.cx + k.fx * way.x / way.z, k.cy + k.fy * way.y / way.z))
        },
        k.fx,
    );
    let mut image = image;
    as_a_camera(&mut image, rng);

    let pixel = |turned: Vec3| {
        (
            cx + focal * turned.x / turned.z.max(0.05),
            cy + focal * turned.y / turned.z.max(0.05),
        )
    };
    let mut keypoints = Vec::with_capacity(KEYPOINTS * 4);
    for (index, point) in truth.pose.keypoints_camera_m.iter().enumerate() {
        let (x, y) = pixel(turn * *point);
        let inside = x >= -0.5 && y >= -0.5 && x < cw - 0.5 && y < ch - 0.5;
        let visible = inside && truth.keypoint_visibility[index] == Visibility::Seen;
        keypoints.extend([x, y, f32::from(visible), f32::from(inside)]);
    }
    let mut mask = Vec::with_capacity(48 * 36);
    for row in 0..48 {
        for column in 0..36 {
            let (x, y) = ((4 * column + 1) as f32, (4 * row + 1) as f32);
            let way = turn.transpose() * Vec3::new((x - cx) / focal, (y - cy) / focal, 1.0);
            let px = (
                (k.cx + k.fx * way.x / way.z).round(),
                (k.cy + k.fy * way.y / way.z).round(),
            );
            let there = way.z > 0.05
                && px.0 >= 0.0
                && px.1 >= 0.0
                && px.0 < width as f32
                && px.1 < height as f32;
            let label = if there {
                scene.labels()[px.1 as usize * width as usize + px.0 as usize]
            } else {
                0
            };
            mask.push(if usize::from(label >> 2) == person + 1 {
                label & 3
            } else {
                0
            });
        }
    }
    let mut rays = Vec::with_capacity(PAST * KEYPOINTS * 2);
    for past in 0..PAST {
        let ago = (PAST - 1 - past) as f64 / 30.0;
        for point in scene.pose_at(person, time_s - ago).keypoints_camera_m {
            let turned = turn * point;
            rays.extend([turned.x / turned.z.max(0.1), turned.y / turned.z.max(0.1)]);
        }
    }
    let joints = truth.pose.joints_camera_m.map(|joint| turn * joint);
    Some(Sample {
        image,
        keypoints,
        mask,
        joints: joints
            .iter()
            .flat_map(|joint| (*joint - joints[0]).to_array())
            .collect(),
        rays,
        camera: vec![focal, cx, cy, joints[0].z],
    })
}

/// The person's box as a person detector or the last frame's keypoints would give it.
fn person_box(
    truth: &PersonTruth,
    width: f32,
    height: f32,
    rng: &mut fastrand::Rng,
) -> Option<(Vec3, Vec3)> {
    let outline = &truth.outline;
    let (mut low, mut high) = (
        Vec3::new(outline.left, outline.top, 0.0),
        Vec3::new(outline.right, outline.bottom, 0.0),
    );
    if rng.u32(0..3) == 0 {
        low = Vec3::splat(f32::INFINITY);
        high = -low;
        for [x, y] in truth.keypoints_px {
            low = low.min(Vec3::new(x, y, 0.0));
            high = high.max(Vec3::new(x, y, 0.0));
        }
        let grow = 0.1 * (high - low);
        (low, high) = (low - grow, high + grow);
    }
    low = low.max(Vec3::ZERO);
    high = high.min(Vec3::new(width - 1.0, height - 1.0, 0.0));
    let size = high - low;
    if size.x < 8.0 || size.y < 24.0 {
        return None;
    }
    let shift = size * Vec3::new(normal(rng), normal(rng), 0.0) * 0.05;
    Some((low + shift, high + shift))
}

/// Bilinear, the mean of several samples where the crop is smaller than the
/// image; black outside.
fn warp(
    rgb: &[u8],
    size: (u32, u32),
    focal: f32,
    place: &dyn Fn(f32, f32) -> Option<(f32, f32)>,
    image_focal: f32,
) -> Vec<u8> {
    let taps = ((image_focal / focal).round() as usize).clamp(1, 4);
    let (width, height) = (size.0 as i32, size.1 as i32);
    let at = |x: i32, y: i32| {
        if x < 0 || y < 0 || x >= width || y >= height {
            return Vec3::ZERO;
        }
        let index = (y * width + x) as usize * 3;
        Vec3::new(
            f32::from(rgb[index]),
            f32::from(rgb[index + 1]),
            f32::from(rgb[index + 2]),
        )
    };
    let mut out = Vec::with_capacity(CROP.0 * CROP.1 * 3);
    for y in 0..CROP.1 {
        for x in 0..CROP.0 {
            let mut sum = Vec3::ZERO;
            for tap in 0..taps * taps {
                let shift = |tap: usize| (tap as f32 + 0.5) / taps as f32 - 0.5;
                let (dx, dy) = (shift(tap % taps), shift(tap / taps));
                let Some((px, py)) = place(x as f32 + dx, y as f32 + dy) else {
                    continue;
                };
                let (fx, fy) = (px.floor(), py.floor());
                let (ix, iy) = (fx as i32, fy as i32);
                let top = at(ix, iy).lerp(at(ix + 1, iy), px - fx);
                let low = at(ix, iy + 1).lerp(at(ix + 1, iy + 1), px - fx);
                sum += top.lerp(low, py - fy);
            }
            let mean = sum / (taps * taps) as f32;
            out.extend([mean.x as u8, mean.y as u8, mean.z as u8]);
        }
    }
    out
}

/// What a lens and a sensor add: blur, gain, contrast, tint, noise.
fn as_a_camera(image: &mut [u8], rng: &mut fastrand::Rng) {
    let (w, h) = (CROP.0, CROP.1);
    for _ in 0..[0, 0, 1, 1, 2][rng.usize(..5)] {
        let from = image.to_vec();
        for y in 1..h - 1 {
            for x in 3..(w - 1) * 3 {
                let at = y * w * 3 + x;
                let sum = 4 * u32::from(from[at])
                    + u32::from(from[at - 3])
                    + u32::from(from[at + 3])
                    + u32::from(from[at - w * 3])
                    + u32::from(from[at + w * 3]);
                image[at] = (sum / 8) as u8;
            }
        }
    }
    let gain = between(rng, 0.65, 1.35);
    let contrast = between(rng, 0.65, 1.25);
    let shift = 12.0 * normal(rng);
    let tint = [(); 3].map(|()| 1.0 + 0.06 * normal(rng));
    let speckle = -8.0 * rng.f32().max(0.02).ln() * 0.4;
    for pixel in image.chunks_exact_mut(3) {
        if pixel == [0, 0, 0] {
            continue;
        }
        for (byte, tint) in pixel.iter_mut().zip(tint) {
            let value = (f32::from(*byte) * gain * tint - 128.0) * contrast + 128.0 + shift;
            let noise = (rng.f32() + rng.f32() - 1.0) * 2.4 * speckle;
            *byte = (value + noise).clamp(0.0, 255.0) as u8;
        }
    }
}

fn sheet(file: &Path, configs: &[SyntheticConfig], times: &[f64], marks: bool) -> Result<()> {
    let (w, h) = configs
        .first()
        .map_or((2, 2), |config| (config.width_px, config.height_px));
    let mut sheet = tiny_skia::Pixmap::new(w * times.len() as u32, h * configs.len() as u32)
        .context("empty sheet")?;
    let wide = sheet.width() as usize;
    for (row, config) in configs.iter().enumerate() {
        let mut scene = Scene::new(config)?;
        let mut rgb = vec![0; scene.image_bytes()];
        for (column, time_s) in times.iter().enumerate() {
            scene.render_into(*time_s, &mut rgb);
            if marks {
                mark(&mut scene, *time_s, &mut rgb);
            }
            for (y, line) in rgb.chunks_exact(3 * w as usize).enumerate() {
                for (x, pixel) in line.chunks_exact(3).enumerate() {
                    let at = 4 * ((row * h as usize + y) * wide + column * w as usize + x);
                    sheet.data_mut()[at..at + 3].copy_from_slice(pixel);
                    sheet.data_mut()[at + 3] = 255;
                }
            }
        }
    }
    sheet
        .save_png(file)
        .with_context(|| file.display().to_string())?;
    println!("{}", file.display());
    Ok(())
}

fn mark(scene: &mut Scene, time_s: f64, rgb: &mut [u8]) {
    let (width, height) = scene.size_px();
    for person in scene.truth_at(time_s).people {
        for (place, visibility) in person.keypoints_px.iter().zip(person.keypoint_visibility) {
            let colour = if visibility.is_hidden() {
                [255, 0, 0]
            } else {
                [0, 255, 0]
            };
            for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)] {
                let (x, y) = (place[0].round() + dx, place[1].round() + dy);
                if x >= 0.0 && y >= 0.0 && x < width as f32 && y < height as f32 {
                    let at = 3 * (y as usize * width as usize + x as usize);
                    rgb[at..at + 3].copy_from_slice(&colour);
                }
            }
        }
    }
}
