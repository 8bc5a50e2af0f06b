//! Decoders of networks that look at a whole frame: our person detector and `YOLO-pose`.

use heapless::Vec;

use super::{MapGeometry, Placed, bounded, sigmoid};
use crate::base::limits::PEOPLE_MAX;
use crate::engine::network::{InferError, check_finite};
use crate::pose::{BoxPx, Keypoint};
use crate::skeleton::KEYPOINTS;

/// Candidates kept before overlapping ones are left out: a person usually has a
/// handful of cells above the threshold.
pub const CANDIDATES: usize = 8 * PEOPLE_MAX;

/// The person detector's box distances are in units of this many input pixels.
const BOX_UNIT_PX: f32 = 8.0;

/// A box in input pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundBox {
    /// Chance that this is a person, 0 to 1.
    pub score: f32,
    /// Where.
    pub bounds: BoxPx,
    /// Which cell or column of the output it comes from.
    pub index: usize,
}

/// A person with keypoints in input pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Box and score.
    pub person: FoundBox,
    /// COCO keypoints.
    pub keypoints: [Placed; KEYPOINTS],
}

/// The best candidates so far, best first.
#[derive(Clone, Debug, Default)]
pub struct Candidates(Vec<FoundBox, CANDIDATES>);

impl Candidates {
    /// Puts a candidate in its place; the worst falls out when there are too many.
    fn offer(&mut self, candidate: FoundBox) {
        let place = self
            .0
            .iter()
            .position(|other| candidate.score > other.score)
            .unwrap_or(self.0.len());
        if self.0.is_full() {
            if place == self.0.len() {
                return;
            }
            self.0.pop();
        }
        // There is room now and `place` is at most the length.
        let _ = self.0.insert(place, candidate);
    }

    /// Greedy non-maximum suppression: each candidate that overlaps none of
    /// those kept by more than `iou_max`, best first.
    fn keep_apart(&self, iou_max: f32, mut keep: impl FnMut(&FoundBox) -> bool) {
        let mut kept: Vec<BoxPx, PEOPLE_MAX> = Vec::new();
        for candidate in &self.0 {
            let apart = kept
                .iter()
                .all(|other| candidate.bounds.iou(other) <= iou_max);
            if apart && (kept.push(candidate.bounds).is_err() || !keep(candidate)) {
                return;
            }
        }
    }
}

/// Our person detector: `score (1, 1, rows, columns)` logits and `edges (1, 4, rows,
/// columns)`, the distances from the cell's centre to the box's left, top,
/// right and bottom edge in units of 8 input pixels. A cell counts where it is
/// the highest of its 3 x 3 neighbours.
///
/// # Errors
///
/// [`InferError::NotFinite`].
///
/// # Panics
///
/// Where the slices do not have the sizes of `geometry`.
pub fn person_boxes(
    score: &[f32],
    edges: &[f32],
    geometry: MapGeometry,
    (score_min, iou_max): (f32, f32),
    out: &mut Vec<FoundBox, PEOPLE_MAX>,
) -> Result<(), InferError> {
    out.clear();
    check_finite(0, score)?;
    check_finite(1, edges)?;
    let cells = geometry.rows * geometry.columns;
    assert_eq!(score.len(), cells, "a score for each cell");
    assert_eq!(edges.len(), 4 * cells, "four edges for each cell");
    let mut candidates = Candidates::default();
    for (index, &logit) in score.iter().enumerate() {
        let chance = sigmoid(logit);
        if chance < score_min || !is_peak(score, index, geometry.columns) {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most a few hundred cells")]
        let (column, row) = (
            (index % geometry.columns) as f32,
            (index / geometry.columns) as f32,
        );
        let (x, y) = (geometry.pixel(column), geometry.pixel(row));
        let edge = |k: usize| bounded(edges[k * cells + index].max(0.0) * BOX_UNIT_PX);
        candidates.offer(FoundBox {
            score: chance,
            bounds: BoxPx {
                left: x - edge(0),
                top: y - edge(1),
                right: x + edge(2),
                bottom: y + edge(3),
            },
            index,
        });
    }
    candidates.keep_apart(iou_max, |candidate| out.push(*candidate).is_ok());
    Ok(())
}

/// Whether a cell is not lower than any of its neighbours; of equals, the first is the peak.
fn is_peak(score: &[f32], index: usize, columns: usize) -> bool {
    let (x, y) = (index % columns, index / columns);
    let rows = score.len() / columns;
    for ny in y.saturating_sub(1)..(y + 2).min(rows) {
        for nx in x.saturating_sub(1)..(x + 2).min(columns) {
            let other = ny * columns + nx;
            let beaten = if other < index {
                score[other] >= score[index]
            } else {
                score[other] > score[index]
            };
            if beaten {
                return false;
            }
        }
    }
    true
}

/// `YOLO-pose` as Ultralytics exports it: `(1, 56, n)`; for candidate i the rows
/// hold the box's centre x, y, width, height, the person's score, then x, y and
/// score of each keypoint, all in input pixels with the image's corner at 0 and
/// scores from 0 to 1.
///
/// # Errors
///
/// [`InferError::NotFinite`].
///
/// # Panics
///
/// Where the slice does not divide into 56 rows.
pub fn yolo_pose(
    values: &[f32],
    (score_min, iou_max): (f32, f32),
    out: &mut Vec<Found, PEOPLE_MAX>,
) -> Result<(), InferError> {
    out.clear();
    check_finite(0, values)?;
    let rows = 5 + 3 * KEYPOINTS;
    assert_eq!(values.len() % rows, 0, "56 numbers for each candidate");
    let count = values.len() / rows;
    // The image's corner is at (0, 0) there; here the first pixel's centre is.
    let centre = 0.5;
    let at = |row: usize, index: usize| bounded(values[row * count + index]);
    let mut candidates = Candidates::default();
    for index in 0..count {
        let score = at(4, index);
        if score < score_min {
            continue;
        }
        let (x, y) = (at(0, index) - centre, at(1, index) - centre);
        let (half_w, half_h) = (0.5 * at(2, index), 0.5 * at(3, index));
        candidates.offer(FoundBox {
            score: score.clamp(0.0, 1.0),
            bounds: BoxPx {
                left: x - half_w,
                top: y - half_h,
                right: x + half_w,
                bottom: y + half_h,
            },
            index,
        });
    }
    candidates.keep_apart(iou_max, |candidate| {
        let mut keypoints = [Placed::default(); KEYPOINTS];
        for (k, placed) in keypoints.iter_mut().enumerate() {
            let score = at(7 + 3 * k, candidate.index).clamp(0.0, 1.0);
            *placed = Placed {
                keypoint: Keypoint::new(
                    at(5 + 3 * k, candidate.index) - centre,
                    at(6 + 3 * k, candidate.index) - centre,
                    score,
                ),
                place: score,
            };
        }
        let person = *candidate;
        out.push(Found { person, keypoints }).is_ok()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: MapGeometry = MapGeometry {
        columns: 24,
        rows: 24,
        stride: 8.0,
    };

    fn near(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn person_boxes_are_measured_from_the_cells_centre() {
        let (mut score, mut edges) = ([-9.0; 576], [0.0; 4 * 576]);
        let cell = 5 * 24 + 7; // centre at (59.5, 43.5)
        score[cell] = 0.0;
        score[cell + 1] = -0.5; // a lower neighbour
        for (k, distance) in [1.0, 2.0, 3.0, 4.0].into_iter().enumerate() {
            edges[k * 576 + cell] = distance;
        }
        let mut out = Vec::new();
        person_boxes(&score, &edges, GEOMETRY, (0.3, 0.5), &mut out).unwrap();
        assert_eq!(out.len(), 1);
        let FoundBox { score, bounds, .. } = out[0];
        assert!(near(score, 0.5));
        assert!(
            near(bounds.left, 51.5) && near(bounds.right, 83.5),
            "{bounds:?}"
        );
        assert!(
            near(bounds.top, 27.5) && near(bounds.bottom, 75.5),
            "{bounds:?}"
        );
    }

    #[test]
    fn of_two_boxes_on_one_person_the_better_stays() {
        let (mut score, mut edges) = ([-9.0; 576], [2.0; 4 * 576]);
        score[5 * 24 + 7] = 1.0;
        score[5 * 24 + 9] = 2.0; // two cells on: 16 of 32 pixels overlap, IoU 1/3
        let mut out = Vec::new();
        person_boxes(&score, &edges, GEOMETRY, (0.3, 0.5), &mut out).unwrap();
        assert_eq!(out.len(), 2);
        assert!(out[0].score > out[1].score);
        edges.fill(6.0); // 80 of 96 pixels overlap, IoU 80 / 112
        person_boxes(&score, &edges, GEOMETRY, (0.3, 0.5), &mut out).unwrap();
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].index, 5 * 24 + 9);
    }

    #[test]
    fn equal_neighbours_are_one_person_and_ten_people_are_eight() {
        let (mut score, edges) = ([-9.0; 576], [0.4; 4 * 576]);
        score[100] = 1.0;
        score[101] = 1.0;
        let mut out = Vec::new();
        person_boxes(&score, &edges, GEOMETRY, (0.3, 0.5), &mut out).unwrap();
        assert_eq!(out.len(), 1);
        for i in 0..10 {
            score[24 * 10 + 2 * i] = 3.0;
        }
        person_boxes(&score, &edges, GEOMETRY, (0.3, 0.5), &mut out).unwrap();
        assert_eq!(out.len(), PEOPLE_MAX);
    }

    #[test]
    fn the_best_candidates_stay_in_order() {
        let mut candidates = Candidates::default();
        for i in 0..200_u8 {
            candidates.offer(FoundBox {
                score: f32::from(i.wrapping_mul(73)) / 256.0,
                bounds: BoxPx::default(),
                index: usize::from(i),
            });
        }
        let scores: std::vec::Vec<f32> = candidates.0.iter().map(|c| c.score).collect();
        assert_eq!(scores.len(), CANDIDATES);
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let mut all: std::vec::Vec<f32> = (0..200_u8)
            .map(|i| f32::from(i.wrapping_mul(73)) / 256.0)
            .collect();
        all.sort_by(f32::total_cmp);
        assert!(near(scores[CANDIDATES - 1], all[200 - CANDIDATES]));
    }

    #[test]
    fn yolo_columns_become_people() {
        let count = 3;
        let mut values = std::vec![0.0; 56 * count];
        let mut put = |row: usize, index: usize, value: f32| values[row * count + index] = value;
        // Candidates 0 and 2 are the same person, 1 another.
        for (index, x, score) in [(0, 100.0, 0.7), (1, 300.0, 0.6), (2, 102.0, 0.9)] {
            put(0, index, x);
            put(1, index, 200.0);
            put(2, index, 40.0);
            put(3, index, 80.0);
            put(4, index, score);
            put(5 + 3 * 16, index, x + 5.0);
            put(6 + 3 * 16, index, 230.0);
            put(7 + 3 * 16, index, 0.25);
        }
        let mut out = Vec::new();
        yolo_pose(&values, (0.3, 0.5), &mut out).unwrap();
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].person.index, out[1].person.index), (2, 1));
        let bounds = out[0].person.bounds;
        assert!(
            near(bounds.left, 81.5) && near(bounds.bottom, 239.5),
            "{bounds:?}"
        );
        let ankle = out[0].keypoints[16].keypoint;
        assert!(
            near(ankle.x_px, 106.5) && near(ankle.y_px, 229.5),
            "{ankle:?}"
        );
        assert!(near(ankle.confidence, 0.25));
        yolo_pose(&values, (0.8, 0.5), &mut out).unwrap();
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn nan_is_an_error_and_leaves_no_person() {
        let mut out = Vec::new();
        let edges = [0.0; 4 * 576];
        assert!(person_boxes(&[f32::NAN; 576], &edges, GEOMETRY, (0.3, 0.5), &mut out).is_err());
        assert!(out.is_empty());
        let mut people = Vec::new();
        assert!(yolo_pose(&[f32::NAN; 56], (0.3, 0.5), &mut people).is_err());
        assert!(people.is_empty());
    }
}
