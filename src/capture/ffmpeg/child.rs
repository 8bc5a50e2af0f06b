//! The ffmpeg process: how it is started, and that it never outlives us.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::super::open::{GoesOn, OpenError};
use crate::base::clock::Clock;
use crate::sys::poll::wait_readable;
use crate::sys::process::spawn_bound;

/// How often a wait looks whether to go on.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a program may take to say what it is, or what a file's header holds: a disk may have to spin up.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Most bytes kept of such an answer: headers are a few hundred.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long ffmpeg may take to leave once it has closed its output.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// What ffmpeg is asked to read.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// What follows `-i`.
    Named(OsString),
    /// A script that says what to read, handed over on standard input. What is written there no other user can see, as
    /// they can see arguments.
    Script(String),
}

/// How ffmpeg is run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Options of the input.
    pub(super) before: Vec<OsString>,
    /// What to read.
    pub(super) input: Input,
    /// What happens to the images.
    pub(super) filter: String,
}

/// A running ffmpeg: images on one pipe, lines on the other.
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
    /// Starts ffmpeg.
    pub(super) fn start(program: &str, version: Version, job: &Job) -> Result<Self, OpenError> {
        let mut command = Command::new(program);
        command
            .args(["-hide_banner", "-nostdin", "-nostats"])
            .args(["-loglevel", "repeat+level+info"])
            .args(&job.before)
            .arg("-i");
        match &job.input {
            Input::Named(name) => command.arg(name).stdin(Stdio::null()),
            Input::Script(_) => command.arg("pipe:0").stdin(Stdio::piped()),
        };
        command
            // A cover image in a sound file is no video: hence a large V.
            .args(["-map", "0:V:0", "-vf", &job.filter])
            .args(version.passthrough())
            .args(["-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for us; we end ffmpeg ourselves.
            .process_group(0);
        let mut process = spawn_bound(command).map_err(|error| not_started(program, error))?;
        let (Some(picture), Some(lines)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(not_started(
                program,
                io::Error::other("no pipe to its output"),
            ));
        };
        if let (Input::Script(script), Some(mut input)) = (&job.input, process.stdin.take()) {
            // Shorter than a pipe's room, so this does not wait; an ffmpeg that is gone is found out by its lines.
            let _ = input.write_all(script.as_bytes());
        }
        Ok(Self {
            process,
            picture,
            picture_open: true,
            lines,
            lines_open: true,
        })
    }

    /// The exit status, once both pipes are at their end; that is when the
    /// process leaves. One that stays is killed. `None` if the status was lost.
    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
        let clock = Clock::live();
        let deadline = clock.now().plus(LEAVE_MAX);
        while clock.now() < deadline {
            match self.process.try_wait() {
                Ok(None) => std::thread::park_timeout(Duration::from_millis(5)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
        let _ = self.process.kill();
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

/// Version of the program; `None` for one built from a working copy, which is recent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(Option<(u32, u32)>);

impl Version {
    /// Asks the program.
    pub(super) fn of(program: &str, goes_on: &mut GoesOn<'_>) -> Result<Self, OpenError> {
        let mut command = Command::new(program);
        command.arg("-version");
        let answer = ask(program, command, goes_on)?;
        Ok(Self::parse(&String::from_utf8_lossy(&answer.output)))
    }

    /// What the first line of its answer says.
    pub(super) fn parse(text: &str) -> Self {
        let number = || {
            let number = text.strip_prefix("ffmpeg version ")?;
            let mut parts = number
                .trim_start_matches('n')
                .split(|c: char| !c.is_ascii_digit());
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        };
        Self(number())
    }

    fn is_before(self, major: u32, minor: u32) -> bool {
        self.0.is_some_and(|version| version < (major, minor))
    }

    /// Whether a script may give options to what it names.
    pub(super) fn scripts_have_options(self) -> bool {
        !self.is_before(5, 0)
    }

    /// Frames leave as they come, none doubled or dropped to even out the rate. The
    /// option has another name since 5.1, and the older name is gone in later ones.
    fn passthrough(self) -> [&'static str; 2] {
        if self.is_before(5, 1) {
            ["-vsync", "passthrough"]
        } else {
            ["-fps_mode", "passthrough"]
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some((major, minor)) => write!(f, "ffmpeg {major}.{minor}"),
            None => f.write_str("ffmpeg"),
        }
    }
}

/// What a program answered.
pub(super) struct Answer {
    /// Its standard output.
    pub(super) output: Vec<u8>,
    /// Its standard error.
    pub(super) errors: Vec<u8>,
    /// Whether it ended well.
    pub(super) success: bool,
}

/// Runs a program that answers and ends, for at most [`ANSWER_MAX`].
pub(super) fn ask(
    program: &str,
    mut command: Command,
    goes_on: &mut GoesOn<'_>,
) -> Result<Answer, OpenError> {
    let failed = |error| not_started(program, error);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut process = spawn_bound(command).map_err(failed)?;
    let (Some(mut output), Some(mut errors)) = (process.stdout.take(), process.stderr.take())
    else {
        return Err(failed(io::Error::other("no pipe to its output")));
    };
    let clock = Clock::live();
    let deadline = clock.now().plus(ANSWER_MAX);
    let (mut answer, mut complaints) = (Vec::new(), Vec::new());
    let mut open = [true; 2];
    let result = loop {
        if !goes_on() {
            break Err(OpenError::Stopped);
        }
        if clock.now() >= deadline {
            break Err(failed(io::Error::from(io::ErrorKind::TimedOut)));
        }
        let step = match open {
            [true, true] => wait_readable([output.as_fd(), errors.as_fd()], LOOK_EVERY),
            [true, false] => wait_readable([output.as_fd()], LOOK_EVERY).map(|[one]| [one, false]),
            [false, true] => wait_readable([errors.as_fd()], LOOK_EVERY).map(|[one]| [false, one]),
            [false, false] => match process.try_wait() {
                Ok(Some(status)) => break Ok(status.success()),
                Ok(None) => {
                    std::thread::park_timeout(Duration::from_millis(5));
                    Ok([false; 2])
                }
                Err(error) => Err(error),
            },
        };
        let read = step.and_then(|ready| {
            if ready[0] {
                open[0] = read_some(&mut output, &mut answer)?;
            }
            if ready[1] {
                open[1] = read_some(&mut errors, &mut complaints)?;
            }
            Ok(())
        });
        if let Err(error) = read {
            break Err(failed(error));
        }
    };
    if result.is_err() {
        let _ = process.kill();
        let _ = process.wait();
    }
    Ok(Answer {
        output: answer,
        errors: complaints,
        success: result?,
    })
}

/// Reads once; false at the end.
fn read_some(pipe: &mut impl Read, out: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let got = pipe.read(&mut buffer)?;
    let room = ANSWER_BYTES_MAX.saturating_sub(out.len());
    out.extend_from_slice(&buffer[..got.min(room)]);
    Ok(got > 0)
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
        for (text, version, option, scripts) in [
            (
                "ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright",
                Some((4, 4)),
                "-vsync",
                false,
            ),
            (
                "ffmpeg version 5.0.1 Copyright",
                Some((5, 0)),
                "-vsync",
                true,
            ),
            (
                "ffmpeg version 5.1.9-0+deb12u1 Copyright",
                Some((5, 1)),
                "-fps_mode",
                true,
            ),
            (
                "ffmpeg version n7.1 Copyright",
                Some((7, 1)),
                "-fps_mode",
                true,
            ),
            (
                "ffmpeg version N-12345-gabcdef Copyright",
                None,
                "-fps_mode",
                true,
            ),
        ] {
            let parsed = Version::parse(text);
            assert_eq!(parsed, Version(version), "{text}");
            assert_eq!(parsed.passthrough()[0], option);
            assert_eq!(parsed.scripts_have_options(), scripts);
        }
    }

    #[test]
    fn a_program_that_never_answers_is_left_when_asked_to_stop() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut polls = 0;
        let error = ask("sleep", command, &mut || {
            polls += 1;
            polls < 3
        });
        assert!(matches!(error, Err(OpenError::Stopped)));
    }
}
