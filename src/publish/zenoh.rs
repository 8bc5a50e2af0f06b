//! The Zenoh side: where to listen and connect, under which keys, who may ask what.
//!
//! Without a line of configuration the session listens on the loopback only
//! and looks for nobody. The port is [`DEFAULT_ENDPOINT`], so that a subscriber
//! on the same machine needs no configuration either; where somebody else
//! holds it, it takes a free port and joins the other, which tells
//! subscribers about both.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;

use serde::Deserialize;
use zenoh::{Config, Session, Wait};

use crate::config::{ConfigError, check};
use crate::limits::NAME_BYTES_MAX;

/// Where a session listens, and a subscriber connects, when nothing else is said.
pub const DEFAULT_ENDPOINT: &str = "tcp/127.0.0.1:7447";

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
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
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
    /// 100 to 60000. Default 3000, Zenoh's own time for finding a router.
    pub open_timeout_ms: u32,
    /// A Zenoh configuration (JSON5) for all else: TLS, access control, buffers.
    /// A key given above wins over the file; what neither says is as without one.
    #[serde(deserialize_with = "crate::config::optional_path")]
    pub config_file: Option<PathBuf>,
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
            config_file: None,
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
        check("zenoh.open_timeout_ms", self.open_timeout_ms, 100, 60_000)?;
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

    /// Checks that Zenoh accepts `config_file` and what is set over it; opens nothing.
    ///
    /// # Errors
    ///
    /// [`SessionError::Config`] with the file or the key.
    pub fn check_file(&self) -> Result<(), SessionError> {
        base(self, Role::Publisher).map(drop)
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

fn check_endpoint(key: &'static str, endpoint: &str) -> Result<(), ConfigError> {
    if endpoint.parse::<zenoh::config::EndPoint>().is_ok() {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: endpoint.into(),
        want: "a protocol and an address, such as tcp/127.0.0.1:7447",
    })
}

/// What can go wrong with the session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The Zenoh configuration file, or a value from our own, is not accepted.
    #[error("zenoh configuration: {what}")]
    Config {
        /// The file or key.
        what: String,
        /// Zenoh's words.
        source: zenoh::Error,
    },
    /// No session, for now or for good: a listening address that is taken, or a
    /// router that a client cannot reach.
    #[error("zenoh session: cannot listen on {listen} or reach {connect}")]
    Open {
        /// Endpoints to listen on.
        listen: String,
        /// Endpoints to connect to.
        connect: String,
        /// Zenoh's words.
        source: zenoh::Error,
    },
    /// A key cannot be declared.
    #[error("zenoh key {key}")]
    Declare {
        /// The key.
        key: String,
        /// Zenoh's words.
        source: zenoh::Error,
    },
    /// There is no session at the moment.
    #[error("no zenoh session")]
    NoSession,
    /// The session takes no message.
    #[error("zenoh put")]
    Put {
        /// Zenoh's words.
        source: zenoh::Error,
    },
}

/// Whether the session is a client, which has no session without its router.
pub(super) fn is_client(config: &Config) -> bool {
    config
        .get_json("mode")
        .is_ok_and(|mode| mode == "\"client\"")
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Connects only where it is told to.
    Publisher,
    /// Connects with publishers it hears of, too.
    Subscriber,
}

/// An open session and where it is.
pub(super) struct Opened {
    /// The session.
    pub session: Session,
    /// The endpoints it listens on, as far as we gave them.
    pub listen: Vec<String>,
    /// The endpoints it was told to connect to.
    pub connect: Vec<String>,
}

/// The Zenoh configuration without the endpoints.
///
/// # Errors
///
/// [`SessionError::Config`] where the file or a value is not accepted.
pub(super) fn base(config: &ZenohConfig, role: Role) -> Result<Config, SessionError> {
    let mut base = match &config.config_file {
        Some(path) => Config::from_file(path).map_err(|source| SessionError::Config {
            what: path.display().to_string(),
            source,
        })?,
        None => Config::default(),
    };
    let mode = config.mode.map(|mode| match mode {
        Mode::Peer => "\"peer\"",
        Mode::Client => "\"client\"",
    });
    settle(&mut base, "mode", mode, "\"peer\"")?;
    let flag = |given: Option<bool>| given.map(|on| if on { "true" } else { "false" });
    let multicast = flag(config.multicast);
    settle(&mut base, "scouting/multicast/enabled", multicast, "false")?;
    let gossip = flag(config.gossip);
    settle(&mut base, "scouting/gossip/enabled", gossip, "true")?;
    if is_client(&base) {
        let timeout = config.open_timeout_ms.to_string();
        settle(&mut base, "connect/timeout_ms", None, &timeout)?;
    } else if role == Role::Publisher {
        // Addresses heard of are passed on, not connected to.
        settle(&mut base, "scouting/gossip/autoconnect", None, "[]")?;
    }
    Ok(base)
}

/// Sets a key to what is given, or to our default where the file says nothing.
fn settle(
    base: &mut Config,
    key: &str,
    given: Option<&str>,
    default: &str,
) -> Result<(), SessionError> {
    let value = match given {
        Some(value) => value,
        None if is_unset(base, key) => default,
        None => return Ok(()),
    };
    base.insert_json5(key, value)
        .map_err(|source| SessionError::Config {
            what: format!("{key} = {value}"),
            source,
        })
}

/// Whether the file says nothing about a key: it is as Zenoh's defaults have it.
fn is_unset(base: &Config, key: &str) -> bool {
    base.get_json(key).ok() == Config::default().get_json(key).ok()
}

fn list(endpoints: &[String]) -> String {
    let quoted: Vec<String> = endpoints
        .iter()
        .map(|endpoint| format!("{endpoint:?}"))
        .collect();
    format!("[{}]", quoted.join(","))
}

/// Opens a session. Returns at once for a peer, whether anybody answers or not; a
/// client waits for its router, `open_timeout_ms` at the longest.
///
/// # Errors
///
/// [`SessionError::Config`] for good, [`SessionError::Open`] where a later try
/// may succeed.
pub(super) fn open(config: &ZenohConfig, role: Role) -> Result<Opened, SessionError> {
    let base = base(config, role)?;
    let given = config.listen.is_some() || !is_unset(&base, "listen/endpoints");
    if given || is_client(&base) {
        return open_at(base, config.listen.as_deref(), &config.connect);
    }
    let free = [String::from("tcp/127.0.0.1:0")];
    let mut connect = config.connect.clone();
    if is_free(DEFAULT_ENDPOINT) {
        let default = [String::from(DEFAULT_ENDPOINT)];
        match open_at(base.clone(), Some(&default), &connect) {
            Err(SessionError::Open { .. }) if !is_free(DEFAULT_ENDPOINT) => {}
            opened => return opened,
        }
    }
    if !connect.iter().any(|endpoint| endpoint == DEFAULT_ENDPOINT) {
        connect.push(DEFAULT_ENDPOINT.into());
    }
    log::info!("{DEFAULT_ENDPOINT} is taken: joining who is there, from another port");
    open_at(base, Some(&free), &connect)
}

/// An endpoint with a free port in place of port 0, so that it can be named.
fn with_port(endpoint: &str) -> String {
    let given = endpoint
        .strip_prefix("tcp/")
        .filter(|address| address.ends_with(":0"))
        .and_then(|address| TcpListener::bind(address).ok())
        .and_then(|listener| listener.local_addr().ok());
    given.map_or_else(|| endpoint.to_owned(), |address| format!("tcp/{address}"))
}

/// Whether nobody listens on an address of the form `tcp/<address>`.
fn is_free(endpoint: &str) -> bool {
    let address = endpoint.trim_start_matches("tcp/");
    !matches!(TcpListener::bind(address), Err(error) if error.kind() == ErrorKind::AddrInUse)
}

fn open_at(
    mut base: Config,
    listen: Option<&[String]>,
    connect: &[String],
) -> Result<Opened, SessionError> {
    let listen: Option<Vec<String>> =
        listen.map(|all| all.iter().map(|at| with_port(at)).collect());
    if let Some(listen) = &listen {
        settle(&mut base, "listen/endpoints", Some(&list(listen)), "[]")?;
    }
    if !connect.is_empty() {
        settle(&mut base, "connect/endpoints", Some(&list(connect)), "[]")?;
    }
    let words = |key| base.get_json(key).unwrap_or_default();
    let (at, asked) = (words("listen/endpoints"), words("connect/endpoints"));
    let session = zenoh::open(base)
        .wait()
        .map_err(|source| SessionError::Open {
            listen: at,
            connect: asked,
            source,
        })?;
    Ok(Opened {
        session,
        listen: listen.unwrap_or_default(),
        connect: connect.to_vec(),
    })
}

/// Sessions that `session` is connected with.
pub(super) fn connections(session: &Session) -> usize {
    let info = session.info();
    info.routers_zid().wait().count() + info.peers_zid().wait().count()
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
    fn nothing_said_is_a_peer_on_the_loopback_that_looks_for_nobody() {
        let config = read("").unwrap();
        let base = base(&config, Role::Publisher).unwrap();
        let says = |key| base.get_json(key).unwrap();
        assert_eq!(says("mode"), "\"peer\"");
        assert_eq!(says("scouting/multicast/enabled"), "false");
        assert_eq!(says("scouting/gossip/autoconnect"), "[]");
        assert!(is_unset(&base, "connect/endpoints"));
        assert!(check_name("device", &config.device).is_ok());
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
            "zenoh.open_timeout_ms = 5: must be from 100 to 60000"
        );
    }

    #[test]
    fn the_file_stands_where_we_say_nothing_and_yields_where_we_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zenoh.json5");
        let text = r#"{ mode: "peer", scouting: { multicast: { enabled: true } },
            listen: { endpoints: ["tcp/127.0.0.1:17447"] } }"#;
        std::fs::write(&path, text).unwrap();
        let mut config = ZenohConfig {
            config_file: Some(path),
            ..ZenohConfig::default()
        };
        let read = base(&config, Role::Publisher).unwrap();
        assert_eq!(read.get_json("scouting/multicast/enabled").unwrap(), "true");
        assert!(!is_unset(&read, "listen/endpoints"));
        config.multicast = Some(false);
        let read = base(&config, Role::Publisher).unwrap();
        assert_eq!(
            read.get_json("scouting/multicast/enabled").unwrap(),
            "false"
        );

        config.config_file = Some(folder.path().join("missing.json5"));
        let error = config.check_file().unwrap_err().to_string();
        assert!(error.contains("missing.json5"), "{error}");
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
        let document = include_str!("../../docs/messages.md");
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
