//! What stands in for Zenoh: reads every message as a peer does, and loses its session now and then.

use std::cell::RefCell;
use std::sync::Arc;

use fastrand::Rng;
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::MESSAGE_BYTES_MAX;
use poised::output::upkeep::{Action, Event, Upkeep};
use poised::output::{Others, SessionError, Transport, json, read};

use super::ledger::Shared;
use super::plan::{Plan, chance, spell};

/// The session.
struct Session {
    rng: Rng,
    upkeep: Upkeep,
    is_open: bool,
    opened_at: Option<MonoNs>,
}

/// Takes messages.
pub struct Air {
    plan: Plan,
    ledger: Shared,
    clock: Arc<Clock>,
    session: RefCell<Session>,
    others: Others,
}

impl Air {
    pub fn new(plan: &Plan, ledger: Shared, clock: &Arc<Clock>) -> Self {
        let mut rng = plan.rng(5);
        let is_open = !chance(&mut rng, plan.rates.session);
        Self {
            plan: plan.clone(),
            ledger,
            clock: Arc::clone(clock),
            session: RefCell::new(Session {
                rng,
                upkeep: Upkeep::new(clock.now()),
                is_open,
                opened_at: None,
            }),
            others: Others::default(),
        }
    }

    fn take(&self, bytes: &[u8]) -> Result<(), SessionError> {
        if !self.session.borrow().is_open {
            return Err(SessionError::NoSession);
        }
        let length = bytes.len();
        self.ledger.lock().check(length <= MESSAGE_BYTES_MAX, || {
            format!("a message of {length} bytes")
        });
        Ok(())
    }
}

impl Transport for Air {
    fn put_pose(&self, bytes: &[u8]) -> Result<(), SessionError> {
        self.take(bytes)?;
        let mut ledger = self.ledger.lock();
        match read::decode(bytes) {
            Ok(message) => ledger.published(&message, self.clock.now()),
            Err(error) => ledger.wrong(|| format!("a message that cannot be read: {error}")),
        }
        Ok(())
    }

    fn put_event(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        self.take(&bytes)?;
        let mut ledger = self.ledger.lock();
        match json::to_json(&bytes) {
            Ok(event) => ledger.note(self.clock.now(), || format!("publish: {}", event["event"])),
            Err(error) => ledger.wrong(|| format!("an event that cannot be read: {error}")),
        }
        Ok(())
    }

    fn put_health(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        self.take(&bytes)
    }

    fn put_adaptation(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        self.take(&bytes)
    }

    fn put_repetition(&self, bytes: Vec<u8>) -> Result<(), SessionError> {
        self.take(&bytes)
    }

    fn poll(&mut self, now: MonoNs) {
        let session = self.session.get_mut();
        if session.is_open {
            if chance(&mut session.rng, self.plan.rates.session) {
                session.is_open = false;
                self.ledger
                    .lock()
                    .note(now, || "the session is gone".into());
            }
            return;
        }
        match session.opened_at {
            None => {
                if session.upkeep.on(Event::Closed, now) == Action::Open {
                    session.opened_at = Some(now.plus(spell(&mut session.rng, 3_000)));
                }
            }
            Some(at) if now >= at => {
                session.opened_at = None;
                session.is_open = session.rng.bool();
                let event = if session.is_open {
                    Event::Opened
                } else {
                    Event::Failed { name_taken: false }
                };
                session.upkeep.on(event, now);
                self.ledger
                    .lock()
                    .note(now, || format!("the session: {event:?}"));
            }
            Some(_) => {}
        }
    }

    fn peers(&self) -> usize {
        usize::from(self.session.borrow().is_open)
    }

    fn others(&self) -> &Others {
        &self.others
    }

    fn set_calibration(&self, _: &str) {}

    fn close(self) {
        self.ledger.lock().closed = true;
    }
}
