//! Who decides whether what was learned is used: evidence that no step has seen.
//!
//! | evidence | where from | says no when |
//! | --- | --- | --- |
//! | held-back synthetic views | clips that are never learned from | the error does not fall by [`GAIN_MIN`] |
//! | the factory on them | the same | it is already below [`EASY_M`]: nothing to gain here, so rest |
//! | bones of real frames held back | poses of one inference, before refinement | lengths waver more than the factory head's by [`BONES_MAX`] |
//! | distance from the factory head's poses on them | the same | farther than [`FAR_M`]: something is wrong |
//!
//! Reprojection is not among them: it falls while poses get worse, when the detector is wrong in the same
//! way all the time.

use glam::Vec3;

use super::train::{Sample, distance};
use crate::base::limits::LIFT_FEATURES;
use crate::lift::head::{HIDDEN, Head};
use crate::skeleton::{JOINTS, PARENTS};

/// Share of the factory error on held-back synthetic views that must be gone.
pub const GAIN_MIN: f32 = 0.05;

/// Where the factory error on synthetic views is below, metres, there is nothing to gain.
pub const EASY_M: f32 = 0.036;

/// Most that bones may waver, against the factory head's. Where learning helps they waver less, by an eighth; where the
/// poses that synthetic views are made of are too wrong to learn from, more (docs/lab/accuracy.md).
pub const BONES_MAX: f32 = 1.02;

/// Largest mean distance of a joint from the factory head's, metres: 10 to 15 mm where learning helps, 20 to 50 where
/// it does not.
pub const FAR_M: f32 = 0.018;

/// Synthetic views before there is a decision.
pub const VIEWS_MIN: usize = 48;

/// Real frames before there is a decision.
pub const FRAMES_MIN: usize = 24;

/// What the guard found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// Mean error of the factory head on held-back synthetic views, metres.
    pub factory_m: f32,
    /// The same of the candidate.
    pub candidate_m: f32,
    /// How much the candidate's bones waver, against the factory head's.
    pub bones: f32,
    /// Mean distance of a joint from the factory head's on real frames, metres.
    pub way_m: f32,
    /// What follows.
    pub verdict: Verdict,
}

/// What follows from the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The candidate is used.
    Keep,
    /// The factory head is used, because it is good enough here.
    Rest,
    /// The candidate is not used.
    Refuse,
}

impl Verdict {
    /// Its word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "kept",
            Self::Rest => "rest",
            Self::Refuse => "refused",
        }
    }
}

/// Features of a real frame, and what its image adds to the hidden layer.
pub type ShownFeatures<'a> = (&'a [f32; LIFT_FEATURES], &'a [f32; HIDDEN]);

/// Judges `candidate` by synthetic views and by features of real frames, both held back. `None` while there are too
/// few.
pub fn judge<'a>(
    factory: &Head,
    candidate: &Head,
    views: &[Sample],
    frames: impl Iterator<Item = ShownFeatures<'a>>,
) -> Option<Finding> {
    if views.len() < VIEWS_MIN {
        return None;
    }
    // Features that the factory head makes no finite pose of say nothing about the candidate, so they are left out.
    // A candidate that makes none where the factory head's does is refused.
    let (mut factory_m, mut candidate_m, mut count) = (0.0, 0.0, 0.0);
    for view in views {
        let shown = (&view.features, &view.image_part);
        let Some(before) = pose(factory, shown) else {
            continue;
        };
        let error = |joints_m| distance(&joints_m, &view.joints_m).0;
        factory_m += error(before);
        candidate_m += pose(candidate, shown).map_or(f32::INFINITY, error);
        count += 1.0;
    }
    let (mut ours, mut theirs) = (Wavering::default(), Wavering::default());
    let (mut way_m, mut frames_count) = (0.0, 0.0);
    for shown in frames {
        let Some(before) = pose(factory, shown) else {
            continue;
        };
        frames_count += 1.0;
        let Some(after) = pose(candidate, shown) else {
            way_m = f32::INFINITY;
            continue;
        };
        theirs.take(&before);
        ours.take(&after);
        way_m += distance(&after, &before).0;
    }
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let enough = count >= VIEWS_MIN as f32 && frames_count >= FRAMES_MIN as f32;
    if !enough {
        return None;
    }
    (factory_m, candidate_m) = (factory_m / count, candidate_m / count);
    let (bones, way_m) = (
        ours.share() / theirs.share().max(1e-6),
        way_m / frames_count,
    );
    let finite = [candidate_m, bones, way_m]
        .iter()
        .all(|figure| figure.is_finite());
    let verdict = if !finite {
        Verdict::Refuse
    } else if factory_m < EASY_M {
        Verdict::Rest
    } else if candidate_m <= (1.0 - GAIN_MIN) * factory_m && bones <= BONES_MAX && way_m <= FAR_M {
        Verdict::Keep
    } else {
        Verdict::Refuse
    };
    Some(Finding {
        factory_m,
        candidate_m,
        bones,
        way_m,
        verdict,
    })
}

/// The pose that a head makes of features, where all of it is finite.
fn pose(head: &Head, (features, image_part): ShownFeatures<'_>) -> Option<[Vec3; JOINTS]> {
    let joints_m = head.joints_of(&head.hidden_of(features, image_part)?);
    joints_m
        .iter()
        .all(|joint| joint.is_finite())
        .then_some(joints_m)
}

/// How much bone lengths waver over frames.
#[derive(Default)]
struct Wavering {
    count: f32,
    sums: [f32; JOINTS],
    squares: [f32; JOINTS],
}

impl Wavering {
    fn take(&mut self, joints_m: &[Vec3; JOINTS]) {
        self.count += 1.0;
        for joint in 1..JOINTS {
            let length = (joints_m[joint] - joints_m[PARENTS[joint]]).length();
            self.sums[joint] += length;
            self.squares[joint] += length * length;
        }
    }

    /// Mean over bones of standard deviation by mean.
    fn share(&self) -> f32 {
        let shares = (1..JOINTS).map(|joint| {
            let mean = self.sums[joint] / self.count;
            let variance = (self.squares[joint] / self.count - mean * mean).max(0.0);
            variance.sqrt() / mean.max(1e-3)
        });
        #[expect(clippy::cast_precision_loss, reason = "16")]
        let bones = (JOINTS - 1) as f32;
        shares.sum::<f32>() / bones
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::head::tests::{file_of, random_tensors};

    struct Case {
        factory: Head,
        views: Vec<Sample>,
        frames: Vec<[f32; LIFT_FEATURES]>,
    }

    impl Case {
        fn shown(&self) -> impl Iterator<Item = ShownFeatures<'_>> {
            self.frames
                .iter()
                .map(|features| (features, &[0.0; HIDDEN]))
        }
    }

    /// Synthetic views that the factory gets wrong by `error_m` along x.
    fn case(error_m: f32) -> Case {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut factory = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        // Bones that waver little.
        for bias in &mut factory.joints.bias {
            *bias *= 20.0;
        }
        let features = |rng: &mut fastrand::Rng| -> [f32; LIFT_FEATURES] {
            std::array::from_fn(|_| rng.f32() - 0.5)
        };
        let frames = (0..FRAMES_MIN).map(|_| features(&mut rng)).collect();
        let views = (0..VIEWS_MIN)
            .map(|_| {
                let features = features(&mut rng);
                let mut joints_m = factory.apply(Some(&features), None).unwrap().joints_m;
                for joint in &mut joints_m[1..] {
                    joint.x += error_m;
                }
                Sample {
                    features,
                    image_part: [0.0; HIDDEN],
                    joints_m,
                }
            })
            .collect();
        Case {
            factory,
            views,
            frames,
        }
    }

    /// The factory head, all joints but the pelvis moved along x.
    fn moved(factory: &Head, by_m: f32) -> Head {
        let mut head = factory.clone();
        for joint in 1..JOINTS {
            head.joints.bias[3 * joint] += by_m;
        }
        head
    }

    fn verdict(case: &Case, candidate: &Head) -> Verdict {
        judge(&case.factory, candidate, &case.views, case.shown())
            .unwrap()
            .verdict
    }

    #[test]
    fn what_helps_where_help_is_needed_is_kept() {
        let case = case(0.05);
        assert_eq!(verdict(&case, &moved(&case.factory, 0.015)), Verdict::Keep);
        assert_eq!(
            verdict(&case, &moved(&case.factory, -0.015)),
            Verdict::Refuse
        );
        assert_eq!(verdict(&case, &case.factory.clone()), Verdict::Refuse);
    }

    #[test]
    fn where_the_factory_is_good_it_stays() {
        let case = case(0.02);
        assert_eq!(verdict(&case, &moved(&case.factory, 0.02)), Verdict::Rest);
    }

    #[test]
    fn who_goes_far_from_the_factory_is_not_believed() {
        let case = case(0.2);
        assert_eq!(verdict(&case, &moved(&case.factory, 0.2)), Verdict::Refuse);
    }

    #[test]
    fn bones_that_waver_are_refused() {
        let case = case(0.05);
        let mut candidate = moved(&case.factory, 0.04);
        let mut rng = fastrand::Rng::with_seed(8);
        for weight in &mut candidate.joints.weight[3 * HIDDEN..] {
            *weight += 0.08 * (rng.f32() - 0.5);
        }
        let found = judge(&case.factory, &candidate, &case.views, case.shown()).unwrap();
        assert!(found.bones > BONES_MAX, "{found:?}");
        assert_eq!(found.verdict, Verdict::Refuse);
    }

    #[test]
    fn a_candidate_that_gives_numbers_that_are_not_finite_is_refused_wherever_they_stand() {
        // One the factory is good at, one where help is needed.
        for error_m in [0.02, 0.05] {
            let case = case(error_m);
            for broken in [f32::NAN, f32::INFINITY, f32::MAX] {
                let mut lift = moved(&case.factory, 0.015);
                lift.lift.weight[3] = broken;
                let mut joints = moved(&case.factory, 0.015);
                joints.joints.bias[7] = broken;
                let mut wide = moved(&case.factory, 0.015);
                wide.joints.weight.fill(broken);
                for candidate in [lift, joints, wide] {
                    assert_eq!(verdict(&case, &candidate), Verdict::Refuse, "{broken}");
                }
            }
        }
    }

    #[test]
    fn one_bad_frame_or_synthetic_view_does_not_stop_the_judgement() {
        let mut case = case(0.05);
        let candidate = moved(&case.factory, 0.015);
        let (mut view, mut frame) = (case.views[0].clone(), case.frames[0]);
        view.features[0] = f32::NAN;
        frame[0] = f32::INFINITY;
        case.views.insert(5, view);
        case.frames.insert(5, frame);
        assert_eq!(verdict(&case, &candidate), Verdict::Keep);
    }

    #[test]
    fn without_evidence_there_is_no_verdict() {
        let case = case(0.05);
        let none = judge(&case.factory, &case.factory, &case.views[1..], case.shown());
        assert_eq!(none, None);
        let few = case.shown().skip(1);
        assert_eq!(judge(&case.factory, &case.factory, &case.views, few), None);
    }

    #[test]
    fn a_finding_holds_mean_errors_the_mean_distance_and_the_ratio_of_the_bones() {
        let case = case(0.05);
        let mut candidate = moved(&case.factory, 0.015);
        let mut rng = fastrand::Rng::with_seed(9);
        for weight in &mut candidate.joints.weight[6 * HIDDEN..] {
            *weight += 0.002 * (rng.f32() - 0.5);
        }
        let found = judge(&case.factory, &candidate, &case.views, case.shown()).unwrap();
        let pose_of = |head: &Head, features| head.apply(Some(features), None).unwrap().joints_m;
        let mean = |distances: &mut dyn Iterator<Item = f32>| {
            let (sum, count) = distances.fold((0.0, 0.0), |(sum, n), d| (sum + d, n + 1.0));
            sum / count
        };
        let apart = |a: &[Vec3; JOINTS], b: &[Vec3; JOINTS]| {
            mean(&mut std::iter::zip(a, b).map(|(a, b)| a.distance(*b)))
        };
        let error = |head: &Head| {
            let errors = case.views.iter();
            mean(&mut errors.map(|view| apart(&pose_of(head, &view.features), &view.joints_m)))
        };
        let way_m = mean(&mut case.frames.iter().map(|features| {
            apart(
                &pose_of(&candidate, features),
                &pose_of(&case.factory, features),
            )
        }));
        // Standard deviation by mean of each bone in two passes, and the mean of these.
        let wavers = |head: &Head| {
            let poses: Vec<_> = case.frames.iter().map(|f| pose_of(head, f)).collect();
            let share = |joint: usize| {
                let bone = |pose: &[Vec3; JOINTS]| pose[joint].distance(pose[PARENTS[joint]]);
                let usual = mean(&mut poses.iter().map(bone));
                let square = mean(&mut poses.iter().map(|pose| (bone(pose) - usual).powi(2)));
                square.sqrt() / usual
            };
            mean(&mut (1..JOINTS).map(share))
        };
        let near = |got: f32, want: f32| assert!((got / want - 1.0).abs() < 1e-3, "{got} {want}");
        near(found.factory_m, 0.05 * 16.0 / 17.0);
        near(found.factory_m, error(&case.factory));
        near(found.candidate_m, error(&candidate));
        near(found.way_m, way_m);
        near(found.bones, wavers(&candidate) / wavers(&case.factory));
        assert!((found.bones - 1.0).abs() > 0.002, "{found:?}");
    }

    #[test]
    fn bones_that_do_not_waver_have_no_share_and_those_of_one_and_three_have_half() {
        let stretched = |length_m: f32| {
            let mut joints_m = [Vec3::ZERO; JOINTS];
            for joint in 1..JOINTS {
                joints_m[joint] = joints_m[PARENTS[joint]] + length_m * Vec3::Y;
            }
            joints_m
        };
        let (mut still, mut both) = (Wavering::default(), Wavering::default());
        for length_m in [1.0, 3.0] {
            still.take(&stretched(2.0));
            both.take(&stretched(length_m));
        }
        assert!(still.share().abs() < 1e-3, "{}", still.share());
        assert!((both.share() - 0.5).abs() < 1e-4, "{}", both.share());
    }

    #[test]
    fn evidence_that_the_factory_head_makes_nothing_of_does_not_count() {
        let candidate = |case: &Case| moved(&case.factory, 0.015);
        let judged = |case: &Case| {
            judge(&case.factory, &candidate(case), &case.views, case.shown()).is_some()
        };
        let mut views = case(0.05);
        assert!(judged(&views));
        views.views[7].features[0] = f32::NAN;
        assert!(!judged(&views));
        let mut frames = case(0.05);
        frames.frames[7][0] = f32::INFINITY;
        assert!(!judged(&frames));
    }

    #[test]
    fn each_verdict_has_its_word() {
        let words = [Verdict::Keep, Verdict::Rest, Verdict::Refuse].map(Verdict::name);
        assert_eq!(words, ["kept", "rest", "refused"]);
    }
}
