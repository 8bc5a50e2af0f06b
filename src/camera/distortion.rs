//! Lens distortion on the plane z = 1, and its inverse.
//!
//! Three models, with `OpenCV`'s and ROS's names and coefficient order:
//!
//! - `plumb_bob` (Brown 1966, `OpenCV` `calibrateCamera`): with `r² = x² + y²`,
//!   `x" = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²)`,
//!   `y" = y (1 + k1 r² + k2 r⁴ + k3 r⁶) + p1 (r² + 2 y²) + 2 p2 x y`.
//! - `rational_polynomial` (`OpenCV`'s eight coefficients, and twelve with a thin prism): the same, its radial part
//!   divided by `1 + k4 r² + k5 r⁴ + k6 r⁶`, and `s1 r² + s2 r⁴` added to `x"`, `s3 r² + s4 r⁴` to `y"`.
//! - `equidistant` (Kannala and Brandt 2006, `OpenCV` `fisheye`): with
//!   `θ = atan r`, `θ_d = θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸)`, `(x", y") = (x, y) θ_d / r`.
//!
//! Polynomials turn back somewhere outside the image they were fitted on, so
//! each lens has a *field*: the largest radius up to which its radial part only
//! grows. The inverse looks for an answer inside the field only.

use std::fmt;

use glam::{DMat2, DVec2};
use serde::Deserialize;

use crate::base::config::{ConfigError, check};
use crate::frame::Turn;

/// Rays further from the optical axis than this have no use on the plane z = 1, in degrees.
pub const FIELD_MAX_DEG: f64 = 85.0;

/// Largest coefficient that any lens has; a bound for typing errors only. Those of a quotient grow together: fits of
/// wide lenses have some of several thousand.
const COEFFICIENT_MAX: f64 = 1e5;

/// Steps of the search for the edge of the field; between two of them a
/// polynomial of this degree, fitted to a lens, does not turn twice.
const FIELD_STEPS: u32 = 2000;

/// Newton steps at most; five or six are enough inside the field.
const STEPS_MAX: usize = 30;

/// An inverse must map back this close, on the plane z = 1: a ten-thousandth of
/// a pixel at a focal length of 1000.
const RESIDUAL_MAX: f64 = 1e-7;

/// How a lens bends rays. Coefficients are dimensionless.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
pub enum Distortion {
    /// A pinhole.
    None {},
    /// Radial and tangential (`OpenCV` and ROS `plumb_bob`).
    PlumbBob {
        /// r² term.
        k1: f64,
        /// r⁴ term.
        k2: f64,
        /// First tangential term.
        p1: f64,
        /// Second tangential term.
        p2: f64,
        /// r⁶ term.
        k3: f64,
    },
    /// Radial as a quotient, tangential, and a thin prism (`OpenCV`'s rational model, ROS `rational_polynomial`).
    RationalPolynomial {
        /// r² term above.
        k1: f64,
        /// r⁴ term above.
        k2: f64,
        /// First tangential term.
        p1: f64,
        /// Second tangential term.
        p2: f64,
        /// r⁶ term above.
        k3: f64,
        /// r² term below.
        k4: f64,
        /// r⁴ term below.
        k5: f64,
        /// r⁶ term below.
        k6: f64,
        /// r² term of the prism, columns.
        #[serde(default)]
        s1: f64,
        /// r⁴ term of the prism, columns.
        #[serde(default)]
        s2: f64,
        /// r² term of the prism, rows.
        #[serde(default)]
        s3: f64,
        /// r⁴ term of the prism, rows.
        #[serde(default)]
        s4: f64,
    },
    /// Fisheye (`OpenCV` `fisheye`, ROS `equidistant`).
    Equidistant {
        /// θ² term.
        k1: f64,
        /// θ⁴ term.
        k2: f64,
        /// θ⁶ term.
        k3: f64,
        /// θ⁸ term.
        k4: f64,
    },
}

impl Distortion {
    /// Its model's name in a calibration file.
    pub(super) const fn model(&self) -> &'static str {
        match self {
            Self::None {} => "none",
            Self::PlumbBob { .. } => "plumb_bob",
            Self::RationalPolynomial { .. } => "rational_polynomial",
            Self::Equidistant { .. } => "equidistant",
        }
    }

    /// Radial as a quotient, from its coefficients in the order of `OpenCV` and ROS.
    pub(super) const fn rational(coefficients: [f64; 12]) -> Self {
        let [k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4] = coefficients;
        Self::RationalPolynomial {
            k1,
            k2,
            p1,
            p2,
            k3,
            k4,
            k5,
            k6,
            s1,
            s2,
            s3,
            s4,
        }
    }

    /// The lens as seen in its images turned. What is radial stays; what is tangential turns.
    #[must_use]
    pub(super) fn turned(mut self, turn: Turn) -> Self {
        match &mut self {
            Self::None {} | Self::Equidistant { .. } => {}
            // They belong to y and to x.
            Self::PlumbBob { p1, p2, .. } => (*p2, *p1) = turn.direction((*p2, *p1)),
            Self::RationalPolynomial {
                p1,
                p2,
                s1,
                s2,
                s3,
                s4,
                ..
            } => {
                (*p2, *p1) = turn.direction((*p2, *p1));
                (*s1, *s3) = turn.direction((*s1, *s3));
                (*s2, *s4) = turn.direction((*s2, *s4));
            }
        }
        self
    }

    /// The coefficients with their keys in a calibration file, in its order.
    pub(super) fn coefficients(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Self::None {} => vec![],
            Self::PlumbBob { k1, k2, p1, p2, k3 } => vec![
                ("distortion.k1", k1),
                ("distortion.k2", k2),
                ("distortion.p1", p1),
                ("distortion.p2", p2),
                ("distortion.k3", k3),
            ],
            Self::RationalPolynomial {
                k1,
                k2,
                p1,
                p2,
                k3,
                k4,
                k5,
                k6,
                s1,
                s2,
                s3,
                s4,
            } => vec![
                ("distortion.k1", k1),
                ("distortion.k2", k2),
                ("distortion.p1", p1),
                ("distortion.p2", p2),
                ("distortion.k3", k3),
                ("distortion.k4", k4),
                ("distortion.k5", k5),
                ("distortion.k6", k6),
                ("distortion.s1", s1),
                ("distortion.s2", s2),
                ("distortion.s3", s3),
                ("distortion.s4", s4),
            ],
            Self::Equidistant { k1, k2, k3, k4 } => vec![
                ("distortion.k1", k1),
                ("distortion.k2", k2),
                ("distortion.k3", k3),
                ("distortion.k4", k4),
            ],
        }
    }

    /// Checks that each coefficient is a number a lens may have.
    ///
    /// # Errors
    ///
    /// Names the first that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, value) in self.coefficients() {
            check(key, value, -COEFFICIENT_MAX, COEFFICIENT_MAX)?;
        }
        Ok(())
    }

    /// The coefficients of the models in the plane, those that a model lacks being 0; `None` for the others.
    fn planar(&self) -> Option<Planar> {
        match *self {
            Self::PlumbBob { k1, k2, p1, p2, k3 } => Some(Planar {
                above: [k1, k2, k3],
                below: [0.0; 3],
                tangential: [p1, p2],
                prism: [0.0; 4],
            }),
            Self::RationalPolynomial {
                k1,
                k2,
                p1,
                p2,
                k3,
                k4,
                k5,
                k6,
                s1,
                s2,
                s3,
                s4,
            } => Some(Planar {
                above: [k1, k2, k3],
                below: [k4, k5, k6],
                tangential: [p1, p2],
                prism: [s1, s2, s3, s4],
            }),
            Self::None {} | Self::Equidistant { .. } => None,
        }
    }

    /// Bends a ray.
    pub fn distort(&self, ray: DVec2) -> DVec2 {
        if let Some(planar) = self.planar() {
            return planar.distort(ray);
        }
        match *self {
            Self::Equidistant { .. } => {
                let r = ray.length();
                if r < 1e-12 {
                    return ray;
                }
                ray * (self.radial(r.atan()).0 / r)
            }
            _ => ray,
        }
    }

    /// Finds the ray that bends to `distorted`, within `field` (from [`Self::field`]).
    ///
    /// `None` if no ray inside the field does.
    pub fn undistort(&self, distorted: DVec2, field: f64) -> Option<DVec2> {
        match self {
            Self::None {} => (distorted.length() <= field).then_some(distorted),
            Self::PlumbBob { .. } | Self::RationalPolynomial { .. } => {
                self.undistort_planar(distorted, field)
            }
            Self::Equidistant { .. } => {
                let theta_d = distorted.length();
                if theta_d < 1e-12 {
                    return Some(distorted);
                }
                let theta = self.invert_radial(theta_d, field.atan())?;
                Some(distorted * (theta.tan() / theta_d))
            }
        }
    }

    /// Largest |ray| on the plane z = 1 up to which the radial part only grows,
    /// at most [`FIELD_MAX_DEG`] from the axis.
    pub fn field(&self) -> f64 {
        let angle_max = FIELD_MAX_DEG.to_radians();
        let ray_max = angle_max.tan();
        match self {
            Self::None {} => ray_max,
            Self::PlumbBob { .. } | Self::RationalPolynomial { .. } => self.grows_up_to(ray_max),
            Self::Equidistant { .. } => self.grows_up_to(angle_max).tan(),
        }
    }

    /// Radial part and its derivative: of θ for `equidistant`, of r for the others.
    fn radial(&self, at: f64) -> (f64, f64) {
        if let Some(planar) = self.planar() {
            let (factor, slope) = planar.radial(at * at);
            return (at * factor, factor + 2.0 * at * at * slope);
        }
        let square = at * at;
        let k = match *self {
            Self::Equidistant { k1, k2, k3, k4 } => [k1, k2, k3, k4],
            _ => [0.0; 4],
        };
        // Horner's rule on 1 + k0 s + k1 s² + .. and on its (x f)' = 1 + 3 k0 s + 5 k1 s² + ..
        let value =
            at * (1.0 + square * (k[0] + square * (k[1] + square * (k[2] + square * k[3]))));
        let slope = 1.0
            + square
                * (3.0 * k[0]
                    + square * (5.0 * k[1] + square * (7.0 * k[2] + square * 9.0 * k[3])));
        (value, slope)
    }

    /// The first place where the radial part stops growing, or `limit`.
    fn grows_up_to(&self, limit: f64) -> f64 {
        let step = limit / f64::from(FIELD_STEPS);
        for i in 1..=FIELD_STEPS {
            let at = step * f64::from(i);
            if self.radial(at).1 <= 0.0 {
                let (mut inside, mut outside) = (at - step, at);
                for _ in 0..60 {
                    let middle = 0.5 * (inside + outside);
                    if self.radial(middle).1 > 0.0 {
                        inside = middle;
                    } else {
                        outside = middle;
                    }
                }
                return inside;
            }
        }
        limit
    }

    /// Solves radial(x) = `target` for x in `0..=limit`, where the radial part grows.
    fn invert_radial(&self, target: f64, limit: f64) -> Option<f64> {
        if target > self.radial(limit).0 {
            return None;
        }
        let (mut low, mut high) = (0.0, limit);
        let (mut at, mut before) = (target.min(limit), limit);
        // Newton, kept between bounds that close in; halving takes over where the slope is nearly zero (the edge of the
        // field) and where steps do not become shorter: they may go to and fro between two sides of a bend.
        for _ in 0..100 {
            let (value, slope) = self.radial(at);
            if value > target {
                high = at;
            } else {
                low = at;
            }
            let step = (value - target) / slope;
            // Here it is. One of the bounds is here as well, so that halving would lead away.
            if step.abs() <= 1e-15 * limit {
                break;
            }
            let mut next = at - step;
            if !(next > low && next < high && step.abs() < 0.5 * before) {
                next = 0.5 * (low + high);
            }
            before = (next - at).abs();
            if before <= 1e-15 * limit {
                break;
            }
            at = next;
        }
        ((self.radial(at).0 - target).abs() < RESIDUAL_MAX).then_some(at)
    }

    /// The radial inverse, then Newton in the plane for the rest.
    fn undistort_planar(&self, distorted: DVec2, field: f64) -> Option<DVec2> {
        let planar = self.planar()?;
        let length = distorted.length();
        if length < 1e-12 {
            return Some(distorted);
        }
        let radius = self
            .invert_radial(length, field)
            // Tangential terms may bring back in what is just outside.
            .or_else(|| (length <= 1.05 * self.radial(field).0).then_some(field))?;
        let mut ray = distorted * (radius / length);
        for _ in 0..STEPS_MAX {
            let miss = planar.distort(ray) - distorted;
            if miss.length() < 1e-13 {
                break;
            }
            let jacobian = planar.jacobian(ray);
            if jacobian.determinant() <= 0.0 {
                return None;
            }
            ray -= jacobian.inverse() * miss;
            if !ray.is_finite() || ray.length() > 2.0 * field {
                return None;
            }
        }
        let found = (planar.distort(ray) - distorted).length() < RESIDUAL_MAX
            && ray.length() <= field
            && planar.jacobian(ray).determinant() > 0.0;
        found.then_some(ray)
    }
}

/// `plumb_bob` and `rational_polynomial`, whose terms are added in the plane.
#[derive(Clone, Copy, Debug)]
struct Planar {
    /// k1, k2, k3.
    above: [f64; 3],
    /// k4, k5, k6.
    below: [f64; 3],
    /// p1, p2.
    tangential: [f64; 2],
    /// s1 to s4.
    prism: [f64; 4],
}

impl Planar {
    /// The factor of a ray at this r², and its derivative by r². Where the divisor is no longer positive the lens model
    /// ends: it falls without bound.
    fn radial(&self, r2: f64) -> (f64, f64) {
        let value = |k: [f64; 3]| 1.0 + r2 * (k[0] + r2 * (k[1] + r2 * k[2]));
        let slope = |k: [f64; 3]| k[0] + r2 * (2.0 * k[1] + r2 * 3.0 * k[2]);
        let (above, below) = (value(self.above), value(self.below));
        if below <= 0.0 {
            return (0.0, f64::NEG_INFINITY);
        }
        let slope = (slope(self.above) * below - above * slope(self.below)) / (below * below);
        (above / below, slope)
    }

    fn distort(&self, ray: DVec2) -> DVec2 {
        let DVec2 { x, y } = ray;
        let ([p1, p2], [s1, s2, s3, s4]) = (self.tangential, self.prism);
        let r2 = ray.length_squared();
        let (radial, _) = self.radial(r2);
        DVec2::new(
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) + r2 * (s1 + r2 * s2),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y + r2 * (s3 + r2 * s4),
        )
    }

    /// d(x", y") / d(x, y).
    fn jacobian(&self, ray: DVec2) -> DMat2 {
        let DVec2 { x, y } = ray;
        let ([p1, p2], [s1, s2, s3, s4]) = (self.tangential, self.prism);
        let r2 = ray.length_squared();
        let (radial, slope) = self.radial(r2);
        let cross = 2.0 * (x * y * slope + p1 * x + p2 * y);
        let prism = 2.0 * DVec2::new(s1 + 2.0 * r2 * s2, s3 + 2.0 * r2 * s4);
        DMat2::from_cols(
            DVec2::new(
                radial + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x + prism.x * x,
                cross + prism.y * x,
            ),
            DVec2::new(
                cross + prism.x * y,
                radial + 2.0 * y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x + prism.y * y,
            ),
        )
    }
}

impl fmt::Display for Distortion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None {} => "no distortion",
            lens => lens.model(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARREL: Distortion = Distortion::PlumbBob {
        k1: -0.3,
        k2: 0.09,
        p1: 0.001,
        p2: -0.002,
        k3: -0.01,
    };

    #[test]
    fn plumb_bob_agrees_with_values_worked_out_by_hand() {
        // x = 0.5, y = -0.25: r² = 0.3125, radial = 1 - 0.09375 + 0.0087890625 - 0.00030517578125.
        let bent = BARREL.distort(DVec2::new(0.5, -0.25));
        let radial = 0.914_733_886_718_75;
        let want = DVec2::new(
            0.5 * radial + 2.0 * 0.001 * 0.5 * -0.25 - 0.002 * (0.3125 + 0.5),
            -0.25 * radial + 0.001 * (0.3125 + 0.125) + 2.0 * -0.002 * 0.5 * -0.25,
        );
        assert!((bent - want).length() < 1e-15, "{bent} {want}");
    }

    #[test]
    fn equidistant_without_coefficients_is_the_angle_itself() {
        let lens = Distortion::Equidistant {
            k1: 0.0,
            k2: 0.0,
            k3: 0.0,
            k4: 0.0,
        };
        let bent = lens.distort(DVec2::new(1.0, 0.0));
        assert!((bent.x - std::f64::consts::FRAC_PI_4).abs() < 1e-15);
        let ray = lens.undistort(bent, lens.field()).unwrap();
        assert!((ray.x - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_field_ends_where_the_polynomial_turns() {
        let lens = Distortion::PlumbBob {
            k1: -0.3,
            k2: 0.0,
            p1: 0.0,
            p2: 0.0,
            k3: 0.0,
        };
        // d/dr (r - 0.3 r³) = 0 at r = 1 / sqrt(0.9).
        let field = lens.field();
        assert!((field - 1.0 / 0.9_f64.sqrt()).abs() < 1e-9, "{field}");
        let edge = lens.distort(DVec2::new(field, 0.0));
        assert!(lens.undistort(edge * 0.999, field).is_some());
        assert_eq!(lens.undistort(edge * 1.02, field), None);
    }

    /// As a depth camera's colour lens has it, with a thin prism.
    const WIDE: Distortion = Distortion::RationalPolynomial {
        k1: 0.52,
        k2: -2.68,
        p1: 0.0008,
        p2: -0.0003,
        k3: 1.55,
        k4: 0.40,
        k5: -2.50,
        k6: 1.47,
        s1: 0.001,
        s2: -0.0005,
        s3: -0.002,
        s4: 0.0004,
    };

    #[test]
    fn rational_polynomial_agrees_with_values_worked_out_by_hand() {
        // x = 0.5, y = -0.25: r² = 0.3125, r⁴ = 0.09765625, r⁶ = 0.030517578125.
        let bent = WIDE.distort(DVec2::new(0.5, -0.25));
        let above = 1.0 + 0.52 * 0.3125 - 2.68 * 0.097_656_25 + 1.55 * 0.030_517_578_125;
        let below = 1.0 + 0.40 * 0.3125 - 2.50 * 0.097_656_25 + 1.47 * 0.030_517_578_125;
        let want = DVec2::new(
            0.5 * above / below + 2.0 * 0.0008 * 0.5 * -0.25 - 0.0003 * (0.3125 + 0.5)
                + 0.001 * 0.3125
                - 0.0005 * 0.097_656_25,
            -0.25 * above / below + 0.0008 * (0.3125 + 0.125) + 2.0 * -0.0003 * 0.5 * -0.25
                - 0.002 * 0.3125
                + 0.0004 * 0.097_656_25,
        );
        assert!((bent - want).length() < 1e-15, "{bent} {want}");
    }

    #[test]
    fn every_ray_of_a_rational_lens_comes_back() {
        let field = WIDE.field();
        assert!(field > 0.6, "{field}");
        for step in 0..200_u32 {
            let angle = 0.37 * f64::from(step);
            let ray = DVec2::from_angle(angle) * (0.55 * f64::from(step) / 200.0);
            let back = WIDE.undistort(WIDE.distort(ray), field).unwrap();
            assert!((back - ray).length() < 1e-9, "{ray} {back}");
        }
    }

    #[test]
    fn a_lens_whose_slope_grows_tenfold_is_inverted_all_over_its_field() {
        let mut coefficients = [0.0; 12];
        coefficients[4] = 0.014_153_382_218_608_656;
        coefficients[6] = 0.000_587_739_823_754_150_7;
        coefficients[7] = 0.001_449_391_324_415_241_4;
        let lens = Distortion::rational(coefficients);
        let field = lens.field();
        for step in 0..3000_u32 {
            let ray = DVec2::new(1e-3 * f64::from(step), 0.0);
            let back = lens.undistort(lens.distort(ray), field);
            assert!(
                back.is_some_and(|back| (back - ray).length() < 1e-6),
                "{ray} {back:?}"
            );
        }
    }

    #[test]
    fn a_lens_ends_where_its_divisor_is_zero() {
        let lens = Distortion::RationalPolynomial {
            k1: 0.0,
            k2: 0.0,
            p1: 0.0,
            p2: 0.0,
            k3: 0.0,
            k4: -1.0,
            k5: 0.0,
            k6: 0.0,
            s1: 0.0,
            s2: 0.0,
            s3: 0.0,
            s4: 0.0,
        };
        // r / (1 - r²) grows up to the pole at r = 1.
        let field = lens.field();
        assert!(field > 0.99 && field < 1.0, "{field}");
        let ray = DVec2::new(0.5, 0.0);
        let back = lens.undistort(lens.distort(ray), field).unwrap();
        assert!((back - ray).length() < 1e-9);
        for far in [1e3, 1e9, f64::MAX] {
            let found = lens.undistort(DVec2::new(far, 0.0), field);
            assert!(found.is_none_or(|ray| ray.length() <= field), "{found:?}");
        }
    }

    #[test]
    fn the_jacobian_is_the_slope_of_the_model() {
        let at = DVec2::new(0.4, -0.3);
        let step = 1e-6;
        for lens in [BARREL, WIDE] {
            let jacobian = lens.planar().unwrap().jacobian(at);
            for (column, direction) in [(jacobian.x_axis, DVec2::X), (jacobian.y_axis, DVec2::Y)] {
                let slope = (lens.distort(at + direction * step)
                    - lens.distort(at - direction * step))
                    / (2.0 * step);
                assert!((slope - column).length() < 1e-8, "{slope} {column}");
            }
        }
    }
}
