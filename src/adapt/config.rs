//! `[adapt]`: which way of learning, how much of a core, where what was learned is kept.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::{ConfigError, check};

/// How the final layers adapt.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Not at all, and frames are looked at once and not refined: the networks as they ship.
    Off,
    /// Each frame is looked at twice and refined, no weight changes.
    Latent,
    /// Plain reprojection moves the weights. Here to be measured: it makes poses worse (docs/accuracy.md).
    #[serde(rename = "2d")]
    Reprojection,
    /// Weights follow the smoothed poses and the keypoints of real frames (after `CycleAdapt`). Here to be measured.
    Cycle,
    /// Weights learn from echoes.
    Replay,
    /// The same, hidden joints of the echoes completed with the dictionary.
    #[default]
    Semantic,
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| format!("must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Latent,
        Self::Reprojection,
        Self::Cycle,
        Self::Replay,
        Self::Semantic,
    ];

    /// Its name in configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Latent => "latent",
            Self::Reprojection => "2d",
            Self::Cycle => "cycle",
            Self::Replay => "replay",
            Self::Semantic => "semantic",
        }
    }

    /// Whether weights change.
    pub const fn learns(self) -> bool {
        !matches!(self, Self::Off | Self::Latent)
    }

    /// Whether steps are shown echoes, and the guard decides.
    pub(super) const fn echoes(self) -> bool {
        matches!(self, Self::Replay | Self::Semantic)
    }
}

/// `[adapt]`: learning on the device.
///
/// ```toml
/// [adapt]
/// method = "semantic"
/// state = "/var/lib/poised/front.adapted"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptConfig {
    /// `"off"`, `"latent"`, `"2d"`, `"cycle"`, `"replay"` or `"semantic"` (default).
    pub method: Method,
    /// Most of one core that learning takes, 0.005 to 0.5. Default 0.05. Where it is not enough steps are left out,
    /// frames never.
    pub core_share: f32,
    /// Where what was learned is kept over restarts. Default: nowhere.
    #[serde(deserialize_with = "crate::config::optional_path")]
    pub state: Option<PathBuf>,
    /// Shortest time between two writings of `state`, seconds, 10 to 86400. Default 600: a power cut then costs ten
    /// minutes of learning, and flash memory takes about 45 MB a day. Nothing is written while nothing is learned.
    pub state_every_s: u32,
    /// Whether `/control` is listened to: freeze, thaw, reset, snapshot, roll back. Default: false.
    pub control: bool,
}

impl Default for AdaptConfig {
    fn default() -> Self {
        Self {
            method: Method::default(),
            core_share: 0.05,
            state: None,
            state_every_s: 600,
            control: false,
        }
    }
}

impl AdaptConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("adapt.core_share", self.core_share, 0.005, 0.5)?;
        check("adapt.state_every_s", self.state_every_s, 10, 86_400)
    }
}
