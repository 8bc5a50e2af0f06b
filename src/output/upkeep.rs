//! When a Zenoh session is opened again, and what is logged about it. Decisions only: opening is the outlet's.

use std::time::Duration;

use crate::base::clock::MonoNs;

/// How long between two tries to open a session.
pub const RETRY: Duration = Duration::from_secs(5);

/// What was found when the session was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is none, and none is being opened.
    Closed,
    /// One was opened.
    Opened,
    /// Opening one failed.
    Failed {
        /// Because another daemon has our name.
        name_taken: bool,
    },
    /// So many sessions are connected with ours.
    Connected(usize),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Begin to open a session.
    Open,
    /// Log why opening failed.
    Log,
    /// Say that our name is taken: nothing is published until it is free.
    LogTaken,
    /// Say that no session is connected any more.
    LogAlone,
    /// Say that sessions are connected again.
    LogConnected,
}

/// Decides.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    next_try: MonoNs,
    /// Whether it was said that the name is taken.
    said_taken: bool,
    connected: bool,
}

impl Upkeep {
    /// Of a session that was tried to be opened at `now`.
    pub const fn new(now: MonoNs) -> Self {
        Self {
            next_try: now.plus(RETRY),
            said_taken: false,
            connected: false,
        }
    }

    /// What follows from `event` at `now`.
    pub fn on(&mut self, event: Event, now: MonoNs) -> Action {
        match event {
            Event::Closed if now >= self.next_try => Action::Open,
            Event::Closed => Action::Nothing,
            Event::Opened => {
                self.next_try = now.plus(RETRY);
                Action::Nothing
            }
            Event::Failed { name_taken } => {
                self.next_try = now.plus(RETRY);
                if name_taken && !std::mem::replace(&mut self.said_taken, true) {
                    Action::LogTaken
                } else {
                    Action::Log
                }
            }
            Event::Connected(peers) => {
                let before = std::mem::replace(&mut self.connected, peers > 0);
                match (before, self.connected) {
                    (true, false) => Action::LogAlone,
                    (false, true) => Action::LogConnected,
                    _ => Action::Nothing,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> MonoNs {
        MonoNs(1).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_session_is_tried_again_every_five_seconds_after_the_last_try_has_failed() {
        let mut upkeep = Upkeep::new(after(0));
        assert_eq!(upkeep.on(Event::Closed, after(4)), Action::Nothing);
        assert_eq!(upkeep.on(Event::Closed, after(5)), Action::Open);
        // A router that does not answer takes its time.
        let failed = Event::Failed { name_taken: false };
        assert_eq!(upkeep.on(failed, after(20)), Action::Log);
        assert_eq!(upkeep.on(Event::Closed, after(24)), Action::Nothing);
        assert_eq!(upkeep.on(Event::Closed, after(25)), Action::Open);
        assert_eq!(upkeep.on(Event::Opened, after(26)), Action::Nothing);
        assert_eq!(upkeep.on(Event::Closed, after(30)), Action::Nothing);
        assert_eq!(upkeep.on(Event::Closed, after(31)), Action::Open);
    }

    #[test]
    fn that_the_name_is_taken_is_said_aloud_once() {
        let mut upkeep = Upkeep::new(after(0));
        let taken = Event::Failed { name_taken: true };
        assert_eq!(upkeep.on(taken, after(1)), Action::LogTaken);
        assert_eq!(upkeep.on(taken, after(7)), Action::Log);
    }

    #[test]
    fn who_is_connected_is_said_when_the_first_comes_and_when_the_last_goes() {
        let mut upkeep = Upkeep::new(after(0));
        let said = [0, 2, 3, 1, 0, 0, 1]
            .map(|peers| upkeep.on(Event::Connected(peers), after(1)))
            .map(|action| match action {
                Action::LogConnected => '+',
                Action::LogAlone => '-',
                _ => ' ',
            });
        assert_eq!(String::from_iter(said), " +  - +");
    }
}
