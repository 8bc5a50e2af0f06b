//! CPU engine: ONNX Runtime, where its library is installed.
//!
//! The library is opened at run time, so the same program starts where there is none. An `OrtPlan` is a checked
//! network; an `OrtState` is one thread's, with a session and tensors of its own that are bound once: a session of
//! the crate's cannot be shared between threads. One thread runs a network, as with the other engines.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::network::{InferError, Input, Network, TensorSpec, check_finite, check_sizes};
use super::select::Lack;
pub use super::select::ONNXRUNTIME as ENGINE;
use crate::engine::models::{Element, Folder, ModelError, one_line};

/// Oldest minor version of ONNX Runtime 1 that has the interface used here.
const MINOR_MIN: u32 = 17;

/// Names that the system's loader may know the library by.
const NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// The library's own state, of which it allows one in a process.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The opened library.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    minor: u32,
    path: PathBuf,
}

impl Runtime {
    /// Opens the library at `path`, or at `$ORT_DYLIB_PATH`, or where the system's loader finds it.
    ///
    /// # Errors
    ///
    /// What is missing or does not fit.
    pub fn open(path: Option<&Path>) -> Result<Self, Lack> {
        let given = path.map(Path::to_owned).or_else(|| {
            let path = std::env::var_os("ORT_DYLIB_PATH")?;
            (!path.is_empty()).then(|| path.into())
        });
        let candidates = given.map_or_else(|| NAMES.map(PathBuf::from).to_vec(), |path| vec![path]);
        let mut lack = None;
        for path in candidates {
            match Self::open_at(&path) {
                Ok(runtime) => return Ok(runtime),
                // The first name says it as well as the second.
                Err(why) => lack = lack.or(Some(why)),
            }
        }
        Err(Lack {
            why: lack.unwrap_or_default(),
            fix: format!(
                "install ONNX Runtime 1.{MINOR_MIN} or later and name its library in inference.onnxruntime or \
                 ORT_DYLIB_PATH"
            ),
        })
    }

    fn open_at(path: &Path) -> Result<Self, String> {
        // The crate panics over a library of another major version, so that is found out before.
        let probed = ort::util::probe(path);
        if let Some(minor) = probed
            && minor < MINOR_MIN
        {
            return Err(format!(
                "{} is version 1.{minor}, 1.{MINOR_MIN} or later is required",
                path.display()
            ));
        }
        let builder = ort::init_from(path).map_err(|error| words(&error))?;
        let Some(minor) = probed else {
            return Err(format!("{} is not version 1", path.display()));
        };
        let mut kept = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
        let environment = if let Some(environment) = &*kept {
            environment.clone()
        } else {
            let named = builder.with_name("poised").with_telemetry(false);
            let made = named.build().map_err(|error| one_line(&error))?;
            kept.insert(made).clone()
        };
        drop(kept);
        Ok(Self {
            environment,
            minor,
            path: path.to_owned(),
        })
    }

    /// Version and place, for messages.
    pub fn words(&self) -> String {
        format!("ONNX Runtime 1.{} ({})", self.minor, self.path.display())
    }

    /// Loads the network of a checked model folder.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tensor`] or [`ModelError::Engine`].
    pub fn load(&self, folder: &Folder) -> Result<Box<dyn Network>, ModelError> {
        let description = &folder.description;
        let outputs = description.outputs.iter().map(TensorSpec::from).collect();
        let plan = OrtPlan {
            runtime: self.clone(),
            path: folder.network_path(),
            onnx: folder.network.clone(),
            inputs: vec![TensorSpec::from(&description.input)],
            outputs,
        };
        Ok(Box::new(Arc::new(plan).state()?))
    }
}

/// What the system's loader or the crate says of a library.
fn words(error: &ort::LoadDynamicError) -> String {
    if let ort::LoadDynamicError::Dlopen { error, .. } = error
        && let Some(source) = std::error::Error::source(error)
    {
        return one_line(&source);
    }
    one_line(error)
}

/// A network, read-only.
struct OrtPlan {
    runtime: Runtime,
    path: PathBuf,
    onnx: Vec<u8>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

/// An input tensor that is filled in place.
enum Slot {
    F32(Tensor<f32>),
    F16(Tensor<f16>),
    U8(Tensor<u8>),
}

/// An output tensor that is read in place.
enum Found {
    F32(Tensor<f32>),
    F16(Tensor<f16>),
}

/// One thread's use of a network: a session with its tensors bound.
struct OrtState {
    plan: Arc<OrtPlan>,
    session: Session,
    binding: IoBinding,
    inputs: Vec<Slot>,
    outputs: Vec<Found>,
}

impl OrtPlan {
    /// A state for one thread, run once on zeros to see the shapes the network really gives.
    fn state(self: Arc<Self>) -> Result<OrtState, ModelError> {
        let session = self.session().map_err(|error| self.failed(&error))?;
        self.check(&session)?;
        let mut state = self.bind(session)?;
        state
            .session
            .run_binding(&state.binding)
            .map_err(|error| state.plan.failed(&error))?;
        Ok(state)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> ModelError {
        ModelError::Engine {
            path: self.path.clone(),
            engine: ENGINE,
            message: one_line(&error),
        }
    }

    fn session(&self) -> ort::Result<Session> {
        Session::builder(&self.runtime.environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .commit_from_memory(&self.onnx)
    }

    fn check(&self, session: &Session) -> Result<(), ModelError> {
        let [input] = session.inputs() else {
            let got = format!("{} inputs", session.inputs().len());
            return Err(self.misfit("input", &self.inputs[0], got));
        };
        if input.name() != self.inputs[0].name {
            let got = format!("input {:?}", input.name());
            return Err(self.misfit("input", &self.inputs[0], got));
        }
        self.check_tensor("input", &self.inputs[0], input)?;
        for spec in &self.outputs {
            let outputs = session.outputs();
            let Some(output) = outputs.iter().find(|output| output.name() == spec.name) else {
                let names: Vec<_> = outputs.iter().map(Outlet::name).collect();
                return Err(self.misfit("output", spec, format!("outputs {names:?}")));
            };
            self.check_tensor("output", spec, output)?;
        }
        Ok(())
    }

    fn check_tensor(
        &self,
        side: &str,
        spec: &TensorSpec,
        found: &Outlet,
    ) -> Result<(), ModelError> {
        let ValueType::Tensor { ty, shape, .. } = found.dtype() else {
            return Err(self.misfit(side, spec, "no tensor".to_owned()));
        };
        let same_type = match spec.element {
            Element::F32 => [TensorElementType::Float32, TensorElementType::Float16].contains(ty),
            Element::U8 => *ty == TensorElementType::Uint8,
        };
        // A side the file leaves open (-1) is set by the description.
        let same_sides = shape
            .iter()
            .zip(&spec.shape)
            .all(|(found, want)| *found < 0 || usize::try_from(*found) == Ok(*want));
        if same_type && shape.len() == spec.shape.len() && same_sides {
            return Ok(());
        }
        Err(self.misfit(side, spec, format!("{ty} {shape:?}")))
    }

    fn misfit(&self, side: &str, spec: &TensorSpec, got: String) -> ModelError {
        ModelError::Tensor {
            path: self.path.clone(),
            tensor: format!("{side} {}", spec.name),
            want: spec.words(),
            got,
        }
    }

    /// Makes tensors and binds them: from then on a run reads and writes these.
    fn bind(self: Arc<Self>, session: Session) -> Result<OrtState, ModelError> {
        let is_half = |outlets: &[Outlet], name: &str| {
            let found = outlets.iter().find(|outlet| outlet.name() == name);
            found.is_some_and(|outlet| {
                matches!(
                    outlet.dtype(),
                    ValueType::Tensor {
                        ty: TensorElementType::Float16,
                        ..
                    }
                )
            })
        };
        let made = || -> ort::Result<_> {
            let allocator = Allocator::default();
            let mut binding = session.create_binding()?;
            let mut inputs = Vec::new();
            for spec in &self.inputs {
                inputs.push(match spec.element {
                    Element::F32 if is_half(session.inputs(), &spec.name) => {
                        let mut tensor = Tensor::<f16>::new(&allocator, &spec.shape[..])?;
                        tensor.extract_tensor_mut().1.fill(f16::ZERO);
                        binding.bind_input(spec.name.as_str(), &tensor)?;
                        Slot::F16(tensor)
                    }
                    Element::F32 => {
                        let mut tensor = Tensor::<f32>::new(&allocator, &spec.shape[..])?;
                        tensor.extract_tensor_mut().1.fill(0.0);
                        binding.bind_input(spec.name.as_str(), &tensor)?;
                        Slot::F32(tensor)
                    }
                    Element::U8 => {
                        let mut tensor = Tensor::<u8>::new(&allocator, &spec.shape[..])?;
                        tensor.extract_tensor_mut().1.fill(0);
                        binding.bind_input(spec.name.as_str(), &tensor)?;
                        Slot::U8(tensor)
                    }
                });
            }
            let mut outputs = Vec::new();
            for spec in &self.outputs {
                outputs.push(if is_half(session.outputs(), &spec.name) {
                    let mut tensor = Tensor::<f16>::new(&allocator, &spec.shape[..])?;
                    binding.bind_output(spec.name.as_str(), &mut tensor)?;
                    Found::F16(tensor)
                } else {
                    let mut tensor = Tensor::<f32>::new(&allocator, &spec.shape[..])?;
                    binding.bind_output(spec.name.as_str(), &mut tensor)?;
                    Found::F32(tensor)
                });
            }
            Ok((binding, inputs, outputs))
        };
        let (binding, inputs, outputs) = made().map_err(|error| self.failed(&error))?;
        Ok(OrtState {
            plan: self,
            session,
            binding,
            inputs,
            outputs,
        })
    }
}

impl Network for OrtState {
    fn inputs(&self) -> &[TensorSpec] {
        &self.plan.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.plan.outputs
    }

    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn share(&self) -> Result<Box<dyn Network>, InferError> {
        let state = Arc::clone(&self.plan).state();
        Ok(Box::new(state.map_err(|_| InferError::Engine)?))
    }

    fn run_into(
        &mut self,
        inputs: &[Input<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        check_sizes((&self.plan.inputs, &self.plan.outputs), inputs, outputs)?;
        for (slot, input) in self.inputs.iter_mut().zip(inputs) {
            match (slot, input) {
                (Slot::F32(tensor), Input::F32(values)) => {
                    tensor.extract_tensor_mut().1.copy_from_slice(values);
                }
                (Slot::F16(tensor), Input::F32(values)) => {
                    tensor.extract_tensor_mut().1.convert_from_f32_slice(values);
                }
                (Slot::U8(tensor), Input::U8(values)) => {
                    tensor.extract_tensor_mut().1.copy_from_slice(values);
                }
                _ => return Err(InferError::Engine),
            }
        }
        self.session
            .run_binding(&self.binding)
            .map_err(|_| InferError::Engine)?;
        for (i, (tensor, slot)) in self.outputs.iter().zip(outputs).enumerate() {
            match tensor {
                Found::F32(tensor) => slot.copy_from_slice(tensor.extract_tensor().1),
                Found::F16(tensor) => tensor.extract_tensor().1.convert_to_f32_slice(slot),
            }
            check_finite(i, slot)?;
        }
        Ok(())
    }
}
