//! The two skeletons: COCO-17 keypoints in the image, Human3.6M-17 joints in space.
//!
//! Input from a 2D network is always in COCO order ([`KEYPOINT_NAMES`]), output on
//! the wire is always in Human3.6M order ([`JOINT_NAMES`]). Twelve limb joints exist in both.

use glam::Vec3;

/// Joints of the 3D skeleton (Human3.6M order).
pub const JOINTS: usize = 17;

/// Keypoints of the 2D skeleton (COCO order).
pub const KEYPOINTS: usize = 17;

/// Names of the 3D joints in the order of every `[_; JOINTS]` array and of the wire.
pub const JOINT_NAMES: [&str; JOINTS] = [
    "pelvis",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "spine",
    "thorax",
    "neck",
    "head",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
];

/// Names of the 2D keypoints in the order of every `[_; KEYPOINTS]` array and of the wire.
pub const KEYPOINT_NAMES: [&str; KEYPOINTS] = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
];

/// Median distance from the base of the skull (joint 9) to the middle of the
/// head (joint 10) in the motion the networks are trained on (CMU, MHAD, ACCAD), metres.
const HEAD_M: f32 = 0.097;

/// Parent of each 3D joint; the pelvis (0) is its own parent.
pub const PARENTS: [usize; JOINTS] = [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15];

/// The COCO keypoint that sees a 3D joint, where there is one: `(joint, keypoint)`.
pub const SHARED: [(usize, usize); 12] = [
    (1, 12),
    (2, 14),
    (3, 16),
    (4, 11),
    (5, 13),
    (6, 15),
    (11, 5),
    (12, 7),
    (13, 9),
    (14, 6),
    (15, 8),
    (16, 10),
];

/// Left/right counterpart of each 3D joint.
pub const JOINT_MIRROR: [usize; JOINTS] =
    [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13];

/// Left/right counterpart of each COCO keypoint.
pub const KEYPOINT_MIRROR: [usize; KEYPOINTS] =
    [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15];

/// Lines between COCO keypoints, for drawing and for limb lengths in the image.
pub const KEYPOINT_EDGES: [(usize, usize); 16] = [
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (5, 6),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 11),
    (6, 12),
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
];

/// The COCO keypoint that sees `joint`, or `None` for spine, thorax, neck, head and pelvis.
pub const fn keypoint_of(joint: usize) -> Option<usize> {
    let mut i = 0;
    while i < SHARED.len() {
        if SHARED[i].0 == joint {
            return Some(SHARED[i].1);
        }
        i += 1;
    }
    None
}

/// COCO keypoints of a pose in the camera frame, metres, and whether the head
/// itself hides them. Face points from the head's joints: up along the head,
/// left along the shoulders, forward across both.
pub fn keypoints_of(joints: &[Vec3; JOINTS]) -> ([Vec3; KEYPOINTS], [bool; KEYPOINTS]) {
    let mut points = [Vec3::ZERO; KEYPOINTS];
    for (joint, keypoint) in SHARED {
        points[keypoint] = joints[joint];
    }
    let neck_to_head = joints[10] - joints[9];
    let up = neck_to_head.normalize_or(Vec3::NEG_Y);
    let size = (neck_to_head.length() / HEAD_M).clamp(0.8, 1.25);
    let left = joints[11] - joints[14];
    let left = (left - left.dot(up) * up).normalize_or(Vec3::X);
    let forward = left.cross(up);
    let at = |f: f32, u: f32, l: f32| joints[10] + size * (f * forward + u * up + l * left);
    points[0] = at(0.115, -0.025, 0.0);
    points[1] = at(0.09, 0.012, 0.032);
    points[2] = at(0.09, 0.012, -0.032);
    points[3] = at(0.0, -0.01, 0.075);
    points[4] = at(0.0, -0.01, -0.075);
    let to_camera = -joints[10].normalize_or(Vec3::Z);
    let faces = |direction: Vec3, least: f32| direction.dot(to_camera) >= least;
    let mut turned_away = [false; KEYPOINTS];
    turned_away[0] = !faces(forward, -0.1);
    turned_away[1] = !faces(0.6 * forward + 0.8 * left, 0.0);
    turned_away[2] = !faces(0.6 * forward - 0.8 * left, 0.0);
    turned_away[3] = !faces(left, -0.3);
    turned_away[4] = !faces(-left, -0.3);
    (points, turned_away)
}

const _: () = {
    let mut j = 0;
    while j < JOINTS {
        assert!(
            PARENTS[j] <= j,
            "a parent stands before its child, so one pass is enough"
        );
        assert!(
            JOINT_MIRROR[JOINT_MIRROR[j]] == j,
            "mirroring twice is nothing"
        );
        assert!(
            KEYPOINT_MIRROR[KEYPOINT_MIRROR[j]] == j,
            "mirroring twice is nothing"
        );
        j += 1;
    }
};
