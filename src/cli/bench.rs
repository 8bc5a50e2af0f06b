//! `poised bench`: what a frame costs on this machine, from pixels to poses.
//!
//! The synthetic camera's people, by how many there are and how wide the image is. Processor time of the one thread
//! that does it all is counted, which other programs do not bend much; drawing is left out.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use poised::base::clock::Clock;
use poised::base::config::{ConfigError, check};
use poised::capture::{Camera, Next};
use poised::counters::{Counters, Histogram};
use poised::error::StartError;
use poised::estimate::Estimator;
use poised::frame::Frame;
use poised::pose::PoseSample;
use poised::synthetic::{Scenario, SyntheticCamera, SyntheticConfig};
use poised::sys::rt::{resident_bytes, thread_cpu_ns};

use super::demo::calibration_of;
use super::networks::Networks;
use super::print;
use super::report::{round, stages_ms};

/// Sizes at which one person is looked at, pixels.
const SIZES: [(u32, u32); 4] = [(320, 240), VGA, (1280, 720), (1920, 1080)];

/// The size at which several people are looked at, and learning is measured.
const VGA: (u32, u32) = (640, 480);

/// How many people are looked at in one image.
const CROWDS: [u8; 3] = [2, 4, 8];

/// Shortest film for learning, seconds: two decisions of the guard.
const LEARNING_S: u32 = 10;

/// Frames a second of the synthetic camera.
const RATE_HZ: u32 = 30;

/// Frames before counting begins: everybody has been found and all memory has been touched.
const WARM_UP: u32 = RATE_HZ;

/// Rates for which the share of a core is told.
const RATES_HZ: [u32; 3] = [10, 30, 60];

/// Fixes what learning draws.
const SEED: u64 = 1;

#[derive(Debug, Args)]
pub struct BenchOptions {
    #[command(flatten)]
    networks: Networks,
    /// Seconds of video for each line of the table, 1 to 600; learning takes at least ten.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// All figures.
#[derive(Debug, Serialize)]
struct Bench {
    version: &'static str,
    architecture: &'static str,
    processor: String,
    cores: usize,
    engine: &'static str,
    rows: Vec<Row>,
    /// Processor milliseconds of learning for a second in which a person is seen, whatever the number of people;
    /// the budget (`adapt.core_share`) is not counted in.
    learning_ms_per_s: Option<f64>,
    /// Resident memory at the end, megabytes (10^6).
    rss_mb: f64,
}

/// A camera and the people before it.
#[derive(Debug, Serialize)]
struct Row {
    width_px: u32,
    height_px: u32,
    /// People before the camera.
    people: usize,
    /// People seen, mean over the frames.
    seen: f64,
    /// Processor milliseconds a frame, pixels to poses.
    cpu_ms: f64,
    /// Wall milliseconds a frame, half and ninety-nine of a hundred.
    p50_ms: f64,
    p99_ms: f64,
    /// Share of one core at 10, 30 and 60 frames a second: above 1 frames are passed over.
    core_share: [f64; 3],
    /// Mean milliseconds a frame in each stage.
    stages_ms: std::collections::BTreeMap<&'static str, f64>,
}

/// Measures and prints.
///
/// # Errors
///
/// Networks do not open, or a number is out of range.
pub fn run(options: &BenchOptions) -> anyhow::Result<()> {
    let wrong = |error: ConfigError| StartError::from(error);
    check("seconds", options.seconds, 1, 600).map_err(wrong)?;
    let config = options.networks.estimate_config()?;
    let mut rows = Vec::new();
    let progress = if options.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new((SIZES.len() + CROWDS.len()) as u64)
    };
    let mut learning_ms_per_s = None;
    let mut engine = "";
    let alone = SIZES.map(|size| (size, 1));
    let crowds = CROWDS.map(|people| (VGA, people));
    for (size, people) in alone.into_iter().chain(crowds) {
        let mut estimator = Estimator::open(&config)?;
        engine = estimator.engine();
        let learns = (size, people) == (VGA, 1);
        let (row, learning) = measure(&mut estimator, size, people, options.seconds, learns)?;
        rows.push(row);
        progress.inc(1);
        learning_ms_per_s = learning_ms_per_s.or(learning);
    }
    progress.finish_and_clear();
    let bench = Bench {
        version: env!("CARGO_PKG_VERSION"),
        architecture: std::env::consts::ARCH,
        processor: processor(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        engine,
        rows,
        learning_ms_per_s,
        rss_mb: round(mb(resident_bytes().unwrap_or_default())),
    };
    if options.json {
        say!("{}", serde_json::to_string_pretty(&bench)?)?;
    } else {
        print::text(format_args!("{}", table(&bench)))?;
    }
    Ok(())
}

/// One line of the table, and what learning took where it `learns`.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn measure(
    estimator: &mut Estimator,
    (width_px, height_px): (u32, u32),
    people: u8,
    seconds: u32,
    learns: bool,
) -> anyhow::Result<(Row, Option<f64>)> {
    let config = SyntheticConfig {
        width_px,
        height_px,
        rate_hz: RATE_HZ as f32,
        people: Some(people),
        scenario: if people == 1 {
            Scenario::Default
        } else {
            Scenario::Crowd
        },
        ..SyntheticConfig::default()
    };
    let seconds = if learns {
        seconds.max(LEARNING_S)
    } else {
        seconds
    };
    let frames = seconds * RATE_HZ;
    let mut camera =
        SyntheticCamera::free_running(&config, Some(WARM_UP + frames)).map_err(StartError::from)?;
    let calibration = calibration_of(&config)?;
    let mut adapter = if learns {
        estimator.adapter(SEED)?
    } else {
        None
    };
    let clock = Clock::live();
    let mut counters = Counters::default();
    let wall = Histogram::default();
    let mut frame = Frame::with_room(config.width_px, config.height_px);
    let mut sample = PoseSample::default();
    let (mut cpu_ns, mut learning_ns, mut seen) = (0, 0, 0);
    for number in 0..WARM_UP + frames {
        while !matches!(camera.next_into(&mut frame, Duration::ZERO)?, Next::Frame) {}
        if number == WARM_UP {
            counters = Counters::default();
            (cpu_ns, learning_ns, seen) = (0, 0, 0);
        }
        let (begun, begun_ns) = (clock.now(), thread_cpu_ns());
        estimator.step(&frame, &calibration, &clock, &counters, &mut sample)?;
        let ended_ns = thread_cpu_ns();
        cpu_ns += ended_ns - begun_ns;
        if number >= WARM_UP {
            wall.add(clock.now().since(begun));
        }
        seen += sample.people.len();
        if let Some(adapter) = &mut adapter {
            estimator.learn(adapter);
            learning_ns += thread_cpu_ns() - ended_ns;
        }
    }
    let count = f64::from(frames);
    let per_frame_ms = cpu_ns as f64 * 1e-6 / count;
    let wall = wall.read();
    let row = Row {
        width_px: config.width_px,
        height_px: config.height_px,
        people: config.people(),
        seen: round(seen as f64 / count),
        cpu_ms: round(per_frame_ms),
        p50_ms: round(wall.quantile_ms(0.5).unwrap_or_default()),
        p99_ms: round(wall.quantile_ms(0.99).unwrap_or_default()),
        core_share: RATES_HZ.map(|rate| round(per_frame_ms * 1e-3 * f64::from(rate))),
        stages_ms: stages_ms(&counters, count),
    };
    let learning = adapter.map(|_| round(learning_ns as f64 * 1e-6 / f64::from(seconds)));
    Ok((row, learning))
}

/// What the kernel calls the processor.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let device = || std::fs::read_to_string(Path::new("/proc/device-tree/model")).ok();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, name)| name.trim().to_owned());
    name.or_else(device).map_or_else(
        || "unknown".into(),
        |name| name.trim_end_matches('\0').to_owned(),
    )
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 * 1e-6
}

/// The figures as Markdown, to paste.
fn table(bench: &Bench) -> String {
    let mut out = format!(
        "poised {}, {} ({}, {} cores), engine {}\n\n\
         | image | people | seen | ms a frame | 99 % | find | keypoints | lift | name | core at 10 / 30 / 60 frames a second |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        bench.version, bench.processor, bench.architecture, bench.cores, bench.engine
    );
    for row in &bench.rows {
        let stage = |name: &str| row.stages_ms.get(name).copied().unwrap_or_default();
        let [ten, thirty, sixty] = row.core_share;
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "| {}x{} | {} | {:.1} | {:.1} | {:.1} | {:.2} | {:.1} | {:.2} | {:.2} | {ten:.2} / {thirty:.2} / {sixty:.2} |",
            row.width_px,
            row.height_px,
            row.people,
            row.seen,
            row.cpu_ms,
            row.p99_ms,
            stage("find"),
            stage("keypoints"),
            stage("lift"),
            stage("name"),
        );
    }
    if let Some(learning) = bench.learning_ms_per_s {
        let _ = writeln!(
            out,
            "\nLearning: {learning:.0} ms a second. Memory: {:.0} MB.",
            bench.rss_mb
        );
    }
    out
}
