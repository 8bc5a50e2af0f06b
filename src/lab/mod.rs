//! Tools for developers: the accuracy table, overlays, and the building of a dictionary.

pub mod dictionary;
pub mod draw;
pub mod eval;
