//! `poised export`: a recording of poses as files that other programs open.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use poised::output::export::{self, ExportError, csv, mcap, mot, trc};
use poised::output::record::Recording;

use super::exit::UsageError;
use super::output::{Force, OutputError, Outputs, failed};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("of_one").args(["trc", "mot"]).multiple(true))]
pub struct ExportOptions {
    /// Recording of poses (.poses), as `replay --record` and `watch --record` write it, or one that was exported to
    /// MCAP (.mcap).
    recording: PathBuf,
    /// Write a table to this file, one row for each frame, person and joint: for pandas, R and spreadsheets.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Let --csv write joint angles with their standard deviations, in place of joints: one row for each frame, person
    /// and angle.
    #[arg(long, requires = "csv")]
    angles: bool,
    /// Write the joints of one person to this file as markers: for `OpenSim`.
    #[arg(long, value_name = "FILE")]
    trc: Option<PathBuf>,
    /// Write the joint angles of one person to this file as motion: for `OpenSim`.
    #[arg(long, value_name = "FILE")]
    mot: Option<PathBuf>,
    /// The person whom --trc and --mot write; by default the only one in the recording.
    #[arg(long, value_name = "ID", requires = "of_one")]
    person: Option<u32>,
    /// Write joints, skeletons and the recorded messages to this file: for Foxglove, ROS 2 and rerun.
    #[arg(long, value_name = "FILE")]
    mcap: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

impl ExportOptions {
    /// Refuses outputs that would overwrite what is read, or what exists.
    fn check_outputs(&self) -> anyhow::Result<()> {
        let outputs = [
            ("--csv", &self.csv),
            ("--trc", &self.trc),
            ("--mot", &self.mot),
            ("--mcap", &self.mcap),
        ];
        let mut checked = Outputs::new(self.force);
        checked.reads(&self.recording);
        let mut any = false;
        for (option, path) in outputs {
            if let Some(path) = path {
                checked.writes(option, path)?;
                any = true;
            }
        }
        if any {
            return Ok(());
        }
        Err(UsageError("no output: give --csv FILE, --trc FILE, --mot FILE or --mcap FILE").into())
    }
}

/// Writes each file that is asked for. A recording that breaks off is converted up to there, with a warning.
///
/// # Errors
///
/// The recording cannot be read, or a file not be written; for markers and motion, it is not clear of whom.
pub fn run(options: &ExportOptions) -> anyhow::Result<()> {
    options.check_outputs()?;
    if let Some(path) = &options.csv {
        to_csv(&options.recording, options.angles, path)?;
    }
    if let Some(path) = &options.trc {
        of_one("--trc", trc::write, options, path)?;
    }
    if let Some(path) = &options.mot {
        of_one("--mot", mot::write, options, path)?;
    }
    if let Some(path) = &options.mcap {
        to_mcap(&options.recording, path)?;
    }
    Ok(())
}

fn to_csv(recording: &Path, angles: bool, path: &Path) -> anyhow::Result<()> {
    let option = "--csv";
    let mut recording = export::open(recording)?;
    let mut out = create(option, path)?;
    let written = if angles {
        csv::write_angles(&mut recording, &mut out)
    } else {
        csv::write(&mut recording, &mut out)
    };
    let written = written.map_err(at(option, path))?;
    let (rows, frames) = (written.rows, written.frames);
    log::info!("{}: {rows} rows of {frames} frames", path.display());
    Ok(())
}

type Source = Recording<Box<dyn Read>>;

/// What writes a file about one person: the recording, the plan, the name of the file.
type WriteOne = fn(&mut Source, &trc::Plan, &str, &mut BufWriter<File>) -> Result<(), ExportError>;

fn of_one(
    option: &'static str,
    write: WriteOne,
    options: &ExportOptions,
    path: &Path,
) -> anyhow::Result<()> {
    let open = || -> anyhow::Result<Source> { Ok(export::open(&options.recording)?) };
    // Whom it is about is known before the file is made.
    let plan = trc::plan(&mut open()?, options.person)?;
    let mut out = create(option, path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    write(&mut open()?, &plan, &name, &mut out).map_err(at(option, path))?;
    let (person, frames) = (plan.person(), plan.frames());
    log::info!("{}: person {person}, {frames} frames", path.display());
    Ok(())
}

fn to_mcap(recording: &Path, path: &Path) -> anyhow::Result<()> {
    let option = "--mcap";
    let mut recording = export::open(recording)?;
    let out = create(option, path)?;
    let written = mcap::write(&mut recording, out).map_err(at(option, path))?;
    log::info!("{}: {} frames", path.display(), written.frames);
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
