//! How alike two detections of a person are: object keypoint similarity of COCO.

use glam::Vec2;

use super::{Detection, Keypoint};
use crate::skeleton::KEYPOINTS;

/// Spread of each keypoint's annotation, relative to the square root of the
/// person's area (the sigmas of the COCO keypoint evaluation).
pub(crate) const SIGMAS: [f32; KEYPOINTS] = [
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
];

/// With fewer keypoints in common, boxes alone decide.
pub(crate) const COMMON_MIN: usize = 4;

/// Keypoint similarity of two detections of the same frame, 0 where they have
/// too few keypoints in common.
pub fn between(a: &Detection, b: &Detection) -> f32 {
    let area = a.bounds.area().min(b.bounds.area());
    let mut sum = 0.0;
    let mut common = 0;
    let mut count = 0.0;
    for (joint, (from, to)) in a.keypoints.iter().zip(&b.keypoints).enumerate() {
        if !from.is_seen() || !to.is_seen() {
            continue;
        }
        sum += likeness(place(from) - place(to), SIGMAS[joint], area);
        common += 1;
        count += 1.0;
    }
    if common < COMMON_MIN {
        0.0
    } else {
        sum / count
    }
}

/// `exp(-d² / (2 s² (2 sigma)²))`, with `s²` the person's area.
pub(crate) fn likeness(apart_px: Vec2, sigma: f32, area_px2: f32) -> f32 {
    let tolerance = 8.0 * sigma * sigma * area_px2.max(1.0);
    (-apart_px.length_squared() / tolerance).exp()
}

pub(crate) fn place(keypoint: &Keypoint) -> Vec2 {
    Vec2::new(keypoint.x_px, keypoint.y_px)
}
