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
