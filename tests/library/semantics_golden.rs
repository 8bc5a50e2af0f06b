//! The encoders of motion and of keypoints against stored outputs of their training code.

use std::path::Path;

use glam::{Vec2, Vec3};
use poised::base::limits::MOTION_SAMPLES;
use poised::base::tensors;
use poised::lift::window::RayKeypoint;
use poised::motion::ENCODER_FILE;
use poised::motion::encoder::{Encoders, JointSamples, KeypointSamples};
use poised::skeleton::JOINTS;

const CASES: usize = 8;
const WIDTH: usize = 384;

/// Largest difference allowed, relative to the largest number.
const TOLERANCE: f32 = 1e-4;

struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    fn read() -> Self {
        let path = folder().join("golden.safetensors");
        let bytes = std::fs::read(path).expect("stored with the encoders");
        Self { bytes }
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Box<[f32]> {
        let file = tensors::open(&self.bytes).expect("a safetensors file");
        tensors::numbers(&file, name, shape).expect("as export.py writes it")
    }

    fn joints(&self, name: &str) -> Vec<Box<JointSamples>> {
        let numbers = self.numbers(name, &[CASES, MOTION_SAMPLES, JOINTS, 3]);
        numbers
            .chunks_exact(MOTION_SAMPLES * JOINTS * 3)
            .map(|case| {
                let mut out = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
                for (joint, xyz) in out
                    .as_flattened_mut()
                    .iter_mut()
                    .zip(case.as_chunks::<3>().0)
                {
                    *joint = Vec3::from_array(*xyz);
                }
                out
            })
            .collect()
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/dictionary"))
}

fn encoders() -> Encoders {
    Encoders::read(&folder().join(ENCODER_FILE)).expect("it ships")
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |most, value| most.max(value.abs()))
}

#[test]
fn motion_is_embedded_and_pulled_to_a_phrase_as_in_training() {
    let (golden, encoders) = (Golden::read(), encoders());
    let embeddings = golden.numbers("motion.embedding", &[CASES, WIDTH]);
    let targets = golden.numbers("motion.target", &[CASES, WIDTH]);
    let mut space = encoders.motion.workspace();
    let mut gradient = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
    let cases = golden
        .joints("motion.joints")
        .into_iter()
        .zip(golden.joints("motion.gradient"));
    for (case, (joints, wanted)) in cases.enumerate() {
        let row = case * WIDTH..(case + 1) * WIDTH;
        let (embedding, target) = (&embeddings[row.clone()], &targets[row]);
        let got = encoders.motion.embed(&joints, &mut space).expect("finite");
        let apart = largest(got.iter().zip(embedding).map(|(a, b)| a - b));
        assert!(apart < TOLERANCE, "case {case}: embedding {apart}");
        let misalignment = encoders
            .motion
            .misalignment(&joints, target, &mut space, &mut gradient)
            .expect("finite");
        let cosine: f32 = embedding.iter().zip(target).map(|(a, b)| a * b).sum();
        assert!((misalignment - (1.0 - cosine)).abs() < TOLERANCE);
        let numbers = |g: &JointSamples| -> Vec<f32> {
            g.as_flattened().iter().flat_map(Vec3::to_array).collect()
        };
        let (got, wanted) = (numbers(&gradient), numbers(&wanted));
        let size = largest(wanted.iter().copied());
        let apart = largest(got.iter().zip(&wanted).map(|(a, b)| a - b));
        assert!(
            size > 1e-4,
            "case {case}: a gradient of zero proves nothing"
        );
        assert!(
            apart < TOLERANCE * size,
            "case {case}: gradient {apart} of {size}"
        );
    }
}

#[test]
fn keypoints_are_embedded_as_in_training() {
    let (golden, encoders) = (Golden::read(), encoders());
    let embeddings = golden.numbers("rays.embedding", &[CASES, WIDTH]);
    let inputs = golden.numbers("rays.input", &[CASES, MOTION_SAMPLES, JOINTS, 3]);
    let mut space = encoders.rays.workspace();
    for case in 0..CASES {
        let mut samples: Box<KeypointSamples> =
            Box::new([[RayKeypoint::default(); JOINTS]; MOTION_SAMPLES]);
        let numbers = &inputs[case * MOTION_SAMPLES * JOINTS * 3..];
        for (keypoint, [u, v, confidence]) in samples
            .as_flattened_mut()
            .iter_mut()
            .zip(numbers.as_chunks::<3>().0)
        {
            *keypoint = RayKeypoint {
                ray: Vec2::new(*u, *v),
                visibility: *confidence,
            };
        }
        let got = encoders
            .rays
            .embed(&samples, &mut space)
            .expect("a person is seen");
        let wanted = &embeddings[case * WIDTH..(case + 1) * WIDTH];
        let apart = largest(got.iter().zip(wanted).map(|(a, b)| a - b));
        assert!(apart < TOLERANCE, "case {case}: {apart}");
    }
}

/// A moved joint, with the heading and size of the body held fixed, changes the
/// misalignment as the gradient says: checked along the gradient, where it is steepest.
#[test]
fn the_gradient_of_the_shipped_encoder_is_that_of_central_differences() {
    let (golden, encoders) = (Golden::read(), encoders());
    let targets = golden.numbers("motion.target", &[CASES, WIDTH]);
    let mut space = encoders.motion.workspace();
    let mut gradient = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
    for (case, joints) in golden.joints("motion.joints").into_iter().enumerate() {
        let target = &targets[case * WIDTH..(case + 1) * WIDTH];
        encoders
            .motion
            .misalignment(&joints, target, &mut space, &mut gradient)
            .expect("finite");
        // Wrists neither turn the body's frame nor set its size.
        let (time, joint) = (0..MOTION_SAMPLES)
            .flat_map(|time| [13, 16].map(|joint| (time, joint)))
            .max_by(|a, b| {
                gradient[a.0][a.1]
                    .length()
                    .total_cmp(&gradient[b.0][b.1].length())
            })
            .expect("there are samples");
        let slope = gradient[time][joint];
        let direction = slope.normalize();
        let mut at = |step_m: f32| {
            let mut moved = joints.clone();
            moved[time][joint] += step_m * direction;
            let mut unused = Box::new([[Vec3::ZERO; JOINTS]; MOTION_SAMPLES]);
            f64::from(
                encoders
                    .motion
                    .misalignment(&moved, target, &mut space, &mut unused)
                    .expect("finite"),
            )
        };
        // Richardson's step takes the cubic term out, which a step wide enough for f32 has.
        let central =
            |h: f32, at: &mut dyn FnMut(f32) -> f64| (at(h) - at(-h)) / (2.0 * f64::from(h));
        let (coarse, fine) = (central(0.04, &mut at), central(0.02, &mut at));
        let wanted = (4.0 * fine - coarse) / 3.0;
        let got = f64::from(slope.length());
        assert!(
            (got - wanted).abs() < 5e-3 * wanted.abs().max(1e-3),
            "case {case}: {got} {wanted}"
        );
    }
}
