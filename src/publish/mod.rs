//! Poses out: the publisher thread takes samples, writes messages, puts them on Zenoh.

pub mod read;
pub mod wire;
