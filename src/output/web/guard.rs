//! Who may ask: decided from the head of a request alone, without I/O.
//!
//! A page of another site that runs in a browser on this machine must not read the view. It can try under a name of its
//! own that points here (DNS rebinding), which the list of hosts stops, and by asking across sites, which `Origin`
//! and `Sec-Fetch-Site` stop. `Origin` is compared with the list, never with `Host`: where a name was rebound, both are
//! the attacker's.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Uri};

use super::config::{Token, WebConfig};

/// Why a request is refused, or a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Refusal {
    /// Asked for under a name that is not in the list.
    ForeignHost,
    /// A page of another site asked.
    ForeignOrigin,
    /// Without the token, or with a wrong one.
    Token,
    /// Another method than GET or HEAD.
    Method,
    /// There is no such page.
    NotFound,
    /// As many connections as there may be are open.
    Connections,
    /// As many readers as there may be are listening.
    Readers,
    /// A request that did not come whole in time.
    SlowRequest,
    /// A reader that takes nothing for too long.
    SlowReader,
    /// What came is no request that we read: no HTTP, or longer than it may be.
    Malformed,
}

impl Refusal {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::ForeignHost,
        Self::ForeignOrigin,
        Self::Token,
        Self::Method,
        Self::NotFound,
        Self::Connections,
        Self::Readers,
        Self::SlowRequest,
        Self::SlowReader,
        Self::Malformed,
    ];

    /// Its word in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
            Self::Token => "token",
            Self::Method => "method",
            Self::NotFound => "not_found",
            Self::Connections => "connections",
            Self::Readers => "readers",
            Self::SlowRequest => "slow_request",
            Self::SlowReader => "slow_reader",
            Self::Malformed => "malformed",
        }
    }

    /// Status and text of the answer.
    pub const fn answer(self) -> (u16, &'static str) {
        match self {
            Self::ForeignHost => (421, "this name is not in [web] hosts\n"),
            Self::ForeignOrigin => (403, "pages of other sites may not read this\n"),
            Self::Token => (401, "the token of [web] is needed\n"),
            Self::Method => (405, "GET and HEAD only\n"),
            Self::NotFound => (404, "no such page\n"),
            Self::Connections | Self::Readers => (503, "too many connections or readers\n"),
            Self::SlowRequest | Self::SlowReader => (408, "too slow\n"),
            Self::Malformed => (400, "not understood\n"),
        }
    }
}

/// What decides who may ask.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<String>,
    /// The port, where any address of this machine may be asked: a name can be made to point here, an address cannot.
    any_address: Option<u16>,
    token: Option<Token>,
}

impl Guard {
    /// A guard for what listens at `listen`.
    pub fn new(config: &WebConfig, listen: SocketAddr) -> Self {
        let port = listen.port();
        let mut hosts = Vec::new();
        let mut allow = |name: &str| {
            hosts.push(format!("{name}:{port}"));
            if port == 80 {
                hosts.push(name.to_owned());
            }
        };
        for name in ["localhost", "127.0.0.1", "[::1]"] {
            allow(name);
        }
        let loopback = listen.ip().is_loopback();
        if loopback {
            match listen.ip() {
                IpAddr::V4(ip) => allow(&ip.to_string()),
                IpAddr::V6(ip) => allow(&format!("[{ip}]")),
            }
        }
        for name in &config.hosts {
            allow(name);
        }
        // Behind a proxy the port is the proxy's, and 443 is not written.
        hosts.extend(config.hosts.iter().cloned());
        Self {
            hosts,
            any_address: (!loopback).then_some(port),
            token: config.token.clone(),
        }
    }

    /// Whether the request may be answered at all.
    ///
    /// # Errors
    ///
    /// The first thing that speaks against it.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let (host, another) = (hosts.next(), hosts.next());
        let known = |text: &HeaderValue| text.to_str().is_ok_and(|host| self.knows(host));
        if !host.is_some_and(known) || another.is_some() || uri.authority().is_some() {
            return Err(Refusal::ForeignHost);
        }
        let own = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            let scheme = ["http://", "https://"];
            let host = scheme.iter().find_map(|scheme| origin.strip_prefix(scheme));
            host.is_some_and(|host| self.knows(host))
        };
        let same_site = |site: &HeaderValue| site == "same-origin" || site == "none";
        if !headers.get_all(ORIGIN).iter().all(own)
            || !headers.get_all("sec-fetch-site").iter().all(same_site)
        {
            return Err(Refusal::ForeignOrigin);
        }
        if method == Method::GET || method == Method::HEAD {
            Ok(())
        } else {
            Err(Refusal::Method)
        }
    }

    /// Whether the request brings the token, where there is one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`].
    pub fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let given = given.and_then(|given| given.strip_prefix(b"Bearer "));
        if given.is_some_and(|given| token.is(given)) {
            Ok(())
        } else {
            Err(Refusal::Token)
        }
    }

    /// Whether a host, with its port, is in our list.
    fn knows(&self, host: &str) -> bool {
        let listed = self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        listed || self.any_address.is_some_and(|port| is_address(host, port))
    }
}

/// Whether a host is an address with this port.
fn is_address(host: &str, port: u16) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<SocketAddr>()
        .is_ok_and(|address| address.port() == port)
        || port == 80 && plain.parse::<IpAddr>().is_ok()
}

const _: () = {
    let mut i = 0;
    while i < Refusal::ALL.len() {
        assert!(
            Refusal::ALL[i] as usize == i,
            "in the order of their numbers"
        );
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(listen: &str, hosts: &[&str], token: Option<&str>) -> Guard {
        let config = WebConfig {
            listen: Some(listen.parse().unwrap()),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            token: token.map(Token::from),
        };
        config.validate().unwrap();
        Guard::new(&config, config.listen.unwrap())
    }

    fn asked(guard: &Guard, lines: &[(&'static str, &'static str)]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        guard.check(&Method::GET, &Uri::from_static("/"), &headers)
    }

    #[test]
    fn only_names_of_the_list_with_their_port_are_answered() {
        let guard = guard("127.0.0.1:8080", &["view.example"], None);
        for host in [
            "localhost:8080",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
        ] {
            assert_eq!(asked(&guard, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["view.example", "view.example:8080"] {
            assert_eq!(asked(&guard, &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost",
            "localhost:80",
            "localhost:8080.evil.example",
            "127.0.0.1:8080@evil.example",
            "10.0.0.7:8080",
            "",
        ] {
            let refused = Err(Refusal::ForeignHost);
            assert_eq!(asked(&guard, &[("host", host)]), refused, "{host}");
        }
        assert_eq!(asked(&guard, &[]), Err(Refusal::ForeignHost));
        let twice = [("host", "localhost:8080"), ("host", "localhost:8080")];
        assert_eq!(asked(&guard, &twice), Err(Refusal::ForeignHost));
    }

    #[test]
    fn an_address_cannot_be_rebound_so_any_will_do_where_it_listens_wider() {
        let guard = guard("0.0.0.0:80", &[], Some("0123456789abcdef"));
        for host in [
            "192.168.1.7:80",
            "192.168.1.7",
            "[fe80::1]",
            "[fe80::1]:80",
            "localhost",
        ] {
            assert_eq!(asked(&guard, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["192.168.1.7:81", "evil.example", "evil.example:80"] {
            let refused = Err(Refusal::ForeignHost);
            assert_eq!(asked(&guard, &[("host", host)]), refused, "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let guard = guard("127.0.0.1:8080", &[], None);
        let host = ("host", "localhost:8080");
        for good in [
            ("origin", "http://localhost:8080"),
            ("origin", "https://127.0.0.1:8080"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(asked(&guard, &[host, good]), Ok(()), "{good:?}");
        }
        for bad in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "localhost:8080"),
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", ""),
        ] {
            let refused = Err(Refusal::ForeignOrigin);
            assert_eq!(asked(&guard, &[host, bad]), refused, "{bad:?}");
        }
    }

    #[test]
    fn nothing_can_be_sent_and_the_token_comes_in_its_header() {
        let guard = guard("127.0.0.1:8080", &[], Some("0123456789abcdef"));
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost:8080"));
        let posted = guard.check(&Method::POST, &Uri::from_static("/"), &headers);
        assert_eq!(posted, Err(Refusal::Method));
        let absolute = Uri::from_static("http://evil.example/");
        let asked = guard.check(&Method::GET, &absolute, &headers);
        assert_eq!(asked, Err(Refusal::ForeignHost));
        for (value, wanted) in [
            ("Bearer 0123456789abcdef", Ok(())),
            ("Bearer 0123456789abcdee", Err(Refusal::Token)),
            ("Basic 0123456789abcdef", Err(Refusal::Token)),
            ("0123456789abcdef", Err(Refusal::Token)),
        ] {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(guard.check_token(&headers), wanted, "{value}");
        }
        headers.remove(AUTHORIZATION);
        assert_eq!(guard.check_token(&headers), Err(Refusal::Token));
    }
}
