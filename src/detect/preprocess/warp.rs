//! Sampling through a mapping from destination pixels to source pixels.

use glam::{Mat2, Vec2};

use super::pixels::{Format, Image};

/// A 3x3 matrix, rows first: homogeneous destination pixel to homogeneous source pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Homography(pub [f32; 9]);

impl Homography {
    /// Source pixel of a destination pixel; far outside any image where there is none.
    #[inline]
    pub fn apply(&self, x: f32, y: f32) -> (f32, f32) {
        let h = &self.0;
        let w = h[6] * x + h[7] * y + h[8];
        // Behind the camera or on its plane: no pixel.
        let scale = if w > 1e-6 { 1.0 / w } else { f32::NAN };
        (
            (h[0] * x + h[1] * y + h[2]) * scale,
            (h[3] * x + h[4] * y + h[5]) * scale,
        )
    }

    /// source = matrix * destination + shift.
    pub fn affine(matrix: Mat2, shift: Vec2) -> Self {
        let (x, y) = (matrix.x_axis, matrix.y_axis);
        Self([x.x, y.x, shift.x, x.y, y.y, shift.y, 0.0, 0.0, 1.0])
    }
}

/// Destination pixels between two nodes of a [`LensGrid`].
const GRID_STEP: usize = 8;

/// A mapping through a lens: source pixels at every eighth destination pixel,
/// linear in between. A wide lens bends such a patch by well under a pixel.
#[derive(Debug)]
pub struct LensGrid {
    columns: usize,
    rows: usize,
    /// Source x, y of node (column, row), row by row.
    nodes: Vec<(f32, f32)>,
}

impl LensGrid {
    /// Room for a destination of `width` x `height` pixels.
    pub fn new(width: usize, height: usize) -> Self {
        let columns = width.div_ceil(GRID_STEP) + 1;
        let rows = height.div_ceil(GRID_STEP) + 1;
        Self {
            columns,
            rows,
            nodes: vec![(0.0, 0.0); columns * rows],
        }
    }

    /// Computes the nodes from the exact mapping; `None` counts as outside the image.
    pub fn fill(&mut self, mut source_of: impl FnMut(f32, f32) -> Option<(f32, f32)>) {
        for row in 0..self.rows {
            for column in 0..self.columns {
                let (x, y) = (node_px(column), node_px(row));
                let outside = (f32::NAN, f32::NAN);
                self.nodes[row * self.columns + column] = source_of(x, y).unwrap_or(outside);
            }
        }
    }

    #[inline]
    fn apply(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = (x / STEP, y / STEP);
        let (column, row) = (whole(x, self.columns - 2), whole(y, self.rows - 2));
        let (fx, fy) = (x - step_count(column), y - step_count(row));
        let at = row * self.columns + column;
        let top = mix(self.nodes[at], self.nodes[at + 1], fx);
        let bottom = mix(
            self.nodes[at + self.columns],
            self.nodes[at + self.columns + 1],
            fx,
        );
        mix(top, bottom, fy)
    }
}

#[expect(clippy::cast_precision_loss, reason = "8")]
const STEP: f32 = GRID_STEP as f32;

#[expect(clippy::cast_precision_loss, reason = "at most 1928")]
const fn node_px(index: usize) -> f32 {
    (index * GRID_STEP) as f32
}

#[expect(clippy::cast_precision_loss, reason = "at most 241")]
const fn step_count(index: usize) -> f32 {
    index as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is clamped"
)]
fn whole(value: f32, max: usize) -> usize {
    (value as usize).min(max)
}

fn mix(a: (f32, f32), b: (f32, f32), share: f32) -> (f32, f32) {
    (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share)
}

/// Where each destination pixel lies in the source.
#[derive(Debug)]
pub enum Mapping<'a> {
    /// A plane seen by a camera without distortion.
    Homography(Homography),
    /// Through a lens.
    Lens(&'a LensGrid),
}

impl Mapping<'_> {
    /// Source pixel of a destination pixel; NaN where there is none.
    #[inline]
    pub fn apply(&self, x: f32, y: f32) -> (f32, f32) {
        match self {
            Self::Homography(matrix) => matrix.apply(x, y),
            Self::Lens(grid) => grid.apply(x, y),
        }
    }

    /// Source pixels per destination pixel at the destination's centre, along
    /// the direction that shrinks most.
    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    pub(super) fn shrink(&self, width: usize, height: usize) -> f32 {
        let (x, y) = (width as f32 * 0.5, height as f32 * 0.5);
        let (x0, y0) = self.apply(x - 0.5, y - 0.5);
        let (x1, y1) = self.apply(x + 0.5, y - 0.5);
        let (x2, y2) = self.apply(x - 0.5, y + 0.5);
        let across = (x1 - x0).hypot(y1 - y0);
        let down = (x2 - x0).hypot(y2 - y0);
        across.max(down)
    }

    /// The source columns and rows that a destination reaches, `(left, top,
    /// right, bottom)`; `None` if some of it has no source pixel.
    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    pub(super) fn reach(&self, width: usize, height: usize) -> Option<[f32; 4]> {
        let (right, bottom) = ((width - 1) as f32, (height - 1) as f32);
        let (middle, centre) = (0.5 * right, 0.5 * bottom);
        let mut reach = [f32::INFINITY, f32::INFINITY, -f32::INFINITY, -f32::INFINITY];
        for (x, y) in [
            (0.0, 0.0),
            (middle, 0.0),
            (right, 0.0),
            (0.0, centre),
            (right, centre),
            (0.0, bottom),
            (middle, bottom),
            (right, bottom),
        ] {
            let (x, y) = self.apply(x, y);
            if !(x.is_finite() && y.is_finite()) {
                return None;
            }
            reach = [
                reach[0].min(x),
                reach[1].min(y),
                reach[2].max(x),
                reach[3].max(y),
            ];
        }
        Some(reach)
    }

    /// Source positions of one destination row.
    #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
    pub(super) fn row(&self, y: usize, columns: &mut [f32], rows: &mut [f32]) {
        let y = y as f32;
        match self {
            Self::Homography(Homography(h)) => {
                let (xc, yc, wc) = (h[1] * y + h[2], h[4] * y + h[5], h[7] * y + h[8]);
                for (i, (column, row)) in (0..u16::MAX).zip(columns.iter_mut().zip(rows)) {
                    let x = f32::from(i);
                    let w = h[6] * x + wc;
                    let scale = if w > 1e-6 { 1.0 / w } else { f32::NAN };
                    *column = (h[0] * x + xc) * scale;
                    *row = (h[3] * x + yc) * scale;
                }
            }
            Self::Lens(grid) => {
                for (i, (column, row)) in (0..u16::MAX).zip(columns.iter_mut().zip(rows)) {
                    (*column, *row) = grid.apply(f32::from(i), y);
                }
            }
        }
    }
}

/// One row by bilinear interpolation of four taps; taps outside are `fill` (RGB).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked to lie inside the image before the cast; sides are at most 1920"
)]
pub(super) fn bilinear_row<F: Format>(
    source: &Image<'_, F>,
    columns: &[f32],
    rows: &[f32],
    fill: [f32; 3],
    out: &mut [[f32; 3]],
) {
    let (width, height) = (source.width(), source.height());
    let (right, bottom) = ((width - 1) as f32, (height - 1) as f32);
    let outside = F::from_rgb(fill);
    for ((&x, &y), out) in columns.iter().zip(rows).zip(out) {
        if x >= 0.0 && y >= 0.0 && x < right && y < bottom {
            // Of all conversions, those of 32 bits with sign cost least.
            let (left, top) = (x as i32, y as i32);
            let (fx, fy) = (x - left as f32, y - top as f32);
            let (left, top) = (left as usize, top as usize);
            *out = F::rgb(blend(source.square_at(left, top), fx, fy));
        } else if x > -1.0 && y > -1.0 && x < right + 1.0 && y < bottom + 1.0 {
            let (left, top) = (x.floor(), y.floor());
            let (fx, fy) = (x - left, y - top);
            let tap = |x: f32, y: f32| {
                if x >= 0.0 && y >= 0.0 && x <= right && y <= bottom {
                    source.at(x as usize, y as usize)
                } else {
                    outside
                }
            };
            let taps = [
                tap(left, top),
                tap(left + 1.0, top),
                tap(left, top + 1.0),
                tap(left + 1.0, top + 1.0),
            ];
            *out = F::rgb(blend(taps, fx, fy));
        } else {
            // NaN comes here too.
            *out = fill;
        }
    }
}

#[inline]
fn blend([a, b, c, d]: [[f32; 3]; 4], fx: f32, fy: f32) -> [f32; 3] {
    let mut out = [0.0; 3];
    for k in 0..3 {
        let top = a[k] + (b[k] - a[k]) * fx;
        let bottom = c[k] + (d[k] - c[k]) * fx;
        out[k] = top + (bottom - top) * fy;
    }
    out
}
