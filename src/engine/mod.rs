//! Network folders, and the engines that run them.
//!
//! [`Network`] is what an engine has to be, and [`Engine`] is the one that was chosen. A network that is still being
//! built for a GPU runs on the CPU meanwhile ([`relay`]).

pub mod cache;
pub mod models;
pub mod network;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
pub mod relay;
pub mod select;
#[cfg(any(feature = "tensorrt", test))]
mod standby;
pub mod status;
#[cfg(feature = "tensorrt")]
pub mod tensorrt;
pub mod tract;

pub use network::{InferError, Input, Network, TensorSpec};
pub use select::{Engine, EngineError, InferenceConfig};
pub use status::EngineStatus;
