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

/// A second of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Year, Gregorian.
    pub year: u64,
    /// Month, 1 to 12.
    pub month: u64,
    /// Day of the month, 1 to 31.
    pub day: u64,
    /// Second of the day, 0 to 86399.
    pub second: u64,
}

impl Utc {
    /// The second so long after 1970 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    pub fn of(unix_s: u64) -> Self {
        // Days since 1 March of the year 0, in eras of 400 years.
        let days = unix_s / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = 400 * era + year + u64::from(month <= 2);
        Self {
            year,
            month,
            day,
            second: unix_s % 86_400,
        }
    }

    /// As a part of a file's name: `20261129T034207Z`.
    pub fn compact(self) -> String {
        let Self {
            year, month, day, ..
        } = self;
        let [hour, minute, second] = self.time();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// Hour, minute and second.
    const fn time(self) -> [u64; 3] {
        [self.second / 3600, self.second / 60 % 60, self.second % 60]
    }
}

/// As ISO 8601 has it: `2026-11-29T03:42:07Z`.
impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            year, month, day, ..
        } = self;
        let [hour, minute, second] = self.time();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
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
    fn dates_are_those_of_the_calendar() {
        for (unix_s, compact) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_164_800, "20240229T000000Z"),
            (1_790_005_000, "20260921T153640Z"),
            (4_102_444_799, "20991231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(Utc::of(unix_s).compact(), compact);
        }
        assert_eq!(Utc::of(1_790_005_000).to_string(), "2026-09-21T15:36:40Z");
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
