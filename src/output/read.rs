//! The inverse from `pose/v1` to [`PoseMessage`]: for `watch`, `demo` and tests.
//!
//! Trusts nothing: wrong version, shape or type, missing and repeated keys, NaN
//! and bytes left over are refused by name. Keys it does not know are passed
//! over, so that a later publisher may say more. 64-bit floats are read as
//! well, for messages that another program has rewritten.

use glam::Vec3;
use heapless::String;
use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error as CborError;

use super::wire::{
    ACTION_KEYS, CLOCK_BYTES_MAX, FRAME_ID_BYTES_MAX, Fault, HEAD_KEYS, MESSAGE_KEYS, PERSON_KEYS,
    PERSON_KEYS_NEEDED, POSE_SCHEMA, SIZE_KEYS, SIZE_SOURCES, SOURCES, WireError,
};
use crate::base::clock::MonoNs;
use crate::base::limits::{NAME_BYTES_MAX, PEOPLE_MAX};
use crate::pose::{
    Action, ActionSource, BoxPx, HeadTag, JointState, Keypoint, PersonPose, PoseSample, Size,
    SizeSource,
};
use crate::skeleton::{JOINTS, KEYPOINTS};

/// A pose message as a reader holds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoseMessage {
    /// Counts the messages of a publisher; a gap is a lost message.
    pub sequence: u64,
    /// The camera's name.
    pub camera: String<NAME_BYTES_MAX>,
    /// Name of the frame the joints are in: the camera's optical frame.
    pub frame_id: String<FRAME_ID_BYTES_MAX>,
    /// Name of the clock of `sample.capture` and `publish`.
    pub clock: String<CLOCK_BYTES_MAX>,
    /// When the message was made.
    pub publish: MonoNs,
    /// When the frame was taken, in nanoseconds since 1970 (UTC).
    pub capture_unix_ns: u64,
    /// Wall time less the clock above, as the publisher saw it.
    pub unix_offset_ns: i64,
    /// From capture to publishing, in milliseconds.
    pub age_ms: f32,
    /// The poses. Absent joints are at zero.
    pub sample: PoseSample,
}

/// Reads a pose message.
///
/// # Errors
///
/// The first thing that does not follow `pose/v1`, with person and field.
pub fn decode(bytes: &[u8]) -> Result<PoseMessage, WireError> {
    let mut cbor = Decoder::new(bytes);
    let mut message = PoseMessage::default();
    keyed(
        &mut cbor,
        "message",
        &MESSAGE_KEYS,
        MESSAGE_KEYS.len(),
        |cbor, key| {
            match key {
                "schema" => schema(cbor)?,
                "sequence" => message.sequence = of(key, cbor.u64())?,
                "camera" => message.camera = text(cbor, key)?,
                "frame_id" => message.frame_id = text(cbor, key)?,
                "clock" => message.clock = text(cbor, key)?,
                "capture_ns" => message.sample.capture = MonoNs(of(key, cbor.u64())?),
                "publish_ns" => message.publish = MonoNs(of(key, cbor.u64())?),
                "capture_unix_ns" => message.capture_unix_ns = of(key, cbor.u64())?,
                "unix_offset_ns" => message.unix_offset_ns = of(key, cbor.i64())?,
                "age_ms" => message.age_ms = number(cbor, key, 0)?,
                "frame_sequence" => message.sample.frame_sequence = of(key, cbor.u32())?,
                "image_px" => {
                    let mut size = [0; 2];
                    list(cbor, key, 2, |cbor, i| {
                        size[i] = of(key, cbor.u32())?;
                        Ok(())
                    })?;
                    [message.sample.width_px, message.sample.height_px] = size;
                }
                _ => people(cbor, &mut message.sample)?,
            }
            Ok(())
        },
    )?;
    let left = bytes.len() - cbor.position();
    if left > 0 {
        return Err(WireError::new("message", Fault::Trailing { bytes: left }));
    }
    Ok(message)
}

fn schema(cbor: &mut Decoder<'_>) -> Result<(), WireError> {
    let got = of("schema", cbor.str())?;
    if got == POSE_SCHEMA {
        return Ok(());
    }
    let got = got.chars().take(32).collect();
    Err(WireError::new("schema", Fault::Schema { got }))
}

fn people(cbor: &mut Decoder<'_>, sample: &mut PoseSample) -> Result<(), WireError> {
    let field = "persons";
    let mut left = of(field, cbor.array())?;
    while more(cbor, field, &mut left)? {
        let index = sample.people.len();
        let pose = person(cbor).map_err(|error| WireError {
            person: Some(index),
            ..error
        })?;
        if sample.people.push(pose).is_err() {
            let fault = Fault::Length {
                got: left.map_or(index as u64 + 1, |left| index as u64 + 1 + left),
                want: PEOPLE_MAX,
            };
            return Err(WireError::new(field, fault));
        }
    }
    Ok(())
}

fn person(cbor: &mut Decoder<'_>) -> Result<PersonPose, WireError> {
    let mut pose = PersonPose {
        id: 0,
        score: 0.0,
        bounds: BoxPx::default(),
        root_camera_m: Vec3::ZERO,
        root_sigma_m: 0.0,
        joints_camera_m: [Vec3::ZERO; JOINTS],
        sigmas_m: [0.0; JOINTS],
        states: [JointState::Absent; JOINTS],
        keypoints: [Keypoint::default(); KEYPOINTS],
        size: Size::default(),
        action: None,
        head: HeadTag::default(),
    };
    let (mut placed, mut spread) = ([false; JOINTS], [false; JOINTS]);
    let mut visibilities = None;
    keyed(
        cbor,
        "person",
        &PERSON_KEYS,
        PERSON_KEYS_NEEDED,
        |cbor, key| {
            match key {
                "id" => pose.id = of(key, cbor.u32())?,
                "score" => pose.score = number(cbor, key, 0)?,
                "box_px" => {
                    let [left, top, right, bottom] = numbers(cbor, key, 0)?;
                    pose.bounds = BoxPx {
                        left,
                        top,
                        right,
                        bottom,
                    };
                }
                "root_m" => {
                    if !null(cbor, key)? {
                        pose.root_camera_m = Vec3::from_array(numbers(cbor, key, 0)?);
                    }
                }
                "root_sigma_m" => {
                    if !null(cbor, key)? {
                        pose.root_sigma_m = number(cbor, key, 0)?;
                    }
                }
                "joints_m" => list(cbor, key, JOINTS, |cbor, j| {
                    placed[j] = !null(cbor, key)?;
                    if placed[j] {
                        pose.joints_camera_m[j] = Vec3::from_array(numbers(cbor, key, 3 * j)?);
                    }
                    Ok(())
                })?,
                "sigmas_m" => list(cbor, key, JOINTS, |cbor, j| {
                    spread[j] = !null(cbor, key)?;
                    if spread[j] {
                        pose.sigmas_m[j] = number(cbor, key, j)?;
                    }
                    Ok(())
                })?,
                "states" => list(cbor, key, JOINTS, |cbor, j| {
                    pose.states[j] = state(of(key, cbor.u8())?)?;
                    Ok(())
                })?,
                "keypoints_px" => list(cbor, key, KEYPOINTS, |cbor, k| {
                    let [x_px, y_px, confidence] = numbers(cbor, key, 3 * k)?;
                    pose.keypoints[k] = Keypoint::new(x_px, y_px, confidence);
                    Ok(())
                })?,
                "action" => {
                    if !null(cbor, key)? {
                        pose.action = Some(action(cbor)?);
                    }
                }
                "head" => pose.head = head(cbor)?,
                "visibilities" => {
                    let visibilities = visibilities.insert([0.0; KEYPOINTS]);
                    list(cbor, key, KEYPOINTS, |cbor, k| {
                        visibilities[k] = number(cbor, key, k)?;
                        Ok(())
                    })?;
                }
                _ => pose.size = size(cbor)?,
            }
            Ok(())
        },
    )?;
    // Messages from before there were any have one number for both.
    for (keypoint, visibility) in pose
        .keypoints
        .iter_mut()
        .zip(visibilities.into_iter().flatten())
    {
        keypoint.visibility = visibility;
    }
    for joint in 0..JOINTS {
        let known = pose.states[joint] != JointState::Absent;
        if placed[joint] != known || spread[joint] != known {
            return Err(WireError::new("states", Fault::State { joint }));
        }
    }
    Ok(pose)
}

fn state(number: u8) -> Result<JointState, WireError> {
    match number {
        0 => Ok(JointState::Absent),
        1 => Ok(JointState::Measured),
        2 => Ok(JointState::Completed),
        _ => {
            let got = number.to_string();
            Err(WireError::new("states", Fault::Value { got }))
        }
    }
}

fn action(cbor: &mut Decoder<'_>) -> Result<Action, WireError> {
    let mut action = Action {
        label: String::new(),
        probability: 0.0,
        source: ActionSource::Dictionary,
    };
    keyed(
        cbor,
        "action",
        &ACTION_KEYS,
        ACTION_KEYS.len(),
        |cbor, key| {
            match key {
                "label" => action.label = text(cbor, key)?,
                "probability" => action.probability = number(cbor, key, 0)?,
                _ => {
                    let word: String<16> = text(cbor, key)?;
                    action.source = match SOURCES.iter().position(|known| *known == word.as_str()) {
                        Some(0) => ActionSource::Dictionary,
                        Some(_) => ActionSource::Hint,
                        None => {
                            let got = format!("{word:?}");
                            return Err(WireError::new(key, Fault::Value { got }));
                        }
                    };
                }
            }
            Ok(())
        },
    )?;
    Ok(action)
}

fn size(cbor: &mut Decoder<'_>) -> Result<Size, WireError> {
    let mut size = Size::default();
    keyed(cbor, "size", &SIZE_KEYS, SIZE_KEYS.len(), |cbor, key| {
        match key {
            "factor" => size.factor = number(cbor, key, 0)?,
            "sigma" => size.sigma = number(cbor, key, 0)?,
            _ => {
                let word: String<16> = text(cbor, key)?;
                let known = SIZE_SOURCES
                    .iter()
                    .position(|known| *known == word.as_str());
                size.source = match known {
                    Some(0) => SizeSource::Guess,
                    Some(_) => SizeSource::Floor,
                    None => {
                        let got = format!("{word:?}");
                        return Err(WireError::new(key, Fault::Value { got }));
                    }
                };
            }
        }
        Ok(())
    })?;
    Ok(size)
}

fn head(cbor: &mut Decoder<'_>) -> Result<HeadTag, WireError> {
    let mut head = HeadTag::default();
    keyed(cbor, "head", &HEAD_KEYS, HEAD_KEYS.len(), |cbor, key| {
        match key {
            "generation" => head.generation = of(key, cbor.u32())?,
            _ => head.adapted = of(key, cbor.bool())?,
        }
        Ok(())
    })?;
    Ok(head)
}

/// Reads a map: each key of `keys` at most once, the first `needed` of them once, in any
/// order; others are passed over.
fn keyed<'b>(
    cbor: &mut Decoder<'b>,
    field: &'static str,
    keys: &[&'static str],
    needed: usize,
    mut value: impl FnMut(&mut Decoder<'b>, &'static str) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut seen = 0_u32;
    let mut left = of(field, cbor.map())?;
    while more(cbor, field, &mut left)? {
        if of(field, cbor.datatype())? != Type::String {
            // Readers of this version know text keys only.
            of(field, cbor.skip())?;
            of(field, cbor.skip())?;
            continue;
        }
        let name = of(field, cbor.str())?;
        let Some(index) = keys.iter().position(|key| *key == name) else {
            of(field, cbor.skip())?;
            continue;
        };
        if seen & (1 << index) != 0 {
            return Err(WireError::new(keys[index], Fault::Repeated));
        }
        seen |= 1 << index;
        value(cbor, keys[index])?;
    }
    match (0..needed).find(|index| seen & (1 << index) == 0) {
        Some(index) => Err(WireError::new(keys[index], Fault::Missing)),
        None => Ok(()),
    }
}

/// Reads a list of exactly `want` entries.
fn list<'b>(
    cbor: &mut Decoder<'b>,
    field: &'static str,
    want: usize,
    mut entry: impl FnMut(&mut Decoder<'b>, usize) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let length = |got| WireError::new(field, Fault::Length { got, want });
    let mut left = of(field, cbor.array())?;
    if let Some(got) = left
        && got != want as u64
    {
        return Err(length(got));
    }
    let mut index = 0;
    while more(cbor, field, &mut left)? {
        if index == want {
            return Err(length(want as u64 + 1));
        }
        entry(cbor, index)?;
        index += 1;
    }
    if index < want {
        return Err(length(index as u64));
    }
    Ok(())
}

/// Whether a list or map goes on; `left` is `None` if it has no length and ends with a mark.
fn more(
    cbor: &mut Decoder<'_>,
    field: &'static str,
    left: &mut Option<u64>,
) -> Result<bool, WireError> {
    match left {
        Some(0) => Ok(false),
        Some(count) => {
            *count -= 1;
            Ok(true)
        }
        None if of(field, cbor.datatype())? == Type::Break => {
            of(field, cbor.skip())?;
            Ok(false)
        }
        None => Ok(true),
    }
}

fn numbers<const N: usize>(
    cbor: &mut Decoder<'_>,
    field: &'static str,
    first: usize,
) -> Result<[f32; N], WireError> {
    let mut row = [0.0; N];
    list(cbor, field, N, |cbor, i| {
        row[i] = number(cbor, field, first + i)?;
        Ok(())
    })?;
    Ok(row)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what is too large for 32 bits becomes infinite and is refused"
)]
fn number(cbor: &mut Decoder<'_>, field: &'static str, at: usize) -> Result<f32, WireError> {
    let value = of(field, cbor.f64())? as f32;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(WireError::new(field, Fault::NotFinite { at }))
    }
}

/// Whether a null stands here; if so it is taken.
fn null(cbor: &mut Decoder<'_>, field: &'static str) -> Result<bool, WireError> {
    if of(field, cbor.datatype())? != Type::Null {
        return Ok(false);
    }
    of(field, cbor.null())?;
    Ok(true)
}

fn text<const N: usize>(
    cbor: &mut Decoder<'_>,
    field: &'static str,
) -> Result<String<N>, WireError> {
    let text = of(field, cbor.str())?;
    // What a stranger publishes may end in a terminal, which obeys control characters.
    if text.chars().any(char::is_control) {
        let got = format!(
            "{:?}",
            text.chars().take(N).collect::<std::string::String>()
        );
        return Err(WireError::new(field, Fault::Value { got }));
    }
    String::try_from(text).map_err(|_| {
        let fault = Fault::Long {
            got: text.len(),
            max: N,
        };
        WireError::new(field, fault)
    })
}

fn of<T>(field: &'static str, read: Result<T, CborError>) -> Result<T, WireError> {
    read.map_err(|error| WireError::new(field, Fault::Type(error.to_string())))
}
