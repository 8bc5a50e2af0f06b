//! The lifter's input tensor: the window as a camera would see it that faces the person.
//!
//! Training builds the very same numbers; golden vectors hold the two together.
//! All samples are turned by one rotation, found from the newest sample's box,
//! so that motion is not destroyed; then they are divided by the person's size,
//! which goes in as its own channel.

use glam::{Mat3, Vec2};

use super::window::{RayKeypoint, RaySample, RaySamples};
use crate::base::limits::LIFT_SAMPLES;
use crate::camera::rotate::{in_front, rotate_ray, rotation_facing};
use crate::skeleton::KEYPOINTS;

/// Numbers for each keypoint of each sample: `x / s`, `y / s`, confidence, `ln s`.
pub const CHANNELS: usize = 4;

/// Numbers in the input tensor, shape `[1, LIFT_SAMPLES, KEYPOINTS, CHANNELS]`.
pub const LIFT_INPUT: usize = LIFT_SAMPLES * KEYPOINTS * CHANNELS;

/// Keypoints that make a box.
const BOX_MIN: u32 = 2;

/// Smallest and largest half size of a person on the plane z = 1: a child at
/// 40 m, and a person who fills a fisheye image.
const SCALE_RANGE: (f32, f32) = (0.02, 3.0);

/// Half size where no sample has a box.
const SCALE_UNKNOWN: f32 = 0.3;

/// Coordinates are cut off this many half sizes from the axis.
const REACH: f32 = 4.0;

/// How the input looks at the person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Turns the camera frame into the frame that faces the person: `X' = R X`.
    pub rotation: Mat3,
    /// Half size of the person on the plane z = 1, mean over the window.
    pub scale: f32,
    /// The newest sample's keypoints in the rotated frame, not divided by `scale`;
    /// missing where they are missing or not in front.
    pub newest: RaySample,
}

/// Fills the input tensor, row-major; `None` if the window has not two
/// keypoints to look at.
pub fn build_input(samples: &RaySamples, tensor: &mut [f32; LIFT_INPUT]) -> Option<View> {
    let newest = &samples[LIFT_SAMPLES - 1];
    let (centre, _) = bounds(newest.iter()).or_else(|| bounds(samples.iter().flatten()))?;
    let rotation = rotation_facing(centre);
    let turned = |keypoint: &RayKeypoint| RayKeypoint {
        ray: rotate_ray(&rotation, keypoint.ray),
        visibility: keypoint.visibility,
    };

    let (mut sum, mut count) = (0.0, 0.0);
    for sample in samples {
        let sample = sample.each_ref().map(turned);
        if let Some((_, half)) = bounds(sample.iter()) {
            sum += half.max_element();
            count += 1.0;
        }
    }
    let scale = if count > 0.0 {
        (sum / count).clamp(SCALE_RANGE.0, SCALE_RANGE.1)
    } else {
        SCALE_UNKNOWN
    };

    let log_scale = scale.ln();
    let keypoints = samples.iter().flatten();
    for (values, keypoint) in tensor.chunks_exact_mut(CHANNELS).zip(keypoints) {
        let place = if keypoint.is_present() {
            (turned(keypoint).ray / scale).clamp(Vec2::splat(-REACH), Vec2::splat(REACH))
        } else {
            Vec2::ZERO
        };
        values.copy_from_slice(&[place.x, place.y, keypoint.visibility, log_scale]);
    }
    Some(View {
        rotation,
        scale,
        newest: newest.each_ref().map(|keypoint| {
            if keypoint.is_present() && in_front(&rotation, keypoint.ray) {
                turned(keypoint)
            } else {
                RayKeypoint::default()
            }
        }),
    })
}

/// Centre and half size of the box around the keypoints that are present.
fn bounds<'a>(keypoints: impl Iterator<Item = &'a RayKeypoint>) -> Option<(Vec2, Vec2)> {
    let mut low = Vec2::INFINITY;
    let mut high = Vec2::NEG_INFINITY;
    let mut found = 0;
    for keypoint in keypoints.filter(|keypoint| keypoint.is_present()) {
        low = low.min(keypoint.ray);
        high = high.max(keypoint.ray);
        found += 1;
    }
    (found >= BOX_MIN).then(|| (0.5 * (low + high), 0.5 * (high - low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(x: f32, y: f32) -> RayKeypoint {
        RayKeypoint {
            ray: Vec2::new(x, y),
            visibility: 0.9,
        }
    }

    fn empty() -> Box<RaySamples> {
        Box::new([[RayKeypoint::default(); KEYPOINTS]; LIFT_SAMPLES])
    }

    fn tensor() -> Box<[f32; LIFT_INPUT]> {
        Box::new([f32::NAN; LIFT_INPUT])
    }

    #[test]
    fn the_newest_box_is_centred_and_the_mean_half_size_is_one() {
        let mut samples = empty();
        for sample in samples.iter_mut() {
            sample[5] = seen(0.3, -0.4);
            sample[15] = seen(0.5, 0.6);
        }
        let mut values = tensor();
        let view = build_input(&samples, &mut values).unwrap();
        // The box's centre is (0.4, 0.1); what lies there comes to the axis.
        assert!(rotate_ray(&view.rotation, Vec2::new(0.4, 0.1)).length() < 1e-6);
        let newest = &values[(LIFT_SAMPLES - 1) * KEYPOINTS * CHANNELS..];
        let (top, bottom) = (&newest[5 * CHANNELS..], &newest[15 * CHANNELS..]);
        assert!(
            (bottom[1] - top[1] - 2.0).abs() < 1e-5,
            "{top:?} {bottom:?}"
        );
        assert!((top[2] - 0.9).abs() < 1e-6);
        assert!((top[3] - view.scale.ln()).abs() < 1e-6);
        // A missing keypoint is zero, but the scale stands there as well.
        assert_eq!(newest[..3], [0.0; 3]);
        assert!((newest[3] - view.scale.ln()).abs() < 1e-6);
        assert!(values.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn where_the_person_stands_in_the_image_hardly_changes_the_input() {
        // A flat body 3 m away, seen straight ahead and 30 degrees to the side by a turned camera.
        let body = [(0.2, -0.7), (-0.2, -0.7), (0.15, 0.0), (0.1, 0.8)];
        let [mut ahead, mut aside] = [empty(), empty()];
        let turn = glam::Mat3::from_rotation_y(0.52);
        for (joint, (x, y)) in body.into_iter().enumerate() {
            let point = glam::Vec3::new(x, y, 3.0);
            let turned = turn * point;
            for k in 0..LIFT_SAMPLES {
                ahead[k][joint] = seen(point.x / point.z, point.y / point.z);
                aside[k][joint] = seen(turned.x / turned.z, turned.y / turned.z);
            }
        }
        let (mut first, mut second) = (tensor(), tensor());
        build_input(&ahead, &mut first).unwrap();
        build_input(&aside, &mut second).unwrap();
        for (one, other) in first.iter().zip(second.iter()) {
            assert!((one - other).abs() < 0.05, "{one} {other}");
        }
    }

    #[test]
    fn one_keypoint_in_the_whole_window_is_not_enough() {
        let mut samples = empty();
        samples[20][3] = seen(0.1, 0.1);
        let mut values = tensor();
        assert_eq!(build_input(&samples, &mut values), None);
        // A second one, in another sample, gives a centre, but no size.
        samples[21][4] = seen(0.3, 0.1);
        let view = build_input(&samples, &mut values).unwrap();
        assert!((view.scale - SCALE_UNKNOWN).abs() < 1e-6);
        assert!(rotate_ray(&view.rotation, Vec2::new(0.2, 0.1)).length() < 1e-6);
        assert!(view.newest.iter().all(|keypoint| !keypoint.is_present()));
    }

    #[test]
    fn a_keypoint_behind_the_rotated_camera_stays_finite_and_is_not_ranged() {
        let mut samples = empty();
        for sample in samples.iter_mut() {
            sample[0] = seen(11.0, 0.0);
            sample[1] = seen(-3.0, 0.0);
        }
        let mut values = tensor();
        let view = build_input(&samples, &mut values).unwrap();
        assert!(
            values
                .iter()
                .all(|value| value.is_finite() && value.abs() <= REACH)
        );
        assert!(!view.newest[1].is_present(), "{view:?}");
    }
}
