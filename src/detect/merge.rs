//! The keypoints of a crop and of its mirror as one.

use super::decode::Placed;
use crate::pose::Keypoint;
use crate::skeleton::KEYPOINTS;

/// The same keypoint of a mirrored person, COCO order: left and right exchanged.
const MIRRORED: [usize; KEYPOINTS] = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15];

/// Two places of one keypoint that are further apart than this share of the person's size are two opinions, of which
/// the surer one is taken; nearer ones are averaged.
const APART_MAX: f32 = 0.1;

/// Merges what the network made of the mirrored crop (`mirrored`, in the frame, so left is right) into `placed`.
///
/// Places are weighted with their chances. Where the two disagree, the chances of the surer one are halved.
pub(super) fn merge(placed: &mut [Placed; KEYPOINTS], mirrored: &[Placed; KEYPOINTS]) {
    let apart_max = APART_MAX * size_of(placed);
    for (placed, other) in placed.iter_mut().zip(MIRRORED.map(|k| mirrored[k])) {
        let (a, b) = (placed.keypoint, other.keypoint);
        let sum = placed.place + other.place;
        if (a.x_px - b.x_px).hypot(a.y_px - b.y_px) > apart_max {
            let mut surer = if other.place > placed.place {
                other
            } else {
                *placed
            };
            surer.keypoint.visibility *= 0.5;
            surer.keypoint.confidence *= 0.5;
            surer.place *= 0.5;
            *placed = surer;
        } else if sum > 0.0 {
            let share = other.place / sum;
            let mix = |a: f32, b: f32| a + (b - a) * share;
            *placed = Placed {
                keypoint: Keypoint {
                    x_px: mix(a.x_px, b.x_px),
                    y_px: mix(a.y_px, b.y_px),
                    visibility: 0.5 * (a.visibility + b.visibility),
                    confidence: 0.5 * (a.confidence + b.confidence),
                },
                place: 0.5 * sum,
            };
        }
    }
}

/// The longer side of the box of all keypoints, pixels.
fn size_of(placed: &[Placed; KEYPOINTS]) -> f32 {
    let side = |of: fn(&Placed) -> f32| {
        let (least, most) = placed
            .iter()
            .map(of)
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| {
                (a.min(v), b.max(v))
            });
        most - least
    };
    side(|p| p.keypoint.x_px).max(side(|p| p.keypoint.y_px))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x_px: f32, y_px: f32, confidence: f32, place: f32) -> Placed {
        Placed {
            keypoint: Keypoint::new(x_px, y_px, confidence),
            place,
        }
    }

    #[test]
    fn near_places_are_averaged_by_their_chance_and_sides_exchanged() {
        let mut placed = [at(0.0, 0.0, 0.8, 0.6); KEYPOINTS];
        placed[16] = at(0.0, 100.0, 0.8, 0.6);
        let mut mirrored = [at(0.0, 0.0, 0.4, 0.6); KEYPOINTS];
        mirrored[5] = at(8.0, 4.0, 0.4, 0.2); // the left one of the mirror is the right one
        mirrored[5].keypoint.visibility = 0.6;
        mirrored[15] = placed[16];
        merge(&mut placed, &mirrored);
        let right = placed[6];
        assert!(
            (right.keypoint.x_px - 2.0).abs() < 1e-5 && (right.keypoint.y_px - 1.0).abs() < 1e-5
        );
        assert!((right.keypoint.confidence - 0.6).abs() < 1e-6 && (right.place - 0.4).abs() < 1e-6);
        assert!((right.keypoint.visibility - 0.7).abs() < 1e-6);
        assert!(placed[5].keypoint.x_px.abs() < 1e-6);
    }

    #[test]
    fn of_two_opinions_the_surer_one_is_taken_with_half_its_chance() {
        let mut placed = [at(0.0, 0.0, 0.8, 0.3); KEYPOINTS];
        placed[16] = at(0.0, 100.0, 0.8, 0.6);
        let mut mirrored = placed;
        mirrored[15] = placed[16];
        mirrored[16] = placed[15];
        mirrored[0] = at(50.0, 50.0, 0.6, 0.9);
        mirrored[0].keypoint.visibility = 0.4;
        merge(&mut placed, &mirrored);
        let mut halved = at(50.0, 50.0, 0.3, 0.45);
        halved.keypoint.visibility = 0.2;
        assert_eq!(placed[0], halved);
        assert_eq!(placed[16], at(0.0, 100.0, 0.8, 0.6));
    }
}
