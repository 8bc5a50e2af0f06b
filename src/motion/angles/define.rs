//! The closed form of each angle.
//!
//! Flexion and abduction are read in a frame of the body: y along the trunk (or against gravity), z from the left to
//! the right hip or shoulder made square to y, x forward: x = y × z, as the ISB has its axes.

use glam::DVec3;

use super::ANGLES;
use crate::skeleton::JOINTS;

const PELVIS: usize = 0;
const THORAX: usize = 8;
const HEAD: usize = 10;
/// Hip, knee and ankle; shoulder, elbow and wrist: left, then right.
const LEGS: [[usize; 3]; 2] = [[4, 5, 6], [1, 2, 3]];
const ARMS: [[usize; 3]; 2] = [[11, 12, 13], [14, 15, 16]];

/// A direction has no angle about an axis that it nearly lies along. It must keep this share of its length beside the
/// axis: a quarter, as within 15 degrees of the axis errors count four times and more.
const BESIDE_MIN: f64 = 0.25;

/// A vector is no direction below this length, metres: a hundredth of the shortest bone.
const LENGTH_MIN_M: f64 = 1e-3;

/// Knees bend one way. Below the first angle the axis of the hips gives the sign, so that the error of a straight leg,
/// three times ten degrees, has no bias; above the second it bends backwards for certain, whichever way the thigh is
/// rotated, and no knee extends so far beyond straight. Degrees; smooth between them.
const KNEE_SIGNED_DEG: [f64; 2] = [30.0, 50.0];

/// A bend whose direction has a larger variance, radians squared, is unknown: 45 degrees of standard deviation read as
/// straight whatever is bent by less than 67.
const BEND_VARIANCE_MAX: f64 = 0.617;

/// How gradually a bend goes to 0 where its errors explain all of it, as a share of their variance. With this one a nearly
/// straight angle moves at most 1.5 times as far as the joints do (with half of it 2.0 times, with none without bound), and
/// a straight arm reads 0.64 sigma on the mean (0.46 with none).
const BEND_SOFTNESS: f64 = 0.25;

/// Joints of a body in any right-handed frame, metres.
pub(super) struct Body {
    pub joints: [DVec3; JOINTS],
    /// Against gravity, of any length.
    pub up: Option<DVec3>,
}

/// What an angle is made of.
pub(super) struct Definition {
    /// Joints it depends on.
    pub needs: &'static [usize],
    /// Degrees range from here to a full turn above, so that the jump is in the middle of what no body can do, and not
    /// at 180 degrees, where an arm overhead is.
    pub lowest_deg: f64,
    pub form: Form,
}

/// How an angle is computed.
pub(super) enum Form {
    /// Radians, if it is defined.
    Signed(fn(&Body) -> Option<f64>),
    /// The bend of a chain of three joints, whose sign cannot be known.
    Bend([usize; 3]),
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Of each angle, in the order of [`super::ANGLE_NAMES`].
pub(super) static DEFINITIONS: [Definition; ANGLES] = [
    signed(&[0, 8, 1, 4, 5], -120.0, |b| hip_flexion(b, LEFT)),
    signed(&[0, 8, 1, 4, 2], -120.0, |b| hip_flexion(b, RIGHT)),
    signed(&[0, 8, 1, 4, 5], -180.0, |b| hip_abduction(b, LEFT)),
    signed(&[0, 8, 1, 4, 2], -180.0, |b| hip_abduction(b, RIGHT)),
    signed(&[0, 8, 1, 4, 5, 6], -120.0, |b| knee_flexion(b, LEFT)),
    signed(&[0, 8, 1, 4, 2, 3], -120.0, |b| knee_flexion(b, RIGHT)),
    signed(&[0, 8, 11, 14, 12], -115.0, |b| shoulder_flexion(b, LEFT)),
    signed(&[0, 8, 11, 14, 15], -115.0, |b| shoulder_flexion(b, RIGHT)),
    signed(&[0, 8, 11, 14, 12], -105.0, |b| shoulder_abduction(b, LEFT)),
    signed(&[0, 8, 11, 14, 15], -105.0, |b| {
        shoulder_abduction(b, RIGHT)
    }),
    bent(&[11, 12, 13], ARMS[LEFT]),
    bent(&[14, 15, 16], ARMS[RIGHT]),
    signed(&[0, 8, 1, 4, 11, 14], -150.0, trunk_flexion),
    signed(&[0, 8, 1, 4, 11, 14], -180.0, trunk_lateral_lean),
    signed(&[0, 8, 10, 11, 14], -150.0, neck_flexion),
];

const fn signed(
    needs: &'static [usize],
    lowest_deg: f64,
    form: fn(&Body) -> Option<f64>,
) -> Definition {
    Definition {
        needs,
        lowest_deg,
        form: Form::Signed(form),
    }
}

const fn bent(needs: &'static [usize], chain: [usize; 3]) -> Definition {
    Definition {
        needs,
        lowest_deg: -90.0,
        form: Form::Bend(chain),
    }
}

/// Right-handed axes of a part of the body: x forward, y up along it, z to the right.
struct Axes {
    x: DVec3,
    y: DVec3,
    z: DVec3,
}

impl Axes {
    fn of(along: DVec3, left_to_right: DVec3) -> Option<Self> {
        let y = direction(along)?;
        let z = square(direction(left_to_right)?, y)?;
        Some(Self {
            x: y.cross(z),
            y,
            z,
        })
    }

    /// Components of a vector, the last of them away from the body's middle on that side.
    fn outward(&self, of: DVec3, side: usize) -> DVec3 {
        let z = of.dot(self.z);
        let out = if side == LEFT { -z } else { z };
        DVec3::new(of.dot(self.x), of.dot(self.y), out)
    }
}

fn direction(of: DVec3) -> Option<DVec3> {
    let length = of.length();
    (length >= LENGTH_MIN_M).then(|| of / length)
}

/// The direction of `of` beside the unit vector `axis`, where enough of it is.
fn square(of: DVec3, axis: DVec3) -> Option<DVec3> {
    let beside = of - of.dot(axis) * axis;
    let length = beside.length();
    (length >= BESIDE_MIN * of.length()).then(|| beside / length)
}

/// The angle of a unit vector's components `(sin, cos)` about the third axis, where enough of it is beside that.
fn about((sin, cos): (f64, f64)) -> Option<f64> {
    (sin.hypot(cos) >= BESIDE_MIN).then(|| sin.atan2(cos))
}

fn pelvis(body: &Body) -> Option<Axes> {
    let joints = &body.joints;
    Axes::of(
        joints[THORAX] - joints[PELVIS],
        joints[LEGS[RIGHT][0]] - joints[LEGS[LEFT][0]],
    )
}

fn shoulders(body: &Body) -> Option<Axes> {
    let joints = &body.joints;
    Axes::of(
        joints[THORAX] - joints[PELVIS],
        joints[ARMS[RIGHT][0]] - joints[ARMS[LEFT][0]],
    )
}

/// Axes that stand upright and turn with the body.
fn upright(body: &Body) -> Option<Axes> {
    let joints = &body.joints;
    let hips = joints[LEGS[RIGHT][0]] - joints[LEGS[LEFT][0]];
    let shoulders = joints[ARMS[RIGHT][0]] - joints[ARMS[LEFT][0]];
    Axes::of(body.up?, hips + shoulders)
}

fn bone(body: &Body, from: usize, to: usize) -> Option<DVec3> {
    direction(body.joints[to] - body.joints[from])
}

/// Of the thigh, against the trunk continued downwards: forward is positive.
fn hip_flexion(body: &Body, side: usize) -> Option<f64> {
    let [hip, knee, _] = LEGS[side];
    let thigh = pelvis(body)?.outward(bone(body, hip, knee)?, side);
    about((thigh.x, -thigh.y))
}

/// Of the thigh out of the sagittal plane: away from the other leg is positive.
fn hip_abduction(body: &Body, side: usize) -> Option<f64> {
    let [hip, knee, _] = LEGS[side];
    let thigh = pelvis(body)?.outward(bone(body, hip, knee)?, side);
    Some(thigh.z.atan2(thigh.x.hypot(thigh.y)))
}

/// Of the shank against the thigh, about the hips' axis turned with the thigh: backward is positive.
fn knee_flexion(body: &Body, side: usize) -> Option<f64> {
    let [hip, knee, ankle] = LEGS[side];
    let (thigh, shank) = (bone(body, hip, knee)?, bone(body, knee, ankle)?);
    let along = shank.dot(thigh);
    let beside = (shank - along * thigh).length();
    let bend = beside.atan2(along);
    let [from, to] = KNEE_SIGNED_DEG.map(f64::to_radians);
    let share = ((bend - from) / (to - from)).clamp(0.0, 1.0);
    if share >= 1.0 {
        return Some(bend);
    }
    let axis = square(pelvis(body)?.z, thigh)?;
    let forward = axis.cross(thigh);
    let share = share * share * (3.0 - 2.0 * share);
    let backward = (1.0 - share) * -shank.dot(forward) + share * beside;
    Some(backward.atan2(along))
}

/// Of the upper arm, against the trunk continued downwards: forward is positive, overhead is 180 degrees.
fn shoulder_flexion(body: &Body, side: usize) -> Option<f64> {
    let [shoulder, elbow, _] = ARMS[side];
    let arm = shoulders(body)?.outward(bone(body, shoulder, elbow)?, side);
    about((arm.x, -arm.y))
}

/// The same in the frontal plane: away from the body is positive, overhead is 180 degrees.
fn shoulder_abduction(body: &Body, side: usize) -> Option<f64> {
    let [shoulder, elbow, _] = ARMS[side];
    let arm = shoulders(body)?.outward(bone(body, shoulder, elbow)?, side);
    about((arm.z, -arm.y))
}

fn trunk_flexion(body: &Body) -> Option<f64> {
    let (axes, trunk) = (upright(body)?, bone(body, PELVIS, THORAX)?);
    about((trunk.dot(axes.x), trunk.dot(axes.y)))
}

/// To the person's right is positive.
fn trunk_lateral_lean(body: &Body) -> Option<f64> {
    let (axes, trunk) = (upright(body)?, bone(body, PELVIS, THORAX)?);
    Some(
        trunk
            .dot(axes.z)
            .atan2(trunk.dot(axes.x).hypot(trunk.dot(axes.y))),
    )
}

/// Of the line from the thorax to the head, against the trunk continued upwards: forward is positive.
fn neck_flexion(body: &Body) -> Option<f64> {
    let (axes, neck) = (shoulders(body)?, bone(body, THORAX, HEAD)?);
    about((neck.dot(axes.x), neck.dot(axes.y)))
}

/// The bend of a chain from straight, radians from 0 to π, and its standard deviation; `own_m` are the standard
/// deviations, per axis, of what its middle and its end add to the error of the joint before them.
///
/// Errors only add to the bend of a straight chain. The mean cosine of a bend is that of the true one, less the
/// variance of the direction between the bones, so the cosine is raised by as much (for small bends that is the
/// correction of Gudbjartsson and Patz, 1995, for the Rice distribution: bend² - 2 sigma²). What is left of a bend that
/// is no larger than its errors goes to 0 smoothly: cut off there, the square root would be steep without bound.
pub(super) fn bend(body: &Body, chain: [usize; 3], own_m: [f64; 2]) -> Option<(f64, f64)> {
    let [above, middle, below] = chain.map(|joint| body.joints[joint]);
    let (upper, lower) = (middle - above, below - middle);
    let (first, second) = (direction(upper)?, direction(lower)?);
    let cos = first.dot(second).clamp(-1.0, 1.0);
    // The middle's error turns the upper bone and carries the lower one along; the end's turns the lower one.
    let variance = (own_m[0] / upper.length()).powi(2) + (own_m[1] / lower.length()).powi(2);
    if variance >= BEND_VARIANCE_MAX {
        return None;
    }
    let short = 1.0 - cos / (1.0 - variance);
    let soft = variance * BEND_SOFTNESS;
    // ln(1 + exp(x)), which no x overflows.
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let short = if soft > 0.0 {
        soft * softplus(short / soft)
    } else {
        short.max(0.0)
    };
    let short = short.min(2.0);
    // atan2 is exact near straight, where acos is not.
    let bent = (short * (2.0 - short)).sqrt().atan2(1.0 - short);
    Some((bent, variance.sqrt()))
}
