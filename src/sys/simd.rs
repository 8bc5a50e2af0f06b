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

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// Lanes of an accumulator: one AVX register, two of NEON.
pub const LANES: usize = 8;

/// Rows computed at once, so that `x` is read once for all of them.
const ROWS: usize = 4;

/// Whether the wide build may run here. Elsewhere the plain one is as wide as the processor.
#[cfg(target_arch = "x86_64")]
static WIDE: LazyLock<bool> =
    LazyLock::new(|| is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));

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

/// `x += Σ_r y[r] weight[r]`: the transpose of [`rows_times`], added to `x`.
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

/// Eight numbers side by side. A vector of `8 n` numbers is `[Lane]` of length `n`.
pub type Lane = [f32; LANES];

/// Lanes of a symmetric matrix of `8 blocks` rows. Row `k` is stored from column `8 (k / 8)` on, so that
/// rows begin at a lane; what then stands to the left of the diagonal is of no use to anybody.
pub const fn symmetric(blocks: usize) -> usize {
    LANES * blocks * (blocks + 1) / 2
}

/// Where entry `(row, column)`, `row <= column`, of a symmetric matrix is: lane, and place in it.
pub const fn place_in(blocks: usize, row: usize, column: usize) -> (usize, usize) {
    let (block, within) = (row / LANES, row % LANES);
    let before = symmetric(blocks) - symmetric(blocks - block);
    let lane = before + within * (blocks - block) + column / LANES - block;
    (lane, column % LANES)
}

/// `out = a + b`.
///
/// # Panics
///
/// The lengths do not fit.
pub fn sum(a: &[Lane], b: &[Lane], out: &mut [Lane]) {
    assert!(a.len() == out.len() && b.len() == out.len(), "one length");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { sum_wide(a, b, out) };
        return;
    }
    sum_any(a, b, out);
}

/// Replaces a symmetric matrix by its Cholesky factor, `A = Uᵀ U`. False where the matrix
/// is not positive definite; the numbers are then of no use.
///
/// Eight rows at a time are taken off all rows below, so that a row is fetched once for eight.
///
/// # Panics
///
/// The length is not that of a matrix of `blocks`.
pub fn cholesky(matrix: &mut [Lane], blocks: usize) -> bool {
    assert_eq!(matrix.len(), symmetric(blocks), "a symmetric matrix");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        return unsafe { cholesky_wide(matrix, blocks) };
    }
    cholesky_any(plain::Plain, matrix, blocks)
}

/// `A += Σ_r weights[r] row[r]ᵀ row[r]` for a symmetric `A`; `rows` is `[weights.len(), blocks]`.
///
/// # Panics
///
/// The lengths do not fit.
pub fn add_squares(matrix: &mut [Lane], blocks: usize, rows: &[Lane], weights: &[f32]) {
    assert_eq!(matrix.len(), symmetric(blocks), "a symmetric matrix");
    assert_eq!(rows.len(), weights.len() * blocks, "a row for each weight");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { add_squares_wide(matrix, blocks, rows, weights) };
        return;
    }
    add_squares_any(plain::Plain, matrix, blocks, rows, weights);
}

/// Solves `Uᵀ x = b` in place, `U` as [`cholesky`] leaves it.
///
/// # Panics
///
/// The lengths do not fit.
pub fn solve_lower(factor: &[Lane], x: &mut [Lane]) {
    assert_eq!(factor.len(), symmetric(x.len()), "a row for each number");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { solve_lower_wide(factor, x) };
        return;
    }
    solve_lower_any(plain::Plain, factor, x);
}

/// Solves `U x = b` in place, `U` as [`cholesky`] leaves it.
///
/// # Panics
///
/// The lengths do not fit.
pub fn solve_upper(factor: &[Lane], x: &mut [Lane]) {
    assert_eq!(factor.len(), symmetric(x.len()), "a row for each number");
    #[cfg(target_arch = "x86_64")]
    if *WIDE {
        // SAFETY: the processor has AVX2 and FMA, which is what `WIDE` says.
        unsafe { solve_upper_wide(factor, x) };
        return;
    }
    solve_upper_any::<cfg_fma::Native>(factor, x);
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
fn sum_wide(a: &[Lane], b: &[Lane], out: &mut [Lane]) {
    sum_any(a, b, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn cholesky_wide(matrix: &mut [Lane], blocks: usize) -> bool {
    cholesky_any(avx2::Wide::here(), matrix, blocks)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_squares_wide(matrix: &mut [Lane], blocks: usize, rows: &[Lane], weights: &[f32]) {
    add_squares_any(avx2::Wide::here(), matrix, blocks, rows, weights);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn solve_lower_wide(factor: &[Lane], x: &mut [Lane]) {
    solve_lower_any(avx2::Wide::here(), factor, x);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn solve_upper_wide(factor: &[Lane], x: &mut [Lane]) {
    solve_upper_any::<Fused>(factor, x);
}

/// Sums of products with AVX2.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use core::arch::x86_64::{
        __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
        _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps,
        _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
    };

    use std::mem::transmute;

    use super::{Adds, LANES, Lane, ROWS};

    // Not the instruction's own name: with debug assertions, as our development build has, that is
    // a checked copy by way of the stack.
    #[target_feature(enable = "avx2,fma")]
    fn load(numbers: &[f32; LANES]) -> __m256 {
        // SAFETY: eight numbers fill a register, and any bits are numbers.
        unsafe { transmute::<Lane, __m256>(*numbers) }
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

    #[target_feature(enable = "avx2,fma")]
    fn store(numbers: &mut [f32; LANES], lane: __m256) {
        // SAFETY: a register is eight numbers.
        *numbers = unsafe { transmute::<__m256, Lane>(lane) };
    }

    /// [`Adds`] for code that was compiled for these registers. Outside this module only [`Wide::here`] makes one.
    #[derive(Clone, Copy)]
    pub(super) struct Wide(());

    impl Wide {
        /// Safe to call only from code compiled for these registers, which the compiler sees to.
        #[target_feature(enable = "avx2,fma")]
        pub(super) const fn here() -> Self {
            Self(())
        }
    }

    impl Adds for Wide {
        #[inline(always)]
        fn eight(self, line: &mut [Lane], rows: [&[Lane]; LANES], factors: Lane) {
            // SAFETY: only functions made for these registers can make one of these.
            unsafe { add_eight(line, rows, factors) };
        }

        #[inline(always)]
        fn one(self, line: &mut [Lane], row: &[Lane], factor: f32) {
            // SAFETY: only functions made for these registers can make one of these.
            unsafe { add_one(line, row, factor) };
        }
    }

    /// Two sums, so that one product need not wait for all before it.
    #[target_feature(enable = "avx2,fma")]
    fn add_eight(line: &mut [Lane], rows: [&[Lane]; LANES], factors: Lane) {
        let all = |factor: f32| _mm256_set1_ps(factor);
        let [f0, f1, f2, f3, f4, f5, f6, f7] = factors;
        let (f0, f1, f2, f3) = (all(f0), all(f1), all(f2), all(f3));
        let (f4, f5, f6, f7) = (all(f4), all(f5), all(f6), all(f7));
        let count = line.len();
        let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
        let (r0, r1, r2, r3) = (&r0[..count], &r1[..count], &r2[..count], &r3[..count]);
        let (r4, r5, r6, r7) = (&r4[..count], &r5[..count], &r6[..count], &r7[..count]);
        for at in 0..count {
            let mut even = _mm256_fmadd_ps(f0, load(&r0[at]), load(&line[at]));
            let mut odd = _mm256_mul_ps(f1, load(&r1[at]));
            even = _mm256_fmadd_ps(f2, load(&r2[at]), even);
            odd = _mm256_fmadd_ps(f3, load(&r3[at]), odd);
            even = _mm256_fmadd_ps(f4, load(&r4[at]), even);
            odd = _mm256_fmadd_ps(f5, load(&r5[at]), odd);
            even = _mm256_fmadd_ps(f6, load(&r6[at]), even);
            odd = _mm256_fmadd_ps(f7, load(&r7[at]), odd);
            store(&mut line[at], _mm256_add_ps(even, odd));
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn add_one(line: &mut [Lane], row: &[Lane], factor: f32) {
        let factor = _mm256_set1_ps(factor);
        for (line, row) in line.iter_mut().zip(row) {
            let sum = _mm256_fmadd_ps(factor, load(row), load(line));
            store(line, sum);
        }
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
}

/// Sums of products for any processor: eight sums, which most compilers keep in registers.
mod plain {
    use super::{Adds, LANES, Lane, MultiplyAdd, ROWS, cfg_fma::Native};

    /// [`Adds`] for any processor.
    #[derive(Clone, Copy)]
    pub(super) struct Plain;

    impl Adds for Plain {
        fn eight(self, line: &mut [Lane], rows: [&[Lane]; LANES], factors: Lane) {
            for (at, line) in line.iter_mut().enumerate() {
                for (row, factor) in rows.iter().zip(factors) {
                    for (sum, value) in line.iter_mut().zip(&row[at]) {
                        *sum = Native::multiply_add(factor, *value, *sum);
                    }
                }
            }
        }

        fn one(self, line: &mut [Lane], row: &[Lane], factor: f32) {
            for (line, row) in line.iter_mut().zip(row) {
                for (sum, value) in line.iter_mut().zip(row) {
                    *sum = Native::multiply_add(factor, *value, *sum);
                }
            }
        }
    }

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
fn sum_any(a: &[Lane], b: &[Lane], out: &mut [Lane]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = std::array::from_fn(|at| a[at] + b[at]);
    }
}

/// What the factorisation and its solves are made of, for some registers.
trait Adds {
    /// `line += Σ_k factors[k] rows[k]`; the rows are as long as the line or longer.
    fn eight(self, line: &mut [Lane], rows: [&[Lane]; LANES], factors: Lane);

    /// `line += factor row`; the row is as long as the line or longer.
    fn one(self, line: &mut [Lane], row: &[Lane], factor: f32);
}

#[inline(always)]
fn cholesky_any(adds: impl Adds + Copy, matrix: &mut [Lane], blocks: usize) -> bool {
    let mut rest = matrix;
    for block in 0..blocks {
        let width = blocks - block;
        let (top, below) = rest.split_at_mut(LANES * width);
        for k in 0..LANES {
            let (done, open) = top.split_at_mut((k + 1) * width);
            let line = &mut done[k * width..];
            let square = line[0][k];
            if square.is_nan() || square <= 0.0 {
                return false;
            }
            let scale = 1.0 / square.sqrt();
            for value in line.as_flattened_mut() {
                *value *= scale;
            }
            for (next, other) in open.chunks_exact_mut(width).enumerate() {
                adds.one(other, line, -line[0][k + 1 + next]);
            }
        }
        let mut lower = &mut *below;
        for first in 1..width {
            let rows = eight_rows(top, width, first);
            for at in 0..LANES {
                let line;
                (line, lower) = lower.split_at_mut(width - first);
                let mut factors = [0.0; LANES];
                for (factor, row) in factors.iter_mut().zip(rows) {
                    *factor = -row[0][at];
                }
                adds.eight(line, rows, factors);
            }
        }
        rest = below;
    }
    true
}

/// Eight rows of `width` lanes, each from lane `first` on.
#[inline(always)]
fn eight_rows(rows: &[Lane], width: usize, first: usize) -> [&[Lane]; LANES] {
    let row = |k: usize| &rows[k * width + first..(k + 1) * width];
    [
        row(0),
        row(1),
        row(2),
        row(3),
        row(4),
        row(5),
        row(6),
        row(7),
    ]
}

#[inline(always)]
fn add_squares_any(
    adds: impl Adds + Copy,
    matrix: &mut [Lane],
    blocks: usize,
    rows: &[Lane],
    weights: &[f32],
) {
    if blocks == 0 {
        return;
    }
    let mut groups = rows.chunks_exact(LANES * blocks);
    let (eights, rest) = weights.as_chunks::<LANES>();
    for (group, weights) in (&mut groups).zip(eights) {
        let mut lower = &mut *matrix;
        for first in 0..blocks {
            let rows = eight_rows(group, blocks, first);
            for at in 0..LANES {
                let line;
                (line, lower) = lower.split_at_mut(blocks - first);
                let mut factors = *weights;
                for (factor, row) in factors.iter_mut().zip(rows) {
                    *factor *= row[0][at];
                }
                adds.eight(line, rows, factors);
            }
        }
    }
    for (row, weight) in groups.remainder().chunks_exact(blocks).zip(rest) {
        let mut lower = &mut *matrix;
        for first in 0..blocks {
            for value in row[first] {
                let line;
                (line, lower) = lower.split_at_mut(blocks - first);
                adds.one(line, &row[first..], weight * value);
            }
        }
    }
}

#[inline(always)]
fn solve_lower_any(adds: impl Adds + Copy, factor: &[Lane], x: &mut [Lane]) {
    let (mut lines, mut x) = (factor, x);
    while let Some((first, rest)) = x.split_first_mut() {
        for k in 0..LANES {
            let line;
            (line, lines) = lines.split_at(rest.len() + 1);
            let value = first[k] / line[0][k];
            first[k] = value;
            for at in k + 1..LANES {
                first[at] -= value * line[0][at];
            }
            adds.one(rest, &line[1..], -value);
        }
        x = rest;
    }
}

#[inline(always)]
fn solve_upper_any<M: MultiplyAdd>(factor: &[Lane], x: &mut [Lane]) {
    let mut above = factor;
    for block in (0..x.len()).rev() {
        let (first, behind) = x[block..].split_at_mut(1);
        let first = &mut first[0];
        for k in (0..LANES).rev() {
            let line;
            (above, line) = above.split_at(above.len() - (behind.len() + 1));
            let mut sums = [0.0; LANES];
            for (x, line) in behind.iter().zip(&line[1..]) {
                for lane in 0..LANES {
                    sums[lane] = M::multiply_add(x[lane], line[lane], sums[lane]);
                }
            }
            for at in k + 1..LANES {
                sums[at] = M::multiply_add(first[at], line[0][at], sums[at]);
            }
            first[k] = (first[k] - sums.iter().sum::<f32>()) / line[0][k];
        }
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
        for blocks in [1, 2, 3] {
            factor_of(blocks);
        }
    }

    fn factor_of(blocks: usize) {
        let size = LANES * blocks;
        let count = size + 3;
        let loose = numbers(count * size, 3);
        let entry = |row: usize, column: usize| -> f32 {
            let product: f32 = (0..count)
                .map(|k| loose[k * size + row] * loose[k * size + column])
                .sum();
            product + if row == column { 1.0 } else { 0.0 }
        };
        let unit = |diagonal: &dyn Fn(usize) -> f32| {
            let mut matrix = vec![[0.0; LANES]; symmetric(blocks)];
            for row in 0..size {
                let (lane, within) = place_in(blocks, row, row);
                matrix[lane][within] = diagonal(row);
            }
            matrix
        };
        let mut made = unit(&|_| 1.0);
        let mut plain = made.clone();
        let rows = loose.as_chunks::<LANES>().0;
        add_squares(&mut made, blocks, rows, &vec![1.0; count]);
        add_squares_any(plain::Plain, &mut plain, blocks, rows, &vec![1.0; count]);
        for row in 0..size {
            for column in row..size {
                let (lane, within) = place_in(blocks, row, column);
                let want = entry(row, column);
                assert!((made[lane][within] - want).abs() < 1e-4, "{row} {column}");
                assert!((plain[lane][within] - want).abs() < 1e-4, "{row} {column}");
            }
        }
        let wanted = numbers(size, 4);
        let product: Vec<f32> = (0..size)
            .map(|row| {
                (0..size)
                    .map(|k| entry(row.min(k), row.max(k)) * wanted[k])
                    .sum()
            })
            .collect();
        let product = product.as_chunks::<LANES>().0;
        assert!(cholesky(&mut made, blocks));
        let mut x = product.to_vec();
        solve_lower(&made, &mut x);
        solve_upper(&made, &mut x);
        assert!(cholesky_any(plain::Plain, &mut plain, blocks));
        let mut y = product.to_vec();
        solve_lower_any(plain::Plain, &plain, &mut y);
        solve_upper_any::<cfg_fma::Native>(&plain, &mut y);
        for ((x, y), want) in x.as_flattened().iter().zip(y.as_flattened()).zip(&wanted) {
            assert!((x - want).abs() < 1e-3, "{x} {want}");
            assert!((y - want).abs() < 1e-3, "{y} {want}");
        }
        let mut twice = made.clone();
        sum(&made, &made, &mut twice);
        assert!((twice[0][0] - 2.0 * made[0][0]).abs() < 1e-6);
        for place in 0..size {
            let mut indefinite = unit(&|row| if row == place { -1.0 } else { 1.0 });
            assert!(!cholesky(&mut indefinite, blocks), "row {place}");
        }
    }

    #[test]
    #[should_panic(expected = "a row for each output")]
    fn lengths_that_do_not_fit_are_the_callers_mistake() {
        rows_times(&[0.0; 7], &[0.0; 2], &[0.0; 4], &mut [0.0; 4]);
    }
}
