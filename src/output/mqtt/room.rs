//! What is said about the room: from poses and health to one small state, without I/O and without a clock.
//!
//! A room of which nothing is known is not an empty room: without fresh poses the number of people is unknown.

use std::time::Duration;

use heapless::String;
use serde_json::{Value, json};

use crate::base::clock::MonoNs;
use crate::base::limits::{ACTION_BYTES_MAX, PEOPLE_MAX};
use crate::output::json::to_json;
use crate::pose::PoseSample;

/// What a person does, where that is known.
pub(super) type Label = Option<String<ACTION_BYTES_MAX>>;

/// What the state needs of a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Glimpse {
    /// When it was handed over.
    pub(super) at: MonoNs,
    /// Since when poses have come without a pause in which nothing was known.
    pub(super) since: MonoNs,
    /// What each person does, who has been in view longest first.
    pub(super) actions: heapless::Vec<Label, PEOPLE_MAX>,
    /// People reported on the floor, where that is watched.
    pub(super) on_floor: Option<usize>,
}

impl Glimpse {
    /// What the state needs of `sample` and of `unfit` people more, who are in view and have no pose to publish.
    pub(super) fn of(sample: &PoseSample, unfit: usize, at: MonoNs) -> Self {
        let mut people: heapless::Vec<_, PEOPLE_MAX> = sample.people.iter().collect();
        // Ids grow, so the lowest came first.
        people.sort_unstable_by_key(|person| person.id);
        let action = |person: &&crate::pose::PersonPose| {
            let action = person.action.as_ref()?;
            Some(action.label.clone())
        };
        Self {
            at,
            since: at,
            on_floor: None,
            actions: people
                .iter()
                .map(action)
                .chain(std::iter::repeat_n(None, unfit))
                .take(PEOPLE_MAX)
                .collect(),
        }
    }

    /// After `before`, where at most `silent_after` lies between them, poses have come for as long as they did then.
    #[must_use]
    pub(super) fn after(self, before: Option<&Self>, silent_after: Duration) -> Self {
        let goes_on = before.filter(|before| self.at.since(before.at) <= silent_after);
        Self {
            since: goes_on.map_or(self.at, |before| before.since),
            ..self
        }
    }

    /// Whether it shows the same people doing the same, whenever that was.
    pub(super) fn shows_the_same(&self, other: &Self) -> bool {
        self.actions == other.actions && self.on_floor == other.on_floor
    }
}

/// What the state needs of a health message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Condition {
    /// `camera_state`: running, silent, opening or lost.
    camera: std::string::String,
    /// Whether networks fail.
    failing: bool,
    /// Poses published a second.
    fps: Option<f64>,
    /// Median from capture to publishing, milliseconds.
    latency_ms: Option<f64>,
}

impl Condition {
    /// Reads a `health/v1` message; `None` if it is none.
    pub(super) fn read(health: &[u8]) -> Option<Self> {
        let health = to_json(health).ok()?;
        Some(Self {
            camera: health["camera_state"].as_str()?.to_owned(),
            failing: health["estimate_state"].as_str()? != "working",
            fps: health["fps"]["published"].as_f64(),
            latency_ms: health["latency_ms"]["p50"].as_f64(),
        })
    }
}

/// The camera's state while it gives frames.
const RUNNING: &str = "running";

/// The state that is published.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// People in the room; `None` where that is not known.
    pub(super) people: Option<usize>,
    /// What those in view do, longest in view first.
    actions: heapless::Vec<Label, PEOPLE_MAX>,
    /// People reported on the floor; `None` where that is not watched or not known.
    on_floor: Option<usize>,
    condition: Option<Condition>,
    problem: bool,
}

impl State {
    /// Whether a reader should hear of this at once, after `earlier`. Figures of the machine are not worth it.
    pub(super) fn differs(&self, earlier: &Self) -> bool {
        let camera = |state: &Self| state.condition.as_ref().map(|now| now.camera.clone());
        self.people != earlier.people
            || self.actions != earlier.actions
            || self.on_floor != earlier.on_floor
            || self.problem != earlier.problem
            || camera(self) != camera(earlier)
    }

    /// The message, one line of JSON.
    pub(super) fn to_json(&self) -> std::string::String {
        let known = self.people.is_some();
        let texts: Vec<Option<&str>> = self.actions.iter().map(Option::as_deref).collect();
        let condition = self.condition.as_ref();
        let whole = |figure: Option<f64>| figure.map(whole_number);
        json!({
            "seeing": known,
            "occupied": self.people.map(|people| people > 0),
            "people": self.people,
            "action": known.then(|| texts.first().copied().flatten()),
            "actions": known.then_some(texts),
            "on_floor": self.on_floor.map(|people| people > 0),
            "problem": self.problem,
            // Poses come before the first health message.
            "camera": condition.map_or(if known { RUNNING } else { "opening" }, |now| &now.camera),
            "fps": condition.and_then(|now| whole(now.fps)),
            "latency_ms": condition.and_then(|now| whole(now.latency_ms)),
        })
        .to_string()
    }
}

/// A figure without its decimals: a recorder keeps a line for each change, and tenths of a frame change every second.
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames a second and milliseconds; the cast saturates"
)]
fn whole_number(figure: f64) -> Value {
    (figure.round() as i64).into()
}

/// Turns glimpses and conditions into states.
#[derive(Debug)]
pub(super) struct Room {
    /// How long a person who is not seen any more still counts.
    hold: Duration,
    /// Poses older than this say nothing.
    silent_after: Duration,
    newest: Option<Glimpse>,
    condition: Option<Condition>,
    /// When so many people were in view last, at least: the place is the number of people less one.
    seen: [Option<MonoNs>; PEOPLE_MAX],
}

impl Room {
    pub(super) const fn new(hold: Duration, silent_after: Duration) -> Self {
        Self {
            hold,
            silent_after,
            newest: None,
            condition: None,
            seen: [None; PEOPLE_MAX],
        }
    }

    /// Takes what is in view.
    pub(super) fn see(&mut self, glimpse: Glimpse) {
        // Those of the glimpse before were there until this one came, unless nothing was known in between.
        let before = self.newest.as_ref().map_or(0, |before| {
            let known = glimpse.since <= before.at;
            if known { before.actions.len() } else { 0 }
        });
        let people = glimpse.actions.len().max(before);
        for seen in self.seen.iter_mut().take(people) {
            *seen = Some(glimpse.at);
        }
        self.newest = Some(glimpse);
    }

    /// Takes how the daemon is.
    pub(super) fn hear(&mut self, condition: Condition) {
        self.condition = Some(condition);
    }

    /// The state of a room of which nothing is known.
    pub(super) fn unknown(&self) -> State {
        State {
            people: None,
            actions: heapless::Vec::new(),
            on_floor: None,
            condition: self.condition.clone(),
            problem: true,
        }
    }

    /// The state at `now`.
    pub(super) fn state(&mut self, now: MonoNs) -> State {
        let runs = self
            .condition
            .as_ref()
            .is_none_or(|now| now.camera == RUNNING);
        let fresh = self
            .newest
            .as_ref()
            .filter(|newest| runs && now.since(newest.at) <= self.silent_after);
        let Some(newest) = fresh else {
            // Who was there before the gap may have gone in it.
            self.seen = [None; PEOPLE_MAX];
            return self.unknown();
        };
        let held = self
            .seen
            .iter()
            .rposition(|seen| seen.is_some_and(|seen| now.since(seen) <= self.hold));
        let held = held.map_or(0, |place| place + 1);
        State {
            people: Some(held.max(newest.actions.len())),
            actions: newest.actions.clone(),
            on_floor: newest.on_floor,
            condition: self.condition.clone(),
            problem: self.condition.as_ref().is_some_and(|now| now.failing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(3);
    const SILENT: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> MonoNs {
        MonoNs(1).plus(Duration::from_millis(ms))
    }

    fn glimpse(ms: u64, actions: &[Option<&str>]) -> Glimpse {
        let label = |text: Option<&str>| text.map(|text| text.try_into().unwrap());
        Glimpse {
            at: at(ms),
            since: at(0),
            on_floor: None,
            actions: actions.iter().copied().map(label).collect(),
        }
    }

    fn condition(camera: &str) -> Condition {
        Condition {
            camera: camera.into(),
            failing: false,
            fps: Some(29.97),
            latency_ms: Some(41.2),
        }
    }

    fn room() -> Room {
        Room::new(HOLD, SILENT)
    }

    #[test]
    fn nothing_known_is_not_an_empty_room() {
        let mut room = room();
        let state = room.state(at(0));
        assert_eq!(state.people, None);
        let value: Value = serde_json::from_str(&state.to_json()).unwrap();
        for key in ["occupied", "people", "action", "actions", "fps"] {
            assert!(value[key].is_null(), "{key}: {value}");
        }
        assert_eq!(value["seeing"], false);
        assert_eq!(value["problem"], true);
    }

    #[test]
    fn people_whose_pose_cannot_be_published_are_people() {
        let mut room = room();
        room.see(Glimpse::of(&PoseSample::default(), 1, at(0)));
        let state = room.state(at(0));
        assert_eq!((state.people, state.actions.len()), (Some(1), 1));
        let many = Glimpse::of(&PoseSample::default(), PEOPLE_MAX + 1, at(0));
        assert_eq!(many.actions.len(), PEOPLE_MAX);
    }

    #[test]
    fn a_state_says_who_is_there_and_what_they_do() {
        let mut room = room();
        room.hear(condition(RUNNING));
        room.see(glimpse(0, &[Some("squat"), None]));
        let state = room.state(at(10));
        assert_eq!(
            state.to_json(),
            r#"{"action":"squat","actions":["squat",null],"camera":"running","fps":30,"latency_ms":41,"occupied":true,"on_floor":null,"people":2,"problem":false,"seeing":true}"#
        );
    }

    #[test]
    fn a_person_on_the_floor_is_told_at_once_and_unknown_without_a_camera() {
        let mut room = room();
        let seen = |ms, on_floor| Glimpse {
            on_floor,
            ..glimpse(ms, &[None])
        };
        let said = |state: &State| {
            let value: Value = serde_json::from_str(&state.to_json()).unwrap();
            value["on_floor"].clone()
        };
        room.see(seen(0, Some(0)));
        let before = room.state(at(0));
        assert_eq!(said(&before), false);
        assert!(!seen(1, Some(1)).shows_the_same(&seen(0, Some(0))));
        room.see(seen(1, Some(1)));
        let down = room.state(at(1));
        assert_eq!(said(&down), true);
        assert!(down.differs(&before));
        room.hear(condition("lost"));
        assert_eq!(said(&room.state(at(2))), Value::Null);
    }

    #[test]
    fn a_camera_that_fails_makes_the_room_unknown_at_once_and_silence_after_a_while() {
        let mut room = room();
        room.hear(condition(RUNNING));
        room.see(glimpse(0, &[]));
        assert_eq!(room.state(at(0)).people, Some(0));
        assert_eq!(room.state(at(2000)).people, Some(0));
        // Poses stop, whatever the reason.
        assert_eq!(room.state(at(2001)).people, None);
        for camera in ["lost", "silent", "opening"] {
            room.see(glimpse(3000, &[]));
            room.hear(condition(camera));
            let state = room.state(at(3000));
            assert_eq!(state.people, None, "{camera}");
            assert!(state.problem);
            room.hear(condition(RUNNING));
        }
        room.see(glimpse(4000, &[]));
        assert_eq!(room.state(at(4000)).people, Some(0));
    }

    #[test]
    fn a_person_who_is_missed_for_a_moment_still_counts() {
        let mut room = room();
        room.see(glimpse(0, &[Some("walk"), None]));
        // Nothing changed for a second, so the publish thread did not wake this one.
        room.see(glimpse(1000, &[None]));
        assert_eq!(room.state(at(1000)).people, Some(2));
        room.see(glimpse(2000, &[]));
        room.see(glimpse(3900, &[]));
        assert_eq!(
            room.state(at(4000)).people,
            Some(2),
            "held for 3 s after 1 s"
        );
        assert_eq!(
            room.state(at(4001)).people,
            Some(1),
            "held for 3 s after 2 s"
        );
        room.see(glimpse(5100, &[]));
        let state = room.state(at(5100));
        assert_eq!(state.people, Some(0));
        // One more counts at once.
        room.see(glimpse(5200, &[None]));
        assert_eq!(room.state(at(5200)).people, Some(1));
    }

    #[test]
    fn people_from_before_a_gap_are_not_held() {
        let mut room = room();
        room.see(glimpse(0, &[None, None]));
        assert_eq!(room.state(at(2500)).people, None);
        let after_a_gap = |ms, before: &Glimpse| glimpse(ms, &[]).after(Some(before), SILENT);
        let back = after_a_gap(2600, &glimpse(0, &[]));
        assert_eq!(back.since, at(2600));
        room.see(back.clone());
        assert_eq!(room.state(at(2600)).people, Some(0));
        // Nor where no one asked for the state in the gap.
        let one = glimpse(2700, &[None]).after(Some(&back), SILENT);
        assert_eq!(one.since, at(2600));
        room.see(one.clone());
        room.see(after_a_gap(4900, &one));
        assert_eq!(room.state(at(5800)).people, Some(0));
    }

    #[test]
    fn figures_alone_are_no_change() {
        let mut room = room();
        room.hear(condition(RUNNING));
        room.see(glimpse(0, &[None]));
        let first = room.state(at(0));
        room.hear(Condition {
            fps: Some(12.0),
            ..condition(RUNNING)
        });
        let second = room.state(at(1));
        assert!(first != second && !second.differs(&first));
        room.see(glimpse(2, &[Some("sit")]));
        assert!(room.state(at(2)).differs(&second));
    }

    #[test]
    fn a_hostile_label_stays_a_text_in_the_message() {
        let label = "\",\"people\":0}\n{{ 7 * 7 }}\u{7}é";
        let mut room = room();
        room.see(glimpse(0, &[Some(label)]));
        let text = room.state(at(0)).to_json();
        assert!(!text.contains('\n'), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["action"], label);
        assert_eq!(value["people"], 1);
    }
}
