//! Perspective rotation: a virtual camera that looks straight at the person.
//!
//! The same posture seen at the edge of an image and in its middle gives other
//! 2D points; turning the camera in place towards the person takes that
//! difference away, and costs nothing, since rays turn without knowing depth
//! (`PersPose`, arXiv 2508.17239). Rotated: `r' = R r`, `X' = R X`; back: `X = Rᵀ X'`.

use glam::{Mat3, Vec2, Vec3};

/// Rays closer than this to the plane of the rotated camera's lens, as z of
/// a ray of the camera's z = 1 plane, cannot be put on its z = 1 plane.
pub const Z_MIN: f32 = 0.1;

/// The rotation that turns the ray `(centre, 1)` onto the optical axis.
///
/// Closed form, with `a = (centre, 1)` normalised and `q = 1 / (1 + a_z)`:
///
/// ```text
/// R = | 1 - q ax²   -q ax ay   -ax |
///     |  -q ax ay  1 - q ay²   -ay |
///     |     ax         ay       az |
/// ```
///
/// It turns about `a × z`, so the image does not roll; no angle is computed and
/// nothing is divided by a small number.
pub fn rotation_facing(centre: Vec2) -> Mat3 {
    let a = centre.extend(1.0).normalize();
    let q = 1.0 / (1.0 + a.z);
    // Columns, as glam stores matrices.
    Mat3::from_cols(
        Vec3::new(1.0 - q * a.x * a.x, -q * a.x * a.y, a.x),
        Vec3::new(-q * a.x * a.y, 1.0 - q * a.y * a.y, a.y),
        Vec3::new(-a.x, -a.y, a.z),
    )
}

/// The ray as the rotated camera sees it, on its plane z = 1.
///
/// Rays to its side are put where z would be [`Z_MIN`], so that they stay
/// finite; [`in_front`] tells them.
pub fn rotate_ray(rotation: &Mat3, ray: Vec2) -> Vec2 {
    let turned = *rotation * ray.extend(1.0);
    turned.truncate() / turned.z.max(Z_MIN)
}

/// Whether the rotated camera has the ray in front of it.
pub fn in_front(rotation: &Mat3, ray: Vec2) -> bool {
    (*rotation * ray.extend(1.0)).z > Z_MIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{Calibration, Distortion, Intrinsics, Origin};

    #[test]
    fn the_rotation_turns_the_centre_onto_the_axis_and_is_one() {
        for centre in [
            Vec2::ZERO,
            Vec2::new(0.6, -0.4),
            Vec2::new(-2.5, 1.5),
            Vec2::new(0.0, 4.0),
        ] {
            let rotation = rotation_facing(centre);
            let turned = rotation * centre.extend(1.0).normalize();
            assert!((turned - Vec3::Z).length() < 1e-6, "{turned}");
            let unit = rotation * rotation.transpose();
            assert!(unit.abs_diff_eq(Mat3::IDENTITY, 1e-6), "{unit}");
            assert!((rotation.determinant() - 1.0).abs() < 1e-6);
            assert!(rotate_ray(&rotation, centre).length() < 1e-6);
        }
    }

    #[test]
    fn two_hundred_pixels_off_at_a_focal_length_of_900_are_twelve_and_a_half_degrees() {
        let rotation = rotation_facing(Vec2::new(200.0 / 900.0, 0.0));
        let angle = rotation.z_axis.z.acos().to_degrees();
        assert!((angle - 12.53).abs() < 0.01, "{angle}");
    }

    #[test]
    fn turning_rays_agrees_with_turning_points() {
        // Pixels through the homography H = K R K⁻¹ against K (R X).
        let camera = Calibration::new(
            (1280, 720),
            Intrinsics {
                fx_px: 900.0,
                fy_px: 905.0,
                cx_px: 640.0,
                cy_px: 360.0,
            },
            Distortion::None {},
            Origin::Assumed,
        )
        .unwrap();
        let rotation = rotation_facing(Vec2::new(0.35, 0.1));
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let point = Vec3::new(
                2.0 * random.f32() - 1.0,
                2.0 * random.f32() - 1.0,
                2.0 + 4.0 * random.f32(),
            );
            let pixel = camera.pixel(point.truncate() / point.z);
            let ray = camera.ray(pixel.x, pixel.y).unwrap();
            let warped = camera.pixel(rotate_ray(&rotation, ray));
            let turned = rotation * point;
            let direct = camera.pixel(turned.truncate() / turned.z);
            assert!((warped - direct).length() < 2e-3, "{warped} {direct}");
        }
    }
}
