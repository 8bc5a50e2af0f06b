//! What a model folder that does not fit is told. What networks give is in `tests/engines/`.

use std::path::Path;

use crate::common::models::{FINDER, LIFTER, MOVENET, PERSON, SIMCC, YOLO, folder, small};
use poised::detect::verify;
use poised::engine::Engine;
use poised::engine::models::{Description, list, sha256_hex};

/// What a model folder is told, after one change to it.
fn refusal(name: &str, description: &str, change: impl FnOnce(&Path)) -> String {
    let models = tempfile::tempdir().unwrap();
    let path = folder(models.path(), &small(name), description);
    change(&path);
    let rows = verify(&Engine::tract(), models.path()).unwrap();
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
        "unknown.onnx: engine tract does not support operator FoldSpacetime; use another engine ([inference] engine) or export the network without it"
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
fn the_descriptions_of_movenet_fit_the_networks_that_are_made() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/movenet");
    for (name, side) in [("lightning", 192), ("thunder", 256)] {
        let folder = tempfile::tempdir().unwrap();
        let file = examples.join(name).with_extension("toml");
        std::fs::copy(file, folder.path().join("model.toml")).unwrap();
        let description = Description::read(folder.path()).unwrap();
        assert_eq!(description.name, format!("movenet-{name}"));
        assert_eq!(description.network.file, format!("movenet-{name}.onnx"));
        assert_eq!(description.input.shape, [1, side, side, 3]);
    }
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
    for row in verify(&Engine::tract(), models.path()).unwrap() {
        let verified = row.result.unwrap();
        let onnx = std::fs::read(small(&verified.description.name)).unwrap();
        assert_eq!(verified.sha256, sha256_hex(&onnx));
        assert_eq!(verified.engine, "tract");
    }
    assert!(list(Path::new("/nowhere")).is_err());
}
