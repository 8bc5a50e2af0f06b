//! How a camera hangs, from a board that lies on the floor face up.

use glam::DVec2;
use nalgebra::{Matrix3, Vector3};

use super::fit::{Corner, count, find_pose};
use super::lens::Optics;
use super::{CalibrateError, Views};
use crate::camera::{Calibration, Mount};

/// Smallest standard deviation of an angle that is told, degrees: a floor is not flatter.
const ANGLE_SIGMA_MIN_DEG: f64 = 0.05;

/// A mount that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Height, angle below the horizon, roll.
    pub mount: Mount,
    /// Standard deviation of the height, metres.
    pub height_sigma_m: f64,
    /// Of the angle below the horizon, degrees.
    pub down_sigma_deg: f64,
    /// Of the roll, degrees.
    pub roll_sigma_deg: f64,
    /// Root mean square residual of the corners, pixels.
    pub residual_px: f64,
    /// Pictures that were used.
    pub pictures: usize,
    /// Distance from the lens to the middle of the board, metres.
    pub distance_m: f64,
}

/// Height, and angle below the horizon and roll in radians.
type Hang = Vector3<f64>;

/// Finds how the camera hangs from the corners of boards on one level floor; several are averaged. The board's thickness
/// is taken for none.
///
/// # Errors
///
/// No board is seen, or it does not lie on the floor below the camera, face up.
pub fn measure(views: &Views, camera: &Calibration) -> Result<Measured, CalibrateError> {
    let corners: Vec<&[Corner]> = views
        .kept()
        .iter()
        .map(|view| view.corners.as_slice())
        .collect();
    let size_m = views.finder().board().size_m();
    measured(&corners, size_m, camera).ok_or_else(|| CalibrateError::NoView {
        why: super::refusals(views),
    })?
}

fn measured(
    views: &[&[Corner]],
    size_m: DVec2,
    camera: &Calibration,
) -> Option<Result<Measured, CalibrateError>> {
    /// Step of the derivatives, radians and metres.
    const STEP: f64 = 1e-6;
    let optics = Optics::new(camera.intrinsics(), camera.distortion());
    let (mut hangs, mut formal) = (Vec::new(), Hang::zeros());
    let (mut squares, mut distance_m) = (0.0, 0.0);
    for view in views {
        let Some(posed) = find_pose(&optics, view) else {
            continue;
        };
        let at = hang(&posed.pose);
        // How height and angles change with a small turn and move of the board, by differences.
        let mut slopes = nalgebra::Matrix3x6::zeros();
        for k in 0..6 {
            let mut step = nalgebra::SVector::<f64, 6>::zeros();
            step[k] = STEP;
            let slope = hang(&posed.pose.moved(&step)) - hang(&posed.pose.moved(&-step));
            slopes.set_column(k, &(slope / (2.0 * STEP)));
        }
        let covariance: Matrix3<f64> = slopes * posed.covariance * slopes.transpose();
        formal += covariance.diagonal();
        squares += posed.rms * posed.rms;
        distance_m += posed.pose.apply(0.5 * size_m).norm();
        hangs.push(at);
    }
    let number = count(hangs.len());
    // Views on the two sides of a full turn are averaged around the first.
    let first = *hangs.first()?;
    let off: Vec<Hang> = hangs.iter().map(|hang| unwound(hang - first)).collect();
    let mean: Hang = off.iter().sum::<Hang>() / number;
    let scatter: Hang = off
        .iter()
        .map(|off| (off - mean).map(|v| v * v))
        .sum::<Hang>()
        / (number - 1.0).max(1.0);
    let mut hang = first + mean;
    hang.z = unwound(Hang::new(0.0, 0.0, hang.z)).z;
    // Whatever the corners say, the boards are not closer together than they were found.
    let variance = (formal / number).zip_map(&scatter, f64::max) / number;
    let sigma = variance.map(f64::sqrt);
    let angle = |at: usize| f64::max(sigma[at].to_degrees(), ANGLE_SIGMA_MIN_DEG);
    #[expect(clippy::cast_possible_truncation, reason = "metres and degrees")]
    let mount = Mount {
        height_m: hang.x as f32,
        down_deg: hang.y.to_degrees() as f32,
        roll_deg: hang.z.to_degrees() as f32,
    };
    if let Err(error) = mount.validate() {
        return Some(Err(CalibrateError::Mount(error)));
    }
    Some(Ok(Measured {
        mount,
        height_sigma_m: sigma.x,
        down_sigma_deg: angle(1),
        roll_sigma_deg: angle(2),
        residual_px: (squares / number).sqrt(),
        pictures: hangs.len(),
        distance_m: distance_m / number,
    }))
}

/// Height, angle below the horizon and roll: the board's z points into it, which is down.
fn hang(pose: &super::homography::Pose) -> Hang {
    let down: Vector3<f64> = pose.rotation.matrix().column(2).into_owned();
    // As `Mount::up` has it: up is (-cos down sin roll, -cos down cos roll, -sin down).
    Hang::new(
        down.dot(&pose.translation),
        down.z.clamp(-1.0, 1.0).asin(),
        down.x.atan2(down.y),
    )
}

/// Angles brought between minus and plus half a turn.
fn unwound(hang: Hang) -> Hang {
    let turn = |angle: f64| angle - (angle / std::f64::consts::TAU).round() * std::f64::consts::TAU;
    Hang::new(hang.x, turn(hang.y), turn(hang.z))
}

#[cfg(test)]
mod tests {
    use super::super::fit::tests::{SIZE, planar};
    use super::super::homography::Pose;
    use super::*;
    use crate::camera::Origin;
    use nalgebra::Rotation3;

    fn camera() -> Calibration {
        let lens = planar();
        Calibration::new(SIZE, lens.intrinsics(), lens.distortion(), Origin::Assumed).unwrap()
    }

    /// Corners of a board on the floor at this place (forward, left) below a camera that hangs like this.
    fn floor(
        mount: &Mount,
        forward: f64,
        left: f64,
        turn: f64,
        noise_px: f64,
        seed: u64,
    ) -> Vec<Corner> {
        let to_camera = mount.to_floor().inverse();
        let into_camera = |p: [f64; 3]| {
            #[expect(clippy::cast_possible_truncation, reason = "metres")]
            let p = to_camera * glam::Vec3::new(p[0] as f32, p[1] as f32, p[2] as f32);
            Vector3::new(p.x, p.y, p.z).cast::<f64>()
        };
        // Seen from above, face up: its x to the right, its y towards the camera, turned.
        let (sin, cos) = turn.sin_cos();
        let x = into_camera([sin, -cos, 0.0]);
        let y = into_camera([-cos, -sin, 0.0]);
        let pose = Pose {
            rotation: Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, y, x.cross(&y)])),
            translation: into_camera([forward, left, -f64::from(mount.height_m)]),
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut normal = || ((0..12).map(|_| rng.f64()).sum::<f64>() - 6.0) * noise_px;
        let mut corners = Vec::new();
        for row in 1..7 {
            for column in 1..10 {
                let board_m = DVec2::new(f64::from(column), f64::from(row)) * 0.06;
                let p = planar().project(&pose.apply(board_m)).unwrap().pixel;
                let pixel = DVec2::new(p.x + normal(), p.y + normal());
                corners.push(Corner { board_m, pixel });
            }
        }
        corners
    }

    #[test]
    fn a_mount_comes_back_within_its_sigmas() {
        for (at, (down_deg, roll_deg)) in [(25.0, 0.0), (40.0, -8.0), (30.0, 90.0), (35.0, 178.0)]
            .into_iter()
            .enumerate()
        {
            let want = Mount {
                height_m: 2.3,
                down_deg,
                roll_deg,
            };
            let away = 2.3 / f64::from(down_deg).to_radians().tan();
            let corners = floor(&want, away, 0.2, 0.3, 0.1, at as u64);
            let got = measured(&[&corners], DVec2::new(0.6, 0.42), &camera())
                .unwrap()
                .unwrap();
            let off = |a: f32, b: f32, sigma: f64| f64::from((a - b).abs()) / sigma;
            assert!(
                off(got.mount.height_m, 2.3, got.height_sigma_m) < 4.0,
                "{got:?}"
            );
            assert!(
                off(got.mount.down_deg, down_deg, got.down_sigma_deg) < 4.0,
                "{got:?}"
            );
            assert!(
                off(got.mount.roll_deg, roll_deg, got.roll_sigma_deg) < 4.0,
                "{got:?}"
            );
            assert!(got.height_sigma_m < 0.05, "{got:?}");
        }
    }

    #[test]
    fn several_pictures_are_better_than_one_also_across_half_a_turn() {
        let want = Mount {
            height_m: 2.3,
            down_deg: 35.0,
            roll_deg: 180.0,
        };
        let boards: Vec<Vec<Corner>> = (0..9)
            .map(|seed| floor(&want, 3.3, 0.2, 0.1, 0.2, seed))
            .collect();
        let views: Vec<&[Corner]> = boards.iter().map(Vec::as_slice).collect();
        let size = DVec2::new(0.6, 0.42);
        let one = measured(&views[..1], size, &camera()).unwrap().unwrap();
        let all = measured(&views, size, &camera()).unwrap().unwrap();
        assert!(
            all.height_sigma_m < 0.6 * one.height_sigma_m,
            "{one:?} {all:?}"
        );
        assert!(all.mount.roll_deg.abs() > 179.0, "{all:?}");
        assert_eq!(all.pictures, 9);
    }

    #[test]
    fn a_board_on_the_ceiling_is_refused() {
        let want = Mount {
            height_m: 2.3,
            down_deg: 30.0,
            roll_deg: 0.0,
        };
        let mut corners = floor(&want, 3.3, 0.2, 0.1, 0.0, 1);
        // Seen from behind: mirrored along its columns.
        for corner in &mut corners {
            corner.board_m.x = 0.6 - corner.board_m.x;
        }
        let result = measured(&[&corners], DVec2::new(0.6, 0.42), &camera());
        assert!(!matches!(result, Some(Ok(_))), "{result:?}");
    }
}
