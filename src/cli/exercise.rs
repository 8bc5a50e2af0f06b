//! `poised exercise teach`: an exercise from clips of one's own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use poised::base::config::{ConfigError, read_text};
use poised::base::file::Replacement;
use poised::error::StartError;
use poised::estimate::EstimateConfig;
use poised::motion::exercise::teach::{
    Candidate, TEACH_CLIPS_MAX, TEACH_REPETITIONS_MAX, Taught, TeachClip, TeachReader, teach,
};
use poised::motion::exercise::{can_add, with_exercise};

use super::exit::UsageError;
use super::networks::Networks;
use super::output::failed;
use super::replay;
use super::report::round;

/// A person seen in less than this share of a film was lost in between: repetitions may be missing.
const SEEN_SHARE: f64 = 0.8;

/// Fewest degrees between thresholds and repetitions that are no reason for a warning: the noise of a good angle.
const MARGIN_DEG: f32 = 5.0;

#[derive(Debug, Args)]
pub struct ExerciseOptions {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an exercise that `replay --exercise` and the daemon count from one to three clips of one person doing it.
    Teach(TeachOptions),
}

#[derive(Debug, Args)]
pub struct TeachOptions {
    /// Clips of one person who rests, does the exercise, and rests again: videos, or recordings (.poses, .mcap).
    #[arg(required = true, num_args = 1..=TEACH_CLIPS_MAX)]
    clips: Vec<String>,
    /// Name of the new exercise.
    #[arg(long)]
    name: String,
    /// How often the exercise is done in each clip: one number for all, or one for each, separated by commas.
    #[arg(long, required = true, value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=i64::from(TEACH_REPETITIONS_MAX)))]
    count: Vec<u32>,
    /// Use this signal, such as `knee_flexion`, instead of the one that tells repetitions best.
    #[arg(long, value_name = "ANGLE")]
    signal: Option<String>,
    /// The person to learn from; by default the only one.
    #[arg(long, value_name = "ID")]
    person: Option<u32>,
    /// Add the exercise to this file; it is created if it does not exist. By default the exercise is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace an exercise of this name in the file.
    #[arg(long, requires = "out")]
    force: bool,
    /// Calibration of the camera (.toml, or .yaml of ROS, `OpenCV` or Kalibr); angles of the trunk need its [mount].
    #[arg(long)]
    calibration: Option<PathBuf>,
    #[command(flatten)]
    networks: Networks,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Does what is asked about exercises.
///
/// # Errors
///
/// A clip does not open or shows no exercise, or the file cannot be written or has an exercise of that name.
pub fn run(options: &ExerciseOptions) -> anyhow::Result<()> {
    match &options.what {
        What::Teach(options) => run_teach(options),
    }
}

/// A clip in the report.
#[derive(Debug, Serialize)]
struct ClipRow<'a> {
    clip: &'a str,
    person: u32,
    seconds: f64,
    /// Share of the film in which the person is seen.
    seen_share: f64,
    /// Repetitions that were said to be in it.
    asked: u32,
    /// Whole and partial ones counted with the exercise.
    counted: [u32; 2],
    /// The same with what the other clips teach; null without others, or if they teach nothing.
    left_out: Option<[u32; 2]>,
}

#[derive(Debug, Serialize)]
struct Learned<'a> {
    exercise: &'a Candidate,
    clips: Vec<ClipRow<'a>>,
    candidates: &'a [Candidate],
    /// Its table for a file of exercises.
    table: String,
}

fn run_teach(options: &TeachOptions) -> anyhow::Result<()> {
    if ![1, options.clips.len()].contains(&options.count.len()) {
        return Err(UsageError("--count: give one number for all clips, or one for each").into());
    }
    // Before clips are looked at, which takes a while.
    let config = options.networks.estimate_config()?;
    let file = options
        .out
        .as_deref()
        .unwrap_or(Path::new("--name"))
        .to_owned();
    let old = options
        .out
        .as_deref()
        .map_or_else(|| Ok(String::new()), text_of)?;
    can_add(&file, &old, &options.name, options.force).map_err(StartError::from)?;

    let counts = options.count.iter().cycle();
    let clips = options
        .clips
        .iter()
        .zip(counts)
        .map(|(clip, count)| clip_of(options, &config, clip, *count))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let taught = match teach(&options.name, &clips, options.signal.as_deref()) {
        Ok(taught) => taught,
        Err(error) => {
            if !options.json && !error.candidates().is_empty() {
                print_candidates(error.candidates(), "")?;
            }
            return Err(error.into());
        }
    };
    if let Some(path) = &options.out {
        // Read again: another command may have added to it meanwhile.
        let replacement = Replacement::begin(path).map_err(|error| failed("--out", path, error))?;
        let text = with_exercise(path, &text_of(path)?, &taught.best.exercise, options.force)
            .map_err(StartError::from)?;
        replacement
            .finish(text.as_bytes())
            .map_err(|error| failed("--out", path, error))?;
    }
    warn(&taught, &clips);
    report(options, &taught, &clips)
}

/// The text of a file, which may not exist yet.
fn text_of(path: &Path) -> Result<String, StartError> {
    match read_text(path) {
        Err(ConfigError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Ok(String::new())
        }
        read => Ok(read?),
    }
}

/// Plays a clip.
fn clip_of(
    options: &TeachOptions,
    config: &EstimateConfig,
    clip: &str,
    count: u32,
) -> anyhow::Result<TeachClip> {
    let mut reader = TeachReader::new(clip, count, options.person);
    replay::play(clip, options.calibration.clone(), config, |_, sample| {
        Ok(reader.add(sample)?)
    })?;
    Ok(reader.finish()?)
}

/// Tells what makes the exercise less certain than it looks.
fn warn(taught: &Taught, clips: &[TeachClip]) {
    for clip in clips.iter().filter(|clip| clip.seen_share < SEEN_SHARE) {
        log::warn!(
            "{}: person {} is seen in {:.0} % of it only",
            clip.name,
            clip.person,
            100.0 * clip.seen_share
        );
    }
    for (left_out, clip) in taught.left_out.iter().zip(clips) {
        if left_out.is_none_or(|[whole, _]| whole != clip.repetitions) {
            log::warn!(
                "{}: what the other clips teach counts {} of its {} repetitions; add a clip, or make them more alike",
                clip.name,
                left_out.map_or(0, |[whole, _]| whole),
                clip.repetitions
            );
        }
    }
    let margin = taught.best.margin_deg;
    if margin < MARGIN_DEG {
        log::warn!("a repetition or a rest comes within {margin:.0} degrees of a threshold");
    }
}

fn report(options: &TeachOptions, taught: &Taught, clips: &[TeachClip]) -> anyhow::Result<()> {
    let mut left_out = taught.left_out.iter();
    let counted = taught.best.counted.iter();
    let rows: Vec<ClipRow<'_>> = clips
        .iter()
        .zip(counted)
        .map(|(clip, counted)| ClipRow {
            clip: &clip.name,
            person: clip.person,
            seconds: round(clip.seconds()),
            seen_share: round(clip.seen_share),
            asked: clip.repetitions,
            counted: *counted,
            left_out: left_out.next().copied().flatten(),
        })
        .collect();
    let table = taught.best.exercise.to_toml();
    if options.json {
        let learned = Learned {
            exercise: &taught.best,
            clips: rows,
            candidates: &taught.candidates,
            table,
        };
        say!("{}", serde_json::to_string_pretty(&learned)?)?;
        return Ok(());
    }
    // Without a file, what is printed is one.
    let mark = if options.out.is_some() { "" } else { "# " };
    for row in &rows {
        let left_out = match row.left_out {
            Some([whole, _]) => format!(", {whole} with what the other clips teach"),
            None => String::new(),
        };
        say!(
            "{mark}{}: person {}, {:.1} s, {} of {} repetitions{left_out}",
            row.clip,
            row.person,
            row.seconds,
            row.counted[0],
            row.asked
        )?;
    }
    print_candidates(&taught.candidates, mark)?;
    if let Some(path) = &options.out {
        say!("{}: added {:?}", path.display(), options.name)?;
    } else {
        say!()?;
    }
    say!("{}", table.trim_end())?;
    Ok(())
}

/// A line for each signal that was tried.
fn print_candidates(candidates: &[Candidate], mark: &str) -> anyhow::Result<()> {
    say!(
        "{mark}{:<20} {:<6} {:<5} {:<17} {:>9} {:>12} {:>7} {:>6} {:>6} {:>9} {:>6}",
        "signal",
        "sides",
        "rest",
        "outcome",
        "counted",
        "range deg",
        "margin",
        "sigma",
        "other",
        "measured",
        "score"
    )?;
    for one in candidates {
        let counts: Vec<String> = one
            .counted
            .iter()
            .map(|[whole, _]| whole.to_string())
            .collect();
        let [rest, reach] = one.range_deg;
        let (counts, range) = if counts.is_empty() {
            ("-".to_owned(), "-".to_owned())
        } else {
            (counts.join(", "), format!("{rest:.0} to {reach:.0}"))
        };
        say!(
            "{mark}{:<20} {:<6} {:<5} {:<17} {:>9} {:>12} {:>7.0} {:>6.0} {:>6.0} {:>7.0} % {:>6.1}",
            one.exercise.signal,
            one.exercise.sides.name(),
            one.exercise.rest.name(),
            one.outcome.name(),
            counts,
            range,
            one.margin_deg,
            one.sigma_deg,
            one.other_deg,
            100.0 * one.measured_share,
            one.score
        )?;
    }
    Ok(())
}
