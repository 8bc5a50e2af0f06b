//! Retargets recorded joints to the bones of a figure.

use glam::{Mat3, Quat, Vec3};

use super::body::{LEFT, Lengths, RIGHT, Stance, axes, half_way, sign};
use crate::skeleton::JOINTS;

/// How much a limb's usual plane counts beside the one it bends in, as a share of its length: a straight limb
/// bends in none.
const USUAL_PLANE: f32 = 0.15;

/// A foot lies flat where its ankle is not higher above the ground than this, ankle heights, and hangs from
/// the shin at twice that.
const FLAT_BELOW: f32 = 1.6;

impl Stance {
    /// Puts the skeleton into the posture of a person of another build: directions of bones are those of
    /// `joints_m` (world, y up, floor at 0), lengths the figure's own. What stands on the floor still does.
    ///
    /// Which way head and feet point is not in the joints: the head looks where the chest does, toes point
    /// where the knee bends.
    pub fn follow(&mut self, lengths: &Lengths, joints_m: &[Vec3; JOINTS]) {
        let way = |from: usize, to: usize| joints_m[to] - joints_m[from];
        let pelvis = frame(way(1, 4), way(0, 7));
        let chest = frame(way(14, 11), way(7, 8));
        let abdomen = half_way(pelvis, chest);
        let head_up = way(9, 10).normalize_or(chest * Vec3::Y);
        let head = axes(head_up, chest * Vec3::Z);
        let neck = half_way(chest, head);

        let root = Vec3::ZERO;
        let spine_at = root + along(abdomen, lengths.spine, way(0, 7));
        let thorax_at = spine_at + along(chest, lengths.thorax, way(7, 8));
        let neck_at = thorax_at + along(neck, lengths.neck, way(8, 9));
        let head_at = neck_at + head_up * lengths.head.length();
        self.put_trunk(
            [root, spine_at, thorax_at, neck_at, head_at],
            [pelvis, abdomen, chest, neck, head],
        );
        for side in [LEFT, RIGHT] {
            self.follow_arm(lengths, side, joints_m, chest);
            self.follow_leg(lengths, side, joints_m, pelvis);
        }
        self.stand_as(joints_m);
    }

    fn follow_arm(
        &mut self,
        lengths: &Lengths,
        side: usize,
        joints_m: &[Vec3; JOINTS],
        chest: Mat3,
    ) {
        let first = if side == LEFT { 11 } else { 14 };
        let thorax_at = self.joints[8];
        let offset = Vec3::new(
            sign(side) * lengths.shoulder.x,
            lengths.shoulder.y,
            lengths.shoulder.z,
        );
        let girdle = turn_to(chest * offset, joints_m[first] - joints_m[8]) * chest;
        let shoulder_at = thorax_at + girdle * offset;
        let down = |from: usize| {
            let way = joints_m[first + from + 1] - joints_m[first + from];
            way.normalize_or(chest * Vec3::NEG_Y)
        };
        let (upper_way, fore_way) = (down(0), down(1));
        // A hanging arm bends to the front; one that points elsewhere, where that front is turned to.
        let usual = turn_to(chest * Vec3::NEG_Y, upper_way) * (chest * Vec3::Z);
        let front = across(fore_way, upper_way) + USUAL_PLANE * usual;
        let upper = axes(-upper_way, across(front, upper_way).normalize_or(usual));
        let fore = axes(-fore_way, upper.x_axis.cross(-fore_way));
        let elbow_at = shoulder_at + upper_way * lengths.upper_arm;
        let wrist_at = elbow_at + fore_way * lengths.forearm;
        self.put_arm(
            side,
            [thorax_at, shoulder_at, elbow_at, wrist_at],
            [girdle, upper, fore, fore],
        );
    }

    fn follow_leg(
        &mut self,
        lengths: &Lengths,
        side: usize,
        joints_m: &[Vec3; JOINTS],
        pelvis: Mat3,
    ) {
        let first = if side == LEFT { 4 } else { 1 };
        let hip_at = pelvis * Vec3::new(sign(side) * lengths.hip_half, 0.0, 0.0);
        let down = |from: usize| {
            let way = joints_m[first + from + 1] - joints_m[first + from];
            way.normalize_or(pelvis * Vec3::NEG_Y)
        };
        let (thigh_way, shin_way) = (down(0), down(1));
        let reach = (thigh_way + shin_way).normalize_or(thigh_way);
        let usual = turn_to(pelvis * Vec3::NEG_Y, reach) * (pelvis * Vec3::Z);
        let front = across(thigh_way - shin_way, reach) + USUAL_PLANE * usual;
        let front = across(front, reach).normalize_or(usual);
        let thigh = axes(-thigh_way, front);
        let shin = axes(-shin_way, front);
        let knee_at = hip_at + thigh_way * lengths.thigh;
        let ankle_at = knee_at + shin_way * lengths.shin;

        let toes = (front * Vec3::new(1.0, 0.0, 1.0)).normalize_or(pelvis * Vec3::Z);
        let high = joints_m[first + 2].y / lengths.ankle_height / FLAT_BELOW;
        let hanging = (high - 1.0).clamp(0.0, 1.0);
        let up = Vec3::Y.lerp(shin.y_axis, hanging).normalize_or(Vec3::Y);
        let sole = axes(up, across(toes, up).normalize_or(shin.z_axis));

        self.put_leg(
            side,
            [hip_at, knee_at, ankle_at],
            [pelvis, thigh, shin, sole],
        );
    }

    /// Moves everything to where the recorded pelvis is, the lowest joint as high as the recorded lowest.
    fn stand_as(&mut self, joints_m: &[Vec3; JOINTS]) {
        let lowest =
            |joints: &[Vec3; JOINTS]| joints.iter().map(|j| j.y).fold(f32::INFINITY, f32::min);
        let shift = Vec3::new(
            joints_m[0].x,
            lowest(joints_m) - lowest(&self.joints),
            joints_m[0].z,
        );
        for joint in &mut self.joints {
            *joint += shift;
        }
        for bone in &mut self.bones {
            bone.origin += shift;
        }
    }
}

/// Axes of a part of the trunk: x to the person's left, y up, z to the front.
fn frame(left: Vec3, up: Vec3) -> Mat3 {
    let y = up.normalize_or(Vec3::Y);
    let x = across(left, y).normalize_or(y.any_orthonormal_vector());
    Mat3::from_cols(x, y, x.cross(y))
}

/// An offset of the figure, as long as it is, in the recorded direction.
fn along(axes: Mat3, offset: Vec3, way: Vec3) -> Vec3 {
    let own = axes * offset;
    way.normalize_or(own.normalize_or(Vec3::Y)) * own.length()
}

/// The part of a vector that is not along a direction.
fn across(vector: Vec3, direction: Vec3) -> Vec3 {
    vector - direction * vector.dot(direction)
}

/// The shortest turn from one direction to another.
fn turn_to(from: Vec3, to: Vec3) -> Mat3 {
    let (from, to) = (from.normalize_or(Vec3::Y), to.normalize_or(Vec3::Y));
    Mat3::from_quat(Quat::from_rotation_arc(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::PARENTS;
    use crate::synthetic::body::{Arm, Foot, Posture, Proportions};

    fn posture(lengths: &Lengths) -> Posture {
        let mut posture = Posture {
            pelvis: Vec3::new(0.3, 0.85, -1.0),
            heading: 0.7,
            spine: Vec3::new(0.3, 0.2, 0.1),
            ..Posture::default()
        };
        for side in [LEFT, RIGHT] {
            posture.arms[side] = Arm {
                raise: 0.9,
                out: 0.3,
                elbow: 1.1,
                ..Arm::default()
            };
            posture.feet[side] = Foot {
                place: Vec3::new(0.3, 0.0, -1.0)
                    + Mat3::from_rotation_y(0.7) * (Vec3::X * sign(side) * lengths.hip_half * 1.5),
                yaw: 0.7,
                ..Foot::default()
            };
        }
        posture
    }

    #[test]
    fn a_figure_that_follows_its_own_joints_is_where_it_was() {
        let lengths = Proportions::median(1.74).lengths();
        let mut own = Stance::default();
        own.set(&lengths, &posture(&lengths));
        let mut followed = Stance::default();
        followed.follow(&lengths, &own.joints);
        for joint in 0..JOINTS {
            let far = followed.joints[joint].distance(own.joints[joint]);
            assert!(far < 0.02, "joint {joint}: {far} m");
        }
        for (index, (a, b)) in own.bones.iter().zip(&followed.bones).enumerate() {
            let turn = Quat::from_mat3(&a.rotation).angle_between(Quat::from_mat3(&b.rotation));
            assert!(turn < 0.5, "bone {index} is turned by {turn}");
        }
    }

    #[test]
    fn a_child_follows_with_its_own_bones_and_stands_on_the_floor() {
        let grown = Proportions::median(1.8).lengths();
        let child = Proportions::median(1.2).lengths();
        let mut own = Stance::default();
        own.set(&grown, &posture(&grown));
        let mut followed = Stance::default();
        followed.follow(&child, &own.joints);
        let knee = followed.joints[5].distance(followed.joints[PARENTS[5]]);
        assert!((knee - child.thigh).abs() < 1e-4);
        let lowest = |joints: &[Vec3; JOINTS]| joints.iter().map(|j| j.y).fold(9.0_f32, f32::min);
        assert!((lowest(&followed.joints) - lowest(&own.joints)).abs() < 1e-4);
        let (a, b) = (
            own.joints[12] - own.joints[11],
            followed.joints[12] - followed.joints[11],
        );
        assert!(a.normalize().dot(b.normalize()) > 0.999);
    }
}
