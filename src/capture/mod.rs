//! Sources of frames behind one trait: V4L2 devices, files and streams. Runs on the capture thread.

pub mod address;
pub mod convert;
mod error;
pub mod faults;
pub mod ffmpeg;
pub mod files;
pub mod find;
mod open;
pub mod order;
pub mod paced;
mod picture;
mod reduce;
pub mod reopen;
pub mod thread;
pub mod turn;
pub mod v4l2;

use std::time::Duration;

use crate::frame::{Frame, PixelFormat};

pub use address::without_password;
pub use error::{CaptureError, Severity};
pub use open::{FOLDER_RATE_HZ, GoesOn, OpenError, Source, StreamOptions, Transport, open_source};

/// How a camera delivers, as negotiated with the driver or read from the file.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraMode {
    /// What the camera calls itself.
    pub name: String,
    /// Image width, pixels.
    pub width_px: u32,
    /// Image height, pixels.
    pub height_px: u32,
    /// Frames a second, as read back from the driver; 0 where unknown.
    pub rate_hz: f32,
    /// Layout of the frames handed over (after decoding, for MJPG).
    pub format: PixelFormat,
}

/// What a source of frames is, and with it what its end and its silence mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A camera of this machine: it may be unplugged and come back.
    Device,
    /// A network camera: it may be switched off and come back.
    Stream,
    /// A video or images: it ends, and is not opened again.
    Recording,
}

impl SourceKind {
    /// Whether its frames are of now.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Device | Self::Stream)
    }
}

/// What came of asking a camera for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The frame was filled.
    Frame,
    /// The next frame of a recording is not due yet: nothing is wrong.
    Pause,
    /// The recording is over; a live camera never returns this.
    End,
}

/// A source of frames.
pub trait Camera: Send {
    /// How it delivers. Fixed from opening to closing.
    fn mode(&self) -> &CameraMode;

    /// Columns and rows of its images before we make them smaller or turn them: those a calibration is for.
    fn native_px(&self) -> (u32, u32) {
        (self.mode().width_px, self.mode().height_px)
    }

    /// What kind of source it is.
    fn kind(&self) -> SourceKind {
        SourceKind::Device
    }

    /// Whether it is known since its opening to give one frame only.
    fn is_still(&self) -> bool {
        false
    }

    /// Waits at most `timeout` for the next frame and fills `frame` with it.
    ///
    /// A frame's bytes are copied out of the driver's buffer, so that the
    /// buffer goes back at once.
    ///
    /// # Errors
    ///
    /// See [`CaptureError`]; [`CaptureError::severity`] says what to do.
    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError>;

    /// What the last error was about, in words: which file, which numbers.
    /// [`CaptureError`] has no room for text.
    fn complaint(&self) -> Option<&str> {
        None
    }
}

impl<C: Camera + ?Sized> Camera for Box<C> {
    fn mode(&self) -> &CameraMode {
        (**self).mode()
    }

    fn kind(&self) -> SourceKind {
        (**self).kind()
    }

    fn is_still(&self) -> bool {
        (**self).is_still()
    }

    fn native_px(&self) -> (u32, u32) {
        (**self).native_px()
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        (**self).next_into(frame, timeout)
    }

    fn complaint(&self) -> Option<&str> {
        (**self).complaint()
    }
}
