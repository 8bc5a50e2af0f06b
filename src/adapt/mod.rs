//! Adaptation of the final layers to the site, on the device, while it runs.
//!
//! ```text
//!  poses, keypoints ─▶ clips ─▶ synthetic views ─▶ frozen backbone ─▶ samples ─▶ trainer ─▶ guard ─▶ head in use
//!  (estimate thread)   (recorded motion)   (reprojected)                  (held-back synthetic views and frames)
//! ```
//!
//! Supervised replay: poses recorded at this site are reprojected into this camera from other viewpoints, with its
//! keypoint noise and gaps, and the final layers learn the joints that these keypoints were made from. No labels and
//! no pseudo-labels are needed. ADR 0010 lists the alternatives.
//!
//! Three other methods can be compared with it, under the same guard: windows of real frames, drawn towards what their
//! label means (`sem.rs`) or towards what a motion denoiser makes of them (`cycle.rs`), and motions drawn from the
//! dictionary (`gpa.rs`).
//!
//! [`Adapter`] is a state machine without I/O that takes observations and works in small steps: the daemon's thread
//! ([`thread`]) and `poised eval` drive the same one.

mod adapter;
pub mod clips;
mod config;
pub mod control;
mod cycle;
mod gpa;
pub mod guard;
pub(crate) mod observation;
mod sem;
mod site;
pub mod state;
pub mod synthetic_view;
mod targets;
pub mod thread;
pub mod train;

pub use adapter::Adapter;
pub use config::{AdaptConfig, Method};
pub use observation::Observation;

use guard::Finding;

/// What adaptation is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// No person has been observed for long enough.
    #[default]
    Waiting,
    /// Learning; the factory head is in use.
    Learning,
    /// Learning; what was learned is in use.
    Adapted,
    /// The factory head is good enough here.
    Resting,
    /// Nothing changes until `thaw`.
    Frozen,
}

impl Mode {
    /// Its word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Learning => "learning",
            Self::Adapted => "adapted",
            Self::Resting => "resting",
            Self::Frozen => "frozen",
        }
    }
}

/// How adaptation stands: what `/adaptation` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// What it is doing.
    pub mode: Mode,
    /// Of the head in use; 0 until one was handed out in this run.
    pub generation: u32,
    /// Clips to learn from, and held back.
    pub clips: [usize; 2],
    /// Poses that were not learned from, because they miss their keypoints or too few are seen.
    pub passed_over: u64,
    /// Synthetic views made.
    pub synthetic_views: u64,
    /// Steps since the factory weights.
    pub steps: u64,
    /// Steps that were owed and dropped.
    pub dropped: u64,
    /// Decisions of the guard: kept, rested, refused.
    pub decisions: [u64; 3],
    /// Times that half of what was learned was given up.
    pub softened: u64,
    /// Times that a head in use was taken back.
    pub rolled_back: u64,
    /// Noise of a keypoint, share of the person's larger side in the image.
    pub noise: f32,
    /// The newest decision.
    pub finding: Option<Finding>,
}

/// What a peer may ask for on `/control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing changes from now on.
    Freeze,
    /// Learning goes on.
    Thaw,
    /// Everything learned is forgotten.
    Reset,
    /// What was learned is written now.
    Snapshot,
    /// The head before the one in use comes back, unless the guard has taken it back, and nothing changes from now on.
    RollBack,
}

/// An empty store whose room has been written to once: memory that is only asked for is not there yet.
fn touched<T: Clone>(room: usize, filler: &T) -> Vec<T> {
    let mut store = vec![filler.clone(); room];
    store.clear();
    store
}
