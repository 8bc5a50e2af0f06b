//! Completion against stored values of its training code, and what it promises.

use glam::{Vec2, Vec3};

use super::*;
use crate::lift::window::RayKeypoint;
use crate::semantics::encoder::Encoders;
use crate::semantics::{COMPLETION_FILE, ENCODER_FILE};

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
fn steps(golden: &Golden, case: usize) -> Vec<Step> {
    let shape = [CASES, MOTION_SAMPLES, JOINTS];
    let cube = [CASES, MOTION_SAMPLES, JOINTS, 3];
    let (joints, rays) = (
        golden.numbers("lifted", &cube),
        golden.numbers("rays", &cube),
    );
    let (sigmas, seen) = (
        golden.numbers("sigma", &shape),
        golden.numbers("seen", &shape),
    );
    (0..MOTION_SAMPLES)
        .map(|time| {
            let at = |joint: usize| (case * MOTION_SAMPLES + time) * JOINTS + joint;
            Step {
                joints: std::array::from_fn(|j| Vec3::from_slice(&joints[3 * at(j)..])),
                sigmas: std::array::from_fn(|j| sigmas[at(j)]),
                seen: std::array::from_fn(|j| seen[at(j)] > 0.5),
                rays: std::array::from_fn(|k| RayKeypoint {
                    ray: Vec2::from_slice(&rays[3 * at(k)..]),
                    confidence: rays[3 * at(k) + 2],
                }),
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
        let steps = steps(&golden, case);
        for step in &steps {
            completer.remember(&mut memory, step);
        }
        let now = *steps.last().unwrap();
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

        let mut look = completer.scratch.look.clone();
        let body = completer.look(&memory, &mut look);
        let evidences = row("gauss.evidence", &[4], case);
        let (mut factor, mut point) = (matrix(blocks(RANK)), lanes([], blocks(RANK)));
        let mut got = vec![evidence(&completer.all, &look, &mut factor, &mut point).unwrap()];
        for entry in &completer.entries {
            got.push(evidence(entry, &look, &mut factor, &mut point).unwrap());
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
            .condition(&look, &body, &[0, 1, 2], None, &[false; JOINTS])
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
        let lifter = Opinion {
            joints_m: now.joints,
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

fn estimate_of(step: &Step) -> Estimate {
    let mut samples = Box::new([step.rays; crate::limits::LIFT_SAMPLES]);
    samples.fill(step.rays);
    let mut input = Box::new([0.0; crate::lift::input::LIFT_INPUT]);
    Estimate {
        root_camera_m: Vec3::new(0.0, 0.0, 3.0),
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
        features: [0.0; crate::limits::LIFT_FEATURES],
        image_part: [0.0; crate::lift::head::HIDDEN],
        head: crate::pose::HeadTag::default(),
    }
}

fn at_step(step: u64) -> MonoNs {
    MonoNs(1_000_000_000 + step * 33_333_333)
}

#[test]
fn hidden_joints_are_completed_seen_ones_are_left_alone_and_long_unseen_ones_go() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    let stored = steps(&golden, 0);
    let mut seen_all = stored[0];
    seen_all.seen = [true; JOINTS];
    let mut hidden = seen_all;
    hidden.seen[3] = false;
    hidden.seen[6] = false;
    let mut time = 0;
    for _ in 0..40 {
        let mut estimate = estimate_of(&seen_all);
        let before = estimate.clone();
        completer.step(
            &mut memory,
            at_step(time),
            &seen_all.rays,
            &mut estimate,
            2.0,
        );
        assert_eq!(estimate, before, "nothing is hidden");
        time += 1;
    }
    let mut states = Vec::new();
    for _ in 0..90 {
        let mut estimate = estimate_of(&hidden);
        completer.step(&mut memory, at_step(time), &hidden.rays, &mut estimate, 2.0);
        for joint in (0..JOINTS).filter(|joint| hidden.seen[*joint]) {
            assert_eq!(estimate.relative_camera_m[joint], hidden.joints[joint]);
            assert_eq!(estimate.states[joint], JointState::Measured);
        }
        assert!(estimate.sigmas_m[3] >= SIGMA_MIN_M);
        states.push(estimate.states[3]);
        time += 1;
    }
    assert_eq!(states[0], JointState::Completed);
    assert_eq!(states[58], JointState::Completed);
    assert_eq!(
        states[62],
        JointState::Absent,
        "unseen for more than two seconds"
    );
    let mut estimate = estimate_of(&seen_all);
    completer.step(
        &mut memory,
        at_step(time),
        &seen_all.rays,
        &mut estimate,
        2.0,
    );
    assert_eq!(
        estimate.states[3],
        JointState::Measured,
        "a real detection counts at once"
    );
}

#[test]
fn a_hint_makes_an_entry_likelier_and_what_is_seen_has_the_last_word() {
    let golden = Golden::read();
    let mut completer = completer(&golden);
    let mut memory = completer.memory();
    for (time, step) in (0..).zip(steps(&golden, 0)) {
        completer.lead(&mut memory, None);
        let mut estimate = estimate_of(&step);
        completer.step(&mut memory, at_step(time), &step.rays, &mut estimate, 2.0);
    }
    let mut look = completer.scratch.look.clone();
    let body = completer.look(&memory, &mut look);
    let entries = completer.entries.clone();
    let seen = [false; JOINTS];
    let mut pose = |lead| {
        let opinion = completer.condition(&look, &body, &[0, 1, 2], lead, &seen);
        opinion.unwrap().joints_m
    };
    let (mut factor, mut point) = (matrix(blocks(RANK)), lanes([], blocks(RANK)));
    let evidences: Vec<f32> = entries
        .iter()
        .map(|entry| evidence(entry, &look, &mut factor, &mut point).unwrap())
        .collect();
    let best = (0..3)
        .max_by(|a, b| evidences[*a].total_cmp(&evidences[*b]))
        .unwrap();
    let apart = |a: &[Vec3; JOINTS], b: &[Vec3; JOINTS]| {
        a.iter().zip(b).map(|(a, b)| a.distance(*b)).sum::<f32>()
    };
    let own = pose(None);
    for lead in 0..3 {
        let moved = apart(&own, &pose(Some(lead)));
        let behind = evidences[best] - evidences[lead];
        if behind > 2.0 * HINT_NATS {
            assert!(moved < 1e-2, "{behind} behind, moved {moved}");
        }
    }
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
    let step = steps(&golden, 0)[0];
    for (every_ms, frames) in [(200_u64, 11_u64), (33, 61), (8, 251)] {
        let mut memory = completer.memory();
        for frame in 0..frames {
            let time = MonoNs(1_000_000_000 + frame * every_ms * 1_000_000);
            completer.step(&mut memory, time, &step.rays, &mut estimate_of(&step), 2.0);
        }
        assert!(
            (60..=62).contains(&memory.steps),
            "{every_ms} ms: {} steps",
            memory.steps
        );
    }
    let mut memory = completer.memory();
    completer.step(
        &mut memory,
        at_step(0),
        &step.rays,
        &mut estimate_of(&step),
        2.0,
    );
    completer.step(
        &mut memory,
        at_step(400),
        &step.rays,
        &mut estimate_of(&step),
        2.0,
    );
    assert_eq!(memory.steps, 1, "after a long gap somebody is begun anew");
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
    let mut bad = steps(&golden, 0)[0];
    bad.joints[2] = Vec3::NAN;
    bad.seen[3] = false;
    let mut estimate = estimate_of(&bad);
    completer.step(&mut memory, at_step(0), &bad.rays, &mut estimate, 2.0);
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
