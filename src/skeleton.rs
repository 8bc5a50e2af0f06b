//! The two skeletons: COCO-17 keypoints in the image, Human3.6M-17 joints in space.
//!
//! What comes in from a 2D network is always COCO order ([`KEYPOINT_NAMES`]), what goes out on
//! the wire is always Human3.6M order ([`JOINT_NAMES`]). Twelve limb joints exist in both.

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
