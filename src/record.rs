//! Recordings: what was published, in a file, without a pixel.
//!
//! A recording (`.poses`) is a CBOR sequence (RFC 8742): one map that names format and
//! calibration, then pose messages as they are on the wire (`docs/messages.md`). Played
//! again, the keypoints go through tracker, lifter and dictionary as they did from the
//! camera; the networks that look at pixels are not needed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use minicbor::{Decoder, Encoder};

use crate::calibration::Calibration;
use crate::config::ConfigError;
use crate::file;
use crate::limits::{MESSAGE_BYTES_MAX, RECORDING_BYTES_MAX};
use crate::pose::{Detection, People, PoseSample};
use crate::publish::read::decode;
use crate::publish::wire::{self, Buffer, CLOCK_RECORDING, Stamp, WireError};

/// What a recording's file name ends with.
pub const EXTENSION: &str = "poses";

/// Value of `recording` in the first item.
const FORMAT: &str = "poised-recording/v1";

/// Name of the camera in messages that are recorded.
const CAMERA: &str = "recording";

/// What can be wrong with a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("{path}: cannot be {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// Read or written.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Larger than any recording that is read.
    #[error("{path}: {bytes} bytes, at most {RECORDING_BYTES_MAX} are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is not a recording.
    #[error("{path}: not a recording: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong at its beginning.
        what: String,
    },
    /// The calibration in it.
    #[error("{path}: calibration")]
    Calibration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// A message in it.
    #[error("{path}: message {at}: {error}")]
    Message {
        /// The file.
        path: PathBuf,
        /// Its place, from 0.
        at: usize,
        /// What is wrong with it.
        error: WireError,
    },
    /// It ends within a message.
    #[error("{path}: cut off within message {at}")]
    CutOff {
        /// The file.
        path: PathBuf,
        /// The message's place, from 0.
        at: usize,
    },
}

/// A recording in memory.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The camera's lens.
    pub calibration: Calibration,
    /// What was published, in order.
    pub samples: Vec<PoseSample>,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, is no recording, or the first message that does not fit.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let failed = |source| RecordError::File {
            path: path.to_owned(),
            what: "read",
            source,
        };
        let bytes = file::read_bounded(path, RECORDING_BYTES_MAX)
            .map_err(failed)?
            .map_err(|bytes| RecordError::TooLarge {
                path: path.to_owned(),
                bytes,
            })?;
        Self::from_bytes(&bytes, path)
    }

    /// Reads the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, RecordError> {
        let wrong = |what: String| RecordError::Format {
            path: path.to_owned(),
            what,
        };
        let mut cbor = Decoder::new(bytes);
        let text = header(&mut cbor).map_err(|error| wrong(error.to_string()))?;
        let [format, calibration] = text;
        if format != FORMAT {
            return Err(wrong(format!("format {format:?}, known is {FORMAT:?}")));
        }
        let calibration = Calibration::from_toml(calibration, path).map_err(|source| {
            RecordError::Calibration {
                path: path.to_owned(),
                source,
            }
        })?;
        let mut samples = Vec::new();
        while cbor.position() < bytes.len() {
            let (at, start) = (samples.len(), cbor.position());
            cbor.skip().map_err(|_| RecordError::CutOff {
                path: path.to_owned(),
                at,
            })?;
            let message =
                decode(&bytes[start..cbor.position()]).map_err(|error| RecordError::Message {
                    path: path.to_owned(),
                    at,
                    error,
                })?;
            samples.push(message.sample);
        }
        Ok(Self {
            calibration,
            samples,
        })
    }
}

/// Format and calibration of the first item.
fn header<'b>(cbor: &mut Decoder<'b>) -> Result<[&'b str; 2], minicbor::decode::Error> {
    let missing = |what: &str| minicbor::decode::Error::message(format!("no key {what:?}"));
    let (mut format, mut calibration) = (None, None);
    let keys = cbor.map()?.ok_or_else(|| missing("recording"))?;
    for _ in 0..keys {
        match cbor.str()? {
            "recording" => format = Some(cbor.str()?),
            "calibration" => calibration = Some(cbor.str()?),
            _ => cbor.skip()?,
        }
    }
    Ok([
        format.ok_or_else(|| missing("recording"))?,
        calibration.ok_or_else(|| missing("calibration"))?,
    ])
}

/// What the detector saw, from what was published of it. The people's ids are not
/// handed on: whoever plays a recording follows them anew.
pub fn people_of(sample: &PoseSample) -> People {
    sample
        .people
        .iter()
        .map(|person| Detection {
            score: person.score,
            bounds: person.bounds,
            keypoints: person.keypoints,
            features: None,
        })
        .collect()
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: BufWriter<File>,
    buffer: Box<Buffer>,
    sequence: u64,
}

impl Recorder {
    /// Makes the file, or empties it, and writes its head.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn create(path: &Path, calibration: &Calibration) -> Result<Self, RecordError> {
        let failed = |source| RecordError::File {
            path: path.to_owned(),
            what: "written",
            source,
        };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        let mut head = Encoder::new(Vec::new());
        let written = head
            .map(2)
            .and_then(|head| head.str("recording")?.str(FORMAT))
            .and_then(|head| head.str("calibration")?.str(&calibration.to_toml()))
            .is_ok();
        debug_assert!(written, "memory takes everything");
        file.write_all(&head.into_writer()).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            buffer: Box::new([0; MESSAGE_BYTES_MAX]),
            sequence: 0,
        })
    }

    /// Adds a frame. A frame with a number that is not finite is left out, as it is
    /// when publishing; the answer says whether it went in.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn add(&mut self, sample: &PoseSample) -> Result<bool, RecordError> {
        let stamp = Stamp {
            sequence: self.sequence,
            camera: CAMERA,
            clock: CLOCK_RECORDING,
            publish: sample.capture,
            unix_offset_ns: 0,
        };
        let Ok(length) = wire::encode(&stamp, sample, &mut self.buffer) else {
            return Ok(false);
        };
        self.sequence += 1;
        let written = self.file.write_all(&self.buffer[..length]);
        written.map_err(|source| self.failed(source))?;
        Ok(true)
    }

    /// Frames that went in.
    pub const fn frames(&self) -> u64 {
        self.sequence
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(), RecordError> {
        let written = self.file.flush();
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> RecordError {
        RecordError::File {
            path: self.path.clone(),
            what: "written",
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MonoNs;
    use crate::pose::{BoxPx, Keypoint};
    use crate::skeleton::KEYPOINTS;

    fn sample(frame: u32) -> PoseSample {
        let mut sample = PoseSample {
            frame_sequence: frame,
            capture: MonoNs(1_000_000_000 + u64::from(frame) * 33_333_333),
            width_px: 64,
            height_px: 64,
            ..PoseSample::default()
        };
        let person = crate::lift::person_pose(
            &crate::track::TrackedPerson {
                id: 3,
                detection: Detection {
                    score: 0.75,
                    bounds: BoxPx {
                        left: 1.0,
                        top: 2.0,
                        right: 30.5,
                        bottom: 60.0,
                    },
                    keypoints: [Keypoint {
                        x_px: 10.25,
                        y_px: 20.5,
                        confidence: 0.5,
                    }; KEYPOINTS],
                    features: None,
                },
            },
            None,
        );
        sample.people.push(person).unwrap();
        sample
    }

    fn recorded(frames: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.poses");
        let mut recorder = Recorder::create(&path, &Calibration::assumed(64, 64)).unwrap();
        for frame in 0..frames {
            assert!(recorder.add(&sample(frame)).unwrap());
        }
        recorder.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn a_recording_comes_back_as_it_was() {
        let (_folder, path) = recorded(3);
        let back = Recording::read(&path).unwrap();
        assert_eq!(back.samples.len(), 3);
        assert_eq!(back.samples[2], sample(2));
        assert_eq!(back.calibration.size_px(), (64, 64));
        let people = people_of(&back.samples[1]);
        assert_eq!(people[0].keypoints, sample(1).people[0].keypoints);
    }

    #[test]
    fn a_frame_with_nan_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.poses");
        let mut recorder = Recorder::create(&path, &Calibration::assumed(64, 64)).unwrap();
        let mut bad = sample(0);
        bad.people[0].score = f32::NAN;
        assert!(!recorder.add(&bad).unwrap());
        assert!(recorder.add(&sample(1)).unwrap());
        recorder.finish().unwrap();
        assert_eq!(Recording::read(&path).unwrap().samples.len(), 1);
    }

    #[test]
    fn every_cut_is_noticed_or_falls_between_two_messages() {
        let (_folder, path) = recorded(2);
        let bytes = std::fs::read(&path).unwrap();
        let mut whole = 0;
        for length in 0..bytes.len() {
            match Recording::from_bytes(&bytes[..length], &path) {
                Ok(recording) => {
                    whole += 1;
                    assert!(recording.samples.len() < 2);
                }
                Err(error) => assert!(error.to_string().starts_with(path.to_str().unwrap())),
            }
        }
        // After the head, and after the first message.
        assert_eq!(whole, 2);
    }

    #[test]
    fn what_is_no_recording_is_named() {
        let path = Path::new("x.poses");
        let refused = |bytes: &[u8]| Recording::from_bytes(bytes, path).unwrap_err().to_string();
        assert!(refused(b"").starts_with("x.poses: not a recording"));
        assert!(refused(b"\x7fELF").starts_with("x.poses: not a recording"));
        let other = b"\xa2\x69recording\x61x\x6bcalibration\x60";
        assert!(
            refused(other).contains("format \"x\""),
            "{}",
            refused(other)
        );
    }
}
