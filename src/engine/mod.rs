//! Network folders, and the engines that run them.
//!
//! [`Network`] is the interface of a loaded network, and [`Engine`] is the selected engine. While a network is being
//! built for a GPU, it runs on the CPU ([`relay`]).

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
