//! Synthetic camera: renders people whose joints are known; test camera, demonstration
//! and source of training images. No files; all from a seed and the time.
//!
//! ```text
//! plan ─▶ motion ─▶ body ─▶ figure's skin ─▶ render ─▶ RGB
//! (who does what)  (bones)  (volumes, once)    │   └───▶ truth (what hides what)
//! room, once ──────────────────────────────────┘
//! ```
//!
//! A person's surface is made once from blended round cones and then follows the
//! bones; the empty room is drawn once. A frame costs the people in it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "pixels, grid nodes and pattern cells: small numbers, clamped before they are cut"
)]
#![allow(
    clippy::many_single_char_names,
    clippy::similar_names,
    reason = "geometry is written in its own letters"
)]

mod anatomy;
mod appearance;
mod body;
mod camera;
mod config;
mod exercise;
mod extremities;
mod figure;
mod finish;
mod follow;
mod furniture;
mod gait;
mod motion;
mod optics;
mod plan;
mod render;
mod room;
mod scene;
mod skin;
mod studio;
mod truth;
mod volume;
mod wall;

pub use camera::SyntheticCamera;
pub use config::{Scenario, SyntheticConfig, SyntheticFormat, View};
pub use optics::{Intrinsics, Optics};
pub use scene::Scene;
pub use studio::Studio;
pub use truth::{FigurePose, PersonTruth, SceneTruth, Visibility};
