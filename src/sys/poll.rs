//! Waiting until something can be read, with a bound.

#![expect(
    unsafe_code,
    reason = "poll has no safe wrapper in the standard library"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits until one of `files` can be read or is at its end, at most `timeout`;
/// says for each whether a read would return at once.
///
/// A signal ends the wait early with nothing to read.
///
/// # Errors
///
/// The system call failed.
pub fn wait_readable<const N: usize>(
    files: [BorrowedFd<'_>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let mut polls = files.map(|file| libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // A rest below a millisecond is one: asking for zero would spin.
    let timeout_ms = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    let count = libc::nfds_t::try_from(N).unwrap_or(0);
    // SAFETY: `polls` holds `count` entries and outlives the call; the borrowed
    // files are open while it runs.
    let status = unsafe { libc::poll(polls.as_mut_ptr(), count, timeout_ms) };
    if status < 0 {
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok([false; N]);
        }
        return Err(error);
    }
    Ok(polls.map(|poll| poll.revents != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_can_be_read_when_written_or_closed_and_not_before() {
        let (quiet, _keep) = io::pipe().unwrap();
        let (written, mut writer) = io::pipe().unwrap();
        let (closed, end) = io::pipe().unwrap();
        let soon = Duration::from_micros(500);
        assert_eq!(wait_readable([quiet.as_fd()], soon).unwrap(), [false]);
        writer.write_all(b"x").unwrap();
        drop(end);
        let ready = wait_readable([quiet.as_fd(), written.as_fd(), closed.as_fd()], soon).unwrap();
        assert_eq!(ready, [false, true, true]);
    }
}
