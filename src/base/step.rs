//! What a thread's loop does next.
//!
//! The work of a thread is cut into steps that never wait. A step says what comes after it, and the thread alone sleeps:
//! so a test can step all threads of the daemon on one, in any order and at any time (`tests/simulator/`).

use std::time::Duration;

/// What comes after a step. `T` says how the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether to go on"]
pub enum Step<T = ()> {
    /// The next step, at once.
    Again,
    /// The next step, at most so long after this one.
    Wait(Duration),
    /// No further step.
    Left(T),
}
