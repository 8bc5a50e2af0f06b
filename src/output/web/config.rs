//! `[web]`: where the web view listens, under which names, and who may read.

use std::fmt;
use std::net::SocketAddr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::WebError;
use crate::base::config::ConfigError;
use crate::base::secret::REDACTED;

/// Most names in `hosts`: a proxy has one or two.
const HOSTS_MAX: usize = 16;

/// Longest name of a host, in bytes, as DNS has it.
const HOST_BYTES_MAX: usize = 255;

/// Shortest token, in bytes: 16 random letters and digits are 95 bits, which is not to be guessed over a network.
const TOKEN_BYTES_MIN: usize = 16;

/// Longest token, in bytes: it travels in a header.
const TOKEN_BYTES_MAX: usize = 256;

/// `[web]`: a page that shows people as they are seen now, and figures for Prometheus. Off unless `listen` is given.
///
/// ```toml
/// [web]
/// listen = "127.0.0.1:8080"
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    /// Address and port to listen on. Default: none, no web view. Anything wider than this machine needs `token`.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
    /// Names under which it may be asked for beside `localhost`, `127.0.0.1` and `[::1]`: those of a proxy, such as
    /// `"view.clinic.example"`. At most 16. Default: none.
    pub hosts: Vec<String>,
    /// What a reader has to know: 16 to 256 letters, digits and signs of ASCII. Default: none, which is allowed on
    /// this machine only.
    pub token: Option<Token>,
}

/// What a reader has to know. Its `Debug` does not show it.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Whether `given` is the token. Takes as long whichever byte is wrong.
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differ = own.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        own.len() == given.len() && std::hint::black_box(differ) == 0
    }
}

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        Self(token.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(REDACTED, f)
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    let wanted = "an address and a port, such as 127.0.0.1:8080 or [::1]:8080";
    let parsed = text.parse();
    parsed
        .map(Some)
        .map_err(|_| D::Error::custom(format!("web.listen = {text:?}: must be {wanted}")))
}

impl WebConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range; of a token, not the value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key, value: &str, want| {
            let value = value.chars().take(HOST_BYTES_MAX).collect();
            Err(ConfigError::Value { key, value, want })
        };
        if self.hosts.len() > HOSTS_MAX {
            let count = format!("{} names", self.hosts.len());
            return wrong("web.hosts", &count, "at most 16 names");
        }
        let fits = |host: &&String| {
            let inside = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.chars().all(inside)
        };
        if let Some(host) = self.hosts.iter().find(|host| !fits(host)) {
            let want = "a host's name, with its port or without, such as view.clinic.example";
            return wrong("web.hosts", host, want);
        }
        if let Some(Token(token)) = &self.token {
            let length = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len());
            if !length || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let want = "16 to 256 letters, digits and signs of ASCII, without blanks";
                return wrong("web.token", REDACTED, want);
            }
        }
        match self.listen {
            Some(listen) if self.token.is_none() && !listen.ip().is_loopback() => wrong(
                "web.listen",
                &listen.to_string(),
                "an address of the loopback, such as 127.0.0.1:8080, unless web.token is set",
            ),
            _ => Ok(()),
        }
    }

    /// Checks that the address to listen on is of this machine, whether its port is free or not.
    ///
    /// # Errors
    ///
    /// [`WebError::Listen`] where it is not.
    pub fn check_listen(&self) -> Result<(), WebError> {
        let Some(listen) = self.listen else {
            return Ok(());
        };
        let tried = std::net::TcpListener::bind((listen.ip(), 0));
        let wrong = |source| WebError::Listen { listen, source };
        tried.map(drop).map_err(wrong)
    }

    /// Where a browser of this machine finds it, without the token; `None` where it is off.
    pub fn url(&self) -> Option<String> {
        self.listen.map(url)
    }
}

/// The address of a page that is served at `listen`, for a browser of the same machine.
pub(super) fn url(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        return format!("http://localhost:{}/", listen.port());
    }
    format!("http://{listen}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WebConfig, String> {
        let config: WebConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn it_is_off_unless_an_address_is_given() {
        assert_eq!(read("").unwrap().url(), None);
        let url = |listen: &str| {
            read(&format!("listen = {listen:?}"))
                .unwrap()
                .url()
                .unwrap()
        };
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("[::1]:81"), "http://[::1]:81/");
    }

    #[test]
    fn wider_than_this_machine_needs_a_token_and_the_token_is_never_shown() {
        let error = read("listen = \"0.0.0.0:8080\"").unwrap_err();
        assert!(
            error.contains("web.listen = \"0.0.0.0:8080\"") && error.contains("web.token"),
            "{error}"
        );
        let config =
            read("listen = \"0.0.0.0:8080\"\ntoken = \"hunter2-hunter2-hunter2\"").unwrap();
        assert_eq!(config.url().unwrap(), "http://localhost:8080/");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        let token = config.token.unwrap();
        assert!(token.is(b"hunter2-hunter2-hunter2"));
        for wrong in [
            &b""[..],
            b"hunter2",
            b"hunter2-hunter2-hunter3",
            b"hunter2-hunter2-hunter22",
        ] {
            assert!(!token.is(wrong));
        }
        let error = read("token = \"hunter2\"").unwrap_err();
        assert!(
            error.contains("16 to 256") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        for (text, part) in [
            ("listen = \"8080\"", "web.listen = \"8080\""),
            ("listen = \"localhost:8080\"", "such as 127.0.0.1:8080"),
            ("hosts = [\"http://a/\"]", "web.hosts = \"http://a/\""),
            ("hosts = [\"\"]", "web.hosts = \"\""),
            ("token = \"with a blank in it\"", "without blanks"),
            ("port = 80", "port"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
