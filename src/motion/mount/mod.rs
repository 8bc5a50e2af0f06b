//! How a camera hangs, without a board: from people who walk.
//!
//! ```text
//!  keypoints of a frame ─▶ upright people who have moved on ─▶ samples ─▶ fit (fit.rs) ─▶ mount with its sigma
//!                                                                 └─▶ fit of the newest alone ─▶ moved, begin again
//! ```
//!
//! Feet stand on one level floor, and bodies are upright: then angles are told by how a person's image shrinks and leans
//! across the picture, and the height by how long adults are. `poised calibrate mount --from-people` calls it, and in the
//! daemon the adapter's thread, to learn that the camera was moved. Takes keypoints, not poses: those follow a mount that
//! is set.

mod fit;
#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "seconds of a walk"
)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use glam::Vec2;

use crate::base::clock::MonoNs;
use crate::camera::Mount;
use crate::lift::window::RaySample;
use fit::{Fit, Upright};

/// Samples of one person are at least this far apart in time: less is the same step, ...
const EVERY: Duration = Duration::from_millis(300);

/// ... and in the image, as a share of the person's length there: who stands still says the same again.
const MOVED_SHARE: f32 = 0.12;

/// A person who has not been seen for so long is another one: the tracker's ids do not come back later.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(12);

/// Samples kept, the newest: about a minute of walking.
const SAMPLES_MAX: usize = 160;

/// Samples before there is a mount.
const SAMPLES_MIN: usize = 30;

/// From one fit to the next, samples.
const FIT_EVERY: usize = 10;

/// The newest samples, of which alone it is told whether the camera was moved.
const NEWEST: usize = 40;

/// A mount is sure up to these standard deviations: angles, degrees, ...
const SURE_DEG: [f64; 2] = [2.0, 1.5];

/// ... and the height, relative.
const SURE_HEIGHT: f64 = 0.1;

/// People are none on one floor, or not upright, if the differences are so many times as large as taken.
const SPREAD_MAX: f64 = 4.0;

/// The camera was moved if the newest samples' mount is so far from the one before, as the square of standard
/// deviations of three unknowns: one in a million by chance.
const MOVED_SQUARE: f64 = 31.0;

/// Fits in a row that must agree on it: one is a person who carries something.
const MOVED_FITS: u32 = 2;

/// From ankles to hips, and from hips to shoulders, as seen of one who stands: the first by the second.
const UPRIGHT_RATIO: [f32; 2] = [1.15, 2.6];

/// Visibility of the keypoints that are used: a guessed ankle is on no floor.
const VISIBILITY_MIN: f32 = 0.4;

/// How the camera hangs, as people tell it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundMount {
    /// The mount.
    pub mount: Mount,
    /// Standard deviation of the height, metres.
    pub height_sigma_m: f32,
    /// Standard deviation of the angle down, degrees.
    pub down_sigma_deg: f32,
    /// Standard deviation of the roll, degrees.
    pub roll_sigma_deg: f32,
    /// Samples that told it.
    pub samples: usize,
    /// People who did.
    pub people: usize,
}

/// What a frame has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MountChange {
    /// The mount is known well enough to be used, or better than before.
    Found(FoundMount),
    /// The camera was moved: what was found holds no longer.
    Moved,
}

/// A person in view.
#[derive(Clone, Copy, Debug)]
struct Walker {
    id: u32,
    /// Number of the person among samples.
    number: usize,
    seen: MonoNs,
    sampled: Option<(MonoNs, Vec2)>,
}

/// Finds the mount of one camera.
#[derive(Clone, Debug, Default)]
pub struct MountFinder {
    walkers: Vec<Walker>,
    people: usize,
    samples: VecDeque<Upright>,
    taken: usize,
    found: Option<(FoundMount, Fit)>,
    away: u32,
}

impl MountFinder {
    /// The mount, as far as it is known well enough.
    pub fn found(&self) -> Option<&FoundMount> {
        self.found.as_ref().map(|(found, _)| found)
    }

    /// Samples so far.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Takes a person of the frame of `time`; what that changes.
    pub fn add(&mut self, time: MonoNs, id: u32, keypoints: &RaySample) -> Option<MountChange> {
        self.walkers
            .retain(|walker| time.since(walker.seen) <= FORGOTTEN_AFTER);
        let walker = self.walker(id, time);
        let [feet, shoulders] = upright(keypoints)?;
        if self.sample(walker, time, feet, shoulders) {
            self.fit()
        } else {
            None
        }
    }

    fn walker(&mut self, id: u32, time: MonoNs) -> usize {
        let place = self.walkers.iter().position(|walker| walker.id == id);
        let place = place.unwrap_or_else(|| {
            self.walkers.push(Walker {
                id,
                number: self.people,
                seen: time,
                sampled: None,
            });
            self.people += 1;
            self.walkers.len() - 1
        });
        self.walkers[place].seen = time;
        place
    }

    /// Keeps a sample of a person who has moved on. Whether a fit is due.
    fn sample(&mut self, walker: usize, time: MonoNs, feet: Vec2, shoulders: Vec2) -> bool {
        let walker = &mut self.walkers[walker];
        let length = feet.distance(shoulders);
        let is_new = walker.sampled.is_none_or(|(last, place)| {
            time.since(last) >= EVERY && place.distance(feet) >= MOVED_SHARE * length
        });
        if !is_new {
            return false;
        }
        let Some((_, before)) = walker.sampled.replace((time, feet)) else {
            // One who only stands there is no walker.
            return false;
        };
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Upright {
            person: walker.number,
            feet,
            before,
            shoulders,
        });
        self.taken += 1;
        self.samples.len() >= SAMPLES_MIN && self.taken.is_multiple_of(FIT_EVERY)
    }

    fn fit(&mut self) -> Option<MountChange> {
        if let Some((_, before)) = &self.found
            && self.samples.len() > NEWEST
        {
            let newest = self.numbered(NEWEST);
            if let Some(now) = Fit::of(&newest)
                && apart(before, &now) > MOVED_SQUARE
            {
                self.away += 1;
                if self.away < MOVED_FITS {
                    return None;
                }
                let old = self.samples.len() - NEWEST / 2;
                self.samples.drain(..old);
                (self.found, self.away) = (None, 0);
                return Some(MountChange::Moved);
            }
            self.away = 0;
        }
        let samples = self.numbered(SAMPLES_MAX);
        let fit = Fit::of(&samples)?;
        let people = samples.iter().map(|sample| sample.person).max()? + 1;
        let found = found(&fit, samples.len(), people)?;
        let is_better = self
            .found()
            .is_none_or(|before| found.samples > before.samples || found.people > before.people);
        self.found = Some((found, fit));
        is_better.then_some(MountChange::Found(found))
    }

    /// The newest samples, their people numbered from 0.
    fn numbered(&self, most: usize) -> Vec<Upright> {
        let old = self.samples.len().saturating_sub(most);
        let mut numbers: Vec<usize> = Vec::new();
        let renamed = self.samples.iter().skip(old).map(|sample| {
            let place = numbers.iter().position(|own| *own == sample.person);
            let person = place.unwrap_or_else(|| {
                numbers.push(sample.person);
                numbers.len() - 1
            });
            Upright { person, ..*sample }
        });
        renamed.collect()
    }
}

/// What a fit comes to, where it is sure.
fn found(fit: &Fit, samples: usize, people: usize) -> Option<FoundMount> {
    let sigma: [f64; 3] = std::array::from_fn(|at| fit.covariance[at][at].max(0.0).sqrt());
    let [down_deg, roll_deg] = [sigma[0].to_degrees(), sigma[1].to_degrees()];
    let sure = down_deg <= SURE_DEG[0] && roll_deg <= SURE_DEG[1] && sigma[2] <= SURE_HEIGHT;
    if !sure || fit.spread > SPREAD_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "degrees and metres")]
    Some(FoundMount {
        mount: fit.mount,
        height_sigma_m: (sigma[2] * f64::from(fit.mount.height_m)) as f32,
        down_sigma_deg: down_deg as f32,
        roll_sigma_deg: roll_deg as f32,
        samples,
        people,
    })
}

/// How far two fits are apart, squared, in the standard deviations of both together.
fn apart(a: &Fit, b: &Fit) -> f64 {
    let unknowns = |fit: &Fit| {
        let Mount {
            height_m,
            down_deg,
            roll_deg,
        } = fit.mount;
        nalgebra::Vector3::new(
            f64::from(down_deg).to_radians(),
            f64::from(roll_deg).to_radians(),
            f64::from(height_m).ln(),
        )
    };
    let both = nalgebra::Matrix3::from_fn(|row, column| {
        a.covariance[row][column] + b.covariance[row][column]
    });
    let off = unknowns(a) - unknowns(b);
    both.try_inverse()
        .map_or(0.0, |inverse| off.dot(&(inverse * off)))
}

/// The rays of the middle of the ankles and of the shoulders of a person who stands or walks.
fn upright(keypoints: &RaySample) -> Option<[Vec2; 2]> {
    let middle = |pair: [usize; 2]| {
        let [a, b] = pair.map(|at| {
            let keypoint = &keypoints[at];
            (keypoint.visibility >= VISIBILITY_MIN).then_some(keypoint.ray)
        });
        Some(0.5 * (a? + b?))
    };
    let [shoulders, hips, feet] = [[5, 6], [11, 12], [15, 16]].map(middle);
    let (shoulders, hips, feet) = (shoulders?, hips?, feet?);
    let ratio = feet.distance(hips) / hips.distance(shoulders);
    let is_upright = (UPRIGHT_RATIO[0]..=UPRIGHT_RATIO[1]).contains(&ratio);
    is_upright.then_some([feet, shoulders])
}
