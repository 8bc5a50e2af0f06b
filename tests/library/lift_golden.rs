//! The lifter that ships against the values its training stored beside it.
//!
//! `models/lifter/golden.safetensors` holds, for each of a few made-up windows,
//! the observations and every value in between: input tensor, rotation, scale,
//! features, joints, sigmas. They come from `models/training/lifter/export.py`.

#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use glam::Vec2;
use poised::base::clock::MonoNs;
use poised::base::limits::{LIFT_FEATURES, LIFT_SAMPLES};
use poised::engine::Engine;
use poised::lift::Backbone;
use poised::lift::head::Head;
use poised::lift::input::{LIFT_INPUT, build_input};
use poised::lift::model::{HEAD_FILE, open};
use poised::lift::window::{RayKeypoint, RaySamples, Window};
use poised::pose::VISIBILITY_GATE;
use poised::skeleton::KEYPOINTS;
use safetensors::SafeTensors;

/// Largest difference accepted; values are of order 1.
const TOLERANCE: f32 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/lifter")
}

/// The stored tensors of all cases.
struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    /// `None` where no lifter is installed; one without golden values is an error.
    fn read() -> Option<Self> {
        if !folder().join("model.toml").exists() {
            eprintln!("skipped: no lifter in {}", folder().display());
            return None;
        }
        let bytes = std::fs::read(folder().join("golden.safetensors")).unwrap();
        Some(Self { bytes })
    }

    fn cases(&self) -> BTreeSet<String> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let names = file.names().into_iter();
        names
            .map(|name| name.split_once('.').unwrap().0.to_owned())
            .collect()
    }

    fn floats(&self, case: &str, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(&format!("{case}.{name}")).unwrap();
        let (numbers, rest) = view.data().as_chunks();
        assert!(rest.is_empty() && view.dtype() == safetensors::Dtype::F32);
        numbers.iter().map(|&b| f32::from_le_bytes(b)).collect()
    }

    fn times(&self, case: &str) -> Vec<MonoNs> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(&format!("{case}.times_ns")).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::I64);
        let (numbers, _) = view.data().as_chunks();
        numbers
            .iter()
            .map(|&b| MonoNs(i64::from_le_bytes(b).try_into().unwrap()))
            .collect()
    }

    /// The window of a case, its observations pushed one after the other.
    fn window(&self, case: &str) -> Window {
        let rays = self.floats(case, "rays");
        let visibilities = self.floats(case, "conf");
        let mut window = Window::default();
        for (n, &time) in self.times(case).iter().enumerate() {
            let observed = std::array::from_fn(|joint| {
                let at = n * KEYPOINTS + joint;
                let visibility = visibilities[at];
                if visibility < VISIBILITY_GATE {
                    return RayKeypoint::default();
                }
                RayKeypoint {
                    ray: Vec2::new(rays[2 * at], rays[2 * at + 1]),
                    visibility,
                }
            });
            let _ = window.push(time, &observed);
        }
        window
    }
}

#[track_caller]
fn near(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= TOLERANCE,
            "{what}[{at}]: {got}, stored {want}"
        );
    }
}

#[test]
fn the_input_is_the_one_of_training() {
    let Some(golden) = Golden::read() else { return };
    let cases = golden.cases();
    assert!(cases.len() >= 4, "{cases:?}");
    for case in &cases {
        let mut samples: Box<RaySamples> =
            Box::new([[RayKeypoint::default(); KEYPOINTS]; LIFT_SAMPLES]);
        golden.window(case).resample_into(&mut samples[..]);
        let mut input = [f32::NAN; LIFT_INPUT];
        let view = build_input(&samples, &mut input).unwrap();
        near(&format!("{case}.kp"), &input, &golden.floats(case, "kp"));
        near(
            &format!("{case}.scale"),
            &[view.scale],
            &golden.floats(case, "scale"),
        );
        // Stored row by row, glam holds columns.
        let rows = view.rotation.transpose().to_cols_array();
        near(
            &format!("{case}.rotation"),
            &rows,
            &golden.floats(case, "rotation"),
        );
    }
}

#[test]
fn the_backbone_gives_the_features_of_training() {
    let Some(golden) = Golden::read() else { return };
    let (mut backbone, _) = open(&Engine::tract(), &folder()).unwrap();
    for case in golden.cases() {
        let input: [f32; LIFT_INPUT] = golden.floats(&case, "kp").try_into().unwrap();
        let mut features = [0.0; LIFT_FEATURES];
        backbone.run_into(&input, &mut features).unwrap();
        near(
            &format!("{case}.feat"),
            &features,
            &golden.floats(&case, "feat"),
        );
    }
}

#[test]
fn the_head_gives_the_joints_of_training() {
    let Some(golden) = Golden::read() else { return };
    let head = Head::from_safetensors(&std::fs::read(folder().join(HEAD_FILE)).unwrap()).unwrap();
    for case in golden.cases() {
        let features: [f32; LIFT_FEATURES] = golden.floats(&case, "feat").try_into().unwrap();
        let output = head.apply(Some(&features), None).unwrap();
        let joints: Vec<f32> = output
            .joints_m
            .iter()
            .flat_map(glam::Vec3::to_array)
            .collect();
        near(&format!("{case}.y"), &joints, &golden.floats(&case, "y"));
        let log_sigmas = output.sigmas_m.map(f32::ln);
        near(
            &format!("{case}.log_sigma"),
            &log_sigmas,
            &golden.floats(&case, "log_sigma"),
        );
    }
}
