//! Values passed between the stages: keypoints and poses of a frame. Fixed size, no allocation.

pub mod similarity;

use glam::Vec3;
use heapless::{String, Vec};

use crate::base::clock::MonoNs;
use crate::base::limits::{ACTION_BYTES_MAX, IMAGE_FEATURES, PEOPLE_MAX};
use crate::skeleton::{JOINTS, KEYPOINTS};

/// Keypoints below this visibility are taken as not seen, everywhere: by the
/// tracker, by the lifter's input and by its training.
pub const VISIBILITY_GATE: f32 = 0.2;

/// One 2D keypoint in image pixels (pixel centres at whole numbers), and how sure the network is of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Keypoint {
    /// Column, pixels.
    pub x_px: f32,
    /// Row, pixels.
    pub y_px: f32,
    /// Chance that the camera sees it, 0 to 1. A hidden keypoint has a place too: where the network takes it to be.
    pub visibility: f32,
    /// Chance that it lies within 0.2 torso lengths of the truth, seen or hidden, 0 to 1.
    pub confidence: f32,
}

impl Keypoint {
    /// A keypoint of a network that gives one score, which then is the visibility and the confidence.
    pub const fn new(x_px: f32, y_px: f32, score: f32) -> Self {
        Self {
            x_px,
            y_px,
            visibility: score,
            confidence: score,
        }
    }

    /// Whether it counts as seen: at or above the gate, and a place that is finite.
    pub fn is_seen(&self) -> bool {
        self.visibility >= VISIBILITY_GATE && self.x_px.is_finite() && self.y_px.is_finite()
    }
}

/// A box in image pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BoxPx {
    /// Left edge.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Right edge.
    pub right: f32,
    /// Bottom edge.
    pub bottom: f32,
}

impl BoxPx {
    /// Width in pixels, never negative.
    pub fn width(&self) -> f32 {
        (self.right - self.left).max(0.0)
    }

    /// Height in pixels, never negative.
    pub fn height(&self) -> f32 {
        (self.bottom - self.top).max(0.0)
    }

    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Centre `(x, y)`.
    pub fn centre(&self) -> (f32, f32) {
        (
            0.5 * (self.left + self.right),
            0.5 * (self.top + self.bottom),
        )
    }

    /// Intersection over union with another box, 0 where they do not meet.
    pub fn iou(&self, other: &Self) -> f32 {
        let meet = Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
        .area();
        let union = self.area() + other.area() - meet;
        if union > 0.0 { meet / union } else { 0.0 }
    }

    /// The smallest box around the keypoints whose visibility is at least `gate`,
    /// or `None` if fewer than two are.
    pub fn around(keypoints: &[Keypoint; KEYPOINTS], gate: f32) -> Option<Self> {
        let mut found = 0;
        let mut bounds = Self {
            left: f32::INFINITY,
            top: f32::INFINITY,
            right: f32::NEG_INFINITY,
            bottom: f32::NEG_INFINITY,
        };
        for keypoint in keypoints.iter().filter(|k| k.visibility >= gate) {
            found += 1;
            bounds.left = bounds.left.min(keypoint.x_px);
            bounds.top = bounds.top.min(keypoint.y_px);
            bounds.right = bounds.right.max(keypoint.x_px);
            bounds.bottom = bounds.bottom.max(keypoint.y_px);
        }
        (found >= 2).then_some(bounds)
    }
}

/// One person as the 2D networks see them.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Chance that this is a person, 0 to 1.
    pub score: f32,
    /// Where the person is.
    pub bounds: BoxPx,
    /// COCO keypoints.
    pub keypoints: [Keypoint; KEYPOINTS],
    /// Image features, where the network gives them.
    pub features: Option<[f32; IMAGE_FEATURES]>,
}

/// The people of one frame.
pub type People = Vec<Detection, PEOPLE_MAX>;

/// How a joint is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum JointState {
    /// Nothing is known; position and sigma mean nothing.
    #[default]
    Absent = 0,
    /// The camera sees it now.
    Measured = 1,
    /// The camera does not see it; the position is inferred.
    Completed = 2,
}

/// Who named the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ActionSource {
    /// The motion-text dictionary.
    Dictionary = 0,
    /// A hint from outside.
    Hint = 1,
}

/// What the person is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The phrase.
    pub label: String<ACTION_BYTES_MAX>,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// Who named it.
    pub source: ActionSource,
}

/// Which final layers made a pose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadTag {
    /// Counts the heads handed to the estimator; 0 is the factory head.
    pub generation: u32,
    /// Whether the head was changed on the device.
    pub adapted: bool,
}

/// What says how large a person is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SizeSource {
    /// The lifter's guess from the shape of the body alone.
    #[default]
    Guess = 0,
    /// The feet on a floor that the camera is known to hang over.
    Floor = 1,
}

/// How large a person is, against the lifter's guess.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// What the guess was multiplied by; joints and root already are.
    pub factor: f32,
    /// Relative standard deviation of the size: all lengths and the distance are as uncertain.
    pub sigma: f32,
    /// Where the name comes from.
    pub source: SizeSource,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            factor: 1.0,
            sigma: GUESS_SIGMA,
            source: SizeSource::Guess,
        }
    }
}

/// Standard deviation of the guessed size of a body, relative: who is 10 % taller
/// than the lifter thinks is as much farther away, and rays alone cannot tell.
/// Adults differ by 7 %, children by more, and the lifter errs: chosen on the validation people of the accuracy
/// table, where 87 % of distances lie within 1.645 of their sigmas (90 % would be right).
pub const GUESS_SIGMA: f32 = 0.15;

/// One person in one frame, in the camera's optical frame (x right, y down,
/// z forward, metres).
#[derive(Clone, Debug, PartialEq)]
pub struct PersonPose {
    /// Stays with the person from frame to frame.
    pub id: u32,
    /// Chance that this is a person, 0 to 1.
    pub score: f32,
    /// Box in the image.
    pub bounds: BoxPx,
    /// The pelvis in the camera frame, metres; means nothing unless the person is placed ([`PersonPose::is_placed`]).
    pub root_camera_m: Vec3,
    /// Standard deviation of the root along the line of sight, metres; as the root.
    pub root_sigma_m: f32,
    /// Joints in the camera frame, metres.
    pub joints_camera_m: [Vec3; JOINTS],
    /// Standard deviation of each joint relative to the root, per axis, metres.
    pub sigmas_m: [f32; JOINTS],
    /// How each joint is known.
    pub states: [JointState; JOINTS],
    /// COCO keypoints in image pixels.
    pub keypoints: [Keypoint; KEYPOINTS],
    /// How large the person is.
    pub size: Size,
    /// What the person is doing, if known.
    pub action: Option<Action>,
    /// Which final layers made the pose.
    pub head: HeadTag,
}

impl PersonPose {
    /// Whether it is known where the person is in space: not of a person of whom too little is seen to be lifted.
    pub fn is_placed(&self) -> bool {
        self.states.iter().any(|state| *state != JointState::Absent)
    }
}

/// All that is published of one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct PoseSample {
    /// Sequence number of the frame, as the camera counts.
    pub frame_sequence: u32,
    /// When the frame was taken.
    pub capture: MonoNs,
    /// Columns of the image.
    pub width_px: u32,
    /// Rows of the image.
    pub height_px: u32,
    /// Against gravity, a unit vector in the camera frame, where the mount of the camera is known. No message holds it.
    pub up_camera: Option<Vec3>,
    /// The people, at most [`PEOPLE_MAX`].
    pub people: Vec<PersonPose, PEOPLE_MAX>,
}

impl Default for PoseSample {
    fn default() -> Self {
        Self {
            frame_sequence: 0,
            capture: MonoNs(0),
            width_px: 0,
            height_px: 0,
            up_camera: None,
            people: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_do_not_meet_share_nothing() {
        let a = BoxPx {
            left: 0.0,
            top: 0.0,
            right: 10.0,
            bottom: 10.0,
        };
        let b = BoxPx {
            left: 20.0,
            right: 30.0,
            ..a
        };
        assert!(a.iou(&b).abs() < f32::EPSILON);
        let half = BoxPx { left: 5.0, ..a };
        assert!((a.iou(&half) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn one_keypoint_makes_no_box() {
        let mut keypoints = [Keypoint::default(); KEYPOINTS];
        keypoints[3] = Keypoint::new(4.0, 5.0, 0.9);
        assert_eq!(BoxPx::around(&keypoints, 0.2), None);
        keypoints[5] = Keypoint::new(8.0, 1.0, 0.2);
        let bounds = BoxPx::around(&keypoints, 0.2).unwrap();
        assert_eq!(bounds.centre(), (6.0, 3.0));
    }
}
