//! What must not leave the process: passwords and keys in addresses.
//!
//! Cameras take passwords in many places of an address: before the host, in the query, in the path. So of an address
//! nothing is shown but its scheme and its host; and where even the host cannot be told from a password, not that.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;

use serde::Deserialize;

/// What is shown in place of a secret.
pub const REDACTED: &str = "***";

/// Parts of a key's name that say that its value is a secret.
const SECRET_NAMES: [&str; 6] = [
    "password",
    "passwd",
    "secret",
    "token",
    "private",
    "credential",
];

/// The name or address of a source of frames. Its `Debug` and `Display` leave out what may be a password; `Deref`
/// gives the whole to what opens it.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct SourceName(#[serde(deserialize_with = "crate::base::config::path_or_text")] String);

impl SourceName {
    /// The whole name, password included: to open it, never to show it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SourceName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl From<String> for SourceName {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl Deref for SourceName {
    type Target = str;

    fn deref(&self) -> &str {
        self.reveal()
    }
}

impl AsRef<OsStr> for SourceName {
    fn as_ref(&self) -> &OsStr {
        self.reveal().as_ref()
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&redacted(&self.0), f)
    }
}

/// A value without what may be a secret: of an address scheme and host are left, of a Zenoh endpoint all but its
/// configuration. A name without an address in it comes back as it is.
///
/// ```
/// use poised::base::secret::redacted;
/// assert_eq!(redacted("rtsp://kim:secret@10.0.0.7:554/live?key=1"), "rtsp://***@10.0.0.7:554/***");
/// assert_eq!(redacted("/dev/video0"), "/dev/video0");
/// ```
pub fn redacted(value: &str) -> String {
    if let Some((scheme, rest)) = value.split_once("://") {
        return redacted_address(scheme, rest);
    }
    // An address whose scheme is misspelt or missing.
    if let Some(at) = value.find('@')
        && value[..at].contains(':')
    {
        return REDACTED.to_owned();
    }
    match value.split_once('#') {
        // The configuration of an endpoint may hold keys.
        Some((endpoint, _)) if is_endpoint(endpoint) => format!("{endpoint}#{REDACTED}"),
        _ => value.to_owned(),
    }
}

/// Protocols of Zenoh's endpoints.
const PROTOCOLS: [&str; 8] = [
    "tcp",
    "udp",
    "tls",
    "quic",
    "ws",
    "serial",
    "unixpipe",
    "unixsock-stream",
];

/// Whether it looks like `tcp/host:port`.
fn is_endpoint(text: &str) -> bool {
    let protocol = text.split_once('/').map_or("", |(protocol, _)| protocol);
    PROTOCOLS.contains(&protocol)
}

fn redacted_address(scheme: &str, rest: &str) -> String {
    // A password may hold a quote or a space; a scheme may not, so one that does is none.
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.chars().all(is_scheme) {
        return REDACTED.to_owned();
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => (true, host),
        None => (false, authority),
    };
    let in_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]%".contains(c);
    // An `@` further back may end a password with a slash in it, which is then no path.
    if tail.contains('@') || !host.chars().all(in_host) {
        return format!("{scheme}://{REDACTED}");
    }
    let user = if user { "***@" } else { "" };
    let tail = match tail {
        "" | "/" => tail,
        _ => "/***",
    };
    format!("{scheme}://{user}{host}{tail}")
}

/// A TOML file as it may be shown: every value as [`redacted`] has it, without comments, since they may hold anything.
/// `None` if it is no TOML.
pub fn redacted_toml(text: &str) -> Option<String> {
    let mut table: toml::Table = text.parse().ok()?;
    for (key, value) in &mut table {
        redact(key, value);
    }
    toml::to_string(&table).ok()
}

fn redact(key: &str, value: &mut toml::Value) {
    let key = key.to_ascii_lowercase();
    match value {
        toml::Value::String(text) if SECRET_NAMES.iter().any(|name| key.contains(name)) => {
            REDACTED.clone_into(text);
        }
        toml::Value::String(text) => *text = redacted(text),
        toml::Value::Array(values) => values.iter_mut().for_each(|value| redact(&key, value)),
        toml::Value::Table(table) => {
            for (key, value) in table {
                redact(key, value);
            }
        }
        _ => {}
    }
}

/// A sentence in which addresses may be named, each as [`redacted`] has it.
pub fn redacted_text(text: &str) -> String {
    let word = |word: &str| {
        // What ends a clause is not part of an address.
        let address = word.trim_end_matches([':', ',', '.', ';', ')']);
        if address.contains("://") {
            format!("{}{}", redacted(address), &word[address.len()..])
        } else {
            word.to_owned()
        }
    };
    let words: Vec<String> = text.split(' ').map(word).collect();
    words.join(" ")
}

/// Text for a log that may quote lines of a configuration: from the first address on, or from the value of a key
/// that names a secret, the rest of a line is left out.
pub fn redacted_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(redacted_line).collect();
    lines.join("\n")
}

fn redacted_line(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let named = SECRET_NAMES.iter().filter_map(|name| {
        let at = lower.find(name)? + name.len();
        lower[at..].contains('=').then_some(at)
    });
    // `at` counts bytes of the lower-case line, which has as many as the line itself: only ASCII was changed.
    let address = line.find("://").map(|at| at + 3);
    let without_scheme = line.find('@').and_then(|_| line.find('=').map(|at| at + 1));
    match named.chain(address).chain(without_scheme).min() {
        Some(at) => format!("{}{REDACTED}", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses as cameras have them, each with `hunter2` as its password.
    const ADDRESSES: [&str; 14] = [
        "rtsp://kim:hunter2@10.0.0.7/live",
        "rtsp://kim:hunter2@10.0.0.7:554",
        "RTSP://:hunter2@camera.local/",
        "rtsp://kim:a@hunter2@camera.local/live",
        "rtsp://kim:a/hunter2@camera.local/live",
        "rtsp://kim:a?hunter2@camera.local/live",
        "rtsp://kim:a#hunter2@camera.local/live",
        "rtsp://kim:a hunter2@camera.local/live",
        "rtsp://camera.local/live?user=admin&password=hunter2",
        "rtsp://camera.local/live?user=admin&password=a@hunter2",
        "rtsp://camera.local:554/user=admin_password=hunter2_channel=1_stream=0.sdp",
        "rtsp://camera.local:7441/hunter2",
        "http://camera.local/video.mjpg#hunter2",
        "rtsp:/kim:hunter2@camera.local/live",
    ];

    #[test]
    fn a_password_is_never_shown_wherever_it_stands_in_an_address() {
        for address in ADDRESSES {
            let source = SourceName::from(address);
            let shown = format!("{source} {source:?} {:?}", Some(&source));
            assert!(!shown.contains("hunter2"), "{address}: {shown}");
            assert_eq!(source.reveal(), address);
            let toml = format!("# {address}\n[camera]\nsource = {address:?}\n");
            let shown = redacted_toml(&toml).unwrap();
            assert!(!shown.contains("hunter2"), "{shown}");
            let error = toml::from_str::<toml::Table>(&format!("{toml}x = = 1")).unwrap_err();
            let lines = redacted_lines(&format!("{error}\n1 | source = {address:?} oops"));
            assert!(!lines.contains("hunter2"), "{lines}");
        }
    }

    #[test]
    fn the_host_is_shown_and_what_is_no_address_stays() {
        for (value, shown) in [
            ("rtsp://u:p@host:554/a", "rtsp://***@host:554/***"),
            ("rtsp://[fe80::1%eth0]:554/", "rtsp://[fe80::1%eth0]:554/"),
            ("rtsp://host", "rtsp://host"),
            ("films/clip #1.mp4", "films/clip #1.mp4"),
            ("a@b.mp4", "a@b.mp4"),
            ("tcp/10.0.0.7:7447", "tcp/10.0.0.7:7447"),
            (
                "tls/host:7447#connect_private_key_base64=x",
                "tls/host:7447#***",
            ),
            ("küche", "küche"),
        ] {
            assert_eq!(redacted(value), shown);
        }
    }

    #[test]
    fn addresses_in_a_sentence_are_redacted_and_the_sentence_stays() {
        assert_eq!(
            redacted_text("rtsp://kim:hunter2@h/live: timed out (after 3.0 s)"),
            "rtsp://***@h/***: timed out (after 3.0 s)"
        );
        let plain = "/dev/video2 (HD Webcam): no frame for 3000 ms";
        assert_eq!(redacted_text(plain), plain);
    }

    #[test]
    fn values_under_names_of_secrets_are_left_out_and_the_rest_is_kept() {
        let text = "rate = 30\nname = \"front\"\n[a]\nPassword = \"x1\"\ntokens = [\"x2\"]\n[[b]]\nc = { secret = \"x3\" }\n";
        let shown = redacted_toml(text).unwrap();
        assert!(
            shown.contains("rate = 30") && shown.contains("name = \"front\""),
            "{shown}"
        );
        for secret in ["x1", "x2", "x3"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(redacted_toml("no = = toml").is_none());
        let line = redacted_lines("3 | password = \"hunter2\" x\n  | ^^^");
        assert_eq!(line, "3 | password***\n  | ^^^");
    }
}
