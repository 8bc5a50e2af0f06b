//! From a flat board to its picture without distortion: the homography, and the pose and the focal length in it.

use glam::DVec2;
use nalgebra::{Matrix2, Matrix3, Rotation3, SMatrix, SVector, Vector2, Vector3};

/// Where a board is: turns and moves points of the board frame into the camera's optical frame, metres.
///
/// The board frame has x along the columns and y along the rows of the board as printed, z into the board.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// From the board frame to the camera frame.
    pub rotation: Rotation3<f64>,
    /// The board's origin in the camera frame, metres.
    pub translation: Vector3<f64>,
}

impl Pose {
    /// A point of the board in the camera frame.
    pub fn apply(&self, board_m: DVec2) -> Vector3<f64> {
        self.rotation * Vector3::new(board_m.x, board_m.y, 0.0) + self.translation
    }

    /// The pose after a small turn (a rotation vector in the camera frame, radians) and a small move (metres).
    pub(super) fn moved(&self, step: &SVector<f64, 6>) -> Self {
        Self {
            rotation: Rotation3::new(Vector3::new(step[0], step[1], step[2])) * self.rotation,
            translation: self.translation + Vector3::new(step[3], step[4], step[5]),
        }
    }
}

/// The homography that maps the first points of the pairs to the second: at least four pairs, not on a line.
///
/// Direct linear transformation with normalised points (Hartley 1997); the null vector is that of the 9 x 9 normal
/// matrix. `None` where the points are on a line or at one place.
pub fn homography(pairs: &[(DVec2, DVec2)]) -> Option<Matrix3<f64>> {
    if pairs.len() < 4 {
        return None;
    }
    let from = normalised(pairs.iter().map(|pair| pair.0))?;
    let to = normalised(pairs.iter().map(|pair| pair.1))?;
    let mut normal = SMatrix::<f64, 9, 9>::zeros();
    for (a, b) in pairs {
        let p = from * Vector3::new(a.x, a.y, 1.0);
        let q = to * Vector3::new(b.x, b.y, 1.0);
        let first = [p.x, p.y, 1.0, 0.0, 0.0, 0.0, -q.x * p.x, -q.x * p.y, -q.x];
        let second = [0.0, 0.0, 0.0, p.x, p.y, 1.0, -q.y * p.x, -q.y * p.y, -q.y];
        for row in [first, second] {
            let row = SVector::<f64, 9>::from(row);
            normal += row * row.transpose();
        }
    }
    let eigen = normal.symmetric_eigen();
    let mut order: Vec<usize> = (0..9).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*a].total_cmp(&eigen.eigenvalues[*b]));
    // Points on a line leave more than one null vector.
    if eigen.eigenvalues[order[1]] < 1e-9 * eigen.eigenvalues[order[8]] {
        return None;
    }
    let null = eigen.eigenvectors.column(order[0]);
    let h = Matrix3::from_row_iterator(null.iter().copied());
    Some(to.try_inverse()? * h * from)
}

/// Moves points to their middle and scales them to a mean distance of the root of two.
fn normalised(points: impl Iterator<Item = DVec2> + Clone) -> Option<Matrix3<f64>> {
    let (mut sum, mut count) = (DVec2::ZERO, 0.0);
    for point in points.clone() {
        sum += point;
        count += 1.0;
    }
    let middle = sum / count;
    let distance = points.map(|point| (point - middle).length()).sum::<f64>() / count;
    if distance <= 0.0 || !distance.is_finite() {
        return None;
    }
    let scale = std::f64::consts::SQRT_2 / distance;
    Some(Matrix3::new(
        scale,
        0.0,
        -scale * middle.x,
        0.0,
        scale,
        -scale * middle.y,
        0.0,
        0.0,
        1.0,
    ))
}

/// Where a homography puts a point; `None` at infinity.
pub fn mapped(h: &Matrix3<f64>, point: DVec2) -> Option<DVec2> {
    let p = h * Vector3::new(point.x, point.y, 1.0);
    let at = DVec2::new(p.x / p.z, p.y / p.z);
    (at.is_finite()).then_some(at)
}

/// The pose of a board from the homography between it (metres) and rays on the plane z = 1 (Zhang 2000, section 3.1).
pub fn pose(h: &Matrix3<f64>) -> Option<Pose> {
    let origin = h.column(2);
    let mut scale = 2.0 / (h.column(0).norm() + h.column(1).norm());
    // The board is in front of the camera.
    if origin.z < 0.0 {
        scale = -scale;
    }
    let (x, y): (Vector3<f64>, Vector3<f64>) = (h.column(0) * scale, h.column(1) * scale);
    let svd = Matrix3::from_columns(&[x, y, x.cross(&y)]).svd(true, true);
    let rotation = svd.u? * svd.v_t?;
    let translation: Vector3<f64> = origin * scale;
    let finite = rotation
        .iter()
        .chain(translation.iter())
        .all(|v| v.is_finite());
    (finite && rotation.determinant() > 0.0).then(|| Pose {
        rotation: Rotation3::from_matrix_unchecked(rotation),
        translation,
    })
}

/// Focal lengths from homographies between boards and pixels, the principal point being known: each gives two linear
/// equations in `1/fx²` and `1/fy²`, since the columns of a rotation are of one length and at a right angle
/// (Zhang 2000, section 3.1).
///
/// `None` where boards that all face the camera leave them open, or distortion makes them imaginary.
pub fn focal_lengths(homographies: &[Matrix3<f64>], centre: DVec2) -> Option<(f64, f64)> {
    let (mut normal, mut right) = (Matrix2::zeros(), Vector2::zeros());
    for h in homographies {
        let h = h / h.norm();
        let column = |at: usize| {
            Vector3::new(
                h[(0, at)] - centre.x * h[(2, at)],
                h[(1, at)] - centre.y * h[(2, at)],
                h[(2, at)],
            )
        };
        let (p, q) = (column(0), column(1));
        let right_angle = (Vector2::new(p.x * q.x, p.y * q.y), -p.z * q.z);
        let one_length = (
            Vector2::new(p.x * p.x - q.x * q.x, p.y * p.y - q.y * q.y),
            q.z * q.z - p.z * p.z,
        );
        for (row, value) in [right_angle, one_length] {
            normal += row * row.transpose();
            right += row * value;
        }
    }
    let squares = normal.try_inverse()? * right;
    let focal = (1.0 / squares.x.sqrt(), 1.0 / squares.y.sqrt());
    (focal.0.is_finite() && focal.1.is_finite()).then_some(focal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posed(turn: [f64; 3]) -> Pose {
        Pose {
            rotation: Rotation3::new(Vector3::from(turn)),
            translation: Vector3::new(-0.1, -0.05, 0.6),
        }
    }

    /// The corners of a board under a pinhole of this focal length, or as rays.
    fn seen(pose: &Pose, focal: f64, centre: DVec2) -> Vec<(DVec2, DVec2)> {
        let mut pairs = Vec::new();
        for row in 0..5 {
            for column in 0..7 {
                let board = DVec2::new(f64::from(column), f64::from(row)) * 0.03;
                let p = pose.apply(board);
                pairs.push((board, DVec2::new(p.x, p.y) / p.z * focal + centre));
            }
        }
        pairs
    }

    #[test]
    fn a_pose_comes_back_from_its_rays() {
        let want = posed([0.4, -0.3, 0.2]);
        let h = homography(&seen(&want, 1.0, DVec2::ZERO)).unwrap();
        let got = pose(&h).unwrap();
        assert!((got.rotation.matrix() - want.rotation.matrix()).norm() < 1e-9);
        assert!((got.translation - want.translation).norm() < 1e-9);
    }

    #[test]
    fn focal_lengths_come_back_from_tilted_boards_only() {
        let centre = DVec2::new(320.0, 240.0);
        let homographies = |turns: &[[f64; 3]]| -> Vec<Matrix3<f64>> {
            let one = |turn: &[f64; 3]| homography(&seen(&posed(*turn), 500.0, centre)).unwrap();
            turns.iter().map(one).collect()
        };
        let tilted = homographies(&[[0.5, 0.0, 0.0], [0.0, 0.5, 0.1], [-0.3, 0.3, 0.0]]);
        let (fx, fy) = focal_lengths(&tilted, centre).unwrap();
        assert!((fx - 500.0).abs() < 1e-6 && (fy - 500.0).abs() < 1e-6);
        let facing = homographies(&[[0.0; 3], [0.0; 3]]);
        let open = focal_lengths(&facing, centre);
        assert!(
            open.is_none_or(|(fx, _)| (fx - 500.0).abs() > 1.0),
            "{open:?}"
        );
    }

    #[test]
    fn points_on_a_line_have_no_homography() {
        let line: Vec<_> = (0..8)
            .map(|at| {
                (
                    DVec2::new(f64::from(at), 2.0),
                    DVec2::new(f64::from(3 * at), 5.0),
                )
            })
            .collect();
        assert!(homography(&line).is_none());
        assert!(homography(&line[..3]).is_none());
    }
}
