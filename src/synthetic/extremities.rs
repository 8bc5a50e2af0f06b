//! Head, hair, hands and feet as volumes. Each follows one bone.

use super::anatomy::Anatomy;
use super::appearance::Hair;
use super::body::{HEAD, Limb, bone, sign};
use super::volume::Volume;

impl Anatomy<'_> {
    pub(super) fn head(&self) -> Volume {
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

    pub(super) fn hair(&self) -> Option<Volume> {
        let mut cones = Vec::new();
        let c = &mut cones;
        let thick = match self.appearance.hair {
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
        match self.appearance.hair {
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

    pub(super) fn cap(&self) -> Volume {
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

    pub(super) fn hand(&self, side: usize) -> Volume {
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

    pub(super) fn foot(&self, side: usize) -> Volume {
        let foot = bone(side, Limb::Foot);
        let s = sign(side);
        let thick = if self.appearance.shoes.is_some() {
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
