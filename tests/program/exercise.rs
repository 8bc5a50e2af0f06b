//! `poised replay --exercise` and `poised exercise teach`: a film of a real person, and what is refused.

use serde_json::Value;

use crate::common::daemon::poised;
use crate::common::data;

#[test]
fn two_squats_and_a_partial_one_are_told_apart_in_a_real_film() {
    let Some(film) = data::file("real/video/squats.mp4") else {
        return;
    };
    let play = |more: &[&str]| {
        let mut arguments = vec!["replay", film.to_str().unwrap(), "--exercise", "squat"];
        arguments.extend(more);
        let output = poised(&arguments).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {words}", output.status);
        String::from_utf8(output.stdout).unwrap()
    };
    let report: Value = serde_json::from_str(&play(&["--json"])).unwrap();
    let counted = &report["repetitions"];
    assert_eq!(counted["exercise"], "squat");
    assert_eq!(counted["whole"], 2, "{counted}");
    assert_eq!(counted["partial"], 1, "{counted}");
    let rows = counted["each"].as_array().unwrap();
    let kinds: Vec<&str> = rows
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["whole", "whole", "partial"]);
    // The film has five frames a second; the squats are deepest near 2.1, 6.9 and 11.8 seconds.
    for (row, deepest_s) in rows.iter().zip([2.1, 6.9, 11.8]) {
        let peak_s = row["peak_s"].as_f64().unwrap();
        assert!((peak_s - deepest_s).abs() < 1.0, "{row}");
        let depth_deg = row["depth_deg"].as_f64().unwrap();
        assert!((70.0..140.0).contains(&depth_deg), "{row}");
    }
    let table = play(&["--frames", "50"]);
    assert!(
        table.contains("squat: 2 whole, 0 partial repetitions"),
        "{table}"
    );
    assert!(table.contains("person  kind       no"), "{table}");
}

#[test]
fn an_exercise_that_is_wrong_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let exercises = folder.path().join("mine.toml");
    let refused = |text: &str, name: &str| {
        std::fs::write(&exercises, text).unwrap();
        let output = poised(&[
            "replay",
            "/nowhere.mp4",
            "--exercise",
            name,
            "--exercises",
            exercises.to_str().unwrap(),
        ])
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stderr).unwrap()
    };
    let turned = "[dip]\nsignal = \"elbow_flexion\"\nlow_deg = 90\nhigh_deg = 40\nmin_s = 0.5";
    let words = refused(turned, "dip");
    assert!(
        words.contains("dip.low_deg = 90: must be at least 10 below high_deg = 40"),
        "{words}"
    );
    let unknown = turned.replace("elbow_flexion", "elbow");
    let words = refused(&unknown, "dip");
    assert!(
        words.contains("dip.signal = \"elbow\": must be one of hip_flexion,"),
        "{words}"
    );
    let ordered = turned.replace("90", "20");
    let words = refused(&ordered, "dips");
    assert!(
        words.contains("no exercise \"dips\", it has: dip"),
        "{words}"
    );
}

#[test]
fn a_film_of_a_real_person_teaches_what_counts_it_and_a_name_is_taken_once() {
    let Some(film) = data::file("real/video/squats.mp4") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let exercises = folder.path().join("mine.toml");
    let mine = exercises.to_str().unwrap();
    let teach = |count: &str, more: &[&str]| {
        let film = film.to_str().unwrap();
        let mut arguments = vec!["exercise", "teach", film, "--name", "mine", "--count"];
        arguments.extend([count, "--out", mine]);
        arguments.extend(more);
        poised(&arguments).output().unwrap()
    };
    let wrong = teach("9", &[]);
    assert_eq!(wrong.status.code(), Some(66));
    let words = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        words.contains("no signal gives the repetitions of each clip"),
        "{words}"
    );
    assert!(!exercises.exists());

    std::fs::write(&exercises, "# Mine.\n").unwrap();
    let taught = teach("2", &["--json"]);
    let words = String::from_utf8_lossy(&taught.stderr);
    assert!(taught.status.success(), "{words}");
    let report: Value = serde_json::from_slice(&taught.stdout).unwrap();
    assert_eq!(report["clips"][0]["counted"][0], 2, "{report}");
    let text = std::fs::read_to_string(&exercises).unwrap();
    assert!(text.starts_with("# Mine.\n\n[mine]\nsignal = "), "{text}");

    let again = teach("2", &[]);
    assert_eq!(again.status.code(), Some(78));
    let words = String::from_utf8_lossy(&again.stderr);
    assert!(
        words.contains("has an exercise \"mine\" already; give another name, or --force"),
        "{words}"
    );
    let counted = poised(&[
        "replay",
        film.to_str().unwrap(),
        "--exercise",
        "mine",
        "--exercises",
        mine,
        "--json",
    ])
    .output()
    .unwrap();
    let report: Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(report["repetitions"]["whole"], 2, "{report}");
}
