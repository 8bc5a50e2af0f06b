//! People who walk, cross, vanish and are found twice.

use std::slice::from_ref;

use super::*;
use crate::pose::Keypoint;
use crate::skeleton::KEYPOINT_MIRROR;

/// A person 200 pixels high who stands at `(x, y)` (the middle of the hips), seen from the front.
pub(super) fn standing(x: f32, y: f32) -> Detection {
    // Left is on the image's right for who faces the camera.
    let half: [(f32, f32); KEYPOINTS] = [
        (0.0, -90.0),
        (4.0, -94.0),
        (-4.0, -94.0),
        (8.0, -92.0),
        (-8.0, -92.0),
        (20.0, -65.0),
        (-20.0, -65.0),
        (26.0, -35.0),
        (-26.0, -35.0),
        (28.0, -8.0),
        (-28.0, -8.0),
        (13.0, 0.0),
        (-13.0, 0.0),
        (14.0, 48.0),
        (-14.0, 48.0),
        (14.0, 95.0),
        (-14.0, 95.0),
    ];
    Detection {
        score: 0.9,
        bounds: BoxPx {
            left: x - 35.0,
            top: y - 105.0,
            right: x + 35.0,
            bottom: y + 100.0,
        },
        keypoints: half.map(|(dx, dy)| Keypoint::new(x + dx, y + dy, 0.9)),
        features: None,
    }
}

/// A person who walks to the right, seen from the side: legs and arms swing.
fn walking(x: f32, y: f32, phase: f32) -> Detection {
    let mut person = standing(x, y);
    for (joint, keypoint) in person.keypoints.iter_mut().enumerate() {
        let side = if joint % 2 == 1 { 1.0 } else { -1.0 };
        let reach = match joint {
            7 | 8 => -10.0,
            9 | 10 => -25.0,
            13 | 14 => 18.0,
            15 | 16 => 40.0,
            _ => 0.0,
        };
        keypoint.x_px = x + 0.1 * (keypoint.x_px - x) + side * reach * phase.sin();
    }
    person
}

fn mirrored(person: &Detection) -> Detection {
    Detection {
        keypoints: std::array::from_fn(|joint| person.keypoints[KEYPOINT_MIRROR[joint]]),
        ..person.clone()
    }
}

fn noisy(mut person: Detection, random: &mut fastrand::Rng) -> Detection {
    for keypoint in &mut person.keypoints {
        keypoint.x_px += 3.0 * (random.f32() - 0.5);
        keypoint.y_px += 3.0 * (random.f32() - 0.5);
    }
    person
}

/// Frame numbers to times at 30 Hz.
fn frame(number: u16) -> MonoNs {
    MonoNs(5_000_000_000 + u64::from(number) * 33_333_333)
}

struct Run {
    tracker: Tracker,
    out: TrackedPeople,
}

impl Run {
    fn new(config: TrackConfig) -> Self {
        Self {
            tracker: Tracker::new(config),
            out: TrackedPeople::new(),
        }
    }

    fn see(&mut self, time: MonoNs, people: &[Detection]) -> Vec<u32> {
        let people: People = people.iter().cloned().collect();
        self.tracker.update(time, &people, &mut self.out);
        self.out.iter().map(|person| person.id).collect()
    }
}

#[test]
fn a_person_gets_an_id_after_two_frames_and_keeps_it() {
    let mut run = Run::new(TrackConfig::default());
    assert!(run.see(frame(0), &[standing(200.0, 300.0)]).is_empty());
    for number in 1..50 {
        let x = 200.0 + 3.0 * f32::from(number);
        assert_eq!(run.see(frame(number), &[standing(x, 300.0)]), [1]);
    }
}

#[test]
fn a_false_positive_of_one_frame_is_no_person() {
    let mut run = Run::new(TrackConfig::default());
    let alarm = standing(500.0, 250.0);
    let person = standing(100.0, 300.0);
    let _ = run.see(frame(0), &[person.clone(), alarm.clone()]);
    assert_eq!(run.see(frame(1), from_ref(&person)), [1]);
    assert_eq!(run.see(frame(2), &[person.clone(), alarm]), [1]);
    assert_eq!(run.see(frame(3), from_ref(&person)), [1]);
    assert_eq!(run.tracker.counters().confirmed, 1);
}

#[test]
fn two_people_who_cross_keep_their_ids() {
    for (seed, rate) in [(1, 1), (2, 1), (3, 3), (4, 3)] {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut run = Run::new(TrackConfig::default());
        for number in (0..120).step_by(rate) {
            let along = f32::from(number);
            let right = noisy(
                walking(60.0 + 4.0 * along, 300.0, 0.25 * along),
                &mut random,
            );
            let mut left = noisy(
                walking(540.0 - 4.0 * along, 308.0, 0.25 * along + 1.0),
                &mut random,
            );
            left.score = 0.95;
            // Around the crossing the one behind is not found.
            let hidden = right.bounds.iou(&left.bounds) > 0.5;
            let people = if hidden {
                vec![left]
            } else {
                vec![left, right]
            };
            let ids = run.see(frame(number), &people);
            if number > 6 && !hidden {
                assert_eq!(ids, [1, 2], "seed {seed}, frame {number}");
                // The better score was numbered first: who walks to the left is 1.
                let one = run.out[0].detection.bounds.centre().0;
                let other = run.out[1].detection.bounds.centre().0;
                let first_walks_left = (one - (540.0 - 4.0 * along)).abs() < 8.0;
                let second_walks_right = (other - (60.0 + 4.0 * along)).abs() < 8.0;
                assert!(
                    first_walks_left && second_walks_right,
                    "seed {seed}, frame {number}: {one} {other}"
                );
            }
        }
        assert_eq!(run.tracker.counters().confirmed, 2, "seed {seed}");
    }
}

#[test]
fn a_person_back_within_a_second_keeps_the_id_and_later_gets_a_new_one() {
    let mut run = Run::new(TrackConfig::default());
    let person = standing(300.0, 300.0);
    for number in 0..10 {
        let _ = run.see(frame(number), from_ref(&person));
    }
    for number in 10..36 {
        assert!(run.see(frame(number), &[]).is_empty());
    }
    assert_eq!(run.see(frame(36), from_ref(&person)), [1]);
    for number in 37..70 {
        let _ = run.see(frame(number), &[]);
    }
    assert!(run.see(frame(70), from_ref(&person)).is_empty());
    assert_eq!(
        run.see(frame(71), from_ref(&person)),
        [2],
        "an id is given once"
    );
}

#[test]
fn a_person_found_twice_is_one() {
    let mut run = Run::new(TrackConfig::default());
    let person = standing(300.0, 300.0);
    let mut again = standing(301.0, 301.0);
    again.score = 0.5;
    for number in 0..10 {
        let _ = run.see(frame(number), &[again.clone(), person.clone()]);
    }
    assert_eq!(run.out.len(), 1);
    assert!(
        (run.out[0].detection.score - 0.9).abs() < 1e-6,
        "the better one"
    );
    assert_eq!(run.tracker.counters().duplicates, 10);
}

#[test]
fn eight_people_who_come_and_go_never_run_out_of_places() {
    let mut run = Run::new(TrackConfig {
        keep_s: 10.0,
        ..TrackConfig::default()
    });
    let mut highest = 0;
    for number in 0..200_u16 {
        // Eight others every ten frames, too far from the earlier ones to be them.
        let batch = f32::from(number / 10 % 5);
        let people: Vec<_> = (0..8_u8)
            .map(|person| standing(f32::from(person) * 100.0, 200.0 + 400.0 * batch))
            .collect();
        let ids = run.see(frame(number), &people);
        if number % 10 > 1 {
            assert_eq!(ids.len(), 8, "frame {number}");
        }
        highest = ids.into_iter().max().unwrap_or(highest).max(highest);
    }
    assert_eq!(u64::from(highest), run.tracker.counters().confirmed);
}

#[test]
fn a_swap_of_a_few_frames_is_undone_and_one_that_stays_is_believed() {
    let mut run = Run::new(TrackConfig::default());
    let mut random = fastrand::Rng::with_seed(5);
    let left_wrist = |run: &Run| run.out[0].detection.keypoints[9].x_px;
    for number in 0..60_u16 {
        let person = noisy(standing(300.0, 300.0), &mut random);
        let swapped = (20..26).contains(&number) || number >= 40;
        let shown = if swapped { mirrored(&person) } else { person };
        let _ = run.see(frame(number), &[shown]);
        if (2..40).contains(&number) {
            assert!((left_wrist(&run) - 328.0).abs() < 4.0, "frame {number}");
        }
    }
    // From frame 40 on the labels stay swapped; they are believed after 0.4 s.
    assert!(
        (left_wrist(&run) - 272.0).abs() < 4.0,
        "{}",
        left_wrist(&run)
    );
    let undone = run.tracker.counters().swaps_undone;
    assert!((6 + 12..=6 + 14).contains(&undone), "{undone}");
}

#[test]
fn swapped_legs_of_a_walk_are_set_right_and_a_clean_walk_is_left_alone() {
    for inject in [false, true] {
        let mut random = fastrand::Rng::with_seed(8);
        let mut run = Run::new(TrackConfig::default());
        let (mut wrong, mut injected) = (0, 0);
        for number in 0..300_u16 {
            let along = f32::from(number);
            // A step cycle of one second.
            let truth = walking(100.0 + 1.5 * along, 300.0, along * 0.21);
            let mut seen = noisy(truth.clone(), &mut random);
            let apart = (truth.keypoints[15].x_px - truth.keypoints[16].x_px).abs();
            let swap = inject && number % 23 < 3 && number > 10 && apart > 35.0;
            if swap {
                injected += 1;
                seen.keypoints.swap(13, 14);
                seen.keypoints.swap(15, 16);
            }
            let _ = run.see(frame(number), &[seen]);
            if number > 1 {
                let got = run.out[0].detection.keypoints[15].x_px;
                if apart > 35.0 && (got - truth.keypoints[15].x_px).abs() > 0.5 * apart {
                    wrong += 1;
                }
            }
        }
        let undone = run.tracker.counters().swaps_undone;
        assert_eq!(wrong, 0, "{undone} of {injected}");
        if inject {
            assert!(
                injected >= 15 && undone >= injected,
                "{undone} of {injected}"
            );
        } else {
            assert_eq!(undone, 0);
        }
    }
}

#[test]
fn a_frame_from_the_past_gives_no_tracks_and_a_clock_that_was_set_ends_all_tracks() {
    let mut run = Run::new(TrackConfig::default());
    let person = standing(300.0, 300.0);
    for number in 60..70 {
        let _ = run.see(frame(number), from_ref(&person));
    }
    assert!(run.see(frame(65), from_ref(&person)).is_empty());
    assert!(run.see(frame(69), from_ref(&person)).is_empty());
    assert_eq!(run.see(frame(70), from_ref(&person)), [1]);
    assert_eq!(run.tracker.counters().time_stood_back, 2);
    let _ = run.see(frame(0), from_ref(&person));
    assert_eq!(run.see(frame(1), from_ref(&person)), [2]);
    assert_eq!(run.tracker.counters().clock_was_set, 1);
}

#[test]
fn where_another_picture_begins_no_person_is_one_of_before() {
    let mut run = Run::new(TrackConfig {
        hits_to_confirm: 1,
        ..TrackConfig::default()
    });
    let person = standing(300.0, 300.0);
    assert_eq!(run.see(frame(0), from_ref(&person)), [1]);
    assert_eq!(run.see(frame(1), from_ref(&person)), [1]);
    run.tracker.forget();
    assert_eq!(run.see(frame(2), from_ref(&person)), [2]);
}

#[test]
fn smoothing_calms_keypoints_only_where_asked_for() {
    let smooth = OneEuroConfig {
        min_cutoff_hz: 1.0,
        cutoff_per_speed: 1.0,
        speed_cutoff_hz: 1.0,
    };
    let jitter = |smooth: Option<OneEuroConfig>| {
        let mut random = fastrand::Rng::with_seed(6);
        let mut run = Run::new(TrackConfig {
            smooth,
            ..TrackConfig::default()
        });
        let mut sum = 0.0;
        for number in 0..200 {
            let _ = run.see(frame(number), &[noisy(standing(300.0, 300.0), &mut random)]);
            if number > 30 {
                sum += (run.out[0].detection.keypoints[9].x_px - 328.0).powi(2);
            }
        }
        sum
    };
    assert!(jitter(Some(smooth)) < 0.3 * jitter(None));
}

#[test]
fn the_documented_section_is_read_and_bad_values_are_named() {
    #[derive(Deserialize)]
    struct File {
        track: TrackConfig,
    }
    let text: String = include_str!("mod.rs")
        .lines()
        .skip_while(|line| *line != "/// ```toml")
        .skip(1)
        .take_while(|line| *line != "/// ```")
        .map(|line| line.trim_start_matches("///").trim_start().to_owned() + "\n")
        .collect();
    let config = toml::from_str::<File>(&text).unwrap().track;
    config.validate().unwrap();
    assert_eq!(
        TrackConfig {
            smooth: None,
            ..config
        },
        TrackConfig::default()
    );
    for (from, to, named) in [
        (
            "hits_to_confirm = 2",
            "hits_to_confirm = 0",
            "track.hits_to_confirm = 0",
        ),
        ("keep_s = 1.0", "keep_s = nan", "track.keep_s = NaN"),
        (
            "min_cutoff_hz = 3.0",
            "min_cutoff_hz = -3.0",
            "track.smooth.min_cutoff_hz = -3",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let file = toml::from_str::<File>(&text.replace(from, to)).unwrap();
        let error = file.track.validate().unwrap_err();
        assert!(error.to_string().starts_with(named), "{error}");
    }
    assert!(toml::from_str::<File>(&text.replace("keep_s", "keep")).is_err());
}

#[test]
fn a_frame_that_not_everyone_was_looked_for_in_ends_no_person_without_an_id() {
    let person = standing(300.0, 300.0);
    let people: People = [person.clone()].into_iter().collect();
    let ids_after = |whole: bool| {
        let mut run = Run::new(TrackConfig::default());
        let _ = run.see(frame(0), from_ref(&person));
        if whole {
            run.tracker.update(frame(1), &People::new(), &mut run.out);
        } else {
            run.tracker
                .update_partly(frame(1), &People::new(), &mut run.out);
        }
        run.tracker.update_partly(frame(2), &people, &mut run.out);
        run.out.iter().map(|person| person.id).collect::<Vec<_>>()
    };
    assert_eq!(ids_after(false), [1]);
    assert!(ids_after(true).is_empty());

    // Out of sight for longer than people are kept, it ends in such frames too.
    let mut run = Run::new(TrackConfig::default());
    let _ = run.see(frame(0), from_ref(&person));
    run.tracker
        .update_partly(frame(40), &People::new(), &mut run.out);
    assert!(run.see(frame(41), from_ref(&person)).is_empty());
}

#[test]
fn a_person_is_kept_for_exactly_as_long_as_asked_for_and_a_second_back_is_another_clock() {
    let at_ms = |ms: u64| MonoNs(10_000_000_000 + ms * 1_000_000);
    let person = standing(300.0, 300.0);
    for (unseen_ms, ids) in [(1000, &[1][..]), (1001, &[])] {
        let mut run = Run::new(TrackConfig::default());
        for ms in [0, 100] {
            let _ = run.see(at_ms(ms), from_ref(&person));
        }
        assert!(run.see(at_ms(100 + unseen_ms), &[]).is_empty());
        assert_eq!(run.see(at_ms(101 + unseen_ms), from_ref(&person)), ids);
    }

    for (back_ms, set) in [(999, 0), (1000, 1)] {
        let mut run = Run::new(TrackConfig::default());
        let _ = run.see(at_ms(2000), from_ref(&person));
        let _ = run.see(at_ms(2000 - back_ms), from_ref(&person));
        let counters = run.tracker.counters();
        assert_eq!(
            (counters.clock_was_set, counters.time_stood_back),
            (set, 1 - set)
        );
    }
}

#[test]
fn a_hold_time_of_zero_leaves_all_labels_as_they_come() {
    let mut run = Run::new(TrackConfig {
        swap_hold_s: 0.0,
        ..TrackConfig::default()
    });
    let person = standing(300.0, 300.0);
    for number in 0..10 {
        let _ = run.see(frame(number), from_ref(&person));
    }
    let swapped = mirrored(&person);
    let _ = run.see(frame(10), from_ref(&swapped));
    assert_eq!(run.out[0].detection.keypoints, swapped.keypoints);
    assert_eq!(run.tracker.counters().swaps_undone, 0);
}

#[test]
fn where_all_places_are_taken_the_person_unseen_for_longest_gives_way() {
    let mut run = Run::new(TrackConfig {
        hits_to_confirm: 1,
        keep_s: 10.0,
        ..TrackConfig::default()
    });
    // Sixteen people in two rows, who get their ids by falling score.
    let one = |number: u8| {
        let (column, row) = (f32::from(number % 8), f32::from(number / 8));
        Detection {
            score: 0.9 - 0.01 * f32::from(number),
            ..standing(100.0 * column, 200.0 + 400.0 * row)
        }
    };
    let row = |numbers: std::ops::Range<u8>| numbers.map(one).collect::<Vec<_>>();
    let first: Vec<u32> = (1..=8).collect();
    assert_eq!(run.see(frame(0), &row(0..8)), first);
    let second: Vec<u32> = (9..=16).collect();
    assert_eq!(run.see(frame(1), &row(8..16)), second);
    assert_eq!(run.see(frame(2), &row(1..8)), first[1..]);
    // Seven of the second row and a newcomer, who takes the place of the first.
    let newcomer = standing(300.0, 1400.0);
    let people: Vec<_> = row(8..15).into_iter().chain([newcomer]).collect();
    assert_eq!(run.see(frame(3), &people), [9, 10, 11, 12, 13, 14, 15, 17]);
    let people: Vec<_> = row(1..8).into_iter().chain([one(15)]).collect();
    assert_eq!(run.see(frame(4), &people), [2, 3, 4, 5, 6, 7, 8, 16]);
    assert_eq!(run.see(frame(5), &row(0..1)), [18]);
}

#[test]
fn the_box_of_a_track_moves_as_its_keypoints_do_on_average() {
    let at_ms = |ms: u64| MonoNs(1_000_000_000 + ms * 1_000_000);
    let mut track = Track {
        seen: at_ms(100),
        bounds: BoxPx {
            left: 100.0,
            top: 200.0,
            right: 150.0,
            bottom: 300.0,
        },
        ..Track::default()
    };
    let edges = |track: &Track| {
        let bounds = track.expected_bounds(&track.motion.expect_at(at_ms(200)));
        [bounds.left, bounds.top, bounds.right, bounds.bottom]
    };
    let near = |got: [f32; 4], want: [f32; 4]| {
        let mut off = std::iter::zip(got, want).map(|(got, want)| (got - want).abs());
        assert!(off.all(|off| off < 1e-3), "{got:?}, want {want:?}");
    };
    // Without a keypoint it stays.
    near(edges(&track), [100.0, 200.0, 150.0, 300.0]);
    // One keypoint moves by (10, 20) in 0.1 s, which makes a velocity of (30, 60), one stands, the rest are not seen.
    let mut keypoints = [Keypoint::default(); KEYPOINTS];
    for keypoint in &mut keypoints[..2] {
        keypoint.visibility = 0.9;
    }
    track.motion.observe(at_ms(0), &keypoints);
    keypoints[0].x_px = 10.0;
    keypoints[0].y_px = 20.0;
    track.motion.observe(at_ms(100), &keypoints);
    near(edges(&track), [101.5, 203.0, 151.5, 303.0]);
}
