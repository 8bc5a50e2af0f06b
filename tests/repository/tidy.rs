//! Checks of the sources themselves: layers, length of functions, and the language of prose.
//!
//! Each check has a list of exceptions that were there when the check was made. The lists only shrink: an exception
//! that is no longer needed fails the test, so that it is taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest function, lines from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;

/// Imports against the order of `src/lib.rs`: file, and the layer it imports from below.
const IMPORTS: &[(&str, &str)] = &[];

/// Functions that are longer than [`FUNCTION_LINES_MAX`], by file and name.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    // Tables of what may be written in a file.
    ("camera/ros_yaml.rs", "ros_or_opencv"),
    ("output/read.rs", "person"),
    // Choreography and anatomy of the synthetic person.
    ("synthetic/anatomy.rs", "body"),
    ("synthetic/exercise.rs", "on_the_spot"),
    ("synthetic/extremities.rs", "head"),
    ("synthetic/appearance.rs", "from_seed"),
    ("synthetic/plan.rs", "new"),
    // Threads and commands that are still to be taken apart.
    ("cli/demo.rs", "run"),
    ("cli/run.rs", "run"),
    ("cli/watch.rs", "run"),
    ("lift/mod.rs", "lift"),
];

/// Longest line of Markdown, characters. Tables, code and images cannot be wrapped.
const MARKDOWN_LINE_MAX: usize = 120;

/// Documents with longer lines.
const LONG_LINES: &[&str] = &[
    // Rendered by models/training/people/figures.py, one command or list a line.
    "docs/lab/people.md",
];

/// Words that prose and messages avoid, as whole words in lower case, and what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("is not to be had", "is unavailable"),
    ("somebody", "a person"),
    ("nobody", "no person, no one, nothing"),
    ("whoever", "the person who, the caller"),
    ("what is there", "what is available, the content"),
    ("say so", "report it"),
    ("says so", "reports it"),
    ("of ours", "our"),
    ("brought along", "external"),
    ("anew", "again"),
    ("let go", "dropped"),
    ("farewell", "shutdown"),
    ("as they ship", "without adaptation, as shipped"),
    ("the factory's head", "the factory head"),
];

/// Where a banned word is none: file, and the word.
const BANNED_EXCEPTIONS: &[(&str, &str)] = &[
    // `let go = ...` binds a function of that name.
    ("src/synthetic/plan.rs", "let go"),
];

/// All files under `folder` whose names end in `suffix`, relative to it, sorted.
pub fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The layers in the order of `src/lib.rs`.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// The sources of a file without its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// The layers that a source names behind `crate::`.
fn imported(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split("crate::").skip(1) {
        // Of `crate::{a::B, c}` every member, else the one name.
        let names: Vec<&str> = match part.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').collect(),
            None => vec![part],
        };
        for name in names {
            let word: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.insert(word);
        }
    }
    found
}

#[test]
fn a_layer_imports_from_those_above_it_only() {
    let layers = layers();
    assert!(layers.len() >= 20, "{layers:?}");
    let place: BTreeMap<&str, usize> = layers.iter().map(String::as_str).zip(0..).collect();
    let source = root().join("src");
    let mut wrong = BTreeSet::new();
    for file in files(&source, ".rs") {
        let name = file.to_string_lossy().into_owned();
        let room = name.split('/').next().unwrap().trim_end_matches(".rs");
        // The binary, its commands and tests may use everything.
        let Some(own) = place.get(room) else {
            continue;
        };
        if name.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(source.join(&file)).unwrap();
        for layer in imported(without_tests(&text)) {
            if place.get(layer.as_str()).is_some_and(|below| below > own) {
                wrong.insert((name.clone(), layer));
            }
        }
    }
    same(IMPORTS, &wrong, "imports from below");
}

/// Functions of a source with their lengths: name, lines. A function ends at the first brace in its own column.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let signature = [
            "pub const fn ",
            "pub fn ",
            "const fn ",
            "fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "unsafe fn ",
        ];
        let Some(rest) = signature.iter().find_map(|s| code.strip_prefix(s)) else {
            continue;
        };
        let name = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let end = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|line| *line == end) {
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let source = root().join("src");
    let mut long = BTreeSet::new();
    for file in files(&source, ".rs") {
        if file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(source.join(&file)).unwrap();
        for (name, length) in functions(without_tests(&text)) {
            if length > FUNCTION_LINES_MAX {
                long.insert((file.to_string_lossy().into_owned(), name));
            }
        }
    }
    same(LONG_FUNCTIONS, &long, "functions that are too long");
}

#[test]
fn every_dependency_is_used() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let source = root().join("src");
    let code: Vec<String> = files(&source, ".rs")
        .iter()
        .map(|file| fs::read_to_string(source.join(file)).unwrap())
        .collect();
    let is_used = |name: &str| {
        let path = format!("{}::", name.replace('-', "_"));
        code.iter().any(|text| {
            text.match_indices(&path).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | ':')))
            })
        })
    };
    let unused: Vec<_> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .filter(|name| !is_used(name))
        .collect();
    assert!(unused.is_empty(), "nothing uses {unused:?}");
}

/// Fails where the exceptions and what was found differ, in either direction.
fn same(exceptions: &[(&str, &str)], found: &BTreeSet<(String, String)>, what: &str) {
    let known: BTreeSet<(String, String)> = exceptions
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    let new: Vec<_> = found.difference(&known).collect();
    let gone: Vec<_> = known.difference(found).collect();
    assert!(new.is_empty(), "{what}: {new:#?}");
    assert!(
        gone.is_empty(),
        "no exception is needed any more, take it out: {gone:#?}"
    );
}

/// Folders that are not part of the sources: built, fetched or kept beside the repository.
const OUTSIDE: [&str; 4] = ["target", "shared", ".git", ".venv"];

/// How the name of a document ends.
pub const DOCUMENT: &str = ".md";

/// Documents and Rust sources of the repository.
pub fn prose() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            if OUTSIDE.contains(&name.as_str()) {
                continue;
            }
            for suffix in [DOCUMENT, ".rs"] {
                let files = files(&entry.path(), suffix);
                found.extend(
                    files
                        .iter()
                        .map(|file| format!("{name}/{}", file.display())),
                );
            }
        } else if [DOCUMENT, ".rs"].iter().any(|end| name.ends_with(end)) {
            found.push(name);
        }
    }
    // The list of banned words itself, and builds of the crate for fuzzing.
    found.retain(|file| file != "tests/repository/tidy.rs" && !file.contains("/target/"));
    found.sort();
    found
}

/// The text in lower case with one blank between words, so that a phrase is found across a line break.
fn words(text: &str) -> String {
    let mut plain = String::from(" ");
    for line in text.lines() {
        let line = line.trim_start().trim_start_matches(['/', '!', '>']);
        for word in line.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '_')) {
            if !word.is_empty() {
                plain.push_str(&word.to_lowercase());
                plain.push(' ');
            }
        }
    }
    plain
}

#[test]
pub fn prose_has_no_banned_words() {
    let files = prose();
    assert!(files.len() > 200, "{} files", files.len());
    let mut found = BTreeSet::new();
    for file in files {
        let text = words(&fs::read_to_string(root().join(&file)).unwrap());
        for (word, instead) in BANNED {
            if text.contains(&format!(" {word} ")) {
                let excepted = BANNED_EXCEPTIONS.contains(&(file.as_str(), word));
                let text = if excepted {
                    (*word).to_owned()
                } else {
                    format!("{word}: write {instead}")
                };
                found.insert((file.clone(), text));
            }
        }
    }
    same(BANNED_EXCEPTIONS, &found, "banned words");
}

#[test]
fn markdown_lines_fit_a_screen() {
    let mut long = BTreeSet::new();
    let is_document = |file: &String| file.ends_with(DOCUMENT);
    for file in prose().into_iter().filter(is_document) {
        let mut code = false;
        for line in fs::read_to_string(root().join(&file)).unwrap().lines() {
            let start = line.trim_start();
            code ^= start.starts_with("```");
            let fixed = code || start.starts_with('|') || start.starts_with("![");
            if !fixed && line.chars().count() > MARKDOWN_LINE_MAX {
                long.insert(file.clone());
            }
        }
    }
    let known: BTreeSet<String> = LONG_LINES.iter().map(|file| (*file).to_owned()).collect();
    assert_eq!(
        long, known,
        "documents with lines over {MARKDOWN_LINE_MAX} characters"
    );
}
