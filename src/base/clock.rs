//! Time as a value: [`MonoNs`] on the monotonic clock, and the one place that reads clocks.
//!
//! Stages take a time and never ask for one. The threads ask a [`Clock`]; a
//! replay sets it from the recording, so the same clip gives the same bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds on the monotonic clock (`CLOCK_MONOTONIC` of the machine for live cameras).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoNs(pub u64);

impl MonoNs {
    /// Time since `earlier`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds from `earlier` to `self`; negative if `earlier` is later.
    #[expect(
        clippy::cast_precision_loss,
        reason = "differences are seconds, far below 2^53 ns"
    )]
    pub fn seconds_after(self, earlier: Self) -> f64 {
        if self.0 >= earlier.0 {
            (self.0 - earlier.0) as f64 * 1e-9
        } else {
            -((earlier.0 - self.0) as f64 * 1e-9)
        }
    }

    /// This time plus a duration.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "584 years fit")]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_nanos() as u64))
    }
}

/// Where threads take the time from.
#[derive(Debug)]
pub enum Clock {
    /// The machine's monotonic clock.
    Live,
    /// A clock that stands until it is set; for replay and tests.
    Set(AtomicU64),
}

impl Clock {
    /// The machine's clock. Its zero is that of `CLOCK_MONOTONIC`, so driver
    /// timestamps can be compared with it.
    pub const fn live() -> Self {
        Self::Live
    }

    /// A clock that stands at `now` until [`Clock::set`].
    pub const fn standing(now: MonoNs) -> Self {
        Self::Set(AtomicU64::new(now.0))
    }

    /// The time now.
    pub fn now(&self) -> MonoNs {
        match self {
            Self::Live => MonoNs(crate::sys::rt::monotonic_ns()),
            Self::Set(ns) => MonoNs(ns.load(Ordering::Acquire)),
        }
    }

    /// Moves a standing clock; a live clock stays as it is.
    pub fn set(&self, now: MonoNs) {
        if let Self::Set(ns) = self {
            ns.store(now.0, Ordering::Release);
        }
    }
}

/// Lets something through once in a while, so that what strangers send cannot fill a log.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    /// When it lets through next.
    next_ns: AtomicU64,
}

impl Seldom {
    /// Lets through at once, and then at most once in `every`.
    pub const fn new(every: Duration) -> Self {
        Self {
            every,
            next_ns: AtomicU64::new(0),
        }
    }

    /// Whether it lets through at `now`.
    pub fn lets_through(&self, now: MonoNs) -> bool {
        let next = now.plus(self.every).0;
        let due = |due_ns| (now.0 >= due_ns).then_some(next);
        let updated = self
            .next_ns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, due);
        updated.is_ok()
    }
}

/// Wall time in nanoseconds since 1970 (UTC); zero before that.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
#[expect(clippy::cast_possible_truncation, reason = "good until the year 2554")]
pub fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_steps_back_is_zero_long() {
        assert_eq!(MonoNs(5).since(MonoNs(9)), Duration::ZERO);
        assert!((MonoNs(5).seconds_after(MonoNs(9)) + 4e-9).abs() < 1e-18);
    }

    #[test]
    fn a_standing_clock_moves_only_when_set() {
        let clock = Clock::standing(MonoNs(7));
        assert_eq!(clock.now(), MonoNs(7));
        clock.set(MonoNs(11));
        assert_eq!(clock.now(), MonoNs(11));
    }

    #[test]
    fn what_is_let_through_is_bounded_by_time_and_not_by_how_much_comes() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let at = |ms| MonoNs(1).plus(Duration::from_millis(ms));
        let through = (0..100_000)
            .filter(|ms| seldom.lets_through(at(*ms)))
            .count();
        assert_eq!(through, 10);
    }

    #[test]
    fn live_clocks_agree_with_each_other_and_with_the_kernel() {
        let (one, other) = (Clock::live(), Clock::live());
        let before = crate::sys::rt::monotonic_ns();
        let (first, second) = (one.now(), other.now());
        assert!(before <= first.0 && first <= second);
    }
}
