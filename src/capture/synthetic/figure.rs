//! A person's skin: volumes around the bones in a rest posture, their surface,
//! and which bones each point of it follows.

use glam::{Mat3, Vec3};

use super::body::{
    ABDOMEN, Arm, BONES, CHEST, Foot, HEAD, LEFT, Lengths, Limb, NECK, PELVIS, Posture, RIGHT,
    Stance, bone, sign,
};
use super::look::{Hair, Look};
use super::volume::{Cone, Volume};

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

/// A drawn person: skin, and the rest posture it was made in.
#[derive(Debug)]
pub struct Figure {
    /// Look.
    pub look: Look,
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

struct Builder<'a> {
    look: &'a Look,
    lengths: Lengths,
    rest: Stance,
}

impl Builder<'_> {
    /// A cone given in a bone's axes; lengths at median stature.
    fn cone(&self, bone: usize, a: [f32; 3], ra: f32, b: [f32; 3], rb: f32) -> Cone {
        let scale = if bone == HEAD {
            self.lengths.head_scale
        } else {
            self.lengths.scale
        };
        let place = &self.rest.bones[bone];
        Cone {
            bone,
            a: place.at(Vec3::from(a) * scale),
            b: place.at(Vec3::from(b) * scale),
            ra: ra * scale,
            rb: rb * scale,
        }
    }

    fn mirrored(
        &self,
        into: &mut Vec<Cone>,
        bone: usize,
        a: [f32; 3],
        ra: f32,
        b: [f32; 3],
        rb: f32,
    ) {
        into.push(self.cone(bone, a, ra, b, rb));
        into.push(self.cone(bone, [-a[0], a[1], a[2]], ra, [-b[0], b[1], b[2]], rb));
    }

    /// Trunk, arms and legs.
    fn body(&self) -> Volume {
        let p = &self.look.proportions;
        let g = p.girth;
        let loose = self.look.looseness;
        let (shoulders, hips) = (p.shoulders, p.hips);
        // Chest and abdomen lengths follow the trunk, which may differ from the scale.
        let t = self.lengths.thorax.y / (0.270 * self.lengths.scale);
        let mut cones = Vec::new();
        let c = &mut cones;
        // Pelvis, buttocks, belly, rib cage.
        self.mirrored(
            c,
            PELVIS,
            [0.0, 0.02, 0.0],
            0.095 * g + loose,
            [0.068 * hips, -0.005, -0.002],
            0.092 * g + loose,
        );
        self.mirrored(
            c,
            PELVIS,
            [0.055 * hips, -0.03, -0.045],
            0.082 * g,
            [0.06 * hips, -0.05, -0.04],
            0.078 * g,
        );
        self.mirrored(
            c,
            ABDOMEN,
            [0.0, 0.11, 0.005],
            0.092 * g + loose,
            [0.052, 0.13, 0.0],
            0.082 * g + loose,
        );
        c.push(self.cone(
            ABDOMEN,
            [0.0, 0.08, 0.025 + 0.055 * p.belly],
            (0.085 + 0.04 * p.belly) * g,
            [0.0, 0.16, 0.02 + 0.05 * p.belly],
            (0.085 + 0.035 * p.belly) * g,
        ));
        self.mirrored(
            c,
            CHEST,
            [0.0, 0.03, 0.0],
            0.095 * g + loose,
            [0.062 * shoulders, 0.06 * t, 0.0],
            0.088 * g + loose,
        );
        self.mirrored(
            c,
            CHEST,
            [0.0, 0.16 * t, 0.008],
            0.098 * g + loose,
            [0.085 * shoulders, 0.17 * t, 0.0],
            0.088 * g + loose,
        );
        self.mirrored(
            c,
            CHEST,
            [0.0, 0.235 * t, -0.005],
            0.078 * g + loose,
            [0.1 * shoulders, 0.235 * t, -0.008],
            0.07 * g + loose,
        );
        if p.bust > 0.0 {
            self.mirrored(
                c,
                CHEST,
                [0.068, 0.15 * t, 0.062 + 0.02 * p.bust],
                0.05 + 0.018 * p.bust,
                [0.066, 0.14 * t, 0.066 + 0.02 * p.bust],
                0.05 + 0.018 * p.bust,
            );
        } else {
            self.mirrored(
                c,
                CHEST,
                [0.055, 0.19 * t, 0.052],
                0.045 * g,
                [0.085, 0.185 * t, 0.045],
                0.042 * g,
            );
        }
        let neck_up = self.lengths.neck.y / self.lengths.scale;
        c.push(self.cone(
            NECK,
            [0.0, 0.0, -0.012],
            0.062 * g,
            [0.0, neck_up, 0.01],
            0.054 * (0.5 + 0.5 * g),
        ));
        for side in [LEFT, RIGHT] {
            self.arm(c, side);
            self.leg(c, side);
        }
        Volume {
            cones,
            sharpness: 75.0 / self.lengths.scale,
            cell: 0.022 * self.lengths.scale,
            floor: -1.0,
        }
    }

    fn arm(&self, c: &mut Vec<Cone>, side: usize) {
        let s = sign(side);
        let look = self.look;
        let g = look.proportions.girth;
        let scale = self.lengths.scale;
        let shoulder = self.lengths.shoulder / scale;
        let upper = self.lengths.upper_arm / scale;
        let fore = self.lengths.forearm / scale;
        let sleeve = |along: f32| {
            if along < look.sleeve {
                look.looseness
            } else {
                0.0
            }
        };

        let clavicle = bone(side, Limb::Clavicle);
        c.push(self.cone(
            clavicle,
            [0.035 * s, 0.045, -0.022],
            0.04 * g,
            [s * shoulder.x * 0.9, 0.0, shoulder.z],
            0.054 * g,
        ));
        let mid = bone(side, Limb::ShoulderMid);
        c.push(self.cone(
            mid,
            [0.0; 3],
            0.057 * g + sleeve(0.0),
            [0.0, -0.02, 0.0],
            0.055 * g + sleeve(0.0),
        ));
        let arm = bone(side, Limb::UpperArm);
        c.push(self.cone(
            arm,
            [0.0, -0.04, 0.0],
            0.052 * g + sleeve(0.1),
            [0.0, -upper, 0.0],
            0.04 * g + sleeve(0.4),
        ));
        let elbow = bone(side, Limb::ElbowMid);
        c.push(self.cone(
            elbow,
            [0.0, 0.01, -0.004],
            0.038 * g + sleeve(0.5),
            [0.0, -0.01, -0.004],
            0.038 * g + sleeve(0.5),
        ));
        let forearm = bone(side, Limb::Forearm);
        c.push(self.cone(
            forearm,
            [0.0, -0.03, 0.004],
            0.041 * g + sleeve(0.6),
            [0.0, -0.3 * fore, 0.003],
            0.039 * g + sleeve(0.7),
        ));
        c.push(self.cone(
            forearm,
            [0.0, -0.3 * fore, 0.003],
            0.039 * g + sleeve(0.7),
            [0.0, -fore, 0.0],
            0.026 * g + sleeve(0.99),
        ));
    }

    fn leg(&self, c: &mut Vec<Cone>, side: usize) {
        let s = sign(side);
        let look = self.look;
        let g = look.proportions.girth;
        let thigh = self.lengths.thigh / self.lengths.scale;
        let shin = self.lengths.shin / self.lengths.scale;
        let hem = |along: f32| {
            if along < look.hem {
                look.looseness
            } else {
                0.0
            }
        };

        let hip = bone(side, Limb::HipMid);
        c.push(self.cone(
            hip,
            [0.012 * s, -0.005, -0.005],
            0.086 * g + hem(0.0),
            [0.01 * s, -0.04, 0.0],
            0.084 * g + hem(0.0),
        ));
        let leg = bone(side, Limb::Thigh);
        c.push(self.cone(
            leg,
            [0.008 * s, -0.06, 0.0],
            0.084 * g + hem(0.1),
            [0.0, -thigh, 0.004],
            0.053 * g + hem(0.5),
        ));
        let knee = bone(side, Limb::KneeMid);
        c.push(self.cone(
            knee,
            [0.0, 0.012, 0.008],
            0.051 * g + hem(0.5),
            [0.0, -0.012, 0.008],
            0.05 * g + hem(0.55),
        ));
        let calf = bone(side, Limb::Shin);
        c.push(self.cone(
            calf,
            [0.0, -0.03, 0.0],
            0.05 * g + hem(0.6),
            [0.0, -0.33 * shin, -0.014],
            0.05 * g + hem(0.7),
        ));
        c.push(self.cone(
            calf,
            [0.0, -0.33 * shin, -0.014],
            0.05 * g + hem(0.75),
            [0.0, -shin, -0.006],
            0.034 * g + hem(0.99) * 1.5,
        ));
    }

    fn head(&self) -> Volume {
        let mut cones = Vec::new();
        let c = &mut cones;
        c.push(self.cone(
            HEAD,
            [0.0, 0.034, -0.028],
            0.078,
            [0.0, 0.038, 0.014],
            0.075,
        ));
        c.push(self.cone(HEAD, [0.0, 0.0, 0.026], 0.062, [0.0, -0.074, 0.046], 0.03));
        self.mirrored(
            c,
            HEAD,
            [0.034, -0.018, 0.05],
            0.03,
            [0.02, -0.05, 0.05],
            0.03,
        );
        self.mirrored(
            c,
            HEAD,
            [0.046, -0.03, 0.0],
            0.025,
            [0.026, -0.07, 0.03],
            0.024,
        );
        self.mirrored(
            c,
            HEAD,
            [0.012, 0.034, 0.076],
            0.013,
            [0.036, 0.032, 0.066],
            0.012,
        );
        c.push(self.cone(
            HEAD,
            [0.0, 0.014, 0.088],
            0.008,
            [0.0, -0.022, 0.102],
            0.012,
        ));
        self.mirrored(
            c,
            HEAD,
            [0.0, -0.026, 0.096],
            0.01,
            [0.012, -0.027, 0.092],
            0.007,
        );
        c.push(self.cone(
            HEAD,
            [0.0, -0.054, 0.078],
            0.012,
            [0.0, -0.056, 0.078],
            0.012,
        ));
        self.mirrored(
            c,
            HEAD,
            [0.075, 0.014, -0.012],
            0.009,
            [0.073, -0.026, -0.002],
            0.008,
        );
        self.mirrored(
            c,
            HEAD,
            [0.078, 0.008, -0.016],
            0.008,
            [0.076, -0.01, -0.014],
            0.008,
        );
        // Down into the neck, so that no gap opens.
        c.push(self.cone(
            HEAD,
            [0.0, -0.03, -0.015],
            0.056,
            [0.0, -0.09, -0.014],
            0.05,
        ));
        Volume {
            cones,
            sharpness: 150.0 / self.lengths.head_scale,
            cell: 0.0095 * self.lengths.head_scale,
            floor: -1.0,
        }
    }

    fn hair(&self) -> Option<Volume> {
        let mut cones = Vec::new();
        let c = &mut cones;
        let thick = match self.look.hair {
            Hair::Bald => return None,
            Hair::Short | Hair::Cap => 0.007,
            Hair::Full => 0.02,
            Hair::Bob | Hair::Long => 0.014,
            Hair::Tail => 0.008,
        };
        c.push(self.cone(
            HEAD,
            [0.0, 0.044, -0.04],
            0.074 + thick,
            [0.0, 0.056, 0.008],
            0.07 + thick,
        ));
        c.push(self.cone(
            HEAD,
            [0.0, 0.0, -0.05],
            0.058 + thick,
            [0.0, -0.04, -0.045],
            0.045 + thick,
        ));
        match self.look.hair {
            Hair::Full => {
                c.push(self.cone(HEAD, [0.0, 0.085, 0.03], 0.045, [0.0, 0.09, -0.03], 0.05));
            }
            Hair::Bob => {
                self.mirrored(
                    c,
                    HEAD,
                    [0.062, 0.03, -0.01],
                    0.03,
                    [0.07, -0.075, -0.005],
                    0.026,
                );
                c.push(self.cone(HEAD, [0.0, 0.0, -0.07], 0.06, [0.0, -0.08, -0.06], 0.05));
            }
            Hair::Long => {
                self.mirrored(
                    c,
                    HEAD,
                    [0.062, 0.03, -0.02],
                    0.028,
                    [0.068, -0.15, -0.03],
                    0.024,
                );
                c.push(self.cone(HEAD, [0.0, 0.0, -0.075], 0.06, [0.0, -0.24, -0.085], 0.045));
                self.mirrored(
                    c,
                    HEAD,
                    [0.03, -0.05, -0.075],
                    0.045,
                    [0.045, -0.23, -0.08],
                    0.035,
                );
            }
            Hair::Tail => {
                c.push(self.cone(HEAD, [0.0, 0.05, -0.125], 0.024, [0.0, 0.0, -0.15], 0.03));
                c.push(self.cone(HEAD, [0.0, 0.0, -0.15], 0.03, [0.0, -0.16, -0.13], 0.014));
            }
            Hair::Bald | Hair::Short | Hair::Cap => {}
        }
        Some(Volume {
            cones,
            sharpness: 120.0 / self.lengths.head_scale,
            cell: 0.0115 * self.lengths.head_scale,
            floor: -1.0,
        })
    }

    fn cap(&self) -> Volume {
        Volume {
            cones: vec![
                self.cone(
                    HEAD,
                    [0.0, 0.062, -0.032],
                    0.082,
                    [0.0, 0.066, 0.012],
                    0.079,
                ),
                self.cone(HEAD, [-0.03, 0.062, 0.1], 0.012, [0.03, 0.062, 0.1], 0.012),
                self.cone(
                    HEAD,
                    [-0.032, 0.052, 0.135],
                    0.01,
                    [0.032, 0.052, 0.135],
                    0.01,
                ),
                self.cone(HEAD, [0.0, 0.055, 0.15], 0.01, [0.0, 0.06, 0.09], 0.012),
            ],
            sharpness: 150.0 / self.lengths.head_scale,
            cell: 0.0115 * self.lengths.head_scale,
            floor: -1.0,
        }
    }

    fn hand(&self, side: usize) -> Volume {
        let hand = bone(side, Limb::Hand);
        let s = sign(side);
        let mut cones = Vec::new();
        let c = &mut cones;
        // Palm towards the body, thumb forward, fingers a little bent.
        for (z, length) in [(0.03, 0.07), (0.01, 0.078), (-0.01, 0.073), (-0.028, 0.058)] {
            c.push(self.cone(hand, [0.0, 0.005, 0.35 * z], 0.02, [0.0, -0.085, z], 0.0135));
            let bent = [-0.012 * s, -0.085 - 0.55 * length, z * 1.05];
            c.push(self.cone(hand, [0.0, -0.085, z], 0.0115, bent, 0.0098));
            c.push(self.cone(
                hand,
                bent,
                0.0098,
                [-0.034 * s, -0.085 - length, z * 1.05],
                0.0085,
            ));
        }
        c.push(self.cone(
            hand,
            [0.0, -0.03, 0.02],
            0.017,
            [-0.014 * s, -0.06, 0.05],
            0.0125,
        ));
        c.push(self.cone(
            hand,
            [-0.014 * s, -0.06, 0.05],
            0.0125,
            [-0.022 * s, -0.096, 0.058],
            0.0095,
        ));
        c.push(self.cone(hand, [0.0, 0.02, 0.0], 0.026, [0.0, -0.01, 0.0], 0.024));
        Volume {
            cones,
            sharpness: 220.0 / self.lengths.scale,
            cell: 0.0105 * self.lengths.scale,
            floor: -1.0,
        }
    }

    fn foot(&self, side: usize) -> Volume {
        let foot = bone(side, Limb::Foot);
        let s = sign(side);
        let thick = if self.look.shoes.is_some() {
            0.006
        } else {
            0.0
        };
        let mut cones = Vec::new();
        let c = &mut cones;
        c.push(self.cone(
            foot,
            [0.0, 0.01, -0.008],
            0.038 + thick,
            [0.0, -0.045, -0.022],
            0.034 + thick,
        ));
        c.push(self.cone(
            foot,
            [0.0, -0.044, -0.032],
            0.034 + thick,
            [0.012 * s, -0.056, 0.1],
            0.036 + thick,
        ));
        c.push(self.cone(
            foot,
            [0.0, 0.0, 0.01],
            0.034 + thick,
            [0.004 * s, -0.05, 0.12],
            0.026 + thick,
        ));
        c.push(self.cone(
            foot,
            [-0.014 * s, -0.058, 0.1],
            0.03 + thick,
            [-0.014 * s, -0.062, 0.165],
            0.021 + thick,
        ));
        c.push(self.cone(
            foot,
            [0.022 * s, -0.058, 0.09],
            0.028 + thick,
            [0.022 * s, -0.064, 0.14],
            0.019 + thick,
        ));
        let sole = self.rest.bones[foot].origin.y - self.lengths.ankle_height;
        Volume {
            cones,
            sharpness: 130.0 / self.lengths.scale,
            cell: 0.0145 * self.lengths.scale,
            floor: sole,
        }
    }
}

impl Figure {
    /// Makes a person's skin. Takes some tens of milliseconds; done before the
    /// first frame.
    pub fn new(look: Look) -> Self {
        let lengths = look.proportions.lengths();
        let mut rest = Stance::default();
        rest.set(&lengths, &rest_posture(&lengths));
        let builder = Builder {
            look: &look,
            lengths,
            rest: rest.clone(),
        };
        let mut figure = Self {
            look,
            lengths,
            points: Vec::new(),
            triangles: Vec::new(),
            rest,
        };
        figure.add_body(&builder.body());
        figure.add_rigid(&builder.head(), HEAD, Region::Head);
        if let Some(hair) = builder.hair() {
            figure.add_rigid(&hair, HEAD, Region::Hair);
        }
        if look.hair == Hair::Cap {
            figure.add_rigid(&builder.cap(), HEAD, Region::Cap);
        }
        for side in [LEFT, RIGHT] {
            figure.add_rigid(&builder.hand(side), bone(side, Limb::Hand), Region::Hand);
            figure.add_rigid(
                &builder.foot(side),
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
        let figure = Figure::new(Look::from_seed(1, 1.75));
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
    fn the_drawn_height_is_the_stature() {
        let mut look = Look::from_seed(3, 1.75);
        look.hair = Hair::Bald;
        let figure = Figure::new(look);
        let heights = figure.points.iter().map(|point| point.point.y);
        let (low, high) = heights.fold((9.0_f32, -9.0_f32), |(l, h), y| (l.min(y), h.max(y)));
        let stature = look.proportions.stature_m;
        assert!(
            ((high - low) / stature - 1.0).abs() < 0.05,
            "{}",
            high - low
        );
    }
}
