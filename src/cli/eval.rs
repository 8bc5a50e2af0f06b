//! `poised eval`: the accuracy table.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use poised::base::config::ConfigError;
use poised::error::StartError;
use poised::estimate::EstimateConfig;
use poised::lab::eval::angles::{self, AngleRow};
use poised::lab::eval::detector::Detector;
use poised::lab::eval::floor::{self, FloorPlan, FloorRow};
use poised::lab::eval::motion::Motion;
use poised::lab::eval::repetitions::{self, RepetitionPlan};
use poised::lab::eval::scenario::Scenario;
use poised::lab::eval::table::{Row, Table};
use poised::lab::eval::{self, ClipsPlan, EvalPlan, Method, clips, motion};
use poised::motion::floor::FloorConfig;

use super::print::StdoutError;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub struct EvalOptions {
    /// Index of labelled motion; docs/reference/motion-format.md describes it.
    #[arg(long, required_unless_present_any = ["clips", "repetitions"], conflicts_with = "clips")]
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
    /// Simulated detector: measured (errs as the person network does on photographs and drawn people) or ideal (errs afresh in
    /// each frame, and knows how much and what is hidden).
    #[arg(long, default_value = "measured", conflicts_with_all = ["clips", "render"])]
    detector: String,
    /// Measure how people on the floor are found, instead of accuracy: hits, delay, false alarms. With --scenarios:
    /// from these cameras.
    #[arg(long, requires = "motions", conflicts_with_all = ["clips", "methods"])]
    floor: bool,
    /// Compare joint angles with the true ones, instead of positions: bias, standard deviation and how true the published
    /// sigma is, by the direction from which a person is seen. With --scenarios: from these cameras.
    #[arg(long, conflicts_with = "floor")]
    angles: bool,
    /// Measure how exactly repetitions are counted: sets of ten of each exercise that ships, done by a figure. With
    /// --motions: also what is counted in these. With --scenarios: from these cameras.
    #[arg(long, conflicts_with_all = ["clips", "methods", "floor", "angles"])]
    repetitions: bool,
    /// With --floor: only motions in which a person is on the floor, and those made of them.
    #[arg(long, requires = "floor")]
    only_floor: bool,
    /// Methods, separated by commas (default: factory; with --angles semantic:floor, of clips semantic): factory, 2d,
    /// cycle, latent, floor, complete, replay, semantic, sem, align, update, gpa, gpa+replay, or all of these;
    /// semantic:floor (with a mount); semantic:true, semantic:shuffled, semantic:none and sem:true, sem:shuffled,
    /// sem:none to compare labels; cycle:unguarded, sem:unguarded, gpa:unguarded (all that is learned is used);
    /// factory:blind, semantic:blind (without image features).
    #[arg(long, value_delimiter = ',')]
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
    let methods = methods_of(&asked(options)).map_err(StartError::from)?;
    let mut config = EstimateConfig::default();
    if let Some(directory) = &options.models {
        config.models.directory.clone_from(directory);
    }
    if options.floor {
        return of_floor(options, config);
    }
    if options.repetitions {
        return of_repetitions(options, config);
    }
    if options.angles {
        return of_angles(options, config, methods);
    }
    let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    let table = match (&options.motions, &options.clips) {
        (_, Some(folder)) => of_clips(options, folder, config, methods.clone(), &names)?,
        (Some(_), None) => of_motions(options, config, methods.clone(), &names)?,
        (None, None) => unreachable!("the arguments ask for one of them"),
    };
    if options.json {
        say!("{}", serde_json::to_string_pretty(&table)?)?;
    } else {
        print_table(&table)?;
    }
    Ok(())
}

/// Names of the methods that are asked for, or the default.
fn asked(options: &EvalOptions) -> Vec<String> {
    if !options.methods.is_empty() {
        return options.methods.clone();
    }
    let method = match (options.angles, &options.clips) {
        (false, _) => Method::Factory,
        (true, None) => Method::SemanticFloor,
        // The mount of a recorded camera is often unknown.
        (true, Some(_)) => Method::Semantic,
    };
    vec![method.name().to_owned()]
}

/// Compares angles with the true ones, and prints the table.
fn of_angles(
    options: &EvalOptions,
    config: EstimateConfig,
    methods: Vec<Method>,
) -> anyhow::Result<()> {
    let rows = if let Some(folder) = &options.clips {
        let plan = ClipsPlan {
            config,
            methods,
            clips: clips::read(folder, options.every as usize)?,
            seed: options.seed,
        };
        let progress = progress(plan.clips.len() as u64, options.json);
        let rows = angles::run_clips(&plan, || progress.inc(1))?;
        progress.finish_and_clear();
        rows
    } else {
        let plan = EvalPlan {
            config,
            methods,
            scenarios: scenarios(options, "angles.toml", angles::SHIPPED)?,
            motions: motions(options)?,
            seed: options.seed,
            render: options.render,
        };
        let progress = progress(plan.streams() as u64, options.json);
        let rows = angles::run(&plan, || progress.inc(1))?;
        progress.finish_and_clear();
        rows
    };
    if options.json {
        say!("{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    say!(
        "| method | angle | view | count | known | completed | bias | sd | sigma | cov90 | straight | bias |"
    )?;
    say!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for row in &rows {
        say!("{}", angle_line(row))?;
    }
    Ok(())
}

/// A line of Markdown.
fn angle_line(row: &AngleRow) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
    format!(
        "| {} | {} | {} | {} | {:.2} | {:.2} | {} | {} | {} | {} | {} | {} |",
        row.method,
        row.angle,
        row.view.name(),
        row.count,
        row.known_share,
        row.completed_share,
        number(row.bias_deg),
        number(row.sd_deg),
        number(row.sigma_deg),
        row.coverage90
            .map_or_else(|| "-".to_owned(), |share| format!("{share:.2}")),
        row.straight,
        number(row.straight_bias_deg)
    )
}

/// Measures how people on the floor are found, and prints the table.
fn of_floor(options: &EvalOptions, config: EstimateConfig) -> anyhow::Result<()> {
    let plan = FloorPlan {
        config,
        floor: FloorConfig::default(),
        scenarios: scenarios(options, "floor.toml", floor::SHIPPED)?,
        motions: motions(options)?,
        seed: options.seed,
        render: options.render,
        only_floor: options.only_floor,
    };
    let progress = progress(0, options.json);
    let rows = floor::run(&plan, |streams| {
        progress.set_length(streams as u64);
        progress.inc(1);
    })?;
    progress.finish_and_clear();
    if options.json {
        say!("{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    say!(
        "{:<8} {:<13} {:>5} {:>5} {:>8} {:>8} {:>7} {:>6} {:>7} {:>8} {:>8}",
        "camera",
        "shown",
        "cases",
        "hits",
        "median s",
        "longest",
        "ended",
        "false",
        "minutes",
        "an hour",
        "us"
    )?;
    for row in &rows {
        say!("{}", floor_line(row))?;
    }
    Ok(())
}

/// The middle of sorted numbers, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(0.5 * (lower + upper))
}

fn floor_line(row: &FloorRow) -> String {
    let delay = |at: Option<&f64>| at.map_or_else(|| "-".to_owned(), |s| format!("{s:.1}"));
    let [ended, of] = row.ended;
    format!(
        "{:<8} {:<13} {:>5} {:>5} {:>8} {:>8} {:>7} {:>6} {:>7.1} {:>8.1} {:>8.2}",
        row.scenario,
        row.kind.map_or("", floor::FloorKind::name),
        row.cases,
        row.hits,
        delay(median(&row.delays_s).as_ref()),
        delay(row.delays_s.last()),
        format!("{ended}/{of}"),
        row.false_alarms,
        row.seconds / 60.0,
        row.alarms_an_hour(),
        row.watch_us
    )
}

/// Measures how exactly repetitions are counted, and prints the table.
fn of_repetitions(options: &EvalOptions, config: EstimateConfig) -> anyhow::Result<()> {
    let plan = RepetitionPlan {
        config,
        scenarios: scenarios(options, "angles.toml", angles::SHIPPED)?,
        motions: motions(options)?,
        render: options.render,
        seed: options.seed,
    };
    let progress = progress(0, options.json);
    let rows = repetitions::run(&plan, |streams| {
        progress.set_length(streams as u64);
        progress.inc(1);
    })?;
    progress.finish_and_clear();
    if options.json {
        say!("{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    say!(
        "| exercise | camera | exact sets | counted | half told | delay s | other: minutes | true | more | less |"
    )?;
    say!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for row in &rows {
        let delay = row
            .delay_s
            .map_or_else(|| "-".to_owned(), |s| format!("{s:.2}"));
        say!(
            "| {} | {} | {}/{} | {} | {} | {delay} | {:.1} | {} | {} | {} |",
            row.exercise,
            row.scenario,
            row.exact,
            row.sets,
            row.counted,
            row.partial_right,
            row.other_minutes,
            row.other_true,
            row.other_more,
            row.other_less
        )?;
    }
    Ok(())
}

/// The motions that are asked for; none without `--motions`.
fn motions(options: &EvalOptions) -> anyhow::Result<Vec<Motion>> {
    let Some(index) = &options.motions else {
        return Ok(Vec::new());
    };
    let all = motion::read(index)?.into_iter();
    Ok(all.step_by(options.every as usize).collect())
}

/// The cameras of `--scenarios`, else those that ship for this, with the simulated detector that is asked for.
fn scenarios(
    options: &EvalOptions,
    file: &str,
    shipped: &str,
) -> Result<Vec<Scenario>, StartError> {
    let scenarios = match &options.scenarios {
        Some(path) => Scenario::read(Some(path)),
        None => Scenario::parse(file.into(), shipped),
    };
    with_detector(scenarios, options)
}

/// Scenarios with the simulated detector that is asked for.
fn with_detector(
    scenarios: Result<Vec<Scenario>, ConfigError>,
    options: &EvalOptions,
) -> Result<Vec<Scenario>, StartError> {
    let mut scenarios = scenarios?;
    if !options.render {
        let detector = Detector::named(&options.detector)?;
        for scenario in &mut scenarios {
            scenario.detector.clone_from(&detector);
        }
    }
    Ok(scenarios)
}

fn of_motions(
    options: &EvalOptions,
    config: EstimateConfig,
    methods: Vec<Method>,
    names: &[&str],
) -> anyhow::Result<Table> {
    let plan = EvalPlan {
        config,
        methods,
        scenarios: with_detector(Scenario::read(options.scenarios.as_deref()), options)?,
        motions: motions(options)?,
        seed: options.seed,
        render: options.render,
    };
    let progress = progress(plan.streams() as u64, options.json);
    let sums = eval::run(&plan, || progress.inc(1))?;
    progress.finish_and_clear();
    let motions = plan.motions.len() as u64;
    Ok(Table {
        rendered: plan.render,
        detector: (!plan.render).then(|| options.detector.clone()),
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
                    want: "factory, 2d, cycle, latent, floor, complete, replay, semantic, sem, align, update, gpa, \
                           gpa+replay, semantic:floor, semantic:true, semantic:shuffled, semantic:none, sem:true, \
                           sem:shuffled, sem:none, cycle:unguarded, sem:unguarded, gpa:unguarded, factory:blind, \
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
        "{} {what}{}{}, {} frames, seed {}; millimetres",
        table.motions,
        if table.rendered { ", drawn" } else { "" },
        table
            .detector
            .as_ref()
            .map_or_else(String::new, |name| format!(", {name} detector")),
        table.frames,
        table.seed
    )?;
    for (group, sources) in &table.keypoints {
        let names: Vec<&str> = sources.iter().map(|source| source.name()).collect();
        say!("{group}: keypoints {}", names.join(", "))?;
    }
    say!()?;
    say!(
        "{:<10} {:<17} {:>7} {:>9} {:>10} {:>7} {:>7} {:>7} {:>9} {:>7} {:>6} {:>9} {:>6} {:>5} {:>7} {:>7} {:>6}",
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
        "top1",
        "across",
        "along",
        "rest"
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
        "{:<10} {:<17} {:>7} {:>9} {:>10} {:>7} {:>7} {:>7} {:>9} {:>7} {:>6.3} {:>9} {:>6} {:>5} {:>7} {:>7} {:>6}",
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
        share(row.label_top1),
        number(row.root_across_mm),
        number(row.root_along_mm),
        number(row.jitter_mm)
    )
}
