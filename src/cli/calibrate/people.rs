//! `poised calibrate mount --from-people`: height and angles of a camera, from people who walk.

use std::ffi::OsStr;
use std::path::Path;

use poised::base::clock::Clock;
use poised::camera::Calibration;
use poised::capture::{Source, SourceKind, StreamOptions};
use poised::counters::Counters;
use poised::error::StartError;
use poised::estimate::{EstimateConfig, Estimator};
use poised::frame::Frame;
use poised::lift::window::rays_of;
use poised::motion::mount::{FoundMount, MountChange, MountFinder};
use poised::output::export;
use poised::pose::PoseSample;

use crate::cli::exit::NothingFits;
use crate::cli::replay::{Step, interruptible, is_recording, next_unless};

/// Samples after which a live camera is known as well as it gets: all that are kept.
const LIVE_SAMPLES: usize = 160;

/// Watches people until the film ends, or a camera's mount is known or Ctrl-C is pressed. The mount, and the calibration
/// for the size of the images.
///
/// # Errors
///
/// The source or the networks do not open, the calibration is of another shape, or too few people walk.
pub fn mount(
    source: &OsStr,
    camera: &Calibration,
    mut config: EstimateConfig,
) -> anyhow::Result<(FoundMount, Calibration)> {
    config.semantics.enabled = false;
    let mut finder = MountFinder::default();
    let camera = if is_recording(source) {
        of_recording(source, camera, &mut finder)?
    } else {
        of_film(source, camera, &config, &mut finder)?
    };
    let Some(found) = finder.found() else {
        return Err(NothingFits(format!(
            "{}: no mount: {} samples of upright people who walk, which are too few or do not fit one level floor; let a \
             few adults walk towards the camera, away and across, seen from head to foot",
            source.to_string_lossy(),
            finder.samples()
        ))
        .into());
    };
    Ok((*found, camera))
}

fn of_recording(
    source: &OsStr,
    camera: &Calibration,
    finder: &mut MountFinder,
) -> anyhow::Result<Calibration> {
    let mut recording = export::open(Path::new(source))?;
    let (width_px, height_px) = recording.calibration().size_px();
    let camera = camera.scaled_to(width_px, height_px)?;
    while let Some(sample) = recording.next().transpose()? {
        watch(finder, &camera, &sample);
    }
    Ok(camera)
}

fn of_film(
    source: &OsStr,
    camera: &Calibration,
    config: &EstimateConfig,
    finder: &mut MountFinder,
) -> anyhow::Result<Calibration> {
    let opened = Source::of(source).map_err(StartError::from)?;
    let mut film = opened
        .open(&StreamOptions::default(), &mut || true)
        .map_err(StartError::from)?;
    let mode = film.mode().clone();
    let camera = camera.scaled_to(mode.width_px, mode.height_px)?;
    let mut estimator = Estimator::open(config)?;
    let stop = interruptible()?;
    let timer = Clock::live();
    let counters = Counters::default();
    let mut frame = Frame::with_room(mode.width_px, mode.height_px);
    let mut sample = PoseSample::default();
    let is_live = film.kind() != SourceKind::Recording;
    while let Step::Frame = next_unless(film.as_mut(), &mut frame, &counters, &stop)? {
        if let Err(error) = estimator.step(&frame, &camera, &timer, &counters, &mut sample) {
            log::warn!("frame {}: {error}", frame.meta.sequence);
            continue;
        }
        watch(finder, &camera, &sample);
        if is_live
            && finder
                .found()
                .is_some_and(|found| found.samples >= LIVE_SAMPLES)
        {
            break;
        }
    }
    Ok(camera)
}

/// Takes the people of a frame, and tells what that changes.
fn watch(finder: &mut MountFinder, camera: &Calibration, sample: &PoseSample) {
    for person in &sample.people {
        let keypoints = rays_of(camera, &person.keypoints);
        tell(finder.add(sample.capture, person.id, &keypoints));
    }
}

fn tell(change: Option<MountChange>) {
    match change {
        Some(MountChange::Moved) => log::warn!("the camera was moved; beginning again"),
        Some(MountChange::Found(found)) => log::info!(
            "{} samples of {} people: {:.2} m high, {:.1} degrees down",
            found.samples,
            found.people,
            found.mount.height_m,
            found.mount.down_deg
        ),
        None => {}
    }
}
