//! Synthetic views: recorded motion of this site, reprojected as this camera could have seen it.
//!
//! ```text
//!  clip ─▶ turned about the vertical, or mirrored ─▶ keypoints ─▶ noise, gaps of the clip ─▶ input ─▶ backbone ─▶ sample
//! ```
//!
//! The pose of a clip need not be right for what is learned to be: keypoints are made of it, so
//! joints and keypoints belong together without any label. What is learned is how *this* site
//! shows people: how high the camera hangs, how near they come, how they are built, what they do, what is
//! hidden. Seen from all around, a pose that is right from one side only is corrected by the others.

use glam::{Mat3, Quat, Vec2, Vec3};

use super::clips::{CLIP_SAMPLES, Clip, ClipSample};
use super::train::Sample;
use crate::base::limits::{LIFT_FEATURES, LIFT_SAMPLES};
use crate::camera::rotate::{rotate_ray, rotation_facing};
use crate::lift::Backbone;
use crate::lift::head::HIDDEN;
use crate::lift::input::{LIFT_INPUT, build_input};
use crate::lift::window::{RayKeypoint, RaySample, RaySamples};
use crate::skeleton::{JOINT_MIRROR, JOINTS, KEYPOINT_MIRROR, KEYPOINTS, keypoints_of};

/// Keypoints of the face; whether the head hides them is told by the way it faces.
pub(super) const FACE: usize = 5;

/// Confidence of a keypoint of the face that is seen.
const FACE_CONFIDENCE: f32 = 0.9;

/// Share of keypoints with an error [`TAIL`] times as large: what detectors do now and then.
const TAIL_SHARE: f32 = 0.02;
const TAIL: f32 = 6.0;

/// Nearest a joint may come to the camera, metres.
const NEAREST_M: f32 = 0.3;

/// What the site adds to a synthetic view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Straight up, camera frame.
    pub up: Vec3,
    /// Standard deviation of a keypoint, share of the person's larger side in the image.
    pub noise: f32,
    /// Where keypoints always are beside their joints, half sizes of the person.
    pub offsets: [Vec2; KEYPOINTS],
}

/// Makes synthetic views. Holds the room that one needs.
#[derive(Debug)]
pub struct SyntheticViews {
    samples: Box<RaySamples>,
    input: Box<[f32; LIFT_INPUT]>,
}

impl Default for SyntheticViews {
    fn default() -> Self {
        Self {
            samples: Box::new([[RayKeypoint::default(); KEYPOINTS]; LIFT_SAMPLES]),
            input: Box::new([0.0; LIFT_INPUT]),
        }
    }
}

impl SyntheticViews {
    /// A synthetic view of `clip`, through `backbone`. `None` if a joint would be too near the camera, too little
    /// would be seen, or a network fails.
    pub fn make<B: Backbone>(
        &mut self,
        clip: &Clip,
        site: &Site,
        backbone: &mut B,
        rng: &mut fastrand::Rng,
    ) -> Option<Sample> {
        let newest = rng.usize(LIFT_SAMPLES - 1..CLIP_SAMPLES);
        let turn = any_turn(site.up, rng);
        let pivot = clip.shown[newest].joints_camera_m[0];
        // A mirrored person is still upright.
        let across = site.up.any_orthonormal_vector();
        let mirrored = rng.bool();
        let shown = &clip.shown[newest + 1 - LIFT_SAMPLES..=newest];
        let turned = shown.iter().map(|shown| {
            let ClipSample {
                mut joints_camera_m,
                mut visibilities,
            } = *shown;
            if mirrored {
                mirror(&mut joints_camera_m, &mut visibilities, pivot, across);
            }
            ClipSample {
                joints_camera_m: joints_camera_m.map(|joint| pivot + turn * (joint - pivot)),
                visibilities,
            }
        });
        self.show(turned, &clip.image_part, site, backbone, rng)
    }

    /// What the final layers are shown of [`LIFT_SAMPLES`] poses, oldest first. `None` if a joint would be too near
    /// the camera, too little would be seen, or a network fails.
    pub(super) fn show<B: Backbone>(
        &mut self,
        poses: impl IntoIterator<Item = ClipSample>,
        image_part: &[f32; HIDDEN],
        site: &Site,
        backbone: &mut B,
        rng: &mut fastrand::Rng,
    ) -> Option<Sample> {
        let mut truth = [Vec3::ZERO; JOINTS];
        for (out, shown) in self.samples.iter_mut().zip(poses) {
            truth = shown.joints_camera_m;
            if truth
                .iter()
                .any(|joint| joint.z.is_nan() || joint.z < NEAREST_M)
            {
                return None;
            }
            *out = seen(&truth, &shown.visibilities, site, rng);
        }
        let view = build_input(&self.samples, &mut self.input)?;
        let mut features = [0.0; LIFT_FEATURES];
        backbone.run_into(&self.input, &mut features).ok()?;
        let joints_m = truth.map(|joint| view.rotation * (joint - truth[0]));
        features.iter().all(|f| f.is_finite()).then_some(Sample {
            features,
            image_part: *image_part,
            joints_m,
        })
    }
}

/// A turn about the vertical by chance.
pub(super) fn any_turn(up: Vec3, rng: &mut fastrand::Rng) -> Mat3 {
    let angle = (rng.f32() - 0.5) * std::f32::consts::TAU;
    Mat3::from_quat(Quat::from_axis_angle(up, angle))
}

/// The other side of a mirror through `pivot_m`; `across`, of length 1, points out of it.
fn mirror(
    joints_m: &mut [Vec3; JOINTS],
    visibilities: &mut [f32; KEYPOINTS],
    pivot_m: Vec3,
    across: Vec3,
) {
    let (joints, seen) = (*joints_m, *visibilities);
    *joints_m = JOINT_MIRROR.map(|joint| {
        let at = joints[joint];
        at - 2.0 * across.dot(at - pivot_m) * across
    });
    *visibilities = KEYPOINT_MIRROR.map(|keypoint| seen[keypoint]);
}

/// The keypoints of a pose as the detector would give them.
fn seen(
    joints: &[Vec3; JOINTS],
    visibilities: &[f32; KEYPOINTS],
    site: &Site,
    rng: &mut fastrand::Rng,
) -> RaySample {
    let (points, turned_away) = keypoints_of(joints);
    let rays = points.map(|point| point.truncate() / point.z.max(NEAREST_M));
    let box_of = |rays: &[Vec2; KEYPOINTS]| {
        let low = rays.iter().copied().fold(Vec2::INFINITY, Vec2::min);
        (
            low,
            rays.iter().copied().fold(Vec2::NEG_INFINITY, Vec2::max),
        )
    };
    // Noise and offsets are shares of the size that a camera sees that faces the person.
    let (low, high) = box_of(&rays);
    let facing = rotation_facing(0.5 * (low + high));
    let rays = rays.map(|ray| rotate_ray(&facing, ray));
    let (low, high) = box_of(&rays);
    let larger_side = (high - low).max_element();
    let back = facing.transpose();
    let sigma = site.noise * larger_side;
    std::array::from_fn(|keypoint| {
        let visibility = match keypoint {
            FACE.. => visibilities[keypoint],
            _ if turned_away[keypoint] => 0.0,
            _ => FACE_CONFIDENCE,
        };
        if visibility <= 0.0 {
            return RayKeypoint::default();
        }
        let tail = if rng.f32() < TAIL_SHARE { TAIL } else { 1.0 };
        let moved = sigma * tail * normals(rng) + 0.5 * larger_side * site.offsets[keypoint];
        RayKeypoint {
            ray: rotate_ray(&back, rays[keypoint] + moved),
            visibility,
        }
    })
}

/// Two standard normal numbers (Box and Muller 1958).
fn normals(rng: &mut fastrand::Rng) -> Vec2 {
    let radius = (-2.0 * (1.0 - rng.f32()).ln()).sqrt();
    radius * Vec2::from_angle(std::f32::consts::TAU * rng.f32())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::observation::tests::observation;
    use crate::base::clock::MonoNs;

    fn site(noise: f32) -> Site {
        Site {
            up: Vec3::NEG_Y,
            noise,
            offsets: [Vec2::ZERO; KEYPOINTS],
        }
    }

    /// A person standing at a depth, the left ankle hidden.
    fn clip(depth_m: f32) -> Box<Clip> {
        let standing = observation(MonoNs(1), 1).joints_camera_m;
        let mut visibilities = [0.8; KEYPOINTS];
        visibilities[15] = 0.0;
        Box::new(Clip {
            shown: [ClipSample {
                joints_camera_m: standing.map(|joint| joint + Vec3::new(0.2, 0.0, depth_m - 3.0)),
                visibilities,
            }; CLIP_SAMPLES],
            image_part: [0.0; HIDDEN],
            label: None,
        })
    }

    /// Features that are the newest sample's numbers.
    #[expect(clippy::unnecessary_wraps, reason = "what a backbone gives")]
    fn newest(input: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]) -> Result<(), ()> {
        let numbers = LIFT_INPUT / LIFT_SAMPLES;
        features[..numbers].copy_from_slice(&input[LIFT_INPUT - numbers..]);
        Ok(())
    }

    #[test]
    fn a_synthetic_view_has_the_clips_body_gaps_and_matching_keypoints() {
        let mut views = SyntheticViews::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let site = site(0.0);
        let clip = clip(3.0);
        let mut depths = Vec::new();
        for _ in 0..20 {
            let sample = views.make(&clip, &site, &mut newest, &mut rng).unwrap();
            assert_eq!(sample.joints_m[0], Vec3::ZERO);
            let shank = (sample.joints_m[3] - sample.joints_m[2]).length();
            assert!((shank - 0.42).abs() < 1e-4, "{shank}");
            // An ankle is hidden in the clip, so it is hidden here; x, y, confidence, ln s.
            let hidden = |k: usize| sample.features[4 * k..4 * k + 3] == [0.0; 3];
            assert_ne!(hidden(15), hidden(16));
            // The right wrist's ray goes through the right wrist, wherever the pelvis is.
            let scale = sample.features[3].exp();
            let ray =
                |k: usize| scale * Vec2::new(sample.features[4 * k], sample.features[4 * k + 1]);
            let apart = (ray(10) - ray(6)).length();
            let want = (sample.joints_m[16] - sample.joints_m[14])
                .truncate()
                .length()
                / 3.0;
            assert!((apart - want).abs() < 0.02, "{apart} {want}");
            depths.push(sample.joints_m[13].z);
        }
        // Seen from all around: the left wrist, before the body in the clip, is now nearer, now farther.
        assert!(depths.iter().any(|z| *z > 0.1) && depths.iter().any(|z| *z < -0.1));
    }

    #[test]
    fn noise_moves_keypoints_and_nothing_else() {
        let mut views = SyntheticViews::default();
        let clip = clip(3.0);
        let mut make = |noise| {
            let mut rng = fastrand::Rng::with_seed(7);
            views
                .make(&clip, &site(noise), &mut newest, &mut rng)
                .unwrap()
        };
        let (calm, noisy) = (make(0.0), make(0.01));
        let apart =
            |keypoint: usize| (calm.features[4 * keypoint] - noisy.features[4 * keypoint]).abs();
        assert!((5..15).map(apart).fold(0.0, f32::max) > 1e-3);
        let moved = |joint: usize| (calm.joints_m[joint] - noisy.joints_m[joint]).length();
        // The box, and with it the frame that faces the person, moves a little.
        assert!((0..JOINTS).all(|joint| moved(joint) < 0.05));
    }

    #[test]
    fn before_a_camera_that_hangs_askew_the_mirrored_stand_as_upright_as_before() {
        let askew = Quat::from_rotation_z(0.5) * Quat::from_rotation_x(0.3);
        let site = Site {
            up: askew * Vec3::NEG_Y,
            ..site(0.0)
        };
        let mut joints = observation(MonoNs(1), 1).joints_camera_m;
        let pivot = joints[0];
        joints = joints.map(|joint| pivot + askew * (joint - pivot));
        let mut mirrored = joints;
        let across = site.up.any_orthonormal_vector();
        mirror(&mut mirrored, &mut [1.0; KEYPOINTS], pivot, across);
        for (joint, other) in JOINT_MIRROR.into_iter().enumerate() {
            let height = |joints: &[Vec3; JOINTS], joint: usize| site.up.dot(joints[joint] - pivot);
            assert!((height(&joints, joint) - height(&mirrored, other)).abs() < 1e-5);
        }
        assert!(mirrored[13].distance(joints[13]) > 0.1);
    }

    #[test]
    fn to_the_side_of_a_wide_lens_noise_is_as_large_as_in_the_middle() {
        let standing = observation(MonoNs(1), 1).joints_camera_m;
        let spread = |aside: f32| {
            let turn = Mat3::from_rotation_y(aside);
            let joints = standing.map(|joint| turn * joint);
            let view = rotation_facing(joints[0].truncate() / joints[0].z);
            let place = |rays: &RaySample| rotate_ray(&view, rays[11].ray);
            let mut rng = fastrand::Rng::with_seed(3);
            let calm = place(&seen(&joints, &[1.0; KEYPOINTS], &site(0.0), &mut rng));
            let squares = (0..4000).map(|_| {
                let noisy = seen(&joints, &[1.0; KEYPOINTS], &site(0.01), &mut rng);
                place(&noisy).distance_squared(calm)
            });
            squares.sum::<f32>().sqrt()
        };
        let ratio = spread(0.8) / spread(0.0);
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
    }

    #[test]
    fn no_view_puts_a_person_into_the_camera() {
        let mut rng = fastrand::Rng::with_seed(1);
        let site = site(0.0);
        assert_eq!(
            SyntheticViews::default().make(&clip(0.3), &site, &mut newest, &mut rng),
            None
        );
    }
}
