//! `poised run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};

use poised::capture::paced::Paced;
use poised::capture::synthetic::SyntheticCamera;
use poised::capture::thread::Ended;
use poised::capture::v4l2::{V4l2Camera, V4l2Config};
use poised::capture::{Camera, OpenError, open_source};
use poised::clock::Clock;
use poised::counters::{Counters, Drop, Reading};
use poised::error::StartError;
use poised::pipeline::estimate::Estimator;
use poised::pipeline::wiring::{self, Parts};
use poised::publish::{Documents, Outlet, Publisher};
use poised::settings::{CameraConfig, Settings};

/// Time between two lines of figures in the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How often the stop flag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct Options {
    /// The configuration file.
    #[arg(short, long)]
    config: PathBuf,
}

/// Runs until SIGTERM or SIGINT, or until a recording is over.
///
/// # Errors
///
/// What keeps the daemon from starting, or a camera that failed for good.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let settings = Settings::read(&options.config).map_err(StartError::from)?;
    let text = poised::config::read_text(&options.config).map_err(StartError::from)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let clock = Arc::new(Clock::live());
    let counters = Counters::default();
    // Networks first: they take longest and fail most clearly.
    let mut estimator = Estimator::open(&settings.estimate())?;
    let engine = estimator.engine();
    let camera = open_camera(&settings.camera, &clock)?;
    let mode = camera.mode().clone();
    let calibration = settings
        .calibration
        .open(mode.width_px, mode.height_px)
        .map_err(StartError::from)?;
    info!(
        "{}: {}x{} at {} Hz; lens {calibration}; engine {engine}",
        mode.name, mode.width_px, mode.height_px, mode.rate_hz
    );
    let documents = Documents {
        config: text,
        calibration: calibration.to_toml(),
    };
    let name = settings.camera.name.as_str();
    let mut outlet =
        Outlet::open(&settings.zenoh, name, documents, clock.now()).map_err(StartError::from)?;
    if settings.semantics.hints
        && let Some(hints) = estimator.hear_hints(&clock)
    {
        outlet.hear_hints(hints).map_err(StartError::from)?;
        info!("hints are taken on {}", settings.zenoh.key(name, "hint"));
    }
    let publisher = Publisher::new(&settings.publish, name, engine, &clock, &counters, outlet);
    let mut reopen = || {
        open_camera(&settings.camera, &clock).map_err(|error| match error {
            StartError::Camera(error) => error,
            other => OpenError::Missing {
                name: other.to_string(),
            },
        })
    };
    let live = settings.camera.source.is_none();
    let ended = wiring::run(
        Parts {
            camera,
            reopen: live.then_some(&mut reopen),
            calibration: &calibration,
            estimator,
            publisher,
            clock: &clock,
            counters: &counters,
            stop: &stop,
        },
        |frames_ended| supervise(&stop, frames_ended, &clock, &counters),
    )?;
    info!(
        "stopped: {}",
        Line::of(&counters, &mut Past::default(), 0.0)
    );
    match ended {
        Ended::Failed(error) => Err(error.into()),
        Ended::Stopped | Ended::Over => Ok(()),
    }
}

/// Opens the one source of frames that the configuration names.
fn open_camera(config: &CameraConfig, clock: &Arc<Clock>) -> Result<Box<dyn Camera>, StartError> {
    if let Some(synthetic) = &config.synthetic {
        let camera = SyntheticCamera::live(synthetic, Arc::clone(clock))?;
        return Ok(Box::new(camera));
    }
    if let Some(source) = &config.source {
        return Ok(Box::new(Paced::new(open_source(source)?)));
    }
    let default = V4l2Config::default();
    let v4l2 = config.v4l2.as_ref().unwrap_or(&default);
    Ok(Box::new(V4l2Camera::open(v4l2)?))
}

/// What main does meanwhile: says how it goes, watches for the end.
fn supervise(stop: &AtomicBool, frames_ended: &AtomicBool, clock: &Clock, counters: &Counters) {
    let mut said = clock.now();
    let mut past = Past::default();
    while !stop.load(Ordering::Acquire) && !frames_ended.load(Ordering::Acquire) {
        std::thread::sleep(LOOK_EVERY);
        if let Some(trouble) = counters.capture.last_trouble.take() {
            warn!("camera: {trouble}");
        }
        let now = clock.now();
        if now.since(said) >= LOG_EVERY {
            let seconds = now.seconds_after(said);
            said = now;
            info!("{}", Line::of(counters, &mut past, seconds));
        }
    }
}

/// The counters at the last line.
#[derive(Default)]
struct Past {
    frames: u64,
    dropped: u64,
    latency: Reading,
}

/// One line of figures.
struct Line;

impl Line {
    /// What came since `past`, over `seconds`; over the whole run where that is 0.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn of(counters: &Counters, past: &mut Past, seconds: f64) -> String {
        let frames = counters.published.get() - past.frames;
        let dropped = counters.drops_total() - past.dropped;
        let all = counters.latency.read();
        let latency = all.since(&past.latency);
        let reasons: Vec<String> = Drop::ALL
            .iter()
            .filter(|reason| counters.drops(**reason) > 0)
            .map(|reason| format!("{} {}", reason.name(), counters.drops(*reason)))
            .collect();
        *past = Past {
            frames: counters.published.get(),
            dropped: counters.drops_total(),
            latency: all,
        };
        let rate = if seconds > 0.0 {
            format!("{frames} poses ({:.1}/s)", frames as f64 / seconds)
        } else {
            format!("{frames} poses")
        };
        let quantile = |share| latency.quantile_ms(share).unwrap_or_default();
        let mut line = format!(
            "{rate}, {} people, {:.1} ms (99 %: {:.1} ms), {dropped} dropped",
            counters.people(),
            quantile(0.5),
            quantile(0.99)
        );
        if !reasons.is_empty() {
            line.push_str(" (since the start: ");
            line.push_str(&reasons.join(", "));
            line.push(')');
        }
        line
    }
}
