//! Network outputs to keypoints and boxes, in the pixels of the network's input
//! (centres at whole numbers).
//!
//! Every function refuses numbers that are not finite, so that a NaN becomes a
//! counted error and not a keypoint.

mod boxes;

use crate::engine::models::{ConfidenceFit, HeatmapValues, PresenceFit};
use crate::pose::Keypoint;
use crate::skeleton::KEYPOINTS;

use crate::engine::network::{InferError, check_finite};

pub use boxes::{CANDIDATES, Candidates, Found, FoundBox, person_boxes, yolo_pose};

/// Keypoints of one person with the chance that each *place* is right, which
/// is high for a joint that is hidden but can be guessed well.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Placed {
    /// Place and chance of being seen.
    pub keypoint: Keypoint,
    /// Chance that the place is right, 0 to 1, whether the joint is seen or not.
    pub place: f32,
}

/// Reach of the refinement around a heatmap's peak, in cells to each side: 5 x 5 cells.
const REACH: usize = 2;

/// Logits further below the peak than this share less than 1e-6 of its chance
/// and are not summed.
const LOGIT_DEPTH: f32 = 14.0;

/// Chances nearer to 0 and 1 than this are taken for this in a [`ConfidenceFit`], as when it was fitted.
const CHANCE_EDGE: f32 = 1e-3;

/// Size of a heatmap and how its cells lie in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapGeometry {
    /// Cells across.
    pub columns: usize,
    /// Cells down.
    pub rows: usize,
    /// Input pixels per cell; the centre of cell i is at `stride * i + (stride - 1) / 2`.
    pub stride: f32,
}

impl MapGeometry {
    /// Input pixel of a place in cells.
    pub const fn pixel(&self, cell: f32) -> f32 {
        self.stride * cell + 0.5 * (self.stride - 1.0)
    }
}

/// Furthest place a decoder gives, in pixels: a network may say anything finite,
/// and what follows must stay finite.
const FAR_PX: f32 = 1.0e5;

/// A pixel coordinate within [`FAR_PX`].
const fn bounded(px: f32) -> f32 {
    px.clamp(-FAR_PX, FAR_PX)
}

/// The logistic function.
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// The logistic function's inverse, of a chance that is kept this far from 0 and 1: `CHANCE_EDGE`.
fn logit(chance: f32) -> f32 {
    let chance = chance.clamp(CHANCE_EDGE, 1.0 - CHANCE_EDGE);
    (chance / (1.0 - chance)).ln()
}

/// Heatmaps `(1, KEYPOINTS, rows, columns)`: the highest cell, refined to the
/// mean place of the 5 x 5 cells around it, each weighted with its chance
/// (`exp` of a logit, or the score itself).
///
/// The place's chance is, for logits, the share of the whole map's chance that lies in the 5 x 5 cells, and for
/// scores the height of the peak. The visibility is the sigmoid of `visible` where the network has that output, else the
/// place's chance. The confidence is what the fit makes of both ([`ConfidenceFit`]); without a fit the visibility.
///
/// # Errors
///
/// [`InferError::NotFinite`].
///
/// # Panics
///
/// Where the slices do not have the sizes of `geometry`.
pub fn heatmaps(
    maps: &[f32],
    visible: Option<&[f32]>,
    (values, fit): (HeatmapValues, Option<&ConfidenceFit>),
    geometry: MapGeometry,
    out: &mut [Placed; KEYPOINTS],
) -> Result<(), InferError> {
    check_finite(0, maps)?;
    if let Some(visible) = visible {
        check_finite(1, visible)?;
    }
    let cells = geometry.rows * geometry.columns;
    assert_eq!(maps.len(), KEYPOINTS * cells, "maps of all keypoints");
    for (k, (map, out)) in maps.chunks_exact(cells).zip(out).enumerate() {
        let peak = highest(map);
        let (x, y, inside) = refine(map, peak, values, geometry.columns);
        let place = match values {
            HeatmapValues::Logits => inside / chance_sum(map, map[peak]),
            HeatmapValues::Scores => map[peak],
        }
        .clamp(0.0, 1.0);
        let visibility = visible.map_or(place, |visible| sigmoid(visible[k]));
        let confidence = fit.map_or(visibility, |fit| {
            let seen = visible.map_or(0.0, |visible| visible[k]);
            sigmoid(fit.seen * seen + fit.place * logit(place) + fit.bias[k])
        });
        out.keypoint = Keypoint {
            x_px: geometry.pixel(x),
            y_px: geometry.pixel(y),
            visibility,
            confidence,
        };
        out.place = place;
    }
    Ok(())
}

/// Index of the largest number, the first of equals; 0 of nothing.
fn highest(values: &[f32]) -> usize {
    let mut best = 0;
    let mut most = f32::NEG_INFINITY;
    for (i, &value) in values.iter().enumerate() {
        if value > most {
            most = value;
            best = i;
        }
    }
    best
}

/// Weighted mean cell `(x, y)` around `peak`, and the sum of the weights.
#[expect(clippy::cast_precision_loss, reason = "at most a few hundred cells")]
fn refine(map: &[f32], peak: usize, values: HeatmapValues, columns: usize) -> (f32, f32, f32) {
    let rows = map.len() / columns;
    let (px, py) = (peak % columns, peak / columns);
    let (mut sum, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
    for y in py.saturating_sub(REACH)..(py + REACH + 1).min(rows) {
        for x in px.saturating_sub(REACH)..(px + REACH + 1).min(columns) {
            let value = map[y * columns + x];
            let weight = match values {
                HeatmapValues::Logits => (value - map[peak]).exp(),
                // Relative to the peak, so that sums of large scores stay finite.
                HeatmapValues::Scores => (value / map[peak].max(f32::MIN_POSITIVE)).max(0.0),
            };
            sum += weight;
            sum_x += weight * (x as f32 - px as f32);
            sum_y += weight * (y as f32 - py as f32);
        }
    }
    if sum > 0.0 {
        (px as f32 + sum_x / sum, py as f32 + sum_y / sum, sum)
    } else {
        // A map of scores without anything above zero.
        (px as f32, py as f32, 0.0)
    }
}

/// The chance that a box with a `score` of the person detector holds the person that was placed ([`PresenceFit`]).
pub fn presence(fit: &PresenceFit, score: f32, placed: &[Placed; KEYPOINTS]) -> f32 {
    let seen = best_half(placed.map(|placed| placed.keypoint.visibility));
    let place = best_half(placed.map(|placed| placed.place));
    sigmoid(fit.score * logit(score) + fit.seen * logit(seen) + fit.place * logit(place) + fit.bias)
}

/// Mean of the better half: a person seen from the side shows half of the keypoints.
pub fn best_half(mut values: [f32; KEYPOINTS]) -> f32 {
    const HALF: usize = KEYPOINTS.div_ceil(2);
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    #[expect(clippy::cast_precision_loss, reason = "9")]
    let count = HALF as f32;
    values[..HALF].iter().sum::<f32>() / count
}

/// Sum of `exp(logit - top)` over a map.
fn chance_sum(map: &[f32], top: f32) -> f32 {
    map.iter()
        .map(|&logit| logit - top)
        .filter(|&below| below > -LOGIT_DEPTH)
        .map(f32::exp)
        .sum()
}

/// `SimCC` (`RTMPose`): `(1, KEYPOINTS, columns * split)` and
/// `(1, KEYPOINTS, rows * split)`. The place is the best bin of each axis
/// divided by `split`; the confidence is the lower of the two best scores, as
/// in mmpose's `get_simcc_maximum`.
///
/// # Errors
///
/// [`InferError::NotFinite`].
///
/// # Panics
///
/// Where a slice does not divide into [`KEYPOINTS`] rows.
pub fn simcc(
    across: &[f32],
    down: &[f32],
    split: f32,
    out: &mut [Placed; KEYPOINTS],
) -> Result<(), InferError> {
    check_finite(0, across)?;
    check_finite(1, down)?;
    assert!(
        across.len().is_multiple_of(KEYPOINTS) && down.len().is_multiple_of(KEYPOINTS),
        "a row of bins for each keypoint"
    );
    let xs = across.chunks_exact(across.len() / KEYPOINTS);
    let ys = down.chunks_exact(down.len() / KEYPOINTS);
    for ((xs, ys), out) in xs.zip(ys).zip(out) {
        let (x, y) = (highest(xs), highest(ys));
        let score = xs[x].min(ys[y]).clamp(0.0, 1.0);
        #[expect(clippy::cast_precision_loss, reason = "at most 30720 bins")]
        let (x_px, y_px) = (x as f32 / split, y as f32 / split);
        *out = Placed {
            keypoint: Keypoint::new(x_px, y_px, score),
            place: score,
        };
    }
    Ok(())
}

/// `MoveNet`: `(1, 1, KEYPOINTS, 3)` of y, x, score, where 0 to 1 spans the
/// input image from edge to edge.
///
/// # Errors
///
/// [`InferError::NotFinite`].
///
/// # Panics
///
/// Where the slice does not hold three numbers for each keypoint.
pub fn movenet(
    values: &[f32],
    (width, height): (usize, usize),
    out: &mut [Placed; KEYPOINTS],
) -> Result<(), InferError> {
    check_finite(0, values)?;
    assert_eq!(values.len(), 3 * KEYPOINTS, "y, x, score of each keypoint");
    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    let (width, height) = (width as f32, height as f32);
    for ([y, x, score], out) in values.as_chunks::<3>().0.iter().zip(out) {
        let score = score.clamp(0.0, 1.0);
        *out = Placed {
            keypoint: Keypoint::new(bounded(x * width) - 0.5, bounded(y * height) - 0.5, score),
            place: score,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const GEOMETRY: MapGeometry = MapGeometry {
        columns: 8,
        rows: 10,
        stride: 4.0,
    };

    fn near(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-4
    }

    fn decoded(
        maps: &[f32],
        visible: Option<&[f32]>,
        values: HeatmapValues,
    ) -> [Placed; KEYPOINTS] {
        let mut out = [Placed::default(); KEYPOINTS];
        heatmaps(maps, visible, (values, None), GEOMETRY, &mut out).unwrap();
        out
    }

    #[test]
    fn a_sharp_peak_is_its_cell() {
        let mut maps = [-20.0; 17 * 80];
        for k in 0..17 {
            maps[k * 80 + (k % 10) * 8 + k % 8] = 10.0;
        }
        let out = decoded(&maps, None, HeatmapValues::Logits);
        for (k, placed) in out.iter().enumerate() {
            let want_x = 4.0 * f32::from(u8::try_from(k % 8).unwrap()) + 1.5;
            let want_y = 4.0 * f32::from(u8::try_from(k % 10).unwrap()) + 1.5;
            assert!(near(placed.keypoint.x_px, want_x), "{k}: {placed:?}");
            assert!(near(placed.keypoint.y_px, want_y), "{k}: {placed:?}");
            assert!(near(placed.place, 1.0), "{k}: {placed:?}");
        }
    }

    /// Chances 3/4 and 1/4 in neighbouring columns: a quarter of a cell to the right.
    #[test]
    fn two_cells_share_the_place_by_their_chance() {
        let mut maps = [-40.0; 17 * 80];
        maps[3 * 8 + 4] = 3.0_f32.ln();
        maps[3 * 8 + 5] = 0.0;
        let placed = decoded(&maps, None, HeatmapValues::Logits)[0];
        assert!(near(placed.keypoint.x_px, 4.0 * 4.25 + 1.5), "{placed:?}");
        assert!(near(placed.keypoint.y_px, 4.0 * 3.0 + 1.5), "{placed:?}");
        assert!(near(placed.keypoint.confidence, 1.0), "{placed:?}");
    }

    /// Two equal peaks far apart: the first is taken, with half the chance.
    #[test]
    fn a_second_peak_halves_the_place_and_does_not_pull() {
        let mut maps = [-40.0; 17 * 80];
        maps[8 + 1] = 2.0;
        maps[8 * 8 + 6] = 2.0;
        let visible = [0.0; 17];
        let placed = decoded(&maps, Some(&visible), HeatmapValues::Logits)[0];
        assert!(near(placed.keypoint.x_px, 5.5), "{placed:?}");
        assert!(near(placed.place, 0.5), "{placed:?}");
        assert!(near(placed.keypoint.confidence, 0.5), "sigmoid of 0");
    }

    #[test]
    fn seen_is_the_sigmoid_of_visible() {
        let mut visible = [0.0; 17];
        visible[2] = 3.0_f32.ln();
        visible[16] = -9.0;
        let out = decoded(&[0.0; 17 * 80], Some(&visible), HeatmapValues::Logits);
        assert!(near(out[2].keypoint.confidence, 0.75));
        assert!(out[16].keypoint.confidence < 0.001);
        // A flat map: the corner's 3 x 3 of 80 cells.
        assert!(near(out[2].place, 9.0 / 80.0), "{:?}", out[2]);
    }

    #[test]
    fn presence_weighs_the_score_and_the_better_half_of_the_keypoints() {
        let fit = PresenceFit {
            score: 2.0,
            seen: 0.5,
            place: 1.0,
            bias: -1.0,
        };
        let mut placed = [Placed::default(); KEYPOINTS];
        for placed in placed.iter_mut().skip(3).step_by(2) {
            placed.keypoint.visibility = 0.8;
            placed.place = 0.6;
        }
        placed[0].keypoint.visibility = 0.8;
        placed[1].keypoint.visibility = 0.8;
        placed[0].place = 0.6;
        placed[1].place = 0.6;
        let (seen, place) = (0.8_f32, 0.6_f32);
        let odds = |chance: f32| (chance / (1.0 - chance)).ln();
        // Nine keypoints are placed, eight say nothing and do not count.
        let want = sigmoid(2.0 * odds(0.4) + 0.5 * odds(seen) + odds(place) - 1.0);
        let chance = presence(&fit, 0.4, &placed);
        assert!(near(chance, want), "{chance} {want}");
        // Nothing to see at all: no chance, and a number.
        let none = presence(&fit, 0.4, &[Placed::default(); KEYPOINTS]);
        assert!((0.0..1e-3).contains(&none), "{none}");
    }

    #[test]
    fn a_fit_turns_both_chances_into_the_confidence() {
        let mut maps = [-40.0; 17 * 80];
        maps[8 + 1] = 2.0;
        maps[8 * 8 + 6] = 2.0; // two equal peaks: a place's chance of a half
        let mut bias = [0.0; KEYPOINTS];
        bias[0] = -1.0;
        let fit = ConfidenceFit {
            seen: 0.5,
            place: 2.0,
            bias,
        };
        let visible = [3.0; 17];
        let mut out = [Placed::default(); KEYPOINTS];
        let how = (HeatmapValues::Logits, Some(&fit));
        heatmaps(&maps, Some(&visible), how, GEOMETRY, &mut out).unwrap();
        assert!(near(out[0].place, 0.5));
        // logit(0.5) = 0: what is left is half of the visible logit and the bias.
        assert!(near(out[0].keypoint.confidence, sigmoid(0.5)));
        assert!(near(out[0].keypoint.visibility, sigmoid(3.0)));
        // A flat map: 9 of 80 cells, and no bias.
        let want = sigmoid(1.5 + 2.0 * (9.0_f32 / 71.0).ln());
        assert!(near(out[1].keypoint.confidence, want), "{:?}", out[1]);
        heatmaps(&maps, None, how, GEOMETRY, &mut out).unwrap();
        assert!(near(out[0].keypoint.confidence, sigmoid(-1.0)));
    }

    #[test]
    fn scores_give_their_height_as_confidence() {
        let mut maps = [0.0; 17 * 80];
        maps[5 * 8 + 3] = 0.6;
        maps[6 * 8 + 3] = 0.2;
        let out = decoded(&maps, None, HeatmapValues::Scores);
        assert!(near(out[0].keypoint.x_px, 13.5));
        assert!(near(out[0].keypoint.y_px, 4.0 * 5.25 + 1.5));
        assert!(near(out[0].keypoint.confidence, 0.6));
        assert!(near(out[1].keypoint.confidence, 0.0), "an empty map");
    }

    #[test]
    fn simcc_takes_the_best_bin_of_each_axis() {
        let (mut across, mut down) = ([0.0; 17 * 12], [0.0; 17 * 16]);
        across[16 * 12 + 9] = 0.9;
        down[16 * 16 + 15] = 0.4;
        down[16 * 16 + 3] = 0.3;
        let mut out = [Placed::default(); KEYPOINTS];
        simcc(&across, &down, 2.0, &mut out).unwrap();
        let last = out[16].keypoint;
        assert!(near(last.x_px, 4.5) && near(last.y_px, 7.5), "{last:?}");
        assert!(near(last.confidence, 0.4));
        assert!(near(out[0].keypoint.confidence, 0.0));
    }

    #[test]
    fn movenet_spans_the_image_from_edge_to_edge() {
        let mut values = [0.0; 51];
        values[..3].copy_from_slice(&[0.25, 0.5, 0.8]);
        values[48..].copy_from_slice(&[1.0, 0.0, 1.5]);
        let mut out = [Placed::default(); KEYPOINTS];
        movenet(&values, (192, 192), &mut out).unwrap();
        let first = out[0].keypoint;
        assert!(
            near(first.x_px, 95.5) && near(first.y_px, 47.5),
            "{first:?}"
        );
        let last = out[16].keypoint;
        assert!(near(last.x_px, -0.5) && near(last.y_px, 191.5), "{last:?}");
        assert!(near(last.confidence, 1.0), "clamped");
    }

    proptest! {
        /// Whatever finite numbers a network gives, keypoints are finite and
        /// confidences are from 0 to 1.
        #[test]
        fn finite_numbers_make_finite_keypoints(
            values in vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 17 * 80)
        ) {
            let mut all = Vec::new();
            for kind in [HeatmapValues::Logits, HeatmapValues::Scores] {
                all.extend(decoded(&values, None, kind));
                all.extend(decoded(&values, Some(&values[..17]), kind));
            }
            let mut out = [Placed::default(); KEYPOINTS];
            simcc(&values, &values, 2.0, &mut out).unwrap();
            all.extend(out);
            movenet(&values[..51], (192, 192), &mut out).unwrap();
            all.extend(out);
            let mut people = heapless::Vec::new();
            yolo_pose(&values[..56 * 24], (0.3, 0.5), &mut people).unwrap();
            all.extend(people.iter().flat_map(|found| found.keypoints));
            for Placed { keypoint, place } in all {
                prop_assert!(keypoint.x_px.is_finite() && keypoint.y_px.is_finite());
                prop_assert!((0.0..=1.0).contains(&keypoint.confidence));
                prop_assert!((0.0..=1.0).contains(&place));
            }
        }
    }

    #[test]
    fn nan_is_an_error_in_every_decoder() {
        let mut out = [Placed::default(); KEYPOINTS];
        let mut maps = [0.0; 17 * 80];
        maps[700] = f32::NAN;
        for values in [HeatmapValues::Logits, HeatmapValues::Scores] {
            assert!(heatmaps(&maps, None, (values, None), GEOMETRY, &mut out).is_err());
        }
        maps[700] = 0.0;
        let mut visible = [0.0; 17];
        visible[4] = f32::INFINITY;
        let logits = (HeatmapValues::Logits, None);
        assert!(heatmaps(&maps, Some(&visible), logits, GEOMETRY, &mut out).is_err());
        assert!(simcc(&[0.0; 170], &[f32::NAN; 170], 2.0, &mut out).is_err());
        assert!(movenet(&[f32::NAN; 51], (192, 192), &mut out).is_err());
    }
}
