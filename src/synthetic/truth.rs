//! What is true of a synthetic frame: where every joint is and what hides it.

use glam::Vec3;
use heapless::Vec;

use super::body::Stance;
use super::render::{Actor, Canvas};
use crate::base::limits::PEOPLE_MAX;
use crate::pose::BoxPx;
use crate::skeleton::{JOINTS, KEYPOINTS};

/// Whether a point can be seen, and if not, what is in the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// It can be seen.
    #[default]
    Seen,
    /// Outside the image or behind the camera.
    Border,
    /// Furniture is before it.
    Furniture,
    /// Another person is before it.
    Person,
    /// It is clearly behind the person's own body.
    Own,
}

impl Visibility {
    /// Whether anything hides the point.
    pub const fn is_hidden(self) -> bool {
        !matches!(self, Self::Seen)
    }
}

/// A person's joints at a time, without what hides them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FigurePose {
    /// Human3.6M joints in the camera's optical frame, metres.
    pub joints_camera_m: [Vec3; JOINTS],
    /// COCO keypoints in the camera's optical frame, metres.
    pub keypoints_camera_m: [Vec3; KEYPOINTS],
    /// What the person is doing.
    pub action: &'static str,
}

/// What is true of one person in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonTruth {
    /// Joints, keypoints and action.
    pub pose: FigurePose,
    /// COCO keypoints in pixels; may lie outside the image.
    pub keypoints_px: [[f32; 2]; KEYPOINTS],
    /// Human3.6M joints in pixels; may lie outside the image.
    pub joints_px: [[f32; 2]; JOINTS],
    /// What hides each joint.
    pub joint_visibility: [Visibility; JOINTS],
    /// What hides each keypoint.
    pub keypoint_visibility: [Visibility; KEYPOINTS],
    /// The whole person, hidden parts included, not cut at the image's border.
    pub outline: BoxPx,
}

/// What is true of a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SceneTruth {
    /// The people, in a fixed order.
    pub people: Vec<PersonTruth, PEOPLE_MAX>,
}

/// How deep a joint lies below the skin at most, metres at median stature: what
/// is farther in front of it than this hides it.
const JOINT_DEPTH_M: [f32; JOINTS] = [
    0.20, 0.19, 0.12, 0.10, 0.19, 0.12, 0.10, 0.22, 0.22, 0.15, 0.17, 0.13, 0.10, 0.08, 0.13, 0.10,
    0.08,
];

/// The same for keypoints of the face, which lie on the skin.
const FACE_DEPTH_M: f32 = 0.045;

/// How far beside its middle a joint is looked at, metres.
const TAP_M: f32 = 0.018;

/// How much nearer than the joint another surface must be to hide it, metres.
const OTHER_M: f32 = 0.03;

/// Joints, keypoints and action of a stance, in the camera's frame.
pub fn pose_of(
    actor: &Actor,
    stance: &Stance,
    canvas: &Canvas,
    action: &'static str,
) -> FigurePose {
    let optics = canvas.optics();
    FigurePose {
        joints_camera_m: stance.joints.map(|joint| optics.to_camera(joint)),
        keypoints_camera_m: stance
            .keypoints(&actor.figure().lengths)
            .map(|keypoint| optics.to_camera(keypoint)),
        action,
    }
}

/// Looks at a covered canvas for each joint of a person.
pub fn person_truth(
    person: usize,
    actor: &Actor,
    canvas: &Canvas,
    pose: &FigurePose,
) -> PersonTruth {
    let optics = canvas.optics();
    let scale = actor.figure().lengths.scale;
    let [left, top, right, bottom] = actor.outline();
    let joint_visibility = core::array::from_fn(|joint| {
        visibility(
            canvas,
            person,
            pose.joints_camera_m[joint],
            JOINT_DEPTH_M[joint] * scale,
        )
    });
    let keypoint_visibility = core::array::from_fn(|keypoint| {
        let depth = crate::skeleton::SHARED
            .iter()
            .find(|(_, shared)| *shared == keypoint)
            .map_or(FACE_DEPTH_M, |(joint, _)| JOINT_DEPTH_M[*joint]);
        visibility(
            canvas,
            person,
            pose.keypoints_camera_m[keypoint],
            depth * scale,
        )
    });
    PersonTruth {
        keypoints_px: pose.keypoints_camera_m.map(|point| optics.pixel(point)),
        joints_px: pose.joints_camera_m.map(|point| optics.pixel(point)),
        pose: *pose,
        joint_visibility,
        keypoint_visibility,
        outline: BoxPx {
            left,
            top,
            right,
            bottom,
        },
    }
}

/// What hides a point: the most frequent answer of five places around it.
fn visibility(canvas: &Canvas, person: usize, point: Vec3, depth_m: f32) -> Visibility {
    if point.z < 0.1 {
        return Visibility::Border;
    }
    let optics = canvas.optics();
    let [x, y] = optics.pixel(point);
    let tap = (TAP_M * optics.intrinsics.fx / point.z).max(0.5);
    if canvas.front(x, y).is_none() {
        return Visibility::Border;
    }
    let mut votes = [0_u8; 3];
    for (dx, dy) in [(0.0, 0.0), (-tap, 0.0), (tap, 0.0), (0.0, -tap), (0.0, tap)] {
        let Some((front, owner)) = canvas.front(x + dx, y + dy) else {
            continue;
        };
        let before = point.z - front;
        match owner {
            None if before > OTHER_M => votes[0] += 1,
            Some(other) if other != person && before > OTHER_M => votes[1] += 1,
            Some(other) if other == person && before > depth_m => votes[2] += 1,
            _ => {}
        }
    }
    if votes.iter().sum::<u8>() < 3 {
        return Visibility::Seen;
    }
    if votes[0] >= votes[1] && votes[0] >= votes[2] {
        Visibility::Furniture
    } else if votes[1] >= votes[2] {
        Visibility::Person
    } else {
        Visibility::Own
    }
}
