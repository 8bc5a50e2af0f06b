//! How far one person's estimate is from the truth in one frame.

use glam::Vec3;

use super::metrics::{
    DISTANCE_90, RADIUS_90, Similarity, accel_mm, angle_deg, jitter_mm, kept, mpjpe_mm,
    pa_mpjpe_mm, root_jitter_mm, root_mm, symmetry_mm,
};
use super::table::Score;
use crate::base::clock::MonoNs;
use crate::lift::Estimate;
use crate::pose::JointState;
use crate::skeleton::JOINTS;

/// The true pose of a person in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// Joints in the camera frame, metres; those that are not known mean nothing.
    pub joints_camera_m: [Vec3; JOINTS],
    /// Which joints are known. The pelvis is, wherever there is anything to score.
    pub known: [bool; JOINTS],
    /// Which joints the camera sees.
    pub visible: [bool; JOINTS],
}

/// A frame that was scored.
#[derive(Clone, Copy, Debug)]
struct Scored {
    time: MonoNs,
    root_camera_m: Vec3,
    /// Estimated joints relative to the pelvis, metres.
    joints_m: [Vec3; JOINTS],
    truth: Truth,
}

/// The two frames before, newest first; accelerations need them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past([Option<Scored>; 2]);

impl Past {
    /// Forgets: this frame has no estimate, or another person comes.
    pub fn interrupt(&mut self) {
        self.0 = [None, None];
    }

    /// Scores the frame of `time`, which comes next, and keeps it.
    pub fn score(&mut self, time: MonoNs, estimate: &Estimate, truth: &Truth) -> Score {
        let score = score(time, estimate, truth, self);
        let scored = Scored {
            time,
            root_camera_m: estimate.root_camera_m,
            joints_m: estimate.relative_camera_m,
            truth: *truth,
        };
        self.0 = [Some(scored), self.0[0]];
        score
    }
}

/// Scores a frame; joints relative to the pelvis, the truth in the camera frame.
fn score(time: MonoNs, estimate: &Estimate, truth: &Truth, past: &Past) -> Score {
    let (joints, sigmas) = (&estimate.relative_camera_m, &estimate.sigmas_m);
    let Truth {
        joints_camera_m: real,
        known,
        visible,
    } = truth;
    let (own, other) = (kept(joints, known), kept(real, known));
    let align = Similarity::between(&own, &other);
    let (mut hidden, mut hidden_root) = (Vec::new(), Vec::new());
    let (mut within, mut compared, mut stated) = (0, 0, 0);
    let mut completed = Vec::new();
    for joint in (0..JOINTS).filter(|joint| known[*joint]) {
        stated += usize::from(estimate.states[joint] != JointState::Absent);
        if joint == 0 {
            continue;
        }
        let error = (joints[joint] - joints[0]) - (real[joint] - real[0]);
        let inside = error.length() <= RADIUS_90 * sigmas[joint];
        within += u32::from(inside);
        compared += 1;
        if estimate.states[joint] == JointState::Completed {
            completed.push((f64::from(error.length()) * 1e3, inside));
        }
        if !visible[joint] {
            hidden_root.push(f64::from(error.length()) * 1e3);
        }
        if !visible[joint]
            && let Some(align) = &align
        {
            let apart = (align.apply(joints[joint]) - real[joint]).length();
            hidden.push(f64::from(apart) * 1e3);
        }
    }
    let accel = match &past.0 {
        [Some(last), Some(first)] => {
            let all =
                std::array::from_fn(|j| known[j] && last.truth.known[j] && first.truth.known[j]);
            let truths = [
                &first.truth.joints_camera_m,
                &last.truth.joints_camera_m,
                real,
            ];
            accel_mm([&first.joints_m, &last.joints_m, joints], truths, &all)
        }
        _ => None,
    };
    let (mut jitter, mut root_jitter) = (None, None);
    if let Some(last) = &past.0[0] {
        let span_s = time.since(last.time).as_secs_f32();
        let before = &last.truth.joints_camera_m;
        let both = std::array::from_fn(|j| known[j] && last.truth.known[j]);
        jitter = jitter_mm([&last.joints_m, joints], [before, real], &both, span_s);
        let roots = [last.root_camera_m, estimate.root_camera_m];
        root_jitter = root_jitter_mm(roots, [before[0], real[0]], span_s);
    }
    let [across, along] = root_mm(estimate.root_camera_m, real[0]);
    Score {
        mpjpe_mm: mpjpe_mm(&own, joints[0], &other, real[0]),
        pa_mpjpe_mm: pa_mpjpe_mm(&own, &other),
        hidden_mm: hidden,
        hidden_root_mm: hidden_root,
        accel_mm: accel,
        jitter_mm: jitter,
        root_across_mm: across,
        root_along_mm: along.abs(),
        root_jitter_mm: root_jitter,
        root_within: along.abs() <= f64::from(DISTANCE_90 * estimate.root_sigma_m) * 1e3,
        angle_deg: angle_deg(joints, real, known),
        symmetry_mm: symmetry_mm(joints),
        within,
        compared,
        known: stated,
        completed,
        named: None,
    }
}
