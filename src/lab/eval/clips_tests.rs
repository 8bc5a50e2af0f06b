use std::borrow::Cow;

use super::*;

/// Bytes of a tensor of single precision, or of bytes.
enum Values {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

struct Tensor(Vec<usize>, Values);

impl safetensors::View for &Tensor {
    fn dtype(&self) -> Dtype {
        match self.1 {
            Values::F32(_) => Dtype::F32,
            Values::U8(_) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.1 {
            Values::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::U8(values) => values.as_slice().into(),
        }
    }

    fn data_len(&self) -> usize {
        self.data().len()
    }
}

/// Three frames of two people, tensors by name.
struct File(Vec<(&'static str, Tensor)>);

impl File {
    fn new() -> Self {
        let floats = |shape: Vec<usize>, value: f32| {
            let count = shape.iter().product();
            Tensor(shape, Values::F32(vec![value; count]))
        };
        let ones = Tensor(vec![3, 2, JOINTS], Values::U8(vec![1; 3 * 2 * JOINTS]));
        Self(vec![
            ("keypoints", floats(vec![3, 2, KEYPOINTS, 3], 0.5)),
            ("joints", floats(vec![3, 2, JOINTS, 3], 2.0)),
            ("known", ones),
            ("time_s", Tensor(vec![3], Values::F32(vec![0.0, 0.04, 0.1]))),
        ])
    }

    fn tensor(&mut self, name: &str) -> &mut Tensor {
        let found = self.0.iter_mut().find(|(known, _)| *known == name);
        &mut found.unwrap().1
    }

    fn set(mut self, name: &str, at: usize, value: f32) -> Self {
        match &mut self.tensor(name).1 {
            Values::F32(values) => values[at] = value,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small number of a test"
            )]
            Values::U8(values) => values[at] = value as u8,
        }
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self
    }

    fn read(&self) -> Result<Vec<Frame>, String> {
        let tensors = self.0.iter().map(|(name, tensor)| (*name, tensor));
        let bytes = safetensors::serialize(tensors, None).unwrap();
        parse_clip(&bytes, 25.0, Path::new("a.safetensors")).map_err(|error| whole(&error))
    }

    fn refused(&self) -> String {
        self.read().unwrap_err()
    }
}

/// An error and its causes, as the program says it.
fn whole(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

const INDEX: &str = r#"[{"id": "a", "group": "g", "subject": "s", "file": "a.safetensors", "fps": 25,
    "keypoints": "projected", "convention": "ours", "camera": {"width_px": 640, "height_px": 480,
    "intrinsics": {"fx_px": 500.0, "fy_px": 500.0, "cx_px": 319.5, "cy_px": 239.5},
    "distortion": {"model": "none"}, "mount": {"height_m": 2.0, "down_deg": 20.0}}}]"#;

fn index(from: &str, to: &str) -> Result<Vec<Entry>, String> {
    assert!(INDEX.contains(from), "{from}");
    let text = INDEX.replace(from, to);
    parse_index(text.as_bytes(), Path::new("index.json")).map_err(|error| whole(&error))
}

#[test]
fn a_clip_is_read_with_its_times_and_masks() {
    let frames = File::new().set("known", 3, 0.0).read().unwrap();
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[1].time, MonoNs(1_039_999_999));
    let person = &frames[0].people[0];
    assert!(!person.truth.known[3] && person.truth.known[4]);
    assert_eq!(person.truth.joints_camera_m[5], Vec3::splat(2.0));
    assert!(person.is_scored());
    assert!(person.truth.visible[2], "its keypoint is there");
    let frames = File::new().without("time_s").read().unwrap();
    assert_eq!(frames[2].time, MonoNs(1_080_000_000));
}

#[test]
fn who_has_no_keypoints_is_not_seen_and_whose_pelvis_is_unknown_not_scored() {
    let mut file = File::new().set("known", JOINTS, 0.0);
    for keypoint in 0..KEYPOINTS {
        file = file.set("keypoints", 3 * keypoint + 2, 0.0);
    }
    let frame = &file.read().unwrap()[0];
    assert_eq!(frame.detections().len(), 1);
    assert!(!frame.people[0].truth.visible[2] && frame.people[0].is_scored());
    assert!(!frame.people[1].is_scored());
    let bounds = frame.detections()[0].bounds;
    assert_eq!(frame.place_of(&bounds), Some(1));
}

#[test]
fn a_tensor_that_makes_no_sense_is_refused_with_place_value_and_range() {
    let file = || File::new();
    for (file, words) in [
        (file().without("keypoints"), "tensor keypoints [frames"),
        (
            file().without("joints"),
            "tensor joints [3, 2, 17, 3] is missing",
        ),
        (
            file().without("known"),
            "tensor known [3, 2, 17] is missing",
        ),
        (
            file().set("joints", 7, f32::NAN),
            "joints[7] = NaN: must be finite",
        ),
        (
            file().set("joints", JOINTS * 3, 1700.0),
            "frame 0, person 1: joints pelvis = [1700, 2, 2]: must be within 100 m; they are metres",
        ),
        (
            file().set("keypoints", 2, 1.5),
            "frame 0, person 0: keypoints nose confidence = 1.5: must be from 0 to 1",
        ),
        (
            file().set("keypoints", 3, 1e9),
            "left_eye x_px = 1000000000: must be from -163840",
        ),
        (file().set("known", 5, 2.0), "known[5] = 2: must be 0 or 1"),
        (file().set("time_s", 2, 0.04), "frame 2: time_s = 0.0399"),
        (
            file().set("time_s", 0, -1.0),
            "frame 0: time_s = -1: must be from 0 to 3600",
        ),
    ] {
        let message = file.refused();
        assert!(message.contains(words), "{message} has no {words:?}");
        assert!(message.starts_with("a.safetensors: "), "{message}");
    }
    let mut file = File::new();
    file.tensor("keypoints").0 = vec![1, 6, KEYPOINTS, 3];
    assert!(
        file.refused().contains("tensor joints [1, 6")
            || file.refused().contains("joints is F32 [3, 2, 17, 3]")
    );
    let mut file = File::new();
    let nine = vec![0.0; 9 * KEYPOINTS * 3];
    *file.tensor("keypoints") = Tensor(vec![1, 9, KEYPOINTS, 3], Values::F32(nine));
    assert!(
        file.refused()
            .contains("1 frames of 9 people: must be at least 1, of 1 to 8")
    );
}

#[test]
fn an_index_is_read_and_one_that_makes_no_sense_refused_with_clip_and_value() {
    let entry = &index("ours", "ours").unwrap()[0];
    assert_eq!(entry.calibration.size_px(), (640, 480));
    assert!(entry.calibration.mount().is_some());
    assert_eq!(entry.keypoints, Source::Projected);
    for (from, to, words) in [
        (
            "\"fps\": 25",
            "\"fps\": 0",
            "index.json: a: fps = 0: must be from 1 to 1000",
        ),
        (
            "\"g\"",
            "\"all\"",
            "a: group = \"all\": must be a name other than",
        ),
        (
            "a.safetensors",
            "../a",
            "a: file = \"../a\": must lie beside the index",
        ),
        ("projected", "guessed", "unknown variant `guessed`"),
        (
            "500.0, \"fy",
            "5.0, \"fy",
            "a: camera: intrinsics.fx_px = 5: must be from",
        ),
        (
            "\"down_deg\": 20.0",
            "\"down_deg\": 120.0",
            "a: camera: mount.down_deg = 120",
        ),
        ("\"height_px\"", "\"height\"", "unknown field `height`"),
        ("[{", "[", "index.json: "),
    ] {
        let message = index(from, to).unwrap_err();
        assert!(message.contains(words), "{message} has no {words:?}");
    }
    let twice = format!("[{0}, {0}]", &INDEX[1..INDEX.len() - 1]);
    let error = parse_index(twice.as_bytes(), Path::new("index.json")).unwrap_err();
    assert!(error.to_string().contains("a name that no other clip has"));
    let error = parse_index(b"[]", Path::new("index.json")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("0 clips: must be from 1 to 4096")
    );
}
