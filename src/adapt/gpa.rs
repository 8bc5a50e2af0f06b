//! Motions drawn from the dictionary, placed where people stand here (after `PoseDA`, arXiv 2303.16456).
//!
//! ```text
//!  entry ─▶ two seconds of motion ─▶ this person's bones ─▶ this person's lean, any heading ─▶ a box of this site
//! ```
//!
//! A clip of this site lends everything but the motion: the label, whose entry the motion is drawn from, bones, the way
//! the body leans, which keypoints are hidden when, and a box. Global position alignment puts the motion where its box
//! over the same keypoints is that one: `PoseDA`'s depth from the sizes of both boxes holds for a person who is flat,
//! so here it is found again until the boxes agree.
//!
//! A Gaussian draws neither bones of one length nor feet that stay where they are; both are set right first.

use glam::{Mat3, Vec2, Vec3};

use super::clips::{CLIP_SAMPLES, Clip, ClipSample};
use super::synthetic_view::{FACE, any_turn};
use crate::base::limits::{LIFT_SAMPLES, MOTION_SAMPLES};
use crate::camera::rotate::{rotate_ray, rotation_facing};
use crate::motion::Meaning;
use crate::motion::encoder::{BodyFrame, JointSamples};
use crate::motion::prior::{WINDOW_NUMBERS, draw_into};
use crate::skeleton::{JOINT_MIRROR, JOINTS, KEYPOINT_MIRROR, KEYPOINTS, PARENTS, keypoints_of};

/// An ankle within this height of the other, metres, can be the one that stands: 0.12 torso lengths.
const STANDS_M: f32 = 0.06;

/// The joints of the ankles.
const ANKLES: [usize; 2] = [3, 6];

/// Keypoints of the body that must be seen for a box to say where a person is.
const SEEN_MIN: usize = 4;

/// How often a place is found again at most: with each the difference falls to a fifth or less.
const PLACINGS: usize = 12;

/// Difference of two boxes, shares of their size, that counts as none.
const ALIKE: f32 = 2e-3;

/// Nearest and farthest a person is placed, metres.
const DEPTHS_M: (f32, f32) = (0.5, 50.0);

/// Half size below which a box says nothing, plane z = 1.
const SIZE_MIN: f32 = 1e-3;

/// Draws motions. Holds the room that one needs.
#[derive(Debug)]
pub(super) struct Draws {
    meaning: Meaning,
    point: Vec<f32>,
    numbers: Vec<f32>,
    window: Box<JointSamples>,
    poses: Box<[ClipSample; LIFT_SAMPLES]>,
}

/// Where people were seen: the middle of a box and the mean of its half sides, plane z = 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    middle: Vec2,
    size: f32,
}

impl Place {
    /// Of the keypoints of a pose that are `seen`, by a camera that `facing` turns; `None` if there is no box.
    fn of(
        joints_m: &[Vec3; JOINTS],
        seen: &[bool; KEYPOINTS],
        facing: Option<&Mat3>,
    ) -> Option<Self> {
        let (points, _) = keypoints_of(joints_m);
        let (mut low, mut high) = (Vec2::INFINITY, Vec2::NEG_INFINITY);
        for (point, _) in points.iter().zip(seen).filter(|(_, seen)| **seen) {
            if point.z <= 0.0 {
                return None;
            }
            let ray = point.truncate() / point.z;
            let ray = facing.map_or(ray, |facing| rotate_ray(facing, ray));
            (low, high) = (low.min(ray), high.max(ray));
        }
        let size = 0.25 * (high - low).element_sum();
        (size.is_finite() && size > SIZE_MIN).then_some(Self {
            middle: 0.5 * (low + high),
            size,
        })
    }
}

impl Draws {
    /// For the entries of a dictionary.
    pub(super) fn new(meaning: Meaning) -> Self {
        let unseen = ClipSample {
            joints_camera_m: [Vec3::ZERO; JOINTS],
            visibilities: [0.0; KEYPOINTS],
        };
        Self {
            point: vec![1.0; meaning.encoders.prior.rank()],
            numbers: vec![1.0; WINDOW_NUMBERS],
            window: Box::new([[Vec3::ONE; JOINTS]; MOTION_SAMPLES]),
            poses: Box::new([unseen; LIFT_SAMPLES]),
            meaning,
        }
    }

    /// Whether there are motions for what is done in a clip.
    pub(super) fn knows(&self, clip: &Clip) -> bool {
        let dictionary = &self.meaning.dictionary;
        clip.label
            .is_some_and(|at| dictionary.statistics(at).is_some())
    }

    /// A motion for what is done in `clip`, as this site would show it; `up` is straight up, camera frame. `None` if
    /// there is none for it, or no place.
    pub(super) fn draw(
        &mut self,
        clip: &Clip,
        up: Vec3,
        rng: &mut fastrand::Rng,
    ) -> Option<&[ClipSample; LIFT_SAMPLES]> {
        let (mean, factor) = self.meaning.dictionary.statistics(clip.label?)?;
        draw_into(mean, factor, rng, &mut self.point);
        let prior = &self.meaning.encoders.prior;
        prior.window_into(&self.point, &mut self.numbers, &mut self.window);
        if rng.bool() {
            mirror(&mut self.window);
        }
        give_bones(&mut self.window, &clip.shown[0].joints_camera_m);
        let way_m = way_of(&self.window);

        let lent = rng.usize(LIFT_SAMPLES - 1..CLIP_SAMPLES);
        let newest = rng.usize(LIFT_SAMPLES - 1..MOTION_SAMPLES);
        let mut site = [[Vec3::ZERO; JOINTS]; LIFT_SAMPLES];
        let from = lent + 1 - LIFT_SAMPLES;
        for (site, shown) in site.iter_mut().zip(&clip.shown[from..]) {
            *site = shown.joints_camera_m;
        }
        let turn = any_turn(up, rng) * BodyFrame::of(&site).rotation.transpose();
        // Who is hidden on one side may as well be on the other.
        let swapped = rng.bool();
        for (back, pose) in self.poses.iter_mut().rev().enumerate() {
            let at = newest - back;
            let way_m = turn * (way_m[at] - way_m[newest]);
            pose.joints_camera_m = self.window[at].map(|joint| way_m + turn * joint);
            let seen = &clip.shown[lent - back].visibilities;
            pose.visibilities = if swapped {
                KEYPOINT_MIRROR.map(|keypoint| seen[keypoint])
            } else {
                *seen
            };
        }
        let root_m = place(&site[LIFT_SAMPLES - 1], &clip.shown[lent], &self.poses)?;
        for joint in self
            .poses
            .iter_mut()
            .flat_map(|pose| &mut pose.joints_camera_m)
        {
            *joint += root_m;
        }
        Some(&self.poses)
    }
}

/// Where the newest of `poses`, which is around the pelvis, has to be put so that its box is that of a pose of the site:
/// the pelvis in the camera frame, metres.
fn place(
    site_m: &[Vec3; JOINTS],
    shown: &ClipSample,
    poses: &[ClipSample; LIFT_SAMPLES],
) -> Option<Vec3> {
    // The face is hidden by the way the head is turned, which is another's here.
    let of_body = |visibilities: &[f32; KEYPOINTS]| {
        let mut seen = visibilities.map(|visibility| visibility > 0.0);
        seen[..FACE].fill(false);
        seen
    };
    let (theirs, newest) = (of_body(&shown.visibilities), &poses[LIFT_SAMPLES - 1]);
    let seen = of_body(&newest.visibilities);
    if seen.iter().filter(|seen| **seen).count() < SEEN_MIN {
        return None;
    }
    // Boxes are compared by a camera that faces the person: to the side of a wide lens all is larger.
    let facing = rotation_facing(Place::of(site_m, &theirs, None)?.middle);
    let wanted = Place::of(site_m, &theirs, Some(&facing))?;
    let mut root_m = facing * site_m[0];
    let turned = newest.joints_camera_m.map(|joint| facing * joint);
    for _ in 0..PLACINGS {
        let put = turned.map(|joint| joint + root_m);
        let now = Place::of(&put, &seen, None)?;
        let apart = (wanted.middle - now.middle) / wanted.size;
        let larger = now.size / wanted.size;
        if apart.length() < ALIKE && (larger - 1.0).abs() < ALIKE {
            return Some(facing.transpose() * root_m);
        }
        let depth = (root_m.z * larger).clamp(DEPTHS_M.0, DEPTHS_M.1);
        // The ray of the pelvis moves as the middle of the box has to; nearer, it lies farther from that middle.
        let beside = root_m.truncate() / root_m.z - now.middle;
        root_m = ((wanted.middle + beside / larger) * depth).extend(depth);
    }
    None
}

/// Left becomes right: the body looks along z, its left is along x.
fn mirror(window: &mut JointSamples) {
    for pose in window {
        let before = *pose;
        *pose = JOINT_MIRROR.map(|joint| before[joint] * Vec3::new(-1.0, 1.0, 1.0));
    }
}

/// Gives a window, whose bones are of any length, those of a pose: from here on it is in metres.
fn give_bones(window: &mut JointSamples, body_m: &[Vec3; JOINTS]) {
    for pose in window {
        let drawn = *pose;
        pose[0] = Vec3::ZERO;
        for joint in 1..JOINTS {
            let parent = PARENTS[joint];
            let bone = (drawn[joint] - drawn[parent]).normalize_or_zero();
            let length = (body_m[joint] - body_m[parent]).length();
            pose[joint] = pose[parent] + length * bone;
        }
    }
}

/// The way of the pelvis: an ankle that stands stays where it is on the ground, the lower one stands on it. The body's
/// long axis, y, counts as up, which holds for people who are upright over the window.
fn way_of(window_m: &JointSamples) -> [Vec3; MOTION_SAMPLES] {
    let mut way_m = [Vec3::ZERO; MOTION_SAMPLES];
    let mut before = 0;
    for at in 0..MOTION_SAMPLES {
        let feet = ANKLES.map(|joint| window_m[at][joint]);
        let lower = usize::from(feet[1].y < feet[0].y);
        let mut foot = lower;
        // Both near the ground: the foot that stood goes on standing.
        if at > 0 && lower != before && feet[1 - lower].y - feet[lower].y < STANDS_M {
            foot = before;
        }
        if at > 0 {
            way_m[at] = way_m[at - 1] - (feet[foot] - window_m[at - 1][ANKLES[foot]]);
        }
        before = foot;
    }
    for (way_m, pose) in way_m.iter_mut().zip(window_m) {
        way_m.y = -pose[ANKLES[0]].y.min(pose[ANKLES[1]].y);
    }
    way_m
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::observation::tests::observation;
    use crate::adapt::sem::tests::meaning;
    use crate::base::clock::MonoNs;
    use crate::lift::head::HIDDEN;

    /// A person who stands a little to the side, both ankles hidden, said to walk.
    fn clip(meaning: &Meaning, aside_m: f32) -> Clip {
        let standing = observation(MonoNs(1), 1).joints_camera_m;
        let mut visibilities = [0.8; KEYPOINTS];
        (visibilities[15], visibilities[16]) = (0.0, 0.0);
        Clip {
            shown: [ClipSample {
                joints_camera_m: standing.map(|joint| joint + Vec3::new(aside_m, 0.1, 1.0)),
                visibilities,
            }; CLIP_SAMPLES],
            image_part: [0.0; HIDDEN],
            label: meaning.dictionary.position("walk"),
        }
    }

    #[test]
    fn a_drawn_motion_has_the_sites_box_bones_and_gaps_and_moves() {
        let meaning = meaning();
        let mut draws = Draws::new(meaning.clone());
        let mut rng = fastrand::Rng::with_seed(3);
        for aside_m in [0.0, -1.0, 3.0] {
            let clip = clip(&meaning, aside_m);
            assert!(draws.knows(&clip));
            let site = &clip.shown[0];
            let seen = std::array::from_fn(|k| k >= FACE && site.visibilities[k] > 0.0);
            let facing = Place::of(&site.joints_camera_m, &seen, None).unwrap();
            let facing = rotation_facing(facing.middle);
            let of = |joints_m: &[Vec3; JOINTS]| Place::of(joints_m, &seen, Some(&facing)).unwrap();
            let wanted = of(&site.joints_camera_m);
            let (mut placed, mut speed) = (0, 0.0);
            for _ in 0..50 {
                let Some(poses) = draws.draw(&clip, Vec3::NEG_Y, &mut rng) else {
                    continue;
                };
                placed += 1;
                let newest = &poses[LIFT_SAMPLES - 1];
                let hidden = |of: &ClipSample| of.visibilities.map(|visibility| visibility <= 0.0);
                assert_eq!(hidden(newest), hidden(site));
                let at = of(&newest.joints_camera_m);
                assert!(
                    at.middle.distance(wanted.middle) < 0.01 * wanted.size,
                    "{at:?}"
                );
                assert!(
                    (at.size / wanted.size - 1.0).abs() < 0.01,
                    "{at:?} {wanted:?}"
                );
                for pose in poses {
                    for joint in 1..JOINTS {
                        let bone = |m: &[Vec3; JOINTS]| m[joint].distance(m[PARENTS[joint]]);
                        let apart = bone(&pose.joints_camera_m) - bone(&site.joints_camera_m);
                        assert!(apart.abs() < 1e-4, "{joint}: {apart}");
                    }
                }
                let ankle = |at: usize| poses[at].joints_camera_m[3];
                speed += ankle(LIFT_SAMPLES - 1).distance(ankle(0));
                // Upright as the person who lent the lean.
                assert!(newest.joints_camera_m[8].y < newest.joints_camera_m[0].y - 0.3);
            }
            assert!(placed >= 45, "{placed} at {aside_m}");
            assert!(speed / 50.0 > 0.1, "walkers get somewhere: {speed}");
        }
    }

    #[test]
    fn without_a_label_with_motion_or_with_too_little_in_view_nothing_is_drawn() {
        let meaning = meaning();
        let mut draws = Draws::new(meaning.clone());
        let mut rng = fastrand::Rng::with_seed(3);
        let mut unlabelled = clip(&meaning, 0.0);
        unlabelled.label = None;
        assert!(!draws.knows(&unlabelled));
        assert!(draws.draw(&unlabelled, Vec3::NEG_Y, &mut rng).is_none());
        let mut hidden = clip(&meaning, 0.0);
        for shown in &mut hidden.shown {
            shown.visibilities[FACE + 3..].fill(0.0);
        }
        assert!(draws.draw(&hidden, Vec3::NEG_Y, &mut rng).is_none());
    }

    #[test]
    fn the_foot_that_stands_stays_where_it_is() {
        let mut window = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
        // Around the pelvis the right foot, which is lower, goes back: the person goes forward.
        for (at, pose) in window.iter_mut().enumerate() {
            let back = 0.01 * f32::from(u8::try_from(at).unwrap());
            pose[3] = Vec3::new(0.0, -0.9, -back);
            pose[6] = Vec3::new(0.0, -0.7, back);
        }
        let way_m = way_of(&window);
        for (pose, way_m) in window.iter().zip(&way_m) {
            let foot = pose[3] + *way_m;
            assert!(foot.distance(Vec3::ZERO) < 1e-4, "{foot}");
        }
    }
}
