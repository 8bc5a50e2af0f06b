//! What one camera has on Zenoh: its publishers, its liveliness token, its answers.

use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zenoh::bytes::{Encoding, ZBytes};
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::Queryable;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use super::names::Others;
use super::session::{self, Queries, SessionDesk};
use super::upkeep::{Action, Event, Upkeep};
use super::wire::{CDDL, POSE_SCHEMA};
use super::zenoh::{
    Opened, Role, SessionError, ZenohConfig, base, connections, is_client, open, shown,
};
use super::{adaptation, health, repetition};
use crate::adapt::control::{CONTROL_SCHEMA, Control, Outcome};
use crate::base::clock::MonoNs;
use crate::base::secret::redacted_toml;
use crate::motion::hint::Hints;

/// How much longer than `open_timeout_ms` the start waits for the session: a busy machine needs a moment. Zenoh's own
/// file may let opening take longer, or for ever; the daemon then goes on without a session until it is open.
const START_SLACK: Duration = Duration::from_secs(5);

/// Longest wait for the answer to who else has our name.
const NAMES_WITHIN: Duration = Duration::from_secs(1);

/// A session that is being opened, on a thread of its own: however long that takes, the watchdog is fed meanwhile.
pub(super) type Opening = mpsc::Receiver<Result<Opened, SessionError>>;

/// Begins to open a session as `config` has it.
///
/// # Errors
///
/// The system has no room for a thread.
pub(super) fn begin_opening(config: &ZenohConfig) -> Result<Opening, SessionError> {
    let (tell, told) = mpsc::channel();
    let config = config.clone();
    std::thread::Builder::new()
        .name("zenoh-open".to_owned())
        .spawn(move || {
            // Where the other side is gone, the session is closed again.
            let _ = tell.send(open(&config, Role::Publisher));
        })
        .map_err(|source| SessionError::Thread { source })?;
    Ok(told)
}

/// Texts that are answered when asked for.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// The configuration in use, as TOML; answers `/config`, without comments and passwords.
    pub config: String,
    /// The calibration in use, as TOML; answers `/calibration`.
    pub calibration: String,
}

type Last = Arc<Mutex<Option<ZBytes>>>;

/// What hears commands: those that are put, and those that are asked.
type Commands = (Subscriber<()>, Queryable<()>);

/// A camera's place on Zenoh. Opens its session again where it has none.
pub struct Outlet {
    config: ZenohConfig,
    camera: String,
    config_text: Vec<u8>,
    calibration: Last,
    last: Last,
    hints: Option<Arc<Hints>>,
    control: Option<Arc<Control>>,
    sessions: Option<Arc<SessionDesk>>,
    line: Option<Line>,
    opening: Option<Opening>,
    upkeep: Upkeep,
    others: Arc<Others>,
}

/// All that lives as long as the session.
struct Line {
    poses: Publisher<'static>,
    events: Publisher<'static>,
    health: Publisher<'static>,
    adaptation: Publisher<'static>,
    repetitions: Publisher<'static>,
    listen: Vec<String>,
    connect: Vec<String>,
    // These end before the session does.
    _tokens: [LivelinessToken; 2],
    _others: Subscriber<()>,
    _answers: [Queryable<()>; 5],
    hints: Option<Subscriber<()>>,
    control: Option<Commands>,
    sessions: Option<Queries>,
    session: Session,
}

impl Outlet {
    /// Opens the session and declares everything of `camera`.
    ///
    /// A peer is open at once; no reply is needed. A client whose router does
    /// not answer in `open_timeout_ms` is left without a session for now, which
    /// is logged once, and [`Outlet::poll`] tries again.
    ///
    /// # Errors
    ///
    /// What no later try would change: the configuration, an address to listen on that is taken, or another daemon
    /// under the same name.
    pub fn open(
        config: &ZenohConfig,
        camera: &str,
        documents: Documents,
        now: MonoNs,
    ) -> Result<Self, SessionError> {
        let mut outlet = Self {
            config: config.clone(),
            camera: camera.to_owned(),
            // Every reader of poses may ask for this, so no password is in it.
            config_text: redacted_toml(&documents.config).unwrap_or_default().into(),
            calibration: Arc::new(Mutex::new(Some(documents.calibration.into()))),
            last: Last::default(),
            hints: None,
            control: None,
            sessions: None,
            line: None,
            opening: None,
            upkeep: Upkeep::new(now),
            others: Arc::default(),
        };
        let opening = begin_opening(config)?;
        let start_max = Duration::from_millis(config.open_timeout_ms.into()) + START_SLACK;
        let opened = match opening.recv_timeout(start_max) {
            Ok(opened) => opened,
            Err(RecvTimeoutError::Timeout) => {
                let at = shown(&config.connect);
                log::warn!("the zenoh session to {at} is not open yet: continuing without it");
                outlet.opening = Some(opening);
                return Ok(outlet);
            }
            Err(RecvTimeoutError::Disconnected) => Err(SessionError::NoSession),
        };
        match opened {
            Ok(opened) => outlet.line = Some(outlet.declare(opened)?),
            Err(error @ SessionError::Open { .. })
                if base(config, Role::Publisher).is_ok_and(|b| is_client(&b)) =>
            {
                let router = shown(&config.connect);
                log::warn!("{error}: no router at {router}, retrying every few seconds");
                return Ok(outlet);
            }
            Err(error) => return Err(error),
        }
        let connected = outlet.peers();
        // Said below in other words.
        let _ = outlet.upkeep.on(Event::Connected(connected), now);
        if let Some(line) = &outlet.line {
            let at = shown(&line.listen);
            let key = config.key(camera, "poses");
            log::info!("publishing {key}, listening on {at}");
            if connected == 0 && !line.connect.is_empty() {
                let silent = shown(&line.connect);
                log::warn!("no reply from {silent}, retrying every few seconds");
            }
        }
        Ok(outlet)
    }

    /// From now on hands what comes in on `/hint` to `hints`.
    ///
    /// # Errors
    ///
    /// The session does not take the subscription.
    pub fn hear_hints(&mut self, hints: Arc<Hints>) -> Result<(), SessionError> {
        self.hints = Some(hints);
        if let Some(mut line) = self.line.take() {
            line.hints = self.listen_for_hints(&line.session)?;
            self.line = Some(line);
        }
        Ok(())
    }

    /// From now on hands what comes in on `/control` to `control`.
    ///
    /// # Errors
    ///
    /// The session does not take the subscription.
    pub fn hear_control(&mut self, control: Arc<Control>) -> Result<(), SessionError> {
        self.control = Some(control);
        if let Some(mut line) = self.line.take() {
            line.control = self.listen_for_control(&line.session)?;
            self.line = Some(line);
        }
        Ok(())
    }

    /// From now on hands what is asked on `/session` to `desk`, and answers `/session/summary` and `/session/page`
    /// from it.
    ///
    /// # Errors
    ///
    /// The session does not take the declarations.
    pub fn hear_sessions(&mut self, desk: Arc<SessionDesk>) -> Result<(), SessionError> {
        self.sessions = Some(desk);
        if let Some(mut line) = self.line.take() {
            line.sessions = self.answer_sessions(&line.session)?;
            self.line = Some(line);
        }
        Ok(())
    }

    fn answer_sessions(&self, session: &Session) -> Result<Option<Queries>, SessionError> {
        let base = self.config.key(&self.camera, "session");
        let declare = |desk| session::declare(session, &base, desk);
        self.sessions.as_ref().map(declare).transpose()
    }

    fn listen_for_hints(&self, session: &Session) -> Result<Option<Subscriber<()>>, SessionError> {
        let hear =
            |hints: Arc<Hints>| self.listen(session, "hint", move |bytes| hints.receive(bytes));
        self.hints.clone().map(hear).transpose()
    }

    fn listen_for_control(&self, session: &Session) -> Result<Option<Commands>, SessionError> {
        let Some(control) = &self.control else {
            return Ok(None);
        };
        let told = Arc::clone(control);
        let subscriber = self.listen(session, "control", move |bytes| told.receive(bytes, None))?;
        let queryable = self.obey_queries(session, Arc::clone(control))?;
        Ok(Some((subscriber, queryable)))
    }

    /// Takes commands that come as queries, and answers each once it is done.
    fn obey_queries(
        &self,
        session: &Session,
        control: Arc<Control>,
    ) -> Result<Queryable<()>, SessionError> {
        let key = self.key("control")?;
        let own = key.clone();
        session
            .declare_queryable(key.clone())
            .callback(move |query| {
                // A wildcard asks what there is. It is no command, and access control of `/control` does not hold it.
                if *query.key_expr() != own {
                    return;
                }
                let payload = query.payload().map(ZBytes::to_bytes).unwrap_or_default();
                let payload = payload.into_owned();
                let own = own.clone();
                let answer = move |outcome: &Outcome| {
                    let sent = query
                        .reply(own.clone(), outcome.to_cbor())
                        .encoding(Encoding::APPLICATION_CBOR.with_schema(CONTROL_SCHEMA))
                        .wait();
                    if let Err(error) = sent {
                        log::debug!("{own}: the answer was not sent: {error}");
                    }
                };
                control.receive(&payload, Some(Box::new(answer)));
            })
            .wait()
            .map_err(|source| SessionError::Declare {
                key: key.to_string(),
                source: source.into(),
            })
    }

    fn listen(
        &self,
        session: &Session,
        leaf: &str,
        receive: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Subscriber<()>, SessionError> {
        let key = self.key(leaf)?;
        session
            .declare_subscriber(key.clone())
            .callback(move |sample| receive(&sample.payload().to_bytes()))
            .wait()
            .map_err(|source| SessionError::Declare {
                key: key.to_string(),
                source: source.into(),
            })
    }

    fn declare(&self, opened: Opened) -> Result<Line, SessionError> {
        let Opened {
            session,
            listen,
            connect,
        } = opened;
        let (instance, others) = self.take_name(&session)?;
        let poses = self.publisher(&session, "poses", POSE_SCHEMA, Priority::InteractiveHigh)?;
        let events =
            self.publisher(&session, "events", health::EVENT_SCHEMA, Priority::DataHigh)?;
        let health =
            self.publisher(&session, "health", health::HEALTH_SCHEMA, Priority::DataLow)?;
        let adaptation = self.publisher(
            &session,
            "adaptation",
            adaptation::ADAPTATION_SCHEMA,
            Priority::DataLow,
        )?;
        let repetitions = self.publisher(
            &session,
            "repetitions",
            repetition::REPETITION_SCHEMA,
            Priority::DataHigh,
        )?;
        let fixed = |payload: Vec<u8>| {
            let payload = ZBytes::from(payload);
            move || Some(payload.clone())
        };
        let newest = |of: &Last| {
            let of = Arc::clone(of);
            move || of.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let cbor = |schema| Encoding::APPLICATION_CBOR.with_schema(schema);
        let toml = || Encoding::from("application/toml");
        let answers = [
            self.answer(&session, "last", cbor(POSE_SCHEMA), newest(&self.last))?,
            self.answer(
                &session,
                "names",
                cbor(health::NAMES_SCHEMA),
                fixed(health::names()),
            )?,
            self.answer(&session, "schema", Encoding::TEXT_PLAIN, fixed(CDDL.into()))?,
            self.answer(&session, "config", toml(), fixed(self.config_text.clone()))?,
            self.answer(&session, "calibration", toml(), newest(&self.calibration))?,
        ];
        let key = self.config.key(&self.camera, "alive");
        let alive = token(&session, key)?;
        Ok(Line {
            poses,
            events,
            health,
            adaptation,
            repetitions,
            listen,
            connect,
            _tokens: [alive, instance],
            _others: others,
            _answers: answers,
            hints: self.listen_for_hints(&session)?,
            control: self.listen_for_control(&session)?,
            sessions: self.answer_sessions(&session)?,
            session,
        })
    }

    /// Takes our name, unless another daemon has it and it is not to be shared; from then on others are heard of.
    fn take_name(
        &self,
        session: &Session,
    ) -> Result<(LivelinessToken, Subscriber<()>), SessionError> {
        let every = self.key("instance/*")?;
        let own = session.zid().to_string();
        let declare = |source: zenoh::Error| SessionError::Declare {
            key: every.to_string(),
            source: source.into(),
        };
        let there = session
            .liveliness()
            .get(every.clone())
            .timeout(NAMES_WITHIN)
            .wait()
            .map_err(declare)?;
        let other = there
            .into_iter()
            .filter_map(|reply| reply.into_result().ok())
            .map(|sample| session_of(&sample))
            .find(|other| *other != own);
        // Also where the name is not taken in the end: the daemon that has it is told by this token.
        let instance = self.config.key(&self.camera, &format!("instance/{own}"));
        let instance = token(session, instance)?;
        if let Some(session) = other
            && !self.config.shared_name
        {
            return Err(SessionError::NameTaken {
                key: self.config.key(&self.camera, "poses"),
                session,
            });
        }
        let heard = Arc::clone(&self.others);
        let others = session
            .liveliness()
            .declare_subscriber(every.clone())
            .history(true)
            .callback(move |sample| {
                let other = session_of(&sample);
                match sample.kind() {
                    _ if other == own => {}
                    SampleKind::Put => heard.came(&other),
                    SampleKind::Delete => heard.left(&other),
                }
            })
            .wait()
            .map_err(declare)?;
        Ok((instance, others))
    }

    /// Sessions of other daemons under our name.
    pub(super) fn others(&self) -> &Others {
        &self.others
    }

    fn key(&self, leaf: &str) -> Result<KeyExpr<'static>, SessionError> {
        let key = self.config.key(&self.camera, leaf);
        KeyExpr::new(key.clone()).map_err(|source| SessionError::Declare {
            key,
            source: source.into(),
        })
    }

    /// A publisher that never waits: what cannot leave is dropped.
    fn publisher(
        &self,
        session: &Session,
        leaf: &str,
        schema: &'static str,
        priority: Priority,
    ) -> Result<Publisher<'static>, SessionError> {
        let key = self.key(leaf)?;
        session
            .declare_publisher(key.clone())
            .encoding(Encoding::APPLICATION_CBOR.with_schema(schema))
            .congestion_control(CongestionControl::Drop)
            .priority(priority)
            .express(priority == Priority::InteractiveHigh)
            .wait()
            .map_err(|source| SessionError::Declare {
                key: key.to_string(),
                source: source.into(),
            })
    }

    /// Answers queries for a key with what `payload` gives; with an error where it gives nothing.
    fn answer(
        &self,
        session: &Session,
        leaf: &str,
        encoding: Encoding,
        payload: impl Fn() -> Option<ZBytes> + Send + Sync + 'static,
    ) -> Result<Queryable<()>, SessionError> {
        let key = self.key(leaf)?;
        let own = key.clone();
        session
            .declare_queryable(key.clone())
            .complete(true)
            .callback(move |query| {
                let sent = match payload() {
                    Some(payload) => query
                        .reply(own.clone(), payload)
                        .encoding(encoding.clone())
                        .wait(),
                    None => query.reply_err("nothing has been published yet").wait(),
                };
                if let Err(error) = sent {
                    log::debug!("{own}: the answer was not sent: {error}");
                }
            })
            .wait()
            .map_err(|source| SessionError::Declare {
                key: key.to_string(),
                source: source.into(),
            })
    }

    /// Looks after the session: opens it where there is none and it is time, and logs
    /// when others come and go. Call it about once a second; it never waits for a router.
    pub fn poll(&mut self, now: MonoNs) {
        if self.line.is_none() {
            self.look_for_session(now);
        }
        let connected = self.peers();
        let action = self.upkeep.on(Event::Connected(connected), now);
        let wanted = |line: &Line| !line.connect.is_empty();
        match action {
            Action::LogAlone if self.line.as_ref().is_some_and(wanted) => {
                log::warn!("all sessions are disconnected, retrying every few seconds");
            }
            Action::LogAlone | Action::LogConnected => {
                log::info!("connected with {connected} sessions");
            }
            _ => {}
        }
    }

    /// Takes the session that is being opened, once it is there, or begins to open another.
    fn look_for_session(&mut self, now: MonoNs) {
        let opened = match self.opening.take() {
            None => {
                if self.upkeep.on(Event::Closed, now) != Action::Open {
                    return;
                }
                match begin_opening(&self.config) {
                    Ok(opening) => {
                        self.opening = Some(opening);
                        return;
                    }
                    Err(error) => Err(error),
                }
            }
            Some(opening) => match opening.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.opening = Some(opening);
                    return;
                }
                Err(TryRecvError::Disconnected) => Err(SessionError::NoSession),
                Ok(opened) => opened,
            },
        };
        let error = match opened.and_then(|opened| self.declare(opened)) {
            Ok(line) => {
                self.line = Some(line);
                self.upkeep.on(Event::Opened, now);
                return;
            }
            Err(error) => error,
        };
        let name_taken = matches!(error, SessionError::NameTaken { .. });
        match self.upkeep.on(Event::Failed { name_taken }, now) {
            Action::LogTaken => log::error!("{error}; nothing is published until it is free"),
            _ => log::debug!("{error}"),
        }
    }

    /// Answers `/calibration` with this from now on.
    pub fn set_calibration(&self, toml: &str) {
        let mut room = self
            .calibration
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *room = Some(ZBytes::from(toml));
    }

    /// Sessions connected with.
    pub fn peers(&self) -> usize {
        let session = self.line.as_ref().map(|line| &line.session);
        session.map_or(0, connections)
    }

    /// Endpoints the session listens on, but those that only `config_file` names.
    pub fn endpoints(&self) -> &[String] {
        self.line.as_ref().map_or(&[], |line| &line.listen)
    }

    /// Publishes a pose message, and keeps it for `/last`.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSession`] or [`SessionError::Put`].
    pub fn put_pose(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let payload = ZBytes::from(bytes);
        let line = self.line()?;
        put(&line.poses, payload.clone())?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(payload);
        Ok(())
    }

    /// Publishes an event message.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSession`] or [`SessionError::Put`].
    pub fn put_event(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        put(&self.line()?.events, bytes.into())
    }

    /// Publishes a health message.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSession`] or [`SessionError::Put`].
    pub fn put_health(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        put(&self.line()?.health, bytes.into())
    }

    /// Publishes an adaptation message.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSession`] or [`SessionError::Put`].
    pub fn put_adaptation(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        put(&self.line()?.adaptation, bytes.into())
    }

    /// Publishes a repetition message.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSession`] or [`SessionError::Put`].
    pub fn put_repetition(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        put(&self.line()?.repetitions, bytes.into())
    }

    fn line(&self) -> Result<&Line, SessionError> {
        self.line.as_ref().ok_or(SessionError::NoSession)
    }

    /// Ends the session in order, so that what was put still leaves.
    pub fn close(mut self) {
        if let Some(line) = self.line.take() {
            let session = line.session.clone();
            drop(line);
            if let Err(error) = session.close().wait() {
                log::debug!("closing the zenoh session: {error}");
            }
        }
    }
}

/// The session of an instance token: the last chunk of its key.
fn session_of(sample: &Sample) -> String {
    let key = sample.key_expr().as_str();
    key.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Declares a liveliness token, which lasts until it is dropped.
///
/// # Errors
///
/// [`SessionError::Declare`] with the key.
pub(super) fn token(session: &Session, key: String) -> Result<LivelinessToken, SessionError> {
    session
        .liveliness()
        .declare_token(key.clone())
        .wait()
        .map_err(|source| SessionError::Declare {
            key,
            source: source.into(),
        })
}

fn put(publisher: &Publisher<'_>, payload: ZBytes) -> Result<(), SessionError> {
    publisher
        .put(payload)
        .wait()
        .map_err(|source| SessionError::Put {
            source: source.into(),
        })
}
