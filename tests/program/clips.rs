//! `poised eval --clips`: what is known of the error by construction is what the table says.

use std::path::Path;
use std::process::{Command, Output};

use glam::Vec3;
use poised::camera::Calibration;
use poised::estimate::{EstimateConfig, Poser};
use poised::lab::eval::metrics::pa_mpjpe_mm;
use poised::pose::{BoxPx, Detection, Keypoint, People};
use poised::skeleton::{JOINTS, KEYPOINTS, keypoints_of};
use poised::synthetic::{Scenario, Scene, SyntheticConfig};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

const FRAMES: usize = 60;
const RATE_HZ: f64 = 30.0;

/// People before a synthetic camera: joints of each frame in the camera frame.
fn walkers(people: usize) -> Vec<Vec<[Vec3; JOINTS]>> {
    drawn(people, Scenario::Exercise, FRAMES)
}

fn drawn(people: usize, scenario: Scenario, frames: usize) -> Vec<Vec<[Vec3; JOINTS]>> {
    (0..people)
        .map(|person| {
            let scene = Scene::new(&SyntheticConfig {
                scenario,
                seed: 7 + person as u64,
                people: Some(1),
                ..SyntheticConfig::default()
            })
            .unwrap();
            #[expect(clippy::cast_precision_loss, reason = "a few people, a few frames")]
            let aside = Vec3::X * (1.6 * person as f32 - 0.8);
            (0..frames)
                .map(|frame| {
                    #[expect(clippy::cast_precision_loss, reason = "a few frames")]
                    let pose = scene.pose_at(0, frame as f64 / RATE_HZ);
                    pose.joints_camera_m.map(|joint| joint + aside)
                })
                .collect()
        })
        .collect()
}

fn camera() -> Calibration {
    Calibration::assumed(640, 480)
}

/// Where a pose's keypoints are in the image.
fn projected(joints: &[Vec3; JOINTS]) -> [Keypoint; KEYPOINTS] {
    keypoints_of(joints).0.map(|point| {
        let pixel = camera().pixel(point.truncate() / point.z);
        Keypoint::new(pixel.x, pixel.y, 1.0)
    })
}

/// A folder with one clip; `change` has a say in keypoints, joints and what is known.
fn folder(
    walkers: &[Vec<[Vec3; JOINTS]>],
    change: impl Fn(usize, usize, &mut [Keypoint; KEYPOINTS], &mut [Vec3; JOINTS], &mut [u8; JOINTS]),
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut keypoints, mut joints, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let add = |out: &mut Vec<u8>, numbers: &[f32]| {
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    let frames = walkers[0].len();
    for frame in 0..frames {
        for (person, poses) in walkers.iter().enumerate() {
            let (mut points, mut places) = (projected(&poses[frame]), poses[frame]);
            let mut flags = [1; JOINTS];
            change(frame, person, &mut points, &mut places, &mut flags);
            for point in points {
                add(&mut keypoints, &[point.x_px, point.y_px, point.confidence]);
            }
            for place in places {
                add(&mut joints, &place.to_array());
            }
            known.extend(flags);
        }
    }
    let people = walkers.len();
    let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
    let tensors = [
        (
            "keypoints",
            view(Dtype::F32, &[frames, people, KEYPOINTS, 3], &keypoints),
        ),
        (
            "joints",
            view(Dtype::F32, &[frames, people, JOINTS, 3], &joints),
        ),
        ("known", view(Dtype::U8, &[frames, people, JOINTS], &known)),
    ];
    let bytes = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(folder.path().join("a.safetensors"), bytes).unwrap();
    let k = camera().intrinsics();
    let index = json!([{
        "id": "a", "group": "drawn", "subject": "none", "file": "a.safetensors", "fps": RATE_HZ,
        "keypoints": "projected", "convention": "ours", "camera": {
            "width_px": 640, "height_px": 480, "distortion": {"model": "none"},
            "intrinsics": {"fx_px": k.fx_px, "fy_px": k.fy_px, "cx_px": k.cx_px, "cy_px": k.cy_px},
        },
    }]);
    std::fs::write(folder.path().join("index.json"), index.to_string()).unwrap();
    folder
}

fn eval(folder: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_poised"))
        .args(["eval", "--json", "--clips"])
        .arg(folder)
        .args(more)
        .env(
            "POISED_MODELS",
            concat!(env!("CARGO_MANIFEST_DIR"), "/models"),
        )
        .output()
        .unwrap()
}

fn table(folder: &Path, more: &[&str]) -> Value {
    let output = eval(folder, more);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn row<'a>(table: &'a Value, group: &str, method: &str) -> &'a Value {
    let rows = table["rows"].as_array().unwrap();
    rows.iter()
        .find(|row| row["scenario"] == group && row["method"] == method)
        .unwrap()
}

/// What the daemon's poser makes of each frame of one person, pelvis at the origin.
fn posed(poses: &[[Vec3; JOINTS]]) -> Vec<Option<[Vec3; JOINTS]>> {
    let mut config = EstimateConfig::default();
    config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
    config.adapt.method = poised::adapt::Method::Latent;
    config.semantics.enabled = false;
    let mut pipeline = Poser::open(&config).unwrap();
    poses
        .iter()
        .zip(0_u32..)
        .map(|(joints, frame)| {
            let keypoints = projected(joints);
            let mut people = People::new();
            people
                .push(Detection {
                    score: 1.0,
                    bounds: BoxPx::around(&keypoints, 0.2).unwrap(),
                    keypoints,
                    features: None,
                })
                .unwrap();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "two seconds in nanoseconds"
            )]
            let time = 1_000_000_000 + (f64::from(frame) / RATE_HZ * 1e9) as u64;
            let time = poised::base::clock::MonoNs(time);
            if pipeline.track(time, &people).is_empty() {
                return None;
            }
            let estimate = pipeline.lift(time, &camera(), 0).ok()?;
            Some(estimate.relative_camera_m)
        })
        .collect()
}

#[test]
fn truth_that_is_off_by_a_known_pose_gives_the_error_that_was_built_in() {
    // The truth of the clip is what the poser says, one wrist 85 mm off: 85 / 17 = 5 mm of MPJPE.
    let walkers = walkers(1);
    let posed = posed(&walkers[0]);
    let folder = folder(&walkers, |frame, _, _, joints, _| {
        if let Some(pose) = posed[frame] {
            let root = joints[0];
            *joints = pose.map(|joint| joint - pose[0] + root);
            joints[13] += Vec3::new(0.0, 0.085, 0.0);
        }
    });
    let table = table(folder.path(), &["--methods", "latent"]);
    let mpjpe = row(&table, "drawn", "latent")["mpjpe_mm"].as_f64().unwrap();
    assert!((mpjpe - 5.0).abs() < 0.02, "{mpjpe}");
    assert_eq!(table["keypoints"]["drawn"][0], "projected");
    assert_eq!(row(&table, "all", "latent")["mpjpe_mm"], mpjpe);

    // Were that wrist not known, there would be no error.
    let pose = posed[FRAMES - 1].unwrap();
    assert!(pa_mpjpe_mm(&pose, &pose).unwrap() < 1e-3);
    let unknown = self::folder(&walkers, |frame, _, _, joints, known| {
        if let Some(pose) = posed[frame] {
            let root = joints[0];
            *joints = pose.map(|joint| joint - pose[0] + root);
        }
        joints[13] = Vec3::ZERO;
        known[13] = 0;
    });
    let table = self::table(unknown.path(), &["--methods", "latent"]);
    let row = row(&table, "drawn", "latent");
    for (column, most) in [
        ("mpjpe_mm", 0.02),
        ("pa_mpjpe_mm", 0.02),
        ("accel_mm", 0.05),
    ] {
        let error = row[column].as_f64().unwrap();
        assert!(error < most, "{column} = {error}");
    }
}

#[test]
fn two_people_are_each_compared_with_themselves_and_who_is_not_found_is_counted() {
    let both = walkers(2);
    let alone: Vec<f64> = both
        .iter()
        .map(|poses| {
            let folder = folder(std::slice::from_ref(poses), |_, _, _, _, _| {});
            let table = table(folder.path(), &[]);
            row(&table, "drawn", "factory")["mpjpe_mm"]
                .as_f64()
                .unwrap()
        })
        .collect();
    let together = folder(&both, |_, _, _, _, _| {});
    let table = table(together.path(), &["--methods", "factory,floor,semantic"]);
    let row_of = |method| row(&table, "drawn", method);
    let mpjpe = row_of("factory")["mpjpe_mm"].as_f64().unwrap();
    assert!(
        (mpjpe - 0.5 * (alone[0] + alone[1])).abs() < 0.02,
        "{mpjpe} of {alone:?}"
    );
    assert!(mpjpe < 150.0, "{mpjpe}");
    assert_eq!(table["frames"], 2 * FRAMES);
    assert!(
        row_of("floor")["mpjpe_mm"].is_null(),
        "the mount is unknown"
    );
    assert!(row_of("semantic")["harmed"].is_u64());

    let missed = folder(&both, |frame, person, points, _, _| {
        if person == 1 && frame >= FRAMES / 2 {
            for point in points {
                point.confidence = 0.0;
            }
        }
    });
    let table = self::table(missed.path(), &[]);
    let share = row(&table, "drawn", "factory")["estimated_share"]
        .as_f64()
        .unwrap();
    // Of 120, a quarter is missed and each person's first frame has no id yet.
    assert!((share - 88.0 / 120.0).abs() < 1e-3, "{share}");
}

#[test]
fn labels_that_are_told_come_as_hints_and_are_the_same_each_time() {
    let squats = drawn(1, Scenario::Squat, 150);
    let folder = folder(&squats, |frame, _, points, _, _| {
        // Legs that something hides after two seconds: there is something to complete.
        for point in &mut points[13..] {
            point.confidence = if frame < 60 { 1.0 } else { 0.0 };
        }
    });
    let index = folder.path().join("index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let with = |actions: &str| {
        let named = text.replacen('{', &format!("{{\"actions\": {actions}, "), 1);
        std::fs::write(&index, named).unwrap();
        table(
            folder.path(),
            &[
                "--methods",
                "semantic,semantic:true,semantic:shuffled,semantic:none",
            ],
        )
    };
    let columns = ["mpjpe_mm", "mpjpe_hidden_mm", "completed_mm"];
    let figures = |table: &Value, method: &str| {
        columns.map(|column| row(table, "drawn", method)[column].clone())
    };
    let told = with("[\"squat\"]");
    assert_ne!(
        figures(&told, "semantic:none"),
        figures(&told, "semantic:true")
    );
    assert_eq!(
        figures(&told, "semantic:shuffled"),
        figures(&told, "semantic"),
        "there is no other label to be wrong with"
    );
    assert!(row(&told, "drawn", "semantic:none")["label_top1"].is_null());
    assert!(row(&told, "drawn", "semantic:true")["label_top1"].is_f64());
    for method in ["semantic:true", "semantic:none"] {
        assert_eq!(
            figures(&with("[\"squat\"]"), method),
            figures(&told, method)
        );
    }
    let unknown = with("[\"fold a map\"]");
    assert_eq!(
        figures(&unknown, "semantic:true"),
        figures(&unknown, "semantic"),
        "nothing is told that the dictionary does not know"
    );
}

#[test]
fn a_folder_that_is_none_is_refused_in_one_line() {
    let folder = folder(&walkers(1), |_, _, _, _, _| {});
    let refused = |words: &str| {
        let output = eval(folder.path(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(66), "{said}");
        assert!(said.contains(words), "{said} has no {words}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    };
    let file = folder.path().join("a.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
    refused("a.safetensors: not a safetensors file");
    std::fs::remove_file(&file).unwrap();
    refused("a.safetensors: cannot be read");
    std::fs::write(folder.path().join("index.json"), "[{\"id\": 3}]").unwrap();
    refused("index.json: invalid type");
    std::fs::remove_file(folder.path().join("index.json")).unwrap();
    refused("index.json: cannot be read");
}
