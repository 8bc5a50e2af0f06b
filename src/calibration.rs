//! Camera calibration: intrinsics, lens distortion, and where they are read from.
