//! A seeded simulator of the whole daemon: its own queues, threads' work, tracker, lifter, final layers and messages, all
//! stepped on one thread in an order that the seed draws, while cameras, networks, peers and the machine misbehave.
//!
//! It holds that every captured frame is published or counted exactly once, that a failed frame is not published, that
//! times and sequence numbers grow and no pose is newer than its frame, that ids are unique and never come back after the
//! camera was opened again, that the detector forgets then where people were, that every command is answered once and
//! done as the answer says, that memory stays within its sum, and that the daemon leaves when it is asked to.
//!
//! A binary of its own: its allocator weighs the heap, and its seeds take every core.
//!
//! ```text
//! POISED_SIM_SEED=17 cargo test --test simulator            one seed, with what happened last where it fails
//! POISED_SIM_SEEDS=1000000 cargo test --test simulator      more seeds than the 10000 of CI
//! ```

#![allow(clippy::unwrap_used, reason = "this is all test code")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "milliseconds of a few seconds, and counts"
)]

mod air;
mod device;
mod heap;
mod ledger;
mod others;
mod people;
mod plan;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use world::Tally;

/// Seeds that are run where nothing else is asked for.
const SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} = {text:?}: must be a whole number")),
    )
}

/// Runs a seed; what is wrong with it, where it panics as well.
fn outcome(seed: u64, traced: bool) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| world::run(seed, traced)))
        .unwrap_or_else(|_| Err("it panicked, see above".to_owned()))
}

/// Runs a seed and fails with its number and what happened last.
fn must_hold(seed: u64) -> Tally {
    outcome(seed, false).unwrap_or_else(|_| {
        // The same once more, with words.
        let why = outcome(seed, true).err();
        let why = why.unwrap_or_else(|| "it failed once, and not again".to_owned());
        panic!("POISED_SIM_SEED={seed} fails: {why}");
    })
}

#[test]
fn whatever_happens_every_frame_is_published_or_counted_once() {
    if let Some(seed) = number("POISED_SIM_SEED") {
        println!("{:?}", must_hold(seed));
        return;
    }
    let seeds = number("POISED_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let sum = std::thread::scope(|scope| {
        let work = || {
            let mut sum = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return sum;
                }
                sum += must_hold(seed);
            }
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let sums = running.into_iter().map(|worker| {
            worker.join().unwrap_or_else(|panic| {
                // The other workers need not go on.
                next.store(seeds, Ordering::Relaxed);
                std::panic::resume_unwind(panic)
            })
        });
        sums.fold(Tally::default(), |mut sum, tally| {
            sum += tally;
            sum
        })
    });
    println!("{seeds} seeds: {sum:?}");
    if seeds >= SEEDS {
        // What is to be tried is tried, and often.
        assert!(sum.published > 10 * seeds, "{sum:?}");
        assert!(
            sum.reopened > seeds / 10 && sum.commands > seeds / 10,
            "{sum:?}"
        );
        assert!(
            sum.frames > sum.looked_at && sum.looked_at > sum.published,
            "{sum:?}"
        );
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [0, 7, 4711] {
        assert_eq!(outcome(seed, false), outcome(seed, true));
    }
}
