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

/// The same of shoulders and hips, which change places only when the person turns round: that takes longer.
const TRUNK_FRESH_S: f32 = 0.25;

/// Left keypoints of the pairs of the trunk.
const TRUNK: [usize; 2] = [5, 11];

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
    let fresh_s = if TRUNK.contains(&left) {
        TRUNK_FRESH_S
    } else {
        FRESH_S
    };
    let fresh = |joint: usize| expected[joint].filter(|expected| expected.age_s <= fresh_s);
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

#[cfg(test)]
mod tests {
    use super::super::tests::standing;
    use super::*;
    use crate::skeleton::KEYPOINT_MIRROR;

    /// Where both ankles are expected: 10 pixels apart.
    fn ankles(age_s: f32) -> [Option<Expected>; KEYPOINTS] {
        let mut expected = [None; KEYPOINTS];
        for (joint, x) in [(15, 0.0), (16, 10.0)] {
            expected[joint] = Some(Expected {
                at_px: Vec2::new(x, 0.0),
                age_s,
            });
        }
        expected
    }

    /// At 10 frames a second limbs may be anywhere, but a person has not turned round.
    #[test]
    fn a_trunk_is_remembered_for_longer_than_limbs() {
        let mut expected = [None; KEYPOINTS];
        let mut keypoints = [Keypoint::default(); KEYPOINTS];
        for (joint, x, seen_x) in [
            (11, 0.0, 10.0),
            (12, 10.0, 0.0),
            (15, 0.0, 10.0),
            (16, 10.0, 0.0),
        ] {
            expected[joint] = Some(Expected {
                at_px: Vec2::new(x, 0.0),
                age_s: 0.1,
            });
            keypoints[joint] = Keypoint::new(seen_x, 0.0, 0.9);
        }
        let costs = PAIRS.map(|pair| pair_cost(pair, &expected, &keypoints, 20.0));
        assert!((costs[5].keep - 0.5).abs() < 1e-6 && costs[5].swap.abs() < 1e-6);
        assert!(
            costs[7].keypoints.abs() < 1e-6,
            "nothing is known of ankles"
        );
        let wanted = swapped_pairs(&costs);
        assert!(wanted[5] && wanted[7], "the whole person is swapped back");
    }

    #[test]
    fn costs_are_squared_distances_in_box_sizes_up_to_the_cap() {
        let mut keypoints = [Keypoint::default(); KEYPOINTS];
        for (joint, x_px) in [(15, 10.0), (16, 4.0)] {
            keypoints[joint] = Keypoint::new(x_px, 0.0, 0.9);
        }
        let cost = |age_s: f32, keypoints: &[Keypoint; KEYPOINTS], box_px: f32| {
            let cost = pair_cost((15, 16), &ankles(age_s), keypoints, box_px);
            [cost.keep, cost.swap, cost.keypoints]
        };
        let near = |got: [f32; 3], want: [f32; 3]| {
            let mut off = std::iter::zip(got, want).map(|(got, want)| (got - want).abs());
            assert!(off.all(|off| off < 1e-5), "{got:?}, want {want:?}");
        };
        // The left ankle is 10 pixels off and on its twin's place, the right one 6 off and 4.
        near(cost(0.08, &keypoints, 100.0), [0.0136, 0.0016, 2.0]);
        // In a box of 16 pixels only the 10 pixels are more than half of it; in none a pixel is one.
        near(
            cost(0.08, &keypoints, 16.0),
            [0.25 + 0.140_625, 0.0625, 2.0],
        );
        near(cost(0.08, &keypoints, 0.0), [0.5, 0.25, 2.0]);
        near(cost(0.081, &keypoints, 100.0), [0.0; 3]);
        keypoints[16].visibility = 0.1;
        near(cost(0.08, &keypoints, 100.0), [0.01, 0.0, 1.0]);
    }

    #[test]
    fn labels_are_swapped_where_it_is_clear_for_the_person_or_else_for_a_limb() {
        let cost = |keep: f32, swap: f32| PairCost {
            keep,
            swap,
            keypoints: 2.0,
        };
        let clear = |keep, swap| clearly_swapped([cost(keep, swap), cost(keep, swap)].iter());
        // Less than 0.3 is left, and of four keypoints more than 4 * 0.06² is gone.
        assert!(clear(0.5, 0.149) && !clear(0.5, 0.151));
        assert!(clear(0.0073, 0.0) && !clear(0.0071, 0.0));
        assert!(!clearly_swapped([PairCost::default()].iter()));

        // The whole person: all but the pair that fits as it is, and those of which nothing is known too.
        let mut costs = [cost(0.2, 0.0); PAIRS.len()];
        costs[5] = cost(0.001, 0.002);
        costs[0] = PairCost::default();
        let mut want = [true; PAIRS.len()];
        want[5] = false;
        assert_eq!(swapped_pairs(&costs), want);

        // The lower legs, the ankles alone, and nothing at all.
        for swapped in [&[6, 7][..], &[7], &[]] {
            let mut costs = [cost(0.001, 0.2); PAIRS.len()];
            let mut want = [false; PAIRS.len()];
            for &pair in swapped {
                costs[pair] = cost(0.2, 0.001);
                want[pair] = true;
            }
            assert_eq!(swapped_pairs(&costs), want, "{swapped:?}");
        }
    }

    /// Shows a person in frames of a sixteenth of a second; says for each whether left wrist and left ankle came out
    /// at their places, where `swapped` names the keypoints that come swapped.
    fn shown(hold_s: f32, frames: &[&[usize]]) -> Vec<(bool, bool)> {
        let person = standing(300.0, 300.0);
        let box_px = person.bounds.area().sqrt();
        let (mut guard, mut motion) = (SwapGuard::default(), Motion::default());
        let mut time = MonoNs(1_000_000_000);
        let mut outcome = Vec::new();
        for swapped in frames {
            let mut keypoints = person.keypoints;
            for &joint in *swapped {
                keypoints.swap(joint, KEYPOINT_MIRROR[joint]);
            }
            let before = keypoints;
            let undone = guard.undo(time, hold_s, &mut motion, box_px, &mut keypoints);
            assert_eq!(undone, keypoints != before, "{}", outcome.len());
            motion.observe(time, &keypoints);
            outcome.push((
                keypoints[9] == person.keypoints[9],
                keypoints[15] == person.keypoints[15],
            ));
            time = MonoNs(time.0 + 62_500_000);
        }
        outcome
    }

    #[test]
    fn arms_and_legs_are_each_swapped_back_for_the_hold_time_and_then_believed() {
        let (arms, both) = (&[5, 7, 9][..], &[5, 7, 9, 11, 13, 15][..]);
        let outcome = shown(0.125, &[&[], &[], arms, both, both, both, both, both, both]);
        let [wrists, ankles] = [|o: &(bool, bool)| o.0, |o: &(bool, bool)| o.1]
            .map(|part| outcome.iter().map(part).collect::<Vec<_>>());
        // Three frames each lie within an eighth of a second.
        let held = |first: usize| {
            (0..outcome.len())
                .map(|number| number < first + 3)
                .collect::<Vec<_>>()
        };
        assert_eq!(wrists, held(2));
        assert_eq!(ankles, held(3));
    }

    #[test]
    fn a_frame_with_the_right_labels_starts_the_hold_time_again() {
        let arms = &[5, 7, 9][..];
        let outcome = shown(0.0625, &[&[], &[], arms, &[], arms, arms, arms, arms]);
        let wrists: Vec<bool> = outcome.iter().map(|outcome| outcome.0).collect();
        assert_eq!(wrists, [true, true, true, true, true, true, false, false]);
    }
}
