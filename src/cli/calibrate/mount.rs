//! `poised calibrate mount`: height and angles of a camera, from a board that lies on the floor or from people who walk.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use poised::camera::calibrate::mount::{Measured, measure};
use poised::camera::calibrate::{self, Finder, Views};
use poised::camera::{Calibration, Mount};

use super::BoardOptions;
use super::look::{Looking, Size};
use super::people;
use crate::cli::networks::Networks;
use crate::cli::output::{Force, Outputs};

#[derive(Debug, Args)]
pub struct MountOptions {
    /// What shows the board on the floor: a picture, a film, a camera (/dev/video0), or the address of a network camera.
    source: OsString,
    /// Calibration of the camera (.toml, or .yaml of ROS, `OpenCV` or Kalibr).
    #[arg(long, value_name = "FILE")]
    camera: PathBuf,
    /// Measure from people who walk on a level floor, instead of a board: less exact, and adults only. A recording
    /// (.poses, .mcap) will do.
    #[arg(long, conflicts_with_all = ["board", "columns", "rows", "square", "marker", "dictionary", "size"])]
    from_people: bool,
    #[command(flatten)]
    networks: Networks,
    #[command(flatten)]
    board: BoardOptions,
    /// Width and height to ask of a camera (/dev/video0), in pixels; by default those of the calibration.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    size: Option<Size>,
    /// Write the calibration with its `[mount]` to this file (.toml).
    #[arg(long, value_name = "FILE.toml")]
    out: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

/// Measures the mount and prints it as the lines of a calibration.
///
/// # Errors
///
/// Wrong arguments, no board on the floor, or a file that is not written.
pub fn run(options: &MountOptions) -> anyhow::Result<()> {
    let board = options.board.board()?;
    let mut outputs = Outputs::new(options.force);
    outputs.reads_source(&options.source);
    outputs.reads(&options.camera);
    options.networks.read_by(&mut outputs);
    if let Some(path) = &options.out {
        super::ends_in(path, &["toml"], "--out: the file must end in .toml")?;
        outputs.writes("--out", path)?;
    }
    let camera = Calibration::read(&options.camera)?;
    if options.from_people {
        return from_people(options, &camera);
    }
    let (width_px, height_px) = camera.size_px();
    let size = options.size.unwrap_or(Size {
        width_px,
        height_px,
    });
    say!("looking for: {board}")?;
    let mut views = Views::of_floor(Finder::new(board));
    Looking::new(size, &mut views)?.at(&options.source)?;
    let camera = match views.size_px() {
        Some((width_px, height_px)) => camera.scaled_to(width_px, height_px)?,
        None => camera,
    };
    let measured = measure(&views, &camera)?;
    print(&measured)?;
    write(options, camera, measured.mount)
}

fn from_people(options: &MountOptions, camera: &Calibration) -> anyhow::Result<()> {
    let config = options.networks.estimate_config()?;
    let (found, camera) = people::mount(&options.source, camera, config)?;
    say!(
        "{} samples of {} people, taken as adults of usual size",
        found.samples,
        found.people
    )?;
    let sigmas = [
        found.height_sigma_m,
        found.down_sigma_deg,
        found.roll_sigma_deg,
    ];
    print_mount(&found.mount, sigmas.map(f64::from))?;
    write(options, camera, found.mount)
}

fn write(options: &MountOptions, camera: Calibration, mount: Mount) -> anyhow::Result<()> {
    if let Some(path) = &options.out {
        let text = camera.with_mount(mount)?.to_toml();
        super::write("--out", path, text.as_bytes())?;
    }
    Ok(())
}

/// The lines of a calibration; sigmas of height, angle down and roll.
fn print_mount(mount: &Mount, [height_m, down_deg, roll_deg]: [f64; 3]) -> anyhow::Result<()> {
    say!("[mount]")?;
    say!("height_m = {:.3} # +- {height_m:.3}", mount.height_m)?;
    say!("down_deg = {:.2} # +- {down_deg:.2}", mount.down_deg)?;
    say!("roll_deg = {:.2} # +- {roll_deg:.2}", mount.roll_deg)?;
    Ok(())
}

fn print(measured: &Measured) -> anyhow::Result<()> {
    let mount = &measured.mount;
    say!(
        "\n{} pictures, residual {:.3} px, the board {:.2} m away",
        measured.pictures,
        measured.residual_px,
        measured.distance_m
    )?;
    let sigmas = [
        measured.height_sigma_m,
        measured.down_sigma_deg,
        measured.roll_sigma_deg,
    ];
    print_mount(mount, sigmas)?;
    if measured.residual_px > calibrate::RESIDUAL_PX.1 {
        log::warn!(
            "the residual is {:.2} px: is --camera that of this camera, and the board flat?",
            measured.residual_px
        );
    }
    Ok(())
}
