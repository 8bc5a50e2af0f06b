//! What a run of a lifter's backbone costs in tract: `lifter_ms FOLDER...` (`models/lifter models/lifter-hot`).
//!
//! Prints one JSON object, folder's name to milliseconds: the median processor time of many runs of one thread, which
//! other programs bend little. The final layers are not in it; they are the same for every lifter.

#![expect(clippy::print_stdout, reason = "a program that says what it found")]

use std::path::PathBuf;

use anyhow::{Context, Result};
use poised::base::limits::LIFT_FEATURES;
use poised::engine::Engine;
use poised::lift::Backbone;
use poised::lift::input::LIFT_INPUT;
use poised::lift::model;
use poised::sys::rt::thread_cpu_ns;

/// Runs whose median counts; enough that a switch to another program spoils few.
const RUNS: usize = 1000;

/// Runs before counting: memory has been touched.
const WARM_UP: usize = 50;

#[expect(
    clippy::cast_precision_loss,
    reason = "an index below 2000 and less than a second"
)]
fn main() -> Result<()> {
    let engine = Engine::tract();
    let mut found = Vec::new();
    for folder in std::env::args_os().skip(1).map(PathBuf::from) {
        let name = folder.file_name().context("a folder without a name")?;
        let (mut backbone, _) = model::open(&engine, &folder)?;
        let input: [f32; LIFT_INPUT] = std::array::from_fn(|at| (at as f32 * 0.37).sin());
        let mut features = [0.0; LIFT_FEATURES];
        let mut times_ns = Vec::with_capacity(RUNS);
        for run in 0..WARM_UP + RUNS {
            let begun = thread_cpu_ns();
            backbone
                .run_into(&input, &mut features)
                .map_err(|error| anyhow::anyhow!("{}: {error:?}", folder.display()))?;
            if run >= WARM_UP {
                times_ns.push(thread_cpu_ns() - begun);
            }
        }
        times_ns.sort_unstable();
        let median_ms = times_ns[RUNS / 2] as f64 * 1e-6;
        found.push(format!("\"{}\": {median_ms:.3}", name.display()));
    }
    println!("{{{}}}", found.join(", "));
    Ok(())
}
