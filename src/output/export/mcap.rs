//! MCAP, the files of Foxglove, Lichtblick, rosbag2 and rerun.
//!
//! | channel | encoding | holds |
//! | --- | --- | --- |
//! | `/poised/<camera>/joints` | ROS 2, `sensor_msgs/PointCloud2` | the joints of all people |
//! | `/poised/<camera>/markers` | ROS 2, `visualization_msgs/MarkerArray` | skeletons and labels |
//! | `/tf` | ROS 2, `tf2_msgs/TFMessage` | where the camera is, once a second |
//! | `/poised/<camera>/pose_v1` | CBOR, `pose/v1` | the recorded messages, byte by byte |
//!
//! The last one is the recording itself: [`super::mcap_read`] reads it back.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use mcap::records::MessageHeader;
use mcap::write::NoSeek;
use mcap::{McapError, WriteOptions, Writer};

use super::ExportError;
use super::ground::Ground;
use crate::counters::RosTopic;
use crate::output::read::PoseMessage;
use crate::output::record::{FORMAT, Recording};
use crate::output::ros::{messages, schemas};
use crate::output::wire::{CDDL, FRAME_SUFFIX, POSE_SCHEMA};

/// How the recorded messages are encoded.
pub const CBOR: &str = "cbor";

/// Key of the pose channel's metadata under which the format of the recording is.
pub const RECORDING: &str = "recording";

/// Key of the pose channel's metadata under which the calibration is, as TOML.
pub const CALIBRATION: &str = "calibration";

/// Bytes of a chunk: three seconds of one person, which is what a cut file loses at most. The index of the chunks is
/// held in memory until the end, 20 MB for a day of one person.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Time between two transforms, nanoseconds: a viewer that jumps into the film has one at once.
const TRANSFORM_EVERY_NS: u64 = 1_000_000_000;

/// Name of the camera in topics where the recording has no message that tells it.
const UNNAMED: &str = "recording";

/// What went into a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Frames of the recording, those without people too.
    pub frames: u64,
}

/// Writes all that is left of a recording. Time is that of the capture.
///
/// # Errors
///
/// The recording cannot be read, or `out` not be written.
pub fn write<R: Read, W: Write>(
    recording: &mut Recording<R>,
    out: W,
) -> Result<Written, ExportError> {
    let mut first = recording.next_message()?;
    let camera = first
        .as_ref()
        .map_or(UNNAMED, |first| first.camera.as_str());
    let ground = Ground::of(recording.calibration());
    let toml = recording.calibration_toml();
    let mut film = Film::begin(out, camera, &ground, toml, Content::All)?;
    let mut written = Written::default();
    while let Some(message) = first.take() {
        film.add(&message, recording.message_bytes())?;
        written.frames += 1;
        first = recording.next_message()?;
    }
    film.finish()?;
    Ok(written)
}

/// What goes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output) enum Content {
    /// Messages for ROS 2, and the recorded ones.
    All,
    /// The recorded messages alone: a third of the size.
    Recorded,
}

/// The channels for ROS 2.
#[derive(Clone, Copy)]
struct Ros {
    joints: u16,
    markers: u16,
    transforms: u16,
}

/// A file that is being written.
pub(in crate::output) struct Film<W: Write> {
    out: Writer<NoSeek<W>>,
    ros: Option<Ros>,
    poses: u16,
    /// What topics begin with.
    topic: String,
    /// Names of the level frame and of the camera's.
    frames: [String; 2],
    ground: Ground,
    /// When the next transform is due; none was written before the first frame.
    transform_due_ns: u64,
    /// One ROS message, used for all.
    bytes: Vec<u8>,
}

impl<W: Write> Film<W> {
    pub(in crate::output) fn begin(
        out: W,
        camera: &str,
        ground: &Ground,
        calibration_toml: &str,
        content: Content,
    ) -> Result<Self, McapError> {
        // Nothing is sought, so that the output may be a pipe; and a chunk is written at once, when it is whole.
        let written_by = concat!("poised ", env!("CARGO_PKG_VERSION"));
        let mut out = WriteOptions::library(WriteOptions::new(), written_by)
            .compression(None)
            .profile("ros2")
            .chunk_size(Some(CHUNK_BYTES))
            .disable_seeking(true)
            .create(NoSeek::new(out))?;
        let topic = topic_of(camera);
        let none = BTreeMap::new();
        let mut ros = |topic: &str, of: RosTopic| {
            let (name, text) = schemas::schema(of);
            let schema = out.add_schema(name, schemas::ENCODING, text.as_bytes())?;
            out.add_channel(schema, topic, schemas::MESSAGE_ENCODING, &none)
        };
        let ros = match content {
            Content::Recorded => None,
            Content::All => Some(Ros {
                joints: ros(&format!("{topic}/joints"), RosTopic::Joints)?,
                markers: ros(&format!("{topic}/markers"), RosTopic::Markers)?,
                transforms: ros("/tf", RosTopic::Tf)?,
            }),
        };
        // Without an encoding of the schema, which readers pass over. They stop at one that they do not know, so the
        // text is in the metadata.
        let schema = out.add_schema(POSE_SCHEMA, "", &[])?;
        let metadata = [
            (RECORDING, FORMAT),
            (CALIBRATION, calibration_toml),
            ("cddl", CDDL),
        ];
        let metadata = metadata.map(|(key, text)| (key.to_owned(), text.to_owned()));
        let poses = out.add_channel(
            schema,
            &format!("{topic}/pose_v1"),
            CBOR,
            &BTreeMap::from(metadata),
        )?;
        let base = if ground.is_measured() {
            "floor"
        } else {
            "link"
        };
        Ok(Self {
            out,
            ros,
            poses,
            topic,
            frames: [
                format!("{camera}_{base}"),
                format!("{camera}{FRAME_SUFFIX}"),
            ],
            ground: *ground,
            transform_due_ns: 0,
            bytes: Vec::new(),
        })
    }

    /// Adds a message, decoded and as it was published.
    pub(in crate::output) fn add(
        &mut self,
        message: &PoseMessage,
        recorded: &[u8],
    ) -> Result<(), McapError> {
        let taken_ns = message.capture_unix_ns;
        let age_ns = message.publish.0.saturating_sub(message.sample.capture.0);
        let [base, camera] = self.frames.each_ref().map(String::as_str);
        let people = &message.sample.people;
        let header = |channel_id: u16| MessageHeader {
            channel_id,
            // Counts on from 0 after 2^32 messages, as the format has it.
            sequence: (message.sequence & 0xffff_ffff) as u32,
            log_time: taken_ns,
            publish_time: taken_ns.saturating_add(age_ns),
        };
        if let Some(ros) = self.ros {
            if taken_ns >= self.transform_due_ns {
                let (place, rotation) = self.ground.camera_z_up();
                messages::transform(&mut self.bytes, taken_ns, (base, camera), place.z, rotation);
                self.out
                    .write_to_known_channel(&header(ros.transforms), &self.bytes)?;
                self.transform_due_ns = taken_ns.saturating_add(TRANSFORM_EVERY_NS);
            }
            messages::joints(&mut self.bytes, taken_ns, camera, people);
            self.out
                .write_to_known_channel(&header(ros.joints), &self.bytes)?;
            messages::markers(&mut self.bytes, taken_ns, camera, people);
            self.out
                .write_to_known_channel(&header(ros.markers), &self.bytes)?;
        }
        self.out
            .write_to_known_channel(&header(self.poses), recorded)
    }

    /// A channel `/poised/<camera>/<name>` for further messages in CBOR.
    pub(in crate::output) fn channel(
        &mut self,
        name: &str,
        schema: &str,
    ) -> Result<u16, McapError> {
        let schema = self.out.add_schema(schema, "", &[])?;
        let topic = format!("{}/{name}", self.topic);
        self.out.add_channel(schema, &topic, CBOR, &BTreeMap::new())
    }

    /// Adds a message of such a channel, made at this time, nanoseconds since 1970.
    pub(in crate::output) fn add_to(
        &mut self,
        channel: u16,
        sequence: u32,
        unix_ns: u64,
        bytes: &[u8],
    ) -> Result<(), McapError> {
        let header = MessageHeader {
            channel_id: channel,
            sequence,
            log_time: unix_ns,
            publish_time: unix_ns,
        };
        self.out.write_to_known_channel(&header, bytes)
    }

    /// Ends the chunk, so that what was added so far can be read whatever happens to the rest.
    pub(in crate::output) fn flush(&mut self) -> Result<(), McapError> {
        self.out.flush()
    }

    /// Writes index and end; without them most programs refuse the file.
    pub(in crate::output) fn finish(mut self) -> Result<(), ExportError> {
        self.out.finish()?;
        self.out.into_inner().into_inner().flush()?;
        Ok(())
    }
}

impl From<McapError> for ExportError {
    fn from(error: McapError) -> Self {
        Self::Write(match error {
            McapError::Io(error) => error,
            other => std::io::Error::other(other),
        })
    }
}

/// `/poised/<camera>`. Names of ROS topics have letters, digits and underscores only.
fn topic_of(camera: &str) -> String {
    let name = camera.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("/poised/{name}")
}
