//! Frames in, people with COCO keypoints out. Runs on the estimate thread.
//!
//! ```text
//!  frame ─▶ finder (now and then) ─▶ regions ─▶ crop ─▶ person network ─▶ decode ─▶ people
//!                                      ▲                                              │
//!                                      └────────── boxes of the previous frame ◀──────┘
//! ```
//!
//! [`PeopleNet`] is the whole of it; [`Network`] is what an engine has to be, and
//! [`Engine`] is the one that was chosen.
//! Nothing here touches the heap after construction, the engine's own run apart.

pub mod cache;
mod crop;
pub mod decode;
pub mod engine;
mod merge;
mod network;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
mod people;
pub mod preprocess;
mod regions;
pub mod relay;
#[cfg(any(feature = "tensorrt", test))]
mod standby;
pub mod status;
#[cfg(feature = "tensorrt")]
pub mod tensorrt;
pub mod tract;
mod vision;

pub use engine::{Engine, EngineError, InferenceConfig};
pub use network::{InferError, Input, Network, TensorSpec};
pub use people::{Lap, PeopleNet, PeopleSettings, Quality, Seen, Spare};
pub use status::EngineStatus;
pub use vision::{Verified, VerifyRow, VisionNet, verify};
