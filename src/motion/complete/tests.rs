//! Completion against stored values of its training code, and what it promises.

use std::path::Path;

use glam::{Vec2, Vec3};

use super::entries::{HINT_NATS, evidence, favour, gate};
use super::*;
use crate::base::tensors;
use crate::lift::window::RayKeypoint;
use crate::motion::dictionary::triangle;
use crate::motion::encoder::Encoders;
use crate::motion::{COMPLETION_FILE, ENCODER_FILE};

const CASES: usize = 6;
const RANK: usize = 96;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/dictionary"))
}

struct Golden(Vec<u8>);

impl Golden {
    fn read() -> Self {
        Self(std::fs::read(folder().join("golden_completion.safetensors")).unwrap())
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Box<[f32]> {
        let file = tensors::open(&self.0).unwrap();
        tensors::numbers(&file, &format!("complete.{name}"), shape).unwrap()
    }
}

/// A completer with the three entries of the stored cases.
fn completer(golden: &Golden) -> Completer {
    let prior = Encoders::read(&folder().join(ENCODER_FILE)).unwrap().prior;
    let net = CompletionNet::read(&folder().join(COMPLETION_FILE), RANK).unwrap();
    let means = golden.numbers("entry.mean", &[3, RANK]);
    let factors = golden.numbers("entry.factor", &[3, triangle(RANK)]);
    let entries = (0..3)
        .map(|at| {
            let mean = &means[at * RANK..(at + 1) * RANK];
            Gaussian::new(
                mean,
                &factors[at * triangle(RANK)..(at + 1) * triangle(RANK)],
            )
        })
        .collect();
    Completer::of(net, prior, entries)
}

/// The steps of a stored case.
fn frames(golden: &Golden, case: usize) -> Vec<Frame> {
    let shape = [CASES, MOTION_SAMPLES, JOINTS];
    let cube = [CASES, MOTION_SAMPLES, JOINTS, 3];
    let joints = ["lifted", "rays", "raw", "own", "apart"].map(|name| golden.numbers(name, &cube));
    let [lifted, rays, raw, own, apart] = &joints;
    let root = golden.numbers("root", &[CASES, MOTION_SAMPLES, 3]);
    let picture = golden.numbers("picture", &[CASES, MOTION_SAMPLES]);
    let (sigmas, seen) = (
        golden.numbers("sigma", &shape),
        golden.numbers("seen", &shape),
    );
    (0..MOTION_SAMPLES)
        .map(|time| {
            let row = case * MOTION_SAMPLES + time;
            let at = |joint: usize| row * JOINTS + joint;
            let pose = |numbers: &[f32]| -> [Vec3; JOINTS] {
                std::array::from_fn(|joint| Vec3::from_slice(&numbers[3 * at(joint)..]))
            };
            Frame {
                step: Step {
                    joints: pose(lifted),
                    sigmas: std::array::from_fn(|j| sigmas[at(j)]),
                    seen: std::array::from_fn(|j| seen[at(j)] > 0.5),
                    rays: std::array::from_fn(|k| RayKeypoint {
                        ray: Vec2::from_slice(&rays[3 * at(k)..]),
                        visibility: rays[3 * at(k) + 2],
                    }),
                },
                root: Vec3::from_slice(&root[3 * row..]),
                stages: Stages {
                    unrefined_m: pose(own),
                    unsmoothed_m: pose(raw),
                    apart_m: pose(apart),
                    refined: true,
                    picture: picture[row] > 0.5,
                },
            }
        })
        .collect()
}

fn near(name: &str, got: impl IntoIterator<Item = f32>, wanted: &[f32], tolerance: f32) {
    for (at, (got, wanted)) in got.into_iter().zip(wanted).enumerate() {
        assert!(
            (got - wanted).abs() <= tolerance * wanted.abs().max(1.0),
            "{name}[{at}]: {got}, wanted {wanted}"
        );
    }
}

fn flat(joints: &[Vec3; JOINTS]) -> Vec<f32> {
    joints.iter().flat_map(Vec3::to_array).collect()
}

#[test]
fn every_part_gives_what_its_training_code_gives() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let row = |name: &str, shape: &[usize], case: usize| -> Vec<f32> {
        let numbers = golden.numbers(name, &[&[CASES], shape].concat());
        let length: usize = shape.iter().product();
        numbers[case * length..(case + 1) * length].to_vec()
    };
    for case in 0..CASES {
        let mut memory = completer.memory();
        let frames = frames(&golden, case);
        for frame in &frames {
            completer.remember(&mut memory, frame);
        }
        let newest = frames.last().unwrap();
        let now = newest.step;
        near(
            "features",
            completer.scratch.features.iter().copied(),
            &row("features", &[FEATURES], case),
            1e-3,
        );
        let net = completer.ask_net(&memory, &now);
        let residuals: Vec<f32> = (1..JOINTS)
            .flat_map(|j| (memory.axes * (net.joints_m[j] - now.joints[j])).to_array())
            .collect();
        near(
            "residual",
            residuals,
            &row("residual", &[LIMBS, 3], case),
            1e-3,
        );
        near(
            "log sigma",
            net.variances[1..].iter().map(|v| 0.5 * v.ln()),
            &row("log_sigma", &[LIMBS], case),
            1e-3,
        );

        let mut likelihood = completer.scratch.likelihood.clone();
        let body = completer.likelihood(&memory, &mut likelihood);
        let evidences = row("gauss.evidence", &[4], case);
        let (mut factor, mut point) = (matrix(blocks(RANK)), lanes([], blocks(RANK)));
        let mut got = vec![evidence(&completer.all, &likelihood, &mut factor, &mut point).unwrap()];
        for entry in &completer.entries {
            got.push(evidence(entry, &likelihood, &mut factor, &mut point).unwrap());
        }
        // Differences of evidences are what counts; they are of the order of ten.
        near(
            "evidence",
            got[1..].iter().map(|e| e - got[0]),
            &evidences[1..]
                .iter()
                .map(|e| e - evidences[0])
                .collect::<Vec<_>>(),
            0.02,
        );
        let gauss = completer
            .condition(&likelihood, &body, &[0, 1, 2], None, &[false; JOINTS])
            .unwrap();
        near(
            "gauss pose",
            flat(&gauss.joints_m),
            &row("gauss.pose", &[JOINTS, 3], case),
            2e-3,
        );
        near(
            "gauss variance",
            gauss.variances[1..].iter().copied(),
            &row("gauss.variance", &[JOINTS], case)[1..],
            1e-3,
        );

        let best = got[1..].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let open = gate(&completer.net.constants, best - got[0]);
        near("gate", [open], &row("gate", &[], case), 0.01);
        let share = completer.net.constants.share(&newest.stages);
        let lifter = Opinion {
            joints_m: std::array::from_fn(|j| now.joints[j].lerp(net.joints_m[j], share)),
            variances: now.sigmas.map(|s| s * s),
        };
        let whole = [1.0; JOINTS];
        let all = blend(
            &completer.net.constants,
            &lifter,
            Some(&gauss),
            &net,
            open,
            &whole,
        );
        near(
            "pose",
            flat(&all.joints_m),
            &row("pose", &[JOINTS, 3], case),
            2e-3,
        );
        near(
            "sigma",
            all.variances[1..].iter().map(|v| v.sqrt()),
            &row("joint_sigma", &[JOINTS], case)[1..],
            2e-3,
        );
    }
}

fn estimate_of(frame: &Frame) -> Estimate {
    let step = &frame.step;
    let mut samples = Box::new([step.rays; crate::base::limits::LIFT_SAMPLES]);
    samples.fill(step.rays);
    let mut input = Box::new([0.0; crate::lift::input::LIFT_INPUT]);
    Estimate {
        root_camera_m: frame.root,
        stages: frame.stages,
        size: crate::pose::Size::default(),
        root_sigma_m: 0.1,
        relative_camera_m: step.joints,
        sigmas_m: step.sigmas,
        states: step.seen.map(|seen| {
            if seen {
                JointState::Measured
            } else {
                JointState::Absent
            }
        }),
        view: crate::lift::input::build_input(&samples, &mut input).unwrap(),
        features: [0.0; crate::base::limits::LIFT_FEATURES],
        image_part: [0.0; crate::lift::head::HIDDEN],
        head: crate::pose::HeadTag::default(),
    }
}

fn at_step(step: u64) -> MonoNs {
    MonoNs(1_000_000_000 + step * 33_333_333)
}

#[test]
fn hidden_joints_are_completed_seen_ones_are_moved_by_the_network_and_long_unseen_ones_go() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    let mut seen_all = frames(&golden, 0)[0];
    seen_all.step.seen = [true; JOINTS];
    let mut hidden = seen_all;
    hidden.step.seen[3] = false;
    hidden.step.seen[6] = false;
    let mut time = 0;
    let mut step = |completer: &mut Completer, memory: &mut CompletionMemory, frame: &Frame| {
        let mut estimate = estimate_of(frame);
        completer.step(memory, at_step(time), &frame.step.rays, &mut estimate, 2.0);
        time += 1;
        estimate
    };
    let moved_by_the_network =
        |completer: &mut Completer, memory: &CompletionMemory, frame: &Frame, now: &Estimate| {
            let net = completer.ask_net(memory, &frame.step);
            let share = completer.net.constants.share(&frame.stages);
            for joint in (0..JOINTS).filter(|joint| frame.step.seen[*joint]) {
                let want = frame.step.joints[joint].lerp(net.joints_m[joint], share);
                assert!(now.relative_camera_m[joint].distance(want) < 1e-6);
                assert_eq!(now.states[joint], JointState::Measured);
                assert!((now.sigmas_m[joint] - frame.step.sigmas[joint]).abs() < 1e-6);
            }
        };
    for _ in 0..40 {
        let now = step(&mut completer, &mut memory, &seen_all);
        moved_by_the_network(&mut completer, &memory, &seen_all, &now);
        assert_eq!(now.relative_camera_m[0], Vec3::ZERO, "the origin");
    }
    let mut states = Vec::new();
    for _ in 0..90 {
        let now = step(&mut completer, &mut memory, &hidden);
        moved_by_the_network(&mut completer, &memory, &hidden, &now);
        assert!(now.sigmas_m[3] >= SIGMA_MIN_M);
        states.push(now.states[3]);
    }
    assert_eq!(states[0], JointState::Completed);
    assert_eq!(states[58], JointState::Completed);
    assert_eq!(
        states[62],
        JointState::Absent,
        "unseen for more than two seconds"
    );
    let now = step(&mut completer, &mut memory, &seen_all);
    assert_eq!(
        now.states[3],
        JointState::Measured,
        "a real detection counts at once"
    );
}

#[test]
fn nothing_is_completed_when_that_is_off_and_seen_joints_are_corrected_all_the_same() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    let mut frame = frames(&golden, 0)[0];
    frame.step.seen = [true; JOINTS];
    frame.step.seen[3] = false;
    for time in 0..30 {
        let mut estimate = estimate_of(&frame);
        let rays = &frame.step.rays;
        completer.step(&mut memory, at_step(time), rays, &mut estimate, 0.0);
        assert_eq!(estimate.states[3], JointState::Absent, "step {time}");
        let moved = estimate.relative_camera_m[6].distance(frame.step.joints[6]);
        assert!(moved > 0.0, "step {time}");
    }
}

#[test]
fn poses_that_were_not_refined_are_the_lifters_where_joints_are_seen() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    for (time, mut frame) in (0..).zip(frames(&golden, 0)) {
        frame.stages.refined = false;
        let mut estimate = estimate_of(&frame);
        let before = estimate.clone();
        let rays = &frame.step.rays;
        completer.step(&mut memory, at_step(time), rays, &mut estimate, 2.0);
        assert_eq!(estimate.root_camera_m, before.root_camera_m);
        for joint in (0..JOINTS).filter(|joint| frame.step.seen[*joint]) {
            assert_eq!(
                estimate.relative_camera_m[joint],
                before.relative_camera_m[joint]
            );
        }
    }
}

#[test]
fn who_is_half_as_large_again_is_completed_half_as_large_again() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let stored = frames(&golden, 1);
    let mut last = |factor: f32| {
        let mut memory = completer.memory();
        let mut out = None;
        for (time, frame) in (0..).zip(&stored) {
            let mut estimate = estimate_of(frame);
            estimate.size.factor = factor;
            estimate.root_camera_m *= factor;
            estimate.relative_camera_m = estimate.relative_camera_m.map(|joint| factor * joint);
            estimate.stages = estimate.stages.map(|vector| factor * vector);
            estimate.sigmas_m = estimate.sigmas_m.map(|sigma| factor * sigma);
            let rays = &frame.step.rays;
            completer.step(&mut memory, at_step(time), rays, &mut estimate, 2.0);
            out = Some(estimate);
        }
        out.unwrap()
    };
    let (one, larger) = (last(1.0), last(1.5));
    for joint in 0..JOINTS {
        let want = 1.5 * one.relative_camera_m[joint];
        assert!(larger.relative_camera_m[joint].distance(want) < 1e-4);
        assert!((larger.sigmas_m[joint] - 1.5 * one.sigmas_m[joint]).abs() < 1e-4);
    }
    assert!(larger.root_camera_m.distance(1.5 * one.root_camera_m) < 1e-4);
}

#[test]
fn what_rays_say_of_the_whole_stays() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    let mut frame = frames(&golden, 0)[0];
    frame.step.seen = [true; JOINTS];
    let mut estimate = estimate_of(&frame);
    let rays = &frame.step.rays;
    completer.step(&mut memory, at_step(0), rays, &mut estimate, 2.0);
    let middle = |estimate: &Estimate| -> Vec3 {
        (1..JOINTS)
            .map(|j| estimate.joint_camera_m(j))
            .sum::<Vec3>()
            / 16.0
    };
    assert!(middle(&estimate).distance(middle(&estimate_of(&frame))) < 1e-5);
    assert!(estimate.root_camera_m.distance(frame.root) > 0.0);
}

#[test]
fn a_hint_makes_an_entry_likelier_and_what_is_seen_has_the_last_word() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    for (time, frame) in (0..).zip(frames(&golden, 0)) {
        completer.lead(&mut memory, None);
        let mut estimate = estimate_of(&frame);
        completer.step(
            &mut memory,
            at_step(time),
            &frame.step.rays,
            &mut estimate,
            2.0,
        );
    }
    let mut likelihood = completer.scratch.likelihood.clone();
    let body = completer.likelihood(&memory, &mut likelihood);
    // The same with a hundredth of the evidence: entries are not far apart then.
    let mut faint = likelihood.clone();
    for lane in faint.precision.iter_mut().chain(&mut faint.information) {
        *lane = lane.map(|number| 0.01 * number);
    }
    let entries = completer.entries.clone();
    let apart = |a: &[Vec3; JOINTS], b: &[Vec3; JOINTS]| {
        a.iter().zip(b).map(|(a, b)| a.distance(*b)).sum::<f32>()
    };
    let mut moved_most = 0.0_f32;
    for likelihood in [likelihood, faint] {
        let mut pose = |lead| {
            let opinion =
                completer.condition(&likelihood, &body, &[0, 1, 2], lead, &[false; JOINTS]);
            opinion.unwrap().joints_m
        };
        let (mut factor, mut point) = (matrix(blocks(RANK)), lanes([], blocks(RANK)));
        let evidences: Vec<f32> = entries
            .iter()
            .map(|entry| evidence(entry, &likelihood, &mut factor, &mut point).unwrap())
            .collect();
        let best = evidences.iter().copied().fold(f32::MIN, f32::max);
        let own = pose(None);
        for (lead, evidence) in evidences.iter().enumerate() {
            let moved = apart(&own, &pose(Some(lead)));
            let behind = best - evidence;
            if behind > 2.0 * HINT_NATS {
                assert!(moved < 1e-2, "{behind} behind, moved {moved}");
            }
            moved_most = moved_most.max(moved);
        }
    }
    assert!(moved_most > 1e-2, "a hint changes nothing: {moved_most}");
    assert!((favour(Some(1), 1) - HINT_NATS).abs() < 1e-6);
    assert!(favour(Some(1), 2).abs() < 1e-6 && favour(None, 2).abs() < 1e-6);
    // One that the dictionary does not have is no hint.
    completer.lead(&mut memory, Some(9999));
    assert_eq!(memory.lead, None);
    completer.lead(&mut memory, Some(2));
    assert_eq!(memory.lead, Some(2));
}

#[test]
fn a_slow_camera_and_a_quick_one_keep_the_steps_of_the_network() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let frame = frames(&golden, 0)[0];
    let rays = &frame.step.rays;
    for (every_ms, frames) in [(200_u64, 11_u64), (33, 61), (8, 251)] {
        let mut memory = completer.memory();
        for count in 0..frames {
            let time = MonoNs(1_000_000_000 + count * every_ms * 1_000_000);
            completer.step(&mut memory, time, rays, &mut estimate_of(&frame), 2.0);
        }
        assert!(
            (60..=62).contains(&memory.steps),
            "{every_ms} ms: {} steps",
            memory.steps
        );
    }
    let mut memory = completer.memory();
    completer.step(&mut memory, at_step(0), rays, &mut estimate_of(&frame), 2.0);
    completer.step(
        &mut memory,
        at_step(400),
        rays,
        &mut estimate_of(&frame),
        2.0,
    );
    assert_eq!(
        memory.steps, 1,
        "after a long gap a person's memory starts again"
    );
}

#[test]
fn of_a_joint_that_was_just_seen_the_lifter_has_most_to_say() {
    let golden = Golden::read();
    let completer = completer(&golden);
    let constants = &completer.net.constants;
    let mut memory = completer.memory();
    memory.away = [0; JOINTS];
    memory.away[3] = 1;
    memory.away[6] = constants.away_steps;
    let ramps = ramps(constants, &memory);
    assert!((ramps[3] - 1.0 / constants.ramp_steps).abs() < 1e-6);
    assert!((ramps[6] - 1.0).abs() < 1e-6);
    let at = |x: f32| Opinion {
        joints_m: [Vec3::X * x; JOINTS],
        variances: [1e-4; JOINTS],
    };
    let all = blend(constants, &at(0.0), Some(&at(1.0)), &at(1.0), 1.0, &ramps);
    let whole = constants.gauss_weight + constants.net_weight;
    assert!((all.joints_m[3].x - whole / constants.ramp_steps).abs() < 1e-6);
    assert!((all.joints_m[6].x - whole).abs() < 1e-6);
}

#[test]
fn nan_from_the_lifter_is_not_made_worse() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    let mut bad = frames(&golden, 0)[0];
    bad.step.joints[2] = Vec3::NAN;
    bad.step.seen[3] = false;
    let mut estimate = estimate_of(&bad);
    completer.step(&mut memory, at_step(0), &bad.step.rays, &mut estimate, 2.0);
    assert!(estimate.relative_camera_m[3].is_finite());
}

#[test]
fn a_file_that_does_not_fit_is_refused_by_name() {
    let bytes = std::fs::read(folder().join(COMPLETION_FILE)).unwrap();
    let refused = |bytes: &[u8], rank| {
        CompletionNet::from_bytes(bytes, rank)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&bytes, 95).contains("complete.all.mean is F32 [96]"));
    assert!(refused(&bytes[..200], RANK).contains("not a safetensors file"));
    let from = b"\\\"candidates\\\": 3";
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    let mut changed = bytes.clone();
    changed[at + from.len() - 1] = b'9';
    assert!(
        refused(&changed, RANK).contains("candidates"),
        "{}",
        refused(&changed, RANK)
    );
}
