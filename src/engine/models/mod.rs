//! Model folders: network files, a `model.toml` that describes them, a README.
//!
//! ```text
//! models/person/  model.toml  README.md  person.onnx
//! ```
//!
//! [`Folder::open`] checks everything that can be checked without running the
//! network: the description itself, that shapes fit the kind and the decoder,
//! file sizes and SHA-256 hashes. What is left (operators, the shapes the
//! network really has) is checked by the engine when it loads the file. The
//! format is explained in `docs/reference/models.md`.

mod describe;
mod external;
mod fits;
mod install;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::base::config::{ConfigError, read_toml};
use crate::base::file;
use crate::base::limits::MODEL_FILE_BYTES_MAX;

pub use describe::{
    Colour, ConfidenceFit, Decoder, Description, Element, FileEntry, HeatmapValues, ImageTensor,
    InputTensor, Kind, Layout, OutputTensor, Precision, PresenceFit, Role,
};
pub use install::{InstallError, install};

/// Name of the description in a model folder.
pub const DESCRIPTION_FILE: &str = "model.toml";

/// What can be wrong with a model folder. Each message is one line, and has all its causes in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no such folder, or no description in it.
    #[error(
        "{folder}: no network found, {DESCRIPTION_FILE} is missing; give the folder that holds the networks: \
         [models] directory, --models or $POISED_MODELS"
    )]
    Missing {
        /// Where the network was looked for.
        folder: PathBuf,
    },
    /// The description does not follow the format.
    #[error("{0}")]
    Description(String),
    /// A file or folder cannot be read.
    #[error("{path}: cannot be read: {why}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// A file is larger than any network can be.
    #[error("{path}: larger than {max_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        max_bytes: u64,
    },
    /// A file is not the one that was described.
    #[error("{path}: sha256 is {got}, model.toml says {want:?}")]
    Hash {
        /// The file.
        path: PathBuf,
        /// What the description says.
        want: String,
        /// What the file has.
        got: String,
    },
    /// A field of the description does not fit the rest.
    #[error("{path}: {what}")]
    Misfit {
        /// The description.
        path: PathBuf,
        /// Field, value and what is wanted, in words.
        what: String,
    },
    /// The network has a tensor of another name, type or shape than described.
    #[error("{path}: {tensor}: the network has {got}, model.toml says {want}")]
    Tensor {
        /// The network file.
        path: PathBuf,
        /// Which tensor.
        tensor: String,
        /// Name, type and shape as described.
        want: String,
        /// Name, type and shape as found.
        got: String,
    },
    /// The network uses an operator the engine does not have.
    #[error(
        "{path}: engine {engine} does not support operator {operator}; use another engine ([inference] engine) or export the network without it"
    )]
    Operator {
        /// The network file.
        path: PathBuf,
        /// The operator as ONNX names it.
        operator: String,
        /// The engine.
        engine: &'static str,
    },
    /// The engine refuses the network for another reason.
    #[error("{path}: engine {engine} cannot load it: {message}")]
    Engine {
        /// The network file.
        path: PathBuf,
        /// The engine.
        engine: &'static str,
        /// The engine's words, on one line.
        message: String,
    },
}

impl From<ConfigError> for ModelError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Read { path, source } => Self::Read { path, why: source },
            other => Self::Description(one_line(&other)),
        }
    }
}

/// The text of an error with line breaks turned into blanks.
pub fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// A model folder whose description and files have been checked.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// What `model.toml` says.
    pub description: Description,
    /// The network file, with the weights it keeps in other files.
    pub network: Vec<u8>,
}

impl Folder {
    /// Reads and checks a model folder.
    ///
    /// # Errors
    ///
    /// The first thing that does not fit; see [`ModelError`].
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let description = Description::read(path)?;
        let network = read_checked(path, &description.network)?;
        let network = external::inlined(path, &description.extra, network)?;
        let others = [&description.network_fp16, &description.network_int8];
        for entry in others.into_iter().flatten().chain(&description.extra) {
            read_checked(path, entry)?;
        }
        if !path.join("README.md").is_file() {
            log::warn!(
                "{}: no README.md; all that is known of its origin is licence {:?} and origin {:?} in {DESCRIPTION_FILE}",
                path.display(),
                description.licence,
                description.origin
            );
        }
        Ok(Self {
            path: path.to_owned(),
            description,
            network,
        })
    }

    /// Path of the network file.
    pub fn network_path(&self) -> PathBuf {
        self.path.join(&self.description.network.file)
    }

    /// Reads the network that computes in this precision, where the folder has one, with its path.
    ///
    /// # Errors
    ///
    /// The file is not the one described.
    pub fn network_in(
        &self,
        precision: Precision,
    ) -> Result<Option<(PathBuf, Vec<u8>)>, ModelError> {
        let entry = match precision {
            Precision::Fp32 => return Ok(Some((self.network_path(), self.network.clone()))),
            Precision::Fp16 => &self.description.network_fp16,
            Precision::Int8 => &self.description.network_int8,
        };
        let Some(entry) = entry else {
            return Ok(None);
        };
        let bytes = read_checked(&self.path, entry)?;
        let bytes = external::inlined(&self.path, &self.description.extra, bytes)?;
        Ok(Some((self.path.join(&entry.file), bytes)))
    }

    /// Reads a further file of the folder, by the name it has in `[[extra]]`.
    ///
    /// # Errors
    ///
    /// The description does not name such a file, or the file is not the one described.
    pub fn extra(&self, file: &str) -> Result<Vec<u8>, ModelError> {
        let entry = self
            .description
            .extra
            .iter()
            .find(|entry| entry.file == file)
            .ok_or_else(|| ModelError::Misfit {
                path: self.path.join(DESCRIPTION_FILE),
                what: format!("[[extra]] with file = {file:?} is missing"),
            })?;
        read_checked(&self.path, entry)
    }
}

impl Description {
    /// Reads and checks the description of a model folder, without its network files.
    ///
    /// # Errors
    ///
    /// [`ModelError::Description`] or [`ModelError::Misfit`].
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(DESCRIPTION_FILE);
        let description: Self = read_toml(&path).map_err(|error| match error {
            ConfigError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ModelError::Missing {
                    folder: folder.to_owned(),
                }
            }
            other => other.into(),
        })?;
        fits::check(&description).map_err(|what| ModelError::Misfit { path, what })?;
        Ok(description)
    }
}

/// One line of `poised models list`.
#[derive(Debug)]
pub struct ListRow {
    /// The model's folder.
    pub folder: PathBuf,
    /// What its description says, or what is wrong with the description.
    pub description: Result<Description, ModelError>,
}

/// The model folders in a directory (each subfolder with a `model.toml`), sorted by path.
///
/// # Errors
///
/// The directory cannot be read.
pub fn list(models: &Path) -> Result<Vec<ListRow>, ModelError> {
    let read = |why| ModelError::Read {
        path: models.to_owned(),
        why,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(models).map_err(read)? {
        let folder = entry.map_err(read)?.path();
        if folder.join(DESCRIPTION_FILE).is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders
        .into_iter()
        .map(|folder| ListRow {
            description: Description::read(&folder),
            folder,
        })
        .collect())
}

/// SHA-256 in lower-case hexadecimal digits, as `sha256sum` prints it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Reads a file of a model folder and compares its hash with the description's.
fn read_checked(folder: &Path, entry: &FileEntry) -> Result<Vec<u8>, ModelError> {
    let path = folder.join(&entry.file);
    let bytes = read_bounded(&path, MODEL_FILE_BYTES_MAX)?;
    let got = sha256_hex(&bytes);
    if got == entry.sha256.to_ascii_lowercase() {
        Ok(bytes)
    } else {
        Err(ModelError::Hash {
            path,
            want: entry.sha256.clone(),
            got,
        })
    }
}

fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ModelError> {
    file::read_bounded(path, max_bytes)
        .map_err(|why| ModelError::Read {
            path: path.to_owned(),
            why,
        })?
        .map_err(|_| ModelError::TooLarge {
            path: path.to_owned(),
            max_bytes,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn the_hash_is_the_one_of_the_standard() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_file_over_the_bound_is_refused_by_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, [0; 11]).unwrap();
        assert_eq!(read_bounded(&path, 11).unwrap().len(), 11);
        let error = read_bounded(&path, 10).unwrap_err().to_string();
        assert!(error.ends_with("larger than 10 bytes"), "{error}");
    }

    const DESCRIPTION: &str = r#"
        name = "lifter"
        kind = "lifter"
        licence = "CC0-1.0"
        origin = "tests"
        input = { name = "kp", shape = [1, 27, 17, 4], type = "f32" }
        outputs = [{ name = "feat", shape = [1, 256], role = "lift-features" }]
    "#;

    #[test]
    fn no_file_of_a_description_is_outside_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let hash = "0".repeat(64);
        for table in ["network", "network_fp16", "network_int8", "[extra]"] {
            for file in ["../secret", "/etc/passwd", "..", "a/b", ""] {
                let network = format!("[network]\nfile = \"a.onnx\"\nsha256 = {hash:?}\n");
                let entry = format!("[{table}]\nfile = {file:?}\nsha256 = {hash:?}\n");
                let network = if table == "network" {
                    String::new()
                } else {
                    network
                };
                let text = format!("{DESCRIPTION}\n{network}\n{entry}");
                std::fs::write(folder.path().join(DESCRIPTION_FILE), text).unwrap();
                let error = Description::read(folder.path()).unwrap_err().to_string();
                assert!(
                    error.contains("in the model's folder"),
                    "{table} {file}: {error}"
                );
            }
        }
    }

    #[test]
    fn a_network_without_a_readme_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let network = b"network";
        std::fs::write(folder.path().join("net.onnx"), network).unwrap();
        let entry = format!(
            "[network]\nfile = \"net.onnx\"\nsha256 = {:?}\n",
            sha256_hex(network)
        );
        let text = format!("{DESCRIPTION}\n{entry}");
        std::fs::write(folder.path().join(DESCRIPTION_FILE), text).unwrap();
        let opened = Folder::open(folder.path()).unwrap();
        assert_eq!(opened.network, network);
    }

    #[test]
    fn a_network_that_is_not_there_is_named_once_with_where_to_look() {
        let error = Folder::open(Path::new("/nowhere/person")).unwrap_err();
        let text = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(text.matches("/nowhere/person").count(), 1, "{text}");
        assert!(text.contains("[models] directory"), "{text}");
        // A file that is there and cannot be read is named once, with the reason once.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(DESCRIPTION_FILE)).unwrap();
        let error = Folder::open(folder.path()).unwrap_err();
        let text = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(text.matches("cannot be read").count(), 1, "{text}");
        assert_eq!(text.matches("not a regular file").count(), 1, "{text}");
    }

    #[test]
    fn a_wrong_hash_prints_the_right_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("net.onnx"), "abc").unwrap();
        let entry = FileEntry {
            file: "net.onnx".to_owned(),
            sha256: "00".repeat(32),
        };
        let error = read_checked(folder.path(), &entry).unwrap_err().to_string();
        assert!(error.contains("ba7816bf8f01cfea"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
