//! One camera frame: bytes, format, sequence number, capture time.

use crate::base::clock::MonoNs;

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

/// An image turned by a multiple of 90 degrees, mirrored or both: one of eight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Whether rows become columns, before the rest.
    pub transpose: bool,
    /// Whether left and right are exchanged.
    pub flip_x: bool,
    /// Whether top and bottom are exchanged.
    pub flip_y: bool,
}

impl Turn {
    /// The image as it is.
    pub const NONE: Self = Self {
        transpose: false,
        flip_x: false,
        flip_y: false,
    };

    /// Clockwise by so many degrees; `None` if that is not 0, 90, 180 or 270.
    pub const fn clockwise(degrees: u32) -> Option<Self> {
        let (transpose, flip_x, flip_y) = match degrees {
            0 => (false, false, false),
            90 => (true, true, false),
            180 => (false, true, true),
            270 => (true, false, true),
            _ => return None,
        };
        Some(Self {
            transpose,
            flip_x,
            flip_y,
        })
    }

    /// And then left and right exchanged.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        Self {
            flip_x: !self.flip_x,
            ..self
        }
    }

    /// What the `Orientation` of an EXIF header, 1 to 8, asks of a viewer.
    pub const fn of_exif(orientation: u16) -> Option<Self> {
        let (transpose, flip_x, flip_y) = match orientation {
            1 => (false, false, false),
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => return None,
        };
        Some(Self {
            transpose,
            flip_x,
            flip_y,
        })
    }

    /// Columns and rows of an image of this size once it is turned.
    pub const fn size(self, (width_px, height_px): (u32, u32)) -> (u32, u32) {
        if self.transpose {
            (height_px, width_px)
        } else {
            (width_px, height_px)
        }
    }

    /// Where a direction `(right, down)` in the image points once it is turned.
    pub fn direction(self, (right, down): (f64, f64)) -> (f64, f64) {
        let (x, y) = if self.transpose {
            (down, right)
        } else {
            (right, down)
        };
        (
            if self.flip_x { -x } else { x },
            if self.flip_y { -y } else { y },
        )
    }
}

/// What is known of a frame beside its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// Counts up by one for each frame the camera made; a gap is a lost frame.
    pub sequence: u32,
    /// When the frame was taken: the driver's timestamp on the monotonic clock.
    pub capture: MonoNs,
    /// Image width, pixels.
    pub width_px: u32,
    /// Image height, pixels.
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
