//! Poses as ROS 2 messages, in CDR: a point cloud of the joints, markers to look at, and the camera's transform.
//!
//! All in the camera's optical frame (x right, y down, z forward, metres), as ROS has it for cameras. Definitions are
//! those of ROS 2 Jazzy; the texts beside them are what an MCAP file carries (`ros2msg`).

use glam::{Quat, Vec3};

use crate::base::cdr::CdrWriter;
use crate::pose::{JointState, PersonPose};
use crate::skeleton::{JOINTS, PARENTS, keypoint_of};

/// Definition of `sensor_msgs/msg/PointCloud2` and all it contains.
pub const POINT_CLOUD: (&str, &str) = (
    "sensor_msgs/msg/PointCloud2",
    include_str!("point_cloud2.msg"),
);

/// Definition of `visualization_msgs/msg/MarkerArray` and all it contains.
pub const MARKER_ARRAY: (&str, &str) = (
    "visualization_msgs/msg/MarkerArray",
    include_str!("marker_array.msg"),
);

/// Definition of `tf2_msgs/msg/TFMessage` and all it contains.
pub const TF_MESSAGE: (&str, &str) = ("tf2_msgs/msg/TFMessage", include_str!("tf_message.msg"));

/// `sensor_msgs/PointField`: what its `datatype` says.
const UINT8: u8 = 2;
const UINT32: u8 = 6;
const FLOAT32: u8 = 7;

/// Fields of a point: name, offset in bytes, type.
const FIELDS: [(&str, u32, u8); 8] = [
    ("x", 0, FLOAT32),
    ("y", 4, FLOAT32),
    ("z", 8, FLOAT32),
    ("confidence", 12, FLOAT32),
    ("sigma", 16, FLOAT32),
    ("person", 20, UINT32),
    ("joint", 24, UINT8),
    ("state", 25, UINT8),
];

/// Bytes from point to point: the fields, and two that make it a multiple of four.
const POINT_STEP: u32 = 28;

/// `visualization_msgs/Marker`: what its `type` says.
const LINE_LIST: i32 = 5;
const TEXT_VIEW_FACING: i32 = 9;

/// How long viewers show a marker that is not replaced, nanoseconds: a person who leaves vanishes.
const LIFETIME_NS: u32 = 500_000_000;

/// Width of a bone, metres.
const BONE_M: f64 = 0.02;

/// Height of the letters, metres.
const TEXT_M: f64 = 0.12;

/// How far above the head the label is, metres.
const TEXT_ABOVE_M: f32 = 0.25;

/// Colours of measured joints, of completed ones and of text: red, green, blue, 0 to 1.
const MEASURED: [f32; 3] = [0.2, 0.8, 0.4];
const COMPLETED: [f32; 3] = [1.0, 0.6, 0.1];
const WORDS: [f32; 3] = [0.9, 0.9, 0.9];

fn doubles(place: Vec3) -> [f64; 3] {
    place.to_array().map(f64::from)
}

/// `sensor_msgs/PointCloud2`: one point for each known joint of each person, into `bytes`.
///
/// Fields are `x`, `y`, `z` and `sigma` in metres (`sigma` relative to the person's root), `confidence` (0 to 1: that
/// of the keypoint which sees the joint, or the person's score where none does), `person` (id), `joint` (index in
/// [`JOINT_NAMES`](crate::skeleton::JOINT_NAMES)), `state` (1 measured, 2 completed). Absent joints have no point.
pub fn point_cloud(bytes: &mut Vec<u8>, unix_ns: u64, frame_id: &str, people: &[PersonPose]) {
    let states = people.iter().flat_map(|person| person.states);
    let known = states.filter(|state| *state != JointState::Absent);
    let width: u32 = known.map(|_| 1).sum();
    let mut cdr = CdrWriter::new(bytes);
    cdr.header(unix_ns, frame_id);
    cdr.u32(1); // height
    cdr.u32(width);
    cdr.count(FIELDS.len());
    for (name, offset, datatype) in FIELDS {
        cdr.string(name);
        cdr.u32(offset);
        cdr.u8(datatype);
        cdr.u32(1); // count
    }
    cdr.bool(false); // is_bigendian
    cdr.u32(POINT_STEP);
    cdr.u32(POINT_STEP * width); // row_step
    cdr.u32(POINT_STEP * width); // bytes of the data
    for person in people {
        for joint in 0..JOINTS {
            if person.states[joint] != JointState::Absent {
                point(&mut cdr, person, joint);
            }
        }
    }
    cdr.bool(true); // is_dense
}

/// The bytes of one point. The sequence begins at a multiple of four, and so does each point.
fn point(cdr: &mut CdrWriter<'_>, person: &PersonPose, joint: usize) {
    let place = person.joints_camera_m[joint];
    let confidence = keypoint_of(joint).map_or(person.score, |keypoint| {
        person.keypoints[keypoint].confidence
    });
    for value in [
        place.x,
        place.y,
        place.z,
        confidence,
        person.sigmas_m[joint],
    ] {
        cdr.f32(value);
    }
    cdr.u32(person.id);
    cdr.u8(u8::try_from(joint).expect("17 joints"));
    cdr.u8(person.states[joint] as u8);
    cdr.u8(0);
    cdr.u8(0);
}

/// `visualization_msgs/MarkerArray` into `bytes`: for each person their bones as lines (namespace `skeleton`; an end
/// that is completed is orange, one that is measured green) and above the head their id and action (`label`).
pub fn markers(bytes: &mut Vec<u8>, unix_ns: u64, frame_id: &str, people: &[PersonPose]) {
    let labelled = |person: &&PersonPose| label_place(person).is_some();
    let boned = |person: &&PersonPose| bones(person).next().is_some();
    let count = people.iter().filter(labelled).count() + people.iter().filter(boned).count();
    let mut cdr = CdrWriter::new(bytes);
    cdr.count(count);
    for person in people {
        let id = i32::from_le_bytes(person.id.to_le_bytes());
        if boned(&person) {
            let ends: Vec<usize> = bones(person).flatten().collect();
            marker_head(&mut cdr, unix_ns, frame_id, ("skeleton", id, LINE_LIST));
            cdr.pose_at([0.0; 3]);
            cdr.point([BONE_M, 0.0, 0.0]); // scale
            colour(&mut cdr, MEASURED);
            lifetime(&mut cdr);
            cdr.count(ends.len());
            for joint in &ends {
                cdr.point(doubles(person.joints_camera_m[*joint]));
            }
            cdr.count(ends.len());
            for joint in &ends {
                let completed = person.states[*joint] == JointState::Completed;
                colour(&mut cdr, if completed { COMPLETED } else { MEASURED });
            }
            marker_tail(&mut cdr, "");
        }
        if let Some(place) = label_place(person) {
            marker_head(&mut cdr, unix_ns, frame_id, ("label", id, TEXT_VIEW_FACING));
            cdr.pose_at(doubles(place));
            cdr.point([0.0, 0.0, TEXT_M]); // scale
            colour(&mut cdr, WORDS);
            lifetime(&mut cdr);
            cdr.count(0); // points
            cdr.count(0); // colors
            let text = match &person.action {
                Some(action) => format!("{} {}", person.id, action.label),
                None => person.id.to_string(),
            };
            marker_tail(&mut cdr, &text);
        }
    }
}

/// Pairs of joints that are both known and that a bone connects.
fn bones(person: &PersonPose) -> impl Iterator<Item = [usize; 2]> {
    let is_known = |joint: usize| person.states[joint] != JointState::Absent;
    (1..JOINTS)
        .map(|joint| [PARENTS[joint], joint])
        .filter(move |ends| ends.iter().all(|joint| is_known(*joint)))
}

/// Above the highest known joint of the head and neck, else above the pelvis.
fn label_place(person: &PersonPose) -> Option<Vec3> {
    let above = [10, 9, 8, 0]
        .into_iter()
        .find(|joint| person.states[*joint] != JointState::Absent)?;
    Some(person.joints_camera_m[above] - TEXT_ABOVE_M * Vec3::Y)
}

/// Fields of a marker before its pose.
fn marker_head(
    cdr: &mut CdrWriter<'_>,
    unix_ns: u64,
    frame_id: &str,
    (namespace, id, kind): (&str, i32, i32),
) {
    cdr.header(unix_ns, frame_id);
    cdr.string(namespace);
    cdr.i32(id);
    cdr.i32(kind);
    cdr.i32(0); // action: add
}

fn colour(cdr: &mut CdrWriter<'_>, [red, green, blue]: [f32; 3]) {
    for value in [red, green, blue, 1.0] {
        cdr.f32(value);
    }
}

fn lifetime(cdr: &mut CdrWriter<'_>) {
    cdr.i32(0);
    cdr.u32(LIFETIME_NS);
    cdr.bool(false); // frame_locked
}

/// Fields of a marker behind its colours: all empty but the text.
fn marker_tail(cdr: &mut CdrWriter<'_>, text: &str) {
    cdr.string(""); // texture_resource
    cdr.header(0, ""); // texture, a CompressedImage
    cdr.string("");
    cdr.byte_sequence(&[]);
    cdr.count(0); // uv_coordinates
    cdr.string(text);
    cdr.string(""); // mesh_resource
    cdr.string(""); // mesh_file
    cdr.byte_sequence(&[]);
    cdr.bool(false); // mesh_use_embedded_materials
}

/// `tf2_msgs/TFMessage` of one transform into `bytes`: where the origin of `child` is in `parent`, metres, and the
/// rotation from the child's axes to the parent's.
pub fn transform(
    bytes: &mut Vec<u8>,
    unix_ns: u64,
    [parent, child]: [&str; 2],
    place: Vec3,
    rotation: Quat,
) {
    let mut cdr = CdrWriter::new(bytes);
    cdr.count(1);
    cdr.header(unix_ns, parent);
    cdr.string(child);
    cdr.point(doubles(place));
    for value in rotation.to_array() {
        cdr.f64(value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::export::tests::person;

    #[test]
    fn a_cloud_has_a_point_for_each_known_joint() {
        let mut bytes = Vec::new();
        let mut one = person(70_000);
        one.states = [JointState::Absent; JOINTS];
        one.states[16] = JointState::Completed;
        one.keypoints[10].confidence = 0.5;
        point_cloud(&mut bytes, 1_790_005_000_123_456_789, "cam", &[one]);
        let data = bytes.len() - 1 - POINT_STEP as usize;
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(number(data - 4), POINT_STEP);
        let floats = [1.0_f32, -1.75, 3.5, 0.5, 0.015_625];
        for (at, want) in (data..).step_by(4).zip(floats) {
            assert_eq!(number(at), want.to_bits());
        }
        assert_eq!(number(data + 20), 70_000);
        assert_eq!(bytes[data + 24..], [16, 2, 0, 0, 1]);

        point_cloud(&mut bytes, 1, "cam", &[]);
        let empty = bytes.len();
        point_cloud(&mut bytes, 1, "cam", &[person(1), person(2)]);
        assert_eq!(bytes.len(), empty + 34 * POINT_STEP as usize);
        point_cloud(&mut bytes, 1, "cam", &[]);
        assert_eq!(bytes.len(), empty, "nothing of the message before is left");
    }

    #[test]
    fn only_bones_with_two_known_ends_are_drawn() {
        let mut one = person(1);
        assert_eq!(bones(&one).count(), 16);
        one.states[8] = JointState::Absent;
        // Neck, shoulders and spine end at the thorax.
        assert_eq!(bones(&one).count(), 12);
        one.states = [JointState::Absent; JOINTS];
        assert_eq!(bones(&one).count(), 0);
        let mut bytes = Vec::new();
        markers(&mut bytes, 1, "cam", &[one]);
        assert_eq!(bytes, [0, 1, 0, 0, 0, 0, 0, 0]);
    }
}
