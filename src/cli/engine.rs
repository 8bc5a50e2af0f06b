//! `poised engine build|list|clear`: engines for the GPU, built in advance when devices are prepared.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use poised::daemon::settings::Settings;
use poised::engine::cache::Cache;
use poised::engine::models::{Folder, list};
use poised::engine::relay::Builder;
use poised::engine::select::{Choice, Engine, InferenceConfig, Precision, default_cache};
use poised::error::StartError;
use poised::estimate::default_directory;

use super::exit::Unavailable;

/// Time between two checks of how far a build has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct EngineOptions {
    #[command(subcommand)]
    what: What,
    /// Take networks, precision and folders from this configuration.
    #[arg(short, long, global = true)]
    config: Option<PathBuf>,
    /// Folder of cached engines. Overrides the configuration.
    #[arg(long, global = true)]
    cache: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Build and cache the engines of the networks for this machine's GPU.
    Build {
        /// Folder of the networks: builds all of them, instead of those in the configuration.
        #[arg(long)]
        models: Option<PathBuf>,
        /// Precision: fp32, fp16 or int8.
        #[arg(long)]
        precision: Option<Precision>,
    },
    /// List cached engines: network, library, GPU and precision.
    List,
    /// Remove all cached engines.
    Clear,
}

/// Builds, lists or clears.
///
/// # Errors
///
/// The machine has no GPU, a network is refused, or the folder cannot be read or written.
pub fn run(options: &EngineOptions) -> anyhow::Result<()> {
    let settings = match &options.config {
        Some(file) => Settings::read(file).map_err(StartError::from)?,
        None => Settings::default(),
    };
    let mut config = settings.inference.clone();
    if options.cache.is_some() {
        config.cache.clone_from(&options.cache);
    }
    let cache = Cache::new(config.cache.clone().unwrap_or_else(default_cache));
    let folder = cache.folder().display().to_string();
    match &options.what {
        What::Build { models, precision } => {
            config.precision = precision.unwrap_or(config.precision);
            let folders = match (models, &options.config) {
                (None, Some(_)) => configured(&settings),
                _ => installed(&models.clone().unwrap_or_else(default_directory))?,
            };
            build(&config, &folders)?;
            show(&cache).context(folder)
        }
        What::List => show(&cache).context(folder),
        What::Clear => {
            let cleared = cache.clear().with_context(|| folder.clone())?;
            say!("{cleared} engines removed from {folder}")?;
            Ok(())
        }
    }
}

/// The networks that a configuration names.
fn configured(settings: &Settings) -> Vec<PathBuf> {
    let models = &settings.models;
    [
        models.finder.as_ref(),
        Some(&models.person),
        Some(&models.lifter),
    ]
    .into_iter()
    .flatten()
    .map(|name| models.folder(name))
    .collect()
}

/// All networks in a folder.
fn installed(models: &Path) -> Result<Vec<PathBuf>, StartError> {
    Ok(list(models)?.into_iter().map(|row| row.folder).collect())
}

/// Builds what is not kept yet.
fn build(config: &InferenceConfig, folders: &[PathBuf]) -> anyhow::Result<()> {
    let config = InferenceConfig {
        engine: Choice::Tensorrt,
        ..config.clone()
    };
    let engine = Engine::open(&config).map_err(StartError::from)?;
    say!("{}", engine.status().reason())?;
    for folder in folders {
        let folder = Folder::open(folder).map_err(StartError::from)?;
        engine.load(&folder).map_err(StartError::from)?;
    }
    let Some(builder) = engine.builder() else {
        say!("nothing to build: all engines are cached")?;
        return Ok(());
    };
    let stop = Arc::<AtomicBool>::default();
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let failed = with_progress(&engine, builder, &stop);
    if !failed.is_empty() {
        return Err(Unavailable(format!("not built: {}", failed.join("; "))).into());
    }
    Ok(())
}

/// Builds on a thread of its own and shows how far that has come; gives what was not built.
fn with_progress(engine: &Engine, builder: Builder, stop: &AtomicBool) -> Vec<String> {
    let style = ProgressStyle::with_template("{msg:40} {bar:30} {percent:>3} % {elapsed}");
    let bar = ProgressBar::new(1000);
    if let Ok(style) = style {
        bar.set_style(style);
    }
    let ended = AtomicBool::new(false);
    let status = engine.status();
    std::thread::scope(|scope| {
        let builds = scope.spawn(|| {
            let failed = builder.run_alone(stop);
            ended.store(true, Ordering::Release);
            failed
        });
        while !ended.load(Ordering::Acquire) {
            if let Some(building) = status.building() {
                bar.set_message(format!("{}: {}", building.network, building.phase));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to 1000"
                )]
                bar.set_position((building.done * 1000.0) as u64);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bar.finish_and_clear();
        builds.join().expect("a panic ends the process")
    })
}

/// A line for each engine that is kept.
fn show(cache: &Cache) -> anyhow::Result<()> {
    let entries = cache.list()?;
    if entries.is_empty() {
        say!("no engines in {}", cache.folder().display())?;
    }
    for entry in entries {
        let path = entry.path.display();
        match entry.key {
            Ok(key) => say!("{path}: {key}, {} bytes", entry.bytes)?,
            Err(unusable) => say!("{path}: {unusable}; it will be built again")?,
        }
    }
    Ok(())
}
