//! Checks of the documents against the sources and each other: configuration keys, links and headings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tidy::{DOCUMENT, files, prose, root};

const CONFIGURATION: &str = "docs/reference/configuration.md";

/// The fields of a struct that a configuration file may set, and the types of those that are sections of their own.
fn fields(source: &str, name: &str) -> Vec<(String, String)> {
    let (_, body) = source
        .split_once(&format!("pub struct {name} {{"))
        .unwrap_or_else(|| panic!("no struct {name}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let mut found = Vec::new();
    let mut skipped = false;
    for line in body.lines().map(str::trim) {
        skipped |= line.starts_with("#[serde(skip");
        if let Some(field) = line.strip_prefix("pub ") {
            let (field, kind) = field.trim_end_matches(',').split_once(": ").unwrap();
            if !std::mem::take(&mut skipped) {
                found.push((field.to_owned(), kind.to_owned()));
            }
        }
    }
    found
}

/// The source that defines a struct.
fn source_of(name: &str) -> String {
    let definition = format!("pub struct {name} {{");
    files(&root().join("src"), ".rs")
        .iter()
        .map(|file| fs::read_to_string(root().join("src").join(file)).unwrap())
        .find(|text| text.contains(&definition))
        .unwrap_or_else(|| panic!("nothing defines {name}"))
}

/// The keys in the first column of a section's tables.
fn documented(page: &str, section: &str) -> BTreeSet<String> {
    let heading = format!("# `[{section}]`\n");
    let (_, text) = page
        .split_once(&heading)
        .unwrap_or_else(|| panic!("{CONFIGURATION} has no heading `[{section}]`"));
    let (text, _) = text.split_once("\n#").unwrap_or((text, ""));
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let first = row.split('|').nth(1).unwrap();
        first.split('`').skip(1).step_by(2).map(str::to_owned)
    })
    .collect()
}

#[test]
fn every_configuration_key_is_documented_and_nothing_else() {
    let page = fs::read_to_string(root().join(CONFIGURATION)).unwrap();
    let mut open: Vec<(String, String)> = fields(&source_of("Settings"), "Settings");
    let mut sections = 0;
    while let Some((section, kind)) = open.pop() {
        let mut keys = BTreeSet::new();
        for (field, kind) in fields(&source_of(&kind), &kind) {
            let plain = kind.trim_start_matches("Option<").trim_end_matches('>');
            if ["V4l2Config", "SyntheticConfig"].contains(&plain) {
                open.push((format!("{section}.{field}"), plain.to_owned()));
            } else {
                keys.insert(field);
            }
        }
        assert_eq!(documented(&page, &section), keys, "[{section}]");
        sections += 1;
    }
    assert_eq!(sections, 22);
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Targets of the links in a document, without those to other sites.
fn links(text: &str) -> Vec<String> {
    let mut code = false;
    let mut found = Vec::new();
    let lines = text.lines().filter(|line| {
        code ^= line.trim_start().starts_with("```");
        !code
    });
    for part in lines.collect::<Vec<_>>().join("\n").split("](").skip(1) {
        let target = part.split(')').next().unwrap();
        if !target.contains("://") && !target.starts_with("mailto:") {
            found.push(target.to_owned());
        }
    }
    found
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for file in prose().into_iter().filter(|file| file.ends_with(DOCUMENT)) {
        let path = root().join(&file);
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text) {
            let (target, heading) = link.split_once('#').unwrap_or((&link, ""));
            let to: PathBuf = if target.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap_or(Path::new("")).join(target)
            };
            checked += 1;
            let is_there = to.exists()
                && (heading.is_empty()
                    || to.extension().is_none_or(|end| end != "md")
                    || fs::read_to_string(&to)
                        .unwrap()
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == heading));
            if !is_there {
                broken.push(format!("{file}: {link}"));
            }
        }
    }
    assert!(checked > 200, "{checked} links");
    assert!(broken.is_empty(), "{broken:#?}");
}
