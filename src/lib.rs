//! `poised`: camera frames in, metric 3D poses of people out, on an edge device.
//!
//! The modules below are layers: each uses only what is listed above it. `tests/tidy.rs` checks that, with a list of
//! exceptions. The blank lines keep the formatter from sorting the list.

#![deny(unsafe_code)]

// Every bound, with its reason.
pub mod limits;

// System calls, and nothing else.
pub mod sys;

// Monotonic time as a value, and the one place that reads a clock.
pub mod clock;

// What all sections of the configuration share: range checks and their errors.
pub mod config;

// What must not leave the process.
pub mod secret;

// Bounded reading and atomic writing.
pub mod file;

// Numbers in safetensors files.
pub mod tensors;

// Joints, keypoints and their order.
pub mod skeleton;

// A picture with its time.
pub mod frame;

// What stages hand on: keypoints of a frame, poses of a frame.
pub mod pose;

// Lens, mount, and the files they come from.
pub mod calibration;

// Model folders: description, hashes, fit.
pub mod models;

// People who keep their ids.
pub mod track;

// Cameras, films and pictures to frames.
pub mod capture;

// Frames to people with keypoints, and the engines that run networks.
pub mod infer;

// Keypoints over time to metric 3D.
pub mod lift;

// What people do, and where their hidden joints are.
pub mod semantics;

// Learning of the final layers, on the device.
pub mod adapt;

// What was counted, for `/health` and the log.
pub mod counters;

// Poses to CBOR to Zenoh.
pub mod publish;

// Poses in a file, without pixels.
pub mod record;

// Why the daemon does not start, and its exit code.
pub mod error;

// Stages, queues and threads put together.
pub mod pipeline;

// The configuration file.
pub mod settings;

// Poses drawn over pictures.
pub mod draw;

// The accuracy table.
pub mod eval;
