//! Files that are either the old ones or the new ones, whatever happens in between.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The bytes of a file, or its size where it has more than `most`.
///
/// # Errors
///
/// The file cannot be read.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Result<Vec<u8>, u64>> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > most {
        return Ok(Err(bytes));
    }
    std::fs::read(path).map(Ok)
}

/// Puts `bytes` in the place of the file at `path`, in one step: a reader, and the
/// machine after a power cut, finds the old file or the new one, each whole.
///
/// Written beside it as `.<name>.new`, forced to the disk, then renamed.
///
/// # Errors
///
/// Whatever kept it from being written; the old file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = followed(path)?;
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = folder.join(beside);
    let written = write_to_disk(&beside, bytes).and_then(|()| std::fs::rename(&beside, &target));
    if written.is_err() {
        // What is half written is of no use; that it may not go away says the error already.
        let _ = std::fs::remove_file(&beside);
        return written;
    }
    // The name itself is on the disk only when the folder is.
    File::open(folder)?.sync_all()
}

/// The file that a link stands for: the link stays.
fn followed(path: &Path) -> io::Result<PathBuf> {
    if path.is_symlink() {
        return path.canonicalize();
    }
    Ok(path.to_owned())
}

fn write_to_disk(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
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
    fn a_link_goes_on_pointing_where_it_did() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, b"one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert!(link.is_symlink());
    }

    #[test]
    fn where_nothing_can_be_written_the_old_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a");
        assert!(replace(&path, b"one").is_err());
        let path = folder.path().join("a");
        std::fs::write(&path, b"one").unwrap();
        // A folder in the place of the new file's own name.
        std::fs::create_dir(folder.path().join(".a.new")).unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
