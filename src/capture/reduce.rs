//! Large images made smaller: each pixel is the mean of those it covers.

/// Reduces an RGB image to `to` columns and rows, none of which is more than before.
///
/// # Panics
///
/// Where `source` is shorter than the image.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "means of bytes; casts saturate"
)]
pub(super) fn reduce_rgb(
    source: &[u8],
    (width, height): (usize, usize),
    to: (usize, usize),
    out: &mut Vec<u8>,
) {
    let columns = covers(width, to.0);
    let rows = covers(height, to.1);
    out.clear();
    out.reserve(to.0 * to.1 * 3);
    let mut sum = vec![0.0_f32; to.0 * 3];
    for row in &rows {
        sum.fill(0.0);
        for (line, share) in row.shares() {
            let line = &source[line * width * 3..][..width * 3];
            for (cell, column) in sum.chunks_exact_mut(3).zip(&columns) {
                for (at, part) in column.shares() {
                    let weight = share * part;
                    for (sum, value) in cell.iter_mut().zip(&line[at * 3..at * 3 + 3]) {
                        *sum += weight * f32::from(*value);
                    }
                }
            }
        }
        out.extend(sum.iter().map(|value| (value + 0.5) as u8));
    }
}

/// What a pixel covers of a row or column: from `first` to `last`, of these two only a part.
struct Cover {
    first: usize,
    last: usize,
    of_first: f32,
    of_last: f32,
    of_others: f32,
}

impl Cover {
    /// Each pixel covered and its share; the shares add up to one.
    fn shares(&self) -> impl Iterator<Item = (usize, f32)> {
        (self.first..=self.last).map(|at| {
            let share = if at == self.first {
                self.of_first
            } else if at == self.last {
                self.of_last
            } else {
                self.of_others
            };
            (at, share)
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sides of pictures are far below 2^24"
)]
fn covers(from: usize, to: usize) -> Vec<Cover> {
    let step = from as f64 / to as f64;
    (0..to)
        .map(|at| {
            let (start, end) = (at as f64 * step, (at + 1) as f64 * step);
            let first = (start as usize).min(from - 1);
            let last = ((end - 1e-9).ceil() as usize - 1).clamp(first, from - 1);
            let share = |part: f64| (part / step) as f32;
            Cover {
                first,
                last,
                of_first: if first == last {
                    1.0
                } else {
                    share((first + 1) as f64 - start)
                },
                of_last: share(end - last as f64),
                of_others: share(1.0),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(values: &[u8]) -> Vec<u8> {
        values.iter().flat_map(|&value| [value; 3]).collect()
    }

    #[test]
    fn a_pixel_is_the_mean_of_what_it_covers() {
        let mut out = Vec::new();
        reduce_rgb(&grey(&[0, 100, 200, 60]), (2, 2), (1, 1), &mut out);
        assert_eq!(out, grey(&[90]));
        reduce_rgb(&grey(&[0, 90, 180]), (3, 1), (2, 1), &mut out);
        assert_eq!(out, grey(&[30, 150]));
        let same = grey(&[1, 2, 3, 4, 5, 6]);
        reduce_rgb(&same, (3, 2), (3, 2), &mut out);
        assert_eq!(out, same);
    }

    #[test]
    fn an_even_picture_stays_even_at_any_size() {
        let mut out = Vec::new();
        let source = grey(&[77; 53 * 37]);
        for (width, height) in [(52, 36), (31, 37), (7, 5), (1, 1)] {
            reduce_rgb(&source, (53, 37), (width, height), &mut out);
            assert_eq!(out, grey(&vec![77; width * height]), "{width}x{height}");
        }
    }
}
