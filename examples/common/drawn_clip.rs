//! Some seconds of a recorded motion by chance, done by a synthetic person before a camera by chance.

use anyhow::{Context, Result};
use poised::estimate::EstimateConfig;
use poised::lab::eval::motion::Motion;
use poised::lab::eval::render::rendered;
use poised::lab::eval::scenario::{Hide, Scenario};
use poised::lab::eval::simulate::{Stream, stream};

/// Looks that evaluations never draw.
const LOOKS: std::ops::Range<u64> = 1_000_000_000..2_000_000_000;

/// Clip number `clip` of a seed, of `length_s` seconds at most, as the networks see it, and the motion it is a part of.
pub fn drawn_clip(
    motions: &[Motion],
    seed: u64,
    clip: usize,
    length_s: f64,
) -> Result<(&Motion, Stream)> {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ clip as u64);
    let whole = rng.choice(motions).context("the index is empty")?;
    let mut motion = whole.clone();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few hundred frames"
    )]
    let length = (length_s * motion.rate_hz) as usize;
    let begin = rng.usize(0..=motion.joints_world_m.len().saturating_sub(length));
    motion.joints_world_m.drain(..begin);
    motion.joints_world_m.truncate(length);
    let scenario = chance(clip, &mut rng);
    let config = EstimateConfig::default();
    let shown = stream(&scenario, "clip", &[&motion], rng.u64(..))?;
    Ok((whole, rendered(shown, &scenario, rng.u64(LOOKS), &config)?))
}

/// A camera, a build and gaps by chance.
fn chance(clip: usize, rng: &mut fastrand::Rng) -> Scenario {
    let mut between = |low: f32, high: f32| low + (high - low) * rng.f32();
    let down = if between(0.0, 1.0) < 0.35 {
        between(-5.0, 50.0)
    } else {
        between(0.0, 18.0)
    };
    let far = between(1.6, 4.5);
    let stature = if between(0.0, 1.0) < 0.2 {
        between(0.65, 0.85)
    } else {
        between(0.88, 1.1)
    };
    let fov_deg = between(45.0, 95.0);
    let gap_s = f64::from(between(1.0, 3.0));
    let large = between(0.0, 3.0);
    let hidden = between(0.0, 1.0);
    let rate_hz = if between(0.0, 1.0) < 0.5 { 30.0 } else { 15.0 };
    let hide = |names: &[&str], below_hips| Hide {
        keypoints: names.iter().map(|name| (*name).to_owned()).collect(),
        region: None,
        every_s: 2.0 * gap_s,
        for_s: gap_s,
        below_hips,
    };
    let legs = ["left_knee", "right_knee", "left_ankle", "right_ankle"];
    Scenario {
        name: format!("clip {clip}"),
        down_deg: [down, down],
        roll_sd_deg: 3.0,
        fov_deg,
        distance_m: [far, far + 0.3],
        side_px: match large {
            ..1.0 => 240,
            1.0..2.0 => 320,
            _ => 480,
        },
        stature,
        rate_hz: Some(rate_hz),
        hide: match hidden {
            ..0.15 => vec![hide(&legs, false)],
            0.15..0.25 => vec![hide(&[], true)],
            0.25..0.32 => vec![hide(&["left_elbow", "left_wrist"], false)],
            _ => Vec::new(),
        },
        ..Scenario::default()
    }
}
