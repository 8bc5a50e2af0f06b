//! `poised dictionary build|record|show|query|teach|remove`: the motion-text dictionary.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use poised::clock::Clock;
use poised::counters::Counters;
use poised::error::StartError;
use poised::eval::scenario::Scenario;
use poised::eval::{motion, recordings};
use poised::frame::Frame;
use poised::pipeline::estimate::{EstimateConfig, Estimator, ModelsConfig, Poser};
use poised::pose::PoseSample;
use poised::record::Recording;
use poised::semantics::build::{BuildError, build, read_phrases, teach};
use poised::semantics::clip::{ClipReader, ClipWindow};
use poised::semantics::dictionary::{Dictionary, Entry, Origin};
use poised::semantics::encoder::Encoders;
use poised::semantics::{DICTIONARY_FILE, ENCODER_FILE, SemanticsError, open as open_dictionary};

use super::replay;
use super::report::round;

/// Phrases that `query` names beside the best.
const BEST: usize = 5;

/// Length of a window, seconds: the first ends so long after the clip's beginning.
const WINDOW_S: f64 = 2.0;

/// Neighbours that `show` names.
const NEIGHBOURS: usize = 3;

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
    /// The dictionary, in place of the one that ships.
    #[arg(long, global = true)]
    dictionary: Option<PathBuf>,
    /// Where the networks are.
    #[arg(long, global = true)]
    models: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Build a dictionary from labelled motion (docs/motion-format.md).
    Build {
        /// Index of labelled motion; may be given several times.
        #[arg(long, required = true)]
        motions: Vec<PathBuf>,
        /// Phrases (.json) with their vectors (.safetensors beside it); by default those that ship.
        #[arg(long)]
        phrases: Option<PathBuf>,
        /// Leave out motions whose name begins so, or that carry this phrase; may be given several times.
        #[arg(long)]
        leave_out: Vec<String>,
        /// Where to write it.
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Record labelled motion as simulated cameras see it (.poses), for `teach`, `query` and `replay`.
    Record {
        /// Index of labelled motion.
        #[arg(long)]
        motions: PathBuf,
        /// Scenarios (docs/accuracy.md); by default the unshifted one of those that ship.
        #[arg(long)]
        scenarios: Option<PathBuf>,
        /// Only motions that carry this action; may be given several times.
        #[arg(long)]
        action: Vec<String>,
        /// Fixes all that is drawn.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The folder to write into: a file for each motion and scenario.
        #[arg(short, long)]
        output: PathBuf,
    },
    /// List the entries, or one with its neighbours.
    Show {
        /// An entry.
        phrase: Option<String>,
    },
    /// Say what a clip shows, over time: a video, a folder of images or a recording (.poses).
    Query {
        /// The clip.
        clip: String,
    },
    /// Add an action from one or a few clips that show it, and nothing else.
    Teach {
        /// What it is to be called.
        #[arg(long)]
        name: String,
        /// Clips: videos, folders of images, recordings (.poses).
        #[arg(required = true)]
        clips: Vec<String>,
    },
    /// Take an entry away.
    Remove {
        /// The entry.
        phrase: String,
    },
}

/// Does what is asked of the dictionary.
///
/// # Errors
///
/// A file does not open or does not fit, a clip shows nothing, or the dictionary cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        What::Build {
            motions,
            phrases,
            leave_out,
            output,
        } => run_build(options, motions, phrases.as_deref(), leave_out, output),
        What::Record {
            motions,
            scenarios,
            action,
            seed,
            output,
        } => run_record(
            options,
            motions,
            scenarios.as_deref(),
            action,
            *seed,
            output,
        ),
        What::Show { phrase } => {
            let (_, dictionary) = options.open()?;
            match phrase {
                Some(phrase) => show_one(&dictionary, phrase, options.json),
                None => show_all(&dictionary, options.json),
            }
        }
        What::Query { clip } => query(options, clip),
        What::Teach { name, clips } => run_teach(options, name, clips),
        What::Remove { phrase } => {
            let (_, mut dictionary) = options.open()?;
            dictionary.remove(phrase)?;
            dictionary.write(&options.file())?;
            println!(
                "{phrase:?} is gone, {} entries are left",
                dictionary.entries().len()
            );
            Ok(())
        }
    }
}

impl Options {
    fn config(&self) -> EstimateConfig {
        let mut config = EstimateConfig::default();
        if let Some(models) = &self.models {
            config.models.directory.clone_from(models);
        }
        config.semantics.dictionary.clone_from(&self.dictionary);
        config
    }

    fn folder(&self) -> PathBuf {
        let ModelsConfig { dictionary, .. } = ModelsConfig::default();
        self.config().models.folder(&dictionary)
    }

    fn file(&self) -> PathBuf {
        let shipped = || self.folder().join(DICTIONARY_FILE);
        self.dictionary.clone().unwrap_or_else(shipped)
    }

    fn open(&self) -> Result<(Encoders, Dictionary), StartError> {
        Ok(open_dictionary(&self.folder(), self.dictionary.as_deref())?)
    }
}

fn run_build(
    options: &Options,
    indices: &[PathBuf],
    phrases: Option<&Path>,
    leave_out: &[String],
    output: &Path,
) -> anyhow::Result<()> {
    let folder = options.folder();
    let path = folder.join(ENCODER_FILE);
    let encoders = Encoders::read(&path)
        .map_err(|source| StartError::from(SemanticsError::Encoder { path, source }))?;
    let shipped = folder.join("phrases.json");
    let phrases = read_phrases(phrases.unwrap_or(&shipped), encoders.width())?;
    let mut motions = Vec::new();
    for index in indices {
        motions.extend(motion::read(index)?);
    }
    let before = motions.len();
    motions.retain(|motion| {
        !leave_out
            .iter()
            .any(|word| motion.id.starts_with(word.as_str()) || motion.actions.contains(word))
    });
    let left_out = before - motions.len();
    let progress = progress(motions.len() as u64, options.json);
    let dictionary = build(&encoders, &phrases, &motions, || progress.inc(1))?;
    progress.finish_and_clear();
    dictionary.write(output)?;
    let seen = dictionary
        .entries()
        .iter()
        .filter(|entry| entry.windows > 0);
    println!(
        "{}: {} entries, {} of them with motion; {} motions, {left_out} left out",
        output.display(),
        dictionary.entries().len(),
        seen.count(),
        motions.len(),
    );
    Ok(())
}

fn run_record(
    options: &Options,
    index: &Path,
    scenarios: Option<&Path>,
    actions: &[String],
    seed: u64,
    folder: &Path,
) -> anyhow::Result<()> {
    let mut views = Scenario::read(scenarios).map_err(StartError::from)?;
    if scenarios.is_none() {
        views.truncate(1);
    }
    let mut motions = motion::read(index)?;
    if !actions.is_empty() {
        motions.retain(|motion| motion.actions.iter().any(|action| actions.contains(action)));
    }
    anyhow::ensure!(!motions.is_empty(), "no motion carries any of {actions:?}");
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let progress = progress(motions.len() as u64, options.json);
    let mut files = 0;
    for motion in &motions {
        files += recordings::record(motion, &views, seed, folder)?.len();
        progress.inc(1);
    }
    progress.finish_and_clear();
    println!(
        "{}: {files} recordings of {} motions",
        folder.display(),
        motions.len()
    );
    Ok(())
}

fn progress(length: u64, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} motions, {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show_all(dictionary: &Dictionary, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(dictionary.entries())?);
        return Ok(());
    }
    println!(
        "{:<34} {:<7} {:>6} {:>8} {:>7}",
        "phrase", "origin", "clips", "windows", "people"
    );
    for entry in dictionary.entries() {
        println!("{}", line(entry));
    }
    Ok(())
}

fn line(entry: &Entry) -> String {
    let origin = match entry.origin {
        Origin::Built if entry.windows == 0 => "words",
        Origin::Built => "built",
        Origin::Taught => "taught",
    };
    format!(
        "{:<34} {:<7} {:>6} {:>8} {:>7}",
        entry.phrase, origin, entry.clips, entry.windows, entry.people
    )
}

/// An entry and the entries whose vectors lie nearest.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    entry: &'a Entry,
    near_in_words: Vec<Near<'a>>,
    near_in_motion: Vec<Near<'a>>,
}

#[derive(Debug, Serialize)]
struct Near<'a> {
    phrase: &'a str,
    cosine: f64,
}

fn show_one(dictionary: &Dictionary, phrase: &str, json: bool) -> anyhow::Result<()> {
    let at = dictionary
        .position(phrase)
        .with_context(|| format!("no entry is called {phrase:?}"))?;
    let near = |vector: fn(&Dictionary, usize) -> &[f32]| {
        let own = vector(dictionary, at);
        let mut others: Vec<Near<'_>> = (0..dictionary.entries().len())
            .filter(|other| *other != at)
            .map(|other| Near {
                phrase: &dictionary.entries()[other].phrase,
                cosine: round(f64::from(
                    own.iter()
                        .zip(vector(dictionary, other))
                        .map(|(a, b)| a * b)
                        .sum::<f32>(),
                )),
            })
            .filter(|near| near.cosine != 0.0)
            .collect();
        others.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        others.truncate(NEIGHBOURS);
        others
    };
    let shown = Shown {
        entry: &dictionary.entries()[at],
        near_in_words: near(Dictionary::text),
        near_in_motion: near(Dictionary::motion),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    println!("{}", line(shown.entry));
    println!("other words: {}", shown.entry.wordings.join(", "));
    for (how, near) in [
        ("words", &shown.near_in_words),
        ("motion", &shown.near_in_motion),
    ] {
        let names: Vec<String> = near
            .iter()
            .map(|near| format!("{} {:.2}", near.phrase, near.cosine))
            .collect();
        println!("near in {how}: {}", names.join(", "));
    }
    Ok(())
}

/// What a window of a clip shows.
#[derive(Debug, Serialize)]
struct Moment<'a> {
    end_s: f64,
    none: f64,
    best: Vec<Guess<'a>>,
}

#[derive(Debug, Serialize)]
struct Guess<'a> {
    label: &'a str,
    probability: f64,
}

fn query(options: &Options, clip: &str) -> anyhow::Result<()> {
    let (encoders, dictionary) = options.open()?;
    let windows = windows_of(options, clip)?;
    let first = windows.first().map(|window| window.end).unwrap_or_default();
    let mut space = encoders.rays.workspace();
    let mut probabilities = vec![0.0; dictionary.entries().len()];
    let mut moments = Vec::new();
    for window in &windows {
        let Some(embedding) = encoders.rays.embed(&window.keypoints, &mut space) else {
            continue;
        };
        encoders
            .labels
            .probabilities(&dictionary, embedding, &mut probabilities);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        let named: f32 = probabilities.iter().sum();
        moments.push(Moment {
            end_s: round(WINDOW_S + window.end.seconds_after(first)),
            none: round(f64::from(1.0 - named)),
            best: order
                .iter()
                .take(BEST)
                .map(|at| Guess {
                    label: &dictionary.entries()[*at].phrase,
                    probability: round(f64::from(probabilities[*at])),
                })
                .collect(),
        });
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&moments)?);
        return Ok(());
    }
    for moment in &moments {
        let best: Vec<String> = moment
            .best
            .iter()
            .map(|guess| format!("{} {:.2}", guess.label, guess.probability))
            .collect();
        println!(
            "{:7.1} s  none {:.2}  {}",
            moment.end_s,
            moment.none,
            best.join(", ")
        );
    }
    Ok(())
}

fn run_teach(options: &Options, name: &str, clips: &[String]) -> anyhow::Result<()> {
    let (encoders, mut dictionary) = options.open()?;
    let clips = clips
        .iter()
        .map(|clip| Ok((clip.clone(), windows_of(options, clip)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let entry = teach(&encoders, &dictionary, name, &clips)?;
    let windows = entry.entry.windows;
    dictionary.add(entry)?;
    dictionary.write(&options.file())?;
    println!("{name:?}: {} clips, {windows} windows", clips.len());
    Ok(())
}

/// The windows of whoever is seen longest in a clip.
fn windows_of(options: &Options, clip: &str) -> anyhow::Result<Vec<ClipWindow>> {
    let mut config = options.config();
    // What is taught must not hang on what is known already.
    config.semantics.enabled = false;
    let timer = Clock::live();
    let counters = Counters::default();
    let mut reader = ClipReader::default();
    let mut sample = PoseSample::default();
    if replay::is_recording(clip) {
        let recording = Recording::read(Path::new(clip))?;
        let mut poser = Poser::open(&config)?;
        for recorded in &recording.samples {
            poser.replay(
                recorded,
                &recording.calibration,
                &timer,
                &counters,
                &mut sample,
            );
            reader.add(&recording.calibration, &sample);
        }
    } else {
        let (mut camera, calibration) = replay::open(clip, None)?;
        let mut estimator = Estimator::open(&config)?;
        let mode = camera.mode().clone();
        let mut frame = Frame::with_room(mode.width_px, mode.height_px);
        while replay::next_frame(camera.as_mut(), &mut frame, &counters)? {
            if estimator
                .step(&frame, &calibration, &timer, &counters, &mut sample)
                .is_ok()
            {
                reader.add(&calibration, &sample);
            }
        }
    }
    let windows = reader.finish().map_err(|source| BuildError::Clip {
        clip: clip.to_owned(),
        source,
    })?;
    Ok(windows)
}
