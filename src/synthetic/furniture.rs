//! Furniture: upright blocks, and the pieces made of them.

use fastrand::Rng;
use glam::Vec3;

use super::appearance::between;
use super::config::Scenario;
use super::finish::Finish;
use super::motion::{Anchor, SEAT_BEHIND_M, SEAT_HEIGHT_M, STEP_AHEAD_M, STEP_HEIGHT_M};
use super::plan::Places;
use super::room::Room;

/// A box standing upright, turned about y.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Middle, metres.
    pub middle: Vec3,
    /// Half the sizes, metres.
    pub half: Vec3,
    /// Turn about y: cosine and sine.
    pub turn: (f32, f32),
    /// Surface.
    pub finish: Finish,
}

impl Block {
    pub(super) fn new(at: &Anchor, local: Vec3, half: Vec3, finish: Finish) -> Self {
        let (sin, cos) = at.heading.sin_cos();
        Self {
            middle: at.at(local),
            half,
            turn: (cos, sin),
            finish,
        }
    }

    /// A vector of the world in the block's axes.
    pub(super) fn local(&self, world: Vec3) -> Vec3 {
        let (cos, sin) = self.turn;
        Vec3::new(
            world.x * cos - world.z * sin,
            world.y,
            world.x * sin + world.z * cos,
        )
    }

    /// Where a ray enters: distance along the ray, place and normal in the block's axes.
    pub(super) fn hit(&self, from: Vec3, way: Vec3) -> Option<(f32, Vec3, Vec3)> {
        let origin = self.local(from - self.middle);
        let way = self.local(way);
        let inverse = way.recip();
        let (a, b) = (
            (-self.half - origin) * inverse,
            (self.half - origin) * inverse,
        );
        let (near, far) = (a.min(b), a.max(b));
        let enter = near.max_element();
        if enter < 0.05 || enter > far.min_element() {
            return None;
        }
        let normal = if near.x >= enter {
            Vec3::X * -way.x.signum()
        } else if near.y >= enter {
            Vec3::Y * -way.y.signum()
        } else {
            Vec3::Z * -way.z.signum()
        };
        Some((enter, origin + way * enter, normal))
    }

    /// How far a place on the floor is from the block's footprint, metres.
    pub(super) fn floor_distance(&self, place: Vec3) -> f32 {
        let local = self.local(place - self.middle);
        let out = (local.abs() - self.half).max(Vec3::ZERO);
        out.x.hypot(out.z)
    }
}

impl Room {
    pub(super) fn furnish(
        &mut self,
        scenario: Scenario,
        places: &Places,
        scale: f32,
        camera: Vec3,
        rng: &mut Rng,
    ) {
        if let Some(at) = places.seat {
            let back = rng.bool();
            let middle = Anchor {
                place: at.at(Vec3::Z * -(SEAT_BEHIND_M * scale)),
                heading: at.heading,
            };
            self.chair(&middle, SEAT_HEIGHT_M * scale, back, rng);
        }
        if let Some(at) = places.step {
            let half = Vec3::new(0.4, 0.5 * STEP_HEIGHT_M, 0.21);
            let ahead = Vec3::new(0.0, half.y, STEP_AHEAD_M * scale + 0.07);
            self.blocks
                .push(Block::new(&at, ahead, half, Finish::furniture(rng)));
        }
        if scenario == Scenario::Occluded {
            let at = Anchor {
                place: Vec3::new(0.0, 0.0, 0.95),
                heading: 0.0,
            };
            let finish = Finish::furniture(rng);
            self.blocks.push(Block::new(
                &at,
                Vec3::Y * 0.41,
                Vec3::new(1.0, 0.41, 0.25),
                finish,
            ));
            let top = Finish::furniture(rng);
            self.blocks.push(Block::new(
                &at,
                Vec3::Y * 0.84,
                Vec3::new(1.05, 0.02, 0.3),
                top,
            ));
        }
        if scenario == Scenario::Varied {
            let ground = Vec3::new(camera.x, 0.0, camera.z);
            for _ in 0..rng.u32(0..4) {
                // Between the camera and the people, or around them.
                let at = Anchor {
                    place: if rng.bool() {
                        ground.normalize_or(Vec3::Z) * between(rng, 0.6, 1.1)
                            + Vec3::X * between(rng, -0.8, 0.8)
                    } else {
                        Vec3::new(between(rng, -2.5, 2.5), 0.0, between(rng, -2.8, -1.4))
                    },
                    heading: between(rng, -3.1, 3.1),
                };
                if at.place.distance(ground) > 1.3 {
                    self.piece(&at, rng);
                }
            }
        }
        // No path leads along the back wall.
        for _ in 0..rng.u32(1..4) {
            let at = Anchor {
                place: Vec3::new(
                    between(rng, self.low.x + 0.5, self.high.x - 0.5),
                    0.0,
                    self.low.z + 0.3,
                ),
                heading: 0.0,
            };
            self.piece(&at, rng);
        }
    }

    fn chair(&mut self, at: &Anchor, seat: f32, back: bool, rng: &mut Rng) {
        let finish = Finish::furniture(rng);
        let half = Vec3::new(0.22, 0.025, 0.2);
        self.blocks
            .push(Block::new(at, Vec3::Y * (seat - 0.025), half, finish));
        for (x, z) in [(-0.19, -0.17), (0.19, -0.17), (-0.19, 0.17), (0.19, 0.17)] {
            let leg = Vec3::new(0.02, 0.5 * seat - 0.025, 0.02);
            self.blocks
                .push(Block::new(at, Vec3::new(x, leg.y, z), leg, finish));
        }
        if back {
            self.blocks.push(Block::new(
                at,
                Vec3::new(0.0, seat + 0.25, -0.2),
                Vec3::new(0.21, 0.2, 0.02),
                finish,
            ));
        }
    }

    fn piece(&mut self, at: &Anchor, rng: &mut Rng) {
        let finish = Finish::furniture(rng);
        match rng.u32(0..5) {
            0 | 1 => {
                // Table.
                let (x, z) = (between(rng, 0.35, 0.8), between(rng, 0.28, 0.45));
                let top = between(rng, 0.5, 0.95);
                self.blocks.push(Block::new(
                    at,
                    Vec3::Y * (top - 0.02),
                    Vec3::new(x, 0.02, z),
                    finish,
                ));
                for (sx, sz) in [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)] {
                    let leg = Vec3::new(0.025, 0.5 * top - 0.02, 0.025);
                    let place = Vec3::new(sx * (x - 0.04), leg.y, sz * (z - 0.04));
                    self.blocks.push(Block::new(at, place, leg, finish));
                }
            }
            2 => self.chair(at, between(rng, 0.4, 0.5), true, rng),
            3 => {
                // Counter or box.
                let half = Vec3::new(
                    between(rng, 0.25, 0.7),
                    between(rng, 0.2, 0.5),
                    between(rng, 0.15, 0.3),
                );
                self.blocks
                    .push(Block::new(at, Vec3::Y * half.y, half, finish));
            }
            _ => {
                // Shelf or plant stand: narrow and high.
                let half = Vec3::new(
                    between(rng, 0.08, 0.3),
                    between(rng, 0.4, 0.9),
                    between(rng, 0.08, 0.2),
                );
                self.blocks
                    .push(Block::new(at, Vec3::Y * half.y, half, finish));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ray_meets_a_turned_block_on_its_face() {
        let at = Anchor {
            place: Vec3::new(0.0, 0.0, -3.0),
            heading: 0.7,
        };
        let finish = Finish {
            kind: super::super::finish::Kind::Plain,
            a: Vec3::splat(0.5),
            b: Vec3::splat(0.5),
            pitch_m: 1.0,
            grain: 0,
        };
        let block = Block::new(&at, Vec3::Y, Vec3::new(0.5, 1.0, 0.5), finish);
        let (distance, local, _) = block.hit(Vec3::Y, Vec3::NEG_Z).unwrap();
        assert!(local.abs().max_element() <= 1.0001);
        assert!(
            (distance - (3.0 - 0.5 / 0.7_f32.cos())).abs() < 1e-3,
            "{distance}"
        );
        assert!(block.hit(Vec3::Y, Vec3::X).is_none());
        assert!(block.floor_distance(at.place) < 1e-6);
    }
}
