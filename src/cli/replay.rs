//! `poised replay`: a recording through the same pipeline, as fast as it goes.
//!
//! One thread and no queue: every frame is estimated, none is passed over, and
//! time is the recording's, so the same clip gives the same poses.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::TypedValueParser;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use poised::adapt::Method;
use poised::base::clock::Clock;
use poised::camera::{Calibration, CalibrationConfig, Handling};
use poised::capture::files::ImageFolder;
use poised::capture::reopen::RECORDING_SILENT_MAX;
use poised::capture::turn::Turned;
use poised::capture::{
    Camera, CaptureError, FOLDER_RATE_HZ, Next, Severity, Source, SourceKind, StreamOptions,
};
use poised::counters::{Counters, turned_advice};
use poised::daemon::settings::Settings;
use poised::detect::preprocess::to_rgb;
use poised::error::StartError;
use poised::estimate::{EstimateConfig, Estimator, Poser, frame_fault};
use poised::frame::{Frame, Turn};
use poised::lab::draw::Overlay;
use poised::motion::exercise::{Exercise, ExerciseConfig};
use poised::motion::floor::FloorConfig;
use poised::output::export::{self, mcap_read};
use poised::output::record::{self, Recorder};
use poised::pose::PoseSample;
use poised::sys::rt::process_cpu_ns;

use super::exit::{INTERRUPTED, Interrupted, Unavailable, UsageError};
use super::floor::{FloorReplay, FloorReport};
use super::networks::Networks;
use super::output::{self, Force, OutputError};
use super::poses::PosesFile;
use super::repetitions::{Exercised, Repetitions};
use super::report::{Report, Tally};
use super::session::{SessionFiles, summary_of};

/// Longest wait for a frame of a network camera: it may pause.
const STREAM_SILENT_MAX: Duration = Duration::from_secs(10);

/// How often a wait looks whether the command was asked to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Fixes what adaptation draws: a recording gives the same poses each time.
const SEED: u64 = 1;

/// Most damaged frames in a row before a recording is given up.
const DAMAGED_MAX: u32 = 100;

#[derive(Debug, Args)]
pub struct ReplayOptions {
    /// A video file, an image or a folder of images, the address of a network camera (rtsp://, http://), or a
    /// recording (.poses, or .mcap from `export`).
    source: OsString,
    #[command(flatten)]
    networks: Networks,
    /// Calibration of the camera (.toml, or .yaml of ROS, `OpenCV` or Kalibr).
    #[arg(long)]
    calibration: Option<PathBuf>,
    /// Rotate frames clockwise by 0, 90, 180 or 270 degrees. The calibration is rotated with them.
    #[arg(long, default_value_t = 0, value_parser = clap::builder::PossibleValuesParser::new(["0", "90", "180", "270"])
        .map(|degrees| degrees.parse::<u32>().unwrap_or_default()))]
    rotate: u32,
    /// Mirror frames left to right, after the rotation.
    #[arg(long)]
    flip: bool,
    /// Keypoint network: its name in the folder of networks, or the path of its own folder.
    #[arg(long)]
    person: Option<String>,
    /// Stop after this many frames.
    #[arg(long)]
    frames: Option<u64>,
    /// Write each frame with the detected poses drawn into it to this folder, as PNG.
    #[arg(long)]
    overlay: Option<PathBuf>,
    /// Write one JSON object per frame with all poses to this file.
    #[arg(long)]
    poses: Option<PathBuf>,
    /// Record the pose messages, without images, to this file (.poses).
    #[arg(long)]
    record: Option<PathBuf>,
    /// Adaptation method: off, latent, 2d, cycle, replay, semantic, sem, align, update, gpa or gpa+replay. Overrides
    /// the configuration.
    #[arg(long)]
    adapt: Option<Method>,
    /// Dictionary of actions to use instead of the default one.
    #[arg(long)]
    dictionary: Option<PathBuf>,
    /// Count the repetitions of this exercise, such as squat, and print them as a table.
    #[arg(long, value_name = "NAME")]
    exercise: Option<String>,
    /// File of exercises to use instead of the default one.
    #[arg(long, value_name = "FILE", requires = "exercise")]
    exercises: Option<PathBuf>,
    /// Report people on the floor. The calibration must have a [mount].
    #[arg(long)]
    floor: bool,
    /// Configuration whose [floor] section is used with --floor.
    #[arg(long, value_name = "FILE", requires = "floor")]
    floor_config: Option<PathBuf>,
    /// Write a page to print with the angles and repetitions of the exercise to this file (.html), and the same figures
    /// as JSON beside it (.json).
    #[arg(long, value_name = "FILE", requires = "exercise")]
    session: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    force: Force,
}

impl ReplayOptions {
    /// Refuses outputs that would overwrite what is read, or what exists.
    fn check_outputs(&self) -> Result<(), OutputError> {
        let mut outputs = output::Outputs::new(self.force);
        outputs.reads_source(&self.source);
        self.networks.read_by(&mut outputs);
        let files = [
            &self.calibration,
            &self.dictionary,
            &self.exercises,
            &self.floor_config,
        ];
        for path in files.into_iter().flatten() {
            outputs.reads(path);
        }
        for (option, path) in [("--poses", &self.poses), ("--record", &self.record)] {
            if let Some(path) = path {
                outputs.writes(option, path)?;
            }
        }
        if let Some(page) = &self.session {
            outputs.writes("--session", page)?;
            outputs.writes("--session", &summary_of(page))?;
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

/// Plays the recording and prints the figures. Where it breaks off or is interrupted, what was read until then is
/// reported, too.
///
/// # Errors
///
/// Networks or source do not open, the recording breaks off, the command is interrupted, or an output cannot be
/// written.
pub fn run(options: &ReplayOptions) -> anyhow::Result<()> {
    session_files(options)?;
    options.check_outputs()?;
    // Before networks are loaded: a wrong name is told at once.
    exercised(options)?;
    let mut config = estimate_config(options)?;
    if is_recording(&options.source) {
        return run_recording(options, &config);
    }
    let source = Source::of(&options.source).map_err(StartError::from)?;
    let pictures = matches!(source, Source::Pictures(_));
    let mut film = Film::open(&source, options)?;
    if pictures || film.camera.is_still() {
        // An image may be the only one of its people.
        config.track.hits_to_confirm = 1;
    }
    let stop = interruptible()?;
    let mut estimator = Estimator::open(&config)?;
    let mut adapter = estimator.adapter(SEED)?;
    let mut outputs = Outputs::open(options, &film.calibration)?;

    let timer = Clock::live();
    let counters = Counters::default();
    let progress = progress_bar(options.json);
    let mut sample = PoseSample::default();
    let mut tally = Tally::default();
    let mut scene = Scene::default();
    let (started, cpu_ns) = (timer.now(), process_cpu_ns());
    let mut taken = 0;
    // Whether it was played to its end, or what kept it from that.
    let ended = loop {
        if options.frames.is_some_and(|most| taken >= most) {
            break Ok(false);
        }
        match film.next(&counters, &stop) {
            Ok(Step::Frame) => {}
            Ok(Step::End) => break Ok(true),
            Ok(Step::Stopped) => break Err(Interrupted.into()),
            Err(error) => break Err(error),
        }
        let frame = &film.frame;
        let begun = timer.now();
        if pictures && scene.is_new(frame) {
            estimator.reset();
        }
        taken += 1;
        counters.capture.frames.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = estimator.step(frame, &film.calibration, &timer, &counters, &mut sample)
        {
            // Written, it would say that no person is there.
            log::warn!("frame {}: {error}", frame.meta.sequence);
            counters.frame_failed(frame_fault(error));
            continue;
        }
        counters.latency.add(timer.now().since(begun));
        if let Some(adapter) = &mut adapter {
            estimator.learn(adapter);
        }
        tally.add(&sample);
        outputs.add(Some(frame), &film.calibration, &sample)?;
        progress.inc(1);
    };
    let elapsed = timer.now().since(started);
    progress.finish_and_clear();
    let found = outputs.finish(matches!(ended, Ok(true)))?;
    let better_turned_deg = counters.better_turned_deg();
    if better_turned_deg != 0 {
        log::warn!("{}", turned_advice(better_turned_deg));
    }
    if ended.is_ok() || tally.frames() > 0 {
        let report =
            Report::of(tally, &counters, estimator.engine(), elapsed).with_cpu_since(cpu_ns);
        found.put_into(report).print(options.json)?;
    }
    ended.map(drop)
}

/// A flag that Ctrl-C and SIGTERM set; the second of them ends the program at once.
///
/// # Errors
///
/// The system has no room for a handler.
pub fn interruptible() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::<AtomicBool>::default();
    for signal in [SIGINT, SIGTERM] {
        let code = INTERRUPTED.into();
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// What came of asking for a frame.
pub enum Step {
    /// The frame was filled.
    Frame,
    /// The recording is over.
    End,
    /// The command was asked to end.
    Stopped,
}

/// A source of pixels, its newest frame, and the calibration for that frame.
struct Film {
    camera: Box<dyn Camera>,
    frame: Frame,
    lens: CalibrationConfig,
    handling: Handling,
    calibration: Calibration,
}

impl Film {
    fn open(source: &Source, options: &ReplayOptions) -> Result<Self, StartError> {
        let turn = Turn::clockwise(options.rotate).unwrap_or(Turn::NONE);
        let turn = if options.flip { turn.mirrored() } else { turn };
        let mut camera: Box<dyn Camera> = match source {
            // They need not belong together.
            Source::Pictures(path) => {
                Box::new(ImageFolder::open(path, FOLDER_RATE_HZ)?.each_in_its_size())
            }
            other => other.open(&StreamOptions::default(), &mut || true)?,
        };
        if turn != Turn::NONE {
            camera = Box::new(Turned::new(camera, turn));
        }
        let mode = camera.mode();
        let handling = Handling {
            native_px: camera.native_px(),
            size_px: (mode.width_px, mode.height_px),
            turn,
        };
        let lens = lens_of(options.calibration.clone());
        Ok(Self {
            frame: Frame::with_room(mode.width_px, mode.height_px),
            calibration: lens.open_for(&handling)?,
            camera,
            lens,
            handling,
        })
    }

    /// Reads the next frame that is whole.
    fn next(&mut self, counters: &Counters, stop: &AtomicBool) -> anyhow::Result<Step> {
        loop {
            let done = next_unless(self.camera.as_mut(), &mut self.frame, counters, stop)?;
            if !matches!(done, Step::Frame) {
                return Ok(done);
            }
            let meta = &self.frame.meta;
            let handling = Handling {
                native_px: self.camera.native_px(),
                size_px: (meta.width_px, meta.height_px),
                ..self.handling
            };
            if handling == self.handling {
                return Ok(done);
            }
            match self.lens.open_for(&handling) {
                Ok(calibration) => {
                    (self.handling, self.calibration) = (handling, calibration);
                    return Ok(done);
                }
                Err(error) => {
                    log::warn!("image {} skipped: {error}", meta.sequence + 1);
                    counters.dropped(poised::counters::DropReason::Damaged, 1);
                }
            }
        }
    }
}

/// Tells images that do not belong together from those of a video.
#[derive(Default)]
struct Scene {
    /// Mean brightness of each field of a grid over the image before.
    before: Vec<f32>,
}

impl Scene {
    /// Fields of the grid along each side.
    const FIELDS: usize = 16;

    /// Two images of one scene differ by less than this, as a mean over the fields, of 255: a person who walks
    /// through a room changes a few fields; another room changes all.
    const SAME_MAX: f32 = 20.0;

    /// Whether an image in RGB shows something else than the one before.
    #[expect(clippy::cast_precision_loss, reason = "sums of bytes of one field")]
    fn is_new(&mut self, frame: &Frame) -> bool {
        let (width, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
        let mut sums = vec![(0_u64, 0_u64); Self::FIELDS * Self::FIELDS];
        for (y, row) in frame.bytes.chunks_exact(width * 3).enumerate() {
            let line = y * Self::FIELDS / height * Self::FIELDS;
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let (sum, count) = &mut sums[line + x * Self::FIELDS / width];
                *sum += u64::from(pixel[1]);
                *count += 1;
            }
        }
        let means: Vec<f32> = sums
            .iter()
            .map(|(sum, count)| *sum as f32 / (*count).max(1) as f32)
            .collect();
        let off: f32 = means
            .iter()
            .zip(&self.before)
            .map(|(now, before)| (now - before).abs())
            .sum();
        let is_first = self.before.is_empty();
        self.before = means;
        is_first || off / (Self::FIELDS * Self::FIELDS) as f32 > Self::SAME_MAX
    }
}

/// The lens of a calibration file, which may be scaled, or an assumed one.
const fn lens_of(file: Option<PathBuf>) -> CalibrationConfig {
    CalibrationConfig {
        file,
        scale_to_image: true,
    }
}

/// Whether a source is a recording of poses, by its name.
pub fn is_recording(source: impl AsRef<OsStr>) -> bool {
    let path = Path::new(source.as_ref());
    let is_poses = path
        .extension()
        .is_some_and(|extension| extension == record::EXTENSION);
    is_poses || mcap_read::is_mcap(path)
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
    let camera = Source::of(source)?.open(&StreamOptions::default(), &mut || true)?;
    let mode = camera.mode();
    let calibration = lens_of(calibration).open_for(&Handling {
        native_px: camera.native_px(),
        size_px: (mode.width_px, mode.height_px),
        turn: Turn::NONE,
    })?;
    Ok((camera, calibration))
}

/// Plays a film, a folder of images or a recording of poses to its end, and hands `each` sample on with the calibration.
///
/// # Errors
///
/// What does not open, a source that breaks off, and what `each` says. A frame in which the networks fail is left out
/// and named in the log.
pub fn play(
    source: &str,
    calibration: Option<PathBuf>,
    config: &EstimateConfig,
    mut each: impl FnMut(&Calibration, &PoseSample) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let timer = Clock::live();
    let counters = Counters::default();
    let mut sample = PoseSample::default();
    if is_recording(source) {
        let mut recording = export::open(Path::new(source))?;
        let calibration = recording.calibration().clone();
        let mut poser = Poser::open(config)?;
        while let Some(recorded) = recording.next().transpose()? {
            poser.replay(&recorded, &calibration, &timer, &counters, &mut sample);
            each(&calibration, &sample)?;
        }
        return Ok(());
    }
    let (mut camera, calibration) = open(source, calibration)?;
    let mut estimator = Estimator::open(config)?;
    let mode = camera.mode().clone();
    let mut frame = Frame::with_room(mode.width_px, mode.height_px);
    let never = AtomicBool::new(false);
    while let Step::Frame = next_unless(camera.as_mut(), &mut frame, &counters, &never)? {
        match estimator.step(&frame, &calibration, &timer, &counters, &mut sample) {
            Ok(_) => each(&calibration, &sample)?,
            Err(error) => log::warn!("{source}: frame {}: {error}", frame.meta.sequence),
        }
    }
    Ok(())
}

/// Plays a recording of poses: its keypoints once more through everything behind the 2D networks.
fn run_recording(options: &ReplayOptions, config: &EstimateConfig) -> anyhow::Result<()> {
    if options.overlay.is_some() {
        return Err(UsageError("--overlay: a recording of poses holds no pictures").into());
    }
    let mut recording = export::open(Path::new(&options.source))?;
    let calibration = recording.calibration().clone();
    let mut poser = Poser::open(config)?;
    let mut adapter = poser.adapter(SEED)?;
    let mut outputs = Outputs::open(options, &calibration)?;
    let timer = Clock::live();
    let counters = Counters::default();
    let mut sample = PoseSample::default();
    let mut tally = Tally::default();
    let started = timer.now();
    let wanted = |taken: u64| options.frames.is_none_or(|most| taken < most);
    while wanted(tally.frames())
        && let Some(recorded) = recording.next().transpose()?
    {
        let begun = timer.now();
        poser.replay(&recorded, &calibration, &timer, &counters, &mut sample);
        counters.latency.add(timer.now().since(begun));
        if let Some(adapter) = &mut adapter {
            poser.learn(adapter);
        }
        tally.add(&sample);
        outputs.add(None, &calibration, &sample)?;
    }
    let elapsed = timer.now().since(started);
    let found = outputs.finish(wanted(tally.frames()))?;
    let report = Report::of(tally, &counters, "none", elapsed);
    found.put_into(report).print(options.json)
}

fn estimate_config(options: &ReplayOptions) -> anyhow::Result<EstimateConfig> {
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

/// Fills `frame` with the next frame that is whole, unless `stop` is set.
///
/// # Errors
///
/// The recording breaks off, or gives only damaged frames.
pub fn next_unless(
    camera: &mut dyn Camera,
    frame: &mut Frame,
    counters: &Counters,
    stop: &AtomicBool,
) -> anyhow::Result<Step> {
    let silent_max = match camera.kind() {
        SourceKind::Recording => RECORDING_SILENT_MAX,
        SourceKind::Device | SourceKind::Stream => STREAM_SILENT_MAX,
    };
    let (mut damaged, mut silent) = (0, Duration::ZERO);
    while damaged < DAMAGED_MAX {
        if stop.load(Ordering::Acquire) {
            return Ok(Step::Stopped);
        }
        let error = match camera.next_into(frame, LOOK_EVERY) {
            Ok(Next::Frame) => return Ok(Step::Frame),
            Ok(Next::End) => return Ok(Step::End),
            Ok(Next::Pause) => continue,
            Err(error) => error,
        };
        match error {
            CaptureError::Timeout { waited_ms, .. } => {
                silent += Duration::from_millis(waited_ms.into());
                if silent < silent_max {
                    continue;
                }
                let name = camera.mode().name.clone();
                return Err(error)
                    .with_context(|| format!("{name}: silent for {} s", silent.as_secs()));
            }
            _ if error.severity() == Severity::Skip => {
                let reason = match error {
                    CaptureError::ShortFrame { .. } => poised::counters::DropReason::Short,
                    _ => poised::counters::DropReason::Damaged,
                };
                counters.dropped(reason, 1);
                log::warn!("{}", camera.complaint().unwrap_or(&error.to_string()));
                damaged += 1;
            }
            _ => {
                let said = camera.complaint().map(str::to_owned);
                return Err(error).context(said.unwrap_or_else(|| camera.mode().name.clone()));
            }
        }
    }
    Err(Unavailable(format!(
        "giving up after {DAMAGED_MAX} damaged frames in a row"
    ))
    .into())
}

/// What is written beside the figures.
struct Outputs {
    overlay: Option<(PathBuf, Overlay, Vec<u8>)>,
    poses: Option<PosesFile>,
    record: Option<Recorder>,
    exercised: Option<Exercised>,
    floor: Option<FloorReplay>,
    session: Option<SessionFiles>,
    /// Columns and rows of what is recorded.
    size_px: (u32, u32),
}

impl Outputs {
    fn open(options: &ReplayOptions, calibration: &Calibration) -> anyhow::Result<Self> {
        let (width_px, height_px) = calibration.size_px();
        let overlay = match &options.overlay {
            Some(folder) => {
                output::make_folder("--overlay", folder)?;
                let overlay = Overlay::new(width_px, height_px, calibration.clone());
                Some((folder.clone(), overlay, Vec::new()))
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
            exercised: exercised(options)?,
            floor: floor_of(options, calibration)?,
            session: session_files(options)?,
            size_px: (width_px, height_px),
        })
    }

    fn add(
        &mut self,
        frame: Option<&Frame>,
        calibration: &Calibration,
        sample: &PoseSample,
    ) -> anyhow::Result<()> {
        if let Some(exercised) = &mut self.exercised {
            exercised.add(sample);
        }
        if let Some(floor) = &mut self.floor {
            floor.add(sample);
        }
        if let Some(session) = &mut self.session {
            session.add(sample);
        }
        if let Some(poses) = &mut self.poses {
            poses.add(sample)?;
        }
        if let Some(record) = &mut self.record {
            if calibration.size_px() == self.size_px {
                let left_out = record.add(sample)?;
                if left_out > 0 {
                    log::warn!(
                        "frame {}: {left_out} people not recorded: NaN or infinity",
                        sample.frame_sequence
                    );
                }
            } else {
                log::warn!(
                    "image {}: not the size of the first, not recorded",
                    sample.frame_sequence + 1
                );
            }
        }
        if let (Some((folder, overlay, rgb)), Some(frame)) = (&mut self.overlay, frame) {
            let (width_px, height_px) = (frame.meta.width_px, frame.meta.height_px);
            let bytes = width_px as usize * height_px as usize * 3;
            if rgb.len() != bytes {
                rgb.resize(bytes, 0);
                *overlay = Overlay::new(width_px, height_px, calibration.clone());
            }
            to_rgb(frame, rgb)?;
            overlay.draw(rgb, sample);
            let path = folder.join(format!("{:06}.png", frame.meta.sequence));
            overlay
                .save(&path)
                .map_err(|error| output::failed("--overlay", &path, error))?;
        }
        Ok(())
    }

    /// Writes what is held back; what was counted. `whole` is whether the source was played to its end.
    fn finish(self, whole: bool) -> anyhow::Result<Found> {
        self.record.map_or(Ok(()), Recorder::finish)?;
        self.poses.map_or(Ok(()), PosesFile::finish)?;
        self.session
            .map_or(Ok(()), |session| session.finish(whole))?;
        Ok(Found {
            repetitions: self.exercised.map(Exercised::finish),
            floor: self.floor.map(FloorReplay::finish),
        })
    }
}

/// What was counted and watched for.
struct Found {
    repetitions: Option<Repetitions>,
    floor: Option<FloorReport>,
}

impl Found {
    fn put_into(self, report: Report) -> Report {
        report
            .with_repetitions(self.repetitions)
            .with_floor(self.floor)
    }
}

/// What watches the floor, if that is asked for.
fn floor_of(
    options: &ReplayOptions,
    calibration: &Calibration,
) -> anyhow::Result<Option<FloorReplay>> {
    if !options.floor {
        return Ok(None);
    }
    if calibration.mount().is_none() {
        return Err(UsageError(
            "--floor: the calibration has no [mount], the camera's height above the floor and its tilt; \
             `poised calibrate mount` measures it, --calibration names the file",
        )
        .into());
    }
    let config = match &options.floor_config {
        Some(path) => Settings::read(path).map_err(StartError::from)?.floor,
        None => FloorConfig::default(),
    };
    let config = FloorConfig {
        events: true,
        ..config
    };
    let watch = config.watch(calibration).map_err(StartError::from)?;
    Ok(watch.map(FloorReplay::new))
}

/// The exercise that is asked for.
fn exercise(options: &ReplayOptions) -> anyhow::Result<Option<Exercise>> {
    let config = ExerciseConfig {
        name: options.exercise.clone(),
        file: options.exercises.clone(),
    };
    Ok(config.open().map_err(StartError::from)?)
}

/// What counts it.
fn exercised(options: &ReplayOptions) -> anyhow::Result<Option<Exercised>> {
    Ok(exercise(options)?.map(Exercised::new))
}

/// What writes a session of it.
fn session_files(options: &ReplayOptions) -> anyhow::Result<Option<SessionFiles>> {
    let Some(page) = &options.session else {
        return Ok(None);
    };
    if page.extension().is_none_or(|ending| ending != "html") {
        return Err(
            UsageError("--session: must end in .html; the JSON is written beside it").into(),
        );
    }
    let source = options.source.to_string_lossy();
    Ok(exercise(options)?.map(|exercise| SessionFiles::new(exercise, page, &source)))
}

/// A counter of frames on a terminal, nothing elsewhere.
fn progress_bar(json: bool) -> ProgressBar {
    if json || !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} frames, {per_sec}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
