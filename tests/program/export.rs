//! `poised export`: recordings for other programs, and the way back.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::daemon::poised;
use crate::common::python;
use crate::common::samples::{STAMP, two_people};
use mcap::Summary;
use poised::base::clock::MonoNs;
use poised::base::limits::MESSAGE_BYTES_MAX;
use poised::camera::{Calibration, Mount};
use poised::output::export;
use poised::output::export::mcap_read::RecordingInMcap;
use poised::output::record::{Recording, head};
use poised::output::wire;
use poised::pose::{JointState, PoseSample};
use serde_json::Value;

/// The lens of all recordings here, on a mount.
fn lens() -> Calibration {
    let mount = Mount {
        height_m: 2.5,
        down_deg: 0.0,
        roll_deg: 0.0,
    };
    Calibration::assumed(640, 480).with_mount(mount).unwrap()
}

/// Frame `number` of a film at 30 Hz: now two people, now one, now none.
fn sample(number: u64) -> PoseSample {
    let mut sample = two_people();
    sample.capture = MonoNs(STAMP.publish.0 + number * 33_333_333);
    sample.frame_sequence = u32::try_from(number).unwrap();
    sample
        .people
        .truncate(2 - usize::try_from(number % 3).unwrap());
    sample
}

/// A recording as the daemon's own messages, so with their stamps; and where each message ends.
fn recording(frames: u64) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = head(&lens().to_toml());
    let mut ends = vec![bytes.len()];
    let mut buffer = Box::new([0; MESSAGE_BYTES_MAX]);
    for number in 0..frames {
        let sample = sample(number);
        let stamp = wire::Stamp {
            sequence: number,
            publish: MonoNs(sample.capture.0 + 20_000_000),
            ..STAMP
        };
        let length = wire::encode(&stamp, &sample, &mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..length]);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn to_mcap(poses: &[u8]) -> Vec<u8> {
    let mut recording = Recording::of(poses, Path::new("x.poses")).unwrap();
    let mut bytes = Vec::new();
    export::mcap::write(&mut recording, &mut bytes).unwrap();
    bytes
}

/// The recording in an MCAP file, or in what is left of one.
fn back(mcap: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    RecordingInMcap::of(mcap, Path::new("x.mcap"))
        .map_err(|error| error.to_string())?
        .read_to_end(&mut bytes)
        .unwrap();
    Ok(bytes)
}

#[test]
fn a_recording_comes_back_from_mcap_byte_by_byte() {
    for frames in [0, 1, 2, 700] {
        let (poses, ends) = recording(frames);
        let mcap = to_mcap(&poses);
        assert!(back(&mcap).unwrap() == poses, "{frames} frames");
        // As the player reads it: one message after the other, with the calibration.
        let source = RecordingInMcap::of(&mcap[..], Path::new("x.mcap")).unwrap();
        let film = Recording::of(source, Path::new("x.mcap")).unwrap();
        assert_eq!(film.calibration(), &lens());
        let samples: Vec<PoseSample> = film.map(Result::unwrap).collect();
        assert_eq!(samples.len() + 1, ends.len());
        for (number, read) in (0..).zip(&samples) {
            assert_eq!(read.people.len(), sample(number).people.len());
            assert_eq!(read.capture, sample(number).capture);
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_read_to_its_last_whole_chunk() {
    let (poses, ends) = recording(1500);
    let mcap = to_mcap(&poses);
    // By the file's own index: where each chunk ends, and how many recorded messages are in all up to it.
    let summary = Summary::read(&mcap).unwrap().unwrap();
    let is_pose = |id: u16| summary.channels[&id].topic.ends_with("/pose_v1");
    let mut whole = vec![(0, 0)];
    for chunk in &summary.chunk_indexes {
        let end = usize::try_from(chunk.chunk_start_offset + chunk.chunk_length).unwrap();
        let messages = summary.stream_chunk(&mcap, chunk).unwrap();
        let poses = messages.filter(|message| is_pose(message.as_ref().unwrap().channel.id));
        whole.push((end, whole.last().unwrap().1 + poses.count()));
    }
    assert!(whole.len() > 8, "{} chunks", whole.len() - 1);
    assert_eq!(whole.last().unwrap().1, 1500);
    let mut random = fastrand::Rng::with_seed(20);
    let mut kept = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let cut = random.usize(..mcap.len());
        let (_, messages) = *whole.iter().rfind(|(end, _)| *end <= cut).unwrap();
        match back(&mcap[..cut]) {
            Ok(read) => assert!(read == poses[..ends[messages]], "cut at {cut}: {messages}"),
            Err(error) => {
                assert!(cut < whole[1].0, "cut at {cut}: {error}");
                assert!(error.contains("the file is cut off"), "{error}");
            }
        }
        kept.insert(messages);
    }
    assert!(kept.len() > 5, "{kept:?}");
}

#[test]
fn a_damaged_chunk_gives_none_of_its_messages() {
    let (poses, ends) = recording(700);
    let mut mcap = to_mcap(&poses);
    let summary = Summary::read(&mcap).unwrap().unwrap();
    let second = &summary.chunk_indexes[1];
    let is_pose = |id: u16| summary.channels[&id].topic.ends_with("/pose_v1");
    let first = summary.stream_chunk(&mcap, &summary.chunk_indexes[0]);
    let before = first
        .unwrap()
        .filter(|m| is_pose(m.as_ref().unwrap().channel.id))
        .count();
    assert!(before > 10);
    let middle = second.chunk_start_offset + second.chunk_length / 2;
    mcap[usize::try_from(middle).unwrap()] ^= 1;
    assert!(back(&mcap).unwrap() == poses[..ends[before]]);
}

#[test]
fn what_holds_no_recording_is_refused_by_name() {
    let (poses, _) = recording(3);
    let message = |bytes: &[u8]| back(bytes).unwrap_err();
    for (bytes, words) in [
        (&poses[..], "it is no MCAP file"),
        (b"", "the file is cut off"),
        (b"words", "the file is cut off"),
    ] {
        let text = message(bytes);
        assert!(
            text.starts_with("x.mcap: not a recording: ") && text.ends_with(words),
            "{text}"
        );
    }
    // A channel of another program with the same name and encoding.
    let mut foreign = Vec::new();
    let mut writer = mcap::Writer::new(std::io::Cursor::new(&mut foreign)).unwrap();
    let channel = writer.add_channel(0, "/pose_v1", "cbor", &std::collections::BTreeMap::new());
    let header = mcap::records::MessageHeader {
        channel_id: channel.unwrap(),
        sequence: 0,
        log_time: 1,
        publish_time: 1,
    };
    writer.write_to_known_channel(&header, &[0xa0]).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let text = message(&foreign);
    assert!(
        text.contains("no channel of it was made by `poised export`"),
        "{text}"
    );
}

fn run(arguments: &[&str]) -> Output {
    poised(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_command_writes_all_three_and_the_player_takes_mcap() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (film, table, trc, mcap) = (at("a.poses"), at("a.csv"), at("a.trc"), at("a.mcap"));
    std::fs::write(&film, recording(60).0).unwrap();

    // Person 7 is in two frames of three, person 12 in one.
    let output = run(&["export", &film, "--trc", &trc]);
    assert_eq!(output.status.code(), Some(66), "{}", said(&output));
    assert!(
        said(&output).contains("--person: 7 (40 frames), 12 (20 frames)"),
        "{}",
        said(&output)
    );
    assert!(!Path::new(&trc).exists());

    let all = [
        "export", &film, "--csv", &table, "--trc", &trc, "--person", "7", "--mcap", &mcap,
    ];
    let output = run(&all);
    assert!(output.status.success(), "{}", said(&output));
    for words in [
        "a.csv: 1020 rows of 60 frames",
        "a.trc: person 7, 59 frames",
        "a.mcap: 60 frames",
    ] {
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    assert!(output.stdout.is_empty());
    assert_eq!(
        std::fs::read_to_string(&table).unwrap().lines().count(),
        1021
    );
    // The mount is 2.5 m above the floor: a joint 0.25 m below the lens is at 2.25 m.
    let text = std::fs::read_to_string(&trc).unwrap();
    let first: Vec<&str> = text.lines().nth(6).unwrap().split('\t').collect();
    assert_eq!(first[..4], ["1", "0.000000000", "-3.00000", "2.25000"]);

    let played = |source: &str, name: &str| {
        let poses = at(name);
        let output = run(&["replay", source, "--poses", &poses]);
        assert!(output.status.success(), "{}", said(&output));
        std::fs::read_to_string(poses).unwrap()
    };
    assert_eq!(played(&film, "film.jsonl"), played(&mcap, "mcap.jsonl"));
    // And from MCAP the same table.
    let again = at("again.csv");
    let output = run(&["export", &mcap, "--csv", &again]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        std::fs::read(&table).unwrap(),
        std::fs::read(&again).unwrap()
    );

    let output = run(&all);
    assert_eq!(output.status.code(), Some(73), "{}", said(&output));
    let output = run(&["export", &film, "--mcap", &film, "--force"]);
    assert_eq!(output.status.code(), Some(73), "{}", said(&output));
    assert_eq!(std::fs::read(&film).unwrap(), recording(60).0);
}

#[test]
fn a_reader_of_ros_2_finds_joints_skeletons_and_the_camera() {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcap/requirements.txt");
    let python = match python::interpreter(&requirements, "mcap-reader") {
        Ok(python) => python,
        Err(reason) => {
            assert!(std::env::var_os("POISED_NEED_PYTHON").is_none(), "{reason}");
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mcap");
    // Ends with a frame of two people: three seconds, and one frame.
    let (poses, ends) = recording(91);
    std::fs::write(&path, to_mcap(&poses)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcap/read.py");
    let output = Command::new(python)
        .arg(script)
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    let topics = [
        "/poised/front/joints",
        "/poised/front/markers",
        "/poised/front/pose_v1",
        "/tf",
    ];
    let counts = topics.map(|topic| read["counts"][topic].as_u64().unwrap());
    assert_eq!(counts, [91, 91, 91, 3], "{read}");

    let newest = |topic: usize| &read["newest"][topics[topic]];
    let taken_ns = STAMP.unix_ns(sample(90).capture);
    for topic in 0..3 {
        assert_eq!(newest(topic)["log_ns"], taken_ns);
        assert_eq!(newest(topic)["publish_ns"], taken_ns + 20_000_000);
        assert_eq!(newest(topic)["sequence"], 90);
    }
    is_the_cloud_of(newest(0), &sample(90), taken_ns);
    are_the_markers_of_two_people(&newest(1)["markers"]);
    is_a_level_camera_above_the_floor(&newest(3)["transform"]);

    let recorded = newest(2);
    assert_eq!(
        (&recorded["schema"], &recorded["encoding"]),
        (&"pose/v1".into(), &"cbor".into())
    );
    let hex = recorded["bytes"].as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    assert!(bytes == poses[ends[90]..], "{hex}");
}

fn is_the_cloud_of(cloud: &Value, truth: &PoseSample, taken_ns: u64) {
    assert_eq!(cloud["schema"], "sensor_msgs/msg/PointCloud2");
    assert_eq!(cloud["frame"], "front_optical_frame");
    let stamp = [taken_ns / 1_000_000_000, taken_ns % 1_000_000_000];
    assert_eq!(cloud["stamp"], serde_json::json!(stamp));
    let mut points = cloud["points"].as_array().unwrap().iter();
    for person in &truth.people {
        for joint in 0..17 {
            if person.states[joint] == JointState::Absent {
                continue;
            }
            let point = points.next().unwrap();
            let place = person.joints_camera_m[joint];
            let number = |key: &str| point[key].as_f64().unwrap();
            let read = ["x", "y", "z"].map(|key| number(key).to_bits());
            assert_eq!(
                read,
                place.to_array().map(|value| f64::from(value).to_bits())
            );
            assert_eq!(
                number("sigma").to_bits(),
                f64::from(person.sigmas_m[joint]).to_bits()
            );
            assert_eq!(point["person"], person.id);
            assert_eq!(point["joint"], joint);
            assert_eq!(point["state"], person.states[joint] as u8);
        }
    }
    assert!(points.next().is_none());
}

fn are_the_markers_of_two_people(markers: &Value) {
    let drawn: Vec<String> = markers
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let points = m["points"].as_array().unwrap().len();
            assert_eq!(m["frame"], "front_optical_frame");
            assert_eq!(m["lifetime_ns"], 500_000_000);
            assert_eq!(m["colors"], points);
            format!(
                "{} {} {} {} {points}",
                m["namespace"], m["id"], m["type"], m["text"]
            )
        })
        .collect();
    // Without knees and ankles four bones of sixteen are missing.
    let want = [
        r#""skeleton" 7 5 "" 24"#,
        r#""label" 7 9 "7 raises the left arm" 0"#,
        r#""skeleton" 12 5 "" 32"#,
        r#""label" 12 9 "12" 0"#,
    ];
    assert_eq!(drawn, want);
}

fn is_a_level_camera_above_the_floor(transform: &Value) {
    assert_eq!(transform["parent"], "front_floor");
    assert_eq!(transform["child"], "front_optical_frame");
    assert_eq!(transform["z"], 2.5);
    let turn: Vec<f64> = transform["rotation"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect();
    for (got, want) in turn.iter().zip([-0.5, 0.5, -0.5, 0.5]) {
        assert!((got * turn[3].signum() - want).abs() < 1.0e-6, "{turn:?}");
    }
}
