//! The thread of the recordings: writes what is published, a chunk a second, and keeps the folder within its bounds.
//!
//! ```text
//!   publish thread                    thread `record`
//!   Sink ── bytes of a message ──▶ queue ──▶ MCAP ──▶ file ──▶ the next file, index, removal of the oldest
//!        ◀──── empty buffer ────── queue
//! ```

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::config::Bounds;
use super::repair::{Outcome, as_io, repair};
use super::shelf::{self, Shelf, surplus};
use crate::base::clock::{Clock, MonoNs, Seldom, unix_ns};
use crate::camera::Calibration;
use crate::counters::{Counters, RecordFault};
use crate::output::export::ExportError;
use crate::output::export::ground::Ground;
use crate::output::export::mcap::{Content, Film};
use crate::output::health::{EVENT_SCHEMA, HEALTH_SCHEMA};
use crate::output::read::{PoseMessage, decode};
use crate::output::repetition::REPETITION_SCHEMA;
use crate::sys::rt::{free_bytes, stand_back};

/// A chunk ends so often: what a crash of the program loses at most.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The file is forced to the disk so often: with a chunk, what a power cut loses at most.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// The bounds are looked after so often.
const BOUNDS_EVERY: Duration = Duration::from_secs(10);

/// After a failure it is tried again so often.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// The same failure is logged at most so often.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// The wall clock was set where it has moved by more against the monotonic clock, nanoseconds: a new file begins, so
/// that the times of each are in order.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// A message on its way to the thread.
#[derive(Debug)]
pub(super) enum Entry {
    Pose(Vec<u8>),
    Event(Vec<u8>),
    Health(Vec<u8>),
    Repetition(Vec<u8>),
}

/// What other threads tell this one, beside messages.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The calibration, once it is known; the first pose comes after it.
    pub(super) calibration: OnceLock<Calibration>,
    /// Ends a repair before its time.
    pub(super) stop: AtomicBool,
    /// Whether a file could not be repaired yet, as on a full disk.
    pub(super) unrepaired: AtomicBool,
}

/// What is recorded and where.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) shelf: Shelf,
    pub(super) bounds: Bounds,
    pub(super) content: Content,
    pub(super) camera: String,
}

/// A file that is being written.
struct Sheet {
    film: Film<BufWriter<File>>,
    /// The same file, to ask its size and to force it to the disk.
    file: File,
    path: PathBuf,
    /// Channels of events, health and repetitions.
    events: u16,
    healths: u16,
    repetitions: u16,
    /// Messages of those channels so far.
    notes: u32,
    /// Whether a whole chunk of it is written.
    has_chunk: bool,
    began: MonoNs,
    flushed: MonoNs,
    synced: MonoNs,
    /// Wall time less monotonic time of its first pose, nanoseconds.
    offset_ns: i128,
}

/// Why nothing can be written.
#[derive(Debug)]
struct Trouble {
    fault: RecordFault,
    what: String,
}

/// The thread's state.
pub(super) struct Worker {
    place: Place,
    link: Arc<Link>,
    counters: Arc<Counters>,
    clock: Arc<Clock>,
    sheet: Option<Sheet>,
    /// After a failure, when it is tried again.
    retry: Option<MonoNs>,
    checked: MonoNs,
    /// Whether a file was left without its index since the last repair.
    torn: bool,
    repairing: Option<JoinHandle<()>>,
    log: Seldom,
    told: Option<RecordFault>,
}

impl Worker {
    pub(super) fn new(
        place: Place,
        link: Arc<Link>,
        counters: Arc<Counters>,
        clock: Arc<Clock>,
    ) -> Self {
        let now = clock.now();
        Self {
            place,
            link,
            counters,
            clock,
            sheet: None,
            retry: None,
            checked: now,
            torn: false,
            repairing: None,
            log: Seldom::new(LOG_EVERY),
            told: None,
        }
    }

    /// Writes what comes until the other side is gone; buffers go back through `empty`.
    pub(super) fn run(mut self, entries: &Receiver<Entry>, empty: &SyncSender<Vec<u8>>) {
        self.begin_repair();
        self.keep_bounds();
        loop {
            match entries.recv_timeout(FLUSH_EVERY) {
                Ok(entry) => {
                    self.take(&entry);
                    let (Entry::Pose(buffer)
                    | Entry::Event(buffer)
                    | Entry::Health(buffer)
                    | Entry::Repetition(buffer)) = entry;
                    // Where there are enough, it is given up.
                    let _ = empty.try_send(buffer);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.poll();
        }
        self.close();
        if let Some(repairing) = self.repairing.take() {
            let _ = repairing.join();
        }
    }

    fn take(&mut self, entry: &Entry) {
        let written = match entry {
            Entry::Pose(bytes) => self.add_pose(bytes),
            Entry::Event(bytes) => self.add_note(bytes, |sheet| sheet.events),
            Entry::Health(bytes) => self.add_note(bytes, |sheet| sheet.healths),
            Entry::Repetition(bytes) => self.add_note(bytes, |sheet| sheet.repetitions),
        };
        match written {
            Ok(true) if matches!(entry, Entry::Pose(_)) => self.counters.record.poses.add(1),
            Ok(true) => {}
            Ok(false) => self.counters.record.not_written.add(1),
            Err(trouble) => {
                self.counters.record.not_written.add(1);
                self.fail(&trouble);
            }
        }
    }

    /// Adds a pose; false where nothing can be written now.
    fn add_pose(&mut self, bytes: &[u8]) -> Result<bool, Trouble> {
        let message = match decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                log::debug!("record: {error}");
                return Ok(false);
            }
        };
        let moved = self.sheet.as_ref().is_some_and(|sheet| {
            (offset_ns(&message) - sheet.offset_ns).unsigned_abs() > CLOCK_STEP_NS.into()
        });
        if moved {
            log::info!("record: the wall clock was set, so a new file begins");
        }
        // With a pose, as every file begins with one: what happens while none comes belongs to the file that is open.
        let old = self
            .sheet
            .as_ref()
            .is_some_and(|sheet| self.clock.now().since(sheet.began) >= self.place.bounds.file);
        if moved || old {
            self.close();
        }
        if self.sheet.is_none() && !self.begin(&message)? {
            return Ok(false);
        }
        let Some(sheet) = &mut self.sheet else {
            return Ok(false);
        };
        sheet
            .film
            .add(&message, bytes)
            .map_err(|error| trouble(&as_io(error)))?;
        Ok(true)
    }

    /// Adds a message that is no pose to the file that is open; false where none is.
    fn add_note(&mut self, bytes: &[u8], channel: fn(&Sheet) -> u16) -> Result<bool, Trouble> {
        let Some(sheet) = &mut self.sheet else {
            return Ok(false);
        };
        let (channel, number) = (channel(sheet), sheet.notes);
        sheet.notes = number.wrapping_add(1);
        let added = sheet.film.add_to(channel, number, unix_ns(), bytes);
        added.map_err(|error| trouble(&as_io(error)))?;
        Ok(true)
    }

    /// Begins a file with the calibration; false where it is not time to try again yet.
    fn begin(&mut self, first: &PoseMessage) -> Result<bool, Trouble> {
        let now = self.clock.now();
        if self.retry.is_some_and(|retry| now < retry) {
            return Ok(false);
        }
        let Some(calibration) = self.link.calibration.get().cloned() else {
            return Ok(false);
        };
        self.make_room()?;
        let folder = |error: io::Error| Trouble {
            fault: match fault_of(&error) {
                RecordFault::Full => RecordFault::Full,
                _ => RecordFault::Folder,
            },
            what: format!("no file can be made: {error}"),
        };
        let (path, file) = self.place.shelf.create().map_err(folder)?;
        match self.lay_out(&calibration, first, path.clone(), file, now) {
            Ok(sheet) => self.sheet = Some(sheet),
            Err(error) => {
                let _ = std::fs::remove_file(path);
                return Err(trouble(&as_io(error)));
            }
        }
        self.retry = None;
        Ok(true)
    }

    fn lay_out(
        &self,
        calibration: &Calibration,
        first: &PoseMessage,
        path: PathBuf,
        file: File,
        now: MonoNs,
    ) -> Result<Sheet, mcap::McapError> {
        let Place {
            camera, content, ..
        } = &self.place;
        let out = BufWriter::new(file.try_clone()?);
        let (ground, toml) = (Ground::of(calibration), calibration.to_toml());
        let mut writer = Film::begin(out, camera, &ground, &toml, *content)?;
        let events = writer.channel("event_v1", EVENT_SCHEMA)?;
        let healths = writer.channel("health_v1", HEALTH_SCHEMA)?;
        let repetitions = writer.channel("repetition_v1", REPETITION_SCHEMA)?;
        Ok(Sheet {
            film: writer,
            file,
            path,
            events,
            healths,
            repetitions,
            notes: 0,
            has_chunk: false,
            began: now,
            flushed: now,
            synced: now,
            offset_ns: offset_ns(first),
        })
    }

    /// What is due beside messages.
    fn poll(&mut self) {
        let now = self.clock.now();
        if let Err(trouble) = self.tidy_up(now) {
            self.fail(&trouble);
        }
        if now.since(self.checked) >= BOUNDS_EVERY {
            self.checked = now;
            self.keep_bounds();
        }
    }

    /// Ends the chunk and the file where it is time.
    fn tidy_up(&mut self, now: MonoNs) -> Result<(), Trouble> {
        let Some(sheet) = &mut self.sheet else {
            return Ok(());
        };
        if now.since(sheet.flushed) < FLUSH_EVERY {
            return Ok(());
        }
        sheet.flushed = now;
        sheet.film.flush().map_err(|error| trouble(&as_io(error)))?;
        let first = !std::mem::replace(&mut sheet.has_chunk, true);
        if now.since(sheet.synced) >= SYNC_EVERY {
            sheet.synced = now;
            sheet.file.sync_data().map_err(|error| trouble(&error))?;
        }
        let bytes = sheet
            .file
            .metadata()
            .map_err(|error| trouble(&error))?
            .len();
        let full = bytes >= self.place.bounds.file_bytes;
        if first {
            log::info!("record: {}", sheet.path.display());
            self.goes_on();
        }
        if full {
            self.close();
        }
        Ok(())
    }

    /// What a first chunk shows: that there is room.
    fn goes_on(&mut self) {
        self.told = None;
        self.counters.record.writing.store(true, Ordering::Relaxed);
        let again = self.link.unrepaired.swap(false, Ordering::AcqRel);
        if std::mem::replace(&mut self.torn, false) || again {
            self.begin_repair();
        }
    }

    /// Ends the file that is open.
    fn close(&mut self) {
        let Some(sheet) = self.sheet.take() else {
            return;
        };
        self.counters.record.writing.store(false, Ordering::Relaxed);
        let finished = sheet.film.finish().map_err(|error| match error {
            ExportError::Write(error) => error,
            other => io::Error::other(other.to_string()),
        });
        let named = finished
            .and_then(|()| sheet.file.sync_all())
            .and_then(|()| shelf::finish(&sheet.path));
        match named {
            Ok(_) => self.counters.record.files.add(1),
            Err(error) => {
                self.torn = true;
                self.fail(&trouble(&error));
            }
        }
    }

    /// Counts and names a failure, gives the file up as it is, and waits a while.
    fn fail(&mut self, trouble: &Trouble) {
        if let Some(Sheet {
            film,
            path,
            has_chunk,
            ..
        }) = self.sheet.take()
        {
            // What is dropped tries to write its end; that this fails too is no news.
            drop(film);
            self.torn |= has_chunk;
            if !has_chunk {
                let _ = std::fs::remove_file(path);
            }
        }
        let record = &self.counters.record;
        record.writing.store(false, Ordering::Relaxed);
        record.failures[trouble.fault as usize].add(1);
        let now = self.clock.now();
        self.retry = Some(now.plus(RETRY_EVERY));
        let another = self.told != Some(trouble.fault);
        if self.log.lets_through(now) || another {
            let folder = self.place.shelf.folder().display();
            log::warn!(
                "record: {folder}: {}; nothing is recorded until that is over",
                trouble.what
            );
            self.told = Some(trouble.fault);
        }
    }

    /// Removes what is too much, and says where that makes no room.
    fn make_room(&self) -> Result<(), Trouble> {
        let Place { shelf, bounds, .. } = &self.place;
        let folder = |error: io::Error| Trouble {
            fault: RecordFault::Folder,
            what: error.to_string(),
        };
        shelf.make_folder().map_err(folder)?;
        let free = free_bytes(shelf.folder()).map_err(folder)?;
        let files = shelf.files().map_err(folder)?;
        let (gone, mut room) = surplus(&files, bounds, Duration::from_nanos(unix_ns()), free);
        for path in gone {
            let name = path.display();
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    log::info!("record: {name} removed: record.keep_mb, keep_days, free_mb");
                    self.counters.record.removed.add(1);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The others may go; whether that is enough the disk says.
                Err(error) => {
                    log::warn!("record: {name} cannot be removed: {error}");
                    self.counters.record.failures[RecordFault::Write as usize].add(1);
                    room = free_bytes(shelf.folder()).map_err(folder)? >= bounds.free_bytes;
                }
            }
        }
        if room {
            return Ok(());
        }
        Err(Trouble {
            fault: RecordFault::Full,
            what: format!(
                "{} MB are free, and record.free_mb = {} are to stay so",
                free / 1_000_000,
                bounds.free_bytes / 1_000_000
            ),
        })
    }

    /// As [`Worker::make_room`], while a file is being written.
    fn keep_bounds(&mut self) {
        let waits = self.sheet.is_none() && self.retry.is_some();
        if let Err(trouble) = self.make_room()
            && !waits
        {
            // What is written already is kept and closed in order.
            self.close();
            self.fail(&trouble);
        }
    }

    /// Repairs what was left without its index, on a thread of its own: it may take seconds.
    fn begin_repair(&mut self) {
        if self
            .repairing
            .as_ref()
            .is_some_and(|running| !running.is_finished())
        {
            self.torn = true;
            return;
        }
        let left = match self.place.shelf.left_behind() {
            Ok(left) => left,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let folder = self.place.shelf.folder().display();
                log::warn!("record: {folder}: {error}");
                return;
            }
        };
        if left.is_empty() {
            return;
        }
        let (link, counters) = (Arc::clone(&self.link), Arc::clone(&self.counters));
        let started = std::thread::Builder::new()
            .name("repair".to_owned())
            .spawn(move || {
                let _ = stand_back();
                for (path, file) in left {
                    let name = path.display();
                    match repair(&path, &file, &link.stop) {
                        Ok(Outcome::Repaired { messages }) => {
                            counters.record.repaired.add(1);
                            log::info!(
                                "record: {name} was cut off; {messages} messages of it are kept"
                            );
                        }
                        Ok(Outcome::Damaged { messages }) => {
                            counters.record.repaired.add(1);
                            log::warn!(
                                "record: {name} is damaged; {messages} messages before that are in a file of \
                                 their own, and it is kept as .damaged"
                            );
                        }
                        Ok(Outcome::Empty) => {
                            log::info!("record: {name} was cut off at its beginning, removed");
                        }
                        Ok(Outcome::Stopped) => return,
                        Err(error) => {
                            link.unrepaired.store(true, Ordering::Release);
                            log::warn!("record: {name} is not repaired yet: {error}");
                        }
                    }
                }
            });
        self.repairing = started.ok();
    }
}

/// Wall time less monotonic time of a message.
fn offset_ns(message: &PoseMessage) -> i128 {
    i128::from(message.capture_unix_ns) - i128::from(message.sample.capture.0)
}

fn fault_of(error: &io::Error) -> RecordFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            RecordFault::Full
        }
        _ => RecordFault::Write,
    }
}

fn trouble(error: &io::Error) -> Trouble {
    Trouble {
        fault: fault_of(error),
        what: format!("the file cannot be written: {error}"),
    }
}
