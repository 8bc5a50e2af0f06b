//! TRC, the marker files of `OpenSim`: one person, one row a frame, tabs between the columns.
//!
//! The head of the file says how many frames follow, so a recording is read twice: [`plan`], then [`write()`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};

use super::ExportError;
use super::ground::Ground;
use crate::base::clock::MonoNs;
use crate::base::limits::RATE_HZ;
use crate::output::record::Recording;
use crate::pose::{JointState, PersonPose};
use crate::skeleton::{JOINT_NAMES, JOINTS};

/// People listed where one is to be chosen: a screen of them. A recording of a day may have thousands.
const LISTED_MAX: usize = 32;

/// What a file of markers or angles will hold: one person, from the first frame they are in to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    person: u32,
    /// Index of the first frame in the recording.
    first: u64,
    /// Frames from there to the last.
    frames: u64,
    /// Time of the recording's first frame, from which time counts.
    begin: MonoNs,
    /// Times of the first and the last frame of the person.
    span: (MonoNs, MonoNs),
}

impl Plan {
    /// Rows there will be.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Whom the file is about.
    pub const fn person(&self) -> u32 {
        self.person
    }

    /// Mean rate of the frames, hertz.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown to a thousandth"
    )]
    fn rate_hz(&self) -> f64 {
        let (first, last) = self.span;
        let span_s = last.0.saturating_sub(first.0) as f64 / 1.0e9;
        if span_s > 0.0 {
            (self.frames - 1) as f64 / span_s
        } else {
            RATE_HZ.into()
        }
    }
}

/// Where a person is in a recording.
struct Seen {
    first: u64,
    last: u64,
    frames: u64,
    span: (MonoNs, MonoNs),
}

/// Looks for the frames of a person. Without an id there must be one person only.
///
/// # Errors
///
/// The recording cannot be read; the person is not in it, or there is none or more than one to choose from, which the
/// error names.
pub fn plan<R: Read>(
    recording: &mut Recording<R>,
    person: Option<u32>,
) -> Result<Plan, ExportError> {
    let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
    let (mut index, mut begin, mut more) = (0, None, false);
    while let Some(message) = recording.next_message()? {
        let time = message.sample.capture;
        begin = begin.or(Some(time));
        for found in &message.sample.people {
            let full = seen.len() == LISTED_MAX && person != Some(found.id);
            if full && !seen.contains_key(&found.id) {
                more = true;
                continue;
            }
            let seen = seen.entry(found.id).or_insert(Seen {
                first: index,
                last: index,
                frames: 0,
                span: (time, time),
            });
            seen.last = index;
            seen.frames += 1;
            seen.span.1 = time;
        }
        index += 1;
    }
    let fits = |id: &u32| person.is_none_or(|person| person == *id);
    let mut fitting = seen.iter().filter(|(id, _)| fits(id));
    let (Some((&person, found)), None) = (fitting.next(), fitting.next()) else {
        return Err(ExportError::NothingFits(choice(person, &seen, more)));
    };
    Ok(Plan {
        person,
        first: found.first,
        frames: found.last - found.first + 1,
        begin: begin.unwrap_or_default(),
        span: found.span,
    })
}

/// Why no person, or not one alone, fits, and who there is.
fn choice(person: Option<u32>, seen: &BTreeMap<u32, Seen>, more: bool) -> String {
    if seen.is_empty() {
        return "there is no person in the recording".to_owned();
    }
    let mut text = match person {
        Some(person) => format!("person {person} is not in the recording, which has"),
        None => "there is more than one person in the recording, choose one with --person:".into(),
    };
    for (place, (id, seen)) in seen.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        // Writing into a String cannot fail.
        let _ = write!(text, "{comma} {id} ({} frames)", seen.frames);
    }
    if more {
        text.push_str(" and others");
    }
    text
}

/// Writes the frames of a plan; `name` is that of the file, which its first line repeats.
///
/// Joints are in [`Ground`]'s y-up axes in metres, measured and completed ones alike. Where the person or a joint is
/// absent, the fields are empty, which `OpenSim` reads as NaN.
///
/// # Errors
///
/// The recording cannot be read, or `out` not be written.
pub fn write<R: Read, W: Write>(
    recording: &mut Recording<R>,
    plan: &Plan,
    name: &str,
    out: &mut W,
) -> Result<(), ExportError> {
    let ground = Ground::of(recording.calibration());
    head(plan, name, out)?;
    each(recording, plan, |number, time_s, person| {
        write!(out, "{number}\t{time_s}\t")?;
        row(person, &ground, out)
    })?;
    out.flush()?;
    Ok(())
}

/// Calls `row` for each frame of a plan: its number from 1, its time in seconds since the first frame of the
/// recording, and the person, where they are in it.
pub(super) fn each<R: Read>(
    recording: &mut Recording<R>,
    plan: &Plan,
    mut row: impl FnMut(u64, &str, Option<&PersonPose>) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let (mut index, mut rows) = (0, 0);
    while rows < plan.frames
        && let Some(message) = recording.next_message()?
    {
        if index >= plan.first {
            rows += 1;
            let since = message.sample.capture.0.saturating_sub(plan.begin.0);
            let time_s = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
            let people = &message.sample.people;
            let person = people.iter().find(|person| person.id == plan.person);
            row(rows, &time_s, person)?;
        }
        index += 1;
    }
    Ok(())
}

fn head<W: Write>(plan: &Plan, name: &str, out: &mut W) -> std::io::Result<()> {
    let name = name.replace(char::is_control, "_");
    let (rate_hz, frames) = (plan.rate_hz(), plan.frames);
    writeln!(out, "PathFileType\t4\t(X/Y/Z)\t{name}")?;
    writeln!(
        out,
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames"
    )?;
    writeln!(
        out,
        "{rate_hz:.3}\t{rate_hz:.3}\t{frames}\t{JOINTS}\tm\t{rate_hz:.3}\t1\t{frames}"
    )?;
    // Every row ends with a tab, for OpenSim takes no notice of an empty last field without one.
    writeln!(out, "Frame#\tTime\t{}\t\t\t", JOINT_NAMES.join("\t\t\t"))?;
    write!(out, "\t\t")?;
    for marker in 1..=JOINTS {
        write!(out, "X{marker}\tY{marker}\tZ{marker}\t")?;
    }
    writeln!(out, "\n")
}

/// The places of a row, each before its tab.
fn row<W: Write>(person: Option<&PersonPose>, ground: &Ground, out: &mut W) -> std::io::Result<()> {
    for joint in 0..JOINTS {
        let known = person.filter(|person| person.states[joint] != JointState::Absent);
        match known.map(|person| ground.y_up(person.joints_camera_m[joint])) {
            Some(place) => write!(out, "{:.5}\t{:.5}\t{:.5}\t", place.x, place.y, place.z)?,
            None => write!(out, "\t\t\t")?,
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::output::export::tests::{frame, person, recorded};
    use crate::pose::PoseSample;

    fn converted(frames: &[PoseSample], id: Option<u32>) -> Result<String, ExportError> {
        let bytes = recorded(frames);
        let open = || Recording::of(&bytes[..], Path::new("x.poses")).unwrap();
        let plan = plan(&mut open(), id)?;
        let mut out = Vec::new();
        write(&mut open(), &plan, "walk\t1.trc", &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_person_has_a_row_for_each_frame_from_their_first_to_their_last() {
        let mut half = person(7);
        half.states[1] = JointState::Absent;
        let film = vec![
            frame(0, &[]),
            frame(1, &[person(7)]),
            frame(2, &[person(9)]),
            frame(3, &[person(9), half]),
            frame(4, &[]),
        ];
        let text = converted(&film, Some(7)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "PathFileType\t4\t(X/Y/Z)\twalk_1.trc");
        assert_eq!(lines[2], "30.000\t30.000\t3\t17\tm\t30.000\t1\t3");
        assert!(lines[3].starts_with("Frame#\tTime\tpelvis\t\t\tright_hip\t\t\tright_knee\t"));
        assert!(lines[4].starts_with("\t\tX1\tY1\tZ1\tX2\t") && lines[4].ends_with("\tZ17\t"));
        assert_eq!(lines[5], "");
        let rows: Vec<Vec<&str>> = lines[6..].iter().map(|l| l.split('\t').collect()).collect();
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.len() == 2 + 3 * JOINTS + 1));
        // The pelvis at (0, 0.25, 3) of the camera, then the hip beside it.
        assert_eq!(
            rows[0][..5],
            ["1", "0.033333333", "-3.00000", "-0.25000", "0.00000"]
        );
        assert_eq!(rows[0][5..8], ["-3.03125", "-0.12500", "-0.06250"]);
        assert_eq!(rows[1][..2], ["2", "0.066666666"]);
        assert!(rows[1][2..].iter().all(|field| field.is_empty()));
        assert_eq!(rows[2][5..8], ["", "", ""]);
        assert_eq!(rows[2][4], "0.00000");
    }

    #[test]
    fn who_is_to_be_exported_must_be_clear() {
        let message = |frames: &[PoseSample], id| {
            let error = converted(frames, id).unwrap_err();
            assert!(matches!(error, ExportError::NothingFits(_)), "{error:?}");
            error.to_string()
        };
        let two = [frame(0, &[person(7), person(9)]), frame(1, &[person(9)])];
        let text = message(&two, None);
        assert!(
            text.contains("--person: 7 (1 frames), 9 (2 frames)"),
            "{text}"
        );
        let text = message(&two, Some(8));
        assert!(
            text.contains("person 8 is not") && text.contains("7 (1 frames), 9"),
            "{text}"
        );
        for id in [None, Some(1)] {
            let text = message(&[frame(0, &[])], id);
            assert_eq!(text, "there is no person in the recording");
        }
        assert!(converted(&two, Some(9)).is_ok());
        assert!(converted(&[frame(0, &[person(3)])], None).is_ok());
        // One of a crowd is found, however late they come; the list of the others has an end.
        let crowd: Vec<PoseSample> = (0..40).map(|n| frame(n, &[person(n)])).collect();
        assert!(converted(&crowd, Some(39)).is_ok());
        let text = message(&crowd, None);
        assert!(text.ends_with("31 (1 frames) and others"), "{text}");
    }

    #[test]
    fn a_single_frame_has_the_rate_of_the_networks() {
        let text = converted(&[frame(5, &[person(1)])], None).unwrap();
        assert!(
            text.lines()
                .nth(2)
                .unwrap()
                .starts_with("30.000\t30.000\t1\t17\tm\t")
        );
        assert_eq!(text.lines().count(), 7);
    }
}
