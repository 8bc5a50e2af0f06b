//! `poised replay`: a recording through the same pipeline, as fast as it goes.
//!
//! One thread and no queue: every frame is estimated, none is passed over, and
//! time is the recording's, so the same clip gives the same poses.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use poised::adapt::Method;
use poised::calibration::{Calibration, CalibrationConfig};
use poised::capture::{Camera, CaptureError, Next, Severity, open_source};
use poised::clock::Clock;
use poised::counters::Counters;
use poised::draw::Overlay;
use poised::error::StartError;
use poised::frame::Frame;
use poised::infer::preprocess::to_rgb;
use poised::pipeline::estimate::{EstimateConfig, Estimator, Poser};
use poised::pose::PoseSample;
use poised::record::{self, Recorder, Recording};
use poised::sys::rt::process_cpu_ns;

use super::exit::{Unavailable, UsageError};
use super::networks::Networks;
use super::output::{self, Force, OutputError};
use super::poses::PosesFile;
use super::report::{Report, Tally};

/// Longest wait for a frame of a recording: a stream may pause.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Fixes what adaptation draws: a recording gives the same poses each time.
const SEED: u64 = 1;

/// Most damaged frames in a row before a recording is given up.
const DAMAGED_MAX: u32 = 100;

#[derive(Debug, Args)]
pub struct Options {
    /// A video file, an image or a folder of images, an rtsp:// address, or a recording (.poses).
    source: String,
    #[command(flatten)]
    networks: Networks,
    /// Calibration of the camera (.toml, or .yaml of ROS, `OpenCV` or Kalibr).
    #[arg(long)]
    calibration: Option<PathBuf>,
    /// Network for keypoints: a name under the networks, or the path of its folder.
    #[arg(long)]
    person: Option<String>,
    /// Stop after so many frames.
    #[arg(long)]
    frames: Option<u64>,
    /// Draw each frame with what was seen in it into this folder, as PNG.
    #[arg(long)]
    overlay: Option<PathBuf>,
    /// Write one JSON object a frame with all poses into this file.
    #[arg(long)]
    poses: Option<PathBuf>,
    /// Record what would be published, without pictures, into this file (.poses).
    #[arg(long)]
    record: Option<PathBuf>,
    /// How the final layers adapt while it plays: off, latent, 2d, cycle, replay or semantic, in place of what
    /// the configuration says.
    #[arg(long)]
    adapt: Option<Method>,
    /// Name actions with this dictionary in place of the one that ships.
    #[arg(long)]
    dictionary: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    force: Force,
}

impl Options {
    /// Refuses outputs that would overwrite what is read, or what exists.
    fn check_outputs(&self) -> Result<(), OutputError> {
        let mut outputs = output::Outputs::new(self.force);
        outputs.reads_source(&self.source);
        self.networks.read_by(&mut outputs);
        for path in [&self.calibration, &self.dictionary].into_iter().flatten() {
            outputs.reads(path);
        }
        for (option, path) in [("--poses", &self.poses), ("--record", &self.record)] {
            if let Some(path) = path {
                outputs.writes(option, path)?;
            }
        }
        if let Some(folder) = &self.overlay {
            outputs.writes_into("--overlay", folder, is_numbered_picture)?;
        }
        Ok(())
    }
}

/// Whether a file has a name that `--overlay` writes.
fn is_numbered_picture(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_suffix(".png"));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Plays the recording and prints the figures.
///
/// # Errors
///
/// Networks or source do not open, the recording breaks off, or an output cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    options.check_outputs()?;
    let config = estimate_config(options)?;
    if is_recording(&options.source) {
        return run_recording(options, &config);
    }
    let (mut camera, calibration) = open(&options.source, options.calibration.clone())?;
    let mode = camera.mode().clone();
    let mut estimator = Estimator::open(&config)?;
    let mut adapter = estimator.adapter(SEED)?;
    let mut outputs = Outputs::open(options, mode.width_px, mode.height_px, &calibration)?;

    let timer = Clock::live();
    let counters = Counters::default();
    let progress = progress_bar(options.json);
    let mut frame = Frame::with_room(mode.width_px, mode.height_px);
    let mut sample = PoseSample::default();
    let mut tally = Tally::default();
    let (started, cpu_ns) = (timer.now(), process_cpu_ns());
    while options.frames.is_none_or(|most| tally.frames() < most) {
        if !next_frame(camera.as_mut(), &mut frame, &counters)? {
            break;
        }
        let begun = timer.now();
        if let Err(error) = estimator.step(&frame, &calibration, &timer, &counters, &mut sample) {
            log::warn!("frame {}: {error}", frame.meta.sequence);
        }
        counters.capture.frames.fetch_add(1, Ordering::Relaxed);
        counters.latency.add(timer.now().since(begun));
        if let Some(adapter) = &mut adapter {
            estimator.learn(adapter);
        }
        tally.add(&sample);
        outputs.add(Some(&frame), &sample)?;
        progress.inc(1);
    }
    let elapsed = timer.now().since(started);
    progress.finish_and_clear();
    outputs.finish()?;
    let report = Report::of(tally, &counters, estimator.engine(), elapsed).with_cpu_since(cpu_ns);
    report.print(options.json)
}

/// Whether a source is a recording of poses, by its name.
pub fn is_recording(source: &str) -> bool {
    Path::new(source)
        .extension()
        .is_some_and(|extension| extension == record::EXTENSION)
}

/// Opens a source of pixels, and its calibration: that of a file, else an assumed one.
///
/// # Errors
///
/// The source or the calibration does not open.
pub fn open(
    source: &str,
    calibration: Option<PathBuf>,
) -> Result<(Box<dyn Camera>, Calibration), StartError> {
    let camera = open_source(source)?;
    let mode = camera.mode();
    let lens = CalibrationConfig {
        file: calibration,
        scale_to_image: true,
    };
    let calibration = lens.open(mode.width_px, mode.height_px)?;
    Ok((camera, calibration))
}

/// Plays a recording of poses: its keypoints once more through everything behind the 2D networks.
fn run_recording(options: &Options, config: &EstimateConfig) -> anyhow::Result<()> {
    if options.overlay.is_some() {
        return Err(UsageError("--overlay: a recording of poses holds no pictures").into());
    }
    let mut recording = Recording::open(Path::new(&options.source))?;
    let calibration = recording.calibration().clone();
    let mut poser = Poser::open(config)?;
    let mut adapter = poser.adapter(SEED)?;
    let (width_px, height_px) = calibration.size_px();
    let mut outputs = Outputs::open(options, width_px, height_px, &calibration)?;
    let timer = Clock::live();
    let counters = Counters::default();
    let mut sample = PoseSample::default();
    let mut tally = Tally::default();
    let started = timer.now();
    while options.frames.is_none_or(|most| tally.frames() < most)
        && let Some(recorded) = recording.next().transpose()?
    {
        let begun = timer.now();
        poser.replay(&recorded, &calibration, &timer, &counters, &mut sample);
        counters.latency.add(timer.now().since(begun));
        if let Some(adapter) = &mut adapter {
            poser.learn(adapter);
        }
        tally.add(&sample);
        outputs.add(None, &sample)?;
    }
    let elapsed = timer.now().since(started);
    outputs.finish()?;
    Report::of(tally, &counters, "none", elapsed).print(options.json)
}

fn estimate_config(options: &Options) -> anyhow::Result<EstimateConfig> {
    let mut config = options.networks.estimate_config()?;
    if let Some(person) = &options.person {
        config.models.person.clone_from(person);
    }
    if let Some(method) = options.adapt {
        config.adapt.method = method;
    }
    if options.dictionary.is_some() {
        config.semantics.dictionary.clone_from(&options.dictionary);
    }
    Ok(config)
}

/// Fills `frame` with the next frame that is whole; false at the end.
///
/// # Errors
///
/// The recording broke off, or gives only damaged frames.
pub fn next_frame(
    camera: &mut dyn Camera,
    frame: &mut Frame,
    counters: &Counters,
) -> anyhow::Result<bool> {
    for _ in 0..DAMAGED_MAX {
        match camera.next_into(frame, FRAME_TIMEOUT) {
            Ok(Next::Frame) => return Ok(true),
            Ok(Next::End) => return Ok(false),
            Err(error) if error.severity() == Severity::Skip => {
                let reason = match error {
                    CaptureError::ShortFrame { .. } => poised::counters::Drop::Short,
                    _ => poised::counters::Drop::Damaged,
                };
                counters.dropped(reason, 1);
                log::warn!("{}", camera.complaint().unwrap_or(&error.to_string()));
            }
            Err(error) => {
                let words = camera.complaint().map(str::to_owned);
                return Err(error)
                    .context(words.unwrap_or_else(|| "the recording broke off".into()));
            }
        }
    }
    Err(Unavailable(format!("{DAMAGED_MAX} damaged frames in a row: giving up")).into())
}

/// What is written beside the figures.
struct Outputs {
    overlay: Option<(PathBuf, Overlay, Vec<u8>)>,
    poses: Option<PosesFile>,
    record: Option<Recorder>,
}

impl Outputs {
    fn open(
        options: &Options,
        width_px: u32,
        height_px: u32,
        calibration: &Calibration,
    ) -> anyhow::Result<Self> {
        let overlay = match &options.overlay {
            Some(folder) => {
                output::make_folder("--overlay", folder)?;
                let room = vec![0; width_px as usize * height_px as usize * 3];
                let overlay = Overlay::new(width_px, height_px, calibration.clone());
                Some((folder.clone(), overlay, room))
            }
            None => None,
        };
        let poses = options
            .poses
            .as_deref()
            .map(PosesFile::create)
            .transpose()?;
        let record = options
            .record
            .as_deref()
            .map(|path| Recorder::create(path, calibration))
            .transpose()?;
        Ok(Self {
            overlay,
            poses,
            record,
        })
    }

    fn add(&mut self, frame: Option<&Frame>, sample: &PoseSample) -> anyhow::Result<()> {
        if let Some(poses) = &mut self.poses {
            poses.add(sample)?;
        }
        if let Some(record) = &mut self.record {
            let left_out = record.add(sample)?;
            if left_out > 0 {
                log::warn!(
                    "frame {}: {left_out} people with numbers that are not finite are not recorded",
                    sample.frame_sequence
                );
            }
        }
        if let (Some((folder, overlay, rgb)), Some(frame)) = (&mut self.overlay, frame) {
            to_rgb(frame, rgb)?;
            overlay.draw(rgb, sample);
            let path = folder.join(format!("{:06}.png", frame.meta.sequence));
            overlay
                .save(&path)
                .map_err(|error| output::failed("--overlay", &path, error))?;
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        self.record.map_or(Ok(()), Recorder::finish)?;
        self.poses.map_or(Ok(()), PosesFile::finish)
    }
}

/// A counter of frames on a terminal, nothing elsewhere.
fn progress_bar(json: bool) -> ProgressBar {
    if json || !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} frames, {per_sec}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
