//! One method of the accuracy table: the daemon's poser with the settings of that method.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use minicbor::Encoder;

use super::Method;
use super::simulate::hash;
use crate::adapt::{self, Adapter};
use crate::base::clock::{Clock, MonoNs};
use crate::base::limits::PEOPLE_MAX;
use crate::camera::Calibration;
use crate::error::StartError;
use crate::estimate::{EstimateConfig, Poser};
use crate::lift::Estimate;
use crate::motion::hint::Hints;
use crate::pose::{BoxPx, People};
use crate::sys::rt::thread_cpu_ns;
use crate::track::smooth::OneEuroConfig;

/// The smoothing that goes with the lifter's own output. The refined output is less steady and is
/// smoothed more; of one inference, with the factory filter, its acceleration error would be 14 % larger.
const FACTORY_SMOOTHING: OneEuroConfig = OneEuroConfig {
    min_cutoff_hz: 3.0,
    cutoff_per_speed: 10.0,
    speed_cutoff_hz: 1.0,
};

/// How often a hint is said again.
const HINT_EVERY: Duration = Duration::from_secs(1);

/// How long each hint holds, seconds: until the next, and not into the next motion, which comes
/// four seconds later.
const HINT_FOR_S: f64 = 1.5;

/// A person tracked in a frame.
#[derive(Debug)]
pub(super) struct Followed {
    /// Who it is.
    pub id: u32,
    /// The detection's box.
    pub bounds: BoxPx,
    /// The pose, where there is one.
    pub estimate: Option<Estimate>,
}

/// A new poser, and the adapter beside it.
pub(super) struct MethodRun {
    poser: Poser,
    adapter: Option<Adapter>,
    learning_ns: u64,
    blind: bool,
    hints: Option<Arc<Hints>>,
    /// Stands at the newest frame; hints hold from there.
    clock: Arc<Clock>,
    next_hint: MonoNs,
}

impl MethodRun {
    /// Opens a new poser, so that no run sees the state of another.
    pub(super) fn open(
        config: &EstimateConfig,
        method: Method,
        seed: u64,
    ) -> Result<Self, StartError> {
        let mut config = config.clone();
        config.adapt.method = match method {
            Method::Factory | Method::FactoryBlind => adapt::Method::Off,
            Method::Latent | Method::Floor | Method::Complete => adapt::Method::Latent,
            Method::Reprojection => adapt::Method::Reprojection,
            Method::Cycle | Method::CycleUnguarded => adapt::Method::Cycle,
            Method::Replay => adapt::Method::Replay,
            Method::Semantic
            | Method::SemanticFloor
            | Method::SemanticTrue
            | Method::SemanticShuffled
            | Method::SemanticNone
            | Method::SemanticBlind => adapt::Method::Semantic,
            Method::Sem
            | Method::SemTrue
            | Method::SemShuffled
            | Method::SemNone
            | Method::SemUnguarded => adapt::Method::Sem,
            Method::Align => adapt::Method::Align,
            Method::Update => adapt::Method::Update,
            Method::Gpa | Method::GpaUnguarded => adapt::Method::Gpa,
            Method::GpaReplay => adapt::Method::GpaReplay,
        };
        if config.adapt.method == adapt::Method::Off {
            config.lift.smooth_joints = FACTORY_SMOOTHING;
        }
        let completes =
            method == Method::Complete || config.adapt.method == adapt::Method::Semantic;
        // The others that need names are compared with `latent` and `replay`, so they complete nothing.
        config.semantics.completes = completes;
        config.semantics.enabled = completes || config.adapt.method.needs_labels();
        config.semantics.labels = !method.has_no_labels();
        let mut poser = Poser::open(&config)?;
        let mut adapter = poser.adapter(seed)?;
        if method.is_unguarded() {
            adapter = adapter.map(Adapter::without_guard);
        }
        let clock = Arc::new(Clock::standing(MonoNs(0)));
        let hints = method.is_told().then(|| poser.hear_hints(&clock)).flatten();
        Ok(Self {
            poser,
            adapter,
            learning_ns: 0,
            blind: method.is_blind(),
            hints,
            clock,
            next_hint: MonoNs(0),
        })
    }

    /// What a motion (its name and actions) is called in hints: one of its actions, or of those of
    /// `others` one that it is not. `None` if nothing is said, or no action is in the dictionary.
    pub(super) fn told<'a, I: Iterator<Item = &'a String>>(
        &self,
        method: Method,
        seed: u64,
        (id, actions): (&str, &'a [String]),
        others: impl FnOnce() -> I,
    ) -> Option<&'a str> {
        let entries = self.poser.semantics()?.dictionary().entries();
        let known = |phrase: &&String| {
            let entry = entries.iter().find(|entry| entry.phrase == **phrase);
            entry.is_some_and(|entry| entry.windows > 0)
        };
        let own = actions.iter().find(known)?;
        match method {
            Method::SemanticTrue | Method::SemTrue => Some(own),
            Method::SemanticShuffled | Method::SemShuffled => {
                let wrong = others().filter(|phrase| !actions.contains(phrase));
                let wrong: Vec<&String> = wrong.filter(known).collect();
                let mut rng = Rng::with_seed(seed ^ hash(id));
                rng.choice(wrong).map(String::as_str)
            }
            _ => None,
        }
    }

    /// Gives a hint of what a person does at `time`, as it comes over Zenoh; once a second is enough.
    pub(super) fn tell(&mut self, time: MonoNs, label: &str) {
        let Some(hints) = &self.hints else {
            return;
        };
        if time < self.next_hint && time.plus(HINT_EVERY) >= self.next_hint {
            return;
        }
        self.clock.set(time);
        self.next_hint = time.plus(HINT_EVERY);
        let mut cbor = Encoder::new(Vec::new());
        let written = cbor
            .map(2)
            .and_then(|cbor| cbor.str("label")?.str(label)?.str("for_s")?.f64(HINT_FOR_S));
        debug_assert!(written.is_ok(), "there is room in memory");
        hints.receive(&cbor.into_writer());
    }

    /// A frame through everything behind the 2D networks, and what the adapter does after it.
    pub(super) fn frame(
        &mut self,
        time: MonoNs,
        calibration: &Calibration,
        people: &People,
    ) -> heapless::Vec<Followed, PEOPLE_MAX> {
        let mut people = people.clone();
        if self.blind {
            for person in &mut people {
                person.features = None;
            }
        }
        let tracked = self.poser.track(time, &people);
        let mut followed: heapless::Vec<Followed, PEOPLE_MAX> = tracked
            .iter()
            .map(|person| Followed {
                id: person.id,
                bounds: person.detection.bounds,
                estimate: None,
            })
            .collect();
        for (place, person) in followed.iter_mut().enumerate() {
            let mut estimate = self.poser.lift(time, calibration, place).ok();
            self.poser.name(time, calibration, place, estimate.as_mut());
            person.estimate = estimate;
        }
        if let Some(adapter) = &mut self.adapter {
            let begun = thread_cpu_ns();
            self.poser.learn(adapter);
            self.learning_ns += thread_cpu_ns() - begun;
        }
        followed
    }

    /// Processor time of learning so far, seconds; `None` for a method that does not learn.
    pub(super) fn learning_s(&self) -> Option<f64> {
        let spent = Duration::from_nanos(self.learning_ns).as_secs_f64();
        self.adapter.is_some().then_some(spent)
    }

    /// Whether the likeliest entry is one of a motion's actions, and whether one of the
    /// likeliest five is; `None` if nothing names actions, or none of the actions has an entry with motion.
    pub(super) fn named(&self, id: u32, actions: &[String]) -> Option<[bool; 2]> {
        let semantics = self.poser.semantics()?;
        let probabilities = semantics.probabilities(id)?;
        let entries = semantics.dictionary().entries();
        let right = |at: usize| actions.contains(&entries[at].phrase);
        if !(0..entries.len()).any(|at| entries[at].windows > 0 && right(at)) {
            return None;
        }
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        Some([right(order[0]), order.iter().take(5).any(|at| right(*at))])
    }
}
