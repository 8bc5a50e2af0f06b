//! The recording in an MCAP file, read back as the bytes of the `.poses` file it was made from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mcap::McapError;
use mcap::records::Record;
use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};

use super::mcap::{CALIBRATION, CBOR, RECORDING};
use crate::output::record::{self, FORMAT, RecordError};

/// What the name of an MCAP file ends with.
pub const EXTENSION: &str = "mcap";

/// Largest chunk or record of a file, in bytes. Ours have a quarter of a megabyte; other programs, which may have put
/// our channel into a file of theirs, write chunks of a few.
const CHUNK_BYTES_MAX: usize = 32 << 20;

/// Bytes asked of the file at once.
const READ_BYTES: usize = 64 * 1024;

/// What follows that while the daemon still writes the file.
pub const UNFINISHED: &str = "part";

/// Whether a file is MCAP, by its name.
pub fn is_mcap(path: &Path) -> bool {
    let ends = |path: &Path, with| path.extension().is_some_and(|end| end == with);
    ends(path, EXTENSION) || (ends(path, UNFINISHED) && ends(&path.with_extension(""), EXTENSION))
}

/// Reads the first recording of an MCAP file: its head, then its messages, as they are in a `.poses` file.
///
/// A file that was cut off, or is damaged, gives all messages of the whole chunks before that place, and a warning
/// in the log.
pub struct RecordingInMcap<R> {
    path: PathBuf,
    source: R,
    reader: LinearReader,
    /// The channel that holds the recording, once it is known.
    channel: Option<u16>,
    /// Bytes of the recording, of which those before `taken` were given.
    bytes: Vec<u8>,
    taken: usize,
    messages: u64,
    ended: bool,
}

impl RecordingInMcap<File> {
    /// Opens a file and looks for a recording in it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds no recording.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Self::of(record::open(path)?, path)
    }
}

impl<R: Read> RecordingInMcap<R> {
    /// Begins to read; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As [`RecordingInMcap::open`].
    pub fn of(source: R, path: &Path) -> Result<Self, RecordError> {
        // Chunks are checked before their messages are given, so damage shows in none of them.
        let options = LinearReaderOptions::default()
            .with_prevalidate_chunk_crcs(true)
            .with_record_length_limit(CHUNK_BYTES_MAX);
        let mut own = Self {
            path: path.to_owned(),
            source,
            reader: LinearReader::new_with_options(options),
            channel: None,
            bytes: Vec::new(),
            taken: 0,
            messages: 0,
            ended: false,
        };
        let wrong = |what: String| RecordError::Format {
            path: path.to_owned(),
            what,
        };
        while own.channel.is_none() {
            match own.advance() {
                Ok(true) => {}
                Ok(false) => {
                    let what = format!("no channel of it was made by `poised export` ({FORMAT})");
                    return Err(wrong(what));
                }
                Err(McapError::Io(source)) => {
                    return Err(RecordError::Read {
                        path: path.to_owned(),
                        source,
                    });
                }
                Err(error) => return Err(wrong(text_of(&error))),
            }
        }
        Ok(own)
    }

    /// Takes the next record, or reads bytes for it; false at the end.
    fn advance(&mut self) -> Result<bool, McapError> {
        let Some(event) = self.reader.next_event() else {
            return Ok(false);
        };
        match event? {
            LinearReadEvent::ReadRequest(need) => {
                let room = self.reader.insert(need.min(READ_BYTES));
                let read = self.source.read(room)?;
                self.reader.notify_read(read);
            }
            LinearReadEvent::Record { opcode, data } => match mcap::parse_record(opcode, data)? {
                Record::Channel(channel) if self.channel.is_none() => {
                    let text = |key: &str| channel.metadata.get(key).map(String::as_str);
                    if channel.message_encoding == CBOR
                        && text(RECORDING) == Some(FORMAT)
                        && let Some(calibration) = text(CALIBRATION)
                    {
                        self.bytes = record::head(calibration);
                        self.channel = Some(channel.id);
                    }
                }
                Record::Message { header, data } if self.channel == Some(header.channel_id) => {
                    self.bytes.extend_from_slice(&data);
                    self.messages += 1;
                }
                _ => {}
            },
        }
        Ok(true)
    }

    /// Reads until there are bytes to give, or the end.
    fn fill(&mut self) -> io::Result<()> {
        while self.taken == self.bytes.len() && !self.ended {
            self.bytes.clear();
            self.taken = 0;
            match self.advance() {
                Ok(goes_on) => self.ended = !goes_on,
                Err(McapError::Io(error)) => return Err(error),
                Err(error) => {
                    log::warn!(
                        "{}: {}; the {} messages before that place are used",
                        self.path.display(),
                        text_of(&error),
                        self.messages
                    );
                    self.ended = true;
                }
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for RecordingInMcap<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let given = (&self.bytes[self.taken..]).read(out)?;
        self.taken += given;
        Ok(given)
    }
}

/// What is wrong with a file, and what to do where something can be done.
fn text_of(error: &McapError) -> String {
    match error {
        McapError::UnexpectedEof => "the file is cut off".to_owned(),
        McapError::BadMagic => "it is no MCAP file".to_owned(),
        McapError::UnsupportedCompression(name) => {
            format!(
                "its chunks are compressed ({name}); write it without, as with `mcap decompress`"
            )
        }
        other => other.to_string(),
    }
}
