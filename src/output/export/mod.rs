//! Recordings for other programs: tables ([`csv`]), markers and joint angles for `OpenSim` ([`trc`], [`mot`]), and MCAP
//! for Foxglove, ROS 2 and rerun ([`mcap`]), which can be read back ([`mcap_read`]).
//!
//! Each writer takes the messages of a [`Recording`] one after the other and holds one of them, so that a recording
//! of a day needs no more memory than one of a minute.

pub mod csv;
pub mod ground;
pub mod mcap;
pub mod mcap_read;
pub mod mot;
pub mod trc;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::record::{RecordError, Recording};
use mcap_read::RecordingInMcap;

/// Why a recording was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] RecordError),
    /// What was asked for is not in the recording.
    #[error("{0}")]
    NothingFits(String),
    /// The file cannot be written.
    #[error("cannot be written")]
    Write(#[from] io::Error),
}

/// Opens a recording: the one in an MCAP file if the name says that it is one, else a `.poses` file.
///
/// # Errors
///
/// The file cannot be read, or holds no recording.
pub fn open(path: &Path) -> Result<Recording<Box<dyn Read>>, RecordError> {
    let source: Box<dyn Read> = if mcap_read::is_mcap(path) {
        Box::new(RecordingInMcap::open(path)?)
    } else {
        Box::new(File::open(path).map_err(|source| RecordError::Read {
            path: path.to_owned(),
            source,
        })?)
    };
    Recording::of(source, path)
}

#[cfg(test)]
mod tests {
    use glam::Vec3;

    use crate::base::clock::MonoNs;
    use crate::camera::Calibration;
    use crate::output::record::Recorder;
    use crate::pose::{
        BoxPx, HeadTag, JointState, Keypoint, PersonPose, PoseSample, Size, SizeSource,
    };
    use crate::skeleton::{JOINTS, KEYPOINTS};

    /// A person with all joints measured, each at a place of its own, in numbers that 32 bits hold exactly.
    #[expect(clippy::cast_precision_loss, reason = "indices are below 17")]
    pub fn person(id: u32) -> PersonPose {
        let root_camera_m = Vec3::new(0.0, 0.25, 3.0);
        PersonPose {
            id,
            score: 0.75,
            bounds: BoxPx::default(),
            root_camera_m,
            root_sigma_m: 0.0625,
            joints_camera_m: std::array::from_fn(|j| {
                root_camera_m + Vec3::new(0.0625, -0.125, 0.03125) * j as f32
            }),
            sigmas_m: [0.015_625; JOINTS],
            states: [JointState::Measured; JOINTS],
            keypoints: [Keypoint::default(); KEYPOINTS],
            size: Size {
                factor: 1.0,
                sigma: 0.125,
                source: SizeSource::Guess,
            },
            action: None,
            head: HeadTag::default(),
        }
    }

    /// Frame `number` of a film at 30 Hz, with these people.
    pub fn frame(number: u32, people: &[PersonPose]) -> PoseSample {
        PoseSample {
            frame_sequence: number,
            capture: MonoNs(1_000_000_000 + u64::from(number) * 33_333_333),
            width_px: 640,
            height_px: 480,
            people: heapless::Vec::from_slice(people).unwrap(),
            ..PoseSample::default()
        }
    }

    /// The bytes of a recording.
    pub fn recorded(frames: &[PoseSample]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.poses");
        let mut recorder = Recorder::create(&path, &Calibration::assumed(640, 480)).unwrap();
        for frame in frames {
            assert_eq!(recorder.add(frame).unwrap(), 0);
        }
        recorder.finish().unwrap();
        std::fs::read(path).unwrap()
    }
}
