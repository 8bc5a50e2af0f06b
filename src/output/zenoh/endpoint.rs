//! Endpoints: where a session listens and connects.

use std::net::{Ipv6Addr, ToSocketAddrs, UdpSocket};

use zenoh::Config;

use crate::base::config::ConfigError;
use crate::base::secret::redacted;

/// Protocols that are built in (the features of `zenoh` in Cargo.toml).
const PROTOCOLS: [&str; 4] = ["tcp", "udp", "tls", "unixsock-stream"];

/// Checks that an endpoint is of a protocol that is built in and names host and port.
///
/// # Errors
///
/// [`ConfigError`] with `key`, the endpoint and what an endpoint may be.
pub(in crate::output) fn check_endpoint(
    key: &'static str,
    endpoint: &str,
) -> Result<(), ConfigError> {
    if endpoint_fits(endpoint) {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: redacted(endpoint),
        want: ENDPOINT_WANTED,
    })
}

pub(super) const ENDPOINT_WANTED: &str = "tcp, udp or tls with host and port, such as tcp/127.0.0.1:7447, or unixsock-stream with a path";

/// Whether an endpoint is of a protocol that is built in and names host and port.
pub(super) fn endpoint_fits(endpoint: &str) -> bool {
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
pub(super) fn not_of_this_machine(endpoint: &str) -> Option<std::io::Error> {
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
pub(super) fn endpoints_of(base: &Config, key: &str) -> Vec<String> {
    let mut endpoints = Vec::new();
    let json = base.get_json(key).unwrap_or_default();
    if let Ok(value) = serde_json::from_str(&json) {
        texts_in(&value, &mut endpoints);
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
