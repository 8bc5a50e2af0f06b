//! Frames to people through the whole of `PeopleNet`: small networks whose
//! answers can be worked out, and `MoveNet` on a real, labelled photo.

use std::path::Path;
use std::time::Duration;

use crate::common::data;
use crate::common::models::{
    FINDER, MOVENET, MOVENET_LIGHTNING, PERSON, SIMCC, YOLO, folder, small,
};
use poised::base::clock::MonoNs;
use poised::camera::{Calibration, Distortion, Origin};
use poised::capture::turn::Turned;
use poised::capture::{Camera, Next, open_source};
use poised::detect::{Lap, PeopleNet, PeopleSettings, Seen, Shed};
use poised::engine::{Engine, InferError};
use poised::frame::{Frame, FrameMeta, PixelFormat, Turn};
use poised::pose::{BoxPx, People};
use poised::track::{TrackConfig, TrackedPeople, Tracker};

const WIDTH: usize = 384;
const HEIGHT: usize = 288;

/// A dark frame with people around the places given: a red, a green and a blue
/// square of 17 x 17 pixels each.
fn frame(places: &[(usize, usize)]) -> Frame {
    let mut bytes = vec![0; WIDTH * HEIGHT * 3];
    for &(x, y) in places {
        for (channel, (x, y)) in [(x, y - 56), (x - 24, y), (x + 24, y + 56)]
            .into_iter()
            .enumerate()
        {
            square(&mut bytes, WIDTH, channel, (x, y));
        }
    }
    framed(bytes, WIDTH, HEIGHT)
}

fn square(bytes: &mut [u8], width: usize, channel: usize, (x, y): (usize, usize)) {
    for row in y - 8..=y + 8 {
        for column in x - 8..=x + 8 {
            bytes[(row * width + column) * 3 + channel] = 255;
        }
    }
}

fn framed(bytes: Vec<u8>, width: usize, height: usize) -> Frame {
    Frame {
        meta: FrameMeta {
            sequence: 7,
            capture: MonoNs(0),
            width_px: u32::try_from(width).unwrap(),
            height_px: u32::try_from(height).unwrap(),
            format: PixelFormat::Rgb24,
        },
        bytes,
    }
}

/// The same frame, taken at another time.
fn at(frame: &Frame, capture: MonoNs) -> Frame {
    let meta = FrameMeta {
        capture,
        ..frame.meta
    };
    let bytes = frame.bytes.clone();
    Frame { meta, bytes }
}

fn camera() -> Calibration {
    Calibration::assumed(384, 288)
}

/// The small person network behind the small detector.
fn top_down(settings: PeopleSettings) -> PeopleNet {
    top_down_with(PERSON, settings)
}

/// The same, with another description of the person network.
fn top_down_with(person: &str, settings: PeopleSettings) -> PeopleNet {
    let models = tempfile::tempdir().unwrap();
    let person = folder(models.path(), &small("person"), person);
    let detector = folder(models.path(), &small("finder"), FINDER);
    PeopleNet::open(&Engine::tract(), &person, Some(&detector), settings).unwrap()
}

/// Middle of a person of the small network: keypoint 2 is on the red square,
/// 7 on the green, 15 on the blue.
fn middle(people: &People, index: usize) -> (f32, f32) {
    let [a, b, c] = [2, 7, 15].map(|k| people[index].keypoints[k]);
    (
        (a.x_px + b.x_px + c.x_px) / 3.0,
        (a.y_px + b.y_px + c.y_px) / 3.0,
    )
}

fn apart(a: (f32, f32), x: usize, y: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    (a.0 - x as f32).hypot(a.1 - y as f32)
}

#[test]
fn a_person_is_found_and_put_back_into_the_frame() {
    let mut net = top_down(PeopleSettings::default());
    let mut people = People::new();
    for camera in [camera(), bent()] {
        for (x, y) in [(192, 144), (60, 80), (330, 210)] {
            net.reset();
            let seen = net.step(&frame(&[(x, y)]), &camera, &mut people).unwrap();
            assert!(seen.detector_ran);
            assert_eq!((seen.regions, seen.dropped, people.len()), (1, 0, 1));
            let off = apart(middle(&people, 0), x, y);
            assert!(off < 1.0, "({x}, {y}): {off} px off");
            assert!(people[0].score > 0.99, "{}", people[0].score);
        }
    }
}

/// A lens that bends as a wide-angle lens does.
#[test]
fn the_box_of_a_person_at_the_border_ends_there() {
    let mut net = top_down(PeopleSettings::default());
    let mut people = People::new();
    // The margin around the keypoints reaches over the left and the upper border.
    for _ in 0..3 {
        net.step(&frame(&[(33, 65)]), &camera(), &mut people)
            .unwrap();
        let bounds = people[0].bounds;
        assert!(bounds.left.abs() < f32::EPSILON, "{bounds:?}");
        assert!(bounds.top.abs() < f32::EPSILON, "{bounds:?}");
        assert!(bounds.right > 57.0 && bounds.bottom > 121.0, "{bounds:?}");
    }
}

fn bent() -> Calibration {
    let distortion = Distortion::PlumbBob {
        k1: -0.2,
        k2: 0.03,
        p1: 0.0,
        p2: 0.0,
        k3: 0.0,
    };
    let k = camera().intrinsics();
    Calibration::new((384, 288), k, distortion, Origin::Assumed).unwrap()
}

#[test]
fn features_come_with_the_person_they_belong_to() {
    let mut net = top_down(PeopleSettings::default());
    let mut people = People::new();
    net.step(&frame(&[(100, 144), (280, 144)]), &camera(), &mut people)
        .unwrap();
    assert_eq!(people.len(), 2);
    for person in &people {
        // features[i] = i * mean of green over the crop; the square covers some of it.
        let features = person.features.unwrap();
        assert!(features[1] > 0.005, "{}", features[1]);
        assert!((features[127] - 127.0 * features[1]).abs() < 1e-3);
    }
}

#[test]
fn the_detector_runs_first_then_periodically_and_when_a_person_is_lost() {
    let mut net = top_down(PeopleSettings {
        finder_every_frames: 5,
        ..PeopleSettings::default()
    });
    let camera = camera();
    let mut people = People::new();
    let mut infer = |places: &[(usize, usize)]| {
        let seen = net.step(&frame(places), &camera, &mut people).unwrap();
        (seen.detector_ran, people.len())
    };
    // No person is there: the person detector looks at every frame.
    assert_eq!(infer(&[]), (true, 0));
    assert_eq!(infer(&[]), (true, 0));
    // A person comes, moves and is followed without the detector, until it is due.
    assert_eq!(infer(&[(100, 144)]), (true, 1));
    for x in [104, 108, 112, 116] {
        assert_eq!(infer(&[(x, 144)]), (false, 1), "{x}");
    }
    assert_eq!(infer(&[(120, 144)]), (true, 1));
    // A second one is seen when the person detector is due again.
    for i in 1..5 {
        assert_eq!(infer(&[(120, 144), (300, 100)]), (false, 1), "{i}");
    }
    assert_eq!(infer(&[(120, 144), (300, 100)]), (true, 2));
    assert_eq!(infer(&[(120, 144), (300, 100)]), (false, 2));
    // One leaves: gone in this frame, looked for in the next, then all is calm.
    assert_eq!(infer(&[(300, 100)]), (false, 1));
    assert_eq!(infer(&[(300, 100)]), (true, 1));
    assert_eq!(infer(&[(300, 100)]), (false, 1));
}

#[test]
fn in_a_room_that_has_been_empty_for_a_while_the_detector_runs_ten_times_a_second() {
    let mut net = top_down(PeopleSettings::default());
    let camera = camera();
    let mut people = People::new();
    let mut runs = |frames: std::ops::Range<u64>, places: &[(usize, usize)]| {
        let mut runs = 0;
        for number in frames {
            let frame = at(&frame(places), MonoNs(number * 33_333_333));
            let seen = net.step(&frame, &camera, &mut people).unwrap();
            runs += u32::from(seen.detector_ran);
        }
        (runs, people.len())
    };
    // Two seconds long every frame is searched, then one in four: 100 ms are just over three frames.
    assert_eq!(runs(0..60, &[]), (60, 0));
    assert_eq!(runs(61..101, &[]), (10, 0));
    // Who comes in is seen within four frames; after the first without that person every frame is searched again.
    assert_eq!(runs(101..105, &[(192, 144)]), (1, 1));
    assert_eq!(runs(105..125, &[]), (19, 0));
}

#[test]
fn a_person_who_moves_is_followed_by_the_keypoints() {
    let mut net = top_down(PeopleSettings {
        finder_every_frames: 1000,
        ..PeopleSettings::default()
    });
    let mut people = People::new();
    for step in 0..25 {
        let (x, y) = (60 + 10 * step, 90 + 4 * step);
        let seen = net.step(&frame(&[(x, y)]), &camera(), &mut people).unwrap();
        assert_eq!(seen.detector_ran, step == 0);
        assert_eq!(people.len(), 1, "step {step}");
        let off = apart(middle(&people, 0), x, y);
        assert!(off < 1.5, "step {step}: {off} px off");
    }
}

/// A person in the middle. How bright the green square is makes the person detector's score (77: between 0.3 and 0.5,
/// 255: 1), and with a dark blue one fewer keypoints are visible.
fn half_seen(green: u8, blue: u8) -> Frame {
    let mut seen = frame(&[(200, 152)]);
    for pixel in seen.bytes.chunks_exact_mut(3) {
        pixel[1] = pixel[1].min(green);
        pixel[2] = pixel[2].min(blue);
    }
    seen
}

#[test]
fn an_uncertain_new_detection_has_to_be_well_visible() {
    let mut net = top_down(PeopleSettings {
        finder_every_frames: 5,
        ..PeopleSettings::default()
    });
    let camera = camera();
    let mut people = People::new();
    // Half a second from frame to frame, so that a box is looked at again in which no one was seen.
    let mut taken = MonoNs(0);
    let mut infer = |frame: &Frame| {
        taken = MonoNs(taken.0 + 500_000_000);
        let seen = net.step(&at(frame, taken), &camera, &mut people).unwrap();
        (seen.regions, people.first().map(|person| person.score))
    };
    // Furniture: found again and again, inferred, and no person.
    for _ in 0..3 {
        assert_eq!(infer(&half_seen(77, 0)), (1, None));
    }
    // The same box, but a person is well seen in it.
    let (_, score) = infer(&half_seen(77, 255));
    assert!(score > Some(0.9), "{score:?}");
    // Half hidden again: no person, for nothing but keypoints has spoken for them.
    assert_eq!(infer(&half_seen(77, 0)), (1, None));
    // Now the person detector is sure.
    assert!(infer(&half_seen(255, 0)).1.is_some());
    // Gone for a moment, and back in a box as poor as the furniture's: believed.
    for _ in 0..3 {
        assert_eq!(infer(&frame(&[])).1, None);
    }
    let (_, score) = infer(&half_seen(77, 0));
    assert!(score < Some(0.7) && score.is_some(), "{score:?}");
}

/// The small person network with a fit that says whether a new box holds a person.
fn with_presence(presence: &str) -> PeopleNet {
    let logits = r#"values = "logits""#;
    let described = PERSON.replace(logits, &format!("{logits}, presence = {{ {presence} }}"));
    assert!(described.contains("presence"));
    top_down_with(
        &described,
        PeopleSettings {
            finder_every_frames: 5,
            ..PeopleSettings::default()
        },
    )
}

#[test]
fn where_both_networks_decide_neither_score_nor_keypoints_alone_make_a_person() {
    let camera = camera();
    let mut people = People::new();
    let mut count = |net: &mut PeopleNet, frame: &Frame| {
        net.step(frame, &camera, &mut people).unwrap();
        people.len()
    };
    // However sure each is, a fit that says no is obeyed.
    let mut net = with_presence("score = 0.0, seen = 0.0, place = 0.0, bias = -0.1");
    assert_eq!(count(&mut net, &half_seen(255, 255)), 0);
    // A fit that weighs the keypoints alone rejects a box with too few of them, and takes one as poor with all.
    let mut net = with_presence("score = 0.0, seen = 1.0, place = 0.0, bias = -4.0");
    assert_eq!(count(&mut net, &half_seen(77, 0)), 0);
    // Not at once: the place was empty a moment ago.
    assert_eq!(count(&mut net, &half_seen(77, 255)), 0);
    let later = at(&half_seen(77, 255), MonoNs(500_000_000));
    assert_eq!(count(&mut net, &later), 1);
    // Once a person, that person stays when fewer keypoints are seen: only newcomers are asked.
    assert_eq!(count(&mut net, &half_seen(77, 0)), 1);
    assert_eq!(count(&mut net, &half_seen(77, 0)), 1);
}

#[test]
fn a_newcomer_is_looked_at_until_the_crop_fits_and_a_hopeless_box_once() {
    let seen = half_seen(255, 255);
    for (bias, looks, people_seen) in [("1.0", [2, 1], 1), ("-0.1", [2, 0], 0), ("-4.0", [1, 0], 0)]
    {
        let mut net = with_presence(&format!(
            "score = 0.0, seen = 0.0, place = 0.0, bias = {bias}"
        ));
        let mut people = People::new();
        for (index, wanted) in looks.into_iter().enumerate() {
            let frame = at(&seen, MonoNs(index as u64 * 33_000_000));
            let mut looked = 0;
            net.step_timed(&frame, &camera(), &mut people, &mut |lap| {
                looked += usize::from(lap == Lap::PersonNetwork);
            })
            .unwrap();
            // Nor is a place looked at again where no person was a moment ago.
            assert_eq!(
                (looked, people.len()),
                (wanted, people_seen),
                "{bias}, frame {index}"
            );
        }
    }
}

#[test]
fn no_more_people_than_asked_for() {
    let mut net = top_down(PeopleSettings {
        people_max: 2,
        ..PeopleSettings::default()
    });
    let mut people = People::new();
    let places = [(50, 70), (150, 70), (250, 70), (100, 214), (300, 214)];
    let seen = net.step(&frame(&places), &camera(), &mut people).unwrap();
    assert_eq!((seen.regions, people.len()), (2, 2));
    assert!(
        PeopleSettings {
            people_max: 9,
            ..PeopleSettings::default()
        }
        .validate()
        .is_err()
    );
}

#[test]
fn on_a_slow_machine_people_take_turns_and_keep_their_ids() {
    let mut net = top_down(PeopleSettings::default());
    net.shed(Shed {
        detector: true,
        inferences: 2,
    });
    let mut tracker = Tracker::new(TrackConfig::default());
    let (mut people, mut known) = (People::new(), TrackedPeople::new());
    let mut seen_at = [Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    let mut detector_ran = Vec::new();
    for step in 0..60_u16 {
        let x = usize::from(step) / 2;
        let places = [
            (50 + x, 70),
            (150 + x, 70),
            (250 + x, 70),
            (100, 214),
            (300, 214),
        ];
        let seen = net.step(&frame(&places), &camera(), &mut people).unwrap();
        assert_eq!((seen.regions, seen.waiting, seen.dropped), (5, 3, 0));
        if seen.detector_ran {
            detector_ran.push(step);
        }
        let time = MonoNs(u64::from(step) * 33_333_333);
        tracker.update_partly(time, &people, &mut known);
        for person in &known {
            let id = usize::try_from(person.id).unwrap();
            assert!(id <= 5, "step {step}: no new person has come");
            seen_at[id - 1].push(step);
        }
    }
    assert_eq!(detector_ran, [0, 30], "a third as often");
    for (id, steps) in (1..).zip(seen_at) {
        let longest = steps.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(3), "{id} waited {longest:?} frames");
        assert!(steps.len() >= 18, "{id} was seen {} times", steps.len());
    }
}

#[test]
fn each_part_is_told_to_the_caller_who_keeps_the_time() {
    let mut net = top_down(PeopleSettings::default());
    let mut people = People::new();
    let mut laps = Vec::new();
    let both = frame(&[(100, 144), (280, 144)]);
    net.step_timed(&both, &camera(), &mut people, &mut |lap| laps.push(lap))
        .unwrap();
    let person = [Lap::PersonPreprocess, Lap::PersonNetwork, Lap::Decode];
    let want = [
        &[Lap::FramePreprocess, Lap::FrameNetwork, Lap::Decode][..],
        &person,
        &person,
    ]
    .concat();
    assert_eq!(laps, want);
}

#[test]
fn a_frame_of_another_size_in_mid_stream_starts_detection_again() {
    let mut net = top_down(PeopleSettings::default());
    let mut people = People::new();
    net.step(&frame(&[(100, 144)]), &camera(), &mut people)
        .unwrap();
    let mut bytes = vec![0; 360 * 360 * 3];
    for (channel, place) in [(250, 144), (226, 200), (274, 256)].into_iter().enumerate() {
        square(&mut bytes, 360, channel, place);
    }
    let other = framed(bytes, 360, 360);
    let camera = Calibration::assumed(360, 360);
    let seen = net.step(&other, &camera, &mut people).unwrap();
    assert!(seen.detector_ran, "old boxes mean nothing in the new size");
    assert_eq!(people.len(), 1);
    let off = apart(middle(&people, 0), 250, 200);
    assert!(off < 1.0, "{off} px off");
}

#[test]
fn a_short_frame_is_an_error_and_leaves_no_person() {
    let mut net = top_down(PeopleSettings::default());
    let mut people = People::new();
    let mut short = frame(&[(100, 144)]);
    net.step(&short, &camera(), &mut people).unwrap();
    short.bytes.truncate(1000);
    let error = net.step(&short, &camera(), &mut people).unwrap_err();
    assert!(matches!(error, InferError::Frame { sequence: 7, .. }));
    assert!(people.is_empty());
    let seen = net.step(&frame(&[(100, 144)]), &camera(), &mut people);
    assert_eq!(people.len(), 1, "{seen:?}");
}

fn alone(name: &str, description: &str) -> PeopleNet {
    let models = tempfile::tempdir().unwrap();
    let path = folder(models.path(), &small(name), description);
    PeopleNet::open(&Engine::tract(), &path, None, PeopleSettings::default()).unwrap()
}

/// A film of someone who does squats, once a second, by the networks that are shipped.
#[test]
fn a_camera_that_hangs_upside_down_is_noticed_in_a_minute_and_one_that_does_not_is_not() {
    let Some(path) = data::file("real/video/squats.mp4") else {
        return;
    };
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for quarters in [0, 2] {
        let [person, detector] = ["person", "finder"].map(|name| models.join(name));
        let settings = PeopleSettings {
            finder_every_frames: 1,
            ..PeopleSettings::default()
        };
        let mut net =
            PeopleNet::open(&Engine::tract(), &person, Some(&detector), settings).unwrap();
        let turn = Turn::clockwise(90 * quarters).unwrap();
        let mut people = People::new();
        let mut second = 0;
        let told = std::iter::repeat_with(|| open_source(&path).unwrap()).find_map(|film| {
            let mut film = Turned::new(film, turn);
            let mode = film.mode();
            let camera = Calibration::assumed(mode.width_px, mode.height_px);
            let mut frame = Frame::with_room(mode.width_px, mode.height_px);
            while film.next_into(&mut frame, Duration::from_secs(9)).unwrap() == Next::Frame {
                frame.meta.capture = MonoNs(second * 1_000_000_000);
                let seen = net.step(&frame, &camera, &mut people).unwrap();
                second += 1;
                if seen.better_turned != 0 || second > 70 {
                    return Some(seen.better_turned);
                }
            }
            None
        });
        assert_eq!(told, Some(quarters as usize), "after {second} s");
    }
}

/// Without a person detector the crop is the whole frame: 384 x 288, times 1.25, into
/// 32 x 32 pixels: 15 frame pixels per crop pixel, the centres on each other.
#[test]
fn movenet_output_is_put_back_from_the_padded_square() {
    let mut net = alone("movenet", MOVENET);
    let mut people = People::new();
    let bright = framed(vec![255; WIDTH * HEIGHT * 3], WIDTH, HEIGHT);
    net.step(&bright, &camera(), &mut people).unwrap();
    assert_eq!(people.len(), 1);
    // Boxes go from the first to the last pixel centre, so 383 pixels are 1.25 times less than 32.
    let scale = 383.0 * 1.25 / 32.0;
    for (k, keypoint) in (0_u8..).zip(&people[0].keypoints) {
        let x = 191.5 + scale * (f32::from(k) - 15.5);
        let y = 143.5 + scale * (f32::from(k) - 0.5 - 15.5);
        assert!((keypoint.x_px - x).abs() < 0.01, "{k}: {keypoint:?}, {x}");
        assert!((keypoint.y_px - y).abs() < 0.01, "{k}: {keypoint:?}, {y}");
    }
    // The dark frame makes this network's output NaN.
    net.reset();
    let error = net.step(&frame(&[]), &camera(), &mut people).unwrap_err();
    assert_eq!(error, InferError::NotFinite { output: 0 });
    assert!(people.is_empty());
}

#[test]
fn simcc_bins_are_put_back_from_the_crop() {
    let mut net = alone("simcc", SIMCC);
    let mut people = People::new();
    // One column and one row of green that cross at (200, 100).
    let mut bytes = vec![0; WIDTH * HEIGHT * 3];
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            if x.abs_diff(200) <= 6 || y.abs_diff(100) <= 6 {
                bytes[(y * WIDTH + x) * 3 + 1] = 255;
            }
        }
    }
    net.step(&framed(bytes, WIDTH, HEIGHT), &camera(), &mut people)
        .unwrap();
    // The crop is 48 x 64: the frame's width times 1.25 fills it, so a column
    // is 9.97 frame pixels and the cross is a little over one column wide.
    assert_eq!(people.len(), 1);
    for keypoint in &people[0].keypoints {
        let (dx, dy) = (keypoint.x_px - 200.0, keypoint.y_px - 100.0);
        assert!(dx.abs() < 5.1 && dy.abs() < 5.1, "{keypoint:?}");
        assert!(keypoint.confidence > 0.3, "{keypoint:?}");
    }
    // All keypoints are on one spot, which is no box to follow: the next frame
    // is searched as a whole again.
    let seen = net.step(&frame(&[]), &camera(), &mut people).unwrap();
    assert_eq!((seen.regions, people.len()), (1, 0));
}

#[test]
fn yolo_people_are_put_back_from_the_letterbox() {
    let mut net = alone("yolo", YOLO);
    let mut people = People::new();
    let green = framed([0, 255, 0].repeat(WIDTH * HEIGHT), WIDTH, HEIGHT);
    let seen = net.step(&green, &camera(), &mut people).unwrap();
    assert!(!seen.detector_ran);
    // Three candidates, two of them one person; scores 1.0, 0.9, 0.8 times the
    // mean green, of which a quarter is padding (114 of 255).
    assert_eq!(people.len(), 2);
    let green_share = 0.75 + 0.25 * 114.0 / 255.0;
    assert!((people[0].score - green_share).abs() < 1e-3);
    assert!((people[1].score - 0.9 * green_share).abs() < 1e-3);
    // 384 / 64 = 6 frame pixels per input pixel; 8 rows of padding above.
    // Keypoint k of the first at input (21 + k % 2, 16 + 2 k), corner at 0.
    for (k, keypoint) in (0_u8..).zip(&people[0].keypoints) {
        let x = (21.0 + f32::from(k % 2)) * 6.0 - 0.5;
        let y = (16.0 + 2.0 * f32::from(k) - 8.0) * 6.0 - 0.5;
        assert!((keypoint.x_px - x).abs() < 0.01, "{k}: {keypoint:?}, {x}");
        assert!((keypoint.y_px - y).abs() < 0.01, "{k}: {keypoint:?}, {y}");
        assert!((keypoint.confidence - 0.5).abs() < 1e-4);
    }
    let bounds = people[0].bounds;
    assert!(
        (bounds.left - (13.0 * 6.0 - 0.5)).abs() < 0.01,
        "{bounds:?}"
    );
    assert!(
        (bounds.bottom - (44.0 * 6.0 - 0.5)).abs() < 0.01,
        "{bounds:?}"
    );
}

#[test]
fn yolo_people_who_are_hardly_visible_are_dropped() {
    let models = tempfile::tempdir().unwrap();
    let folder = folder(models.path(), &small("yolo"), YOLO);
    let settings = PeopleSettings {
        confidence_min: 0.6,
        ..PeopleSettings::default()
    };
    let mut net = PeopleNet::open(&Engine::tract(), &folder, None, settings).unwrap();
    let mut people = People::new();
    let green = framed([0, 255, 0].repeat(WIDTH * HEIGHT), WIDTH, HEIGHT);
    let seen = net.step(&green, &camera(), &mut people).unwrap();
    assert!(people.is_empty(), "their visibility is one half");
    assert_eq!(seen.dropped, 2);
}

#[test]
fn a_network_in_the_wrong_place_is_refused() {
    let models = tempfile::tempdir().unwrap();
    let person = folder(models.path(), &small("person"), PERSON);
    let detector = folder(models.path(), &small("finder"), FINDER);
    let open = |a: &Path, b: &Path| {
        let settings = PeopleSettings::default();
        PeopleNet::open(&Engine::tract(), a, Some(b), settings)
            .unwrap_err()
            .to_string()
    };
    assert!(
        open(&detector, &detector).ends_with("finder: kind is finder, wanted person or keypoints")
    );
    assert!(open(&person, &person).ends_with("person: kind is person, wanted finder"));
}

/// A photo as a frame.
fn photo(path: &Path) -> Frame {
    let file = std::io::Cursor::new(std::fs::read(path).unwrap());
    let mut decoder = zune_jpeg::JpegDecoder::new(file);
    let bytes = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    framed(bytes, width, height)
}

/// The labelled person of a COCO photo, through the same steps as in the
/// daemon: the label's box as the place to look, then two inferences at the
/// keypoints' own box.
#[test]
fn movenet_sees_the_labelled_person() {
    let (Some(onnx), Some(image)) = (
        data::file("weights/movenet_lightning_fp32_from_int8.onnx"),
        data::file("real/images/coco_000000000785.jpg"),
    ) else {
        return;
    };
    let label: serde_json::Value =
        serde_json::from_slice(&std::fs::read(image.with_extension("json")).unwrap()).unwrap();
    let person = &label["annotations"][0];
    #[expect(clippy::cast_possible_truncation, reason = "pixels")]
    let number = |value: &serde_json::Value| value.as_f64().unwrap() as f32;
    let bbox: Vec<f32> = person["bbox"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .collect();
    let keypoints: Vec<f32> = person["keypoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .collect();
    let torso = {
        let at = |k: usize| glam::Vec2::new(keypoints[3 * k], keypoints[3 * k + 1]);
        (0.5 * (at(5) + at(6))).distance(0.5 * (at(11) + at(12)))
    };
    let frame = photo(&image);
    let camera = Calibration::assumed(frame.meta.width_px, frame.meta.height_px);
    let models = tempfile::tempdir().unwrap();
    let path = folder(models.path(), &onnx, MOVENET_LIGHTNING);
    let mut net =
        PeopleNet::open(&Engine::tract(), &path, None, PeopleSettings::default()).unwrap();
    let labelled = BoxPx {
        left: bbox[0],
        top: bbox[1],
        right: bbox[0] + bbox[2],
        bottom: bbox[1] + bbox[3],
    };
    net.expect_at(&labelled, (frame.meta.width_px, frame.meta.height_px));
    let mut people = People::new();
    for pass in 0..3 {
        let seen = net.step(&frame, &camera, &mut people).unwrap();
        assert_eq!(
            (seen, people.len()),
            (
                Seen {
                    detector_ran: false,
                    regions: 1,
                    ..Seen::default()
                },
                1
            )
        );
        let mut good = 0;
        for (k, keypoint) in people[0].keypoints.iter().enumerate() {
            let (dx, dy) = (
                keypoint.x_px - keypoints[3 * k],
                keypoint.y_px - keypoints[3 * k + 1],
            );
            good += usize::from(dx.hypot(dy) < 0.2 * torso);
        }
        println!("pass {pass}: {good} of 17 keypoints within 0.2 torso ({torso:.0} px)");
        assert!(good >= 15, "pass {pass}: {good} of 17 within 0.2 torso");
    }
}
