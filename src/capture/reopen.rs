//! When a camera is closed and opened again. Decisions only: what happened and the time come in, what to do goes
//! out; opening and waiting are the capture thread's.

use std::time::Duration;

use super::{CaptureError, Severity, SourceKind};
use crate::base::clock::MonoNs;

/// A live camera silent for this long is opened again: longer than the longest
/// exposure in the dark, and than the pause in which a network camera sends nothing.
pub const SILENT_MAX: Duration = Duration::from_secs(3);

/// A recording whose decoder is silent for this long is given up: a slow disk and a slow processor take their time.
pub const RECORDING_SILENT_MAX: Duration = Duration::from_mins(1);

/// First pause before the camera is opened again; it doubles each time.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Longest pause before a device is opened again. Looking for it costs next to nothing, and the person who plugs it
/// in waits for it.
pub const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// Longest pause before a network camera is opened again: each try is a connection, and cameras lock out a client
/// that fails to log in too often.
pub const RETRY_LONGEST_STREAM: Duration = Duration::from_secs(10);

/// A camera that has run for this long starts over with the shortest pause; one that fails sooner has not recovered.
pub const STEADY: Duration = Duration::from_secs(10);

/// Times in a row that a camera may come back with another image size before the thread gives up: everything
/// behind is made for the first size, so only a new start helps.
pub const MISFITS_MAX: u32 = 3;

/// Bad frames in a row after which the camera is opened again: two seconds at 30 Hz.
pub const BAD_IN_A_ROW_MAX: u32 = 60;

/// Why the capture thread left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The recording is over.
    Over,
    /// The camera failed and cannot be opened again.
    Failed(CaptureError),
}

/// Pauses that double from the first to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// The pauses between tries to open a source of this kind.
    pub const fn new(kind: SourceKind) -> Self {
        Self {
            next: RETRY_FIRST,
            longest: match kind {
                SourceKind::Stream => RETRY_LONGEST_STREAM,
                SourceKind::Device | SourceKind::Recording => RETRY_LONGEST,
            },
        }
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

/// What happened to the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole frame came.
    Frame,
    /// A recording pauses: its next frame is known and not yet due.
    Pause,
    /// Asking for a frame failed.
    Failed(CaptureError),
    /// The recording is over.
    Over,
    /// The camera has been closed, or could not be opened.
    Closed,
    /// The pause is over.
    Waited,
    /// It was opened, and gives images of this size.
    Opened {
        /// Image width, pixels.
        width_px: u32,
        /// Image height, pixels.
        height_px: u32,
    },
}

/// What the capture thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the camera for a frame.
    Read,
    /// Close the camera because of this error.
    Close(CaptureError),
    /// Close the camera: it came back with another image size.
    Misfit,
    /// Wait until then.
    WaitUntil(MonoNs),
    /// Open the camera.
    Open,
    /// Leave for good.
    Leave(Ended),
}

/// Decides when a camera is closed, when it is opened again and when it is given up.
#[derive(Debug)]
pub struct Supervisor {
    kind: SourceKind,
    can_reopen: bool,
    size_px: (u32, u32),
    backoff: Backoff,
    opened: MonoNs,
    silent: Duration,
    bad_in_a_row: u32,
    misfits: u32,
}

impl Supervisor {
    /// Of a camera of this kind and image size that is open at `now`.
    pub const fn new(kind: SourceKind, size_px: (u32, u32), can_reopen: bool, now: MonoNs) -> Self {
        Self {
            kind,
            can_reopen,
            size_px,
            backoff: Backoff::new(kind),
            opened: now,
            silent: Duration::ZERO,
            bad_in_a_row: 0,
            misfits: 0,
        }
    }

    /// What to do after `event`, which happened at `now`.
    pub fn on(&mut self, event: Event, now: MonoNs) -> Action {
        match event {
            Event::Frame | Event::Pause => {
                self.silent = Duration::ZERO;
                self.bad_in_a_row = 0;
                Action::Read
            }
            Event::Failed(error) => self.failed(error, now),
            Event::Over => Action::Leave(Ended::Over),
            Event::Closed => Action::WaitUntil(now.plus(self.backoff.pause())),
            Event::Waited => Action::Open,
            Event::Opened {
                width_px,
                height_px,
            } => self.came_back(width_px, height_px, now),
        }
    }

    fn failed(&mut self, error: CaptureError, now: MonoNs) -> Action {
        let error = match error {
            CaptureError::Timeout {
                waited_ms,
                last_sequence,
            } => {
                // What was waited, not what has passed: while this program is stopped the camera is not silent.
                self.silent += Duration::from_millis(waited_ms.into());
                let most = match self.kind {
                    SourceKind::Recording => RECORDING_SILENT_MAX,
                    SourceKind::Device | SourceKind::Stream => SILENT_MAX,
                };
                if self.silent < most {
                    return Action::Read;
                }
                CaptureError::Timeout {
                    waited_ms: u32::try_from(self.silent.as_millis()).unwrap_or(u32::MAX),
                    last_sequence,
                }
            }
            _ if error.severity() == Severity::Skip => {
                self.bad_in_a_row += 1;
                if self.bad_in_a_row < BAD_IN_A_ROW_MAX {
                    return Action::Read;
                }
                error
            }
            _ => error,
        };
        if !self.can_reopen || error.severity() == Severity::End {
            return Action::Leave(Ended::Failed(error));
        }
        if now.since(self.opened) >= STEADY {
            self.backoff = Backoff::new(self.kind);
        }
        Action::Close(error)
    }

    fn came_back(&mut self, width_px: u32, height_px: u32, now: MonoNs) -> Action {
        if (width_px, height_px) == self.size_px {
            self.opened = now;
            self.silent = Duration::ZERO;
            self.bad_in_a_row = 0;
            self.misfits = 0;
            return Action::Read;
        }
        self.misfits += 1;
        if self.misfits == MISFITS_MAX {
            return Action::Leave(Ended::Failed(CaptureError::Resized {
                sequence: 0,
                width_px,
                height_px,
            }));
        }
        Action::Misfit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: CaptureError = CaptureError::Decoder { frames: 9 };
    const SILENT: CaptureError = CaptureError::Timeout {
        waited_ms: 100,
        last_sequence: 7,
    };
    const BACK: Event = Event::Opened {
        width_px: 640,
        height_px: 480,
    };

    fn at(ms: u64) -> MonoNs {
        MonoNs(ms * 1_000_000)
    }

    fn supervisor(kind: SourceKind) -> Supervisor {
        Supervisor::new(kind, (640, 480), true, at(0))
    }

    /// The pauses before `tries` openings that all fail, in milliseconds.
    fn pauses(supervisor: &mut Supervisor, tries: usize) -> Vec<u64> {
        (0..tries)
            .map(|_| {
                let Action::WaitUntil(until) = supervisor.on(Event::Closed, at(50_000)) else {
                    panic!("it waits");
                };
                assert_eq!(supervisor.on(Event::Waited, until), Action::Open);
                (until.0 - at(50_000).0) / 1_000_000
            })
            .collect()
    }

    #[test]
    fn pauses_double_to_a_longest_that_depends_on_the_source() {
        let mut device = supervisor(SourceKind::Device);
        assert_eq!(
            device.on(Event::Failed(GONE), at(20_000)),
            Action::Close(GONE)
        );
        assert_eq!(
            pauses(&mut device, 7),
            [100, 200, 400, 800, 1600, 2000, 2000]
        );
        let mut stream = supervisor(SourceKind::Stream);
        let _ = stream.on(Event::Failed(GONE), at(20_000));
        assert_eq!(pauses(&mut stream, 9)[6..], [6400, 10_000, 10_000]);
    }

    #[test]
    fn a_camera_that_fails_again_at_once_is_not_asked_more_often() {
        let mut stream = supervisor(SourceKind::Stream);
        let _ = stream.on(Event::Failed(GONE), at(20_000));
        assert_eq!(pauses(&mut stream, 3), [100, 200, 400]);
        assert_eq!(stream.on(BACK, at(60_000)), Action::Read);
        assert_eq!(stream.on(Event::Frame, at(60_001)), Action::Read);
        let _ = stream.on(Event::Failed(GONE), at(64_000));
        assert_eq!(pauses(&mut stream, 1), [800]);
        assert_eq!(stream.on(BACK, at(70_000)), Action::Read);
        let _ = stream.on(Event::Failed(GONE), at(90_000));
        assert_eq!(pauses(&mut stream, 1), [100], "it had recovered");
    }

    #[test]
    fn silence_closes_a_camera_after_three_seconds_of_waiting_and_a_recording_later() {
        for (kind, waits) in [
            (SourceKind::Device, 30),
            (SourceKind::Stream, 30),
            (SourceKind::Recording, 600),
        ] {
            let mut supervisor = supervisor(kind);
            for _ in 1..waits {
                assert_eq!(supervisor.on(Event::Failed(SILENT), at(1)), Action::Read);
            }
            let Action::Close(CaptureError::Timeout { waited_ms, .. }) =
                supervisor.on(Event::Failed(SILENT), at(1))
            else {
                panic!("{kind:?} is closed");
            };
            assert_eq!(waited_ms, waits * 100);
        }
    }

    #[test]
    fn a_recording_may_pause_for_as_long_as_it_likes() {
        let mut recording = Supervisor::new(SourceKind::Recording, (640, 480), false, at(0));
        for _ in 0..100_000 {
            assert_eq!(recording.on(Event::Pause, at(1)), Action::Read);
        }
        assert_eq!(recording.on(Event::Over, at(1)), Action::Leave(Ended::Over));
    }

    #[test]
    fn what_cannot_be_opened_again_ends_with_its_error() {
        let mut recording = Supervisor::new(SourceKind::Recording, (640, 480), false, at(0));
        assert_eq!(
            recording.on(Event::Failed(GONE), at(1)),
            Action::Leave(Ended::Failed(GONE))
        );
        let cut = CaptureError::Truncated { frames: 3 };
        let mut stream = supervisor(SourceKind::Stream);
        assert_eq!(
            stream.on(Event::Failed(cut), at(1)),
            Action::Leave(Ended::Failed(cut))
        );
    }

    #[test]
    fn bad_frames_in_a_row_close_a_camera_and_a_good_one_between_starts_the_row_again() {
        let damaged = CaptureError::Damaged { sequence: 1 };
        let mut device = supervisor(SourceKind::Device);
        for _ in 1..BAD_IN_A_ROW_MAX {
            assert_eq!(device.on(Event::Failed(damaged), at(1)), Action::Read);
        }
        assert_eq!(device.on(Event::Frame, at(1)), Action::Read);
        for _ in 1..BAD_IN_A_ROW_MAX {
            assert_eq!(device.on(Event::Failed(damaged), at(1)), Action::Read);
        }
        assert_eq!(
            device.on(Event::Failed(damaged), at(1)),
            Action::Close(damaged)
        );
    }

    #[test]
    fn another_size_three_times_in_a_row_is_the_end() {
        let other = Event::Opened {
            width_px: 128,
            height_px: 96,
        };
        let mut device = supervisor(SourceKind::Device);
        assert_eq!(device.on(other, at(1)), Action::Misfit);
        assert_eq!(device.on(other, at(1)), Action::Misfit);
        assert!(matches!(
            device.on(other, at(1)),
            Action::Leave(Ended::Failed(CaptureError::Resized { width_px: 128, .. }))
        ));
    }
}
