//! `[mqtt]`: which broker, who we are there, and the topics.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::base::config::{ConfigError, check, optional_path, read_text};
use crate::base::secret::{REDACTED, redacted};

/// Port of MQTT without TLS, as IANA has it.
const PORT: u16 = 1883;

/// Port of MQTT with TLS, as IANA has it.
const PORT_TLS: u16 = 8883;

/// Longest name of a host, in bytes, as DNS has it.
const HOST_BYTES_MAX: usize = 255;

/// Longest user name and password, in bytes: tokens of large services have a few hundred.
const CREDENTIAL_BYTES_MAX: usize = 1024;

/// Longest prefix of topics, in bytes: with three names of 48 bytes the topic stays far below the 65535 of MQTT.
const PREFIX_BYTES_MAX: usize = 128;

/// Longest `hold_s`, in seconds: an hour.
const HOLD_S_MAX: f32 = 3600.0;

/// `[mqtt]`: whether people are there and what they do, for Home Assistant and others. Off unless `broker` is given.
///
/// ```toml
/// [mqtt]
/// broker = "mqtts://homeassistant.local"
/// username = "poised"
/// password_file = "/etc/poised/mqtt-password"
/// ```
#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct MqttConfig {
    /// The broker: `mqtt://host`, or `mqtts://host` for TLS, with `:port` where it is not 1883 or 8883. One that does
    /// not answer is tried again for ever. Default: none, nothing for MQTT.
    pub broker: Option<String>,
    /// Name of the user at the broker. Default: none.
    pub username: Option<String>,
    /// File whose only line is the user's password; read again at each connection. Default: none.
    #[serde(deserialize_with = "optional_path")]
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that the broker's certificate may come from. Default: those of the system.
    #[serde(deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// What topics begin with: `<topic_prefix>/<site>/<device>/<camera>/state`. Default `poised`.
    pub topic_prefix: String,
    /// Where Home Assistant looks for devices; an empty text: it is told of none. Default `homeassistant`.
    pub discovery_prefix: String,
    /// How long a person who is not seen any more still counts, in seconds, 0 to 3600: a room does not become empty
    /// because a person bends down behind a desk. Default 3.
    pub hold_s: f32,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            broker: None,
            username: None,
            password_file: None,
            ca_file: None,
            topic_prefix: "poised".into(),
            discovery_prefix: "homeassistant".into(),
            hold_s: 3.0,
        }
    }
}

impl fmt::Debug for MqttConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart by name, so that a field added later cannot be forgotten here.
        let Self {
            broker,
            username,
            password_file,
            ca_file,
            topic_prefix,
            discovery_prefix,
            hold_s,
        } = self;
        f.debug_struct("MqttConfig")
            .field("broker", &broker.as_deref().map(redacted))
            .field("username", username)
            .field("password_file", password_file)
            .field("ca_file", ca_file)
            .field("topic_prefix", topic_prefix)
            .field("discovery_prefix", discovery_prefix)
            .field("hold_s", hold_s)
            .finish()
    }
}

/// Where a broker is. Its `Display` is an address without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Name or number of the host, without the brackets of IPv6.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl BrokerAddress {
    /// Reads `mqtt://host:port`; `None` for what is no such address, or has more in it.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (tls, usual) = match scheme {
            "mqtt" => (false, PORT),
            "mqtts" => (true, PORT_TLS),
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (host, after) = inside.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, after)
            }
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => usual,
            None => return None,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        let whole = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.chars().all(fits);
        whole.then(|| Self {
            tls,
            host: host.to_owned(),
            port,
        })
    }

    /// Host and port, as a socket is opened to them.
    pub fn socket(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}", self.socket())
    }
}

/// What the user proves to be who they are with. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(String);

impl Password {
    /// The password: for the broker, never to show it.
    pub(super) fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(REDACTED, f)
    }
}

/// The topics of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Newest state, JSON.
    pub state: String,
    /// `online` or `offline`.
    pub availability: String,
    /// What Home Assistant is told of the device, where it is told.
    pub discovery: Option<String>,
    /// Name of the device for machines: letters, digits, `_` and `-`.
    pub id: String,
}

impl MqttConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range; of an address, not what may be a password in it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key, value: &str, want| {
            let value = value.chars().take(HOST_BYTES_MAX).collect();
            Err(ConfigError::Value { key, value, want })
        };
        if let Some(broker) = &self.broker
            && BrokerAddress::parse(broker).is_none()
        {
            let want = "an address such as mqtt://192.168.1.10 or mqtts://broker.example:8883, without user name and \
                        password: those are in mqtt.username and in the file of mqtt.password_file";
            return wrong("mqtt.broker", &redacted(broker), want);
        }
        if let Some(name) = &self.username
            && (name.is_empty() || name.len() > CREDENTIAL_BYTES_MAX || has_control(name))
        {
            return wrong("mqtt.username", name, "1 to 1024 bytes of text");
        }
        if let (Some(file), None) = (&self.password_file, &self.username) {
            let want = "given together with mqtt.username: MQTT has no password without a user";
            return wrong("mqtt.password_file", &file.to_string_lossy(), want);
        }
        check_prefix("mqtt.topic_prefix", &self.topic_prefix)?;
        if !self.discovery_prefix.is_empty() {
            check_prefix("mqtt.discovery_prefix", &self.discovery_prefix)?;
        }
        check("mqtt.hold_s", self.hold_s, 0.0, HOLD_S_MAX)
    }

    /// Reads the files that are named, so that a missing one is found at once.
    ///
    /// # Errors
    ///
    /// A file cannot be read, the password is none, or there is no certificate in `ca_file`.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        if self.broker.is_none() {
            return Ok(());
        }
        self.password()?;
        self.authorities()?;
        Ok(())
    }

    /// Where the broker is; `None` where nothing is wanted of one.
    pub fn address(&self) -> Option<BrokerAddress> {
        self.broker.as_deref().and_then(BrokerAddress::parse)
    }

    /// The password, where there is one.
    pub(super) fn password(&self) -> Result<Option<Password>, ConfigError> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let text = read_text(path)?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if (1..=CREDENTIAL_BYTES_MAX).contains(&password.len()) && !has_control(password) {
            return Ok(Some(Password(password.to_owned())));
        }
        Err(ConfigError::Value {
            key: "mqtt.password_file",
            value: path.to_string_lossy().into_owned(),
            want: "a file of one line, the password, of 1 to 1024 bytes",
        })
    }

    /// The certificates of the authorities, PEM, where they are not those of the system.
    pub(super) fn authorities(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        let pem = read_text(path)?.into_bytes();
        if super::thread::certificates_in(&pem) > 0 {
            return Ok(Some(pem));
        }
        Err(ConfigError::Value {
            key: "mqtt.ca_file",
            value: path.to_string_lossy().into_owned(),
            want: "a file with certificates in PEM (-----BEGIN CERTIFICATE-----)",
        })
    }

    /// How long a person who is not seen any more still counts.
    pub(super) fn hold(&self) -> Duration {
        Duration::try_from_secs_f32(self.hold_s).unwrap_or_default()
    }

    /// The topics of a camera.
    pub fn topics(&self, site: &str, device: &str, camera: &str) -> Topics {
        let raw = format!("{site}/{device}/{camera}");
        // `+` is a wildcard of MQTT, and the one sign of those that Zenoh allows in names.
        let [site, device, camera] = [site, device, camera].map(|name| name.replace('+', "_"));
        let base = format!("{}/{site}/{device}/{camera}", self.topic_prefix);
        let names = [&site, &device, &camera];
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let mut id = format!("poised_{site}_{device}_{camera}").replace(|c| !fits(c), "_");
        // Names with other signs may come to the same, as `a_b` and `c` or `a` and `b_c` do: told apart by their sum.
        if !names.iter().all(|name| name.chars().all(fits)) {
            let sum = xxhash_rust::xxh3::xxh3_64(raw.as_bytes());
            // Writing into a string cannot fail.
            let _ = write!(id, "_{sum:016x}");
        }
        let prefix = &self.discovery_prefix;
        Topics {
            state: format!("{base}/state"),
            availability: format!("{base}/availability"),
            discovery: (!prefix.is_empty()).then(|| format!("{prefix}/device/{id}/config")),
            id,
        }
    }
}

/// The file whose mode lets every user of the machine read it: a password should not be in one.
pub fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o004 != 0)
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn check_prefix(key: &'static str, prefix: &str) -> Result<(), ConfigError> {
    let level = |level: &str| {
        let fits = |c: char| !c.is_control() && !c.is_whitespace() && c != '+' && c != '#';
        !level.is_empty() && level.chars().all(fits)
    };
    let whole = prefix.len() <= PREFIX_BYTES_MAX && prefix.split('/').all(level);
    if whole && !prefix.starts_with('$') {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: prefix.chars().take(PREFIX_BYTES_MAX).collect(),
        want: "1 to 128 bytes without blanks, + and #, not beginning with / or $, with single / between levels",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MqttConfig, String> {
        let config: MqttConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn it_is_off_by_default_and_topics_are_named_after_the_camera() {
        let config = read("").unwrap();
        assert_eq!(config.address(), None);
        config.check_files().unwrap();
        let topics = config.topics("clinic", "kiosk-3", "front");
        assert_eq!(topics.state, "poised/clinic/kiosk-3/front/state");
        assert_eq!(
            topics.availability,
            "poised/clinic/kiosk-3/front/availability"
        );
        assert_eq!(
            topics.discovery.as_deref(),
            Some("homeassistant/device/poised_clinic_kiosk-3_front/config")
        );
        // Names that MQTT or Home Assistant would not take.
        let topics = config.topics("a+b", "größe.4", "c d");
        assert_eq!(topics.state, "poised/a_b/größe.4/c d/state");
        assert!(
            topics.id.starts_with("poised_a_b_gr__e_4_c_d_"),
            "{topics:?}"
        );
        // Names that come to the same are told apart.
        for (one, other) in [
            (["a_b", "c", "d"], ["a", "b_c", "d"]),
            (["a", "кухня", "d"], ["a", "ванна", "d"]),
            (["a", "b+c", "d"], ["a", "b_c", "d"]),
        ] {
            let id = |[site, device, camera]: [&str; 3]| config.topics(site, device, camera).id;
            assert_ne!(id(one), id(other));
        }
        let config = read("discovery_prefix = \"\"").unwrap();
        assert_eq!(config.topics("a", "b", "c").discovery, None);
    }

    #[test]
    fn addresses_are_taken_with_and_without_port_and_shown_as_they_are_used() {
        for (text, shown) in [
            ("mqtt://10.0.0.7", "mqtt://10.0.0.7:1883"),
            ("mqtts://broker.example/", "mqtts://broker.example:8883"),
            ("mqtt://localhost:1899", "mqtt://localhost:1899"),
            ("mqtts://[::1]", "mqtts://[::1]:8883"),
            ("mqtt://[fe80::1]:99", "mqtt://[fe80::1]:99"),
        ] {
            let config = read(&format!("broker = {text:?}")).unwrap();
            assert_eq!(config.address().unwrap().to_string(), shown);
        }
        assert_eq!(BrokerAddress::parse("mqtt://[::1]").unwrap().host, "::1");
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_with_what_does() {
        for (text, part) in [
            ("broker = \"broker\"", "mqtt.broker = \"broker\""),
            ("broker = \"http://a\"", "such as mqtt://192.168.1.10"),
            ("broker = \"mqtt://\"", "mqtt.broker"),
            ("broker = \"mqtt://a:0\"", "mqtt.broker"),
            ("broker = \"mqtt://a:99999\"", "mqtt.broker"),
            ("broker = \"mqtt://a/b\"", "mqtt.broker"),
            ("broker = \"mqtt://a b\"", "mqtt.broker"),
            ("broker = \"mqtt://[::1\"", "mqtt.broker"),
            ("broker = \"mqtt://[a]\"", "mqtt.broker"),
            ("username = \"\"", "mqtt.username = \"\""),
            ("username = \"a\\u0000b\"", "1 to 1024 bytes"),
            ("password_file = \"/a\"", "together with mqtt.username"),
            ("topic_prefix = \"\"", "mqtt.topic_prefix = \"\""),
            ("topic_prefix = \"a/#\"", "without blanks, + and #"),
            ("topic_prefix = \"/a\"", "not beginning with /"),
            ("topic_prefix = \"$SYS\"", "not beginning with / or $"),
            ("discovery_prefix = \"a//b\"", "mqtt.discovery_prefix"),
            ("hold_s = -1.0", "mqtt.hold_s = -1: must be from 0 to 3600"),
            ("hold_s = nan", "mqtt.hold_s = NaN"),
            ("password = \"hunter2\"", "password"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = format!("topic_prefix = \"{}\"", "a".repeat(129));
        assert!(read(&long).unwrap_err().contains("1 to 128 bytes"));
    }

    #[test]
    fn a_password_in_the_address_is_refused_without_showing_it() {
        for broker in [
            "mqtt://kim:hunter2@broker",
            "mqtts://hunter2@broker:1883",
            "mqtt://broker?password=hunter2",
            "kim:hunter2@broker",
        ] {
            let error = read(&format!("broker = {broker:?}")).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("mqtt.password_file"), "{error}");
            let config = MqttConfig {
                broker: Some(broker.into()),
                ..MqttConfig::default()
            };
            assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        }
    }

    #[test]
    fn the_password_is_the_only_line_of_its_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let config = MqttConfig {
            broker: Some("mqtt://a".into()),
            username: Some("kim".into()),
            password_file: Some(path.clone()),
            ..MqttConfig::default()
        };
        let error = config.check_files().unwrap_err().to_string();
        assert!(error.contains("password: cannot be read"), "{error}");
        for (text, password) in [
            ("hunter2", Some("hunter2")),
            ("hunter2\n", Some("hunter2")),
            ("hunter2\r\n", Some("hunter2")),
            ("  hunter 2 \n", Some("  hunter 2 ")),
            ("", None),
            ("\n", None),
            ("hunter2\nhunter3\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = config.password();
            let shown = format!("{read:?}");
            assert!(!shown.contains("hunter"), "{shown}");
            let read = read.ok().flatten().map(Password::reveal);
            assert_eq!(read.as_deref(), password, "{text:?}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nhm\n").unwrap();
        let config = MqttConfig {
            broker: Some("mqtts://a".into()),
            ca_file: Some(path),
            ..MqttConfig::default()
        };
        let error = config.check_files().unwrap_err().to_string();
        assert!(
            error.contains("mqtt.ca_file") && error.contains("PEM"),
            "{error}"
        );
    }
}
