//! Tracking: people in, people with stable ids out.
//!
//! ```text
//!  people ─▶ duplicates out ─▶ assignment ─▶ swaps undone ─▶ smoothing ─▶ people with ids
//!                                  ▲               │
//!                                  └── expected ◀──┘
//! ```
//!
//! Runs on the estimate thread, takes the time as an argument
//! and does not allocate after construction. An id is assigned once per run: a person
//! absent for longer than [`TrackConfig::keep_s`] comes back with a new id.

pub mod assign;
pub mod motion;
mod similarity;
pub mod smooth;
pub mod swap;

use std::time::Duration;

use glam::Vec2;
use serde::Deserialize;

use crate::base::clock::MonoNs;
use crate::base::config::{ConfigError, check};
use crate::base::limits::{PEOPLE_MAX, TRACKS_MAX};
use crate::pose::similarity::between;
use crate::pose::{BoxPx, Detection, People};
use crate::skeleton::KEYPOINTS;

use assign::{Similarities, assign};
use motion::{Motion, seconds};
use smooth::{OneEuro, OneEuroConfig};
use swap::SwapGuard;

/// Two detections of one frame more alike than this are one person found twice.
const DUPLICATE: f32 = 0.75;

/// Frames this far back come from another clock, not late.
const OTHER_CLOCK: Duration = Duration::from_secs(1);

/// `[track]`: who is who from frame to frame.
///
/// ```toml
/// [track]
/// hits_to_confirm = 2
/// keep_s = 1.0
/// min_similarity = 0.2
/// swap_hold_s = 0.4
///
/// [track.smooth]              # leave out for no smoothing of keypoints
/// min_cutoff_hz = 3.0
/// cutoff_per_speed = 6.0
/// ```
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct TrackConfig {
    /// Frames in a row that must show a person before it gets an id, 1 to 30.
    /// Default 2: a false positive of one frame never becomes a track, and a person appears one frame later.
    pub hits_to_confirm: u32,
    /// How long a person may be out of sight and keep the id, seconds, 0 to 10.
    /// Default 1: the span of the lifter's window.
    pub keep_s: f32,
    /// Least similarity (0 to 1) of a person to what its track expects, 0.01 to
    /// 0.9. Default 0.2.
    pub min_similarity: f32,
    /// For how long left/right labels that clearly contradict the previous frames
    /// are swapped back, seconds, 0 to 5. Default 0.4; 0 leaves all labels as they come.
    pub swap_hold_s: f32,
    /// One-euro smoothing of keypoints, speeds in box sizes a second (the square
    /// root of the box's area). Default none: the lifter sees a second at once
    /// and was trained on noisy keypoints, and smoothing delays.
    pub smooth: Option<OneEuroConfig>,
}

impl Default for TrackConfig {
    fn default() -> Self {
        Self {
            hits_to_confirm: 2,
            keep_s: 1.0,
            min_similarity: 0.2,
            swap_hold_s: 0.4,
            smooth: None,
        }
    }
}

impl TrackConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("track.hits_to_confirm", self.hits_to_confirm, 1, 30)?;
        check("track.keep_s", self.keep_s, 0.0, 10.0)?;
        check("track.min_similarity", self.min_similarity, 0.01, 0.9)?;
        check("track.swap_hold_s", self.swap_hold_s, 0.0, 5.0)?;
        if let Some(smooth) = &self.smooth {
            smooth.validate([
                "track.smooth.min_cutoff_hz",
                "track.smooth.cutoff_per_speed",
                "track.smooth.speed_cutoff_hz",
            ])?;
        }
        Ok(())
    }
}

/// A person of this frame and who it is.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedPerson {
    /// Stays with the person from frame to frame; from 1, never given twice.
    pub id: u32,
    /// The detection, with swapped labels set right and, where asked for, smoothed.
    pub detection: Detection,
}

/// The people of one frame, by ascending id.
pub type TrackedPeople = heapless::Vec<TrackedPerson, PEOPLE_MAX>;

/// What has happened since the start; numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackCounters {
    /// Ids given.
    pub confirmed: u64,
    /// Detections dropped as the same person found twice.
    pub duplicates: u64,
    /// Person-frames whose left/right labels were swapped back.
    pub swaps_undone: u64,
    /// Frames left out because their time did not lie after the previous one's.
    pub time_stood_back: u64,
    /// Times the clock was set back and all tracks ended.
    pub clock_was_set: u64,
}

#[derive(Clone, Debug, Default)]
struct Track {
    /// `None` until confirmed.
    id: Option<u32>,
    /// Frames in a row that showed it, up to confirmation.
    hits: u32,
    seen: MonoNs,
    bounds: BoxPx,
    motion: Motion,
    swaps: SwapGuard,
    smooth: [OneEuro<2>; KEYPOINTS],
}

/// Gives people their ids.
///
/// ```
/// use poised::base::clock::MonoNs;
/// use poised::pose::People;
/// use poised::track::{TrackConfig, TrackedPeople, Tracker};
///
/// let mut tracker = Tracker::new(TrackConfig::default());
/// let mut people = TrackedPeople::new();
/// tracker.update(MonoNs(33_000_000), &People::new(), &mut people);
/// assert!(people.is_empty());
/// ```
#[derive(Debug)]
pub struct Tracker {
    config: TrackConfig,
    /// `TRACKS_MAX` places.
    tracks: Box<[Option<Track>]>,
    ids_given: u32,
    last: Option<MonoNs>,
    counters: TrackCounters,
}

impl Tracker {
    /// A new tracker. Takes a validated configuration.
    pub fn new(config: TrackConfig) -> Self {
        Self {
            config,
            tracks: (0..TRACKS_MAX).map(|_| None).collect(),
            ids_given: 0,
            last: None,
            counters: TrackCounters::default(),
        }
    }

    /// What has happened so far.
    pub fn counters(&self) -> TrackCounters {
        self.counters
    }

    /// Ends all tracks, as where another camera or another image begins. Ids stay given.
    pub fn forget(&mut self) {
        self.tracks.fill(None);
    }

    /// Takes the people of the frame of `time` and fills `tracked` with those
    /// that have an id. A frame whose time does not lie after the previous one's
    /// gives no track and is counted.
    pub fn update(&mut self, time: MonoNs, people: &People, tracked: &mut TrackedPeople) {
        self.step(time, people, true, tracked);
    }

    /// As [`Tracker::update`], of a frame in which the person network did not run for every person: that a person
    /// without an id is not in it says nothing.
    pub fn update_partly(&mut self, time: MonoNs, people: &People, tracked: &mut TrackedPeople) {
        self.step(time, people, false, tracked);
    }

    fn step(&mut self, time: MonoNs, people: &People, whole: bool, tracked: &mut TrackedPeople) {
        tracked.clear();
        if let Some(last) = self.last {
            if last.since(time) >= OTHER_CLOCK {
                self.counters.clock_was_set += 1;
                self.tracks.fill(None);
            } else if time <= last {
                self.counters.time_stood_back += 1;
                return;
            }
        }
        self.last = Some(time);

        let detections = self.without_duplicates(people);
        let similarities = self.similarities(time, &detections);
        let assigned = assign(&similarities, detections.len(), self.config.min_similarity);
        let mut seen = [false; TRACKS_MAX];
        for place in assigned.iter().flatten() {
            seen[*place] = true;
        }
        self.end_unseen(time, seen, whole);
        for (detection, place) in detections.iter().zip(assigned) {
            let place = place.unwrap_or_else(|| self.new_place(time, &seen));
            seen[place] = true;
            if let Some(person) = self.observe(place, time, detection) {
                let pushed = tracked.push(person);
                debug_assert!(pushed.is_ok(), "no more than there were detections");
            }
        }
        tracked.sort_unstable_by_key(|person| person.id);
    }

    /// The detections by falling score, without those that show a person again.
    fn without_duplicates<'a>(
        &mut self,
        people: &'a People,
    ) -> heapless::Vec<&'a Detection, PEOPLE_MAX> {
        let mut sorted: heapless::Vec<&Detection, PEOPLE_MAX> = people.iter().collect();
        sorted.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: heapless::Vec<&Detection, PEOPLE_MAX> = heapless::Vec::new();
        for detection in sorted {
            if kept
                .iter()
                .any(|better| between(better, detection) > DUPLICATE)
            {
                self.counters.duplicates += 1;
            } else {
                let pushed = kept.push(detection);
                debug_assert!(pushed.is_ok(), "no more than there were people");
            }
        }
        kept
    }

    fn similarities(&self, time: MonoNs, detections: &[&Detection]) -> Similarities {
        let mut similarities = [[0.0; TRACKS_MAX]; PEOPLE_MAX];
        for (place, track) in self.tracks.iter().enumerate() {
            let Some(track) = track else { continue };
            let expected = track.motion.expect_at(time);
            let bounds = track.expected_bounds(&expected);
            for (row, detection) in similarities.iter_mut().zip(detections) {
                row[place] = similarity::to_expected(&expected, &bounds, detection);
            }
        }
        similarities
    }

    /// Ends tracks that were not seen: after `keep_s`; before they have an id with the first whole frame.
    fn end_unseen(&mut self, time: MonoNs, seen: [bool; TRACKS_MAX], whole: bool) {
        for (slot, seen) in self.tracks.iter_mut().zip(seen) {
            let ends = slot.as_ref().is_some_and(|track| {
                whole && track.id.is_none() || seconds(time, track.seen) > self.config.keep_s
            });
            if !seen && ends {
                *slot = None;
            }
        }
    }

    /// A slot for a new person: a free one, else that of the person unseen for longest.
    fn new_place(&mut self, time: MonoNs, seen: &[bool; TRACKS_MAX]) -> usize {
        let free = self.tracks.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            let unseen = (0..TRACKS_MAX).filter(|&place| !seen[place]);
            let longest = unseen.min_by_key(|&place| {
                let track = self.tracks[place].as_ref();
                track.map_or(MonoNs(0), |track| track.seen)
            });
            longest.expect("there are more places than people in a frame")
        });
        self.tracks[place] = Some(Track {
            seen: time,
            ..Track::default()
        });
        place
    }

    /// Adds a sighting to a track; gives the person back if it has an id.
    fn observe(&mut self, place: usize, time: MonoNs, seen: &Detection) -> Option<TrackedPerson> {
        let track = self.tracks[place].as_mut()?;
        let mut detection = seen.clone();
        let box_px = detection.bounds.area().sqrt();
        if self.config.swap_hold_s > 0.0 {
            let swapped = track.swaps.undo(
                time,
                self.config.swap_hold_s,
                &mut track.motion,
                box_px,
                &mut detection.keypoints,
            );
            self.counters.swaps_undone += u64::from(swapped);
        }
        track.motion.observe(time, &detection.keypoints);
        track.bounds = detection.bounds;
        track.seen = time;
        track.hits = track.hits.saturating_add(1);
        if let Some(config) = &self.config.smooth {
            for (filter, keypoint) in track.smooth.iter_mut().zip(&mut detection.keypoints) {
                if keypoint.is_seen() {
                    let raw = [keypoint.x_px, keypoint.y_px];
                    [keypoint.x_px, keypoint.y_px] = filter.step(config, time, raw, box_px);
                }
            }
        }
        if track.id.is_none() && track.hits >= self.config.hits_to_confirm {
            self.ids_given += 1;
            self.counters.confirmed += 1;
            track.id = Some(self.ids_given);
        }
        track.id.map(|id| TrackedPerson { id, detection })
    }
}

impl Track {
    /// The last box, moved as its keypoints are expected to have moved on average.
    fn expected_bounds(&self, expected: &[Option<motion::Expected>; KEYPOINTS]) -> BoxPx {
        let mut moved = Vec2::ZERO;
        let mut count = 0.0;
        let last = self.motion.expect_at(self.seen);
        for (to, from) in expected.iter().zip(last) {
            if let (Some(to), Some(from)) = (to, from) {
                moved += to.at_px - from.at_px;
                count += 1.0;
            }
        }
        if count > 0.0 {
            moved /= count;
        }
        BoxPx {
            left: self.bounds.left + moved.x,
            top: self.bounds.top + moved.y,
            right: self.bounds.right + moved.x,
            bottom: self.bounds.bottom + moved.y,
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
