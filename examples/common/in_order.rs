//! Pieces of work on two threads, the results in order.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

/// `work` of the numbers below `count`, two at a time, in order.
///
/// # Errors
///
/// One that `work` gives; what has been begun is finished, nothing else is begun.
pub fn in_order<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let some = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            let result = work(number).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
            let mut done = done.lock().expect("no thread panicked");
            done.push((number, result));
            if done.len().is_multiple_of(100) {
                println!("{} of {count}", done.len());
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(some));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a panic ends the program"))
    })?;
    let mut done = done.into_inner().expect("no thread panicked");
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
