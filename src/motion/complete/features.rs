//! The network's input of a step, and what of it is remembered (COMPLETION.md, "The network").

use glam::{Mat3, Vec2, Vec3};

use super::file::{Constants, OWN};
use super::{CompletionMemory, Frame, Step};
use crate::skeleton::{JOINTS, SHARED};

/// Added to ln sigma, so that it lies near zero.
const SIGMA_SHIFT: f32 = 3.0;

/// Most that a ray is taken to be missed by, for each axis, metres.
const MISS_MAX_M: f32 = 0.2;

/// Metres times these are of order one: misses of rays, the mirrored against the first inference, what refinement and
/// filter changed.
const MISS_GAIN: f32 = 5.0;
const APART_GAIN: f32 = 3.0;
const CHANGE_GAIN: f32 = 5.0;

/// Shortest spine or hip line that still gives a direction, metres.
const AXIS_MIN_M: f32 = 1e-3;

/// Smallest summed square spread of joints that gives a scale, square metres.
const SPREAD_MIN: f32 = 1e-4;

/// Keypoints of shoulders and hips: their movement in the image is the body's.
const TORSO: [usize; 4] = [5, 6, 11, 12];

/// The body's axes of a pose, rows left, up, forward; `None` if they have no direction.
fn body_axes(joints: &[Vec3; JOINTS]) -> Option<Mat3> {
    let up = joints[8] - joints[0];
    if up.length() < AXIS_MIN_M {
        return None;
    }
    let up = up.normalize();
    let left = joints[4] - joints[1];
    let left = left - left.dot(up) * up;
    if left.length() < AXIS_MIN_M {
        return None;
    }
    let left = left.normalize();
    Some(Mat3::from_cols(left, up, left.cross(up)).transpose())
}

/// A step's input of the network; brings the memory up to the step.
pub(super) fn features(
    constants: &Constants,
    memory: &mut CompletionMemory,
    frame: &Frame,
    out: &mut [f32],
) {
    let step = &frame.step;
    if let Some(axes) = body_axes(&step.joints) {
        memory.axes = axes;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most four seconds of steps")]
    let share = |away: u32| away as f32 / constants.away_steps as f32;
    for joint in 0..JOINTS {
        let place = memory.axes * step.joints[joint];
        if step.seen[joint] {
            memory.away[joint] = 0;
            memory.hold[joint] = place;
        } else {
            memory.away[joint] = memory.away[joint]
                .saturating_add(1)
                .min(constants.away_steps);
        }
        if joint > 0 {
            let at = 3 * (joint - 1);
            out[at..at + 3].copy_from_slice(&place.to_array());
            out[48 + at..48 + at + 3].copy_from_slice(&memory.hold[joint].to_array());
        }
        out[96 + joint] = step.sigmas[joint].ln() + SIGMA_SHIFT;
        out[113 + joint] = if step.seen[joint] { 1.0 } else { 0.0 };
        out[130 + joint] = share(memory.away[joint]);
    }
    let rows = memory.axes.transpose();
    for axis in 0..3 {
        out[147 + 3 * axis..][..3].copy_from_slice(&rows.col(axis).to_array());
    }
    if let Some(scale) = rays_per_m(step) {
        memory.scale = scale;
    }
    let moved = memory.last.filter(|_| memory.scale > 0.0).map_or(
        Vec2::ZERO,
        |Frame { step: last, .. }| {
            let both = || {
                TORSO
                    .into_iter()
                    .filter(|k| step.rays[*k].is_present() && last.rays[*k].is_present())
            };
            let sum: Vec2 = both().map(|k| step.rays[k].ray - last.rays[k].ray).sum();
            #[expect(clippy::cast_precision_loss, reason = "at most four keypoints")]
            let count = both().count() as f32;
            if count == 0.0 {
                return Vec2::ZERO;
            }
            let most = Vec2::splat(constants.move_max_m);
            (sum / (count * memory.scale)).clamp(-most, most)
        },
    );
    memory.drift = constants.leak * memory.drift + moved;
    out[156..158].copy_from_slice(&memory.drift.to_array());
    out[158..160].copy_from_slice(&(10.0 * moved).to_array());
    came_to_be(memory.axes, frame, &mut out[OWN..]);
}

/// The part of a step's input that says what rays are missed by and how the pose came to be.
fn came_to_be(axes: Mat3, frame: &Frame, out: &mut [f32]) {
    let Frame { step, root, stages } = frame;
    let mut numbers = out.iter_mut();
    let mut put = |new: &[f32]| {
        for (number, to) in new.iter().zip(numbers.by_ref()) {
            *to = *number;
        }
    };
    for (joint, keypoint) in SHARED {
        let (at, seen) = (step.joints[joint] + root, &step.rays[keypoint]);
        let most = Vec2::splat(MISS_MAX_M);
        let miss = if seen.is_present() {
            (seen.ray * at.z - at.truncate()).clamp(-most, most)
        } else {
            Vec2::ZERO
        };
        put(&(MISS_GAIN * (axes * miss.extend(0.0))).to_array());
    }
    for seen in &step.rays {
        put(&[if seen.is_present() {
            seen.visibility
        } else {
            0.0
        }]);
    }
    let mut put_limbs = |of: &dyn Fn(usize) -> Vec3| {
        for joint in 1..JOINTS {
            put(&(axes * of(joint)).to_array());
        }
    };
    put_limbs(&|joint| APART_GAIN * stages.apart_m[joint]);
    put_limbs(&|joint| CHANGE_GAIN * (stages.unsmoothed_m[joint] - step.joints[joint]));
    put_limbs(&|joint| CHANGE_GAIN * (stages.unrefined_m[joint] - stages.unsmoothed_m[joint]));
    put(&[if stages.picture { 1.0 } else { 0.0 }]);
}

/// Rays a metre: the spread of the keypoints against that of the joints they show.
fn rays_per_m(step: &Step) -> Option<f32> {
    let shown = || {
        SHARED
            .into_iter()
            .filter(|(_, keypoint)| step.rays[*keypoint].is_present())
            .map(|(joint, keypoint)| (step.rays[keypoint].ray, step.joints[joint].truncate()))
    };
    #[expect(clippy::cast_precision_loss, reason = "at most twelve keypoints")]
    let count = shown().count() as f32;
    if count < 2.0 {
        return None;
    }
    let (rays, joints) = shown().fold((Vec2::ZERO, Vec2::ZERO), |sum, pair| {
        (sum.0 + pair.0, sum.1 + pair.1)
    });
    let (rays, joints) = (rays / count, joints / count);
    let (of_rays, of_joints) = shown().fold((0.0, 0.0), |sum, pair| {
        (
            sum.0 + (pair.0 - rays).length_squared(),
            sum.1 + (pair.1 - joints).length_squared(),
        )
    });
    (of_joints > SPREAD_MIN && of_rays > 0.0).then(|| (of_rays / of_joints).sqrt())
}
