//! How far one person's estimate is from the truth in one frame.

use glam::Vec3;

use super::metrics::{
    RADIUS_90, Similarity, accel_mm, angle_deg, kept, mpjpe_mm, pa_mpjpe_mm, symmetry_mm,
};
use super::table::Score;
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

/// The two frames before, newest first; accelerations need them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past([Option<([Vec3; JOINTS], Truth)>; 2]);

impl Past {
    /// Forgets: this frame has no estimate, or another person comes.
    pub fn interrupt(&mut self) {
        self.0 = [None, None];
    }

    /// Scores the frame that comes next and keeps it.
    pub fn score(&mut self, estimate: &Estimate, truth: &Truth) -> Score {
        let score = score(estimate, truth, self);
        self.0 = [Some((estimate.relative_camera_m, *truth)), self.0[0]];
        score
    }
}

/// Scores a frame; joints relative to the pelvis, the truth in the camera frame.
fn score(estimate: &Estimate, truth: &Truth, past: &Past) -> Score {
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
        [Some((j1, t1)), Some((j2, t2))] => {
            let all = std::array::from_fn(|j| known[j] && t1.known[j] && t2.known[j]);
            let truths = [&t2.joints_camera_m, &t1.joints_camera_m, real];
            accel_mm([j2, j1, joints], truths, &all)
        }
        _ => None,
    };
    Score {
        mpjpe_mm: mpjpe_mm(&own, joints[0], &other, real[0]),
        pa_mpjpe_mm: pa_mpjpe_mm(&own, &other),
        hidden_mm: hidden,
        hidden_root_mm: hidden_root,
        accel_mm: accel,
        angle_deg: angle_deg(joints, real, known),
        symmetry_mm: symmetry_mm(joints),
        within,
        compared,
        known: stated,
        completed,
        named: None,
    }
}
