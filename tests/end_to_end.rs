//! The built program: what a user types, in processes of their own, over real Zenoh.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

#[path = "common/daemon.rs"]
mod daemon;

#[path = "common/data.rs"]
mod data;

#[path = "common/rtsp.rs"]
mod rtsp;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemon::poised;
use serde_json::Value;

use poised::clock::Clock;
use poised::publish::ZenohConfig;
use poised::publish::subscribe::{Received, Subscription};

fn output(arguments: &[&str]) -> Output {
    poised(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {words}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A configuration file in a folder that lives as long as the test.
fn configuration(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poised.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A child that does not outlive the test.
struct Daemon(Child);

impl std::ops::Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn terminate(&mut self) {
        let status = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    fn exit_within(&mut self, most: Duration) -> Option<i32> {
        let clock = Clock::live();
        let started = clock.now();
        while clock.now().since(started) < most {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("still there after {most:?}");
    }
}

#[test]
fn the_demo_receives_what_it_publishes_and_knows_its_error() {
    let report = json(&output(&[
        "demo",
        "--seconds",
        "4",
        "--width",
        "320",
        "--height",
        "240",
        "--json",
    ]));
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}"));
    assert_eq!(report["published"], report["received"]);
    assert!(number("frames") > 20.0);
    assert!(number("frames_with_people") > 0.9 * number("frames"));
    assert!(number("rss_mb") < 150.0, "{} MB", number("rss_mb"));
    assert!(
        number("pa_mpjpe_mm") < 100.0,
        "{} mm",
        number("pa_mpjpe_mm")
    );
    for key in [
        "fps",
        "people",
        "dropped",
        "mpjpe_mm",
        "factory_pa_mpjpe_mm",
        "tracks",
        "completed_share",
    ] {
        number(key);
    }
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    assert!(report["stages_ms"]["keypoints"].as_f64().unwrap() > 0.0);
    assert_eq!(report["engine"], "tract");
}

#[test]
fn the_daemon_publishes_to_a_subscriber_and_leaves_on_sigterm() {
    let port = free_port();
    let (_folder, path) = configuration(&format!(
        "[camera]\nname = \"front\"\n[camera.synthetic]\nwidth_px = 320\nheight_px = 240\n\
         [zenoh]\nsite = \"test\"\ndevice = \"e2e\"\nlisten = [\"tcp/127.0.0.1:{port}\"]\n"
    ));
    let child = poised(&["run", "-c", path.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut daemon = Daemon(child);
    let seen: Arc<Mutex<Vec<Received>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let config = ZenohConfig {
        connect: vec![format!("tcp/127.0.0.1:{port}")],
        ..ZenohConfig::default()
    };
    let _subscription = Subscription::open(&config, "poised/test/e2e/front/poses", move |r| {
        sink.lock().unwrap().push(r);
    })
    .unwrap();
    let clock = Clock::live();
    let started = clock.now();
    while seen.lock().unwrap().len() < 40 {
        assert!(
            clock.now().since(started) < Duration::from_mins(1),
            "no poses came"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon.terminate();
    assert_eq!(daemon.exit_within(Duration::from_secs(2)), Some(0));

    let seen = seen.lock().unwrap();
    let mut last = None;
    let mut people = 0;
    for received in seen.iter() {
        let message = received.message.as_ref().unwrap();
        assert!(
            last.is_none_or(|last| message.sequence > last),
            "sequence grows"
        );
        last = Some(message.sequence);
        assert_eq!(message.frame_id.as_str(), "front_optical_frame");
        assert!(message.publish >= message.sample.capture);
        people += usize::from(!message.sample.people.is_empty());
    }
    assert!(
        people * 10 > seen.len() * 8,
        "{people} of {} with people",
        seen.len()
    );
}

#[test]
fn the_same_clip_twice_gives_the_same_poses() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    // Frames of the drawn camera as a folder of images.
    drawn(12, 30, |frame, rgb| {
        let mut picture = tiny_skia::Pixmap::new(320, 240).unwrap();
        for (pixel, bytes) in picture.pixels_mut().iter_mut().zip(rgb.chunks_exact(3)) {
            *pixel = tiny_skia::PremultipliedColorU8::from_rgba(bytes[0], bytes[1], bytes[2], 255)
                .unwrap();
        }
        picture
            .save_png(images.join(format!("{frame:03}.png")))
            .unwrap();
    });
    let play = |name: &str| {
        let poses = folder.path().join(name);
        let overlay = folder.path().join("overlay");
        let report = json(&output(&[
            "replay",
            images.to_str().unwrap(),
            "--json",
            "--poses",
            poses.to_str().unwrap(),
            "--overlay",
            overlay.to_str().unwrap(),
        ]));
        assert_eq!(report["frames"], 12);
        assert_eq!(std::fs::read_dir(&overlay).unwrap().count(), 12);
        std::fs::read(poses).unwrap()
    };
    let first = play("a.jsonl");
    assert_eq!(first, play("b.jsonl"));
    let last: Value =
        serde_json::from_slice(first.split(|b| *b == b'\n').nth(11).unwrap()).unwrap();
    assert_eq!(last["persons"].as_array().unwrap().len(), 1, "{last}");
}

#[test]
fn a_real_film_has_a_person_in_nearly_every_frame() {
    let Some(film) = data::file("real/video/squats.mp4") else {
        return;
    };
    let report = json(&output(&["replay", film.to_str().unwrap(), "--json"]));
    let frames = report["frames"].as_f64().unwrap();
    let with_people = report["frames_with_people"].as_f64().unwrap();
    assert!((frames - 65.0).abs() < 0.5);
    assert!(with_people >= 0.95 * frames, "{with_people} of {frames}");
}

/// Frames of the drawn camera, one after the other.
fn drawn(count: u32, rate_hz: u32, mut each: impl FnMut(u32, &[u8])) {
    let config = poised::capture::synthetic::SyntheticConfig {
        width_px: 320,
        height_px: 240,
        ..Default::default()
    };
    let mut scene = poised::capture::synthetic::Scene::new(&config).unwrap();
    let mut rgb = vec![0; 320 * 240 * 3];
    for frame in 0..count {
        scene.render_into(f64::from(frame) / f64::from(rate_hz), &mut rgb);
        each(frame, &rgb);
    }
}

#[test]
fn a_network_camera_is_watched_until_it_hangs_up_and_its_password_is_kept() {
    if let Err(error) = Command::new("ffmpeg").arg("-version").output() {
        println!("skipped: ffmpeg is not installed ({error})");
        return;
    }
    let mut rgb = Vec::new();
    drawn(60, 15, |_, frame| rgb.extend_from_slice(frame));
    let host = rtsp::serve(rtsp::Film {
        width_px: 320,
        height_px: 240,
        rate_hz: 15,
        rgb,
    });
    let address = format!("rtsp://kim:secret@{host}/live");
    let report = json(&output(&["replay", &address, "--frames", "30", "--json"]));
    assert_eq!(report["frames"], 30);
    let with_people = report["frames_with_people"].as_f64().unwrap();
    assert!(with_people >= 24.0, "{with_people} of 30");

    // A camera that hangs up has failed: `run` would open it anew.
    let hung_up = output(&["replay", &address, "--json"]);
    let said = String::from_utf8_lossy(&hung_up.stderr);
    assert!(!hung_up.status.success(), "{said}");
    let words = format!("rtsp://{host}/live: the decoder ended after ");
    assert!(said.contains(&words) && !said.contains("secret"), "{said}");

    let stranger = output(&["replay", &format!("rtsp://kim:guess@{host}/live")]);
    let said = String::from_utf8_lossy(&stranger.stderr);
    assert_eq!(stranger.status.code(), Some(69), "{said}");
    assert!(said.contains("401") && !said.contains("guess"), "{said}");
}

#[test]
fn the_table_is_the_same_for_a_seed() {
    let Some(index) = data::file("motion/index_val.json") else {
        return;
    };
    let table = |seed: &str| {
        let output = output(&[
            "eval",
            "--motions",
            index.to_str().unwrap(),
            "--every",
            "30",
            "--seed",
            seed,
            "--json",
        ]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let first = table("1");
    assert_eq!(first, table("1"));
    let rows: Value = serde_json::from_slice(&first).unwrap();
    let names: BTreeSet<&str> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["scenario"].as_str().unwrap())
        .collect();
    assert!(names.contains("easy") && names.contains("all") && names.contains("hard"));
    for row in rows["rows"].as_array().unwrap() {
        let error = row["pa_mpjpe_mm"].as_f64().unwrap();
        assert!((10.0..150.0).contains(&error), "{row}");
    }
    assert_ne!(first, table("2"));
}

#[test]
fn what_is_wrong_is_one_line_and_an_exit_code() {
    let (_folder, unknown) = configuration("[camera]\nnmae = \"front\"\n");
    let (_folder, range) = configuration("[people]\npeople_max = 12\n");
    let (_folder, models) = configuration("[models]\ndirectory = \"/nowhere\"\n");
    let (_folder, lens) = configuration("[calibration]\nfile = \"/nowhere/lens.toml\"\n");
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    for (arguments, code, words) in [
        (vec!["run".to_owned()], 64, "--config"),
        (
            vec!["run".into(), "-c".into(), "/nowhere.toml".into()],
            66,
            "/nowhere.toml",
        ),
        (vec!["check".into(), path(&unknown)], 78, "nmae"),
        (
            vec!["check".into(), path(&range)],
            78,
            "people.people_max = 12: must be from 1 to 8",
        ),
        (vec!["check".into(), path(&models)], 66, "/nowhere/person"),
        (vec!["check".into(), path(&lens)], 66, "/nowhere/lens.toml"),
        (
            vec!["replay".into(), "/nowhere.mp4".into()],
            69,
            "/nowhere.mp4: no such",
        ),
        (
            vec!["demo".into(), "--scenario".into(), "moon".into()],
            78,
            "moon",
        ),
        (
            vec!["eval".into(), "--motions".into(), "/nowhere.json".into()],
            66,
            "/nowhere.json",
        ),
        (vec!["frobnicate".into()], 64, "frobnicate"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = output(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_good_configuration_is_checked_and_the_networks_verified() {
    let (_folder, path) = configuration("[camera]\nname = \"front\"\n");
    let checked = output(&["check", path.to_str().unwrap()]);
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    assert!(String::from_utf8_lossy(&checked.stdout).contains("good"));
    let verified = output(&["models", "verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    // Three networks and the dictionary.
    assert_eq!(BufReader::new(&verified.stdout[..]).lines().count(), 4);
    let listed = output(&["models", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("Apache-2.0 OR MIT"));
}

#[test]
fn the_doctor_says_how_each_part_stands() {
    let output = output(&["doctor", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let parts: BTreeSet<String> = text
        .lines()
        .map(|line| {
            let finding: Value = serde_json::from_str(line).unwrap();
            finding["part"].as_str().unwrap().to_owned()
        })
        .collect();
    for part in [
        "camera", "clock", "models", "engine", "video", "zenoh", "memory",
    ] {
        assert!(parts.contains(part), "{part} in {parts:?}");
    }
    assert!(output.status.success());
}

#[test]
fn a_reader_that_goes_away_ends_the_command_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = poised(&["dictionary", "show"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success(), "it was cut off");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.is_empty(), "{words}");
}
