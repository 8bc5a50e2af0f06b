//! What survives a restart: learned weights and what is known of the site. No poses, no motion.
//!
//! A safetensors file with `mean` `[WEIGHTS]` and `site` `[4]` (up, noise); its one metadata key says format,
//! version, the networks it belongs to and a checksum. The file before is kept beside it as `.before`, so that there
//! is a whole one whenever the power goes. A link to the file stays a link: both files are where it points.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use glam::Vec3;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::train::WEIGHTS;
use crate::base::config::{ConfigError, check};
use crate::base::file;
use crate::base::tensors::{self, TensorError};
use crate::motion::dictionary::hex;

/// Name of the format in the file's metadata.
const FORMAT: &str = "poised-adaptation";

/// Version of the format written, and the only one read. 1 had a checksum of the tensors alone.
const VERSION: u32 = 2;

/// The one metadata key.
const HEADER: &str = "poised";

/// Largest file read, in bytes: four times what is written.
const BYTES_MAX: u64 = 4 * 4 * WEIGHTS as u64;

/// Most steps that a state may have taken: at a hundred a second more than ten thousand years, and far from where
/// adding to them overflows.
const STEPS_MAX: u64 = 1 << 48;

/// Most heads that a state may have handed out: one below where counting ends.
const GENERATION_MAX: u32 = u32::MAX - 1;

/// Longest straight-up vector: the mean of unit vectors, and rounding.
const UP_MAX: f32 = 1.01;

/// Largest noise of a keypoint: as large as the person.
const NOISE_MAX: f32 = 1.0;

/// What can be wrong with a state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
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
    /// Larger than any state.
    #[error("{0} bytes, a state has at most {BYTES_MAX}")]
    TooLarge(u64),
    /// Not a state, or one that is cut off.
    #[error("not an adaptation state file: {0}")]
    Format(String),
    /// Another version of the format.
    #[error("format version {0} is not supported, expected {VERSION}")]
    Version(u32),
    /// The bytes are not those that were written.
    #[error("checksum mismatch: the file is damaged")]
    Checksum,
    /// Learned with other networks, so its numbers mean something else.
    #[error("learned with networks other than those in use")]
    Networks,
    /// A number that no state has.
    #[error(transparent)]
    Range(#[from] ConfigError),
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    networks: String,
    steps: u64,
    generation: u32,
    /// Not there unless it is frozen, so that older files are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frozen: Option<Frozen>,
    /// Of the tensors and of what stands above.
    sha256: String,
}

impl Header {
    /// The checksum of a file with this header and these tensors.
    fn sum(&self, mean: &[u8], site: &[u8]) -> String {
        let mut sum = Sha256::new();
        sum.update(mean);
        sum.update(site);
        sum.update(&self.networks);
        sum.update(self.steps.to_le_bytes());
        sum.update(self.generation.to_le_bytes());
        match self.frozen {
            None => {}
            Some(Frozen::Factory) => sum.update("factory"),
            Some(Frozen::Adapted) => sum.update("adapted"),
        }
        hex(&sum.finalize())
    }
}

/// Which head stays in use until `thaw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Frozen {
    /// The factory's.
    Factory,
    /// The one of [`State::mean`].
    Adapted,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Steps taken.
    pub steps: u64,
    /// Heads handed out.
    pub generation: u32,
    /// Whether nothing may change, and what is in use then.
    pub frozen: Option<Frozen>,
    /// Learned weights, `[WEIGHTS]`.
    pub mean: Box<[f32]>,
    /// Straight up, camera frame; zero where that is not known.
    pub up: Vec3,
    /// Noise of a keypoint, share of the person's larger side in the image.
    pub noise: f32,
}

impl State {
    /// The bytes of a file, for the networks of hash `networks`.
    ///
    /// # Panics
    ///
    /// There are not [`WEIGHTS`] weights.
    pub fn to_bytes(&self, networks: &str) -> Vec<u8> {
        let raw =
            |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let mean = raw(&self.mean);
        let site = raw(&[self.up.x, self.up.y, self.up.z, self.noise]);
        let mut header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            networks: networks.to_owned(),
            steps: self.steps,
            generation: self.generation,
            frozen: self.frozen,
            sha256: String::new(),
        };
        header.sha256 = header.sum(&mean, &site);
        let header = serde_json::to_string(&header).expect("strings and numbers");
        let view = |bytes, shape| {
            TensorView::new(Dtype::F32, shape, bytes).expect("as many bytes as the shape says")
        };
        let views = [
            ("mean", view(&mean, vec![WEIGHTS])),
            ("site", view(&site, vec![4])),
        ];
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        safetensors::serialize(views, Some(metadata)).expect("names and shapes are plain")
    }

    /// Reads the bytes of a file that was written for the networks of hash `networks`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_bytes(bytes: &[u8], networks: &str) -> Result<Self, StateError> {
        let broken = |error: &dyn std::fmt::Display| StateError::Format(error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| broken(&e))?;
        let header = metadata.metadata().as_ref().and_then(|map| map.get(HEADER));
        let header = header.ok_or_else(|| broken(&"no header"))?;
        let header: Header = serde_json::from_str(header).map_err(|e| broken(&e))?;
        if header.format != FORMAT {
            return Err(broken(&format!("format {:?}", header.format)));
        }
        if header.version != VERSION {
            return Err(StateError::Version(header.version));
        }
        let file = tensors::open(bytes)?;
        let of = |name| file.tensor(name).map_err(|e| broken(&e));
        if header.sum(of("mean")?.data(), of("site")?.data()) != header.sha256 {
            return Err(StateError::Checksum);
        }
        if header.networks != networks {
            return Err(StateError::Networks);
        }
        let site = tensors::numbers(&file, "site", &[4])?;
        check("steps", header.steps, 0, STEPS_MAX)?;
        check("generation", header.generation, 0, GENERATION_MAX)?;
        check(
            "length of up",
            Vec3::from_slice(&site).length(),
            0.0,
            UP_MAX,
        )?;
        check("noise", site[3], 0.0, NOISE_MAX)?;
        Ok(Self {
            steps: header.steps,
            generation: header.generation,
            frozen: header.frozen,
            mean: tensors::numbers(&file, "mean", &[WEIGHTS])?,
            up: Vec3::from_slice(&site),
            noise: site[3],
        })
    }

    /// Writes the file; the one that was there becomes `.before` if it is whole and belongs to the same networks.
    /// Nothing is written where the file has the same contents already: flash memory wears out by writing.
    ///
    /// # Errors
    ///
    /// The file cannot be written; there is still a whole one.
    pub fn write(&self, path: &Path, networks: &str) -> Result<(), StateError> {
        let failed = |source| StateError::File {
            path: path.to_owned(),
            what: "written",
            source,
        };
        // The link stays; the files move where it points.
        let target = file::followed(path).map_err(failed)?;
        match Self::read_one(&target, networks) {
            Ok(old) if old == *self => return Ok(()),
            Ok(_) => std::fs::rename(&target, before(&target)).map_err(failed)?,
            // A damaged file must not take the place of a whole one.
            Err(_) => {}
        }
        file::replace(&target, &self.to_bytes(networks)).map_err(failed)
    }

    /// Reads the newest whole file; `None` if there has never been one. What is wrong with a file
    /// is told to `wrong`, and the one before it is tried.
    pub fn read(
        path: &Path,
        networks: &str,
        mut wrong: impl FnMut(&Path, &StateError),
    ) -> Option<Self> {
        for path in both(path) {
            match Self::read_one(&path, networks) {
                Ok(state) => return Some(state),
                Err(StateError::File { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => wrong(&path, &error),
            }
        }
        None
    }

    fn read_one(path: &Path, networks: &str) -> Result<Self, StateError> {
        let bytes = file::read_bounded(path, BYTES_MAX)
            .map_err(|source| StateError::File {
                path: path.to_owned(),
                what: "read",
                source,
            })?
            .map_err(StateError::TooLarge)?;
        Self::from_bytes(&bytes, networks)
    }
}

/// Removes what was kept, the file before as well.
///
/// # Errors
///
/// A file is there and stays.
pub fn remove(path: &Path) -> Result<(), StateError> {
    for path in both(path) {
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StateError::File {
                    path,
                    what: "removed",
                    source,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The file and the one before, behind any link.
fn both(path: &Path) -> [PathBuf; 2] {
    // A link that leads nowhere gives its own error when it is opened.
    let target = file::followed(path).unwrap_or_else(|_| path.to_owned());
    let before = before(&target);
    [target, before]
}

/// Where the file before is kept.
pub fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(steps: u64) -> State {
        State {
            steps,
            generation: 7,
            frozen: None,
            mean: vec![1e-3; WEIGHTS].into(),
            up: Vec3::new(0.1, -0.9, -0.2),
            noise: 0.006,
        }
    }

    fn wrong_with(bytes: &[u8]) -> String {
        State::from_bytes(bytes, "abc").unwrap_err().to_string()
    }

    #[test]
    fn a_state_comes_back_as_it_was_and_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.adapted");
        let nothing = |path: &Path, error: &StateError| panic!("{}: {error}", path.display());
        assert_eq!(State::read(&path, "abc", nothing), None);
        state(1).write(&path, "abc").unwrap();
        state(2).write(&path, "abc").unwrap();
        assert_eq!(State::read(&path, "abc", nothing), Some(state(2)));
        std::fs::write(&path, &state(2).to_bytes("abc")[..1000]).unwrap();
        let mut said = Vec::new();
        let read = State::read(&path, "abc", |path, error| {
            said.push(format!("{}: {error}", path.display()));
        });
        assert_eq!(read, Some(state(1)));
        assert!(
            said[0].contains("front.adapted: not an adaptation state"),
            "{said:?}"
        );
        // What is damaged does not become the one before.
        state(3).write(&path, "abc").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(State::read(&path, "abc", nothing), Some(state(1)));
    }

    #[test]
    fn a_link_to_a_state_stays_a_link_through_writing_and_removing() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let (path, target) = (folder.path().join("link"), disk.join("front.adapted"));
        std::os::unix::fs::symlink("disk/front.adapted", &path).unwrap();
        let nothing = |path: &Path, error: &StateError| panic!("{}: {error}", path.display());
        assert_eq!(State::read(&path, "abc", nothing), None);
        for steps in 1..4 {
            state(steps).write(&path, "abc").unwrap();
            assert!(path.is_symlink() && !target.is_symlink());
            assert_eq!(State::read(&path, "abc", nothing), Some(state(steps)));
        }
        // Nothing lies beside the link, both files lie beside its target.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 2);
        std::fs::remove_file(&target).unwrap();
        assert_eq!(State::read(&path, "abc", nothing), Some(state(2)));
        remove(&path).unwrap();
        assert!(path.is_symlink());
        assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0);
    }

    #[test]
    fn what_is_written_already_is_not_written_again() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.adapted");
        let file = || std::fs::metadata(&path).unwrap().ino();
        state(1).write(&path, "abc").unwrap();
        state(2).write(&path, "abc").unwrap();
        let written = file();
        state(2).write(&path, "abc").unwrap();
        assert_eq!(file(), written);
        let kept = State::read_one(&before(&path), "abc").unwrap();
        assert_eq!(kept, state(1), "the one before is an older one");
        state(3).write(&path, "abc").unwrap();
        assert_ne!(file(), written);
    }

    #[test]
    fn numbers_that_no_state_has_are_refused() {
        for (wrong, named) in [
            (
                State {
                    steps: u64::MAX,
                    ..state(1)
                },
                "steps = 18446744073709551615",
            ),
            (
                State {
                    generation: u32::MAX,
                    ..state(1)
                },
                "generation = 4294967295",
            ),
            (
                State {
                    up: Vec3::new(3.0, 0.0, 0.0),
                    ..state(1)
                },
                "up",
            ),
            (
                State {
                    noise: -1.0,
                    ..state(1)
                },
                "noise = -1",
            ),
        ] {
            let text = wrong_with(&wrong.to_bytes("abc"));
            assert!(text.contains(named), "{text}");
        }
        let unknown = State {
            up: Vec3::ZERO,
            ..state(1)
        };
        assert_eq!(
            State::from_bytes(&unknown.to_bytes("abc"), "abc").unwrap(),
            unknown
        );
    }

    #[test]
    fn what_is_frozen_comes_back_and_is_held_by_the_checksum() {
        for frozen in [Frozen::Factory, Frozen::Adapted] {
            let kept = State {
                frozen: Some(frozen),
                ..state(1)
            };
            let bytes = kept.to_bytes("abc");
            assert_eq!(State::from_bytes(&bytes, "abc").unwrap(), kept);
            let word = b"frozen\\\":\\\"";
            let at = bytes.windows(word.len()).position(|bytes| bytes == word);
            let at = at.unwrap() + word.len();
            let other = match frozen {
                Frozen::Factory => b"adapted",
                Frozen::Adapted => b"factory",
            };
            let mut turned = bytes.clone();
            turned[at..at + other.len()].copy_from_slice(other);
            let error = State::from_bytes(&turned, "abc").unwrap_err();
            assert!(matches!(error, StateError::Checksum), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = state(1).to_bytes("abc");
        assert!(wrong_with(b"nonsense").contains("not an adaptation state"));
        assert!(wrong_with(&good[..good.len() - 4]).contains("not an adaptation state"));
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(wrong_with(&damaged).contains("checksum"));
        assert!(wrong_with(&state(1).to_bytes("other")).contains("networks other than"));
        let steps = b"\\\"steps\\\":1";
        let found = good.windows(steps.len()).position(|bytes| bytes == steps);
        let edited = found.unwrap() + steps.len() - 1;
        let mut longer = good.clone();
        longer[edited] = b'2';
        assert!(
            wrong_with(&longer).contains("checksum"),
            "{}",
            wrong_with(&longer)
        );
        let mut broken = state(1);
        broken.mean[5] = f32::NAN;
        assert!(wrong_with(&broken.to_bytes("abc")).contains("mean[5] = NaN"));
    }
}
