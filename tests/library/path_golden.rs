//! From keypoints to the bytes of messages: tracker, lifter, refinement and completion, with the networks that ship.
//!
//! `POISED_BLESS=1 cargo test --test library path_golden::` rewrites the golden files: a change of them is a change of
//! what users get, and is to be seen in the diff of a commit.

use std::f64::consts::TAU;
use std::path::Path;

use glam::{DVec3, Vec3};
use minicbor::Decoder;
use poised::base::clock::Clock;
use poised::base::limits::MESSAGE_BYTES_MAX;
use poised::counters::Counters;
use poised::engine::select::Choice;
use poised::estimate::{EstimateConfig, Poser};
use poised::lab::eval::motion::Motion;
use poised::lab::eval::scenario::{Hide, Scenario};
use poised::lab::eval::simulate::{Stream, stream};
use poised::motion::angles::figure::{Posture, joints};
use poised::output::read::{PoseMessage, decode};
use poised::output::wire::{Buffer, CLOCK_RECORDING, Stamp, encode};
use poised::pose::{JointState, PersonPose, PoseSample};

use crate::common::samples::person;

/// Frames of the stream, 30 a second.
const FRAMES: u32 = 135;

/// Of so many messages one is kept.
const KEPT: usize = 5;

/// How far lengths may be from those stored, metres.
struct Near {
    /// Each length.
    each_m: f32,
    /// All joints on the mean.
    mean_m: f32,
}

/// Other processors round otherwise, and refinement, whose steps are as long for a small gradient as for a large one,
/// makes more of that: between one with AVX2 and one with AVX-512 joints differ by up to 13 mm, by 4 on the mean.
const REFINED: Near = Near {
    each_m: 0.025,
    mean_m: 0.008,
};

/// Without it nothing makes more of that.
const UNREFINED: Near = Near {
    each_m: 0.002,
    mean_m: 0.000_5,
};

/// The same of pixels, and of probabilities and the like.
const NEAR_PX: f32 = 0.01;
const NEAR: f32 = 0.01;

/// A person who squats.
fn squats() -> Motion {
    let joints_world_m = (0..FRAMES)
        .map(|frame| {
            let way = 0.5 * (1.0 - (TAU * f64::from(frame) / 75.0).cos());
            let at = joints(&Posture {
                knee_flexion: [6.0 + 100.0 * way; 2],
                hip_flexion: [4.0 + 110.0 * way; 2],
                trunk_flexion: 35.0 * way,
                shoulder_flexion: [6.0 + 70.0 * way; 2],
                elbow_flexion: [14.0; 2],
                ..Posture::default()
            });
            let up = DVec3::new(0.0, 0.09 - at[3].y.min(at[6].y), 0.0);
            at.map(|joint| (joint + up).as_vec3())
        })
        .collect();
    Motion {
        id: "squats".to_owned(),
        subject: "figure".to_owned(),
        rate_hz: 30.0,
        actions: vec!["squat".to_owned()],
        joints_world_m,
    }
}

/// Keypoints of it, with errors and gaps; in the third and fourth second furniture hides the legs.
fn keypoints() -> Stream {
    let legs = ["left_knee", "right_knee", "left_ankle", "right_ankle"];
    let scenario = Scenario {
        name: "path".to_owned(),
        hide: vec![Hide {
            keypoints: legs.map(str::to_owned).to_vec(),
            region: None,
            every_s: 4.0,
            for_s: 2.0,
            below_hips: false,
        }],
        ..Scenario::default()
    };
    stream(&scenario, "a room", &[&squats()], 1).unwrap()
}

/// The messages that the daemon makes of them.
fn messages(refine: bool) -> Vec<Vec<u8>> {
    let mut config = EstimateConfig::default();
    config.lift.refine = refine;
    config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
    config.inference.engine = Choice::Tract;
    let mut poser = Poser::open(&config).unwrap();
    let seen = keypoints();
    let (width_px, height_px) = seen.calibration.size_px();
    let (timer, counters) = (Clock::live(), Counters::default());
    let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
    let mut sample = PoseSample::default();
    let mut messages = Vec::new();
    for (frame, moment) in (0_u32..).zip(&seen.moments) {
        let recorded = PoseSample {
            frame_sequence: frame,
            capture: moment.time,
            width_px,
            height_px,
            people: moment
                .seen
                .iter()
                .map(|seen| PersonPose {
                    score: seen.score,
                    bounds: seen.bounds,
                    keypoints: seen.keypoints,
                    ..person(1, 0.0)
                })
                .collect(),
            ..PoseSample::default()
        };
        let camera = &seen.calibration;
        poser.replay(&recorded, camera, &timer, &counters, &mut sample);
        let stamp = Stamp {
            sequence: frame.into(),
            camera: "front",
            clock: CLOCK_RECORDING,
            publish: moment.time,
            unix_offset_ns: 0,
        };
        let length = encode(&stamp, &sample, &mut buffer).unwrap();
        messages.push(buffer[..length].to_vec());
    }
    messages
}

/// Messages one behind the other, as a CBOR sequence has them.
fn split(mut bytes: &[u8]) -> Vec<PoseMessage> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let mut cbor = Decoder::new(bytes);
        cbor.skip().unwrap();
        let (one, rest) = bytes.split_at(cbor.position());
        messages.push(decode(one).unwrap());
        bytes = rest;
    }
    messages
}

/// Takes the stored number where the other one is as good.
fn round(got: &mut f32, stored: f32, near: f32) {
    if (*got - stored).abs() <= near {
        *got = stored;
    }
}

fn round_place(got: &mut Vec3, stored: Vec3, near: f32) {
    if got.distance(stored) <= near {
        *got = stored;
    }
}

/// Takes stored numbers where those of a person are as good.
fn rounded(person: &mut PersonPose, stored: &PersonPose, near_m: f32) {
    round(&mut person.score, stored.score, NEAR);
    let (box_px, at) = (&mut person.bounds, &stored.bounds);
    for (edge, at) in [
        (&mut box_px.left, at.left),
        (&mut box_px.top, at.top),
        (&mut box_px.right, at.right),
        (&mut box_px.bottom, at.bottom),
    ] {
        round(edge, at, NEAR_PX);
    }
    round_place(&mut person.root_camera_m, stored.root_camera_m, near_m);
    round(&mut person.root_sigma_m, stored.root_sigma_m, near_m);
    for (joint, at) in person
        .joints_camera_m
        .iter_mut()
        .zip(stored.joints_camera_m)
    {
        round_place(joint, at, near_m);
    }
    for (sigma, at) in person.sigmas_m.iter_mut().zip(stored.sigmas_m) {
        round(sigma, at, near_m);
    }
    for (keypoint, at) in person.keypoints.iter_mut().zip(stored.keypoints) {
        round(&mut keypoint.x_px, at.x_px, NEAR_PX);
        round(&mut keypoint.y_px, at.y_px, NEAR_PX);
        round(&mut keypoint.visibility, at.visibility, NEAR);
        round(&mut keypoint.confidence, at.confidence, NEAR);
    }
    round(&mut person.size.factor, stored.size.factor, NEAR);
    round(&mut person.size.sigma, stored.size.sigma, NEAR);
    if let (Some(action), Some(stored)) = (&mut person.action, &stored.action) {
        round(&mut action.probability, stored.probability, NEAR);
    }
}

#[test]
fn the_same_keypoints_give_the_stored_messages() {
    compare(messages(true), "path.cbor", &REFINED);
}

#[test]
fn without_refinement_they_are_the_stored_ones_to_two_millimetres() {
    compare(messages(false), "path_unrefined.cbor", &UNREFINED);
}

/// Compares messages with a golden file.
fn compare(messages: Vec<Vec<u8>>, golden: &str, near: &Near) {
    let bytes: Vec<u8> = messages.into_iter().step_by(KEPT).flatten().collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(golden);
    if std::env::var_os("POISED_BLESS").is_some() {
        std::fs::write(&path, &bytes).unwrap();
    }
    let stored = split(&std::fs::read(&path).unwrap());
    let mut messages = split(&bytes);
    assert_eq!(messages.len(), stored.len());
    let people = || stored.iter().flat_map(|message| &message.sample.people);
    let states = || people().flat_map(|person| person.states);
    assert!(people().count() > 20, "{} people", people().count());
    for state in [JointState::Measured, JointState::Completed] {
        assert!(states().any(|other| other == state), "{state:?}");
    }
    let (mut apart_m, mut joints) = (0.0, 0.0);
    for (message, stored) in messages.iter_mut().zip(&stored) {
        let people = message.sample.people.iter_mut();
        for (person, stored) in people.zip(&stored.sample.people) {
            for (joint, at) in person.joints_camera_m.iter().zip(stored.joints_camera_m) {
                apart_m += joint.distance(at);
                joints += 1.0;
            }
            rounded(person, stored, near.each_m);
        }
        assert_eq!(message, stored, "message {}", stored.sequence);
    }
    assert!(
        apart_m / joints <= near.mean_m,
        "{} m on the mean",
        apart_m / joints
    );
}
