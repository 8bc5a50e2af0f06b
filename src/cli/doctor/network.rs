//! Zenoh: whether its configuration is accepted, its addresses are free to listen on, and others answer. The web view:
//! whether its address is free. ROS 2: whether its router answers.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use poised::base::secret::redacted;
use poised::capture::thread::words;
use poised::output::{DEFAULT_ENDPOINT, RosConfig, WebConfig, ZenohConfig};

use super::Finding;

const PART: &str = "zenoh";

/// How long a router may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The configuration, the addresses to listen on and those to connect to.
pub fn findings(config: &ZenohConfig) -> Vec<Finding> {
    if let Err(error) = config.check_file() {
        return vec![Finding::broken(
            PART,
            words(&error),
            "put the Zenoh configuration file right",
        )];
    }
    let default = [DEFAULT_ENDPOINT.to_owned()];
    let default: &[String] = if config.leave_default { &[] } else { &default };
    let listen = config.listen.as_deref().unwrap_or(default);
    let listening = listen.iter().map(|endpoint| free(endpoint));
    let connecting = config.connect.iter().map(|at| answers(PART, at));
    listening.chain(connecting).collect()
}

/// The address of the web view, where there is one.
pub fn web(config: &WebConfig) -> Option<Finding> {
    const PART: &str = "web";
    let (listen, url) = (config.listen?, config.url()?);
    Some(match TcpListener::bind(listen) {
        Ok(_) => Finding::good(PART, format_args!("{listen} is free to listen on: {url}")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::lacking(
            PART,
            format_args!("{listen}: {error}"),
            "good if this daemon runs already; else give [web] listen another port",
        ),
        Err(error) => Finding::broken(
            PART,
            format_args!("{listen}: {error}"),
            "let [web] listen on an address of this machine, or on 0.0.0.0 or [::] for all of them",
        ),
    })
}

/// The router of ROS 2, where messages go to one.
pub fn ros(config: &RosConfig) -> Option<Finding> {
    let endpoint = config.connect.as_ref()?;
    Some(answers("ros", endpoint))
}

/// The address of an endpoint over TCP or TLS.
fn address(endpoint: &str) -> Option<&str> {
    let rest = endpoint
        .strip_prefix("tcp/")
        .or_else(|| endpoint.strip_prefix("tls/"))?;
    rest.split(['?', '#']).next()
}

fn free(endpoint: &str) -> Finding {
    let Some(address) = address(endpoint) else {
        return Finding::good(
            PART,
            format_args!("{}: not tried, no TCP", redacted(endpoint)),
        );
    };
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(
            PART,
            format_args!("{} is free to listen on", redacted(endpoint)),
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::lacking(
            PART,
            format_args!("{}: {error}", redacted(endpoint)),
            "another poised or a router listens there; subscribers reach that one",
        ),
        Err(error) => Finding::broken(
            PART,
            format_args!("{}: {error}", redacted(endpoint)),
            "listen on an address of this machine, or on 0.0.0.0 or [::] for all of them",
        ),
    }
}

fn answers(part: &'static str, endpoint: &str) -> Finding {
    let Some(address) = address(endpoint) else {
        return Finding::good(
            part,
            format_args!("{}: not tried, no TCP", redacted(endpoint)),
        );
    };
    let reached = address.to_socket_addrs().and_then(|mut found| {
        let first = found.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        TcpStream::connect_timeout(&first, PATIENCE)
    });
    match reached {
        Ok(_) => Finding::good(part, format_args!("{} answers", redacted(endpoint))),
        Err(error) => Finding::lacking(
            part,
            format_args!("{}: {error}", redacted(endpoint)),
            "start the router, open the firewall, allow the address in the unit (IPAddressAllow=)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    #[test]
    fn a_router_that_answers_is_told_from_one_that_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp/{}", listener.local_addr().unwrap());
        assert_eq!(answers(PART, &endpoint).standing, Standing::Good);
        assert_eq!(free(&endpoint).standing, Standing::Lacking);
        drop(listener);
        assert_eq!(answers(PART, &endpoint).standing, Standing::Lacking);
        assert_eq!(free(&endpoint).standing, Standing::Good);
    }

    #[test]
    fn an_address_of_another_machine_keeps_the_daemon_from_running() {
        let finding = free("tcp/192.0.2.1:7447");
        assert_eq!(finding.standing, Standing::Broken);
        assert!(
            finding.to_string().contains("address of this machine"),
            "{finding}"
        );
    }

    #[test]
    fn the_address_of_the_web_view_is_looked_at_where_there_is_one() {
        assert!(web(&WebConfig::default()).is_none());
        let at = |listen: &str| {
            let config = WebConfig {
                listen: Some(listen.parse().unwrap()),
                ..WebConfig::default()
            };
            web(&config).unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        assert_eq!(at(&listen).standing, Standing::Lacking);
        drop(listener);
        assert_eq!(at(&listen).standing, Standing::Good);
        assert_eq!(at("192.0.2.1:8080").standing, Standing::Broken);
    }

    #[test]
    fn a_missing_zenoh_file_keeps_the_daemon_from_running() {
        let config = ZenohConfig {
            config_file: Some("/nowhere/zenoh.json5".into()),
            ..ZenohConfig::default()
        };
        let findings = findings(&config);
        assert_eq!(findings[0].standing, Standing::Broken);
    }
}
