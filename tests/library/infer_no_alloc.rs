//! Looking for people stays off the heap once the networks are loaded: all but
//! the engine's own run, which is replaced here by one that copies fixed numbers.
//!
//! The counting allocator adds one to a number of this thread for every call.

use std::path::Path;

use crate::common::heap;
use crate::common::models::{FINDER, MOVENET, PERSON, SIMCC, YOLO, folder, small};
use poised::base::clock::MonoNs;
use poised::camera::{Calibration, Distortion, Origin};
use poised::detect::{PeopleNet, PeopleSettings, VisionNet};
use poised::engine::models::Folder;
use poised::engine::{Engine, InferError, Input, Network, TensorSpec};
use poised::frame::{Frame, FrameMeta, PixelFormat};
use poised::pose::People;

/// Heap calls that one run of a shipped network may cost: tract makes its
/// tensors again on each run. May fall, and rises only with a network that has more layers: the person network's third
/// block at stride 16 costs 20.
const TRACT_CALLS: [(&str, u64); 2] = [("person", 640), ("finder", 500)];

#[test]
fn tract_keeps_to_its_budget() {
    for (name, budget) in TRACT_CALLS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("models")
            .join(name);
        let mut network = VisionNet::open(&Engine::tract(), &path).unwrap();
        network.run().unwrap();
        let calls = heap::heap_calls(|| network.run().unwrap());
        assert!(
            calls <= budget,
            "{name}: {calls} heap calls, {budget} allowed"
        );
        assert_eq!(heap::heap_calls(|| network.run().unwrap()), calls, "{name}");
    }
}

/// An engine whose outputs are always the same.
struct Fixed {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    values: Vec<Vec<f32>>,
}

impl Network for Fixed {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }
    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }
    fn engine(&self) -> &'static str {
        "fixed"
    }
    fn share(&self) -> Result<Box<dyn Network>, InferError> {
        Err(InferError::Engine)
    }
    fn run_into(&mut self, _: &[Input<'_>], out: &mut [Vec<f32>]) -> Result<(), InferError> {
        for (slot, values) in out.iter_mut().zip(&self.values) {
            slot.copy_from_slice(values);
        }
        Ok(())
    }
}

/// A network of the test folder whose output is set by index: output, place, value.
fn fixed(name: &str, description: &str, set: impl Fn(&mut [Vec<f32>])) -> VisionNet {
    let models = tempfile::tempdir().unwrap();
    let folder = Folder::open(&folder(models.path(), &small(name), description)).unwrap();
    let described = folder.description.outputs.iter();
    let outputs: Vec<TensorSpec> = described.map(TensorSpec::from).collect();
    let mut values: Vec<Vec<f32>> = outputs.iter().map(|o| vec![0.0; o.count()]).collect();
    set(&mut values);
    let engine = Fixed {
        inputs: Vec::new(),
        outputs,
        values,
    };
    VisionNet::with_network(&folder, Box::new(engine)).unwrap()
}

/// Three people, seen by the finder.
fn finder() -> VisionNet {
    fixed("finder", FINDER, |out| {
        out[0].fill(-9.0);
        for cell in [24 * 10 + 4, 24 * 12 + 12, 24 * 11 + 20] {
            out[0][cell] = 3.0;
        }
        out[1].fill(3.0);
    })
}

/// Keypoints spread over the crop.
fn person() -> VisionNet {
    fixed("person", PERSON, |out| {
        for k in 0..17 {
            out[0][k * 48 * 36 + (k * 2 + 6) * 36 + 8 + k] = 20.0;
        }
        out[1].fill(2.0);
    })
}

fn frames() -> Vec<Frame> {
    [
        PixelFormat::Rgb24,
        PixelFormat::Yuyv,
        PixelFormat::Nv12,
        PixelFormat::Grey,
    ]
    .into_iter()
    .flat_map(|format| [(640, 480), (160, 120), (1920, 1080)].map(|size| (format, size)))
    .map(|(format, (width_px, height_px))| Frame {
        meta: FrameMeta {
            sequence: 0,
            capture: MonoNs(0),
            width_px,
            height_px,
            format,
        },
        bytes: vec![77; format.image_bytes(width_px, height_px)],
    })
    .collect()
}

fn lens(width_px: u32, height_px: u32) -> Calibration {
    let distortion = Distortion::PlumbBob {
        k1: -0.1,
        k2: 0.0,
        p1: 0.0,
        p2: 0.0,
        k3: 0.0,
    };
    let k = Calibration::assumed(width_px, height_px).intrinsics();
    Calibration::new((width_px, height_px), k, distortion, Origin::Assumed).unwrap()
}

/// Heap calls over all formats and sizes, with and without lens distortion, and
/// the most people seen.
fn calls_of(mut net: PeopleNet) -> (u64, usize) {
    let mut people = People::new();
    let (mut calls, mut most) = (0, 0);
    for frame in &frames() {
        let (width, height) = (frame.meta.width_px, frame.meta.height_px);
        for camera in [Calibration::assumed(width, height), lens(width, height)] {
            for _ in 0..5 {
                calls += heap::heap_calls(|| {
                    net.step(frame, &camera, &mut people).unwrap();
                });
                most = most.max(people.len());
            }
        }
    }
    (calls, most)
}

#[test]
fn detector_and_person_network_stay_off_the_heap() {
    let settings = PeopleSettings {
        finder_every_frames: 2,
        ..PeopleSettings::default()
    };
    let (calls, most) = calls_of(PeopleNet::new(person(), Some(finder()), settings));
    assert_eq!(calls, 0);
    assert!(most >= 3, "{most} people");
}

#[test]
fn every_decoder_stays_off_the_heap() {
    let movenet = fixed("movenet", MOVENET, |out| {
        for (i, value) in (0_u8..).zip(&mut out[0]) {
            *value = f32::from(i * 4 + 40) / 255.0;
        }
    });
    let simcc = fixed("simcc", SIMCC, |out| {
        for k in 0..17 {
            out[0][k * 96 + 2 * k] = 0.8;
            out[1][k * 128 + 3 * k] = 0.8;
        }
    });
    for net in [movenet, simcc] {
        let net = PeopleNet::new(net, None, PeopleSettings::default());
        assert_eq!(calls_of(net), (0, 1));
    }
    let yolo = fixed("yolo", YOLO, |out| {
        for i in 0..3 {
            out[0][i] = [10.0, 30.0, 50.0][i];
            out[0][3 + i] = 32.0;
            out[0][6 + i] = 15.0;
            out[0][9 + i] = 40.0;
            out[0][12 + i] = 0.9;
            for keypoint in 0..17 {
                out[0][(7 + 3 * keypoint) * 3 + i] = 0.9;
            }
        }
    });
    let net = PeopleNet::new(yolo, None, PeopleSettings::default());
    assert_eq!(calls_of(net), (0, 3));
}
