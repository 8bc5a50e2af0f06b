//! From a driver's or a file's bytes to a frame: rows without padding, JPEG decoded.
//!
//! Pure functions. The JPEG decoder makes its tables and scratch rows on the
//! heap at every frame; the uncompressed formats do not touch it.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::frame::PixelFormat;
use crate::limits::IMAGE_SIDE_PX_MAX;

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

/// Decoder settings: RGB out, a truncated image is an error, nothing larger than we accept.
fn jpeg_options() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(IMAGE_SIDE_PX_MAX as usize)
        .set_max_height(IMAGE_SIDE_PX_MAX as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
}

/// Columns and rows of a JPEG, from its header.
///
/// # Errors
///
/// [`ConvertError::Damaged`] where there is no such header or a side is longer
/// than [`IMAGE_SIDE_PX_MAX`].
pub fn jpeg_size(bytes: &[u8]) -> Result<(u32, u32), ConvertError> {
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), jpeg_options());
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
            // The picture begins.
            0xDA => return false,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        rest = rest.get(2 + length..).unwrap_or_default();
    }
    // Not for us to judge.
    true
}

/// Decodes a JPEG into RGB.
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
    // Cameras pad a compressed frame with zeros; the image ends at the marker
    // before them. The decoder alone takes a cut in the last rows for an end.
    let end = bytes.iter().rposition(|&byte| byte != 0);
    let bytes = &bytes[..end.map_or(0, |last| last + 1)];
    if !bytes.ends_with(&[0xFF, 0xD9]) {
        return Err(ConvertError::Damaged);
    }
    let completed;
    let bytes = if has_huffman_tables(bytes) {
        bytes
    } else {
        completed = [AVI1, &bytes[2..]].concat();
        &completed
    };
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), jpeg_options());
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
        // The picture is red = 5 x, green = 7 y, blue = 128.
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
    fn zeros_behind_a_jpeg_are_no_damage() {
        let mut padded = jpeg();
        padded.extend([0; 100]);
        jpeg_into(&padded, 48, 32, &mut Vec::new()).unwrap();
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
