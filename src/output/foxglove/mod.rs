//! People live in Foxglove and Lichtblick: a server of the Foxglove WebSocket protocol with the topics and types that
//! ROS 2 is given ([`super::ros`]). No ROS 2 is needed.
//!
//! No images: there is no code that sends one. Read-only: what viewers may ask for is to be told of a topic or no
//! longer. `docs/guide/foxglove.md` is the reference.
//!
//! ```text
//!   publish thread                      thread `foxglove`
//!   Sink ── newest pose, health ──▶ Mailbox ──▶ CDR ──▶ Board ──▶ a viewer's own task
//!                                                        └──────▶ another's
//! ```
//!
//! All of it runs on one thread of the lowest priority, which has a tokio runtime of its own, as the web view has. A
//! viewer that is slow finds a newer pose on the board and never sees those in between.

mod config;
mod protocol;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::listen;
use super::newest::{Moment, Newest};
use super::ros::Names;
use super::sink::{Message, Priority, Sink, SinkThread};
use crate::base::clock::{Clock, unix_ns};
use crate::camera::Mount;
use crate::counters::{Counters, RosTopic};
use serve::Server;

pub use config::FoxgloveConfig;

/// What can keep the outlet from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoxgloveError {
    /// The address is of another machine, or taken.
    #[error("foxglove.listen = \"{listen}\": cannot listen there")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no room for a thread or its timer.
    #[error("the thread for Foxglove does not start")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// What viewers are told beside the messages.
#[derive(Clone, Debug)]
pub struct FoxgloveAbout {
    /// The camera's name.
    pub camera: String,
    /// The device's name, for the diagnostics.
    pub device: String,
    /// Names of topics and frames, as ROS 2 has them.
    pub names: Names,
    /// What all threads count.
    pub counters: Arc<Counters>,
    /// The time.
    pub clock: Arc<Clock>,
}

/// What the publish thread and this one share.
#[derive(Debug, Default)]
struct Link {
    newest: Newest,
    /// Wakes the thread for a message.
    wake: Notify,
    /// Ends the thread.
    stop: Notify,
    /// Viewers of each topic.
    viewers: [AtomicUsize; RosTopic::ALL.len()],
}

impl Link {
    /// Whether any topic that is made of poses has a viewer.
    fn wants_poses(&self) -> bool {
        [RosTopic::Joints, RosTopic::Markers, RosTopic::Tf]
            .iter()
            .any(|topic| self.viewers(*topic) > 0)
    }

    fn viewers(&self, topic: RosTopic) -> usize {
        self.viewers[topic as usize].load(Ordering::Acquire)
    }
}

/// The outlet for Foxglove. It is served from [`Foxglove::open`] until it is dropped; hand it to
/// [`Publisher::also`](super::Publisher::also).
#[derive(Debug)]
pub struct Foxglove {
    link: Arc<Link>,
    counters: Arc<Counters>,
    address: SocketAddr,
    thread: SinkThread,
    spare: Option<Box<Moment>>,
}

/// Tells the outlet, later, how the camera hangs.
#[derive(Clone, Debug)]
pub struct FoxgloveMount(Arc<Link>);

impl FoxgloveMount {
    /// From now on `/tf` says where the camera is. The first mount stays.
    pub fn set(&self, mount: Mount) {
        let _ = self.0.newest.mount.set(mount);
        self.0.wake.notify_one();
    }
}

impl Foxglove {
    /// Listens, and starts the thread; `None` where the configuration has no `listen`.
    ///
    /// # Errors
    ///
    /// [`FoxgloveError`], among others where the address is taken.
    pub fn open(
        config: &FoxgloveConfig,
        about: FoxgloveAbout,
    ) -> Result<Option<Self>, FoxgloveError> {
        let Some(listen) = config.listen else {
            return Ok(None);
        };
        let thread_error = |source| FoxgloveError::Thread { source };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(thread_error)?;
        let listener = listen::bind(&runtime, listen)
            .map_err(|source| FoxgloveError::Listen { listen, source })?;
        let address = listener.local_addr().map_err(thread_error)?;
        let counters = Arc::clone(&about.counters);
        counters.foxglove.on.store(true, Ordering::Relaxed);
        let link = Arc::<Link>::default();
        let session = unix_ns();
        let server = Server::new(config, about, Arc::clone(&link), session);
        let work = move || {
            runtime.block_on(serve::run(server, listener));
            // Viewers that are still there are left.
            runtime.shutdown_background();
        };
        let thread = SinkThread::start("foxglove", Priority::Lowest, work).map_err(thread_error)?;
        Ok(Some(Self {
            link,
            counters,
            address,
            thread,
            spare: None,
        }))
    }

    /// Where it listens: the port in use where the configuration asked for 0.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What tells this outlet how the camera hangs, once that is known.
    pub fn mount(&self) -> FoxgloveMount {
        FoxgloveMount(Arc::clone(&self.link))
    }
}

impl Sink for Foxglove {
    fn take(&mut self, message: &Message<'_>) {
        match *message {
            Message::Pose { stamp, sample, .. } if self.link.wants_poses() => {
                if self.link.newest.leave(&mut self.spare, stamp, sample) {
                    self.counters.foxglove.replaced.add(1);
                }
            }
            Message::Health { bytes } if self.link.viewers(RosTopic::Diagnostics) > 0 => {
                // One that is not taken is followed by the next in a second.
                drop(self.link.newest.health.put(bytes.to_vec()));
            }
            _ => return,
        }
        self.link.wake.notify_one();
    }

    fn leave(&mut self) {
        self.link.stop.notify_one();
        self.thread.leave();
    }
}

impl Drop for Foxglove {
    fn drop(&mut self) {
        self.leave();
        self.thread.end("a viewer holds it up, leaving without it");
    }
}
