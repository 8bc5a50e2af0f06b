//! Model folders for tests, made from the small networks in `tests/onnx`.

use std::path::{Path, PathBuf};

use poised::engine::models::sha256_hex;

/// `person`, as the network that ships: see `tests/onnx/make.py`.
pub const PERSON: &str = r#"
    name = "person"
    kind = "person"
    decoder = { type = "heatmap", values = "logits" }
    input = { name = "image", shape = [1, 3, 192, 144], type = "f32", image = { layout = "nchw", std = [255, 255, 255] } }
    outputs = [
        { name = "heatmaps", shape = [1, 17, 48, 36], role = "heatmaps" },
        { name = "visible", shape = [1, 17], role = "visible" },
        { name = "features", shape = [1, 128], role = "features" },
        { name = "mask", shape = [1, 3, 48, 36], role = "mask" },
    ]
"#;

/// `finder`, as the network that ships.
pub const FINDER: &str = r#"
    name = "finder"
    kind = "finder"
    decoder = { type = "finder", score_min = 0.3, iou_max = 0.5 }
    input = { name = "image", shape = [1, 3, 192, 192], type = "f32", image = { layout = "nchw", std = [255, 255, 255], fill = 114 } }
    outputs = [
        { name = "score", shape = [1, 1, 24, 24], role = "score" },
        { name = "box", shape = [1, 4, 24, 24], role = "box" },
    ]
"#;

/// A `SimCC` network.
pub const SIMCC: &str = r#"
    name = "simcc"
    kind = "keypoints"
    decoder = { type = "simcc", split = 2.0 }
    input = { name = "image", shape = [1, 3, 64, 48], type = "f32", image = { layout = "nchw", std = [255, 255, 255] } }
    outputs = [
        { name = "simcc_x", shape = [1, 17, 96], role = "simcc-x" },
        { name = "simcc_y", shape = [1, 17, 128], role = "simcc-y" },
    ]
"#;

/// A network with `MoveNet`'s input and output.
pub const MOVENET: &str = r#"
    name = "movenet"
    kind = "keypoints"
    decoder = { type = "movenet" }
    input = { name = "image", shape = [1, 32, 32, 3], type = "u8", image = { layout = "nhwc" } }
    outputs = [{ name = "keypoints", shape = [1, 1, 17, 3], role = "keypoints" }]
"#;

/// `MoveNet` Lightning of the data folder, from the published int8 file through tf2onnx.
pub const MOVENET_LIGHTNING: &str = r#"
    name = "movenet-lightning"
    kind = "keypoints"
    decoder = { type = "movenet" }
    input = { name = "serving_default_input:0", shape = [1, 192, 192, 3], type = "u8", image = { layout = "nhwc" } }
    outputs = [{ name = "StatefulPartitionedCall:0", shape = [1, 1, 17, 3], role = "keypoints" }]
"#;

/// A `YOLO-pose` network.
pub const YOLO: &str = r#"
    name = "yolo"
    kind = "keypoints"
    decoder = { type = "yolo-pose", score_min = 0.3, iou_max = 0.5 }
    input = { name = "image", shape = [1, 3, 64, 64], type = "f32", image = { layout = "nchw", std = [255, 255, 255], fill = 114 } }
    outputs = [{ name = "people", shape = [1, 56, 3], role = "people" }]
"#;

/// A lifter's backbone.
pub const LIFTER: &str = r#"
    name = "lifter"
    kind = "lifter"
    input = { name = "kp", shape = [1, 27, 17, 4], type = "f32" }
    outputs = [{ name = "feat", shape = [1, 256], role = "lift-features" }]
"#;

/// Writes a model folder with a network file and a description without the
/// fields that are the same for all, and gives its path.
pub fn folder(models: &Path, onnx: &Path, description: &str) -> PathBuf {
    let bytes = std::fs::read(onnx).unwrap();
    let stem = onnx.file_stem().unwrap().to_str().unwrap();
    let folder = models.join(stem);
    std::fs::create_dir_all(&folder).unwrap();
    let file = format!("{stem}.onnx");
    let text = format!(
        "licence = \"CC0-1.0\"\norigin = \"tests\"\nnetwork = {{ file = {file:?}, sha256 = {:?} }}\n{description}",
        sha256_hex(&bytes)
    );
    std::fs::write(folder.join(&file), bytes).unwrap();
    std::fs::write(folder.join("model.toml"), text).unwrap();
    std::fs::write(folder.join("README.md"), "For tests.\n").unwrap();
    folder
}

/// A network of `tests/onnx`.
pub fn small(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/onnx")
        .join(name)
        .with_extension("onnx")
}
