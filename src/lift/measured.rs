//! Which joints of the 3D skeleton the camera sees, from the keypoints it sees.

use super::window::RaySample;
use crate::skeleton::{JOINTS, keypoint_of};

const FACE: [usize; 5] = [0, 1, 2, 3, 4];
const SHOULDERS: [usize; 2] = [5, 6];
const HIPS: [usize; 2] = [11, 12];

/// Which joints are measured.
///
/// A limb joint is where its own keypoint is. Of the others: the pelvis where
/// both hips are, the thorax where both shoulders are, the spine between them
/// where all four are, neck and head where both shoulders and any point of the
/// face are.
pub fn measured_joints(keypoints: &RaySample) -> [bool; JOINTS] {
    let seen = |keypoint: usize| keypoints[keypoint].is_present();
    let hips = HIPS.into_iter().all(seen);
    let shoulders = SHOULDERS.into_iter().all(seen);
    let face = FACE.into_iter().any(seen);
    std::array::from_fn(|joint| match keypoint_of(joint) {
        Some(keypoint) => seen(keypoint),
        None => match joint {
            0 => hips,
            7 => hips && shoulders,
            8 => shoulders,
            _ => shoulders && face,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::window::RayKeypoint;
    use crate::skeleton::{JOINT_NAMES, KEYPOINTS};

    fn names(seen: &[usize]) -> Vec<&'static str> {
        let mut keypoints = [RayKeypoint::default(); KEYPOINTS];
        for &keypoint in seen {
            keypoints[keypoint].visibility = 0.5;
        }
        let measured = measured_joints(&keypoints);
        (0..JOINTS)
            .filter(|&joint| measured[joint])
            .map(|joint| JOINT_NAMES[joint])
            .collect()
    }

    #[test]
    fn a_person_behind_a_table_has_no_legs_pelvis_or_spine() {
        let seen: Vec<usize> = (0..11).collect();
        assert_eq!(
            names(&seen),
            [
                "thorax",
                "neck",
                "head",
                "left_shoulder",
                "left_elbow",
                "left_wrist",
                "right_shoulder",
                "right_elbow",
                "right_wrist"
            ]
        );
    }

    #[test]
    fn joints_between_keypoints_need_all_of_them() {
        assert_eq!(names(&(0..17).collect::<Vec<_>>()).len(), JOINTS);
        assert_eq!(names(&[11, 12]), ["pelvis", "right_hip", "left_hip"]);
        assert_eq!(names(&[5, 11, 12, 0]).len(), 4);
        assert!(names(&[0, 5]).iter().all(|name| *name != "head"));
    }
}
