//! The scene as a camera: frames at a rate, or as fast as they are asked for.

use std::sync::Arc;
use std::time::Duration;

use super::config::SyntheticConfig;
use super::scene::Scene;
use crate::base::clock::{Clock, MonoNs};
use crate::base::config::ConfigError;
use crate::capture::{Camera, CameraMode, CaptureError, Next};
use crate::frame::{Frame, FrameMeta, PixelFormat};

/// When frames come.
#[derive(Clone, Debug)]
enum Pace {
    /// As a real camera's: each at its time; frames not fetched are lost.
    Live { clock: Arc<Clock>, start: MonoNs },
    /// At once, each the next one; as many as this, or without end.
    Free { frames: Option<u32> },
}

/// A camera that renders its frames.
#[derive(Debug)]
pub struct SyntheticCamera {
    scene: Scene,
    mode: CameraMode,
    rate_hz: f64,
    pace: Pace,
    next: u32,
    rgb: Vec<u8>,
}

const SECOND_NS: u64 = 1_000_000_000;

impl SyntheticCamera {
    /// A camera that delivers `rate_hz` frames a second by `clock`, the first one now.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn live(config: &SyntheticConfig, clock: Arc<Clock>) -> Result<Self, ConfigError> {
        let scene = Scene::new(config)?;
        let start = clock.now();
        Ok(Self::with(config, scene, Pace::Live { clock, start }))
    }

    /// A camera that delivers the next frame whenever it is asked; capture time is
    /// sequence over rate. It ends after `frames`, if given.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn free_running(
        config: &SyntheticConfig,
        frames: Option<u32>,
    ) -> Result<Self, ConfigError> {
        Ok(Self::with(
            config,
            Scene::new(config)?,
            Pace::Free { frames },
        ))
    }

    fn with(config: &SyntheticConfig, scene: Scene, pace: Pace) -> Self {
        let format = PixelFormat::from(config.format);
        let rgb = if format == PixelFormat::Rgb24 {
            Vec::new()
        } else {
            vec![0; scene.image_bytes()]
        };
        Self {
            mode: CameraMode {
                name: format!("synthetic {}", config.scenario.name()),
                width_px: config.width_px,
                height_px: config.height_px,
                rate_hz: config.rate_hz,
                format,
            },
            scene,
            rate_hz: config.rate_hz.into(),
            pace,
            next: 0,
            rgb,
        }
    }

    /// The scene, for its truth.
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The scene's time of a frame, seconds.
    pub fn time_of(&self, sequence: u32) -> f64 {
        f64::from(sequence) / self.rate_hz
    }

    /// When frame `sequence` is due after the start.
    fn due(&self, sequence: u32) -> Duration {
        Duration::from_nanos((f64::from(sequence) * SECOND_NS as f64 / self.rate_hz) as u64)
    }

    /// Waits for the frame's time. Frames whose time has passed altogether are skipped.
    fn wait(
        &mut self,
        clock: &Clock,
        start: MonoNs,
        timeout: Duration,
    ) -> Result<MonoNs, CaptureError> {
        let elapsed = clock.now().since(start);
        let current = (elapsed.as_secs_f64() * self.rate_hz) as u32;
        self.next = self.next.max(current);
        let due = self.due(self.next);
        let left = due.saturating_sub(elapsed);
        if left > timeout {
            std::thread::sleep(timeout);
            return Err(CaptureError::Timeout {
                waited_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                last_sequence: self.next.saturating_sub(1),
            });
        }
        if !left.is_zero() {
            std::thread::sleep(left);
        }
        Ok(start.plus(due))
    }
}

impl Camera for SyntheticCamera {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        let capture = match &self.pace {
            Pace::Live { clock, start } => {
                let (clock, start) = (Arc::clone(clock), *start);
                self.wait(&clock, start, timeout)?
            }
            Pace::Free { frames } => {
                if frames.is_some_and(|frames| self.next >= frames) {
                    return Ok(Next::End);
                }
                MonoNs(0).plus(self.due(self.next))
            }
        };
        let sequence = self.next;
        let want = self
            .mode
            .format
            .image_bytes(self.mode.width_px, self.mode.height_px);
        if frame.bytes.capacity() < want {
            return Err(CaptureError::ShortFrame {
                sequence,
                got: u32::try_from(frame.bytes.capacity()).unwrap_or(u32::MAX),
                want: u32::try_from(want).unwrap_or(u32::MAX),
            });
        }
        frame.bytes.resize(want, 0);
        let time_s = self.time_of(sequence);
        if self.mode.format == PixelFormat::Rgb24 {
            self.scene.render_into(time_s, &mut frame.bytes);
        } else {
            self.scene.render_into(time_s, &mut self.rgb);
            to_yuyv(&self.rgb, &mut frame.bytes);
        }
        frame.meta = FrameMeta {
            sequence,
            capture,
            width_px: self.mode.width_px,
            height_px: self.mode.height_px,
            format: self.mode.format,
        };
        self.next = sequence.saturating_add(1);
        Ok(Next::Frame)
    }
}

/// RGB to YUYV, BT.601 limited range, as webcams deliver it (ITU-R BT.601 in
/// 8-bit integers; chroma is the mean of the pair).
fn to_yuyv(rgb: &[u8], yuyv: &mut [u8]) {
    for (pair, out) in rgb.chunks_exact(6).zip(yuyv.chunks_exact_mut(4)) {
        let at = |index: usize| i32::from(pair[index]);
        let luma = |r: i32, g: i32, b: i32| ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16;
        let (r, g, b) = (at(0) + at(3), at(1) + at(4), at(2) + at(5));
        out[0] = luma(at(0), at(1), at(2)) as u8;
        out[1] = (((-38 * r - 74 * g + 112 * b + 256) >> 9) + 128) as u8;
        out[2] = luma(at(3), at(4), at(5)) as u8;
        out[3] = (((112 * r - 94 * g - 18 * b + 256) >> 9) + 128) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::SyntheticFormat;

    fn small() -> SyntheticConfig {
        SyntheticConfig {
            width_px: 96,
            height_px: 72,
            ..SyntheticConfig::default()
        }
    }

    #[test]
    fn a_free_running_camera_counts_evenly_and_ends() {
        let mut camera = SyntheticCamera::free_running(&small(), Some(3)).unwrap();
        let mut frame = Frame::with_room(96, 72);
        for sequence in 0..3 {
            assert_eq!(
                camera.next_into(&mut frame, Duration::ZERO),
                Ok(Next::Frame)
            );
            assert_eq!(frame.meta.sequence, sequence);
            assert_eq!(frame.meta.capture.0, u64::from(sequence) * SECOND_NS / 30);
        }
        assert_eq!(camera.next_into(&mut frame, Duration::ZERO), Ok(Next::End));
    }

    #[test]
    fn a_rate_that_is_a_fraction_is_kept() {
        let config = SyntheticConfig {
            rate_hz: 29.97,
            ..small()
        };
        let mut camera = SyntheticCamera::free_running(&config, None).unwrap();
        assert!((camera.mode().rate_hz - 29.97).abs() < 1e-6);
        let mut frame = Frame::with_room(96, 72);
        let mut last = 0;
        for _ in 0..3 {
            let next = camera.next_into(&mut frame, Duration::ZERO);
            assert_eq!(next, Ok(Next::Frame));
            last = frame.meta.capture.0;
        }
        // Two frames later.
        assert!(last.abs_diff(66_733_400) < 1000, "{last} ns");
    }

    #[test]
    fn a_live_camera_loses_frames_that_are_not_fetched() {
        let clock = Arc::new(Clock::standing(MonoNs(5)));
        let mut camera = SyntheticCamera::live(&small(), Arc::clone(&clock)).unwrap();
        let mut frame = Frame::with_room(96, 72);
        let timeout = Duration::from_millis(1);
        assert_eq!(camera.next_into(&mut frame, timeout), Ok(Next::Frame));
        assert_eq!((frame.meta.sequence, frame.meta.capture), (0, MonoNs(5)));
        assert!(matches!(
            camera.next_into(&mut frame, timeout),
            Err(CaptureError::Timeout { .. })
        ));
        clock.set(MonoNs(5 + SECOND_NS));
        assert_eq!(camera.next_into(&mut frame, timeout), Ok(Next::Frame));
        assert_eq!(frame.meta.sequence, 30);
    }

    #[test]
    fn a_frame_without_room_is_an_error_and_takes_no_heap() {
        let mut camera = SyntheticCamera::free_running(&small(), None).unwrap();
        let mut frame = Frame::with_room(64, 64);
        assert!(matches!(
            camera.next_into(&mut frame, Duration::ZERO),
            Err(CaptureError::ShortFrame { .. })
        ));
    }

    #[test]
    fn yuyv_frames_hold_the_same_picture() {
        let yuyv = SyntheticConfig {
            format: SyntheticFormat::Yuyv,
            ..small()
        };
        let mut a = Frame::with_room(96, 72);
        let mut b = Frame::with_room(96, 72);
        let timeout = Duration::ZERO;
        let first = SyntheticCamera::free_running(&small(), None)
            .unwrap()
            .next_into(&mut a, timeout);
        let second = SyntheticCamera::free_running(&yuyv, None)
            .unwrap()
            .next_into(&mut b, timeout);
        assert_eq!((first, second), (Ok(Next::Frame), Ok(Next::Frame)));
        for (rgb, yuv) in a.bytes.chunks_exact(6).zip(b.bytes.chunks_exact(4)) {
            let (y, v) = (f32::from(yuv[0]), f32::from(yuv[3]));
            let red = 1.164 * (y - 16.0) + 1.596 * (v - 128.0);
            let near = (f32::from(rgb[0]) - red).abs() < 40.0 || rgb[0].abs_diff(rgb[3]) > 20;
            assert!(near, "{rgb:?} is not {yuv:?}");
        }
    }
}
