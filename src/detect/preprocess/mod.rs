//! A frame's pixels to a network's input: crops through a homography or a
//! lens, whole frames letterboxed.
//!
//! Pixel centres are at whole numbers everywhere. Everything is sampled as RGB
//! from 0 to 255 in `f32`, row by row, then written in the order and range the
//! network wants. [`Preprocess`] owns its scratch rows, so nothing is
//! allocated after construction.

mod area;
mod letterbox;
mod pixels;
mod warp;

use crate::base::limits::{IMAGE_PX_MAX, IMAGE_SIDE_PX_MAX, IMAGE_SIDE_PX_MIN};
use crate::engine::models::{Colour, Element, ImageTensor, Layout};
use crate::frame::{Frame, PixelFormat};

use crate::engine::network::{InferError, Input, count};
use pixels::{Format, Grey, Image, Nv12, Rgb24, Yuyv};

pub use letterbox::Letterbox;
pub use warp::{Homography, LensGrid, Mapping};

/// Where a mapping shrinks by less, bilinear taps alone are used: they reach
/// over two source pixels.
const REDUCE_FROM: f32 = 2.0;

/// Most pixels of a reduced image: the largest frame at half its size.
const REDUCED_PX_MAX: usize = IMAGE_PX_MAX / 4;

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

    /// Image width, pixels.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Image height, pixels.
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

    /// Whether it is as wide as high.
    pub const fn is_square(&self) -> bool {
        self.width == self.height
    }

    /// Turns a square image by so many quarter turns clockwise.
    pub fn turn(&mut self, quarters: usize) {
        debug_assert!(self.is_square(), "turned on its side it has another shape");
        let (side, layout) = (self.width, self.layout);
        match &mut self.values {
            Values::F32(values) => turn(values, side, layout, quarters),
            Values::U8(values) => turn(values, side, layout, quarters),
        }
    }

    /// Writes one row of RGB pixels (0 to 255).
    fn put_row(&mut self, row: usize, rgb: &[[f32; 3]]) {
        let to = RowOf {
            layout: self.layout,
            row,
            size: (self.width, self.height),
            places: self.places,
        };
        let (gain, offset) = (self.gain, self.offset);
        let value =
            |pixel: &[f32; 3], channel: usize| pixel[channel] * gain[channel] + offset[channel];
        match &mut self.values {
            Values::F32(values) => to.put(values, rgb, value),
            Values::U8(values) => {
                to.put(values, rgb, |pixel, channel| to_byte(value(pixel, channel)));
            }
        }
    }
}

/// Turns a square image in place.
fn turn<T>(values: &mut [T], side: usize, layout: Layout, quarters: usize) {
    let at = |channel: usize, row: usize, column: usize| match layout {
        Layout::Nchw => (channel * side + row) * side + column,
        Layout::Nhwc => (row * side + column) * 3 + channel,
    };
    for channel in 0..3 {
        // A quarter turn is a reflection in the diagonal and one in a middle line, half a turn those in both.
        if quarters % 2 == 1 {
            for row in 0..side {
                for column in row + 1..side {
                    values.swap(at(channel, row, column), at(channel, column, row));
                }
            }
        }
        if matches!(quarters % 4, 1 | 2) {
            for row in 0..side {
                for column in 0..side / 2 {
                    values.swap(
                        at(channel, row, column),
                        at(channel, row, side - 1 - column),
                    );
                }
            }
        }
        if matches!(quarters % 4, 2 | 3) {
            for row in 0..side / 2 {
                for column in 0..side {
                    values.swap(
                        at(channel, row, column),
                        at(channel, side - 1 - row, column),
                    );
                }
            }
        }
    }
}

/// Where a row of pixels stands in an image tensor.
struct RowOf {
    layout: Layout,
    row: usize,
    size: (usize, usize),
    places: [usize; 3],
}

impl RowOf {
    /// Each layout has a loop of its own, which the compiler turns into one of whole registers.
    #[inline]
    fn put<T>(&self, values: &mut [T], rgb: &[[f32; 3]], value: impl Fn(&[f32; 3], usize) -> T) {
        let (width, height) = self.size;
        for (channel, &place) in self.places.iter().enumerate() {
            match self.layout {
                Layout::Nchw => {
                    let slots = &mut values[(place * height + self.row) * width..][..rgb.len()];
                    for (slot, pixel) in slots.iter_mut().zip(rgb) {
                        *slot = value(pixel, channel);
                    }
                }
                Layout::Nhwc => {
                    let slots = &mut values[self.row * width * 3..][..rgb.len() * 3];
                    for (slots, pixel) in slots.chunks_exact_mut(3).zip(rgb) {
                        slots[place] = value(pixel, channel);
                    }
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

/// A frame's pixels as RGB, three bytes each, for images.
///
/// # Errors
///
/// [`InferError::Frame`] where the frame's bytes do not fit its description or
/// `out` is not of the image's size.
pub fn to_rgb(frame: &Frame, out: &mut [u8]) -> Result<(), InferError> {
    check_frame(frame)?;
    let (width, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
    if out.len() != width * height * 3 {
        return Err(InferError::Tensor {
            index: 0,
            got: u32::try_from(out.len()).unwrap_or(u32::MAX),
            want: u32::try_from(width * height * 3).unwrap_or(u32::MAX),
        });
    }
    let bytes = frame.bytes.as_slice();
    match frame.meta.format {
        PixelFormat::Rgb24 => out.copy_from_slice(&bytes[..out.len()]),
        PixelFormat::Yuyv => copy_rgb(&Image::<Yuyv>::new(bytes, width, height), out),
        PixelFormat::Nv12 => copy_rgb(&Image::<Nv12>::new(bytes, width, height), out),
        PixelFormat::Grey => copy_rgb(&Image::<Grey>::new(bytes, width, height), out),
    }
    Ok(())
}

fn copy_rgb<F: Format>(pixels: &Image<'_, F>, out: &mut [u8]) {
    let width = pixels.width();
    for (at, rgb) in out.chunks_exact_mut(3).enumerate() {
        let values = F::rgb(pixels.at(at % width, at / width));
        rgb.copy_from_slice(&values.map(to_byte));
    }
}

/// Samples frames; owns the scratch memory.
#[derive(Debug)]
pub struct Preprocess {
    /// Source columns and rows of one destination row.
    columns: Vec<f32>,
    rows: Vec<f32>,
    /// One destination or reduced row.
    rgb: Vec<[f32; 3]>,
    /// Weighted sums of source rows, for area averages.
    sums: area::Sums,
    /// A part of the frame, reduced by a whole factor, as RGB bytes.
    reduced: Vec<u8>,
}

impl Preprocess {
    /// Scratch for destinations up to `width_max` columns.
    pub fn new(width_max: usize) -> Self {
        Self {
            columns: vec![0.0; width_max],
            rows: vec![0.0; width_max],
            rgb: vec![[0.0; 3]; width_max.max(IMAGE_SIDE_PX_MAX as usize)],
            sums: area::Sums::new(),
            reduced: vec![0; REDUCED_PX_MAX * 3],
        }
    }

    /// Fills `out` with the frame seen through `mapping` (destination pixel to
    /// source pixel), bilinear. Where the mapping shrinks to half or less, the part
    /// of the frame it reaches is first reduced by a whole factor, each pixel the
    /// mean of a block, so that fine patterns do not alias. Outside the frame is
    /// the input's fill value.
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
        if mapping.shrink(out.width, out.height) >= REDUCE_FROM {
            self.warp_reduced(frame, mapping, out);
            return Ok(());
        }
        let bytes = frame.bytes.as_slice();
        let (width, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
        let (whole, scratch) = (Reduction::NONE, self.scratch());
        match frame.meta.format {
            PixelFormat::Rgb24 => {
                warp_rows(
                    &Image::<Rgb24>::new(bytes, width, height),
                    mapping,
                    whole,
                    scratch,
                    out,
                );
            }
            PixelFormat::Yuyv => {
                warp_rows(
                    &Image::<Yuyv>::new(bytes, width, height),
                    mapping,
                    whole,
                    scratch,
                    out,
                );
            }
            PixelFormat::Nv12 => {
                warp_rows(
                    &Image::<Nv12>::new(bytes, width, height),
                    mapping,
                    whole,
                    scratch,
                    out,
                );
            }
            PixelFormat::Grey => {
                warp_rows(
                    &Image::<Grey>::new(bytes, width, height),
                    mapping,
                    whole,
                    scratch,
                    out,
                );
            }
        }
        Ok(())
    }

    fn scratch(&mut self) -> Scratch<'_> {
        Scratch {
            columns: &mut self.columns,
            rows: &mut self.rows,
            rgb: &mut self.rgb,
        }
    }

    fn warp_reduced(&mut self, frame: &Frame, mapping: &Mapping<'_>, out: &mut ImageBuffer) {
        let Some((area, factor)) = part_to_reduce(frame, mapping, out) else {
            // Nothing of the frame is in view.
            for y in 0..out.height {
                self.rgb[..out.width].fill([out.fill; 3]);
                out.put_row(y, &self.rgb[..out.width]);
            }
            return;
        };
        let (width, height) = (area.width.div_ceil(factor), area.height.div_ceil(factor));
        self.sums.prepare(&area, width);
        let reduced = &mut self.reduced[..width * height * 3];
        for (y, row) in reduced.chunks_exact_mut(width * 3).enumerate() {
            let rgb = &mut self.rgb[..width];
            self.sums.area_row(frame, &area, y, rgb);
            for (pixel, rgb) in row.as_chunks_mut::<3>().0.iter_mut().zip(rgb) {
                *pixel = rgb.map(to_byte);
            }
        }
        let reduction = Reduction::new(&area, factor);
        let scratch = Scratch {
            columns: &mut self.columns,
            rows: &mut self.rows,
            rgb: &mut self.rgb,
        };
        let source = Image::<Rgb24>::new(&self.reduced, width, height);
        warp_rows(&source, mapping, reduction, scratch, out);
    }
}

/// Scratch rows of [`Preprocess`].
struct Scratch<'a> {
    columns: &'a mut [f32],
    rows: &'a mut [f32],
    rgb: &'a mut [[f32; 3]],
}

/// How pixels of a reduced image lie in the frame: reduced = (frame - origin) * scale.
#[derive(Clone, Copy)]
struct Reduction {
    origin: (f32, f32),
    scale: f32,
}

impl Reduction {
    const NONE: Self = Self {
        origin: (0.0, 0.0),
        scale: 1.0,
    };

    /// The centre of the first block is half a block less half a pixel from its first pixel's.
    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    fn new(area: &area::Area, factor: usize) -> Self {
        let half = 0.5 * (factor as f32 - 1.0);
        Self {
            origin: (area.left as f32 + half, area.top as f32 + half),
            scale: 1.0 / factor as f32,
        }
    }
}

/// The part of the frame that a mapping reaches and the whole factor to reduce it by.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "float to integer casts saturate; the results are clamped to the frame"
)]
fn part_to_reduce(
    frame: &Frame,
    mapping: &Mapping<'_>,
    out: &ImageBuffer,
) -> Option<(area::Area, usize)> {
    let (width, height) = (frame.meta.width_px as usize, frame.meta.height_px as usize);
    let whole = [0.0, 0.0, width as f32, height as f32];
    let reach = mapping.reach(out.width, out.height).unwrap_or(whole);
    let mut factor = mapping
        .shrink(out.width, out.height)
        .min(IMAGE_SIDE_PX_MAX as f32) as usize;
    // Bilinear taps at the rim need a block beyond it.
    let rim = factor as f32;
    let left = ((reach[0] - rim).max(0.0) as usize) & !1;
    let top = ((reach[1] - rim).max(0.0) as usize) & !1;
    let right = ((reach[2] + rim).ceil().max(0.0) as usize)
        .next_multiple_of(2)
        .min(width);
    let bottom = ((reach[3] + rim).ceil().max(0.0) as usize)
        .next_multiple_of(2)
        .min(height);
    if left >= right || top >= bottom {
        return None;
    }
    let (width, height) = (right - left, bottom - top);
    while width.div_ceil(factor) * height.div_ceil(factor) > REDUCED_PX_MAX {
        factor += 1;
    }
    let area = area::Area {
        left,
        top,
        width,
        height,
        scale_x: factor as f32,
        scale_y: factor as f32,
    };
    Some((area, factor))
}

fn warp_rows<F: Format>(
    source: &Image<'_, F>,
    mapping: &Mapping<'_>,
    reduction: Reduction,
    scratch: Scratch<'_>,
    out: &mut ImageBuffer,
) {
    let fill = [out.fill; 3];
    let Scratch { columns, rows, rgb } = scratch;
    let columns = &mut columns[..out.width];
    let rows = &mut rows[..out.width];
    let rgb = &mut rgb[..out.width];
    let (origin, scale) = (reduction.origin, reduction.scale);
    for y in 0..out.height {
        mapping.row(y, columns, rows);
        for (column, row) in columns.iter_mut().zip(rows.iter_mut()) {
            *column = (*column - origin.0) * scale;
            *row = (*row - origin.1) * scale;
        }
        warp::bilinear_row(source, columns, rows, fill, rgb);
        out.put_row(y, rgb);
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
