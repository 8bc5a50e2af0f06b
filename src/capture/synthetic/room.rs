//! The room: floor, walls, what hangs on them, furniture, light. Nothing in it
//! moves, so it is drawn once, by casting a ray through each sample.

use fastrand::Rng;
use glam::Vec3;

use super::config::Scenario;
use super::finish::{Finish, noise};
use super::look::{between, from_hsv, linear};
use super::motion::{Anchor, SEAT_BEHIND_M, SEAT_HEIGHT_M, STEP_AHEAD_M, STEP_HEIGHT_M};
use super::plan::Places;

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
    fn new(at: &Anchor, local: Vec3, half: Vec3, finish: Finish) -> Self {
        let (sin, cos) = at.heading.sin_cos();
        Self {
            middle: at.at(local),
            half,
            turn: (cos, sin),
            finish,
        }
    }

    /// A vector of the world in the block's axes.
    fn local(&self, world: Vec3) -> Vec3 {
        let (cos, sin) = self.turn;
        Vec3::new(
            world.x * cos - world.z * sin,
            world.y,
            world.x * sin + world.z * cos,
        )
    }

    /// Where a ray enters: distance along the ray, place and normal in the block's axes.
    fn hit(&self, from: Vec3, way: Vec3) -> Option<(f32, Vec3, Vec3)> {
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
    fn floor_distance(&self, place: Vec3) -> f32 {
        let local = self.local(place - self.middle);
        let out = (local.abs() - self.half).max(Vec3::ZERO);
        out.x.hypot(out.z)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hanging {
    Window,
    Door,
    Picture,
    Books,
}

/// Something flat on a wall: `u` along the wall, `v` above the floor, metres.
#[derive(Clone, Copy, Debug)]
struct Flat {
    wall: usize,
    low: (f32, f32),
    high: (f32, f32),
    kind: Hanging,
    colour: Vec3,
    grain: u32,
}

/// Light of the room, linear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Light {
    /// Unit vector to the main light.
    pub towards: Vec3,
    /// Its colour and strength.
    pub key: Vec3,
    /// Light from above.
    pub sky: Vec3,
    /// Light from below.
    pub ground: Vec3,
}

impl Light {
    /// Light that reaches a surface.
    pub fn on(&self, normal: Vec3, open: f32) -> Vec3 {
        let direct = (normal.dot(self.towards) * 0.85 + 0.15).max(0.0);
        let up = 0.5 + 0.5 * normal.y;
        self.key * (direct * (0.4 + 0.6 * open)) + self.ground.lerp(self.sky, up) * open
    }
}

/// The room.
#[derive(Debug)]
pub struct Room {
    /// Light.
    pub light: Light,
    low: Vec3,
    high: Vec3,
    floor: Finish,
    walls: [Finish; 4],
    blocks: Vec<Block>,
    flats: Vec<Flat>,
}

/// What a ray meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Met {
    /// Distance in units of the ray.
    pub distance: f32,
    /// Linear light.
    pub colour: Vec3,
    /// Whether it is the floor, where shadows fall.
    pub is_floor: bool,
}

impl Room {
    /// A room for a scenario, and the places in it. `camera` keeps furniture and
    /// walls away from the lens.
    pub fn new(scenario: Scenario, scale: f32, camera: Vec3, rng: &mut Rng) -> (Self, Places) {
        let places = places(scenario, rng);
        let far = camera.length() + 0.8;
        let depth = between(rng, 1.2, 2.6) - places.free_z.1;
        let wide = (places.free_x + between(rng, 0.9, 2.2)).max(camera.x.abs() + 0.5);
        let mut room = Self {
            light: light(rng),
            low: Vec3::new(-wide, 0.0, -depth.max(0.5 - camera.z)),
            high: Vec3::new(wide, between(rng, 2.6, 3.2).max(camera.y + 0.3), far),
            floor: Finish::floor(rng),
            walls: [(); 4].map(|()| Finish::wall(rng)),
            blocks: Vec::new(),
            flats: Vec::new(),
        };
        if rng.u32(0..3) != 0 {
            room.walls = [room.walls[0]; 4];
        }
        room.hang(rng);
        room.furnish(scenario, &places, scale, camera, rng);
        (room, places)
    }

    fn hang(&mut self, rng: &mut Rng) {
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

    fn furnish(
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
        // Along the back wall nobody walks.
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

    /// What a ray from the camera meets first.
    pub fn cast(&self, from: Vec3, way: Vec3) -> Met {
        let tiny = Vec3::splat(1e-9);
        let way = Vec3::select(way.abs().cmplt(tiny), tiny, way);
        let mut met = self.shell(from, way);
        for block in &self.blocks {
            if let Some((distance, local, normal)) = block.hit(from, way)
                && distance < met.distance
            {
                let (u, v) = if normal.x.abs() > 0.5 {
                    (local.z, local.y)
                } else if normal.y.abs() > 0.5 {
                    (local.z, local.x)
                } else {
                    (local.x, local.y)
                };
                let (cos, sin) = block.turn;
                let world = Vec3::new(
                    normal.x * cos + normal.z * sin,
                    normal.y,
                    -normal.x * sin + normal.z * cos,
                );
                let height = local.y + block.middle.y;
                let low = 0.6 + 0.4 * (height / 0.25).clamp(0.0, 1.0);
                met = Met {
                    distance,
                    colour: block.finish.colour(u, v) * self.light.on(world, low),
                    is_floor: false,
                };
            }
        }
        met
    }

    /// Floor, ceiling and walls.
    fn shell(&self, from: Vec3, way: Vec3) -> Met {
        let inverse = way.recip();
        let bound = Vec3::select(way.cmpgt(Vec3::ZERO), self.high, self.low);
        let to = (bound - from) * inverse;
        let distance = to.min_element();
        let place = from + way * distance;
        let inside = (place - self.low).min(self.high - place);
        // Corners are darker.
        let mut edges = [inside.x, inside.y, inside.z];
        edges.sort_by(f32::total_cmp);
        let corner = 1.0 - 0.35 * (-edges[1].max(0.0) / 0.35).exp();
        if to.y <= distance {
            if way.y > 0.0 {
                let colour = linear(232, 230, 226) * self.light.on(Vec3::NEG_Y, corner) * 1.2;
                return Met {
                    distance,
                    colour,
                    is_floor: false,
                };
            }
            let shade = self.under_furniture(place);
            let colour =
                self.floor.colour(place.x, place.z) * self.light.on(Vec3::Y, corner) * shade;
            return Met {
                distance,
                colour,
                is_floor: true,
            };
        }
        let (wall, u, normal) = if to.x <= distance {
            if way.x > 0.0 {
                (0, place.z, Vec3::NEG_X)
            } else {
                (1, place.z, Vec3::X)
            }
        } else if way.z > 0.0 {
            (2, place.x, Vec3::NEG_Z)
        } else {
            (3, place.x, Vec3::Z)
        };
        let lit = self.light.on(normal, corner);
        let v = place.y;
        let mut colour = self.walls[wall].colour(u, v) * lit;
        if v < 0.09 {
            colour = linear(225, 222, 215) * lit * 0.8;
        }
        if let Some(flat) = self.flats.iter().find(|flat| {
            flat.wall == wall
                && u > flat.low.0
                && u < flat.high.0
                && v > flat.low.1
                && v < flat.high.1
        }) {
            colour = flat.colour(u, v, lit);
        }
        Met {
            distance,
            colour,
            is_floor: false,
        }
    }

    /// Furniture keeps light from the floor around its feet.
    fn under_furniture(&self, place: Vec3) -> f32 {
        let mut shade = 1.0_f32;
        for block in &self.blocks {
            let bottom = block.middle.y - block.half.y;
            let distance = block.floor_distance(place);
            let soft = 0.08 + 0.35 * bottom;
            shade *= 1.0 - (0.5 / (1.0 + 2.0 * bottom)) * (-distance / soft).exp();
        }
        shade
    }
}

impl Flat {
    fn colour(&self, u: f32, v: f32, lit: Vec3) -> Vec3 {
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
                let high = 0.6 + 0.35 * super::finish::hash(book, row, self.grain);
                if shelf > high {
                    return self.colour * 0.12 * lit;
                }
                let hue = super::finish::hash(book, row, self.grain ^ 3);
                from_hsv(
                    hue,
                    0.5,
                    0.25 + 0.6 * super::finish::hash(book, row, self.grain ^ 4),
                ) * lit
            }
        }
    }
}

fn light(rng: &mut Rng) -> Light {
    let strength = between(rng, 0.45, 0.95);
    let warm = between(rng, -0.12, 0.12);
    let tint = Vec3::new(1.0 + warm, 1.0, 1.0 - warm);
    let ambient = between(rng, 0.3, 0.55);
    Light {
        towards: Vec3::new(
            between(rng, -0.9, 0.9),
            between(rng, 0.7, 1.4),
            between(rng, 0.1, 1.0),
        )
        .normalize(),
        key: tint * strength,
        sky: Vec3::new(1.0, 1.0, 1.03) * ambient,
        ground: Vec3::new(1.0, 0.95, 0.88) * ambient * 0.55,
    }
}

/// Free floor, seat and step of a scenario.
fn places(scenario: Scenario, rng: &mut Rng) -> Places {
    let anchor = |x: f32, z: f32, heading: f32| Anchor {
        place: Vec3::new(x, 0.0, z),
        heading,
    };
    match scenario {
        Scenario::Default | Scenario::HighCamera | Scenario::Small => Places {
            seat: Some(anchor(-0.75, -0.55, 0.55)),
            step: Some(anchor(0.25, -0.9, 1.1)),
            free_x: 0.8,
            free_z: (0.35, -0.9),
        },
        Scenario::Occluded => Places {
            seat: Some(anchor(-0.6, -0.6, 0.4)),
            step: None,
            free_x: 0.8,
            free_z: (0.0, -0.9),
        },
        Scenario::Crowd => Places {
            seat: None,
            step: None,
            free_x: 1.7,
            free_z: (0.9, -1.8),
        },
        Scenario::Walk => Places {
            seat: None,
            step: None,
            free_x: 1.2,
            free_z: (0.4, -1.6),
        },
        Scenario::Sit => Places {
            seat: Some(anchor(0.0, 0.1, between(rng, -0.8, 0.8))),
            step: None,
            free_x: 0.6,
            free_z: (0.2, -0.4),
        },
        Scenario::Climb => Places {
            seat: None,
            step: Some(anchor(-0.2, 0.0, between(rng, 0.3, 1.3))),
            free_x: 0.6,
            free_z: (0.2, -0.4),
        },
        Scenario::Squat | Scenario::Exercise => Places {
            seat: None,
            step: None,
            free_x: 0.5,
            free_z: (0.2, -0.4),
        },
        Scenario::Varied => Places {
            seat: rng.bool().then(|| {
                anchor(
                    between(rng, -0.8, 0.8),
                    between(rng, -0.6, 0.3),
                    between(rng, -3.1, 3.1),
                )
            }),
            step: (rng.u32(0..3) == 0).then(|| {
                anchor(
                    between(rng, -0.6, 0.6),
                    between(rng, -0.6, 0.3),
                    between(rng, -3.1, 3.1),
                )
            }),
            free_x: 0.9,
            free_z: (0.5, -1.1),
        },
    }
}

/// A plain grey finish, for tests.
#[cfg(test)]
pub fn grey() -> Finish {
    Finish {
        kind: super::finish::Kind::Plain,
        a: Vec3::splat(0.5),
        b: Vec3::splat(0.5),
        pitch_m: 1.0,
        grain: 0,
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
        let block = Block::new(&at, Vec3::Y, Vec3::new(0.5, 1.0, 0.5), grey());
        let (distance, local, _) = block.hit(Vec3::Y, Vec3::NEG_Z).unwrap();
        assert!(local.abs().max_element() <= 1.0001);
        assert!(
            (distance - (3.0 - 0.5 / 0.7_f32.cos())).abs() < 1e-3,
            "{distance}"
        );
        assert!(block.hit(Vec3::Y, Vec3::X).is_none());
        assert!(block.floor_distance(at.place) < 1e-6);
    }

    #[test]
    fn a_room_is_closed() {
        let mut rng = Rng::with_seed(3);
        let camera = Vec3::new(0.0, 1.3, 3.5);
        let (room, _) = Room::new(Scenario::Varied, 1.0, camera, &mut rng);
        for _ in 0..500 {
            let way = Vec3::new(rng.f32() - 0.5, rng.f32() - 0.5, rng.f32() - 0.5);
            let met = room.cast(camera, way.normalize());
            assert!(
                met.distance > 0.0 && met.distance < 20.0,
                "{met:?} along {way}"
            );
            assert!(met.colour.is_finite());
        }
    }
}
