//! Learning on the device: what it says, what it obeys, what survives a restart and a power cut.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::cddl::{Schema, Value};
use crate::common::daemon;
use crate::common::daemon::{Daemon, eventually};
use crate::common::disk::{FailingDisk, SmallDisk};
use glam::Vec3;
use minicbor::Encoder;
use zenoh::Wait;
use zenoh::pubsub::Subscriber;

use poised::adapt::state::{State, StateError, before};
use poised::adapt::train::WEIGHTS;
use poised::output::wire::CDDL;

/// The newest message of a key.
struct Newest {
    bytes: Arc<Mutex<Option<Vec<u8>>>>,
    _subscriber: Subscriber<()>,
}

impl Newest {
    fn of(session: &zenoh::Session, key: &str) -> Self {
        let bytes = Arc::<Mutex<Option<Vec<u8>>>>::default();
        let into = Arc::clone(&bytes);
        let subscriber = session
            .declare_subscriber(key.to_owned())
            .callback(move |sample| {
                *into.lock().unwrap() = Some(sample.payload().to_bytes().to_vec());
            })
            .wait()
            .unwrap();
        Self {
            bytes,
            _subscriber: subscriber,
        }
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        self.bytes.lock().unwrap().clone()
    }

    /// What it says under a key.
    fn says(&self, key: &str) -> Option<Value> {
        Some(Value::of(&self.bytes()?).at(key).clone())
    }

    fn steps(&self) -> u64 {
        match self.says("steps") {
            Some(Value::Uint(steps)) => steps,
            _ => 0,
        }
    }
}

fn command(word: &str) -> Vec<u8> {
    let mut cbor = Encoder::new(Vec::new());
    cbor.map(1)
        .unwrap()
        .str("command")
        .unwrap()
        .str(word)
        .unwrap();
    cbor.into_writer()
}

const LEARNS: &str =
    "[adapt]\nstate = \"$FOLDER/front.adapted\"\ncontrol = true\ncore_share = 0.5\n";

#[test]
fn it_learns_reports_obeys_and_goes_on_after_a_restart() {
    let schema = Schema::read(CDDL);
    schema.check("control", &command("freeze")).unwrap();
    let daemon = Daemon::start("learns", LEARNS);
    let session = daemon.session();
    let newest = Newest::of(&session, &format!("{}/adaptation", daemon.key));
    eventually("it takes steps", || newest.steps() > 40);
    let bytes = newest.bytes().unwrap();
    schema.check("adaptation", &bytes).unwrap();

    let key = format!("{}/control", daemon.key);
    let send = |bytes: Vec<u8>| session.put(&key, bytes).wait().unwrap();
    send(b"nonsense".to_vec());
    send(command("explode"));
    send(command("snapshot"));
    let path = daemon.folder.path().join("front.adapted");
    eventually("a snapshot is there", || path.exists());
    let frozen = Some(Value::Text("frozen".into()));
    // In a row, without waiting for what comes of them, as a script sends them.
    send(command("freeze"));
    send(command("snapshot"));
    eventually("it is frozen", || newest.says("mode") == frozen);
    let stood = newest.steps();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(newest.steps(), stood, "frozen, it takes no steps");
    let asked = |session: &zenoh::Session, key: &str, word: &str| {
        let get = session.get(key.to_owned()).payload(command(word));
        let replies = get.timeout(daemon::PATIENCE).wait().unwrap();
        let reply = replies.recv().unwrap().into_result().unwrap();
        let bytes = reply.payload().to_bytes().into_owned();
        schema.check("control_answer", &bytes).unwrap();
        Value::of(&bytes).at("done").clone()
    };
    assert_eq!(asked(&session, &key, "explode"), Value::Bool(false));
    drop(session);

    // Frozen stays frozen, though the power goes.
    let folder = daemon.kill();
    let daemon = Daemon::start_in(folder, "learns-frozen", LEARNS);
    let session = daemon.session();
    let newest = Newest::of(&session, &format!("{}/adaptation", daemon.key));
    eventually("it is frozen still", || newest.says("mode") == frozen);
    let key = format!("{}/control", daemon.key);
    assert_eq!(asked(&session, &key, "thaw"), Value::Bool(true));
    eventually("it learns again", || newest.steps() > stood);
    drop(session);

    let folder = daemon.stop();
    let daemon = Daemon::start_in(folder, "learns-again", LEARNS);
    let session = daemon.session();
    let newest = Newest::of(&session, &format!("{}/adaptation", daemon.key));
    eventually("it speaks", || newest.says("steps").is_some());
    let steps = newest.steps();
    assert!(steps >= stood, "{steps} of {stood} steps are left");
    session
        .put(format!("{}/control", daemon.key), command("reset"))
        .wait()
        .unwrap();
    eventually("it has forgotten", || newest.steps() < stood);
    drop(session);
    daemon.stop();
}

#[test]
fn a_broken_state_means_the_factory_head_and_nothing_worse() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("front.adapted");
    std::fs::write(&kept, b"broken").unwrap();
    let daemon = Daemon::start_in(folder, "broken", LEARNS);
    let session = daemon.session();
    let newest = Newest::of(&session, &format!("{}/adaptation", daemon.key));
    eventually("it speaks", || newest.says("generation").is_some());
    assert_eq!(newest.says("generation"), Some(Value::Uint(0)));
    let log = std::fs::read_to_string(daemon.folder.path().join("log")).unwrap();
    assert!(
        log.contains("front.adapted: not an adaptation state file"),
        "{log}"
    );
    // A person may still want to look at it: only what is learned takes its place, when it is written.
    assert_eq!(std::fs::read(&kept).unwrap(), b"broken");
    drop(session);
    daemon.stop();
}

/// How often the writer is killed.
const KILLS: u64 = 200;

fn state(steps: u64) -> State {
    #[expect(clippy::cast_precision_loss, reason = "told apart by it")]
    let fill = steps as f32;
    State {
        steps,
        generation: 1,
        frozen: None,
        mean: vec![fill; WEIGHTS].into(),
        up: Vec3::NEG_Y,
        noise: 0.006,
    }
}

/// What is kept at `path`, which must be one whole state: its steps.
fn kept(path: &Path) -> u64 {
    let wrong = |path: &Path, error: &StateError| panic!("{}: {error}", path.display());
    let found = State::read(path, "networks", wrong).expect("a state is left");
    #[expect(clippy::cast_precision_loss, reason = "as it was written")]
    let fill = found.steps as f32;
    assert!(found.mean.iter().all(|v| v.to_bits() == fill.to_bits()));
    found.steps
}

/// Writes states for ever where [`a_killed_process_leaves_a_complete_generation`] or the power cuts of
/// `tests/vm/power.py` ask for it; says what was there first, and each state once it is written.
#[test]
fn a_writer_for_the_test_of_power_cuts() {
    let Ok(path) = std::env::var("POISED_TEST_WRITES") else {
        return;
    };
    let path = Path::new(&path);
    let found = if path.exists() || before(path).exists() {
        kept(path)
    } else {
        0
    };
    println!("found {found}");
    for steps in found + 1.. {
        state(steps).write(path, "networks").unwrap();
        println!("wrote {steps}");
    }
}

#[test]
fn a_killed_process_leaves_a_complete_generation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.adapted");
    state(1).write(&path, "networks").unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut between, mut written, mut last) = (0, 0, 1);
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "adaptation::a_writer_for_the_test_of_power_cuts"])
            .env("POISED_TEST_WRITES", &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(rng.u64(5_000..60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = kept(&path);
        assert!(found >= last, "after {kill} kills {found}, {last} before");
        between += u64::from(!path.exists());
        written += u64::from(found > last);
        last = found;
    }
    println!("{KILLS} kills: {between} between two files, {last} states written");
    assert!(
        written > KILLS / 2,
        "only {written} of {KILLS} writers lived long enough to write"
    );
}

#[test]
fn a_full_disk_is_an_error_and_the_last_generation_stays() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.0.path().join("front.adapted");
    // One only: the file before it makes room for the next one.
    state(2).write(&path, "networks").unwrap();
    // Room for half a state.
    let room = std::fs::metadata(&path).unwrap().len() / 2;
    let filler = disk.fill_but(room);
    for steps in [3, 4] {
        let error = state(steps).write(&path, "networks").unwrap_err();
        let said = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(
            said.contains("front.adapted: cannot be written") && said.contains("No space left"),
            "{said}"
        );
        assert_eq!(kept(&path), 2);
    }
    let left: Vec<_> = std::fs::read_dir(disk.0.path()).unwrap().collect();
    assert!(left.len() <= 3, "{left:?}");
    std::fs::remove_file(&filler).unwrap();
    state(5).write(&path, "networks").unwrap();
    assert_eq!(kept(&path), 5);
}

#[test]
fn a_disk_that_fails_is_an_error_and_the_last_generation_stays() {
    let Some(disk) = FailingDisk::mount() else {
        return;
    };
    let path = disk.folder.path().join("front.adapted");
    for steps in [1, 2] {
        state(steps).write(&path, "networks").unwrap();
    }
    disk.fail(true);
    for steps in [3, 4] {
        let error = state(steps).write(&path, "networks").unwrap_err();
        let said = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(
            said.contains("front.adapted: cannot be written")
                && said.contains("Input/output error"),
            "{said}"
        );
        assert_eq!(kept(&path), 2);
    }
    disk.fail(false);
    state(5).write(&path, "networks").unwrap();
    assert_eq!(kept(&path), 5);
}

#[test]
fn a_read_only_disk_is_an_error_and_the_last_generation_stays() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.0.path().join("front.adapted");
    for steps in [1, 2] {
        state(steps).write(&path, "networks").unwrap();
    }
    // As the kernel does with a disk that fails.
    disk.make_writable(false);
    for steps in [3, 4] {
        let error = state(steps).write(&path, "networks").unwrap_err();
        let said = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(
            said.contains("front.adapted: cannot be written") && said.contains("Read-only"),
            "{said}"
        );
        assert_eq!(kept(&path), 2);
    }
    disk.make_writable(true);
    state(5).write(&path, "networks").unwrap();
    assert_eq!(kept(&path), 5);
}
