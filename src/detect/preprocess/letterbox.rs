//! A whole frame into a network's input: aspect kept, centred, padded.
//!
//! Shrinking takes area averages, so that fine patterns do not alias.

use crate::frame::Frame;

use super::area::Area;
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
        let area = Area {
            left: 0,
            top: 0,
            width: meta.width_px as usize,
            height: meta.height_px as usize,
            scale_x: fit.scale_x,
            scale_y: fit.scale_y,
        };
        self.sums.prepare(&area, fit.width);
        let fill = [out.fill; 3];
        for y in 0..out.height {
            let rgb = &mut self.rgb[..out.width];
            rgb.fill(fill);
            if y >= fit.top && y < fit.top + fit.height {
                let inside = &mut rgb[fit.left..fit.left + fit.width];
                self.sums.area_row(frame, &area, y - fit.top, inside);
            }
            out.put_row(y, &self.rgb[..out.width]);
        }
        Ok(fit)
    }
}
