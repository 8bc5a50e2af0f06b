//! A folder of images as a camera: PNG and JPEG, in the order of their names.
//!
//! Numbers in names count as numbers, so `frame_2.png` comes before
//! `frame_10.png`. Times start at zero and go up by one period of the rate given. A camera has one size, so images of
//! another one are put into that of the first, between black bars; [`ImageFolder::each_in_its_size`] leaves them.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::convert::ConvertError;
use super::open::{OpenError, check_size, head_of};
use super::picture::{self, Scratch, Shape};
use super::reduce::reduce_rgb;
use super::{Camera, CameraMode, CaptureError, Next, SourceKind};
use crate::base::clock::MonoNs;
use crate::base::limits::{IMAGE_FILE_BYTES_MAX, PHOTO_PX_MAX};
use crate::frame::{Frame, FrameMeta, PixelFormat};

/// How the names of images end that are read from a folder.
const READ: [&str; 3] = ["png", "jpg", "jpeg"];

/// How the names of images end that are not: ffmpeg may read one of them where it is named by itself.
const NOT_READ: [&str; 8] = ["webp", "bmp", "tif", "tiff", "gif", "heic", "heif", "avif"];

/// A folder of images, or one image, as a camera.
#[derive(Debug)]
pub struct ImageFolder {
    mode: CameraMode,
    native_px: (u32, u32),
    files: Vec<PathBuf>,
    next: usize,
    interval: Duration,
    each_in_its_size: bool,
    compressed: Vec<u8>,
    scratch: Scratch,
    decoded: Vec<u8>,
    complaint: Option<String>,
}

impl ImageFolder {
    /// Whether these are the first bytes of an image that is read here, whatever its name.
    pub fn is_image(head: &[u8]) -> bool {
        picture::is_image(head)
    }

    /// Opens a folder, or a single image, as recorded at `rate_hz`.
    ///
    /// # Errors
    ///
    /// It cannot be read, holds no image, or none that decodes and is within the bounds; the first one's fault is
    /// told.
    pub fn open(path: &Path, rate_hz: f32) -> Result<Self, OpenError> {
        let files = list(path)?;
        let mut compressed = Vec::new();
        let (mut first_fault, mut found) = (None, None);
        for file in &files {
            let shape = read_into(file, &mut compressed).and_then(|()| shape_of(file, &compressed));
            match shape {
                Ok(shape) => {
                    found = Some(shape);
                    break;
                }
                Err(fault) if first_fault.is_none() => first_fault = Some(fault),
                Err(_) => {}
            }
        }
        let Some(shape) = found else {
            return Err(first_fault.unwrap_or_else(|| OpenError::NoImages {
                path: path.to_owned(),
            }));
        };
        Ok(Self {
            mode: CameraMode {
                name: path.display().to_string(),
                width_px: shape.size_px.0,
                height_px: shape.size_px.1,
                rate_hz,
                format: PixelFormat::Rgb24,
            },
            native_px: shape.native_px,
            interval: Duration::from_secs_f64(1.0 / f64::from(rate_hz.max(0.001))),
            files,
            next: 0,
            each_in_its_size: false,
            compressed,
            scratch: Scratch::default(),
            decoded: Vec::new(),
            complaint: None,
        })
    }

    /// From now on each image keeps its size. Frames then differ in size, which only suits a caller who looks at it.
    #[must_use]
    pub fn each_in_its_size(mut self) -> Self {
        self.each_in_its_size = true;
        self
    }

    /// The file of the image with this number, as [`FrameMeta::sequence`] counts them.
    pub fn file(&self, sequence: usize) -> Option<&Path> {
        self.files.get(sequence).map(PathBuf::as_path)
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Reads the next image into `out`; gives its size.
    fn read(&mut self, at: usize, out: &mut Vec<u8>) -> Result<(u32, u32), OpenError> {
        let path = &self.files[at];
        read_into(path, &mut self.compressed)?;
        let shape = shape_of(path, &self.compressed)?;
        let into = if self.each_in_its_size {
            &mut *out
        } else {
            &mut self.decoded
        };
        picture::decode_into(&self.compressed, &shape, &mut self.scratch, into)
            .map_err(|_| OpenError::Image { path: path.clone() })?;
        let agreed = (self.mode.width_px, self.mode.height_px);
        if self.each_in_its_size {
            self.native_px = shape.native_px;
            return Ok(shape.size_px);
        }
        if shape.size_px == agreed {
            std::mem::swap(&mut self.decoded, out);
        } else {
            put_into(&mut self.decoded, shape.size_px, agreed, out);
        }
        Ok(agreed)
    }
}

impl Camera for ImageFolder {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn kind(&self) -> SourceKind {
        SourceKind::Recording
    }

    fn is_still(&self) -> bool {
        self.files.len() == 1
    }

    fn native_px(&self) -> (u32, u32) {
        self.native_px
    }

    fn next_into(&mut self, frame: &mut Frame, _timeout: Duration) -> Result<Next, CaptureError> {
        if self.next == self.files.len() {
            return Ok(Next::End);
        }
        let at = self.next;
        let sequence = u32::try_from(at).unwrap_or(u32::MAX);
        self.next += 1;
        match self.read(at, &mut frame.bytes) {
            Ok((width_px, height_px)) => {
                frame.meta = FrameMeta {
                    sequence,
                    capture: MonoNs(0).plus(self.interval * sequence),
                    width_px,
                    height_px,
                    format: PixelFormat::Rgb24,
                };
                Ok(Next::Frame)
            }
            Err(error) => {
                self.complaint = Some(super::thread::words(&error));
                Err(CaptureError::Damaged { sequence })
            }
        }
    }

    fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }
}

/// Puts an image into the middle of a black one, made smaller where it does not fit.
fn put_into(image: &mut Vec<u8>, size: (u32, u32), room: (u32, u32), out: &mut Vec<u8>) {
    let (width, height) = (size.0 as usize, size.1 as usize);
    let (room_width, room_height) = (room.0 as usize, room.1 as usize);
    let (mut columns, mut rows) = (width, height);
    if width > room_width || height > room_height {
        // The side that is further out of bounds decides.
        (columns, rows) = if width * room_height > height * room_width {
            (room_width, (height * room_width / width).max(1))
        } else {
            ((width * room_height / height).max(1), room_height)
        };
        let whole = std::mem::take(image);
        reduce_rgb(&whole, (width, height), (columns, rows), image);
    }
    out.clear();
    out.resize(room_width * room_height * 3, 0);
    let (left, top) = ((room_width - columns) / 2, (room_height - rows) / 2);
    for (row, line) in image.chunks_exact(columns * 3).enumerate() {
        let at = ((top + row) * room_width + left) * 3;
        out[at..at + line.len()].copy_from_slice(line);
    }
}

/// The images of a folder in order, or the one image itself. Told by name and by content: neither alone is always
/// right. What is left out is said in one line each.
fn list(path: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let unreadable = |source| OpenError::Read {
        path: path.to_owned(),
        source,
    };
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut files, mut hidden, mut of_other_kinds) = (Vec::new(), 0, 0);
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if !file.is_file() {
            continue;
        }
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        let named = |kinds: &[&str]| kinds.iter().any(|kind| extension == *kind);
        if name.starts_with(b".") {
            hidden += usize::from(named(&READ));
        } else if named(&READ) || head_of(&file).is_ok_and(|head| ImageFolder::is_image(&head)) {
            files.push(file);
        } else {
            of_other_kinds += usize::from(named(&NOT_READ));
        }
    }
    if hidden > 0 {
        log::warn!("{}: {hidden} hidden files skipped", path.display());
    }
    if of_other_kinds > 0 {
        log::warn!(
            "{}: {of_other_kinds} images skipped that are neither PNG nor JPEG",
            path.display()
        );
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
fn read_into(path: &Path, out: &mut Vec<u8>) -> Result<(), OpenError> {
    out.clear();
    let read =
        File::open(path).and_then(|file| file.take(IMAGE_FILE_BYTES_MAX + 1).read_to_end(out));
    match read {
        Ok(bytes) if bytes as u64 <= IMAGE_FILE_BYTES_MAX => Ok(()),
        Ok(_) => Err(OpenError::ImageBytes {
            path: path.to_owned(),
        }),
        Err(source) => Err(OpenError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// What an image becomes, with the bounds looked at.
fn shape_of(path: &Path, bytes: &[u8]) -> Result<Shape, OpenError> {
    let shape = Shape::of(bytes).map_err(|error| match error {
        ConvertError::Size {
            width_px,
            height_px,
        } => OpenError::ImagePixels {
            path: path.to_owned(),
            width_px,
            height_px,
            most: PHOTO_PX_MAX,
        },
        ConvertError::Damaged | ConvertError::Short { .. } => OpenError::Image {
            path: path.to_owned(),
        },
    })?;
    check_size(
        &path.display().to_string(),
        shape.size_px.0,
        shape.size_px.1,
    )?;
    Ok(shape)
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
    fn an_image_of_another_size_is_put_into_the_first_ones_or_left_in_its_own() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1.png"), rgb(100, 80, 200)).unwrap();
        fs::write(folder.path().join("2.png"), rgb(80, 64, 200)).unwrap();
        fs::write(folder.path().join("3.png"), rgb(64, 240, 200)).unwrap();
        let mut camera = open(folder.path());
        let mut frame = Frame::with_room(100, 80);
        for (columns, rows) in [(100, 80), (80, 64), (21, 80)] {
            assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
            assert_eq!((frame.meta.width_px, frame.meta.height_px), (100, 80));
            let lit = |at: usize| frame.bytes[at * 3] == 200;
            let in_row = (0..100).filter(|column| lit(40 * 100 + column)).count();
            let in_column = (0..80).filter(|row| lit(row * 100 + 50)).count();
            assert_eq!((in_row, in_column), (columns, rows));
        }
        let mut camera = open(folder.path()).each_in_its_size();
        for size in [(100, 80), (80, 64), (64, 240)] {
            assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
            assert_eq!((frame.meta.width_px, frame.meta.height_px), size);
            assert_eq!(camera.native_px(), size);
            assert_eq!(frame.bytes.len(), (size.0 * size.1 * 3) as usize);
        }
    }

    #[test]
    fn images_are_told_by_their_content_and_hidden_files_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let jpeg = include_bytes!("../../tests/data/grey_64x64.jpg");
        for (name, content) in [
            ("._1.png", &b"\0\x05\x16\x07 of a Macintosh"[..]),
            (".hidden.jpg", jpeg),
            ("1.png", jpeg),
            ("2.JPG", &rgb(64, 64, 9)),
            ("3.Jpeg", jpeg),
            ("4", jpeg),
            ("5.webp", b"RIFF"),
            ("notes.txt", b"none"),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let mut camera = open(folder.path());
        assert_eq!(camera.count(), 4);
        let mut frame = Frame::with_room(64, 64);
        for _ in 0..4 {
            assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
        }
    }

    #[test]
    fn a_damaged_image_at_the_start_does_not_cost_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1.jpg"), "").unwrap();
        fs::write(folder.path().join("2.jpg"), rgb(64, 80, 9)).unwrap();
        let mut camera = open(folder.path());
        assert_eq!((camera.mode().width_px, camera.mode().height_px), (64, 80));
        let mut frame = Frame::with_room(64, 80);
        let error = camera.next_into(&mut frame, WAIT);
        assert_eq!(error, Err(CaptureError::Damaged { sequence: 0 }));
        assert!(
            camera
                .complaint()
                .unwrap()
                .contains("1.jpg: cannot be decoded")
        );
        assert_eq!(camera.next_into(&mut frame, WAIT), Ok(Next::Frame));
    }

    #[test]
    fn a_photograph_beyond_the_bounds_is_refused_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        // The header is enough.
        let mut image = rgb(64, 64, 0);
        image[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
        let checksum = {
            let mut crc = u32::MAX;
            for &byte in &image[12..29] {
                crc ^= u32::from(byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
                }
            }
            !crc
        };
        image[29..33].copy_from_slice(&checksum.to_be_bytes());
        fs::write(&path, image).unwrap();
        let error = ImageFolder::open(&path, 30.0).unwrap_err().to_string();
        assert!(
            error.ends_with("a.png: 32768x32768 pixels; photographs have at most 128000000 pixels"),
            "{error}"
        );
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
            let image = png(64, 64, color, pixel);
            crate::capture::convert::png_into(&image, 64, 64, &mut out).unwrap();
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
        assert!(error.to_string().contains("x.jpg: cannot be decoded"));
        fs::write(folder.path().join("a.png"), rgb(8, 8, 1)).unwrap();
        let error = ImageFolder::open(folder.path(), 30.0).unwrap_err();
        assert!(error.to_string().contains("a.png: 8x8 pixels"), "{error}");
    }
}
