//! `[floor]`: whether people on the floor are reported, after how long, and where they are not.

use glam::Vec2;
use serde::Deserialize;

use super::FloorWatch;
use crate::base::config::{ConfigError, check};
use crate::camera::Calibration;

/// Most regions in which no one is reported: more than a room has beds and sofas.
const REGIONS_MAX: usize = 16;

/// Most corners of a region: an outline drawn by hand.
const CORNERS_MAX: usize = 32;

/// Largest coordinate of a corner, pixels: that of the largest image side a calibration may have.
const CORNER_PX_MAX: f32 = 16_384.0;

/// Least area of a region, square pixels: below, its corners lie on a line or in one place, or their order makes
/// its outline cross itself.
const AREA_PX2_MIN: f32 = 16.0;

/// `[floor]`: a person on the floor is an event (`docs/reference/floor.md`). No medical device.
///
/// ```toml
/// [floor]
/// events = true
/// after_s = 5
/// ignore = [[[20, 300], [220, 290], [230, 420], [10, 440]]]
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct FloorConfig {
    /// Whether people on the floor are reported. Needs a calibration with a `[mount]`. Default false.
    pub events: bool,
    /// How long a person has to lie there before it is reported, seconds, 1 to 600. Default 5: shorter are exercises,
    /// and looks under furniture.
    pub after_s: f32,
    /// Regions of the image in which no one is reported, such as beds and sofas: polygons of 3 to 32 corners, each
    /// `[x, y]` in pixels of the image that the networks see; at most 16. A person is in the region that the middle of
    /// the trunk is in.
    pub ignore: Vec<Vec<[f32; 2]>>,
}

impl Default for FloorConfig {
    fn default() -> Self {
        Self {
            events: false,
            after_s: 5.0,
            ignore: Vec::new(),
        }
    }
}

impl FloorConfig {
    /// Checks what the types cannot say and what needs no image.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range, and of a region the first corner.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("floor.after_s", self.after_s, 1.0, 600.0)?;
        check("floor.ignore (regions)", self.ignore.len(), 0, REGIONS_MAX)?;
        for (number, region) in (1..).zip(&self.ignore) {
            check(
                "floor.ignore (corners of a region)",
                region.len(),
                3,
                CORNERS_MAX,
            )?;
            for coordinate in region.iter().flatten() {
                check("floor.ignore (corner)", *coordinate, 0.0, CORNER_PX_MAX)?;
            }
            let area = area_px2(region);
            if area < AREA_PX2_MIN {
                return Err(ConfigError::Value {
                    key: "floor.ignore",
                    value: format!("region {number}, of {area:.0} square pixels"),
                    want: "an area: corners in their order around it, not on a line, no crossing",
                });
            }
        }
        Ok(())
    }

    /// Checks that the calibration says how the camera hangs, where that is needed.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Needs`] if events are wanted and there is no mount.
    pub fn check_mount(&self, has_mount: bool) -> Result<(), ConfigError> {
        if self.events && !has_mount {
            return Err(ConfigError::Needs {
                key: "floor.events",
                value: "true".to_owned(),
                what: "a calibration with a [mount], the height of the camera above the floor and its tilt: \
                       measure it with `poised calibrate mount` and name the file in [calibration] file",
            });
        }
        Ok(())
    }

    /// Checks that all regions lie within an image of this size.
    ///
    /// # Errors
    ///
    /// Names the first corner outside.
    pub fn check_image(&self, (width_px, height_px): (u32, u32)) -> Result<(), ConfigError> {
        for (number, region) in (1..).zip(&self.ignore) {
            for [x, y] in region {
                if f64::from(*x) > f64::from(width_px) || f64::from(*y) > f64::from(height_px) {
                    return Err(ConfigError::Value {
                        key: "floor.ignore",
                        value: format!("region {number}, corner [{x}, {y}]"),
                        want: "in the image, in pixels of the camera's mode after [camera] rotate",
                    });
                }
            }
        }
        Ok(())
    }

    /// What watches for people on the floor, for a camera that is open; `None` where that is not wanted.
    ///
    /// # Errors
    ///
    /// The calibration has no mount, or a region is outside the image.
    pub fn watch(&self, calibration: &Calibration) -> Result<Option<FloorWatch>, ConfigError> {
        self.check_mount(calibration.mount().is_some())?;
        let Some(mount) = calibration.mount().filter(|_| self.events) else {
            return Ok(None);
        };
        self.check_image(calibration.size_px())?;
        Ok(Some(FloorWatch::new(self, mount)))
    }

    /// Whether a place in the image is in one of the regions: an odd number of edges lies to the right of it.
    pub(super) fn ignores(&self, at_px: Vec2) -> bool {
        self.ignore.iter().any(|region| contains(region, at_px))
    }
}

/// Edges of a polygon, the last corner to the first among them.
fn edges(region: &[[f32; 2]]) -> impl Iterator<Item = (Vec2, Vec2)> + '_ {
    let next = region.iter().cycle().skip(1);
    region
        .iter()
        .zip(next)
        .map(|(from, to)| (Vec2::from(*from), Vec2::from(*to)))
}

fn area_px2(region: &[[f32; 2]]) -> f32 {
    let twice: f32 = edges(region).map(|(from, to)| from.perp_dot(to)).sum();
    0.5 * twice.abs()
}

fn contains(region: &[[f32; 2]], at: Vec2) -> bool {
    let right_of = |(from, to): (Vec2, Vec2)| {
        (from.y > at.y) != (to.y > at.y)
            && at.x < from.x + (at.y - from.y) / (to.y - from.y) * (to.x - from.x)
    };
    edges(region).filter(|edge| right_of(*edge)).count() % 2 == 1
}
