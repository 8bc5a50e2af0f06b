//! The outlet for Foxglove on real sockets: what a viewer is told, who is let in, and what it withstands.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::{Error, Message as Frame, WebSocket, client};

use crate::common::daemon::eventually;
use crate::common::samples::{STAMP, two_people};
use poised::base::clock::Clock;
use poised::camera::Mount;
use poised::counters::Counters;
use poised::output::foxglove::FoxgloveAbout;
use poised::output::sink::{Message, Sink};
use poised::output::{Foxglove, FoxgloveConfig, RosConfig};
use poised::pose::PoseSample;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a viewer asks for.
const PROTOCOL: (&str, &str) = ("Sec-WebSocket-Protocol", "foxglove.sdk.v1");

/// Channels of the topics, as they are numbered.
const JOINTS: u64 = 1;
const DIAGNOSTICS: u64 = 3;
const TF: u64 = 4;

/// An outlet on a free port, with counters of its own.
struct Outlet {
    foxglove: Foxglove,
    counters: Arc<Counters>,
}

impl Outlet {
    fn open(origins: &[&str]) -> Self {
        let config = FoxgloveConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            open_to_network: false,
        };
        config.validate().unwrap();
        let counters = Arc::<Counters>::default();
        let about = FoxgloveAbout {
            camera: "front".into(),
            device: "kiosk".into(),
            names: RosConfig::default().names("front"),
            counters: Arc::clone(&counters),
            clock: Arc::new(Clock::live()),
        };
        let foxglove = Foxglove::open(&config, about).unwrap().unwrap();
        Self { foxglove, counters }
    }

    fn pose(&mut self, sequence: u64, sample: &PoseSample) {
        let mut stamp = STAMP;
        stamp.sequence = sequence;
        self.foxglove.take(&Message::Pose {
            stamp: &stamp,
            sample,
            unfit: 0,
            bytes: &[],
        });
    }

    /// Takes a message again and again until one was sent to a viewer.
    fn take_until_sent(&mut self, message: &Message<'_>) {
        let clock = Clock::live();
        let begun = clock.now();
        while self.counters.foxglove.sent.get() == 0 {
            assert!(
                clock.now().since(begun) < PATIENCE,
                "no viewer gets {message:?}"
            );
            self.foxglove.take(message);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn viewer(&self) -> Viewer {
        Viewer::open(self.foxglove.address(), &[PROTOCOL]).unwrap()
    }
}

/// A connected viewer.
struct Viewer(WebSocket<TcpStream>);

impl Viewer {
    /// Connects with these headers; the status of the answer where it is not let in.
    fn open(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{address}/").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match client(request, stream) {
            Ok((socket, response)) => {
                assert!(response.headers().contains_key("sec-websocket-protocol"));
                Ok(Self(socket))
            }
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            // The connection was closed without an answer.
            Err(_) => Err(0),
        }
    }

    fn say(&mut self, message: &Value) {
        self.0.send(Frame::text(message.to_string())).unwrap();
    }

    fn subscribe(&mut self, channels: &[(u32, u64)]) {
        let wanted = channels.iter();
        let wanted: Vec<Value> = wanted
            .map(|(id, channel)| json!({"id": id, "channelId": channel}))
            .collect();
        self.say(&json!({"op": "subscribe", "subscriptions": wanted}));
    }

    /// The next message that is a text.
    fn text(&mut self) -> Value {
        loop {
            if let Frame::Text(text) = self.0.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The next data: number of the subscription, time, message.
    fn data(&mut self) -> (u32, u64, Vec<u8>) {
        loop {
            if let Frame::Binary(bytes) = self.0.read().unwrap() {
                assert_eq!(bytes[0], 1);
                let id = u32::from_le_bytes(bytes[1..5].try_into().unwrap());
                let unix_ns = u64::from_le_bytes(bytes[5..13].try_into().unwrap());
                return (id, unix_ns, bytes[13..].to_vec());
            }
        }
    }

    /// What it is greeted with: the channels by topic.
    fn channels(&mut self) -> BTreeMap<String, Value> {
        let info = self.text();
        assert_eq!(
            (&info["op"], &info["name"]),
            (&json!("serverInfo"), &json!("poised: front"))
        );
        assert_eq!(info["capabilities"], json!([]));
        let advertised = self.text();
        assert_eq!(advertised["op"], "advertise");
        let channels = advertised["channels"].as_array().unwrap().iter();
        channels
            .map(|channel| {
                (
                    channel["topic"].as_str().unwrap().to_owned(),
                    channel.clone(),
                )
            })
            .collect()
    }
}

#[test]
fn a_viewer_is_told_of_what_it_subscribes_to_and_of_nothing_else() {
    let mut outlet = Outlet::open(&[]);
    let mut viewer = outlet.viewer();
    let channels = viewer.channels();
    let topics: Vec<&String> = channels.keys().collect();
    assert_eq!(
        topics,
        [
            "/diagnostics",
            "/poised/front/joints",
            "/poised/front/markers"
        ]
    );
    assert_eq!(
        channels["/poised/front/joints"]["schemaName"],
        "sensor_msgs/msg/PointCloud2"
    );

    // Before it subscribes, nothing is even encoded.
    let sample = two_people();
    outlet.pose(1, &sample);
    viewer.subscribe(&[(7, JOINTS)]);
    outlet.take_until_sent(&Message::Pose {
        stamp: &STAMP,
        sample: &sample,
        unfit: 0,
        bytes: &[],
    });
    let (id, unix_ns, message) = viewer.data();
    assert_eq!((id, unix_ns), (7, STAMP.unix_ns(sample.capture)));
    assert_eq!(message[..4], [0, 1, 0, 0], "CDR, little endian");
    assert!(String::from_utf8_lossy(&message).contains("front_optical_frame"));

    // No longer, after it asks for that; and what is not there is named.
    viewer.say(&json!({"op": "unsubscribe", "subscriptionIds": [7]}));
    viewer.subscribe(&[(8, 99), (9, JOINTS)]);
    assert_eq!(viewer.text()["message"], "there is no channel 99");
    outlet.pose(2, &sample);
    assert_eq!(viewer.data().0, 9, "the other one is taken");
    viewer.say(&json!({"op": "unsubscribe", "subscriptionIds": [9]}));
    viewer.say(&json!({"op": "advertise", "channels": []}));
    assert!(
        viewer.text()["message"]
            .as_str()
            .unwrap()
            .contains("only sends")
    );
    let counters = Arc::clone(&outlet.counters);
    let before = counters.foxglove.sent.get();
    outlet.pose(3, &sample);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(counters.foxglove.sent.get(), before);
}

#[test]
fn where_the_camera_is_comes_when_it_is_known_also_without_poses() {
    let outlet = Outlet::open(&[]);
    let mut viewer = outlet.viewer();
    assert!(!viewer.channels().contains_key("/tf"));
    outlet.foxglove.mount().set(Mount {
        height_m: 1.5,
        down_deg: 10.0,
        roll_deg: 0.0,
    });
    let late = viewer.text();
    assert_eq!(
        (&late["op"], &late["channels"][0]["topic"]),
        (&json!("advertise"), &json!("/tf"))
    );
    viewer.subscribe(&[(1, TF)]);
    let (_, _, message) = viewer.data();
    assert!(String::from_utf8_lossy(&message).contains("front_floor"));
}

#[test]
fn health_is_a_diagnostic() {
    let mut outlet = Outlet::open(&[]);
    let mut viewer = outlet.viewer();
    let _ = viewer.channels();
    viewer.subscribe(&[(2, DIAGNOSTICS)]);
    let health = [
        0xa1, 0x6c, b'c', b'a', b'm', b'e', b'r', b'a', b'_', b's', b't', b'a', b't', b'e',
    ];
    let health = [&health[..], &[0x66], b"silent"].concat();
    outlet.take_until_sent(&Message::Health { bytes: &health });
    let (_, _, message) = viewer.data();
    let text = String::from_utf8_lossy(&message).into_owned();
    assert!(
        text.contains("poised: front") && text.contains("kiosk"),
        "{text}"
    );
}

#[test]
fn a_page_of_a_stranger_and_another_protocol_are_refused() {
    let outlet = Outlet::open(&["https://app.foxglove.dev"]);
    let address = outlet.foxglove.address();
    let open = |headers: &[(&'static str, &str)]| Viewer::open(address, headers).err();
    let known = ("Sec-WebSocket-Protocol", "foxglove.websocket.v1");
    assert_eq!(open(&[known, ("Origin", "http://evil.example")]), Some(403));
    assert_eq!(open(&[known, ("Origin", "null")]), Some(403));
    assert_eq!(open(&[("Sec-WebSocket-Protocol", "graphql-ws")]), Some(400));
    assert_eq!(open(&[]), Some(400));
    assert_eq!(open(&[known, ("Origin", "https://app.foxglove.dev")]), None);
    assert_eq!(open(&[known]), None);
    assert_eq!(outlet.counters.foxglove.refused.get(), 4);
}

#[test]
fn slow_viewers_too_many_and_half_a_request_hold_no_one_up() {
    let mut outlet = Outlet::open(&[]);
    let address = outlet.foxglove.address();
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nUpgrade: webs").unwrap();
    let mut viewer = outlet.viewer();
    let _ = viewer.channels();
    viewer.subscribe(&[(1, JOINTS)]);
    let sample = two_people();
    outlet.take_until_sent(&Message::Pose {
        stamp: &STAMP,
        sample: &sample,
        unfit: 0,
        bytes: &[],
    });
    // One that reads nothing.
    let mut slow = outlet.viewer();
    slow.subscribe(&[(1, 1), (2, 2)]);

    let counters = Arc::clone(&outlet.counters);
    let left = |most| counters.foxglove.viewers.load(Ordering::Relaxed) <= most;
    let mut sequence = 0;
    let clock = Clock::live();
    let (mut got, begun) = (0, clock.now());
    // Until half a request and the slow one, whose socket is full, have been given up.
    while !left(1) || got < 30 {
        sequence += 1;
        outlet.pose(sequence, &sample);
        let _ = viewer.data();
        got += 1;
        assert!(clock.now().since(begun) < PATIENCE, "{got} messages");
    }
    // Eight places, one of which is taken.
    let mut others = Vec::new();
    let status = loop {
        match Viewer::open(address, &[PROTOCOL]) {
            Ok(viewer) => others.push(viewer),
            Err(status) => break status,
        }
        assert!(others.len() < 8, "more than there are places");
    };
    assert_eq!((status, others.len()), (0, 7));
    assert_eq!(
        counters.foxglove.refused.get(),
        2,
        "half a request, and one too many"
    );
    drop(others);
    eventually("their places", || left(1));

    let begun = clock.now();
    drop(outlet);
    let took = clock.now().since(begun);
    assert!(took < Duration::from_secs(2), "{took:?}");
    // The one that listens hears of the end.
    while let Ok(frame) = viewer.0.read() {
        if frame.is_close() {
            return;
        }
    }
}
