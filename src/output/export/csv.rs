//! A table for spreadsheets, pandas and R: one row for each frame, person and joint, or joint angle.
//!
//! Text fields are quoted as RFC 4180 says; lines end with a line feed. Numbers have as many digits as it takes to
//! read back the same 32-bit float, and a point, whatever the locale.

use std::io::{Read, Write};

use glam::Vec3;

use super::ExportError;
use crate::camera::Mount;
use crate::motion::angles::{ANGLE_NAMES, angles_of};
use crate::output::record::Recording;
use crate::pose::{JointState, PersonPose};
use crate::skeleton::JOINT_NAMES;

/// The first line. `docs/guide/export.md` explains each column.
pub const COLUMNS: &str = "time_s,capture_ns,sequence,frame,person,score,joint,x_m,y_m,z_m,sigma_m,root_sigma_m,state,\
                           action,action_probability";

/// The first line of a table of angles.
pub const ANGLE_COLUMNS: &str = "time_s,capture_ns,sequence,frame,person,score,angle,deg,sigma_deg,state,action,action_probability";

/// What went into a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Frames of the recording, those without people too.
    pub frames: u64,
    /// Rows below the first line.
    pub rows: u64,
}

/// Writes all that is left of a recording.
///
/// # Errors
///
/// The recording cannot be read, or `out` not be written.
pub fn write<R: Read, W: Write>(
    recording: &mut Recording<R>,
    out: &mut W,
) -> Result<Written, ExportError> {
    write_rows(recording, out, COLUMNS, rows)
}

/// Writes the joint angles of all that is left of a recording, one row for each frame, person and angle.
///
/// # Errors
///
/// As [`write()`].
pub fn write_angles<R: Read, W: Write>(
    recording: &mut Recording<R>,
    out: &mut W,
) -> Result<Written, ExportError> {
    let up = recording.calibration().mount().map(Mount::up);
    write_rows(recording, out, ANGLE_COLUMNS, |person, time, out| {
        angle_rows(person, up, time, out)
    })
}

/// Writes a table, with the rows of each person that `rows` gives.
fn write_rows<R: Read, W: Write>(
    recording: &mut Recording<R>,
    out: &mut W,
    columns: &str,
    mut rows: impl FnMut(&PersonPose, &str, &mut W) -> std::io::Result<u64>,
) -> Result<Written, ExportError> {
    writeln!(out, "{columns}")?;
    let mut written = Written::default();
    let mut first = None;
    while let Some(message) = recording.next_message()? {
        let sample = &message.sample;
        let begin = *first.get_or_insert(sample.capture);
        let (sign, since) = match sample.capture.0.checked_sub(begin.0) {
            Some(since) => ("", since),
            None => ("-", begin.0 - sample.capture.0),
        };
        let time = format!(
            "{sign}{}.{:09},{},{},{}",
            since / 1_000_000_000,
            since % 1_000_000_000,
            sample.capture.0,
            message.sequence,
            sample.frame_sequence
        );
        for person in &sample.people {
            written.rows += rows(person, &time, out)?;
        }
        written.frames += 1;
    }
    out.flush()?;
    Ok(written)
}

/// The rows of one person in one frame.
fn rows<W: Write>(person: &PersonPose, time: &str, out: &mut W) -> std::io::Result<u64> {
    let action = action(person);
    let root_sigma = if person.is_placed() {
        person.root_sigma_m.to_string()
    } else {
        String::new()
    };
    for (joint, name) in JOINT_NAMES.iter().enumerate() {
        write!(out, "{time},{},{},{name},", person.id, person.score)?;
        let state = person.states[joint];
        if state == JointState::Absent {
            write!(out, ",,,")?;
        } else {
            let place = person.joints_camera_m[joint];
            let sigma = person.sigmas_m[joint];
            write!(out, "{},{},{},{sigma}", place.x, place.y, place.z)?;
        }
        let state = word(state);
        writeln!(out, ",{root_sigma},{state},{action}")?;
    }
    Ok(JOINT_NAMES.len() as u64)
}

/// The rows of the angles of one person in one frame.
fn angle_rows<W: Write>(
    person: &PersonPose,
    up: Option<Vec3>,
    time: &str,
    out: &mut W,
) -> std::io::Result<u64> {
    let action = action(person);
    for (name, angle) in ANGLE_NAMES.iter().zip(angles_of(person, up)) {
        write!(out, "{time},{},{},{name},", person.id, person.score)?;
        match angle.known() {
            Some(deg) => write!(out, "{deg},{}", angle.sigma_deg)?,
            None => write!(out, ",")?,
        }
        writeln!(out, ",{},{action}", word(angle.state))?;
    }
    Ok(ANGLE_NAMES.len() as u64)
}

/// What a person does, as two fields.
fn action(person: &PersonPose) -> String {
    match &person.action {
        Some(action) => format!("{},{}", quoted(&action.label), action.probability),
        None => ",".to_owned(),
    }
}

const fn word(state: JointState) -> &'static str {
    match state {
        JointState::Absent => "absent",
        JointState::Measured => "measured",
        JointState::Completed => "completed",
    }
}

/// A text as a field: in quotes where it holds what separates fields or lines, or blanks that a reader may drop.
fn quoted(text: &str) -> String {
    let plain = !text.contains([',', '"', '\n', '\r']) && text.trim() == text;
    if plain {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::output::export::tests::{frame, person, recorded};
    use crate::pose::{Action, ActionSource};

    fn table(frames: &[crate::pose::PoseSample]) -> (String, Written) {
        let bytes = recorded(frames);
        let mut recording = Recording::of(&bytes[..], Path::new("x.poses")).unwrap();
        let mut out = Vec::new();
        let written = write(&mut recording, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), written)
    }

    #[test]
    fn a_frame_without_people_has_no_row() {
        let (text, written) = table(&[frame(0, &[]), frame(1, &[])]);
        assert_eq!(text, format!("{COLUMNS}\n"));
        assert_eq!(written, Written { frames: 2, rows: 0 });
        let (text, written) = table(&[]);
        assert_eq!(text, format!("{COLUMNS}\n"));
        assert_eq!(written, Written::default());
    }

    #[test]
    fn each_joint_has_a_row_and_an_absent_one_has_empty_fields() {
        let mut first = person(7);
        first.states[2] = JointState::Absent;
        first.states[3] = JointState::Completed;
        let (text, written) = table(&[frame(0, &[]), frame(1, &[first, person(9)])]);
        assert_eq!(
            written,
            Written {
                frames: 2,
                rows: 34
            }
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 35);
        let width = COLUMNS.split(',').count();
        assert!(lines.iter().all(|line| line.split(',').count() == width));
        assert_eq!(
            lines[1],
            "0.033333333,1033333333,1,1,7,0.75,pelvis,0,0.25,3,0.015625,0.0625,measured,,"
        );
        assert_eq!(
            lines[3],
            "0.033333333,1033333333,1,1,7,0.75,right_knee,,,,,0.0625,absent,,"
        );
        assert!(lines[4].contains(",right_ankle,0.1875,") && lines[4].contains(",completed,"));
        assert!(lines[18].starts_with("0.033333333,1033333333,1,1,9,"));
    }

    #[test]
    fn a_table_of_angles_has_a_row_for_each_and_empty_fields_where_one_is_absent() {
        let mut one = person(7);
        one.states[3] = JointState::Absent;
        // A leg that is bent by a right angle; its ankle is where the other has one.
        let hip = one.joints_camera_m[4];
        one.joints_camera_m[5] = hip + Vec3::new(0.0, 0.4, 0.0);
        one.joints_camera_m[6] = hip + Vec3::new(0.0, 0.4, 0.4);
        let bytes = recorded(&[frame(0, &[]), frame(1, &[one])]);
        let mut recording = Recording::of(&bytes[..], Path::new("x.poses")).unwrap();
        let mut out = Vec::new();
        let written = write_angles(&mut recording, &mut out).unwrap();
        assert_eq!((written.frames, written.rows), (2, 15));
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let width = ANGLE_COLUMNS.split(',').count();
        assert!(lines.iter().all(|line| line.split(',').count() == width));
        assert!(lines[5].starts_with("0.033333333,1033333333,1,1,7,0.75,left_knee_flexion,90,"));
        assert!(lines[5].ends_with(",measured,,"), "{}", lines[5]);
        assert!(
            lines[6].ends_with(",right_knee_flexion,,,absent,,"),
            "{}",
            lines[6]
        );
        assert!(
            lines[13].ends_with(",trunk_flexion,,,absent,,"),
            "{}",
            lines[13]
        );
    }

    #[test]
    fn a_label_cannot_leave_its_field() {
        let mut one = person(1);
        one.action = Some(Action {
            label: "a \"squat\", then,1,2".try_into().unwrap(),
            probability: 0.5,
            source: ActionSource::Hint,
        });
        let (text, _) = table(&[frame(0, &[one])]);
        let line = text.lines().nth(1).unwrap();
        assert!(
            line.ends_with(",measured,\"a \"\"squat\"\", then,1,2\",0.5"),
            "{line}"
        );
        // None of these can be in a recording, whose reader refuses control characters.
        assert_eq!(quoted("a\nb"), "\"a\nb\"");
        assert_eq!(quoted("a\rb"), "\"a\rb\"");
        assert_eq!(quoted(" a"), "\" a\"");
        assert_eq!(quoted("=1+1 'a' ü;\t."), "=1+1 'a' ü;\t.");
        assert_eq!(quoted(""), "");
    }

    #[test]
    fn numbers_read_back_as_the_same_floats() {
        let mut one = person(1);
        let hard = [
            0.1_f32,
            1.0e-9,
            123_456.79,
            -0.333_333_34,
            f32::MIN_POSITIVE,
        ];
        for (joint, value) in hard.into_iter().enumerate() {
            one.joints_camera_m[joint].x = value;
        }
        let (text, _) = table(&[frame(0, &[one])]);
        for (line, value) in text.lines().skip(1).zip(hard) {
            let field = line.split(',').nth(7).unwrap();
            assert_eq!(field.parse::<f32>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_table_that_cannot_be_written_is_an_error_of_writing() {
        let bytes = recorded(&[frame(0, &[person(1)])]);
        let mut recording = Recording::of(&bytes[..], Path::new("x.poses")).unwrap();
        let mut small = [0_u8; 200];
        let error = write(&mut recording, &mut &mut small[..]).unwrap_err();
        assert!(matches!(error, ExportError::Write(_)), "{error:?}");
    }
}
