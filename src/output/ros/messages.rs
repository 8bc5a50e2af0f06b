//! Poses and health as ROS 2 messages, field by field as their definitions have them. Live ones and those of MCAP files
//! ([`crate::output::export::mcap`]) are the same.

use glam::{Quat, Vec3};
use serde_json::Value;

use crate::base::cdr::CdrWriter;
use crate::pose::{JointState, Keypoint, PersonPose};
use crate::skeleton::{JOINTS, KEYPOINTS, PARENTS, keypoint_of};

/// Fields of a point: name, offset in bytes, and type as `sensor_msgs/PointField` numbers them.
const FIELDS: [(&str, u32, u8); 8] = [
    ("x", 0, FLOAT32),
    ("y", 4, FLOAT32),
    ("z", 8, FLOAT32),
    ("confidence", 12, FLOAT32),
    ("sigma", 16, FLOAT32),
    ("state", 20, UINT8),
    ("joint", 21, UINT8),
    ("person", 22, UINT16),
];

const UINT8: u8 = 2;
const UINT16: u8 = 4;
const FLOAT32: u8 = 7;

/// Bytes of a point.
const POINT_BYTES: u32 = 24;

/// `visualization_msgs/Marker`: pairs of points with a line between them.
const LINE_LIST: i32 = 5;

/// `visualization_msgs/Marker`: a text that always faces the viewer.
const TEXT_VIEW_FACING: i32 = 9;

/// Width of a bone's line, metres.
const LINE_M: f64 = 0.02;

/// Height of a label's capitals, metres, and how far above the head it is.
const LABEL_M: f64 = 0.15;
const LABEL_ABOVE_M: f32 = 0.25;

/// How long a viewer shows a marker, nanoseconds: a person who has left vanishes by then.
const MARKER_NS: u32 = 500_000_000;

/// Opacity of a bone with an end that the camera does not see.
const COMPLETED_ALPHA: f32 = 0.4;

/// Colours of people, by id. Those of Okabe and Ito, which most colour-blind people can tell apart.
const COLOURS: [[f32; 3]; 6] = [
    [0.34, 0.71, 0.91],
    [0.90, 0.62, 0.0],
    [0.0, 0.62, 0.45],
    [0.94, 0.89, 0.26],
    [0.80, 0.47, 0.65],
    [0.84, 0.37, 0.0],
];

/// COCO keypoints of a joint that no single one stands for: the joint is between them, and so as sure as the less
/// sure. The head is as sure as the surest of the face, since the other half is turned away.
const PELVIS: usize = 0;
const SPINE: usize = 7;
const HEAD: usize = 10;
const FACE: [usize; 5] = [0, 1, 2, 3, 4];
const SHOULDERS: [usize; 2] = [5, 6];
const HIPS: [usize; 2] = [11, 12];

/// How sure the person network is of a joint, 0 to 1, from the keypoints it gives.
pub(super) fn confidence(keypoints: &[Keypoint; KEYPOINTS], joint: usize) -> f32 {
    let of = |index: usize| keypoints[index].confidence;
    let least = |of_all: &[usize]| of_all.iter().map(|&k| of(k)).fold(1.0, f32::min);
    match (keypoint_of(joint), joint) {
        (Some(keypoint), _) => of(keypoint),
        (None, PELVIS) => least(&HIPS),
        (None, SPINE) => least(&HIPS).min(least(&SHOULDERS)),
        (None, HEAD) => FACE.iter().map(|&k| of(k)).fold(0.0, f32::max),
        // Thorax and neck.
        (None, _) => least(&SHOULDERS),
    }
}

/// Whether there is anything known of a joint.
fn is_known(person: &PersonPose, joint: usize) -> bool {
    person.states[joint] != JointState::Absent
}

/// `sensor_msgs/PointCloud2`: the joints of all people, one point each, in one row. Absent joints are left out.
pub(in crate::output) fn joints(
    out: &mut Vec<u8>,
    unix_ns: u64,
    frame: &str,
    people: &[PersonPose],
) {
    let mut data = Vec::with_capacity(people.len() * JOINTS * POINT_BYTES as usize);
    let mut points = 0;
    for person in people {
        for joint in (0..JOINTS).filter(|&joint| is_known(person, joint)) {
            let at = person.joints_camera_m[joint];
            let confidence = confidence(&person.keypoints, joint);
            for value in [at.x, at.y, at.z, confidence, person.sigmas_m[joint]] {
                data.extend_from_slice(&value.to_le_bytes());
            }
            data.push(person.states[joint] as u8);
            data.push(u8::try_from(joint).unwrap_or(u8::MAX));
            data.extend_from_slice(&low_half(person.id).to_le_bytes());
            points += 1;
        }
    }
    let mut cdr = CdrWriter::new(out);
    cdr.header(unix_ns, frame);
    cdr.u32(1);
    cdr.u32(points);
    cdr.count(FIELDS.len());
    for (name, offset, kind) in FIELDS {
        cdr.string(name);
        cdr.u32(offset);
        cdr.u8(kind);
        cdr.u32(1);
    }
    let is_bigendian = false;
    cdr.bool(is_bigendian);
    cdr.u32(POINT_BYTES);
    cdr.u32(POINT_BYTES * points);
    cdr.byte_sequence(&data);
    let is_dense = true;
    cdr.bool(is_dense);
}

/// The low half of an id: two people in view share it only if 65536 came between them.
#[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
const fn low_half(id: u32) -> u16 {
    id as u16
}

/// `visualization_msgs/MarkerArray`: of each person the bones between known joints, and a label with id and action.
pub(in crate::output) fn markers(
    out: &mut Vec<u8>,
    unix_ns: u64,
    frame: &str,
    people: &[PersonPose],
) {
    let shown = |person: &&PersonPose| (0..JOINTS).any(|joint| is_known(person, joint));
    let people: Vec<&PersonPose> = people.iter().filter(shown).collect();
    let mut cdr = CdrWriter::new(out);
    cdr.count(2 * people.len());
    for person in people {
        let [red, green, blue] = COLOURS[person.id as usize % COLOURS.len()];
        let colour = |alpha| [red, green, blue, alpha];
        let mut bones: Vec<([Vec3; 2], f32)> = Vec::with_capacity(JOINTS);
        for (joint, parent) in PARENTS.into_iter().enumerate().skip(1) {
            if is_known(person, joint) && is_known(person, parent) {
                let seen = [joint, parent].map(|end| person.states[end] == JointState::Measured);
                let alpha = if seen == [true; 2] {
                    1.0
                } else {
                    COMPLETED_ALPHA
                };
                bones.push((
                    [parent, joint].map(|end| person.joints_camera_m[end]),
                    alpha,
                ));
            }
        }
        let head = if is_known(person, HEAD) {
            person.joints_camera_m[HEAD]
        } else {
            person.root_camera_m
        };
        let text = match &person.action {
            Some(action) => format!("{} {}", person.id, action.label),
            None => person.id.to_string(),
        };
        let mut marker = Marker {
            namespace: "skeleton",
            id: person.id.cast_signed(),
            kind: LINE_LIST,
            at: Vec3::ZERO,
            scale: [LINE_M, 0.0, 0.0],
            colour: colour(1.0),
            bones: &bones,
            text: "",
        };
        marker.write(&mut cdr, unix_ns, frame);
        marker = Marker {
            namespace: "label",
            kind: TEXT_VIEW_FACING,
            // Up in the image, as the optical frame has it.
            at: head - LABEL_ABOVE_M * Vec3::Y,
            scale: [0.0, 0.0, LABEL_M],
            bones: &[],
            text: &text,
            ..marker
        };
        marker.write(&mut cdr, unix_ns, frame);
    }
}

/// What differs between our markers.
struct Marker<'a> {
    namespace: &'a str,
    id: i32,
    kind: i32,
    at: Vec3,
    scale: [f64; 3],
    colour: [f32; 4],
    /// Ends of each bone, and its opacity.
    bones: &'a [([Vec3; 2], f32)],
    text: &'a str,
}

impl Marker<'_> {
    /// `visualization_msgs/Marker`.
    fn write(&self, cdr: &mut CdrWriter<'_>, unix_ns: u64, frame: &str) {
        const ADD: i32 = 0;
        cdr.header(unix_ns, frame);
        cdr.string(self.namespace);
        cdr.i32(self.id);
        cdr.i32(self.kind);
        cdr.i32(ADD);
        cdr.pose_at(doubles(self.at));
        cdr.point(self.scale);
        put_colour(cdr, self.colour);
        // Lifetime, and whether the marker moves with its frame.
        cdr.i32(0);
        cdr.u32(MARKER_NS);
        cdr.bool(false);
        cdr.count(2 * self.bones.len());
        for end in self.bones.iter().flat_map(|(ends, _)| ends) {
            cdr.point(doubles(*end));
        }
        let [red, green, blue, _] = self.colour;
        cdr.count(2 * self.bones.len());
        for (_, alpha) in self.bones {
            put_colour(cdr, [red, green, blue, *alpha]);
            put_colour(cdr, [red, green, blue, *alpha]);
        }
        // No texture: its resource, the image's header, format and bytes, its coordinates.
        cdr.string("");
        cdr.header(0, "");
        cdr.string("");
        cdr.byte_sequence(&[]);
        cdr.count(0);
        cdr.string(self.text);
        // No mesh: its resource, the file's name and bytes, whether its materials are used.
        cdr.string("");
        cdr.string("");
        cdr.byte_sequence(&[]);
        cdr.bool(false);
    }
}

fn doubles(point: Vec3) -> [f64; 3] {
    point.as_dvec3().to_array()
}

/// `std_msgs/ColorRGBA`.
fn put_colour(cdr: &mut CdrWriter<'_>, colour: [f32; 4]) {
    for value in colour {
        cdr.f32(value);
    }
}

/// COCO keypoints in the order of `hri_msgs/Skeleton2D`, which is that of `OpenPose`; none: the neck, between the shoulders.
const SKELETON: [Option<usize>; 18] = [
    Some(0),
    None,
    Some(6),
    Some(8),
    Some(10),
    Some(5),
    Some(7),
    Some(9),
    Some(12),
    Some(14),
    Some(16),
    Some(11),
    Some(13),
    Some(15),
    Some(2),
    Some(1),
    Some(4),
    Some(3),
];

/// `hri_msgs/IdsList`: who is in view.
pub(super) fn ids(out: &mut Vec<u8>, unix_ns: u64, frame: &str, ids: &[&str]) {
    let mut cdr = CdrWriter::new(out);
    cdr.header(unix_ns, frame);
    cdr.count(ids.len());
    for id in ids {
        cdr.string(id);
    }
}

/// A length as a share of the image's, 0 to 1.
#[expect(
    clippy::cast_precision_loss,
    reason = "images have fewer than 2^24 pixels a side"
)]
fn share(px: f32, of: u32) -> f32 {
    (px / of.max(1) as f32).clamp(0.0, 1.0)
}

/// `hri_msgs/NormalizedRegionOfInterest2D`: the box of a person, as shares of an image of `size` (columns, rows).
pub(super) fn roi(
    out: &mut Vec<u8>,
    unix_ns: u64,
    frame: &str,
    person: &PersonPose,
    size: [u32; 2],
) {
    let [width, height] = size;
    let bounds = &person.bounds;
    let mut cdr = CdrWriter::new(out);
    cdr.header(unix_ns, frame);
    cdr.f32(share(bounds.left, width));
    cdr.f32(share(bounds.top, height));
    cdr.f32(share(bounds.right, width));
    cdr.f32(share(bounds.bottom, height));
    cdr.f32(person.score);
}

/// `hri_msgs/Skeleton2D`: the keypoints of a person, as shares of an image of `size` (columns, rows). One that is not
/// seen is all zeros.
pub(super) fn skeleton(
    out: &mut Vec<u8>,
    unix_ns: u64,
    frame: &str,
    person: &PersonPose,
    size: [u32; 2],
) {
    let [width, height] = size;
    let of = |index: usize| {
        let keypoint = &person.keypoints[index];
        let [x, y] = [share(keypoint.x_px, width), share(keypoint.y_px, height)];
        keypoint.is_seen().then_some([x, y, keypoint.confidence])
    };
    let neck = || {
        let ([ax, ay, ac], [bx, by, bc]) = (of(SHOULDERS[0])?, of(SHOULDERS[1])?);
        Some([f32::midpoint(ax, bx), f32::midpoint(ay, by), ac.min(bc)])
    };
    let mut cdr = CdrWriter::new(out);
    cdr.header(unix_ns, frame);
    for keypoint in SKELETON {
        let point = keypoint.map_or_else(neck, of);
        for value in point.unwrap_or_default() {
            cdr.f32(value);
        }
    }
}

/// Parts of a health message that say nothing of the daemon's state.
const NOT_DIAGNOSED: [&str; 6] = [
    "schema",
    "sequence",
    "camera",
    "clock",
    "publish_ns",
    "unix_ns",
];

/// `diagnostic_msgs/DiagnosticArray`: the health message of `camera` on `device`, as one status.
pub(in crate::output) fn diagnostics(
    out: &mut Vec<u8>,
    unix_ns: u64,
    camera: &str,
    device: &str,
    health: &Value,
) {
    let (level, message) = verdict(health);
    let mut values = Vec::new();
    for (key, value) in health.as_object().into_iter().flatten() {
        if !NOT_DIAGNOSED.contains(&key.as_str()) {
            flatten(key, value, &mut values);
        }
    }
    let mut cdr = CdrWriter::new(out);
    cdr.header(unix_ns, "");
    cdr.count(1);
    cdr.u8(level as u8);
    cdr.string(&format!("poised: {camera}"));
    cdr.string(&message);
    cdr.string(device);
    cdr.count(values.len());
    for (key, value) in &values {
        cdr.string(key);
        cdr.string(value);
    }
}

/// Levels of `diagnostic_msgs/DiagnosticStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum DiagnosticLevel {
    Ok = 0,
    Warn = 1,
    Error = 2,
}

/// How the daemon is, and why in words.
fn verdict(health: &Value) -> (DiagnosticLevel, String) {
    let word = |path: &str| {
        health
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or("unknown")
    };
    let mut level = DiagnosticLevel::Ok;
    let mut reasons = Vec::new();
    let mut found = |at: DiagnosticLevel, reason: String| {
        level = level.max(at);
        reasons.push(reason);
    };
    match word("/camera_state") {
        "running" => {}
        state @ "opening" => found(DiagnosticLevel::Warn, format!("camera {state}")),
        state => found(DiagnosticLevel::Error, format!("camera {state}")),
    }
    if word("/estimate_state") != "working" {
        found(DiagnosticLevel::Error, "networks fail".to_owned());
    }
    match word("/load/level") {
        "full" => {}
        load => found(DiagnosticLevel::Warn, format!("load shed: {load}")),
    }
    if reasons.is_empty() {
        reasons.push("running".to_owned());
    }
    (level, reasons.join(", "))
}

/// The values in `value` as text, those of maps under the names of both.
fn flatten(key: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (inner, value) in map {
                flatten(&format!("{key}.{inner}"), value, into);
            }
        }
        Value::Null => into.push((key.to_owned(), String::new())),
        Value::String(text) => into.push((key.to_owned(), text.clone())),
        #[expect(clippy::cast_possible_truncation, reason = "it was a float of 32 bits")]
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default() as f32;
            into.push((key.to_owned(), value.to_string()));
        }
        other => into.push((key.to_owned(), other.to_string())),
    }
}

/// `tf2_msgs/TFMessage`: where the optical frame is in the frame on the floor below the camera.
pub(in crate::output) fn transform(
    out: &mut Vec<u8>,
    unix_ns: u64,
    (parent, child): (&str, &str),
    height_m: f32,
    rotation: Quat,
) {
    let mut cdr = CdrWriter::new(out);
    cdr.count(1);
    cdr.header(unix_ns, parent);
    cdr.string(child);
    cdr.point([0.0, 0.0, height_m.into()]);
    for value in rotation.to_array() {
        cdr.f64(value.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pose::{Action, ActionSource, BoxPx, HeadTag, Size};

    /// The stamp of the messages that ROS 2 Jazzy read.
    const STAMP_NS: u64 = 1_790_005_000_123_456_789;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    /// A person of whom one joint is measured and one completed.
    fn person() -> PersonPose {
        let mut person = PersonPose {
            id: 65_536 + 7,
            score: 0.9,
            bounds: BoxPx::default(),
            root_camera_m: Vec3::new(0.25, -0.5, 3.0),
            root_sigma_m: 0.1,
            joints_camera_m: [Vec3::ZERO; JOINTS],
            sigmas_m: [0.0; JOINTS],
            states: [JointState::Absent; JOINTS],
            keypoints: std::array::from_fn(|k| Keypoint::new(1.0, 1.0, [0.5, 0.75][k % 2])),
            size: Size::default(),
            action: None,
            head: HeadTag::default(),
        };
        person.joints_camera_m[0] = person.root_camera_m;
        person.sigmas_m[0] = 0.0625;
        person.states[0] = JointState::Measured;
        person.joints_camera_m[1] = Vec3::new(1.0, 2.0, 4.0);
        person.states[1] = JointState::Completed;
        person
    }

    #[test]
    fn points_are_those_that_ros_2_jazzy_reads() {
        let mut one = person();
        one.states[1] = JointState::Absent;
        let mut out = Vec::new();
        joints(&mut out, STAMP_NS, "cam", &[one]);
        let begin = hex(
            "00010000 084fb16a 15cd5b07 04000000 63616d00 01000000 01000000 08000000 \
             02000000 7800 0000 00000000 07 000000 01000000",
        );
        assert_eq!(out[..begin.len()], begin);
        let end = hex("00 000000 18000000 18000000 18000000 \
             0000803e 000000bf 00004040 0000003f 0000803d 01 00 0700 01");
        assert_eq!(out[out.len() - end.len()..], end);
        // All fields lie in a point, one behind the other.
        let mut expected = 0;
        for (name, offset, kind) in FIELDS {
            assert_eq!(offset, expected, "{name}");
            expected += [0, 0, 1, 0, 2, 0, 0, 4][usize::from(kind)];
        }
        assert_eq!(expected, POINT_BYTES);
    }

    #[test]
    fn joints_that_are_not_known_are_left_out_and_an_empty_room_has_no_points() {
        let (mut two, mut none) = (Vec::new(), Vec::new());
        joints(&mut two, STAMP_NS, "cam", &[person()]);
        joints(&mut none, STAMP_NS, "cam", &[]);
        assert_eq!(two.len(), none.len() + 2 * POINT_BYTES as usize);
        let width = |message: &[u8]| message[24..28].to_vec();
        assert_eq!(width(&two), [2, 0, 0, 0]);
        assert_eq!(width(&none), [0; 4]);
        let last = &two[two.len() - 5..];
        assert_eq!(last, [JointState::Completed as u8, 1, 7, 0, 1]);
    }

    #[test]
    fn a_joint_is_as_sure_as_the_keypoints_around_it() {
        let mut keypoints = [Keypoint::default(); KEYPOINTS];
        for (k, keypoint) in (0_u8..).zip(&mut keypoints) {
            keypoint.confidence = f32::from(k) / 100.0;
        }
        for (joint, percent) in [
            (0, 11.0),
            (1, 12.0),
            (7, 5.0),
            (8, 5.0),
            (9, 5.0),
            (10, 4.0),
            (16, 10.0),
        ] {
            let got = 100.0 * confidence(&keypoints, joint);
            assert!((got - percent).abs() < 1e-4, "{joint}: {got}");
        }
    }

    #[test]
    fn a_person_has_a_skeleton_and_a_label() {
        let (mut out, mut plain) = (Vec::new(), Vec::new());
        let mut named = person();
        markers(&mut plain, STAMP_NS, "cam", std::slice::from_ref(&named));
        named.action = Some(Action {
            label: "squats".try_into().unwrap(),
            probability: 1.0,
            source: ActionSource::Hint,
        });
        markers(&mut out, STAMP_NS, "cam", std::slice::from_ref(&named));
        assert_eq!(out[4..8], [2, 0, 0, 0]);
        let text = |bytes: &[u8], wanted: &str| {
            let found = bytes
                .windows(wanted.len())
                .filter(|w| *w == wanted.as_bytes());
            found.count()
        };
        assert_eq!(text(&out, "skeleton\0"), 1);
        assert_eq!(text(&out, "65543 squats\0"), 1);
        assert_eq!(text(&plain, "65543\0"), 1);
        // Nothing is drawn of a person without a pose.
        named.states = [JointState::Absent; JOINTS];
        markers(&mut out, STAMP_NS, "cam", &[named]);
        assert_eq!(out, hex("00010000 00000000"));
    }

    #[test]
    fn the_level_of_the_diagnostics_is_that_of_the_worst_part() {
        let health = |camera: &str, estimate: &str, load: &str| json!({"camera_state": camera, "estimate_state": estimate, "load": {"level": load}});
        for (state, level, message) in [
            (
                health("running", "working", "full"),
                DiagnosticLevel::Ok,
                "running",
            ),
            (
                health("running", "working", "turns"),
                DiagnosticLevel::Warn,
                "load shed: turns",
            ),
            (
                health("opening", "working", "full"),
                DiagnosticLevel::Warn,
                "camera opening",
            ),
            (
                health("silent", "failing", "saving"),
                DiagnosticLevel::Error,
                "camera silent, networks fail, load shed: saving",
            ),
        ] {
            assert_eq!(verdict(&state), (level, message.to_owned()));
        }
        assert_eq!(verdict(&json!({})).0, DiagnosticLevel::Error);
    }

    #[test]
    fn figures_of_health_are_named_one_by_one() {
        let mut values = Vec::new();
        let health = json!({"fps": {"captured": f64::from(29.7_f32)}, "peers": 2, "age_ms": null, "engine": "tract"});
        flatten("health", &health, &mut values);
        values.sort();
        let expected = [
            ("health.age_ms", ""),
            ("health.engine", "tract"),
            ("health.fps.captured", "29.7"),
            ("health.peers", "2"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(values, expected);
    }
}
