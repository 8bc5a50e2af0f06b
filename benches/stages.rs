//! Milliseconds of each stage of a frame, the networks' own runs apart.
//!
//! `cargo bench --bench stages`. The networks are in `networks.rs`.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use glam::Vec3;
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::MESSAGE_BYTES_MAX;
use poised::camera::{Calibration, Mount};
use poised::detect::{Lap, PeopleNet, PeopleSettings};
use poised::engine::Engine;
use poised::frame::{Frame, PixelFormat};
use poised::lift::{LiftConfig, Lifter, model, person_pose};
use poised::motion::angles::angles_of;
use poised::motion::exercise::{Counting, ExerciseConfig, signals_of};
use poised::motion::floor::{FloorConfig, FloorWatch};
use poised::output::wire::{CLOCK_MONOTONIC, Stamp, encode};
use poised::pose::{People, PersonPose, PoseSample};
use poised::synthetic::{Scenario, Scene, SyntheticConfig};
use poised::track::{TrackConfig, TrackedPeople, Tracker};

/// One drawn frame, its lens and the networks' answer to it.
struct Setting {
    scene: Scene,
    frame: Frame,
    calibration: Calibration,
    people: PeopleNet,
    detections: People,
}

fn models(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}

fn setting() -> Setting {
    let config = SyntheticConfig {
        width_px: 640,
        height_px: 480,
        ..SyntheticConfig::of(Scenario::Default)
    };
    let mut scene = Scene::new(&config).expect("the default scene");
    let mut frame = Frame::with_room(640, 480);
    frame.meta.format = PixelFormat::Rgb24;
    frame.bytes.resize(640 * 480 * 3, 0);
    scene.render_into(1.0, &mut frame.bytes);
    let calibration = Calibration::assumed(640, 480);
    let settings = PeopleSettings {
        finder_every_frames: 1,
        ..PeopleSettings::default()
    };
    let mut people = PeopleNet::open(
        &Engine::tract(),
        &models("person"),
        Some(&models("finder")),
        settings,
    )
    .expect("the shipped networks");
    let mut detections = People::new();
    for _ in 0..3 {
        people
            .step(&frame, &calibration, &mut detections)
            .expect("the networks run");
    }
    assert!(
        !detections.is_empty(),
        "a person is seen in the drawn frame"
    );
    Setting {
        scene,
        frame,
        calibration,
        people,
        detections,
    }
}

fn images(bench: &mut Criterion) {
    let mut on = setting();
    let clock = Clock::live();
    for (name, wanted) in [
        ("letterbox 640x480", Lap::FramePreprocess),
        ("crop", Lap::PersonPreprocess),
        ("decode", Lap::Decode),
    ] {
        bench.bench_function(name, |b| {
            b.iter_custom(|count| {
                let mut sum = Duration::ZERO;
                for _ in 0..count {
                    let mut last = clock.now();
                    on.people
                        .step_timed(&on.frame, &on.calibration, &mut on.detections, &mut |lap| {
                            let now = clock.now();
                            if lap == wanted {
                                sum += now.since(last);
                            }
                            last = now;
                        })
                        .expect("the networks run");
                }
                sum
            });
        });
    }
    bench.bench_function("draw a frame 640x480", |b| {
        let mut time_s = 0.0;
        b.iter(|| {
            time_s += 1.0 / 30.0;
            on.scene.render_into(time_s, &mut on.frame.bytes);
        });
    });
}

fn poses(bench: &mut Criterion) {
    let on = setting();
    let mut tracker = Tracker::new(TrackConfig::default());
    let mut known = TrackedPeople::new();
    let mut time = MonoNs(1_000_000_000);
    let mut next = move || {
        time = time.plus(Duration::from_millis(33));
        time
    };
    for _ in 0..5 {
        tracker.update(next(), &on.detections, &mut known);
    }
    bench.bench_function("track one person", |b| {
        b.iter(|| tracker.update(next(), black_box(&on.detections), &mut known));
    });
    let person = known.first().expect("known by now").clone();

    let (_, head) = model::open(&Engine::tract(), &models("lifter")).expect("the shipped lifter");
    let without_network = |_: &[f32; _], _: &mut [f32; _]| -> Result<(), ()> { Ok(()) };
    let mut lifter = Lifter::new(LiftConfig::default(), without_network, head.into());
    bench.bench_function("lift one person, network apart", |b| {
        b.iter(|| black_box(lifter.lift(next(), &on.calibration, &person).is_ok()));
    });

    let mut sample = PoseSample::default();
    let estimate = lifter.lift(next(), &on.calibration, &person).ok();
    sample
        .people
        .push(person_pose(&person, estimate.as_ref()))
        .expect("there is room for one");
    let stamp = Stamp {
        sequence: 1,
        camera: "bench",
        clock: CLOCK_MONOTONIC,
        publish: MonoNs(1),
        unix_offset_ns: 0,
    };
    let mut buffer = Box::new([0; MESSAGE_BYTES_MAX]);
    bench.bench_function("encode one person", |b| {
        b.iter(|| encode(&stamp, black_box(&sample), &mut buffer).expect("it fits"));
    });
    for_kiosks(bench, &sample.people, next);
}

/// What a kiosk switches on: angles, the counting of repetitions, and watching the floor.
fn for_kiosks(bench: &mut Criterion, people: &[PersonPose], mut next: impl FnMut() -> MonoNs) {
    let up = Some(Vec3::NEG_Y);
    let angles = angles_of(&people[0], up);
    let signals = [signals_of(&people[0], &angles, up)];
    bench.bench_function("joint angles of one person", |b| {
        b.iter(|| black_box(angles_of(black_box(&people[0]), up)));
    });
    bench.bench_function("signals of one person", |b| {
        b.iter(|| black_box(signals_of(black_box(&people[0]), &angles, up)));
    });
    let squat = ExerciseConfig {
        name: Some("squat".into()),
        file: None,
    };
    let squat = squat.open().expect("it ships").expect("it is named");
    let mut counting = Counting::new(squat);
    bench.bench_function("count repetitions of one person", |b| {
        b.iter(|| counting.add(next(), black_box(people), &signals, &mut |_| ()));
    });
    let mount = Mount {
        height_m: 2.4,
        down_deg: 20.0,
        roll_deg: 0.0,
    };
    let mut floor = FloorWatch::new(&FloorConfig::default(), &mount);
    bench.bench_function("watch the floor for one person", |b| {
        b.iter(|| floor.add(next(), black_box(people), &mut |_| ()));
    });
}

criterion_group! {
    name = stages;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).without_plots();
    targets = images, poses
}
criterion_main!(stages);
