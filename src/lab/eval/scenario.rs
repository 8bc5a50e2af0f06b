//! Scenarios: from where a person is seen, how they are built, what hides them and
//! how the detector errs. Data, not code: `scenarios.toml` holds those that ship.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::detector::Detector;
use crate::base::config::{ConfigError, check, read_text};
use crate::skeleton::KEYPOINT_NAMES;

/// The scenarios that ship.
pub const SHIPPED: &str = include_str!("scenarios.toml");

/// Most scenarios in a file.
const SCENARIOS_MAX: usize = 64;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

/// One viewing condition. What is left out is as in an easy view.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Its name; `all` and `hard` are taken.
    pub name: String,
    /// Whether it counts to `hard`: anything but the unshifted view.
    pub hard: bool,
    /// Camera tilted downward, degrees: from, to; one value a motion. -30 to 80.
    pub down_deg: [f32; 2],
    /// By how much a person is turned away from the camera at a motion's start, to either side, degrees, 0 to 180; left
    /// out, they face anywhere.
    pub facing_deg: Option<f32>,
    /// Standard deviation of the camera's roll, degrees, 0 to 20.
    pub roll_sd_deg: f32,
    /// Horizontal field of view, degrees, 30 to 120. The image is square.
    pub fov_deg: f32,
    /// Camera to the person at the motion's start, metres: from, to. 0.5 to 30.
    pub distance_m: [f32; 2],
    /// Image side, pixels, 64 to 1920; keypoints are rounded to it where `rounded`.
    pub side_px: u32,
    /// Whether the detector gives whole pixels.
    pub rounded: bool,
    /// Body size, 0.5 to 1.3.
    pub stature: f32,
    /// Length of thighs and shanks beyond that, 0.7 to 1.3.
    pub legs: f32,
    /// Length of arms beyond that, 0.7 to 1.3.
    pub arms: f32,
    /// Size of neck and head beyond that, 0.7 to 1.5.
    pub head: f32,
    /// The ideal detector's noise: standard deviation as a share of the box height, 0 to 0.1. A measured detector has its
    /// own errors, and neither this nor `offset` and `pulled`.
    pub noise: f32,
    /// A fixed offset for each keypoint of a motion, as a share of the box height, 0 to 0.1.
    pub offset: f32,
    /// Hips pulled together, ankles pulled up the shank, shoulders pulled
    /// together, as shares of the box height, 0 to 0.1.
    pub pulled: [f32; 3],
    /// Chance that the ideal detector misses a keypoint in a frame, 0 to 0.5. A measured one has its own.
    pub missed: f32,
    /// Frames a second that the camera gives, 1 to 120; left out, those of the motion.
    pub rate_hz: Option<f64>,
    /// What is hidden, and when.
    pub hide: Vec<Hide>,
    /// How the detector errs; `None` is the ideal one, which knows how much.
    #[serde(skip)]
    pub detector: Option<Detector>,
}

/// Keypoints that are hidden again and again: by name, by place in the image, or both.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Hide {
    /// COCO names; see [`KEYPOINT_NAMES`].
    #[serde(default)]
    pub keypoints: Vec<String>,
    /// A part of the image in which nothing is seen, as furniture before a fixed
    /// camera: left, top, right, bottom as shares of the image's sides, 0 to 1.
    pub region: Option<[f32; 4]>,
    /// Length of a round, seconds, 0.1 to 600.
    pub every_s: f64,
    /// Hidden for the last so many seconds of each round.
    pub for_s: f64,
    /// Also whatever lies below the hips in the image.
    #[serde(default)]
    pub below_hips: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            hard: true,
            down_deg: [4.0, 12.0],
            facing_deg: None,
            roll_sd_deg: 2.0,
            fov_deg: 60.0,
            distance_m: [2.6, 3.6],
            side_px: 640,
            rounded: false,
            stature: 1.0,
            legs: 1.0,
            arms: 1.0,
            head: 1.0,
            noise: 0.005,
            offset: 0.0,
            pulled: [0.0; 3],
            missed: 0.01,
            rate_hz: None,
            hide: Vec::new(),
            detector: None,
        }
    }
}

impl Scenario {
    /// The scenarios of a file, or those that ship.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or names the first key that is unknown, of the
    /// wrong type or out of range.
    pub fn read(path: Option<&Path>) -> Result<Vec<Self>, ConfigError> {
        let (name, text) = match path {
            Some(path) => (path.to_owned(), read_text(path)?),
            None => (PathBuf::from("scenarios.toml"), SHIPPED.to_owned()),
        };
        Self::parse(name, &text)
    }

    /// The scenarios of a text, which is the content of the file `name`.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn parse(name: PathBuf, text: &str) -> Result<Vec<Self>, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: name,
            message: error.to_string().trim_end().to_owned(),
        })?;
        check("scenario (count)", file.scenario.len(), 1, SCENARIOS_MAX)?;
        for (at, scenario) in file.scenario.iter().enumerate() {
            scenario.validate()?;
            if file.scenario[..at].iter().any(|s| s.name == scenario.name) {
                return Err(ConfigError::Value {
                    key: "scenario.name",
                    value: scenario.name.clone(),
                    want: "a name that no other scenario has",
                });
            }
        }
        Ok(file.scenario)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if matches!(self.name.as_str(), "" | "all" | "hard") {
            return Err(ConfigError::Value {
                key: "scenario.name",
                value: self.name.clone(),
                want: "a name other than all and hard",
            });
        }
        for down in self.down_deg {
            check("scenario.down_deg", down, -30.0, 80.0)?;
        }
        if let Some(facing) = self.facing_deg {
            check("scenario.facing_deg", facing, 0.0, 180.0)?;
        }
        check("scenario.roll_sd_deg", self.roll_sd_deg, 0.0, 20.0)?;
        check("scenario.fov_deg", self.fov_deg, 30.0, 120.0)?;
        for distance in self.distance_m {
            check("scenario.distance_m", distance, 0.5, 30.0)?;
        }
        check("scenario.side_px", self.side_px, 64, 1920)?;
        check("scenario.stature", self.stature, 0.5, 1.3)?;
        check("scenario.legs", self.legs, 0.7, 1.3)?;
        check("scenario.arms", self.arms, 0.7, 1.3)?;
        check("scenario.head", self.head, 0.7, 1.5)?;
        check("scenario.noise", self.noise, 0.0, 0.1)?;
        check("scenario.offset", self.offset, 0.0, 0.1)?;
        for pulled in self.pulled {
            check("scenario.pulled", pulled, 0.0, 0.1)?;
        }
        check("scenario.missed", self.missed, 0.0, 0.5)?;
        if let Some(rate_hz) = self.rate_hz {
            check("scenario.rate_hz", rate_hz, 1.0, 120.0)?;
        }
        for hide in &self.hide {
            check("scenario.hide.every_s", hide.every_s, 0.1, 600.0)?;
            check("scenario.hide.for_s", hide.for_s, 0.0, hide.every_s)?;
            if let Some([left, top, right, bottom]) = hide.region {
                for (low, high) in [(left, right), (top, bottom)] {
                    check("scenario.hide.region", low, 0.0, 1.0)?;
                    check("scenario.hide.region", high, low, 1.0)?;
                }
            } else if hide.keypoints.is_empty() && !hide.below_hips {
                return Err(ConfigError::Value {
                    key: "scenario.hide",
                    value: "nothing".to_owned(),
                    want: "keypoints, region or below_hips",
                });
            }
            for name in &hide.keypoints {
                if !KEYPOINT_NAMES.contains(&name.as_str()) {
                    return Err(ConfigError::Value {
                        key: "scenario.hide.keypoints",
                        value: name.clone(),
                        want: "the name of a COCO keypoint, such as left_knee",
                    });
                }
            }
        }
        Ok(())
    }
}

impl Hide {
    /// Whether a keypoint is hidden `time_s` after the motion's start.
    pub fn hides(&self, keypoint: usize, time_s: f64) -> bool {
        self.active(time_s)
            && self
                .keypoints
                .iter()
                .any(|name| name == KEYPOINT_NAMES[keypoint])
    }

    /// Whether a place in the image, in shares of its sides, lies in the hidden part.
    pub fn covers(&self, [x, y]: [f32; 2], time_s: f64) -> bool {
        self.region.is_some_and(|[left, top, right, bottom]| {
            (left..=right).contains(&x) && (top..=bottom).contains(&y)
        }) && self.active(time_s)
    }

    /// Whether something is hidden at that time.
    pub fn active(&self, time_s: f64) -> bool {
        time_s.rem_euclid(self.every_s) >= self.every_s - self.for_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        Scenario::read(Some(&path)).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_scenarios_are_read_and_one_is_easy() {
        let scenarios = Scenario::read(None).unwrap();
        let easy: Vec<_> = scenarios.iter().filter(|s| !s.hard).collect();
        assert_eq!(easy.len(), 1);
        assert_eq!(easy[0].name, "easy");
        assert!(scenarios.len() >= 7);
    }

    #[test]
    fn an_unknown_key_a_bad_value_and_a_double_name_are_refused_by_name() {
        assert!(refused("[[scenario]]\nname = \"a\"\npitch = 3").contains("pitch"));
        assert_eq!(
            refused("[[scenario]]\nname = \"a\"\nfov_deg = 170.0"),
            "scenario.fov_deg = 170: must be from 30 to 120"
        );
        assert!(refused("[[scenario]]\nname = \"all\"").contains("scenario.name"));
        assert!(
            refused("[[scenario]]\nname = \"a\"\n[[scenario]]\nname = \"a\"").contains("no other")
        );
        assert_eq!(
            refused("[[scenario]]\nname = \"a\"\nfacing_deg = 270.0"),
            "scenario.facing_deg = 270: must be from 0 to 180"
        );
        let hide = "[[scenario]]\nname = \"a\"\nhide = [{ keypoints = [\"tail\"], every_s = 2.0, for_s = 1.0 }]";
        assert!(refused(hide).contains("tail"));
        let hide = |what: &str| {
            refused(&format!(
                "[[scenario]]\nname = \"a\"\nhide = [{{ {what}every_s = 2.0, for_s = 1.0 }}]"
            ))
        };
        assert_eq!(
            hide("region = [0.0, 0.6, 1.0, 1.5], "),
            "scenario.hide.region = 1.5: must be from 0.6 to 1"
        );
        assert!(hide("region = [0.5, 0.0, 0.4, 1.0], ").contains("must be from 0.5 to 1"));
        assert_eq!(
            hide(""),
            "scenario.hide = \"nothing\": must be keypoints, region or below_hips"
        );
        let late = "[[scenario]]\nname = \"a\"\nhide = [{ below_hips = true, every_s = 2.0, for_s = 3.0 }]";
        assert_eq!(
            refused(late),
            "scenario.hide.for_s = 3: must be from 0 to 2"
        );
    }

    #[test]
    fn the_scenario_in_the_documents_is_one() {
        let text = include_str!("../../../docs/lab/accuracy.md");
        let (_, rest) = text.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        std::fs::write(&path, example).unwrap();
        let scenarios = Scenario::read(Some(&path)).unwrap();
        assert!(scenarios[0].hide[0].covers([0.5, 0.9], 3.0));
        assert!(scenarios[0].hide[1].hides(7, 5.0));
    }

    #[test]
    fn the_end_of_each_round_is_hidden() {
        let hide = Hide {
            keypoints: vec!["left_knee".into()],
            every_s: 4.0,
            for_s: 2.0,
            region: Some([0.0, 0.6, 0.5, 1.0]),
            below_hips: false,
        };
        assert!(hide.covers([0.25, 0.9], 2.1));
        assert!(!hide.covers([0.25, 0.9], 1.9));
        assert!(!hide.covers([0.75, 0.9], 2.1));
        assert!(!hide.covers([0.25, 0.5], 2.1));
        assert!(!hide.hides(13, 1.9));
        assert!(hide.hides(13, 2.1));
        assert!(!hide.hides(13, 4.1));
        assert!(!hide.hides(14, 2.1));
    }
}
