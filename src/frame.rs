//! One camera frame: bytes, format, sequence number, capture time.

use crate::clock::MonoNs;

/// Byte layout of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Three bytes a pixel: red, green, blue.
    Rgb24,
    /// 4:2:2, two pixels in four bytes: Y0 U Y1 V.
    Yuyv,
    /// 4:2:0, a plane of Y, then a plane of interleaved U V at half size.
    Nv12,
    /// One byte a pixel: brightness.
    Grey,
}

impl PixelFormat {
    /// Bytes of an image without padding between rows.
    pub const fn image_bytes(self, width_px: u32, height_px: u32) -> usize {
        let pixels = width_px as usize * height_px as usize;
        match self {
            Self::Rgb24 => pixels * 3,
            Self::Yuyv => pixels * 2,
            Self::Nv12 => pixels + pixels.div_ceil(2),
            Self::Grey => pixels,
        }
    }
}

/// What is known of a frame beside its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// Counts up by one for each frame the camera made; a gap is a lost frame.
    pub sequence: u32,
    /// When the frame was taken: the driver's timestamp on the monotonic clock.
    pub capture: MonoNs,
    /// Columns.
    pub width_px: u32,
    /// Rows.
    pub height_px: u32,
    /// Byte layout.
    pub format: PixelFormat,
}

/// A frame: its description and its bytes, rows from the top without padding.
#[derive(Debug)]
pub struct Frame {
    /// Description of `bytes`.
    pub meta: FrameMeta,
    /// `meta.format.image_bytes(width, height)` bytes.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// An empty frame with room for an image of this size in any format.
    pub fn with_room(width_px: u32, height_px: u32) -> Self {
        Self {
            meta: FrameMeta {
                sequence: 0,
                capture: MonoNs(0),
                width_px,
                height_px,
                format: PixelFormat::Rgb24,
            },
            bytes: Vec::with_capacity(PixelFormat::Rgb24.image_bytes(width_px, height_px)),
        }
    }
}
