//! The body as volumes: which round cones make trunk, arms and legs, and how
//! clothes widen them. Head, hands and feet are in `extremities`.

use super::appearance::Appearance;
use super::body::{
    ABDOMEN, CHEST, HEAD, LEFT, Lengths, Limb, NECK, PELVIS, RIGHT, Stance, bone, sign,
};
use super::volume::{Cone, Volume};
use glam::Vec3;

/// A person at rest, to be clothed in volumes. Lengths of cones are for a stature of 1.74 m.
pub(super) struct Anatomy<'a> {
    pub(super) appearance: &'a Appearance,
    pub(super) lengths: Lengths,
    pub(super) rest: Stance,
}

impl Anatomy<'_> {
    /// A cone given in a bone's axes; lengths at median stature.
    pub(super) fn cone(&self, bone: usize, a: [f32; 3], ra: f32, b: [f32; 3], rb: f32) -> Cone {
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

    pub(super) fn mirrored(
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
    pub(super) fn body(&self) -> Volume {
        let p = &self.appearance.proportions;
        let g = p.girth;
        let loose = self.appearance.looseness;
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
        let appearance = self.appearance;
        let g = appearance.proportions.girth;
        let scale = self.lengths.scale;
        let shoulder = self.lengths.shoulder / scale;
        let upper = self.lengths.upper_arm / scale;
        let fore = self.lengths.forearm / scale;
        let sleeve = |along: f32| {
            if along < appearance.sleeve {
                appearance.looseness
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
        let appearance = self.appearance;
        let g = appearance.proportions.girth;
        let thigh = self.lengths.thigh / self.lengths.scale;
        let shin = self.lengths.shin / self.lengths.scale;
        let hem = |along: f32| {
            if along < appearance.hem {
                appearance.looseness
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
}
