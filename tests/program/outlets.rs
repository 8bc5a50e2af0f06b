//! The outlet for MQTT before a real broker, and recordings on disks that are full, cut off or small.
//!
//! Skipped, with the reason printed: what needs mosquitto where that is missing, the part with TLS also where openssl
//! is; the full disk where no file system can be mounted.

#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use zenoh::Wait;

use crate::common::daemon::{Daemon, PATIENCE, eventually, poised};
use crate::common::disk::SmallDisk;
use crate::common::samples::{STAMP, two_people};
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::MESSAGE_BYTES_MAX;
use poised::camera::Calibration;
use poised::counters::{Counters, MqttFault, RecordFault};
use poised::output::mqtt::MqttAbout;
use poised::output::read::PoseMessage;
use poised::output::sink::{Message, Sink};
use poised::output::wire::{self, Stamp};
use poised::output::{Archive, ArchiveConfig, Mqtt, MqttConfig, export};
use poised::pose::PoseSample;

/// What the topics of the camera `front` begin with.
const BASE: &str = "poised/test/";

/// Whether a program can be started; if not, the test is skipped with a word.
fn has(program: &str, argument: &str) -> bool {
    let found = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("skipped: no {program}");
    }
    found
}

fn has_mosquitto() -> bool {
    has("mosquitto", "-h") && has("mosquitto_sub", "--help")
}

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A broker; it does not outlive the test.
struct Broker {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Broker {
    /// Starts one; `more` are lines of its configuration, `$FOLDER` in it being a folder that lives as long as it
    /// does.
    fn start(folder: tempfile::TempDir, port: u16, more: &str) -> Self {
        let path = folder.path().join("mosquitto.conf");
        let more = more.replace("$FOLDER", folder.path().to_str().unwrap());
        // Named, since a broker that is started by root becomes another user, who cannot read the folder.
        let text = format!("user root\npersistence false\nlistener {port} 127.0.0.1\n{more}\n");
        std::fs::write(&path, text).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the broker listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            child,
            port,
            folder,
        }
    }

    /// One that takes everyone.
    fn open(port: u16) -> Self {
        Self::start(tempfile::tempdir().unwrap(), port, "allow_anonymous true")
    }

    fn address(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

/// A message as a subscriber sees it.
#[derive(Clone, Debug)]
struct Heard {
    retained: bool,
    topic: String,
    payload: String,
}

/// A subscriber of everything, in a program of its own.
struct Subscriber {
    child: Child,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Subscriber {
    fn of(broker: &Broker, more: &[&str]) -> Self {
        let port = broker.port.to_string();
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port, "-t", "#", "-F", "%r %t %p"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let into = Arc::clone(&heard);
        std::thread::Builder::new()
            .spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let mut parts = line.splitn(3, ' ').map(str::to_owned);
                    let mut next = || parts.next().unwrap();
                    into.lock().unwrap().push(Heard {
                        retained: next() == "1",
                        topic: next(),
                        payload: next(),
                    });
                }
            })
            .unwrap();
        Self { child, heard }
    }

    /// Messages of a topic so far.
    fn of_topic(&self, topic: &str) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        let fits = |heard: &&Heard| heard.topic == topic;
        heard.iter().filter(fits).cloned().collect()
    }

    /// The newest payload of a topic.
    fn newest(&self, topic: &str) -> Option<String> {
        self.of_topic(topic).pop().map(|heard| heard.payload)
    }

    /// The newest state of a topic; null before the first.
    fn state(&self, topic: &str) -> Value {
        self.newest(topic)
            .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }
}

/// A daemon whose log goes to a file in its folder, which is given too.
fn logging(device: &str, more: &str) -> (Daemon, impl Fn() -> String + use<>) {
    let folder = tempfile::tempdir().unwrap();
    let (config, log) = (folder.path().join("poised.toml"), folder.path().join("log"));
    let address = format!("tcp/127.0.0.1:{}", free_port());
    let more = more.replace("$FOLDER", folder.path().to_str().unwrap());
    let text = format!(
        "[camera]\nname = \"front\"\n[camera.synthetic]\nwidth_px = 320\nheight_px = 240\n\
         [zenoh]\nsite = \"test\"\ndevice = \"{device}\"\nlisten = [\"{address}\"]\n{more}"
    );
    std::fs::write(&config, text).unwrap();
    let child = poised(&["run", "-c", config.to_str().unwrap()])
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let daemon = Daemon {
        child,
        address,
        key: format!("poised/test/{device}/front"),
        folder,
    };
    (daemon, move || std::fs::read_to_string(&log).unwrap())
}

fn availability(device: &str) -> String {
    format!("{BASE}{device}/front/availability")
}

fn state_of(device: &str) -> String {
    format!("{BASE}{device}/front/state")
}

#[test]
fn home_assistant_finds_the_device_its_state_follows_and_a_killed_daemon_is_offline() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::open(free_port());
    let home = Subscriber::of(&broker, &[]);
    let section = format!("[mqtt]\nbroker = \"{}\"\n", broker.address());
    let daemon = Daemon::start("kiosk-1", &section);
    let (state, available) = (state_of("kiosk-1"), availability("kiosk-1"));
    eventually("a person is seen", || home.state(&state)["people"] == 1);
    assert_eq!(home.newest(&available).as_deref(), Some("online"));
    let now = home.state(&state);
    assert_eq!(now["occupied"], true, "{now}");
    assert_eq!(now["camera"], "running", "{now}");
    eventually("frames are counted", || {
        home.state(&state)["fps"].as_u64() > Some(0)
    });
    // Before the first pose nothing was known, and that is not an empty room.
    let first: Value = serde_json::from_str(&home.of_topic(&state)[0].payload).unwrap();
    assert_eq!(first["seeing"], false, "{first}");
    assert!(first["occupied"].is_null() && first["people"].is_null());
    // The state came before the device was available: none of another time is shown.
    let topics: Vec<String> = home
        .heard
        .lock()
        .unwrap()
        .iter()
        .map(|heard| heard.topic.clone())
        .collect();
    let place = |topic: &String| topics.iter().position(|heard| heard == topic);
    assert!(place(&state) < place(&available), "{topics:?}");
    // Every second, and on change: neither silence nor a flood.
    let before = home.of_topic(&state).len();
    std::thread::sleep(Duration::from_secs(4));
    let states = home.of_topic(&state).len() - before;
    assert!((3..=20).contains(&states), "{states} states in 4 s");
    // One who comes later gets all of it from the broker.
    let later = Subscriber::of(&broker, &[]);
    let discovery = "homeassistant/device/poised_test_kiosk-1_front/config";
    eventually("the broker keeps what it was told", || {
        [discovery, available.as_str(), state.as_str()]
            .iter()
            .all(|topic| later.of_topic(topic).iter().any(|heard| heard.retained))
    });
    let device: Value = serde_json::from_str(&later.newest(discovery).unwrap()).unwrap();
    let occupancy = &device["components"]["occupied"];
    assert_eq!(occupancy["device_class"], "occupancy");
    assert_eq!(occupancy["state_topic"], state.as_str());
    assert_eq!(occupancy["availability"][0]["topic"], available.as_str());
    // Nothing is said, the connection ends.
    daemon.kill();
    eventually("the will is published", || {
        home.newest(&available).as_deref() == Some("offline")
    });
    let newcomer = Subscriber::of(&broker, &[]);
    eventually("the will is kept", || {
        newcomer.newest(&available).as_deref() == Some("offline")
    });
}

#[test]
fn a_broker_that_comes_back_is_told_everything_again_and_an_orderly_end_too() {
    if !has_mosquitto() {
        return;
    }
    let port = free_port();
    let broker = Broker::open(port);
    let address = broker.address();
    let (daemon, log) = logging("kiosk-2", &format!("[mqtt]\nbroker = \"{address}\"\n"));
    let (state, available) = (state_of("kiosk-2"), availability("kiosk-2"));
    let home = Subscriber::of(&broker, &[]);
    eventually("a state comes", || !home.of_topic(&state).is_empty());
    drop((home, broker));
    eventually("the loss is logged", || {
        log().contains("the connection is lost")
    });
    // It has kept nothing.
    let broker = Broker::open(port);
    let home = Subscriber::of(&broker, &[]);
    eventually("all is there again", || {
        let discovery = "homeassistant/device/poised_test_kiosk-2_front/config";
        home.newest(discovery).is_some()
            && home.newest(&available).as_deref() == Some("online")
            && home.state(&state)["seeing"] == true
    });
    let _kept = daemon.stop();
    eventually("the end is told", || {
        home.newest(&available).as_deref() == Some("offline")
    });
    let log = log();
    assert_eq!(log.matches("mqtt: connected with").count(), 2, "{log}");
}

#[test]
fn a_wrong_password_is_named_and_never_shown_and_the_right_one_is_taken_without_a_restart() {
    if !has_mosquitto() || !has("mosquitto_passwd", "-h") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c", users.to_str().unwrap(), "kim", "right-hunter3"])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let lines = "allow_anonymous false\npassword_file $FOLDER/users";
    let broker = Broker::start(folder, free_port(), lines);
    let home = Subscriber::of(&broker, &["-u", "kim", "-P", "right-hunter3"]);
    let given = broker.folder.path().join("password");
    std::fs::write(&given, "wrong-hunter2\n").unwrap();
    let section = format!(
        "[mqtt]\nbroker = \"{}\"\nusername = \"kim\"\npassword_file = \"{}\"\n",
        broker.address(),
        given.display()
    );
    let (daemon, log) = logging("kiosk-3", &section);
    eventually("the refusal is logged", || {
        log().contains("the broker refuses the user \"kim\"")
    });
    // Poses go on, and no query shows a password.
    let session = daemon.session();
    let replies = session.get(format!("{}/*", daemon.key)).wait().unwrap();
    let mut answers = 0;
    for reply in replies {
        let Ok(sample) = reply.into_result() else {
            continue;
        };
        let text = String::from_utf8_lossy(&sample.payload().to_bytes()).into_owned();
        assert!(!text.contains("hunter"), "{}: {text}", sample.key_expr());
        answers += 1;
    }
    assert!(answers >= 3, "{answers} answers");
    let state = state_of("kiosk-3");
    assert!(home.of_topic(&state).is_empty());
    std::fs::write(&given, "right-hunter3\n").unwrap();
    eventually("the right password is taken", || {
        home.state(&state)["seeing"] == true
    });
    let config = daemon.folder.path().join("poised.toml");
    let config = config.to_str().unwrap();
    for command in [&["check", config][..], &["doctor", "-c", config]] {
        let output = poised(command).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(text.contains("mqtt") && !text.contains("hunter"), "{text}");
    }
    let log = log();
    assert!(!log.contains("hunter"), "{log}");
}

/// Runs openssl in a folder.
fn openssl(folder: &Path, words: &str) {
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words}: {complaint}");
}

#[test]
fn tls_takes_the_named_authority_and_refuses_others() {
    if !has_mosquitto() || !has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for name in ["ca", "alien"] {
        let make = format!("{new} -keyout {name}.key -out {name}.pem -subj /CN={name}");
        openssl(at, &make);
    }
    std::fs::write(at.join("names"), "subjectAltName = IP:127.0.0.1\n").unwrap();
    let ask = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=broker";
    openssl(at, &format!("{ask} -keyout broker.key -out broker.csr"));
    let sign = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
    openssl(at, &format!("{sign} -in broker.csr -out broker.pem"));
    let lines = "allow_anonymous true\ncertfile $FOLDER/broker.pem\nkeyfile $FOLDER/broker.key";
    let broker = Broker::start(folder, free_port(), lines);
    let at = broker.folder.path().to_owned();
    let outlet = |scheme: &str, ca: Option<&str>| {
        outlet(&MqttConfig {
            broker: Some(format!("{scheme}://127.0.0.1:{}", broker.port)),
            ca_file: ca.map(|name| at.join(name)),
            ..MqttConfig::default()
        })
    };
    let failed = |counters: &Counters, fault: MqttFault| {
        eventually(&format!("{fault:?} is counted"), || {
            counters.mqtt.failures[fault as usize].get() > 0
        });
        assert_eq!(counters.mqtt.connections.get(), 0);
    };
    // Another authority, those of the system, and no TLS at all.
    failed(&outlet("mqtts", Some("alien.pem")).1, MqttFault::Tls);
    failed(&outlet("mqtts", None).1, MqttFault::Tls);
    failed(&outlet("mqtt", None).1, MqttFault::Unreachable);
    let (_mqtt, counters) = outlet("mqtts", Some("ca.pem"));
    eventually("the broker is connected", || {
        counters.mqtt.connected.load(Ordering::Relaxed)
    });
}

/// An outlet with counters of its own.
fn outlet(config: &MqttConfig) -> (Mqtt, Arc<Counters>) {
    config.validate().unwrap();
    config.check_files().unwrap();
    let counters = Arc::<Counters>::default();
    let about = MqttAbout {
        site: "test".into(),
        device: "kiosk".into(),
        camera: "front".into(),
        silent_after: Duration::from_secs(2),
        floor: false,
        counters: Arc::clone(&counters),
        clock: Arc::new(Clock::live()),
    };
    (Mqtt::open(config, about).unwrap().unwrap(), counters)
}

#[test]
fn a_camera_that_fails_is_no_empty_room_and_a_hostile_label_is_a_label() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::open(free_port());
    let home = Subscriber::of(&broker, &[]);
    let (mut mqtt, counters) = outlet(&MqttConfig {
        broker: Some(broker.address()),
        hold_s: 0.0,
        ..MqttConfig::default()
    });
    let put = |mqtt: &mut Mqtt, sample: &PoseSample| {
        mqtt.take(&Message::Pose {
            stamp: &STAMP,
            sample,
            unfit: 0,
            bytes: &[],
        });
        std::thread::sleep(Duration::from_millis(33));
    };
    let state = state_of("kiosk");
    let newest = || home.state(&state);
    let clock = Clock::live();
    let within = Duration::from_mins(1);
    let until = |mqtt: &mut Mqtt, sample: &PoseSample, is: &dyn Fn(&Value) -> bool| {
        let begun = clock.now();
        while !is(&newest()) {
            put(mqtt, sample);
            assert!(clock.now().since(begun) < within, "{}", newest());
        }
    };
    let mut people = two_people();
    let hostile = "\"}]{{ 1/0 }}\u{1b}[2J\u{0}<b>\\\u{202e}";
    people.people[0].action.as_mut().unwrap().label = hostile.try_into().unwrap();
    until(&mut mqtt, &people, &|state| state["people"] == 2);
    assert_eq!(newest()["action"], hostile);
    assert_eq!(newest()["actions"][1], Value::Null);
    let empty = PoseSample::default();
    until(&mut mqtt, &empty, &|state| state["people"] == 0);
    assert_eq!(newest()["occupied"], false);
    // Poses stop: the room is unknown, not empty.
    eventually("the room is unknown", || newest()["seeing"] == false);
    assert!(newest()["occupied"].is_null() && newest()["people"].is_null());
    assert_eq!(newest()["problem"], true);
    until(&mut mqtt, &people, &|state| state["occupied"] == true);
    assert!(counters.mqtt.states.get() >= 4);
    assert_eq!(counters.mqtt.not_sent.get(), 0);
}

/// Files of a folder whose names end so, in the order of their names.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

fn bytes_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |about| about.len())
}

/// The poses of a recording.
fn poses_of(path: &Path) -> Vec<PoseMessage> {
    let mut recording = export::open(path).unwrap();
    let mut poses = Vec::new();
    while let Some(message) = recording.next_message().unwrap() {
        poses.push(message);
    }
    poses
}

/// Messages that the index of a file counts; what has no index has no end either.
fn indexed(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    summary.stats.unwrap().message_count
}

#[test]
fn what_a_killed_daemon_recorded_is_read_and_has_its_index_after_the_next_start() {
    let section = "[record]\nfolder = \"$FOLDER/recordings\"\nfree_mb = 0\n";
    let daemon = Daemon::start("kiosk-4", section);
    let folder = daemon.folder.path().join("recordings");
    // Three chunks, a second each.
    let mut before = 0;
    for _ in 0..3 {
        eventually("the file grows", || {
            let parts = files(&folder, ".mcap.part");
            parts.first().is_some_and(|part| bytes_of(part) > before)
        });
        before = bytes_of(&files(&folder, ".mcap.part")[0]);
    }
    let kept = daemon.kill();
    let parts = files(&folder, ".mcap.part");
    assert_eq!(parts.len(), 1, "{parts:?}");
    let part = &parts[0];
    let cut_off = poses_of(part);
    assert!(cut_off.len() > 10, "{} poses", cut_off.len());
    // As after a power cut in the middle of a block.
    let file = std::fs::OpenOptions::new().write(true).open(part).unwrap();
    file.set_len(bytes_of(part) - 1).unwrap();
    let torn = poses_of(part);
    assert!(!torn.is_empty());
    // And what a file system makes of blocks that were never written.
    file.set_len(bytes_of(part) + 5000).unwrap();
    drop(file);
    let whole = part.with_extension("");
    let daemon = Daemon::start_in(kept, "kiosk-4", section);
    eventually("the file is repaired", || whole.exists());
    let repaired = poses_of(&whole);
    assert_eq!(repaired.len(), torn.len());
    assert!(indexed(&whole) >= repaired.len() as u64);
    for (one, other) in repaired.iter().zip(&cut_off) {
        assert_eq!((one.sequence, &one.sample), (other.sequence, &other.sample));
    }
    eventually("the next file is written", || {
        files(&folder, ".mcap.part")
            .first()
            .is_some_and(|part| bytes_of(part) > 0)
    });
    let kept = daemon.stop();
    let all = files(&folder, "");
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|path| indexed(path) > 0));
    drop(kept);
}

/// Recordings in a folder, fed by hand.
struct Fed {
    archive: Archive,
    counters: Arc<Counters>,
    sample: PoseSample,
    sequence: u64,
    /// Wall time less monotonic time, nanoseconds.
    unix_offset_ns: i64,
}

impl Fed {
    fn open(folder: &Path, more: &ArchiveConfig) -> Self {
        let config = ArchiveConfig {
            folder: Some(folder.to_owned()),
            ..more.clone()
        };
        config.validate().unwrap();
        let counters = Arc::<Counters>::default();
        let clock = Arc::new(Clock::live());
        let archive = Archive::open(&config, "front", &counters, &clock);
        let archive = archive.unwrap().unwrap();
        archive.calibration().set(&Calibration::assumed(640, 480));
        Self {
            archive,
            counters,
            sample: two_people(),
            sequence: 0,
            unix_offset_ns: STAMP.unix_offset_ns,
        }
    }

    /// Hands over the next pose.
    fn feed(&mut self) {
        self.sequence += 1;
        self.sample.capture.0 += 4_000_000;
        let stamp = Stamp {
            sequence: self.sequence,
            publish: MonoNs(self.sample.capture.0 + 20_000_000),
            unix_offset_ns: self.unix_offset_ns,
            ..STAMP
        };
        let mut buffer = Box::new([0; MESSAGE_BYTES_MAX]);
        let length = wire::encode(&stamp, &self.sample, &mut buffer).unwrap();
        self.archive.take(&Message::Pose {
            stamp: &stamp,
            sample: &self.sample,
            unfit: 0,
            bytes: &buffer[..length],
        });
        std::thread::sleep(Duration::from_millis(4));
        // A busy machine gives the other thread, which stands back, no time for long.
        let record = &self.counters.record;
        eventually("the thread keeps up", || {
            let done = record.poses.get() + record.not_written.get() + record.dropped.get();
            done + 60 >= self.sequence
        });
    }

    /// Ends the recordings, and waits until the last file has its index: a busy machine takes longer than the daemon
    /// would wait.
    fn end(self, folder: &Path) -> Arc<Counters> {
        let counters = Arc::clone(&self.counters);
        drop(self);
        eventually("the last file is finished", || {
            files(folder, ".part").is_empty()
        });
        counters
    }

    /// Feeds until something is so.
    fn feed_until(&mut self, what: &str, condition: impl Fn(&Counters) -> bool) {
        let clock = Clock::live();
        let begun = clock.now();
        while !condition(&self.counters) {
            self.feed();
            let took = clock.now().since(begun);
            assert!(took < PATIENCE, "not within {took:?}: {what}");
        }
    }
}

#[test]
fn recordings_rotate_and_stay_within_their_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut fed = Fed::open(
        folder.path(),
        &ArchiveConfig {
            keep_mb: 4,
            free_mb: 0,
            ..ArchiveConfig::default()
        },
    );
    std::fs::write(folder.path().join("holiday.mcap"), "of another program").unwrap();
    // What is kept, and what this test can write in the ten seconds from one look to the next.
    let most = 9_000_000;
    fed.feed_until("files are removed", |counters| {
        let all: u64 = files(folder.path(), "")
            .iter()
            .map(|path| bytes_of(path))
            .sum();
        assert!(all < most, "{all} bytes");
        counters.record.removed.get() >= 2
    });
    let counters = fed.end(folder.path());
    assert_eq!(counters.record.dropped.get(), 0);
    assert!(
        counters
            .record
            .failures
            .iter()
            .all(|count| count.get() == 0)
    );
    assert!(folder.path().join("holiday.mcap").exists());
    let kept = files(folder.path(), "Z.mcap");
    assert!((1..=8).contains(&kept.len()), "{kept:?}");
    // No gap from one file to the next.
    let mut numbers: Vec<u64> = Vec::new();
    for path in &kept {
        assert!(indexed(path) > 0);
        numbers.extend(poses_of(path).iter().map(|pose| pose.sequence));
    }
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(numbers.last(), Some(&counters.record.poses.get()));
}

#[test]
fn a_clock_that_is_set_begins_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut fed = Fed::open(
        folder.path(),
        &ArchiveConfig {
            free_mb: 0,
            keep_days: 1,
            ros_messages: false,
            ..ArchiveConfig::default()
        },
    );
    let year_ns = 365 * 86_400_000_000_000;
    for step_ns in [0, -year_ns, 2 * year_ns, 500_000_000] {
        fed.unix_offset_ns += step_ns;
        for _ in 0..50 {
            fed.feed();
        }
    }
    let counters = fed.end(folder.path());
    assert_eq!(counters.record.poses.get(), 200);
    let kept = files(folder.path(), ".mcap");
    // Half a second is no step: the clock is being slewed.
    assert_eq!(kept.len(), 3, "{kept:?}");
    let mut all = 0;
    for path in &kept {
        let poses = poses_of(path);
        let times = poses.iter().map(|pose| pose.capture_unix_ns);
        assert!(times.is_sorted());
        all += poses.len();
    }
    assert_eq!(all, 200);
}

#[test]
fn a_full_disk_is_counted_and_recording_goes_on_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let filler = disk.fill_but(850_000);
    let mut fed = Fed::open(
        disk.0.path(),
        &ArchiveConfig {
            free_mb: 0,
            ros_messages: false,
            ..ArchiveConfig::default()
        },
    );
    let full = |counters: &Counters| counters.record.failures[RecordFault::Full as usize].get();
    fed.feed_until("the disk is full", |counters| full(counters) > 0);
    // Further tries leave nothing behind.
    fed.feed_until("it is tried again", |counters| full(counters) > 3);
    let parts = files(disk.0.path(), ".part");
    assert!(parts.len() <= 3, "{parts:?}");
    assert!(parts.iter().all(|part| bytes_of(part) > 0), "{parts:?}");
    let before = fed.counters.record.poses.get();
    assert!(!fed.counters.record.writing.load(Ordering::Relaxed));
    fed.feed_until("poses are counted", |counters| {
        counters.record.not_written.get() > 10
    });
    std::fs::remove_file(&filler).unwrap();
    fed.feed_until("recording goes on", |counters| {
        counters.record.poses.get() > before + 20
    });
    let part = files(disk.0.path(), ".mcap.part");
    assert!(!part.is_empty(), "{part:?}");
    let counters = Arc::clone(&fed.counters);
    fed.feed_until("what the full disk cut off is repaired", |counters| {
        counters.record.repaired.get() > 0
    });
    drop(fed);
    assert_eq!(
        counters.record.failures[RecordFault::Write as usize].get(),
        0
    );
    let kept = files(disk.0.path(), ".mcap");
    assert!(kept.len() >= 2, "{kept:?}");
    let poses: usize = kept.iter().map(|path| poses_of(path).len()).sum();
    assert!(poses as u64 >= before / 2, "{poses} poses");
}
