use std::f32::consts::TAU;

use fastrand::Rng;
use glam::Vec3;

use super::*;
use crate::base::clock::MonoNs;
use crate::motion::angles::figure::{Posture, joints, seen, up};
use crate::motion::exercise::tests::person;
use crate::pose::{JointState, PoseSample};
use crate::skeleton::JOINTS;

/// How a film of a stick figure is taken.
#[derive(Clone, Copy)]
struct View {
    rate_hz: f32,
    heading_deg: f64,
    down_deg: f64,
    noise_m: f32,
    seed: u64,
}

const FRONT: View = View {
    rate_hz: 30.0,
    heading_deg: 80.0,
    down_deg: 10.0,
    noise_m: 0.012,
    seed: 1,
};

const ASIDE: View = View {
    rate_hz: 24.0,
    heading_deg: 40.0,
    down_deg: 25.0,
    noise_m: 0.015,
    seed: 2,
};

const SLOW: View = View {
    rate_hz: 12.0,
    heading_deg: 120.0,
    down_deg: 0.0,
    noise_m: 0.015,
    seed: 3,
};

/// What is done, by the share of the way out: 0 at rest, 1 at the farthest.
type Movement = fn(f64, u32) -> Posture;

fn squat(out: f64, _: u32) -> Posture {
    Posture {
        hip_flexion: [5.0 + 80.0 * out; 2],
        knee_flexion: [8.0 + 92.0 * out; 2],
        shoulder_flexion: [5.0 + 30.0 * out; 2],
        trunk_flexion: 3.0 + 22.0 * out,
        elbow_flexion: [15.0; 2],
        neck_flexion: 10.0,
        ..Posture::default()
    }
}

/// The right arm, forward.
fn arm_raise(out: f64, _: u32) -> Posture {
    Posture {
        shoulder_flexion: [4.0, 4.0 + 130.0 * out],
        elbow_flexion: [20.0; 2],
        ..Posture::default()
    }
}

/// Left and right knee in turn.
fn marching(out: f64, number: u32) -> Posture {
    let mut posture = Posture::default();
    let side = (number % 2) as usize;
    posture.hip_flexion[side] = 85.0 * out;
    posture.knee_flexion[side] = 80.0 * out;
    posture
}

/// From a chair and back.
fn sit_to_stand(out: f64, number: u32) -> Posture {
    squat(1.0 - out, number)
}

/// Shares of the way, frame by frame, with the number of the repetition: rest, repetitions that differ, rest.
fn set(repetitions: u32, rest_s: f32, took_s: f32, view: &View) -> Vec<(f32, u32)> {
    let mut random = Rng::with_seed(view.seed);
    let frames = |seconds: f32| (seconds * view.rate_hz).round() as usize;
    let mut shares = vec![(0.0, 0); frames(1.0)];
    for number in 0..repetitions {
        let deep = 0.9 + 0.2 * random.f32();
        let count = frames(took_s * (0.85 + 0.3 * random.f32()));
        let turn = |frame: usize| TAU * frame as f32 / count as f32;
        shares.extend((0..count).map(|at| (deep * 0.5 * (1.0 - turn(at).cos()), number)));
        shares.extend(vec![(0.0, number); frames(rest_s)]);
    }
    shares.extend(vec![(0.0, 0); frames(0.7)]);
    shares
}

/// A frame of a figure, with errors of its joints.
fn sample(posture: &Posture, view: &View, at: usize, random: &mut Rng, id: u32) -> PoseSample {
    let mut normal = || (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
    let truth = seen(&joints(posture), view.heading_deg, view.down_deg);
    let mut one = person(id);
    one.joints_camera_m =
        truth.map(|joint| joint + view.noise_m * Vec3::new(normal(), normal(), normal()));
    one.sigmas_m = [view.noise_m; JOINTS];
    let time = 1.0 + f64::from(at as f32 / view.rate_hz);
    PoseSample {
        capture: MonoNs((time * 1e9) as u64),
        up_camera: Some(up(view.heading_deg, view.down_deg)),
        people: heapless::Vec::from_slice(&[one]).unwrap(),
        ..PoseSample::default()
    }
}

/// A set as a film.
fn film(movement: Movement, shares: &[(f32, u32)], view: &View) -> Vec<PoseSample> {
    let mut random = Rng::with_seed(view.seed.wrapping_add(77));
    let frames = shares.iter().enumerate();
    frames
        .map(|(at, (share, number))| {
            let posture = movement((*share).into(), *number);
            sample(&posture, view, at, &mut random, 1)
        })
        .collect()
}

fn read(name: &str, count: u32, film: &[PoseSample]) -> Result<TeachClip, TeachError> {
    let mut reader = TeachReader::new(name, count, None);
    for sample in film {
        reader.add(sample)?;
    }
    reader.finish()
}

fn clip(movement: Movement, count: u32, took_s: f32, view: &View) -> TeachClip {
    let shares = set(count, 0.5, took_s, view);
    read("set.poses", count, &film(movement, &shares, view)).unwrap()
}

#[test]
fn two_sets_of_squats_teach_what_counts_a_third_from_elsewhere() {
    let sets = [clip(squat, 5, 2.0, &FRONT), clip(squat, 7, 1.7, &ASIDE)];
    let taught = teach("mine", &sets, None).unwrap();
    let exercise = &taught.best.exercise;
    assert!(
        ["knee_flexion", "hip_flexion", "thigh_elevation"].contains(&exercise.signal.as_str()),
        "{exercise:?}"
    );
    assert_eq!((exercise.sides, exercise.rest), (Sides::Min, Rest::Low));
    assert!((15.0..55.0).contains(&exercise.low_deg), "{exercise:?}");
    assert!((35.0..80.0).contains(&exercise.high_deg), "{exercise:?}");
    assert!((0.3..1.0).contains(&exercise.min_s), "{exercise:?}");
    assert_eq!(taught.best.counted, [[5, 0], [7, 0]]);
    assert_eq!(taught.left_out, [Some([5, 0]), Some([7, 0])]);
    // Slower, at twelve frames a second, from the other side.
    for seed in 10..30 {
        let third = clip(squat, 12, 2.4, &View { seed, ..SLOW });
        assert_eq!(counted(exercise, &third), [12, 0], "seed {seed}");
    }
}

#[test]
fn sides_and_rest_are_those_that_were_shown() {
    let learned = |movement: Movement, took_s: f32| {
        let sets = [
            clip(movement, 6, took_s, &FRONT),
            clip(movement, 4, took_s, &ASIDE),
        ];
        let taught = teach("mine", &sets, None).unwrap();
        let third = clip(movement, 8, took_s, &SLOW);
        let exercise = taught.best.exercise;
        assert_eq!(counted(&exercise, &third), [8, 0], "{exercise:?}");
        exercise
    };
    let arm = learned(arm_raise, 1.6);
    assert_eq!(
        (arm.signal.as_str(), arm.sides),
        ("upper_arm_elevation", Sides::Right)
    );
    let lifts = learned(marching, 0.9);
    assert_eq!((lifts.sides, lifts.rest), (Sides::Max, Rest::Low));
    let stands = learned(sit_to_stand, 2.0);
    assert_eq!(stands.rest, Rest::High);
    let angle = teach(
        "mine",
        &[clip(squat, 5, 2.0, &FRONT)],
        Some("trunk_flexion"),
    );
    // A way of 22 degrees has no room for two thresholds.
    let error = angle.unwrap_err();
    assert_eq!(error.candidates()[0].outcome, Outcome::Still, "{error}");
}

/// What people do between sets, for a few seconds each.
fn other(random: &mut Rng) -> (f32, Box<dyn Fn(f32) -> Posture>) {
    let [size, pace] = [0.7 + 0.3 * random.f32(), 0.8 + 0.4 * random.f32()];
    let left_or_right = random.usize(..2);
    let wave = move |time: f32, hz: f32| f64::from((TAU * hz * pace * time).sin());
    let up = move |time: f32, hz: f32| 0.5 - 0.5 * f64::from((TAU * hz * pace * time).cos());
    let size = f64::from(size);
    let seconds = 4.0 + 8.0 * random.f32();
    let does: Box<dyn Fn(f32) -> Posture> = match random.u8(..7) {
        // Walks: one knee after the other.
        0 | 1 => Box::new(move |time| {
            let swing = wave(time, 0.9);
            let knees = [swing.max(0.0), (-swing).max(0.0)].map(|one| 5.0 + 60.0 * size * one);
            Posture {
                hip_flexion: [25.0 * swing, -25.0 * swing],
                knee_flexion: knees,
                shoulder_flexion: [-20.0 * swing, 20.0 * swing],
                elbow_flexion: [20.0; 2],
                ..Posture::default()
            }
        }),
        // Reaches overhead, with one arm or both.
        2 => Box::new(move |time| {
            let mut posture = Posture::default();
            posture.shoulder_flexion[left_or_right] = 160.0 * size * up(time, 0.4);
            posture.shoulder_abduction[1 - left_or_right] = 60.0 * size * up(time, 0.3);
            posture
        }),
        // Bows.
        3 => Box::new(move |time| Posture {
            trunk_flexion: 55.0 * size * up(time, 0.3),
            hip_flexion: [55.0 * size * up(time, 0.3); 2],
            knee_flexion: [6.0; 2],
            ..Posture::default()
        }),
        // Kicks, or stands on one leg.
        4 => Box::new(move |time| {
            let mut posture = Posture::default();
            posture.knee_flexion[left_or_right] = 95.0 * size * up(time, 0.5);
            posture.hip_flexion[left_or_right] = 60.0 * size * up(time, 0.5);
            posture
        }),
        // Bends the knees a little, as people do who talk with their hands.
        5 => Box::new(move |time| Posture {
            knee_flexion: [8.0 + 22.0 * up(time, 0.5); 2],
            hip_flexion: [5.0 + 18.0 * up(time, 0.5); 2],
            elbow_flexion: [60.0 + 40.0 * wave(time, 1.1), 60.0 + 40.0 * wave(time, 0.8)],
            ..Posture::default()
        }),
        _ => Box::new(move |time| Posture {
            knee_flexion: [6.0; 2],
            trunk_lateral: 12.0 * wave(time, 0.3),
            neck_flexion: 20.0 * up(time, 0.2),
            ..Posture::default()
        }),
    };
    (seconds, does)
}

#[test]
fn nothing_is_counted_in_ten_minutes_of_other_motion() {
    let sets = [clip(squat, 5, 2.0, &FRONT), clip(squat, 6, 1.7, &ASIDE)];
    let squats = teach("mine", &sets, None).unwrap().best.exercise;
    let view = View {
        noise_m: 0.0,
        ..ASIDE
    };
    let mut random = Rng::with_seed(5);
    let (mut shown, mut at) = (Vec::new(), 0);
    while at as f32 / view.rate_hz < 600.0 {
        let (seconds, does) = other(&mut random);
        let frames = (seconds * view.rate_hz) as usize;
        for frame in 0..frames {
            let posture = does(frame as f32 / view.rate_hz);
            shown.push(sample(&posture, &view, at, &mut random, 1));
            at += 1;
        }
    }
    // Then five squats, so that a counter that sleeps is told from one that sees none.
    let mut reader = TeachReader::new("day.poses", 0, None);
    for sample in &shown {
        reader.add(sample).unwrap();
    }
    let mut day = reader.finish().unwrap();
    assert!(day.seconds() > 599.0);
    // Knees that bend a little may be told as partial ones, which are not counted.
    assert_eq!(counted(&squats, &day)[0], 0);
    let last = day.frames[day.frames.len() - 1].time;
    for mut frame in clip(squat, 5, 2.0, &SLOW).frames {
        frame.time = MonoNs(last.0 + frame.time.0);
        day.frames.push(frame);
    }
    assert_eq!(counted(&squats, &day)[0], 5);
}

#[test]
fn a_film_whose_end_cuts_a_repetition_still_teaches() {
    let mut shares = set(4, 0.4, 2.0, &FRONT);
    // The fourth is cut at its deepest.
    let fourth: Vec<usize> = (0..shares.len())
        .filter(|at| shares[*at].1 == 3 && shares[*at].0 > 0.85)
        .collect();
    shares.truncate(fourth[0] + 3);
    let cut = read("cut.mp4", 3, &film(squat, &shares, &FRONT)).unwrap();
    let taught = teach("mine", &[cut], Some("knee_flexion")).unwrap();
    assert_eq!(taught.best.counted, [[3, 1]]);
    assert!(taught.left_out.is_empty());
}

#[test]
fn a_wrong_count_is_an_error_with_what_was_found() {
    let mut wrong = clip(squat, 5, 2.0, &FRONT);
    wrong.repetitions = 9;
    let error = teach("mine", &[wrong], None).unwrap_err();
    assert!(matches!(error, TeachError::NoSignal { .. }));
    let message = error.to_string();
    assert!(
        message.starts_with("no signal gives the repetitions of each clip; ")
            && message.contains("_flexion gives 5; check --count"),
        "{message}"
    );
    let fewer = {
        let mut clip = clip(squat, 5, 2.0, &FRONT);
        clip.repetitions = 3;
        teach("mine", &[clip], None)
    };
    assert!(matches!(fewer, Err(TeachError::NoSignal { .. })));
    let unknown = teach("mine", &[clip(squat, 5, 2.0, &FRONT)], Some("knee")).unwrap_err();
    assert!(
        unknown
            .to_string()
            .starts_with("signal \"knee\": must be one of hip_flexion,"),
        "{unknown}"
    );
}

#[test]
fn a_film_that_cannot_teach_is_refused_with_the_reason() {
    let shares = set(3, 0.5, 1.5, &FRONT);
    let whole = film(squat, &shares, &FRONT);
    let refused = |film: &[PoseSample]| read("film.mp4", 3, film).unwrap_err().to_string();
    assert_eq!(
        refused(&[]),
        "film.mp4: no person is seen; film one person alone, from head to foot"
    );
    assert_eq!(
        refused(&whole[..40]),
        "film.mp4: the person is seen for 1.3 s, must be at least 2 s"
    );
    let sparse: Vec<PoseSample> = whole.iter().step_by(20).cloned().collect();
    assert_eq!(
        refused(&sparse),
        "film.mp4: 1.5 frames a second, must be at least 2; 10 or more are better"
    );
    // A second person, and one who only passes by.
    let with = |frames: usize| -> Vec<PoseSample> {
        let mut film = whole.clone();
        for sample in film.iter_mut().skip(20).take(frames) {
            sample.people.push(person(7)).unwrap();
        }
        film
    };
    assert_eq!(
        refused(&with(100)),
        "film.mp4: more than one person is seen, ids 1, 7; film one person alone, or choose with --person ID"
    );
    assert_eq!(read("film.mp4", 3, &with(10)).unwrap().person, 1);
    let choose = |id: u32| {
        let mut reader = TeachReader::new("film.mp4", 3, Some(id));
        for sample in with(100) {
            reader.add(&sample).unwrap();
        }
        reader.finish()
    };
    assert_eq!(choose(1).unwrap().person, 1);
    assert_eq!(
        choose(3).unwrap_err().to_string(),
        "film.mp4: person 3 is not seen; seen are: 1, 7"
    );
    let mut endless = TeachReader::new("film.mp4", 3, None);
    let error = (0..40_000).find_map(|_| endless.add(&whole[0]).err());
    assert!(matches!(error, Some(TeachError::Long { .. })));
}

#[test]
fn joints_that_are_completed_teach_nothing_and_one_hidden_side_is_enough() {
    let shares = set(4, 0.5, 2.0, &FRONT);
    let hide = |joints: &[usize]| {
        let mut film = film(squat, &shares, &FRONT);
        for person in film.iter_mut().flat_map(|sample| &mut sample.people) {
            for &joint in joints {
                person.states[joint] = JointState::Completed;
            }
        }
        teach("mine", &[read("film.mp4", 4, &film).unwrap()], None)
    };
    let everything: Vec<usize> = (0..JOINTS).collect();
    let error = hide(&everything).unwrap_err();
    assert!(matches!(error, TeachError::Hidden { .. }));
    assert!(error.to_string().contains("film the whole body"), "{error}");
    // The right leg is behind a table.
    let taught = hide(&[2, 3]).unwrap();
    assert_eq!(taught.best.counted, [[4, 0]]);
    assert_eq!(taught.best.exercise.sides, Sides::Mean);
    // Both are.
    let taught = hide(&[2, 3, 5, 6]);
    let tried = match &taught {
        Ok(taught) => taught.candidates.as_slice(),
        Err(error) => error.candidates(),
    };
    let knee = tried
        .iter()
        .find(|one| one.exercise.signal == "knee_flexion");
    assert_eq!(knee.unwrap().outcome, Outcome::Hidden);
}
