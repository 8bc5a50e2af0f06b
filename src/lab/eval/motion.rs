//! Labelled motion capture: an index in JSON beside safetensors files.
//!
//! `docs/reference/motion-format.md` describes the format. Positions come as metres in a
//! capture volume with +y up; nothing here knows of cameras.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use glam::Vec3;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::base::file::read_bounded;
use crate::base::limits::MODEL_FILE_BYTES_MAX;
use crate::base::tensors::half;
use crate::skeleton::JOINTS;

/// Why motion cannot be read. One line each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MotionError {
    /// A file cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The index is not of the format.
    #[error("{path}: {message}")]
    Index {
        /// The index.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A tensor file is not of the format.
    #[error("{path}: {what}")]
    Tensor {
        /// The tensor file.
        path: PathBuf,
        /// What does not fit, with the numbers.
        what: String,
    },
}

/// One trial as the index has it; keys that are not named here are passed over.
#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Row {
    id: String,
    subject: String,
    file: String,
    start: usize,
    frames: usize,
    fps: f64,
    #[serde(default)]
    actions: Vec<String>,
}

/// One recorded motion.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// Its name.
    pub id: String,
    /// Who moved.
    pub subject: String,
    /// Frames a second.
    pub rate_hz: f64,
    /// What is done in it, in words; all hold for the whole motion.
    pub actions: Vec<String>,
    /// Human3.6M joints of each frame in the capture volume, metres, +y up.
    pub joints_world_m: Vec<[Vec3; JOINTS]>,
}

/// Reads all motions that an index names.
///
/// # Errors
///
/// A file is missing, not of the format, or holds a number that is not finite.
pub fn read(index: &Path) -> Result<Vec<Motion>, MotionError> {
    let rows = rows(index)?;
    let folder = index.parent().unwrap_or(Path::new("."));
    let mut files = BTreeMap::new();
    let mut motions = Vec::with_capacity(rows.len());
    for row in rows {
        if row.file.contains('/') {
            return Err(MotionError::Index {
                path: index.to_owned(),
                message: format!("{}: file {:?} must lie beside the index", row.id, row.file),
            });
        }
        let path = folder.join(&row.file);
        if !files.contains_key(&row.file) {
            files.insert(row.file.clone(), Recording::read(&path)?);
        }
        let recording = &files[&row.file];
        let frames = recording
            .0
            .get(row.start..row.start.saturating_add(row.frames))
            .ok_or_else(|| MotionError::Tensor {
                path,
                what: format!(
                    "{} is at frames {} to {}, the file has {}",
                    row.id,
                    row.start,
                    row.start.saturating_add(row.frames),
                    recording.0.len()
                ),
            })?;
        if !(1.0..=1000.0).contains(&row.fps) {
            return Err(MotionError::Index {
                path: index.to_owned(),
                message: format!("{}: fps = {}: must be from 1 to 1000", row.id, row.fps),
            });
        }
        motions.push(Motion {
            id: row.id,
            subject: row.subject,
            rate_hz: row.fps,
            actions: row.actions,
            joints_world_m: frames.to_vec(),
        });
    }
    Ok(motions)
}

/// The tensor files that an index names.
///
/// # Errors
///
/// The index cannot be read or is not of the format.
pub fn files(index: &Path) -> Result<Vec<PathBuf>, MotionError> {
    let folder = index.parent().unwrap_or(Path::new("."));
    let rows = rows(index)?;
    Ok(rows.iter().map(|row| folder.join(&row.file)).collect())
}

fn rows(index: &Path) -> Result<Vec<Row>, MotionError> {
    let text = bounded(index)?;
    serde_json::from_slice(&text).map_err(|error| MotionError::Index {
        path: index.to_owned(),
        message: error.to_string(),
    })
}

/// All frames of one tensor file.
struct Recording(Vec<[Vec3; JOINTS]>);

impl Recording {
    fn read(path: &Path) -> Result<Self, MotionError> {
        let bytes = bounded(path)?;
        let wrong = |what: String| MotionError::Tensor {
            path: path.to_owned(),
            what,
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| wrong(e.to_string()))?;
        let tensor = |name: &str, dtype: Dtype, inner: &[usize]| {
            let view = tensors
                .tensor(name)
                .map_err(|_| wrong(format!("tensor {name} is missing")))?;
            let shape = view.shape();
            if view.dtype() != dtype || shape.len() != inner.len() + 1 || shape[1..] != *inner {
                return Err(wrong(format!(
                    "{name} is {:?} {shape:?}, wanted {dtype:?} with {inner:?} a frame",
                    view.dtype()
                )));
            }
            Ok((shape[0], view.data().to_vec()))
        };
        let (frames, joints) = tensor("joints17", Dtype::F16, &[JOINTS, 3])?;
        let (pelvises, pelvis) = tensor("pelvis", Dtype::F32, &[3])?;
        if frames != pelvises {
            return Err(wrong(format!(
                "joints17 has {frames} frames, pelvis has {pelvises}"
            )));
        }
        let mut out = Vec::with_capacity(frames);
        for (frame, (joints, pelvis)) in joints
            .chunks_exact(JOINTS * 6)
            .zip(pelvis.chunks_exact(12))
            .enumerate()
        {
            let origin = vec3(pelvis, 4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let pose: [Vec3; JOINTS] = std::array::from_fn(|joint| {
                origin
                    + vec3(&joints[joint * 6..], 2, |b| {
                        half(u16::from_le_bytes([b[0], b[1]]))
                    })
            });
            if let Some(joint) = pose.iter().position(|p| !p.is_finite()) {
                return Err(wrong(format!("frame {frame}, joint {joint} is not finite")));
            }
            out.push(pose);
        }
        Ok(Self(out))
    }
}

fn vec3(bytes: &[u8], width: usize, number: impl Fn(&[u8]) -> f32) -> Vec3 {
    Vec3::new(
        number(bytes),
        number(&bytes[width..]),
        number(&bytes[2 * width..]),
    )
}

fn bounded(path: &Path) -> Result<Vec<u8>, MotionError> {
    read_bounded(path, MODEL_FILE_BYTES_MAX)
        .map_err(|source| MotionError::Read {
            path: path.to_owned(),
            source,
        })?
        .map_err(|bytes| MotionError::Tensor {
            path: path.to_owned(),
            what: format!("{bytes} bytes, at most {MODEL_FILE_BYTES_MAX} are read"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    /// Two frames; the second number of the first joint is `second`.
    fn folder(second: u16, frames_in_index: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut joints = vec![0_u8; 2 * JOINTS * 6];
        joints[2..4].copy_from_slice(&second.to_le_bytes());
        let mut pelvis = vec![0_u8; 2 * 12];
        pelvis[4..8].copy_from_slice(&0.9_f32.to_le_bytes());
        let joints = TensorView::new(Dtype::F16, vec![2, JOINTS, 3], &joints).unwrap();
        let pelvis = TensorView::new(Dtype::F32, vec![2, 3], &pelvis).unwrap();
        let bytes =
            safetensors::serialize([("joints17", joints), ("pelvis", pelvis)], None).unwrap();
        std::fs::write(folder.path().join("m.safetensors"), bytes).unwrap();
        let index = format!(
            r#"[{{"id": "a", "subject": "s", "file": "m.safetensors", "row": 0, "start": 0,
                "frames": {frames_in_index}, "fps": 30, "actions": ["walk"]}}]"#
        );
        std::fs::write(folder.path().join("index.json"), index).unwrap();
        folder
    }

    fn refused(folder: &tempfile::TempDir) -> String {
        read(&folder.path().join("index.json"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn joints_stand_on_the_pelvis() {
        // 0x3c00 is 1.0 in half precision.
        let folder = folder(0x3c00, 2);
        let motions = read(&folder.path().join("index.json")).unwrap();
        assert_eq!(motions[0].actions, ["walk"]);
        assert_eq!(motions[0].joints_world_m.len(), 2);
        let joint = motions[0].joints_world_m[0][0];
        assert!(
            (joint - Vec3::new(0.0, 1.9, 0.0)).length() < 1e-6,
            "{joint}"
        );
    }

    #[test]
    fn a_number_that_is_not_finite_is_found() {
        let message = refused(&folder(0x7e00, 2));
        assert!(
            message.ends_with("frame 0, joint 0 is not finite"),
            "{message}"
        );
    }

    #[test]
    fn an_index_beyond_the_file_is_refused_with_the_numbers() {
        let message = refused(&folder(0, 3));
        assert!(
            message.contains("frames 0 to 3, the file has 2"),
            "{message}"
        );
    }

    /// Rewrites the index with one text in the place of another.
    fn reworded(from: &str, to: &str) -> String {
        let folder = folder(0, 2);
        let path = folder.path().join("index.json");
        let index = std::fs::read_to_string(&path).unwrap();
        assert!(index.contains(from));
        std::fs::write(&path, index.replace(from, to)).unwrap();
        refused(&folder)
    }

    #[test]
    fn an_index_that_makes_no_sense_is_refused_with_motion_and_value() {
        for (from, to, words) in [
            (
                r#""fps": 30"#,
                r#""fps": 0"#,
                "a: fps = 0: must be from 1 to 1000",
            ),
            (r#""fps": 30"#, r#""fps": -1e300"#, "must be from 1 to 1000"),
            (
                "m.safetensors",
                "../m.safetensors",
                "must lie beside the index",
            ),
            (r#""start": 0"#, r#""start": -1"#, "-1"),
            (
                r#""start": 0"#,
                r#""start": 18446744073709551615"#,
                "the file has 2",
            ),
            (r#""file""#, r#""fiel""#, "file"),
            ("[{", "{", "index.json: "),
        ] {
            let message = reworded(from, to);
            assert!(message.contains(words), "{to}: {message}");
        }
    }

    #[test]
    fn a_tensor_of_another_shape_or_type_is_refused_with_both() {
        let folder = folder(0, 2);
        let zeros = vec![0_u8; 2 * JOINTS * 12];
        let write = |joints: (Dtype, Vec<usize>), pelvises: usize| {
            let bytes = &zeros[..joints.1.iter().product::<usize>() * joints.0.bitsize() / 8];
            let joints = TensorView::new(joints.0, joints.1, bytes).unwrap();
            let pelvis =
                TensorView::new(Dtype::F32, vec![pelvises, 3], &zeros[..pelvises * 12]).unwrap();
            let bytes =
                safetensors::serialize([("joints17", joints), ("pelvis", pelvis)], None).unwrap();
            std::fs::write(folder.path().join("m.safetensors"), bytes).unwrap();
            refused(&folder)
        };
        let message = write((Dtype::F16, vec![2, 16, 3]), 2);
        assert!(message.contains("joints17 is F16 [2, 16, 3]"), "{message}");
        let message = write((Dtype::F32, vec![2, JOINTS, 3]), 2);
        assert!(
            message.contains("joints17 is F32 [2, 17, 3], wanted F16"),
            "{message}"
        );
        let message = write((Dtype::F16, vec![2, JOINTS, 3]), 1);
        assert!(
            message.ends_with("joints17 has 2 frames, pelvis has 1"),
            "{message}"
        );
    }

    #[test]
    fn a_missing_and_a_truncated_file_are_named() {
        let folder = folder(0, 2);
        let file = folder.path().join("m.safetensors");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
        assert!(refused(&folder).contains("m.safetensors: "));
        std::fs::remove_file(&file).unwrap();
        assert!(refused(&folder).ends_with("m.safetensors: cannot be read"));
    }
}
