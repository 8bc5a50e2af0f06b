//! Two daemons under one name: both would publish under the same keys, and readers would get two rows of poses mixed.
//!
//! Each session holds a token `<key>/instance/<session>`; another one under the same key is another daemon.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::base::clock::MonoNs;

/// Sessions of others that are remembered by name; more say nothing more.
const OTHERS_MAX: usize = 8;

/// Only after so long without another daemon is the name called free, so that one that is started again and again is
/// one event.
const QUIET: Duration = Duration::from_mins(1);

/// Sessions of others under our name, as Zenoh tells of them.
#[derive(Debug, Default)]
pub struct Others(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    present: heapless::Vec<String, OTHERS_MAX>,
    /// The newest that came since it was last asked for.
    came: Option<String>,
}

impl Others {
    /// A session came. On a thread of Zenoh's.
    pub fn came(&self, session: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.present.iter().any(|other| other == session) {
            // Where there is no room, there are others enough.
            let _ = known.present.push(session.to_owned());
        }
        known.came = Some(session.to_owned());
    }

    /// A session left. On a thread of Zenoh's.
    pub fn left(&self, session: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.present.retain(|other| other != session);
    }

    /// The newest that came since the last call, and whether any is there.
    pub fn poll(&self) -> (Option<String>, bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.came.take(), !known.present.is_empty())
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameAction {
    /// Another daemon has our name.
    Taken {
        /// Its session.
        session: String,
    },
    /// None has it any more.
    Free,
}

/// Decides when to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// When another daemon was there last, since it was told of.
    told: Option<MonoNs>,
}

impl Watch {
    /// Takes which session came, and whether any is there at `now`.
    pub fn take(&mut self, came: Option<String>, present: bool, now: MonoNs) -> Option<NameAction> {
        let Some(last) = self.told else {
            let session = came?;
            self.told = Some(now);
            return Some(NameAction::Taken { session });
        };
        if present || came.is_some() {
            self.told = Some(now);
        } else if now.since(last) >= QUIET {
            self.told = None;
            return Some(NameAction::Free);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_started_again_and_again_is_told_of_once_and_so_is_its_end() {
        let (others, mut watch) = (Others::default(), Watch::default());
        let mut poll = |others: &Others, seconds| {
            let (came, present) = others.poll();
            watch.take(came, present, MonoNs(1).plus(Duration::from_secs(seconds)))
        };
        assert_eq!(poll(&others, 0), None);
        let session = String::from("a1");
        // It came and left between two polls.
        others.came("a1");
        others.left("a1");
        assert_eq!(poll(&others, 1), Some(NameAction::Taken { session }));
        for second in (2..100).step_by(3) {
            others.came("b2");
            assert_eq!(poll(&others, second), None);
            others.left("b2");
            assert_eq!(poll(&others, second + 1), None);
        }
        assert_eq!(poll(&others, 150), None);
        assert_eq!(poll(&others, 170), Some(NameAction::Free));
        assert_eq!(poll(&others, 171), None);
        // One that stays is there all the time, though nothing is heard of it.
        others.came("c3");
        assert!(poll(&others, 200).is_some());
        assert_eq!(poll(&others, 900), None);
        others.left("c3");
        assert_eq!(poll(&others, 901), None);
        assert_eq!(poll(&others, 960), Some(NameAction::Free));
    }

    #[test]
    fn however_many_there_are_the_memory_is_bounded() {
        let others = Others::default();
        for number in 0..1000 {
            others.came(&number.to_string());
        }
        assert_eq!(others.poll(), (Some("999".into()), true));
        for number in 0..1000 {
            others.left(&number.to_string());
        }
        assert_eq!(others.poll(), (None, false));
    }
}
