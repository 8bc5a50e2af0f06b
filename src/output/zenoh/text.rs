//! What Zenoh says, as a user may read it.

use crate::base::secret::{REDACTED, redacted_text};

/// What Zenoh says of an error, without the places in its source code and without what endpoints keep secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ZenohText(pub(super) String);

impl From<zenoh::Error> for ZenohText {
    fn from(error: zenoh::Error) -> Self {
        let text = without_places(&error.to_string());
        Self(redacted_text(&without_quote(&text)))
    }
}

/// The parser of Zenoh's file draws the line with an arrow below it, and the line may hold a password: what is left is
/// where the mistake is and what was expected.
fn without_quote(text: &str) -> String {
    let place = text.split_once("--> ").and_then(|(_, rest)| {
        let (line, column) = rest.lines().next()?.trim().split_once(':')?;
        let mut expected = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("= "));
        let expected = expected.next_back()?;
        Some(format!("line {line}, column {column}: {expected}"))
    });
    place
        .or_else(|| without_debug(text))
        .unwrap_or_else(|| text.trim().to_owned())
}

/// The same of an error that Zenoh writes as Rust's `Debug` has it: `Message { msg: "..", location: .. }`.
fn without_debug(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("msg: \"")?;
    let (message, rest) = rest.split_once("\", location: Some(Location { line: ")?;
    let (line, rest) = rest.split_once(", column: ")?;
    let column = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    // A text of the wrong kind is quoted, and may be a password.
    let message = match message.split_once("string \\\"") {
        Some((before, rest)) => {
            let after = rest.split_once("\\\"").map_or("", |(_, after)| after);
            format!("{before}string {REDACTED}{after}")
        }
        None => message.to_owned(),
    };
    Some(format!("line {line}, column {column}: {message}"))
}

/// A text without ` at /path/to/file.rs:12.`, which Zenoh puts behind each of its errors: paths of the machine that
/// built the program.
fn without_places(text: &str) -> String {
    let mut parts = text.split(" at ");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(rest) = after_place(part) {
            clean.push_str(rest);
        } else {
            clean.push_str(" at ");
            clean.push_str(part);
        }
    }
    clean
}

/// What follows `file.rs:12.`; `None` if the text does not begin with one.
fn after_place(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(".rs:")?;
    let place = &text[..text.len() - rest.len()];
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    // A path of the build machine may hold blanks, but it begins with a folder.
    let is_path = end > 0
        && place
            .split(' ')
            .next()
            .is_some_and(|word| word.contains('/'));
    is_path.then(|| rest[end..].strip_prefix('.').unwrap_or(&rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_source_code_are_taken_out_and_all_else_stays() {
        for (text, clean) in [
            ("no route at /home/kim/.cargo/a b/lib.rs:12.", "no route"),
            (
                "a at /x/y.rs:1. - Caused by b at /z.rs:22.",
                "a - Caused by b",
            ),
            ("wrong at line 3 at /x/y.rs:9.", "wrong at line 3"),
            ("expected a name at 3:4", "expected a name at 3:4"),
            ("at mode in a file at x/y.rs:9.", "at mode in a file"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_places(text), clean);
        }
    }
}
