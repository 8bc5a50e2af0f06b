//! A camera with a driver's buffers, that can be unplugged, fall silent, and lie about the time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use poised::base::clock::{Clock, MonoNs};
use poised::capture::{Camera, CameraMode, CaptureError, Next, OpenError, SourceKind};
use poised::frame::{Frame, PixelFormat};

use super::ledger::{Made, Shared};
use super::plan::{Plan, chance, other_clock, spell};

/// Buffers of the driver; without a free one it lets frames go.
const BUFFERS: usize = 4;

/// Size of its pictures.
pub const SIZE_PX: (u32, u32) = (640, 480);

/// `ENODEV`: what a driver says once the camera is unplugged.
const GONE: i32 = 19;

/// How a frame in a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Short,
    Damaged,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    sequence: u32,
    made: Made,
    stamp: MonoNs,
    ready: MonoNs,
    state: State,
}

/// What the camera is, whether it is open or not.
#[derive(Debug)]
pub struct Device {
    plan: Plan,
    rng: Rng,
    ledger: Shared,
    pub is_open: bool,
    /// Openings so far.
    opening: u32,
    sequence: u32,
    next: MonoNs,
    /// Unplugged until then.
    gone_until: MonoNs,
    /// Silent until then.
    mute_until: MonoNs,
    /// Whether it was unplugged since it was opened.
    was_gone: bool,
    offset_ns: i64,
    /// Whether its times have been the machine's since it was opened.
    is_honest: bool,
    last_stamp: MonoNs,
    buffers: VecDeque<Waiting>,
    /// The last frame that was delivered.
    got: Option<u32>,
    frames_left: u32,
}

impl Device {
    pub fn new(plan: &Plan, ledger: Shared) -> Self {
        Self {
            plan: plan.clone(),
            rng: plan.rng(1),
            ledger,
            is_open: false,
            opening: 0,
            sequence: 0,
            next: MonoNs(0),
            gone_until: MonoNs(0),
            mute_until: MonoNs(0),
            was_gone: false,
            offset_ns: plan.offset_ns,
            is_honest: true,
            last_stamp: MonoNs(0),
            buffers: VecDeque::with_capacity(BUFFERS),
            got: None,
            frames_left: plan.frames,
        }
    }

    /// Pulls the plug.
    pub fn unplug(&mut self, now: MonoNs) {
        self.gone_until = now.plus(spell(&mut self.rng, 4_000));
        self.was_gone = true;
        self.buffers.clear();
    }

    /// Gives nothing for a while.
    pub fn mute(&mut self, now: MonoNs) {
        self.mute_until = now.plus(spell(&mut self.rng, 6_000));
    }

    /// When there will be something to be had, a frame or an error, as far as is known at `now`.
    pub fn ready(&mut self, now: MonoNs) -> MonoNs {
        self.advance(now);
        match self.buffers.front() {
            _ if self.was_gone => now,
            Some(waiting) => waiting.ready,
            None => self.next.max(self.mute_until),
        }
    }

    /// Takes the pictures that are due.
    fn advance(&mut self, now: MonoNs) {
        while self.is_open && self.next <= now {
            let taken = self.next;
            self.next = self.next.plus(self.plan.period);
            if taken >= self.mute_until && !self.was_gone {
                self.take_picture(taken);
            }
        }
    }

    fn take_picture(&mut self, taken: MonoNs) {
        let rates = self.plan.rates;
        self.sequence = self.sequence.wrapping_add(1);
        // The driver draws no chance for a frame it has no buffer for, nor does a recording lose one.
        if self.buffers.len() == BUFFERS {
            return;
        }
        if self.plan.kind != SourceKind::Recording && chance(&mut self.rng, rates.clock_jump) {
            self.offset_ns = other_clock(&mut self.rng);
        }
        let mut stamp = MonoNs(taken.0.saturating_add_signed(self.offset_ns));
        let mut is_so = self.offset_ns == 0;
        // The first frame of an opening says which clock it is.
        if self.last_stamp.0 > 0 && chance(&mut self.rng, rates.stamp_back) {
            let back = spell(&mut self.rng, 1_000);
            stamp = MonoNs(self.last_stamp.0.saturating_sub(nanoseconds(back)));
            is_so = false;
        }
        self.is_honest &= self.offset_ns == 0;
        self.last_stamp = stamp;
        let state = if !chance(&mut self.rng, rates.bad_frame) {
            State::Good
        } else if self.rng.bool() {
            State::Short
        } else {
            State::Damaged
        };
        let latency = Duration::from_millis(self.rng.u64(0..=self.plan.latency_ms));
        self.buffers.push_back(Waiting {
            sequence: self.sequence,
            made: Made {
                taken,
                is_honest: is_so && self.is_honest,
                opening: self.opening,
            },
            stamp,
            ready: taken.plus(latency),
            state,
        });
    }

    fn next_into(&mut self, frame: &mut Frame, now: MonoNs) -> Result<Next, CaptureError> {
        self.ledger.lock().slot(std::ptr::from_ref(frame).addr());
        self.advance(now);
        let last_sequence = self.got.unwrap_or(0);
        if self.was_gone {
            return Err(CaptureError::System {
                call: "VIDIOC_DQBUF",
                errno: GONE,
                last_sequence,
            });
        }
        let is_recording = self.plan.kind == SourceKind::Recording;
        if is_recording && self.frames_left == 0 {
            return Ok(Next::End);
        }
        let is_ready = self.buffers.front().is_some_and(|front| front.ready <= now);
        let Some(waiting) = is_ready.then(|| self.buffers.pop_front()).flatten() else {
            return if is_recording {
                Ok(Next::Pause)
            } else {
                Err(CaptureError::Timeout {
                    waited_ms: 100,
                    last_sequence,
                })
            };
        };
        self.frames_left = self.frames_left.saturating_sub(1);
        let sequence = waiting.sequence;
        let mut ledger = self.ledger.lock();
        if let Some(before) = self.got.replace(sequence) {
            ledger.lost += u64::from(sequence - before - 1);
        }
        match waiting.state {
            State::Short => {
                ledger.bad[0] += 1;
                Err(CaptureError::ShortFrame {
                    sequence,
                    got: 1,
                    want: 2,
                })
            }
            State::Damaged => {
                ledger.bad[1] += 1;
                Err(CaptureError::Damaged { sequence })
            }
            State::Good => {
                let id = ledger.frames.len() as u64;
                ledger.frames.push(waiting.made);
                ledger.note(now, || {
                    format!(
                        "camera: frame {sequence} (id {id}) of {:?}",
                        waiting.made.taken
                    )
                });
                frame.meta.sequence = sequence;
                frame.meta.capture = waiting.stamp;
                (frame.meta.width_px, frame.meta.height_px) = SIZE_PX;
                frame.meta.format = PixelFormat::Grey;
                // All that the detector needs of a picture is which one it is.
                frame.bytes.clear();
                frame.bytes.extend(id.to_le_bytes());
                Ok(Next::Frame)
            }
        }
    }
}

/// A device that the camera, the way to open it again and the world share.
#[derive(Clone, Debug)]
pub struct Plug(Arc<Mutex<Device>>, Arc<Clock>);

impl Plug {
    pub fn new(device: Device, clock: &Arc<Clock>) -> Self {
        Self(Arc::new(Mutex::new(device)), Arc::clone(clock))
    }

    pub fn lock(&self) -> MutexGuard<'_, Device> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it, for sure.
    pub fn open(&self) -> Box<dyn Camera> {
        self.open_as(SIZE_PX)
    }

    /// Opens it again: it may be gone, take its time, or have become another.
    pub fn reopen(&self, goes_on: &mut dyn FnMut() -> bool) -> Result<Box<dyn Camera>, OpenError> {
        let (missing, other, takes) = {
            let mut device = self.lock();
            let rate = device.plan.rates.no_camera;
            let is_gone = self.1.now() < device.gone_until;
            let missing = is_gone || chance(&mut device.rng, rate);
            (
                missing,
                chance(&mut device.rng, rate / 4),
                spell(&mut device.rng, 300),
            )
        };
        self.1.set(self.1.now().plus(takes));
        if !goes_on() {
            return Err(OpenError::Stopped);
        }
        let ledger = self.lock().ledger.clone();
        if missing {
            ledger
                .lock()
                .note(self.1.now(), || "no camera to open".into());
            return Err(OpenError::Missing {
                name: "/dev/video0".into(),
            });
        }
        ledger
            .lock()
            .note(self.1.now(), || format!("camera open, other size: {other}"));
        Ok(self.open_as(if other { (320, 240) } else { SIZE_PX }))
    }

    fn open_as(&self, (width_px, height_px): (u32, u32)) -> Box<dyn Camera> {
        let now = self.1.now();
        let mut device = self.lock();
        let was_open = std::mem::replace(&mut device.is_open, true);
        device.ledger.lock().check(!was_open, || {
            "the camera is opened while it is open".to_owned()
        });
        device.opening += 1;
        device.ledger.lock().openings = device.opening;
        device.was_gone = false;
        device.is_honest = device.offset_ns == 0;
        device.got = None;
        device.last_stamp = MonoNs(0);
        device.buffers.clear();
        device.next = now.plus(device.plan.period);
        if device.rng.bool() {
            device.sequence = 0;
        }
        Box::new(Opened {
            mode: CameraMode {
                name: "simulated".to_owned(),
                width_px,
                height_px,
                rate_hz: 30.0,
                format: PixelFormat::Grey,
            },
            kind: device.plan.kind,
            plug: self.clone(),
        })
    }
}

/// The camera while it is open.
struct Opened {
    mode: CameraMode,
    kind: SourceKind,
    plug: Plug,
}

impl Camera for Opened {
    fn mode(&self) -> &CameraMode {
        &self.mode
    }

    fn kind(&self) -> SourceKind {
        self.kind
    }

    fn next_into(&mut self, frame: &mut Frame, _: Duration) -> Result<Next, CaptureError> {
        let now = self.plug.1.now();
        self.plug.lock().next_into(frame, now)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.plug.lock().is_open = false;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
