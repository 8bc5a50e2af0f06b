//! Milliseconds of naming and completing, on one core: the encoders forward and
//! backward, a query among many entries, a person's frame with hidden legs (processor time), start-up.
//!
//! `cargo bench --bench semantics`; `benches/semantics_torch.py` runs the same encoders in `PyTorch`.

#[path = "common/standing.rs"]
mod standing;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use glam::{Vec2, Vec3};
use poised::base::clock::MonoNs;
use poised::base::limits::{LIFT_FEATURES, LIFT_SAMPLES, MOTION_SAMPLES};
use poised::lift::input::{LIFT_INPUT, build_input};
use poised::lift::window::{RayKeypoint, RaySample};
use poised::lift::{Estimate, Stages};
use poised::motion::dictionary::{Dictionary, Entry, NewEntry};
use poised::motion::encoder::JointSamples;
use poised::motion::{DICTIONARY_FILE, open, open_completer};
use poised::pose::{HeadTag, JointState};
use poised::skeleton::{JOINTS, KEYPOINTS};
use poised::sys::rt::thread_cpu_ns;
use standing::STANDING;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary")
}

/// The pose with swinging limbs at step `step` of 30 a second.
fn pose(step: u16) -> [Vec3; JOINTS] {
    let swing = 0.15 * (f32::from(step) * 0.2).sin();
    let mut joints = STANDING.map(Vec3::from_array);
    for (joint, way) in [(3, 1.0), (6, -1.0), (13, -1.0), (16, 1.0)] {
        joints[joint].z += way * swing;
    }
    joints
}

fn keypoints(step: u16, hidden: &[usize]) -> RaySample {
    let joints = pose(step);
    std::array::from_fn(|keypoint| {
        let shown = poised::skeleton::SHARED
            .iter()
            .find(|pair| pair.1 == keypoint);
        let joint = shown.map_or(10, |pair| pair.0);
        if hidden.contains(&keypoint) {
            return RayKeypoint::default();
        }
        let at = joints[joint] + Vec3::new(0.0, 0.0, 3.0);
        RayKeypoint {
            ray: at.truncate() / at.z + Vec2::splat(1e-3),
            visibility: 0.9,
        }
    })
}

fn window() -> Box<JointSamples> {
    let mut out = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
    for (step, row) in (0..).zip(out.iter_mut()) {
        *row = pose(step);
    }
    out
}

fn estimate(step: u16, rays: &RaySample, hidden: &[usize]) -> Estimate {
    let samples = Box::new([*rays; LIFT_SAMPLES]);
    let mut input = Box::new([0.0; LIFT_INPUT]);
    let mut states = [JointState::Measured; JOINTS];
    for joint in hidden {
        states[*joint] = JointState::Absent;
    }
    Estimate {
        size: poised::pose::Size::default(),
        root_camera_m: Vec3::new(0.0, 0.0, 3.0),
        root_sigma_m: 0.1,
        relative_camera_m: pose(step),
        stages: Stages {
            unrefined_m: pose(step),
            unsmoothed_m: pose(step),
            refined: true,
            ..Stages::default()
        },
        sigmas_m: [0.05; JOINTS],
        states,
        view: build_input(&samples, &mut input).expect("a person is seen"),
        features: [0.0; LIFT_FEATURES],
        image_part: [0.0; poised::lift::head::HIDDEN],
        head: HeadTag::default(),
    }
}

fn encoders(c: &mut Criterion) {
    let (encoders, dictionary) = open(&folder(), None).expect("it ships");
    let mut space = encoders.motion.workspace();
    let joints = window();
    c.bench_function("motion encoder forward", |b| {
        b.iter(|| {
            black_box(
                encoders
                    .motion
                    .embed(black_box(&joints), &mut space)
                    .is_some(),
            )
        });
    });
    let text = dictionary.text(0).to_vec();
    let mut gradient = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
    c.bench_function("motion encoder forward and backward", |b| {
        b.iter(|| {
            black_box(encoders.motion.misalignment(
                black_box(&joints),
                &text,
                &mut space,
                &mut gradient,
            ))
        });
    });
    let mut space = encoders.rays.workspace();
    let mut samples = Box::new([[RayKeypoint::default(); KEYPOINTS]; MOTION_SAMPLES]);
    for (step, sample) in (0..).zip(samples.iter_mut()) {
        *sample = keypoints(step, &[]);
    }
    c.bench_function("ray encoder forward", |b| {
        b.iter(|| {
            black_box(
                encoders
                    .rays
                    .embed(black_box(&samples), &mut space)
                    .is_some(),
            )
        });
    });
}

fn query(c: &mut Criterion) {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut direction = || {
        let raw: Vec<f32> = (0..384).map(|_| rng.f32() - 0.5).collect();
        let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
        raw.into_iter().map(|v| v / length).collect::<Vec<_>>()
    };
    for count in [100, 1_000, 10_000] {
        let mut dictionary = Dictionary::empty("bench", 384, 1);
        for entry in 0..count {
            let new = NewEntry {
                entry: Entry {
                    phrase: format!("action {entry}"),
                    ..Entry::default()
                },
                text: direction(),
                ..NewEntry::default()
            };
            dictionary.add(new).expect("it holds together");
        }
        let (wanted, mut cosines) = (direction(), vec![0.0; count]);
        c.bench_function(&format!("query among {count} entries"), |b| {
            b.iter(|| dictionary.text_cosines(black_box(&wanted), &mut cosines));
        });
    }
}

fn complete(c: &mut Criterion) {
    let (encoders, dictionary) = open(&folder(), None).expect("it ships");
    let mut completer = open_completer(&folder(), &encoders, &dictionary).expect("it ships");
    let (joints, points) = ([2, 3, 5, 6], [13, 14, 15, 16]);
    for (name, joints, points) in [
        ("complete, all seen", &joints[..0], &points[..0]),
        ("complete, legs hidden", &joints[..], &points[..]),
    ] {
        let mut memory = completer.memory();
        // Ten seconds of frames, and a time that never stands back.
        let frames: Vec<(RaySample, Estimate)> = (0..300)
            .map(|step| {
                let rays = keypoints(step, points);
                (rays, estimate(step, &rays, joints))
            })
            .collect();
        let mut step = 0_u64;
        c.bench_function(name, |b| {
            b.iter_custom(|count| {
                let begun_ns = thread_cpu_ns();
                for _ in 0..count {
                    let at = usize::try_from(step % 300).expect("less than 300");
                    let (rays, mut estimate) = frames[at].clone();
                    let time = MonoNs(1_000_000_000 + step * 33_333_333);
                    completer.step(&mut memory, time, &rays, &mut estimate, 1e9);
                    step += 1;
                    black_box(estimate.relative_camera_m[3]);
                }
                Duration::from_nanos(thread_cpu_ns() - begun_ns)
            });
        });
    }
}

fn start(c: &mut Criterion) {
    let (encoders, dictionary) = open(&folder(), None).expect("it ships");
    let path = folder().join(DICTIONARY_FILE);
    let (width, rank) = (encoders.width(), encoders.prior.rank());
    c.bench_function("read the dictionary", |b| {
        b.iter(|| Dictionary::read(&path, &encoders.id, width, rank).expect("it ships"));
    });
    c.bench_function("open everything", |b| {
        b.iter(|| {
            let (encoders, _) = open(&folder(), None).expect("it ships");
            open_completer(&folder(), &encoders, &dictionary).expect("it ships")
        });
    });
}

criterion_group!(
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = encoders, query, complete, start
);
criterion_main!(benches);
