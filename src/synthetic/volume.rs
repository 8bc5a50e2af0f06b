//! Smooth blended volumes and their surface.
//!
//! A volume is a set of round cones. Where cones meet, their signed distances
//! `d_i` are joined as `d = -ln(sum exp(-k d_i)) / k`, which rounds the seam over
//! about `1/k` metres. The surface `d = 0` is found once, when a figure is made,
//! on a grid ("surface nets": one vertex for each cell that the surface crosses).

use glam::Vec3;

/// A round cone: the hull of two balls. One bone carries it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cone {
    /// Bone which the surface near the cone follows.
    pub bone: usize,
    /// Middle of the first ball, metres.
    pub a: Vec3,
    /// Middle of the second ball, metres.
    pub b: Vec3,
    /// Radius of the first ball, metres.
    pub ra: f32,
    /// Radius of the second ball, metres.
    pub rb: f32,
}

impl Cone {
    /// Signed distance to the surface: along the axis the radius goes from `ra`
    /// to `rb`, which is exact for equal radii and close for slender cones.
    pub fn distance(&self, point: Vec3) -> f32 {
        let axis = self.b - self.a;
        let length2 = axis.length_squared();
        let share = if length2 > 1e-12 {
            ((point - self.a).dot(axis) / length2).clamp(0.0, 1.0)
        } else {
            0.0
        };
        (point - self.a - axis * share).length() - (self.ra + (self.rb - self.ra) * share)
    }
}

/// A volume to be drawn.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its cones, in the rest posture.
    pub cones: Vec<Cone>,
    /// Blend: `k` of the module's formula, 1/metres.
    pub sharpness: f32,
    /// Side of a grid cell, metres.
    pub cell: f32,
    /// Nothing below this height, metres (the sole of a shoe).
    pub floor: f32,
}

/// A surface in the rest posture.
#[derive(Clone, Debug, Default)]
pub struct Surface {
    /// Vertices, metres.
    pub points: Vec<Vec3>,
    /// Outward unit normals of the vertices.
    pub normals: Vec<Vec3>,
    /// Triangles, counter-clockwise seen from outside.
    pub triangles: Vec<[u32; 3]>,
}

struct Grid {
    min: Vec3,
    cell: f32,
    size: [usize; 3],
    values: Vec<f32>,
}

impl Grid {
    const fn index(&self, x: usize, y: usize, z: usize) -> usize {
        (z * self.size[1] + y) * self.size[0] + x
    }

    fn around(volume: &Volume) -> Self {
        let margin = Vec3::splat(2.0 * volume.cell + 0.01);
        let mut min = Vec3::splat(f32::INFINITY);
        let mut max = Vec3::splat(f32::NEG_INFINITY);
        for cone in &volume.cones {
            min = min.min(cone.a - cone.ra).min(cone.b - cone.rb);
            max = max.max(cone.a + cone.ra).max(cone.b + cone.rb);
        }
        min -= margin;
        let extent = (max + margin - min) / volume.cell;
        let size = [
            extent.x.ceil() as usize + 1,
            extent.y.ceil() as usize + 1,
            extent.z.ceil() as usize + 1,
        ];
        let mut grid = Self {
            min,
            cell: volume.cell,
            size,
            values: vec![0.0; size[0] * size[1] * size[2]],
        };
        for cone in &volume.cones {
            grid.add(cone, volume);
        }
        for value in &mut grid.values {
            *value = -value.max(1e-12).ln() / volume.sharpness;
        }
        grid.cut(volume.floor);
        grid
    }

    /// Adds `exp(-k d)` of a cone to the nodes near it.
    fn add(&mut self, cone: &Cone, volume: &Volume) {
        let near = 4.0 / volume.sharpness + 2.0 * self.cell;
        let low = (cone.a - cone.ra).min(cone.b - cone.rb) - near - self.min;
        let high = (cone.a + cone.ra).max(cone.b + cone.rb) + near - self.min;
        let (low, high) = (low / self.cell, high / self.cell);
        let range = |low: f32, high: f32, size: usize| {
            (low.max(0.0) as usize)..((high.max(0.0) as usize + 1).min(size))
        };
        for z in range(low.z, high.z, self.size[2]) {
            for y in range(low.y, high.y, self.size[1]) {
                for x in range(low.x, high.x, self.size[0]) {
                    let point = self.min + Vec3::new(x as f32, y as f32, z as f32) * self.cell;
                    let distance = cone.distance(point);
                    if distance < near {
                        let index = self.index(x, y, z);
                        self.values[index] += (-volume.sharpness * distance.max(-0.1)).exp();
                    }
                }
            }
        }
    }

    fn cut(&mut self, floor: f32) {
        for z in 0..self.size[2] {
            for y in 0..self.size[1] {
                let below = floor - (self.min.y + y as f32 * self.cell);
                for x in 0..self.size[0] {
                    let index = self.index(x, y, z);
                    self.values[index] = self.values[index].max(below);
                }
            }
        }
    }
}

impl Volume {
    /// The surface of the volume.
    pub fn surface(&self) -> Surface {
        let grid = Grid::around(self);
        let mut surface = Surface::default();
        let [nx, ny, nz] = grid.size;
        let mut vertex_of = vec![u32::MAX; grid.values.len()];
        for z in 0..nz - 1 {
            for y in 0..ny - 1 {
                for x in 0..nx - 1 {
                    if let Some(point) = crossing(&grid, x, y, z) {
                        vertex_of[grid.index(x, y, z)] = surface.points.len() as u32;
                        surface.normals.push(self.normal(point));
                        surface.points.push(point);
                    }
                }
            }
        }
        for z in 1..nz - 1 {
            for y in 1..ny - 1 {
                for x in 1..nx - 1 {
                    join(&grid, &vertex_of, [x, y, z], &mut surface.triangles);
                }
            }
        }
        surface
    }

    /// The joined signed distance, metres.
    pub fn distance(&self, point: Vec3) -> f32 {
        let sum: f32 = self
            .cones
            .iter()
            .map(|cone| (-self.sharpness * cone.distance(point).max(-0.1)).exp())
            .sum();
        (-sum.max(1e-30).ln() / self.sharpness).max(self.floor - point.y)
    }

    fn normal(&self, point: Vec3) -> Vec3 {
        let h = 0.3 * self.cell;
        let slope = |axis: Vec3| self.distance(point + axis * h) - self.distance(point - axis * h);
        Vec3::new(slope(Vec3::X), slope(Vec3::Y), slope(Vec3::Z)).normalize_or(Vec3::Y)
    }
}

/// Mean of the places where the cell's edges cross the surface.
fn crossing(grid: &Grid, x: usize, y: usize, z: usize) -> Option<Vec3> {
    const EDGES: [(usize, usize); 12] = [
        (0, 1),
        (2, 3),
        (4, 5),
        (6, 7),
        (0, 2),
        (1, 3),
        (4, 6),
        (5, 7),
        (0, 4),
        (1, 5),
        (2, 6),
        (3, 7),
    ];
    let corner = |i: usize| grid.values[grid.index(x + (i & 1), y + (i >> 1 & 1), z + (i >> 2))];
    let values: [f32; 8] = core::array::from_fn(corner);
    let inside = values.iter().filter(|value| **value < 0.0).count();
    if inside == 0 || inside == 8 {
        return None;
    }
    let place = |i: usize| Vec3::new((i & 1) as f32, (i >> 1 & 1) as f32, (i >> 2) as f32);
    let mut sum = Vec3::ZERO;
    let mut count = 0.0;
    for (a, b) in EDGES {
        if (values[a] < 0.0) != (values[b] < 0.0) {
            let share = values[a] / (values[a] - values[b]);
            sum += place(a).lerp(place(b), share);
            count += 1.0;
        }
    }
    let cell = Vec3::new(x as f32, y as f32, z as f32);
    Some(grid.min + (cell + sum / count) * grid.cell)
}

/// The two triangles around each grid edge at a node that crosses the surface.
fn join(grid: &Grid, vertex_of: &[u32], at: [usize; 3], triangles: &mut Vec<[u32; 3]>) {
    let inside = grid.values[grid.index(at[0], at[1], at[2])] < 0.0;
    for axis in 0..3 {
        let mut next = at;
        next[axis] += 1;
        if (grid.values[grid.index(next[0], next[1], next[2])] < 0.0) == inside {
            continue;
        }
        let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
        let cell = |du: usize, dv: usize| {
            let mut cell = at;
            cell[u] -= du;
            cell[v] -= dv;
            vertex_of[grid.index(cell[0], cell[1], cell[2])]
        };
        let (a, b, c, d) = (cell(1, 1), cell(0, 1), cell(0, 0), cell(1, 0));
        if [a, b, c, d].contains(&u32::MAX) {
            continue;
        }
        if inside {
            triangles.push([a, b, c]);
            triangles.push([a, c, d]);
        } else {
            triangles.push([a, c, b]);
            triangles.push([a, d, c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ball(radius: f32) -> Volume {
        Volume {
            cones: vec![Cone {
                bone: 0,
                a: Vec3::ZERO,
                b: Vec3::ZERO,
                ra: radius,
                rb: radius,
            }],
            sharpness: 100.0,
            cell: 0.02,
            floor: -9.0,
        }
    }

    #[test]
    fn the_surface_of_a_ball_is_a_closed_ball_seen_from_outside() {
        let surface = ball(0.1).surface();
        for (point, normal) in surface.points.iter().zip(&surface.normals) {
            assert!((point.length() - 0.1).abs() < 0.004, "{point}");
            assert!(normal.dot(point.normalize()) > 0.99);
        }
        let mut enclosed = 0.0;
        for [a, b, c] in &surface.triangles {
            let [a, b, c] = [a, b, c].map(|i| surface.points[*i as usize]);
            enclosed += a.dot(b.cross(c)) / 6.0;
        }
        let want = 4.0 / 3.0 * core::f32::consts::PI * 0.001;
        assert!((enclosed / want - 1.0).abs() < 0.1, "{enclosed} of {want}");
    }

    #[test]
    fn a_floor_cuts_the_volume() {
        let mut volume = ball(0.1);
        volume.floor = -0.05;
        let lowest = volume
            .surface()
            .points
            .iter()
            .fold(f32::INFINITY, |low, point| low.min(point.y));
        assert!((lowest + 0.05).abs() < 0.01, "{lowest}");
    }
}
