//! What happens to a program whose reader went away.

#![expect(
    unsafe_code,
    reason = "signal has no safe wrapper in the standard library"
)]

/// From now on the process ends without a word where it writes to a pipe without a reader, as in
/// `poised dictionary show | head`.
///
/// Rust has such writes fail, and printing then panics. For commands that only print: the daemon must outlive
/// its readers.
pub fn end_with_the_reader() {
    // SAFETY: the default action of a signal runs no code of this program.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
