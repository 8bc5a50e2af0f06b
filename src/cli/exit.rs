//! Exit codes, as sysexits(3) numbers them, so that a service manager can tell a
//! wrong configuration (do not try again) from a lost device (do).

use poised::config::ConfigError;

/// Wrong arguments.
pub const USAGE: u8 = 64;
/// A model, a calibration or an input is missing or does not fit.
pub const NO_INPUT: u8 = 66;
/// A device is lost, or a recording broke off.
pub const UNAVAILABLE: u8 = 69;
/// Our own mistake.
pub const SOFTWARE: u8 = 70;
/// Wrong configuration.
pub const CONFIG: u8 = 78;

/// The exit code for an error: that of the first cause whose kind is known.
pub fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(config) = cause.downcast_ref::<ConfigError>() {
            return match config {
                ConfigError::Read { .. } => NO_INPUT,
                _ => CONFIG,
            };
        }
        if cause.is::<poised::eval::motion::MotionError>()
            || cause.is::<poised::eval::clips::ClipsError>()
        {
            return NO_INPUT;
        }
        if cause.is::<poised::capture::CaptureError>() {
            return UNAVAILABLE;
        }
        if let Some(code) = cause.downcast_ref::<poised::error::StartError>() {
            return code.exit_code();
        }
    }
    SOFTWARE
}
