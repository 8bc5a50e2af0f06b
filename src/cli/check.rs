//! `poised check`: would this configuration run? Reads everything, starts nothing.

use std::path::PathBuf;

use clap::Args;

use poised::base::secret::redacted;
use poised::camera::{Calibration, Handling};
use poised::capture::{Camera, Source, StreamOptions};
use poised::daemon::settings::{CameraConfig, Settings};
use poised::engine::Engine;
use poised::error::StartError;
use poised::estimate::{Estimator, ModelsConfig};
use poised::motion::angles::{ANGLES, TRUNK_FLEXION, TRUNK_LATERAL_LEAN};
use poised::synthetic::SyntheticCamera;
use poised::sys::v4l2::Device;

use super::networks::MOVENET;

#[derive(Debug, Args)]
pub struct CheckOptions {
    /// The configuration file.
    file: PathBuf,
}

/// Opens the recording that the configuration names, or the synthetic camera. A stream or a device may come later, is
/// waited for, and may be in use: it is left alone. Only what is no video device never becomes one.
fn open_camera(config: &CameraConfig) -> Result<Option<Box<dyn Camera>>, StartError> {
    if let Some(synthetic) = &config.synthetic {
        let camera = SyntheticCamera::free_running(synthetic, None)?;
        return Ok(Some(Box::new(camera)));
    }
    let device = config.v4l2.as_ref().and_then(|v4l2| v4l2.device.clone());
    let source = match (&config.source, device) {
        (Some(name), _) => Source::of(name)?,
        (None, Some(node)) => Source::Device(node),
        (None, None) => return Ok(None),
    };
    let is_opened = match &source {
        Source::Device(node) => Device::open(node).is_ok_and(|node| node.capability().is_err()),
        other => !other.kind().is_live(),
    };
    if !is_opened {
        return Ok(None);
    }
    let camera = source.open(&StreamOptions::default(), &mut || true)?;
    Ok(Some(camera))
}

/// Opens the source of frames where that can be done now, and looks whether the calibration is for its images.
fn check_source(settings: &Settings) -> Result<(), StartError> {
    let Some(camera) = open_camera(&settings.camera)? else {
        return Ok(());
    };
    let (mode, turn) = (camera.mode(), settings.camera.turn());
    let calibration = settings.calibration.open_for(&Handling {
        native_px: camera.native_px(),
        size_px: turn.size((mode.width_px, mode.height_px)),
        turn,
    })?;
    settings.floor.watch(&calibration)?;
    Ok(())
}

/// What ROS 2 is given, where the configuration wants that.
fn say_ros(settings: &Settings, has_mount: bool) -> anyhow::Result<()> {
    let (ros, camera) = (&settings.ros, &settings.camera.name);
    let Some(endpoint) = &ros.connect else {
        return Ok(());
    };
    let names = ros.names(camera);
    say!(
        "ros: through the router at {} in domain {}, frame {}",
        redacted(endpoint),
        ros.domain,
        names.frame
    )?;
    for (topic, kind) in ros.topics(camera, has_mount) {
        say!("ros: {topic} [{kind}]")?;
    }
    if ros.humans {
        say!(
            "ros: /humans/bodies/tracked [hri_msgs/msg/IdsList], roi and skeleton2d of each person"
        )?;
    }
    if let (Some(parent), false) = (&names.parent_frame, has_mount) {
        say!("ros: no /tf of {parent}, since the calibration has no [mount]")?;
    }
    Ok(())
}

/// Where viewers of Foxglove connect, where the configuration wants that.
fn say_foxglove(settings: &Settings) -> anyhow::Result<()> {
    let Some(url) = settings.foxglove.url() else {
        return Ok(());
    };
    match settings.foxglove.origins.as_slice() {
        [] => say!("foxglove: viewers connect to {url}; no page may look, only programs")?,
        origins => say!(
            "foxglove: viewers connect to {url}, pages of {}",
            origins.join(", ")
        )?,
    }
    Ok(())
}

/// What is published over MQTT, where the configuration wants that.
fn say_mqtt(settings: &Settings) -> anyhow::Result<()> {
    let mqtt = &settings.mqtt;
    let Some(broker) = mqtt.address() else {
        return Ok(());
    };
    let user = match (&mqtt.username, &mqtt.password_file) {
        (None, _) => "without a user".to_owned(),
        (Some(user), None) => format!("as {user:?} without a password"),
        (Some(user), Some(_)) if broker.tls => format!("as {user:?} with a password"),
        (Some(user), Some(_)) => {
            format!("as {user:?} with a password, which mqtt:// does not encrypt (mqtts:// does)")
        }
    };
    say!("mqtt: {broker}, {user}")?;
    let names = &settings.zenoh;
    let topics = mqtt.topics(&names.site, &names.device, &settings.camera.name);
    say!("mqtt: state on {}", topics.state)?;
    match topics.discovery {
        Some(topic) => say!("mqtt: Home Assistant is told of the device on {topic}")?,
        None => say!("mqtt: Home Assistant is not told of the device")?,
    }
    Ok(())
}

/// What is counted, where the configuration wants that.
fn say_exercise(settings: &Settings, has_mount: bool) -> anyhow::Result<()> {
    let wanted = &settings.exercise;
    let Some(exercise) = wanted.open().map_err(StartError::from)? else {
        if let Some(file) = &wanted.file {
            say!(
                "exercise: none is counted: {} is read, but [exercise] name is missing",
                file.display()
            )?;
        }
        return Ok(());
    };
    say!("exercise: {} is counted", exercise.name)?;
    let counted_by = |needs_up: fn(usize) -> bool| exercise.signals.into_iter().any(needs_up);
    if has_mount {
        return Ok(());
    }
    if counted_by(|signal| [TRUNK_FLEXION, TRUNK_LATERAL_LEAN].contains(&signal)) {
        say!("exercise: nothing will count: the trunk's angles need a calibration with a [mount]")?;
    } else if counted_by(|signal| signal >= ANGLES) {
        say!("exercise: the camera is taken to be level, as its calibration has no [mount]")?;
    }
    Ok(())
}

/// Whether people on the floor are reported.
fn say_floor(settings: &Settings) -> anyhow::Result<()> {
    let floor = &settings.floor;
    if floor.events {
        say!(
            "floor: a person on the floor is reported after {} s, in {} regions not at all; no medical device",
            floor.after_s,
            floor.ignore.len()
        )?;
    }
    Ok(())
}

/// What is recorded, where the configuration wants that.
fn say_record(settings: &Settings) -> anyhow::Result<()> {
    let record = &settings.record;
    if let Some(folder) = &record.folder {
        say!(
            "record: {}, a file every {} s, at most {} MB and {} days, {} MB stay free",
            folder.display(),
            record.rotate_s,
            record.keep_mb,
            record.keep_days,
            record.free_mb
        )?;
    }
    Ok(())
}

/// Whether a kiosk may start sessions, and what is kept of them.
fn say_session(settings: &Settings) -> anyhow::Result<()> {
    let session = &settings.session;
    if !session.enabled {
        if let Some(folder) = &session.folder {
            say!(
                "session: off: folder is {}, but enabled = true is missing",
                folder.display()
            )?;
        }
        return Ok(());
    }
    let key = settings.zenoh.key(&settings.camera.name, "session");
    say!("session: {key}, at most {} minutes", session.max_minutes)?;
    match &session.folder {
        Some(folder) => say!(
            "session: {} keeps at most {} sessions, {} MB and {} days",
            folder.display(),
            session.keep_sessions,
            session.keep_mb,
            session.keep_days
        )?,
        None => say!("session: nothing is kept on this device")?,
    }
    Ok(())
}

/// Reads the configuration, opens its networks, its calibration and its recording.
///
/// # Errors
///
/// The first thing that is wrong, with its file, key, value and range.
pub fn run(options: &CheckOptions) -> anyhow::Result<()> {
    let settings = Settings::read(&options.file).map_err(StartError::from)?;
    let mut has_mount = false;
    if let Some(path) = &settings.calibration.file {
        let calibration = Calibration::read(path).map_err(StartError::from)?;
        has_mount = calibration.mount().is_some();
        say!("calibration: {calibration}")?;
        // Scaled, the image may have any size.
        if !settings.calibration.scale_to_image {
            let turned = calibration.turned(settings.camera.turn());
            let regions = settings.floor.check_image(turned.size_px());
            regions.map_err(StartError::from)?;
        }
    }
    settings
        .floor
        .check_mount(has_mount)
        .map_err(StartError::from)?;
    settings.zenoh.check_file().map_err(StartError::from)?;
    settings.zenoh.check_listen().map_err(StartError::from)?;
    settings.web.check_listen().map_err(StartError::from)?;
    settings.foxglove.check_listen().map_err(StartError::from)?;
    settings.mqtt.check_files().map_err(StartError::from)?;
    check_source(&settings)?;
    let engine = Engine::open(&settings.inference).map_err(StartError::from)?;
    Estimator::open_with(&engine, &settings.estimate())?;
    say!("engine: {}: {}", engine.name(), engine.status().reason())?;
    for (network, runs_in) in engine.status().networks() {
        say!("network: {network} loads and runs in {runs_in}")?;
    }
    if settings.models.person == ModelsConfig::default().person {
        say!(
            "network: person is the one that ships; more accurate and slower is MoveNet: {MOVENET}"
        )?;
    }
    if let Some(builder) = engine.builder() {
        say!(
            "engine: {} to be built at the first start, which takes minutes; `poised engine build` does it now",
            builder.networks().join(", ")
        )?;
    }
    say!(
        "keys: {}",
        settings
            .zenoh
            .key(&settings.camera.name, "{poses,events,health}")
    )?;
    if let Some(url) = settings.web.url() {
        let token = match settings.web.token {
            Some(_) => "with the token of web.token",
            None => "on this machine only, without a token",
        };
        say!("web: {url}, {token}")?;
    }
    say_ros(&settings, has_mount)?;
    say_foxglove(&settings)?;
    say_mqtt(&settings)?;
    say_record(&settings)?;
    say_exercise(&settings, has_mount)?;
    say_floor(&settings)?;
    say_session(&settings)?;
    say!("{}: good", options.file.display())?;
    Ok(())
}
