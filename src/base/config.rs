//! Reading TOML files and saying what is wrong with them.
//!
//! Each section of the configuration is a struct in the module it configures,
//! with `validate` beside it.

use std::fmt::Display;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::base::file::read_bounded;
use crate::base::limits::TEXT_FILE_BYTES_MAX;
use crate::base::secret::redacted_lines;

/// What can be wrong with a configuration, calibration, scenario or model description.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any such file can be.
    #[error("{path}: larger than {max_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        max_bytes: u64,
    },
    /// The file does not follow the format; the message names line, key and type.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where, in the parser's words.
        message: String,
    },
    /// A number out of its range.
    #[error("{key} = {value}: must be from {min} to {max}")]
    Range {
        /// The key with its section.
        key: &'static str,
        /// What was given.
        value: String,
        /// Smallest value accepted.
        min: String,
        /// Largest value accepted.
        max: String,
    },
    /// A value that is not one of those accepted.
    #[error("{key} = {value:?}: must be {want}")]
    Value {
        /// The key with its section.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is accepted, in words.
        want: &'static str,
    },
    /// A value that needs something else, which is missing.
    #[error("{key} = {value} needs {what}")]
    Needs {
        /// The key with its section.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is missing, and how to get it.
        what: &'static str,
    },
}

/// Checks that `value` lies in `min..=max`; NaN never does.
///
/// # Errors
///
/// [`ConfigError::Range`] with key, value and range.
#[expect(
    clippy::needless_pass_by_value,
    reason = "called with numbers, and reads best so"
)]
pub fn check<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), ConfigError> {
    if value >= min && value <= max {
        return Ok(());
    }
    Err(ConfigError::Range {
        key,
        value: value.to_string(),
        min: min.to_string(),
        max: max.to_string(),
    })
}

/// Checks the name of a folder, where there is one.
///
/// # Errors
///
/// [`ConfigError::Value`] with `want`, if it is empty: it would be the working directory.
pub fn check_folder(
    key: &'static str,
    folder: Option<&Path>,
    want: &'static str,
) -> Result<(), ConfigError> {
    if folder.is_some_and(|folder| folder.as_os_str().is_empty()) {
        return Err(ConfigError::Value {
            key,
            value: String::new(),
            want,
        });
    }
    Ok(())
}

/// Reads a small text file.
///
/// # Errors
///
/// The file cannot be read, is a pipe, a device or a folder, is not UTF-8 or is larger than [`TEXT_FILE_BYTES_MAX`].
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let read = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let Ok(bytes) = read_bounded(path, TEXT_FILE_BYTES_MAX).map_err(read)? else {
        return Err(too_large(path));
    };
    String::from_utf8(bytes)
        .map_err(|error| read(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// As [`read_text`], of the one file that a person names on the command line: it may be a pipe as well, as in
/// `poised run -c <(...)`, and is waited for as by any other program.
///
/// # Errors
///
/// The file cannot be read, is not UTF-8 or is larger than [`TEXT_FILE_BYTES_MAX`].
pub fn read_text_or_pipe(path: &Path) -> Result<String, ConfigError> {
    let read = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(read)?;
    let mut text = String::new();
    file.take(TEXT_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(read)?;
    if text.len() as u64 > TEXT_FILE_BYTES_MAX {
        return Err(too_large(path));
    }
    Ok(text)
}

fn too_large(path: &Path) -> ConfigError {
    ConfigError::TooLarge {
        path: path.to_owned(),
        max_bytes: TEXT_FILE_BYTES_MAX,
    }
}

/// A path of a configuration: `~`, `$HOME` and `${HOME}` at its beginning are the user's home, as in a shell. For
/// `#[serde(deserialize_with = "path")]`.
///
/// # Errors
///
/// No text, another variable or another user's home at its beginning, or no home is known.
pub fn path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(from)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    expanded(&text, home.as_deref()).map_err(D::Error::custom)
}

/// As [`path`], of a key that may be left out.
///
/// # Errors
///
/// As [`path`].
pub fn optional_path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    path(from).map(Some)
}

/// As [`path`], of a key that takes a path or something else, such as an address.
///
/// # Errors
///
/// As [`path`].
pub fn path_or_text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if !text.starts_with(['~', '$']) {
        return Ok(text);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let path = expanded(&text, home.as_deref()).map_err(D::Error::custom)?;
    path.into_os_string()
        .into_string()
        .map_err(|path| D::Error::custom(format!("{}: is not UTF-8", path.display())))
}

/// As [`path_or_text`], of a key that may be left out.
///
/// # Errors
///
/// As [`path`].
pub fn optional_path_or_text<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    path_or_text(from).map(Some)
}

fn expanded(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let rest = ["~", "$HOME", "${HOME}"].into_iter().find_map(|prefix| {
        let rest = text.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    });
    match rest {
        Some(rest) => {
            let home = home.filter(|home| home.is_absolute()).ok_or_else(|| {
                format!("{text:?}: no home is known, $HOME is not set; write the whole path")
            })?;
            Ok(home.join(rest.trim_start_matches('/')))
        }
        None if text.starts_with(['~', '$']) => Err(format!(
            "{text:?}: of a shell's shortcuts only ~, $HOME and ${{HOME}} at the beginning are known; write the whole path"
        )),
        None => Ok(text.into()),
    }
}

/// Reads a TOML file into a section or a whole file's struct.
///
/// # Errors
///
/// As [`read_text`], and [`ConfigError::Parse`] for an unknown key, a missing
/// key or a value of the wrong type.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse_toml(path, &read_text(path)?)
}

/// As [`read_toml`], of the text that was read from `path`.
///
/// # Errors
///
/// [`ConfigError::Parse`].
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        // The parser quotes the line, which may hold a password.
        message: redacted_lines(error.to_string().trim_end()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_named_with_its_range() {
        let error = check("camera.v4l2.rate_hz", 500, 1, 120).unwrap_err();
        assert_eq!(
            error.to_string(),
            "camera.v4l2.rate_hz = 500: must be from 1 to 120"
        );
        assert!(check("x", f32::NAN, 0.0, 1.0).is_err());
    }

    #[test]
    fn home_is_known_by_its_shortcuts_and_other_shortcuts_are_named() {
        let home = Some(Path::new("/home/kim"));
        for (text, want) in [
            ("~", "/home/kim"),
            ("~/a b", "/home/kim/a b"),
            ("$HOME/a", "/home/kim/a"),
            ("${HOME}//a", "/home/kim/a"),
            ("a/~/$HOME", "a/~/$HOME"),
            ("/a", "/a"),
            ("", ""),
        ] {
            assert_eq!(expanded(text, home), Ok(want.into()), "{text}");
        }
        for text in ["~root/a", "$XDG_CACHE_HOME/a", "$HOMELY", "${HOME", "$"] {
            let error = expanded(text, home).unwrap_err();
            assert!(
                error.contains(text) && error.contains("~, $HOME"),
                "{error}"
            );
        }
        for home in [None, Some(Path::new("")), Some(Path::new("kim"))] {
            assert!(
                expanded("~/a", home)
                    .unwrap_err()
                    .contains("$HOME is not set")
            );
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_text(Path::new("/nowhere/poised.toml")).unwrap_err();
        assert_eq!(error.to_string(), "/nowhere/poised.toml: cannot be read");
    }

    #[test]
    fn a_pipe_is_refused_at_once_unless_it_may_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("model.toml");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [Path::new("/dev/zero"), &pipe, folder.path()] {
            let error = read_text(path).unwrap_err();
            assert!(
                matches!(&error, ConfigError::Read { source, .. }
                    if source.to_string() == "not a regular file"),
                "{error:?}"
            );
        }
        let text = std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&pipe, "[log]\n").unwrap());
            read_text_or_pipe(&pipe).unwrap()
        });
        assert_eq!(text, "[log]\n");
    }

    #[test]
    fn a_text_file_is_bounded_and_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let most = usize::try_from(TEXT_FILE_BYTES_MAX).unwrap();
        for read in [read_text, read_text_or_pipe] {
            std::fs::write(&path, vec![b'#'; most]).unwrap();
            assert_eq!(read(&path).unwrap().len(), most);
            std::fs::write(&path, vec![b'#'; most + 1]).unwrap();
            assert!(matches!(read(&path), Err(ConfigError::TooLarge { .. })));
            std::fs::write(&path, b"a\xFF").unwrap();
            assert!(matches!(read(&path), Err(ConfigError::Read { .. })));
        }
    }
}
