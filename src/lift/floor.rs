//! A person's size, from the floor under their feet.
//!
//! A single camera sees a child at two metres as it sees an adult at three. Where it is
//! known how the camera hangs ([`Mount`]), the feet tell: with the pose and the root scaled
//! by `s` about the camera, rays stay what they are, and the lower ankle stands on the floor
//! when
//!
//! ```text
//! height - s d = s a        so        s = height / (d + a)
//! ```
//!
//! with `d` how far the ankle lies below the camera and `a` how high an ankle is. A person who
//! jumps or steps on something has a foot above the floor and looks larger, so the size is
//! the lower fifth of what the last seconds said, drawn towards the lifter's own guess by as
//! much as mount and feet are uncertain.

use std::time::Duration;

use glam::Vec3;

use crate::base::clock::MonoNs;
use crate::camera::Mount;
use crate::pose::{Size, SizeSource};
use crate::skeleton::JOINTS;

/// Standard deviation of the guessed size as the floor corrects it: wider than
/// [`crate::pose::GUESS_SIGMA`], because who the guess fits worst, children, are who the floor is for.
const PRIOR_SIGMA: f32 = 0.2;

/// Height of an ankle above the floor for a body of the lifter's size, metres: median of
/// people who stand, in the motion that the lifter was trained on.
const ANKLE_M: f32 = 0.085;

/// Both ankles, joints of the skeleton.
const ANKLES: [usize; 2] = [3, 6];

/// How often feet are looked at: nearer samples say the same.
const EVERY: Duration = Duration::from_millis(50);

/// Samples kept: the last thirteen seconds in which feet were seen.
const SAMPLES: usize = 256;

/// Samples before they count.
const SAMPLES_MIN: usize = 3;

/// The share of samples below the one that is taken.
const QUANTILE: f32 = 0.2;

/// Nearest the floor may be below the camera, metres: nearer, feet are at its own height and
/// say nothing.
const BELOW_MIN_M: f32 = 0.4;

/// Sizes outside are not people of whom the lifter has seen any, but feet that are mistaken.
const FACTORS: (f32, f32) = (0.5, 1.6);

/// Standard deviation of how high a camera is said to hang, relative: a tape measure, a
/// floor that is not quite even.
const HEIGHT_SIGMA: f32 = 0.03;

/// Standard deviation of how far down it is said to look, radians: one degree.
const TILT_SIGMA: f32 = 0.017;

/// Standard deviation of one sample, relative: where an ankle is seen, whether it stands.
const SAMPLE_SIGMA: f32 = 0.08;

/// Samples that say something new: feet that stand still repeat themselves.
const SAMPLES_NEW: f32 = 16.0;

/// Time in which the size follows what is known of it, seconds.
const FOLLOW_S: f32 = 0.15;

/// What is kept of one person's feet.
#[derive(Clone, Debug)]
pub struct FloorMemory {
    samples: [f32; SAMPLES],
    count: usize,
    sampled: Option<MonoNs>,
    stepped: Option<MonoNs>,
    wanted: Size,
    factor: f32,
}

impl Default for FloorMemory {
    fn default() -> Self {
        Self {
            samples: [1.0; SAMPLES],
            count: 0,
            sampled: None,
            stepped: None,
            wanted: Size::default(),
            factor: 1.0,
        }
    }
}

impl FloorMemory {
    /// Forgets the person.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the lifter's own joints of the frame of `time`, camera frame, metres, and which
    /// of them are seen; says by how much to scale them.
    pub fn step(
        &mut self,
        time: MonoNs,
        mount: &Mount,
        joints_camera_m: &[Vec3; JOINTS],
        seen: impl Fn(usize) -> bool,
    ) -> Size {
        let due = self.sampled.is_none_or(|last| time.since(last) >= EVERY);
        if due && ANKLES.into_iter().all(seen) {
            self.sampled = Some(time);
            if let Some((factor, mount_sigma)) = sample(mount, joints_camera_m) {
                self.samples[self.count % SAMPLES] = factor;
                self.count += 1;
                self.wanted = self.conclude(mount_sigma);
            }
        }
        let passed = self.stepped.map_or(Duration::ZERO, |last| time.since(last));
        self.stepped = Some(time);
        let share = 1.0 - (-passed.as_secs_f32() / FOLLOW_S).exp();
        self.factor += share * (self.wanted.factor - self.factor);
        Size {
            factor: self.factor,
            ..self.wanted
        }
    }

    /// The size that all samples say.
    fn conclude(&self, mount_sigma: f32) -> Size {
        let known = self.count.min(SAMPLES);
        if known < SAMPLES_MIN {
            return Size::default();
        }
        let mut sorted = self.samples;
        let sorted = &mut sorted[..known];
        sorted.sort_unstable_by(f32::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 256 samples"
        )]
        let (at, new) = (
            (QUANTILE * (known - 1) as f32).round() as usize,
            (known as f32).min(SAMPLES_NEW),
        );
        let variance = mount_sigma * mount_sigma + SAMPLE_SIGMA * SAMPLE_SIGMA / new;
        let prior = PRIOR_SIGMA * PRIOR_SIGMA;
        Size {
            factor: (sorted[at].ln() * prior / (prior + variance)).exp(),
            sigma: (prior * variance / (prior + variance)).sqrt(),
            source: SizeSource::Floor,
        }
    }
}

/// The size that one pose says, and the relative standard deviation that it has from the mount.
fn sample(mount: &Mount, joints_camera_m: &[Vec3; JOINTS]) -> Option<(f32, f32)> {
    let up = mount.up();
    let ankle = ANKLES
        .map(|joint| joints_camera_m[joint])
        .into_iter()
        .min_by(|a, b| a.dot(up).total_cmp(&b.dot(up)))?;
    let below = ANKLE_M - ankle.dot(up);
    if below.is_nan() || below < BELOW_MIN_M {
        return None;
    }
    let factor = mount.height_m / below;
    let along = (ankle - ankle.dot(up) * up).length();
    let sigma = HEIGHT_SIGMA.hypot(TILT_SIGMA * along / below);
    (FACTORS.0..=FACTORS.1)
        .contains(&factor)
        .then_some((factor, sigma))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount() -> Mount {
        Mount {
            height_m: 1.8,
            down_deg: 20.0,
            roll_deg: 2.0,
        }
    }

    /// A person whose lower ankle is at `height_m` above the floor, 3 m away.
    fn standing(height_m: f32) -> [Vec3; JOINTS] {
        let up = mount().up();
        let forward = (Vec3::Z - Vec3::Z.dot(up) * up).normalize();
        let mut joints = [3.0 * forward; JOINTS];
        joints[3] += (height_m - 1.8) * up;
        joints[6] += (height_m + 0.3 - 1.8) * up;
        joints
    }

    fn after(memory: &mut FloorMemory, joints: &[Vec3; JOINTS], seconds: u64) -> Size {
        let begin = memory.stepped.map_or(1_000_000_000, |last| last.0);
        let mut size = Size::default();
        for frame in 1..=30 * seconds {
            let time = MonoNs(begin + frame * 33_333_333);
            size = memory.step(time, &mount(), joints, |_| true);
        }
        size
    }

    #[test]
    fn a_person_standing_on_the_floor_keeps_their_size() {
        let size = after(&mut FloorMemory::default(), &standing(ANKLE_M), 3);
        assert!((size.factor - 1.0).abs() < 1e-3, "{size:?}");
        assert_eq!(size.source, SizeSource::Floor);
        assert!(size.sigma < 0.08, "{size:?}");
    }

    #[test]
    fn a_child_that_was_taken_for_an_adult_is_made_smaller() {
        // The lifter put the feet a quarter too far below the camera.
        let joints = standing(ANKLE_M).map(|joint| 1.25 * joint);
        let size = after(&mut FloorMemory::default(), &joints, 3);
        assert!((0.79..0.86).contains(&size.factor), "{size:?}");
    }

    #[test]
    fn jumps_do_not_make_taller() {
        let mut memory = FloorMemory::default();
        for _ in 0..4 {
            after(&mut memory, &standing(ANKLE_M), 2);
            after(&mut memory, &standing(ANKLE_M + 0.4), 1);
        }
        assert!((memory.factor - 1.0).abs() < 0.02, "{}", memory.factor);
    }

    #[test]
    fn without_feet_or_with_feet_at_the_cameras_height_the_guess_stands() {
        let mut memory = FloorMemory::default();
        let joints = standing(ANKLE_M).map(|joint| 1.25 * joint);
        for frame in 0..60 {
            let time = MonoNs(1_000_000_000 + frame * 33_333_333);
            let size = memory.step(time, &mount(), &joints, |joint| joint != 6);
            assert_eq!(size, Size::default());
        }
        let size = after(&mut memory, &standing(1.7), 3);
        assert_eq!(size, Size::default());
    }

    fn level() -> Mount {
        Mount {
            height_m: 1.5,
            down_deg: 0.0,
            roll_deg: 0.0,
        }
    }

    /// Joints with the lower ankle `below_m` below a level camera, 3 m ahead and 4 m aside.
    fn ankle_below(below_m: f32) -> [Vec3; JOINTS] {
        let mut joints = [Vec3::new(4.0, 0.0, 3.0); JOINTS];
        joints[3].y = below_m - 0.2;
        joints[6].y = below_m;
        joints
    }

    #[test]
    fn a_sample_is_the_height_by_how_far_the_lower_ankle_lies_below() {
        let (factor, sigma) = sample(&level(), &ankle_below(1.2 - ANKLE_M)).unwrap();
        assert!((factor - 1.25).abs() < 1e-5, "{factor}");
        // 5 m along the floor, where a degree is 85 mm by 1.2 m, and a tape measure of 3 %.
        let tilt = TILT_SIGMA * 5.0 / 1.2;
        let want = (HEIGHT_SIGMA * HEIGHT_SIGMA + tilt * tilt).sqrt();
        assert!((sigma - want).abs() < 1e-5, "{sigma}, want {want}");
        // Sizes that no person has, and feet nearly at the height of the camera.
        for (below_m, known) in [(0.93, false), (0.95, true), (2.9, true), (3.1, false)] {
            let sample = sample(&level(), &ankle_below(below_m - ANKLE_M));
            assert_eq!(sample.is_some(), known, "{below_m}");
        }
        let low = Mount {
            height_m: 0.4,
            ..level()
        };
        for (below_m, known) in [(0.39, false), (0.41, true)] {
            let sample = sample(&low, &ankle_below(below_m - ANKLE_M));
            assert_eq!(sample.is_some(), known, "{below_m}");
        }
    }

    #[test]
    fn the_size_is_the_lower_fifth_drawn_to_the_guess_by_what_is_uncertain() {
        let mut memory = FloorMemory::default();
        for (place, factor) in [1.3, 0.8, 1.2, 0.9, 1.1, 1.0].into_iter().enumerate() {
            memory.samples[place] = factor;
        }
        memory.count = 2;
        assert_eq!(memory.conclude(0.05), Size::default());
        // Samples; of these sorted the one that is taken; and how many say something new.
        for (count, at, new) in [(3, 0.8, 3.0), (6, 0.9, 6.0), (600, 1.0, 16.0)] {
            memory.count = count;
            let size = memory.conclude(0.05);
            let variance = 0.05_f32.powi(2) + SAMPLE_SIGMA.powi(2) / new;
            // Two measurements of the logarithm of the size, the guess and the floor, weighed by their precisions.
            let (guess, floor) = (PRIOR_SIGMA.powi(-2), 1.0 / variance);
            let want = (at * 1.0_f32).ln() * floor / (guess + floor);
            assert!((size.factor.ln() - want).abs() < 1e-5, "{count}: {size:?}");
            let sigma = (guess + floor).sqrt().recip();
            assert!((size.sigma - sigma).abs() < 1e-5, "{count}: {size:?}");
            assert_eq!(size.source, SizeSource::Floor);
        }
    }

    #[test]
    fn feet_are_looked_at_every_twentieth_of_a_second_and_the_size_follows_slowly() {
        let mut memory = FloorMemory::default();
        let joints = ankle_below(1.2 - ANKLE_M);
        let step = |memory: &mut FloorMemory, ms: u64| {
            let time = MonoNs(1_000_000_000 + ms * 1_000_000);
            memory.step(time, &level(), &joints, |_| true)
        };
        for (ms, count) in [(0, 1), (49, 1), (50, 2), (99, 2), (101, 3)] {
            let size = step(&mut memory, ms);
            assert_eq!(memory.count, count, "{ms} ms");
            if count < 3 {
                assert_eq!(size, Size::default());
            }
        }
        let began = memory.factor;
        let wanted = memory.wanted.factor;
        assert!(wanted > 1.2, "{wanted}");
        // In 45 ms, in which no sample is due, the size goes 1 - exp(-0.3) of the way.
        let size = step(&mut memory, 146);
        let share = 1.0 - (-0.3_f32).exp();
        let want = began + share * (wanted - began);
        assert!((size.factor - want).abs() < 1e-5, "{size:?}, want {want}");
        assert_eq!(size.source, SizeSource::Floor);
    }

    #[test]
    fn the_oldest_samples_make_room() {
        let mut memory = FloorMemory::default();
        let mut ms = 0;
        for (below_m, frames) in [(1.0, 10), (1.5, 256)] {
            for _ in 0..frames {
                ms += 50;
                let time = MonoNs(1_000_000_000 + ms * 1_000_000);
                let joints = ankle_below(below_m - ANKLE_M);
                let _ = memory.step(time, &level(), &joints, |_| true);
            }
        }
        assert_eq!(memory.count, 266);
        let off = memory.samples.map(|factor| (factor - 1.0).abs());
        assert!(off.into_iter().all(|off| off < 1e-5));
    }
}
