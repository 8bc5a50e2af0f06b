//! A copy of a model folder beside the networks that ship.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::base::limits::MODEL_FILE_BYTES_MAX;

use super::{DESCRIPTION_FILE, Folder, ModelError, read_bounded};

/// How the names of files begin that say what a network is and what may be done with it.
const TEXTS: [&str; 5] = ["README", "LICENSE", "LICENCE", "NOTICE", "COPYING"];

/// Everyone may read what is installed: the service runs as a user of its own.
const FOLDER_MODE: u32 = 0o755;
/// See [`FOLDER_MODE`].
const FILE_MODE: u32 = 0o644;

/// Why a model folder is not installed. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The folder does not fit its description.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The folder has no name to install it under.
    #[error("{path}: has no folder name to install it under; give the path of the folder itself")]
    Nameless {
        /// The folder, as it was given.
        path: PathBuf,
    },
    /// A network of that name is installed.
    #[error("{path}: exists; give --force to replace it")]
    Exists {
        /// Where it would go.
        path: PathBuf,
    },
    /// Something else is where the network would go.
    #[error(
        "{path}: is not a network (model.toml is missing), so it is not replaced; rename your folder"
    )]
    NotANetwork {
        /// Where it would go.
        path: PathBuf,
    },
    /// The copy cannot be written.
    #[error(
        "{path}: cannot be written: {why}; run this as root, or name another directory with --models"
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl InstallError {
    /// The exit code, as sysexits(3) numbers them: 66 the folder does not fit, 73 the copy cannot be made.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Model(_) | Self::Nameless { .. } => 66,
            Self::Exists { .. } | Self::NotANetwork { .. } | Self::Write { .. } => 73,
        }
    }
}

/// Copies a checked folder into `directory`, under its own name, and gives the path of the copy.
///
/// The files that the description names are copied, the card and the licence. The copy is made beside its
/// place, checked, forced to the disk and renamed: whatever happens, the directory never has half a network.
///
/// # Errors
///
/// A folder of that name exists and `force` is not given, or the copy cannot be made; what was installed before is
/// as it was.
pub fn install(folder: &Folder, directory: &Path, force: bool) -> Result<PathBuf, InstallError> {
    let name = name_of(&folder.path)?;
    let place = directory.join(&name);
    let replaces = place.symlink_metadata().is_ok();
    if replaces && !place.join(DESCRIPTION_FILE).is_file() {
        return Err(InstallError::NotANetwork { path: place });
    }
    if replaces && !force {
        return Err(InstallError::Exists { path: place });
    }
    let (new, old) = (
        beside(directory, &name, "new"),
        beside(directory, &name, "old"),
    );
    let installed = copy(folder, directory, &new)
        .and_then(|()| Folder::open(&new).map_err(InstallError::from))
        .and_then(|_| put(&new, &old, &place).map_err(|why| unwritable(&place, why)));
    if installed.is_err() {
        // Half a copy is of no use; that it cannot be removed is said by the error already.
        let _ = std::fs::remove_dir_all(&new);
    }
    installed?;
    // The name is on the disk only when the directory is.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|why| unwritable(&place, why))?;
    Ok(place)
}

/// The folder's own name, where it is given as `.` or through a link as well.
fn name_of(folder: &Path) -> Result<OsString, InstallError> {
    folder
        .canonicalize()
        .ok()
        .and_then(|path| path.file_name().map(OsStr::to_owned))
        .ok_or_else(|| InstallError::Nameless {
            path: folder.to_owned(),
        })
}

fn beside(directory: &Path, name: &OsStr, end: &str) -> PathBuf {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(end);
    directory.join(hidden)
}

/// Moves the new folder to its place; the old one is back there where that fails.
fn put(new: &Path, old: &Path, place: &Path) -> io::Result<()> {
    if place.symlink_metadata().is_err() {
        return std::fs::rename(new, place);
    }
    // A folder that holds files is not replaced by a rename.
    remove(old)?;
    std::fs::rename(place, old)?;
    if let Err(why) = std::fs::rename(new, place) {
        std::fs::rename(old, place)?;
        return Err(why);
    }
    remove(old)
}

/// Removes a folder, or a link to one, if it exists.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    }
}

fn copy(folder: &Folder, directory: &Path, new: &Path) -> Result<(), InstallError> {
    let made = std::fs::create_dir_all(directory)
        // What a killed process left behind.
        .and_then(|()| remove(new))
        .and_then(|()| std::fs::create_dir(new))
        .and_then(|()| std::fs::set_permissions(new, Permissions::from_mode(FOLDER_MODE)));
    made.map_err(|why| unwritable(new, why))?;
    for file in files(folder)? {
        let bytes = read_bounded(&folder.path.join(&file), MODEL_FILE_BYTES_MAX)?;
        let copy = new.join(&file);
        write(&copy, &bytes).map_err(|why| unwritable(&copy, why))?;
    }
    File::open(new)
        .and_then(|new| new.sync_all())
        .map_err(|why| unwritable(new, why))
}

/// Names of the files that belong to a model.
fn files(folder: &Folder) -> Result<Vec<OsString>, ModelError> {
    let description = &folder.description;
    let others = [&description.network_fp16, &description.network_int8];
    let mut files: Vec<OsString> = std::iter::once(&description.network)
        .chain(others.into_iter().flatten())
        .chain(&description.extra)
        .map(|entry| OsString::from(&entry.file))
        .collect();
    files.push(DESCRIPTION_FILE.into());
    let read = |why| ModelError::Read {
        path: folder.path.clone(),
        why,
    };
    for entry in std::fs::read_dir(&folder.path).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        let is_text = TEXTS
            .iter()
            .any(|begin| name.to_string_lossy().starts_with(*begin));
        if is_text && entry.path().is_file() {
            files.push(name);
        }
    }
    // A description may name a text or a file twice.
    files.sort();
    files.dedup();
    Ok(files)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.sync_all()
}

fn unwritable(path: &Path, why: io::Error) -> InstallError {
    InstallError::Write {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a network that fits its description, and a name of its own.
    fn model(parent: &Path, name: &str, network: &[u8]) -> Folder {
        let path = parent.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("net.onnx"), network).unwrap();
        std::fs::write(path.join("README.md"), "A card.\n").unwrap();
        std::fs::write(path.join("LICENSE"), "Do as you like.\n").unwrap();
        std::fs::write(path.join("notes.txt"), "Not part of it.\n").unwrap();
        let sha256 = super::super::sha256_hex(network);
        let description = format!(
            r#"
            name = "lifter"
            kind = "lifter"
            licence = "CC0-1.0"
            origin = "tests"
            network = {{ file = "net.onnx", sha256 = "{sha256}" }}
            input = {{ name = "kp", shape = [1, 27, 17, 4], type = "f32" }}
            outputs = [{{ name = "feat", shape = [1, 256], role = "lift-features" }}]
            "#
        );
        std::fs::write(path.join(DESCRIPTION_FILE), description).unwrap();
        Folder::open(&path).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_model_is_copied_with_card_and_licence_for_everyone_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let mine = model(folder.path(), "mine", b"network");
        std::fs::set_permissions(mine.path.join("net.onnx"), Permissions::from_mode(0o600))
            .unwrap();
        let directory = folder.path().join("usr/share/models");
        let place = install(&mine, &directory, false).unwrap();
        assert_eq!(place, directory.join("mine"));
        assert_eq!(
            names(&place),
            ["LICENSE", "README.md", DESCRIPTION_FILE, "net.onnx"]
        );
        assert_eq!(Folder::open(&place).unwrap().network, b"network");
        for (path, mode) in [(place.clone(), 0o755), (place.join("net.onnx"), 0o644)] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(names(&directory), ["mine"]);
    }

    #[test]
    fn an_installed_network_is_replaced_only_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("models");
        let first = model(folder.path(), "mine", b"first");
        let place = install(&first, &directory, false).unwrap();
        std::fs::create_dir(folder.path().join("other")).unwrap();
        let second = model(&folder.path().join("other"), "mine", b"second");
        let error = install(&second, &directory, false).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("models/mine: exists; give --force to replace it")
        );
        assert_eq!(
            (error.exit_code(), &*Folder::open(&place).unwrap().network),
            (73, &b"first"[..])
        );
        install(&second, &directory, true).unwrap();
        assert_eq!(Folder::open(&place).unwrap().network, b"second");
        assert_eq!(names(&directory), ["mine"]);
    }

    #[test]
    fn what_is_no_network_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("models");
        std::fs::create_dir_all(directory.join("dictionary")).unwrap();
        std::fs::write(directory.join("dictionary/actions.dictionary"), "kept").unwrap();
        let named = model(folder.path(), "dictionary", b"network");
        let error = install(&named, &directory, true).unwrap_err();
        assert!(matches!(error, InstallError::NotANetwork { .. }), "{error}");
        assert_eq!(names(&directory.join("dictionary")), ["actions.dictionary"]);
    }

    #[test]
    fn a_network_that_changes_meanwhile_is_not_installed_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("models");
        let mine = model(folder.path(), "mine", b"network");
        install(&mine, &directory, false).unwrap();
        // As after a copy that broke off.
        std::fs::write(mine.path.join("net.onnx"), b"netw").unwrap();
        let error = install(&mine, &directory, true).unwrap_err();
        assert!(
            matches!(error, InstallError::Model(ModelError::Hash { .. })),
            "{error}"
        );
        assert_eq!(names(&directory), ["mine"]);
        assert_eq!(
            Folder::open(&directory.join("mine")).unwrap().network,
            b"network"
        );
    }

    #[test]
    fn what_a_killed_process_left_behind_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("models");
        for left in [".mine.new", ".mine.old"] {
            std::fs::create_dir_all(directory.join(left)).unwrap();
            std::fs::write(directory.join(left).join("net.onnx"), b"ha").unwrap();
        }
        let mine = model(folder.path(), "mine", b"network");
        install(&mine, &directory, false).unwrap();
        install(&mine, &directory, true).unwrap();
        assert_eq!(names(&directory), ["mine"]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let mine = model(folder.path(), "mine", b"network");
        // A file in the place of the directory: root may write everywhere else.
        let directory = folder.path().join("file");
        std::fs::write(&directory, "").unwrap();
        let error = install(&mine, &directory, false).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("cannot be written") && text.contains("--models"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }
}
