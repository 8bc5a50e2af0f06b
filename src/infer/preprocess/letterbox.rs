//! A whole frame into a network's input: aspect kept, centred, padded.
//!
//! Shrinking takes the exact area average: source rows are summed with 8-bit
//! weights into 16-bit sums (which the compiler turns into wide integer
//! instructions), then columns with real weights. Every source byte is read once.

use crate::frame::{Frame, PixelFormat};
use crate::limits::IMAGE_SIDE_PX_MAX;

use super::pixels::yuv_to_rgb;
use super::{Homography, ImageBuffer, InferError, Mapping, Preprocess, check_frame};

/// Where a frame lies in a letterboxed input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// First column and row of the frame in the input.
    pub left: usize,
    /// See `left`.
    pub top: usize,
    /// Columns and rows of the frame in the input.
    pub width: usize,
    /// See `width`.
    pub height: usize,
    /// Source pixels per input pixel, across and down.
    pub scale_x: f32,
    /// See `scale_x`.
    pub scale_y: f32,
}

impl Letterbox {
    /// Fits a source image into an input, both in pixels: the longer side (in
    /// relation to the input) fills it, the other is rounded to whole pixels
    /// and centred, an odd pixel of padding going to the right or bottom.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sides are at most 1920"
    )]
    pub fn fit(source: (u32, u32), input: (usize, usize)) -> Self {
        let (source_w, source_h) = (source.0 as f32, source.1 as f32);
        let scale = (input.0 as f32 / source_w).min(input.1 as f32 / source_h);
        let width = ((source_w * scale).round() as usize).clamp(1, input.0);
        let height = ((source_h * scale).round() as usize).clamp(1, input.1);
        Self {
            left: (input.0 - width) / 2,
            top: (input.1 - height) / 2,
            width,
            height,
            scale_x: source_w / width as f32,
            scale_y: source_h / height as f32,
        }
    }

    /// Source pixel of an input pixel (centres at whole numbers in both).
    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    pub fn to_source(&self, x: f32, y: f32) -> (f32, f32) {
        (
            (x - self.left as f32 + 0.5) * self.scale_x - 0.5,
            (y - self.top as f32 + 0.5) * self.scale_y - 0.5,
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    fn homography(&self) -> Homography {
        let (sx, sy) = (self.scale_x, self.scale_y);
        let shift_x = (0.5 - self.left as f32) * sx - 0.5;
        let shift_y = (0.5 - self.top as f32) * sy - 0.5;
        Homography([sx, 0.0, shift_x, 0.0, sy, shift_y, 0.0, 0.0, 1.0])
    }
}

/// Sums of the weights of all rows in one area: 255 * 256 still fits 16 bits.
const WEIGHT_SUM: f32 = 256.0;

/// Weighted sums of source rows.
#[derive(Debug)]
pub(super) struct Sums {
    luma: Vec<u16>,
    chroma: Vec<u16>,
}

impl Sums {
    pub(super) fn new() -> Self {
        let side = IMAGE_SIDE_PX_MAX as usize;
        Self {
            luma: vec![0; side * 3],
            chroma: vec![0; side],
        }
    }
}

impl Preprocess {
    /// Fills `out` with the whole frame, letterboxed, and says where it lies.
    ///
    /// # Errors
    ///
    /// [`InferError::Frame`] where the frame's bytes do not fit its description.
    pub fn letterbox(
        &mut self,
        frame: &Frame,
        out: &mut ImageBuffer,
    ) -> Result<Letterbox, InferError> {
        check_frame(frame)?;
        let meta = &frame.meta;
        let fit = Letterbox::fit((meta.width_px, meta.height_px), (out.width, out.height));
        if fit.scale_x < 1.0 || fit.scale_y < 1.0 {
            // Enlarging: bilinear, with the padding made by the fill value.
            let mapping = Mapping::Homography(fit.homography());
            self.warp(frame, &mapping, out)?;
            return Ok(fit);
        }
        let fill = [out.fill; 3];
        for y in 0..out.height {
            let rgb = &mut self.rgb[..out.width];
            rgb.fill(fill);
            if y >= fit.top && y < fit.top + fit.height {
                let inside = &mut rgb[fit.left..fit.left + fit.width];
                self.sums.area_row(frame, &fit, y - fit.top, inside);
            }
            out.put_row(y, &self.rgb[..out.width]);
        }
        Ok(fit)
    }
}

impl Sums {
    /// One row of area averages.
    fn area_row(&mut self, frame: &Frame, fit: &Letterbox, row: usize, out: &mut [[f32; 3]]) {
        let (width, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
        #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
        let (top, bottom) = (row as f32 * fit.scale_y, (row + 1) as f32 * fit.scale_y);
        let bytes = frame.bytes.as_slice();
        match frame.meta.format {
            PixelFormat::Rgb24 => {
                let sums = &mut self.luma[..width * 3];
                sum_rows(bytes, height, (top, bottom), sums);
                for (spans, out) in Spans::new(fit.scale_x, width).zip(out) {
                    *out = spans.mean3(sums);
                }
            }
            PixelFormat::Grey => {
                let sums = &mut self.luma[..width];
                sum_rows(bytes, height, (top, bottom), sums);
                for (span, out) in Spans::new(fit.scale_x, width).zip(out) {
                    *out = [span.mean(sums, 1, 0); 3];
                }
            }
            PixelFormat::Yuyv => {
                let sums = &mut self.luma[..width * 2];
                sum_rows(bytes, height, (top, bottom), sums);
                let luma = Spans::new(fit.scale_x, width);
                let chroma = Spans::new(fit.scale_x * 0.5, width / 2);
                for ((y, uv), out) in luma.zip(chroma).zip(out) {
                    let (u, v) = (uv.mean(sums, 4, 1), uv.mean(sums, 4, 3));
                    *out = yuv_to_rgb([y.mean(sums, 2, 0), u, v]);
                }
            }
            PixelFormat::Nv12 => {
                let sums = &mut self.luma[..width];
                let colours = &mut self.chroma[..width];
                sum_rows(bytes, height, (top, bottom), sums);
                let plane = &bytes[width * height..];
                sum_rows(plane, height / 2, (top * 0.5, bottom * 0.5), colours);
                let luma = Spans::new(fit.scale_x, width);
                let chroma = Spans::new(fit.scale_x * 0.5, width / 2);
                for ((y, uv), out) in luma.zip(chroma).zip(out) {
                    let (u, v) = (uv.mean(colours, 2, 0), uv.mean(colours, 2, 1));
                    *out = yuv_to_rgb([y.mean(sums, 1, 0), u, v]);
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
fn sum_rows(bytes: &[u8], height: usize, (top, bottom): (f32, f32), sums: &mut [u16]) {
    sums.fill(0);
    let first = (top as usize).min(height - 1);
    let last = (bottom.ceil() as usize).clamp(first + 1, height);
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
        let stride = sums.len();
        let source = &bytes[row * stride..(row + 1) * stride];
        for (sum, &byte) in sums.iter_mut().zip(source) {
            *sum += u16::from(byte) * weight;
        }
    }
}

/// The source columns under each destination column.
struct Spans {
    scale: f32,
    width: usize,
    column: usize,
}

/// Source columns `first..last` under a destination column, the first and the
/// last with the share that lies inside.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    last: usize,
    first_share: f32,
    last_share: f32,
    /// 1 over the sum of all weights.
    scale: f32,
}

impl Spans {
    const fn new(scale: f32, width: usize) -> Self {
        Self {
            scale,
            width,
            column: 0,
        }
    }
}

impl Iterator for Spans {
    type Item = Span;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "columns are at most 1920 and positive"
    )]
    fn next(&mut self) -> Option<Span> {
        let left = self.column as f32 * self.scale;
        let right = (left + self.scale).min(self.width as f32);
        self.column += 1;
        let first = (left as usize).min(self.width - 1);
        let last = (right.ceil() as usize).clamp(first + 1, self.width);
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
        Some(Span {
            first,
            last,
            first_share,
            last_share,
            scale: 1.0 / (total * WEIGHT_SUM),
        })
    }
}

impl Span {
    /// Mean of one channel that stands at `offset` of every `step` sums.
    fn mean(&self, sums: &[u16], step: usize, offset: usize) -> f32 {
        let at = |column: usize| f32::from(sums[column * step + offset]);
        let mut total = self.first_share * at(self.first);
        if self.last > self.first + 1 {
            for column in self.first + 1..self.last - 1 {
                total += at(column);
            }
            total += self.last_share * at(self.last - 1);
        }
        total * self.scale
    }

    /// Means of three interleaved channels.
    fn mean3(&self, sums: &[u16]) -> [f32; 3] {
        let sums = &sums[self.first * 3..self.last * 3];
        let count = self.last - self.first;
        let mut total = [0.0; 3];
        for (i, pixel) in sums.as_chunks::<3>().0.iter().enumerate() {
            let share = if i == 0 {
                self.first_share
            } else if i + 1 == count {
                self.last_share
            } else {
                1.0
            };
            for k in 0..3 {
                total[k] += share * f32::from(pixel[k]);
            }
        }
        total.map(|total| total * self.scale)
    }
}
