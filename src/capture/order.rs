//! When a live frame was taken, and whether it may go on. Decisions only: frames' numbers and times come in as
//! values, nothing is read from a clock.
//!
//! A driver's clock is either this machine's or another one. Which of the two is decided once for each opening, by
//! the first frame: a frame is not older than the stream it belongs to. A clock of another kind is tied to the
//! machine's by the frame that arrived quickest. From then on a frame that is too old is dropped and counted. It is
//! not given a newer time: it is old because this program or the network was held up, and a pose that is said to be
//! of now but is of two seconds ago is worse than none.

use std::time::Duration;

use super::ffmpeg::stamps::StreamClock;
use crate::base::clock::MonoNs;

/// A frame older than this when it is in hand is dropped: no receiver acts on where a person was then.
pub const STAMP_AGE_MAX: Duration = Duration::from_secs(2);

/// A time this far ahead of the machine's is the machine's, badly rounded: drivers that compute times from a USB
/// device's clock are off by some milliseconds either way.
pub const STAMP_AHEAD_MAX: Duration = Duration::from_millis(50);

/// How long before its first frame is looked at a camera may have been opened: networks and session are opened
/// between the two. An older time is on another clock.
const OPENED_BEFORE_MAX: Duration = Duration::from_mins(1);

/// Frames that stay too old for this long, and do not catch up, are not late: their clock has jumped.
const JUMPED_AFTER: Duration = Duration::from_secs(3);

/// Frames catch up, or fall behind, where their age changes by more than this share of the time that passes. The age
/// of frames whose clock has jumped stays what it is.
const AGE_CHANGES: f64 = 0.1;

/// Frames that are further apart than this are no evidence of a jump: between them this program was stopped, which makes
/// frames old as well.
const APART_MAX: Duration = STAMP_AGE_MAX;

/// A larger gap in the sequence numbers is a new start of the count, not a loss.
const GAP_MAX: u32 = 1000;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, taken at this time.
    Take(MonoNs),
    /// It is dropped.
    Drop(Fault),
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not later than the frame before.
    NotLater,
    /// Older than [`STAMP_AGE_MAX`], or on a clock that jumped.
    Stale,
}

/// Keeps the order of frames: sequence numbers and times go up, and no time is newer than now.
#[derive(Debug)]
pub struct Order {
    sequence: Option<u32>,
    last: Option<MonoNs>,
    opened: MonoNs,
    relation: Relation,
    off: Option<Off>,
}

/// How the frames' clock and the machine's hang together.
#[derive(Debug)]
enum Relation {
    Undecided,
    Same,
    Other(StreamClock),
}

/// A spell of frames whose times cannot be.
#[derive(Clone, Copy, Debug)]
struct Off {
    since: MonoNs,
    age_s: f64,
    /// When the newest of these frames was in hand.
    last: MonoNs,
}

impl Order {
    /// The order of a camera that was opened by `now`.
    pub const fn new(now: MonoNs) -> Self {
        Self {
            sequence: None,
            last: None,
            opened: now,
            relation: Relation::Undecided,
            off: None,
        }
    }

    /// The camera was opened again at `now`: numbers and clock may be new, and times still go up.
    pub fn reopened(&mut self, now: MonoNs) {
        *self = Self {
            last: self.last,
            ..Self::new(now)
        };
    }

    /// Whether the frames' clock is not the machine's, so that times are estimated.
    pub const fn is_estimated(&self) -> bool {
        matches!(self.relation, Relation::Other(_))
    }

    /// How many frames were lost before the frame of this number.
    pub fn lost_before(&mut self, sequence: u32) -> u32 {
        let Some(before) = self.sequence.replace(sequence) else {
            return 0;
        };
        let gap = sequence.wrapping_sub(before).wrapping_sub(1);
        if gap < GAP_MAX { gap } else { 0 }
    }

    /// Judges a frame that is in hand at `now` and says of itself that it was taken at `stamp`.
    pub fn judge(&mut self, stamp: MonoNs, now: MonoNs) -> Verdict {
        if matches!(self.relation, Relation::Undecided) {
            let earliest = MonoNs(self.opened.0.saturating_sub(nanoseconds(OPENED_BEFORE_MAX)));
            let same = stamp >= earliest && stamp.since(now) <= STAMP_AHEAD_MAX;
            self.relation = if same {
                Relation::Same
            } else {
                Relation::Other(StreamClock::default())
            };
        }
        let mut capture = self.on_our_clock(stamp, now);
        if now.since(capture) > STAMP_AGE_MAX || capture > now {
            if !self.has_jumped(now.seconds_after(capture), now) {
                return Verdict::Drop(Fault::Stale);
            }
            self.relation = Relation::Other(StreamClock::default());
            capture = self.on_our_clock(stamp, now);
        }
        self.off = None;
        if self.last.is_some_and(|last| capture <= last) {
            return Verdict::Drop(Fault::NotLater);
        }
        self.last = Some(capture);
        Verdict::Take(capture)
    }

    fn on_our_clock(&mut self, stamp: MonoNs, now: MonoNs) -> MonoNs {
        match &mut self.relation {
            Relation::Other(clock) => clock.capture(i64::try_from(stamp.0).ok(), now),
            _ if stamp.since(now) <= STAMP_AHEAD_MAX => stamp.min(now),
            _ => stamp,
        }
    }

    /// Whether frames have been off for so long, one after the other and by the same, that their clock must have jumped.
    fn has_jumped(&mut self, age_s: f64, now: MonoNs) -> bool {
        let begins = Off {
            since: now,
            age_s,
            last: now,
        };
        let off = self.off.get_or_insert(begins);
        let apart = now.since(std::mem::replace(&mut off.last, now));
        let passed = now.since(off.since);
        let changed = (off.age_s - age_s).abs() > AGE_CHANGES * passed.as_secs_f64();
        if apart > APART_MAX || passed >= JUMPED_AFTER && age_s > 0.0 && changed {
            *off = begins;
            return false;
        }
        passed >= JUMPED_AFTER
    }
}

const fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000_000 + duration.subsec_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: MonoNs = MonoNs(10_000_000_000_000);

    fn ms(after_start: i64) -> MonoNs {
        MonoNs(START.0.saturating_add_signed(after_start * 1_000_000))
    }

    fn stale(verdict: Verdict) -> bool {
        verdict == Verdict::Drop(Fault::Stale)
    }

    #[test]
    fn a_time_of_this_machine_is_kept() {
        let mut order = Order::new(START);
        assert_eq!(order.judge(ms(10), ms(20)), Verdict::Take(ms(10)));
        assert!(!order.is_estimated());
        assert_eq!(order.judge(ms(43), ms(60)), Verdict::Take(ms(43)));
    }

    #[test]
    fn frames_that_waited_while_the_program_was_stopped_are_dropped_and_not_called_new() {
        let mut order = Order::new(START);
        for frame in 0..30 {
            order.judge(ms(33 * frame), ms(33 * frame + 5));
        }
        // Stopped for ten seconds: the driver's buffers hold what was before the eyes then.
        for frame in 30..34 {
            assert!(stale(order.judge(ms(33 * frame), ms(11_000 + frame))));
        }
        assert_eq!(
            order.judge(ms(11_050), ms(11_060)),
            Verdict::Take(ms(11_050))
        );
        assert!(!order.is_estimated());
    }

    #[test]
    fn a_driver_with_a_clock_of_its_own_is_tied_once_and_its_old_frames_are_dropped() {
        let mut order = Order::new(START);
        let own = |at: i64| MonoNs(u64::try_from(7_000_000_000 + at * 1_000_000).unwrap());
        let mut last = MonoNs(0);
        for frame in 0..100 {
            // The delay is from 5 to 25 ms.
            let now = ms(33 * frame + 5 + frame * 7 % 20);
            let Verdict::Take(capture) = order.judge(own(33 * frame), now) else {
                panic!("frame {frame}");
            };
            assert!(capture <= now && capture > last);
            if frame > 30 {
                let late = capture.seconds_after(ms(33 * frame + 5));
                assert!(late.abs() < 2e-3, "{late} s");
            }
            last = capture;
        }
        assert!(order.is_estimated());
        for frame in 100..104 {
            assert!(stale(order.judge(own(33 * frame), ms(20_000 + frame))));
        }
        let verdict = order.judge(own(20_200), ms(20_210));
        let Verdict::Take(capture) = verdict else {
            panic!("{verdict:?}");
        };
        // Tied as before, loosened over the pause so that a slow clock can be followed.
        let late = capture.seconds_after(ms(20_205));
        assert!(late.abs() < 4.9e-3, "{late} s");
    }

    #[test]
    fn a_clock_that_jumps_for_good_is_tied_again_after_three_seconds() {
        for jump_ms in [-3_600_000, 3_600_000] {
            let mut order = Order::new(START);
            assert_eq!(order.judge(ms(0), ms(5)), Verdict::Take(ms(0)));
            let mut dropped = 0;
            let back = (1..200).find(|frame| {
                let verdict = order.judge(ms(33 * frame + jump_ms), ms(33 * frame + 5));
                dropped += i64::from(stale(verdict));
                matches!(verdict, Verdict::Take(_))
            });
            assert_eq!(back, Some(dropped + 1));
            assert!((85..100).contains(&dropped), "{dropped} frames of 33 ms");
            assert!(order.is_estimated());
        }
    }

    #[test]
    fn a_backlog_that_is_worked_off_is_dropped_however_long_it_is() {
        let mut order = Order::new(START);
        order.judge(ms(0), ms(5));
        // Ten seconds behind; frames come twice as fast as they were taken.
        for frame in 1..450 {
            let taken = 33 * frame;
            let now = 10_000 + taken / 2;
            let verdict = order.judge(ms(taken), ms(now));
            assert_eq!(stale(verdict), now - taken > 2_000, "frame {frame}");
        }
    }

    #[test]
    fn a_program_that_is_stopped_again_and_again_gives_no_old_frame_a_new_time() {
        let mut order = Order::new(START);
        order.judge(ms(0), ms(5));
        let mut now = 0;
        // Each time the four buffers of the driver hold what was taken at the beginning of the pause.
        for stopped in [2_600, 4_000, 3_200, 6_400, 2_100, 9_000] {
            let begun = now;
            now += stopped;
            for frame in 0..4 {
                let (taken, now) = (begun + 33 * frame + 10, now + frame);
                assert_eq!(stale(order.judge(ms(taken), ms(now))), now - taken > 2_000);
            }
        }
        assert_eq!(
            order.judge(ms(now + 20), ms(now + 25)),
            Verdict::Take(ms(now + 20))
        );
    }

    #[test]
    fn a_program_that_is_always_late_gives_no_old_frame_a_new_time() {
        let mut order = Order::new(START);
        order.judge(ms(0), ms(5));
        // After a pause of five seconds it gets to the driver's four buffers once a second.
        for frame in 0..4 {
            let verdict = order.judge(ms(33 * frame + 33), ms(5_000 + 1_000 * frame));
            assert!(stale(verdict), "frame {frame}: {verdict:?}");
        }
    }

    #[test]
    fn a_time_a_little_ahead_is_now_and_does_not_cost_the_next_frame() {
        let mut order = Order::new(START);
        assert_eq!(order.judge(ms(6), ms(0)), Verdict::Take(ms(0)));
        assert_eq!(order.judge(ms(34), ms(33)), Verdict::Take(ms(33)));
        assert_eq!(order.judge(ms(66), ms(67)), Verdict::Take(ms(66)));
    }

    #[test]
    fn a_frame_that_is_not_later_than_the_one_before_is_dropped() {
        let mut order = Order::new(START);
        order.judge(ms(100), ms(110));
        for again in [100, 90] {
            assert_eq!(
                order.judge(ms(again), ms(120)),
                Verdict::Drop(Fault::NotLater)
            );
        }
        order.reopened(ms(130));
        assert_eq!(
            order.judge(ms(95), ms(140)),
            Verdict::Drop(Fault::NotLater),
            "times go up over openings"
        );
    }

    #[test]
    fn a_gap_in_the_numbers_is_a_loss_and_a_new_count_is_none() {
        let mut order = Order::new(START);
        let lost: Vec<u32> = [5, 6, 9, 9, 0, u32::MAX, 1]
            .into_iter()
            .map(|number| order.lost_before(number))
            .collect();
        assert_eq!(lost, [0, 0, 2, 0, 0, 0, 1]);
    }

    #[test]
    fn whatever_the_times_they_go_up_and_none_is_newer_than_now() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..200 {
            let mut order = Order::new(START);
            let (mut now, mut last) = (START, MonoNs(0));
            let mut base = START.0;
            for _ in 0..300 {
                now = now.plus(Duration::from_millis(rng.u64(0..100)));
                if rng.u32(0..40) == 0 {
                    base = rng.u64(..);
                    now = now.plus(Duration::from_secs(rng.u64(0..20)));
                }
                base = base.saturating_add(rng.u64(0..60_000_000));
                if rng.u32(0..60) == 0 {
                    order.reopened(now);
                }
                if let Verdict::Take(capture) = order.judge(MonoNs(base), now) {
                    assert!(capture > last && capture <= now);
                    assert!(now.since(capture) <= STAMP_AGE_MAX);
                    last = capture;
                }
            }
        }
    }
}
