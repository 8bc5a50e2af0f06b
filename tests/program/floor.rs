//! `[floor]`: what `check` refuses, and people who lie down, recorded, seen by a simulated camera, in `replay`.

use std::path::Path;

use poised::lab::eval::floor::SHIPPED;
use poised::lab::eval::motion::{self, Motion};
use poised::lab::eval::scenario::Scenario;
use poised::lab::eval::simulate::stream;
use poised::output::record::Recorder;
use poised::pose::{Detection, PersonPose, PoseSample};
use serde_json::Value;

use crate::common::daemon::{poised, root};
use crate::common::data;
use crate::common::samples::person;

fn told(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = poised(arguments).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn without_a_mount_check_and_run_refuse_and_name_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("poised.toml");
    let config = config.to_str().unwrap();
    let lens = folder.path().join("lens.toml");
    let shipped = root().join("calibration/pose2sim_beam_cam01.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let (without, _) = shipped.split_once("[mount]").unwrap_or((&shipped, ""));
    std::fs::write(&lens, without).unwrap();
    let calibration = format!("[calibration]\nfile = {:?}\n", lens.to_str().unwrap());
    for text in ["", &calibration] {
        std::fs::write(config, format!("{text}[floor]\nevents = true\n")).unwrap();
        for command in [&["check", config][..], &["run", "-c", config]] {
            let (code, _, words) = told(command);
            assert_eq!(code, Some(78), "{command:?}: {words}");
            for part in ["floor.events = true", "[mount]", "poised calibrate mount"] {
                assert!(words.contains(part), "{command:?}: {words}");
            }
        }
    }
    let mount = "[mount]\nheight_m = 2.2\ndown_deg = 20.0\n";
    std::fs::write(&lens, format!("{without}\n{mount}")).unwrap();
    let floor = "[floor]\nevents = true\nignore = [[[0, 0], [90, 0], [0, 90]]]\n";
    std::fs::write(config, format!("{calibration}{floor}")).unwrap();
    let (code, words, error) = told(&["check", config]);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        words.contains("floor: a person on the floor is reported after 5 s"),
        "{words}"
    );
    let outside = floor.replace("90", "9000");
    std::fs::write(config, format!("{calibration}{outside}")).unwrap();
    let (code, _, words) = told(&["check", config]);
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("region 1, corner [9000, 0]"), "{words}");
}

/// A recording of a motion before the first camera of `poised eval --floor`; its last frame is held for `hold` frames.
fn recorded(mut motion: Motion, hold: usize, path: &Path) {
    let last = *motion.joints_world_m.last().unwrap();
    motion.joints_world_m.extend(vec![last; hold]);
    let cameras = Scenario::parse("floor.toml".into(), SHIPPED).unwrap();
    let seen = stream(&cameras[0], "floor", &[&motion], 1).unwrap();
    let calibration = seen.calibration.with_mount(seen.measured).unwrap();
    let (width_px, height_px) = calibration.size_px();
    let mut recorder = Recorder::create(path, &calibration).unwrap();
    for (frame, moment) in (0..).zip(&seen.moments) {
        let people = moment.seen.iter().map(|seen: &Detection| PersonPose {
            bounds: seen.bounds,
            keypoints: seen.keypoints,
            ..person(1, 0.0)
        });
        recorder
            .add(&PoseSample {
                frame_sequence: frame,
                capture: moment.time,
                width_px,
                height_px,
                people: people.collect(),
                ..PoseSample::default()
            })
            .unwrap();
    }
    recorder.finish().unwrap();
}

#[test]
fn a_recorded_person_who_lies_down_is_reported_and_one_who_walks_is_not() {
    let Some(index) = data::file("motion/index_train.json") else {
        return;
    };
    let motions = motion::read(&index).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floor.poses");
    let play = |id: &str, hold: usize, more: &[&str]| {
        let motion = motions.iter().find(|motion| motion.id == id).unwrap();
        recorded(motion.clone(), hold, &path);
        let mut arguments = vec!["replay", path.to_str().unwrap(), "--floor"];
        arguments.extend(more);
        let (code, out, error) = told(&arguments);
        assert_eq!(code, Some(0), "{error}");
        out
    };
    // Twelve seconds on the floor after the six of the recording.
    let report = play("hdm05_bd_liedownfloor_001", 360, &["--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let floor = &report["floor"];
    assert_eq!(floor["people"], 1, "{floor}");
    let event = &floor["each"][0];
    assert_eq!(event["event"], "person_on_floor");
    assert!(event["probability"].as_f64().unwrap() > 0.5, "{event}");
    assert!(event["time_s"].as_f64().unwrap() > 5.0, "{event}");
    let table = play("cmu_02_01", 0, &[]);
    assert!(table.contains("0 people reported on the floor"), "{table}");
}

#[test]
fn a_film_whose_mount_is_unknown_cannot_be_watched_for_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("room.poses");
    let lens = poised::camera::Calibration::assumed(640, 480);
    Recorder::create(&path, &lens).unwrap().finish().unwrap();
    let (code, _, words) = told(&["replay", path.to_str().unwrap(), "--floor"]);
    assert_eq!(code, Some(64), "{words}");
    assert!(words.contains("the calibration has no [mount]"), "{words}");
}
