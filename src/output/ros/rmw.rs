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

/// The first number that no topic of [`RosTopic`] has.
pub(super) const FIRST_FREE_ENTITY: usize = NODE_ID + 1 + RosTopic::ALL.len();

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

/// Types of REP-155, as `hri_msgs` 2.0 defines them.
pub(super) const IDS_LIST: Form = Form {
    package: "hri_msgs",
    message: "IdsList",
    hash: "RIHS01_7e0812d1ac945c98fd3e393568d581ad0ab567f37b24eff633eab778c1bfe62d",
    qos: QOS_DATA,
};

/// The box of a person.
pub(super) const ROI: Form = Form {
    package: "hri_msgs",
    message: "NormalizedRegionOfInterest2D",
    hash: "RIHS01_2e50c93f1ca166ee77af9a5424dc951ae4e452b740162a7f83c082d917dcaff5",
    qos: QOS_DATA,
};

/// The keypoints of a person.
pub(super) const SKELETON: Form = Form {
    package: "hri_msgs",
    message: "Skeleton2D",
    hash: "RIHS01_1cb61f012db6ca43c48fa0097ccab9a00108ea39323c13f01bb983323c1e3420",
    qos: QOS_DATA,
};

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
pub(in crate::output) fn topic_name(names: &Names, topic: RosTopic) -> String {
    match topic {
        RosTopic::Joints | RosTopic::Markers => format!("/{}/{}", names.namespace, topic.name()),
        RosTopic::Diagnostics | RosTopic::Tf => format!("/{}", topic.name()),
    }
}

/// A topic that is published: its full name, its type, and the publisher's number among the entities of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    form: Form,
    entity: usize,
}

impl Target {
    /// A topic that is there all the time.
    pub(super) fn of(names: &Names, topic: RosTopic) -> Self {
        Self {
            name: topic_name(names, topic),
            form: form(topic),
            entity: NODE_ID + 1 + topic as usize,
        }
    }

    /// A topic of REP-155 below `/humans/bodies`.
    pub(super) fn humans(name: &str, form: Form, entity: usize) -> Self {
        Self {
            name: format!("/humans/bodies/{name}"),
            form,
            entity,
        }
    }
}

/// The key of a topic's data.
pub(super) fn data_key(domain: u32, target: &Target) -> String {
    let (name, form) = (target.name.trim_matches('/'), target.form);
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
pub(super) fn publisher_token(domain: u32, zid: &str, names: &Names, target: &Target) -> String {
    let (name, form, entity) = (mangled(&target.name), target.form, target.entity);
    let namespace = mangled(&format!("/{}", names.namespace));
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
            data_key(7, &Target::of(&names, RosTopic::Joints)),
            "7/poised/front/joints/sensor_msgs::msg::dds_::PointCloud2_/\
             RIHS01_9198cabf7da3796ae6fe19c4cb3bdd3525492988c70522628af5daa124bae2b5"
        );
        assert!(
            data_key(0, &Target::of(&names, RosTopic::Tf))
                .starts_with("0/tf/tf2_msgs::msg::dds_::TFMessage_/")
        );
        assert_eq!(
            node_token(7, "ab", &names),
            "@ros2_lv/7/ab/0/0/NN/%/%poised%front/poised"
        );
        assert_eq!(
            publisher_token(0, "ab", &names, &Target::of(&names, RosTopic::Diagnostics)),
            "@ros2_lv/0/ab/0/3/MP/%/%poised%front/poised/%diagnostics/diagnostic_msgs::msg::dds_::DiagnosticArray_/\
             RIHS01_5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e/::,10:,:,:,,"
        );
    }

    #[test]
    fn keys_and_tokens_are_keys_of_zenoh_and_each_is_its_own() {
        let names = RosConfig::default().names("front");
        let mut seen = std::collections::BTreeSet::from([node_token(0, "ab", &names)]);
        let mut targets: Vec<Target> = RosTopic::ALL
            .into_iter()
            .map(|topic| Target::of(&names, topic))
            .collect();
        for (at, (name, form)) in [
            ("tracked", IDS_LIST),
            ("front_7/roi", ROI),
            ("front_7/skeleton2d", SKELETON),
        ]
        .into_iter()
        .enumerate()
        {
            targets.push(Target::humans(name, form, FIRST_FREE_ENTITY + at));
        }
        for target in &targets {
            assert!(seen.insert(data_key(0, target)));
            assert!(seen.insert(publisher_token(0, "ab", &names, target)));
        }
        for key in seen {
            let parsed = zenoh::key_expr::KeyExpr::autocanonize(key.clone()).unwrap();
            assert!(!parsed.is_wild() && parsed.as_str() == key, "{key}");
        }
    }
}
