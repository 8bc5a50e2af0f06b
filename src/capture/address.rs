//! Addresses of network cameras, and what in them is secret.

/// What is shown in place of a secret.
const HIDDEN: &str = "***";

/// Parts of names of parameters whose value lets in: it is hidden wherever it appears.
const SECRET_NAMES: [&str; 8] = [
    "pass", "pwd", "psw", "pas", "token", "secret", "auth", "key",
];

/// Parts of names of parameters whose value says who asks: it is not shown.
const USER_NAMES: [&str; 4] = ["user", "usr", "login", "account"];

/// How a network camera is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `rtsp://` or `rtsps://`.
    Rtsp,
    /// `http://` or `https://`: MJPEG, or HLS.
    Http,
}

/// An address, what of it may be shown, and what must not be.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    shown: String,
    /// The longest first, so that none is left in part.
    secrets: Vec<String>,
    scheme: Scheme,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Address {
    /// The address of a network camera; `None` if it is none that we read. Capitals in the scheme are as good.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let lower = scheme.to_ascii_lowercase();
        let scheme = match lower.as_str() {
            "rtsp" | "rtsps" => Scheme::Rtsp,
            "http" | "https" => Scheme::Http,
            _ => return None,
        };
        if rest.is_empty() || text.contains(char::is_control) {
            return None;
        }
        let (shown, secrets) = hide(&lower, rest);
        Some(Self {
            text: format!("{lower}://{rest}"),
            shown,
            secrets,
            scheme,
        })
    }

    /// The whole of it, secrets included: for the program that connects, and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The address without users and passwords.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// How it is reached.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// How the path ends: the name's extension in small letters.
    pub fn extension(&self) -> String {
        let path = self.text.split(['?', '#']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.')
            .map_or_else(String::new, |(_, extension)| extension.to_ascii_lowercase())
    }

    /// A text of another program without anything secret of this address.
    pub fn clean(&self, text: &str) -> String {
        let mut clean = text.replace(&self.text, &self.shown);
        for secret in &self.secrets {
            clean = clean.replace(secret, HIDDEN);
        }
        clean
    }
}

/// An address fit for a log: user and password are left out, and parameters with such names are hidden. What is no
/// address stays as it is.
pub fn without_password(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => hide(scheme, rest).0,
        None => address.to_owned(),
    }
}

/// What may be shown of an address, and what must not be, the longest first.
fn hide(scheme: &str, rest: &str) -> (String, Vec<String>) {
    let (user_info, rest) = split_user_info(rest);
    let mut secrets = Vec::new();
    if let Some((_, password)) = user_info.split_once(':') {
        secrets.push(password.to_owned());
        secrets.push(percent_decoded(password));
    }
    let mut shown = format!("{scheme}://");
    let mut left = rest;
    while let Some(equals) = left.find('=') {
        let name_at = left[..equals]
            .rfind(|c: char| !c.is_ascii_alphanumeric())
            .map_or(0, |at| at + 1);
        let name = left[name_at..equals].to_ascii_lowercase();
        let value = &left[equals + 1..];
        let value = &value[..value_length(value)];
        shown.push_str(&left[..=equals]);
        left = &left[equals + 1 + value.len()..];
        let contains = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let is_secret = contains(&SECRET_NAMES) || matches!(name.as_str(), "p" | "pw");
        if is_secret {
            secrets.push(value.to_owned());
            secrets.push(percent_decoded(value));
        }
        let is_hidden = is_secret || contains(&USER_NAMES) || name == "u";
        shown.push_str(if is_hidden && !value.is_empty() {
            HIDDEN
        } else {
            value
        });
    }
    shown.push_str(left);
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    (shown, secrets)
}

/// User and password before the host, and the rest. A password may hold an `@`, and a careless one a slash.
fn split_user_info(rest: &str) -> (&str, &str) {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if let Some(at) = authority.rfind('@') {
        return (&rest[..at], &rest[at + 1..]);
    }
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let has_host = authority.starts_with('[')
        || authority
            .rsplit_once(':')
            .is_none_or(|(_, port)| is_port(port));
    match rest.rfind('@') {
        Some(at) if !has_host => (&rest[..at], &rest[at + 1..]),
        _ => ("", rest),
    }
}

/// Bytes of a parameter's value: up to a separator, or to an underscore before the next parameter, which is how some
/// recorders write them.
fn value_length(text: &str) -> usize {
    let end = text
        .find(['&', ';', '/', '?', '#', ','])
        .unwrap_or(text.len());
    let mut from = 0;
    while let Some(at) = text[from..end].find('_') {
        let next = &text[from + at + 1..end];
        let name = next
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(next.len());
        if name > 0 && next[name..].starts_with('=') {
            return from + at;
        }
        from += at + 1;
    }
    end
}

/// Text with `%40` and the like as the characters they mean.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let code = more
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        if let Some(code) = code {
            bytes.push(code);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_left_out_of_addresses_and_the_rest_is_kept() {
        for (address, shown) in [
            ("rtsp://u:p@host:554/a@b", "rtsp://host:554/a@b"),
            ("rtsp://u:p%40@host", "rtsp://host"),
            ("rtsp://u:p@q@host/x", "rtsp://host/x"),
            ("rtsp://u:p/q@host/x", "rtsp://host/x"),
            ("rtsp://u:p?q@host:554/x", "rtsp://host:554/x"),
            ("rtsp://host/x", "rtsp://host/x"),
            ("rtsp://[::1]:554/a@b", "rtsp://[::1]:554/a@b"),
            ("rtsp://host:554/a@b", "rtsp://host:554/a@b"),
            (
                "rtsp://host/live?user=admin&password=x&channel=1",
                "rtsp://host/live?user=***&password=***&channel=1",
            ),
            (
                "http://host/videostream.cgi?loginuse=admin&loginpas=geheim",
                "http://host/videostream.cgi?loginuse=***&loginpas=***",
            ),
            (
                "http://host/mjpg?usr=a&PWD=b;res=1#x",
                "http://host/mjpg?usr=***&PWD=***;res=1#x",
            ),
            (
                "rtsp://host:554/user=admin_password=tlJw_x_channel=1_stream=0.sdp?real_stream",
                "rtsp://host:554/user=***_password=***_channel=1_stream=0.sdp?real_stream",
            ),
            (
                "rtsp://host/user=admin&password=&channel=1&stream=0.sdp?",
                "rtsp://host/user=***&password=&channel=1&stream=0.sdp?",
            ),
            (
                "https://host/a.m3u8?token=abc",
                "https://host/a.m3u8?token=***",
            ),
            ("clip.mp4", "clip.mp4"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }

    #[test]
    fn nothing_secret_is_left_in_what_another_program_writes() {
        for (address, secrets) in [
            (
                "rtsp://kim:ge%40heim@host/live",
                &["ge%40heim", "ge@heim"][..],
            ),
            ("rtsp://kim:a:b@c@host/live", &["a:b@c"]),
            ("rtsp://host/live?user=kim&password=geheim", &["geheim"]),
            ("RTSP://kim:geheim@host/live?pwd=gehe", &["geheim", "gehe"]),
        ] {
            let parsed = Address::parse(address).unwrap();
            let mut lines = vec![
                format!("Impossible to open '{}'", parsed.reveal()),
                format!("{}/track0: not found", parsed.reveal()),
            ];
            lines.extend(secrets.iter().map(|secret| format!("wrote {secret} there")));
            for line in lines {
                let clean = parsed.clean(&line);
                for secret in secrets {
                    assert!(!clean.contains(secret), "{line}: {clean}");
                }
            }
            assert!(!format!("{parsed:?}").contains("gehe"));
            assert_eq!(parsed.clean("no such thing"), "no such thing");
        }
    }

    #[test]
    fn schemes_are_read_in_capitals_too_and_others_are_refused() {
        let address = Address::parse("RTSP://host/Live").unwrap();
        assert_eq!(address.reveal(), "rtsp://host/Live");
        assert_eq!(address.scheme(), Scheme::Rtsp);
        let address = Address::parse("HTTPS://host/a/live.M3U8?x=.y").unwrap();
        assert_eq!(
            (address.scheme(), address.extension().as_str()),
            (Scheme::Http, "m3u8")
        );
        for other in ["rtmp://host/x", "rtsp://", "clip.mp4", "rtsp://host/\nx"] {
            assert_eq!(Address::parse(other), None, "{other}");
        }
    }
}
