//! Milliseconds of a whole frame, from pixels to a message, and of all of it but
//! the networks' own runs.
//!
//! `cargo bench --bench end_to_end`. People of the synthetic camera walk through a
//! second of film, there and back. Processor time of the one thread that does it
//! all, which a busy machine bends least.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::MESSAGE_BYTES_MAX;
use poised::camera::Calibration;
use poised::counters::Counters;
use poised::detect::{Lap, PeopleNet, PeopleSettings};
use poised::engine::Engine;
use poised::estimate::{EstimateConfig, Estimator, ModelsConfig};
use poised::frame::{Frame, PixelFormat};
use poised::lift::{Backbone, LiftConfig, Lifter, model, person_pose};
use poised::output::wire::{Buffer, CLOCK_MONOTONIC, Stamp, encode};
use poised::pose::{People, PoseSample};
use poised::synthetic::{Scenario, Scene, SyntheticConfig};
use poised::sys::rt::thread_cpu_ns;
use poised::track::{TrackConfig, TrackedPeople, Tracker};

/// Frames of the film: a second.
const FRAMES: usize = 30;

/// Frames before the clock counts: the person detector has looked, tracks are confirmed.
const WARM_UP: usize = 45;

/// What is measured: width, height, people.
const CASES: [(u32, u32, u8); 4] = [(320, 240, 1), (640, 480, 1), (640, 480, 2), (640, 480, 8)];

fn name((width_px, height_px, people): (u32, u32, u8)) -> String {
    let noun = if people == 1 { "person" } else { "people" };
    format!("{width_px}x{height_px}, {people} {noun}")
}

/// Drawn frames, shown forwards and backwards without end.
struct Film {
    frames: Vec<Frame>,
    calibration: Calibration,
    shown: usize,
}

impl Film {
    fn draw((width_px, height_px, people): (u32, u32, u8)) -> Self {
        let config = SyntheticConfig {
            width_px,
            height_px,
            people: Some(people),
            ..SyntheticConfig::of(if people == 1 {
                Scenario::Default
            } else {
                Scenario::Crowd
            })
        };
        let mut scene = Scene::new(&config).expect("a scene");
        let frames = (0..FRAMES).map(|number| {
            let mut frame = Frame::with_room(width_px, height_px);
            frame.meta.format = PixelFormat::Rgb24;
            frame.bytes.resize(scene.image_bytes(), 0);
            let number = u32::try_from(number).expect("a few");
            scene.render_into(f64::from(number) / 30.0, &mut frame.bytes);
            frame
        });
        Self {
            frames: frames.collect(),
            calibration: Calibration::assumed(width_px, height_px),
            shown: 0,
        }
    }

    /// The next frame, a thirtieth of a second after the one before.
    fn next(&mut self) -> &Frame {
        let there_and_back = self.shown % (2 * FRAMES - 2);
        let index = there_and_back.min(2 * FRAMES - 2 - there_and_back);
        let frame = &mut self.frames[index];
        frame.meta.sequence = u32::try_from(self.shown).unwrap_or(u32::MAX);
        frame.meta.capture = MonoNs(1_000_000_000 + 33_333_333 * self.shown as u64);
        self.shown += 1;
        frame
    }
}

fn models() -> ModelsConfig {
    ModelsConfig {
        directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("models"),
        ..ModelsConfig::default()
    }
}

/// Writes the message as the publisher does.
fn write(sample: &PoseSample, buffer: &mut Buffer) {
    let stamp = Stamp {
        sequence: u64::from(sample.frame_sequence),
        camera: "bench",
        clock: CLOCK_MONOTONIC,
        publish: sample.capture,
        unix_offset_ns: 0,
    };
    encode(&stamp, sample, buffer).expect("it fits");
}

fn whole_frames(bench: &mut Criterion) {
    for case in CASES {
        let mut film = Film::draw(case);
        let calibration = film.calibration.clone();
        let config = EstimateConfig {
            models: models(),
            ..EstimateConfig::default()
        };
        let mut estimator = Estimator::open(&config).expect("the shipped networks");
        let (clock, counters) = (Clock::live(), Counters::default());
        let mut sample = PoseSample::default();
        let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
        let mut step = || {
            estimator
                .step(film.next(), &calibration, &clock, &counters, &mut sample)
                .expect("the networks run");
            write(&sample, &mut buffer);
            sample.people.len()
        };
        let seen: Vec<usize> = (0..WARM_UP)
            .map(|_| step())
            .skip(WARM_UP - FRAMES)
            .collect();
        say_seen(case, &seen);
        bench.bench_function(&format!("frame {}", name(case)), |b| {
            b.iter_custom(|count| {
                let before = thread_cpu_ns();
                for _ in 0..count {
                    step();
                }
                Duration::from_nanos(thread_cpu_ns() - before)
            });
        });
    }
}

/// The same steps in the same order as the estimator's, with the networks' time taken out.
fn without_networks(bench: &mut Criterion) {
    for case in CASES {
        let mut film = Film::draw(case);
        let calibration = film.calibration.clone();
        let networks_ns = Cell::new(0);
        let in_network = |since_ns| networks_ns.set(networks_ns.get() + thread_cpu_ns() - since_ns);
        let config = models();
        let mut people = PeopleNet::open(
            &Engine::tract(),
            &config.folder(&config.person),
            Some(&config.folder("finder")),
            PeopleSettings::default(),
        )
        .expect("the shipped networks");
        let (mut backbone, head) = model::open(&Engine::tract(), &config.folder(&config.lifter))
            .expect("the shipped lifter");
        let timed = |input: &[f32; _], features: &mut [f32; _]| {
            let before_ns = thread_cpu_ns();
            let ran = backbone.run_into(input, features);
            in_network(before_ns);
            ran
        };
        let mut lifter = Lifter::new(LiftConfig::default(), timed, head.into());
        let mut tracker = Tracker::new(TrackConfig::default());
        let (mut detections, mut known) = (People::new(), TrackedPeople::new());
        let mut sample = PoseSample::default();
        let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
        let mut step = || {
            let frame = film.next();
            networks_ns.set(0);
            let begun_ns = thread_cpu_ns();
            let mut last_ns = begun_ns;
            people
                .step_timed(frame, &calibration, &mut detections, &mut |lap| {
                    if matches!(lap, Lap::FrameNetwork | Lap::PersonNetwork) {
                        in_network(last_ns);
                    }
                    last_ns = thread_cpu_ns();
                })
                .expect("the networks run");
            let time = frame.meta.capture;
            sample.frame_sequence = frame.meta.sequence;
            sample.capture = time;
            sample.people.clear();
            tracker.update(time, &detections, &mut known);
            for person in &known {
                let estimate = lifter.lift(time, &calibration, person).ok();
                let pose = person_pose(person, estimate.as_ref());
                sample.people.push(pose).expect("there is room");
            }
            write(&sample, &mut buffer);
            Duration::from_nanos(thread_cpu_ns() - begun_ns - networks_ns.get())
        };
        for _ in 0..WARM_UP {
            step();
        }
        bench.bench_function(&format!("all but the networks {}", name(case)), |b| {
            b.iter_custom(|count| (0..count).map(|_| step()).sum());
        });
    }
}

/// People hide each other: how many are published is part of the figure.
#[expect(clippy::print_stderr, reason = "figures are what a bench is for")]
#[expect(clippy::cast_precision_loss, reason = "a few")]
fn say_seen(case: (u32, u32, u8), seen: &[usize]) {
    let mean = seen.iter().sum::<usize>() as f64 / seen.len() as f64;
    assert!(mean > 0.5, "{}: no person is seen", name(case));
    eprintln!("{}: {mean:.1} published a frame", name(case));
}

criterion_group! {
    name = end_to_end;
    config = Criterion::default().measurement_time(Duration::from_secs(5)).without_plots();
    targets = whole_frames, without_networks
}
criterion_main!(end_to_end);
