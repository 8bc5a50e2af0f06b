//! Streams with the poses of the daemon's own lifter, refined and smoothed, for training what comes after it.
//!
//! `pose_streams rays IN OUT` takes streams of simulated keypoints (models/training/dictionary/streams.py),
//! `pose_streams drawn INDEX OUT --clips 1000 --seed 1` draws people doing recorded motion and looks at the pictures.
//! `OUT` has the tensors of `IN`, on a grid of 30 steps a second from the first pose of each stream on, and
//!
//! | tensor | shape | meaning |
//! | --- | --- | --- |
//! | `lifted`, `raw`, `own`, `apart` | f32 [N,17,3] | [`Estimate`]'s joints: smoothed, not, before refinement; how the looks differ |
//! | `root` | f32 [N,3] | the pelvis, camera frame, metres |
//! | `picture` | f32 [N] | 1: the head saw the picture |
//! | `fresh` | u8 [N] | 0: no pose at this step, the one before is repeated |

#![expect(clippy::print_stdout, reason = "a program that says what it did")]

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use glam::Vec3;
use poised::base::clock::MonoNs;
use poised::base::limits::RATE_HZ;
use poised::base::tensors::half;
use poised::camera::{Calibration, Distortion, Intrinsics, Origin};
use poised::estimate::{EstimateConfig, Poser};
use poised::lab::eval::motion;
use poised::lift::Estimate;
use poised::lift::window::{RaySample, rays_of};
use poised::pose::{BoxPx, Detection, JointState, Keypoint, People, VISIBILITY_GATE};
use poised::skeleton::{JOINTS, KEYPOINTS};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

#[path = "common/drawn_clip.rs"]
mod drawn_clip;
#[path = "common/in_order.rs"]
mod in_order;

use in_order::in_order;

/// Pixels a ray, and of the image's side: nothing that a lens sees lies outside.
const FOCAL_PX: f32 = 1000.0;
const SIDE_PX: u32 = 6000;

/// A gap after which the program begins a person again.
const GAP_STEPS_MAX: usize = 90;

/// Length of a synthetic clip, seconds.
const CLIP_S: f64 = 8.0;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Simulated keypoints.
    Rays { from: PathBuf, to: PathBuf },
    /// Synthetic people.
    Drawn {
        index: PathBuf,
        to: PathBuf,
        #[arg(long, default_value_t = 1000)]
        clips: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// People who are left out, by commas.
        #[arg(long, value_delimiter = ',')]
        without: Vec<String>,
        /// The only people taken, by commas.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
}

/// One moment of a stream.
struct Moment {
    time: MonoNs,
    seen: Option<Detection>,
    /// Joints from the pelvis, camera frame, metres.
    truth: [Vec3; JOINTS],
}

/// Columns of the file, row after row.
#[derive(Default)]
struct Rows {
    lifted: Vec<f32>,
    raw: Vec<f32>,
    own: Vec<f32>,
    apart: Vec<f32>,
    root: Vec<f32>,
    sigma: Vec<f32>,
    rays: Vec<f32>,
    truth: Vec<f32>,
    seen: Vec<u8>,
    picture: Vec<f32>,
    fresh: Vec<u8>,
    streams: Vec<Followed>,
}

/// A part of a stream in which a person had one id.
struct Followed {
    rows: usize,
    /// The motion's name, and of each phrase whether it holds for it.
    name: String,
    actions: Vec<u8>,
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Rays { from, to } => rays(&from, &to),
        What::Drawn {
            index,
            to,
            clips,
            seed,
            without,
            only,
        } => {
            let mut motions = motion::read(&index)?;
            motions.retain(|motion| !without.contains(&motion.subject));
            motions.retain(|motion| only.is_empty() || only.contains(&motion.subject));
            let phrases = phrases()?;
            let rows = in_order(clips, |clip| {
                let (motion, shown) = drawn_clip::drawn_clip(&motions, seed, clip, CLIP_S)?;
                let moments = shown.moments.iter().map(|moment| Moment {
                    time: moment.time,
                    seen: moment.seen.clone(),
                    truth: moment
                        .joints_camera_m
                        .map(|joint| joint - moment.joints_camera_m[0]),
                });
                let actions: Vec<u8> = phrases
                    .iter()
                    .map(|phrase| u8::from(motion.actions.contains(phrase)))
                    .collect();
                follow((&motion.id, &actions), &shown.calibration, moments)
            })?;
            write(&to, rows)
        }
    }
}

fn rays(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    let bytes = std::fs::read(from)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let metadata = header.metadata().as_ref().expect("streams.py writes some");
    let names: Vec<String> = serde_json::from_str(&metadata["trials"])?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let (rays, truth) = (
        halves(&tensors.tensor("rays")?),
        halves(&tensors.tensor("truth")?),
    );
    let starts: Vec<usize> = tensors
        .tensor("starts")?
        .data()
        .chunks_exact(8)
        .map(|b| Ok(usize::try_from(i64::from_le_bytes(b.try_into()?))?))
        .collect::<Result<_>>()?;
    let actions = tensors.tensor("actions")?;
    let width = actions.shape()[1];
    let camera = camera()?;
    let rows = in_order(starts.len() - 1, |stream| {
        let rows = starts[stream]..starts[stream + 1];
        let moments = rows.enumerate().map(|(at, row)| Moment {
            time: at_step(at),
            seen: detection(&rays[row * 3 * KEYPOINTS..][..3 * KEYPOINTS], &camera),
            truth: std::array::from_fn(|joint| {
                Vec3::from_slice(&truth[3 * (row * JOINTS + joint)..])
            }),
        });
        let actions = &actions.data()[stream * width..][..width];
        follow((&names[stream], actions), &camera, moments)
    })?;
    write(to, rows)
}

/// The phrases of the dictionary that ships, in its order.
fn phrases() -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Row {
        phrase: String,
    }
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary/phrases.json");
    let rows: Vec<Row> = serde_json::from_slice(&std::fs::read(path)?)?;
    Ok(rows.into_iter().map(|row| row.phrase).collect())
}

fn at_step(step: usize) -> MonoNs {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "minutes"
    )]
    MonoNs(1_000_000_000 + (1e9 * step as f64 / f64::from(RATE_HZ)) as u64)
}

/// A camera that sees everything.
fn camera() -> Result<Calibration> {
    let middle = 0.5 * f64::from(SIDE_PX - 1);
    Ok(Calibration::new(
        (SIDE_PX, SIDE_PX),
        Intrinsics {
            fx_px: FOCAL_PX.into(),
            fy_px: FOCAL_PX.into(),
            cx_px: middle,
            cy_px: middle,
        },
        Distortion::None {},
        Origin::Assumed,
    )?)
}

fn detection(rays: &[f32], camera: &Calibration) -> Option<Detection> {
    let keypoints: [Keypoint; KEYPOINTS] = std::array::from_fn(|k| {
        let ray = &rays[3 * k..3 * k + 3];
        let pixel = camera.pixel(glam::Vec2::new(ray[0], ray[1]));
        Keypoint::new(pixel.x, pixel.y, ray[2])
    });
    Some(Detection {
        score: 0.9,
        bounds: BoxPx::around(&keypoints, VISIBILITY_GATE)?,
        keypoints,
        features: None,
    })
}

/// The poses of one stream of the motion of this name, for which these phrases hold; the person was never seen before.
fn follow(
    motion: (&str, &[u8]),
    camera: &Calibration,
    moments: impl Iterator<Item = Moment>,
) -> Result<Rows> {
    let mut config = EstimateConfig::default();
    config.semantics.enabled = false;
    let mut poser = Poser::open(&config)?;
    let mut rows = Rows::default();
    let mut last: Option<Last> = None;
    for moment in moments {
        let mut people = People::new();
        people.extend(moment.seen);
        let tracked = poser.track(moment.time, &people);
        let Some((id, keypoints)) = tracked
            .first()
            .map(|person| (person.id, person.detection.keypoints))
        else {
            continue;
        };
        let Ok(estimate) = poser.lift(moment.time, camera, 0) else {
            continue;
        };
        let new = Last {
            id,
            estimate,
            rays: rays_of(camera, &keypoints),
            truth: moment.truth,
            begun: moment.time,
            taken: 0,
        };
        last = Some(match last {
            Some(mut before) if before.id == id && before.missed(moment.time) < GAP_STEPS_MAX => {
                for _ in 0..before.missed(moment.time) {
                    rows.push(&before, false);
                    before.taken += 1;
                }
                if before.due(moment.time) > before.taken {
                    rows.push(&new, true);
                    before.taken += 1;
                }
                Last {
                    begun: before.begun,
                    taken: before.taken,
                    ..new
                }
            }
            before => {
                rows.end(before.as_ref(), motion);
                rows.push(&new, true);
                Last { taken: 1, ..new }
            }
        });
    }
    rows.end(last.as_ref(), motion);
    Ok(rows)
}

/// The newest pose of a person.
struct Last {
    id: u32,
    estimate: Estimate,
    rays: RaySample,
    truth: [Vec3; JOINTS],
    /// When the stream began, and rows since then.
    begun: MonoNs,
    taken: usize,
}

impl Last {
    /// Steps from the first to `time`.
    fn due(&self, time: MonoNs) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "minutes"
        )]
        let steps = (time.since(self.begun).as_secs_f64() * f64::from(RATE_HZ)).round() as usize;
        steps + 1
    }

    /// Steps without a pose between the last one and `time`.
    fn missed(&self, time: MonoNs) -> usize {
        self.due(time).saturating_sub(self.taken + 1)
    }
}

impl Rows {
    /// The stream of `last` is over.
    fn end(&mut self, last: Option<&Last>, (name, actions): (&str, &[u8])) {
        if let Some(last) = last {
            self.streams.push(Followed {
                rows: last.taken,
                name: name.to_owned(),
                actions: actions.to_vec(),
            });
        }
    }

    fn push(&mut self, last: &Last, fresh: bool) {
        let Last {
            estimate,
            rays,
            truth,
            ..
        } = last;
        let flat = |joints: &[Vec3; JOINTS]| joints.map(|joint| joint.to_array());
        self.lifted
            .extend(flat(&estimate.relative_camera_m).as_flattened());
        self.raw
            .extend(flat(&estimate.stages.unsmoothed_m).as_flattened());
        self.own
            .extend(flat(&estimate.stages.unrefined_m).as_flattened());
        self.apart
            .extend(flat(&estimate.stages.apart_m).as_flattened());
        self.root.extend(estimate.root_camera_m.to_array());
        self.sigma.extend(estimate.sigmas_m);
        for ray in rays {
            let visibility = if ray.is_present() {
                ray.visibility
            } else {
                0.0
            };
            self.rays.extend([ray.ray.x, ray.ray.y, visibility]);
        }
        self.truth.extend(flat(truth).as_flattened());
        self.seen
            .extend(estimate.states.map(|s| u8::from(s == JointState::Measured)));
        self.picture
            .push(if estimate.stages.picture { 1.0 } else { 0.0 });
        self.fresh.push(u8::from(fresh));
    }
}

fn write(to: &std::path::Path, streams: Vec<Rows>) -> Result<()> {
    let mut rows = Rows::default();
    let (mut starts, mut names, mut actions) = (vec![0_i64], Vec::new(), Vec::new());
    let mut width = 0;
    for part in streams {
        for followed in part.streams {
            starts.push(starts.last().expect("one") + i64::try_from(followed.rows)?);
            names.push(followed.name);
            width = followed.actions.len();
            actions.extend(followed.actions);
        }
        rows.lifted.extend(part.lifted);
        rows.raw.extend(part.raw);
        rows.own.extend(part.own);
        rows.apart.extend(part.apart);
        rows.root.extend(part.root);
        rows.sigma.extend(part.sigma);
        rows.rays.extend(part.rays);
        rows.truth.extend(part.truth);
        rows.seen.extend(part.seen);
        rows.picture.extend(part.picture);
        rows.fresh.extend(part.fresh);
    }
    let count = rows.fresh.len();
    let numbers = [
        ("lifted", &rows.lifted, vec![count, JOINTS, 3]),
        ("raw", &rows.raw, vec![count, JOINTS, 3]),
        ("own", &rows.own, vec![count, JOINTS, 3]),
        ("apart", &rows.apart, vec![count, JOINTS, 3]),
        ("root", &rows.root, vec![count, 3]),
        ("sigma", &rows.sigma, vec![count, JOINTS]),
        ("rays", &rows.rays, vec![count, KEYPOINTS, 3]),
        ("truth", &rows.truth, vec![count, JOINTS, 3]),
        ("picture", &rows.picture, vec![count]),
    ];
    let numbers: Vec<_> = numbers
        .into_iter()
        .map(|(name, numbers, shape)| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            (name, bytes, shape, Dtype::F32)
        })
        .chain([
            ("seen", rows.seen, vec![count, JOINTS], Dtype::U8),
            ("fresh", rows.fresh, vec![count], Dtype::U8),
            (
                "starts",
                starts.iter().flat_map(|n| n.to_le_bytes()).collect(),
                vec![starts.len()],
                Dtype::I64,
            ),
            ("actions", actions, vec![names.len(), width], Dtype::U8),
        ])
        .collect();
    let tensors: Vec<_> = numbers
        .iter()
        .map(|(name, bytes, shape, kind)| {
            Ok((*name, TensorView::new(*kind, shape.clone(), bytes)?))
        })
        .collect::<Result<_>>()?;
    let metadata = HashMap::from([("trials".to_owned(), serde_json::to_string(&names)?)]);
    std::fs::write(to, safetensors::serialize(tensors, Some(metadata))?)?;
    println!("{}: {count} steps in {} streams", to.display(), names.len());
    Ok(())
}

fn halves(tensor: &TensorView<'_>) -> Vec<f32> {
    let numbers = tensor.data().chunks_exact(2);
    numbers
        .map(|b| half(u16::from_le_bytes([b[0], b[1]])))
        .collect()
}
