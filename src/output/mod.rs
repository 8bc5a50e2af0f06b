//! Output of poses: the publisher thread takes samples, encodes messages and puts them on Zenoh.
//!
//! ```text
//!   estimate ── filled ──▶ Publisher ──▶ Outlet ──▶ Zenoh
//!      ▲                      │  └─────▶ Sink, each with a thread of its own
//!      └──────── free ◀───────┘
//! ```
//!
//! The thread wakes when a pose comes, or by itself every few milliseconds.
//! Once a second it publishes the state of the daemon ([`health`]), and
//! immediately any event of the camera. Its counts are in [`Counters`].

pub mod adaptation;
pub mod archive;
mod camera;
pub mod export;
mod faults;
pub mod foxglove;
pub mod health;
pub mod json;
mod listen;
pub mod metrics;
pub mod mqtt;
mod names;
mod newest;
mod outlet;
pub mod read;
pub mod record;
pub mod repetition;
pub mod ros;
pub mod session;
pub mod sink;
pub mod subscribe;
pub mod transport;
pub mod upkeep;
pub mod web;
pub mod wire;
pub mod zenoh;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::adapt::thread::Link;
use crate::adapt::{Method, Report};
use crate::base::clock::{Clock, MonoNs, unix_ns};
use crate::base::config::{ConfigError, check};
use crate::base::limits::{MESSAGE_BYTES_MAX, PEOPLE_MAX};
use crate::base::mailbox::Mailbox;
use crate::base::secret::redacted_text;
use crate::base::slots::Receiver;
use crate::base::step::Step;
use crate::counters::{Counters, DropReason, Timed, turned_advice};
use crate::engine::EngineStatus;
use crate::motion::angles::{Angles, angles_of};
use crate::motion::exercise::{Counting, Exercise, Repetition, Signals, signals_of};
use crate::motion::floor::{FloorEvent, FloorWatch};
use crate::pose::PoseSample;
use crate::sys::rt::resident_bytes;
use health::{Event, Health, Snapshot};
use sink::{Message, Sink};
use wire::{Buffer, CLOCK_MONOTONIC, CLOCK_RECORDING, PeopleAngles, Stamp};

pub use archive::{Archive, ArchiveConfig, ArchiveError};
pub use foxglove::{Foxglove, FoxgloveConfig, FoxgloveError};
pub use mqtt::{Mqtt, MqttConfig, MqttError};
pub use names::Others;
pub use outlet::{Documents, Outlet};
pub use ros::{Ros, RosConfig, RosError};
pub use session::{Sessions, SessionsConfig, SessionsError};
pub use transport::Transport;
pub use web::{Web, WebConfig, WebError};
pub use zenoh::{DEFAULT_ENDPOINT, SessionError, ZenohConfig};

/// Longest sleep of the thread; a pose wakes it earlier.
const WAIT: Duration = Duration::from_millis(5);

/// Time between two health messages.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// Wall time is set again when it has moved by more against the monotonic clock.
const WALL_STEP_NS: u64 = 1_000_000;

/// `[publish]`: what counts as late, and as silence; what poses carry beside joints.
///
/// ```toml
/// [publish]
/// late_after_ms = 200
/// silent_after_ms = 2000
/// angles = true
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// A pose older than this when it is published is counted as late, in
    /// milliseconds, 1 to 60000. It is published all the same, with its age.
    /// Default 200: a fifth of a second is what a person notices.
    pub late_after_ms: u32,
    /// A camera that gives no frame for this long is called silent, in
    /// milliseconds, 100 to 60000. Default 2000.
    pub silent_after_ms: u32,
    /// Whether each person has joint angles (docs/reference/angles.md). Default false.
    pub angles: bool,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            late_after_ms: 200,
            silent_after_ms: 2_000,
            angles: false,
        }
    }
}

impl PublishConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check("publish.late_after_ms", self.late_after_ms, 1, 60_000)?;
        check("publish.silent_after_ms", self.silent_after_ms, 100, 60_000)
    }
}

/// Makes messages of poses and puts them out.
pub struct Publisher<'a, S = Outlet> {
    config: PublishConfig,
    camera: &'a str,
    engine: Arc<EngineStatus>,
    clock: &'a Clock,
    counters: &'a Counters,
    outlet: S,
    sinks: Vec<Box<dyn Sink>>,
    buffer: Box<Buffer>,
    unix_offset_ns: i64,
    poses: u64,
    healths: u64,
    events: u64,
    started: MonoNs,
    earlier: Snapshot,
    frames: camera::Watch,
    faults: faults::Watch,
    names: names::Watch,
    announced: bool,
    changes: Option<&'a Mailbox<PublishConfig>>,
    adaptation: Option<Adaptation>,
    counting: Option<Counting>,
    repetitions: u64,
    floor: Option<FloorWatch>,
}

/// What the publisher says about learning.
struct Adaptation {
    method: Method,
    link: Arc<Link>,
    newest: Report,
    /// Times that it has told of a moved camera.
    moved: u64,
    sequence: u64,
}

impl<'a, S: Transport> Publisher<'a, S> {
    /// A publisher for `camera`, whose frames `engine` estimates.
    ///
    /// With a live clock the wall time is taken from the machine; with a
    /// standing one, as in a replay, it is the clock's own time, so that the
    /// same recording gives the same bytes.
    pub fn new(
        config: &PublishConfig,
        camera: &'a str,
        engine: Arc<EngineStatus>,
        clock: &'a Clock,
        counters: &'a Counters,
        outlet: S,
    ) -> Self {
        let now = clock.now();
        let mut publisher = Self {
            config: config.clone(),
            camera,
            engine,
            clock,
            counters,
            outlet,
            sinks: Vec::new(),
            buffer: Box::new([0; MESSAGE_BYTES_MAX]),
            unix_offset_ns: 0,
            poses: 0,
            healths: 0,
            events: 0,
            started: now,
            earlier: Snapshot::take(counters, now),
            frames: camera::Watch::new(counters, now),
            faults: faults::Watch::default(),
            names: names::Watch::default(),
            announced: false,
            changes: None,
            adaptation: None,
            counting: None,
            repetitions: 0,
            floor: None,
        };
        publisher.set_wall_time();
        publisher
    }

    /// Publishes what comes through `poses` and sends the boxes back, until
    /// `stop` is set and none waits. Set `stop` once the thread that fills them
    /// has left.
    pub fn run(mut self, mut poses: Receiver<'_, PoseSample>, stop: &AtomicBool) {
        loop {
            // Read before the ring is emptied: what was put before the stop goes out.
            let stopping = stop.load(Ordering::Acquire);
            match self.step(&mut poses, stopping) {
                Step::Again => {}
                Step::Wait(most) => poses.wait(most),
                Step::Left(()) => break,
            }
        }
        self.leave();
    }

    /// Publishes what has come through `poses`, and does what is due beside. `stopping`: what fills them has left.
    pub fn step(&mut self, poses: &mut Receiver<'_, PoseSample>, stopping: bool) -> Step {
        self.announce();
        self.counters.publish_beats.add(1);
        while let Some(mut sample) = poses.take() {
            self.publish(&mut sample);
            poses.give_back(sample);
        }
        self.poll();
        if stopping {
            return Step::Left(());
        }
        Step::Wait(WAIT)
    }

    /// From now on takes over what is put into `changes`.
    pub const fn follow(&mut self, changes: &'a Mailbox<PublishConfig>) {
        self.changes = Some(changes);
    }

    /// From now on says on `/adaptation` how learning stands.
    pub fn tell_of(&mut self, method: Method, link: Arc<Link>) {
        self.adaptation = Some(Adaptation {
            method,
            link,
            newest: Report::default(),
            moved: 0,
            sequence: 0,
        });
    }

    /// From now on counts the repetitions of an exercise and tells of them on `/repetitions`.
    pub fn count(&mut self, exercise: Exercise) {
        self.counting = Some(Counting::new(exercise));
    }

    /// From now on tells of people on the floor.
    pub fn watch_floor(&mut self, watch: FloorWatch) {
        self.floor = Some(watch);
        tell(&mut self.sinks, &Message::Floor { people: 0 });
    }

    /// From now on hands every message to `sink` too. The first event, that the daemon has started, is among them
    /// when this is called before [`Publisher::run`] and [`Publisher::idle`].
    pub fn also(&mut self, sink: impl Sink + 'static) {
        self.sinks.push(Box::new(sink));
    }

    /// The calibration that `/calibration` answers with, where it was not known before.
    pub fn set_calibration(&self, toml: &str) {
        self.outlet.set_calibration(toml);
    }

    /// What is due while there is no camera yet, and so no thread runs: events, health, the session.
    /// Call it every few milliseconds.
    pub fn idle(&mut self) {
        self.announce();
        self.poll();
    }

    /// Says goodbye and closes the session.
    pub fn leave(mut self) {
        self.count_with(|counting, out| counting.finish(out));
        self.say_health(self.clock.now());
        self.event(Event::Stopping, None);
        self.sinks.iter_mut().for_each(|sink| sink.leave());
        self.outlet.close();
    }

    fn announce(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
            self.event(Event::Started, Some(env!("CARGO_PKG_VERSION")));
        }
    }

    /// Publishes one sample; people with a number that is not finite are left out. Where that leaves no person,
    /// nothing is sent: an empty message would say that the room is empty.
    pub fn publish(&mut self, sample: &mut PoseSample) {
        let people = sample.people.len();
        sample.people.retain(|person| wire::finite(person).is_ok());
        let unfit = people - sample.people.len();
        if unfit > 0 {
            self.counters.dropped(DropReason::Unfit, unfit as u64);
            if sample.people.is_empty() {
                // `Unfit` counts people; a frame that is not published is counted as well.
                self.counters.dropped(DropReason::NotSent, 1);
                return;
            }
        }
        let publish = self.clock.now();
        let stamp = self.stamp(self.poses, publish);
        let mut angles = PeopleAngles::new();
        if self.config.angles || self.counting.is_some() {
            let up = sample.up_camera;
            angles.extend(sample.people.iter().map(|person| angles_of(person, up)));
        }
        let told: &[Angles] = if self.config.angles { &angles } else { &[] };
        let sent = match wire::encode_with(&stamp, sample, told, &mut self.buffer) {
            Ok(length) => {
                let bytes = &self.buffer[..length];
                let sent = self.outlet.put_pose(bytes).is_ok();
                let stamp = &stamp;
                let message = Message::Pose {
                    stamp,
                    sample,
                    unfit,
                    bytes,
                };
                tell(&mut self.sinks, &message);
                // A number that a sink has seen is not given to another pose.
                if sent || !self.sinks.is_empty() {
                    self.poses += 1;
                }
                // Sinks have it, so it counts as the newest whether or not the session took it.
                self.counters
                    .set_newest(sample.capture, sample.people.len());
                sent
            }
            Err(error) => {
                log::debug!("{error}");
                false
            }
        };
        // Whether or not the pose has left: what was done counts.
        let (time, people) = (sample.capture, &sample.people);
        let mut signals = heapless::Vec::<Signals, PEOPLE_MAX>::new();
        if self.counting.is_some() {
            let people = people.iter().zip(&angles);
            signals.extend(
                people.map(|(person, angles)| signals_of(person, angles, sample.up_camera)),
            );
        }
        self.count_with(|counting, out| counting.add(time, people, &signals, out));
        self.watch_with(|watch, out| watch.add(time, people, out));
        if !sent {
            self.counters.dropped(DropReason::NotSent, 1);
            return;
        }
        let done = self.clock.now();
        let age = publish.since(sample.capture);
        if age > Duration::from_millis(self.config.late_after_ms.into()) {
            self.counters.late.add(1);
        }
        self.counters.latency.add(done.since(sample.capture));
        self.counters.timed(Timed::Publish).add(done.since(publish));
        self.counters.published.add(1);
    }

    /// What is due beside poses: events of the camera and of networks, health, the session.
    fn poll(&mut self) {
        let now = self.clock.now();
        if let Some(config) = self.changes.and_then(Mailbox::take) {
            self.config = config;
        }
        self.watch_camera(now);
        self.watch_faults(now);
        // Without frames, no frame tells that a person has left.
        self.count_with(|counting, out| counting.leave(now, out));
        self.watch_with(|watch, out| watch.leave(now, out));
        if now.since(self.earlier.at()) >= HEALTH_EVERY {
            self.set_wall_time();
            self.outlet.poll(now);
            self.watch_names(now);
            self.say_health(now);
            self.say_adaptation(now);
        }
    }

    fn watch_camera(&mut self, now: MonoNs) {
        let silent_after = Duration::from_millis(self.config.silent_after_ms.into());
        let capture = &self.counters.capture;
        for action in self.frames.look(self.counters, silent_after, now) {
            match action {
                camera::Action::Lost => {
                    let why = capture.lost_because.take();
                    self.event(Event::CameraLost, why.as_deref());
                }
                camera::Action::Back => {
                    let which = capture.back_as.take();
                    self.event(Event::CameraBack, which.as_deref());
                }
                camera::Action::FramesBack => self.event(Event::FramesBack, None),
                camera::Action::Silent { silence } => {
                    let detail = format!("none for {} ms", silence.as_millis());
                    self.event(Event::NoFrames, Some(&detail));
                }
                camera::Action::BadFrames {
                    short,
                    damaged,
                    resized,
                } => {
                    let detail = format!(
                        "so far {short} short, {damaged} damaged, {resized} of another size"
                    );
                    self.event(Event::BadFrames, Some(&detail));
                }
                camera::Action::Turned { degrees } => {
                    log::warn!("{}: {}", self.camera, turned_advice(degrees));
                    let detail = format!("by {degrees} degrees clockwise");
                    self.event(Event::CameraTurned, Some(&detail));
                }
            }
        }
    }

    /// Logs networks that fail, and tells of a run of failures and its end.
    fn watch_faults(&mut self, now: MonoNs) {
        for action in self.faults.poll(self.counters, now) {
            match action {
                faults::FaultAction::Log { text, count } => {
                    log::warn!("{}: {text}; {count} since the start", self.camera);
                }
                faults::FaultAction::Failed { text } => {
                    self.event(Event::EstimateFailed, Some(text));
                }
                faults::FaultAction::Back { failed } => {
                    let detail = format!("after {failed} frames without poses");
                    self.event(Event::EstimateBack, Some(&detail));
                }
            }
        }
    }

    /// Tells of another daemon under our name, and when it has gone.
    fn watch_names(&mut self, now: MonoNs) {
        let (came, present) = self.outlet.others().poll();
        match self.names.take(came, present, now) {
            Some(names::NameAction::Taken { session }) => {
                log::warn!(
                    "{}: another daemon (Zenoh session {session}) has the same site, device and camera name",
                    self.camera
                );
                let detail = format!("by the Zenoh session {session}");
                self.event(Event::NameTaken, Some(&detail));
            }
            Some(names::NameAction::Free) => self.event(Event::NameFree, None),
            None => {}
        }
    }

    fn say_health(&mut self, now: MonoNs) {
        let snapshot = Snapshot::take(self.counters, now);
        let health = Health {
            started: self.started,
            engine: &self.engine,
            silent: self.frames.is_silent(),
            failing: self.faults.is_failing(),
            rss_bytes: resident_bytes(),
            peers: self.outlet.peers() as u64,
        };
        self.counters.set_peers(health.peers);
        let stamp = self.stamp(self.healths, now);
        let bytes = health::health(&stamp, &health, self.counters, &self.earlier, &snapshot);
        self.earlier = snapshot;
        self.healths += 1;
        tell(&mut self.sinks, &Message::Health { bytes: &bytes });
        if let Err(error) = self.outlet.put_health(bytes) {
            log::debug!("health: {error}");
        }
    }

    fn say_adaptation(&mut self, now: MonoNs) {
        let Some(mut adaptation) = self.adaptation.take() else {
            return;
        };
        if let Some(report) = adaptation.link.reports.take() {
            adaptation.newest = report;
        }
        let stamp = self.stamp(adaptation.sequence, now);
        let untold = adaptation.link.untold.load(Ordering::Relaxed);
        let bytes = adaptation::adaptation(&stamp, adaptation.method, &adaptation.newest, untold);
        adaptation.sequence += 1;
        let report = &adaptation.newest;
        let message = Message::Adaptation {
            report,
            bytes: &bytes,
        };
        tell(&mut self.sinks, &message);
        if let Err(error) = self.outlet.put_adaptation(bytes) {
            log::debug!("adaptation: {error}");
        }
        let moved = adaptation.link.moved.load(Ordering::Relaxed);
        let is_moved = std::mem::replace(&mut adaptation.moved, moved) != moved;
        self.adaptation = Some(adaptation);
        if is_moved {
            self.event(Event::CameraMoved, None);
        }
    }

    /// Counts, where something is counted, and tells of what has ended.
    fn count_with(&mut self, count: impl FnOnce(&mut Counting, &mut dyn FnMut(&Repetition))) {
        let Some(mut counting) = self.counting.take() else {
            return;
        };
        let mut ended = Vec::new();
        count(&mut counting, &mut |found| ended.push(found.clone()));
        for found in &ended {
            let stamp = self.stamp(self.repetitions, self.clock.now());
            let bytes = repetition::repetition(&stamp, &counting.exercise().name, found);
            self.repetitions += 1;
            tell(&mut self.sinks, &Message::Repetition { bytes: &bytes });
            if let Err(error) = self.outlet.put_repetition(bytes) {
                log::debug!("repetition: {error}");
            }
        }
        self.counting = Some(counting);
    }

    /// Watches the floor, where that is wanted, and tells of what happened.
    fn watch_with(&mut self, watch: impl FnOnce(&mut FloorWatch, &mut dyn FnMut(&FloorEvent))) {
        let Some(mut floor) = self.floor.take() else {
            return;
        };
        let before = floor.reported();
        watch(&mut floor, &mut |found| {
            self.event(found.change.into(), Some(&found.to_string()));
        });
        let people = floor.reported();
        if people != before {
            tell(&mut self.sinks, &Message::Floor { people });
        }
        self.floor = Some(floor);
    }

    fn event(&mut self, event: Event, detail: Option<&str>) {
        // Made of the words of drivers and other programs, which may quote an address with its password.
        let detail = detail.map(redacted_text);
        let detail = detail.as_deref();
        match detail {
            Some(detail) => log::info!("{}: {} ({detail})", self.camera, event.name()),
            None => log::info!("{}: {}", self.camera, event.name()),
        }
        let stamp = self.stamp(self.events, self.clock.now());
        let bytes = health::event(&stamp, event, detail);
        self.events += 1;
        tell(&mut self.sinks, &Message::Event { bytes: &bytes });
        if let Err(error) = self.outlet.put_event(bytes) {
            log::debug!("{}: {error}", event.name());
        }
    }

    fn stamp(&self, sequence: u64, publish: MonoNs) -> Stamp<'a> {
        Stamp {
            sequence,
            camera: self.camera,
            clock: match self.clock {
                Clock::Live => CLOCK_MONOTONIC,
                Clock::Set(_) => CLOCK_RECORDING,
            },
            publish,
            unix_offset_ns: self.unix_offset_ns,
        }
    }

    /// Takes the wall time, where it has been set since.
    fn set_wall_time(&mut self) {
        if matches!(self.clock, Clock::Set(_)) {
            return;
        }
        let (wall, mono) = (unix_ns(), self.clock.now());
        let offset = i64::try_from(i128::from(wall) - i128::from(mono.0)).unwrap_or(0);
        let moved = offset.abs_diff(self.unix_offset_ns);
        if moved > WALL_STEP_NS {
            if self.unix_offset_ns != 0 {
                log::info!("the wall clock was set by {} ms", moved / 1_000_000);
            }
            self.unix_offset_ns = offset;
        }
    }
}

/// Hands a message to every outlet beside Zenoh.
fn tell(sinks: &mut [Box<dyn Sink>], message: &Message<'_>) {
    for sink in sinks {
        sink.take(message);
    }
}
