//! The pose message: golden bytes, there and back, everything that must be refused,
//! the schema, and no heap in writing.
//!
//! `POISED_BLESS=1 cargo test --test library wire::` rewrites the golden file.

use std::path::Path;

use crate::common::cddl::{Schema, Value};
use crate::common::heap;
use crate::common::samples::{STAMP, person, two_people};
use glam::Vec3;
use minicbor::Encoder;
use poised::base::clock::MonoNs;
use poised::base::limits::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PEOPLE_MAX};
use poised::motion::angles::{Angle, Angles, angles_of};
use poised::output::read::{PoseMessage, decode};
use poised::output::wire::{
    ANGLE_POSE_BYTES_BOUND, Buffer, CDDL, CLOCK_MONOTONIC, CLOCK_RECORDING, Fault,
    POSE_BYTES_BOUND, Stamp, encode, encode_with,
};
use poised::pose::{
    Action, ActionSource, BoxPx, HeadTag, JointState, Keypoint, PersonPose, PoseSample, Size,
    SizeSource,
};
use poised::skeleton::{JOINTS, KEYPOINTS};
use proptest::prelude::*;

/// Only here is a message changed and written again.
impl Value {
    fn write(&self, cbor: &mut Encoder<&mut Vec<u8>>) {
        let written = match self {
            Self::Uint(number) => cbor.u64(*number),
            Self::Negative(number) => cbor.i64(*number),
            Self::Text(text) => cbor.str(text),
            Self::F32(number) => cbor.f32(*number),
            Self::F64(number) => cbor.f64(*number),
            Self::Bool(flag) => cbor.bool(*flag),
            Self::Null => cbor.null(),
            Self::List(entries) => {
                cbor.array(entries.len() as u64).unwrap();
                for entry in entries {
                    entry.write(cbor);
                }
                Ok(cbor)
            }
            Self::Map(pairs) => {
                cbor.map(pairs.len() as u64).unwrap();
                for (key, value) in pairs {
                    cbor.str(key).unwrap();
                    value.write(cbor);
                }
                Ok(cbor)
            }
        };
        written.unwrap();
    }

    /// The value as bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut Encoder::new(&mut bytes));
        bytes
    }
}

fn encoded(stamp: &Stamp<'_>, sample: &PoseSample) -> Vec<u8> {
    let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
    let length = encode(stamp, sample, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// A person of a message.
fn at_person(message: &mut Value, index: usize) -> &mut Value {
    &mut message.at("persons").entries()[index]
}

/// What reading says of the fixed message after `change`.
fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut message = Value::of(&encoded(&STAMP, &two_people()));
    change(&mut message);
    decode(&message.bytes()).unwrap_err().to_string()
}

#[test]
fn the_bytes_are_those_stored() {
    let bytes = encoded(&STAMP, &two_people());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pose_v1.cbor");
    if std::env::var_os("POISED_BLESS").is_some() {
        std::fs::write(&path, &bytes).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    let differs = bytes
        .iter()
        .zip(&stored)
        .position(|(ours, theirs)| ours != theirs);
    assert!(
        bytes == stored,
        "{} bytes, stored {}; first difference at {differs:?}",
        bytes.len(),
        stored.len()
    );
}

#[test]
fn the_stored_bytes_are_read_as_the_poses_they_were_made_of() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pose_v1.cbor");
    let message = decode(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(message.sample, two_people());
    assert_eq!(message.sequence, 41);
    assert_eq!(message.camera, "front");
    assert_eq!(message.frame_id, "front_optical_frame");
    assert_eq!(message.clock, CLOCK_MONOTONIC);
    assert_eq!(message.publish, MonoNs(5_000_020_500_000));
    assert_eq!(message.capture_unix_ns, 1_790_005_000_000_000_000);
    assert_eq!(message.unix_offset_ns, 1_790_000_000_000_000_000);
    assert!((message.age_ms - 20.5).abs() < 1e-6);
}

#[test]
fn a_message_from_before_visibilities_has_the_confidence_for_both() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pose_v1_before_visibilities.cbor");
    let message = decode(&std::fs::read(path).unwrap()).unwrap();
    let mut sample = two_people();
    for keypoint in sample.people.iter_mut().flat_map(|p| &mut p.keypoints) {
        keypoint.visibility = keypoint.confidence;
    }
    assert_eq!(message.sample, sample);
}

#[test]
fn the_longest_message_is_as_long_as_the_bound_says() {
    let mut longest = person(u32::MAX, 0.5);
    longest.action = Some(Action {
        label: "x".repeat(48).as_str().try_into().unwrap(),
        probability: 1.0,
        source: ActionSource::Dictionary,
    });
    longest.size.source = SizeSource::Guess;
    longest.head = HeadTag {
        generation: u32::MAX,
        adapted: true,
    };
    let mut sample = PoseSample {
        frame_sequence: u32::MAX,
        capture: MonoNs(u64::MAX),
        width_px: u32::MAX,
        height_px: u32::MAX,
        ..PoseSample::default()
    };
    while sample.people.push(longest.clone()).is_ok() {}
    let camera = "c".repeat(NAME_BYTES_MAX);
    let stamp = Stamp {
        sequence: u64::MAX,
        camera: &camera,
        clock: "sixteen bytes ok",
        publish: MonoNs(u64::MAX),
        unix_offset_ns: i64::MIN,
    };
    let bytes = encoded(&stamp, &sample);
    assert_eq!(bytes.len(), POSE_BYTES_BOUND);
    assert_eq!(decode(&bytes).unwrap().sample, sample);
    let known = Angle {
        deg: 1.0,
        sigma_deg: 1.0,
        state: JointState::Measured,
    };
    let bytes = with_angles(&stamp, &sample, &[[known; 15]; PEOPLE_MAX]);
    assert_eq!(bytes.len(), ANGLE_POSE_BYTES_BOUND);
}

fn with_angles(stamp: &Stamp<'_>, sample: &PoseSample, angles: &[Angles]) -> Vec<u8> {
    let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
    let length = encode_with(stamp, sample, angles, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn a_message_with_angles_follows_the_schema_and_is_read_as_one_without() {
    let sample = two_people();
    let mut angles: Vec<Angles> = sample
        .people
        .iter()
        .map(|person| angles_of(person, Some(Vec3::NEG_Y)))
        .collect();
    angles[0][3] = Angle {
        deg: -12.5,
        sigma_deg: 4.0,
        state: JointState::Completed,
    };
    angles[0][4] = Angle::default();
    let bytes = with_angles(&STAMP, &sample, &angles);
    Schema::read(CDDL).check("pose", &bytes).unwrap();
    assert_eq!(decode(&bytes).unwrap().sample, sample);
    let mut message = Value::of(&bytes);
    let person = at_person(&mut message, 0);
    for (key, at, want) in [
        ("angles_deg", 3, Value::F32(-12.5)),
        ("angle_sigmas_deg", 3, Value::F32(4.0)),
        ("angle_states", 3, Value::Uint(2)),
        ("angles_deg", 4, Value::Null),
        ("angle_sigmas_deg", 4, Value::Null),
        ("angle_states", 4, Value::Uint(0)),
    ] {
        let entries = person.at(key).entries();
        assert_eq!((entries.len(), &entries[at]), (15, &want), "{key}");
    }
    // Without the switch, nothing of it is in the message.
    assert_eq!(with_angles(&STAMP, &sample, &[]), encoded(&STAMP, &sample));
}

#[test]
fn an_empty_room_is_a_message_too() {
    let sample = PoseSample::default();
    let message = decode(&encoded(&STAMP, &sample)).unwrap();
    assert!(message.sample.people.is_empty());
}

#[test]
fn an_absent_joint_goes_out_as_null_whatever_it_holds() {
    let mut sample = two_people();
    sample.people[0].joints_camera_m[2] = Vec3::splat(f32::NAN);
    sample.people[0].sigmas_m[2] = f32::INFINITY;
    let bytes = encoded(&STAMP, &sample);
    assert_eq!(bytes, encoded(&STAMP, &two_people()));
    let mut message = Value::of(&bytes);
    assert_eq!(
        at_person(&mut message, 0).at("joints_m").entries()[2],
        Value::Null
    );
    assert_eq!(
        at_person(&mut message, 0).at("sigmas_m").entries()[2],
        Value::Null
    );
}

#[test]
fn a_person_who_cannot_be_placed_has_no_root() {
    let mut sample = two_people();
    let unplaced = &mut sample.people[0];
    unplaced.states = [JointState::Absent; JOINTS];
    unplaced.root_camera_m = Vec3::ZERO;
    unplaced.root_sigma_m = 0.0;
    unplaced.joints_camera_m = [Vec3::ZERO; JOINTS];
    unplaced.sigmas_m = [0.0; JOINTS];
    let bytes = encoded(&STAMP, &sample);
    let mut message = Value::of(&bytes);
    assert_eq!(*at_person(&mut message, 0).at("root_m"), Value::Null);
    assert_eq!(*at_person(&mut message, 0).at("root_sigma_m"), Value::Null);
    assert_ne!(*at_person(&mut message, 1).at("root_m"), Value::Null);
    assert_eq!(decode(&bytes).unwrap().sample, sample);
}

#[test]
fn a_number_that_is_not_finite_does_not_go_out() {
    let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
    let mut sample = two_people();
    sample.people[1].joints_camera_m[4].y = f32::NAN;
    let error = encode(&STAMP, &sample, &mut buffer).unwrap_err();
    assert_eq!(error.to_string(), "persons[1].joints_m: not finite at 13");
    let mut sample = two_people();
    sample.people[0].keypoints[16].confidence = f32::INFINITY;
    let error = encode(&STAMP, &sample, &mut buffer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "persons[0].keypoints_px: not finite at 50"
    );
    let mut sample = two_people();
    sample.people[0].keypoints[3].visibility = f32::NAN;
    let error = encode(&STAMP, &sample, &mut buffer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "persons[0].visibilities: not finite at 3"
    );
}

#[test]
fn a_camera_name_over_its_bound_does_not_go_out() {
    let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
    let camera = "c".repeat(NAME_BYTES_MAX + 1);
    let stamp = Stamp {
        camera: &camera,
        ..STAMP
    };
    let error = encode(&stamp, &two_people(), &mut buffer).unwrap_err();
    assert_eq!(error.to_string(), "camera: 49 bytes, at most 48");
}

#[test]
fn another_version_is_refused() {
    let error = refusal(|m| *m.at("schema") = Value::Text("pose/v2".into()));
    assert_eq!(error, "schema: \"pose/v2\", this reader knows \"pose/v1\"");
}

#[test]
fn what_does_not_follow_the_schema_is_refused_by_name() {
    let error = refusal(|m| m.pairs().retain(|(key, _)| key != "camera"));
    assert_eq!(error, "camera: missing");

    let error = refusal(|m| {
        let again = m.pairs()[1].clone();
        m.pairs().push(again);
    });
    assert_eq!(error, "sequence: stands there twice");

    let error = refusal(|m| *at_person(m, 1).at("root_sigma_m") = Value::F32(f32::NAN));
    assert_eq!(error, "persons[1].root_sigma_m: not finite at 0");

    let error = refusal(|m| *at_person(m, 1).at("score") = Value::F64(1e300));
    assert_eq!(error, "persons[1].score: not finite at 0");

    let error = refusal(|m| drop(at_person(m, 0).at("keypoints_px").entries().pop()));
    assert_eq!(error, "persons[0].keypoints_px: 16 entries, must be 17");

    let error = refusal(|m| drop(at_person(m, 0).at("joints_m").entries()[1].entries().pop()));
    assert_eq!(error, "persons[0].joints_m: 2 entries, must be 3");

    let error = refusal(|m| at_person(m, 1).at("states").entries()[0] = Value::Uint(3));
    assert_eq!(error, "persons[1].states: 3 is out of range");

    let error = refusal(|m| at_person(m, 1).at("states").entries()[5] = Value::Uint(0));
    assert_eq!(
        error,
        "persons[1].states: joint 5 is absent and has a value, or not"
    );

    let error = refusal(|m| {
        *at_person(m, 0).at("action").at("source") = Value::Text("guess".into());
    });
    assert_eq!(error, "persons[0].source: \"guess\" is out of range");

    let error = refusal(|m| *m.at("camera") = Value::Text("c".repeat(49)));
    assert_eq!(error, "camera: 49 bytes, at most 48");

    let error = refusal(|m| *m.at("persons") = Value::Text("nowhere".into()));
    assert!(error.starts_with("persons: "), "{error}");

    let error = refusal(|m| {
        let one = at_person(m, 0).clone();
        m.at("persons").entries().resize(PEOPLE_MAX + 1, one);
    });
    assert_eq!(error, "persons: 9 entries, must be 8");
}

#[test]
fn a_label_with_a_control_character_is_refused_by_name_and_not_shown_as_it_is() {
    let error = refusal(|m| {
        *at_person(m, 0).at("action").at("label") = Value::Text("a\u{1b}[2J".into());
    });
    assert_eq!(error, "persons[0].label: \"a\\u{1b}[2J\" is out of range");
    assert!(!error.contains(char::is_control), "{error:?}");
}

#[test]
fn bytes_after_the_message_are_refused() {
    let mut bytes = encoded(&STAMP, &two_people());
    bytes.push(0);
    let error = decode(&bytes).unwrap_err();
    assert_eq!(error.fault, Fault::Trailing { bytes: 1 });
}

#[test]
fn keys_of_a_later_publisher_are_passed_over() {
    let mut message = Value::of(&encoded(&STAMP, &two_people()));
    let more = Value::Map(vec![("deep".into(), Value::List(vec![Value::Null; 3]))]);
    message.pairs().insert(0, ("mood".into(), more.clone()));
    at_person(&mut message, 1)
        .pairs()
        .push(("height_m".into(), Value::F32(1.7)));
    at_person(&mut message, 0)
        .at("action")
        .pairs()
        .insert(0, ("since_ns".into(), Value::Uint(5)));
    at_person(&mut message, 0)
        .at("head")
        .pairs()
        .push(("loss".into(), more));
    assert_eq!(decode(&message.bytes()).unwrap().sample, two_people());
}

#[test]
fn order_of_keys_width_of_floats_and_open_lists_do_not_matter() {
    let mut message = Value::of(&encoded(&STAMP, &two_people()));
    message.pairs().reverse();
    at_person(&mut message, 0).pairs().reverse();
    *at_person(&mut message, 0).at("score") = Value::F64(0.9375);
    let read = decode(&message.bytes()).unwrap();
    assert_eq!(read.sample, two_people());

    // The same map without a length, ended by a mark.
    let mut bytes = message.bytes();
    assert_eq!(bytes[0], 0xad);
    bytes[0] = 0xbf;
    bytes.push(0xff);
    assert_eq!(decode(&bytes).unwrap().sample, two_people());
}

#[test]
fn a_message_cut_short_is_refused_at_every_byte() {
    let bytes = encoded(&STAMP, &two_people());
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn writing_stays_off_the_heap() {
    let mut buffer: Box<Buffer> = Box::new([0; MESSAGE_BYTES_MAX]);
    let mut sample = two_people();
    let calls = heap::heap_calls(|| {
        for frame in 0..1_000 {
            sample.frame_sequence = frame;
            let length = encode(&STAMP, &sample, &mut buffer).unwrap();
            assert!(length > 1_000);
        }
    });
    assert_eq!(calls, 0, "heap calls over 1000 messages");
}

/// Checks bytes against a rule of the schema that `/schema` answers with.
fn check_schema(rule: &str, bytes: &[u8]) -> Result<(), String> {
    Schema::read(CDDL).check(rule, bytes)
}

#[test]
fn the_schema_accepts_what_goes_out_and_refuses_what_does_not() {
    let bytes = encoded(&STAMP, &two_people());
    check_schema("pose", &bytes).unwrap();
    check_schema("message", &bytes).unwrap();
    check_schema("pose", &encoded(&STAMP, &PoseSample::default())).unwrap();

    let mut message = Value::of(&bytes);
    message.pairs().push(("mood".into(), Value::Null));
    check_schema("pose", &message.bytes()).unwrap();

    let wrong: [fn(&mut Value); 6] = [
        |m| m.pairs().retain(|(key, _)| key != "clock"),
        |m| *m.at("schema") = Value::Text("pose/v2".into()),
        |m| *m.at("image_px") = Value::List(vec![Value::Uint(1)]),
        |m| drop(at_person(m, 0).at("joints_m").entries().pop()),
        |m| at_person(m, 0).at("states").entries()[0] = Value::Uint(3),
        |m| *at_person(m, 1).at("head").at("adapted") = Value::Uint(1),
    ];
    for (index, change) in wrong.into_iter().enumerate() {
        let mut message = Value::of(&bytes);
        change(&mut message);
        assert!(
            check_schema("pose", &message.bytes()).is_err(),
            "change {index}"
        );
    }
}

fn finite() -> impl Strategy<Value = f32> {
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![
        POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
        Just(f32::MAX),
        Just(f32::MIN),
        Just(f32::MIN_POSITIVE),
        -10.0_f32..10.0,
    ]
}

fn any_action() -> impl Strategy<Value = Option<Action>> {
    let printable = any::<char>().prop_filter("no control", |c| !c.is_control());
    let label = proptest::collection::vec(printable, 0..12);
    let named = (label, finite(), any::<bool>()).prop_map(|(label, probability, hint)| Action {
        label: label
            .into_iter()
            .collect::<String>()
            .as_str()
            .try_into()
            .unwrap(),
        probability,
        source: if hint {
            ActionSource::Hint
        } else {
            ActionSource::Dictionary
        },
    });
    proptest::option::of(named)
}

/// Numbers of a person: size and its sigma, score, box, root and its sigma, joints, sigmas, keypoints.
const NUMBERS: usize = 2 + 1 + 4 + 3 + 1 + 3 * JOINTS + JOINTS + 3 * KEYPOINTS;

prop_compose! {
    // Lists rather than arrays, which would fill the stack of the test.
    fn any_person()(
        id in any::<u32>(),
        numbers in proptest::collection::vec(finite(), NUMBERS),
        states in proptest::collection::vec(0_u8..3, JOINTS),
        action in any_action(),
        generation in any::<u32>(),
        adapted in any::<bool>(),
    ) -> PersonPose {
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap();
        let states: [JointState; JOINTS] = std::array::from_fn(|j| match states[j] {
            0 => JointState::Absent,
            1 => JointState::Measured,
            _ => JointState::Completed,
        });
        let mut pose = person(id, 0.0);
        let source = if adapted { SizeSource::Floor } else { SizeSource::Guess };
        pose.size = Size { factor: next(), sigma: next(), source };
        pose.score = next();
        pose.bounds = BoxPx { left: next(), top: next(), right: next(), bottom: next() };
        pose.root_camera_m = Vec3::new(next(), next(), next());
        pose.root_sigma_m = next();
        for (joint, state) in states.iter().enumerate() {
            let (place, sigma) = (Vec3::new(next(), next(), next()), next());
            let known = *state != JointState::Absent;
            pose.joints_camera_m[joint] = if known { place } else { Vec3::ZERO };
            pose.sigmas_m[joint] = if known { sigma } else { 0.0 };
        }
        if states.iter().all(|state| *state == JointState::Absent) {
            pose.root_camera_m = Vec3::ZERO;
            pose.root_sigma_m = 0.0;
        }
        for keypoint in &mut pose.keypoints {
            *keypoint = Keypoint::new(next(), next(), next());
        }
        pose.states = states;
        pose.action = action;
        pose.head = HeadTag { generation, adapted };
        pose
    }
}

prop_compose! {
    fn any_sample()(
        frame_sequence in any::<u32>(),
        capture in any::<u64>(),
        width_px in any::<u32>(),
        height_px in any::<u32>(),
        people in proptest::collection::vec(any_person(), 0..=PEOPLE_MAX),
    ) -> PoseSample {
        PoseSample {
            frame_sequence,
            capture: MonoNs(capture),
            width_px,
            height_px,
            people: people.into_iter().collect(),
            ..PoseSample::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What was written is read back, number for number, and fits the schema.
    #[test]
    fn reading_is_writing_backwards(
        sample in any_sample(),
        sequence in any::<u64>(),
        publish in any::<u64>(),
        unix_offset_ns in any::<i64>(),
        recorded in any::<bool>(),
    ) {
        let clock = if recorded { CLOCK_RECORDING } else { CLOCK_MONOTONIC };
        let publish = MonoNs(publish);
        let stamp = Stamp { sequence, camera: "cam-1", clock, publish, unix_offset_ns };
        let bytes = encoded(&stamp, &sample);
        prop_assert!(bytes.len() <= POSE_BYTES_BOUND);
        check_schema("pose", &bytes).map_err(TestCaseError::fail)?;
        let read = decode(&bytes).unwrap();
        let expected = PoseMessage {
            sequence,
            camera: "cam-1".try_into().unwrap(),
            frame_id: "cam-1_optical_frame".try_into().unwrap(),
            clock: clock.try_into().unwrap(),
            publish,
            capture_unix_ns: stamp.unix_ns(sample.capture),
            unix_offset_ns,
            age_ms: read.age_ms,
            sample,
        };
        let age_ms = expected.publish.since(expected.sample.capture).as_secs_f32() * 1e3;
        prop_assert!((read.age_ms - age_ms).abs() <= f32::EPSILON * age_ms);
        prop_assert_eq!(read, expected);
    }

    /// Bytes changed on the way are read or refused, never a panic.
    #[test]
    fn changed_bytes_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&STAMP, &two_people());
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = decode(&bytes);
        let _ = decode(&bytes[..end.index(bytes.len())]);
    }

    /// Neither do bytes that never were a message.
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(decode(&bytes).is_err());
    }
}
