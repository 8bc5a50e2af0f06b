//! Estimation of a lens and of the boards' poses: Levenberg-Marquardt on the reprojection error.
//!
//! The normal equations are reduced to the lens (Schur complement), since each view has a pose of its own: the time grows
//! with the number of views, not with its cube. Outliers get less weight first (Huber), and are left out in the last
//! fit, from which the standard deviations are taken.

use glam::DVec2;
use nalgebra::{Matrix2x6, Matrix3, SMatrix, SVector, Vector2, Vector3};

use super::homography::{Pose, focal_lengths, homography, pose};
use super::lens::{Free, Lens, LensModel, Optics, PARAMETERS, Parameters};

/// Steps at most: ten to twenty are enough from the starts below.
const STEPS_MAX: usize = 100;

/// Residuals above this lose weight in the first fit, in pixels: ten times what a corner of a sharp picture is off.
const HUBER_PX: f64 = 1.0;

/// Corners further off than so many standard deviations are outliers: of a thousand good ones none is expected there.
const OUTLIER_SIGMAS: f64 = 5.0;

/// No corner is an outlier below this, in pixels: without noise the standard deviation says nothing.
const OUTLIER_PX_MIN: f64 = 0.05;

/// A view whose residual is so many times the median of the views' is left out: its board moved, or was not flat.
const WORSE_VIEW: f64 = 4.0;

/// No view is left out below this residual, in pixels: it does no harm.
const WORSE_VIEW_PX_MIN: f64 = 0.3;

/// The last coefficient of `plumb_bob` is estimated only where it is so many standard deviations from zero: otherwise it
/// takes what belongs to the others, and says nothing of the lens.
const K3_SIGMAS: f64 = 4.0;

/// A corner of a board, and where it is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Corner {
    /// On the board, metres: x along its columns, y along its rows.
    pub board_m: DVec2,
    /// In the picture, pixels, centres at whole numbers.
    pub pixel: DVec2,
}

/// A lens that was estimated from views.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    pub lens: Lens,
    /// Standard deviation of each parameter; 0 for one that was not estimated.
    pub sigma: Parameters,
    /// Root mean square residual of each view, pixels, outliers left out.
    pub view_rms: Vec<f64>,
    /// Of all views that were used.
    pub rms: f64,
    /// Whether each view was used.
    pub used: Vec<bool>,
    /// Corners that were used.
    pub corners: usize,
    /// Corners left out.
    pub outliers: usize,
}

/// The corners of some views and the weight of each.
struct Problem<'a> {
    views: &'a [&'a [Corner]],
    weights: Vec<Vec<f64>>,
    free: Free,
    huber_px: f64,
}

type ByLens = SMatrix<f64, PARAMETERS, PARAMETERS>;
type Mixed = SMatrix<f64, PARAMETERS, 6>;
type ByPose = SMatrix<f64, 6, 6>;

/// The normal equations of one view.
struct OfView {
    mixed: Mixed,
    by_pose: ByPose,
    gradient: SVector<f64, 6>,
}

/// The normal equations of all.
struct Normal {
    by_lens: ByLens,
    gradient: Parameters,
    views: Vec<OfView>,
}

/// Why there is no fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFit {
    /// No start puts the boards in front of the camera.
    Start,
    /// The parameters are open: the equations have no single solution.
    Open,
}

/// Estimates a lens from views of a board, in images of this size.
///
/// # Errors
///
/// See [`NoFit`].
pub(super) fn fit(
    views: &[&[Corner]],
    size_px: (u32, u32),
    model: LensModel,
) -> Result<Fitted, NoFit> {
    let mut free = model.all();
    let full = fit_with(views, size_px, model, free)?;
    if model == LensModel::PlumbBob && full.lens.q[8].abs() < K3_SIGMAS * full.sigma[8] {
        free[8] = false;
        return fit_with(views, size_px, model, free);
    }
    Ok(full)
}

fn fit_with(
    views: &[&[Corner]],
    size_px: (u32, u32),
    model: LensModel,
    free: Free,
) -> Result<Fitted, NoFit> {
    let (lens, poses) = start(views, size_px, model).ok_or(NoFit::Start)?;
    let mut problem = Problem {
        views,
        weights: views.iter().map(|view| vec![1.0; view.len()]).collect(),
        free,
        huber_px: HUBER_PX,
    };
    let (lens, poses) = problem.solve(lens, poses);
    problem.leave_out(&lens, &poses);
    problem.huber_px = f64::INFINITY;
    let (lens, poses) = problem.solve(lens, poses);
    problem.result(lens, &poses)
}

impl Problem<'_> {
    /// Residual of a corner: what is predicted less what is seen.
    fn residual(lens: &Lens, pose: &Pose, corner: &Corner) -> Option<Vector2<f64>> {
        let projected = lens.project(&pose.apply(corner.board_m))?;
        Some(projected.pixel - Vector2::new(corner.pixel.x, corner.pixel.y))
    }

    /// Sum of Huber's losses; infinite where a corner would be behind the camera.
    fn cost(&self, lens: &Lens, poses: &[Pose]) -> f64 {
        let mut sum = 0.0;
        for ((view, weights), pose) in self.views.iter().zip(&self.weights).zip(poses) {
            for (corner, weight) in view.iter().zip(weights) {
                let Some(residual) = Self::residual(lens, pose, corner) else {
                    return f64::INFINITY;
                };
                let (off, most) = (residual.norm(), self.huber_px);
                sum += weight
                    * if off <= most {
                        off * off
                    } else {
                        most * (2.0 * off - most)
                    };
            }
        }
        sum
    }

    fn normal(&self, lens: &Lens, poses: &[Pose]) -> Normal {
        let mut all = Normal {
            by_lens: ByLens::zeros(),
            gradient: Parameters::zeros(),
            views: Vec::with_capacity(poses.len()),
        };
        for ((view, weights), pose) in self.views.iter().zip(&self.weights).zip(poses) {
            let mut own = OfView {
                mixed: Mixed::zeros(),
                by_pose: ByPose::zeros(),
                gradient: SVector::zeros(),
            };
            for (corner, weight) in view.iter().zip(weights) {
                let point = pose.apply(corner.board_m);
                let Some(projected) = lens.project(&point) else {
                    continue;
                };
                let residual = projected.pixel - Vector2::new(corner.pixel.x, corner.pixel.y);
                let off = residual.norm();
                let weight = weight * (self.huber_px / off.max(1e-12)).min(1.0);
                let mut by_lens = projected.by_lens;
                for (at, free) in self.free.iter().enumerate() {
                    if !free {
                        by_lens.column_mut(at).fill(0.0);
                    }
                }
                let by_pose = by_pose(&projected.by_point, &(point - pose.translation));
                all.by_lens += by_lens.transpose() * by_lens * weight;
                all.gradient += by_lens.transpose() * residual * weight;
                own.mixed += by_lens.transpose() * by_pose * weight;
                own.by_pose += by_pose.transpose() * by_pose * weight;
                own.gradient += by_pose.transpose() * residual * weight;
            }
            all.views.push(own);
        }
        all
    }

    /// Levenberg-Marquardt from a start; gives the best it found.
    fn solve(&self, mut lens: Lens, mut poses: Vec<Pose>) -> (Lens, Vec<Pose>) {
        let mut cost = self.cost(&lens, &poses);
        let mut damping = 1e-3;
        let mut normal = self.normal(&lens, &poses);
        for _ in 0..STEPS_MAX {
            let Some((by_lens, by_pose)) = self.step(&normal, damping) else {
                damping *= 10.0;
                continue;
            };
            let next_lens = Lens {
                q: lens.q + by_lens,
                ..lens
            };
            let next: Vec<Pose> = poses
                .iter()
                .zip(&by_pose)
                .map(|(pose, step)| pose.moved(step))
                .collect();
            let next_cost = self.cost(&next_lens, &next);
            if next_cost < cost {
                let gain = 1.0 - next_cost / cost;
                (lens, poses, cost) = (next_lens, next, next_cost);
                damping = f64::max(0.1 * damping, 1e-12);
                if gain < 1e-12 {
                    break;
                }
                normal = self.normal(&lens, &poses);
            } else {
                damping *= 10.0;
                if damping > 1e12 {
                    break;
                }
            }
        }
        (lens, poses)
    }

    /// The step of all parameters at this damping; `None` where the equations cannot be solved.
    fn step(&self, normal: &Normal, damping: f64) -> Option<(Parameters, Vec<SVector<f64, 6>>)> {
        let (reduced, gradient, inverses) = self.reduced(normal, damping)?;
        let by_lens = -reduced.cholesky()?.solve(&gradient);
        let by_pose = normal
            .views
            .iter()
            .zip(&inverses)
            .map(|(own, inverse)| -(inverse * (own.gradient + own.mixed.transpose() * by_lens)))
            .collect();
        Some((by_lens, by_pose))
    }

    /// The equations of the lens alone, and the inverse of each view's own.
    fn reduced(&self, normal: &Normal, damping: f64) -> Option<(ByLens, Parameters, Vec<ByPose>)> {
        let mut reduced = normal.by_lens;
        let mut gradient = normal.gradient;
        for (at, free) in self.free.iter().enumerate() {
            reduced[(at, at)] = if *free {
                reduced[(at, at)] * (1.0 + damping)
            } else {
                1.0
            };
        }
        let mut inverses = Vec::with_capacity(normal.views.len());
        for own in &normal.views {
            let mut by_pose = own.by_pose;
            for at in 0..6 {
                // A view all of whose corners are left out has zeros here, and does not move.
                by_pose[(at, at)] = by_pose[(at, at)].mul_add(1.0 + damping, f64::MIN_POSITIVE);
            }
            let inverse = match by_pose.cholesky() {
                Some(factor) => factor.inverse(),
                None if own.by_pose.norm() == 0.0 => ByPose::zeros(),
                None => return None,
            };
            reduced -= own.mixed * inverse * own.mixed.transpose();
            gradient -= own.mixed * inverse * own.gradient;
            inverses.push(inverse);
        }
        Some((reduced, gradient, inverses))
    }

    /// Gives corners, and views, that are far off no weight.
    fn leave_out(&mut self, lens: &Lens, poses: &[Pose]) {
        let residuals: Vec<Vec<f64>> = self
            .views
            .iter()
            .zip(poses)
            .map(|(view, pose)| {
                view.iter()
                    .map(|corner| {
                        Self::residual(lens, pose, corner).map_or(f64::INFINITY, |r| r.norm())
                    })
                    .collect()
            })
            .collect();
        let most = outliers_from(residuals.iter().flatten().copied().collect());
        for (weights, residuals) in self.weights.iter_mut().zip(&residuals) {
            for (weight, off) in weights.iter_mut().zip(residuals) {
                *weight = if *off <= most { 1.0 } else { 0.0 };
            }
        }
        let medians: Vec<f64> = residuals.into_iter().map(median).collect();
        let usual = median(medians.clone());
        for (weights, own) in self.weights.iter_mut().zip(medians) {
            if own > f64::max(WORSE_VIEW * usual, WORSE_VIEW_PX_MIN) {
                weights.fill(0.0);
            }
        }
    }

    /// What the fit amounts to, with the standard deviations of the lens: the residual's times the square root of the
    /// diagonal of the inverse of the reduced normal matrix.
    fn result(&self, lens: Lens, poses: &[Pose]) -> Result<Fitted, NoFit> {
        let normal = self.normal(&lens, poses);
        let (reduced, _, _) = self.reduced(&normal, 0.0).ok_or(NoFit::Open)?;
        let inverse = reduced.cholesky().ok_or(NoFit::Open)?.inverse();
        let mut view_rms = Vec::with_capacity(poses.len());
        let (mut squares, mut corners, mut outliers) = (0.0, 0_usize, 0_usize);
        let mut used = Vec::with_capacity(poses.len());
        for ((view, weights), pose) in self.views.iter().zip(&self.weights).zip(poses) {
            let kept: f64 = weights.iter().sum();
            let is_used = kept > 0.0;
            let mut own = Vec::with_capacity(view.len());
            for (corner, weight) in view.iter().zip(weights) {
                let off = Self::residual(&lens, pose, corner).map_or(f64::INFINITY, |r| r.norm());
                if *weight > 0.0 || !is_used {
                    own.push(off);
                }
            }
            let sum: f64 = own.iter().map(|off| off * off).sum();
            view_rms.push((sum / count(own.len())).sqrt());
            if is_used {
                squares += sum;
                corners += own.len();
                outliers += view.len() - own.len();
            }
            used.push(is_used);
        }
        let freedom = self.free.iter().filter(|free| **free).count()
            + 6 * used.iter().filter(|used| **used).count();
        if 2 * corners <= freedom {
            return Err(NoFit::Open);
        }
        let variance = squares / count(2 * corners - freedom);
        let sigma = Parameters::from_fn(|at, _| {
            if self.free[at] {
                (variance * inverse[(at, at)]).sqrt()
            } else {
                0.0
            }
        });
        if !sigma.iter().chain(lens.q.iter()).all(|v| v.is_finite()) {
            return Err(NoFit::Open);
        }
        Ok(Fitted {
            lens,
            sigma,
            view_rms,
            rms: (squares / count(corners)).sqrt(),
            used,
            corners,
            outliers,
        })
    }
}

/// From which residual on a corner is an outlier, pixels.
pub(super) fn outliers_from(residuals: Vec<f64>) -> f64 {
    // Of a normal distribution in two dimensions half is within 1.1774 standard deviations.
    f64::max(OUTLIER_SIGMAS * median(residuals) / 1.1774, OUTLIER_PX_MIN)
}

/// A pose found by itself, the lens being known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posed {
    pub pose: Pose,
    /// Covariance of a small turn and a small move, as [`Pose::moved`] takes them.
    pub covariance: ByPose,
    /// Root mean square residual, pixels.
    pub rms: f64,
}

/// Finds the pose of a board under a known lens; `None` where too few corners are in the lens's field.
pub(super) fn find_pose(optics: &Optics, corners: &[Corner]) -> Option<Posed> {
    let rays: Vec<(DVec2, DVec2)> = corners
        .iter()
        .filter_map(|corner| Some((corner.board_m, optics.ray(corner.pixel)?)))
        .collect();
    let mut at = pose(&homography(&rays)?)?;
    let equations = |at: &Pose| -> (ByPose, SVector<f64, 6>, f64, usize) {
        let (mut normal, mut gradient) = (ByPose::zeros(), SVector::zeros());
        let (mut cost, mut seen) = (0.0, 0);
        for corner in corners {
            let point = at.apply(corner.board_m);
            let Some((pixel, by_point)) = optics.project(&point) else {
                continue;
            };
            let residual = pixel - Vector2::new(corner.pixel.x, corner.pixel.y);
            let weight = (HUBER_PX / residual.norm().max(1e-12)).min(1.0);
            let by_pose = by_pose(&by_point, &(point - at.translation));
            normal += by_pose.transpose() * by_pose * weight;
            gradient += by_pose.transpose() * residual * weight;
            cost += weight * residual.norm_squared();
            seen += 1;
        }
        (normal, gradient, cost, seen)
    };
    let mut damping = 1e-3;
    let (mut normal, mut gradient, mut cost, mut seen) = equations(&at);
    for _ in 0..STEPS_MAX {
        let mut damped = normal;
        for k in 0..6 {
            damped[(k, k)] *= 1.0 + damping;
        }
        let next = at.moved(&-damped.cholesky()?.solve(&gradient));
        let tried = equations(&next);
        if tried.2 < cost && tried.3 >= seen {
            let gain = 1.0 - tried.2 / cost;
            at = next;
            (normal, gradient, cost, seen) = tried;
            damping = f64::max(0.1 * damping, 1e-12);
            if gain < 1e-10 {
                break;
            }
        } else {
            damping *= 10.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    if 2 * seen <= 6 || 2 * seen < corners.len() {
        return None;
    }
    let variance = cost / count(2 * seen - 6);
    Some(Posed {
        pose: at,
        covariance: normal.cholesky()?.inverse() * variance,
        rms: (cost / count(seen)).sqrt(),
    })
}

/// How far each corner is from where a lens and a pose put it, pixels; infinitely where the lens does not see it.
pub(super) fn residuals(optics: &Optics, pose: &Pose, corners: &[Corner]) -> Vec<f64> {
    let residual = |corner: &Corner| {
        let (pixel, _) = optics.project(&pose.apply(corner.board_m))?;
        Some((pixel - Vector2::new(corner.pixel.x, corner.pixel.y)).norm())
    };
    corners
        .iter()
        .map(|corner| residual(corner).unwrap_or(f64::INFINITY))
        .collect()
}

/// How a pixel moves with a small turn and a small move of the board; `turned` is the point before it is moved.
fn by_pose(by_point: &nalgebra::Matrix2x3<f64>, turned: &Vector3<f64>) -> Matrix2x6<f64> {
    let mut out = Matrix2x6::zeros();
    out.fixed_view_mut::<2, 3>(0, 0)
        .copy_from(&(by_point * -turned.cross_matrix()));
    out.fixed_view_mut::<2, 3>(0, 3).copy_from(by_point);
    out
}

/// A lens without distortion, and poses, to start from: the focal length of Zhang's closed form, or of a series that
/// covers every lens, whichever explains the corners best; the principal point is the middle of the image.
fn start(views: &[&[Corner]], size_px: (u32, u32), model: LensModel) -> Option<(Lens, Vec<Pose>)> {
    /// Focal lengths tried, each a quarter longer: from 0.25 to 9 times the longer side.
    const SERIES: i32 = 17;
    let (width, height) = (f64::from(size_px.0), f64::from(size_px.1));
    let centre = DVec2::new(0.5 * (width - 1.0), 0.5 * (height - 1.0));
    let homographies: Vec<Matrix3<f64>> = views
        .iter()
        .filter_map(|view| {
            let pairs: Vec<_> = view.iter().map(|c| (c.board_m, c.pixel)).collect();
            homography(&pairs)
        })
        .collect();
    let zhang = focal_lengths(&homographies, centre);
    let series = (0..SERIES).map(|at| 0.25 * width.max(height) * 1.25_f64.powi(at));
    zhang
        .into_iter()
        .chain(series.map(|focal| (focal, focal)))
        .filter_map(|focal| {
            let lens = Lens::straight(model, focal, (centre.x, centre.y));
            let (poses, off) = posed(views, &lens)?;
            Some((off, lens, poses))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, lens, poses)| (lens, poses))
}

/// The poses of all views under a lens, and the mean of the views' median residuals.
fn posed(views: &[&[Corner]], lens: &Lens) -> Option<(Vec<Pose>, f64)> {
    let optics = lens.optics();
    let (mut poses, mut sum) = (Vec::with_capacity(views.len()), 0.0);
    for view in views {
        let rays: Vec<(DVec2, DVec2)> = view
            .iter()
            .filter_map(|corner| Some((corner.board_m, optics.ray(corner.pixel)?)))
            .collect();
        let found = pose(&homography(&rays)?)?;
        let mut residuals = Vec::with_capacity(view.len());
        for corner in *view {
            residuals.push(Problem::residual(lens, &found, corner)?.norm());
        }
        sum += median(residuals);
        poses.push(found);
    }
    Some((poses, sum / count(views.len())))
}

/// The middle one of some numbers; 0 of none.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// A number of things to reckon with.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
pub(super) fn count(things: usize) -> f64 {
    things as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use nalgebra::Rotation3;

    pub const SIZE: (u32, u32) = (1280, 720);

    pub fn lens(model: LensModel, q: [f64; PARAMETERS]) -> Lens {
        Lens {
            model,
            q: Parameters::from(q),
        }
    }

    pub fn planar() -> Lens {
        let q = [
            910.0, 905.0, 652.0, 351.0, -0.28, 0.09, 0.0006, -0.0004, 0.0,
        ];
        lens(LensModel::PlumbBob, q)
    }

    pub fn fisheye() -> Lens {
        let q = [
            420.0, 418.0, 645.0, 352.0, 0.02, -0.004, 0.001, -0.0005, 0.0,
        ];
        lens(LensModel::Equidistant, q)
    }

    /// Views of a board of 10 x 7 squares of 25 mm in all places and tilts, with noise on each corner.
    pub fn views(
        lens: &Lens,
        number: usize,
        tilt: f64,
        noise_px: f64,
        seed: u64,
    ) -> Vec<Vec<Corner>> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut found = Vec::new();
        while found.len() < number {
            let mut between = |a: f64, b: f64| a + (b - a) * rng.f64();
            let ray = lens
                .optics()
                .ray(DVec2::new(between(150.0, 1130.0), between(100.0, 620.0)));
            let turn = Vector3::new(
                between(-tilt, tilt),
                between(-tilt, tilt),
                between(-0.3, 0.3),
            );
            let (ray, distance) = (ray.unwrap(), between(0.3, 0.5));
            let mut pose = Pose {
                rotation: Rotation3::new(turn),
                translation: Vector3::new(ray.x, ray.y, 1.0).normalize() * distance,
            };
            pose.translation -= pose.rotation * Vector3::new(0.125, 0.0875, 0.0);
            let mut view = Vec::new();
            for row in 1..7 {
                for column in 1..10 {
                    let board_m = DVec2::new(f64::from(column), f64::from(row)) * 0.025;
                    let Some(p) = lens.project(&pose.apply(board_m)) else {
                        continue;
                    };
                    let pixel = DVec2::new(p.pixel.x, p.pixel.y);
                    let inside =
                        pixel.x > 5.0 && pixel.y > 5.0 && pixel.x < 1275.0 && pixel.y < 715.0;
                    if inside {
                        view.push(Corner { board_m, pixel });
                    }
                }
            }
            if view.len() >= 20 {
                found.push(view);
            }
        }
        for corner in found.iter_mut().flatten() {
            // Twelve uniform numbers less six are normal enough.
            let mut normal = || (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
            corner.pixel += DVec2::new(normal(), normal()) * noise_px;
        }
        found
    }

    pub fn slices(views: &[Vec<Corner>]) -> Vec<&[Corner]> {
        views.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn without_noise_the_lens_comes_back_exactly() {
        for truth in [planar(), fisheye()] {
            let views = views(&truth, 12, 0.6, 0.0, 1);
            let got = fit(&slices(&views), SIZE, truth.model).unwrap();
            let off = (got.lens.q - truth.q).abs();
            assert!(off.max() < 1e-4, "{:?}: {:?}", truth.model, got.lens.q);
            assert!(got.rms < 1e-6, "{}", got.rms);
        }
    }

    #[test]
    fn with_noise_parameters_are_off_by_what_their_sigmas_say() {
        for truth in [planar(), fisheye()] {
            let (mut squares, mut number) = (0.0, 0);
            for seed in 0..20 {
                let views = views(&truth, 15, 0.6, 0.1, 10 + seed);
                let got = fit(&slices(&views), SIZE, truth.model).unwrap();
                for at in 0..PARAMETERS {
                    if got.sigma[at] > 0.0 {
                        let off = (got.lens.q[at] - truth.q[at]) / got.sigma[at];
                        assert!(off.abs() < 4.5, "{:?} {at}: {off} sigmas", truth.model);
                        (squares, number) = (squares + off * off, number + 1);
                    }
                }
                assert!((got.rms - 0.141).abs() < 0.02, "{}", got.rms);
            }
            let scatter = (squares / count(number)).sqrt();
            assert!((scatter - 1.0).abs() < 0.25, "{:?}: {scatter}", truth.model);
        }
    }

    #[test]
    fn outliers_and_a_view_of_a_board_that_moved_are_left_out() {
        let truth = planar();
        let mut views = views(&truth, 15, 0.6, 0.1, 3);
        views[2][5].pixel.x += 40.0;
        views[7][9].pixel.y -= 8.0;
        for (at, corner) in views[4].iter_mut().enumerate() {
            corner.pixel.x += if at % 2 == 0 { 4.0 } else { -4.0 };
        }
        let got = fit(&slices(&views), SIZE, truth.model).unwrap();
        assert_eq!(got.outliers, 2);
        assert!(!got.used[4] && got.used.iter().filter(|used| **used).count() == 14);
        assert!(
            (got.lens.q[0] - 910.0).abs() < 4.0 * got.sigma[0],
            "{:?}",
            got.lens.q
        );
    }

    #[test]
    fn boards_that_all_face_the_camera_leave_the_focal_length_open() {
        let truth = planar();
        let tilted = fit(&slices(&views(&truth, 12, 0.6, 0.1, 5)), SIZE, truth.model).unwrap();
        let facing = fit(&slices(&views(&truth, 12, 0.01, 0.1, 5)), SIZE, truth.model);
        // Either refused, or known to be known badly.
        if let Ok(facing) = facing {
            assert!(
                facing.sigma[0] > 10.0 * tilted.sigma[0],
                "{}",
                facing.sigma[0]
            );
        }
    }

    #[test]
    fn a_third_coefficient_is_estimated_only_where_the_lens_has_one() {
        let mut truth = planar();
        let without = fit(&slices(&views(&truth, 15, 0.6, 0.1, 6)), SIZE, truth.model).unwrap();
        assert!(without.lens.q[8].abs() < 1e-12 && without.sigma[8].abs() < 1e-12);
        truth.q[8] = -0.1;
        truth.q[5] = 0.2;
        let with = fit(&slices(&views(&truth, 30, 0.6, 0.02, 6)), SIZE, truth.model).unwrap();
        assert!(
            (with.lens.q[8] + 0.1).abs() < 4.0 * with.sigma[8],
            "{:?}",
            with.lens.q
        );
    }

    #[test]
    fn a_pose_is_found_with_its_sigmas() {
        let truth = planar();
        let views = views(&truth, 30, 0.6, 0.1, 8);
        let clean = self::views(&truth, 30, 0.6, 0.0, 8);
        for (view, clean) in views.iter().zip(&clean) {
            let got = find_pose(&truth.optics(), view).unwrap();
            let want = find_pose(&truth.optics(), clean).unwrap();
            assert!(want.rms < 1e-3, "{}", want.rms);
            let off = got.pose.translation - want.pose.translation;
            for at in 0..3 {
                let sigma = got.covariance[(3 + at, 3 + at)].sqrt();
                assert!(off[at].abs() < 4.5 * sigma && sigma < 1e-3, "{off} {sigma}");
            }
        }
    }
}
