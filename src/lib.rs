//! `poised`: camera frames in, metric 3D poses of people out, on an edge device.
//!
//! Modules stand in the order a frame travels.

#![deny(unsafe_code)]

pub mod adapt;
pub mod calibration;
pub mod capture;
pub mod clock;
pub mod config;
pub mod counters;
pub mod draw;
pub mod error;
pub mod eval;
pub mod file;
pub mod frame;
pub mod infer;
pub mod lift;
pub mod limits;
pub mod models;
pub mod pipeline;
pub mod pose;
pub mod publish;
pub mod record;
pub mod semantics;
pub mod settings;
pub mod skeleton;
pub mod sys;
pub mod tensors;
pub mod track;
