//! `poised eval`: the accuracy table.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use poised::base::config::ConfigError;
use poised::error::StartError;
use poised::estimate::EstimateConfig;
use poised::lab::eval::scenario::Scenario;
use poised::lab::eval::table::{Row, Table};
use poised::lab::eval::{self, ClipsPlan, EvalPlan, Method, clips, motion};

use super::print::StdoutError;

#[derive(Debug, Args)]
pub struct EvalOptions {
    /// Index of labelled motion; docs/reference/motion-format.md describes it.
    #[arg(long, required_unless_present = "clips", conflicts_with = "clips")]
    motions: Option<PathBuf>,
    /// Folder of recorded clips, instead of simulated motion; docs/reference/clips-format.md describes it.
    #[arg(long)]
    clips: Option<PathBuf>,
    /// Scenarios to use instead of the default ones.
    #[arg(long, conflicts_with = "clips")]
    scenarios: Option<PathBuf>,
    /// Render the motions and run the networks on the images, instead of simulating a detector.
    #[arg(long, conflicts_with = "clips")]
    render: bool,
    /// Methods, separated by commas: factory, 2d, cycle, latent, floor, complete, replay, semantic, or all of these;
    /// semantic:floor (with a mount); semantic:true, semantic:shuffled, semantic:none to compare labels;
    /// factory:blind, semantic:blind (without image features).
    #[arg(long, value_delimiter = ',', default_value = "factory")]
    methods: Vec<String>,
    /// Random seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Use only every n-th motion or clip.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Folder of the networks.
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
pub fn run(options: &EvalOptions) -> anyhow::Result<()> {
    let methods = methods_of(&options.methods).map_err(StartError::from)?;
    let mut config = EstimateConfig::default();
    if let Some(directory) = &options.models {
        config.models.directory.clone_from(directory);
    }
    let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    let table = match (&options.motions, &options.clips) {
        (_, Some(folder)) => of_clips(options, folder, config, methods.clone(), &names)?,
        (Some(index), None) => of_motions(options, index, config, methods.clone(), &names)?,
        (None, None) => unreachable!("the arguments ask for one of them"),
    };
    if options.json {
        say!("{}", serde_json::to_string_pretty(&table)?)?;
    } else {
        print_table(&table)?;
    }
    Ok(())
}

fn of_motions(
    options: &EvalOptions,
    index: &Path,
    config: EstimateConfig,
    methods: Vec<Method>,
    names: &[&str],
) -> anyhow::Result<Table> {
    let scenarios = Scenario::read(options.scenarios.as_deref()).map_err(StartError::from)?;
    let motions = motion::read(index)?
        .into_iter()
        .step_by(options.every as usize)
        .collect();
    let plan = EvalPlan {
        config,
        methods,
        scenarios,
        motions,
        seed: options.seed,
        render: options.render,
    };
    let progress = progress(plan.streams() as u64, options.json);
    let sums = eval::run(&plan, || progress.inc(1))?;
    progress.finish_and_clear();
    let motions = plan.motions.len() as u64;
    Ok(Table {
        rendered: plan.render,
        ..Table::of(options.seed, names, &plan.scenarios, motions, &sums)
    })
}

fn of_clips(
    options: &EvalOptions,
    folder: &Path,
    config: EstimateConfig,
    methods: Vec<Method>,
    names: &[&str],
) -> anyhow::Result<Table> {
    let clips = clips::read(folder, options.every as usize)?;
    let plan = ClipsPlan {
        config,
        methods,
        clips,
        seed: options.seed,
    };
    let progress = progress(plan.clips.len() as u64, options.json);
    let sums = eval::run_clips(&plan, || progress.inc(1))?;
    progress.finish_and_clear();
    Ok(Table::of_clips(options.seed, names, &plan.clips, &sums))
}

/// The methods of the names given, each once.
fn methods_of(names: &[String]) -> Result<Vec<Method>, ConfigError> {
    let mut methods = Vec::new();
    for name in names {
        let found = match Method::from_name(name) {
            Some(method) => vec![method],
            None if name == "all" => Method::ALL.to_vec(),
            None => {
                return Err(ConfigError::Value {
                    key: "--methods",
                    value: name.clone(),
                    want: "factory, 2d, cycle, latent, floor, complete, replay, semantic, \
                           semantic:floor, semantic:true, semantic:shuffled, semantic:none, factory:blind, \
                           semantic:blind or all",
                });
            }
        };
        for method in found {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
    }
    Ok(methods)
}

fn progress(length: u64, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} streams, {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print_table(table: &Table) -> Result<(), StdoutError> {
    let what = if table.keypoints.is_empty() {
        "motions"
    } else {
        "clips"
    };
    say!(
        "{} {what}{}, {} frames, seed {}; millimetres",
        table.motions,
        if table.rendered { ", drawn" } else { "" },
        table.frames,
        table.seed
    )?;
    for (group, sources) in &table.keypoints {
        let names: Vec<&str> = sources.iter().map(|source| source.name()).collect();
        say!("{group}: keypoints {}", names.join(", "))?;
    }
    say!()?;
    say!(
        "{:<10} {:<17} {:>7} {:>9} {:>10} {:>7} {:>7} {:>7} {:>9} {:>7} {:>6} {:>9} {:>6} {:>5}",
        "scenario",
        "method",
        "MPJPE",
        "PA-MPJPE",
        "PA hidden",
        "hidden",
        "accel",
        "angle",
        "symmetry",
        "cov90",
        "seen",
        "completed",
        "cov90",
        "top1"
    )?;
    for row in &table.rows {
        say!("{}", line(row))?;
    }
    Ok(())
}

fn line(row: &Row) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
    let share = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
    format!(
        "{:<10} {:<17} {:>7} {:>9} {:>10} {:>7} {:>7} {:>7} {:>9} {:>7} {:>6.3} {:>9} {:>6} {:>5}",
        row.scenario,
        row.method,
        number(row.mpjpe_mm),
        number(row.pa_mpjpe_mm),
        number(row.pa_mpjpe_hidden_mm),
        number(row.mpjpe_hidden_mm),
        number(row.accel_mm),
        number(row.angle_deg),
        number(row.symmetry_mm),
        share(row.coverage90),
        row.estimated_share,
        number(row.completed_mm),
        share(row.completed_coverage90),
        share(row.label_top1)
    )
}
