//! `/control`: what a peer may ask of adaptation (off by default), a CBOR map `{"command": text}`.
//!
//! Commands queue and are done in the order they came. A peer that asks (a query) is answered once its command is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use heapless::Deque;
use minicbor::{Decoder, Encoder};

use super::Command;
use crate::base::clock::{Clock, Seldom};

/// Value of `schema` in an answer.
pub const CONTROL_SCHEMA: &str = "control/v1";

/// Commands that may wait: an operator's script sends a few in a row.
const WAITING_MAX: usize = 8;

/// Refused commands are logged once in so long, with their number.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Keys looked through in a message.
const KEYS_MAX: u64 = 16;

impl Command {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Freeze,
        Self::Thaw,
        Self::Reset,
        Self::Snapshot,
        Self::RollBack,
    ];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Reset => "reset",
            Self::Snapshot => "snapshot",
            Self::RollBack => "roll_back",
        }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The command, where it is one.
    pub command: Option<Command>,
    /// Details, or why it was not done.
    pub result: Result<Option<&'static str>, String>,
}

impl Outcome {
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
            Ok(note) => *note,
            Err(why) => Some(why.as_str()),
        };
        cbor.map(4)?.str("schema")?.str(CONTROL_SCHEMA)?;
        cbor.str("command")?
            .encode(self.command.map(Command::name))?;
        cbor.str("done")?.bool(self.result.is_ok())?;
        cbor.str("detail")?.encode(detail)?;
        Ok(())
    }
}

/// How a peer that asked is told.
pub type Answer = Box<dyn FnOnce(&Outcome) + Send>;

/// A command that waits to be done.
pub struct Order {
    /// What is to be done.
    pub command: Command,
    answer: Option<Answer>,
}

impl Order {
    /// Tells the peer what became of it, where one asked.
    pub fn answer(self, result: Result<Option<&'static str>, String>) {
        if let Some(answer) = self.answer {
            answer(&Outcome {
                command: Some(self.command),
                result,
            });
        }
    }
}

/// Where commands arrive.
pub struct Control {
    waiting: Mutex<Deque<Order, WAITING_MAX>>,
    refused: AtomicU64,
    log: Seldom,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            refused: AtomicU64::new(0),
            log: Seldom::new(LOG_EVERY),
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Takes what a peer sent, and tells `answer` what becomes of it. On a thread of Zenoh's.
    pub fn receive(&self, bytes: &[u8], answer: Option<Answer>) {
        let command = match read(bytes) {
            Ok(command) => command,
            Err(why) => return self.refuse(None, answer, why),
        };
        // The lock covers moves, which cannot leave half a command behind.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let again = waiting.back().is_some_and(|last| last.command == command);
        if again && answer.is_none() {
            // Done twice in a row it would change nothing more.
            return;
        }
        if let Err(order) = waiting.push_back(Order { command, answer }) {
            drop(waiting);
            let why = format!("{WAITING_MAX} commands are waiting already: send it again later");
            self.refuse(Some(command), order.answer, why);
        }
    }

    /// The oldest command that waits. Never waits itself.
    pub fn take(&self) -> Option<Order> {
        match self.waiting.try_lock() {
            Ok(mut waiting) => waiting.pop_front(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().pop_front(),
            // A peer is just leaving one: the next poll takes it.
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuse(&self, command: Option<Command>, answer: Option<Answer>, why: String) {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if self.log.lets_through(Clock::live().now()) {
            log::warn!("a command was refused ({refused} so far): {why}");
        }
        if let Some(answer) = answer {
            let result = Err(why);
            answer(&Outcome { command, result });
        }
    }
}

/// Reads a message; what is wrong with it, in words.
fn read(bytes: &[u8]) -> Result<Command, String> {
    let malformed = |error: minicbor::decode::Error| format!("malformed: {error}");
    let mut cbor = Decoder::new(bytes);
    let keys = cbor
        .map()
        .map_err(malformed)?
        .ok_or("malformed: a map without length")?;
    if keys > KEYS_MAX {
        return Err(format!("malformed: {keys} keys, at most {KEYS_MAX}"));
    }
    let mut command = None;
    for _ in 0..keys {
        if cbor.str().map_err(malformed)? == "command" {
            let word = cbor.str().map_err(malformed)?;
            let known = Command::ALL.into_iter().find(|known| known.name() == word);
            command = Some(known.ok_or_else(|| {
                let words: Vec<&str> = Command::ALL.iter().map(|known| known.name()).collect();
                let word: String = word.chars().take(32).collect();
                format!("command = {word:?}: must be one of {}", words.join(", "))
            })?);
        } else {
            cbor.skip().map_err(malformed)?;
        }
    }
    command.ok_or_else(|| "malformed: no key \"command\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::Encoder;

    fn message(key: &str, word: &str) -> Vec<u8> {
        let mut cbor = Encoder::new(Vec::new());
        cbor.map(2).unwrap().str("other").unwrap().u8(1).unwrap();
        cbor.str(key).unwrap().str(word).unwrap();
        cbor.into_writer()
    }

    fn taken(control: &Control) -> Option<Command> {
        control.take().map(|order| order.command)
    }

    #[test]
    fn every_command_is_read_by_its_word_and_all_of_them_wait_their_turn() {
        let control = Control::default();
        for command in Command::ALL {
            control.receive(&message("command", command.name()), None);
        }
        for command in Command::ALL {
            assert_eq!(taken(&control), Some(command));
        }
        assert_eq!(taken(&control), None);
    }

    #[test]
    fn what_is_none_is_counted_and_changes_nothing() {
        let control = Control::default();
        let wrong: [&[u8]; 4] = [
            b"",
            b"\xff",
            &message("command", "explode"),
            &message("verb", "freeze"),
        ];
        for bytes in wrong {
            control.receive(bytes, None);
        }
        assert_eq!((taken(&control), control.refused()), (None, 4));
        let said = read(&message("command", "explode")).unwrap_err();
        assert!(
            said.contains("\"explode\": must be one of freeze, thaw"),
            "{said}"
        );
    }

    #[test]
    fn a_flood_is_bounded_and_counted_and_the_same_again_takes_no_room() {
        let control = Control::default();
        for _ in 0..1000 {
            control.receive(&message("command", "snapshot"), None);
        }
        assert_eq!(control.refused(), 0);
        assert_eq!(
            (taken(&control), taken(&control)),
            (Some(Command::Snapshot), None)
        );
        for _ in 0..WAITING_MAX {
            control.receive(&message("command", "freeze"), None);
            control.receive(&message("command", "thaw"), None);
        }
        // Once it is full each `freeze` is refused; the `thaw` behind it is the one that waits last already.
        assert_eq!(control.refused(), WAITING_MAX as u64 / 2);
        let waiting = std::iter::from_fn(|| taken(&control)).count();
        assert_eq!(waiting, WAITING_MAX);
    }

    #[test]
    fn a_peer_that_asks_is_answered_whatever_becomes_of_its_command() {
        let control = Control::default();
        let (tell, told) = std::sync::mpsc::channel();
        let ask = |word: &str| {
            let tell = tell.clone();
            let answer = Box::new(move |outcome: &Outcome| tell.send(outcome.clone()).unwrap());
            control.receive(&message("command", word), Some(answer));
        };
        ask("explode");
        assert!(told.recv().unwrap().result.unwrap_err().contains("explode"));
        ask("roll_back");
        assert!(told.try_recv().is_err(), "not before it is done");
        control.take().unwrap().answer(Err("no".into()));
        let outcome = told.recv().unwrap();
        assert_eq!(outcome.command, Some(Command::RollBack));
        let json = crate::output::json::to_json(&outcome.to_cbor()).unwrap();
        let want = serde_json::json!({
            "schema": "control/v1", "command": "roll_back", "done": false, "detail": "no"
        });
        assert_eq!(json, want);
        // Each that asks is answered, though it asks the same.
        for _ in 0..WAITING_MAX {
            ask("freeze");
        }
        ask("freeze");
        assert!(
            told.recv()
                .unwrap()
                .result
                .unwrap_err()
                .contains("waiting already")
        );
        while let Some(order) = control.take() {
            order.answer(Ok(None));
            assert_eq!(told.recv().unwrap().result, Ok(None));
        }
    }
}
