//! What only the operating system or the processor can do. The one folder that may say
//! `unsafe`: a few lines each, each with the fact its safety rests on.

pub mod pipe;
pub mod poll;
pub mod process;
pub mod rt;
pub mod simd;
pub mod v4l2;
