//! The GPU engine on a machine without a GPU: clear refusals, and what NVIDIA's own parser and builder say.
//!
//! The first half needs no file of NVIDIA's but the headers: libraries are missing, of another version, fail, or
//! pretend to work (`tests/tensorrt`), and the shim is compiled once more, under the address sanitizer. The second
//! half runs where this is built for TensorRT for RTX, whose builder needs no GPU, and `POISED_TENSORRT_LIBRARIES`
//! names the folder of its libraries (`./dev rtx`). Nothing here has ever run a network on a GPU.
//!
//! A binary of its own, since a process opens these libraries once; built with the feature `tensorrt` only.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(
    clippy::print_stdout,
    reason = "tests say what they built and how long it took"
)]

#[path = "../common"]
mod common {
    pub mod heap;
}

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use common::heap;
use poised::base::clock::Clock;
use poised::engine::Input;
use poised::engine::cache::Cache;
use poised::engine::models::{Folder, Precision, list};
use poised::engine::select::{Choice, Engine, InferenceConfig};
use poised::engine::tensorrt::ffi::{self, Status};
use poised::engine::tensorrt::{build_plan, open_libraries};
use poised::sys::rt;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a compiler and gives what it made.
fn compiled(compiler: &str, folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let output = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-g", "-o"])
        .arg(&out)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler} {name}: {said}");
    out
}

/// A library that says it is TensorRT of this version.
fn fake_tensorrt(folder: &Path, name: &str, (major, minor): (u32, u32)) -> PathBuf {
    let version = [format!("-DMAJOR={major}"), format!("-DMINOR={minor}")];
    let source = "tests/tensorrt/fake_tensorrt.c";
    compiled(
        "cc",
        folder,
        name,
        &["-shared", "-fPIC", &version[0], &version[1], source],
    )
}

fn fake_cuda(folder: &Path) -> PathBuf {
    let source = "tests/tensorrt/fake_cuda.c";
    compiled("cc", folder, "libcuda.so.1", &["-shared", "-fPIC", source])
}

/// The version of NVIDIA's headers.
fn headers() -> (u32, u32) {
    let (major, minor) = ffi::headers().split_once('.').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// A library that behaves as TensorRT does, core and parser in one.
fn pretend_tensorrt(folder: &Path, name: &str) -> PathBuf {
    let headers = env!("POISED_TENSORRT_HEADERS");
    let arguments = [
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-Isrc/engine/tensorrt/include",
        "-isystem",
        headers,
        "tests/tensorrt/pretend_tensorrt.cpp",
    ];
    compiled("c++", folder, name, &arguments)
}

/// A driver in C with the shim, under the address sanitizer.
fn sanitized(folder: &Path, name: &str) -> PathBuf {
    let shim = "src/engine/tensorrt";
    let include = format!("-I{shim}/include");
    let own = format!("-I{shim}");
    let sanitize = "-fsanitize=address,undefined";
    let headers = env!("POISED_TENSORRT_HEADERS");
    let (object, source) = (format!("{name}.o"), format!("tests/tensorrt/{name}.c"));
    let driver = compiled("cc", folder, &object, &[sanitize, &own, "-c", &source]);
    let source = format!("{shim}/shim.cpp");
    compiled(
        "c++",
        folder,
        name,
        &[
            sanitize,
            // Behind NVIDIA's classes the pretended ones have tables and no types.
            "-fno-sanitize=vptr",
            "-std=c++17",
            &include,
            &own,
            "-isystem",
            headers,
            &source,
            driver.to_str().unwrap(),
            "-ldl",
        ],
    )
}

/// What the shim answers with these libraries, as lines; it must end well and the sanitizer say nothing.
fn answers(refusals: &Path, libraries: [&Path; 3], environment: &[(&str, &str)]) -> String {
    let output = Command::new(refusals)
        .args(libraries)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{libraries:?}: {said}");
    assert!(!said.contains("runtime error"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("null is null: 1"), "{text}");
    text
}

#[test]
fn what_is_missing_wrong_or_wild_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refusals = sanitized(folder, "refusals");
    let (major, minor) = headers();
    let library = fake_tensorrt(folder, "libfake.so", (major, minor));
    let cuda = fake_cuda(folder);
    let nowhere = Path::new("/nowhere/lib.so");
    let ask = |libraries, environment: &[(&str, &str)]| answers(&refusals, libraries, environment);

    let text = ask([nowhere, nowhere, nowhere], &[]);
    assert!(
        text.contains("open: 1 /nowhere/lib.so: cannot open"),
        "{text}"
    );
    // A library of something else.
    let text = ask([&cuda, &cuda, &cuda], &[]);
    assert!(
        text.contains("open: 1 ") && text.contains("is no library of"),
        "{text}"
    );
    // No driver.
    let text = ask([&library, &library, nowhere], &[]);
    assert!(
        text.contains("gpu: 3 libcuda.so.1 cannot be opened"),
        "{text}"
    );
    // A driver of something else.
    let text = ask([&library, &library, &library], &[]);
    assert!(
        text.contains("gpu: 3 libcuda.so.1 lacks a function"),
        "{text}"
    );

    let fake = [&*library, &library, &cuda];
    for (how, want) in [
        ("init", "gpu: 4 cuInit: error 100"),
        ("count", "gpu: 4 the driver is there, but no GPU"),
        ("context", "gpu: 4 cuDevicePrimaryCtxRetain: error 2"),
    ] {
        let text = ask(fake, &[("FAKE_CUDA", how)]);
        assert!(text.contains(want), "{text}");
        assert!(
            text.contains("load: 4 "),
            "without a GPU nothing is loaded: {text}"
        );
    }

    for how in ["null", "wild", "odd"] {
        let text = ask(fake, &[("FAKE_TENSORRT", how)]);
        assert!(text.contains("found: Fake 8.7"), "{text}");
        assert!(text.contains("build: 7 no builder"), "{how}: {text}");
        assert!(text.contains("load: 9 no runtime"), "{how}: {text}");
    }
    if ffi::product() == "TensorRT" {
        // The fake calls TensorRT's logger by its place in the table of functions, which is elsewhere in RTX.
        let text = ask(fake, &[("FAKE_TENSORRT", "logged")]);
        let want = "load: 9 no runtime: CUDA initialization failure with error: 35";
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn the_whole_way_through_the_shim_leaks_and_oversteps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let runs = sanitized(folder, "runs");
    let library = pretend_tensorrt(folder, "libpretend.so");
    let cuda = fake_cuda(folder);
    for (how, memory) in [("", "integrated"), ("integrated", "with its own memory")] {
        let output = Command::new(&runs)
            .args([&library, &library, &cuda])
            .env("FAKE_CUDA", how)
            .env("PRETEND_NETWORKS", "8=x u8 in 1,12;y f32 out 1,20")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{said}");
        assert!(!said.contains("runtime error"), "{said}");
        assert!(text.contains(&format!("{memory}: all well")), "{text}");
    }
}

#[test]
fn the_whole_way_through_the_shim_on_an_emulated_arm64() {
    const TOOLS: [&str; 3] = [
        "aarch64-linux-gnu-gcc",
        "aarch64-linux-gnu-g++",
        "qemu-aarch64-static",
    ];
    let there = |tool: &&str| Command::new(tool).arg("--version").output().is_ok();
    if !TOOLS.iter().all(there) {
        println!("skipped: {TOOLS:?} are wanted");
        return;
    }
    let [cc, cxx, emulator] = TOOLS;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (shim, headers) = ("src/engine/tensorrt", env!("POISED_TENSORRT_HEADERS"));
    let (own, include) = (format!("-I{shim}"), format!("-I{shim}/include"));
    let source = format!("{shim}/shim.cpp");
    let driver = compiled(cc, folder, "runs.o", &[&own, "-c", "tests/tensorrt/runs.c"]);
    let driver = driver.to_str().unwrap();
    let arguments = ["-std=c++17", &include, &own, "-isystem", headers];
    let runs = [&arguments[..], &[&source, driver, "-ldl"]].concat();
    let runs = compiled(cxx, folder, "runs", &runs);
    let pretend = ["-shared", "-fPIC", "tests/tensorrt/pretend_tensorrt.cpp"];
    let pretend = [&arguments[..], &pretend].concat();
    let library = compiled(cxx, folder, "libpretend.so", &pretend);
    let cuda = ["-shared", "-fPIC", "tests/tensorrt/fake_cuda.c"];
    let cuda = compiled(cc, folder, "libcuda.so.1", &cuda);
    for how in ["", "integrated"] {
        let output = Command::new(emulator)
            .args(["-L", "/usr/aarch64-linux-gnu"])
            .args([&runs, &library, &library, &cuda])
            .env("FAKE_CUDA", how)
            .env("PRETEND_NETWORKS", "8=x u8 in 1,12;y f32 out 1,20")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("all well"),
            "{text}"
        );
    }
}

#[test]
fn a_library_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refusals = sanitized(folder, "refusals");
    let cuda = fake_cuda(folder);
    let (major, minor) = headers();
    let rtx = ffi::product() != "TensorRT";
    for (version, fits) in [
        ((major - 1, 99), false),
        ((major, minor - 1), false),
        ((major, minor), true),
        ((major, minor + 1), !rtx),
        ((major + 1, minor), false),
    ] {
        let name = format!("lib{}.{}.so", version.0, version.1);
        let library = fake_tensorrt(folder, &name, version);
        let text = answers(&refusals, [&library, &library, &cuda], &[]);
        if fits {
            assert!(text.contains("open: 0"), "{version:?}: {text}");
        } else {
            let want = format!(
                " is version {}.{}, this program was built for ",
                version.0, version.1
            );
            assert!(text.contains("open: 2 ") && text.contains(&want), "{text}");
        }
    }
}

/// The program itself, with libraries of its own in the loader's path.
fn poised(libraries: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_poised"))
        .args(arguments)
        .env("LD_LIBRARY_PATH", libraries)
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn the_program_starts_without_cuda_and_says_what_is_missing() {
    let empty = tempfile::tempdir().unwrap();
    let (good, text) = poised(
        empty.path(),
        &["demo", "--seconds", "1", "--engine", "tensorrt"],
    );
    assert!(!good);
    let (core, _) = ffi::libraries();
    assert!(text.contains("inference.engine = \"tensorrt\": "), "{text}");
    assert!(
        text.contains(core) && text.contains("inference.tensorrt"),
        "{text}"
    );

    let (good, text) = poised(empty.path(), &["engine", "build"]);
    assert!(!good && text.contains(core), "{text}");

    let cache = empty.path().join("engines");
    let cache = cache.to_str().unwrap();
    let (good, text) = poised(empty.path(), &["engine", "list", "--cache", cache]);
    assert!(good && text.contains("no engines in"), "{text}");
}

#[test]
fn the_program_takes_the_cpu_where_the_gpus_library_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (core, parser) = ffi::libraries();
    let (major, minor) = headers();
    fake_tensorrt(folder, core, (major, minor));
    fake_tensorrt(folder, parser, (major, minor));
    fake_cuda(folder);
    // The GPU is there, so `auto` takes it; its library can neither load nor build, so every network stays on the CPU.
    let config = folder.join("poised.toml");
    let cache = folder.join("engines");
    let text = format!("[inference]\ncache = {cache:?}\n");
    std::fs::write(&config, text).unwrap();
    let (good, text) = poised(folder, &["check", config.to_str().unwrap()]);
    assert!(good, "{text}");
    assert!(text.contains("on Fake, 8.7"), "{text}");
    assert!(
        text.contains("network: person loads and runs in tract"),
        "{text}"
    );
    assert!(text.contains("to be built at the first start"), "{text}");

    let config = config.to_str().unwrap();
    let (good, text) = poised(folder, &["engine", "build", "--config", config]);
    assert!(!good && text.contains("no builder"), "{text}");
}

/// The networks of a folder as `PRETEND_NETWORKS` has them.
fn pretended(models: &Path) -> String {
    let mut networks = Vec::new();
    for row in list(models).unwrap() {
        let folder = Folder::open(&row.folder).unwrap();
        let shape = |sides: &[usize]| {
            sides
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let input = &folder.description.input;
        let mut tensors = vec![format!(
            "{} {} in {}",
            input.name,
            input.element.name(),
            shape(&input.shape)
        )];
        for output in &folder.description.outputs {
            tensors.push(format!("{} f32 out {}", output.name, shape(&output.shape)));
        }
        networks.push(format!("{}={}", folder.network.len(), tensors.join(";")));
    }
    networks.join("|")
}

/// A folder with pretended libraries under the names that the program looks for.
fn pretended_machine() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (core, parser) = ffi::libraries();
    let library = pretend_tensorrt(folder.path(), core);
    std::fs::copy(library, folder.path().join(parser)).unwrap();
    fake_cuda(folder.path());
    folder
}

#[test]
fn engines_are_built_kept_and_changed_over_to_on_a_pretended_gpu() {
    let machine = pretended_machine();
    // Libraries are opened once in a process, so it is another one of the same program that has these.
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "in_a_process_with_pretended_libraries",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("LD_LIBRARY_PATH", machine.path())
        .env("PRETEND_NETWORKS", pretended(&root().join("models")))
        .env("POISED_PRETEND_CACHE", machine.path().join("engines"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{said}"
    );
}

#[test]
#[ignore = "run by engines_are_built_kept_and_changed_over_to_on_a_pretended_gpu"]
fn in_a_process_with_pretended_libraries() {
    let cache = PathBuf::from(std::env::var_os("POISED_PRETEND_CACHE").unwrap());
    let config = InferenceConfig {
        engine: Choice::Tensorrt,
        cache: Some(cache.clone()),
        ..InferenceConfig::default()
    };
    let folder = Folder::open(&root().join("models/person")).unwrap();
    let engine = Engine::open(&config).unwrap();
    assert_eq!(engine.name(), "tensorrt");
    let mut network = engine.load(&folder).unwrap();
    let mut other = network.share().unwrap();
    assert_eq!(
        network.engine(),
        "tract",
        "serves while the engine is built"
    );
    let image: Vec<f32> = (0..3 * 192 * 144_u32)
        .map(|at| f32::from(u8::try_from(at % 251).unwrap()))
        .collect();
    let outputs = network.outputs().iter();
    let mut out: Vec<Vec<f32>> = outputs.map(|spec| vec![0.0; spec.count()]).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let builder = engine.builder().unwrap();
        rt::spawn(scope, "build", || builder.run(&stop)).unwrap();
        for network in [&mut network, &mut other] {
            while network.engine() == "tract" {
                network.run_into(&[Input::F32(&image)], &mut out).unwrap();
            }
        }
    });
    assert_eq!(engine.status().networks(), [("person", "tensorrt")]);
    // The pretended engine copies its input to each output.
    for (network, shift) in [(&mut network, 0), (&mut other, 100)] {
        let image = &image[shift..];
        let image: Vec<f32> = image.iter().chain(&vec![0.5; shift]).copied().collect();
        network.run_into(&[Input::F32(&image)], &mut out).unwrap();
        for values in &out {
            assert!(
                values
                    .iter()
                    .zip(&image)
                    .all(|(got, want)| got.to_bits() == want.to_bits())
            );
        }
    }
    let calls = heap::heap_calls(|| {
        for _ in 0..100 {
            network.run_into(&[Input::F32(&image)], &mut out).unwrap();
        }
    });
    assert_eq!(calls, 0, "heap calls of a hundred runs");

    // It was kept: another start has it at once.
    let again = Engine::open(&config).unwrap();
    assert_eq!(again.load(&folder).unwrap().engine(), "tensorrt");
    assert!(again.builder().is_none());
    // A broken one and one of another version are built again, once.
    let entries = Cache::new(cache).list().unwrap();
    let [entry] = &entries[..] else {
        panic!("one engine, {entries:?}");
    };
    let whole = std::fs::read(&entry.path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let version = format!("{}.0.1", ffi::headers());
    assert!(text.contains(&version), "{text}");
    for bad in [
        whole[..whole.len() - 1].to_vec(),
        text.replace(&version, "9.9.0.1").into_bytes(),
    ] {
        std::fs::write(&entry.path, bad).unwrap();
        let start = Engine::open(&config).unwrap();
        assert_eq!(start.load(&folder).unwrap().engine(), "tract");
        start.build_now();
        assert_eq!(std::fs::read(&entry.path).unwrap(), whole);
    }
}

#[test]
fn commands_build_and_list_engines_on_a_pretended_gpu() {
    let machine = pretended_machine();
    let config = machine.path().join("poised.toml");
    let cache = machine.path().join("engines");
    std::fs::write(&config, format!("[inference]\ncache = {cache:?}\n")).unwrap();
    let networks = pretended(&root().join("models"));
    let ask = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_poised"))
            .args(arguments)
            .env("LD_LIBRARY_PATH", machine.path())
            .env("PRETEND_NETWORKS", &networks)
            .current_dir(root())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    };
    let config = config.to_str().unwrap();
    let text = ask(&["engine", "build", "--config", config]);
    for part in ["finder", "lifter", "person"] {
        assert!(text.contains(&format!("{part} fp32, network ")), "{text}");
    }
    let text = ask(&["engine", "build", "--config", config]);
    assert!(text.contains("nothing to build"), "{text}");
    let text = ask(&["check", config]);
    assert!(
        text.contains("network: lifter loads and runs in tensorrt"),
        "{text}"
    );
    assert!(text.contains("Fake, 8.7"), "{text}");
    let text = ask(&["engine", "clear", "--config", config]);
    assert!(text.contains("3 engines removed"), "{text}");
    let text = ask(&["engine", "list", "--config", config]);
    assert!(text.contains("no engines in"), "{text}");
}

/// The folder of NVIDIA's libraries for RTX, where this is built for them.
fn rtx() -> Option<PathBuf> {
    let folder = std::env::var_os("POISED_TENSORRT_LIBRARIES").map(PathBuf::from);
    match folder {
        Some(folder) if ffi::product() == "TensorRT for RTX" => {
            println!(
                "{} {}",
                ffi::product(),
                open_libraries(Some(&folder)).unwrap()
            );
            Some(folder)
        }
        _ => {
            println!(
                "skipped: not built for TensorRT for RTX, or POISED_TENSORRT_LIBRARIES not set (./dev rtx)"
            );
            None
        }
    }
}

/// Builds a network and gives the bytes of the engine.
fn built(onnx: &[u8], shape: &[usize]) -> Result<usize, ffi::Failure> {
    build_plan(onnx, shape, &mut |_| true).map(|plan| plan.bytes().len())
}

fn small(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/onnx").join(name)).unwrap()
}

#[test]
fn every_network_is_parsed_and_built_by_nvidias_builder() {
    if rtx().is_none() {
        return;
    }
    // `./dev rtx` puts copies of the folders there, with the networks for fp16.
    let models = std::env::var_os("POISED_TENSORRT_MODELS")
        .map_or_else(|| root().join("models"), PathBuf::from);
    let clock = Clock::live();
    let mut count = 0;
    for row in list(&models).unwrap() {
        let folder = Folder::open(&row.folder).unwrap();
        for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
            let Some((_, onnx)) = folder.network_in(precision).unwrap() else {
                continue;
            };
            let begun = clock.now();
            let mut steps = 0;
            let tell = &mut |_: poised::engine::relay::Progress<'_>| {
                steps += 1;
                true
            };
            let plan = build_plan(&onnx, &folder.description.input.shape, tell).unwrap();
            println!(
                "{} {}: {} bytes of ONNX, engine of {} bytes in {:.2} s, {steps} steps told",
                folder.description.name,
                precision.name(),
                onnx.len(),
                plan.bytes().len(),
                clock.now().seconds_after(begun),
            );
            assert!(steps > 0);
            count += 1;
        }
    }
    assert!(count >= 3, "{count} networks");
}

#[test]
fn external_networks_are_built_too() {
    if rtx().is_none() {
        return;
    }
    for (name, shape) in [
        ("person.onnx", &[1, 3, 192, 144][..]),
        ("finder.onnx", &[1, 3, 192, 192]),
        ("simcc.onnx", &[1, 3, 64, 48]),
        ("movenet.onnx", &[1, 32, 32, 3]),
        ("yolo.onnx", &[1, 3, 64, 64]),
        ("lifter.onnx", &[1, 27, 17, 4]),
        ("symmetric.onnx", &[1, 3, 8, 8]),
    ] {
        let bytes = built(&small(name), shape).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        println!("{name}: engine of {bytes} bytes");
    }
}

#[test]
fn a_build_stops_when_asked_to() {
    if rtx().is_none() {
        return;
    }
    let folder = Folder::open(&root().join("models/person")).unwrap();
    let mut steps = 0;
    let failure = build_plan(
        &folder.network,
        &folder.description.input.shape,
        &mut |progress| {
            steps += 1;
            assert!((0.0..=1.0).contains(&progress.done), "{progress:?}");
            steps < 40
        },
    )
    .err()
    .unwrap();
    assert_eq!(failure.status, Status::Cancelled);
    assert!(steps >= 40, "{steps}");
}

#[test]
fn what_cannot_be_built_is_refused_in_one_line() {
    if rtx().is_none() {
        return;
    }
    let whole = small("person.onnx");
    let shape = [1, 3, 192, 144];
    for (what, onnx, shape, status) in [
        (
            "half a file",
            &whole[..whole.len() / 2],
            &shape[..],
            Status::Parse,
        ),
        ("no network", b"not onnx", &shape, Status::Parse),
        (
            "an unknown operator",
            &small("unknown.onnx"),
            &[1, 32, 32, 3],
            Status::Parse,
        ),
        ("another shape", &whole, &[1, 3, 64, 64], Status::Parse),
        (
            "a zero point",
            &small("asymmetric.onnx"),
            &[1, 3, 8, 8],
            Status::Parse,
        ),
    ] {
        let failure = built(onnx, shape).unwrap_err();
        println!("{what}: {}", failure.text);
        assert_eq!(failure.status, status, "{what}: {failure:?}");
        assert!(
            !failure.text.is_empty() && !failure.text.contains('\n'),
            "{what}"
        );
    }
    // Without a GPU an engine is built but not loaded: it is refused, and nothing crashes.
    if let Err(lack) = ffi::gpu() {
        let plan = build_plan(&whole, &shape, &mut |_| true).unwrap();
        let failure = ffi::LoadedEngine::load(plan.bytes()).err().unwrap();
        assert_eq!(failure, lack);
    }
}
