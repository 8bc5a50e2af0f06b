//! People as REP-155 has them, for nodes of ROS4HRI: `[ros] humans`.
//!
//! | topic | type | when |
//! | --- | --- | --- |
//! | `/humans/bodies/tracked` | `hri_msgs/msg/IdsList` | each frame |
//! | `/humans/bodies/<id>/roi` | `hri_msgs/msg/NormalizedRegionOfInterest2D` | each frame with that person |
//! | `/humans/bodies/<id>/skeleton2d` | `hri_msgs/msg/Skeleton2D` | each frame with that person |
//!
//! An id is the camera's name and the number that a person keeps: `front_7`. Topics of a person who has left stay for
//! a while, so that one who is found again is not declared again at each gap.

use std::collections::BTreeMap;
use std::time::Duration;

use zenoh::Session;

use super::config::ros_token;
use super::messages;
use super::rmw::{self, Target};
use super::thread::{Place, Port};
use crate::base::clock::{MonoNs, unix_ns};
use crate::base::limits::TRACKS_MAX;
use crate::counters::RosCounters;
use crate::output::newest::Moment;
use crate::output::zenoh::SessionError;

/// How long topics of a person who is not in view stay: longer than any tracker keeps an id (`track.keep_s`).
const KEPT: Duration = Duration::from_secs(12);

/// A person is in view for so long after the last frame with that person: where people take turns, as on a machine with
/// too much to do, one who is not in a frame has not left.
const IN_VIEW: Duration = Duration::from_secs(1);

/// The publishers of one person.
struct Body {
    id: String,
    roi: Port,
    skeleton: Port,
    seen: MonoNs,
}

impl Body {
    fn is_in_view(&self, now: MonoNs) -> bool {
        now.since(self.seen) <= IN_VIEW
    }
}

/// The publishers of all people.
pub(super) struct Humans {
    tracked: Port,
    bodies: BTreeMap<u32, Body>,
    /// How many ids the last message on `tracked` had.
    told: usize,
    /// Numbers of publishers are not used twice in a session.
    next_entity: usize,
}

impl Humans {
    pub(super) fn declare(session: &Session, place: &Place) -> Result<Self, SessionError> {
        let tracked = Target::humans("tracked", rmw::IDS_LIST, rmw::FIRST_FREE_ENTITY);
        Ok(Self {
            tracked: Port::declare(session, place, &tracked)?,
            bodies: BTreeMap::new(),
            told: 0,
            next_entity: rmw::FIRST_FREE_ENTITY + 1,
        })
    }

    /// Sends what is known of the people of a frame.
    pub(super) fn send(
        &mut self,
        session: &Session,
        place: &Place,
        moment: &Moment,
        now: MonoNs,
        counters: &RosCounters,
    ) {
        let (unix_ns, frame) = (moment.unix_ns, place.names.frame.as_str());
        let size = [moment.sample.width_px, moment.sample.height_px];
        let mut payload = Vec::new();
        for person in &moment.sample.people {
            if let Err(error) = self.meet(session, place, person.id, now) {
                counters.not_sent.add(1);
                log::debug!("ros: person {}: {error}", person.id);
                continue;
            }
            let Some(body) = self.bodies.get_mut(&person.id) else {
                continue;
            };
            messages::roi(&mut payload, unix_ns, frame, person, size);
            count(body.roi.send(&payload), counters);
            messages::skeleton(&mut payload, unix_ns, frame, person, size);
            count(body.skeleton.send(&payload), counters);
        }
        self.send_ids(unix_ns, frame, now, counters);
    }

    /// Ends the topics of people who have been gone for long, with frames or without; says that they left.
    pub(super) fn forget(&mut self, place: &Place, now: MonoNs, counters: &RosCounters) {
        self.bodies.retain(|_, body| now.since(body.seen) < KEPT);
        let in_view = self.bodies.values().filter(|body| body.is_in_view(now));
        if in_view.count() < self.told {
            self.send_ids(unix_ns(), &place.names.frame, now, counters);
        }
    }

    fn send_ids(&mut self, unix_ns: u64, frame: &str, now: MonoNs, counters: &RosCounters) {
        let here = self.bodies.values();
        let ids: Vec<&str> = here
            .filter(|body| body.is_in_view(now))
            .map(|body| body.id.as_str())
            .collect();
        self.told = ids.len();
        let mut payload = Vec::new();
        messages::ids(&mut payload, unix_ns, frame, &ids);
        count(self.tracked.send(&payload), counters);
    }

    /// Declares the topics of a person who is new.
    fn meet(
        &mut self,
        session: &Session,
        place: &Place,
        person: u32,
        now: MonoNs,
    ) -> Result<(), SessionError> {
        if let Some(body) = self.bodies.get_mut(&person) {
            body.seen = now;
            return Ok(());
        }
        while self.bodies.len() >= TRACKS_MAX {
            let oldest = self.bodies.iter().min_by_key(|(_, body)| body.seen.0);
            let Some((&oldest, _)) = oldest else { break };
            self.bodies.remove(&oldest);
        }
        let id = format!("{}_{person}", ros_token(&place.camera));
        let mut port = |what: &str, form| {
            let target = Target::humans(&format!("{id}/{what}"), form, self.next_entity);
            self.next_entity += 1;
            Port::declare(session, place, &target)
        };
        let (roi, skeleton) = (port("roi", rmw::ROI)?, port("skeleton2d", rmw::SKELETON)?);
        let body = Body {
            id,
            roi,
            skeleton,
            seen: now,
        };
        self.bodies.insert(person, body);
        Ok(())
    }
}

/// Counts a message that left, or one that did not.
fn count(sent: zenoh::Result<()>, counters: &RosCounters) {
    match sent {
        Ok(()) => counters.humans.add(1),
        Err(error) => {
            counters.not_sent.add(1);
            log::debug!("ros: humans: {error}");
        }
    }
}
