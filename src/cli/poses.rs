//! Poses as JSON lines, for scripts that compare them with something.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use poised::pose::{PersonPose, PoseSample};

use super::output::failed;

/// Writes one JSON object a frame.
#[derive(Debug)]
pub struct PosesFile {
    path: PathBuf,
    file: BufWriter<File>,
}

/// One frame.
#[derive(Serialize)]
struct FrameLine<'a> {
    sequence: u32,
    capture_ns: u64,
    persons: Vec<PersonLine<'a>>,
}

/// One person; arrays in the order of `skeleton::JOINT_NAMES` and `KEYPOINT_NAMES`.
#[derive(Serialize)]
struct PersonLine<'a> {
    id: u32,
    score: f32,
    joints_camera_m: Vec<[f32; 3]>,
    sigmas_m: &'a [f32],
    /// 0 absent, 1 measured, 2 completed.
    states: Vec<u8>,
    /// Column, row, confidence.
    keypoints_px: Vec<[f32; 3]>,
    visibilities: Vec<f32>,
    action: Option<ActionLine<'a>>,
}

/// What a person is taken to be doing.
#[derive(Serialize)]
struct ActionLine<'a> {
    label: &'a str,
    probability: f32,
}

impl PosesFile {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).map_err(|error| failed("--poses", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// Adds a frame.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn add(&mut self, sample: &PoseSample) -> anyhow::Result<()> {
        let line = FrameLine {
            sequence: sample.frame_sequence,
            capture_ns: sample.capture.0,
            persons: sample.people.iter().map(person_line).collect(),
        };
        let text = serde_json::to_string(&line)?;
        let written = writeln!(self.file, "{text}");
        Ok(written.map_err(|error| failed("--poses", &self.path, error))?)
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let written = self.file.flush();
        Ok(written.map_err(|error| failed("--poses", &self.path, error))?)
    }
}

fn person_line(person: &PersonPose) -> PersonLine<'_> {
    PersonLine {
        id: person.id,
        score: person.score,
        joints_camera_m: person
            .joints_camera_m
            .iter()
            .map(glam::Vec3::to_array)
            .collect(),
        sigmas_m: &person.sigmas_m,
        states: person.states.iter().map(|state| *state as u8).collect(),
        keypoints_px: person
            .keypoints
            .iter()
            .map(|k| [k.x_px, k.y_px, k.confidence])
            .collect(),
        visibilities: person.keypoints.iter().map(|k| k.visibility).collect(),
        action: person.action.as_ref().map(|action| ActionLine {
            label: action.label.as_str(),
            probability: action.probability,
        }),
    }
}
