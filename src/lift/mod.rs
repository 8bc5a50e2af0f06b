//! Keypoints over time to a metric 3D pose. Runs on the estimate thread.
//!
//! ```text
//!  keypoints ─▶ rays ─▶ window ─▶ input ─▶ backbone ─▶ head ─────────▶ root ─▶ camera frame
//!             (lens)   (30 Hz)   (faces   (engine,    (Rust, refined)  (rays)
//!                                 the person) once more mirrored)
//! ```
//!
//! [`Lifter`] keeps a window for each person; nothing here allocates after construction,
//! except the engine of the backbone.

pub mod floor;
pub mod head;
pub mod input;
pub mod mirror;
pub mod model;
pub mod refine;
pub mod root;
pub mod rooted;
pub mod window;

mod measured;

use std::sync::Arc;

use glam::Vec3;
use heapless::Vec;
use serde::Deserialize;

use crate::base::clock::MonoNs;
use crate::base::config::ConfigError;
use crate::base::limits::{IMAGE_FEATURES, LIFT_FEATURES, LIFT_SAMPLES, TRACKS_MAX};
use crate::camera::Calibration;
use crate::pose::{Detection, HeadTag, JointState, PersonPose, Size};
use crate::skeleton::{JOINTS, KEYPOINTS, SHARED};
use crate::track::TrackedPerson;
use crate::track::smooth::{OneEuro, OneEuroConfig};

use head::{HIDDEN, Head, HeadOutput};
use input::{LIFT_INPUT, View, build_input};
use mirror::Mirror;
use refine::Own;
use root::{Root, RootJoint, solve_root};
use window::{BRIDGE, Pushed, RayKeypoint, RaySamples, Window, rays_of};

pub use measured::measured_joints;

/// Of the twelve joints that a keypoint sees, so many must be seen in the newest
/// frame, or there is no pose: two shoulders and an arm are four. With fewer,
/// where the person stands and faces is a guess.
pub const SEEN_MIN: usize = 4;

/// Image features of a larger norm say nothing and are left out. Of most crops the norm is 0.75 to 1.5, of a few per
/// cent tens to two hundred, far from all that the image layer has learned from.
const IMAGE_NORM_MAX: f32 = 2.0;

/// `[lift]`: keypoints to 3D.
///
/// ```toml
/// [lift]
/// image_features = true
/// smooth = true
///
/// [lift.smooth_joints]        # around the pelvis
/// min_cutoff_hz = 2.0
/// cutoff_per_speed = 6.5
///
/// [lift.smooth_distance]      # of the pelvis from the camera
/// min_cutoff_hz = 1.0
/// cutoff_per_speed = 2.0
/// ```
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LiftConfig {
    /// Whether the final layers use what the image shows beside the keypoints,
    /// where both networks know how. Default true.
    pub image_features: bool,
    /// Whether each frame's pose is the mean of two inferences, one of them mirrored ([`mirror`]), and is moved to
    /// agree with its rays and with the person's bones ([`refine`]). Set by `adapt.method`, not by `[lift]` of the
    /// file.
    #[serde(skip)]
    pub refine: bool,
    /// Whether the output is smoothed at all. Default true: on captured motion
    /// with 1.5 pixels of noise it took the acceleration error of the joints from
    /// 14 to 8 mm a frame² and that of the root from 68 to 24, at no more than
    /// 0.5 % of error in place.
    pub smooth: bool,
    /// One-euro smoothing of the joints around the pelvis, speeds in metres a
    /// second. The default delays a joint at rest by 80 ms, one at 0.5 m/s by 30 ms.
    pub smooth_joints: OneEuroConfig,
    /// One-euro smoothing of the pelvis' distance from the camera, along the
    /// line of sight, speeds in metres a second. The default delays by 53 ms who
    /// comes nearer at 1 m/s.
    pub smooth_distance: OneEuroConfig,
}

impl Default for LiftConfig {
    fn default() -> Self {
        Self {
            image_features: true,
            refine: true,
            smooth: true,
            smooth_joints: OneEuroConfig {
                min_cutoff_hz: 2.0,
                cutoff_per_speed: 6.5,
                speed_cutoff_hz: 1.0,
            },
            smooth_distance: OneEuroConfig {
                min_cutoff_hz: 1.0,
                cutoff_per_speed: 2.0,
                speed_cutoff_hz: 1.0,
            },
        }
    }
}

impl LiftConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.smooth_joints.validate([
            "lift.smooth_joints.min_cutoff_hz",
            "lift.smooth_joints.cutoff_per_speed",
            "lift.smooth_joints.speed_cutoff_hz",
        ])?;
        self.smooth_distance.validate([
            "lift.smooth_distance.min_cutoff_hz",
            "lift.smooth_distance.cutoff_per_speed",
            "lift.smooth_distance.speed_cutoff_hz",
        ])
    }
}

/// The frozen network in the middle: input tensor to features of the newest sample.
///
/// Any closure of the right shape is one.
pub trait Backbone {
    /// The engine's error: small, `Copy`, without text.
    type Error: Copy + core::fmt::Debug;

    /// Runs the network once.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn run_into(
        &mut self,
        input: &[f32; LIFT_INPUT],
        features: &mut [f32; LIFT_FEATURES],
    ) -> Result<(), Self::Error>;
}

impl<F, E> Backbone for F
where
    F: FnMut(&[f32; LIFT_INPUT], &mut [f32; LIFT_FEATURES]) -> Result<(), E>,
    E: Copy + core::fmt::Debug,
{
    type Error = E;

    fn run_into(
        &mut self,
        input: &[f32; LIFT_INPUT],
        features: &mut [f32; LIFT_FEATURES],
    ) -> Result<(), E> {
        self(input, features)
    }
}

/// Why a person has no 3D pose in this frame. Each variant owns one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPose<E> {
    /// Fewer than [`SEEN_MIN`] joints are seen.
    TooFewSeen,
    /// The frame's time does not lie after the person's last.
    TimeStoodBack,
    /// Joints and rays do not agree on a root before the camera.
    NoRoot,
    /// A network gave a number that is not finite.
    NotFinite,
    /// The engine failed.
    Engine(E),
}

/// What the stages before the last made of a pose: how far they are apart says something of where it is wrong. Joints
/// relative to the pelvis, directions of the camera frame, metres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stages {
    /// Before refinement: the pose with half of the correction of the mirrored inference.
    pub unrefined_m: [Vec3; JOINTS],
    /// Before smoothing.
    pub unsmoothed_m: [Vec3; JOINTS],
    /// From where the head has each joint to where the mirror shows it ([`mirror::Mirrored`]).
    pub apart_m: [Vec3; JOINTS],
    /// Whether flip test-time augmentation and refinement were asked for ([`LiftConfig::refine`]).
    pub refined: bool,
    /// Whether the head saw the image.
    pub picture: bool,
}

impl Stages {
    /// The same with every vector changed.
    #[must_use]
    pub fn map(self, change: impl Fn(Vec3) -> Vec3) -> Self {
        Self {
            unrefined_m: self.unrefined_m.map(&change),
            unsmoothed_m: self.unsmoothed_m.map(&change),
            apart_m: self.apart_m.map(&change),
            ..self
        }
    }
}

/// One person in 3D: all that the lifter knows, also of joints the camera does not see.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The pelvis in the camera frame, metres.
    pub root_camera_m: Vec3,
    /// Standard deviation of the root along the line of sight, metres: that of the
    /// fit and that of the size.
    pub root_sigma_m: f32,
    /// Joints relative to the pelvis, directions of the camera frame, metres.
    pub relative_camera_m: [Vec3; JOINTS],
    /// How they came to be.
    pub stages: Stages,
    /// Standard deviation of each joint relative to the root, per axis, metres.
    pub sigmas_m: [f32; JOINTS],
    /// How each joint is known: measured where the camera sees it now, else absent,
    /// until it is completed. Positions and sigmas are there all the same.
    pub states: [JointState; JOINTS],
    /// How large the person is; joints and root are of that size.
    pub size: Size,
    /// How the input looked at the person.
    pub view: View,
    /// The backbone's features.
    pub features: [f32; LIFT_FEATURES],
    /// What the image adds to the final layers ([`Head::image_part`]).
    pub image_part: [f32; HIDDEN],
    /// Which final layers made it.
    pub head: HeadTag,
}

impl Estimate {
    /// Makes the lifter's guess as large as the person is. Rays stay what they are.
    fn scale(&mut self) {
        let Size { factor, sigma, .. } = self.size;
        self.root_camera_m *= factor;
        self.root_sigma_m = (factor * self.root_sigma_m).hypot(sigma * self.root_camera_m.z);
        for (joint, sigma_m) in self.relative_camera_m.iter_mut().zip(&mut self.sigmas_m) {
            *joint *= factor;
            *sigma_m *= factor;
        }
        self.stages = self.stages.map(|vector| factor * vector);
    }

    /// A joint in the camera frame, metres.
    pub fn joint_camera_m(&self, joint: usize) -> Vec3 {
        self.root_camera_m + self.relative_camera_m[joint]
    }
}

#[derive(Clone, Debug, Default)]
struct LiftedPerson {
    id: Option<u32>,
    window: Window,
    refine: refine::RefineMemory,
    floor: floor::FloorMemory,
    distance: OneEuro<1>,
    joints: [OneEuro<3>; JOINTS],
}

/// Lifts people, one at a time.
#[derive(Debug)]
pub struct Lifter<B> {
    config: LiftConfig,
    backbone: B,
    head: Arc<Head>,
    /// `TRACKS_MAX` people, each for one id.
    people: Box<[LiftedPerson]>,
    samples: Box<RaySamples>,
    input: Box<[f32; LIFT_INPUT]>,
    mirror: Mirror,
    detector: refine::Detector,
}

impl<B: Backbone> Lifter<B> {
    /// A new lifter. Takes a validated configuration.
    pub fn new(config: LiftConfig, backbone: B, head: Arc<Head>) -> Self {
        Self {
            config,
            backbone,
            head,
            people: (0..TRACKS_MAX).map(|_| LiftedPerson::default()).collect(),
            samples: Box::new([[RayKeypoint::default(); KEYPOINTS]; LIFT_SAMPLES]),
            input: Box::new([0.0; LIFT_INPUT]),
            mirror: Mirror::default(),
            detector: refine::Detector::default(),
        }
    }

    /// The final layers in use.
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The frozen network.
    pub fn backbone(&self) -> &B {
        &self.backbone
    }

    /// Puts other final layers in and hands the old ones back, so that the hot
    /// thread need not free them.
    #[must_use = "dropping the last handle frees memory"]
    pub fn replace_head(&mut self, head: Arc<Head>) -> Arc<Head> {
        std::mem::replace(&mut self.head, head)
    }

    /// Takes one person of the frame of `time` and lifts it.
    ///
    /// # Errors
    ///
    /// Why there is no pose this time; the keypoints count for the next frames
    /// all the same.
    pub fn lift(
        &mut self,
        time: MonoNs,
        calibration: &Calibration,
        person: &TrackedPerson,
    ) -> Result<Estimate, NoPose<B::Error>> {
        let detection = &person.detection;
        let rays = rays_of(calibration, &detection.keypoints);
        let state = state_of(&mut self.people, person.id);
        if state
            .window
            .newest()
            .is_some_and(|newest| time.since(newest) > BRIDGE)
        {
            state.refine.interrupt();
        }
        match state.window.push(time, &rays) {
            Pushed::Taken => {}
            Pushed::ClockWasSet => state.refine.interrupt(),
            Pushed::TimeStoodBack => return Err(NoPose::TimeStoodBack),
        }
        let seen = SHARED
            .iter()
            .filter(|&&(_, keypoint)| rays[keypoint].is_present())
            .count();
        if seen < SEEN_MIN {
            return Err(NoPose::TooFewSeen);
        }
        state.window.resample_into(&mut self.samples[..]);
        let view = build_input(&self.samples, &mut self.input).ok_or(NoPose::TooFewSeen)?;
        let mut features = [0.0; LIFT_FEATURES];
        self.backbone
            .run_into(&self.input, &mut features)
            .map_err(NoPose::Engine)?;
        let image_features = image_features_of(&self.config, detection);
        let head = &self.head;
        let image_part = head.image_part(image_features);
        let hidden = head
            .hidden_of(&features, &image_part)
            .ok_or(NoPose::NotFinite)?;
        let mut output = head.output_of(&hidden).ok_or(NoPose::NotFinite)?;
        let mut stages = Stages {
            unrefined_m: output.joints_m,
            refined: self.config.refine,
            picture: head.image.is_some() && image_features.is_some(),
            ..Stages::default()
        };
        if self.config.refine {
            let mirrored = self
                .mirror
                .infer(&self.input, &features, &mut self.backbone, head)
                .map_err(NoPose::Engine)?;
            let mut beside_m = [Vec3::ZERO; JOINTS];
            if let Some(mirrored) = &mirrored {
                stages.apart_m = mirrored.apart_m;
                beside_m = mirrored.mix_into(&mut output);
            }
            stages.unrefined_m = output.joints_m;
            let own = Own {
                hidden,
                mirrored: mirrored.map(|mirrored| mirrored.hidden),
                beside_m,
                joints_m: output.joints_m,
                picture: stages.picture,
            };
            let (memory, detector) = (&mut state.refine, &mut self.detector);
            if let Some(joints_m) = refine::refine(head, &own, &view, memory, detector) {
                output.joints_m = joints_m;
            }
        }

        stages.unsmoothed_m = output.joints_m;
        let root = root_of(&output, &view).ok_or(NoPose::NoRoot)?;

        let back = view.rotation.transpose();
        let mut estimate = Estimate {
            root_camera_m: back * root.position_m,
            root_sigma_m: root.sigma_m,
            relative_camera_m: output.joints_m.map(|joint| back * joint),
            stages: stages.map(|vector| back * vector),
            sigmas_m: output.sigmas_m,
            states: states_of(&rays),
            size: Size::default(),
            view,
            features,
            image_part,
            head: self.head.tag,
        };
        if let Some(mount) = calibration.mount() {
            let joints_m = std::array::from_fn(|joint| estimate.joint_camera_m(joint));
            let seen = |joint: usize| estimate.states[joint] == JointState::Measured;
            estimate.size = state.floor.step(time, mount, &joints_m, seen);
        }
        estimate.scale();
        if self.config.smooth {
            state.smooth(&self.config, time, &mut estimate);
        }
        Ok(estimate)
    }
}

impl LiftedPerson {
    fn smooth(&mut self, config: &LiftConfig, time: MonoNs, estimate: &mut Estimate) {
        // The direction comes from the image and is steady; how far away the
        // person is hangs on the guessed size of the body, and is not.
        let distance = estimate.root_camera_m.length();
        let [smooth] = self
            .distance
            .step(&config.smooth_distance, time, [distance], 1.0);
        estimate.root_camera_m *= smooth / distance;
        for (filter, joint) in self.joints.iter_mut().zip(&mut estimate.relative_camera_m) {
            let raw = joint.to_array();
            *joint = filter.step(&config.smooth_joints, time, raw, 1.0).into();
        }
    }
}

/// Image features that are wanted and say something.
fn image_features_of<'a>(
    config: &LiftConfig,
    detection: &'a Detection,
) -> Option<&'a [f32; IMAGE_FEATURES]> {
    let features = detection.features.as_ref();
    features.filter(|features| config.image_features && norm_of(features) <= IMAGE_NORM_MAX)
}

/// What the camera sees is measured, the rest absent.
fn states_of(rays: &[RayKeypoint; KEYPOINTS]) -> [JointState; JOINTS] {
    measured_joints(rays).map(|measured| {
        if measured {
            JointState::Measured
        } else {
            JointState::Absent
        }
    })
}

/// Where the rays that are seen put the pelvis, rotated frame.
fn root_of(output: &HeadOutput, view: &View) -> Option<Root> {
    let seen: Vec<RootJoint, { SHARED.len() }> = SHARED
        .iter()
        .filter(|&&(_, keypoint)| view.newest[keypoint].is_present())
        .map(|&(joint, keypoint)| RootJoint {
            ray: view.newest[keypoint].ray,
            relative_m: output.joints_m[joint],
            weight: view.newest[keypoint].visibility,
            sigma_m: output.sigmas_m[joint],
        })
        .collect();
    solve_root(&seen)
}

fn norm_of(features: &[f32; IMAGE_FEATURES]) -> f32 {
    features.iter().map(|f| f * f).sum::<f32>().sqrt()
}

/// The place of what is kept for an id, and whether it has to be cleared first: its
/// own, else a free one, else that of the person unseen for longest. `known` says
/// of each place whose it is and when that person was last seen. There are more
/// places than people in a frame.
pub(crate) fn place_of(
    known: impl Iterator<Item = (Option<u32>, Option<MonoNs>)> + Clone,
    id: u32,
) -> (usize, bool) {
    let own = known.clone().position(|(owner, _)| owner == Some(id));
    // A free place has no newest observation, and none sorts before some.
    let oldest = || known.enumerate().min_by_key(|(_, (_, newest))| *newest);
    own.map_or_else(
        || (oldest().map_or(0, |(place, _)| place), true),
        |place| (place, false),
    )
}

/// The state kept for an id.
fn state_of(people: &mut [LiftedPerson], id: u32) -> &mut LiftedPerson {
    let known = people
        .iter()
        .map(|person| (person.id, person.window.newest()));
    let (place, fresh) = place_of(known, id);
    let person = &mut people[place];
    if fresh {
        person.id = Some(id);
        person.window.clear();
        person.refine.clear();
        person.floor.clear();
        person.distance.clear();
        person.joints.iter_mut().for_each(OneEuro::clear);
    }
    person
}

/// What is published of a person: joints that are known where there is an estimate,
/// keypoints always. A joint that is absent carries zeros, which mean nothing.
pub fn person_pose(person: &TrackedPerson, estimate: Option<&Estimate>) -> PersonPose {
    let detection = &person.detection;
    let mut pose = PersonPose {
        id: person.id,
        score: detection.score,
        bounds: detection.bounds,
        root_camera_m: Vec3::ZERO,
        root_sigma_m: 0.0,
        joints_camera_m: [Vec3::ZERO; JOINTS],
        sigmas_m: [0.0; JOINTS],
        states: [JointState::Absent; JOINTS],
        keypoints: detection.keypoints,
        size: Size::default(),
        action: None,
        head: HeadTag::default(),
    };
    if let Some(estimate) = estimate {
        pose.root_camera_m = estimate.root_camera_m;
        pose.root_sigma_m = estimate.root_sigma_m;
        pose.size = estimate.size;
        pose.head = estimate.head;
        for joint in 0..JOINTS {
            if estimate.states[joint] != JointState::Absent {
                pose.joints_camera_m[joint] = estimate.joint_camera_m(joint);
                pose.sigmas_m[joint] = estimate.sigmas_m[joint];
                pose.states[joint] = estimate.states[joint];
            }
        }
    }
    pose
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
