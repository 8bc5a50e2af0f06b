//! How far an estimate is from the truth. Positions in metres, errors in millimetres.

use glam::{Mat3, Vec3};
use nalgebra::Matrix3;

use crate::skeleton::{JOINT_MIRROR, JOINTS, PARENTS};

/// Millimetres in a metre.
const MM: f64 = 1e3;

/// Joint angles that are compared: the joint, and the ends of the two bones that
/// meet in it. Knees, elbows, hips and shoulders.
const ANGLES: [(usize, usize, usize); 8] = [
    (2, 1, 3),
    (5, 4, 6),
    (15, 14, 16),
    (12, 11, 13),
    (1, 8, 2),
    (4, 8, 5),
    (14, 8, 15),
    (11, 8, 12),
];

/// The joints that are known.
pub fn kept(joints: &[Vec3; JOINTS], known: &[bool; JOINTS]) -> heapless::Vec<Vec3, JOINTS> {
    let pairs = joints.iter().zip(known);
    pairs
        .filter(|(_, known)| **known)
        .map(|(j, _)| *j)
        .collect()
}

/// Mean joint error after both roots were moved to the origin (MPJPE, "protocol 1").
pub fn mpjpe_mm(estimate: &[Vec3], root: Vec3, truth: &[Vec3], true_root: Vec3) -> f64 {
    mean(
        estimate
            .iter()
            .zip(truth)
            .map(|(a, b)| f64::from(((*a - root) - (*b - true_root)).length()) * MM),
    )
    .unwrap_or_default()
}

/// Mean joint error after the best similarity transform (PA-MPJPE, "protocol 2").
/// `None` if the truth or the estimate is a point.
pub fn pa_mpjpe_mm(estimate: &[Vec3], truth: &[Vec3]) -> Option<f64> {
    let align = Similarity::between(estimate, truth)?;
    mean(
        estimate
            .iter()
            .zip(truth)
            .map(|(a, b)| f64::from((align.apply(*a) - *b).length()) * MM),
    )
}

/// A rotation, scale and shift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    rotation: Mat3,
    scale: f32,
    from: Vec3,
    to: Vec3,
}

impl Similarity {
    /// The one that brings `estimate` nearest to `truth` in the sense of squared
    /// distances (Umeyama 1991, eqs. 40 to 42); mirroring is not allowed.
    /// `None` if either is a point.
    pub fn between(estimate: &[Vec3], truth: &[Vec3]) -> Option<Self> {
        let from = centre(estimate)?;
        let to = centre(truth)?;
        let mut covariance = Matrix3::<f64>::zeros();
        let mut spread = 0.0;
        for (a, b) in estimate.iter().zip(truth) {
            let a = (*a - from).as_dvec3();
            let b = (*b - to).as_dvec3();
            spread += a.length_squared();
            covariance += nalgebra::Vector3::from(b.to_array())
                * nalgebra::Vector3::from(a.to_array()).transpose();
        }
        let svd = covariance.svd(true, true);
        let (u, v_t) = (svd.u?, svd.v_t?);
        if spread < 1e-12 || svd.singular_values[0] < 1e-12 {
            return None;
        }
        let mut sign = Matrix3::identity();
        if (u * v_t).determinant() < 0.0 {
            sign[(2, 2)] = -1.0;
        }
        let rotation = u * sign * v_t;
        let scale = (Matrix3::from_diagonal(&svd.singular_values) * sign).trace() / spread;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a rotation and a scale fit f32"
        )]
        let (rotation, scale) = (
            Mat3::from_cols_array(&rotation.map(|x| x as f32).data.0.concat().try_into().ok()?),
            scale as f32,
        );
        Some(Self {
            rotation,
            scale,
            from,
            to,
        })
    }

    /// Applies it to a point.
    pub fn apply(&self, point: Vec3) -> Vec3 {
        self.scale * (self.rotation * (point - self.from)) + self.to
    }
}

/// Mean absolute difference of joint angles, degrees: knees, elbows, hips, shoulders.
/// An angle at a bone without length, or of a joint that is not known, is none and is left
/// out; `None` if all are.
pub fn angle_deg(
    estimate: &[Vec3; JOINTS],
    truth: &[Vec3; JOINTS],
    known: &[bool; JOINTS],
) -> Option<f64> {
    let angle = |pose: &[Vec3; JOINTS], (at, a, b): (usize, usize, usize)| {
        f64::from((pose[a] - pose[at]).angle_between(pose[b] - pose[at])).to_degrees()
    };
    mean(
        ANGLES
            .iter()
            .filter(|(at, a, b)| known[*at] && known[*a] && known[*b])
            .map(|which| (angle(estimate, *which) - angle(truth, *which)).abs())
            .filter(|difference| difference.is_finite()),
    )
}

/// Mean difference in length between a left bone and its right counterpart.
pub fn symmetry_mm(pose: &[Vec3; JOINTS]) -> f64 {
    let length = |joint: usize| f64::from(pose[joint].distance(pose[PARENTS[joint]])) * MM;
    mean(
        (1..JOINTS)
            .filter(|joint| JOINT_MIRROR[*joint] > *joint)
            .map(|joint| (length(joint) - length(JOINT_MIRROR[joint])).abs()),
    )
    .unwrap_or_default()
}

/// Mean difference of the joints' accelerations, millimetres per frame squared:
/// second differences over three frames in a row, roots at the origin, of the joints
/// that are `known` in all three. `None` if none is.
pub fn accel_mm(
    estimate: [&[Vec3; JOINTS]; 3],
    truth: [&[Vec3; JOINTS]; 3],
    known: &[bool; JOINTS],
) -> Option<f64> {
    let second = |p: [&[Vec3; JOINTS]; 3], j: usize| {
        let at = |k: usize| p[k][j] - p[k][0];
        at(2) - 2.0 * at(1) + at(0)
    };
    let joints = (1..JOINTS).filter(|j| known[*j]);
    mean(joints.map(|j| f64::from((second(estimate, j) - second(truth, j)).length()) * MM))
}

/// How far a root is from the true one, millimetres, across the line of sight and along it; positive is too far away.
pub fn root_mm(estimate: Vec3, truth: Vec3) -> [f64; 2] {
    let sight = truth.normalize_or(Vec3::Z);
    let apart = estimate - truth;
    let along = apart.dot(sight);
    [
        f64::from((apart - along * sight).length()) * MM,
        f64::from(along) * MM,
    ]
}

/// Speed below which a joint is at rest, metres a second: slower than a standing person sways, faster than recorded
/// joints tremble.
const REST_M_S: f32 = 0.05;

/// Mean of how far the joints that are at rest move from a frame to the next, `span_s` later, beyond what they really
/// do, millimetres a frame; roots at the origin, joints that are `known` in both. `None` if none is at rest.
pub fn jitter_mm(
    estimate: [&[Vec3; JOINTS]; 2],
    truth: [&[Vec3; JOINTS]; 2],
    known: &[bool; JOINTS],
    span_s: f32,
) -> Option<f64> {
    let moved = |p: [&[Vec3; JOINTS]; 2], j: usize| (p[1][j] - p[1][0]) - (p[0][j] - p[0][0]);
    let rests = |j: &usize| known[*j] && moved(truth, *j).length() < REST_M_S * span_s;
    mean(
        (1..JOINTS)
            .filter(rests)
            .map(|j| f64::from((moved(estimate, j) - moved(truth, j)).length()) * MM),
    )
}

/// The same of the root in the camera frame.
pub fn root_jitter_mm(estimate: [Vec3; 2], truth: [Vec3; 2], span_s: f32) -> Option<f64> {
    let really = truth[1] - truth[0];
    let moved = (estimate[1] - estimate[0]) - really;
    (really.length() < REST_M_S * span_s).then(|| f64::from(moved.length()) * MM)
}

/// Distance in standard deviations that holds 90 % of a normal distribution.
pub const DISTANCE_90: f32 = 1.6449;

/// Radius in units of the per-axis standard deviation that holds 90 % of a
/// three-dimensional normal distribution.
pub const RADIUS_90: f32 = 2.5003;

fn centre(points: &[Vec3]) -> Option<Vec3> {
    if points.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a skeleton has few joints")]
    let count = points.len() as f32;
    Some(points.iter().copied().sum::<Vec3>() / count)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_u64, 0.0), |(n, s), v| (n + 1, s + v));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [bool; JOINTS] = [true; JOINTS];

    fn pose() -> [Vec3; JOINTS] {
        std::array::from_fn(|j| {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let t = j as f32;
            Vec3::new((t * 1.3).sin(), (t * 0.7).cos(), (t * 2.1).sin() * 0.5)
        })
    }

    #[test]
    fn a_similarity_costs_nothing_under_pa_and_much_without() {
        let truth = pose();
        let turn = Mat3::from_rotation_y(0.8) * Mat3::from_rotation_x(-0.3);
        let moved = truth.map(|p| 1.7 * (turn * p) + Vec3::new(3.0, -2.0, 5.0));
        assert!(pa_mpjpe_mm(&moved, &truth).unwrap() < 0.01);
        assert!(mpjpe_mm(&moved, moved[0], &truth, truth[0]) > 100.0);
    }

    #[test]
    fn a_mirrored_pose_is_no_rotation() {
        let truth = pose();
        let mirrored = truth.map(|p| p * Vec3::new(-1.0, 1.0, 1.0));
        assert!(pa_mpjpe_mm(&mirrored, &truth).unwrap() > 50.0);
    }

    #[test]
    fn a_shift_of_all_joints_is_no_mpjpe() {
        let truth = pose();
        let moved = truth.map(|p| p + Vec3::new(0.1, 0.2, 0.3));
        assert!(mpjpe_mm(&moved, moved[0], &truth, truth[0]) < 1e-3);
        let mut off = truth;
        off[5].x += 0.017;
        assert!((mpjpe_mm(&off, off[0], &truth, truth[0]) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_point_cannot_be_aligned() {
        let point = [Vec3::ONE; JOINTS];
        assert_eq!(pa_mpjpe_mm(&point, &pose()), None);
        assert_eq!(pa_mpjpe_mm(&[], &[]), None);
    }

    #[test]
    fn bones_of_one_length_are_symmetric_and_a_longer_shank_is_not() {
        let mut pose = [Vec3::ZERO; JOINTS];
        for j in 1..JOINTS {
            pose[j] = pose[PARENTS[j]] + Vec3::new(0.0, 0.4, 0.0);
        }
        assert!(symmetry_mm(&pose) < 1e-3);
        pose[3].y += 0.06;
        assert!((symmetry_mm(&pose) - 10.0).abs() < 1e-2);
    }

    #[test]
    fn a_steady_pose_accelerates_as_little_as_the_truth() {
        let still = pose();
        let mut jump = still;
        jump[4].z += 0.016;
        assert!(accel_mm([&still; 3], [&still; 3], &ALL).unwrap() < 1e-6);
        let error = accel_mm([&still, &jump, &still], [&still; 3], &ALL).unwrap();
        assert!((error - 2.0).abs() < 1e-3, "{error}");
    }

    #[test]
    fn a_root_that_is_too_far_away_is_off_along_the_line_of_sight() {
        let truth = Vec3::new(1.0, 0.0, 2.0);
        let [across, along] = root_mm(1.1 * truth, truth);
        assert!(across < 1e-3 && (along - 100.0 * 5.0_f64.sqrt()).abs() < 1e-2);
        let [across, along] = root_mm(truth + Vec3::new(0.0, 0.03, 0.0), truth);
        assert!((across - 30.0).abs() < 1e-3 && along.abs() < 1e-3);
    }

    #[test]
    fn only_joints_at_rest_jitter() {
        let truth = pose();
        let mut moved = truth;
        moved[4].x += 0.01;
        let mut shaken = truth;
        shaken[4].x += 0.01;
        shaken[5].y += 0.016;
        // The joint that moves is left out, the one that should rest counts among the other fifteen.
        let found = jitter_mm([&truth, &shaken], [&truth, &moved], &ALL, 1.0 / 30.0).unwrap();
        assert!((found - 16.0 / 15.0).abs() < 1e-3, "{found}");
        assert_eq!(
            root_jitter_mm(
                [Vec3::Z; 2],
                [Vec3::Z, Vec3::Z + 0.01 * Vec3::X],
                1.0 / 30.0
            ),
            None
        );
        let still = root_jitter_mm([Vec3::Z, 1.002 * Vec3::Z], [Vec3::Z; 2], 1.0 / 30.0);
        assert!((still.unwrap() - 2.0).abs() < 1e-3);
    }

    #[test]
    fn a_bent_knee_is_seen_in_the_angles() {
        let truth = pose();
        assert!(angle_deg(&truth, &truth, &ALL).unwrap() < 1e-3);
        let mut bent = truth;
        bent[3] = bent[2] + Vec3::new(0.0, 0.0, 0.4);
        assert!(angle_deg(&bent, &truth, &ALL).unwrap() > 0.5);
    }

    #[test]
    fn what_is_not_known_is_not_compared() {
        let truth = pose();
        let mut known = ALL;
        known[3] = false;
        let mut off = truth;
        off[3] += Vec3::splat(9.0);
        assert!(angle_deg(&off, &truth, &known).unwrap() < 1e-3);
        assert!(accel_mm([&truth, &off, &truth], [&truth; 3], &known).unwrap() < 1e-6);
        let (own, other) = (kept(&off, &known), kept(&truth, &known));
        assert_eq!(own.len(), JOINTS - 1);
        assert!(pa_mpjpe_mm(&own, &other).unwrap() < 0.01);
        assert_eq!(accel_mm([&truth; 3], [&truth; 3], &[false; JOINTS]), None);
    }

    #[test]
    fn a_pose_without_extent_has_no_score_rather_than_a_good_one() {
        let truth = pose();
        let point = [Vec3::ONE; JOINTS];
        assert_eq!(pa_mpjpe_mm(&point, &truth), None);
        assert_eq!(pa_mpjpe_mm(&truth, &point), None);
        assert_eq!(angle_deg(&point, &truth, &ALL), None);
        // One bone without length spoils only the angles it takes part in.
        let mut short = truth;
        short[3] = short[2];
        assert!(angle_deg(&short, &truth, &ALL).unwrap() < 1e-3);
    }
}
