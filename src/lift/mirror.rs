//! Flip test-time augmentation: a second inference on the mirrored input.
//!
//! ```text
//!  input ─▶ mirrored ─▶ backbone ─▶ head ─▶ mirrored back ─┐
//!  input ─────────────▶ backbone ─▶ head ──────────────────┴─▶ how the two differ
//! ```
//!
//! What the networks get wrong has a side, people have none: of two poses made of the same keypoints, one of
//! them left for right, the mean is better than either (as in `VideoPose3D`, Pavllo et al. 2019).
//! It costs one more run of the backbone.

use glam::Vec3;

use super::Backbone;
use super::head::Head;
use super::input::{CHANNELS, LIFT_INPUT};
use crate::base::limits::LIFT_FEATURES;
use crate::skeleton::{JOINT_MIRROR, JOINTS, KEYPOINT_MIRROR, KEYPOINTS};

/// Runs the second inference. Holds the buffer that it needs.
#[derive(Debug)]
pub struct Mirror {
    input: Box<[f32; LIFT_INPUT]>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            input: Box::new([0.0; LIFT_INPUT]),
        }
    }
}

/// The result of a mirrored inference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mirrored {
    /// From where the head has each joint to where the mirror shows it, rotated frame, metres.
    pub apart_m: [Vec3; JOINTS],
    /// Standard deviation of each joint per axis, by the mirrored inference alone, metres.
    pub sigmas_m: [f32; JOINTS],
}

impl Mirror {
    /// Runs the mirrored `input`; the backbone made `features` of the input itself. Image features cannot be
    /// mirrored, so `head` is applied without them in both inferences. `None` if a number is not finite.
    ///
    /// # Errors
    ///
    /// The engine's own. The first inference is lost with it: a failing engine is counted and replaced by another as
    /// soon as possible, not worked around.
    pub fn infer<B: Backbone>(
        &mut self,
        input: &[f32; LIFT_INPUT],
        features: &[f32; LIFT_FEATURES],
        backbone: &mut B,
        head: &Head,
    ) -> Result<Option<Mirrored>, B::Error> {
        mirror(input, &mut self.input);
        let mut other = [0.0; LIFT_FEATURES];
        backbone.run_into(&self.input, &mut other)?;
        let inferences = head
            .apply(Some(&other), None)
            .zip(head.apply(Some(features), None));
        Ok(inferences.map(|(other, own)| Mirrored {
            apart_m: std::array::from_fn(|joint| {
                let Vec3 { x, y, z } = other.joints_m[JOINT_MIRROR[joint]];
                Vec3::new(-x, y, z) - own.joints_m[joint]
            }),
            sigmas_m: JOINT_MIRROR.map(|joint| other.sigmas_m[joint]),
        }))
    }
}

/// The input as if left and right were exchanged.
fn mirror(input: &[f32; LIFT_INPUT], mirrored: &mut [f32; LIFT_INPUT]) {
    let sample = KEYPOINTS * CHANNELS;
    for (from, to) in input
        .chunks_exact(sample)
        .zip(mirrored.chunks_exact_mut(sample))
    {
        for (keypoint, to) in KEYPOINT_MIRROR.iter().zip(to.chunks_exact_mut(CHANNELS)) {
            to.copy_from_slice(&from[CHANNELS * keypoint..][..CHANNELS]);
            to[0] = -to[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::head::tests::{file_of, random_tensors};

    /// Features that are numbers of the input's newest sample.
    #[expect(clippy::unnecessary_wraps, reason = "what a backbone gives")]
    fn newest(input: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]) -> Result<(), ()> {
        let sample = KEYPOINTS * CHANNELS;
        features[..sample].copy_from_slice(&input[LIFT_INPUT - sample..]);
        Ok(())
    }

    fn input(rng: &mut fastrand::Rng) -> Box<[f32; LIFT_INPUT]> {
        let mut input = Box::new([0.0; LIFT_INPUT]);
        input.fill_with(|| rng.f32() - 0.5);
        input
    }

    #[test]
    fn twice_through_the_mirror_is_the_same_and_once_changes_sides() {
        let input = input(&mut fastrand::Rng::with_seed(3));
        let (mut once, mut twice) = (Box::new([0.0; LIFT_INPUT]), Box::new([0.0; LIFT_INPUT]));
        mirror(&input, &mut once);
        mirror(&once, &mut twice);
        assert_eq!(input, twice);
        // Sample 2: the left wrist, 9, is where the right one, 10, was, on the other side.
        let of = |tensor: &[f32; LIFT_INPUT], keypoint: usize| {
            let at = (2 * KEYPOINTS + keypoint) * CHANNELS;
            tensor[at..][..CHANNELS].to_vec()
        };
        let right = of(&input, 10);
        assert_eq!(
            of(&once, 9),
            [-right[0], right[1], right[2], right[3]].to_vec()
        );
    }

    #[test]
    fn the_mirrored_inference_is_that_at_the_mirrored_person_turned_back() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let input = input(&mut fastrand::Rng::with_seed(4));
        let mut other = Box::new([0.0; LIFT_INPUT]);
        mirror(&input, &mut other);
        let [own, other] = [&input, &other].map(|input| {
            let mut features = [0.0; LIFT_FEATURES];
            newest(input, &mut features).unwrap();
            (features, head.apply(Some(&features), None).unwrap())
        });
        let mut glass = Mirror::default();
        let seen = glass.infer(&input, &own.0, &mut newest, &head);
        let seen = seen.unwrap().unwrap();
        for (joint, opposite) in JOINT_MIRROR.into_iter().enumerate() {
            let at = own.1.joints_m[joint] + seen.apart_m[joint];
            let want = other.1.joints_m[opposite] * Vec3::new(-1.0, 1.0, 1.0);
            assert!((at - want).length() < 1e-6, "{joint}: {at}, want {want}");
            let sigma = other.1.sigmas_m[opposite];
            assert!((seen.sigmas_m[joint] - sigma).abs() < 1e-6);
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_no_inference_and_errors_are_the_engines() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let (input, own) = (Box::new([0.0; LIFT_INPUT]), [0.0; LIFT_FEATURES]);
        let mut glass = Mirror::default();
        let mut nan = |_: &[f32; LIFT_INPUT], features: &mut [f32; LIFT_FEATURES]| {
            features.fill(f32::NAN);
            Ok::<(), u8>(())
        };
        assert_eq!(glass.infer(&input, &own, &mut nan, &head), Ok(None));
        let mut broken = |_: &[f32; LIFT_INPUT], _: &mut [f32; LIFT_FEATURES]| Err(7_u8);
        assert_eq!(glass.infer(&input, &own, &mut broken, &head), Err(7));
    }
}
