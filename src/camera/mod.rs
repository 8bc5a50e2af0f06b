//! Camera calibration: from pixels to rays and from rays to pixels.
//!
//! Comes from a TOML file ([`toml_file`] documents the format) or from the YAML
//! of ROS, `OpenCV` or Kalibr ([`ros_yaml`]); without a calibration a pinhole lens is assumed,
//! and marked as assumed. Pixel centres are at whole numbers: `(0, 0)` is the
//! middle of the first pixel, as in `OpenCV` and ROS. Rays are `(x, y)` on the
//! plane z = 1 of the camera's optical frame (x right, y down, z forward).

pub mod calibrate;
pub mod distortion;
pub mod ros_yaml;
pub mod rotate;
pub mod section;
pub mod toml_file;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

use glam::{DVec2, Mat3, Quat, Vec2, Vec3};
use serde::Deserialize;

use crate::base::config::{ConfigError, check, read_text};
use crate::frame::Turn;

pub use distortion::Distortion;
pub use section::{CalibrationConfig, Handling};

/// Horizontal field of view taken for the longer image side where no
/// calibration is known, in degrees: between a phone (70) and a web camera (55).
pub const ASSUMED_FOV_DEG: f64 = 60.0;

/// Largest image side a calibration may be made for, in pixels. Larger than any
/// frame accepted, since a calibration may be scaled down.
const SIDE_PX_MAX: u32 = 16_384;

/// What can be wrong with a calibration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// The file cannot be read or parsed.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The file was read, but a value in it cannot be.
    #[error("{path}")]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ConfigError,
    },
    /// The file name does not say what it is.
    #[error("{path}: a calibration is a .toml file, or the .yaml or .yml of ROS, OpenCV or Kalibr")]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The calibration was made for another image.
    #[error(
        "the calibration is for {want_width_px}x{want_height_px} images, the camera delivers \
         {width_px}x{height_px}"
    )]
    ImageSize {
        /// Columns the calibration is for.
        want_width_px: u32,
        /// Rows the calibration is for.
        want_height_px: u32,
        /// Columns of the image.
        width_px: u32,
        /// Rows of the image.
        height_px: u32,
    },
}

/// Pinhole part of a calibration, in pixels.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Intrinsics {
    /// Focal length in columns.
    pub fx_px: f64,
    /// Focal length in rows.
    pub fy_px: f64,
    /// Column of the principal point.
    pub cx_px: f64,
    /// Row of the principal point.
    pub cy_px: f64,
}

/// Where a calibration comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Not measured: [`ASSUMED_FOV_DEG`] and no distortion.
    Assumed,
    /// Measured.
    Measured {
        /// Camera and lens, in words.
        camera: String,
        /// Day of the measurement, `YYYY-MM-DD`, where the file says.
        date: Option<String>,
        /// Root mean square reprojection error of the measurement, pixels, where the file says.
        residual_px: Option<f64>,
    },
}

/// How a camera hangs over a level floor.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Height of the lens above the floor, metres, 0.2 to 30.
    pub height_m: f32,
    /// How far it looks down from the horizon, degrees, -60 to 90.
    pub down_deg: f32,
    /// How far it is turned clockwise about its line of sight, degrees, -180 to 180.
    #[serde(default)]
    pub roll_deg: f32,
}

impl Mount {
    /// Straight up, in the camera frame.
    pub fn up(&self) -> Vec3 {
        let (down, roll) = (self.down_deg.to_radians(), self.roll_deg.to_radians());
        // Level, the image's up is -y; looking down, up leans towards the camera's back.
        let level = Vec3::new(0.0, -down.cos(), -down.sin());
        // Turned clockwise, the image's contents turn the other way.
        Vec3::new(level.y * roll.sin(), level.y * roll.cos(), level.z)
    }

    /// From the camera's optical frame to the frame of the floor below it: x along the floor as the camera looks, y to
    /// the left, z up. Looking straight down, x is up in the image.
    pub fn to_floor(&self) -> Quat {
        let (down, roll) = (self.down_deg.to_radians(), self.roll_deg.to_radians());
        // As `up`: level, and then turned about the line of sight.
        let level = Vec3::new(0.0, -down.sin(), down.cos());
        let forward = Vec3::new(level.y * roll.sin(), level.y * roll.cos(), level.z);
        let up = self.up();
        let from_floor = Mat3::from_cols(forward, up.cross(forward), up);
        Quat::from_mat3(&from_floor.transpose())
    }

    /// How the same camera hangs for a reader of its images turned.
    #[expect(clippy::cast_possible_truncation, reason = "an angle")]
    fn turned(&self, turn: Turn) -> Self {
        // Up is in the image along (-sin, -cos) of the roll.
        let roll = f64::from(self.roll_deg).to_radians();
        let (sin, cos) = turn.direction(roll.sin_cos());
        Self {
            roll_deg: sin.atan2(cos).to_degrees() as f32,
            ..*self
        }
    }

    /// Checks that each value is in its range.
    ///
    /// # Errors
    ///
    /// Names the first that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("mount.height_m", self.height_m, 0.2, 30.0)?;
        check("mount.down_deg", self.down_deg, -60.0, 90.0)?;
        check("mount.roll_deg", self.roll_deg, -180.0, 180.0)
    }
}

/// Intrinsics and lens distortion of one camera at one image size, and how it hangs.
///
/// ```
/// use glam::Vec2;
/// use poised::camera::Calibration;
///
/// let camera = Calibration::assumed(640, 480);
/// let ray = camera.ray(319.5, 239.5).unwrap();
/// assert!(ray.length() < 1e-6, "the middle of the image looks straight ahead");
/// assert!((camera.pixel(ray) - Vec2::new(319.5, 239.5)).length() < 1e-3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    width_px: u32,
    height_px: u32,
    intrinsics: Intrinsics,
    distortion: Distortion,
    /// Largest |ray| whose neighbourhood the lens model maps one to one.
    field: f64,
    origin: Origin,
    mount: Option<Mount>,
}

impl Calibration {
    /// Puts a calibration together and checks it.
    ///
    /// # Errors
    ///
    /// Names the first value out of its range.
    pub fn new(
        (width_px, height_px): (u32, u32),
        intrinsics: Intrinsics,
        distortion: Distortion,
        origin: Origin,
    ) -> Result<Self, ConfigError> {
        check("image.width_px", width_px, 1, SIDE_PX_MAX)?;
        check("image.height_px", height_px, 1, SIDE_PX_MAX)?;
        let (width, height) = (f64::from(width_px), f64::from(height_px));
        let Intrinsics {
            fx_px,
            fy_px,
            cx_px,
            cy_px,
        } = intrinsics;
        // From a fisheye that sees half the world to a telescope.
        let longer = width.max(height);
        check("intrinsics.fx_px", fx_px, 0.1 * longer, 50.0 * longer)?;
        check("intrinsics.fy_px", fy_px, 0.1 * longer, 50.0 * longer)?;
        check("intrinsics.cx_px", cx_px, 0.0, width)?;
        check("intrinsics.cy_px", cy_px, 0.0, height)?;
        distortion.validate()?;
        if let Origin::Measured {
            residual_px: Some(residual_px),
            ..
        } = origin
        {
            check("residual_px", residual_px, 0.0, 10.0)?;
        }
        let field = distortion.field();
        // A lens model that folds over near the middle of the image is a typing
        // error (a sign, or coefficients in another order), not a lens.
        let covered = distortion.distort(DVec2::new(field, 0.0)).length();
        let wanted = 0.25 * (width / fx_px).min(height / fy_px);
        check("distortion: reach on z = 1", covered, wanted, f64::INFINITY)?;
        Ok(Self {
            width_px,
            height_px,
            intrinsics,
            distortion,
            field,
            origin,
            mount: None,
        })
    }

    /// What is taken where no calibration is known: a pinhole with
    /// [`ASSUMED_FOV_DEG`] over the longer side and the principal point in the middle.
    pub fn assumed(width_px: u32, height_px: u32) -> Self {
        let longer = f64::from(width_px.max(height_px).max(1));
        let focal = 0.5 * longer / (0.5 * ASSUMED_FOV_DEG).to_radians().tan();
        let distortion = Distortion::None {};
        Self {
            width_px,
            height_px,
            intrinsics: Intrinsics {
                fx_px: focal,
                fy_px: focal,
                cx_px: 0.5 * (f64::from(width_px) - 1.0),
                cy_px: 0.5 * (f64::from(height_px) - 1.0),
            },
            distortion,
            field: distortion.field(),
            origin: Origin::Assumed,
            mount: None,
        }
    }

    /// The same camera, known to hang like this.
    ///
    /// # Errors
    ///
    /// Names the first value out of its range.
    pub fn with_mount(mut self, mount: Mount) -> Result<Self, ConfigError> {
        mount.validate()?;
        self.mount = Some(mount);
        Ok(self)
    }

    /// The same camera with an unknown mount.
    #[must_use]
    pub fn without_mount(mut self) -> Self {
        self.mount = None;
        self
    }

    /// How the camera hangs, where that is known.
    pub fn mount(&self) -> Option<&Mount> {
        self.mount.as_ref()
    }

    /// Reads a calibration: `.toml` in our format, `.yaml` or `.yml` as ROS, `OpenCV` or Kalibr write it; also in
    /// capitals.
    ///
    /// # Errors
    ///
    /// Names the file, and in it the key, the value and the range.
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let within = |source| CalibrationError::In {
            path: path.to_owned(),
            source,
        };
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("toml") => {
                toml_file::parse(&read_text(path)?, path).map_err(|error| match error {
                    parse @ ConfigError::Parse { .. } => CalibrationError::File(parse),
                    other => within(other),
                })
            }
            Some("yaml" | "yml") => ros_yaml::parse(&read_text(path)?).map_err(within),
            _ => Err(CalibrationError::Extension {
                path: path.to_owned(),
            }),
        }
    }

    /// The ray through a pixel, on the plane z = 1.
    ///
    /// `None` if the lens model has no ray for it: outside the field in which
    /// the model is one to one, or for a coordinate that is not finite.
    pub fn ray(&self, x_px: f32, y_px: f32) -> Option<Vec2> {
        let k = &self.intrinsics;
        let distorted = DVec2::new(
            (f64::from(x_px) - k.cx_px) / k.fx_px,
            (f64::from(y_px) - k.cy_px) / k.fy_px,
        );
        if !distorted.is_finite() {
            return None;
        }
        self.distortion
            .undistort(distorted, self.field)
            .map(glam::DVec2::as_vec2)
    }

    /// The pixel a ray `(x, y, 1)` lands on; it may lie outside the image.
    ///
    /// Means something only for a ray [`Self::in_field`]: beyond, lens models fold over.
    pub fn pixel(&self, ray: Vec2) -> Vec2 {
        let k = &self.intrinsics;
        let distorted = self.distortion.distort(ray.as_dvec2());
        DVec2::new(
            distorted.x.mul_add(k.fx_px, k.cx_px),
            distorted.y.mul_add(k.fy_px, k.cy_px),
        )
        .as_vec2()
    }

    /// Whether the lens model may be used for this ray.
    pub fn in_field(&self, ray: Vec2) -> bool {
        ray.as_dvec2().length() <= self.field
    }

    /// Whether the calibration is for images of this size.
    ///
    /// # Errors
    ///
    /// Names both sizes.
    pub fn fits(&self, width_px: u32, height_px: u32) -> Result<(), CalibrationError> {
        if (self.width_px, self.height_px) == (width_px, height_px) {
            return Ok(());
        }
        Err(CalibrationError::ImageSize {
            want_width_px: self.width_px,
            want_height_px: self.height_px,
            width_px,
            height_px,
        })
    }

    /// The same camera delivering the same view at another size.
    ///
    /// Only for exactly the same aspect: then a driver has most likely scaled
    /// the image, while another aspect means it has cut something off, and
    /// an unknown place.
    ///
    /// # Errors
    ///
    /// The aspect differs; names both sizes.
    pub fn scaled_to(&self, width_px: u32, height_px: u32) -> Result<Self, CalibrationError> {
        let across = u64::from(self.width_px) * u64::from(height_px);
        let down = u64::from(self.height_px) * u64::from(width_px);
        if across != down || width_px == 0 {
            self.fits(width_px, height_px)?;
        }
        let scale = f64::from(width_px) / f64::from(self.width_px);
        let k = &self.intrinsics;
        Ok(Self {
            width_px,
            height_px,
            intrinsics: Intrinsics {
                fx_px: k.fx_px * scale,
                fy_px: k.fy_px * scale,
                // The corner of the image stays the corner; it is half a pixel
                // before the centre of the first pixel.
                cx_px: (k.cx_px + 0.5) * scale - 0.5,
                cy_px: (k.cy_px + 0.5) * scale - 0.5,
            },
            ..self.clone()
        })
    }

    /// The same camera, its images reduced to another size by us: nothing is cut off, so each side is scaled by
    /// itself, which takes in rounding and pixels that were not square.
    #[must_use]
    pub fn reduced_to(&self, width_px: u32, height_px: u32) -> Self {
        let across = f64::from(width_px) / f64::from(self.width_px);
        let down = f64::from(height_px) / f64::from(self.height_px);
        let k = &self.intrinsics;
        Self {
            width_px,
            height_px,
            intrinsics: Intrinsics {
                fx_px: k.fx_px * across,
                fy_px: k.fy_px * down,
                // The corner of the image stays the corner; it is half a pixel
                // before the centre of the first pixel.
                cx_px: (k.cx_px + 0.5) * across - 0.5,
                cy_px: (k.cy_px + 0.5) * down - 0.5,
            },
            ..self.clone()
        }
    }

    /// The camera that delivers the images of this one turned by us, and how that one hangs.
    #[must_use]
    pub fn turned(&self, turn: Turn) -> Self {
        let (width_px, height_px) = turn.size((self.width_px, self.height_px));
        let mut k = self.intrinsics;
        if turn.transpose {
            (k.fx_px, k.fy_px) = (k.fy_px, k.fx_px);
            (k.cx_px, k.cy_px) = (k.cy_px, k.cx_px);
        }
        if turn.flip_x {
            k.cx_px = f64::from(width_px) - 1.0 - k.cx_px;
        }
        if turn.flip_y {
            k.cy_px = f64::from(height_px) - 1.0 - k.cy_px;
        }
        Self {
            width_px,
            height_px,
            intrinsics: k,
            distortion: self.distortion.turned(turn),
            mount: self.mount.map(|mount| mount.turned(turn)),
            ..self.clone()
        }
    }

    /// Reads the text of a TOML file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// Names the key, the value and the range.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml_file::parse(text, path)
    }

    /// The calibration as a TOML file of [`toml_file`]'s format.
    pub fn to_toml(&self) -> String {
        toml_file::write(self)
    }

    /// Columns and rows of the images it is for.
    pub fn size_px(&self) -> (u32, u32) {
        (self.width_px, self.height_px)
    }

    /// Focal lengths and principal point.
    pub fn intrinsics(&self) -> Intrinsics {
        self.intrinsics
    }

    /// Lens distortion.
    pub fn distortion(&self) -> Distortion {
        self.distortion
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Angle between the rays through the middles of the left and right edge, in
    /// degrees; `None` if the lens model does not reach them.
    pub fn horizontal_fov_deg(&self) -> Option<f64> {
        let edge = |column: f64| {
            let at = DVec2::new(
                (column - self.intrinsics.cx_px) / self.intrinsics.fx_px,
                0.0,
            );
            self.distortion.undistort(at, self.field)
        };
        let left = edge(-0.5)?;
        let right = edge(f64::from(self.width_px) - 0.5)?;
        Some((right.x.atan() - left.x.atan()).to_degrees())
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}x{}, {}",
            self.width_px, self.height_px, self.distortion
        )?;
        if let Some(fov) = self.horizontal_fov_deg() {
            write!(f, ", {fov:.1} deg wide")?;
        }
        match &self.origin {
            Origin::Assumed => write!(f, ", assumed: this camera was not measured"),
            Origin::Measured {
                camera,
                date,
                residual_px,
            } => {
                write!(f, ", {camera}")?;
                if let Some(date) = date {
                    write!(f, ", measured {date}")?;
                }
                if let Some(residual_px) = residual_px {
                    write!(f, ", residual {residual_px} px")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide() -> Calibration {
        Calibration::new(
            (640, 480),
            Intrinsics {
                fx_px: 420.0,
                fy_px: 421.0,
                cx_px: 318.0,
                cy_px: 243.0,
            },
            Distortion::PlumbBob {
                k1: -0.28,
                k2: 0.07,
                p1: 0.0005,
                p2: -0.0003,
                k3: 0.0,
            },
            Origin::Measured {
                camera: "test".into(),
                date: None,
                residual_px: Some(0.2),
            },
        )
        .unwrap()
    }

    #[test]
    fn every_pixel_of_a_wide_lens_comes_back() {
        let camera = wide();
        for y in (0_u16..480).step_by(40) {
            for x in (0_u16..640).step_by(40) {
                let (x, y) = (f32::from(x), f32::from(y));
                let ray = camera.ray(x, y).unwrap();
                assert!(camera.in_field(ray));
                let back = camera.pixel(ray);
                assert!((back - Vec2::new(x, y)).length() < 1e-3, "{x} {y} {back}");
            }
        }
    }

    #[test]
    fn a_pixel_beyond_the_lens_has_no_ray() {
        // Turns back at |ray| = 1 / sqrt(0.9), 703 pixels from the middle.
        let turning = Distortion::PlumbBob {
            k1: -0.3,
            k2: 0.0,
            p1: 0.0,
            p2: 0.0,
            k3: 0.0,
        };
        let mut k = wide().intrinsics();
        (k.fx_px, k.fy_px) = (1000.0, 1000.0);
        let camera = Calibration::new((640, 480), k, turning, Origin::Assumed).unwrap();
        assert!(camera.ray(1010.0, 240.0).is_some());
        assert_eq!(camera.ray(1030.0, 240.0), None);
        assert!(!camera.in_field(Vec2::new(1.06, 0.0)));
        assert_eq!(camera.ray(f32::NAN, 240.0), None);
        assert_eq!(camera.ray(f32::INFINITY, 240.0), None);
    }

    #[test]
    fn another_image_size_is_refused_with_both_sizes() {
        let camera = wide();
        assert!(camera.fits(640, 480).is_ok());
        let error = camera.fits(1280, 720).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the calibration is for 640x480 images, the camera delivers 1280x720"
        );
        assert!(camera.scaled_to(1280, 720).is_err());
    }

    #[test]
    fn scaling_keeps_the_rays_of_the_image_corners() {
        let camera = wide();
        let half = camera.scaled_to(320, 240).unwrap();
        let before = camera.ray(-0.5, -0.5).unwrap();
        let after = half.ray(-0.5, -0.5).unwrap();
        assert!((before - after).length() < 1e-5, "{before} {after}");
        assert!(half.fits(320, 240).is_ok());
    }

    #[test]
    fn the_assumed_lens_is_sixty_degrees_over_the_longer_side() {
        let fov = Calibration::assumed(640, 480).horizontal_fov_deg().unwrap();
        assert!((fov - 60.0).abs() < 1e-6, "{fov}");
        let portrait = Calibration::assumed(480, 640).intrinsics();
        assert!((portrait.fx_px - Calibration::assumed(640, 480).intrinsics().fx_px).abs() < 1e-9);
        assert_eq!(
            Calibration::assumed(64, 48).to_string(),
            "64x48, no distortion, 60.0 deg wide, assumed: this camera was not measured"
        );
    }

    #[test]
    fn a_focal_length_in_millimetres_is_refused_by_name() {
        let error = Calibration::new(
            (640, 480),
            Intrinsics {
                fx_px: 3.6,
                fy_px: 3.6,
                cx_px: 320.0,
                cy_px: 240.0,
            },
            Distortion::None {},
            Origin::Assumed,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "intrinsics.fx_px = 3.6: must be from 64 to 32000"
        );
    }

    #[test]
    fn a_lens_that_folds_over_in_the_middle_is_refused() {
        let error = Calibration::new(
            (640, 480),
            wide().intrinsics(),
            Distortion::PlumbBob {
                k1: -28.0,
                k2: 0.0,
                p1: 0.0,
                p2: 0.0,
                k3: 0.0,
            },
            Origin::Assumed,
        )
        .unwrap_err();
        assert!(error.to_string().contains("distortion"), "{error}");
    }

    #[test]
    fn a_calibration_follows_our_reduction_and_turning_of_pictures() {
        let lens = Intrinsics {
            fx_px: 1_500.0,
            fy_px: 1_480.0,
            cx_px: 1_300.0,
            cy_px: 700.0,
        };
        let plumb_bob = Distortion::PlumbBob {
            k1: -0.2,
            k2: 0.05,
            p1: 0.003,
            p2: -0.002,
            k3: 0.001,
        };
        let rational = Distortion::RationalPolynomial {
            k1: 0.3,
            k2: -0.1,
            p1: 0.003,
            p2: -0.002,
            k3: 0.01,
            k4: 0.5,
            k5: -0.1,
            k6: 0.02,
            s1: 0.002,
            s2: -0.001,
            s3: -0.003,
            s4: 0.001,
        };
        let mount = Mount {
            height_m: 2.0,
            down_deg: 20.0,
            roll_deg: 30.0,
        };
        for bend in [plumb_bob, rational] {
            let camera = Calibration::new((2704, 1520), lens, bend, Origin::Assumed)
                .and_then(|camera| camera.with_mount(mount))
                .unwrap();
            let reduced = camera.reduced_to(1920, 1079);
            let (ray, mut pixel) = (Vec2::new(0.3, -0.2), camera.pixel(Vec2::new(0.3, -0.2)));
            pixel = (pixel + 0.5) * Vec2::new(1920.0 / 2704.0, 1079.0 / 1520.0) - 0.5;
            assert!((reduced.pixel(ray) - pixel).length() < 1e-2);

            for orientation in 1..=8 {
                let turn = Turn::of_exif(orientation).unwrap();
                let turned = camera.turned(turn);
                assert_eq!(turned.size_px(), turn.size((2704, 1520)));
                let of = |at: Vec2| {
                    let (x, y) = turn.direction((at.x.into(), at.y.into()));
                    DVec2::new(x, y).as_vec2()
                };
                // From the middle of the image, pixels and rays turn alike.
                let middle = |size: (u32, u32)| {
                    0.5 * (glam::UVec2::new(size.0, size.1).as_vec2() - Vec2::ONE)
                };
                let from = of(camera.pixel(ray) - middle(camera.size_px()));
                let to = turned.pixel(of(ray)) - middle(turned.size_px());
                assert!((from - to).length() < 1e-2, "{orientation}: {from} {to}");
                let up = camera.mount().unwrap().up();
                let plane = of(Vec2::new(up.x, up.y));
                let want = Vec3::new(plane.x, plane.y, up.z);
                let got = turned.mount().unwrap().up();
                assert!((got - want).length() < 1e-5, "{orientation}: {got} {want}");
            }
        }
    }

    #[test]
    fn the_floor_is_ahead_left_and_up_of_the_camera() {
        let mount = |down_deg, roll_deg| Mount {
            height_m: 2.0,
            down_deg,
            roll_deg,
        };
        let is = |mount: Mount, camera: Vec3, floor: Vec3| {
            let got = mount.to_floor() * camera;
            assert!(
                (got - floor).length() < 1e-5,
                "{mount:?}: {camera} at {got}"
            );
        };
        let level = mount(0.0, 0.0);
        is(level, Vec3::Z, Vec3::X);
        is(level, Vec3::X, Vec3::NEG_Y);
        is(level, Vec3::Y, Vec3::NEG_Z);
        // Looking down by 45 degrees, the line of sight goes ahead and down alike.
        let half = std::f32::consts::FRAC_1_SQRT_2;
        is(mount(45.0, 0.0), Vec3::Z, Vec3::new(half, 0.0, -half));
        is(mount(45.0, 0.0), Vec3::X, Vec3::NEG_Y);
        is(mount(90.0, 0.0), Vec3::Z, Vec3::NEG_Z);
        is(mount(90.0, 0.0), Vec3::NEG_Y, Vec3::X);
        // Turned clockwise by a quarter, what is to the right in the image is below.
        is(mount(0.0, 90.0), Vec3::X, Vec3::NEG_Z);
        for (down, roll) in [(20.0, 30.0), (-60.0, -170.0), (90.0, 12.0)] {
            let mount = mount(down, roll);
            is(mount, mount.up(), Vec3::Z);
            let sight = mount.to_floor() * Vec3::Z;
            assert!(
                sight.y.abs() < 1e-5 && sight.x > -1e-5,
                "{mount:?}: {sight}"
            );
            assert!((sight.z + f32::to_radians(down).sin()).abs() < 1e-5);
        }
    }
}
