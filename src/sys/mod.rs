//! System calls and processor instructions. `unsafe` is allowed here and in the TensorRT shim only, a few lines each,
//! with the argument for their safety.

pub mod pipe;
pub mod poll;
pub mod process;
pub mod rt;
pub mod simd;
pub mod v4l2;
