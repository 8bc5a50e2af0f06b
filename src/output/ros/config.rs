//! `[ros]`: which router, which domain, and the names under which ROS 2 finds the camera.

use std::fmt;

use serde::Deserialize;

use crate::base::config::{ConfigError, check};
use crate::base::secret::redacted;
use crate::output::wire::FRAME_SUFFIX;
use crate::output::zenoh::{Mode, ZenohConfig, check_endpoint};

/// Largest domain: above, DDS has no ports, and so ROS 2 has no such domain.
const DOMAIN_MAX: u32 = 232;

/// Longest namespace, in bytes: a topic name in it must stay below the 247 that ROS 2 allows.
const NAMESPACE_BYTES_MAX: usize = 200;

/// Longest name of a frame, in bytes: the longest default is 48 and a suffix.
const FRAME_BYTES_MAX: usize = 128;

/// What follows the camera's name in the default of `parent_frame`.
const FLOOR_SUFFIX: &str = "_floor";

/// How long a router may take to answer, in milliseconds: Zenoh's own time for finding one.
const OPEN_TIMEOUT_MS: u32 = 3_000;

/// `[ros]`: the poses as ROS 2 messages, for nodes that run on `rmw_zenoh`. Off unless `connect` is given.
///
/// ```toml
/// [ros]
/// connect = "tcp/localhost:7447"
/// ```
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RosConfig {
    /// Endpoint of the router (`rmw_zenohd`), such as `tcp/localhost:7447`. One that does not answer is tried again
    /// for ever. Default: none, nothing for ROS 2.
    pub connect: Option<String>,
    /// `ROS_DOMAIN_ID` of the nodes, 0 (default) to 232.
    pub domain: u32,
    /// Namespace of the node and its topics. Default: `poised/<camera>`, with `_` for what a ROS name may not hold.
    pub namespace: Option<String>,
    /// Name of the camera's optical frame. Default: `<camera>_optical_frame`, as in the messages on Zenoh.
    pub frame: Option<String>,
    /// Frame on the floor below the camera, which `/tf` has the optical frame in where the mount is known. An empty
    /// text: no `/tf`. Default: `<camera>_floor`.
    pub parent_frame: Option<String>,
    /// Whether people are published as REP-155 has them too, below `/humans/bodies`. Default: false.
    pub humans: bool,
}

impl fmt::Debug for RosConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart by name, so that a field added later cannot be forgotten here.
        let Self {
            connect,
            domain,
            namespace,
            frame,
            parent_frame,
            humans,
        } = self;
        f.debug_struct("RosConfig")
            .field("connect", &connect.as_deref().map(redacted))
            .field("domain", domain)
            .field("namespace", namespace)
            .field("frame", frame)
            .field("parent_frame", parent_frame)
            .field("humans", humans)
            .finish()
    }
}

/// The names of a camera in ROS 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Namespace of the node and its topics, without outer slashes.
    pub namespace: String,
    /// The camera's optical frame.
    pub frame: String,
    /// The frame on the floor below it, where `/tf` is wanted.
    pub parent_frame: Option<String>,
}

impl RosConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.connect {
            check_endpoint("ros.connect", endpoint)?;
        }
        check("ros.domain", self.domain, 0, DOMAIN_MAX)?;
        if let Some(namespace) = &self.namespace {
            check_namespace(namespace)?;
        }
        if let Some(frame) = &self.frame {
            check_frame("ros.frame", frame)?;
        }
        match self.parent_frame.as_deref() {
            None | Some("") => {}
            Some(frame) => check_frame("ros.parent_frame", frame)?,
        }
        if self.parent_frame.is_some() && self.parent_frame == self.frame {
            return Err(ConfigError::Value {
                key: "ros.parent_frame",
                value: self.parent_frame.clone().unwrap_or_default(),
                want: "another frame than ros.frame",
            });
        }
        Ok(())
    }

    /// The names of `camera`.
    pub fn names(&self, camera: &str) -> Names {
        let namespace = match &self.namespace {
            Some(namespace) => namespace.trim_start_matches('/').to_owned(),
            None => format!("poised/{}", ros_token(camera)),
        };
        let frame = self.frame.clone();
        let frame = frame.unwrap_or_else(|| format!("{camera}{FRAME_SUFFIX}"));
        let parent = self.parent_frame.clone();
        let parent = parent.unwrap_or_else(|| format!("{camera}{FLOOR_SUFFIX}"));
        Names {
            namespace,
            frame,
            parent_frame: (!parent.is_empty()).then_some(parent),
        }
    }
}

/// The session of its own: a client of the router. Between two of its peers a router carries nothing, so a peer would
/// need a way to each node.
pub(super) fn session_of(endpoint: &str) -> ZenohConfig {
    ZenohConfig {
        mode: Some(Mode::Client),
        connect: vec![endpoint.to_owned()],
        listen: Some(Vec::new()),
        multicast: Some(false),
        open_timeout_ms: OPEN_TIMEOUT_MS,
        ..ZenohConfig::default()
    }
}

/// Whether it is a token of a ROS name: letters, digits and `_`, not beginning with a digit.
fn is_ros_token(token: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !token.is_empty() && !token.starts_with(|c: char| c.is_ascii_digit()) && token.chars().all(fits)
}

/// A camera's name as a token of a ROS name.
pub(super) fn ros_token(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric();
    let token: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    if token.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("_{token}");
    }
    token
}

fn check_namespace(namespace: &str) -> Result<(), ConfigError> {
    let tokens = namespace.strip_prefix('/').unwrap_or(namespace);
    if namespace.len() <= NAMESPACE_BYTES_MAX && tokens.split('/').all(is_ros_token) {
        return Ok(());
    }
    Err(ConfigError::Value {
        key: "ros.namespace",
        value: namespace.chars().take(NAMESPACE_BYTES_MAX).collect(),
        want: "a ROS name such as robot/camera: parts of letters, digits and _, none beginning with a digit, \
               with / between them, at most 200 bytes",
    })
}

fn check_frame(key: &'static str, frame: &str) -> Result<(), ConfigError> {
    let fits = |c: char| !c.is_control() && !c.is_whitespace();
    if (1..=FRAME_BYTES_MAX).contains(&frame.len())
        && !frame.starts_with('/')
        && frame.chars().all(fits)
    {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: frame.chars().take(FRAME_BYTES_MAX).collect(),
        want: "1 to 128 bytes without blanks, not beginning with / (tf2 has no such frames)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RosConfig, String> {
        let config: RosConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn it_is_off_by_default_and_named_after_the_camera() {
        let config = read("").unwrap();
        assert_eq!(config.connect, None);
        let names = config.names("front");
        assert_eq!(names.namespace, "poised/front");
        assert_eq!(names.frame, "front_optical_frame");
        assert_eq!(names.parent_frame.as_deref(), Some("front_floor"));
        for (camera, namespace) in [
            ("front-left", "poised/front_left"),
            ("4th", "poised/_4th"),
            ("größe", "poised/gr__e"),
        ] {
            let names = config.names(camera);
            assert_eq!(names.namespace, namespace);
            check_namespace(&names.namespace).unwrap();
        }
        let names = read("namespace = \"/robot/eye\"\nparent_frame = \"\"")
            .unwrap()
            .names("front");
        assert_eq!(names.namespace, "robot/eye");
        assert_eq!(names.parent_frame, None);
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_with_what_does() {
        for (text, part) in [
            ("connect = \"localhost\"", "ros.connect = \"localhost\""),
            ("connect = \"http/a:1\"", "such as tcp/127.0.0.1:7447"),
            ("domain = 233", "ros.domain = 233: must be from 0 to 232"),
            ("domain = -1", "domain"),
            ("namespace = \"\"", "ros.namespace = \"\""),
            ("namespace = \"a//b\"", "ros.namespace = \"a//b\""),
            ("namespace = \"a/\"", "with / between"),
            ("namespace = \"//a\"", "with / between"),
            ("namespace = \"a/1b\"", "none beginning with a digit"),
            ("namespace = \"a-b\"", "letters, digits and _"),
            ("namespace = \"a/*\"", "letters, digits and _"),
            ("namespace = \"kö\"", "letters, digits and _"),
            ("frame = \"\"", "ros.frame = \"\""),
            ("frame = \"/a\"", "not beginning with /"),
            ("parent_frame = \"a b\"", "ros.parent_frame = \"a b\""),
            ("frame = \"a\"\nparent_frame = \"a\"", "another frame"),
            ("router = \"a\"", "router"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = format!("namespace = \"{}\"", "a".repeat(201));
        assert!(read(&long).unwrap_err().contains("at most 200"));
    }

    #[test]
    fn a_password_in_the_endpoint_is_not_shown() {
        let text = "connect = \"tls/robot:7447#root_ca_certificate_base64=hunter2\"";
        let config = read(text).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }
}
