//! The command line: one file for each command.

#[macro_use]
pub mod print;

mod bench;
mod calibrate;
mod check;
mod demo;
mod dictionary;
mod doctor;
mod engine;
mod eval;
mod exercise;
pub mod exit;
mod export;
mod floor;
pub mod log;
mod man;
mod models;
mod networks;
mod output;
mod poses;
mod repetitions;
mod replay;
mod report;
mod run;
mod service;
mod session;
mod watch;

use clap::{Parser, Subcommand};
use poised::sys::pipe;

/// Real-time 3D human pose estimation: camera frames in, metric 3D poses out over Zenoh.
#[derive(Debug, Parser)]
#[command(name = "poised", version, about, long_about = None, after_long_help = exit::manual())]
pub struct Arguments {
    /// Log more (-vv: much more); `RUST_LOG` is honoured as well.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::RunOptions),
    /// Run the whole pipeline on the built-in synthetic camera, out over Zenoh and back in.
    Demo(demo::DemoOptions),
    /// Check a configuration: open its models, calibration and recording, and report errors.
    Check(check::CheckOptions),
    /// Run a video, a folder of images or a stream through the pipeline as fast as possible.
    Replay(replay::ReplayOptions),
    /// Measure the lens of a camera, or how it hangs, from views of a printed board.
    Calibrate(Box<calibrate::CalibrateOptions>),
    /// Convert a recording of poses for other programs.
    Export(export::ExportOptions),
    /// Print the accuracy table from labelled motion.
    Eval(eval::EvalOptions),
    /// Build, show, query or teach the dictionary of actions.
    Dictionary(dictionary::DictionaryOptions),
    /// Make an exercise whose repetitions are counted from clips of your own.
    Exercise(Box<exercise::ExerciseOptions>),
    /// Measure processor time and latency of a frame on this machine.
    Bench(bench::BenchOptions),
    /// List or verify the installed networks.
    Models(models::ModelsOptions),
    /// Build, list or remove cached engines for a GPU.
    Engine(engine::EngineOptions),
    /// Check the setup and suggest fixes: cameras, engine, permissions, clock, Zenoh, disk.
    Doctor(doctor::DoctorOptions),
    /// Subscribe to poses and show a live table.
    Watch(watch::WatchOptions),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man(man::ManOptions),
}

impl Command {
    /// Whether it only prints, so that it may end with its reader. The others hold sessions, videos and
    /// files that must be closed in order.
    const fn only_prints(&self) -> bool {
        matches!(
            self,
            Self::Check(_)
                | Self::Bench(_)
                | Self::Eval(_)
                | Self::Dictionary(_)
                | Self::Models(_)
                | Self::Doctor(_)
                | Self::Man(_)
        )
    }
}

impl Arguments {
    /// The log level asked for on the command line.
    pub const fn log_level(&self) -> ::log::LevelFilter {
        match self.verbose {
            0 => ::log::LevelFilter::Info,
            1 => ::log::LevelFilter::Debug,
            _ => ::log::LevelFilter::Trace,
        }
    }
}

/// Does what the command line asks.
///
/// # Errors
///
/// Whatever kept the command from doing it; [`exit::code`] maps it to an exit code.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.command.only_prints() {
        pipe::end_with_the_reader();
    }
    match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Calibrate(options) => calibrate::run(&options),
        Command::Export(options) => export::run(&options),
        Command::Eval(options) => eval::run(&options),
        Command::Dictionary(options) => dictionary::run(&options),
        Command::Exercise(options) => exercise::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Models(options) => models::run(&options),
        Command::Engine(options) => engine::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Watch(options) => watch::run(&options),
        Command::Man(options) => man::run(&options),
    }
}
