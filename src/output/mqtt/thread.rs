//! The thread of the outlet: connects, tells what the device is, and publishes the newest state.
//!
//! ```text
//!   publish thread                       thread `mqtt`
//!   Sink ── newest glimpse, health ──▶ Mailbox ──▶ Room ──▶ state (JSON) ──▶ client ──▶ broker
//! ```
//!
//! Each connection begins from nothing: password and certificates are read again, and all that is retained is
//! published again, so that nothing old is in a queue when a broker comes back.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rumqttc::tokio_rustls::rustls;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions,
    NetworkOptions, Packet, PublishOptions, QoS, TlsConfiguration, TlsError, Transport,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use socket2::SockRef;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::config::{BrokerAddress, MqttConfig, Topics};
use super::discovery::{self, OFFLINE, ONLINE};
use super::room::{Condition, Glimpse, Room, State};
use crate::base::clock::{Clock, MonoNs, Seldom};
use crate::base::config::ConfigError;
use crate::base::mailbox::Mailbox;
use crate::base::secret::redacted_text;
use crate::counters::{Counters, MqttFault};

/// The state is published so often, changed or not.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// Least time between two states: a label that flickers makes no more than five messages a second.
const CHANGE_EVERY: Duration = Duration::from_millis(200);

/// The broker hears of us so often at least, in seconds. One and a half of it after a power cut it says that we are
/// gone.
const KEEP_ALIVE_S: u16 = 15;

/// What was sent and is not acknowledged for so long ends the connection: a broker whose power or network failed says
/// nothing, and states go out so often that the client never has to ask whether it is there.
const SILENT_AFTER: Duration = Duration::from_secs(20);

/// How long a broker may take to accept a connection, in seconds, TLS included.
const CONNECT_WITHIN_S: u64 = 5;

/// Pause before the first new try; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause between two tries, and the pause where another try will hardly help: a broker may lock out who
/// guesses passwords.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A connection that held for this long was a good one: the next pause is the shortest again. One that two daemons
/// with the same name take from each other never does.
const GOOD_AFTER: Duration = Duration::from_mins(1);

/// The same failure is logged at most so often.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Messages that wait to be sent: the three of a new connection, and some states.
const REQUESTS_MAX: usize = 8;

/// Longest message from the broker, in bytes: nothing is subscribed to, so acknowledgements are all that comes.
const INCOMING_BYTES_MAX: usize = 1024;

/// Longest message to the broker, in bytes: discovery has 4 kB, with the longest names 8.
const OUTGOING_BYTES_MAX: usize = 32 * 1024;

/// How long the end waits for the broker to take that we leave.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the publish thread and this one share.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// What is in view.
    pub(super) glimpse: Mailbox<Glimpse>,
    /// The newest health message, CBOR.
    pub(super) health: Mailbox<Vec<u8>>,
    /// Wakes the thread for a change.
    pub(super) wake: Notify,
    /// Ends the thread.
    pub(super) stop: AtomicBool,
}

/// What is published and where.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) config: MqttConfig,
    pub(super) broker: BrokerAddress,
    pub(super) topics: Topics,
    pub(super) device: String,
    pub(super) camera: String,
    /// Whether people on the floor are reported.
    pub(super) floor: bool,
}

/// Why there is no connection.
#[derive(Debug)]
struct Trouble {
    fault: MqttFault,
    what: String,
}

/// The thread's state.
pub(super) struct Worker {
    place: Place,
    link: Arc<Link>,
    counters: Arc<Counters>,
    clock: Arc<Clock>,
    room: Room,
    log: Seldom,
    /// The failure that was logged last.
    told: Option<MqttFault>,
    /// The newest state that was published in this connection, and when.
    sent: Option<(State, MonoNs)>,
    connected: bool,
}

impl Worker {
    pub(super) fn new(
        place: Place,
        silent_after: Duration,
        link: Arc<Link>,
        counters: Arc<Counters>,
        clock: Arc<Clock>,
    ) -> Self {
        Self {
            room: Room::new(place.config.hold(), silent_after),
            place,
            link,
            counters,
            clock,
            log: Seldom::new(LOG_EVERY),
            told: None,
            sent: None,
            connected: false,
        }
    }

    /// Publishes until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        while !self.stops() {
            let began = self.clock.now();
            let Err(trouble) = self.connection().await else {
                return;
            };
            self.connected = false;
            self.counters.mqtt.connected.store(false, Ordering::Relaxed);
            self.counters.mqtt.failures[trouble.fault as usize].add(1);
            if self.clock.now().since(began) >= GOOD_AFTER {
                pause = PAUSE_MIN;
            } else if trouble.fault.is_lasting() {
                pause = PAUSE_MAX;
            }
            self.tell(&trouble, pause);
            self.wait(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    fn stops(&self) -> bool {
        self.link.stop.load(Ordering::Acquire)
    }

    /// Logs a failure of another kind at once, and the same one now and then.
    fn tell(&mut self, trouble: &Trouble, pause: Duration) {
        let now = self.clock.now();
        let another = self.told != Some(trouble.fault);
        // Asked in any case, so that the time counts from here.
        if self.log.lets_through(now) || another {
            log::warn!(
                "mqtt: {}: {}; next try in {} s",
                self.place.broker,
                redacted_text(&trouble.what),
                pause.as_secs()
            );
            self.told = Some(trouble.fault);
        }
    }

    /// Waits, or until the thread is to stop.
    async fn wait(&mut self, pause: Duration) {
        let until = self.clock.now().plus(pause);
        while !self.stops() {
            let left = until.since(self.clock.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep(left) => {}
                () = self.link.wake.notified() => self.take(),
            }
        }
    }

    /// Takes what the publish thread left.
    fn take(&mut self) {
        if let Some(glimpse) = self.link.glimpse.take() {
            self.room.see(glimpse);
        }
        if let Some(condition) = self
            .link
            .health
            .take()
            .and_then(|health| Condition::read(&health))
        {
            self.room.hear(condition);
        }
    }

    /// One connection, from its beginning to its end: `Ok` where that was asked for.
    async fn connection(&mut self) -> Result<(), Trouble> {
        let options = options(&self.place)?;
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_WITHIN_S);
        events.set_network_options(network);
        self.sent = None;
        while !self.stops() {
            match self.next_event(&client, &mut events).await {
                Some(Ok(Event::Incoming(Packet::ConnAck(_)))) => self.begin(&client),
                Some(Ok(_)) | None => {}
                Some(Err(error)) => return Err(trouble(&error, self.connected, &self.place)),
            }
        }
        self.leave(&client, &mut events).await;
        Ok(())
    }

    /// What happens next on the connection, while states are published; `None` if the thread is to stop.
    async fn next_event(
        &mut self,
        client: &AsyncClient,
        events: &mut EventLoop,
    ) -> Option<Result<Event, ConnectionError>> {
        // Polled to its end, since an event loop that is dropped half-way may lose what it was about to write.
        let mut event = pin!(events.poll());
        while !self.stops() {
            let pause = self.look(client);
            tokio::select! {
                event = &mut event => return Some(event),
                () = self.link.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
        None
    }

    /// Tells the broker all that it keeps.
    fn begin(&mut self, client: &AsyncClient) {
        let Place {
            topics,
            device,
            camera,
            broker,
            floor,
            ..
        } = &self.place;
        log::info!("mqtt: connected with {broker}, state on {}", topics.state);
        (self.connected, self.told) = (true, None);
        self.counters.mqtt.connected.store(true, Ordering::Relaxed);
        self.counters.mqtt.connections.add(1);
        let kept = PublishOptions::at_least_once().retained();
        if let Some(topic) = &topics.discovery {
            let message = discovery::message(topics, device, camera, *floor);
            self.publish(client, topic, message, kept);
        }
        // Before the device is available again: what is retained is of another time.
        self.look(client);
        let topic = &self.place.topics.availability;
        self.publish(client, topic, ONLINE.to_owned(), kept);
    }

    /// Publishes the state where one is due, and says how long to sleep.
    fn look(&mut self, client: &AsyncClient) -> Duration {
        self.take();
        if !self.connected {
            return STATE_EVERY;
        }
        let now = self.clock.now();
        let state = self.room.state(now);
        let wait = match &self.sent {
            None => Duration::ZERO,
            Some((sent, at)) => {
                let every = if state.differs(sent) {
                    CHANGE_EVERY
                } else {
                    STATE_EVERY
                };
                every.saturating_sub(now.since(*at))
            }
        };
        if !wait.is_zero() {
            return wait;
        }
        let options = PublishOptions::at_most_once().retained();
        if self.publish(client, &self.place.topics.state, state.to_json(), options) {
            self.counters.mqtt.states.add(1);
        }
        self.sent = Some((state, now));
        STATE_EVERY
    }

    /// Hands a message to the client; false where it has no room, which is counted.
    fn publish(
        &self,
        client: &AsyncClient,
        topic: &str,
        message: String,
        options: PublishOptions,
    ) -> bool {
        let taken = client.try_publish(topic.to_owned(), message, options);
        if let Err(error) = &taken {
            self.counters.mqtt.not_sent.add(1);
            log::debug!("mqtt: {topic}: {error}");
        }
        taken.is_ok()
    }

    /// Says that we leave, so that the broker need not find out.
    async fn leave(&mut self, client: &AsyncClient, events: &mut EventLoop) {
        if !self.connected {
            return;
        }
        // Who reads the state alone is not told for ever what was last seen.
        let unknown = self.room.unknown().to_json();
        let last = PublishOptions::at_most_once().retained();
        self.publish(client, &self.place.topics.state, unknown, last);
        let kept = PublishOptions::at_least_once().retained();
        self.publish(
            client,
            &self.place.topics.availability,
            OFFLINE.to_owned(),
            kept,
        );
        let ended = async {
            // Once the broker has said that it has the message.
            while let Ok(event) = events.poll().await {
                if matches!(event, Event::Incoming(Packet::PubAck(_))) {
                    let _ = client.try_disconnect();
                }
            }
        };
        if tokio::time::timeout(GOODBYE, ended).await.is_err() {
            log::debug!("mqtt: the broker does not take our leave within {GOODBYE:?}");
        }
        self.counters.mqtt.connected.store(false, Ordering::Relaxed);
    }
}

/// How many certificates a file in PEM holds.
pub(super) fn certificates_in(pem: &[u8]) -> usize {
    let mut roots = rustls::RootCertStore::empty();
    let read = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    roots.add_parsable_certificates(read).0
}

/// What the client is made of; files are read again.
fn options(place: &Place) -> Result<MqttOptions, Trouble> {
    let Place {
        config,
        broker,
        topics,
        ..
    } = place;
    let file = |error: ConfigError| Trouble {
        fault: MqttFault::File,
        what: with_causes(&error),
    };
    let target = (broker.host.as_str(), broker.port);
    let mut options = MqttOptions::new(topics.id.clone(), target);
    let will = LastWill::new(topics.availability.clone(), OFFLINE, QoS::AtLeastOnce, true);
    options
        .set_last_will(will)
        .set_keep_alive(KEEP_ALIVE_S)
        .set_clean_session(true)
        .set_max_packet_size(INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX);
    if let Some(user) = &config.username {
        match config.password().map_err(file)? {
            Some(password) => options.set_credentials(user.clone(), password.reveal()),
            None => options.set_username(user.clone()),
        };
    }
    if broker.tls {
        let tls = match config.authorities().map_err(file)? {
            Some(ca) => TlsConfiguration::Simple {
                ca,
                alpn: None,
                client_auth: None,
            },
            None => TlsConfiguration::try_default_rustls().map_err(|error| Trouble {
                fault: MqttFault::Tls,
                what: with_causes(&error),
            })?,
        };
        options.set_transport(Transport::tls_with_config(tls));
    }
    // The client's own way puts no brackets around an IPv6 address.
    let socket = broker.socket();
    options.set_socket_connector(move |_, network| {
        let socket = socket.clone();
        async move {
            let stream = rumqttc::default_socket_connect(socket, network).await?;
            SockRef::from(&stream).set_tcp_user_timeout(Some(SILENT_AFTER))?;
            Ok(stream)
        }
    });
    Ok(options)
}

/// What went wrong with a connection.
fn trouble(error: &ConnectionError, connected: bool, place: &Place) -> Trouble {
    let user = place.config.username.as_deref().unwrap_or("");
    let (fault, what) = match error {
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => (
                MqttFault::Credentials,
                format!(
                    "the broker refuses the user {user:?} with the password of mqtt.password_file"
                ),
            ),
            ConnectReturnCode::BadClientId => (
                MqttFault::Refused,
                format!("the broker refuses the client id {:?}", place.topics.id),
            ),
            other => (
                MqttFault::Refused,
                format!("the broker refuses the connection: {other:?}"),
            ),
        },
        _ if connected => (
            MqttFault::Lost,
            format!("the connection is lost: {}", with_causes(error)),
        ),
        ConnectionError::Tls(tls) if !is_of_network(tls) => (
            MqttFault::Tls,
            format!("no encrypted connection: {}", with_causes(error)),
        ),
        _ => (
            MqttFault::Unreachable,
            format!("no reply: {}", with_causes(error)),
        ),
    };
    Trouble { fault, what }
}

/// Whether it is the network that failed, not the certificate or what else belongs to TLS.
fn is_of_network(error: &TlsError) -> bool {
    match error {
        TlsError::Io(error) => !is_of_tls(error),
        _ => false,
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
}

/// An error and its causes on one line, each said once.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
