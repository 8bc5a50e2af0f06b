//! The thread: accepts viewers, encodes topics that have viewers, and hands each viewer the newest of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Bytes;
use hyper::header::{HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use hyper::{HeaderMap, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::config::FoxgloveConfig;
use super::protocol::{self, Request as Asked};
use super::{FoxgloveAbout, Link};
use crate::base::clock::{Seldom, unix_ns};
use crate::counters::RosTopic;
use crate::output::json::to_json;
use crate::output::newest::Moment;
use crate::output::ros::messages;

/// Viewers at once, as of the web view: a team that looks at one camera.
const VIEWERS_MAX: u64 = 8;

/// Subscriptions of one viewer: a viewer has one for each topic, and a panel that is opened again may overlap.
const SUBSCRIPTIONS_MAX: usize = 16;

/// Longest message of a viewer, in bytes: a subscription to all topics has 200.
const ASKED_BYTES_MAX: usize = 16 * 1024;

/// Longest time from a connection to a whole request.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Longest time in which a viewer may take nothing of what is ready for it.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// How often a viewer is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(10);

/// A viewer that has answered no question for so long is gone: its machine or its network is.
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// How often `/tf` is told where there are no poses: viewers that come later have it within this time.
const TRANSFORM_EVERY: Duration = Duration::from_secs(1);

/// Pause where the system gives no connection, as when it has no file numbers left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest wait for viewers at the end, so that they hear of it.
const GOODBYE: Duration = Duration::from_millis(300);

/// What strangers do is logged at most so often.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// The newest message of a topic, and its number from 1.
#[derive(Clone, Debug, Default)]
struct Part {
    number: u64,
    unix_ns: u64,
    message: Bytes,
}

/// What viewers are shown.
#[derive(Clone, Debug, Default)]
struct Board {
    parts: [Part; RosTopic::ALL.len()],
    /// Whether there is `/tf`.
    placed: bool,
    /// Whether the daemon ends.
    closing: bool,
}

impl Board {
    fn topics(&self) -> &'static [RosTopic] {
        const ALL: [RosTopic; 4] = [
            RosTopic::Joints,
            RosTopic::Markers,
            RosTopic::Diagnostics,
            RosTopic::Tf,
        ];
        if self.placed { &ALL } else { &ALL[..3] }
    }
}

/// All that viewers are told from.
pub(super) struct Server {
    about: FoxgloveAbout,
    origins: Vec<String>,
    link: Arc<Link>,
    board: watch::Sender<Board>,
    /// Tells viewers that the daemon was started again.
    session: u64,
    said: Seldom,
}

impl Server {
    pub(super) fn new(
        config: &FoxgloveConfig,
        about: FoxgloveAbout,
        link: Arc<Link>,
        session: u64,
    ) -> Self {
        Self {
            about,
            origins: config.origins.clone(),
            link,
            board: watch::Sender::new(Board::default()),
            session,
            said: Seldom::new(SAID_EVERY),
        }
    }

    /// Counts a viewer that is not let in, and logs one now and then.
    fn refuse(&self, why: &str) {
        self.about.counters.foxglove.refused.add(1);
        if self.said.lets_through(self.about.clock.now()) {
            log::info!("foxglove: refused: {why}");
        }
    }

    /// Puts what has come on the board, as far as it has viewers. Returns whether there was a pose.
    fn look(&self) -> bool {
        let newest = &self.link.newest;
        let pose = newest.pose.take();
        let came = pose.is_some();
        if let Some(moment) = pose {
            self.show_pose(&moment);
            // Where an older box waits still, one of the two is given up.
            drop(newest.back.put(moment));
        }
        if let Some(health) = newest.health.take().and_then(|cbor| to_json(&cbor).ok()) {
            let now = unix_ns();
            let (camera, device) = (&self.about.camera, &self.about.device);
            self.show(RosTopic::Diagnostics, now, |out| {
                messages::diagnostics(out, now, camera, device, &health);
            });
        }
        let placed = newest.mount.get().is_some() && self.about.names.parent_frame.is_some();
        if placed && !self.board.borrow().placed {
            self.board.send_modify(|board| board.placed = true);
        }
        came
    }

    /// The pose as points and markers, after where the camera was then.
    fn show_pose(&self, moment: &Moment) {
        let Moment { unix_ns, sample } = moment;
        let (frame, people) = (self.about.names.frame.as_str(), &sample.people);
        self.show_transform(*unix_ns);
        self.show(RosTopic::Joints, *unix_ns, |out| {
            messages::joints(out, *unix_ns, frame, people);
        });
        self.show(RosTopic::Markers, *unix_ns, |out| {
            messages::markers(out, *unix_ns, frame, people);
        });
    }

    /// Where the camera is, if that is known and wanted.
    fn show_transform(&self, unix_ns: u64) {
        let names = &self.about.names;
        if let (Some(mount), Some(parent)) = (self.link.newest.mount.get(), &names.parent_frame) {
            let frames = (parent.as_str(), names.frame.as_str());
            self.show(RosTopic::Tf, unix_ns, |out| {
                messages::transform(out, unix_ns, frames, mount.height_m, mount.to_floor());
            });
        }
    }

    /// Encodes a message, where its topic has viewers.
    fn show(&self, topic: RosTopic, unix_ns: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.link.viewers(topic) == 0 {
            return;
        }
        let mut message = Vec::new();
        write(&mut message);
        self.board.send_modify(|board| {
            let part = &mut board.parts[topic as usize];
            part.number += 1;
            part.unix_ns = unix_ns;
            part.message = message.into();
        });
    }

    /// The protocol's name to answer a request with; why it is refused.
    fn admit(&self, headers: &HeaderMap) -> Result<&'static str, (StatusCode, String)> {
        let mut origins = headers.get_all(ORIGIN).iter();
        // A browser names the page; programs that are no pages name none. A page of a stranger is not let in.
        if let Some(origin) = origins.next() {
            let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
            if origins.next().is_some() || !self.origins.contains(&origin) {
                let why = format!("{origin:?} is not in [foxglove] origins");
                return Err((StatusCode::FORBIDDEN, why));
            }
        }
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let offered: Vec<&str> = offered.filter_map(|value| value.to_str().ok()).collect();
        protocol::choose(&offered.join(",")).ok_or_else(|| {
            let why = "a viewer of another protocol than foxglove.sdk.v1".to_owned();
            (StatusCode::BAD_REQUEST, why)
        })
    }
}

/// Serves until it is told to stop.
pub(super) async fn run(server: Server, listener: TcpListener) {
    let server = Arc::new(server);
    let mut tick = interval(TRANSFORM_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = server.link.stop.notified() => break,
            () = server.link.wake.notified() => {
                if server.look() {
                    // Poses tell where the camera is.
                    tick.reset();
                }
            }
            _ = tick.tick() => server.show_transform(unix_ns()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => begin(&server, stream),
                Err(error) => {
                    log::debug!("foxglove: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    server.board.send_modify(|board| board.closing = true);
    // Each viewer's task holds a receiver until it ends.
    let _ = timeout(GOODBYE, server.board.closed()).await;
}

/// Starts the task of a viewer, where there is room for one.
fn begin(server: &Arc<Server>, stream: TcpStream) {
    let here = Here::new(server);
    let board = server.board.subscribe();
    if here.number > VIEWERS_MAX {
        server.refuse("there are 8 viewers already");
        return;
    }
    tokio::spawn(async move {
        let Some(mut viewer) = Viewer::open(here, stream).await else {
            return;
        };
        if let Err(error) = viewer.serve(board).await {
            log::debug!("foxglove: a viewer left: {error}");
        }
    });
}

/// Counts one more viewer until it is dropped.
struct Here {
    server: Arc<Server>,
    number: u64,
}

impl Here {
    fn new(server: &Arc<Server>) -> Self {
        let viewers = &server.about.counters.foxglove.viewers;
        let number = viewers.fetch_add(1, Ordering::AcqRel) + 1;
        Self {
            server: Arc::clone(server),
            number,
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let viewers = &self.server.about.counters.foxglove.viewers;
        viewers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One subscription of a viewer. While it is there, its topic is encoded.
struct Watched {
    link: Arc<Link>,
    topic: RosTopic,
    /// Number of the message that it got last.
    seen: u64,
}

impl Watched {
    fn new(link: &Arc<Link>, topic: RosTopic, seen: u64) -> Self {
        link.viewers[topic as usize].fetch_add(1, Ordering::AcqRel);
        Self {
            link: Arc::clone(link),
            topic,
            seen,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.link.viewers[self.topic as usize].fetch_sub(1, Ordering::AcqRel);
    }
}

type Socket = WebSocketStream<TcpStream>;

/// A viewer that was let in.
struct Viewer {
    here: Here,
    out: SplitSink<Socket, Message>,
    asks: futures_util::stream::SplitStream<Socket>,
    watched: BTreeMap<u32, Watched>,
    /// Whether it was told of `/tf`.
    placed: bool,
}

impl Viewer {
    /// Answers the request of a connection; `None` where it is refused, or is none.
    async fn open(here: Here, stream: TcpStream) -> Option<Self> {
        let server = &here.server;
        let mut refused = None;
        #[expect(
            clippy::result_large_err,
            reason = "the library's type, made once for a connection"
        )]
        let answer =
            |request: &Request, mut response: Response| match server.admit(request.headers()) {
                Ok(name) => {
                    let name = HeaderValue::from_static(name);
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
                    Ok(response)
                }
                Err((status, why)) => {
                    let mut response = ErrorResponse::new(Some(why.clone()));
                    *response.status_mut() = status;
                    refused = Some(why);
                    Err(response)
                }
            };
        let config = WebSocketConfig::default()
            .max_message_size(Some(ASKED_BYTES_MAX))
            .max_frame_size(Some(ASKED_BYTES_MAX));
        let accepting =
            tokio_tungstenite::accept_hdr_async_with_config(stream, answer, Some(config));
        match timeout(HANDSHAKE_WITHIN, accepting).await {
            Ok(Ok(socket)) => {
                let (out, asks) = socket.split();
                Some(Self {
                    here,
                    out,
                    asks,
                    watched: BTreeMap::new(),
                    placed: false,
                })
            }
            Ok(Err(error)) => {
                let why = refused.unwrap_or_else(|| error.to_string());
                server.refuse(&why);
                None
            }
            Err(_) => {
                server.refuse("no whole request within 5 s");
                None
            }
        }
    }

    /// Tells the viewer what it asks for until it leaves or the daemon ends.
    async fn serve(&mut self, mut board: watch::Receiver<Board>) -> Result<(), Error> {
        let server = Arc::clone(&self.here.server);
        let about = &server.about;
        let info = protocol::server_info(&about.camera, server.session);
        self.send(Message::text(info)).await?;
        let topics = board.borrow_and_update().topics();
        self.placed = topics.contains(&RosTopic::Tf);
        self.send(Message::text(protocol::advertise(&about.names, topics)))
            .await?;
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = about.clock.now();
        loop {
            tokio::select! {
                changed = board.changed() => {
                    let now = board.borrow_and_update().clone();
                    if changed.is_err() || now.closing {
                        return self.send(Message::Close(None)).await;
                    }
                    self.show(&now).await?;
                }
                asked = self.asks.next() => {
                    heard = about.clock.now();
                    match asked {
                        None => return Ok(()),
                        Some(Ok(Message::Text(text))) => self.take(&text, &board).await?,
                        // Answers to pings, and the last message of a viewer that leaves.
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(error),
                    }
                }
                _ = ping.tick() => {
                    if about.clock.now().since(heard) > SILENT_AFTER {
                        return Err(Error::Io(std::io::ErrorKind::TimedOut.into()));
                    }
                    self.send(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    /// Sends what the viewer has not seen of what it watches.
    async fn show(&mut self, board: &Board) -> Result<(), Error> {
        if board.placed && !self.placed {
            self.placed = true;
            let names = &self.here.server.about.names;
            let text = protocol::advertise(names, &[RosTopic::Tf]);
            self.send(Message::text(text)).await?;
        }
        let mut due = Vec::new();
        for (number, watched) in &mut self.watched {
            let part = &board.parts[watched.topic as usize];
            if part.number > watched.seen {
                let skipped = part.number - watched.seen - 1;
                watched.seen = part.number;
                let counters = &self.here.server.about.counters.foxglove;
                counters.skipped.add(skipped);
                due.push(protocol::data(*number, part.unix_ns, &part.message));
            }
        }
        for message in due {
            self.send(Message::binary(message)).await?;
            self.here.server.about.counters.foxglove.sent.add(1);
        }
        Ok(())
    }

    /// Does what the viewer asks for.
    async fn take(&mut self, text: &str, board: &watch::Receiver<Board>) -> Result<(), Error> {
        let wrong = match serde_json::from_str(text) {
            // All of them; of those that are wrong, the first is told.
            Ok(Asked::Subscribe { subscriptions }) => {
                subscriptions.iter().fold(None, |wrong, asked| {
                    let other = self.subscribe(asked, board);
                    wrong.or(other)
                })
            }
            Ok(Asked::Unsubscribe { subscription_ids }) => {
                self.watched.retain(|id, _| !subscription_ids.contains(id));
                None
            }
            Ok(Asked::Other) => Some("this server only sends: nothing is taken".to_owned()),
            Err(error) => Some(format!("the message is not understood: {error}")),
        };
        match wrong {
            Some(wrong) => self.send(Message::text(protocol::warning(&wrong))).await,
            None => Ok(()),
        }
    }

    /// Watches a topic from its next message on; says what is wrong with the wish.
    fn subscribe(
        &mut self,
        asked: &protocol::Subscription,
        board: &watch::Receiver<Board>,
    ) -> Option<String> {
        let Some(topic) = asked.topic() else {
            return Some(format!("there is no channel {}", asked.channel_id));
        };
        if self.watched.len() >= SUBSCRIPTIONS_MAX {
            return Some("there are 16 subscriptions already".to_owned());
        }
        let seen = board.borrow().parts[topic as usize].number;
        let watched = Watched::new(&self.here.server.link, topic, seen);
        self.watched.insert(asked.id, watched);
        None
    }

    /// Sends a message; an error where the viewer takes nothing for too long.
    async fn send(&mut self, message: Message) -> Result<(), Error> {
        match timeout(WRITE_WITHIN, self.out.send(message)).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }
}
