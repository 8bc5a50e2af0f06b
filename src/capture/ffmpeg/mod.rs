//! Videos and network streams as cameras, decoded by the `ffmpeg` program.
//!
//! The child process writes RGB to its standard output and, for every frame, one
//! line of its `showinfo` filter to standard error before it. That line carries
//! the frame's true presentation time, so that a recording with a varying rate
//! keeps its times, and its size, so that a video which changes size half way
//! is found out. Both pipes are read by one `poll` on the thread that asks for
//! frames. The child is killed and reaped when the camera is dropped.

mod child;
mod info;
mod probe;
mod stamps;

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use self::child::Child;
use self::info::{FrameInfo, InfoLines};
use self::probe::Probe;
use self::stamps::StreamClock;
use super::open::{OpenError, check_size, without_password};
use super::{Camera, CameraMode, CaptureError, Next};
use crate::clock::{Clock, MonoNs};
use crate::frame::{Frame, FrameMeta, PixelFormat};
use crate::sys::poll::wait_readable;

/// How long the first frame of a file or stream may take, in seconds. Network
/// cameras send a whole picture only every few seconds.
const FIRST_FRAME_S: u64 = 20;

/// The programs that read videos for us.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Decodes.
    pub ffmpeg: String,
    /// Reads headers.
    pub ffprobe: String,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            ffmpeg: "ffmpeg".to_owned(),
            ffprobe: "ffprobe".to_owned(),
        }
    }
}

/// A video file or network stream as a camera.
#[derive(Debug)]
pub struct FfmpegCamera {
    mode: CameraMode,
    child: Child,
    lines: InfoLines,
    /// The frame that is being read, and how much of it has come.
    pending: Vec<u8>,
    have: usize,
    /// Frames handed over.
    frames: u32,
    /// Frames the header states, where it does.
    promised: Option<Promise>,
    times: Times,
    /// The recording is over, for whatever reason.
    over: bool,
    complaint: Option<String>,
}

/// How presentation times become capture times.
#[derive(Debug)]
enum Times {
    /// A recording: its first frame is at zero.
    Recording { first: Option<i64>, last: MonoNs },
    /// A live stream: presentation times tied to the machine's clock.
    Stream { clock: Clock, map: StreamClock },
}

/// The number of frames a header speaks of, and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promise {
    frames: u32,
    slack: u32,
}

impl Promise {
    /// A count of frames is exact but for a few that an edit list hides; a
    /// duration times a rate is an estimate.
    fn new(probe: &Probe) -> Option<Self> {
        if let Some(frames) = probe.frames {
            return Some(Self {
                frames,
                slack: 2 + frames / 50,
            });
        }
        let frames = probe.duration_s? * f64::from(probe.rate_hz);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to lie in the range"
        )]
        (frames >= 1.0 && frames < f64::from(u32::MAX)).then(|| Self {
            frames: frames as u32,
            slack: 2 + frames as u32 / 10,
        })
    }

    const fn is_broken_by(self, frames: u32) -> bool {
        frames.saturating_add(self.slack) < self.frames
    }
}

impl FfmpegCamera {
    /// Opens a video file.
    ///
    /// # Errors
    ///
    /// A program is missing, or the file is no video or gives no frame.
    pub fn open_file(path: &Path) -> Result<Self, OpenError> {
        Self::open_file_with(path, &Programs::default())
    }

    /// Opens a video file with programs of your choice.
    ///
    /// # Errors
    ///
    /// A program is missing, or the file is no video or gives no frame.
    pub fn open_file_with(path: &Path, programs: &Programs) -> Result<Self, OpenError> {
        let name = path.display().to_string();
        let probe = Probe::of_file(path, &programs.ffprobe)?;
        // The protocol is named so that no file name is taken for an address.
        let mut input = std::ffi::OsString::from("file:");
        input.push(path);
        let before = ["-protocol_whitelist", "file,pipe"].map(Into::into);
        let child = Child::start(&programs.ffmpeg, &before, &input, probe.shrink())?;
        Self::first_frame(
            name,
            child,
            probe.rate_hz,
            Promise::new(&probe),
            Times::Recording {
                first: None,
                last: MonoNs(0),
            },
        )
    }

    /// Opens a network stream (`rtsp://`).
    ///
    /// # Errors
    ///
    /// ffmpeg is missing, or the stream cannot be reached or gives no frame in time.
    pub fn open_stream(address: &str) -> Result<Self, OpenError> {
        Self::open_stream_with(address, &Programs::default())
    }

    /// Opens a network stream with programs of your choice.
    ///
    /// # Errors
    ///
    /// ffmpeg is missing, or the stream cannot be reached or gives no frame in time.
    pub fn open_stream_with(address: &str, programs: &Programs) -> Result<Self, OpenError> {
        // Over UDP a lost packet is a torn picture; over TCP it is a late one.
        Self::start_stream(address, &["-rtsp_transport", "tcp"], programs)
    }

    fn start_stream(
        address: &str,
        transport: &[&str],
        programs: &Programs,
    ) -> Result<Self, OpenError> {
        let quick = ["-fflags", "nobuffer", "-flags", "low_delay"];
        let before: Vec<_> = transport
            .iter()
            .chain(&quick)
            .map(std::ffi::OsString::from)
            .collect();
        let child = Child::start(&programs.ffmpeg, &before, address.as_ref(), None)?;
        Self::first_frame(
            without_password(address),
            child,
            0.0,
            None,
            Times::Stream {
                clock: Clock::live(),
                map: StreamClock::default(),
            },
        )
    }

    /// Waits for the first frame, whose line says how large frames are.
    fn first_frame(
        name: String,
        child: Child,
        rate_hz: f32,
        promised: Option<Promise>,
        times: Times,
    ) -> Result<Self, OpenError> {
        let mut camera = Self {
            mode: CameraMode {
                name,
                width_px: 0,
                height_px: 0,
                rate_hz,
                format: PixelFormat::Rgb24,
            },
            child,
            lines: InfoLines::default(),
            pending: Vec::new(),
            have: 0,
            frames: 0,
            promised,
            times,
            over: false,
            complaint: None,
        };
        let clock = Clock::live();
        let deadline = clock.now().plus(Duration::from_secs(FIRST_FRAME_S));
        loop {
            if camera.mode.width_px == 0
                && let Some(info) = camera.lines.front()
            {
                check_size(&camera.mode.name, info.width_px, info.height_px)?;
                camera.mode.width_px = info.width_px;
                camera.mode.height_px = info.height_px;
                if camera.mode.rate_hz <= 0.0 {
                    camera.mode.rate_hz = camera.lines.rate_hz();
                }
                let bytes = PixelFormat::Rgb24.image_bytes(info.width_px, info.height_px);
                camera.pending = vec![0; bytes];
            }
            if camera.is_complete() {
                return Ok(camera);
            }
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return Err(OpenError::Silent {
                    name: camera.mode.name,
                    waited_s: FIRST_FRAME_S,
                });
            }
            if camera.read_some(left).unwrap_or(true) {
                return Err(camera.no_frames());
            }
        }
    }

    fn no_frames(mut self) -> OpenError {
        let status = self.child.wait();
        let message = self.lines.error().unwrap_or("no frame decodes").to_owned();
        let (name, known) = (self.mode.name.clone(), self.promised);
        if known.is_none() && status.is_none_or(|status| !status.success()) {
            return OpenError::NotAVideo { name, message };
        }
        OpenError::NoFrames {
            name,
            promise: known.map_or_else(String::new, |promise| {
                format!(", though its header speaks of {}", promise.frames)
            }),
            message,
        }
    }

    /// Whether a whole frame and its line have come.
    fn is_complete(&self) -> bool {
        !self.pending.is_empty() && self.have == self.pending.len() && self.lines.front().is_some()
    }

    /// Waits for either pipe and reads what is there; true at the end of both.
    fn read_some(&mut self, timeout: Duration) -> std::io::Result<bool> {
        // A frame whose size is not known yet, or which waits for its line,
        // leaves the picture's pipe alone.
        let wants_bytes = self.have < self.pending.len() || !self.child.picture_open;
        let (frames_ready, lines_ready) = match (
            self.child.picture_open && wants_bytes,
            self.child.lines_open,
        ) {
            (true, true) => {
                let [frames, lines] = wait_readable(
                    [self.child.picture.as_fd(), self.child.lines.as_fd()],
                    timeout,
                )?;
                (frames, lines)
            }
            (true, false) => {
                let [frames] = wait_readable([self.child.picture.as_fd()], timeout)?;
                (frames, false)
            }
            (false, true) => {
                let [lines] = wait_readable([self.child.lines.as_fd()], timeout)?;
                (false, lines)
            }
            (false, false) => return Ok(true),
        };
        if lines_ready {
            self.child.lines_open = self.lines.read_from(&mut self.child.lines)?;
        }
        if frames_ready {
            let room = &mut self.pending[self.have..];
            let got = std::io::Read::read(&mut self.child.picture, room)?;
            self.have += got;
            self.child.picture_open = got > 0;
        }
        Ok(!self.child.picture_open && !self.child.lines_open)
    }

    /// Hands the complete frame over.
    fn hand_over(&mut self, info: FrameInfo, frame: &mut Frame) {
        let bytes = self.pending.len();
        std::mem::swap(&mut self.pending, &mut frame.bytes);
        self.pending.resize(bytes, 0);
        self.have = 0;
        let capture = match &mut self.times {
            Times::Recording { first, last } => {
                let time_ns = info.time_ns;
                let since_first = match (time_ns, *first) {
                    (Some(time), Some(first)) => u64::try_from(time - first).ok(),
                    (Some(time), None) => {
                        *first = Some(time);
                        Some(0)
                    }
                    (None, _) => None,
                };
                // A frame without a time gets that of the one before plus a period.
                let period = Duration::from_secs_f64(1.0 / f64::from(self.mode.rate_hz.max(1.0)));
                *last = since_first.map_or_else(|| last.plus(period), MonoNs);
                *last
            }
            Times::Stream { clock, map } => map.capture(info.time_ns, clock.now()),
        };
        frame.meta = FrameMeta {
            sequence: self.frames,
            capture,
            width_px: self.mode.width_px,
            height_px: self.mode.height_px,
            format: PixelFormat::Rgb24,
        };
        self.frames += 1;
    }

    /// What the end of the pipes means.
    fn verdict(&mut self, status: Option<ExitStatus>) -> Result<Next, CaptureError> {
        let frames = self.frames;
        let said = self
            .lines
            .error()
            .map_or_else(String::new, |error| format!(" ({error})"));
        if let Some(promise) = self.promised
            && promise.is_broken_by(frames)
        {
            self.complaint = Some(format!(
                "{}: ended after {frames} of {} frames{said}",
                self.mode.name, promise.frames
            ));
            return Err(CaptureError::Truncated {
                frames,
                promised: promise.frames,
            });
        }
        let failed = status.is_none_or(|status| !status.success());
        if failed || self.have > 0 || matches!(self.times, Times::Stream { .. }) {
            self.complaint = Some(format!(
                "{}: the decoder ended after {frames} frames{said}",
                self.mode.name
            ));
            return Err(CaptureError::Decoder { frames });
        }
        Ok(Next::End)
    }
}

impl Camera for FfmpegCamera {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        if self.over {
            return Ok(Next::End);
        }
        let last_sequence = self.frames.wrapping_sub(1);
        let clock = Clock::live();
        let deadline = clock.now().plus(timeout);
        loop {
            if let Some(info) = self.lines.front()
                && (info.width_px, info.height_px) != (self.mode.width_px, self.mode.height_px)
            {
                self.over = true;
                self.complaint = Some(format!(
                    "{}: frame {} is {}x{} pixels, but the video began with {}x{}",
                    self.mode.name,
                    self.frames,
                    info.width_px,
                    info.height_px,
                    self.mode.width_px,
                    self.mode.height_px
                ));
                return Err(CaptureError::Resized {
                    sequence: self.frames,
                    width_px: info.width_px,
                    height_px: info.height_px,
                });
            }
            if self.is_complete()
                && let Some(info) = self.lines.pop()
            {
                self.hand_over(info, frame);
                return Ok(Next::Frame);
            }
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return Err(CaptureError::Timeout {
                    waited_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                    last_sequence,
                });
            }
            match self.read_some(left) {
                Ok(false) => {}
                Ok(true) => {
                    self.over = true;
                    let status = self.child.wait();
                    return self.verdict(status);
                }
                Err(error) => {
                    self.over = true;
                    return Err(CaptureError::System {
                        call: "read from ffmpeg",
                        errno: error.raw_os_error().unwrap_or(0),
                        last_sequence,
                    });
                }
            }
        }
    }

    fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }
}

#[cfg(test)]
mod tests;
