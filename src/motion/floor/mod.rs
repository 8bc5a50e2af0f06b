//! A person on the floor: an event and its end, from the attitude of the trunk, its height above the floor, and time.
//!
//! ```text
//!  pose of a frame ─▶ log odds (evidence.rs) ─▶ mean of a second, by person ─▶ two thresholds and times ─▶ events
//! ```
//!
//! Needs to know how the camera hangs ([`Mount`]). Joints that are completed are no evidence. An event belongs to a
//! place rather than to an id: a person on the floor is often half hidden, lost, and found again as another. The
//! publisher and `poised replay --floor` hand every frame to [`FloorWatch`]; `docs/reference/floor.md` has what it
//! finds and misses. No medical device.

mod config;
mod evidence;

use std::fmt;
use std::time::Duration;

use glam::Vec2;
use heapless::Vec;

use crate::base::clock::MonoNs;
use crate::base::limits::{PEOPLE_MAX, TRACKS_MAX};
use crate::camera::Mount;
use crate::pose::PersonPose;
use evidence::{Evidence, Ground, chance, standing_size, trunk_px};

pub use config::FloorConfig;

/// Time over which log odds of frames are averaged, seconds: errors of a pose last for about as long, so that more
/// frames in it say nothing more.
const AVERAGE_S: f32 = 1.0;

/// The same for frames that say less than the mean: each push-up takes back what its lowest part has said.
const AVERAGE_DOWN_S: f32 = 0.3;

/// From this probability on a person is taken to be on the floor.
const ENTER: f32 = 0.7;

/// Below this one the time until the event begins again.
const STAY: f32 = 0.6;

/// Below this one a person is taken to be up.
const LEAVE: f32 = 0.2;

/// For how long a person has to be up before the event ends.
const UP_FOR: Duration = Duration::from_secs(2);

/// Evidence that is older says nothing of now: the time until the event begins again.
const EVIDENCE_GAP: Duration = Duration::from_secs(2);

/// Another id may go on with the event of a person who has not been seen for so long: that person was not just
/// missed in a frame, or left to another frame's turn.
const TAKEN_OVER_AFTER: Duration = Duration::from_secs(1);

/// A person of an event who has not been seen for so long is reported as lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// An event whose person was not seen for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// A person who has not been seen for so long is forgotten: longer than any tracker keeps an id (`track.keep_s`).
const TRACK_FOR: Duration = Duration::from_secs(12);

/// Another id goes on with an event within this distance of its place, metres: the length of a trunk, and an error
/// of the distance.
const REACH_M: f32 = 1.2;

/// Time in which place and standing size follow a person, seconds.
const FOLLOW_S: f32 = 0.3;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorChange {
    /// A person has been on the floor for `floor.after_s`; or a lost one is seen there again.
    On,
    /// The person is up again, or in a region that is ignored.
    Off,
    /// The person was not seen for ten seconds: neither on the floor nor up.
    Lost,
}

/// An event of a person on the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloorEvent {
    /// What happened.
    pub change: FloorChange,
    /// Number of the event, from 1: the same for its beginning, its end and all between.
    pub number: u32,
    /// Who, by the newest id.
    pub person: u32,
    /// How likely the person is on the floor, 0 to 1; of a lost person when last seen.
    pub probability: f32,
    /// Where: metres along the floor before the camera, and to its left.
    pub place_m: Vec2,
    /// Since when the person has been there.
    pub since: MonoNs,
    /// The time of the frame.
    pub time: MonoNs,
}

impl fmt::Display for FloorEvent {
    /// The detail of the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ahead, left) = (self.place_m.x, self.place_m.y);
        let side = if left < 0.0 { "right" } else { "left" };
        write!(
            f,
            "event {}: person {}, probability {:.2}, {ahead:.1} m ahead and {:.1} m to the {side} of the camera, for {:.0} s",
            self.number,
            self.person,
            self.probability,
            left.abs(),
            self.time.since(self.since).as_secs_f64()
        )
    }
}

/// What is known of one person.
#[derive(Clone, Copy, Debug)]
struct Watched {
    person: u32,
    /// The newest frame with the person in it.
    seen: MonoNs,
    /// The newest frame that said something.
    informed: MonoNs,
    /// Mean of the log odds.
    log_odds: f32,
    /// Size when standing, against the lifter's guess.
    standing: Option<f32>,
    place_m: Vec2,
    /// Since when the person is likely on the floor.
    down_since: Option<MonoNs>,
    /// Since when the person is likely up.
    up_since: Option<MonoNs>,
}

/// An event that was reported and has not ended.
#[derive(Clone, Copy, Debug)]
struct Case {
    number: u32,
    person: u32,
    place_m: Vec2,
    probability: f32,
    since: MonoNs,
    seen: MonoNs,
    lost: bool,
}

impl Case {
    fn event(&self, change: FloorChange, time: MonoNs) -> FloorEvent {
        FloorEvent {
            change,
            number: self.number,
            person: self.person,
            probability: self.probability,
            place_m: self.place_m,
            since: self.since,
            time,
        }
    }
}

/// Watches everybody in view. Memory is bounded, and nothing is allocated after [`FloorWatch::new`].
#[derive(Debug)]
pub struct FloorWatch {
    config: FloorConfig,
    ground: Ground,
    people: Vec<Watched, TRACKS_MAX>,
    cases: Vec<Case, PEOPLE_MAX>,
    numbers: u32,
}

impl FloorWatch {
    /// Watches for people on the floor below a camera that hangs like this. Takes a validated configuration.
    pub fn new(config: &FloorConfig, mount: &Mount) -> Self {
        Self {
            config: config.clone(),
            ground: Ground::of(mount),
            people: Vec::new(),
            cases: Vec::new(),
            numbers: 0,
        }
    }

    /// Takes the people of the frame of `time` and hands out what happened.
    pub fn add(&mut self, time: MonoNs, people: &[PersonPose], out: &mut dyn FnMut(&FloorEvent)) {
        for person in people {
            self.look(time, person);
        }
        self.follow(time, out);
        self.begin(time, out);
        self.leave(time, out);
    }

    /// What is due without a frame, too: people who were lost, and what is forgotten.
    pub fn leave(&mut self, now: MonoNs, out: &mut dyn FnMut(&FloorEvent)) {
        for case in &mut self.cases {
            if !case.lost && now.since(case.seen) >= LOST_AFTER {
                case.lost = true;
                out(&case.event(FloorChange::Lost, now));
            }
        }
        self.cases
            .retain(|case| now.since(case.seen) < FORGOTTEN_AFTER);
        self.people
            .retain(|person| now.since(person.seen) < TRACK_FOR);
    }

    /// People who were reported and are not up again since, lost ones among them.
    pub fn reported(&self) -> usize {
        self.cases.len()
    }

    /// Probability that a person is on the floor, 0 to 1, if they are known.
    pub fn probability(&self, person: u32) -> Option<f32> {
        let watched = self.people.iter().find(|watched| watched.person == person);
        watched.map(|watched| chance(watched.log_odds))
    }

    /// Takes what a frame says of one person.
    fn look(&mut self, time: MonoNs, person: &PersonPose) {
        let ignored = self.config.ignores(trunk_px(person));
        let place = self.place(person.id, time);
        let watched = &mut self.people[place];
        watched.seen = time;
        let Some(evidence) = self.ground.evidence(person, watched.standing) else {
            if time.since(watched.informed) >= EVIDENCE_GAP {
                (watched.down_since, watched.up_since) = (None, None);
            }
            return;
        };
        let followed = watched.take(time, &evidence, ignored);
        if let Some(size) = standing_size(person, &evidence) {
            let before = watched.standing.unwrap_or(size);
            watched.standing = Some(before + followed * (size - before));
        }
    }

    /// Place of what is known of a person; the one who was not seen for longest makes room.
    fn place(&mut self, person: u32, time: MonoNs) -> usize {
        let known = self.people.iter().position(|own| own.person == person);
        known.unwrap_or_else(|| {
            if self.people.is_full()
                && let Some(oldest) = (0..TRACKS_MAX).min_by_key(|at| self.people[*at].seen)
            {
                self.people.swap_remove(oldest);
            }
            let pushed = self.people.push(Watched::new(person, time));
            debug_assert!(pushed.is_ok(), "one has made room");
            self.people.len() - 1
        })
    }

    /// Goes on with events that have begun: their people are there, up again, or another id has their place.
    fn follow(&mut self, time: MonoNs, out: &mut dyn FnMut(&FloorEvent)) {
        let mut at = 0;
        while at < self.cases.len() {
            let case = self.cases[at];
            let own = self.present(time).find(|own| own.person == case.person);
            let up = own.is_some_and(|own| own.is_up(time));
            let own = match own {
                Some(own) if !up => Some(*own),
                // Up, or gone: unless another one lies there, whose id this was or will be.
                None if time.since(case.seen) < TAKEN_OVER_AFTER => None,
                _ => self.lying_near(time, &case),
            };
            let Some(own) = own else {
                if up {
                    let mut event = case.event(FloorChange::Off, time);
                    event.probability = self.probability(case.person).unwrap_or_default();
                    out(&event);
                    self.cases.swap_remove(at);
                } else {
                    at += 1;
                }
                continue;
            };
            let case = &mut self.cases[at];
            case.person = own.person;
            case.seen = time;
            case.probability = chance(own.log_odds);
            if own.down_since.is_some() {
                case.place_m = own.place_m;
                if std::mem::take(&mut case.lost) {
                    out(&case.event(FloorChange::On, time));
                }
            }
            at += 1;
        }
    }

    /// Begins events of people who have been on the floor for long enough.
    fn begin(&mut self, time: MonoNs, out: &mut dyn FnMut(&FloorEvent)) {
        let after = Duration::from_secs_f32(self.config.after_s);
        for at in 0..self.people.len() {
            let own = self.people[at];
            let Some(since) = own.down_since.filter(|_| own.seen == time) else {
                continue;
            };
            let told = self.cases.iter().any(|case| case.person == own.person);
            if told || time.since(since) < after {
                continue;
            }
            if self.cases.is_full()
                && let Some(oldest) = (0..PEOPLE_MAX).min_by_key(|at| self.cases[*at].seen)
            {
                let gone = self.cases.swap_remove(oldest);
                if !gone.lost {
                    out(&gone.event(FloorChange::Lost, time));
                }
            }
            self.numbers = self.numbers.saturating_add(1);
            let case = Case {
                number: self.numbers,
                person: own.person,
                place_m: own.place_m,
                probability: chance(own.log_odds),
                since,
                seen: time,
                lost: false,
            };
            out(&case.event(FloorChange::On, time));
            let pushed = self.cases.push(case);
            debug_assert!(pushed.is_ok(), "one has made room");
        }
    }

    /// People of the frame of `time`.
    fn present(&self, time: MonoNs) -> impl Iterator<Item = &Watched> {
        self.people.iter().filter(move |own| own.seen == time)
    }

    /// A person in view, without an event, who lies where the person of `case` was.
    fn lying_near(&self, time: MonoNs, case: &Case) -> Option<Watched> {
        let distance = |own: &Watched| own.place_m.distance(case.place_m);
        self.present(time)
            .filter(|own| own.down_since.is_some() && distance(own) < REACH_M)
            .filter(|own| !self.cases.iter().any(|case| case.person == own.person))
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .copied()
    }
}

impl Watched {
    /// A person of whom nothing is known: more likely up, since most people are.
    const fn new(person: u32, time: MonoNs) -> Self {
        Self {
            person,
            seen: time,
            informed: MonoNs(0),
            log_odds: -1.0,
            standing: None,
            place_m: Vec2::ZERO,
            down_since: None,
            up_since: None,
        }
    }

    /// Takes what a frame says, and gives the share by which means follow it. A person who is `ignored` counts as up.
    fn take(&mut self, time: MonoNs, evidence: &Evidence, ignored: bool) -> f32 {
        let gap = time.since(self.informed);
        if gap >= EVIDENCE_GAP {
            (self.down_since, self.up_since) = (None, None);
        }
        let first = self.informed == MonoNs(0);
        self.informed = time;
        let average_s = if evidence.log_odds > self.log_odds {
            AVERAGE_S
        } else {
            AVERAGE_DOWN_S
        };
        let share = |within_s: f32| 1.0 - (-gap.min(EVIDENCE_GAP).as_secs_f32() / within_s).exp();
        // A first frame is no mean.
        let averaged = if first { 0.0 } else { share(average_s) };
        self.log_odds += averaged * (evidence.log_odds - self.log_odds);
        let followed = if first { 1.0 } else { share(FOLLOW_S) };
        self.place_m += followed * (evidence.place_m - self.place_m);
        let chance = chance(self.log_odds);
        if ignored || chance < STAY {
            self.down_since = None;
        } else if chance >= ENTER {
            self.down_since.get_or_insert(time);
        }
        if ignored || chance < LEAVE {
            self.up_since.get_or_insert(time);
        } else {
            self.up_since = None;
        }
        followed
    }

    /// Whether the person has been up for long enough to be believed.
    fn is_up(&self, time: MonoNs) -> bool {
        let since = self.up_since.filter(|_| self.informed == time);
        since.is_some_and(|since| time.since(since) >= UP_FOR)
    }
}

#[cfg(test)]
mod tests;
