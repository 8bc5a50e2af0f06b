//! What is written: our own calibration file with the standard deviations as comments, and the `camera_info` of ROS.

use std::fmt::Write;

use super::Report;
use crate::camera::{Calibration, Distortion};

/// A calibration as our TOML, with the figures of its report as comments.
pub fn toml(report: &Report) -> String {
    let mut text = String::from("# Written by `poised calibrate`.\n");
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# {words}");
    };
    let used = report.views.iter().filter(|view| view.used).count();
    line(format_args!(
        "{used} views, {} corners, residual {:.3} px, verdict: {}",
        report.corners, report.residual_px, report.verdict
    ));
    if let Some(held_out) = report.held_out_px {
        line(format_args!("held-out residual {held_out:.3} px"));
    }
    line(format_args!("standard deviations:"));
    for parameter in &report.parameters {
        if parameter.sigma > 0.0 {
            line(format_args!("  {} {:.2e}", parameter.name, parameter.sigma));
        }
    }
    text.push('\n');
    text + &report.calibration.to_toml()
}

/// A calibration as the `camera_info` YAML that ROS's `camera_info_manager` reads; without rectification.
pub fn ros(calibration: &Calibration, name: &str) -> String {
    let (width, height) = calibration.size_px();
    let k = calibration.intrinsics();
    let (fx, fy, cx, cy) = (k.fx_px, k.fy_px, k.cx_px, k.cy_px);
    // Names of ROS have letters, digits and underscores.
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let (model, coefficients) = match calibration.distortion() {
        Distortion::Equidistant { .. } => ("equidistant", calibration.distortion().coefficients()),
        Distortion::RationalPolynomial { .. } => (
            "rational_polynomial",
            calibration.distortion().coefficients(),
        ),
        Distortion::PlumbBob { .. } => ("plumb_bob", calibration.distortion().coefficients()),
        Distortion::None {} => ("plumb_bob", vec![("", 0.0); 5]),
    };
    let list: Vec<String> = coefficients
        .iter()
        .map(|(_, value)| format!("{value:?}"))
        .collect();
    format!(
        "image_width: {width}\nimage_height: {height}\ncamera_name: {name}\n\
         camera_matrix:\n  rows: 3\n  cols: 3\n  data: [{fx:?}, 0.0, {cx:?}, 0.0, {fy:?}, {cy:?}, 0.0, 0.0, 1.0]\n\
         distortion_model: {model}\n\
         distortion_coefficients:\n  rows: 1\n  cols: {}\n  data: [{}]\n\
         rectification_matrix:\n  rows: 3\n  cols: 3\n  data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]\n\
         projection_matrix:\n  rows: 3\n  cols: 4\n  \
         data: [{fx:?}, 0.0, {cx:?}, 0.0, 0.0, {fy:?}, {cy:?}, 0.0, 0.0, 0.0, 1.0, 0.0]\n",
        list.len(),
        list.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::calibrate::{Parameter, Verdict, ViewReport};
    use crate::camera::{Intrinsics, Origin, ros_yaml};

    fn calibration(distortion: Distortion) -> Calibration {
        let k = Intrinsics {
            fx_px: 911.25,
            fy_px: 910.5,
            cx_px: 640.125,
            cy_px: 357.75,
        };
        let origin = Origin::Measured {
            camera: "front".to_owned(),
            date: Some("2026-11-29".to_owned()),
            residual_px: Some(0.12),
        };
        Calibration::new((1280, 720), k, distortion, origin).unwrap()
    }

    fn planar() -> Distortion {
        Distortion::PlumbBob {
            k1: -0.28,
            k2: 0.09,
            p1: 6e-4,
            p2: -4e-4,
            k3: 0.0,
        }
    }

    #[test]
    fn what_ros_is_given_is_read_back() {
        let fisheye = Distortion::Equidistant {
            k1: 0.02,
            k2: -0.004,
            k3: 0.001,
            k4: -5e-4,
        };
        for distortion in [planar(), fisheye] {
            let want = calibration(distortion);
            let text = ros(&want, "front door");
            let got = ros_yaml::parse(&text).unwrap();
            assert_eq!(got.size_px(), want.size_px());
            assert_eq!(got.intrinsics(), want.intrinsics());
            assert_eq!(got.distortion(), want.distortion());
            assert!(text.contains("camera_name: front_door\n"));
        }
    }

    #[test]
    fn our_file_is_read_back_and_has_the_sigmas_as_comments() {
        let report = Report {
            calibration: calibration(planar()),
            parameters: vec![Parameter {
                name: "fx",
                value: 911.25,
                sigma: 0.21,
            }],
            views: vec![ViewReport {
                name: "1".to_owned(),
                corners: 54,
                residual_px: 0.1,
                used: true,
            }],
            residual_px: 0.12,
            held_out_px: Some(0.13),
            corners: 54,
            outliers: 0,
            verdict: Verdict::Good,
            reasons: vec![],
        };
        let text = toml(&report);
        let got = Calibration::from_toml(&text, std::path::Path::new("a.toml")).unwrap();
        assert_eq!(got, report.calibration);
        assert!(text.contains("#   fx 2.10e-1\n"), "{text}");
        assert!(text.contains("verdict: good"), "{text}");
    }
}
