//! Streams through images: the same motion, camera and gaps, but a synthetic person, and keypoints from the
//! networks that ship.
//!
//! ```text
//!  simulated stream ─▶ synthetic person in a room ─▶ what hides, painted over ─▶ detector, person network ─▶ stream
//! ```
//!
//! The truth is the synthetic person's. Looks, light, rooms and builds are of seeds that no network was
//! trained with. The simulated detector's own errors have no place here: the networks make theirs.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "image sides and pixels are small numbers, clamped before they are cut"
)]

use fastrand::Rng;
use glam::{Mat3, Vec2, Vec3};

use super::scenario::{Hide, Scenario};
use super::simulate::{Moment, Stream, hash};
use crate::base::clock::MonoNs;
use crate::camera::{Calibration, Mount};
use crate::detect::PeopleNet;
use crate::engine::Engine;
use crate::error::StartError;
use crate::estimate::EstimateConfig;
use crate::frame::{Frame, FrameMeta, PixelFormat};
use crate::pose::{BoxPx, Detection, People};
use crate::skeleton::{JOINTS, SHARED};
use crate::synthetic::{FigurePose, Intrinsics, Optics, Studio};

/// Seeds of synthetic people and rooms: behind all that training drew from.
const FIRST_SEED: u64 = 3_000_000_000;

/// The appearance of the person at `place` in an evaluation: one that no network was trained with.
pub(super) fn unseen_appearance(scenario: &Scenario, place: &str, seed: u64) -> u64 {
    FIRST_SEED + (seed ^ hash(place) ^ hash(&scenario.name).rotate_left(11)) % FIRST_SEED
}

/// How far around hidden keypoints the image is painted over, share of the person's height in it.
const AROUND: f32 = 0.07;

/// How far below the hips a counter begins, share of the person's height in the image.
const BELOW_HIPS: f32 = 0.02;

/// A detection that overlaps the synthetic person less is of something else: intersection over union.
const SAME_PERSON: f32 = 0.1;

/// Renders a stream and runs the person detector and the person network of `config` on it. `appearance` fixes person
/// and room ([`Studio::new`]).
///
/// # Errors
///
/// The networks do not open or do not run.
pub fn rendered(
    stream: Stream,
    scenario: &Scenario,
    appearance: u64,
    config: &EstimateConfig,
) -> Result<Stream, StartError> {
    let world = World::of(&stream.mount);
    let size_px = stream.calibration.size_px();
    let shown: Vec<[Vec3; JOINTS]> = stream
        .moments
        .iter()
        .map(|moment| moment.joints_camera_m.map(|joint| world.place(joint)))
        .collect();
    let optics = world.optics(&stream.calibration);
    let mut studio = Studio::new(optics, size_px, shown.iter(), appearance);
    let mut eyes = Eyes::open(config, size_px)?;
    let covers = Covers::new(scenario, size_px, appearance);
    let mut moments = Vec::with_capacity(stream.moments.len());
    let mut motion = 0;
    for (moment, joints_m) in stream.moments.iter().zip(&shown) {
        if moment.motion != motion {
            motion = moment.motion;
            eyes.people.reset();
        }
        let rgb = &mut eyes.frame.bytes;
        let drawn = studio.show(joints_m, rgb);
        let covered = covers.paint(&drawn, &stream.calibration, moment.time_s(), rgb);
        let found = eyes.detect(&stream.calibration, moment.time, &drawn)?;
        moments.push(Moment {
            time: moment.time,
            seen: found,
            joints_camera_m: drawn.joints_camera_m,
            visible: visible(&drawn, &stream.calibration, &covered),
            motion,
        });
    }
    Ok(Stream { moments, ..stream })
}

/// Where the camera stands in a world with y up and the floor at 0, below the camera and before it.
struct World {
    /// From the camera's axes to the world's.
    turn: Mat3,
    height_m: f32,
}

impl World {
    fn of(mount: &Mount) -> Self {
        let up = mount.up();
        let behind = -(Vec3::Z - up * up.z).normalize_or(Vec3::Z);
        let right = up.cross(behind);
        Self {
            turn: Mat3::from_cols(right, up, behind).transpose(),
            height_m: mount.height_m,
        }
    }

    fn place(&self, camera: Vec3) -> Vec3 {
        self.turn * camera + Vec3::Y * self.height_m
    }

    fn optics(&self, calibration: &Calibration) -> Optics {
        let k = calibration.intrinsics();
        Optics {
            intrinsics: Intrinsics {
                fx: k.fx_px as f32,
                fy: k.fy_px as f32,
                cx: k.cx_px as f32,
                cy: k.cy_px as f32,
            },
            place: self.place(Vec3::ZERO),
            right: self.turn.x_axis,
            down: self.turn.y_axis,
            ahead: self.turn.z_axis,
        }
    }
}

/// The networks that read images, and the image.
struct Eyes {
    people: PeopleNet,
    found: People,
    frame: Frame,
}

impl Eyes {
    fn open(
        config: &EstimateConfig,
        (width_px, height_px): (u32, u32),
    ) -> Result<Self, StartError> {
        let engine = Engine::open(&config.inference)?;
        let people = config.open_people(&engine)?;
        engine.build_now();
        let mut frame = Frame::with_room(width_px, height_px);
        frame.bytes = vec![0; PixelFormat::Rgb24.image_bytes(width_px, height_px)];
        Ok(Self {
            people,
            found: People::new(),
            frame,
        })
    }

    /// What the networks say of the synthetic person.
    fn detect(
        &mut self,
        calibration: &Calibration,
        time: MonoNs,
        drawn: &FigurePose,
    ) -> Result<Option<Detection>, StartError> {
        self.frame.meta = FrameMeta {
            sequence: self.frame.meta.sequence + 1,
            capture: time,
            ..self.frame.meta
        };
        self.people
            .step(&self.frame, calibration, &mut self.found)?;
        let outline = outline(drawn, calibration);
        let overlap = |person: &Detection| person.bounds.iou(&outline);
        let best = self
            .found
            .iter()
            .max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
        Ok(best.filter(|person| overlap(person) > SAME_PERSON).cloned())
    }
}

/// Box around the drawn keypoints, pixels.
fn outline(drawn: &FigurePose, calibration: &Calibration) -> BoxPx {
    let pixels = drawn.keypoints_camera_m.map(|p| pixel(p, calibration));
    let low = pixels.iter().copied().fold(Vec2::INFINITY, Vec2::min);
    let high = pixels.iter().copied().fold(Vec2::NEG_INFINITY, Vec2::max);
    BoxPx {
        left: low.x,
        top: low.y,
        right: high.x,
        bottom: high.y,
    }
}

fn pixel(camera: Vec3, calibration: &Calibration) -> Vec2 {
    calibration.pixel(camera.truncate() / camera.z.max(0.1))
}

/// What stands before the camera, as boxes of one colour.
struct Covers<'a> {
    hides: Vec<(&'a Hide, [u8; 3])>,
    size_px: (u32, u32),
}

/// A part of the image, pixels.
type Part = [f32; 4];

impl<'a> Covers<'a> {
    fn new(scenario: &'a Scenario, size_px: (u32, u32), seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut colour = || std::array::from_fn(|_| rng.u8(40..210));
        let hides = scenario.hide.iter().map(|hide| (hide, colour())).collect();
        Self { hides, size_px }
    }

    /// Paints over what is hidden at a time; gives the parts.
    fn paint(
        &self,
        drawn: &FigurePose,
        calibration: &Calibration,
        time_s: f64,
        rgb: &mut [u8],
    ) -> Vec<Part> {
        let bounds = outline(drawn, calibration);
        let height = (bounds.bottom - bounds.top).max(bounds.right - bounds.left);
        let (wide, high) = (self.size_px.0 as f32, self.size_px.1 as f32);
        let mut parts = Vec::new();
        for (hide, colour) in &self.hides {
            if !hide.active(time_s) {
                continue;
            }
            let pixels = drawn.keypoints_camera_m.map(|p| pixel(p, calibration));
            let hidden = (0..pixels.len()).filter(|k| hide.hides(*k, time_s));
            let around = hidden
                .map(|k| pixels[k])
                .fold(None, |part: Option<Part>, at| {
                    let [left, top, right, bottom] = part.unwrap_or([at.x, at.y, at.x, at.y]);
                    Some([
                        left.min(at.x),
                        top.min(at.y),
                        right.max(at.x),
                        bottom.max(at.y),
                    ])
                });
            let more = AROUND * height;
            let around = around.map(|[left, top, right, bottom]| {
                [left - more, top - more, right + more, bottom + more]
            });
            let counter = hide.below_hips.then(|| {
                let hips = 0.5 * (pixels[11].y + pixels[12].y);
                [0.0, hips + BELOW_HIPS * height, wide, high]
            });
            let region = hide.region.map(|[left, top, right, bottom]| {
                [left * wide, top * high, right * wide, bottom * high]
            });
            for part in [around, counter, region].into_iter().flatten() {
                self.fill(part, *colour, rgb);
                parts.push(part);
            }
        }
        parts
    }

    fn fill(&self, [left, top, right, bottom]: Part, colour: [u8; 3], rgb: &mut [u8]) {
        let (wide, high) = (self.size_px.0 as usize, self.size_px.1 as usize);
        let columns = left.max(0.0) as usize..(right.max(0.0) as usize).min(wide);
        let rows = top.max(0.0) as usize..(bottom.max(0.0) as usize).min(high);
        if columns.is_empty() {
            return;
        }
        for row in rows {
            let line = &mut rgb[3 * (row * wide + columns.start)..3 * (row * wide + columns.end)];
            for pixel in line.chunks_exact_mut(3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }
}

/// Which of the joints that a keypoint sees are in the image and not painted over; true for the rest.
fn visible(drawn: &FigurePose, calibration: &Calibration, covered: &[Part]) -> [bool; JOINTS] {
    let (wide, high) = calibration.size_px();
    let mut visible = [true; JOINTS];
    for (joint, keypoint) in SHARED {
        let at = pixel(drawn.keypoints_camera_m[keypoint], calibration);
        let inside = |[left, top, right, bottom]: Part| {
            (left..right).contains(&at.x) && (top..bottom).contains(&at.y)
        };
        visible[joint] = inside([0.0, 0.0, wide as f32, high as f32])
            && !covered.iter().any(|part| inside(*part));
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::eval::motion::Motion;
    use crate::lab::eval::simulate::{stream, tests::standing};

    fn config() -> EstimateConfig {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config
    }

    /// A person who stands and sways.
    fn motion() -> Motion {
        let at = |frame: u16| {
            let sway = Vec3::X * (0.05 * (f32::from(frame) * 0.1).sin());
            standing().map(|joint| joint + sway)
        };
        Motion {
            id: "m".into(),
            subject: "s".into(),
            rate_hz: 30.0,
            actions: Vec::new(),
            joints_world_m: (0..60).map(at).collect(),
        }
    }

    fn shown(hide: Vec<Hide>) -> (Stream, Stream) {
        let scenario = Scenario {
            name: "test".into(),
            side_px: 320,
            hide,
            ..Scenario::default()
        };
        let simulated = stream(&scenario, "site", &[&motion()], 3).unwrap();
        let drawn = rendered(
            simulated.clone(),
            &scenario,
            unseen_appearance(&scenario, "site", 3),
            &config(),
        )
        .unwrap();
        (simulated, drawn)
    }

    #[test]
    fn the_networks_see_the_rendered_person_where_the_motion_is() {
        let (simulated, drawn) = shown(Vec::new());
        let seen = drawn.moments.iter().filter(|m| m.seen.is_some()).count();
        assert!(seen >= 55, "{seen} of 60 frames");
        let (mut miss, mut count) = (0.0, 0.0);
        for (wanted, got) in simulated.moments.iter().zip(&drawn.moments) {
            assert_eq!(wanted.time, got.time);
            let pelvis = wanted.joints_camera_m[0].distance(got.joints_camera_m[0]);
            assert!(pelvis < 0.2, "{pelvis}");
            let Some(person) = &got.seen else { continue };
            assert!(person.features.is_some(), "pixels give image features");
            let height = person.bounds.bottom - person.bounds.top;
            for (joint, keypoint) in SHARED {
                let at = pixel(got.joints_camera_m[joint], &drawn.calibration);
                let keypoint = &person.keypoints[keypoint];
                miss += at.distance(Vec2::new(keypoint.x_px, keypoint.y_px)) / height;
                count += 1.0;
            }
        }
        let miss = miss / count;
        assert!(
            miss < 0.05,
            "keypoints are {miss} of the person's height off"
        );
    }

    #[test]
    fn what_is_painted_over_is_not_visible_and_hardly_seen() {
        let legs = Hide {
            keypoints: ["left_knee", "right_knee", "left_ankle", "right_ankle"]
                .map(String::from)
                .into(),
            every_s: 4.0,
            for_s: 4.0,
            region: None,
            below_hips: false,
        };
        let (_, drawn) = shown(vec![legs]);
        let mut visibility = [0.0; 2];
        for moment in &drawn.moments {
            assert!(!moment.visible[2] && !moment.visible[6]);
            assert!(moment.visible[11] && moment.visible[13]);
            let Some(person) = &moment.seen else { continue };
            visibility[0] += person.keypoints[15].visibility;
            visibility[1] += person.keypoints[5].visibility;
        }
        assert!(visibility[0] < 0.5 * visibility[1], "{visibility:?}");
    }
}
