//! `poised eval`: the accuracy table.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use poised::config::ConfigError;
use poised::error::StartError;
use poised::eval::scenario::Scenario;
use poised::eval::table::{Row, Table};
use poised::eval::{self, Plan, motion};
use poised::pipeline::estimate::ModelsConfig;

/// The method there is today.
const FACTORY: &str = "factory";

#[derive(Debug, Args)]
pub struct Options {
    /// Index of labelled motion; docs/motion-format.md describes it.
    #[arg(long)]
    motions: PathBuf,
    /// Scenarios in place of those that ship.
    #[arg(long)]
    scenarios: Option<PathBuf>,
    /// Methods, by commas: factory.
    #[arg(long, value_delimiter = ',', default_value = FACTORY)]
    methods: Vec<String>,
    /// Fixes all that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take every n-th motion only.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Where the networks are.
    #[arg(long)]
    models: Option<PathBuf>,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

/// Evaluates and prints the table.
///
/// # Errors
///
/// A method is unknown, or motion, scenarios or lifter do not open.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(method) = options.methods.iter().find(|m| *m != FACTORY) {
        return Err(StartError::from(ConfigError::Value {
            key: "--methods",
            value: method.clone(),
            want: "factory",
        })
        .into());
    }
    let mut models = ModelsConfig::default();
    if let Some(directory) = &options.models {
        models.directory.clone_from(directory);
    }
    let scenarios = Scenario::read(options.scenarios.as_deref()).map_err(StartError::from)?;
    let motions = motion::read(&options.motions)?
        .into_iter()
        .step_by(options.every as usize)
        .collect();
    let plan = Plan {
        lifter: models.folder(&models.lifter),
        scenarios,
        motions,
        seed: options.seed,
    };
    let progress = progress(
        (plan.motions.len() * plan.scenarios.len()) as u64,
        options.json,
    );
    let sums = eval::run(&plan, || progress.inc(1))?;
    progress.finish_and_clear();
    let table = Table::of(options.seed, FACTORY, &plan.scenarios, &sums);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&table)?);
    } else {
        print_table(&table);
    }
    Ok(())
}

fn progress(length: u64, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} streams, {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print_table(table: &Table) {
    println!(
        "{} motions, {} frames, seed {}; millimetres\n",
        table.motions, table.frames, table.seed
    );
    println!(
        "{:<10} {:<9} {:>7} {:>9} {:>10} {:>7} {:>7} {:>9} {:>7} {:>6}",
        "scenario",
        "method",
        "MPJPE",
        "PA-MPJPE",
        "PA hidden",
        "accel",
        "angle",
        "symmetry",
        "cov90",
        "seen"
    );
    for row in &table.rows {
        println!("{}", line(row));
    }
}

fn line(row: &Row) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
    format!(
        "{:<10} {:<9} {:>7} {:>9} {:>10} {:>7} {:>7} {:>9} {:>7} {:>6.3}",
        row.scenario,
        row.method,
        number(row.mpjpe_mm),
        number(row.pa_mpjpe_mm),
        number(row.pa_mpjpe_hidden_mm),
        number(row.accel_mm),
        number(row.angle_deg),
        number(row.symmetry_mm),
        row.coverage90
            .map_or_else(|| "-".to_owned(), |v| format!("{v:.2}")),
        row.estimated_share
    )
}
