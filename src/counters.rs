//! Counters of all threads: the source of the health message, the log line
//! and the figures of `--json`.
//!
//! Only atomics, so any thread may count without waiting and any may read.
//! Counts only grow; a rate is the difference of two readings.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::MonoNs;
use crate::capture::thread::CaptureCounters;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a frame or a pose went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DropReason {
    /// The camera's numbering has a gap.
    LostByCamera,
    /// Fewer bytes than the format needs.
    Short,
    /// Marked as damaged, or does not decode.
    Damaged,
    /// A newer frame had come before this one was looked at.
    PassedOver,
    /// Too old when it came, or not later than the frame before it.
    Stale,
    /// A network gave nothing that can be used ([`FrameFault`]).
    EstimateFailed,
    /// The publisher's ring was full.
    PublisherFull,
    /// A person left out of a message: a number is not finite.
    Unfit,
    /// A person published without a pose in space ([`LiftFault`]).
    NoPose,
    /// The session took no message, or all people of the frame were unfit.
    NotSent,
}

impl DropReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::LostByCamera,
        Self::Short,
        Self::Damaged,
        Self::PassedOver,
        Self::Stale,
        Self::EstimateFailed,
        Self::PublisherFull,
        Self::Unfit,
        Self::NoPose,
        Self::NotSent,
    ];

    /// Its name in messages and figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostByCamera => "lost_by_camera",
            Self::Short => "short",
            Self::Damaged => "damaged",
            Self::PassedOver => "passed_over",
            Self::Stale => "stale",
            Self::EstimateFailed => "estimate_failed",
            Self::PublisherFull => "publisher_full",
            Self::Unfit => "unfit",
            Self::NoPose => "no_pose",
            Self::NotSent => "not_sent",
        }
    }
}

/// Why no people came of a whole frame. Nothing is published of such a frame: an empty message would say that the
/// room is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum FrameFault {
    /// The engine failed while it ran a network.
    Engine,
    /// A network gave a number that is not finite.
    NotFinite,
    /// A tensor did not have the size of the network's: our own mistake.
    Tensor,
    /// The frame held fewer bytes than its format needs.
    Frame,
}

impl FrameFault {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Engine, Self::NotFinite, Self::Tensor, Self::Frame];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::NotFinite => "not_finite",
            Self::Tensor => "tensor",
            Self::Frame => "frame",
        }
    }

    /// What happened, for the log.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Engine => {
                "the engine failed while running the person detector or the person network"
            }
            Self::NotFinite => {
                "the person detector or the person network gave a number that is not finite"
            }
            Self::Tensor => "a tensor does not have the size that its network needs",
            Self::Frame => "a frame holds fewer bytes than its format needs",
        }
    }
}

/// Why a person has no pose in space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LiftFault {
    /// Too few joints are in view.
    TooFewSeen,
    /// Joints and rays do not agree on a place before the camera.
    NoRoot,
    /// The frame's time does not lie after the person's last.
    TimeStoodBack,
    /// The lifter or its final layers gave a number that is not finite.
    NotFinite,
    /// The engine failed while it ran the lifter.
    Engine,
}

impl LiftFault {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::TooFewSeen,
        Self::NoRoot,
        Self::TimeStoodBack,
        Self::NotFinite,
        Self::Engine,
    ];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooFewSeen => "too_few_seen",
            Self::NoRoot => "no_root",
            Self::TimeStoodBack => "time_stood_back",
            Self::NotFinite => "not_finite",
            Self::Engine => "engine",
        }
    }

    /// What happened, for the log; `None` if it says something about the view, not about the program.
    pub const fn text(self) -> Option<&'static str> {
        match self {
            Self::TooFewSeen | Self::NoRoot => None,
            Self::TimeStoodBack => Some("a frame is not later than the one before it"),
            Self::NotFinite => Some("the lifter gave a number that is not finite"),
            Self::Engine => Some("the engine failed while running the lifter"),
        }
    }

    /// Whether a network failed: no person would get a pose.
    const fn is_failure(self) -> bool {
        matches!(self, Self::NotFinite | Self::Engine)
    }
}

/// The stages from frame to message that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Timed {
    /// Finding people.
    Find,
    /// Keypoints and features of all people.
    Keypoints,
    /// Tracking and the windows.
    Track,
    /// Lifter, head and root of all people.
    Lift,
    /// Naming what they do.
    Name,
    /// Encoding and handing over to Zenoh.
    Publish,
}

impl Timed {
    /// All parts, in the order a frame travels.
    pub const ALL: [Self; 6] = [
        Self::Find,
        Self::Keypoints,
        Self::Track,
        Self::Lift,
        Self::Name,
        Self::Publish,
    ];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Keypoints => "keypoints",
            Self::Track => "track",
            Self::Lift => "lift",
            Self::Name => "name",
            Self::Publish => "publish",
        }
    }
}

/// How much is left out on a machine that cannot keep up (`daemon::load`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    #[default]
    Full,
    /// The person detector looks less often.
    Saving,
    /// And people are looked at in turn.
    Turns,
}

impl Level {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Full, Self::Saving, Self::Turns];

    /// Its word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Saving => "saving",
            Self::Turns => "turns",
        }
    }
}

/// A topic of the outlet for ROS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum RosTopic {
    /// Joints of all people as points.
    Joints,
    /// Skeletons and labels to look at.
    Markers,
    /// How the daemon is.
    Diagnostics,
    /// Where the camera is.
    Tf,
}

impl RosTopic {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Joints, Self::Markers, Self::Diagnostics, Self::Tf];

    /// Its name without the namespace.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joints => "joints",
            Self::Markers => "markers",
            Self::Diagnostics => "diagnostics",
            Self::Tf => "tf",
        }
    }
}

/// What the outlet for ROS 2 counts.
#[derive(Debug, Default)]
pub struct RosCounters {
    /// Whether there is such an outlet.
    pub on: AtomicBool,
    /// Whether its router is connected.
    pub connected: AtomicBool,
    /// Tries to reach the router that failed.
    pub unanswered: Count,
    /// Poses that its thread did not look at, since a newer one had come.
    pub replaced: Count,
    /// Poses that came while there was no session.
    pub no_session: Count,
    /// Messages that the session did not take.
    pub not_sent: Count,
    /// Messages sent, by topic.
    pub sent: [Count; RosTopic::ALL.len()],
    /// Messages sent about people as REP-155 has them.
    pub humans: Count,
    /// Whether there are subscribers, by topic.
    pub listening: [AtomicBool; RosTopic::ALL.len()],
}

/// What the outlet for Foxglove counts.
#[derive(Debug, Default)]
pub struct FoxgloveCounters {
    /// Whether there is such an outlet.
    pub on: AtomicBool,
    /// Viewers that are connected now.
    pub viewers: AtomicU64,
    /// Messages sent.
    pub sent: Count,
    /// Poses that its thread did not look at, since a newer one had come.
    pub replaced: Count,
    /// Messages that a viewer did not get, since a newer one had come.
    pub skipped: Count,
    /// Viewers that were not let in.
    pub refused: Count,
}

/// Why the outlet for MQTT has no connection with its broker, or lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum MqttFault {
    /// No reply: the broker is away, or its name is not known.
    Unreachable,
    /// No encrypted connection: the broker's certificate is not accepted.
    Tls,
    /// The broker refuses the user or the password.
    Credentials,
    /// The broker refuses the connection for another reason.
    Refused,
    /// A connection that had been accepted ended.
    Lost,
    /// The file with the password or with the certificates cannot be used.
    File,
}

impl MqttFault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Unreachable,
        Self::Tls,
        Self::Credentials,
        Self::Refused,
        Self::Lost,
        Self::File,
    ];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Credentials => "credentials",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::File => "file",
        }
    }

    /// Whether it lasts until a person does something about it.
    pub const fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::Tls | Self::Credentials | Self::Refused | Self::File
        )
    }
}

/// What the outlet for MQTT counts.
#[derive(Debug, Default)]
pub struct MqttCounters {
    /// Whether there is such an outlet.
    pub on: AtomicBool,
    /// Whether its broker is connected.
    pub connected: AtomicBool,
    /// Connections that the broker accepted.
    pub connections: Count,
    /// Connections that failed or ended, by reason.
    pub failures: [Count; MqttFault::ALL.len()],
    /// States published.
    pub states: Count,
    /// Messages that the client had no room for.
    pub not_sent: Count,
}

/// Why recordings are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum RecordFault {
    /// The disk is full, or less of it is free than is to stay so.
    Full,
    /// The folder cannot be made, read or written to.
    Folder,
    /// A file cannot be written or removed for another reason.
    Write,
}

impl RecordFault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Full, Self::Folder, Self::Write];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Folder => "folder",
            Self::Write => "write",
        }
    }
}

/// What recording counts.
#[derive(Debug, Default)]
pub struct RecordCounters {
    /// Whether there are recordings.
    pub on: AtomicBool,
    /// Whether a file is being written.
    pub writing: AtomicBool,
    /// Poses written.
    pub poses: Count,
    /// Messages that its thread was too slow for.
    pub dropped: Count,
    /// Messages that came while nothing could be written.
    pub not_written: Count,
    /// Failures, by reason.
    pub failures: [Count; RecordFault::ALL.len()],
    /// Files that were finished.
    pub files: Count,
    /// Files that were removed for others.
    pub removed: Count,
    /// Files that a crash or a power cut had left unfinished, and that have their index now.
    pub repaired: Count,
}

/// What is said where people are seen better in frames that are turned clockwise by so many degrees.
pub fn turned_advice(degrees: u32) -> String {
    format!(
        "people are seen better in frames that are rotated by {degrees} degrees clockwise: is the camera upside down \
         or on its side? See `rotate`"
    )
}

/// What all threads count.
#[derive(Debug, Default)]
pub struct Counters {
    /// What the outlet for ROS 2 did.
    pub ros: RosCounters,
    /// The outlet for Foxglove.
    pub foxglove: FoxgloveCounters,
    /// What the outlet for MQTT did.
    pub mqtt: MqttCounters,
    /// What recording did.
    pub record: RecordCounters,
    /// What the capture thread did.
    pub capture: CaptureCounters,
    /// Frames that went through all stages.
    pub estimated: Count,
    /// Pose messages handed to Zenoh.
    pub published: Count,
    /// Pose messages that were older than they should be when published.
    pub late: Count,
    /// Grows as long as the estimate thread is not stuck.
    pub estimate_beats: Count,
    /// Grows as long as the publish thread is not stuck.
    pub publish_beats: Count,
    /// From capture to the message being handed to Zenoh.
    pub latency: Histogram,
    drops: [Count; DropReason::ALL.len()],
    frame_faults: [Count; FrameFault::ALL.len()],
    lift_faults: [Count; LiftFault::ALL.len()],
    frames_failed_in_a_row: AtomicU64,
    lifts_failed_in_a_row: AtomicU64,
    timed: [Histogram; Timed::ALL.len()],
    people: AtomicU32,
    level: AtomicU8,
    busy_permille: AtomicU32,
    better_turned: AtomicU8,
    newest_capture_ns: AtomicU64,
    peers: AtomicU64,
}

impl Counters {
    /// Counts what went no further.
    pub fn dropped(&self, reason: DropReason, how_many: u64) {
        self.drops[reason as usize].add(how_many);
    }

    /// How many went no further for this reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        let capture = |counters: &[&AtomicU64]| {
            let counts = counters.iter().map(|count| count.load(Ordering::Relaxed));
            counts.sum::<u64>()
        };
        let of_camera = match reason {
            DropReason::LostByCamera => capture(&[&self.capture.lost]),
            DropReason::Short => capture(&[&self.capture.short]),
            DropReason::Damaged => capture(&[&self.capture.damaged]),
            DropReason::PassedOver => capture(&[&self.capture.replaced]),
            DropReason::Stale => capture(&[&self.capture.stale, &self.capture.stepped_back]),
            _ => 0,
        };
        self.drops[reason as usize].get() + of_camera
    }

    /// Counts a frame of which no people came.
    pub fn frame_failed(&self, fault: FrameFault) {
        self.dropped(DropReason::EstimateFailed, 1);
        self.frame_faults[fault as usize].add(1);
        self.frames_failed_in_a_row.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a frame that went through all stages.
    pub fn frame_estimated(&self) {
        self.estimated.add(1);
        self.frames_failed_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Counts what became of lifting the people of one frame: who has no pose and why, and how many have one.
    pub fn lifted(&self, faults: &[LiftFault], poses: usize) {
        for fault in faults {
            self.dropped(DropReason::NoPose, 1);
            self.lift_faults[*fault as usize].add(1);
        }
        if poses > 0 {
            self.lifts_failed_in_a_row.store(0, Ordering::Relaxed);
        } else if faults.iter().any(|fault| fault.is_failure()) {
            self.lifts_failed_in_a_row.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many frames failed for this reason.
    pub fn frame_faults(&self, fault: FrameFault) -> u64 {
        self.frame_faults[fault as usize].get()
    }

    /// How many people have no pose in space for this reason.
    pub fn lift_faults(&self, fault: LiftFault) -> u64 {
        self.lift_faults[fault as usize].get()
    }

    /// Frames in a row of which no people came; frames in a row in which the lifter failed for all who could have
    /// had a pose.
    pub fn failed_in_a_row(&self) -> [u64; 2] {
        [&self.frames_failed_in_a_row, &self.lifts_failed_in_a_row]
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// How often each thread has gone round: capture, estimate, publish. One that stands still is stuck.
    pub fn beats(&self) -> [u64; 3] {
        [
            self.capture.beats.load(Ordering::Relaxed),
            self.estimate_beats.get(),
            self.publish_beats.get(),
        ]
    }

    /// Frames that came from the camera whole.
    pub fn captured(&self) -> u64 {
        self.capture.frames.load(Ordering::Relaxed)
    }

    /// How many frames and poses went no further for any reason but
    /// [`DropReason::Unfit`] and [`DropReason::NoPose`], which count people.
    pub fn drops_total(&self) -> u64 {
        let of_people =
            |reason: &DropReason| matches!(reason, DropReason::Unfit | DropReason::NoPose);
        let reasons = DropReason::ALL.iter().filter(|reason| !of_people(reason));
        reasons.map(|reason| self.drops(*reason)).sum()
    }

    /// The times of one stage.
    pub fn timed(&self, part: Timed) -> &Histogram {
        &self.timed[part as usize]
    }

    /// Says what the newest pose holds.
    pub fn set_newest(&self, capture: MonoNs, people: usize) {
        let people = u32::try_from(people).unwrap_or(u32::MAX);
        self.people.store(people, Ordering::Relaxed);
        // 0 is before the first.
        self.newest_capture_ns
            .store(capture.0.max(1), Ordering::Relaxed);
    }

    /// Says how much the machine has to do.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a few at most; casts saturate"
    )]
    pub fn set_load(&self, level: Level, busy: f32) {
        self.level.store(level as u8, Ordering::Relaxed);
        let permille = (1e3 * busy) as u32;
        self.busy_permille.store(permille, Ordering::Relaxed);
    }

    /// Says by how many quarter turns clockwise frames would have to be turned for people to be seen better.
    #[expect(clippy::cast_possible_truncation, reason = "at most three")]
    pub fn set_better_turned(&self, quarters: usize) {
        self.better_turned.store(quarters as u8, Ordering::Relaxed);
    }

    /// By how many degrees clockwise frames would have to be turned for people to be seen better; 0 where they are the
    /// right way up, or that is not known.
    pub fn better_turned_deg(&self) -> u32 {
        90 * u32::from(self.better_turned.load(Ordering::Relaxed))
    }

    /// How much is left out, and which share of the time between two frames of the camera a frame takes.
    pub fn load(&self) -> (Level, f64) {
        let level = self.level.load(Ordering::Relaxed);
        let busy = f64::from(self.busy_permille.load(Ordering::Relaxed)) * 1e-3;
        (Level::ALL[usize::from(level)], busy)
    }

    /// Says how many Zenoh sessions are connected.
    pub fn set_peers(&self, peers: u64) {
        self.peers.store(peers, Ordering::Relaxed);
    }

    /// Zenoh sessions connected with, as of the last second.
    pub fn peers(&self) -> u64 {
        self.peers.load(Ordering::Relaxed)
    }

    /// People in the newest pose.
    pub fn people(&self) -> u32 {
        self.people.load(Ordering::Relaxed)
    }

    /// When the frame of the newest pose was taken; `None` before the first.
    pub fn newest_capture(&self) -> Option<MonoNs> {
        let newest = self.newest_capture_ns.load(Ordering::Relaxed);
        (newest > 0).then_some(MonoNs(newest))
    }
}

/// Buckets of an octave; a bucket is a sixteenth of its octave wide, so a
/// quantile is at most 3.2 % from the truth.
const PER_OCTAVE: usize = 16;

/// Octaves above the first [`PER_OCTAVE`] microseconds: up to 134 s.
const OCTAVES: usize = 23;

const BUCKETS: usize = PER_OCTAVE * (OCTAVES + 1);

/// How often a duration fell into each of a fixed set of buckets.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    buckets: [u32; BUCKETS],
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
        }
    }
}

impl Histogram {
    /// Counts a duration; all above 134 s are in the last bucket.
    pub fn add(&self, duration: Duration) {
        let us = usize::try_from(duration.as_micros()).unwrap_or(usize::MAX);
        self.buckets[bucket(us)].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn read(&self) -> Reading {
        Reading {
            buckets: std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed)),
        }
    }
}

impl Reading {
    /// What came since `earlier`, a reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|i| self.buckets[i].wrapping_sub(earlier.buckets[i])),
        }
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// How many durations were at most `bound_s` seconds, to within the bucket that the bound falls into: one that may
    /// hold longer ones is not counted.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 microseconds")]
    pub fn count_within(&self, bound_s: f64) -> u64 {
        let within = |bucket: usize| {
            let (low_us, width_us) = edges(bucket);
            (low_us + width_us - 1) as f64 <= bound_s * 1e6
        };
        let counts = self.buckets.iter().enumerate();
        let counts = counts.take_while(|(bucket, _)| within(*bucket));
        counts.map(|(_, count)| u64::from(*count)).sum()
    }

    /// All durations together in milliseconds, to within 3.2 %.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 microseconds")]
    pub fn total_ms(&self) -> f64 {
        let at = |bucket| {
            let (low_us, width_us) = edges(bucket);
            low_us as f64 + 0.5 * (width_us as f64 - 1.0)
        };
        let sum: f64 = self
            .buckets
            .iter()
            .enumerate()
            .map(|(bucket, count)| f64::from(*count) * at(bucket))
            .sum();
        sum * 1e-3
    }

    /// The duration in milliseconds that a share of all, 0 to 1, does not
    /// exceed: the middle of its bucket. `None` if there are none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts and microseconds are far below 2^53, the share is clamped"
    )]
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let at = self.buckets.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        })?;
        let (low_us, width_us) = edges(at);
        Some((low_us as f64 + 0.5 * (width_us as f64 - 1.0)) * 1e-3)
    }
}

const fn bucket(us: usize) -> usize {
    if us < PER_OCTAVE {
        return us;
    }
    let octave = us.ilog2() as usize - PER_OCTAVE.ilog2() as usize;
    if octave >= OCTAVES {
        return BUCKETS - 1;
    }
    PER_OCTAVE * octave + (us >> octave)
}

/// Lowest duration and width of a bucket, in microseconds.
const fn edges(bucket: usize) -> (usize, usize) {
    if bucket < 2 * PER_OCTAVE {
        return (bucket, 1);
    }
    let octave = bucket / PER_OCTAVE - 1;
    ((bucket - PER_OCTAVE * octave) << octave, 1 << octave)
}

const _: () = {
    let mut i = 0;
    while i < BUCKETS {
        let (low, width) = edges(i);
        assert!(bucket(low) == i, "a bucket holds its lowest duration");
        assert!(bucket(low + width - 1) == i, "and its highest");
        i += 1;
    }
    i = 0;
    while i < DropReason::ALL.len() {
        assert!(
            DropReason::ALL[i] as usize == i,
            "in the order of their numbers"
        );
        i += 1;
    }
    i = 0;
    while i < Timed::ALL.len() {
        assert!(Timed::ALL[i] as usize == i, "in the order of their numbers");
        i += 1;
    }
    i = 0;
    while i < FrameFault::ALL.len() {
        assert!(
            FrameFault::ALL[i] as usize == i,
            "in the order of their numbers"
        );
        i += 1;
    }
    i = 0;
    while i < LiftFault::ALL.len() {
        assert!(
            LiftFault::ALL[i] as usize == i,
            "in the order of their numbers"
        );
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thirtieth_of_the_truth() {
        let histogram = Histogram::default();
        for us in 1..=10_000 {
            histogram.add(Duration::from_micros(us));
        }
        let reading = histogram.read();
        assert_eq!(reading.count(), 10_000);
        for (share, truth_ms) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0), (0.0, 0.001)] {
            let got = reading.quantile_ms(share).unwrap();
            assert!(
                (got - truth_ms).abs() <= truth_ms / 30.0,
                "{share}: {got} ms"
            );
        }
    }

    #[test]
    fn all_durations_add_up() {
        let histogram = Histogram::default();
        for ms in 1..=100 {
            histogram.add(Duration::from_millis(ms));
        }
        let total = histogram.read().total_ms();
        assert!((total - 5050.0).abs() < 5050.0 * 0.032, "{total} ms");
    }

    #[test]
    fn a_histogram_without_durations_has_no_quantile() {
        assert_eq!(Histogram::default().read().quantile_ms(0.5), None);
    }

    #[test]
    fn a_reading_less_an_earlier_one_holds_only_what_came_between() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_secs(1));
        let earlier = histogram.read();
        histogram.add(Duration::from_millis(2));
        let between = histogram.read().since(&earlier);
        assert_eq!(between.count(), 1);
        let p99 = between.quantile_ms(0.99).unwrap();
        assert!((p99 - 2.0).abs() < 0.07, "{p99} ms");
    }

    #[test]
    fn the_longest_duration_has_a_bucket() {
        let histogram = Histogram::default();
        histogram.add(Duration::MAX);
        histogram.add(Duration::from_secs(301));
        assert!(histogram.read().quantile_ms(1.0).unwrap() > 130_000.0);
    }

    #[test]
    fn each_kind_of_fault_is_counted_apart_and_a_success_ends_the_run() {
        let counters = Counters::default();
        counters.frame_failed(FrameFault::Engine);
        counters.frame_failed(FrameFault::NotFinite);
        counters.frame_failed(FrameFault::NotFinite);
        assert_eq!(counters.drops(DropReason::EstimateFailed), 3);
        let faults = FrameFault::ALL.map(|fault| counters.frame_faults(fault));
        assert_eq!((faults, counters.failed_in_a_row()), ([1, 2, 0, 0], [3, 0]));
        counters.frame_estimated();
        assert_eq!(counters.failed_in_a_row(), [0, 0]);

        counters.lifted(&[LiftFault::TooFewSeen], 0);
        assert_eq!(
            counters.failed_in_a_row(),
            [0, 0],
            "a person behind a table is no failure"
        );
        counters.lifted(&[LiftFault::Engine, LiftFault::TooFewSeen], 0);
        counters.lifted(&[LiftFault::NotFinite], 0);
        // An empty room says nothing about the lifter.
        counters.lifted(&[], 0);
        assert_eq!(counters.failed_in_a_row(), [0, 2]);
        let faults = LiftFault::ALL.map(|fault| counters.lift_faults(fault));
        assert_eq!(
            (faults, counters.drops(DropReason::NoPose)),
            ([2, 0, 0, 1, 1], 4)
        );
        counters.lifted(&[LiftFault::Engine], 1);
        assert_eq!(counters.failed_in_a_row(), [0, 0]);
    }

    #[test]
    fn every_reason_of_a_drop_is_documented() {
        let document = include_str!("../docs/reference/messages.md");
        let (_, reasons) = document.split_once("Reasons in `drops`:").unwrap();
        let (reasons, _) = reasons.split_once("\n\n").unwrap();
        for reason in DropReason::ALL {
            let name = reason.name();
            assert!(reasons.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn people_left_out_are_no_dropped_frames() {
        let counters = Counters::default();
        counters.dropped(DropReason::Unfit, 3);
        counters.dropped(DropReason::Stale, 2);
        counters.dropped(DropReason::Short, 1);
        assert_eq!(counters.drops_total(), 3);
        assert_eq!(counters.drops(DropReason::Unfit), 3);
    }
}
