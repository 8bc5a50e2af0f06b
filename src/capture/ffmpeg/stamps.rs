//! Times of a live stream on the machine's clock.
//!
//! A stream's times run evenly but have a zero of their own; arrival times
//! have the right zero but jitter. The frame that was quickest on its way ties the
//! two: no frame can arrive before it was taken. What stays in is the delay of
//! that quickest frame, which nobody on this side can know.

use crate::clock::MonoNs;

/// The tie is loosened by this share of the time that passes, so that it can
/// follow a camera whose clock runs slow. Cameras stay within 100 parts in a million.
const DRIFT_PER_MILLION: i64 = 200;

/// A jump of the stream's time against the machine's by more than this is a new
/// start of the stream, in nanoseconds.
const RESTART_NS: i64 = 5_000_000_000;

/// Ties a stream's times to the machine's clock.
#[derive(Debug, Default)]
pub(super) struct StreamClock {
    tie: Option<Tie>,
}

#[derive(Debug)]
struct Tie {
    /// Machine time less stream time of the quickest frame, in nanoseconds.
    offset_ns: i64,
    /// When it was last looked at.
    at: MonoNs,
}

impl StreamClock {
    /// When the frame that arrived at `now` was taken; never later than `now`.
    pub(super) fn capture(&mut self, stream_ns: Option<i64>, now: MonoNs) -> MonoNs {
        let (Some(stream_ns), Ok(now_ns)) = (stream_ns, i64::try_from(now.0)) else {
            return now;
        };
        let offset_ns = now_ns.saturating_sub(stream_ns);
        let offset_ns = match &self.tie {
            Some(tie) if offset_ns.abs_diff(tie.offset_ns) < RESTART_NS.unsigned_abs() => {
                let passed = i64::try_from(now.since(tie.at).as_nanos()).unwrap_or(0);
                let loosened = tie.offset_ns + passed / 1_000_000 * DRIFT_PER_MILLION;
                offset_ns.min(loosened)
            }
            _ => offset_ns,
        };
        self.tie = Some(Tie { offset_ns, at: now });
        MonoNs(u64::try_from(stream_ns.saturating_add(offset_ns)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 33_333_333;

    /// Feeds frames taken every period, whose way takes what `delay` says;
    /// returns the spread of the error in milliseconds over the last 100.
    fn spread_ms(camera_rate: f64, delay: impl Fn(i64) -> i64) -> f64 {
        let mut clock = StreamClock::default();
        let mut errors = Vec::new();
        for frame in 0..1000 {
            let taken = 7_000_000_000 + frame * PERIOD;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "test"
            )]
            let stream = ((frame * PERIOD) as f64 * camera_rate) as i64;
            let now = MonoNs(u64::try_from(taken + delay(frame)).unwrap());
            let capture = clock.capture(Some(stream), now);
            assert!(capture <= now);
            if frame >= 900 {
                errors.push(capture.seconds_after(MonoNs(u64::try_from(taken).unwrap())) * 1e3);
            }
        }
        errors.iter().copied().fold(f64::MIN, f64::max)
            - errors.iter().copied().fold(f64::MAX, f64::min)
    }

    #[test]
    fn jitter_on_the_way_is_taken_out() {
        let mut rng = fastrand::Rng::with_seed(3);
        let delays: Vec<i64> = (0..1000).map(|_| rng.i64(10_000_000..60_000_000)).collect();
        let spread = spread_ms(1.0, |frame| delays[usize::try_from(frame).unwrap()]);
        assert!(spread < 3.0, "{spread} ms of 50 ms are left");
    }

    #[test]
    fn a_camera_clock_that_drifts_is_followed() {
        for rate in [0.9999, 1.0001] {
            let spread = spread_ms(rate, |_| 20_000_000);
            assert!(spread < 1.0, "{spread} ms at {rate}");
        }
    }

    #[test]
    fn a_stream_that_starts_anew_is_tied_anew() {
        let mut clock = StreamClock::default();
        let _ = clock.capture(Some(500_000_000_000), MonoNs(10_000_000_000));
        let now = MonoNs(11_000_000_000);
        assert_eq!(clock.capture(Some(0), now), now);
    }

    #[test]
    fn a_frame_without_a_time_has_that_of_its_arrival() {
        let mut clock = StreamClock::default();
        assert_eq!(clock.capture(None, MonoNs(5)), MonoNs(5));
    }
}
