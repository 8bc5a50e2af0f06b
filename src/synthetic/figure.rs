//! A person's skin: volumes around the bones in a rest posture, their surface,
//! and which bones each point of it follows.

use glam::{Mat3, Vec3};

use super::anatomy::Anatomy;
use super::appearance::{Appearance, Hair};
use super::body::{
    Arm, BONES, Foot, HEAD, LEFT, Lengths, Limb, Posture, RIGHT, Stance, bone, sign,
};
use super::volume::Volume;

/// What a piece of the surface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Trunk and neck.
    Trunk,
    /// Arm; left first.
    Arm(usize),
    /// Leg; left first.
    Leg(usize),
    /// Head without hair.
    Head,
    /// Hair.
    Hair,
    /// Cap.
    Cap,
    /// Hand.
    Hand,
    /// Foot or shoe; left first.
    Foot(usize),
}

/// A point of the skin in the rest posture.
#[derive(Clone, Copy, Debug)]
pub struct SkinPoint {
    /// Place, metres.
    pub point: Vec3,
    /// Outward unit normal.
    pub normal: Vec3,
    /// Bones that move it; weights sum to 1, unused ones are 0.
    pub bones: [u8; 4],
    /// Weights of `bones`.
    pub weights: [f32; 4],
    /// How open the place is: 1 free, less in folds between limbs.
    pub open: f32,
}

/// A synthetic person: skin, and the rest posture it was made in.
#[derive(Debug)]
pub struct Figure {
    /// Appearance.
    pub appearance: Appearance,
    /// Bone lengths.
    pub lengths: Lengths,
    /// Points.
    pub points: Vec<SkinPoint>,
    /// Triangles with what they show.
    pub triangles: Vec<([u32; 3], Region)>,
    /// Rest posture.
    pub rest: Stance,
}

/// Weights fall off faster across a joint than the surface is blended, 1/metres.
const WEIGHT_SHARPNESS: f32 = 70.0;

/// Arms 45 degrees out and legs 12 degrees apart: near the middle of what people
/// do, so that the skin bends little.
fn rest_posture(lengths: &Lengths) -> Posture {
    let leg = lengths.thigh + lengths.shin;
    let mut posture = Posture {
        pelvis: Vec3::Y * (lengths.ankle_height + leg * 0.975),
        ..Posture::default()
    };
    for side in [LEFT, RIGHT] {
        posture.arms[side] = Arm {
            out: 0.8,
            ..Arm::default()
        };
        posture.feet[side] = Foot {
            place: Vec3::X * sign(side) * (lengths.hip_half + 0.2 * leg),
            ..Foot::default()
        };
    }
    posture
}

impl Figure {
    /// Makes a person's skin. Takes some tens of milliseconds; done before the
    /// first frame.
    pub fn new(appearance: Appearance) -> Self {
        let lengths = appearance.proportions.lengths();
        let mut rest = Stance::default();
        rest.set(&lengths, &rest_posture(&lengths));
        let anatomy = Anatomy {
            appearance: &appearance,
            lengths,
            rest: rest.clone(),
        };
        let mut figure = Self {
            appearance,
            lengths,
            points: Vec::new(),
            triangles: Vec::new(),
            rest,
        };
        figure.add_body(&anatomy.body());
        figure.add_rigid(&anatomy.head(), HEAD, Region::Head);
        if let Some(hair) = anatomy.hair() {
            figure.add_rigid(&hair, HEAD, Region::Hair);
        }
        if appearance.hair == Hair::Cap {
            figure.add_rigid(&anatomy.cap(), HEAD, Region::Cap);
        }
        for side in [LEFT, RIGHT] {
            figure.add_rigid(&anatomy.hand(side), bone(side, Limb::Hand), Region::Hand);
            figure.add_rigid(
                &anatomy.foot(side),
                bone(side, Limb::Foot),
                Region::Foot(side),
            );
        }
        figure
    }

    fn add_body(&mut self, volume: &Volume) {
        let surface = volume.surface();
        let first = self.points.len() as u32;
        for (point, normal) in surface.points.iter().zip(&surface.normals) {
            let (bones, weights) = follow(volume, *point);
            // Looking out along the normal: how soon other volume comes near.
            let reach = 0.07 * self.lengths.scale;
            let open = (volume.distance(*point + *normal * reach) / reach).clamp(0.0, 1.0);
            self.points.push(SkinPoint {
                point: *point,
                normal: *normal,
                bones,
                weights,
                open: 0.45 + 0.55 * open,
            });
        }
        for triangle in surface.triangles {
            let triangle = triangle.map(|index| index + first);
            let region = region_of(self.points[triangle[0] as usize].bones[0] as usize);
            self.triangles.push((triangle, region));
        }
    }

    fn add_rigid(&mut self, volume: &Volume, bone: usize, region: Region) {
        let surface = volume.surface();
        let first = self.points.len() as u32;
        for (point, normal) in surface.points.iter().zip(&surface.normals) {
            let reach = 0.025 * self.lengths.scale;
            let open = (volume.distance(*point + *normal * reach) / reach).clamp(0.0, 1.0);
            self.points.push(SkinPoint {
                point: *point,
                normal: *normal,
                bones: [bone as u8, 0, 0, 0],
                weights: [1.0, 0.0, 0.0, 0.0],
                open: 0.5 + 0.5 * open,
            });
        }
        for triangle in surface.triangles {
            self.triangles
                .push((triangle.map(|index| index + first), region));
        }
    }

    /// The rest posture's place and main axis of a sided bone: where it begins and
    /// which way it runs.
    pub fn rest_limb(&self, side: usize, limb: Limb) -> (Vec3, Vec3) {
        let bone = &self.rest.bones[bone(side, limb)];
        (bone.origin, bone.rotation * Vec3::NEG_Y)
    }
}

/// The four nearest bones of a point and their shares.
fn follow(volume: &Volume, point: Vec3) -> ([u8; 4], [f32; 4]) {
    let mut shares = [0.0_f32; BONES];
    for cone in &volume.cones {
        shares[cone.bone] += (-WEIGHT_SHARPNESS * cone.distance(point)).exp();
    }
    let mut bones = [0_u8; 4];
    let mut weights = [0.0_f32; 4];
    for place in 0..4 {
        let (best, share) = shares
            .iter()
            .copied()
            .enumerate()
            .fold(
                (0, 0.0),
                |best, now| if now.1 > best.1 { now } else { best },
            );
        bones[place] = best as u8;
        weights[place] = share;
        shares[best] = 0.0;
    }
    let sum: f32 = weights.iter().sum();
    (bones, weights.map(|weight| weight / sum.max(1e-30)))
}

fn region_of(index: usize) -> Region {
    for side in [LEFT, RIGHT] {
        for limb in [
            Limb::UpperArm,
            Limb::ElbowMid,
            Limb::Forearm,
            Limb::ShoulderMid,
        ] {
            if index == bone(side, limb) {
                return Region::Arm(side);
            }
        }
        for limb in [Limb::Thigh, Limb::KneeMid, Limb::Shin, Limb::HipMid] {
            if index == bone(side, limb) {
                return Region::Leg(side);
            }
        }
    }
    Region::Trunk
}

/// What moves skin of a bone from rest to a posture: `posed = turn * rest + shift`.
#[derive(Clone, Copy, Debug)]
pub struct Carry {
    /// Rotation.
    pub turn: Mat3,
    /// Translation, metres.
    pub shift: Vec3,
}

impl Figure {
    /// For each bone, what carries its skin from rest to `stance`.
    pub fn carry(&self, stance: &Stance) -> [Carry; BONES] {
        core::array::from_fn(|index| {
            let (rest, posed) = (&self.rest.bones[index], &stance.bones[index]);
            let turn = posed.rotation * rest.rotation.transpose();
            Carry {
                turn,
                shift: posed.origin - turn * rest.origin,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skin_shares_sum_to_one_and_left_skin_follows_no_right_limb() {
        let figure = Figure::new(Appearance::from_seed(1, 1.75));
        for point in &figure.points {
            let sum: f32 = point.weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-4);
            if point.point.x > 0.25 {
                let right = bone(RIGHT, Limb::Clavicle);
                for (index, weight) in point.bones.iter().zip(&point.weights) {
                    assert!((*index as usize) < right || *weight < 0.02);
                }
            }
        }
    }

    #[test]
    fn the_rendered_height_is_the_stature() {
        let mut appearance = Appearance::from_seed(3, 1.75);
        appearance.hair = Hair::Bald;
        let figure = Figure::new(appearance);
        let heights = figure.points.iter().map(|point| point.point.y);
        let (low, high) = heights.fold((9.0_f32, -9.0_f32), |(l, h), y| (l.min(y), h.max(y)));
        let stature = appearance.proportions.stature_m;
        assert!(
            ((high - low) / stature - 1.0).abs() < 0.05,
            "{}",
            high - low
        );
    }
}
