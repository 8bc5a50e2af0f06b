//! Where a pose stands, as a function of the pose: the root in closed form, and how it follows each joint.
//!
//! The solution is that of [`super::root`], with instruments and trust that were chosen before, in the form that is
//! differentiated. A loss on projected joints has to be differentiated through the root: with the root held constant a
//! pose that follows its rays shrinks or grows without end.

use glam::{Vec2, Vec3};

use crate::skeleton::JOINTS;

/// Nearest depth of a root, metres.
pub const DEPTH_MIN_M: f32 = 0.2;

/// Smallest spread of rays, as a sum of squares, that says how far away a person is.
const SPREAD_MIN: f32 = 1e-6;

/// A ray to agree with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Target {
    /// The joint that it goes through.
    pub joint: usize,
    /// Rotated frame, plane z = 1.
    pub ray: Vec2,
    /// How much it counts for the pose; 0 where it is not there.
    pub weight: f32,
    /// How much it counts for the root.
    pub trust: f32,
    /// The instrument of the depth, its mean weighted by trust taken off.
    pub lean: Vec2,
}

/// Makes the rays themselves the instruments, which is least squares.
pub fn lean_on_rays(targets: &mut [Target]) {
    let weight: f32 = targets.iter().map(|target| target.weight).sum();
    let mean = targets.iter().map(|t| t.weight * t.ray).sum::<Vec2>() / weight.max(f32::EPSILON);
    for target in targets {
        target.trust = target.weight;
        target.lean = target.ray - mean;
    }
}

/// Where the root is, and what is needed to differentiate it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rooted {
    /// The root in the frame of the rays, metres.
    pub root_m: Vec3,
    mean: Vec2,
    spread: f32,
    trust: f32,
}

impl Rooted {
    /// The root of joints around the pelvis (frame of the rays, metres). `None` if the rays do not say how far away it
    /// is, or say that it is behind the camera.
    pub fn of(joints_m: &[Vec3; JOINTS], targets: &[Target]) -> Option<Self> {
        let trust: f32 = targets.iter().map(|target| target.trust).sum();
        if trust <= f32::EPSILON {
            return None;
        }
        let right = |t: &Target| {
            let p = joints_m[t.joint];
            t.ray * p.z - p.truncate()
        };
        let sum = |of: &dyn Fn(&Target) -> Vec2| -> Vec2 {
            targets.iter().map(|t| t.trust * of(t)).sum::<Vec2>() / trust
        };
        let mean = sum(&|t| t.ray);
        let right_mean = sum(&right);
        let (mut spread, mut moment) = (0.0, 0.0);
        for t in targets {
            spread += t.trust * t.lean.dot(t.ray - mean);
            moment += t.trust * t.lean.dot(right(t));
        }
        if spread.is_nan() || spread < SPREAD_MIN {
            return None;
        }
        let depth = -moment / spread;
        let root_m = (right_mean + mean * depth).extend(depth);
        (root_m.is_finite() && depth > DEPTH_MIN_M).then_some(Self {
            root_m,
            mean,
            spread,
            trust,
        })
    }

    /// Adds to the gradient with respect to the joints what comes of the root's, `of_root`.
    ///
    /// ```text
    /// root.z  = -Σ w lean · (ray Z - (X, Y)) / spread
    /// root.xy = mean of (ray Z - (X, Y)) + mean ray root.z
    /// ```
    pub fn pass_on(&self, of_root: Vec3, targets: &[Target], gradient: &mut [Vec3; JOINTS]) {
        let of_depth = of_root.z + of_root.truncate().dot(self.mean);
        for t in targets {
            let lever = t.trust * t.lean / self.spread * of_depth;
            let share = t.trust / self.trust * of_root.truncate();
            let right = share - lever;
            gradient[t.joint] += (-right).extend(right.dot(t.ray));
        }
    }
}

#[cfg(test)]
mod tests {
    use glam::{DMat3, DVec3};

    use super::*;

    /// A pose, and rays to six of its joints that err by a little.
    fn pose_and_rays(root_m: Vec3) -> ([Vec3; JOINTS], [Target; 6]) {
        let mut rng = fastrand::Rng::with_seed(21);
        let mut number = || rng.f32() - 0.5;
        let joints_m: [Vec3; JOINTS] =
            std::array::from_fn(|_| Vec3::new(0.8 * number(), 1.6 * number(), 0.6 * number()));
        let targets = std::array::from_fn(|at| {
            let joint = 2 * at + 1;
            let point = joints_m[joint] + root_m;
            Target {
                joint,
                ray: point.truncate() / point.z + 0.02 * Vec2::new(number(), number()),
                weight: 0.6 + 0.8 * number(),
                ..Target::default()
            }
        });
        (joints_m, targets)
    }

    #[test]
    fn with_the_rays_as_instruments_the_root_is_that_of_least_squares() {
        let (joints_m, mut targets) = pose_and_rays(Vec3::new(0.4, -0.2, 3.0));
        // A ray that is not there counts for nothing, wherever it lies.
        targets[2].weight = 0.0;
        targets[2].ray = Vec2::new(5.0, 5.0);
        lean_on_rays(&mut targets);
        let lean: Vec2 = targets.iter().map(|t| t.trust * t.lean).sum();
        assert!(lean.length() < 1e-5, "{lean}");

        // [1, 0, -u] t = u Z - X and [0, 1, -v] t = v Z - Y, in double precision.
        let (mut matrix, mut right) = (DMat3::ZERO, DVec3::ZERO);
        for t in &targets {
            let (ray, at) = (t.ray.as_dvec2(), joints_m[t.joint].as_dvec3());
            for (row, value) in [
                (DVec3::new(1.0, 0.0, -ray.x), ray.x * at.z - at.x),
                (DVec3::new(0.0, 1.0, -ray.y), ray.y * at.z - at.y),
            ] {
                let row_w = f64::from(t.weight) * row;
                matrix += DMat3::from_cols(row_w * row.x, row_w * row.y, row_w * row.z);
                right += row_w * value;
            }
        }
        let want = matrix.inverse() * right;
        let got = Rooted::of(&joints_m, &targets).unwrap().root_m.as_dvec3();
        assert!((got - want).length() < 1e-4, "{got}, want {want}");
    }

    #[test]
    fn what_is_passed_on_is_the_gradient_of_the_root() {
        let (joints_m, mut targets) = pose_and_rays(Vec3::new(0.4, -0.2, 3.0));
        lean_on_rays(&mut targets);
        // As in refinement, trust is not the weight, and instruments are not the rays.
        targets[3].trust *= 0.3;
        targets[4].lean += Vec2::new(0.03, -0.02);
        let mean: Vec2 = targets.iter().map(|t| t.trust * t.lean).sum::<Vec2>()
            / targets.iter().map(|t| t.trust).sum::<f32>();
        for t in &mut targets {
            t.lean -= mean;
        }
        let slope = Vec3::new(0.7, -1.1, 0.4);
        // Adds to what is already in the gradient.
        let mut gradient = [Vec3::ONE; JOINTS];
        let rooted = Rooted::of(&joints_m, &targets).unwrap();
        rooted.pass_on(slope, &targets, &mut gradient);
        for joint in 0..JOINTS {
            for axis in 0..3 {
                let step = 1e-2;
                let at = |sign: f32| {
                    let mut moved = joints_m;
                    moved[joint][axis] += sign * step;
                    Rooted::of(&moved, &targets).unwrap().root_m.dot(slope)
                };
                // The root is linear in the joints.
                let want = 1.0 + (at(1.0) - at(-1.0)) / (2.0 * step);
                let got = gradient[joint][axis];
                assert!(
                    (got - want).abs() < 1e-3,
                    "{joint} {axis}: {got}, want {want}"
                );
            }
        }
    }

    #[test]
    fn rays_that_do_not_say_where_the_root_is_give_none() {
        let rooted = |root_m: Vec3, change: &dyn Fn(&mut Target)| {
            let (joints_m, mut targets) = pose_and_rays(root_m);
            lean_on_rays(&mut targets);
            targets.iter_mut().for_each(change);
            Rooted::of(&joints_m, &targets)
        };
        let ahead = Vec3::new(0.0, 0.0, 3.0);
        assert!(rooted(ahead, &|_| {}).is_some());
        assert_eq!(rooted(ahead, &|t| t.trust = 0.0), None);
        assert_eq!(rooted(ahead, &|t| t.trust = f32::NAN), None);
        // Instruments that say nothing, and rays upside down: a root behind the camera.
        assert_eq!(rooted(ahead, &|t| t.lean = Vec2::ZERO), None);
        let behind = |t: &mut Target| (t.ray, t.lean) = (-t.ray, -t.lean);
        assert_eq!(rooted(ahead, &behind), None);
    }
}
