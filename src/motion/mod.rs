//! What a person is doing, and where hidden or wrongly detected joints are.
//!
//! ```text
//!  keypoints of two seconds ─▶ ray encoder ─▶ dictionary ─▶ label with hysteresis
//!  lifter's pose ─▶ completer (network, entries' Gaussians) ─▶ joints, hidden ones as well
//! ```
//!
//! Runs on the estimate thread, behind the lifter. The label comes from keypoints
//! alone, so that errors of the 3D pose cannot confirm themselves.
//! At most one person is encoded per frame, the one who has waited longest, so the cost of a frame
//! does not grow with the number of people.

pub mod angles;
pub mod clip;
pub mod complete;
pub mod denoiser;
pub mod dictionary;
pub mod encoder;
pub mod everyday;
pub mod exercise;
pub mod floor;
pub mod hint;
pub mod label;
pub mod mount;
pub mod net;
pub mod prior;
pub mod session;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::base::clock::MonoNs;
use crate::base::config::{ConfigError, check};
use crate::base::limits::{MOTION_FRAMES, MOTION_SAMPLES, TRACKS_MAX};
use crate::lift::window::{Observed, Pushed, RaySample, Timeline};
use crate::lift::{Estimate, place_of};
use crate::pose::{Action, ActionSource};

use complete::{Completer, CompletionError, CompletionMemory, CompletionNet};
use denoiser::{Denoiser, DenoiserError};
use dictionary::{Dictionary, DictionaryError};
use encoder::{EncoderError, Encoders, KeypointSamples};
use everyday::{Kin, kin_of};
use hint::{HeldHints, Hints};
use label::{Label, Labeller};
use net::Workspace;

/// Name of the encoders' file in the dictionary's folder.
pub const ENCODER_FILE: &str = "encoder.safetensors";

/// Name of the dictionary that ships, in the same folder.
pub const DICTIONARY_FILE: &str = "actions.dictionary";

/// Name of the file with the network that moves seen joints and helps to complete hidden ones, in the same folder.
pub const COMPLETION_FILE: &str = "completion.safetensors";

/// Name of the file with the motion denoiser, in the same folder.
pub const DENOISER_FILE: &str = "denoiser.safetensors";

/// How often a person is looked at to name the action: the encoder takes most of a millisecond.
pub const LABEL_EVERY: Duration = Duration::from_millis(250);

/// Samples that must show two keypoints or more before anything is named: half a second.
const SAMPLES_MIN: usize = 15;

/// What can keep the dictionary from being used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SemanticsError {
    /// The encoders.
    #[error("{path}")]
    Encoder {
        /// Their file.
        path: PathBuf,
        /// What is wrong with it.
        source: EncoderError,
    },
    /// The completion.
    #[error("{path}")]
    Completion {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: CompletionError,
    },
    /// The motion denoiser.
    #[error("{path}")]
    Denoiser {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: DenoiserError,
    },
    /// The dictionary.
    #[error("{path}")]
    Dictionary {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: DictionaryError,
    },
}

/// `[semantics]`: naming what people do.
///
/// ```toml
/// [semantics]
/// enabled = true
/// dictionary = "/var/lib/poised/actions.dictionary"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct SemanticsConfig {
    /// Whether actions are named, seen joints moved by what the network that remembers says, and hidden joints
    /// completed.
    pub enabled: bool,
    /// The dictionary, in place of the one that ships: one that was taught on the
    /// device, or built from other motion with the same encoders.
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub dictionary: Option<PathBuf>,
    /// A joint that has not been seen for longer is absent, in seconds, 0 to 60. 0: a joint that is not seen is
    /// absent at once; those that are seen are moved all the same, if poses are refined. Default 4: what was measured
    /// (docs/lab/accuracy.md).
    pub complete_for_s: f32,
    /// Whether `/hint` is listened to. Default: false.
    pub hints: bool,
    /// Whether the dictionary's entries are used. Without them nothing is named, and hidden joints are
    /// completed by the network alone: for comparison, no key of the file.
    #[serde(skip)]
    pub labels: bool,
    /// Whether joints are moved and completed: without it actions are named and nothing else. For comparison, no key
    /// of the file.
    #[serde(skip)]
    pub completes: bool,
}

impl Default for SemanticsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            dictionary: None,
            complete_for_s: 4.0,
            hints: false,
            labels: true,
            completes: true,
        }
    }
}

impl SemanticsConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("semantics.complete_for_s", self.complete_for_s, 0.0, 60.0)
    }
}

/// Opens encoders and dictionary: `folder` is the model folder, `file` a dictionary in
/// place of the one in it.
///
/// # Errors
///
/// Which file does not fit, and what.
pub fn open(folder: &Path, file: Option<&Path>) -> Result<(Encoders, Dictionary), SemanticsError> {
    let path = folder.join(ENCODER_FILE);
    let encoders =
        Encoders::read(&path).map_err(|source| SemanticsError::Encoder { path, source })?;
    let path = file.map_or_else(|| folder.join(DICTIONARY_FILE), Path::to_owned);
    let (width, rank) = (encoders.width(), encoders.prior.rank());
    let dictionary = Dictionary::read(&path, &encoders.id, width, rank)
        .map_err(|source| SemanticsError::Dictionary { path, source })?;
    Ok((encoders, dictionary))
}

/// Opens the network that moves seen joints and helps to complete hidden ones, for the basis of `encoders` and the
/// entries of `dictionary`.
///
/// # Errors
///
/// What does not fit.
pub fn open_completer(
    folder: &Path,
    encoders: &Encoders,
    dictionary: &Dictionary,
) -> Result<Completer, SemanticsError> {
    let path = folder.join(COMPLETION_FILE);
    let net = CompletionNet::read(&path, encoders.prior.rank())
        .map_err(|source| SemanticsError::Completion { path, source })?;
    Ok(Completer::new(net, encoders.prior.clone(), dictionary))
}

/// Opens the motion denoiser.
///
/// # Errors
///
/// What does not fit.
pub fn open_denoiser(folder: &Path) -> Result<Denoiser, SemanticsError> {
    let path = folder.join(DENOISER_FILE);
    Denoiser::read(&path).map_err(|source| SemanticsError::Denoiser { path, source })
}

#[derive(Debug)]
struct NamedPerson {
    id: Option<u32>,
    keypoints: Timeline<RaySample, MOTION_FRAMES>,
    labeller: Labeller,
    /// When the person was looked at.
    looked: Option<MonoNs>,
    /// When it was the person's turn to be.
    turn: Option<MonoNs>,
    memory: CompletionMemory,
}

impl NamedPerson {
    fn is_due(&self, time: MonoNs) -> bool {
        self.looked
            .is_none_or(|looked| time.since(looked) >= LABEL_EVERY)
    }
}

/// What motions and words mean: for those who learn from it beside.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// Motion to the space of the phrases, and the basis of the entries' motions.
    pub encoders: Arc<Encoders>,
    /// The entries.
    pub dictionary: Arc<Dictionary>,
}

impl Meaning {
    /// Where the motion of entry `at` should point, length 1: its text, or of an entry that was taught without words
    /// the mean of its clips.
    pub fn direction_of(&self, at: usize) -> &[f32] {
        if self.dictionary.is_worded(at) {
            self.dictionary.text(at)
        } else {
            self.dictionary.motion(at)
        }
    }
}

/// Names what people do.
#[derive(Debug)]
pub struct Semantics {
    encoders: Arc<Encoders>,
    dictionary: Arc<Dictionary>,
    /// `TRACKS_MAX` people, each for one id.
    people: Box<[NamedPerson]>,
    samples: Box<KeypointSamples>,
    space: Workspace,
    probabilities: Vec<f32>,
    /// What each entry is a kind of.
    kin: Vec<Kin>,
    completer: Completer,
    completes: bool,
    complete_for_s: f32,
    hints: Option<Arc<Hints>>,
    /// Those that hold, of each person and of everybody at most one.
    hinted: HeldHints,
    /// Who may be looked at in this frame.
    turn: Option<u32>,
}

impl Semantics {
    /// A new one. Takes a validated configuration.
    pub fn new(
        config: &SemanticsConfig,
        encoders: Encoders,
        dictionary: Dictionary,
        completer: Completer,
    ) -> Self {
        let entries = dictionary.entries().len();
        Self {
            people: (0..TRACKS_MAX)
                .map(|_| NamedPerson {
                    id: None,
                    keypoints: Timeline::default(),
                    labeller: Labeller::new(entries),
                    looked: None,
                    turn: None,
                    memory: completer.memory(),
                })
                .collect(),
            samples: Box::new([RaySample::MISSING; MOTION_SAMPLES]),
            space: encoders.rays.workspace(),
            probabilities: vec![0.0; entries],
            kin: kin_of(&dictionary),
            encoders: encoders.into(),
            dictionary: dictionary.into(),
            completer,
            completes: config.completes,
            complete_for_s: config.complete_for_s,
            hints: None,
            hinted: HeldHints::new(),
            turn: None,
        }
    }

    /// The dictionary in use.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// What motions and words mean.
    pub fn meaning(&self) -> Meaning {
        Meaning {
            encoders: Arc::clone(&self.encoders),
            dictionary: Arc::clone(&self.dictionary),
        }
    }

    /// From now on takes hints from there.
    pub fn hear(&mut self, hints: Arc<Hints>) {
        self.hints = Some(hints);
    }

    /// The frame of `time` begins.
    ///
    /// `present` are the people who will be stepped in it.
    pub fn begin_frame(&mut self, time: MonoNs, present: &(impl Iterator<Item = u32> + Clone)) {
        if let Some(hints) = &self.hints {
            hints.take(&mut self.hinted);
        }
        self.hinted.retain(|hint| hint.until > time);
        let waiting = self.people.iter_mut().filter(|person| {
            let here = present.clone().any(|id| person.id == Some(id));
            here && person.is_due(time)
        });
        let next = waiting.min_by_key(|person| person.turn);
        self.turn = next.and_then(|person| {
            person.turn = Some(time);
            person.id
        });
    }

    /// The hint about a person as a label; one about them alone before one about everybody.
    fn hinted(&self, id: u32) -> Option<Label> {
        let about = |whom| self.hinted.iter().find(|hint| hint.person == whom);
        let hint = about(Some(id)).or_else(|| about(None))?;
        Some(Label {
            entry: hint.entry,
            probability: 1.0,
            source: ActionSource::Hint,
        })
    }

    /// Takes what was seen of a person at `time`, and where the joints are; says what
    /// the person is doing.
    pub fn step(
        &mut self,
        time: MonoNs,
        id: u32,
        keypoints: &RaySample,
        estimate: Option<&mut Estimate>,
    ) -> Option<Label> {
        let hinted = self.hinted(id);
        let known = self
            .people
            .iter()
            .map(|person| (person.id, person.keypoints.newest()));
        let (place, fresh) = place_of(known, id);
        let person = &mut self.people[place];
        if fresh {
            person.id = Some(id);
            person.keypoints.clear();
            person.labeller.clear();
            (person.looked, person.turn) = (None, None);
            person.memory.clear();
        }
        match person.keypoints.push(time, keypoints) {
            Pushed::Taken => {}
            Pushed::ClockWasSet => {
                person.labeller.clear();
                (person.looked, person.turn) = (None, None);
                person.memory.clear();
            }
            Pushed::TimeStoodBack => {
                return hinted.or(person.labeller.label());
            }
        }
        if let Some(estimate) = estimate
            && self.completes
        {
            let lead = hinted.map(|label| label.entry);
            self.completer.lead(&mut person.memory, lead);
            self.completer.step(
                &mut person.memory,
                time,
                keypoints,
                estimate,
                self.complete_for_s,
            );
        }
        if self.turn == Some(id) {
            person.keypoints.resample_into(&mut self.samples[..]);
            if fill_beginning(&mut self.samples) >= SAMPLES_MIN
                && let Some(embedding) = self.encoders.rays.embed(&self.samples, &mut self.space)
            {
                person.looked = Some(time);
                self.encoders.labels.probabilities(
                    &self.dictionary,
                    embedding,
                    &mut self.probabilities,
                );
                person.labeller.take(&self.probabilities, &self.kin);
            }
        }
        hinted.or(person.labeller.label())
    }

    /// The newest probabilities of all entries for a person, running means; `None`
    /// for a person who has not been observed.
    pub fn probabilities(&self, id: u32) -> Option<&[f32]> {
        let person = self.people.iter().find(|person| person.id == Some(id))?;
        person.looked?;
        Some(person.labeller.means())
    }

    /// A label as it is published.
    pub fn action(&self, label: Label) -> Action {
        let phrase = &self.dictionary.entries()[label.entry].phrase;
        Action {
            label: phrase.as_str().try_into().unwrap_or_default(),
            probability: label.probability,
            source: label.source,
        }
    }
}

/// Samples from before the person came into view repeat the first visible sample: the person
/// stands still there, as in training. Returns how many samples show the person.
fn fill_beginning(samples: &mut KeypointSamples) -> usize {
    let shows = |sample: &RaySample| sample.iter().filter(|k| k.is_present()).count() >= 2;
    let count = samples.iter().filter(|sample| shows(sample)).count();
    if let Some(first) = samples.iter().position(shows) {
        let (before, rest) = samples.split_at_mut(first);
        before.fill(rest[0]);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::window::RayKeypoint;
    use crate::skeleton::KEYPOINTS;

    /// How often each of six people is looked at in ten seconds of `rate_hz` frames a second, of which `shown` says
    /// who is there.
    fn windows(rate_hz: u64, shown: impl Fn(u64) -> std::ops::Range<u32>) -> [u32; 6] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/dictionary");
        let (encoders, dictionary) = open(&folder, None).unwrap();
        let completer = open_completer(&folder, &encoders, &dictionary).unwrap();
        let config = SemanticsConfig::default();
        let mut semantics = Semantics::new(&config, encoders, dictionary, completer);
        let number = |k: usize| f32::from(u8::try_from(k).unwrap());
        let seen: RaySample = std::array::from_fn(|k| RayKeypoint {
            ray: glam::Vec2::new(0.1 * [-1.0, 0.0, 1.0][k % 3], 0.01 * number(k)),
            visibility: 1.0,
        });
        let mut looked = [0; 6];
        for frame in 0..10 * rate_hz {
            let time = MonoNs(1_000_000_000 + frame * 1_000_000_000 / rate_hz);
            semantics.begin_frame(time, &shown(frame));
            let mut now = 0;
            for id in shown(frame) {
                semantics.step(time, id, &seen, None);
                let person = semantics.people.iter().find(|p| p.id == Some(id)).unwrap();
                if person.looked == Some(time) {
                    looked[id as usize] += 1;
                    now += 1;
                }
            }
            assert!(now <= 1, "{now} people looked at in one frame");
        }
        looked
    }

    #[test]
    fn of_more_people_than_a_slow_camera_has_frames_for_each_gets_a_turn() {
        // A hundred windows among six, less the first half second of each.
        let looked = windows(10, |_| 0..6);
        assert!(
            looked.iter().all(|count| (13..=18).contains(count)),
            "{looked:?}"
        );
    }

    #[test]
    fn each_person_gets_a_turn_where_inference_is_shed_too() {
        for rate_hz in [10, 15, 30] {
            // Half of them in every other frame.
            let looked = windows(rate_hz, |frame| if frame % 2 == 0 { 0..3 } else { 3..6 });
            let (least, most) = (looked.iter().min().unwrap(), looked.iter().max().unwrap());
            assert!(*least >= 10 && most - least <= 4, "{rate_hz}: {looked:?}");
        }
    }

    #[test]
    fn before_a_person_came_they_stand_still() {
        let mut samples = [RaySample::MISSING; MOTION_SAMPLES];
        let seen = |u: f32| -> RaySample {
            [RayKeypoint {
                ray: glam::Vec2::new(u, 0.0),
                visibility: 1.0,
            }; KEYPOINTS]
        };
        samples[20] = seen(0.2);
        samples[22] = seen(0.4);
        assert_eq!(fill_beginning(&mut samples), 2);
        assert_eq!(samples[0], seen(0.2));
        assert_eq!(samples[21], RaySample::MISSING);
        let mut empty = [RaySample::MISSING; MOTION_SAMPLES];
        assert_eq!(fill_beginning(&mut empty), 0);
    }
}
