//! The adapter: told of poses, it learns when asked to work, and says which head is to be used.
//!
//! ```text
//!  trainer's running mean ─ candidate ─▶ guard ─ kept ───▶ in use ─▶ estimate thread
//!                                          │                 │ replaced: earlier (what roll_back brings back)
//!                                          └─ rest, refused ─┴▶ factory
//! ```

use std::sync::Arc;
use std::time::Duration;

use glam::Vec3;

use super::clips::Clips;
use super::config::Method;
use super::gpa::Draws;
use super::guard::{self, Verdict};
use super::observation::{HeldFrame, Observation, is_plausible};
use super::sem::{self, Windows};
use super::site::Surroundings;
use super::state::{Frozen, State};
use super::synthetic_view::SyntheticViews;
use super::train::{Pace, Sample, Trainer};
use super::{Command, Mode, Report, touched};
use crate::base::clock::MonoNs;
use crate::base::limits::LIFT_FEATURES;
use crate::lift::Backbone;
use crate::lift::head::Head;
use crate::lift::input::LIFT_INPUT;
use crate::lift::model::NetworkBackbone;
use crate::lift::refine;
use crate::lift::window::BRIDGE;
use crate::motion::Meaning;
use crate::motion::denoiser::Denoiser;
use crate::pose::HeadTag;
use crate::skeleton::{JOINTS, PARENTS};

/// Samples kept to learn from: 3.5 MB.
const SAMPLES: usize = 1536;

/// Samples before learning begins.
const SAMPLES_MIN: usize = 192;

/// Synthetic views kept for the guard.
const HELD: usize = 128;

/// One synthetic view of so many is made of a held-back clip, for the guard.
const HELD_EVERY: u64 = 8;

/// Real frames kept for the guard and for the methods that learn from them.
const FRAMES: usize = 512;

/// Time between real frames that are kept.
const FRAME_EVERY: Duration = Duration::from_millis(100);

/// Synthetic views made for one step.
const VIEWS_PER_STEP: u32 = 1;

/// Synthetic views of held-back clips made for a window that is looked at: the guard has enough after ten seconds.
const VIEWS_PER_WINDOW: u32 = 2;

/// Samples in a step.
const BATCH: usize = 32;

/// Most steps for a second in which a person is seen. With the synthetic views they take 3.3 % of a core of
/// the machine in docs/lab/performance.md.
const STEPS_PER_S: f32 = 48.0;

/// Most steps for a frame in which a person is seen: a slow camera shows less that is new, and learning
/// must not cost more than looking.
const STEPS_PER_FRAME: f32 = 1.6;

/// Most seconds of work that may be owed: what is older is dropped.
const OWED_MAX_S: f32 = 1.0;

/// Steps between two decisions of the guard.
const DECIDE_EVERY: u64 = 240;

/// Refusals in a row after which half of what was learned is given up.
const REFUSALS_MAX: u32 = 3;

/// The mean of what a pose may be has shorter bones than any of them. What the factory head gives is
/// such a mean; this much larger are the people it looks at.
const UNSHRUNK: f32 = 1.02;

/// A head that is or was in use, and the weights it was made of, so that learning can go on from it.
#[derive(Clone, Debug)]
struct Used {
    head: Arc<Head>,
    mean: Box<[f32]>,
}

/// Final layers that adapt.
#[derive(Debug)]
pub struct Adapter {
    method: Method,
    /// Whether the guard decides.
    guarded: bool,
    /// Windows of real frames, for the methods that learn from them.
    windows: Option<Windows>,
    /// Where motions are drawn, for the methods that learn from them.
    draws: Option<Draws>,
    backbone: NetworkBackbone,
    factory: Arc<Head>,
    trainer: Trainer,
    clips: Clips,
    views: SyntheticViews,
    surroundings: Surroundings,
    samples: Vec<Sample>,
    held: Vec<Sample>,
    frames: Vec<HeldFrame>,
    held_frames: Vec<HeldFrame>,
    /// When a frame was kept last, and how many were.
    kept_at: Option<MonoNs>,
    kept: u64,
    seen_at: Option<MonoNs>,
    owed: f32,
    views_owed: u32,
    judged: u64,
    refusals: u32,
    in_use: Used,
    /// What was in use before, unless the guard has taken it back.
    earlier: Option<Used>,
    /// Heads handed out, those before a restart as well.
    handed_out: u32,
    frozen: bool,
    /// Whether it was at any time: then there is something to keep even before the first step.
    was_frozen: bool,
    report: Report,
    rng: fastrand::Rng,
}

impl Adapter {
    /// A new adapter. `backbone` is its own use of the network that the lifter runs, `meaning` what those methods need
    /// that are told what people do, `denoiser` that of the method which adapts one.
    ///
    /// All memory it will ever need is asked for and touched here, so that the process does not grow for
    /// minutes.
    pub fn new(
        method: Method,
        mut backbone: NetworkBackbone,
        factory: Arc<Head>,
        meaning: Option<Meaning>,
        denoiser: Option<Denoiser>,
        seed: u64,
    ) -> Self {
        // What comes of it is of no interest: the engine has its room then.
        let _ = backbone.run_into(&[0.0; LIFT_INPUT], &mut [0.0; LIFT_FEATURES]);
        let parts = method.windows();
        let pace = parts.map_or(Pace::SUPERVISED, |_| sem::PACE);
        let trainer = Trainer::with_pace(&factory, pace);
        let draws = meaning.clone().filter(|_| method.draws_motions());
        Self {
            method,
            guarded: method.is_guarded(),
            windows: parts.map(|parts| {
                let meaning = meaning.filter(|_| method.needs_labels());
                Windows::new(parts, meaning, denoiser)
            }),
            draws: draws.map(Draws::new),
            backbone,
            in_use: Used {
                head: Arc::clone(&factory),
                mean: trainer.factory().into(),
            },
            trainer,
            factory,
            clips: Clips::new(),
            views: SyntheticViews::default(),
            surroundings: Surroundings::new(),
            samples: touched(SAMPLES, &Sample::nothing()),
            held: touched(HELD, &Sample::nothing()),
            frames: touched(FRAMES, &HeldFrame::nothing()),
            held_frames: touched(FRAMES, &HeldFrame::nothing()),
            kept_at: None,
            kept: 0,
            seen_at: None,
            owed: 0.0,
            views_owed: 0,
            judged: 0,
            refusals: 0,
            earlier: None,
            handed_out: 0,
            frozen: false,
            was_frozen: false,
            report: Report::default(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The same without the guard, so that all that is learned is handed out: to be measured, not for the field.
    #[must_use]
    pub fn without_guard(self) -> Self {
        Self {
            guarded: false,
            ..self
        }
    }

    /// SHA-256 of the networks that what is learned belongs to.
    pub fn networks(&self) -> &str {
        self.backbone.id()
    }

    /// Its state.
    pub fn report(&self) -> Report {
        Report {
            clips: [self.clips.to_learn().len(), self.clips.held_back().len()],
            steps: self.trainer.steps(),
            generation: self.in_use.head.tag.generation,
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
    pub fn take(&mut self, observation: &Observation) {
        if self.frozen || !self.method.learns() {
            return;
        }
        let passed = self
            .seen_at
            .map_or(Duration::ZERO, |last| observation.time.since(last));
        self.seen_at = Some(observation.time);
        if passed <= BRIDGE {
            self.owe(passed);
        }
        if !is_plausible(observation) {
            self.report.passed_over += 1;
            return;
        }
        self.surroundings.take(observation);
        self.keep_frame(observation);
        if !self.method.is_guarded() {
            return;
        }
        if let Some(windows) = &mut self.windows {
            windows.take(observation);
        }
        let Some(hidden) = self
            .factory
            .hidden_of(&observation.features, &observation.image_part)
        else {
            return;
        };
        let joints_m = self.factory.joints_of(&hidden);
        let bones = (1..JOINTS).map(|joint| (joints_m[joint] - joints_m[PARENTS[joint]]).length());
        let size_m = UNSHRUNK * bones.sum::<f32>();
        let Self { clips, rng, .. } = self;
        clips.take(observation, size_m, rng);
    }

    fn owe(&mut self, passed: Duration) {
        let (steps, rate) = if self.windows.is_some() {
            (sem::VISITS_PER_S * passed.as_secs_f32(), sem::VISITS_PER_S)
        } else {
            (steps_for(passed), STEPS_PER_S)
        };
        self.owed += steps;
        let most = rate * OWED_MAX_S;
        if self.owed > most {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few steps"
            )]
            let over = (self.owed - most).ceil() as u64;
            self.report.dropped += over;
            self.owed = most;
        }
    }

    /// Every tenth of a second a real frame is kept, of everybody in it; every fourth of them only the guard sees.
    fn keep_frame(&mut self, observation: &Observation) {
        if self.kept_at != Some(observation.time) {
            // A clock that was set back must not keep frames out until it has caught up.
            let soon = |last: MonoNs| {
                observation.time >= last && observation.time.since(last) < FRAME_EVERY
            };
            if self.kept_at.is_some_and(soon) {
                return;
            }
            self.kept_at = Some(observation.time);
            self.kept += 1;
        }
        let frame = HeldFrame {
            features: observation.features,
            image_part: observation.image_part,
            view: observation.view,
        };
        let held = self.kept % 4 == 1;
        let store = if held {
            &mut self.held_frames
        } else {
            &mut self.frames
        };
        put(store, frame, &mut self.rng);
    }

    /// Does the next piece of what is owed, a synthetic view or a step, at most a few milliseconds. False where
    /// nothing is left to do.
    pub fn work(&mut self) -> bool {
        if self.frozen || self.owed < 1.0 {
            return false;
        }
        if self.windows.is_some() {
            return self.work_on_windows();
        }
        if self.method.is_guarded() {
            if !self.can_make_views() {
                self.owed = 0.0;
                return false;
            }
            if self.samples.len() < SAMPLES_MIN || self.views_owed > 0 {
                let held = self.is_for_the_guard();
                self.make_synthetic_view(held);
                if self.samples.len() < SAMPLES_MIN {
                    // Filling up costs what the synthetic views of steps would.
                    self.owed -= 1.0 / 3.0;
                }
                self.views_owed = self.views_owed.saturating_sub(1);
                return true;
            }
        } else if self.frames.len() < BATCH {
            self.owed = 0.0;
            return false;
        }
        self.step();
        self.begin_learning();
        self.owed -= 1.0;
        self.views_owed = VIEWS_PER_STEP;
        true
    }

    fn begin_learning(&mut self) {
        if self.report.mode == Mode::Waiting {
            self.report.mode = Mode::Learning;
        }
    }

    /// The next piece of a method that learns from windows of real frames: synthetic views are for the guard alone.
    fn work_on_windows(&mut self) -> bool {
        if self.views_owed > 0 && !self.clips.held_back().is_empty() {
            self.views_owed -= 1;
            self.make_synthetic_view(true);
            return true;
        }
        let Some(windows) = self.windows.as_mut().filter(|windows| windows.has_any()) else {
            self.owed = 0.0;
            return false;
        };
        if windows.work(&mut self.trainer, &mut self.rng) {
            self.begin_learning();
            self.owed -= 1.0;
            self.views_owed = VIEWS_PER_WINDOW;
        }
        true
    }

    /// Whether there are clips for the guard, and others that can be learned from.
    fn can_make_views(&self) -> bool {
        let to_learn = self.clips.to_learn();
        let any = match &self.draws {
            Some(draws) if self.method == Method::Gpa => {
                to_learn.iter().any(|clip| draws.knows(clip))
            }
            None if self.method.draws_motions() => false,
            _ => !to_learn.is_empty(),
        };
        any && !self.clips.held_back().is_empty()
    }

    /// A sample to learn from: of a clip, or of a motion that is drawn for what is done in one.
    fn make_sample(&mut self, of_dictionary: bool) -> Option<Sample> {
        let site = self.surroundings.site();
        let Self {
            views,
            backbone,
            rng,
            ..
        } = self;
        let Some(draws) = self.draws.as_mut().filter(|_| of_dictionary) else {
            let clip = rng.choice(self.clips.to_learn())?;
            return views.make(clip, &site, backbone, rng);
        };
        let known = self.clips.to_learn().iter();
        let known = known.filter(|clip| draws.knows(clip));
        let clip = known.clone().nth(rng.usize(..known.count().max(1)))?;
        let poses = draws.draw(clip, site.up, rng)?;
        let poses = poses.iter().copied();
        views.show(poses, &clip.image_part, &site, backbone, rng)
    }

    /// Whether the next synthetic view is made of a clip that is held back.
    const fn is_for_the_guard(&self) -> bool {
        let next = self.report.synthetic_views + 1;
        next.is_multiple_of(HELD_EVERY)
            || self.held.len() < guard::VIEWS_MIN && next.is_multiple_of(3)
    }

    fn make_synthetic_view(&mut self, held: bool) {
        self.report.synthetic_views += 1;
        let sample = if held {
            let site = self.surroundings.site();
            let clip = self.rng.choice(self.clips.held_back());
            clip.and_then(|clip| {
                let (views, backbone) = (&mut self.views, &mut self.backbone);
                views.make(clip, &site, backbone, &mut self.rng)
            })
        } else {
            let of_dictionary = match self.method {
                Method::Gpa => true,
                Method::GpaReplay => self.report.synthetic_views.is_multiple_of(2),
                _ => false,
            };
            self.make_sample(of_dictionary)
        };
        let Some(sample) = sample else {
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
                Method::Replay | Method::Semantic | Method::Gpa | Method::GpaReplay => {
                    let sample = &self.samples[self.rng.usize(..self.samples.len())];
                    self.trainer.take_sample(sample);
                    true
                }
                Method::Reprojection => {
                    let frame = &self.frames[self.rng.usize(..self.frames.len())];
                    self.trainer
                        .take(&frame.features, &frame.image_part, |joints| {
                            refine::reprojection_gradient(joints, &frame.view)
                        })
                }
                // The last four step on their windows.
                Method::Off
                | Method::Latent
                | Method::Cycle
                | Method::Sem
                | Method::Align
                | Method::Update => false,
            };
            taken += usize::from(counts);
        }
        self.trainer.step(taken);
    }

    /// The head to use from now on, where the guard has just decided for another.
    pub fn decide(&mut self) -> Option<Arc<Head>> {
        let since = self.trainer.steps().saturating_sub(self.judged);
        let every = if self.windows.is_some() {
            sem::DECIDE_EVERY
        } else {
            DECIDE_EVERY
        };
        if self.frozen || since < every {
            return None;
        }
        self.judged = self.trainer.steps();
        if !self.trainer.is_finite() {
            return self.give_up();
        }
        let tag = self.next_tag(true);
        let candidate = self.trainer.candidate(&self.factory, tag);
        if !self.guarded {
            return Some(self.hand_out_learned(candidate));
        }
        let frames = shown(&self.held_frames);
        let finding = guard::judge(&self.factory, &candidate, &self.held, frames)?;
        self.report.finding = Some(finding);
        self.report.decisions[finding.verdict as usize] += 1;
        match finding.verdict {
            Verdict::Keep => {
                self.refusals = 0;
                Some(self.hand_out_learned(candidate))
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
                    self.return_by(0.5);
                }
                // What is in use is asked for the same evidence.
                let in_use = &self.in_use.head;
                let holds = in_use.tag.adapted
                    && guard::judge(&self.factory, in_use, &self.held, shown(&self.held_frames))
                        .is_some_and(|finding| finding.verdict == Verdict::Keep);
                if holds {
                    return None;
                }
                self.use_factory(Mode::Learning)
            }
        }
    }

    /// What was learned holds a number that is not finite, which no further step takes out again: learning begins at
    /// the factory's weights. What is in use was found good before and stays.
    fn give_up(&mut self) -> Option<Arc<Head>> {
        self.report.decisions[Verdict::Refuse as usize] += 1;
        self.report.softened += 1;
        self.refusals = 0;
        self.return_by(1.0);
        self.judged = 0;
        None
    }

    /// All that learns goes back to what ships by `share` of the way; 1 is all of it.
    fn return_by(&mut self, share: f32) {
        self.trainer.return_by(share);
        if let Some(windows) = &mut self.windows {
            windows.return_by(share);
        }
    }

    /// Puts the factory head in, where it is not.
    fn use_factory(&mut self, mode: Mode) -> Option<Arc<Head>> {
        self.report.mode = mode;
        if !self.in_use.head.tag.adapted {
            return None;
        }
        self.report.rolled_back += 1;
        let mut head = Head::clone(&self.factory);
        head.tag = self.next_tag(false);
        let used = Used {
            head: head.into(),
            mean: self.trainer.factory().into(),
        };
        let head = self.hand_out(used, mode);
        // What was taken back is not to be rolled back to.
        self.earlier = None;
        Some(head)
    }

    /// Of the head that is handed out next.
    const fn next_tag(&self, adapted: bool) -> HeadTag {
        HeadTag {
            generation: self.handed_out.saturating_add(1),
            adapted,
        }
    }

    fn hand_out(&mut self, used: Used, mode: Mode) -> Arc<Head> {
        self.report.mode = mode;
        let head = Arc::clone(&used.head);
        self.handed_out = head.tag.generation;
        self.earlier = Some(std::mem::replace(&mut self.in_use, used));
        head
    }

    /// Hands out what the trainer's mean gives.
    fn hand_out_learned(&mut self, candidate: Head) -> Arc<Head> {
        let used = Used {
            head: candidate.into(),
            mean: self.trainer.mean().into(),
        };
        self.hand_out(used, Mode::Adapted)
    }

    fn freeze(&mut self) {
        self.frozen = true;
        self.was_frozen = true;
    }

    /// Does what a peer asked for; gives the head to use where that changes.
    ///
    /// # Errors
    ///
    /// Why it cannot be done.
    pub fn obey(&mut self, command: Command) -> Result<Option<Arc<Head>>, &'static str> {
        match command {
            Command::Freeze => {
                self.freeze();
                Ok(None)
            }
            Command::Thaw => {
                self.frozen = false;
                Ok(None)
            }
            Command::Reset => {
                self.trainer.return_by(1.0);
                self.clips.clear();
                if let Some(windows) = &mut self.windows {
                    windows.clear();
                }
                for store in [&mut self.samples, &mut self.held] {
                    store.clear();
                }
                self.frames.clear();
                self.held_frames.clear();
                self.surroundings = Surroundings::new();
                self.judged = 0;
                self.refusals = 0;
                self.report.finding = None;
                // What is forgotten cannot be rolled back to.
                self.earlier = None;
                Ok(self.use_factory(Mode::Waiting))
            }
            Command::RollBack => {
                let Some(Used { head, mean }) = self.earlier.take() else {
                    return Err("there is no earlier head to roll back to");
                };
                let mut head = Head::clone(&head);
                // What is rolled back from is forgotten: learning goes on from here, once it may, and a state that is
                // written holds this.
                self.trainer.resume(&mean, self.trainer.steps());
                if let Some(windows) = &mut self.windows {
                    windows.return_by(1.0);
                }
                self.judged = self.trainer.steps();
                self.refusals = 0;
                self.freeze();
                head.tag = self.next_tag(head.tag.adapted);
                self.report.rolled_back += 1;
                let mode = if head.tag.adapted {
                    Mode::Adapted
                } else {
                    Mode::Learning
                };
                let used = Used {
                    head: head.into(),
                    mean,
                };
                let head = self.hand_out(used, mode);
                // A second command must not bring back what the first took away.
                self.earlier = None;
                Ok(Some(head))
            }
            // The thread writes; there is nothing to change here.
            Command::Snapshot => Ok(None),
        }
    }

    /// How it is frozen.
    pub fn frozen(&self) -> Option<Frozen> {
        match (self.frozen, self.in_use.head.tag.adapted) {
            (false, _) => None,
            (true, false) => Some(Frozen::Factory),
            (true, true) => Some(Frozen::Adapted),
        }
    }

    /// What is worth keeping over a restart; `None` before anything was learned or frozen.
    pub fn state(&self) -> Option<State> {
        let frozen = self.frozen();
        let mean = match frozen {
            // Learning has gone on from what was handed out, and that is what has to come back.
            Some(Frozen::Adapted) => &self.in_use.mean[..],
            Some(Frozen::Factory) | None => self.trainer.mean(),
        };
        (self.trainer.steps() > 0 || self.was_frozen).then(|| State {
            steps: self.trainer.steps(),
            generation: self.handed_out,
            frozen,
            mean: mean.into(),
            up: self.surroundings.up().unwrap_or(Vec3::ZERO),
            noise: self.surroundings.noise(),
        })
    }

    /// Goes on from what was kept. Nothing of it is used before the guard has seen this site's
    /// evidence for it, but for a head that was frozen in use, which comes back.
    #[must_use = "the head that is in use from now on"]
    pub fn resume(&mut self, state: &State) -> Option<Arc<Head>> {
        self.trainer.resume(&state.mean, state.steps);
        self.handed_out = state.generation;
        self.judged = state.steps;
        self.surroundings.resume(state.up, state.noise);
        let frozen = state.frozen?;
        self.freeze();
        if frozen == Frozen::Factory || !self.trainer.is_finite() {
            return None;
        }
        let tag = HeadTag {
            generation: state.generation,
            adapted: true,
        };
        let candidate = self.trainer.candidate(&self.factory, tag);
        let head = self.hand_out_learned(candidate);
        self.earlier = None;
        Some(head)
    }
}

/// What the guard looks at of frames that are held back.
fn shown(frames: &[HeldFrame]) -> impl Iterator<Item = guard::ShownFeatures<'_>> {
    let frames = frames.iter();
    frames.map(|frame| (&frame.features, &frame.image_part))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::{EstimateConfig, Poser};
    use crate::lift::head::HIDDEN;

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

    /// An adapter whose evidence is such that the factory head is off by `error_m`, along x, and what was learned goes
    /// `learned_m` that way.
    fn adapter(error_m: f32, learned_m: f32) -> Adapter {
        adapter_of(Method::Semantic, error_m, learned_m)
    }

    fn adapter_of(method: Method, error_m: f32, learned_m: f32) -> Adapter {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config.adapt.method = method;
        config.semantics.enabled = method.needs_labels();
        let mut adapter = Poser::open(&config).unwrap().adapter(1).unwrap().unwrap();
        let mut rng = fastrand::Rng::with_seed(2);
        let mut features = || std::array::from_fn(|_| 0.2 * (rng.f32() - 0.5));
        for _ in 0..guard::VIEWS_MIN {
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
            adapter.held_frames.push(HeldFrame {
                features: features(),
                image_part: [0.0; HIDDEN],
                ..HeldFrame::nothing()
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
    fn a_head_that_helps_on_held_back_views_is_used_and_a_refused_one_is_taken_back_for_good() {
        let mut adapter = adapter(0.06, 0.012);
        let head = adapter.decide().unwrap();
        assert_eq!((head.tag.generation, head.tag.adapted), (1, true));
        assert_eq!(adapter.report().mode, Mode::Adapted);
        assert!(
            adapter.decide().is_none(),
            "not before there were more steps"
        );
        // The evidence turns: that way is now the wrong one.
        for view in &mut adapter.held {
            for joint in &mut view.joints_m[1..] {
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
            adapter.obey(Command::RollBack).is_err(),
            "what was refused stays away"
        );
        for _ in 1..REFUSALS_MAX {
            assert_eq!(
                adapter.report().mode,
                Mode::Learning,
                "and nothing is frozen"
            );
            learn(&mut adapter, 0.012);
            assert!(
                adapter.decide().is_none(),
                "the factory head is in use already"
            );
        }
        assert_eq!(adapter.report().softened, 1);
    }

    #[test]
    fn whatever_the_method_learns_from_the_guard_holds_it() {
        for method in Method::ALL.into_iter().filter(|method| method.learns()) {
            // What windows taught is handed out whole, of the others half.
            let half = if method.windows().is_some() { 0.5 } else { 1.0 };
            let mut helps = adapter_of(method, 0.06, 0.012 * half);
            assert!(helps.decide().unwrap().tag.adapted, "{}", method.name());
            let mut harms = adapter_of(method, 0.06, -0.012 * half);
            let refused = harms.decide().is_none();
            assert_eq!(refused, method.is_for_the_field(), "{}", method.name());
            let mut free = adapter_of(method, 0.06, -0.012 * half).without_guard();
            assert!(free.decide().unwrap().tag.adapted, "{}", method.name());
        }
    }

    /// What an adapter does with `seconds` of a person who stands and is said to walk.
    fn watched(method: Method, seconds: u64, label: bool) -> Adapter {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config.adapt.method = method;
        let poser = Poser::open(&config).unwrap();
        let walk = poser.semantics().unwrap().dictionary().position("walk");
        let mut adapter = poser.adapter(1).unwrap().unwrap();
        for frame in 0..30 * seconds {
            let time = MonoNs(1_000_000_000 + 33_333_333 * frame);
            let mut seen = crate::adapt::observation::tests::observation(time, 1);
            seen.label = walk.filter(|_| label);
            adapter.take(&seen);
            while adapter.work() {}
        }
        adapter
    }

    #[test]
    fn windows_are_stepped_on_at_their_own_pace_and_the_guard_gets_its_views() {
        for method in [Method::Cycle, Method::Sem, Method::Align, Method::Update] {
            let adapter = watched(method, 16, true);
            let steps = adapter.trainer.steps();
            // Three looks a second, four in a step, from the end of the first window on.
            assert!((8..=11).contains(&steps), "{steps}");
            assert!(adapter.held.len() >= guard::VIEWS_MIN);
            assert!(adapter.samples.is_empty());
        }
        // Without labels 2D and smoothness are left.
        assert!(watched(Method::Sem, 6, false).trainer.steps() > 0);
    }

    #[test]
    fn motions_are_drawn_for_what_is_done_here_and_for_nothing_else() {
        let drawn = watched(Method::Gpa, 9, true);
        assert!(drawn.trainer.steps() > 10, "{}", drawn.trainer.steps());
        // The clips show a person who stands still on both feet, the motions one who walks.
        let apart = |adapter: &Adapter| {
            let samples = adapter.samples.iter();
            let apart = samples.map(|sample| sample.joints_m[3].distance(sample.joints_m[6]));
            apart.fold((f32::INFINITY, 0.0_f32), |(least, most), apart| {
                (least.min(apart), most.max(apart))
            })
        };
        let (least, most) = apart(&drawn);
        assert!(most > least + 0.2, "{least} {most}");
        let (least, most) = apart(&watched(Method::Replay, 9, true));
        assert!(most < least + 0.01, "{least} {most}");
        let both = watched(Method::GpaReplay, 9, true);
        assert!(both.samples.len() >= SAMPLES_MIN);
        let nothing = watched(Method::Gpa, 9, false);
        assert_eq!((nothing.trainer.steps(), nothing.samples.len()), (0, 0));
        assert!(watched(Method::GpaReplay, 9, false).trainer.steps() > 10);
    }

    #[test]
    fn where_the_factory_is_good_enough_it_rests_and_what_goes_too_far_is_refused() {
        let mut resting = adapter(0.02, 0.012);
        assert!(resting.decide().is_none());
        assert_eq!(resting.report().mode, Mode::Resting);
        // The same where what was learned is in use already: it cannot be rolled back to either.
        let mut adapted = adapter(0.06, 0.012);
        assert!(adapted.decide().unwrap().tag.adapted);
        adapted.held.clone_from(&resting.held);
        learn(&mut adapted, 0.012);
        assert!(!adapted.decide().unwrap().tag.adapted);
        assert!(adapted.obey(Command::RollBack).is_err());
        assert_eq!(adapted.report().mode, Mode::Resting);
        let mut far = adapter(0.06, 0.03);
        assert!(far.decide().is_none(), "{:?}", far.report().finding);
        assert_eq!(far.report().decisions, [0, 0, 1]);
    }

    /// The next run of the daemon, with what was kept.
    fn restarted(kept: &State) -> (Adapter, Option<Arc<Head>>) {
        let mut next = adapter(0.06, 0.0);
        let head = next.resume(kept);
        (next, head)
    }

    #[test]
    fn after_a_roll_back_the_head_before_stays_over_restarts_until_thaw() {
        let mut adapter = adapter(0.06, 0.010);
        let first = adapter.decide().unwrap();
        learn(&mut adapter, 0.014);
        let second = adapter.decide().unwrap();
        assert!(first.joints.bias != second.joints.bias);
        let back = adapter.obey(Command::RollBack).unwrap().unwrap();
        assert!(back.joints.bias == first.joints.bias);
        assert_eq!(back.tag.generation, 3);
        assert!(
            adapter.obey(Command::RollBack).is_err(),
            "a second command does not bring back what the first took away"
        );
        assert!(adapter.decide().is_none());
        assert_eq!(adapter.report().mode, Mode::Frozen);

        let (mut next, head) = restarted(&adapter.state().unwrap());
        let head = head.unwrap();
        assert!(
            head.joints.bias == first.joints.bias,
            "the head before is in use again"
        );
        let report = next.report();
        assert_eq!((report.mode, report.generation), (Mode::Frozen, 3));
        assert!(next.decide().is_none());
        // And over one more, in which nothing happened.
        let (_, head) = restarted(&next.state().unwrap());
        assert!(head.unwrap().joints.bias == first.joints.bias);

        next.obey(Command::Thaw).unwrap();
        assert!(
            next.decide().is_none(),
            "what was rolled back from is not handed out again"
        );
        learn(&mut next, 0.012);
        assert_eq!(next.decide().unwrap().tag.generation, 4);
        // Thawed, nothing is used before there is evidence.
        let (next, head) = restarted(&next.state().unwrap());
        assert!(head.is_none());
        assert_eq!(next.report().generation, 0);
    }

    #[test]
    fn frozen_before_anything_was_learned_stays_frozen_over_a_restart_with_the_factory_head() {
        let mut adapter = adapter(0.06, 0.012);
        adapter.obey(Command::Freeze).unwrap();
        let kept = adapter.state().unwrap();
        let (mut next, head) = restarted(&kept);
        assert!(head.is_none() && next.decide().is_none());
        assert_eq!(next.report().mode, Mode::Frozen);
        next.obey(Command::Thaw).unwrap();
        // That it was thawed has to be kept as well, or it would be frozen at the next start.
        assert_eq!(next.state().unwrap().frozen, None);
    }

    #[test]
    fn what_freezes_in_use_comes_back_though_learning_had_gone_on() {
        let mut adapter = adapter(0.06, 0.010);
        let used = adapter.decide().unwrap();
        learn(&mut adapter, 0.017);
        adapter.obey(Command::Freeze).unwrap();
        let (_, head) = restarted(&adapter.state().unwrap());
        assert!(head.unwrap().joints.bias == used.joints.bias);
    }

    #[test]
    fn numbers_that_are_not_finite_are_never_handed_out_and_learning_begins_again() {
        for method in [Method::Semantic, Method::Reprojection] {
            let mut adapter = adapter(0.06, 0.012);
            (adapter.method, adapter.guarded) = (method, method.is_guarded());
            let mut broken = adapter.trainer.mean().to_vec();
            broken[7] = f32::NAN;
            let steps = adapter.trainer.steps();
            adapter.trainer.resume(&broken, steps);
            assert!(adapter.decide().is_none());
            assert_eq!(adapter.report().decisions, [0, 0, 1]);
            assert!(
                adapter.trainer.is_finite(),
                "no step would take it out again"
            );
            learn(&mut adapter, 0.012);
            assert!(adapter.decide().unwrap().tag.adapted);
        }
    }

    #[test]
    fn a_state_with_the_largest_count_of_steps_neither_overflows_nor_decides_each_time() {
        let mut adapter = adapter(0.06, 0.012);
        let state = State {
            steps: u64::MAX,
            generation: u32::MAX,
            ..adapter.state().unwrap()
        };
        assert!(adapter.resume(&state).is_none());
        assert!(adapter.decide().is_none() && adapter.decide().is_none());
        adapter.trainer.step(1);
        assert_eq!(adapter.report().steps, u64::MAX);
    }
}
