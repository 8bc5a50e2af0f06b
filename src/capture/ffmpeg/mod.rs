//! Videos and network streams as cameras, decoded by the `ffmpeg` program.
//!
//! The child process writes RGB to its standard output and, for every frame, lines of its `showinfo` filter to
//! standard error before it. They carry the frame's true presentation time, so that a recording with a varying rate
//! keeps its times, and its size before and after scaling. Both pipes are read by one `poll` on the thread that asks
//! for frames. The child is killed and reaped when the camera is dropped, and by the kernel when this process ends.

mod child;
pub(super) mod fit;
mod info;
mod probe;
pub(super) mod stamps;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use self::child::{Child, Input, Job, LOOK_EVERY, Version};
use self::fit::filter;
use self::info::{FrameInfo, InfoLines};
use self::probe::Probe;
use self::stamps::{RecordingClock, StreamClock};
use super::address::{Address, Scheme};
use super::open::{GoesOn, OpenError, StreamOptions, Transport, check_size};
use super::{Camera, CameraMode, CaptureError, Next, SourceKind};
use crate::base::clock::Clock;
use crate::frame::{Frame, FrameMeta, PixelFormat};
use crate::sys::poll::wait_readable;

/// How long the first frame of a file or stream may take, in seconds. Network
/// cameras send a whole image only every few seconds.
const FIRST_FRAME_S: u64 = 20;

/// What a network camera may have ffmpeg open, by how it is reached: the network, and no file of this machine.
const RTSP_PROTOCOLS: &str = "pipe,rtp,srtp,udp,tcp,tls,crypto";
const HTTP_PROTOCOLS: &str = "pipe,http,https,httpproxy,tcp,tls,crypto,data";

/// Names of films on a web server; any other address is live.
const FILMS: [&str; 6] = ["mp4", "m4v", "mov", "mkv", "webm", "avi"];

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
    times: Times,
    /// Columns and rows as decoded, of the first frame and of the last; 0 before that.
    first_px: (u32, u32),
    source_px: (u32, u32),
    /// Whether images of another size are put into the first size.
    fits: bool,
    /// The file holds one frame.
    still: bool,
    /// The recording is over, for whatever reason.
    over: bool,
    complaint: Option<String>,
}

/// How presentation times become capture times.
#[derive(Debug)]
enum Times {
    /// A recording: its first frame is at zero.
    Recording(RecordingClock),
    /// A live stream with times of its own, which are tied to the machine's clock.
    Stream(StreamClock),
    /// A live stream without: MJPEG over HTTP numbers its frames, and ffmpeg makes times of that. What counts is when
    /// they come.
    Arrival,
}

impl FfmpegCamera {
    /// Opens a video file.
    ///
    /// # Errors
    ///
    /// A program is missing, or the file is no video or gives no frame.
    pub fn open_file(path: &Path) -> Result<Self, OpenError> {
        Self::open_file_with(path, &Programs::default(), &mut || true)
    }

    /// Opens a video file with programs of your choice, while `goes_on` returns true.
    ///
    /// # Errors
    ///
    /// A program is missing, or the file is no video or gives no frame.
    pub fn open_file_with(
        path: &Path,
        programs: &Programs,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<Self, OpenError> {
        let name = path.display().to_string();
        let probe = Probe::of_file(path, &programs.ffprobe, goes_on)?;
        let version = Version::of(&programs.ffmpeg, goes_on)?;
        // The protocol is named so that no file name is taken for an address.
        let mut input = OsString::from("file:");
        input.push(path);
        let job = Job {
            before: ["-protocol_whitelist", "file,pipe"]
                .map(Into::into)
                .to_vec(),
            input: Input::Named(input),
            filter: filter(probe.size_px),
        };
        let mut camera = Self::started(
            name,
            Child::start(&programs.ffmpeg, version, &job)?,
            InfoLines::default(),
            Times::Recording(RecordingClock::default()),
        );
        camera.mode.rate_hz = probe.rate_hz;
        camera.fits = probe.size_px.is_some();
        camera.first_frame(goes_on)?.told_from_a_still(goes_on)
    }

    /// Opens a network stream.
    ///
    /// # Errors
    ///
    /// ffmpeg is missing, or the stream cannot be reached or gives no frame in time.
    pub fn open_stream(address: &Address) -> Result<Self, OpenError> {
        let options = StreamOptions::default();
        Self::open_stream_with(address, &options, &Programs::default(), &mut || true)
    }

    /// Opens a network stream with options and programs of your choice, while `goes_on` returns true.
    ///
    /// # Errors
    ///
    /// ffmpeg is missing, or the stream cannot be reached or gives no frame in time.
    pub fn open_stream_with(
        address: &Address,
        options: &StreamOptions,
        programs: &Programs,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<Self, OpenError> {
        let version = Version::of(&programs.ffmpeg, goes_on)?;
        let job = stream_job(address, options, version);
        let is_film = FILMS.contains(&address.extension().as_str());
        let times = match address.scheme() {
            Scheme::Http if is_film => Times::Recording(RecordingClock::default()),
            Scheme::Http if !is_playlist(address) => Times::Arrival,
            _ => Times::Stream(StreamClock::default()),
        };
        let mut camera = Self::started(
            address.shown().to_owned(),
            Child::start(&programs.ffmpeg, version, &job)?,
            InfoLines::about(address.clone()),
            times,
        );
        camera.fits = options.size_px.is_some();
        camera.first_frame(goes_on)
    }

    fn started(name: String, child: Child, lines: InfoLines, times: Times) -> Self {
        Self {
            mode: CameraMode {
                name,
                width_px: 0,
                height_px: 0,
                rate_hz: 0.0,
                format: PixelFormat::Rgb24,
            },
            child,
            lines,
            pending: Vec::new(),
            have: 0,
            frames: 0,
            times,
            first_px: (0, 0),
            source_px: (0, 0),
            fits: false,
            still: false,
            over: false,
            complaint: None,
        }
    }

    /// Waits for the first frame, whose line says how large frames are.
    fn first_frame(mut self, goes_on: &mut GoesOn<'_>) -> Result<Self, OpenError> {
        let clock = Clock::live();
        let deadline = clock.now().plus(Duration::from_secs(FIRST_FRAME_S));
        loop {
            if self.mode.width_px == 0
                && let Some(info) = self.lines.front()
            {
                check_size(&self.mode.name, info.width_px, info.height_px)?;
                self.mode.width_px = info.width_px;
                self.mode.height_px = info.height_px;
                (self.first_px, self.source_px) = (info.source_px, info.source_px);
                if self.mode.rate_hz <= 0.0 {
                    self.mode.rate_hz = self.lines.rate_hz();
                }
                let bytes = PixelFormat::Rgb24.image_bytes(info.width_px, info.height_px);
                self.pending = vec![0; bytes];
            }
            if self.is_complete() {
                self.lines.forget_error();
                return Ok(self);
            }
            if !goes_on() {
                return Err(OpenError::Stopped);
            }
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return Err(OpenError::Silent {
                    name: self.mode.name,
                    waited_s: FIRST_FRAME_S,
                });
            }
            if self.read_some(left.min(LOOK_EVERY)).unwrap_or(true) {
                return Err(self.no_frames());
            }
        }
    }

    /// Waits for the line of the second frame, or for the end, which makes the first one a still: a kind of image that
    /// only ffmpeg reads is a film to us. No header says it, see [`Probe`].
    fn told_from_a_still(mut self, goes_on: &mut GoesOn<'_>) -> Result<Self, OpenError> {
        let clock = Clock::live();
        let deadline = clock.now().plus(Duration::from_secs(FIRST_FRAME_S));
        while self.lines.count() < 2 {
            if !goes_on() {
                return Err(OpenError::Stopped);
            }
            let left = deadline.since(clock.now());
            if left.is_zero() {
                break;
            }
            match self.read_some(left.min(LOOK_EVERY)) {
                Ok(false) => {}
                Ok(true) => {
                    self.still = true;
                    break;
                }
                // It comes again when the next frame is asked for.
                Err(_) => break,
            }
        }
        Ok(self)
    }

    fn no_frames(mut self) -> OpenError {
        let status = self.child.wait();
        let message = self.lines.error().unwrap_or("no frame decodes").to_owned();
        let name = self.mode.name;
        if !matches!(self.times, Times::Recording(_)) {
            return OpenError::NoStream { name, message };
        }
        if status.is_none_or(|status| !status.success()) && !self.fits {
            return OpenError::NotAVideo { name, message };
        }
        OpenError::NoFrames { name, message }
    }

    /// Whether a whole frame and its line have come.
    fn is_complete(&self) -> bool {
        !self.pending.is_empty() && self.have == self.pending.len() && self.lines.front().is_some()
    }

    /// Waits for either pipe and reads the available bytes; true at the end of both.
    fn read_some(&mut self, timeout: Duration) -> std::io::Result<bool> {
        // A frame whose size is not known yet, or which waits for its line,
        // leaves the image's pipe alone.
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
        let now = Clock::live().now();
        let capture = match &mut self.times {
            Times::Recording(clock) => clock.capture(info.time_ns, self.mode.rate_hz),
            Times::Stream(clock) => clock.capture(info.time_ns, now),
            Times::Arrival => now,
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
        let failed = status.is_none_or(|status| !status.success()) || self.have > 0;
        let name = &self.mode.name;
        if !matches!(self.times, Times::Recording(_)) {
            self.complaint = Some(format!(
                "{name}: the decoder ended after {frames} frames{said}"
            ));
            return Err(CaptureError::Decoder { frames });
        }
        if failed || self.lines.is_cut() {
            self.complaint = Some(format!("{name}: breaks off after {frames} frames{said}"));
            return Err(CaptureError::Truncated { frames });
        }
        Ok(Next::End)
    }

    /// Takes note of the size that the next frame was decoded in.
    fn watch_size(&mut self, info: FrameInfo) -> Result<(), CaptureError> {
        let (width_px, height_px) = info.source_px;
        if info.source_px == self.source_px {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.source_px, info.source_px);
        let said = format!(
            "{}: frame {} is {width_px}x{height_px} pixels, the previous ones were {}x{}",
            self.mode.name, self.frames, before.0, before.1
        );
        if self.fits {
            let (width, height) = (self.mode.width_px, self.mode.height_px);
            log::warn!("{said}: put into {width}x{height}");
            return Ok(());
        }
        self.over = true;
        self.complaint = Some(said);
        Err(CaptureError::Resized {
            sequence: self.frames,
            width_px,
            height_px,
        })
    }
}

fn is_playlist(address: &Address) -> bool {
    matches!(address.extension().as_str(), "m3u8" | "m3u")
}

/// How ffmpeg is run on a network camera. The address goes over standard input where this version of ffmpeg can be
/// told the rest there as well: on the command line every user of the machine could read its password.
fn stream_job(address: &Address, options: &StreamOptions, version: Version) -> Job {
    let of_rtsp = match options.transport {
        Transport::Auto => ("rtsp_flags", "prefer_tcp"),
        // Over UDP a lost packet is a torn image; over TCP it is a late one.
        Transport::Tcp => ("rtsp_transport", "tcp"),
        Transport::Udp => ("rtsp_transport", "udp"),
    };
    let is_rtsp = address.scheme() == Scheme::Rtsp;
    let protocols = if is_rtsp {
        RTSP_PROTOCOLS
    } else {
        HTTP_PROTOCOLS
    };
    let mut before = vec!["-protocol_whitelist", protocols];
    if is_playlist(address) {
        // Segments come in bursts, each faster than it was filmed.
        before.push("-re");
    } else if is_rtsp || !FILMS.contains(&address.extension().as_str()) {
        before.extend(["-fflags", "nobuffer", "-flags", "low_delay"]);
    }
    let option = format!("-{}", of_rtsp.0);
    let input = if version.scripts_have_options() {
        before.extend(["-f", "concat", "-safe", "0"]);
        let quoted = address.reveal().replace('\'', "'\\''");
        let option = if is_rtsp {
            format!("option {} {}\n", of_rtsp.0, of_rtsp.1)
        } else {
            String::new()
        };
        Input::Script(format!("ffconcat version 1.0\nfile '{quoted}'\n{option}"))
    } else {
        if is_rtsp {
            before.extend([option.as_str(), of_rtsp.1]);
        }
        Input::Named(address.reveal().into())
    };
    Job {
        before: before.into_iter().map(OsString::from).collect(),
        input,
        filter: filter(options.size_px),
    }
}

impl Camera for FfmpegCamera {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn kind(&self) -> SourceKind {
        match self.times {
            Times::Recording(_) => SourceKind::Recording,
            Times::Stream(_) | Times::Arrival => SourceKind::Stream,
        }
    }

    fn is_still(&self) -> bool {
        self.still
    }

    fn native_px(&self) -> (u32, u32) {
        self.first_px
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        if self.over {
            return Ok(Next::End);
        }
        let last_sequence = self.frames.wrapping_sub(1);
        let clock = Clock::live();
        let deadline = clock.now().plus(timeout);
        loop {
            if let Some(info) = self.lines.front() {
                self.watch_size(info)?;
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
