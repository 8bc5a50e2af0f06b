//! The final layers: features of the backbone and of the image to 17 joints and a sigma each.
//!
//! ```text
//! hidden    = relu(lift f + image g)          each part may be missing
//! y         = joints hidden                   [17, 3] metres, root-relative, rotated frame
//! log sigma = log_sigma hidden                [17] ln metres, per axis
//! ```
//!
//! Small enough to be applied, and later trained, in plain Rust. Stored as
//! `head.safetensors`, every tensor `f32`, weights `[out, in]`.

use glam::Vec3;

use crate::base::limits::{IMAGE_FEATURES, LIFT_FEATURES};
use crate::base::tensors::{self, TensorError};
use crate::pose::HeadTag;
use crate::skeleton::JOINTS;
use crate::sys::simd::{add_rows, rows_times};

/// Width of the hidden layer.
pub const HIDDEN: usize = LIFT_FEATURES;

/// Bounds of a sigma, metres.
const SIGMA_RANGE_M: (f32, f32) = (0.005, 1.0);

/// What can be wrong with a head file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The file, or a tensor of it.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An unknown tensor.
    #[error("unknown tensor {name} in the head")]
    Unknown {
        /// Its name.
        name: String,
    },
}

/// A linear layer, `y = W x + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Rows `[out, in]`, row-major.
    pub weight: Box<[f32]>,
    /// One for each output.
    pub bias: Box<[f32]>,
}

impl Linear {
    /// Adds `W x + b` to `sum`, which has one place for each output.
    ///
    /// # Panics
    ///
    /// The lengths do not fit, or there are more outputs than a head has.
    pub fn add_to(&self, x: &[f32], sum: &mut [f32]) {
        let mut product = [0.0; HIDDEN];
        let product = &mut product[..sum.len()];
        rows_times(&self.weight, x, &self.bias, product);
        for (sum, product) in sum.iter_mut().zip(product) {
            *sum += *product;
        }
    }
}

/// A person's joints around the pelvis, in the rotated frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadOutput {
    /// Joints relative to joint 0, metres.
    pub joints_m: [Vec3; JOINTS],
    /// Standard deviation of each joint per axis, metres.
    pub sigmas_m: [f32; JOINTS],
}

/// The final layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Backbone features to hidden.
    pub lift: Linear,
    /// Image features to hidden, where the head has learned from them.
    pub image: Option<Linear>,
    /// Hidden to joints.
    pub joints: Linear,
    /// Hidden to the logarithm of sigma.
    pub log_sigma: Linear,
    /// Which head this is.
    pub tag: HeadTag,
}

impl Head {
    /// Reads a factory head.
    ///
    /// # Errors
    ///
    /// Names the tensor that is missing, unknown, of another shape or type, or
    /// holds a number that is not finite.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, HeadError> {
        let file = tensors::open(bytes)?;
        let has_image = file.names().iter().any(|name| name.starts_with("image."));
        let linear = |weight, bias, outputs, inputs| {
            Ok::<_, HeadError>(Linear {
                weight: tensors::numbers(&file, weight, &[outputs, inputs])?,
                bias: tensors::numbers(&file, bias, &[outputs])?,
            })
        };
        let head = Self {
            lift: linear("lift.weight", "lift.bias", HIDDEN, LIFT_FEATURES)?,
            image: has_image
                .then(|| linear("image.weight", "image.bias", HIDDEN, IMAGE_FEATURES))
                .transpose()?,
            joints: linear("joints.weight", "joints.bias", 3 * JOINTS, HIDDEN)?,
            log_sigma: linear("log_sigma.weight", "log_sigma.bias", JOINTS, HIDDEN)?,
            tag: HeadTag::default(),
        };
        let known = ["lift", "image", "joints", "log_sigma"];
        for name in file.names() {
            let (layer, part) = name.split_once('.').unwrap_or((name, ""));
            if !known.contains(&layer) || !["weight", "bias"].contains(&part) {
                return Err(HeadError::Unknown {
                    name: name.to_owned(),
                });
            }
        }
        Ok(head)
    }

    /// Applies the head.
    ///
    /// Image features are left out where this head has not learned from them.
    /// `None` if nothing is left to go by, or where an output is not finite.
    pub fn apply(
        &self,
        features: Option<&[f32; LIFT_FEATURES]>,
        image_features: Option<&[f32; IMAGE_FEATURES]>,
    ) -> Option<HeadOutput> {
        let mut hidden = [0.0; HIDDEN];
        if !self.hidden_into(features, image_features, &mut hidden) {
            return None;
        }
        self.output_of(&hidden)
    }

    /// What the image adds to the hidden layer; zeros where there is none, or where this head has not learned from it.
    pub fn image_part(&self, image_features: Option<&[f32; IMAGE_FEATURES]>) -> [f32; HIDDEN] {
        let mut part = [0.0; HIDDEN];
        if let Some((image, features)) = self.image.as_ref().zip(image_features) {
            image.add_to(features, &mut part);
        }
        part
    }

    /// The hidden layer before the rectifier, of the backbone's features and of what the image adds
    /// ([`Self::image_part`]). `None` if a number is not finite.
    pub fn hidden_of(
        &self,
        features: &[f32; LIFT_FEATURES],
        image_part: &[f32; HIDDEN],
    ) -> Option<[f32; HIDDEN]> {
        let mut hidden = *image_part;
        self.lift.add_to(features, &mut hidden);
        // Before the rectifier: the larger of NaN and zero is zero.
        hidden
            .iter()
            .all(|value| value.is_finite())
            .then_some(hidden)
    }

    /// Fills the hidden layer as it is before the rectifier. False where nothing is left to go
    /// by, or where a number is not finite.
    pub fn hidden_into(
        &self,
        features: Option<&[f32; LIFT_FEATURES]>,
        image_features: Option<&[f32; IMAGE_FEATURES]>,
        hidden: &mut [f32; HIDDEN],
    ) -> bool {
        let image = self.image.as_ref().zip(image_features);
        if features.is_none() && image.is_none() {
            return false;
        }
        hidden.fill(0.0);
        if let Some(features) = features {
            self.lift.add_to(features, hidden);
        }
        if let Some((image, features)) = image {
            image.add_to(features, hidden);
        }
        // Before the rectifier: the larger of NaN and zero is zero.
        hidden.iter().all(|value| value.is_finite())
    }

    /// Joints and sigmas of a hidden layer before the rectifier; `None` if one is not finite.
    pub fn output_of(&self, hidden: &[f32; HIDDEN]) -> Option<HeadOutput> {
        let hidden = hidden.map(|value| value.max(0.0));
        let joints_m = self.joints_behind(&hidden);
        let mut log_sigmas = [0.0; JOINTS];
        self.log_sigma.add_to(&hidden, &mut log_sigmas);
        let finite = joints_m.iter().all(|joint| joint.is_finite())
            && log_sigmas.iter().all(|value| value.is_finite());
        finite.then(|| HeadOutput {
            joints_m,
            sigmas_m: log_sigmas.map(|log| log.exp().clamp(SIGMA_RANGE_M.0, SIGMA_RANGE_M.1)),
        })
    }

    /// Joints alone of a hidden layer before the rectifier, relative to joint 0, metres.
    pub fn joints_of(&self, hidden: &[f32; HIDDEN]) -> [Vec3; JOINTS] {
        self.joints_behind(&hidden.map(|value| value.max(0.0)))
    }

    fn joints_behind(&self, rectified: &[f32; HIDDEN]) -> [Vec3; JOINTS] {
        let mut joints = [0.0; 3 * JOINTS];
        self.joints.add_to(rectified, &mut joints);
        let root = Vec3::new(joints[0], joints[1], joints[2]);
        std::array::from_fn(|joint| Vec3::from_slice(&joints[3 * joint..3 * joint + 3]) - root)
    }

    /// Adds to `features` the gradient of a loss with respect to the backbone's features, from
    /// that with respect to the joints (relative to joint 0) at a hidden layer before the rectifier.
    pub fn features_gradient(
        &self,
        hidden: &[f32; HIDDEN],
        joints: &[Vec3; JOINTS],
        features: &mut [f32; LIFT_FEATURES],
    ) {
        let mut outputs = [0.0; 3 * JOINTS];
        for (numbers, joint) in outputs
            .as_chunks_mut::<3>()
            .0
            .iter_mut()
            .zip(joints)
            .skip(1)
        {
            *numbers = joint.to_array();
        }
        // Joint 0 is taken off all others.
        let root: Vec3 = joints[1..].iter().sum();
        outputs[..3].copy_from_slice(&(-root).to_array());
        let mut of_hidden = [0.0; HIDDEN];
        add_rows(&self.joints.weight, &outputs, &mut of_hidden);
        for (of_hidden, hidden) in of_hidden.iter_mut().zip(hidden) {
            if *hidden <= 0.0 {
                *of_hidden = 0.0;
            }
        }
        add_rows(&self.lift.weight, &of_hidden, features);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;

    /// Names, shapes and values of a head file, to be changed and written.
    pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

    /// A head of small random numbers.
    pub(crate) fn random_tensors(seed: u64, image: bool) -> Tensors {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tensors = Tensors::new();
        for (layer, outputs, inputs) in [
            ("lift", HIDDEN, LIFT_FEATURES),
            ("image", HIDDEN, IMAGE_FEATURES),
            ("joints", 3 * JOINTS, HIDDEN),
            ("log_sigma", JOINTS, HIDDEN),
        ] {
            if layer == "image" && !image {
                continue;
            }
            let mut values = |count| (0..count).map(|_| 0.1 * (random.f32() - 0.5)).collect();
            let weight = (vec![outputs, inputs], values(outputs * inputs));
            let bias = (vec![outputs], values(outputs));
            tensors.insert(format!("{layer}.weight"), weight);
            tensors.insert(format!("{layer}.bias"), bias);
        }
        tensors
    }

    pub(crate) fn file_of(tensors: &Tensors) -> Vec<u8> {
        let bytes: BTreeMap<&str, Vec<u8>> = tensors
            .iter()
            .map(|(name, (_, values))| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (name.as_str(), bytes.collect())
            })
            .collect();
        let views = tensors.iter().map(|(name, (shape, _))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), &bytes[name.as_str()]);
            (name.as_str(), view.unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn the_head_is_what_its_formula_says() {
        let tensors = random_tensors(4, true);
        let head = Head::from_safetensors(&file_of(&tensors)).unwrap();
        let mut random = fastrand::Rng::with_seed(9);
        let f: [f32; LIFT_FEATURES] = std::array::from_fn(|_| random.f32() - 0.5);
        let g: [f32; IMAGE_FEATURES] = std::array::from_fn(|_| random.f32() - 0.5);
        let layer = |name: &str, x: &[f64]| -> Vec<f64> {
            let weight = &tensors[&format!("{name}.weight")].1;
            let bias = &tensors[&format!("{name}.bias")].1;
            weight
                .chunks(x.len())
                .zip(bias)
                .map(|(row, &bias)| {
                    let products = row.iter().zip(x).map(|(&w, &x)| f64::from(w) * x);
                    f64::from(bias) + products.sum::<f64>()
                })
                .collect()
        };
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        for (with_lift, with_image) in [(true, true), (true, false), (false, true)] {
            let mut hidden = vec![0.0; HIDDEN];
            for (on, add) in [
                (with_lift, layer("lift", &wide(&f))),
                (with_image, layer("image", &wide(&g))),
            ] {
                if on {
                    hidden.iter_mut().zip(add).for_each(|(h, add)| *h += add);
                }
            }
            for value in &mut hidden {
                *value = value.max(0.0);
            }
            let joints = layer("joints", &hidden);
            let log_sigma = layer("log_sigma", &hidden);
            let got = head
                .apply(with_lift.then_some(&f), with_image.then_some(&g))
                .unwrap();
            for joint in 0..JOINTS {
                for axis in 0..3 {
                    let want = joints[3 * joint + axis] - joints[axis];
                    let got = f64::from(got.joints_m[joint][axis]);
                    assert!((got - want).abs() < 1e-5, "{joint} {axis}: {got} {want}");
                }
                let want = log_sigma[joint].exp().clamp(0.005, 1.0);
                assert!((f64::from(got.sigmas_m[joint]) - want).abs() < 1e-5);
            }
        }
        assert_eq!(head.apply(None, None), None);
    }

    #[test]
    fn the_gradient_of_the_features_is_that_of_the_joints() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let mut random = fastrand::Rng::with_seed(2);
        let f: [f32; LIFT_FEATURES] = std::array::from_fn(|_| random.f32() - 0.5);
        let slopes: [Vec3; JOINTS] =
            std::array::from_fn(|_| Vec3::new(random.f32(), -random.f32(), random.f32()));
        let value = |f: &[f32; LIFT_FEATURES]| -> f64 {
            let joints = head.apply(Some(f), None).unwrap().joints_m;
            let products = joints.iter().zip(&slopes).skip(1);
            products
                .map(|(joint, slope)| f64::from(joint.dot(*slope)))
                .sum()
        };
        let mut hidden = [0.0; HIDDEN];
        assert!(head.hidden_into(Some(&f), None, &mut hidden));
        let mut gradient = [0.0; LIFT_FEATURES];
        head.features_gradient(&hidden, &slopes, &mut gradient);
        for at in (0..LIFT_FEATURES).step_by(17) {
            let step = 1e-3;
            let moved = |sign: f32| {
                let mut moved = f;
                moved[at] += sign * step;
                value(&moved)
            };
            let want = (moved(1.0) - moved(-1.0)) / f64::from(2.0 * step);
            let got = f64::from(gradient[at]);
            assert!((want - got).abs() < 2e-3, "{at}: {got}, want {want}");
        }
    }

    #[test]
    fn a_head_without_image_layer_passes_image_features_over() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let f = [0.3; LIFT_FEATURES];
        let g = [0.5; IMAGE_FEATURES];
        assert_eq!(head.apply(Some(&f), Some(&g)), head.apply(Some(&f), None));
        assert_eq!(head.apply(None, Some(&g)), None);
        assert_eq!(head.apply(Some(&[f32::NAN; LIFT_FEATURES]), None), None);
    }

    #[test]
    fn what_is_wrong_with_a_head_file_is_named() {
        let error = |tensors: &Tensors| {
            let error = Head::from_safetensors(&file_of(tensors)).unwrap_err();
            error.to_string()
        };
        let good = random_tensors(1, true);
        let mut tensors = good.clone();
        tensors.remove("joints.bias");
        assert_eq!(error(&tensors), "tensor joints.bias [51] is missing");
        let mut tensors = good.clone();
        tensors.remove("image.bias");
        assert_eq!(error(&tensors), "tensor image.bias [256] is missing");
        let mut tensors = good.clone();
        tensors.insert("joints.bias".into(), (vec![17, 3], vec![0.0; 51]));
        assert_eq!(
            error(&tensors),
            "joints.bias is F32 [17, 3]: must be F32 or F16 [51]"
        );
        let mut tensors = good.clone();
        tensors.get_mut("lift.weight").unwrap().1[300] = f32::NAN;
        assert_eq!(error(&tensors), "lift.weight[300] = NaN: must be finite");
        let mut tensors = good;
        tensors.insert("depth.bias".into(), (vec![1], vec![0.0]));
        assert!(error(&tensors).contains("depth.bias"));
        let error = Head::from_safetensors(b"{}").unwrap_err();
        assert_eq!(error.to_string(), "not a safetensors file");
    }

    #[test]
    fn a_hidden_number_of_zero_or_less_passes_no_gradient_on() {
        let head = Head::from_safetensors(&file_of(&random_tensors(4, false))).unwrap();
        let mut gradient = [0.0; LIFT_FEATURES];
        let mut hidden = [0.0; HIDDEN];
        hidden[1..].fill(-1.0);
        head.features_gradient(&hidden, &[Vec3::ONE; JOINTS], &mut gradient);
        assert!(gradient.iter().all(|number| number.abs() < f32::EPSILON));
    }

    #[test]
    fn every_layer_has_a_weight_and_a_bias_and_nothing_else() {
        let mut tensors = random_tensors(1, false);
        tensors.insert("lift.scale".into(), (vec![1], vec![1.0]));
        let error = Head::from_safetensors(&file_of(&tensors)).unwrap_err();
        assert_eq!(error.to_string(), "unknown tensor lift.scale in the head");
    }
}
