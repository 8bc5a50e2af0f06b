//! `poised dictionary build|record|show|query|teach|remove`: the motion-text dictionary.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use poised::base::file::Replacement;
use poised::error::StartError;
use poised::estimate::{EstimateConfig, ModelsConfig};
use poised::lab::dictionary::{BuildError, build, read_phrases, teach};
use poised::lab::eval::scenario::Scenario;
use poised::lab::eval::{motion, recordings};
use poised::motion::clip::ClipReader;
use poised::motion::dictionary::{Dictionary, DictionaryError, Entry, Origin};
use poised::motion::encoder::Encoders;
use poised::motion::{ENCODER_FILE, SemanticsError, open as open_dictionary};

use super::exit::{NothingFits, UsageError};
use super::output::{self, Force, Outputs};
use super::replay;
use super::report::round;

/// Phrases that `query` names beside the best.
const BEST: usize = 5;

/// Length of a window, seconds: the first ends so long after the clip's beginning.
const WINDOW_S: f64 = 2.0;

/// Windows of a person that `query` looks at: a whole day of them, two a second.
const MOMENTS_MAX: usize = 24 * 3600 * 2;

/// Neighbours that `show` names.
const NEIGHBOURS: usize = 3;

#[derive(Debug, Args)]
pub struct DictionaryOptions {
    #[command(subcommand)]
    what: What,
    /// Dictionary file to use instead of the default one. `teach` and `remove` change this file; if it does not exist,
    /// they start from the default dictionary.
    #[arg(long, global = true)]
    dictionary: Option<PathBuf>,
    /// Folder of the networks.
    #[arg(long, global = true)]
    models: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Build a dictionary from labelled motion (docs/reference/motion-format.md).
    Build {
        /// Index of labelled motion; may be given several times.
        #[arg(long, required = true)]
        motions: Vec<PathBuf>,
        /// Phrases (.json) with their vectors (.safetensors beside it); the default ones if omitted.
        #[arg(long)]
        phrases: Option<PathBuf>,
        /// Exclude motions with this name prefix or this phrase; may be given several times.
        #[arg(long)]
        leave_out: Vec<String>,
        /// Output file.
        #[arg(short, long)]
        output: PathBuf,
        #[command(flatten)]
        force: Force,
    },
    /// Record labelled motion as seen by simulated cameras (.poses), for `teach`, `query` and `replay`.
    Record {
        /// Index of labelled motion.
        #[arg(long)]
        motions: PathBuf,
        /// Scenarios (docs/lab/accuracy.md); by default the unshifted default scenario.
        #[arg(long)]
        scenarios: Option<PathBuf>,
        /// Only motions labelled with this action; may be given several times.
        #[arg(long)]
        action: Vec<String>,
        /// Random seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Output folder: one file for each motion and scenario.
        #[arg(short, long)]
        output: PathBuf,
        #[command(flatten)]
        force: Force,
    },
    /// List the entries, or show one entry with its neighbours.
    Show {
        /// An entry.
        phrase: Option<String>,
    },
    /// Name the actions in a clip over time: a video, a folder of images or a recording (.poses).
    Query {
        /// The clip.
        clip: String,
    },
    /// Add an action from one or a few clips that show only this action.
    Teach {
        /// Name of the new action.
        #[arg(long)]
        name: String,
        /// Clips: videos, folders of images, recordings (.poses).
        #[arg(required = true)]
        clips: Vec<String>,
    },
    /// Remove an entry.
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
pub fn run(options: &DictionaryOptions) -> anyhow::Result<()> {
    match &options.what {
        What::Build {
            motions,
            phrases,
            leave_out,
            output,
            force,
        } => {
            let mut outputs = Outputs::new(*force);
            for index in motions {
                options.reads_motions(&mut outputs, index);
            }
            if let Some(phrases) = phrases {
                outputs.reads(phrases);
                outputs.reads(&phrases.with_extension("safetensors"));
            }
            outputs.writes("--output", output)?;
            run_build(options, motions, phrases.as_deref(), leave_out, output)
        }
        What::Record {
            motions,
            scenarios,
            action,
            seed,
            output,
            force,
        } => run_record(
            options,
            motions,
            scenarios.as_deref(),
            action,
            *seed,
            (output, *force),
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
            let dictionary = options.change(|dictionary| {
                dictionary.remove(phrase)?;
                Ok(())
            })?;
            say!(
                "removed {phrase:?}, {} entries left",
                dictionary.entries().len()
            )?;
            Ok(())
        }
    }
}

impl DictionaryOptions {
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

    fn open(&self) -> Result<(Encoders, Dictionary), StartError> {
        Ok(open_dictionary(&self.folder(), self.dictionary.as_deref())?)
    }

    /// The file that `teach` and `remove` change. Never the one that ships: that one belongs to the package, and the
    /// next upgrade replaces it.
    fn own(&self) -> Result<&Path, UsageError> {
        self.dictionary.as_deref().ok_or(UsageError(
            "--dictionary FILE is missing: the dictionary that ships is not changed. Where FILE does not exist, it \
             becomes a copy of the one that ships, with the change; [semantics] dictionary = \"FILE\" uses it",
        ))
    }

    /// The file of [`Self::own`] where it exists, the one that ships where it does not.
    fn open_own(&self) -> anyhow::Result<(Encoders, Dictionary)> {
        let own = self.own()?;
        let own = own.exists().then_some(own);
        Ok(open_dictionary(&self.folder(), own).map_err(StartError::from)?)
    }

    /// Reads the file of [`Self::own`], changes it and writes it; another process that changes it waits meanwhile.
    fn change(
        &self,
        edit: impl FnOnce(&mut Dictionary) -> anyhow::Result<()>,
    ) -> anyhow::Result<Dictionary> {
        let path = self.own()?;
        let failed = |source| DictionaryError::File {
            path: path.to_owned(),
            what: "written",
            source,
        };
        let replacement = Replacement::begin(path).map_err(failed)?;
        let (_, mut dictionary) = self.open_own()?;
        edit(&mut dictionary)?;
        replacement.finish(&dictionary.to_bytes()).map_err(failed)?;
        Ok(dictionary)
    }

    /// Names an index of motion, the files beside it and the networks as what is read.
    fn reads_motions(&self, outputs: &mut Outputs, index: &Path) {
        outputs.reads(index);
        // The tensors lie beside the index.
        if let Ok(motions) = motion::files(index) {
            for file in motions {
                outputs.reads(&file);
            }
        }
        outputs.reads(&self.folder());
    }
}

fn run_build(
    options: &DictionaryOptions,
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
    say!(
        "{}: {} entries, {} of them with motion; {} motions, {left_out} left out",
        output.display(),
        dictionary.entries().len(),
        seen.count(),
        motions.len(),
    )?;
    Ok(())
}

fn run_record(
    options: &DictionaryOptions,
    index: &Path,
    scenarios: Option<&Path>,
    actions: &[String],
    seed: u64,
    (folder, force): (&Path, Force),
) -> anyhow::Result<()> {
    let mut views = Scenario::read(scenarios).map_err(StartError::from)?;
    if scenarios.is_none() {
        views.truncate(1);
    }
    let mut motions = motion::read(index)?;
    if !actions.is_empty() {
        motions.retain(|motion| motion.actions.iter().any(|action| actions.contains(action)));
    }
    if motions.is_empty() {
        return Err(NothingFits(format!("no motion is labelled with any of {actions:?}")).into());
    }
    let mut outputs = Outputs::new(force);
    options.reads_motions(&mut outputs, index);
    if let Some(scenarios) = scenarios {
        outputs.reads(scenarios);
    }
    let names: BTreeSet<OsString> = motions
        .iter()
        .flat_map(|motion| recordings::names(motion, &views))
        .map(OsString::from)
        .collect();
    outputs.writes_into("--output", folder, |name| names.contains(name))?;
    output::make_folder("--output", folder)?;
    let progress = progress(motions.len() as u64, options.json);
    let mut files = 0;
    for motion in &motions {
        files += recordings::record(motion, &views, seed, folder)?.len();
        progress.inc(1);
    }
    progress.finish_and_clear();
    say!(
        "{}: {files} recordings of {} motions",
        folder.display(),
        motions.len()
    )?;
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
        say!("{}", serde_json::to_string_pretty(dictionary.entries())?)?;
        return Ok(());
    }
    say!(
        "{:<34} {:<7} {:>6} {:>8} {:>7}",
        "phrase",
        "origin",
        "clips",
        "windows",
        "people"
    )?;
    for entry in dictionary.entries() {
        say!("{}", line(entry))?;
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
    let at = dictionary.position(phrase).ok_or_else(|| {
        NothingFits(format!(
            "no entry is named {phrase:?}; `poised dictionary show` lists them"
        ))
    })?;
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
        say!("{}", serde_json::to_string_pretty(&shown)?)?;
        return Ok(());
    }
    say!("{}", line(shown.entry))?;
    say!("other words: {}", shown.entry.wordings.join(", "))?;
    for (how, near) in [
        ("words", &shown.near_in_words),
        ("motion", &shown.near_in_motion),
    ] {
        let names: Vec<String> = near
            .iter()
            .map(|near| format!("{} {:.2}", near.phrase, near.cosine))
            .collect();
        say!("near in {how}: {}", names.join(", "))?;
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

fn query(options: &DictionaryOptions, clip: &str) -> anyhow::Result<()> {
    let (encoders, dictionary) = options.open()?;
    let mut space = encoders.rays.workspace();
    let mut probabilities = vec![0.0; dictionary.entries().len()];
    // Of a window only what it shows is kept: a clip may be a whole day.
    let reader = ClipReader::keeping(MOMENTS_MAX, |window| {
        let embedding = encoders.rays.embed(&window.keypoints, &mut space)?;
        encoders
            .labels
            .probabilities(&dictionary, embedding, &mut probabilities);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        let named: f32 = probabilities.iter().sum();
        let best = order.iter().take(BEST).map(|at| Guess {
            label: &dictionary.entries()[*at].phrase,
            probability: round(f64::from(probabilities[*at])),
        });
        let moment = Moment {
            end_s: 0.0,
            none: round(f64::from(1.0 - named)),
            best: best.collect(),
        };
        Some((window.end, moment))
    });
    let moments = windows_of(options, clip, reader)?;
    let first = moments.first().map(|(end, _)| *end).unwrap_or_default();
    let moments: Vec<Moment<'_>> = moments
        .into_iter()
        .map(|(end, moment)| Moment {
            end_s: round(WINDOW_S + end.seconds_after(first)),
            ..moment
        })
        .collect();
    if options.json {
        say!("{}", serde_json::to_string_pretty(&moments)?)?;
        return Ok(());
    }
    for moment in &moments {
        let best: Vec<String> = moment
            .best
            .iter()
            .map(|guess| format!("{} {:.2}", guess.label, guess.probability))
            .collect();
        say!(
            "{:7.1} s  none {:.2}  {}",
            moment.end_s,
            moment.none,
            best.join(", ")
        )?;
    }
    Ok(())
}

fn run_teach(options: &DictionaryOptions, name: &str, clips: &[String]) -> anyhow::Result<()> {
    // Known to be good before clips are looked at, which takes a while.
    let (encoders, _) = options.open_own()?;
    let clips = clips
        .iter()
        .map(|clip| {
            let windows = windows_of(options, clip, ClipReader::default())?;
            Ok((clip.clone(), windows))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut windows = 0;
    options.change(|dictionary| {
        let entry = teach(&encoders, dictionary, name, &clips)?;
        windows = entry.entry.windows;
        Ok(dictionary.add(entry)?)
    })?;
    say!("{name:?}: {} clips, {windows} windows", clips.len())?;
    Ok(())
}

/// The windows of the person seen longest in a clip.
fn windows_of<T>(
    options: &DictionaryOptions,
    clip: &str,
    mut reader: ClipReader<'_, T>,
) -> anyhow::Result<Vec<T>> {
    let mut config = options.config();
    // What is taught must not depend on what is known already.
    config.semantics.enabled = false;
    replay::play(clip, None, &config, |calibration, sample| {
        reader.add(calibration, sample);
        Ok(())
    })?;
    let windows = reader.finish().map_err(|source| BuildError::Clip {
        clip: clip.to_owned(),
        source,
    })?;
    Ok(windows)
}
