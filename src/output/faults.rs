//! Networks that fail: what is logged, and when a run of failures becomes an event.
//!
//! Told of the counters now and then, it says what to do; it reads no clock and sends nothing itself.

use std::time::Duration;

use crate::base::clock::MonoNs;
use crate::counters::{Counters, FrameFault, LiftFault};

/// Failures in a row that are an event: one may be an accident, and at the third the processor takes over where it
/// stands by for a GPU.
const RUN_MIN: u64 = 3;

/// Each kind of fault is logged once in so long, with the count: at 30 frames a second a dead engine would fill the
/// journal.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Kinds of faults, those of frames first.
const KINDS: usize = FrameFault::ALL.len() + LiftFault::ALL.len();

/// Most actions of one poll: a line for each kind, one event.
const ACTIONS_MAX: usize = KINDS + 1;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// Log this, with how often it has happened since the start.
    Log {
        /// What happened.
        text: &'static str,
        /// How often, this time included.
        count: u64,
    },
    /// Networks fail in a row.
    Failed {
        /// What happened last.
        text: &'static str,
    },
    /// They work again.
    Back {
        /// Frames that failed, or had no poses, since the run began.
        failed: u64,
    },
}

/// The faults counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    counts: [u64; KINDS],
    in_a_row: [u64; 2],
}

impl Reading {
    fn of(counters: &Counters) -> Self {
        let mut counts = [0; KINDS];
        let frames = FrameFault::ALL.map(|fault| counters.frame_faults(fault));
        let lifts = LiftFault::ALL.map(|fault| counters.lift_faults(fault));
        counts[..frames.len()].copy_from_slice(&frames);
        counts[frames.len()..].copy_from_slice(&lifts);
        Self {
            counts,
            in_a_row: counters.failed_in_a_row(),
        }
    }
}

/// Watches the counters of faults.
#[derive(Debug, Default)]
pub struct Watch {
    counts: [u64; KINDS],
    logged: [Option<MonoNs>; KINDS],
    last: &'static str,
    /// Frames of the run that was told of.
    failing: Option<u64>,
}

impl Watch {
    /// What follows from the counters at `now`.
    pub fn poll(
        &mut self,
        counters: &Counters,
        now: MonoNs,
    ) -> heapless::Vec<FaultAction, ACTIONS_MAX> {
        self.take(&Reading::of(counters), now)
    }

    /// Whether networks fail.
    pub const fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    fn take(&mut self, reading: &Reading, now: MonoNs) -> heapless::Vec<FaultAction, ACTIONS_MAX> {
        let mut actions = heapless::Vec::new();
        let mut act = |action| {
            let pushed = actions.push(action);
            debug_assert!(pushed.is_ok(), "there is room for each kind and an event");
        };
        for (kind, &count) in reading.counts.iter().enumerate() {
            let more = count != std::mem::replace(&mut self.counts[kind], count);
            let Some(text) = text(kind).filter(|_| more) else {
                continue;
            };
            self.last = text;
            if self.logged[kind].is_none_or(|last| now.since(last) >= LOG_EVERY) {
                self.logged[kind] = Some(now);
                act(FaultAction::Log { text, count });
            }
        }
        let run = reading.in_a_row.into_iter().max().unwrap_or(0);
        match self.failing {
            None if run >= RUN_MIN => {
                self.failing = Some(run);
                act(FaultAction::Failed { text: self.last });
            }
            Some(failed) if run == 0 => {
                self.failing = None;
                act(FaultAction::Back { failed });
            }
            Some(_) => self.failing = Some(run),
            None => {}
        }
        actions
    }
}

/// What a kind of fault is called in the log; `None` if it is none of the program's.
fn text(kind: usize) -> Option<&'static str> {
    match FrameFault::ALL.get(kind) {
        Some(fault) => Some(fault.text()),
        None => LiftFault::ALL[kind - FrameFault::ALL.len()].text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> MonoNs {
        MonoNs(1).plus(Duration::from_secs(seconds))
    }

    fn logged(count: u64) -> FaultAction {
        let text = FrameFault::Engine.text();
        FaultAction::Log { text, count }
    }

    #[test]
    fn a_fault_is_logged_once_a_minute_for_each_kind_and_with_its_count() {
        let counters = Counters::default();
        let mut watch = Watch::default();
        assert!(watch.poll(&counters, after(0)).is_empty());
        let fail = || {
            counters.frame_failed(FrameFault::Engine);
            counters.frame_estimated();
        };
        fail();
        assert_eq!(*watch.poll(&counters, after(1)), [logged(1)]);
        fail();
        assert!(watch.poll(&counters, after(59)).is_empty());
        // Another kind has its own minute.
        counters.lifted(&[LiftFault::NotFinite], 0);
        assert_eq!(watch.poll(&counters, after(60)).len(), 1);
        fail();
        assert_eq!(*watch.poll(&counters, after(61)), [logged(3)]);
        assert!(watch.poll(&counters, after(200)).is_empty());
        assert!(!watch.is_failing(), "no three in a row");
    }

    #[test]
    fn a_run_of_failures_is_one_event_and_its_end_another() {
        let counters = Counters::default();
        let mut watch = Watch::default();
        for _ in 1..RUN_MIN {
            counters.frame_failed(FrameFault::Engine);
        }
        assert_eq!(*watch.poll(&counters, after(0)), [logged(2)]);
        counters.frame_failed(FrameFault::Engine);
        let text = FrameFault::Engine.text();
        assert_eq!(
            *watch.poll(&counters, after(1)),
            [FaultAction::Failed { text }]
        );
        for second in 2..50 {
            counters.frame_failed(FrameFault::Engine);
            assert!(watch.poll(&counters, after(second)).is_empty());
            assert!(watch.is_failing());
        }
        counters.frame_estimated();
        assert_eq!(
            *watch.poll(&counters, after(50)),
            [FaultAction::Back { failed: 51 }]
        );
        assert!(!watch.is_failing());
    }

    #[test]
    fn a_lifter_that_fails_for_all_is_a_failure_and_people_behind_a_table_are_none() {
        let counters = Counters::default();
        let mut watch = Watch::default();
        for _ in 0..10 {
            counters.frame_estimated();
            counters.lifted(&[LiftFault::TooFewSeen; 3], 0);
        }
        assert!(watch.poll(&counters, after(0)).is_empty());
        for _ in 0..RUN_MIN {
            counters.frame_estimated();
            counters.lifted(&[LiftFault::Engine], 0);
        }
        let text = LiftFault::Engine.text().unwrap();
        assert!(
            watch
                .poll(&counters, after(1))
                .contains(&FaultAction::Failed { text })
        );
        counters.lifted(&[], 1);
        assert_eq!(
            *watch.poll(&counters, after(2)),
            [FaultAction::Back { failed: RUN_MIN }]
        );
    }
}
