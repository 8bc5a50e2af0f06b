//! Area averages of a part of a frame.
//!
//! Source rows are summed with 8-bit weights into 16-bit sums, which the
//! compiler turns into wide integer instructions, then columns with real
//! weights. Every source byte is read once.

use crate::base::limits::IMAGE_SIDE_PX_MAX;
use crate::frame::{Frame, PixelFormat};

use super::pixels::yuv_to_rgb;

/// A part of a frame and by how much it shrinks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    /// First column and row; even, because colour may be shared by pairs.
    pub(super) left: usize,
    /// See `left`.
    pub(super) top: usize,
    /// Columns and rows.
    pub(super) width: usize,
    /// See `width`.
    pub(super) height: usize,
    /// Source pixels per destination pixel, at least 1.
    pub(super) scale_x: f32,
    /// See `scale_x`.
    pub(super) scale_y: f32,
}

/// Sums of the weights of all rows in one area: 255 * 256 still fits 16 bits.
const WEIGHT_SUM: f32 = 256.0;

/// Weighted sums of source rows.
#[derive(Debug)]
pub(super) struct Sums {
    luma: Vec<u16>,
    chroma: Vec<u16>,
    /// Source columns under each destination column, and colour pairs under it.
    columns: Vec<Span>,
    pairs: Vec<Span>,
}

/// One plane of a frame: bytes of a row, and the part of the row that is summed.
#[derive(Clone, Copy)]
struct Plane<'a> {
    bytes: &'a [u8],
    stride: usize,
    first: usize,
}

impl Sums {
    pub(super) fn new() -> Self {
        let side = IMAGE_SIDE_PX_MAX as usize;
        Self {
            luma: vec![0; side * 3],
            chroma: vec![0; side],
            columns: Vec::with_capacity(side),
            pairs: Vec::with_capacity(side),
        }
    }

    /// Works out the columns of an area, for as many destination columns; to be
    /// called before its rows are asked for.
    pub(super) fn prepare(&mut self, area: &Area, columns: usize) {
        let count = columns.min(self.columns.capacity());
        self.columns.clear();
        self.columns
            .extend((0..count).map(|i| Span::new(i, area.scale_x, area.width)));
        self.pairs.clear();
        self.pairs
            .extend((0..count).map(|i| Span::new(i, 0.5 * area.scale_x, area.width.div_ceil(2))));
    }

    /// One row of area averages as RGB, 0 to 255.
    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    pub(super) fn area_row(
        &mut self,
        frame: &Frame,
        area: &Area,
        row: usize,
        out: &mut [[f32; 3]],
    ) {
        let (stride, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
        let top = row as f32 * area.scale_y;
        let bottom = (top + area.scale_y).min(area.height as f32);
        let rows = (area.top as f32 + top, area.top as f32 + bottom);
        let last = area.top + area.height;
        let plane = |bytes_per_px: usize| Plane {
            bytes: &frame.bytes,
            stride: stride * bytes_per_px,
            first: area.left * bytes_per_px,
        };
        match frame.meta.format {
            PixelFormat::Rgb24 => {
                let sums = &mut self.luma[..area.width * 3];
                sum_rows(plane(3), last, rows, sums);
                for (span, out) in self.columns.iter().zip(out) {
                    *out = span.means::<3>(sums);
                }
            }
            PixelFormat::Grey => {
                let sums = &mut self.luma[..area.width];
                sum_rows(plane(1), last, rows, sums);
                for (span, out) in self.columns.iter().zip(out) {
                    *out = [span.means::<1>(sums)[0]; 3];
                }
            }
            PixelFormat::Yuyv => {
                let sums = &mut self.luma[..area.width * 2];
                sum_rows(plane(2), last, rows, sums);
                for ((column, pair), out) in self.columns.iter().zip(&self.pairs).zip(out) {
                    let [y, _] = column.means::<2>(sums);
                    let [_, u, _, v] = pair.means::<4>(sums);
                    *out = yuv_to_rgb([y, u, v]);
                }
            }
            PixelFormat::Nv12 => {
                let sums = &mut self.luma[..area.width];
                let colours = &mut self.chroma[..area.width];
                sum_rows(plane(1), last, rows, sums);
                let colour_plane = Plane {
                    bytes: &frame.bytes[stride * height..],
                    ..plane(1)
                };
                let colour_rows = (rows.0 * 0.5, rows.1 * 0.5);
                sum_rows(colour_plane, last.div_ceil(2), colour_rows, colours);
                for ((column, pair), out) in self.columns.iter().zip(&self.pairs).zip(out) {
                    let [y] = column.means::<1>(sums);
                    let [u, v] = pair.means::<2>(colours);
                    *out = yuv_to_rgb([y, u, v]);
                }
            }
        }
    }
}

/// Weighted sum of the rows in `top..bottom`, the weights adding up to [`WEIGHT_SUM`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "rows are at most 1920 and positive, weights at most 256"
)]
fn sum_rows(plane: Plane<'_>, end: usize, (top, bottom): (f32, f32), sums: &mut [u16]) {
    sums.fill(0);
    let first = (top as usize).min(end - 1);
    let last = (bottom.ceil() as usize).clamp(first + 1, end);
    let share = WEIGHT_SUM / (bottom - top);
    let mut given = 0;
    for row in first..last {
        // Weights are differences of rounded running sums, so that they add up exactly.
        let until = if row + 1 == last {
            WEIGHT_SUM as u16
        } else {
            (((row + 1) as f32 - top) * share).round() as u16
        };
        let weight = until - given;
        given = until;
        let start = row * plane.stride + plane.first;
        let source = &plane.bytes[start..start + sums.len()];
        for (sum, &byte) in sums.iter_mut().zip(source) {
            // Cannot wrap: the weights add up to 256.
            *sum = sum.wrapping_add(u16::from(byte).wrapping_mul(weight));
        }
    }
}

/// Source columns `first..last` under a destination column, the first and the
/// last with the share that lies inside.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: usize,
    last: usize,
    first_share: f32,
    last_share: f32,
    /// 1 over the sum of all weights.
    scale: f32,
}

impl Span {
    /// The columns under destination column `index`, of `width` source columns.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "columns are at most 1920 and positive"
    )]
    fn new(index: usize, scale: f32, width: usize) -> Self {
        let left = index as f32 * scale;
        let right = (left + scale).min(width as f32);
        let first = (left as usize).min(width - 1);
        let last = (right.ceil() as usize).clamp(first + 1, width);
        let alone = last == first + 1;
        let first_share = if alone {
            1.0
        } else {
            (first + 1) as f32 - left
        };
        let last_share = right - (last - 1) as f32;
        let total = if alone {
            1.0
        } else {
            first_share + last_share + (last - first - 2) as f32
        };
        Self {
            first,
            last,
            first_share,
            last_share,
            scale: 1.0 / (total * WEIGHT_SUM),
        }
    }

    /// Means of `STEP` interleaved channels.
    #[inline]
    fn means<const STEP: usize>(&self, sums: &[u16]) -> [f32; STEP] {
        let (all, _) = sums.as_chunks::<STEP>();
        let mut total = [0.0; STEP];
        let mut add = |pixel: &[u16; STEP], share: f32| {
            for (total, value) in total.iter_mut().zip(pixel) {
                *total += share * f32::from(*value);
            }
        };
        match &all[self.first..self.last] {
            [one] => add(one, 1.0),
            [first, middle @ .., last] => {
                add(first, self.first_share);
                for pixel in middle {
                    add(pixel, 1.0);
                }
                add(last, self.last_share);
            }
            [] => {}
        }
        total.map(|total| total * self.scale)
    }
}
