//! Recordings: what was published, in a file, without a pixel.
//!
//! A recording (`.poses`) is a CBOR sequence (RFC 8742): one map that names format and
//! calibration, then pose messages as they are on the wire (`docs/reference/messages.md`). Played
//! again, the keypoints go through tracker, lifter and dictionary as they did from the
//! camera; the networks that look at pixels are not needed.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use minicbor::{Decoder, Encoder};

use crate::base::config::ConfigError;
use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::camera::Calibration;
use crate::output::read::{PoseMessage, decode};
use crate::output::wire::{self, Buffer, CLOCK_RECORDING, Stamp};
use crate::pose::{Detection, People, PersonPose, PoseSample};

/// What a recording's file name ends with.
pub const EXTENSION: &str = "poses";

/// Value of `recording` in the first item.
pub const FORMAT: &str = "poised-recording/v1";

/// Name of the camera in messages that are recorded.
const CAMERA: &str = "recording";

/// Largest first item, in bytes: format and calibration are 1 kB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Bytes asked of the file at once.
const CHUNK_BYTES: u64 = 64 * 1024;

/// What can be wrong with a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
    /// Its first message cannot be read, so none can.
    #[error("{path}: the first message cannot be decoded: {what}")]
    Message {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// A recording that is being read: its messages in order, one in memory at a time.
///
/// One that breaks off, as after a power cut, or is damaged gives all messages before that place; a warning in the log
/// says where it is.
#[derive(Debug)]
pub struct Recording<R> {
    path: PathBuf,
    items: Items<R>,
    calibration: Calibration,
    /// The calibration as it is in the file.
    calibration_toml: String,
    /// Messages given.
    given: u64,
    ended: bool,
}

impl Recording<File> {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no recording.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Self::of(open(path)?, path)
    }
}

/// Opens the file of a recording.
pub(super) fn open(path: &Path) -> Result<File, RecordError> {
    File::open(path).map_err(|source| RecordError::Read {
        path: path.to_owned(),
        source,
    })
}

impl<R: Read> Recording<R> {
    /// Begins to read a recording; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As [`Recording::open`].
    pub fn of(source: R, path: &Path) -> Result<Self, RecordError> {
        let wrong = |what: String| RecordError::Format {
            path: path.to_owned(),
            what,
        };
        let mut items = Items::of(source);
        let head = match items.next(HEAD_BYTES_MAX) {
            Ok(Some(head)) => head,
            Ok(None) => return Err(wrong("it is empty".to_owned())),
            Err(Broken::Read(source)) => {
                return Err(RecordError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
            Err(broken) => return Err(wrong(broken.to_string())),
        };
        let [format, calibration] =
            header(&mut Decoder::new(head)).map_err(|error| wrong(error.to_string()))?;
        if format != FORMAT {
            return Err(wrong(format!(
                "format {format:?} is not supported, expected {FORMAT:?}"
            )));
        }
        let calibration_toml = calibration.to_owned();
        let calibration = Calibration::from_toml(&calibration_toml, path).map_err(|source| {
            RecordError::Calibration {
                path: path.to_owned(),
                source,
            }
        })?;
        Ok(Self {
            path: path.to_owned(),
            items,
            calibration,
            calibration_toml,
            given: 0,
            ended: false,
        })
    }

    /// The camera's lens.
    pub const fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// The calibration, byte by byte as it is in the file.
    pub fn calibration_toml(&self) -> &str {
        &self.calibration_toml
    }

    /// The next message with its stamp; `None` at the end, or where the rest cannot be read. The iterator gives the
    /// same messages without the stamp.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or not one message of it can be decoded.
    pub fn next_message(&mut self) -> Result<Option<PoseMessage>, RecordError> {
        if self.ended {
            return Ok(None);
        }
        let message = self.message();
        self.given += 1;
        self.ended = !matches!(message, Ok(Some(_)));
        message
    }

    /// The bytes of the newest message that was given, one item of CBOR; none before the first.
    pub fn message_bytes(&self) -> &[u8] {
        match (self.given, self.ended) {
            (1.., false) => self.items.newest(),
            _ => &[],
        }
    }

    fn message(&mut self) -> Result<Option<PoseMessage>, RecordError> {
        let broken = match self.items.next(MESSAGE_BYTES_MAX) {
            Ok(None) => return Ok(None),
            Ok(Some(item)) => match decode(item) {
                Ok(message) => return Ok(Some(message)),
                Err(error) => Broken::Item(error.to_string()),
            },
            Err(Broken::Read(source)) => {
                return Err(RecordError::Read {
                    path: self.path.clone(),
                    source,
                });
            }
            Err(broken) => broken,
        };
        if self.given == 0 && !matches!(broken, Broken::CutOff) {
            return Err(RecordError::Message {
                path: self.path.clone(),
                what: broken.to_string(),
            });
        }
        // Where one message ends is known from itself alone, so none behind a damaged one can be found.
        log::warn!(
            "{}: message {} cannot be read: {broken}; the {} before it are used",
            self.path.display(),
            self.given,
            self.given
        );
        Ok(None)
    }
}

impl<R: Read> Iterator for Recording<R> {
    type Item = Result<PoseSample, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.next_message().transpose()?;
        Some(message.map(|message| message.sample))
    }
}

/// Why there is no further item.
#[derive(Debug)]
enum Broken {
    /// The file cannot be read.
    Read(std::io::Error),
    /// The file ends within the item.
    CutOff,
    /// The item is larger than any of its kind, or no CBOR.
    Item(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::CutOff => f.write_str("it is cut off"),
            Self::Item(what) => f.write_str(what),
        }
    }
}

/// The items of a CBOR sequence, read in chunks.
#[derive(Debug)]
struct Items<R> {
    source: R,
    /// Bytes read, of which those before `start` are used up.
    bytes: Vec<u8>,
    start: usize,
    /// Bytes of the item that ends at `start`.
    newest: usize,
    ended: bool,
}

impl<R: Read> Items<R> {
    const fn of(source: R) -> Self {
        Self {
            source,
            bytes: Vec::new(),
            start: 0,
            newest: 0,
            ended: false,
        }
    }

    /// The item given last.
    fn newest(&self) -> &[u8] {
        &self.bytes[self.start - self.newest..self.start]
    }

    /// The next item, of at most `most` bytes; `None` at the end of the file.
    fn next(&mut self, most: usize) -> Result<Option<&[u8]>, Broken> {
        self.fill(most).map_err(Broken::Read)?;
        let rest = &self.bytes[self.start..];
        if rest.is_empty() {
            return Ok(None);
        }
        let item = &rest[..rest.len().min(most)];
        let mut cbor = Decoder::new(item);
        match cbor.skip() {
            Ok(()) => {
                let item = &item[..cbor.position()];
                self.newest = item.len();
                self.start += item.len();
                Ok(Some(item))
            }
            Err(error) if error.is_end_of_input() && rest.len() <= most && self.ended => {
                Err(Broken::CutOff)
            }
            Err(error) if error.is_end_of_input() => {
                Err(Broken::Item(format!("more than {most} bytes")))
            }
            Err(error) => Err(Broken::Item(error.to_string())),
        }
    }

    /// Reads until there are more than `most` unused bytes, or the file ends.
    fn fill(&mut self, most: usize) -> std::io::Result<()> {
        while self.bytes.len() - self.start <= most && !self.ended {
            self.bytes.drain(..self.start);
            (self.start, self.newest) = (0, 0);
            let mut chunk = self.source.by_ref().take(CHUNK_BYTES);
            self.ended = chunk.read_to_end(&mut self.bytes)? == 0;
        }
        Ok(())
    }
}

/// The first item of a recording.
pub fn head(calibration_toml: &str) -> Vec<u8> {
    let mut head = Encoder::new(Vec::new());
    let written = head
        .map(2)
        .and_then(|head| head.str("recording")?.str(FORMAT))
        .and_then(|head| head.str("calibration")?.str(calibration_toml))
        .is_ok();
    debug_assert!(written, "memory takes everything");
    head.into_writer()
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
/// handed on: the player of a recording tracks them again.
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
    /// Frames that went in.
    frames: u64,
}

impl Recorder {
    /// Makes the file, or empties it, and writes its head.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn create(path: &Path, calibration: &Calibration) -> Result<Self, RecordError> {
        let failed = |source| RecordError::Write {
            path: path.to_owned(),
            source,
        };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        file.write_all(&head(&calibration.to_toml()))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            buffer: Box::new([0; MESSAGE_BYTES_MAX]),
            frames: 0,
        })
    }

    /// Adds a frame. People with a number that is not finite are left out, as they are when publishing, and so is a
    /// frame with no others, which would read as an empty room; the answer says how many people.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn add(&mut self, sample: &PoseSample) -> Result<usize, RecordError> {
        let stamp = Stamp {
            sequence: self.frames,
            camera: CAMERA,
            clock: CLOCK_RECORDING,
            publish: sample.capture,
            unix_offset_ns: 0,
        };
        self.add_stamped(&stamp, sample)
    }

    /// Adds a frame as [`Recorder::add`] does, with the number, the camera and the clock of a message: wall time is kept.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn add_stamped(
        &mut self,
        stamp: &Stamp<'_>,
        sample: &PoseSample,
    ) -> Result<usize, RecordError> {
        let unfit = |person: &&PersonPose| wire::finite(person).is_err();
        let left_out = sample.people.iter().filter(unfit).count();
        if left_out > 0 && left_out == sample.people.len() {
            return Ok(left_out);
        }
        let encoded = if left_out == 0 {
            wire::encode(stamp, sample, &mut self.buffer)
        } else {
            let mut fit = sample.clone();
            fit.people.retain(|person| wire::finite(person).is_ok());
            wire::encode(stamp, &fit, &mut self.buffer)
        };
        let length = encoded.map_err(|error| self.failed(std::io::Error::other(error)))?;
        self.frames += 1;
        let written = self.file.write_all(&self.buffer[..length]);
        written.map_err(|source| self.failed(source))?;
        Ok(left_out)
    }

    /// Frames that went in.
    pub const fn frames(&self) -> u64 {
        self.frames
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
        RecordError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::MonoNs;
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
                    keypoints: [Keypoint::new(10.25, 20.5, 0.5); KEYPOINTS],
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
            assert_eq!(recorder.add(&sample(frame)).unwrap(), 0);
        }
        recorder.finish().unwrap();
        (folder, path)
    }

    /// All that can be read of some bytes.
    fn read(bytes: &[u8]) -> Result<Vec<PoseSample>, RecordError> {
        Recording::of(bytes, Path::new("x.poses"))?.collect()
    }

    #[test]
    fn a_recording_comes_back_as_it_was() {
        let (_folder, path) = recorded(3);
        let back = Recording::open(&path).unwrap();
        assert_eq!(back.calibration().size_px(), (64, 64));
        let samples: Vec<PoseSample> = back.map(Result::unwrap).collect();
        assert!(samples.iter().cloned().eq((0..3).map(sample)));
        let people = people_of(&samples[1]);
        assert_eq!(people[0].keypoints, sample(1).people[0].keypoints);
    }

    #[test]
    fn a_person_with_nan_is_left_out_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.poses");
        let mut recorder = Recorder::create(&path, &Calibration::assumed(64, 64)).unwrap();
        let mut two = sample(0);
        let mut bad = two.people[0].clone();
        bad.score = f32::NAN;
        let mut none = sample(0);
        none.people[0] = bad.clone();
        two.people.insert(0, bad).unwrap();
        assert_eq!(recorder.add(&two).unwrap(), 1);
        assert_eq!(recorder.add(&none).unwrap(), 1);
        assert_eq!(recorder.add(&sample(1)).unwrap(), 0);
        recorder.finish().unwrap();
        let back = Recording::open(&path).unwrap();
        let samples: Vec<PoseSample> = back.map(Result::unwrap).collect();
        assert_eq!(samples, [sample(0), sample(1)]);
    }

    #[test]
    fn a_recording_cut_anywhere_gives_its_whole_messages() {
        let (_folder, path) = recorded(3);
        let bytes = std::fs::read(&path).unwrap();
        let (_folder, path) = recorded(0);
        let head = std::fs::read(&path).unwrap().len();
        let message = (bytes.len() - head) / 3;
        for length in 0..bytes.len() {
            match read(&bytes[..length]) {
                Ok(samples) => {
                    assert_eq!(samples.len(), (length - head) / message);
                }
                Err(error) => {
                    assert!(length < head);
                    assert!(error.to_string().starts_with("x.poses: not a recording"));
                }
            }
        }
    }

    #[test]
    fn what_a_power_cut_leaves_behind_the_last_message_costs_no_message() {
        let (_folder, path) = recorded(3);
        let whole = std::fs::read(&path).unwrap();
        // Blocks that were given to the file and never written, or hold what was there before.
        for tail in [
            vec![0; 4096],
            vec![0xff; 4096],
            b"text".repeat(1000),
            vec![0x9f; 100_000],
        ] {
            let samples = read(&[&whole[..], &tail].concat()).unwrap();
            assert_eq!(samples.len(), 3, "{:?}", &tail[..4]);
        }
        let (_folder, empty) = recorded(0);
        let head = std::fs::read(&empty).unwrap().len();
        let mut damaged = whole.clone();
        let last = whole.len() - (whole.len() - head) / 3;
        damaged[last] = 0xff;
        assert_eq!(read(&damaged).unwrap().len(), 2);
    }

    #[test]
    fn memory_does_not_grow_with_the_recording() {
        /// A head, then the same message again and again.
        struct Day {
            head: Vec<u8>,
            message: Vec<u8>,
            left: u32,
        }
        impl Read for Day {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                if self.head.is_empty() && self.left > 0 {
                    self.left -= 1;
                    self.head.clone_from(&self.message);
                }
                let count = out.len().min(self.head.len());
                out[..count].copy_from_slice(&self.head[..count]);
                self.head.drain(..count);
                Ok(count)
            }
        }
        let (_folder, empty) = recorded(0);
        let head = std::fs::read(&empty).unwrap();
        let (_folder, one) = recorded(1);
        let message = std::fs::read(&one).unwrap()[head.len()..].to_vec();
        let left = 50_000;
        let day = Day {
            head,
            message,
            left,
        };
        let mut recording = Recording::of(day, Path::new("day.poses")).unwrap();
        let mut read = 0;
        while let Some(sample) = recording.next() {
            sample.unwrap();
            read += 1;
            assert!(recording.items.bytes.capacity() < 1 << 20);
        }
        assert_eq!(read, left);
    }

    #[test]
    fn what_is_no_recording_is_named() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(refused(b"").starts_with("x.poses: not a recording"));
        assert!(refused(b"\x7fELF").starts_with("x.poses: not a recording"));
        let other = b"\xa2\x69recording\x61x\x6bcalibration\x60";
        assert!(
            refused(other).contains("format \"x\""),
            "{}",
            refused(other)
        );
        let long = [&[0x5a, 0x7f, 0xff, 0xff, 0xff][..], &vec![0; 200_000]].concat();
        assert!(
            refused(&long).contains("more than 65536 bytes"),
            "{}",
            refused(&long)
        );
        // Messages of another version: none can be read.
        let (_folder, path) = recorded(0);
        let head = std::fs::read(&path).unwrap();
        let other = refused(&[&head[..], b"\xa1\x61v\x02"].concat());
        assert!(
            other.starts_with("x.poses: the first message cannot be decoded"),
            "{other}"
        );
    }
}
