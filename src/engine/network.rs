//! What an engine has to be: tensors in, tensors out, nothing allocated by us.

use crate::engine::models::{Element, InputTensor, OutputTensor};

/// Why a frame gave no people. Small and without text, so it can be counted on the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// A network's output holds NaN or an infinity.
    #[error("output {output} of a network contains NaN or infinity")]
    NotFinite {
        /// Which output, in the order of `model.toml`.
        output: u8,
    },
    /// The engine failed in the middle of a run.
    #[error("the engine failed while running a network")]
    Engine,
    /// A tensor handed to an engine is not of the network's size or type.
    #[error("tensor {index} has {got} numbers, expected {want}")]
    Tensor {
        /// Which input or output.
        index: u8,
        /// Numbers handed over.
        got: u32,
        /// Numbers wanted.
        want: u32,
    },
    /// A frame holds fewer bytes than its format needs, or its sides are out of bounds.
    #[error("frame {sequence} has {got} of {want} bytes, or sides out of bounds")]
    Frame {
        /// Sequence number of the frame.
        sequence: u32,
        /// Bytes in the frame.
        got: u32,
        /// Bytes its format needs.
        want: u32,
    },
}

const _: () = assert!(
    size_of::<InferError>() <= 16,
    "errors travel by value on the hot path"
);

/// Name, shape and type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the network.
    pub name: String,
    /// Shape, batch first.
    pub shape: Vec<usize>,
    /// Type of its numbers.
    pub element: Element,
}

impl TensorSpec {
    /// How many numbers it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Type and shape for messages, as in `f32 [1, 3, 192, 144]`.
    pub fn words(&self) -> String {
        format!("{} {:?}", self.element.name(), self.shape)
    }
}

impl From<&InputTensor> for TensorSpec {
    fn from(input: &InputTensor) -> Self {
        Self {
            name: input.name.clone(),
            shape: input.shape.clone(),
            element: input.element,
        }
    }
}

impl From<&OutputTensor> for TensorSpec {
    fn from(output: &OutputTensor) -> Self {
        Self {
            name: output.name.clone(),
            shape: output.shape.clone(),
            element: Element::F32,
        }
    }
}

/// Values of an input tensor, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// 32-bit floating point.
    F32(&'a [f32]),
    /// Bytes.
    U8(&'a [u8]),
}

impl Input<'_> {
    /// How many numbers it holds.
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A loaded network as one thread uses it: an engine's state.
///
/// Shapes are fixed at loading. Engines may share weights between states.
pub trait Network: Send {
    /// The inputs, in the order `run_into` takes them.
    fn inputs(&self) -> &[TensorSpec];

    /// The outputs, in the order `run_into` fills them; always `f32`.
    fn outputs(&self) -> &[TensorSpec];

    /// Name of the engine.
    fn engine(&self) -> &'static str;

    /// Another use of the same network, for another thread; weights are shared.
    ///
    /// # Errors
    ///
    /// [`InferError::Engine`] where the engine has no room for another.
    fn share(&self) -> Result<Box<dyn Network>, InferError>;

    /// Runs the network once and copies its outputs into slots of exactly their size.
    ///
    /// # Errors
    ///
    /// [`InferError::Tensor`] where a slice has another size or type than the
    /// network, [`InferError::NotFinite`] where an output holds NaN or an
    /// infinity, [`InferError::Engine`] where the engine itself fails.
    fn run_into(
        &mut self,
        inputs: &[Input<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError>;
}

/// Checks sizes before a run, for engines.
pub(crate) fn check_sizes(
    network: (&[TensorSpec], &[TensorSpec]),
    inputs: &[Input<'_>],
    outputs: &[Vec<f32>],
) -> Result<(), InferError> {
    let (want_in, want_out) = network;
    let error = |index: usize, got: usize, want: usize| InferError::Tensor {
        index: small(index),
        got: count(got),
        want: count(want),
    };
    if inputs.len() != want_in.len() {
        return Err(error(inputs.len(), 0, 1));
    }
    if outputs.len() != want_out.len() {
        return Err(error(outputs.len(), 0, 1));
    }
    for (i, (input, want)) in inputs.iter().zip(want_in).enumerate() {
        let right_type = matches!(
            (input, want.element),
            (Input::F32(_), Element::F32) | (Input::U8(_), Element::U8)
        );
        let got = if right_type { input.len() } else { 0 };
        if got != want.count() {
            return Err(error(i, got, want.count()));
        }
    }
    for (i, (output, want)) in outputs.iter().zip(want_out).enumerate() {
        if output.len() != want.count() {
            return Err(error(i, output.len(), want.count()));
        }
    }
    Ok(())
}

/// Checks that every number is finite.
pub(crate) fn check_finite(index: usize, values: &[f32]) -> Result<(), InferError> {
    // Folding keeps the loop without branches, so that it vectorises: 0 * x is
    // NaN for NaN and for infinities, 0 for everything else.
    let sum: f32 = values.iter().map(|value| value * 0.0).sum();
    if sum.is_nan() {
        return Err(InferError::NotFinite {
            output: small(index),
        });
    }
    Ok(())
}

fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

pub(crate) fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_infinity_are_found_wherever_they_stand() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..9 {
                let mut values = [1.0e30_f32; 9];
                values[place] = bad;
                let error = check_finite(2, &values).unwrap_err();
                assert_eq!(error, InferError::NotFinite { output: 2 });
            }
        }
        check_finite(0, &[f32::MAX, f32::MIN, 0.0, -0.0]).unwrap();
    }

    #[test]
    fn a_tensor_of_another_size_or_type_is_refused() {
        let spec = [TensorSpec {
            name: "x".to_owned(),
            shape: vec![1, 4],
            element: Element::F32,
        }];
        let check = |input: Input<'_>, room: usize| {
            check_sizes((&spec, &spec), &[input], &[vec![0.0; room]])
        };
        check(Input::F32(&[0.0; 4]), 4).unwrap();
        assert!(check(Input::F32(&[0.0; 3]), 4).is_err());
        assert!(check(Input::U8(&[0; 4]), 4).is_err());
        assert!(check(Input::F32(&[0.0; 4]), 5).is_err());
    }
}
