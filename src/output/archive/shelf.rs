//! The files of a folder: their names, and which of them have to go.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::Bounds;
use crate::base::clock::{Utc, unix_ns};
use crate::base::file;
use crate::output::export::mcap_read::{EXTENSION, UNFINISHED};

/// Most files whose names begin in the same second: a clock that is set back, a folder that several daemons share.
const SAME_SECOND_MAX: u32 = 100;

/// Who may read a recording, which is personal data: the service and its group.
pub(super) const FILE_MODE: u32 = 0o640;

/// The same of a folder that is made.
const FOLDER_MODE: u32 = 0o750;

/// What a damaged file is named like behind its name, once what could be read of it is in another.
const DAMAGED: &str = "damaged";

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When it was written to last, since 1970.
    pub(super) written: Duration,
    /// Whether it has its index, or will have none: it is damaged.
    pub(super) finished: bool,
}

/// The files of a camera in a folder.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// What the names of its files begin with.
    prefix: String,
}

impl Shelf {
    pub(super) fn new(folder: &Path, camera: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            prefix: format!("poised_{camera}_"),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder, where it is missing.
    pub(super) fn make_folder(&self) -> io::Result<()> {
        let mut folders = fs::DirBuilder::new();
        folders
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&self.folder)
    }

    /// Makes a file that does not exist yet, named by the wall clock, and locks it: a repair leaves it alone.
    pub(super) fn create(&self) -> io::Result<(PathBuf, File)> {
        self.make_folder()?;
        let stem = format!(
            "{}{}",
            self.prefix,
            Utc::of(unix_ns() / 1_000_000_000).compact()
        );
        for path in names(&self.folder, &stem) {
            if path.exists() {
                continue;
            }
            let open = unfinished(&path);
            let mut options = OpenOptions::new();
            match options
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&open)
            {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    if let Err(error) = file.lock() {
                        // A file system without locks: or there would be another empty file with each try.
                        let _ = fs::remove_file(&open);
                        return Err(error);
                    }
                    sync_folder(&self.folder);
                    return Ok((open, file));
                }
            }
        }
        Err(taken(&stem))
    }

    /// The files, oldest first. What has another name is not one of them.
    pub(super) fn files(&self) -> io::Result<Vec<Kept>> {
        let files = file::list(&self.folder, |name| self.is_own(name))?;
        let mut files: Vec<Kept> = files
            .into_iter()
            .map(|listed| Kept {
                path: listed.path,
                bytes: listed.bytes,
                written: listed.written,
                finished: listed.name,
            })
            .collect();
        files.sort_by(|a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
        Ok(files)
    }

    /// Whether a file of this name is of this camera, and if so whether it is finished.
    fn is_own(&self, name: &str) -> Option<bool> {
        let name = name.strip_prefix(&self.prefix)?;
        let without = |ending: &str| name.strip_suffix(&format!(".{ending}"));
        let (name, finished) = if let Some(name) = without(UNFINISHED) {
            (name, false)
        } else {
            (without(DAMAGED).unwrap_or(name), true)
        };
        let stem = name.strip_suffix(&format!(".{EXTENSION}"))?;
        let (stamp, number) = stem.split_once('-').unwrap_or((stem, "1"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
        let fits = date.len() == 8 && time.len() == 6 && digits(date) && digits(time);
        (fits && digits(number)).then_some(finished)
    }

    /// Files without an index that no process writes to.
    pub(super) fn left_behind(&self) -> io::Result<Vec<(PathBuf, File)>> {
        let mut found = Vec::new();
        for kept in self.files()? {
            if kept.finished {
                continue;
            }
            let file = OpenOptions::new().read(true).write(true).open(&kept.path)?;
            match file.try_lock() {
                Ok(()) => found.push((kept.path, file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// The name of a file that is still being written.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    name.into()
}

/// Gives a file that was being written the name of a finished one, and puts that on the disk. No other file is written
/// over: one of this name was not made here.
pub(super) fn finish(open: &Path) -> io::Result<PathBuf> {
    let path = open.with_extension("");
    let (folder, stem) = (
        path.parent(),
        path.file_stem().and_then(|stem| stem.to_str()),
    );
    let (Some(folder), Some(stem)) = (folder, stem) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Without the number of a second file of the same second.
    let stem = stem.rsplit_once('-').map_or(
        stem,
        |(first, _)| if first.ends_with('Z') { first } else { stem },
    );
    let free = std::iter::once(path.clone())
        .chain(names(folder, stem))
        .find(|path| !path.exists())
        .ok_or_else(|| taken(stem))?;
    fs::rename(open, &free)?;
    sync_folder(folder);
    Ok(free)
}

/// Puts a file aside of which not all can be read. Its name is that of the file it was going to be.
pub(super) fn put_aside(open: &Path) -> io::Result<PathBuf> {
    let mut name = open.with_extension("").into_os_string();
    name.push(".");
    name.push(DAMAGED);
    let path = PathBuf::from(name);
    fs::rename(open, &path)?;
    Ok(path)
}

/// The names that a file of this stem may have.
fn names(folder: &Path, stem: &str) -> impl Iterator<Item = PathBuf> {
    (1..=SAME_SECOND_MAX).map(move |number| {
        folder.join(match number {
            1 => format!("{stem}.{EXTENSION}"),
            _ => format!("{stem}-{number}.{EXTENSION}"),
        })
    })
}

fn taken(stem: &str) -> io::Error {
    let text = format!("{stem}: {SAME_SECOND_MAX} files of this name are there already");
    io::Error::new(io::ErrorKind::AlreadyExists, text)
}

/// Puts the names of a folder on the disk. Some file systems have no such thing.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// Which files have to go, given what is free on the disk; whether there is room for more then. One without an index
/// goes for its age only, which one that is being written never has; and none goes for the disk's sake where all
/// together are not enough: then it is something else that fills the disk.
pub(super) fn surplus(
    files: &[Kept],
    bounds: &Bounds,
    now: Duration,
    free_bytes: u64,
) -> (Vec<PathBuf>, bool) {
    let mut all_bytes: u64 = files.iter().map(|kept| kept.bytes).sum();
    let mut free_bytes = free_bytes;
    let finished = files.iter().filter(|kept| kept.finished);
    let all_finished: u64 = finished.map(|kept| kept.bytes).sum();
    let helps = free_bytes + all_finished >= bounds.free_bytes;
    let mut gone = Vec::new();
    for kept in files {
        // A file from the future, as after the clock was set back, is not old.
        let old = now.saturating_sub(kept.written) > bounds.keep;
        let small = all_bytes > bounds.keep_bytes || (helps && free_bytes < bounds.free_bytes);
        if old || (kept.finished && small) {
            gone.push(kept.path.clone());
            all_bytes -= kept.bytes;
            free_bytes += kept.bytes;
        }
    }
    (gone, free_bytes >= bounds.free_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn bounds() -> Bounds {
        Bounds {
            file: DAY,
            file_bytes: 1_000,
            keep_bytes: 4_000,
            keep: 7 * DAY,
            free_bytes: 500,
        }
    }

    fn kept(name: &str, bytes: u64, written: Duration) -> Kept {
        Kept {
            path: name.into(),
            bytes,
            written,
            finished: !name.ends_with(UNFINISHED),
        }
    }

    #[test]
    fn only_files_of_the_camera_are_its_files() {
        let shelf = Shelf::new(Path::new("/a"), "front");
        for (name, own) in [
            ("poised_front_20260921T145640Z.mcap", Some(true)),
            ("poised_front_20260921T145640Z-12.mcap", Some(true)),
            ("poised_front_20260921T145640Z.mcap.part", Some(false)),
            ("poised_front_20260921T145640Z.mcap.damaged", Some(true)),
            ("poised_side_20260921T145640Z.mcap", None),
            ("poised_front_left_20260921T145640Z.mcap", None),
            ("poised_front_20260921T145640Z.poses", None),
            ("poised_front_20260921T145640Z.mcap.old", None),
            ("poised_front_20260921T145640Z-.mcap", None),
            ("poised_front_2026-09-21.mcap", None),
            ("holiday.mcap", None),
        ] {
            assert_eq!(shelf.is_own(name), own, "{name}");
        }
    }

    #[test]
    fn the_oldest_go_until_size_age_and_disk_are_as_wanted() {
        let now = 100 * DAY;
        let files = [
            kept("a", 1_000, 91 * DAY),
            kept("b", 1_000, 94 * DAY),
            kept("c", 1_000, 95 * DAY),
            kept("d.part", 1_000, now),
        ];
        let names = |found: (Vec<PathBuf>, bool)| {
            let names: Vec<String> = found
                .0
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            (names.join(" "), found.1)
        };
        // Age alone.
        assert_eq!(
            names(surplus(&files, &bounds(), now, 500)),
            ("a".into(), true)
        );
        // Size.
        let small = Bounds {
            keep_bytes: 2_500,
            ..bounds()
        };
        assert_eq!(
            names(surplus(&files, &small, now, 500)),
            ("a b".into(), true)
        );
        // Disk: never what is being written.
        let greedy = Bounds {
            free_bytes: 2_500,
            ..bounds()
        };
        assert_eq!(
            names(surplus(&files, &greedy, now, 400)),
            ("a b c".into(), true)
        );
        let full = Bounds {
            free_bytes: 9_000,
            ..bounds()
        };
        // Not all of them would be enough: they stay, but for the old one.
        assert_eq!(names(surplus(&files, &full, now, 0)), ("a".into(), false));
        // One that could never be repaired goes with its age as well.
        let left = [
            kept("e.part", 1_000, 92 * DAY),
            kept("f.part", 1_000, 94 * DAY),
        ];
        assert_eq!(
            names(surplus(&left, &small, now, 500)),
            ("e.part".into(), true)
        );
    }

    #[test]
    fn a_clock_that_was_set_back_removes_nothing() {
        let files = [kept("a", 1, 90 * DAY), kept("b", 1, 200 * DAY)];
        let (gone, room) = surplus(&files, &bounds(), 91 * DAY, 500);
        assert!(gone.is_empty() && room);
        let (gone, _) = surplus(&files, &bounds(), Duration::ZERO, 500);
        assert!(gone.is_empty());
    }

    #[test]
    fn names_of_one_second_are_told_apart_and_a_finished_file_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(&folder.path().join("a/b"), "front");
        let made: Vec<_> = (0..5).map(|_| shelf.create().unwrap()).collect();
        assert_eq!(shelf.files().unwrap().len(), 5);
        assert!(
            shelf.left_behind().unwrap().is_empty(),
            "all are being written"
        );
        // A file of that name was made by others, and stays.
        let theirs = made[2].0.with_extension("");
        fs::write(&theirs, "theirs").unwrap();
        let finished = finish(&made[2].0).unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
        assert_ne!(finished, theirs);
        fs::remove_file(&theirs).unwrap();
        assert_eq!(finished.extension().unwrap(), EXTENSION);
        let files = shelf.files().unwrap();
        assert_eq!(files.iter().filter(|kept| kept.finished).count(), 1);
        drop(made);
        assert_eq!(shelf.left_behind().unwrap().len(), 4);
    }
}
