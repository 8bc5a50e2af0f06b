use super::*;
use crate::motion::angles::figure::{Posture, joints, seen};
use crate::motion::exercise::ExerciseConfig;
use crate::pose::{BoxPx, HeadTag, JointState, Keypoint, PersonPose, Size};
use crate::skeleton::{JOINTS, KEYPOINTS};

const BEGUN: MonoNs = MonoNs(7_000_000_000);

/// Frames a second.
const RATE: u32 = 30;

fn plan(minutes: u64) -> Plan {
    let config = ExerciseConfig {
        name: Some("squat".into()),
        file: None,
    };
    Plan {
        exercise: config.open().unwrap().unwrap(),
        person: None,
        label: "morning".into(),
        longest: Duration::from_mins(minutes),
    }
}

fn at(frame: u32) -> MonoNs {
    BEGUN.plus(Duration::from_secs(1) / RATE * frame)
}

/// A person whose knees are bent by so much, left and right, degrees.
fn person(id: u32, knees: [f32; 2], states: [JointState; JOINTS]) -> PersonPose {
    let posture = Posture {
        knee_flexion: knees.map(f64::from),
        hip_flexion: knees.map(f64::from),
        ..Posture::default()
    };
    PersonPose {
        id,
        score: 1.0,
        bounds: BoxPx::default(),
        root_camera_m: glam::Vec3::Z,
        root_sigma_m: 0.1,
        joints_camera_m: seen(&joints(&posture), 30.0, 10.0),
        sigmas_m: [0.01; JOINTS],
        states,
        keypoints: [Keypoint::default(); KEYPOINTS],
        size: Size::default(),
        action: None,
        head: HeadTag::default(),
    }
}

fn measured(id: u32, deg: f32) -> PersonPose {
    person(id, [deg; 2], [JointState::Measured; JOINTS])
}

/// A second at rest, then squats of three seconds each to 100 degrees: the angle of a frame.
#[expect(clippy::cast_precision_loss, reason = "frames of minutes")]
fn squatting(frame: u32) -> f32 {
    let turn = std::f32::consts::TAU * (frame.saturating_sub(RATE) as f32) / (3 * RATE) as f32;
    5.0 + 47.5 * (1.0 - turn.cos())
}

/// A collector that has seen frames of `people`.
fn run(plan: Plan, frames: u32, people: impl Fn(u32) -> Vec<PersonPose>) -> Collector {
    let mut collector = Collector::new(plan, BEGUN);
    for frame in 0..frames {
        collector.add(at(frame), &people(frame), None);
    }
    collector
}

#[test]
fn a_session_counts_samples_and_sums_up() {
    let frames = 10 * RATE + 15;
    let collector = run(plan(1), frames, |frame| {
        let knee = squatting(frame);
        vec![person(
            3,
            [knee, 0.9 * knee],
            [JointState::Measured; JOINTS],
        )]
    });
    assert_eq!(collector.progress().whole, 3);
    let summary = collector.finish(at(frames), Ended::Stopped, 0);
    assert_eq!(summary.ended, Ended::Stopped);
    assert!((summary.duration.as_secs_f64() - 10.5).abs() < 0.01);
    assert_eq!(summary.frames, u64::from(frames));
    let [one] = summary.people.as_slice() else {
        panic!("{:?}", summary.people.len());
    };
    assert_eq!((one.person, one.whole, one.partials), (3, 3, 0));
    assert_eq!(one.repetitions.len(), 3);
    assert_eq!(one.measured, u64::from(frames));
    // Ten a second, on a grid.
    assert!((104..=106).contains(&one.samples.len()));
    assert!(one.samples.is_sorted_by_key(|sample| sample.time));
    let depth = one.depth.unwrap();
    assert!((depth.mean_deg - 90.0).abs() < 3.0, "{depth:?}");
    let difference = one.difference.unwrap();
    // Both knees beyond 70 degrees differ by a tenth of the left one, 7.8 to 10 degrees.
    assert!(
        (7.5..10.5).contains(&difference.deg) && difference.repetitions == 3,
        "{difference:?}"
    );
    let [left, right] = one.range_deg.map(Option::unwrap);
    assert!(
        left[0] < 12.0 && (94.0..101.0).contains(&left[1]),
        "{left:?}"
    );
    assert!((84.0..91.0).contains(&right[1]), "{right:?}");
}

#[test]
fn completed_joints_make_no_range_and_no_difference() {
    let mut states = [JointState::Measured; JOINTS];
    // The right ankle.
    states[3] = JointState::Completed;
    let collector = run(plan(1), 10 * RATE, |frame| {
        vec![person(1, [squatting(frame); 2], states)]
    });
    let summary = collector.finish(at(10 * RATE), Ended::Stopped, 0);
    let one = &summary.people[0];
    assert!(one.whole >= 2, "{}", one.whole);
    assert!(one.range_deg[0].is_some());
    assert_eq!(one.range_deg[1], None);
    assert_eq!(one.difference, None);
    let right = |sample: &Sample| sample.angles[1].state == JointState::Completed;
    assert!(one.samples.iter().all(right), "they are flagged");
}

#[test]
fn a_session_that_is_never_stopped_ends_at_its_longest_time() {
    let minute = 60 * RATE;
    let collector = run(plan(1), 2 * minute, |frame| {
        vec![measured(1, squatting(frame))]
    });
    assert!(collector.is_over(at(minute + 1)) && !collector.is_over(at(minute - 1)));
    let summary = collector.finish(at(5 * minute), Ended::Cut, 0);
    assert_eq!(summary.duration, Duration::from_mins(1));
    assert_eq!(summary.ended.name(), "cut");
    assert!((600..=601).contains(&summary.people[0].samples.len()));
    assert!(summary.frames <= u64::from(minute) + 1);
}

#[test]
fn times_that_step_back_or_are_from_before_are_left_out() {
    let mut collector = Collector::new(plan(1), BEGUN);
    let people = [measured(1, 5.0)];
    collector.add(MonoNs(BEGUN.0 - 1), &people, None);
    assert_eq!(collector.progress().people, 0);
    collector.add(at(10), &people, None);
    collector.add(at(10), &people, None);
    collector.add(at(3), &people, None);
    let summary = collector.finish(at(20), Ended::Stopped, 2);
    assert_eq!((summary.frames, summary.missed), (1, 2));
    assert_eq!(summary.people[0].samples.len(), 1);
}

#[test]
fn one_person_who_is_asked_for_is_all_that_counts() {
    let mut wanted = plan(1);
    wanted.person = Some(2);
    let collector = run(wanted, 8 * RATE, |frame| {
        vec![
            measured(1, squatting(frame)),
            measured(2, squatting(frame)),
            measured(9, 5.0),
        ]
    });
    let summary = collector.finish(at(8 * RATE), Ended::Stopped, 0);
    let ids: Vec<u32> = summary.people.iter().map(|one| one.person).collect();
    assert_eq!(ids, [2]);
    // One who is never in view makes an empty summary.
    let mut absent = plan(1);
    absent.person = Some(77);
    let collector = run(absent, RATE, |_| vec![measured(1, 5.0)]);
    let summary = collector.finish(at(RATE), Ended::Stopped, 0);
    assert!(summary.people.is_empty() && summary.frames == u64::from(RATE));
}

#[test]
fn passers_by_take_no_room_from_the_one_who_exercises() {
    let collector = run(plan(2), 100 * RATE, |frame| {
        let mut people = vec![measured(100 + frame / (2 * RATE), 5.0)];
        if !(20 * RATE..60 * RATE).contains(&frame) {
            people.push(measured(5, squatting(frame)));
        }
        people
    });
    let summary = collector.finish(at(100 * RATE), Ended::Stopped, 0);
    assert_eq!(summary.people.len(), SESSION_PEOPLE_MAX);
    let first = &summary.people[0];
    assert_eq!(first.person, 5);
    // Before and after the gap, about three seconds each.
    assert!(first.whole >= 17, "{}", first.whole);
    assert_eq!(
        first.repetitions.len() as u64,
        u64::from(first.whole) + u64::from(first.partials)
    );
    // Fifty passers-by and one who stays.
    assert_eq!(summary.people_left_out, 51 - SESSION_PEOPLE_MAX as u64);
    assert_eq!(summary.repetitions_left_out, 0);
}

/// One squat after another, each by a person with an id of their own, from `first` on.
fn each_once(first: u32, frame: u32) -> PersonPose {
    let turn = 6 * RATE;
    let own = frame % turn;
    // Upright again for two seconds, so that nothing is under way when they leave.
    let knee = if own < 4 * RATE { squatting(own) } else { 5.0 };
    measured(first + frame / turn, knee)
}

#[test]
fn later_ids_take_the_place_of_the_gone_who_did_least() {
    let (turn, ids) = (6 * RATE, 12);
    let frames = (ids + 3) * turn;
    let collector = run(plan(2), frames, |frame| {
        // One who stays in view and does nothing; one who does three squats and leaves; then the many.
        let mut people = vec![measured(7, 5.0)];
        match frame.checked_sub(3 * turn) {
            None if frame < 10 * RATE => people.push(measured(5, squatting(frame))),
            None => {}
            Some(frame) => people.push(each_once(100, frame)),
        }
        people
    });
    // What is told of the session is what its summary lists.
    assert_eq!(collector.progress().whole, 3 + 6);
    let summary = collector.finish(at(frames), Ended::Stopped, 0);
    let listed: Vec<(u32, u32)> = summary
        .people
        .iter()
        .map(|one| (one.person, one.whole))
        .collect();
    assert_eq!(listed.len(), SESSION_PEOPLE_MAX);
    assert_eq!(listed[0], (5, 3), "who did most stays");
    assert!(listed.contains(&(7, 0)), "who is in view stays: {listed:?}");
    for late in 106..112 {
        assert!(listed.contains(&(late, 1)), "{late}: {listed:?}");
    }
    for one in &summary.people {
        assert_eq!(one.repetitions.len() as u64, u64::from(one.whole));
    }
    assert_eq!(
        (summary.people_left_out, summary.repetitions_left_out),
        (6, 6)
    );
}

#[test]
fn a_person_without_room_is_counted_once_and_no_longer_when_there_is_room() {
    let many = |first: u32, count: u32| -> Vec<PersonPose> {
        let ids = first..first + count;
        ids.map(|id| measured(id, 5.0)).collect()
    };
    let full = u32::try_from(SESSION_PEOPLE_MAX).unwrap();
    let mut collector = run(plan(1), 10, |_| many(1, full));
    // One more before them: all who have a record are in view.
    let mut crowd = many(100, 1);
    crowd.extend(many(1, full));
    for frame in 10..20 {
        collector.add(at(frame), &crowd, None);
    }
    // That one and eight more, one after another and again and again: each takes the place of the next.
    for frame in 20..60 {
        collector.add(at(frame), &many(100 + frame % (full + 1), 1), None);
    }
    let summary = collector.finish(at(60), Ended::Stopped, 0);
    assert_eq!(summary.people.len(), SESSION_PEOPLE_MAX);
    assert!(summary.people.iter().all(|one| one.person >= 100));
    // Of the first ones everybody, of the others the one who is not there just now.
    assert_eq!(summary.people_left_out, u64::from(full) + 1);
}

#[test]
fn a_repetition_under_way_at_the_end_is_not_lost() {
    // Two and a half seconds into the first squat, which takes three: more than half way back.
    let frames = RATE + 75;
    let collector = run(plan(1), frames, |frame| vec![measured(1, squatting(frame))]);
    assert_eq!(collector.progress().whole, 0);
    let summary = collector.finish(at(frames), Ended::Stopped, 0);
    assert_eq!(summary.people[0].whole, 1);
}
