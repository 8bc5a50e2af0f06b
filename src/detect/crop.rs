//! Where in the frame a person network looks, and back from its pixels to the frame's.
//!
//! [`perspective`]: the camera is turned (not moved) so that the person stands
//! on its axis, as in `PersPose`. With `a` the unit ray of the box's centre and
//! `q = 1 / (1 + a.z)`, the rotation R with `R a = (0, 0, 1)` has the rows
//! `(1 - q a.x a.x, -q a.x a.y, -a.x)`, `(-q a.x a.y, 1 - q a.y a.y, -a.y)` and `a`.
//! The crop's centre is the axis of the turned camera; its pixels are square in
//! the plane z = 1. [`flat`]: a cut of the image plane, for networks made for that.
//!
//! Both can be turned about their centre, so that a person who leans or lies is upright in the crop: person networks
//! are at their best there. The turn is the `lean` of the person in the image, radians, clockwise from upright.

use glam::{Mat2, Mat3, Vec2, Vec3};

use super::preprocess::{Homography, LensGrid, Mapping};
use crate::camera::rotate::rotation_facing;
use crate::camera::{Calibration, Distortion};
use crate::pose::BoxPx;

/// A crop is this much larger than the person's box, so that a box which is a
/// little off still holds the person.
pub const CROP_EXPAND: f32 = 1.25;

/// Boxes smaller than this, in pixels of the longer side, hold no person.
const SIDE_PX_MIN: f32 = 2.0;

/// Rays further than this from the crop's axis are not looked at (tangent of the angle).
const TANGENT_MAX: f32 = 3.0;

/// Shares of the way from a box's centre to a corner that are tried until the lens has a ray there.
const WAY_TO_CORNER: [f32; 4] = [1.0, 0.8, 0.6, 0.4];

/// A crop: how its pixels lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crop {
    /// Through a turned camera.
    Perspective {
        /// Camera frame to turned camera frame.
        rotation: Mat3,
        /// Plane coordinates (z = 1) per crop pixel.
        scale: f32,
        /// Crop pixel of the turned camera's axis.
        centre_px: Vec2,
    },
    /// source = matrix * crop + shift.
    Flat {
        /// Frame pixels per crop pixel.
        matrix: Mat2,
        /// Frame pixel of crop pixel (0, 0).
        shift_px: Vec2,
    },
}

/// The perspective crop of a box that leans by `lean`, or `None` if the camera has no rays there. `corners` are in
/// pixels of the frame, opposite ones two places apart; `size` is the crop's width and height.
pub fn perspective(
    corners: &[Vec2; 4],
    lean: f32,
    camera: &Calibration,
    size: (usize, usize),
) -> Option<Crop> {
    if !is_sound(corners) {
        return None;
    }
    let centre = 0.5 * (corners[0] + corners[2]);
    let facing = rotation_facing(camera.ray(centre.x, centre.y)?);
    let rotation = Mat3::from_rotation_z(-lean) * facing;
    let tangent = |at: Vec2| {
        let turned = rotation * camera.ray(at.x, at.y)?.extend(1.0);
        (turned.z >= 1.0 / TANGENT_MAX).then(|| (turned.truncate() / turned.z).abs())
    };
    let mut half = Vec2::ZERO;
    for corner in corners {
        // A wide lens has no rays in the corners of the image, but the person may be well in view.
        let seen = WAY_TO_CORNER
            .iter()
            .find_map(|share| tangent(centre.lerp(*corner, *share)))?;
        half = half.max(seen);
    }
    let (size, centre_px) = sizes(size);
    // Whichever side is the longer, in relation to the crop's, sets the scale.
    let scale = (2.0 * CROP_EXPAND * half / size).max_element();
    Some(Crop::Perspective {
        rotation,
        scale,
        centre_px,
    })
}

/// The crop, in the image plane, of a box that leans by `lean`, of the same aspect as the network's
/// input; `None` for a box without area. `corners` and `size` as in [`perspective`].
pub fn flat(corners: &[Vec2; 4], lean: f32, size: (usize, usize)) -> Option<Crop> {
    if !is_sound(corners) {
        return None;
    }
    let (size, centre_px) = sizes(size);
    let centre = 0.5 * (corners[0] + corners[2]);
    let back = Vec2::from_angle(-lean);
    let half = corners
        .iter()
        .map(|corner| back.rotate(*corner - centre).abs())
        .fold(Vec2::ZERO, Vec2::max);
    let scale = (2.0 * CROP_EXPAND * half / size).max_element();
    let matrix = scale * Mat2::from_angle(lean);
    let shift_px = centre - matrix * centre_px;
    Some(Crop::Flat { matrix, shift_px })
}

/// Corners of an axis-parallel box.
pub fn corners_of(bounds: &BoxPx) -> [Vec2; 4] {
    [
        (bounds.left, bounds.top),
        (bounds.right, bounds.top),
        (bounds.right, bounds.bottom),
        (bounds.left, bounds.bottom),
    ]
    .map(Vec2::from)
}

/// Whether a box is finite and large enough to hold a person.
fn is_sound(corners: &[Vec2; 4]) -> bool {
    corners.iter().all(|corner| corner.is_finite())
        && (corners[1] - corners[0])
            .length()
            .max((corners[3] - corners[0]).length())
            >= SIDE_PX_MIN
}

/// Focal lengths and principal point where the lens has no distortion.
#[expect(
    clippy::cast_possible_truncation,
    reason = "pixels in f32 are exact to a thousandth"
)]
fn pinhole(camera: &Calibration) -> Option<[f32; 4]> {
    let k = camera.intrinsics();
    matches!(camera.distortion(), Distortion::None {})
        .then_some([k.fx_px, k.fy_px, k.cx_px, k.cy_px].map(|px| px as f32))
}

#[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
fn sizes((width, height): (usize, usize)) -> (Vec2, Vec2) {
    let size = Vec2::new(width as f32, height as f32);
    (size, 0.5 * (size - Vec2::ONE))
}

impl Crop {
    /// Frame pixel of a crop pixel.
    pub fn to_frame(self, x: f32, y: f32, camera: &Calibration) -> Option<(f32, f32)> {
        match self {
            Self::Perspective {
                rotation,
                scale,
                centre_px,
            } => {
                let plane = (Vec2::new(x, y) - centre_px) * scale;
                // R^T takes the turned camera's rays back.
                let ray = rotation.transpose() * plane.extend(1.0);
                if ray.z < 1e-3 {
                    return None;
                }
                let ray = ray.truncate() / ray.z;
                let pixel = camera.pixel(ray);
                camera.in_field(ray).then_some((pixel.x, pixel.y))
            }
            Self::Flat { matrix, shift_px } => Some((matrix * Vec2::new(x, y) + shift_px).into()),
        }
    }

    /// The same crop in a mirror: column x of it is column `width - 1 - x` of this one.
    #[must_use]
    pub fn mirrored(self, size: (usize, usize)) -> Self {
        let (_, middle) = sizes(size);
        match self {
            Self::Perspective {
                rotation,
                scale,
                centre_px,
            } => Self::Perspective {
                rotation: Mat3::from_diagonal(Vec3::new(-1.0, 1.0, 1.0)) * rotation,
                scale,
                centre_px,
            },
            Self::Flat { matrix, shift_px } => Self::Flat {
                matrix: Mat2::from_cols(-matrix.x_axis, matrix.y_axis),
                shift_px: shift_px + 2.0 * middle.x * matrix.x_axis,
            },
        }
    }

    /// The mapping to sample the crop with: a homography where the camera is a
    /// pinhole, else `grid`, filled from the lens.
    pub fn mapping<'a>(self, camera: &Calibration, grid: &'a mut LensGrid) -> Mapping<'a> {
        match (self, pinhole(camera)) {
            (Self::Flat { matrix, shift_px }, _) => {
                Mapping::Homography(Homography::affine(matrix, shift_px))
            }
            (
                Self::Perspective {
                    rotation,
                    scale,
                    centre_px,
                },
                Some([fx, fy, cx, cy]),
            ) => {
                let projection = Mat3::from_cols(
                    Vec3::new(fx, 0.0, 0.0),
                    Vec3::new(0.0, fy, 0.0),
                    Vec3::new(cx, cy, 1.0),
                );
                let plane = Mat3::from_cols(
                    Vec3::new(scale, 0.0, 0.0),
                    Vec3::new(0.0, scale, 0.0),
                    (-scale * centre_px).extend(1.0),
                );
                let matrix = projection * rotation.transpose() * plane;
                Mapping::Homography(Homography(matrix.transpose().to_cols_array()))
            }
            (Self::Perspective { .. }, None) => {
                grid.fill(|x, y| self.to_frame(x, y, camera));
                Mapping::Lens(grid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Origin;

    const BOX: BoxPx = BoxPx {
        left: 400.0,
        top: 60.0,
        right: 520.0,
        bottom: 400.0,
    };

    #[test]
    fn homography_and_rays_agree_to_a_thousandth_of_a_pixel() {
        let camera = Calibration::assumed(640, 480);
        let crop = perspective(&corners_of(&BOX), 0.0, &camera, (144, 192)).unwrap();
        let mut grid = LensGrid::new(144, 192);
        let Mapping::Homography(matrix) = crop.mapping(&camera, &mut grid) else {
            panic!("a pinhole is a homography")
        };
        for (x, y) in [(0.0, 0.0), (143.0, 0.0), (71.5, 95.5), (20.0, 191.0)] {
            let (ax, ay) = matrix.apply(x, y);
            let (bx, by) = crop.to_frame(x, y, &camera).unwrap();
            assert!((ax - bx).hypot(ay - by) < 2e-3, "({ax}, {ay}) ({bx}, {by})");
        }
    }

    #[test]
    fn the_crop_holds_the_box_and_its_centre_is_the_boxes() {
        let camera = Calibration::assumed(640, 480);
        let crop = perspective(&corners_of(&BOX), 0.0, &camera, (144, 192)).unwrap();
        let (x, y) = crop.to_frame(71.5, 95.5, &camera).unwrap();
        assert!(
            (x - 460.0).abs() < 1e-2 && (y - 230.0).abs() < 1e-2,
            "{x} {y}"
        );
        // The box is higher than 4:3 of its width, so its height fills 1 / 1.25 of the crop.
        let (_, top) = crop.to_frame(71.5, 95.5 - 96.0 / 1.25, &camera).unwrap();
        let (_, bottom) = crop.to_frame(71.5, 95.5 + 96.0 / 1.25, &camera).unwrap();
        assert!(top < 61.0 && bottom > 399.0, "{top} {bottom}");
        assert!(top > 40.0 && bottom < 420.0, "{top} {bottom}");
    }

    /// A lens with so little distortion that it is a pinhole to a hundredth of a pixel.
    #[test]
    fn the_lens_path_agrees_with_the_pinhole_path() {
        let camera = Calibration::assumed(640, 480);
        let bent = |k1: f64| {
            let distortion = Distortion::PlumbBob {
                k1,
                k2: 0.0,
                p1: 0.0,
                p2: 0.0,
                k3: 0.0,
            };
            Calibration::new((640, 480), camera.intrinsics(), distortion, Origin::Assumed).unwrap()
        };
        let crop = perspective(&corners_of(&BOX), 0.0, &camera, (144, 192)).unwrap();
        let (mut grid, mut unused) = (LensGrid::new(144, 192), LensGrid::new(144, 192));
        let exact = crop.mapping(&camera, &mut unused);
        let through = crop.mapping(&bent(1e-6), &mut grid);
        assert!(matches!(through, Mapping::Lens(_)));
        for (x, y) in [(0.0, 0.0), (3.0, 100.0), (141.0, 187.0)] {
            let (a, b) = (exact.apply(x, y), through.apply(x, y));
            assert!((a.0 - b.0).hypot(a.1 - b.1) < 0.05, "{a:?} {b:?}");
        }
        // With real distortion the crop follows the lens, and its centre is still the box's.
        let lens = bent(-0.2);
        let crop = perspective(&corners_of(&BOX), 0.0, &lens, (144, 192)).unwrap();
        let (x, y) = crop.mapping(&lens, &mut unused).apply(71.5, 95.5);
        assert!(
            (x - 460.0).abs() < 0.2 && (y - 230.0).abs() < 0.2,
            "{x} {y}"
        );
    }

    #[test]
    fn an_upright_crop_is_centred_and_keeps_the_aspect() {
        let crop = flat(&corners_of(&BOX), 0.0, (192, 192)).unwrap();
        let camera = Calibration::assumed(640, 480);
        let (x, y) = crop.to_frame(95.5, 95.5, &camera).unwrap();
        assert!((x - 460.0).abs() < 1e-3 && (y - 230.0).abs() < 1e-3);
        let (left, top) = crop.to_frame(-0.5, -0.5, &camera).unwrap();
        let side = 340.0 * CROP_EXPAND;
        assert!((left - (460.0 - 0.5 * side)).abs() < 1e-2, "{left}");
        assert!((top - (230.0 - 0.5 * side)).abs() < 1e-2, "{top}");
    }

    #[test]
    fn boxes_without_area_and_rays_behind_have_no_crop() {
        let thin = BoxPx {
            left: 10.0,
            top: 10.0,
            right: 10.0,
            bottom: 10.0,
        };
        assert_eq!(flat(&corners_of(&thin), 0.0, (192, 192)), None);
        let camera = Calibration::assumed(640, 480);
        assert_eq!(
            perspective(&corners_of(&thin), 0.0, &camera, (144, 192)),
            None
        );
        let wild = BoxPx {
            left: f32::NAN,
            ..BOX
        };
        assert_eq!(flat(&corners_of(&wild), 0.0, (192, 192)), None);
        assert_eq!(
            perspective(&corners_of(&wild), 0.0, &camera, (144, 192)),
            None
        );
    }

    /// The field of a strongly distorted lens ends 554 pixels from the centre; corners of the image are at 734.
    #[test]
    fn a_box_whose_corners_lie_beyond_the_lens_still_has_a_crop() {
        let intrinsics = Calibration::assumed(1280, 720).intrinsics();
        let intrinsics = crate::camera::Intrinsics {
            fx_px: 910.0,
            fy_px: 910.0,
            ..intrinsics
        };
        let distortion = Distortion::PlumbBob {
            k1: -0.4,
            k2: 0.0,
            p1: 0.0,
            p2: 0.0,
            k3: 0.0,
        };
        let camera =
            Calibration::new((1280, 720), intrinsics, distortion, Origin::Assumed).unwrap();
        let bounds = BoxPx {
            left: 60.0,
            top: 0.0,
            right: 300.0,
            bottom: 719.0,
        };
        assert_eq!(camera.ray(60.0, 0.0), None, "the corner has no ray");
        let crop = perspective(&corners_of(&bounds), 0.0, &camera, (144, 192)).unwrap();
        let (x, y) = crop.to_frame(71.5, 95.5, &camera).unwrap();
        assert!(
            (x - 180.0).abs() < 1.0 && (y - 359.5).abs() < 1.0,
            "{x} {y}"
        );
        let (_, top) = crop.to_frame(71.5, 40.0, &camera).unwrap();
        assert!(top < 200.0, "{top}");
    }

    #[test]
    fn a_person_who_leans_is_upright_in_the_crop() {
        let camera = Calibration::assumed(640, 480);
        let bounds = BoxPx {
            left: 200.0,
            top: 100.0,
            right: 400.0,
            bottom: 300.0,
        };
        let size = (144, 192);
        // Hips in the middle of the box, head up and to the right of them.
        for lean in [0.0_f32, 0.6, 1.5, -0.8, 3.0] {
            let head = Vec2::new(300.0, 200.0) + 40.0 * Vec2::new(lean.sin(), -lean.cos());
            for crop in [
                perspective(&corners_of(&bounds), lean, &camera, size).unwrap(),
                flat(&corners_of(&bounds), lean, size).unwrap(),
            ] {
                let at = |x, y| Vec2::from(crop.to_frame(x, y, &camera).unwrap());
                let up = at(71.5, 60.0) - at(71.5, 95.5);
                let want = head - Vec2::new(300.0, 200.0);
                assert!(up.angle_to(want).abs() < 0.06, "{lean}: {up} {want}");
                assert!((at(71.5, 95.5) - Vec2::new(300.0, 200.0)).length() < 0.05);
            }
        }
    }

    #[test]
    fn a_turned_crop_holds_its_turned_box() {
        let camera = Calibration::assumed(640, 480);
        let lean = 0.8;
        let turn = Vec2::from_angle(lean);
        let corners = [(-30.0, -90.0), (30.0, -90.0), (30.0, 90.0), (-30.0, 90.0)]
            .map(|(x, y)| Vec2::new(330.0, 260.0) + turn.rotate(Vec2::new(x, y)));
        for crop in [
            perspective(&corners, lean, &camera, (144, 192)).unwrap(),
            flat(&corners, lean, (144, 192)).unwrap(),
        ] {
            // The height decides: it fills 1 / 1.25 of the crop.
            let at = |x, y| Vec2::from(crop.to_frame(x, y, &camera).unwrap());
            let top = 0.5 * (corners[0] + corners[1]);
            assert!((at(71.5, 95.5 - 96.0 / 1.25) - top).length() < 2.0);
            let left = 0.5 * (corners[0] + corners[3]);
            assert!((at(71.5 - 32.0 / 1.25, 95.5) - left).length() < 2.0);
        }
    }

    #[test]
    fn a_mirrored_crop_is_the_crop_from_right_to_left() {
        let lens = Calibration::new(
            (640, 480),
            Calibration::assumed(640, 480).intrinsics(),
            Distortion::PlumbBob {
                k1: -0.2,
                k2: 0.0,
                p1: 0.0,
                p2: 0.0,
                k3: 0.0,
            },
            Origin::Assumed,
        )
        .unwrap();
        let size = (144, 192);
        for crop in [
            perspective(&corners_of(&BOX), 0.3, &lens, size).unwrap(),
            flat(&corners_of(&BOX), 0.3, size).unwrap(),
        ] {
            let mirrored = crop.mirrored(size);
            for (x, y) in [(0.0, 0.0), (30.0, 100.0), (143.0, 191.0)] {
                let a = Vec2::from(crop.to_frame(x, y, &lens).unwrap());
                let b = Vec2::from(mirrored.to_frame(143.0 - x, y, &lens).unwrap());
                assert!((a - b).length() < 1e-2, "{a} {b}");
            }
        }
    }
}
