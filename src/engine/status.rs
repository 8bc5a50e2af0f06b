//! Which engine was taken and why, which network runs where, and what is being built.
//!
//! Written by the threads that load, build and run networks, read by the publisher (`/health`) and the log. The thread
//! that runs networks only ever writes one atomic number here.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::select::{ONNXRUNTIME, TENSORRT};
use super::tract;

/// How the engines stand, shared between threads.
#[derive(Debug)]
pub struct EngineStatus {
    engine: &'static str,
    reason: String,
    networks: Mutex<Vec<(&'static str, Arc<Runs>)>>,
    build: Mutex<Option<Building>>,
}

/// An engine that is being built.
#[derive(Clone, Debug, PartialEq)]
pub struct Building {
    /// The network: `person`, `finder` or `lifter`.
    pub network: &'static str,
    /// What the builder is at, in its own words.
    pub phase: String,
    /// How much of that is done, 0 to 1.
    pub done: f32,
    /// Networks that come after this one.
    pub waiting: usize,
}

/// Which engine a network runs in just now.
#[derive(Debug)]
pub struct Runs(AtomicU8);

const NAMES: [&str; 4] = ["none", tract::ENGINE, ONNXRUNTIME, TENSORRT];

impl Runs {
    fn new(engine: &str) -> Self {
        let runs = Self(AtomicU8::new(0));
        runs.set(engine);
        runs
    }

    /// From now on it runs in this engine.
    pub fn set(&self, engine: &str) {
        let at = (0..).zip(NAMES).find(|(_, name)| *name == engine);
        self.0.store(at.map_or(0, |(at, _)| at), Ordering::Relaxed);
    }

    /// Name of the engine.
    pub fn get(&self) -> &'static str {
        NAMES[usize::from(self.0.load(Ordering::Relaxed)) % NAMES.len()]
    }
}

impl Default for EngineStatus {
    /// No engine: for publishers of poses that no network made.
    fn default() -> Self {
        Self::new("none", String::new())
    }
}

impl EngineStatus {
    /// `engine` was taken because of `reason`.
    pub fn new(engine: &'static str, reason: String) -> Self {
        Self {
            engine,
            reason,
            networks: Mutex::default(),
            build: Mutex::default(),
        }
    }

    /// The engine that was taken.
    pub const fn engine(&self) -> &'static str {
        self.engine
    }

    /// Why that one.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// A network runs in `engine`; gives the handle to change that later.
    pub fn runs(&self, network: &'static str, engine: &str) -> Arc<Runs> {
        let mut networks = locked(&self.networks);
        if let Some((_, runs)) = networks.iter().find(|(name, _)| *name == network) {
            runs.set(engine);
            return Arc::clone(runs);
        }
        let runs = Arc::new(Runs::new(engine));
        networks.push((network, Arc::clone(&runs)));
        runs
    }

    /// Each network with the engine that it runs in now, in the order they were loaded.
    pub fn networks(&self) -> Vec<(&'static str, &'static str)> {
        let networks = locked(&self.networks);
        networks
            .iter()
            .map(|(name, runs)| (*name, runs.get()))
            .collect()
    }

    /// The engine that the person network runs in now, or the one that was taken where there is no such network.
    pub fn in_use(&self) -> &'static str {
        let networks = locked(&self.networks);
        let person = networks.iter().find(|(name, _)| *name == "person");
        person.map_or(self.engine, |(_, runs)| runs.get())
    }

    /// What is being built now.
    pub fn building(&self) -> Option<Building> {
        locked(&self.build).clone()
    }

    /// Says what is being built from now on.
    pub fn set_building(&self, building: Option<Building>) {
        *locked(&self.build) = building;
    }
}

/// The lock covers whole values, which cannot be left half written.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_network_speaks_for_all() {
        let status = EngineStatus::new("tensorrt", "auto".into());
        assert_eq!(status.in_use(), "tensorrt");
        status.runs("finder", "tensorrt");
        let person = status.runs("person", "tract");
        assert_eq!(status.in_use(), "tract");
        person.set("tensorrt");
        assert_eq!(status.in_use(), "tensorrt");
        assert_eq!(
            status.networks(),
            [("finder", "tensorrt"), ("person", "tensorrt")]
        );
        assert_eq!(EngineStatus::default().in_use(), "none");
    }
}
