//! Corners of squares, moved to where the edges around them cross.

use glam::{DMat2, DVec2};

use super::fit::Corner;
use super::picture::Picture;

/// Half of the window, as a part of the distance to the nearest other corner: markers begin behind it.
const REACH_REL: f64 = 0.15;

/// Half of the window, pixels: less holds no gradient. With up to 16 a lens that bends edges was three times as far off
/// (`benches/against_opencv.py`: 1280x720), two others a quarter nearer.
const REACH_PX: (f64, f64) = (2.0, 8.0);

/// Steps after which a corner that still moves stays where it was found.
const STEPS_MAX: usize = 20;

/// A step shorter than this is the last, pixels.
const STEP_PX: f64 = 0.005;

/// Smallest ratio of the gradients' smaller to their larger spread: below it there is an edge rather than a corner.
const SPREAD_MIN: f64 = 0.05;

/// Moves each corner to the point that the lines along the edges around it are nearest to: where the gradient is large
/// it is at right angles to the way to the corner (Förstner and Gülch, *A fast operator for detection and precise location
/// of distinct points, corners and centres of circular features*, 1987; iterated, as `cornerSubPix` of `OpenCV`).
///
/// A corner stays where it was found when there is no such point within its window.
pub fn refine(picture: &Picture<'_>, corners: &mut [Corner]) {
    let found: Vec<DVec2> = corners.iter().map(|corner| corner.pixel).collect();
    let mut samples = Vec::new();
    for (index, corner) in corners.iter_mut().enumerate() {
        let nearest = found
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, place)| place.distance(found[index]))
            .fold(f64::INFINITY, f64::min);
        let reach = (REACH_REL * nearest).clamp(REACH_PX.0, REACH_PX.1);
        if let Some(place) = crossing(picture, corner.pixel, reach, &mut samples) {
            corner.pixel = place;
        }
    }
}

/// Where the edges within `reach` pixels of a point cross; `None` where they do not, or only beyond `reach`.
fn crossing(
    picture: &Picture<'_>,
    found: DVec2,
    reach: f64,
    samples: &mut Vec<f64>,
) -> Option<DVec2> {
    let mut place = found;
    for _ in 0..STEPS_MAX {
        let step = step_to_crossing(picture, place, reach, samples)?;
        place += step;
        if place.distance(found) > reach {
            return None;
        }
        if step.length() < STEP_PX {
            return Some(place);
        }
    }
    None
}

/// From the middle of a window to the point that minimises the sum of `(gradient · (point - pixel))²`, with weights that
/// fall to `1/e` at the middle of a side.
fn step_to_crossing(
    picture: &Picture<'_>,
    middle: DVec2,
    reach: f64,
    samples: &mut Vec<f64>,
) -> Option<DVec2> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a few pixels: REACH_PX bounds it"
    )]
    let half = reach.ceil() as i32;
    let side = usize::try_from(2 * half + 3).unwrap_or_default();
    samples.clear();
    for row in -half - 1..=half + 1 {
        for column in -half - 1..=half + 1 {
            samples.push(picture.at(middle + DVec2::new(column.into(), row.into()))?);
        }
    }
    let (mut normal, mut right) = (DMat2::ZERO, DVec2::ZERO);
    for (row, y) in (1..side - 1).zip(-half..) {
        for (column, x) in (1..side - 1).zip(-half..) {
            let at = row * side + column;
            let gradient = 0.5
                * DVec2::new(
                    samples[at + 1] - samples[at - 1],
                    samples[at + side] - samples[at - side],
                );
            let offset = DVec2::new(x.into(), y.into());
            let outer = DMat2::from_cols(gradient * gradient.x, gradient * gradient.y)
                * (-(offset / reach).length_squared()).exp();
            normal += outer;
            right += outer * offset;
        }
    }
    // Eigenvalues of a symmetric matrix: half the trace, plus and minus the root.
    let half_trace = 0.5 * (normal.x_axis.x + normal.y_axis.y);
    let root = (half_trace * half_trace - normal.determinant())
        .max(0.0)
        .sqrt();
    let is_corner = half_trace - root > SPREAD_MIN * (half_trace + root);
    is_corner.then(|| normal.inverse() * right)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 64;

    /// A corner of four squares at `corner`, turned and sheared, blurred by the area of a pixel.
    fn drawn(corner: DVec2, axes: DMat2, noise: f64) -> Vec<u8> {
        const PARTS: u32 = 8;
        let to_squares = axes.inverse();
        let mut state = 7_u32;
        (0..SIDE * SIDE)
            .map(|index| {
                #[expect(clippy::cast_precision_loss, reason = "sides of a small picture")]
                let pixel = DVec2::new((index % SIDE) as f64, (index / SIDE) as f64);
                let mut black = 0;
                for part in 0..PARTS * PARTS {
                    let within = DVec2::new((part % PARTS).into(), (part / PARTS).into()) + 0.5;
                    let at = to_squares * (pixel + within / f64::from(PARTS) - 0.5 - corner);
                    black += u32::from((at.x < 0.0) == (at.y < 0.0));
                }
                // Of the linear congruential generator of Numerical Recipes; its upper bits.
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let random = f64::from(state >> 8) / f64::from(1 << 24) - 0.5;
                let share = f64::from(black) / f64::from(PARTS * PARTS);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "from 0 to 255"
                )]
                let grey = (200.0 - 160.0 * share + noise * random).clamp(0.0, 255.0) as u8;
                grey
            })
            .collect()
    }

    /// Where a corner that was found here is moved to.
    fn refined(grey: &[u8], found: DVec2) -> DVec2 {
        // The second only says how far the nearest corner is.
        let mut corners = [found, found + DVec2::new(40.0, 0.0)].map(|pixel| Corner {
            board_m: DVec2::ZERO,
            pixel,
        });
        let picture = Picture {
            width: SIDE,
            height: SIDE,
            grey,
        };
        refine(&picture, &mut corners);
        corners[0].pixel
    }

    #[test]
    fn a_corner_is_found_to_a_tenth_of_a_pixel() {
        for (degrees, shear) in [(5.0_f64, 0.0), (33.0, 0.3), (-20.0, -0.4)] {
            let truth = DVec2::new(31.27, 32.61);
            let turn = DMat2::from_angle(degrees.to_radians());
            let axes = turn * DMat2::from_cols(DVec2::X, DVec2::new(shear, 1.0));
            let grey = drawn(truth, axes, 0.0);
            let off = refined(&grey, truth + DVec2::new(-0.7, 0.9)).distance(truth);
            assert!(off < 0.1, "{degrees} {shear}: {off} px");
        }
    }

    #[test]
    fn where_no_edges_cross_a_corner_stays() {
        let flat = vec![90; SIDE * SIDE];
        // A single edge: the other squares are far above.
        let edge = drawn(DVec2::new(31.0, -4000.0), DMat2::IDENTITY, 0.0);
        let found = DVec2::new(30.4, 32.0);
        assert_eq!(refined(&flat, found), found);
        assert_eq!(refined(&edge, found), found);
    }

    #[test]
    fn a_corner_whose_window_leaves_the_picture_stays() {
        let truth = DVec2::new(3.0, 32.0);
        let grey = drawn(truth, DMat2::from_angle(0.3), 0.0);
        let found = DVec2::new(3.5, 32.5);
        assert_eq!(refined(&grey, found), found);
    }

    #[test]
    fn a_corner_farther_away_than_the_window_is_not_taken() {
        let truth = DVec2::new(38.5, 32.0);
        let grey = drawn(truth, DMat2::from_angle(0.3), 0.0);
        let found = DVec2::new(31.0, 32.0);
        assert_eq!(refined(&grey, found), found);
    }

    #[test]
    fn noise_moves_a_corner_by_less_than_a_fifth_of_a_pixel() {
        let truth = DVec2::new(32.4, 30.8);
        let grey = drawn(truth, DMat2::from_angle(0.2), 30.0);
        let found = truth + DVec2::new(0.6, 0.5);
        let off = refined(&grey, found).distance(truth);
        assert!(off < 0.2, "{off} px");
    }
}
