//! The `[calibration]` section: which file, and whether it may be scaled.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Calibration, CalibrationError};
use crate::frame::Turn;

/// `[calibration]`: how pixels become rays.
///
/// ```toml
/// [calibration]
/// file = "calibration/front_door.toml"
/// scale_to_image = false
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationConfig {
    /// Our TOML, or the YAML of ROS (`camera_info`), `OpenCV` or Kalibr. Without one, a pinhole of
    /// [`super::ASSUMED_FOV_DEG`] is assumed.
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub file: Option<PathBuf>,
    /// Whether a calibration of the same aspect may be scaled to the image the
    /// camera delivers. Default false: a camera that delivers another size may
    /// as well have cut the image.
    pub scale_to_image: bool,
}

/// What becomes of a camera's images before they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handling {
    /// Columns and rows that the camera makes, which a calibration is for.
    pub native_px: (u32, u32),
    /// Columns and rows that are handed over, turned.
    pub size_px: (u32, u32),
    /// How they are turned, after they were reduced.
    pub turn: Turn,
}

impl CalibrationConfig {
    /// The calibration for images handled like this. The file describes the camera as it is: what we do to its
    /// images is taken into account here.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_for(&self, handling: &Handling) -> Result<Calibration, CalibrationError> {
        // The sides of an image before it was turned: turning back exchanges them as turning does.
        let lying = handling.turn.size(handling.size_px);
        let (native, was_reduced) = (handling.native_px, handling.native_px != lying);
        let camera = if self.file.is_some() && was_reduced {
            match self.open(native.0, native.1) {
                Ok(camera) => camera.reduced_to(lying.0, lying.1),
                // It may be for images of the size we reduce to.
                Err(error) => self.open(lying.0, lying.1).map_err(|_| error)?,
            }
        } else {
            self.open(lying.0, lying.1)?
        };
        Ok(camera.turned(handling.turn))
    }

    /// The calibration for images of this size.
    ///
    /// # Errors
    ///
    /// The file is missing or wrong, or does not fit the image.
    pub fn open(&self, width_px: u32, height_px: u32) -> Result<Calibration, CalibrationError> {
        let Some(file) = &self.file else {
            return Ok(Calibration::assumed(width_px, height_px));
        };
        let calibration = Calibration::read(file)?;
        match calibration.fits(width_px, height_px) {
            Ok(()) => Ok(calibration),
            Err(_) if self.scale_to_image => calibration.scaled_to(width_px, height_px),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_same_aspect_is_scaled_only_where_that_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.yaml");
        let text = "image_width: 640\nimage_height: 480\n\
            camera_matrix:\n  data: [500, 0, 320, 0, 500, 240, 0, 0, 1]\n\
            distortion_model: plumb_bob\n\
            distortion_coefficients:\n  data: [0, 0, 0, 0, 0]\n";
        std::fs::write(&path, text).unwrap();
        let mut config = CalibrationConfig {
            file: Some(path),
            scale_to_image: false,
        };
        assert_eq!(config.open(640, 480).unwrap().size_px(), (640, 480));
        assert!(config.open(320, 240).is_err());
        config.scale_to_image = true;
        let half = config.open(320, 240).unwrap();
        assert!((half.intrinsics().fx_px - 250.0).abs() < 1e-9);
        let error = config.open(320, 200).unwrap_err().to_string();
        assert!(
            error.contains("640x480") && error.contains("320x200"),
            "{error}"
        );
        assert_eq!(
            CalibrationConfig::default().open(64, 48).unwrap(),
            Calibration::assumed(64, 48)
        );
    }

    #[test]
    fn a_file_for_the_cameras_own_size_fits_what_we_make_of_its_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.yaml");
        let text = "image_width: 2704\nimage_height: 1520\n\
            camera_matrix:\n  data: [1500, 0, 1352, 0, 1500, 760, 0, 0, 1]\n\
            distortion_model: plumb_bob\n\
            distortion_coefficients:\n  data: [0, 0, 0, 0, 0]\n";
        std::fs::write(&path, text).unwrap();
        let config = CalibrationConfig {
            file: Some(path),
            scale_to_image: false,
        };
        let mut handling = Handling {
            native_px: (2704, 1520),
            size_px: (1079, 1920),
            turn: Turn::clockwise(90).unwrap(),
        };
        let camera = config.open_for(&handling).unwrap();
        assert_eq!(camera.size_px(), (1079, 1920));
        let want = 1500.0 * 1920.0 / 2704.0;
        assert!((camera.intrinsics().fy_px - want).abs() < 1e-6);
        handling.native_px = (2560, 1440);
        let error = config.open_for(&handling).unwrap_err().to_string();
        assert!(
            error.contains("2704x1520") && error.contains("2560x1440"),
            "{error}"
        );
        assert_eq!(
            CalibrationConfig::default()
                .open_for(&handling)
                .unwrap()
                .size_px(),
            (1079, 1920)
        );
    }

    #[test]
    fn the_documented_section_is_read() {
        #[derive(Deserialize)]
        struct File {
            calibration: CalibrationConfig,
        }
        let text =
            "[calibration]\nfile = \"calibration/front_door.toml\"\nscale_to_image = false\n";
        let file = toml::from_str::<File>(text).unwrap();
        assert!(!file.calibration.scale_to_image);
        assert!(toml::from_str::<File>("[calibration]\npath = \"a\"").is_err());
    }
}
