//! Two-second windows of what one person did in a clip.

use std::collections::BTreeMap;
use std::time::Duration;

use glam::Vec3;

use super::encoder::{JointSamples, KeypointSamples};
use crate::calibration::Calibration;
use crate::clock::MonoNs;
use crate::lift::window::{Observed, RaySample, Timeline, rays_of};
use crate::limits::{MOTION_FRAMES, MOTION_SAMPLES, RATE_HZ};
use crate::pose::{JointState, PoseSample};
use crate::skeleton::JOINTS;

/// From one window to the next.
const STRIDE: Duration = Duration::from_millis(500);

/// Share of a window's samples that must show the person with joints in space.
const SEEN_SHARE: f32 = 0.8;

/// Joints that must be known in a sample for it to count.
const JOINTS_MIN: usize = 13;

/// Joints of one frame relative to the pelvis, metres, camera frame; `None` where too few are known.
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
    /// Nobody is in it.
    #[error("nobody is seen")]
    Nobody,
    /// Too short.
    #[error("somebody is seen for {seen_s:.1} s, must be at least {want_s:.1}")]
    Short {
        /// For how long.
        seen_s: f64,
        /// For how long it must be.
        want_s: f64,
    },
    /// Too little is seen.
    #[error(
        "no two seconds show at least {JOINTS_MIN} joints in {share:.0} % of their samples",
        share = 100.0 * SEEN_SHARE
    )]
    Hidden,
}

#[derive(Debug, Default)]
struct Person {
    first: Option<MonoNs>,
    last: MonoNs,
    keypoints: Timeline<RaySample, MOTION_FRAMES>,
    joints: Timeline<Posed, MOTION_FRAMES>,
    windows: Vec<ClipWindow>,
}

/// Collects the windows of everybody in a clip.
#[derive(Debug, Default)]
pub struct ClipReader {
    people: BTreeMap<u32, Person>,
}

impl ClipReader {
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
        let person = self.people.entry(id).or_default();
        person.add(time, &keypoints, joints);
    }

    /// The windows of the person who has most of them, in order.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub fn finish(self) -> Result<Vec<ClipWindow>, ClipError> {
        let longest = self
            .people
            .into_values()
            .max_by_key(|person| (person.windows.len(), person.span()))
            .ok_or(ClipError::Nobody)?;
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

impl Person {
    fn span(&self) -> Duration {
        self.first
            .map_or(Duration::ZERO, |first| self.last.since(first))
    }

    fn add(&mut self, time: MonoNs, keypoints: &RaySample, joints: Option<[Vec3; JOINTS]>) {
        // A frame that does not come after the last one says nothing about motion.
        let _ = self.keypoints.push(time, keypoints);
        let _ = self.joints.push(time, &Posed(joints));
        let first = *self.first.get_or_insert(time);
        self.last = time;
        if time.since(first) < window_span() {
            return;
        }
        let last = self.windows.last().map(|window| window.end);
        if last.is_some_and(|last| time.since(last) < STRIDE) {
            return;
        }
        let mut seen = Box::new([RaySample::MISSING; MOTION_SAMPLES]);
        self.keypoints.resample_into(&mut seen[..]);
        let mut posed = vec![Posed::MISSING; MOTION_SAMPLES];
        self.joints.resample_into(&mut posed);
        if let Some(joints_m) = without_gaps(&posed) {
            self.windows.push(ClipWindow {
                end: time,
                keypoints: seen,
                joints_m,
            });
        }
    }
}

/// Samples without joints take those of the nearest sample before, at the beginning
/// of the nearest after; `None` where too many are without.
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
            keypoints: [Keypoint {
                x_px: 20.0,
                y_px: 20.0,
                confidence: 0.9,
            }; KEYPOINTS],
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
            "nobody is seen"
        );
        assert_eq!(
            why(read((0..1000).step_by(100), JointState::Measured)),
            "somebody is seen for 0.9 s, must be at least 2.0"
        );
        assert_eq!(
            why(read((0..4000).step_by(33), JointState::Absent)),
            "no two seconds show at least 13 joints in 80 % of their samples"
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
}
