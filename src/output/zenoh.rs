//! The Zenoh side: where to listen and connect, under which keys, who may ask what.
//!
//! Without a line of configuration the session listens on the loopback only
//! and does not scout. The port is [`DEFAULT_ENDPOINT`], so that a subscriber
//! on the same machine needs no configuration either; where another process
//! holds it, it takes a free port and joins the other, which tells
//! subscribers about both.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;

use serde::Deserialize;
use zenoh::{Config, Session, Wait};

use crate::base::config::{ConfigError, check};
use crate::base::limits::NAME_BYTES_MAX;
use crate::base::secret::{REDACTED, redacted, redacted_text};

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

    /// Checks that Zenoh accepts `config_file` and what is set over it; opens nothing.
    ///
    /// # Errors
    ///
    /// [`SessionError::Config`] with the file or the key.
    pub fn check_file(&self) -> Result<(), SessionError> {
        let base = base(self, Role::Publisher)?;
        for key in ["listen/endpoints", "connect/endpoints"] {
            let wrong = endpoints_of(&base, key);
            if let Some(wrong) = wrong.iter().find(|endpoint| !endpoint_fits(endpoint)) {
                let file = self.config_file.as_ref();
                let file = file.map_or(String::new(), |file| format!("{}: ", file.display()));
                return Err(SessionError::Config {
                    what: format!("{file}{key} = {:?}", redacted(wrong)),
                    source: ZenohText(format!("must be {ENDPOINT_WANTED}")),
                });
            }
        }
        Ok(())
    }

    /// Checks that the addresses to listen on are those of this machine, whether their ports are free or not.
    ///
    /// # Errors
    ///
    /// [`SessionError::Elsewhere`] with the first that is not.
    pub fn check_listen(&self) -> Result<(), SessionError> {
        let listen = if let Some(listen) = &self.listen {
            listen.clone()
        } else {
            let (base, key) = (base(self, Role::Publisher)?, "listen/endpoints");
            // Zenoh's own default is not used.
            if is_unset(&base, key) {
                Vec::new()
            } else {
                endpoints_of(&base, key)
            }
        };
        let wrong = |endpoint: String| {
            let source = not_of_this_machine(&endpoint)?;
            let endpoint = redacted(&endpoint);
            Some(SessionError::Elsewhere { endpoint, source })
        };
        listen.into_iter().find_map(wrong).map_or(Ok(()), Err)
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

/// Protocols that are built in (the features of `zenoh` in Cargo.toml).
const PROTOCOLS: [&str; 4] = ["tcp", "udp", "tls", "unixsock-stream"];

/// Checks that an endpoint is of a protocol that is built in and names host and port.
///
/// # Errors
///
/// [`ConfigError`] with `key`, the endpoint and what an endpoint may be.
pub(super) fn check_endpoint(key: &'static str, endpoint: &str) -> Result<(), ConfigError> {
    if endpoint_fits(endpoint) {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: redacted(endpoint),
        want: ENDPOINT_WANTED,
    })
}

const ENDPOINT_WANTED: &str = "tcp, udp or tls with host and port, such as tcp/127.0.0.1:7447, or unixsock-stream with a path";

/// Whether an endpoint is of a protocol that is built in and names host and port.
fn endpoint_fits(endpoint: &str) -> bool {
    let Ok(endpoint) = endpoint.parse::<zenoh::config::EndPoint>() else {
        return false;
    };
    let (protocol, address) = (endpoint.protocol(), endpoint.address());
    if !PROTOCOLS.contains(&protocol.as_str()) {
        return false;
    }
    let address = address.as_str();
    if protocol.as_str() == "unixsock-stream" {
        return !address.is_empty();
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    // An address of version 6 without brackets would lose its last part to the port.
    let host_fits = in_brackets.map_or(!host.contains(':') && !host.is_empty(), |host| {
        host.split('%')
            .next()
            .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
    });
    host_fits && port.parse::<u16>().is_ok()
}

/// Why one cannot listen on an endpoint that names no address of this machine; `None` if one can, and for what is
/// no IP.
fn not_of_this_machine(endpoint: &str) -> Option<std::io::Error> {
    let (protocol, address) = endpoint.split_once('/')?;
    let (host, _) = address.split(['?', '#']).next()?.rsplit_once(':')?;
    if protocol == "unixsock-stream" {
        return None;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Any port will do: whether the address is there is asked, not whether the port is free.
    let bound = (host, 0_u16)
        .to_socket_addrs()
        .and_then(|addresses| UdpSocket::bind(addresses.collect::<Vec<_>>().as_slice()));
    bound.err()
}

/// Every text in a part of Zenoh's configuration: a list, or one for each mode.
fn texts_in(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts_in(value, into)),
        serde_json::Value::Object(map) => map.values().for_each(|value| texts_in(value, into)),
        _ => {}
    }
}

/// The endpoints of `listen/endpoints` or `connect/endpoints`.
fn endpoints_of(base: &Config, key: &str) -> Vec<String> {
    let mut endpoints = Vec::new();
    let json = base.get_json(key).unwrap_or_default();
    if let Ok(value) = serde_json::from_str(&json) {
        texts_in(&value, &mut endpoints);
    }
    endpoints
}

/// What Zenoh says of an error, without the places in its source code and without what endpoints keep secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ZenohText(String);

impl From<zenoh::Error> for ZenohText {
    fn from(error: zenoh::Error) -> Self {
        let text = without_places(&error.to_string());
        Self(redacted_text(&without_quote(&text)))
    }
}

/// The parser of Zenoh's file draws the line with an arrow below it, and the line may hold a password: what is left is
/// where the mistake is and what was expected.
fn without_quote(text: &str) -> String {
    let place = text.split_once("--> ").and_then(|(_, rest)| {
        let (line, column) = rest.lines().next()?.trim().split_once(':')?;
        let mut expected = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("= "));
        let expected = expected.next_back()?;
        Some(format!("line {line}, column {column}: {expected}"))
    });
    place
        .or_else(|| without_debug(text))
        .unwrap_or_else(|| text.trim().to_owned())
}

/// The same of an error that Zenoh writes as Rust's `Debug` has it: `Message { msg: "..", location: .. }`.
fn without_debug(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("msg: \"")?;
    let (message, rest) = rest.split_once("\", location: Some(Location { line: ")?;
    let (line, rest) = rest.split_once(", column: ")?;
    let column = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    // A text of the wrong kind is quoted, and may be a password.
    let message = match message.split_once("string \\\"") {
        Some((before, rest)) => {
            let after = rest.split_once("\\\"").map_or("", |(_, after)| after);
            format!("{before}string {REDACTED}{after}")
        }
        None => message.to_owned(),
    };
    Some(format!("line {line}, column {column}: {message}"))
}

/// A text without ` at /path/to/file.rs:12.`, which Zenoh puts behind each of its errors: paths of the machine that
/// built the program.
fn without_places(text: &str) -> String {
    let mut parts = text.split(" at ");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(rest) = after_place(part) {
            clean.push_str(rest);
        } else {
            clean.push_str(" at ");
            clean.push_str(part);
        }
    }
    clean
}

/// What follows `file.rs:12.`; `None` if the text does not begin with one.
fn after_place(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(".rs:")?;
    let place = &text[..text.len() - rest.len()];
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    // A path of the build machine may hold blanks, but it begins with a folder.
    let is_path = end > 0
        && place
            .split(' ')
            .next()
            .is_some_and(|word| word.contains('/'));
    is_path.then(|| rest[end..].strip_prefix('.').unwrap_or(&rest[end..]))
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
        source: ZenohText,
    },
    /// An endpoint to listen on is of another machine, or its name is not known.
    #[error(
        "zenoh.listen = {endpoint:?}: must be an address of this machine, or 0.0.0.0 or [::] for all addresses"
    )]
    Elsewhere {
        /// The endpoint.
        endpoint: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// No session, for now or for good: a listening address that is taken, or a
    /// router that a client cannot reach.
    #[error("zenoh session: cannot listen on {listen}, or reach {connect}")]
    Open {
        /// Endpoints to listen on.
        listen: String,
        /// Endpoints to connect to.
        connect: String,
        /// Zenoh's words.
        source: ZenohText,
    },
    /// A key cannot be declared.
    #[error("zenoh key {key}")]
    Declare {
        /// The key.
        key: String,
        /// Zenoh's words.
        source: ZenohText,
    },
    /// Another daemon publishes under the same name.
    #[error(
        "{key} is already published by the daemon with Zenoh session {session}: give one of them another \
         zenoh.device or camera.name, or set zenoh.shared_name = true"
    )]
    NameTaken {
        /// The key that would be published twice.
        key: String,
        /// The other session.
        session: String,
    },
    /// The system has no room for a thread.
    #[error("zenoh session: cannot start the thread that opens it")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// There is no session at the moment.
    #[error("no zenoh session")]
    NoSession,
    /// The session takes no message.
    #[error("zenoh put")]
    Put {
        /// Zenoh's words.
        source: ZenohText,
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
            source: source.into(),
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
            source: source.into(),
        })
}

/// Whether the file says nothing about a key: it is as Zenoh's defaults have it.
fn is_unset(base: &Config, key: &str) -> bool {
    base.get_json(key).ok() == Config::default().get_json(key).ok()
}

/// Endpoints for a log.
pub(super) fn shown(endpoints: &[String]) -> String {
    if endpoints.is_empty() {
        return "nowhere".to_owned();
    }
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|endpoint| redacted(endpoint))
        .collect();
    endpoints.join(", ")
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
    if !config.leave_default && is_free(DEFAULT_ENDPOINT) {
        let default = [String::from(DEFAULT_ENDPOINT)];
        match open_at(base.clone(), Some(&default), &connect) {
            Err(SessionError::Open { .. }) if !is_free(DEFAULT_ENDPOINT) => {}
            opened => return opened,
        }
    }
    if !connect.iter().any(|endpoint| endpoint == DEFAULT_ENDPOINT) {
        connect.push(DEFAULT_ENDPOINT.into());
    }
    let why = if config.leave_default {
        "left to a router"
    } else {
        "in use"
    };
    log::info!("{DEFAULT_ENDPOINT} is {why}: connecting to it and listening on another port");
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

/// Whether no process listens on an address of the form `tcp/<address>`.
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
    let words = |key| shown(&endpoints_of(&base, key));
    let (at, asked) = (words("listen/endpoints"), words("connect/endpoints"));
    let session = zenoh::open(base)
        .wait()
        .map_err(|source| SessionError::Open {
            listen: at,
            connect: asked,
            source: source.into(),
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
    fn the_default_is_a_peer_on_the_loopback_without_scouting() {
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
            "zenoh.open_timeout_ms = 5: must be from 100 to 10000"
        );
    }

    #[test]
    fn endpoints_of_other_protocols_or_without_a_port_are_refused_and_all_that_are_built_in_are_taken()
     {
        for endpoint in [
            "tcp/127.0.0.1:7447",
            "tcp/[::1]:7447",
            "tcp/[fe80::1%eth0]:7447",
            "udp/0.0.0.0:0",
            "tls/router.local:7447",
            "tls/router.local:7447?prio=1-3#so_sndbuf=65000",
            "unixsock-stream//run/poised.sock",
        ] {
            assert!(
                check_endpoint("zenoh.connect", endpoint).is_ok(),
                "{endpoint}"
            );
        }
        for endpoint in [
            "",
            "tcp",
            "tcp/",
            "tcp/:7447",
            "tcp/192.168.1.10",
            "tcp/192.168.1.10:",
            "tcp/192.168.1.10:70000",
            "tcp/192.168.1.10:seven",
            "tcp/fe80::1:7447",
            "tcp/[192.168.1.10]:7447",
            "http/192.168.1.10:80",
            "http://192.168.1.10:80",
            "TCP/192.168.1.10:7447",
            "quic/192.168.1.10:7447",
            "ws/192.168.1.10:7447",
            "unixsock-stream/",
        ] {
            let error = check_endpoint("zenoh.listen", endpoint)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("must be tcp, udp or tls with host and port"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_of_another_machine_is_not_listened_on() {
        let config = |endpoint: &str| ZenohConfig {
            listen: Some(vec![endpoint.into()]),
            ..ZenohConfig::default()
        };
        for endpoint in [
            "tcp/127.0.0.1:7447",
            "tls/0.0.0.0:7447",
            "udp/localhost:0",
            "unixsock-stream//run/x.sock",
        ] {
            config(endpoint).check_listen().unwrap();
        }
        // TEST-NET-1 and a name that never is one (RFC 5737, 2606).
        for endpoint in [
            "tcp/192.0.2.1:7447",
            "udp/192.0.2.1:0",
            "tls/camera.invalid:7447",
        ] {
            let error = config(endpoint).check_listen().unwrap_err().to_string();
            assert!(
                error.contains(endpoint) && error.contains("of this machine"),
                "{error}"
            );
        }
        // Another program on the port is another matter.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp/{}", taken.local_addr().unwrap());
        config(&endpoint).check_listen().unwrap();
    }

    /// All that is said of an error.
    fn said(error: &SessionError) -> String {
        crate::capture::thread::words(error)
    }

    #[test]
    fn what_is_wrong_with_the_file_is_said_without_a_path_of_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, text: Option<&str>| {
            let path = folder.path().join(name);
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let config = ZenohConfig {
                config_file: Some(path),
                ..ZenohConfig::default()
            };
            let said = said(&config.check_file().unwrap_err());
            assert!(said.contains(name), "{said}");
            assert!(
                !said.contains(".rs:") && !said.contains("registry"),
                "{said}"
            );
            said
        };
        assert!(of("missing.json5", None).contains("No such file"));
        let said = of("mistyped.json5", Some("{\n  mode: \"hunter2\"\n  x\n}"));
        assert!(
            said.contains("line 2, column ") && !said.contains("hunter2"),
            "{said}"
        );
        assert!(of("unknown.json5", Some("{\n  moed: \"peer\" }")).contains("moed"));
        let said = of("kind.json5", Some("{ mode: 7 }"));
        assert!(
            said.contains("line 1, column 9: invalid type: integer"),
            "{said}"
        );
        let said = of("secret.json5", Some("{ open: \"hunter2\" }"));
        assert!(
            said.contains("line 1") && !said.contains("hunter2"),
            "{said}"
        );
        of("empty.json5", Some(""));
        of("name.txt", Some("{}"));
        of("no_extension", Some("{}"));
        let text = "{ listen: { endpoints: [\"http/10.0.0.1:80\"] } }";
        assert!(of("endpoint.json5", Some(text)).contains("http/10.0.0.1:80"));
        let text = "{ connect: { endpoints: { peer: [\"tcp/10.0.0.1\"] } } }";
        assert!(of("no_port.json5", Some(text)).contains("host and port"));
    }

    #[test]
    fn places_in_source_code_are_taken_out_and_all_else_stays() {
        for (text, clean) in [
            ("no route at /home/kim/.cargo/a b/lib.rs:12.", "no route"),
            (
                "a at /x/y.rs:1. - Caused by b at /z.rs:22.",
                "a - Caused by b",
            ),
            ("wrong at line 3 at /x/y.rs:9.", "wrong at line 3"),
            ("expected a name at 3:4", "expected a name at 3:4"),
            ("at mode in a file at x/y.rs:9.", "at mode in a file"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_places(text), clean);
        }
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
        let document = include_str!("../../docs/reference/messages.md");
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
