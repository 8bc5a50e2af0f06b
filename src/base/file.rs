//! Files read up to a bound, files of a folder, and files replaced in one step.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Symbolic links that are followed one after the other: as many as Linux follows.
const LINKS_MAX: usize = 40;

/// The bytes of a file, or more than `most` where it holds more: its size, as far as that is known.
///
/// Only regular files are read. What a file says of its size is not relied on: one may grow while it is read, and
/// those of the kernel say 0.
///
/// # Errors
///
/// The file cannot be read, or is a pipe, a device or a folder.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Result<Vec<u8>, u64>> {
    // A pipe that no process writes to would keep a plain open waiting.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if metadata.len() > most {
        return Ok(Err(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Ok(Err(bytes.len() as u64));
    }
    Ok(Ok(bytes))
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<N> {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was written to last, since 1970.
    pub written: Duration,
    /// What its name says.
    pub name: N,
}

/// The regular files of a folder whose names `own` knows, in any order. One that is removed or renamed meanwhile is
/// left out.
///
/// # Errors
///
/// The folder cannot be read, or its file system does not say when files were written.
pub fn list<N>(folder: &Path, own: impl Fn(&str) -> Option<N>) -> io::Result<Vec<Listed<N>>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(&own) else {
            continue;
        };
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if !about.is_file() {
            continue;
        }
        let written = about.modified()?.duration_since(std::time::UNIX_EPOCH);
        files.push(Listed {
            path: entry.path(),
            bytes: about.len(),
            written: written.unwrap_or_default(),
            name,
        });
    }
    Ok(files)
}

/// Puts `bytes` in the place of the file at `path`, in one step: a reader, and the
/// machine after a power cut, finds the old file or the new one, each whole.
///
/// # Errors
///
/// As [`Replacement::begin`] and [`Replacement::finish`]; the old file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Replacement::begin(path)?.finish(bytes)
}

/// A file about to be replaced. Others that want to replace the same file wait until this one is finished or
/// dropped, so what is read of the old file meanwhile stays true.
///
/// Written beside it as `.<name>.new`, forced to the disk, then renamed. A link goes on pointing where it did. Mode
/// and, where the system allows it, owner are those of the old file.
#[derive(Debug)]
pub struct Replacement {
    /// The new file, locked.
    file: File,
    beside: PathBuf,
    target: PathBuf,
}

impl Replacement {
    /// Makes the file beside `path`; waits for another process that is replacing it.
    ///
    /// # Errors
    ///
    /// Nothing can be written there; the old file is as it was.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let target = followed(path)?;
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(".new");
        let beside = target.with_file_name(beside);
        let file = create_locked(&beside)?;
        let replacement = Self {
            file,
            beside,
            target,
        };
        replacement.dress_as_the_old()?;
        Ok(replacement)
    }

    /// Gives the new file mode and owner of the old one.
    fn dress_as_the_old(&self) -> io::Result<()> {
        let old = match std::fs::metadata(&self.target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            old => old?,
        };
        let own = self.file.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            // Only root may give files away. Who may not keeps a file of their own, as with any editor.
            let _ = fchown(&self.file, Some(old.uid()), Some(old.gid()));
        }
        self.file.set_permissions(old.permissions())
    }

    /// Puts `bytes` in the old file's place.
    ///
    /// # Errors
    ///
    /// Whatever kept them from being written; the old file is as it was.
    pub fn finish(self, bytes: &[u8]) -> io::Result<()> {
        self.finish_with(bytes, |folder| File::open(folder)?.sync_all())
    }

    /// As [`Replacement::finish`]; `force` forces a folder to the disk.
    fn finish_with(
        mut self,
        bytes: &[u8],
        force: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        std::fs::rename(&self.beside, &self.target)?;
        // The new file is in place, so from here on nothing is an error. That its name is on the disk as well is
        // certain only when the folder is, which some file systems refuse.
        if let Err(error) = force(folder_of(&self.target)) {
            log::debug!(
                "{}: written, but its folder is not forced to the disk: {error}",
                self.target.display()
            );
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After a rename the name is free or another process's.
        if is_at(&self.file, &self.beside) {
            // Half a file is of no use; the error that led here is told already.
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

/// Makes a file that does not exist yet, and locks it. One that a killed process left behind is removed; one that a
/// living process holds is waited for.
fn create_locked(path: &Path) -> io::Result<File> {
    loop {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        match made {
            Ok(file) => {
                file.lock()?;
                // Between the two calls another process may have taken it for a leftover.
                if is_at(&file, path) {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let other = OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                    .open(path);
                let other = match other {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other?,
                };
                if !other.metadata()?.is_file() {
                    return Err(error);
                }
                other.lock()?;
                if is_at(&other, path) {
                    std::fs::remove_file(path)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether an open file is the one that a path names.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(own), Ok(named)) => identity(&own) == identity(&named),
        _ => false,
    }
}

/// The file that a link stands for, and which need not exist yet.
///
/// # Errors
///
/// The links go round in a circle, or cannot be read.
pub fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if !path.is_symlink() {
            return Ok(path);
        }
        let target = std::fs::read_link(&path)?;
        // A relative target counts from the folder of the link; an absolute one replaces the whole.
        path = folder_of(&path).join(target);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_over_its_bound_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"four").unwrap();
        assert_eq!(read_bounded(&path, 4).unwrap(), Ok(b"four".to_vec()));
        assert_eq!(read_bounded(&path, 3).unwrap(), Err(4));
        assert!(read_bounded(&folder.path().join("b"), 3).is_err());
    }

    #[test]
    fn a_file_that_says_nothing_of_its_size_is_bounded_too() {
        // The kernel's files have length 0 and hold bytes.
        let status = Path::new("/proc/self/status");
        assert_eq!(std::fs::metadata(status).unwrap().len(), 0);
        assert_eq!(read_bounded(status, 10).unwrap(), Err(11));
        assert!(read_bounded(status, 1 << 20).unwrap().is_ok());
    }

    #[test]
    fn devices_pipes_and_folders_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [Path::new("/dev/zero"), &pipe, folder.path()] {
            let error = read_bounded(path, 10).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file", "{path:?}");
        }
    }

    #[test]
    fn a_link_goes_on_pointing_where_it_did() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        // A link to a link, relative, to a file that does not exist yet.
        let (file, between, link) = (
            disk.join("file"),
            disk.join("between"),
            folder.path().join("link"),
        );
        symlink("file", &between).unwrap();
        symlink("disk/between", &link).unwrap();
        replace(&link, b"one").unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert!(link.is_symlink() && between.is_symlink());
        let circle = folder.path().join("circle");
        symlink(&circle, &circle).unwrap();
        assert!(replace(&circle, b"x").is_err());
    }

    #[test]
    fn the_mode_of_the_old_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"one").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        replace(&path, b"two").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn where_nothing_can_be_written_the_old_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a");
        assert!(replace(&path, b"one").is_err());
        let path = folder.path().join("a");
        std::fs::write(&path, b"one").unwrap();
        // A folder in the place of the new file's own name.
        let beside = folder.path().join(".a.new");
        std::fs::create_dir(&beside).unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        // A link planted there is not written through.
        std::fs::remove_dir(&beside).unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, b"kept").unwrap();
        symlink(&other, &beside).unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"kept");
    }

    #[test]
    fn a_folder_that_cannot_be_forced_to_the_disk_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"one").unwrap();
        let mut asked = None;
        let refuse = |folder: &Path| {
            asked = Some(folder.to_owned());
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        };
        let replacement = Replacement::begin(&path).unwrap();
        replacement.finish_with(b"two", refuse).unwrap();
        assert_eq!(asked.as_deref(), Some(folder.path()));
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_behind_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(folder.path().join(".a.new"), b"ha").unwrap();
        replace(&path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_writers_at_once_leave_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        replace(path, &vec![writer; 10_000]).unwrap();
                    }
                });
            }
        });
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 10_000);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn additions_of_many_writers_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..25 {
                        let replacement = Replacement::begin(path).unwrap();
                        let mut bytes = std::fs::read(path).unwrap();
                        bytes.push(b'x');
                        replacement.finish(&bytes).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read(&path).unwrap().len(), 100);
    }
}
