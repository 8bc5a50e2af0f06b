//! `poised`: real-time 3D human pose estimation for edge devices. Camera frames in, metric 3D poses out.
//!
//! The modules below are layers: each uses only what is listed above it. `tests/repository/tidy.rs` checks that, with a list of
//! exceptions. The blank lines keep the formatter from sorting the list.

#![deny(unsafe_code)]

// System calls, and nothing else.
pub mod sys;

// Bounds with their reasons, time, files, queues, range checks, redaction of secrets.
pub mod base;

// Joints, keypoints and their order.
pub mod skeleton;

// An image with its capture time.
pub mod frame;

// Values passed between stages: keypoints and poses of a frame.
pub mod pose;

// Lens, mount, calibration files, perspective rotation.
pub mod camera;

// Network folders, and the engines that run networks.
pub mod engine;

// Cameras, videos and images to frames.
pub mod capture;

// A synthetic camera: rendered people whose joints are known.
pub mod synthetic;

// Frames to people with keypoints.
pub mod detect;

// Tracking: people with stable ids.
pub mod track;

// Keypoints over time to metric 3D.
pub mod lift;

// Actions, and completion of hidden joints.
pub mod motion;

// Adaptation of the final layers, on the device.
pub mod adapt;

// Counters for `/health` and the log.
pub mod counters;

// Poses to CBOR, to Zenoh and to files.
pub mod output;

// Errors at start, and exit codes.
pub mod error;

// The stages in their order: a frame in, poses out.
pub mod estimate;

// Settings, threads, load shedding.
pub mod daemon;

// Tools for developers: accuracy table, overlays, building of a dictionary.
pub mod lab;
