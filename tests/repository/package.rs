//! What the Debian package ships: links between its documents lead to files that it ships too.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Where documents are installed.
const DOCUMENTS: &str = "usr/share/doc/poised";

/// Places that only the repository has; a document says by the link that it speaks of the sources.
const SOURCES: [&str; 7] = [
    "src", "tests", "models", "examples", "clients", "fuzz", "systemd",
];

/// Files of a pattern with `*` in its last part.
fn files(pattern: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let (begin, end) = name.split_once('*').unwrap_or((name, ""));
    let end = end.trim_start_matches(".*");
    let entries = std::fs::read_dir(root.join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let file = path.file_name().unwrap().to_str().unwrap();
            path.is_file() && file.starts_with(begin) && file.ends_with(end)
        })
        .filter(|path| name.contains('*') || path.file_name().unwrap() == name)
        .collect()
}

/// `a/b/../c` as `a/c`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// Installed documents, with the files they come from.
fn documents() -> BTreeMap<PathBuf, PathBuf> {
    let manifest = include_str!("../../Cargo.toml");
    let manifest: toml::Table = manifest.parse().unwrap();
    let assets = &manifest["package"]["metadata"]["deb"]["assets"];
    let mut installed = BTreeMap::new();
    for asset in assets.as_array().unwrap() {
        let text = |at: usize| asset[at].as_str().unwrap();
        let (source, target) = (text(0), text(1));
        if target.starts_with(DOCUMENTS) {
            let found = files(source);
            assert!(!found.is_empty(), "{source} is no file");
            for file in found {
                let name = file.file_name().unwrap();
                installed.insert(Path::new(target).join(name), file.clone());
            }
        }
    }
    installed
}

#[test]
fn links_between_the_documents_of_the_package_lead_to_files_of_the_package() {
    let installed = documents();
    let mut checked = 0;
    for (place, file) in &installed {
        if file.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split([')', '#', ' ']).next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = plain(&place.parent().unwrap().join(link));
            let is_folder = installed.keys().any(|known| known.starts_with(&target));
            let inside = target.strip_prefix(DOCUMENTS).unwrap_or(&target);
            let first = inside.components().next();
            let of_sources = first.is_some_and(|first| {
                let first = first.as_os_str().to_str().unwrap();
                SOURCES.contains(&first) && inside.extension().is_none_or(|end| end != "md")
            });
            // Training is read in the sources, its pages too.
            let of_training = inside.starts_with("models/training");
            assert!(
                installed.contains_key(&target) || is_folder || of_sources || of_training,
                "{}: {link} is not in the package",
                place.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked} links");
}
