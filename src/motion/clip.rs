//! Two-second windows of what one person did in a clip.

use std::collections::BTreeMap;
use std::time::Duration;

use glam::Vec3;

use super::encoder::{JointSamples, KeypointSamples};
use crate::base::clock::MonoNs;
use crate::base::limits::{MOTION_FRAMES, MOTION_SAMPLES, RATE_HZ};
use crate::camera::Calibration;
use crate::lift::window::{Observed, RaySample, Timeline, rays_of};
use crate::pose::{JointState, PoseSample};
use crate::skeleton::JOINTS;

/// From one window to the next.
const STRIDE: Duration = Duration::from_millis(500);

/// Windows kept of a person: ten minutes, 29 MB. Clips that show one action are shorter.
const CLIP_WINDOWS_MAX: usize = 1200;

/// A person not seen for so long has left: longer than any tracker keeps a name (`track.keep_s`).
const GONE_AFTER: Duration = Duration::from_secs(12);

/// Share of a window's samples that must show the person with joints in space.
const SEEN_SHARE: f32 = 0.8;

/// Joints that must be known in a sample for it to count.
const JOINTS_MIN: usize = 13;

/// Joints of one frame relative to the pelvis, metres, camera frame; `None` if too few are known.
#[derive(Clone, Debug)]
struct Posed(Option<[Vec3; JOINTS]>);

impl Observed for Posed {
    const MISSING: Self = Self(None);

    fn between(before: &Self, after: &Self, share: f32) -> Self {
        Self(before.0.zip(after.0).map(|(before, after)| {
            std::array::from_fn(|joint| before[joint].lerp(after[joint], share))
        }))
    }
}

/// One window, newest sample last.
#[derive(Clone, Debug)]
pub struct ClipWindow {
    /// When its newest sample is.
    pub end: MonoNs,
    /// What was seen in the image.
    pub keypoints: Box<KeypointSamples>,
    /// Joints relative to the pelvis, metres.
    pub joints_m: Box<JointSamples>,
}

/// Why a clip cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// No person is in it.
    #[error("no person is seen")]
    NoPerson,
    /// Too short.
    #[error("a person is seen for {seen_s:.1} s, must be at least {want_s:.1}")]
    Short {
        /// For how long.
        seen_s: f64,
        /// For how long it must be.
        want_s: f64,
    },
    /// Too long.
    #[error("a person is seen for more than {most_s} s; cut it into shorter clips")]
    Long {
        /// For how long at most.
        most_s: u64,
    },
    /// Too little is seen.
    #[error(
        "no window of two seconds shows at least {JOINTS_MIN} joints in {share:.0} % of its samples",
        share = 100.0 * SEEN_SHARE
    )]
    Hidden,
}

/// A person in view.
#[derive(Debug, Default)]
struct Timelines {
    keypoints: Timeline<RaySample, MOTION_FRAMES>,
    joints: Timeline<Posed, MOTION_FRAMES>,
}

/// What was seen of a person.
#[derive(Debug)]
struct PersonTimeline<T> {
    first: MonoNs,
    last: MonoNs,
    /// End of the newest window.
    ended: Option<MonoNs>,
    windows: Vec<T>,
    /// More windows than are kept.
    overflowed: bool,
    /// 100 kB.
    timelines: Box<Timelines>,
}

/// Collects the windows of the people in a clip.
///
/// Memory is bounded for a clip of any length: of those who left, only the one seen longest is kept, and of each
/// person at most so many windows.
pub struct ClipReader<'a, T = ClipWindow> {
    /// Those in view, by id.
    people: BTreeMap<u32, PersonTimeline<T>>,
    /// Of those who left, the one seen longest.
    longest: Option<PersonTimeline<T>>,
    /// What is kept of a window.
    keep: Box<dyn FnMut(ClipWindow) -> Option<T> + 'a>,
    /// Windows kept of a person.
    most: usize,
}

impl Default for ClipReader<'_> {
    fn default() -> Self {
        Self::keeping(CLIP_WINDOWS_MAX, Some)
    }
}

impl<T> std::fmt::Debug for ClipReader<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClipReader")
            .field("people", &self.people.len())
            .finish_non_exhaustive()
    }
}

impl<'a, T> ClipReader<'a, T> {
    /// Keeps at most `most` windows of a person, and of each what `keep` makes of it.
    pub fn keeping(most: usize, keep: impl FnMut(ClipWindow) -> Option<T> + 'a) -> Self {
        Self {
            people: BTreeMap::new(),
            longest: None,
            keep: Box::new(keep),
            most,
        }
    }

    /// Takes a frame. Joints of unseen limbs count where they were completed.
    pub fn add(&mut self, calibration: &Calibration, sample: &PoseSample) {
        for pose in &sample.people {
            let known = pose
                .states
                .iter()
                .filter(|state| **state != JointState::Absent)
                .count();
            let root = pose.root_camera_m;
            let joints = (known >= JOINTS_MIN).then(|| {
                std::array::from_fn(|joint| {
                    if pose.states[joint] == JointState::Absent {
                        return Vec3::ZERO;
                    }
                    pose.joints_camera_m[joint] - root
                })
            });
            let keypoints = rays_of(calibration, &pose.keypoints);
            self.add_person(pose.id, sample.capture, Some(keypoints), joints);
        }
    }

    /// Takes one person of a frame: keypoints as rays and joints in metres, as far as they are known.
    pub fn add_person(
        &mut self,
        id: u32,
        time: MonoNs,
        keypoints: Option<RaySample>,
        joints: Option<[Vec3; JOINTS]>,
    ) {
        let keypoints = keypoints.unwrap_or(RaySample::MISSING);
        if !self.people.contains_key(&id) {
            self.end_unseen(time);
        }
        let person = self
            .people
            .entry(id)
            .or_insert_with(|| PersonTimeline::of(time));
        let Some(window) = person.add(time, &keypoints, joints) else {
            return;
        };
        if person.windows.len() >= self.most {
            person.overflowed = true;
        } else {
            person.windows.extend((self.keep)(window));
        }
    }

    /// Takes leave of those who have not been seen for a while.
    fn end_unseen(&mut self, time: MonoNs) {
        let gone = self
            .people
            .extract_if(.., |_, person| time.since(person.last) > GONE_AFTER);
        let gone = gone.map(|(_, person)| person);
        self.longest = gone
            .chain(self.longest.take())
            .max_by_key(PersonTimeline::length);
    }

    /// The windows of the person who has most of them, in order.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub fn finish(self) -> Result<Vec<T>, ClipError> {
        let longest = self
            .people
            .into_values()
            .chain(self.longest)
            .max_by_key(PersonTimeline::length)
            .ok_or(ClipError::NoPerson)?;
        if longest.overflowed {
            let most = u32::try_from(self.most).unwrap_or(u32::MAX);
            let most_s = (STRIDE * most).as_secs();
            return Err(ClipError::Long { most_s });
        }
        if !longest.windows.is_empty() {
            return Ok(longest.windows);
        }
        let (seen_s, want_s) = (longest.span().as_secs_f64(), window_span().as_secs_f64());
        if seen_s < want_s {
            return Err(ClipError::Short { seen_s, want_s });
        }
        Err(ClipError::Hidden)
    }
}

/// From the oldest to the newest sample of a window.
fn window_span() -> Duration {
    let steps = u32::try_from(MOTION_SAMPLES - 1).unwrap_or(u32::MAX);
    Duration::from_secs(1) * steps / RATE_HZ
}

impl<T> PersonTimeline<T> {
    fn of(first: MonoNs) -> Self {
        Self {
            first,
            last: first,
            ended: None,
            windows: Vec::new(),
            overflowed: false,
            timelines: Box::default(),
        }
    }

    fn span(&self) -> Duration {
        self.last.since(self.first)
    }

    /// What is longest where people are compared.
    fn length(&self) -> (usize, Duration) {
        (self.windows.len(), self.span())
    }

    /// Takes a frame; gives a window where one is due and shows enough.
    fn add(
        &mut self,
        time: MonoNs,
        keypoints: &RaySample,
        joints: Option<[Vec3; JOINTS]>,
    ) -> Option<ClipWindow> {
        // A frame that does not come after the last one says nothing about motion.
        let _ = self.timelines.keypoints.push(time, keypoints);
        let _ = self.timelines.joints.push(time, &Posed(joints));
        self.last = time;
        if self.span() < window_span() {
            return None;
        }
        if self.ended.is_some_and(|ended| time.since(ended) < STRIDE) {
            return None;
        }
        let mut seen = Box::new([RaySample::MISSING; MOTION_SAMPLES]);
        self.timelines.keypoints.resample_into(&mut seen[..]);
        let mut posed = vec![Posed::MISSING; MOTION_SAMPLES];
        self.timelines.joints.resample_into(&mut posed);
        let joints_m = without_gaps(&posed)?;
        self.ended = Some(time);
        Some(ClipWindow {
            end: time,
            keypoints: seen,
            joints_m,
        })
    }
}

/// Samples without joints take those of the nearest sample before, at the beginning
/// of the nearest after; `None` if too many are without.
fn without_gaps(posed: &[Posed]) -> Option<Box<JointSamples>> {
    let seen = posed.iter().filter(|sample| sample.0.is_some()).count();
    #[expect(clippy::cast_precision_loss, reason = "sixty samples")]
    if (seen as f32) < SEEN_SHARE * posed.len() as f32 {
        return None;
    }
    let mut nearest = posed.iter().find_map(|sample| sample.0)?;
    let mut out = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
    for (row, sample) in out.iter_mut().zip(posed) {
        nearest = sample.0.unwrap_or(nearest);
        *row = nearest;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pose::{BoxPx, HeadTag, Keypoint, PersonPose};
    use crate::skeleton::KEYPOINTS;

    fn sample(ms: u64, id: u32, state: JointState) -> PoseSample {
        let mut sample = PoseSample {
            capture: MonoNs(1_000_000_000 + ms * 1_000_000),
            ..PoseSample::default()
        };
        let pose = PersonPose {
            id,
            score: 1.0,
            bounds: BoxPx::default(),
            root_camera_m: Vec3::new(0.0, 0.0, 3.0),
            size: crate::pose::Size::default(),
            root_sigma_m: 0.1,
            joints_camera_m: std::array::from_fn(|joint| {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                Vec3::new(ms as f32 * 1e-3, joint as f32, 3.0)
            }),
            sigmas_m: [0.05; JOINTS],
            states: [state; JOINTS],
            keypoints: [Keypoint::new(20.0, 20.0, 0.9); KEYPOINTS],
            action: None,
            head: HeadTag::default(),
        };
        sample.people.push(pose).unwrap();
        sample
    }

    fn read(
        times_ms: impl Iterator<Item = u64>,
        state: JointState,
    ) -> Result<Vec<ClipWindow>, ClipError> {
        let camera = Calibration::assumed(64, 64);
        let mut reader = ClipReader::default();
        for ms in times_ms {
            reader.add(&camera, &sample(ms, 1, state));
        }
        reader.finish()
    }

    #[test]
    fn windows_come_every_half_second_at_any_frame_rate() {
        for step in [16, 40, 100, 200] {
            let windows = read((0..4000).step_by(step), JointState::Measured).unwrap();
            assert_eq!(windows.len(), 4, "{step} ms");
            let newest = windows[0].joints_m[MOTION_SAMPLES - 1][0].x;
            let oldest = windows[0].joints_m[0][0].x;
            assert!((newest - oldest - 59.0 / 30.0).abs() < 0.02, "{step} ms");
        }
    }

    #[test]
    fn a_clip_that_is_of_no_use_says_why() {
        let why = |result: Result<Vec<ClipWindow>, ClipError>| result.unwrap_err().to_string();
        assert_eq!(
            why(read(std::iter::empty(), JointState::Measured)),
            "no person is seen"
        );
        assert_eq!(
            why(read((0..1000).step_by(100), JointState::Measured)),
            "a person is seen for 0.9 s, must be at least 2.0"
        );
        assert_eq!(
            why(read((0..4000).step_by(33), JointState::Absent)),
            "no window of two seconds shows at least 13 joints in 80 % of its samples"
        );
    }

    #[test]
    fn the_person_seen_longest_is_taken() {
        let camera = Calibration::assumed(64, 64);
        let mut reader = ClipReader::default();
        for ms in (0..2500).step_by(40) {
            reader.add(&camera, &sample(ms, 1, JointState::Measured));
        }
        for ms in (0..5000).step_by(40) {
            reader.add(&camera, &sample(ms, 2, JointState::Measured));
        }
        assert_eq!(reader.finish().unwrap().len(), 6);
    }

    #[test]
    fn of_people_who_left_only_the_one_seen_longest_takes_memory() {
        let camera = Calibration::assumed(64, 64);
        let mut reader = ClipReader::default();
        // A day with a visitor every minute; the third stays longest.
        for visitor in 0..1440_u32 {
            let stay_ms = if visitor == 2 { 6000 } else { 4000 };
            for ms in (0..stay_ms).step_by(200) {
                let at_ms = u64::from(visitor) * 60_000 + ms;
                reader.add(&camera, &sample(at_ms, visitor, JointState::Measured));
            }
            assert!(reader.people.len() <= 2, "{}", reader.people.len());
        }
        let windows = reader.finish().unwrap();
        assert_eq!(windows.len(), 7);
        assert_eq!(windows[0].end.0 / 60_000_000_000, 2);
    }

    #[test]
    fn a_person_who_stays_all_day_is_too_long_for_a_clip_and_kept_in_short_form() {
        let camera = Calibration::assumed(64, 64);
        let mut clip = ClipReader::default();
        let mut ends = ClipReader::keeping(10_000, |window| Some(window.end));
        for ms in (0..700_000).step_by(250) {
            let sample = sample(ms, 1, JointState::Measured);
            clip.add(&camera, &sample);
            ends.add(&camera, &sample);
        }
        let error = clip.finish().unwrap_err().to_string();
        assert!(error.contains("more than 600 s"), "{error}");
        assert_eq!(ends.finish().unwrap().len(), 1396);
    }
}
