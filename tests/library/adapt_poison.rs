//! A poisoned minute must leave nothing behind: poses afterwards are as good as without it.
//!
//! Needs the motion data beside the checkout (or at `POISED_DATA`).

use std::time::Duration;

use crate::common::data;
use poised::adapt::{Adapter, Command, Mode};
use poised::base::clock::MonoNs;
use poised::estimate::{EstimateConfig, Poser};
use poised::lab::eval::metrics::pa_mpjpe_mm;
use poised::lab::eval::motion::{self, Motion};
use poised::lab::eval::scenario::Scenario;
use poised::lab::eval::simulate::{Moment, Stream, stream};
use poised::pose::People;
use poised::skeleton::KEYPOINT_MIRROR;

/// Most that poses may be worse after the poison, millimetres of PA-MPJPE.
const WORSE_MAX_MM: f64 = 1.0;

const MINUTE: Duration = Duration::from_mins(1);

/// The stream of a person for whom adaptation does something: a child under a high camera.
fn adaptable_person(motions: &[Motion]) -> Stream {
    let mut scenarios = Scenario::read(None).unwrap();
    let scenario = scenarios.swap_remove(scenarios.iter().position(|s| s.name == "mix").unwrap());
    let subject = &motions
        .iter()
        .max_by_key(|m| m.joints_world_m.len())
        .unwrap()
        .subject;
    let own: Vec<&Motion> = motions.iter().filter(|m| m.subject == *subject).collect();
    stream(&scenario, subject, &own, 1).unwrap()
}

/// The moments with a minute put in at the middle, made of the first ones by `spoil`.
fn poisoned(moments: &[Moment], mut spoil: impl FnMut(&mut Moment)) -> Vec<Moment> {
    let half = moments.len() / 2;
    let mut out = moments[..half].to_vec();
    let begin = moments[half].time;
    let step = Duration::from_nanos(33_333_333);
    let frames = u32::try_from(MINUTE.as_nanos() / step.as_nanos()).unwrap();
    for (frame, like) in (0..frames).zip(moments[..half].iter().cycle()) {
        let mut moment = like.clone();
        moment.time = begin.plus(step * frame);
        spoil(&mut moment);
        out.push(moment);
    }
    out.extend(moments[half..].iter().cloned().map(|mut moment| {
        moment.time = moment.time.plus(MINUTE);
        moment
    }));
    out
}

/// Mean error of the last half's frames, millimetres, and the heads handed out.
fn error_mm(stream: &Stream, moments: &[Moment], scored_from: MonoNs) -> (f64, u32) {
    let mut config = EstimateConfig::default();
    config.models.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
    let mut poser = Poser::open(&config).unwrap();
    let mut adapter = poser.adapter(1).unwrap().unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for moment in moments {
        let mut people = People::new();
        if let Some(seen) = &moment.seen {
            people.push(seen.clone()).unwrap();
        }
        if !poser.track(moment.time, &people).is_empty() {
            let mut estimate = poser.lift(moment.time, &stream.calibration, 0).ok();
            poser.name(moment.time, &stream.calibration, 0, estimate.as_mut());
            if let Some(estimate) = estimate
                && moment.time >= scored_from
                && let Some(error) =
                    pa_mpjpe_mm(&estimate.relative_camera_m, &moment.joints_camera_m)
            {
                sum += error;
                count += 1;
            }
        }
        poser.learn(&mut adapter);
    }
    let heads = adapter.report().generation;
    stays_forgotten(&mut adapter);
    (sum / f64::from(count), heads)
}

/// After a reset the factory head is in use, and no other can be rolled back to.
fn stays_forgotten(adapter: &mut Adapter) {
    if let Some(head) = adapter.obey(Command::Reset).unwrap() {
        assert!(!head.tag.adapted);
    }
    assert!(adapter.obey(Command::RollBack).is_err());
    let report = adapter.report();
    assert_eq!((report.mode, report.steps), (Mode::Waiting, 0));
    assert_eq!(report.finding, None);
}

#[test]
fn a_poisoned_minute_leaves_nothing_behind() {
    let Some(index) = data::file("motion/index_val.json") else {
        return;
    };
    let motions = motion::read(&index).unwrap();
    let stream = adaptable_person(&motions);
    let half = stream.moments[stream.moments.len() / 2].time;
    let (clean, heads) = error_mm(&stream, &stream.moments, half);
    println!("without poison {clean:.2} mm, {heads} heads");
    assert!(heads > 0, "adaptation does something here");
    let mut rng = fastrand::Rng::with_seed(1);
    let random = |moment: &mut Moment| {
        for keypoint in moment.seen.iter_mut().flat_map(|seen| &mut seen.keypoints) {
            keypoint.x_px = 640.0 * rng.f32();
            keypoint.y_px = 640.0 * rng.f32();
        }
    };
    let hidden = |moment: &mut Moment| moment.seen = None;
    let mirrored = |moment: &mut Moment| {
        if let Some(seen) = &mut moment.seen {
            seen.keypoints = KEYPOINT_MIRROR.map(|keypoint| seen.keypoints[keypoint]);
        }
    };
    let poisons: [(&str, Vec<Moment>); 3] = [
        ("random keypoints", poisoned(&stream.moments, random)),
        ("everything hidden", poisoned(&stream.moments, hidden)),
        (
            "left and right exchanged",
            poisoned(&stream.moments, mirrored),
        ),
    ];
    for (name, moments) in poisons {
        let (error, heads) = error_mm(&stream, &moments, half.plus(MINUTE));
        println!("after a minute of {name}: {error:.2} mm, {heads} heads");
        assert!(
            error <= clean + WORSE_MAX_MM,
            "{name}: {error:.2} mm, {clean:.2} without"
        );
    }
}
