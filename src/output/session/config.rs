//! `[session]`: whether a kiosk may start sessions, how long they may be, and what is kept of them.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::base::config::{ConfigError, check, check_folder, optional_path};
use crate::motion::session::MINUTES_MAX;

/// Bytes of a megabyte, as disks are sold.
const MB: u64 = 1_000_000;

/// Least room for what is kept, megabytes: the longest session of everybody in view fits.
const KEEP_MB_MIN: u64 = 20;

/// Most megabytes of a bound: 1 TB.
const KEEP_MB_MAX: u64 = 1_000_000;

/// `[session]`: sessions that a kiosk starts and stops. Off by default.
///
/// ```toml
/// [session]
/// enabled = true
/// max_minutes = 15
/// # folder = "/var/lib/poised/sessions"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsConfig {
    /// Whether `/session` is answered. Default false.
    pub enabled: bool,
    /// A session ends by itself after so many minutes, 1 to 30. Default 15.
    pub max_minutes: u32,
    /// Folder for summaries; made where it is missing. Default: none, nothing is kept on the device.
    #[serde(deserialize_with = "optional_path")]
    pub folder: Option<PathBuf>,
    /// Sessions kept there at most, 1 to 100000; the oldest are removed. Default 1000.
    pub keep_sessions: u32,
    /// All of them together, in megabytes, 20 to 1000000. Default 500.
    pub keep_mb: u64,
    /// How long one is kept, in days, 1 to 36500. Default 30.
    pub keep_days: u32,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            max_minutes: 15,
            folder: None,
            keep_sessions: 1_000,
            keep_mb: 500,
            keep_days: 30,
        }
    }
}

impl SessionsConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let want = "a folder, or no key at all for nothing kept";
        check_folder("session.folder", self.folder.as_deref(), want)?;
        check("session.max_minutes", self.max_minutes, 1, MINUTES_MAX)?;
        check("session.keep_sessions", self.keep_sessions, 1, 100_000)?;
        check("session.keep_mb", self.keep_mb, KEEP_MB_MIN, KEEP_MB_MAX)?;
        check("session.keep_days", self.keep_days, 1, 36_500)
    }

    /// The longest time of a session.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.max_minutes))
    }

    /// What is kept, in the units of the system.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            sessions: usize::try_from(self.keep_sessions).unwrap_or(usize::MAX),
            bytes: self.keep_mb * MB,
            age: Duration::from_secs(86_400 * u64::from(self.keep_days)),
        }
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Number of sessions.
    pub sessions: usize,
    /// Size of all files.
    pub bytes: u64,
    /// Age at which a session is removed.
    pub age: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_off_by_default_and_a_value_that_does_not_fit_is_named() {
        let read = |text: &str| {
            let config: SessionsConfig = toml::from_str(text).map_err(|error| error.to_string())?;
            config.validate().map_err(|error| error.to_string())?;
            Ok::<_, String>(config)
        };
        let default = read("").unwrap();
        assert!(!default.enabled && default.folder.is_none());
        for (text, part) in [
            ("folder = \"\"", "session.folder = \"\""),
            (
                "max_minutes = 31",
                "session.max_minutes = 31: must be from 1 to 30",
            ),
            ("max_minutes = 0", "session.max_minutes = 0"),
            ("keep_sessions = 0", "session.keep_sessions = 0"),
            ("keep_mb = 19", "session.keep_mb = 19"),
            ("keep_days = 36501", "session.keep_days"),
            ("control = true", "control"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
