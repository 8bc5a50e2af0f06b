//! The library in this process, without a daemon, a network or a camera: `cargo test --test library wire::`.
//!
//! What it gives for stored inputs, what holds for every input, what it refuses, and that it stays off the heap.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

#[path = "../common"]
mod common {
    pub mod cddl;
    pub mod data;
    pub mod heap;
    pub mod models;
    pub mod samples;
}

// What ships, against stored outputs and captured motion.
mod adapt_poison;
mod lift_golden;
mod path_golden;
mod semantics_golden;
mod track_motion;

// What holds for every input.
mod mutated;
mod properties;

// Networks and messages: what they give, and what is refused.
mod lift_model;
mod people;
mod pose_net;
mod wire;

// The heap calls of each stage.
mod adapt_no_alloc;
mod capture_no_alloc;
mod infer_no_alloc;
mod lift_no_alloc;
mod session_no_alloc;
