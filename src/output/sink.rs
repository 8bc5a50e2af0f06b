//! The trait of outlets beside Zenoh: each is told of every message, and none makes the others wait.

use super::wire::Stamp;
use crate::adapt::Report;
use crate::pose::PoseSample;

/// One message, as it goes out on Zenoh.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The poses of a frame.
    Pose {
        /// Its number and times.
        stamp: &'a Stamp<'a>,
        /// The values, in the camera's optical frame, metres.
        sample: &'a PoseSample,
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
}

/// An outlet beside Zenoh: a web view, a recording, another protocol.
///
/// [`Sink::take`] runs on the publish thread, between two poses. It copies what it needs and returns: it waits for no
/// lock, no socket and no disk, and what its own thread cannot keep up with it drops and counts. It is told of a pose
/// also while there is no Zenoh session. Dropping it ends the outlet.
pub trait Sink: Send {
    /// Takes a message.
    fn take(&mut self, message: &Message<'_>);
}
