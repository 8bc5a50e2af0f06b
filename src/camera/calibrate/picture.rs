//! A grey picture, and how sharp the edges of a board are in it.

use glam::DVec2;

use super::fit::{Corner, median};
use crate::frame::{Frame, PixelFormat};

/// A grey picture: one byte a pixel, rows from the top without padding.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` bytes.
    pub grey: &'a [u8],
}

/// The brightness of a frame, in `out`; its columns and rows.
pub fn grey_into(frame: &Frame, out: &mut Vec<u8>) -> (usize, usize) {
    let (width, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
    out.clear();
    match frame.meta.format {
        // The weights of BT.601, as in JPEG and in OpenCV.
        PixelFormat::Rgb24 => out.extend(frame.bytes.chunks_exact(3).map(|pixel| {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            u8::try_from((77 * r + 150 * g + 29 * b + 128) >> 8).unwrap_or(u8::MAX)
        })),
        PixelFormat::Yuyv => out.extend(frame.bytes.iter().step_by(2)),
        PixelFormat::Nv12 | PixelFormat::Grey => {
            out.extend(frame.bytes.iter().take(width * height));
        }
    }
    out.resize(width * height, 0);
    (width, height)
}

impl Picture<'_> {
    /// Brightness between pixels; `None` outside.
    pub(super) fn at(&self, place: DVec2) -> Option<f64> {
        let (x, y) = (place.x.floor(), place.y.floor());
        #[expect(clippy::cast_precision_loss, reason = "sides of images")]
        let inside =
            x >= 0.0 && y >= 0.0 && x + 1.0 < self.width as f64 && y + 1.0 < self.height as f64;
        if !inside {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "inside the picture"
        )]
        let (column, row) = (x as usize, y as usize);
        let pixel =
            |dx: usize, dy: usize| f64::from(self.grey[(row + dy) * self.width + column + dx]);
        let (right, down) = (place.x - x, place.y - y);
        let above = pixel(0, 0) + (pixel(1, 0) - pixel(0, 0)) * right;
        let below = pixel(0, 1) + (pixel(1, 1) - pixel(0, 1)) * right;
        Some(above + (below - above) * down)
    }

    /// Width of an edge halfway between two corners, in pixels: the step in brightness over its steepest slope. `None`
    /// where there is no edge.
    fn edge_px(&self, from: DVec2, to: DVec2) -> Option<f64> {
        /// Parts of a pixel between samples of the profile.
        const STEP_PX: f64 = 0.25;
        /// Farthest sample from the edge, pixels: a wider edge is blurred whatever its width.
        const REACH_PX: f64 = 8.0;
        /// Farthest sample as a part of the square: markers begin behind it.
        const REACH_REL: f64 = 0.13;
        /// Smallest step in brightness that is an edge, of 255.
        const STEP_MIN: f64 = 30.0;
        let side = (to - from).length();
        let across = (to - from).perp().normalize_or_zero();
        let middle = 0.5 * (from + to);
        let reach = REACH_PX.min(REACH_REL * side);
        let (mut profile, mut at) = (Vec::new(), -reach);
        while at <= reach {
            profile.push(self.at(middle + across * at)?);
            at += STEP_PX;
        }
        let step = (profile.last()? - profile.first()?).abs();
        if step < STEP_MIN {
            return None;
        }
        // Over one pixel, since brightness between two is only interpolated.
        let slope = profile
            .iter()
            .zip(profile.iter().skip(4))
            .map(|(a, b)| (b - a).abs())
            .fold(0.0, f64::max);
        Some(step / slope.max(1e-9))
    }

    /// How wide the edges of a board are, in pixels: the median along its columns or along its rows, whichever is
    /// wider, since a board that moves is blurred in one direction. `square_m` is the side of a square.
    pub fn blur_px(&self, corners: &[Corner], square_m: f64) -> f64 {
        let next_to = |corner: &Corner, step: DVec2| {
            let wanted = corner.board_m + step * square_m;
            let near = |other: &&Corner| (other.board_m - wanted).length() < 0.1 * square_m;
            corners.iter().find(near).map(|other| other.pixel)
        };
        let along = |step: DVec2| {
            let edges = corners.iter().filter_map(|corner| {
                let neighbour = next_to(corner, step)?;
                self.edge_px(corner.pixel, neighbour)
            });
            median(edges.collect())
        };
        f64::max(along(DVec2::X), along(DVec2::Y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::MonoNs;
    use crate::frame::FrameMeta;

    #[test]
    fn every_format_becomes_grey() {
        for (format, bytes) in [
            (PixelFormat::Rgb24, [200; 24].to_vec()),
            (PixelFormat::Yuyv, [200, 128].repeat(8)),
            (PixelFormat::Nv12, [&[200; 8][..], &[128; 4]].concat()),
            (PixelFormat::Grey, [200; 8].to_vec()),
        ] {
            let frame = Frame {
                meta: FrameMeta {
                    sequence: 0,
                    capture: MonoNs(0),
                    width_px: 4,
                    height_px: 2,
                    format,
                },
                bytes,
            };
            let mut grey = Vec::new();
            assert_eq!(grey_into(&frame, &mut grey), (4, 2));
            assert_eq!(grey, [200; 8], "{format:?}");
        }
    }

    #[test]
    fn blur_is_told_in_the_direction_of_the_motion() {
        // An edge down the middle column, sharp or ramped over eight pixels.
        let picture = |ramp: f64| -> Vec<u8> {
            (0..100 * 100)
                .map(|at| {
                    let x = f64::from(at % 100) - 49.5;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a byte"
                    )]
                    let value = (40.0 + 180.0 * (x / ramp + 0.5).clamp(0.0, 1.0)) as u8;
                    value
                })
                .collect()
        };
        let corner = |x: f64, y: f64| Corner {
            board_m: DVec2::new(x, y),
            pixel: DVec2::new(49.5, 10.0 + 80.0 * y),
        };
        let corners = [corner(0.0, 0.0), corner(0.0, 1.0)];
        let blur = |grey: &[u8]| {
            let picture = Picture {
                width: 100,
                height: 100,
                grey,
            };
            picture.blur_px(&corners, 1.0)
        };
        let (sharp, soft) = (blur(&picture(1.0)), blur(&picture(8.0)));
        assert!(sharp < 1.6 && soft > 6.0, "{sharp} {soft}");
    }
}
