//! What commands do to files and pipes: exit codes, outputs that must not be written, readers that go away, full disks.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use zenoh::Wait;

use crate::common::daemon::{poised, root};
use poised::base::clock::MonoNs;
use poised::camera::Calibration;
use poised::output::record::Recorder;
use poised::pose::PoseSample;

/// A recording of an empty room.
fn recording(folder: &Path, name: &str, frames: u32) -> PathBuf {
    let path = folder.join(name);
    let mut recorder = Recorder::create(&path, &Calibration::assumed(640, 480)).unwrap();
    for frame in 0..frames {
        let sample = PoseSample {
            frame_sequence: frame,
            capture: MonoNs(1_000_000_000 + u64::from(frame) * 33_333_333),
            width_px: 640,
            height_px: 480,
            ..PoseSample::default()
        };
        recorder.add(&sample).unwrap();
    }
    recorder.finish().unwrap();
    path
}

fn run(arguments: &[&str]) -> Output {
    poised(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The exit code as a shell has it: a signal counts from 128.
fn code(output: &Output) -> i32 {
    let status = output.status;
    status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap()
}

/// Codes and their meanings in the manual page.
fn manual() -> BTreeMap<i32, String> {
    let folder = tempfile::tempdir().unwrap();
    let made = run(&["man", folder.path().to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
    let page = std::fs::read_to_string(folder.path().join("poised.1")).unwrap();
    let (_, table) = page.split_once("Exit status:").unwrap();
    table
        .lines()
        .map(|line| line.replace('\\', ""))
        .filter_map(|line| {
            let (code, meaning) = line.trim().split_once(' ')?;
            Some((code.parse().ok()?, meaning.trim().to_owned()))
        })
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn every_exit_code_of_the_manual_is_given_for_what_it_says() {
    let manual = manual();
    assert_eq!(manual.len(), 11, "{manual:?}");
    // The documents have the same table.
    let field = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/service.md"),
    );
    let field = field.unwrap().replace('\\', "");
    for (code, meaning) in &manual {
        assert!(
            field.contains(&format!("| {code} | {meaning} |")),
            "{code} {meaning}"
        );
    }

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    recording(folder.path(), "room.poses", 10);
    let room = at("room.poses");
    std::fs::write(at("text.poses"), "these are words").unwrap();
    std::fs::write(at("wrong.toml"), "[people]\npeople_max = 12\n").unwrap();
    std::fs::write(
        at("lens.toml"),
        "[calibration]\nfile = \"/nowhere/lens.yaml\"\n",
    )
    .unwrap();
    std::fs::write(at("models.toml"), "[models]\ndirectory = \"/nowhere\"\n").unwrap();
    std::fs::write(at("old"), "old").unwrap();
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary/actions.dictionary"),
        at("own.dictionary"),
    )
    .unwrap();
    let own = at("own.dictionary");
    let cases: &[(i32, &[&str], &str)] = &[
        (0, &["models", "list"], ""),
        (0, &["replay", &room, "--record", &at("copy.poses")], ""),
        (64, &["frobnicate"], "frobnicate"),
        (
            64,
            &["replay", &room, "--overlay", &at("pictures")],
            "--overlay",
        ),
        (
            64,
            &["dictionary", "teach", "--name", "x", &room],
            "--dictionary FILE",
        ),
        (64, &["dictionary", "remove", "walk"], "--dictionary FILE"),
        (64, &["export", &room], "--csv FILE"),
        (64, &["export", &room, "--person", "1"], "--trc"),
        (66, &["replay", "/nowhere/a.poses"], "/nowhere/a.poses"),
        (
            66,
            &["export", "/nowhere/a.poses", "--csv", &at("none")],
            "/nowhere/a.poses",
        ),
        (
            66,
            &["export", &at("text.poses"), "--mcap", &at("none")],
            "not a recording",
        ),
        (66, &["export", &room, "--trc", &at("none")], "no person"),
        (66, &["replay", &at("text.poses")], "not a recording"),
        (
            66,
            &["replay", &room, "--models", "/nowhere"],
            "/nowhere/lifter",
        ),
        (66, &["dictionary", "query", &room], "no person is seen"),
        (
            66,
            &["dictionary", "query", "/nowhere/a.poses"],
            "/nowhere/a.poses",
        ),
        (66, &["dictionary", "show", "unheard of"], "unheard of"),
        (
            66,
            &["dictionary", "--dictionary", &own, "remove", "unheard of"],
            "unheard of",
        ),
        (
            66,
            &[
                "dictionary",
                "--dictionary",
                &own,
                "teach",
                "--name",
                "x",
                &room,
            ],
            "no person",
        ),
        (
            66,
            &["dictionary", "--dictionary", &at("old"), "show"],
            "not a dictionary",
        ),
        (
            66,
            &[
                "dictionary",
                "build",
                "--motions",
                "/nowhere.json",
                "-o",
                &at("new"),
            ],
            "/nowhere.json",
        ),
        (66, &["eval", "--motions", "/nowhere.json"], "/nowhere.json"),
        (66, &["eval", "--clips", "/nowhere"], "/nowhere"),
        (66, &["models", "--models", "/nowhere", "list"], "/nowhere"),
        (66, &["check", &at("lens.toml")], "/nowhere/lens.yaml"),
        (66, &["check", &at("models.toml")], "[models] directory"),
        (66, &["check", "/nowhere.toml"], "/nowhere.toml"),
        (69, &["replay", "/nowhere.mp4"], "/nowhere.mp4"),
        (69, &["dictionary", "query", "/nowhere.mp4"], "/nowhere.mp4"),
        (73, &["replay", &room, "--record", &at("old")], "--force"),
        (
            73,
            &["replay", &room, "--record", &room, "--force"],
            "is the input",
        ),
        (73, &["replay", &room, "--poses", "/nowhere/a"], "/nowhere"),
        (73, &["export", &room, "--csv", &at("old")], "--force"),
        (
            73,
            &["export", &room, "--mcap", &room, "--force"],
            "is the input",
        ),
        (
            73,
            &["export", &room, "--csv", &at("x"), "--mcap", &at("x")],
            "the same file",
        ),
        (73, &["man", &at("old")], "must be a folder"),
        (74, &["replay", &room, "--poses", "/dev/full"], "/dev/full"),
        (74, &["replay", &room, "--record", "/dev/full"], "/dev/full"),
        (74, &["export", &room, "--csv", "/dev/full"], "/dev/full"),
        (74, &["export", &room, "--mcap", "/dev/full"], "/dev/full"),
        (78, &["check", &at("wrong.toml")], "people.people_max"),
        (
            78,
            &["eval", "--motions", "/nowhere.json", "--methods", "magic"],
            "magic",
        ),
    ];
    let mut seen = BTreeSet::new();
    for (want, arguments, words) in cases {
        let output = run(arguments);
        assert_eq!(code(&output), *want, "{arguments:?}: {}", said(&output));
        assert!(
            said(&output).contains(words),
            "{arguments:?}: {}",
            said(&output)
        );
        seen.insert(*want);
    }
    // 141 has a test of its own below, 65 and 130 have theirs in end_to_end.rs; 70 is a mistake that a test would
    // know of.
    for code in manual
        .keys()
        .filter(|code| ![65, 70, 130, 141].contains(code))
    {
        assert!(seen.contains(code), "{code}");
    }
    assert_eq!(std::fs::read_to_string(at("old")).unwrap(), "old");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Under which a [`talker`] publishes.
const TALK: &str = "poised/test/talker/front/poses";

/// A peer that publishes what `watch` has to print for as long as the second value is kept: its endpoint.
fn talker() -> (String, Arc<()>) {
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("listen/endpoints", format!("[{endpoint:?}]")),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    let session = zenoh::open(config).wait().unwrap();
    let kept = Arc::new(());
    let wanted = Arc::downgrade(&kept);
    let talks = std::thread::Builder::new().spawn(move || {
        while wanted.strong_count() > 0 {
            session.put(TALK, "no message").wait().unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    talks.unwrap();
    (endpoint, kept)
}

/// Commands that print, quickly and without a camera. `export` and `replay --record` write files only.
fn printing<'a>(room: &'a str, config: &'a str, talker: &'a str) -> Vec<Vec<&'a str>> {
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["check", config],
        vec!["models", "list"],
        vec!["models", "verify"],
        vec!["watch", "--json", "--connect", talker, TALK],
        vec!["dictionary", "show"],
        vec!["dictionary", "show", "--json"],
        vec!["engine", "list"],
        vec!["doctor"],
        vec!["doctor", "--json"],
        vec!["replay", room],
        vec!["replay", "--json", room],
        vec!["demo", "--seconds", "1", "--json"],
    ]
}

#[test]
fn a_reader_that_goes_away_ends_every_command_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let room = recording(folder.path(), "room.poses", 10);
    let config = folder.path().join("poised.toml");
    std::fs::write(&config, "[camera]\nname = \"front\"\n").unwrap();
    let (endpoint, _talker) = talker();
    for arguments in printing(room.to_str().unwrap(), config.to_str().unwrap(), &endpoint) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = poised(&arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        assert_eq!(code(&output), 141, "{arguments:?}: {}", said(&output));
        let lines: Vec<String> = said(&output).lines().map(str::to_owned).collect();
        let told = lines
            .iter()
            .any(|line| line.starts_with("ERROR") || line.contains("panicked"));
        assert!(!told, "{arguments:?}: {lines:?}");
    }
}

#[test]
fn a_full_disk_is_told_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let room = recording(folder.path(), "room.poses", 10);
    let config = folder.path().join("poised.toml");
    std::fs::write(&config, "[camera]\nname = \"front\"\n").unwrap();
    let (endpoint, _talker) = talker();
    for arguments in printing(room.to_str().unwrap(), config.to_str().unwrap(), &endpoint) {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = poised(&arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        assert_eq!(code(&output), 74, "{arguments:?}: {}", said(&output));
        let words = said(&output);
        assert!(
            words.contains("standard output: cannot be written"),
            "{arguments:?}: {words}"
        );
        assert!(words.contains("No space left"), "{arguments:?}: {words}");
        assert!(!words.contains("panicked"), "{arguments:?}: {words}");
    }
}

#[test]
fn no_command_overwrites_what_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let room = recording(folder.path(), "room.poses", 10);
    let before = std::fs::read(&room).unwrap();
    symlink("room.poses", at("link")).unwrap();
    std::fs::hard_link(&room, at("hard.poses")).unwrap();
    let pictures = at("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ramp_320x240_422.jpg");
    std::fs::copy(&shipped, format!("{pictures}/000000.png")).unwrap();
    let room = at("room.poses");
    for (option, path) in [
        ("--record", &room),
        ("--poses", &room),
        ("--record", &at("link")),
        ("--poses", &at("hard.poses")),
    ] {
        for force in [&[][..], &["--force"]] {
            let output = run(&[&["replay", &room, option, path], force].concat());
            assert_eq!(code(&output), 73, "{option} {path}: {}", said(&output));
        }
    }
    for force in [&[][..], &["--force"]] {
        let output = run(&[&["replay", &pictures, "--overlay", &pictures], force].concat());
        assert_eq!(code(&output), 73, "{}", said(&output));
    }
    // Names are bytes: this one is no text.
    let odd = folder.path().join(OsStr::from_bytes(b"\xff.poses"));
    std::fs::copy(&room, &odd).unwrap();
    for option in ["--record", "--poses"] {
        let refused = poised(&["replay", "--force", option])
            .args([&odd, &odd])
            .output()
            .unwrap();
        assert_eq!(code(&refused), 73, "{option}: {}", said(&refused));
        assert!(said(&refused).contains("is the input"), "{option}");
    }
    assert_eq!(std::fs::read(&odd).unwrap(), before);
    assert_eq!(std::fs::read(&room).unwrap(), before);
    assert_eq!(
        std::fs::read(format!("{pictures}/000000.png")).unwrap(),
        std::fs::read(&shipped).unwrap()
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
    // An older output goes with --force only.
    let output = run(&["replay", &room, "--record", &at("new.poses")]);
    assert!(output.status.success(), "{}", said(&output));
    let output = run(&["replay", &room, "--record", &at("new.poses")]);
    assert_eq!(code(&output), 73, "{}", said(&output));
    let output = run(&["replay", &room, "--record", &at("new.poses"), "--force"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn check_refuses_what_run_refuses_with_the_same_code_and_words() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("lens.toml"), Calibration::assumed(640, 480).to_toml()).unwrap();
    let lens = format!("[calibration]\nfile = {:?}", at("lens.toml"));
    let film = format!("source = \"tests/data/grey_64x64.jpg\"\n{lens}");
    let drawn = format!("[camera.synthetic]\nwidth_px = 320\nheight_px = 200\n{lens}");
    for (want, camera, words) in [
        (69, "source = \"/nowhere.mp4\"", "/nowhere.mp4: no such"),
        (
            69,
            "source = \"file:///nowhere.mp4\"",
            "/nowhere.mp4: no such",
        ),
        (69, "source = \"rtmp://x\"", "rtmp://x: must be"),
        (69, "source = \"/dev/null\"", "/dev/null: is no video"),
        (
            69,
            "[camera.v4l2]\ndevice = \"/dev/null\"",
            "/dev/null: is no video",
        ),
        (66, film.as_str(), "640x480 images"),
        (66, drawn.as_str(), "640x480 images"),
    ] {
        let path = at("poised.toml");
        let text = format!(
            "[camera]\nname = \"front\"\n{camera}\n[zenoh]\nsite = \"test\"\ndevice = \"refused\"\n\
             listen = [\"tcp/127.0.0.1:{}\"]\n",
            free_port()
        );
        std::fs::write(&path, text).unwrap();
        let outputs = [run(&["check", &path]), run(&["run", "-c", &path])];
        let [checked, ran] = outputs.map(|output| {
            let last = said(&output).lines().last().map(str::to_owned);
            (code(&output), last.unwrap_or_default())
        });
        assert_eq!(checked.0, want, "{camera}: {}", checked.1);
        assert!(checked.1.contains(words), "{camera}: {}", checked.1);
        assert_eq!(checked, ran, "{camera}");
    }
}

#[test]
fn home_is_known_in_the_paths_of_a_configuration() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("film")).unwrap();
    std::fs::copy(root().join("tests/data/grey_64x64.jpg"), at("film/1.jpg")).unwrap();
    std::fs::write(at("lens.toml"), Calibration::assumed(64, 64).to_toml()).unwrap();
    std::fs::write(at("password"), "geheim\n").unwrap();
    symlink(root().join("models"), at("models")).unwrap();
    let text = "[camera]\nname = \"front\"\nsource = \"~/film\"\n\
        [calibration]\nfile = \"$HOME/lens.toml\"\n\
        [models]\ndirectory = \"~/models\"\nperson = \"~/models/person\"\n\
        [semantics]\ndictionary = \"${HOME}/models/dictionary/actions.dictionary\"\n\
        [exercise]\nfile = \"~/models/exercises.toml\"\n\
        [mqtt]\nbroker = \"mqtts://localhost\"\nusername = \"kim\"\npassword_file = \"~/password\"\n\
        [record]\nfolder = \"~/recordings\"\n\
        [session]\nenabled = true\nfolder = \"~/sessions\"\n";
    std::fs::write(at("poised.toml"), text).unwrap();
    let path = at("poised.toml");
    let checked = poised(&["check", path.to_str().unwrap()])
        .env("HOME", home.path())
        .env_remove("POISED_MODELS")
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
    let shown = String::from_utf8_lossy(&checked.stdout);
    for name in ["models/exercises.toml", "recordings", "sessions"] {
        let whole = at(name).display().to_string();
        assert!(shown.contains(&whole), "{whole}: {shown}");
    }
    assert!(!at("recordings").exists() && !at("sessions").exists());
}

#[test]
fn a_calibration_with_its_name_in_capitals_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let lens = folder.path().join("X.YAML");
    let text = "image_width: 64\nimage_height: 64\n\
        camera_matrix:\n  data: [60, 0, 31.5, 0, 60, 31.5, 0, 0, 1]\n\
        distortion_model: plumb_bob\n\
        distortion_coefficients:\n  data: [0, 0, 0, 0, 0]\n";
    std::fs::write(&lens, text).unwrap();
    let lens = lens.to_str().unwrap();
    let picture = "tests/data/grey_64x64.jpg";
    let output = run(&["replay", "--json", "--calibration", lens, picture]);
    assert!(output.status.success(), "{}", said(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["frames"], 1);
}

#[test]
fn a_recording_cut_by_a_power_loss_is_played_up_to_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let room = recording(folder.path(), "room.poses", 30);
    let length = std::fs::metadata(&room).unwrap().len();
    File::options()
        .write(true)
        .open(&room)
        .unwrap()
        .set_len(length - 50)
        .unwrap();
    let output = run(&["replay", "--json", room.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["frames"], 29);
    assert_eq!(
        said(&output).matches("cut off").count(),
        1,
        "{}",
        said(&output)
    );
}

#[test]
fn what_is_taught_without_a_dictionary_of_its_own_never_changes_the_one_that_ships() {
    let folder = tempfile::tempdir().unwrap();
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary/actions.dictionary");
    let before = std::fs::read(&shipped).unwrap();
    let own = folder.path().join("own.dictionary");
    let own = own.to_str().unwrap();
    // A file that does not exist yet begins as the one that ships.
    let output = run(&["dictionary", "--dictionary", own, "remove", "walk"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = run(&["dictionary", "--dictionary", own, "show", "walk"]);
    assert_eq!(code(&output), 66, "{}", said(&output));
    assert!(run(&["dictionary", "show", "walk"]).status.success());
    assert_eq!(std::fs::read(&shipped).unwrap(), before);
}
