//! GPU engine: NVIDIA's TensorRT 10, reached through a small shim of our own.
//!
//! ```text
//!  model folder ─▶ kept engine? ── yes ─▶ load ─▶ State
//!                      └── no ─▶ ToBuild (minutes; the CPU engine serves) ─▶ keep ─▶ load ─▶ State
//! ```
//!
//! The libraries are opened at run time, so a program with this in it starts on a machine without CUDA and says
//! what is missing. Buffers are bound once, one stream per state; on a Jetson they are memory that processor and
//! GPU share, elsewhere they are copied. A run touches no heap of this process.

pub mod ffi;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::{self, Cache, Key};
use super::network::{InferError, Input, Network, TensorSpec, check_finite, check_sizes};
use super::relay::{Build, BuildError, Progress};
pub use super::select::TENSORRT as ENGINE;
use super::select::{InferenceConfig, Lack, default_cache};
use crate::base::limits::GPU_WORKSPACE_BYTES;
use crate::engine::models::{Element, Folder, ModelError, Precision};
use ffi::{ExecutionState, Failure, Gpu, LoadedEngine, Numbers, Plan, Status};

/// NVIDIA's driver, by the name that every system has for it.
const DRIVER: &std::ffi::CStr = c"libcuda.so.1";

/// The opened libraries and the GPU.
#[derive(Clone, Debug)]
pub struct Runtime {
    version: String,
    gpu: Gpu,
    precision: Precision,
    cache: Cache,
}

/// What came of loading a network.
pub enum Loaded {
    /// Its engine was kept.
    Ready(Box<dyn Network>),
    /// Its engine is still to be built.
    ToBuild {
        /// Why: none was kept, or it does not fit.
        why: String,
        /// Builds, keeps and loads it.
        build: Build,
    },
}

/// Opens NVIDIA's libraries, in `folder` or where the system's loader finds them, and gives their version.
///
/// # Errors
///
/// One is missing or of another version.
pub fn open_libraries(folder: Option<&Path>) -> Result<String, Failure> {
    let (core, parser) = ffi::libraries();
    let place = |name: &str| folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    ffi::open(
        &ffi::c_path(&place(core))?,
        &ffi::c_path(&place(parser))?,
        DRIVER,
    )
}

/// Builds an engine from an ONNX network whose one input has this shape.
///
/// # Errors
///
/// [`Status::Parse`], [`Status::Cancelled`], or what NVIDIA's builder says.
pub fn build_plan(
    onnx: &[u8],
    shape: &[usize],
    tell: &mut dyn FnMut(Progress<'_>) -> bool,
) -> Result<Plan, Failure> {
    let dims: Vec<i64> = shape
        .iter()
        .map(|side| i64::try_from(*side).unwrap_or(i64::MAX))
        .collect();
    Plan::build(onnx, &dims, GPU_WORKSPACE_BYTES, tell)
}

impl Runtime {
    /// Opens the libraries and looks for a GPU.
    ///
    /// # Errors
    ///
    /// What is missing or does not fit.
    pub fn open(config: &InferenceConfig) -> Result<Self, Lack> {
        let version = open_libraries(config.tensorrt.as_deref()).map_err(lack)?;
        let gpu = ffi::gpu().map_err(lack)?;
        Ok(Self {
            version,
            gpu,
            precision: config.precision,
            cache: Cache::new(config.cache.clone().unwrap_or_else(default_cache)),
        })
    }

    /// Library and GPU, for messages.
    pub fn words(&self) -> String {
        let (driver_major, driver_minor) = self.gpu.driver;
        format!(
            "{} on {}, driver for CUDA {driver_major}.{driver_minor}",
            self.words_of_runtime(),
            self.gpu_words()
        )
    }

    fn words_of_runtime(&self) -> String {
        format!("{} {}", ffi::product(), self.version)
    }

    fn gpu_words(&self) -> String {
        let (major, minor) = self.gpu.capability;
        format!("{}, {major}.{minor}", self.gpu.name)
    }

    /// Takes the engine that was kept for a network, or says how one is built.
    ///
    /// # Errors
    ///
    /// [`ModelError`] where a file of the folder is not the one described, or the engine has other tensors than
    /// `model.toml` says.
    pub fn load(&self, folder: &Folder) -> Result<Loaded, ModelError> {
        let description = &folder.description;
        let (path, onnx, precision) =
            if let Some((path, onnx)) = folder.network_in(self.precision)? {
                (path, onnx, self.precision)
            } else {
                let place = folder.path.display();
                let (wanted, instead) = (self.precision.name(), Precision::Fp32.name());
                log::info!("{place}: has no {wanted} network: using {instead}");
                (
                    folder.network_path(),
                    folder.network.clone(),
                    Precision::Fp32,
                )
            };
        let part = description.kind.part();
        let wanted = Wanted {
            path,
            inputs: vec![TensorSpec::from(&description.input)],
            outputs: description.outputs.iter().map(TensorSpec::from).collect(),
        };
        let key = cache::key(
            part,
            (&onnx, &description.input.shape),
            &self.words_of_runtime(),
            &self.gpu_words(),
            precision,
        );
        let why = match self.cache.read(&key) {
            Ok(plan) => match wanted.load(&plan) {
                Ok(state) => return Ok(Loaded::Ready(state)),
                // Whole, but refused: built by a library that says it is the same and is not.
                Err(ModelError::Engine { message, .. }) => message,
                Err(misfit) => return Err(misfit),
            },
            Err(unusable) => unusable.to_string(),
        };
        let cache = self.cache.clone();
        Ok(Loaded::ToBuild {
            why,
            build: Box::new(move |tell| build(&wanted, &onnx, &key, &cache, tell)),
        })
    }
}

/// Builds an engine, keeps it and loads it.
fn build(
    wanted: &Wanted,
    onnx: &[u8],
    key: &Key,
    cache: &Cache,
    tell: &mut dyn FnMut(Progress<'_>) -> bool,
) -> Result<Box<dyn Network>, BuildError> {
    // The same network may be loaded twice before the first of them is built.
    if let Ok(plan) = cache.read(key)
        && let Ok(network) = wanted.load(&plan)
    {
        return Ok(network);
    }
    let plan = build_plan(onnx, &wanted.inputs[0].shape, tell).map_err(|failure| match failure
        .status
    {
        Status::Cancelled => BuildError::Cancelled,
        _ => wanted.failed(&failure).into(),
    })?;
    match cache.write(key, plan.bytes()) {
        Ok(path) => log::info!("{}: kept for {key}", path.display()),
        // It serves all the same, and is built again at the next start.
        Err(error) => log::warn!("{}: engine not kept: {error}", cache.folder().display()),
    }
    Ok(wanted.load(plan.bytes())?)
}

/// What is missing, and what a person can do about it.
fn lack(failure: Failure) -> Lack {
    let fix = match failure.status {
        Status::NoLibrary => {
            "install NVIDIA's libraries (on a Jetson: apt install tensorrt), or name their folder in inference.tensorrt"
                .to_owned()
        }
        Status::Version => format!(
            "build with headers of that version (this build has {}), or install a library that fits",
            ffi::headers()
        ),
        Status::NoDriver => "install NVIDIA's driver (on a Jetson it comes with JetPack)".to_owned(),
        _ => "see that the user may open /dev/nvidia* or /dev/nvhost* (group video or render), and what dmesg says"
            .to_owned(),
    };
    Lack {
        why: failure.text,
        fix,
    }
}

/// The tensors that `model.toml` describes.
#[derive(Clone)]
struct Wanted {
    path: PathBuf,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

impl Wanted {
    fn failed(&self, failure: &Failure) -> ModelError {
        ModelError::Engine {
            path: self.path.clone(),
            engine: ENGINE,
            message: failure.text.clone(),
        }
    }

    /// Loads an engine, checks its tensors and runs it once on zeros.
    fn load(&self, plan: &[u8]) -> Result<Box<dyn Network>, ModelError> {
        let failed = |failure: Failure| self.failed(&failure);
        let engine = Arc::new(LoadedEngine::load(plan).map_err(failed)?);
        let execution = ExecutionState::new(&engine).map_err(failed)?;
        let place = |input, spec| self.place(&execution, input, spec);
        let inputs = self.inputs.iter().map(|spec| place(true, spec));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs = self.outputs.iter().map(|spec| place(false, spec));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let mut state = State {
            wanted: Arc::new(self.clone()),
            execution,
            inputs,
            outputs,
        };
        state.execution.run().map_err(|_| {
            self.failed(&Failure {
                status: Status::Other,
                text: "the first run fails".to_owned(),
            })
        })?;
        Ok(Box::new(state))
    }

    /// Which tensor of the engine is the one described.
    fn place(
        &self,
        execution: &ExecutionState,
        input: bool,
        spec: &TensorSpec,
    ) -> Result<usize, ModelError> {
        let misfit = |got: String| ModelError::Tensor {
            path: self.path.clone(),
            tensor: format!("{} {}", if input { "input" } else { "output" }, spec.name),
            want: spec.words(),
            got,
        };
        let found = execution
            .tensors()
            .enumerate()
            .find(|(_, tensor)| tensor.input == input && tensor.name == spec.name);
        let Some((at, tensor)) = found else {
            let names: Vec<_> = execution.tensors().map(|tensor| &tensor.name).collect();
            return Err(misfit(format!("tensors {names:?}")));
        };
        let numbers = match spec.element {
            Element::F32 => Numbers::F32,
            Element::U8 => Numbers::U8,
        };
        let same_sides = tensor.dims.len() == spec.shape.len()
            && tensor
                .dims
                .iter()
                .zip(&spec.shape)
                .all(|(found, want)| usize::try_from(*found) == Ok(*want));
        if tensor.numbers == numbers && same_sides {
            return Ok(at);
        }
        Err(misfit(
            format!("{:?} {:?}", tensor.numbers, tensor.dims).to_lowercase(),
        ))
    }
}

/// One thread's use of an engine.
struct State {
    wanted: Arc<Wanted>,
    execution: ExecutionState,
    /// Which tensor of the engine each input and output is.
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

impl Network for State {
    fn inputs(&self) -> &[TensorSpec] {
        &self.wanted.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.wanted.outputs
    }

    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn share(&self) -> Result<Box<dyn Network>, InferError> {
        Ok(Box::new(Self {
            wanted: Arc::clone(&self.wanted),
            execution: self.execution.share().map_err(|_| InferError::Engine)?,
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
        }))
    }

    fn run_into(
        &mut self,
        inputs: &[Input<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        check_sizes((&self.wanted.inputs, &self.wanted.outputs), inputs, outputs)?;
        for (at, input) in self.inputs.iter().zip(inputs) {
            match input {
                Input::F32(values) => self.execution.f32_mut(*at).copy_from_slice(values),
                Input::U8(values) => self.execution.u8_mut(*at).copy_from_slice(values),
            }
        }
        self.execution.run().map_err(|_| InferError::Engine)?;
        for (i, (at, slot)) in self.outputs.iter().zip(outputs).enumerate() {
            slot.copy_from_slice(self.execution.f32(*at));
            check_finite(i, slot)?;
        }
        Ok(())
    }
}
