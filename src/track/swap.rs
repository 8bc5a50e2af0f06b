//! Left/right swaps: when a detector calls a left limb right for a few frames.
//!
//! Networks that see one frame at a time swap the legs of a person seen from the
//! side, or the whole person when the back is turned. Within a few frames a real
//! limb cannot jump to where its twin was, so where swapped labels fit the
//! expected places clearly better than those given, they are swapped back. If
//! the detector insists for longer than the hold time it is believed: then the
//! earlier labels were the wrong ones, or the person has turned.

use glam::Vec2;

use super::motion::{Expected, Motion, seconds};
use crate::base::clock::MonoNs;
use crate::pose::Keypoint;
use crate::skeleton::KEYPOINTS;

/// Left and right keypoint of each pair.
const PAIRS: [(usize, usize); 8] = [
    (1, 2),
    (3, 4),
    (5, 6),
    (7, 8),
    (9, 10),
    (11, 12),
    (13, 14),
    (15, 16),
];

/// Pairs that share one hold time: face, arms, legs.
const GROUPS: [&[usize]; 3] = [&[0, 1], &[2, 3, 4], &[5, 6, 7]];

/// Sets of pairs that may swap together, besides the whole person: the face,
/// both arms with or without the shoulders, both legs with or without the hips,
/// ankles alone.
const LIMBS: [&[usize]; 6] = [&[0, 1], &[2, 3, 4], &[3, 4], &[5, 6, 7], &[6, 7], &[7]];

/// Swapped labels must leave less than this share of the squared distance.
const CLEARLY: f32 = 0.3;

/// And take away at least this distance (root mean square), in box sizes.
const LEAST: f32 = 0.06;

/// Distances count up to this, in box sizes: one lost keypoint must not decide.
const CAP: f32 = 0.5;

/// Expectations older than this say nothing of left and right, seconds: at 10 frames
/// a second a fast limb is by chance where its twin was expected.
const FRESH_S: f32 = 0.08;

/// Squared distances of one pair, as labelled and swapped; in squared box sizes.
#[derive(Clone, Copy, Default)]
struct PairCost {
    keep: f32,
    swap: f32,
    keypoints: f32,
}

/// Undoes short swaps of one person.
#[derive(Clone, Debug, Default)]
pub struct SwapGuard {
    /// Since when the labels of each group are being swapped back.
    since: [Option<MonoNs>; GROUPS.len()],
}

impl SwapGuard {
    /// Swaps back in `keypoints` what is clearly swapped, and forgets in `motion`
    /// what the detector insists on. Returns whether anything was swapped back.
    pub fn undo(
        &mut self,
        time: MonoNs,
        hold_s: f32,
        motion: &mut Motion,
        box_px: f32,
        keypoints: &mut [Keypoint; KEYPOINTS],
    ) -> bool {
        let expected = motion.expect_at(time);
        let costs = PAIRS.map(|pair| pair_cost(pair, &expected, keypoints, box_px));
        let wanted = swapped_pairs(&costs);
        let mut swapped = false;
        for (since, pairs) in self.since.iter_mut().zip(GROUPS) {
            if !pairs.iter().any(|&pair| wanted[pair]) {
                *since = None;
                continue;
            }
            let began = *since.get_or_insert(time);
            for &pair in pairs.iter().filter(|&&pair| wanted[pair]) {
                let (left, right) = PAIRS[pair];
                if seconds(time, began) <= hold_s {
                    keypoints.swap(left, right);
                    swapped = true;
                } else {
                    motion.forget(left);
                    motion.forget(right);
                }
            }
            if seconds(time, began) > hold_s {
                *since = None;
            }
        }
        swapped
    }
}

/// Which pairs fit clearly better swapped: the whole person, or limb by limb.
fn swapped_pairs(costs: &[PairCost; PAIRS.len()]) -> [bool; PAIRS.len()] {
    let mut wanted = [false; PAIRS.len()];
    if clearly_swapped(costs.iter()) {
        // Of the whole person all but the pairs that fit as they are.
        for (wanted, cost) in wanted.iter_mut().zip(costs) {
            *wanted = cost.swap <= cost.keep;
        }
        return wanted;
    }
    for limb in LIMBS {
        if clearly_swapped(limb.iter().map(|&pair| &costs[pair])) {
            for &pair in limb {
                wanted[pair] = costs[pair].swap <= costs[pair].keep;
            }
        }
    }
    wanted
}

fn clearly_swapped<'a>(costs: impl Iterator<Item = &'a PairCost>) -> bool {
    let (mut keep, mut swap, mut keypoints) = (0.0, 0.0, 0.0);
    for cost in costs {
        keep += cost.keep;
        swap += cost.swap;
        keypoints += cost.keypoints;
    }
    keypoints >= 1.0 && swap < CLEARLY * keep && keep - swap > keypoints * LEAST * LEAST
}

fn pair_cost(
    (left, right): (usize, usize),
    expected: &[Option<Expected>; KEYPOINTS],
    keypoints: &[Keypoint; KEYPOINTS],
    box_px: f32,
) -> PairCost {
    let fresh = |joint: usize| expected[joint].filter(|expected| expected.age_s <= FRESH_S);
    let mut cost = PairCost::default();
    let (Some(expected_left), Some(expected_right)) = (fresh(left), fresh(right)) else {
        return cost;
    };
    for (joint, own, twin) in [
        (left, expected_left, expected_right),
        (right, expected_right, expected_left),
    ] {
        let seen = &keypoints[joint];
        if !seen.is_seen() {
            continue;
        }
        let seen_px = Vec2::new(seen.x_px, seen.y_px);
        let apart = |expected: Expected| {
            ((seen_px - expected.at_px) / box_px.max(1.0))
                .length_squared()
                .min(CAP * CAP)
        };
        cost.keep += apart(own);
        cost.swap += apart(twin);
        cost.keypoints += 1.0;
    }
    cost
}
