//! The adapter's thread: takes sights, works as long as its share of a core lasts, hands heads over.
//!
//! ```text
//!   estimate ── sights ──▶ Worker ── heads ──▶ estimate
//!                            ▲ │
//!      Zenoh ── commands ────┘ └── report ──▶ publish
//! ```
//!
//! Nobody waits for it: sights that find no room are left out, a head is taken when the estimate
//! thread looks, and steps that do not fit into the budget are let go.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::control::Control;
use super::state::State;
use super::{AdaptConfig, Adapter, Command, Mode, Report, Sight};
use crate::clock::{Clock, MonoNs};
use crate::lift::head::Head;
use crate::pipeline::mailbox::{Mailbox, Put};
use crate::pipeline::slots::Receiver;
use crate::sys::rt::{stand_back, thread_cpu_ns};

/// Longest sleep of the thread; a sight wakes it earlier.
const WAIT: Duration = Duration::from_millis(20);

/// Most of the budget that is saved up, seconds of processor time: a decision of the guard.
const SAVED_MAX_S: f32 = 0.05;

/// What the thread and the others hand each other.
#[derive(Debug, Default)]
pub struct Link {
    /// Heads for the estimate thread.
    pub heads: Mailbox<Arc<Head>>,
    /// Heads that the estimate thread no longer needs: freed here, not there.
    pub retired: Mailbox<Arc<Head>>,
    /// How it stands, for the publisher.
    pub reports: Mailbox<Report>,
    /// People of frames that found no room.
    pub untold: AtomicU64,
}

/// The adapter and what it needs on the device.
#[derive(Debug)]
pub struct Worker {
    adapter: Adapter,
    core_share: f32,
    path: Option<PathBuf>,
    /// Time between two writings of what was learned.
    write_every: Duration,
    link: Arc<Link>,
    control: Option<Arc<Control>>,
    /// A head that found the mailbox taken.
    pending: Option<Arc<Head>>,
    /// Steps of what was written last, and when.
    written: (u64, MonoNs),
    mode: Mode,
}

impl Worker {
    /// Takes up what was kept at `config.state`. A file that is broken or belongs to other networks is
    /// named in the log and left where it is until something has been learned; learning then begins anew.
    pub fn new(config: &AdaptConfig, mut adapter: Adapter, now: MonoNs) -> Self {
        if let Some(path) = &config.state {
            let wrong = |path: &std::path::Path, error: &super::state::StateError| {
                log::warn!("{}: {error}; going on without it", path.display());
            };
            if let Some(state) = State::read(path, adapter.networks(), wrong) {
                log::info!("{}: going on from {} steps", path.display(), state.steps);
                adapter.resume(&state);
            }
        }
        let report = adapter.report();
        Self {
            adapter,
            core_share: config.core_share,
            path: config.state.clone(),
            write_every: Duration::from_secs(config.state_every_s.into()),
            link: Arc::default(),
            control: None,
            pending: None,
            written: (report.steps, now),
            mode: report.mode,
        }
    }

    /// What others hold of it.
    pub fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// From now on does what comes in on `control`.
    pub fn obey(&mut self, control: Arc<Control>) {
        self.control = Some(control);
    }

    /// Learns until `ended` is set, then writes what was learned.
    pub fn run(mut self, mut sights: Receiver<'_, Sight>, clock: &Clock, ended: &AtomicBool) {
        if let Err(error) = stand_back() {
            log::debug!("learning keeps its priority: {error}");
        }
        let mut budget_s = SAVED_MAX_S;
        let mut last = clock.now();
        loop {
            let ending = ended.load(Ordering::Acquire);
            while let Some(sight) = sights.take() {
                self.adapter.take(&sight);
                sights.give_back(sight);
            }
            let now = clock.now();
            budget_s =
                (budget_s + self.core_share * now.since(last).as_secs_f32()).min(SAVED_MAX_S);
            last = now;
            budget_s -= self.work(budget_s);
            self.tend(now);
            if ending {
                self.write(now);
                return;
            }
            sights.wait(WAIT);
        }
    }

    /// Works while `budget_s` lasts; gives the processor time that it took, seconds.
    fn work(&mut self, budget_s: f32) -> f32 {
        let begun = thread_cpu_ns();
        #[expect(clippy::cast_precision_loss, reason = "a few milliseconds")]
        let spent_s = || (thread_cpu_ns() - begun) as f32 * 1e-9;
        while spent_s() < budget_s && self.adapter.work() {}
        if let Some(head) = self.adapter.decide() {
            self.hand_over(head);
        }
        spent_s()
    }

    fn hand_over(&mut self, head: Arc<Head>) {
        match self.link.heads.put(head) {
            Put::Stored | Put::Replaced(_) => self.pending = None,
            Put::Busy(head) => self.pending = Some(head),
        }
    }

    /// Commands, what is to be handed over again, what is to be said and written.
    fn tend(&mut self, now: MonoNs) {
        if let Some(head) = self.pending.take() {
            self.hand_over(head);
        }
        drop(self.link.retired.take());
        if let Some(command) = self.control.as_ref().and_then(|control| control.take()) {
            log::info!("adaptation: {}", command.name());
            if let Some(head) = self.adapter.obey(command) {
                self.hand_over(head);
            }
            match command {
                Command::Snapshot => self.write(now),
                Command::Reset => self.forget(now),
                Command::Freeze | Command::Thaw | Command::RollBack => {}
            }
        }
        let report = self.adapter.report();
        if report.mode != self.mode {
            self.mode = report.mode;
            match report.finding {
                Some(found) => log::info!(
                    "adaptation: {}, generation {}; error on echoes {:.0} mm, the factory's {:.0} mm",
                    report.mode.name(),
                    report.generation,
                    1e3 * found.candidate_m,
                    1e3 * found.factory_m
                ),
                None => log::info!("adaptation: {}", report.mode.name()),
            }
        }
        // Where the publisher is just taking, the next one will do.
        let _ = self.link.reports.put(report);
        let due = now.since(self.written.1) >= self.write_every;
        if due && report.steps != self.written.0 {
            self.write(now);
        }
    }

    /// What was kept is not to come back.
    fn forget(&mut self, now: MonoNs) {
        self.written = (0, now);
        if let Some(path) = &self.path
            && let Err(error) = super::state::remove(path)
        {
            log::error!("{error}: what was learned may come back");
        }
    }

    fn write(&mut self, now: MonoNs) {
        self.written = (self.adapter.report().steps, now);
        let Some(path) = &self.path else { return };
        // Nothing was learned, so what may lie there is not to be replaced.
        let Some(state) = self.adapter.state() else {
            return;
        };
        if let Err(error) = state.write(path, self.adapter.networks()) {
            log::error!("{error}: what was learned is not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::estimate::{EstimateConfig, Poser};

    #[test]
    fn how_often_it_is_written_is_a_key_with_a_range() {
        let config: AdaptConfig = toml::from_str("state_every_s = 3600").unwrap();
        config.validate().unwrap();
        assert_eq!(config.state_every_s, 3600);
        for wrong in [0, 9, 86_401] {
            let config = AdaptConfig {
                state_every_s: wrong,
                ..AdaptConfig::default()
            };
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("adapt.state_every_s"), "{error}");
        }
    }

    fn worker(path: &std::path::Path) -> Worker {
        let mut config = EstimateConfig::default();
        config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
        config.semantics.enabled = false;
        config.adapt.state = Some(path.to_owned());
        let adapter = Poser::open(&config).unwrap().adapter(1).unwrap().unwrap();
        Worker::new(&config.adapt, adapter, MonoNs(0))
    }

    #[test]
    fn a_file_that_cannot_be_read_stays_until_something_was_learned_or_somebody_says_reset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.adapted");
        std::fs::write(&path, "of another program").unwrap();
        let mut worker = worker(&path);
        worker.write(MonoNs(1));
        assert_eq!(std::fs::read(&path).unwrap(), b"of another program");
        worker.forget(MonoNs(2));
        assert!(!path.exists());
        // Where nothing is kept, it is not tried again and again.
        worker.path = None;
        worker.write(MonoNs(3));
        assert_eq!(worker.written.1, MonoNs(3));
    }
}
