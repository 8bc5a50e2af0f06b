//! How alike a detection and what a track expects are: object keypoint similarity and overlap of boxes.

use super::motion::Expected;
use crate::pose::similarity::{COMMON_MIN, SIGMAS, likeness, place};
use crate::pose::{BoxPx, Detection};
use crate::skeleton::KEYPOINTS;

/// By how much a keypoint's spread grows with each second it was not seen: a
/// wrist that moves 1 m/s has left its spread of about 10 cm after 0.1 s.
const GROWTH_PER_S: f32 = 8.0;

/// Similarity of a detection to what a track expects, 0 to 1: the mean of
/// keypoint similarity and overlap, or the overlap alone where few keypoints are common.
pub fn to_expected(
    expected: &[Option<Expected>; KEYPOINTS],
    bounds: &BoxPx,
    detection: &Detection,
) -> f32 {
    let overlap = bounds.iou(&detection.bounds);
    let area = 0.5 * (bounds.area() + detection.bounds.area());
    let mut sum = 0.0;
    let mut common = 0;
    let mut count = 0.0;
    for (joint, (expected, seen)) in expected.iter().zip(&detection.keypoints).enumerate() {
        let Some(expected) = expected else { continue };
        if !seen.is_seen() {
            continue;
        }
        let spread = SIGMAS[joint] * (1.0 + GROWTH_PER_S * expected.age_s.max(0.0));
        sum += likeness(place(seen) - expected.at_px, spread, area);
        common += 1;
        count += 1.0;
    }
    if common < COMMON_MIN {
        return overlap;
    }
    0.5 * (sum / count + overlap)
}

#[cfg(test)]
mod tests {
    use super::super::tests::standing;
    use super::*;
    use crate::pose::similarity::between;
    use glam::Vec2;

    #[test]
    fn the_same_person_is_one_and_a_far_one_is_zero() {
        let person = standing(100.0, 300.0);
        assert!((between(&person, &person) - 1.0).abs() < 1e-6);
        assert!(between(&person, &standing(400.0, 300.0)) < 1e-3);
        let expected = person.keypoints.map(|keypoint| {
            Some(Expected {
                at_px: place(&keypoint),
                age_s: 0.033,
            })
        });
        assert!((to_expected(&expected, &person.bounds, &person) - 1.0).abs() < 1e-6);
        let moved = to_expected(&expected, &person.bounds, &standing(110.0, 300.0));
        let gone = to_expected(&expected, &person.bounds, &standing(160.0, 300.0));
        assert!(moved > 0.5 && gone < moved, "{moved} {gone}");
    }

    #[test]
    fn similarity_is_the_mean_of_keypoints_and_overlap_or_the_overlap_alone() {
        let shown = standing(100.0, 300.0);
        // 70 by 205 pixels, against a track's box of 50 by 205 in the middle of it.
        let bounds = BoxPx {
            left: shown.bounds.left + 10.0,
            right: shown.bounds.right - 10.0,
            ..shown.bounds
        };
        let overlap = 50.0 / 70.0;
        let area = 0.5 * (70.0 + 50.0) * 205.0;
        for common in 0..=6_u8 {
            // What is not seen counts as little as what is not expected.
            let mut seen = shown.clone();
            let mut expected = [None; KEYPOINTS];
            let mut likes = 0.0;
            for (number, joint) in (0_u8..).zip(0..KEYPOINTS) {
                let keypoint = &mut seen.keypoints[joint];
                if number < common || number % 2 == 0 {
                    expected[joint] = Some(Expected {
                        at_px: place(keypoint) + Vec2::new(3.0, -4.0),
                        age_s: 0.1,
                    });
                }
                if number < common {
                    // Object keypoint similarity at 5 pixels, the spread grown by 8 a second.
                    let spread = SIGMAS[joint] * 1.8;
                    likes += (-25.0 / (8.0 * spread * spread * area)).exp();
                } else if number % 2 == 0 {
                    keypoint.visibility = 0.1;
                }
            }
            let want = if common < 4 {
                overlap
            } else {
                0.5 * (likes / f32::from(common) + overlap)
            };
            let got = to_expected(&expected, &bounds, &seen);
            assert!((got - want).abs() < 1e-5, "{common}: {got}, want {want}");
        }
    }
}
