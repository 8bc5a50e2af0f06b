//! Semantics-aware adaptation (arXiv 2502.10724) on final layers, causal: windows of two seconds, each looked at a few
//! times and then forgotten.
//!
//! ```text
//!  observations ─▶ window of 2 s ─▶ final layers ─▶ 60 poses ─┬─▶ 2D: targets of each frame          0.1
//!                    │ label                                  ├─▶ alignment: 1 - cos(motion, text)   0.2
//!                    ▼                                        ├─▶ smoothness                         1
//!                  text of the entry                          └─▶ new targets of each frame
//! ```
//!
//! Equations 3 to 5 and 8 to 10 of the paper. What is different here, and why:
//!
//! - The whole video is not known. The newest [`WINDOWS`] windows take the place of its segments: each of them is drawn
//!   as often as there are epochs in the paper, on the mean, more often where motion and text agree less.
//! - The label is the one that the person has when the window ends, for it is inferred from these two seconds; a window
//!   with two different labels has none. A hint takes its place.
//! - Poses are joints, not rotations. The encoder sees them in a frame of the body that is held constant, so heading
//!   and size get no gradient, as the paper's global rotation does not.
//! - Smoothness is the distance from the same poses averaged over time, where the paper has the motion denoiser of
//!   `CycleAdapt` (docs/lab/methods.md).
//! - The backbone is frozen, so a window holds its features, not its images.
//!
//! `CycleAdapt` (ICCV 2023) learns from the same windows, of which 2D and smoothness are left. There smoothness is the
//! distance from what the motion denoiser makes of the poses, and the denoiser adapts in turns with the final layers
//! (`cycle.rs`).

use std::time::Duration;

use glam::{Mat3, Vec3};

use super::cycle::AdaptingDenoiser;
use super::observation::{Observation, OneLabel};
use super::targets::{Projection, Targets};
use super::train::{Pace, Trainer};
use crate::base::clock::MonoNs;
use crate::base::limits::{LIFT_FEATURES, MOTION_SAMPLES, RATE_HZ};
use crate::lift::head::HIDDEN;
use crate::lift::window::{BRIDGE, EXACT};
use crate::motion::Meaning;
use crate::motion::denoiser::Denoiser;
use crate::motion::encoder::JointSamples;
use crate::motion::net::Workspace;
use crate::skeleton::JOINTS;

/// Windows kept to learn from, the newest: those of 16 seconds, 1.3 MB.
const WINDOWS: usize = 8;

/// How often each window is drawn, on the mean: the paper's epochs.
const VISITS: f32 = 6.0;

/// Seconds from one window to the next, of a person who stays in view.
const WINDOW_S: f32 = 2.0;

/// Most windows to look at for a second in which a person is seen.
pub(super) const VISITS_PER_S: f32 = VISITS / WINDOW_S;

/// Windows in a step: the paper's batch.
const BATCH: usize = 4;

/// Steps between two decisions of the guard: eight seconds.
pub(super) const DECIDE_EVERY: u64 = 6;

/// Shortest time between two frames of a window: a faster camera shows little more, and a window has to end.
const SPACING: Duration = Duration::from_millis(28);

/// Frames of a window at most: two seconds at [`SPACING`].
const FRAMES_MAX: usize = 72;

/// Weight of the 2D loss, in pixels of the paper's crop.
const PROJECTION: f32 = 0.1;

/// Weight of the misalignment.
const ALIGNMENT: f32 = 0.2;

/// Weight of smoothness over metres of a coordinate. It is 1 over the entries of rotations in the paper: a turn by a
/// small angle d changes these by 0.33 d on the mean, and a coordinate of the next joint, 0.3 m away, by 0.15 m d.
const SMOOTHNESS: f32 = 1.0 / 0.45;

/// Standard deviation of the average over time that poses are compared with, seconds.
const SMOOTH_S: f32 = 2.0 / 30.0;

/// How far that average reaches, standard deviations.
const SMOOTH_REACH: f32 = 3.0;

/// Cosine of motion and text above which hidden keypoints are given the projection as target. The paper's 0.75 is one of
/// `MotionCLIP`, whose cosines are higher, to wrong texts as well. Of 905 looks at windows of four people who were
/// trained on (21 motions, views `easy` and `legs`, ideal detector) 91 % are above where the recorded action is told,
/// none where another one is.
const GATE: f32 = 0.5;

/// The cosine that a window without a label is taken to have where windows are drawn.
const UNKNOWN: f32 = 0.5;

/// Adam as in the paper, without the decay of its steps, for a stream has no end. Longer steps were worse.
pub(super) const PACE: Pace = Pace {
    rate: 5e-5,
    moments: (0.5, 0.9),
    mean_steps: 20.0,
    share: 1.0,
};

/// Which parts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Whether motion is drawn towards the text.
    pub(super) aligns: bool,
    /// Whether targets change: follow the projection, and are filled in where hidden.
    pub(super) updates: bool,
}

/// A person in one frame of a window.
#[derive(Clone, Debug)]
struct WindowFrame {
    time: MonoNs,
    features: [f32; LIFT_FEATURES],
    image_part: [f32; HIDDEN],
    /// From the camera frame to the rotated one.
    rotation: Mat3,
    targets: Targets,
}

impl WindowFrame {
    /// Numbers that stand for nothing, to fill room with.
    const fn nothing() -> Self {
        Self {
            time: MonoNs(0),
            features: [f32::NAN; LIFT_FEATURES],
            image_part: [f32::NAN; HIDDEN],
            rotation: Mat3::NAN,
            targets: Targets::nothing(),
        }
    }

    fn of(observation: &Observation) -> Self {
        Self {
            time: observation.time,
            features: observation.features,
            image_part: observation.image_part,
            rotation: observation.view.rotation,
            targets: Targets::of(&observation.view),
        }
    }
}

/// Two seconds of one person.
#[derive(Debug)]
struct Window {
    frames: Vec<WindowFrame>,
    label: OneLabel,
    /// Of each sample of the encoder the frame before it and the share of the next.
    between: [(usize, f32); MOTION_SAMPLES],
    /// Cosine of motion and text when it was looked at last: at first it is drawn before others.
    similarity: f32,
}

impl Window {
    fn new() -> Self {
        Self {
            frames: super::touched(FRAMES_MAX, &WindowFrame::nothing()),
            label: OneLabel::default(),
            between: [(0, 0.0); MOTION_SAMPLES],
            similarity: 0.0,
        }
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.label = OneLabel::default();
        self.similarity = 0.0;
    }

    /// Whether two seconds are there; then the encoder's samples have their places.
    fn is_whole(&mut self) -> bool {
        let (Some(first), Some(last)) = (self.frames.first(), self.frames.last()) else {
            return false;
        };
        let age = |back: usize| Duration::from_secs(back as u64) / RATE_HZ;
        let end = last.time;
        if end.since(first.time) + EXACT < age(MOTION_SAMPLES - 1) {
            return false;
        }
        let mut frame = 0;
        for (at, place) in self.between.iter_mut().enumerate() {
            let wanted = age(MOTION_SAMPLES - 1 - at);
            let old = |frame: &WindowFrame| end.since(frame.time);
            // The newest frame that is at least so old, but not the very last.
            while frame + 2 < self.frames.len() && old(&self.frames[frame + 1]) >= wanted {
                frame += 1;
            }
            let (before, after) = (old(&self.frames[frame]), old(&self.frames[frame + 1]));
            let share = before.saturating_sub(wanted).as_secs_f32()
                / before.saturating_sub(after).as_secs_f32().max(1e-6);
            *place = (frame, share.min(1.0));
        }
        true
    }
}

/// What a look at a window leaves behind.
#[derive(Debug)]
struct Look {
    /// Frames of the window that was looked at.
    count: usize,
    /// The hidden layer of each frame.
    hidden: Box<[[f32; HIDDEN]]>,
    /// Joints around the pelvis, rotated frame of each frame, metres.
    rotated_m: Box<[[Vec3; JOINTS]]>,
    /// The same, directions of the camera frame.
    camera_m: Box<[[Vec3; JOINTS]]>,
    projections: Box<[Option<Projection>]>,
    /// Gradient of the loss with respect to each frame's joints, rotated frame, per metre.
    gradient: Box<[[Vec3; JOINTS]]>,
    samples: Box<JointSamples>,
    samples_gradient: Box<JointSamples>,
}

impl Look {
    fn new() -> Self {
        let joints = || vec![[Vec3::ONE; JOINTS]; FRAMES_MAX].into_boxed_slice();
        let samples = || Box::new([[Vec3::ONE; JOINTS]; MOTION_SAMPLES]);
        Self {
            count: 0,
            hidden: vec![[1.0; HIDDEN]; FRAMES_MAX].into(),
            rotated_m: joints(),
            camera_m: joints(),
            projections: vec![None; FRAMES_MAX].into(),
            gradient: joints(),
            samples: samples(),
            samples_gradient: samples(),
        }
    }

    /// Fills in the poses of a window; false if a number is not finite.
    fn see(&mut self, window: &Window, trainer: &Trainer) -> bool {
        self.count = window.frames.len();
        for (at, frame) in window.frames.iter().enumerate() {
            let hidden = &mut self.hidden[at];
            let Some(joints) = trainer.joints_of(&frame.features, &frame.image_part, hidden) else {
                return false;
            };
            if !joints.iter().all(|joint| joint.is_finite()) {
                return false;
            }
            let back = frame.rotation.transpose();
            self.rotated_m[at] = joints;
            self.camera_m[at] = joints.map(|joint| back * joint);
            self.gradient[at] = [Vec3::ZERO; JOINTS];
        }
        true
    }

    /// The mean 2D loss, and its share of the gradient.
    fn follow_targets(&mut self, window: &Window) -> f32 {
        let share = one_of(self.count);
        let mut loss = 0.0;
        for (at, frame) in window.frames.iter().enumerate() {
            let joints_m = &self.rotated_m[at];
            let projection = frame.targets.project(joints_m);
            if let Some(projection) = &projection {
                let (weight, gradient) = (PROJECTION * share, &mut self.gradient[at]);
                loss += share * frame.targets.follow(joints_m, projection, weight, gradient);
            }
            self.projections[at] = projection;
        }
        loss
    }

    /// The mean distance of a coordinate from its average over time, metres, and its share of the gradient. The average
    /// is taken as given.
    fn smooth(&mut self, window: &Window) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "51")]
        let share = one_of(self.count) / (3 * JOINTS) as f32;
        let mut loss = 0.0;
        for (at, frame) in window.frames.iter().enumerate() {
            let average_m = self.average(window, frame.time);
            let joints = self.camera_m[at].iter().zip(&average_m);
            for ((joint, average), gradient) in joints.zip(&mut self.gradient[at]).skip(1) {
                let apart = *joint - *average;
                loss += share * apart.abs().element_sum();
                let sign = Vec3::select(apart.cmpeq(Vec3::ZERO), Vec3::ZERO, apart.signum());
                *gradient += SMOOTHNESS * share * (frame.rotation * sign);
            }
        }
        loss
    }

    /// The poses around `time` averaged, directions of the camera frame, metres.
    fn average(&self, window: &Window, time: MonoNs) -> [Vec3; JOINTS] {
        let (mut sum, mut weights) = ([Vec3::ZERO; JOINTS], 0.0);
        for (other, joints) in window.frames.iter().zip(&self.camera_m) {
            let apart = other.time.since(time) + time.since(other.time);
            let apart = apart.as_secs_f32() / SMOOTH_S;
            if apart > SMOOTH_REACH {
                continue;
            }
            let weight = (-0.5 * apart * apart).exp();
            weights += weight;
            for (sum, joint) in sum.iter_mut().zip(joints) {
                *sum += weight * *joint;
            }
        }
        sum.map(|joint| joint / weights)
    }

    /// The mean distance of a coordinate from what the denoiser makes of the window, metres, and its share of the
    /// gradient. `None` for numbers that are not finite.
    fn follow_denoiser(
        &mut self,
        window: &Window,
        denoiser: &mut AdaptingDenoiser,
        rng: &mut fastrand::Rng,
    ) -> Option<f32> {
        self.sample(window);
        let loss = denoiser.distance(&self.samples, rng, &mut self.samples_gradient)?;
        self.spread(window, SMOOTHNESS);
        Some(loss)
    }

    /// The samples that the encoder and the denoiser look at.
    fn sample(&mut self, window: &Window) {
        for (sample, (frame, share)) in self.samples.iter_mut().zip(&window.between) {
            let (before, after) = (&self.camera_m[*frame], &self.camera_m[*frame + 1]);
            *sample = std::array::from_fn(|joint| before[joint].lerp(after[joint], *share));
        }
    }

    /// Cosine of the window's motion and `text`; where `aligns`, the share of the gradient of one less it as well.
    fn align(
        &mut self,
        window: &Window,
        (meaning, space): (&Meaning, &mut Workspace),
        text: &[f32],
        aligns: bool,
    ) -> Option<f32> {
        self.sample(window);
        let motion = &meaning.encoders.motion;
        if !aligns {
            let embedding = motion.embed(&self.samples, space)?;
            return Some(embedding.iter().zip(text).map(|(e, t)| e * t).sum());
        }
        let gradient = &mut self.samples_gradient;
        let misalignment = motion.misalignment(&self.samples, text, space, gradient)?;
        self.spread(window, ALIGNMENT);
        Some(1.0 - misalignment)
    }

    /// Adds `weight` times the gradient of the samples to that of the frames between which they lie.
    fn spread(&mut self, window: &Window, weight: f32) {
        for (slopes, (frame, share)) in self.samples_gradient.iter().zip(&window.between) {
            for (at, share) in [(*frame, 1.0 - share), (*frame + 1, *share)] {
                let rotation = &window.frames[at].rotation;
                // The pelvis is where it is: joints are relative to it.
                for (sum, slope) in self.gradient[at].iter_mut().zip(slopes).skip(1) {
                    *sum += weight * share * (*rotation * *slope);
                }
            }
        }
    }
}

/// The share of one of so many.
#[expect(clippy::cast_precision_loss, reason = "a few dozen")]
fn one_of(count: usize) -> f32 {
    1.0 / count.max(1) as f32
}

/// Windows of what people did, and what is learned from them.
#[derive(Debug)]
pub(super) struct Windows {
    parts: Parts,
    meaning: Option<(Meaning, Workspace)>,
    /// What smoothness is measured by in place of the average over time.
    denoiser: Option<AdaptingDenoiser>,
    filling: Window,
    who: u32,
    whole: Vec<Window>,
    /// Windows that took the place of others, so which is the oldest.
    replaced: usize,
    look: Look,
    /// The window that was looked at and waits to be followed.
    looked: Option<usize>,
    /// Windows in the gradient of the next step.
    taken: heapless::Vec<usize, BATCH>,
    /// Windows of the newest step that the denoiser has still to be shown.
    to_show: heapless::Vec<usize, BATCH>,
}

impl Windows {
    /// None yet; room for all of them. Without `meaning` there is neither alignment nor filling in; with a denoiser
    /// smoothness is the distance from what it makes of the poses, and it adapts.
    pub(super) fn new(parts: Parts, meaning: Option<Meaning>, denoiser: Option<Denoiser>) -> Self {
        let space = |meaning: Meaning| {
            let space = meaning.encoders.motion.workspace();
            (meaning, space)
        };
        let mut whole: Vec<Window> = (0..WINDOWS).map(|_| Window::new()).collect();
        whole.iter_mut().for_each(Window::clear);
        Self {
            parts,
            meaning: meaning.map(space),
            denoiser: denoiser.map(AdaptingDenoiser::new),
            filling: Window::new(),
            who: 0,
            whole,
            replaced: 0,
            look: Look::new(),
            looked: None,
            taken: heapless::Vec::new(),
            to_show: heapless::Vec::new(),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.filling.clear();
        self.whole.iter_mut().for_each(Window::clear);
        (self.replaced, self.looked) = (0, None);
        self.to_show.clear();
        self.return_by(1.0);
    }

    /// What learns beside the final layers goes back to what ships by `share` of the way; 1 is all of it.
    pub(super) fn return_by(&mut self, share: f32) {
        if let Some(denoiser) = &mut self.denoiser {
            denoiser.return_by(share);
        }
    }

    /// Takes a person of a frame. One person at a time is followed, until their window is whole or they are gone.
    pub(super) fn take(&mut self, observation: &Observation) {
        let time = observation.time;
        if let Some(last) = self.filling.frames.last().map(|frame| frame.time) {
            let fresh = time >= last && time.since(last) <= BRIDGE;
            if observation.id != self.who && fresh {
                return;
            }
            if observation.id == self.who && fresh {
                self.filling.label.take(observation.label);
                if time.since(last) < SPACING {
                    return;
                }
            } else {
                self.filling.clear();
            }
        }
        if self.filling.frames.is_empty() {
            self.who = observation.id;
            self.filling.label.take(observation.label);
        }
        if self.filling.frames.len() == FRAMES_MAX {
            self.filling.clear();
        }
        self.filling.frames.push(WindowFrame::of(observation));
        if self.filling.is_whole() {
            let place = self.replaced % WINDOWS;
            std::mem::swap(&mut self.whole[place], &mut self.filling);
            self.replaced = self.replaced.wrapping_add(1);
            self.filling.clear();
            if self.looked == Some(place) {
                self.looked = None;
            }
        }
    }

    /// Whether there is a window.
    pub(super) fn has_any(&self) -> bool {
        self.replaced > 0
    }

    /// Does the next piece: looks at a window, follows what was seen there, or shows the denoiser what the final layers
    /// make of a window after a step. True where a window is done.
    pub(super) fn work(&mut self, trainer: &mut Trainer, rng: &mut fastrand::Rng) -> bool {
        if let Some(at) = self.to_show.pop() {
            self.show_denoiser(at, trainer, rng);
            return false;
        }
        let Some(at) = self.looked.take() else {
            let at = self.draw(rng);
            if self.look_at(at, trainer, rng) {
                self.looked = Some(at);
                return false;
            }
            // One that cannot be used is done as well.
            return true;
        };
        let frames = self.whole[at].frames.iter();
        for ((frame, hidden), gradient) in frames.zip(&self.look.hidden).zip(&self.look.gradient) {
            trainer.follow(&frame.features, hidden, gradient);
        }
        // There is room: a full one is emptied at once.
        let _ = self.taken.push(at);
        if self.taken.is_full() {
            trainer.step(BATCH);
            if self.denoiser.is_some() {
                self.to_show.clone_from(&self.taken);
            }
            self.taken.clear();
        }
        true
    }

    /// Shows the denoiser the poses of a window as the final layers make them now; after the last of a step it steps.
    fn show_denoiser(&mut self, at: usize, trainer: &Trainer, rng: &mut fastrand::Rng) {
        let Some(denoiser) = &mut self.denoiser else {
            return;
        };
        let (look, window) = (&mut self.look, &self.whole[at]);
        if !window.frames.is_empty() && look.see(window, trainer) {
            look.sample(window);
            // A window that cannot be used is left out.
            let _ = denoiser.take(&look.samples, rng);
        }
        if self.to_show.is_empty() {
            denoiser.step();
        }
    }

    /// A window, more often one whose motion and text agree less: the weight is one less their cosine.
    fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        let weight = |window: &Window| {
            if window.frames.is_empty() {
                return 0.0;
            }
            (1.0 - window.similarity).max(0.0)
        };
        let all: f32 = self.whole.iter().map(weight).sum();
        let mut left = rng.f32() * all;
        let mut last = 0;
        for (at, window) in self.whole.iter().enumerate() {
            let weight = weight(window);
            if weight > 0.0 {
                last = at;
                left -= weight;
            }
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Fills in the losses' gradient at a window, and gives it new targets. False where a number is not finite.
    fn look_at(&mut self, at: usize, trainer: &Trainer, rng: &mut fastrand::Rng) -> bool {
        let (look, window) = (&mut self.look, &mut self.whole[at]);
        if !look.see(window, trainer) {
            // Not drawn again while there are others.
            window.similarity = 1.0;
            return false;
        }
        look.follow_targets(window);
        let smoothness = match &mut self.denoiser {
            Some(denoiser) => look.follow_denoiser(window, denoiser, rng),
            None => Some(look.smooth(window)),
        };
        if smoothness.is_none() {
            window.similarity = 1.0;
            return false;
        }
        let Parts { aligns, updates } = self.parts;
        let labelled = self.meaning.as_mut().zip(window.label.settled());
        let similarity = labelled.and_then(|((meaning, space), entry)| {
            let text = meaning.direction_of(entry);
            look.align(window, (meaning, space), text, aligns)
        });
        window.similarity = similarity.unwrap_or(UNKNOWN);
        if updates {
            let fill = similarity.is_some_and(|similarity| similarity > GATE);
            for (frame, projection) in window.frames.iter_mut().zip(&look.projections) {
                if let Some(projection) = projection {
                    frame.targets.update(projection, fill);
                }
            }
        }
        true
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::adapt::observation::tests::observation;
    use crate::lift::head::Head;
    use crate::lift::head::tests::{file_of, random_tensors};
    use crate::lift::window::RayKeypoint;
    use crate::motion::denoiser::tests::shipped;
    use crate::motion::dictionary::{Dictionary, NewEntry};

    /// What ships.
    pub(crate) fn meaning() -> Meaning {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary");
        let (encoders, dictionary) = crate::motion::open(&folder, None).unwrap();
        Meaning {
            encoders: encoders.into(),
            dictionary: dictionary.into(),
        }
    }

    const ALL: Parts = Parts {
        aligns: true,
        updates: true,
    };

    fn trainer() -> Trainer {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        Trainer::with_pace(&head, PACE)
    }

    fn at_ms(ms: u64) -> MonoNs {
        MonoNs(5_000_000_000 + 1_000_000 * ms)
    }

    /// A person whose features change from frame to frame, the left ankle hidden.
    fn seen(time: MonoNs, label: Option<usize>) -> Observation {
        let mut seen = observation(time, 1);
        let mut rng = fastrand::Rng::with_seed(time.0);
        seen.features = std::array::from_fn(|_| rng.f32() - 0.3);
        seen.view.newest[15] = RayKeypoint::default();
        seen.label = label;
        seen
    }

    /// Frames of `rate` a second for `ms`.
    fn watch(windows: &mut Windows, rate: u64, ms: std::ops::Range<u64>, label: Option<usize>) {
        for frame in ms.start * rate / 1000..ms.end * rate / 1000 {
            windows.take(&seen(at_ms(frame * 1000 / rate), label));
        }
    }

    fn whole(windows: &Windows) -> usize {
        let all = windows.whole.iter();
        all.filter(|window| !window.frames.is_empty()).count()
    }

    #[test]
    fn two_seconds_at_any_rate_are_a_window_and_a_gap_begins_another() {
        for rate in [10, 25, 30, 60, 120] {
            let mut windows = Windows::new(ALL, None, None);
            watch(&mut windows, rate, 0..4_400, None);
            assert_eq!(whole(&windows), 2, "{rate}");
            let window = &windows.whole[0];
            // The samples lie where they should: the last at the end, each a thirtieth after the one before.
            let place = |(frame, share): (usize, f32)| {
                let [before, after] = [frame, frame + 1].map(|at| window.frames[at].time);
                let from = before.seconds_after(window.frames[0].time);
                from + f64::from(share) * after.seconds_after(before)
            };
            let places = window.between.map(place);
            let end = window.frames.last().unwrap().time;
            let end = end.seconds_after(window.frames[0].time);
            assert!((places[MOTION_SAMPLES - 1] - end).abs() < 1e-3, "{rate}");
            for pair in places[1..].windows(2) {
                assert!((pair[1] - pair[0] - 1.0 / 30.0).abs() < 2e-3, "{rate}");
            }
        }
        let mut windows = Windows::new(ALL, None, None);
        for second in 0..5 {
            watch(&mut windows, 30, 1500 * second..1500 * second + 1000, None);
        }
        assert_eq!(whole(&windows), 0);
    }

    #[test]
    fn one_person_at_a_time_fills_a_window_and_old_windows_make_room() {
        let mut windows = Windows::new(ALL, None, None);
        for frame in 0..63 {
            for id in [1, 2] {
                let mut seen = seen(at_ms(frame * 1000 / 30), None);
                seen.id = id;
                windows.take(&seen);
            }
        }
        assert_eq!(whole(&windows), 1);
        watch(&mut windows, 30, 10_000..60_000, None);
        assert_eq!(whole(&windows), WINDOWS);
    }

    #[test]
    fn a_window_has_a_label_where_there_was_one_and_no_other() {
        let label = |labels: &[Option<usize>]| {
            let mut one = OneLabel::default();
            for label in labels {
                one.take(*label);
            }
            one.settled()
        };
        assert_eq!(label(&[None, None]), None);
        assert_eq!(label(&[None, Some(3), Some(3)]), Some(3));
        assert_eq!(label(&[Some(3), None, Some(4)]), None);
    }

    /// A window of a person who waves, and a look at it as if the head had made these poses.
    fn waving() -> (Window, Look) {
        let mut windows = Windows::new(ALL, None, None);
        watch(&mut windows, 25, 0..2_100, None);
        let mut window = windows.whole.swap_remove(0);
        let mut look = Look::new();
        look.count = window.frames.len();
        let standing = observation(MonoNs(1), 1).joints_camera_m;
        for (at, frame) in window.frames.iter_mut().enumerate() {
            let phase = 0.25 * f32::from(u8::try_from(at).unwrap());
            frame.rotation = Mat3::from_rotation_y(0.3) * Mat3::from_rotation_x(0.1 * phase.sin());
            look.camera_m[at] = standing.map(|joint| joint - standing[0]);
            for joint in [13, 16, 3] {
                look.camera_m[at][joint] += 0.2 * Vec3::new(phase.sin(), phase.cos(), 0.3);
            }
            look.gradient[at] = [Vec3::ZERO; JOINTS];
        }
        (window, look)
    }

    #[test]
    fn the_gradient_of_alignment_is_that_of_central_differences_in_each_frame() {
        let (window, mut look) = waving();
        let meaning = meaning();
        let mut space = meaning.encoders.motion.workspace();
        let at = meaning.dictionary.position("jumping jacks").unwrap();
        let text = meaning.dictionary.text(at).to_vec();
        look.align(&window, (&meaning, &mut space), &text, true)
            .unwrap();
        let gradient = look.gradient.clone();
        let count = look.count;
        let largest = |joint: usize| {
            let frames = (0..count).map(|at| (gradient[at][joint].length(), at));
            frames.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
        };
        // Joints that neither turn the body's frame nor set its size.
        for joint in [13, 16, 3, 12] {
            let (slope, frame) = largest(joint);
            assert!(slope > 1e-4, "a gradient of zero proves nothing");
            let rotation = window.frames[frame].rotation;
            let direction = rotation.transpose() * gradient[frame][joint] / slope;
            let before = look.camera_m[frame][joint];
            let mut cosine = |step_m: f32| {
                look.camera_m[frame][joint] = before + step_m * direction;
                let cosine = look.align(&window, (&meaning, &mut space), &text, false);
                look.camera_m[frame][joint] = before;
                f64::from(cosine.unwrap())
            };
            let mut central = |h: f32| (cosine(-h) - cosine(h)) / (2.0 * f64::from(h));
            let want = f64::from(ALIGNMENT) * (4.0 * central(0.02) - central(0.04)) / 3.0;
            let got = f64::from(slope);
            assert!((got - want).abs() < 0.02 * want, "{joint}: {got} {want}");
        }
    }

    #[test]
    fn heading_and_size_do_not_change_the_agreement_of_motion_and_text() {
        let (window, mut look) = waving();
        let meaning = meaning();
        let mut space = meaning.encoders.motion.workspace();
        let text = meaning.dictionary.text(0).to_vec();
        let mut cosine = |change: &dyn Fn(Vec3) -> Vec3, look: &mut Look| {
            let before = look.camera_m.clone();
            for joint in look.camera_m.as_flattened_mut() {
                *joint = change(*joint);
            }
            let cosine = look.align(&window, (&meaning, &mut space), &text, false);
            look.camera_m = before;
            cosine.unwrap()
        };
        let own = cosine(&|joint| joint, &mut look);
        let turn = Mat3::from_rotation_y(2.0) * Mat3::from_rotation_z(0.4);
        assert!((cosine(&|joint| turn * joint, &mut look) - own).abs() < 1e-4);
        assert!((cosine(&|joint| 1.3 * joint, &mut look) - own).abs() < 1e-4);
        let leaning = cosine(
            &|joint| joint + Vec3::new(0.5 * joint.y, 0.0, 0.0),
            &mut look,
        );
        assert!((leaning - own).abs() > 1e-3, "a shear is no turn");
    }

    #[test]
    fn the_gradient_of_smoothness_is_that_of_the_distance_from_the_average() {
        let (window, mut look) = waving();
        assert!(look.smooth(&window) > 0.0);
        #[expect(clippy::cast_precision_loss, reason = "fifty")]
        let share = SMOOTHNESS / (look.count * 3 * JOINTS) as f32;
        for at in [5, 20, 33] {
            let frame = &window.frames[at];
            let average_m = look.average(&window, frame.time);
            for joint in [13, 16, 3] {
                let gradient = frame.rotation.transpose() * look.gradient[at][joint];
                // Along z they do not move, so there is a kink.
                for axis in 0..2 {
                    let loss = |step_m: f32| {
                        let mut moved = look.camera_m[at][joint];
                        moved[axis] += step_m;
                        share * (moved - average_m[joint]).abs().element_sum()
                    };
                    let step_m = 1e-4;
                    let want = (loss(step_m) - loss(-step_m)) / (2.0 * step_m);
                    let got = gradient[axis];
                    assert!(want.abs() > 0.5 * share, "a kink proves nothing");
                    assert!((got - want).abs() < 0.05 * share, "{at}: {got} {want}");
                }
            }
            assert_eq!(look.gradient[at][0], Vec3::ZERO);
        }
    }

    /// Windows of a person who does what entry 0 says, or the opposite: entry 1.
    fn labelled(parts: Parts, label: Option<usize>) -> Windows {
        let shipped = meaning();
        let encoders = shipped.encoders;
        let mut windows = Windows::new(parts, None, None);
        watch(&mut windows, 30, 0..2_050, label);
        let trainer = trainer();
        assert!(windows.look.see(&windows.whole[0], &trainer));
        windows.look.sample(&windows.whole[0]);
        let mut space = encoders.motion.workspace();
        let own = encoders.motion.embed(&windows.look.samples, &mut space);
        let own = own.unwrap().to_vec();
        let mut dictionary = Dictionary::empty(&encoders.id, own.len(), encoders.prior.rank());
        for (phrase, sign) in [("what it is", 1.0), ("what it is not", -1.0)] {
            let mut entry = NewEntry::default();
            entry.entry.phrase = phrase.into();
            entry.text = own.iter().map(|number| sign * number).collect();
            dictionary.add(entry).unwrap();
        }
        let meaning = Meaning {
            encoders,
            dictionary: dictionary.into(),
        };
        windows.meaning = Some((meaning, space));
        windows
    }

    fn targets(windows: &Windows) -> usize {
        let frames = &windows.whole[0].frames;
        frames.iter().map(|frame| frame.targets.count()).sum()
    }

    #[test]
    fn hidden_keypoints_are_filled_in_where_motion_and_text_agree_and_nowhere_else() {
        let (aligns, updates) = (true, true);
        for (parts, label, filled) in [
            (ALL, Some(0), true),
            (ALL, Some(1), false),
            (ALL, None, false),
            (
                Parts {
                    aligns: false,
                    updates,
                },
                Some(0),
                true,
            ),
            (
                Parts {
                    aligns,
                    updates: false,
                },
                Some(0),
                false,
            ),
        ] {
            let mut windows = labelled(parts, label);
            let before = targets(&windows);
            let frames = windows.whole[0].frames.len();
            assert_eq!(before, 11 * frames);
            assert!(windows.look_at(0, &trainer(), &mut fastrand::Rng::with_seed(1)));
            let projected = windows.look.projections[..frames].iter().flatten().count();
            assert!(projected > 0, "a pose that is seen nowhere proves nothing");
            let more = if filled { projected } else { 0 };
            assert_eq!(targets(&windows), before + more, "{parts:?} {label:?}");
        }
    }

    #[test]
    fn alignment_draws_a_motion_towards_what_it_is_said_to_be() {
        let similarity = |aligns: bool| {
            let parts = Parts {
                aligns,
                updates: false,
            };
            let mut windows = Windows::new(parts, Some(meaning()), None);
            let (meaning, _) = windows.meaning.as_ref().unwrap();
            let walk = meaning.dictionary.position("walk");
            for frame in 0_u16..62 {
                let mut seen = seen(at_ms(u64::from(frame) * 1000 / 30), walk);
                // What changes does so slowly, and no keypoint has a say.
                let phase = 0.2 * f32::from(frame);
                for (at, feature) in (0_u16..).zip(&mut seen.features) {
                    *feature = (phase + 0.7 * f32::from(at)).sin();
                }
                seen.view.newest.fill(RayKeypoint::default());
                windows.take(&seen);
            }
            let pace = Pace { rate: 1e-3, ..PACE };
            let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
            let mut trainer = Trainer::with_pace(&head, pace);
            let mut rng = fastrand::Rng::with_seed(1);
            assert!(!windows.work(&mut trainer, &mut rng));
            let first = windows.whole[0].similarity;
            while trainer.steps() < 15 {
                windows.work(&mut trainer, &mut rng);
            }
            (first, windows.whole[0].similarity)
        };
        let (before, after) = similarity(true);
        assert!(after > before + 0.05, "{before} {after}");
        let (_, without) = similarity(false);
        assert!(after > without + 0.05, "{without} {after}");
    }

    #[test]
    fn a_window_that_is_replaced_between_two_pieces_is_not_followed() {
        let mut windows = Windows::new(ALL, None, None);
        let (mut trainer, mut rng) = (trainer(), fastrand::Rng::with_seed(1));
        watch(&mut windows, 30, 0..2_050, None);
        assert!(!windows.work(&mut trainer, &mut rng));
        assert_eq!(windows.looked, Some(0));
        watch(&mut windows, 30, 10_000..30_000, None);
        assert_eq!(windows.looked, None);
    }

    #[test]
    fn numbers_that_are_not_finite_do_not_reach_the_weights() {
        let mut windows = Windows::new(ALL, None, None);
        watch(&mut windows, 30, 0..2_050, None);
        windows.whole[0].frames[7].features[3] = f32::NAN;
        let (mut trainer, mut rng) = (trainer(), fastrand::Rng::with_seed(1));
        for _ in 0..20 {
            windows.work(&mut trainer, &mut rng);
        }
        assert_eq!(trainer.steps(), 0);
        assert!(trainer.is_finite());
    }

    const NEITHER: Parts = Parts {
        aligns: false,
        updates: false,
    };

    /// One window of a person who moves smoothly, of a method with the denoiser.
    fn denoised() -> Windows {
        let mut windows = Windows::new(NEITHER, None, Some(shipped()));
        watch(&mut windows, 30, 0..2_050, None);
        windows
    }

    #[test]
    fn the_gradient_of_denoising_reaches_the_frames_between_which_samples_lie() {
        let (window, mut look) = waving();
        let mut denoiser = AdaptingDenoiser::new(shipped());
        let mut rng = fastrand::Rng::with_seed(3);
        let loss = look.follow_denoiser(&window, &mut denoiser, &mut rng);
        assert!(loss.unwrap() > 0.0);
        // In directions of the camera frame, frames and samples have one gradient, shared out among them.
        for joint in [13, 16, 3] {
            let frames = window.frames.iter().zip(&look.gradient);
            let of_frames: Vec3 = frames
                .map(|(frame, gradient)| frame.rotation.transpose() * gradient[joint])
                .sum();
            let of_samples: Vec3 = look.samples_gradient.iter().map(|s| s[joint]).sum();
            let apart = of_frames.distance(SMOOTHNESS * of_samples);
            assert!(apart < 1e-4, "{of_frames} {of_samples}");
        }
        assert!(
            look.gradient[..look.count]
                .iter()
                .all(|joints| joints[0] == Vec3::ZERO)
        );
    }

    #[test]
    fn final_layers_and_denoiser_step_in_turns() {
        let mut windows = denoised();
        let (mut trainer, mut rng) = (trainer(), fastrand::Rng::with_seed(1));
        let weights = |windows: &Windows| windows.denoiser.as_ref().unwrap().weights().to_vec();
        let shipped = weights(&windows);
        while trainer.steps() == 0 {
            windows.work(&mut trainer, &mut rng);
        }
        assert_eq!(windows.to_show.len(), BATCH);
        assert!(weights(&windows) == shipped, "the final layers step first");
        for _ in 0..BATCH {
            assert!(!windows.work(&mut trainer, &mut rng));
        }
        let once = weights(&windows);
        assert!(once != shipped);
        assert_eq!(trainer.steps(), 1);
        while trainer.steps() == 1 {
            windows.work(&mut trainer, &mut rng);
        }
        assert!(weights(&windows) == once);
        windows.clear();
        assert!(
            weights(&windows) == shipped,
            "what was learned is forgotten"
        );
    }

    #[test]
    fn neither_final_layers_nor_denoiser_learn_from_numbers_that_are_not_finite() {
        let mut windows = denoised();
        windows.whole[0].frames[7].features[3] = f32::NAN;
        let (mut trainer, mut rng) = (trainer(), fastrand::Rng::with_seed(1));
        for _ in 0..20 {
            windows.work(&mut trainer, &mut rng);
        }
        assert_eq!(trainer.steps(), 0);
        // The frame is broken after the final layers have stepped, before the denoiser has.
        let mut windows = denoised();
        while trainer.steps() == 0 {
            windows.work(&mut trainer, &mut rng);
        }
        windows.whole[0].frames[7].features[3] = f32::NAN;
        for _ in 0..BATCH {
            windows.work(&mut trainer, &mut rng);
        }
        let denoiser = windows.denoiser.as_ref().unwrap();
        assert!(denoiser.weights() == shipped().weights());
    }
}
