//! `[synthetic]`: what the built-in camera shows and from where.

use serde::Deserialize;

use crate::base::config::{ConfigError, check};
use crate::base::limits::{IMAGE_SIDE_PX_MAX, IMAGE_SIDE_PX_MIN, PEOPLE_MAX};
use crate::frame::PixelFormat;

/// What people do, and the camera that goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// One person through a mix of actions, in full view.
    #[default]
    Default,
    /// As default, but furniture before the person hides the legs for long stretches.
    Occluded,
    /// Several people whose ways cross.
    Crowd,
    /// Seen from under the ceiling.
    HighCamera,
    /// A child.
    Small,
    /// Walking through the room with turns.
    Walk,
    /// Squats with short rests.
    Squat,
    /// Sitting down and standing up.
    Sit,
    /// Up and down a step.
    Climb,
    /// Gymnastics on the spot.
    Exercise,
    /// Everything by the seed: build, room, furniture, actions. For training.
    Varied,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Default,
        Self::Occluded,
        Self::Crowd,
        Self::HighCamera,
        Self::Small,
        Self::Walk,
        Self::Squat,
        Self::Sit,
        Self::Climb,
        Self::Exercise,
        Self::Varied,
    ];

    /// The name in a configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Occluded => "occluded",
            Self::Crowd => "crowd",
            Self::HighCamera => "high-camera",
            Self::Small => "small",
            Self::Walk => "walk",
            Self::Squat => "squat",
            Self::Sit => "sit",
            Self::Climb => "climb",
            Self::Exercise => "exercise",
            Self::Varied => "varied",
        }
    }

    /// The scenario of a name.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn from_name(name: &str) -> Result<Self, ConfigError> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == name)
            .ok_or_else(|| ConfigError::Value {
                key: "camera.synthetic.scenario",
                value: name.to_owned(),
                want: "default, occluded, crowd, high-camera, small, walk, squat, sit, climb, exercise or varied",
            })
    }
}

/// Layout of the frames handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyntheticFormat {
    /// Three bytes a pixel.
    #[default]
    Rgb24,
    /// As most webcams deliver: 4:2:2, limited range BT.601.
    Yuyv,
}

impl From<SyntheticFormat> for PixelFormat {
    fn from(format: SyntheticFormat) -> Self {
        match format {
            SyntheticFormat::Rgb24 => Self::Rgb24,
            SyntheticFormat::Yuyv => Self::Yuyv,
        }
    }
}

/// `[synthetic]`: what the built-in camera shows and from where. What is left
/// out comes from the scenario.
///
/// ```toml
/// [synthetic]
/// scenario = "occluded"
/// width_px = 320
/// height_px = 240
/// height_m = 1.8
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticConfig {
    /// What people do.
    pub scenario: Scenario,
    /// Columns, 64 to 1920; even, because 4:2:2 pairs columns.
    pub width_px: u32,
    /// Rows, 64 to 1920.
    pub height_px: u32,
    /// Frames a second, 1 to 120.
    pub rate_hz: f32,
    /// Random seed of appearance, room and order of actions.
    pub seed: u64,
    /// People, 1 to 8.
    pub people: Option<u8>,
    /// Stature of the people, metres, 0.9 to 2.1.
    pub stature_m: Option<f32>,
    /// Camera above the floor, metres, 0.2 to 4.
    pub height_m: Option<f32>,
    /// Camera to the middle of the scene along the floor, metres, 1 to 8.
    pub distance_m: Option<f32>,
    /// Camera tilted downward, degrees, -30 to 80; left out, it aims at the people.
    pub pitch_deg: Option<f32>,
    /// Camera turned clockwise about its line of sight, degrees, -45 to 45.
    pub roll_deg: f32,
    /// Camera walked around the scene, degrees, -180 to 180.
    pub azimuth_deg: f32,
    /// Horizontal field of view, degrees, 30 to 110.
    pub fov_deg: Option<f32>,
    /// Layout of the frames.
    pub format: SyntheticFormat,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            scenario: Scenario::Default,
            width_px: 640,
            height_px: 480,
            rate_hz: 30.0,
            seed: 1,
            people: None,
            stature_m: None,
            height_m: None,
            distance_m: None,
            pitch_deg: None,
            roll_deg: 0.0,
            azimuth_deg: 0.0,
            fov_deg: None,
            format: SyntheticFormat::Rgb24,
        }
    }
}

/// Where the camera is, with the scenario's values filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Above the floor, metres.
    pub height_m: f32,
    /// To the middle of the scene along the floor, metres.
    pub distance_m: f32,
    /// Downward tilt, degrees; `None` aims at the people.
    pub pitch_deg: Option<f32>,
    /// Clockwise turn, degrees.
    pub roll_deg: f32,
    /// Around the scene, degrees.
    pub azimuth_deg: f32,
    /// Horizontal field of view, degrees.
    pub fov_deg: f32,
}

impl SyntheticConfig {
    /// A scenario as it is meant to be seen.
    pub fn of(scenario: Scenario) -> Self {
        Self {
            scenario,
            ..Self::default()
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sides = IMAGE_SIDE_PX_MIN..=IMAGE_SIDE_PX_MAX;
        check(
            "camera.synthetic.width_px",
            self.width_px,
            *sides.start(),
            *sides.end(),
        )?;
        check(
            "camera.synthetic.height_px",
            self.height_px,
            *sides.start(),
            *sides.end(),
        )?;
        if self.width_px % 2 == 1 {
            return Err(ConfigError::Value {
                key: "camera.synthetic.width_px",
                value: self.width_px.to_string(),
                want: "an even number",
            });
        }
        check("camera.synthetic.rate_hz", self.rate_hz, 1.0, 120.0)?;
        check("camera.synthetic.people", self.people(), 1, PEOPLE_MAX)?;
        check("camera.synthetic.stature_m", self.stature_m(), 0.9, 2.1)?;
        let view = self.view();
        check("camera.synthetic.height_m", view.height_m, 0.2, 4.0)?;
        check("camera.synthetic.distance_m", view.distance_m, 1.0, 8.0)?;
        check(
            "camera.synthetic.pitch_deg",
            view.pitch_deg.unwrap_or(0.0),
            -30.0,
            80.0,
        )?;
        check("camera.synthetic.roll_deg", view.roll_deg, -45.0, 45.0)?;
        check(
            "camera.synthetic.azimuth_deg",
            view.azimuth_deg,
            -180.0,
            180.0,
        )?;
        check("camera.synthetic.fov_deg", view.fov_deg, 30.0, 110.0)
    }

    /// How many people.
    pub fn people(&self) -> usize {
        let of_scenario = if self.scenario == Scenario::Crowd {
            4
        } else {
            1
        };
        self.people.map_or(of_scenario, usize::from)
    }

    /// How tall people are about, metres.
    pub fn stature_m(&self) -> f32 {
        let of_scenario = if self.scenario == Scenario::Small {
            1.15
        } else {
            1.74
        };
        self.stature_m.unwrap_or(of_scenario)
    }

    /// Where the camera is.
    pub fn view(&self) -> View {
        let (height, distance, fov) = match self.scenario {
            Scenario::HighCamera => (2.7, 3.2, 65.0),
            Scenario::Crowd => (1.9, 4.8, 65.0),
            Scenario::Small => (1.2, 2.8, 60.0),
            Scenario::Walk => (1.4, 3.9, 65.0),
            _ => (1.3, 3.5, 60.0),
        };
        View {
            height_m: self.height_m.unwrap_or(height),
            distance_m: self.distance_m.unwrap_or(distance),
            pitch_deg: self.pitch_deg,
            roll_deg: self.roll_deg,
            azimuth_deg: self.azimuth_deg,
            fov_deg: self.fov_deg.unwrap_or(fov),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_valid_and_found_by_its_name() {
        for scenario in Scenario::ALL {
            SyntheticConfig::of(scenario).validate().unwrap();
            assert_eq!(Scenario::from_name(scenario.name()).unwrap(), scenario);
            let text = format!("scenario = \"{}\"", scenario.name());
            let config: SyntheticConfig = toml::from_str(&text).unwrap();
            assert_eq!(config.scenario, scenario);
        }
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_range() {
        let refused = |text: &str| {
            let config: SyntheticConfig = toml::from_str(text).unwrap();
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refused("people = 9"),
            "camera.synthetic.people = 9: must be from 1 to 8"
        );
        assert_eq!(
            refused("fov_deg = 170"),
            "camera.synthetic.fov_deg = 170: must be from 30 to 110"
        );
        assert_eq!(
            refused("width_px = 333"),
            "camera.synthetic.width_px = \"333\": must be an even number"
        );
        assert!(refused("height_m = nan").starts_with("camera.synthetic.height_m = NaN"));
    }

    #[test]
    fn a_rate_may_be_a_fraction() {
        for (text, rate_hz) in [("29.97", 29.97), ("30", 30.0)] {
            let text = format!("rate_hz = {text}");
            let config: SyntheticConfig = toml::from_str(&text).unwrap();
            config.validate().unwrap();
            assert!((config.rate_hz - rate_hz).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn the_example_in_the_documentation_is_valid() {
        let text = include_str!("config.rs");
        let example: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("/// [synthetic]"))
            .skip(1)
            .take_while(|line| *line != "/// ```")
            .map(|line| line.trim_start_matches("/// "))
            .collect();
        let config: SyntheticConfig = toml::from_str(&example.join("\n")).unwrap();
        config.validate().unwrap();
        assert_eq!(config.scenario, Scenario::Occluded);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = toml::from_str::<SyntheticConfig>("hight_m = 2").unwrap_err();
        assert!(error.to_string().contains("hight_m"), "{error}");
    }

    #[test]
    fn an_unknown_scenario_is_refused_with_the_names_there_are() {
        let error = Scenario::from_name("moon").unwrap_err().to_string();
        assert!(
            error.contains("moon") && error.contains("occluded"),
            "{error}"
        );
    }
}
