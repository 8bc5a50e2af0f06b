//! A recording played as a live camera: each frame comes when its time has come,
//! with times on the machine's clock.

use std::time::Duration;

use super::{Camera, CameraMode, CaptureError, Next};
use crate::clock::{Clock, MonoNs};
use crate::frame::Frame;

/// A recording at its own pace.
#[derive(Debug)]
pub struct Paced<C> {
    inner: C,
    clock: Clock,
    /// Machine time of the recording's zero, from the first frame on.
    start: Option<MonoNs>,
    /// The next frame, whose time has not come.
    ahead: Option<Box<Frame>>,
    /// The room that frame came in, for the next one.
    spare: Option<Box<Frame>>,
}

impl<C: Camera> Paced<C> {
    /// Plays `inner` from the first call on.
    pub fn new(inner: C) -> Self {
        let mode = inner.mode();
        let spare = Box::new(Frame::with_room(mode.width_px, mode.height_px));
        Self {
            inner,
            clock: Clock::live(),
            start: None,
            ahead: None,
            spare: Some(spare),
        }
    }
}

impl<C: Camera> Camera for Paced<C> {
    fn mode(&self) -> &CameraMode {
        self.inner.mode()
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        let deadline = self.clock.now().plus(timeout);
        let mut ahead = if let Some(ahead) = self.ahead.take() {
            ahead
        } else {
            let mode = self.inner.mode();
            let mut room = self
                .spare
                .take()
                .unwrap_or_else(|| Box::new(Frame::with_room(mode.width_px, mode.height_px)));
            let next = self.inner.next_into(&mut room, timeout);
            if next != Ok(Next::Frame) {
                self.spare = Some(room);
                return next;
            }
            room
        };
        let recorded = Duration::from_nanos(ahead.meta.capture.0);
        let now = self.clock.now();
        let zero = MonoNs(now.0.saturating_sub(ahead.meta.capture.0));
        let due = self.start.get_or_insert(zero).plus(recorded);
        loop {
            let now = self.clock.now();
            if now >= due {
                break;
            }
            if now >= deadline {
                let last_sequence = ahead.meta.sequence.saturating_sub(1);
                self.ahead = Some(ahead);
                return Err(CaptureError::Timeout {
                    waited_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                    last_sequence,
                });
            }
            std::thread::park_timeout(due.since(now).min(deadline.since(now)));
        }
        std::mem::swap(frame, &mut ahead);
        frame.meta.capture = due;
        self.spare = Some(ahead);
        Ok(Next::Frame)
    }

    fn complaint(&self) -> Option<&str> {
        self.inner.complaint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::files::ImageFolder;

    #[test]
    fn frames_come_when_their_time_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let jpeg = include_bytes!("../../tests/data/grey_64x64.jpg");
        for number in 0..4 {
            std::fs::write(folder.path().join(format!("{number}.jpg")), jpeg).unwrap();
        }
        let clock = Clock::live();
        let mut camera = Paced::new(ImageFolder::open(folder.path(), 20.0).unwrap());
        let mut frame = Frame::with_room(64, 64);
        let mut times = Vec::new();
        let mut timeouts = 0;
        loop {
            match camera.next_into(&mut frame, Duration::from_millis(20)) {
                Ok(Next::End) => break,
                Ok(Next::Frame) => {
                    let late = clock.now().since(frame.meta.capture);
                    assert!(frame.meta.capture <= clock.now());
                    assert!(late < Duration::from_secs(5), "{late:?}");
                    times.push(frame.meta.capture);
                }
                Err(CaptureError::Timeout { .. }) => timeouts += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(timeouts > 0, "50 ms do not pass in one wait of 20");
        let steps: Vec<u128> = times
            .windows(2)
            .map(|pair| pair[1].since(pair[0]).as_millis())
            .collect();
        assert_eq!(steps, [50, 50, 50]);
    }
}
