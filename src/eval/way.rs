//! One way from keypoints to poses: the daemon's poser with what a method sets.

use std::time::Duration;

use super::Method;
use crate::adapt::{self, Adapter};
use crate::calibration::Calibration;
use crate::clock::MonoNs;
use crate::error::StartError;
use crate::lift::Estimate;
use crate::limits::PEOPLE_MAX;
use crate::pipeline::estimate::{EstimateConfig, Poser};
use crate::pose::{BoxPx, People};
use crate::sys::rt::thread_cpu_ns;
use crate::track::smooth::OneEuroConfig;

/// The smoothing that goes with the lifter's own output. The refined output is less steady and is
/// smoothed more; with the factory's filter its acceleration error would be 14 % larger.
const FACTORY_SMOOTHING: OneEuroConfig = OneEuroConfig {
    min_cutoff_hz: 3.0,
    cutoff_per_speed: 10.0,
    speed_cutoff_hz: 1.0,
};

/// Somebody who was followed in a frame.
#[derive(Debug)]
pub(super) struct Followed {
    /// Who it is.
    pub id: u32,
    /// The detection's box.
    pub bounds: BoxPx,
    /// The pose, where there is one.
    pub estimate: Option<Estimate>,
}

/// A poser that has seen nobody, and what learns beside it.
pub(super) struct Way {
    poser: Poser,
    adapter: Option<Adapter>,
    learning_ns: u64,
}

impl Way {
    /// Opened anew, so that nobody sees what another left behind.
    pub(super) fn open(
        config: &EstimateConfig,
        method: Method,
        seed: u64,
    ) -> Result<Self, StartError> {
        let mut config = config.clone();
        config.adapt.method = match method {
            Method::Factory => adapt::Method::Off,
            Method::Latent | Method::Floor | Method::Complete => adapt::Method::Latent,
            Method::Reprojection => adapt::Method::Reprojection,
            Method::Cycle => adapt::Method::Cycle,
            Method::Replay => adapt::Method::Replay,
            Method::Semantic => adapt::Method::Semantic,
        };
        if method == Method::Factory {
            config.lift.smooth_joints = FACTORY_SMOOTHING;
        }
        config.semantics.enabled = matches!(method, Method::Complete | Method::Semantic);
        let poser = Poser::open(&config)?;
        let adapter = poser.adapter(seed)?;
        Ok(Self {
            poser,
            adapter,
            learning_ns: 0,
        })
    }

    /// A frame through everything behind the 2D networks, and what the adapter does after it.
    pub(super) fn frame(
        &mut self,
        time: MonoNs,
        calibration: &Calibration,
        people: &People,
    ) -> heapless::Vec<Followed, PEOPLE_MAX> {
        let tracked = self.poser.track(time, people);
        let mut followed: heapless::Vec<Followed, PEOPLE_MAX> = tracked
            .iter()
            .map(|person| Followed {
                id: person.id,
                bounds: person.detection.bounds,
                estimate: None,
            })
            .collect();
        for (place, person) in followed.iter_mut().enumerate() {
            let mut estimate = self.poser.lift(time, calibration, place);
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

    /// Processor time of learning so far, seconds; `None` for a way that does not learn.
    pub(super) fn learning_s(&self) -> Option<f64> {
        let spent = Duration::from_nanos(self.learning_ns).as_secs_f64();
        self.adapter.is_some().then_some(spent)
    }

    /// Whether the likeliest entry is one of a motion's actions, and whether one of the
    /// likeliest five is; `None` where nobody names, or none of the actions has an entry with motion.
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
