//! Files that a power cut left without their index: all whole chunks are written again, with an index.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use mcap::records::{MessageHeader, Record};
use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};
use mcap::write::NoSeek;
use mcap::{McapError, WriteOptions, Writer};

use super::shelf;

/// Largest chunk or record, in bytes: ours have a quarter of a megabyte.
const RECORD_BYTES_MAX: usize = 4 << 20;

/// Bytes asked of the file at once.
const READ_BYTES: usize = 64 * 1024;

/// Where more than this follows what cannot be read, it is not the cut of a power failure, which leaves the seconds
/// since the file was last forced to the disk: the file is damaged, and kept beside what was read of it.
const CUT_BYTES_MAX: u64 = 8 << 20;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has its index now, and so many messages.
    Repaired { messages: u64 },
    /// The same up to a place that cannot be read; the file as it was is beside it.
    Damaged { messages: u64 },
    /// Not one whole chunk was in it, so it was removed.
    Empty,
    /// The daemon ends; the file is as it was.
    Stopped,
}

/// Repairs a file that is being held, and gives it the name of a finished one.
///
/// # Errors
///
/// The new file cannot be written; the old one is as it was.
pub(super) fn repair(path: &Path, file: &File, stop: &AtomicBool) -> io::Result<Outcome> {
    let beside = path.with_extension("repair");
    let written = copy(file, &beside, stop);
    let remove = || drop(fs::remove_file(&beside));
    match written {
        Ok(Some((messages, unread))) => {
            let damaged = unread > CUT_BYTES_MAX;
            if damaged {
                shelf::put_aside(path)?;
            }
            if messages == 0 {
                remove();
            } else {
                fs::rename(&beside, path)?;
                shelf::finish(path)?;
            }
            if damaged {
                return Ok(Outcome::Damaged { messages });
            }
            if messages == 0 {
                fs::remove_file(path)?;
                return Ok(Outcome::Empty);
            }
            Ok(Outcome::Repaired { messages })
        }
        Ok(None) => {
            remove();
            Ok(Outcome::Stopped)
        }
        Err(error) => {
            remove();
            Err(error)
        }
    }
}

/// Writes what can be read of a file into another, and says how many messages that were and about how many bytes behind
/// them cannot be read; `None` where it was to stop.
fn copy(file: &File, to: &Path, stop: &AtomicBool) -> io::Result<Option<(u64, u64)>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let made = options.mode(shelf::FILE_MODE).open(to)?;
    let sync = made.try_clone()?;
    let mut out = Copy::begin(BufWriter::new(made)).map_err(as_io)?;
    let options = LinearReaderOptions::default()
        .with_prevalidate_chunk_crcs(true)
        .with_record_length_limit(RECORD_BYTES_MAX);
    let mut reader = LinearReader::new_with_options(options);
    let mut source = file;
    let mut unread = file.metadata()?.len();
    while let Some(event) = reader.next_event() {
        match event {
            Ok(LinearReadEvent::ReadRequest(need)) => {
                if stop.load(Ordering::Acquire) {
                    return Ok(None);
                }
                let room = reader.insert(need.min(READ_BYTES));
                let read = source.read(room)?;
                reader.notify_read(read);
                unread = unread.saturating_sub(read as u64);
            }
            Ok(LinearReadEvent::Record { opcode, data }) => {
                match mcap::parse_record(opcode, data) {
                    Ok(record) => out.add(record).map_err(as_io)?,
                    Err(_) => break,
                }
            }
            // From here on nothing can be read: the cut, or blocks that never reached the disk.
            Err(_) => break,
        }
    }
    let messages = out.finish().map_err(as_io)?;
    sync.sync_all()?;
    Ok(Some((messages, unread)))
}

/// The file that is written again.
struct Copy {
    out: Writer<NoSeek<BufWriter<File>>>,
    /// Schemas and channels by their numbers in the old file.
    schemas: BTreeMap<u16, u16>,
    channels: BTreeMap<u16, u16>,
    messages: u64,
}

impl Copy {
    fn begin(out: BufWriter<File>) -> Result<Self, McapError> {
        let written_by = concat!("poised ", env!("CARGO_PKG_VERSION"), " (repaired)");
        let out = WriteOptions::library(WriteOptions::new(), written_by)
            .compression(None)
            .profile("ros2")
            .disable_seeking(true)
            .create(NoSeek::new(out))?;
        Ok(Self {
            out,
            schemas: BTreeMap::new(),
            channels: BTreeMap::new(),
            messages: 0,
        })
    }

    fn add(&mut self, record: Record<'_>) -> Result<(), McapError> {
        match record {
            Record::Schema { header, data } => {
                let new = self.out.add_schema(&header.name, &header.encoding, &data)?;
                self.schemas.insert(header.id, new);
            }
            Record::Channel(channel) => {
                let schema = self.schemas.get(&channel.schema_id).copied().unwrap_or(0);
                let (topic, encoding) = (&channel.topic, &channel.message_encoding);
                let new = self
                    .out
                    .add_channel(schema, topic, encoding, &channel.metadata)?;
                self.channels.insert(channel.id, new);
            }
            Record::Message { header, data } => {
                let Some(channel) = self.channels.get(&header.channel_id) else {
                    return Ok(());
                };
                let header = MessageHeader {
                    channel_id: *channel,
                    ..header
                };
                self.out.write_to_known_channel(&header, &data)?;
                self.messages += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, McapError> {
        use std::io::Write;
        self.out.finish()?;
        self.out.into_inner().into_inner().flush()?;
        Ok(self.messages)
    }
}

/// The system's error where that is what it is.
pub(super) fn as_io(error: McapError) -> io::Error {
    match error {
        McapError::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `chunks` chunks of a megabyte with a message each, and where each begins.
    fn written(path: &Path, chunks: u32) -> Vec<u64> {
        let mut out = Writer::new(BufWriter::new(File::create(path).unwrap())).unwrap();
        let channel = out.add_channel(0, "x", "raw", &BTreeMap::new()).unwrap();
        let header = MessageHeader {
            channel_id: channel,
            sequence: 0,
            log_time: 0,
            publish_time: 0,
        };
        let mut begins = Vec::new();
        for _ in 0..chunks {
            begins.push(fs::metadata(path).unwrap().len());
            out.write_to_known_channel(&header, &vec![7; 1 << 20])
                .unwrap();
            out.flush().unwrap();
        }
        out.finish().unwrap();
        begins
    }

    fn messages_in(path: &Path) -> usize {
        mcap::MessageStream::new(&fs::read(path).unwrap())
            .unwrap()
            .filter(|message| {
                message
                    .as_ref()
                    .is_ok_and(|message| message.data.len() == 1 << 20)
            })
            .count()
    }

    #[test]
    fn a_file_that_is_damaged_far_from_its_end_is_kept_beside_what_is_read_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder
            .path()
            .join("poised_front_20260921T145640Z.mcap.part");
        let begins = written(&path, 20);
        let mut bytes = fs::read(&path).unwrap();
        let at = usize::try_from(begins[3]).unwrap() + 1000;
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let outcome = repair(&path, &file, &AtomicBool::new(false)).unwrap();
        assert_eq!(outcome, Outcome::Damaged { messages: 3 });
        let finished = path.with_extension("");
        assert_eq!(messages_in(&finished), 3);
        assert_eq!(
            fs::read(finished.with_extension("mcap.damaged")).unwrap(),
            bytes
        );
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_cut_off_is_replaced_by_its_whole_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder
            .path()
            .join("poised_front_20260921T145640Z.mcap.part");
        let begins = written(&path, 12);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        file.set_len(begins[11] + 500_000).unwrap();
        let outcome = repair(&path, &file, &AtomicBool::new(false)).unwrap();
        assert_eq!(outcome, Outcome::Repaired { messages: 11 });
        assert_eq!(messages_in(&path.with_extension("")), 11);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
