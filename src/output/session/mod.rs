//! Exercise sessions of a kiosk: started and stopped over Zenoh, summed up as JSON and as a page to print.
//!
//! ```text
//!  publish thread          thread `session`                    threads of Zenoh
//!  Sink ─▶ Collector ◀──── start, stop, longest time ◀─ queue ── SessionDesk ◀── query of /session
//!          (one lock,              └─▶ summary ─▶ JSON, page ──────▶ └────────── /session/summary, /page
//!          only tried)                             └─▶ folder, if one is configured
//! ```
//!
//! The publish thread only adds a frame's angles to memory that the session's thread has reserved. Rendering, files and
//! answers are on that thread. `docs/guide/session.md` is the reference.

mod config;
mod desk;
mod keep;
mod page;
mod plot;
mod queries;
mod summary;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, TryLockError};

use super::sink::{Message, Priority, Sink, SinkThread};
use crate::base::clock::Clock;
use crate::motion::exercise::Exercise;
use crate::motion::session::{Collector, Summary};
use keep::Keep;
use thread::Worker;

pub use config::SessionsConfig;
pub use desk::{
    Request, SESSION_SCHEMA, SessionAnswer, SessionCommand, SessionDesk, SessionOutcome,
    SessionState,
};
pub(super) use queries::{Queries, declare};
pub use summary::SUMMARY_SCHEMA;

/// What can keep sessions from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionsError {
    /// The system has no room for a thread.
    #[error("the thread for sessions does not start")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// Exercises that a session may have.
#[derive(Clone, Debug, Default)]
pub struct Offered {
    /// All of the exercises file, by name.
    pub exercises: BTreeMap<String, Exercise>,
    /// `[exercise] name`: the one of a session that names none.
    pub usual: Option<String>,
}

/// A summary, in both forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// `session_summary/v1`, JSON of one line.
    pub json: String,
    /// A page to print: one HTML file that loads nothing.
    pub html: String,
}

impl Rendered {
    /// Renders a summary. `source` is the camera's name or that of a film; `started_unix_ns` is when it began, wall
    /// time, where that is known.
    pub fn of(summary: &Summary, source: &str, started_unix_ns: Option<u64>) -> Self {
        Self {
            json: summary::json(summary, source, started_unix_ns),
            html: page::page(summary, source, started_unix_ns),
        }
    }
}

/// What the publish thread shares with that of sessions.
#[derive(Debug, Default)]
struct Link {
    /// The session under way. Held for one frame, or for the move of a box.
    under_way: Mutex<Option<Box<Collector>>>,
    /// Whether one is: without one, the publish thread takes no lock.
    running: AtomicBool,
    /// Frames that found the lock taken.
    missed: AtomicU64,
    /// Ends the thread.
    stop: AtomicBool,
}

/// Sessions. They can be started until this is dropped; hand it to [`Publisher::also`](super::Publisher::also), and
/// [`Sessions::desk`] to the outlet.
#[derive(Debug)]
pub struct Sessions {
    link: Arc<Link>,
    desk: Arc<SessionDesk>,
    thread: SinkThread,
}

impl Sessions {
    /// Starts the thread; `None` where the configuration does not want sessions.
    ///
    /// # Errors
    ///
    /// [`SessionsError`] where the thread does not start.
    pub fn open(
        config: &SessionsConfig,
        offered: Offered,
        camera: &str,
        clock: &Arc<Clock>,
    ) -> Result<Option<Self>, SessionsError> {
        if !config.enabled {
            return Ok(None);
        }
        let link = Arc::<Link>::default();
        let (asks, waiting) = sync_channel(desk::WAITING_MAX);
        let desk = Arc::new(SessionDesk::new(asks, Arc::clone(clock)));
        let keep = |folder: &std::path::PathBuf| Keep::new(folder, camera, config.bounds());
        let worker = Worker::new(
            Arc::clone(&link),
            Arc::clone(&desk),
            Arc::clone(clock),
            thread::Place {
                camera: camera.to_owned(),
                longest: config.longest(),
                offered,
                keep: config.folder.as_ref().map(keep),
            },
        );
        let work = move || worker.run(&waiting);
        let thread = SinkThread::start("session", Priority::Normal, work)
            .map_err(|source| SessionsError::Thread { source })?;
        Ok(Some(Self { link, desk, thread }))
    }

    /// Where requests are to arrive.
    pub fn desk(&self) -> Arc<SessionDesk> {
        Arc::clone(&self.desk)
    }
}

impl Sink for Sessions {
    fn take(&mut self, message: &Message<'_>) {
        let Message::Pose { sample, .. } = message else {
            return;
        };
        if !self.link.running.load(Ordering::Acquire) {
            return;
        }
        let mut under_way = match self.link.under_way.try_lock() {
            Ok(under_way) => under_way,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.link.missed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        if let Some(collector) = under_way.as_mut() {
            collector.add(sample.capture, &sample.people, sample.up_camera);
        }
    }

    fn leave(&mut self) {
        self.link.stop.store(true, Ordering::Release);
        self.desk.leave();
        self.thread.leave();
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.leave();
        self.thread
            .end("the disk is slow; the last summary may be missing");
    }
}
