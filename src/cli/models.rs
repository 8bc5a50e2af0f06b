//! `poised models list|verify`: which networks are installed, and whether they are whole.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use poised::error::StartError;
use poised::infer::engine::{Choice, Engine, InferenceConfig};
use poised::infer::verify;
use poised::models::list;
use poised::pipeline::estimate::default_directory;
use poised::semantics::{open, open_completer};

use super::exit::NothingFits;

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
    /// Where the networks are.
    #[arg(long, global = true)]
    models: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Name, kind, licence and origin of each network.
    List,
    /// Check hashes and shapes, load each network and run it once.
    Verify {
        /// In which engine: tract, onnxruntime, tensorrt, or auto for the best there is.
        #[arg(long, default_value = "tract")]
        engine: Choice,
    },
}

/// Lists or verifies.
///
/// # Errors
///
/// The folder cannot be read, or a network in it does not fit its description.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let models = options.models.clone().unwrap_or_else(default_directory);
    let mut wrong = 0;
    match options.what {
        What::List => {
            for row in list(&models).map_err(StartError::from)? {
                match row.description {
                    Ok(model) => say!(
                        "{:<12} {:<10} {:<22} {}",
                        model.name,
                        format!("{:?}", model.kind).to_lowercase(),
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
            let config = InferenceConfig {
                engine,
                ..InferenceConfig::default()
            };
            let engine = Engine::open(&config).map_err(StartError::from)?;
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
        let what = format!("{wrong} networks in {} do not fit", models.display());
        return Err(NothingFits(what).into());
    }
    Ok(())
}

/// The dictionary, its encoders and its completion: they are checked whenever they are
/// opened, so listing and verifying are one.
fn semantics(folder: &Path) -> anyhow::Result<String> {
    let (encoders, dictionary) = open(folder, None).map_err(StartError::from)?;
    open_completer(folder, &encoders, &dictionary).map_err(StartError::from)?;
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
