//! Recordings on the device: what is published, in MCAP files that rotate.
//!
//! A file has a chunk for each second and is forced to the disk every five, so that a power cut costs seconds. It is
//! named `.mcap.part` until it has its index; one that is left like that is repaired when the daemon starts again. Size,
//! age and free disk are bounded. A disk that is full is counted and named, and recording goes on once there is room.
//!
//! No images. `docs/guide/export.md` is the reference.
//!
//! All of it runs on one thread of the lowest priority. The publish thread hands over a copy of each message and never
//! waits.

mod config;
mod repair;
mod shelf;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::export::mcap::Content;
use super::sink::{Message, Priority, Sink, SinkThread};
use crate::base::clock::Clock;
use crate::camera::Calibration;
use crate::counters::Counters;
use shelf::Shelf;
use thread::{Entry, Link, Place, Worker};

pub use config::ArchiveConfig;

/// Messages that wait for the thread: about four seconds at 30 Hz, for a disk that is slow at times.
const ENTRIES_MAX: usize = 128;

/// What can keep recordings from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The system has no room for a thread.
    #[error("the thread for recordings does not start")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// Recordings. They are written from [`Archive::open`] until it is dropped; hand it to
/// [`Publisher::also`](super::Publisher::also).
#[derive(Debug)]
pub struct Archive {
    /// Taken when it ends.
    entries: Option<SyncSender<Entry>>,
    empty: Receiver<Vec<u8>>,
    link: Arc<Link>,
    counters: Arc<Counters>,
    thread: SinkThread,
}

/// Tells the recordings, later, what lens the camera has. Nothing is recorded before.
#[derive(Clone, Debug)]
pub struct ArchiveCalibration(Arc<Link>);

impl ArchiveCalibration {
    /// From now on poses are recorded. The first calibration stays.
    pub fn set(&self, calibration: &Calibration) {
        let _ = self.0.calibration.set(calibration.clone());
    }
}

impl Archive {
    /// Starts the thread; `None` where the configuration has no `folder`. A folder that cannot be written is tried
    /// again.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] where the thread does not start.
    pub fn open(
        config: &ArchiveConfig,
        camera: &str,
        counters: &Arc<Counters>,
        clock: &Arc<Clock>,
    ) -> Result<Option<Self>, ArchiveError> {
        let Some(folder) = &config.folder else {
            return Ok(None);
        };
        counters.record.on.store(true, Ordering::Relaxed);
        let link = Arc::<Link>::default();
        let place = Place {
            shelf: Shelf::new(folder, camera),
            bounds: config.bounds(),
            content: if config.ros_messages {
                Content::All
            } else {
                Content::Recorded
            },
            camera: camera.to_owned(),
        };
        let worker = Worker::new(
            place,
            Arc::clone(&link),
            Arc::clone(counters),
            Arc::clone(clock),
        );
        let (entries, waiting) = sync_channel(ENTRIES_MAX);
        let (returned, empty) = sync_channel(ENTRIES_MAX);
        let work = move || worker.run(&waiting, &returned);
        let thread = SinkThread::start("record", Priority::Lowest, work)
            .map_err(|source| ArchiveError::Thread { source })?;
        Ok(Some(Self {
            entries: Some(entries),
            empty,
            link,
            counters: Arc::clone(counters),
            thread,
        }))
    }

    /// What tells the recordings what lens the camera has, once that is known.
    pub fn calibration(&self) -> ArchiveCalibration {
        ArchiveCalibration(Arc::clone(&self.link))
    }
}

impl Sink for Archive {
    fn take(&mut self, message: &Message<'_>) {
        let (kind, bytes): (fn(Vec<u8>) -> Entry, _) = match *message {
            Message::Pose { bytes, .. } => (Entry::Pose, bytes),
            Message::Event { bytes } => (Entry::Event, bytes),
            Message::Health { bytes } => (Entry::Health, bytes),
            Message::Repetition { bytes } => (Entry::Repetition, bytes),
            Message::Adaptation { .. } | Message::Floor { .. } => return,
        };
        let mut copy = self.empty.try_recv().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        let taken = self
            .entries
            .as_ref()
            .map(|entries| entries.try_send(kind(copy)));
        if !matches!(taken, Some(Ok(()))) {
            self.counters.record.dropped.add(1);
        }
    }

    fn leave(&mut self) {
        self.link.stop.store(true, Ordering::Release);
        drop(self.entries.take());
        self.thread.leave();
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.leave();
        self.thread
            .end("the disk is slow; the next start repairs the file");
    }
}
