//! The repository itself: its sources, its documents, and what the Debian package ships. Uses nothing of the library,
//! so it is built in a moment.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod documents;
mod package;
mod tidy;
