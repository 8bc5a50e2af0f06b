//! The motion-text dictionary: action phrases, what they mean and what they look like.

mod file;
#[cfg(test)]
mod samples;
mod scores;

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::limits::{ACTION_BYTES_MAX, DICTIONARY_BYTES_MAX, DICTIONARY_ENTRIES_MAX};
use crate::base::tensors::TensorError;

use file::VERSION;
pub use file::hex;

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

#[cfg(test)]
mod tests {
    use super::samples::{ENCODER, RANK, WIDTH, direction, named, two};
    use super::*;

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
}
