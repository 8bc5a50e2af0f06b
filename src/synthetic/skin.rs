//! Colours of people: what a point of a figure's surface looks like.

use glam::Vec3;

use super::appearance::{Appearance, Cloth, Pattern};
use super::body::{HEAD, LEFT, Limb, RIGHT, bone};
use super::figure::{Figure, Region};
use super::finish::noise;

/// What the mask calls a point of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Skin or hair.
    Skin = 1,
    /// Clothes, shoes, caps.
    Clothes = 2,
}

/// Where clothes begin and end on a figure at rest, worked out once.
#[derive(Clone, Copy, Debug)]
pub struct Tailor {
    shoulder: [(Vec3, Vec3); 2],
    hip: [(Vec3, Vec3); 2],
    sleeve_m: f32,
    hem_m: f32,
    waist_y: f32,
    collar_y: f32,
    ankle_y: f32,
    neck: Vec3,
    head: Vec3,
    head_scale: f32,
    scale: f32,
}

impl Tailor {
    /// For a figure.
    pub fn new(figure: &Figure) -> Self {
        let lengths = &figure.lengths;
        let (appearance, scale) = (&figure.appearance, lengths.scale);
        let rest = &figure.rest;
        let arm = lengths.upper_arm + lengths.forearm;
        let leg = lengths.thigh + lengths.shin;
        Self {
            shoulder: [LEFT, RIGHT].map(|side| figure.rest_limb(side, Limb::UpperArm)),
            hip: [LEFT, RIGHT].map(|side| figure.rest_limb(side, Limb::Thigh)),
            sleeve_m: if appearance.sleeve >= 1.0 {
                arm + 0.01
            } else {
                appearance.sleeve * arm
            },
            hem_m: if appearance.hem >= 1.0 {
                leg + 0.03
            } else {
                appearance.hem * leg
            },
            waist_y: rest.joints[0].y + (0.09 - appearance.top_length) * scale,
            collar_y: rest.joints[8].y + 0.035 * scale,
            ankle_y: rest.joints[3].y + 0.09 * scale,
            neck: rest.joints[8],
            head: rest.bones[HEAD].origin,
            head_scale: lengths.head_scale,
            scale,
        }
    }

    /// Colour (linear light) and class of a point at rest.
    pub fn paint(&self, figure: &Figure, region: Region, point: Vec3) -> (Vec3, Class) {
        let appearance = &figure.appearance;
        match region {
            Region::Head => (
                face(&figure.appearance, (point - self.head) / self.head_scale),
                Class::Skin,
            ),
            Region::Hair => {
                let strand = noise(point.x * 260.0, point.y * 30.0 + point.z * 60.0, 5);
                (appearance.hair_colour * (0.75 + 0.5 * strand), Class::Skin)
            }
            Region::Cap => (appearance.cap_colour, Class::Clothes),
            Region::Hand => (appearance.skin, Class::Skin),
            Region::Foot(side) => self.foot(figure, side, point),
            Region::Arm(side) => {
                let (from, along) = self.shoulder[side];
                let down = (point - from).dot(along);
                if down < self.sleeve_m {
                    let around = (point - from - along * down).length();
                    (
                        self.cloth(figure, &appearance.top, down + 0.2, around, point),
                        Class::Clothes,
                    )
                } else {
                    (appearance.skin, Class::Skin)
                }
            }
            Region::Leg(side) => {
                if point.y > self.waist_y {
                    return (
                        self.cloth(figure, &appearance.top, point.y, point.x, point),
                        Class::Clothes,
                    );
                }
                let (from, along) = self.hip[side];
                let down = (point - from).dot(along);
                if down < self.hem_m {
                    let colour = self.cloth(figure, &appearance.bottom, point.y, point.x, point);
                    return (colour, Class::Clothes);
                }
                match appearance.socks {
                    Some(socks) if point.y < self.ankle_y => (socks, Class::Clothes),
                    _ => (appearance.skin, Class::Skin),
                }
            }
            Region::Trunk => {
                let side = ((point.x - self.neck.x) / self.scale).abs();
                let front = ((point.z - self.neck.z) / self.scale).max(0.0);
                // A round neckline, lower in front.
                let collar = self.collar_y - (0.5 * front - 0.4 * side) * self.scale;
                if point.y > collar && side < 0.078 {
                    (appearance.skin, Class::Skin)
                } else if point.y > self.waist_y {
                    (
                        self.cloth(figure, &appearance.top, point.y, point.x, point),
                        Class::Clothes,
                    )
                } else {
                    let belt =
                        point.y > self.waist_y - 0.03 * self.scale && appearance.grain < 15.0;
                    let colour = self.cloth(figure, &appearance.bottom, point.y, point.x, point);
                    (colour * if belt { 0.35 } else { 1.0 }, Class::Clothes)
                }
            }
        }
    }

    /// Cloth at `along` the body and `across` it, metres.
    fn cloth(&self, figure: &Figure, cloth: &Cloth, along: f32, across: f32, point: Vec3) -> Vec3 {
        let pitch = cloth.pitch_m;
        let odd = |place: f32| ((place / pitch).floor() as i32).rem_euclid(2) == 1;
        let second = match cloth.pattern {
            Pattern::Plain => false,
            Pattern::Rings => odd(along),
            Pattern::Lines => odd(across),
            Pattern::Checks => odd(along) != odd(across),
            Pattern::Dots => {
                let cell = |place: f32| (place / pitch).rem_euclid(1.0) - 0.5;
                cell(along).hypot(cell(across)) < 0.28
            }
            Pattern::Print => {
                let high = (point.y - self.neck.y) / self.scale;
                point.z > self.neck.z && across.abs() < 0.085 && high < -0.08 && high > -0.24
            }
            Pattern::Patches => {
                noise(along / pitch, across / pitch + figure.appearance.grain, 9) > 0.55
            }
        };
        let colour = if second { cloth.second } else { cloth.colour };
        let weave = noise(along * 90.0, across * 90.0, 3);
        colour * (0.9 + 0.2 * weave)
    }

    fn foot(&self, figure: &Figure, side: usize, point: Vec3) -> (Vec3, Class) {
        let appearance = &figure.appearance;
        let ankle = figure.rest.bones[bone(side, Limb::Foot)].origin;
        let below = (ankle.y - point.y) / self.scale;
        let ahead = (point.z - ankle.z) / self.scale;
        match appearance.shoes {
            Some(_) if below > 0.068 => (Vec3::splat(0.55), Class::Clothes),
            Some(shoe) if below > 0.005 => {
                let laces =
                    ahead > 0.02 && ahead < 0.1 && below < 0.045 && (ahead * 90.0).sin() > 0.3;
                (if laces { Vec3::splat(0.7) } else { shoe }, Class::Clothes)
            }
            _ => match appearance.socks {
                Some(socks) => (socks, Class::Clothes),
                None if appearance.hem >= 1.0 && appearance.shoes.is_some() => {
                    (appearance.bottom.colour, Class::Clothes)
                }
                None => (appearance.skin, Class::Skin),
            },
        }
    }
}

/// The face at a place of the head (x left, y up, z ahead; metres on a median head).
fn face(appearance: &Appearance, at: Vec3) -> Vec3 {
    let mut colour = appearance.skin;
    let x = at.x.abs();
    if at.z > 0.02 {
        let eye = ((x - 0.032) / 0.014).hypot((at.y - 0.012) / 0.0075);
        let iris = (x - 0.032).hypot(at.y - 0.012);
        let brow = ((x - 0.033) / 0.019).abs() < 1.0
            && (at.y - 0.031 - 0.12 * (0.045 - x).min(0.012)).abs() < 0.0045;
        let mouth = (at.x / 0.024).hypot((at.y + 0.056) / 0.0075);
        let nostril = (x - 0.008).hypot(at.y + 0.034) < 0.0035;
        let flush = (1.0 - (x - 0.045).hypot(at.y + 0.02) / 0.03).max(0.0);
        colour *= Vec3::ONE - flush * Vec3::new(0.0, 0.16, 0.14);
        // The eyes lie in the shade of the brow.
        let socket = (1.0 - ((x - 0.032) / 0.024).hypot((at.y - 0.016) / 0.017)).max(0.0);
        colour *= 1.0 - 0.45 * socket;
        if appearance.beard > 0.5 && at.y < -0.03 && mouth > 1.25 && (at.y < -0.044 || x < 0.028) {
            colour = colour.lerp(appearance.hair_colour, 0.75);
        }
        if iris < 0.0055 && eye < 1.0 {
            colour = if iris < 0.0025 {
                Vec3::splat(0.01)
            } else {
                appearance.eyes
            };
        } else if eye < 1.0 {
            colour = Vec3::splat(0.68);
        } else if eye < 1.35 {
            colour *= 0.45;
        } else if brow {
            colour = appearance.hair_colour * 0.8;
        } else if mouth < 1.0 {
            colour = colour
                * Vec3::new(0.85, 0.45, 0.45)
                * if (at.y + 0.056).abs() < 0.0012 {
                    0.5
                } else {
                    1.0
                };
        } else if nostril {
            colour *= 0.35;
        }
        if appearance.glasses {
            let rim = (x - 0.032).hypot(at.y - 0.01);
            if (rim - 0.022).abs() < 0.003 || (x < 0.011 && (at.y - 0.014).abs() < 0.003) {
                colour = Vec3::splat(0.02);
            }
        }
    } else if appearance.beard > 0.5 && at.y < -0.045 && at.z > -0.01 {
        colour = colour.lerp(appearance.hair_colour, 0.75);
    }
    colour
}

/// Folds of cloth: how much brighter or darker, about 1.
pub fn folds(point: Vec3, grain: f32) -> f32 {
    let wave = 9.0 * (point.y * 13.0 + point.x * 7.0 + grain).sin();
    1.0 + 0.07 * (point.y * 41.0 + point.z * 33.0 + wave * 0.35).sin()
        + 0.05 * (point.x * 57.0 - point.y * 23.0 + wave * 0.2).sin()
}
