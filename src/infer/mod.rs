//! Frames in, people with COCO keypoints out. Runs on the estimate thread.
//!
//! ```text
//!  frame ─▶ finder (now and then) ─▶ regions ─▶ crop ─▶ person network ─▶ decode ─▶ people
//!                                      ▲                                              │
//!                                      └────────── boxes of the previous frame ◀──────┘
//! ```
//!
//! [`PeopleNet`] is the whole of it; [`Network`] is what an engine has to be.
//! Nothing here touches the heap after construction, the engine's own run apart.

mod crop;
pub mod decode;
mod network;
mod people;
pub mod preprocess;
mod regions;
pub mod tract;
mod vision;

pub use network::{InferError, Input, Network, TensorSpec};
pub use people::{Lap, PeopleNet, PeopleSettings, Seen, Spare};
pub use vision::{Verified, VerifyRow, VisionNet, verify};
