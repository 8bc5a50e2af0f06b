//! A program built for another processor, run by an emulator: `./dev cross` names both in `POISED_PROGRAM` and
//! `POISED_RUNNER`. Without them the program of this machine is tried, so that the tests themselves are.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use poised::output::ZenohConfig;
use poised::output::subscribe::Subscription;
use poised::synthetic::{Scene, SyntheticConfig};

fn poised(arguments: &[&str]) -> Command {
    let program =
        std::env::var("POISED_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_poised").to_owned());
    let runner = std::env::var("POISED_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([program.as_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(arguments);
    with_models(command)
}

/// The same with this project's networks.
fn with_models(mut command: Command) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    command
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

/// Frames of the synthetic camera that are looked at: under emulation one takes seconds.
const FRAMES: u32 = 8;

/// Frames of a person drawn, as pictures in a folder.
fn film(folder: &Path) {
    let config = SyntheticConfig {
        width_px: 320,
        height_px: 240,
        rate_hz: 10.0,
        ..SyntheticConfig::default()
    };
    let mut scene = Scene::new(&config).unwrap();
    let mut rgb = vec![0; scene.image_bytes()];
    for frame in 0..FRAMES {
        scene.render_into(f64::from(frame) * 0.1, &mut rgb);
        let file = File::create(folder.join(format!("{frame}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, config.width_px, config.height_px);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&rgb).unwrap();
    }
}

/// Joints of the first person of each frame, metres in the camera frame; none without a person.
fn joints_of(mut program: Command, film: &Path, poses: &Path) -> Vec<Vec<f64>> {
    let output = program
        .args(["replay", film.to_str().unwrap()])
        .args(["--poses", poses.to_str().unwrap(), "--json"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let lines = std::fs::read_to_string(poses).unwrap();
    let joints = |line: &str| {
        let frame: Value = serde_json::from_str(line).unwrap();
        let joints = frame["persons"][0]["joints_camera_m"].as_array().cloned();
        let numbers = joints.unwrap_or_default().into_iter().flat_map(|joint| {
            let joint = joint.as_array().unwrap().clone();
            joint.into_iter().map(|number| number.as_f64().unwrap())
        });
        numbers.collect()
    };
    lines.lines().map(joints).collect()
}

#[test]
fn synthetic_frames_give_the_poses_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("film");
    std::fs::create_dir(&pictures).unwrap();
    film(&pictures);
    let there = joints_of(poised(&[]), &pictures, &folder.path().join("there"));
    let ours = with_models(Command::new(env!("CARGO_BIN_EXE_poised")));
    let here = joints_of(ours, &pictures, &folder.path().join("here"));
    assert_eq!(there.len(), FRAMES as usize);
    let seen = here.iter().filter(|joints| !joints.is_empty()).count();
    assert!(
        seen + 2 >= here.len(),
        "{seen} of {FRAMES} frames show a person"
    );
    let mut most = 0.0_f64;
    for (there, here) in there.iter().zip(&here) {
        assert_eq!(there.len(), here.len());
        for (there, here) in there.iter().zip(here) {
            most = most.max((there - here).abs());
        }
    }
    println!("{seen} frames, at most {} mm apart", 1e3 * most);
    assert!(most < APART_MAX_M, "{most} m apart");
}

/// Sums come in another order on another processor.
const APART_MAX_M: f64 = 0.000_1;

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
