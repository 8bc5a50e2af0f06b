//! Poses as ROS 2 messages, for nodes that run on `rmw_zenoh`: joints as points, skeletons to look at, diagnostics,
//! and where the camera is. No ROS 2 is needed on this machine.
//!
//! | topic | type |
//! | --- | --- |
//! | `/<namespace>/joints` | `sensor_msgs/msg/PointCloud2` |
//! | `/<namespace>/markers` | `visualization_msgs/msg/MarkerArray` |
//! | `/diagnostics` | `diagnostic_msgs/msg/DiagnosticArray` |
//! | `/tf` | `tf2_msgs/msg/TFMessage`, where the mount is known |
//!
//! With `humans`, people also come as REP-155 has them (`humans.rs`).
//!
//! No images: there is no code that sends one. `docs/guide/ros2.md` is the reference.
//!
//! All of it runs on one thread with a Zenoh session of its own, a client of the router. The publish thread leaves
//! messages in a mailbox and never waits.

mod config;
mod humans;
pub(super) mod messages;
mod rmw;
pub(super) mod schemas;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::newest::Moment;
use super::sink::{Message, Priority, Sink, SinkThread};
use crate::base::clock::Clock;
use crate::camera::Mount;
use crate::counters::{Counters, RosTopic};
use thread::{Link, Place, Worker};

pub use config::{Names, RosConfig};
pub(super) use rmw::topic_name;

/// What can keep the outlet from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RosError {
    /// The system has no room for a thread.
    #[error("the thread for ROS 2 does not start")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// What the outlet says beside the messages.
#[derive(Clone, Debug)]
pub struct RosAbout {
    /// The camera's name.
    pub camera: String,
    /// The device's name, for the diagnostics.
    pub device: String,
    /// What all threads count.
    pub counters: Arc<Counters>,
    /// The time.
    pub clock: Arc<Clock>,
}

/// The outlet for ROS 2. It sends from [`Ros::open`] until it is dropped; hand it to
/// [`Publisher::also`](super::Publisher::also).
#[derive(Debug)]
pub struct Ros {
    link: Arc<Link>,
    counters: Arc<Counters>,
    thread: SinkThread,
    spare: Option<Box<Moment>>,
}

/// Tells the outlet, later, how the camera hangs.
#[derive(Clone, Debug)]
pub struct RosMount(Arc<Link>);

impl RosMount {
    /// From now on `/tf` says where the camera is. The first mount stays.
    pub fn set(&self, mount: Mount) {
        let _ = self.0.newest.mount.set(mount);
    }
}

impl Ros {
    /// Starts the thread; `None` where the configuration has no `connect`. A router that does not answer is waited
    /// for in the background.
    ///
    /// # Errors
    ///
    /// [`RosError`] where the thread does not start.
    pub fn open(config: &RosConfig, about: RosAbout) -> Result<Option<Self>, RosError> {
        let Some(endpoint) = &config.connect else {
            return Ok(None);
        };
        let RosAbout {
            camera,
            device,
            counters,
            clock,
        } = about;
        counters.ros.on.store(true, Ordering::Relaxed);
        let link = Arc::<Link>::default();
        let place = Place {
            session: config::session_of(endpoint),
            domain: config.domain,
            names: config.names(&camera),
            camera,
            device,
            humans: config.humans,
        };
        let worker = Worker::new(place, Arc::clone(&link), Arc::clone(&counters), clock);
        let thread = SinkThread::start("ros", Priority::Normal, move || worker.run())
            .map_err(|source| RosError::Thread { source })?;
        Ok(Some(Self {
            link,
            counters,
            thread,
            spare: None,
        }))
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.wakes() {
            thread.unpark();
        }
    }

    /// What tells this outlet how the camera hangs, once that is known.
    pub fn mount(&self) -> RosMount {
        RosMount(Arc::clone(&self.link))
    }
}

impl Sink for Ros {
    fn take(&mut self, message: &Message<'_>) {
        match *message {
            Message::Pose { stamp, sample, .. } => {
                if self.link.newest.leave(&mut self.spare, stamp, sample) {
                    self.counters.ros.replaced.add(1);
                }
            }
            // One that is not taken is followed by the next in a second.
            Message::Health { bytes } => drop(self.link.newest.health.put(bytes.to_vec())),
            Message::Event { .. }
            | Message::Adaptation { .. }
            | Message::Repetition { .. }
            | Message::Floor { .. } => return,
        }
        self.wake();
    }

    fn leave(&mut self) {
        self.link.stop.store(true, Ordering::Release);
        self.wake();
        self.thread.leave();
    }
}

impl Drop for Ros {
    fn drop(&mut self) {
        self.leave();
        self.thread
            .end("the session does not close, leaving without it");
    }
}

impl RosConfig {
    /// The topics of `camera` with their types, as `ros2 topic list -t` shows them; without `/tf` where it is not
    /// wanted or the mount is not known.
    pub fn topics(&self, camera: &str, has_mount: bool) -> Vec<(String, String)> {
        let names = self.names(camera);
        let placed = has_mount && names.parent_frame.is_some();
        let topics = RosTopic::ALL.into_iter();
        topics
            .filter(|topic| *topic != RosTopic::Tf || placed)
            .map(|topic| (rmw::topic_name(&names, topic), rmw::form(topic).name()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::MonoNs;
    use crate::output::wire::{CLOCK_MONOTONIC, Stamp};
    use crate::pose::PoseSample;

    fn about() -> RosAbout {
        RosAbout {
            camera: "front".into(),
            device: "kiosk".into(),
            counters: Arc::default(),
            clock: Arc::new(Clock::live()),
        }
    }

    #[test]
    fn it_is_off_without_an_endpoint() {
        let about = about();
        assert!(
            Ros::open(&RosConfig::default(), about.clone())
                .unwrap()
                .is_none()
        );
        assert!(!about.counters.ros.on.load(Ordering::Relaxed));
    }

    #[test]
    fn a_router_that_is_not_there_holds_no_thread_up_and_is_counted() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = RosConfig {
            connect: Some(format!("tcp/{address}")),
            ..RosConfig::default()
        };
        let about = about();
        let mut ros = Ros::open(&config, about.clone()).unwrap().unwrap();
        let stamp = Stamp {
            sequence: 0,
            camera: "front",
            clock: CLOCK_MONOTONIC,
            publish: MonoNs(1),
            unix_offset_ns: 0,
        };
        let sample = PoseSample::default();
        let counters = &about.counters.ros;
        let mut handed_over = 0;
        while counters.unanswered.get() == 0 {
            ros.take(&Message::Pose {
                stamp: &stamp,
                sample: &sample,
                unfit: 0,
                bytes: &[],
            });
            ros.take(&Message::Health { bytes: b"x" });
            handed_over += 1;
            assert!(handed_over < 20_000, "the router is not missed");
            std::thread::sleep(Duration::from_millis(5));
        }
        let begun = about.clock.now();
        drop(ros);
        let took = about.clock.now().since(begun);
        assert!(took < Duration::from_secs(5), "{took:?} to leave");
        let dropped = counters.replaced.get() + counters.no_session.get();
        // The last may still lie in the mailbox.
        assert!(dropped + 1 >= handed_over, "{dropped} of {handed_over}");
        assert!(counters.sent.iter().all(|sent| sent.get() == 0));
    }

    #[test]
    fn topics_are_those_of_the_camera_and_tf_is_there_with_a_mount() {
        let config = RosConfig::default();
        let all: Vec<String> = config
            .topics("front", true)
            .into_iter()
            .map(|(name, kind)| format!("{name} [{kind}]"))
            .collect();
        assert_eq!(
            all,
            [
                "/poised/front/joints [sensor_msgs/msg/PointCloud2]",
                "/poised/front/markers [visualization_msgs/msg/MarkerArray]",
                "/diagnostics [diagnostic_msgs/msg/DiagnosticArray]",
                "/tf [tf2_msgs/msg/TFMessage]",
            ]
        );
        assert_eq!(config.topics("front", false).len(), 3);
    }
}
