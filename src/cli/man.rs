//! `poised man`: the manual pages, made from the command line itself. The package calls it.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::output::{self, Force, Outputs};

#[derive(Debug, Args)]
pub struct ManOptions {
    /// Output folder for poised.1 and a page for each command.
    folder: PathBuf,
    #[command(flatten)]
    force: Force,
}

/// Writes the manual pages.
///
/// # Errors
///
/// The folder cannot be written.
pub fn run(options: &ManOptions) -> anyhow::Result<()> {
    let folder = options.folder.as_path();
    Outputs::new(options.force).writes_into("FOLDER", folder, |name| {
        let name = name.to_str().and_then(|name| name.strip_suffix(".1"));
        name.is_some_and(|name| name == "poised" || name.starts_with("poised-"))
    })?;
    output::make_folder("FOLDER", folder)?;
    clap_mangen::generate_to(super::Arguments::command(), folder)
        .map_err(|error| output::failed("FOLDER", folder, error).into())
}
