//! Exit codes, as sysexits(3) numbers them, so that a service manager can tell a
//! wrong configuration (do not try again) from a lost device (do).

use std::error::Error;
use std::fmt::Write;
use std::io;

use poised::adapt::state::StateError;
use poised::base::config::ConfigError;
use poised::base::tensors::TensorError;
use poised::camera::CalibrationError;
use poised::camera::calibrate::{BoardError, CalibrateError};
use poised::capture::{CaptureError, OpenError, Severity};
use poised::engine::cache::Unusable;
use poised::engine::models::{InstallError, ModelError};
use poised::engine::{EngineError, InferError, relay};
use poised::error::StartError;
use poised::lab::dictionary::BuildError;
use poised::lab::eval::clips::ClipsError;
use poised::lab::eval::motion::MotionError;
use poised::lab::eval::recordings::RecordingsError;
use poised::lift::head::HeadError;
use poised::lift::model::LiftModelError;
use poised::motion::SemanticsError;
use poised::motion::clip::ClipError;
use poised::motion::complete::CompletionError;
use poised::motion::denoiser::DenoiserError;
use poised::motion::dictionary::DictionaryError;
use poised::motion::encoder::EncoderError;
use poised::motion::exercise::teach::TeachError;
use poised::motion::hint::HintError;
use poised::output::export::ExportError;
use poised::output::record::RecordError;
use poised::output::wire::WireError;
use poised::output::zenoh::ZenohText;
use poised::output::{
    ArchiveError, FoxgloveError, MqttError, RosError, SessionError, SessionsError, WebError,
};

use super::output::OutputError;
use super::print::StdoutError;

/// Wrong arguments.
pub const USAGE: u8 = 64;
/// A recording breaks off: what was read before is reported.
pub const BROKEN_OFF: u8 = 65;
/// A model, a calibration or an input is missing or does not fit.
pub const NO_INPUT: u8 = 66;
/// A device or a network camera is lost.
pub const UNAVAILABLE: u8 = 69;
/// Our own mistake.
pub const SOFTWARE: u8 = 70;
/// An output must not or cannot be made.
pub const NO_OUTPUT: u8 = 73;
/// Reading or writing failed half-way.
pub const IO: u8 = 74;
/// Wrong configuration.
pub const CONFIG: u8 = 78;
/// The reader of standard output went away: 128 and the number of SIGPIPE, as a shell has it.
pub const READER_LEFT: u8 = 141;

/// What the manual says of each.
pub const TABLE: [(u8, &str); 11] = [
    (0, "done"),
    (USAGE, "wrong arguments"),
    (
        BROKEN_OFF,
        "a recording is truncated: what was read before is reported",
    ),
    (
        NO_INPUT,
        "an input, a network, a calibration or a dictionary is missing or does not fit",
    ),
    (
        UNAVAILABLE,
        "a camera, an engine, ffmpeg, Zenoh or an address is unavailable, or a live stream is lost",
    ),
    (SOFTWARE, "an internal error: please report it"),
    (
        NO_OUTPUT,
        "an output exists, is an input, or cannot be created",
    ),
    (IO, "reading or writing failed, as on a full disk"),
    (CONFIG, "the configuration is wrong"),
    (INTERRUPTED, "ended by Ctrl-C or SIGTERM before its time"),
    (
        READER_LEFT,
        "the reader of standard output went away, as with `| head`",
    ),
];

/// The table as the manual and `--help` show it.
pub fn manual() -> String {
    let mut text = "Exit status:\n".to_owned();
    for (code, meaning) in TABLE {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {code:>3}  {meaning}");
    }
    text
}

/// Arguments that clap takes and the command does not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub &'static str);

/// What was asked for is not in the input.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NothingFits(pub String);

/// A part of the machine or of the network is missing or fails.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Ended by Ctrl-C or SIGTERM before its time, as shells number it.
pub const INTERRUPTED: u8 = 130;

/// A command was asked to end before its time. What it had done until then is complete.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// The exit code for an error: that of the first cause whose kind is known.
pub fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(of).unwrap_or(SOFTWARE)
}

/// The exit code of one cause. Every error type of the program is here, which a test sees to.
fn of(cause: &(dyn Error + 'static)) -> Option<u8> {
    // Those whose variants differ.
    if let Some(error) = cause.downcast_ref::<ConfigError>() {
        return Some(match error {
            ConfigError::Read { .. } => NO_INPUT,
            _ => CONFIG,
        });
    }
    if let Some(error) = cause.downcast_ref::<CaptureError>() {
        return Some(match error.severity() {
            Severity::End => BROKEN_OFF,
            _ => UNAVAILABLE,
        });
    }
    if let Some(error) = cause.downcast_ref::<StartError>() {
        return Some(error.exit_code());
    }
    if let Some(error) = cause.downcast_ref::<EngineError>() {
        return Some(match error {
            EngineError::NotBuilt { .. } => CONFIG,
            _ => UNAVAILABLE,
        });
    }
    if let Some(error) = cause.downcast_ref::<DictionaryError>() {
        return Some(match error {
            DictionaryError::File {
                what: "written",
                source,
                ..
            } => written(source),
            _ => NO_INPUT,
        });
    }
    if let Some(error) = cause.downcast_ref::<BuildError>() {
        return match error {
            BuildError::Dictionary(error) => of(error),
            _ => Some(NO_INPUT),
        };
    }
    if let Some(error) = cause.downcast_ref::<StateError>() {
        return Some(match error {
            StateError::File {
                what: "written",
                source,
                ..
            } => written(source),
            _ => NO_INPUT,
        });
    }
    if let Some(error) = cause.downcast_ref::<OutputError>() {
        return Some(match error {
            OutputError::Unwritable { source, .. } => written(source),
            _ => NO_OUTPUT,
        });
    }
    if let Some(error) = cause.downcast_ref::<InstallError>() {
        return Some(error.exit_code());
    }
    if let Some(error) = cause.downcast_ref::<StdoutError>() {
        return Some(if error.reader_left() { READER_LEFT } else { IO });
    }
    if let Some(error) = cause.downcast_ref::<serde_json::Error>() {
        return Some(if error.is_io() { IO } else { SOFTWARE });
    }
    of_recording(cause).or_else(|| of_type(cause))
}

/// The exit code of a cause that has to do with recordings.
fn of_recording(cause: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<RecordError>() {
        return Some(match error {
            RecordError::Write { source, .. } => written(source),
            _ => NO_INPUT,
        });
    }
    if let Some(error) = cause.downcast_ref::<ExportError>() {
        return match error {
            ExportError::Read(error) => of(error),
            ExportError::Write(error) => Some(written(error)),
            _ => Some(NO_INPUT),
        };
    }
    if let Some(error) = cause.downcast_ref::<RecordingsError>() {
        return match error {
            RecordingsError::Camera(error) => of(error),
            RecordingsError::Record(error) => of(error),
            _ => Some(NO_INPUT),
        };
    }
    None
}

/// The exit code of a cause whose type alone says it.
fn of_type(cause: &(dyn Error + 'static)) -> Option<u8> {
    let is = |code: u8, found: bool| found.then_some(code);
    is(USAGE, cause.is::<UsageError>() || cause.is::<BoardError>())
        .or_else(|| is(INTERRUPTED, cause.is::<Interrupted>()))
        .or_else(|| {
            is(
                NO_INPUT,
                cause.is::<CalibrateError>()
                    || cause.is::<CalibrationError>()
                    || cause.is::<ClipError>()
                    || cause.is::<ClipsError>()
                    || cause.is::<CompletionError>()
                    || cause.is::<DenoiserError>()
                    || cause.is::<EncoderError>()
                    || cause.is::<HeadError>()
                    || cause.is::<HintError>()
                    || cause.is::<LiftModelError>()
                    || cause.is::<ModelError>()
                    || cause.is::<MotionError>()
                    || cause.is::<NothingFits>()
                    || cause.is::<SemanticsError>()
                    || cause.is::<TeachError>()
                    || cause.is::<TensorError>()
                    || cause.is::<Unusable>()
                    || cause.is::<WireError>(),
            )
        })
        .or_else(|| {
            is(
                UNAVAILABLE,
                cause.is::<OpenError>()
                    || cause.is::<SessionError>()
                    || cause.is::<FoxgloveError>()
                    || cause.is::<WebError>()
                    || cause.is::<ZenohText>()
                    || cause.is::<relay::BuildError>()
                    || cause.is::<Unavailable>(),
            )
        })
        .or_else(|| {
            is(
                SOFTWARE,
                cause.is::<InferError>()
                    || cause.is::<RosError>()
                    || cause.is::<MqttError>()
                    || cause.is::<ArchiveError>()
                    || cause.is::<SessionsError>(),
            )
        })
        .or_else(|| is(IO, cause.is::<io::Error>()))
}

/// The exit code for a file that was not written: whether it could not be made, or broke off.
pub fn written(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::ReadOnlyFilesystem => NO_OUTPUT,
        _ => IO,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Names of the error types in the sources.
    fn error_types(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                error_types(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines: Vec<&str> = text.lines().map(str::trim).collect();
                for (at, line) in lines.iter().enumerate() {
                    if line.starts_with("#[derive(") && line.contains("thiserror::Error") {
                        let name = lines[at..].iter().find_map(|line| {
                            let words: Vec<&str> = line.split([' ', '(', '{', ';']).collect();
                            let at = words.iter().position(|w| ["enum", "struct"].contains(w))?;
                            Some(words[at + 1].to_owned())
                        });
                        found.push(name.unwrap());
                    }
                    if let Some(name) = line.strip_prefix("impl std::error::Error for ") {
                        found.push(name.trim_end_matches([' ', '{', '}']).to_owned());
                    }
                }
            }
        }
    }

    #[test]
    fn every_error_type_of_the_program_has_its_code() {
        let mut found = Vec::new();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        error_types(&sources, &mut found);
        assert!(found.len() > 25, "{found:?}");
        let own = include_str!("exit.rs");
        let (_, mapping) = own.split_once("fn of(cause").unwrap();
        let (mapping, _) = mapping.split_once("#[cfg(test)]").unwrap();
        for name in found {
            let (plain, path) = (format!("<{name}>"), format!("::{name}>"));
            assert!(
                mapping.contains(&plain) || mapping.contains(&path),
                "{name} has no exit code"
            );
        }
    }

    #[test]
    fn whether_a_file_could_not_be_made_or_broke_off_are_two_codes() {
        let failed = |kind: io::ErrorKind| RecordError::Write {
            path: "a".into(),
            source: kind.into(),
        };
        for (kind, want) in [
            (io::ErrorKind::PermissionDenied, NO_OUTPUT),
            (io::ErrorKind::ReadOnlyFilesystem, NO_OUTPUT),
            (io::ErrorKind::StorageFull, IO),
            (io::ErrorKind::QuotaExceeded, IO),
        ] {
            assert_eq!(code(&failed(kind).into()), want, "{kind:?}");
            let wrapped = anyhow::Error::from(failed(kind)).context("while it rained");
            assert_eq!(code(&wrapped), want, "{kind:?}");
            let deep = RecordingsError::Record(failed(kind));
            assert_eq!(code(&deep.into()), want, "{kind:?}");
        }
    }

    #[test]
    fn the_manual_has_each_code_once() {
        let text = manual();
        let mut codes = TABLE.map(|(code, _)| code).to_vec();
        codes.dedup();
        assert!(codes.is_sorted() && codes.len() == TABLE.len());
        for (code, meaning) in TABLE {
            assert!(text.contains(&format!("{code:>3}  {meaning}\n")), "{text}");
        }
    }
}
