//! The folder of summaries, where the configuration asks for one: two files a session, within its bounds.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Rendered;
use super::config::Bounds;
use crate::base::clock::{Utc, unix_ns};
use crate::base::file;

/// Most sessions that begin in the same second by the wall clock, as after it was set back.
const SAME_SECOND_MAX: u32 = 100;

/// Who may read a summary, which is personal data: the service and its group.
const FILE_MODE: u32 = 0o640;

/// The same of a folder that is made.
const FOLDER_MODE: u32 = 0o750;

/// How the two files of a session end.
const ENDINGS: [&str; 2] = ["json", "html"];

/// How a file ends that is being written; one that a power cut left is removed with its age.
const UNFINISHED: &str = "part";

/// The files of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kept {
    files: Vec<PathBuf>,
    bytes: u64,
    /// When the newest of them was written, since 1970.
    written: Duration,
}

/// The summaries of a camera in a folder.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    folder: PathBuf,
    /// What the names of its files begin with.
    prefix: String,
    bounds: Bounds,
}

impl Keep {
    pub fn new(folder: &Path, camera: &str, bounds: Bounds) -> Self {
        Self {
            folder: folder.to_owned(),
            prefix: format!("session_{camera}_"),
            bounds,
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the two files of a session that began at `unix_s`, removes what is too much then, and gives the name
    /// of the JSON.
    ///
    /// # Errors
    ///
    /// The folder or a file cannot be written, or the session alone is larger than the bound. Nothing of it is kept then.
    pub fn store(&self, unix_s: u64, rendered: &Rendered) -> io::Result<PathBuf> {
        let texts = [&rendered.json, &rendered.html];
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        if bytes as u64 > self.bounds.bytes {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{bytes} bytes are more than session.keep_mb allows"),
            ));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&self.folder)?;
        self.remove_surplus(Some(bytes as u64))?;
        let stem = format!("{}{}", self.prefix, Utc::of(unix_s).compact());
        let paths = self.free_names(&stem)?;
        for (path, text) in paths.iter().zip(texts) {
            if let Err(error) = write(path, text.as_bytes()) {
                // The kiosk is told that the session is not kept.
                for written in &paths {
                    let _ = fs::remove_file(written);
                }
                return Err(error);
            }
        }
        // Some file systems have no such thing.
        let _ = fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
        let [json, _] = paths;
        Ok(json)
    }

    /// Removes what is too old or too much, with room for a session of `more` bytes that is about to come. A folder that
    /// does not exist has nothing to remove.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or a file cannot be removed.
    pub fn remove_surplus(&self, more: Option<u64>) -> io::Result<()> {
        let kept = match self.sessions() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            kept => kept?,
        };
        let now = Duration::from_nanos(unix_ns());
        for kept in surplus(&kept, &self.bounds, now, more) {
            for file in &kept.files {
                match fs::remove_file(file) {
                    Ok(()) => log::info!(
                        "session: {} removed: session.keep_sessions, keep_mb, keep_days",
                        file.display()
                    ),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The sessions in the folder, oldest first. What has another name is none of them.
    fn sessions(&self) -> io::Result<Vec<Kept>> {
        let mut found = BTreeMap::<String, Kept>::new();
        for listed in file::list(&self.folder, |name| self.stem(name).map(str::to_owned))? {
            let kept = found.entry(listed.name).or_default();
            kept.files.push(listed.path);
            kept.bytes += listed.bytes;
            kept.written = kept.written.max(listed.written);
        }
        let mut kept: Vec<Kept> = found.into_values().collect();
        kept.sort_by(|a, b| (a.written, &a.files).cmp(&(b.written, &b.files)));
        Ok(kept)
    }

    /// The stem of a file of this camera: its name without the ending.
    fn stem<'n>(&self, name: &'n str) -> Option<&'n str> {
        let whole = name.strip_suffix(&format!(".{UNFINISHED}")).unwrap_or(name);
        let without = |ending: &&str| whole.strip_suffix(&format!(".{ending}"));
        let stem = ENDINGS.iter().find_map(without)?;
        let rest = stem.strip_prefix(&self.prefix)?;
        let (stamp, number) = rest.split_once('-').unwrap_or((rest, "1"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
        let fits = date.len() == 8 && time.len() == 6 && digits(date) && digits(time);
        (fits && digits(number)).then_some(stem)
    }

    /// Names of which neither exists.
    fn free_names(&self, stem: &str) -> io::Result<[PathBuf; 2]> {
        (1..=SAME_SECOND_MAX)
            .map(|number| match number {
                1 => stem.to_owned(),
                _ => format!("{stem}-{number}"),
            })
            .map(|stem| ENDINGS.map(|ending| self.folder.join(format!("{stem}.{ending}"))))
            .find(|paths| paths.iter().all(|path| !path.exists()))
            .ok_or_else(|| {
                let text = format!("{stem}: {SAME_SECOND_MAX} sessions of this name are kept");
                io::Error::new(io::ErrorKind::AlreadyExists, text)
            })
    }
}

/// Writes a file that has its name only once it is whole and on the disk.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".");
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let written = options
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&unfinished)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // Half a file is of no use, and would take room on a full disk.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Which sessions have to go: those that are too old, and the oldest until number and size are as wanted.
fn surplus<'k>(
    kept: &'k [Kept],
    bounds: &Bounds,
    now: Duration,
    more: Option<u64>,
) -> Vec<&'k Kept> {
    let mut bytes = kept.iter().map(|kept| kept.bytes).sum::<u64>() + more.unwrap_or_default();
    let mut count = kept.len() + usize::from(more.is_some());
    let mut gone = Vec::new();
    for one in kept {
        // One from the future, as after the clock was set back, is not old.
        let old = now.saturating_sub(one.written) > bounds.age;
        if old || count > bounds.sessions || bytes > bounds.bytes {
            gone.push(one);
            bytes -= one.bytes;
            count -= 1;
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn bounds() -> Bounds {
        Bounds {
            sessions: 3,
            bytes: 1_000,
            age: 7 * DAY,
        }
    }

    fn rendered(bytes: usize) -> Rendered {
        Rendered {
            json: "j".repeat(bytes / 2),
            html: "h".repeat(bytes - bytes / 2),
        }
    }

    #[test]
    fn the_oldest_go_until_number_size_and_age_are_as_wanted() {
        let now = 100 * DAY;
        let kept: Vec<Kept> = [(91, 100), (94, 300), (95, 300)]
            .iter()
            .map(|(day, bytes)| Kept {
                files: vec![format!("{day}").into()],
                bytes: *bytes,
                written: *day * DAY,
            })
            .collect();
        let gone = |bounds: &Bounds, more| -> Vec<String> {
            let gone = surplus(&kept, bounds, now, more);
            gone.iter()
                .map(|kept| kept.files[0].display().to_string())
                .collect()
        };
        assert_eq!(gone(&bounds(), None), ["91"], "age");
        let long = Bounds {
            age: 100 * DAY,
            ..bounds()
        };
        assert!(gone(&long, None).is_empty());
        assert_eq!(gone(&long, Some(10)), ["91"], "number");
        assert_eq!(gone(&long, Some(500)), ["91", "94"], "size");
        // A clock that was set back removes nothing.
        assert!(surplus(&kept, &bounds(), Duration::ZERO, None).is_empty());
    }

    #[test]
    fn sessions_are_stored_by_pairs_for_the_group_only_and_others_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b");
        let keep = Keep::new(&folder, "front", bounds());
        keep.remove_surplus(None).unwrap();
        let first = keep.store(1_790_005_000, &rendered(100)).unwrap();
        assert_eq!(
            first.file_name().unwrap(),
            "session_front_20260921T153640Z.json"
        );
        for path in [&first, &first.with_extension("html")] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, FILE_MODE, "{path:?}");
        }
        let theirs = folder.join("session_side_20260921T153640Z.json");
        fs::write(&theirs, "theirs").unwrap();
        // The same second, as after the clock was set back.
        let second = keep.store(1_790_005_000, &rendered(100)).unwrap();
        assert!(second.to_string_lossy().ends_with("Z-2.json"));
        for unix_s in 0..10 {
            keep.store(unix_s, &rendered(100)).unwrap();
        }
        assert_eq!(keep.sessions().unwrap().len(), 3);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2 * 3 + 1);
        assert!(theirs.exists());
        let error = keep.store(20, &rendered(2_000)).unwrap_err().to_string();
        assert!(error.contains("session.keep_mb"), "{error}");
        assert_eq!(keep.sessions().unwrap().len(), 3, "nothing went for it");
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_half() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let keep = Keep::new(&file.join("below"), "front", bounds());
        assert!(keep.store(1, &rendered(10)).is_err());
        let keep = Keep::new(folder.path(), "front", bounds());
        for (unix_s, ending) in [(1, "json"), (2, "html")] {
            // A folder in the place of the file that is being written.
            let blocked = format!("session_front_19700101T00000{unix_s}Z.{ending}.part");
            fs::create_dir(folder.path().join(blocked)).unwrap();
            assert!(keep.store(unix_s, &rendered(10)).is_err());
            assert!(keep.sessions().unwrap().is_empty(), "{ending}");
            let entries = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
            let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
            let names: Vec<_> = files.map(|entry| entry.file_name()).collect();
            assert_eq!(names, ["file"], "{ending}");
        }
        assert!(keep.store(3, &rendered(10)).is_ok());
    }
}
