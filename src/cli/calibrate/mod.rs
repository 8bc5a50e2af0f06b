//! `poised calibrate`: the lens of a camera from views of a board, and how the camera hangs.

mod guide;
mod look;
mod mount;
mod people;
mod report;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use poised::base::clock::unix_ns;
use poised::base::file::replace;
use poised::camera::Calibration;
use poised::camera::calibrate::{
    self, Board, BoardError, BoardKind, Finder, LensModel, Outcome, Verdict, Views, print,
};

use super::exit::{NothingFits, UsageError};
use super::output::{Force, Outputs, failed};
use guide::Guide;
use look::{Looking, Size};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct CalibrateOptions {
    #[command(subcommand)]
    command: Option<CalibrateCommand>,
    /// What shows the board: folders of pictures, pictures, a film, a camera (/dev/video0), or the address of a network
    /// camera. Twenty views, in all parts of the picture, tilted.
    sources: Vec<OsString>,
    #[command(flatten)]
    board: BoardOptions,
    /// Lens model to estimate.
    #[arg(long, value_enum, default_value = "plumb_bob")]
    model: Model,
    /// Camera and lens in words, for the file; by default the first source.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Width and height to ask of a camera (/dev/video0), in pixels: those it will run with.
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "640x480")]
    size: Size,
    /// Write the calibration to this file (.toml).
    #[arg(long, value_name = "FILE.toml")]
    out: Option<PathBuf>,
    /// Write it as the `camera_info` of ROS to this file (.yaml).
    #[arg(long, value_name = "FILE.yaml")]
    ros: Option<PathBuf>,
    /// Compare this calibration with what the views say.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Write the board to this file, true to size, to be printed at 100 % (.svg or .png).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "ros", "check"])]
    print: Option<PathBuf>,
    /// Paper for --print.
    #[arg(long, value_enum, default_value = "a4")]
    paper: PaperSize,
    /// Show on a web page what is still missing, to be looked at while the board is moved: an address and a port, such
    /// as 127.0.0.1:8080, or 0.0.0.0:8080 for a phone (with a token, which is printed). No images.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "print")]
    web: Option<SocketAddr>,
    #[command(flatten)]
    force: Force,
}

#[derive(Debug, Subcommand)]
enum CalibrateCommand {
    /// Measure how a camera hangs, from a board that lies on the floor face up, or from people who walk.
    Mount(Box<mount::MountOptions>),
}

/// Which board it is.
#[derive(Debug, Args)]
struct BoardOptions {
    /// Kind of board: a `ChArUco` board may be cut off in the picture, a chessboard must be seen as a whole.
    #[arg(long, value_enum, default_value = "charuco")]
    board: Kind,
    /// Columns of squares (not of inner corners), 4 to 40.
    #[arg(long, default_value_t = 10)]
    columns: u32,
    /// Rows of squares (not of inner corners), 4 to 40.
    #[arg(long, default_value_t = 7)]
    rows: u32,
    /// Side of a square as printed, in millimetres, 1 to 1000.
    #[arg(long, value_name = "MM", default_value_t = 25.0)]
    square: f64,
    /// Side of a marker as printed, in millimetres, 0.3 to 0.9 of a square; by default 0.72.
    #[arg(long, value_name = "MM")]
    marker: Option<f64>,
    /// Dictionary of the markers, by its name in `OpenCV`.
    #[arg(long, value_name = "NAME")]
    dictionary: Option<String>,
}

impl BoardOptions {
    fn board(&self) -> Result<Board, BoardError> {
        let kind = match self.board {
            Kind::Charuco => BoardKind::Charuco,
            Kind::Chessboard => BoardKind::Chessboard,
        };
        let squares = (self.columns, self.rows);
        let dictionary = self.dictionary.as_deref();
        Board::new(kind, squares, self.square, self.marker, dictionary)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Charuco,
    Chessboard,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Model {
    /// Radial and tangential, for lenses up to about 110 degrees.
    #[value(name = "plumb_bob")]
    PlumbBob,
    /// Fisheye.
    #[value(name = "equidistant")]
    Equidistant,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PaperSize {
    A4,
    Letter,
}

/// Makes the board, measures a mount, or calibrates and checks.
///
/// # Errors
///
/// Wrong arguments, no source or too few views, a calibration that is of no use, or a file that is not written.
pub fn run(options: &CalibrateOptions) -> anyhow::Result<()> {
    if let Some(CalibrateCommand::Mount(options)) = &options.command {
        return mount::run(options);
    }
    let board = options.board.board()?;
    let mut outputs = Outputs::new(options.force);
    for source in &options.sources {
        outputs.reads_source(source);
    }
    if let Some(path) = &options.check {
        outputs.reads(path);
    }
    if let Some(path) = &options.print {
        return print_board(board, options, path, &mut outputs);
    }
    for (option, path, ends, usage) in [
        (
            "--out",
            &options.out,
            &["toml"][..],
            "--out: the file must end in .toml",
        ),
        (
            "--ros",
            &options.ros,
            &["yaml", "yml"][..],
            "--ros: the file must end in .yaml",
        ),
    ] {
        if let Some(path) = path {
            ends_in(path, ends, usage)?;
            outputs.writes(option, path)?;
        }
    }
    if options.sources.is_empty() {
        let usage =
            "no source: give a folder of pictures, a film or a camera, or --print FILE for a board";
        return Err(UsageError(usage).into());
    }
    calibrate(board, options)
}

fn calibrate(board: Board, options: &CalibrateOptions) -> anyhow::Result<()> {
    let old = options
        .check
        .as_deref()
        .map(Calibration::read)
        .transpose()?;
    let first = poised::capture::without_password(&options.sources[0].to_string_lossy());
    say!("looking for: {board}")?;
    let mut views = Views::new(Finder::new(board));
    let mut looking = Looking::new(options.size, &mut views)?;
    if let Some(listen) = options.web {
        looking.guided_by(Guide::open(listen, &first)?);
    }
    for source in &options.sources {
        looking.at(source)?;
    }
    let seen = looking.pictures();
    say!(
        "{} of {seen} pictures looked at are kept{}",
        views.kept().len(),
        calibrate::refusals(&views)
    )?;
    let model = match options.model {
        Model::PlumbBob => LensModel::PlumbBob,
        Model::Equidistant => LensModel::Equidistant,
    };
    let name = options.name.clone().unwrap_or(first);
    let found = calibrate::calibrate(&views, model, &name, Some(report::today(unix_ns())))?;
    report::print(&found, &views.missing())?;
    let checked = old
        .map(|old| report::check(&views, &old, &found))
        .transpose()?;
    if found.verdict == Verdict::Unusable {
        return Err(
            NothingFits("the calibration is unusable; nothing is written".to_owned()).into(),
        );
    }
    let text = calibrate::toml(&found);
    if let Some(path) = &options.out {
        write("--out", path, text.as_bytes())?;
    }
    if let Some(path) = &options.ros {
        write(
            "--ros",
            path,
            calibrate::ros(&found.calibration, &name).as_bytes(),
        )?;
    }
    match checked {
        Some(Outcome::Changed) => {
            let why = "the older calibration does not fit these views any more".to_owned();
            Err(NothingFits(why).into())
        }
        None if options.out.is_none() && options.ros.is_none() => {
            // What took an hour to film is not lost for want of an option.
            say!("\n{text}")?;
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

fn print_board(
    board: Board,
    options: &CalibrateOptions,
    path: &Path,
    outputs: &mut Outputs,
) -> anyhow::Result<()> {
    let usage = "--print: the file must end in .svg or .png";
    ends_in(path, &["svg", "png"], usage)?;
    outputs.writes("--print", path)?;
    let paper = match options.paper {
        PaperSize::A4 => print::Paper::A4,
        PaperSize::Letter => print::Paper::Letter,
    };
    let sheet = print::Sheet::new(board, paper)?;
    let is_svg = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("svg"));
    let bytes = if is_svg {
        sheet.svg().into_bytes()
    } else {
        sheet.png()?
    };
    write("--print", path, &bytes)?;
    say!(
        "{board}: print it at 100 %, without fitting it to the page, and measure the line below it"
    )?;
    Ok(())
}

/// Checks how the name of a file ends.
fn ends_in(path: &Path, ends: &[&str], usage: &'static str) -> Result<(), UsageError> {
    let end = path.extension().and_then(|end| end.to_str());
    let end = end.map(str::to_ascii_lowercase).unwrap_or_default();
    if ends.contains(&end.as_str()) {
        return Ok(());
    }
    Err(UsageError(usage))
}

fn write(option: &'static str, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    replace(path, bytes).map_err(|error| failed(option, path, error))?;
    log::info!("{}: written", path.display());
    Ok(())
}
