//! `poised dictionary` as a user calls it, on recordings that the program made itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use poised::base::clock::MonoNs;
use poised::camera::Calibration;
use poised::lift::person_pose;
use poised::output::record::Recorder;
use poised::pose::{BoxPx, Detection, Keypoint, PoseSample};
use poised::skeleton::KEYPOINTS;
use poised::track::TrackedPerson;

const PROGRAM: &str = env!("CARGO_BIN_EXE_poised");

/// COCO keypoints of a person who stands, about the middle of the body, pixels.
const STANDING: [(f32, f32); KEYPOINTS] = [
    (0.0, -110.0),
    (5.0, -115.0),
    (-5.0, -115.0),
    (10.0, -112.0),
    (-10.0, -112.0),
    (28.0, -80.0),
    (-28.0, -80.0),
    (36.0, -40.0),
    (-36.0, -40.0),
    (40.0, -5.0),
    (-40.0, -5.0),
    (18.0, 0.0),
    (-18.0, 0.0),
    (19.0, 60.0),
    (-19.0, 60.0),
    (20.0, 120.0),
    (-20.0, 120.0),
];

/// A recording of a person who moves an arm up and down `swings` times a second.
fn recording(folder: &Path, name: &str, seconds: f32, swings: f32) -> PathBuf {
    let path = folder.join(name);
    let mut recorder = Recorder::create(&path, &Calibration::assumed(640, 480)).unwrap();
    let mut frame = 0_u16;
    while f32::from(frame) / 30.0 < seconds {
        let time_s = f32::from(frame) / 30.0;
        let lift = 40.0 * (1.0 - (std::f32::consts::TAU * swings * time_s).cos());
        let keypoints = std::array::from_fn(|at| {
            let (x, y) = STANDING[at];
            let up = if at == 9 { 2.0 * lift } else { 0.0 };
            Keypoint::new(320.0 + x, 250.0 + y - up, 0.9)
        });
        let person = TrackedPerson {
            id: 1,
            detection: Detection {
                score: 0.9,
                bounds: BoxPx {
                    left: 270.0,
                    top: 120.0,
                    right: 370.0,
                    bottom: 380.0,
                },
                keypoints,
                features: None,
            },
        };
        let mut sample = PoseSample {
            frame_sequence: frame.into(),
            capture: MonoNs(1_000_000_000 + u64::from(frame) * 33_333_333),
            width_px: 640,
            height_px: 480,
            ..PoseSample::default()
        };
        sample.people.push(person_pose(&person, None)).unwrap();
        assert_eq!(recorder.add(&sample).unwrap(), 0);
        frame += 1;
    }
    recorder.finish().unwrap();
    path
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .arg("dictionary")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

/// A copy of the shipped dictionary, to be changed.
fn copy(folder: &Path) -> PathBuf {
    let path = folder.join("own.dictionary");
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/models/dictionary/actions.dictionary"
    );
    std::fs::copy(shipped, &path).unwrap();
    path
}

#[test]
fn an_action_is_taught_named_at_once_and_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let own = copy(folder.path());
    let own = own.to_str().unwrap();
    let clips: Vec<PathBuf> = [0.45, 0.5, 0.55]
        .into_iter()
        .enumerate()
        .map(|(at, swings)| recording(folder.path(), &format!("{at}.poses"), 6.0, swings))
        .collect();
    let clips: Vec<&str> = clips.iter().map(|clip| clip.to_str().unwrap()).collect();
    let teach = [
        &["teach", "--dictionary", own, "--name", "left arm raise"],
        &clips[..],
    ]
    .concat();
    let output = run(&teach);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("3 clips"), "{}", said(&output));
    // The same name again is refused, and the dictionary stays as it was.
    let before = std::fs::read(own).unwrap();
    let again = run(&teach);
    assert!(!again.status.success());
    assert!(
        said(&again).contains("there is an entry of this name"),
        "{}",
        said(&again)
    );
    assert_eq!(std::fs::read(own).unwrap(), before);

    let other = recording(folder.path(), "other.poses", 5.0, 0.5);
    let output = run(&[
        "query",
        "--dictionary",
        own,
        "--json",
        other.to_str().unwrap(),
    ]);
    let moments: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let moments = moments.as_array().unwrap();
    assert!(moments.len() >= 5);
    let named = moments
        .iter()
        .filter(|moment| moment["best"][0]["label"] == "left arm raise")
        .count();
    assert!(2 * named > moments.len(), "{named} of {}", moments.len());

    let output = run(&["remove", "--dictionary", own, "left arm raise"]);
    assert!(output.status.success(), "{}", said(&output));
    let shown = run(&["show", "--dictionary", own, "left arm raise"]);
    assert!(!shown.status.success());
}

#[test]
fn clips_and_dictionaries_that_are_of_no_use_are_named_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let own = copy(folder.path());
    let before = std::fs::read(&own).unwrap();
    let short = recording(folder.path(), "short.poses", 1.0, 0.5);
    let (own, short) = (own.to_str().unwrap(), short.to_str().unwrap());
    let output = run(&["teach", "--dictionary", own, "--name", "x", short]);
    assert!(!output.status.success());
    let words = said(&output);
    assert!(
        words.contains("short.poses") && words.contains("must be at least 2.0"),
        "{words}"
    );
    let output = run(&[
        "teach",
        "--dictionary",
        own,
        "--name",
        "x",
        "/nowhere/a.poses",
    ]);
    assert!(
        said(&output).contains("/nowhere/a.poses"),
        "{}",
        said(&output)
    );
    assert_eq!(std::fs::read(own).unwrap(), before);

    std::fs::write(own, &before[..before.len() / 2]).unwrap();
    let output = run(&["show", "--dictionary", own]);
    assert_eq!(output.status.code(), Some(66), "{}", said(&output));
    assert!(
        said(&output).contains("not a dictionary"),
        "{}",
        said(&output)
    );
    let mut damaged = before.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(own, &damaged).unwrap();
    assert!(said(&run(&["show", "--dictionary", own])).contains("damaged"));
}

#[test]
fn the_shipped_dictionary_shows_its_entries_and_their_neighbours() {
    let output = run(&["show", "--json"]);
    let entries: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = entries.as_array().unwrap();
    let seen = entries
        .iter()
        .filter(|e| e["windows"].as_u64() > Some(0))
        .count();
    assert!(seen > 100, "{seen} entries with motion");
    let output = run(&["show", "squat", "--json"]);
    let squat: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(squat["near_in_words"].as_array().unwrap().len(), 3);
}
