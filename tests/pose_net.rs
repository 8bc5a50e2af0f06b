//! One suite for every engine, and what a model folder that does not fit is told.
//!
//! Networks whose answers can be worked out by hand (`tests/onnx/make.py`) and
//! the networks that ship, against outputs stored from ONNX Runtime
//! (`tests/golden/networks`, written by `tests/onnx/golden.py`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "tests say how near they came")]

#[path = "common/models.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod small_models;

#[path = "common/data.rs"]
mod data;

use std::path::Path;

use poised::infer::{InferError, Input, Network, tract, verify};
use poised::models::{Folder, ModelError, list, sha256_hex};
use safetensors::SafeTensors;
use small_models::{FINDER, LIFTER, MOVENET, PERSON, SIMCC, YOLO, folder, small};

type Open = fn(&Folder) -> Result<Box<dyn Network>, ModelError>;

/// Every engine of this build with the largest difference to ONNX Runtime that
/// is rounding, relative to the largest value of the output. (Seen: 8e-4 for
/// `MoveNet` on a pattern without a person, where its scores hang on little.)
const ENGINES: [(&str, Open, f32); 1] = [("tract", open_tract, 1e-3)];

fn open_tract(folder: &Folder) -> Result<Box<dyn Network>, ModelError> {
    Ok(Box::new(tract::Plan::open(folder)?.state()?))
}

fn slots(network: &dyn Network) -> Vec<Vec<f32>> {
    let outputs = network.outputs().iter();
    outputs.map(|spec| vec![f32::MAX; spec.count()]).collect()
}

fn opened(models: &Path, name: &str, description: &str) -> Folder {
    Folder::open(&folder(models, &small(name), description)).unwrap()
}

#[test]
fn engines_give_the_answers_worked_out_by_hand() {
    let models = tempfile::tempdir().unwrap();
    for (engine, open, _) in ENGINES {
        let lifter = opened(models.path(), "lifter", LIFTER);
        let mut network = open(&lifter).unwrap();
        assert_eq!(network.engine(), engine);
        let mut out = slots(&*network);
        // x = 2, confidence = 0.5 for every joint: feat[i] = 2 i + 0.5.
        let window: Vec<f32> = [2.0, -3.0, 0.5, 7.0].repeat(27 * 17);
        network.run_into(&[Input::F32(&window)], &mut out).unwrap();
        for (i, value) in (0_u16..).zip(&out[0]) {
            let want = 2.0 * f32::from(i) + 0.5;
            assert!((value - want).abs() < 1e-3, "{engine}: {i}: {value}");
        }

        let movenet = opened(models.path(), "movenet", MOVENET);
        let mut network = open(&movenet).unwrap();
        let mut out = slots(&*network);
        // 127.5 / 255 - 0.25 = 0.25, and its root is 0.5.
        let image = [127, 128].repeat(32 * 32 * 3 / 2);
        network.run_into(&[Input::U8(&image)], &mut out).unwrap();
        for (k, keypoint) in (0_u16..).zip(out[0].as_chunks::<3>().0) {
            let want = [f32::from(k) / 32.0, (f32::from(k) + 0.5) / 32.0, 0.5];
            for (value, want) in keypoint.iter().zip(want) {
                assert!((value - want).abs() < 1e-4, "{engine}: {keypoint:?}");
            }
        }
    }
}

#[test]
fn a_run_leaves_nothing_behind_for_the_next() {
    let models = tempfile::tempdir().unwrap();
    for (engine, open, _) in ENGINES {
        let mut network = open(&opened(models.path(), "person", PERSON)).unwrap();
        let mut first = slots(&*network);
        let mut second = slots(&*network);
        let image: Vec<f32> = pattern(3 * 192 * 144).collect();
        let dark = vec![0.0; image.len()];
        network.run_into(&[Input::F32(&image)], &mut first).unwrap();
        network.run_into(&[Input::F32(&dark)], &mut second).unwrap();
        assert_ne!(first, second, "{engine}");
        network
            .run_into(&[Input::F32(&image)], &mut second)
            .unwrap();
        assert_eq!(first, second, "{engine}: equal inputs, equal bits");
    }
}

#[test]
fn nan_from_a_network_is_an_error_that_can_be_counted() {
    let models = tempfile::tempdir().unwrap();
    for (engine, open, _) in ENGINES {
        let mut network = open(&opened(models.path(), "movenet", MOVENET)).unwrap();
        let mut out = slots(&*network);
        let error = network
            .run_into(&[Input::U8(&[0; 32 * 32 * 3])], &mut out)
            .unwrap_err();
        assert_eq!(error, InferError::NotFinite { output: 0 }, "{engine}");
        // And the network still works afterwards.
        let image = [200; 32 * 32 * 3];
        network.run_into(&[Input::U8(&image)], &mut out).unwrap();
    }
}

#[test]
fn tensors_of_another_size_or_type_are_refused() {
    let models = tempfile::tempdir().unwrap();
    for (engine, open, _) in ENGINES {
        let mut network = open(&opened(models.path(), "movenet", MOVENET)).unwrap();
        let mut out = slots(&*network);
        for input in [
            Input::U8(&[200; 32 * 32]),
            Input::F32(&[200.0; 32 * 32 * 3]),
        ] {
            let error = network.run_into(&[input], &mut out).unwrap_err();
            assert!(matches!(error, InferError::Tensor { .. }), "{engine}");
        }
        out[0].pop();
        let image = Input::U8(&[200; 32 * 32 * 3]);
        assert!(network.run_into(&[image], &mut out).is_err(), "{engine}");
    }
}

/// What a model folder is told, after one change to it.
fn refusal(name: &str, description: &str, change: impl FnOnce(&Path)) -> String {
    let models = tempfile::tempdir().unwrap();
    let path = folder(models.path(), &small(name), description);
    change(&path);
    let rows = verify(models.path()).unwrap();
    let [row] = &rows[..] else {
        panic!("one model, {} rows", rows.len())
    };
    let text = row.result.as_ref().unwrap_err().to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text.replace(&format!("{}/", path.display()), "")
}

fn edit(path: &Path, from: &str, to: &str) {
    let file = path.join("model.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "nothing to change: {from}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_network_that_was_swapped_is_refused_with_its_hash() {
    let onnx = std::fs::read(small("yolo")).unwrap();
    let text = refusal("movenet", MOVENET, |path| {
        std::fs::write(path.join("movenet.onnx"), &onnx).unwrap();
    });
    let want = format!("movenet.onnx: sha256 is {}", sha256_hex(&onnx));
    assert!(text.starts_with(&want), "{text}");
}

#[test]
fn an_operator_the_engine_lacks_is_named() {
    assert_eq!(
        refusal("unknown", MOVENET, |_| ()),
        "unknown.onnx: operator FoldSpacetime is not known to engine tract"
    );
}

#[test]
fn tensors_that_are_not_as_described_are_named() {
    assert_eq!(
        refusal("movenet", MOVENET, |path| edit(
            path,
            "[1, 32, 32, 3]",
            "[1, 64, 64, 3]"
        )),
        "movenet.onnx: input image: the network has shape 1,32,32,3, model.toml says u8 [1, 64, 64, 3]"
    );
    assert_eq!(
        refusal("movenet", MOVENET, |path| edit(path, "\"u8\"", "\"f32\"")),
        "movenet.onnx: input image: the network has u8, model.toml says f32 [1, 32, 32, 3]"
    );
    assert_eq!(
        refusal("movenet", MOVENET, |path| edit(
            path,
            "name = \"image\"",
            "name = \"input\""
        )),
        "movenet.onnx: input input: the network has input \"image\", model.toml says u8 [1, 32, 32, 3]"
    );
    assert_eq!(
        refusal("movenet", MOVENET, |path| edit(
            path,
            "\"keypoints\", shape",
            "\"poses\", shape"
        )),
        "movenet.onnx: output poses: the network has outputs [\"keypoints\"], model.toml says f32 [1, 1, 17, 3]"
    );
    assert_eq!(
        refusal("yolo", YOLO, |path| edit(path, "[1, 56, 3]", "[1, 56, 4]")),
        "yolo.onnx: output people: the network has f32 [1, 56, 3], model.toml says f32 [1, 56, 4]"
    );
}

#[test]
fn what_is_no_network_or_no_description_is_refused_in_one_line() {
    let text = refusal("movenet", MOVENET, |path| {
        let onnx = b"not a network";
        std::fs::write(path.join("movenet.onnx"), onnx).unwrap();
        let hash = sha256_hex(&std::fs::read(small("movenet")).unwrap());
        edit(path, &hash, &sha256_hex(onnx));
    });
    assert!(
        text.starts_with("movenet.onnx: engine tract cannot load it: "),
        "{text}"
    );
    let text = refusal("movenet", MOVENET, |path| edit(path, "kind", "sort"));
    assert!(text.contains("unknown field `sort`"), "{text}");
    let text = refusal("movenet", MOVENET, |path| {
        std::fs::remove_file(path.join("movenet.onnx")).unwrap();
    });
    assert!(text.starts_with("movenet.onnx: cannot be read: "), "{text}");
    let text = refusal("movenet", MOVENET, |path| {
        std::fs::remove_file(path.join("README.md")).unwrap();
    });
    assert!(text.contains("README.md is missing"), "{text}");
}

#[test]
fn a_truncated_network_is_refused() {
    let onnx = std::fs::read(small("person")).unwrap();
    let half = &onnx[..onnx.len() / 2];
    let text = refusal("person", PERSON, |path| {
        std::fs::write(path.join("person.onnx"), half).unwrap();
        edit(path, &sha256_hex(&onnx), &sha256_hex(half));
    });
    assert!(
        text.starts_with("person.onnx: engine tract cannot load it: "),
        "{text}"
    );
}

#[test]
fn sound_models_are_listed_and_verified() {
    let models = tempfile::tempdir().unwrap();
    for (name, description) in [
        ("finder", FINDER),
        ("lifter", LIFTER),
        ("movenet", MOVENET),
        ("person", PERSON),
        ("simcc", SIMCC),
        ("yolo", YOLO),
    ] {
        folder(models.path(), &small(name), description);
    }
    // A folder without a description is not a model.
    std::fs::create_dir(models.path().join("training")).unwrap();
    let names: Vec<String> = list(models.path())
        .unwrap()
        .into_iter()
        .map(|row| row.description.unwrap().name)
        .collect();
    assert_eq!(
        names,
        ["finder", "lifter", "movenet", "person", "simcc", "yolo"]
    );
    for row in verify(models.path()).unwrap() {
        let verified = row.result.unwrap();
        let onnx = std::fs::read(small(&verified.description.name)).unwrap();
        assert_eq!(verified.sha256, sha256_hex(&onnx));
        assert_eq!(verified.engine, "tract");
    }
    assert!(list(Path::new("/nowhere")).is_err());
}

/// The input of the stored outputs: the same formula as in `tests/onnx/golden.py`.
fn pattern(count: usize) -> impl Iterator<Item = f32> {
    #[expect(clippy::cast_precision_loss, reason = "below 1021")]
    (0..count).map(|i| ((i * 7919) % 1021) as f32 / 1020.0)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a network's outputs with those stored: every n-th number of each, n in the file.
fn check_stored(folder: &Folder, stored: &Path, (engine, open, tolerance): (&str, Open, f32)) {
    let name = &folder.description.name;
    let bytes = std::fs::read(stored).unwrap_or_else(|error| {
        panic!("{}: {error}; python tests/onnx/golden.py", stored.display())
    });
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let notes = header.metadata().clone().unwrap();
    assert_eq!(
        notes["sha256"],
        sha256_hex(&folder.network),
        "{name}: the stored outputs are of another network; python tests/onnx/golden.py"
    );
    let every: usize = notes["every"].parse().unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();

    let mut network = open(folder).unwrap();
    let mut out = slots(&*network);
    let count = network.inputs()[0].count();
    let floats: Vec<f32> = pattern(count).collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255"
    )]
    let bytes: Vec<u8> = floats.iter().map(|v| (v * 255.0).round() as u8).collect();
    let input = match folder.description.input.element {
        poised::models::Element::F32 => Input::F32(&floats),
        poised::models::Element::U8 => Input::U8(&bytes),
    };
    network.run_into(&[input], &mut out).unwrap();
    for (spec, values) in folder.description.outputs.iter().zip(&out) {
        let want = tensors.tensor(&spec.name).unwrap();
        let want: Vec<f32> = want
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let got: Vec<f32> = values.iter().step_by(every).copied().collect();
        assert_eq!(got.len(), want.len(), "{name}: {}", spec.name);
        let largest = want.iter().fold(1e-3_f32, |most, v| most.max(v.abs()));
        let worst = got
            .iter()
            .zip(&want)
            .map(|(got, want)| (got - want).abs())
            .fold(0.0, f32::max);
        println!(
            "{engine}: {name}: {}: largest difference {worst:.2e} of {largest:.3}",
            spec.name
        );
        assert!(
            worst <= tolerance * largest,
            "{engine}: {name}: {}: {worst} of {largest}",
            spec.name
        );
    }
}

#[test]
fn shipped_networks_give_the_stored_outputs() {
    let models = root().join("models");
    if !models.is_dir() {
        println!("skipped: no models/ in this tree");
        return;
    }
    for row in list(&models).unwrap() {
        let folder = Folder::open(&row.folder).unwrap();
        let name = row.folder.file_name().unwrap();
        let stored = root()
            .join("tests/golden/networks")
            .join(name)
            .with_extension("safetensors");
        for engine in ENGINES {
            check_stored(&folder, &stored, engine);
        }
    }
}

#[test]
fn movenet_gives_the_stored_outputs() {
    let Some(onnx) = data::file("weights/movenet_lightning_fp32_from_int8.onnx") else {
        return;
    };
    let description = std::fs::read_to_string(root().join("examples/movenet-lightning/model.toml"));
    let models = tempfile::tempdir().unwrap();
    let path = models.path().join("movenet-lightning");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("model.toml"), description.unwrap()).unwrap();
    std::fs::write(path.join("README.md"), "For tests.\n").unwrap();
    std::fs::copy(&onnx, path.join(onnx.file_name().unwrap())).unwrap();
    let folder = Folder::open(&path).unwrap();
    let stored = root().join("tests/golden/networks/movenet-lightning.safetensors");
    for engine in ENGINES {
        check_stored(&folder, &stored, engine);
    }
}
