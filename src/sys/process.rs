//! Child processes that never outlive this one.

#![expect(
    unsafe_code,
    reason = "what a child does before it becomes another program has no safe interface"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A command and where its child goes.
type Order = (Command, Sender<io::Result<Child>>);

/// Starts a program that the kernel kills when this process ends, however it ends.
///
/// The kernel watches the *thread* that starts a child. So one thread, which lives as long as the process, starts
/// all of them: the caller's may end before.
///
/// # Errors
///
/// The program does not start, or the system has no room for that thread.
pub fn spawn_bound(mut command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<io::Result<Mutex<Sender<Order>>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, taken) = channel();
        let builder = std::thread::Builder::new().name("children".into());
        builder.spawn(move || start_all(&taken))?;
        Ok(Mutex::new(orders))
    });
    let starter = match starter {
        Ok(starter) => starter,
        Err(error) => return Err(io::Error::new(error.kind(), "no thread to start it from")),
    };
    let parent = std::process::id();
    // SAFETY: the closure runs between fork and exec; prctl, getppid and reading errno may be called there, and it
    // allocates nothing.
    unsafe {
        command.pre_exec(move || die_with(parent));
    }
    let (child, answer) = channel();
    let gone = || io::Error::other("the thread that starts programs is gone");
    starter
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, child))
        .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn start_all(orders: &Receiver<Order>) {
    for (mut command, child) in orders {
        // The caller waits for it.
        let _ = child.send(command.spawn());
    }
}

/// Has the calling process killed when its parent ends.
fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: two integers; no memory of this program is touched.
    let status = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes nothing and cannot fail.
    let now = unsafe { libc::getppid() };
    if u32::try_from(now) == Ok(parent) {
        Ok(())
    } else {
        // It ended before the kernel was told.
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That it dies with this process is tested on a daemon that is killed (tests/program/end_to_end.rs).
    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let asked = std::thread::Builder::new().spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("60");
            spawn_bound(command).unwrap()
        });
        let mut child = asked.unwrap().join().unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_program_that_is_missing_is_an_error() {
        let error = spawn_bound(Command::new("/nowhere/program")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
