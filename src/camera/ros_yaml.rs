//! Calibrations in YAML, as the tools that people calibrate with write them.
//!
//! | written by | known by |
//! | --- | --- |
//! | ROS `camera_calibration` and the camera drivers | `camera_matrix` with `data`, `distortion_model`, `image_width` |
//! | `ros2 topic echo` (and `rostopic echo`) of a `camera_info` | `k` (`K`), `d` (`D`), `width` |
//! | `OpenCV`'s calibration sample, `FileStorage` | `camera_matrix` or `Camera_Matrix`, no `distortion_model` |
//! | Kalibr, a camchain with one camera | `cam0` with `camera_model`, `intrinsics`, `resolution` |
//!
//! Other keys (`rectification_matrix`, `projection_matrix`, `r`, `p`) describe the rectified image
//! and are passed over: the pixels here are those of the raw image.

use super::yaml::{Node, first_document};
use super::{Calibration, Distortion, Intrinsics, Origin, SIDE_PX_MAX};
use crate::base::config::{ConfigError, check};

/// The content of a file, independent of the program that wrote it.
struct Found {
    size_px: (u32, u32),
    intrinsics: Intrinsics,
    distortion: Distortion,
    camera: String,
    residual_px: Option<f64>,
}

/// Reads a calibration from text.
///
/// # Errors
///
/// Names the key that is missing, not a number, of the wrong length or out of range, or the lens model that is not
/// known.
pub fn parse(text: &str) -> Result<Calibration, ConfigError> {
    let file = first_document(text).map_err(|why| ConfigError::Value {
        key: "file",
        value: why,
        want: "YAML",
    })?;
    let found = if file.get("cam0").is_some() {
        kalibr(&file)?
    } else {
        ros_or_opencv(&file)?
    };
    Calibration::new(
        found.size_px,
        found.intrinsics,
        found.distortion,
        Origin::Measured {
            camera: found.camera,
            date: None,
            residual_px: found.residual_px,
        },
    )
}

/// ROS's `camera_info` as a file or as a message, and `OpenCV`'s `FileStorage`.
fn ros_or_opencv(file: &Node) -> Result<Found, ConfigError> {
    let size_px = if let Some(size) = file.get("image_size") {
        size_of("image_size", size)?
    } else {
        let side = |key, names: &[&str]| {
            let value = first(file, names).ok_or_else(|| missing(key))?;
            side(key, value)
        };
        (
            side("image_width", &["image_width", "image_Width", "width"])?,
            side("image_height", &["image_height", "image_Height", "height"])?,
        )
    };
    whole_image(file, size_px)?;
    let matrix = first(
        file,
        &["camera_matrix", "Camera_Matrix", "cameraMatrix", "k", "K"],
    );
    let matrix = numbers("camera_matrix.data", matrix, Some((3, 3)))?;
    let &[fx, skew, cx, _, fy, cy, ..] = matrix.as_slice() else {
        return Err(wrong("camera_matrix.data", &matrix, "nine numbers"));
    };
    let plain = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0];
    if matrix.len() != plain.len() {
        return Err(wrong("camera_matrix.data", &matrix, "nine numbers"));
    }
    if skew != 0.0 {
        let want = "a camera matrix without skew: its second number must be 0";
        return Err(wrong("camera_matrix.data", &matrix, want));
    }
    if plain.iter().zip(&matrix).any(|(a, b)| (a - b).abs() > 1e-9) {
        let want = "a camera matrix [fx, 0, cx, 0, fy, cy, 0, 0, 1]";
        return Err(wrong("camera_matrix.data", &matrix, want));
    }
    let model = match file.get("distortion_model") {
        None => None,
        Some(model) => Some(
            model
                .text()
                .ok_or_else(|| not_text("distortion_model", model))?,
        ),
    };
    let coefficients = first(
        file,
        &[
            "distortion_coefficients",
            "Distortion_Coefficients",
            "distortion_coeffs",
            "distCoeffs",
            "dist_coeffs",
            "d",
            "D",
        ],
    );
    let coefficients = match coefficients {
        // An uncalibrated driver has an empty list.
        Some(Node::List(items)) if items.is_empty() => Vec::new(),
        found => numbers(COEFFICIENTS, found, None)?,
    };
    let is_fisheye = file.get("fisheye_model").and_then(Node::number) == Some(1.0);
    let distortion = match model {
        Some(model) => of_ros(model, &coefficients)?,
        None if is_fisheye => equidistant(&coefficients)?,
        None => of_opencv(&coefficients)?,
    };
    let camera = file.get("camera_name").and_then(Node::text);
    let by = if model.is_some() {
        "ROS camera"
    } else {
        "OpenCV camera"
    };
    Ok(Found {
        size_px,
        intrinsics: Intrinsics {
            fx_px: fx,
            fy_px: fy,
            cx_px: cx,
            cy_px: cy,
        },
        distortion,
        camera: camera.unwrap_or(by).to_owned(),
        residual_px: first(file, &["avg_reprojection_error", "Avg_Reprojection_Error"])
            .and_then(Node::number),
    })
}

/// A message says which part of the sensor it is about; only all of it is taken.
fn whole_image(file: &Node, (width_px, height_px): (u32, u32)) -> Result<(), ConfigError> {
    for (key, found) in [
        ("binning_x", file.get("binning_x")),
        ("binning_y", file.get("binning_y")),
    ] {
        if let Some(binning) = found.and_then(Node::number) {
            check(key, binning, 0.0, 1.0)?;
        }
    }
    let roi = file.get("roi");
    let part = |key: &str| {
        let value = roi.and_then(|roi| roi.get(key)).and_then(Node::number);
        value.unwrap_or(0.0)
    };
    let all = [
        ("width", f64::from(width_px)),
        ("height", f64::from(height_px)),
    ];
    let is_part = all
        .into_iter()
        .any(|(key, side)| part(key) != 0.0 && (part(key) - side).abs() > 0.5)
        || part("x_offset") != 0.0
        || part("y_offset") != 0.0;
    if is_part {
        return Err(ConfigError::Value {
            key: "roi",
            value: format!(
                "{}x{} at {}, {}",
                part("width"),
                part("height"),
                part("x_offset"),
                part("y_offset")
            ),
            want: "the whole image: a calibration of a part of it is not supported",
        });
    }
    Ok(())
}

/// A Kalibr camchain.
#[expect(
    clippy::similar_names,
    reason = "fx and fy, cx and cy are the names of the field"
)]
fn kalibr(file: &Node) -> Result<Found, ConfigError> {
    const MODEL: &str = "cam0.distortion_model";
    if file.get("cam1").is_some() {
        return Err(ConfigError::Value {
            key: "cam1",
            value: "given".to_owned(),
            want: "left out: keep the one camera of the chain that this is about, as cam0",
        });
    }
    let camera = file.get("cam0").ok_or_else(|| missing("cam0"))?;
    let get = |key: &'static str, name: &str| camera.get(name).ok_or_else(|| missing(key));
    let model = get("cam0.camera_model", "camera_model")?;
    if model.text() != Some("pinhole") {
        return Err(ConfigError::Value {
            key: "cam0.camera_model",
            value: model.shown(),
            want: "pinhole: other camera models of Kalibr are not supported",
        });
    }
    let size_px = size_of("cam0.resolution", get("cam0.resolution", "resolution")?)?;
    let intrinsics = numbers("cam0.intrinsics", camera.get("intrinsics"), None)?;
    let Ok([fx_px, fy_px, cx_px, cy_px]) = <[f64; 4]>::try_from(intrinsics.as_slice()) else {
        return Err(wrong("cam0.intrinsics", &intrinsics, "fx, fy, cx and cy"));
    };
    let model = get(MODEL, "distortion_model")?;
    let coefficients = match camera.get("distortion_coeffs") {
        Some(Node::List(items)) if items.is_empty() => Vec::new(),
        found if model.text() == Some("none") && found.is_none() => Vec::new(),
        found => numbers("cam0.distortion_coeffs", found, None)?,
    };
    let distortion = match (model.text(), coefficients.as_slice()) {
        (Some("none"), _) => Distortion::None {},
        (Some("radtan"), &[k1, k2, p1, p2]) => plumb_bob([k1, k2, p1, p2, 0.0]),
        (Some("equidistant" | "equi"), _) => equidistant(&coefficients)?,
        (Some("radtan"), _) => {
            let want = "k1, k2, p1 and p2";
            return Err(wrong("cam0.distortion_coeffs", &coefficients, want));
        }
        _ => {
            return Err(ConfigError::Value {
                key: MODEL,
                value: model.shown(),
                want: "radtan, equidistant or none: other lens models of Kalibr are not supported",
            });
        }
    };
    let topic = camera.get("rostopic").and_then(Node::text);
    Ok(Found {
        size_px,
        intrinsics: Intrinsics {
            fx_px,
            fy_px,
            cx_px,
            cy_px,
        },
        distortion,
        camera: topic.unwrap_or("Kalibr camera").to_owned(),
        residual_px: None,
    })
}

/// The key that coefficients are named by in messages.
const COEFFICIENTS: &str = "distortion_coefficients.data";

/// The lens of a ROS message, by the name of its model.
fn of_ros(model: &str, coefficients: &[f64]) -> Result<Distortion, ConfigError> {
    match model {
        "plumb_bob" => match *without_zeros(coefficients, 5) {
            [] => Ok(Distortion::None {}),
            [k1, k2, p1, p2] => Ok(plumb_bob([k1, k2, p1, p2, 0.0])),
            [k1, k2, p1, p2, k3] => Ok(plumb_bob([k1, k2, p1, p2, k3])),
            _ => {
                let want = "k1, k2, p1, p2 and k3, and 0 after these: with more, the model is rational_polynomial";
                Err(wrong(COEFFICIENTS, coefficients, want))
            }
        },
        "rational_polynomial" => rational(coefficients),
        "equidistant" | "fisheye" => equidistant(coefficients),
        "none" | "" if coefficients.iter().all(|k| *k == 0.0) => Ok(Distortion::None {}),
        other => Err(ConfigError::Value {
            key: "distortion_model",
            value: other.to_owned(),
            want: "plumb_bob, rational_polynomial or equidistant: other lens models are not supported",
        }),
    }
}

/// The lens of `OpenCV`'s `calibrateCamera`, by how many coefficients there are.
fn of_opencv(coefficients: &[f64]) -> Result<Distortion, ConfigError> {
    match *without_zeros(coefficients, 5) {
        [] => Ok(Distortion::None {}),
        [k1, k2, p1, p2] => Ok(plumb_bob([k1, k2, p1, p2, 0.0])),
        [k1, k2, p1, p2, k3] => Ok(plumb_bob([k1, k2, p1, p2, k3])),
        _ => rational(coefficients),
    }
}

/// The first `most` coefficients where only zeros follow them, else all.
fn without_zeros(coefficients: &[f64], most: usize) -> &[f64] {
    match coefficients.split_at_checked(most) {
        Some((kept, rest)) if rest.iter().all(|k| *k == 0.0) => kept,
        _ => coefficients,
    }
}

fn plumb_bob([k1, k2, p1, p2, k3]: [f64; 5]) -> Distortion {
    Distortion::PlumbBob { k1, k2, p1, p2, k3 }
}

fn rational(coefficients: &[f64]) -> Result<Distortion, ConfigError> {
    // Four, five and eight are the beginning of twelve, with zeros for the rest.
    let mut all = [0.0; 12];
    match without_zeros(coefficients, all.len()) {
        given if [4, 5, 8, 12].contains(&given.len()) => {
            all[..given.len()].copy_from_slice(given);
        }
        given if given.len() == 14 => {
            let want = "at most twelve: a tilted sensor (tau_x, tau_y) is not supported";
            return Err(wrong(COEFFICIENTS, coefficients, want));
        }
        _ => {
            let want = "k1, k2, p1, p2, k3, k4, k5 and k6, and maybe s1, s2, s3 and s4";
            return Err(wrong(COEFFICIENTS, coefficients, want));
        }
    }
    Ok(Distortion::rational(all))
}

fn equidistant(coefficients: &[f64]) -> Result<Distortion, ConfigError> {
    match *without_zeros(coefficients, 4) {
        [k1, k2, k3, k4] => Ok(Distortion::Equidistant { k1, k2, k3, k4 }),
        _ => Err(wrong(COEFFICIENTS, coefficients, "k1, k2, k3 and k4")),
    }
}

/// The first of these keys that there is.
fn first<'a>(file: &'a Node, names: &[&str]) -> Option<&'a Node> {
    names.iter().find_map(|name| file.get(name))
}

/// Columns and rows in a list.
fn size_of(key: &'static str, value: &Node) -> Result<(u32, u32), ConfigError> {
    match value {
        Node::List(items) if items.len() == 2 => Ok((side(key, &items[0])?, side(key, &items[1])?)),
        other => Err(ConfigError::Value {
            key,
            value: other.shown(),
            want: "a list of columns and rows",
        }),
    }
}

/// A whole number of pixels, whether it is written as one or not (`640.0`).
fn side(key: &'static str, value: &Node) -> Result<u32, ConfigError> {
    let not_whole = || ConfigError::Value {
        key,
        value: value.shown(),
        want: "a whole number of pixels",
    };
    let number = value.number().ok_or_else(not_whole)?;
    if number.fract() != 0.0 {
        return Err(not_whole());
    }
    check(key, number, 1.0, f64::from(SIDE_PX_MAX))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, and checked to be from 1 to SIDE_PX_MAX"
    )]
    Ok(number as u32)
}

/// A list of numbers: itself, or under `data` with `rows` and `cols`; a list of rows is taken row by row.
fn numbers(
    key: &'static str,
    value: Option<&Node>,
    shape: Option<(usize, usize)>,
) -> Result<Vec<f64>, ConfigError> {
    let value = value.ok_or_else(|| missing(key))?;
    let list = match value {
        Node::Map(_) => value.get("data").ok_or_else(|| missing(key))?,
        other => other,
    };
    let Node::List(items) = list else {
        return Err(not_numbers(key, list));
    };
    let mut numbers = Vec::new();
    for item in items {
        match item {
            Node::List(row) => {
                for item in row {
                    numbers.push(item.number().ok_or_else(|| not_numbers(key, item))?);
                }
            }
            item => numbers.push(item.number().ok_or_else(|| not_numbers(key, item))?),
        }
    }
    if numbers.is_empty() {
        return Err(missing(key));
    }
    if let Some((rows, columns)) = shape
        && numbers.len() != rows * columns
    {
        return Err(wrong(key, &numbers, "nine numbers, row by row"));
    }
    Ok(numbers)
}

fn not_numbers(key: &'static str, value: &Node) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.shown(),
        want: "a list of numbers",
    }
}

fn not_text(key: &'static str, value: &Node) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.shown(),
        want: "text",
    }
}

fn missing(key: &'static str) -> ConfigError {
    ConfigError::Value {
        key,
        value: String::new(),
        want: "given: a calibration of ROS (camera_info), OpenCV (FileStorage) or Kalibr (camchain) is read",
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
            ("plumb_bob", "thin_prism_fisheye", "thin_prism_fisheye"),
            ("[-3.37e-01, 0.1117, ", "[", "k1, k2, p1, p2 and k3"),
            ("0.00188, 0]", "0.00188, 0, 0.1]", "rational_polynomial"),
            ("image_width: 640", "image_width: 640.5", "640.5"),
            ("0.1117", "zero", "zero"),
            ("0.1117", ".nan", ".nan"),
            ("430.53,", "", "nine numbers"),
            ("430.15, 0.0", "430.15, 2.0", "camera matrix"),
            ("430.15", "-430.15", "intrinsics.fx_px = -430.15"),
            ("0., 0., 1.]", "0., 0., 1.", "file = "),
            ("camera_name", "image_width", "given twice"),
        ] {
            assert!(HEAD_CAMERA.contains(from), "{from}");
            let error = parse(&HEAD_CAMERA.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
        // Four coefficients without k3 are what OpenCV gives by default.
        let four = HEAD_CAMERA.replace(", 0.00188, 0]", ", 0.00188]");
        assert!(parse(&four).is_ok());
    }

    /// The camera of [`HEAD_CAMERA`], written by others.
    fn is_head_camera(text: &str) {
        let (want, got) = (parse(HEAD_CAMERA).unwrap(), parse(text).unwrap());
        assert_eq!(got.size_px(), want.size_px(), "{text}");
        assert_eq!(got.intrinsics(), want.intrinsics(), "{text}");
        assert_eq!(got.distortion(), want.distortion(), "{text}");
    }

    #[test]
    fn one_calibration_is_read_from_every_tool_that_writes_it() {
        let matrix = "430.15, 0.0, 306.69, 0.0, 430.53, 227.22, 0., 0., 1.";
        let lens = "-3.37e-01, 0.1117, -0.00058, 0.00188, 0";
        let echo = |[k, d]: [&str; 2]| {
            format!(
                "header:\n  stamp:\n    sec: 1\n    nanosec: 5\n  frame_id: camera\nheight: 480\nwidth: 640\n\
                 distortion_model: plumb_bob\n{d}: [{lens}]\n{k}:\n- {}\nr: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n\
                 binning_x: 0\nbinning_y: 1\nroi:\n  x_offset: 0\n  y_offset: 0\n  height: 480\n  width: 640\n  \
                 do_rectify: false\n---\nheader:\n",
                matrix.replace(", ", "\n- ")
            )
        };
        is_head_camera(&echo(["k", "d"]));
        is_head_camera(&echo(["K", "D"]));
        is_head_camera(&format!("\u{feff}{HEAD_CAMERA}"));
        is_head_camera(&HEAD_CAMERA.replace('\n', "\r\n"));
        is_head_camera(&HEAD_CAMERA.replace("640", "640.0"));
        is_head_camera(&HEAD_CAMERA.replace("0.00188, 0]", "0.00188, 0, 0, 0.0, 0]"));
        is_head_camera(&format!(
            "{{camera_matrix: {{cols: 3, data: [{matrix}], rows: 3}}, 'distortion_model': \"plumb_bob\", \
             distortion_coefficients: {{cols: 5, data: [{lens}]}}, \"image_height\": 480, image_width: 640}}"
        ));
        for [width, height, k, d] in [
            [
                "image_width",
                "image_height",
                "camera_matrix",
                "distortion_coefficients",
            ],
            [
                "image_Width",
                "image_Height",
                "Camera_Matrix",
                "Distortion_Coefficients",
            ],
        ] {
            is_head_camera(&format!(
                "%YAML:1.0\n---\ncalibration_time: \"Mon Nov 23\"\n{width}: 640\n{height}: 480\nflags: 0\n\
                 {k}: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ {matrix} ]\n\
                 {d}: !!opencv-matrix\n   rows: 5\n   cols: 1\n   dt: d\n   data: [ {lens} ]\n\
                 avg_reprojection_error: 2.3e-01\n"
            ));
        }
        is_head_camera(
            "cam0:\n  cam_overlaps: []\n  camera_model: pinhole\n  \
             distortion_coeffs: [-0.337, 0.1117, -0.00058, 0.00188]\n  distortion_model: radtan\n  \
             intrinsics: [430.15, 430.53, 306.69, 227.22]\n  resolution: [640, 480]\n  rostopic: /cam0/image_raw\n",
        );
        // Rows of a matrix as lists, and the same list by an alias.
        is_head_camera(&format!(
            "image_size: [640, 480]\nK: [[430.15, 0, 306.69], [0, 430.53, 227.22], [0, 0, 1]]\n\
             D: &d [{lens}]\nD_again: *d\n"
        ));
    }

    #[test]
    fn a_rational_lens_has_eight_or_twelve_coefficients() {
        let with = |list: &str| {
            HEAD_CAMERA
                .replace("plumb_bob", "rational_polynomial")
                .replace("[-3.37e-01, 0.1117, -0.00058, 0.00188, 0]", list)
        };
        let eight = parse(&with("[0.1, -0.2, 0.001, 0.002, 0.05, 0.01, -0.02, 0.003]")).unwrap();
        let Distortion::RationalPolynomial { k6, s1, .. } = eight.distortion() else {
            panic!("{eight}");
        };
        assert!((k6 - 0.003).abs() < 1e-12 && s1.abs() < 1e-12, "{k6} {s1}");
        let twelve = "[0.1, -0.2, 0.001, 0.002, 0.05, 0.01, -0.02, 0.003, 1e-3, 0, 0, 2e-3";
        for list in [format!("{twelve}]"), format!("{twelve}, 0, 0]")] {
            let lens = parse(&with(&list)).unwrap().distortion();
            let Distortion::RationalPolynomial { s1, s4, .. } = lens else {
                panic!("{lens}");
            };
            assert!((s1 - 1e-3).abs() < 1e-12 && (s4 - 2e-3).abs() < 1e-12);
        }
        for (list, words) in [
            (format!("{twelve}, 0.1, 0]"), "tilted sensor"),
            ("[0.1, 0.2, 0.3]".to_owned(), "k1, k2, p1, p2"),
        ] {
            let error = parse(&with(&list)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        // OpenCV says by their number what they are.
        let opencv = with("[0.1, -0.2, 0.001, 0.002, 0.05, 0.01, -0.02, 0.003]")
            .replace("distortion_model: rational_polynomial\n", "");
        assert_eq!(parse(&opencv).unwrap().distortion(), eight.distortion());
    }

    #[test]
    fn what_is_not_supported_is_named_by_its_name() {
        let chain = "cam0:\n  camera_model: pinhole\n  distortion_coeffs: [0.1, 0.2, 0, 0]\n  \
             distortion_model: radtan\n  intrinsics: [430, 430, 306, 227]\n  resolution: [640, 480]\n";
        assert!(parse(chain).is_ok());
        for (from, to, named) in [
            ("pinhole", "omni", "omni"),
            ("radtan", "fov", "fov"),
            ("[640, 480]", "[640]", "cam0.resolution"),
            ("[430, 430, ", "[0.5, 430, 430, ", "cam0.intrinsics"),
        ] {
            let error = parse(&chain.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(named), "{named}: {error}");
        }
        let two = format!("{chain}{}", chain.replace("cam0", "cam1"));
        assert!(parse(&two).unwrap_err().to_string().contains("cam1"));
        for (more, named) in [
            ("binning_x: 2\n", "binning_x"),
            (
                "roi: {x_offset: 100, y_offset: 0, width: 320, height: 240}\n",
                "roi",
            ),
        ] {
            let error = parse(&format!("{HEAD_CAMERA}{more}")).unwrap_err();
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
        // A matrix that lost a number, and one with skew.
        for (from, to, words) in [
            ("306.69, 0.0,", "306.69,", "nine numbers"),
            ("430.15, 0.0", "430.15, 2.0", "skew"),
        ] {
            let error = parse(&HEAD_CAMERA.replace(from, to))
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
