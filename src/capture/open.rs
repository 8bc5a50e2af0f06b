//! Opens a source by name; the errors of opening.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::address::{Address, percent_decoded, without_password};
use super::ffmpeg::{FfmpegCamera, Programs};
use super::files::ImageFolder;
use super::v4l2::{V4l2Camera, V4l2Config};
use super::{Camera, SourceKind};
use crate::base::limits::{
    IMAGE_FILE_BYTES_MAX, IMAGE_PX_MAX, IMAGE_SIDE_PX_MAX, IMAGE_SIDE_PX_MIN,
};

/// Rate at which a folder of images is taken to have been recorded, in hertz.
pub const FOLDER_RATE_HZ: f32 = 30.0;

/// Why a source could not be opened. One line each, naming source, thing and numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is nothing of that name.
    #[error("{name}: no such device, file or folder")]
    Missing {
        /// The source as it was named.
        name: String,
    },
    /// There is nothing of that name, and it looks like something else.
    #[error("{name}: no such device, file or folder; {hint}")]
    Misnamed {
        /// The source as it was named.
        name: String,
        /// How what is probably meant is named.
        hint: String,
    },
    /// An address that is none of those accepted.
    #[error(
        "{name}: must be a video device, a file, a folder of images, or an address that starts with rtsp://, \
         rtsps://, http://, https:// or file://"
    )]
    Address {
        /// The source as it was named, without its password.
        name: String,
    },
    /// A file or folder cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder without images.
    #[error("{path}: holds no image (.png, .jpg or .jpeg)")]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// A file that should be an image and is none.
    #[error("{path}: cannot be decoded as an image; PNG and JPEG are supported")]
    Image {
        /// The file.
        path: PathBuf,
    },
    /// An image file that is too large.
    #[error("{path}: larger than {IMAGE_FILE_BYTES_MAX} bytes, the limit for an image")]
    ImageBytes {
        /// The file.
        path: PathBuf,
    },
    /// A photograph that is too large.
    #[error("{path}: {width_px}x{height_px} pixels; photographs have at most {most} pixels")]
    ImagePixels {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width_px: u32,
        /// Its rows.
        height_px: u32,
        /// The bound.
        most: u64,
    },
    /// An image size outside the bounds.
    #[error(
        "{name}: {width_px}x{height_px} pixels; sides must be from {IMAGE_SIDE_PX_MIN} to {IMAGE_SIDE_PX_MAX}, \
         and at most {IMAGE_PX_MAX} pixels in all"
    )]
    Size {
        /// The source.
        name: String,
        /// Its columns.
        width_px: u32,
        /// Its rows.
        height_px: u32,
    },
    /// A program that reads videos for us is not there.
    #[error(
        "{program} is missing, but required to read videos (Debian, Ubuntu: apt-get install ffmpeg)"
    )]
    NoProgram {
        /// The program.
        program: String,
    },
    /// A program that reads videos for us did not start, or did not answer.
    #[error("{program} does not start or does not respond")]
    Program {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A file or stream that is no video.
    #[error("{name}: not a video that ffmpeg can read ({message})")]
    NotAVideo {
        /// The source.
        name: String,
        /// What ffmpeg said.
        message: String,
    },
    /// A kind of image that the installed ffmpeg does not decode.
    #[error(
        "{name}: {kind}, which the installed version of ffmpeg does not decode; save it as {instead}"
    )]
    Kind {
        /// The source.
        name: String,
        /// What it is.
        kind: &'static str,
        /// What would be read.
        instead: &'static str,
    },
    /// A video of which not one frame decodes.
    #[error("{name}: contains no frame ({message})")]
    NoFrames {
        /// The source.
        name: String,
        /// What ffmpeg said.
        message: String,
    },
    /// A network camera that cannot be reached, or refuses.
    #[error("{name}: no frames received ({message})")]
    NoStream {
        /// The address, without its password.
        name: String,
        /// What ffmpeg said.
        message: String,
    },
    /// The caller did not want to wait any longer.
    #[error("stopped while the camera was being opened")]
    Stopped,
    /// A stream that stays silent.
    #[error("{name}: no frame within {waited_s} s")]
    Silent {
        /// The source.
        name: String,
        /// How long we waited, in seconds.
        waited_s: u64,
    },
    /// A request to a video device failed.
    #[error("{device}: {call} failed")]
    Device {
        /// The device node.
        device: PathBuf,
        /// Name of the request, as in the kernel's documents.
        call: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A device that gives no frames.
    #[error("{device}: {what}")]
    NotACamera {
        /// The device node.
        device: PathBuf,
        /// What it lacks.
        what: &'static str,
    },
    /// The camera is not among those that are there, or cannot be told from another.
    #[error("{wanted}: no such camera; {found}")]
    NoSuchCamera {
        /// What was looked for.
        wanted: String,
        /// What there is, in words.
        found: String,
    },
    /// A device without a format we read.
    #[error("{device}: offers {offered}, but {wanted} is configured")]
    NoFormat {
        /// The device node.
        device: PathBuf,
        /// What the driver offers.
        offered: String,
        /// What was asked for.
        wanted: String,
    },
}

impl OpenError {
    /// Whether it may pass by itself: a camera that is not plugged in, switched off, held by another program, or not
    /// yet given to our group.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Device { .. }
                | Self::NoSuchCamera { .. }
                | Self::Silent { .. }
                | Self::NoStream { .. }
        )
    }
}

/// Checks that images of this size fit.
///
/// # Errors
///
/// [`OpenError::Size`] with the size and the bounds.
pub(super) fn check_size(name: &str, width_px: u32, height_px: u32) -> Result<(), OpenError> {
    let sides = IMAGE_SIDE_PX_MIN..=IMAGE_SIDE_PX_MAX;
    let pixels = width_px as usize * height_px as usize;
    if sides.contains(&width_px) && sides.contains(&height_px) && pixels <= IMAGE_PX_MAX {
        return Ok(());
    }
    Err(OpenError::Size {
        name: name.to_owned(),
        width_px,
        height_px,
    })
}

/// Asked several times a second by what takes long; false to give up.
pub type GoesOn<'a> = dyn FnMut() -> bool + 'a;

/// How the packets of an `rtsp://` camera travel.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Over TCP, and over UDP where the camera refuses TCP.
    #[default]
    Auto,
    /// Over TCP: a lost packet is a late image.
    Tcp,
    /// Over UDP: a lost packet is a torn image.
    Udp,
}

/// How a network camera is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// How its packets travel.
    pub transport: Transport,
    /// The size its images are put into, where everything behind is already made for one.
    pub size_px: Option<(u32, u32)>,
}

/// What a source is, told from its name and, for files, from their first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A network camera.
    Stream(Address),
    /// A camera of this machine, plugged in or not.
    Device(PathBuf),
    /// A folder of images, or one image.
    Pictures(PathBuf),
    /// Any other file: a video, or a kind of image that ffmpeg reads.
    Film(PathBuf),
}

impl Source {
    /// What is meant by a name: `/dev/videoN`, a file, a folder of images, or an address.
    ///
    /// # Errors
    ///
    /// There is nothing of that name, it cannot be read, or it is an address of another kind.
    pub fn of(name: impl AsRef<OsStr>) -> Result<Self, OpenError> {
        let name = name.as_ref();
        // What is not UTF-8 can only be a path.
        let text = name.to_str().unwrap_or_default();
        if let Some(address) = Address::parse(text) {
            return Ok(Self::Stream(address));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::of_path(Path::new(name));
        };
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        if scheme.eq_ignore_ascii_case("file") && path.starts_with('/') {
            return Self::of_path(Path::new(&percent_decoded(path)));
        }
        Err(OpenError::Address {
            name: without_password(text),
        })
    }

    fn of_path(path: &Path) -> Result<Self, OpenError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // It may be plugged in later.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.starts_with("/dev") => {
                return Ok(Self::Device(path.to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(path)),
            Err(source) => {
                return Err(OpenError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            Ok(Self::Pictures(path.to_owned()))
        } else if kind.is_char_device() {
            Ok(Self::Device(path.to_owned()))
        } else if kind.is_file() {
            let head = head_of(path).map_err(|source| OpenError::Read {
                path: path.to_owned(),
                source,
            })?;
            Ok(if ImageFolder::is_image(&head) {
                Self::Pictures(path.to_owned())
            } else {
                Self::Film(path.to_owned())
            })
        } else {
            Err(OpenError::Address {
                name: path.display().to_string(),
            })
        }
    }

    /// What kind of source it is.
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Stream(_) => SourceKind::Stream,
            Self::Device(_) => SourceKind::Device,
            Self::Pictures(_) | Self::Film(_) => SourceKind::Recording,
        }
    }

    /// Opens it, while `goes_on` returns true. Devices get the default [`V4l2Config`].
    ///
    /// # Errors
    ///
    /// [`OpenError`] says in one line what is wrong with which source.
    pub fn open(
        &self,
        options: &StreamOptions,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<Box<dyn Camera>, OpenError> {
        let programs = Programs::default();
        match self {
            Self::Stream(address) => Ok(Box::new(FfmpegCamera::open_stream_with(
                address, options, &programs, goes_on,
            )?)),
            Self::Device(path) => Ok(Box::new(V4l2Camera::open(&V4l2Config {
                device: Some(path.clone()),
                ..V4l2Config::default()
            })?)),
            Self::Pictures(path) => Ok(Box::new(ImageFolder::open(path, FOLDER_RATE_HZ)?)),
            Self::Film(path) => match FfmpegCamera::open_file_with(path, &programs, goes_on) {
                Ok(camera) => Ok(Box::new(camera)),
                Err(error) => Err(explained(path, error)),
            },
        }
    }
}

/// Opens a source by its name: `/dev/videoN`, an image or a folder of images, a
/// video file, an address of a network camera. Devices get the default [`V4l2Config`].
///
/// ```no_run
/// let camera = poised::capture::open_source("squats.mp4")?;
/// println!("{:?}", camera.mode());
/// # Ok::<(), poised::capture::OpenError>(())
/// ```
///
/// # Errors
///
/// [`OpenError`] says in one line what is wrong with which source.
pub fn open_source(name: impl AsRef<OsStr>) -> Result<Box<dyn Camera>, OpenError> {
    Source::of(name)?.open(&StreamOptions::default(), &mut || true)
}

/// The error of a path under which there is nothing, with a hint where it looks like something else.
fn missing(path: &Path) -> OpenError {
    let name = path.display().to_string();
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    if is_number {
        let hint = format!("a camera is given by its device, /dev/video{name}");
        return OpenError::Misnamed { name, hint };
    }
    if file.contains(['%', '*', '?']) {
        let folder = path.parent().filter(|folder| folder.is_dir());
        let folder = folder.unwrap_or(Path::new("FOLDER")).display();
        let hint = format!("a series of images is given by its folder, {folder}");
        return OpenError::Misnamed { name, hint };
    }
    OpenError::Missing { name }
}

/// The first bytes of a file, by which its kind is told.
pub(super) fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    /// Bytes before which the kinds told here differ.
    const HEAD_BYTES: u64 = 32;
    let mut head = Vec::new();
    fs::File::open(path)?
        .take(HEAD_BYTES)
        .read_to_end(&mut head)?;
    Ok(head)
}

/// Images that many versions of ffmpeg do not decode, by their first bytes: what they are, and what is read instead.
fn seldom_decoded(head: &[u8]) -> Option<(&'static str, &'static str)> {
    /// What a picture is saved as to be read by any version.
    const PICTURE: &str = "JPEG or PNG";
    // An extended WebP with the bit of an animation.
    let is_animation = head.starts_with(b"RIFF")
        && head.get(8..16) == Some(b"WEBPVP8X")
        && head.get(20).is_some_and(|flags| flags & 0x02 != 0);
    if is_animation {
        return Some(("an animated WebP", "a film"));
    }
    // The brand of a file in boxes, which films are as well.
    match head.get(4..12)?.strip_prefix(b"ftyp")? {
        b"avif" | b"avis" => Some(("an AVIF picture", PICTURE)),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
            Some(("a HEIC picture", PICTURE))
        }
        _ => None,
    }
}

/// An error with what ffmpeg itself does not say in words that help.
fn explained(path: &Path, error: OpenError) -> OpenError {
    let head = head_of(path).unwrap_or_default();
    match (error, seldom_decoded(&head)) {
        (
            OpenError::NotAVideo { name, .. } | OpenError::NoFrames { name, .. },
            Some((kind, instead)),
        ) => OpenError::Kind {
            name,
            kind,
            instead,
        },
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        match open_source(name) {
            Ok(_) => panic!("{name} opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_source_that_is_not_there_is_named() {
        assert_eq!(
            refused("/nowhere/clip.mp4"),
            "/nowhere/clip.mp4: no such device, file or folder"
        );
    }

    #[test]
    fn an_address_of_another_kind_is_refused_without_its_password() {
        let message = refused("rtmp://kim:secret@camera.local/stream?token=abc");
        assert!(message.starts_with("rtmp://camera.local/stream?token=***: must be"));
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn names_of_other_programs_get_a_word_that_helps() {
        assert!(refused("0").ends_with("given by its device, /dev/video0"));
        let folder = tempfile::tempdir().unwrap();
        let series = folder.path().join("f%03d.jpg").display().to_string();
        let want = format!("given by its folder, {}", folder.path().display());
        assert!(refused(&series).ends_with(&want));
        assert!(refused("frames/*.png").ends_with("given by its folder, FOLDER"));
    }

    /// What is said of a file with these first bytes that ffmpeg does not read.
    fn explained_as(name: &str, head: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, head).unwrap();
        let error = OpenError::NotAVideo {
            name: name.to_owned(),
            message: "Invalid data found".to_owned(),
        };
        explained(&path, error).to_string()
    }

    #[test]
    fn an_animated_webp_gets_a_word_that_helps() {
        let head =
            |flags: u8| [&b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0"[..], &[flags, 0, 0, 0]].concat();
        let said = explained_as("a.webp", &head(0x02));
        assert_eq!(
            said,
            "a.webp: an animated WebP, which the installed version of ffmpeg does not decode; save it as a film"
        );
        // One that does not move is only damaged.
        let said = explained_as("a.webp", &head(0));
        assert!(said.contains("Invalid data found"), "{said}");
    }

    #[test]
    fn a_picture_of_a_phone_gets_a_word_that_helps() {
        for (brand, kind) in [
            ("heic", "a HEIC picture"),
            ("mif1", "a HEIC picture"),
            ("avif", "an AVIF picture"),
        ] {
            let said = explained_as("a", format!("\0\0\0\x20ftyp{brand}").as_bytes());
            let want = format!(
                "a: {kind}, which the installed version of ffmpeg does not decode; save it as JPEG or PNG"
            );
            assert_eq!(said, want);
        }
        let said = explained_as("a", b"\0\0\0\x20ftypisom");
        assert!(said.contains("not a video"), "{said}");
        assert!(explained_as("a", b"\0").contains("not a video"));
    }

    #[test]
    fn a_source_is_told_by_its_name_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let jpeg = include_bytes!("../../tests/data/grey_64x64.jpg");
        fs::write(path("a b.png"), jpeg).unwrap();
        fs::write(path("clip.jpg"), "no picture").unwrap();
        let odd = {
            use std::os::unix::ffi::OsStrExt;
            folder.path().join(OsStr::from_bytes(b"\xff.jpeg"))
        };
        fs::write(&odd, jpeg).unwrap();
        assert_eq!(Source::of(&odd).unwrap(), Source::Pictures(odd));
        let picture = Source::Pictures(path("a b.png"));
        assert_eq!(Source::of(path("a b.png")).unwrap(), picture);
        for host in ["", "localhost"] {
            let address = format!("FILE://{host}{}/a%20b.png", folder.path().display());
            assert_eq!(Source::of(&address).unwrap(), picture);
        }
        assert_eq!(
            Source::of(path("clip.jpg")).unwrap(),
            Source::Film(path("clip.jpg"))
        );
        assert_eq!(
            Source::of(folder.path()).unwrap(),
            Source::Pictures(folder.path().to_owned())
        );
        let device = Source::of("/dev/video99").unwrap();
        assert_eq!(device.kind(), SourceKind::Device);
        let stream = Source::of("RTSP://camera/live").unwrap();
        assert!(stream.kind().is_live());
    }

    #[test]
    fn a_character_device_that_is_no_camera_is_refused() {
        assert!(refused("/dev/null").starts_with("/dev/null: "));
    }

    #[test]
    fn an_image_out_of_bounds_is_refused_with_the_bounds() {
        check_size("a", 1080, 1920).unwrap();
        let message = check_size("a.png", 32, 40).unwrap_err().to_string();
        assert_eq!(
            message,
            "a.png: 32x40 pixels; sides must be from 64 to 1920, and at most 2088960 pixels in all"
        );
        assert!(check_size("a", 1920, 1920).is_err());
    }
}
