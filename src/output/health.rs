//! `health/v1` and `event/v1`: how the daemon is, and what happened to it.
//!
//! Made once a second and rarely, so plain vectors will do. The schema is in
//! `docs/reference/pose.cddl`.

use minicbor::Encoder;

use super::wire::Stamp;
use crate::base::clock::MonoNs;
use crate::capture::thread::CameraState;
use crate::counters::{Counters, DropReason, FrameFault, LiftFault, Reading};
use crate::engine::EngineStatus;
use crate::motion::angles::ANGLE_NAMES;
use crate::motion::floor::FloorChange;
use crate::skeleton::{JOINT_NAMES, KEYPOINT_NAMES, PARENTS};

/// Value of `schema` in a health message.
pub const HEALTH_SCHEMA: &str = "health/v1";

/// Value of `schema` in an event message.
pub const EVENT_SCHEMA: &str = "event/v1";

/// Value of `schema` in the answer of `/names`.
pub const NAMES_SCHEMA: &str = "names/v1";

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The publisher publishes.
    Started,
    /// The daemon ends.
    Stopping,
    /// The camera is gone.
    CameraLost,
    /// The camera gives frames again.
    CameraBack,
    /// The camera is there but gives no frames.
    NoFrames,
    /// Frames come again.
    FramesBack,
    /// The camera gives frames that cannot be used: short, damaged or of another size.
    BadFrames,
    /// People who walk tell that the camera was moved.
    CameraMoved,
    /// People are seen better in turned frames: the camera hangs upside down or on its side.
    CameraTurned,
    /// Networks fail, so frames are not published, or people have no pose in space.
    EstimateFailed,
    /// They work again.
    EstimateBack,
    /// Another daemon has the same site, device and camera name.
    NameTaken,
    /// No other has.
    NameFree,
    /// A person is on the floor, and has been for a while.
    PersonOnFloor,
    /// That person is up again.
    PersonOffFloor,
    /// That person was lost from view: neither on the floor nor up.
    PersonOnFloorLost,
}

impl Event {
    /// Its word in the message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::CameraLost => "camera_lost",
            Self::CameraBack => "camera_back",
            Self::NoFrames => "no_frames",
            Self::FramesBack => "frames_back",
            Self::BadFrames => "bad_frames",
            Self::CameraMoved => "camera_moved",
            Self::CameraTurned => "camera_turned",
            Self::EstimateFailed => "estimate_failed",
            Self::EstimateBack => "estimate_back",
            Self::NameTaken => "name_taken",
            Self::NameFree => "name_free",
            Self::PersonOnFloor => "person_on_floor",
            Self::PersonOffFloor => "person_off_floor",
            Self::PersonOnFloorLost => "person_on_floor_lost",
        }
    }
}

impl From<FloorChange> for Event {
    fn from(change: FloorChange) -> Self {
        match change {
            FloorChange::On => Self::PersonOnFloor,
            FloorChange::Off => Self::PersonOffFloor,
            FloorChange::Lost => Self::PersonOnFloorLost,
        }
    }
}

/// The counters at one moment, to take rates from.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    at: MonoNs,
    frames: [u64; 3],
    latency: Reading,
}

impl Snapshot {
    /// The counters at `now`.
    pub fn take(counters: &Counters, now: MonoNs) -> Self {
        Self {
            at: now,
            frames: [
                counters.captured(),
                counters.estimated.get(),
                counters.published.get(),
            ],
            latency: counters.latency.read(),
        }
    }

    /// When it was taken.
    pub const fn at(&self) -> MonoNs {
        self.at
    }
}

/// What a health message says beside the counters.
#[derive(Clone, Copy, Debug)]
pub struct Health<'a> {
    /// When the publisher started.
    pub started: MonoNs,
    /// What runs the networks.
    pub engine: &'a EngineStatus,
    /// Whether the camera is there but gives no frames.
    pub silent: bool,
    /// Whether networks fail.
    pub failing: bool,
    /// Resident memory, where it is known.
    pub rss_bytes: Option<u64>,
    /// Zenoh sessions connected with.
    pub peers: u64,
}

/// A CBOR encoder into a vector, whose writing cannot fail.
pub(super) struct Out(Encoder<Vec<u8>>);

impl Out {
    pub(super) fn message(schema: &str, keys: u64) -> Self {
        let mut out = Self(Encoder::new(Vec::with_capacity(1024)));
        out.map(keys).key("schema").text(schema);
        out
    }

    fn with(
        &mut self,
        write: impl FnOnce(
            &mut Encoder<Vec<u8>>,
        ) -> Result<
            &mut Encoder<Vec<u8>>,
            minicbor::encode::Error<std::convert::Infallible>,
        >,
    ) -> &mut Self {
        let written = write(&mut self.0);
        debug_assert!(written.is_ok(), "writing into a vector cannot fail");
        self
    }

    pub(super) fn map(&mut self, keys: u64) -> &mut Self {
        self.with(|cbor| cbor.map(keys))
    }

    pub(super) fn list(&mut self, entries: usize) -> &mut Self {
        self.with(|cbor| cbor.array(entries as u64))
    }

    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.with(|cbor| cbor.str(key))
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.with(|cbor| cbor.str(text))
    }

    pub(super) fn uint(&mut self, number: u64) -> &mut Self {
        self.with(|cbor| cbor.u64(number))
    }

    /// A float, or null, also for what is not finite: no message holds such a number.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "figures for people: 32 bits are plenty"
    )]
    pub(super) fn float(&mut self, number: impl Into<Option<f64>>) -> &mut Self {
        match number
            .into()
            .map(|number| number as f32)
            .filter(|number| number.is_finite())
        {
            Some(number) => self.with(|cbor| cbor.f32(number)),
            None => self.with(Encoder::null),
        }
    }

    pub(super) fn stamp(&mut self, stamp: &Stamp<'_>) -> &mut Self {
        self.key("sequence").uint(stamp.sequence);
        self.key("camera").text(stamp.camera);
        self.key("clock").text(stamp.clock);
        self.key("publish_ns").uint(stamp.publish.0);
        self.key("unix_ns").uint(stamp.unix_ns(stamp.publish))
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0.into_writer()
    }
}

/// An event message.
pub fn event(stamp: &Stamp<'_>, event: Event, detail: Option<&str>) -> Vec<u8> {
    let mut out = Out::message(EVENT_SCHEMA, 8);
    out.stamp(stamp).key("event").text(event.name());
    match detail {
        Some(detail) => out.key("detail").text(detail),
        None => out.key("detail").float(None),
    };
    out.done()
}

/// A health message, with the rates since `earlier`.
pub fn health(
    stamp: &Stamp<'_>,
    health: &Health<'_>,
    counters: &Counters,
    earlier: &Snapshot,
    now: &Snapshot,
) -> Vec<u8> {
    let seconds = now.at.since(earlier.at).as_secs_f64();
    let uptime_s = now.at.since(health.started).as_secs_f64();
    let latency = now.latency.since(&earlier.latency);
    let newest = counters.newest_capture();
    let stages = ["captured", "estimated", "published"];

    let mut out = Out::message(HEALTH_SCHEMA, 26);
    out.stamp(stamp);
    out.key("uptime_s").float(uptime_s);
    out.key("interval_s").float(seconds);
    out.key("fps").map(3);
    for (i, stage) in stages.into_iter().enumerate() {
        out.key(stage)
            .float(rate(now.frames[i] - earlier.frames[i], seconds));
    }
    out.key("frames").map(3);
    for (stage, frames) in stages.into_iter().zip(now.frames) {
        out.key(stage).uint(frames);
    }
    out.key("drops").map(DropReason::ALL.len() as u64);
    for reason in DropReason::ALL {
        out.key(reason.name()).uint(counters.drops(reason));
    }
    match (latency.quantile_ms(0.5), latency.quantile_ms(0.99)) {
        (Some(p50), Some(p99)) => {
            out.key("latency_ms").map(2);
            out.key("p50").float(p50).key("p99").float(p99);
        }
        _ => drop(out.key("latency_ms").float(None)),
    }
    out.key("age_ms")
        .float(newest.map(|capture| now.at.since(capture).as_secs_f64() * 1e3));
    out.key("late").uint(counters.late.get());
    out.key("people").uint(counters.people().into());
    out.key("camera_state")
        .text(match (counters.capture.state(), health.silent) {
            (CameraState::Running, true) => "silent",
            (CameraState::Running, false) => "running",
            (CameraState::Opening, _) => "opening",
            (CameraState::Lost, _) => "lost",
        });
    put_faults(&mut out, health.failing, counters);
    let (level, busy) = counters.load();
    out.key("load").map(2);
    out.key("level").text(level.name()).key("busy").float(busy);
    put_engine(&mut out, health.engine);
    match health.rss_bytes {
        Some(bytes) => out.key("rss_bytes").uint(bytes),
        None => out.key("rss_bytes").float(None),
    };
    out.key("peers").uint(health.peers);
    out.done()
}

/// Whether networks fail, and how often they did, by kind.
fn put_faults(out: &mut Out, failing: bool, counters: &Counters) {
    let state = if failing { "failing" } else { "working" };
    out.key("estimate_state").text(state);
    out.key("estimate_faults").map(FrameFault::ALL.len() as u64);
    for fault in FrameFault::ALL {
        out.key(fault.name()).uint(counters.frame_faults(fault));
    }
    out.key("lift_faults").map(LiftFault::ALL.len() as u64);
    for fault in LiftFault::ALL {
        out.key(fault.name()).uint(counters.lift_faults(fault));
    }
}

/// What runs the networks, why, and what is being built.
fn put_engine(out: &mut Out, status: &EngineStatus) {
    out.key("engine").text(status.in_use());
    out.key("engine_reason").text(status.reason());
    let networks = status.networks();
    out.key("networks").map(networks.len() as u64);
    for (network, engine) in networks {
        out.key(network).text(engine);
    }
    match status.building() {
        Some(building) => {
            out.key("engine_build").map(4);
            out.key("network").text(building.network);
            out.key("phase").text(&building.phase);
            out.key("done").float(f64::from(building.done));
            out.key("waiting").uint(building.waiting as u64);
        }
        None => drop(out.key("engine_build").float(None)),
    }
}

/// Frames a second; 0 where there were none.
#[expect(
    clippy::cast_precision_loss,
    reason = "frames of a second are far below 2^53"
)]
fn rate(frames: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        frames as f64 / seconds
    } else {
        0.0
    }
}

/// What the places in `joints_m`, `keypoints_px` and `states` mean.
pub fn names() -> Vec<u8> {
    let mut out = Out::message(NAMES_SCHEMA, 6);
    out.key("joints").list(JOINT_NAMES.len());
    for name in JOINT_NAMES {
        out.text(name);
    }
    out.key("parents").list(PARENTS.len());
    for parent in PARENTS {
        out.uint(parent as u64);
    }
    out.key("keypoints").list(KEYPOINT_NAMES.len());
    for name in KEYPOINT_NAMES {
        out.text(name);
    }
    out.key("states").list(3);
    for state in ["absent", "measured", "completed"] {
        out.text(state);
    }
    out.key("angles").list(ANGLE_NAMES.len());
    for name in ANGLE_NAMES {
        out.text(name);
    }
    out.done()
}
