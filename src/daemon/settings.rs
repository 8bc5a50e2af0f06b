//! The daemon's configuration file: joins the sections, reads and checks them.

use std::path::Path;

use serde::Deserialize;

use crate::adapt::AdaptConfig;
use crate::base::config::{ConfigError, parse_toml, read_text_or_pipe};
use crate::base::secret::SourceName;
use crate::camera::CalibrationConfig;
use crate::capture::Transport;
use crate::capture::v4l2::V4l2Config;
use crate::detect::PeopleSettings;
use crate::engine::InferenceConfig;
use crate::estimate::{EstimateConfig, ModelsConfig};
use crate::frame::Turn;
use crate::lift::LiftConfig;
use crate::motion::SemanticsConfig;
use crate::motion::exercise::ExerciseConfig;
use crate::motion::floor::FloorConfig;
use crate::output::zenoh::check_name;
use crate::output::{
    ArchiveConfig, FoxgloveConfig, MqttConfig, PublishConfig, RosConfig, SessionsConfig, WebConfig,
    ZenohConfig,
};
use crate::synthetic::SyntheticConfig;
use crate::track::TrackConfig;

/// The whole file. Every section may be left out.
///
/// ```toml
/// [camera]
/// name = "front"
///
/// [camera.v4l2]
/// device = "/dev/video0"
/// width_px = 640
/// height_px = 480
/// rate_hz = 30
///
/// [calibration]
/// file = "/etc/poised/calibration/front.toml"
///
/// [zenoh]
/// site = "clinic"
/// device = "kiosk-3"
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where frames come from.
    pub camera: CameraConfig,
    /// The camera's lens.
    pub calibration: CalibrationConfig,
    /// Which networks.
    pub models: ModelsConfig,
    /// What runs them.
    pub inference: InferenceConfig,
    /// Whom to look for.
    pub people: PeopleSettings,
    /// Who is who.
    pub track: TrackConfig,
    /// Keypoints to 3D.
    pub lift: LiftConfig,
    /// What people do.
    pub semantics: SemanticsConfig,
    /// Which repetitions are counted.
    pub exercise: ExerciseConfig,
    /// Whether people on the floor are reported.
    pub floor: FloorConfig,
    /// Sessions that a kiosk starts and stops.
    pub session: SessionsConfig,
    /// Learning on the device.
    pub adapt: AdaptConfig,
    /// What counts as late.
    pub publish: PublishConfig,
    /// Names and endpoints.
    pub zenoh: ZenohConfig,
    /// The web view.
    pub web: WebConfig,
    /// Messages for ROS 2.
    pub ros: RosConfig,
    /// Viewers of Foxglove.
    pub foxglove: FoxgloveConfig,
    /// State for Home Assistant.
    pub mqtt: MqttConfig,
    /// Recordings on this machine.
    pub record: ArchiveConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// `[log]`: how much is logged. May change while the daemon runs (SIGHUP).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `"error"`: a person has to act. `"warn"`: it went on, but worse. `"info"` (default): life cycle and
    /// figures. `-v` and `RUST_LOG` on the command line win.
    pub level: LogLevel,
}

/// Least urgent lines that are logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what a person has to act on.
    Error,
    /// And what went worse than it should.
    Warn,
    /// And the life cycle.
    #[default]
    Info,
}

/// `[camera]`: one source of frames. Without any, the V4L2 device with its defaults.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct CameraConfig {
    /// Its name: the fourth chunk of every key, and `<name>_optical_frame`.
    pub name: String,
    /// A camera of this machine.
    pub v4l2: Option<V4l2Config>,
    /// The synthetic camera, for trying things out.
    pub synthetic: Option<SyntheticConfig>,
    /// A video file, a folder of images, or the address of a network camera: `rtsp://`, `rtsps://`, `http://` or
    /// `https://` (MJPEG, HLS). A network camera that is away is waited for, as a device is.
    pub source: Option<SourceName>,
    /// How the packets of an `rtsp://` camera travel: `"auto"` (default: TCP, and UDP where the camera refuses TCP),
    /// `"tcp"` or `"udp"`.
    pub transport: Transport,
    /// By how many degrees its images are turned clockwise: 0 (default), 90, 180 or 270. The calibration stays
    /// that of the camera as it is; it is turned along.
    pub rotate: u32,
    /// Whether left and right are exchanged after that, for a camera that looks into a mirror. Default false.
    pub flip: bool,
}

impl Default for CameraConfig {
    fn default() -> Self {
        Self {
            name: "camera".into(),
            v4l2: None,
            synthetic: None,
            source: None,
            transport: Transport::Auto,
            rotate: 0,
            flip: false,
        }
    }
}

impl Settings {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or names the first key that is unknown, of the
    /// wrong type or out of range.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Ok(Self::read_with_text(path)?.0)
    }

    /// As [`Settings::read`], with the text they were read from.
    ///
    /// # Errors
    ///
    /// As [`Settings::read`].
    pub fn read_with_text(path: &Path) -> Result<(Self, String), ConfigError> {
        let text = read_text_or_pipe(path)?;
        let settings: Self = parse_toml(path, &text)?;
        settings.validate()?;
        Ok((settings, text))
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.camera.validate()?;
        self.people.validate()?;
        self.track.validate()?;
        self.lift.validate()?;
        self.semantics.validate()?;
        // Here, so that `check` and the start refuse it alike.
        self.exercise.open()?;
        self.floor.validate()?;
        self.session.validate()?;
        self.adapt.validate()?;
        if self.adapt.method.needs_labels() && !self.semantics.enabled {
            return Err(ConfigError::Value {
                key: "adapt.method",
                value: self.adapt.method.name().into(),
                want: "off, latent, replay, semantic or cycle while semantics.enabled = false: the others learn from \
                       what people are seen to do",
            });
        }
        self.publish.validate()?;
        self.zenoh.validate()?;
        self.web.validate()?;
        self.ros.validate()?;
        self.foxglove.validate()?;
        self.mqtt.validate()?;
        self.record.validate()
    }

    /// The sections in which `new` differs and that need a new start of the daemon.
    ///
    /// `[publish]` and `[log]` are not among them: they may change while it runs.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        // Taken apart by name, so that a section added later cannot be forgotten here.
        let Self {
            camera,
            calibration,
            models,
            inference,
            people,
            track,
            lift,
            semantics,
            exercise,
            floor,
            session,
            adapt,
            publish: _,
            zenoh,
            web,
            ros,
            foxglove,
            mqtt,
            record,
            log: _,
        } = self;
        [
            ("camera", *camera == new.camera),
            ("calibration", *calibration == new.calibration),
            ("models", *models == new.models),
            ("inference", *inference == new.inference),
            ("people", *people == new.people),
            ("track", *track == new.track),
            ("lift", *lift == new.lift),
            ("semantics", *semantics == new.semantics),
            ("exercise", *exercise == new.exercise),
            ("floor", *floor == new.floor),
            ("session", *session == new.session),
            ("adapt", *adapt == new.adapt),
            ("zenoh", *zenoh == new.zenoh),
            ("web", *web == new.web),
            ("ros", *ros == new.ros),
            ("foxglove", *foxglove == new.foxglove),
            ("mqtt", *mqtt == new.mqtt),
            ("record", *record == new.record),
        ]
        .into_iter()
        .filter_map(|(section, same)| (!same).then_some(section))
        .collect()
    }

    /// `[zenoh]` for the daemon's own session: where it speaks with a router of ROS 2, that router's usual port, which
    /// is Zenoh's too, is left to it.
    pub fn session(&self) -> ZenohConfig {
        ZenohConfig {
            leave_default: self.ros.connect.is_some(),
            ..self.zenoh.clone()
        }
    }

    /// The sections that turn frames into poses.
    pub fn estimate(&self) -> EstimateConfig {
        EstimateConfig {
            models: self.models.clone(),
            inference: self.inference.clone(),
            people: self.people,
            track: self.track,
            lift: self.lift,
            semantics: self.semantics.clone(),
            adapt: self.adapt.clone(),
        }
    }
}

impl CameraConfig {
    /// How its images are turned. The configuration has been checked.
    pub fn turn(&self) -> Turn {
        let turn = Turn::clockwise(self.rotate).unwrap_or(Turn::NONE);
        if self.flip { turn.mirrored() } else { turn }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        check_name("camera.name", &self.name)?;
        let sources = [
            self.v4l2.is_some(),
            self.synthetic.is_some(),
            self.source.is_some(),
        ];
        if sources.iter().filter(|given| **given).count() > 1 {
            return Err(ConfigError::Value {
                key: "camera",
                value: "more than one of v4l2, synthetic, source".into(),
                want: "one source of frames",
            });
        }
        if Turn::clockwise(self.rotate).is_none() {
            return Err(ConfigError::Value {
                key: "camera.rotate",
                value: self.rotate.to_string(),
                want: "0, 90, 180 or 270",
            });
        }
        if let Some(v4l2) = &self.v4l2 {
            v4l2.validate()?;
        }
        if let Some(synthetic) = &self.synthetic {
            synthetic.validate()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poised.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let settings: Settings = toml::from_str("").unwrap();
        assert_eq!(settings, Settings::default());
        settings.validate().unwrap();
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        assert!(refused("[camera]\nnmae = \"front\"").contains("nmae"));
        assert!(refused("[camrea]").contains("camrea"));
    }

    #[test]
    fn an_exercise_that_does_not_exist_is_refused() {
        let error = refused("[exercise]\nname = \"squats\"");
        assert!(
            error.contains("no exercise \"squats\", it has: arm_raise"),
            "{error}"
        );
        let settings: Settings = toml::from_str("[exercise]\nname = \"squat\"").unwrap();
        settings.validate().unwrap();
        assert_eq!(Settings::default().needs_restart(&settings), ["exercise"]);
    }

    #[test]
    fn regions_of_the_floor_are_checked_and_need_a_new_start() {
        let text = "[floor]\nevents = true\nignore = [[[20, 300], [220, 290.5], [10, 440]]]";
        let settings: Settings = toml::from_str(text).unwrap();
        settings.validate().unwrap();
        assert_eq!(Settings::default().needs_restart(&settings), ["floor"]);
        assert_eq!(
            refused("[floor]\nafter_s = 0.5"),
            "floor.after_s = 0.5: must be from 1 to 600"
        );
        let error = refused("[floor]\nignore = [[[0, 0], [9, 9], [18, 18]]]");
        assert!(error.contains("region 1, of 0 square pixels"), "{error}");
        let error = refused("[floor]\nignore = [[[0, 0], [9, 9]]]");
        assert!(
            error.contains("corners of a region) = 2: must be from 3 to 32"),
            "{error}"
        );
        assert!(refused("[floor]\nignore = [[[-1, 0], [9, 9], [0, 9]]]").contains("= -1: must be"));
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_range() {
        assert_eq!(
            refused("[people]\npeople_max = 9"),
            "people.people_max = 9: must be from 1 to 8"
        );
        assert!(refused("[camera]\nname = \"a/b\"").starts_with("camera.name = \"a/b\""));
    }

    #[test]
    fn sections_that_need_a_new_start_are_named_and_the_others_are_not() {
        let old = Settings::default();
        let mut new = old.clone();
        new.publish.late_after_ms += 1;
        new.log.level = LogLevel::Warn;
        assert!(old.needs_restart(&new).is_empty());
        new.camera.name = "side".into();
        new.zenoh.site = "hall".into();
        assert_eq!(old.needs_restart(&new), ["camera", "zenoh"]);
        assert!(refused("[log]\nlevel = \"debug\"").contains("debug"));
    }

    #[test]
    fn a_camera_may_be_turned_by_quarters_and_mirrored() {
        let turn = |text: &str| {
            let settings: Settings = toml::from_str(&format!("[camera]\n{text}")).unwrap();
            settings.validate().unwrap();
            settings.camera.turn()
        };
        assert_eq!(turn(""), Turn::NONE);
        assert_eq!(turn("rotate = 90"), Turn::of_exif(6).unwrap());
        assert_eq!(turn("rotate = 180\nflip = true"), Turn::of_exif(4).unwrap());
        assert_eq!(
            refused("[camera]\nrotate = 45"),
            "camera.rotate = \"45\": must be 0, 90, 180 or 270"
        );
    }

    #[test]
    fn the_transport_of_a_network_camera_can_be_chosen() {
        let settings: Settings = toml::from_str("[camera]\ntransport = \"udp\"").unwrap();
        assert_eq!(settings.camera.transport, Transport::Udp);
        assert!(refused("[camera]\ntransport = \"pigeon\"").contains("pigeon"));
    }

    #[test]
    fn a_token_of_the_web_view_is_neither_shown_nor_quoted_in_an_error() {
        let text = "[web]\nlisten = \"0.0.0.0:8080\"\ntoken = \"hunter2-hunter2-hunter2\"";
        let settings: Settings = toml::from_str(text).unwrap();
        settings.validate().unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        let answered = crate::base::secret::redacted_toml(text).unwrap();
        assert!(
            answered.contains("listen") && !answered.contains("hunter2"),
            "{answered}"
        );
        let error = refused(&format!("{text} oops"));
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_usual_port_of_a_router_is_left_to_it_where_there_is_ros_2() {
        let settings: Settings = toml::from_str("[ros]\nconnect = \"tcp/localhost:7447\"").unwrap();
        settings.validate().unwrap();
        assert!(settings.session().leave_default);
        assert!(!Settings::default().session().leave_default);
        assert_eq!(Settings::default().needs_restart(&settings), ["ros"]);
        assert!(refused("[ros]\ndomain = 300").contains("ros.domain = 300"));
    }

    #[test]
    fn a_password_in_the_address_of_a_broker_is_in_no_message() {
        for text in [
            "[mqtt]\nbroker = \"mqtt://kim:hunter2@broker\"",
            "[mqtt]\nbroker = \"mqtt://kim:hunter2@broker\" oops",
            "[mqtt]\npassword = \"hunter2\"",
        ] {
            let error = refused(text);
            assert!(!error.contains("hunter2"), "{error}");
        }
        let text = "[mqtt]\nbroker = \"mqtt://broker\"";
        let settings: Settings = toml::from_str(text).unwrap();
        settings.validate().unwrap();
        assert_eq!(Settings::default().needs_restart(&settings), ["mqtt"]);
    }

    #[test]
    fn a_method_that_no_guard_holds_is_refused_by_name() {
        let error = refused("[adapt]\nmethod = \"2d\"");
        assert!(
            error.starts_with("adapt.method = \"2d\": must be "),
            "{error}"
        );
    }

    #[test]
    fn two_sources_of_frames_are_refused() {
        let text = "[camera]\nsource = \"a.mp4\"\n[camera.v4l2]\ndevice = \"/dev/video0\"";
        assert!(refused(text).contains("one source"));
    }
}
