//! The scene: people, room and camera put together.

use fastrand::Rng;
use glam::Vec3;

use super::appearance::{Appearance, between, mixed};
use super::body::Stance;
use super::config::{Scenario, SyntheticConfig};
use super::figure::Figure;
use super::motion::Anchor;
use super::optics::{Intrinsics, Optics};
use super::plan::{Places, Plan};
use super::render::{Actor, Canvas};
use super::room::Room;
use super::truth::{FigurePose, SceneTruth, person_truth, pose_of};
use crate::base::config::ConfigError;
use crate::frame::PixelFormat;

/// A synthetic scene: a function of configuration and time, and nothing else.
///
/// Making one takes some hundred milliseconds (surfaces, empty room). After that
/// nothing is taken from the heap.
#[derive(Debug)]
pub struct Scene {
    width_px: u32,
    height_px: u32,
    canvas: Canvas,
    actors: Vec<Actor>,
    plans: Vec<Plan>,
    stances: Vec<Stance>,
    actions: Vec<&'static str>,
    covered_s: Option<f64>,
}

impl Scene {
    /// Makes the scene of a configuration.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn new(config: &SyntheticConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut rng = Rng::with_seed(mixed(config.seed ^ 0x0005_ce9e));
        let view = config.view();
        let stature = config.stature_m();
        let optics = Optics::new(&view, config.width_px, config.height_px, 0.52 * stature);
        let (room, places) = Room::new(config.scenario, stature / 1.74, optics.place, &mut rng);
        let people = config.people();
        let mut scene = Self {
            width_px: config.width_px,
            height_px: config.height_px,
            canvas: Canvas::new(&room, optics, config.width_px, config.height_px),
            actors: Vec::with_capacity(people),
            plans: Vec::with_capacity(people),
            stances: vec![Stance::default(); people],
            actions: vec![""; people],
            covered_s: None,
        };
        for person in 0..people {
            let seed = config.seed.wrapping_mul(8).wrapping_add(person as u64);
            scene
                .actors
                .push(Actor::new(Figure::new(Appearance::from_seed(
                    seed, stature,
                ))));
            let home = home(config.scenario, &places, person, people, &mut rng);
            scene
                .plans
                .push(Plan::new(config.scenario, &places, home, &mut rng));
        }
        Ok(scene)
    }

    /// Columns and rows.
    pub const fn size_px(&self) -> (u32, u32) {
        (self.width_px, self.height_px)
    }

    /// Bytes of an image that [`Scene::render_into`] fills.
    pub const fn image_bytes(&self) -> usize {
        PixelFormat::Rgb24.image_bytes(self.width_px, self.height_px)
    }

    /// How many people.
    pub const fn people(&self) -> usize {
        self.actors.len()
    }

    /// Focal lengths and principal point of the camera.
    pub const fn intrinsics(&self) -> Intrinsics {
        self.canvas.optics().intrinsics
    }

    /// Where the camera is in the room.
    pub const fn optics(&self) -> &Optics {
        self.canvas.optics()
    }

    /// How long until a person's plan begins again, seconds.
    pub fn period_s(&self, person: usize) -> f32 {
        self.plans[person].period_s()
    }

    /// Draws the scene `time_s` seconds after its start: red, green, blue, rows from the top.
    ///
    /// # Panics
    ///
    /// `rgb` must have [`Scene::image_bytes`] bytes.
    pub fn render_into(&mut self, time_s: f64, rgb: &mut [u8]) {
        assert_eq!(rgb.len(), self.image_bytes(), "three bytes a pixel");
        self.cover(time_s);
        self.canvas.paint(&self.actors, &self.stances, rgb);
    }

    /// For each pixel of the image drawn last: `(person + 1) << 2 | class`, class 1
    /// for skin and hair, 2 for clothes; 0 where no person is.
    pub fn labels(&self) -> &[u8] {
        self.canvas.labels()
    }

    /// What is true `time_s` seconds after the start. What hides a joint is read
    /// from the depth of the drawn surfaces.
    pub fn truth_at(&mut self, time_s: f64) -> SceneTruth {
        self.cover(time_s);
        let mut truth = SceneTruth::default();
        for (person, actor) in self.actors.iter().enumerate() {
            let pose = pose_of(
                actor,
                &self.stances[person],
                &self.canvas,
                self.actions[person],
            );
            let pushed = truth
                .people
                .push(person_truth(person, actor, &self.canvas, &pose));
            debug_assert!(pushed.is_ok(), "people are bounded by the configuration");
        }
        truth
    }

    /// One person's joints at a time, without looking at what hides them.
    pub fn pose_at(&self, person: usize, time_s: f64) -> FigurePose {
        let actor = &self.actors[person];
        let (posture, action) = self.plans[person].at(&actor.figure().lengths, time_s);
        let mut stance = Stance::default();
        stance.set(&actor.figure().lengths, &posture);
        pose_of(actor, &stance, &self.canvas, action.phrase())
    }

    fn cover(&mut self, time_s: f64) {
        if self
            .covered_s
            .is_some_and(|covered| covered.to_bits() == time_s.to_bits())
        {
            return;
        }
        for (person, actor) in self.actors.iter().enumerate() {
            let lengths = &actor.figure().lengths;
            let (posture, action) = self.plans[person].at(lengths, time_s);
            self.stances[person].set(lengths, &posture);
            self.actions[person] = action.phrase();
        }
        self.canvas.cover(&mut self.actors, &self.stances);
        self.covered_s = Some(time_s);
    }
}

/// Where a person's plan begins.
fn home(
    scenario: Scenario,
    places: &Places,
    person: usize,
    people: usize,
    rng: &mut Rng,
) -> Anchor {
    let spread = if people > 1 {
        ((person as f32 + 0.5) / people as f32 * 2.0 - 1.0)
            * places.free_x.max(0.45 * people as f32)
    } else {
        0.0
    };
    let depth = if people > 1 {
        between(rng, places.free_z.1, places.free_z.0)
    } else {
        0.0
    };
    match scenario {
        Scenario::Sit => places.seat.unwrap_or_default(),
        Scenario::Climb => places.step.unwrap_or_default(),
        Scenario::Varied => Anchor {
            place: Vec3::new(
                spread + between(rng, -0.5, 0.5),
                0.0,
                depth + between(rng, -0.5, 0.3),
            ),
            heading: between(rng, -3.1, 3.1),
        },
        Scenario::Squat | Scenario::Exercise => Anchor {
            place: Vec3::new(spread, 0.0, depth),
            heading: between(rng, -0.7, 0.7),
        },
        _ => Anchor {
            place: Vec3::new(spread, 0.0, depth),
            heading: 0.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::{JOINTS, KEYPOINTS, PARENTS};
    use crate::synthetic::Visibility;

    fn scene(scenario: Scenario, seed: u64) -> Scene {
        Scene::new(&SyntheticConfig {
            width_px: 320,
            height_px: 240,
            seed,
            ..SyntheticConfig::of(scenario)
        })
        .unwrap()
    }

    #[test]
    fn bones_keep_their_length_whatever_people_do() {
        for scenario in [Scenario::Default, Scenario::Exercise, Scenario::Crowd] {
            let scene = scene(scenario, 5);
            for person in 0..scene.people() {
                let first = scene.pose_at(person, 0.0).joints_camera_m;
                let mut time = 0.0;
                while time < f64::from(scene.period_s(person)) {
                    let now = scene.pose_at(person, time).joints_camera_m;
                    for joint in 1..JOINTS {
                        let length = |joints: &[Vec3; JOINTS]| {
                            joints[joint].distance(joints[PARENTS[joint]])
                        };
                        let (want, got) = (length(&first), length(&now));
                        assert!(
                            (want - got).abs() < 1e-3,
                            "bone {joint} at {time} s: {got} for {want}"
                        );
                    }
                    time += 0.37;
                }
            }
        }
    }

    #[test]
    fn seen_keypoints_lie_on_the_persons_pixels() {
        let (mut on, mut all) = (0, 0);
        for (scenario, seed) in [
            (Scenario::Default, 1),
            (Scenario::Exercise, 2),
            (Scenario::Varied, 3),
        ] {
            let mut scene = scene(scenario, seed);
            let mut rgb = vec![0; scene.image_bytes()];
            for step in 0..40 {
                let time = f64::from(step) * 2.3;
                scene.render_into(time, &mut rgb);
                for (person, truth) in scene.truth_at(time).people.iter().enumerate() {
                    for keypoint in 0..KEYPOINTS {
                        if truth.keypoint_visibility[keypoint] != Visibility::Seen {
                            continue;
                        }
                        let [x, y] = truth.keypoints_px[keypoint];
                        let at = y.round().clamp(0.0, 239.0) as usize * 320
                            + x.round().clamp(0.0, 319.0) as usize;
                        all += 1;
                        on += usize::from(usize::from(scene.labels()[at] >> 2) == person + 1);
                    }
                }
            }
        }
        assert!(all > 800, "{all} seen keypoints are too few to judge");
        assert!(
            on * 100 >= all * 97,
            "{on} of {all} seen keypoints lie on the person"
        );
    }

    #[test]
    fn the_same_seed_and_time_give_the_same_bytes_and_others_do_not() {
        let draw = |seed: u64, before: f64, time: f64| {
            let mut scene = scene(Scenario::Crowd, seed);
            let mut rgb = vec![0; scene.image_bytes()];
            scene.render_into(before, &mut rgb);
            scene.render_into(time, &mut rgb);
            rgb
        };
        let once = draw(4, 9.0, 3.5);
        assert_eq!(once, draw(4, 0.1, 3.5));
        assert_ne!(once, draw(5, 0.1, 3.5));
        assert_ne!(once, draw(4, 0.1, 3.9));
    }

    #[test]
    fn legs_behind_the_counter_are_hidden_by_furniture() {
        let mut scene = scene(Scenario::Occluded, 1);
        let (mut hidden, mut frames) = (0, 0);
        let mut time = 0.0;
        while time < f64::from(scene.period_s(0)) {
            let truth = scene.truth_at(time);
            let person = &truth.people[0];
            frames += 1;
            hidden += usize::from(
                [3, 6]
                    .iter()
                    .all(|ankle| person.joint_visibility[*ankle] == Visibility::Furniture),
            );
            assert!(!person.joint_visibility[8].is_hidden() || person.pose.action != "stand still");
            time += 0.5;
        }
        assert!(
            hidden * 10 > frames * 6,
            "ankles are hidden in {hidden} of {frames} frames"
        );
    }

    #[test]
    fn in_full_view_little_is_hidden_and_nothing_by_the_border() {
        let mut scene = scene(Scenario::Default, 1);
        let (mut hidden, mut all) = (0, 0);
        for step in 0..100 {
            let truth = scene.truth_at(f64::from(step));
            for visibility in &truth.people[0].joint_visibility {
                all += 1;
                hidden += usize::from(visibility.is_hidden());
                assert_ne!(*visibility, Visibility::Border, "at {step} s");
            }
        }
        assert!(hidden * 5 < all, "{hidden} of {all} joints are hidden");
    }

    #[test]
    fn the_back_of_the_head_hides_the_face() {
        let mut scene = scene(Scenario::Walk, 2);
        let mut checked = 0;
        let mut time = 0.0;
        while time < f64::from(scene.period_s(0)) {
            let truth = scene.truth_at(time);
            let pose = &truth.people[0].pose;
            // Facing away: the nose is farther from the camera than both ears.
            let depth = |keypoint: usize| pose.keypoints_camera_m[keypoint].z;
            if depth(0) > depth(3).max(depth(4)) + 0.08 {
                checked += 1;
                assert!(
                    truth.people[0].keypoint_visibility[0].is_hidden(),
                    "nose seen at {time} s"
                );
            }
            time += 0.25;
        }
        assert!(checked > 3, "the walker turned away only {checked} times");
    }

    #[test]
    fn feet_stay_on_or_above_the_floor() {
        let scene = scene(Scenario::Default, 3);
        let optics = *scene.optics();
        let mut time = 0.0;
        while time < f64::from(scene.period_s(0)) {
            let pose = scene.pose_at(0, time);
            let height = |joint: usize| {
                let p = pose.joints_camera_m[joint];
                (optics.place + optics.right * p.x + optics.down * p.y + optics.ahead * p.z).y
            };
            let (left, right) = (height(6), height(3));
            assert!(
                left.min(right) > 0.05 && left.min(right) < 0.35,
                "ankles at {left} and {right} m at {time} s"
            );
            time += 0.2;
        }
    }
}
