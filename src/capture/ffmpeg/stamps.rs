//! Times of videos and of live streams.
//!
//! A video's first frame is at zero, and its times go on where a video that was put together of several starts again.
//!
//! A stream's times run evenly but have a zero of their own; arrival times
//! have the right zero but jitter. The frame that was with the least delay ties the
//! two: no frame can arrive before it was taken. What stays in is the delay of
//! that quickest frame, which this side cannot know.

use std::time::Duration;

use crate::base::clock::MonoNs;

/// The tie is loosened by this share of the time that passes, so that it can
/// follow a camera whose clock runs slow. Cameras stay within 100 parts in a million.
const DRIFT_PER_MILLION: i64 = 200;

/// A stream's time that goes back by more than this has started again, in nanoseconds.
const BACK_NS: i64 = 1_000_000_000;

/// A frame that would lie this far in the future comes from a stream that has jumped, in nanoseconds.
const AHEAD_NS: i64 = 5_000_000_000;

/// Ties a stream's times to the machine's clock.
#[derive(Debug, Default)]
pub(in crate::capture) struct StreamClock {
    tie: Option<Tie>,
}

#[derive(Debug)]
struct Tie {
    /// Machine time less stream time of the quickest frame, in nanoseconds.
    offset_ns: i64,
    /// The last frame's time in the stream.
    stream_ns: i64,
    /// When that frame arrived.
    at: MonoNs,
}

impl Tie {
    /// Whether the stream has started again or jumped. That frames come late is neither: their times then go on
    /// from where they were.
    const fn is_broken_by(&self, stream_ns: i64, now_ns: i64) -> bool {
        let step_ns = stream_ns.saturating_sub(self.stream_ns);
        let capture_ns = stream_ns.saturating_add(self.offset_ns);
        step_ns < -BACK_NS || capture_ns.saturating_sub(now_ns) > AHEAD_NS
    }
}

impl StreamClock {
    /// When the frame that arrived at `now` was taken; never later than `now`.
    pub(in crate::capture) fn capture(&mut self, stream_ns: Option<i64>, now: MonoNs) -> MonoNs {
        let (Some(stream_ns), Ok(now_ns)) = (stream_ns, i64::try_from(now.0)) else {
            return now;
        };
        let mut offset_ns = now_ns.saturating_sub(stream_ns);
        if let Some(tie) = &self.tie {
            let passed_ns = i64::try_from(now.since(tie.at).as_nanos()).unwrap_or(0);
            if !tie.is_broken_by(stream_ns, now_ns) {
                let loosened = tie
                    .offset_ns
                    .saturating_add(passed_ns / 1_000_000 * DRIFT_PER_MILLION);
                offset_ns = offset_ns.min(loosened);
            }
        }
        self.tie = Some(Tie {
            offset_ns,
            stream_ns,
            at: now,
        });
        MonoNs(u64::try_from(stream_ns.saturating_add(offset_ns)).unwrap_or(0))
    }
}

/// Times of a video.
#[derive(Debug, Default)]
pub(super) struct RecordingClock {
    /// Presentation time that counts as zero.
    zero_ns: Option<i64>,
    /// Presentation time of the last frame.
    stream_ns: i64,
    last: Option<MonoNs>,
}

impl RecordingClock {
    /// When the next frame was taken, after the first.
    pub(super) fn capture(&mut self, time_ns: Option<i64>, rate_hz: f32) -> MonoNs {
        let period = Duration::from_secs_f64(1.0 / f64::from(rate_hz.max(1.0)));
        // A frame without a time gets that of the one before plus a period.
        let next = self.last.map_or(MonoNs(0), |last| last.plus(period));
        let capture = match (time_ns, self.zero_ns) {
            (None, _) => next,
            (Some(time_ns), Some(zero_ns))
                if time_ns.saturating_sub(self.stream_ns) >= -BACK_NS =>
            {
                self.stream_ns = time_ns;
                let since = time_ns.saturating_sub(zero_ns);
                u64::try_from(since).map_or(MonoNs(0), MonoNs)
            }
            // The first frame, or the first of another film behind it.
            (Some(time_ns), _) => {
                let next_ns = i64::try_from(next.0).unwrap_or(i64::MAX);
                self.zero_ns = Some(time_ns.saturating_sub(next_ns));
                self.stream_ns = time_ns;
                next
            }
        };
        // Two frames of one time are two frames: one whose time does not go on would read as a room without people.
        // Half a period, so that the next frame is in its place again.
        let capture = match self.last {
            Some(last) if capture <= last => last.plus(period / 2),
            _ => capture,
        };
        self.last = Some(capture);
        capture
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
    fn a_stream_that_starts_again_is_tied_again() {
        let mut clock = StreamClock::default();
        let _ = clock.capture(Some(500_000_000_000), MonoNs(10_000_000_000));
        let now = MonoNs(11_000_000_000);
        assert_eq!(clock.capture(Some(0), now), now);
    }

    #[test]
    fn a_frame_that_comes_ten_seconds_late_is_ten_seconds_old() {
        let mut clock = StreamClock::default();
        let first = clock.capture(Some(0), MonoNs(10_000_000_000));
        let late = clock.capture(Some(PERIOD), MonoNs(20_000_000_000));
        let step = late.seconds_after(first);
        assert!((step - 0.033).abs() < 3e-3, "{step} s");
    }

    fn film(times_ms: &[Option<i64>]) -> Vec<u64> {
        let mut clock = RecordingClock::default();
        times_ms
            .iter()
            .map(|time| clock.capture(time.map(|ms| ms * 1_000_000), 25.0).0 / 1_000_000)
            .collect()
    }

    #[test]
    fn a_film_starts_at_zero_and_a_frame_without_a_time_is_a_period_later() {
        assert_eq!(
            film(&[Some(1_400), Some(1_440), None, Some(6_520)]),
            [0, 40, 80, 5_120]
        );
        assert_eq!(film(&[Some(-40), Some(0)]), [0, 40]);
    }

    #[test]
    fn a_film_whose_times_start_again_goes_on() {
        assert_eq!(
            film(&[
                Some(90_000),
                Some(90_040),
                Some(1_400),
                Some(1_440),
                Some(1_480)
            ]),
            [0, 40, 80, 120, 160]
        );
    }

    #[test]
    fn frames_of_one_time_and_a_small_step_back_come_one_after_the_other() {
        assert_eq!(
            film(&[Some(0), Some(0), Some(40), Some(20), Some(80)]),
            [0, 20, 40, 60, 80]
        );
    }

    #[test]
    fn times_at_the_ends_of_their_range_are_no_crash() {
        let mut clock = RecordingClock::default();
        for time in [i64::MAX, i64::MIN, i64::MAX, -1, i64::MIN] {
            let _ = clock.capture(Some(time), 25.0);
        }
    }

    #[test]
    fn a_frame_without_a_time_has_that_of_its_arrival() {
        let mut clock = StreamClock::default();
        assert_eq!(clock.capture(None, MonoNs(5)), MonoNs(5));
    }
}
