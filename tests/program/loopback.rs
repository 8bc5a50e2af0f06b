//! Publisher and subscribers in real Zenoh sessions on the loopback.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::cddl::{Schema, Value};
use crate::common::daemon::{eventually, session};
use crate::common::samples::two_people;
use glam::Vec3;
use poised::adapt::control::Control;
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::POSE_SLOTS;
use poised::base::slots::Queued;
use poised::capture::thread::CameraState;
use poised::counters::{Counters, DropReason, Level};
use poised::engine::EngineStatus;
use poised::engine::status::Building;
use poised::motion::exercise::ExerciseConfig;
use poised::output::sink::{Message, Sink};
use poised::output::subscribe::{Received, Subscription, all_poses};
use poised::output::wire::CDDL;
use poised::output::zenoh::Mode;
use poised::output::{
    Documents, Outlet, PublishConfig, Publisher, SessionError, ZenohConfig, read,
};
use poised::pose::{JointState, PoseSample};
use poised::skeleton::JOINTS;
use poised::sys::rt;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

/// A device with a name of its own, on a free port.
fn device(name: &str) -> ZenohConfig {
    ZenohConfig {
        site: "test".into(),
        device: name.into(),
        listen: Some(vec!["tcp/127.0.0.1:0".into()]),
        ..ZenohConfig::default()
    }
}

fn outlet(config: &ZenohConfig) -> Outlet {
    let documents = Documents {
        config: "[zenoh]\nsite = \"test\"\n".into(),
        calibration: "fx = 600.0\n".into(),
    };
    Outlet::open(config, "front", documents, Clock::live().now()).unwrap()
}

type Inbox<T> = Arc<Mutex<Vec<T>>>;

/// Keeps the payloads that come under a key.
fn collect(session: &Session, key: String) -> Inbox<Vec<u8>> {
    let inbox = Inbox::default();
    let into = Arc::clone(&inbox);
    session
        .declare_subscriber(key)
        .callback(move |sample: Sample| {
            into.lock()
                .unwrap()
                .push(sample.payload().to_bytes().into_owned());
        })
        .background()
        .wait()
        .unwrap();
    inbox
}

fn subscribe(config: &ZenohConfig, keys: &str) -> (Subscription, Inbox<Received>) {
    let inbox = Inbox::default();
    let into = Arc::clone(&inbox);
    let subscription = Subscription::open(config, keys, move |received| {
        into.lock().unwrap().push(received);
    });
    (subscription.unwrap(), inbox)
}

/// What the value of an event or health message says under `key`.
fn texts(inbox: &Inbox<Vec<u8>>, key: &str) -> Vec<String> {
    let inbox = inbox.lock().unwrap();
    let text = |bytes: &Vec<u8>| match Value::of(bytes).at(key) {
        Value::Text(text) => text.clone(),
        other => panic!("{key} is {other:?}"),
    };
    inbox.iter().map(text).collect()
}

/// The configuration of a subscriber that connects with `outlet` only.
fn towards(outlet: &Outlet) -> ZenohConfig {
    ZenohConfig {
        connect: outlet.endpoints().to_vec(),
        ..ZenohConfig::default()
    }
}

#[test]
fn every_pose_reaches_a_subscriber_in_order_and_every_box_comes_back() {
    const COUNT: u32 = 60;
    let config = device("poses");
    let outlet = outlet(&config);
    let (subscription, poses) = subscribe(&towards(&outlet), &all_poses());
    let plain = session(outlet.endpoints());
    let healths = collect(&plain, config.key("front", "health"));
    let events = collect(&plain, config.key("front", "events"));
    eventually("both are connected", || outlet.peers() == 2);
    assert_eq!(subscription.connections(), 1);
    // The last declaration made is that of the events; it has arrived when it can be matched.
    std::thread::sleep(Duration::from_millis(300));

    let clock = Clock::live();
    let counters = Counters::default();
    let publishing = publisher(&clock, &counters, outlet);
    let mut slots = Queued::<PoseSample, { POSE_SLOTS + 1 }>::new(two_people);
    counters.set_load(Level::Saving, 1.25);
    let (mut sender, receiver) = slots.split();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        rt::spawn(scope, "publish", move || publishing.run(receiver, stop)).unwrap();
        for frame in 0..COUNT {
            let mut sample = loop {
                match sender.free() {
                    Some(sample) => break sample,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            sample.frame_sequence = frame;
            sample.capture = clock.now();
            sender.put(sample);
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Release);
    });
    let back = std::iter::from_fn(|| sender.free()).count();
    assert_eq!(back, POSE_SLOTS);
    assert_eq!(counters.published.get(), u64::from(COUNT));
    assert_eq!(counters.drops_total(), 0);
    assert_eq!(counters.people(), 2);
    eventually("all poses are there", || {
        poses.lock().unwrap().len() == COUNT as usize
    });
    for (index, received) in poses.lock().unwrap().iter().enumerate() {
        assert_eq!(received.key, "poised/test/poses/front/poses");
        let message = received.message.as_ref().unwrap();
        assert_eq!(message.sequence, index as u64);
        assert_eq!(message.sample.frame_sequence as usize, index);
        assert_eq!(message.sample.people, two_people().people);
        assert!(message.age_ms < 1_000.0, "{} ms", message.age_ms);
        let wall_ns = message
            .capture_unix_ns
            .abs_diff(poised::base::clock::unix_ns());
        assert!(wall_ns < 60_000_000_000, "{wall_ns} ns from now");
    }

    eventually("the stop event is there", || {
        texts(&events, "event") == ["started", "stopping"]
    });
    eventually("two healths are there", || {
        healths.lock().unwrap().len() >= 2
    });
    let schema = Schema::read(CDDL);
    for bytes in healths.lock().unwrap().iter() {
        schema.check("health", bytes).unwrap();
    }
    for bytes in events.lock().unwrap().iter() {
        schema.check("event", bytes).unwrap();
    }
    let mut health = Value::of(healths.lock().unwrap().last().unwrap());
    assert_eq!(
        *health.at("frames").at("published"),
        Value::Uint(COUNT.into())
    );
    assert_eq!(*health.at("frames").at("captured"), Value::Uint(0));
    assert_eq!(*health.at("fps").at("captured"), Value::F32(0.0));
    assert_eq!(*health.at("people"), Value::Uint(2));
    assert_eq!(*health.at("peers"), Value::Uint(2));
    assert_eq!(*health.at("late"), Value::Uint(0));
    assert_eq!(*health.at("load").at("level"), Value::Text("saving".into()));
    assert_eq!(*health.at("load").at("busy"), Value::F32(1.25));
    assert_eq!(*health.at("camera_state"), Value::Text("opening".into()));
    plain.close().wait().unwrap();
}

/// All answers to a query, as bytes and encoding.
fn ask(session: &Session, key: &str) -> Vec<Result<(Vec<u8>, String), String>> {
    let replies = session
        .get(key)
        .timeout(Duration::from_secs(5))
        .wait()
        .unwrap();
    let answer = |reply: zenoh::query::Reply| match reply.into_result() {
        Ok(sample) => Ok((
            sample.payload().to_bytes().into_owned(),
            sample.encoding().to_string(),
        )),
        Err(error) => Err(error.payload().try_to_string().unwrap().into_owned()),
    };
    replies.into_iter().map(answer).collect()
}

#[test]
fn config_calibration_schema_names_and_last_pose_are_answered() {
    let config = device("answers");
    let outlet = outlet(&config);
    let session = session(outlet.endpoints());
    eventually("the reader is connected", || outlet.peers() == 1);
    let ask = |leaf: &str| {
        let mut answers = ask(&session, &config.key("front", leaf));
        assert_eq!(answers.len(), 1, "{leaf}: {answers:?}");
        answers.remove(0)
    };
    assert_eq!(ask("last").unwrap_err(), "nothing has been published yet");
    let counters = Counters::default();
    let clock = Clock::live();
    let mut publisher = publisher(&clock, &counters, outlet);
    let mut sample = two_people();
    for frame in [70, 71] {
        sample.frame_sequence = frame;
        publisher.publish(&mut sample);
    }
    let (bytes, encoding) = ask("last").unwrap();
    assert_eq!(encoding, "application/cbor;pose/v1");
    assert_eq!(read::decode(&bytes).unwrap().sample.frame_sequence, 71);

    let (bytes, _) = ask("schema").unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), CDDL);
    let (bytes, encoding) = ask("config").unwrap();
    assert_eq!(bytes, b"[zenoh]\nsite = \"test\"\n");
    assert_eq!(encoding, "application/toml");
    assert_eq!(ask("calibration").unwrap().0, b"fx = 600.0\n");
    let (bytes, encoding) = ask("names").unwrap();
    Schema::read(CDDL).check("names", &bytes).unwrap();
    assert_eq!(encoding, "application/cbor;names/v1");
    let mut names = Value::of(&bytes);
    assert_eq!(
        names.at("joints").entries()[13],
        Value::Text("left_wrist".into())
    );
    assert_eq!(
        names.at("keypoints").entries()[0],
        Value::Text("nose".into())
    );
}

#[test]
fn the_alive_token_comes_and_goes_with_the_outlet() {
    let config = device("alive");
    let outlet = outlet(&config);
    let session = session(outlet.endpoints());
    let kinds = Inbox::default();
    let into = Arc::clone(&kinds);
    session
        .liveliness()
        .declare_subscriber("poised/*/alive/*/alive")
        .history(true)
        .callback(move |sample| {
            let seen = (sample.kind(), sample.key_expr().to_string());
            into.lock().unwrap().push(seen);
        })
        .background()
        .wait()
        .unwrap();
    let key = String::from("poised/test/alive/front/alive");
    let came = (SampleKind::Put, key.clone());
    eventually("the token is seen", || {
        *kinds.lock().unwrap() == [came.clone()]
    });
    outlet.close();
    let went = (SampleKind::Delete, key);
    eventually("the token is gone", || {
        *kinds.lock().unwrap() == [came.clone(), went.clone()]
    });
}

#[test]
fn a_peer_goes_on_without_the_other_side_and_finds_it_later() {
    let other = device("later");
    let place = outlet(&other);
    let endpoint = place.endpoints()[0].clone();
    place.close();

    let mut config = device("lonely");
    config.connect = vec![endpoint.clone()];
    let clock = Clock::live();
    let before = clock.now();
    let outlet = outlet(&config);
    let took = clock.now().since(before);
    assert!(took < Duration::from_secs(5), "opening took {took:?}");
    assert_eq!(outlet.peers(), 0);
    outlet.put_pose(&[0xa0]).unwrap();

    let mut listener = device("later");
    listener.listen = Some(vec![endpoint]);
    let _came = self::outlet(&listener);
    eventually("they meet", || outlet.peers() == 1);
}

#[test]
fn a_client_without_its_router_waits_no_longer_than_told_and_tries_again() {
    let place = outlet(&device("router"));
    let endpoint = place.endpoints()[0].clone();
    place.close();
    let config = ZenohConfig {
        mode: Some(Mode::Client),
        connect: vec![endpoint.clone()],
        listen: None,
        open_timeout_ms: 300,
        ..device("client")
    };
    let clock = Clock::live();
    let before = clock.now();
    let outlet = outlet(&config);
    let took = clock.now().since(before);
    assert!(took < Duration::from_secs(4), "opening took {took:?}");
    let refused = outlet.put_pose(&[0xa0]);
    assert!(
        matches!(refused, Err(SessionError::NoSession)),
        "{refused:?}"
    );

    let mut listener = device("router");
    listener.listen = Some(vec![endpoint]);
    let router = self::outlet(&listener);
    // It begins to open another, and looks whether that is there.
    let later = clock.now().plus(Duration::from_secs(6));
    let outlet = Mutex::new(outlet);
    eventually("it is on the air", || {
        let mut outlet = outlet.lock().unwrap();
        outlet.poll(later);
        outlet.put_pose(&[0xa0]).is_ok() && outlet.peers() == 1
    });
    drop(router);
}

/// Waits until what `session` has declared has reached the outlet: declarations travel before a question does.
fn settled(session: &Session, config: &ZenohConfig) {
    let schema = config.key("front", "schema");
    eventually("the outlet answers", || !ask(session, &schema).is_empty());
}

/// A program that takes connections and never says a word: what a router looks like that hangs.
fn mute_router() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp/{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[test]
fn a_router_that_hangs_never_holds_up_the_publisher_whatever_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zenoh.json5");
    // Opening may take for ever, says Zenoh's own file.
    std::fs::write(&file, "{ connect: { timeout_ms: -1 } }").unwrap();
    let (_listener, endpoint) = mute_router();
    let config = ZenohConfig {
        mode: Some(Mode::Client),
        connect: vec![endpoint],
        listen: None,
        open_timeout_ms: 300,
        config_file: Some(file),
        ..device("hangs")
    };
    let clock = Clock::live();
    let begun = clock.now();
    let mut outlet = outlet(&config);
    let took = clock.now().since(begun);
    assert!(took < Duration::from_secs(15), "the start took {took:?}");
    for second in 0..30 {
        let before = clock.now();
        outlet.poll(begun.plus(Duration::from_secs(20 + second)));
        let took = clock.now().since(before);
        assert!(took < Duration::from_millis(500), "tending took {took:?}");
    }
    assert!(matches!(
        outlet.put_pose(&[0xa0]),
        Err(SessionError::NoSession)
    ));
    outlet.close();
}

#[test]
fn two_daemons_under_one_name_are_seen_by_both_and_the_later_one_refuses() {
    let config = device("one-name");
    let clock = Clock::standing(MonoNs(0));
    let counters = Counters::default();
    let first = outlet(&config);
    let reader = session(first.endpoints());
    let events = collect(&reader, config.key("front", "events"));
    settled(&reader, &config);
    let later = ZenohConfig {
        connect: first.endpoints().to_vec(),
        ..config
    };
    let first = Mutex::new(publisher(&clock, &counters, first));
    let told = |word: &str| {
        let seconds = std::sync::atomic::AtomicU64::new(clock.now().0 / 1_000_000_000);
        eventually(word, || {
            let second = seconds.fetch_add(1, Ordering::Relaxed);
            clock.set(MonoNs(second * 1_000_000_000));
            first.lock().unwrap().idle();
            texts(&events, "event").iter().any(|event| event == word)
        });
    };
    let now = Clock::live().now();
    let refused = Outlet::open(&later, "front", Documents::default(), now);
    let error = refused.err().unwrap().to_string();
    assert!(
        error.contains("poised/test/one-name/front/poses is already published")
            && error.contains("zenoh.shared_name"),
        "{error}"
    );
    told("name_taken");
    // No other has it any more, for a minute of the standing clock.
    told("name_free");

    let shared = ZenohConfig {
        shared_name: true,
        ..later.clone()
    };
    let second = outlet(&shared);
    let beside = session(second.endpoints());
    let others = collect(&beside, later.key("front", "events"));
    settled(&beside, &later);
    let counted = Counters::default();
    let second = Mutex::new(publisher(&clock, &counted, second));
    eventually("the second says it too", || {
        clock.set(clock.now().plus(Duration::from_secs(1)));
        second.lock().unwrap().idle();
        texts(&others, "event")
            .iter()
            .any(|event| event == "name_taken")
    });
    // Another camera of the same device is another name.
    let camera = Outlet::open(&later, "side", Documents::default(), now);
    assert!(camera.is_ok());
}

#[test]
fn no_password_is_answered_logged_or_told() {
    let config = device("secrets");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poised.toml");
    // A comment may hold one, too.
    let text = "# was rtsp://kim:hunter2@10.0.0.7/old\n[camera]\nname = \"front\"\n\
                source = \"rtsp://kim:hunter2@10.0.0.7/live?token=hunter2\"\n";
    std::fs::write(&path, text).unwrap();
    let (settings, text) = poised::daemon::settings::Settings::read_with_text(&path).unwrap();
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("hunter2") && shown.contains("10.0.0.7"),
        "{shown}"
    );
    let documents = Documents {
        config: text,
        calibration: String::new(),
    };
    let now = Clock::live().now();
    let outlet = Outlet::open(&config, "front", documents, now).unwrap();
    let session = session(outlet.endpoints());
    let events = collect(&session, config.key("front", "events"));
    settled(&session, &config);
    let (answer, _) = ask(&session, &config.key("front", "config"))
        .remove(0)
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(!answer.contains("hunter2"), "{answer}");
    let back: poised::daemon::settings::Settings = toml::from_str(&answer).unwrap();
    assert_eq!(back.camera.name, "front");

    let clock = Clock::standing(MonoNs(0));
    let counters = Counters::default();
    let mut publisher = publisher(&clock, &counters, outlet);
    counters.capture.set_state(CameraState::Running);
    publisher.idle();
    let said = "rtsp://kim:hunter2@10.0.0.7/live: Invalid data found".to_owned();
    assert!(matches!(
        counters.capture.lost_because.put(said),
        poised::base::mailbox::Put::Stored
    ));
    counters.capture.set_state(CameraState::Lost);
    publisher.idle();
    eventually("the event", || {
        texts(&events, "event").contains(&"camera_lost".into())
    });
    let heard = events.lock().unwrap().concat();
    assert!(!heard.windows(7).any(|bytes| bytes == b"hunter2"));

    // A mistake in the file quotes the line.
    for wrong in [
        "source = \"rtsp://kim:hunter2@h/\" x",
        "sauce = \"rtsp://kim:hunter2@h/\"",
    ] {
        std::fs::write(&path, format!("[camera]\n{wrong}\n")).unwrap();
        let error = poised::daemon::settings::Settings::read(&path).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_command_that_comes_as_a_query_is_answered_once_it_is_done() {
    let config = device("commands");
    let mut outlet = outlet(&config);
    let control = Arc::new(Control::default());
    outlet.hear_control(Arc::clone(&control)).unwrap();
    let session = session(outlet.endpoints());
    eventually("the reader is connected", || outlet.peers() == 1);
    let key = config.key("front", "control");
    let send = |key: &str, word: &str| {
        let length = 0x60 + u8::try_from(word.len()).unwrap();
        let payload = [&[0xA1, 0x67][..], b"command", &[length], word.as_bytes()];
        let get = session.get(key.to_owned()).payload(payload.concat());
        get.timeout(Duration::from_secs(20)).wait().unwrap()
    };
    let schema = Schema::read(CDDL);
    let answer = |replies: zenoh::handlers::FifoChannelHandler<zenoh::query::Reply>| {
        let bytes = replies.recv().unwrap().into_result().unwrap();
        let bytes = bytes.payload().to_bytes().into_owned();
        schema.check("control_answer", &bytes).unwrap();
        Value::of(&bytes)
    };
    assert_eq!(
        *answer(send(&key, "explode")).at("done"),
        Value::Bool(false)
    );
    let replies = send(&key, "freeze");
    let order = Mutex::new(None);
    eventually("it is there", || {
        let mut order = order.lock().unwrap();
        *order = order.take().or_else(|| control.take());
        order.is_some()
    });
    assert!(
        matches!(replies.try_recv(), Ok(None)),
        "not before it is done"
    );
    order.into_inner().unwrap().unwrap().answer(Ok(None));
    let mut done = answer(replies);
    assert_eq!(*done.at("done"), Value::Bool(true));
    assert_eq!(*done.at("command"), Value::Text("freeze".into()));
    // A wildcard is no command, whatever it carries.
    let replies = send(&config.key("*", "control"), "reset");
    assert!(replies.recv().is_err(), "no answer");
    assert!(control.take().is_none());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let first = outlet(&device("first"));
    let mut config = device("second");
    config.listen = Some(first.endpoints().to_vec());
    let now = Clock::live().now();
    let refused = Outlet::open(&config, "front", Documents::default(), now);
    let error = refused.err().unwrap().to_string();
    assert!(error.contains(&first.endpoints()[0]), "{error}");
}

#[test]
fn two_daemons_of_one_machine_are_found_by_a_subscriber_without_configuration() {
    let plain = |name: &str| ZenohConfig {
        site: "default-port".into(),
        device: name.into(),
        ..ZenohConfig::default()
    };
    let outlets = [outlet(&plain("one")), outlet(&plain("two"))];
    for outlet in &outlets {
        let [endpoint] = outlet.endpoints() else {
            panic!("listens on {:?}", outlet.endpoints());
        };
        assert!(endpoint.starts_with("tcp/127.0.0.1:"), "{endpoint}");
    }
    let (_subscription, poses) =
        subscribe(&ZenohConfig::default(), "poised/default-port/*/*/poses");
    eventually("poses of both are there", || {
        for outlet in &outlets {
            outlet.put_pose(&[0xa0]).unwrap();
        }
        let poses = poses.lock().unwrap();
        let from = |name: &str| poses.iter().any(|pose| pose.key.contains(name));
        from("/one/") && from("/two/")
    });
    let poses = poses.lock().unwrap();
    let error = poses[0].message.as_ref().unwrap_err().to_string();
    assert_eq!(error, "schema: missing");
}

/// The publisher of a device whose networks no engine runs.
fn publisher<'a>(clock: &'a Clock, counters: &'a Counters, outlet: Outlet) -> Publisher<'a> {
    let config = PublishConfig::default();
    Publisher::new(&config, "front", Arc::default(), clock, counters, outlet)
}

#[test]
fn health_says_which_engine_runs_what_and_what_is_being_built() {
    let config = device("engine");
    let outlet = outlet(&config);
    let session = session(outlet.endpoints());
    let healths = collect(&session, config.key("front", "health"));
    eventually("the reader is connected", || outlet.peers() == 1);
    std::thread::sleep(Duration::from_millis(300));
    let engine = Arc::new(EngineStatus::new("tensorrt", "auto; on a GPU".into()));
    engine.runs("finder", "tensorrt");
    engine.runs("person", "tract");
    engine.set_building(Some(Building {
        network: "person",
        phase: "layers".into(),
        done: 0.5,
        waiting: 1,
    }));
    let clock = Clock::standing(MonoNs(0));
    let counters = Counters::default();
    let publish = PublishConfig::default();
    let publishing = Publisher::new(&publish, "front", engine, &clock, &counters, outlet);
    let mut slots = Queued::<PoseSample, 2>::new(PoseSample::default);
    let (_sender, receiver) = slots.split();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        rt::spawn(scope, "publish", move || publishing.run(receiver, stop)).unwrap();
        clock.set(MonoNs(1_000_000_000));
        eventually("a health", || !healths.lock().unwrap().is_empty());
        stop.store(true, Ordering::Release);
    });
    let bytes = healths.lock().unwrap()[0].clone();
    Schema::read(CDDL).check("health", &bytes).unwrap();
    let mut health = Value::of(&bytes);
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(*health.at("engine"), text("tract"));
    assert_eq!(*health.at("engine_reason"), text("auto; on a GPU"));
    assert_eq!(*health.at("networks").at("finder"), text("tensorrt"));
    let mut build = health.at("engine_build").clone();
    assert_eq!(*build.at("network"), text("person"));
    assert_eq!(*build.at("phase"), text("layers"));
    assert_eq!(*build.at("done"), Value::F32(0.5));
    assert_eq!(*build.at("waiting"), Value::Uint(1));
}

/// Runs `work` with a publisher on a standing clock and gives what it counted.
fn with_publisher(name: &str, work: impl FnOnce(&mut Publisher<'_>, &Clock)) -> Counters {
    let clock = Clock::standing(MonoNs(1_000_000_000));
    let counters = Counters::default();
    let mut publisher = publisher(&clock, &counters, outlet(&device(name)));
    work(&mut publisher, &clock);
    drop(publisher);
    counters
}

#[test]
fn a_person_with_a_number_that_is_not_finite_is_left_out_and_counted() {
    let mut sample = two_people();
    sample.people[0].root_camera_m.z = f32::NAN;
    let counters = with_publisher("unfit", |publisher, _| publisher.publish(&mut sample));
    assert_eq!(counters.published.get(), 1);
    assert_eq!(counters.people(), 1);
    assert_eq!(counters.drops(DropReason::Unfit), 1);
}

/// Keeps how many people are in each pose message that an outlet beside Zenoh is told of.
struct Rooms(Inbox<usize>);

impl Sink for Rooms {
    fn take(&mut self, message: &Message<'_>) {
        if let Message::Pose { sample, .. } = message {
            self.0.lock().unwrap().push(sample.people.len());
        }
    }
}

#[test]
fn a_frame_whose_only_person_is_not_finite_is_not_an_empty_room() {
    let rooms = Inbox::default();
    let mut sample = two_people();
    sample.people.truncate(1);
    sample.people[0].root_camera_m.z = f32::NAN;
    let counters = with_publisher("not-empty", |publisher, _| {
        publisher.also(Rooms(Arc::clone(&rooms)));
        publisher.publish(&mut sample);
        // And one that is empty is said to be.
        publisher.publish(&mut PoseSample::default());
    });
    assert_eq!(*rooms.lock().unwrap(), [0], "of the second frame only");
    assert_eq!(counters.published.get(), 1);
    assert_eq!(counters.drops(DropReason::Unfit), 1);
    assert_eq!(counters.drops(DropReason::NotSent), 1);
    assert_eq!(counters.drops_total(), 1, "the frame is counted once");
}

/// Someone before the camera with both knees bent by so much.
fn squatting(frame: u32, bent_deg: f32) -> PoseSample {
    let mut sample = two_people();
    sample.people.truncate(1);
    sample.frame_sequence = frame;
    sample.capture = MonoNs(1_000_000_000 + u64::from(frame) * 33_333_333);
    let person = &mut sample.people[0];
    person.states = [JointState::Measured; JOINTS];
    person.sigmas_m = [0.01; JOINTS];
    let pelvis = Vec3::new(0.0, 0.0, 3.0);
    person.joints_camera_m[0] = pelvis;
    person.joints_camera_m[8] = pelvis - 0.5 * Vec3::Y;
    let (sin, cos) = bent_deg.to_radians().sin_cos();
    // Facing the camera, the right side is at the left of the image, and backward is away from it.
    for (side, [hip, knee, ankle]) in [(-1.0, [1, 2, 3]), (1.0, [4, 5, 6])] {
        person.joints_camera_m[hip] = pelvis + 0.13 * side * Vec3::X;
        person.joints_camera_m[knee] = person.joints_camera_m[hip] + 0.43 * Vec3::Y;
        person.joints_camera_m[ankle] =
            person.joints_camera_m[knee] + 0.42 * Vec3::new(0.0, cos, sin);
    }
    sample
}

/// Keeps repetitions that an outlet beside Zenoh is told of.
struct Told(Arc<Mutex<Vec<Vec<u8>>>>);

impl Sink for Told {
    fn take(&mut self, message: &Message<'_>) {
        if let Message::Repetition { bytes } = message {
            self.0.lock().unwrap().push(bytes.to_vec());
        }
    }
}

#[test]
fn repetitions_are_told_when_they_end_and_the_last_one_at_the_end() {
    let zenoh = device("squats");
    let outlet = outlet(&zenoh);
    let session = session(outlet.endpoints());
    let heard = collect(&session, zenoh.key("front", "repetitions"));
    let poses = collect(&session, zenoh.key("front", "poses"));
    eventually("the reader is connected", || outlet.peers() == 1);
    std::thread::sleep(Duration::from_millis(300));
    let (clock, counters) = (Clock::standing(MonoNs(1_000_000_000)), Counters::default());
    let config = PublishConfig {
        angles: true,
        ..PublishConfig::default()
    };
    let engine = Arc::default();
    let mut publisher = Publisher::new(&config, "front", engine, &clock, &counters, outlet);
    let squat = ExerciseConfig {
        name: Some("squat".into()),
        file: None,
    };
    publisher.count(squat.open().unwrap().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    publisher.also(Told(Arc::clone(&told)));
    // A second at rest, then squats of two seconds; the third is left off on its way up.
    for frame in 0_u16..30 + 168 {
        let phase = f32::from(frame.saturating_sub(30)) / 60.0;
        let bent_deg = 50.0 * (1.0 - (std::f32::consts::TAU * phase).cos());
        let mut sample = squatting(frame.into(), bent_deg);
        clock.set(sample.capture);
        publisher.publish(&mut sample);
        let ended = told.lock().unwrap().len();
        let most = match frame {
            ..60 => 0,
            60..120 => 1,
            _ => 2,
        };
        assert!(ended <= most, "{ended} at frame {frame}");
    }
    assert_eq!(told.lock().unwrap().len(), 2);
    publisher.leave();
    eventually("all have come", || heard.lock().unwrap().len() == 3);
    let heard = heard.lock().unwrap();
    assert_eq!(*heard, *told.lock().unwrap());
    for (bytes, count) in heard.iter().zip([1, 2, 3]) {
        Schema::read(CDDL).check("repetition", bytes).unwrap();
        Schema::read(CDDL).check("message", bytes).unwrap();
        let mut message = Value::of(bytes);
        assert_eq!(*message.at("kind"), Value::Text("whole".into()));
        assert_eq!(*message.at("count"), Value::Uint(count));
        assert_eq!(*message.at("exercise"), Value::Text("squat".into()));
        let Value::F32(depth_deg) = *message.at("depth_deg") else {
            panic!("{message:?}");
        };
        assert!((depth_deg - 100.0).abs() < 2.0, "{depth_deg}");
    }
    let poses = poses.lock().unwrap();
    let mut pose = Value::of(poses.last().unwrap());
    Schema::read(CDDL)
        .check("pose", poses.last().unwrap())
        .unwrap();
    let angles = pose.at("persons").entries()[0].at("angles_deg").entries();
    assert!(matches!(angles[4], Value::F32(_)) && angles[12] == Value::Null);
}

#[test]
fn a_late_pose_is_published_and_counted() {
    let mut sample = two_people();
    sample.capture = MonoNs(1_000_000_000);
    let counters = with_publisher("late", |publisher, clock| {
        clock.set(MonoNs(1_200_000_000));
        publisher.publish(&mut sample);
        clock.set(MonoNs(1_200_000_001));
        publisher.publish(&mut sample);
    });
    assert_eq!(counters.published.get(), 2);
    assert_eq!(counters.late.get(), 1);
    let p50 = counters.latency.read().quantile_ms(0.5).unwrap();
    assert!((p50 - 200.0).abs() < 7.0, "{p50} ms");
}

#[test]
fn putting_never_waits() {
    let clock = Clock::live();
    let before = clock.now();
    let mut sample = two_people();
    let counters = with_publisher("alone", |publisher, _| {
        for _ in 0..5_000 {
            publisher.publish(&mut sample);
        }
    });
    assert_eq!(counters.published.get(), 5_000);
    let took = clock.now().since(before);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn what_happens_to_the_camera_is_an_event_once() {
    let config = device("camera");
    let outlet = outlet(&config);
    let session = session(outlet.endpoints());
    let events = collect(&session, config.key("front", "events"));
    let healths = collect(&session, config.key("front", "health"));
    eventually("the reader is connected", || outlet.peers() == 1);
    std::thread::sleep(Duration::from_millis(300));
    let clock = Clock::standing(MonoNs(0));
    let counters = Counters::default();
    let publishing = publisher(&clock, &counters, outlet);
    let mut slots = Queued::<PoseSample, 2>::new(PoseSample::default);
    let (_sender, receiver) = slots.split();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        rt::spawn(scope, "publish", move || publishing.run(receiver, stop)).unwrap();
        let at = |ms: u64| clock.set(MonoNs(ms * 1_000_000));
        let seen = |count| eventually("the next event", || texts(&events, "event").len() == count);
        let next_health = |count| {
            eventually("the next health", || healths.lock().unwrap().len() == count);
        };
        seen(1);
        counters.capture.set_state(CameraState::Running);
        counters.capture.frames.fetch_add(30, Ordering::Relaxed);
        at(1_000);
        next_health(1);
        at(3_000);
        seen(2);
        next_health(2);
        at(4_000);
        next_health(3);
        counters.capture.frames.fetch_add(1, Ordering::Relaxed);
        seen(3);
        counters.capture.set_state(CameraState::Lost);
        seen(4);
        at(5_000);
        next_health(4);
        counters.capture.set_state(CameraState::Running);
        seen(5);
        stop.store(true, Ordering::Release);
    });
    let expected = [
        "started",
        "no_frames",
        "frames_back",
        "camera_lost",
        "camera_back",
        "stopping",
    ];
    eventually("all events are there", || {
        texts(&events, "event") == expected
    });
    let states = texts(&healths, "camera_state");
    assert_eq!(states[..4], ["running", "silent", "silent", "lost"]);
    let mut first = Value::of(&healths.lock().unwrap()[0]);
    assert_eq!(*first.at("fps").at("captured"), Value::F32(30.0));
    assert_eq!(*first.at("latency_ms"), Value::Null);
    let mut second = Value::of(&healths.lock().unwrap()[1]);
    assert_eq!(*second.at("fps").at("captured"), Value::F32(0.0));
}
