//! Products of small matrices, with the widest registers the processor has.
//!
//! A build for x86-64 knows only the registers of 2003. Sums of products are written
//! twice, once with AVX2 and fused multiply-add, and the machine is asked once which it
//! has; adding rows is the same text compiled twice. Elsewhere the plain text is all
//! there is. What is generic here is inlined always: a function that is called keeps the
//! registers it was compiled for.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "calling what was compiled for other registers is safe only where the processor has them"
    )
)]
#![expect(
    clippy::inline_always,
    reason = "what is not inlined would be compiled for the narrow registers"
)]

use std::sync::LazyLock;

/// Lanes of an accumulator: one AVX register, two of NEON.
const LANES: usize = 8;

/// Rows computed at once, so that `x` is read once for all of them.
const ROWS: usize = 4;

/// Whether the wide build may run here.
static WIDE: LazyLock<bool> = LazyLock::new(wide);

#[cfg(target_arch = "x86_64")]
fn wide() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn wide() -> bool {
    false
}

/// `y[r] = bias[r] + weight[r] · x` for each row `r`; `weight` is `[rows, x.len()]`, row-major.
///
/// # Panics
///
/// The lengths do not fit.
pub fn rows_times(weight: &[f32], x: &[f32], bias: &[f32], y: &mut [f32]) {
    assert_eq!(weight.len(), x.len() * y.len(), "a row for each output");
    assert_eq!(bias.len(), y.len(), "a bias for each output");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { rows_times_wide(weight, x, bias, y) };
        return;
    }
    rows_times_any(plain::dot4, weight, x, bias, y);
}

/// [`rows_times`] for two inputs at once, so that the weights are fetched once for both.
///
/// # Panics
///
/// The lengths do not fit.
pub fn rows_times_two(weight: &[f32], x: [&[f32]; 2], bias: &[f32], y: [&mut [f32]; 2]) {
    let [y0, y1] = y;
    assert_eq!(x[0].len(), x[1].len(), "inputs of one length");
    assert_eq!(y0.len(), y1.len(), "outputs of one length");
    assert_eq!(weight.len(), x[0].len() * y0.len(), "a row for each output");
    assert_eq!(bias.len(), y0.len(), "a bias for each output");
    #[cfg(target_arch = "x86_64")]
    if *WIDE && !x[0].is_empty() {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { avx2::rows_times_two(weight, x, bias, [y0, y1]) };
        return;
    }
    rows_times(weight, x[0], bias, y0);
    rows_times(weight, x[1], bias, y1);
}

/// `x += Σ_r y[r] weight[r]`: the transpose of [`rows_times`], added to what is there.
///
/// # Panics
///
/// The lengths do not fit.
pub fn add_rows(weight: &[f32], y: &[f32], x: &mut [f32]) {
    assert_eq!(weight.len(), x.len() * y.len(), "a row for each factor");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { add_rows_wide(weight, y, x) };
        return;
    }
    add_rows_any::<cfg_fma::Native>(weight, y, x);
}

/// Replaces the packed lower triangle (row by row) of a symmetric matrix by that of its
/// Cholesky factor. False where the matrix is not positive definite; the numbers are
/// then of no use.
///
/// # Panics
///
/// The length is not that of a triangle of `size` rows.
pub fn cholesky(packed: &mut [f32], size: usize) -> bool {
    assert_eq!(packed.len(), size * (size + 1) / 2, "a packed triangle");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        return unsafe { cholesky_wide(packed, size) };
    }
    cholesky_any(plain::dot, packed, size)
}

/// Solves `L x = b` in place, `L` a packed lower triangle.
///
/// # Panics
///
/// The lengths do not fit.
pub fn solve_lower(packed: &[f32], x: &mut [f32]) {
    assert_eq!(
        packed.len(),
        x.len() * (x.len() + 1) / 2,
        "a row for each number"
    );
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { solve_lower_wide(packed, x) };
        return;
    }
    solve_lower_any(plain::dot, packed, x);
}

/// Solves `Lᵀ x = b` in place, `L` a packed lower triangle.
///
/// # Panics
///
/// The lengths do not fit.
pub fn solve_upper(packed: &[f32], x: &mut [f32]) {
    assert_eq!(
        packed.len(),
        x.len() * (x.len() + 1) / 2,
        "a row for each number"
    );
    for row in (0..x.len()).rev() {
        let (before, from) = x.split_at_mut(row);
        let line = &packed[row * (row + 1) / 2..][..=row];
        from[0] /= line[row];
        for (x, l) in before.iter_mut().zip(line) {
            *x -= l * from[0];
        }
    }
}

/// How a product is added: in one rounding where the processor does that, in two elsewhere.
trait MultiplyAdd {
    fn multiply_add(a: f32, b: f32, sum: f32) -> f32;
}

/// One rounding.
struct Fused;

impl MultiplyAdd for Fused {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

mod cfg_fma {
    /// What the plain build does: aarch64 always has the fused instruction.
    #[cfg(target_arch = "aarch64")]
    pub(super) type Native = super::Fused;

    #[cfg(not(target_arch = "aarch64"))]
    pub(super) type Native = Two;

    /// Two roundings; a fused one would be a call into the C library.
    #[cfg(not(target_arch = "aarch64"))]
    pub(super) struct Two;

    #[cfg(not(target_arch = "aarch64"))]
    impl super::MultiplyAdd for Two {
        #[inline(always)]
        fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
            a * b + sum
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn rows_times_wide(weight: &[f32], x: &[f32], bias: &[f32], y: &mut [f32]) {
    rows_times_any(|rows, x| avx2::dot4(rows, x), weight, x, bias, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_rows_wide(weight: &[f32], y: &[f32], x: &mut [f32]) {
    add_rows_any::<Fused>(weight, y, x);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn cholesky_wide(packed: &mut [f32], size: usize) -> bool {
    cholesky_any(|a, b| avx2::dot(a, b), packed, size)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn solve_lower_wide(packed: &[f32], x: &mut [f32]) {
    solve_lower_any(|a, b| avx2::dot(a, b), packed, x);
}

/// Sums of products with AVX2.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use core::arch::x86_64::{
        __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
        _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_setzero_ps,
    };

    use super::{LANES, ROWS};

    #[target_feature(enable = "avx2,fma")]
    fn load(numbers: &[f32; LANES]) -> __m256 {
        // SAFETY: eight numbers lie behind the reference, and the load asks for no alignment.
        unsafe { _mm256_loadu_ps(numbers.as_ptr()) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn total(sums: __m256) -> f32 {
        let four = _mm_add_ps(
            _mm256_castps256_ps128(sums),
            _mm256_extractf128_ps::<1>(sums),
        );
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }

    /// Four rows times `x`.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dot4(rows: [&[f32]; ROWS], x: &[f32]) -> [f32; ROWS] {
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let [first, second, third, fourth] = rows.map(|row| row.as_chunks::<LANES>().0);
        let mut sums = [_mm256_setzero_ps(); ROWS];
        for ((((x, w0), w1), w2), w3) in xs.iter().zip(first).zip(second).zip(third).zip(fourth) {
            let x = load(x);
            sums[0] = _mm256_fmadd_ps(load(w0), x, sums[0]);
            sums[1] = _mm256_fmadd_ps(load(w1), x, sums[1]);
            sums[2] = _mm256_fmadd_ps(load(w2), x, sums[2]);
            sums[3] = _mm256_fmadd_ps(load(w3), x, sums[3]);
        }
        let mut out = [
            total(sums[0]),
            total(sums[1]),
            total(sums[2]),
            total(sums[3]),
        ];
        for (out, row) in out.iter_mut().zip(rows) {
            for (w, x) in row.as_chunks::<LANES>().1.iter().zip(x_rest) {
                *out += w * x;
            }
        }
        out
    }

    /// Four rows times two inputs.
    #[target_feature(enable = "avx2,fma")]
    fn dot4_two(rows: [&[f32]; ROWS], x: [&[f32]; 2]) -> [[f32; ROWS]; 2] {
        let [(x0, rest0), (x1, rest1)] = x.map(|x| x.as_chunks::<LANES>());
        let [first, second, third, fourth] = rows.map(|row| row.as_chunks::<LANES>().0);
        let mut sums = [[_mm256_setzero_ps(); ROWS]; 2];
        let weights = first.iter().zip(second).zip(third).zip(fourth);
        for ((x0, x1), (((w0, w1), w2), w3)) in x0.iter().zip(x1).zip(weights) {
            let (x0, x1) = (load(x0), load(x1));
            let (w0, w1, w2, w3) = (load(w0), load(w1), load(w2), load(w3));
            sums[0][0] = _mm256_fmadd_ps(w0, x0, sums[0][0]);
            sums[1][0] = _mm256_fmadd_ps(w0, x1, sums[1][0]);
            sums[0][1] = _mm256_fmadd_ps(w1, x0, sums[0][1]);
            sums[1][1] = _mm256_fmadd_ps(w1, x1, sums[1][1]);
            sums[0][2] = _mm256_fmadd_ps(w2, x0, sums[0][2]);
            sums[1][2] = _mm256_fmadd_ps(w2, x1, sums[1][2]);
            sums[0][3] = _mm256_fmadd_ps(w3, x0, sums[0][3]);
            sums[1][3] = _mm256_fmadd_ps(w3, x1, sums[1][3]);
        }
        let mut out = [[0.0; ROWS]; 2];
        for ((out, sums), rest) in out.iter_mut().zip(sums).zip([rest0, rest1]) {
            for ((out, sum), row) in out.iter_mut().zip(sums).zip(rows) {
                let tail = row.as_chunks::<LANES>().1.iter().zip(rest);
                *out = total(sum) + tail.map(|(w, x)| w * x).sum::<f32>();
            }
        }
        out
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn rows_times_two(weight: &[f32], x: [&[f32]; 2], bias: &[f32], y: [&mut [f32]; 2]) {
        let n = x[0].len();
        let [y0, y1] = y;
        for (row, weight) in weight.chunks(ROWS * n).enumerate() {
            let at = ROWS * row;
            let count = weight.len() / n;
            let line = |k: usize| &weight[k.min(count - 1) * n..][..n];
            let sums = dot4_two([line(0), line(1), line(2), line(3)], x);
            for k in 0..count {
                y0[at + k] = bias[at + k] + sums[0][k];
                y1[at + k] = bias[at + k] + sums[1][k];
            }
        }
    }

    /// One row times `b`, over two sums so that one need not wait for the other.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        let ((a, a_odd), (b, b_odd)) = (a.as_chunks::<2>(), b.as_chunks::<2>());
        let (mut even, mut odd) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        for (a, b) in a.iter().zip(b) {
            even = _mm256_fmadd_ps(load(&a[0]), load(&b[0]), even);
            odd = _mm256_fmadd_ps(load(&a[1]), load(&b[1]), odd);
        }
        for (a, b) in a_odd.iter().zip(b_odd) {
            even = _mm256_fmadd_ps(load(a), load(b), even);
        }
        let mut sum = total(even) + total(odd);
        for (a, b) in a_rest.iter().zip(b_rest) {
            sum += a * b;
        }
        sum
    }
}

/// Sums of products for any processor: eight sums, which most compilers keep in registers.
mod plain {
    use super::{LANES, MultiplyAdd, ROWS, cfg_fma::Native};

    pub(super) fn dot4(rows: [&[f32]; ROWS], x: &[f32]) -> [f32; ROWS] {
        rows.map(|row| dot(row, x))
    }

    pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        let mut lanes = [0.0; LANES];
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] = Native::multiply_add(a[lane], b[lane], lanes[lane]);
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        lanes.iter().sum::<f32>() + rest
    }
}

#[inline(always)]
fn cholesky_any(dot: impl Fn(&[f32], &[f32]) -> f32, packed: &mut [f32], size: usize) -> bool {
    for row in 0..size {
        let (done, rest) = packed.split_at_mut(row * (row + 1) / 2);
        let line = &mut rest[..=row];
        for column in 0..row {
            let other = &done[column * (column + 1) / 2..][..=column];
            let sum = line[column] - dot(&line[..column], &other[..column]);
            line[column] = sum / other[column];
        }
        let square = line[row] - dot(&line[..row], &line[..row]);
        if square.is_nan() || square <= 0.0 {
            return false;
        }
        line[row] = square.sqrt();
    }
    true
}

#[inline(always)]
fn solve_lower_any(dot: impl Fn(&[f32], &[f32]) -> f32, packed: &[f32], x: &mut [f32]) {
    for row in 0..x.len() {
        let (before, from) = x.split_at_mut(row);
        let line = &packed[row * (row + 1) / 2..][..=row];
        from[0] = (from[0] - dot(&line[..row], before)) / line[row];
    }
}

#[inline(always)]
fn rows_times_any(
    dot4: impl Fn([&[f32]; ROWS], &[f32]) -> [f32; ROWS],
    weight: &[f32],
    x: &[f32],
    bias: &[f32],
    y: &mut [f32],
) {
    let n = x.len();
    if n == 0 {
        y.copy_from_slice(bias);
        return;
    }
    let mut blocks = weight.chunks_exact(ROWS * n);
    let mut outs = y.chunks_exact_mut(ROWS);
    let mut biases = bias.chunks_exact(ROWS);
    for ((block, out), bias) in (&mut blocks).zip(&mut outs).zip(&mut biases) {
        let (r0, rest) = block.split_at(n);
        let (r1, rest) = rest.split_at(n);
        let (r2, r3) = rest.split_at(n);
        let sums = dot4([r0, r1, r2, r3], x);
        for ((out, bias), sum) in out.iter_mut().zip(bias).zip(sums) {
            *out = bias + sum;
        }
    }
    let rows = blocks.remainder().chunks_exact(n);
    let rest = outs.into_remainder().iter_mut().zip(biases.remainder());
    for ((out, bias), row) in rest.zip(rows) {
        *out = bias + dot4([row; ROWS], x)[0];
    }
}

#[inline(always)]
fn add_rows_any<M: MultiplyAdd>(weight: &[f32], y: &[f32], x: &mut [f32]) {
    let n = x.len();
    if n == 0 {
        return;
    }
    let mut blocks = weight.chunks_exact(ROWS * n);
    let mut factors = y.chunks_exact(ROWS);
    for (block, y) in (&mut blocks).zip(&mut factors) {
        let (r0, rest) = block.split_at(n);
        let (r1, rest) = rest.split_at(n);
        let (r2, r3) = rest.split_at(n);
        let (y0, y1, y2, y3) = (y[0], y[1], y[2], y[3]);
        for ((((x, a), b), c), d) in x.iter_mut().zip(r0).zip(r1).zip(r2).zip(r3) {
            let sum = M::multiply_add(y0, *a, *x);
            let sum = M::multiply_add(y1, *b, sum);
            let sum = M::multiply_add(y2, *c, sum);
            *x = M::multiply_add(y3, *d, sum);
        }
    }
    for (row, y) in blocks.remainder().chunks_exact(n).zip(factors.remainder()) {
        for (x, w) in x.iter_mut().zip(row) {
            *x = M::multiply_add(*y, *w, *x);
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small indices")]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..count).map(|_| rng.f32() - 0.5).collect()
    }

    #[test]
    fn every_shape_agrees_with_the_plain_sum_in_double_precision() {
        for (rows, n) in [(1, 1), (4, 8), (5, 9), (7, 33), (16, 510), (3, 0)] {
            let (weight, x) = (numbers(rows * n, 1), numbers(n, 2));
            let bias: Vec<f32> = (0..rows).map(|row| row as f32).collect();
            let mut y = vec![0.0; rows];
            rows_times(&weight, &x, &bias, &mut y);
            let mut narrow = vec![0.0; rows];
            rows_times_any(plain::dot4, &weight, &x, &bias, &mut narrow);
            for row in 0..rows {
                let want: f64 = f64::from(bias[row])
                    + (0..n)
                        .map(|i| f64::from(weight[row * n + i]) * f64::from(x[i]))
                        .sum::<f64>();
                assert!(
                    (f64::from(y[row]) - want).abs() < 1e-4,
                    "{rows}x{n} row {row}"
                );
                assert!((f64::from(narrow[row]) - want).abs() < 1e-4);
            }
            let other = numbers(n, 7);
            let (mut first, mut second) = (vec![0.0; rows], vec![0.0; rows]);
            rows_times_two(&weight, [&x, &other], &bias, [&mut first, &mut second]);
            let mut alone = vec![0.0; rows];
            rows_times(&weight, &other, &bias, &mut alone);
            for row in 0..rows {
                assert!(
                    (first[row] - y[row]).abs() < 1e-4 && (second[row] - alone[row]).abs() < 1e-4
                );
            }
            let mut back = x.clone();
            add_rows(&weight, &y, &mut back);
            for i in 0..n {
                let want: f64 = f64::from(x[i])
                    + (0..rows)
                        .map(|row| f64::from(weight[row * n + i]) * f64::from(y[row]))
                        .sum::<f64>();
                assert!(
                    (f64::from(back[i]) - want).abs() < 1e-3,
                    "{rows}x{n} column {i}"
                );
            }
        }
    }

    #[test]
    fn a_factor_times_itself_is_the_matrix_and_both_solves_undo_it() {
        let size = 21;
        let loose = numbers(size * size, 3);
        let entry = |row: usize, column: usize| -> f32 {
            let product: f32 = (0..size)
                .map(|k| loose[row * size + k] * loose[column * size + k])
                .sum();
            product + if row == column { 1.0 } else { 0.0 }
        };
        let mut packed: Vec<f32> = (0..size)
            .flat_map(|row| (0..=row).map(move |column| (row, column)))
            .map(|(row, column)| entry(row, column))
            .collect();
        assert!(cholesky(&mut packed, size));
        let wanted = numbers(size, 4);
        let mut x: Vec<f32> = (0..size)
            .map(|row| (0..size).map(|k| entry(row, k) * wanted[k]).sum())
            .collect();
        solve_lower(&packed, &mut x);
        solve_upper(&packed, &mut x);
        for (got, want) in x.iter().zip(&wanted) {
            assert!((got - want).abs() < 1e-4, "{got} {want}");
        }
        let mut indefinite = [1.0, 2.0, 1.0];
        assert!(!cholesky(&mut indefinite, 2));
    }

    #[test]
    #[should_panic(expected = "a row for each output")]
    fn lengths_that_do_not_fit_are_the_callers_mistake() {
        rows_times(&[0.0; 7], &[0.0; 2], &[0.0; 4], &mut [0.0; 4]);
    }
}
