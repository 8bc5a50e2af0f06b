//! Recorded clips: 2D keypoints of an image beside joints that were measured in space.
//!
//! `docs/reference/clips-format.md` describes the format: `index.json`, and a safetensors file
//! for each clip. Joints come in the camera's optical frame, metres.

use std::path::{Path, PathBuf};

use glam::Vec3;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::score::Truth;
use crate::base::clock::MonoNs;
use crate::base::config::ConfigError;
use crate::base::file::read_bounded;
use crate::base::limits::{
    CLIP_FILE_BYTES_MAX, CLIP_S_MAX, CLIPS_INDEX_BYTES_MAX, CLIPS_MAX, PEOPLE_MAX,
};
use crate::base::tensors::{self, TensorError};
use crate::camera::{Calibration, Distortion, Intrinsics, Mount, Origin};
use crate::pose::{BoxPx, Detection, Keypoint, People, VISIBILITY_GATE};
use crate::skeleton::{JOINT_NAMES, JOINTS, KEYPOINT_NAMES, KEYPOINTS, SHARED};

/// Name of the index in a folder of clips.
pub const INDEX_FILE: &str = "index.json";

/// Farthest that a joint may be from the camera along an axis, metres: beyond it, the author of the file wrote
/// millimetres.
const FAR_M: f32 = 100.0;

/// Farthest that a keypoint may be from the image's corner along an axis, pixels: ten times the largest image.
const FAR_PX: f32 = 163_840.0;

/// Known joints below which a person is not scored: an alignment has seven unknowns, and would fit
/// a few joints whatever they are.
const KNOWN_MIN: usize = 8;

/// Names of groups that are those of rows over several.
const TAKEN: [&str; 2] = ["all", "hard"];

/// Why clips cannot be read. One line each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipsError {
    /// A file cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is larger than any of its kind.
    #[error("{path}: {bytes} bytes, at most {most} are allowed")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// A file is not of the format.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Clip or tensor, value and range.
        what: String,
    },
    /// A camera of the index is none.
    #[error("{path}: {clip}: camera")]
    Camera {
        /// The index.
        path: PathBuf,
        /// The clip.
        clip: String,
        /// Which value, and its range.
        source: Box<ConfigError>,
    },
    /// A tensor is missing, of another shape, or holds a number that is not finite.
    #[error("{path}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Which, and what was wanted.
        source: TensorError,
    },
}

/// Where a clip's keypoints come from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A 2D network.
    Detected,
    /// People who looked at the image.
    Annotated,
    /// The true joints, seen through the camera: errors are then those of lifting alone.
    Projected,
}

impl Source {
    /// The word of the index.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Annotated => "annotated",
            Self::Projected => "projected",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Camera {
    width_px: u32,
    height_px: u32,
    intrinsics: Intrinsics,
    distortion: Distortion,
    mount: Option<Mount>,
}

/// One clip as the index has it; keys that are not named here are passed over.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    id: String,
    group: String,
    subject: String,
    file: String,
    fps: f64,
    keypoints: Source,
    convention: String,
    camera: Camera,
    #[serde(default)]
    actions: Vec<String>,
}

/// What the index says of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// The row of the table it counts in.
    pub group: String,
    /// Who moves.
    pub subject: String,
    /// Tensor file, beside the index.
    pub file: String,
    /// Frames a second, for a file without times.
    pub rate_hz: f64,
    /// Where the keypoints come from.
    pub keypoints: Source,
    /// Which joints stand for ours, in words.
    pub convention: String,
    /// The camera, with its mount where that is known.
    pub calibration: Calibration,
    /// What is done, in words.
    pub actions: Vec<String>,
}

/// A person in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// COCO keypoints in the image; all of confidence 0 if no person was found.
    pub keypoints: [Keypoint; KEYPOINTS],
    /// Where the joints really are.
    pub truth: Truth,
}

impl Seen {
    /// What a network would say: `None` if it finds no person.
    pub fn detection(&self) -> Option<Detection> {
        let bounds = BoxPx::around(&self.keypoints, VISIBILITY_GATE)?;
        Some(Detection {
            score: 1.0,
            bounds,
            keypoints: self.keypoints,
            features: None,
        })
    }

    /// Whether enough joints are known to say how wrong an estimate is: the pelvis and
    /// seven others.
    pub fn is_scored(&self) -> bool {
        let known = &self.truth.known;
        known[0] && known.iter().filter(|known| **known).count() >= KNOWN_MIN
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// When.
    pub time: MonoNs,
    /// Everybody, each person at the same place in all frames.
    pub people: heapless::Vec<Seen, PEOPLE_MAX>,
}

impl Frame {
    /// The people that a 2D network found, as detections.
    pub fn detections(&self) -> People {
        self.people.iter().filter_map(Seen::detection).collect()
    }

    /// The place of the person whom a detection with this box shows.
    pub fn place_of(&self, bounds: &BoxPx) -> Option<usize> {
        self.people.iter().position(|person| {
            person
                .detection()
                .is_some_and(|seen| seen.bounds == *bounds)
        })
    }
}

/// A recorded clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// What the index says.
    pub entry: Entry,
    /// Its frames.
    pub frames: Vec<Frame>,
}

/// Names of the groups of clips, in the order in which they come.
pub fn groups(clips: &[Clip]) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for clip in clips {
        if !groups.contains(&clip.entry.group.as_str()) {
            groups.push(&clip.entry.group);
        }
    }
    groups
}

/// Reads every `every`-th clip of a folder.
///
/// # Errors
///
/// Names the file, and in it the clip or tensor, the value and the range.
pub fn read(folder: &Path, every: usize) -> Result<Vec<Clip>, ClipsError> {
    let path = folder.join(INDEX_FILE);
    let text = bounded(&path, CLIPS_INDEX_BYTES_MAX)?;
    parse_index(&text, &path)?
        .into_iter()
        .step_by(every)
        .map(|entry| {
            let path = folder.join(&entry.file);
            let bytes = bounded(&path, CLIP_FILE_BYTES_MAX)?;
            let frames = parse_clip(&bytes, entry.rate_hz, &path)?;
            Ok(Clip { entry, frames })
        })
        .collect()
}

fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, ClipsError> {
    let read = |source| ClipsError::Read {
        path: path.to_owned(),
        source,
    };
    read_bounded(path, most)
        .map_err(read)?
        .map_err(|bytes| ClipsError::TooLarge {
            path: path.to_owned(),
            bytes,
            most,
        })
}

/// Reads the text of an index; `path` is for messages.
///
/// # Errors
///
/// Names the clip, the value and the range.
pub fn parse_index(text: &[u8], path: &Path) -> Result<Vec<Entry>, ClipsError> {
    let wrong = |what: String| ClipsError::Format {
        path: path.to_owned(),
        what,
    };
    let rows: Vec<Row> = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    if !(1..=CLIPS_MAX).contains(&rows.len()) {
        let clips = rows.len();
        return Err(wrong(format!(
            "{clips} clips: must be from 1 to {CLIPS_MAX}"
        )));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
    for row in rows {
        let id = &row.id;
        if id.is_empty() || entries.iter().any(|entry| entry.id == *id) {
            return Err(wrong(format!(
                "id = {id:?}: must be a name that no other clip has"
            )));
        }
        if row.group.is_empty() || TAKEN.contains(&row.group.as_str()) {
            let group = &row.group;
            return Err(wrong(format!(
                "{id}: group = {group:?}: must be a name other than \"all\" and \"hard\""
            )));
        }
        if row.file.is_empty() || row.file.contains(['/', '\\', '\0']) || row.file == ".." {
            let file = &row.file;
            return Err(wrong(format!(
                "{id}: file = {file:?}: must lie beside the index"
            )));
        }
        if !(1.0..=1000.0).contains(&row.fps) {
            let fps = row.fps;
            return Err(wrong(format!("{id}: fps = {fps}: must be from 1 to 1000")));
        }
        let calibration = row.camera.calibration(id);
        entries.push(Entry {
            calibration: calibration.map_err(|source| ClipsError::Camera {
                path: path.to_owned(),
                clip: row.id.clone(),
                source: source.into(),
            })?,
            id: row.id,
            group: row.group,
            subject: row.subject,
            file: row.file,
            rate_hz: row.fps,
            keypoints: row.keypoints,
            convention: row.convention,
            actions: row.actions,
        });
    }
    Ok(entries)
}

impl Camera {
    fn calibration(&self, clip: &str) -> Result<Calibration, ConfigError> {
        let size = (self.width_px, self.height_px);
        let origin = Origin::Measured {
            camera: clip.to_owned(),
            date: None,
            residual_px: None,
        };
        let calibration = Calibration::new(size, self.intrinsics, self.distortion, origin)?;
        match self.mount {
            Some(mount) => calibration.with_mount(mount),
            None => Ok(calibration),
        }
    }
}

/// Reads the bytes of a clip's file; `rate_hz` gives the times where the file has none, `path` is
/// for messages.
///
/// # Errors
///
/// Names the tensor, the place in it, the value and the range.
pub fn parse_clip(bytes: &[u8], rate_hz: f64, path: &Path) -> Result<Vec<Frame>, ClipsError> {
    let wrong = |what: String| ClipsError::Format {
        path: path.to_owned(),
        what,
    };
    let tensor = |source| ClipsError::Tensor {
        path: path.to_owned(),
        source,
    };
    let file = tensors::open(bytes).map_err(tensor)?;
    let (frames, people) = match file.tensor("keypoints") {
        Ok(view) => match *view.shape() {
            [frames, people, KEYPOINTS, 3] => (frames, people),
            ref shape => {
                return Err(wrong(format!(
                    "keypoints is {shape:?}: must be [frames, people, {KEYPOINTS}, 3]"
                )));
            }
        },
        Err(_) => {
            return Err(wrong(format!(
                "tensor keypoints [frames, people, {KEYPOINTS}, 3] is missing"
            )));
        }
    };
    if frames == 0 || !(1..=PEOPLE_MAX).contains(&people) {
        return Err(wrong(format!(
            "keypoints has {frames} frames of {people} people: must be at least 1, of 1 to {PEOPLE_MAX}"
        )));
    }
    let keypoints =
        tensors::numbers(&file, "keypoints", &[frames, people, KEYPOINTS, 3]).map_err(tensor)?;
    let joints = tensors::numbers(&file, "joints", &[frames, people, JOINTS, 3]).map_err(tensor)?;
    let masks = [frames, people, JOINTS];
    let known = mask(&file, "known", masks).map_err(wrong)?;
    let Some(known) = known else {
        return Err(wrong(format!("tensor known {masks:?} is missing")));
    };
    let visible = mask(&file, "visible", masks).map_err(wrong)?;
    let times = times(&file, frames, rate_hz, path)?;

    let mut out: Vec<Frame> = Vec::with_capacity(frames);
    for (frame, time) in times.into_iter().enumerate() {
        let mut everybody = heapless::Vec::new();
        for person in 0..people {
            let at = frame * people + person;
            let numbers = &keypoints[at * KEYPOINTS * 3..][..KEYPOINTS * 3];
            let places = &joints[at * JOINTS * 3..][..JOINTS * 3];
            let known = &known[at * JOINTS..][..JOINTS];
            let visible = visible.as_ref().map(|v| &v[at * JOINTS..][..JOINTS]);
            let seen = seen(numbers, places, known, visible)
                .map_err(|what| wrong(format!("frame {frame}, person {person}: {what}")))?;
            let pushed = everybody.push(seen);
            debug_assert!(pushed.is_ok(), "their number was checked");
        }
        out.push(Frame {
            time,
            people: everybody,
        });
    }
    Ok(out)
}

/// One person's numbers in one frame.
fn seen(
    keypoints: &[f32],
    joints: &[f32],
    known: &[bool],
    visible: Option<&[bool]>,
) -> Result<Seen, String> {
    let keypoints: [Keypoint; KEYPOINTS] = std::array::from_fn(|k| {
        Keypoint::new(keypoints[3 * k], keypoints[3 * k + 1], keypoints[3 * k + 2])
    });
    for (name, keypoint) in KEYPOINT_NAMES.iter().zip(&keypoints) {
        for (axis, place) in [("x_px", keypoint.x_px), ("y_px", keypoint.y_px)] {
            if place.abs() > FAR_PX {
                return Err(format!(
                    "keypoints {name} {axis} = {place}: must be from -{FAR_PX} to {FAR_PX}"
                ));
            }
        }
        let confidence = keypoint.confidence;
        if !(0.0..=1.0).contains(&confidence) {
            return Err(format!(
                "keypoints {name} confidence = {confidence}: must be from 0 to 1"
            ));
        }
    }
    let joints_camera_m: [Vec3; JOINTS] =
        std::array::from_fn(|j| Vec3::from_slice(&joints[3 * j..]));
    for (name, joint) in JOINT_NAMES.iter().zip(joints_camera_m) {
        if joint.abs().max_element() > FAR_M {
            return Err(format!(
                "joints {name} = {joint}: must be within {FAR_M} m; they are metres"
            ));
        }
    }
    let mut sees = [true; JOINTS];
    match visible {
        Some(visible) => sees.copy_from_slice(visible),
        None => {
            for (joint, keypoint) in SHARED {
                sees[joint] = keypoints[keypoint].is_seen();
            }
        }
    }
    Ok(Seen {
        keypoints,
        truth: Truth {
            joints_camera_m,
            known: std::array::from_fn(|joint| known[joint]),
            visible: sees,
        },
    })
}

/// A tensor of zeros and ones; `None` if there is none of that name.
fn mask(file: &SafeTensors<'_>, name: &str, want: [usize; 3]) -> Result<Option<Vec<bool>>, String> {
    let Ok(view) = file.tensor(name) else {
        return Ok(None);
    };
    if view.dtype() != Dtype::U8 || view.shape() != want {
        return Err(format!(
            "{name} is {:?} {:?}: must be U8 {want:?}",
            view.dtype(),
            view.shape()
        ));
    }
    let number = |(at, byte): (usize, &u8)| match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("{name}[{at}] = {other}: must be 0 or 1")),
    };
    let flags: Result<Vec<bool>, String> = view.data().iter().enumerate().map(number).collect();
    flags.map(Some)
}

/// When the frames were taken.
fn times(
    file: &SafeTensors<'_>,
    frames: usize,
    rate_hz: f64,
    path: &Path,
) -> Result<Vec<MonoNs>, ClipsError> {
    let wrong = |what: String| ClipsError::Format {
        path: path.to_owned(),
        what,
    };
    #[expect(clippy::cast_precision_loss, reason = "below a clip's longest time")]
    let seconds: Vec<f64> = if file.tensor("time_s").is_ok() {
        let numbers = tensors::numbers(file, "time_s", &[frames]);
        let numbers = numbers.map_err(|source| ClipsError::Tensor {
            path: path.to_owned(),
            source,
        })?;
        numbers.iter().map(|time| f64::from(*time)).collect()
    } else {
        (0..frames).map(|frame| frame as f64 / rate_hz).collect()
    };
    let mut times: Vec<MonoNs> = Vec::with_capacity(frames);
    for (frame, time_s) in seconds.into_iter().enumerate() {
        if !(0.0..=CLIP_S_MAX).contains(&time_s) {
            return Err(wrong(format!(
                "frame {frame}: time_s = {time_s}: must be from 0 to {CLIP_S_MAX}"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked"
        )]
        // Not at zero, which stands for no time.
        let time = MonoNs(1_000_000_000 + (time_s * 1e9) as u64);
        if times.last().is_some_and(|last| *last >= time) {
            return Err(wrong(format!(
                "frame {frame}: time_s = {time_s}: must be after that of the frame before"
            )));
        }
        times.push(time);
    }
    Ok(times)
}

#[cfg(test)]
#[path = "clips_tests.rs"]
mod tests;
