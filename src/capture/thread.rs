//! The capture thread: asks the camera for frames, hands the newest over, opens
//! the camera again when it fails, and counts all of it.
//!
//! It waits at one place, the camera, and never longer than [`WAIT`] (or
//! [`RETRY_CHECK`] while the camera is closed), so that it sees the stop flag in time.
//!
//! What it decides is decided elsewhere, without I/O: [`super::order`] says when a frame was taken and whether it may
//! go on, [`super::reopen`] when the camera is closed and opened again.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::order::{Fault, Order, Verdict};
use super::reopen::{Action, Event, Supervisor};
use super::{Camera, CaptureError, Next, OpenError};
use crate::base::clock::{Clock, MonoNs};
use crate::base::mailbox::{Mailbox, Put};
use crate::base::slots::Filler;
use crate::base::step::Step;
use crate::frame::Frame;

/// Longest wait for a frame before the stop flag is looked at.
pub const WAIT: Duration = Duration::from_millis(100);

/// How often the stop flag is looked at while the camera is closed.
pub const RETRY_CHECK: Duration = Duration::from_millis(50);

/// Times a handed-over frame is tried again where the other side is just taking.
const PUT_TRIES: u32 = 64;

/// How the camera is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CameraState {
    /// It has not yet given a frame.
    #[default]
    Opening = 0,
    /// It gives frames.
    Running = 1,
    /// It is gone and being looked for.
    Lost = 2,
}

/// What the capture thread did. All numbers only grow.
#[derive(Debug, Default)]
pub struct CaptureCounters {
    /// Frames handed over.
    pub frames: AtomicU64,
    /// Frames handed over that a newer one replaced before anyone took them.
    pub replaced: AtomicU64,
    /// Frames the camera made that never reached us, by its sequence numbers.
    pub lost: AtomicU64,
    /// Frames with too few bytes.
    pub short: AtomicU64,
    /// Frames that were damaged.
    pub damaged: AtomicU64,
    /// Frames of another size than agreed.
    pub resized: AtomicU64,
    /// Waits in which no frame came.
    pub timeouts: AtomicU64,
    /// Other errors of the camera.
    pub errors: AtomicU64,
    /// Frames whose time was estimated, because the driver's clock is not the machine's.
    pub estimated_times: AtomicU64,
    /// Frames dropped because they were too old when they came.
    pub stale: AtomicU64,
    /// Frames dropped because their time was not after the one before.
    pub stepped_back: AtomicU64,
    /// Times the camera was opened again.
    pub reopened: AtomicU64,
    /// When it was opened again last, on the monotonic clock; 0 before the first time.
    pub reopened_ns: AtomicU64,
    /// Times that failed.
    pub reopen_failed: AtomicU64,
    /// When the last frame was in hand, on the monotonic clock; 0 before the first.
    pub last_frame_ns: AtomicU64,
    state: AtomicU8,
    /// The last error, until someone takes it.
    pub last_error: Mailbox<CaptureError>,
    /// Why the camera had to be closed or could not be opened, in words, for the log.
    pub last_trouble: Mailbox<String>,
    /// Why the camera had to be closed, in words, for the event.
    pub lost_because: Mailbox<String>,
    /// Which camera came back, in words, for the event.
    pub back_as: Mailbox<String>,
    /// Grows as long as the thread is not stuck.
    pub beats: AtomicU64,
}

impl CaptureCounters {
    /// How the camera is.
    pub fn state(&self) -> CameraState {
        match self.state.load(Ordering::Acquire) {
            0 => CameraState::Opening,
            1 => CameraState::Running,
            _ => CameraState::Lost,
        }
    }

    /// Says how the camera is.
    pub fn set_state(&self, state: CameraState) {
        self.state.store(state as u8, Ordering::Release);
    }

    fn count(&self, error: CaptureError) {
        let counter = match error {
            CaptureError::Timeout { .. } => &self.timeouts,
            CaptureError::ShortFrame { .. } => &self.short,
            CaptureError::Damaged { .. } => &self.damaged,
            CaptureError::Resized { .. } => &self.resized,
            _ => &self.errors,
        };
        add(counter, 1);
        // Best effort: the reader may be looking at the one before.
        let _ = self.last_error.put(error);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub use super::reopen::Ended;

/// Opens the camera again, as it was opened the first time. Opening can take seconds; it asks several times a second
/// whether to go on, and gives up with [`OpenError::Stopped`] where it should not.
pub type Reopen<'a> =
    dyn FnMut(&mut dyn FnMut() -> bool) -> Result<Box<dyn Camera>, OpenError> + Send + 'a;

/// What the thread shares with the others.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a> {
    /// Where it counts.
    pub counters: &'a CaptureCounters,
    /// Asks it to leave.
    pub stop: &'a AtomicBool,
    /// The time.
    pub clock: &'a Clock,
}

/// Runs until stopped, until the recording is over, or until the camera fails and
/// `reopen` is `None`. Wakes the other side at the end.
///
/// A camera that comes back with another image size is closed again, because everything behind is made for the
/// first one; after [`super::reopen::MISFITS_MAX`] times in a row that is the end.
pub fn run(
    camera: Box<dyn Camera>,
    reopen: Option<&mut Reopen<'_>>,
    filler: Filler<'_, Frame>,
    shared: Shared<'_>,
) -> Ended {
    let mut capturing = Capturing::new(camera, reopen, filler, shared);
    loop {
        match capturing.step() {
            Step::Again => {}
            Step::Wait(pause) => std::thread::park_timeout(pause),
            Step::Left(ended) => return ended,
        }
    }
}

/// The capture thread's work, step by step. It waits nowhere but in the camera.
pub struct Capturing<'a, 'r> {
    camera: Option<Box<dyn Camera>>,
    reopen: Option<&'a mut Reopen<'r>>,
    filler: Filler<'a, Frame>,
    shared: Shared<'a>,
    size_px: (u32, u32),
    supervisor: Supervisor,
    order: Order,
    /// What is to be done next.
    action: Action,
    /// Of a pause before the camera is opened again, what is left.
    pause: Option<Duration>,
    /// A slot to be filled.
    in_hand: Option<Box<Frame>>,
}

impl<'a, 'r> Capturing<'a, 'r> {
    /// Begins with an open camera.
    pub fn new(
        camera: Box<dyn Camera>,
        reopen: Option<&'a mut Reopen<'r>>,
        filler: Filler<'a, Frame>,
        shared: Shared<'a>,
    ) -> Self {
        let mode = camera.mode();
        let size_px = (mode.width_px, mode.height_px);
        let now = shared.clock.now();
        Self {
            supervisor: Supervisor::new(camera.kind(), size_px, reopen.is_some(), now),
            order: Order::new(now),
            camera: Some(camera),
            reopen,
            filler,
            shared,
            size_px,
            action: Action::Read,
            pause: None,
            in_hand: None,
        }
    }

    /// Does what is due: asks the camera for a frame, closes it or opens it. Wakes the other side when it leaves.
    pub fn step(&mut self) -> Step<Ended> {
        if !goes_on(self.shared) {
            return self.leave(Ended::Stopped);
        }
        match self.action {
            Action::Read => self.read(),
            Action::Leave(ended) => self.leave(ended),
            Action::Close(_) => {
                // Closed before it is opened: a device can be open once only.
                self.camera = None;
                self.happened(Event::Closed)
            }
            Action::Misfit => {
                self.close_misfit();
                self.happened(Event::Closed)
            }
            Action::WaitUntil(until) => self.wait_until(until),
            Action::Open => self.open(),
        }
    }

    fn leave(&self, ended: Ended) -> Step<Ended> {
        self.filler.wake();
        Step::Left(ended)
    }

    fn happened(&mut self, event: Event) -> Step<Ended> {
        self.action = self.supervisor.on(event, self.shared.clock.now());
        Step::Again
    }

    /// Asks the camera for a frame and hands it over. Hot: neither heap, nor lock that waits, nor text.
    fn read(&mut self) -> Step<Ended> {
        let Some(camera) = self.camera.as_deref_mut() else {
            return self.leave(Ended::Stopped);
        };
        let Some(mut slot) = self.in_hand.take().or_else(|| self.filler.free()) else {
            // The other side holds all slots but for a moment: there is one for each place a frame can be in.
            return Step::Wait(Duration::from_millis(1));
        };
        let counters = self.shared.counters;
        let event = match camera.next_into(&mut slot, WAIT) {
            Ok(Next::Frame) => {
                self.in_hand = if accept(&mut self.order, &mut slot, self.shared) {
                    hand_over(slot, &mut self.filler, counters)
                } else {
                    Some(slot)
                };
                Event::Frame
            }
            Ok(Next::Pause) => {
                self.in_hand = Some(slot);
                Event::Pause
            }
            Ok(Next::End) => {
                self.in_hand = Some(slot);
                Event::Over
            }
            Err(error) => {
                counters.count(error);
                if let Some(sequence) = error.bad_frame() {
                    add(&counters.lost, self.order.lost_before(sequence).into());
                }
                self.in_hand = Some(slot);
                Event::Failed(error)
            }
        };
        self.action = self.supervisor.on(event, self.shared.clock.now());
        if let Action::Close(error) | Action::Leave(Ended::Failed(error)) = self.action {
            tell_of_loss(camera, error, counters);
        }
        Step::Again
    }

    fn wait_until(&mut self, until: MonoNs) -> Step<Ended> {
        // A wait is as long as it was on a clock that stands still.
        let left = self
            .pause
            .unwrap_or_else(|| until.since(self.shared.clock.now()));
        if left.is_zero() {
            self.pause = None;
            return self.happened(Event::Waited);
        }
        let look = left.min(RETRY_CHECK);
        self.pause = Some(left.saturating_sub(look));
        Step::Wait(look)
    }

    fn open(&mut self) -> Step<Ended> {
        let shared = self.shared;
        let opened = match &mut self.reopen {
            Some(reopen) => reopen(&mut || goes_on(shared)),
            None => Err(OpenError::Stopped),
        };
        match opened {
            Ok(camera) => {
                let mode = camera.mode();
                let (width_px, height_px) = (mode.width_px, mode.height_px);
                self.camera = Some(camera);
                let step = self.happened(Event::Opened {
                    width_px,
                    height_px,
                });
                if let (Action::Read, Some(camera)) = (self.action, &self.camera) {
                    came_back(camera.as_ref(), &mut self.order, shared);
                }
                step
            }
            Err(OpenError::Stopped) => self.leave(Ended::Stopped),
            Err(error) => {
                add(&shared.counters.reopen_failed, 1);
                let _ = shared.counters.last_trouble.put(words(&error));
                self.happened(Event::Closed)
            }
        }
    }

    fn close_misfit(&mut self) {
        if let Some(camera) = self.camera.take() {
            let mode = camera.mode();
            let (width_px, height_px) = self.size_px;
            let trouble = format!(
                "{}: came back with {}x{} pixels, but started with {width_px}x{height_px}",
                mode.name, mode.width_px, mode.height_px
            );
            let counters = self.shared.counters;
            add(&counters.reopen_failed, 1);
            let _ = counters.last_trouble.put(trouble);
        }
    }
}

/// Says why the camera is closed.
fn tell_of_loss(camera: &dyn Camera, error: CaptureError, counters: &CaptureCounters) {
    let said = camera
        .complaint()
        .map_or_else(|| format!("{}: {error}", camera.mode().name), str::to_owned);
    let _ = counters.lost_because.put(said.clone());
    let _ = counters.last_trouble.put(said);
    counters.set_state(CameraState::Lost);
}

/// Says that the camera is open again.
fn came_back(camera: &dyn Camera, order: &mut Order, shared: Shared<'_>) {
    let now = shared.clock.now();
    order.reopened(now);
    let counters = shared.counters;
    counters.reopened_ns.store(now.0, Ordering::Release);
    add(&counters.reopened, 1);
    let _ = counters.back_as.put(camera.mode().name.clone());
}

/// Whether to go on; shows the watchdog that the thread is not stuck.
fn goes_on(shared: Shared<'_>) -> bool {
    add(&shared.counters.beats, 1);
    !shared.stop.load(Ordering::Acquire)
}

/// An error and its causes in one line.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// Counts what was lost before this frame and gives it the time it was taken at; false where it is dropped.
fn accept(order: &mut Order, frame: &mut Frame, shared: Shared<'_>) -> bool {
    let counters = shared.counters;
    let now = shared.clock.now();
    counters.last_frame_ns.store(now.0, Ordering::Relaxed);
    let meta = &mut frame.meta;
    add(&counters.lost, order.lost_before(meta.sequence).into());
    match order.judge(meta.capture, now) {
        Verdict::Take(capture) => {
            add(&counters.estimated_times, order.is_estimated().into());
            meta.capture = capture;
            true
        }
        Verdict::Drop(Fault::NotLater) => {
            add(&counters.stepped_back, 1);
            false
        }
        Verdict::Drop(Fault::Stale) => {
            add(&counters.stale, 1);
            false
        }
    }
}

/// Hands a frame over; returns the slot for the next one, if it is at hand already.
fn hand_over(
    mut slot: Box<Frame>,
    filler: &mut Filler<'_, Frame>,
    counters: &CaptureCounters,
) -> Option<Box<Frame>> {
    counters.set_state(CameraState::Running);
    add(&counters.frames, 1);
    for _ in 0..PUT_TRIES {
        match filler.put(slot) {
            Put::Stored => return filler.free(),
            Put::Replaced(older) => {
                add(&counters.replaced, 1);
                return Some(older);
            }
            Put::Busy(same) => slot = same,
        }
        std::hint::spin_loop();
    }
    // The other side was stopped in the middle of taking. The next frame will do.
    add(&counters.replaced, 1);
    Some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::Newest;
    use crate::capture::reopen::{BAD_IN_A_ROW_MAX, MISFITS_MAX};
    use crate::capture::{CameraMode, SourceKind};
    use crate::frame::PixelFormat;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    const START: MonoNs = MonoNs(1_000_000_000);

    /// A camera that does what a list says, then ends. A frame's time is in milliseconds after [`START`], and the
    /// clock is moved to it.
    struct Listed {
        mode: CameraMode,
        clock: Arc<Clock>,
        list: VecDeque<Result<(u32, u64), CaptureError>>,
    }

    fn listed(
        clock: &Arc<Clock>,
        width_px: u32,
        list: impl IntoIterator<Item = Result<(u32, u64), CaptureError>>,
    ) -> Box<dyn Camera> {
        Box::new(Listed {
            mode: CameraMode {
                name: "list".to_owned(),
                width_px,
                height_px: 64,
                rate_hz: 30.0,
                format: PixelFormat::Grey,
            },
            clock: Arc::clone(clock),
            list: list.into_iter().collect(),
        })
    }

    impl Camera for Listed {
        fn mode(&self) -> &CameraMode {
            &self.mode
        }

        fn kind(&self) -> SourceKind {
            SourceKind::Device
        }

        fn next_into(&mut self, frame: &mut Frame, _: Duration) -> Result<Next, CaptureError> {
            match self.list.pop_front() {
                None => Ok(Next::End),
                Some(Err(error)) => Err(error),
                Some(Ok((sequence, capture_ms))) => {
                    frame.meta.sequence = sequence;
                    frame.meta.capture = START.plus(Duration::from_millis(capture_ms));
                    self.clock.set(self.clock.now().max(frame.meta.capture));
                    Ok(Next::Frame)
                }
            }
        }
    }

    const UNPLUGGED: CaptureError = CaptureError::System {
        call: "VIDIOC_DQBUF",
        errno: 19,
        last_sequence: 0,
    };

    fn standing() -> Arc<Clock> {
        Arc::new(Clock::standing(START))
    }

    /// Runs a camera to its end; the newest frame's sequence, and how it ended.
    fn run_list(
        clock: &Clock,
        camera: Box<dyn Camera>,
        reopen: Option<&mut Reopen<'_>>,
        counters: &CaptureCounters,
    ) -> (Option<u32>, Ended) {
        let mut slots = Newest::<Frame, 5>::new(|| Frame::with_room(64, 64));
        let (filler, mut taker) = slots.split();
        let stop = AtomicBool::new(false);
        let shared = Shared {
            counters,
            stop: &stop,
            clock,
        };
        let ended = run(camera, reopen, filler, shared);
        (taker.take().map(|frame| frame.meta.sequence), ended)
    }

    fn value(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    fn missing() -> OpenError {
        OpenError::Missing {
            name: "/dev/video0".to_owned(),
        }
    }

    #[test]
    fn the_newest_frame_is_handed_over_and_older_ones_are_counted() {
        let (clock, counters) = (standing(), CaptureCounters::default());
        let frames = (0..10).map(|n| Ok((n, u64::from(n) * 33 + 1)));
        let (newest, ended) = run_list(&clock, listed(&clock, 64, frames), None, &counters);
        assert_eq!((newest, ended), (Some(9), Ended::Over));
        assert_eq!(value(&counters.frames), 10);
        assert_eq!(value(&counters.replaced), 9);
        assert_eq!(value(&counters.lost), 0);
    }

    #[test]
    fn lost_short_and_damaged_frames_are_counted_and_passed_over() {
        let (clock, counters) = (standing(), CaptureCounters::default());
        let list = [
            Ok((0, 1)),
            Err(CaptureError::Damaged { sequence: 1 }),
            Err(CaptureError::ShortFrame {
                sequence: 2,
                got: 1,
                want: 2,
            }),
            Ok((5, 6)),
        ];
        let (newest, ended) = run_list(&clock, listed(&clock, 64, list), None, &counters);
        assert_eq!((newest, ended), (Some(5), Ended::Over));
        assert_eq!(value(&counters.damaged), 1);
        assert_eq!(value(&counters.short), 1);
        // 3 and 4; the damaged and the short one are counted as such.
        assert_eq!(value(&counters.lost), 2);
        assert!(counters.last_error.take().is_some());
    }

    #[test]
    fn frames_that_are_old_or_out_of_order_are_dropped_and_counted() {
        let (clock, counters) = (standing(), CaptureCounters::default());
        let list = [
            Ok((0, 100)),
            Ok((1, 200)),
            Ok((2, 150)),
            Ok((3, 5_000)),
            Ok((4, 233)),
            Ok((5, 5_033)),
        ];
        let (newest, _) = run_list(&clock, listed(&clock, 64, list), None, &counters);
        assert_eq!(newest, Some(5));
        assert_eq!(value(&counters.stepped_back), 1);
        assert_eq!(value(&counters.stale), 1);
        assert_eq!(value(&counters.frames), 4);
        assert_eq!(value(&counters.estimated_times), 0);
    }

    #[test]
    fn an_unplugged_camera_is_opened_again_until_it_is_back() {
        let (clock, counters) = (standing(), CaptureCounters::default());
        let mut tries = 0;
        let mut reopen = |_: &mut dyn FnMut() -> bool| {
            tries += 1;
            match tries {
                1 => Err(missing()),
                2 => Ok(listed(&clock, 128, [])),
                _ => Ok(listed(&clock, 64, [Ok((0, 300))])),
            }
        };
        let first = listed(&clock, 64, [Ok((0, 100)), Err(UNPLUGGED)]);
        let (newest, ended) = run_list(&clock, first, Some(&mut reopen), &counters);
        assert_eq!((newest, ended), (Some(0), Ended::Over));
        assert_eq!(value(&counters.reopened), 1);
        assert_eq!(value(&counters.reopen_failed), 2);
        assert_eq!(value(&counters.frames), 2);
        assert!(value(&counters.reopened_ns) >= START.0);
        let trouble = counters.last_trouble.take().unwrap();
        assert!(
            trouble.starts_with("list: came back with 128x64"),
            "{trouble}"
        );
    }

    #[test]
    fn a_camera_that_stays_another_size_ends_the_thread() {
        let (clock, counters) = (standing(), CaptureCounters::default());
        let mut tries = 0;
        let mut reopen = |_: &mut dyn FnMut() -> bool| {
            tries += 1;
            Ok(listed(&clock, 128, []))
        };
        let first = listed(&clock, 64, [Ok((0, 100)), Err(UNPLUGGED)]);
        let (_, ended) = run_list(&clock, first, Some(&mut reopen), &counters);
        let Ended::Failed(error) = ended else {
            panic!("{ended:?}");
        };
        assert!(error.to_string().contains("128x64"), "{error}");
        assert_eq!(tries, MISFITS_MAX);
        let lost = counters.lost_because.take().unwrap();
        assert!(
            lost.starts_with("list: VIDIOC_DQBUF after frame 0: No such device"),
            "{lost}"
        );
    }

    #[test]
    fn without_a_way_to_open_it_again_the_error_ends_the_thread() {
        let (clock, counters) = (standing(), CaptureCounters::default());
        let camera = listed(&clock, 64, [Err(UNPLUGGED)]);
        let (_, ended) = run_list(&clock, camera, None, &counters);
        assert_eq!(ended, Ended::Failed(UNPLUGGED));
        let cut = CaptureError::Truncated { frames: 30 };
        let mut reopen = |_: &mut dyn FnMut() -> bool| -> Result<Box<dyn Camera>, OpenError> {
            unreachable!("it is over")
        };
        let camera = listed(&clock, 64, [Err(cut)]);
        let (_, ended) = run_list(&clock, camera, Some(&mut reopen), &counters);
        assert_eq!(ended, Ended::Failed(cut));
        let trouble = counters.last_trouble.take().unwrap();
        assert_eq!(trouble, "list: the recording breaks off after 30 frames");
    }

    #[test]
    fn silence_and_a_row_of_bad_frames_open_the_camera_again() {
        let timeout = CaptureError::Timeout {
            waited_ms: 100,
            last_sequence: 0,
        };
        let damaged = CaptureError::Damaged { sequence: 0 };
        for (error, count) in [(timeout, 30), (damaged, BAD_IN_A_ROW_MAX as usize)] {
            for (times, reopened) in [(count - 1, 0), (count, 1)] {
                let (clock, counters) = (standing(), CaptureCounters::default());
                let mut reopen = |_: &mut dyn FnMut() -> bool| Ok(listed(&clock, 64, []));
                let camera = listed(&clock, 64, std::iter::repeat_n(Err(error), times));
                let _ = run_list(&clock, camera, Some(&mut reopen), &counters);
                assert_eq!(value(&counters.reopened), reopened, "{error}");
            }
        }
    }

    /// Runs a camera that is unplugged, on the machine's clock, until `stop_when`, and gives how it ended.
    fn stopped_when(
        reopen: &mut Reopen<'_>,
        stop_when: impl Fn(&CaptureCounters) -> bool,
    ) -> Ended {
        let counters = CaptureCounters::default();
        let mut slots = Newest::<Frame, 5>::new(|| Frame::with_room(64, 64));
        let (filler, _taker) = slots.split();
        let (clock, stop) = (Clock::live(), AtomicBool::new(false));
        let shared = Shared {
            counters: &counters,
            stop: &stop,
            clock: &clock,
        };
        let ended = Mutex::new(None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let camera = listed(&standing(), 64, [Err(UNPLUGGED)]);
                *ended.lock().unwrap() = Some(run(camera, Some(reopen), filler, shared));
            });
            while !stop_when(&counters) {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Release);
        });
        ended.into_inner().unwrap().unwrap()
    }

    #[test]
    fn the_stop_flag_ends_it_even_while_the_camera_is_gone() {
        let mut reopen = |_: &mut dyn FnMut() -> bool| Err(missing());
        let ended = stopped_when(&mut reopen, |counters| value(&counters.reopen_failed) > 0);
        assert_eq!(ended, Ended::Stopped);
    }

    #[test]
    fn the_stop_flag_ends_an_opening_that_takes_long_and_the_thread_is_not_stuck_meanwhile() {
        let mut reopen = |goes_on: &mut dyn FnMut() -> bool| {
            while goes_on() {
                std::thread::yield_now();
            }
            Err(OpenError::Stopped)
        };
        let ended = stopped_when(&mut reopen, |counters| value(&counters.beats) > 1000);
        assert_eq!(ended, Ended::Stopped);
    }
}
