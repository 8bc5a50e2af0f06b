//! What an exercise is, and the file that lists them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::signals::SIGNAL_NAMES;
use crate::base::config::{ConfigError, parse_toml, read_text};
use crate::base::limits::EXERCISE_BYTES_MAX;

/// The exercises that ship.
const BUILT_IN: &str = include_str!("../../../models/exercises.toml");

/// Where they are in the repository, for messages.
const BUILT_IN_NAME: &str = "models/exercises.toml";

/// Thresholds lie within what a limb can do, degrees.
const THRESHOLD_DEG: [f32; 2] = [-90.0, 200.0];

/// Least distance of the thresholds, degrees: twice the noise of a good angle, so that it alone counts nothing.
pub(super) const BAND_MIN_DEG: f32 = 10.0;

/// Bounds of the minimal time of a repetition, seconds: from a fast step to a slow stretch.
pub(super) const MIN_S: [f32; 2] = [0.1, 10.0];

/// Labels that one exercise may be armed by.
const LABELS_MAX: usize = 16;

/// `[exercise]`: counting repetitions.
///
/// ```toml
/// [exercise]
/// name = "squat"
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ExerciseConfig {
    /// Which exercise is counted. Without it nothing is.
    pub name: Option<String>,
    /// A file of exercises in place of those that ship (models/exercises.toml).
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub file: Option<PathBuf>,
}

impl ExerciseConfig {
    /// The exercise that is asked for.
    ///
    /// # Errors
    ///
    /// The file cannot be read, names the first exercise and key that are wrong, or has no exercise of that name.
    pub fn open(&self) -> Result<Option<Exercise>, ConfigError> {
        if self.name.is_none() && self.file.is_none() {
            return Ok(None);
        }
        let all = self.all()?;
        let Some(name) = &self.name else {
            return Ok(None);
        };
        let path = self.file.as_deref().unwrap_or(Path::new(BUILT_IN_NAME));
        let known = || all.keys().cloned().collect::<Vec<_>>().join(", ");
        let found = all.get(name).cloned().ok_or_else(|| ConfigError::Parse {
            path: path.to_owned(),
            message: format!("no exercise {name:?}, it has: {}", known()),
        })?;
        Ok(Some(found))
    }

    /// All exercises of the file, by name.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or names the first exercise and key that are wrong.
    pub fn all(&self) -> Result<BTreeMap<String, Exercise>, ConfigError> {
        match &self.file {
            Some(path) => read(path, &read_text(path)?),
            None => read(Path::new(BUILT_IN_NAME), BUILT_IN),
        }
    }
}

/// One exercise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exercise {
    /// Its name.
    pub name: String,
    /// Name of the signal, without a side.
    pub signal: String,
    /// The signal of the left and of the right side, as places in [`SIGNAL_NAMES`]; the same twice for one without sides.
    #[serde(skip)]
    pub signals: [usize; 2],
    /// How the two sides become one signal.
    pub sides: Sides,
    /// The lower threshold, degrees.
    pub low_deg: f32,
    /// The upper one.
    pub high_deg: f32,
    /// A repetition takes at least so long, seconds.
    pub min_s: f32,
    /// On which side of the thresholds rest is.
    pub rest: Rest,
    /// When a repetition counts.
    pub counted: Counted,
    /// Actions that arm the counter; with none it always is.
    pub labels: Vec<String>,
}

/// How two sides become one signal. Where one side is absent, it is the other.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sides {
    /// The left side alone.
    Left,
    /// The right side alone.
    Right,
    /// The mean of both.
    #[default]
    Mean,
    /// The smaller angle: both sides have to move.
    Min,
    /// The larger angle: one side is enough.
    Max,
}

/// Where a person rests between repetitions.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// Below the lower threshold: standing, for a squat.
    #[default]
    Low,
    /// Above the upper one: sitting, for standing up.
    High,
}

/// When a repetition counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Back at rest.
    #[default]
    Back,
    /// Once the far threshold was reached, and the signal turns back or stays.
    There,
}

/// An exercise as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    signal: String,
    #[serde(default)]
    sides: Sides,
    low_deg: f32,
    high_deg: f32,
    min_s: f32,
    #[serde(default)]
    rest: Rest,
    #[serde(default)]
    counted: Counted,
    #[serde(default)]
    labels: Vec<String>,
}

/// Reads and checks all exercises of a file.
pub(super) fn read(path: &Path, text: &str) -> Result<BTreeMap<String, Exercise>, ConfigError> {
    let entries: BTreeMap<String, Entry> = parse_toml(path, text)?;
    let mut all = BTreeMap::new();
    for (name, entry) in entries {
        let exercise = entry.checked(&name).map_err(|message| ConfigError::Parse {
            path: path.to_owned(),
            message: format!("{name}.{message}"),
        })?;
        all.insert(name, exercise);
    }
    Ok(all)
}

impl Entry {
    fn checked(self, name: &str) -> Result<Exercise, String> {
        named(name)?;
        let signals = sides_of(&self.signal).ok_or_else(|| {
            let known = signal_names().join(", ");
            format!("signal = {:?}: must be one of {known}", self.signal)
        })?;
        let (low, high) = (self.low_deg, self.high_deg);
        for (key, value, [least, most]) in [
            ("low_deg", low, THRESHOLD_DEG),
            ("high_deg", high, THRESHOLD_DEG),
            ("min_s", self.min_s, MIN_S),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{key} = {value}: must be from {least} to {most}"));
            }
        }
        if high - low < BAND_MIN_DEG {
            return Err(format!(
                "low_deg = {low}: must be at least {BAND_MIN_DEG} below high_deg = {high}"
            ));
        }
        if self.labels.len() > LABELS_MAX {
            let count = self.labels.len();
            return Err(format!("labels: {count} entries, at most {LABELS_MAX}"));
        }
        Ok(Exercise {
            name: name.to_owned(),
            signal: self.signal,
            signals,
            sides: self.sides,
            low_deg: low,
            high_deg: high,
            min_s: self.min_s,
            rest: self.rest,
            counted: self.counted,
            labels: self.labels,
        })
    }
}

/// Whether an exercise may have this name.
pub(super) fn named(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > EXERCISE_BYTES_MAX {
        let bytes = name.len();
        return Err(format!(
            "name: {bytes} bytes, must be 1 to {EXERCISE_BYTES_MAX}"
        ));
    }
    Ok(())
}

/// The places of a signal's name: left and right, or the one without sides twice.
pub(super) fn sides_of(signal: &str) -> Option<[usize; 2]> {
    let place = |name: &str| SIGNAL_NAMES.iter().position(|own| *own == name);
    let side = |side: &str| place(&format!("{side}_{signal}"));
    match (side("left"), side("right"), place(signal)) {
        (Some(left), Some(right), _) => Some([left, right]),
        (_, _, Some(one)) if signal_names().contains(&signal) => Some([one; 2]),
        _ => None,
    }
}

/// Names that a signal may have.
pub(super) fn signal_names() -> Vec<&'static str> {
    let names = SIGNAL_NAMES
        .iter()
        .filter(|name| !name.starts_with("right_"));
    names
        .map(|name| name.strip_prefix("left_").unwrap_or(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(Path::new("mine.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn those_that_ship_are_in_order() {
        let all = read(Path::new(BUILT_IN_NAME), BUILT_IN).unwrap();
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "arm_raise",
                "biceps_curl",
                "jumping_jack",
                "lunge",
                "marching",
                "shoulder_abduction",
                "sit_to_stand",
                "squat"
            ]
        );
        assert_eq!(all["squat"].signals, [4, 5]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value_and_range() {
        let entry = |low: f32, high: f32, min_s: f32, signal: &str| {
            format!(
                "[dip]\nsignal = \"{signal}\"\nlow_deg = {low}\nhigh_deg = {high}\nmin_s = {min_s}"
            )
            .replace("\\\n", "\n")
        };
        let wrong = |low, high, min_s| refused(&entry(low, high, min_s, "knee_flexion"));
        assert_eq!(
            wrong(80.0, 60.0, 1.0),
            "mine.toml: dip.low_deg = 80: must be at least 10 below high_deg = 60"
        );
        assert_eq!(
            wrong(20.0, 300.0, 1.0),
            "mine.toml: dip.high_deg = 300: must be from -90 to 200"
        );
        assert_eq!(
            wrong(20.0, 60.0, 0.0),
            "mine.toml: dip.min_s = 0: must be from 0.1 to 10"
        );
        for signal in ["knee", "left_knee_flexion", ""] {
            let error = refused(&entry(20.0, 60.0, 1.0, signal));
            let begin = format!("mine.toml: dip.signal = {signal:?}: must be one of hip_flexion,");
            assert!(error.starts_with(&begin), "{error}");
        }
        let error = refused("[dip]\nsignals = 1");
        assert!(error.contains("signals"), "{error}");
    }

    #[test]
    fn an_exercise_that_does_not_exist_is_refused_with_those_that_do() {
        let config: ExerciseConfig = toml::from_str("name = \"squats\"").unwrap();
        let error = config.open().unwrap_err().to_string();
        assert!(
            error.starts_with("models/exercises.toml: no exercise \"squats\", it has: arm_raise,"),
            "{error}"
        );
        assert_eq!(ExerciseConfig::default().open().unwrap(), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.toml");
        std::fs::write(
            &file,
            "[nod]\nsignal = \"neck_flexion\"\nlow_deg = 20\nhigh_deg = 40\nmin_s = 0.3",
        )
        .unwrap();
        let mine = ExerciseConfig {
            name: Some("nod".into()),
            file: Some(file),
        };
        assert_eq!(mine.open().unwrap().unwrap().signals, [14, 14]);
    }
}
