//! What is known of the site without anybody saying so: how noisy keypoints are, where they are wrong in the same
//! way all the time, and which way is up.

use std::time::Duration;

use glam::{Vec2, Vec3};

use super::Observation;
use super::synthetic_view::Site;
use crate::base::clock::MonoNs;
use crate::base::limits::{RATE_HZ, TRACKS_MAX};
use crate::camera::rotate::{in_front, rotate_ray};
use crate::lift::place_of;
use crate::lift::window::{RayKeypoint, RaySample};
use crate::skeleton::{KEYPOINTS, keypoints_of};

/// Noise that is assumed before any is measured, and its bounds, shares of the person's larger side.
const NOISE: f32 = 0.006;
const NOISE_RANGE: (f32, f32) = (0.003, 0.02);

/// Share of second differences of a keypoint below the one that the noise is taken from: the rest are motion.
const NOISE_QUANTILE: f32 = 0.2;

/// That quantile of the length of a second difference of noise of standard deviation 1 per axis:
/// `sqrt(6) sqrt(-2 ln 0.8)`.
const NOISE_AT_QUANTILE: f32 = 1.636;

/// Memory of which way is up, poses.
const UP_SPAN: f32 = 3000.0;

/// Poses before the mean trunk says which way is up.
const UP_MIN: f32 = 60.0;

/// Share of the offsets that synthetic views have. What the poses miss is partly the network's bias and partly the
/// lifter's own doing; none and all were tried as well (docs/lab/accuracy.md).
const OFFSET_SHARE: f32 = 0.6;

/// Observations over which offsets are averaged at most: half a minute.
const OFFSET_SPAN: f32 = 1000.0;

/// Largest offset that counts, half sizes: beyond, a keypoint is simply wrong.
const OFFSET_MAX: f32 = 0.2;

/// Share by which one second difference moves the quantile.
const QUANTILE_RATE: f32 = 0.01;

/// Bounds of the quantile: it must find back from anything.
const QUANTILE_RANGE: (f32, f32) = (1e-4, 0.1);

/// The two most recent observations of a person.
#[derive(Clone, Debug, Default)]
struct SitePerson {
    id: Option<u32>,
    last: [Option<(MonoNs, RaySample)>; 2],
}

impl SitePerson {
    fn newest(&self) -> Option<MonoNs> {
        self.last[0].as_ref().map(|(time, _)| *time)
    }
}

/// Follows one keypoint-noise quantile and which way is up.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The wanted quantile of second differences.
    quantile: f32,
    trunk: Vec3,
    trunks: f32,
    mount_up: Option<Vec3>,
    people: Box<[SitePerson]>,
    /// Mean offset from each keypoint's place by the pose to where it is seen, half sizes of the person.
    offsets: [Vec2; KEYPOINTS],
    offset_counts: [f32; KEYPOINTS],
}

impl Surroundings {
    pub(super) fn new() -> Self {
        Self {
            quantile: NOISE * NOISE_AT_QUANTILE,
            trunk: Vec3::ZERO,
            trunks: 0.0,
            mount_up: None,
            people: vec![SitePerson::default(); TRACKS_MAX].into(),
            offsets: [Vec2::ZERO; KEYPOINTS],
            offset_counts: [0.0; KEYPOINTS],
        }
    }

    fn follow_offsets(&mut self, observation: &Observation) {
        let (points, _) = keypoints_of(&observation.joints_camera_m);
        for (keypoint, at) in points.into_iter().enumerate() {
            let Some(offset) = observation.beside(keypoint, at) else {
                continue;
            };
            let most = Vec2::splat(OFFSET_MAX);
            self.offset_counts[keypoint] = (self.offset_counts[keypoint] + 1.0).min(OFFSET_SPAN);
            self.offsets[keypoint] +=
                (offset.clamp(-most, most) - self.offsets[keypoint]) / self.offset_counts[keypoint];
        }
    }

    pub(super) fn noise(&self) -> f32 {
        (self.quantile / NOISE_AT_QUANTILE).clamp(NOISE_RANGE.0, NOISE_RANGE.1)
    }

    /// Straight up: from the mount, else as trunks point on the mean; `None` if neither is known.
    pub(super) fn up(&self) -> Option<Vec3> {
        self.mount_up
            .or_else(|| (self.trunks >= UP_MIN).then(|| self.trunk.normalize_or(Vec3::NEG_Y)))
    }

    pub(super) fn site(&self) -> Site {
        Site {
            up: self.up().unwrap_or(Vec3::NEG_Y),
            noise: self.noise(),
            offsets: self.offsets.map(|offset| OFFSET_SHARE * offset),
        }
    }

    pub(super) fn resume(&mut self, up: Vec3, noise: f32) {
        if up.length_squared() > 0.25 {
            (self.trunk, self.trunks) = (up, UP_MIN);
        }
        self.quantile = noise.clamp(NOISE_RANGE.0, NOISE_RANGE.1) * NOISE_AT_QUANTILE;
    }

    pub(super) fn take(&mut self, observation: &Observation) {
        self.mount_up = observation.up;
        let trunk =
            (observation.joints_camera_m[8] - observation.joints_camera_m[0]).normalize_or_zero();
        self.trunks = (self.trunks + 1.0).min(UP_SPAN);
        self.trunk += (trunk - self.trunk) / self.trunks;
        self.follow_offsets(observation);
        let Self {
            people, quantile, ..
        } = self;
        let known = people.iter().map(|person| (person.id, person.newest()));
        let (place, fresh) = place_of(known, observation.id);
        let person = &mut people[place];
        if fresh {
            *person = SitePerson {
                id: Some(observation.id),
                last: [None, None],
            };
        }
        if let [Some((t1, newer)), Some((t2, older))] = &person.last {
            let (step, step_before) = (observation.time.since(*t1), t1.since(*t2));
            let period = Duration::from_secs(1) / RATE_HZ;
            // Slower cameras see motion, faster ones see each other's noise.
            let even = step.abs_diff(step_before) < period / 8 && step < 2 * period;
            if even {
                for keypoint in 0..KEYPOINTS {
                    let rays = [&observation.rays, newer, older].map(|rays| &rays[keypoint]);
                    let rotation = &observation.view.rotation;
                    let shown =
                        |ray: &&RayKeypoint| ray.is_present() && in_front(rotation, ray.ray);
                    if rays.iter().all(shown) {
                        let [now, before, earlier] = rays.map(|ray| rotate_ray(rotation, ray.ray));
                        let difference =
                            (now - 2.0 * before + earlier) / (2.0 * observation.view.scale);
                        follow(quantile, difference);
                    }
                }
            }
        }
        person.last = [
            Some((observation.time, observation.rays)),
            person.last[0].take(),
        ];
    }
}

/// Moves the quantile towards where it leaves the wanted share of second differences below.
fn follow(quantile: &mut f32, difference: Vec2) {
    let below = if difference.length() < *quantile {
        1.0
    } else {
        0.0
    };
    *quantile *= 1.0 + QUANTILE_RATE * (NOISE_QUANTILE - below);
    *quantile = quantile.clamp(QUANTILE_RANGE.0, QUANTILE_RANGE.1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::observation::tests::observation;

    /// A person who stands before a camera that looks down by `down`, seen with noise.
    fn watch(surroundings: &mut Surroundings, noise: f32, frames: u64, down: f32) {
        let mut rng = fastrand::Rng::with_seed(4);
        for frame in 0..frames {
            let time = MonoNs(1_000_000_000 + 33_333_333 * frame);
            let mut observation = observation(time, 1);
            let turn = glam::Mat3::from_rotation_x(-down);
            observation.joints_camera_m = observation.joints_camera_m.map(|joint| turn * joint);
            for keypoint in &mut observation.rays {
                let mut normal = || (0..12).map(|_| rng.f32() - 0.5).sum::<f32>();
                keypoint.ray +=
                    2.0 * observation.view.scale * noise * Vec2::new(normal(), normal());
            }
            surroundings.take(&observation);
        }
    }

    #[test]
    fn the_noise_of_keypoints_is_found() {
        for noise in [0.004, 0.008, 0.015] {
            let mut surroundings = Surroundings::new();
            watch(&mut surroundings, noise, 600, 0.0);
            let found = surroundings.noise();
            assert!((found / noise - 1.0).abs() < 0.2, "{noise}: {found}");
        }
    }

    #[test]
    fn it_is_found_with_two_people_in_view_as_well() {
        let mut surroundings = Surroundings::new();
        let mut rng = fastrand::Rng::with_seed(4);
        for frame in 0..600 {
            for id in [1, 2] {
                let mut observation = observation(MonoNs(1_000_000_000 + 33_333_333 * frame), id);
                for keypoint in &mut observation.rays {
                    let mut normal = || (0..12).map(|_| rng.f32() - 0.5).sum::<f32>();
                    keypoint.ray +=
                        2.0 * observation.view.scale * 0.015 * Vec2::new(normal(), normal());
                }
                surroundings.take(&observation);
            }
        }
        let found = surroundings.noise();
        assert!((found / 0.015 - 1.0).abs() < 0.2, "{found}");
    }

    #[test]
    fn keypoints_that_are_always_beside_their_joints_are_found() {
        let mut surroundings = Surroundings::new();
        for frame in 0..50 {
            let mut observation = observation(MonoNs(1_000_000_000 + 33_333_333 * frame), 1);
            observation.rays[11].ray.x += 0.05 * observation.view.scale;
            surroundings.take(&observation);
        }
        let offsets = surroundings.site().offsets;
        assert!(
            (offsets[11].x - OFFSET_SHARE * 0.05).abs() < 1e-4,
            "{offsets:?}"
        );
        assert!(offsets[12].length() < 1e-4, "{offsets:?}");
    }

    #[test]
    fn up_is_where_trunks_point_until_the_mount_is_known() {
        let mut surroundings = Surroundings::new();
        assert_eq!(surroundings.up(), None);
        watch(&mut surroundings, 0.004, 100, 0.6);
        let up = surroundings.up().unwrap();
        assert!(
            (up.z.abs() - 0.6_f32.sin()).abs() < 0.02 && up.y < 0.0,
            "{up}"
        );
        let mut told = observation(MonoNs(100_000_000_000), 1);
        told.up = Some(Vec3::NEG_Y);
        surroundings.take(&told);
        assert_eq!(surroundings.up(), Some(Vec3::NEG_Y));
    }

    #[test]
    fn what_was_kept_is_gone_on_from_within_bounds() {
        let mut surroundings = Surroundings::new();
        surroundings.resume(Vec3::new(0.0, -0.8, -0.6), 7.0);
        assert_eq!(surroundings.up(), Some(Vec3::new(0.0, -0.8, -0.6)));
        assert!((surroundings.noise() - NOISE_RANGE.1).abs() < 1e-6);
        surroundings.resume(Vec3::ZERO, 0.006);
        assert!((surroundings.noise() - 0.006).abs() < 1e-6);
    }
}
