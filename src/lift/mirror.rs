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
use super::head::{HIDDEN, Head, HeadOutput};
use super::input::{CHANNELS, LIFT_INPUT};
use super::refine::MIRRORED;
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
    /// Its hidden layer before the rectifier, of the person left for right.
    pub hidden: [f32; HIDDEN],
    /// Its joints turned back, rotated frame, metres.
    pub joints_m: [Vec3; JOINTS],
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
        let Some(hidden) = head.hidden_of(&other, &[0.0; HIDDEN]) else {
            return Ok(None);
        };
        let inferences = head
            .output_of(&hidden)
            .zip(head.apply(Some(features), None));
        Ok(inferences.map(|(other, own)| {
            let joints_m = left_for_right(&other.joints_m);
            Mirrored {
                hidden,
                joints_m,
                apart_m: std::array::from_fn(|joint| joints_m[joint] - own.joints_m[joint]),
                sigmas_m: JOINT_MIRROR.map(|joint| other.sigmas_m[joint]),
            }
        }))
    }
}

impl Mirrored {
    /// Makes the mean of both inferences of the head's own. Returns what is in its joints beside the mean of both poses,
    /// half of what an image added to the head's own, rotated frame, metres.
    pub fn mix_into(&self, own: &mut HeadOutput) -> [Vec3; JOINTS] {
        let own_m = own.joints_m;
        for (joint, apart) in own.joints_m.iter_mut().zip(self.apart_m) {
            *joint += MIRRORED * apart;
        }
        for (sigma, mirrored) in own.sigmas_m.iter_mut().zip(self.sigmas_m) {
            *sigma += MIRRORED * (mirrored - *sigma);
        }
        std::array::from_fn(|joint| {
            own.joints_m[joint] - own_m[joint].lerp(self.joints_m[joint], MIRRORED)
        })
    }
}

/// Joints around the pelvis, or what is added to them, in the mirror of the rotated frame. Twice is the same again.
pub fn left_for_right(joints_m: &[Vec3; JOINTS]) -> [Vec3; JOINTS] {
    JOINT_MIRROR.map(|joint| joints_m[joint] * Vec3::new(-1.0, 1.0, 1.0))
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
    fn the_mean_of_both_keeps_half_of_what_an_image_added() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let input = input(&mut fastrand::Rng::with_seed(4));
        let mut features = [0.0; LIFT_FEATURES];
        newest(&input, &mut features).unwrap();
        let blind = head.apply(Some(&features), None).unwrap();
        let seen = Mirror::default().infer(&input, &features, &mut newest, &head);
        let seen = seen.unwrap().unwrap();
        let added = Vec3::new(0.0, 0.1, -0.02);
        let mut own = blind;
        own.joints_m = own.joints_m.map(|joint| joint + added);
        let beside_m = seen.mix_into(&mut own);
        for (joint, beside) in beside_m.into_iter().enumerate() {
            assert!((beside - MIRRORED * added).length() < 1e-6);
            let mean = 0.5 * (blind.joints_m[joint] + seen.joints_m[joint]);
            assert!((own.joints_m[joint] - mean - added).length() < 1e-5);
            let sigma = 0.5 * (blind.sigmas_m[joint] + seen.sigmas_m[joint]);
            assert!((own.sigmas_m[joint] - sigma).abs() < 1e-6);
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
