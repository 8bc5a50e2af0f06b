//! The level frame of reference that `OpenSim` and ROS expect, in place of the camera's own.

use glam::{Quat, Vec3};

use crate::camera::{Calibration, Mount};

/// A camera without a known mount: level, at the origin.
const LEVEL: Mount = Mount {
    height_m: 0.0,
    down_deg: 0.0,
    roll_deg: 0.0,
};

/// A level frame below a camera.
///
/// Where the calibration says how the camera is mounted, up is against gravity and the origin is on the floor, below
/// the lens. Where it does not, the camera is taken as level and the origin is the lens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ground {
    /// As [`Mount::to_floor`].
    rotation: Quat,
    /// Of the lens above the origin, metres.
    height_m: f32,
    measured: bool,
}

impl Ground {
    /// The frame below the camera of a calibration.
    pub fn of(calibration: &Calibration) -> Self {
        let known = calibration.mount();
        let mount = known.unwrap_or(&LEVEL);
        Self {
            rotation: mount.to_floor(),
            height_m: mount.height_m,
            measured: known.is_some(),
        }
    }

    /// Whether the mount is known, so that the origin is on the floor.
    pub const fn is_measured(&self) -> bool {
        self.measured
    }

    /// A place of the camera frame in `OpenSim`'s axes, metres: x towards the camera, y up, z to the camera's left.
    pub fn y_up(&self, camera_m: Vec3) -> Vec3 {
        let (lens, rotation) = self.camera_z_up();
        let level = lens + rotation * camera_m;
        Vec3::new(-level.x, level.z, level.y)
    }

    /// The camera in ROS's axes (x forward as it looks, y to its left, z up): where the lens is, metres, and the
    /// rotation that takes directions of the camera frame there.
    pub fn camera_z_up(&self) -> (Vec3, Quat) {
        (Vec3::Z * self.height_m, self.rotation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(down_deg: f32, roll_deg: f32) -> Ground {
        let mount = Mount {
            height_m: 2.0,
            down_deg,
            roll_deg,
        };
        Ground::of(&Calibration::assumed(640, 480).with_mount(mount).unwrap())
    }

    fn same(got: Vec3, want: [f32; 3]) {
        assert!(got.distance(want.into()) < 1.0e-5, "{got} {want:?}");
    }

    #[test]
    fn without_a_mount_the_camera_is_level_and_the_origin() {
        let ground = Ground::of(&Calibration::assumed(640, 480));
        assert!(!ground.is_measured());
        // Half a metre right, a metre below, three ahead.
        same(ground.y_up(Vec3::new(0.5, 1.0, 3.0)), [-3.0, -1.0, -0.5]);
        let (place, turn) = ground.camera_z_up();
        same(place, [0.0; 3]);
        // REP 103: the optical frame in the frame of the camera's body.
        let want = Quat::from_xyzw(-0.5, 0.5, -0.5, 0.5);
        assert!(turn.dot(want).abs() > 1.0 - 1.0e-6, "{turn}");
    }

    #[test]
    fn with_a_mount_the_floor_is_at_zero_however_the_camera_is_turned() {
        for down_deg in [-30.0, 0.0, 25.0, 60.0, 89.0, 90.0] {
            for roll_deg in [-90.0, -10.0, 0.0, 30.0, 180.0] {
                let ground = mounted(down_deg, roll_deg);
                assert!(ground.is_measured());
                let up = Mount {
                    height_m: 2.0,
                    down_deg,
                    roll_deg,
                }
                .up();
                // Straight below the lens, two metres down, is the origin.
                same(ground.y_up(-2.0 * up), [0.0; 3]);
                same(ground.y_up(Vec3::ZERO), [0.0, 2.0, 0.0]);
                let (place, turn) = ground.camera_z_up();
                same(place + turn * (-2.0 * up), [0.0; 3]);
                // Both are the same frame in other axes, and none is mirrored.
                for axis in [Vec3::X, Vec3::Y, Vec3::Z] {
                    let (opensim, ros) = (ground.y_up(axis), place + turn * axis);
                    same(opensim, [-ros.x, ros.z, ros.y]);
                }
                let [x, y, z] = [Vec3::X, Vec3::Y, Vec3::Z]
                    .map(|axis| ground.y_up(axis) - ground.y_up(Vec3::ZERO));
                same(x.cross(y), z.to_array());
            }
        }
    }

    #[test]
    fn a_person_who_faces_the_camera_has_their_right_side_at_plus_z() {
        let ground = mounted(20.0, 0.0);
        // Such a person's right hand is at the left of the image.
        let (right, left) = (Vec3::new(-0.3, 0.0, 3.0), Vec3::new(0.3, 0.0, 3.0));
        assert!(ground.y_up(right).z > 0.29 && ground.y_up(left).z < -0.29);
        let further = ground.y_up(Vec3::new(0.0, 0.0, 5.0));
        assert!(ground.y_up(right).x > further.x);
    }
}
