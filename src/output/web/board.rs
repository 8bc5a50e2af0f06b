//! What readers are shown: the newest of each kind of message, and the last events.
//!
//! ```text
//!   publish thread             web thread
//!   Sink ── newest pose ──▶ ┐                     ┌──▶ a reader's own task
//!        ── rare messages ─▶┴── Board (JSON) ─────┴──▶ another's
//! ```
//!
//! A reader takes from the board what it has not seen, whenever its socket takes something. One that is slow finds a
//! newer pose there and never sees those in between.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hyper::body::Bytes;
use tokio::sync::{Notify, mpsc};

use super::guard::Refusal;
use crate::adapt::Report;
use crate::base::mailbox::{Mailbox, Put};
use crate::output::sink::{Message, Sink};

/// Events kept for readers who come later: more than happen in a bad hour, and a page shows fewer.
const EVENTS_MAX: usize = 16;

/// Rare messages that wait for the web thread: five seconds of health and adaptation, and a burst of events.
pub(super) const RARE_MAX: usize = 16;

/// Tries to leave a pose where the web thread is just taking one, which is the move of a pointer.
const PUT_TRIES: u32 = 8;

/// What the publish thread and the web thread share.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The newest pose message as CBOR, with its number.
    pub(super) pose: Mailbox<(u64, Vec<u8>)>,
    /// Wakes the web thread for a pose.
    pub(super) wake: Notify,
    /// Ends the web thread.
    pub(super) stop: Notify,
    /// Readers of the event stream.
    pub(super) readers: AtomicUsize,
    /// Connections.
    pub(super) connections: AtomicUsize,
    /// Poses that a reader did not get since a newer one had come.
    pub(super) skipped: AtomicU64,
    /// Messages that the web thread had no room for.
    pub(super) dropped: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Link {
    pub(super) fn refuse(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }
}

/// A message that is rare, on its way to the web thread.
#[derive(Debug)]
pub(super) enum Rare {
    Event(Vec<u8>),
    Health(Vec<u8>),
    Adaptation(Report, Vec<u8>),
    Repetition(Vec<u8>),
    /// JSON already.
    Guidance(String),
}

/// The publish thread's side.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) link: std::sync::Arc<Link>,
    pub(super) rare: mpsc::Sender<Rare>,
    /// Pose messages so far.
    pub(super) poses: u64,
    /// A buffer that came back.
    pub(super) spare: Vec<u8>,
}

impl Sink for Sender {
    fn take(&mut self, message: &Message<'_>) {
        let rare = match *message {
            Message::Pose { bytes, .. } => return self.take_pose(bytes),
            Message::Floor { .. } => return,
            Message::Event { bytes } => Rare::Event(bytes.to_vec()),
            Message::Health { bytes } => Rare::Health(bytes.to_vec()),
            Message::Repetition { bytes } => Rare::Repetition(bytes.to_vec()),
            Message::Adaptation { report, bytes } => Rare::Adaptation(*report, bytes.to_vec()),
        };
        if self.rare.try_send(rare).is_err() {
            self.link.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sender {
    fn take_pose(&mut self, bytes: &[u8]) {
        self.poses += 1;
        let mut copy = std::mem::take(&mut self.spare);
        copy.clear();
        copy.extend_from_slice(bytes);
        let mut put = self.link.pose.put((self.poses, copy));
        for _ in 0..PUT_TRIES {
            let Put::Busy(value) = put else { break };
            std::hint::spin_loop();
            put = self.link.pose.put(value);
        }
        if let Put::Replaced((_, buffer)) | Put::Busy((_, buffer)) = put {
            self.spare = buffer;
        }
        if self.link.readers.load(Ordering::Acquire) > 0 {
            self.link.wake.notify_one();
        }
    }
}

/// A part of the event stream, ready to be sent, and its number among those of its kind, from 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) text: Bytes,
}

impl Part {
    /// A message of the event stream. `json` is one line.
    pub(super) fn new(number: u64, event: &str, json: &str) -> Self {
        debug_assert!(!json.contains(['\n', '\r']), "JSON in one line");
        let text = format!("event: {event}\ndata: {json}\n\n").into();
        Self { number, text }
    }
}

/// What readers are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    pub(super) pose: Part,
    pub(super) health: Part,
    pub(super) adaptation: Part,
    pub(super) guidance: Part,
    events: VecDeque<Part>,
    /// Whether the daemon ends.
    pub(super) closing: bool,
}

impl Board {
    /// Adds one of the messages of which a reader gets each: of `name` in the event stream.
    pub(super) fn add(&mut self, name: &str, json: &str) {
        let number = self.events.back().map_or(1, |last| last.number + 1);
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Part::new(number, name, json));
    }
}

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    event: u64,
    health: u64,
    adaptation: u64,
    guidance: u64,
    pose: u64,
}

impl Seen {
    /// What the reader gets next, and how many poses it will never see: rare messages before poses, for there are
    /// few of them.
    pub(super) fn next(&mut self, board: &Board) -> Option<(Bytes, u64)> {
        let event = board.events.iter().find(|part| part.number > self.event);
        if let Some(part) = event {
            self.event = part.number;
            return Some((part.text.clone(), 0));
        }
        for (part, seen) in [
            (&board.health, &mut self.health),
            (&board.adaptation, &mut self.adaptation),
            (&board.guidance, &mut self.guidance),
        ] {
            if part.number > *seen {
                *seen = part.number;
                return Some((part.text.clone(), 0));
            }
        }
        if board.pose.number > self.pose {
            let before = std::mem::replace(&mut self.pose, board.pose.number);
            // What came before the reader did is not missed.
            let skipped = if before == 0 {
                0
            } else {
                board.pose.number - before - 1
            };
            return Some((board.pose.text.clone(), skipped));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_slow_reader_gets_the_newest_pose_and_every_event() {
        let (mut board, mut seen) = (Board::default(), Seen::default());
        let text = |next: Option<(Bytes, u64)>| {
            next.map(|(text, skipped)| (String::from_utf8(text.to_vec()).unwrap(), skipped))
        };
        board.pose = Part::new(3, "pose", "3");
        board.add("event", "1");
        board.add("event", "2");
        let first = text(seen.next(&board)).unwrap().0;
        assert_eq!(first, "event: event\ndata: 1\n\n");
        assert!(text(seen.next(&board)).unwrap().0.contains("data: 2"));
        let (pose, skipped) = text(seen.next(&board)).unwrap();
        assert_eq!((pose.as_str(), skipped), ("event: pose\ndata: 3\n\n", 0));
        assert_eq!(text(seen.next(&board)), None);
        board.pose = Part::new(9, "pose", "9");
        board.health = Part::new(1, "health", "{}");
        assert!(
            text(seen.next(&board))
                .unwrap()
                .0
                .starts_with("event: health")
        );
        assert_eq!(text(seen.next(&board)).unwrap().1, 5);
        assert_eq!(text(seen.next(&board)), None);
    }

    #[test]
    fn however_many_events_there_are_the_last_are_kept() {
        let mut board = Board::default();
        for number in 0..1000 {
            board.add("event", &number.to_string());
        }
        assert_eq!(board.events.len(), EVENTS_MAX);
        let mut seen = Seen::default();
        let (first, _) = seen.next(&board).unwrap();
        assert!(first.ends_with(b"data: 984\n\n"), "{first:?}");
    }

    #[test]
    fn a_web_thread_that_does_not_move_holds_nobody_up() {
        let link = Arc::<Link>::default();
        let (rare, _waiting) = mpsc::channel(RARE_MAX);
        let mut sender = Sender {
            link: Arc::clone(&link),
            rare,
            poses: 0,
            spare: Vec::new(),
        };
        for _ in 0..100 {
            sender.take(&Message::Health { bytes: b"x" });
            sender.take_pose(b"pose");
        }
        let dropped = link.dropped.load(Ordering::Relaxed);
        assert_eq!(dropped, 100 - RARE_MAX as u64);
        assert_eq!(link.pose.take(), Some((100, b"pose".to_vec())));
    }
}
