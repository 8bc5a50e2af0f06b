//! What the Debian package ships: links between its documents lead to files that it ships too, and only the service
//! reads its configuration and reaches what it has to.

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

/// What the package ships: source, target and mode of each entry.
fn assets() -> Vec<[String; 3]> {
    let manifest = include_str!("../../Cargo.toml");
    let manifest: toml::Table = manifest.parse().unwrap();
    let assets = &manifest["package"]["metadata"]["deb"]["assets"];
    let texts =
        |asset: &toml::Value| [0_usize, 1, 2].map(|at| asset[at].as_str().unwrap().to_owned());
    assets.as_array().unwrap().iter().map(texts).collect()
}

/// Installed documents, with the files they come from.
fn documents() -> BTreeMap<PathBuf, PathBuf> {
    let mut installed = BTreeMap::new();
    for [source, target, _] in assets() {
        if target.starts_with(DOCUMENTS) {
            let found = files(&source);
            assert!(!found.is_empty(), "{source} is no file");
            for file in found {
                let name = file.file_name().unwrap();
                installed.insert(Path::new(&target).join(name), file.clone());
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

#[test]
fn the_configuration_is_readable_by_the_service_only() {
    let assets = assets();
    let is_configuration = |asset: &&[String; 3]| asset[0] == "systemd/poised.toml";
    let [_, target, mode] = assets.iter().find(is_configuration).unwrap();
    // It may hold a camera's password.
    assert_eq!((target.as_str(), mode.as_str()), ("etc/poised/", "640"));
    // The package leaves it to root; its group is made when the package is installed.
    let script = include_str!("../../systemd/debian/postinst");
    let line = script
        .lines()
        .find(|line| line.contains("chgrp poised /etc/poised/poised.toml"))
        .unwrap();
    assert!(line.contains("chmod 640 /etc/poised/poised.toml"), "{line}");
    assert!(line.contains("root:root:640"), "{line}");
    let user = script.find("systemd-sysusers").unwrap();
    assert!(
        user < script.find("chgrp").unwrap(),
        "the group comes first"
    );
    for unit in UNITS {
        assert!(unit.lines().any(|line| line == "User=poised"));
        assert!(unit.lines().any(|line| line == "Group=poised"));
    }
}

/// The units of the service.
const UNITS: [&str; 2] = [
    include_str!("../../systemd/poised.service"),
    include_str!("../../systemd/poised@.service"),
];

/// Lines of a unit about addresses that are in force.
fn fence(unit: &str) -> Vec<&str> {
    let lines = unit.lines().filter(|line| line.starts_with("IPAddress"));
    lines.collect()
}

#[test]
fn a_network_camera_needs_a_drop_in_and_one_is_shipped() {
    for unit in UNITS {
        assert_eq!(
            fence(unit),
            ["IPAddressDeny=any", "IPAddressAllow=localhost"]
        );
    }
    let source = "systemd/network-camera.conf";
    let drop_in = include_str!("../../systemd/network-camera.conf");
    assert!(drop_in.lines().any(|line| line == "[Service]"), "{drop_in}");
    // One camera, and nothing else of the network.
    let [allowed] = fence(drop_in)[..] else {
        panic!("{drop_in}");
    };
    let address = allowed.strip_prefix("IPAddressAllow=").unwrap();
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{allowed}");
    assert!(assets().iter().any(|[shipped, ..]| shipped == source));
    let guide = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/service.md"),
    );
    assert!(guide.unwrap().contains("network-camera.conf"));
}
