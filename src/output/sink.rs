//! The trait of outlets beside Zenoh: each is told of every message, and none makes the others wait. The thread that
//! each of them has.

use std::io;
use std::thread::{Builder, JoinHandle, Thread};
use std::time::Duration;

use super::wire::Stamp;
use crate::adapt::Report;
use crate::base::clock::MonoNs;
use crate::pose::PoseSample;
use crate::sys::rt::{monotonic_ns, stand_back};

/// How long the end waits for the threads of outlets, from when they were told of it: a router, a broker or a disk that
/// takes nothing must not keep the daemon from leaving within two seconds.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Time between two looks at whether a thread has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One message, as it goes out on Zenoh.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The poses of a frame.
    Pose {
        /// Its number and times.
        stamp: &'a Stamp<'a>,
        /// The values, in the camera's optical frame, metres.
        sample: &'a PoseSample,
        /// People in view who are left out, as a number of theirs is not finite. A frame of such people alone is no
        /// message.
        unfit: usize,
        /// The same as `pose/v1`.
        bytes: &'a [u8],
    },
    /// Something happened: `event/v1`.
    Event {
        /// The message.
        bytes: &'a [u8],
    },
    /// How the daemon is, once a second: `health/v1`.
    Health {
        /// The message.
        bytes: &'a [u8],
    },
    /// How learning stands, once a second where something learns: `adaptation/v1`.
    Adaptation {
        /// The values.
        report: &'a Report,
        /// The message.
        bytes: &'a [u8],
    },
    /// How many people are on the floor has changed, or begins to be watched. Not on Zenoh: events are.
    Floor {
        /// People who were reported on the floor, and not up again since.
        people: usize,
    },
    /// A repetition of an exercise has ended: `repetition/v1`.
    Repetition {
        /// The message.
        bytes: &'a [u8],
    },
}

/// An outlet beside Zenoh: a web view, a recording, another protocol.
///
/// [`Sink::take`] runs on the publish thread, between two poses. It copies what it needs and returns: it waits for no
/// lock, no socket and no disk, and what its own thread cannot keep up with it drops and counts. It is told of a pose
/// also while there is no Zenoh session. Dropping it ends the outlet.
pub trait Sink: Send {
    /// Takes a message.
    fn take(&mut self, message: &Message<'_>);

    /// The daemon ends. The outlet begins to, and does not wait: so that all end at the same time. Dropping it waits.
    fn leave(&mut self) {}
}

/// How a thread stands to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// As the program has it.
    Normal,
    /// On a machine with too much to do it gets what the others leave.
    Lowest,
}

/// The thread of an outlet. It is waited for when it ends, though not for ever.
#[derive(Debug)]
pub(super) struct SinkThread {
    name: &'static str,
    /// Taken when it has ended or was left.
    handle: Option<JoinHandle<()>>,
    /// When it was told to end.
    leaving: Option<MonoNs>,
}

impl SinkThread {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread.
    pub fn start(
        name: &'static str,
        priority: Priority,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            if priority == Priority::Lowest
                && let Err(error) = stand_back()
            {
                log::debug!("{name}: the system does not allow a lower priority: {error}");
            }
            work();
        })?;
        Ok(Self {
            name,
            handle: Some(handle),
            leaving: None,
        })
    }

    /// To wake it; `None` once it was waited for.
    pub fn wakes(&self) -> Option<&Thread> {
        self.handle.as_ref().map(JoinHandle::thread)
    }

    /// It was told to end: from now on it has a second.
    pub fn leave(&mut self) {
        self.leaving.get_or_insert(MonoNs(monotonic_ns()));
    }

    /// Waits for it, until a second after [`SinkThread::leave`]. One that takes longer is left; `stuck` says in the log
    /// what does not end.
    pub fn end(&mut self, stuck: &str) {
        self.leave();
        let (Some(handle), Some(leaving)) = (self.handle.take(), self.leaving) else {
            return;
        };
        while !handle.is_finished() && MonoNs(monotonic_ns()).since(leaving) < LEAVE_WITHIN {
            std::thread::sleep(LOOK_EVERY);
        }
        if !handle.is_finished() {
            log::warn!("{}: {stuck}", self.name);
        } else if handle.join().is_err() {
            log::error!("{}: the thread panicked", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn threads_that_do_not_end_are_left_a_second_after_they_were_told_all_together() {
        let stuck = std::sync::Arc::new(std::sync::Mutex::new(()));
        let hold = stuck.lock().unwrap();
        let mut threads: Vec<SinkThread> = (0..3)
            .map(|_| {
                let stuck = stuck.clone();
                let work = move || drop(stuck.lock());
                SinkThread::start("stuck", Priority::Lowest, work).unwrap()
            })
            .collect();
        let begun = MonoNs(monotonic_ns());
        for thread in &mut threads {
            thread.leave();
        }
        for thread in &mut threads {
            thread.end("does not end");
        }
        let took = MonoNs(monotonic_ns()).since(begun);
        assert!(took >= LEAVE_WITHIN && took < 2 * LEAVE_WITHIN, "{took:?}");
        drop(hold);
    }

    #[test]
    fn a_thread_that_ends_is_waited_for() {
        let (tell, told) = channel();
        let work = move || {
            std::thread::sleep(Duration::from_millis(50));
            tell.send(()).unwrap();
        };
        let mut thread = SinkThread::start("short", Priority::Normal, work).unwrap();
        assert!(thread.wakes().is_some());
        thread.end("does not end");
        told.try_recv().unwrap();
        assert!(thread.wakes().is_none());
    }
}
