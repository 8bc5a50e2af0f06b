//! Draws frames of the synthetic camera with everything that is true of them, for
//! training networks: `draw_people OUT FIRST_SEED SCENES FRAMES WIDTH HEIGHT`.
//!
//! Writes raw files into the folder OUT (little-endian, C order; N frames, P people in them):
//!
//! * `frames.u8` `[N, HEIGHT, WIDTH, 3]` RGB,
//! * `labels.u8` `[N, HEIGHT, WIDTH]`: `(person + 1) << 2 | class`, class 1 skin and hair, 2 clothes,
//! * `people.f32` `[P, 1030]`: frame, person, outline (left, top, right, bottom; pixels), fx, fy, cx,
//!   cy, 17 COCO keypoints (x, y, 1 where seen), 17 Human3.6M joints (x, y, z in the camera's
//!   optical frame, metres), rays (x/z, y/z) of the keypoints at 27 samples of 30 Hz, newest last,
//! * `frames.json`: the sizes above.
//!
//! Every other scene is the `varied` one; the rest takes the scenarios in turn, seen
//! from random places.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::fs::{File, create_dir_all, write};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use fastrand::Rng;
use poised::synthetic::{Scenario, Scene, SyntheticConfig};

const SAMPLES: u32 = 27;
const SAMPLE_S: f64 = 1.0 / 30.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, first, scenes, frames, width, height] = arguments.as_slice() else {
        return Err("wanted: OUT FIRST_SEED SCENES FRAMES WIDTH HEIGHT".into());
    };
    let out = PathBuf::from(out);
    let (first, scenes): (u64, u64) = (first.parse()?, scenes.parse()?);
    let (frames, width, height): (u32, u32, u32) =
        (frames.parse()?, width.parse()?, height.parse()?);
    create_dir_all(&out)?;
    let mut image_file = BufWriter::new(File::create(out.join("frames.u8"))?);
    let mut label_file = BufWriter::new(File::create(out.join("labels.u8"))?);
    let mut people_file = BufWriter::new(File::create(out.join("people.f32"))?);
    let (mut count, mut people) = (0_u16, 0_u32);
    for number in 0..scenes {
        let seed = first + number;
        let mut rng = Rng::with_seed(seed);
        let mut scene = Scene::new(&config(seed, width, height, &mut rng))?;
        let lens = scene.intrinsics();
        let mut rgb = vec![0; scene.image_bytes()];
        for _ in 0..frames {
            let time_s = 1.0 + rng.f64() * f64::from(scene.period_s(0).max(10.0));
            scene.render_into(time_s, &mut rgb);
            image_file.write_all(&rgb)?;
            label_file.write_all(scene.labels())?;
            for (index, person) in scene.truth_at(time_s).people.iter().enumerate() {
                let bounds = person.outline;
                let mut row = vec![
                    f32::from(count),
                    f32::from(u8::try_from(index)?),
                    bounds.left,
                    bounds.top,
                    bounds.right,
                    bounds.bottom,
                    lens.fx,
                    lens.fy,
                    lens.cx,
                    lens.cy,
                ];
                for (pixel, visibility) in
                    person.keypoints_px.iter().zip(&person.keypoint_visibility)
                {
                    row.extend([
                        pixel[0],
                        pixel[1],
                        f32::from(u8::from(!visibility.is_hidden())),
                    ]);
                }
                for joint in person.pose.joints_camera_m {
                    row.extend(joint.to_array());
                }
                for sample in (0..SAMPLES).rev() {
                    let then_s = time_s - f64::from(sample) * SAMPLE_S;
                    for point in scene.pose_at(index, then_s).keypoints_camera_m {
                        let depth = point.z.max(0.1);
                        row.extend([point.x / depth, point.y / depth]);
                    }
                }
                for value in row {
                    people_file.write_all(&value.to_le_bytes())?;
                }
                people += 1;
            }
            count = count.checked_add(1).ok_or("at most 65535 frames")?;
        }
    }
    image_file.flush()?;
    label_file.flush()?;
    people_file.flush()?;
    write(
        out.join("frames.json"),
        format!(
            "{{\"frames\": {count}, \"people\": {people}, \"width\": {width}, \"height\": {height}}}\n"
        ),
    )?;
    println!("{count} frames, {people} people");
    Ok(())
}

/// A scene seen from somewhere.
fn config(seed: u64, width_px: u32, height_px: u32, rng: &mut Rng) -> SyntheticConfig {
    let between = |rng: &mut Rng, low: f32, high: f32| low + (high - low) * rng.f32();
    let scenario = if rng.bool() {
        Scenario::Varied
    } else {
        Scenario::ALL[rng.usize(..Scenario::ALL.len())]
    };
    let mut config = SyntheticConfig {
        seed,
        width_px,
        height_px,
        people: Some(rng.u8(1..=3)),
        ..SyntheticConfig::of(scenario)
    };
    if rng.bool() {
        config.azimuth_deg = between(rng, -180.0, 180.0);
        config.roll_deg = between(rng, -12.0, 12.0);
        config.height_m = Some(between(rng, 0.4, 2.8));
        config.distance_m = Some(between(rng, 1.6, 5.5));
        config.fov_deg = Some(between(rng, 40.0, 95.0));
    }
    config
}
