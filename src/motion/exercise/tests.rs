use glam::Vec3;

use super::*;
use crate::motion::angles::Angle;
use crate::pose::{Action, ActionSource, BoxPx, HeadTag, JointState, Keypoint, Size};
use crate::skeleton::{JOINTS, KEYPOINTS};

/// Frames a second.
const RATE: f32 = 30.0;

pub(super) fn person(id: u32) -> PersonPose {
    PersonPose {
        id,
        score: 1.0,
        bounds: BoxPx::default(),
        root_camera_m: Vec3::Z,
        root_sigma_m: 0.1,
        joints_camera_m: [Vec3::Z; JOINTS],
        sigmas_m: [0.01; JOINTS],
        states: [JointState::Measured; JOINTS],
        keypoints: [Keypoint::default(); KEYPOINTS],
        size: Size::default(),
        action: None,
        head: HeadTag::default(),
    }
}

fn exercise(name: &str) -> Exercise {
    let config = ExerciseConfig {
        name: Some(name.into()),
        file: None,
    };
    config.open().unwrap().unwrap()
}

fn measured(deg: f32) -> Angle {
    Angle {
        deg,
        sigma_deg: 5.0,
        state: JointState::Measured,
    }
}

fn at(frame: usize) -> MonoNs {
    MonoNs(1_000_000_000 + frame as u64 * 33_333_333)
}

/// What is counted of one person whose signal is this on each side.
struct Run {
    counting: Counting,
    frame: usize,
    found: Vec<Repetition>,
}

impl Run {
    fn of(name: &str) -> Self {
        Self {
            counting: Counting::new(exercise(name)),
            frame: 0,
            found: Vec::new(),
        }
    }

    fn put(&mut self, person: &PersonPose, left: Angle, right: Angle) {
        let mut signals = [Angle::default(); SIGNALS];
        let [l, r] = self.counting.exercise().signals;
        (signals[l], signals[r]) = (left, right);
        let found = &mut self.found;
        let people = std::slice::from_ref(person);
        self.counting
            .add(at(self.frame), people, &[signals], &mut |one| {
                found.push(one.clone());
            });
        self.frame += 1;
    }

    fn both(&mut self, values: impl IntoIterator<Item = f32>) {
        for deg in values {
            self.put(&person(1), measured(deg), measured(deg));
        }
    }

    fn nothing(&mut self, frames: usize) {
        for _ in 0..frames {
            self.counting.add(at(self.frame), &[], &[], &mut |one| {
                self.found.push(one.clone());
            });
            self.frame += 1;
        }
    }

    fn end(mut self) -> Vec<Repetition> {
        let found = &mut self.found;
        self.counting.finish(&mut |one| found.push(one.clone()));
        self.found
    }
}

/// The signal at rest.
fn rest(deg: f32, seconds: f32) -> Vec<f32> {
    vec![deg; (seconds * RATE) as usize]
}

/// From one value to another and back, as a cosine.
fn there_and_back(from: f32, to: f32, seconds: f32) -> Vec<f32> {
    let frames = (seconds * RATE) as usize;
    let turn = |frame: usize| std::f32::consts::TAU * frame as f32 / frames as f32;
    (0..frames)
        .map(|frame| from + (to - from) * 0.5 * (1.0 - turn(frame).cos()))
        .collect()
}

fn one_way(from: f32, to: f32, seconds: f32) -> Vec<f32> {
    let frames = (seconds * RATE) as usize;
    (0..frames)
        .map(|frame| from + (to - from) * frame as f32 / frames as f32)
        .collect()
}

#[test]
fn whole_and_partial_squats_are_told_apart() {
    let mut run = Run::of("squat");
    run.both(rest(5.0, 1.0));
    for depth in [100.0, 110.0, 55.0, 20.0] {
        run.both(there_and_back(5.0, depth, 2.0));
        run.both(rest(5.0, 0.5));
    }
    let found = run.end();
    let summary: Vec<_> = found
        .iter()
        .map(|r| (r.partial, r.count, r.partials))
        .collect();
    assert_eq!(summary, [(false, 1, 0), (false, 2, 0), (true, 2, 1)]);
    let first = &found[0];
    assert!((first.depth_deg - 100.0).abs() < 2.0, "{first:?}");
    assert!((found[2].depth_deg - 55.0).abs() < 2.0);
    // The deepest place is a second after the start of the movement, which began at one second.
    let since = |time: MonoNs| time.since(at(0)).as_secs_f32();
    assert!(
        (since(first.peak) - 2.0).abs() < 0.15,
        "{}",
        since(first.peak)
    );
    assert!(first.start < first.peak && first.peak < first.end);
    // From 30 to 70 degrees.
    let out = first.out_deg_s.unwrap();
    assert!((100.0..200.0).contains(&out), "{out}");
    let [difference, sigma] = first.difference_deg.unwrap();
    assert!(difference.abs() < 0.01 && (sigma - 50.0_f32.sqrt()).abs() < 0.01);
    assert!(first.completed_share.abs() < 1e-6);
    let [low, high] = found[1].range_deg[0].unwrap();
    assert!(low < 15.0 && (95.0..112.0).contains(&high), "{low} {high}");
}

/// Sum of twelve uniform numbers.
fn normal(random: &mut fastrand::Rng) -> f32 {
    (0..12).map(|_| random.f32()).sum::<f32>() - 6.0
}

#[test]
fn ten_squats_are_ten_whatever_the_noise() {
    for noise_deg in [0.0, 3.0, 8.0, 15.0] {
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut values = rest(10.0, 1.0);
            for number in 0..10 {
                let depth = 95.0 + 20.0 * random.f32();
                let seconds = 1.6 + random.f32();
                let squat = there_and_back(10.0, depth, seconds);
                let bottom = squat.len() / 2;
                values.extend(&squat[..bottom]);
                // One pause at the bottom.
                if number == 4 {
                    values.extend(rest(depth, 2.0));
                }
                values.extend(&squat[bottom..]);
                values.extend(rest(10.0, 0.3 + random.f32()));
            }
            for value in &mut values {
                *value += noise_deg * normal(&mut random);
            }
            let mut run = Run::of("squat");
            run.both(values);
            let whole = run.end().iter().filter(|r| !r.partial).count();
            assert_eq!(whole, 10, "noise {noise_deg}, seed {seed}");
        }
    }
}

#[test]
fn a_film_of_five_frames_a_second_is_counted_too() {
    // The left knee of a real person by another program (MediaPipe, `squats.mp4`): two squats, and a third of which the
    // film shows the way down and the beginning of the way up.
    let knee = [
        16, 15, 15, 17, 25, 47, 71, 87, 93, 96, 100, 98, 93, 88, 75, 64, 49, 32, 24, 20, 19, 19,
        19, 16, 17, 17, 17, 19, 33, 55, 75, 94, 97, 105, 105, 102, 96, 94, 83, 65, 50, 31, 17, 15,
        14, 14, 13, 12, 13, 13, 13, 14, 16, 41, 65, 87, 96, 103, 106, 103, 98, 101, 98, 90, 75,
    ];
    let mut counting = Counting::new(exercise("squat"));
    let mut found = Vec::new();
    for (frame, deg) in knee.into_iter().enumerate() {
        let mut signals = [Angle::default(); SIGNALS];
        (signals[4], signals[5]) = (measured(deg as f32), measured(deg as f32));
        let time = MonoNs(frame as u64 * 200_000_000);
        counting.add(time, &[person(1)], &[signals], &mut |one| {
            found.push(one.clone());
        });
    }
    counting.finish(&mut |one| found.push(one.clone()));
    let summary: Vec<_> = found.iter().map(|r| (r.partial, r.count)).collect();
    assert_eq!(summary, [(false, 1), (false, 2), (true, 2)]);
    assert!(
        found.iter().all(|r| (95.0..107.0).contains(&r.depth_deg)),
        "{found:?}"
    );
}

#[test]
fn getting_into_position_counts_nothing() {
    // Walks in, seen from the first step; then crouches to pick a thing up, comes up, and is ready.
    let mut run = Run::of("squat");
    for step in 0..6 {
        for deg in there_and_back(10.0, 65.0, 0.6) {
            let (swing, stance) = (measured(deg), measured(10.0));
            let (left, right) = if step % 2 == 0 {
                (swing, stance)
            } else {
                (stance, swing)
            };
            run.put(&person(1), left, right);
        }
    }
    assert!(run.found.is_empty());
    let mut run = Run::of("squat");
    run.both(rest(110.0, 2.0));
    run.both(one_way(110.0, 5.0, 1.0));
    run.both(rest(5.0, 0.2));
    assert!(run.found.is_empty());
    run.both(rest(5.0, 0.5));
    run.both(there_and_back(5.0, 100.0, 2.0));
    run.both(rest(5.0, 0.3));
    assert_eq!(run.end().len(), 1);
}

#[test]
fn a_repetition_counts_at_the_end_of_the_effort() {
    let mut run = Run::of("squat");
    run.both(rest(5.0, 1.0));
    run.both(there_and_back(5.0, 100.0, 2.0));
    run.both(rest(5.0, 0.1));
    // Before any further rest.
    assert_eq!(run.found.len(), 1);

    // Standing up counts when the person stands, not when they sit again.
    let mut run = Run::of("sit_to_stand");
    run.both(rest(90.0, 1.0));
    run.both(one_way(90.0, 5.0, 1.2));
    assert!(run.found.is_empty());
    run.both(rest(5.0, 0.7));
    assert_eq!(run.found.len(), 1);
    run.both(one_way(5.0, 90.0, 1.2));
    run.both(rest(90.0, 0.6));
    run.both(one_way(90.0, 5.0, 1.2));
    // The test ends as the last one stands.
    let found = run.end();
    assert_eq!(found.len(), 2);
    assert!(
        found.iter().all(|r| !r.partial && r.depth_deg < 15.0),
        "{found:?}"
    );
    assert_eq!(found[1].count, 2);
}

#[test]
fn the_last_one_is_not_lost() {
    let down_and_up = there_and_back(5.0, 100.0, 2.0);
    let most = down_and_up.len() * 4 / 5;
    let begun = |frames: usize| {
        let mut run = Run::of("squat");
        run.both(rest(5.0, 1.0));
        run.both(down_and_up[..frames].to_vec());
        run
    };
    // The stream ends.
    let found = begun(most).end();
    assert_eq!((found.len(), found[0].partial), (1, false));
    // The person leaves, and the rest of the room goes on.
    let mut run = begun(most);
    run.nothing(75);
    assert_eq!((run.found.len(), run.found[0].partial), (1, false));
    assert!(run.end().len() == 1);
    // At the bottom it is not whole.
    let found = begun(down_and_up.len() / 2).end();
    assert_eq!((found.len(), found[0].partial), (1, true));
}

#[test]
fn a_gap_or_a_seat_in_between_is_no_repetition() {
    let mut run = Run::of("squat");
    run.both(rest(5.0, 1.0));
    run.both(one_way(5.0, 90.0, 1.0));
    run.both(rest(90.0, 60.0));
    run.both(one_way(90.0, 5.0, 1.0));
    run.both(rest(5.0, 1.0));
    assert!(run.found.is_empty(), "{:?}", run.found);
    run.both(there_and_back(5.0, 100.0, 2.0));
    run.both(rest(5.0, 1.0));
    assert_eq!(run.end().len(), 1);
}

#[test]
fn sides_are_compared_only_where_both_are_equally_sure() {
    let squat = |left: fn(f32) -> Angle, right: fn(f32) -> Angle| {
        let mut run = Run::of("squat");
        let mut values = rest(5.0, 1.0);
        values.extend(there_and_back(5.0, 100.0, 2.0));
        values.extend(rest(5.0, 0.5));
        for deg in values {
            run.put(&person(1), left(deg), right(deg));
        }
        run.end().remove(0)
    };
    let [difference, _] = squat(|d| measured(d + 8.0), measured)
        .difference_deg
        .unwrap();
    assert!((difference - 8.0).abs() < 0.01);
    let unsure = |deg| Angle {
        sigma_deg: 12.0,
        ..measured(deg)
    };
    assert_eq!(squat(unsure, measured).difference_deg, None);
    let completed = |deg| Angle {
        state: JointState::Completed,
        ..measured(deg)
    };
    let one = squat(completed, measured);
    assert_eq!(one.difference_deg, None);
    // A completed side is in no range of motion.
    assert_eq!(one.range_deg[0], None);
    assert!(one.range_deg[1].is_some());
    // With one side absent the other is the signal.
    let one = squat(|_| Angle::default(), measured);
    assert!((one.depth_deg - 100.0).abs() < 2.0);
}

#[test]
fn completed_joints_have_their_share() {
    let mut run = Run::of("squat");
    let mut half = person(1);
    // Of pelvis, thorax, hips, knee and ankle of each side, one ankle.
    half.states[6] = JointState::Completed;
    let mut values = rest(5.0, 1.0);
    values.extend(there_and_back(5.0, 100.0, 2.0));
    values.extend(rest(5.0, 0.5));
    for deg in values {
        run.put(&half, measured(deg), measured(deg));
    }
    let share = run.end()[0].completed_share;
    assert!((share - 1.0 / 12.0).abs() < 1e-3, "{share}");
}

#[test]
fn labels_arm_the_counter() {
    let mut armed = exercise("squat");
    armed.labels = vec!["squats".into()];
    for (label, count) in [(Some("squats"), 1), (Some("walks"), 0), (None, 0)] {
        let mut run = Run::of("squat");
        run.counting = Counting::new(armed.clone());
        let mut who = person(1);
        who.action = label.map(|label| Action {
            label: label.try_into().unwrap(),
            probability: 1.0,
            source: ActionSource::Hint,
        });
        let mut values = rest(5.0, 1.0);
        values.extend(there_and_back(5.0, 100.0, 2.0));
        values.extend(rest(5.0, 0.5));
        for deg in values {
            run.put(&who, measured(deg), measured(deg));
        }
        assert_eq!(run.end().len(), count, "{label:?}");
    }
}

#[test]
fn each_person_has_a_counter_and_a_crowd_does_not_grow_it() {
    let mut counting = Counting::new(exercise("squat"));
    let mut found = Vec::new();
    let mut values = rest(5.0, 1.0);
    values.extend(there_and_back(5.0, 100.0, 2.0));
    values.extend(rest(5.0, 0.5));
    for (frame, deg) in values.into_iter().enumerate() {
        // One squats, another stands, and each frame has a person of its own.
        let people = [person(1), person(2), person(100 + frame as u32)];
        let mut moving = [Angle::default(); SIGNALS];
        (moving[4], moving[5]) = (measured(deg), measured(deg));
        let mut still = moving;
        (still[4], still[5]) = (measured(5.0), measured(5.0));
        counting.add(at(frame), &people, &[moving, still, moving], &mut |one| {
            found.push((one.person, one.count));
        });
        assert!(counting.people.len() <= TRACKS_MAX);
    }
    assert_eq!(found, [(1, 1)]);
}

#[test]
fn jumping_jacks_and_marching_are_quick() {
    let mut run = Run::of("jumping_jack");
    run.both(rest(15.0, 1.0));
    for _ in 0..10 {
        run.both(there_and_back(15.0, 165.0, 0.9));
    }
    run.both(rest(15.0, 0.5));
    assert_eq!(run.end().iter().filter(|r| !r.partial).count(), 10);

    let mut run = Run::of("marching");
    run.both(rest(5.0, 1.0));
    for step in 0..10 {
        for deg in there_and_back(5.0, 85.0, 0.6) {
            let (lifted, standing) = (measured(deg), measured(5.0));
            let (left, right) = if step % 2 == 0 {
                (lifted, standing)
            } else {
                (standing, lifted)
            };
            run.put(&person(1), left, right);
        }
    }
    run.both(rest(5.0, 0.5));
    let found = run.end();
    assert_eq!(found.iter().filter(|r| !r.partial).count(), 10);
    assert!(found.iter().all(|r| r.difference_deg.is_none()));
}

#[test]
fn a_person_who_comes_back_under_the_same_id_goes_on_counting() {
    let mut run = Run::of("squat");
    run.both(rest(5.0, 1.0));
    run.both(there_and_back(5.0, 100.0, 2.0));
    run.both(rest(5.0, 0.5));
    run.nothing(90);
    run.both(rest(5.0, 1.0));
    run.both(there_and_back(5.0, 100.0, 2.0));
    run.both(rest(5.0, 0.5));
    let counts: Vec<u32> = run.end().iter().map(|one| one.count).collect();
    assert_eq!(counts, [1, 2]);
}

#[test]
fn what_is_no_repetition_is_not_in_the_range_of_motion() {
    let mut run = Run::of("squat");
    run.both(rest(5.0, 1.0));
    for _ in 0..2 {
        for _ in 0..3 {
            run.both(there_and_back(5.0, 110.0, 2.0));
            run.both(rest(5.0, 0.5));
        }
        // Sits for forty seconds.
        run.both(one_way(5.0, 90.0, 1.0));
        run.both(rest(90.0, 40.0));
        run.both(one_way(90.0, 5.0, 1.0));
        run.both(rest(5.0, 1.0));
    }
    let found = run.end();
    let counts: Vec<u32> = found.iter().map(|one| one.count).collect();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
    for side in found[5].range_deg {
        let [_, high] = side.unwrap();
        assert!(high > 102.0, "{high}: the seat at 90 degrees is in it");
    }
}

#[test]
fn a_repetition_that_the_end_closes_has_no_speed_back() {
    let mut run = Run::of("squat");
    run.both(rest(5.0, 1.0));
    run.both(there_and_back(5.0, 110.0, 2.0));
    run.both(rest(5.0, 0.5));
    run.both(one_way(5.0, 110.0, 1.0));
    run.both(one_way(110.0, 40.0, 1.0));
    let found = run.end();
    assert_eq!(found.len(), 2);
    assert!(!found[1].partial, "more than half way back");
    assert!(found[0].back_deg_s.is_some() && found[1].back_deg_s.is_none());
    assert!(found.iter().all(|one| one.out_deg_s.is_some()));
}
