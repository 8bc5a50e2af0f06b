//! What a service manager is told: ready, what is going on, and that the daemon is not stuck.
//!
//! Without `NOTIFY_SOCKET` in the environment no message is sent. A message that is
//! not taken is no reason to stop working.

use std::time::Duration;

use sd_notify::NotifyState;

use poised::base::clock::MonoNs;
use poised::counters::Counters;

/// How much longer starting may take, said again each time the camera was looked for: twice what asking a silent
/// network camera and the pause after that take.
const MORE_TIME: Duration = Duration::from_mins(1);

/// Tells systemd how the daemon is.
#[derive(Debug)]
pub struct Service {
    watchdog: Option<Watchdog>,
    ready: bool,
}

/// Feeds the watchdog as long as no thread is stuck.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    fed: MonoNs,
    beats: [u64; 3],
    said: bool,
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("service manager: {error}");
    }
}

impl Service {
    /// Takes what the service manager asks from the environment.
    pub fn new(now: MonoNs, counters: &Counters) -> Self {
        let watchdog = sd_notify::watchdog_enabled().map(|limit| Watchdog {
            every: limit / 4,
            fed: now,
            beats: counters.beats(),
            said: false,
        });
        Self {
            watchdog,
            ready: false,
        }
    }

    /// The camera is not there yet: this is no failure to start.
    pub fn waiting(why: &str) {
        let more_us = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
        tell(&[
            NotifyState::ExtendTimeoutUsec(more_us),
            NotifyState::Status(&format!("waiting for the camera: {why}")),
        ]);
    }

    /// Once a frame has gone through all stages, the daemon is ready; from then on
    /// the watchdog is fed while all threads move.
    pub fn poll(&mut self, now: MonoNs, counters: &Counters) {
        if !self.ready && counters.estimated.get() > 0 {
            self.ready = true;
            tell(&[NotifyState::Ready, NotifyState::Status("frames go through")]);
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.poll(now, counters);
        }
    }

    /// One line about how it goes.
    pub fn status(&self, line: &str) {
        if self.ready {
            tell(&[NotifyState::Status(line)]);
        }
    }

    /// The daemon ends in order.
    pub fn stopping() {
        tell(&[NotifyState::Stopping]);
    }
}

impl Watchdog {
    fn poll(&mut self, now: MonoNs, counters: &Counters) {
        if now.since(self.fed) < self.every {
            return;
        }
        let beats = counters.beats();
        let Some(stuck) = self.stuck(beats) else {
            tell(&[NotifyState::Watchdog]);
            (self.fed, self.beats, self.said) = (now, beats, false);
            return;
        };
        if !std::mem::replace(&mut self.said, true) {
            log::error!(
                "the {stuck} thread has not made progress for {} ms: the watchdog is not notified",
                now.since(self.fed).as_millis()
            );
        }
    }

    /// A thread that has not moved since the last feeding.
    fn stuck(&self, beats: [u64; 3]) -> Option<&'static str> {
        let names = ["capture", "estimate", "publish"];
        let still = (0..3).find(|&i| beats[i] == self.beats[i])?;
        Some(names[still])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_stands_still_is_named() {
        let watchdog = Watchdog {
            every: Duration::from_secs(1),
            fed: MonoNs(0),
            beats: [5, 6, 7],
            said: false,
        };
        assert_eq!(watchdog.stuck([6, 7, 8]), None);
        assert_eq!(watchdog.stuck([6, 6, 8]), Some("estimate"));
        assert_eq!(watchdog.stuck([5, 7, 8]), Some("capture"));
    }
}
