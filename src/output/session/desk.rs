//! Where a kiosk's requests arrive, and what it is answered: `session/v1`.
//!
//! A request is a CBOR map in a query of just `/session`:
//!
//! | key | type | meaning |
//! | --- | --- | --- |
//! | `command` | text | `start`, `stop` or `status` |
//! | `exercise` | text, for `start` | which one of the exercises file; `[exercise] name` without it |
//! | `person` | whole number, for `start`, may be left out | whom it is about; everybody in view without it |
//! | `label` | text, for `start`, may be left out | what the kiosk calls it |

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::Rendered;
use crate::base::clock::{Clock, Seldom};
use crate::base::limits::EXERCISE_BYTES_MAX;
use crate::motion::session::{Ended, LABEL_BYTES_MAX, Progress};

/// Value of `schema` in an answer.
pub const SESSION_SCHEMA: &str = "session/v1";

/// Requests that may wait: a kiosk sends one and waits for its answer.
pub(super) const WAITING_MAX: usize = 8;

/// Refused requests are logged once in so long, with their number.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Keys looked through in a request.
const KEYS_MAX: u64 = 16;

/// Characters of a wrong word that an answer repeats.
const QUOTED_MAX: usize = 48;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCommand {
    /// Begins a session.
    Start,
    /// Ends it.
    Stop,
    /// Tells of it.
    Status,
}

impl SessionCommand {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Start, Self::Stop, Self::Status];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Status => "status",
        }
    }
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub command: SessionCommand,
    /// The exercise's name, as it was sent, at most [`EXERCISE_BYTES_MAX`] bytes.
    pub exercise: Option<String>,
    /// Whom it is about; `None` for everybody.
    pub person: Option<u32>,
    /// What the kiosk calls it; empty for nothing.
    pub label: String,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words: no such map, another command, an exercise or a label that is too long, a label
    /// that has control characters.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        read(bytes).map_err(|(_, why)| why)
    }
}

/// What is told of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// Its exercise.
    pub exercise: String,
    /// Whom it is about; `None` for everybody.
    pub person: Option<u32>,
    /// What the kiosk calls it.
    pub label: String,
    /// When it began, wall time.
    pub started_unix_ns: u64,
    /// How long it has run, or ran.
    pub duration: Duration,
    /// Why it ended; `None` while it runs.
    pub ended: Option<Ended>,
    /// What it has, or had at its end.
    pub progress: Progress,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOutcome {
    /// What was asked, where it was understood.
    pub command: Option<SessionCommand>,
    /// What there is to add, or why it was not done.
    pub result: Result<Option<String>, String>,
    /// The session that runs, or else the last one.
    pub session: Option<SessionState>,
}

impl SessionOutcome {
    /// The answer to the peer that asked.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut cbor = Encoder::new(Vec::new());
        let written = self.write(&mut cbor);
        debug_assert!(written.is_ok(), "writing into a vector cannot fail");
        cbor.into_writer()
    }

    fn write(
        &self,
        cbor: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        let detail = match &self.result {
            Ok(note) => note.as_deref(),
            Err(why) => Some(why.as_str()),
        };
        cbor.map(5)?.str("schema")?.str(SESSION_SCHEMA)?;
        cbor.str("command")?
            .encode(self.command.map(SessionCommand::name))?;
        cbor.str("done")?.bool(self.result.is_ok())?;
        cbor.str("detail")?.encode(detail)?;
        cbor.str("session")?;
        let Some(session) = &self.session else {
            cbor.null()?;
            return Ok(());
        };
        let label = (!session.label.is_empty()).then_some(session.label.as_str());
        cbor.map(10)?.str("exercise")?.str(&session.exercise)?;
        cbor.str("person")?.encode(session.person)?;
        cbor.str("label")?.encode(label)?;
        cbor.str("started_unix_ns")?.u64(session.started_unix_ns)?;
        cbor.str("duration_s")?
            .f32(session.duration.as_secs_f32())?;
        cbor.str("running")?.bool(session.ended.is_none())?;
        cbor.str("ended")?.encode(session.ended.map(Ended::name))?;
        cbor.str("people")?.u64(session.progress.people as u64)?;
        cbor.str("whole")?.u32(session.progress.whole)?;
        cbor.str("partials")?.u32(session.progress.partials)?;
        Ok(())
    }
}

/// How a peer that asked is told.
pub type SessionAnswer = Box<dyn FnOnce(&SessionOutcome) + Send>;

/// What the thread of sessions is sent.
pub(super) enum Ask {
    /// A request to be answered.
    Request(Request, SessionAnswer),
    /// The daemon ends.
    Leave,
}

/// The summary that can be asked for.
#[derive(Clone, Debug, Default)]
pub(super) enum Last {
    /// No session has been.
    #[default]
    None,
    /// One is running.
    Running,
    /// Of the last one.
    Ended(Arc<Rendered>),
}

/// Where requests arrive, on threads of Zenoh's, and where summaries are asked for.
pub struct SessionDesk {
    asks: SyncSender<Ask>,
    clock: Arc<Clock>,
    last: Mutex<Last>,
    refused: AtomicU64,
    log: Seldom,
}

impl std::fmt::Debug for SessionDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionDesk")
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

impl SessionDesk {
    pub(super) fn new(asks: SyncSender<Ask>, clock: Arc<Clock>) -> Self {
        Self {
            asks,
            clock,
            last: Mutex::default(),
            refused: AtomicU64::new(0),
            log: Seldom::new(LOG_EVERY),
        }
    }

    /// Takes what a peer sent, and tells `answer` what becomes of it. Never waits.
    pub fn receive(&self, bytes: &[u8], answer: SessionAnswer) {
        let request = match read(bytes) {
            Ok(request) => request,
            Err((command, why)) => return self.refuse(command, answer, why),
        };
        let command = Some(request.command);
        let (answer, why) = match self.asks.try_send(Ask::Request(request, answer)) {
            Err(TrySendError::Full(Ask::Request(_, answer))) => (
                answer,
                format!("{WAITING_MAX} requests are waiting already: send it again later"),
            ),
            Err(TrySendError::Disconnected(Ask::Request(_, answer))) => {
                (answer, "the daemon is shutting down".to_owned())
            }
            // Sent; what comes back is what was sent, a request.
            Ok(()) | Err(_) => return,
        };
        self.refuse(command, answer, why);
    }

    /// The summary of the last session: JSON, and a page to print.
    ///
    /// # Errors
    ///
    /// There is none now; says why.
    pub fn summary(&self) -> Result<Arc<Rendered>, &'static str> {
        match &*self.last() {
            Last::Ended(rendered) => Ok(Arc::clone(rendered)),
            Last::Running => Err("a session is running: stop it first"),
            Last::None => Err("no session has ended since the daemon started"),
        }
    }

    pub(super) fn set_last(&self, last: Last) {
        *self.last() = last;
    }

    /// The lock covers moves, which cannot leave half a summary behind.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the thread that the daemon ends. Where there is no room for it, it finds out by itself.
    pub(super) fn leave(&self) {
        let _ = self.asks.try_send(Ask::Leave);
    }

    fn refuse(&self, command: Option<SessionCommand>, answer: SessionAnswer, why: String) {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if self.log.lets_through(self.clock.now()) {
            log::warn!("a request for a session was refused ({refused} so far): {why}");
        }
        answer(&SessionOutcome {
            command,
            result: Err(why),
            session: None,
        });
    }
}

/// The beginning of a word that was sent, with everything that a terminal obeys escaped.
pub(super) fn quoted(word: &str) -> String {
    let start: String = word.chars().take(QUOTED_MAX).collect();
    format!("{start:?}")
}

/// Reads a request; what is wrong with it, in words, with the command where that was understood.
fn read(bytes: &[u8]) -> Result<Request, (Option<SessionCommand>, String)> {
    let raw = match Raw::decode(bytes) {
        Ok(raw) => raw,
        Err(error) => return Err((None, format!("malformed: {error}"))),
    };
    let Some(word) = raw.command else {
        return Err((None, "malformed: no key \"command\"".to_owned()));
    };
    let known = SessionCommand::ALL;
    let Some(command) = known.into_iter().find(|known| known.name() == word) else {
        let words = known.map(SessionCommand::name).join(", ");
        let why = format!("command = {}: must be one of {words}", quoted(word));
        return Err((None, why));
    };
    if let Some(bytes) = raw
        .exercise
        .map(str::len)
        .filter(|bytes| *bytes > EXERCISE_BYTES_MAX)
    {
        let why = format!("exercise: {bytes} bytes, must be 1 to {EXERCISE_BYTES_MAX}");
        return Err((Some(command), why));
    }
    let label = raw.label.unwrap_or_default();
    if label.len() > LABEL_BYTES_MAX {
        let bytes = label.len();
        let why = format!("label: {bytes} bytes, at most {LABEL_BYTES_MAX}");
        return Err((Some(command), why));
    }
    if label.chars().any(char::is_control) {
        let why = format!("label = {}: must have no control characters", quoted(label));
        return Err((Some(command), why));
    }
    Ok(Request {
        command,
        exercise: raw.exercise.map(str::to_owned),
        person: raw.person,
        label: label.to_owned(),
    })
}

#[derive(Default)]
struct Raw<'b> {
    command: Option<&'b str>,
    exercise: Option<&'b str>,
    person: Option<u32>,
    label: Option<&'b str>,
}

impl<'b> Raw<'b> {
    fn decode(bytes: &'b [u8]) -> Result<Self, minicbor::decode::Error> {
        use minicbor::decode::Error;
        let mut cbor = Decoder::new(bytes);
        let mut raw = Self::default();
        let keys = cbor
            .map()?
            .ok_or_else(|| Error::message("a map of unknown length"))?;
        if keys > KEYS_MAX {
            return Err(Error::message(format!("{keys} keys, at most {KEYS_MAX}")));
        }
        for _ in 0..keys {
            let key = cbor.str()?;
            if cbor.datatype()? == Type::Null {
                cbor.null()?;
                continue;
            }
            match key {
                "command" => raw.command = Some(cbor.str()?),
                "exercise" => raw.exercise = Some(cbor.str()?),
                "person" => raw.person = Some(cbor.u32()?),
                "label" => raw.label = Some(cbor.str()?),
                _ => cbor.skip()?,
            }
        }
        if cbor.position() < bytes.len() {
            return Err(Error::message("bytes follow the map"));
        }
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, sync_channel};

    use super::*;

    /// A request with texts.
    fn message(texts: &[(&str, &str)]) -> Vec<u8> {
        let mut cbor = Encoder::new(Vec::new());
        cbor.map(texts.len() as u64).unwrap();
        for (key, text) in texts {
            cbor.str(key).unwrap().str(text).unwrap();
        }
        cbor.into_writer()
    }

    fn why(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().1
    }

    #[test]
    fn a_request_is_read_by_its_keys() {
        let mut cbor = Encoder::new(Vec::new());
        cbor.map(5).unwrap();
        cbor.str("person").unwrap().u8(7).unwrap();
        cbor.str("command").unwrap().str("start").unwrap();
        cbor.str("exercise").unwrap().str("squat").unwrap();
        cbor.str("label").unwrap().str("Tür 3 <b>").unwrap();
        cbor.str("later").unwrap().f32(1.0).unwrap();
        let request = read(&cbor.into_writer()).unwrap();
        assert_eq!(
            request,
            Request {
                command: SessionCommand::Start,
                exercise: Some("squat".into()),
                person: Some(7),
                label: "Tür 3 <b>".into(),
            }
        );
        let mut nulls = Encoder::new(Vec::new());
        nulls.map(4).unwrap().str("command").unwrap();
        nulls.str("status").unwrap();
        for key in ["person", "label", "exercise"] {
            nulls.str(key).unwrap().null().unwrap();
        }
        let request = read(&nulls.into_writer()).unwrap();
        assert_eq!((request.person, request.exercise), (None, None));
    }

    #[test]
    fn what_is_wrong_with_a_request_is_named() {
        assert!(why(b"").starts_with("malformed"));
        assert!(why(&[0xa0]).contains("no key \"command\""));
        assert!(why(&[0xbf, 0xff]).contains("unknown length"));
        assert!(why(&[0xb8, 200]).contains("200 keys, at most 16"));
        let mut long = message(&[("command", "stop")]);
        long.push(0);
        assert!(why(&long).contains("bytes follow"));
        let said = why(&message(&[("command", &"\u{1b}x".repeat(100))]));
        assert!(
            said.contains("must be one of start, stop, status") && !said.contains('\u{1b}'),
            "{said}"
        );
        assert!(said.len() < 500, "{said}");
        let fits = "ä".repeat(32);
        assert!(read(&message(&[("command", "start"), ("label", &fits)])).is_ok());
        let said = why(&message(&[
            ("command", "start"),
            ("label", &format!("{fits}x")),
        ]));
        assert_eq!(said, "label: 65 bytes, at most 64");
        let said = why(&message(&[("command", "start"), ("label", "a\nb")]));
        assert!(said.contains("\"a\\nb\": must have no control"), "{said}");
        let longest = "ü".repeat(EXERCISE_BYTES_MAX / 2);
        assert!(read(&message(&[("command", "start"), ("exercise", &longest)])).is_ok());
        let said = why(&message(&[
            ("command", "start"),
            ("exercise", &format!("{longest}x")),
        ]));
        assert_eq!(said, "exercise: 49 bytes, must be 1 to 48");
        let negative = [
            &[0xa2][..],
            &message(&[("command", "start")])[1..],
            &[0x66],
            b"person",
            &[0x20],
        ]
        .concat();
        assert!(why(&negative).starts_with("malformed"));
    }

    #[test]
    fn a_flood_is_bounded_and_each_request_is_answered() {
        let (asks, waiting) = sync_channel(WAITING_MAX);
        let desk = SessionDesk::new(asks, Arc::new(Clock::live()));
        let (tell, told) = mpsc::channel();
        let ask = |bytes: &[u8]| {
            let tell = tell.clone();
            let answer = move |outcome: &SessionOutcome| tell.send(outcome.clone()).unwrap();
            desk.receive(bytes, Box::new(answer));
        };
        for _ in 0..WAITING_MAX + 2 {
            ask(&message(&[("command", "status")]));
        }
        for _ in 0..2 {
            let outcome = told.try_recv().unwrap();
            assert_eq!(outcome.command, Some(SessionCommand::Status));
            assert!(outcome.result.unwrap_err().contains("waiting already"));
        }
        assert!(told.try_recv().is_err());
        drop(waiting);
        ask(&message(&[("command", "status")]));
        let outcome = told.try_recv().unwrap();
        assert!(outcome.result.unwrap_err().contains("shutting down"));
        ask(b"");
        let outcome = told.try_recv().unwrap();
        let json = crate::output::json::to_json(&outcome.to_cbor()).unwrap();
        assert_eq!(json["schema"], "session/v1");
        assert_eq!(json["done"], false);
        assert_eq!(json["session"], serde_json::Value::Null);
        assert_eq!(
            desk.summary().unwrap_err(),
            "no session has ended since the daemon started"
        );
    }
}
