//! MOT, the motion files of `OpenSim`: the joint angles of one person, one row a frame, tabs between the columns.
//!
//! Planned like markers ([`super::trc::plan`]), then written.

use std::io::{Read, Write};

use super::ExportError;
use super::trc::{Plan, each};
use crate::camera::Mount;
use crate::motion::angles::{ANGLES, angles_of};
use crate::output::record::Recording;

/// Name of each angle's column, and what it is multiplied by. Where a coordinate of `OpenSim`'s full-body models
/// (Rajagopal 2016) has the same direction, it has that name; those count adduction.
const COLUMNS: [(&str, f32); ANGLES] = [
    ("hip_flexion_l", 1.0),
    ("hip_flexion_r", 1.0),
    ("hip_adduction_l", -1.0),
    ("hip_adduction_r", -1.0),
    ("knee_angle_l", 1.0),
    ("knee_angle_r", 1.0),
    ("arm_flex_l", 1.0),
    ("arm_flex_r", 1.0),
    ("arm_add_l", -1.0),
    ("arm_add_r", -1.0),
    ("elbow_flex_l", 1.0),
    ("elbow_flex_r", 1.0),
    ("trunk_flexion", 1.0),
    ("trunk_lateral_lean", 1.0),
    ("neck_flexion", 1.0),
];

/// Writes the frames of a plan; `name` is that of the file, which its first line repeats.
///
/// Angles are in degrees, measured and completed ones alike. Where the person or an angle is absent, it is NaN.
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
    let up = recording.calibration().mount().map(Mount::up);
    let name = name.replace(char::is_control, "_");
    writeln!(out, "{name}\nversion=1\nnRows={}", plan.frames())?;
    writeln!(out, "nColumns={}\ninDegrees=yes\nendheader", 1 + ANGLES)?;
    writeln!(out, "time\t{}", COLUMNS.map(|(name, _)| name).join("\t"))?;
    each(recording, plan, |_, time_s, person| {
        write!(out, "{time_s}")?;
        let angles = person.map(|person| angles_of(person, up));
        for (place, (_, sign)) in COLUMNS.iter().enumerate() {
            match angles.as_ref().and_then(|angles| angles[place].known()) {
                Some(deg) => write!(out, "\t{:.3}", sign * deg)?,
                None => write!(out, "\tNaN")?,
            }
        }
        writeln!(out)
    })?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use glam::Vec3;

    use super::*;
    use crate::output::export::tests::{frame, person, recorded};
    use crate::output::export::trc::plan;

    #[test]
    fn a_row_holds_the_angles_under_the_names_of_opensim() {
        let mut one = person(3);
        let [hip, shoulder] = [one.joints_camera_m[4], one.joints_camera_m[11]];
        one.joints_camera_m[5] = hip + Vec3::new(0.0, 0.4, 0.0);
        one.joints_camera_m[6] = hip + Vec3::new(0.0, 0.4, 0.4);
        one.joints_camera_m[12] = shoulder + Vec3::new(0.0, 0.3, 0.0);
        one.joints_camera_m[13] = shoulder + Vec3::new(0.3, 0.3, 0.0);
        let film = vec![
            frame(0, &[]),
            frame(1, &[one.clone()]),
            frame(2, &[]),
            frame(3, &[one]),
        ];
        let bytes = recorded(&film);
        let open = || Recording::of(&bytes[..], Path::new("x.poses")).unwrap();
        let plan = plan(&mut open(), None).unwrap();
        let mut out = Vec::new();
        write(&mut open(), &plan, "a\tb.mot", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "a_b.mot",
                "version=1",
                "nRows=3",
                "nColumns=16",
                "inDegrees=yes",
                "endheader"
            ]
        );
        let names: Vec<&str> = lines[6].split('\t').collect();
        let rows: Vec<Vec<&str>> = lines[7..].iter().map(|l| l.split('\t').collect()).collect();
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.len() == 16));
        let at = |name| names.iter().position(|own| *own == name).unwrap();
        assert_eq!(rows[0][at("time")], "0.033333333");
        assert_eq!(rows[0][at("knee_angle_l")], "90.000");
        // Raised by the variance of the bones: joints have a sigma of 16 mm.
        assert_eq!(rows[0][at("elbow_flex_l")], "90.000");
        assert_eq!(rows[0][at("trunk_flexion")], "NaN");
        assert!(rows[1][1..].iter().all(|field| *field == "NaN"));
        assert_eq!(rows[2], [&["0.099999999"][..], &rows[0][1..]].concat());
    }

    #[test]
    fn columns_stand_in_the_order_of_the_angles() {
        use crate::motion::angles::ANGLE_NAMES;
        for ((column, sign), name) in COLUMNS.iter().zip(ANGLE_NAMES) {
            let left = name.starts_with("left_") == column.ends_with("_l");
            assert!(left, "{column} {name}");
            let limb = ["hip", "knee", "elbow", "trunk", "neck"];
            assert!(
                limb.iter()
                    .all(|limb| name.contains(limb) == column.contains(limb)),
                "{column} {name}"
            );
            assert_eq!(
                column.contains("add"),
                name.contains("abduction"),
                "{column}"
            );
            assert_eq!(*sign < 0.0, column.contains("add"), "{column}");
        }
    }
}
