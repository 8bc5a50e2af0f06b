//! Surfaces of rooms and furniture: colour as a function of place.

use fastrand::Rng;
use glam::Vec3;

use super::appearance::{between, from_hsv, linear};

/// Kind of surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Paint, a little uneven.
    Plain,
    /// Wooden boards along the second axis.
    Boards,
    /// Square tiles with joints.
    Tiles,
    /// Bricks with joints.
    Bricks,
    /// Upright stripes.
    Stripes,
    /// Panels of two heights: wainscot below 1 m.
    Panels,
    /// Cloudy stone or worn paint.
    Cloudy,
    /// Short pile.
    Carpet,
}

/// A surface's colours and pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finish {
    /// Kind.
    pub kind: Kind,
    /// Main colour, linear light.
    pub a: Vec3,
    /// Second colour, linear light.
    pub b: Vec3,
    /// Width of a board, tile or stripe, metres.
    pub pitch_m: f32,
    /// Varies the grain.
    pub grain: u32,
}

/// A number in 0..1 for a lattice point.
pub fn hash(x: i32, y: i32, grain: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1)
        ^ (y as u32).wrapping_mul(0x85EB_CA77)
        ^ grain.wrapping_mul(0xC2B2_AE3D);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 12;
    h = h.wrapping_mul(0x297A_2D39);
    h ^= h >> 15;
    (h >> 8) as f32 / (1 << 24) as f32
}

/// Smooth noise in 0..1 with features of about one unit.
pub fn noise(x: f32, y: f32, grain: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let (u, v) = (x - fx, y - fy);
    let (u, v) = (u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v));
    let row = |dy: i32| {
        let left = hash(ix, iy.wrapping_add(dy), grain);
        let right = hash(ix.wrapping_add(1), iy.wrapping_add(dy), grain);
        left + (right - left) * u
    };
    row(0) + (row(1) - row(0)) * v
}

impl Finish {
    /// The colour at a place of the surface, metres; linear light.
    pub fn colour(&self, u: f32, v: f32) -> Vec3 {
        let p = self.pitch_m;
        let fine = noise(u * 23.0, v * 23.0, self.grain);
        let broad = noise(u * 1.7, v * 1.7, self.grain ^ 7);
        let wear = 0.9 + 0.12 * broad + 0.06 * (fine - 0.5);
        let joint = |place: f32, width: f32| (place - place.round()).abs() < width;
        let colour = match self.kind {
            Kind::Plain => self.a,
            Kind::Boards => {
                let board = (u / p).floor();
                let shift = hash(board as i32, 3, self.grain) * 7.0;
                let along = (v + shift) / 1.4;
                let tone = hash(board as i32, along.floor() as i32, self.grain);
                let vein = noise(u * 60.0, v * 4.0 + shift, self.grain ^ 0xB);
                if joint(u / p, 0.025) || joint(along, 0.004) {
                    self.a * 0.35
                } else {
                    self.a.lerp(self.b, 0.6 * tone + 0.3 * vein)
                }
            }
            Kind::Tiles => {
                if joint(u / p, 0.02) || joint(v / p, 0.02) {
                    self.b
                } else {
                    let tone = hash((u / p).round() as i32, (v / p).round() as i32, self.grain);
                    self.a * (0.92 + 0.16 * tone)
                }
            }
            Kind::Bricks => {
                let row = (v / (0.4 * p)).floor();
                let along = u / p + 0.5 * (row as i32).rem_euclid(2) as f32;
                if joint(along, 0.03) || joint(v / (0.4 * p), 0.07) {
                    self.b
                } else {
                    let tone = hash(along.round() as i32, row as i32, self.grain);
                    self.a * (0.75 + 0.5 * tone)
                }
            }
            Kind::Stripes => {
                if (u / p).floor() as i32 % 2 == 0 {
                    self.a
                } else {
                    self.b
                }
            }
            Kind::Panels => {
                if v < 1.0 {
                    let edge = joint(u / 0.6, 0.03) || v > 0.95;
                    self.b * if edge { 0.7 } else { 1.0 }
                } else {
                    self.a
                }
            }
            Kind::Cloudy => {
                let cloud = 0.6 * noise(u / p, v / p, self.grain ^ 5)
                    + 0.4 * noise(2.3 * u / p, 2.3 * v / p, self.grain ^ 6);
                self.a.lerp(self.b, cloud)
            }
            Kind::Carpet => {
                let pile = hash((u * 140.0) as i32, (v * 140.0) as i32, self.grain);
                self.a * (0.8 + 0.4 * pile)
            }
        };
        colour * wear
    }

    /// A floor by chance.
    pub fn floor(rng: &mut Rng) -> Self {
        let wood = [
            (176, 134, 90),
            (140, 98, 62),
            (206, 172, 128),
            (104, 76, 54),
            (150, 140, 128),
        ];
        let (red, green, blue) = wood[rng.usize(..wood.len())];
        let colour = linear(red, green, blue);
        let (kind, a, b, pitch_m) = match rng.u32(0..10) {
            0..=4 => (Kind::Boards, colour, colour * 0.6, between(rng, 0.09, 0.2)),
            5 | 6 => {
                let tile = from_hsv(rng.f32(), between(rng, 0.0, 0.25), between(rng, 0.4, 0.9));
                (Kind::Tiles, tile, tile * 0.5, between(rng, 0.2, 0.6))
            }
            7 => (
                Kind::Cloudy,
                linear(150, 150, 148),
                linear(110, 108, 104),
                0.5,
            ),
            _ => {
                let pile = from_hsv(rng.f32(), between(rng, 0.0, 0.5), between(rng, 0.2, 0.8));
                (Kind::Carpet, pile, pile, 0.1)
            }
        };
        Self {
            kind,
            a,
            b,
            pitch_m,
            grain: rng.u32(..),
        }
    }

    /// A wall by chance.
    pub fn wall(rng: &mut Rng) -> Self {
        let a = if rng.bool() {
            linear(228, 224, 214) * between(rng, 0.6, 1.0)
        } else {
            from_hsv(rng.f32(), between(rng, 0.05, 0.5), between(rng, 0.35, 0.95))
        };
        let b = from_hsv(rng.f32(), between(rng, 0.0, 0.4), between(rng, 0.3, 0.9));
        let (kind, b, pitch_m) = match rng.u32(0..12) {
            0..=4 => (Kind::Plain, b, 1.0),
            5 | 6 => (Kind::Cloudy, a * 0.75, 1.2),
            7 => (Kind::Bricks, linear(190, 186, 178), 0.24),
            8 => (Kind::Stripes, a * 0.8, between(rng, 0.08, 0.3)),
            9 => (Kind::Tiles, a * 0.6, between(rng, 0.15, 0.4)),
            _ => (Kind::Panels, b, 1.0),
        };
        let a = if kind == Kind::Bricks {
            linear(160, 88, 66) * between(rng, 0.6, 1.3)
        } else {
            a
        };
        Self {
            kind,
            a,
            b,
            pitch_m,
            grain: rng.u32(..),
        }
    }

    /// Furniture by chance.
    pub fn furniture(rng: &mut Rng) -> Self {
        let wood = linear(150, 106, 70) * between(rng, 0.3, 1.6);
        let paint = from_hsv(rng.f32(), between(rng, 0.0, 0.8), between(rng, 0.2, 0.95));
        let (kind, a) = match rng.u32(0..5) {
            0 | 1 => (Kind::Boards, wood),
            2 => (Kind::Cloudy, paint),
            _ => (Kind::Plain, paint),
        };
        Self {
            kind,
            a: a.min(Vec3::ONE),
            b: a * 0.7,
            pitch_m: between(rng, 0.08, 0.5),
            grain: rng.u32(..),
        }
    }
}
