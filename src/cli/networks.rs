//! Which networks a command runs, and in what: options that several commands share.

use std::path::PathBuf;

use clap::Args;

use poised::daemon::settings::Settings;
use poised::engine::select::Choice;
use poised::error::StartError;
use poised::estimate::{EstimateConfig, default_directory};

use super::output::Outputs;

/// How to get a person network that was trained on more photographs, for those who run the one that ships.
pub const MOVENET: &str = "./dev movenet thunder (or lightning) in a checkout, then `poised models install \
    target/models/movenet-thunder` and [models] person = \"movenet-thunder\" (models.md)";

#[derive(Debug, Args)]
pub struct Networks {
    /// Take networks and settings from this configuration.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Folder of the networks.
    #[arg(long)]
    models: Option<PathBuf>,
    /// What runs the networks, in place of what the configuration says: auto, tract, onnxruntime or tensorrt.
    #[arg(long)]
    engine: Option<Choice>,
}

impl Networks {
    /// Names what is read, so that no output overwrites it.
    pub fn read_by(&self, outputs: &mut Outputs) {
        if let Some(path) = &self.config {
            outputs.reads(path);
        }
        outputs.reads(&self.models.clone().unwrap_or_else(default_directory));
    }

    /// What the configuration says, or the defaults, with what the command line has in its place.
    ///
    /// # Errors
    ///
    /// The configuration cannot be read.
    pub fn estimate_config(&self) -> Result<EstimateConfig, StartError> {
        let mut config = match &self.config {
            Some(path) => Settings::read(path)?.estimate(),
            None => EstimateConfig::default(),
        };
        if let Some(models) = &self.models {
            config.models.directory.clone_from(models);
        }
        if let Some(engine) = self.engine {
            config.inference.engine = engine;
        }
        Ok(config)
    }
}
