//! From a driver's or a file's bytes to a frame: rows without padding, JPEG decoded.
//!
//! Pure functions. The JPEG decoder makes its tables and scratch rows on the
//! heap at every frame; the uncompressed formats do not touch it.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::base::limits::{IMAGE_SIDE_PX_MAX, PHOTO_PX_MAX};
use crate::frame::PixelFormat;

/// Why an image could not be made from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvertError {
    /// Fewer bytes than the image needs.
    Short {
        /// Bytes at hand.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
    /// The compressed image does not decode, or ends before its last row.
    Damaged,
    /// The compressed image has another size than was asked for.
    Size {
        /// Its columns.
        width_px: u32,
        /// Its rows.
        height_px: u32,
    },
}

/// Bytes of an image whose rows are `stride` bytes apart. The last row needs no padding.
///
/// For NV12 the plane of colours follows that of brightness and has the same stride.
pub const fn padded_bytes(
    format: PixelFormat,
    width_px: u32,
    height_px: u32,
    stride: usize,
) -> usize {
    let (row_bytes, rows) = rows_of(format, width_px, height_px);
    if rows == 0 {
        0
    } else {
        stride * (rows - 1) + row_bytes
    }
}

/// Bytes in one row and number of rows, those of the second plane included.
const fn rows_of(format: PixelFormat, width_px: u32, height_px: u32) -> (usize, usize) {
    let (width, height) = (width_px as usize, height_px as usize);
    match format {
        PixelFormat::Rgb24 => (width * 3, height),
        PixelFormat::Yuyv => (width * 2, height),
        PixelFormat::Nv12 => (width, height + height.div_ceil(2)),
        PixelFormat::Grey => (width, height),
    }
}

/// Copies an image out of a buffer whose rows are `stride` bytes apart.
///
/// A stride of zero, which some drivers report, means rows without padding.
///
/// # Errors
///
/// [`ConvertError::Short`] where `source` ends before the last row does, or
/// the stride is less than a row.
pub fn unpad_into(
    format: PixelFormat,
    width_px: u32,
    height_px: u32,
    stride: usize,
    source: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let (row_bytes, rows) = rows_of(format, width_px, height_px);
    let stride = if stride == 0 { row_bytes } else { stride };
    let want = padded_bytes(format, width_px, height_px, stride.max(row_bytes));
    if source.len() < want || stride < row_bytes {
        return Err(ConvertError::Short {
            got: source.len(),
            want,
        });
    }
    out.clear();
    if stride == row_bytes {
        out.extend_from_slice(&source[..row_bytes * rows]);
    } else {
        for row in source.chunks(stride).take(rows) {
            out.extend_from_slice(&row[..row_bytes]);
        }
    }
    Ok(())
}

/// Swaps the bytes of each pair: UYVY to YUYV.
pub fn swap_pairs(bytes: &mut [u8]) {
    for pair in bytes.as_chunks_mut::<2>().0 {
        pair.swap(0, 1);
    }
}

/// The longest side that the header of a JPEG can state.
const JPEG_SIDE_PX_MAX: usize = 65_535;

/// Decoder settings: RGB out, a truncated image is an error, no side longer than this.
fn jpeg_options(side_px_max: usize) -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(side_px_max)
        .set_max_height(side_px_max)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
}

/// Columns and rows of a JPEG, from its header.
///
/// # Errors
///
/// [`ConvertError::Damaged`] where there is no such header or a side is longer
/// than [`IMAGE_SIDE_PX_MAX`].
pub fn jpeg_size(bytes: &[u8]) -> Result<(u32, u32), ConvertError> {
    size_within(bytes, IMAGE_SIDE_PX_MAX as usize)
}

/// As [`jpeg_size`], of a photograph of any size.
///
/// # Errors
///
/// [`ConvertError::Damaged`] where there is no such header.
pub(super) fn photo_size(bytes: &[u8]) -> Result<(u32, u32), ConvertError> {
    size_within(bytes, JPEG_SIDE_PX_MAX)
}

fn size_within(bytes: &[u8], side_px_max: usize) -> Result<(u32, u32), ConvertError> {
    let options = jpeg_options(side_px_max);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|_| ConvertError::Damaged)?;
    let (width, height) = decoder.dimensions().ok_or(ConvertError::Damaged)?;
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width_px), Ok(height_px)) => Ok((width_px, height_px)),
        _ => Err(ConvertError::Damaged),
    }
}

/// A JPEG's first marker, and one that tells the decoder to take the standard
/// Huffman tables.
const AVI1: &[u8] = b"\xFF\xD8\xFF\xE0\x00\x07AVI1\0";

/// Whether a JPEG brings its Huffman tables along. The class of USB cameras lets
/// them be left out, and meant are then those of the standard's annex K.
fn has_huffman_tables(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xFF, marker, high, low, ..] = *rest {
        match marker {
            0xC4 => return true,
            // The image begins.
            0xDA => return false,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        rest = rest.get(2 + length..).unwrap_or_default();
    }
    // Not for us to judge.
    true
}

/// Bytes of the image that a JPEG begins with: up to its end marker, whatever lies behind. `None` if there is no
/// such marker.
pub(super) fn jpeg_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        // To the next marker. Within pixels, 0xFF is followed by a zero, and restart markers have no length.
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)? + 1;
        match *bytes.get(at)? {
            0x00 | 0x01 | 0xD0..=0xD8 => at += 1,
            0xFF => {}
            0xD9 => return Some(at + 1),
            _ => {
                let length = bytes.get(at + 1..at + 3)?.try_into().ok()?;
                at += 1 + usize::from(u16::from_be_bytes(length)).max(2);
            }
        }
    }
}

/// Decodes a camera's JPEG into RGB.
///
/// # Errors
///
/// [`ConvertError::Size`] where it is not `width_px` x `height_px`, and
/// [`ConvertError::Damaged`] where it does not decode or lacks its end. (An
/// image that lost data before an end that is there cannot be told from a whole one.)
pub fn jpeg_into(
    bytes: &[u8],
    width_px: u32,
    height_px: u32,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    // Cameras pad a compressed frame; the image ends at its marker. The decoder alone takes a cut in the last rows
    // for an end.
    let end = jpeg_end(bytes).ok_or(ConvertError::Damaged)?;
    decode_within(
        &bytes[..end],
        IMAGE_SIDE_PX_MAX as usize,
        (width_px, height_px),
        out,
    )
}

/// As [`jpeg_into`], of a photograph of any size, whose end is where the bytes end.
///
/// # Errors
///
/// As [`jpeg_into`].
pub(super) fn photo_into(
    bytes: &[u8],
    width_px: u32,
    height_px: u32,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    decode_within(bytes, JPEG_SIDE_PX_MAX, (width_px, height_px), out)
}

fn decode_within(
    bytes: &[u8],
    side_px_max: usize,
    (width_px, height_px): (u32, u32),
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let completed;
    let bytes = if has_huffman_tables(bytes) {
        bytes
    } else {
        completed = [AVI1, &bytes[2..]].concat();
        &completed
    };
    let options = jpeg_options(side_px_max);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|_| ConvertError::Damaged)?;
    let (width, height) = decoder.dimensions().ok_or(ConvertError::Damaged)?;
    if (width, height) != (width_px as usize, height_px as usize) {
        return Err(ConvertError::Size {
            width_px: u32::try_from(width).unwrap_or(u32::MAX),
            height_px: u32::try_from(height).unwrap_or(u32::MAX),
        });
    }
    let want = PixelFormat::Rgb24.image_bytes(width_px, height_px);
    if decoder.output_buffer_size() != Some(want) {
        return Err(ConvertError::Damaged);
    }
    out.resize(want, 0);
    decoder.decode_into(out).map_err(|_| ConvertError::Damaged)
}

/// Bytes of a pixel of the widest PNG: four channels of 16 bits.
const PNG_PX_BYTES: u64 = 8;

fn png_reader(bytes: &[u8]) -> Result<png::Reader<&[u8]>, ConvertError> {
    let most = usize::try_from(PHOTO_PX_MAX * PNG_PX_BYTES).unwrap_or(usize::MAX);
    let mut decoder = png::Decoder::new_with_limits(bytes, png::Limits { bytes: most });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.read_info().map_err(|_| ConvertError::Damaged)
}

/// Columns and rows of a PNG, from its header.
///
/// # Errors
///
/// [`ConvertError::Damaged`] where there is no such header.
pub(super) fn png_size(bytes: &[u8]) -> Result<(u32, u32), ConvertError> {
    png_reader(bytes).map(|reader| reader.info().size())
}

/// Decodes a PNG into RGB; what is transparent is put over black.
///
/// # Errors
///
/// [`ConvertError::Size`] where it is not `width_px` x `height_px`,
/// [`ConvertError::Damaged`] where it does not decode.
pub fn png_into(
    bytes: &[u8],
    width_px: u32,
    height_px: u32,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let mut reader = png_reader(bytes)?;
    let (width, height) = reader.info().size();
    if (width, height) != (width_px, height_px) {
        return Err(ConvertError::Size {
            width_px: width,
            height_px: height,
        });
    }
    let mut pixels = vec![0; reader.output_buffer_size()];
    let info = reader
        .next_frame(&mut pixels)
        .map_err(|_| ConvertError::Damaged)?;
    let pixels = &pixels[..info.buffer_size()];
    let over_black = |value: u8, alpha: u8| {
        u8::try_from((u16::from(value) * u16::from(alpha) + 127) / 255).unwrap_or(u8::MAX)
    };
    out.clear();
    match info.color_type {
        png::ColorType::Rgb => out.extend_from_slice(pixels),
        png::ColorType::Grayscale => out.extend(pixels.iter().flat_map(|&grey| [grey; 3])),
        png::ColorType::Rgba => out.extend(pixels.chunks_exact(4).flat_map(|rgba| {
            [
                over_black(rgba[0], rgba[3]),
                over_black(rgba[1], rgba[3]),
                over_black(rgba[2], rgba[3]),
            ]
        })),
        png::ColorType::GrayscaleAlpha => out.extend(
            pixels
                .chunks_exact(2)
                .flat_map(|grey| [over_black(grey[0], grey[1]); 3]),
        ),
        png::ColorType::Indexed => return Err(ConvertError::Damaged),
    }
    if out.len() == PixelFormat::Rgb24.image_bytes(width, height) {
        Ok(())
    } else {
        Err(ConvertError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_between_rows_is_left_out() {
        let padded = [1, 2, 9, 9, 3, 4];
        let mut out = Vec::new();
        unpad_into(PixelFormat::Grey, 2, 2, 4, &padded, &mut out).unwrap();
        assert_eq!(out, [1, 2, 3, 4]);
    }

    #[test]
    fn both_planes_of_nv12_are_unpadded() {
        // 4 x 2: two rows of brightness, one of colour, 2 bytes of padding each.
        let padded = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 20, 21, 22, 23];
        let mut out = Vec::new();
        unpad_into(PixelFormat::Nv12, 4, 2, 6, &padded, &mut out).unwrap();
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22, 23]);
        assert_eq!(out.len(), PixelFormat::Nv12.image_bytes(4, 2));
    }

    #[test]
    fn a_driver_that_reports_no_stride_has_rows_without_padding() {
        let mut out = Vec::new();
        unpad_into(PixelFormat::Yuyv, 2, 1, 0, &[1, 2, 3, 4, 5], &mut out).unwrap();
        assert_eq!(out, [1, 2, 3, 4]);
    }

    #[test]
    fn a_buffer_that_ends_early_is_short_and_says_by_how_much() {
        let mut out = Vec::new();
        assert_eq!(
            unpad_into(PixelFormat::Yuyv, 4, 2, 10, &[0; 17], &mut out),
            Err(ConvertError::Short { got: 17, want: 18 })
        );
        assert_eq!(
            unpad_into(PixelFormat::Grey, 4, 1, 3, &[0; 100], &mut out),
            Err(ConvertError::Short { got: 100, want: 4 })
        );
    }

    /// A 48 x 32 JPEG, quality 90, colours halved in resolution.
    fn jpeg() -> Vec<u8> {
        include_bytes!("../../tests/data/ramp_48x32.jpg").to_vec()
    }

    #[test]
    fn a_jpeg_decodes_to_the_pixels_it_was_made_from() {
        let mut out = Vec::new();
        assert_eq!(jpeg_size(&jpeg()), Ok((48, 32)));
        jpeg_into(&jpeg(), 48, 32, &mut out).unwrap();
        // The image is red = 5 x, green = 7 y, blue = 128.
        let pixel = |x: usize, y: usize| &out[(y * 48 + x) * 3..][..3];
        for (x, y) in [(4, 4), (40, 10), (20, 28)] {
            let want = [5 * x, 7 * y, 128];
            for (got, want) in pixel(x, y).iter().zip(want) {
                assert!(
                    usize::from(*got).abs_diff(want) < 12,
                    "{x},{y}: {got} {want}"
                );
            }
        }
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_damaged() {
        let whole = jpeg();
        let mut out = Vec::new();
        for length in 0..whole.len() {
            assert_eq!(
                jpeg_into(&whole[..length], 48, 32, &mut out),
                Err(ConvertError::Damaged),
                "{length} of {} bytes",
                whole.len()
            );
        }
    }

    #[test]
    fn a_grey_jpeg_decodes_to_equal_colours() {
        let grey = include_bytes!("../../tests/data/grey_48x32.jpg");
        let mut out = Vec::new();
        jpeg_into(grey, 48, 32, &mut out).unwrap();
        assert_eq!(out.len(), 48 * 32 * 3);
        assert!(
            out.chunks(3)
                .all(|rgb| rgb[0] == rgb[1] && rgb[1] == rgb[2])
        );
        assert!(out[47 * 3] > out[0] + 40, "brighter to the right");
    }

    #[test]
    fn what_is_behind_a_jpeg_is_no_damage() {
        for padding in [&[0; 100][..], &[0xFF; 9], b"\n", b"\xFF\xD8 and more"] {
            let padded = [&jpeg(), padding].concat();
            jpeg_into(&padded, 48, 32, &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn a_jpeg_without_huffman_tables_has_those_of_the_standard() {
        // 4:2:2 and the standard's tables, as most webcams send.
        let whole = include_bytes!("../../tests/data/ramp_320x240_422.jpg");
        let mut want = Vec::new();
        jpeg_into(whole, 320, 240, &mut want).unwrap();
        assert!(want[319 * 3] > 240 && want[239 * 320 * 3 + 1] > 240);
        let mut bare = whole.to_vec();
        while let Some(at) = bare.windows(2).position(|two| two == [0xFF, 0xC4]) {
            let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
            bare.drain(at..at + 2 + length);
        }
        assert!(!has_huffman_tables(&bare));
        let mut got = Vec::new();
        jpeg_into(&bare, 320, 240, &mut got).unwrap();
        assert!(got == want, "the same picture");
    }

    #[test]
    fn a_jpeg_of_another_size_says_its_size() {
        assert_eq!(
            jpeg_into(&jpeg(), 64, 32, &mut Vec::new()),
            Err(ConvertError::Size {
                width_px: 48,
                height_px: 32
            })
        );
    }

    #[test]
    fn any_bytes_at_all_are_damaged_and_no_crash() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut out = Vec::new();
        for _ in 0..300 {
            let mut bytes = jpeg();
            for _ in 0..rng.usize(1..20) {
                let at = rng.usize(2..bytes.len() - 2);
                bytes[at] = rng.u8(..);
            }
            // Most still decode, to other pixels; none may panic.
            let _ = jpeg_into(&bytes, 48, 32, &mut out);
        }
    }
}
