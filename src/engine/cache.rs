//! Engines that were built for a GPU, kept on the disk: building one takes minutes on a small device.
//!
//! ```text
//!  person-fp32-0f3a9c….engine:  one line of JSON (the key, size and SHA-256 of the rest)  \n  the engine
//! ```
//!
//! An engine fits one network file, one shape of its input, one version of NVIDIA's library, one kind of GPU and one
//! precision; that is its [`Key`]. A file of another key, a broken one and one of an older format are as if not
//! there: they are built again. An engine is code: it is read only where folder and file are this user's or root's
//! and no other user may write them. The checksum finds damage, not malice.

use std::fmt;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::select::Precision;
use crate::base::file;
use crate::base::limits::{ENGINE_FILE_BYTES_MAX, ENGINE_HEADER_BYTES_MAX};
use crate::engine::models::sha256_hex;

/// What an engine's file begins with. The number grows with each change of how engines are built, so that older ones
/// are built again.
const FORMAT: &str = "poised-engine/2";

/// Permission bits by which other users may write.
const OTHERS_WRITE: u32 = 0o022;

/// How an engine's file ends.
const EXTENSION: &str = "engine";

/// What an engine was built from and for.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The network: `person`, `finder` or `lifter`.
    pub part: String,
    /// SHA-256 of the ONNX file.
    pub network: String,
    /// Shape of the input: a network may leave it open, an engine does not.
    pub shape: Vec<usize>,
    /// The runtime (NVIDIA's library) and its version.
    pub runtime: String,
    /// Name and compute capability of the GPU.
    pub gpu: String,
    /// What it computes in.
    pub precision: String,
}

/// The first line of a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Header {
    format: String,
    key: Key,
    engine_bytes: u64,
    engine_sha256: String,
}

/// Why there is no engine to be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// None was kept.
    #[error("no engine has been built for it yet")]
    Missing,
    /// It was built from or for something else.
    #[error("the cached engine was built for {what} {kept:?}, this machine needs {wanted:?}")]
    Foreign {
        /// Which part of the key.
        what: &'static str,
        /// What the file says.
        kept: String,
        /// What is here.
        wanted: String,
    },
    /// Others could have put it there.
    #[error(
        "{path}: {why}, so the engine in it is not run; it must belong to this user or root, and only its owner may \
         write it (chmod go-w)"
    )]
    Untrusted {
        /// The folder or the file.
        path: PathBuf,
        /// Who may write it.
        why: String,
    },
    /// The file is damaged.
    #[error("the cached engine is damaged: {why}")]
    Broken {
        /// In which way.
        why: String,
    },
}

impl Key {
    /// What is not the same in the other key: name, and both values.
    fn difference(&self, kept: &Self) -> Option<Unusable> {
        let shapes = [format!("{:?}", kept.shape), format!("{:?}", self.shape)];
        let pairs = [
            ("network", &kept.network, &self.network),
            ("input", &shapes[0], &shapes[1]),
            ("runtime", &kept.runtime, &self.runtime),
            ("GPU", &kept.gpu, &self.gpu),
            ("precision", &kept.precision, &self.precision),
            ("part", &kept.part, &self.part),
        ];
        let (what, kept, wanted) = pairs.into_iter().find(|(_, kept, own)| kept != own)?;
        Some(Unusable::Foreign {
            what,
            kept: kept.clone(),
            wanted: wanted.clone(),
        })
    }

    /// Name of its file: one for each network and precision, so that what is stale is written over.
    fn file_name(&self) -> String {
        let network = self.network.get(..16).unwrap_or(&self.network);
        format!("{}-{}-{network}.{EXTENSION}", self.part, self.precision)
    }
}

/// A folder of engines.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// One file of a cache.
#[derive(Debug)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it was built from and for, or what is wrong with it.
    pub key: Result<Key, Unusable>,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            network,
            shape,
            runtime,
            gpu,
            precision,
        } = self;
        let network = network.get(..12).unwrap_or(network);
        write!(
            out,
            "{part} {precision}, network {network} of {shape:?}, {runtime}, {gpu}"
        )
    }
}

impl Cache {
    /// The engines in this folder, which need not be there yet.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The engine with this key.
    ///
    /// # Errors
    ///
    /// Why there is none to be used.
    pub fn read(&self, key: &Key) -> Result<Vec<u8>, Unusable> {
        let path = self.folder.join(key.file_name());
        let (header, engine) = read(&path)?;
        match key.difference(&header.key) {
            None => Ok(engine),
            Some(foreign) => Err(foreign),
        }
    }

    /// Keeps an engine, in the place of an older one of the same network and precision.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be written; an older file is as it was.
    pub fn write(&self, key: &Key, engine: &[u8]) -> io::Result<PathBuf> {
        make_private(&self.folder)?;
        let bytes = to_bytes(key, engine)?;
        let path = self.folder.join(key.file_name());
        file::replace(&path, &bytes)?;
        Ok(path)
    }

    /// All engines, sorted by path; none where the folder is not there.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let folder = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut entries = Vec::new();
        for file in folder {
            let file = file?;
            let path = file.path();
            if path.extension().is_some_and(|end| end == EXTENSION) {
                entries.push(Entry {
                    bytes: file.metadata()?.len(),
                    key: read(&path).map(|(header, _)| header.key),
                    path,
                });
            }
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    /// Removes all engines; gives how many.
    ///
    /// # Errors
    ///
    /// One cannot be removed.
    pub fn clear(&self) -> io::Result<usize> {
        let entries = self.list()?;
        for entry in &entries {
            std::fs::remove_file(&entry.path)?;
        }
        Ok(entries.len())
    }
}

/// Makes the folder where it does not exist; a folder of this user that others may write is closed to them.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let metadata = std::fs::metadata(folder)?;
    let mode = metadata.permissions().mode();
    if mode & OTHERS_WRITE != 0 && own_user() == Some(metadata.uid()) {
        std::fs::set_permissions(folder, Permissions::from_mode(mode & !OTHERS_WRITE))?;
    }
    Ok(())
}

/// The user this program runs as.
fn own_user() -> Option<u32> {
    // The kernel gives each process's folder to the user it runs as.
    Some(std::fs::metadata("/proc/self").ok()?.uid())
}

/// Whether no other user can have written what is at `path`.
fn check_trusted(path: &Path) -> Result<(), Unusable> {
    let untrusted = |why: String| Unusable::Untrusted {
        path: path.to_owned(),
        why,
    };
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
        metadata => metadata.map_err(|error| untrusted(error.to_string()))?,
    };
    let owner = metadata.uid();
    if owner != 0 && Some(owner) != own_user() {
        return Err(untrusted(format!("it belongs to user {owner}")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(untrusted(format!("others may write it (mode {mode:o})")));
    }
    Ok(())
}

/// Reads a file and checks that it is whole, and that it is this program's own.
fn read(path: &Path) -> Result<(Header, Vec<u8>), Unusable> {
    let broken = |why: String| Unusable::Broken { why };
    // The folder first: a user who may write it may put another file in the file's place.
    for place in [path.parent(), Some(path)].into_iter().flatten() {
        check_trusted(place)?;
    }
    let bytes = match file::read_bounded(path, ENGINE_FILE_BYTES_MAX) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(bytes)) => {
            return Err(broken(format!(
                "{bytes} bytes, at most {ENGINE_FILE_BYTES_MAX} are read"
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
        Err(error) => return Err(broken(error.to_string())),
    };
    parse(bytes)
}

/// Reads the bytes of a file: its header and the engine.
///
/// # Errors
///
/// [`Unusable::Broken`].
fn parse(mut bytes: Vec<u8>) -> Result<(Header, Vec<u8>), Unusable> {
    let broken = |why: String| Unusable::Broken { why };
    let head = &bytes[..bytes.len().min(ENGINE_HEADER_BYTES_MAX)];
    let end = head
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| broken("it has no header".to_owned()))?;
    let header: Header =
        serde_json::from_slice(&bytes[..end]).map_err(|error| broken(error.to_string()))?;
    if header.format != FORMAT {
        return Err(broken(format!(
            "format {:?}, not {FORMAT:?}",
            header.format
        )));
    }
    let engine = bytes.split_off(end + 1);
    if engine.len() as u64 != header.engine_bytes {
        return Err(broken(format!(
            "{} of {} bytes",
            engine.len(),
            header.engine_bytes
        )));
    }
    if sha256_hex(&engine) != header.engine_sha256 {
        return Err(broken("its SHA-256 is another one".to_owned()));
    }
    Ok((header, engine))
}

/// The key that the bytes of a file are for, where the file is whole.
///
/// # Errors
///
/// [`Unusable::Broken`].
pub fn key_of(bytes: Vec<u8>) -> Result<Key, Unusable> {
    Ok(parse(bytes)?.0.key)
}

/// The bytes of a file that keeps an engine.
///
/// # Errors
///
/// Never: a key is text and numbers.
pub fn to_bytes(key: &Key, engine: &[u8]) -> io::Result<Vec<u8>> {
    let header = Header {
        format: FORMAT.to_owned(),
        key: key.clone(),
        engine_bytes: engine.len() as u64,
        engine_sha256: sha256_hex(engine),
    };
    let mut bytes = serde_json::to_vec(&header)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(engine);
    Ok(bytes)
}

/// The key of a network with this input for a runtime and a GPU.
pub fn key(
    part: &str,
    (onnx, shape): (&[u8], &[usize]),
    runtime: &str,
    gpu: &str,
    precision: Precision,
) -> Key {
    Key {
        part: part.to_owned(),
        network: sha256_hex(onnx),
        shape: shape.to_vec(),
        runtime: runtime.to_owned(),
        gpu: gpu.to_owned(),
        precision: precision.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orin(onnx: &[u8], runtime: &str) -> Key {
        let network = (onnx, &[1, 3, 192, 144][..]);
        key("person", network, runtime, "Orin, 8.7", Precision::Fp16)
    }

    #[test]
    fn an_engine_comes_back_for_its_own_key_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("engines"));
        let own = orin(b"onnx", "TensorRT 10.3.0.30");
        assert!(matches!(cache.read(&own), Err(Unusable::Missing)));
        cache.write(&own, b"engine").unwrap();
        assert_eq!(cache.read(&own).unwrap(), b"engine");

        let updated = orin(b"onnx", "TensorRT 10.16.1.1");
        let error = cache.read(&updated).unwrap_err().to_string();
        assert_eq!(
            error,
            "the cached engine was built for runtime \"TensorRT 10.3.0.30\", this machine needs \"TensorRT 10.16.1.1\""
        );
        let other_gpu = Key {
            gpu: "Thor, 11.0".to_owned(),
            ..own.clone()
        };
        assert!(matches!(
            cache.read(&other_gpu),
            Err(Unusable::Foreign { what: "GPU", .. })
        ));
        let other_shape = Key {
            shape: vec![1, 3, 256, 192],
            ..own.clone()
        };
        let error = cache.read(&other_shape).unwrap_err().to_string();
        assert!(
            error.contains("built for input \"[1, 3, 192, 144]\""),
            "{error}"
        );
        // Another network and another precision are files of their own.
        assert!(matches!(
            cache.read(&orin(b"other", "")),
            Err(Unusable::Missing)
        ));

        // What was stale is written over.
        cache.write(&updated, b"newer").unwrap();
        assert_eq!(cache.read(&updated).unwrap(), b"newer");
        assert_eq!(cache.list().unwrap().len(), 1);
        assert_eq!(cache.clear().unwrap(), 1);
        assert!(cache.list().unwrap().is_empty());
    }

    #[test]
    fn an_engine_that_others_could_have_written_is_not_run() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("engines");
        std::fs::create_dir(&folder).unwrap();
        let cache = Cache::new(folder.clone());
        let own = orin(b"onnx", "TensorRT 10.3.0.30");
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        mode(&folder, 0o777);
        let path = cache.write(&own, b"engine").unwrap();
        // Writing closed the folder.
        assert_eq!(cache.read(&own).unwrap(), b"engine");
        for (place, open, closed) in [(&folder, 0o777, 0o755), (&path, 0o664, 0o644)] {
            mode(place, open);
            let error = cache.read(&own).unwrap_err().to_string();
            assert!(error.contains("others may write it"), "{error}");
            mode(place, closed);
        }
        assert_eq!(cache.read(&own).unwrap(), b"engine");
        // Only root may give a file to another user.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
            let error = cache.read(&own).unwrap_err().to_string();
            assert!(error.contains("belongs to user 12345"), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_said_to_be_and_never_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let own = orin(b"onnx", "TensorRT 10.3.0.30");
        let path = cache.write(&own, &[7; 1000]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for (bytes, want) in [
            (&flipped[..], "SHA-256"),
            (&whole[..whole.len() - 1], "999 of 1000 bytes"),
            (&whole[..40], "no header"),
            (b"", "no header"),
            (b"{}\n", "missing field"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = cache.read(&own).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        let older = String::from_utf8_lossy(&whole).replace("poised-engine/2", "poised-engine/1");
        std::fs::write(&path, older).unwrap();
        let error = cache.read(&own).unwrap_err().to_string();
        assert!(error.contains("poised-engine/1"), "{error}");
        let entries = cache.list().unwrap();
        assert!(entries[0].key.is_err());
    }
}
