//! A stick figure posed by its angles: what angles, and what counts on them, are tested and measured with.

use glam::{DQuat, DVec3, Vec3};

use crate::skeleton::{JOINT_MIRROR, JOINTS};

/// How a figure is posed, degrees: left, then right where there are two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Posture {
    /// The thigh forward of the trunk's axis.
    pub hip_flexion: [f64; 2],
    /// The thigh to its own side.
    pub hip_abduction: [f64; 2],
    /// The shank back of the thigh's axis.
    pub knee_flexion: [f64; 2],
    /// The upper arm forward of the trunk's axis.
    pub shoulder_flexion: [f64; 2],
    /// The upper arm to its own side.
    pub shoulder_abduction: [f64; 2],
    /// The forearm forward of the upper arm's axis.
    pub elbow_flexion: [f64; 2],
    /// The trunk forward of the vertical.
    pub trunk_flexion: f64,
    /// The trunk to the right.
    pub trunk_lateral: f64,
    /// The head forward of the trunk's axis.
    pub neck_flexion: f64,
}

/// Joints of a figure that stands at the origin: x forward, y up, z to its right, metres. The body's axes turn with
/// the trunk, so flexion of hips and shoulders is against the trunk.
pub fn joints(posture: &Posture) -> [DVec3; JOINTS] {
    let mut at = [DVec3::ZERO; JOINTS];
    let (flexion, lateral) = (
        posture.trunk_flexion.to_radians(),
        posture.trunk_lateral.to_radians(),
    );
    // Lateral lean is out of the sagittal plane that flexion turns in.
    let trunk = DQuat::from_rotation_z(-flexion) * DQuat::from_rotation_x(lateral);
    let turned = |x: f64, y: f64, z: f64| trunk * DVec3::new(x, y, z);
    at[7] = turned(0.0, 0.24, 0.0);
    at[8] = turned(0.0, 0.5, 0.0);
    let neck = posture.neck_flexion.to_radians();
    let along = trunk * DVec3::new(neck.sin(), neck.cos(), 0.0);
    at[9] = at[8] + 0.1 * along;
    at[10] = at[8] + 0.2 * along;
    for side in 0..2 {
        let out = if side == 0 { -1.0 } else { 1.0 };
        let [hip, knee, ankle] = [[4, 5, 6], [1, 2, 3]][side];
        let [shoulder, elbow, wrist] = [[11, 12, 13], [14, 15, 16]][side];
        at[hip] = turned(0.0, 0.0, 0.13 * out);
        let leg = trunk
            * DQuat::from_rotation_z(posture.hip_flexion[side].to_radians())
            * DQuat::from_rotation_x(-out * posture.hip_abduction[side].to_radians());
        at[knee] = at[hip] + leg * DVec3::new(0.0, -0.43, 0.0);
        let shank = leg * DQuat::from_rotation_z(-posture.knee_flexion[side].to_radians());
        at[ankle] = at[knee] + shank * DVec3::new(0.0, -0.42, 0.0);
        at[shoulder] = turned(0.0, 0.5, 0.18 * out);
        let arm = trunk
            * DQuat::from_rotation_z(posture.shoulder_flexion[side].to_radians())
            * DQuat::from_rotation_x(-out * posture.shoulder_abduction[side].to_radians());
        at[elbow] = at[shoulder] + arm * DVec3::new(0.0, -0.28, 0.0);
        let forearm = arm * DQuat::from_rotation_z(posture.elbow_flexion[side].to_radians());
        at[wrist] = at[elbow] + forearm * DVec3::new(0.0, -0.25, 0.0);
    }
    at
}

/// A view of a figure: turned about the vertical and tilted, three metres in front of a camera.
pub fn seen(joints: &[DVec3; JOINTS], heading_deg: f64, down_deg: f64) -> [Vec3; JOINTS] {
    let view = view(heading_deg, down_deg);
    joints.map(|joint| (view * joint + DVec3::new(0.1, 0.2, 3.0)).as_vec3())
}

/// Against gravity in such a view.
pub fn up(heading_deg: f64, down_deg: f64) -> Vec3 {
    (view(heading_deg, down_deg) * DVec3::Y).as_vec3()
}

fn view(heading_deg: f64, down_deg: f64) -> DQuat {
    // From y up to the camera's y down, then its tilt.
    DQuat::from_rotation_x(std::f64::consts::PI - down_deg.to_radians())
        * DQuat::from_rotation_y(heading_deg.to_radians())
}

/// The same scene in a mirror, as a reader of the image names it: x is turned round, left and right are exchanged.
pub fn mirrored(joints: &[Vec3; JOINTS]) -> [Vec3; JOINTS] {
    JOINT_MIRROR.map(|joint| joints[joint] * Vec3::new(-1.0, 1.0, 1.0))
}
