//! Images of recorded motion: a bare room in which one synthetic person does what joints say.

use fastrand::Rng;
use glam::Vec3;

use super::appearance::{Appearance, mixed};
use super::body::{Proportions, Stance};
use super::figure::Figure;
use super::optics::Optics;
use super::render::{Actor, Canvas};
use super::room::Room;
use super::truth::{FigurePose, pose_of};
use crate::frame::PixelFormat;
use crate::skeleton::{JOINTS, PARENTS};

/// Statures that a person is drawn with, metres.
const STATURE_M: [f32; 2] = [0.95, 2.1];

/// A room, a camera and one person. World: y up, the floor at 0.
#[derive(Debug)]
pub struct Studio {
    size_px: (u32, u32),
    canvas: Canvas,
    actors: [Actor; 1],
    stances: [Stance; 1],
}

impl Studio {
    /// A room by chance around all `joints_m` that will be shown (world, metres), and a person about as
    /// large as they are. Takes some hundred milliseconds.
    ///
    /// `seed` fixes room, light, build and clothes. Training drew from 1,000,000,000 to 1,999,999,999.
    pub fn new<'a>(
        optics: Optics,
        size_px: (u32, u32),
        joints_m: impl Iterator<Item = &'a [Vec3; JOINTS]> + Clone,
        seed: u64,
    ) -> Self {
        let mut rng = Rng::with_seed(mixed(seed ^ 0x57_0d10));
        let all = joints_m.clone().flatten();
        let (low, high) = all.fold((optics.place, optics.place), |(low, high), joint| {
            (low.min(*joint), high.max(*joint))
        });
        let room = Room::bare(low, high, &mut rng);
        let stature_m = joints_m.take(1).map(stature_of).sum::<f32>();
        let appearance = Appearance::from_seed(seed, stature_m.clamp(STATURE_M[0], STATURE_M[1]));
        Self {
            size_px,
            canvas: Canvas::new(&room, optics, size_px.0, size_px.1),
            actors: [Actor::new(Figure::new(appearance))],
            stances: [Stance::default()],
        }
    }

    /// Bytes of an image that [`Studio::show`] fills.
    pub const fn image_bytes(&self) -> usize {
        PixelFormat::Rgb24.image_bytes(self.size_px.0, self.size_px.1)
    }

    /// Draws the person doing what `joints_m` do (world, metres): red, green, blue, rows from the top. Gives
    /// the synthetic person's own joints, whose bones are another build's.
    ///
    /// # Panics
    ///
    /// `rgb` must have [`Studio::image_bytes`] bytes.
    pub fn show(&mut self, joints_m: &[Vec3; JOINTS], rgb: &mut [u8]) -> FigurePose {
        assert_eq!(rgb.len(), self.image_bytes(), "three bytes a pixel");
        self.stances[0].follow(&self.actors[0].figure().lengths, joints_m);
        self.canvas.cover(&mut self.actors, &self.stances);
        self.canvas.paint(&self.actors, &self.stances, rgb);
        pose_of(&self.actors[0], &self.stances[0], &self.canvas, "")
    }
}

/// Stature of a person with a median build's proportions and as much bone, metres.
fn stature_of(joints_m: &[Vec3; JOINTS]) -> f32 {
    let bones = |joints: &[Vec3; JOINTS]| -> f32 {
        (1..JOINTS)
            .map(|joint| joints[joint].distance(joints[PARENTS[joint]]))
            .sum()
    };
    let mut median = Stance::default();
    median.follow(&Proportions::median(MEDIAN_M).lengths(), joints_m);
    MEDIAN_M * bones(joints_m) / bones(&median.joints)
}

/// Stature that proportions are given for, metres.
const MEDIAN_M: f32 = 1.74;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::body::Posture;
    use crate::synthetic::config::View;

    #[test]
    fn the_synthetic_person_is_as_large_and_where_the_recorded_one_is() {
        let view = View {
            height_m: 1.4,
            distance_m: 3.0,
            pitch_deg: None,
            roll_deg: 0.0,
            azimuth_deg: 0.0,
            fov_deg: 60.0,
        };
        let optics = Optics::new(&view, 160, 160, 0.9);
        for stature in [1.2, 1.75] {
            let mut recorded = Stance::default();
            let lengths = Proportions::median(stature).lengths();
            let posture = Posture {
                pelvis: Vec3::Y * 0.53 * stature,
                ..Posture::default()
            };
            recorded.set(&lengths, &posture);
            let shown = [recorded.joints];
            let mut studio = Studio::new(optics, (160, 160), shown.iter(), 3_000_000_001);
            let mut rgb = vec![0; studio.image_bytes()];
            let pose = studio.show(&recorded.joints, &mut rgb);
            let pelvis = pose.joints_camera_m[0].distance(optics.to_camera(recorded.joints[0]));
            assert!(pelvis < 0.1, "{pelvis}");
            let tall = |joints: &[Vec3; JOINTS]| joints[10].distance(joints[3]);
            let ratio = tall(&pose.joints_camera_m) / tall(&recorded.joints);
            assert!((0.9..1.1).contains(&ratio), "{ratio}");
            assert!(rgb.iter().any(|byte| *byte != rgb[0]));
        }
    }
}
