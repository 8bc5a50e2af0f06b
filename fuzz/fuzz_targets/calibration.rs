//! Whatever stands in a calibration, in either format; and one that is accepted
//! takes every pixel to a finite ray or to none.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use poised::calibration::{ros_yaml, toml_file};

fuzz_target!(|text: &str| {
    let parsed = [
        toml_file::parse(text, Path::new("fuzz.toml")).ok(),
        ros_yaml::parse(text).ok(),
    ];
    for calibration in parsed.into_iter().flatten() {
        let (width_px, height_px) = calibration.size_px();
        for x_px in [0.0, 0.5 * width_px as f32, width_px as f32, f32::NAN] {
            if let Some(ray) = calibration.ray(x_px, 0.25 * height_px as f32) {
                assert!(ray.is_finite(), "{x_px} gives {ray}");
            }
        }
    }
});
