//! Images turned and mirrored, and a camera that hangs on its side or upside down.

use std::time::Duration;

use super::{Camera, CameraMode, CaptureError, Next, SourceKind};
use crate::frame::{Frame, PixelFormat, Turn};

/// Turns a plane of `bytes` bytes a pixel into `out`, which is as long.
///
/// # Panics
///
/// Where `source` or `out` is shorter than the plane.
fn turn_plane(
    source: &[u8],
    (width, height): (usize, usize),
    bytes: usize,
    turn: Turn,
    out: &mut [u8],
) {
    let (columns, rows) = if turn.transpose {
        (height, width)
    } else {
        (width, height)
    };
    for y in 0..rows {
        let v = if turn.flip_y { rows - 1 - y } else { y };
        for x in 0..columns {
            let u = if turn.flip_x { columns - 1 - x } else { x };
            let from = if turn.transpose {
                u * width + v
            } else {
                v * width + u
            };
            let to = y * columns + x;
            out[to * bytes..][..bytes].copy_from_slice(&source[from * bytes..][..bytes]);
        }
    }
}

/// The layout of turned frames: colours of two pixels side by side cannot be turned onto their side.
const fn turned_format(format: PixelFormat) -> PixelFormat {
    match format {
        PixelFormat::Yuyv => PixelFormat::Nv12,
        other => other,
    }
}

/// Turns an image into `out`; says in which layout it is then.
///
/// Images in [`PixelFormat::Nv12`] and [`PixelFormat::Yuyv`] have an even number of columns and rows.
pub(super) fn turn_image(
    format: PixelFormat,
    (width_px, height_px): (u32, u32),
    turn: Turn,
    source: &[u8],
    out: &mut Vec<u8>,
) -> PixelFormat {
    let (width, height) = (width_px as usize, height_px as usize);
    let becomes = turned_format(format);
    out.clear();
    out.resize(becomes.image_bytes(width_px, height_px), 0);
    let size = (width, height);
    match format {
        PixelFormat::Rgb24 => turn_plane(source, size, 3, turn, out),
        PixelFormat::Grey => turn_plane(source, size, 1, turn, out),
        PixelFormat::Nv12 => {
            let (bright, colour) = out.split_at_mut(width * height);
            turn_plane(source, size, 1, turn, bright);
            let of_colour = &source[width * height..];
            turn_plane(of_colour, (width / 2, height / 2), 2, turn, colour);
        }
        PixelFormat::Yuyv => {
            let (bright, colour) = out.split_at_mut(width * height);
            turn_pairs(source, size, turn, bright, colour);
        }
    }
    becomes
}

/// Turns 4:2:2 into a plane of brightness and one of colours, each colour the mean of two rows.
fn turn_pairs(
    source: &[u8],
    (width, height): (usize, usize),
    turn: Turn,
    bright: &mut [u8],
    colour: &mut [u8],
) {
    let place = |u: usize, v: usize, width: usize, height: usize| {
        let (x, y, columns, rows) = if turn.transpose {
            (v, u, height, width)
        } else {
            (u, v, width, height)
        };
        let x = if turn.flip_x { columns - 1 - x } else { x };
        let y = if turn.flip_y { rows - 1 - y } else { y };
        y * columns + x
    };
    for (v, row) in source.chunks_exact(width * 2).enumerate() {
        for (u, pixel) in row.chunks_exact(2).enumerate() {
            bright[place(u, v, width, height)] = pixel[0];
        }
    }
    for (v, rows) in source.chunks_exact(width * 4).enumerate() {
        let (upper, lower) = rows.split_at(width * 2);
        let pairs = upper.chunks_exact(4).zip(lower.chunks_exact(4));
        for (u, (above, below)) in pairs.enumerate() {
            let to = place(u, v, width / 2, height / 2) * 2;
            colour[to] = above[1].midpoint(below[1]);
            colour[to + 1] = above[3].midpoint(below[3]);
        }
    }
}

/// A camera whose images are turned.
#[derive(Debug)]
pub struct Turned<C> {
    inner: C,
    mode: CameraMode,
    turn: Turn,
    scratch: Vec<u8>,
}

impl<C: Camera> Turned<C> {
    /// Turns the images of `inner`.
    pub fn new(inner: C, turn: Turn) -> Self {
        let mut mode = inner.mode().clone();
        (mode.width_px, mode.height_px) = turn.size((mode.width_px, mode.height_px));
        mode.format = turned_format(mode.format);
        Self {
            inner,
            mode,
            turn,
            scratch: Vec::new(),
        }
    }
}

impl<C: Camera> Camera for Turned<C> {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn kind(&self) -> SourceKind {
        self.inner.kind()
    }

    fn is_still(&self) -> bool {
        self.inner.is_still()
    }

    fn native_px(&self) -> (u32, u32) {
        self.inner.native_px()
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        let next = self.inner.next_into(frame, timeout)?;
        if next == Next::Frame {
            let meta = &mut frame.meta;
            let size = (meta.width_px, meta.height_px);
            meta.format = turn_image(
                meta.format,
                size,
                self.turn,
                &frame.bytes,
                &mut self.scratch,
            );
            (meta.width_px, meta.height_px) = self.turn.size(size);
            std::mem::swap(&mut frame.bytes, &mut self.scratch);
        }
        Ok(next)
    }

    fn complaint(&self) -> Option<&str> {
        self.inner.complaint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All eight, by the orientation of an EXIF header, and what `12/34/56` becomes.
    const TURNS: [(u16, (u32, u32), &[u8]); 8] = [
        (1, (2, 3), b"123456"),
        (2, (2, 3), b"214365"),
        (3, (2, 3), b"654321"),
        (4, (2, 3), b"563412"),
        (5, (3, 2), b"135246"),
        (6, (3, 2), b"531642"),
        (7, (3, 2), b"642531"),
        (8, (3, 2), b"246135"),
    ];

    #[test]
    fn all_eight_turns_are_what_viewers_show() {
        for (orientation, size, want) in TURNS {
            let turn = Turn::of_exif(orientation).unwrap();
            assert_eq!(turn.size((2, 3)), size);
            let mut out = Vec::new();
            turn_image(PixelFormat::Grey, (2, 3), turn, b"123456", &mut out);
            assert_eq!(out, want, "{orientation}");
            let rgb: Vec<u8> = b"123456"
                .iter()
                .flat_map(|&at| [at, at + 10, at + 20])
                .collect();
            turn_image(PixelFormat::Rgb24, (2, 3), turn, &rgb, &mut out);
            let want: Vec<u8> = want.iter().flat_map(|&at| [at, at + 10, at + 20]).collect();
            assert_eq!(out, want, "{orientation}");
        }
        assert_eq!(Turn::of_exif(0), None);
        assert_eq!(Turn::of_exif(9), None);
        assert_eq!(Turn::clockwise(90), Turn::of_exif(6));
        assert_eq!(Turn::clockwise(180), Turn::of_exif(3));
        assert_eq!(Turn::clockwise(270), Turn::of_exif(8));
        assert_eq!(Turn::clockwise(45), None);
        assert_eq!(Turn::NONE.mirrored(), Turn::of_exif(2).unwrap());
    }

    #[test]
    fn colours_turn_with_their_pixels_in_every_layout() {
        // 4 x 2 pixels, the left half of one colour, the right half of another.
        let yuyv = [[1, 10, 2, 20, 3, 30, 4, 40], [5, 12, 6, 22, 7, 32, 8, 42]].concat();
        let nv12 = [1, 2, 3, 4, 5, 6, 7, 8, 11, 21, 31, 41];
        for orientation in 1..=8 {
            let turn = Turn::of_exif(orientation).unwrap();
            let (mut of_pairs, mut of_planes) = (Vec::new(), Vec::new());
            let format = turn_image(PixelFormat::Yuyv, (4, 2), turn, &yuyv, &mut of_pairs);
            assert_eq!(format, PixelFormat::Nv12);
            turn_image(PixelFormat::Nv12, (4, 2), turn, &nv12, &mut of_planes);
            assert_eq!(of_pairs, of_planes, "{orientation}");
            if orientation == 6 {
                // 51/62/73/84, the left half now above.
                assert_eq!(of_pairs, [5, 1, 6, 2, 7, 3, 8, 4, 11, 21, 31, 41]);
            }
        }
    }

    #[test]
    fn directions_turn_as_pictures_do() {
        for (orientation, right, down) in [
            (1, (1.0, 0.0), (0.0, 1.0)),
            (2, (-1.0, 0.0), (0.0, 1.0)),
            (6, (0.0, 1.0), (-1.0, 0.0)),
            (8, (0.0, -1.0), (1.0, 0.0)),
        ] {
            let turn = Turn::of_exif(orientation).unwrap();
            let near = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() + (a.1 - b.1).abs() < 1e-9;
            assert!(near(turn.direction((1.0, 0.0)), right), "{orientation}");
            assert!(near(turn.direction((0.0, 1.0)), down), "{orientation}");
        }
    }
}
