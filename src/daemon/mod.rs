//! The daemon: settings, threads, and load shedding on a machine that is too slow.

pub mod estimating;
pub mod load;
pub mod settings;
pub mod wiring;
