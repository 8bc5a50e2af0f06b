//! A program built for another processor, run by an emulator: `./dev cross` names both in `POISED_PROGRAM` and
//! `POISED_RUNNER`. Without them the program of this machine is tried, so that the tests themselves are.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use poised::publish::ZenohConfig;
use poised::publish::subscribe::Subscription;

fn poised(arguments: &[&str]) -> Command {
    let program =
        std::env::var("POISED_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_poised").to_owned());
    let runner = std::env::var("POISED_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([program.as_str()]);
    let mut command = Command::new(words.next().unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    command
        .args(words)
        .args(arguments)
        .current_dir(root)
        .env("POISED_MODELS", root.join("models"))
        .env_remove("RUST_LOG");
    command
}

/// A child that does not outlive the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn all_networks_load_and_agree_with_their_hashes() {
    let output = poised(&["models", "verify"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn a_drawn_person_is_found_as_well_as_here() {
    let arguments = [
        "demo",
        "--seconds",
        "20",
        "--width",
        "320",
        "--height",
        "240",
        "--rate",
        "5",
        "--json",
    ];
    let output = poised(&arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{report}");
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}"));
    assert_eq!(report["published"], report["received"]);
    assert!(number("published") > 3.0);
    assert!(number("frames_with_people") > 0.8 * number("published"));
    assert!(
        number("pa_mpjpe_mm") < 120.0,
        "{} mm",
        number("pa_mpjpe_mm")
    );
}

#[test]
fn the_daemon_publishes_poses_and_leaves_on_sigterm() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poised.toml");
    let text = format!(
        "[camera.synthetic]\nwidth_px = 320\nheight_px = 240\nrate_hz = 5\n\
         [zenoh]\nlisten = [\"tcp/127.0.0.1:{port}\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    let child = poised(&["run", "-c", path.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut daemon = Daemon(child);
    let (send, receive) = mpsc::channel();
    let config = ZenohConfig {
        connect: vec![format!("tcp/127.0.0.1:{port}")],
        ..ZenohConfig::default()
    };
    let _subscription = Subscription::open(&config, "poised/**/poses", move |received| {
        let _ = send.send(received.message.unwrap().sample.people.len());
    })
    .unwrap();
    let patience = Duration::from_mins(3);
    let people: usize = (0..5)
        .map(|_| receive.recv_timeout(patience).unwrap())
        .sum();
    assert!(people >= 3, "{people} people in 5 poses");
    let pid = daemon.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
}
