//! What each fuzz target does with its bytes. `fuzz_targets/` gives it those of
//! libFuzzer; `tests/library/mutated.rs` gives it valid inputs, changed at random.
//!
//! Each says whether it took the input. Refusing is always right; a panic never is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use poised::adapt::control::Control;
use poised::adapt::state::State;
use poised::base::clock::Clock;
use poised::base::limits::{EXERCISE_BYTES_MAX, LIFT_FEATURES};
use poised::camera::{ros_yaml, toml_file};
use poised::capture::convert::{jpeg_into, jpeg_size, png_into};
use poised::daemon::settings::Settings;
use poised::engine::cache;
use poised::engine::models::Description;
use poised::lab::eval::clips;
use poised::lift::head::Head;
use poised::motion::complete::CompletionNet;
use poised::motion::denoiser::{Denoiser, DenoiserSpace};
use poised::motion::dictionary::Dictionary;
use poised::motion::encoder::Encoders;
use poised::motion::hint::Hints;
use poised::motion::session::LABEL_BYTES_MAX;
use poised::output::export::mcap_read::RecordingInMcap;
use poised::output::read;
use poised::output::record::Recording;
use poised::output::session::Request;

/// A peer may send anything: a message, or none.
pub fn wire(bytes: &[u8]) -> bool {
    read::decode(bytes).is_ok()
}

/// Whatever stands in a configuration: read and checked, or refused.
pub fn config(text: &str) -> bool {
    toml::from_str::<Settings>(text).is_ok_and(|settings| settings.validate().is_ok())
}

/// Whatever stands in a calibration, in either format; and one that is accepted
/// takes every pixel to a finite ray or to none.
pub fn calibration(text: &str) -> bool {
    let parsed = [
        toml_file::parse(text, Path::new("fuzz.toml")).ok(),
        ros_yaml::parse(text).ok(),
    ];
    let taken = parsed.iter().any(Option::is_some);
    for calibration in parsed.into_iter().flatten() {
        let (width_px, height_px) = calibration.size_px();
        #[expect(clippy::cast_precision_loss, reason = "any place will do")]
        let (width, height) = (width_px as f32, height_px as f32);
        for x_px in [0.0, 0.5 * width, width, f32::NAN] {
            if let Some(ray) = calibration.ray(x_px, 0.25 * height) {
                assert!(ray.is_finite(), "{x_px} gives {ray}");
            }
        }
    }
    taken
}

/// Whatever stands in a `model.toml`.
pub fn model(text: &str) -> bool {
    /// A folder of this process.
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let name = format!("poised-fuzz-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        folder
    });
    std::fs::write(FOLDER.join("model.toml"), text).expect("a temporary file");
    Description::read(&FOLDER).is_ok()
}

/// Whatever is called the final layers; and layers that are read give finite
/// numbers or none.
pub fn head(bytes: &[u8]) -> bool {
    let Ok(head) = Head::from_safetensors(bytes) else {
        return false;
    };
    if let Some(output) = head.apply(Some(&[0.5; LIFT_FEATURES]), None) {
        assert!(output.joints_m.iter().all(|joint| joint.is_finite()));
        assert!(output.sigmas_m.iter().all(|sigma| sigma.is_finite()));
    }
    true
}

/// Whatever is called a dictionary, for an encoder of the name and sizes that the
/// mutated one has; and one that is read is written as the same bytes.
pub fn dictionary(bytes: &[u8]) -> bool {
    let Ok(dictionary) = Dictionary::from_bytes(bytes, "fuzz", 8, 3) else {
        return false;
    };
    assert_eq!(
        Dictionary::from_bytes(&dictionary.to_bytes(), "fuzz", 8, 3).ok(),
        Some(dictionary)
    );
    true
}

/// Whatever is called the encoders of motion; and with ones that are read a motion has a direction of finite numbers,
/// or none.
pub fn encoder(bytes: &[u8]) -> bool {
    let Ok(encoders) = Encoders::from_bytes(bytes) else {
        return false;
    };
    let mean = vec![0.0; encoders.prior.rank()];
    let motion = encoders.prior.window_of(&mean);
    let mut space = encoders.motion.workspace();
    if let Some(direction) = encoders.motion.embed(&motion, &mut space) {
        assert!(direction.iter().all(|number| number.is_finite()));
    }
    true
}

/// Whatever is called the network that completes hidden joints, for a basis as large as the one that ships.
pub fn completion(bytes: &[u8]) -> bool {
    CompletionNet::from_bytes(bytes, 96).is_ok()
}

/// Whatever is called a motion denoiser: one that is read gives finite poses or none.
pub fn denoiser(bytes: &[u8]) -> bool {
    let Ok(net) = Denoiser::from_bytes(bytes) else {
        return false;
    };
    let mut space = DenoiserSpace::default();
    if let Some(poses) = net.forward(&mut space) {
        assert!(poses.as_flattened().iter().all(|place| place.is_finite()));
    }
    true
}

/// Whatever is called a recording.
pub fn recording(bytes: &[u8]) -> bool {
    Recording::of(bytes, Path::new("fuzz.poses"))
        .is_ok_and(|mut recording| recording.all(|sample| sample.is_ok()))
}

/// Whatever is called a recording in MCAP.
pub fn mcap(bytes: &[u8]) -> bool {
    let path = Path::new("fuzz.mcap");
    let Ok(inside) = RecordingInMcap::of(bytes, path) else {
        return false;
    };
    Recording::of(inside, path).is_ok_and(|mut recording| recording.all(|sample| sample.is_ok()))
}

/// Whatever is called a state of adaptation, for networks of the name that the mutated one has; and one that is read
/// is written as one that reads the same.
pub fn state(bytes: &[u8]) -> bool {
    let Ok(state) = State::from_bytes(bytes, "fuzz") else {
        return false;
    };
    assert!(state.mean.iter().all(|weight| weight.is_finite()));
    assert!(state.up.is_finite() && state.noise.is_finite());
    // Room to go on counting.
    assert!(state.steps < u64::MAX / 2 && state.generation < u32::MAX);
    assert_eq!(
        State::from_bytes(&state.to_bytes("fuzz"), "fuzz").ok(),
        Some(state)
    );
    true
}

/// Whatever a peer sends as a hint: taken or refused, and counted once.
pub fn hint(bytes: &[u8]) -> bool {
    let hints = Hints::new(vec!["walk".to_owned()], Arc::new(Clock::live()));
    hints.receive(bytes);
    let (taken, refused) = hints.counts();
    assert_eq!(taken + refused, 1);
    taken == 1
}

/// Whatever a peer sends as a command: refused and counted, or not.
pub fn control(bytes: &[u8]) -> bool {
    let control = Control::default();
    control.receive(bytes, None);
    assert!(control.refused() <= 1);
    control.refused() == 0
}

/// Whatever a peer asks about sessions: read, within its bounds, or refused.
pub fn session(bytes: &[u8]) -> bool {
    let read = Request::read(bytes);
    if let Ok(request) = &read {
        assert!(request.label.len() <= LABEL_BYTES_MAX);
        let exercise = request.exercise.as_deref().unwrap_or_default();
        assert!(exercise.len() <= EXERCISE_BYTES_MAX);
        assert!(!request.label.contains(char::is_control));
    }
    read.is_ok()
}

/// Whatever lies in the folder of engines.
pub fn engine(bytes: &[u8]) -> bool {
    cache::key_of(bytes.to_vec()).is_ok()
}

/// Whatever is called an index of recorded clips.
pub fn clips_index(text: &str) -> bool {
    clips::parse_index(text.as_bytes(), Path::new("fuzz/index.json")).is_ok()
}

/// Whatever is called a recorded clip; and one that is read has finite numbers, and
/// detections no larger than the pixels it may have.
pub fn clip(bytes: &[u8]) -> bool {
    let Ok(frames) = clips::parse_clip(bytes, 30.0, Path::new("fuzz.safetensors")) else {
        return false;
    };
    for frame in &frames {
        for detection in frame.detections() {
            assert!(detection.bounds.area().is_finite());
        }
        for joint in frame.people.iter().flat_map(|p| p.truth.joints_camera_m) {
            assert!(joint.is_finite(), "{joint}");
        }
    }
    true
}

/// Whatever a camera or a folder calls a JPEG or a PNG; and one that decodes has
/// as many bytes as its size asks for.
pub fn image(bytes: &[u8]) -> bool {
    let mut out = Vec::new();
    let mut taken = false;
    if let Ok((width_px, height_px)) = jpeg_size(bytes)
        && width_px * height_px <= 1 << 20
        && jpeg_into(bytes, width_px, height_px, &mut out).is_ok()
    {
        assert_eq!(out.len(), (width_px * height_px * 3) as usize);
        taken = true;
    }
    if png_into(bytes, 64, 64, &mut out).is_ok() {
        assert_eq!(out.len(), 64 * 64 * 3);
        taken = true;
    }
    taken
}
