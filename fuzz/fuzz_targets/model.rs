//! Whatever stands in a `model.toml`.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use poised::models::Description;

/// A folder of this process.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("poised-fuzz-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
});

fuzz_target!(|text: &str| {
    std::fs::write(FOLDER.join("model.toml"), text).expect("a temporary file");
    let _ = Description::read(&FOLDER);
});
