//! `poised run`: the daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use log::{info, warn};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use poised::adapt::control::Control;
use poised::adapt::thread::Worker;
use poised::base::clock::Clock;
use poised::base::mailbox::{Mailbox, Put};
use poised::camera::{Calibration, Handling};
use poised::capture::paced::Paced;
use poised::capture::reopen::Backoff;
use poised::capture::thread::{CameraState, Ended, words};
use poised::capture::turn::Turned;
use poised::capture::v4l2::{V4l2Config, V4l2Source};
use poised::capture::{Camera, GoesOn, OpenError, Source, SourceKind, StreamOptions};
use poised::counters::{Counters, DropReason, Reading};
use poised::daemon::settings::{CameraConfig, LogLevel, Settings};
use poised::daemon::wiring::{self, Parts};
use poised::engine::Engine;
use poised::error::StartError;
use poised::estimate::Estimator;
use poised::frame::Turn;
use poised::output::archive::ArchiveCalibration;
use poised::output::foxglove::{FoxgloveAbout, FoxgloveMount};
use poised::output::mqtt::MqttAbout;
use poised::output::ros::{RosAbout, RosMount};
use poised::output::session::Offered;
use poised::output::web::About;
use poised::output::{
    Archive, Documents, Foxglove, Mqtt, Outlet, PublishConfig, Publisher, Ros, Sessions, Web,
};
use poised::synthetic::SyntheticCamera;

use super::service::Service;

/// Time between two lines of figures in the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How often the stop flag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the publisher is tended while there is no camera yet.
const IDLE_EVERY: Duration = Duration::from_millis(20);

/// Tries to leave a change for the publisher, which holds the lock for the move of one value.
const HAND_OVER_TRIES: u32 = 100;

#[derive(Debug, Args)]
pub struct RunOptions {
    /// The configuration file.
    #[arg(short, long)]
    config: PathBuf,
}

/// What main and the threads share.
struct Running {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    clock: Arc<Clock>,
    counters: Arc<Counters>,
    publish: Mailbox<PublishConfig>,
}

impl Running {
    /// SIGTERM and SIGINT ask for an orderly end, SIGHUP for the configuration to be read again. While `loading` holds,
    /// the former end the process at once: networks and session take seconds to open, nothing looks at the flag
    /// meanwhile, and nothing needs an orderly end yet.
    fn register_signals(&self, loading: &Arc<AtomicBool>) -> io::Result<()> {
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(loading))?;
            signal_hook::flag::register(signal, Arc::clone(&self.stop))?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&self.reload))?;
        Ok(())
    }
}

/// Runs until SIGTERM or SIGINT, or until a recording is over.
///
/// The daemon waits for a camera that is not present yet; it is on Zenoh meanwhile and reports that it waits.
/// SIGHUP reads the configuration again.
///
/// # Errors
///
/// What keeps the daemon from starting, or a camera that failed for good.
pub fn run(options: &RunOptions) -> anyhow::Result<()> {
    let (settings, text) = Settings::read_with_text(&options.config).map_err(StartError::from)?;
    let running = Running {
        stop: Arc::default(),
        reload: Arc::default(),
        clock: Arc::new(Clock::live()),
        counters: Arc::default(),
        publish: Mailbox::new(),
    };
    let (clock, counters, stop) = (&running.clock, &running.counters, &running.stop);
    let loading = Arc::new(AtomicBool::new(true));
    running.register_signals(&loading)?;
    let level = log::max_level();
    set_log_level(settings.log.level, level);
    let mut service = Service::new(clock.now(), counters);

    // Networks first: they take longest and fail most clearly.
    let engine = Engine::open(&settings.inference).map_err(StartError::from)?;
    let mut estimator = Estimator::open_with(&engine, &settings.estimate())?;
    say_engine(&engine);
    let documents = Documents {
        config: text,
        calibration: String::new(),
    };
    let name = settings.camera.name.as_str();
    let mut source = CameraSource::new(&settings.camera, clock)?;
    check_files(&settings)?;
    let mut outlet = Outlet::open(&settings.session(), name, documents, clock.now())
        .map_err(StartError::from)?;
    let worker = worker_of(&settings, &estimator, clock)?;
    let worker = listen(&settings, &mut estimator, worker, &mut outlet, clock)?;
    let sessions = open_sessions(&settings, &mut outlet, clock)?;
    let status = engine.status();
    let mut publisher = Publisher::new(&settings.publish, name, status, clock, counters, outlet);
    publisher.follow(&running.publish);
    if let Some(exercise) = settings.exercise.open().map_err(StartError::from)? {
        publisher.count(exercise);
    }
    if let Some(sessions) = sessions {
        publisher.also(sessions);
    }
    let outlets = Outlets::open(&settings, &engine, &running, &mut publisher)?;
    if let Some(worker) = &worker {
        publisher.tell_of(settings.adapt.method, worker.link());
    }
    loading.store(false, Ordering::Release);
    let Some(camera) = first_camera(&mut source, &mut publisher, &running)? else {
        publisher.leave();
        return Ok(());
    };
    let mode = camera.mode().clone();
    let calibration = calibrated(&settings, camera.as_ref(), &mut publisher)?;
    outlets.tell(&calibration);
    info!(
        "{}: {}x{} at {:.1} Hz; lens {calibration}",
        mode.name, mode.width_px, mode.height_px, mode.rate_hz
    );
    let mut reopen = |goes_on: &mut GoesOn<'_>| {
        source.open(goes_on).map_err(|error| match error {
            StartError::Camera(error) => error,
            other => OpenError::Missing {
                name: other.to_string(),
            },
        })
    };
    let live = camera.kind().is_live();
    let ended = wiring::run(
        Parts {
            camera,
            reopen: live.then_some(&mut reopen),
            calibration: &calibration,
            estimator,
            builder: engine.builder(),
            worker,
            publisher,
            clock,
            counters,
            stop,
        },
        |frames_ended| {
            let mut current = settings.clone();
            let put = |config| running.publish.put(config);
            let reload = || reload(&options.config, &mut current, level, put);
            supervise(&running, frames_ended, &mut service, reload);
        },
    )?;
    if let Some(trouble) = counters.capture.last_trouble.take() {
        warn!("camera: {trouble}");
    }
    info!("stopped: {}", Line::of(counters, &mut Past::default(), 0.0));
    match ended {
        Ended::Failed(error) => Err(error.into()),
        Ended::Stopped | Ended::Over => Ok(()),
    }
}

/// Checks the files that the configuration names: before the camera's own tries, so that a wrong one is not found out
/// only when the camera comes.
fn check_files(settings: &Settings) -> Result<(), StartError> {
    let known = match &settings.calibration.file {
        Some(path) => Some(Calibration::read(path)?),
        None => None,
    };
    let has_mount = known.is_some_and(|calibration| calibration.mount().is_some());
    settings.floor.check_mount(has_mount)?;
    settings.mqtt.check_files()?;
    Ok(())
}

/// The calibration for the camera that was opened; the publisher gets what follows from it.
fn calibrated(
    settings: &Settings,
    camera: &dyn Camera,
    publisher: &mut Publisher<'_>,
) -> Result<Calibration, StartError> {
    let mode = camera.mode();
    let calibration = settings.calibration.open_for(&Handling {
        native_px: camera.native_px(),
        size_px: (mode.width_px, mode.height_px),
        turn: settings.camera.turn(),
    })?;
    publisher.set_calibration(&calibration.to_toml());
    if let Some(watch) = settings.floor.watch(&calibration)? {
        publisher.watch_floor(watch);
    }
    Ok(calibration)
}

/// Which engine was taken and why, and what each network runs in.
fn say_engine(engine: &Engine) {
    let status = engine.status();
    let networks = status.networks();
    let networks: Vec<String> = networks
        .into_iter()
        .map(|(network, runs_in)| format!("{network} in {runs_in}"))
        .collect();
    info!(
        "engine {}: {}; {}",
        status.engine(),
        status.reason(),
        networks.join(", ")
    );
}

/// The outlets beside Zenoh that wait for the camera's calibration.
struct Outlets {
    ros: Option<RosMount>,
    foxglove: Option<FoxgloveMount>,
    archive: Option<ArchiveCalibration>,
}

impl Outlets {
    /// Opens what the configuration asks for, and has the publisher send to it.
    fn open(
        settings: &Settings,
        engine: &Engine,
        running: &Running,
        publisher: &mut Publisher<'_>,
    ) -> Result<Self, StartError> {
        if let Some(web) = open_web(settings, engine, running)? {
            publisher.also(web);
        }
        let ros = open_ros(settings, running, publisher)?;
        let foxglove = open_foxglove(settings, running, publisher)?;
        open_mqtt(settings, running, publisher)?;
        let archive = open_archive(settings, running, publisher)?;
        Ok(Self {
            ros,
            foxglove,
            archive,
        })
    }

    /// The camera is open and its calibration known.
    fn tell(&self, calibration: &Calibration) {
        if let (Some(ros), Some(mount)) = (&self.ros, calibration.mount()) {
            ros.set(*mount);
        }
        if let (Some(foxglove), Some(mount)) = (&self.foxglove, calibration.mount()) {
            foxglove.set(*mount);
        }
        if let Some(archive) = &self.archive {
            archive.set(calibration);
        }
    }
}

/// The web view, where the configuration wants one.
fn open_web(
    settings: &Settings,
    engine: &Engine,
    running: &Running,
) -> Result<Option<Web>, StartError> {
    let about = About {
        camera: settings.camera.name.clone(),
        engine: engine.status(),
        counters: Arc::clone(&running.counters),
        clock: Arc::clone(&running.clock),
        silent_after: Duration::from_millis(settings.publish.silent_after_ms.into()),
    };
    let web = Web::open(&settings.web, about)?;
    if let Some(web) = &web {
        info!("web view at {}", web.url());
    }
    Ok(web)
}

/// The outlet for ROS 2, where the configuration wants one; what tells it how the camera hangs.
fn open_ros(
    settings: &Settings,
    running: &Running,
    publisher: &mut Publisher<'_>,
) -> Result<Option<RosMount>, StartError> {
    let about = RosAbout {
        camera: settings.camera.name.clone(),
        device: settings.zenoh.device.clone(),
        counters: Arc::clone(&running.counters),
        clock: Arc::clone(&running.clock),
    };
    let Some(ros) = Ros::open(&settings.ros, about)? else {
        return Ok(None);
    };
    let mount = ros.mount();
    publisher.also(ros);
    Ok(Some(mount))
}

/// The outlet for Foxglove, where the configuration wants one; what tells it how the camera hangs.
fn open_foxglove(
    settings: &Settings,
    running: &Running,
    publisher: &mut Publisher<'_>,
) -> Result<Option<FoxgloveMount>, StartError> {
    let about = FoxgloveAbout {
        camera: settings.camera.name.clone(),
        device: settings.zenoh.device.clone(),
        names: settings.ros.names(&settings.camera.name),
        counters: Arc::clone(&running.counters),
        clock: Arc::clone(&running.clock),
    };
    let Some(foxglove) = Foxglove::open(&settings.foxglove, about)? else {
        return Ok(None);
    };
    info!("foxglove: viewers connect to ws://{}", foxglove.address());
    let mount = foxglove.mount();
    publisher.also(foxglove);
    Ok(Some(mount))
}

/// The outlet for MQTT, where the configuration wants one.
fn open_mqtt(
    settings: &Settings,
    running: &Running,
    publisher: &mut Publisher<'_>,
) -> Result<(), StartError> {
    let about = MqttAbout {
        site: settings.zenoh.site.clone(),
        device: settings.zenoh.device.clone(),
        camera: settings.camera.name.clone(),
        silent_after: Duration::from_millis(settings.publish.silent_after_ms.into()),
        floor: settings.floor.events,
        counters: Arc::clone(&running.counters),
        clock: Arc::clone(&running.clock),
    };
    if let Some(mqtt) = Mqtt::open(&settings.mqtt, about)? {
        publisher.also(mqtt);
    }
    Ok(())
}

/// Recordings, where the configuration wants them; what tells them what lens the camera has.
fn open_archive(
    settings: &Settings,
    running: &Running,
    publisher: &mut Publisher<'_>,
) -> Result<Option<ArchiveCalibration>, StartError> {
    let (counters, clock) = (&running.counters, &running.clock);
    let archive = Archive::open(&settings.record, &settings.camera.name, counters, clock)?;
    Ok(archive.map(|archive| {
        let calibration = archive.calibration();
        publisher.also(archive);
        calibration
    }))
}

/// What learns, where the configuration wants that.
fn worker_of(
    settings: &Settings,
    estimator: &Estimator,
    clock: &Clock,
) -> Result<Option<Worker>, StartError> {
    let now = clock.now();
    let adapter = estimator.adapter(now.0)?;
    Ok(adapter.map(|adapter| Worker::new(&settings.adapt, adapter, now)))
}

/// Takes what peers send, where the configuration allows it: hints and commands.
fn listen(
    settings: &Settings,
    estimator: &mut Estimator,
    worker: Option<Worker>,
    outlet: &mut Outlet,
    clock: &Arc<Clock>,
) -> Result<Option<Worker>, StartError> {
    let name = settings.camera.name.as_str();
    if settings.semantics.hints
        && let Some(hints) = estimator.hear_hints(clock)
    {
        outlet.hear_hints(hints)?;
        info!("hints are taken on {}", settings.zenoh.key(name, "hint"));
    }
    let Some(mut worker) = worker else {
        return Ok(None);
    };
    if settings.adapt.control {
        let control = Arc::<Control>::default();
        outlet.hear_control(Arc::clone(&control))?;
        worker.obey(control);
        let key = settings.zenoh.key(name, "control");
        info!("accepting commands on {key}");
    }
    Ok(Some(worker))
}

/// Exercise sessions, where the configuration allows them.
fn open_sessions(
    settings: &Settings,
    outlet: &mut Outlet,
    clock: &Arc<Clock>,
) -> Result<Option<Sessions>, StartError> {
    let name = settings.camera.name.as_str();
    let offered = Offered {
        exercises: settings.exercise.all()?,
        usual: settings.exercise.name.clone(),
    };
    let sessions = Sessions::open(&settings.session, offered, name, clock)?;
    if let Some(sessions) = &sessions {
        outlet.hear_sessions(sessions.desk())?;
        let key = settings.zenoh.key(name, "session");
        info!("accepting sessions on {key}");
    }
    Ok(sessions)
}

/// The one source of frames that the configuration names.
struct CameraSource<'a> {
    config: &'a CameraConfig,
    clock: &'a Arc<Clock>,
    /// What `source` names, unless that is a device.
    named: Option<Source>,
    v4l2: V4l2Source,
    /// Asked of the device, 0 where its default is.
    asked_hz: f32,
    /// How a network camera is opened: from the second time on, its images are put into the first size.
    stream: StreamOptions,
}

impl<'a> CameraSource<'a> {
    fn new(config: &'a CameraConfig, clock: &'a Arc<Clock>) -> Result<Self, StartError> {
        let mut named = config.source.as_ref().map(Source::of).transpose()?;
        let v4l2 = match named.take_if(|source| matches!(source, Source::Device(_))) {
            Some(Source::Device(path)) => V4l2Config {
                device: Some(path),
                ..V4l2Config::default()
            },
            _ => config.v4l2.clone().unwrap_or_default(),
        };
        Ok(Self {
            config,
            clock,
            named,
            v4l2: V4l2Source::new(v4l2),
            asked_hz: config.v4l2.as_ref().map_or(0.0, |v4l2| v4l2.rate_hz),
            stream: StreamOptions {
                transport: config.transport,
                size_px: None,
            },
        })
    }

    /// What kind of source it is.
    fn kind(&self) -> SourceKind {
        self.named.as_ref().map_or(SourceKind::Device, Source::kind)
    }

    fn open(&mut self, goes_on: &mut GoesOn<'_>) -> Result<Box<dyn Camera>, StartError> {
        let camera = self.open_as_it_is(goes_on)?;
        let mode = camera.mode();
        self.stream.size_px = Some((mode.width_px, mode.height_px));
        let turn = self.config.turn();
        if turn == Turn::NONE {
            Ok(camera)
        } else {
            Ok(Box::new(Turned::new(camera, turn)))
        }
    }

    fn open_as_it_is(&mut self, goes_on: &mut GoesOn<'_>) -> Result<Box<dyn Camera>, StartError> {
        if let Some(synthetic) = &self.config.synthetic {
            let camera = SyntheticCamera::live(synthetic, Arc::clone(self.clock))?;
            return Ok(Box::new(camera));
        }
        if let Some(source) = &self.named {
            let camera = source.open(&self.stream, goes_on)?;
            return Ok(if camera.kind().is_live() {
                camera
            } else {
                Box::new(Paced::new(camera))
            });
        }
        let camera = self.v4l2.open()?;
        let asked_hz = self.asked_hz;
        let (name, gives_hz) = (&camera.mode().name, camera.mode().rate_hz);
        if gives_hz > 0.0 && gives_hz < 0.95 * asked_hz {
            warn!("{name}: {asked_hz} Hz configured, but the camera delivers {gives_hz:.1} Hz");
        }
        Ok(Box::new(camera))
    }
}

/// Whether this is a service whose unit may keep it from reaching a camera on the network.
fn is_fenced_in(kind: SourceKind) -> bool {
    kind == SourceKind::Stream && std::env::var_os("INVOCATION_ID").is_some()
}

/// Whether a camera that does not open may come by itself.
const fn may_wait(error: &StartError) -> bool {
    matches!(error, StartError::Camera(error) if error.may_pass())
}

/// Opens the camera, and waits for one that is not there yet, on the air meanwhile; `None` when asked to stop.
fn first_camera(
    source: &mut CameraSource<'_>,
    publisher: &mut Publisher<'_>,
    running: &Running,
) -> Result<Option<Box<dyn Camera>>, StartError> {
    let mut backoff = Backoff::new(source.kind());
    let mut said = String::new();
    loop {
        let mut goes_on = || {
            publisher.idle();
            !running.stop.load(Ordering::Acquire)
        };
        let error = match source.open(&mut goes_on) {
            Ok(camera) => {
                let _ = running
                    .counters
                    .capture
                    .back_as
                    .put(camera.mode().name.clone());
                return Ok(Some(camera));
            }
            Err(StartError::Camera(OpenError::Stopped)) => return Ok(None),
            Err(error) if source.kind().is_live() && may_wait(&error) => error,
            Err(error) => return Err(error),
        };
        let why = words(&error);
        if why != said {
            warn!("camera: {why}; waiting for it");
            if said.is_empty() && is_fenced_in(source.kind()) {
                warn!(
                    "a service reaches only the addresses that its unit allows: see \"Network cameras\" in service.md"
                );
            }
            let _ = running.counters.capture.lost_because.put(why.clone());
            running.counters.capture.set_state(CameraState::Lost);
            said.clone_from(&why);
        }
        Service::waiting(&why);
        let until = running.clock.now().plus(backoff.pause());
        while running.clock.now() < until {
            if !goes_on() {
                return Ok(None);
            }
            std::thread::sleep(IDLE_EVERY);
        }
    }
}

/// The level of the configuration, unless the command line or the environment asked for another one.
fn set_log_level(wanted: LogLevel, started_with: log::LevelFilter) {
    let wanted = match wanted {
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
    };
    let asked_for = std::env::var_os("RUST_LOG").is_some() || started_with > log::LevelFilter::Info;
    if !asked_for {
        log::set_max_level(wanted);
    }
}

/// Reads the configuration again, takes over what may change while running, and names what may not. `put` leaves
/// `[publish]` for the publisher.
fn reload(
    path: &Path,
    current: &mut Settings,
    level: log::LevelFilter,
    put: impl FnMut(PublishConfig) -> Put<PublishConfig>,
) {
    let new = match Settings::read(path) {
        Ok(new) => new,
        Err(error) => {
            log::error!(
                "configuration not reloaded, the previous one stays in use: {}",
                words(&error)
            );
            return;
        }
    };
    let restart = current.needs_restart(&new);
    if !restart.is_empty() {
        warn!(
            "[{}] changed in {}: restart the daemon to apply it",
            restart.join("], ["),
            path.display()
        );
    }
    if new.publish != current.publish {
        if hand_over(&new.publish, put) {
            current.publish = new.publish;
            info!("[publish] applied: {:?}", current.publish);
        } else {
            warn!("[publish] not applied, the publisher is busy: reload again");
        }
    }
    if new.log != current.log {
        current.log = new.log;
        info!("[log] applied: {:?}", current.log.level);
        set_log_level(current.log.level, level);
    }
    info!("{} read again", path.display());
}

/// Leaves what changed for the publisher; false where it never looked away for long enough.
fn hand_over(
    config: &PublishConfig,
    mut put: impl FnMut(PublishConfig) -> Put<PublishConfig>,
) -> bool {
    (0..HAND_OVER_TRIES).any(|_| {
        let left = !matches!(put(config.clone()), Put::Busy(_));
        if !left {
            std::thread::yield_now();
        }
        left
    })
}

/// What main does meanwhile: says how it goes, feeds the watchdog, watches for signals and the end.
fn supervise(
    running: &Running,
    frames_ended: &AtomicBool,
    service: &mut Service,
    mut reload: impl FnMut(),
) {
    let (clock, counters) = (&running.clock, &running.counters);
    let mut said = clock.now();
    let mut past = Past::default();
    let mut told_of_clock = false;
    while !running.stop.load(Ordering::Acquire) && !frames_ended.load(Ordering::Acquire) {
        std::thread::sleep(LOOK_EVERY);
        if running.reload.swap(false, Ordering::AcqRel) {
            reload();
        }
        if let Some(trouble) = counters.capture.last_trouble.take() {
            warn!("camera: {trouble}");
        }
        let estimated = counters.capture.estimated_times.load(Ordering::Relaxed) > 0;
        if estimated && !std::mem::replace(&mut told_of_clock, true) {
            warn!(
                "camera: its clock is not this machine's; times are estimated from when frames arrive"
            );
        }
        let now = clock.now();
        service.poll(now, counters);
        if now.since(said) >= LOG_EVERY {
            let seconds = now.seconds_after(said);
            said = now;
            let line = Line::of(counters, &mut past, seconds);
            service.status(&line);
            info!("{line}");
        }
    }
    Service::stopping();
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
        let reasons: Vec<String> = DropReason::ALL
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_the_publisher_does_not_take_is_not_called_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poised.toml");
        std::fs::write(&path, "[publish]\nlate_after_ms = 500\n").unwrap();
        let before = Settings::default();
        let (mut current, level) = (before.clone(), log::max_level());
        let mut tries = 0;
        reload(&path, &mut current, level, |config| {
            tries += 1;
            Put::Busy(config)
        });
        assert_eq!(tries, HAND_OVER_TRIES);
        assert_eq!(current, before, "so that the next reload tries it again");

        // The lock is held for a moment only.
        let mut tries = 0;
        reload(&path, &mut current, level, |config| {
            tries += 1;
            match tries {
                1 | 2 => Put::Busy(config),
                _ => Put::Stored,
            }
        });
        assert_eq!((tries, current.publish.late_after_ms), (3, 500));
        reload(&path, &mut current, level, |_| {
            panic!("nothing has changed since")
        });
    }

    #[test]
    fn a_device_named_as_source_is_opened_as_a_device_and_not_paced() {
        let config = CameraConfig {
            source: Some("/dev/video99".into()),
            ..CameraConfig::default()
        };
        let clock = Arc::new(Clock::live());
        let mut source = CameraSource::new(&config, &clock).unwrap();
        // What is paced is what `named` opens.
        assert!(source.named.is_none());
        assert_eq!(source.kind(), SourceKind::Device);
        let error = source.open(&mut || true).err().unwrap();
        assert!(may_wait(&error), "it may be plugged in later");
        assert!(
            matches!(&error, StartError::Camera(OpenError::Device { device, .. })
                if device == Path::new("/dev/video99")),
            "{error:?}"
        );
    }
}
