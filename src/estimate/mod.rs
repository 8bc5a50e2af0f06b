//! From a frame to its poses: the stages in order.
//!
//! ```text
//!  Estimator: frame ─▶ people (networks) ─┐
//!  Poser:                                 └▶ tracks ─▶ windows ─▶ lifter ─▶ head ─▶ meaning ─▶ pose sample
//! ```
//!
//! The [`Estimator`] starts from pixels; a recording of keypoints and the accuracy
//! table start from people, at the [`Poser`]. Runs on the estimate thread, and in
//! `replay` on the only one. After the first frames nothing is allocated, except
//! inside the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use glam::Vec3;
use serde::Deserialize;

use crate::adapt::{AdaptConfig, Adapter, Method, Observation};
use crate::base::clock::{Clock, MonoNs};
use crate::base::limits::PEOPLE_MAX;
use crate::camera::{Calibration, Mount};
use crate::counters::{Counters, FrameFault, LiftFault, Timed};
use crate::detect::{Detect, Lap, PeopleNet, PeopleSettings, Seen, Shed};
use crate::engine::{Engine, InferError, InferenceConfig};
use crate::error::StartError;
use crate::frame::Frame;
use crate::lift::head::Head;
use crate::lift::model::NetworkBackbone;
use crate::lift::window::{RaySample, rays_of};
use crate::lift::{self, Estimate, LiftConfig, Lifter, NoPose, person_pose};
use crate::motion::denoiser::Denoiser;
use crate::motion::dictionary::Dictionary;
use crate::motion::hint::Hints;
use crate::motion::label::Label;
use crate::motion::{self, Semantics, SemanticsConfig};
use crate::output::record::people_of;
use crate::pose::{People, PoseSample};
use crate::track::{TrackConfig, TrackCounters, TrackedPeople, Tracker};

/// `[models]`: which networks, each a folder under `directory`.
///
/// ```toml
/// [models]
/// directory = "/usr/share/poised/models"
/// person = "person"
/// finder = "finder"
/// lifter = "lifter"
/// dictionary = "dictionary"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// Where the folders are. Default: `$POISED_MODELS`, else `models` in the
    /// working folder, else `/usr/share/poised/models`.
    #[serde(deserialize_with = "crate::base::config::path")]
    pub directory: PathBuf,
    /// The network that gives keypoints.
    #[serde(deserialize_with = "crate::base::config::path_or_text")]
    pub person: String,
    /// The network that finds people; a network that looks at whole frames needs none.
    #[serde(deserialize_with = "crate::base::config::optional_path_or_text")]
    pub finder: Option<String>,
    /// The lifter with its head.
    #[serde(deserialize_with = "crate::base::config::path_or_text")]
    pub lifter: String,
    /// Encoders of motion and the dictionary that goes with them.
    #[serde(deserialize_with = "crate::base::config::path_or_text")]
    pub dictionary: String,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            directory: default_directory(),
            person: "person".into(),
            finder: Some("finder".into()),
            lifter: "lifter".into(),
            dictionary: "dictionary".into(),
        }
    }
}

/// Where the package puts networks, and where the service looks for them.
pub const SERVICE_DIRECTORY: &str = "/usr/share/poised/models";

/// Where networks are searched for by default.
pub fn default_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("POISED_MODELS") {
        return directory.into();
    }
    let here = Path::new("models");
    if here.is_dir() {
        return here.to_owned();
    }
    SERVICE_DIRECTORY.into()
}

impl ModelsConfig {
    /// The folder of a network: a path is taken as it is, a name lies in `directory`.
    pub fn folder(&self, name: &str) -> PathBuf {
        if name.contains('/') {
            PathBuf::from(name)
        } else {
            self.directory.join(name)
        }
    }
}

/// All that turns frames into poses, as configured.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct EstimateConfig {
    /// Which networks.
    pub models: ModelsConfig,
    /// What runs them.
    pub inference: InferenceConfig,
    /// Whom to look for.
    pub people: PeopleSettings,
    /// Who is who.
    pub track: TrackConfig,
    /// Keypoints to 3D.
    pub lift: LiftConfig,
    /// What people do.
    pub semantics: SemanticsConfig,
    /// Learning on the device.
    pub adapt: AdaptConfig,
}

impl EstimateConfig {
    /// Opens the networks that look at frames.
    ///
    /// # Errors
    ///
    /// What does not fit, and why.
    pub fn open_people(&self, engine: &Engine) -> Result<PeopleNet, StartError> {
        let models = &self.models;
        let finder = models.finder.as_deref().map(|name| models.folder(name));
        let person = models.folder(&models.person);
        Ok(PeopleNet::open(
            engine,
            &person,
            finder.as_deref(),
            self.people,
        )?)
    }
}

/// People in the image to people in space.
#[derive(Debug)]
pub struct Poser {
    tracker: Tracker,
    lifter: Lifter<NetworkBackbone>,
    semantics: Option<Semantics>,
    /// For a method that adapts it.
    denoiser: Option<Denoiser>,
    tracked: TrackedPeople,
    method: Method,
    observations: heapless::Vec<Observation, PEOPLE_MAX>,
}

impl Poser {
    /// Opens engine, lifter and dictionary, and waits until the engine is built. Takes a validated configuration.
    ///
    /// # Errors
    ///
    /// What does not fit, and why.
    pub fn open(config: &EstimateConfig) -> Result<Self, StartError> {
        let engine = Engine::open(&config.inference)?;
        let poser = Self::open_with(&engine, config)?;
        engine.build_now();
        Ok(poser)
    }

    /// Opens lifter and dictionary with an engine that is there already.
    ///
    /// # Errors
    ///
    /// What does not fit, and why.
    pub fn open_with(engine: &Engine, config: &EstimateConfig) -> Result<Self, StartError> {
        let models = &config.models;
        let (backbone, head) = lift::model::open(engine, &models.folder(&models.lifter))?;
        let semantics = if config.semantics.enabled {
            let file = config.semantics.dictionary.as_deref();
            let folder = models.folder(&models.dictionary);
            let (encoders, mut dictionary) = motion::open(&folder, file)?;
            if !config.semantics.labels {
                let (width, rank) = (encoders.width(), encoders.prior.rank());
                dictionary = Dictionary::empty(&encoders.id, width, rank);
            }
            let completer = motion::open_completer(&folder, &encoders, &dictionary)?;
            Some(Semantics::new(
                &config.semantics,
                encoders,
                dictionary,
                completer,
            ))
        } else {
            None
        };
        let mut poser = Self::new(config, backbone, head.into(), semantics);
        if config.adapt.method.denoises() {
            let folder = models.folder(&models.dictionary);
            poser.denoiser = Some(motion::open_denoiser(&folder)?);
        }
        Ok(poser)
    }

    /// Puts an opened lifter and dictionary together.
    pub fn new(
        config: &EstimateConfig,
        backbone: NetworkBackbone,
        head: Arc<Head>,
        semantics: Option<Semantics>,
    ) -> Self {
        let method = config.adapt.method;
        let lift = LiftConfig {
            refine: method != Method::Off,
            ..config.lift
        };
        Self {
            tracker: Tracker::new(config.track),
            lifter: Lifter::new(lift, backbone, head),
            semantics,
            denoiser: None,
            tracked: TrackedPeople::new(),
            method,
            observations: heapless::Vec::new(),
        }
    }

    /// What learns beside this, where the configuration wants that. `seed` fixes what it draws.
    ///
    /// # Errors
    ///
    /// The engine has no room for another use of the backbone.
    pub fn adapter(&self, seed: u64) -> Result<Option<Adapter>, StartError> {
        if !self.method.learns() {
            return Ok(None);
        }
        let backbone = self.lifter.backbone().share()?;
        let head = Arc::clone(self.lifter.head());
        let meaning = self.semantics.as_ref().map(Semantics::meaning);
        Ok(Some(Adapter::new(
            self.method,
            backbone,
            head,
            meaning,
            self.denoiser.clone(),
            seed,
        )))
    }

    /// What an adapter is to be told of the newest frame.
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// Does what the adapter's thread does between two frames of a device that is fast enough: for recordings.
    pub fn learn(&mut self, adapter: &mut Adapter) {
        for observation in &self.observations {
            adapter.take(observation);
        }
        while adapter.work() {}
        if let Some(head) = adapter.decide() {
            drop(self.replace_head(head));
        }
    }

    /// Puts other final layers in and hands the old ones back, so that the hot thread need not free them.
    #[must_use = "dropping the last handle frees memory"]
    pub fn replace_head(&mut self, head: Arc<Head>) -> Arc<Head> {
        self.lifter.replace_head(head)
    }

    /// What tracking has counted.
    pub fn track_counters(&self) -> TrackCounters {
        self.tracker.counters()
    }

    /// What names actions, where that is wanted.
    pub fn semantics(&self) -> Option<&Semantics> {
        self.semantics.as_ref()
    }

    /// From now on takes hints about what people do; gives where they have to arrive,
    /// or `None` if nothing is named.
    pub fn hear_hints(&mut self, clock: &Arc<Clock>) -> Option<Arc<Hints>> {
        let semantics = self.semantics.as_mut()?;
        let entries = semantics.dictionary().entries();
        let phrases = entries.iter().map(|entry| entry.phrase.clone()).collect();
        let hints = Arc::new(Hints::new(phrases, Arc::clone(clock)));
        semantics.hear(Arc::clone(&hints));
        Some(hints)
    }

    /// Takes a frame of a recording and fills `out`, as from the camera.
    pub fn replay(
        &mut self,
        recorded: &PoseSample,
        camera: &Calibration,
        timer: &Clock,
        counters: &Counters,
        out: &mut PoseSample,
    ) {
        out.frame_sequence = recorded.frame_sequence;
        out.capture = recorded.capture;
        out.width_px = recorded.width_px;
        out.height_px = recorded.height_px;
        out.up_camera = camera.mount().map(Mount::up);
        out.people.clear();
        let people = people_of(recorded);
        let mut watch = Stopwatch::start(timer);
        let seen = (&people, true);
        self.step(recorded.capture, camera, seen, &mut watch, counters, out);
        counters.frame_estimated();
    }

    /// Takes the people of the frame of `time`, and whether everybody was looked at, and adds their poses to `out`.
    fn step(
        &mut self,
        time: MonoNs,
        camera: &Calibration,
        (detections, whole): (&People, bool),
        watch: &mut Stopwatch<'_>,
        counters: &Counters,
        out: &mut PoseSample,
    ) {
        if whole {
            self.tracker.update(time, detections, &mut self.tracked);
        } else {
            self.tracker
                .update_partly(time, detections, &mut self.tracked);
        }
        self.begin_frame(time);
        counters.timed(Timed::Track).add(watch.lap());
        let (mut lift, mut name) = (Duration::ZERO, Duration::ZERO);
        let mut faults = heapless::Vec::<LiftFault, PEOPLE_MAX>::new();
        for place in 0..self.tracked.len() {
            let mut estimate = match self.lift(time, camera, place) {
                Ok(estimate) => Some(estimate),
                Err(error) => {
                    let pushed = faults.push(lift_fault(error));
                    debug_assert!(pushed.is_ok(), "no more people than places for them");
                    None
                }
            };
            lift += watch.lap();
            let label = self.name(time, camera, place, estimate.as_mut());
            name += watch.lap();
            // Without a pose in space the person is published all the same: keypoints, joints absent.
            let mut pose = person_pose(&self.tracked[place], estimate.as_ref());
            if let (Some(semantics), Some(label)) = (&self.semantics, label) {
                pose.action = Some(semantics.action(label));
            }
            let pushed = out.people.push(pose);
            debug_assert!(pushed.is_ok(), "no more people than places for them");
        }
        counters.lifted(&faults, self.tracked.len() - faults.len());
        counters.timed(Timed::Lift).add(lift + watch.lap());
        if self.semantics.is_some() {
            counters.timed(Timed::Name).add(name);
        }
    }

    /// Follows the people of the frame of `time`.
    pub fn track(&mut self, time: MonoNs, detections: &People) -> &TrackedPeople {
        self.tracker.update(time, detections, &mut self.tracked);
        self.begin_frame(time);
        &self.tracked
    }

    fn begin_frame(&mut self, time: MonoNs) {
        if let Some(semantics) = &mut self.semantics {
            let present = self.tracked.iter().map(|person| person.id);
            semantics.begin_frame(time, &present);
        }
        self.observations.clear();
    }

    /// Lifts the person at `place` of those who were tracked in the frame of `time`.
    ///
    /// # Errors
    ///
    /// Why the person has no pose in space.
    pub fn lift(
        &mut self,
        time: MonoNs,
        camera: &Calibration,
        place: usize,
    ) -> Result<Estimate, NoPose<InferError>> {
        self.lifter.lift(time, camera, &self.tracked[place])
    }

    /// Names what the person at `place` does, and completes hidden joints. The adapter is told of the person
    /// here: for `semantic` of the pose that comes out, else of the one that goes in.
    pub fn name(
        &mut self,
        time: MonoNs,
        camera: &Calibration,
        place: usize,
        estimate: Option<&mut Estimate>,
    ) -> Option<Label> {
        let person = &self.tracked[place];
        let keypoints = rays_of(camera, &person.detection.keypoints);
        let (mut estimate, id) = (estimate, person.id);
        let up = camera.mount().map(Mount::up);
        if self.method != Method::Semantic {
            self.tell(time, id, &keypoints, estimate.as_deref(), up);
        }
        let label = self
            .semantics
            .as_mut()
            .and_then(|semantics| semantics.step(time, id, &keypoints, estimate.as_deref_mut()));
        if self.method == Method::Semantic {
            self.tell(time, id, &keypoints, estimate.as_deref(), up);
        } else if self.method.needs_labels()
            && let Some(told) = self.observations.last_mut().filter(|told| told.id == id)
        {
            told.label = label.map(|label| label.entry);
        }
        label
    }

    /// Tells the adapter, where there is one.
    fn tell(
        &mut self,
        time: MonoNs,
        id: u32,
        keypoints: &RaySample,
        estimate: Option<&Estimate>,
        up: Option<Vec3>,
    ) {
        if self.method.learns()
            && let Some(estimate) = estimate
        {
            let observation = Observation::of(time, id, keypoints, estimate, up);
            let pushed = self.observations.push(observation);
            debug_assert!(pushed.is_ok(), "no more people than places for them");
        }
    }
}

/// Frames to poses.
#[derive(Debug)]
pub struct Estimator<D = PeopleNet> {
    people: D,
    poser: Poser,
    detections: People,
    beside: Option<Beside>,
}

/// A second method on the same people, to compare with.
struct Beside {
    poser: Poser,
    counters: Counters,
    out: PoseSample,
    tell: Box<dyn FnMut(&PoseSample) + Send>,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside")
            .field("poser", &self.poser)
            .finish_non_exhaustive()
    }
}

impl Estimator {
    /// Opens engine and networks, and waits until the engine is built: for recordings. Takes a validated
    /// configuration.
    ///
    /// # Errors
    ///
    /// The network or head that does not fit, and why.
    pub fn open(config: &EstimateConfig) -> Result<Self, StartError> {
        let engine = Engine::open(&config.inference)?;
        let estimator = Self::open_with(&engine, config)?;
        engine.build_now();
        Ok(estimator)
    }

    /// Opens the networks with an engine that is there already.
    ///
    /// # Errors
    ///
    /// The network or head that does not fit, and why.
    pub fn open_with(engine: &Engine, config: &EstimateConfig) -> Result<Self, StartError> {
        let people = config.open_people(engine)?;
        Ok(Self::new(people, Poser::open_with(engine, config)?))
    }

    /// Name of the engine that runs the person network now.
    pub fn engine(&self) -> &'static str {
        self.people.engine()
    }
}

impl<D: Detect> Estimator<D> {
    /// Puts opened networks together.
    pub fn new(people: D, poser: Poser) -> Self {
        Self {
            people,
            poser,
            detections: People::new(),
            beside: None,
        }
    }

    /// From now on also runs a second method on the same people and hands its poses to `tell`: to compare
    /// with, not for the daemon.
    pub fn compare_with(&mut self, poser: Poser, tell: impl FnMut(&PoseSample) + Send + 'static) {
        self.beside = Some(Beside {
            poser,
            counters: Counters::default(),
            out: PoseSample::default(),
            tell: Box::new(tell),
        });
    }

    /// What tracking has counted.
    pub fn track_counters(&self) -> TrackCounters {
        self.poser.track_counters()
    }

    /// As [`Poser::adapter`].
    ///
    /// # Errors
    ///
    /// The engine has no room for another use of the backbone.
    pub fn adapter(&self, seed: u64) -> Result<Option<Adapter>, StartError> {
        self.poser.adapter(seed)
    }

    /// As [`Poser::observations`].
    pub fn observations(&self) -> &[Observation] {
        self.poser.observations()
    }

    /// As [`Poser::replace_head`].
    #[must_use = "dropping the last handle frees memory"]
    pub fn replace_head(&mut self, head: Arc<Head>) -> Arc<Head> {
        self.poser.replace_head(head)
    }

    /// As [`Poser::learn`].
    pub fn learn(&mut self, adapter: &mut Adapter) {
        self.poser.learn(adapter);
    }

    /// As [`Poser::hear_hints`].
    pub fn hear_hints(&mut self, clock: &Arc<Clock>) -> Option<Arc<Hints>> {
        self.poser.hear_hints(clock)
    }

    /// From now on leaves this out of frames.
    pub fn shed(&mut self, shed: Shed) {
        self.people.shed(shed);
    }

    /// Forgets where people were and who they are, as after the camera was opened again. Ids stay given.
    pub fn reset(&mut self) {
        self.people.reset();
        self.poser.tracker.forget();
    }

    /// The people that `step` saw before tracking, with their image features.
    pub fn detections(&self) -> &People {
        &self.detections
    }

    /// Takes a frame, fills `out` and says what was looked at. `timer` only measures how long the parts
    /// take; it has no say in the result.
    ///
    /// # Errors
    ///
    /// A network gave nothing that can be used. `out` then holds no people and must not be published: it is not
    /// known whether there are any.
    pub fn step(
        &mut self,
        frame: &Frame,
        camera: &Calibration,
        timer: &Clock,
        counters: &Counters,
        out: &mut PoseSample,
    ) -> Result<Seen, InferError> {
        let meta = &frame.meta;
        out.frame_sequence = meta.sequence;
        out.capture = meta.capture;
        out.width_px = meta.width_px;
        out.height_px = meta.height_px;
        out.up_camera = camera.mount().map(Mount::up);
        out.people.clear();
        // If a network fails, observations of the previous frame are not handed out again.
        self.poser.observations.clear();

        let mut watch = Stopwatch::start(timer);
        let (mut find, mut keypoints) = (None, Duration::ZERO);
        let seen = self
            .people
            .step_timed(frame, camera, &mut self.detections, &mut |lap| {
                let took = watch.lap();
                match lap {
                    Lap::FramePreprocess | Lap::FrameNetwork => {
                        *find.get_or_insert(Duration::ZERO) += took;
                    }
                    Lap::PersonPreprocess | Lap::PersonNetwork | Lap::Decode => keypoints += took,
                }
            })?;
        if let Some(find) = find {
            counters.timed(Timed::Find).add(find);
        }
        counters
            .timed(Timed::Keypoints)
            .add(keypoints + watch.lap());

        counters.set_better_turned(seen.better_turned);
        let people = (&self.detections, seen.waiting == 0);
        self.poser
            .step(meta.capture, camera, people, &mut watch, counters, out);
        counters.frame_estimated();
        if let Some(beside) = &mut self.beside {
            let Beside {
                poser,
                counters,
                out: other,
                tell,
            } = beside;
            other.frame_sequence = meta.sequence;
            other.capture = meta.capture;
            (other.width_px, other.height_px) = (meta.width_px, meta.height_px);
            other.people.clear();
            poser.step(meta.capture, camera, people, &mut watch, counters, other);
            tell(other);
        }
        Ok(seen)
    }
}

/// The counter of what keeps a person from having a pose.
const fn lift_fault(error: NoPose<InferError>) -> LiftFault {
    match error {
        NoPose::TooFewSeen => LiftFault::TooFewSeen,
        NoPose::NoRoot => LiftFault::NoRoot,
        NoPose::TimeStoodBack => LiftFault::TimeStoodBack,
        // The engines look for such numbers themselves.
        NoPose::NotFinite | NoPose::Engine(InferError::NotFinite { .. }) => LiftFault::NotFinite,
        NoPose::Engine(_) => LiftFault::Engine,
    }
}

/// The counter of what keeps a frame from having people.
pub const fn frame_fault(error: InferError) -> FrameFault {
    match error {
        InferError::NotFinite { .. } => FrameFault::NotFinite,
        InferError::Engine => FrameFault::Engine,
        InferError::Tensor { .. } => FrameFault::Tensor,
        InferError::Frame { .. } => FrameFault::Frame,
    }
}

/// Durations between calls.
#[derive(Debug)]
pub struct Stopwatch<'a> {
    timer: &'a Clock,
    last: MonoNs,
}

impl<'a> Stopwatch<'a> {
    /// Starts now.
    pub fn start(timer: &'a Clock) -> Self {
        Self {
            timer,
            last: timer.now(),
        }
    }

    /// Time since the last call, or since the start.
    pub fn lap(&mut self) -> Duration {
        let now = self.timer.now();
        let took = now.since(self.last);
        self.last = now;
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::observation::tests::observation;
    use crate::camera::{Distortion, Intrinsics, Origin};
    use crate::pose::{BoxPx, Detection, Keypoint, VISIBILITY_GATE};

    /// What the adapter is told last of a person who stands, and whose ankles are hidden after a second.
    fn told(method: Method, semantics: bool) -> Observation {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config.adapt.method = method;
        config.semantics.enabled = semantics;
        let mut poser = Poser::open(&config).unwrap();
        let lens = Intrinsics {
            fx_px: 500.0,
            fy_px: 500.0,
            cx_px: 320.0,
            cy_px: 240.0,
        };
        let camera = (Distortion::None {}, Origin::Assumed);
        let camera = Calibration::new((640, 480), lens, camera.0, camera.1).unwrap();
        let rays = observation(MonoNs(1), 1).rays;
        let mut last = None;
        for frame in 0..60 {
            let time = MonoNs(1_000_000_000 + 33_333_333 * frame);
            let mut keypoints = rays.map(|ray| {
                let at = camera.pixel(ray.ray);
                Keypoint::new(at.x, at.y, ray.visibility)
            });
            if frame >= 30 {
                keypoints[15].visibility = 0.0;
                keypoints[16].visibility = 0.0;
            }
            let mut people = People::new();
            let bounds = BoxPx::around(&keypoints, VISIBILITY_GATE).unwrap();
            people.extend([Detection {
                score: 0.9,
                bounds,
                keypoints,
                features: None,
            }]);
            if !poser.track(time, &people).is_empty() {
                let mut estimate = poser.lift(time, &camera, 0).ok();
                poser.name(time, &camera, 0, estimate.as_mut());
                last = poser.observations().last().cloned().or(last);
            }
        }
        last.unwrap()
    }

    #[test]
    fn each_reason_for_no_pose_has_its_own_counter() {
        let reasons = [
            NoPose::TooFewSeen,
            NoPose::NoRoot,
            NoPose::TimeStoodBack,
            NoPose::NotFinite,
            NoPose::Engine(InferError::Engine),
        ];
        assert_eq!(reasons.map(lift_fault), LiftFault::ALL);
        // Whichever side of the lifter has found the number.
        let found = NoPose::Engine(InferError::NotFinite { output: 0 });
        assert_eq!(lift_fault(found), LiftFault::NotFinite);
    }

    #[test]
    fn replay_learns_from_poses_without_the_dictionary_and_semantic_from_those_with_it() {
        let without = told(Method::Replay, false);
        assert_eq!(told(Method::Replay, true), without);
        let with = told(Method::Semantic, true);
        assert!(with.joints_camera_m[3].distance(without.joints_camera_m[3]) > 1e-3);
    }
}
