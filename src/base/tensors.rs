//! Numbers out of safetensors files, checked as they are read.

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// What can be wrong with a file of tensors, or with one of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// Not a safetensors file.
    #[error("not a safetensors file")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor is missing.
    #[error("tensor {name} {want:?} is missing")]
    Missing {
        /// Its name.
        name: String,
        /// Its shape.
        want: Vec<usize>,
    },
    /// A tensor has another shape or type.
    #[error("{name} is {got_type} {got:?}: must be F32 or F16 {want:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Type found.
        got_type: String,
        /// Shape found.
        got: Vec<usize>,
        /// Shape wanted.
        want: Vec<usize>,
    },
    /// A number is NaN or infinite.
    #[error("{name}[{index}] = {value}: must be finite")]
    NotFinite {
        /// Its tensor.
        name: String,
        /// Place in the tensor, row-major.
        index: usize,
        /// The number.
        value: f32,
    },
}

/// Opens a file of tensors.
///
/// # Errors
///
/// [`TensorError::Format`].
pub fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, TensorError> {
    Ok(SafeTensors::deserialize(bytes)?)
}

/// The numbers of tensor `name`, which has exactly the shape `want`, row-major.
/// Half precision is widened.
///
/// # Errors
///
/// The tensor is missing, of another shape or type, or holds a number that is not finite.
pub fn numbers(
    file: &SafeTensors<'_>,
    name: &str,
    want: &[usize],
) -> Result<Box<[f32]>, TensorError> {
    let Ok(view) = file.tensor(name) else {
        return Err(TensorError::Missing {
            name: name.to_owned(),
            want: want.to_vec(),
        });
    };
    let values = (view.shape() == want).then(|| widened(&view)).flatten();
    let Some(values) = values else {
        return Err(TensorError::Shape {
            name: name.to_owned(),
            got_type: format!("{:?}", view.dtype()),
            got: view.shape().to_vec(),
            want: want.to_vec(),
        });
    };
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(TensorError::NotFinite {
            name: name.to_owned(),
            index,
            value: values[index],
        }),
        None => Ok(values),
    }
}

/// `None` for a type other than single and half precision.
fn widened(view: &TensorView<'_>) -> Option<Box<[f32]>> {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => {
            let words = data.as_chunks::<4>().0.iter();
            Some(words.map(|&bytes| f32::from_le_bytes(bytes)).collect())
        }
        Dtype::F16 => {
            let words = data.as_chunks::<2>().0.iter();
            Some(
                words
                    .map(|&bytes| half(u16::from_le_bytes(bytes)))
                    .collect(),
            )
        }
        _ => None,
    }
}

/// IEEE 754 half precision to single, exact.
pub fn half(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_as_it_is() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65_504.0),
        ] {
            assert!((half(bits) - value).abs() < 1e-12, "{bits:04x}");
        }
        assert!(half(0x7c01).is_nan());
    }

    fn file(dtype: Dtype, data: &[u8]) -> Vec<u8> {
        let view = TensorView::new(dtype, vec![2], data).unwrap();
        safetensors::serialize([("a", view)], None).unwrap()
    }

    #[test]
    fn a_tensor_is_widened_and_checked() {
        let bytes = file(Dtype::F16, &[0x00, 0x3c, 0x00, 0xc0]);
        let tensors = open(&bytes).unwrap();
        assert_eq!(*numbers(&tensors, "a", &[2]).unwrap(), [1.0, -2.0]);
        let error = |name: &str, want: &[usize]| numbers(&tensors, name, want).unwrap_err();
        assert_eq!(error("b", &[2]).to_string(), "tensor b [2] is missing");
        assert_eq!(
            error("a", &[1, 2]).to_string(),
            "a is F16 [2]: must be F32 or F16 [1, 2]"
        );
        let bytes = file(Dtype::F16, &[0x00, 0x3c, 0x00, 0x7c]);
        let tensors = open(&bytes).unwrap();
        let error = numbers(&tensors, "a", &[2]).unwrap_err();
        assert_eq!(error.to_string(), "a[1] = inf: must be finite");
        let bytes = file(Dtype::I16, &[0; 4]);
        let tensors = open(&bytes).unwrap();
        let error = numbers(&tensors, "a", &[2]).unwrap_err();
        assert!(error.to_string().starts_with("a is I16 [2]"));
        assert_eq!(
            open(b"{}").unwrap_err().to_string(),
            "not a safetensors file"
        );
    }
}
