//! Zenoh: whether its configuration is accepted, its addresses are free to listen on, and others answer. The web view and
//! Foxglove: whether their addresses are free. ROS 2: whether its router answers. MQTT: whether its broker answers, and its files.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use poised::base::secret::redacted;
use poised::capture::thread::words;
use poised::output::mqtt::is_open_to_all;
use poised::output::{
    DEFAULT_ENDPOINT, FoxgloveConfig, MqttConfig, RosConfig, WebConfig, ZenohConfig,
};

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
    Some(listening("web", config.listen?, &config.url()?))
}

/// The address that viewers of Foxglove connect to, where there is one.
pub fn foxglove(config: &FoxgloveConfig) -> Option<Finding> {
    Some(listening("foxglove", config.listen?, &config.url()?))
}

/// Whether the address in `listen` of a section is free.
fn listening(section: &'static str, listen: SocketAddr, url: &str) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::good(
            section,
            format_args!("{listen} is free to listen on: {url}"),
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::missing(
            section,
            format_args!("{listen}: {error}"),
            format_args!(
                "good if this daemon runs already; else give [{section}] listen another port"
            ),
        ),
        Err(error) => Finding::broken(
            section,
            format_args!("{listen}: {error}"),
            format_args!(
                "let [{section}] listen on an address of this machine, or on 0.0.0.0 or [::] for all of them"
            ),
        ),
    }
}

/// The router of ROS 2, where messages go to one.
pub fn ros(config: &RosConfig) -> Option<Finding> {
    let endpoint = config.connect.as_ref()?;
    Some(answers("ros", endpoint))
}

/// The broker of MQTT and the files that belong to it, where the state goes to one.
pub fn mqtt(config: &MqttConfig) -> Vec<Finding> {
    const PART: &str = "mqtt";
    let Some(broker) = config.address() else {
        return Vec::new();
    };
    let mut findings = vec![match reach(&broker.socket()) {
        Ok(()) => Finding::good(PART, format_args!("{broker} answers")),
        Err(error) => Finding::missing(
            PART,
            format_args!("{broker}: {error}"),
            "start the broker, open the firewall, allow the address in the unit (IPAddressAllow=)",
        ),
    }];
    if let Err(error) = config.check_files() {
        findings.push(Finding::broken(
            PART,
            words(&error),
            "put the file right; the service's user has to be able to read it (chown root:poised, chmod 640)",
        ));
    }
    if let Some(path) = &config.password_file {
        if is_open_to_all(path) {
            findings.push(Finding::missing(
                PART,
                format_args!("{}: every user can read the password", path.display()),
                format_args!("chmod 640 {}", path.display()),
            ));
        }
        if !broker.tls && !is_of_this_machine(&broker.host) {
            findings.push(Finding::missing(
                PART,
                "the password crosses the network unencrypted",
                "let the broker take TLS, and write mqtts:// in [mqtt] broker",
            ));
        }
    }
    findings
}

/// Whether a host's name is this machine's loopback.
fn is_of_this_machine(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// Connects with an address, and leaves again.
fn reach(address: &str) -> std::io::Result<()> {
    let first = address.to_socket_addrs()?.next();
    let first = first.ok_or(ErrorKind::AddrNotAvailable)?;
    TcpStream::connect_timeout(&first, PATIENCE).map(drop)
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
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::missing(
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
    match reach(address) {
        Ok(()) => Finding::good(part, format_args!("{} answers", redacted(endpoint))),
        Err(error) => Finding::missing(
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
        assert_eq!(free(&endpoint).standing, Standing::Missing);
        drop(listener);
        assert_eq!(answers(PART, &endpoint).standing, Standing::Missing);
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
        assert_eq!(at(&listen).standing, Standing::Missing);
        drop(listener);
        assert_eq!(at(&listen).standing, Standing::Good);
        assert_eq!(at("192.0.2.1:8080").standing, Standing::Broken);
    }

    #[test]
    fn a_broker_and_the_file_of_its_password_are_looked_at_where_there_is_one() {
        use std::os::unix::fs::PermissionsExt;
        assert!(mqtt(&MqttConfig::default()).is_empty());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let config = MqttConfig {
            broker: Some(format!("mqtt://{}", listener.local_addr().unwrap())),
            username: Some("kim".into()),
            password_file: Some(file.clone()),
            ..MqttConfig::default()
        };
        let standings = |config: &MqttConfig| {
            let findings: Vec<Finding> = mqtt(config);
            let shown: String = findings.iter().map(Finding::to_string).collect();
            assert!(!shown.contains("hunter2"), "{shown}");
            let standings = findings.iter().map(|finding| finding.standing);
            standings.collect::<Vec<_>>()
        };
        assert_eq!(standings(&config), [Standing::Good, Standing::Broken]);
        std::fs::write(&file, "hunter2\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode));
        mode(0o644).unwrap();
        assert_eq!(standings(&config), [Standing::Good, Standing::Missing]);
        mode(0o640).unwrap();
        assert_eq!(standings(&config), [Standing::Good]);
        drop(listener);
        assert_eq!(standings(&config), [Standing::Missing]);
        // A name that no one has, so that no broker of the network is asked.
        let config = MqttConfig {
            broker: Some("mqtt://broker.invalid".into()),
            ..config
        };
        assert_eq!(standings(&config), [Standing::Missing, Standing::Missing]);
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
