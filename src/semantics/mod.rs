//! What a person is doing, and where the joints are that nobody sees.

pub mod dictionary;
pub mod net;
