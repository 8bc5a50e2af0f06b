//! Adaptation of the final layers to the site, on the device, while it runs.
//!
//! ```text
//!  poses, keypoints ─▶ clips ─▶ echoes ─▶ frozen backbone ─▶ samples ─▶ trainer ─▶ guard ─▶ head in use
//!  (estimate thread)   (what people did)  (seen again, from all around)    (held-back echoes and frames)
//! ```
//!
//! Replay, and supervised: what people did here is shown to the network again, from other sides,
//! through this camera, with its noise and gaps, and the final layers learn from the joints that these
//! keypoints were made of. No label is needed and none is guessed. ADR 0010 says what was tried.
//!
//! [`Adapter`] is a value that is told of poses and asked to work, step by step: the daemon's thread
//! ([`thread`]) and `poised eval` drive the same one.

pub mod clips;
pub mod control;
pub mod echo;
pub mod guard;
mod site;
pub mod state;
pub mod thread;

pub mod train;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use glam::{Mat3, Vec2, Vec3};
use serde::Deserialize;

use crate::clock::MonoNs;
use crate::config::{ConfigError, check};
use crate::lift::head::{HIDDEN, Head};
use crate::lift::input::{LIFT_INPUT, View};
use crate::lift::model::NetworkBackbone;
use crate::lift::refine;
use crate::lift::rotate::{in_front, rotate_ray};
use crate::lift::window::{BRIDGE, RayKeypoint, RaySample};
use crate::lift::{Backbone, Estimate};
use crate::limits::LIFT_FEATURES;
use crate::pose::HeadTag;
use crate::skeleton::{JOINTS, KEYPOINTS, PARENTS, SHARED};

use clips::Clips;
use echo::Echoes;
use guard::{Finding, Verdict};
use site::Surroundings;
use state::State;
use train::{Sample, Trainer};

/// Samples kept to learn from: 3.5 MB.
const SAMPLES: usize = 1536;

/// Samples before learning begins.
const SAMPLES_MIN: usize = 192;

/// Echoes kept for the guard.
const HELD: usize = 128;

/// One echo of so many is made of a held-back clip, for the guard.
const HELD_EVERY: u64 = 8;

/// Real frames kept for the guard and for the ways that learn from them.
const FRAMES: usize = 512;

/// Time between real frames that are kept.
const FRAME_EVERY: Duration = Duration::from_millis(100);

/// Echoes made for one step.
const ECHOES_A_STEP: u32 = 1;

/// Samples in a step.
const BATCH: usize = 32;

/// Most steps for a second in which somebody is seen. With the echoes they take 3.5 % of a core of
/// the machine in docs/performance.md.
const STEPS_PER_S: f32 = 48.0;

/// Most steps for a frame in which somebody is seen: a slow camera shows less that is new, and learning
/// must not cost more than looking.
const STEPS_PER_FRAME: f32 = 1.6;

/// Most seconds of work that may be owed: what is older is let go.
const OWED_MAX_S: f32 = 1.0;

/// Steps between two decisions of the guard.
const DECIDE_EVERY: u64 = 240;

/// Refusals in a row after which half of what was learned is given up.
const REFUSALS_MAX: u32 = 3;

/// Poses that miss their keypoints by more, in half sizes of the person, are not learned from.
const MISS_MAX: f32 = 0.08;

/// Keypoints that must be seen for a pose to be learned from, of twelve.
const SEEN_MIN: usize = 6;

/// Nearest depth that a pose is learned from, metres.
const DEPTH_MIN_M: f32 = 0.1;

/// The mean of what a pose may be has shorter bones than any of them. What the factory's head gives is
/// such a mean; this much larger are the people it looks at.
const UNSHRUNK: f32 = 1.02;

/// How the final layers adapt.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Not at all, and frames are looked at once and not refined: the networks as they ship.
    Off,
    /// Each frame is looked at twice and refined, no weight changes.
    Latent,
    /// Plain reprojection moves the weights. Here to be measured: it makes poses worse (docs/accuracy.md).
    #[serde(rename = "2d")]
    Reprojection,
    /// Weights follow the smoothed poses and the keypoints of real frames (after `CycleAdapt`). Here to be measured.
    Cycle,
    /// Weights learn from echoes.
    Replay,
    /// The same, hidden joints of the echoes completed with the dictionary.
    #[default]
    Semantic,
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| format!("must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Latent,
        Self::Reprojection,
        Self::Cycle,
        Self::Replay,
        Self::Semantic,
    ];

    /// Its name in configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Latent => "latent",
            Self::Reprojection => "2d",
            Self::Cycle => "cycle",
            Self::Replay => "replay",
            Self::Semantic => "semantic",
        }
    }

    /// Whether weights change.
    pub const fn learns(self) -> bool {
        !matches!(self, Self::Off | Self::Latent)
    }

    /// Whether steps are shown echoes, and the guard decides.
    const fn echoes(self) -> bool {
        matches!(self, Self::Replay | Self::Semantic)
    }
}

/// `[adapt]`: learning on the device.
///
/// ```toml
/// [adapt]
/// method = "semantic"
/// state = "/var/lib/poised/front.adapted"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptConfig {
    /// `"off"`, `"latent"`, `"2d"`, `"cycle"`, `"replay"` or `"semantic"` (default).
    pub method: Method,
    /// Most of one core that learning takes, 0.005 to 0.5. Default 0.05. Where it is not enough steps are left out,
    /// frames never.
    pub core_share: f32,
    /// Where what was learned is kept over restarts. Default: nowhere.
    pub state: Option<PathBuf>,
    /// Whether `/control` is listened to: freeze, thaw, reset, snapshot, roll back. Default: false.
    pub control: bool,
}

impl Default for AdaptConfig {
    fn default() -> Self {
        Self {
            method: Method::default(),
            core_share: 0.05,
            state: None,
            control: false,
        }
    }
}

impl AdaptConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("adapt.core_share", self.core_share, 0.005, 0.5)
    }
}

/// What the adapter is told of one person in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// When.
    pub time: MonoNs,
    /// Who.
    pub id: u32,
    /// Joints in the camera frame, metres, of the size that the lifter has them.
    pub joints_camera_m: [Vec3; JOINTS],
    /// The keypoints as rays.
    pub rays: RaySample,
    /// The backbone's features.
    pub features: [f32; LIFT_FEATURES],
    /// What the image adds to the final layers ([`Head::image_part`]).
    pub image_part: [f32; HIDDEN],
    /// How the input looked at the person.
    pub view: View,
    /// Straight up in the camera frame, where the mount is known.
    pub up: Option<Vec3>,
}

impl Sight {
    /// Of nobody: what a slot begins with.
    pub fn nobody() -> Self {
        Self {
            time: MonoNs(0),
            id: 0,
            joints_camera_m: [Vec3::ZERO; JOINTS],
            rays: [RayKeypoint::default(); KEYPOINTS],
            features: [0.0; LIFT_FEATURES],
            image_part: [0.0; HIDDEN],
            view: View {
                rotation: Mat3::IDENTITY,
                scale: 0.0,
                newest: [RayKeypoint::default(); KEYPOINTS],
            },
            up: None,
        }
    }

    /// Of an estimate as it is published, and the keypoints it was made of.
    pub fn of(
        time: MonoNs,
        id: u32,
        rays: &RaySample,
        estimate: &Estimate,
        up: Option<Vec3>,
    ) -> Self {
        let factor = estimate.size.factor;
        Self {
            time,
            id,
            joints_camera_m: std::array::from_fn(|joint| estimate.joint_camera_m(joint) / factor),
            rays: *rays,
            features: estimate.features,
            image_part: estimate.image_part,
            view: estimate.view,
            up,
        }
    }

    /// How far a keypoint lies beside `place_camera_m`, half sizes of the person, seen from a camera that faces them as
    /// [`View::scale`] is; `None` where the keypoint is missing or one of both is not in front.
    fn beside(&self, keypoint: usize, place_camera_m: Vec3) -> Option<Vec2> {
        let View {
            rotation, scale, ..
        } = &self.view;
        let (seen, at) = (&self.rays[keypoint], *rotation * place_camera_m);
        (seen.is_present() && in_front(rotation, seen.ray) && at.z >= DEPTH_MIN_M)
            .then(|| (rotate_ray(rotation, seen.ray) - at.truncate() / at.z) / scale)
    }
}

/// A real frame.
#[derive(Clone, Debug)]
struct Frame {
    features: [f32; LIFT_FEATURES],
    image_part: [f32; HIDDEN],
    view: View,
    /// Joints in the rotated frame around the pelvis, metres.
    joints_m: [Vec3; JOINTS],
}

impl Frame {
    /// Numbers that stand for nothing, to fill room with.
    const fn nothing() -> Self {
        const NAN_RAYS: RaySample = [RayKeypoint {
            ray: Vec2::NAN,
            confidence: f32::NAN,
        }; KEYPOINTS];
        Self {
            features: [f32::NAN; LIFT_FEATURES],
            image_part: [f32::NAN; HIDDEN],
            view: View {
                rotation: Mat3::NAN,
                scale: f32::NAN,
                newest: NAN_RAYS,
            },
            joints_m: [Vec3::NAN; JOINTS],
        }
    }
}

/// What adaptation is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nobody has been seen for long enough.
    #[default]
    Waiting,
    /// Learning; the factory's head is in use.
    Learning,
    /// Learning; what was learned is in use.
    Adapted,
    /// The factory's head is good enough here.
    Resting,
    /// Nothing changes until `thaw`.
    Frozen,
}

impl Mode {
    /// Its word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Learning => "learning",
            Self::Adapted => "adapted",
            Self::Resting => "resting",
            Self::Frozen => "frozen",
        }
    }
}

/// How adaptation stands: what `/adaptation` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// What it is doing.
    pub mode: Mode,
    /// Of the head in use; 0 until one was handed out in this run.
    pub generation: u32,
    /// Clips to learn from, and held back.
    pub clips: [usize; 2],
    /// Poses that were not learned from, because they miss their keypoints or too few are seen.
    pub passed_over: u64,
    /// Echoes made.
    pub echoes: u64,
    /// Steps since the factory's weights.
    pub steps: u64,
    /// Steps that were owed and let go.
    pub let_go: u64,
    /// Decisions of the guard: kept, rested, refused.
    pub decisions: [u64; 3],
    /// Times that half of what was learned was given up.
    pub softened: u64,
    /// Times that a head in use was taken back.
    pub rolled_back: u64,
    /// Noise of a keypoint, share of the person's larger side in the image.
    pub noise: f32,
    /// The newest decision.
    pub finding: Option<Finding>,
}

/// What a peer may ask for on `/control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing changes from now on.
    Freeze,
    /// Learning goes on.
    Thaw,
    /// Everything learned is forgotten.
    Reset,
    /// What was learned is written now.
    Snapshot,
    /// The head before the one in use comes back, unless the guard has taken it back, and nothing changes from now on.
    RollBack,
}

/// Final layers that adapt.
#[derive(Debug)]
pub struct Adapter {
    method: Method,
    backbone: NetworkBackbone,
    factory: Arc<Head>,
    trainer: Trainer,
    clips: Clips,
    echoes: Echoes,
    surroundings: Surroundings,
    samples: Vec<Sample>,
    held: Vec<Sample>,
    frames: Vec<Frame>,
    held_frames: Vec<Frame>,
    /// When a frame was kept last, and how many were.
    kept_at: Option<MonoNs>,
    kept: u64,
    seen_at: Option<MonoNs>,
    owed: f32,
    echoes_owed: u32,
    judged: u64,
    refusals: u32,
    in_use: Arc<Head>,
    /// What was in use before, unless the guard has taken it back.
    earlier: Option<Arc<Head>>,
    /// Heads handed out, those before a restart as well.
    handed_out: u32,
    frozen: bool,
    report: Report,
    rng: fastrand::Rng,
}

impl Adapter {
    /// One that has seen nobody. `backbone` is its own use of the network that the lifter runs.
    ///
    /// All memory it will ever need is asked for and touched here, so that the process does not grow for
    /// minutes.
    pub fn new(
        method: Method,
        mut backbone: NetworkBackbone,
        factory: Arc<Head>,
        seed: u64,
    ) -> Self {
        // What comes of it is of no interest: the engine has its room then.
        let _ = backbone.run_into(&[0.0; LIFT_INPUT], &mut [0.0; LIFT_FEATURES]);
        Self {
            method,
            backbone,
            trainer: Trainer::new(&factory),
            in_use: Arc::clone(&factory),
            factory,
            clips: Clips::new(),
            echoes: Echoes::default(),
            surroundings: Surroundings::new(),
            samples: touched(SAMPLES, &Sample::nothing()),
            held: touched(HELD, &Sample::nothing()),
            frames: touched(FRAMES, &Frame::nothing()),
            held_frames: touched(FRAMES, &Frame::nothing()),
            kept_at: None,
            kept: 0,
            seen_at: None,
            owed: 0.0,
            echoes_owed: 0,
            judged: 0,
            refusals: 0,
            earlier: None,
            handed_out: 0,
            frozen: false,
            report: Report::default(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// SHA-256 of the networks that what is learned belongs to.
    pub fn networks(&self) -> &str {
        self.backbone.id()
    }

    /// How it stands.
    pub fn report(&self) -> Report {
        Report {
            clips: [self.clips.to_learn().len(), self.clips.held_back().len()],
            steps: self.trainer.steps(),
            generation: self.in_use.tag.generation,
            noise: self.surroundings.noise(),
            mode: if self.frozen {
                Mode::Frozen
            } else {
                self.report.mode
            },
            ..self.report
        }
    }

    /// Takes a person of a frame. Cheap; [`Self::work`] does the rest.
    pub fn take(&mut self, sight: &Sight) {
        if self.frozen || !self.method.learns() {
            return;
        }
        let passed = self
            .seen_at
            .map_or(Duration::ZERO, |last| sight.time.since(last));
        self.seen_at = Some(sight.time);
        if passed <= BRIDGE {
            self.owe(steps_for(passed));
        }
        if !is_plausible(sight) {
            self.report.passed_over += 1;
            return;
        }
        self.surroundings.take(sight);
        self.keep_frame(sight);
        if !self.method.echoes() {
            return;
        }
        let Some(hidden) = self.factory.hidden_of(&sight.features, &sight.image_part) else {
            return;
        };
        let joints_m = self.factory.joints_of(&hidden);
        let bones = (1..JOINTS).map(|joint| (joints_m[joint] - joints_m[PARENTS[joint]]).length());
        let size_m = UNSHRUNK * bones.sum::<f32>();
        let Self { clips, rng, .. } = self;
        clips.take(sight, size_m, rng);
    }

    fn owe(&mut self, steps: f32) {
        self.owed += steps;
        let most = STEPS_PER_S * OWED_MAX_S;
        if self.owed > most {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few steps"
            )]
            let over = (self.owed - most).ceil() as u64;
            self.report.let_go += over;
            self.owed = most;
        }
    }

    /// Every tenth of a second a real frame is kept, of everybody in it; every fourth of them only the guard sees.
    fn keep_frame(&mut self, sight: &Sight) {
        if self.kept_at != Some(sight.time) {
            // A clock that was set back must not keep frames out until it has caught up.
            let soon = |last: MonoNs| sight.time >= last && sight.time.since(last) < FRAME_EVERY;
            if self.kept_at.is_some_and(soon) {
                return;
            }
            self.kept_at = Some(sight.time);
            self.kept += 1;
        }
        let root = sight.joints_camera_m[0];
        let frame = Frame {
            features: sight.features,
            image_part: sight.image_part,
            view: sight.view,
            joints_m: sight
                .joints_camera_m
                .map(|joint| sight.view.rotation * (joint - root)),
        };
        let held = self.kept % 4 == 1;
        let store = if held {
            &mut self.held_frames
        } else {
            &mut self.frames
        };
        put(store, frame, &mut self.rng);
    }

    /// Does the next piece of what is owed, an echo or a step, at most a millisecond or two. False where
    /// nothing is left to do.
    pub fn work(&mut self) -> bool {
        if self.frozen || self.owed < 1.0 {
            return false;
        }
        if self.method.echoes() {
            if self.clips.to_learn().is_empty() || self.clips.held_back().is_empty() {
                self.owed = 0.0;
                return false;
            }
            if self.samples.len() < SAMPLES_MIN || self.echoes_owed > 0 {
                self.make_echo();
                if self.samples.len() < SAMPLES_MIN {
                    // Filling up costs what the echoes of steps would.
                    self.owed -= 1.0 / 3.0;
                }
                self.echoes_owed = self.echoes_owed.saturating_sub(1);
                return true;
            }
        } else if self.frames.len() < BATCH {
            self.owed = 0.0;
            return false;
        }
        self.step();
        if self.report.mode == Mode::Waiting {
            self.report.mode = Mode::Learning;
        }
        self.owed -= 1.0;
        self.echoes_owed = ECHOES_A_STEP;
        true
    }

    fn make_echo(&mut self) {
        self.report.echoes += 1;
        let held = self.report.echoes.is_multiple_of(HELD_EVERY)
            || self.held.len() < guard::ECHOES_MIN && self.report.echoes.is_multiple_of(3);
        let clips = if held {
            self.clips.held_back()
        } else {
            self.clips.to_learn()
        };
        let clip = &clips[self.rng.usize(..clips.len())];
        let site = self.surroundings.site();
        let Some(sample) = self
            .echoes
            .make(clip, &site, &mut self.backbone, &mut self.rng)
        else {
            return;
        };
        let store = if held {
            &mut self.held
        } else {
            &mut self.samples
        };
        put(store, sample, &mut self.rng);
    }

    fn step(&mut self) {
        let mut taken = 0;
        for _ in 0..BATCH {
            let counts = match self.method {
                Method::Replay | Method::Semantic => {
                    let sample = &self.samples[self.rng.usize(..self.samples.len())];
                    self.trainer.take_sample(sample);
                    true
                }
                Method::Cycle | Method::Reprojection => {
                    let frame = &self.frames[self.rng.usize(..self.frames.len())];
                    let follow = self.method == Method::Cycle;
                    self.trainer
                        .take(&frame.features, &frame.image_part, |joints| {
                            let mut gradient = refine::reprojection_gradient(joints, &frame.view)?;
                            if follow {
                                let (_, towards) = train::distance(joints, &frame.joints_m);
                                for (sum, towards) in gradient.iter_mut().zip(towards) {
                                    *sum += towards;
                                }
                            }
                            Some(gradient)
                        })
                }
                Method::Off | Method::Latent => false,
            };
            taken += usize::from(counts);
        }
        self.trainer.step(taken);
    }

    /// The head to use from now on, where the guard has just decided for another.
    pub fn decide(&mut self) -> Option<Arc<Head>> {
        if self.frozen || self.trainer.steps() < self.judged + DECIDE_EVERY {
            return None;
        }
        self.judged = self.trainer.steps();
        let tag = self.next_tag(true);
        let candidate = self.trainer.candidate(&self.factory, tag);
        if !self.method.echoes() {
            return Some(self.hand_out(candidate.into(), Mode::Adapted));
        }
        let frames = || {
            let held = self.held_frames.iter();
            held.map(|frame| (&frame.features, &frame.image_part))
        };
        let finding = guard::judge(&self.factory, &candidate, &self.held, frames())?;
        self.report.finding = Some(finding);
        self.report.decisions[finding.verdict as usize] += 1;
        match finding.verdict {
            Verdict::Keep => {
                self.refusals = 0;
                Some(self.hand_out(candidate.into(), Mode::Adapted))
            }
            Verdict::Rest => {
                self.refusals = 0;
                self.use_factory(Mode::Resting)
            }
            Verdict::Refuse => {
                self.refusals += 1;
                if self.refusals >= REFUSALS_MAX {
                    self.refusals = 0;
                    self.report.softened += 1;
                    self.trainer.return_by(0.5);
                }
                // What is in use is asked for the same evidence.
                let holds = self.in_use.tag.adapted
                    && guard::judge(&self.factory, &self.in_use, &self.held, frames())
                        .is_some_and(|finding| finding.verdict == Verdict::Keep);
                if holds {
                    return None;
                }
                let head = self.use_factory(Mode::Learning);
                // Nobody is to roll back to what was refused.
                if head.is_some() {
                    self.earlier = None;
                }
                head
            }
        }
    }

    /// Puts the factory's head in, where it is not.
    fn use_factory(&mut self, mode: Mode) -> Option<Arc<Head>> {
        self.report.mode = mode;
        if !self.in_use.tag.adapted {
            return None;
        }
        self.report.rolled_back += 1;
        let mut head = Head::clone(&self.factory);
        head.tag = self.next_tag(false);
        Some(self.hand_out(head.into(), mode))
    }

    /// Of the head that is handed out next.
    const fn next_tag(&self, adapted: bool) -> HeadTag {
        HeadTag {
            generation: self.handed_out.saturating_add(1),
            adapted,
        }
    }

    fn hand_out(&mut self, head: Arc<Head>, mode: Mode) -> Arc<Head> {
        self.report.mode = mode;
        self.handed_out = head.tag.generation;
        self.earlier = Some(std::mem::replace(&mut self.in_use, Arc::clone(&head)));
        head
    }

    /// Does what a peer asked for; gives the head to use where that changes.
    pub fn obey(&mut self, command: Command) -> Option<Arc<Head>> {
        match command {
            Command::Freeze => {
                self.frozen = true;
                None
            }
            Command::Thaw => {
                self.frozen = false;
                None
            }
            Command::Reset => {
                self.trainer.return_by(1.0);
                self.clips.clear();
                for store in [&mut self.samples, &mut self.held] {
                    store.clear();
                }
                self.frames.clear();
                self.held_frames.clear();
                self.surroundings = Surroundings::new();
                self.judged = 0;
                self.refusals = 0;
                self.report.finding = None;
                let head = self.use_factory(Mode::Waiting);
                // What is forgotten cannot be rolled back to.
                self.earlier = None;
                head
            }
            Command::RollBack => {
                // Otherwise the guard would hand the same out again some seconds later.
                self.frozen = true;
                let mut head = Head::clone(self.earlier.as_ref()?);
                head.tag = self.next_tag(head.tag.adapted);
                self.report.rolled_back += 1;
                let mode = if head.tag.adapted {
                    Mode::Adapted
                } else {
                    Mode::Learning
                };
                Some(self.hand_out(head.into(), mode))
            }
            // The thread writes; there is nothing to change here.
            Command::Snapshot => None,
        }
    }

    /// What is worth keeping over a restart; `None` before anything was learned.
    pub fn state(&self) -> Option<State> {
        (self.trainer.steps() > 0).then(|| State {
            steps: self.trainer.steps(),
            generation: self.handed_out,
            mean: self.trainer.mean().into(),
            up: self.surroundings.up().unwrap_or(Vec3::ZERO),
            noise: self.surroundings.noise(),
        })
    }

    /// Goes on from what was kept. Nothing of it is used before the guard has seen this site's
    /// evidence for it.
    pub fn resume(&mut self, state: &State) {
        self.trainer.resume(&state.mean, state.steps);
        self.handed_out = state.generation;
        self.judged = state.steps;
        self.surroundings.resume(state.up, state.noise);
    }
}

/// An empty store whose room has been written to once: memory that is only asked for is not there yet.
fn touched<T: Clone>(room: usize, filler: &T) -> Vec<T> {
    let mut store = vec![filler.clone(); room];
    store.clear();
    store
}

/// Puts a value into a store, in the place of a random one where it is full.
fn put<T>(store: &mut Vec<T>, value: T, rng: &mut fastrand::Rng) {
    if store.len() < store.capacity() {
        store.push(value);
    } else {
        let at = rng.usize(..store.len());
        store[at] = value;
    }
}

/// Steps for a frame that comes so long after the one before.
fn steps_for(passed: Duration) -> f32 {
    (STEPS_PER_S * passed.as_secs_f32()).min(STEPS_PER_FRAME)
}

/// Whether enough is seen of the person, and the pose agrees with it.
fn is_plausible(sight: &Sight) -> bool {
    let (mut seen, mut miss) = (0, 0.0);
    for (joint, keypoint) in SHARED {
        let at = sight.joints_camera_m[joint];
        if !at.is_finite() || at.z < DEPTH_MIN_M {
            return false;
        }
        if let Some(beside) = sight.beside(keypoint, at) {
            seen += 1;
            miss += beside.length();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "twelve")]
    let most = MISS_MAX * seen as f32;
    seen >= SEEN_MIN && miss <= most
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pipeline::estimate::{EstimateConfig, Poser};
    use crate::skeleton::keypoints_of;

    /// Somebody standing 3 m before the camera, all keypoints seen.
    pub(crate) fn sight(time: MonoNs, id: u32) -> Sight {
        let joints = [
            [0.0, 0.0, 0.0],
            [-0.1, 0.0, 0.0],
            [-0.1, 0.45, 0.0],
            [-0.1, 0.87, 0.0],
            [0.1, 0.0, 0.0],
            [0.1, 0.45, 0.0],
            [0.1, 0.87, 0.0],
            [0.0, -0.25, 0.0],
            [0.0, -0.5, 0.0],
            [0.0, -0.6, -0.02],
            [0.0, -0.71, -0.02],
            [0.18, -0.48, 0.0],
            [0.2, -0.2, 0.1],
            [0.2, 0.05, 0.2],
            [-0.18, -0.48, 0.0],
            [-0.2, -0.2, 0.0],
            [-0.2, 0.05, 0.0],
        ];
        let joints_camera_m = joints.map(|joint| Vec3::from(joint) + Vec3::new(0.0, 0.0, 3.0));
        let (points, _) = keypoints_of(&joints_camera_m);
        let rays = points.map(|point| RayKeypoint {
            ray: point.truncate() / point.z,
            confidence: 0.8,
        });
        Sight {
            time,
            id,
            joints_camera_m,
            rays,
            features: [0.1; LIFT_FEATURES],
            image_part: [0.0; HIDDEN],
            view: View {
                rotation: Mat3::IDENTITY,
                scale: 0.27,
                newest: rays,
            },
            up: None,
        }
    }

    #[test]
    fn a_second_of_a_slow_camera_is_worth_fewer_steps_and_one_of_a_fast_camera_no_more() {
        let a_second_at =
            |rate: u16| f32::from(rate) * steps_for(Duration::from_secs(1) / u32::from(rate));
        for (rate, steps) in [(5, 8.0), (10, 16.0), (30, 48.0), (60, 48.0)] {
            let owed = a_second_at(rate);
            assert!(
                (owed - steps).abs() < 0.1,
                "{owed} at {rate} frames a second"
            );
        }
    }

    #[test]
    fn what_is_beside_its_place_is_so_in_half_sizes_wherever_the_person_stands() {
        for aside in [0.0, 0.5, 0.9] {
            let turn = Mat3::from_rotation_y(aside);
            let mut shown = sight(MonoNs(1), 1);
            shown.joints_camera_m = shown.joints_camera_m.map(|joint| turn * joint);
            shown.view.rotation = turn.transpose();
            let place = shown.joints_camera_m[3];
            let facing = turn.transpose() * place;
            let moved = Vec2::new(0.03, -0.02);
            let ray = facing.truncate() / facing.z + shown.view.scale * moved;
            shown.rays[16].ray = rotate_ray(&turn, ray);
            let beside = shown.beside(16, place).unwrap();
            assert!(beside.distance(moved) < 1e-4, "{aside}: {beside}");
            shown.rays[16] = RayKeypoint::default();
            assert_eq!(shown.beside(16, place), None);
        }
    }

    /// An adapter whose evidence is such that the factory's head is off by `error_m`, along x, and what was learned goes
    /// `learned_m` that way.
    fn adapter(error_m: f32, learned_m: f32) -> Adapter {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config.semantics.enabled = false;
        let mut adapter = Poser::open(&config).unwrap().adapter(1).unwrap().unwrap();
        let mut rng = fastrand::Rng::with_seed(2);
        let mut features = || std::array::from_fn(|_| 0.2 * (rng.f32() - 0.5));
        for _ in 0..guard::ECHOES_MIN {
            let (features, image_part) = (features(), [0.0; HIDDEN]);
            let hidden = adapter.factory.hidden_of(&features, &image_part).unwrap();
            let mut joints_m = adapter.factory.joints_of(&hidden);
            for joint in &mut joints_m[1..] {
                joint.x += error_m;
            }
            adapter.held.push(Sample {
                features,
                image_part,
                joints_m,
            });
        }
        for _ in 0..guard::FRAMES_MIN {
            adapter.held_frames.push(Frame {
                features: features(),
                image_part: [0.0; HIDDEN],
                ..Frame::nothing()
            });
        }
        learn(&mut adapter, learned_m);
        adapter
    }

    /// As if what goes `learned_m` along x had been learned, and a decision were due.
    fn learn(adapter: &mut Adapter, learned_m: f32) {
        let mut learned = Trainer::new(&adapter.factory).mean().to_vec();
        let biases = learned.len() - 3 * JOINTS;
        for bias in learned[biases + 3..].iter_mut().step_by(3) {
            // Half of it is handed out.
            *bias += 2.0 * learned_m;
        }
        let steps = adapter.trainer.steps();
        adapter.trainer.resume(&learned, steps + DECIDE_EVERY);
    }

    #[test]
    fn what_helps_on_held_back_echoes_is_used_and_what_is_refused_is_taken_back_for_good() {
        let mut adapter = adapter(0.06, 0.012);
        let head = adapter.decide().unwrap();
        assert_eq!((head.tag.generation, head.tag.adapted), (1, true));
        assert_eq!(adapter.report().mode, Mode::Adapted);
        assert!(
            adapter.decide().is_none(),
            "not before there were more steps"
        );
        // The evidence turns: that way is now the wrong one.
        for echo in &mut adapter.held {
            for joint in &mut echo.joints_m[1..] {
                joint.x -= 0.12;
            }
        }
        learn(&mut adapter, 0.012);
        let head = adapter.decide().unwrap();
        assert_eq!((head.tag.generation, head.tag.adapted), (2, false));
        let report = adapter.report();
        assert_eq!((report.mode, report.rolled_back), (Mode::Learning, 1));
        assert_eq!(report.decisions, [1, 0, 1]);
        assert!(
            adapter.obey(Command::RollBack).is_none(),
            "what was refused stays away"
        );
        for _ in 1..REFUSALS_MAX {
            adapter.frozen = false;
            learn(&mut adapter, 0.012);
            assert!(
                adapter.decide().is_none(),
                "the factory's head is in use already"
            );
        }
        assert_eq!(adapter.report().softened, 1);
    }

    #[test]
    fn where_the_factory_is_good_enough_it_rests_and_what_goes_too_far_is_refused() {
        let mut resting = adapter(0.02, 0.012);
        assert!(resting.decide().is_none());
        assert_eq!(resting.report().mode, Mode::Resting);
        let mut far = adapter(0.06, 0.03);
        assert!(far.decide().is_none(), "{:?}", far.report().finding);
        assert_eq!(far.report().decisions, [0, 0, 1]);
    }

    #[test]
    fn after_a_roll_back_the_head_before_stays_until_somebody_says_otherwise() {
        let mut adapter = adapter(0.06, 0.010);
        let first = adapter.decide().unwrap();
        learn(&mut adapter, 0.014);
        let second = adapter.decide().unwrap();
        assert!(first.joints.bias != second.joints.bias);
        let back = adapter.obey(Command::RollBack).unwrap();
        assert!(back.joints.bias == first.joints.bias);
        assert_eq!(back.tag.generation, 3);
        learn(&mut adapter, 0.014);
        assert!(adapter.decide().is_none());
        assert_eq!(adapter.report().mode, Mode::Frozen);
        let kept = adapter.state().unwrap();
        let mut next = self::adapter(0.06, 0.0);
        next.resume(&kept);
        assert_eq!(next.report().generation, 0, "nothing of it is in use");
        next.obey(Command::Thaw);
        learn(&mut next, 0.012);
        assert_eq!(next.decide().unwrap().tag.generation, 4);
    }

    #[test]
    fn a_pose_that_misses_its_keypoints_or_of_which_little_is_seen_is_not_learned_from() {
        let good = sight(MonoNs(1), 1);
        assert!(is_plausible(&good));
        let mut missed = good.clone();
        for keypoint in &mut missed.rays[5..9] {
            keypoint.ray.x += 0.2;
        }
        assert!(!is_plausible(&missed));
        let mut little = good.clone();
        for keypoint in &mut little.rays[8..] {
            *keypoint = RayKeypoint::default();
        }
        assert!(!is_plausible(&little));
        let mut none = good;
        none.joints_camera_m[4].x = f32::NAN;
        assert!(!is_plausible(&none));
        assert_eq!(KEYPOINTS, none.rays.len());
    }
}
