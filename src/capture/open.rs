//! From the name of a source to an open camera, and what can go wrong on the way.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::Camera;
use super::ffmpeg::FfmpegCamera;
use super::files::ImageFolder;
use super::v4l2::{V4l2Camera, V4l2Config};
use crate::limits::{IMAGE_PX_MAX, IMAGE_SIDE_PX_MAX, IMAGE_SIDE_PX_MIN};

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
    /// An address that is none of those accepted.
    #[error("{name}: must be a video device, a file, a folder of images or an rtsp:// address")]
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
    #[error("{path}: does not decode as an image")]
    Image {
        /// The file.
        path: PathBuf,
    },
    /// An image size outside the bounds.
    #[error(
        "{name}: {width_px}x{height_px} pixels; sides must be from {IMAGE_SIDE_PX_MIN} to {IMAGE_SIDE_PX_MAX}, \
         and {IMAGE_PX_MAX} pixels are the most"
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
        "{program} is missing, and reading videos needs it (Debian, Ubuntu: apt-get install ffmpeg)"
    )]
    NoProgram {
        /// The program.
        program: String,
    },
    /// A program that reads videos for us did not start.
    #[error("{program} does not start")]
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
    /// A video of which not one frame decodes.
    #[error("{name}: gave no frame{promise} ({message})")]
    NoFrames {
        /// The source.
        name: String,
        /// What its header says of the number of frames, with a leading comma, or nothing.
        promise: String,
        /// What ffmpeg said.
        message: String,
    },
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
    #[error("{device}: offers {offered}, but {wanted} is asked for")]
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
    /// Whether it may pass by itself: a camera that is not plugged in, held by another program, or not yet
    /// given to our group.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Device { .. }
                | Self::NoSuchCamera { .. }
                | Self::Silent { .. }
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

/// Opens a source by its name: `/dev/videoN`, an image or a folder of images, a
/// video file, an `rtsp://` address. Devices get the default [`V4l2Config`].
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
pub fn open_source(name: &str) -> Result<Box<dyn Camera>, OpenError> {
    if name.starts_with("rtsp://") || name.starts_with("rtsps://") {
        return Ok(Box::new(FfmpegCamera::open_stream(name)?));
    }
    if name.contains("://") {
        return Err(OpenError::Address {
            name: without_password(name),
        });
    }
    let path = Path::new(name);
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Missing {
                name: name.to_owned(),
            });
        }
        Err(source) => {
            return Err(OpenError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    if kind.is_dir() || (kind.is_file() && ImageFolder::is_image(path)) {
        Ok(Box::new(ImageFolder::open(path, FOLDER_RATE_HZ)?))
    } else if kind.is_char_device() {
        Ok(Box::new(V4l2Camera::open(&V4l2Config {
            device: Some(path.to_owned()),
            ..V4l2Config::default()
        })?))
    } else if kind.is_file() {
        Ok(Box::new(FfmpegCamera::open_file(path)?))
    } else {
        Err(OpenError::Address {
            name: name.to_owned(),
        })
    }
}

/// An address fit for a log: user and password are left out.
pub fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => address.to_owned(),
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
        let message = refused("http://kim:secret@camera.local/stream");
        assert!(message.starts_with("http://camera.local/stream: must be"));
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn passwords_are_left_out_of_addresses_and_the_rest_is_kept() {
        for (address, shown) in [
            ("rtsp://u:p@host:554/a@b", "rtsp://host:554/a@b"),
            ("rtsp://u:p%40@host", "rtsp://host"),
            ("rtsp://u:p@q@host/x", "rtsp://host/x"),
            ("rtsp://host/x", "rtsp://host/x"),
            ("clip.mp4", "clip.mp4"),
        ] {
            assert_eq!(without_password(address), shown);
        }
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
            "a.png: 32x40 pixels; sides must be from 64 to 1920, and 2088960 pixels are the most"
        );
        assert!(check_size("a", 1920, 1920).is_err());
    }
}
