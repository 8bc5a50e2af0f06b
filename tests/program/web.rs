//! The web view on real sockets: what it serves, to whom, and what it withstands.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::common::daemon::{Daemon, eventually};
use crate::common::samples::{STAMP, person, two_people};
use poised::base::clock::Clock;
use poised::base::limits::PEOPLE_MAX;
use poised::capture::thread::CameraState;
use poised::counters::Counters;
use poised::output::json::to_json;
use poised::output::sink::{Message, Sink};
use poised::output::subscribe::Subscription;
use poised::output::web::{About, Token};
use poised::output::wire::{Buffer, encode};
use poised::output::{Documents, Outlet, PublishConfig, Publisher, Web, WebConfig, ZenohConfig};
use poised::pose::{Action, ActionSource, PoseSample};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A token as a configuration may have it.
const TOKEN: &str = "correct-horse-battery-staple";

/// A web view on a free port, with counters of its own.
struct View {
    web: Web,
    counters: Arc<Counters>,
}

impl View {
    fn open() -> Self {
        Self::with(&WebConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            ..WebConfig::default()
        })
    }

    fn with(config: &WebConfig) -> Self {
        config.validate().unwrap();
        let counters = Arc::<Counters>::default();
        let about = About {
            camera: "front".into(),
            engine: Arc::default(),
            counters: Arc::clone(&counters),
            clock: Arc::new(Clock::live()),
            silent_after: Duration::from_secs(2),
        };
        let web = Web::open(config, about).unwrap().unwrap();
        Self { web, counters }
    }

    fn address(&self) -> SocketAddr {
        let port = self.web.address().port();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Hands a pose over, as the publisher does.
    fn pose(&mut self, sequence: u64, sample: &PoseSample) {
        let mut buffer: Box<Buffer> = Box::new([0; _]);
        let mut stamp = STAMP;
        stamp.sequence = sequence;
        let length = encode(&stamp, sample, &mut buffer).unwrap();
        self.web.take(&Message::Pose {
            stamp: &stamp,
            sample,
            unfit: 0,
            bytes: &buffer[..length],
        });
    }

    /// A figure of `/metrics`, by its name and labels.
    fn metric(&self, series: &str) -> f64 {
        let text = get(self.address(), "/metrics", &[]).body;
        let value = text.lines().find_map(|line| line.strip_prefix(series));
        let value = value.unwrap_or_else(|| panic!("{series} in\n{text}"));
        value.trim().parse().unwrap()
    }
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request of these lines; `HTTP/1.0`, so that the body comes as it is.
fn ask(address: SocketAddr, first: &str, lines: &[&str]) -> TcpStream {
    let mut stream = connect(address);
    let lines = [lines, &["", ""]].concat().join("\r\n");
    write!(stream, "{first} HTTP/1.0\r\n{lines}").unwrap();
    stream
}

/// Asks with these lines and nothing else, and reads to the end.
fn raw(address: SocketAddr, first: &str, lines: &[&str]) -> Answer {
    let mut text = String::new();
    // A refusal may be followed by a reset, when there was more to read than was read.
    let _ = ask(address, first, lines).read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Asks for a path under the right name.
fn get(address: SocketAddr, path: &str, lines: &[&str]) -> Answer {
    let host = format!("Host: {address}");
    let lines: Vec<&str> = std::iter::once(host.as_str())
        .chain(lines.iter().copied())
        .collect();
    raw(address, &format!("GET {path}"), &lines)
}

/// A reader of the event stream.
struct Stream {
    lines: std::io::Lines<BufReader<TcpStream>>,
}

impl Stream {
    fn open(address: SocketAddr) -> Self {
        let host = format!("Host: {address}");
        let reader = BufReader::new(ask(address, "GET /live", &[&host]));
        let mut lines = reader.lines();
        let first = lines.next().unwrap().unwrap();
        assert!(first.contains(" 200 "), "{first}");
        for line in lines.by_ref().map(Result::unwrap) {
            if line.is_empty() {
                break;
            }
        }
        Self { lines }
    }

    /// The next message: its event and data. `None` at the end.
    fn next(&mut self) -> Option<(String, String)> {
        let mut event = None;
        loop {
            let line = self.lines.next()?.unwrap();
            if let Some(name) = line.strip_prefix("event: ") {
                event = Some(name.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                let event = event.expect("an event stands before its data");
                let end = self.lines.next()?.unwrap();
                assert_eq!(end, "", "data is one line");
                return Some((event, data.to_owned()));
            }
        }
    }

    /// The next message of a kind.
    fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let (event, data) = self.next().expect("the stream goes on");
            if event == kind {
                return serde_json::from_str(&data).unwrap();
            }
        }
    }
}

/// Whether two messages hold the same: 32-bit floats are compared as such.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            #[expect(clippy::cast_possible_truncation, reason = "that is what is compared")]
            let float = |n: &serde_json::Number| n.as_f64().map(|n| (n as f32).to_bits());
            x == y || (x.is_f64() || y.is_f64()) && float(x) == float(y)
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(key, x)| y.get(key).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

/// As many people as there may be.
fn crowd() -> PoseSample {
    let mut sample = two_people();
    sample.people = (0..).map(|id| person(id, 0.5)).take(PEOPLE_MAX).collect();
    sample
}

#[test]
fn the_page_is_served_with_headers_that_protect_it() {
    let view = View::open();
    for (path, kind, part) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/view.js", "text/javascript; charset=utf-8", "/poised.js"),
        ("/poised.js", "text/javascript; charset=utf-8", "class Live"),
        (
            "/view.css",
            "text/css; charset=utf-8",
            "prefers-reduced-motion",
        ),
    ] {
        let answer = get(view.address(), path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.contains(part), "{path}");
        for line in [
            &format!("content-type: {kind}"),
            "content-security-policy: default-src 'none'; script-src 'self';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(
                answer.head.contains(line),
                "{path}: {line} in {}",
                answer.head
            );
        }
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    assert_eq!(get(view.address(), "/config", &[]).status, 404);
    assert_eq!(get(view.address(), "/../Cargo.toml", &[]).status, 404);
    let host = format!("Host: {}", view.address());
    let head = raw(view.address(), "HEAD /", &[&host]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(raw(view.address(), "HEAD /live", &[&host]).status, 200);
}

#[test]
fn poses_come_as_they_are_published_on_zenoh_and_the_end_is_told() {
    let config = ZenohConfig {
        site: "test".into(),
        device: "web".into(),
        listen: Some(vec!["tcp/127.0.0.1:0".into()]),
        ..ZenohConfig::default()
    };
    let clock = Clock::live();
    let outlet = Outlet::open(&config, "front", Documents::default(), clock.now()).unwrap();
    let on_zenoh = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&on_zenoh);
    let reached = ZenohConfig {
        connect: outlet.endpoints().to_vec(),
        ..config.clone()
    };
    let _subscription =
        Subscription::raw(&reached, &config.key("front", "*"), move |key, bytes| {
            if key.ends_with("/poses") || key.ends_with("/events") {
                into.lock().unwrap().push(to_json(bytes).unwrap());
            }
        })
        .unwrap();
    eventually("the subscriber is connected", || outlet.peers() == 1);
    std::thread::sleep(Duration::from_millis(300));

    let View { web, counters } = View::open();
    let address = web.address();
    let publish = PublishConfig::default();
    let mut publisher =
        Publisher::new(&publish, "front", Arc::default(), &clock, &counters, outlet);
    publisher.also(web);
    let mut stream = Stream::open(address);
    let names = stream.next_of("names");
    assert_eq!(names["joints"].as_array().unwrap().len(), 17);
    publisher.idle();
    let mut seen = vec![stream.next_of("event")];
    for frame in 0..20 {
        let mut sample = two_people();
        sample.frame_sequence = frame;
        sample.capture = clock.now();
        publisher.publish(&mut sample);
        seen.push(stream.next_of("pose"));
    }
    publisher.leave();
    seen.push(stream.next_of("event"));
    while stream.next().is_some() {}
    assert!(
        TcpStream::connect(address).is_err(),
        "no one listens any more"
    );

    assert_eq!(seen[0]["event"], "started");
    assert_eq!(seen[21]["event"], "stopping");
    eventually("all is there", || {
        on_zenoh.lock().unwrap().len() >= seen.len()
    });
    // Each kind in its order; Zenoh promises none from one key to another.
    let on_zenoh = on_zenoh.lock().unwrap();
    for schema in ["event/v1", "pose/v1"] {
        let of = |all: &[Value]| -> Vec<Value> {
            let those = all.iter().filter(|message| message["schema"] == schema);
            those.cloned().collect()
        };
        let (seen, others) = (of(&seen), of(&on_zenoh));
        assert_eq!(seen.len(), others.len(), "{schema}");
        for (seen, other) in seen.iter().zip(&others) {
            assert!(same(seen, other), "{seen}\nis not\n{other}");
        }
    }
    assert_eq!(seen[20]["frame_sequence"], 19);
}

#[test]
fn names_and_pages_of_others_are_refused_and_counted() {
    let view = View::open();
    let (address, port) = (view.address(), view.address().port());
    let own = format!("Host: localhost:{port}");
    for path in ["GET /", "GET /live", "GET /metrics"] {
        let evil = format!("Host: evil.example:{port}");
        assert_eq!(raw(address, path, &[&evil]).status, 421, "{path}");
        assert_eq!(raw(address, path, &[]).status, 421, "{path}");
        assert_eq!(raw(address, path, &[&own, &own]).status, 421, "{path}");
        for line in ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"] {
            let answer = raw(address, path, &[&own, line]);
            assert_eq!(answer.status, 403, "{path} {line}");
        }
    }
    let posted = raw(address, "POST /live", &[&own, "Content-Length: 0"]);
    assert_eq!(posted.status, 405);
    assert!(posted.head.contains("allow: get, head"), "{}", posted.head);
    let refused = |why: &str| view.metric(&format!("poised_web_refused_total{{reason=\"{why}\"}}"));
    let counts = ["foreign_host", "foreign_origin", "method"].map(refused);
    let rounded = counts.map(f64::round);
    assert!(
        rounded.map(|count| count.to_string()) == ["9", "6", "1"],
        "{counts:?}"
    );
    let long = format!("X: {}", "x".repeat(20_000));
    let answer = raw(address, "GET /", &[&own, &long]);
    assert!(matches!(answer.status, 0 | 431), "{answer:?}");
    assert_eq!(raw(address, "\u{1}\u{2}", &[]).status, 400);
    eventually("both are counted", || refused("malformed") >= 2.0);
}

#[test]
fn without_the_token_there_are_neither_poses_nor_figures() {
    let view = View::with(&WebConfig {
        listen: Some("0.0.0.0:0".parse().unwrap()),
        token: Some(Token::from(TOKEN)),
        ..WebConfig::default()
    });
    let address = view.address();
    assert_eq!(get(address, "/", &[]).status, 200);
    let good = format!("Authorization: Bearer {TOKEN}");
    for path in ["/live", "/metrics"] {
        for lines in [&[][..], &["Authorization: Bearer correct-horse"]] {
            let answer = get(address, path, lines);
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.head.contains("www-authenticate: bearer"));
        }
        let in_path = get(address, &format!("{path}?token={TOKEN}"), &[]);
        assert_eq!(in_path.status, 401, "a token in an address ends up in logs");
    }
    let metrics = get(address, "/metrics", &[&good]);
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .body
            .contains("poised_web_refused_total{reason=\"token\"} 6")
    );
    let host = format!("Host: {address}");
    let mut stream = BufReader::new(ask(address, "GET /live", &[&host, &good]));
    let mut first = String::new();
    stream.read_line(&mut first).unwrap();
    assert!(first.contains(" 200 "), "{first}");
}

#[test]
fn more_readers_and_connections_than_there_may_be_are_refused_until_some_leave() {
    let mut view = View::open();
    let address = view.address();
    let mut readers: Vec<Stream> = (0..8).map(|_| Stream::open(address)).collect();
    assert!(readers.iter_mut().all(|reader| reader.next().is_some()));
    assert_eq!(get(address, "/live", &[]).status, 503);
    assert!((view.metric("poised_web_readers ") - 8.0).abs() < 0.1);
    readers.truncate(4);
    // A reader that left is found out when something is sent to it.
    eventually("places are free again", || {
        view.metric("poised_web_readers ") < 5.0
    });
    readers.push(Stream::open(address));

    // Both ends of each are open files of this process, which may have 1024.
    let idle: Vec<TcpStream> = (0..300)
        .filter_map(|_| TcpStream::connect(address).ok())
        .collect();
    let mut refused = 0;
    for mut stream in idle {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        refused += usize::from(text.contains(" 503 "));
    }
    assert!(
        refused > 200,
        "{refused} were answered that there is no room"
    );
    // The others were closed, since no request came from them.
    view.pose(1, &two_people());
    for reader in &mut readers {
        assert_eq!(
            reader.next_of("pose")["sequence"],
            1,
            "readers are as before"
        );
    }
    eventually("there is room again", || {
        get(address, "/", &[]).status == 200
    });
}

#[test]
fn half_a_request_is_given_up() {
    let view = View::open();
    for half in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut stream = connect(view.address());
        stream.write_all(half.as_bytes()).unwrap();
        let clock = Clock::live();
        let begun = clock.now();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let waited = clock.now().since(begun);
        assert!(waited < Duration::from_secs(30), "{half:?}: {waited:?}");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{half:?}");
    }
    let refused = "poised_web_refused_total{reason=\"slow_request\"}";
    assert!((view.metric(refused) - 3.0).abs() < 0.1);
}

#[test]
fn a_reader_that_takes_nothing_is_dropped_and_holds_nobody_up() {
    let mut view = View::open();
    let address = view.address();
    let lazy = Stream::open(address);
    let mut quick = Stream::open(address);
    let crowd = crowd();
    let clock = Clock::live();
    let begun = clock.now();
    let mut taking = Duration::ZERO;
    let mut sequence = 0;
    let gone = "poised_web_refused_total{reason=\"slow_reader\"}";
    while view.metric(gone) < 1.0 {
        assert!(clock.now().since(begun) < PATIENCE, "it is still there");
        for _ in 0..20 {
            sequence += 1;
            let before = clock.now();
            view.pose(sequence, &crowd);
            taking += clock.now().since(before);
            std::thread::sleep(Duration::from_millis(10));
        }
        // The other goes on: it is at the newest pose, or at one that left a moment ago.
        let mut newest = 0;
        while newest + 40 < sequence {
            newest = quick.next_of("pose")["sequence"].as_u64().unwrap();
        }
    }
    // A copy of 8 kB each. That no lock is waited for shows in the mean, since this machine may stop any thread.
    let each = taking / u32::try_from(sequence).unwrap();
    assert!(
        each < Duration::from_millis(5),
        "{each:?} to hand a pose over"
    );
    assert!(view.metric("poised_web_poses_skipped_total ") > 0.0);
    drop(lazy);
    eventually("one reader is left", || {
        (view.metric("poised_web_readers ") - 1.0).abs() < 0.1
    });
}

#[test]
fn a_hostile_label_is_text_and_nothing_else() {
    let label = "<img src=x onerror=alert(1)>\n\nevent: x\"\\";
    let mut view = View::open();
    let mut stream = Stream::open(view.address());
    let mut sample = two_people();
    sample.people[0].action = Some(Action {
        label: label.try_into().unwrap(),
        probability: 1.0,
        source: ActionSource::Hint,
    });
    view.pose(1, &sample);
    let pose = stream.next_of("pose");
    assert_eq!(pose["persons"][0]["action"]["label"], label);

    // What is a message becomes text nodes: the script has no way to make elements of a text, and the page runs no
    // script but its own file.
    let files = ["/view.js", "/poised.js"];
    let script = files
        .map(|file| get(view.address(), file, &[]).body)
        .concat();
    for way in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "createContextualFragment",
        "DOMParser",
        "srcdoc",
        "eval(",
        "Function(",
        "setAttribute(\"on",
    ] {
        assert!(!script.contains(way), "{way}");
    }
    assert!(script.contains("textContent"));
    let page = get(view.address(), "/", &[]).body;
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("<script type=\"module\" src=\"/view.js\"></script>"));
    for part in [
        "onclick",
        "onload",
        "style=",
        "javascript:",
        "http://",
        "https://",
    ] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn figures_can_be_parsed_and_are_zero_without_a_camera() {
    let mut view = View::open();
    let answer = get(view.address(), "/metrics", &[]);
    assert!(
        answer
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    let (mut typed, mut series, mut described) = (None, BTreeSet::new(), BTreeSet::new());
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            assert!(described.insert(name.to_owned()), "{name} twice");
            typed = Some(name.to_owned());
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let metric = typed.as_deref().unwrap();
            assert!(name.starts_with(metric), "{line} is not of {metric}");
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(series.insert(name.to_owned()), "{name} twice");
            let zero_now = ["frames", "people", "camera_up", "load", "latency", "stage"];
            if zero_now
                .iter()
                .any(|part| name.contains(&format!("poised_{part}")))
            {
                assert_eq!(value, "0", "{line}");
            }
        }
    }
    assert!(described.len() >= 20, "{described:?}");

    // No further series for people and their names.
    let before = series.len();
    view.counters.capture.set_state(CameraState::Running);
    let now = Clock::live().now();
    view.counters
        .capture
        .last_frame_ns
        .store(now.0, Ordering::Relaxed);
    view.counters.set_newest(now, PEOPLE_MAX);
    view.pose(1, &crowd());
    let up = get(view.address(), "/metrics", &[]).body;
    assert!(up.contains("poised_people{camera=\"front\"} 8\n"), "{up}");
    let after = up.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(after, before);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let view = View::open();
    let config = WebConfig {
        listen: Some(view.address()),
        ..WebConfig::default()
    };
    let about = About {
        camera: "front".into(),
        engine: Arc::default(),
        counters: Arc::default(),
        clock: Arc::new(Clock::live()),
        silent_after: Duration::from_secs(2),
    };
    let error = Web::open(&config, about).unwrap_err().to_string();
    assert!(error.contains(&view.address().to_string()), "{error}");
    config.check_listen().unwrap();
}

#[test]
fn the_daemon_serves_what_it_sees_and_never_its_token() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let daemon = Daemon::start("web", &format!("[web]\nlisten = \"{address}\"\n"));
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let mut stream = Stream::open(address);
    let first = stream.next_of("pose");
    assert_eq!(first["schema"], "pose/v1");
    let later = stream.next_of("pose");
    assert!(later["sequence"].as_u64() > first["sequence"].as_u64());
    let health = stream.next_of("health");
    assert_eq!(health["schema"], "health/v1");
    let metrics = get(address, "/metrics", &[]).body;
    assert!(
        metrics.contains("poised_camera_up{camera=\"front\"} 1\n"),
        "{metrics}"
    );
    daemon.stop();
    let mut last = None;
    while let Some((event, data)) = stream.next() {
        if event == "event" {
            last = Some(data);
        }
    }
    assert!(last.unwrap().contains("stopping"));
}
