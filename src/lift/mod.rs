//! Keypoints over time to a metric 3D pose.

pub mod root;
pub mod rotate;
pub mod window;
