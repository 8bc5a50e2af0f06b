//! A folder of images as a camera: PNG and JPEG, in the order of their names.
//!
//! Numbers in names count as numbers, so `frame_2.png` comes before
//! `frame_10.png`. All images have one size; times start at zero and go up by
//! one period of the rate given.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::convert::{ConvertError, jpeg_into, jpeg_size};
use super::open::{OpenError, check_size};
use super::{Camera, CameraMode, CaptureError, Next};
use crate::clock::MonoNs;
use crate::frame::{Frame, FrameMeta, PixelFormat};
use crate::limits::{IMAGE_FILE_BYTES_MAX, IMAGE_PX_MAX};

/// A folder of images, or one image, as a camera.
#[derive(Debug)]
pub struct ImageFolder {
    mode: CameraMode,
    files: Vec<PathBuf>,
    next: usize,
    interval: Duration,
    compressed: Vec<u8>,
    complaint: Option<String>,
}

impl ImageFolder {
    /// Whether the name ends like that of an image we read.
    pub fn is_image(path: &Path) -> bool {
        kind_of(path).is_some()
    }

    /// Opens a folder, or a single image, as recorded at `rate_hz`.
    ///
    /// # Errors
    ///
    /// It cannot be read, holds no image, or its first image does not decode or
    /// is out of bounds.
    pub fn open(path: &Path, rate_hz: f32) -> Result<Self, OpenError> {
        let files = list(path)?;
        let Some(first) = files.first() else {
            return Err(OpenError::NoImages {
                path: path.to_owned(),
            });
        };
        let mut compressed = Vec::new();
        read_into(first, &mut compressed).map_err(|source| OpenError::Read {
            path: first.clone(),
            source,
        })?;
        let (width_px, height_px) =
            size_of_image(first, &compressed).map_err(|_| OpenError::Image {
                path: first.clone(),
            })?;
        check_size(&first.display().to_string(), width_px, height_px)?;
        Ok(Self {
            mode: CameraMode {
                name: path.display().to_string(),
                width_px,
                height_px,
                rate_hz,
                format: PixelFormat::Rgb24,
            },
            interval: Duration::from_secs_f64(1.0 / f64::from(rate_hz.max(0.001))),
            files,
            next: 0,
            compressed,
            complaint: None,
        })
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.files.len()
    }
}

impl Camera for ImageFolder {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn next_into(&mut self, frame: &mut Frame, _timeout: Duration) -> Result<Next, CaptureError> {
        let Some(path) = self.files.get(self.next) else {
            return Ok(Next::End);
        };
        let sequence = u32::try_from(self.next).unwrap_or(u32::MAX);
        self.next += 1;
        let (width_px, height_px) = (self.mode.width_px, self.mode.height_px);
        let decoded = read_into(path, &mut self.compressed)
            .map_err(|_| ConvertError::Damaged)
            .and_then(|()| {
                decode_into(
                    path,
                    &self.compressed,
                    width_px,
                    height_px,
                    &mut frame.bytes,
                )
            });
        match decoded {
            Ok(()) => {
                frame.meta = FrameMeta {
                    sequence,
                    capture: MonoNs(0).plus(self.interval * sequence),
                    width_px,
                    height_px,
                    format: PixelFormat::Rgb24,
                };
                Ok(Next::Frame)
            }
            Err(ConvertError::Size {
                width_px: width,
                height_px: height,
            }) => {
                self.complaint = Some(format!(
                    "{}: {width}x{height} pixels, but {} is {width_px}x{height_px}",
                    path.display(),
                    self.files[0].display(),
                ));
                Err(CaptureError::Resized {
                    sequence,
                    width_px: width,
                    height_px: height,
                })
            }
            Err(ConvertError::Damaged | ConvertError::Short { .. }) => {
                self.complaint = Some(format!("{}: does not decode as an image", path.display()));
                Err(CaptureError::Damaged { sequence })
            }
        }
    }

    fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Png,
    Jpeg,
}

fn kind_of(path: &Path) -> Option<Kind> {
    let extension = path.extension()?.to_str()?;
    if extension.eq_ignore_ascii_case("png") {
        Some(Kind::Png)
    } else if extension.eq_ignore_ascii_case("jpg") || extension.eq_ignore_ascii_case("jpeg") {
        Some(Kind::Jpeg)
    } else {
        None
    }
}

/// The images of a folder in order, or the one image itself.
fn list(path: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let unreadable = |source| OpenError::Read {
        path: path.to_owned(),
        source,
    };
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if ImageFolder::is_image(&file) && file.is_file() {
            files.push(file);
        }
    }
    files.sort_by(|a, b| {
        natural_order(
            a.file_name().unwrap_or_default().as_encoded_bytes(),
            b.file_name().unwrap_or_default().as_encoded_bytes(),
        )
    });
    Ok(files)
}

/// Orders names so that runs of digits count as numbers; ties go by the bytes.
fn natural_order(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(&x), Some(&y)) = (left.first(), right.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_x, rest_x) = number(left);
            let (number_y, rest_y) = number(right);
            let order = number_x
                .len()
                .cmp(&number_y.len())
                .then_with(|| number_x.cmp(number_y));
            if order.is_ne() {
                return order;
            }
            (left, right) = (rest_x, rest_y);
        } else if x == y {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return x.cmp(&y);
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The leading digits without leading zeros, and what follows them.
fn number(name: &[u8]) -> (&[u8], &[u8]) {
    let end = name
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(name.len());
    let zeros = name[..end].iter().take_while(|&&byte| byte == b'0').count();
    (&name[zeros..end], &name[end..])
}

/// Reads a whole file, with a bound.
fn read_into(path: &Path, out: &mut Vec<u8>) -> std::io::Result<()> {
    out.clear();
    File::open(path)?
        .take(IMAGE_FILE_BYTES_MAX)
        .read_to_end(out)
        .map(drop)
}

fn size_of_image(path: &Path, bytes: &[u8]) -> Result<(u32, u32), ConvertError> {
    match kind_of(path) {
        Some(Kind::Jpeg) => jpeg_size(bytes),
        _ => png_reader(bytes).map(|reader| reader.info().size()),
    }
}

fn decode_into(
    path: &Path,
    bytes: &[u8],
    width_px: u32,
    height_px: u32,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    match kind_of(path) {
        Some(Kind::Jpeg) => jpeg_into(bytes, width_px, height_px, out),
        _ => png_into(bytes, width_px, height_px, out),
    }
}

fn png_reader(bytes: &[u8]) -> Result<png::Reader<&[u8]>, ConvertError> {
    let mut decoder = png::Decoder::new_with_limits(
        bytes,
        png::Limits {
            bytes: IMAGE_PX_MAX * 16,
        },
    );
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.read_info().map_err(|_| ConvertError::Damaged)
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

    const WAIT: Duration = Duration::ZERO;

    /// A PNG of one colour, of the colour type given.
    fn png(width: u32, height: u32, color: png::ColorType, pixel: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        let bytes = pixel.repeat(width as usize * height as usize);
        writer.write_image_data(&bytes).unwrap();
        writer.finish().unwrap();
        out
    }

    fn rgb(width: u32, height: u32, level: u8) -> Vec<u8> {
        png(width, height, png::ColorType::Rgb, &[level, 2, 3])
    }

    fn open(folder: &Path) -> ImageFolder {
        ImageFolder::open(folder, 25.0).unwrap()
    }

    #[test]
    fn images_come_in_the_order_of_the_numbers_in_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for number in [10_u8, 9, 2, 100] {
            let name = folder.path().join(format!("frame_{number}.png"));
            fs::write(name, rgb(64, 80, number)).unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "no image").unwrap();
        let mut camera = open(folder.path());
        assert_eq!((camera.mode().width_px, camera.mode().height_px), (64, 80));
        assert_eq!(camera.count(), 4);
        let mut frame = Frame::with_room(64, 80);
        for (index, level) in [2, 9, 10, 100].into_iter().enumerate() {
            assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
            assert_eq!(&frame.bytes[..3], [level, 2, 3]);
            assert_eq!(frame.bytes.len(), 64 * 80 * 3);
            assert_eq!(frame.meta.capture, MonoNs(40_000_000 * index as u64));
        }
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::End));
    }

    #[test]
    fn names_with_numbers_order_as_people_expect() {
        for pair in [
            ["a2", "a10"],
            ["a02", "a3"],
            ["2", "a"],
            ["a", "a1"],
            ["a1b2", "a1b10"],
            ["a01", "a1"],
        ] {
            let order = natural_order(pair[0].as_bytes(), pair[1].as_bytes());
            assert_eq!(order, Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn an_image_of_another_size_names_both_files_and_sizes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1.png"), rgb(64, 64, 0)).unwrap();
        fs::write(folder.path().join("2.png"), rgb(80, 64, 0)).unwrap();
        fs::write(folder.path().join("3.png"), rgb(64, 64, 0)).unwrap();
        let mut camera = open(folder.path());
        let mut frame = Frame::with_room(64, 64);
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
        assert_eq!(
            camera.next_into(&mut frame, WAIT),
            Err(CaptureError::Resized {
                sequence: 1,
                width_px: 80,
                height_px: 64
            })
        );
        let complaint = camera.complaint().unwrap();
        assert!(
            complaint.contains("2.png: 80x64 pixels, but") && complaint.ends_with("1.png is 64x64"),
            "{complaint}"
        );
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
    }

    #[test]
    fn a_damaged_image_is_named_and_the_next_one_comes() {
        let folder = tempfile::tempdir().unwrap();
        let whole = rgb(64, 64, 0);
        fs::write(folder.path().join("1.png"), &whole).unwrap();
        fs::write(folder.path().join("2.png"), &whole[..whole.len() / 2]).unwrap();
        fs::write(folder.path().join("3.png"), &whole).unwrap();
        let mut camera = open(folder.path());
        let mut frame = Frame::with_room(64, 64);
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
        let error = camera.next_into(&mut frame, WAIT);
        assert_eq!(error, Err(CaptureError::Damaged { sequence: 1 }));
        assert!(camera.complaint().unwrap().contains("2.png"));
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
        assert_eq!(frame.meta.sequence, 2);
    }

    #[test]
    fn every_kind_of_png_becomes_rgb() {
        for (color, pixel, want) in [
            (png::ColorType::Rgb, &[9, 8, 7][..], [9, 8, 7]),
            (png::ColorType::Rgba, &[200, 100, 50, 128], [100, 50, 25]),
            (png::ColorType::Grayscale, &[77], [77; 3]),
            (png::ColorType::GrayscaleAlpha, &[200, 0], [0; 3]),
        ] {
            let mut out = Vec::new();
            png_into(&png(64, 64, color, pixel), 64, 64, &mut out).unwrap();
            assert_eq!(out[..3], want, "{color:?}");
        }
    }

    #[test]
    fn a_folder_without_images_and_a_false_image_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = ImageFolder::open(folder.path(), 30.0).unwrap_err();
        assert!(error.to_string().contains("holds no image"), "{error}");
        fs::write(folder.path().join("x.jpg"), "not a jpeg").unwrap();
        let error = ImageFolder::open(folder.path(), 30.0).unwrap_err();
        assert!(error.to_string().contains("x.jpg: does not decode"));
        fs::write(folder.path().join("a.png"), rgb(8, 8, 1)).unwrap();
        let error = ImageFolder::open(folder.path(), 30.0).unwrap_err();
        assert!(error.to_string().contains("a.png: 8x8 pixels"), "{error}");
    }
}
