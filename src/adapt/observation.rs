//! What the adapter is told of a person in a frame, and what it keeps of it.

use glam::{Mat3, Vec2, Vec3};

use crate::base::clock::MonoNs;
use crate::base::limits::LIFT_FEATURES;
use crate::camera::rotate::{in_front, rotate_ray};
use crate::lift::Estimate;
use crate::lift::head::HIDDEN;
use crate::lift::input::View;
use crate::lift::window::{RayKeypoint, RaySample};
use crate::skeleton::{JOINTS, KEYPOINTS, SHARED};

/// Poses that miss their keypoints by more, in half sizes of the person, are not learned from.
const MISS_MAX: f32 = 0.08;

/// Keypoints that must be seen for a pose to be learned from, of twelve.
const SEEN_MIN: usize = 6;

/// Nearest depth that a pose is learned from, metres.
const DEPTH_MIN_M: f32 = 0.1;

/// What the adapter is told of one person in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When.
    pub time: MonoNs,
    /// Who.
    pub id: u32,
    /// Joints in the camera frame, metres, of the size that the lifter has them.
    pub joints_camera_m: [Vec3; JOINTS],
    /// The keypoints as rays.
    pub rays: RaySample,
    /// The backbone's features.
    pub features: [f32; LIFT_FEATURES],
    /// What the image adds to the final layers ([`crate::lift::head::Head::image_part`]).
    pub image_part: [f32; HIDDEN],
    /// How the input looked at the person.
    pub view: View,
    /// Straight up in the camera frame, where the mount is known.
    pub up: Option<Vec3>,
    /// What the person does, an entry of the dictionary, where that is known and the method asks for it.
    pub label: Option<usize>,
}

/// What a stretch of observations is labelled as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OneLabel {
    first: Option<usize>,
    mixed: bool,
}

impl OneLabel {
    /// Takes the label of the next observation. Those without one, as at the beginning, do not count.
    pub(super) fn take(&mut self, label: Option<usize>) {
        self.mixed |= self.first.is_some() && label.is_some() && label != self.first;
        self.first = self.first.or(label);
    }

    /// The label, where there was one and no other.
    pub(super) fn settled(self) -> Option<usize> {
        self.first.filter(|_| !self.mixed)
    }
}

impl Observation {
    /// An empty one: the initial value of a slot.
    pub fn empty() -> Self {
        Self {
            time: MonoNs(0),
            id: 0,
            joints_camera_m: [Vec3::ZERO; JOINTS],
            rays: [RayKeypoint::default(); KEYPOINTS],
            features: [0.0; LIFT_FEATURES],
            image_part: [0.0; HIDDEN],
            view: View {
                rotation: Mat3::IDENTITY,
                scale: 0.0,
                newest: [RayKeypoint::default(); KEYPOINTS],
            },
            up: None,
            label: None,
        }
    }

    /// Of an estimate as it is published, and the keypoints it was made of.
    pub fn of(
        time: MonoNs,
        id: u32,
        rays: &RaySample,
        estimate: &Estimate,
        up: Option<Vec3>,
    ) -> Self {
        let factor = estimate.size.factor;
        Self {
            time,
            id,
            joints_camera_m: std::array::from_fn(|joint| estimate.joint_camera_m(joint) / factor),
            rays: *rays,
            features: estimate.features,
            image_part: estimate.image_part,
            view: estimate.view,
            up,
            label: None,
        }
    }

    /// How far a keypoint lies beside `place_camera_m`, half sizes of the person, seen from a camera that faces them as
    /// [`View::scale`] is; `None` if the keypoint is missing or one of both is not in front.
    pub(super) fn beside(&self, keypoint: usize, place_camera_m: Vec3) -> Option<Vec2> {
        let View {
            rotation, scale, ..
        } = &self.view;
        let (seen, at) = (&self.rays[keypoint], *rotation * place_camera_m);
        (seen.is_present() && in_front(rotation, seen.ray) && at.z >= DEPTH_MIN_M)
            .then(|| (rotate_ray(rotation, seen.ray) - at.truncate() / at.z) / scale)
    }
}

/// A real frame.
#[derive(Clone, Debug)]
pub(super) struct HeldFrame {
    pub(super) features: [f32; LIFT_FEATURES],
    pub(super) image_part: [f32; HIDDEN],
    pub(super) view: View,
}

impl HeldFrame {
    /// Numbers that stand for nothing, to fill room with.
    pub(super) const fn nothing() -> Self {
        const NAN_RAYS: RaySample = [RayKeypoint {
            ray: Vec2::NAN,
            visibility: f32::NAN,
        }; KEYPOINTS];
        Self {
            features: [f32::NAN; LIFT_FEATURES],
            image_part: [f32::NAN; HIDDEN],
            view: View {
                rotation: Mat3::NAN,
                scale: f32::NAN,
                newest: NAN_RAYS,
            },
        }
    }
}

/// Whether enough is seen of the person, and the pose agrees with it.
pub(super) fn is_plausible(observation: &Observation) -> bool {
    let (mut seen, mut miss) = (0, 0.0);
    for (joint, keypoint) in SHARED {
        let at = observation.joints_camera_m[joint];
        if !at.is_finite() || at.z < DEPTH_MIN_M {
            return false;
        }
        if let Some(beside) = observation.beside(keypoint, at) {
            seen += 1;
            miss += beside.length();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "twelve")]
    let most = MISS_MAX * seen as f32;
    seen >= SEEN_MIN && miss <= most
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::skeleton::keypoints_of;

    /// A person standing 3 m before the camera, all keypoints seen.
    pub(crate) fn observation(time: MonoNs, id: u32) -> Observation {
        let joints = [
            [0.0, 0.0, 0.0],
            [-0.1, 0.0, 0.0],
            [-0.1, 0.45, 0.0],
            [-0.1, 0.87, 0.0],
            [0.1, 0.0, 0.0],
            [0.1, 0.45, 0.0],
            [0.1, 0.87, 0.0],
            [0.0, -0.25, 0.0],
            [0.0, -0.5, 0.0],
            [0.0, -0.6, -0.02],
            [0.0, -0.71, -0.02],
            [0.18, -0.48, 0.0],
            [0.2, -0.2, 0.1],
            [0.2, 0.05, 0.2],
            [-0.18, -0.48, 0.0],
            [-0.2, -0.2, 0.0],
            [-0.2, 0.05, 0.0],
        ];
        let joints_camera_m = joints.map(|joint| Vec3::from(joint) + Vec3::new(0.0, 0.0, 3.0));
        let (points, _) = keypoints_of(&joints_camera_m);
        let rays = points.map(|point| RayKeypoint {
            ray: point.truncate() / point.z,
            visibility: 0.8,
        });
        Observation {
            time,
            id,
            joints_camera_m,
            rays,
            features: [0.1; LIFT_FEATURES],
            image_part: [0.0; HIDDEN],
            view: View {
                rotation: Mat3::IDENTITY,
                scale: 0.27,
                newest: rays,
            },
            up: None,
            label: None,
        }
    }

    #[test]
    fn what_is_beside_its_place_is_so_in_half_sizes_wherever_the_person_stands() {
        for aside in [0.0, 0.5, 0.9] {
            let turn = Mat3::from_rotation_y(aside);
            let mut shown = observation(MonoNs(1), 1);
            shown.joints_camera_m = shown.joints_camera_m.map(|joint| turn * joint);
            shown.view.rotation = turn.transpose();
            let place = shown.joints_camera_m[3];
            let facing = turn.transpose() * place;
            let moved = Vec2::new(0.03, -0.02);
            let ray = facing.truncate() / facing.z + shown.view.scale * moved;
            shown.rays[16].ray = rotate_ray(&turn, ray);
            let beside = shown.beside(16, place).unwrap();
            assert!(beside.distance(moved) < 1e-4, "{aside}: {beside}");
            shown.rays[16] = RayKeypoint::default();
            assert_eq!(shown.beside(16, place), None);
        }
    }

    #[test]
    fn a_pose_that_misses_its_keypoints_or_of_which_little_is_seen_is_not_learned_from() {
        let good = observation(MonoNs(1), 1);
        assert!(is_plausible(&good));
        let mut missed = good.clone();
        for keypoint in &mut missed.rays[5..9] {
            keypoint.ray.x += 0.2;
        }
        assert!(!is_plausible(&missed));
        let mut little = good.clone();
        for keypoint in &mut little.rays[8..] {
            *keypoint = RayKeypoint::default();
        }
        assert!(!is_plausible(&little));
        let mut none = good;
        none.joints_camera_m[4].x = f32::NAN;
        assert!(!is_plausible(&none));
        assert_eq!(KEYPOINTS, none.rays.len());
    }
}
