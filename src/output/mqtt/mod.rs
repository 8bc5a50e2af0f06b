//! Whether people are there, how many and what they do, over MQTT: for Home Assistant, which finds the device by
//! itself, and for all else that reads JSON from a broker.
//!
//! | topic | what |
//! | --- | --- |
//! | `<prefix>/<site>/<device>/<camera>/state` | JSON, once a second and on change |
//! | `<prefix>/<site>/<device>/<camera>/availability` | `online` or `offline` |
//! | `homeassistant/device/<id>/config` | what Home Assistant is told of the device |
//!
//! No images, no joints, no places, no ids. `docs/guide/home-assistant.md` is the reference.
//!
//! All of it runs on one thread of the lowest priority, which has a tokio runtime of its own for the client
//! (ADR 16). The publish thread leaves messages in a mailbox and never waits.

mod config;
mod discovery;
mod room;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Builder;

use super::sink::{Message, Priority, Sink, SinkThread};
use crate::base::clock::Clock;
use crate::base::mailbox::Put;
use crate::counters::Counters;
use crate::pose::PoseSample;
use room::Glimpse;
use thread::{Link, Place, Worker};

pub use config::{BrokerAddress, MqttConfig, Topics, is_open_to_all};

/// Tries to leave a message where the thread is just taking one, which is the move of a small value.
const PUT_TRIES: u32 = 8;

/// What can keep the outlet from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MqttError {
    /// The system has no room for a thread or its timer.
    #[error("the thread for MQTT does not start")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// What the outlet knows beside the messages.
#[derive(Clone, Debug)]
pub struct MqttAbout {
    /// The site's name.
    pub site: String,
    /// The device's name.
    pub device: String,
    /// The camera's name.
    pub camera: String,
    /// Poses that are older say nothing about the room.
    pub silent_after: Duration,
    /// Whether people on the floor are reported.
    pub floor: bool,
    /// What all threads count.
    pub counters: Arc<Counters>,
    /// The time.
    pub clock: Arc<Clock>,
}

/// The outlet for MQTT. It publishes from [`Mqtt::open`] until it is dropped; hand it to
/// [`Publisher::also`](super::Publisher::also).
#[derive(Debug)]
pub struct Mqtt {
    link: Arc<Link>,
    clock: Arc<Clock>,
    silent_after: Duration,
    thread: SinkThread,
    /// What was left for the thread last.
    left: Option<Glimpse>,
    /// People reported on the floor, where that is watched.
    on_floor: Option<usize>,
}

impl Mqtt {
    /// Starts the thread; `None` where the configuration has no `broker`. A broker that does not answer is waited for
    /// in the background.
    ///
    /// # Errors
    ///
    /// [`MqttError`] where the thread does not start.
    pub fn open(config: &MqttConfig, about: MqttAbout) -> Result<Option<Self>, MqttError> {
        let Some(broker) = config.address() else {
            return Ok(None);
        };
        let thread_error = |source| MqttError::Thread { source };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Names of hosts are looked up on a thread beside, one at a time.
            .max_blocking_threads(1)
            .thread_name("mqtt-lookup")
            .build()
            .map_err(thread_error)?;
        let MqttAbout {
            site,
            device,
            camera,
            silent_after,
            floor,
            counters,
            clock,
        } = about;
        counters.mqtt.on.store(true, Ordering::Relaxed);
        let link = Arc::<Link>::default();
        let place = Place {
            broker,
            topics: config.topics(&site, &device, &camera),
            config: config.clone(),
            device,
            camera,
            floor,
        };
        let worker = Worker::new(
            place,
            silent_after,
            Arc::clone(&link),
            counters,
            Arc::clone(&clock),
        );
        let work = move || {
            runtime.block_on(worker.run());
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        };
        let thread = SinkThread::start("mqtt", Priority::Lowest, work).map_err(thread_error)?;
        Ok(Some(Self {
            link,
            clock,
            silent_after,
            thread,
            left: None,
            on_floor: None,
        }))
    }

    /// Leaves what is in view for the thread, and wakes it if that is something else than before.
    fn take_pose(&mut self, sample: &PoseSample, unfit: usize) {
        let before = self.left.as_ref();
        let glimpse = Glimpse {
            on_floor: self.on_floor,
            ..Glimpse::of(sample, unfit, self.clock.now())
        };
        let glimpse = glimpse.after(before, self.silent_after);
        let same = before.is_some_and(|before| before.shows_the_same(&glimpse));
        let mut put = self.link.glimpse.put(glimpse.clone());
        for _ in 0..PUT_TRIES {
            let Put::Busy(glimpse) = put else { break };
            std::hint::spin_loop();
            put = self.link.glimpse.put(glimpse);
        }
        // One that was not taken is followed by the next frame's, which then differs from what was left.
        if !matches!(put, Put::Busy(_)) {
            self.left = Some(glimpse);
            if !same {
                self.link.wake.notify_one();
            }
        }
    }
}

impl Sink for Mqtt {
    fn take(&mut self, message: &Message<'_>) {
        match *message {
            Message::Pose { sample, unfit, .. } => self.take_pose(sample, unfit),
            Message::Health { bytes } => {
                // One that is not taken is followed by the next in a second.
                drop(self.link.health.put(bytes.to_vec()));
                self.link.wake.notify_one();
            }
            // Said with the next pose.
            Message::Floor { people } => self.on_floor = Some(people),
            Message::Event { .. } | Message::Adaptation { .. } | Message::Repetition { .. } => {}
        }
    }

    fn leave(&mut self) {
        self.link.stop.store(true, Ordering::Release);
        self.link.wake.notify_one();
        self.thread.leave();
    }
}

impl Drop for Mqtt {
    fn drop(&mut self) {
        self.leave();
        self.thread
            .end("the connection does not close, leaving without it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::MonoNs;
    use crate::counters::MqttFault;
    use crate::output::wire::{CLOCK_MONOTONIC, Stamp};

    fn about() -> MqttAbout {
        MqttAbout {
            site: "clinic".into(),
            device: "kiosk".into(),
            camera: "front".into(),
            silent_after: Duration::from_secs(2),
            floor: false,
            counters: Arc::default(),
            clock: Arc::new(Clock::live()),
        }
    }

    #[test]
    fn it_is_off_without_a_broker() {
        let about = about();
        let none = Mqtt::open(&MqttConfig::default(), about.clone()).unwrap();
        assert!(none.is_none());
        assert!(!about.counters.mqtt.on.load(Ordering::Relaxed));
    }

    #[test]
    fn a_broker_that_is_not_there_holds_no_thread_up_and_is_counted() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = MqttConfig {
            broker: Some(format!("mqtt://{address}")),
            ..MqttConfig::default()
        };
        let about = about();
        let mut mqtt = Mqtt::open(&config, about.clone()).unwrap().unwrap();
        let stamp = Stamp {
            sequence: 0,
            camera: "front",
            clock: CLOCK_MONOTONIC,
            publish: MonoNs(1),
            unix_offset_ns: 0,
        };
        let sample = PoseSample::default();
        let counters = &about.counters.mqtt;
        let unreachable = &counters.failures[MqttFault::Unreachable as usize];
        let mut handed_over = 0;
        while unreachable.get() == 0 {
            mqtt.take(&Message::Pose {
                stamp: &stamp,
                sample: &sample,
                unfit: 0,
                bytes: &[],
            });
            mqtt.take(&Message::Health { bytes: b"x" });
            handed_over += 1;
            assert!(handed_over < 20_000, "the broker is not missed");
            std::thread::sleep(Duration::from_millis(5));
        }
        let begun = about.clock.now();
        drop(mqtt);
        let took = about.clock.now().since(begun);
        assert!(took < Duration::from_secs(5), "{took:?} to leave");
        assert_eq!(counters.states.get(), 0);
        assert!(!counters.connected.load(Ordering::Relaxed));
    }
}
