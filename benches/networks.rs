//! Milliseconds of each shipped network on a CPU engine, one thread, as JSON: medians over many runs of the thread's
//! processor time, which a busy machine does not bend, and of wall time, which it does.
//!
//! `cargo bench --bench networks`, on the engine that `POISED_ENGINE` names (tract); `benches/against_onnxruntime.py`
//! runs it in turns with ONNX Runtime and prints the ratio.

use std::path::Path;

use poised::base::clock::Clock;
use poised::engine::Input;
use poised::engine::models::{Folder, list};
use poised::engine::select::{Choice, Engine, InferenceConfig};
use poised::sys::rt::thread_cpu_ns;

/// Runs before the clock counts.
const WARM_UP: usize = 10;

/// Runs that count.
const RUNS: usize = 60;

#[expect(clippy::print_stdout, reason = "figures are what a bench is for")]
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run are small")]
fn main() {
    let name = std::env::var("POISED_ENGINE").unwrap_or_else(|_| "tract".to_owned());
    let config = InferenceConfig {
        engine: name.parse::<Choice>().expect("POISED_ENGINE"),
        ..InferenceConfig::default()
    };
    let engine = Engine::open(&config).expect("the engine that is asked for");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let clock = Clock::live();
    let mut rows = Vec::new();
    for row in list(&models).expect("the shipped networks") {
        let folder = Folder::open(&row.folder).expect("a shipped network is whole");
        let mut network = engine.load(&folder).expect("a shipped network loads");
        let input: Vec<f32> = (0..network.inputs()[0].count())
            .map(|at| (at % 97) as f32 / 97.0)
            .collect();
        let mut outputs: Vec<Vec<f32>> = network
            .outputs()
            .iter()
            .map(|spec| vec![0.0; spec.count()])
            .collect();
        let (mut processor, mut wall): (Vec<f64>, Vec<f64>) = (0..WARM_UP + RUNS)
            .map(|_| {
                let (before, begun) = (thread_cpu_ns(), clock.now());
                network
                    .run_into(&[Input::F32(&input)], &mut outputs)
                    .expect("a shipped network runs");
                let spent = (thread_cpu_ns() - before) as f64 * 1e-6;
                (spent, clock.now().seconds_after(begun) * 1e3)
            })
            .skip(WARM_UP)
            .unzip();
        let median = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            (times[RUNS / 2] * 1e3).round() / 1e3
        };
        rows.push(serde_json::json!({
            "network": folder.description.name,
            "engine": network.engine(),
            "file": folder.network_path(),
            "input": network.inputs()[0].name,
            "shape": network.inputs()[0].shape,
            "ms": median(&mut processor),
            "wall_ms": median(&mut wall),
        }));
    }
    println!("{}", serde_json::Value::from(rows));
}
