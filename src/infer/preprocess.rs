//! A frame's pixels to a network's input: crops through a homography or a
//! lens, whole frames letterboxed.
//!
//! Pixel centres are at whole numbers everywhere. Everything is sampled as RGB
//! from 0 to 255 in `f32`, row by row, then written in the order and range the
//! network wants. [`Preprocess`] owns its scratch rows, so nothing is
//! allocated after construction.

mod letterbox;
mod pixels;
mod warp;

use crate::frame::{Frame, PixelFormat};
use crate::limits::{IMAGE_SIDE_PX_MAX, IMAGE_SIDE_PX_MIN};
use crate::models::{Colour, Element, ImageTensor, Layout};

use super::network::{InferError, Input, count};
use pixels::{Grey, Nv12, Rgb24, Yuyv};

pub use letterbox::Letterbox;
pub use warp::{Homography, LensGrid, Mapping};

/// Most nearest-neighbour taps along one side of a destination pixel, where a crop shrinks.
const TAPS_MAX: usize = 8;

/// An image tensor with its size and its buffer.
#[derive(Debug)]
pub struct ImageBuffer {
    width: usize,
    height: usize,
    layout: Layout,
    /// Position of red, green and blue in the tensor.
    places: [usize; 3],
    /// value = pixel * gain + offset, for red, green, blue.
    gain: [f32; 3],
    offset: [f32; 3],
    fill: f32,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

impl ImageBuffer {
    /// A buffer for an input of `width` x `height` pixels.
    pub fn new(image: &ImageTensor, element: Element, width: usize, height: usize) -> Self {
        let places = match image.colour {
            Colour::Rgb => [0, 1, 2],
            Colour::Bgr => [2, 1, 0],
        };
        let numbers = width * height * 3;
        Self {
            width,
            height,
            layout: image.layout,
            places,
            gain: places.map(|place| 1.0 / image.std[place]),
            offset: places.map(|place| -image.mean[place] / image.std[place]),
            fill: f32::from(image.fill),
            values: match element {
                Element::F32 => Values::F32(vec![0.0; numbers]),
                Element::U8 => Values::U8(vec![0; numbers]),
            },
        }
    }

    /// Columns.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// The values as an engine takes them.
    pub fn input(&self) -> Input<'_> {
        match &self.values {
            Values::F32(values) => Input::F32(values),
            Values::U8(values) => Input::U8(values),
        }
    }

    /// Writes one row of RGB pixels (0 to 255).
    fn put_row(&mut self, row: usize, rgb: &[[f32; 3]]) {
        let plane = self.width * self.height;
        let (start, step, plane) = match self.layout {
            Layout::Nchw => (row * self.width, 1, plane),
            Layout::Nhwc => (row * self.width * 3, 3, 1),
        };
        for channel in 0..3 {
            let first = start + self.places[channel] * plane;
            let (gain, offset) = (self.gain[channel], self.offset[channel]);
            let pixels = rgb.iter().map(|pixel| pixel[channel] * gain + offset);
            match &mut self.values {
                Values::F32(values) => {
                    let slots = values[first..].iter_mut().step_by(step);
                    slots.zip(pixels).for_each(|(slot, value)| *slot = value);
                }
                Values::U8(values) => {
                    let slots = values[first..].iter_mut().step_by(step);
                    slots
                        .zip(pixels)
                        .for_each(|(slot, value)| *slot = to_byte(value));
                }
            }
        }
    }
}

/// Rounds to the nearest byte; what is out of range is clamped.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer casts saturate, which is the clamp wanted"
)]
fn to_byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// Samples frames; owns the scratch rows.
#[derive(Debug)]
pub struct Preprocess {
    /// Source columns and rows of one destination row's taps.
    columns: Vec<f32>,
    rows: Vec<f32>,
    /// One destination row.
    rgb: Vec<[f32; 3]>,
    /// Weighted sums of source rows, for area averages.
    sums: letterbox::Sums,
}

impl Preprocess {
    /// Scratch for destinations up to `width_max` columns.
    pub fn new(width_max: usize) -> Self {
        Self {
            columns: vec![0.0; width_max * TAPS_MAX],
            rows: vec![0.0; width_max * TAPS_MAX],
            rgb: vec![[0.0; 3]; width_max],
            sums: letterbox::Sums::new(),
        }
    }

    /// Fills `out` with the frame seen through `mapping` (destination pixel to
    /// source pixel). Bilinear where the mapping enlarges or keeps the size; where
    /// it shrinks, the mean over a grid of taps less than a source pixel apart, so
    /// that fine patterns do not alias. Outside the frame is the input's fill value.
    ///
    /// # Errors
    ///
    /// [`InferError::Frame`] where the frame's bytes do not fit its description.
    pub fn warp(
        &mut self,
        frame: &Frame,
        mapping: &Mapping<'_>,
        out: &mut ImageBuffer,
    ) -> Result<(), InferError> {
        check_frame(frame)?;
        let bytes = frame.bytes.as_slice();
        let (width, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
        match frame.meta.format {
            PixelFormat::Rgb24 => self.warp_rows(&Rgb24::new(bytes, width, height), mapping, out),
            PixelFormat::Yuyv => self.warp_rows(&Yuyv::new(bytes, width, height), mapping, out),
            PixelFormat::Nv12 => self.warp_rows(&Nv12::new(bytes, width, height), mapping, out),
            PixelFormat::Grey => self.warp_rows(&Grey::new(bytes, width, height), mapping, out),
        }
        Ok(())
    }

    fn warp_rows<P: pixels::Pixels>(
        &mut self,
        source: &P,
        mapping: &Mapping<'_>,
        out: &mut ImageBuffer,
    ) {
        let taps = mapping.taps(out.width, out.height).min(TAPS_MAX);
        let fill = [out.fill; 3];
        let count = out.width * taps;
        let (columns, rows) = (&mut self.columns[..count], &mut self.rows[..count]);
        let rgb = &mut self.rgb[..out.width];
        for y in 0..out.height {
            if taps == 1 {
                mapping.row(y, (0, 1), columns, rows);
                warp::bilinear_row(source, columns, rows, fill, rgb);
            } else {
                rgb.fill([0.0; 3]);
                for part in 0..taps {
                    mapping.row(y, (part, taps), columns, rows);
                    warp::add_nearest_row(source, columns, rows, fill, taps, rgb);
                }
                warp::finish_row::<P>(rgb, taps);
            }
            out.put_row(y, rgb);
        }
    }
}

/// Checks that a frame's bytes and sides are what its description says.
fn check_frame(frame: &Frame) -> Result<(), InferError> {
    let meta = &frame.meta;
    let sides = [meta.width_px, meta.height_px];
    let sides_fit = sides
        .iter()
        .all(|side| (IMAGE_SIDE_PX_MIN..=IMAGE_SIDE_PX_MAX).contains(side));
    // A pair of columns (and rows, for 4:2:0) shares its colour.
    let even = match meta.format {
        PixelFormat::Rgb24 | PixelFormat::Grey => true,
        PixelFormat::Yuyv => meta.width_px.is_multiple_of(2),
        PixelFormat::Nv12 => meta.width_px.is_multiple_of(2) && meta.height_px.is_multiple_of(2),
    };
    let want = meta.format.image_bytes(meta.width_px, meta.height_px);
    if sides_fit && even && frame.bytes.len() >= want {
        return Ok(());
    }
    Err(InferError::Frame {
        sequence: meta.sequence,
        got: count(frame.bytes.len()),
        want: count(want),
    })
}

#[cfg(test)]
mod tests;
