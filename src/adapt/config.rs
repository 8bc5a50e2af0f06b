//! `[adapt]`: which method of learning, how much of a core, where what was learned is kept.

use std::path::PathBuf;

use serde::Deserialize;

use super::sem::Parts;
use crate::base::config::{ConfigError, check};

/// How the final layers adapt.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Not at all, and one inference a frame, not refined: the networks without adaptation.
    Off,
    /// Flip test-time augmentation and refinement of each frame, no weight changes.
    Latent,
    /// Plain reprojection moves the weights. To be measured, not for the field: it makes poses worse
    /// (docs/lab/accuracy.md) and no guard holds it.
    #[serde(rename = "2d")]
    Reprojection,
    /// Windows of two seconds: 2D, and the distance from what a motion denoiser makes of them, which adapts in turns with
    /// the weights (after `CycleAdapt`).
    Cycle,
    /// Weights learn from synthetic views.
    Replay,
    /// The same, hidden joints of the synthetic views completed with the dictionary.
    #[default]
    Semantic,
    /// Windows of two seconds: 2D, alignment of motion and text, smoothness, 2D targets that change (after
    /// "Semantics-aware test-time adaptation").
    Sem,
    /// The same, 2D targets as the detector has them.
    Align,
    /// The same as `sem`, without alignment.
    Update,
    /// Weights learn from motions drawn from the dictionary's entries for what is done here (after `PoseDA`).
    Gpa,
    /// From these and from synthetic views, one of each in turn.
    #[serde(rename = "gpa+replay")]
    GpaReplay,
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
    pub const ALL: [Self; 11] = [
        Self::Off,
        Self::Latent,
        Self::Reprojection,
        Self::Cycle,
        Self::Replay,
        Self::Semantic,
        Self::Sem,
        Self::Align,
        Self::Update,
        Self::Gpa,
        Self::GpaReplay,
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
            Self::Sem => "sem",
            Self::Align => "align",
            Self::Update => "update",
            Self::Gpa => "gpa",
            Self::GpaReplay => "gpa+replay",
        }
    }

    /// Whether weights change.
    pub const fn learns(self) -> bool {
        !matches!(self, Self::Off | Self::Latent)
    }

    /// Whether the daemon may use it: no weights change but under the guard.
    pub const fn is_for_the_field(self) -> bool {
        !self.learns() || self.is_guarded()
    }

    /// Whether the guard decides.
    pub(super) const fn is_guarded(self) -> bool {
        !matches!(self, Self::Off | Self::Latent | Self::Reprojection)
    }

    /// Whether it learns from windows of real frames, and with which parts.
    pub(super) const fn windows(self) -> Option<Parts> {
        let (aligns, updates) = match self {
            Self::Sem => (true, true),
            Self::Align => (true, false),
            Self::Update => (false, true),
            Self::Cycle => (false, false),
            _ => return None,
        };
        Some(Parts { aligns, updates })
    }

    /// Whether the motion denoiser adapts with the weights.
    pub(crate) const fn denoises(self) -> bool {
        matches!(self, Self::Cycle)
    }

    /// Whether it learns from motions that are drawn.
    pub(super) const fn draws_motions(self) -> bool {
        matches!(self, Self::Gpa | Self::GpaReplay)
    }

    /// Whether it has to be told what people do.
    pub const fn needs_labels(self) -> bool {
        matches!(self, Self::Sem | Self::Align | Self::Update) || self.draws_motions()
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
    /// `"off"`, `"latent"`, `"replay"`, `"semantic"` (default), `"cycle"`, `"sem"`, `"align"`, `"update"`, `"gpa"` or
    /// `"gpa+replay"`. The last five need `semantics.enabled`.
    pub method: Method,
    /// Most of one core that learning takes, 0.005 to 0.5. Default 0.05. Where it is not enough steps are left out,
    /// frames never.
    pub core_share: f32,
    /// Where what was learned is kept over restarts. Default: nowhere.
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub state: Option<PathBuf>,
    /// Shortest time between two writings of `state`, seconds, 10 to 86400. Default 600: a power cut then costs ten
    /// minutes of learning, and flash memory takes about 45 MB a day. Nothing is written while nothing is learned.
    pub state_every_s: u32,
    /// Whether learning begins again when people who walk tell that the camera was moved. Default: true. The event
    /// `camera_moved` tells of it.
    pub restart_if_moved: bool,
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
            restart_if_moved: true,
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
        if !self.method.is_for_the_field() {
            return Err(ConfigError::Value {
                key: "adapt.method",
                value: self.method.name().into(),
                want: "off, latent, replay, semantic, cycle, sem, align, update, gpa or gpa+replay; 2d harms poses and \
                       is for `poised eval` only",
            });
        }
        check("adapt.core_share", self.core_share, 0.005, 0.5)?;
        check("adapt.state_every_s", self.state_every_s, 10, 86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_without_a_guard_are_refused_by_name_and_all_others_run() {
        for method in Method::ALL {
            let config = AdaptConfig {
                method,
                ..AdaptConfig::default()
            };
            let unguarded = method == Method::Reprojection;
            match config.validate() {
                Ok(()) => assert!(!unguarded, "{}", method.name()),
                Err(error) => {
                    assert!(unguarded, "{error}");
                    let want = format!("adapt.method = \"{}\": must be off, latent", method.name());
                    assert!(error.to_string().starts_with(&want), "{error}");
                }
            }
        }
    }
}
