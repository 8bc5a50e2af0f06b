//! The room: floor, walls, what hangs on them, furniture, light. Nothing in it
//! moves, so it is drawn once, by casting a ray through each sample.

use fastrand::Rng;
use glam::Vec3;

use super::appearance::{between, linear};
use super::config::Scenario;
use super::finish::Finish;
use super::furniture::Block;
use super::motion::Anchor;
use super::plan::Places;
use super::wall::Flat;

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
    pub(super) low: Vec3,
    pub(super) high: Vec3,
    pub(super) floor: Finish,
    pub(super) walls: [Finish; 4],
    pub(super) blocks: Vec<Block>,
    pub(super) flats: Vec<Flat>,
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

    /// An empty room around everything between `low` and `high`, metres.
    pub fn bare(low: Vec3, high: Vec3, rng: &mut Rng) -> Self {
        let mut aside = |least: f32| between(rng, least, least + 1.2);
        let (low_aside, high_aside) = (
            Vec3::new(aside(0.6), 0.0, aside(0.6)),
            Vec3::new(aside(0.6), 0.3, aside(0.6)),
        );
        let low = (low - low_aside).with_y(0.0);
        let high = high + high_aside;
        let mut room = Self {
            light: light(rng),
            low,
            high: high.with_y(high.y.max(between(rng, 2.6, 3.2))),
            floor: Finish::floor(rng),
            walls: [Finish::wall(rng); 4],
            blocks: Vec::new(),
            flats: Vec::new(),
        };
        room.hang(rng);
        room
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

#[cfg(test)]
mod tests {
    use super::*;

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
