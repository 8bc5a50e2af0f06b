//! Where people are expected: boxes from the finder and from the last frame's keypoints.

use heapless::Vec;

use super::decode::Placed;
use crate::limits::PEOPLE_MAX;
use crate::pose::{BoxPx, Keypoint};
use crate::skeleton::KEYPOINTS;

/// A keypoint takes part in a box where its place is at least this sure. Hidden
/// joints count too: the box is meant to hold the whole person.
const PLACE_GATE: f32 = 0.3;

/// COCO keypoints end at the ears, wrists and ankles; a person's box goes on by
/// this share of the keypoints' longer side, on each side.
const MARGIN: f32 = 0.1;

/// The weight of the finder's box against the one from keypoints when both see
/// the same person: the finder steadies, keypoints are sharper.
const FINDER_WEIGHT: f32 = 0.5;

/// A finder box that overlaps a tracked box more than this is the same person.
const SAME_PERSON_IOU: f32 = 0.4;

/// A place to look at in the next frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The person's box.
    pub bounds: BoxPx,
    /// The finder's score, 1 for a person who is followed.
    pub score: f32,
    /// Movement of the box's centre from one frame to the next, pixels.
    pub velocity: (f32, f32),
}

/// Regions of one frame.
pub type Regions = Vec<Region, PEOPLE_MAX>;

/// The box of a person from placed keypoints, with margin; `None` where fewer
/// than two are placed.
pub fn box_of(placed: &[Placed; KEYPOINTS]) -> Option<BoxPx> {
    let mut keypoints = [Keypoint::default(); KEYPOINTS];
    for (keypoint, placed) in keypoints.iter_mut().zip(placed) {
        *keypoint = placed.keypoint;
        keypoint.confidence = placed.keypoint.confidence.max(placed.place);
    }
    let tight = BoxPx::around(&keypoints, PLACE_GATE)?;
    Some(grown(&tight, MARGIN * tight.width().max(tight.height())))
}

fn grown(bounds: &BoxPx, by: f32) -> BoxPx {
    BoxPx {
        left: bounds.left - by,
        top: bounds.top - by,
        right: bounds.right + by,
        bottom: bounds.bottom + by,
    }
}

impl Region {
    /// The person's region in the next frame: moved on by the last movement and
    /// grown by half of it, since people also stop.
    pub fn after(bounds: &BoxPx, before: &Region) -> Self {
        let ((x, y), (old_x, old_y)) = (bounds.centre(), before.bounds.centre());
        let side = bounds.width().max(bounds.height());
        // A jump of half a person is a new crop, not a movement.
        let velocity = (
            (x - old_x).clamp(-0.25 * side, 0.25 * side),
            (y - old_y).clamp(-0.25 * side, 0.25 * side),
        );
        Self {
            bounds: *bounds,
            score: 1.0,
            velocity,
        }
    }

    /// Where to look for this person now.
    pub fn expected(&self) -> BoxPx {
        let (dx, dy) = self.velocity;
        let (grow_x, grow_y) = (0.5 * dx.abs(), 0.5 * dy.abs());
        BoxPx {
            left: self.bounds.left + dx - grow_x,
            top: self.bounds.top + dy - grow_y,
            right: self.bounds.right + dx + grow_x,
            bottom: self.bounds.bottom + dy + grow_y,
        }
    }
}

/// Joins what the finder found to the people followed: a box on a followed
/// person steadies that person's region, any other becomes a region of its own.
pub fn join(regions: &mut Regions, found: impl Iterator<Item = (BoxPx, f32)>) {
    let followed = regions.len();
    for (bounds, score) in found {
        let same = regions[..followed]
            .iter_mut()
            .map(|region| (region.bounds.iou(&bounds), region))
            .filter(|(iou, _)| *iou > SAME_PERSON_IOU)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, region)) = same {
            region.bounds = between(&region.bounds, &bounds, FINDER_WEIGHT);
        } else {
            let fresh = Region {
                bounds,
                score,
                velocity: (0.0, 0.0),
            };
            // Full: the people already followed come first.
            let _ = regions.push(fresh);
        }
    }
}

fn between(a: &BoxPx, b: &BoxPx, share: f32) -> BoxPx {
    let mix = |a: f32, b: f32| a + (b - a) * share;
    BoxPx {
        left: mix(a.left, b.left),
        top: mix(a.top, b.top),
        right: mix(a.right, b.right),
        bottom: mix(a.bottom, b.bottom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(left: f32, top: f32, width: f32, height: f32) -> BoxPx {
        BoxPx {
            left,
            top,
            right: left + width,
            bottom: top + height,
        }
    }

    fn person(x: f32, y: f32, confidence: f32) -> [Placed; KEYPOINTS] {
        let mut placed = [Placed::default(); KEYPOINTS];
        for (k, placed) in (0_u8..).zip(&mut placed) {
            placed.keypoint = Keypoint {
                x_px: x + f32::from(k % 4) * 20.0,
                y_px: y + f32::from(k) * 10.0,
                confidence,
            };
            placed.place = 0.9;
        }
        placed
    }

    #[test]
    fn hidden_joints_count_for_the_box_and_unplaced_ones_do_not() {
        let mut placed = person(100.0, 100.0, 0.0);
        placed[16].place = 0.1; // was lowest, at y = 260
        let around = box_of(&placed).unwrap();
        // x 100 to 160, y 100 to 250; margin 15.
        assert_eq!(around, bounds(85.0, 85.0, 90.0, 180.0));
        assert_eq!(box_of(&[Placed::default(); KEYPOINTS]), None);
    }

    #[test]
    fn a_region_goes_on_with_the_movement() {
        let before = Region {
            bounds: bounds(100.0, 50.0, 40.0, 100.0),
            score: 1.0,
            velocity: (0.0, 0.0),
        };
        let region = Region::after(&bounds(110.0, 50.0, 40.0, 100.0), &before);
        assert_eq!(region.velocity, (10.0, 0.0));
        assert_eq!(region.expected(), bounds(115.0, 50.0, 50.0, 100.0));
        let jump = Region::after(&bounds(400.0, 50.0, 40.0, 100.0), &before);
        assert_eq!(jump.velocity, (25.0, 0.0));
    }

    #[test]
    fn the_finder_steadies_whom_we_follow_and_adds_whom_we_do_not() {
        let mut regions = Regions::new();
        regions
            .push(Region {
                bounds: bounds(100.0, 100.0, 100.0, 200.0),
                score: 1.0,
                velocity: (3.0, 0.0),
            })
            .unwrap();
        let found = [
            (bounds(110.0, 100.0, 100.0, 220.0), 0.9),
            (bounds(400.0, 100.0, 80.0, 200.0), 0.6),
        ];
        join(&mut regions, found.into_iter());
        assert_eq!(regions.len(), 2);
        assert_eq!(regions[0].bounds, bounds(105.0, 100.0, 100.0, 210.0));
        assert_eq!(regions[0].velocity, (3.0, 0.0));
        assert_eq!(regions[1].bounds, found[1].0);
        // Two found boxes never merge into each other, and eight is the end.
        let many = (0_u8..12).map(|i| (bounds(f32::from(i) * 300.0, 900.0, 80.0, 200.0), 0.5));
        join(&mut regions, many);
        assert_eq!(regions.len(), PEOPLE_MAX);
    }
}
