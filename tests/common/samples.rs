//! Poses for tests of the message: one fixed, and any.

use glam::Vec3;
use poised::base::clock::MonoNs;
use poised::output::wire::{CLOCK_MONOTONIC, Stamp};
use poised::pose::{
    Action, ActionSource, BoxPx, HeadTag, JointState, Keypoint, PersonPose, PoseSample, Size,
    SizeSource,
};
use poised::skeleton::{JOINTS, KEYPOINTS};

/// The stamp of [`two_people`].
pub const STAMP: Stamp<'static> = Stamp {
    sequence: 41,
    camera: "front",
    clock: CLOCK_MONOTONIC,
    publish: MonoNs(5_000_020_500_000),
    unix_offset_ns: 1_790_000_000_000_000_000,
};

/// Two people whose every number can be told from the others: the first with an
/// action and hidden legs, the second with the spine completed by an adapted head.
pub fn two_people() -> PoseSample {
    let mut first = person(7, 0.0);
    for joint in [2, 3, 5, 6] {
        first.states[joint] = JointState::Absent;
        first.joints_camera_m[joint] = Vec3::ZERO;
        first.sigmas_m[joint] = 0.0;
    }
    first.action = Some(Action {
        label: "raises the left arm".try_into().unwrap(),
        probability: 0.875,
        source: ActionSource::Dictionary,
    });
    let mut second = person(12, 1.5);
    second.states[7] = JointState::Completed;
    second.head = HeadTag {
        generation: 3,
        adapted: true,
    };
    PoseSample {
        frame_sequence: 1234,
        capture: MonoNs(5_000_000_000_000),
        width_px: 640,
        height_px: 480,
        people: heapless::Vec::from_slice(&[first, second]).unwrap(),
        ..PoseSample::default()
    }
}

/// A person, all joints measured, in numbers that 32 bits hold exactly.
#[expect(clippy::cast_precision_loss, reason = "indices are below 17")]
pub fn person(id: u32, right_m: f32) -> PersonPose {
    let root_camera_m = Vec3::new(right_m, 0.25, 3.0);
    PersonPose {
        id,
        score: 0.9375,
        bounds: BoxPx {
            left: 100.0,
            top: 50.5,
            right: 260.25,
            bottom: 430.0,
        },
        root_camera_m,
        root_sigma_m: 0.0625,
        joints_camera_m: std::array::from_fn(|j| {
            root_camera_m + Vec3::new(0.0625, -0.125, 0.03125) * j as f32
        }),
        sigmas_m: std::array::from_fn(|j| 0.015_625 + j as f32 / 1024.0),
        states: [JointState::Measured; JOINTS],
        keypoints: std::array::from_fn::<_, KEYPOINTS, _>(|k| Keypoint {
            x_px: 110.5 + 8.0 * k as f32,
            y_px: 60.25 + 16.0 * k as f32,
            visibility: 1.0 - k as f32 / 64.0,
            confidence: 1.0 - k as f32 / 32.0,
        }),
        size: Size {
            factor: 1.0625,
            sigma: 0.09375,
            source: SizeSource::Floor,
        },
        action: None,
        head: HeadTag::default(),
    }
}

/// A person whose knees are bent by so much on both sides, radians.
pub fn bent(id: u32, knees: f32) -> PersonPose {
    let mut person = person(id, 0.0);
    person.states = [JointState::Measured; JOINTS];
    person.sigmas_m = [0.01; JOINTS];
    for (side, [hip, knee, ankle]) in [(-1.0, [1, 2, 3]), (1.0, [4, 5, 6])] {
        let at = Vec3::new(0.13 * side, 0.0, 3.0);
        person.joints_camera_m[hip] = at;
        person.joints_camera_m[knee] = at + 0.43 * Vec3::Y;
        let shank = 0.42 * Vec3::new(0.0, knees.cos(), knees.sin());
        person.joints_camera_m[ankle] = person.joints_camera_m[knee] + shank;
    }
    person
}

/// How much the knees are bent in a frame of 30 a second, radians: a second of rest, then squats of three seconds each
/// to 100 degrees.
#[expect(clippy::cast_precision_loss, reason = "frames of minutes")]
pub fn squatting(frame: u32) -> f32 {
    let turn = std::f32::consts::TAU * frame.saturating_sub(30) as f32 / 90.0;
    0.87 * (1.0 - turn.cos())
}
