//! `pose/v1`: one frame's poses as CBOR, written into a fixed buffer.
//!
//! A map with text keys, definite lengths, a fixed order of keys and every
//! number with a fraction as a 32-bit float, so the same pose always gives the
//! same bytes. `docs/reference/pose.cddl` is the schema, `docs/reference/messages.md` explains each
//! field, [`super::read`] is the inverse. Writing touches no heap.

use std::fmt;

use minicbor::Encoder;
use minicbor::encode::write::EndOfSlice;

use crate::base::clock::MonoNs;
use crate::base::limits::{ACTION_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PEOPLE_MAX};
use crate::motion::angles::{ANGLES, Angles};
use crate::pose::{Action, ActionSource, JointState, PersonPose, PoseSample, SizeSource};
use crate::skeleton::{JOINTS, KEYPOINTS};

/// Value of `schema` in a pose message; the encoding on Zenoh ends with it too.
pub const POSE_SCHEMA: &str = "pose/v1";

/// The schema of all messages, as `/schema` answers it.
pub const CDDL: &str = include_str!("../../docs/reference/pose.cddl");

/// Name of the clock of `capture_ns` and `publish_ns`: `CLOCK_MONOTONIC` of the device.
pub const CLOCK_MONOTONIC: &str = "monotonic";

/// Name of the clock where the time comes from a recording.
pub const CLOCK_RECORDING: &str = "recording";

/// Longest clock name, in bytes.
pub const CLOCK_BYTES_MAX: usize = 16;

/// What follows the camera's name in `frame_id`.
pub const FRAME_SUFFIX: &str = "_optical_frame";

/// Longest `frame_id`, in bytes.
pub const FRAME_ID_BYTES_MAX: usize = NAME_BYTES_MAX + FRAME_SUFFIX.len();

/// What a message says beside the poses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// Counts the messages of this publisher, from 0.
    pub sequence: u64,
    /// The camera's name.
    pub camera: &'a str,
    /// Name of the clock below, at most [`CLOCK_BYTES_MAX`].
    pub clock: &'a str,
    /// When the message was made.
    pub publish: MonoNs,
    /// Wall time (nanoseconds since 1970, UTC) less the monotonic clock.
    pub unix_offset_ns: i64,
}

impl Stamp<'_> {
    /// The wall time of a monotonic time, nanoseconds since 1970; 0 before that.
    pub const fn unix_ns(&self, time: MonoNs) -> u64 {
        time.0.saturating_add_signed(self.unix_offset_ns)
    }
}

/// What does not fit in a message, and where: `persons[2].joints_m: not finite at 5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// Index in `persons`, for a field of a person.
    pub person: Option<usize>,
    /// The field's key.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are no CBOR, end too early or hold another type here.
    Type(String),
    /// Bytes follow the message.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The message follows another schema or version.
    Schema {
        /// What it says.
        got: String,
    },
    /// A key that must be there is not.
    Missing,
    /// A key stands there twice.
    Repeated,
    /// A list of another length.
    Length {
        /// Entries found; for lists without a length, where reading stopped.
        got: u64,
        /// Entries there must be, or may be at most.
        want: usize,
    },
    /// A text longer than it may be.
    Long {
        /// Its bytes.
        got: usize,
        /// The most there may be.
        max: usize,
    },
    /// A number that is NaN or infinite.
    NotFinite {
        /// Place in the field's list, row by row.
        at: usize,
    },
    /// A whole number or word out of its range.
    Value {
        /// What was found.
        got: String,
    },
    /// State and position of a joint contradict each other.
    State {
        /// Which joint.
        joint: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(person) = self.person {
            write!(f, "persons[{person}].")?;
        }
        write!(f, "{}: ", self.field)?;
        match &self.fault {
            Fault::Type(reason) => f.write_str(reason),
            Fault::Trailing { bytes } => write!(f, "{bytes} bytes follow the message"),
            Fault::Schema { got } => write!(f, "{got:?}, this reader knows {POSE_SCHEMA:?}"),
            Fault::Missing => f.write_str("missing"),
            Fault::Repeated => f.write_str("stands there twice"),
            Fault::Length { got, want } => write!(f, "{got} entries, must be {want}"),
            Fault::Long { got, max } => write!(f, "{got} bytes, at most {max}"),
            Fault::NotFinite { at } => write!(f, "not finite at {at}"),
            Fault::Value { got } => write!(f, "{got} is out of range"),
            Fault::State { joint } => write!(f, "joint {joint} is absent and has a value, or not"),
        }
    }
}

impl std::error::Error for WireError {}

impl WireError {
    pub(super) const fn new(field: &'static str, fault: Fault) -> Self {
        Self {
            person: None,
            field,
            fault,
        }
    }
}

/// Bytes of the head of a CBOR item: one, and its argument where it does not fit in there.
const fn head_bytes(argument: usize) -> usize {
    match argument {
        0..24 => 1,
        24..256 => 2,
        256..65_536 => 3,
        _ => 5,
    }
}

const fn text_bytes(length: usize) -> usize {
    head_bytes(length) + length
}

const fn key_bytes(keys: &[&str]) -> usize {
    let (mut bytes, mut i) = (head_bytes(keys.len()), 0);
    while i < keys.len() {
        bytes += text_bytes(keys[i].len());
        i += 1;
    }
    bytes
}

/// Keys of a message, in the order they are written.
pub(super) const MESSAGE_KEYS: [&str; 13] = [
    "schema",
    "sequence",
    "camera",
    "frame_id",
    "clock",
    "capture_ns",
    "publish_ns",
    "capture_unix_ns",
    "unix_offset_ns",
    "age_ms",
    "frame_sequence",
    "image_px",
    "persons",
];

/// Keys of a person, in the order they are written.
pub(super) const PERSON_KEYS: [&str; 13] = [
    "id",
    "score",
    "box_px",
    "root_m",
    "root_sigma_m",
    "joints_m",
    "sigmas_m",
    "states",
    "keypoints_px",
    "action",
    "head",
    "size",
    "visibilities",
];

/// Keys that follow where angles are published, in the order they are written. [`super::read`] passes over them: they
/// follow from the joints.
const ANGLE_KEYS: [&str; 3] = ["angles_deg", "angle_sigmas_deg", "angle_states"];

/// As many of them stand in every message of this version; the rest came later.
pub(super) const PERSON_KEYS_NEEDED: usize = 11;

pub(super) const ACTION_KEYS: [&str; 3] = ["label", "probability", "source"];
pub(super) const SIZE_KEYS: [&str; 3] = ["factor", "sigma", "source"];
pub(super) const HEAD_KEYS: [&str; 2] = ["generation", "adapted"];

/// Words for [`ActionSource`], by its number.
pub(super) const SOURCES: [&str; 2] = ["dictionary", "hint"];

/// Words for [`SizeSource`], by its number.
pub(super) const SIZE_SOURCES: [&str; 2] = ["guess", "floor"];

const F32: usize = 5;
const U32: usize = 5;
const U64: usize = 9;
const POINT: usize = 1 + 3 * F32;

/// The most bytes one person takes.
const PERSON_BYTES: usize = key_bytes(&PERSON_KEYS)
    + U32 // id
    + F32 // score
    + 1 + 4 * F32 // box
    + POINT // root
    + F32 // its sigma
    + head_bytes(JOINTS) + JOINTS * POINT
    + head_bytes(JOINTS) + JOINTS * F32 // sigmas
    + head_bytes(JOINTS) + JOINTS // states
    + head_bytes(KEYPOINTS) + KEYPOINTS * POINT
    + key_bytes(&ACTION_KEYS) + text_bytes(ACTION_BYTES_MAX) + F32 + text_bytes(SOURCES[0].len())
    + key_bytes(&HEAD_KEYS) + U32 + 1
    + key_bytes(&SIZE_KEYS) + 2 * F32 + text_bytes(SIZE_SOURCES[0].len())
    + head_bytes(KEYPOINTS) + KEYPOINTS * F32; // visibilities

/// The most bytes that the angles of one person take.
const ANGLE_BYTES: usize =
    key_bytes(&ANGLE_KEYS) - 1 + 3 * head_bytes(ANGLES) + ANGLES * (2 * F32 + 1);

/// The most bytes a message with angles takes.
pub const ANGLE_POSE_BYTES_BOUND: usize = POSE_BYTES_BOUND + PEOPLE_MAX * ANGLE_BYTES;

/// The most bytes a message without angles takes: every field at its longest, [`PEOPLE_MAX`] people.
pub const POSE_BYTES_BOUND: usize = key_bytes(&MESSAGE_KEYS)
    + text_bytes(POSE_SCHEMA.len())
    + text_bytes(NAME_BYTES_MAX)
    + text_bytes(FRAME_ID_BYTES_MAX)
    + text_bytes(CLOCK_BYTES_MAX)
    + 5 * U64 // sequence, four times
    + F32 // age
    + U32 // frame sequence
    + 1 + 2 * U32 // image size
    + head_bytes(PEOPLE_MAX) + PEOPLE_MAX * PERSON_BYTES;

const _: () = assert!(
    ANGLE_POSE_BYTES_BOUND <= MESSAGE_BYTES_MAX,
    "eight people always fit in a message, with their angles"
);

/// Buffer a message is written into.
pub type Buffer = [u8; MESSAGE_BYTES_MAX];

type Out<'b> = Encoder<&'b mut [u8]>;
type Full = minicbor::encode::Error<EndOfSlice>;

/// The angles of each person of a sample, in their order.
pub type PeopleAngles = heapless::Vec<Angles, PEOPLE_MAX>;

/// Writes a pose message into `out` and returns its length in bytes.
///
/// A joint that is absent goes out as null, whatever numbers it holds.
///
/// # Errors
///
/// [`Fault::NotFinite`] with person and field for NaN and infinity in what
/// would go out, [`Fault::Long`] for a camera or clock name over its bound.
pub fn encode(
    stamp: &Stamp<'_>,
    sample: &PoseSample,
    out: &mut Buffer,
) -> Result<usize, WireError> {
    encode_with(stamp, sample, &[], out)
}

/// As [`encode`], with the angles of each person, in their order. A person without an entry has none.
///
/// # Errors
///
/// As [`encode`].
pub fn encode_with(
    stamp: &Stamp<'_>,
    sample: &PoseSample,
    angles: &[Angles],
    out: &mut Buffer,
) -> Result<usize, WireError> {
    within("camera", stamp.camera, NAME_BYTES_MAX)?;
    within("clock", stamp.clock, CLOCK_BYTES_MAX)?;
    for (index, person) in sample.people.iter().enumerate() {
        finite(person).map_err(|error| WireError {
            person: Some(index),
            ..error
        })?;
    }
    let room = out.len();
    let mut cbor = Encoder::new(&mut out[..]);
    match message(&mut cbor, stamp, sample, angles) {
        Ok(()) => Ok(room - cbor.writer().len()),
        Err(_full) => unreachable!("ANGLE_POSE_BYTES_BOUND is checked when this is compiled"),
    }
}

fn within(field: &'static str, text: &str, max: usize) -> Result<(), WireError> {
    if text.len() > max {
        let got = text.len();
        return Err(WireError::new(field, Fault::Long { got, max }));
    }
    Ok(())
}

/// Checks that all numbers of a person that would go out are finite.
///
/// # Errors
///
/// [`Fault::NotFinite`] with the field, for the first that is not.
pub fn finite(person: &PersonPose) -> Result<(), WireError> {
    let check = |field, at, value: f32| {
        if value.is_finite() {
            Ok(())
        } else {
            Err(WireError::new(field, Fault::NotFinite { at }))
        }
    };
    check("score", 0, person.score)?;
    let bounds = &person.bounds;
    for (at, edge) in [bounds.left, bounds.top, bounds.right, bounds.bottom]
        .into_iter()
        .enumerate()
    {
        check("box_px", at, edge)?;
    }
    for (at, value) in person.root_camera_m.to_array().into_iter().enumerate() {
        check("root_m", at, value)?;
    }
    check("root_sigma_m", 0, person.root_sigma_m)?;
    for joint in 0..JOINTS {
        if person.states[joint] == JointState::Absent {
            continue;
        }
        for (axis, value) in person.joints_camera_m[joint]
            .to_array()
            .into_iter()
            .enumerate()
        {
            check("joints_m", 3 * joint + axis, value)?;
        }
        check("sigmas_m", joint, person.sigmas_m[joint])?;
    }
    for (index, keypoint) in person.keypoints.iter().enumerate() {
        for (column, value) in [keypoint.x_px, keypoint.y_px, keypoint.confidence]
            .into_iter()
            .enumerate()
        {
            check("keypoints_px", 3 * index + column, value)?;
        }
        check("visibilities", index, keypoint.visibility)?;
    }
    check("size", 0, person.size.factor)?;
    check("size", 1, person.size.sigma)?;
    if let Some(action) = &person.action {
        check("probability", 0, action.probability)?;
    }
    Ok(())
}

fn message(
    cbor: &mut Out<'_>,
    stamp: &Stamp<'_>,
    sample: &PoseSample,
    angles: &[Angles],
) -> Result<(), Full> {
    cbor.map(MESSAGE_KEYS.len() as u64)?;
    cbor.str("schema")?.str(POSE_SCHEMA)?;
    cbor.str("sequence")?.u64(stamp.sequence)?;
    cbor.str("camera")?.str(stamp.camera)?;
    cbor.str("frame_id")?;
    frame_id(cbor, stamp.camera)?;
    cbor.str("clock")?.str(stamp.clock)?;
    cbor.str("capture_ns")?.u64(sample.capture.0)?;
    cbor.str("publish_ns")?.u64(stamp.publish.0)?;
    cbor.str("capture_unix_ns")?
        .u64(stamp.unix_ns(sample.capture))?;
    cbor.str("unix_offset_ns")?.i64(stamp.unix_offset_ns)?;
    cbor.str("age_ms")?
        .f32(stamp.publish.since(sample.capture).as_secs_f32() * 1e3)?;
    cbor.str("frame_sequence")?.u32(sample.frame_sequence)?;
    cbor.str("image_px")?
        .array(2)?
        .u32(sample.width_px)?
        .u32(sample.height_px)?;
    cbor.str("persons")?.array(sample.people.len() as u64)?;
    for (index, pose) in sample.people.iter().enumerate() {
        person(cbor, pose, angles.get(index))?;
    }
    Ok(())
}

/// `<camera>_optical_frame`, put together in place.
fn frame_id(cbor: &mut Out<'_>, camera: &str) -> Result<(), Full> {
    let mut name = heapless::String::<FRAME_ID_BYTES_MAX>::new();
    let fits = name
        .push_str(camera)
        .and_then(|()| name.push_str(FRAME_SUFFIX));
    debug_assert!(fits.is_ok(), "the camera's name is within its bound");
    cbor.str(&name)?;
    Ok(())
}

fn person(cbor: &mut Out<'_>, pose: &PersonPose, angles: Option<&Angles>) -> Result<(), Full> {
    let more = angles.map_or(0, |_| ANGLE_KEYS.len());
    cbor.map((PERSON_KEYS.len() + more) as u64)?;
    cbor.str("id")?.u32(pose.id)?;
    cbor.str("score")?.f32(pose.score)?;
    let bounds = &pose.bounds;
    cbor.str("box_px")?.array(4)?;
    for edge in [bounds.left, bounds.top, bounds.right, bounds.bottom] {
        cbor.f32(edge)?;
    }
    // At the origin a robot would meet a person inside its camera.
    if pose.is_placed() {
        cbor.str("root_m")?;
        row(cbor, pose.root_camera_m.to_array())?;
        cbor.str("root_sigma_m")?.f32(pose.root_sigma_m)?;
    } else {
        cbor.str("root_m")?.null()?;
        cbor.str("root_sigma_m")?.null()?;
    }
    cbor.str("joints_m")?.array(JOINTS as u64)?;
    for (joint, state) in pose.joints_camera_m.iter().zip(&pose.states) {
        match state {
            JointState::Absent => drop(cbor.null()?),
            JointState::Measured | JointState::Completed => row(cbor, joint.to_array())?,
        }
    }
    cbor.str("sigmas_m")?.array(JOINTS as u64)?;
    for (sigma, state) in pose.sigmas_m.iter().zip(&pose.states) {
        match state {
            JointState::Absent => cbor.null()?,
            JointState::Measured | JointState::Completed => cbor.f32(*sigma)?,
        };
    }
    cbor.str("states")?.array(JOINTS as u64)?;
    for state in pose.states {
        cbor.u8(state as u8)?;
    }
    cbor.str("keypoints_px")?.array(KEYPOINTS as u64)?;
    for keypoint in &pose.keypoints {
        row(cbor, [keypoint.x_px, keypoint.y_px, keypoint.confidence])?;
    }
    cbor.str("action")?;
    match &pose.action {
        Some(named) => action(cbor, named)?,
        None => drop(cbor.null()?),
    }
    cbor.str("head")?.map(HEAD_KEYS.len() as u64)?;
    cbor.str("generation")?.u32(pose.head.generation)?;
    cbor.str("adapted")?.bool(pose.head.adapted)?;
    let source = match pose.size.source {
        SizeSource::Guess => SIZE_SOURCES[0],
        SizeSource::Floor => SIZE_SOURCES[1],
    };
    cbor.str("size")?.map(SIZE_KEYS.len() as u64)?;
    cbor.str("factor")?.f32(pose.size.factor)?;
    cbor.str("sigma")?.f32(pose.size.sigma)?;
    cbor.str("source")?.str(source)?;
    cbor.str("visibilities")?.array(KEYPOINTS as u64)?;
    for keypoint in &pose.keypoints {
        cbor.f32(keypoint.visibility)?;
    }
    angles.map_or(Ok(()), |angles| person_angles(cbor, angles))
}

fn person_angles(cbor: &mut Out<'_>, angles: &Angles) -> Result<(), Full> {
    let [deg, sigma_deg, states] = ANGLE_KEYS;
    let number = |cbor: &mut Out<'_>, number: Option<f32>| -> Result<(), Full> {
        match number {
            Some(number) => drop(cbor.f32(number)?),
            None => drop(cbor.null()?),
        }
        Ok(())
    };
    cbor.str(deg)?.array(ANGLES as u64)?;
    for angle in angles {
        number(cbor, angle.known())?;
    }
    cbor.str(sigma_deg)?.array(ANGLES as u64)?;
    for angle in angles {
        number(cbor, angle.known().map(|_| angle.sigma_deg))?;
    }
    cbor.str(states)?.array(ANGLES as u64)?;
    for angle in angles {
        cbor.u8(angle.state as u8)?;
    }
    Ok(())
}

fn action(cbor: &mut Out<'_>, action: &Action) -> Result<(), Full> {
    let source = match action.source {
        ActionSource::Dictionary => SOURCES[0],
        ActionSource::Hint => SOURCES[1],
    };
    cbor.map(ACTION_KEYS.len() as u64)?;
    cbor.str("label")?.str(&action.label)?;
    cbor.str("probability")?.f32(action.probability)?;
    cbor.str("source")?.str(source)?;
    Ok(())
}

fn row(cbor: &mut Out<'_>, numbers: [f32; 3]) -> Result<(), Full> {
    cbor.array(3)?;
    for number in numbers {
        cbor.f32(number)?;
    }
    Ok(())
}
