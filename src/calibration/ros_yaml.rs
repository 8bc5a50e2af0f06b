//! The YAML file in which ROS keeps a `camera_info`.
//!
//! Written by ROS's `camera_calibration` and read by its camera drivers:
//! `image_width`, `image_height`, `camera_matrix` (3x3, row by row),
//! `distortion_model` and `distortion_coefficients`. Other keys
//! (`rectification_matrix`, `projection_matrix`) describe the rectified image
//! and are passed over: the pixels here are those of the raw image.
//!
//! This is a reader of that one shape, not of YAML: keys at the left margin, one
//! level of keys below them, numbers alone or in a list (`[..]`, over several
//! lines, or `- ..` lines). A whole YAML reader would be one more dependency,
//! and serde's own is no longer looked after.

use super::{Calibration, Distortion, Intrinsics, Origin};
use crate::config::{ConfigError, check};

/// Reads a calibration from text.
///
/// # Errors
///
/// Names the key that is missing, not a number, of the wrong length or out of range.
pub fn parse(text: &str) -> Result<Calibration, ConfigError> {
    let width_px = whole(text, "image_width")?;
    let height_px = whole(text, "image_height")?;
    let matrix = numbers(text, "camera_matrix", "camera_matrix.data")?;
    let &[fx, _, cx, _, fy, cy, _, _, _] = matrix.as_slice() else {
        return Err(wrong("camera_matrix.data", &matrix, "nine numbers"));
    };
    let plain = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0];
    if plain.iter().zip(&matrix).any(|(a, b)| (a - b).abs() > 1e-9) {
        let want = "a camera matrix [fx, 0, cx, 0, fy, cy, 0, 0, 1]";
        return Err(wrong("camera_matrix.data", &matrix, want));
    }
    let distortion = distortion(text)?;
    let camera = find(text, "camera_name").map_or_else(
        || "ROS camera".to_owned(),
        |value| unquote(&value.inline).to_owned(),
    );
    Calibration::new(
        (width_px, height_px),
        Intrinsics {
            fx_px: fx,
            fy_px: fy,
            cx_px: cx,
            cy_px: cy,
        },
        distortion,
        Origin::Measured {
            camera,
            date: None,
            residual_px: None,
        },
    )
}

fn distortion(text: &str) -> Result<Distortion, ConfigError> {
    const MODEL: &str = "distortion_model";
    const DATA: &str = "distortion_coefficients.data";
    let model = find(text, MODEL).ok_or_else(|| missing(MODEL))?;
    let coefficients = numbers(text, "distortion_coefficients", DATA)?;
    match (unquote(&model.inline), coefficients.as_slice()) {
        ("plumb_bob", &[k1, k2, p1, p2]) => Ok(Distortion::PlumbBob {
            k1,
            k2,
            p1,
            p2,
            k3: 0.0,
        }),
        ("plumb_bob", &[k1, k2, p1, p2, k3]) => Ok(Distortion::PlumbBob { k1, k2, p1, p2, k3 }),
        ("plumb_bob", _) => Err(wrong(DATA, &coefficients, "k1, k2, p1, p2 and k3")),
        ("equidistant" | "fisheye", &[k1, k2, k3, k4]) => {
            Ok(Distortion::Equidistant { k1, k2, k3, k4 })
        }
        ("equidistant" | "fisheye", _) => Err(wrong(DATA, &coefficients, "k1, k2, k3 and k4")),
        (other, _) => Err(ConfigError::Value {
            key: MODEL,
            value: other.to_owned(),
            want: "plumb_bob or equidistant",
        }),
    }
}

/// What stands behind a key at the left margin.
struct Found<'a> {
    /// On the key's own line, without comment.
    inline: String,
    /// The lines below it that belong to it, from the first indented or `-` line.
    below: Vec<&'a str>,
}

fn find<'a>(text: &'a str, key: &str) -> Option<Found<'a>> {
    let mut lines = text.lines();
    let inline = lines.by_ref().find_map(|line| {
        let rest = line.strip_prefix(key)?.trim_start().strip_prefix(':')?;
        Some(without_comment(rest).trim().to_owned())
    })?;
    let below = lines
        .take_while(|line| line.trim().is_empty() || line.starts_with([' ', '\t', '-', '#', ']']))
        .collect();
    Some(Found { inline, below })
}

/// The list of numbers under `key`: itself a list, or holding `data:`.
fn numbers(text: &str, key: &str, named: &'static str) -> Result<Vec<f64>, ConfigError> {
    let found = find(text, key).ok_or_else(|| missing(named))?;
    let mut lines = found.below.iter().map(|line| without_comment(line).trim());
    let first = if found.inline.starts_with('[') {
        found.inline.clone()
    } else {
        lines
            .by_ref()
            .find_map(|line| line.strip_prefix("data:"))
            .ok_or_else(|| missing(named))?
            .trim()
            .to_owned()
    };
    let mut list = String::new();
    if let Some(open) = first.strip_prefix('[') {
        let mut part = open.to_owned();
        loop {
            if let Some(end) = part.find(']') {
                list.push_str(&part[..end]);
                break;
            }
            list.push_str(&part);
            list.push(' ');
            let next = lines.next().ok_or_else(|| missing(named))?;
            next.clone_into(&mut part);
        }
    } else {
        for item in lines.map_while(|line| line.strip_prefix('-')) {
            list.push_str(item);
            list.push(',');
        }
    }
    let list = list.trim().trim_end_matches(',');
    if list.is_empty() {
        return Err(missing(named));
    }
    list.split(',')
        .map(|number| {
            number
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .ok_or_else(|| ConfigError::Value {
                    key: named,
                    value: number.trim().to_owned(),
                    want: "a list of numbers",
                })
        })
        .collect()
}

fn whole(text: &str, key: &'static str) -> Result<u32, ConfigError> {
    let found = find(text, key).ok_or_else(|| missing(key))?;
    let value = found
        .inline
        .parse::<u32>()
        .map_err(|_| ConfigError::Value {
            key,
            value: found.inline,
            want: "a whole number of pixels",
        })?;
    check(key, value, 1, super::SIDE_PX_MAX)?;
    Ok(value)
}

fn without_comment(line: &str) -> &str {
    let end = line
        .char_indices()
        .find(|&(at, c)| c == '#' && (at == 0 || line[..at].ends_with([' ', '\t'])))
        .map_or(line.len(), |(at, _)| at);
    &line[..end]
}

fn unquote(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

fn missing(key: &'static str) -> ConfigError {
    ConfigError::Value {
        key,
        value: String::new(),
        want: "given, as ROS's camera_info has it",
    }
}

fn wrong(key: &'static str, got: &[f64], want: &'static str) -> ConfigError {
    ConfigError::Value {
        key,
        value: format!("{got:?}"),
        want,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_CAMERA: &str = "\
image_width: 640
image_height: 480
camera_name: 'head camera'
camera_matrix:
  rows: 3
  cols: 3
  data: [430.15, 0.0, 306.69, 0.0,
         430.53, 227.22,   # second row
         0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-3.37e-01, 0.1117, -0.00058, 0.00188, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [355.6, 0, 302.7, 0, 0, 419.1, 224.7, 0, 0, 0, 1, 0]
";

    #[test]
    fn a_calibration_as_ros_writes_it_is_read() {
        let camera = parse(HEAD_CAMERA).unwrap();
        assert_eq!(camera.size_px(), (640, 480));
        let k = camera.intrinsics();
        assert_eq!(
            k,
            Intrinsics {
                fx_px: 430.15,
                fy_px: 430.53,
                cx_px: 306.69,
                cy_px: 227.22
            }
        );
        assert_eq!(
            camera.distortion(),
            Distortion::PlumbBob {
                k1: -0.337,
                k2: 0.1117,
                p1: -0.00058,
                p2: 0.00188,
                k3: 0.0
            }
        );
        assert!(camera.to_string().contains("head camera"));
    }

    #[test]
    fn block_lists_comments_and_a_document_mark_are_read() {
        let text = "\
%YAML 1.2
---
# a fisheye
image_width: 1280   # columns
image_height: 800
camera_matrix:
  data:
  - 380.0
  - 0
  - 640.0
  - 0
  - 381.0
  - 400.0
  - 0
  - 0
  - 1
distortion_model: \"equidistant\"
distortion_coefficients: [0.02, -0.003, 0.001, 0]
";
        let camera = parse(text).unwrap();
        assert_eq!(
            camera.distortion(),
            Distortion::Equidistant {
                k1: 0.02,
                k2: -0.003,
                k3: 0.001,
                k4: 0.0
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, named) in [
            ("image_width: 640\n", "", "image_width"),
            (
                "image_width: 640",
                "image_width: wide",
                "image_width = \"wide\"",
            ),
            ("image_height: 480", "image_height: 0", "image_height = 0"),
            ("plumb_bob", "rational_polynomial", "rational_polynomial"),
            ("[-3.37e-01, 0.1117, ", "[", "k1, k2, p1, p2 and k3"),
            ("0.1117", "zero", "zero"),
            ("0.1117", ".nan", ".nan"),
            ("430.53,", "", "nine numbers"),
            ("430.15, 0.0", "430.15, 2.0", "camera matrix"),
            ("430.15", "-430.15", "intrinsics.fx_px = -430.15"),
            ("0., 0., 1.]", "0., 0., 1.", "camera_matrix.data"),
        ] {
            assert!(HEAD_CAMERA.contains(from), "{from}");
            let error = parse(&HEAD_CAMERA.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
        // Four coefficients without k3 are what OpenCV gives by default.
        let four = HEAD_CAMERA.replace(", 0.00188, 0]", ", 0.00188]");
        assert!(parse(&four).is_ok());
    }
}
