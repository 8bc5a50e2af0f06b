//! The web view: one page that shows tracked people, the same as JSON, and metrics for Prometheus.
//!
//! | path | what |
//! | --- | --- |
//! | `/`, `/view.js`, `/view.css` | the page |
//! | `/poised.js` | the JavaScript client (`clients/js`), which the page and pages behind the same proxy use |
//! | `/live` | server-sent events of JSON: `names`, `event`, `health`, `adaptation`, `pose`; from `poised calibrate --web`: `guidance` |
//! | `/metrics` | metrics for Prometheus |
//!
//! No images: there is no code that serves one. Read-only: GET and HEAD. `docs/guide/web.md` is the reference.
//!
//! All of it runs on one thread of the lowest priority, which has a tokio runtime of its own (ADR 15). The publish
//! thread leaves messages in a mailbox and never waits.

mod board;
mod config;
mod guard;
mod serve;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::listen;
use super::sink::{Message, Priority, Sink, SinkThread};
use crate::base::clock::{Clock, unix_ns};
use crate::counters::Counters;
use crate::engine::EngineStatus;
use board::{Link, RARE_MAX, Rare, Sender};
use serve::Site;

pub use config::{Token, WebConfig};
pub use guard::Refusal;

/// What can keep the web view from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// The address is of another machine, or taken.
    #[error("web.listen = \"{listen}\": cannot listen there")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no room for a thread or its timer.
    #[error("the web view's thread does not start")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// What the web view shows beside the messages.
#[derive(Clone, Debug)]
pub struct About {
    /// The camera's name.
    pub camera: String,
    /// What runs the networks.
    pub engine: Arc<EngineStatus>,
    /// What all threads count.
    pub counters: Arc<Counters>,
    /// The time.
    pub clock: Arc<Clock>,
    /// A camera that gives no frame for this long is down.
    pub silent_after: Duration,
}

/// The web view. It is served from [`Web::open`] until it is dropped; hand it to
/// [`Publisher::also`](super::Publisher::also).
#[derive(Debug)]
pub struct Web {
    sender: Sender,
    address: SocketAddr,
    thread: SinkThread,
}

impl Web {
    /// Listens, and starts the thread; `None` where the configuration has no `listen`.
    ///
    /// # Errors
    ///
    /// [`WebError`], among others where the address is taken.
    pub fn open(config: &WebConfig, about: About) -> Result<Option<Self>, WebError> {
        let Some(listen) = config.listen else {
            return Ok(None);
        };
        let thread_error = |source| WebError::Thread { source };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(thread_error)?;
        let listener =
            listen::bind(&runtime, listen).map_err(|source| WebError::Listen { listen, source })?;
        let address = listener.local_addr().map_err(thread_error)?;
        let link = Arc::<Link>::default();
        let (rare, waiting) = mpsc::channel(RARE_MAX);
        let started = about.clock.now();
        let site = Site::new(
            config,
            about,
            address,
            Arc::clone(&link),
            started,
            unix_ns(),
        );
        let work = move || {
            runtime.block_on(serve::run(site, listener, waiting));
            // Readers that are still there are left.
            runtime.shutdown_background();
        };
        let thread = SinkThread::start("web", Priority::Lowest, work).map_err(thread_error)?;
        let sender = Sender {
            link,
            rare,
            poses: 0,
            spare: Vec::new(),
        };
        Ok(Some(Self {
            sender,
            address,
            thread,
        }))
    }

    /// Where it listens: the port in use where the configuration asked for 0.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows what is still missing for a calibration, as one line of JSON. The newest wins.
    pub fn guide(&self, json: String) {
        let sender = &self.sender;
        if sender.rare.try_send(Rare::Guidance(json)).is_err() {
            sender.link.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Where a browser of this machine finds it, without the token.
    pub fn url(&self) -> String {
        config::url(self.address)
    }
}

impl Sink for Web {
    fn take(&mut self, message: &Message<'_>) {
        self.sender.take(message);
    }

    fn leave(&mut self) {
        self.sender.link.stop.notify_one();
        self.thread.leave();
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.leave();
        self.thread.end("a reader holds it up, leaving without it");
    }
}
