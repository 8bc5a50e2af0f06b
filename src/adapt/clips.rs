//! What people did before this camera: short clips of poses, and which keypoints were seen when.
//!
//! Poses come as the lifter gives them and are resampled to [`RATE_HZ`]. A full clip is smoothed with what came
//! before and after, which the hot path cannot do, and its bones are given one length: that of the person so far, as
//! large as the factory head takes them for. How large a person is cannot be learned from rays; without that anchor
//! sizes would wander. Clips are kept in memory only; a full store drops one at random, so that the last hour is
//! there as well as the last minute.

use glam::Vec3;

use super::Observation;
use super::observation::OneLabel;
use crate::base::clock::MonoNs;
use crate::base::limits::{LIFT_SAMPLES, RATE_HZ};
use crate::lift::head::HIDDEN;
use crate::lift::window::BRIDGE;
use crate::skeleton::{JOINT_MIRROR, JOINTS, KEYPOINTS, PARENTS};

/// Samples of a clip, 1.8 s: twice what the lifter looks at.
pub const CLIP_SAMPLES: usize = 2 * LIFT_SAMPLES;

/// Clips kept: nearly four minutes of one person, 2.0 MB.
pub const CLIPS_MAX: usize = 128;

/// Every so many-th clip is held back from learning, for the guard.
const HELD_EVERY: u64 = 4;

/// Standard deviation of the smoothing over time, samples.
const SMOOTH: f32 = 2.0;

/// Samples before and after that smoothing takes in.
const SMOOTH_REACH: usize = 6;

/// Frames over which a person's bones are averaged at most.
const BONE_SPAN: f32 = 900.0;

/// Largest corrections of a size.
const SCALES: (f32, f32) = (0.7, 1.4);

/// A person at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipSample {
    /// Joints in the camera frame, metres.
    pub joints_camera_m: [Vec3; JOINTS],
    /// Visibility of each keypoint, 0 where it was not seen.
    pub visibilities: [f32; KEYPOINTS],
}

/// A stretch of motion of one person at [`RATE_HZ`].
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Poses, oldest first.
    pub shown: [ClipSample; CLIP_SAMPLES],
    /// What the image added to the hidden layer for this person, on the mean ([`crate::lift::head::Head::image_part`]).
    pub image_part: [f32; HIDDEN],
    /// What the person did, an entry of the dictionary, where that was known and the same all the time.
    pub label: Option<usize>,
}

/// A person whose clip is being filled.
#[derive(Debug)]
struct Track {
    id: u32,
    last: MonoNs,
    shown: ClipSample,
    /// Time of the next sample.
    next: MonoNs,
    samples: Vec<ClipSample>,
    bones_m: [f32; JOINTS],
    /// Sum of the bones as the factory head has them.
    size_m: f32,
    /// What the image adds, on the mean.
    image_part: [f32; HIDDEN],
    frames: f32,
    /// Of the clip that is being filled.
    label: OneLabel,
}

/// Clips, and those that are being filled.
#[derive(Debug)]
pub struct Clips {
    tracks: Vec<Track>,
    learn: Vec<Clip>,
    held: Vec<Clip>,
    taken: u64,
}

impl Clip {
    /// Numbers that stand for nothing, to fill room with.
    const fn nothing() -> Self {
        let unseen = ClipSample {
            joints_camera_m: [Vec3::NAN; JOINTS],
            visibilities: [f32::NAN; KEYPOINTS],
        };
        Self {
            shown: [unseen; CLIP_SAMPLES],
            image_part: [f32::NAN; HIDDEN],
            label: None,
        }
    }
}

const UNSEEN: ClipSample = ClipSample {
    joints_camera_m: [Vec3::ZERO; JOINTS],
    visibilities: [0.0; KEYPOINTS],
};

impl Default for Clips {
    fn default() -> Self {
        Self::new()
    }
}

impl Clips {
    /// None yet; room for all of them.
    pub fn new() -> Self {
        let held = CLIPS_MAX / 4;
        Self {
            tracks: Vec::with_capacity(crate::base::limits::TRACKS_MAX),
            learn: super::touched(CLIPS_MAX - held, &Clip::nothing()),
            held: super::touched(held, &Clip::nothing()),
            taken: 0,
        }
    }

    /// Clips to learn from.
    pub fn to_learn(&self) -> &[Clip] {
        &self.learn
    }

    /// Clips that nothing is learned from.
    pub fn held_back(&self) -> &[Clip] {
        &self.held
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.tracks.clear();
        self.learn.clear();
        self.held.clear();
        self.taken = 0;
    }

    /// Takes a person of a frame, and the sum of the bones as the factory head has them. `rng` says which clip
    /// a full store drops.
    pub fn take(&mut self, observation: &Observation, size_m: f32, rng: &mut fastrand::Rng) {
        let (time, id) = (observation.time, observation.id);
        let shown = ClipSample {
            joints_camera_m: observation.joints_camera_m,
            visibilities: observation.rays.map(|keypoint| keypoint.visibility),
        };
        let Some(place) = self.track(time, id, &shown) else {
            return;
        };
        let track = &mut self.tracks[place];
        track.follow_body(observation, size_m);
        track.label.take(observation.label);
        track.fill(time, &shown);
        if track.samples.len() < CLIP_SAMPLES {
            return;
        }
        let clip = track.finish();
        let held = self.taken.is_multiple_of(HELD_EVERY);
        self.taken += 1;
        let store = if held {
            &mut self.held
        } else {
            &mut self.learn
        };
        if store.len() < store.capacity() {
            store.push(clip);
        } else {
            let at = rng.usize(..store.len());
            store[at] = clip;
        }
    }

    /// The slot of a person already tracked; `None` for a new person, or after a gap.
    fn track(&mut self, time: MonoNs, id: u32, shown: &ClipSample) -> Option<usize> {
        let place = self.tracks.iter().position(|track| track.id == id);
        // Made for a newcomer only: it has room of its own.
        let begun = || Track {
            id,
            last: time,
            shown: *shown,
            next: time,
            samples: Vec::with_capacity(CLIP_SAMPLES),
            bones_m: [0.0; JOINTS],
            size_m: 0.0,
            image_part: [0.0; HIDDEN],
            frames: 0.0,
            label: OneLabel::default(),
        };
        let Some(place) = place else {
            if self.tracks.len() == self.tracks.capacity() {
                let oldest = (0..self.tracks.len()).min_by_key(|at| self.tracks[*at].last)?;
                self.tracks.swap_remove(oldest);
            }
            self.tracks.push(begun());
            return None;
        };
        let track = &mut self.tracks[place];
        if time <= track.last || time.since(track.last) > BRIDGE {
            track.samples.clear();
            track.label = OneLabel::default();
            track.last = time;
            track.shown = *shown;
            track.next = time;
            return None;
        }
        Some(place)
    }
}

impl Track {
    /// Adds samples between the last pose and this one.
    fn fill(&mut self, time: MonoNs, shown: &ClipSample) {
        let span = time.since(self.last).as_secs_f32();
        let period = std::time::Duration::from_secs(1) / RATE_HZ;
        while self.next <= time && self.samples.len() < CLIP_SAMPLES {
            let share = self.next.since(self.last).as_secs_f32() / span;
            self.samples.push(between(&self.shown, shown, share));
            self.next = self.next.plus(period);
        }
        self.last = time;
        self.shown = *shown;
    }

    fn follow_body(&mut self, observation: &Observation, size_m: f32) {
        self.frames = (self.frames + 1.0).min(BONE_SPAN);
        for (mean, part) in self.image_part.iter_mut().zip(&observation.image_part) {
            *mean += (part - *mean) / self.frames;
        }
        let joints_m = &observation.joints_camera_m;
        self.size_m += (size_m - self.size_m) / self.frames;
        for (joint, usual) in self.bones_m.iter_mut().enumerate() {
            let length = (joints_m[joint] - joints_m[PARENTS[joint]]).length();
            *usual += (length - *usual) / self.frames;
        }
    }

    /// What makes the person as large as the factory head has them.
    fn scale(&self) -> f32 {
        let sum: f32 = self.bones_m.iter().sum();
        (self.size_m / sum.max(0.1)).clamp(SCALES.0, SCALES.1)
    }

    /// The full clip, smooth and with bones of one length; the next one begins after it.
    fn finish(&mut self) -> Clip {
        let mut clip = Clip {
            shown: [UNSEEN; CLIP_SAMPLES],
            image_part: self.image_part,
            label: std::mem::take(&mut self.label).settled(),
        };
        let scale = self.scale();
        for (at, out) in clip.shown.iter_mut().enumerate() {
            *out = self.samples[at];
            let joints = smoothed(&self.samples, at);
            out.joints_camera_m = joints;
            for joint in 1..JOINTS {
                let parent = PARENTS[joint];
                let bone = (joints[joint] - joints[parent]).normalize_or_zero();
                let length = 0.5 * (self.bones_m[joint] + self.bones_m[JOINT_MIRROR[joint]]);
                out.joints_camera_m[joint] = out.joints_camera_m[parent] + length * bone;
            }
            // About the camera: rays stay what they are.
            for joint in &mut out.joints_camera_m {
                *joint *= scale;
            }
        }
        self.samples.clear();
        clip
    }
}

/// A share of the way between two poses; a keypoint is seen where both see it.
fn between(a: &ClipSample, b: &ClipSample, share: f32) -> ClipSample {
    ClipSample {
        joints_camera_m: std::array::from_fn(|joint| {
            a.joints_camera_m[joint].lerp(b.joints_camera_m[joint], share)
        }),
        visibilities: std::array::from_fn(|keypoint| {
            let (a, b) = (a.visibilities[keypoint], b.visibilities[keypoint]);
            if a > 0.0 && b > 0.0 {
                a + share * (b - a)
            } else {
                0.0
            }
        }),
    }
}

/// Joints at one sample, those around it taken in.
fn smoothed(samples: &[ClipSample], at: usize) -> [Vec3; JOINTS] {
    let mut sum = [Vec3::ZERO; JOINTS];
    let mut weights = 0.0;
    let from = at.saturating_sub(SMOOTH_REACH);
    for (other, shown) in samples
        .iter()
        .enumerate()
        .skip(from)
        .take(at + SMOOTH_REACH + 1 - from)
    {
        #[expect(clippy::cast_precision_loss, reason = "a few samples")]
        let apart = other.abs_diff(at) as f32 / SMOOTH;
        let weight = (-0.5 * apart * apart).exp();
        weights += weight;
        for (sum, joint) in sum.iter_mut().zip(&shown.joints_camera_m) {
            *sum += weight * *joint;
        }
    }
    sum.map(|joint| joint / weights)
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers of frames"
)]
mod tests {
    use super::*;
    use crate::adapt::observation::tests::observation;
    use std::time::Duration;

    fn pose(at_s: f32) -> [Vec3; JOINTS] {
        std::array::from_fn(|joint| Vec3::new(at_s, 0.1 * joint as f32, 3.0))
    }

    fn size(joints_m: &[Vec3; JOINTS]) -> f32 {
        (1..JOINTS)
            .map(|joint| (joints_m[joint] - joints_m[PARENTS[joint]]).length())
            .sum()
    }

    fn walk(clips: &mut Clips, id: u32, from_s: f32, seconds: f32, rate_hz: f32) {
        let mut rng = fastrand::Rng::with_seed(1);
        for frame in 0..(seconds * rate_hz) as usize {
            let at_s = from_s + frame as f32 / rate_hz;
            let time = MonoNs(1_000_000_000).plus(Duration::from_secs_f32(at_s));
            let mut observation = observation(time, id);
            observation.joints_camera_m = pose(at_s);
            clips.take(&observation, size(&pose(0.0)), &mut rng);
        }
    }

    #[test]
    fn motion_at_any_rate_becomes_clips_at_thirty() {
        for rate_hz in [10.0, 25.0, 60.0] {
            let mut clips = Clips::new();
            walk(&mut clips, 1, 0.0, 8.0, rate_hz);
            assert_eq!(clips.held_back().len(), 1, "{rate_hz}");
            assert!((2..=3).contains(&clips.to_learn().len()), "{rate_hz}");
            let clip = &clips.to_learn()[0].shown;
            let step = (clip[30].joints_camera_m[0] - clip[20].joints_camera_m[0]).x;
            assert!((step - 10.0 / 30.0).abs() < 0.01, "{rate_hz}: {step}");
            assert!(clip.iter().all(|shown| shown.visibilities[0] > 0.7));
        }
    }

    #[test]
    fn a_gap_or_a_clock_that_steps_back_starts_a_new_clip() {
        let mut clips = Clips::new();
        for round in 0..6 {
            walk(&mut clips, 1, 2.0 * round as f32, 1.0, 30.0);
        }
        walk(&mut clips, 1, 0.0, 1.0, 30.0);
        assert!(clips.held_back().is_empty());
    }

    #[test]
    fn the_store_stays_within_its_bound_with_many_people() {
        let mut clips = Clips::new();
        for id in 0..400 {
            walk(&mut clips, id, 10.0 * id as f32, 4.0, 30.0);
        }
        assert_eq!(clips.to_learn().len() + clips.held_back().len(), CLIPS_MAX);
    }

    #[test]
    fn bones_have_one_length_in_a_clip() {
        let mut clips = Clips::new();
        let mut rng = fastrand::Rng::with_seed(1);
        for frame in 0..60 {
            let scale = 1.0 + 0.1 * rng.f32();
            let time = MonoNs(1_000_000_000).plus(Duration::from_millis(33) * frame);
            let joints = pose(0.0).map(|joint| scale * joint);
            let mut observation = observation(time, 1);
            observation.joints_camera_m = joints;
            clips.take(&observation, size(&pose(0.0)), &mut rng);
        }
        let clip = &clips.held_back()[0].shown;
        let bone =
            |shown: &ClipSample| (shown.joints_camera_m[2] - shown.joints_camera_m[1]).length();
        for shown in clip {
            assert!((bone(shown) - bone(&clip[0])).abs() < 1e-4);
            let joints = &shown.joints_camera_m;
            assert!(
                (size(joints) - size(&pose(0.0))).abs() < 1e-3,
                "as large as is said"
            );
        }
    }
}
