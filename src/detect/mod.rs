//! Frames in, people with COCO keypoints out. Runs on the estimate thread.
//!
//! ```text
//!  frame ─▶ finder (now and then) ─▶ regions ─▶ crop ─▶ person network ─▶ decode ─▶ people
//!                                      ▲                                              │
//!                                      └────────── boxes of the previous frame ◀──────┘
//! ```
//!
//! [`PeopleNet`] is the whole of it. Nothing here touches the heap after construction, the engine's own run apart.

mod crop;
pub mod decode;
mod merge;
mod people;
pub mod preprocess;
mod regions;
mod vision;

pub use people::{Detect, Lap, PeopleNet, PeopleSettings, Quality, Seen, Spare};
pub use vision::{Verified, VerifyRow, VisionNet, verify};
