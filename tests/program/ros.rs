//! The outlet for ROS 2 before a router of Zenoh: keys, attachments, tokens and bytes as nodes on `rmw_zenoh` read
//! them. What `tests/ros2/test_messages.py` decodes are the golden files of this test.
//!
//! `POISED_BLESS=1 cargo test --test program ros::` rewrites the golden files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zenoh::pubsub::Subscriber;
use zenoh::{Session, Wait};

use crate::common::daemon::{Daemon, eventually};
use crate::common::samples::{STAMP, two_people};
use poised::base::clock::Clock;
use poised::camera::Mount;
use poised::counters::{Counters, RosTopic};
use poised::output::ros::RosAbout;
use poised::output::sink::{Message, Sink};
use poised::output::{Ros, RosConfig};
use poised::pose::PoseSample;

/// `STAMP` and `two_people` as nanoseconds since 1970: seconds and nanoseconds of a header.
const HEADER_TIME: [u8; 8] = [0x08, 0x4f, 0xb1, 0x6a, 0, 0, 0, 0];

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

fn open(mode: &str, endpoints: &str, port: u16) -> Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("mode", format!("{mode:?}")),
        (endpoints, format!("[\"tcp/127.0.0.1:{port}\"]")),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

/// What `rmw_zenohd` is.
fn router(port: u16) -> Session {
    open("router", "listen/endpoints", port)
}

/// An outlet for ROS 2 with counters of its own.
fn outlet(port: u16, more: RosConfig) -> (Ros, Arc<Counters>) {
    let config = RosConfig {
        connect: Some(format!("tcp/127.0.0.1:{port}")),
        ..more
    };
    config.validate().unwrap();
    let counters = Arc::<Counters>::default();
    let about = RosAbout {
        camera: "front".into(),
        device: "kiosk-3".into(),
        counters: Arc::clone(&counters),
        clock: Arc::new(Clock::live()),
    };
    (Ros::open(&config, about).unwrap().unwrap(), counters)
}

fn put_pose(ros: &mut Ros, sample: &PoseSample) {
    ros.take(&Message::Pose {
        stamp: &STAMP,
        sample,
        unfit: 0,
        bytes: &[],
    });
}

/// Messages of a key, in the order they came: attachment and payload.
type Seen = Arc<Mutex<BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>>>;

/// A node that takes everything of a domain.
fn listen(port: u16, keys: &str) -> (Session, Subscriber<()>, Seen) {
    let session = open("client", "connect/endpoints", port);
    let seen = Seen::default();
    let into = Arc::clone(&seen);
    let subscriber = session
        .declare_subscriber(keys.to_owned())
        .callback(move |sample| {
            let attachment = sample.attachment().expect("rmw_zenoh drops what has none");
            let message = (
                attachment.to_bytes().to_vec(),
                sample.payload().to_bytes().to_vec(),
            );
            let mut seen = into.lock().unwrap();
            seen.entry(sample.key_expr().to_string())
                .or_default()
                .push(message);
        })
        .wait()
        .unwrap();
    (session, subscriber, seen)
}

/// The tokens of nodes and publishers that are alive.
fn tokens(session: &Session, domain: u32) -> Vec<String> {
    let replies = session
        .liveliness()
        .get(format!("@ros2_lv/{domain}/**"))
        .wait()
        .unwrap();
    let mut tokens: Vec<String> = replies
        .into_iter()
        .map(|reply| reply.into_result().unwrap().key_expr().to_string())
        .collect();
    tokens.sort();
    tokens
}

/// Number and gid of an attachment.
fn attached(attachment: &[u8]) -> (i64, Vec<u8>) {
    assert_eq!(attachment.len(), 33);
    assert_eq!(attachment[16], 16);
    let number = |at: usize| i64::from_le_bytes(attachment[at..at + 8].try_into().unwrap());
    let year_2026_ns = 1_767_225_600_000_000_000;
    assert!(number(8) > year_2026_ns, "wall time: {}", number(8));
    (number(0), attachment[17..].to_vec())
}

#[test]
fn a_node_gets_every_topic_in_order_and_sees_who_sends() {
    let port = free_port();
    let router = router(port);
    let (node, _subscriber, seen) = listen(port, "5/**");
    let more = RosConfig {
        domain: 5,
        ..RosConfig::default()
    };
    let (mut ros, counters) = outlet(port, more);
    let listening =
        |topic: RosTopic| counters.ros.listening[topic as usize].load(Ordering::Relaxed);
    eventually("the joints have a listener", || {
        listening(RosTopic::Joints) && listening(RosTopic::Diagnostics)
    });
    // Each token travels through the router on its own.
    eventually("all nodes and publishers are announced", || {
        tokens(&node, 5).len() >= 4
    });
    assert_eq!(tokens(&node, 5).len(), 4, "no /tf without a mount");
    ros.mount().set(Mount {
        height_m: 2.0,
        down_deg: 30.0,
        roll_deg: 0.0,
    });
    eventually("/tf has a listener", || listening(RosTopic::Tf));

    let zid = tokens(&node, 5)[0].split('/').nth(2).unwrap().to_owned();
    let keys = keys_of(&zid);
    let expected: Vec<String> = keys
        .values()
        .flatten()
        .skip(1)
        .step_by(2)
        .cloned()
        .collect();
    let mut expected: Vec<String> = expected;
    expected.push(format!("@ros2_lv/5/{zid}/0/0/NN/%/%poised%front/poised"));
    expected.sort();
    eventually("/tf is announced", || {
        tokens(&node, 5).len() >= expected.len()
    });
    assert_eq!(tokens(&node, 5), expected);

    for _ in 0..20 {
        put_pose(&mut ros, &two_people());
        ros.take(&Message::Health { bytes: &health() });
        std::thread::sleep(Duration::from_millis(20));
    }
    eventually("all is there", || {
        let seen = seen.lock().unwrap();
        let sent = |topic: RosTopic| counters.ros.sent[topic as usize].get();
        RosTopic::ALL.into_iter().all(|topic| {
            let messages = seen.get(&keys[topic.name()][0]).map_or(0, Vec::len);
            sent(topic) > 5 && messages as u64 >= sent(topic).min(15)
        })
    });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4, "{:?}", seen.keys());
    for (topic, [key, _]) in &keys {
        let messages = &seen[key];
        let attachments: Vec<(i64, Vec<u8>)> = messages.iter().map(|(a, _)| attached(a)).collect();
        let first = attachments[0].0;
        for (number, (at, gid)) in (first..).zip(&attachments) {
            assert_eq!(*at, number, "{topic}: a gap");
            assert_eq!(*gid, attachments[0].1, "{topic}: one gid");
        }
        let mut payload = match topic.as_str() {
            // The last that came with a pose; others keep it going.
            "tf" => messages.iter().rev().find(|(_, p)| p[8..16] == HEADER_TIME),
            _ => messages.last(),
        }
        .unwrap()
        .1
        .clone();
        if topic == "diagnostics" {
            payload[4..12].copy_from_slice(&HEADER_TIME);
        }
        golden(&format!("{topic}.cdr"), &payload);
    }
    drop(seen);
    drop(ros);
    eventually("nothing of it is left", || tokens(&node, 5).is_empty());
    router.close().wait().unwrap();
}

/// Key and token of each topic, of a session.
fn keys_of(zid: &str) -> BTreeMap<String, [String; 2]> {
    let topics = [
        (
            "joints",
            "poised/front/joints",
            "sensor_msgs",
            "PointCloud2",
        ),
        (
            "markers",
            "poised/front/markers",
            "visualization_msgs",
            "MarkerArray",
        ),
        (
            "diagnostics",
            "diagnostics",
            "diagnostic_msgs",
            "DiagnosticArray",
        ),
        ("tf", "tf", "tf2_msgs", "TFMessage"),
    ];
    let text = std::fs::read_to_string(golden_path("types.txt")).unwrap();
    let hashes: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once(' ')).collect();
    let mut keys = BTreeMap::new();
    for (entity, (topic, name, package, message)) in (1..).zip(topics) {
        let hash = hashes[format!("{package}/msg/{message}").as_str()];
        let kind = format!("{package}::msg::dds_::{message}_/{hash}");
        let qos = match topic {
            "joints" | "markers" => "2::,5:,:,:,,",
            _ => "::,10:,:,:,,",
        };
        let mangled = format!("%{}", name.replace('/', "%"));
        let token =
            format!("@ros2_lv/5/{zid}/0/{entity}/MP/%/%poised%front/poised/{mangled}/{kind}/{qos}");
        keys.insert(topic.to_owned(), [format!("5/{name}/{kind}"), token]);
    }
    keys
}

/// A small health message: `{"camera_state": "running", "estimate_state": "working", "load": {"level": "full"},
/// "people": 2}`.
fn health() -> Vec<u8> {
    let mut cbor = minicbor::Encoder::new(Vec::new());
    let words = [("camera_state", "running"), ("estimate_state", "working")];
    cbor.map(4).unwrap();
    for (key, word) in words {
        cbor.str(key).unwrap().str(word).unwrap();
    }
    cbor.str("load").unwrap().map(1).unwrap();
    cbor.str("level").unwrap().str("full").unwrap();
    cbor.str("people").unwrap().u8(2).unwrap();
    cbor.into_writer()
}

fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/ros2")
        .join(name)
}

/// Compares with the golden file.
fn golden(name: &str, bytes: &[u8]) {
    let path = golden_path(name);
    if std::env::var_os("POISED_BLESS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    let differs = bytes.iter().zip(&stored).position(|(a, b)| a != b);
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    assert!(bytes == stored, "{name}: differs at {differs:?}: {hex}");
}

#[test]
fn people_come_as_rep_155_has_them_and_go_when_they_have_left() {
    let port = free_port();
    let router = router(port);
    let (node, _subscriber, seen) = listen(port, "5/humans/**");
    let more = RosConfig {
        domain: 5,
        humans: true,
        ..RosConfig::default()
    };
    let (ros, counters) = outlet(port, more);
    let ros = Mutex::new(ros);
    let bodies = || {
        let tokens = tokens(&node, 5).into_iter();
        tokens
            .filter(|token| token.contains("%humans%bodies%front_"))
            .count()
    };
    let people = two_people();
    let count = || seen.lock().unwrap().len();
    eventually("two people with two topics each, and who is there", || {
        put_pose(&mut ros.lock().unwrap(), &people);
        count() == 5
    });
    assert_eq!(bodies(), 4);
    let last = |topic: &str| {
        let seen = seen.lock().unwrap();
        let of = seen
            .iter()
            .find(|(key, _)| key.starts_with(&format!("5/humans/bodies/{topic}/hri_msgs")));
        let (_, messages) = of.unwrap_or_else(|| panic!("{topic} in {:?}", seen.keys()));
        let (attachment, payload) = messages.last().unwrap();
        assert!(attached(attachment).0 >= 1);
        payload.clone()
    };
    golden("ids.cdr", &last("tracked"));
    golden("roi.cdr", &last("front_7/roi"));
    golden("skeleton2d.cdr", &last("front_7/skeleton2d"));

    // An empty room is said at once; topics of people who left stay for twelve seconds.
    let empty = PoseSample::default();
    eventually("the topics of those who left end", || {
        put_pose(&mut ros.lock().unwrap(), &empty);
        bodies() == 0
    });
    assert!(!String::from_utf8_lossy(&last("tracked")).contains("front_7"));
    assert!(counters.ros.humans.get() >= 5);
    drop(ros);
    router.close().wait().unwrap();
}

#[test]
fn a_router_that_comes_late_and_goes_is_found_again() {
    let port = free_port();
    let (ros, counters) = outlet(port, RosConfig::default());
    let ros = Mutex::new(ros);
    eventually("the router is missed", || {
        put_pose(&mut ros.lock().unwrap(), &two_people());
        counters.ros.unanswered.get() > 0
    });
    let connected = || counters.ros.connected.load(Ordering::Relaxed);
    assert!(!connected());
    for _ in 0..2 {
        let router = router(port);
        let (node, _subscriber, seen) = listen(port, "0/poised/front/joints/**");
        let messages = || seen.lock().unwrap().values().map(Vec::len).sum::<usize>();
        eventually("joints come", || {
            put_pose(&mut ros.lock().unwrap(), &two_people());
            messages() >= 10
        });
        assert_eq!(tokens(&node, 0).len(), 4);
        node.close().wait().unwrap();
        router.close().wait().unwrap();
        eventually("it is told that the router is gone", || !connected());
    }
    let sent = counters.ros.sent[RosTopic::Joints as usize].get();
    assert!(sent >= 20, "{sent}");
}

#[test]
fn the_daemon_sends_what_it_sees() {
    let port = free_port();
    let router = router(port);
    let (node, _subscriber, seen) = listen(port, "3/**");
    let daemon = Daemon::start(
        "ros",
        &format!("[ros]\nconnect = \"tcp/127.0.0.1:{port}\"\ndomain = 3\nnamespace = \"robot\"\n"),
    );
    eventually("joints of a person", || {
        let seen = seen.lock().unwrap();
        let joints = seen
            .iter()
            .find(|(key, _)| key.starts_with("3/robot/joints/"));
        // More than an empty room has.
        joints.is_some_and(|(_, messages)| messages.iter().any(|(_, payload)| payload.len() > 500))
    });
    eventually("diagnostics", || {
        let seen = seen.lock().unwrap();
        seen.keys().any(|key| key.starts_with("3/diagnostics/"))
    });
    let alive = tokens(&node, 3);
    assert_eq!(alive.len(), 4, "{alive:?}");
    daemon.stop();
    assert!(tokens(&node, 3).is_empty());
    router.close().wait().unwrap();
}
