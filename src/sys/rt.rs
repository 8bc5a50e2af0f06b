//! Named threads, the kernel's monotonic clock, memory figures of this process.

#![expect(
    unsafe_code,
    reason = "clock_gettime, setpriority, statvfs and adjtimex have no safe wrapper in the standard library"
)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// The kernel's `CLOCK_MONOTONIC` in nanoseconds: the clock of V4L2 timestamps.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Processor time of the calling thread in nanoseconds: what a busy machine does
/// not bend, for measuring.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time of the whole process in nanoseconds, all threads together.
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec that outlives the call, and every Linux
    // has the clocks asked for here, so the call writes it and cannot fail.
    let status = unsafe { libc::clock_gettime(clock, &raw mut now) };
    debug_assert_eq!(status, 0, "every Linux has this clock");
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Gives the calling thread the lowest priority: on a machine with too much to do it gets what the others leave.
///
/// # Errors
///
/// The system does not allow it; the thread goes on as it was.
pub fn stand_back() -> io::Result<()> {
    const LOWEST: libc::c_int = 19;
    // SAFETY: three integers; nought means the calling thread, and no memory of this program is touched.
    let status = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Starts a named thread in a scope.
///
/// # Errors
///
/// The system has no room for another thread.
pub fn spawn<'scope, 'env, T, F>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    work: F,
) -> io::Result<ScopedJoinHandle<'scope, T>>
where
    F: FnOnce() -> T + Send + 'scope,
    T: Send + 'scope,
{
    Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
}

/// Resident memory of this process in bytes, from `/proc/self/statm`; `None` if there is no such file.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf reads a constant of the system and touches no memory of this program.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page_bytes).ok()?)
}

/// Bytes that an ordinary user may still write on the disk of a folder.
///
/// # Errors
///
/// There is no such folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut told = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` ends with a zero and `told` has room for the answer; both outlive the call.
    let status = unsafe { libc::statvfs(path.as_ptr(), told.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed at first and filled by the call; integers, so any bits are a value.
    let told = unsafe { told.assume_init() };
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Whether the wall clock is synchronised (NTP); `None` if the kernel does not tell.
pub fn wall_clock_is_disciplined() -> Option<bool> {
    let mut told = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: zeroed means that nothing is to be changed; the answer is written into room that outlives the call.
    let state = unsafe { libc::adjtimex(told.as_mut_ptr()) };
    if state < 0 {
        return None;
    }
    // SAFETY: zeroed at first and filled by the call; integers, so any bits are a value.
    let told = unsafe { told.assume_init() };
    Some(told.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_step_back() {
        let (first, second) = (monotonic_ns(), monotonic_ns());
        assert!(second >= first);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes().unwrap() > 100_000);
    }
}
