//! One photograph or drawn image: PNG or JPEG, told by its content, as a viewer shows it.
//!
//! What cameras and phones add is allowed for: an EXIF header that says how the camera was held, a video or a maker's
//! data behind the image, more pixels than a frame holds.

use std::borrow::Cow;

use super::convert::{ConvertError, jpeg_end, photo_into, photo_size, png_into, png_size};
use super::ffmpeg::fit::fitting_size;
use super::reduce::reduce_rgb;
use super::turn::turn_image;
use crate::base::limits::PHOTO_PX_MAX;
use crate::frame::{PixelFormat, Turn};

/// The tag of the orientation in an EXIF header.
const ORIENTATION: u16 = 0x0112;

/// Fields of an EXIF header looked at: cameras write some ten.
const FIELDS_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Png,
    Jpeg,
}

impl Kind {
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"\xFF\xD8\xFF") {
            Some(Self::Jpeg)
        } else {
            None
        }
    }
}

/// Whether these are the first bytes of an image that is read here.
pub(super) fn is_image(head: &[u8]) -> bool {
    Kind::of(head).is_some()
}

/// What an image becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Columns and rows as stored.
    stored_px: (u32, u32),
    turn: Turn,
    /// Columns and rows as shown.
    pub(super) native_px: (u32, u32),
    /// Columns and rows as handed over, reduced to what a frame holds.
    pub(super) size_px: (u32, u32),
}

impl Shape {
    /// Read from the header.
    ///
    /// # Errors
    ///
    /// [`ConvertError::Damaged`] where there is none, [`ConvertError::Size`] where there are more than
    /// [`PHOTO_PX_MAX`] pixels.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, ConvertError> {
        let (stored_px, turn) = match Kind::of(bytes).ok_or(ConvertError::Damaged)? {
            Kind::Jpeg => (photo_size(bytes)?, jpeg_exif(bytes)),
            Kind::Png => (png_size(bytes)?, png_exif(bytes)),
        };
        let (width_px, height_px) = stored_px;
        if u64::from(width_px) * u64::from(height_px) > PHOTO_PX_MAX {
            return Err(ConvertError::Size {
                width_px,
                height_px,
            });
        }
        let turn = turn.and_then(orientation).unwrap_or(Turn::NONE);
        let native_px = turn.size(stored_px);
        Ok(Self {
            stored_px,
            turn,
            native_px,
            size_px: fitting_size(native_px, 1.0),
        })
    }
}

/// Memory that decoding takes, kept for the next image.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    stored: Vec<u8>,
    reduced: Vec<u8>,
}

/// Decodes an image of this shape into RGB, [`Shape::size_px`] large.
///
/// # Errors
///
/// [`ConvertError::Damaged`] where it does not decode.
pub(super) fn decode_into(
    bytes: &[u8],
    shape: &Shape,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let (width_px, height_px) = shape.stored_px;
    // Turned last, when it is small.
    let lying = shape.turn.size(shape.size_px);
    let whole = if lying == shape.stored_px && shape.turn == Turn::NONE {
        &mut *out
    } else {
        &mut scratch.stored
    };
    match Kind::of(bytes).ok_or(ConvertError::Damaged)? {
        Kind::Png => png_into(bytes, width_px, height_px, whole)?,
        Kind::Jpeg => photo_into(&image_of(bytes), width_px, height_px, whole)?,
    }
    let sides = |(width, height): (u32, u32)| (width as usize, height as usize);
    let upright = shape.turn == Turn::NONE;
    if lying != shape.stored_px {
        let reduced = if upright {
            &mut *out
        } else {
            &mut scratch.reduced
        };
        reduce_rgb(
            &scratch.stored,
            sides(shape.stored_px),
            sides(lying),
            reduced,
        );
    }
    if !upright {
        let source = if lying == shape.stored_px {
            &scratch.stored
        } else {
            &scratch.reduced
        };
        turn_image(PixelFormat::Rgb24, lying, shape.turn, source, out);
    }
    Ok(())
}

/// The image at the beginning of a JPEG file, without what lies behind it. Where its end is missing, it is put there:
/// whether pixels are missing too the decoder tells.
fn image_of(bytes: &[u8]) -> Cow<'_, [u8]> {
    match jpeg_end(bytes) {
        Some(end) => Cow::Borrowed(&bytes[..end]),
        None => Cow::Owned([bytes, b"\xFF\xD9"].concat()),
    }
}

/// The EXIF header of a JPEG.
fn jpeg_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    while let [0xFF, marker, high, low, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = rest.get(4..2 + length)?;
        match (marker, segment.strip_prefix(b"Exif\0\0")) {
            (0xE1, Some(exif)) => return Some(exif),
            // The image begins.
            (0xDA, _) => return None,
            _ => rest = rest.get(2 + length..)?,
        }
    }
    None
}

/// The EXIF header of a PNG.
fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(8..)?;
    loop {
        let length = usize::try_from(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        let content = rest.get(8..8_usize.checked_add(length)?)?;
        match rest.get(4..8)? {
            b"eXIf" => return Some(content),
            _ => rest = rest.get(length.checked_add(12)?..)?,
        }
    }
}

/// How the camera was held, from an EXIF header.
fn orientation(exif: &[u8]) -> Option<Turn> {
    let little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let long = |at: usize| {
        let bytes = exif.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let fields = usize::from(short(directory)?).min(FIELDS_MAX);
    (0..fields).find_map(|field| {
        let at = directory.checked_add(2 + 12 * field)?;
        (short(at)? == ORIENTATION).then_some(())?;
        // A short number; a few programs write a long one.
        match short(at + 2)? {
            3 => Turn::of_exif(short(at + 8)?),
            4 => Turn::of_exif(u16::try_from(long(at + 8)?).ok()?),
            _ => None,
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// 48 x 32, red grows to the right, green downwards.
    const RAMP: &[u8] = include_bytes!("../../tests/data/ramp_48x32.jpg");

    /// An EXIF header with another field before the orientation.
    fn exif(orientation: u8, little: bool, long: bool) -> Vec<u8> {
        let mut header = b"II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x02\0\0\0A\0\0\0\x12\x01".to_vec();
        header.extend(if long { [4, 0] } else { [3, 0] });
        header.extend([1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
        if little {
            return header;
        }
        let mut header = b"MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x02A\0\0\0\x01\x12".to_vec();
        header.extend(if long { [0, 4] } else { [0, 3] });
        header.extend([0, 0, 0, 1]);
        header.extend(if long {
            [0, 0, 0, orientation]
        } else {
            [0, orientation, 0, 0]
        });
        header.extend([0; 4]);
        header
    }

    /// A JPEG with such a header.
    pub(in crate::capture) fn held(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
        let length = u16::try_from(exif.len() + 8).unwrap().to_be_bytes();
        [
            &jpeg[..2],
            b"\xFF\xE1",
            &length,
            b"Exif\0\0",
            exif,
            &jpeg[2..],
        ]
        .concat()
    }

    fn decoded(bytes: &[u8]) -> Result<(Shape, Vec<u8>), ConvertError> {
        let shape = Shape::of(bytes)?;
        let mut out = Vec::new();
        decode_into(bytes, &shape, &mut Scratch::default(), &mut out)?;
        let (width, height) = shape.size_px;
        assert_eq!(out.len(), width as usize * height as usize * 3);
        Ok((shape, out))
    }

    #[test]
    fn a_photograph_is_turned_as_its_header_says_whatever_the_byte_order() {
        let (_, upright) = decoded(RAMP).unwrap();
        for (orientation, little, long) in (0..=9).flat_map(|n| {
            [
                (n, true, false),
                (n, false, false),
                (n, true, true),
                (n, false, true),
            ]
        }) {
            let photo = held(RAMP, &exif(orientation, little, long));
            let (shape, picture) = decoded(&photo).unwrap();
            let turn = Turn::of_exif(orientation.into()).unwrap_or(Turn::NONE);
            assert_eq!(shape.native_px, turn.size((48, 32)));
            let mut want = Vec::new();
            turn_image(PixelFormat::Rgb24, (48, 32), turn, &upright, &mut want);
            assert!(picture == want, "{orientation}, little endian: {little}");
        }
    }

    #[test]
    fn a_broken_header_is_no_header() {
        let whole = exif(6, true, false);
        for cut in 0..whole.len() - 4 {
            let (shape, _) = decoded(&held(RAMP, &whole[..cut])).unwrap();
            assert!(shape.native_px == (48, 32) || cut >= 30, "{cut} bytes");
        }
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..500 {
            let mut exif = whole.clone();
            let at = rng.usize(..exif.len());
            exif[at] = rng.u8(..);
            decoded(&held(RAMP, &exif)).unwrap();
        }
    }

    #[test]
    fn what_lies_behind_a_photograph_is_left_and_a_missing_end_is_put_there() {
        let (_, want) = decoded(RAMP).unwrap();
        // A preview in the header, with an end of its own.
        let preview = held(RAMP, &[exif(1, true, false), RAMP.to_vec()].concat());
        let film = [&b"\0\0\0\x18ftypmp42"[..], &[0xFF, 0xD9, 7, 7]].concat();
        for behind in [&b""[..], b"\n", b"\0\0\0", &film, RAMP, b"SEFT\xFF\xD8\xFF"] {
            for photo in [RAMP, &preview] {
                let (_, picture) = decoded(&[photo, behind].concat()).unwrap();
                assert!(picture == want, "{behind:?}");
            }
        }
        let (_, picture) = decoded(&RAMP[..RAMP.len() - 2]).unwrap();
        assert!(picture == want);
        assert_eq!(
            decoded(&RAMP[..RAMP.len() / 2]).map(|_| ()),
            Err(ConvertError::Damaged)
        );
    }

    fn png(width: u32, height: u32, chunk: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        if let Some(exif) = chunk {
            writer
                .write_chunk(png::chunk::ChunkType(*b"eXIf"), exif)
                .unwrap();
        }
        let pixels: Vec<u8> = (0..width * height)
            .flat_map(|at| [u8::try_from(at % width % 251).unwrap(), 0, 9])
            .collect();
        writer.write_image_data(&pixels).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn a_png_is_turned_too() {
        let (shape, picture) = decoded(&png(4, 2, Some(&exif(8, false, false)))).unwrap();
        assert_eq!(shape.native_px, (2, 4));
        let red: Vec<u8> = picture.chunks(3).map(|pixel| pixel[0]).collect();
        assert_eq!(red, [3, 3, 2, 2, 1, 1, 0, 0]);
    }

    #[test]
    fn a_large_photograph_is_reduced_in_its_shape_and_turned_after_that() {
        let (shape, picture) = decoded(&png(4000, 3000, None)).unwrap();
        assert_eq!(
            (shape.native_px, shape.size_px),
            ((4000, 3000), (1668, 1251))
        );
        assert_eq!(picture[2], 9);
        let (shape, _) = decoded(&png(4000, 3000, Some(&exif(6, true, false)))).unwrap();
        assert_eq!(
            (shape.native_px, shape.size_px),
            ((3000, 4000), (1251, 1668))
        );
    }
}
