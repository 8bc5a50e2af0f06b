//! One suite for every engine of the build: each network through each engine that this machine has.
//!
//! Networks whose answers can be worked out by hand (`tests/onnx/make.py`), the networks that ship and the example
//! of an external one, against outputs stored from ONNX Runtime (`tests/golden/networks`, written by
//! `tests/onnx/golden.py`). An engine that the build or the machine lacks is skipped, and the reason printed.
//!
//! A binary of its own, since `./dev engines` builds it once more with each engine's feature.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "tests say how near they came")]

#[path = "../common"]
mod common {
    pub mod data;
    pub mod heap;
    pub mod models;
}

use std::path::Path;

use common::models::{
    FINDER, LIFTER, MOVENET, MOVENET_LIGHTNING, PERSON, SIMCC, YOLO, folder, small,
};
use common::{data, heap};
use poised::engine::models::{Folder, list, sha256_hex};
use poised::engine::select::{Choice, Engine, InferenceConfig, Precision};
use poised::engine::{InferError, Input, Network};
use safetensors::SafeTensors;

/// An engine in a precision, with the largest difference to the stored outputs that is rounding, relative to the
/// largest value of the output.
struct Row {
    choice: Choice,
    precision: Precision,
    tolerance: f32,
}

/// Every engine in every precision. (Seen with tract: 8e-4 for `MoveNet` on a pattern without a person, where its
/// scores hang on little. `fp16` has 11 bits, so 5e-4 of each of many sums.)
const ROWS: [Row; 4] = [
    Row {
        choice: Choice::Tract,
        precision: Precision::Fp32,
        tolerance: 1e-3,
    },
    Row {
        choice: Choice::Onnxruntime,
        precision: Precision::Fp32,
        tolerance: 1e-3,
    },
    Row {
        choice: Choice::Tensorrt,
        precision: Precision::Fp32,
        tolerance: 1e-3,
    },
    Row {
        choice: Choice::Tensorrt,
        precision: Precision::Fp16,
        tolerance: 3e-2,
    },
];

/// An engine that is there.
struct There {
    engine: Engine,
    name: String,
    tolerance: f32,
    /// Where it keeps what it builds.
    _cache: tempfile::TempDir,
}

impl There {
    /// Loads a network into this engine, and builds it first where that has to be.
    fn load(&self, folder: &Folder) -> Box<dyn Network> {
        let mut network = self.engine.load(folder).unwrap();
        self.engine.build_now();
        if network.engine() != self.engine.name() {
            // A network that has just been built changes over at its first run.
            let mut out = slots(&*network);
            let spec = &network.inputs()[0];
            let (floats, bytes) = (vec![0.5; spec.count()], vec![128; spec.count()]);
            let input = match spec.element {
                poised::engine::models::Element::F32 => Input::F32(&floats),
                poised::engine::models::Element::U8 => Input::U8(&bytes),
            };
            network.run_into(&[input], &mut out).unwrap();
        }
        assert_eq!(network.engine(), self.engine.name());
        network
    }
}

/// The engines that this build and this machine have; a line for each that is skipped.
///
/// `POISED_NEED_ENGINE` names one that has to be there.
fn engines() -> Vec<There> {
    let needed = std::env::var("POISED_NEED_ENGINE").unwrap_or_default();
    let mut there = Vec::new();
    for row in ROWS {
        let cache = tempfile::tempdir().unwrap();
        let name = format!("{:?} {}", row.choice, row.precision.name()).to_lowercase();
        let config = InferenceConfig {
            engine: row.choice,
            precision: row.precision,
            cache: Some(cache.path().to_owned()),
            ..InferenceConfig::default()
        };
        match Engine::open(&config) {
            Ok(engine) => there.push(There {
                engine,
                name,
                tolerance: row.tolerance,
                _cache: cache,
            }),
            Err(error) => {
                assert!(!name.starts_with(&needed) || needed.is_empty(), "{error}");
                println!("skipped: {name}: {error}");
            }
        }
    }
    there
}

fn slots(network: &dyn Network) -> Vec<Vec<f32>> {
    let outputs = network.outputs().iter();
    outputs.map(|spec| vec![f32::MAX; spec.count()]).collect()
}

fn opened(models: &Path, name: &str, description: &str) -> Folder {
    Folder::open(&folder(models, &small(name), description)).unwrap()
}

#[test]
fn weights_in_another_file_and_sixteen_bits_change_nothing() {
    let models = tempfile::tempdir().unwrap();
    let half = YOLO.replace("\"f32\"", "\"f16\"");
    for there in engines() {
        if there.engine.name() == "tensorrt" {
            println!("skipped: {} takes its tensors in 32 bits", there.name);
            continue;
        }
        let mut image = vec![0.0_f32; 3 * 64 * 64];
        image[64 * 64..2 * 64 * 64].fill(0.75);
        let mut outputs = Vec::new();
        for (name, description) in [("yolo", YOLO), ("external", YOLO), ("half", &half)] {
            let place = folder(models.path(), &small(name), description);
            if name == "external" {
                let data = "external.onnx.data";
                std::fs::copy(small(name).with_file_name(data), place.join(data)).unwrap();
            }
            let mut network = there.load(&Folder::open(&place).unwrap());
            let mut out = slots(&*network);
            network.run_into(&[Input::F32(&image)], &mut out).unwrap();
            outputs.push(out.swap_remove(0));
        }
        assert!(outputs[0].iter().any(|value| *value > 1.0));
        assert_eq!(outputs[0], outputs[1], "{}", there.name);
        for (whole, half) in outputs[0].iter().zip(&outputs[2]) {
            assert!(
                (whole - half).abs() <= 2e-3 * whole.abs().max(1.0),
                "{whole} {half}"
            );
        }
    }
}

#[test]
fn engines_give_the_answers_worked_out_by_hand() {
    let models = tempfile::tempdir().unwrap();
    for there in engines() {
        let engine = &there.name;
        let lifter = opened(models.path(), "lifter", LIFTER);
        let mut network = there.load(&lifter);
        let mut out = slots(&*network);
        // x = 2, confidence = 0.5 for every joint: feat[i] = 2 i + 0.5.
        let window: Vec<f32> = [2.0, -3.0, 0.5, 7.0].repeat(27 * 17);
        network.run_into(&[Input::F32(&window)], &mut out).unwrap();
        for (i, value) in (0_u16..).zip(&out[0]) {
            let want = 2.0 * f32::from(i) + 0.5;
            assert!((value - want).abs() < 1e-3, "{engine}: {i}: {value}");
        }

        let movenet = opened(models.path(), "movenet", MOVENET);
        let mut network = there.load(&movenet);
        let mut out = slots(&*network);
        // 127.5 / 255 - 0.25 = 0.25, and its root is 0.5.
        let image = [127, 128].repeat(32 * 32 * 3 / 2);
        network.run_into(&[Input::U8(&image)], &mut out).unwrap();
        for (k, keypoint) in (0_u16..).zip(out[0].as_chunks::<3>().0) {
            let want = [f32::from(k) / 32.0, (f32::from(k) + 0.5) / 32.0, 0.5];
            for (value, want) in keypoint.iter().zip(want) {
                assert!((value - want).abs() < 1e-4, "{engine}: {keypoint:?}");
            }
        }
    }
}

#[test]
fn a_run_leaves_nothing_behind_for_the_next() {
    let models = tempfile::tempdir().unwrap();
    for there in engines() {
        let engine = &there.name;
        let mut network = there.load(&opened(models.path(), "person", PERSON));
        let mut first = slots(&*network);
        let mut second = slots(&*network);
        let image: Vec<f32> = pattern(3 * 192 * 144).collect();
        let dark = vec![0.0; image.len()];
        network.run_into(&[Input::F32(&image)], &mut first).unwrap();
        network.run_into(&[Input::F32(&dark)], &mut second).unwrap();
        assert_ne!(first, second, "{engine}");
        network
            .run_into(&[Input::F32(&image)], &mut second)
            .unwrap();
        assert_eq!(first, second, "{engine}: equal inputs, equal bits");
    }
}

#[test]
fn nan_from_a_network_is_an_error_that_can_be_counted() {
    let models = tempfile::tempdir().unwrap();
    for there in engines() {
        let engine = &there.name;
        let mut network = there.load(&opened(models.path(), "movenet", MOVENET));
        let mut out = slots(&*network);
        let error = network
            .run_into(&[Input::U8(&[0; 32 * 32 * 3])], &mut out)
            .unwrap_err();
        assert_eq!(error, InferError::NotFinite { output: 0 }, "{engine}");
        // And the network still works afterwards.
        let image = [200; 32 * 32 * 3];
        network.run_into(&[Input::U8(&image)], &mut out).unwrap();
    }
}

#[test]
fn tensors_of_another_size_or_type_are_refused() {
    let models = tempfile::tempdir().unwrap();
    for there in engines() {
        let engine = &there.name;
        let mut network = there.load(&opened(models.path(), "movenet", MOVENET));
        let mut out = slots(&*network);
        for input in [
            Input::U8(&[200; 32 * 32]),
            Input::F32(&[200.0; 32 * 32 * 3]),
        ] {
            let error = network.run_into(&[input], &mut out).unwrap_err();
            assert!(matches!(error, InferError::Tensor { .. }), "{engine}");
        }
        out[0].pop();
        let image = Input::U8(&[200; 32 * 32 * 3]);
        assert!(network.run_into(&[image], &mut out).is_err(), "{engine}");
    }
}

/// The input of the stored outputs: the same formula as in `tests/onnx/golden.py`.
fn pattern(count: usize) -> impl Iterator<Item = f32> {
    #[expect(clippy::cast_precision_loss, reason = "below 1021")]
    (0..count).map(|i| ((i * 7919) % 1021) as f32 / 1020.0)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a network's outputs with those stored: every n-th number of each, n in the file.
fn check_stored(folder: &Folder, stored: &Path, there: &There) {
    let (engine, tolerance) = (&there.name, there.tolerance);
    let name = &folder.description.name;
    let bytes = std::fs::read(stored).unwrap_or_else(|error| {
        panic!("{}: {error}; python tests/onnx/golden.py", stored.display())
    });
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let notes = header.metadata().clone().unwrap();
    assert_eq!(
        notes["sha256"],
        sha256_hex(&folder.network),
        "{name}: the stored outputs are of another network; python tests/onnx/golden.py"
    );
    let every: usize = notes["every"].parse().unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();

    let mut network = there.load(folder);
    let mut out = slots(&*network);
    let count = network.inputs()[0].count();
    let floats: Vec<f32> = pattern(count).collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255"
    )]
    let bytes: Vec<u8> = floats.iter().map(|v| (v * 255.0).round() as u8).collect();
    let input = match folder.description.input.element {
        poised::engine::models::Element::F32 => Input::F32(&floats),
        poised::engine::models::Element::U8 => Input::U8(&bytes),
    };
    network.run_into(&[input], &mut out).unwrap();
    for (spec, values) in folder.description.outputs.iter().zip(&out) {
        let want = tensors.tensor(&spec.name).unwrap();
        let want: Vec<f32> = want
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let got: Vec<f32> = values.iter().step_by(every).copied().collect();
        assert_eq!(got.len(), want.len(), "{name}: {}", spec.name);
        let largest = want.iter().fold(1e-3_f32, |most, v| most.max(v.abs()));
        let worst = got
            .iter()
            .zip(&want)
            .map(|(got, want)| (got - want).abs())
            .fold(0.0, f32::max);
        println!(
            "{engine}: {name}: {}: largest difference {worst:.2e} of {largest:.3}",
            spec.name
        );
        assert!(
            worst <= tolerance * largest,
            "{engine}: {name}: {}: {worst} of {largest}",
            spec.name
        );
    }
}

#[test]
fn shipped_networks_give_the_stored_outputs() {
    let models = root().join("models");
    if !models.is_dir() {
        println!("skipped: no models/ in this tree");
        return;
    }
    for row in list(&models).unwrap() {
        let folder = Folder::open(&row.folder).unwrap();
        let name = row.folder.file_name().unwrap();
        let stored = root()
            .join("tests/golden/networks")
            .join(name)
            .with_extension("safetensors");
        for there in engines() {
            check_stored(&folder, &stored, &there);
        }
    }
}

#[test]
fn an_external_network_gives_the_stored_outputs() {
    let Some(onnx) = data::file("weights/movenet_lightning_fp32_from_int8.onnx") else {
        return;
    };
    let models = tempfile::tempdir().unwrap();
    let folder = Folder::open(&folder(models.path(), &onnx, MOVENET_LIGHTNING)).unwrap();
    let stored = root().join("tests/golden/networks/movenet-lightning.safetensors");
    for there in engines() {
        check_stored(&folder, &stored, &there);
    }
}

#[test]
fn every_decoders_network_loads_and_gives_what_the_first_engine_gives() {
    let models = tempfile::tempdir().unwrap();
    let engines = engines();
    for (name, description) in [
        ("finder", FINDER),
        ("person", PERSON),
        ("simcc", SIMCC),
        ("yolo", YOLO),
    ] {
        let folder = opened(models.path(), name, description);
        let mut first: Option<Vec<Vec<f32>>> = None;
        for there in &engines {
            let mut network = there.load(&folder);
            let image: Vec<f32> = pattern(network.inputs()[0].count()).collect();
            let mut out = slots(&*network);
            network.run_into(&[Input::F32(&image)], &mut out).unwrap();
            let want = first.get_or_insert_with(|| out.clone());
            for (want, got) in want.iter().zip(&out) {
                let largest = want.iter().fold(1e-3_f32, |most, v| most.max(v.abs()));
                let bound = there.tolerance * largest;
                let near = want.iter().zip(got).all(|(a, b)| (a - b).abs() <= bound);
                assert!(near, "{}: {name}", there.name);
            }
        }
    }
}

#[test]
fn states_of_one_network_run_in_threads_of_their_own() {
    let models = tempfile::tempdir().unwrap();
    let folder = opened(models.path(), "person", PERSON);
    for there in engines() {
        let mut one = there.load(&folder);
        let mut other = one.share().unwrap();
        let image: Vec<f32> = pattern(3 * 192 * 144).collect();
        let mut want = slots(&*one);
        one.run_into(&[Input::F32(&image)], &mut want).unwrap();
        std::thread::scope(|scope| {
            for network in [&mut one, &mut other] {
                let (image, want) = (&image, &want);
                scope.spawn(move || {
                    for _ in 0..5 {
                        let mut out = slots(&**network);
                        network.run_into(&[Input::F32(image)], &mut out).unwrap();
                        assert_eq!(&out, want);
                    }
                });
            }
        });
    }
}

/// Heap calls that one run of the network of the person detector may cost on our side of each engine. (tract makes its
/// tensors again on each run; the crate for ONNX Runtime makes handles of the outputs.) May fall and not rise.
const HEAP_CALLS: [(&str, u64); 3] = [("tract", 500), ("onnxruntime", 10), ("tensorrt", 0)];

#[test]
fn a_run_keeps_to_its_heap_budget() {
    let folder = Folder::open(&root().join("models/finder")).unwrap();
    for there in engines() {
        let mut network = there.load(&folder);
        let image: Vec<f32> = pattern(network.inputs()[0].count()).collect();
        let mut out = slots(&*network);
        network.run_into(&[Input::F32(&image)], &mut out).unwrap();
        let calls = heap::heap_calls(|| network.run_into(&[Input::F32(&image)], &mut out).unwrap());
        let (_, budget) = HEAP_CALLS
            .into_iter()
            .find(|(engine, _)| *engine == network.engine())
            .unwrap();
        println!("{}: {calls} heap calls a run", there.name);
        assert!(calls <= budget, "{}: {calls} heap calls", there.name);
    }
}
