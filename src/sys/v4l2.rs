//! The requests of a V4L2 capture device, and its buffers.
//!
//! Structures, request numbers and the call itself come from the `v4l` crate.
//! Its own stream is not used: it takes the driver's buffer index unchecked,
//! waits without end for an unplugged camera, and panics when it is dropped
//! after an error. Here every number from the driver is looked at before it is
//! used, and what cannot be undone at the end is left to the kernel, which frees
//! all of it when the file closes.

#![expect(
    unsafe_code,
    reason = "ioctl, mmap and the unions of the kernel's structures"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;

use v4l::v4l_sys as raw;
use v4l::v4l2::vidioc;

const CAPTURE: u32 = raw::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;
const MMAP: u32 = raw::v4l2_memory_V4L2_MEMORY_MMAP;

/// The device captures video, one plane a buffer.
pub const CAP_VIDEO_CAPTURE: u32 = raw::V4L2_CAP_VIDEO_CAPTURE;
/// The device streams through mapped buffers.
pub const CAP_STREAMING: u32 = raw::V4L2_CAP_STREAMING;
/// The buffer's content may be damaged.
pub const FLAG_ERROR: u32 = raw::V4L2_BUF_FLAG_ERROR;
/// The bits that name the clock of a timestamp.
pub const FLAG_TIMESTAMP_MASK: u32 = raw::V4L2_BUF_FLAG_TIMESTAMP_MASK;
/// The timestamp was copied from an output buffer.
pub const FLAG_TIMESTAMP_COPY: u32 = raw::V4L2_BUF_FLAG_TIMESTAMP_COPY;

/// Formats, intervals and buffers a driver may list before we stop asking: a
/// driver that never says "no more" must not hold us.
const LIST_MAX: u32 = 64;

/// An open video device.
#[derive(Debug)]
pub struct Device(File);

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name of the driver.
    pub driver: String,
    /// Name of the device.
    pub card: String,
    /// Where it is plugged in.
    pub bus: String,
    /// `CAP_*` bits of this node.
    pub bits: u32,
}

/// An image format as the driver states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixFormat {
    /// Four characters that name the layout.
    pub fourcc: [u8; 4],
    /// Image width, pixels.
    pub width_px: u32,
    /// Image height, pixels.
    pub height_px: u32,
    /// Bytes from one row to the next; 0 for compressed formats.
    pub stride: u32,
}

/// How the lines of an image follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// All at once.
    Whole,
    /// Every second line a moment after the others: what moves has a comb for an edge.
    Interlaced,
    /// Each half by itself: above one another, or in buffers that take turns.
    Halves,
}

impl Scan {
    const fn of(field: raw::v4l2_field) -> Self {
        match field {
            raw::v4l2_field_V4L2_FIELD_ANY | raw::v4l2_field_V4L2_FIELD_NONE => Self::Whole,
            raw::v4l2_field_V4L2_FIELD_INTERLACED
            | raw::v4l2_field_V4L2_FIELD_INTERLACED_TB
            | raw::v4l2_field_V4L2_FIELD_INTERLACED_BT => Self::Interlaced,
            _ => Self::Halves,
        }
    }
}

/// A fraction of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Above the line.
    pub numerator: u32,
    /// Below the line.
    pub denominator: u32,
}

/// What the driver says of a buffer it hands over. Not checked yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dequeued {
    /// Which buffer.
    pub index: u32,
    /// Bytes filled.
    pub bytes_used: u32,
    /// `V4L2_BUF_FLAG_*`.
    pub flags: u32,
    /// Frames since the stream began, lost ones included.
    pub sequence: u32,
    /// Seconds of the timestamp.
    pub seconds: i64,
    /// Microseconds of the timestamp.
    pub microseconds: i64,
}

/// A structure of the kernel for which all zeros is a value.
///
/// # Safety
///
/// The type consists of integers and of unions and arrays of them.
unsafe trait Plain {}
// SAFETY: integers and arrays of them.
unsafe impl Plain for raw::v4l2_capability {}
// SAFETY: integers and arrays of them.
unsafe impl Plain for raw::v4l2_fmtdesc {}
// SAFETY: an integer and a union whose members are plain.
unsafe impl Plain for raw::v4l2_format {}
// SAFETY: an integer and a union whose members are plain.
unsafe impl Plain for raw::v4l2_streamparm {}
// SAFETY: integers and a union of them.
unsafe impl Plain for raw::v4l2_frmivalenum {}
// SAFETY: integers and a union of them.
unsafe impl Plain for raw::v4l2_frmsizeenum {}
// SAFETY: integers and arrays of them.
unsafe impl Plain for raw::v4l2_requestbuffers {}
// SAFETY: integers and unions of integers and a pointer, for which zero is null.
unsafe impl Plain for raw::v4l2_buffer {}
// SAFETY: an integer.
unsafe impl Plain for std::os::raw::c_int {}

fn zero<T: Plain>() -> T {
    // SAFETY: `Plain` says that zeros are a value of the type.
    unsafe { zeroed() }
}

impl Device {
    /// Opens a device node without waiting on it.
    ///
    /// # Errors
    ///
    /// As for any file.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map(Self)
    }

    /// Makes a request. `argument` is the structure which that request takes.
    fn request<T: Plain>(&self, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        loop {
            // SAFETY: the callers below pair each request with its structure, whose size
            // is part of the request's number; it outlives the call.
            let done = unsafe {
                v4l::v4l2::ioctl(
                    self.0.as_raw_fd(),
                    request,
                    std::ptr::from_mut(argument).cast(),
                )
            };
            match done {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Asks what the device is.
    ///
    /// # Errors
    ///
    /// It is no video device.
    pub fn capability(&self) -> io::Result<Capability> {
        let mut told: raw::v4l2_capability = zero();
        self.request(vidioc::VIDIOC_QUERYCAP, &mut told)?;
        let bits = if told.capabilities & raw::V4L2_CAP_DEVICE_CAPS == 0 {
            told.capabilities
        } else {
            told.device_caps
        };
        Ok(Capability {
            driver: text(&told.driver),
            card: text(&told.card),
            bus: text(&told.bus_info),
            bits,
        })
    }

    /// The formats it offers, in its order.
    pub fn formats(&self) -> Vec<[u8; 4]> {
        let mut formats = Vec::new();
        for index in 0..LIST_MAX {
            let mut told: raw::v4l2_fmtdesc = zero();
            told.index = index;
            told.type_ = CAPTURE;
            if self.request(vidioc::VIDIOC_ENUM_FMT, &mut told).is_err() {
                break;
            }
            formats.push(told.pixelformat.to_le_bytes());
        }
        formats
    }

    /// What the driver would make of a format; nothing changes.
    ///
    /// # Errors
    ///
    /// The driver refuses, or does not know the request.
    pub fn try_format(&self, wanted: PixFormat) -> io::Result<PixFormat> {
        Ok(self.negotiate(vidioc::VIDIOC_TRY_FMT, wanted)?.0)
    }

    /// Sets the format; returns what the driver made of it, and how its lines follow each other.
    ///
    /// # Errors
    ///
    /// The driver refuses: `EBUSY` where another program streams.
    pub fn set_format(&self, wanted: PixFormat) -> io::Result<(PixFormat, Scan)> {
        self.negotiate(vidioc::VIDIOC_S_FMT, wanted)
    }

    fn negotiate(
        &self,
        request: vidioc::_IOC_TYPE,
        wanted: PixFormat,
    ) -> io::Result<(PixFormat, Scan)> {
        let mut format: raw::v4l2_format = zero();
        format.type_ = CAPTURE;
        // SAFETY: `pix` is the member for this type of buffer; zeros are a value of it.
        let pix = unsafe { &mut format.fmt.pix };
        pix.width = wanted.width_px;
        pix.height = wanted.height_px;
        pix.pixelformat = u32::from_le_bytes(wanted.fourcc);
        pix.field = raw::v4l2_field_V4L2_FIELD_NONE;
        self.request(request, &mut format)?;
        // SAFETY: as above; the driver fills the member for this type.
        let pix = unsafe { format.fmt.pix };
        let agreed = PixFormat {
            fourcc: pix.pixelformat.to_le_bytes(),
            width_px: pix.width,
            height_px: pix.height,
            stride: pix.bytesperline,
        };
        Ok((agreed, Scan::of(pix.field)))
    }

    /// The image sizes it offers in a layout; the largest where it offers a range.
    pub fn sizes(&self, fourcc: [u8; 4]) -> Vec<PixFormat> {
        let mut sizes = Vec::new();
        for index in 0..LIST_MAX {
            let mut told: raw::v4l2_frmsizeenum = zero();
            told.index = index;
            told.pixel_format = u32::from_le_bytes(fourcc);
            if self
                .request(vidioc::VIDIOC_ENUM_FRAMESIZES, &mut told)
                .is_err()
            {
                break;
            }
            let single = told.type_ == raw::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE;
            let (width_px, height_px) = if single {
                // SAFETY: integers only, so any bits are a value.
                let size = unsafe { told.__bindgen_anon_1.discrete };
                (size.width, size.height)
            } else {
                // SAFETY: integers only, so any bits are a value.
                let range = unsafe { told.__bindgen_anon_1.stepwise };
                (range.max_width, range.max_height)
            };
            sizes.push(PixFormat {
                fourcc,
                width_px,
                height_px,
                stride: 0,
            });
            if !single {
                break;
            }
        }
        sizes
    }

    /// The shortest interval between frames of this format; `None` if the
    /// driver does not say.
    pub fn shortest_interval(&self, format: PixFormat) -> Option<Interval> {
        let mut shortest: Option<Interval> = None;
        for index in 0..LIST_MAX {
            let mut told: raw::v4l2_frmivalenum = zero();
            told.index = index;
            told.pixel_format = u32::from_le_bytes(format.fourcc);
            told.width = format.width_px;
            told.height = format.height_px;
            if self
                .request(vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut told)
                .is_err()
            {
                break;
            }
            // The minimum of a range lies where a single value would.
            // SAFETY: integers only, so any bits are a value, whatever the type says.
            let fraction = unsafe { told.__bindgen_anon_1.discrete };
            let interval = Interval {
                numerator: fraction.numerator,
                denominator: fraction.denominator,
            };
            if interval.rate_hz() > shortest.map_or(0.0, Interval::rate_hz) {
                shortest = Some(interval);
            }
            if told.type_ != raw::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE {
                break;
            }
        }
        shortest
    }

    /// Asks for an interval between frames and reads back what holds.
    ///
    /// # Errors
    ///
    /// The driver does not know the request.
    pub fn set_interval(&self, wanted: Interval) -> io::Result<Interval> {
        let mut told: raw::v4l2_streamparm = zero();
        told.type_ = CAPTURE;
        told.parm.capture = raw::v4l2_captureparm {
            timeperframe: raw::v4l2_fract {
                numerator: wanted.numerator,
                denominator: wanted.denominator,
            },
            ..zero_capture()
        };
        self.request(vidioc::VIDIOC_S_PARM, &mut told)?;
        let mut told: raw::v4l2_streamparm = zero();
        told.type_ = CAPTURE;
        self.request(vidioc::VIDIOC_G_PARM, &mut told)?;
        // SAFETY: the member for this type of buffer; integers, so any bits are a value.
        let fraction = unsafe { told.parm.capture.timeperframe };
        Ok(Interval {
            numerator: fraction.numerator,
            denominator: fraction.denominator,
        })
    }
}

fn zero_capture() -> raw::v4l2_captureparm {
    raw::v4l2_captureparm {
        capability: 0,
        capturemode: 0,
        timeperframe: raw::v4l2_fract {
            numerator: 0,
            denominator: 0,
        },
        extendedmode: 0,
        readbuffers: 0,
        reserved: [0; 4],
    }
}

impl Interval {
    /// Frames a second; 0 for what is no interval.
    pub fn rate_hz(self) -> f32 {
        if self.numerator == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers in practice")]
        let rate_hz = self.denominator as f32 / self.numerator as f32;
        rate_hz
    }
}

/// A name in a fixed field: up to the first zero, whatever bytes the driver wrote.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

/// One buffer of the driver in our memory.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `length` are those of a mapping made by `Stream::start`
        // and not unmapped before; no reference into it is left, as they are lent
        // for one call only.
        let _ = unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A running stream: the device and its buffers.
#[derive(Debug)]
pub struct Stream {
    // Before `device`: unmapped while the file is open.
    buffers: Vec<Mapping>,
    device: Device,
}

// SAFETY: a mapping is owned by the stream and reached through it alone, so it
// may move to the capture thread with it.
unsafe impl Send for Stream {}

impl Stream {
    /// Maps up to `count` buffers, queues them all and starts.
    ///
    /// # Errors
    ///
    /// The name of the request that failed, and why.
    pub fn start(device: Device, count: u32) -> Result<Self, (&'static str, io::Error)> {
        let mut asked: raw::v4l2_requestbuffers = zero();
        asked.count = count;
        asked.type_ = CAPTURE;
        asked.memory = MMAP;
        device
            .request(vidioc::VIDIOC_REQBUFS, &mut asked)
            .map_err(|error| ("VIDIOC_REQBUFS", error))?;
        let mut stream = Self {
            buffers: Vec::new(),
            device,
        };
        for index in 0..asked.count.min(LIST_MAX) {
            let buffer = stream.map(index)?;
            stream.buffers.push(buffer);
            stream
                .queue(index)
                .map_err(|error| ("VIDIOC_QBUF", error))?;
        }
        if stream.buffers.is_empty() {
            return Err(("VIDIOC_REQBUFS", io::ErrorKind::OutOfMemory.into()));
        }
        let mut kind = CAPTURE.cast_signed();
        stream
            .device
            .request(vidioc::VIDIOC_STREAMON, &mut kind)
            .map_err(|error| ("VIDIOC_STREAMON", error))?;
        Ok(stream)
    }

    fn map(&self, index: u32) -> Result<Mapping, (&'static str, io::Error)> {
        let mut told = description(index);
        self.device
            .request(vidioc::VIDIOC_QUERYBUF, &mut told)
            .map_err(|error| ("VIDIOC_QUERYBUF", error))?;
        let length = told.length as usize;
        // SAFETY: `offset` is the member for mapped memory, and an integer.
        let offset = unsafe { told.m.offset };
        // SAFETY: a new mapping of the device's own memory at a place the kernel
        // chooses; no memory of this program is touched.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.device.0.as_raw_fd(),
                libc::off_t::from(offset),
            )
        };
        if start == libc::MAP_FAILED {
            return Err(("mmap", io::Error::last_os_error()));
        }
        let start = NonNull::new(start.cast())
            .ok_or_else(|| ("mmap", io::Error::from(io::ErrorKind::InvalidData)))?;
        Ok(Mapping { start, length })
    }

    /// How many buffers there are.
    #[expect(clippy::cast_possible_truncation, reason = "at most LIST_MAX")]
    pub fn count(&self) -> u32 {
        self.buffers.len() as u32
    }

    /// Takes a filled buffer; `None` if none is ready. Does not wait.
    ///
    /// # Errors
    ///
    /// The device is gone (`ENODEV`) or stopped.
    pub fn dequeue(&self) -> io::Result<Option<Dequeued>> {
        let mut told = description(0);
        match self.device.request(vidioc::VIDIOC_DQBUF, &mut told) {
            Ok(()) => Ok(Some(Dequeued {
                index: told.index,
                bytes_used: told.bytesused,
                flags: told.flags,
                sequence: told.sequence,
                seconds: told.timestamp.tv_sec,
                microseconds: told.timestamp.tv_usec,
            })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lends the first `bytes_used` bytes of a dequeued buffer for one call, at
    /// most as many as it has; `None` if there is no such buffer.
    ///
    /// The driver may fill a buffer only while it is queued; between
    /// [`Self::dequeue`] and [`Self::queue`] it is ours. Needs `&mut self` so that
    /// nothing is queued meanwhile.
    pub fn lend<R>(
        &mut self,
        index: u32,
        bytes_used: u32,
        work: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let buffer = self.buffers.get(usize::try_from(index).ok()?)?;
        let length = buffer.length.min(bytes_used as usize);
        // SAFETY: the mapping is `buffer.length` bytes long and lives as long as
        // `self`; the driver does not write to it while it is dequeued.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.start.as_ptr(), length) };
        Some(work(bytes))
    }

    /// Gives a buffer back to the driver to be filled.
    ///
    /// # Errors
    ///
    /// The device is gone, or there is no such buffer.
    pub fn queue(&self, index: u32) -> io::Result<()> {
        self.device
            .request(vidioc::VIDIOC_QBUF, &mut description(index))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.0.as_fd()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut kind = CAPTURE.cast_signed();
        // Fails only where the device is gone.
        let _ = self.device.request(vidioc::VIDIOC_STREAMOFF, &mut kind);
    }
}

fn description(index: u32) -> raw::v4l2_buffer {
    let mut buffer: raw::v4l2_buffer = zero();
    buffer.index = index;
    buffer.type_ = CAPTURE;
    buffer.memory = MMAP;
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_video_device_is_told_by_errno() {
        let device = Device::open(Path::new("/dev/null")).unwrap();
        let errno = device.capability().unwrap_err().raw_os_error();
        assert_eq!(errno, Some(libc::ENOTTY));
        assert!(device.formats().is_empty());
        let (call, error) = Stream::start(device, 4).unwrap_err();
        assert_eq!(call, "VIDIOC_REQBUFS");
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn names_end_at_the_first_zero_and_may_hold_any_bytes() {
        assert_eq!(text(b"UVC Camera\0junk"), "UVC Camera");
        assert_eq!(text(&[b'a', 0xFF, 0]), "a\u{FFFD}");
        assert_eq!(text(b"full"), "full");
    }

    #[test]
    fn interlaced_and_split_fields_are_told_from_whole_ones() {
        for (field, want) in [
            (raw::v4l2_field_V4L2_FIELD_ANY, Scan::Whole),
            (raw::v4l2_field_V4L2_FIELD_NONE, Scan::Whole),
            (raw::v4l2_field_V4L2_FIELD_INTERLACED, Scan::Interlaced),
            (raw::v4l2_field_V4L2_FIELD_INTERLACED_TB, Scan::Interlaced),
            (raw::v4l2_field_V4L2_FIELD_INTERLACED_BT, Scan::Interlaced),
            (raw::v4l2_field_V4L2_FIELD_TOP, Scan::Halves),
            (raw::v4l2_field_V4L2_FIELD_BOTTOM, Scan::Halves),
            (raw::v4l2_field_V4L2_FIELD_SEQ_TB, Scan::Halves),
            (raw::v4l2_field_V4L2_FIELD_SEQ_BT, Scan::Halves),
            (raw::v4l2_field_V4L2_FIELD_ALTERNATE, Scan::Halves),
            // Of a kernel that knows more than we do.
            (99, Scan::Halves),
        ] {
            assert_eq!(Scan::of(field), want, "field {field}");
        }
    }

    #[test]
    fn an_interval_without_length_is_no_rate() {
        let interval = |numerator, denominator| Interval {
            numerator,
            denominator,
        };
        assert!((interval(1001, 30_000).rate_hz() - 29.97).abs() < 0.01);
        assert!(interval(0, 30).rate_hz().abs() < f32::EPSILON);
    }
}
