//! Standard output: a reader that went away or a full disk is an error, not a panic.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output: cannot be written")]
pub struct StdoutError {
    #[from]
    source: io::Error,
}

impl StdoutError {
    /// Whether its reader went away, as `head` does when it has read enough.
    pub fn reader_left(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes text as it is, at once.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn text(text: Arguments<'_>) -> Result<(), StdoutError> {
    let mut out = io::stdout().lock();
    out.write_fmt(text)?;
    Ok(out.flush()?)
}

/// As `println!`, with an error in place of a panic.
macro_rules! say {
    () => {
        $crate::cli::print::text(format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::cli::print::text(format_args!("{}\n", format_args!($($text)*)))
    };
}
