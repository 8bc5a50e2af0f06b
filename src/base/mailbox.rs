//! One place for one value between two threads; the newest wins and no thread waits.
//!
//! Head weights travel from the adapter to the estimate thread this way, and
//! frames from the camera to it. The lock is only ever tried: a thread that finds it
//! taken goes on with what it has. It is held for the move of one value.

use std::sync::{Mutex, MutexGuard, TryLockError};

/// Room for one value, handed from one thread to another.
#[derive(Debug)]
pub struct Mailbox<T>(Mutex<Option<T>>);

/// What became of a value put into a [`Mailbox`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an older value, or the one that was put, comes back"]
pub enum Put<T> {
    /// It lies in the mailbox, which was empty.
    Stored,
    /// It lies in the mailbox; the older value that was not taken comes back.
    Replaced(T),
    /// The other side is just taking; the value comes back, to be put again later.
    Busy(T),
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Mailbox<T> {
    /// An empty mailbox.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Leaves a value. Never waits.
    pub fn put(&self, value: T) -> Put<T> {
        match self.try_lock() {
            None => Put::Busy(value),
            Some(mut room) => match room.replace(value) {
                None => Put::Stored,
                Some(older) => Put::Replaced(older),
            },
        }
    }

    /// Takes the value, if one lies there and the other side is not just
    /// putting another. Never waits.
    pub fn take(&self) -> Option<T> {
        self.try_lock()?.take()
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Option<T>>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            // The lock covers a move, which cannot leave half a value behind.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_wins_and_the_older_comes_back() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.put(1), Put::Stored);
        assert_eq!(mailbox.put(2), Put::Replaced(1));
        assert_eq!(mailbox.take(), Some(2));
        assert_eq!(mailbox.take(), None);
    }

    #[test]
    fn a_thread_that_finds_it_locked_goes_on() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.put(1), Put::Stored);
        let held = mailbox.0.lock().unwrap();
        assert_eq!(mailbox.put(2), Put::Busy(2));
        assert_eq!(mailbox.take(), None);
        drop(held);
        assert_eq!(mailbox.take(), Some(1));
    }

    #[test]
    fn values_between_two_threads_grow_and_none_comes_twice() {
        let mailbox = Mailbox::new();
        let last = if cfg!(miri) { 50 } else { 20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = 1;
                while next <= last {
                    if !matches!(mailbox.put(next), Put::Busy(_)) {
                        next += 1;
                    }
                }
            });
            let mut seen = 0;
            while seen < last {
                if let Some(value) = mailbox.take() {
                    assert!(value > seen, "{value} after {seen}");
                    seen = value;
                }
                std::hint::spin_loop();
            }
        });
    }
}
