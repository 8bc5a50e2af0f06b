//! Milliseconds of adapting, processor time of one core: a frame refined, a synthetic view made, a step of 32
//! samples, a decision of the guard.
//!
//! `./dev bench --bench adapt`; `benches/adapt_torch.py` takes the same step in `PyTorch`, `benches/sem_torch.py` a
//! window of method `sem`.

#[path = "common/standing.rs"]
mod standing;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use glam::{Vec2, Vec3};
use poised::adapt::clips::{CLIP_SAMPLES, Clip, ClipSample};
use poised::adapt::guard;
use poised::adapt::synthetic_view::{Site, SyntheticViews};
use poised::adapt::train::{Sample, Trainer};
use poised::adapt::{Method, Observation};
use poised::base::clock::MonoNs;
use poised::base::limits::RATE_HZ;
use poised::engine::Engine;
use poised::estimate::{EstimateConfig, Poser};
use poised::lift::head::{HIDDEN, Head};
use poised::lift::input::View;
use poised::lift::model::{NetworkBackbone, open};
use poised::lift::refine::{Detector, Own, RefineMemory, refine};
use poised::lift::window::RayKeypoint;
use poised::pose::HeadTag;
use poised::skeleton::{JOINTS, KEYPOINTS, keypoints_of};
use poised::sys::rt::thread_cpu_ns;
use standing::STANDING;

/// Samples in a step, as [`poised::adapt`] takes them.
const BATCH: usize = 32;

fn clip() -> Clip {
    let shown = ClipSample {
        joints_camera_m: STANDING.map(|joint| Vec3::from_array(joint) + Vec3::new(0.1, 0.0, 3.0)),
        visibilities: [0.9; KEYPOINTS],
    };
    Clip {
        shown: [shown; CLIP_SAMPLES],
        image_part: [0.0; HIDDEN],
        label: None,
    }
}

fn lifter() -> (NetworkBackbone, Head) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/lifter");
    open(&Engine::tract(), &folder).expect("the networks that ship")
}

/// Processor time of `count` times `work`: what a busy machine does not bend.
fn processor_time(count: u64, mut work: impl FnMut()) -> Duration {
    let begun = thread_cpu_ns();
    for _ in 0..count {
        work();
    }
    Duration::from_nanos(thread_cpu_ns() - begun)
}

fn adapt(bench: &mut Criterion) {
    let (mut backbone, head) = lifter();
    let (clip, mut views, mut rng) = (
        clip(),
        SyntheticViews::default(),
        fastrand::Rng::with_seed(1),
    );
    let site = Site {
        up: Vec3::NEG_Y,
        noise: 0.006,
        offsets: [Vec2::ZERO; KEYPOINTS],
    };
    let mut make = || {
        let made = views.make(&clip, &site, &mut backbone, &mut rng);
        made.expect("a person 3 m away is seen from all around")
    };
    let samples: Vec<Sample> = (0..2 * guard::VIEWS_MIN).map(|_| make()).collect();
    bench.bench_function("make a synthetic view", |b| {
        b.iter_custom(|count| {
            processor_time(count, || {
                black_box(make());
            })
        });
    });
    let mut trainer = Trainer::new(&head);
    let mut step = || {
        for sample in &samples[..BATCH] {
            trainer.take_sample(sample);
        }
        trainer.step(BATCH);
    };
    bench.bench_function("a step of 32", |b| {
        b.iter_custom(|count| processor_time(count, &mut step));
    });
    let candidate = trainer.candidate(&head, HeadTag::default());
    let frames = || {
        samples
            .iter()
            .map(|sample| (&sample.features, &sample.image_part))
    };
    bench.bench_function("a decision", |b| {
        b.iter_custom(|count| {
            processor_time(count, || {
                black_box(guard::judge(&head, &candidate, &samples, frames()));
            })
        });
    });
    refined(bench, &head, &samples[0]);
    windows(bench);
}

/// Windows of method `sem`, as the adapter does them: those of a person who stands, and the guard's synthetic views.
fn windows(bench: &mut Criterion) {
    let mut config = EstimateConfig::default();
    config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
    config.adapt.method = Method::Sem;
    let poser = Poser::open(&config).expect("the networks that ship");
    let walk = poser
        .semantics()
        .and_then(|s| s.dictionary().position("walk"));
    let mut adapter = poser.adapter(1).expect("there is room").expect("it learns");
    let joints_camera_m = STANDING.map(|joint| Vec3::from_array(joint) + Vec3::new(0.1, 0.0, 3.0));
    let (points, _) = keypoints_of(&joints_camera_m);
    let rays = points.map(|point| RayKeypoint {
        ray: point.truncate() / point.z,
        visibility: 0.9,
    });
    let mut frame = 0;
    let mut second = || {
        for _ in 0..RATE_HZ {
            frame += 1;
            let mut seen = Observation::empty();
            (seen.time, seen.id) = (MonoNs(1_000_000_000 + 33_333_333 * frame), 1);
            (seen.joints_camera_m, seen.rays, seen.label) = (joints_camera_m, rays, walk);
            (seen.view.scale, seen.view.newest) = (0.27, rays);
            adapter.take(&seen);
            while adapter.work() {}
            black_box(adapter.decide());
        }
    };
    for _ in 0..20 {
        second();
    }
    bench.bench_function("a second of sem, three windows", |b| {
        b.iter_custom(|count| processor_time(count, &mut second));
    });
}

fn refined(bench: &mut Criterion, head: &Head, sample: &Sample) {
    let hidden = head.hidden_of(&sample.features, &sample.image_part);
    let hidden = hidden.expect("finite");
    let own = Own {
        hidden,
        // As large a piece of work as any.
        mirrored: Some(hidden),
        beside_m: [Vec3::ZERO; JOINTS],
        joints_m: head.joints_of(&hidden),
        picture: false,
    };
    let (points, _) = keypoints_of(
        &sample
            .joints_m
            .map(|joint| joint + Vec3::new(0.0, 0.0, 3.0)),
    );
    let view = View {
        rotation: glam::Mat3::IDENTITY,
        scale: 0.27,
        newest: points.map(|point| RayKeypoint {
            ray: point.truncate() / point.z,
            visibility: 0.9,
        }),
    };
    let (mut memory, mut detector) = (RefineMemory::default(), Detector::default());
    bench.bench_function("refine a frame", |b| {
        b.iter_custom(|count| {
            processor_time(count, || {
                black_box(refine(head, &own, &view, &mut memory, &mut detector));
            })
        });
    });
}

criterion_group!(benches, adapt);
criterion_main!(benches);
