//! What the publish thread leaves for the thread of an outlet: the newest pose, copied into boxes that go back and
//! forth, the newest health message, and how the camera hangs.

use std::sync::OnceLock;

use super::wire::Stamp;
use crate::base::mailbox::{Mailbox, Put};
use crate::camera::Mount;
use crate::pose::PoseSample;

/// Tries to leave a message where the thread is just taking one, which is the move of a pointer.
const PUT_TRIES: u32 = 8;

/// A pose on its way to the thread.
#[derive(Debug, Default)]
pub(super) struct Moment {
    /// When the frame was taken, nanoseconds since 1970.
    pub(super) unix_ns: u64,
    pub(super) sample: PoseSample,
}

/// What the publish thread and that of an outlet share.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The newest pose.
    pub(super) pose: Mailbox<Box<Moment>>,
    /// A box that was looked at, to be filled again.
    pub(super) back: Mailbox<Box<Moment>>,
    /// The newest health message, CBOR.
    pub(super) health: Mailbox<Vec<u8>>,
    /// How the camera hangs, once a calibration with a mount is known.
    pub(super) mount: OnceLock<Mount>,
}

impl Newest {
    /// Leaves a copy of a pose; `spare` is a box of the publish thread's own. Returns whether one that nothing had
    /// looked at was replaced.
    pub(super) fn leave(
        &self,
        spare: &mut Option<Box<Moment>>,
        stamp: &Stamp<'_>,
        sample: &PoseSample,
    ) -> bool {
        let returned = spare.take().or_else(|| self.back.take());
        let mut moment = returned.unwrap_or_default();
        moment.unix_ns = stamp.unix_ns(sample.capture);
        moment.sample.clone_from(sample);
        let mut put = self.pose.put(moment);
        for _ in 0..PUT_TRIES {
            let Put::Busy(moment) = put else { break };
            std::hint::spin_loop();
            put = self.pose.put(moment);
        }
        let (Put::Replaced(moment) | Put::Busy(moment)) = put else {
            return false;
        };
        *spare = Some(moment);
        true
    }
}
