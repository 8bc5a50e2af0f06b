//! Frames in, people with COCO keypoints out. Runs on the estimate thread.
//!
//! ```text
//!  frame ─▶ person detector (now and then) ─▶ regions ─▶ crop ─▶ person network ─▶ decode ─▶ people
//!                                      ▲                                              │
//!                                      └────────── boxes of the previous frame ◀──────┘
//! ```
//!
//! [`PeopleNet`] is the entry point. Nothing here allocates after construction, except inside the engine.

mod crop;
pub mod decode;
mod merge;
mod orientation;
mod people;
pub mod preprocess;
mod regions;
mod vision;

pub use people::{Detect, Lap, PeopleNet, PeopleSettings, Quality, Seen, Shed};
pub use vision::{Verified, VerifyRow, VisionNet, verify};
