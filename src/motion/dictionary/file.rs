//! The file of a dictionary.
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
//! | `mean` | f32 `[E, R]` | its motions in the basis of [`crate::motion::prior`]: mean |
//! | `factor` | f32 or f16 `[E, R (R + 1) / 2]` | lower Cholesky factor of their covariance, row by row |
//!
//! A file is checked wholly before anything of it is used, and written beside the
//! old one before it takes its place.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Dictionary, DictionaryError, Entry, triangle};
use crate::base::file;
use crate::base::limits::{DICTIONARY_BYTES_MAX, DICTIONARY_ENTRIES_MAX};
use crate::base::tensors;

/// Name of the format in the file's metadata.
const FORMAT: &str = "poised-dictionary";

/// Version of the format written, and the only one read.
pub(super) const VERSION: u32 = 1;

/// The one metadata key.
const HEADER: &str = "poised";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    encoder: String,
    sha256: String,
}

impl Dictionary {
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
    use super::super::samples::{ENCODER, RANK, WIDTH, two};
    use super::*;

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
}
