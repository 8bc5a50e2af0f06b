//! A recording played as a live camera: each frame comes when its time has come,
//! with times on the machine's clock.

use std::time::Duration;

use super::{Camera, CameraMode, CaptureError, Next, SourceKind};
use crate::base::clock::{Clock, MonoNs};
use crate::frame::Frame;

/// A frame that is this late is played when it comes, and those after it follow at their pace: a machine that decodes
/// slower than the recording was made plays it slower.
const LATE_MAX: Duration = Duration::from_millis(500);

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
    scratch: Option<Box<Frame>>,
}

impl<C: Camera> Paced<C> {
    /// Plays `inner` from the first call on.
    pub fn new(inner: C) -> Self {
        let mode = inner.mode();
        let scratch = Box::new(Frame::with_room(mode.width_px, mode.height_px));
        Self {
            inner,
            clock: Clock::live(),
            start: None,
            ahead: None,
            scratch: Some(scratch),
        }
    }
}

impl<C: Camera> Camera for Paced<C> {
    fn mode(&self) -> &CameraMode {
        self.inner.mode()
    }

    fn kind(&self) -> SourceKind {
        self.inner.kind()
    }

    fn is_still(&self) -> bool {
        self.inner.is_still()
    }

    fn native_px(&self) -> (u32, u32) {
        self.inner.native_px()
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        let deadline = self.clock.now().plus(timeout);
        let mut ahead = if let Some(ahead) = self.ahead.take() {
            ahead
        } else {
            let mode = self.inner.mode();
            let mut room = self
                .scratch
                .take()
                .unwrap_or_else(|| Box::new(Frame::with_room(mode.width_px, mode.height_px)));
            let next = self.inner.next_into(&mut room, timeout);
            if next != Ok(Next::Frame) {
                self.scratch = Some(room);
                return next;
            }
            room
        };
        let recorded = Duration::from_nanos(ahead.meta.capture.0);
        let now = self.clock.now();
        let zero = MonoNs(now.0.saturating_sub(ahead.meta.capture.0));
        let start = self.start.get_or_insert(zero);
        if now.since(start.plus(recorded)) > LATE_MAX {
            *start = zero;
        }
        let due = start.plus(recorded);
        loop {
            let now = self.clock.now();
            if now >= due {
                break;
            }
            if now >= deadline {
                self.ahead = Some(ahead);
                return Ok(Next::Pause);
            }
            std::thread::park_timeout(due.since(now).min(deadline.since(now)));
        }
        std::mem::swap(frame, &mut ahead);
        frame.meta.capture = due;
        self.scratch = Some(ahead);
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
        let mut pauses = 0;
        loop {
            match camera.next_into(&mut frame, Duration::from_millis(20)) {
                Ok(Next::End) => break,
                Ok(Next::Frame) => {
                    let late = clock.now().since(frame.meta.capture);
                    assert!(frame.meta.capture <= clock.now());
                    assert!(late < Duration::from_secs(5), "{late:?}");
                    times.push(frame.meta.capture);
                }
                Ok(Next::Pause) => pauses += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(pauses > 0, "50 ms do not pass in one wait of 20");
        let steps: Vec<u128> = times
            .windows(2)
            .map(|pair| pair[1].since(pair[0]).as_millis())
            .collect();
        assert_eq!(steps, [50, 50, 50]);
    }

    /// Frames without images, a period of 10 ms apart, each of which takes 400 ms to decode.
    struct Slow(CameraMode, u32);

    impl Camera for Slow {
        fn mode(&self) -> &CameraMode {
            &self.0
        }

        fn next_into(&mut self, frame: &mut Frame, _: Duration) -> Result<Next, CaptureError> {
            std::thread::sleep(Duration::from_millis(400));
            frame.meta.capture = MonoNs(u64::from(self.1) * 10_000_000);
            self.1 += 1;
            Ok(Next::Frame)
        }
    }

    #[test]
    fn a_recording_that_decodes_too_slowly_plays_slower_and_is_not_late() {
        let mode = CameraMode {
            name: "slow".to_owned(),
            width_px: 64,
            height_px: 64,
            rate_hz: 100.0,
            format: crate::frame::PixelFormat::Grey,
        };
        let clock = Clock::live();
        let mut camera = Paced::new(Slow(mode, 0));
        let mut frame = Frame::with_room(64, 64);
        for _ in 0..5 {
            assert_eq!(
                camera.next_into(&mut frame, Duration::from_secs(9)),
                Ok(Next::Frame)
            );
            let age = clock.now().since(frame.meta.capture);
            assert!(age < LATE_MAX + Duration::from_millis(100), "{age:?}");
        }
    }
}
