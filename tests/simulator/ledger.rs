//! What has really happened, and what must hold of it. The stand-ins write here; the daemon never reads it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use poised::adapt::Command;
use poised::base::clock::MonoNs;
use poised::base::limits::FRAME_SLOTS;
use poised::frame::FrameMeta;
use poised::output::read::PoseMessage;
use poised::pose::JointState;

/// Lines kept of what happened last.
const TRACE_LINES: usize = 60;

/// A frame that the camera has given.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// When it was really taken.
    pub taken: MonoNs,
    /// Whether the driver stamps frames on the machine's clock, and always has since the camera was opened.
    pub is_honest: bool,
    /// Which opening of the camera it is of.
    pub opening: u32,
}

/// A frame of which there are poses.
#[derive(Clone, Copy, Debug)]
struct Estimated {
    sequence: u32,
    capture: MonoNs,
    people: usize,
    opening: u32,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Frames that the camera gave, by their ids.
    pub frames: Vec<Made>,
    /// Frames that the camera made but never delivered, between two that were delivered.
    pub lost: u64,
    /// Frames given with too few bytes, and damaged.
    pub bad: [u64; 2],
    /// Openings of the camera so far.
    pub openings: u32,
    /// The newest frame that was looked at.
    newest: Option<(usize, MonoNs)>,
    /// The opening of the newest frame before which the detector forgot what it had seen; the first needs none.
    looked_into: u32,
    /// Whether the detector has forgotten what it saw, and was given no frame of a later opening since.
    has_forgotten: bool,
    /// Frames looked at, and those whose network failed.
    pub looked_at: u64,
    pub failed: u64,
    /// Poses that are still to be published, oldest first.
    estimated: VecDeque<Estimated>,
    /// Poses that a newer one overtook.
    pub unsent: u64,
    /// Poses that were published.
    pub published: u64,
    last_published: Option<MonoNs>,
    opening: u32,
    /// Highest id in the opening of the newest message, and in those before.
    id_max: [u32; 2],
    generation: u32,
    /// Commands that the learner was given.
    pub obeyed: Vec<Command>,
    /// Addresses of frames.
    slots: Vec<usize>,
    /// Whether the session was closed in order.
    pub closed: bool,
    /// The first thing that must not be.
    wrong: Option<String>,
    /// What happened last, where that is wanted.
    trace: Option<VecDeque<String>>,
}

impl Ledger {
    /// An empty one; `traced`: with words for a reader.
    pub fn new(traced: bool) -> Self {
        Self {
            trace: traced.then(VecDeque::new),
            looked_into: 1,
            ..Self::default()
        }
    }

    /// Notes what happens, where a reader wants it.
    pub fn note(&mut self, now: MonoNs, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() == TRACE_LINES {
                trace.pop_front();
            }
            trace.push_back(format!("{:>12.3} ms  {}", now.0 as f64 * 1e-6, what()));
        }
    }

    /// Notes what must not be; the first counts.
    pub fn wrong(&mut self, what: impl FnOnce() -> String) {
        if self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    /// As [`Self::wrong`], where `good` is false.
    pub fn check(&mut self, good: bool, what: impl FnOnce() -> String) {
        if !good {
            self.wrong(what);
        }
    }

    /// The first thing that must not be.
    pub fn take_wrong(&mut self) -> Option<String> {
        self.wrong.take()
    }

    /// What happened last.
    pub fn trace(&self) -> String {
        let lines = self.trace.iter().flatten().map(String::as_str);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A slot is being filled.
    pub fn slot(&mut self, address: usize) {
        if !self.slots.contains(&address) {
            self.slots.push(address);
            let count = self.slots.len();
            self.check(count <= FRAME_SLOTS, || {
                format!("{count} frames exist, and there is room for {FRAME_SLOTS}")
            });
        }
    }

    /// The detector forgets where people were.
    pub fn forgets(&mut self, now: MonoNs) {
        self.note(now, || "estimate: all is forgotten".to_owned());
        self.has_forgotten = true;
    }

    /// The detector is given a frame.
    pub fn looks_at(&mut self, id: usize, meta: &FrameMeta, now: MonoNs) {
        self.looked_at += 1;
        let (capture, sequence) = (meta.capture, meta.sequence);
        self.note(now, || {
            format!("estimate: frame {sequence} (id {id}), said to be of {capture:?}")
        });
        let Some(&made) = self.frames.get(id) else {
            return self.wrong(|| format!("frame {id} was never made"));
        };
        if let Some((before, last)) = self.newest {
            self.check(id > before, || {
                format!("frame {id} is looked at after frame {before}")
            });
            self.check(capture > last, || {
                format!("frame {id} is of {capture:?}, the one before of {last:?}")
            });
        }
        self.newest = Some((id, capture));
        self.check(capture <= now, || {
            format!("frame {id} is of {capture:?}, and it is {now:?}")
        });
        self.check(!made.is_honest || capture == made.taken, || {
            format!(
                "frame {id} was taken at {:?} and is said to be of {capture:?}",
                made.taken
            )
        });
        if made.opening > self.looked_into {
            let has_forgotten = std::mem::take(&mut self.has_forgotten);
            // By a wrong time a frame may be of before the camera was opened again. So is one that waited while the
            // camera was opened once more. Then the next frame is the first.
            let may_be_of_before = !made.is_honest || made.opening < self.openings;
            self.check(has_forgotten || may_be_of_before, || {
                format!(
                    "frame {id} is of another opening, and what was seen before is not forgotten"
                )
            });
            if has_forgotten {
                self.looked_into = made.opening;
            }
        }
    }

    /// The detector gives people.
    pub fn estimated(&mut self, id: usize, meta: &FrameMeta, people: usize) {
        let opening = self.frames.get(id).map_or(0, |made| made.opening);
        self.estimated.push_back(Estimated {
            sequence: meta.sequence,
            capture: meta.capture,
            people,
            opening,
        });
    }

    /// A message leaves.
    pub fn published(&mut self, message: &PoseMessage, now: MonoNs) {
        let sample = &message.sample;
        let sequence = message.sequence;
        self.note(now, || {
            let ids: Vec<u32> = sample.people.iter().map(|person| person.id).collect();
            format!(
                "publish: message {sequence}, frame {}, people {ids:?}",
                sample.frame_sequence
            )
        });
        let wanted = self.published;
        self.check(sequence == wanted, || {
            format!("message {sequence}, and {wanted} comes next")
        });
        self.published += 1;
        let (capture, publish) = (sample.capture, message.publish);
        if let Some(last) = self.last_published.replace(capture) {
            self.check(capture > last, || {
                format!("message {sequence} is of {capture:?}, the one before of {last:?}")
            });
        }
        self.check(publish >= capture && message.age_ms >= 0.0, || {
            format!("message {sequence} is of {capture:?} and was published at {publish:?}")
        });
        self.check(publish <= now, || {
            format!("message {sequence} was published at {publish:?}, and it is {now:?}")
        });
        // A message of any frame that was not estimated is an empty room that is none.
        let found = loop {
            match self.estimated.pop_front() {
                Some(next) if (next.sequence, next.capture) == (sample.frame_sequence, capture) => {
                    break Some(next);
                }
                Some(_) => self.unsent += 1,
                None => break None,
            }
        };
        match found {
            None => self.wrong(|| {
                format!("message {sequence}: there are no poses of the frame of {capture:?} to be published")
            }),
            Some(found) => self.people(message, found),
        }
    }

    fn people(&mut self, message: &PoseMessage, found: Estimated) {
        let (people, sequence) = (&message.sample.people, message.sequence);
        self.check(people.len() <= found.people, || {
            format!(
                "message {sequence}: {} of {} people",
                people.len(),
                found.people
            )
        });
        if found.opening > self.opening {
            self.opening = found.opening;
            self.id_max[1] = self.id_max[0];
        }
        let before = self.id_max[1];
        for (place, person) in people.iter().enumerate() {
            let id = person.id;
            let twice = people[..place].iter().any(|other| other.id == id);
            self.check(id > 0 && !twice, || {
                format!("message {sequence}: the id {id} is there twice, or none")
            });
            self.check(id > before, || {
                format!("message {sequence}: the id {id} is of before the camera was opened again")
            });
            self.id_max[0] = self.id_max[0].max(id);
            // Without a pose in space there is no head that made it.
            if person
                .states
                .iter()
                .all(|state| *state == JointState::Absent)
            {
                continue;
            }
            let (generation, last) = (person.head.generation, self.generation);
            self.check(generation >= last, || {
                format!("message {sequence}: made by head {generation} after {last}")
            });
            self.generation = generation.max(last);
        }
    }

    /// Poses that were estimated and never published.
    pub fn unpublished(&self) -> u64 {
        self.unsent + self.estimated.len() as u64
    }
}

/// A ledger that every part of the world writes to.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    /// Shares one.
    pub fn new(ledger: Ledger) -> Self {
        Self(Arc::new(Mutex::new(ledger)))
    }

    /// To write.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
