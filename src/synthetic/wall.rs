//! What hangs on walls: windows, doors, images, books.

use fastrand::Rng;
use glam::Vec3;

use super::appearance::{between, from_hsv, linear};
use super::finish::{hash, noise};
use super::room::Room;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hanging {
    Window,
    Door,
    Picture,
    Books,
}

/// Something flat on a wall: `u` along the wall, `v` above the floor, metres.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flat {
    pub(super) wall: usize,
    pub(super) low: (f32, f32),
    pub(super) high: (f32, f32),
    pub(super) kind: Hanging,
    pub(super) colour: Vec3,
    pub(super) grain: u32,
}

impl Room {
    pub(super) fn hang(&mut self, rng: &mut Rng) {
        for wall in 0..4 {
            let (low, high) = if wall < 2 {
                (self.low.z, self.high.z)
            } else {
                (self.low.x, self.high.x)
            };
            let mut at = low + between(rng, 0.2, 0.9);
            while at < high - 0.6 {
                let (kind, width, bottom, top) = match rng.u32(0..6) {
                    0 | 1 => (Hanging::Window, between(rng, 0.7, 1.6), 0.9, 2.2),
                    2 => (Hanging::Door, 0.9, 0.0, 2.05),
                    3 => (
                        Hanging::Books,
                        between(rng, 0.7, 1.4),
                        between(rng, 0.0, 1.0),
                        2.0,
                    ),
                    _ => (
                        Hanging::Picture,
                        between(rng, 0.3, 1.1),
                        between(rng, 1.1, 1.4),
                        between(rng, 1.6, 2.1),
                    ),
                };
                if at + width < high - 0.1 {
                    self.flats.push(Flat {
                        wall,
                        low: (at, bottom),
                        high: (at + width, top),
                        kind,
                        colour: from_hsv(rng.f32(), between(rng, 0.1, 0.7), between(rng, 0.3, 0.9)),
                        grain: rng.u32(..),
                    });
                }
                at += width + between(rng, 0.25, 1.4);
            }
        }
    }
}

impl Flat {
    pub(super) fn colour(&self, u: f32, v: f32, lit: Vec3) -> Vec3 {
        let (x, y) = (
            (u - self.low.0) / (self.high.0 - self.low.0),
            (v - self.low.1) / (self.high.1 - self.low.1),
        );
        let frame = (u - self.low.0)
            .min(self.high.0 - u)
            .min(self.high.1 - v)
            .min(if self.kind == Hanging::Door {
                9.0
            } else {
                v - self.low.1
            });
        match self.kind {
            Hanging::Window => {
                if frame < 0.05 || (x - 0.5).abs() < 0.02 {
                    return linear(236, 234, 230) * lit;
                }
                let sky = linear(190, 214, 240).lerp(linear(140, 180, 230), y) * 1.25;
                let trees = 0.35 + 0.3 * noise(u * 3.0, 0.0, self.grain);
                if y < trees {
                    linear(74, 104, 60)
                        .lerp(linear(130, 150, 110), noise(u * 9.0, v * 9.0, self.grain))
                } else {
                    sky
                }
            }
            Hanging::Door => {
                let knob = (x - 0.9).hypot((v - 1.0) * 0.9);
                if frame < 0.06 {
                    linear(220, 216, 206) * lit
                } else if knob < 0.05 {
                    linear(190, 180, 150) * lit
                } else {
                    let panel =
                        x > 0.2 && x < 0.8 && ((y > 0.1 && y < 0.45) || (y > 0.55 && y < 0.9));
                    self.colour * lit * if panel { 0.75 } else { 0.95 }
                }
            }
            Hanging::Picture => {
                if frame < 0.03 {
                    return self.colour * 0.3 * lit;
                }
                let hue = noise(u * 5.0, v * 5.0, self.grain);
                let tone = noise(u * 11.0, v * 11.0, self.grain ^ 1);
                from_hsv(
                    hue * 1.6,
                    0.2 + 0.5 * tone,
                    0.3 + 0.6 * noise(u * 7.0, v * 7.0, self.grain ^ 2),
                ) * lit
            }
            Hanging::Books => {
                let shelf = (v / 0.32).fract();
                if shelf < 0.09 {
                    return self.colour * 0.4 * lit;
                }
                let book = (u / 0.045).floor() as i32;
                let row = (v / 0.32).floor() as i32;
                let high = 0.6 + 0.35 * hash(book, row, self.grain);
                if shelf > high {
                    return self.colour * 0.12 * lit;
                }
                let hue = hash(book, row, self.grain ^ 3);
                from_hsv(hue, 0.5, 0.25 + 0.6 * hash(book, row, self.grain ^ 4)) * lit
            }
        }
    }
}
