//! From frames to poses: stages and the threads that run them.

pub mod mailbox;
pub mod slots;
