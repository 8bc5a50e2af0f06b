//! Where the person stands: the root from rays and a root-relative pose.
//!
//! The lifter says how the joints lie around the pelvis, the image says along
//! which rays they lie; one translation `t` makes both agree. Joint `j` with ray
//! `(u, v)` and relative position `(X, Y, Z)` gives two rows,
//!
//! ```text
//! [1, 0, -u] t = u Z - X
//! [0, 1, -v] t = v Z - Y
//! ```
//!
//! and weighted least squares over all joints has a closed form: with weighted
//! means `ū, v̄` and `S = Σ w ((u - ū)² + (v - v̄)²)`, the depth comes from how far
//! the rays spread, and the other two coordinates from the means.
//!
//! That is where it begins. Rays that err spread farther than the body does, and would draw the root nearer: with the
//! errors of a real detector by 13 % in the median. So the depth is solved again with the deviations `q` of the *projected*
//! joints as instruments, `S = Σ w q · (u - ū)`, which is Gauss and Newton's step of the reprojection error, and rays
//! that lie far from where the body projects count less (Cauchy's weight).

use glam::{Vec2, Vec3};
use heapless::Vec;

/// Joints needed: three give six equations for three unknowns.
const JOINTS_MIN: usize = 3;

/// Least spread of the rays (weighted root mean square about their mean, on the
/// plane z = 1): a person 0.5 m across at 100 m.
const SPREAD_MIN: f32 = 0.0025;

/// Nearest root accepted, metres: closer, a person does not fit before a lens.
const DEPTH_MIN_M: f32 = 0.2;

/// Farthest root accepted, metres: farther, a person is a few pixels high.
const DEPTH_MAX_M: f32 = 100.0;

/// Nearest joint that is projected, metres.
const JOINT_DEPTH_MIN_M: f32 = 0.1;

/// Times that the root is solved again: the fourth moves the depth of nine people in ten by less than a hundredth.
const ROUNDS: usize = 4;

/// Distance of a ray from its joint, in medians of all such distances, at which it counts half: 2.4 standard deviations
/// of an error along one axis, where Cauchy's weight keeps 95 % of the efficiency of least squares (Holland and Welsch,
/// *Robust regression using iteratively reweighted least-squares*, 1977).
const HALVED_AT: f32 = 2.0;

/// Least median that is divided by, share of the rays' spread: below, all fit.
const MISS_MIN: f32 = 0.01;

/// Joints that can be solved for at most: the skeleton's.
const JOINTS_MAX: usize = crate::skeleton::JOINTS;

/// One joint as both sides see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RootJoint {
    /// Ray on the plane z = 1.
    pub ray: Vec2,
    /// Position relative to the root, metres, in the frame of the ray.
    pub relative_m: Vec3,
    /// Weight: the keypoint's visibility.
    pub weight: f32,
    /// Standard deviation of the relative position, per axis, metres.
    pub sigma_m: f32,
}

/// The solved root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Root {
    /// Root in the frame of the rays, metres.
    pub position_m: Vec3,
    /// Standard deviation along the line of sight, metres: from the normal
    /// matrix, with the larger of what is left over after the fit and what the
    /// joints' own sigmas predict. A wrong body size common to all joints is not in it.
    pub sigma_m: f32,
}

/// Solves for the root.
///
/// `None` if the joints do not say: fewer than three, more than the skeleton has, all in one place, a
/// root behind the camera or out of range, or numbers that are not finite.
pub fn solve_root(joints: &[RootJoint]) -> Option<Root> {
    let solution = solve(joints)?;
    let sigma_m = solution.fit.sigma_m(joints, &solution.weights);
    sigma_m.is_finite().then_some(Root {
        position_m: solution.fit.position_m,
        sigma_m,
    })
}

/// How the root was found.
#[derive(Debug)]
pub(super) struct Solution {
    fit: Fit,
    /// Of each joint, where it is projected: plane z = 1.
    pub projected: Vec<Vec2, JOINTS_MAX>,
    /// Of each joint, its visibility, less where its ray is far from there.
    pub weights: Vec<f32, JOINTS_MAX>,
    /// Median distance of the rays from there, plane z = 1.
    pub miss: f32,
}

/// The same, with what was found on the way.
pub(super) fn solve(joints: &[RootJoint]) -> Option<Solution> {
    if joints.len() < JOINTS_MIN || joints.len() > JOINTS_MAX {
        return None;
    }
    let mut weights: Vec<f32, JOINTS_MAX> = joints.iter().map(|joint| joint.weight).collect();
    let rays: Vec<Vec2, JOINTS_MAX> = joints.iter().map(|joint| joint.ray).collect();
    let mut fit = fit(joints, &weights, &rays)?;
    let mut round = 0;
    loop {
        let projected = projections(joints, fit.position_m);
        let miss = trust(joints, &projected, &mut weights);
        // Rays so wild that the body does not show in them leave the root where it was.
        match self::fit(joints, &weights, &projected) {
            Some(again) if round < ROUNDS => fit = again,
            _ => {
                return Some(Solution {
                    fit,
                    projected,
                    weights,
                    miss,
                });
            }
        }
        round += 1;
    }
}

/// A solution of the weighted equations.
#[derive(Debug)]
struct Fit {
    position_m: Vec3,
    /// Sum of the weights.
    weight: f32,
    ray_mean: Vec2,
    spread: f32,
}

/// Solves with instruments: with the rays themselves this is least squares.
fn fit(joints: &[RootJoint], weights: &[f32], instruments: &[Vec2]) -> Option<Fit> {
    let mut weight = 0.0;
    let (mut ray_mean, mut right_mean, mut mean) = (Vec2::ZERO, Vec2::ZERO, Vec2::ZERO);
    for ((joint, w), instrument) in joints.iter().zip(weights).zip(instruments) {
        weight += w;
        ray_mean += *w * joint.ray;
        right_mean += *w * right_side(joint);
        mean += *w * *instrument;
    }
    if weight <= f32::EPSILON || !weight.is_finite() {
        return None;
    }
    ray_mean /= weight;
    right_mean /= weight;
    mean /= weight;

    let (mut spread, mut moment) = (0.0, 0.0);
    for ((joint, w), instrument) in joints.iter().zip(weights).zip(instruments) {
        let lean = *instrument - mean;
        spread += w * lean.dot(joint.ray - ray_mean);
        moment += w * lean.dot(right_side(joint) - right_mean);
    }
    if spread.is_nan() || spread < weight * SPREAD_MIN * SPREAD_MIN {
        return None;
    }
    let depth = -moment / spread;
    if !(DEPTH_MIN_M..=DEPTH_MAX_M).contains(&depth) {
        return None;
    }
    let position_m = (right_mean + ray_mean * depth).extend(depth);
    position_m.is_finite().then_some(Fit {
        position_m,
        weight,
        ray_mean,
        spread,
    })
}

/// Where the joints of a person who stands there would be seen.
fn projections(joints: &[RootJoint], root_m: Vec3) -> Vec<Vec2, JOINTS_MAX> {
    let project = |joint: &RootJoint| {
        let at = joint.relative_m + root_m;
        at.truncate() / at.z.max(JOINT_DEPTH_MIN_M)
    };
    joints.iter().map(project).collect()
}

/// Weights of the joints' visibilities and of how far each ray lies from where its joint is projected; returns the median
/// of these distances.
fn trust(joints: &[RootJoint], projected: &[Vec2], weights: &mut [f32]) -> f32 {
    let misses: Vec<f32, JOINTS_MAX> = joints
        .iter()
        .zip(projected)
        .map(|(joint, at)| joint.ray.distance(*at))
        .collect();
    let mut order = misses.clone();
    order.sort_unstable_by(f32::total_cmp);
    let middle = order.get(order.len() / 2).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "at most 17 joints")]
    let count = projected.len().max(1) as f32;
    let mean = projected.iter().sum::<Vec2>() / count;
    let spread = projected
        .iter()
        .map(|at| at.distance_squared(mean))
        .sum::<f32>()
        / count;
    let scale = HALVED_AT * middle.max(MISS_MIN * spread.sqrt()).max(f32::MIN_POSITIVE);
    for ((weight, joint), miss) in weights.iter_mut().zip(joints).zip(&misses) {
        let ratio = miss / scale;
        *weight = joint.weight / (1.0 + ratio * ratio);
    }
    middle
}

impl Fit {
    fn sigma_m(&self, joints: &[RootJoint], weights: &[f32]) -> f32 {
        // Variance of one equation: what the fit leaves over, or what the joints'
        // sigmas predict (X - uZ of a relative position), whichever is larger.
        let (mut count, mut left_over, mut predicted) = (0.0, 0.0, 0.0);
        for (joint, weight) in joints.iter().zip(weights) {
            count += 1.0;
            let row =
                self.position_m.truncate() - joint.ray * self.position_m.z - right_side(joint);
            left_over += weight * row.length_squared();
            predicted +=
                weight * joint.sigma_m * joint.sigma_m * (2.0 + joint.ray.length_squared());
        }
        let rows = 2.0 * count;
        let left_over = left_over / self.weight / 2.0 * rows / (rows - 3.0);
        let variance = left_over.max(predicted / self.weight / 2.0);
        // dᵀ N⁻¹ d for the direction d of the root, with N the normal matrix scaled
        // so that the mean weight is one: visibilities are not variances.
        let mean_weight = self.weight / count;
        let sight = self.position_m.normalize();
        let along = sight.truncate().dot(self.ray_mean) + sight.z;
        let across = sight.truncate().length_squared() / self.weight;
        (variance * mean_weight * (across + along * along / self.spread)).sqrt()
    }
}

/// `(u Z - X, v Z - Y)`: the right-hand sides of a joint's two rows.
fn right_side(joint: &RootJoint) -> Vec2 {
    joint.ray * joint.relative_m.z - joint.relative_m.truncate()
}

#[cfg(test)]
mod tests {
    use glam::{DMat3, DVec3};

    use super::*;

    fn body(root_m: Vec3, noise: f32, seed: u64) -> std::vec::Vec<RootJoint> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut centred = move || random.f32() * 2.0 - 1.0;
        (0..12)
            .map(|_| {
                let relative_m = Vec3::new(0.4 * centred(), 0.9 * centred(), 0.3 * centred());
                let point = root_m + relative_m;
                RootJoint {
                    ray: point.truncate() / point.z + noise * Vec2::new(centred(), centred()),
                    relative_m,
                    weight: 0.6 + 0.4 * centred(),
                    sigma_m: 0.0,
                }
            })
            .collect()
    }

    #[test]
    fn exact_rays_give_the_exact_root() {
        let truth = Vec3::new(0.7, -0.2, 4.0);
        let root = solve_root(&body(truth, 0.0, 5)).unwrap();
        assert!((root.position_m - truth).length() < 1e-4, "{root:?}");
        assert!(root.sigma_m < 1e-3, "{root:?}");
    }

    #[test]
    fn the_root_is_where_the_weighted_reprojection_error_is_least() {
        let joints = body(Vec3::new(-1.0, 0.5, 3.0), 0.02, 9);
        let root_m = solve_root(&joints).unwrap().position_m;
        let projected = projections(&joints, root_m);
        let mut weights = [0.0; 12];
        trust(&joints, &projected, &mut weights);
        let error = |root_m: Vec3| -> f32 {
            let at = projections(&joints, root_m);
            std::iter::zip(&joints, &at)
                .zip(&weights)
                .map(|((joint, at), weight)| weight * joint.ray.distance_squared(*at))
                .sum()
        };
        // Depths of the joints differ, and each row is as long as its joint is far: near to least, not there.
        let least = error(root_m);
        for step in [Vec3::X, Vec3::Y, Vec3::Z] {
            for way in [-0.1, 0.1] {
                assert!(error(root_m + way * step) > least, "{step} {way}");
            }
        }
    }

    #[test]
    fn rays_that_err_do_not_draw_the_root_nearer_and_wild_ones_hardly_move_it() {
        let truth = Vec3::new(0.2, 0.0, 4.0);
        let mean_depth = |wild: bool| {
            let depth = |seed| {
                let mut joints = body(truth, 0.06, seed);
                if wild {
                    for joint in &mut joints[..3] {
                        joint.ray += Vec2::new(0.3, -0.2);
                    }
                }
                solve_root(&joints).map_or(0.0, |root| root.position_m.z)
            };
            (0..200).map(depth).sum::<f32>() / 200.0
        };
        let (clean, wild) = (mean_depth(false), mean_depth(true));
        assert!((clean / truth.z - 1.0).abs() < 0.05, "{clean}");
        assert!((wild / truth.z - 1.0).abs() < 0.15, "{wild}");
    }

    #[test]
    fn sigma_is_the_spread_of_roots_under_noise() {
        let truth = Vec3::new(0.0, 0.0, 4.0);
        let noise = 0.005;
        let mut squares = 0.0;
        let mut sigmas = 0.0;
        let trials = 400;
        for seed in 0..trials {
            let root = solve_root(&body(truth, noise, seed)).unwrap();
            squares += (root.position_m.z - truth.z).powi(2);
            sigmas += root.sigma_m.powi(2);
        }
        let ratio = (squares / sigmas).sqrt();
        assert!((0.7..1.4).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_cannot_be_solved_is_none() {
        let joints = body(Vec3::new(0.0, 0.0, 4.0), 0.0, 1);
        assert_eq!(solve_root(&[]), None);
        assert_eq!(solve_root(&joints[..2]), None);
        let one_ray: std::vec::Vec<_> = joints
            .iter()
            .map(|joint| RootJoint {
                ray: Vec2::new(0.1, 0.2),
                ..*joint
            })
            .collect();
        assert_eq!(solve_root(&one_ray), None);
        let mirrored: std::vec::Vec<_> = joints
            .iter()
            .map(|joint| RootJoint {
                ray: -joint.ray,
                ..*joint
            })
            .collect();
        assert_eq!(solve_root(&mirrored), None, "a root behind the camera");
        let mut broken = joints;
        broken[4].relative_m.y = f32::NAN;
        assert_eq!(solve_root(&broken), None);
    }

    /// Normal matrix of the weighted equations and its right side, in double precision.
    fn normal(joints: &[RootJoint], weights: &[f32]) -> (DMat3, DVec3) {
        let (mut matrix, mut right) = (DMat3::ZERO, DVec3::ZERO);
        for (joint, weight) in joints.iter().zip(weights) {
            let (ray, at) = (joint.ray.as_dvec2(), joint.relative_m.as_dvec3());
            for (row, value) in [
                (DVec3::new(1.0, 0.0, -ray.x), ray.x * at.z - at.x),
                (DVec3::new(0.0, 1.0, -ray.y), ray.y * at.z - at.y),
            ] {
                let row_w = f64::from(*weight) * row;
                matrix += DMat3::from_cols(row_w * row.x, row_w * row.y, row_w * row.z);
                right += row_w * value;
            }
        }
        (matrix, right)
    }

    #[test]
    fn the_fit_and_its_sigma_are_those_of_the_normal_equations() {
        // Off the axis, where the line of sight leans; the joints' own sigmas below and above what is left over.
        for (seed, sigma_m) in [(3, 0.0), (3, 0.2), (4, 0.01)] {
            let mut joints = body(Vec3::new(1.5, -0.8, 3.0), 0.01, seed);
            for (joint, share) in joints.iter_mut().zip([1.0, 0.5, 2.0].into_iter().cycle()) {
                joint.sigma_m = share * sigma_m;
            }
            let weights: std::vec::Vec<f32> = joints.iter().map(|joint| joint.weight).collect();
            let rays: std::vec::Vec<Vec2> = joints.iter().map(|joint| joint.ray).collect();
            let fit = fit(&joints, &weights, &rays).unwrap();
            let (matrix, right) = normal(&joints, &weights);
            let root = matrix.inverse() * right;
            assert!((fit.position_m.as_dvec3() - root).length() < 1e-4);

            // Variance of an equation of mean weight: left over, of 24 rows less three unknowns, or predicted.
            let (mut left_over, mut predicted, mut sum) = (0.0, 0.0, 0.0);
            for joint in &joints {
                let (ray, weight) = (joint.ray.as_dvec2(), f64::from(joint.weight));
                let at = root + joint.relative_m.as_dvec3();
                left_over += weight * (at.truncate() - ray * at.z).length_squared();
                let variance = f64::from(joint.sigma_m).powi(2);
                predicted += weight * variance * (2.0 + ray.length_squared()) / 2.0;
                sum += weight;
            }
            let variance = f64::max(left_over / sum * 12.0 / 21.0, predicted / sum);
            let sight = root.normalize();
            let want = (variance * sum / 12.0 * sight.dot(matrix.inverse() * sight)).sqrt();
            let got = f64::from(fit.sigma_m(&joints, &weights));
            assert!((got / want - 1.0).abs() < 1e-3, "{sigma_m}: {got}, {want}");
        }
    }

    #[test]
    fn rays_count_half_at_twice_the_median_distance() {
        // Rays at the corners of a square, two of them projected elsewhere; and one more of another confidence.
        let corners = [
            (0.1, 0.1),
            (-0.1, 0.1),
            (-0.1, -0.1),
            (0.1, -0.1),
            (0.0, 0.0),
        ];
        let joints = corners.map(|(x, y)| RootJoint {
            ray: Vec2::new(x, y),
            relative_m: Vec3::ZERO,
            weight: if x > 0.0 { 0.8 } else { 0.4 },
            sigma_m: 0.0,
        });
        let weights_of = |misses: [f32; 5]| {
            let mut projected = joints.map(|joint| joint.ray);
            for (at, miss) in projected.iter_mut().zip(misses) {
                at.x += miss;
            }
            let mut weights = [f32::NAN; 5];
            (trust(&joints, &projected, &mut weights), weights)
        };
        let near = |got: [f32; 5], want: [f32; 5]| {
            let mut off = std::iter::zip(got, want).map(|(got, want)| (got - want).abs());
            assert!(off.all(|off| off < 1e-4), "{got:?}, want {want:?}");
        };
        let (median, weights) = weights_of([0.02, 0.01, 0.0, 0.04, 0.08]);
        assert!((median - 0.02).abs() < 1e-6, "{median}");
        near(
            weights,
            [0.8 / 1.25, 0.4 / 1.0625, 0.4, 0.8 / 2.0, 0.4 / 5.0],
        );
        // Where most fit, the scale is a fiftieth of the spread, here of sqrt(4 * 0.02 / 5).
        let (median, weights) = weights_of([0.0, 0.0, 0.0, 0.0, 0.002_529_8]);
        assert!(median.abs() < 1e-6, "{median}");
        near(weights, [0.8, 0.4, 0.4, 0.8, 0.2]);
    }

    /// Four joints on a flat cross with arms of `arm_m`, `depth_m` ahead.
    fn cross(arm_m: f32, depth_m: f32) -> std::vec::Vec<RootJoint> {
        [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)]
            .map(|(x, y)| RootJoint {
                ray: arm_m / depth_m * Vec2::new(x, y),
                relative_m: arm_m * Vec3::new(x, y, 0.0),
                weight: 0.5,
                sigma_m: 0.0,
            })
            .into()
    }

    #[test]
    fn roots_are_solved_for_within_the_range_and_as_far_as_rays_spread() {
        for (arm_m, depth_m, solved) in [
            (0.1, 0.19, false),
            (0.1, 0.21, true),
            (1.0, 99.0, true),
            (1.0, 101.0, false),
            // Half a metre across at 100 m is the least, as a root mean square.
            (0.1, 39.5, true),
            (0.1, 40.5, false),
        ] {
            let root = solve_root(&cross(arm_m, depth_m));
            assert_eq!(root.is_some(), solved, "{arm_m} m at {depth_m} m");
            if let Some(root) = root {
                let off = (root.position_m - Vec3::new(0.0, 0.0, depth_m)).length();
                assert!(off < 1e-3 * depth_m, "{root:?}");
            }
        }
        let joints: std::vec::Vec<RootJoint> =
            cross(0.4, 3.0).into_iter().cycle().take(18).collect();
        assert!(solve_root(&joints[..3]).is_some());
        assert!(solve_root(&joints[..17]).is_some());
        assert!(solve_root(&joints).is_none());
        let without = |weight: f32| {
            let mut joints = cross(0.4, 3.0);
            for joint in &mut joints {
                joint.weight = weight;
            }
            solve_root(&joints)
        };
        assert!(without(0.0).is_none() && without(f32::INFINITY).is_none());
    }

    #[test]
    fn joints_are_projected_where_they_are_and_none_from_behind_the_lens() {
        let mut joints = cross(0.5, 2.0);
        joints[1].relative_m = Vec3::new(0.3, -0.2, -1.98);
        let at = projections(&joints, Vec3::new(0.1, 0.2, 2.0));
        assert!((at[0] - Vec2::new(0.3, 0.1)).length() < 1e-6, "{at:?}");
        assert!((at[1] - Vec2::new(4.0, 0.0)).length() < 1e-5, "{at:?}");
    }
}
