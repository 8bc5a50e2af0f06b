//! `poised`: camera frames in, metric 3D poses of people out, on an edge device.
//!
//! The modules below are layers: each uses only what is listed above it. `tests/tidy.rs` checks that, with a list of
//! exceptions. The blank lines keep the formatter from sorting the list.

#![deny(unsafe_code)]

// System calls, and nothing else.
pub mod sys;

// Bounds with their reasons, time, files, queues, range checks, what must not leave the process.
pub mod base;

// Joints, keypoints and their order.
pub mod skeleton;

// A picture with its time.
pub mod frame;

// What stages hand on: keypoints of a frame, poses of a frame.
pub mod pose;

// Lens, mount, the files they come from, and the camera turned towards a person.
pub mod camera;

// Network folders, and the engines that run networks.
pub mod engine;

// Cameras, films and pictures to frames.
pub mod capture;

// A synthetic camera: rendered people whose joints are known.
pub mod synthetic;

// Frames to people with keypoints.
pub mod detect;

// People who keep their ids.
pub mod track;

// Keypoints over time to metric 3D.
pub mod lift;

// What people do, and where their hidden joints are.
pub mod motion;

// Learning of the final layers, on the device.
pub mod adapt;

// What was counted, for `/health` and the log.
pub mod counters;

// Poses to CBOR, to Zenoh and to files.
pub mod output;

// Why the daemon does not start, and its exit code.
pub mod error;

// The stages in their order: a frame in, poses out.
pub mod estimate;

// Settings, threads, and what is left out under load.
pub mod daemon;

// What no camera on a wall runs: accuracy table, overlays, building of a dictionary.
pub mod lab;
