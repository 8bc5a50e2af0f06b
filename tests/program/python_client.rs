//! `examples/subscribe.py` against a real publisher, in a virtual environment of
//! its own: a reader without any code of this project.
//!
//! Skipped, with the reason printed, where Python or its packages cannot be
//! had; with `POISED_NEED_PYTHON` set that is a failure. `POISED_PYTHON` names
//! an interpreter that has the packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::common::python;
use crate::common::samples::two_people;
use poised::base::clock::Clock;
use poised::counters::Counters;
use poised::output::{Documents, Outlet, PublishConfig, Publisher, ZenohConfig};
use poised::skeleton::{JOINT_NAMES, JOINTS};

/// An interpreter with the packages of `examples/requirements.txt`.
fn python(examples: &Path) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("POISED_PYTHON") {
        return Ok(named.into());
    }
    python::interpreter(&examples.join("requirements.txt"), "python-client")
}

#[test]
fn the_python_example_names_the_joints_in_the_order_of_the_wire() {
    let script = include_str!("../../examples/subscribe.py");
    let words: Vec<&str> = script
        .split(|c| !(c == '_' || char::is_alphanumeric(c)))
        .collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    assert!(words.windows(JOINTS).any(|window| window == JOINT_NAMES));
}

#[test]
fn the_python_example_prints_live_joints() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let python = match python(&examples) {
        Ok(python) => python,
        Err(reason) => {
            assert!(std::env::var_os("POISED_NEED_PYTHON").is_none(), "{reason}");
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let config = ZenohConfig {
        site: "test".into(),
        device: "python".into(),
        listen: Some(vec!["tcp/127.0.0.1:0".into()]),
        ..ZenohConfig::default()
    };
    let clock = Clock::live();
    let counters = Counters::default();
    let outlet = Outlet::open(&config, "front", Documents::default(), clock.now()).unwrap();
    let endpoint = outlet.endpoints()[0].clone();
    let settings = PublishConfig::default();
    let mut publisher = Publisher::new(
        &settings,
        "front",
        Arc::default(),
        &clock,
        &counters,
        outlet,
    );

    let mut reader = Command::new(python)
        .arg(examples.join("subscribe.py"))
        .args([
            "--connect",
            &endpoint,
            "--key",
            "poised/test/python/*/poses",
        ])
        .args(["--count", "5", "--joints", "left_wrist", "right_knee"])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sample = two_people();
    for _ in 0..1_000 {
        sample.capture = clock.now();
        publisher.publish(&mut sample);
        std::thread::sleep(Duration::from_millis(30));
        if reader.try_wait().unwrap().is_some() {
            break;
        }
    }
    // Ends it where it has not ended by itself; then the assertions below fail.
    let _ = reader.kill();
    let output = reader.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{complaint}");

    let messages = printed.matches("front_optical_frame #").count();
    assert_eq!(messages, 5, "{printed}");
    for line in [
        ", 2 people, ",
        "  person 7: raises the left arm (88%)",
        "  person 12: -",
        "    left_wrist     measured   x +0.81  y -1.38  z +3.41 m  ± 0.03",
        "    right_knee     absent",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in\n{printed}");
    }
}
