//! What `rmw_zenoh` expects of a publisher: the key of its data, the tokens by which the graph knows it, and the
//! attachment of every message.
//!
//! | what | form |
//! | --- | --- |
//! | key | `<domain>/<topic without outer slashes>/<type>/<hash of the type>` |
//! | token of a node | `@ros2_lv/<domain>/<session>/<node>/<node>/NN/<enclave>/<namespace>/<name>` |
//! | token of a publisher | `@ros2_lv/<domain>/<session>/<node>/<entity>/MP/<enclave>/<namespace>/<name>/<topic>/<type>/<hash>/<qos>` |
//! | attachment | sequence from 1 and source time, both `i64`, then `0x10` and the 16 bytes of the gid |
//!
//! In a token a `/` is written `%`, and nothing at all too. A wrong hash or attachment is a message that no node
//! takes, without an error: the tests hold them against what ROS 2 Jazzy accepted.

use xxhash_rust::xxh3::xxh3_128;

use super::config::Names;
use crate::counters::RosTopic;

/// Name of the node.
pub(super) const NODE: &str = "poised";

/// Best effort, volatile, the last 5: a sample that is lost is not worth the next one's delay.
const QOS_DATA: &str = "2::,5:,:,:,,";

/// Reliable, volatile, the last 10: what tools keep, and what a listener of `/tf` over DDS asks for.
const QOS_RELIABLE: &str = "::,10:,:,:,,";

/// Number of the node among the entities of its session.
const NODE_ID: usize = 0;

/// The type of a topic's messages and how they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    package: &'static str,
    message: &'static str,
    /// RIHS01 of the type's definition, the same from Jazzy to Lyrical.
    pub(super) hash: &'static str,
    qos: &'static str,
}

/// The form of a topic's messages.
pub(super) const fn form(topic: RosTopic) -> Form {
    match topic {
        RosTopic::Joints => Form {
            package: "sensor_msgs",
            message: "PointCloud2",
            hash: "RIHS01_9198cabf7da3796ae6fe19c4cb3bdd3525492988c70522628af5daa124bae2b5",
            qos: QOS_DATA,
        },
        RosTopic::Markers => Form {
            package: "visualization_msgs",
            message: "MarkerArray",
            hash: "RIHS01_86cb8800b6fb05b5eff1abd7a56f62a5641d3ae9a1c29e78e67e704f1d067dcf",
            qos: QOS_DATA,
        },
        RosTopic::Diagnostics => Form {
            package: "diagnostic_msgs",
            message: "DiagnosticArray",
            hash: "RIHS01_5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e",
            qos: QOS_RELIABLE,
        },
        RosTopic::Tf => Form {
            package: "tf2_msgs",
            message: "TFMessage",
            hash: "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
            qos: QOS_RELIABLE,
        },
    }
}

impl Form {
    /// The type as `ros2 topic list -t` writes it.
    pub(super) fn name(&self) -> String {
        format!("{}/msg/{}", self.package, self.message)
    }

    /// The type as DDS writes it, which keys and tokens hold.
    fn dds_name(&self) -> String {
        format!("{}::msg::dds_::{}_", self.package, self.message)
    }
}

/// The full name of a topic, with its leading slash.
pub(super) fn topic_name(names: &Names, topic: RosTopic) -> String {
    match topic {
        RosTopic::Joints | RosTopic::Markers => format!("/{}/{}", names.namespace, topic.name()),
        RosTopic::Diagnostics | RosTopic::Tf => format!("/{}", topic.name()),
    }
}

/// The key of a topic's data.
pub(super) fn data_key(domain: u32, names: &Names, topic: RosTopic) -> String {
    let (name, form) = (topic_name(names, topic), form(topic));
    let name = name.trim_matches('/');
    format!("{domain}/{name}/{}/{}", form.dds_name(), form.hash)
}

/// A name in a token.
fn mangled(name: &str) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    name.replace('/', "%")
}

/// The token of the node in the session `zid`.
pub(super) fn node_token(domain: u32, zid: &str, names: &Names) -> String {
    let namespace = mangled(&format!("/{}", names.namespace));
    format!("@ros2_lv/{domain}/{zid}/{NODE_ID}/{NODE_ID}/NN/%/{namespace}/{NODE}")
}

/// The token of a topic's publisher in the session `zid`.
pub(super) fn publisher_token(domain: u32, zid: &str, names: &Names, topic: RosTopic) -> String {
    let (name, form) = (mangled(&topic_name(names, topic)), form(topic));
    let namespace = mangled(&format!("/{}", names.namespace));
    let entity = NODE_ID + 1 + topic as usize;
    format!(
        "@ros2_lv/{domain}/{zid}/{NODE_ID}/{entity}/MP/%/{namespace}/{NODE}/{name}/{}/{}/{}",
        form.dds_name(),
        form.hash,
        form.qos
    )
}

/// What tells one publisher from another: XXH3-128 of its token.
pub(super) fn gid(token: &str) -> [u8; 16] {
    xxh3_128(token.as_bytes()).to_le_bytes()
}

/// What goes with a message: its number from 1, the wall time in nanoseconds since 1970, and who sent it.
pub(super) fn attachment(sequence: i64, unix_ns: u64, gid: &[u8; 16]) -> [u8; 33] {
    let time = i64::try_from(unix_ns).unwrap_or(i64::MAX);
    let mut bytes = [0; 33];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    bytes[8..16].copy_from_slice(&time.to_le_bytes());
    // The length of what follows.
    bytes[16] = 16;
    bytes[17..].copy_from_slice(gid);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::ros::config::RosConfig;

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write as _;
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn the_gid_and_the_attachment_are_those_that_ros_2_jazzy_accepted() {
        let token = "@ros2_lv/0/71a2b3a09cafc3433966255230210a90/0/13/MP/%/%/poised/%poised%front%joints/\
                     sensor_msgs::msg::dds_::PointCloud2_/\
                     RIHS01_9198cabf7da3796ae6fe19c4cb3bdd3525492988c70522628af5daa124bae2b5/2::,5:,:,:,,";
        let gid = gid(token);
        assert_eq!(hex(&gid), "e57b7def4fd00db2243fc0480614b524");
        let time = u64::from_le_bytes([0x15, 0x1d, 0x88, 0x52, 0x10, 0x60, 0xd7, 0x18]);
        assert_eq!(
            hex(&attachment(1, time, &gid)),
            "0100000000000000151d88521060d71810e57b7def4fd00db2243fc0480614b524"
        );
    }

    #[test]
    fn keys_and_tokens_have_the_form_that_nodes_read() {
        let names = RosConfig::default().names("front");
        assert_eq!(
            data_key(7, &names, RosTopic::Joints),
            "7/poised/front/joints/sensor_msgs::msg::dds_::PointCloud2_/\
             RIHS01_9198cabf7da3796ae6fe19c4cb3bdd3525492988c70522628af5daa124bae2b5"
        );
        assert!(
            data_key(0, &names, RosTopic::Tf).starts_with("0/tf/tf2_msgs::msg::dds_::TFMessage_/")
        );
        assert_eq!(
            node_token(7, "ab", &names),
            "@ros2_lv/7/ab/0/0/NN/%/%poised%front/poised"
        );
        assert_eq!(
            publisher_token(0, "ab", &names, RosTopic::Diagnostics),
            "@ros2_lv/0/ab/0/3/MP/%/%poised%front/poised/%diagnostics/diagnostic_msgs::msg::dds_::DiagnosticArray_/\
             RIHS01_5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e/::,10:,:,:,,"
        );
    }

    #[test]
    fn keys_and_tokens_are_keys_of_zenoh_and_each_is_its_own() {
        let names = RosConfig::default().names("front");
        let mut seen = std::collections::BTreeSet::from([node_token(0, "ab", &names)]);
        for topic in RosTopic::ALL {
            assert!(seen.insert(data_key(0, &names, topic)));
            assert!(seen.insert(publisher_token(0, "ab", &names, topic)));
        }
        for key in seen {
            let parsed = zenoh::key_expr::KeyExpr::autocanonize(key.clone()).unwrap();
            assert!(!parsed.is_wild() && parsed.as_str() == key, "{key}");
        }
    }
}
