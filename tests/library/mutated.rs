//! The fuzz targets without a fuzzer: valid inputs, changed at random from fixed
//! seeds, so that every run tries the same ones.
//!
//! What has to be refused is refused; nothing panics. `fuzz/` looks further.

#![allow(clippy::print_stderr, reason = "an input that is the end is shown")]

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::path::Path;

use fastrand::Rng;
use poised::adapt::Command;
use poised::adapt::state::State;
use poised::adapt::train::WEIGHTS;
use poised::camera::Calibration;
use poised::engine::cache;
use poised::engine::select::Precision;
use poised::motion::dictionary::{Dictionary, Entry, NewEntry};
use poised::output::export;
use poised::output::record::{Recorder, Recording};

/// What often is the end of a reader of text.
const WORDS: [&str; 20] = [
    "nan",
    "-nan",
    "inf",
    "-inf",
    "0",
    "-1",
    "1e308",
    "-1e308",
    "1e-320",
    "4294967295",
    "9223372036854775807",
    "18446744073709551616",
    "\"\"",
    "[]",
    "{}",
    "true",
    "[[[[[[[[",
    "\n---\n",
    "\"\\u0000\"",
    "\u{feff}",
];

/// What often is the end of a reader of bytes: lengths without end, markers, numbers that are none.
const BYTES: [&[u8]; 12] = [
    &[0xFF; 9],
    &[0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0x7B, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00],
    &[0x9F, 0x9F, 0x9F, 0x9F],
    &[0xBF],
    &[0xFA, 0x7F, 0xC0, 0x00, 0x00],
    &[0xFB, 0x7F, 0xF0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0xFF, 0xD8],
    &[0xFF, 0xC4, 0x00, 0x02],
    &[0xFF, 0xDA],
    &[0x00, 0x00, 0x00, 0x00],
    &[0x7F, 0xFF, 0xFF, 0xFF],
];

fn read(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A place in a whole of `length`; every other one near the front, where headers are.
fn place(rng: &mut Rng, length: usize) -> usize {
    let most = if rng.bool() { length } else { length.min(600) };
    rng.usize(..=most)
}

/// A part of at most 40 bytes.
fn part(rng: &mut Rng, length: usize) -> std::ops::Range<usize> {
    let start = place(rng, length);
    start..(start + rng.usize(..=40)).min(length)
}

/// One change.
fn change(rng: &mut Rng, bytes: &mut Vec<u8>, spice: &[u8], other: &[u8]) {
    let at = place(rng, bytes.len());
    match rng.u8(..8) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        3 => {
            bytes.drain(part(rng, bytes.len()));
        }
        4 => {
            let again = bytes[part(rng, bytes.len())].to_vec();
            bytes.splice(at..at, again);
        }
        5 => {
            let end = (at + spice.len()).min(bytes.len());
            let end = if rng.bool() { end } else { at };
            bytes.splice(at..end, spice.iter().copied());
        }
        6 => {
            let foreign = &other[part(rng, other.len())];
            bytes.splice(at..at, foreign.iter().copied());
        }
        // An end too early, now and then.
        _ if rng.u8(..4) == 0 => bytes.truncate(at),
        _ => {}
    }
}

/// In text, a number becomes another one: the change that gets furthest.
fn other_number(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let starts: Vec<usize> = (1..bytes.len())
        .filter(|&at| is_number(&bytes[at]) && !is_number(&bytes[at - 1]))
        .collect();
    if let Some(&start) = rng.choice(&starts) {
        let length = bytes[start..]
            .iter()
            .take_while(|byte| is_number(byte))
            .count();
        let word = rng.choice(WORDS).unwrap_or("0");
        bytes.splice(start..start + length, word.bytes());
    }
}

/// Says, when a round is the end of the test, which it was.
struct Round<'a> {
    number: u32,
    input: &'a [u8],
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = &self.input[..self.input.len().min(4000)];
            let text = shown.escape_ascii();
            eprintln!(
                "round {} of {} bytes: {text}",
                self.number,
                self.input.len()
            );
        }
    }
}

/// Gives `target` each input as it is, which it takes, and then `rounds` that were
/// changed. Some of those must be taken and some refused, or they try nothing.
fn mutate(inputs: &[Vec<u8>], rounds: u32, is_text: bool, target: impl Fn(&[u8]) -> bool) {
    for (number, input) in (0..).zip(inputs) {
        let round = Round { number, input };
        assert!(target(round.input), "input {number} is taken as it is");
    }
    let (mut taken, mut refused) = (0, 0);
    for number in 0..rounds {
        let mut rng = Rng::with_seed(number.into());
        let mut bytes = rng.choice(inputs).unwrap().clone();
        let other = rng.choice(inputs).unwrap();
        for _ in 0..rng.u8(1..6) {
            if is_text && rng.bool() {
                other_number(&mut rng, &mut bytes);
            } else {
                let spice = if is_text {
                    rng.choice(WORDS).unwrap().as_bytes()
                } else {
                    rng.choice(BYTES).unwrap()
                };
                change(&mut rng, &mut bytes, spice, other);
            }
        }
        let round = Round {
            number,
            input: &bytes,
        };
        if target(round.input) {
            taken += 1;
        } else {
            refused += 1;
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

fn text(target: fn(&str) -> bool) -> impl Fn(&[u8]) -> bool {
    move |bytes| target(&String::from_utf8_lossy(bytes))
}

#[test]
fn a_changed_message_is_a_message_or_refused() {
    let inputs = [read("tests/golden/pose_v1.cbor")];
    mutate(&inputs, 20_000, false, targets::wire);
}

#[test]
fn a_changed_configuration_is_read_or_refused() {
    let whole = "[camera]\nname = \"front\"\n[camera.v4l2]\ndevice = \"/dev/video0\"\nwidth_px = 640\n\
        height_px = 480\nrate_hz = 30\n[calibration]\nfile = \"/etc/front.toml\"\n\
        [models]\nperson = \"person\"\nfinder = \"finder\"\n[people]\npeople_max = 8\nfinder_every_frames = 10\n\
        confidence_min = 0.15\n[track]\nhits_to_confirm = 2\nkeep_s = 1.0\n\
        [zenoh]\nsite = \"clinic\"\ndevice = \"kiosk-3\"\nlisten = [\"tcp/127.0.0.1:7447\"]\n";
    let drawn = "[camera]\nname = \"drawn\"\n[camera.synthetic]\nscenario = \"crowd\"\nwidth_px = 320\nheight_px = 240\n\
        rate_hz = 30\nseed = 1\npeople = 3\nstature_m = 1.7\nheight_m = 1.8\ndistance_m = 3.5\npitch_deg = 10.0\n\
        roll_deg = 0.5\nazimuth_deg = -20.0\nfov_deg = 70.0\nformat = \"yuyv\"\n";
    let inputs = [whole.into(), drawn.into()];
    mutate(&inputs, 10_000, true, text(targets::config));
}

#[test]
fn a_changed_calibration_gives_finite_rays_or_is_refused() {
    let ros = "image_width: 640\nimage_height: 480\ncamera_name: 'head camera'\ncamera_matrix:\n  rows: 3\n  cols: 3\n\
        \x20 data: [430.15, 0.0, 306.69, 0.0,\n         430.53, 227.22,   # second row\n         0., 0., 1.]\n\
        distortion_model: plumb_bob\ndistortion_coefficients:\n  data: [-3.37e-01, 0.1117, -0.00058, 0.00188, 0]\n";
    let fisheye = "image_width: 1280\nimage_height: 800\ncamera_matrix:\n  data:\n  - 380.0\n  - 0\n  - 640.0\n  - 0\n\
        \x20 - 381.0\n  - 400.0\n  - 0\n  - 0\n  - 1\ndistortion_model: \"equidistant\"\n\
        distortion_coefficients: [0.02, -0.003, 0.001, 0]\n";
    let opencv = "%YAML:1.0\n---\nimage_width: 640\nimage_height: 480\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   \
        cols: 3\n   dt: d\n   data: [ 430.15, 0., 306.69, 0., 430.53, 227.22, 0., 0., 1. ]\n\
        distortion_coefficients: !!opencv-matrix\n   data: [ 0.1, -0.2, 1e-3, 2e-3, 0.05, 0.01, -0.02, 0.003 ]\n";
    let kalibr = "cam0:\n  camera_model: pinhole\n  distortion_coeffs: &k [0.1, -0.2, 1e-3, 0]\n  \
        distortion_model: radtan\n  intrinsics: [430, 431, 306, 227]\n  resolution: [640, 480]\n  again: *k\n";
    let inputs = [
        read("calibration/pose2sim_beam_cam01.toml"),
        read("calibration/pose2sim_beam_cam03.toml"),
        ros.into(),
        fisheye.into(),
        opencv.into(),
        kalibr.into(),
    ];
    mutate(&inputs, 10_000, true, text(targets::calibration));
}

#[test]
fn a_changed_description_of_a_network_is_read_or_refused() {
    let inputs = [
        read("models/person/model.toml"),
        read("models/finder/model.toml"),
        read("models/lifter/model.toml"),
        read("examples/movenet/thunder.toml"),
    ];
    mutate(&inputs, 3_000, true, text(targets::model));
}

#[test]
fn changed_final_layers_give_finite_numbers_or_are_refused() {
    let inputs = [read("models/lifter/head.safetensors")];
    mutate(&inputs, 1_500, false, targets::head);
}

#[test]
fn changed_encoders_give_finite_numbers_or_are_refused() {
    let inputs = [read("models/dictionary/encoder.safetensors")];
    mutate(&inputs, 300, false, targets::encoder);
}

#[test]
fn a_changed_completion_is_read_or_refused() {
    let inputs = [read("models/dictionary/completion.safetensors")];
    mutate(&inputs, 1_000, false, targets::completion);
}

#[test]
fn a_changed_denoiser_gives_finite_poses_or_is_refused() {
    let inputs = [read("models/dictionary/denoiser.safetensors")];
    mutate(&inputs, 1_000, false, targets::denoiser);
}

#[test]
fn a_changed_dictionary_is_whole_or_refused() {
    let mut dictionary = Dictionary::empty("fuzz", 8, 3);
    for (place, phrase) in ["walk", "squat", "wave with both hands"]
        .into_iter()
        .enumerate()
    {
        let mut direction = vec![0.0; 8];
        direction[place] = 1.0;
        let new = NewEntry {
            entry: Entry {
                phrase: phrase.into(),
                clips: 2,
                windows: 7,
                people: 1,
                level: 0.5,
                ..Entry::default()
            },
            text: direction.clone(),
            motion: direction.clone(),
            rays: direction,
            mean: vec![0.5; 3],
            factor: vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0],
        };
        dictionary.add(new).unwrap();
    }
    mutate(&[dictionary.to_bytes()], 5_000, false, targets::dictionary);
}

#[test]
fn a_changed_recording_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.poses");
    let message = read("tests/golden/pose_v1.cbor");
    let sample = poised::output::read::decode(&message).unwrap().sample;
    let mut recorder = Recorder::create(&path, &Calibration::assumed(640, 480)).unwrap();
    for _ in 0..3 {
        assert_eq!(recorder.add(&sample).unwrap(), 0);
    }
    recorder.finish().unwrap();
    mutate(
        &[std::fs::read(&path).unwrap()],
        5_000,
        false,
        targets::recording,
    );
    let mut file = Vec::new();
    export::mcap::write(&mut Recording::open(&path).unwrap(), &mut file).unwrap();
    mutate(&[file], 3_000, false, targets::mcap);
}

#[test]
fn a_changed_state_of_adaptation_is_whole_or_refused() {
    let state = State {
        steps: 7200,
        generation: 3,
        mean: vec![1e-3; WEIGHTS].into(),
        up: glam::Vec3::new(0.1, -0.9, -0.2),
        noise: 0.006,
        frozen: None,
    };
    mutate(&[state.to_bytes("fuzz")], 2_000, false, targets::state);
}

#[test]
fn a_changed_hint_is_taken_or_refused() {
    let hint = |person: Option<u64>| {
        let mut cbor = minicbor::Encoder::new(Vec::new());
        cbor.map(2 + u64::from(person.is_some())).unwrap();
        cbor.str("label").unwrap().str("walk").unwrap();
        cbor.str("for_s").unwrap().f64(2.5).unwrap();
        if let Some(person) = person {
            cbor.str("person").unwrap().u64(person).unwrap();
        }
        cbor.into_writer()
    };
    mutate(&[hint(None), hint(Some(7))], 10_000, false, targets::hint);
}

#[test]
fn a_changed_command_is_taken_or_refused() {
    let inputs = Command::ALL.map(|command| {
        let mut cbor = minicbor::Encoder::new(Vec::new());
        cbor.map(2).unwrap().str("id").unwrap().u8(1).unwrap();
        cbor.str("command").unwrap().str(command.name()).unwrap();
        cbor.into_writer()
    });
    mutate(&inputs, 10_000, false, targets::control);
}

#[test]
fn a_changed_request_for_a_session_is_taken_or_refused() {
    let mut cbor = minicbor::Encoder::new(Vec::new());
    cbor.map(4).unwrap();
    for (key, text) in [
        ("command", "start"),
        ("exercise", "squat"),
        ("label", "station 2"),
    ] {
        cbor.str(key).unwrap().str(text).unwrap();
    }
    cbor.str("person").unwrap().u8(7).unwrap();
    mutate(&[cbor.into_writer()], 10_000, false, targets::session);
}

#[test]
fn a_changed_engine_is_whole_or_refused() {
    let network: (&[u8], &[usize]) = (b"onnx", &[1, 3, 192, 144]);
    let key = cache::key(
        "person",
        network,
        "TensorRT 10.3",
        "Orin, 8.7",
        Precision::Fp16,
    );
    let whole = cache::to_bytes(&key, &[7; 300]).unwrap();
    mutate(&[whole], 10_000, false, targets::engine);
}

#[test]
fn a_changed_index_of_clips_is_read_or_refused() {
    let index = r#"[{"id": "a", "group": "g", "subject": "s", "file": "a.safetensors", "fps": 29.97,
        "keypoints": "detected", "convention": "SMPL", "actions": ["walk"],
        "camera": {"width_px": 640, "height_px": 480,
        "intrinsics": {"fx_px": 500.0, "fy_px": 501.0, "cx_px": 319.5, "cy_px": 239.5},
        "distortion": {"model": "plumb_bob", "k1": -0.2, "k2": 0.03, "p1": 0.0, "p2": 0.0, "k3": 0.0},
        "mount": {"height_m": 2.0, "down_deg": 20.0, "roll_deg": 1.5}}},
        {"id": "b", "group": "h", "subject": "s", "file": "b.safetensors", "fps": 30,
        "keypoints": "projected", "convention": "ours", "camera": {"width_px": 64, "height_px": 48,
        "intrinsics": {"fx_px": 90, "fy_px": 90, "cx_px": 31.5, "cy_px": 23.5},
        "distortion": {"model": "none"}}}]"#;
    mutate(&[index.into()], 10_000, true, text(targets::clips_index));
}

#[test]
fn a_changed_clip_is_read_or_refused() {
    use safetensors::{Dtype, tensor::TensorView};
    let floats = |count: usize| -> Vec<u8> { 0.75_f32.to_le_bytes().repeat(count) };
    let (keypoints, joints) = (floats(3 * 2 * 17 * 3), floats(3 * 2 * 17 * 3));
    let times: Vec<u8> = [0.0_f32, 0.03, 0.07]
        .iter()
        .flat_map(|time| time.to_le_bytes())
        .collect();
    let ones = vec![1; 3 * 2 * 17];
    let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
    let tensors = [
        ("keypoints", view(Dtype::F32, &[3, 2, 17, 3], &keypoints)),
        ("joints", view(Dtype::F32, &[3, 2, 17, 3], &joints)),
        ("known", view(Dtype::U8, &[3, 2, 17], &ones)),
        ("visible", view(Dtype::U8, &[3, 2, 17], &ones)),
        ("time_s", view(Dtype::F32, &[3], &times)),
    ];
    let whole = safetensors::serialize(tensors, None).unwrap();
    for end in 0..whole.len() {
        assert!(
            !targets::clip(&whole[..end]),
            "{end} of {} bytes",
            whole.len()
        );
    }
    mutate(&[whole], 5_000, false, targets::clip);
}

#[test]
fn a_changed_image_decodes_whole_or_is_refused() {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 64, 64);
    encoder.set_color(png::ColorType::Rgba);
    let mut writer = encoder.write_header().unwrap();
    let pixels: Vec<u8> = (0..64 * 64 * 4_u32).map(|at| at.to_le_bytes()[1]).collect();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    let inputs = [
        png,
        read("tests/data/grey_64x64.jpg"),
        read("tests/data/ramp_48x32.jpg"),
        read("tests/data/ramp_320x240_422.jpg"),
    ];
    mutate(&inputs, 10_000, false, targets::image);
}
