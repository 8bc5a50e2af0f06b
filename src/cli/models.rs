//! `poised models list|verify|install`: which networks are installed, whether they are whole, and one more.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use poised::daemon::settings::Settings;
use poised::detect::verify;
use poised::engine::models::{Folder, install, list};
use poised::engine::select::{Choice, Engine, InferenceConfig};
use poised::error::StartError;
use poised::estimate::{SERVICE_DIRECTORY, default_directory};
use poised::motion::{open, open_completer, open_denoiser};

use super::exit::NothingFits;

#[derive(Debug, Args)]
pub struct ModelsOptions {
    #[command(subcommand)]
    what: What,
    /// Folder of the networks.
    #[arg(long, global = true)]
    models: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List name, kind, licence and origin of each network.
    List,
    /// Check hashes and shapes, load each network and run it once.
    Verify {
        /// Inference engine: tract, onnxruntime, tensorrt, or auto for the best one available.
        #[arg(long, default_value = "tract")]
        engine: Choice,
    },
    /// Verify a model folder and copy it to the service's folder of networks.
    ///
    /// That is --models, else `$POISED_MODELS`, else [models] directory of the service's configuration, else
    /// /usr/share/poised/models.
    Install {
        /// The folder: model.toml, README.md and the network. `./dev movenet` makes one.
        folder: PathBuf,
        /// Replace an installed network of the same name.
        #[arg(long)]
        force: bool,
        /// Inference engine to test it with: tract, onnxruntime, tensorrt, or auto for the best one available.
        #[arg(long, default_value = "tract")]
        engine: Choice,
    },
}

/// The configuration of the service.
const SERVICE_CONFIGURATION: &str = "/etc/poised/poised.toml";

/// Lists, verifies or installs.
///
/// # Errors
///
/// The folder cannot be read, a network in it does not fit its description, or it cannot be copied.
pub fn run(options: &ModelsOptions) -> anyhow::Result<()> {
    let models = options.models.clone().unwrap_or_else(default_directory);
    let mut wrong = 0;
    match &options.what {
        What::Install {
            folder,
            force,
            engine,
        } => return run_install(options.models.as_deref(), folder, *force, *engine),
        What::List => {
            for row in list(&models).map_err(StartError::from)? {
                match row.description {
                    Ok(model) => say!(
                        "{:<12} {:<10} {:<22} {}",
                        model.name,
                        model.kind.name(),
                        model.licence,
                        model.origin
                    )?,
                    Err(error) => {
                        wrong += 1;
                        say!("{}: {error}", row.folder.display())?;
                    }
                }
            }
        }
        What::Verify { engine } => {
            let engine = opened(*engine)?;
            for row in verify(&engine, &models).map_err(StartError::from)? {
                match row.result {
                    Ok(model) => say!(
                        "{:<12} good: {} bytes, sha256 {}, runs in {}",
                        model.description.name,
                        model.bytes,
                        model.sha256,
                        model.engine
                    )?,
                    Err(error) => {
                        wrong += 1;
                        say!("{}: {error}", row.folder.display())?;
                    }
                }
            }
        }
    }
    let folder = models.join("dictionary");
    match semantics(&folder) {
        Ok(line) => say!("{line}")?,
        Err(error) => {
            wrong += 1;
            say!("{}: {error:#}", folder.display())?;
        }
    }
    if wrong > 0 {
        let what = format!("{wrong} networks in {} are invalid", models.display());
        return Err(NothingFits(what).into());
    }
    Ok(())
}

/// Verifies a folder and copies it.
fn run_install(
    models: Option<&Path>,
    folder: &Path,
    force: bool,
    engine: Choice,
) -> anyhow::Result<()> {
    let folder = Folder::open(folder).map_err(StartError::from)?;
    let engine = opened(engine)?;
    let runs_in = engine.load(&folder).map_err(StartError::from)?.engine();
    let directory = match models {
        Some(models) => models.to_owned(),
        None => service_directory()?,
    };
    let place = install(&folder, &directory, force)?;
    say!("{}: installed, runs in {runs_in}", place.display())?;
    let part = folder.description.kind.part();
    if let Some(name) = place.file_name() {
        say!(
            "to use it, put under [models] in {SERVICE_CONFIGURATION}: {part} = \"{}\"; then `poised check {SERVICE_CONFIGURATION}`, `systemctl restart poised`",
            name.display()
        )?;
    }
    Ok(())
}

/// Where the service looks for networks.
fn service_directory() -> Result<PathBuf, StartError> {
    if std::env::var_os("POISED_MODELS").is_some() {
        return Ok(default_directory());
    }
    let file = Path::new(SERVICE_CONFIGURATION);
    if file.exists() {
        let directory = Settings::read(file)?.models.directory;
        // The service runs in the root folder: a relative path is the folder `models` of the caller, not one that the
        // service sees.
        if directory.is_absolute() {
            return Ok(directory);
        }
    }
    Ok(SERVICE_DIRECTORY.into())
}

fn opened(engine: Choice) -> Result<Engine, StartError> {
    let config = InferenceConfig {
        engine,
        ..InferenceConfig::default()
    };
    Ok(Engine::open(&config)?)
}

/// The dictionary, its encoders, its completion and its denoiser: they are checked whenever they are
/// opened, so listing and verifying are one.
fn semantics(folder: &Path) -> anyhow::Result<String> {
    let (encoders, dictionary) = open(folder, None).map_err(StartError::from)?;
    open_completer(folder, &encoders, &dictionary).map_err(StartError::from)?;
    open_denoiser(folder).map_err(StartError::from)?;
    let entries = dictionary.entries();
    let seen = entries.iter().filter(|entry| entry.windows > 0).count();
    Ok(format!(
        "{:<12} {:<10} {:<22} {} entries, {seen} with motion; encoders {}",
        "dictionary",
        "dictionary",
        "Apache-2.0 OR MIT",
        entries.len(),
        &encoders.id[..12]
    ))
}
