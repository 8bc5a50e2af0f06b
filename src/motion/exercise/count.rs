//! The counter of one person: from one signal over time to repetitions.
//!
//! ```text
//!            at rest for a while            beyond the near threshold
//!  getting ──────────────────────▶ rest ──────────────────────────────▶ out
//!     ▲                              ▲                                   │ back at the near threshold: whole, partial
//!     │ signal lost, or too long     └───────────────────────────────────┘ or nothing
//! ```
//!
//! Inside, the signal always grows away from rest: it is turned round where rest is above the thresholds.

use std::time::Duration;

use heapless::Deque;

use super::range::Range;
use super::signals::{Signals, needs};
use super::{Counted, Exercise, Repetition, Rest, Sides};
use crate::base::clock::MonoNs;
use crate::motion::angles::Angle;
use crate::pose::JointState;
use crate::skeleton::JOINTS;

/// Time at rest before the first repetition: who gets into position passes the thresholds, and does not rest there.
pub(super) const READY: Duration = Duration::from_millis(300);

/// Longest time without a signal within a repetition: half of a quick one would be missing.
pub(super) const GAP_MAX: Duration = Duration::from_millis(500);

/// A repetition that takes longer is none: the person has sat down.
const LONGEST: Duration = Duration::from_secs(30);

/// Time constant of the low-pass filter, seconds: with two thresholds it counts right up to noise of 15 degrees, and
/// it keeps nine tenths of a movement of one second.
const FILTER_S: f32 = 0.08;

/// Values of which the depth is the median: a sixth of a second at 30 Hz.
const DEPTH_VALUES: usize = 5;

/// They are not older than this, except for the last three.
const DEPTH_SPAN: Duration = Duration::from_millis(170);

/// Share of the way between the thresholds from which a repetition is a partial one, and not a twitch.
const PARTIAL_SHARE: f32 = 1.0 / 3.0;

/// A partial repetition takes at least this share of the minimal time.
const PARTIAL_TIME_SHARE: f32 = 0.5;

/// An effort that counts on the way out is over when the signal has turned back so far, degrees, ...
const TURN_DEG: f32 = 10.0;

/// ... or has stayed beyond the threshold for so long.
const STAY: Duration = Duration::from_millis(500);

/// Both sides are equally sure where their sigmas differ by less than this factor. A camera from the side sees one
/// limb much worse.
const ALIKE: f32 = 1.5;

/// Frames that a difference of sides needs: a tenth of a second at 30 Hz.
const DIFFERENCE_FRAMES_MIN: u32 = 3;

/// How long rest after a repetition belongs to its range of motion.
const REST_IN_RANGE: Duration = Duration::from_millis(500);

/// How long the way back belongs to it, where a repetition counts before that: one who stays is not moving.
const WAY_IN_RANGE: Duration = Duration::from_secs(2);

/// What a counter takes in.
pub(super) struct Frame<'a> {
    pub time: MonoNs,
    /// How each joint is known.
    pub states: &'a [JointState; JOINTS],
    /// What the person is taken to be doing.
    pub label: Option<&'a str>,
    pub signals: &'a Signals,
}

/// The signal of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub deg: f32,
    pub sigma_deg: f32,
}

/// Counts for one person.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub person: u32,
    /// The newest frame with the person.
    pub seen: MonoNs,
    filter: Filter,
    phase: Phase,
    whole: u32,
    partials: u32,
    ranges: [Range; 2],
    /// Of the effort under way, which may turn out to be no repetition.
    pending: [Range; 2],
    /// When the last repetition ended.
    rested: Option<MonoNs>,
}

#[derive(Debug)]
enum Phase {
    /// Getting into position; at rest since then.
    Getting(Option<MonoNs>),
    Rest,
    Out(Effort),
    /// Counted already, on the way back.
    Returning,
}

/// A repetition under way.
#[derive(Debug)]
struct Effort {
    start: MonoNs,
    peak: MonoNs,
    /// Filtered signal at the peak.
    peak_x: f32,
    /// Median at its farthest, and its sigma.
    depth: Value,
    /// First and last time beyond the far threshold.
    beyond: Option<[MonoNs; 2]>,
    armed: bool,
    joints: u32,
    completed: u32,
    beyond_frames: u32,
    sure_frames: u32,
    difference_sum: f32,
    variance_sum: f32,
}

/// The exercise with rest below: `near` is where rest ends, `far` where a repetition is whole.
#[derive(Clone, Copy)]
struct Band {
    sign: f32,
    near: f32,
    far: f32,
}

impl Band {
    const fn of(exercise: &Exercise) -> Self {
        match exercise.rest {
            Rest::Low => Self {
                sign: 1.0,
                near: exercise.low_deg,
                far: exercise.high_deg,
            },
            Rest::High => Self {
                sign: -1.0,
                near: -exercise.high_deg,
                far: -exercise.low_deg,
            },
        }
    }
}

impl Default for Phase {
    fn default() -> Self {
        Self::Getting(None)
    }
}

impl Counter {
    /// Begins with another person, in the memory it has.
    pub fn begin(&mut self, person: u32, time: MonoNs) {
        self.person = person;
        self.seen = time;
        self.filter = Filter::default();
        self.phase = Phase::default();
        (self.whole, self.partials) = (0, 0);
        for range in self.ranges.iter_mut().chain(&mut self.pending) {
            range.clear();
        }
        self.rested = None;
    }

    /// Takes a frame; the repetition that ended with it.
    pub fn add(&mut self, exercise: &Exercise, frame: &Frame<'_>) -> Option<Repetition> {
        let time = frame.time;
        self.seen = time;
        let lost = self
            .filter
            .last
            .is_some_and(|last| time.since(last) > GAP_MAX);
        let ended = if lost { self.finish(exercise) } else { None };
        if lost {
            self.filter = Filter::default();
            self.phase = Phase::Getting(None);
        }
        let sides = exercise.signals.map(|signal| frame.signals[signal]);
        let Some(value) = signal(exercise.sides, &sides) else {
            return ended;
        };
        let before = self.filter.last.unwrap_or(time);
        let band = Band::of(exercise);
        let x = band.sign * self.filter.push(time, value);
        self.add_to_range(time, &sides);
        // A repetition that a gap has ended leaves no other under way.
        ended.or_else(|| self.step(exercise, band, frame, x, before))
    }

    fn step(
        &mut self,
        exercise: &Exercise,
        band: Band,
        frame: &Frame<'_>,
        x: f32,
        before: MonoNs,
    ) -> Option<Repetition> {
        let time = frame.time;
        let at_rest = x <= band.near;
        match &mut self.phase {
            Phase::Getting(since) => {
                if !at_rest {
                    *since = None;
                } else if time.since(*since.get_or_insert(time)) >= READY {
                    self.phase = Phase::Rest;
                }
                None
            }
            Phase::Rest if at_rest => None,
            Phase::Returning if !at_rest => None,
            Phase::Returning => {
                self.phase = Phase::Rest;
                self.rested = Some(time);
                None
            }
            Phase::Rest => {
                let mut effort = Effort::new(before, time, x, self.filter.median());
                effort.add(exercise, band, frame, x, self.filter.median());
                self.phase = Phase::Out(effort);
                None
            }
            Phase::Out(effort) => {
                effort.add(exercise, band, frame, x, self.filter.median());
                if time.since(effort.start) > LONGEST {
                    self.phase = Phase::Getting(None);
                    self.pending.iter_mut().for_each(Range::clear);
                    return None;
                }
                let there = exercise.counted == Counted::There && effort.is_over(time, x);
                if !at_rest && !there {
                    return None;
                }
                let next = if at_rest {
                    Phase::Rest
                } else {
                    Phase::Returning
                };
                let whole = effort.beyond.is_some();
                self.close(exercise, next, time, whole)
            }
        }
    }

    /// Ends what is under way: the person has left, or is not seen well enough. A repetition that was more than half
    /// way back is whole.
    pub fn finish(&mut self, exercise: &Exercise) -> Option<Repetition> {
        let Phase::Out(effort) = &self.phase else {
            return None;
        };
        let band = Band::of(exercise);
        // Without the delay of the filter: no further frame makes up for it.
        let x = band.sign * self.filter.calm;
        let back = exercise.counted == Counted::There || x < f32::midpoint(band.near, band.far);
        let whole = effort.beyond.is_some() && back;
        let end = self.filter.last.unwrap_or(effort.peak);
        self.close(exercise, Phase::Getting(None), end, whole)
    }

    /// Leaves the effort for `next`; the repetition that it was, if it was one.
    fn close(
        &mut self,
        exercise: &Exercise,
        next: Phase,
        time: MonoNs,
        whole: bool,
    ) -> Option<Repetition> {
        let by_itself = !matches!(next, Phase::Getting(_));
        let Phase::Out(effort) = std::mem::replace(&mut self.phase, next) else {
            return None;
        };
        let band = Band::of(exercise);
        let end = match exercise.counted {
            Counted::Back => time,
            Counted::There => effort.peak,
        };
        let took_s = end.since(effort.start).as_secs_f32();
        let way = (effort.peak_x - band.near) / (band.far - band.near);
        let fits = if whole {
            took_s >= exercise.min_s
        } else {
            way >= PARTIAL_SHARE && took_s >= PARTIAL_TIME_SHARE * exercise.min_s
        };
        if !fits || !effort.armed {
            self.pending.iter_mut().for_each(Range::clear);
            return None;
        }
        for (range, pending) in self.ranges.iter_mut().zip(&mut self.pending) {
            range.merge(pending);
        }
        let count = if whole {
            &mut self.whole
        } else {
            &mut self.partials
        };
        *count = count.saturating_add(1);
        self.rested = Some(time);
        let speed = |from: MonoNs, to: MonoNs| {
            let took_s = to.since(from).as_secs_f32();
            (took_s > 0.0).then(|| (band.far - band.near) / took_s)
        };
        let [first, last] = effort.beyond.map_or([None; 2], |[a, b]| [Some(a), Some(b)]);
        // One that a gap or the end of the stream closes has not passed the near threshold.
        let is_back = whole && by_itself && exercise.counted == Counted::Back;
        Some(Repetition {
            person: self.person,
            count: self.whole,
            partials: self.partials,
            partial: !whole,
            start: effort.start,
            peak: effort.peak,
            end,
            depth_deg: effort.depth.deg,
            depth_sigma_deg: effort.depth.sigma_deg,
            out_deg_s: first.and_then(|first| speed(effort.start, first)),
            back_deg_s: last.filter(|_| is_back).and_then(|last| speed(last, end)),
            difference_deg: effort.difference(),
            completed_share: effort.completed_share(),
            range_deg: self.ranges.each_ref().map(Range::extremes),
        })
    }

    /// Angles that are measured, in repetitions and shortly after.
    fn add_to_range(&mut self, time: MonoNs, sides: &[Angle; 2]) {
        let since = |most| self.rested.is_some_and(|rested| time.since(rested) <= most);
        let (counts, ranges) = match self.phase {
            Phase::Getting(_) => (false, &mut self.ranges),
            Phase::Out(_) => (true, &mut self.pending),
            Phase::Returning => (since(WAY_IN_RANGE), &mut self.ranges),
            Phase::Rest => (since(REST_IN_RANGE), &mut self.ranges),
        };
        for (range, angle) in ranges.iter_mut().zip(sides) {
            if counts && angle.state == JointState::Measured {
                range.add(angle.deg);
            }
        }
    }
}

impl Effort {
    const fn new(start: MonoNs, time: MonoNs, x: f32, depth: Value) -> Self {
        Self {
            start,
            peak: time,
            peak_x: x,
            depth,
            beyond: None,
            armed: false,
            joints: 0,
            completed: 0,
            beyond_frames: 0,
            sure_frames: 0,
            difference_sum: 0.0,
            variance_sum: 0.0,
        }
    }

    fn add(&mut self, exercise: &Exercise, band: Band, frame: &Frame<'_>, x: f32, median: Value) {
        if x > self.peak_x {
            (self.peak, self.peak_x) = (frame.time, x);
        }
        if band.sign * median.deg > band.sign * self.depth.deg {
            self.depth = median;
        }
        let labels = &exercise.labels;
        self.armed |=
            labels.is_empty() || labels.iter().any(|own| Some(own.as_str()) == frame.label);
        self.add_states(exercise, frame);
        if x >= band.far {
            let [first, _] = self.beyond.unwrap_or([frame.time; 2]);
            self.beyond = Some([first, frame.time]);
            self.add_difference(exercise, frame.signals);
        }
    }

    fn add_states(&mut self, exercise: &Exercise, frame: &Frame<'_>) {
        let [left, right] = exercise.signals.map(needs);
        let used = match exercise.sides {
            Sides::Left => [left, &[]],
            Sides::Right => [&[][..], right],
            // The joints of an angle without sides are counted once.
            _ if exercise.signals[0] == exercise.signals[1] => [left, &[]],
            Sides::Mean | Sides::Min | Sides::Max => [left, right],
        };
        for &joint in used.into_iter().flatten() {
            match frame.states[joint] {
                JointState::Absent => {}
                JointState::Measured => self.joints += 1,
                JointState::Completed => {
                    self.joints += 1;
                    self.completed += 1;
                }
            }
        }
    }

    fn add_difference(&mut self, exercise: &Exercise, signals: &Signals) {
        self.beyond_frames += 1;
        let [left, right] = exercise.signals.map(|signal| signals[signal]);
        let measured = [left, right]
            .iter()
            .all(|angle| angle.state == JointState::Measured);
        // With one side moving at a time, sides are not the same movement.
        let same = matches!(exercise.sides, Sides::Mean | Sides::Min);
        let (less, more) = (
            left.sigma_deg.min(right.sigma_deg),
            left.sigma_deg.max(right.sigma_deg),
        );
        if measured && same && exercise.signals[0] != exercise.signals[1] && more <= ALIKE * less {
            self.sure_frames += 1;
            self.difference_sum += left.deg - right.deg;
            self.variance_sum += left.sigma_deg.powi(2) + right.sigma_deg.powi(2);
        }
    }

    /// The mean difference and its sigma, where most frames have one. Errors of frames after one another are the same
    /// error, so sigma is that of one frame.
    #[expect(clippy::cast_precision_loss, reason = "frames of half a minute")]
    fn difference(&self) -> Option<[f32; 2]> {
        let enough =
            self.sure_frames >= DIFFERENCE_FRAMES_MIN && 2 * self.sure_frames > self.beyond_frames;
        let count = self.sure_frames as f32;
        enough.then(|| {
            [
                self.difference_sum / count,
                (self.variance_sum / count).sqrt(),
            ]
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "joints of half a minute")]
    fn completed_share(&self) -> f32 {
        self.completed as f32 / self.joints.max(1) as f32
    }

    /// Whether the effort is over that counts on the way out.
    fn is_over(&self, time: MonoNs, x: f32) -> bool {
        self.beyond
            .is_some_and(|[first, _]| self.peak_x - x >= TURN_DEG || time.since(first) >= STAY)
    }
}

/// One signal of two sides. Where one is absent it is the other; none where the wanted ones are absent.
pub(super) fn signal(sides: Sides, angles: &[Angle; 2]) -> Option<Value> {
    let [left, right] = angles.map(|angle| {
        angle.known().map(|deg| Value {
            deg,
            sigma_deg: angle.sigma_deg,
        })
    });
    let (left, right) = match (sides, left, right) {
        (Sides::Left, one, _) | (Sides::Right, _, one) => return one,
        (_, Some(left), Some(right)) => (left, right),
        (_, one, other) => return one.or(other),
    };
    let smaller_is_left = left.deg <= right.deg;
    Some(match sides {
        Sides::Mean => Value {
            deg: f32::midpoint(left.deg, right.deg),
            sigma_deg: 0.5 * left.sigma_deg.hypot(right.sigma_deg),
        },
        Sides::Max if smaller_is_left => right,
        Sides::Min if !smaller_is_left => right,
        _ => left,
    })
}

/// A median of three and a low-pass filter; the last values as they came.
#[derive(Debug, Default)]
pub(super) struct Filter {
    last: Option<MonoNs>,
    value: f32,
    /// The median of the last three.
    calm: f32,
    raw: Deque<(MonoNs, Value), DEPTH_VALUES>,
}

impl Filter {
    /// Takes a value, gives the filtered one.
    pub fn push(&mut self, time: MonoNs, value: Value) -> f32 {
        if self.raw.is_full() {
            self.raw.pop_front();
        }
        let pushed = self.raw.push_back((time, value));
        debug_assert!(pushed.is_ok(), "there is room for one");
        let calm = median(self.raw.iter().rev().take(3).map(|(_, value)| *value));
        self.calm = calm.deg;
        self.value = match self.last {
            Some(last) => {
                let share = 1.0 - (-time.since(last).as_secs_f32() / FILTER_S).exp();
                self.value + share * (calm.deg - self.value)
            }
            None => value.deg,
        };
        self.last = Some(time);
        self.value
    }

    /// The median of the last sixth of a second, three values at least.
    fn median(&self) -> Value {
        let last = self.last.unwrap_or_default();
        let new = self.raw.iter().rev().enumerate();
        let new = new.filter(|(place, (time, _))| *place < 3 || last.since(*time) <= DEPTH_SPAN);
        median(new.map(|(_, (_, value))| *value))
    }
}

/// The middle one of a few values, the lower of two.
fn median(values: impl Iterator<Item = Value>) -> Value {
    let mut sorted: heapless::Vec<Value, DEPTH_VALUES> = values.collect();
    sorted.sort_unstable_by(|a, b| a.deg.total_cmp(&b.deg));
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or(Value {
        deg: 0.0,
        sigma_deg: 0.0,
    })
}
