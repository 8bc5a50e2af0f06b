//! CPU engine: tract, with static shapes.
//!
//! A [`TractPlan`] is a loaded network, read-only and shared between threads; a
//! [`TractState`] is one thread's. tract allocates its intermediate tensors on each
//! run, so a run allocates; our side of it does not.

use std::path::Path;
use std::sync::Arc;

use tract_onnx::prelude::{
    Datum, DatumType, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable,
    Tensor, TractResult, TypedModel, TypedSimplePlan, TypedSimpleState, tvec,
};
use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_hir::internal::Factoid;
use tract_onnx::tract_hir::prelude::IntoTValue;

use super::network::{InferError, Input, Network, TensorSpec, check_finite, check_sizes};
use crate::engine::models::{Element, Folder, ModelError, one_line};

/// Name of this engine.
pub const ENGINE: &str = "tract";

/// A loaded network: optimised graph and weights. Shared, read-only.
#[derive(Debug)]
pub struct TractPlan {
    graph: Arc<TypedSimplePlan>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

/// One thread's use of a [`TractPlan`].
#[derive(Debug)]
pub struct TractState {
    shared: Arc<TractPlan>,
    session: TypedSimpleState,
    /// The input tensors, filled in place as long as the engine keeps no
    /// reference to them between runs.
    inputs: Vec<Arc<Tensor>>,
}

impl TractPlan {
    /// Loads the network of a checked model folder.
    ///
    /// # Errors
    ///
    /// [`ModelError::Operator`], [`ModelError::Tensor`] or [`ModelError::Engine`].
    pub fn open(folder: &Folder) -> Result<Arc<Self>, ModelError> {
        let description = &folder.description;
        let input = TensorSpec::from(&description.input);
        let outputs = description.outputs.iter().map(TensorSpec::from).collect();
        Self::load(&folder.network_path(), &folder.network, input, outputs)
    }

    /// Loads an ONNX network from memory, checks that it has the tensors
    /// described and runs it once on zeros to see the shapes it really gives.
    ///
    /// `path` is used in messages only.
    ///
    /// # Errors
    ///
    /// As [`TractPlan::open`].
    pub fn load(
        path: &Path,
        onnx: &[u8],
        input: TensorSpec,
        outputs: Vec<TensorSpec>,
    ) -> Result<Arc<Self>, ModelError> {
        let engine = |error: &dyn std::fmt::Display| ModelError::Engine {
            path: path.to_owned(),
            engine: ENGINE,
            message: one_line(&error),
        };
        // `{error:#}` joins the chain of causes into one text.
        let failed = |error: tract_onnx::prelude::TractError| engine(&format_args!("{error:#}"));

        let proto = tract_onnx::onnx()
            .proto_model_for_read(&mut &onnx[..])
            .map_err(failed)?;
        check_known(path, &proto)?;
        let mut model = tract_onnx::onnx()
            .model_for_proto_model(&proto)
            .map_err(failed)?;
        check_input(path, &model, &input)?;
        select_outputs(path, &mut model, &outputs)?;

        let element = input_type(&model, &input);
        let fact = InferenceFact::dt_shape(element, &input.shape);
        model.set_input_fact(0, fact).map_err(failed)?;
        let mut typed: TypedModel = model.into_typed().map_err(failed)?;
        if is_half(&typed) {
            // Processors that compute in 16 bits are few; this way the ends are 32 bits wide as well.
            let widened = FloatPrecisionTranslator::new(DatumType::F16, DatumType::F32);
            typed.transform(&widened).map_err(failed)?;
        }
        let typed = typed.into_optimized().map_err(failed)?;
        let plan = typed.into_runnable().map_err(failed)?;
        let plan = Arc::new(Self {
            graph: plan,
            inputs: vec![input],
            outputs,
        });
        plan.check_outputs(path).map_err(|problem| match problem {
            Problem::Engine(error) => failed(error),
            Problem::Tensor(error) => error,
        })?;
        Ok(plan)
    }

    /// A state for one thread.
    ///
    /// # Errors
    ///
    /// [`ModelError::Engine`] where the engine has no state to give.
    pub fn state(self: &Arc<Self>) -> Result<TractState, ModelError> {
        let failed = |error: tract_onnx::prelude::TractError| ModelError::Engine {
            path: "network".into(),
            engine: ENGINE,
            message: one_line(&format_args!("{error:#}")),
        };
        let state = self.graph.spawn().map_err(failed)?;
        let inputs = self
            .inputs
            .iter()
            .map(|spec| Tensor::zero_dt(datum_type(spec.element), &spec.shape).map(Arc::new))
            .collect::<TractResult<Vec<_>>>()
            .map_err(failed)?;
        Ok(TractState {
            shared: Arc::clone(self),
            session: state,
            inputs,
        })
    }

    fn check_outputs(&self, path: &Path) -> Result<(), Problem> {
        let mut zeros = tvec![];
        for spec in &self.inputs {
            let tensor = Tensor::zero_dt(datum_type(spec.element), &spec.shape)?;
            zeros.push(tensor.into_tvalue());
        }
        let found = self.graph.run(zeros)?;
        for (spec, value) in self.outputs.iter().zip(&found) {
            if value.shape() != spec.shape || value.datum_type() != DatumType::F32 {
                return Err(Problem::Tensor(ModelError::Tensor {
                    path: path.to_owned(),
                    tensor: format!("output {}", spec.name),
                    want: spec.words(),
                    got: format!("{:?} {:?}", value.datum_type(), value.shape()).to_lowercase(),
                }));
            }
        }
        Ok(())
    }
}

enum Problem {
    Engine(tract_onnx::prelude::TractError),
    Tensor(ModelError),
}

impl From<tract_onnx::prelude::TractError> for Problem {
    fn from(error: tract_onnx::prelude::TractError) -> Self {
        Self::Engine(error)
    }
}

const fn datum_type(element: Element) -> DatumType {
    match element {
        Element::F32 => DatumType::F32,
        Element::U8 => DatumType::U8,
    }
}

/// Names the first operator the engine does not have, before it fails over its shapes.
fn check_known(path: &Path, proto: &tract_onnx::pb::ModelProto) -> Result<(), ModelError> {
    let known = tract_onnx::onnx().op_register.0;
    let nodes = proto.graph.iter().flat_map(|graph| &graph.node);
    for node in nodes {
        if !known.contains_key(&node.op_type) {
            return Err(ModelError::Operator {
                path: path.to_owned(),
                operator: node.op_type.clone(),
                engine: ENGINE,
            });
        }
    }
    Ok(())
}

fn check_input(path: &Path, model: &InferenceModel, want: &TensorSpec) -> Result<(), ModelError> {
    let mismatch = |got: String| ModelError::Tensor {
        path: path.to_owned(),
        tensor: format!("input {}", want.name),
        want: want.words(),
        got,
    };
    let [outlet] = model.inputs[..] else {
        return Err(mismatch(format!("{} inputs", model.inputs.len())));
    };
    let node = &model.nodes[outlet.node];
    if node.name != want.name {
        return Err(mismatch(format!("input {:?}", node.name)));
    }
    let fact = &node.outputs[outlet.slot].fact;
    if let Some(found) = fact.datum_type.concretize()
        && found != datum_type(want.element)
        && (found, want.element) != (DatumType::F16, Element::F32)
    {
        return Err(mismatch(format!("{found:?}").to_lowercase()));
    }
    // A dimension the file leaves open (a symbol) is set by the description.
    let same_rank = fact
        .shape
        .rank()
        .concretize()
        .is_none_or(|rank| usize::try_from(rank) == Ok(want.shape.len()));
    let same_sides = fact.shape.dims().zip(&want.shape).all(|(found, &side)| {
        found
            .concretize()
            .and_then(|dim| dim.to_i64().ok())
            .is_none_or(|dim| usize::try_from(dim) == Ok(side))
    });
    if same_rank && same_sides {
        Ok(())
    } else {
        Err(mismatch(format!("shape {:?}", fact.shape)))
    }
}

/// The type that the network's input has: 16 bits where the network has them, else as described.
fn input_type(model: &InferenceModel, want: &TensorSpec) -> DatumType {
    let found = model.inputs.first().and_then(|outlet| {
        let fact = &model.nodes[outlet.node].outputs[outlet.slot].fact;
        fact.datum_type.concretize()
    });
    found.unwrap_or_else(|| datum_type(want.element))
}

/// Whether any number in the network has 16 bits.
fn is_half(model: &TypedModel) -> bool {
    let mut outputs = model.nodes.iter().flat_map(|node| &node.outputs);
    outputs.any(|output| output.fact.datum_type == DatumType::F16)
}

/// Keeps the described outputs only, in the order of the description.
fn select_outputs(
    path: &Path,
    model: &mut InferenceModel,
    outputs: &[TensorSpec],
) -> Result<(), ModelError> {
    let mut outlets = Vec::with_capacity(outputs.len());
    for spec in outputs {
        let outlet = model
            .outputs
            .iter()
            .find(|outlet| model.outlet_label(**outlet) == Some(spec.name.as_str()))
            .ok_or_else(|| ModelError::Tensor {
                path: path.to_owned(),
                tensor: format!("output {}", spec.name),
                want: spec.words(),
                got: format!(
                    "outputs {:?}",
                    model
                        .outputs
                        .iter()
                        .filter_map(|outlet| model.outlet_label(*outlet))
                        .collect::<Vec<_>>()
                ),
            })?;
        outlets.push(*outlet);
    }
    model.outputs = outlets;
    Ok(())
}

impl TractState {
    fn run(&mut self, outputs: &mut [Vec<f32>]) -> TractResult<()> {
        let mut values = tvec![];
        for input in &self.inputs {
            values.push(Arc::clone(input).into_tvalue());
        }
        let found = self.session.run(values)?;
        for (value, slot) in found.iter().zip(outputs) {
            slot.copy_from_slice(value.try_as_plain_ram()?.as_slice::<f32>()?);
        }
        Ok(())
    }
}

/// Copies `values` into a tensor; into a new one where the engine still holds the old.
fn fill<T: Datum + Copy>(tensor: &mut Arc<Tensor>, values: &[T]) -> TractResult<()> {
    if let Some(tensor) = Arc::get_mut(tensor) {
        let mut view = tensor.try_as_plain_ram_mut()?;
        view.as_slice_mut::<T>()?.copy_from_slice(values);
    } else {
        *tensor = Arc::new(Tensor::from_shape(tensor.shape(), values)?);
    }
    Ok(())
}

impl Network for TractState {
    fn inputs(&self) -> &[TensorSpec] {
        &self.shared.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.shared.outputs
    }

    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn share(&self) -> Result<Box<dyn Network>, InferError> {
        let state = self.shared.state().map_err(|_| InferError::Engine)?;
        Ok(Box::new(state))
    }

    fn run_into(
        &mut self,
        inputs: &[Input<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        check_sizes((&self.shared.inputs, &self.shared.outputs), inputs, outputs)?;
        for (tensor, input) in self.inputs.iter_mut().zip(inputs) {
            match input {
                Input::F32(values) => fill(tensor, values),
                Input::U8(values) => fill(tensor, values),
            }
            .map_err(|_| InferError::Engine)?;
        }
        self.run(outputs).map_err(|_| InferError::Engine)?;
        for (i, output) in outputs.iter().enumerate() {
            check_finite(i, output)?;
        }
        Ok(())
    }
}
