//! Opening a session.

use std::io::ErrorKind;
use std::net::TcpListener;

use zenoh::{Config, Session, Wait};

use super::endpoint::{ENDPOINT_WANTED, endpoint_fits, endpoints_of, not_of_this_machine};
use super::{DEFAULT_ENDPOINT, Mode, ZenohConfig, ZenohText};
use crate::base::secret::redacted;

impl ZenohConfig {
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
pub(in crate::output) fn is_client(config: &Config) -> bool {
    config
        .get_json("mode")
        .is_ok_and(|mode| mode == "\"client\"")
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output) enum Role {
    /// Connects only where it is told to.
    Publisher,
    /// Connects with publishers it hears of, too.
    Subscriber,
}

/// An open session and where it is.
pub(in crate::output) struct Opened {
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
pub(in crate::output) fn base(config: &ZenohConfig, role: Role) -> Result<Config, SessionError> {
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
pub(in crate::output) fn shown(endpoints: &[String]) -> String {
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
pub(in crate::output) fn open(config: &ZenohConfig, role: Role) -> Result<Opened, SessionError> {
    let base = base(config, role)?;
    let given = config.listen.is_some() || !is_unset(&base, "listen/endpoints");
    if given || is_client(&base) {
        return open_at(&base, config.listen.as_deref(), &config.connect);
    }
    let free = [String::from("tcp/127.0.0.1:0")];
    let mut connect = config.connect.clone();
    if !config.leave_default && is_free(DEFAULT_ENDPOINT) {
        let default = [String::from(DEFAULT_ENDPOINT)];
        match open_at(&base, Some(&default), &connect) {
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
    open_at(&base, Some(&free), &connect)
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

/// Times a session is opened on a free port: another program may take it after it was found to be free.
const FREE_PORT_TRIES: u32 = 3;

fn open_at(
    base: &Config,
    listen: Option<&[String]>,
    connect: &[String],
) -> Result<Opened, SessionError> {
    tried(listen, || open_once(base.clone(), listen, connect))
}

/// Opens with `open`, again where any free port will do and it fails; a given port is tried once.
fn tried<T>(
    listen: Option<&[String]>,
    mut open: impl FnMut() -> Result<T, SessionError>,
) -> Result<T, SessionError> {
    let any_port = listen.is_some_and(|all| all.iter().any(|at| at.ends_with(":0")));
    for _ in 1..FREE_PORT_TRIES {
        match open() {
            Err(SessionError::Open { .. }) if any_port => {}
            opened => return opened,
        }
    }
    open()
}

fn open_once(
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
pub(in crate::output) fn connections(session: &Session) -> usize {
    let info = session.info();
    info.routers_zid().wait().count() + info.peers_zid().wait().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_peer_on_the_loopback_without_scouting() {
        let config = ZenohConfig::default();
        let base = base(&config, Role::Publisher).unwrap();
        let says = |key| base.get_json(key).unwrap();
        assert_eq!(says("mode"), "\"peer\"");
        assert_eq!(says("scouting/multicast/enabled"), "false");
        assert_eq!(says("scouting/gossip/autoconnect"), "[]");
        assert!(is_unset(&base, "connect/endpoints"));
        assert!(crate::output::zenoh::check_name("device", &config.device).is_ok());
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

    #[test]
    fn another_free_port_is_tried_where_one_was_taken_meanwhile() {
        let taken = || SessionError::Open {
            listen: "tcp/127.0.0.1:7448".into(),
            connect: "nowhere".into(),
            source: ZenohText("address in use".into()),
        };
        // How often a session is opened where the first `failures` times fail, and whether it is open then.
        let opened = |endpoint: &str, failures: u32| {
            let listen = [endpoint.to_owned()];
            let mut tries = 0;
            let opened = tried(Some(&listen), || {
                tries += 1;
                if tries > failures {
                    Ok(())
                } else {
                    Err(taken())
                }
            });
            (tries, opened.is_ok())
        };
        let free = "tcp/127.0.0.1:0";
        assert_eq!(opened(free, 0), (1, true));
        assert_eq!(opened(free, FREE_PORT_TRIES - 1), (FREE_PORT_TRIES, true));
        assert_eq!(opened(free, u32::MAX), (FREE_PORT_TRIES, false));
        // A port that was asked for is that one or none.
        assert_eq!(opened("tcp/127.0.0.1:7448", u32::MAX), (1, false));
        // What is wrong for good is not tried again.
        let mut tries = 0;
        let refused = tried(Some(&[free.to_owned()]), || {
            tries += 1;
            Err::<(), _>(SessionError::NoSession)
        });
        assert!(refused.is_err() && tries == 1, "{tries} tries");
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
}
