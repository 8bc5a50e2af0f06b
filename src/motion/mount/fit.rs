//! How a camera hangs, from people who stand upright on one floor: a least-squares fit.
//!
//! ```text
//!  feet's ray ─▶ where it meets the floor ─▶ up by the person's length ─▶ where shoulders should be seen
//!                                            where they are seen ──▶ difference ◀──┘
//! ```
//!
//! Unknown are how far down the camera looks, its roll, its height, by how much people lean forward as they walk, and each
//! person's length from ankles to shoulders. The shape of the images of one person at several distances tells the angles (Lv, Zhao and Nevatia 2006:
//! calibration from a walking human); the height is as certain as people's lengths are.

use glam::{Vec2, Vec3};
use nalgebra::{DMatrix, DVector};

use crate::camera::Mount;

/// Height of the ankles' middle above the floor, metres: in shoes, and one foot of two is lifted.
const ANKLES_M: f32 = 0.13;

/// From the ankles' to the shoulders' middle of an adult who walks, metres: 0.77 of a stature of 1.70, less 4 cm by
/// which legs apart lower a body.
const LENGTH_M: f32 = 1.27;

/// Standard deviation of that, relative: women and men, small and tall.
const LENGTH_SIGMA: f64 = 0.065;

/// Standard deviation of where shoulders are over the feet, metres: each step, and the keypoints' own error.
const LEAN_M: f32 = 0.07;

/// Standard deviation of how far people lean forward as they walk, all of them, as a share of their length: 3.4
/// degrees. Where all walk the same way, it cannot be told from the camera's roll.
const FORWARD_SIGMA: f64 = 0.06;

/// A difference of so many standard deviations counts less, as `1 / (1 + (r / c)²)` (Cauchy).
const OUTLIER: f64 = 2.5;

/// Samples of one walk repeat some of their errors: so many tell as much as one that is independent.
const REPEATED: f64 = 2.0;

/// Steps of a fit at most.
const STEPS_MAX: usize = 40;

/// Unknowns of the camera: angle down and roll in radians, the logarithm of the height.
const CAMERA: usize = 3;

/// Place of the unknown lean forward; those of the people's lengths follow.
const FORWARD: usize = CAMERA;

/// Place of the first person's length, as the logarithm of its ratio to [`LENGTH_M`].
const LENGTHS: usize = FORWARD + 1;

/// Step of the numeric derivatives: radians, or a share.
const DELTA: f64 = 1e-4;

/// Where fits begin: angles down, degrees, and heights, metres.
const BEGINNINGS: [[f32; 2]; 3] = [[5.0, 1.4], [25.0, 2.3], [50.0, 2.7]];

/// One upright person in one frame: rays on the plane z = 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upright {
    /// Which person, from 0.
    pub person: usize,
    /// The middle of the ankles.
    pub feet: Vec2,
    /// The same a while before: where the person comes from.
    pub before: Vec2,
    /// The middle of the shoulders.
    pub shoulders: Vec2,
}

/// What a fit has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub mount: Mount,
    /// Covariance of angle down and roll, radians, and of the logarithm of the height.
    pub covariance: [[f64; CAMERA]; CAMERA],
    /// Mean square of the differences in their standard deviations: 1 if they are as large as taken.
    pub spread: f64,
}

impl Fit {
    /// The fit that explains the samples best, from several beginnings.
    pub fn of(samples: &[Upright]) -> Option<Self> {
        let people = 1 + samples.iter().map(|sample| sample.person).max()?;
        let fits = BEGINNINGS.into_iter().filter_map(|[down_deg, height_m]| {
            let mut unknowns = DVector::zeros(LENGTHS + people);
            unknowns[0] = f64::from(down_deg.to_radians());
            unknowns[2] = f64::from(height_m.ln());
            solve(samples, unknowns)
        });
        let best = fits.min_by(|a, b| a.1.total_cmp(&b.1));
        best.and_then(|(unknowns, _)| Self::at(samples, &unknowns))
    }

    fn at(samples: &[Upright], unknowns: &DVector<f64>) -> Option<Self> {
        let (normal, _, squares) = equations(samples, unknowns)?;
        let count = 2.0 * count(samples.len());
        let spread = squares / (count - count_of(unknowns)).max(1.0);
        let inverse = normal.try_inverse()?;
        let scale = REPEATED * spread.max(1.0);
        let mount = mount_of(unknowns)?;
        // The lengths' own spread is in it once, not for each sample.
        let covariance =
            std::array::from_fn(|row| std::array::from_fn(|column| inverse[(row, column)] * scale));
        Some(Self {
            mount,
            covariance,
            spread,
        })
    }
}

fn count_of(unknowns: &DVector<f64>) -> f64 {
    count(unknowns.len())
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
const fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "degrees and metres")]
fn mount_of(unknowns: &DVector<f64>) -> Option<Mount> {
    let mount = Mount {
        height_m: unknowns[2].exp() as f32,
        down_deg: unknowns[0].to_degrees() as f32,
        roll_deg: unknowns[1].to_degrees() as f32,
    };
    mount.validate().is_ok().then_some(mount)
}

/// Levenberg and Marquardt's method; the unknowns and the weighted sum of squares.
fn solve(samples: &[Upright], mut unknowns: DVector<f64>) -> Option<(DVector<f64>, f64)> {
    let mut damping = 1e-2;
    let (mut normal, mut gradient, mut squares) = equations(samples, &unknowns)?;
    for _ in 0..STEPS_MAX {
        let mut damped = normal.clone();
        for at in 0..damped.nrows() {
            damped[(at, at)] *= 1.0 + damping;
        }
        let step = damped.lu().solve(&gradient)?;
        let next = &unknowns - &step;
        match equations(samples, &next) {
            Some(better) if better.2 < squares => {
                let gain = squares - better.2;
                (normal, gradient, squares) = better;
                unknowns = next;
                damping *= 0.3;
                if gain < 1e-6 * squares {
                    break;
                }
            }
            _ if damping > 1e6 => break,
            _ => damping *= 5.0,
        }
    }
    Some((unknowns, squares))
}

/// The normal equations' matrix and gradient, and the robust sum of squares.
fn equations(
    samples: &[Upright],
    unknowns: &DVector<f64>,
) -> Option<(DMatrix<f64>, DVector<f64>, f64)> {
    let size = unknowns.len();
    let mut normal = DMatrix::zeros(size, size);
    let mut gradient = DVector::zeros(size);
    let mut squares = 0.0;
    mount_of(unknowns)?;
    for sample in samples {
        let here = difference(sample, unknowns)?;
        let involved = [0, 1, 2, FORWARD, LENGTHS + sample.person];
        let mut slopes = [[0.0; 2]; 5];
        for (slope, at) in slopes.iter_mut().zip(involved) {
            let mut beside = unknowns.clone();
            beside[at] += DELTA;
            let there = difference(sample, &beside)?;
            *slope = [0, 1].map(|axis| (there[axis] - here[axis]) / DELTA);
        }
        let square = here[0] * here[0] + here[1] * here[1];
        let weight = 1.0 / (1.0 + square / (OUTLIER * OUTLIER));
        squares += OUTLIER * OUTLIER * (square / (OUTLIER * OUTLIER)).ln_1p();
        for (row, one) in involved.iter().zip(slopes) {
            gradient[*row] += weight * (one[0] * here[0] + one[1] * here[1]);
            for (column, other) in involved.iter().zip(slopes) {
                normal[(*row, *column)] += weight * (one[0] * other[0] + one[1] * other[1]);
            }
        }
    }
    // How long people are is known before. It is no repeated sample, so its weight is not to be made less.
    for at in FORWARD..size {
        let sigma = if at == FORWARD {
            FORWARD_SIGMA
        } else {
            LENGTH_SIGMA
        };
        let own = REPEATED / (sigma * sigma);
        normal[(at, at)] += own;
        gradient[at] += own * unknowns[at];
        squares += own * unknowns[at] * unknowns[at];
    }
    Some((normal, gradient, squares))
}

/// Where shoulders are seen less where they should be, in standard deviations. `None` if the feet are on no floor.
fn difference(sample: &Upright, unknowns: &DVector<f64>) -> Option<[f64; 2]> {
    let mount = mount_of(unknowns)?;
    let up = mount.up();
    #[expect(clippy::cast_possible_truncation, reason = "lengths of people")]
    let [forward, length_m] = [
        unknowns[FORWARD] as f32,
        LENGTH_M * unknowns[LENGTHS + sample.person].exp() as f32,
    ];
    // At the horizon the floor is a kilometre away; above it there is none. Such samples pull as outliers do.
    let away = |ray: Vec2| {
        let falls = -up.dot(Vec3::from((ray, 1.0)));
        (mount.height_m - ANKLES_M).max(0.05) / falls.max(1e-3)
    };
    let place = |ray: Vec2| away(ray) * Vec3::from((ray, 1.0));
    let feet = place(sample.feet);
    let way = feet - place(sample.before);
    let way = (way - up * way.dot(up)).normalize_or_zero();
    let away = away(sample.feet);
    let shoulders = feet + length_m * (up + forward * way);
    let seen = shoulders.truncate() / shoulders.z.max(0.1);
    let sigma = LEAN_M / away.max(0.2);
    let difference = (sample.shoulders - seen) / sigma;
    difference
        .is_finite()
        .then(|| [f64::from(difference.x), f64::from(difference.y)])
}
