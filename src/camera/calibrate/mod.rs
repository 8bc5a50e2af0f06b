//! Calibration of a lens from views of a flat board, and of a mount from a board on the floor.
//!
//! In: grey pictures of one camera. [`Views`] keeps those that say something new; [`calibrate`] estimates the lens and
//! judges the result in a [`Report`]; [`check()`] compares an older calibration with it; [`mount`] tells how the camera
//! hangs. Runs on the thread of the command that calls it; nothing here reads a clock or waits.
//!
//! Frames: the *board* has x along its columns and y along its rows as printed, z into it, metres, and its origin at the
//! outer corner of its first square. The *camera* is the optical frame of [`crate::camera`].

mod board;
mod files;
mod fit;
mod homography;
mod lens;
pub mod mount;
mod picture;
pub mod print;
mod refine;
mod views;

use std::fmt;

use glam::DVec2;

use super::{Calibration, Origin};
use crate::base::config::ConfigError;

pub use board::{
    Board, BoardError, BoardKind, CORNERS_MIN, DICTIONARY_DEFAULT, Finder, MARKER_REL, NotFound,
    SQUARE_MM, SQUARES_MAX, SQUARES_MIN,
};
pub use files::{ros, toml};
pub use fit::Corner;
pub use lens::LensModel;
pub use picture::{Picture, grey_into};
pub use views::{
    BLUR_PX_MAX, FIELD_CORNERS_MIN, FIELDS, Missing, Refused, TILT_DEG, VIEWS_ENOUGH, VIEWS_MAX,
    View, Views,
};

use fit::{Fitted, NoFit, count, find_pose};
use lens::Optics;

/// Views without which nothing is estimated: a fifth of them is held out, and a lens takes four.
pub const VIEWS_MIN: usize = 6;

/// Views from which on a calibration can be good: with fewer, the errors of one view do not average out.
pub const VIEWS_GOOD: usize = 12;

/// Every so many views one is held out, to see what the fit is worth elsewhere.
const HELD_OUT_EACH: usize = 5;

/// Largest residual of a good calibration, and of one that is of use at all, in pixels of an image of
/// `RESIDUAL_SIDE_PX`: a sharp flat board gives 0.1 to 0.4, a bent one or a rolling shutter 0.6 and more.
pub const RESIDUAL_PX: (f64, f64) = (0.6, 2.0);

/// Longer side of the image that [`RESIDUAL_PX`] is for; larger images have finer pixels.
const RESIDUAL_SIDE_PX: f64 = 1280.0;

/// Largest ratio of the held-out residual to that of the fit: above it the fit has followed the noise of its views.
const HELD_OUT_RATIO: f64 = 1.5;

/// The held-out residual is not judged below this, in pixels: both are small.
const HELD_OUT_SLACK_PX: f64 = 0.05;

/// Standard deviation of the focal length of a good calibration, and of one that is of use at all, as a part of it:
/// distances are off by as much.
pub const FOCAL_SIGMA: (f64, f64) = (0.003, 0.02);

/// Standard deviation of the principal point of a good calibration, and of one that is of use at all, as a part of the
/// longer side.
const CENTRE_SIGMA: (f64, f64) = (0.005, 0.03);

/// Fields of the picture without corners that a good calibration may have at most: of nine.
const FIELDS_OPEN_MAX: usize = 2;

/// Parts of the views that may be left out of a good calibration.
const LEFT_OUT_MAX: f64 = 0.25;

/// How far an older calibration may put pixels elsewhere, as a part of the picture's diagonal: about a tenth of a degree
/// in a picture 90 degrees wide, which no pose shows.
pub const MOVED_REL_MAX: f64 = 0.001;

/// How many times its expectation the statistic of the test must be before an older calibration counts as another one.
/// 1 is expected of the same lens without errors of its own; what corners have in common makes it several times that.
const F_MIN: f64 = 20.0;

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// Too few views.
    #[error(
        "usable views: {kept}; at least {VIEWS_MIN} are needed, {VIEWS_GOOD} or more are good{why}"
    )]
    TooFew {
        /// Views that can be used.
        kept: usize,
        /// Why others cannot.
        why: String,
    },
    /// The views do not determine the lens.
    #[error("the views do not determine the lens: {missing}")]
    Open {
        /// What is missing.
        missing: Missing,
    },
    /// The lens that fits best cannot be one.
    #[error("the lens that fits the views best is none: check --model, --columns and --rows")]
    Lens(#[source] ConfigError),
    /// The board is not seen in any picture.
    #[error("no view of the board{why}")]
    NoView {
        /// What is seen instead.
        why: String,
    },
    /// A mount that cannot be one.
    #[error("the board does not lie on the floor below the camera, face up")]
    Mount(#[source] ConfigError),
}

/// What a calibration is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// To be relied on.
    Good,
    /// Better than none; the reasons tell how to get a better one.
    Poor,
    /// Worse than none.
    Unusable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Poor => "poor",
            Self::Unusable => "unusable",
        })
    }
}

/// A parameter of the lens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// `fx`, `fy`, `cx`, `cy` in pixels, then the coefficients of the model.
    pub name: &'static str,
    /// What was estimated.
    pub value: f64,
    /// Its standard deviation; 0 where the parameter was held.
    pub sigma: f64,
}

/// A view in a report.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewReport {
    /// Its name.
    pub name: String,
    /// Its corners.
    pub corners: usize,
    /// Root mean square residual, pixels.
    pub residual_px: f64,
    /// Whether it was used: false where it is far worse than the others.
    pub used: bool,
}

/// A lens that was estimated, and what it is worth.
#[derive(Clone, Debug)]
pub struct Report {
    /// The lens, for images of the camera's own size.
    pub calibration: Calibration,
    /// Its parameters with their standard deviations.
    pub parameters: Vec<Parameter>,
    /// Residuals by view.
    pub views: Vec<ViewReport>,
    /// Root mean square residual over all corners that were used, pixels.
    pub residual_px: f64,
    /// The same over every fifth view, under a lens estimated from the others.
    pub held_out_px: Option<f64>,
    /// Corners that were used.
    pub corners: usize,
    /// Corners that were left out in views that were used.
    pub outliers: usize,
    /// What it is worth.
    pub verdict: Verdict,
    /// Why it is not better.
    pub reasons: Vec<String>,
}

/// Estimates the lens from views; `camera` describes it in words, `date` is the day, `YYYY-MM-DD`.
///
/// # Errors
///
/// [`CalibrateError`]: too few views, or views that leave the lens open.
pub fn calibrate(
    views: &Views,
    model: LensModel,
    camera: &str,
    date: Option<String>,
) -> Result<Report, CalibrateError> {
    let kept = views.kept();
    let size_px = views.size_px().unwrap_or_default();
    if kept.len() < VIEWS_MIN {
        return Err(CalibrateError::TooFew {
            kept: kept.len(),
            why: refusals(views),
        });
    }
    let corners: Vec<&[Corner]> = kept.iter().map(|view| view.corners.as_slice()).collect();
    let fitted = fit::fit(&corners, size_px, model).map_err(|_: NoFit| CalibrateError::Open {
        missing: views.missing(),
    })?;
    let origin = Origin::Measured {
        camera: camera.to_owned(),
        date,
        // A thousandth of a pixel is finer than any board.
        residual_px: Some((fitted.rms * 1e3).round() / 1e3),
    };
    let calibration = Calibration::new(
        size_px,
        fitted.lens.intrinsics(),
        fitted.lens.distortion(),
        origin,
    )
    .map_err(CalibrateError::Lens)?;
    let held_out_px = held_out(&corners, size_px, model);
    let (verdict, reasons) = judged(views, &fitted, held_out_px, &calibration);
    Ok(Report {
        parameters: parameters(&fitted),
        views: kept
            .iter()
            .zip(fitted.view_rms.iter().zip(&fitted.used))
            .map(|(view, (residual_px, used))| ViewReport {
                name: view.name.clone(),
                corners: view.corners.len(),
                residual_px: *residual_px,
                used: *used,
            })
            .collect(),
        residual_px: fitted.rms,
        held_out_px,
        corners: fitted.corners,
        outliers: fitted.outliers,
        calibration,
        verdict,
        reasons,
    })
}

fn parameters(fitted: &Fitted) -> Vec<Parameter> {
    let names = fitted.lens.model.parameters();
    let values = fitted.lens.q.iter().zip(fitted.sigma.iter());
    names
        .iter()
        .zip(values)
        .map(|(name, (value, sigma))| Parameter {
            name,
            value: *value,
            sigma: *sigma,
        })
        .collect()
}

/// Why pictures were not kept, as the end of a sentence.
pub fn refusals(views: &Views) -> String {
    let reasons: Vec<String> = views
        .refused()
        .iter()
        .map(|(why, number)| match number {
            1 => format!("\n  1 picture: {why}"),
            number => format!("\n  {number} pictures: {why}"),
        })
        .collect();
    reasons.concat()
}

/// Residual of every fifth view, pixels, under a lens that was estimated without it; its pose is its own. `None` where
/// the others leave the lens open.
fn held_out(views: &[&[Corner]], size_px: (u32, u32), model: LensModel) -> Option<f64> {
    let is_out = |at: usize| at % HELD_OUT_EACH == HELD_OUT_EACH - 1;
    let of = |out: bool| -> Vec<&[Corner]> {
        let views = views.iter().enumerate();
        views
            .filter(|(at, _)| is_out(*at) == out)
            .map(|(_, view)| *view)
            .collect()
    };
    let optics = fit::fit(&of(false), size_px, model).ok()?.lens.optics();
    let found: Vec<f64> = of(true)
        .into_iter()
        .filter_map(|view| Some(find_pose(&optics, view)?.rms))
        .collect();
    // The median of the views: one of a board that moved says nothing of the lens.
    (!found.is_empty()).then(|| fit::median(found))
}

/// What a fit is worth, and why not more.
fn judged(
    views: &Views,
    fitted: &Fitted,
    held_out_px: Option<f64>,
    calibration: &Calibration,
) -> (Verdict, Vec<String>) {
    let (width, height) = calibration.size_px();
    let longer = f64::from(width.max(height));
    let missing = views.missing();
    let mut judge = Judge {
        verdict: Verdict::Good,
        reasons: Vec::new(),
    };
    let scale = (longer / RESIDUAL_SIDE_PX).max(1.0);
    judge.limits(fitted.rms, (RESIDUAL_PX.0 * scale, RESIDUAL_PX.1 * scale), |limit| {
        format!(
            "the residual is {:.2} px, {limit:.2} or less is good: is the board flat, the lens focused and of this \
             --model?",
            fitted.rms
        )
    });
    let (q, sigma) = (&fitted.lens.q, &fitted.sigma);
    let focal = f64::max(sigma[0] / q[0], sigma[1] / q[1]);
    judge.limits(focal, FOCAL_SIGMA, |limit| {
        format!(
            "the focal length is known to {:.2} % only, {:.1} or less is good: tilt the board more, and hold it nearer",
            100.0 * focal,
            100.0 * limit
        )
    });
    let centre = f64::max(sigma[2], sigma[3]) / longer;
    judge.limits(centre, CENTRE_SIGMA, |limit| {
        format!(
            "the principal point is known to {:.1} px only, {:.1} or less is good: more views, tilted about both axes",
            centre * longer,
            limit * longer
        )
    });
    let used = fitted.used.iter().filter(|used| **used).count();
    if used < VIEWS_GOOD {
        judge.poor(format!(
            "{used} views were used, {VIEWS_GOOD} or more are good"
        ));
    }
    let left_out = fitted.used.len() - used;
    if count(left_out) > LEFT_OUT_MAX * count(fitted.used.len()) {
        judge.poor(format!(
            "{left_out} of {} views do not fit the others: is the board flat, and was it held still?",
            fitted.used.len()
        ));
    }
    if missing.fields.len() > FIELDS_OPEN_MAX {
        judge.poor(format!(
            "parts of the picture are without corners: {}",
            missing.fields.join(", ")
        ));
    }
    if let Some(held_out) = held_out_px
        && held_out > HELD_OUT_RATIO * fitted.rms + HELD_OUT_SLACK_PX
    {
        judge.poor(format!(
            "views that were held out have a residual of {held_out:.2} px, those of the fit {:.2}: take more views",
            fitted.rms
        ));
    }
    if fitted.lens.model == LensModel::PlumbBob && !reaches_corners(calibration) {
        judge.poor(
            "the lens model does not reach the corners of the picture: show the board there, or try --model equidistant"
                .to_owned(),
        );
    }
    (judge.verdict, judge.reasons)
}

/// Whether the lens model has a ray for the corners of the picture. Fisheyes may see further there than any ray on the
/// plane z = 1.
fn reaches_corners(calibration: &Calibration) -> bool {
    let (width, height) = calibration.size_px();
    #[expect(clippy::cast_precision_loss, reason = "sides of images")]
    let (right, bottom) = (width as f32 - 1.0, height as f32 - 1.0);
    let corners = [(0.0, 0.0), (right, 0.0), (0.0, bottom), (right, bottom)];
    corners
        .iter()
        .all(|(x, y)| calibration.ray(*x, *y).is_some())
}

/// Collects reasons.
struct Judge {
    verdict: Verdict,
    reasons: Vec<String>,
}

impl Judge {
    fn poor(&mut self, reason: String) {
        self.verdict = self.verdict.max(Verdict::Poor);
        self.reasons.push(reason);
    }

    /// Judges a number by the limits of a good and of a usable calibration.
    fn limits(&mut self, value: f64, (good, usable): (f64, f64), reason: impl Fn(f64) -> String) {
        if value <= good {
            return;
        }
        self.poor(reason(good));
        if value > usable {
            self.verdict = Verdict::Unusable;
        }
    }
}

/// An older calibration beside a new one, on the same views.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Root mean square residual under the older lens, pixels, without the outliers of the new one.
    pub old_px: f64,
    /// Under the new one.
    pub new_px: f64,
    /// Residuals by view, old and new.
    pub views: Vec<(String, f64, f64)>,
    /// How far the two put a ray apart, root mean square over the picture, pixels.
    pub moved_px: f64,
    /// Focal length of the new one by that of the old one, less one.
    pub focal_change: f64,
    /// What follows.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The older calibration still holds.
    Fits,
    /// The lens is another one, or was focused or zoomed.
    Changed,
    /// The new views are too few or too alike to tell.
    Open,
}

/// Compares an older calibration, for images of the same size, with a new one.
///
/// Corners that the new lens does not explain are left out: they would hide what the older one does not explain.
/// The older one has changed where it explains the views worse than chance can (the test is that of a linear regression
/// with its lens held: F), and by more than poses show ([`MOVED_REL_MAX`]).
pub fn check(views: &Views, old: &Calibration, new: &Report) -> Checked {
    let optics =
        |calibration: &Calibration| Optics::new(calibration.intrinsics(), calibration.distortion());
    let (before, now) = (optics(old), optics(&new.calibration));
    let (mut all, mut by_view) = (Vec::new(), Vec::new());
    for (view, report) in views.kept().iter().zip(&new.views) {
        let posed = [&before, &now].map(|optics| (optics, find_pose(optics, &view.corners)));
        let [old_px, new_px] =
            posed.map(|(_, posed)| posed.map_or(f64::INFINITY, |posed| posed.rms));
        by_view.push((view.name.clone(), old_px, new_px));
        if report.used && new_px.is_finite() {
            let [old, new] = posed.map(|(optics, posed)| match posed {
                Some(posed) => fit::residuals(optics, &posed.pose, &view.corners),
                None => vec![f64::INFINITY; view.corners.len()],
            });
            all.extend(old.into_iter().zip(new));
        }
    }
    let most = fit::outliers_from(all.iter().map(|(_, new)| *new).collect());
    all.retain(|(_, new)| *new <= most);
    let corners = count(all.len());
    // A corner that the older lens does not see counts as ten pixels off.
    let squares_old: f64 = all.iter().map(|(old, _)| old.min(10.0).powi(2)).sum();
    let squares_new: f64 = all.iter().map(|(_, new)| new.powi(2)).sum();
    let estimated = count(new.parameters.iter().filter(|p| p.sigma > 0.0).count());
    let noise = squares_new / (2.0 * corners).max(1.0);
    let f = (squares_old - squares_new) / estimated / noise.max(1e-6);
    let size_px = new.calibration.size_px();
    let moved_px = moved(&before, &now, size_px);
    let diagonal = f64::hypot(size_px.0.into(), size_px.1.into());
    let outcome = match (moved_px > MOVED_REL_MAX * diagonal, f > F_MIN) {
        (false, _) => Outcome::Fits,
        (true, true) => Outcome::Changed,
        (true, false) => Outcome::Open,
    };
    let focal = |calibration: &Calibration| {
        let k = calibration.intrinsics();
        (k.fx_px * k.fy_px).sqrt()
    };
    Checked {
        old_px: (squares_old / corners.max(1.0)).sqrt(),
        new_px: (squares_new / corners.max(1.0)).sqrt(),
        views: by_view,
        moved_px,
        focal_change: focal(&new.calibration) / focal(old) - 1.0,
        outcome,
    }
}

/// How far two lenses put the ray of a pixel apart: root mean square over a grid of the picture, pixels.
fn moved(old: &Optics, new: &Optics, size_px: (u32, u32)) -> f64 {
    /// Points along each side.
    const GRID: u32 = 16;
    let (mut squares, mut points) = (0.0, 0.0);
    for row in 0..GRID {
        for column in 0..GRID {
            let part = DVec2::new(f64::from(column) + 0.5, f64::from(row) + 0.5) / f64::from(GRID);
            let pixel = part * DVec2::new(size_px.0.into(), size_px.1.into()) - 0.5;
            if let Some(ray) = old.ray(pixel) {
                squares += (new.pixel(ray) - pixel).length_squared();
                points += 1.0;
            }
        }
    }
    (squares / f64::max(points, 1.0)).sqrt()
}
