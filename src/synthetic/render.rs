//! From surfaces to pixels: a depth buffer at twice the image's resolution, then
//! colour for each sample that shows a person, and the mean of a pixel's samples.

use glam::Vec3;

use super::body::{BONES, Stance};
use super::figure::{Carry, Figure, Region};
use super::optics::Optics;
use super::room::{Light, Room};
use super::skin::{Class, Tailor, folds};

/// Samples of a pixel along each side.
const SUB: usize = 2;

/// Bits of a sample's owner that hold the triangle; the rest holds the person.
const TRIANGLE_BITS: u32 = 24;

/// Nearest distance drawn, metres.
const NEAR_M: f32 = 0.15;

/// A point of a person as the camera sees it now.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Sample column and row, and one over the depth; 0 where it is too near.
    x: f32,
    y: f32,
    inverse: f32,
    normal: Vec3,
}

/// A person ready to be drawn.
#[derive(Debug)]
pub struct Actor {
    figure: Figure,
    tailor: Tailor,
    seen: Vec<Seen>,
    /// Bounds of the samples it may touch: columns and rows, ends excluded.
    reach: [usize; 4],
    /// Bounds of the whole person in pixels, not cut at the image's border.
    outline: [f32; 4],
}

impl Actor {
    /// A person of a figure.
    pub fn new(figure: Figure) -> Self {
        let seen = vec![Seen::default(); figure.points.len()];
        Self {
            tailor: Tailor::new(&figure),
            figure,
            seen,
            reach: [0; 4],
            outline: [0.0; 4],
        }
    }

    /// The figure.
    pub const fn figure(&self) -> &Figure {
        &self.figure
    }

    /// Left, top, right, bottom of the synthetic person in pixels; may lie outside the image.
    pub const fn outline(&self) -> [f32; 4] {
        self.outline
    }

    /// Moves the skin into a posture and onto the image.
    fn project(&mut self, stance: &Stance, optics: &Optics, canvas: (usize, usize)) {
        let carry: [Carry; BONES] = self.figure.carry(stance);
        let k = &optics.intrinsics;
        let sub = SUB as f32;
        let mut low = [f32::INFINITY; 2];
        let mut high = [f32::NEG_INFINITY; 2];
        for (point, seen) in self.figure.points.iter().zip(&mut self.seen) {
            let mut world = Vec3::ZERO;
            let mut normal = Vec3::ZERO;
            for (bone, weight) in point.bones.iter().zip(&point.weights) {
                if *weight > 0.01 {
                    let carry = &carry[*bone as usize];
                    world += (carry.turn * point.point + carry.shift) * *weight;
                    normal += carry.turn * point.normal * *weight;
                }
            }
            // Left-out shares of a few per cent would pull a point to the origin.
            let kept: f32 = point.weights.iter().filter(|weight| **weight > 0.01).sum();
            world /= kept;
            let camera = optics.to_camera(world);
            if camera.z < NEAR_M {
                seen.inverse = 0.0;
                continue;
            }
            let inverse = 1.0 / camera.z;
            let (x, y) = (
                k.cx + k.fx * camera.x * inverse,
                k.cy + k.fy * camera.y * inverse,
            );
            low = [low[0].min(x), low[1].min(y)];
            high = [high[0].max(x), high[1].max(y)];
            *seen = Seen {
                x: sub * x + 0.5 * (sub - 1.0),
                y: sub * y + 0.5 * (sub - 1.0),
                inverse,
                normal: normal.normalize_or(Vec3::Y),
            };
        }
        self.outline = [low[0], low[1], high[0], high[1]];
        let bound = |value: f32, most: usize| (value.max(0.0) as usize).min(most);
        self.reach = [
            bound(sub * low[0] - 1.0, canvas.0),
            bound(sub * low[1] - 1.0, canvas.1),
            bound(sub * high[0] + 3.0, canvas.0),
            bound(sub * high[1] + 3.0, canvas.1),
        ];
    }
}

/// The image under work: what stands still, and what moves in front of it.
#[derive(Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    optics: Optics,
    light: Light,
    /// The empty room: bytes, whether a pixel is floor, and one over the depth of each sample.
    room_rgb: Vec<u8>,
    room_floor: Vec<bool>,
    room_inverse: Vec<f32>,
    /// One over the depth of each sample with people.
    inverse: Vec<f32>,
    /// Who owns a sample: person + 1 in the high bits, triangle in the low; 0 the room.
    owner: Vec<u32>,
    /// Light that people keep from the floor, for each pixel.
    shadow: Vec<f32>,
    /// For each pixel `(person + 1) << 2 | class`; 0 the room.
    labels: Vec<u8>,
}

fn encode(linear: Vec3) -> [u8; 3] {
    let channel = |value: f32| (value.clamp(0.0, 1.0).sqrt() * 255.0 + 0.5) as u8;
    [channel(linear.x), channel(linear.y), channel(linear.z)]
}

impl Canvas {
    /// Draws the empty room.
    pub fn new(room: &Room, optics: Optics, width_px: u32, height_px: u32) -> Self {
        let (width, height) = (width_px as usize, height_px as usize);
        let (wide, high) = (width * SUB, height * SUB);
        let mut canvas = Self {
            width,
            height,
            optics,
            light: room.light,
            room_rgb: vec![0; width * height * 3],
            room_floor: vec![false; width * height],
            room_inverse: vec![0.0; wide * high],
            inverse: vec![0.0; wide * high],
            owner: vec![0; wide * high],
            shadow: vec![0.0; width * height],
            labels: vec![0; width * height],
        };
        let sub = SUB as f32;
        for y in 0..height {
            for x in 0..width {
                let mut colour = Vec3::ZERO;
                let mut floor = 0;
                for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let (sx, sy) = (SUB * x + dx, SUB * y + dy);
                    let place = |sample: usize| (sample as f32 - 0.5 * (sub - 1.0)) / sub;
                    let met = room.cast(optics.place, optics.ray(place(sx), place(sy)));
                    // A ray is 1 m long along the line of sight, so its share is the depth.
                    canvas.room_inverse[sy * wide + sx] = 1.0 / met.distance;
                    colour += met.colour.min(Vec3::splat(1.2));
                    floor += usize::from(met.is_floor);
                }
                let at = y * width + x;
                canvas.room_floor[at] = floor > SUB;
                canvas.room_rgb[at * 3..at * 3 + 3]
                    .copy_from_slice(&encode(colour / (SUB * SUB) as f32));
            }
        }
        canvas
    }

    /// The camera.
    pub const fn optics(&self) -> &Optics {
        &self.optics
    }

    /// For each pixel of the last image `(person + 1) << 2 | class`, where class is 1
    /// for skin and hair and 2 for clothes; 0 the room.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Columns and rows of samples.
    pub const fn samples(&self) -> (usize, usize) {
        (self.width * SUB, self.height * SUB)
    }

    /// What is in front at a pixel: depth in metres, and the person, if it is one.
    /// Nothing outside the image.
    pub fn front(&self, x_px: f32, y_px: f32) -> Option<(f32, Option<usize>)> {
        let sub = SUB as f32;
        let x = (sub * x_px + 0.5 * (sub - 1.0)).round();
        let y = (sub * y_px + 0.5 * (sub - 1.0)).round();
        let (wide, high) = self.samples();
        if x < 0.0 || y < 0.0 || x as usize >= wide || y as usize >= high {
            return None;
        }
        let at = y as usize * wide + x as usize;
        let person = (self.owner[at] >> TRIANGLE_BITS) as usize;
        Some((1.0 / self.inverse[at].max(1e-6), person.checked_sub(1)))
    }

    /// Fills depth and owners with people in their postures.
    pub fn cover(&mut self, actors: &mut [Actor], stances: &[Stance]) {
        self.inverse.copy_from_slice(&self.room_inverse);
        self.owner.fill(0);
        let samples = self.samples();
        for (person, (actor, stance)) in actors.iter_mut().zip(stances).enumerate() {
            actor.project(stance, &self.optics, samples);
            let owner = (person as u32 + 1) << TRIANGLE_BITS;
            for (index, (corners, _)) in actor.figure.triangles.iter().enumerate() {
                let corners = corners.map(|corner| &actor.seen[corner as usize]);
                self.cover_triangle(corners, owner | index as u32);
            }
        }
    }

    fn cover_triangle(&mut self, [a, b, c]: [&Seen; 3], owner: u32) {
        let area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
        // Seen from outside, corners run clockwise where y points down.
        if area >= -1e-9 || a.inverse.min(b.inverse).min(c.inverse) <= 0.0 {
            return;
        }
        let (wide, high) = (self.width * SUB, self.height * SUB);
        let first = |value: f32| value.ceil().max(0.0) as usize;
        let last = |value: f32, size: usize| {
            (value.floor().min(size as f32 - 1.0) + 1.0).max(0.0) as usize
        };
        let (x0, x1) = (
            first(a.x.min(b.x).min(c.x)),
            last(a.x.max(b.x).max(c.x), wide),
        );
        let (y0, y1) = (
            first(a.y.min(b.y).min(c.y)),
            last(a.y.max(b.y).max(c.y), high),
        );
        if x0 >= x1 || y0 >= y1 {
            return;
        }
        let scale = 1.0 / area;
        // Shares of b and c grow evenly along a row.
        let (share_b_x, share_b_y) = ((c.y - a.y) * scale, -(c.x - a.x) * scale);
        let (share_c_x, share_c_y) = (-(b.y - a.y) * scale, (b.x - a.x) * scale);
        let (rise_b, rise_c) = (b.inverse - a.inverse, c.inverse - a.inverse);
        for y in y0..y1 {
            let dy = y as f32 - a.y;
            let dx = x0 as f32 - a.x;
            let mut share_b = dx * share_b_x + dy * share_b_y;
            let mut share_c = dx * share_c_x + dy * share_c_y;
            let row = y * wide;
            let inverses = &mut self.inverse[row + x0..row + x1];
            let owners = &mut self.owner[row + x0..row + x1];
            for (inverse, who) in inverses.iter_mut().zip(owners) {
                if share_b >= -1e-5 && share_c >= -1e-5 && share_b + share_c <= 1.00001 {
                    let here = a.inverse + share_b * rise_b + share_c * rise_c;
                    if here > *inverse {
                        *inverse = here;
                        *who = owner;
                    }
                }
                share_b += share_b_x;
                share_c += share_c_x;
            }
        }
    }

    /// Colours what [`Canvas::cover`] found, into `rgb` (three bytes a pixel).
    pub fn paint(&mut self, actors: &[Actor], stances: &[Stance], rgb: &mut [u8]) {
        self.cast_shadows(stances);
        for (at, (out, room)) in rgb
            .chunks_exact_mut(3)
            .zip(self.room_rgb.chunks_exact(3))
            .enumerate()
        {
            let shadow = self.shadow[at];
            if shadow > 0.003 {
                // Light is linear, bytes are its square root.
                let dim = (1.0 / (1.0 + shadow)).sqrt();
                for (out, room) in out.iter_mut().zip(room) {
                    *out = (f32::from(*room) * dim) as u8;
                }
            } else {
                out.copy_from_slice(room);
            }
        }
        self.labels.fill(0);
        for actor in actors {
            let [x0, y0, x1, y1] = actor.reach;
            for y in y0 / SUB..y1.div_ceil(SUB).min(self.height) {
                for x in x0 / SUB..x1.div_ceil(SUB).min(self.width) {
                    self.paint_pixel(actors, x, y, rgb);
                }
            }
        }
    }

    fn paint_pixel(&mut self, actors: &[Actor], x: usize, y: usize, rgb: &mut [u8]) {
        let at = y * self.width + x;
        if self.labels[at] != 0 {
            // Already done for a person whose bounds overlap.
            return;
        }
        let wide = self.width * SUB;
        let mut sum = Vec3::ZERO;
        let (mut count, mut label) = (0_u8, 0_u8);
        for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (sx, sy) = (SUB * x + dx, SUB * y + dy);
            let owner = self.owner[sy * wide + sx];
            if owner == 0 {
                continue;
            }
            let person = (owner >> TRIANGLE_BITS) as usize - 1;
            let triangle = (owner & ((1 << TRIANGLE_BITS) - 1)) as usize;
            let (colour, class) =
                shade(&actors[person], triangle, sx as f32, sy as f32, &self.light);
            sum += colour;
            count += 1;
            label = ((person as u8 + 1) << 2) | class as u8;
        }
        if count == 0 {
            return;
        }
        if count >= 2 {
            self.labels[at] = label;
        }
        let whole = (SUB * SUB) as f32;
        let out = &mut rgb[at * 3..at * 3 + 3];
        let left = (whole - f32::from(count)) / whole;
        let behind = Vec3::new(f32::from(out[0]), f32::from(out[1]), f32::from(out[2])) / 255.0;
        out.copy_from_slice(&encode(sum / whole + behind * behind * left));
    }

    /// Soft shadows on the floor: each body part dims the floor around the place
    /// where the main light throws it, and around the place below it; the higher
    /// it is, the wider and fainter.
    fn cast_shadows(&mut self, stances: &[Stance]) {
        self.shadow.fill(0.0);
        let towards = self.light.towards;
        let slope = Vec3::new(towards.x, 0.0, towards.z) / towards.y.max(0.2);
        for stance in stances {
            let joints = &stance.joints;
            for (a, b, radius) in [
                (3, 3, 0.13),
                (6, 6, 0.13),
                (2, 3, 0.09),
                (5, 6, 0.09),
                (1, 2, 0.12),
                (4, 5, 0.12),
                (0, 7, 0.19),
                (7, 8, 0.2),
                (10, 10, 0.12),
                (11, 12, 0.07),
                (14, 15, 0.07),
            ] {
                let part = (joints[a] + joints[b]) * 0.5;
                let height = part.y.max(0.0);
                let soft = radius + 0.16 * height;
                let depth = 0.55 * (radius / soft).powi(2);
                self.dim(part - slope * height, soft, depth);
                if height < 0.6 {
                    self.dim(
                        part,
                        radius + 0.5 * height,
                        0.8 * (radius / (radius + 0.5 * height)).powi(2),
                    );
                }
            }
        }
    }

    fn dim(&mut self, place: Vec3, radius: f32, depth: f32) {
        let place = Vec3::new(place.x, 0.0, place.z);
        let reach = 2.2 * radius;
        let mut low = [f32::INFINITY; 2];
        let mut high = [f32::NEG_INFINITY; 2];
        for corner in [
            Vec3::X,
            Vec3::NEG_X,
            Vec3::Z,
            Vec3::NEG_Z,
            Vec3::new(0.8, 0.0, 0.8),
            Vec3::new(-0.8, 0.0, 0.8),
            Vec3::new(0.8, 0.0, -0.8),
            Vec3::new(-0.8, 0.0, -0.8),
        ] {
            let camera = self.optics.to_camera(place + corner * reach);
            if camera.z < NEAR_M {
                return;
            }
            let [x, y] = self.optics.pixel(camera);
            low = [low[0].min(x), low[1].min(y)];
            high = [high[0].max(x), high[1].max(y)];
        }
        let bound = |value: f32, most: usize| (value.max(0.0) as usize).min(most);
        let (x0, x1) = (bound(low[0], self.width), bound(high[0] + 2.0, self.width));
        let (y0, y1) = (
            bound(low[1], self.height),
            bound(high[1] + 2.0, self.height),
        );
        let height = self.optics.place.y;
        let sharp = 1.0 / (radius * radius);
        for y in y0..y1 {
            let mut ray = self.optics.ray(x0 as f32, y as f32);
            let step = self.optics.right / self.optics.intrinsics.fx;
            for x in x0..x1 {
                let at = y * self.width + x;
                if self.room_floor[at] && ray.y < -1e-3 {
                    let floor = self.optics.place - ray * (height / ray.y);
                    let near = (floor - place).length_squared() * sharp;
                    // A smooth bump without an exponential: (1 - r^2/4.84)^3.
                    let bump = (1.0 - near / 4.84).max(0.0);
                    self.shadow[at] += depth * bump * bump * bump;
                }
                ray += step;
            }
        }
    }
}

/// Colour of a sample of a triangle, linear light.
fn shade(actor: &Actor, triangle: usize, x: f32, y: f32, light: &Light) -> (Vec3, Class) {
    let (corners, region) = actor.figure.triangles[triangle];
    let [a, b, c] = corners.map(|corner| &actor.seen[corner as usize]);
    let [pa, pb, pc] = corners.map(|corner| &actor.figure.points[corner as usize]);
    let scale = 1.0 / ((b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x));
    let (dx, dy) = (x - a.x, y - a.y);
    let share_b = ((c.y - a.y) * dx - (c.x - a.x) * dy) * scale;
    let share_c = ((b.x - a.x) * dy - (b.y - a.y) * dx) * scale;
    let share_a = 1.0 - share_b - share_c;
    let point = pa.point * share_a + pb.point * share_b + pc.point * share_c;
    let normal =
        (a.normal * share_a + b.normal * share_b + c.normal * share_c).normalize_or(Vec3::Y);
    let open = pa.open * share_a + pb.open * share_b + pc.open * share_c;
    let (colour, class) = actor.tailor.paint(&actor.figure, region, point);
    let rough = if class == Class::Clothes && !matches!(region, Region::Foot(_) | Region::Cap) {
        folds(point, actor.figure.appearance.grain)
    } else {
        1.0
    };
    (colour * light.on(normal, open) * rough, class)
}
