//! From frames to poses: stages and the threads that run them.

pub mod estimate;
pub mod load;
pub mod mailbox;
pub mod slots;
pub mod wiring;
