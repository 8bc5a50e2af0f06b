//! The figure's skeleton: proportions, and from a [`Posture`] to bones and joints.
//!
//! Person frame: x to the person's left, y up, z where the person faces; metres.
//! In the world the floor is y = 0.

use glam::{Mat3, Vec3};

use crate::skeleton::{JOINTS, KEYPOINTS};

/// The figure's sides in every `[_; 2]`: left first.
pub const LEFT: usize = 0;
/// The right side.
pub const RIGHT: usize = 1;

/// Bones that carry volume. Sided bones stand at `FIRST_SIDED + side * SIDED + bone`.
pub const PELVIS: usize = 0;
/// Abdomen, half way between pelvis and chest.
pub const ABDOMEN: usize = 1;
/// Rib cage.
pub const CHEST: usize = 2;
/// Neck.
pub const NECK: usize = 3;
/// Head.
pub const HEAD: usize = 4;
const FIRST_SIDED: usize = 5;
const SIDED: usize = 11;
/// Number of bones.
pub const BONES: usize = FIRST_SIDED + 2 * SIDED;

/// A bone that exists on both sides. The `*Mid` bones turn half as far as their
/// joint, so that the skin keeps its volume where a limb bends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limb {
    /// Shoulder girdle.
    Clavicle,
    /// Half way between girdle and upper arm.
    ShoulderMid,
    /// Upper arm.
    UpperArm,
    /// Half way between upper arm and forearm.
    ElbowMid,
    /// Forearm.
    Forearm,
    /// Hand.
    Hand,
    /// Half way between pelvis and thigh.
    HipMid,
    /// Thigh.
    Thigh,
    /// Half way between thigh and shin.
    KneeMid,
    /// Shin.
    Shin,
    /// Foot.
    Foot,
}

/// Index of a sided bone.
pub const fn bone(side: usize, limb: Limb) -> usize {
    FIRST_SIDED + side * SIDED + limb as usize
}

/// +1 on the left, -1 on the right: the sign of x and of turns about y and z.
pub const fn sign(side: usize) -> f32 {
    if side == LEFT { 1.0 } else { -1.0 }
}

/// Lengths of the skeleton, metres; offsets are to the parent joint in the person
/// frame. A stature of 1.74 m gives the medians of common motion capture figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// Everything against a stature of 1.74 m.
    pub scale: f32,
    /// Half the distance between the hip joints.
    pub hip_half: f32,
    /// Hip to knee.
    pub thigh: f32,
    /// Knee to ankle.
    pub shin: f32,
    /// Ankle joint above the sole.
    pub ankle_height: f32,
    /// Pelvis to spine joint.
    pub spine: Vec3,
    /// Spine joint to thorax.
    pub thorax: Vec3,
    /// Thorax to neck.
    pub neck: Vec3,
    /// Neck to the middle of the head.
    pub head: Vec3,
    /// Thorax to the left shoulder.
    pub shoulder: Vec3,
    /// Shoulder to elbow.
    pub upper_arm: f32,
    /// Elbow to wrist.
    pub forearm: f32,
    /// Size of the head against that of a grown person of this stature's scale.
    pub head_scale: f32,
}

/// What varies between people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportions {
    /// Stature, metres.
    pub stature_m: f32,
    /// Leg length against the median, the trunk makes up for it.
    pub leg: f32,
    /// Arm length against the median.
    pub arm: f32,
    /// Shoulder width against the median.
    pub shoulders: f32,
    /// Hip width against the median.
    pub hips: f32,
    /// Girth of trunk and limbs against the median.
    pub girth: f32,
    /// 0 slim to 1 round belly.
    pub belly: f32,
    /// 0 flat to 1 full bust.
    pub bust: f32,
}

impl Proportions {
    /// A person of median build.
    pub const fn median(stature_m: f32) -> Self {
        Self {
            stature_m,
            leg: 1.0,
            arm: 1.0,
            shoulders: 1.0,
            hips: 1.0,
            girth: 1.0,
            belly: 0.15,
            bust: 0.0,
        }
    }

    /// Lengths of the bones. Small people get the larger heads and shorter legs of children.
    pub fn lengths(&self) -> Lengths {
        let scale = self.stature_m / 1.74;
        let child = ((1.5 - self.stature_m) / 0.5).clamp(0.0, 1.0);
        let leg = self.leg * (1.0 - 0.06 * child);
        let trunk = (1.0 - 0.9 * (leg - 1.0)) * scale;
        let head_scale = 1.0 + 0.35 * child;
        Lengths {
            scale,
            hip_half: 0.080 * self.hips * scale,
            thigh: 0.405 * leg * scale,
            shin: 0.420 * leg * scale,
            ankle_height: 0.080 * scale,
            spine: Vec3::new(0.0, 0.205, -0.012) * trunk,
            thorax: Vec3::new(0.0, 0.270, 0.018) * trunk,
            neck: Vec3::new(0.0, 0.135, 0.018) * trunk,
            head: Vec3::new(0.0, 0.097, 0.014) * scale * head_scale,
            shoulder: Vec3::new(
                0.158 * self.shoulders * scale,
                0.012 * trunk,
                -0.016 * scale,
            ),
            upper_arm: 0.285 * self.arm * scale,
            forearm: 0.252 * self.arm * scale,
            head_scale: head_scale * scale,
        }
    }
}

/// Where one foot stands and how.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Foot {
    /// The point of the ground below the ankle when the foot is flat, world, metres.
    pub place: Vec3,
    /// Where the toes point: turn about the world's y, radians.
    pub yaw: f32,
    /// Heel raised about the ball (positive), or toes raised about the heel, radians.
    pub pitch: f32,
    /// Knee turned outward, radians.
    pub knee_out: f32,
}

/// One arm's angles, radians, all zero when it hangs with the palm inward.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arm {
    /// Forward and up.
    pub raise: f32,
    /// Away from the body.
    pub out: f32,
    /// About the upper arm, outward.
    pub twist: f32,
    /// Bend of the elbow.
    pub elbow: f32,
    /// Hand towards the thumb's side.
    pub wrist: f32,
}

/// A posture as angles and places; everything the skeleton needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Posture {
    /// The pelvis in the world, metres.
    pub pelvis: Vec3,
    /// Where the person faces: turn about the world's y, radians, unwrapped.
    pub heading: f32,
    /// Pelvis: forward pitch, turn, roll to the left; radians.
    pub pelvis_turn: Vec3,
    /// Trunk against the pelvis: forward pitch, turn, roll to the left; radians.
    pub spine: Vec3,
    /// Head against the trunk: forward pitch, turn, roll to the left; radians.
    pub neck: Vec3,
    /// Left and right.
    pub feet: [Foot; 2],
    /// Left and right.
    pub arms: [Arm; 2],
}

impl Posture {
    /// The posture between two, for transitions.
    #[must_use]
    pub fn between(&self, other: &Self, share: f32) -> Self {
        let mix = |a: f32, b: f32| a + (b - a) * share;
        let foot = |a: &Foot, b: &Foot| {
            // A foot that has to move is lifted, it does not slide.
            let far = (b.place - a.place).length();
            let lift = (far * 0.5).min(0.08) * (share * core::f32::consts::PI).sin();
            Foot {
                place: a.place.lerp(b.place, share) + Vec3::Y * lift,
                yaw: a.yaw + wrap(b.yaw - a.yaw) * share,
                pitch: mix(a.pitch, b.pitch),
                knee_out: mix(a.knee_out, b.knee_out),
            }
        };
        let arm = |a: &Arm, b: &Arm| Arm {
            raise: mix(a.raise, b.raise),
            out: mix(a.out, b.out),
            twist: mix(a.twist, b.twist),
            elbow: mix(a.elbow, b.elbow),
            wrist: mix(a.wrist, b.wrist),
        };
        Self {
            pelvis: self.pelvis.lerp(other.pelvis, share),
            heading: self.heading + wrap(other.heading - self.heading) * share,
            pelvis_turn: self.pelvis_turn.lerp(other.pelvis_turn, share),
            spine: self.spine.lerp(other.spine, share),
            neck: self.neck.lerp(other.neck, share),
            feet: [
                foot(&self.feet[0], &other.feet[0]),
                foot(&self.feet[1], &other.feet[1]),
            ],
            arms: [
                arm(&self.arms[0], &other.arms[0]),
                arm(&self.arms[1], &other.arms[1]),
            ],
        }
    }
}

/// An angle brought into -pi..=pi.
pub fn wrap(angle: f32) -> f32 {
    use core::f32::consts::{PI, TAU};
    (angle + PI).rem_euclid(TAU) - PI
}

/// Where a bone is: `world = rotation * local + origin`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bone {
    /// Axes of the bone in the world, as columns.
    pub rotation: Mat3,
    /// Its joint, metres.
    pub origin: Vec3,
}

impl Default for Bone {
    fn default() -> Self {
        Self {
            rotation: Mat3::IDENTITY,
            origin: Vec3::ZERO,
        }
    }
}

impl Bone {
    /// A point given in the bone's axes, in the world.
    pub fn at(&self, local: Vec3) -> Vec3 {
        self.rotation * local + self.origin
    }
}

/// A skeleton in a posture: all in the world, metres.
#[derive(Clone, Debug)]
pub struct Stance {
    /// The bones that carry volume.
    pub bones: [Bone; BONES],
    /// Human3.6M joints.
    pub joints: [Vec3; JOINTS],
}

impl Default for Stance {
    fn default() -> Self {
        Self {
            bones: [Bone::default(); BONES],
            joints: [Vec3::ZERO; JOINTS],
        }
    }
}

/// Forward pitch about x, turn about y, roll to the left (about -z): `Ry Rx Rz`.
fn turn(angles: Vec3) -> Mat3 {
    Mat3::from_rotation_y(angles.y)
        * Mat3::from_rotation_x(angles.x)
        * Mat3::from_rotation_z(-angles.z)
}

/// Half way between two rotations; both are near each other's axes, so the mean
/// of the axes, made orthogonal, is enough.
pub(super) fn half_way(a: Mat3, b: Mat3) -> Mat3 {
    let (qa, qb) = (glam::Quat::from_mat3(&a), glam::Quat::from_mat3(&b));
    Mat3::from_quat(qa.slerp(qb, 0.5))
}

impl Stance {
    /// Puts the skeleton into a posture: angles for trunk and arms, and for the
    /// legs the two-bone inverse problem from hip to the ankle the foot asks for.
    /// Where a foot is out of reach the leg is straight and the foot hangs.
    pub fn set(&mut self, lengths: &Lengths, posture: &Posture) {
        let heading = Mat3::from_rotation_y(posture.heading);
        let pelvis = heading * turn(posture.pelvis_turn);
        let root = posture.pelvis;
        let abdomen = pelvis * turn(posture.spine * 0.4);
        let chest = pelvis * turn(posture.spine);
        let spine_at = root + abdomen * lengths.spine;
        let thorax_at = spine_at + chest * lengths.thorax;
        let neck = chest * turn(posture.neck * 0.4);
        let head = chest * turn(posture.neck);
        let neck_at = thorax_at + neck * lengths.neck;
        let head_at = neck_at + head * lengths.head;

        self.put_trunk(
            [root, spine_at, thorax_at, neck_at, head_at],
            [pelvis, abdomen, chest, neck, head],
        );
        for side in [LEFT, RIGHT] {
            self.set_arm(lengths, side, &posture.arms[side], chest, thorax_at);
            self.set_leg(lengths, side, &posture.feet[side], pelvis, root);
        }
    }

    pub(super) fn put(&mut self, index: usize, rotation: Mat3, origin: Vec3) {
        self.bones[index] = Bone { rotation, origin };
    }

    /// The joints from the pelvis to the head, and the bones between them.
    pub(super) fn put_trunk(
        &mut self,
        [root, spine_at, thorax_at, neck_at, head_at]: [Vec3; 5],
        [pelvis, abdomen, chest, neck, head]: [Mat3; 5],
    ) {
        self.joints[0] = root;
        self.joints[7] = spine_at;
        self.joints[8] = thorax_at;
        self.joints[9] = neck_at;
        self.joints[10] = head_at;
        self.put(PELVIS, pelvis, root);
        self.put(ABDOMEN, abdomen, root);
        self.put(CHEST, chest, spine_at);
        self.put(NECK, neck, thorax_at);
        self.put(HEAD, head, head_at);
    }

    /// An arm's joints (thorax first) and bones, with those half way between.
    pub(super) fn put_arm(
        &mut self,
        side: usize,
        [thorax, shoulder_at, elbow_at, wrist_at]: [Vec3; 4],
        [girdle, upper, fore, hand]: [Mat3; 4],
    ) {
        let first = if side == LEFT { 11 } else { 14 };
        self.joints[first] = shoulder_at;
        self.joints[first + 1] = elbow_at;
        self.joints[first + 2] = wrist_at;
        self.put(bone(side, Limb::Clavicle), girdle, thorax);
        self.put(
            bone(side, Limb::ShoulderMid),
            half_way(girdle, upper),
            shoulder_at,
        );
        self.put(bone(side, Limb::UpperArm), upper, shoulder_at);
        self.put(bone(side, Limb::ElbowMid), half_way(upper, fore), elbow_at);
        self.put(bone(side, Limb::Forearm), fore, elbow_at);
        self.put(bone(side, Limb::Hand), hand, wrist_at);
    }

    /// A leg's joints and bones, with those half way between.
    pub(super) fn put_leg(
        &mut self,
        side: usize,
        [hip_at, knee_at, ankle_at]: [Vec3; 3],
        [pelvis, thigh, shin, sole]: [Mat3; 4],
    ) {
        let first = if side == LEFT { 4 } else { 1 };
        self.joints[first] = hip_at;
        self.joints[first + 1] = knee_at;
        self.joints[first + 2] = ankle_at;
        self.put(bone(side, Limb::HipMid), half_way(pelvis, thigh), hip_at);
        self.put(bone(side, Limb::Thigh), thigh, hip_at);
        self.put(bone(side, Limb::KneeMid), half_way(thigh, shin), knee_at);
        self.put(bone(side, Limb::Shin), shin, knee_at);
        self.put(bone(side, Limb::Foot), sole, ankle_at);
    }

    fn set_arm(&mut self, lengths: &Lengths, side: usize, arm: &Arm, chest: Mat3, thorax: Vec3) {
        let s = sign(side);
        let upper_local = Mat3::from_rotation_x(-arm.raise)
            * Mat3::from_rotation_z(s * arm.out)
            * Mat3::from_rotation_y(s * arm.twist);
        // The girdle follows an arm that rises above the horizontal.
        let rise = (upper_local * Vec3::NEG_Y).y;
        let lift = 0.45 * (rise + 0.3).max(0.0);
        let girdle = chest * Mat3::from_rotation_z(s * lift);
        let offset = Vec3::new(
            s * lengths.shoulder.x,
            lengths.shoulder.y,
            lengths.shoulder.z,
        );
        let shoulder_at = thorax + girdle * offset;
        let upper = chest * upper_local;
        let elbow_at = shoulder_at + upper * (Vec3::NEG_Y * lengths.upper_arm);
        let fore = upper * Mat3::from_rotation_x(-arm.elbow);
        let wrist_at = elbow_at + fore * (Vec3::NEG_Y * lengths.forearm);
        let hand = fore * Mat3::from_rotation_x(-arm.wrist);

        self.put_arm(
            side,
            [thorax, shoulder_at, elbow_at, wrist_at],
            [girdle, upper, fore, hand],
        );
    }

    fn set_leg(&mut self, lengths: &Lengths, side: usize, foot: &Foot, pelvis: Mat3, root: Vec3) {
        let s = sign(side);
        let hip_at = root + pelvis * Vec3::new(s * lengths.hip_half, 0.0, 0.0);
        let sole = Mat3::from_rotation_y(foot.yaw) * Mat3::from_rotation_x(foot.pitch);
        let pivot = Vec3::Z * lengths.scale * if foot.pitch > 0.0 { 0.13 } else { -0.05 };
        let ankle_wanted = foot.place
            + Mat3::from_rotation_y(foot.yaw) * pivot
            + sole * (Vec3::Y * lengths.ankle_height - pivot);

        let (a, b) = (lengths.thigh, lengths.shin);
        let reach = ankle_wanted - hip_at;
        let distance = reach.length().clamp(0.35 * (a + b), (a + b) * 0.9985);
        let along = reach.normalize_or(Vec3::NEG_Y);
        let facing = pelvis * Vec3::Z + Mat3::from_rotation_y(foot.yaw) * Vec3::Z;
        let outward = pelvis * (Vec3::X * s) * foot.knee_out.sin() * 2.0;
        let pole = facing + outward + pelvis * (Vec3::Y * 0.4);
        let forward = (pole - along * along.dot(pole)).normalize_or(pelvis * Vec3::Z);
        let cosine =
            ((a * a + distance * distance - b * b) / (2.0 * a * distance)).clamp(-1.0, 1.0);
        let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
        let knee_at = hip_at + along * (a * cosine) + forward * (a * sine);
        let ankle_at = hip_at + along * distance;

        let thigh = axes((hip_at - knee_at) / a, forward);
        let shin = axes((knee_at - ankle_at) / b, forward);
        self.put_leg(
            side,
            [hip_at, knee_at, ankle_at],
            [pelvis, thigh, shin, sole],
        );
    }

    /// The COCO keypoints in the world, metres. The face is where the drawn face
    /// is: fixed points of the head, as far from its middle as on a median head.
    pub fn keypoints(&self, lengths: &Lengths) -> [Vec3; KEYPOINTS] {
        let head = &self.bones[HEAD];
        let face = |x: f32, y: f32, z: f32| head.at(Vec3::new(x, y, z) * lengths.head_scale);
        let mut keypoints = [Vec3::ZERO; KEYPOINTS];
        keypoints[0] = face(0.0, -0.025, 0.115);
        keypoints[1] = face(0.032, 0.012, 0.09);
        keypoints[2] = face(-0.032, 0.012, 0.09);
        keypoints[3] = face(0.075, -0.01, 0.0);
        keypoints[4] = face(-0.075, -0.01, 0.0);
        for (joint, keypoint) in crate::skeleton::SHARED {
            keypoints[keypoint] = self.joints[joint];
        }
        keypoints
    }
}

/// Axes of a leg bone: y towards its parent, z forward in the plane of the knee.
pub(super) fn axes(up: Vec3, forward: Vec3) -> Mat3 {
    let x = up.cross(forward).normalize_or(Vec3::X);
    Mat3::from_cols(x, up, x.cross(up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::PARENTS;

    #[test]
    fn a_child_has_shorter_legs_and_a_larger_head_for_its_size() {
        let grown = Proportions::median(1.8).lengths();
        let child = Proportions::median(1.1).lengths();
        assert!(child.thigh / child.scale < grown.thigh / grown.scale);
        assert!(child.head_scale / child.scale > 1.2);
    }

    #[test]
    fn a_foot_out_of_reach_does_not_stretch_the_leg() {
        let lengths = Proportions::median(1.74).lengths();
        let mut stance = Stance::default();
        let mut posture = Posture {
            pelvis: Vec3::new(0.0, 2.0, 0.0),
            ..Posture::default()
        };
        posture.feet[RIGHT].place = Vec3::new(0.4, -3.0, 1.0);
        stance.set(&lengths, &posture);
        for (child, want) in [(2, lengths.thigh), (3, lengths.shin)] {
            let got = stance.joints[child].distance(stance.joints[PARENTS[child]]);
            assert!((got - want).abs() < 1e-4, "{got} for {want}");
        }
    }

    #[test]
    fn a_raised_arm_points_where_its_angles_say() {
        let lengths = Proportions::median(1.74).lengths();
        let mut stance = Stance::default();
        let mut posture = Posture::default();
        posture.arms[LEFT].raise = core::f32::consts::FRAC_PI_2;
        posture.arms[RIGHT].out = core::f32::consts::FRAC_PI_2;
        stance.set(&lengths, &posture);
        let left = (stance.joints[13] - stance.joints[11]).normalize();
        let right = (stance.joints[16] - stance.joints[14]).normalize();
        assert!(left.dot(Vec3::Z) > 0.999, "{left}");
        assert!(right.dot(Vec3::NEG_X) > 0.999, "{right}");
    }
}
