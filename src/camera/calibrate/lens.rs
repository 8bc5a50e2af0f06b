//! The lens that is estimated: its parameters as one vector, and how a pixel moves with each of them.

use glam::DVec2;
use nalgebra::{Matrix2x3, SMatrix, SVector, Vector2, Vector3};

use crate::camera::{Distortion, Intrinsics};

/// Parameters of a lens at most: four of the pinhole, five of the distortion.
pub const PARAMETERS: usize = 9;

/// The parameters in their order, as the reports and files name them; `equidistant` has `k1` to `k4` behind the pinhole.
pub(super) type Parameters = SVector<f64, PARAMETERS>;

/// Whether each parameter is estimated, or stays as it is.
pub(super) type Free = [bool; PARAMETERS];

/// A point this close to the plane of the lens, in metres, is not projected: no board is held there.
const DEPTH_MIN_M: f64 = 1e-6;

/// The lens models that can be estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LensModel {
    /// Radial and tangential (Brown 1966, `OpenCV`'s `calibrateCamera`): lenses up to about 110 degrees.
    PlumbBob,
    /// Fisheye (Kannala and Brandt 2006, `OpenCV`'s `fisheye`).
    Equidistant,
}

impl LensModel {
    /// Its name in a calibration file and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlumbBob => "plumb_bob",
            Self::Equidistant => "equidistant",
        }
    }

    /// Names of its parameters, in order.
    pub const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::PlumbBob => &["fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3"],
            Self::Equidistant => &["fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"],
        }
    }

    /// Every parameter that the model has.
    pub(super) fn all(self) -> Free {
        std::array::from_fn(|at| at < self.parameters().len())
    }
}

/// A lens as it is estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lens {
    pub model: LensModel,
    pub q: Parameters,
}

/// A projected point, and how it moves.
pub(super) struct Projected {
    /// Pixels.
    pub pixel: Vector2<f64>,
    /// By the point in the camera frame.
    pub by_point: Matrix2x3<f64>,
    /// By the parameters.
    pub by_lens: SMatrix<f64, 2, PARAMETERS>,
}

/// A ray bent: where it lands on the plane z = 1, and the derivatives of that by the ray and by the coefficients.
struct Bent {
    at: Vector2<f64>,
    by_ray: nalgebra::Matrix2<f64>,
    by_coefficients: SMatrix<f64, 2, 5>,
}

impl Lens {
    /// A lens without distortion.
    pub fn straight(model: LensModel, (fx, fy): (f64, f64), (cx, cy): (f64, f64)) -> Self {
        let mut q = Parameters::zeros();
        (q[0], q[1], q[2], q[3]) = (fx, fy, cx, cy);
        Self { model, q }
    }

    pub fn intrinsics(&self) -> Intrinsics {
        Intrinsics {
            fx_px: self.q[0],
            fy_px: self.q[1],
            cx_px: self.q[2],
            cy_px: self.q[3],
        }
    }

    pub fn distortion(&self) -> Distortion {
        let q = &self.q;
        match self.model {
            LensModel::PlumbBob => Distortion::PlumbBob {
                k1: q[4],
                k2: q[5],
                p1: q[6],
                p2: q[7],
                k3: q[8],
            },
            LensModel::Equidistant => Distortion::Equidistant {
                k1: q[4],
                k2: q[5],
                k3: q[6],
                k4: q[7],
            },
        }
    }

    pub fn optics(&self) -> Optics {
        Optics::new(self.intrinsics(), self.distortion())
    }

    /// Projects a point of the camera frame; `None` behind the lens.
    pub fn project(&self, point: &Vector3<f64>) -> Option<Projected> {
        if point.z < DEPTH_MIN_M {
            return None;
        }
        let (x, y) = (point.x / point.z, point.y / point.z);
        let bent = match self.model {
            LensModel::PlumbBob => self.bend_planar(x, y),
            LensModel::Equidistant => self.bend_equidistant(x, y),
        };
        let (fx, fy) = (self.q[0], self.q[1]);
        let by_ray = nalgebra::Matrix2::new(fx, 0.0, 0.0, fy) * bent.by_ray;
        let ray_by_point = Matrix2x3::new(1.0, 0.0, -x, 0.0, 1.0, -y) / point.z;
        let mut by_lens = SMatrix::<f64, 2, PARAMETERS>::zeros();
        by_lens[(0, 0)] = bent.at.x;
        by_lens[(1, 1)] = bent.at.y;
        by_lens[(0, 2)] = 1.0;
        by_lens[(1, 3)] = 1.0;
        for at in 0..5 {
            by_lens[(0, 4 + at)] = fx * bent.by_coefficients[(0, at)];
            by_lens[(1, 4 + at)] = fy * bent.by_coefficients[(1, at)];
        }
        Some(Projected {
            pixel: Vector2::new(fx * bent.at.x + self.q[2], fy * bent.at.y + self.q[3]),
            by_point: by_ray * ray_by_point,
            by_lens,
        })
    }

    fn bend_planar(&self, x: f64, y: f64) -> Bent {
        let [k1, k2, p1, p2, k3] = std::array::from_fn(|at| self.q[4 + at]);
        let (xx, xy, yy) = (x * x, x * y, y * y);
        let r2 = xx + yy;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        let slope = k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3);
        let cross = 2.0 * (xy * slope + p1 * x + p2 * y);
        Bent {
            at: Vector2::new(
                x * radial + 2.0 * p1 * xy + p2 * (r2 + 2.0 * xx),
                y * radial + p1 * (r2 + 2.0 * yy) + 2.0 * p2 * xy,
            ),
            by_ray: nalgebra::Matrix2::new(
                radial + 2.0 * xx * slope + 2.0 * p1 * y + 6.0 * p2 * x,
                cross,
                cross,
                radial + 2.0 * yy * slope + 6.0 * p1 * y + 2.0 * p2 * x,
            ),
            by_coefficients: SMatrix::from_columns(&[
                Vector2::new(x, y) * r2,
                Vector2::new(x, y) * (r2 * r2),
                Vector2::new(2.0 * xy, r2 + 2.0 * yy),
                Vector2::new(r2 + 2.0 * xx, 2.0 * xy),
                Vector2::new(x, y) * (r2 * r2 * r2),
            ]),
        }
    }

    fn bend_equidistant(&self, x: f64, y: f64) -> Bent {
        let k: [f64; 4] = std::array::from_fn(|at| self.q[4 + at]);
        let r = x.hypot(y);
        let ray = Vector2::new(x, y);
        if r < 1e-9 {
            return Bent {
                at: ray,
                by_ray: nalgebra::Matrix2::identity(),
                by_coefficients: SMatrix::zeros(),
            };
        }
        let theta = r.atan();
        let square = theta * theta;
        let bent =
            theta * (1.0 + square * (k[0] + square * (k[1] + square * (k[2] + square * k[3]))));
        let by_theta = 1.0
            + square
                * (3.0 * k[0]
                    + square * (5.0 * k[1] + square * (7.0 * k[2] + square * 9.0 * k[3])));
        let factor = bent / r;
        // The factor by r; theta by r is 1 / (1 + r^2).
        let slope = (by_theta / (1.0 + r * r) - factor) / r;
        let mut by_coefficients = SMatrix::<f64, 2, 5>::zeros();
        let mut power = theta * square;
        for at in 0..4 {
            by_coefficients.set_column(at, &(ray * (power / r)));
            power *= square;
        }
        Bent {
            at: ray * factor,
            by_ray: nalgebra::Matrix2::identity() * factor + ray * ray.transpose() * (slope / r),
            by_coefficients,
        }
    }
}

/// Any lens of a calibration, from rays to pixels and back in double precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Optics {
    k: Intrinsics,
    distortion: Distortion,
    field: f64,
}

impl Optics {
    pub fn new(k: Intrinsics, distortion: Distortion) -> Self {
        Self {
            k,
            distortion,
            field: distortion.field(),
        }
    }

    /// The ray through a pixel, where the lens model has one.
    pub fn ray(&self, pixel: DVec2) -> Option<DVec2> {
        let k = &self.k;
        let bent = DVec2::new((pixel.x - k.cx_px) / k.fx_px, (pixel.y - k.cy_px) / k.fy_px);
        self.distortion.undistort(bent, self.field)
    }

    /// The pixel of a ray.
    pub fn pixel(&self, ray: DVec2) -> DVec2 {
        let bent = self.distortion.distort(ray);
        DVec2::new(
            bent.x.mul_add(self.k.fx_px, self.k.cx_px),
            bent.y.mul_add(self.k.fy_px, self.k.cy_px),
        )
    }

    /// Projects a point of the camera frame, with the derivative by it; `None` behind the lens or beyond its field.
    pub fn project(&self, point: &Vector3<f64>) -> Option<(Vector2<f64>, Matrix2x3<f64>)> {
        /// Step of the numeric derivative on the plane z = 1: its error is of the order of its square.
        const STEP: f64 = 1e-5;
        if point.z < DEPTH_MIN_M {
            return None;
        }
        let ray = DVec2::new(point.x / point.z, point.y / point.z);
        if ray.length() > self.field {
            return None;
        }
        let by = |step: DVec2| (self.pixel(ray + step) - self.pixel(ray - step)) / (2.0 * STEP);
        let (by_x, by_y) = (by(DVec2::new(STEP, 0.0)), by(DVec2::new(0.0, STEP)));
        let by_ray = nalgebra::Matrix2::new(by_x.x, by_y.x, by_x.y, by_y.y);
        let by_point = Matrix2x3::new(1.0, 0.0, -ray.x, 0.0, 1.0, -ray.y) / point.z;
        let pixel = self.pixel(ray);
        Some((Vector2::new(pixel.x, pixel.y), by_ray * by_point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenses() -> [Lens; 2] {
        let q = |rest: [f64; 5]| {
            let mut q = Parameters::zeros();
            for (at, value) in [910.0, 905.0, 652.0, 351.0]
                .into_iter()
                .chain(rest)
                .enumerate()
            {
                q[at] = value;
            }
            q
        };
        [
            Lens {
                model: LensModel::PlumbBob,
                q: q([-0.28, 0.09, 0.0006, -0.0004, 0.02]),
            },
            Lens {
                model: LensModel::Equidistant,
                q: q([0.03, -0.006, 0.002, -0.0007, 0.0]),
            },
        ]
    }

    #[test]
    fn a_point_lands_where_the_lens_of_a_calibration_puts_it() {
        for lens in lenses() {
            for point in [[0.3, -0.2, 0.9], [0.0, 0.0, 1.0], [-0.5, 0.4, 1.3]] {
                let point = Vector3::from(point);
                let projected = lens.project(&point).unwrap();
                let (pixel, by_point) = lens.optics().project(&point).unwrap();
                assert!((projected.pixel - pixel).norm() < 1e-9, "{lens:?}");
                assert!((projected.by_point - by_point).norm() < 1e-4, "{lens:?}");
            }
            assert!(lens.project(&Vector3::new(0.1, 0.1, -1.0)).is_none());
        }
    }

    #[test]
    fn derivatives_are_those_of_small_steps() {
        let point = Vector3::new(0.31, -0.22, 0.8);
        for lens in lenses() {
            let projected = lens.project(&point).unwrap();
            for at in 0..lens.model.parameters().len() {
                let step = 1e-6;
                let pixel = |by: f64| {
                    let mut other = lens;
                    other.q[at] += by;
                    other.project(&point).unwrap().pixel
                };
                let numeric = (pixel(step) - pixel(-step)) / (2.0 * step);
                let off = (numeric - projected.by_lens.column(at)).norm();
                assert!(off < 1e-4, "{:?} parameter {at}: {off}", lens.model);
            }
        }
    }
}
