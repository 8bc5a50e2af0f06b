//! Draws boards under a lens that is known: each part of a pixel is mapped back through the lens onto the board.

use std::path::Path;

use glam::{DMat3, DQuat, DVec2, DVec3, EulerRot};

use poised::camera::Calibration;
use poised::camera::calibrate::Board;

/// Parts of a pixel along each side.
const PARTS: usize = 4;

/// Brightness of black and white on the board, and of what is behind it.
const BLACK: f32 = 35.0;
const WHITE: f32 = 215.0;
const BEHIND: f32 = 120.0;

/// Where a board is: from the board frame to the camera's, metres.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub rotation: DMat3,
    pub translation: DVec3,
}

impl Place {
    /// With the middle of the board at this pixel and distance; turned about the camera's y, x and z, radians.
    pub fn at(
        camera: &Calibration,
        board: &Board,
        pixel: DVec2,
        distance_m: f64,
        turn: [f64; 3],
    ) -> Self {
        let pixel = pixel.as_vec2();
        let ray = camera.ray(pixel.x, pixel.y).unwrap().as_dvec2();
        let [y, x, z] = turn;
        let rotation = DMat3::from_quat(DQuat::from_euler(EulerRot::YXZ, y, x, z));
        let middle = DVec3::new(ray.x, ray.y, 1.0).normalize() * distance_m;
        Self {
            rotation,
            translation: middle - rotation * (0.5 * board.size_m()).extend(0.0),
        }
    }
}

/// A camera that draws.
pub struct Artist {
    width: usize,
    height: usize,
    /// Rays of the corners of all pixels, row by row; none beyond the lens.
    rays: Vec<Option<DVec2>>,
}

impl Artist {
    pub fn new(camera: &Calibration) -> Self {
        let (width, height) = camera.size_px();
        let mut rays = Vec::new();
        for y in 0..=height {
            for x in 0..=width {
                rays.push(
                    camera
                        .ray(x as f32 - 0.5, y as f32 - 0.5)
                        .map(glam::Vec2::as_dvec2),
                );
            }
        }
        Self {
            width: width as usize,
            height: height as usize,
            rays,
        }
    }

    /// The grey picture of a board; `noise` is the standard deviation, of 255.
    pub fn draw(&self, board: &Board, place: &Place, noise: f32, seed: u64) -> Vec<u8> {
        let across = DMat3::from_cols(
            place.rotation.x_axis,
            place.rotation.y_axis,
            place.translation,
        );
        let onto_board = across.inverse();
        let mut image = vec![BEHIND; self.width * self.height];
        for y in 0..self.height {
            for x in 0..self.width {
                let at = y * (self.width + 1) + x;
                let corners = [at, at + 1, at + self.width + 1, at + self.width + 2];
                let [Some(a), Some(b), Some(c), Some(d)] = corners.map(|at| self.rays[at]) else {
                    continue;
                };
                let mut sum = 0.0;
                for part in 0..PARTS * PARTS {
                    let right = ((part % PARTS) as f64 + 0.5) / PARTS as f64;
                    let down = ((part / PARTS) as f64 + 0.5) / PARTS as f64;
                    let ray = a.lerp(b, right).lerp(c.lerp(d, right), down);
                    sum += brightness(board, onto_board * ray.extend(1.0));
                }
                image[y * self.width + x] = sum / (PARTS * PARTS) as f32;
            }
        }
        self.developed(&image, noise, seed)
    }

    /// Blurred as by a lens, and with noise.
    fn developed(&self, image: &[f32], noise: f32, seed: u64) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let at =
            |x: usize, y: usize| image[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let mut out = Vec::with_capacity(image.len());
        for y in 0..self.height {
            for x in 0..self.width {
                let mut sum = 0.0;
                for (dy, wy) in [(0, 1.0), (1, 2.0), (2, 1.0)] {
                    for (dx, wx) in [(0, 1.0), (1, 2.0), (2, 1.0)] {
                        sum += wx * wy * at((x + dx).saturating_sub(1), (y + dy).saturating_sub(1));
                    }
                }
                let normal = (0..12).map(|_| rng.f32()).sum::<f32>() - 6.0;
                out.push((sum / 16.0 + noise * normal).clamp(0.0, 255.0) as u8);
            }
        }
        out
    }
}

/// Brightness where a ray meets the plane of the board, in homogeneous metres.
fn brightness(board: &Board, at: DVec3) -> f32 {
    // Behind the camera.
    if at.z <= 0.0 {
        return BEHIND;
    }
    let at_mm = DVec2::new(at.x, at.y) / at.z * 1e3;
    let (size_mm, edge) = (board.size_m() * 1e3, 0.5 * board.square_mm());
    let on_paper = at_mm.cmpgt(DVec2::splat(-edge)).all() && at_mm.cmplt(size_mm + edge).all();
    match (on_paper, board.is_black(at_mm.x, at_mm.y)) {
        (false, _) => BEHIND,
        (true, true) => BLACK,
        (true, false) => WHITE,
    }
}

/// Places that fill the picture: a grid of pixels, each with another tilt.
pub fn places(
    camera: &Calibration,
    board: &Board,
    number: usize,
    distance_m: f64,
    seed: u64,
) -> Vec<Place> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (width, height) = camera.size_px();
    let size = DVec2::new(width.into(), height.into());
    (0..number)
        .map(|at| {
            let mut about = |middle: f64, by: f64| middle + by * (2.0 * rng.f64() - 1.0);
            let (column, row) = ((at % 3) as f64, (at / 3 % 3) as f64);
            let pixel = DVec2::new(
                (0.22 + 0.28 * column + about(0.0, 0.04)) * size.x,
                (0.22 + 0.28 * row + about(0.0, 0.04)) * size.y,
            );
            // Turned to each side in turn.
            let sign = |bit: usize| if at >> bit & 1 == 0 { 1.0 } else { -1.0 };
            let turn = [
                sign(0) * about(0.45, 0.15),
                sign(1) * about(0.4, 0.15),
                about(0.0, 0.25),
            ];
            Place::at(
                camera,
                board,
                pixel,
                about(distance_m, 0.1 * distance_m),
                turn,
            )
        })
        .collect()
}

/// Writes a grey picture as PNG.
pub fn write_png(path: &Path, (width, height): (u32, u32), grey: &[u8]) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_compression(png::Compression::Fast);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(grey)
        .unwrap();
}
