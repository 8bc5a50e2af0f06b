//! Recordings and films that are not part of the repository.
//!
//! They lie beside the checkout, or where `POISED_DATA` says. A test that needs one
//! and does not find it prints that and is skipped.

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
    eprintln!("skipped: no {}", path.display());
    None
}
