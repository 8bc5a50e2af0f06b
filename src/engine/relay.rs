//! A network that runs on the processor until its engine for the GPU is built, and in that one from then on.
//!
//! ```text
//!   estimate ─▶ Relay ─▶ CPU engine                Builder ─▶ builds, one network after the other
//!                 ▲  └──────── old one ───────────▶  │
//!                 └─────────── new one ◀─────────────┘
//! ```
//!
//! Building takes minutes on a small device, so it happens on a thread of its own. The thread that runs the
//! network looks into a mailbox before each run and never waits; the network it no longer needs goes back
//! through another one, to be freed over there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::network::{InferError, Input, Network, TensorSpec};
use super::status::{Building, EngineStatus, Runs};
use crate::base::clock::Clock;
use crate::base::mailbox::{Mailbox, Put};
use crate::engine::models::ModelError;

/// Time between two lines in the log while something is being built.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Time between two checks whether a network was taken or the daemon is to leave.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How far a build has come: the builder's word for what it does, and how much of that is done, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// What it is at.
    pub phase: &'a str,
    /// How much of that is done.
    pub done: f32,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A stop was requested.
    #[error("stopped before it was built")]
    Cancelled,
    /// The engine refuses the network, or cannot build it.
    #[error(transparent)]
    Failed(#[from] ModelError),
    /// The GPU has no room for it.
    #[error(transparent)]
    NoRoom(#[from] InferError),
}

/// Builds an engine. Tells how far it has come, and stops where the answer is `false`.
pub type Build = Box<
    dyn FnOnce(&mut dyn FnMut(Progress<'_>) -> bool) -> Result<Box<dyn Network>, BuildError> + Send,
>;

/// Where one use of a network gets its successor.
#[derive(Default)]
struct Place {
    new: Mailbox<Box<dyn Network>>,
    old: Mailbox<Box<dyn Network>>,
}

/// The uses of a network; `None` once the successors have been handed out.
type Places = Mutex<Option<Vec<Arc<Place>>>>;

/// What runs on the processor for now.
struct Relay {
    current: Box<dyn Network>,
    place: Arc<Place>,
    places: Arc<Places>,
    runs: Arc<Runs>,
}

/// A network that is to be built.
pub struct Job {
    network: &'static str,
    build: Build,
    places: Arc<Places>,
}

/// A network that runs in `cpu` until the job has run, and what `build` gives from then on.
pub fn pair(
    network: &'static str,
    cpu: Box<dyn Network>,
    build: Build,
    status: &EngineStatus,
) -> (Box<dyn Network>, Job) {
    let place = Arc::<Place>::default();
    let places = Arc::new(Mutex::new(Some(vec![Arc::clone(&place)])));
    let relay = Relay {
        runs: status.runs(network, cpu.engine()),
        current: cpu,
        place,
        places: Arc::clone(&places),
    };
    let job = Job {
        network,
        build,
        places,
    };
    (Box::new(relay), job)
}

impl Relay {
    /// Changes over where the successor has come. Never waits.
    fn change_over(&mut self) {
        if let Some(new) = self.place.new.take() {
            let old = std::mem::replace(&mut self.current, new);
            self.runs.set(self.current.engine());
            // One successor comes, so the way back is free.
            let _ = self.place.old.put(old);
        }
    }
}

impl Network for Relay {
    fn inputs(&self) -> &[TensorSpec] {
        self.current.inputs()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.current.outputs()
    }

    fn engine(&self) -> &'static str {
        self.current.engine()
    }

    /// Another use, which gets a successor of its own if the job has not run yet.
    fn share(&self) -> Result<Box<dyn Network>, InferError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(places) = places.as_mut() else {
            // The successors have been handed out: it shares ours, wherever that lies.
            let Some(new) = self.place.new.take() else {
                return self.current.share();
            };
            let shared = new.share();
            // Only `change_over` takes from there, and it borrows this relay alone.
            let _ = self.place.new.put(new);
            return shared;
        };
        let current = self.current.share()?;
        let place = Arc::<Place>::default();
        places.push(Arc::clone(&place));
        Ok(Box::new(Self {
            current,
            place,
            places: Arc::clone(&self.places),
            runs: Arc::clone(&self.runs),
        }))
    }

    fn run_into(
        &mut self,
        inputs: &[Input<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        self.change_over();
        self.current.run_into(inputs, outputs)
    }
}

/// Builds what the GPU still lacks, one network after the other, beside the daemon.
pub struct Builder {
    jobs: Vec<Job>,
    status: Arc<EngineStatus>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("networks", &self.networks())
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) const fn new(jobs: Vec<Job>, status: Arc<EngineStatus>) -> Self {
        Self { jobs, status }
    }

    /// The networks that are to be built.
    pub fn networks(&self) -> Vec<&'static str> {
        self.jobs.iter().map(|job| job.network).collect()
    }

    /// Builds all, and stays until the networks that are no longer needed have come back, so that they are freed
    /// here and not on the thread that ran them. Leaves soon after `stop` is set.
    pub fn run(self, stop: &AtomicBool) {
        let (mut places, _) = self.build(stop);
        while !places.is_empty() && !stop.load(Ordering::Acquire) {
            std::thread::sleep(LOOK_EVERY);
            places.retain(|place| place.old.take().is_none());
        }
    }

    /// As [`Builder::run`], for a caller that runs the networks itself, afterwards or never, so that none come back.
    /// Gives what was not built and why.
    pub fn run_alone(self, stop: &AtomicBool) -> Vec<String> {
        self.build(stop).1
    }

    /// Builds all and hands the networks out; gives the places that have got one, and what was not built.
    fn build(self, stop: &AtomicBool) -> (Vec<Arc<Place>>, Vec<String>) {
        let (mut handed, mut failed) = (Vec::new(), Vec::new());
        let mut waiting = self.jobs.len();
        for job in self.jobs {
            waiting -= 1;
            let network = job.network;
            let built = if stop.load(Ordering::Acquire) {
                Err(BuildError::Cancelled)
            } else {
                build_one(job, waiting, &self.status, stop)
            };
            match built {
                Ok(places) => handed.extend(places),
                Err(error) => {
                    log::warn!("{network}: {error}; it goes on in the CPU engine");
                    failed.push(format!("{network}: {error}"));
                }
            }
        }
        self.status.set_building(None);
        (handed, failed)
    }
}

/// Builds one network and hands it to every use of it.
fn build_one(
    job: Job,
    waiting: usize,
    status: &EngineStatus,
    stop: &AtomicBool,
) -> Result<Vec<Arc<Place>>, BuildError> {
    let network = job.network;
    log::info!("{network}: building its engine; {waiting} more after it");
    let clock = Clock::live();
    let begun = clock.now();
    let mut said = begun;
    let mut tell = |progress: Progress<'_>| {
        status.set_building(Some(Building {
            network,
            phase: progress.phase.to_owned(),
            done: progress.done.clamp(0.0, 1.0),
            waiting,
        }));
        let now = clock.now();
        if now.since(said) >= LOG_EVERY {
            said = now;
            let percent = 100.0 * progress.done;
            log::info!("{network}: {}, {percent:.0} %", progress.phase);
        }
        !stop.load(Ordering::Acquire)
    };
    tell(Progress {
        phase: "begun",
        done: 0.0,
    });
    let built = (job.build)(&mut tell)?;
    let seconds = clock.now().seconds_after(begun);
    log::info!("{network}: built in {seconds:.1} s");
    Ok(hand_out(built.as_ref(), &job.places)?)
}

/// A use of the new network for every use of the old one.
fn hand_out(built: &dyn Network, places: &Places) -> Result<Vec<Arc<Place>>, InferError> {
    let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
    let uses = places.as_deref().unwrap_or_default();
    // All of them first, so that either all change over or none.
    let successors = uses.iter().map(|_| built.share());
    let successors = successors.collect::<Result<Vec<_>, _>>()?;
    let uses = places.take().unwrap_or_default();
    for (place, mut new) in uses.iter().zip(successors) {
        // The other side may just be looking.
        while let Put::Busy(again) = place.new.put(new) {
            new = again;
            std::thread::yield_now();
        }
    }
    Ok(uses)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network without tensors that says which engine it is.
    struct Named(&'static str);

    impl Network for Named {
        fn inputs(&self) -> &[TensorSpec] {
            &[]
        }
        fn outputs(&self) -> &[TensorSpec] {
            &[]
        }
        fn engine(&self) -> &'static str {
            self.0
        }
        fn share(&self) -> Result<Box<dyn Network>, InferError> {
            Ok(Box::new(Self(self.0)))
        }
        fn run_into(&mut self, _: &[Input<'_>], _: &mut [Vec<f32>]) -> Result<(), InferError> {
            Ok(())
        }
    }

    fn builder(build: Build) -> (Box<dyn Network>, Builder, Arc<EngineStatus>) {
        let status = Arc::new(EngineStatus::new("tensorrt", String::new()));
        let (relay, job) = pair("person", Box::new(Named("tract")), build, &status);
        (relay, Builder::new(vec![job], Arc::clone(&status)), status)
    }

    #[test]
    fn each_use_changes_over_at_its_next_run_and_not_before() {
        let (mut first, builder, status) = builder(Box::new(|_| Ok(Box::new(Named("tensorrt")))));
        let mut second = first.share().unwrap();
        first.run_into(&[], &mut []).unwrap();
        assert_eq!((first.engine(), status.in_use()), ("tract", "tract"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| builder.run(&stop));
            for network in [&mut first, &mut second] {
                while network.engine() == "tract" {
                    network.run_into(&[], &mut []).unwrap();
                    std::thread::yield_now();
                }
            }
            // The builder leaves by itself: both old networks have come back.
        });
        assert_eq!(status.in_use(), "tensorrt");
        assert_eq!(status.building(), None);
    }

    #[test]
    fn a_stop_reaches_the_build_and_the_old_network_goes_on() {
        let stop = AtomicBool::new(false);
        let (mut relay, builder, status) = builder(Box::new(|tell| {
            let mut steps = 0.0;
            loop {
                steps += 1.0;
                let progress = Progress {
                    phase: "layers",
                    done: steps / 1e6,
                };
                if !tell(progress) {
                    return Err(BuildError::Cancelled);
                }
            }
        }));
        std::thread::scope(|scope| {
            scope.spawn(|| builder.run(&stop));
            loop {
                let building = status.building();
                if building.is_some_and(|b| b.phase == "layers" && b.network == "person") {
                    break;
                }
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Release);
        });
        relay.run_into(&[], &mut []).unwrap();
        assert_eq!(relay.engine(), "tract");
        assert_eq!(status.building(), None);
    }

    #[test]
    fn a_build_that_fails_leaves_the_old_network_running() {
        let (mut relay, builder, status) = builder(Box::new(|_| Err(BuildError::Cancelled)));
        builder.run(&AtomicBool::new(false));
        relay.run_into(&[], &mut []).unwrap();
        assert_eq!(status.in_use(), "tract");
    }

    #[test]
    fn who_comes_late_shares_what_runs() {
        let (mut relay, builder, _) = builder(Box::new(|_| Ok(Box::new(Named("tensorrt")))));
        let failed = builder.run_alone(&AtomicBool::new(false));
        assert!(failed.is_empty());
        assert_eq!(relay.share().unwrap().engine(), "tensorrt");
        relay.run_into(&[], &mut []).unwrap();
        assert_eq!(relay.share().unwrap().engine(), "tensorrt");
    }
}
