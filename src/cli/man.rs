//! `poised man`: the manual pages, made from the command line itself. The package calls it.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

#[derive(Debug, Args)]
pub struct Options {
    /// Folder to write poised.1 and a page for each command into.
    folder: PathBuf,
}

/// Writes the manual pages.
///
/// # Errors
///
/// The folder cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let folder = options.folder.as_path();
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    clap_mangen::generate_to(super::Arguments::command(), folder)
        .with_context(|| folder.display().to_string())
}
