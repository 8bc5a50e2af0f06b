//! Recordings and films that are not part of the repository.
//!
//! They lie beside the checkout, or where `POISED_DATA` says. A test that needs one
//! and does not find it prints that and is skipped; where `POISED_NEED_DATA` is set, it fails.

#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::path::{Path, PathBuf};

/// A file of the data folder, or `None` with a word on standard error.
pub fn file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("POISED_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    missing(&path.display().to_string());
    None
}

/// Says that a test is skipped for want of something that CI has; a failure there, where a skipped test is not seen.
pub fn missing(what: &str) {
    let needed = std::env::var_os("POISED_NEED_DATA").is_some();
    assert!(!needed, "POISED_NEED_DATA is set, and there is no {what}");
    eprintln!("skipped: no {what}");
}
