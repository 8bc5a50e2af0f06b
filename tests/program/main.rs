//! The program as its users have it: commands, the daemon, and what it sends over sockets to real peers:
//! `cargo test --test program web::`.
//!
//! Tests run at the same time: each takes a free port, a folder and a device name of its own. Where one limits a time,
//! a machine busy with the others keeps it; what needs the machine for itself is a binary of its own
//! (`tests/overload/`).

#![allow(clippy::unwrap_used, reason = "this is all test code")]

#[path = "../common"]
mod common {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "sides of images and bytes"
    )]
    pub mod boards;
    pub mod cddl;
    pub mod daemon;
    pub mod data;
    pub mod disk;
    pub mod python;
    pub mod rtsp;
    pub mod samples;
}

// Commands that end.
mod calibrate;
mod clips;
mod command_line;
mod dictionary;
mod exercise;
mod export;
mod floor;
mod foxglove;

// The daemon, from cameras and films to poses.
mod adaptation;
mod emulated;
mod end_to_end;
mod hints;
mod session;

// What goes out, and who reads it.
mod loopback;
mod outlets;
mod python_client;
mod ros;
mod router;
mod tls;
mod web;
