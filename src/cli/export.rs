//! `poised export`: a recording of poses as files that other programs open.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;

use poised::output::export::{ExportError, csv};
use poised::output::record::Recording;

use super::exit::UsageError;
use super::output::{Force, OutputError, Outputs, failed};

#[derive(Debug, Args)]
pub struct ExportOptions {
    /// Recording of poses (.poses), as `replay --record` and `watch --record` write it.
    recording: PathBuf,
    /// Write a table to this file, one row for each frame, person and joint: for pandas, R and spreadsheets.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

impl ExportOptions {
    /// Refuses outputs that would overwrite what is read, or what exists.
    fn check_outputs(&self) -> anyhow::Result<()> {
        if self.csv.is_none() {
            return Err(UsageError("no output given, expected --csv FILE").into());
        }
        let mut outputs = Outputs::new(self.force);
        outputs.reads(&self.recording);
        for (option, path) in [("--csv", &self.csv)] {
            if let Some(path) = path {
                outputs.writes(option, path)?;
            }
        }
        Ok(())
    }
}

/// Writes each file that is asked for. A recording that breaks off is converted up to there, with a warning.
///
/// # Errors
///
/// The recording cannot be read, or a file not be written.
pub fn run(options: &ExportOptions) -> anyhow::Result<()> {
    options.check_outputs()?;
    if let Some(path) = &options.csv {
        to_csv(&options.recording, path)?;
    }
    Ok(())
}

fn to_csv(recording: &Path, path: &Path) -> anyhow::Result<()> {
    let option = "--csv";
    let mut recording = Recording::open(recording)?;
    let mut out = create(option, path)?;
    let written = csv::write(&mut recording, &mut out).map_err(at(option, path))?;
    log::info!(
        "{}: {} rows of {} frames",
        path.display(),
        written.rows,
        written.frames
    );
    Ok(())
}

fn create(option: &'static str, path: &Path) -> Result<BufWriter<File>, OutputError> {
    let file = File::create(path).map_err(|error| failed(option, path, error))?;
    Ok(BufWriter::new(file))
}

/// Says of an error of writing which file it is about.
fn at(option: &'static str, path: &Path) -> impl Fn(ExportError) -> anyhow::Error {
    move |error| match error {
        ExportError::Write(source) => failed(option, path, source).into(),
        other => other.into(),
    }
}
