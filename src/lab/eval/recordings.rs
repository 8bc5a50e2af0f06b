//! Labelled motion as recordings: what a simulated camera's detector says of it, in the
//! files that `replay`, `dictionary teach` and `dictionary query` take.

use std::path::{Path, PathBuf};

use super::motion::Motion;
use super::scenario::Scenario;
use super::simulate::stream;
use crate::error::StartError;
use crate::lift::person_pose;
use crate::output::record::{EXTENSION, RecordError, Recorder};
use crate::pose::PoseSample;
use crate::track::TrackedPerson;

/// What can keep motion from being recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingsError {
    /// The name of a motion cannot be that of a file.
    #[error("motion {id:?}: {odd:?} is not allowed in a file name")]
    Name {
        /// The motion.
        id: String,
        /// What no file's name may hold.
        odd: char,
    },
    /// The camera of a scenario.
    #[error(transparent)]
    Camera(#[from] StartError),
    /// A file.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Names of the files that [`record`] writes.
pub fn names(motion: &Motion, scenarios: &[Scenario]) -> Vec<String> {
    let name = |scenario: &Scenario| format!("{}.{}.{EXTENSION}", motion.id, scenario.name);
    scenarios.iter().map(name).collect()
}

/// Writes a motion as each scenario shows it: `MOTION.SCENARIO.poses` in `folder`. The
/// recordings hold keypoints; the player lifts them. Gives the files' names.
///
/// # Errors
///
/// The motion's name is no file name, or a file cannot be written.
pub fn record(
    motion: &Motion,
    scenarios: &[Scenario],
    seed: u64,
    folder: &Path,
) -> Result<Vec<PathBuf>, RecordingsError> {
    if let Some(odd) = motion.id.chars().find(|c| matches!(c, '/' | '\\' | '\0')) {
        return Err(RecordingsError::Name {
            id: motion.id.clone(),
            odd,
        });
    }
    let mut paths = Vec::new();
    for (scenario, name) in scenarios.iter().zip(names(motion, scenarios)) {
        let stream =
            stream(scenario, &motion.subject, &[motion], seed).map_err(StartError::from)?;
        let path = folder.join(name);
        let mut recorder = Recorder::create(&path, &stream.calibration)?;
        let (width_px, height_px) = stream.calibration.size_px();
        for (frame, moment) in (0..).zip(&stream.moments) {
            let mut sample = PoseSample {
                frame_sequence: frame,
                capture: moment.time,
                width_px,
                height_px,
                ..PoseSample::default()
            };
            if let Some(detection) = &moment.seen {
                let person = TrackedPerson {
                    id: 1,
                    detection: detection.clone(),
                };
                let pushed = sample.people.push(person_pose(&person, None));
                debug_assert!(pushed.is_ok(), "there is room for one");
            }
            // A detection that is not finite is left out, as it is when publishing.
            recorder.add(&sample)?;
        }
        recorder.finish()?;
        paths.push(path);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use super::*;
    use crate::output::record::Recording;
    use crate::skeleton::JOINTS;

    fn motion(id: &str) -> Motion {
        let pose = std::array::from_fn(|joint| {
            #[expect(clippy::cast_precision_loss, reason = "a small count")]
            let up = 1.7 - 0.1 * joint as f32;
            Vec3::new(if joint % 2 == 0 { 0.2 } else { -0.2 }, up, 0.05)
        });
        Motion {
            id: id.into(),
            subject: "unknown".into(),
            actions: vec!["stand".into()],
            rate_hz: 30.0,
            joints_world_m: vec![pose; 45],
        }
    }

    #[test]
    fn each_scenario_gives_a_recording_with_the_motions_keypoints() {
        const _: () = assert!(JOINTS == 17);
        let folder = tempfile::tempdir().unwrap();
        let scenarios = Scenario::read(None).unwrap();
        let paths = record(&motion("a"), &scenarios[..2], 1, folder.path()).unwrap();
        assert_eq!(paths.len(), 2);
        assert!(paths[0].ends_with("a.easy.poses"), "{}", paths[0].display());
        let samples = |path: &Path| -> Vec<PoseSample> {
            Recording::open(path).unwrap().map(Result::unwrap).collect()
        };
        let recorded = samples(&paths[0]);
        assert_eq!(recorded.len(), 45);
        let seen = |sample: &&PoseSample| {
            sample.people.first().is_some_and(|person| {
                person.keypoints[5..]
                    .iter()
                    .filter(|k| k.visibility > 0.0)
                    .count()
                    >= 6
            })
        };
        assert!(recorded.iter().filter(seen).count() >= 40);
        let again = record(&motion("a"), &scenarios[..1], 1, folder.path()).unwrap();
        assert_eq!(samples(&again[0]), recorded);
    }

    #[test]
    fn a_motions_name_does_not_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let scenarios = Scenario::read(None).unwrap();
        let error = record(&motion("../a"), &scenarios, 1, folder.path()).unwrap_err();
        assert!(
            error.to_string().contains("is not allowed in a file name"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
