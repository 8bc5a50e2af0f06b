//! A V4L2 device as a camera: negotiate, stream, copy each frame out.
//!
//! The driver's buffer is lent for one call, in which the frame is copied (or
//! decoded, for MJPG) into ours; then it goes back. What a driver can get wrong
//! is looked at here: a buffer index out of range, fewer bytes than the format
//! needs, the error flag, a timestamp that was never filled in. A timestamp on
//! another clock is left to [`super::order`].

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::convert::{ConvertError, jpeg_into, swap_pairs, unpad_into};
use super::find::{Identity, find, identify};
use super::open::{OpenError, check_size};
use super::{Camera, CameraMode, CaptureError, Next};
use crate::base::clock::{Clock, MonoNs};
use crate::base::config::{ConfigError, check};
use crate::base::limits::{IMAGE_SIDE_PX_MAX, IMAGE_SIDE_PX_MIN};
use crate::frame::{Frame, FrameMeta, PixelFormat};
use crate::sys::poll::wait_readable;
use crate::sys::v4l2::{
    CAP_STREAMING, CAP_VIDEO_CAPTURE, Dequeued, Device, FLAG_ERROR, FLAG_TIMESTAMP_COPY,
    FLAG_TIMESTAMP_MASK, Interval, PixFormat, Scan, Stream,
};

/// Buffers asked of the driver: one being filled, one full, one being copied,
/// and one for a late wake-up.
const BUFFERS: u32 = 4;

/// A layout a device may deliver.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum V4l2Format {
    /// 4:2:2, two pixels in four bytes.
    Yuyv,
    /// The same with the bytes of each pair swapped; what many board cameras give.
    Uyvy,
    /// 4:2:0 in two planes.
    Nv12,
    /// Brightness only; infrared cameras.
    Grey,
    /// One JPEG a frame; costs decoding, but reaches full rate over USB 2.
    Mjpg,
}

impl V4l2Format {
    /// The kernel's name.
    pub const fn fourcc(self) -> [u8; 4] {
        match self {
            Self::Yuyv => *b"YUYV",
            Self::Uyvy => *b"UYVY",
            Self::Nv12 => *b"NV12",
            Self::Grey => *b"GREY",
            Self::Mjpg => *b"MJPG",
        }
    }

    /// The layout of the frames handed over.
    pub const fn frame_format(self) -> PixelFormat {
        match self {
            Self::Yuyv | Self::Uyvy => PixelFormat::Yuyv,
            Self::Nv12 => PixelFormat::Nv12,
            Self::Grey => PixelFormat::Grey,
            Self::Mjpg => PixelFormat::Rgb24,
        }
    }
}

/// Which device, and what is asked of it.
///
/// ```
/// let config: poised::capture::v4l2::V4l2Config = toml::from_str(
///     r#"
///     device = "/dev/video0"
///     width_px = 1280
///     height_px = 720
///     rate_hz = 30
///     formats = ["yuyv", "uyvy", "nv12", "grey", "mjpg"]
///     "#,
/// )?;
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct V4l2Config {
    /// Device node. `/dev/v4l/by-id/...` stays the same when cameras are replugged. A camera named by
    /// number is looked for under other numbers once it has streamed. Default: `/dev/video0`, unless `card`
    /// or `bus` says which camera.
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub device: Option<PathBuf>,
    /// Instead of `device`: what the camera calls itself, as `poised doctor` shows it. There must be only one.
    pub card: Option<String>,
    /// Instead of `device`, or beside `card`: where it is plugged in, as `poised doctor` shows it.
    pub bus: Option<String>,
    /// Width asked of the driver, in pixels; even, because 4:2:2 pairs columns.
    pub width_px: u32,
    /// Height asked of the driver, in pixels; even, because 4:2:0 pairs rows.
    pub height_px: u32,
    /// Frame rate asked of the driver, in hertz, 1 to 120. 29.97 and the like mean 30000/1001, as drivers do.
    pub rate_hz: f32,
    /// Formats to take, best first. A format lower in the list is taken where
    /// those above do not reach the size or the rate asked for.
    pub formats: Vec<V4l2Format>,
}

impl Default for V4l2Config {
    fn default() -> Self {
        Self {
            device: None,
            card: None,
            bus: None,
            width_px: 640,
            height_px: 480,
            rate_hz: 30.0,
            formats: vec![
                V4l2Format::Yuyv,
                V4l2Format::Uyvy,
                V4l2Format::Nv12,
                V4l2Format::Grey,
                V4l2Format::Mjpg,
            ],
        }
    }
}

impl V4l2Config {
    /// The node, where the camera is named by it.
    pub fn device(&self) -> &Path {
        self.device.as_deref().unwrap_or(Path::new("/dev/video0"))
    }

    /// How the camera is named, in words.
    pub fn name(&self) -> String {
        match (&self.card, &self.bus) {
            (None, None) => self.device().display().to_string(),
            (Some(card), None) => format!("card {card:?}"),
            (None, Some(bus)) => format!("bus {bus:?}"),
            (Some(card), Some(bus)) => format!("card {card:?} at bus {bus:?}"),
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (least, most) = (IMAGE_SIDE_PX_MIN, IMAGE_SIDE_PX_MAX);
        check("camera.v4l2.width_px", self.width_px, least, most)?;
        check("camera.v4l2.height_px", self.height_px, least, most)?;
        check("camera.v4l2.rate_hz", self.rate_hz, 1.0, 120.0)?;
        for (key, value) in [
            ("camera.v4l2.width_px", self.width_px),
            ("camera.v4l2.height_px", self.height_px),
        ] {
            if value % 2 == 1 {
                return Err(ConfigError::Value {
                    key,
                    value: value.to_string(),
                    want: "an even number",
                });
            }
        }
        if self.device.is_some() && (self.card.is_some() || self.bus.is_some()) {
            return Err(ConfigError::Value {
                key: "camera.v4l2.device",
                value: self.device().display().to_string(),
                want: "left out where card or bus says which camera",
            });
        }
        if self.formats.is_empty() {
            return Err(ConfigError::Value {
                key: "camera.v4l2.formats",
                value: "[]".to_owned(),
                want: "at least one of yuyv, uyvy, nv12, grey, mjpg",
            });
        }
        Ok(())
    }
}

/// A mode the driver would agree to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Offer {
    format: V4l2Format,
    width_px: u32,
    height_px: u32,
    /// Highest rate; `None` if the driver does not say.
    rate_hz: Option<f32>,
}

/// Chooses a mode: the right size before the wrong one, the full rate before a
/// lower one, then the order of the list, in which `offers` stand.
fn choose(wanted: &V4l2Config, offers: &[Offer]) -> Option<Offer> {
    let badness = |offer: &Offer| {
        let wrong_px =
            offer.width_px.abs_diff(wanted.width_px) + offer.height_px.abs_diff(wanted.height_px);
        // A rate that is a little lower (29.97 for 30) is the rate.
        let want_hz = 0.95 * wanted.rate_hz;
        let slow_hz = (want_hz - offer.rate_hz.unwrap_or(want_hz)).max(0.0);
        (wrong_px, slow_hz)
    };
    let mut best: Option<(Offer, (u32, f32))> = None;
    for offer in offers {
        let this = badness(offer);
        if best.is_none_or(|(_, least)| this < least) {
            best = Some((*offer, this));
        }
    }
    best.map(|(offer, _)| offer)
}

/// The time between two frames as drivers state it: whole numbers, and 1001/30000 for 29.97 hertz.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 120000"
)]
fn interval_of(rate_hz: f32) -> Interval {
    /// How far a rate may be off the exact fraction: people write 29.97 and 23.976.
    const ROUNDED: f32 = 0.005;
    let whole = rate_hz.round().max(1.0);
    let (numerator, denominator) = if (rate_hz - whole).abs() < f32::EPSILON * whole {
        (1, whole as u32)
    } else if (rate_hz - rate_hz.ceil() * 1000.0 / 1001.0).abs() < ROUNDED {
        (1001, rate_hz.ceil() as u32 * 1000)
    } else {
        (1000, (rate_hz * 1000.0).round() as u32)
    };
    Interval {
        numerator,
        denominator,
    }
}

/// When the frame was taken, as the driver says, on whatever clock that is; where it says nothing, the time at which we
/// have the frame. A clock that is not ours is not judged here, frame by frame: [`super::order`] ties it to ours once,
/// so that frames that waited while this program was stopped are known to be old.
///
/// A time that a loopback device copied is that of the program that feeds it, which may never change it: it counts for
/// nothing.
fn capture_time(dequeued: Dequeued, now: MonoNs) -> MonoNs {
    let copied = dequeued.flags & FLAG_TIMESTAMP_MASK == FLAG_TIMESTAMP_COPY;
    match (
        u64::try_from(dequeued.seconds),
        u64::try_from(dequeued.microseconds),
    ) {
        (Ok(seconds), Ok(microseconds)) if !copied && (seconds, microseconds) != (0, 0) => MonoNs(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(microseconds.saturating_mul(1000)),
        ),
        _ => now,
    }
}

/// Refuses a buffer that does not exist. It cannot be given back either, so the
/// stream is of no more use.
fn check_index(index: u32, count: u32, last_sequence: u32) -> Result<(), CaptureError> {
    if index < count {
        return Ok(());
    }
    Err(CaptureError::BufferIndex {
        index,
        count,
        last_sequence,
    })
}

/// Turns a driver's bytes into a frame's.
fn convert(
    format: V4l2Format,
    agreed: PixFormat,
    sequence: u32,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CaptureError> {
    let (width_px, height_px) = (agreed.width_px, agreed.height_px);
    let converted = match format {
        V4l2Format::Mjpg => jpeg_into(bytes, width_px, height_px, out),
        _ => unpad_into(
            format.frame_format(),
            width_px,
            height_px,
            agreed.stride as usize,
            bytes,
            out,
        ),
    };
    if format == V4l2Format::Uyvy && converted.is_ok() {
        swap_pairs(out);
    }
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    converted.map_err(|error| match error {
        ConvertError::Short { got, want } => CaptureError::ShortFrame {
            sequence,
            got: number(got),
            want: number(want),
        },
        ConvertError::Damaged => CaptureError::Damaged { sequence },
        ConvertError::Size {
            width_px,
            height_px,
        } => CaptureError::Resized {
            sequence,
            width_px,
            height_px,
        },
    })
}

/// A V4L2 device that streams.
#[derive(Debug)]
pub struct V4l2Camera {
    mode: CameraMode,
    format: V4l2Format,
    agreed: PixFormat,
    stream: Stream,
    clock: Clock,
    last_sequence: u32,
}

/// A camera that may come and go: finds it again, under whatever number.
#[derive(Clone, Debug)]
pub struct V4l2Source {
    config: V4l2Config,
    known: Option<Identity>,
}

impl V4l2Source {
    /// The camera that `config` means.
    pub const fn new(config: V4l2Config) -> Self {
        Self {
            config,
            known: None,
        }
    }

    /// Opens it. From then on only the same camera is taken for it, unless `device` is a link, `card` or
    /// `bus` says which one is meant.
    ///
    /// # Errors
    ///
    /// As [`V4l2Camera::open`]; [`OpenError::NoSuchCamera`] where it is not there, or another is in its place.
    pub fn open(&mut self) -> Result<V4l2Camera, OpenError> {
        let node = find(&self.config, self.known.as_ref())?;
        let camera = V4l2Camera::open_node(&node, &self.config)?;
        if let Some(identity) = identify(&node) {
            self.known = Some(identity);
        }
        Ok(camera)
    }
}

impl V4l2Camera {
    /// Opens a device, negotiates a mode and starts to stream.
    ///
    /// # Errors
    ///
    /// There is no such device, it is in use, it is no camera, or it has none of
    /// the formats asked for.
    pub fn open(config: &V4l2Config) -> Result<Self, OpenError> {
        V4l2Source::new(config.clone()).open()
    }

    fn open_node(path: &Path, config: &V4l2Config) -> Result<Self, OpenError> {
        let failed = |call: &'static str| {
            move |source: std::io::Error| OpenError::Device {
                device: path.to_owned(),
                call,
                source,
            }
        };
        let device = Device::open(path).map_err(failed("open"))?;
        let capability = device.capability().map_err(|_| OpenError::NotACamera {
            device: path.to_owned(),
            what: "is no video device",
        })?;
        for (bit, what) in [
            (
                CAP_VIDEO_CAPTURE,
                "does not capture video in single-plane buffers",
            ),
            (CAP_STREAMING, "does not stream through mapped buffers"),
        ] {
            if capability.bits & bit == 0 {
                return Err(OpenError::NotACamera {
                    device: path.to_owned(),
                    what,
                });
            }
        }
        let offered = device.formats();
        let Some(offer) = choose(config, &offers(&device, config, &offered)) else {
            return Err(no_format(path, config, &offered));
        };
        let (agreed, scan) = device
            .set_format(PixFormat {
                fourcc: offer.format.fourcc(),
                width_px: offer.width_px,
                height_px: offer.height_px,
                stride: 0,
            })
            .map_err(failed("VIDIOC_S_FMT"))?;
        if agreed.fourcc != offer.format.fourcc() {
            return Err(no_format(path, config, &[agreed.fourcc]));
        }
        match scan {
            Scan::Whole => {}
            Scan::Interlaced => log::warn!(
                "{}: delivers interlaced frames: moving edges look like a comb",
                path.display()
            ),
            Scan::Halves => {
                return Err(OpenError::NotACamera {
                    device: path.to_owned(),
                    what: "gives the two halves of an interlaced picture apart; choose a mode without",
                });
            }
        }
        check_size(
            &path.display().to_string(),
            agreed.width_px,
            agreed.height_px,
        )?;
        // Not every driver lets the rate be set; then it stays unknown.
        let rate_hz = device
            .set_interval(interval_of(config.rate_hz))
            .map_or(0.0, Interval::rate_hz);
        let stream = Stream::start(device, BUFFERS).map_err(|(call, error)| failed(call)(error))?;
        Ok(Self {
            mode: CameraMode {
                name: format!("{} ({})", path.display(), capability.card),
                width_px: agreed.width_px,
                height_px: agreed.height_px,
                rate_hz,
                format: offer.format.frame_format(),
            },
            format: offer.format,
            agreed,
            stream,
            clock: Clock::live(),
            last_sequence: 0,
        })
    }

    fn failed(&self, call: &'static str, error: &std::io::Error) -> CaptureError {
        CaptureError::System {
            call,
            errno: error.raw_os_error().unwrap_or(0),
            last_sequence: self.last_sequence,
        }
    }

    /// Waits for a filled buffer.
    fn dequeue(&self, timeout: Duration) -> Result<Dequeued, CaptureError> {
        /// Times a driver may call us for a frame it does not have, in one wait.
        const FALSE_CALLS_MAX: u32 = 16;
        let deadline = self.clock.now().plus(timeout);
        let mut false_calls = 0;
        loop {
            // Asked first: a frame that is there costs no wait.
            match self.stream.dequeue() {
                Ok(Some(dequeued)) => return Ok(dequeued),
                Ok(None) => {}
                Err(error) => return Err(self.failed("VIDIOC_DQBUF", &error)),
            }
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return Err(CaptureError::Timeout {
                    waited_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                    last_sequence: self.last_sequence,
                });
            }
            let [ready] = wait_readable([self.stream.as_fd()], left)
                .map_err(|error| self.failed("poll", &error))?;
            false_calls += u32::from(ready);
            if false_calls > FALSE_CALLS_MAX {
                // It would keep the processor busy and never give a frame.
                let error = std::io::Error::from_raw_os_error(libc::EIO);
                return Err(self.failed("poll", &error));
            }
        }
    }
}

/// What the driver would make of each format asked for that it has, in our order.
fn offers(device: &Device, config: &V4l2Config, offered: &[[u8; 4]]) -> Vec<Offer> {
    let mut offers = Vec::new();
    for &format in &config.formats {
        if !offered.contains(&format.fourcc()) {
            continue;
        }
        let wanted = PixFormat {
            fourcc: format.fourcc(),
            width_px: config.width_px,
            height_px: config.height_px,
            stride: 0,
        };
        // Drivers need not know how to try; then they are taken at their word.
        let agreed = device.try_format(wanted).unwrap_or(wanted);
        if agreed.fourcc == format.fourcc() {
            offers.push(Offer {
                format,
                width_px: agreed.width_px,
                height_px: agreed.height_px,
                rate_hz: device.shortest_interval(agreed).map(Interval::rate_hz),
            });
        }
    }
    offers
}

fn no_format(node: &Path, config: &V4l2Config, offered: &[[u8; 4]]) -> OpenError {
    let names = |formats: &mut dyn Iterator<Item = [u8; 4]>| {
        let names: Vec<String> = formats
            .map(|fourcc| String::from_utf8_lossy(&fourcc).trim_end().to_owned())
            .collect();
        if names.is_empty() {
            "no format".to_owned()
        } else {
            names.join(", ")
        }
    };
    OpenError::NoFormat {
        device: node.to_owned(),
        offered: names(&mut offered.iter().copied()),
        wanted: names(&mut config.formats.iter().map(|format| format.fourcc())),
    }
}

impl Camera for V4l2Camera {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn next_into(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Next, CaptureError> {
        let dequeued = self.dequeue(timeout)?;
        let capture = capture_time(dequeued, self.clock.now());
        let sequence = dequeued.sequence;
        let (format, agreed) = (self.format, self.agreed);
        check_index(dequeued.index, self.stream.count(), self.last_sequence)?;
        let converted = if dequeued.flags & FLAG_ERROR == 0 {
            let bytes = &mut frame.bytes;
            self.stream
                .lend(dequeued.index, dequeued.bytes_used, |source| {
                    convert(format, agreed, sequence, source, bytes)
                })
                .unwrap_or(Err(CaptureError::Damaged { sequence }))
        } else {
            Err(CaptureError::Damaged { sequence })
        };
        self.last_sequence = sequence;
        // Good or bad, the buffer goes back.
        self.stream
            .queue(dequeued.index)
            .map_err(|error| self.failed("VIDIOC_QBUF", &error))?;
        converted?;
        frame.meta = FrameMeta {
            sequence,
            capture,
            width_px: agreed.width_px,
            height_px: agreed.height_px,
            format: format.frame_format(),
        };
        Ok(Next::Frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::order::{Fault, Order, Verdict};

    fn offer(format: V4l2Format, size: (u32, u32), rate_hz: Option<f32>) -> Offer {
        Offer {
            format,
            width_px: size.0,
            height_px: size.1,
            rate_hz,
        }
    }

    fn wanted() -> V4l2Config {
        V4l2Config {
            width_px: 1280,
            height_px: 720,
            ..V4l2Config::default()
        }
    }

    #[test]
    fn the_first_format_that_reaches_size_and_rate_is_taken() {
        let hd = (1280, 720);
        let both = [
            offer(V4l2Format::Yuyv, hd, Some(30.0)),
            offer(V4l2Format::Mjpg, hd, Some(60.0)),
        ];
        assert_eq!(choose(&wanted(), &both), Some(both[0]));
        assert_eq!(choose(&wanted(), &[]), None);
    }

    #[test]
    fn a_format_too_slow_for_the_bus_gives_way_to_a_compressed_one() {
        let hd = (1280, 720);
        let usb2 = [
            offer(V4l2Format::Yuyv, hd, Some(10.0)),
            offer(V4l2Format::Mjpg, hd, Some(30.0)),
        ];
        assert_eq!(choose(&wanted(), &usb2), Some(usb2[1]));
    }

    #[test]
    fn a_rate_a_hair_below_the_one_asked_for_is_that_rate() {
        let hd = (1280, 720);
        let ntsc = [
            offer(V4l2Format::Yuyv, hd, Some(29.97)),
            offer(V4l2Format::Mjpg, hd, Some(30.0)),
        ];
        assert_eq!(choose(&wanted(), &ntsc), Some(ntsc[0]));
    }

    #[test]
    fn the_right_size_goes_before_the_rate_and_an_unknown_rate_is_trusted() {
        let offers = [
            offer(V4l2Format::Yuyv, (640, 480), Some(30.0)),
            offer(V4l2Format::Grey, (1280, 720), Some(15.0)),
            offer(V4l2Format::Mjpg, (1280, 720), None),
        ];
        assert_eq!(choose(&wanted(), &offers), Some(offers[2]));
        assert_eq!(choose(&wanted(), &offers[..2]), Some(offers[1]));
    }

    fn dequeued(flags: u32, seconds: i64, microseconds: i64) -> Dequeued {
        Dequeued {
            flags,
            seconds,
            microseconds,
            ..Dequeued::default()
        }
    }

    /// The flags of a time on the monotonic clock, and on another one (the wall clock, as some older drivers have it).
    const CLOCKS: [u32; 2] = [0x2000, 0];

    #[test]
    fn the_drivers_time_is_taken_on_whatever_clock_and_now_where_it_gives_none() {
        let now = MonoNs(99);
        for flags in CLOCKS {
            for (stamp, want) in [
                (dequeued(flags, 12, 345_678), MonoNs(12_345_678_000)),
                // Never filled in, or nonsense.
                (dequeued(flags, 0, 0), now),
                (dequeued(flags, -3, 5), now),
                (dequeued(flags, i64::MAX, i64::MAX), MonoNs(u64::MAX)),
            ] {
                assert_eq!(capture_time(stamp, now), want, "{stamp:?}");
            }
        }
        let copied = dequeued(FLAG_TIMESTAMP_COPY, 12, 345_678);
        assert_eq!(capture_time(copied, now), now);
    }

    #[test]
    fn frames_of_a_driver_with_another_clock_are_old_after_this_program_was_stopped() {
        let at = |ms: i64| MonoNs(u64::try_from(10_000_000 + ms).unwrap() * 1_000_000);
        for flags in CLOCKS {
            let mut order = Order::new(at(0));
            let mut judge = |taken_ms: i64, now_ms: i64| {
                let (seconds, ms) = (1_700_000_000 + taken_ms / 1000, taken_ms % 1000);
                let stamp = dequeued(flags, seconds, 1000 * ms);
                order.judge(capture_time(stamp, at(now_ms)), at(now_ms))
            };
            for frame in 0..30 {
                let verdict = judge(33 * frame, 33 * frame + 5);
                assert!(matches!(verdict, Verdict::Take(_)), "{frame}: {verdict:?}");
            }
            // Stopped for ten seconds: the driver's buffers hold what was before the camera then.
            for frame in 30..34 {
                let verdict = judge(33 * frame, 11_000 + frame);
                assert_eq!(verdict, Verdict::Drop(Fault::Stale), "{frame}");
            }
            let verdict = judge(11_050, 11_060);
            assert!(matches!(verdict, Verdict::Take(_)), "{verdict:?}");
        }
    }

    #[test]
    fn a_buffer_that_does_not_exist_is_refused_by_number() {
        assert_eq!(check_index(3, 4, 9), Ok(()));
        let error = check_index(4, 4, 9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the driver returned buffer 4 of 4 after frame 9"
        );
    }

    #[test]
    fn a_short_buffer_names_its_bytes_and_a_cut_jpeg_is_damaged() {
        let mut agreed = PixFormat {
            fourcc: *b"YUYV",
            width_px: 4,
            height_px: 2,
            stride: 8,
        };
        let mut out = Vec::new();
        assert_eq!(
            convert(V4l2Format::Yuyv, agreed, 7, &[0; 12], &mut out),
            Err(CaptureError::ShortFrame {
                sequence: 7,
                got: 12,
                want: 16
            })
        );
        assert_eq!(
            convert(
                V4l2Format::Uyvy,
                agreed,
                7,
                &[1, 2, 3, 4].repeat(4),
                &mut out
            ),
            Ok(())
        );
        assert_eq!(out, [2, 1, 4, 3].repeat(4));
        agreed = PixFormat {
            fourcc: *b"MJPG",
            width_px: 48,
            height_px: 32,
            stride: 0,
        };
        let jpeg = include_bytes!("../../tests/data/ramp_48x32.jpg");
        assert_eq!(convert(V4l2Format::Mjpg, agreed, 7, jpeg, &mut out), Ok(()));
        assert_eq!(out.len(), 48 * 32 * 3);
        for cut in [0, 1, 300] {
            assert_eq!(
                convert(V4l2Format::Mjpg, agreed, 7, &jpeg[..cut], &mut out),
                Err(CaptureError::Damaged { sequence: 7 })
            );
        }
    }

    #[test]
    fn rates_that_are_not_whole_are_asked_for_as_drivers_state_them() {
        for (rate, numerator, denominator) in [
            ("30", 1, 30),
            ("30.0", 1, 30),
            ("29.97", 1001, 30_000),
            ("59.94", 1001, 60_000),
            ("23.976", 1001, 24_000),
            ("7.5", 1000, 7500),
            ("120", 1, 120),
        ] {
            let config: V4l2Config = toml::from_str(&format!("rate_hz = {rate}")).unwrap();
            config.validate().unwrap();
            let want = Interval {
                numerator,
                denominator,
            };
            assert_eq!(interval_of(config.rate_hz), want, "{rate}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        V4l2Config::default().validate().unwrap();
        let refused = |change: fn(&mut V4l2Config)| {
            let mut config = V4l2Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refused(|c| c.rate_hz = 0.0),
            "camera.v4l2.rate_hz = 0: must be from 1 to 120"
        );
        assert_eq!(
            refused(|c| c.width_px = 4000),
            "camera.v4l2.width_px = 4000: must be from 64 to 1920"
        );
        assert_eq!(
            refused(|c| c.width_px = 641),
            "camera.v4l2.width_px = \"641\": must be an even number"
        );
        assert_eq!(
            refused(|c| (c.device, c.card) = (Some("/dev/video1".into()), Some("HD".into()))),
            "camera.v4l2.device = \"/dev/video1\": must be left out where card or bus says which camera"
        );
        assert!(refused(|c| c.formats.clear()).starts_with("camera.v4l2.formats"));
        assert!(toml::from_str::<V4l2Config>("widht_px = 3").is_err());
        assert!(toml::from_str::<V4l2Config>("formats = [\"h264\"]").is_err());
    }

    #[test]
    fn a_device_without_our_formats_is_told_what_it_offers() {
        let node = Path::new("/dev/video0");
        let error = no_format(node, &V4l2Config::default(), &[*b"H264", *b"BA81"]);
        assert_eq!(
            error.to_string(),
            "/dev/video0: offers H264, BA81, but YUYV, UYVY, NV12, GREY, MJPG is configured"
        );
    }

    #[test]
    fn what_is_no_camera_is_refused_by_name() {
        let config = V4l2Config {
            device: Some(PathBuf::from("/dev/null")),
            ..V4l2Config::default()
        };
        let message = V4l2Camera::open(&config).unwrap_err().to_string();
        assert_eq!(message, "/dev/null: is no video device");
    }
}
