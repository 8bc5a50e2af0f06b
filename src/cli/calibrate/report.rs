//! What came of a calibration, in words.

use poised::camera::Calibration;
use poised::camera::calibrate::{self, Checked, Missing, Outcome, Report, Views};

/// Prints residuals, parameters and the verdict.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn print(report: &Report, missing: &Missing) -> anyhow::Result<()> {
    say!("\n{:<32} {:>7} {:>12}", "view", "corners", "residual px")?;
    for view in &report.views {
        let left_out = if view.used { "" } else { "  left out" };
        say!(
            "{:<32} {:>7} {:>12.3}{left_out}",
            view.name,
            view.corners,
            view.residual_px
        )?;
    }
    say!("\n{:<10} {:>14} {:>12}", "parameter", "value", "sigma")?;
    for parameter in &report.parameters {
        let (name, value, sigma) = (parameter.name, parameter.value, parameter.sigma);
        // Pixels of the pinhole, numbers without a unit of the distortion.
        if name.starts_with(['f', 'c']) {
            say!("{name:<10} {value:>14.3} {sigma:>12.3}")?;
        } else if sigma > 0.0 {
            say!("{name:<10} {value:>14.6} {sigma:>12.6}")?;
        } else {
            say!("{name:<10} {value:>14.6}         held: the views do not tell it from 0")?;
        }
    }
    say!("\nlens: {}", report.calibration)?;
    say!(
        "residual: {:.3} px over {} corners, {} outliers left out",
        report.residual_px,
        report.corners,
        report.outliers
    )?;
    match report.held_out_px {
        Some(held_out) => say!(
            "held out: {held_out:.3} px, the median of every fifth view under a lens from the others"
        )?,
        None => say!("held out: the views without every fifth do not determine the lens")?,
    }
    if !missing.is_nothing() {
        say!("missing: {missing}")?;
    }
    say!("verdict: {}", report.verdict)?;
    for reason in &report.reasons {
        say!("  - {reason}")?;
    }
    Ok(())
}

/// Compares with an older calibration and prints what follows.
///
/// # Errors
///
/// The older one is for images of another shape; standard output cannot be written.
pub fn check(views: &Views, old: &Calibration, new: &Report) -> anyhow::Result<Outcome> {
    let (width_px, height_px) = new.calibration.size_px();
    let old = old.scaled_to(width_px, height_px)?;
    let checked = calibrate::check(views, &old, new);
    let Checked {
        old_px,
        new_px,
        moved_px,
        focal_change,
        outcome,
        ..
    } = checked;
    say!("\n{:<32} {:>12} {:>12}", "view", "old px", "new px")?;
    for (name, old, new) in &checked.views {
        say!("{name:<32} {old:>12.3} {new:>12.3}")?;
    }
    say!("residual with the old calibration {old_px:.3} px, with the new one {new_px:.3} px")?;
    say!(
        "the focal length differs by {:+.2} %, a pixel's direction by {moved_px:.2} px in the mean",
        100.0 * focal_change
    )?;
    say!(
        "old calibration: {}",
        match outcome {
            Outcome::Fits => "still fits",
            Outcome::Changed =>
                "DOES NOT FIT any more: the lens was focused, zoomed or changed; use the new one",
            Outcome::Open => "cannot be told from the new one with these views: take more, tilted",
        }
    )?;
    Ok(outcome)
}

/// The day of a time, `YYYY-MM-DD` (UTC).
pub fn today(unix_ns: u64) -> String {
    // Howard Hinnant's `civil_from_days`: years begin in March, eras have 400 years.
    let days = unix_ns / 86_400_000_000_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |days: u64| today(days * 86_400_000_000_000);
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(19_782), "2024-02-29");
        assert_eq!(day(20_786), "2026-11-29");
        assert_eq!(day(11_016), "2000-02-29");
    }
}
