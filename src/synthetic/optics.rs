//! The pinhole camera: from the world to the optical frame and to pixels.

use glam::Vec3;

use super::config::View;

/// Focal lengths and principal point, pixels; pixel centres are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intrinsics {
    /// Focal length along the columns, pixels.
    pub fx: f32,
    /// Focal length along the rows, pixels.
    pub fy: f32,
    /// Column of the principal point.
    pub cx: f32,
    /// Row of the principal point.
    pub cy: f32,
}

/// A pinhole camera in the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optics {
    /// Focal lengths and principal point.
    pub intrinsics: Intrinsics,
    /// Where it is, world, metres.
    pub place: Vec3,
    /// Optical x (right) in the world.
    pub right: Vec3,
    /// Optical y (down) in the world.
    pub down: Vec3,
    /// Optical z (line of sight) in the world.
    pub ahead: Vec3,
}

impl Optics {
    /// The camera of a view; without a pitch it aims at `aim_height_m` above the
    /// middle of the scene.
    pub fn new(view: &View, width_px: u32, height_px: u32, aim_height_m: f32) -> Self {
        let azimuth = view.azimuth_deg.to_radians();
        let (sin, cos) = azimuth.sin_cos();
        let pitch = view.pitch_deg.map_or_else(
            || (view.height_m - aim_height_m).atan2(view.distance_m),
            f32::to_radians,
        );
        let ahead = Vec3::new(-sin * pitch.cos(), -pitch.sin(), -cos * pitch.cos());
        let level_right = Vec3::new(cos, 0.0, -sin);
        let level_down = ahead.cross(level_right);
        let (roll_sin, roll_cos) = view.roll_deg.to_radians().sin_cos();
        let focal = 0.5 * width_px as f32 / (0.5 * view.fov_deg.to_radians()).tan();
        Self {
            intrinsics: Intrinsics {
                fx: focal,
                fy: focal,
                cx: 0.5 * (width_px as f32 - 1.0),
                cy: 0.5 * (height_px as f32 - 1.0),
            },
            place: Vec3::new(sin * view.distance_m, view.height_m, cos * view.distance_m),
            right: level_right * roll_cos + level_down * roll_sin,
            down: level_down * roll_cos - level_right * roll_sin,
            ahead,
        }
    }

    /// A point of the world in the optical frame, metres.
    pub fn to_camera(&self, world: Vec3) -> Vec3 {
        let way = world - self.place;
        Vec3::new(way.dot(self.right), way.dot(self.down), way.dot(self.ahead))
    }

    /// The pixel of a point of the optical frame before the camera.
    pub fn pixel(&self, camera: Vec3) -> [f32; 2] {
        let k = &self.intrinsics;
        let depth = camera.z.max(1e-3);
        [
            k.cx + k.fx * camera.x / depth,
            k.cy + k.fy * camera.y / depth,
        ]
    }

    /// Direction in the world of a pixel's ray, with 1 m along the line of sight.
    pub fn ray(&self, x_px: f32, y_px: f32) -> Vec3 {
        let k = &self.intrinsics;
        self.right * ((x_px - k.cx) / k.fx) + self.down * ((y_px - k.cy) / k.fy) + self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixels_ray_leads_back_to_the_pixel() {
        let view = View {
            height_m: 2.0,
            distance_m: 3.0,
            pitch_deg: None,
            roll_deg: 12.0,
            azimuth_deg: 40.0,
            fov_deg: 70.0,
        };
        let optics = Optics::new(&view, 320, 240, 1.0);
        for (x, y) in [(0.0, 0.0), (100.0, 33.0), (319.0, 239.0)] {
            let camera = optics.to_camera(optics.place + optics.ray(x, y) * 2.5);
            let [got_x, got_y] = optics.pixel(camera);
            assert!((camera.z - 2.5).abs() < 1e-4);
            assert!((got_x - x).abs() < 1e-2 && (got_y - y).abs() < 1e-2);
        }
        let middle = optics.to_camera(Vec3::new(0.0, 1.0, 0.0));
        assert!(middle.x.abs() < 1e-4 && middle.y.abs() < 1e-4, "{middle}");
        assert!(optics.to_camera(Vec3::ZERO).y > 0.5, "the floor is below");
    }
}
