//! `/control`: what a peer may ask of adaptation (off by default), a CBOR map `{"command": text}`.

use std::sync::atomic::{AtomicU64, Ordering};

use minicbor::Decoder;

use super::Command;
use crate::pipeline::mailbox::{Mailbox, Put};

/// Of commands that are refused, one in so many is logged.
const LOG_EVERY: u64 = 100;

/// Tries to leave a command while the other side is just taking one.
const TRIES: u32 = 10;

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

/// Where commands arrive; the newest waits.
#[derive(Debug, Default)]
pub struct Control {
    newest: Mailbox<Command>,
    refused: AtomicU64,
}

impl Control {
    /// Takes what a peer sent. On a thread of Zenoh's.
    pub fn receive(&self, bytes: &[u8]) {
        match read(bytes) {
            Ok(command) => {
                let mut command = command;
                for _ in 0..TRIES {
                    match self.newest.put(command) {
                        Put::Busy(again) => command = again,
                        Put::Stored | Put::Replaced(_) => return,
                    }
                }
            }
            Err(error) => {
                let refused = self.refused.fetch_add(1, Ordering::Relaxed);
                if refused.is_multiple_of(LOG_EVERY) {
                    log::warn!("a command was refused ({} so far): {error}", refused + 1);
                }
            }
        }
    }

    /// The newest command since the last call. Never waits.
    pub fn take(&self) -> Option<Command> {
        self.newest.take()
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
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

    #[test]
    fn every_command_is_read_by_its_word() {
        for command in Command::ALL {
            let control = Control::default();
            control.receive(&message("command", command.name()));
            assert_eq!(control.take(), Some(command));
            assert_eq!(control.take(), None);
        }
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
            control.receive(bytes);
        }
        assert_eq!((control.take(), control.refused()), (None, 4));
        let said = read(&message("command", "explode")).unwrap_err();
        assert!(
            said.contains("\"explode\": must be one of freeze, thaw"),
            "{said}"
        );
    }
}
