//! The daemon: its settings, its threads, and what it leaves out where the machine is too slow.

pub mod estimating;
pub mod load;
pub mod settings;
pub mod wiring;
