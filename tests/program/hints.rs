//! Hints, and recordings of what is published: the built daemon over real Zenoh on the loopback.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::cddl::Schema;
use crate::common::daemon::{Daemon, PATIENCE, eventually, poised, root};
use minicbor::Encoder;
use zenoh::Wait;

use poised::base::clock::Clock;
use poised::output::ZenohConfig;
use poised::output::record::Recording;
use poised::output::subscribe::{Received, Subscription};
use poised::output::wire::CDDL;
use poised::pose::{Action, ActionSource};

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

/// What the newest pose says that the one person does; outer `None` before there is one.
type Newest = Arc<Mutex<Option<Option<Action>>>>;

fn follow(daemon: &Daemon) -> (Subscription, Newest) {
    let config = ZenohConfig {
        connect: vec![daemon.address.clone()],
        ..ZenohConfig::default()
    };
    let newest = Newest::default();
    let into = Arc::clone(&newest);
    let keys = format!("{}/poses", daemon.key);
    let subscription = Subscription::open(&config, &keys, move |received: Received| {
        if let Some(person) = received.message.unwrap().sample.people.first() {
            *into.lock().unwrap() = Some(person.action.clone());
        }
    });
    (subscription.unwrap(), newest)
}

fn hint(label: &str, for_s: f64) -> Vec<u8> {
    let mut cbor = Encoder::new(Vec::new());
    cbor.map(2).unwrap();
    cbor.str("label").unwrap().str(label).unwrap();
    cbor.str("for_s").unwrap().f64(for_s).unwrap();
    cbor.into_writer()
}

fn hinted(newest: &Newest) -> Option<String> {
    let newest = newest.lock().unwrap();
    let action = newest.as_ref()?.as_ref()?;
    (action.source == ActionSource::Hint).then(|| action.label.as_str().to_owned())
}

#[test]
fn a_hint_is_the_label_while_it_is_fresh_and_a_bad_one_changes_nothing() {
    let schema = Schema::read(CDDL);
    schema.check("hint", &hint("squat", 2.0)).unwrap();
    assert!(
        schema
            .check("hint", &[0xa0])
            .unwrap_err()
            .contains("missing")
    );

    let daemon = Daemon::start("hints", "[semantics]\nhints = true\n");
    let (_subscription, newest) = follow(&daemon);
    eventually("a person", || newest.lock().unwrap().is_some());
    let session = daemon.session();
    let key = format!("{}/hint", daemon.key);
    let send = |bytes: Vec<u8>| session.put(&key, bytes).wait().unwrap();

    // A peer that has just come may not be heard at once.
    eventually("the hint is the label", || {
        send(hint("climb a ladder", 1.5));
        hinted(&newest).as_deref() == Some("climb a ladder")
    });
    send(b"\xff".to_vec());
    send(hint("no such thing", 30.0));
    send(hint("squat", -1.0));
    std::thread::sleep(Duration::from_millis(300));
    let now = hinted(&newest);
    assert!(
        now.is_none() || now.as_deref() == Some("climb a ladder"),
        "{now:?}"
    );
    eventually("it has run out", || hinted(&newest).is_none());
    send(hint("squat", 20.0));
    eventually("the next one counts", || {
        hinted(&newest).as_deref() == Some("squat")
    });
}

#[test]
fn without_leave_a_hint_is_not_heard() {
    let daemon = Daemon::start("no-hints", "");
    let (_subscription, newest) = follow(&daemon);
    eventually("a person", || newest.lock().unwrap().is_some());
    let session = daemon.session();
    let key = format!("{}/hint", daemon.key);
    for _ in 0..20 {
        session.put(&key, hint("squat", 30.0)).wait().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(hinted(&newest), None);
    }
}

#[test]
fn what_is_watched_is_recorded_with_its_lens_and_can_be_taught() {
    let daemon = Daemon::start("watched", "");
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.poses");
    let watched = poised(&[
        "watch",
        &format!("{}/poses", daemon.key),
        "--connect",
        &daemon.address,
        "--messages",
        "150",
        "--record",
        clip.to_str().unwrap(),
    ])
    .output()
    .unwrap();
    assert!(watched.status.success(), "{}", said(&watched));
    let recording = Recording::open(&clip).unwrap();
    assert_eq!(recording.calibration().size_px(), (320, 240));
    let times: Vec<_> = recording.map(|sample| sample.unwrap().capture).collect();
    assert!(times.len() >= 150, "{}", times.len());
    assert!(times.is_sorted());

    let own: PathBuf = folder.path().join("own.dictionary");
    std::fs::copy(root().join("models/dictionary/actions.dictionary"), &own).unwrap();
    let teach = poised(&[
        "dictionary",
        "--dictionary",
        own.to_str().unwrap(),
        "teach",
        "--name",
        "the drawn one",
        clip.to_str().unwrap(),
    ])
    .output()
    .unwrap();
    assert!(teach.status.success(), "{}", said(&teach));
    let show = poised(&[
        "dictionary",
        "--dictionary",
        own.to_str().unwrap(),
        "show",
        "the drawn one",
    ])
    .output()
    .unwrap();
    assert!(said(&show).contains("taught"), "{}", said(&show));
}

#[test]
fn a_watch_that_hears_nothing_writes_no_recording_and_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.poses");
    let mut child = poised(&["watch", "poised/absent/*/*/poses", "--record"])
        .arg(&clip)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let stopped = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(stopped.unwrap().success());
    let clock = Clock::live();
    let started = clock.now();
    while child.try_wait().unwrap().is_none() {
        if clock.now().since(started) > PATIENCE {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(
        said(&output).contains("no message received"),
        "{}",
        said(&output)
    );
    assert!(!clip.exists());
}
