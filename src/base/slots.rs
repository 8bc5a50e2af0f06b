//! Slots go round between two threads: filled one way, free the other.
//!
//! ```text
//!   capture ── newest ──▶ estimate          estimate ── filled ──▶ publish
//!      ▲                     │                  ▲                     │
//!      └─────── free ◀───────┘                  └─────── free ◀───────┘
//! ```
//!
//! A slot is a box made at start. Moving it moves a pointer, so the thread that
//! holds it is the only one that can touch it, and nothing is copied.
//!
//! There are two kinds. Poses queue: each is wanted, oldest first
//! ([`Queued`]). Frames do not: of those that wait only the newest is of use,
//! and a ring would keep the oldest when estimation is slower than the camera.
//! So the frame that waits lies in a [`Mailbox`], where a newer one takes its
//! place ([`Newest`]).

use std::sync::OnceLock;
use std::thread::Thread;
use std::time::Duration;

use heapless::spsc::{Consumer, Producer, Queue};

use super::mailbox::{Mailbox, Put};

/// The one place a thread waits at, and how others wake it.
#[derive(Debug, Default)]
pub struct WaitPoint(OnceLock<Thread>);

impl WaitPoint {
    /// A point without a waiting thread.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Makes the calling thread the one that waits here. The first call counts.
    pub fn settle(&self) {
        self.0.get_or_init(std::thread::current);
    }

    /// Wakes the thread that waits here; a wake before the wait is not lost.
    pub fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }

    /// Waits until woken, at most `timeout`. May return early: look again.
    pub fn wait(&self, timeout: Duration) {
        self.settle();
        std::thread::park_timeout(timeout);
    }
}

/// Slots of which only the newest filled one is kept. `N` is one more than the slots.
#[derive(Debug)]
pub struct Newest<T, const N: usize> {
    waiting: Mailbox<Box<T>>,
    free: Queue<Box<T>, N>,
    wait: WaitPoint,
}

/// The side of [`Newest`] that fills: the capture thread.
pub struct Filler<'a, T> {
    waiting: &'a Mailbox<Box<T>>,
    free: Consumer<'a, Box<T>>,
    wait: &'a WaitPoint,
}

/// The side of [`Newest`] that takes: the estimate thread.
pub struct Taker<'a, T> {
    waiting: &'a Mailbox<Box<T>>,
    free: Producer<'a, Box<T>>,
    wait: &'a WaitPoint,
}

impl<T, const N: usize> Newest<T, N> {
    /// Makes the slots: `N - 1`, each from `make`.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        let mut free = Queue::new();
        while free.enqueue(Box::new(make())).is_ok() {}
        Self {
            waiting: Mailbox::new(),
            free,
            wait: WaitPoint::new(),
        }
    }

    /// Whether a filled slot was left behind that was never taken, once both sides are gone.
    pub fn left_behind(&mut self) -> bool {
        self.waiting.take().is_some()
    }

    /// The two sides.
    pub fn split(&mut self) -> (Filler<'_, T>, Taker<'_, T>) {
        let (give, take) = self.free.split();
        (
            Filler {
                waiting: &self.waiting,
                free: take,
                wait: &self.wait,
            },
            Taker {
                waiting: &self.waiting,
                free: give,
                wait: &self.wait,
            },
        )
    }
}

impl<T> Filler<'_, T> {
    /// A slot to fill, if one is free.
    pub fn free(&mut self) -> Option<Box<T>> {
        self.free.dequeue()
    }

    /// Hands a filled slot over and wakes the other side.
    /// [`Put::Replaced`] brings back an older slot that was not taken: it is free again.
    pub fn put(&mut self, slot: Box<T>) -> Put<Box<T>> {
        let put = self.waiting.put(slot);
        self.wait.wake();
        put
    }

    /// Wakes the other side without a slot, so that it sees the end.
    pub fn wake(&self) {
        self.wait.wake();
    }
}

impl<T> Taker<'_, T> {
    /// The newest filled slot, if there is one.
    pub fn take(&mut self) -> Option<Box<T>> {
        self.waiting.take()
    }

    /// Sends a slot back to be filled again. Drops it where the ring is full,
    /// which needs a slot that did not come from here.
    pub fn give_back(&mut self, slot: Box<T>) {
        let sent = self.free.enqueue(slot);
        debug_assert!(sent.is_ok(), "the ring has room for every slot");
    }

    /// Waits for a slot, at most `timeout`. May return early: look again.
    pub fn wait(&self, timeout: Duration) {
        self.wait.wait(timeout);
    }

    /// The point this side waits at, for others who have something to say to it.
    pub const fn wait_point(&self) -> &WaitPoint {
        self.wait
    }
}

/// Slots in a queue, oldest first. `N` is one more than the slots.
#[derive(Debug)]
pub struct Queued<T, const N: usize> {
    filled: Queue<Box<T>, N>,
    free: Queue<Box<T>, N>,
    wait: WaitPoint,
}

/// The side of [`Queued`] that fills.
pub struct Sender<'a, T> {
    filled: Producer<'a, Box<T>>,
    free: Consumer<'a, Box<T>>,
    wait: &'a WaitPoint,
}

/// The side of [`Queued`] that takes.
pub struct Receiver<'a, T> {
    filled: Consumer<'a, Box<T>>,
    free: Producer<'a, Box<T>>,
    wait: &'a WaitPoint,
}

impl<T, const N: usize> Queued<T, N> {
    /// Makes the slots: `N - 1`, each from `make`.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        let mut free = Queue::new();
        while free.enqueue(Box::new(make())).is_ok() {}
        Self {
            filled: Queue::new(),
            free,
            wait: WaitPoint::new(),
        }
    }

    /// The two sides.
    pub fn split(&mut self) -> (Sender<'_, T>, Receiver<'_, T>) {
        let (put, take) = self.filled.split();
        let (give, got) = self.free.split();
        (
            Sender {
                filled: put,
                free: got,
                wait: &self.wait,
            },
            Receiver {
                filled: take,
                free: give,
                wait: &self.wait,
            },
        )
    }
}

impl<T> Sender<'_, T> {
    /// A slot to fill; `None` when all of them wait to be taken.
    pub fn free(&mut self) -> Option<Box<T>> {
        self.free.dequeue()
    }

    /// Hands a filled slot over and wakes the other side. Drops it where the
    /// ring is full, which needs a slot that did not come from here.
    pub fn put(&mut self, slot: Box<T>) {
        let sent = self.filled.enqueue(slot);
        debug_assert!(sent.is_ok(), "the ring has room for every slot");
        self.wait.wake();
    }

    /// How many wait to be taken.
    pub fn waiting(&self) -> usize {
        self.filled.len()
    }

    /// Wakes the other side without a slot, so that it sees the end.
    pub fn wake(&self) {
        self.wait.wake();
    }
}

impl<T> Receiver<'_, T> {
    /// The oldest filled slot, if there is one.
    pub fn take(&mut self) -> Option<Box<T>> {
        self.filled.dequeue()
    }

    /// Sends a slot back to be filled again. Drops it where the ring is full,
    /// which needs a slot that did not come from here.
    pub fn give_back(&mut self, slot: Box<T>) {
        let sent = self.free.enqueue(slot);
        debug_assert!(sent.is_ok(), "the ring has room for every slot");
    }

    /// Waits for a slot, at most `timeout`. May return early: look again.
    pub fn wait(&self, timeout: Duration) {
        self.wait.wait(timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn newest_wins_and_no_slot_is_lost() {
        let mut slots = Newest::<u32, 5>::new(|| 0);
        let (mut filler, mut taker) = slots.split();
        let mut back = Vec::new();
        for number in [10, 11, 12] {
            let mut slot = filler.free().unwrap();
            *slot = number;
            match filler.put(slot) {
                Put::Stored => {}
                Put::Replaced(older) => back.push(*older),
                Put::Busy(_) => unreachable!("no thread is taking"),
            }
        }
        assert_eq!(back, [10, 11]);
        assert_eq!(taker.take(), Some(Box::new(12)));
        assert_eq!(taker.take(), None);
        taker.give_back(Box::new(12));
        assert_eq!(filler.free(), Some(Box::new(0)));
        assert_eq!(filler.free(), Some(Box::new(12)));
        assert_eq!(filler.free(), None);
    }

    #[test]
    fn a_queue_keeps_the_order_and_says_when_it_is_full() {
        let mut slots = Queued::<u32, 3>::new(|| 0);
        let (mut sender, mut receiver) = slots.split();
        for number in [1, 2] {
            let mut slot = sender.free().unwrap();
            *slot = number;
            sender.put(slot);
        }
        assert_eq!(sender.free(), None);
        assert_eq!(sender.waiting(), 2);
        let first = receiver.take().unwrap();
        assert_eq!(*first, 1);
        receiver.give_back(first);
        assert_eq!(sender.free(), Some(Box::new(1)));
        assert_eq!(receiver.take(), Some(Box::new(2)));
        assert_eq!(receiver.take(), None);
    }

    #[test]
    fn with_a_slow_taker_the_filler_never_runs_dry() {
        let last = if cfg!(miri) { 40 } else { 5_000 };
        let mut slots = Newest::<u32, 5>::new(|| 0);
        let (mut filler, mut taker) = slots.split();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut slot = filler.free().unwrap();
                let mut number = 0;
                while number < last {
                    number += 1;
                    *slot = number;
                    slot = match filler.put(slot) {
                        Put::Stored => filler.free().expect("a free slot"),
                        Put::Replaced(older) => older,
                        Put::Busy(same) => {
                            number -= 1;
                            same
                        }
                    };
                }
            });
            let mut seen = 0;
            while seen < last {
                match taker.take() {
                    Some(slot) => {
                        assert!(*slot > seen, "{slot} after {seen}");
                        seen = *slot;
                        taker.give_back(slot);
                    }
                    None => taker.wait(Duration::from_millis(1)),
                }
            }
        });
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let point = WaitPoint::new();
        point.settle();
        point.wake();
        let clock = crate::base::clock::Clock::live();
        let before = clock.now();
        point.wait(Duration::from_secs(20));
        assert!(clock.now().since(before) < Duration::from_secs(10));
    }
}
