//! What can go wrong between asking for a frame and having one.

/// What the owner of a camera does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Count it and ask for the next frame.
    Skip,
    /// Close the camera and open it again.
    Reopen,
    /// The recording breaks off here; opening it again would start it from the beginning.
    End,
}

/// What can go wrong between asking for a frame and having one.
///
/// Small, `Copy` and without text, so that it can be made on the hot path; the
/// words are put together where it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// No frame came within the time a frame may take.
    #[error("no frame for {waited_ms} ms after frame {last_sequence}")]
    Timeout {
        /// How long the thread waited, in milliseconds.
        waited_ms: u32,
        /// The last sequence number seen.
        last_sequence: u32,
    },
    /// The driver handed over fewer bytes than the format needs.
    #[error("frame {sequence} has {got} of {want} bytes")]
    ShortFrame {
        /// Sequence number given by the driver.
        sequence: u32,
        /// Bytes received.
        got: u32,
        /// Bytes the format needs.
        want: u32,
    },
    /// The driver marked the frame as damaged, or its JPEG does not decode.
    #[error("frame {sequence} is damaged")]
    Damaged {
        /// Sequence number given by the driver.
        sequence: u32,
    },
    /// A frame of another size than the camera said it would deliver.
    #[error("frame {sequence} is {width_px}x{height_px}, not the size negotiated at opening")]
    Resized {
        /// Sequence number.
        sequence: u32,
        /// Columns of the frame that came.
        width_px: u32,
        /// Rows of the frame that came.
        height_px: u32,
    },
    /// The driver named a buffer that does not exist.
    #[error("the driver returned buffer {index} of {count} after frame {last_sequence}")]
    BufferIndex {
        /// The index the driver gave.
        index: u32,
        /// How many buffers there are.
        count: u32,
        /// The last sequence number seen.
        last_sequence: u32,
    },
    /// A recording breaks off: its file is cut, or its decoder failed.
    #[error("the recording breaks off after {frames} frames")]
    Truncated {
        /// Frames it gave.
        frames: u32,
    },
    /// The program that decodes the video failed.
    #[error("the decoder failed after {frames} frames")]
    Decoder {
        /// Frames it gave.
        frames: u32,
    },
    /// A system call failed.
    #[error("{call} after frame {last_sequence}: {}", std::io::Error::from_raw_os_error(*.errno))]
    System {
        /// Name of the request, as in the kernel's documents.
        call: &'static str,
        /// The error number.
        errno: i32,
        /// The last sequence number seen.
        last_sequence: u32,
    },
}

impl CaptureError {
    /// The number of the frame that is not fit for use, where there was one.
    pub const fn bad_frame(self) -> Option<u32> {
        match self {
            Self::ShortFrame { sequence, .. } | Self::Damaged { sequence } => Some(sequence),
            _ => None,
        }
    }

    /// How the capture thread answers this error.
    pub const fn severity(self) -> Severity {
        match self {
            Self::ShortFrame { .. } | Self::Damaged { .. } => Severity::Skip,
            Self::Truncated { .. } => Severity::End,
            Self::Timeout { .. }
            | Self::Decoder { .. }
            | Self::Resized { .. }
            | Self::BufferIndex { .. }
            | Self::System { .. } => Severity::Reopen,
        }
    }
}

const _: () = assert!(
    size_of::<CaptureError>() <= 32,
    "errors travel by value on the hot path"
);
