//! Errors that prevent the daemon from starting, and their exit codes.

use crate::base::config::ConfigError;
use crate::camera::CalibrationError;
use crate::capture::OpenError;
use crate::engine::models::ModelError;
use crate::engine::{EngineError, InferError};
use crate::lift::model::LiftModelError;
use crate::motion::SemanticsError;
use crate::output::{
    ArchiveError, FoxgloveError, MqttError, RosError, SessionError, SessionsError, WebError,
};

/// What can keep the daemon from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The lifter: backbone or final layers.
    #[error(transparent)]
    Lifter(#[from] LiftModelError),
    /// The motion-text dictionary or its encoders.
    #[error(transparent)]
    Semantics(Box<SemanticsError>),
    /// The calibration.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The camera or recording.
    #[error(transparent)]
    Camera(#[from] OpenError),
    /// The engine that the configuration asks for is unavailable.
    #[error(transparent)]
    Inference(#[from] EngineError),
    /// An engine that has no room for another use of a network.
    #[error(transparent)]
    Engine(#[from] InferError),
    /// Zenoh.
    #[error(transparent)]
    Zenoh(#[from] SessionError),
    /// The web view.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The outlet for ROS 2.
    #[error(transparent)]
    Ros(#[from] RosError),
    /// The outlet for Foxglove.
    #[error(transparent)]
    Foxglove(#[from] FoxgloveError),
    /// The outlet for MQTT.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// Recordings.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Exercise sessions.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// The system has no room for a thread.
    #[error("thread {name} cannot be started: raise the limit of tasks (TasksMax=, ulimit -u)")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A thread panicked: our own mistake. A release build aborts at the panic itself.
    #[error("thread {name} panicked; see the lines above")]
    Panicked {
        /// Its name.
        name: &'static str,
    },
}

impl From<SemanticsError> for StartError {
    fn from(error: SemanticsError) -> Self {
        Self::Semantics(Box::new(error))
    }
}

impl StartError {
    /// The exit code, as sysexits(3) numbers them: 66 a model or calibration is
    /// missing or does not fit, 69 a device or the network is not there, 70 our
    /// own mistake, 78 wrong configuration.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(ConfigError::Read { .. })
            | Self::Model(_)
            | Self::Lifter(_)
            | Self::Semantics(_)
            | Self::Calibration(_) => 66,
            // The machine may get it: a driver that loads late, a package.
            Self::Inference(EngineError::Missing { .. })
            | Self::Camera(_)
            | Self::Zenoh(_)
            | Self::Web(_)
            | Self::Foxglove(_) => 69,
            Self::Thread { .. }
            | Self::Panicked { .. }
            | Self::Engine(_)
            | Self::Ros(_)
            | Self::Mqtt(_)
            | Self::Archive(_)
            | Self::Sessions(_) => 70,
            Self::Inference(_) | Self::Config(_) => 78,
        }
    }
}
