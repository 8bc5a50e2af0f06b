//! The motion-text dictionary: action phrases, what they mean and what they look like.
//!
//! A file is a safetensors file (`docs/reference/dictionary-format.md`), so that any language
//! reads it; its one metadata key says format, version, encoder and checksum:
//!
//! | tensor | shape | meaning |
//! | --- | --- | --- |
//! | `entries` | u8 `[n]` | JSON: phrase, wordings, origin and counts of each entry |
//! | `text` | f32 `[E, W]` | sentence embedding of the phrase, length 1; zeros where it has none |
//! | `motion` | f32 `[E, W]` | mean embedding of its clips, seen in 3D, length 1; zeros without clips |
//! | `rays` | f32 `[E, W]` | the same, seen in the image |
//! | `mean` | f32 `[E, R]` | its motions in the basis of [`super::prior`]: mean |
//! | `factor` | f32 or f16 `[E, R (R + 1) / 2]` | lower Cholesky factor of their covariance, row by row |
//!
//! A file is checked wholly before anything of it is used, and written beside the
//! old one before it takes its place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::file;
use crate::base::limits::{ACTION_BYTES_MAX, DICTIONARY_BYTES_MAX, DICTIONARY_ENTRIES_MAX};
use crate::base::tensors::{self, TensorError};
use crate::sys::simd::rows_times;

/// Name of the format in the file's metadata.
const FORMAT: &str = "poised-dictionary";

/// Version of the format written, and the only one read.
const VERSION: u32 = 1;

/// The one metadata key.
const HEADER: &str = "poised";

/// How far from 1 the length of a stored direction may be.
const LENGTH_TOLERANCE: f32 = 1e-2;

/// What can be wrong with a dictionary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DictionaryError {
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
    /// Larger than any dictionary may be.
    #[error("{bytes} bytes, a dictionary has at most {DICTIONARY_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Not a dictionary, or one that is cut off.
    #[error("not a dictionary: {0}")]
    Format(String),
    /// Another version of the format.
    #[error("format version {got} is not supported, expected {VERSION}")]
    Version {
        /// What it says.
        got: u32,
    },
    /// The bytes are not those that were written.
    #[error("checksum mismatch: the file is damaged")]
    Checksum,
    /// Made with another encoder, so its vectors mean something else.
    #[error("made with encoder {got}, but {want} is in use; build the dictionary again")]
    Encoder {
        /// Hash of the encoder it was made with, its beginning.
        got: String,
        /// Hash of the encoder in use, its beginning.
        want: String,
    },
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An entry does not hold together.
    #[error("entry {at} ({phrase:?}): {what}")]
    Entry {
        /// Its place.
        at: usize,
        /// Its phrase.
        phrase: String,
        /// What is wrong, with the numbers.
        what: String,
    },
    /// There is no such entry.
    #[error("no entry is named {0:?}; `poised dictionary show` lists them")]
    Unknown(String),
    /// There is no room for another entry.
    #[error("the dictionary is full: {DICTIONARY_ENTRIES_MAX} entries; remove one first")]
    Full,
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Built from labelled motion.
    #[default]
    Built,
    /// Taught on the device.
    Taught,
}

/// One action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called, at most [`ACTION_BYTES_MAX`] bytes; no two alike.
    pub phrase: String,
    /// Other words for it.
    #[serde(default)]
    pub wordings: Vec<String>,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
    /// Clips that went in.
    pub clips: u32,
    /// Two-second windows of them.
    pub windows: u32,
    /// People who were seen.
    pub people: u32,
    /// Mean cosine of its own windows with [`Dictionary::rays`], 0 without clips.
    #[serde(default)]
    pub level: f32,
}

/// An entry with its numbers, on the way into a dictionary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEntry {
    /// Its words and counts.
    pub entry: Entry,
    /// Sentence embedding; empty where it has none.
    pub text: Vec<f32>,
    /// Mean motion embedding; empty without clips.
    pub motion: Vec<f32>,
    /// Mean ray embedding; empty without clips.
    pub rays: Vec<f32>,
    /// Mean in the basis; empty without clips.
    pub mean: Vec<f32>,
    /// Cholesky factor of the covariance; empty without clips.
    pub factor: Vec<f32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    encoder: String,
    sha256: String,
}

/// All entries, in order; the numbers of entry `k` are row `k` of each matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Dictionary {
    encoder: String,
    width: usize,
    rank: usize,
    entries: Vec<Entry>,
    text: Vec<f32>,
    motion: Vec<f32>,
    rays: Vec<f32>,
    mean: Vec<f32>,
    factor: Vec<f32>,
    /// Which entries have a text vector.
    worded: Vec<bool>,
}

/// Numbers in a packed lower triangle of `rank` rows.
pub const fn triangle(rank: usize) -> usize {
    rank * (rank + 1) / 2
}

impl Dictionary {
    /// A dictionary without entries for the encoder of hash `encoder`, embeddings of
    /// `width` and a basis of `rank`.
    pub fn empty(encoder: &str, width: usize, rank: usize) -> Self {
        Self {
            encoder: encoder.to_owned(),
            width,
            rank,
            entries: Vec::new(),
            text: Vec::new(),
            motion: Vec::new(),
            rays: Vec::new(),
            mean: Vec::new(),
            factor: Vec::new(),
            worded: Vec::new(),
        }
    }

    /// Reads a file made for the encoder of hash `encoder`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or does not hold a whole dictionary for this encoder.
    pub fn read(
        path: &Path,
        encoder: &str,
        width: usize,
        rank: usize,
    ) -> Result<Self, DictionaryError> {
        let failed = |source| DictionaryError::File {
            path: path.to_owned(),
            what: "read",
            source,
        };
        let bytes = file::read_bounded(path, DICTIONARY_BYTES_MAX)
            .map_err(failed)?
            .map_err(|bytes| DictionaryError::TooLarge { bytes })?;
        Self::from_bytes(&bytes, encoder, width, rank)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn from_bytes(
        bytes: &[u8],
        encoder: &str,
        width: usize,
        rank: usize,
    ) -> Result<Self, DictionaryError> {
        let broken = |error: &dyn std::fmt::Display| DictionaryError::Format(error.to_string());
        let (start, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| broken(&e))?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get(HEADER))
            .ok_or_else(|| broken(&"no header"))?;
        let header: Header = serde_json::from_str(header).map_err(|e| broken(&e))?;
        if header.format != FORMAT {
            return Err(broken(&format!("format {:?}", header.format)));
        }
        if header.version != VERSION {
            return Err(DictionaryError::Version {
                got: header.version,
            });
        }
        // Behind the length of the header (8 bytes) and the header.
        let data = bytes.get(8 + start..).ok_or_else(|| broken(&"cut off"))?;
        if checksum(data) != header.sha256 {
            return Err(DictionaryError::Checksum);
        }
        if header.encoder != encoder {
            return Err(DictionaryError::Encoder {
                got: beginning(&header.encoder),
                want: beginning(encoder),
            });
        }
        let file = tensors::open(bytes)?;
        let entries = file
            .tensor("entries")
            .map_err(|_| broken(&"no tensor entries"))?;
        let entries: Vec<Entry> =
            serde_json::from_slice(entries.data()).map_err(|e| broken(&format!("entries: {e}")))?;
        if entries.len() > DICTIONARY_ENTRIES_MAX {
            return Err(broken(&format!(
                "{} entries, at most {DICTIONARY_ENTRIES_MAX} are read",
                entries.len()
            )));
        }
        let count = entries.len();
        let matrix =
            |name, columns| tensors::numbers(&file, name, &[count, columns]).map(Vec::from);
        let mut dictionary = Self {
            encoder: header.encoder,
            width,
            rank,
            text: matrix("text", width)?,
            motion: matrix("motion", width)?,
            rays: matrix("rays", width)?,
            mean: matrix("mean", rank)?,
            factor: matrix("factor", triangle(rank))?,
            entries,
            worded: Vec::new(),
        };
        dictionary.worded = (0..count)
            .map(|at| dictionary.text(at).iter().any(|v| *v != 0.0))
            .collect();
        dictionary.check()?;
        Ok(dictionary)
    }

    /// The bytes of a file, the same for the same dictionary.
    ///
    /// # Panics
    ///
    /// Never: every matrix has a row for each entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = self.entries.len();
        let entries = serde_json::to_vec(&self.entries).expect("strings and numbers");
        let raw = |values: &[f32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let mut data = BTreeMap::from([("entries", (Dtype::U8, vec![entries.len()], entries))]);
        let matrices = [
            &self.text,
            &self.motion,
            &self.rays,
            &self.mean,
            &self.factor,
        ];
        for ((name, columns), values) in self.columns().into_iter().zip(matrices) {
            data.insert(name, (Dtype::F32, vec![count, columns], raw(values)));
        }
        let write = |header: Option<HashMap<String, String>>| {
            let views = data.iter().map(|(name, (dtype, shape, bytes))| {
                let view = TensorView::new(*dtype, shape.clone(), bytes);
                (*name, view.expect("as many bytes as the shape says"))
            });
            safetensors::serialize(views, header).expect("names and shapes are plain")
        };
        // The order of the tensors is the library's, so the sum is taken of what it wrote.
        let bare = write(None);
        let (start, _) = SafeTensors::read_metadata(&bare).expect("just written");
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            encoder: self.encoder.clone(),
            sha256: checksum(&bare[8 + start..]),
        };
        let header = serde_json::to_string(&header).expect("strings and numbers");
        write(Some(HashMap::from([(HEADER.to_owned(), header)])))
    }

    /// Writes the file; the one that was there stays until the new one is whole.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DictionaryError> {
        file::replace(path, &self.to_bytes()).map_err(|source| DictionaryError::File {
            path: path.to_owned(),
            what: "written",
            source,
        })
    }

    /// Adds an entry at the end.
    ///
    /// # Errors
    ///
    /// The phrase is there already, too long or empty, the numbers have another
    /// width or are no directions, or there is no room.
    pub fn add(&mut self, new: NewEntry) -> Result<(), DictionaryError> {
        if self.entries.len() >= DICTIONARY_ENTRIES_MAX {
            return Err(DictionaryError::Full);
        }
        let at = self.entries.len();
        let wrong = |what| DictionaryError::Entry {
            at,
            phrase: new.entry.phrase.clone(),
            what,
        };
        if self.position(&new.entry.phrase).is_some() {
            return Err(wrong("there is an entry of this name".into()));
        }
        let rows = [&new.text, &new.motion, &new.rays, &new.mean, &new.factor];
        for ((name, columns), row) in self.columns().into_iter().zip(rows) {
            let length = row.len();
            if length != 0 && length != columns {
                return Err(wrong(format!(
                    "{name} has {length} numbers, must have {columns}"
                )));
            }
        }
        let columns = self.columns();
        for ((matrix, row), (_, columns)) in self.matrices().into_iter().zip(rows).zip(columns) {
            matrix.extend_from_slice(row);
            matrix.resize((at + 1) * columns, 0.0);
        }
        self.worded.push(new.text.iter().any(|v| *v != 0.0));
        self.entries.push(new.entry);
        self.check_entry(at).inspect_err(|_| {
            self.take(at);
        })
    }

    /// Takes an entry away.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn remove(&mut self, phrase: &str) -> Result<Entry, DictionaryError> {
        let at = self
            .position(phrase)
            .ok_or_else(|| DictionaryError::Unknown(phrase.to_owned()))?;
        Ok(self.take(at))
    }

    fn take(&mut self, at: usize) -> Entry {
        let columns = self.columns();
        for (matrix, (_, columns)) in self.matrices().into_iter().zip(columns) {
            matrix.drain(at * columns..(at + 1) * columns);
        }
        self.worded.remove(at);
        self.entries.remove(at)
    }

    /// Names and columns of the matrices.
    const fn columns(&self) -> [(&'static str, usize); 5] {
        [
            ("text", self.width),
            ("motion", self.width),
            ("rays", self.width),
            ("mean", self.rank),
            ("factor", triangle(self.rank)),
        ]
    }

    /// The matrices, in the order of [`Self::columns`].
    const fn matrices(&mut self) -> [&mut Vec<f32>; 5] {
        [
            &mut self.text,
            &mut self.motion,
            &mut self.rays,
            &mut self.mean,
            &mut self.factor,
        ]
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Hash of the encoder it belongs to.
    pub fn encoder(&self) -> &str {
        &self.encoder
    }

    /// Numbers in an embedding.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Directions in the basis.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Place of a phrase.
    pub fn position(&self, phrase: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.phrase == phrase)
    }

    /// Sentence embedding of entry `at`; zeros where it has none.
    pub fn text(&self, at: usize) -> &[f32] {
        &self.text[at * self.width..(at + 1) * self.width]
    }

    /// Mean motion embedding of entry `at`; zeros without clips.
    pub fn motion(&self, at: usize) -> &[f32] {
        &self.motion[at * self.width..(at + 1) * self.width]
    }

    /// Mean ray embedding of entry `at`; zeros without clips.
    pub fn rays(&self, at: usize) -> &[f32] {
        &self.rays[at * self.width..(at + 1) * self.width]
    }

    /// Mean of entry `at` in the basis, and the Cholesky factor of its covariance;
    /// `None` without clips.
    pub fn statistics(&self, at: usize) -> Option<(&[f32], &[f32])> {
        let packed = triangle(self.rank);
        (self.entries[at].windows > 0).then(|| {
            (
                &self.mean[at * self.rank..(at + 1) * self.rank],
                &self.factor[at * packed..(at + 1) * packed],
            )
        })
    }

    /// Whether entry `at` has a text vector.
    pub fn is_worded(&self, at: usize) -> bool {
        self.worded[at]
    }

    /// Cosines of `embedding` with every entry's text, into `cosines`.
    ///
    /// # Panics
    ///
    /// The lengths do not fit.
    pub fn text_cosines(&self, embedding: &[f32], cosines: &mut [f32]) {
        cosines_of(&self.text, embedding, cosines);
    }

    /// How well an embedding of keypoints (length 1) fits each entry, into `scores`: the
    /// cosine with its text. An entry without text, which was taught, is compared by motion: how much
    /// nearer the embedding is to the mean of its clips than to that of any other entry, on
    /// the scale where windows of an action usually have `typical`. A cosine with its clips alone would say
    /// little: encoders that never learned an action place it near others. Entries without motion
    /// score negative infinity: they have no recorded motion, so they are never named. Those
    /// that were learned from one person only are held back, where others were learned from more.
    ///
    /// # Panics
    ///
    /// The lengths do not fit.
    pub fn scores(&self, embedding: &[f32], typical: f32, scores: &mut [f32]) {
        cosines_of(&self.text, embedding, scores);
        if self.entries.iter().any(|entry| entry.people > 1) {
            for (score, entry) in scores.iter_mut().zip(&self.entries) {
                if entry.people == 1 {
                    *score -= ONE_PERSON;
                }
            }
        }
        let moves = |at: &usize| self.entries[*at].windows > 0;
        let by_motion = |at: usize| {
            let mut cosine = [0.0];
            rows_times(self.rays(at), embedding, &[0.0], &mut cosine);
            cosine[0]
        };
        let taught = |at: usize| moves(&at) && !self.worded[at];
        // The nearest and the next, so that everybody has a nearest other.
        let mut nearest = [(f32::NEG_INFINITY, usize::MAX); 2];
        if (0..self.entries.len()).any(taught) {
            for at in (0..self.entries.len()).filter(moves) {
                let cosine = by_motion(at);
                if cosine > nearest[0].0 {
                    nearest = [(cosine, at), nearest[0]];
                } else if cosine > nearest[1].0 {
                    nearest[1] = (cosine, at);
                }
            }
        }
        for (at, score) in scores.iter_mut().enumerate() {
            if !moves(&at) {
                *score = f32::NEG_INFINITY;
            } else if taught(at) {
                let [best, next] = nearest;
                let other = if best.1 == at { next.0 } else { best.0 };
                // The only entry with motion has nothing to be compared with but itself.
                let other = if other.is_finite() {
                    other
                } else {
                    self.entries[at].level
                };
                *score = typical + TAUGHT_LEAD + TAUGHT_GAIN * (by_motion(at) - other);
            }
        }
    }

    fn check(&self) -> Result<(), DictionaryError> {
        let mut phrases = HashSet::new();
        for (at, entry) in self.entries.iter().enumerate() {
            self.check_entry(at)?;
            if !phrases.insert(entry.phrase.as_str()) {
                return Err(DictionaryError::Entry {
                    at,
                    phrase: entry.phrase.clone(),
                    what: "an entry before it has the same phrase".into(),
                });
            }
        }
        Ok(())
    }

    fn check_entry(&self, at: usize) -> Result<(), DictionaryError> {
        let entry = &self.entries[at];
        let wrong = |what: String| DictionaryError::Entry {
            at,
            phrase: entry.phrase.clone(),
            what,
        };
        let length = entry.phrase.len();
        if length == 0 || length > ACTION_BYTES_MAX {
            return Err(wrong(format!(
                "a phrase of {length} bytes: must be from 1 to {ACTION_BYTES_MAX}"
            )));
        }
        if entry.phrase.chars().any(char::is_control) {
            return Err(wrong("a phrase with a control character".into()));
        }
        let seen = entry.windows > 0;
        let mut known = false;
        for (name, row, must) in [
            ("text", self.text(at), false),
            ("motion", self.motion(at), seen),
            ("rays", self.rays(at), seen),
        ] {
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            let none = row.iter().all(|v| *v == 0.0);
            known |= !none;
            let direction = (length - 1.0).abs() < LENGTH_TOLERANCE;
            if (none && must) || (!none && !direction) {
                return Err(wrong(format!("{name} has length {length}: must be 1")));
            }
        }
        if !known {
            return Err(wrong("neither a text vector nor clips".into()));
        }
        if let Some((_, factor)) = self.statistics(at) {
            for row in 0..self.rank {
                let diagonal = factor[triangle(row) + row];
                if diagonal.is_nan() || diagonal <= 0.0 {
                    return Err(wrong(format!(
                        "factor[{row}, {row}] = {diagonal}: must be positive"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// What a taught entry's score is above the typical one where an embedding is as near to it as to the nearest
/// other. This and the gain were chosen on training people of the actions that one pair of encoders
/// never learned, taught from three clips at a time.
const TAUGHT_LEAD: f32 = 0.25;

/// How much each difference of cosines counts.
const TAUGHT_GAIN: f32 = 4.0;

/// What an entry's cosine is held back by that one person's motion was learned from: encoders learn
/// the person with the action. Chosen on held-out people, of whose windows such an entry was the
/// best for 6 in 100 and never right.
const ONE_PERSON: f32 = 0.1;

/// Products of one direction with many.
fn cosines_of(rows: &[f32], embedding: &[f32], cosines: &mut [f32]) {
    // The sums start from nothing.
    const ZEROS: [f32; 256] = [0.0; 256];
    let width = embedding.len();
    for (cosines, rows) in cosines
        .chunks_mut(ZEROS.len())
        .zip(rows.chunks(ZEROS.len() * width))
    {
        rows_times(rows, embedding, &ZEROS[..cosines.len()], cosines);
    }
}

fn checksum(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn beginning(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const WIDTH: usize = 4;
    const RANK: usize = 2;

    fn direction(seed: u64) -> Vec<f32> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let raw: Vec<f32> = (0..WIDTH).map(|_| rng.f32() - 0.5).collect();
        let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
        raw.iter().map(|v| v / length).collect()
    }

    fn named(phrase: &str, seed: u64) -> NewEntry {
        NewEntry {
            entry: Entry {
                phrase: phrase.into(),
                wordings: vec![format!("to {phrase}")],
                clips: 2,
                windows: 9,
                people: 1,
                ..Entry::default()
            },
            text: direction(seed),
            motion: direction(seed + 1),
            rays: direction(seed + 2),
            mean: vec![0.5, -0.5],
            factor: vec![1.0, 0.2, 0.7],
        }
    }

    fn two() -> Dictionary {
        let mut dictionary = Dictionary::empty(ENCODER, WIDTH, RANK);
        dictionary.add(named("walk", 1)).unwrap();
        let mut words_only = NewEntry::default();
        words_only.entry.phrase = "fly".into();
        words_only.text = direction(7);
        dictionary.add(words_only).unwrap();
        dictionary
    }

    fn read(bytes: &[u8]) -> Result<Dictionary, DictionaryError> {
        Dictionary::from_bytes(bytes, ENCODER, WIDTH, RANK)
    }

    fn refused(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_is_read_back_and_the_bytes_do_not_change() {
        let dictionary = two();
        let bytes = dictionary.to_bytes();
        assert_eq!(read(&bytes).unwrap(), dictionary);
        assert_eq!(read(&bytes).unwrap().to_bytes(), bytes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dictionary");
        dictionary.write(&path).unwrap();
        let back = Dictionary::read(&path, ENCODER, WIDTH, RANK).unwrap();
        assert_eq!(back, dictionary);
        assert_eq!(back.statistics(1), None);
        assert_eq!(back.statistics(0).unwrap().1, [1.0, 0.2, 0.7]);
    }

    #[test]
    fn no_beginning_of_a_file_is_a_dictionary() {
        let bytes = two().to_bytes();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn no_changed_byte_goes_unseen() {
        let dictionary = two();
        let bytes = dictionary.to_bytes();
        let mut damaged = 0;
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            match read(&changed) {
                Ok(read) => assert_eq!(read, dictionary, "byte {at}: blanks of the header"),
                Err(DictionaryError::Checksum) => damaged += 1,
                Err(_) => {}
            }
        }
        assert!(damaged > 100, "{damaged}");
    }

    #[test]
    fn another_version_or_encoder_is_named() {
        let bytes = two().to_bytes();
        let header = |from: &str, to: &str| -> Vec<u8> {
            assert_eq!(from.len(), to.len());
            let at = bytes
                .windows(from.len())
                .position(|part| part == from.as_bytes())
                .unwrap();
            let mut changed = bytes.clone();
            changed[at..at + to.len()].copy_from_slice(to.as_bytes());
            changed
        };
        assert_eq!(
            refused(&header("version\\\":1", "version\\\":7")),
            "format version 7 is not supported, expected 1"
        );
        assert_eq!(
            refused(&header(ENCODER, "bbbbbbbbbbbbbbbbbbbbbbbbbbbb")),
            "made with encoder bbbbbbbbbbbb, but aaaaaaaaaaaa is in use; build the dictionary again"
        );
        assert!(refused(&header(FORMAT, "qoised-dictionary")).contains("qoised"));
    }

    #[test]
    fn entries_that_do_not_hold_together_are_refused_and_change_nothing() {
        let mut dictionary = two();
        let before = dictionary.clone();
        let mut refused = |change: &dyn Fn(&mut NewEntry)| {
            let mut entry = named("run", 20);
            change(&mut entry);
            let error = dictionary.add(entry).unwrap_err().to_string();
            assert_eq!(dictionary, before);
            error
        };
        assert_eq!(
            refused(&|e| e.entry.phrase = "walk".into()),
            "entry 2 (\"walk\"): there is an entry of this name"
        );
        assert!(refused(&|e| e.entry.phrase.clear()).contains("0 bytes: must be from 1 to 48"));
        assert!(refused(&|e| e.entry.phrase = "a\nb".into()).contains("control"));
        assert!(refused(&|e| e.text = vec![1.0; 4]).contains("text has length 2: must be 1"));
        assert!(refused(&|e| e.rays = vec![f32::NAN; 4]).contains("NaN"));
        assert!(refused(&|e| e.rays.clear()).contains("rays has length 0"));
        assert!(refused(&|e| e.text = vec![1.0]).contains("1 numbers, must have 4"));
        assert!(refused(&|e| e.factor[2] = 0.0).contains("factor[1, 1] = 0"));
        assert!(
            refused(&|e| {
                *e = NewEntry::default();
                e.entry.phrase = "x".into();
            })
            .contains("neither")
        );
    }

    #[test]
    fn a_file_with_a_phrase_twice_or_no_utf8_is_refused() {
        let mut dictionary = two();
        dictionary.entries[1].phrase = "walk".into();
        assert!(refused(&dictionary.to_bytes()).contains("an entry before it has the same phrase"));
        let bytes = two().to_bytes();
        let at = bytes.windows(4).rposition(|w| w == b"walk").unwrap();
        let mut changed = bytes.clone();
        changed[at] = 0xff;
        // The checksum would find it first: it is made to fit.
        let (start, _) = SafeTensors::read_metadata(&bytes).unwrap();
        let (old, new) = (
            checksum(&bytes[8 + start..]),
            checksum(&changed[8 + start..]),
        );
        let place = changed
            .windows(64)
            .position(|w| w == old.as_bytes())
            .unwrap();
        changed[place..place + 64].copy_from_slice(new.as_bytes());
        assert!(
            refused(&changed).contains("entries: "),
            "{}",
            refused(&changed)
        );
    }

    #[test]
    fn an_entry_goes_and_the_others_stay() {
        let mut dictionary = two();
        let alone = {
            let mut other = Dictionary::empty(ENCODER, WIDTH, RANK);
            let mut words_only = NewEntry::default();
            words_only.entry.phrase = "fly".into();
            words_only.text = direction(7);
            other.add(words_only).unwrap();
            other
        };
        assert_eq!(dictionary.remove("walk").unwrap().phrase, "walk");
        assert_eq!(dictionary, alone);
        assert_eq!(
            dictionary.remove("walk").unwrap_err().to_string(),
            "no entry is named \"walk\"; `poised dictionary show` lists them"
        );
    }

    #[test]
    fn what_one_person_did_is_held_back_where_others_did_more() {
        let mut dictionary = two();
        let seen = dictionary.text(0).to_vec();
        let mut scores = vec![0.0; 2];
        dictionary.scores(&seen, 0.5, &mut scores);
        assert!((scores[0] - 1.0).abs() < 1e-5, "nothing to compare with");
        let mut of_many = named("run", 40);
        of_many.entry.people = 3;
        dictionary.add(of_many).unwrap();
        let mut scores = vec![0.0; 3];
        dictionary.scores(&seen, 0.5, &mut scores);
        assert!((scores[0] - (1.0 - ONE_PERSON)).abs() < 1e-5);
        let text = dictionary.text(2).to_vec();
        dictionary.scores(&text, 0.5, &mut scores);
        assert!((scores[2] - 1.0).abs() < 1e-5);
    }

    #[test]
    fn entries_without_motion_are_never_named_and_taught_ones_are_compared_by_motion() {
        let mut dictionary = two();
        let mut taught = named("raise", 30);
        taught.entry.level = 0.9;
        taught.text.clear();
        let seen = taught.rays.clone();
        dictionary.add(taught).unwrap();
        let mut scores = vec![0.0; 3];
        dictionary.scores(&seen, 0.5, &mut scores);
        let other = dictionary.rays(0).iter().zip(&seen).map(|(a, b)| a * b);
        let wanted = 0.5 + TAUGHT_LEAD + TAUGHT_GAIN * (1.0 - other.sum::<f32>());
        assert!((scores[2] - wanted).abs() < 1e-4, "{} {wanted}", scores[2]);
        // What is nearer to another entry's clips than to the taught ones' is scored lower.
        dictionary.scores(dictionary.rays(0), 0.5, &mut scores);
        assert!(scores[2] < 0.5 + TAUGHT_LEAD, "{}", scores[2]);
        dictionary.scores(&direction(7), 0.5, &mut scores);
        assert!(
            scores[1].is_infinite() && scores[1] < 0.0,
            "its very words, but no motion"
        );
        let constants = crate::motion::label::LabelConstants {
            scale: 14.0,
            none: 0.3,
            typical: 0.5,
        };
        let mut probabilities = vec![0.0; 3];
        constants.probabilities(&dictionary, &direction(7), &mut probabilities);
        assert!(probabilities[1].abs() < f32::EPSILON);
        assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
    }

    #[test]
    fn cosines_are_products_for_any_number_of_entries() {
        let mut dictionary = Dictionary::empty(ENCODER, WIDTH, RANK);
        for k in 0..300 {
            dictionary.add(named(&format!("action {k}"), k)).unwrap();
        }
        let mut cosines = vec![0.0; 300];
        let wanted = direction(257);
        dictionary.text_cosines(&wanted, &mut cosines);
        let best = (0..300).max_by(|a, b| cosines[*a].total_cmp(&cosines[*b]));
        assert_eq!(best, Some(257));
        assert!((cosines[257] - 1.0).abs() < 1e-5);
    }
}
