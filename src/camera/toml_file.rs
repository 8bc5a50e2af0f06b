//! Our own calibration format: one TOML file for each camera and image size.
//!
//! ```toml
//! camera = "front door, 2.8 mm lens"  # camera and lens, in words
//! date = 2026-11-21                   # day of the measurement, if known
//! residual_px = 0.21                  # root mean square reprojection error, pixels, if known
//!
//! [image]                             # size of the images it was measured on
//! width_px = 1280
//! height_px = 720
//!
//! [intrinsics]                        # pixels; pixel centres at whole numbers
//! fx_px = 911.4
//! fy_px = 910.8
//! cx_px = 640.2
//! cy_px = 357.9
//!
//! [distortion]                        # "none", "plumb_bob", "rational_polynomial" or "equidistant"
//! model = "plumb_bob"                 # dimensionless, OpenCV's meaning and order
//! k1 = -0.312
//! k2 = 0.104
//! p1 = 0.0004
//! p2 = -0.0002
//! k3 = 0.0
//!
//! [mount]                             # how it hangs, if known
//! height_m = 2.3                      # of the lens above the floor
//! down_deg = 25.0                     # from the horizon
//! roll_deg = 0.0                      # clockwise about the line of sight
//! ```
//!
//! Every key but `date`, `residual_px`, `[mount]` and `roll_deg` is needed. `equidistant` has `k1` to `k4`,
//! `rational_polynomial` `k1` to `k6`, `p1`, `p2` and, where it has a thin prism, `s1` to `s4`; `none` has no
//! coefficients. A lens that no person measured has `assumed = true` in place of `camera`, `date` and `residual_px`.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;
use toml::value::Datetime;

use super::{Calibration, Distortion, Intrinsics, Mount, Origin};
use crate::base::config::ConfigError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Not measured.
    #[serde(default)]
    assumed: bool,
    camera: Option<String>,
    date: Option<Datetime>,
    residual_px: Option<f64>,
    image: Image,
    intrinsics: Intrinsics,
    distortion: Distortion,
    mount: Option<Mount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    width_px: u32,
    height_px: u32,
}

/// Reads a calibration from text; `path` is for the error only.
///
/// # Errors
///
/// [`ConfigError::Parse`] for a missing or unknown key, else the value that is out of range.
pub fn parse(text: &str, path: &Path) -> Result<Calibration, ConfigError> {
    let file: File = toml::from_str(text).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    if let Some(date) = file.date
        && (date.date.is_none() || date.time.is_some())
    {
        return Err(ConfigError::Value {
            key: "date",
            value: date.to_string(),
            want: "a day as YYYY-MM-DD",
        });
    }
    let missing = ConfigError::Value {
        key: "camera",
        value: String::new(),
        want: "given: camera and lens as text, or assumed = true where the lens was not measured",
    };
    let origin = match (file.assumed, file.camera) {
        (true, None) if file.date.is_none() && file.residual_px.is_none() => Origin::Assumed,
        (true, _) => {
            return Err(ConfigError::Value {
                key: "assumed",
                value: "true".to_owned(),
                want: "left out where camera, date or residual_px say who measured the lens",
            });
        }
        (false, None) => return Err(missing),
        (false, Some(camera)) => Origin::Measured {
            camera,
            date: file.date.map(|day| day.to_string()),
            residual_px: file.residual_px,
        },
    };
    let calibration = Calibration::new(
        (file.image.width_px, file.image.height_px),
        file.intrinsics,
        file.distortion,
        origin,
    )?;
    match file.mount {
        Some(mount) => calibration.with_mount(mount),
        None => Ok(calibration),
    }
}

/// Writes a calibration in this format; `parse` reads it back as it was.
pub fn write(calibration: &Calibration) -> String {
    let (width_px, height_px) = calibration.size_px();
    let Intrinsics {
        fx_px,
        fy_px,
        cx_px,
        cy_px,
    } = calibration.intrinsics();
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{words}");
    };
    match calibration.origin() {
        Origin::Assumed => line(format_args!("assumed = true")),
        Origin::Measured {
            camera,
            date,
            residual_px,
        } => {
            line(format_args!(
                "camera = {}",
                toml::Value::from(camera.as_str())
            ));
            if let Some(date) = date {
                line(format_args!("date = {date}"));
            }
            if let Some(residual_px) = residual_px {
                line(format_args!("residual_px = {residual_px:?}"));
            }
        }
    }
    line(format_args!("\n[image]"));
    line(format_args!(
        "width_px = {width_px}\nheight_px = {height_px}"
    ));
    line(format_args!(
        "\n[intrinsics]\nfx_px = {fx_px:?}\nfy_px = {fy_px:?}"
    ));
    line(format_args!(
        "cx_px = {cx_px:?}\ncy_px = {cy_px:?}\n\n[distortion]"
    ));
    let distortion = calibration.distortion();
    line(format_args!("model = \"{}\"", distortion.model()));
    for (key, value) in distortion.coefficients() {
        let key = key.trim_start_matches("distortion.");
        line(format_args!("{key} = {value:?}"));
    }
    if let Some(mount) = calibration.mount() {
        line(format_args!(
            "\n[mount]\nheight_m = {:?}\ndown_deg = {:?}\nroll_deg = {:?}",
            mount.height_m, mount.down_deg, mount.roll_deg
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in this module's documentation.
    fn documented() -> String {
        include_str!("toml_file.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n")
            .collect()
    }

    #[test]
    fn the_documented_example_is_read() {
        let camera = parse(&documented(), Path::new("doc.toml")).unwrap();
        assert_eq!(camera.size_px(), (1280, 720));
        assert_eq!(
            camera.distortion(),
            Distortion::PlumbBob {
                k1: -0.312,
                k2: 0.104,
                p1: 0.0004,
                p2: -0.0002,
                k3: 0.0
            }
        );
        let text = camera.to_string();
        assert!(text.contains("measured 2026-11-21"), "{text}");
        assert!(text.contains("residual 0.21 px"), "{text}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let path = Path::new("doc.toml");
        let camera = parse(&documented(), path).unwrap();
        assert_eq!(parse(&write(&camera), path).unwrap(), camera);
        // An assumed lens stays an assumed one, an unknown residual an unknown one.
        let assumed = Calibration::assumed(320, 240);
        assert_eq!(parse(&write(&assumed), path).unwrap(), assumed);
        let text = documented().replace("residual_px = 0.21", "");
        let unknown = parse(&text, path).unwrap();
        assert!(matches!(
            unknown.origin(),
            Origin::Measured {
                residual_px: None,
                ..
            }
        ));
        assert_eq!(parse(&write(&unknown), path).unwrap(), unknown);
        let text = documented()
            .replace("plumb_bob", "rational_polynomial")
            .replace(
                "k3 = 0.0",
                "k3 = 0.1\nk4 = 0.2\nk5 = 0.3\nk6 = 0.01\ns4 = 0.001",
            );
        let rational = parse(&text, path).unwrap();
        assert_eq!(parse(&write(&rational), path).unwrap(), rational);
    }

    #[test]
    fn a_lens_is_assumed_or_measured_and_not_both() {
        let path = Path::new("door.toml");
        let text = documented();
        for (text, named) in [
            (text.replace("camera = ", "# "), "camera"),
            (format!("assumed = true\n{text}"), "assumed"),
        ] {
            let error = parse(&text, path).unwrap_err();
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
    }

    #[test]
    fn a_wrong_key_or_a_missing_one_is_named() {
        let path = Path::new("door.toml");
        for (from, to, named) in [
            ("k1 = ", "k_1 = ", "k_1"),
            ("fx_px = 911.4\n", "", "fx_px"),
            ("\"plumb_bob\" ", "\"barrel\" ", "barrel"),
            ("date = 2026-11-21 ", "date = 07:32:00 ", "date"),
            ("residual_px = 0.21 ", "residual_px = nan ", "residual_px"),
            ("width_px = 1280", "width_px = 0", "image.width_px"),
            ("cx_px = 640.2", "cx_px = 6402.0", "intrinsics.cx_px"),
        ] {
            let text = documented();
            assert!(text.contains(from), "{from}");
            let error = parse(&text.replace(from, to), path).unwrap_err();
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
    }

    #[test]
    fn every_calibration_that_ships_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("calibration");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let camera = Calibration::read(&path).unwrap();
                assert!(camera.ray(0.0, 0.0).is_some(), "{camera}");
                read += 1;
            }
        }
        assert_eq!(read, 4);
    }

    #[test]
    fn a_file_with_a_value_out_of_range_is_named_with_the_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door.toml");
        std::fs::write(&path, documented().replace("911.4", "-911.4")).unwrap();
        let error = Calibration::read(&path).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(error.to_string().ends_with("door.toml"));
        assert!(
            source.to_string().starts_with("intrinsics.fx_px = -911.4"),
            "{source}"
        );
        assert!(Calibration::read(Path::new("door.xml")).is_err());
    }

    #[test]
    fn a_pinhole_has_no_coefficients() {
        let text = documented();
        let head = text.split("[distortion]").next().unwrap();
        let plain = format!("{head}[distortion]\nmodel = \"none\"\n");
        assert!(parse(&plain, Path::new("a.toml")).is_ok());
        assert!(parse(&format!("{plain}k1 = 0.1\n"), Path::new("a.toml")).is_err());
    }
}
