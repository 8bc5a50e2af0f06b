//! A lifter's folder: backbone through the engine, head beside it, and what can be wrong.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use crate::common::models;
use poised::base::limits::LIFT_FEATURES;
use poised::engine::Engine;
use poised::engine::models::sha256_hex;
use poised::lift::Backbone;
use poised::lift::input::LIFT_INPUT;
use poised::lift::model::{HEAD_FILE, open};
use safetensors::tensor::{Dtype, TensorView};

/// A head file of zeros; `joints` is the shape of the output layer's bias.
fn head_file(joints: usize) -> Vec<u8> {
    let shapes = BTreeMap::from([
        ("lift.weight", vec![256, 256]),
        ("lift.bias", vec![256]),
        ("joints.weight", vec![51, 256]),
        ("joints.bias", vec![joints]),
        ("log_sigma.weight", vec![17, 256]),
        ("log_sigma.bias", vec![17]),
    ]);
    let zeros = vec![0_u8; 4 * 256 * 256];
    let views = shapes.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (
            *name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

/// A model folder with the small lifter of `tests/onnx` and this head.
fn folder(models: &Path, description: &str, head: &[u8]) -> PathBuf {
    let extra = format!(
        "extra = [{{ file = {HEAD_FILE:?}, sha256 = {:?} }}]\n{description}",
        sha256_hex(head)
    );
    let folder = models::folder(models, &models::small("lifter"), &extra);
    std::fs::write(folder.join(HEAD_FILE), head).unwrap();
    folder
}

#[test]
fn the_backbone_runs_through_the_engine() {
    let parent = tempfile::tempdir().unwrap();
    let (mut backbone, head) = open(
        &Engine::tract(),
        &folder(parent.path(), models::LIFTER, &head_file(51)),
    )
    .unwrap();
    assert!(head.image.is_none());
    // feat[i] = i * mean of x + mean of confidence.
    let mut input = [0.0; LIFT_INPUT];
    for values in input.chunks_mut(4) {
        values.copy_from_slice(&[0.5, 9.0, 0.25, -3.0]);
    }
    let mut features = [0.0; LIFT_FEATURES];
    backbone.run_into(&input, &mut features).unwrap();
    for (want, feature) in (0_u16..).map(|i| 0.5 * f32::from(i) + 0.25).zip(features) {
        assert!((feature - want).abs() < 1e-3, "{feature} {want}");
    }
    input[7] = f32::NAN;
    input[4] = f32::NAN;
    assert!(backbone.run_into(&input, &mut features).is_err());
}

#[test]
fn what_is_wrong_with_a_lifter_folder_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let words = |folder: &Path| {
        let error = open(&Engine::tract(), folder).err().unwrap();
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        format!("{error} {source}")
    };
    let bad_head = folder(parent.path(), models::LIFTER, &head_file(17));
    let text = words(&bad_head);
    assert!(
        text.contains("joints.bias is F32 [17]: must be F32 or F16 [51]"),
        "{text}"
    );
    assert!(text.contains(HEAD_FILE), "{text}");

    std::fs::write(bad_head.join(HEAD_FILE), head_file(51)).unwrap();
    let text = words(&bad_head);
    assert!(text.contains("sha256"), "{text}");

    let without = models::folder(parent.path(), &models::small("lifter"), models::LIFTER);
    let text = words(&without);
    assert!(text.contains(HEAD_FILE), "{text}");

    let person = models::folder(parent.path(), &models::small("person"), models::PERSON);
    let text = words(&person);
    assert!(text.contains("a lifter is required"), "{text}");
}
