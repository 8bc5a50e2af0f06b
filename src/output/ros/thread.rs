//! The thread of the outlet: opens the session, declares what nodes see, and sends the newest pose.
//!
//! ```text
//!   publish thread                      thread `ros`
//!   Sink ── newest pose, health ──▶ Mailbox ──▶ CDR ──▶ Zenoh client ──▶ router ──▶ nodes
//!        ◀──── empty box ────────── Mailbox
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::{Session, Wait};

use super::config::Names;
use super::humans::Humans;
use super::rmw::Target;
use super::{messages, rmw};
use crate::base::clock::{Clock, MonoNs, Seldom, unix_ns};
use crate::counters::{Counters, RosTopic};
use crate::output::json::to_json;
use crate::output::newest::{Moment, Newest};
use crate::output::outlet::{Opening, begin_opening, token};
use crate::output::upkeep::{Action, Event, Upkeep};
use crate::output::zenoh::{Opened, SessionError, ZenohConfig, connections, shown};

/// How often the session is looked at: a health message comes as often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked at while it is being opened, and the longest sleep of the thread; a message wakes it earlier.
const OPENING_EVERY: Duration = Duration::from_millis(100);

/// A router that does not answer is logged at once, and then so often.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Least time between two lines about the listeners of one topic: a tool that is started again and again fills no log.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What the publish thread and this one share.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) newest: Newest,
    /// Ends the thread.
    pub(super) stop: AtomicBool,
}

/// What is published and where.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) session: ZenohConfig,
    pub(super) domain: u32,
    pub(super) names: Names,
    pub(super) camera: String,
    pub(super) device: String,
    /// Whether people are published as REP-155 has them, too.
    pub(super) humans: bool,
}

/// A topic's publisher, as long as the session lives.
pub(super) struct Port {
    publisher: Publisher<'static>,
    _token: LivelinessToken,
    gid: [u8; 16],
    /// Number of the last message.
    sequence: i64,
    /// Whether it was told last that there are listeners, and when.
    told: (bool, MonoNs),
}

/// All that lives as long as the session.
struct Line {
    ports: [Option<Port>; RosTopic::ALL.len()],
    /// People as REP-155 has them, where that is wanted.
    humans: Option<Humans>,
    // These end before the session does.
    node: LivelinessToken,
    session: Session,
}

/// The thread's state.
pub(super) struct Worker {
    place: Place,
    link: Arc<Link>,
    counters: Arc<Counters>,
    clock: Arc<Clock>,
    upkeep: Upkeep,
    opening: Option<Opening>,
    line: Option<Line>,
    log: Seldom,
    next_look: MonoNs,
    /// When `/tf` was sent last.
    placed: MonoNs,
}

impl Worker {
    pub(super) fn new(
        place: Place,
        link: Arc<Link>,
        counters: Arc<Counters>,
        clock: Arc<Clock>,
    ) -> Self {
        let now = clock.now();
        Self {
            place,
            link,
            counters,
            clock,
            upkeep: Upkeep::new(now),
            opening: None,
            line: None,
            log: Seldom::new(LOG_EVERY),
            next_look: now,
            placed: MonoNs(0),
        }
    }

    /// Sends what comes until it is told to stop.
    pub(super) fn run(mut self) {
        self.begin_opening();
        while !self.link.stop.load(Ordering::Acquire) {
            let now = self.clock.now();
            if now >= self.next_look {
                self.look(now);
            }
            if let Some(moment) = self.link.newest.pose.take() {
                self.send_pose(&moment);
                // Where an older box waits still, one of the two is given up.
                drop(self.link.newest.back.put(moment));
            }
            if let Some(health) = self.link.newest.health.take() {
                self.send_health(&health);
            }
            std::thread::park_timeout(OPENING_EVERY);
        }
        if let Some(line) = self.line.take() {
            line.close();
        }
    }

    /// Looks after the session and the listeners, and keeps `/tf` going while there are no poses.
    fn look(&mut self, now: MonoNs) {
        if self.line.is_none() {
            self.look_for_session(now);
        }
        let connected = self
            .line
            .as_ref()
            .map_or(0, |line| connections(&line.session));
        let told = &self.counters.ros.connected;
        told.store(connected > 0, Ordering::Relaxed);
        let router = || shown(&self.place.session.connect);
        match self.upkeep.on(Event::Connected(connected), now) {
            Action::LogConnected => log::info!("ros: connected with {}", router()),
            Action::LogAlone => {
                log::warn!(
                    "ros: {} is disconnected, retrying every few seconds",
                    router()
                );
            }
            _ => {}
        }
        if let Some(line) = &mut self.line {
            if let Err(error) = line.declare_missing(&self.place, &self.link) {
                log::warn!("ros: {error}");
            }
            line.tell_of_listeners(&self.place, &self.counters, now);
            if let Some(humans) = &mut line.humans {
                humans.forget(&self.place, now, &self.counters.ros);
            }
            if now.since(self.placed) >= LOOK_EVERY {
                self.send_transform(unix_ns());
            }
        }
        let every = if self.opening.is_some() {
            OPENING_EVERY
        } else {
            LOOK_EVERY
        };
        self.next_look = now.plus(every);
    }

    fn begin_opening(&mut self) {
        match begin_opening(&self.place.session) {
            Ok(opening) => self.opening = Some(opening),
            Err(error) => self.failed(&error, self.clock.now()),
        }
    }

    fn failed(&mut self, error: &SessionError, now: MonoNs) {
        self.counters.ros.unanswered.add(1);
        let _ = self.upkeep.on(Event::Failed { name_taken: false }, now);
        if self.log.lets_through(now) {
            let router = shown(&self.place.session.connect);
            log::warn!("ros: no reply from a router at {router}, retrying every few seconds");
        }
        log::debug!("ros: {error}");
    }

    /// Takes the session that is being opened, once it is there, or begins to open another.
    fn look_for_session(&mut self, now: MonoNs) {
        let opened = match self.opening.take() {
            None if self.upkeep.on(Event::Closed, now) == Action::Open => {
                return self.begin_opening();
            }
            None => return,
            Some(opening) => match opening.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.opening = Some(opening);
                    return;
                }
                Err(TryRecvError::Disconnected) => Err(SessionError::NoSession),
                Ok(opened) => opened,
            },
        };
        match opened.and_then(|opened| Line::declare(opened, &self.place, &self.link)) {
            Ok(line) => {
                self.line = Some(line);
                let _ = self.upkeep.on(Event::Opened, now);
            }
            Err(error) => self.failed(&error, now),
        }
    }

    /// The pose as points and markers, after where the camera was then: a listener that looks up the frame at a
    /// message's time finds it.
    fn send_pose(&mut self, moment: &Moment) {
        if self.line.is_none() {
            self.counters.ros.no_session.add(1);
            return;
        }
        let Moment { unix_ns, sample } = moment;
        self.send_transform(*unix_ns);
        let frame = self.place.names.frame.clone();
        self.send(RosTopic::Joints, |out| {
            messages::joints(out, *unix_ns, &frame, &sample.people);
        });
        self.send(RosTopic::Markers, |out| {
            messages::markers(out, *unix_ns, &frame, &sample.people);
        });
        if let Some(Line {
            humans: Some(humans),
            session,
            ..
        }) = &mut self.line
        {
            let now = self.clock.now();
            humans.send(session, &self.place, moment, now, &self.counters.ros);
        }
    }

    fn send_health(&mut self, health: &[u8]) {
        let Ok(health) = to_json(health) else {
            return;
        };
        let (camera, device) = (self.place.camera.clone(), self.place.device.clone());
        self.send(RosTopic::Diagnostics, |out| {
            messages::diagnostics(out, unix_ns(), &camera, &device, &health);
        });
    }

    /// Where the camera is, if that is known and wanted.
    fn send_transform(&mut self, unix_ns: u64) {
        let Some(mount) = self.link.newest.mount.get() else {
            return;
        };
        let (height_m, rotation) = (mount.height_m, mount.to_floor());
        let names = self.place.names.clone();
        if let Some(parent) = &names.parent_frame {
            self.placed = self.clock.now();
            self.send(RosTopic::Tf, |out| {
                messages::transform(out, unix_ns, (parent, &names.frame), height_m, rotation);
            });
        }
    }

    /// Sends what `write` writes on a topic, and counts it.
    fn send(&mut self, topic: RosTopic, write: impl FnOnce(&mut Vec<u8>)) {
        let line = self.line.as_mut();
        let Some(port) = line.and_then(|line| line.ports[topic as usize].as_mut()) else {
            return;
        };
        let mut payload = Vec::new();
        write(&mut payload);
        let ros = &self.counters.ros;
        match port.send(&payload) {
            Ok(()) => ros.sent[topic as usize].add(1),
            Err(error) => {
                ros.not_sent.add(1);
                log::debug!("ros: {}: {error}", topic.name());
            }
        }
    }
}

impl Line {
    /// Declares the node and the topics in a session that was opened.
    fn declare(opened: Opened, place: &Place, link: &Link) -> Result<Self, SessionError> {
        let session = opened.session;
        let zid = session.zid().to_string();
        let key = rmw::node_token(place.domain, &zid, &place.names);
        let mut all = Self {
            ports: [const { None }; RosTopic::ALL.len()],
            humans: if place.humans {
                Some(Humans::declare(&session, place)?)
            } else {
                None
            },
            node: token(&session, key)?,
            session,
        };
        all.declare_missing(place, link)?;
        let namespace = &place.names.namespace;
        log::info!(
            "ros: publishing as node /{namespace}/{} in domain {}",
            rmw::NODE,
            place.domain
        );
        Ok(all)
    }

    /// Declares what there is no publisher for yet: `/tf` comes once the mount is known.
    fn declare_missing(&mut self, place: &Place, link: &Link) -> Result<(), SessionError> {
        for topic in RosTopic::ALL {
            let placed = place.names.parent_frame.is_some() && link.newest.mount.get().is_some();
            let wanted = topic != RosTopic::Tf || placed;
            let port = &mut self.ports[topic as usize];
            if wanted && port.is_none() {
                *port = Some(Port::declare(
                    &self.session,
                    place,
                    &Target::of(&place.names, topic),
                )?);
            }
        }
        Ok(())
    }

    /// Logs which topics have listeners now, and which no more.
    fn tell_of_listeners(&mut self, place: &Place, counters: &Counters, now: MonoNs) {
        for topic in RosTopic::ALL {
            let Some(port) = &mut self.ports[topic as usize] else {
                continue;
            };
            let status = port.publisher.matching_status().wait();
            let listening = status.is_ok_and(|status| status.matching());
            counters.ros.listening[topic as usize].store(listening, Ordering::Relaxed);
            let (told, at) = port.told;
            if listening != told && now.since(at) >= TOLD_EVERY {
                let name = rmw::topic_name(&place.names, topic);
                let what = if listening {
                    "has listeners"
                } else {
                    "has no listeners any more"
                };
                log::info!("ros: {name} {what}");
                port.told = (listening, now);
            }
        }
    }

    /// Ends the session in order, so that nodes see at once that this one is gone.
    fn close(self) {
        let Self {
            ports,
            humans,
            node,
            session,
        } = self;
        drop((ports, humans, node));
        if let Err(error) = session.close().wait() {
            log::debug!("ros: {error}");
        }
    }
}

impl Port {
    /// Declares the publisher of a topic, and its token.
    pub(super) fn declare(
        session: &Session,
        place: &Place,
        target: &Target,
    ) -> Result<Self, SessionError> {
        let key = rmw::data_key(place.domain, target);
        let zid = session.zid().to_string();
        let own = rmw::publisher_token(place.domain, &zid, &place.names, target);
        let poses = target.name != rmw::topic_name(&place.names, RosTopic::Diagnostics);
        let publisher = session
            .declare_publisher(key.clone())
            // What cannot leave is dropped, as rmw_zenoh does it with all but the most careful of publishers. Not
            // express: the three messages of a frame would each need one of Zenoh's two buffers, and the last be lost.
            .congestion_control(CongestionControl::Drop)
            .priority(if poses {
                Priority::InteractiveHigh
            } else {
                Priority::DataLow
            })
            .wait()
            .map_err(|source| SessionError::Declare {
                key,
                source: source.into(),
            })?;
        Ok(Self {
            publisher,
            gid: rmw::gid(&own),
            _token: token(session, own)?,
            sequence: 0,
            told: (false, MonoNs(0)),
        })
    }

    /// Sends a message. One that the session did not take is a gap for the listener, as one that was lost.
    pub(super) fn send(&mut self, payload: &[u8]) -> zenoh::Result<()> {
        self.sequence += 1;
        let attachment = rmw::attachment(self.sequence, unix_ns(), &self.gid);
        let put = self.publisher.put(payload).attachment(&attachment[..]);
        put.wait()
    }
}
