//! Foundations for every layer: bounds, time, files, queues, range checks, byte layouts, redaction of secrets.

pub mod cdr;
pub mod clock;
pub mod config;
pub mod file;
pub mod limits;
pub mod mailbox;
pub mod secret;
pub mod slots;
pub mod step;
pub mod tensors;
