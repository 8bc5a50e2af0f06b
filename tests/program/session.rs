//! Exercise sessions: a kiosk starts, stops and asks over real Zenoh; `poised replay --session`; the Python example.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use minicbor::Encoder;
use serde_json::Value;
use zenoh::{Session, Wait};

use crate::common::cddl::Schema;
use crate::common::daemon::{Daemon, PATIENCE, eventually, poised, root, session};
use crate::common::samples::{bent, squatting as knees, two_people};
use crate::common::{data, python};
use poised::base::clock::{Clock, MonoNs};
use poised::counters::Counters;
use poised::motion::exercise::ExerciseConfig;
use poised::output::json::to_json;
use poised::output::session::Offered;
use poised::output::wire::CDDL;
use poised::output::{
    Documents, Outlet, PublishConfig, Publisher, Sessions, SessionsConfig, ZenohConfig,
};

/// A kiosk that talks to one daemon.
struct Kiosk {
    session: Session,
    key: String,
    schema: Schema,
}

impl Kiosk {
    fn of(daemon: &Daemon) -> Self {
        let kiosk = Self {
            session: daemon.session(),
            key: format!("{}/session", daemon.key),
            schema: Schema::read(CDDL),
        };
        eventually("the daemon answers", || {
            let replies = kiosk.session.get(&kiosk.key).payload(command("status"));
            replies.wait().unwrap().recv().is_ok()
        });
        kiosk
    }

    /// What is answered to a query of `key`: its encoding and payload, or an error's text.
    fn get(&self, key: &str, payload: Vec<u8>) -> Option<Result<(String, Vec<u8>), String>> {
        let get = self.session.get(key.to_owned()).payload(payload);
        let replies = get.timeout(PATIENCE).wait().unwrap();
        let reply = replies.recv().ok()?;
        Some(match reply.into_result() {
            Ok(sample) => Ok((
                sample.encoding().to_string(),
                sample.payload().to_bytes().into_owned(),
            )),
            Err(error) => Err(error.payload().try_to_string().unwrap().into_owned()),
        })
    }

    /// The answer to a request, checked against the schema.
    fn ask(&self, payload: Vec<u8>) -> Value {
        let (encoding, bytes) = self.get(&self.key, payload).unwrap().unwrap();
        assert_eq!(encoding, "application/cbor;session/v1");
        self.schema.check("session_answer", &bytes).unwrap();
        to_json(&bytes).unwrap()
    }

    fn start(&self, exercise: &str, label: &str) -> Value {
        let mut cbor = Encoder::new(Vec::new());
        cbor.map(3).unwrap();
        for (key, text) in [
            ("command", "start"),
            ("exercise", exercise),
            ("label", label),
        ] {
            cbor.str(key).unwrap().str(text).unwrap();
        }
        let bytes = cbor.into_writer();
        self.schema.check("session_request", &bytes).unwrap();
        self.ask(bytes)
    }

    fn summary(&self) -> Result<Value, String> {
        let (encoding, bytes) = self
            .get(&format!("{}/summary", self.key), Vec::new())
            .unwrap()?;
        assert_eq!(encoding, "application/json");
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    fn page(&self) -> Result<String, String> {
        let (encoding, bytes) = self
            .get(&format!("{}/page", self.key), Vec::new())
            .unwrap()?;
        assert_eq!(encoding, "text/html");
        Ok(String::from_utf8(bytes).unwrap())
    }
}

fn command(word: &str) -> Vec<u8> {
    let mut cbor = Encoder::new(Vec::new());
    cbor.map(1).unwrap();
    cbor.str("command").unwrap().str(word).unwrap();
    cbor.into_writer()
}

fn detail(answer: &Value) -> &str {
    assert_eq!(answer["done"], false, "{answer}");
    answer["detail"].as_str().unwrap()
}

/// Sessions of a person who squats before a synthetic camera.
fn squatting(device: &str, more: &str) -> Daemon {
    let more = format!("[session]\nenabled = true\n{more}");
    let folder = tempfile::tempdir().unwrap();
    Daemon::filming("scenario = \"squat\"\n", folder, device, &more)
}

#[test]
fn a_kiosk_starts_stops_and_gets_the_summary_of_a_session() {
    let daemon = squatting("sessions", "folder = \"$FOLDER/kept\"\n");
    let kiosk = Kiosk::of(&daemon);
    // Before any session.
    let stopped = kiosk.ask(command("stop"));
    assert_eq!(detail(&stopped), "no session runs");
    assert!(
        kiosk
            .summary()
            .unwrap_err()
            .contains("no session has ended")
    );
    let unknown = kiosk.start("squad", "");
    assert!(
        detail(&unknown).contains("exercise = \"squad\": must be one of arm_raise,"),
        "{unknown}"
    );
    let wordy = kiosk.start("squat", &"x".repeat(65));
    assert_eq!(detail(&wordy), "label: 65 bytes, at most 64");
    assert!(detail(&kiosk.ask(command("explode"))).contains("start, stop, status"));
    assert!(detail(&kiosk.ask(command("start"))).contains("[exercise] name"));

    let started = kiosk.start("squat", "station <2>");
    assert_eq!(started["done"], true, "{started}");
    let again = kiosk.start("lunge", "");
    assert!(detail(&again).contains("a session of squat has been running"));
    assert_eq!(again["session"]["exercise"], "squat", "it goes on");
    assert!(kiosk.summary().unwrap_err().contains("stop it first"));
    eventually("a person", || {
        let status = kiosk.ask(command("status"));
        assert_eq!(status["session"]["running"], true, "{status}");
        status["session"]["people"] == 1
    });
    let stopped = kiosk.ask(command("stop"));
    assert_eq!(stopped["done"], true, "{stopped}");
    let told = &stopped["session"];
    assert_eq!(
        (&told["running"], &told["ended"]),
        (&false.into(), &"stopped".into())
    );

    let summary = kiosk.summary().unwrap();
    assert_eq!(summary["schema"], "session_summary/v1");
    assert_eq!(summary["label"], "station <2>");
    let people = summary["people"].as_array().unwrap();
    let whole: u64 = people
        .iter()
        .map(|one| one["whole"].as_u64().unwrap())
        .sum();
    assert_eq!(told["whole"], whole);
    let samples = people[0]["samples"]["time_s"].as_array().unwrap().len();
    assert!(samples > 0);
    let page = kiosk.page().unwrap();
    assert!(page.contains("<h1>Squat</h1>") && page.contains("station &lt;2&gt;"));
    assert!(page.contains("Not a medical device."));
    // Again, until the next one starts; and kept as asked.
    assert_eq!(kiosk.summary().unwrap(), summary);
    assert!(detail(&kiosk.ask(command("stop"))).contains("can still be asked for"));
    let kept = held(&daemon.folder.path().join("kept"));
    let [html, json] = kept.as_slice() else {
        panic!("{kept:?}");
    };
    assert_eq!(std::fs::read_to_string(html).unwrap(), page);
    let read: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(read, summary);

    // A wildcard is no request and no question for a summary.
    for leaf in ["session/*", "**", "sess$*"] {
        let key = format!("{}/{leaf}", daemon.key);
        let get = kiosk.session.get(key.clone()).payload(command("start"));
        let replies = get.timeout(Duration::from_secs(2)).wait().unwrap();
        let own = replies
            .into_iter()
            .filter_map(|reply| reply.into_result().ok())
            .filter(|sample| sample.key_expr().as_str().contains("/front/session"));
        assert_eq!(own.count(), 0, "{key}");
    }

    // One that runs at the end of the daemon is kept too, with the reason.
    assert_eq!(kiosk.start("marching", "")["done"], true);
    eventually("it sees a person", || {
        kiosk.ask(command("status"))["session"]["people"] == 1
    });
    drop(kiosk);
    let folder = daemon.stop();
    let last = std::fs::read_dir(folder.path().join("kept")).unwrap();
    let texts: Vec<String> = last
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(texts.len(), 4);
    assert!(
        texts
            .iter()
            .any(|text| text.contains("\"ended\":\"shutdown\""))
    );
}

/// The paths in a folder, in order.
fn held(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_kiosk_without_a_folder_keeps_nothing_on_the_device() {
    let daemon = squatting("unkept", "");
    let before = held(daemon.folder.path());
    assert_eq!(
        before,
        ["log", "poised.toml"].map(|name| daemon.folder.path().join(name))
    );
    let kiosk = Kiosk::of(&daemon);
    let seen = || {
        eventually("a person", || {
            kiosk.ask(command("status"))["session"]["people"] == 1
        });
    };
    assert_eq!(kiosk.start("squat", "")["done"], true);
    seen();
    assert_eq!(kiosk.ask(command("stop"))["done"], true);
    assert_eq!(kiosk.summary().unwrap()["ended"], "stopped");
    assert_eq!(held(daemon.folder.path()), before, "after one was stopped");
    // One that runs when the daemon ends.
    assert_eq!(kiosk.start("squat", "")["done"], true);
    seen();
    drop(kiosk);
    let folder = daemon.stop();
    assert_eq!(held(folder.path()), before, "after the daemon ended");
}

#[test]
fn a_session_counts_what_is_published() {
    let config = ZenohConfig {
        site: "test".into(),
        device: "counted".into(),
        listen: Some(vec!["tcp/127.0.0.1:0".into()]),
        ..ZenohConfig::default()
    };
    // Time is that of the frames, so that a busy machine counts as many.
    let clock = Arc::new(Clock::standing(MonoNs(60_000_000_000)));
    let begun = clock.now();
    let mut outlet = Outlet::open(&config, "front", Documents::default(), begun).unwrap();
    let offered = Offered {
        exercises: ExerciseConfig::default().all().unwrap(),
        usual: None,
    };
    let wanted = SessionsConfig {
        enabled: true,
        max_minutes: 1,
        ..SessionsConfig::default()
    };
    let sessions = Sessions::open(&wanted, offered, "front", &clock).unwrap();
    let sessions = sessions.unwrap();
    outlet.hear_sessions(sessions.desk()).unwrap();
    let kiosk = Kiosk {
        session: session(&[outlet.endpoints()[0].clone()]),
        key: config.key("front", "session"),
        schema: Schema::read(CDDL),
    };
    let (counters, settings) = (Counters::default(), PublishConfig::default());
    let status = Arc::default();
    let mut publisher = Publisher::new(&settings, "front", status, &clock, &counters, outlet);
    publisher.also(sessions);
    let mut sample = two_people();
    let mut film = |frames: std::ops::Range<u32>| {
        for frame in frames {
            let time = begun.plus(Duration::from_secs(1) / 30 * frame);
            clock.set(time);
            sample.capture = time;
            sample.people.clear();
            assert!(sample.people.push(bent(4, knees(frame))).is_ok());
            publisher.publish(&mut sample);
        }
    };
    assert_eq!(kiosk.start("squat", "")["done"], true);
    // A second at rest, and three squats of three seconds.
    film(0..315);
    let stopped = kiosk.ask(command("stop"));
    assert_eq!(stopped["session"]["whole"], 3, "{stopped}");
    let summary = kiosk.summary().unwrap();
    assert_eq!(
        (&summary["frames"], &summary["frames_missed"]),
        (&315.into(), &0.into())
    );
    let one = &summary["people"][0];
    assert_eq!((&one["person"], &one["whole"]), (&4.into(), &3.into()));
    let deepest = one["depth_deg"]["mean"].as_f64().unwrap();
    assert!((deepest - 99.7).abs() < 3.0, "{deepest}");
    assert_eq!(one["samples"]["time_s"].as_array().unwrap().len(), 105);

    // One that is never stopped, and a kiosk that asks too late.
    assert_eq!(kiosk.start("squat", "")["done"], true);
    film(315..315 + 70 * 30);
    let late = kiosk.ask(command("stop"));
    assert!(
        detail(&late).contains("ended by itself at session.max_minutes"),
        "{late}"
    );
    assert_eq!(late["session"]["ended"], "cut");
    let summary = kiosk.summary().unwrap();
    assert_eq!(
        (&summary["ended"], &summary["duration_s"]),
        (&"cut".into(), &60.0.into())
    );
    assert!(kiosk.page().unwrap().contains("It was not stopped"));
    publisher.leave();
}

#[test]
fn without_leave_no_session_is_answered() {
    let daemon = Daemon::start("no-sessions", "[exercise]\nname = \"squat\"\n");
    let session = daemon.session();
    let last = format!("{}/last", daemon.key);
    eventually("a pose", || {
        let replies = session.get(&last).wait().unwrap();
        replies.recv().is_ok_and(|reply| reply.result().is_ok())
    });
    for leaf in ["session", "session/summary", "session/page"] {
        let key = format!("{}/{leaf}", daemon.key);
        let get = session.get(&key).payload(command("start"));
        let replies = get.timeout(Duration::from_secs(2)).wait().unwrap();
        assert!(replies.recv().is_err(), "{key}");
    }
}

#[test]
fn a_film_becomes_a_page_and_nothing_is_written_over() {
    let Some(film) = data::file("real/video/squats.mp4") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("squats.html");
    let play = |page: &Path, more: &[&str]| {
        let page = page.to_str().unwrap();
        let film = film.to_str().unwrap();
        let mut arguments = vec!["replay", film, "--exercise", "squat", "--session", page];
        arguments.extend(more);
        poised(&arguments).output().unwrap()
    };
    let output = play(&page, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let summary = folder.path().join("squats.json");
    let read: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
    let one = &read["people"][0];
    assert_eq!(
        (&one["whole"], &one["partial"]),
        (&2.into(), &1.into()),
        "{one}"
    );
    assert_eq!(
        (&read["camera"], &read["ended"]),
        (&"squats.mp4".into(), &"recording_over".into())
    );
    assert_eq!(read["started"], Value::Null);
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("<h1>Squat</h1>") && text.contains("and 1 partial"));
    assert!(!text.contains("Not the whole film"));

    std::fs::remove_file(&page).unwrap();
    let output = play(&page, &[]);
    assert_eq!(output.status.code(), Some(73), "the JSON is there");
    assert!(!page.exists());
    let output = play(&folder.path().join("squats.txt"), &[]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("must end in .html"), "{said}");
    let output = play(&page, &["--force", "--frames", "5"]);
    assert!(output.status.success());
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("No repetition was counted.") || text.contains("No person was in view."));
    assert!(text.contains("Not the whole film"), "{text}");
    let read: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
    assert_eq!(read["ended"], "unfinished");
}

#[test]
fn the_python_kiosk_runs_a_session_and_writes_the_page() {
    let examples = root().join("examples");
    let python = match std::env::var_os("POISED_PYTHON") {
        Some(named) => named.into(),
        None => match python::interpreter(&examples.join("requirements.txt"), "kiosk-session") {
            Ok(python) => python,
            Err(reason) => {
                assert!(std::env::var_os("POISED_NEED_PYTHON").is_none(), "{reason}");
                eprintln!("skipped: {reason}");
                return;
            }
        },
    };
    let daemon = squatting("python-kiosk", "");
    drop(Kiosk::of(&daemon));
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let run = |exercise: &str, seconds: &str| {
        Command::new(&python)
            .arg(examples.join("kiosk_session.py"))
            .args(["--connect", &daemon.address, "--camera", &daemon.key])
            .args(["--exercise", exercise, "--seconds", seconds])
            .args(["--label", "station 2", "--page", page.to_str().unwrap()])
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let refused = run("squad", "1");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("refused: exercise = \"squad\""),
        "{said}"
    );
    assert!(!page.exists());
    let output = run("squat", "6");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    assert!(
        said.contains("stopped after 6 s") || said.contains("stopped after 7 s"),
        "{said}"
    );
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("station 2") && text.ends_with("</html>"));
}
