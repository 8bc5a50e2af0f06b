//! `[foxglove]`: where viewers find the daemon, and which pages may look.

use std::net::SocketAddr;

use serde::Deserialize;

use super::FoxgloveError;
use crate::base::config::ConfigError;

/// Most origins: the viewers of one place are a few.
const ORIGINS_MAX: usize = 16;

/// Longest origin, in bytes: a scheme, a host of at most 255 and a port.
const ORIGIN_BYTES_MAX: usize = 280;

/// `[foxglove]`: people live in Foxglove and Lichtblick. Off unless `listen` is given.
///
/// ```toml
/// [foxglove]
/// listen = "127.0.0.1:8765"
/// origins = ["https://app.foxglove.dev"]
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct FoxgloveConfig {
    /// Address and port to listen on. Default: none, nothing for Foxglove. The protocol has neither passwords nor
    /// encryption, so anything wider than this machine needs `open_to_network`.
    pub listen: Option<SocketAddr>,
    /// Pages that may look, as browsers name them: `"https://app.foxglove.dev"`. At most 16. Programs that are no pages
    /// always may. Default: none.
    pub origins: Vec<String>,
    /// Whether everything that reaches `listen` over the network may look. Default: false.
    pub open_to_network: bool,
}

impl FoxgloveConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key, value: &str, want| {
            let value = value.chars().take(ORIGIN_BYTES_MAX).collect();
            Err(ConfigError::Value { key, value, want })
        };
        if self.origins.len() > ORIGINS_MAX {
            let count = format!("{} origins", self.origins.len());
            return wrong("foxglove.origins", &count, "at most 16 origins");
        }
        let fits = |origin: &&String| {
            let host = origin.split_once("://").map(|(_, host)| host);
            origin.len() <= ORIGIN_BYTES_MAX
                && origin.bytes().all(|byte| byte.is_ascii_graphic())
                && host.is_some_and(|host| !host.contains('/'))
        };
        if let Some(origin) = self.origins.iter().find(|origin| !fits(origin)) {
            let want =
                "a scheme and a host without a path, such as https://app.foxglove.dev or file://";
            return wrong("foxglove.origins", origin, want);
        }
        match self.listen {
            Some(listen) if !self.open_to_network && !listen.ip().is_loopback() => wrong(
                "foxglove.listen",
                &listen.to_string(),
                "an address of the loopback, such as 127.0.0.1:8765, unless foxglove.open_to_network = true: \
                 the protocol has neither passwords nor encryption",
            ),
            _ => Ok(()),
        }
    }

    /// Checks that the address to listen on is of this machine, whether its port is free or not.
    ///
    /// # Errors
    ///
    /// [`FoxgloveError::Listen`] where it is not.
    pub fn check_listen(&self) -> Result<(), FoxgloveError> {
        let Some(listen) = self.listen else {
            return Ok(());
        };
        let tried = std::net::TcpListener::bind((listen.ip(), 0));
        let wrong = |source| FoxgloveError::Listen { listen, source };
        tried.map(drop).map_err(wrong)
    }

    /// What a viewer of this machine connects to; `None` where it is off.
    pub fn url(&self) -> Option<String> {
        let listen = self.listen?;
        if listen.ip().is_unspecified() {
            return Some(format!("ws://localhost:{}", listen.port()));
        }
        Some(format!("ws://{listen}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FoxgloveConfig, String> {
        let config: FoxgloveConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn it_is_off_unless_an_address_is_given() {
        assert_eq!(read("").unwrap().url(), None);
        let config = read(
            "listen = \"127.0.0.1:8765\"\norigins = [\"https://app.foxglove.dev\", \"file://\"]",
        );
        assert_eq!(config.unwrap().url().unwrap(), "ws://127.0.0.1:8765");
    }

    #[test]
    fn wider_than_this_machine_has_to_be_asked_for() {
        let error = read("listen = \"0.0.0.0:8765\"").unwrap_err();
        assert!(
            error.contains("foxglove.listen = \"0.0.0.0:8765\"")
                && error.contains("open_to_network"),
            "{error}"
        );
        let config = read("listen = \"0.0.0.0:8765\"\nopen_to_network = true").unwrap();
        assert_eq!(config.url().unwrap(), "ws://localhost:8765");
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        for (text, part) in [
            ("listen = \"8765\"", "invalid socket address"),
            (
                "origins = [\"app.foxglove.dev\"]",
                "foxglove.origins = \"app.foxglove.dev\"",
            ),
            ("origins = [\"https://a/b\"]", "without a path"),
            ("port = 80", "port"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let many = format!("origins = {:?}", vec!["https://a"; 17]);
        assert!(read(&many).unwrap_err().contains("17 origins"));
    }
}
