//! Where the keypoints of a frame are wanted: what the detector said, drawn towards what the model projects, and what
//! the model projects where the detector said nothing.
//!
//! ```text
//! loss            =  Σ v |projection - target|₁ / keypoints                  v: 1 where there is a target, else 0
//! target, kept    <- 0.9 target + 0.1 projection
//! target, missing <- projection, where motion and text agree; else missing
//! ```
//!
//! Equations 5 and 8 of "Semantics-aware test-time adaptation" (arXiv 2502.10724). What differs: the pose has no
//! translation of its own, so it stands where its seen keypoints say, and the gradient goes through that solution
//! ([`crate::lift::rooted`]).

use glam::{Vec2, Vec3};

use crate::lift::input::View;
use crate::lift::rooted::{DEPTH_MIN_M, Rooted, Target, lean_on_rays};
use crate::skeleton::{JOINTS, SHARED};

/// Keypoints that have a joint.
pub(super) const TARGETS: usize = SHARED.len();

/// Share of the old target in the new one.
const KEPT: f32 = 0.9;

/// Half the larger side of a person in the paper's crop of 224 pixels, of which a fifth is margin: its weights are for
/// errors in such pixels.
const HALF_PX: f32 = 93.0;

/// Where the keypoints of a frame are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Targets {
    /// In the rotated frame, on its plane z = 1. The weight is the visibility: 0 where there was none.
    all: [Target; TARGETS],
    /// Whether there is a target.
    wanted: [bool; TARGETS],
    /// Half size of the person, plane z = 1.
    scale: f32,
}

/// A pose as a frame's targets see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Projection {
    rooted: Rooted,
    /// Where each keypoint's joint is seen, rotated frame, plane z = 1.
    rays: [Vec2; TARGETS],
}

impl Targets {
    /// Numbers that stand for nothing, to fill room with.
    pub(super) const fn nothing() -> Self {
        const NOTHING: Target = Target {
            joint: 0,
            ray: Vec2::NAN,
            weight: f32::NAN,
            trust: f32::NAN,
            lean: Vec2::NAN,
        };
        Self {
            all: [NOTHING; TARGETS],
            wanted: [false; TARGETS],
            scale: f32::NAN,
        }
    }

    /// What the detector said.
    pub(super) fn of(view: &View) -> Self {
        let mut all = SHARED.map(|(joint, keypoint)| Target {
            joint,
            ray: view.newest[keypoint].ray,
            weight: view.newest[keypoint].visibility,
            ..Target::default()
        });
        lean_on_rays(&mut all);
        Self {
            wanted: all.map(|target| target.weight > 0.0),
            all,
            scale: view.scale,
        }
    }

    /// Where the joints around the pelvis (rotated frame, metres) are seen. `None` if the keypoints do not say how far
    /// away they are.
    pub(super) fn project(&self, joints_m: &[Vec3; JOINTS]) -> Option<Projection> {
        let rooted = Rooted::of(joints_m, &self.all)?;
        let rays = self.all.each_ref().map(|target| {
            let at = joints_m[target.joint] + rooted.root_m;
            at.truncate() / at.z.max(DEPTH_MIN_M)
        });
        Some(Projection { rooted, rays })
    }

    /// The loss of a projection of `joints_m`, in pixels of the paper's crop, and `share` of its gradient added to
    /// `gradient`, per metre.
    pub(super) fn follow(
        &self,
        joints_m: &[Vec3; JOINTS],
        projection: &Projection,
        share: f32,
        gradient: &mut [Vec3; JOINTS],
    ) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "twelve")]
        let weight = HALF_PX / self.scale / TARGETS as f32;
        let mut loss = 0.0;
        let mut of_root = Vec3::ZERO;
        for ((target, wanted), ray) in self.all.iter().zip(&self.wanted).zip(&projection.rays) {
            if !wanted {
                continue;
            }
            let apart = *ray - target.ray;
            loss += weight * apart.abs().element_sum();
            let z = joints_m[target.joint].z + projection.rooted.root_m.z;
            // The slope of a length that is zero is taken as zero.
            let sign = Vec2::select(apart.cmpeq(Vec2::ZERO), Vec2::ZERO, apart.signum());
            let slope = share * weight / z.max(DEPTH_MIN_M) * sign;
            let depth = if z > DEPTH_MIN_M {
                -slope.dot(*ray)
            } else {
                0.0
            };
            gradient[target.joint] += slope.extend(depth);
            of_root += slope.extend(depth);
        }
        projection.rooted.pass_on(of_root, &self.all, gradient);
        loss
    }

    /// Draws targets towards the projection and, where `fill`, gives keypoints without one the projection as target.
    pub(super) fn update(&mut self, projection: &Projection, fill: bool) {
        for ((target, wanted), ray) in self
            .all
            .iter_mut()
            .zip(&mut self.wanted)
            .zip(&projection.rays)
        {
            if *wanted {
                target.ray = KEPT * target.ray + (1.0 - KEPT) * *ray;
            } else if fill {
                (target.ray, *wanted) = (*ray, true);
            }
        }
    }

    /// How many keypoints have a target.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.wanted.iter().filter(|wanted| **wanted).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::observation::tests::observation;
    use crate::base::clock::MonoNs;
    use crate::lift::window::RayKeypoint;

    /// A standing person whose right ankle is not seen, and a pose that is a little off.
    fn standing() -> (Targets, [Vec3; JOINTS]) {
        let seen = observation(MonoNs(1), 1);
        let mut view = seen.view;
        view.newest[16] = RayKeypoint::default();
        let mut rng = fastrand::Rng::with_seed(4);
        let root = seen.joints_camera_m[0];
        let mut joints = seen.joints_camera_m.map(|joint| joint - root);
        for joint in &mut joints[1..] {
            *joint += 0.1 * Vec3::new(rng.f32() - 0.5, rng.f32() - 0.5, rng.f32() - 0.5);
        }
        (Targets::of(&view), joints)
    }

    fn loss(targets: &Targets, joints: &[Vec3; JOINTS]) -> f64 {
        let at = targets.project(joints).unwrap();
        f64::from(targets.follow(joints, &at, 1.0, &mut [Vec3::ZERO; JOINTS]))
    }

    #[test]
    fn the_gradient_is_that_of_the_loss_with_the_root_solved_again() {
        let (mut targets, joints) = standing();
        let projection = targets.project(&joints).unwrap();
        // One target that was filled in, from another pose, which has no say in where the root is.
        let mut other = joints;
        other[3] += Vec3::new(0.05, 0.03, 0.1);
        let filled = targets.project(&other).unwrap();
        targets.update(&filled, true);
        let mut gradient = [Vec3::ZERO; JOINTS];
        targets.follow(&joints, &projection, 1.0, &mut gradient);
        assert!(gradient[3].length() > 1.0, "the filled one pulls");
        let step = 2e-4;
        for joint in 1..JOINTS {
            for axis in 0..3 {
                let at = |sign: f32| {
                    let mut moved = joints;
                    moved[joint][axis] += sign * step;
                    loss(&targets, &moved)
                };
                let want = (at(1.0) - at(-1.0)) / f64::from(2.0 * step);
                let got = f64::from(gradient[joint][axis]);
                assert!(
                    (want - got).abs() < 0.01 * want.abs().max(5.0),
                    "{joint} {axis}: {got}, want {want}"
                );
            }
        }
    }

    #[test]
    fn a_missing_keypoint_does_not_pull_and_is_filled_in_behind_the_gate_only() {
        let (mut targets, joints) = standing();
        assert_eq!(targets.count(), TARGETS - 1);
        let projection = targets.project(&joints).unwrap();
        let mut gradient = [Vec3::ZERO; JOINTS];
        targets.follow(&joints, &projection, 1.0, &mut gradient);
        assert_eq!(gradient[3], Vec3::ZERO);
        targets.update(&projection, false);
        assert_eq!(targets.count(), TARGETS - 1);
        targets.update(&projection, true);
        assert_eq!(targets.count(), TARGETS);
        let ankle = targets.all.iter().position(|t| t.joint == 3).unwrap();
        assert_eq!(targets.all[ankle].ray, projection.rays[ankle]);
        // It stays, whatever motion and text say later, and moves as the others do.
        let mut moved = joints;
        moved[3].y += 0.1;
        let later = targets.project(&moved).unwrap();
        targets.update(&later, false);
        assert_eq!(targets.count(), TARGETS);
        let want = 0.9 * projection.rays[ankle] + 0.1 * later.rays[ankle];
        assert!(targets.all[ankle].ray.distance(want) < 1e-6);
    }

    #[test]
    fn a_target_keeps_nine_tenths_of_what_it_was() {
        let (mut targets, joints) = standing();
        let before = targets.clone();
        let projection = targets.project(&joints).unwrap();
        for _ in 0..5 {
            targets.update(&projection, false);
        }
        for at in (0..TARGETS).filter(|at| before.wanted[*at]) {
            let share = 0.9_f32.powi(5);
            let want = share * before.all[at].ray + (1.0 - share) * projection.rays[at];
            assert!(targets.all[at].ray.distance(want) < 1e-5, "{at}");
        }
    }
}
