//! The Zenoh side: where to listen and connect, under which keys, who may ask what.
//!
//! Without a line of configuration the session listens on the loopback only
//! and does not scout. The port is [`DEFAULT_ENDPOINT`], so that a subscriber
//! on the same machine needs no configuration either; where another process
//! holds it, it takes a free port and joins the other, which tells
//! subscribers about both.

mod endpoint;
mod session;
mod text;

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::base::config::{ConfigError, check};
use crate::base::limits::NAME_BYTES_MAX;

pub(super) use endpoint::check_endpoint;
pub use session::SessionError;
pub(super) use session::{Opened, Role, base, connections, is_client, open, shown};
pub use text::ZenohText;

/// Where a session listens, and a subscriber connects, when nothing else is said.
pub const DEFAULT_ENDPOINT: &str = "tcp/127.0.0.1:7447";

/// Longest that opening a session may take, in milliseconds: a daemon that starts has to leave in time when it is
/// told to stop meanwhile (`TimeoutStopSec=10`).
pub const OPEN_TIMEOUT_MS_MAX: u32 = 10_000;

/// First chunk of every key.
pub const ROOT: &str = "poised";

/// `[zenoh]`: the name of this device on the network, and how it is reached.
///
/// ```toml
/// [zenoh]
/// site = "clinic"
/// device = "kiosk-3"
/// connect = ["tcp/192.168.1.10:7447"]
/// ```
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ZenohConfig {
    /// Second chunk of every key: where the device is. Default: `site`.
    pub site: String,
    /// Third chunk of every key: which device it is. Default: the host's name,
    /// with `-` for what may not stand in a key.
    pub device: String,
    /// `peer` (default) or `client` of a router.
    pub mode: Option<Mode>,
    /// Endpoints to connect to, such as `tcp/192.168.1.10:7447`. One that does not
    /// answer is tried again for ever. Default: none.
    pub connect: Vec<String>,
    /// Endpoints to listen on; an empty list listens nowhere. Default:
    /// `tcp/127.0.0.1:7447`, or a free port of the loopback where that is taken.
    pub listen: Option<Vec<String>>,
    /// Whether to tell sessions we are connected with about each other. This
    /// session itself connects only where `connect` says. Default: true.
    pub gossip: Option<bool>,
    /// Whether to look for others, and be found, by multicast. Default: false.
    pub multicast: Option<bool>,
    /// How long opening may take before it is given up for now, in milliseconds,
    /// 100 to 10000. Default 3000, Zenoh's own time for finding a router.
    pub open_timeout_ms: u32,
    /// Whether to go on where another daemon publishes under the same site, device and camera. Readers then get the
    /// poses of both, mixed. Default: false.
    pub shared_name: bool,
    /// A Zenoh configuration (JSON5) for all else: TLS, access control, buffers.
    /// A key given above wins over the file; what neither says is as without one.
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub config_file: Option<PathBuf>,
    /// Whether [`DEFAULT_ENDPOINT`] is left to a router of this machine, as ROS 2 has one: the session connects to it
    /// and listens on another port. Not a key: it follows from `[ros]`.
    #[serde(skip)]
    pub leave_default: bool,
}

impl fmt::Debug for ZenohConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart by name, so that a field added later cannot be forgotten here.
        let Self {
            site,
            device,
            mode,
            connect,
            listen,
            gossip,
            multicast,
            open_timeout_ms,
            shared_name,
            config_file,
            leave_default,
        } = self;
        f.debug_struct("ZenohConfig")
            .field("site", site)
            .field("device", device)
            .field("mode", mode)
            .field("connect", &shown(connect))
            .field("listen", &listen.as_deref().map(shown))
            .field("gossip", gossip)
            .field("multicast", multicast)
            .field("open_timeout_ms", open_timeout_ms)
            .field("shared_name", shared_name)
            .field("config_file", config_file)
            .field("leave_default", leave_default)
            .finish()
    }
}

/// What a session is in the Zenoh network.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Connects with other sessions directly, and with routers.
    #[default]
    Peer,
    /// Has one connection, to a router, and needs it.
    Client,
}

impl Default for ZenohConfig {
    fn default() -> Self {
        Self {
            site: "site".into(),
            device: host_name(),
            mode: None,
            connect: Vec::new(),
            listen: None,
            gossip: None,
            multicast: None,
            open_timeout_ms: 3_000,
            shared_name: false,
            config_file: None,
            leave_default: false,
        }
    }
}

/// The host's name as a chunk of a key.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let chunk: String = name
        .trim()
        .chars()
        .filter(char::is_ascii)
        .map(|c| if fits_in_chunk(c) { c } else { '-' })
        .take(NAME_BYTES_MAX)
        .collect();
    if chunk.is_empty() || chunk.starts_with('@') {
        return "device".into();
    }
    chunk
}

fn fits_in_chunk(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !"/*$?#".contains(c)
}

/// Checks that a camera, site or device name can be one chunk of a key.
///
/// # Errors
///
/// [`ConfigError`] with `key`, the name and what a name may be.
pub fn check_name(key: &'static str, name: &str) -> Result<(), ConfigError> {
    let fits = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('@')
        && name.chars().all(fits_in_chunk);
    if fits {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: name.chars().take(2 * NAME_BYTES_MAX).collect(),
        want: "1 to 48 bytes without blanks and / * $ ? #, not beginning with @",
    })
}

impl ZenohConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_name("zenoh.site", &self.site)?;
        check_name("zenoh.device", &self.device)?;
        check(
            "zenoh.open_timeout_ms",
            self.open_timeout_ms,
            100,
            OPEN_TIMEOUT_MS_MAX,
        )?;
        for endpoint in &self.connect {
            check_endpoint("zenoh.connect", endpoint)?;
        }
        for endpoint in self.listen.iter().flatten() {
            check_endpoint("zenoh.listen", endpoint)?;
        }
        if self.mode == Some(Mode::Client) && self.connect.is_empty() && self.config_file.is_none()
        {
            return Err(ConfigError::Value {
                key: "zenoh.mode",
                value: "client".into(),
                want: "\"peer\", or zenoh.connect must name a router",
            });
        }
        Ok(())
    }

    /// The key of what a camera publishes or answers: `poised/<site>/<device>/<camera>/<leaf>`.
    pub fn key(&self, camera: &str, leaf: &str) -> String {
        format!("{ROOT}/{}/{}/{camera}/{leaf}", self.site, self.device)
    }

    /// A subscriber's side of this configuration: listens nowhere, and connects to
    /// [`DEFAULT_ENDPOINT`] where no other endpoint is given.
    #[must_use]
    pub fn for_subscriber(&self) -> Self {
        let mut subscriber = self.clone();
        subscriber.listen = Some(Vec::new());
        if subscriber.connect.is_empty() && subscriber.config_file.is_none() {
            subscriber.connect.push(DEFAULT_ENDPOINT.into());
        }
        subscriber
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ZenohConfig, String> {
        let config: ZenohConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_name_that_is_no_chunk_of_a_key_is_refused_by_name() {
        for name in ["", "a/b", "a*", "$x", "what?", "a#b", "a b", "@x", "\n"] {
            let config = ZenohConfig {
                site: name.into(),
                ..ZenohConfig::default()
            };
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with("zenoh.site = "), "{error}");
        }
        assert!(check_name("camera.name", &"c".repeat(48)).is_ok());
        assert!(check_name("camera.name", &"c".repeat(49)).is_err());
        assert!(check_name("camera.name", "küche-2").is_ok());
    }

    #[test]
    fn unknown_keys_bad_endpoints_and_clients_without_router_are_refused() {
        assert!(read("sight = \"x\"").unwrap_err().contains("sight"));
        let error = read("connect = [\"192.168.1.10\"]").unwrap_err();
        assert!(
            error.starts_with("zenoh.connect = \"192.168.1.10\""),
            "{error}"
        );
        let error = read("mode = \"client\"").unwrap_err();
        assert!(error.starts_with("zenoh.mode = \"client\""), "{error}");
        let error = read("open_timeout_ms = 5").unwrap_err();
        assert_eq!(
            error,
            "zenoh.open_timeout_ms = 5: must be from 100 to 10000"
        );
    }

    #[test]
    fn what_an_endpoint_keeps_secret_is_not_shown() {
        let config = ZenohConfig {
            connect: vec!["tls/host:7447#connect_private_key_base64=hunter2".into()],
            listen: Some(vec![
                "tls/0.0.0.0:1#listen_private_key_base64=hunter2".into(),
            ]),
            ..ZenohConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(
            shown.contains("tls/host:7447#***") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn keys_hold_site_device_and_camera() {
        let config = ZenohConfig {
            site: "clinic".into(),
            device: "kiosk-3".into(),
            ..ZenohConfig::default()
        };
        assert_eq!(
            config.key("front", "poses"),
            "poised/clinic/kiosk-3/front/poses"
        );
    }

    #[test]
    fn the_configuration_in_the_documents_is_accepted() {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            zenoh: ZenohConfig,
        }
        let document = include_str!("../../../docs/reference/messages.md");
        let blocks: Vec<&str> = document.split("```toml\n").skip(1).collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            let text = block.split("```").next().unwrap();
            // The lines that are commented out have to be right as well, one at a time.
            for extra in [""]
                .into_iter()
                .chain(text.lines().filter_map(|line| line.strip_prefix("# ")))
            {
                let file: File = toml::from_str(&format!("{text}{extra}")).unwrap();
                file.zenoh.validate().unwrap();
            }
        }
    }
}
