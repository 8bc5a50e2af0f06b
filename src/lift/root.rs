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

use glam::{Vec2, Vec3};

/// Joints needed: three give six equations for three unknowns.
const JOINTS_MIN: usize = 3;

/// Least spread of the rays (weighted root mean square about their mean, on the
/// plane z = 1): a person 0.5 m across at 100 m.
const SPREAD_MIN: f32 = 0.0025;

/// Nearest root accepted, metres: closer, a person does not fit before a lens.
const DEPTH_MIN_M: f32 = 0.2;

/// Farthest root accepted, metres: farther, a person is a few pixels high.
const DEPTH_MAX_M: f32 = 100.0;

/// One joint as both sides see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RootJoint {
    /// Ray on the plane z = 1.
    pub ray: Vec2,
    /// Position relative to the root, metres, in the frame of the ray.
    pub relative_m: Vec3,
    /// Weight: the keypoint's confidence.
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
/// `None` if the joints do not say: fewer than three, all in one place, a
/// root behind the camera or out of range, or numbers that are not finite.
pub fn solve_root(joints: &[RootJoint]) -> Option<Root> {
    if joints.len() < JOINTS_MIN {
        return None;
    }
    let mut count = 0.0;
    let mut weight = 0.0;
    let mut ray_mean = Vec2::ZERO;
    let mut right_mean = Vec2::ZERO;
    for joint in joints {
        count += 1.0;
        weight += joint.weight;
        ray_mean += joint.weight * joint.ray;
        right_mean += joint.weight * right_side(joint);
    }
    if weight <= f32::EPSILON || !weight.is_finite() {
        return None;
    }
    ray_mean /= weight;
    right_mean /= weight;

    let mut spread = 0.0;
    let mut moment = 0.0;
    for joint in joints {
        let offset = joint.ray - ray_mean;
        spread += joint.weight * offset.length_squared();
        moment += joint.weight * offset.dot(right_side(joint) - right_mean);
    }
    if spread.is_nan() || spread < weight * SPREAD_MIN * SPREAD_MIN {
        return None;
    }
    let depth = -moment / spread;
    if !(DEPTH_MIN_M..=DEPTH_MAX_M).contains(&depth) {
        return None;
    }
    let position_m = (right_mean + ray_mean * depth).extend(depth);
    if !position_m.is_finite() {
        return None;
    }

    // Variance of one equation: what the fit leaves over, or what the joints'
    // sigmas predict (X - uZ of a relative position), whichever is larger.
    let mut left_over = 0.0;
    let mut predicted = 0.0;
    for joint in joints {
        let row = position_m.truncate() - joint.ray * depth - right_side(joint);
        left_over += joint.weight * row.length_squared();
        predicted +=
            joint.weight * joint.sigma_m * joint.sigma_m * (2.0 + joint.ray.length_squared());
    }
    let rows = 2.0 * count;
    let left_over = left_over / weight / 2.0 * rows / (rows - 3.0);
    let variance = left_over.max(predicted / weight / 2.0);
    // dᵀ N⁻¹ d for the direction d of the root, with N the normal matrix scaled
    // so that the mean weight is one: confidences are not variances.
    let mean_weight = weight / count;
    let sight = position_m.normalize();
    let along = sight.truncate().dot(ray_mean) + sight.z;
    let across = sight.truncate().length_squared() / weight;
    let sigma_m = (variance * mean_weight * (across + along * along / spread)).sqrt();
    sigma_m.is_finite().then_some(Root {
        position_m,
        sigma_m,
    })
}

/// `(u Z - X, v Z - Y)`: the right-hand sides of a joint's two rows.
fn right_side(joint: &RootJoint) -> Vec2 {
    joint.ray * joint.relative_m.z - joint.relative_m.truncate()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(root_m: Vec3, noise: f32, seed: u64) -> Vec<RootJoint> {
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
    fn the_closed_form_solves_the_normal_equations() {
        use nalgebra::{Matrix3, Vector3};
        let joints = body(Vec3::new(-1.0, 0.5, 3.0), 0.02, 9);
        let mut normal = Matrix3::<f64>::zeros();
        let mut right = Vector3::<f64>::zeros();
        for joint in &joints {
            let (u, v) = (f64::from(joint.ray.x), f64::from(joint.ray.y));
            let relative = joint.relative_m.as_dvec3();
            for (row, b) in [
                (Vector3::new(1.0, 0.0, -u), u * relative.z - relative.x),
                (Vector3::new(0.0, 1.0, -v), v * relative.z - relative.y),
            ] {
                normal += f64::from(joint.weight) * row * row.transpose();
                right += f64::from(joint.weight) * row * b;
            }
        }
        let want = normal.lu().solve(&right).unwrap();
        let got = solve_root(&joints).unwrap().position_m.as_dvec3();
        let apart = Vector3::new(got.x, got.y, got.z) - want;
        assert!(apart.norm() < 1e-4, "{got} {want}");
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
        let one_ray: Vec<_> = joints
            .iter()
            .map(|joint| RootJoint {
                ray: Vec2::new(0.1, 0.2),
                ..*joint
            })
            .collect();
        assert_eq!(solve_root(&one_ray), None);
        let mirrored: Vec<_> = joints
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
}
