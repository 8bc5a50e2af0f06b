//! `[record]`: where recordings go, and how much of them is kept.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::base::config::{ConfigError, check, check_folder, optional_path};

/// Bytes of a megabyte, as disks are sold.
const MB: u64 = 1_000_000;

/// Most megabytes of a bound: 100 TB.
const MB_MAX: u64 = 100_000_000;

/// A file ends at this size at the latest, in bytes: what a reader has to load, and what a repair has to write again.
const FILE_BYTES_MAX: u64 = 256 * MB;

/// At least so many files have room within `keep_mb`, so that removing the oldest one leaves most of them.
const FILES_MIN: u64 = 4;

/// `[record]`: what is published, in files on this machine. Off unless `folder` is given.
///
/// ```toml
/// [record]
/// folder = "/var/lib/poised/recordings"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveConfig {
    /// Folder of the files; made where it is missing. Default: none, nothing is recorded.
    #[serde(deserialize_with = "optional_path")]
    pub folder: Option<PathBuf>,
    /// A new file begins so often, in seconds, 10 to 86400. Default 600.
    pub rotate_s: u32,
    /// All files of the camera together, in megabytes, 4 to 100000000; the oldest are removed. Default 4000.
    pub keep_mb: u64,
    /// How long a file is kept, in days, 1 to 36500. Default 7.
    pub keep_days: u32,
    /// What stays free on the disk, in megabytes, 0 to 100000000: the oldest files are removed for it, and where that
    /// is not enough nothing is recorded. Default 1000.
    pub free_mb: u64,
    /// Whether messages for ROS 2 are in the files beside the recorded ones, so that Foxglove and rerun show them.
    /// They are two thirds of the size, and `poised export` makes them later. Default true.
    pub ros_messages: bool,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            folder: None,
            rotate_s: 600,
            keep_mb: 4_000,
            keep_days: 7,
            free_mb: 1_000,
            ros_messages: true,
        }
    }
}

impl ArchiveConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let want = "a folder, or no key at all for no recordings";
        check_folder("record.folder", self.folder.as_deref(), want)?;
        check("record.rotate_s", self.rotate_s, 10, 86_400)?;
        check("record.keep_mb", self.keep_mb, 4, MB_MAX)?;
        check("record.keep_days", self.keep_days, 1, 36_500)?;
        check("record.free_mb", self.free_mb, 0, MB_MAX)
    }

    /// The bounds in the units of the system.
    pub(super) fn bounds(&self) -> Bounds {
        let keep_bytes = self.keep_mb * MB;
        Bounds {
            file: Duration::from_secs(self.rotate_s.into()),
            file_bytes: (keep_bytes / FILES_MIN).min(FILE_BYTES_MAX),
            keep_bytes,
            keep: Duration::from_secs(86_400 * u64::from(self.keep_days)),
            free_bytes: self.free_mb * MB,
        }
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Longest time of a file.
    pub(super) file: Duration,
    /// Size at which a file ends.
    pub(super) file_bytes: u64,
    /// Size of all files.
    pub(super) keep_bytes: u64,
    /// Age at which a file is removed.
    pub(super) keep: Duration,
    /// What stays free on the disk.
    pub(super) free_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_off_by_default_and_a_value_that_does_not_fit_is_named() {
        let read = |text: &str| {
            let config: ArchiveConfig = toml::from_str(text).map_err(|error| error.to_string())?;
            config.validate().map_err(|error| error.to_string())?;
            Ok::<_, String>(config)
        };
        assert_eq!(read("").unwrap().folder, None);
        for (text, part) in [
            ("folder = \"\"", "record.folder = \"\""),
            (
                "rotate_s = 9",
                "record.rotate_s = 9: must be from 10 to 86400",
            ),
            ("keep_mb = 3", "record.keep_mb = 3"),
            ("keep_days = 0", "record.keep_days = 0"),
            ("free_mb = 100000001", "record.free_mb"),
            ("file = \"a\"", "file"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let bounds = read("keep_mb = 4").unwrap().bounds();
        assert_eq!(bounds.file_bytes, MB);
    }
}
