//! What only the operating system can do. The one folder that may say `unsafe`:
//! calls that the standard library does not wrap, each a few lines, each with
//! the fact its safety rests on.

pub mod poll;
pub mod rt;
pub mod v4l2;
