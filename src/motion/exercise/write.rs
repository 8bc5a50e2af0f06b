//! Exercises as text: the table of one, and a file with one more.

use std::fmt::Write;
use std::path::Path;

use super::Exercise;
use super::file::{named, read};
use super::{Counted, Rest, Sides};
use crate::base::config::ConfigError;

impl Sides {
    /// Its word in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

impl Rest {
    /// Its word in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

/// A key or text of TOML: as it is where that is allowed.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Exercise {
    /// Its table in a file of exercises, which reads as this exercise again.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "[{}]\nsignal = {}\nsides = {}\nlow_deg = {}\nhigh_deg = {}\nmin_s = {}\n",
            key(&self.name),
            quoted(&self.signal),
            quoted(self.sides.name()),
            self.low_deg,
            self.high_deg,
            self.min_s,
        );
        if self.rest == Rest::High {
            text.push_str("rest = \"high\"\n");
        }
        if self.counted == Counted::There {
            text.push_str("counted = \"there\"\n");
        }
        if !self.labels.is_empty() {
            let labels: Vec<String> = self.labels.iter().map(|label| quoted(label)).collect();
            // Writing into a String cannot fail.
            let _ = writeln!(text, "labels = [{}]", labels.join(", "));
        }
        text
    }
}

/// Whether an exercise of this name can be added to the file `path` with this text.
///
/// # Errors
///
/// The name is none, the file holds something else than exercises, or has one of this name and none is to be replaced.
pub fn can_add(path: &Path, text: &str, name: &str, replace: bool) -> Result<(), ConfigError> {
    let wrong = |message: String| ConfigError::Parse {
        path: path.to_owned(),
        message,
    };
    named(name).map_err(wrong)?;
    if read(path, text)?.contains_key(name) && !replace {
        return Err(wrong(format!(
            "has an exercise {name:?} already; give another name, or --force to replace it"
        )));
    }
    Ok(())
}

/// The text of the file `path` with one more exercise at its end; one of its name is taken out, the others and
/// their comments stay.
///
/// # Errors
///
/// As [`can_add`], or the table of the old one is written in a way that is not found.
pub fn with_exercise(
    path: &Path,
    text: &str,
    exercise: &Exercise,
    replace: bool,
) -> Result<String, ConfigError> {
    can_add(path, text, &exercise.name, replace)?;
    let mut wanted = read(path, text)?;
    wanted.insert(exercise.name.clone(), exercise.clone());
    let header = format!("[{}]", key(&exercise.name));
    let mut kept = String::new();
    // Comments and blank lines after the last key of the old table: they are those of the next.
    let mut between = String::new();
    let mut is_old = false;
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if code.starts_with('[') {
            is_old = code == header;
            kept.push_str(&std::mem::take(&mut between));
        }
        let kept = if is_old { &mut between } else { &mut kept };
        if is_old && !code.is_empty() {
            kept.clear();
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.push_str(&between);
    let kept = kept.trim_end();
    let gap = if kept.is_empty() { "" } else { "\n\n" };
    let text = format!("{kept}{gap}{}", exercise.to_toml());
    if read(path, &text).ok().as_ref() == Some(&wanted) {
        return Ok(text);
    }
    Err(ConfigError::Parse {
        path: path.to_owned(),
        message: format!(
            "exercise {:?} cannot be replaced; take its table out by hand",
            exercise.name
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exercise(name: &str) -> Exercise {
        Exercise {
            name: name.into(),
            signal: "elbow_flexion".into(),
            signals: [10, 11],
            sides: Sides::Max,
            low_deg: 40.0,
            high_deg: 95.0,
            min_s: 0.45,
            rest: Rest::High,
            counted: Counted::There,
            labels: vec!["dips \"deep\"".into()],
        }
    }

    #[test]
    fn a_table_reads_as_the_exercise_it_was() {
        let path = Path::new("mine.toml");
        for name in ["dip", "chair dip", "\"", "Liegestütz"] {
            let one = exercise(name);
            let all = read(path, &one.to_toml()).unwrap();
            assert_eq!(all[name], one);
        }
    }

    #[test]
    fn one_more_leaves_the_others_and_comments_as_they_are() {
        let path = Path::new("mine.toml");
        let old = "# Mine.\n\n# Nods.\n[nod]\nsignal = \"neck_flexion\"\nlow_deg = 20\nhigh_deg = 40\nmin_s = 0.3\n";
        let text = with_exercise(path, old, &exercise("dip"), false).unwrap();
        assert!(text.starts_with(old.trim_end()), "{text}");
        assert_eq!(read(path, &text).unwrap().len(), 2);
        let error = with_exercise(path, &text, &exercise("nod"), false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mine.toml: has an exercise \"nod\" already; give another name, or --force to replace it"
        );
        let text = text.replace("[dip]", "# Dips.\n[dip]");
        let replaced = with_exercise(path, &text, &exercise("nod"), true).unwrap();
        assert!(replaced.contains("# Dips.\n[dip]"), "{replaced}");
        let all = read(path, &replaced).unwrap();
        assert_eq!((all.len(), &all["nod"]), (2, &exercise("nod")));
        assert!(replaced.starts_with("# Mine."), "{replaced}");
        // In a line of its own it is not found.
        let inline =
            "nod = { signal = \"neck_flexion\", low_deg = 20, high_deg = 40, min_s = 0.3 }\n";
        let error = with_exercise(path, inline, &exercise("nod"), true).unwrap_err();
        assert!(error.to_string().contains("by hand"), "{error}");
    }

    #[test]
    fn what_is_no_file_of_exercises_is_not_added_to() {
        let path = Path::new("film.mp4");
        assert!(can_add(path, "\u{0}\u{1}ftyp", "dip", true).is_err());
        assert!(can_add(path, "[camera]\nwidth_px = 3", "dip", true).is_err());
        assert!(can_add(path, "", "", false).is_err());
        assert!(can_add(path, "", &"n".repeat(60), false).is_err());
        let turned =
            "[dip]\nsignal = \"elbow_flexion\"\nlow_deg = 90\nhigh_deg = 40\nmin_s = 0.5\n";
        let error = can_add(path, turned, "nod", false).unwrap_err().to_string();
        assert!(
            error.contains("dip.low_deg = 90: must be at least 10 below"),
            "{error}"
        );
    }
}
