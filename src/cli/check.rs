//! `poised check`: would this configuration run? Reads everything, starts nothing.

use std::path::PathBuf;

use clap::Args;

use poised::calibration::Calibration;
use poised::error::StartError;
use poised::pipeline::estimate::Estimator;
use poised::settings::Settings;

#[derive(Debug, Args)]
pub struct Options {
    /// The configuration file.
    file: PathBuf,
}

/// Reads the configuration, opens its networks and its calibration.
///
/// # Errors
///
/// The first thing that is wrong, with its file, key, value and range.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let settings = Settings::read(&options.file).map_err(StartError::from)?;
    if let Some(path) = &settings.calibration.file {
        let calibration = Calibration::read(path).map_err(StartError::from)?;
        println!("calibration: {calibration}");
    }
    settings.zenoh.check_file().map_err(StartError::from)?;
    let estimator = Estimator::open(&settings.estimate())?;
    println!("networks: load and run in {}", estimator.engine());
    println!(
        "keys: {}",
        settings
            .zenoh
            .key(&settings.camera.name, "{poses,events,health}")
    );
    println!("{}: good", options.file.display());
    Ok(())
}
