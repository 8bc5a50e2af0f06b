//! The ffmpeg process: how it is started, and that it never outlives us.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use super::super::open::OpenError;

/// A running ffmpeg: pictures on one pipe, lines on the other.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    /// RGB, one frame after the other.
    pub(super) picture: ChildStdout,
    /// Whether `picture` has not come to its end.
    pub(super) picture_open: bool,
    /// Log and `showinfo` lines.
    pub(super) lines: ChildStderr,
    /// Whether `lines` has not come to its end.
    pub(super) lines_open: bool,
}

impl Child {
    /// Starts ffmpeg on `input`, with `before` as the options of the input.
    /// `shrink` scales pictures that are larger than we accept.
    pub(super) fn start(
        program: &str,
        before: &[OsString],
        input: &OsStr,
        shrink: Option<f64>,
    ) -> Result<Self, OpenError> {
        let version = version_of(program)?;
        let mut filter = String::new();
        if let Some(factor) = shrink {
            filter = format!("scale=trunc(iw*{factor}/2)*2:trunc(ih*{factor}/2)*2,");
        }
        filter.push_str("showinfo=checksum=0");
        let mut command = Command::new(program);
        command
            .args(["-hide_banner", "-nostdin", "-nostats"])
            .args(["-loglevel", "repeat+level+info"])
            .args(before)
            .arg("-i")
            .arg(input)
            // A cover picture in a sound file is no video: hence a large V.
            .args(["-map", "0:V:0", "-vf", &filter])
            .args(passthrough(version))
            .args(["-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for us; we end ffmpeg ourselves.
            .process_group(0);
        let mut process = command
            .spawn()
            .map_err(|error| not_started(program, error))?;
        let (Some(picture), Some(lines)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(not_started(
                program,
                io::Error::other("no pipe to its output"),
            ));
        };
        Ok(Self {
            process,
            picture,
            picture_open: true,
            lines,
            lines_open: true,
        })
    }

    /// The exit status, once both pipes are at their end; that is when the
    /// process leaves, so this does not wait long. `None` if it was lost.
    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
        self.process.wait().ok()
    }

    /// The process number, to see in tests that nothing is left of it.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only where the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Frames leave as they come, none doubled or dropped to even out the rate. The
/// option has another name since 5.1, and the older name is gone in later ones.
const fn passthrough(version: Option<(u32, u32)>) -> [&'static str; 2] {
    match version {
        Some((major, minor)) if major < 5 || (major == 5 && minor < 1) => ["-vsync", "passthrough"],
        _ => ["-fps_mode", "passthrough"],
    }
}

/// Version of the program; `None` for one built from a working copy, which is recent.
fn version_of(program: &str) -> Result<Option<(u32, u32)>, OpenError> {
    let output = Command::new(program)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(program, error))?;
    Ok(parse_version(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text
        .strip_prefix("ffmpeg version ")?
        .trim_start_matches('n');
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The error of a program that cannot be started.
pub(super) fn not_started(program: &str, error: io::Error) -> OpenError {
    if error.kind() == io::ErrorKind::NotFound {
        OpenError::NoProgram {
            program: program.to_owned(),
        }
    } else {
        OpenError::Program {
            program: program.to_owned(),
            source: error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_fits_the_version() {
        for (text, version, option) in [
            (
                "ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright",
                Some((4, 4)),
                "-vsync",
            ),
            ("ffmpeg version 5.0.1 Copyright", Some((5, 0)), "-vsync"),
            (
                "ffmpeg version 5.1.9-0+deb12u1 Copyright",
                Some((5, 1)),
                "-fps_mode",
            ),
            ("ffmpeg version n7.1 Copyright", Some((7, 1)), "-fps_mode"),
            (
                "ffmpeg version N-12345-gabcdef Copyright",
                None,
                "-fps_mode",
            ),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
            assert_eq!(passthrough(version)[0], option);
        }
    }
}
