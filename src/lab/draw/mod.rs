//! Images of what was seen: the frame with its skeletons, and the poses in
//! space from the side and from above.
//!
//! For `replay --overlay` and the documents. Not on the hot path: it allocates.

#![expect(
    clippy::cast_precision_loss,
    reason = "sizes of pictures and counts of characters are small"
)]

mod scene3d;
mod text;

use std::path::Path;

use tiny_skia::{
    Color, FillRule, LineCap, Paint, PathBuilder, Pixmap, PremultipliedColorU8, Stroke, StrokeDash,
    Transform,
};

use crate::camera::Calibration;
use crate::pose::{JointState, PersonPose, PoseSample};
use crate::skeleton::{JOINTS, KEYPOINT_EDGES, PARENTS};

/// Smallest width of the column with the views from the side and from above,
/// pixels; beside a tall frame it is half as wide as the image is high.
const PANEL_PX_MIN: u32 = 320;

/// Rows of an image for each step in the size of words, pixels.
const ROWS_PER_WORD_SIZE: u32 = 480;

/// Height of the legend for each step in the size of words, pixels.
const LEGEND_PX: f32 = 18.0;

/// Smallest height of the image, pixels: two views one above the other.
const HEIGHT_PX_MIN: u32 = 480;

/// Colours of people, told apart also by the colour-blind (Okabe and Ito 2008).
const PEOPLE: [[u8; 3]; 8] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [204, 121, 167],
    [213, 94, 0],
    [0, 114, 178],
    [170, 170, 170],
];

/// Colour of a joint that is seen.
const MEASURED: [u8; 3] = [94, 214, 156];

/// Colour of a joint that is inferred.
const COMPLETED: [u8; 3] = [255, 176, 64];

const BACKGROUND: [u8; 3] = [18, 22, 28];
const GRID: [u8; 3] = [52, 60, 70];
const WORDS: [u8; 3] = [222, 228, 235];

/// Draws frames of one size, one after the other.
#[derive(Debug)]
pub struct Overlay {
    canvas: Canvas,
    width_px: u32,
    height_px: u32,
    panel_px: u32,
    /// Projects hidden joints into the image.
    calibration: Calibration,
    /// Size of words, see [`text::write`].
    words: u8,
}

impl Overlay {
    /// For frames of this size, taken with this lens.
    ///
    /// # Panics
    ///
    /// A side is 0.
    pub fn new(width_px: u32, height_px: u32, calibration: Calibration) -> Self {
        let height = height_px.max(HEIGHT_PX_MIN);
        let panel_px = PANEL_PX_MIN.max(height / 2);
        let pixmap = Pixmap::new(width_px + panel_px, height).expect("both sides are above 0");
        Self {
            canvas: Canvas { pixmap },
            width_px,
            height_px,
            panel_px,
            calibration,
            words: u8::try_from(height / ROWS_PER_WORD_SIZE)
                .unwrap_or(4)
                .clamp(1, 4),
        }
    }

    /// Draws a frame (`rgb`: three bytes a pixel, rows from the top) and its poses.
    ///
    /// # Panics
    ///
    /// `rgb` is not of the size given to [`Overlay::new`].
    pub fn draw(&mut self, rgb: &[u8], sample: &PoseSample) {
        assert_eq!(
            rgb.len(),
            self.width_px as usize * self.height_px as usize * 3,
            "three bytes a pixel"
        );
        self.canvas.clear(BACKGROUND);
        self.frame(rgb);
        for person in &sample.people {
            self.person(person);
        }
        let words = format!(
            "frame {}   {} people",
            sample.frame_sequence,
            sample.people.len()
        );
        text::write(
            &mut self.canvas,
            (6.0, 6.0),
            self.words,
            WORDS,
            Some(BACKGROUND),
            &words,
        );
        self.views(sample);
    }

    /// The image.
    pub fn pixmap(&self) -> &Pixmap {
        &self.canvas.pixmap
    }

    /// Writes the image as PNG.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let png = self
            .canvas
            .pixmap
            .encode_png()
            .map_err(std::io::Error::other)?;
        std::fs::write(path, png)
    }

    fn frame(&mut self, rgb: &[u8]) {
        let stride = self.canvas.pixmap.width() as usize;
        let width = self.width_px as usize;
        let pixels = self.canvas.pixmap.pixels_mut();
        for (row, line) in rgb.chunks_exact(width * 3).enumerate() {
            for (column, pixel) in line.chunks_exact(3).enumerate() {
                let opaque = PremultipliedColorU8::from_rgba(pixel[0], pixel[1], pixel[2], 255);
                pixels[row * stride + column] = opaque.expect("opaque colours are premultiplied");
            }
        }
    }

    /// Box, label and keypoints. A keypoint's opacity is its confidence.
    fn person(&mut self, person: &PersonPose) {
        let colour = colour_of(person.id);
        let bounds = &person.bounds;
        let thick = (self.width_px.max(self.height_px) as f32 / 320.0).clamp(1.5, 4.0);
        let canvas = &mut self.canvas;
        let corners = [
            (bounds.left, bounds.top),
            (bounds.right, bounds.top),
            (bounds.right, bounds.bottom),
            (bounds.left, bounds.bottom),
            (bounds.left, bounds.top),
        ];
        for pair in corners.windows(2) {
            canvas.line(pair[0], pair[1], 1.0, colour, 0.5, false);
        }
        for (a, b) in KEYPOINT_EDGES {
            let (a, b) = (person.keypoints[a], person.keypoints[b]);
            let sure = a.confidence.min(b.confidence);
            if a.is_seen() && b.is_seen() {
                canvas.line(
                    (a.x_px, a.y_px),
                    (b.x_px, b.y_px),
                    thick + 1.5,
                    [0; 3],
                    0.45,
                    false,
                );
                canvas.line(
                    (a.x_px, a.y_px),
                    (b.x_px, b.y_px),
                    thick,
                    colour,
                    sure,
                    false,
                );
            }
        }
        for keypoint in &person.keypoints {
            if keypoint.is_seen() {
                let at = (keypoint.x_px, keypoint.y_px);
                canvas.dot(at, thick + 1.0, [0; 3], 0.6);
                canvas.dot(at, thick, [255; 3], keypoint.confidence);
            }
        }
        completed(canvas, &self.calibration, person, thick);
        let mut words = format!("{}  {:.2}", person.id, person.score);
        if let Some(action) = &person.action {
            words = format!("{}  {} {:.2}", person.id, action.label, action.probability);
        }
        let line = f32::from(self.words) * 10.0;
        let at = (
            bounds.left.max(2.0),
            (bounds.top - line - 2.0).max(line + 8.0),
        );
        text::write(canvas, at, self.words, [0; 3], Some(colour), &words);
    }

    fn views(&mut self, sample: &PoseSample) {
        let left = self.width_px as f32;
        let legend = LEGEND_PX * f32::from(self.words);
        let half = 0.5 * (self.canvas.pixmap.height() as f32 - legend);
        let people: Vec<&PersonPose> = sample
            .people
            .iter()
            .filter(|person| person.states.iter().any(|s| *s != JointState::Absent))
            .collect();
        for (kind, top) in [(scene3d::Kind::Side, 0.0), (scene3d::Kind::Above, half)] {
            let area = scene3d::Area {
                left,
                top,
                width: self.panel_px as f32,
                height: half,
            };
            scene3d::view(&mut self.canvas, kind, &area, self.words, &people);
        }
        self.legend();
    }

    /// What the marks on joints mean; the shapes differ as well as the colours.
    fn legend(&mut self) {
        let size = f32::from(self.words);
        let left = self.width_px as f32;
        let top = self.canvas.pixmap.height() as f32 - LEGEND_PX * size;
        let y = top + 5.0 * size;
        let middle = y + 4.0 * size;
        self.canvas.block(
            (left, top),
            (self.panel_px as f32, LEGEND_PX * size),
            BACKGROUND,
            1.0,
        );
        self.canvas
            .dot((left + 10.0 * size, middle), 3.0 * size, MEASURED, 1.0);
        self.canvas
            .ring((left + 100.0 * size, middle), 3.0 * size, COMPLETED);
        for (x, word) in [(18.0, "measured"), (108.0, "completed")] {
            let at = (left + x * size, y);
            text::write(&mut self.canvas, at, self.words, WORDS, None, word);
        }
    }
}

/// Hidden joints at their projected positions: hollow, on dashed lines.
fn completed(canvas: &mut Canvas, lens: &Calibration, person: &PersonPose, thick: f32) {
    /// Joints nearer to the camera, metres, have no place in the image.
    const NEAREST_M: f32 = 0.1;
    let place = |joint: usize| {
        let at = person.joints_camera_m[joint];
        let known = person.states[joint] != JointState::Absent && at.z > NEAREST_M;
        let ray = at.truncate() / at.z;
        (known && lens.in_field(ray)).then(|| {
            let pixel = lens.pixel(ray);
            (pixel.x, pixel.y)
        })
    };
    for (joint, parent) in PARENTS.into_iter().enumerate() {
        if joint == parent || person.states[joint] != JointState::Completed {
            continue;
        }
        if let (Some(from), Some(to)) = (place(parent), place(joint)) {
            canvas.line(from, to, thick, COMPLETED, 0.9, true);
        }
    }
    for joint in 0..JOINTS {
        if person.states[joint] == JointState::Completed
            && let Some(at) = place(joint)
        {
            canvas.ring(at, thick + 1.0, COMPLETED);
        }
    }
}

/// Colour of a person.
fn colour_of(id: u32) -> [u8; 3] {
    PEOPLE[(id.max(1) as usize - 1) % PEOPLE.len()]
}

/// An image and the few shapes it needs.
#[derive(Debug)]
struct Canvas {
    pixmap: Pixmap,
}

impl Canvas {
    fn clear(&mut self, [r, g, b]: [u8; 3]) {
        self.pixmap.fill(Color::from_rgba8(r, g, b, 255));
    }

    fn line(
        &mut self,
        from: (f32, f32),
        to: (f32, f32),
        width: f32,
        colour: [u8; 3],
        opacity: f32,
        dashed: bool,
    ) {
        let mut path = PathBuilder::new();
        path.move_to(from.0, from.1);
        path.line_to(to.0, to.1);
        let Some(path) = path.finish() else { return };
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            dash: dashed
                .then(|| StrokeDash::new(vec![5.0, 5.0], 0.0))
                .flatten(),
            ..Stroke::default()
        };
        self.pixmap.stroke_path(
            &path,
            &paint(colour, opacity),
            &stroke,
            Transform::identity(),
            None,
        );
    }

    fn dot(&mut self, at: (f32, f32), radius: f32, colour: [u8; 3], opacity: f32) {
        if let Some(path) = PathBuilder::from_circle(at.0, at.1, radius) {
            self.pixmap.fill_path(
                &path,
                &paint(colour, opacity),
                FillRule::Winding,
                Transform::identity(),
                None,
            );
        }
    }

    /// A hollow dot, for what was not seen.
    fn ring(&mut self, at: (f32, f32), radius: f32, colour: [u8; 3]) {
        if let Some(path) = PathBuilder::from_circle(at.0, at.1, radius) {
            let stroke = Stroke {
                width: 1.5,
                ..Stroke::default()
            };
            self.pixmap.stroke_path(
                &path,
                &paint(colour, 1.0),
                &stroke,
                Transform::identity(),
                None,
            );
        }
    }

    fn block(&mut self, at: (f32, f32), size: (f32, f32), colour: [u8; 3], opacity: f32) {
        if let Some(rect) = tiny_skia::Rect::from_xywh(at.0, at.1, size.0, size.1) {
            self.pixmap
                .fill_rect(rect, &paint(colour, opacity), Transform::identity(), None);
        }
    }
}

fn paint([r, g, b]: [u8; 3], opacity: f32) -> Paint<'static> {
    let mut colour = Color::from_rgba8(r, g, b, 255);
    colour.set_alpha(opacity.clamp(0.0, 1.0));
    let mut paint = Paint {
        anti_alias: true,
        ..Paint::default()
    };
    paint.set_color(colour);
    paint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pose::{BoxPx, HeadTag, Keypoint};
    use crate::skeleton::{JOINTS, KEYPOINTS};
    use glam::Vec3;

    fn of_size(width_px: u32, height_px: u32) -> Overlay {
        Overlay::new(
            width_px,
            height_px,
            Calibration::assumed(width_px, height_px),
        )
    }

    fn person() -> PersonPose {
        PersonPose {
            id: 1,
            score: 0.9,
            bounds: BoxPx {
                left: 20.0,
                top: 20.0,
                right: 60.0,
                bottom: 90.0,
            },
            root_camera_m: Vec3::new(0.0, 0.2, 3.0),
            size: crate::pose::Size::default(),
            root_sigma_m: 0.1,
            joints_camera_m: [Vec3::new(0.0, 0.2, 3.0); JOINTS],
            sigmas_m: [0.03; JOINTS],
            states: [JointState::Measured; JOINTS],
            keypoints: [Keypoint::new(40.0, 50.0, 1.0); KEYPOINTS],
            action: None,
            head: HeadTag::default(),
        }
    }

    #[test]
    fn a_keypoint_is_drawn_where_it_is() {
        let mut overlay = of_size(120, 100);
        let mut sample = PoseSample {
            width_px: 120,
            height_px: 100,
            ..PoseSample::default()
        };
        let rgb = vec![0; 120 * 100 * 3];
        overlay.draw(&rgb, &sample);
        let before = overlay.pixmap().pixel(40, 50).unwrap();
        assert_eq!((before.red(), before.green()), (0, 0));
        sample.people.push(person()).unwrap();
        overlay.draw(&rgb, &sample);
        let after = overlay.pixmap().pixel(40, 50).unwrap();
        assert!(after.red() > 200 && after.blue() > 200, "{after:?}");
        let beside = overlay.pixmap().pixel(90, 95).unwrap();
        assert_eq!((beside.red(), beside.green(), beside.blue()), (0, 0, 0));
    }

    #[test]
    fn the_picture_is_a_png_of_frame_and_panel() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut overlay = of_size(64, 64);
        overlay.draw(&vec![9; 64 * 64 * 3], &PoseSample::default());
        overlay.save(&path).unwrap();
        let back = Pixmap::load_png(&path).unwrap();
        assert_eq!(
            (back.width(), back.height()),
            (64 + PANEL_PX_MIN, HEIGHT_PX_MIN)
        );
        let tall = of_size(720, 1280);
        assert_eq!((tall.pixmap().width(), tall.words), (720 + 640, 2));
    }

    /// How many pixels of the column beside the frame are nearly of a colour.
    fn count(overlay: &Overlay, [r, g, b]: [u8; 3]) -> usize {
        let pixmap = overlay.pixmap();
        let near = |a: u8, b: u8| a.abs_diff(b) < 24;
        (0..pixmap.height() - 24)
            .flat_map(|y| (overlay.width_px..pixmap.width()).map(move |x| (x, y)))
            .filter_map(|(x, y)| pixmap.pixel(x, y))
            .filter(|p| near(p.red(), r) && near(p.green(), g) && near(p.blue(), b))
            .count()
    }

    #[test]
    fn a_joint_in_space_is_marked_by_how_it_is_known() {
        let mut overlay = of_size(120, 100);
        let rgb = vec![0; 120 * 100 * 3];
        let mut draw = |state: JointState| {
            let mut sample = PoseSample::default();
            let mut person = person();
            person.states[1] = state;
            person.joints_camera_m[1] = Vec3::new(-0.4, 0.6, 2.6);
            sample.people.push(person).unwrap();
            overlay.draw(&rgb, &sample);
            (count(&overlay, MEASURED), count(&overlay, COMPLETED))
        };
        let measured = draw(JointState::Measured);
        let completed = draw(JointState::Completed);
        let absent = draw(JointState::Absent);
        assert_eq!(measured.1, 0);
        assert!(completed.1 > 0 && completed.0 < measured.0);
        assert!(absent.1 == 0 && absent.0 < measured.0);
    }

    #[test]
    fn the_camera_is_shown_where_there_is_room_for_it() {
        let mut overlay = of_size(120, 100);
        let rgb = vec![0; 120 * 100 * 3];
        let mut draw = |away: f32| {
            let mut sample = PoseSample::default();
            let mut person = person();
            person.joints_camera_m = [Vec3::new(0.0, 0.2, away); JOINTS];
            sample.people.push(person).unwrap();
            overlay.draw(&rgb, &sample);
            count(&overlay, scene3d::CAMERA)
        };
        assert!(draw(3.0) > 20);
        assert_eq!(draw(12.0), 0);
    }

    #[test]
    fn people_without_joints_do_not_trouble_the_views() {
        let mut absent = person();
        absent.states = [JointState::Absent; JOINTS];
        let mut sample = PoseSample::default();
        sample.people.push(absent).unwrap();
        of_size(64, 64).draw(&vec![0; 64 * 64 * 3], &sample);
    }
}
