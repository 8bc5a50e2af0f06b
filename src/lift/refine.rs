//! A few steps on the head's input for every frame, so that the pose agrees with the
//! rays that are seen and with the person's bones. No weight changes.
//!
//! ```text
//! minimise over z, y:   p huber(reprojection) + |bones - usual bones| + n |pose - own| + 0.01 (z² + y²)
//!                       pose = (head(f + z) + mirror(head(g + y))) / 2
//! ```
//!
//! `g` are the features of the mirrored inference ([`super::mirror`]): both move, so that a person in a mirror gets the
//! same pose, left for right. The own pose is the one at `z = y = 0`. The reprojection
//! is that of the pose with the root solved again at each step ([`super::root`], its instruments and trust in each ray those
//! of the own pose), and the gradient goes through that solution: with the root held constant the pose shrinks or grows
//! without end. Six steps of Adam from 0.8 of the last frame's `z` and `y`.
//!
//! How much the rays say depends on the detector. Where they miss the own pose by `m` half sizes of the person (the
//! median, averaged over a second), `p = 0.85 / (1 + (m / 0.055)⁴)`: a detector that errs by a hundredth of the person is
//! followed and one that errs by five hundredths is not. Where the head saw the picture, a fifth of that.
//!
//! What a detector gets wrong in the same way all the time, a hip too far in, is not for the pose to follow: a share
//! of each keypoint's mean residual `m` of the last seconds is taken off its ray first, `m² / (m² + STANDING²)` once
//! it is known, for small ones may be the pose's own and large ones are the detector's.
//!
//! After "latent refinement" of test-time adaptation (UAO); the loss and its weights without a
//! image were chosen on half of the frames of the accuracy table, what is done about residuals on a third of val.

use glam::{Vec2, Vec3};

use super::head::{HIDDEN, Head};
use super::input::View;
use super::mirror::left_for_right;
use super::root::{self, RootJoint};
use super::rooted::{DEPTH_MIN_M, Rooted, Target};
use crate::base::limits::LIFT_FEATURES;
use crate::skeleton::{JOINT_MIRROR, JOINTS, PARENTS, SHARED};
use crate::sys::simd::rows_times;

/// Steps a frame: with six the error has stopped falling.
const STEPS: usize = 6;

/// Length of Adam's step in a feature.
const RATE: f32 = 0.003;

/// Adam's memory of the gradient and of its square: moments start at zero in each frame.
const MOMENTS: (f32, f32) = (0.5, 0.9);

/// Share of the last frame's offset a frame begins with. Shares nearer 1 drift.
const CARRY: f32 = 0.8;

/// Residuals up to here, in half sizes of the person, count as squares, larger ones as lengths:
/// `r² / 2 h` and `r - h / 2`.
const HUBER: f32 = 0.02;

/// Weight of bone lengths, a metre.
const BONES: f32 = 1.0;

/// Weight of the offset's mean square.
const OFFSET: f32 = 0.01;

/// Mean residual of which half is taken off its ray, half sizes of the person.
const STANDING: f32 = 0.015;

/// Median residual at which rays pull half as much, half sizes of the person. Simulated detectors whose rays are worth
/// following miss by 0.02 to 0.04, the one measured on photographs by 0.06 to 0.19.
const VAGUE: f32 = 0.055;

/// Share of the rays' weight where the head saw the picture: it then knows how keypoints of pictures err together.
const PULL_WITH_PICTURE: f32 = 0.2;

/// Frames over which a person's median residual is averaged.
const VAGUE_SPAN: f32 = 30.0;

/// Observations over which residuals are averaged at most: ten seconds of a usual camera.
const RESIDUAL_SPAN: f32 = 300.0;

/// Observations that the mean residual must be built of before half of it counts.
const RESIDUAL_HALF: f32 = 10.0;

/// Largest residual that counts, half sizes: beyond, a keypoint is simply wrong.
const RESIDUAL_MAX: f32 = 0.2;

/// Frames over which usual bone lengths are averaged at most.
const BONE_SPAN: f32 = 50.0;

/// Most that one frame moves a usual bone length, metres, before its share is taken.
const BONE_MOVE_MAX_M: f32 = 0.05;

/// Frames that usual bone lengths must be built of before half of their weight counts: the
/// first frames of a person are the lifter's worst.
const BONE_HALF: f32 = 10.0;

/// Keypoints that pull.
const RAYS: usize = SHARED.len();

/// The head's own pose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Own {
    /// The hidden layer before the rectifier ([`Head::hidden_of`]).
    pub hidden: [f32; HIDDEN],
    /// That of the mirrored inference, where there is one.
    pub mirrored: Option<[f32; HIDDEN]>,
    /// What is added to the mean of both, rotated frame, metres.
    pub beside_m: [Vec3; JOINTS],
    /// The sum: joints around the pelvis, rotated frame, metres.
    pub joints_m: [Vec3; JOINTS],
    /// Whether the head saw the picture.
    pub picture: bool,
}

/// The inferences of a frame: the network's own, and the mirrored one.
const INFERENCES: usize = 2;

impl Own {
    /// Hidden layers before the rectifier, with what is added to the features.
    fn hidden_with(
        &self,
        head: &Head,
        offsets: &[[f32; LIFT_FEATURES]; INFERENCES],
    ) -> [[f32; HIDDEN]; INFERENCES] {
        let mut layers = [[0.0; HIDDEN]; INFERENCES];
        rows_times(&head.lift.weight, &offsets[0], &self.hidden, &mut layers[0]);
        if let Some(mirrored) = &self.mirrored {
            rows_times(&head.lift.weight, &offsets[1], mirrored, &mut layers[1]);
        }
        layers
    }

    /// The pose of hidden layers.
    fn pose_at(&self, head: &Head, layers: &[[f32; HIDDEN]; INFERENCES]) -> [Vec3; JOINTS] {
        let mut joints_m = head.joints_of(&layers[0]);
        if self.mirrored.is_some() {
            let other_m = left_for_right(&head.joints_of(&layers[1]));
            for (joint, other) in joints_m.iter_mut().zip(other_m) {
                *joint = joint.lerp(other, MIRRORED);
            }
        }
        for (joint, beside) in joints_m.iter_mut().zip(self.beside_m) {
            *joint += beside;
        }
        joints_m
    }

    /// Gradients with respect to both offsets, of that with respect to the joints. That of an inference that is not there
    /// is zero.
    fn gradients(
        &self,
        head: &Head,
        layers: &[[f32; HIDDEN]; INFERENCES],
        joints: &[Vec3; JOINTS],
    ) -> [[f32; LIFT_FEATURES]; INFERENCES] {
        let mut features = [[0.0; LIFT_FEATURES]; INFERENCES];
        if self.mirrored.is_none() {
            head.features_gradient(&layers[0], joints, &mut features[0]);
            return features;
        }
        let own = joints.map(|joint| (1.0 - MIRRORED) * joint);
        let other = left_for_right(&joints.map(|joint| MIRRORED * joint));
        head.features_gradient(&layers[0], &own, &mut features[0]);
        head.features_gradient(&layers[1], &other, &mut features[1]);
        features
    }
}

/// Weight of the reprojection of rays that are worth following.
const REPROJECTION: f32 = 0.85;

/// Weight of the distance from the head's own pose, a metre.
const NEAR: f32 = 0.2;

/// Share of the mirrored inference in the head's own pose.
pub const MIRRORED: f32 = 0.5;

/// What is kept of one person between frames.
#[derive(Clone, Debug)]
pub struct RefineMemory {
    /// Of both inferences.
    offsets: [[f32; LIFT_FEATURES]; INFERENCES],
    bones_m: [f32; JOINTS],
    /// Median residual of the rays, half sizes.
    residual: f32,
    /// Frames in both.
    frames: f32,
}

impl Default for RefineMemory {
    fn default() -> Self {
        Self {
            offsets: [[0.0; LIFT_FEATURES]; INFERENCES],
            bones_m: [0.0; JOINTS],
            residual: 0.0,
            frames: 0.0,
        }
    }
}

impl RefineMemory {
    /// Forgets the person.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// After a gap the last frame's offset says nothing; bones stay.
    pub fn interrupt(&mut self) {
        self.offsets = [[0.0; LIFT_FEATURES]; INFERENCES];
    }

    fn take(&mut self, bones_m: &[f32; JOINTS], residual: f32) {
        let first = self.frames < 1.0;
        self.frames = (self.frames + 1.0).min(BONE_SPAN);
        self.residual += (residual - self.residual) / self.frames.min(VAGUE_SPAN);
        for (usual, bone) in self.bones_m.iter_mut().zip(bones_m) {
            let most = if first {
                f32::INFINITY
            } else {
                BONE_MOVE_MAX_M
            };
            *usual += (bone - *usual).clamp(-most, most) / self.frames;
        }
    }

    /// Weight of the reprojection.
    fn pull(&self) -> f32 {
        REPROJECTION / (1.0 + (self.residual / VAGUE).powi(4))
    }

    /// Length of the bone from each joint to its parent, left and right made equal, metres;
    /// 0 for the root.
    pub fn bones_m(&self) -> [f32; JOINTS] {
        std::array::from_fn(|j| 0.5 * (self.bones_m[j] + self.bones_m[JOINT_MIRROR[j]]))
    }
}

/// The systematic error of the detector, the same for all people.
#[derive(Clone, Debug)]
pub struct Detector {
    /// Mean residual of each keypoint, half sizes of the person.
    residuals: [Vec2; RAYS],
    counts: [f32; RAYS],
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            residuals: [Vec2::ZERO; RAYS],
            counts: [0.0; RAYS],
        }
    }
}

/// The rays of a frame.
#[derive(Debug)]
struct Targets {
    all: heapless::Vec<Target, RAYS>,
    /// Sum of the weights.
    weight: f32,
    /// Half size of the person, plane z = 1.
    scale: f32,
    /// Median distance of a ray from its joint, half sizes.
    residual: f32,
}

/// Bone lengths to keep.
struct Usual {
    bones_m: [f32; JOINTS],
    weight: f32,
}

/// The head's own pose, moved to agree with the rays: joints around the pelvis in the rotated
/// frame, metres. `None` if too few rays are there or a number is not finite; the head's own
/// pose then stands.
pub fn refine(
    head: &Head,
    own: &Own,
    view: &View,
    memory: &mut RefineMemory,
    detector: &mut Detector,
) -> Option<[Vec3; JOINTS]> {
    let own_m = &own.joints_m;
    let targets = targets_of(own_m, view, detector)?;
    memory.take(&bones_of(own_m), targets.residual);
    let pull = memory.pull() * if own.picture { PULL_WITH_PICTURE } else { 1.0 };
    let usual = Usual {
        bones_m: memory.bones_m(),
        weight: BONES * memory.frames / (memory.frames + BONE_HALF),
    };

    let mut z = memory.offsets.map(|offset| offset.map(|v| CARRY * v));
    let mut moments = [Moments::default(); INFERENCES];
    let (mut first_left, mut second_left) = (1.0, 1.0);
    for _ in 0..STEPS {
        let layers = own.hidden_with(head, &z);
        let joints = own.pose_at(head, &layers);
        let gradient = loss_gradient(&joints, own_m, &usual, &targets, pull)?;
        first_left *= MOMENTS.0;
        second_left *= MOMENTS.1;
        let left = (1.0 - first_left, 1.0 - second_left);
        let gradients = own.gradients(head, &layers, &gradient);
        for ((z, gradient), moments) in z.iter_mut().zip(&gradients).zip(&mut moments) {
            moments.step(z, gradient, left);
        }
    }
    let joints = own.pose_at(head, &own.hidden_with(head, &z));
    // The rectifier makes zero of a NaN, so joints alone do not show one, and it would stay from frame to frame.
    let finite = joints.iter().all(|joint| joint.is_finite())
        && z.as_flattened().iter().all(|v| v.is_finite());
    if !finite {
        memory.interrupt();
        return None;
    }
    memory.offsets = z;
    Some(joints)
}

/// Adam's moments of an offset in one frame.
#[derive(Clone, Copy)]
struct Moments {
    first: [f32; LIFT_FEATURES],
    second: [f32; LIFT_FEATURES],
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            first: [0.0; LIFT_FEATURES],
            second: [0.0; LIFT_FEATURES],
        }
    }
}

impl Moments {
    /// A step of Adam on `z`; `left` is what both moments hold of the gradients by now.
    fn step(
        &mut self,
        z: &mut [f32; LIFT_FEATURES],
        gradient: &[f32; LIFT_FEATURES],
        left: (f32, f32),
    ) {
        #[expect(clippy::cast_precision_loss, reason = "256")]
        let home = 2.0 * OFFSET / LIFT_FEATURES as f32;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((z, g), (m, v)) in z.iter_mut().zip(gradient).zip(moments) {
            let g = g + home * *z;
            *m = MOMENTS.0 * *m + (1.0 - MOMENTS.0) * g;
            *v = MOMENTS.1 * *v + (1.0 - MOMENTS.1) * g * g;
            *z -= RATE * (*m / left.0) / ((*v / left.1).sqrt() + 1e-6);
        }
    }
}

/// Gradient of the mean reprojection error alone, the root differentiated, with respect to the
/// joints around the pelvis, rotated frame. `None` if too few rays are there.
pub fn reprojection_gradient(joints_m: &[Vec3; JOINTS], view: &View) -> Option<[Vec3; JOINTS]> {
    let targets = rays_to_agree_with(joints_m, view)?;
    let nothing = Usual {
        bones_m: [0.0; JOINTS],
        weight: 0.0,
    };
    loss_gradient(joints_m, joints_m, &nothing, &targets, REPROJECTION)
}

/// The rays of the newest frame, as they are. `None` if they do not say where a person of this pose stands.
fn rays_to_agree_with(joints_m: &[Vec3; JOINTS], view: &View) -> Option<Targets> {
    let seen: heapless::Vec<(usize, RootJoint), RAYS> = SHARED
        .iter()
        .filter(|&&(_, keypoint)| view.newest[keypoint].is_present())
        .map(|&(joint, keypoint)| {
            let seen = view.newest[keypoint];
            let joint_and_ray = RootJoint {
                ray: seen.ray,
                relative_m: joints_m[joint],
                weight: seen.visibility,
                sigma_m: 0.0,
            };
            (joint, joint_and_ray)
        })
        .collect();
    let joints: heapless::Vec<RootJoint, RAYS> = seen.iter().map(|(_, joint)| *joint).collect();
    let solution = root::solve(&joints)?;
    let trust: f32 = solution.weights.iter().sum();
    let mean = std::iter::zip(&solution.weights, &solution.projected)
        .map(|(trust, at)| *trust * *at)
        .sum::<Vec2>()
        / trust;
    let all = seen
        .iter()
        .zip(&solution.weights)
        .zip(&solution.projected)
        .map(|(((joint, seen), trust), at)| Target {
            joint: *joint,
            ray: seen.ray,
            weight: seen.weight,
            trust: *trust,
            lean: *at - mean,
        })
        .collect();
    Some(Targets {
        all,
        weight: seen.iter().map(|(_, seen)| seen.weight).sum(),
        scale: view.scale,
        residual: solution.miss / view.scale,
    })
}

/// Rays with what the detector always gets wrong taken off; brings that up to date.
fn targets_of(own_m: &[Vec3; JOINTS], view: &View, detector: &mut Detector) -> Option<Targets> {
    let mut targets = rays_to_agree_with(own_m, view)?;
    let root_m = Rooted::of(own_m, &targets.all)?.root_m;
    for target in &mut targets.all {
        let at_ray = SHARED
            .iter()
            .position(|(joint, _)| *joint == target.joint)?;
        let (mean, count) = (
            &mut detector.residuals[at_ray],
            &mut detector.counts[at_ray],
        );
        let at = own_m[target.joint] + root_m;
        let most = Vec2::splat(RESIDUAL_MAX);
        let residual =
            ((target.ray - at.truncate() / at.z.max(DEPTH_MIN_M)) / view.scale).clamp(-most, most);
        *count = (*count + 1.0).min(RESIDUAL_SPAN);
        *mean += (residual - *mean) / *count;
        let known = *count / (*count + RESIDUAL_HALF);
        let square = mean.length_squared();
        let standing = square / (square + STANDING * STANDING);
        target.ray -= standing * known * *mean * view.scale;
    }
    Some(targets)
}

/// Gradient of the loss with respect to the joints, the root differentiated.
fn loss_gradient(
    joints_m: &[Vec3; JOINTS],
    own_m: &[Vec3; JOINTS],
    usual: &Usual,
    targets: &Targets,
    pull: f32,
) -> Option<[Vec3; JOINTS]> {
    let rooted = Rooted::of(joints_m, &targets.all)?;
    let mut gradient = [Vec3::ZERO; JOINTS];
    // With respect to the joints in the camera frame; its sum is that of the root.
    let mut of_root = Vec3::ZERO;
    for t in &targets.all {
        let at = joints_m[t.joint] + rooted.root_m;
        let z = at.z.max(DEPTH_MIN_M);
        let residual = (at.truncate() / z - t.ray) / targets.scale;
        let length = residual.length();
        let slope = residual / length.max(HUBER);
        let g = pull * t.weight / targets.weight / targets.scale / z * slope;
        let depth = if at.z > DEPTH_MIN_M {
            -g.dot(at.truncate()) / z
        } else {
            0.0
        };
        let g = g.extend(depth);
        gradient[t.joint] += g;
        of_root += g;
    }
    rooted.pass_on(of_root, &targets.all, &mut gradient);
    #[expect(clippy::cast_precision_loss, reason = "17 joints")]
    let (bones, near) = (usual.weight / (JOINTS - 1) as f32, NEAR / JOINTS as f32);
    for joint in 1..JOINTS {
        let bone = joints_m[joint] - joints_m[PARENTS[joint]];
        let length = bone.length();
        if length > 0.0 && (length - usual.bones_m[joint]).abs() > 0.0 {
            let g = bones * (length - usual.bones_m[joint]).signum() / length * bone;
            gradient[joint] += g;
            gradient[PARENTS[joint]] -= g;
        }
        gradient[joint] += near * (joints_m[joint] - own_m[joint]).normalize_or_zero();
    }
    Some(gradient)
}

fn bones_of(joints_m: &[Vec3; JOINTS]) -> [f32; JOINTS] {
    std::array::from_fn(|joint| match joint {
        0 => 0.0,
        _ => (joints_m[joint] - joints_m[PARENTS[joint]]).length(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::head::tests::{file_of, random_tensors};
    use crate::lift::window::{RayKeypoint, RaySample};
    use crate::skeleton::KEYPOINTS;
    use glam::Mat3;

    fn random_joints(rng: &mut fastrand::Rng) -> [Vec3; JOINTS] {
        std::array::from_fn(|joint| {
            let mut number = || rng.f32() - 0.5;
            let at = Vec3::new(0.6 * number(), 1.6 * number(), 0.6 * number());
            if joint == 0 { Vec3::ZERO } else { at }
        })
    }

    fn view_of(joints_m: &[Vec3; JOINTS], root_m: Vec3) -> View {
        let mut newest: RaySample = [RayKeypoint::default(); KEYPOINTS];
        for (joint, keypoint) in SHARED {
            let at = joints_m[joint] + root_m;
            newest[keypoint] = RayKeypoint {
                ray: at.truncate() / at.z,
                visibility: 0.8,
            };
        }
        View {
            rotation: Mat3::IDENTITY,
            scale: 0.3,
            newest,
        }
    }

    /// The loss, straight from its formula.
    fn loss(
        joints_m: &[Vec3; JOINTS],
        factory_m: &[Vec3; JOINTS],
        usual: &Usual,
        targets: &Targets,
        pull: f32,
    ) -> f64 {
        let root_m = Rooted::of(joints_m, &targets.all).unwrap().root_m;
        let mut sum = 0.0;
        for t in &targets.all {
            let at = joints_m[t.joint] + root_m;
            let r = f64::from(((at.truncate() / at.z - t.ray) / targets.scale).length());
            let delta = f64::from(HUBER);
            let huber = if r < delta {
                0.5 * r * r / delta
            } else {
                r - 0.5 * delta
            };
            sum += f64::from(pull * t.weight / targets.weight) * huber;
        }
        for joint in 1..JOINTS {
            let bone = (joints_m[joint] - joints_m[PARENTS[joint]]).length();
            sum += f64::from(usual.weight * (bone - usual.bones_m[joint]).abs()) / 16.0;
            sum += f64::from(NEAR * (joints_m[joint] - factory_m[joint]).length()) / 17.0;
        }
        sum
    }

    #[test]
    fn the_gradient_is_that_of_the_loss_with_the_root_solved_again() {
        let mut rng = fastrand::Rng::with_seed(3);
        let truth = random_joints(&mut rng);
        let mut joints = truth;
        for joint in &mut joints[1..] {
            *joint += 0.1 * Vec3::new(rng.f32() - 0.5, rng.f32() - 0.5, rng.f32() - 0.5);
        }
        let view = view_of(&truth, Vec3::new(0.1, -0.05, 3.0));
        let targets = targets_of(&joints, &view, &mut Detector::default()).unwrap();
        // So far from the lengths there are that no step passes the kink.
        let usual = Usual {
            bones_m: bones_of(&truth).map(|bone| 1.5 * bone),
            weight: BONES,
        };
        let factory = random_joints(&mut rng);
        let step = 1e-3;
        for pull in [REPROJECTION, 0.1] {
            let gradient = loss_gradient(&joints, &factory, &usual, &targets, pull).unwrap();
            for joint in 1..JOINTS {
                for axis in 0..3 {
                    let at = |sign: f32| {
                        let mut moved = joints;
                        moved[joint][axis] += sign * step;
                        loss(&moved, &factory, &usual, &targets, pull)
                    };
                    let want = (at(1.0) - at(-1.0)) / f64::from(2.0 * step);
                    let got = f64::from(gradient[joint][axis]);
                    assert!(
                        (want - got).abs() < 3e-3,
                        "{joint} {axis}: {got}, want {want}"
                    );
                }
            }
        }
    }

    /// The head's own pose of features by chance, `beside_m` added, and joints that lie some centimetres from it.
    fn own_and_truth(head: &Head, seed: u64, beside_m: Vec3) -> (Own, [Vec3; JOINTS]) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let features: [f32; LIFT_FEATURES] = std::array::from_fn(|_| 2.0 * rng.f32());
        let mut hidden = [0.0; HIDDEN];
        head.hidden_into(Some(&features), None, &mut hidden);
        let own = Own {
            hidden,
            mirrored: None,
            beside_m: [beside_m; JOINTS],
            joints_m: head.joints_of(&hidden).map(|joint| joint + beside_m),
            picture: false,
        };
        let mut truth = own.joints_m;
        for joint in &mut truth[1..] {
            *joint += 0.05 * Vec3::new(rng.f32() - 0.5, rng.f32() - 0.5, rng.f32() - 0.5);
        }
        (own, truth)
    }

    #[test]
    fn steps_bring_the_pose_nearer_to_the_rays() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        // The mirror has everything a little more to the left.
        let (own, truth) = own_and_truth(&head, 5, Vec3::new(-0.004, 0.0, 0.0));
        let factory = own.joints_m;
        let view = view_of(&truth, Vec3::new(0.0, 0.0, 3.0));
        let mut memory = RefineMemory::default();
        let mut detector = Detector::default();
        let targets = targets_of(&factory, &view, &mut detector.clone()).unwrap();
        let refined = refine(&head, &own, &view, &mut memory, &mut detector).unwrap();
        let pull = memory.pull();
        let usual = Usual {
            bones_m: bones_of(&factory),
            weight: BONES / (1.0 + BONE_HALF),
        };
        let before = loss(&factory, &factory, &usual, &targets, pull);
        let after = loss(&refined, &factory, &usual, &targets, pull);
        assert!(after < 0.97 * before, "{before} {after}");
    }

    #[test]
    fn a_large_standing_error_of_the_detector_is_taken_off_and_a_small_one_hardly() {
        let mut rng = fastrand::Rng::with_seed(6);
        let truth = random_joints(&mut rng);
        let seen = view_of(&truth, Vec3::new(0.0, 0.0, 3.0));
        let keypoint = SHARED[5].1;
        // Half sizes; the other rays pull the root along a little, so nothing is true to the dot.
        for (wrong, low, high) in [(0.06, 0.0, 0.25), (0.005, 0.75, 1.0)] {
            let mut view = seen;
            view.newest[keypoint].ray.x += wrong * view.scale;
            let mut detector = Detector::default();
            let mut ray = 0.0;
            for _ in 0..200 {
                ray = targets_of(&truth, &view, &mut detector).unwrap().all[5]
                    .ray
                    .x;
            }
            let left = (ray - seen.newest[keypoint].ray.x) / (wrong * view.scale);
            assert!((low..high).contains(&left), "{wrong}: {left}");
        }
    }

    #[test]
    fn a_person_in_a_mirror_is_refined_as_the_one_before_it() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let [(one, _), (other, _)] = [5, 6].map(|seed| own_and_truth(&head, seed, Vec3::ZERO));
        let both = |hidden: [f32; HIDDEN], mirrored: [f32; HIDDEN]| {
            let mut own = Own {
                hidden,
                mirrored: Some(mirrored),
                beside_m: [Vec3::ZERO; JOINTS],
                joints_m: [Vec3::ZERO; JOINTS],
                picture: false,
            };
            own.joints_m = own.pose_at(&head, &[hidden, mirrored]);
            own
        };
        let own = both(one.hidden, other.hidden);
        let mut rng = fastrand::Rng::with_seed(9);
        let mut truth = own.joints_m;
        for joint in &mut truth[1..] {
            *joint += 0.05 * Vec3::new(rng.f32() - 0.5, rng.f32() - 0.5, rng.f32() - 0.5);
        }
        let refined = |own: &Own, truth: &[Vec3; JOINTS]| {
            let view = view_of(truth, Vec3::new(0.0, 0.0, 3.0));
            let (mut memory, mut detector) = (RefineMemory::default(), Detector::default());
            let mut refined = own.joints_m;
            for _ in 0..10 {
                refined = refine(&head, own, &view, &mut memory, &mut detector).unwrap();
            }
            refined
        };
        let before = refined(&own, &truth);
        let in_mirror = refined(&both(other.hidden, one.hidden), &left_for_right(&truth));
        let moved = (0..JOINTS).map(|j| before[j].distance(own.joints_m[j]));
        assert!(moved.fold(0.0, f32::max) > 0.005, "something to compare");
        for (joint, want) in left_for_right(&before).into_iter().enumerate() {
            let off = want.distance(in_mirror[joint]);
            assert!(off < 1e-4, "{joint}: {off} m");
        }
    }

    #[test]
    fn rays_pull_less_where_the_head_saw_the_picture() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let (mut own, truth) = own_and_truth(&head, 5, Vec3::ZERO);
        let view = view_of(&truth, Vec3::new(0.0, 0.0, 3.0));
        let mut moved = |picture: bool| {
            own.picture = picture;
            let (mut memory, mut detector) = (RefineMemory::default(), Detector::default());
            let joints_m = refine(&head, &own, &view, &mut memory, &mut detector).unwrap();
            std::iter::zip(joints_m, own.joints_m)
                .map(|(to, from)| to.distance(from))
                .sum::<f32>()
        };
        let (with, without) = (moved(true), moved(false));
        assert!(0.0 < with && with < 0.9 * without, "{with} {without}");
    }

    #[test]
    fn rays_that_miss_the_pose_by_much_hardly_pull() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let (own, truth) = own_and_truth(&head, 9, Vec3::ZERO);
        let pull_after = |error: f32| {
            let mut view = view_of(&truth, Vec3::new(0.0, 0.0, 3.0));
            let mut rng = fastrand::Rng::with_seed(12);
            let (mut memory, mut detector) = (RefineMemory::default(), Detector::default());
            for _ in 0..60 {
                for (_, keypoint) in SHARED {
                    let ray = Vec2::new(rng.f32() - 0.5, rng.f32() - 0.5);
                    view.newest[keypoint].ray += error * view.scale * ray;
                }
                refine(&head, &own, &view, &mut memory, &mut detector).unwrap();
                view = view_of(&truth, Vec3::new(0.0, 0.0, 3.0));
            }
            memory.pull()
        };
        let (exact, vague) = (pull_after(0.01), pull_after(0.4));
        assert!(exact > 0.6 * REPROJECTION, "{exact}");
        assert!(vague < 0.2 * REPROJECTION, "{vague}");
    }

    #[test]
    fn no_person_in_view_and_numbers_that_are_not_finite_leave_the_pose_alone() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let joints = random_joints(&mut rng);
        let own = Own {
            hidden: [0.1; HIDDEN],
            mirrored: None,
            beside_m: [Vec3::ZERO; JOINTS],
            joints_m: joints,
            picture: false,
        };
        let mut view = view_of(&joints, Vec3::new(0.0, 0.0, 3.0));
        let mut memory = RefineMemory::default();
        let mut broken = view;
        broken.newest = [RayKeypoint::default(); KEYPOINTS];
        let detector = &mut Detector::default();
        let mut refined =
            |view: &View, detector: &mut Detector| refine(&head, &own, view, &mut memory, detector);
        assert_eq!(refined(&broken, detector), None);
        view.newest[11].ray.x = f32::NAN;
        assert_eq!(refined(&view, detector), None);
        assert!(detector.residuals.iter().all(|mean| mean.is_finite()));
        let offsets = memory.offsets;
        assert!(
            offsets
                .as_flattened()
                .iter()
                .all(|v| v.abs() < f32::EPSILON)
        );
    }

    #[test]
    fn a_number_that_is_not_finite_does_not_stay_behind_the_rectifier() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let hidden = [0.1; HIDDEN];
        let joints = head.joints_of(&hidden);
        let own = Own {
            hidden,
            mirrored: None,
            beside_m: [Vec3::ZERO; JOINTS],
            joints_m: joints,
            picture: false,
        };
        let mut view = view_of(&joints, Vec3::new(0.0, 0.0, 3.0));
        for ray in &mut view.newest {
            ray.ray.x += 0.1;
        }
        let (mut memory, mut detector) = (RefineMemory::default(), Detector::default());
        // The rectifier makes zero of it, so the joints are finite all the same.
        memory.offsets[0][3] = f32::NAN;
        let refined = refine(&head, &own, &view, &mut memory, &mut detector);
        assert_eq!(refined, None);
        assert!(memory.offsets.as_flattened().iter().all(|v| v.is_finite()));
    }

    #[test]
    fn a_step_is_that_of_adam_on_the_gradient_and_the_pull_of_the_offset() {
        let mut rng = fastrand::Rng::with_seed(31);
        let mut random = |size: f32| -> [f32; LIFT_FEATURES] {
            std::array::from_fn(|_| size * (rng.f32() - 0.5))
        };
        let mut z = random(4.0);
        let mut want = z.map(f64::from);
        let (mut first, mut second) = ([0.0; LIFT_FEATURES], [0.0; LIFT_FEATURES]);
        let mut moments = Moments::default();
        for step in 1..=3 {
            // As small as the pull, 0.02 / 256 of the offset.
            let gradient = random(3e-4);
            let left = (1.0 - 0.5_f32.powi(step), 1.0 - 0.9_f32.powi(step));
            moments.step(&mut z, &gradient, left);
            for at in 0..LIFT_FEATURES {
                let g = f64::from(gradient[at]) + 0.02 / 256.0 * want[at];
                first[at] = 0.5 * first[at] + 0.5 * g;
                second[at] = 0.9 * second[at] + 0.1 * g * g;
                let (m, v) = (
                    first[at] / (1.0 - 0.5_f64.powi(step)),
                    second[at] / (1.0 - 0.9_f64.powi(step)),
                );
                want[at] -= 0.003 * m / (v.sqrt() + 1e-6);
                let off = (f64::from(z[at]) - want[at]).abs();
                assert!(off < 1e-5, "{step} {at}: {}, want {}", z[at], want[at]);
            }
        }
    }

    #[test]
    fn bones_and_residuals_are_averaged_and_wild_bones_are_cut_off() {
        let mut memory = RefineMemory::default();
        let near = |memory: &RefineMemory, bone_m: f32, residual: f32| {
            let bones_m = memory.bones_m();
            assert!((bones_m[2] - bone_m).abs() < 1e-6, "{bones_m:?}");
            assert!((memory.residual - residual).abs() < 1e-6, "{memory:?}");
        };
        // The first frame is taken as it is; sides are made equal.
        let mut bones_m = [0.4; JOINTS];
        bones_m[5] = 0.5;
        memory.take(&bones_m, 0.02);
        near(&memory, 0.45, 0.02);
        let left_m = |memory: &RefineMemory| (memory.bones_m[5] - 0.5).abs();
        assert!(left_m(&memory) < 1e-6);
        // Half of the next: of 0.04 m, and of the 0.05 m that count of 0.3.
        bones_m[2] = 0.44;
        memory.take(&bones_m, 0.04);
        near(&memory, 0.46, 0.03);
        let mut other = memory.clone();
        bones_m[2] = 0.72;
        other.take(&bones_m, 0.03);
        near(&other, 0.46 + 0.5 * 0.05 / 3.0, 0.03);
        bones_m[2] = 0.12;
        memory.take(&bones_m, 0.03);
        near(&memory, 0.46 - 0.5 * 0.05 / 3.0, 0.03);
        // A gap keeps them, and another person has none.
        memory.offsets[1][7] = 0.5;
        memory.interrupt();
        assert!(memory.offsets.as_flattened().iter().all(|z| z.abs() < 1e-9));
        near(&memory, 0.46 - 0.5 * 0.05 / 3.0, 0.03);
        memory.clear();
        near(&memory, 0.0, 0.0);
        assert!(memory.frames < 0.5);
    }

    #[test]
    fn rays_pull_half_as_much_at_the_stated_residual_and_a_seventeenth_at_twice_that() {
        for (residual, share) in [(0.0, 1.0), (VAGUE, 0.5), (2.0 * VAGUE, 1.0 / 17.0)] {
            let memory = RefineMemory {
                residual,
                ..RefineMemory::default()
            };
            let pull = memory.pull();
            assert!((pull - share * 0.85).abs() < 1e-6, "{residual}: {pull}");
        }
    }

    /// A view of a person whose rays err by chance, and whose confidences differ.
    fn vague_view(truth: &[Vec3; JOINTS], seed: u64) -> View {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut view = view_of(truth, Vec3::new(0.1, -0.2, 3.0));
        for (_, keypoint) in SHARED {
            let shown = &mut view.newest[keypoint];
            shown.ray += 0.1 * view.scale * Vec2::new(rng.f32() - 0.5, rng.f32() - 0.5);
            shown.visibility = 0.4 + 0.6 * rng.f32();
        }
        view
    }

    #[test]
    fn targets_are_the_rays_with_the_instruments_of_the_root() {
        let truth = random_joints(&mut fastrand::Rng::with_seed(14));
        let view = vague_view(&truth, 15);
        let targets = rays_to_agree_with(&truth, &view).unwrap();
        let joints = SHARED.map(|(joint, keypoint)| RootJoint {
            ray: view.newest[keypoint].ray,
            relative_m: truth[joint],
            weight: view.newest[keypoint].visibility,
            sigma_m: 0.0,
        });
        let root_m = root::solve_root(&joints).unwrap().position_m;
        let rooted = Rooted::of(&truth, &targets.all).unwrap();
        assert!(
            (rooted.root_m - root_m).length() < 2e-3,
            "{rooted:?} {root_m}"
        );
        let at = |joint: usize| (truth[joint] + root_m).truncate() / (truth[joint] + root_m).z;
        let mut misses: Vec<f32> = Vec::new();
        let (mut weight, mut lean) = (0.0, Vec2::ZERO);
        for (target, (joint, keypoint)) in targets.all.iter().zip(SHARED) {
            let seen = view.newest[keypoint];
            assert_eq!((target.joint, target.ray), (joint, seen.ray));
            assert!((target.weight - seen.visibility).abs() < 1e-6);
            let apart = at(joint) - at(SHARED[0].0);
            let leans_apart = target.lean - targets.all[0].lean;
            assert!((apart - leans_apart).length() < 1e-4, "{joint}");
            misses.push(at(joint).distance(seen.ray) / view.scale);
            weight += seen.visibility;
            lean += target.trust * target.lean;
        }
        misses.sort_unstable_by(f32::total_cmp);
        assert!((targets.residual - misses[6]).abs() < 1e-4, "{targets:?}");
        assert!((targets.weight - weight).abs() < 1e-5 && lean.length() < 1e-5);
    }

    #[test]
    fn of_a_ray_is_taken_off_what_stands_of_its_mean_residual_as_far_as_it_is_known() {
        let truth = random_joints(&mut fastrand::Rng::with_seed(14));
        let mut detector = Detector::default();
        let mut means = [Vec2::ZERO; RAYS];
        for (count, seed) in [(1.0, 1), (2.0, 2), (3.0, 3)] {
            let mut view = vague_view(&truth, seed);
            // One keypoint is simply wrong.
            view.newest[SHARED[4].1].ray.x -= 0.6 * view.scale;
            let plain = rays_to_agree_with(&truth, &view).unwrap();
            let root_m = Rooted::of(&truth, &plain.all).unwrap().root_m;
            let targets = targets_of(&truth, &view, &mut detector).unwrap();
            for ((mean, plain), target) in means.iter_mut().zip(&plain.all).zip(&targets.all) {
                let at = truth[plain.joint] + root_m;
                let residual = (plain.ray - at.truncate() / at.z) / view.scale;
                let most = Vec2::splat(RESIDUAL_MAX);
                *mean += (residual.clamp(-most, most) - *mean) / count;
                // What stands of the mean by its size, and ten observations for half of it.
                let standing = mean.length_squared() / (mean.length_squared() + STANDING.powi(2));
                let off = standing * count / (count + RESIDUAL_HALF) * *mean * view.scale;
                let got = plain.ray - target.ray;
                assert!((got - off).length() < 1e-5, "{count}: {got}, want {off}");
            }
        }
    }

    #[test]
    fn the_gradient_of_the_offsets_is_that_of_the_pose_of_both_inferences() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let [(own, _), (other, _)] = [5, 6].map(|seed| own_and_truth(&head, seed, Vec3::ZERO));
        let mut rng = fastrand::Rng::with_seed(23);
        let mut slopes = random_joints(&mut rng);
        slopes[0] = Vec3::ZERO;
        for mirrored in [None, Some(other.hidden)] {
            let own = Own { mirrored, ..own };
            let value = |z: &[[f32; LIFT_FEATURES]; INFERENCES]| -> f64 {
                let joints_m = own.pose_at(&head, &own.hidden_with(&head, z));
                let products = std::iter::zip(&joints_m, &slopes);
                products
                    .map(|(joint, slope)| f64::from(joint.dot(*slope)))
                    .sum()
            };
            let z = [[0.0; LIFT_FEATURES]; INFERENCES];
            let layers = own.hidden_with(&head, &z);
            let gradients = own.gradients(&head, &layers, &slopes);
            for inference in 0..INFERENCES {
                for at in (0..LIFT_FEATURES).step_by(31) {
                    let step = 4e-3;
                    let moved = |sign: f32| {
                        let mut moved = z;
                        moved[inference][at] += sign * step;
                        value(&moved)
                    };
                    let want = (moved(1.0) - moved(-1.0)) / f64::from(2.0 * step);
                    let got = f64::from(gradients[inference][at]);
                    assert!(
                        (want - got).abs() < 1e-3,
                        "{inference} {at}: {got}, want {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_gradient_of_the_reprojection_alone_is_that_of_the_loss_without_the_rest() {
        let mut rng = fastrand::Rng::with_seed(3);
        let truth = random_joints(&mut rng);
        let view = vague_view(&truth, 8);
        let got = reprojection_gradient(&truth, &view).unwrap();
        let targets = rays_to_agree_with(&truth, &view).unwrap();
        let usual = Usual {
            bones_m: [0.0; JOINTS],
            weight: 0.0,
        };
        for joint in 1..JOINTS {
            for axis in 0..3 {
                let at = |sign: f32| {
                    let mut moved = truth;
                    moved[joint][axis] += sign * 1e-3;
                    // Without what it costs to be away from the own pose.
                    loss(&moved, &moved, &usual, &targets, REPROJECTION)
                };
                let want = (at(1.0) - at(-1.0)) / 2e-3;
                let got = f64::from(got[joint][axis]);
                assert!((want - got).abs() < 3e-3, "{joint} {axis}: {got}, {want}");
            }
        }
        let mut alone = view;
        for (_, keypoint) in &SHARED[2..] {
            alone.newest[*keypoint] = RayKeypoint::default();
        }
        assert_eq!(reprojection_gradient(&truth, &alone), None);
    }

    #[test]
    fn bones_that_fit_and_bones_of_no_length_pull_nowhere() {
        let mut joints = random_joints(&mut fastrand::Rng::with_seed(3));
        let view = view_of(&joints, Vec3::new(0.0, 0.0, 3.0));
        let targets = rays_to_agree_with(&joints, &view).unwrap();
        // The head, which no ray sees, on the neck.
        joints[10] = joints[9];
        let gradient = |bones_m: [f32; JOINTS], weight: f32| {
            let usual = Usual { bones_m, weight };
            loss_gradient(&joints, &joints, &usual, &targets, REPROJECTION).unwrap()
        };
        let fitting = bones_of(&joints);
        assert_eq!(gradient(fitting, 1.0), gradient(fitting, 0.0));
        let mut longer = fitting;
        longer[10] = 0.1;
        assert_eq!(gradient(longer, 1.0), gradient(fitting, 0.0));
    }

    #[test]
    fn a_frame_is_six_steps_of_adam_from_four_fifths_of_the_last_offset() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let [(own, truth), (other, _)] = [5, 6].map(|seed| own_and_truth(&head, seed, Vec3::ZERO));
        let mut own = Own {
            mirrored: Some(other.hidden),
            ..own
        };
        own.joints_m = own.pose_at(&head, &[own.hidden, other.hidden]);
        let view = view_of(&truth, Vec3::new(0.0, 0.0, 3.0));
        // Bones were longer so far.
        let mut memory = RefineMemory {
            bones_m: bones_of(&own.joints_m).map(|bone_m| 1.2 * bone_m),
            frames: 5.0,
            ..RefineMemory::default()
        };
        let mut detector = Detector::default();
        let (mut seen, mut known) = (memory.clone(), detector.clone());
        let mut want = [[0.0; LIFT_FEATURES]; INFERENCES];
        for _ in 0..3 {
            let refined = refine(&head, &own, &view, &mut memory, &mut detector).unwrap();
            let targets = targets_of(&own.joints_m, &view, &mut known).unwrap();
            seen.take(&bones_of(&own.joints_m), targets.residual);
            let usual = Usual {
                bones_m: seen.bones_m(),
                weight: BONES / (1.0 + BONE_HALF / seen.frames),
            };
            want = want.map(|z| z.map(|z| 0.8 * z));
            let mut moments = [[(0.0, 0.0); LIFT_FEATURES]; INFERENCES];
            for step in 1..=6 {
                let layers = own.hidden_with(&head, &want);
                let joints_m = own.pose_at(&head, &layers);
                let slopes =
                    loss_gradient(&joints_m, &own.joints_m, &usual, &targets, seen.pull()).unwrap();
                let gradients = own.gradients(&head, &layers, &slopes);
                for (at, z) in want.as_flattened_mut().iter_mut().enumerate() {
                    let (m, v) = &mut moments.as_flattened_mut()[at];
                    let g = gradients.as_flattened()[at] + 2.0 * 0.01 / 256.0 * *z;
                    (*m, *v) = (0.5 * *m + 0.5 * g, 0.9 * *v + 0.1 * g * g);
                    let left = (1.0 - 0.5_f32.powi(step), 1.0 - 0.9_f32.powi(step));
                    *z -= 0.003 * (*m / left.0) / ((*v / left.1).sqrt() + 1e-6);
                }
            }
            let mut off = std::iter::zip(memory.offsets.as_flattened(), want.as_flattened())
                .map(|(got, want)| (got - want).abs());
            assert!(off.all(|off| off < 1e-4));
            let joints_m = own.pose_at(&head, &own.hidden_with(&head, &want));
            for (got, want) in refined.iter().zip(joints_m) {
                assert!((got - want).length() < 1e-4, "{got}, want {want}");
            }
        }
    }
}
