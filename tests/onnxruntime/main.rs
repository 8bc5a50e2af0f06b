//! ONNX Runtime where its library is missing, something else or of another version: a refusal in words, and no panic.
//! What it gives where it is there is in `tests/engines/`.
//!
//! A binary of its own, since a process opens the library once; built with the feature `onnxruntime` only.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::Command;

use poised::engine::select::{Choice, Engine, InferenceConfig};

/// A library that says it is ONNX Runtime of this version.
fn fake(folder: &Path, version: &str) -> PathBuf {
    let out = folder.join(format!("libonnxruntime.so.{version}"));
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&out)
        .arg(format!("-DVERSION=\"{version}\""))
        .arg("tests/onnxruntime/fake.c")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(made.success());
    out
}

/// What is said of a library.
fn refusal(library: &Path) -> String {
    let config = InferenceConfig {
        engine: Choice::Onnxruntime,
        onnxruntime: Some(library.to_owned()),
        ..InferenceConfig::default()
    };
    let text = Engine::open(&config).unwrap_err().to_string();
    assert!(
        text.contains("install ONNX Runtime 1."),
        "with the fix: {text}"
    );
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

#[test]
fn a_library_that_is_missing_or_something_else_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = refusal(Path::new("/nowhere/libonnxruntime.so"));
    assert!(text.contains("/nowhere/libonnxruntime.so"), "{text}");
    let no_library = folder.path().join("libonnxruntime.so");
    std::fs::write(&no_library, "text").unwrap();
    let text = refusal(&no_library);
    assert!(text.contains("libonnxruntime.so"), "{text}");
}

#[test]
fn a_library_of_another_version_is_refused_with_both() {
    let folder = tempfile::tempdir().unwrap();
    let text = refusal(&fake(folder.path(), "1.10.0"));
    assert!(
        text.contains("is version 1.10, 1.17 or later is required"),
        "{text}"
    );
    let text = refusal(&fake(folder.path(), "2.20.0"));
    assert!(text.contains("is not version 1"), "{text}");
}
