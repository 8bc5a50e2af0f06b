//! The Foxglove WebSocket protocol: what a server says, and what a viewer may ask for.
//!
//! Source: the specification of `foxglove.sdk.v1` (github.com/foxglove/foxglove-sdk), which older viewers know as
//! `foxglove.websocket.v1`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::counters::RosTopic;
use crate::output::ros::{Names, schemas, topic_name};

/// Names of the protocol, the preferred one first. Viewers list some, and get the first of these that they know.
const NAMES: [&str; 2] = ["foxglove.sdk.v1", "foxglove.websocket.v1"];

/// Opcode of a binary message with data.
const DATA: u8 = 1;

/// Level of a status message: a warning.
const WARNING: u8 = 1;

/// The protocol's name to answer with, out of a header `Sec-WebSocket-Protocol`.
pub(super) fn choose(offered: &str) -> Option<&'static str> {
    let offered: Vec<&str> = offered.split(',').map(str::trim).collect();
    NAMES.into_iter().find(|name| offered.contains(name))
}

/// The first message to a viewer. `session` tells it that the daemon was started again.
pub(super) fn server_info(camera: &str, session: u64) -> String {
    json!({
        "op": "serverInfo",
        "name": format!("poised: {camera}"),
        "capabilities": [],
        "metadata": {"poised": env!("CARGO_PKG_VERSION")},
        "sessionId": session.to_string(),
    })
    .to_string()
}

/// What topics there are. A channel's number is that of its topic, from 1.
pub(super) fn advertise(names: &Names, topics: &[RosTopic]) -> String {
    let channel = |topic: &RosTopic| {
        let (schema_name, schema) = schemas::schema(*topic);
        json!({
            "id": *topic as usize + 1,
            "topic": topic_name(names, *topic),
            "encoding": schemas::MESSAGE_ENCODING,
            "schemaName": schema_name,
            "schema": schema,
            "schemaEncoding": schemas::ENCODING,
        })
    };
    let channels: Vec<Value> = topics.iter().map(channel).collect();
    json!({"op": "advertise", "channels": channels}).to_string()
}

/// What a viewer is told when it asks for something that is not there.
pub(super) fn warning(message: &str) -> String {
    json!({"op": "status", "level": WARNING, "message": message}).to_string()
}

/// What a viewer asks for.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "op", rename_all = "camelCase")]
pub(super) enum Request {
    /// To be told of topics from now on.
    Subscribe { subscriptions: Vec<Subscription> },
    /// No longer.
    #[serde(rename_all = "camelCase")]
    Unsubscribe { subscription_ids: Vec<u32> },
    /// Something that the server did not offer.
    #[serde(other)]
    Other,
}

/// A viewer's own number for a channel.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscription {
    pub(super) id: u32,
    pub(super) channel_id: u64,
}

impl Subscription {
    /// The topic; `None` where there is no such channel.
    pub(super) fn topic(&self) -> Option<RosTopic> {
        let at = usize::try_from(self.channel_id).ok()?.checked_sub(1)?;
        RosTopic::ALL.get(at).copied()
    }
}

/// A message of a topic, with the viewer's own number for it.
pub(super) fn data(subscription: u32, unix_ns: u64, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + 4 + 8 + message.len());
    out.push(DATA);
    out.extend_from_slice(&subscription.to_le_bytes());
    out.extend_from_slice(&unix_ns.to_le_bytes());
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::ros::RosConfig;

    #[test]
    fn the_newest_name_that_both_know_is_chosen() {
        let both = "foxglove.websocket.v1, foxglove.sdk.v1";
        assert_eq!(choose(both), Some("foxglove.sdk.v1"));
        assert_eq!(
            choose("foxglove.websocket.v1"),
            Some("foxglove.websocket.v1")
        );
        assert_eq!(choose("graphql-ws"), None);
        assert_eq!(choose(""), None);
    }

    #[test]
    fn channels_are_numbered_from_one_and_carry_their_definition() {
        let names = RosConfig::default().names("front");
        let text = advertise(&names, &RosTopic::ALL);
        let message: Value = serde_json::from_str(&text).unwrap();
        let channels = message["channels"].as_array().unwrap();
        let topics: Vec<&str> = channels
            .iter()
            .filter_map(|c| c["topic"].as_str())
            .collect();
        assert_eq!(
            topics,
            [
                "/poised/front/joints",
                "/poised/front/markers",
                "/diagnostics",
                "/tf"
            ]
        );
        for (at, channel) in channels.iter().enumerate() {
            assert_eq!(channel["id"], at + 1);
            assert_eq!(channel["schemaEncoding"], "ros2msg");
            assert!(
                channel["schema"]
                    .as_str()
                    .unwrap()
                    .contains("MSG: std_msgs/Header")
            );
        }
    }

    #[test]
    fn requests_are_read_and_unknown_ones_are_told_from_broken_ones() {
        let read = |text: &str| serde_json::from_str::<Request>(text);
        let subscribe =
            r#"{"op":"subscribe","subscriptions":[{"id":7,"channelId":2},{"id":8,"channelId":0}]}"#;
        let Request::Subscribe { subscriptions } = read(subscribe).unwrap() else {
            panic!("another request");
        };
        assert_eq!(subscriptions[0].topic(), Some(RosTopic::Markers));
        assert_eq!(subscriptions[1].topic(), None);
        let past = Subscription {
            id: 1,
            channel_id: u64::MAX,
        };
        assert_eq!(past.topic(), None);
        let unsubscribe = read(r#"{"op":"unsubscribe","subscriptionIds":[7]}"#).unwrap();
        assert_eq!(
            unsubscribe,
            Request::Unsubscribe {
                subscription_ids: vec![7]
            }
        );
        assert_eq!(
            read(r#"{"op":"advertise","channels":[]}"#).unwrap(),
            Request::Other
        );
        assert!(read("{").is_err() && read(r#"{"op":"subscribe"}"#).is_err());
    }

    #[test]
    fn data_begins_with_the_viewers_number_and_the_time() {
        let bytes = data(0x0102_0304, 5, b"xy");
        assert_eq!(bytes, [1, 4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0, b'x', b'y']);
    }
}
