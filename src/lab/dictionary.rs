//! Entries from motion: a whole dictionary from labelled motion capture, or one
//! action from a few clips on the device.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::base::config::{ConfigError, read_text};
use crate::base::file::read_bounded;
use crate::base::limits::{DICTIONARY_BYTES_MAX, MOTION_SAMPLES, TEACH_CLIPS_MAX};
use crate::base::tensors::{self, TensorError};
use crate::lab::eval::motion::Motion;
use crate::lab::eval::scenario::Scenario;
use crate::lab::eval::simulate::stream;
use crate::lift::window::rays_of;
use crate::motion::clip::{ClipError, ClipReader, ClipWindow};
use crate::motion::dictionary::{Dictionary, DictionaryError, Entry, NewEntry, Origin};
use crate::motion::encoder::Encoders;
use crate::motion::prior::Statistics;

/// Views that each motion is seen in, for the embedding of its keypoints.
const VIEWS: u64 = 2;

/// What can keep a dictionary from being made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The phrases cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The phrases' vectors cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The phrases' vectors are more than any dictionary holds.
    #[error("{path}: {bytes} bytes, at most {DICTIONARY_BYTES_MAX} are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The phrases' vectors.
    #[error("{path}")]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TensorError,
    },
    /// A motion does not hold still for the camera.
    #[error("{motion}: too short or too incomplete to embed a window")]
    Motion {
        /// Its name.
        motion: String,
    },
    /// No motion carries a phrase that is listed.
    #[error("none of the {motions} motions is labelled with one of the {phrases} phrases")]
    Nothing {
        /// How many there are.
        motions: usize,
        /// How many phrases.
        phrases: usize,
    },
    /// A clip.
    #[error("{clip}: {source}")]
    Clip {
        /// Its name.
        clip: String,
        /// What is wrong with it.
        source: ClipError,
    },
    /// Too many or too few clips.
    #[error("{got} clips: must be from 1 to {TEACH_CLIPS_MAX}")]
    Clips {
        /// How many.
        got: usize,
    },
    /// The dictionary.
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
}

/// An action phrase with its sentence embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Phrase {
    /// The phrase.
    pub phrase: String,
    /// Other words for it.
    pub wordings: Vec<String>,
    /// Length 1.
    pub text: Vec<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PhraseLine {
    phrase: String,
    wordings: Vec<String>,
}

/// Reads phrases: a JSON list of `{"phrase", "wordings"}`, and beside it a safetensors
/// file of the same name with `text`, f32 `[phrases, width]`.
///
/// # Errors
///
/// A file cannot be read or is not of the format.
pub fn read_phrases(path: &Path, width: usize) -> Result<Vec<Phrase>, BuildError> {
    let lines: Vec<PhraseLine> =
        serde_json::from_str(&read_text(path)?).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
    let path = path.with_extension("safetensors");
    let bytes = read_bounded(&path, DICTIONARY_BYTES_MAX)
        .map_err(|source| BuildError::Read {
            path: path.clone(),
            source,
        })?
        .map_err(|bytes| BuildError::TooLarge {
            path: path.clone(),
            bytes,
        })?;
    let vectors = tensors::open(&bytes)
        .and_then(|file| tensors::numbers(&file, "text", &[lines.len(), width]))
        .map_err(|source| BuildError::Vectors { path, source })?;
    Ok(lines
        .into_iter()
        .zip(vectors.chunks_exact(width))
        .map(|(line, text)| Phrase {
            phrase: line.phrase,
            wordings: line.wordings,
            text: text.to_vec(),
        })
        .collect())
}

/// What is gathered of one action.
#[derive(Clone, Debug, Default)]
struct Gathered {
    clips: u32,
    people: BTreeSet<String>,
    motion: Vec<Vec<f32>>,
    rays: Vec<Vec<f32>>,
    points: Vec<Vec<f32>>,
}

impl Gathered {
    fn add(&mut self, other: &Self) {
        self.clips += other.clips;
        self.people.extend(other.people.iter().cloned());
        self.motion.extend_from_slice(&other.motion);
        self.rays.extend_from_slice(&other.rays);
        self.points.extend_from_slice(&other.points);
    }

    fn entry(&self, phrase: Phrase, origin: Origin, all: Option<&Statistics>) -> NewEntry {
        let mut new = NewEntry {
            entry: Entry {
                phrase: phrase.phrase,
                wordings: phrase.wordings,
                origin,
                clips: self.clips,
                windows: u32::try_from(self.points.len()).unwrap_or(u32::MAX),
                people: u32::try_from(self.people.len()).unwrap_or(u32::MAX),
                level: 0.0,
            },
            text: phrase.text,
            ..NewEntry::default()
        };
        if self.points.is_empty() {
            return new;
        }
        new.motion = direction(&self.motion);
        new.rays = direction(&self.rays);
        new.entry.level = level(&self.rays, &new.rays);
        let statistics = Statistics::of(&self.points, all);
        new.mean = statistics.mean;
        new.factor = statistics.factor;
        new
    }
}

/// The windows' embeddings and points, once for joints and once a view for keypoints.
fn gather(encoders: &Encoders, views: &[Vec<ClipWindow>], person: &str) -> Gathered {
    let (mut motion_space, mut rays_space) =
        (encoders.motion.workspace(), encoders.rays.workspace());
    let mut gathered = Gathered {
        clips: 1,
        people: BTreeSet::from([person.to_owned()]),
        ..Gathered::default()
    };
    for (view, windows) in views.iter().enumerate() {
        for window in windows {
            let rays = encoders.rays.embed(&window.keypoints, &mut rays_space);
            gathered.rays.extend(rays.map(<[f32]>::to_vec));
            // Joints in the body's frame are the same in every view.
            if view == 0
                && let Some(motion) = encoders.motion.embed(&window.joints_m, &mut motion_space)
            {
                gathered.motion.push(motion.to_vec());
                gathered
                    .points
                    .push(encoders.prior.project(&window.joints_m));
            }
        }
    }
    gathered
}

/// Builds a dictionary from labelled motion: an entry for each phrase, those without
/// motion by their words alone. A motion's labels hold for all of it, as in the format.
/// `done` is called after each motion.
///
/// # Errors
///
/// A motion cannot be seen, no motion fits, or an entry does not hold together.
pub fn build(
    encoders: &Encoders,
    phrases: &[Phrase],
    motions: &[Motion],
    mut done: impl FnMut(),
) -> Result<Dictionary, BuildError> {
    let mut of_phrase: BTreeMap<&str, Gathered> = phrases
        .iter()
        .map(|phrase| (phrase.phrase.as_str(), Gathered::default()))
        .collect();
    let mut all = Vec::new();
    for motion in motions {
        if motion
            .actions
            .iter()
            .any(|action| of_phrase.contains_key(action.as_str()))
        {
            let views = seen(motion)?;
            let gathered = gather(encoders, &views, &motion.subject);
            if gathered.points.is_empty() || gathered.rays.is_empty() {
                return Err(BuildError::Motion {
                    motion: motion.id.clone(),
                });
            }
            all.extend_from_slice(&gathered.points);
            for action in &motion.actions {
                if let Some(of_phrase) = of_phrase.get_mut(action.as_str()) {
                    of_phrase.add(&gathered);
                }
            }
        }
        done();
    }
    if all.is_empty() {
        return Err(BuildError::Nothing {
            motions: motions.len(),
            phrases: phrases.len(),
        });
    }
    let all = Statistics::of(&all, None);
    let mut dictionary = Dictionary::empty(&encoders.id, encoders.width(), encoders.prior.rank());
    let entries: Vec<NewEntry> = phrases
        .iter()
        .map(|phrase| {
            of_phrase[phrase.phrase.as_str()].entry(phrase.clone(), Origin::Built, Some(&all))
        })
        .collect();
    for entry in entries {
        dictionary.add(entry)?;
    }
    Ok(dictionary)
}

/// A motion in each view, without noise: what differs between views is the view.
fn seen(motion: &Motion) -> Result<Vec<Vec<ClipWindow>>, BuildError> {
    let failed = || BuildError::Motion {
        motion: motion.id.clone(),
    };
    let mut motion = motion.clone();
    // A person who has just come into view stands still before that, as in training.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "two seconds of frames"
    )]
    let needed = (MOTION_SAMPLES as f64 / 30.0 * motion.rate_hz).ceil() as usize + 1;
    if let Some(first) = motion.joints_world_m.first().copied() {
        let missing = needed.saturating_sub(motion.joints_world_m.len());
        motion
            .joints_world_m
            .splice(0..0, std::iter::repeat_n(first, missing));
    }
    let scenario = Scenario {
        noise: 0.0,
        missed: 0.0,
        offset: 0.0,
        ..Scenario::default()
    };
    (0..VIEWS)
        .map(|view| {
            let stream =
                stream(&scenario, &motion.id, &[&motion], view).map_err(BuildError::from)?;
            let mut reader = ClipReader::default();
            for moment in &stream.moments {
                let keypoints = moment
                    .seen
                    .as_ref()
                    .map(|seen| rays_of(&stream.calibration, &seen.keypoints));
                reader.add_person(1, moment.time, keypoints, Some(moment.joints_camera_m));
            }
            reader.finish().map_err(|_| failed())
        })
        .collect()
}

/// An entry for an action that a few clips show. Its statistics lean on those of the
/// entry that is most like it: a few clips say what the action is, not all the ways
/// in which it can be done.
///
/// # Errors
///
/// Too few or too many clips, or nothing in them can be embedded.
pub fn teach(
    encoders: &Encoders,
    dictionary: &Dictionary,
    name: &str,
    clips: &[(String, Vec<ClipWindow>)],
) -> Result<NewEntry, BuildError> {
    if clips.is_empty() || clips.len() > TEACH_CLIPS_MAX {
        return Err(BuildError::Clips { got: clips.len() });
    }
    let mut all = Gathered::default();
    for (clip, windows) in clips {
        let gathered = gather(encoders, std::slice::from_ref(windows), clip);
        if gathered.points.is_empty() || gathered.rays.is_empty() {
            return Err(BuildError::Motion {
                motion: clip.clone(),
            });
        }
        all.add(&gathered);
    }
    let motion = direction(&all.motion);
    let kin = (0..dictionary.entries().len())
        .filter(|at| dictionary.statistics(*at).is_some())
        .max_by(|a, b| {
            let cosine = |at: usize| dot(dictionary.motion(at), &motion);
            cosine(*a).total_cmp(&cosine(*b))
        })
        .and_then(|at| dictionary.statistics(at))
        .map(|(mean, factor)| Statistics {
            mean: mean.to_vec(),
            factor: factor.to_vec(),
        });
    let phrase = Phrase {
        phrase: name.to_owned(),
        wordings: Vec::new(),
        text: Vec::new(),
    };
    Ok(all.entry(phrase, Origin::Taught, kin.as_ref()))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The mean of directions, of length 1.
fn direction(embeddings: &[Vec<f32>]) -> Vec<f32> {
    let mut mean = vec![0.0; embeddings.first().map_or(0, Vec::len)];
    for embedding in embeddings {
        for (sum, value) in mean.iter_mut().zip(embedding) {
            *sum += value;
        }
    }
    let length = dot(&mean, &mean).sqrt().max(f32::MIN_POSITIVE);
    mean.iter().map(|value| value / length).collect()
}

/// Mean cosine with `centre`.
#[expect(clippy::cast_precision_loss, reason = "counts of windows are small")]
fn level(embeddings: &[Vec<f32>], centre: &[f32]) -> f32 {
    embeddings.iter().map(|e| dot(e, centre)).sum::<f32>() / embeddings.len().max(1) as f32
}
