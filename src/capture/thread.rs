//! The capture thread: asks the camera for frames, hands the newest over, opens
//! the camera again when it fails, and counts all of it.
//!
//! It waits at one place, the camera, and never longer than [`WAIT`] (or
//! [`RETRY_LOOK`] while the camera is closed), so that it sees the stop flag in time.
//!
//! Times only go forward here. A live camera's time that is far from the
//! machine's (a driver with a clock of its own) is replaced by the time the frame
//! was in hand; a frame that is not later than the one before is left out. Both are
//! counted, no time is made up.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::{Camera, CameraMode, CaptureError, Next, OpenError, Severity};
use crate::clock::{Clock, MonoNs};
use crate::frame::Frame;
use crate::pipeline::mailbox::{Mailbox, Put};
use crate::pipeline::slots::Filler;

/// Longest wait for a frame before the stop flag is looked at.
pub const WAIT: Duration = Duration::from_millis(100);

/// A camera silent for this long is opened again: longer than the longest
/// exposure in the dark, and than the pause in which a network camera sends nothing.
pub const SILENT_MAX: Duration = Duration::from_secs(3);

/// First pause before the camera is opened again; it doubles each time.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Longest pause before the camera is opened again. Looking for it costs next to nothing, and whoever plugs it in
/// stands there and waits.
pub const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// Times in a row that a camera may come back with another image size before the thread gives up: everything
/// behind is made for the first size, so only a new start helps.
pub const MISFITS_MAX: u32 = 3;

/// How often the stop flag is looked at in such a pause.
pub const RETRY_LOOK: Duration = Duration::from_millis(50);

/// Bad frames in a row after which the camera is opened again: two seconds at 30 Hz.
pub const BAD_IN_A_ROW_MAX: u32 = 60;

/// A driver's time older than this when the frame is in hand is not believed.
pub const STAMP_AGE_MAX: Duration = Duration::from_secs(2);

/// A driver's time further ahead of the machine's than this is not believed:
/// both read the same clock, so nothing but rounding is between them.
pub const STAMP_AHEAD_MAX: Duration = Duration::from_millis(5);

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
    /// Frames whose time was not believed and replaced.
    pub restamped: AtomicU64,
    /// Frames left out because their time was not after the one before.
    pub stepped_back: AtomicU64,
    /// Times the camera was opened again.
    pub reopened: AtomicU64,
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

/// Why the thread left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The recording is over.
    Over,
    /// The camera failed and there is no way to open it again.
    Failed(CaptureError),
}

/// Opens the camera again, as it was opened the first time.
pub type Reopen<'a> = dyn FnMut() -> Result<Box<dyn Camera>, OpenError> + Send + 'a;

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
/// first one; after [`MISFITS_MAX`] times in a row that is the end.
pub fn run(
    mut camera: Box<dyn Camera>,
    mut reopen: Option<&mut Reopen<'_>>,
    mut filler: Filler<'_, Frame>,
    shared: Shared<'_>,
) -> Ended {
    let agreed = camera.mode().clone();
    let mut order = Order::default();
    loop {
        let error = match stream(camera.as_mut(), &mut filler, &mut order, shared) {
            Left::Error(error) => error,
            Left::Ended(ended) => {
                filler.wake();
                return ended;
            }
        };
        let said = camera
            .complaint()
            .map_or_else(|| format!("{}: {error}", camera.mode().name), str::to_owned);
        let _ = shared.counters.lost_because.put(said.clone());
        let _ = shared.counters.last_trouble.put(said);
        shared.counters.set_state(CameraState::Lost);
        let Some(reopen) = reopen
            .as_deref_mut()
            .filter(|_| error.severity() != Severity::End)
        else {
            filler.wake();
            return Ended::Failed(error);
        };
        // Closed before it is opened: a device can be open once only.
        drop(camera);
        camera = match open_again(reopen, &agreed, shared) {
            Ok(again) => again,
            Err(ended) => {
                filler.wake();
                return ended;
            }
        };
        let _ = shared.counters.back_as.put(camera.mode().name.clone());
        // Its numbers begin anew; the machine's time does not.
        order.sequence = None;
    }
}

/// Tries to open the camera until it works, it fits no more, or we are asked to stop.
fn open_again(
    reopen: &mut Reopen<'_>,
    agreed: &CameraMode,
    shared: Shared<'_>,
) -> Result<Box<dyn Camera>, Ended> {
    let mut pause = RETRY_FIRST;
    let mut misfits = 0;
    loop {
        let mut left = pause;
        while !left.is_zero() {
            if shared.stop.load(Ordering::Acquire) {
                return Err(Ended::Stopped);
            }
            add(&shared.counters.beats, 1);
            let look = left.min(RETRY_LOOK);
            std::thread::park_timeout(look);
            left -= look;
        }
        let trouble = match reopen() {
            Ok(camera) => {
                let mode = camera.mode();
                let size = (mode.width_px, mode.height_px);
                if size == (agreed.width_px, agreed.height_px) {
                    add(&shared.counters.reopened, 1);
                    return Ok(camera);
                }
                misfits += 1;
                if misfits == MISFITS_MAX {
                    return Err(Ended::Failed(CaptureError::Resized {
                        sequence: 0,
                        width_px: size.0,
                        height_px: size.1,
                    }));
                }
                format!(
                    "{}: came back as {}x{}, not as {}x{} as at the start",
                    mode.name, size.0, size.1, agreed.width_px, agreed.height_px
                )
            }
            Err(error) => {
                misfits = 0;
                words(&error)
            }
        };
        add(&shared.counters.reopen_failed, 1);
        let _ = shared.counters.last_trouble.put(trouble);
        pause = (pause * 2).min(RETRY_LONGEST);
    }
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

enum Left {
    Ended(Ended),
    Error(CaptureError),
}

/// Streams from an open camera. Hot: neither heap, nor lock that waits, nor text.
fn stream(
    camera: &mut dyn Camera,
    filler: &mut Filler<'_, Frame>,
    order: &mut Order,
    shared: Shared<'_>,
) -> Left {
    let counters = shared.counters;
    let mut in_hand = filler.free();
    let mut silent = Duration::ZERO;
    let mut bad_in_a_row = 0;
    loop {
        if shared.stop.load(Ordering::Acquire) {
            return Left::Ended(Ended::Stopped);
        }
        add(&counters.beats, 1);
        let Some(mut slot) = in_hand.take().or_else(|| filler.free()) else {
            // Only where the other side keeps more than its share.
            std::thread::park_timeout(Duration::from_millis(1));
            continue;
        };
        let outcome = camera.next_into(&mut slot, WAIT);
        match outcome {
            Ok(Next::Frame) => {
                silent = Duration::ZERO;
                bad_in_a_row = 0;
                in_hand = if order.accept(&mut slot, shared) {
                    hand_over(slot, filler, counters)
                } else {
                    Some(slot)
                };
            }
            Ok(Next::End) => {
                filler.keep(slot);
                return Left::Ended(Ended::Over);
            }
            Err(error) => {
                counters.count(error);
                if let Some(sequence) = error.bad_frame() {
                    order.number(sequence, counters);
                }
                in_hand = Some(slot);
                let go_on = match error {
                    CaptureError::Timeout { .. } => {
                        silent += WAIT;
                        silent < SILENT_MAX
                    }
                    _ if error.severity() == Severity::Skip => {
                        bad_in_a_row += 1;
                        bad_in_a_row < BAD_IN_A_ROW_MAX
                    }
                    _ => false,
                };
                if go_on {
                    continue;
                }
                let error = match error {
                    CaptureError::Timeout { last_sequence, .. } => CaptureError::Timeout {
                        waited_ms: u32::try_from(silent.as_millis()).unwrap_or(u32::MAX),
                        last_sequence,
                    },
                    other => other,
                };
                if let Some(slot) = in_hand {
                    filler.keep(slot);
                }
                return Left::Error(error);
            }
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

/// Keeps the order of frames: sequence numbers and times go up.
#[derive(Debug, Default)]
struct Order {
    sequence: Option<u32>,
    capture: Option<MonoNs>,
}

impl Order {
    /// Counts what was lost before the frame of this number, whatever becomes of that one.
    fn number(&mut self, sequence: u32, counters: &CaptureCounters) {
        if let Some(before) = self.sequence.replace(sequence) {
            // A large step is a new start of the count, not a loss.
            let gap = sequence.wrapping_sub(before).wrapping_sub(1);
            if gap < 1000 {
                add(&counters.lost, u64::from(gap));
            }
        }
    }

    /// Counts what was lost before this frame and puts its time right; false
    /// where it has to be left out.
    fn accept(&mut self, frame: &mut Frame, shared: Shared<'_>) -> bool {
        let counters = shared.counters;
        let now = shared.clock.now();
        counters.last_frame_ns.store(now.0, Ordering::Relaxed);
        let meta = &mut frame.meta;
        self.number(meta.sequence, counters);
        if matches!(shared.clock, Clock::Live)
            && (meta.capture.since(now) > STAMP_AHEAD_MAX
                || now.since(meta.capture) > STAMP_AGE_MAX)
        {
            add(&counters.restamped, 1);
            meta.capture = now;
        }
        if self.capture.is_some_and(|before| meta.capture <= before) {
            add(&counters.stepped_back, 1);
            return false;
        }
        self.capture = Some(meta.capture);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CameraMode;
    use crate::frame::PixelFormat;
    use crate::pipeline::slots::Newest;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// A camera that does what a list says, then ends.
    struct Listed {
        mode: CameraMode,
        list: VecDeque<Result<(u32, u64), CaptureError>>,
    }

    fn listed(
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
            list: list.into_iter().collect(),
        })
    }

    impl Camera for Listed {
        fn mode(&self) -> &CameraMode {
            &self.mode
        }

        fn next_into(&mut self, frame: &mut Frame, _: Duration) -> Result<Next, CaptureError> {
            match self.list.pop_front() {
                None => Ok(Next::End),
                Some(Err(error)) => Err(error),
                Some(Ok((sequence, capture_ns))) => {
                    frame.meta.sequence = sequence;
                    frame.meta.capture = MonoNs(capture_ns);
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

    /// Runs a camera to its end; the newest frame's sequence, and how it ended.
    fn run_list(
        camera: Box<dyn Camera>,
        reopen: Option<&mut Reopen<'_>>,
        counters: &CaptureCounters,
    ) -> (Option<u32>, Ended) {
        let mut slots = Newest::<Frame, 5>::new(|| Frame::with_room(64, 64));
        let (filler, mut taker) = slots.split();
        let clock = Clock::standing(MonoNs(1_000_000_000));
        let stop = AtomicBool::new(false);
        let shared = Shared {
            counters,
            stop: &stop,
            clock: &clock,
        };
        let ended = run(camera, reopen, filler, shared);
        (taker.take().map(|frame| frame.meta.sequence), ended)
    }

    fn value(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    #[test]
    fn the_newest_frame_is_handed_over_and_older_ones_are_counted() {
        let counters = CaptureCounters::default();
        let frames = (0..10).map(|n| Ok((n, u64::from(n) * 100 + 1)));
        let (newest, ended) = run_list(listed(64, frames), None, &counters);
        assert_eq!((newest, ended), (Some(9), Ended::Over));
        assert_eq!(value(&counters.frames), 10);
        assert_eq!(value(&counters.replaced), 9);
        assert_eq!(value(&counters.lost), 0);
    }

    #[test]
    fn lost_short_and_damaged_frames_are_counted_and_passed_over() {
        let counters = CaptureCounters::default();
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
        let (newest, ended) = run_list(listed(64, list), None, &counters);
        assert_eq!((newest, ended), (Some(5), Ended::Over));
        assert_eq!(value(&counters.damaged), 1);
        assert_eq!(value(&counters.short), 1);
        // 3 and 4; the damaged and the short one are counted as such.
        assert_eq!(value(&counters.lost), 2);
        assert!(counters.last_error.take().is_some());
    }

    #[test]
    fn a_clock_that_steps_back_costs_frames_and_no_order() {
        let counters = CaptureCounters::default();
        let list = [
            Ok((0, 100)),
            Ok((1, 200)),
            Ok((2, 150)),
            Ok((3, 200)),
            Ok((4, 201)),
        ];
        let (newest, _) = run_list(listed(64, list), None, &counters);
        assert_eq!(newest, Some(4));
        assert_eq!(value(&counters.stepped_back), 2);
        assert_eq!(value(&counters.frames), 3);
    }

    #[test]
    fn times_far_from_the_machines_are_replaced_by_it() {
        let counters = CaptureCounters::default();
        let clock = Clock::live();
        let stop = AtomicBool::new(false);
        let shared = Shared {
            counters: &counters,
            stop: &stop,
            clock: &clock,
        };
        let mut order = Order::default();
        let mut frame = Frame::with_room(64, 64);
        for (offset_ms, believed) in [(0, true), (-1000, true), (-3000, false), (1000, false)] {
            order.capture = None;
            let now = clock.now();
            frame.meta.capture = MonoNs(now.0.saturating_add_signed(offset_ms * 1_000_000));
            let before = (value(&counters.restamped), frame.meta.capture);
            assert!(order.accept(&mut frame, shared));
            assert_eq!(
                value(&counters.restamped) == before.0,
                believed,
                "{offset_ms} ms"
            );
            assert_eq!(frame.meta.capture == before.1, believed);
            assert!(frame.meta.capture <= clock.now());
        }
    }

    #[test]
    fn an_unplugged_camera_is_opened_again_until_it_is_back() {
        let counters = CaptureCounters::default();
        let mut tries = 0;
        let mut reopen = || {
            tries += 1;
            match tries {
                1 => Err(OpenError::Missing {
                    name: "/dev/video0".to_owned(),
                }),
                2 => Ok(listed(128, [])),
                _ => Ok(listed(64, [Ok((0, 300))])),
            }
        };
        let first = listed(64, [Ok((0, 100)), Err(UNPLUGGED)]);
        let (newest, ended) = run_list(first, Some(&mut reopen), &counters);
        assert_eq!((newest, ended), (Some(0), Ended::Over));
        assert_eq!(value(&counters.reopened), 1);
        assert_eq!(value(&counters.reopen_failed), 2);
        assert_eq!(value(&counters.frames), 2);
        let trouble = counters.last_trouble.take().unwrap();
        assert!(
            trouble.starts_with("list: came back as 128x64"),
            "{trouble}"
        );
    }

    #[test]
    fn a_camera_that_stays_another_size_ends_the_thread() {
        let counters = CaptureCounters::default();
        let mut tries = 0;
        let mut reopen = || {
            tries += 1;
            Ok(listed(128, []))
        };
        let first = listed(64, [Ok((0, 100)), Err(UNPLUGGED)]);
        let (_, ended) = run_list(first, Some(&mut reopen), &counters);
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
        let counters = CaptureCounters::default();
        let (_, ended) = run_list(listed(64, [Err(UNPLUGGED)]), None, &counters);
        assert_eq!(ended, Ended::Failed(UNPLUGGED));
        let short = CaptureError::Truncated {
            frames: 30,
            promised: 100,
        };
        let mut reopen = || -> Result<Box<dyn Camera>, OpenError> { unreachable!("it is over") };
        let camera = listed(64, [Err(short)]);
        let (_, ended) = run_list(camera, Some(&mut reopen), &counters);
        assert_eq!(ended, Ended::Failed(short));
        let trouble = counters.last_trouble.take().unwrap();
        assert_eq!(trouble, "list: the recording ended after 30 of 100 frames");
    }

    #[test]
    fn silence_and_a_row_of_bad_frames_open_the_camera_again() {
        let timeout = CaptureError::Timeout {
            waited_ms: 100,
            last_sequence: 0,
        };
        let damaged = CaptureError::Damaged { sequence: 0 };
        for (error, count) in [(timeout, 30), (damaged, 60)] {
            let counters = CaptureCounters::default();
            let mut reopen = || Ok(listed(64, []));
            let list = std::iter::repeat_n(Err(error), count - 1);
            let _ = run_list(listed(64, list), Some(&mut reopen), &counters);
            assert_eq!(value(&counters.reopened), 0, "{error}");
            let list = std::iter::repeat_n(Err(error), count);
            let _ = run_list(listed(64, list), Some(&mut reopen), &counters);
            assert_eq!(value(&counters.reopened), 1, "{error}");
        }
    }

    #[test]
    fn the_stop_flag_ends_it_even_while_the_camera_is_gone() {
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
                let mut reopen = || {
                    Err(OpenError::Missing {
                        name: "/dev/video0".to_owned(),
                    })
                };
                let camera = listed(64, [Err(UNPLUGGED)]);
                *ended.lock().unwrap() = Some(run(camera, Some(&mut reopen), filler, shared));
            });
            while value(&counters.reopen_failed) == 0 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Release);
        });
        assert_eq!(*ended.lock().unwrap(), Some(Ended::Stopped));
    }
}
