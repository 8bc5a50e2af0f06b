//! Motion capture seen by a camera and a detector that are not there.
//!
//! ```text
//!  motions ─▶ body of the scenario ─▶ one camera over one floor ─▶ COCO keypoints ─▶ noise, gaps ─▶ Detection
//! ```
//!
//! A stream is one person at one site: the camera hangs where it hangs, the detector's
//! own errors are the same all the time, and what the person does comes one after the
//! other. Everything is drawn from a seed that depends on the run's seed, the scenario,
//! the site and the motion, so neither threads nor other people change a stream.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "frame counts, image sides and nanoseconds of a recording are small"
)]

use fastrand::Rng;
use glam::{Mat3, Vec2, Vec3};

use super::detector::{Erring, Real};
use super::motion::Motion;
use super::scenario::Scenario;
use super::score::Truth;
use crate::base::clock::MonoNs;
use crate::base::config::ConfigError;
use crate::camera::{Calibration, Distortion, Intrinsics, Mount, Origin};
use crate::pose::{BoxPx, Detection, Keypoint, VISIBILITY_GATE};
use crate::skeleton::{JOINTS, KEYPOINTS, PARENTS, SHARED, keypoints_of};

/// Nearest a joint may come to the camera, metres.
const NEAREST_M: f32 = 0.5;

/// Most frames made of one: a motion at 1 Hz, the least there is, seen by a
/// camera at 120 Hz, the most.
const RESAMPLED_MAX: usize = 120;

/// When a stream begins: not at zero, which stands for no time.
const BEGIN: MonoNs = MonoNs(1_000_000_000);

/// Between two motions of a stream no person is in view for so long: the next motion is that of
/// a person who has just come into view.
const BREAK_S: f64 = 4.0;

/// Height of the middle of a standing adult's joints above the floor, metres, which a
/// scenario's camera looks at.
const MIDDLE_M: f32 = 1.05;

/// Share of keypoints with an error six times as large: what detectors do now and then.
const TAIL_SHARE: f64 = 0.02;

/// One frame of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// When.
    pub time: MonoNs,
    /// What the detector says; `None` if it finds no person.
    pub seen: Option<Detection>,
    /// The truth, camera frame, metres.
    pub joints_camera_m: [Vec3; JOINTS],
    /// For the twelve joints that a keypoint sees, whether it is there; true for the rest.
    pub visible: [bool; JOINTS],
    /// Which of the stream's motions it is from.
    pub motion: usize,
}

impl Moment {
    /// Time since the stream began, seconds.
    pub fn time_s(&self) -> f64 {
        self.time.seconds_after(BEGIN)
    }

    /// The truth; a simulation knows every joint.
    pub fn truth(&self) -> Truth {
        Truth {
            joints_camera_m: self.joints_camera_m,
            known: [true; JOINTS],
            visible: self.visible,
        }
    }
}

/// Motions as a scenario shows them at one site.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The camera.
    pub calibration: Calibration,
    /// How it hangs.
    pub mount: Mount,
    /// How it hangs according to its measurement: a height wrong by 3 %, angles by a
    /// degree (standard deviations).
    pub measured: Mount,
    /// The frames.
    pub moments: Vec<Moment>,
}

/// A camera where it hangs.
struct Site {
    calibration: Calibration,
    /// From the world's axes to the camera's.
    turn: Mat3,
    /// Tangent of half the field of view.
    half_tan: f32,
    mount: Mount,
    /// The mount according to its measurement.
    measured: Mount,
}

impl Site {
    fn of(scenario: &Scenario, rng: &mut Rng) -> Result<Self, ConfigError> {
        let side = scenario.side_px as f32;
        let half_tan = (0.5 * scenario.fov_deg).to_radians().tan();
        let focal = 0.5 * side / half_tan;
        let middle = 0.5 * (side - 1.0);
        let calibration = Calibration::new(
            (scenario.side_px, scenario.side_px),
            Intrinsics {
                fx_px: focal.into(),
                fy_px: focal.into(),
                cx_px: middle.into(),
                cy_px: middle.into(),
            },
            Distortion::None {},
            Origin::Assumed,
        )?;
        let down = between(scenario.down_deg, rng).to_radians();
        let roll = (normal(rng) * scenario.roll_sd_deg).to_radians();
        // World: y up. Camera: y down, z forward.
        let flip = Mat3::from_diagonal(Vec3::new(1.0, -1.0, -1.0));
        let turn = flip * Mat3::from_rotation_z(roll) * Mat3::from_rotation_x(down);
        let distance = 0.5 * (scenario.distance_m[0] + scenario.distance_m[1]);
        let aside = aside(half_tan, distance, rng);
        let height =
            MIDDLE_M * scenario.stature - (turn * Vec3::Y).dot(Vec3::new(0.0, aside, distance));
        let mount = Mount {
            height_m: height,
            down_deg: down.to_degrees(),
            roll_deg: roll.to_degrees(),
        };
        let measured = Mount {
            height_m: height * (1.0 + 0.03 * normal(rng)),
            down_deg: mount.down_deg + normal(rng),
            roll_deg: mount.roll_deg + normal(rng),
        };
        Ok(Self {
            calibration,
            turn,
            half_tan,
            mount,
            measured,
        })
    }
}

/// Shows what a person does at `place`, one motion after the other.
///
/// # Errors
///
/// The scenario's lens is none; validated scenarios have one.
pub fn stream(
    scenario: &Scenario,
    place: &str,
    motions: &[&Motion],
    seed: u64,
) -> Result<Stream, ConfigError> {
    let seed = seed ^ hash(&scenario.name);
    let mut rng = Rng::with_seed(seed ^ hash(place).rotate_left(31));
    let Site {
        calibration,
        turn,
        half_tan,
        mount,
        measured,
    } = Site::of(scenario, &mut rng)?;
    let offsets: [Vec2; KEYPOINTS] = std::array::from_fn(|_| {
        let (x, y) = (normal(&mut rng), normal(&mut rng));
        Vec2::new(x, y).normalize_or_zero() * scenario.offset
    });
    let mut moments = Vec::new();
    let mut begin_s = 0.0;
    for (at, motion) in motions.iter().enumerate() {
        let mut rng = Rng::with_seed(seed ^ hash(&motion.id).rotate_left(17));
        let bodies: Vec<[Vec3; JOINTS]> = resampled(motion, scenario.rate_hz)
            .iter()
            .map(|pose| rebuilt(pose, scenario))
            .collect();
        let rate_hz = scenario.rate_hz.unwrap_or(motion.rate_hz);
        let placed = placed(&bodies, scenario, turn, &mount, half_tan, &mut rng);
        let frames = placed.len();
        let mut erring = scenario
            .detector
            .as_ref()
            .map(|detector| Erring::new(detector, rng.u64(..)));
        for (frame, joints) in placed.into_iter().enumerate() {
            let time_s = begin_s + frame as f64 / rate_hz;
            let look = Look::of(scenario, &calibration, &joints, &offsets, time_s);
            let (keypoints, visible) = match &mut erring {
                None => look.ideal(scenario, &mut rng),
                Some(erring) => look.measured(scenario, erring, 1.0 / rate_hz),
            };
            let detection = keypoints.as_ref().and_then(detection_of);
            moments.push(Moment {
                time: MonoNs(BEGIN.0 + (time_s * 1e9) as u64),
                seen: detection,
                joints_camera_m: joints,
                visible,
                motion: at,
            });
        }
        begin_s += frames as f64 / rate_hz + BREAK_S;
    }
    Ok(Stream {
        calibration,
        mount,
        measured,
        moments,
    })
}

/// The motion's frames at another rate, joints on straight lines in between.
fn resampled(motion: &Motion, rate_hz: Option<f64>) -> Vec<[Vec3; JOINTS]> {
    let poses = &motion.joints_world_m;
    let Some(rate_hz) = rate_hz else {
        return poses.clone();
    };
    let step = motion.rate_hz / rate_hz;
    let count = ((poses.len().max(1) - 1) as f64 / step) as usize + 1;
    (0..count.min(poses.len().saturating_mul(RESAMPLED_MAX)))
        .map(|frame| {
            let at = frame as f64 * step;
            let before = (at as usize).min(poses.len() - 1);
            let after = (before + 1).min(poses.len() - 1);
            let share = (at - before as f64) as f32;
            std::array::from_fn(|j| poses[before][j].lerp(poses[after][j], share))
        })
        .collect()
}

/// Another body doing the same: bones keep their directions and get other lengths;
/// the way through the room shrinks with the body, and what stands or lies on the floor still does.
fn rebuilt(pose: &[Vec3; JOINTS], scenario: &Scenario) -> [Vec3; JOINTS] {
    let mut out = [pose[0] * scenario.stature; JOINTS];
    for joint in 1..JOINTS {
        let part = match joint {
            2 | 3 | 5 | 6 => scenario.legs,
            12 | 13 | 15 | 16 => scenario.arms,
            9 | 10 => scenario.head,
            _ => 1.0,
        };
        let parent = PARENTS[joint];
        out[joint] = out[parent] + (pose[joint] - pose[parent]) * scenario.stature * part;
    }
    let lowest = |body: &[Vec3; JOINTS]| {
        body.iter()
            .map(|joint| joint.y)
            .fold(f32::INFINITY, f32::min)
    };
    let floats = lowest(&out) - scenario.stature * lowest(pose);
    out.map(|joint| joint - Vec3::new(0.0, floats, 0.0))
}

/// The bodies in the camera frame: a turn for each motion, the person's start at
/// the scenario's distance, a little off the middle, feet on the floor of the recording.
fn placed(
    bodies: &[[Vec3; JOINTS]],
    scenario: &Scenario,
    turn: Mat3,
    mount: &Mount,
    half_tan: f32,
    rng: &mut Rng,
) -> Vec<[Vec3; JOINTS]> {
    let Some(first) = bodies.first() else {
        return Vec::new();
    };
    let anywhere = (rng.f32() * 2.0 - 1.0) * std::f32::consts::PI;
    let yaw = scenario.facing_deg.map_or(anywhere, |facing| {
        let aside = facing.to_radians().copysign(anywhere);
        aside - heading(first)
    });
    let turn = turn * Mat3::from_rotation_y(yaw);
    let origin = first.iter().copied().sum::<Vec3>() / JOINTS as f32;
    let turned: Vec<[Vec3; JOINTS]> = bodies
        .iter()
        .map(|body| body.map(|joint| turn * (joint - origin)))
        .collect();
    let nearest = turned
        .iter()
        .flatten()
        .map(|joint| joint.z)
        .fold(f32::INFINITY, f32::min);
    let depth = between(scenario.distance_m, rng).max(NEAREST_M - nearest);
    let x = aside(half_tan, depth, rng);
    // At that depth and that far aside there is one point of the origin's height above the floor.
    let up = mount.up();
    let above = origin.y - mount.height_m - up.dot(Vec3::new(x, 0.0, depth));
    let shift = Vec3::new(x, above / up.y, depth);
    turned
        .into_iter()
        .map(|body| body.map(|joint| joint + shift))
        .collect()
}

/// Where a body faces in the world, radians about y from +z, which leads to the camera.
fn heading(body: &[Vec3; JOINTS]) -> f32 {
    let ahead = (body[4] - body[1]).cross(Vec3::Y);
    ahead.x.atan2(ahead.z)
}

/// A little off the optical axis at a depth, metres.
fn aside(half_tan: f32, depth: f32, rng: &mut Rng) -> f32 {
    (rng.f32() * 2.0 - 1.0) * 0.15 * half_tan * depth
}

/// A frame before the detector errs.
struct Look {
    /// Where keypoints are, moved by the ideal detector's fixed errors; pixels.
    at: [Vec2; KEYPOINTS],
    /// What furniture or the person's own head hides.
    hidden: [bool; KEYPOINTS],
    /// The person's longer side in the image, pixels.
    height: f32,
    side: f32,
}

impl Look {
    fn of(
        scenario: &Scenario,
        calibration: &Calibration,
        joints: &[Vec3; JOINTS],
        offsets: &[Vec2; KEYPOINTS],
        time_s: f64,
    ) -> Self {
        let (points, turned_away) = keypoints_of(joints);
        let mut pixels = points.map(|p| calibration.pixel(p.truncate() / p.z.max(0.1)));
        let low = pixels.iter().copied().fold(Vec2::INFINITY, Vec2::min);
        let high = pixels.iter().copied().fold(Vec2::NEG_INFINITY, Vec2::max);
        let height = (high - low).max_element();
        let hips_y = 0.5 * (pixels[11].y + pixels[12].y);
        // A measured detector's errors have these in them.
        let own = scenario.detector.is_none();
        if own {
            pull(&mut pixels, scenario.pulled, height);
        }
        let side = scenario.side_px as f32;
        let hidden = std::array::from_fn(|k| {
            let covered = scenario.hide.iter().any(|hide| {
                let place = (pixels[k] / (side - 1.0)).to_array();
                hide.hides(k, time_s)
                    || hide.covers(place, time_s)
                    || hide.below_hips
                        && hide.active(time_s)
                        && pixels[k].y > hips_y + 0.02 * height
                        && !matches!(k, 11 | 12)
            });
            covered || turned_away[k]
        });
        Self {
            at: std::array::from_fn(|k| {
                pixels[k] + if own { offsets[k] * height } else { Vec2::ZERO }
            }),
            hidden,
            height,
            side,
        }
    }

    fn is_inside(&self, at: Vec2) -> bool {
        at.min_element() >= 0.0 && at.max_element() <= self.side - 1.0
    }

    /// What a detector says that errs afresh in each frame, and knows how much and what is hidden.
    fn ideal(
        &self,
        scenario: &Scenario,
        rng: &mut Rng,
    ) -> (Option<[Keypoint; KEYPOINTS]>, [bool; JOINTS]) {
        let keypoints: [Keypoint; KEYPOINTS] = std::array::from_fn(|k| {
            let tail = if rng.f64() < TAIL_SHARE { 6.0 } else { 1.0 };
            let error = Vec2::new(normal(rng), normal(rng)) * (scenario.noise * self.height * tail);
            let missed = rng.f32() < scenario.missed;
            let wobble = rng.f32() * 0.2 - 0.1;
            let at = rounded(scenario, self.at[k] + error);
            let confidence = if missed || !self.is_inside(at) || self.hidden[k] {
                0.5 * VISIBILITY_GATE * rng.f32()
            } else {
                (1.0 - 12.0 * error.length() / self.height.max(1.0) + wobble).clamp(0.3, 1.0)
            };
            Keypoint::new(at.x, at.y, confidence)
        });
        let mut visible = [true; JOINTS];
        for (joint, keypoint) in SHARED {
            visible[joint] = keypoints[keypoint].is_seen();
        }
        (Some(keypoints), visible)
    }

    /// What a measured detector says, `span_s` after it was last asked. Visible is what the camera sees, whatever the
    /// detector says of it.
    fn measured(
        &self,
        scenario: &Scenario,
        erring: &mut Erring<'_>,
        span_s: f64,
    ) -> (Option<[Keypoint; KEYPOINTS]>, [bool; JOINTS]) {
        let real = std::array::from_fn(|k| Real {
            at: self.at[k],
            seen: !self.hidden[k],
            inside: self.is_inside(self.at[k]),
        });
        let keypoints = erring.answer(&real, self.height, span_s);
        let mut visible = [true; JOINTS];
        for (joint, keypoint) in SHARED {
            visible[joint] = real[keypoint].seen && real[keypoint].inside;
        }
        let keypoints = keypoints.map(|keypoints| {
            keypoints.map(|keypoint| {
                let at = rounded(scenario, Vec2::new(keypoint.x_px, keypoint.y_px));
                Keypoint {
                    x_px: at.x,
                    y_px: at.y,
                    ..keypoint
                }
            })
        });
        (keypoints, visible)
    }
}

fn rounded(scenario: &Scenario, at: Vec2) -> Vec2 {
    if scenario.rounded { at.round() } else { at }
}

/// The detection of keypoints; `None` if none is seen.
fn detection_of(keypoints: &[Keypoint; KEYPOINTS]) -> Option<Detection> {
    BoxPx::around(keypoints, VISIBILITY_GATE).map(|bounds| Detection {
        score: 1.0,
        bounds,
        keypoints: *keypoints,
        features: None,
    })
}

/// Hips and shoulders towards each other, ankles up the shank: where detectors
/// trained on photographs put them. At most a third of the distance.
fn pull(pixels: &mut [Vec2; KEYPOINTS], [hips, ankles, shoulders]: [f32; 3], height: f32) {
    for (a, b, share) in [
        (11, 12, hips),
        (12, 11, hips),
        (15, 13, ankles),
        (16, 14, ankles),
        (5, 6, shoulders),
        (6, 5, shoulders),
    ] {
        let way = pixels[b] - pixels[a];
        pixels[a] += way.normalize_or_zero() * (share * height).min(way.length() / 3.0);
    }
}

fn between([from, to]: [f32; 2], rng: &mut Rng) -> f32 {
    from + (to - from) * rng.f32()
}

/// A standard normal number (Box and Muller 1958).
pub(super) fn normal(rng: &mut Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    (radius * (rng.f64() * std::f64::consts::TAU).cos()) as f32
}

/// FNV-1a, 64 bits: the same on every machine, unlike the standard library's.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A person standing, facing +z, arms hanging.
    pub(in crate::lab::eval) fn standing() -> [Vec3; JOINTS] {
        [
            [0.0, 0.95, 0.0],
            [-0.1, 0.95, 0.0],
            [-0.1, 0.5, 0.0],
            [-0.1, 0.08, 0.0],
            [0.1, 0.95, 0.0],
            [0.1, 0.5, 0.0],
            [0.1, 0.08, 0.0],
            [0.0, 1.2, 0.0],
            [0.0, 1.45, 0.0],
            [0.0, 1.55, 0.02],
            [0.0, 1.665, 0.02],
            [0.18, 1.43, 0.0],
            [0.2, 1.15, 0.0],
            [0.2, 0.9, 0.0],
            [-0.18, 1.43, 0.0],
            [-0.2, 1.15, 0.0],
            [-0.2, 0.9, 0.0],
        ]
        .map(Vec3::from)
    }

    fn motion() -> Motion {
        Motion {
            id: "m".into(),
            subject: "s".into(),
            rate_hz: 30.0,
            actions: Vec::new(),
            joints_world_m: vec![standing(); 240],
        }
    }

    fn shown(scenario: &Scenario, motion: &Motion, seed: u64) -> Result<Stream, ConfigError> {
        stream(scenario, "site", &[motion], seed)
    }

    fn scenario(change: impl FnOnce(&mut Scenario)) -> Scenario {
        let mut scenario = Scenario {
            name: "test".into(),
            ..Scenario::default()
        };
        change(&mut scenario);
        scenario
    }

    #[test]
    fn the_nose_points_where_the_face_looks() {
        let (points, _) = keypoints_of(&standing());
        assert!(points[0].z > points[3].z + 0.08, "nose before the ears");
        assert!(points[1].x > 0.0 && points[2].x < 0.0, "left eye at +x");
    }

    #[test]
    fn a_stream_is_the_same_for_a_seed_and_another_for_another() {
        let scenario = scenario(|_| {});
        let one = shown(&scenario, &motion(), 1).unwrap().moments;
        assert_eq!(one, shown(&scenario, &motion(), 1).unwrap().moments);
        assert_ne!(one, shown(&scenario, &motion(), 2).unwrap().moments);
    }

    #[test]
    fn without_errors_keypoints_are_where_joints_are() {
        let scenario = scenario(|s| {
            s.noise = 0.0;
            s.missed = 0.0;
        });
        let stream = shown(&scenario, &motion(), 3).unwrap();
        let moment = &stream.moments[7];
        let seen = moment.seen.as_ref().unwrap();
        for (joint, keypoint) in SHARED {
            let p = moment.joints_camera_m[joint];
            let want = stream.calibration.pixel(p.truncate() / p.z);
            let got = Vec2::new(seen.keypoints[keypoint].x_px, seen.keypoints[keypoint].y_px);
            assert!((want - got).length() < 1e-3);
        }
    }

    #[test]
    fn a_camera_above_looks_down() {
        let scenario = scenario(|s| s.down_deg = [40.0, 40.0]);
        let moment = &shown(&scenario, &motion(), 4).unwrap().moments[0];
        let (head, pelvis) = (moment.joints_camera_m[10], moment.joints_camera_m[0]);
        assert!(
            head.z < pelvis.z - 0.2,
            "the head is nearer than the pelvis"
        );
        assert!(head.y < pelvis.y, "and higher in the image");
    }

    #[test]
    fn all_people_stand_on_one_floor_and_come_into_view_again() {
        let scenario = scenario(|s| {
            s.down_deg = [35.0, 45.0];
            s.stature = 0.8;
        });
        let other = Motion {
            id: "n".into(),
            ..motion()
        };
        let stream = stream(&scenario, "site", &[&motion(), &other], 4).unwrap();
        assert_eq!(stream.moments.len(), 480);
        for moment in &stream.moments {
            let height = |joint: usize| {
                stream.mount.height_m + stream.mount.up().dot(moment.joints_camera_m[joint])
            };
            assert!((height(3) - 0.8 * 0.08).abs() < 1e-3, "{}", height(3));
            assert!(height(10) > 1.2);
        }
        let [last, next] = [&stream.moments[239], &stream.moments[240]];
        assert_eq!([last.motion, next.motion], [0, 1]);
        assert!(next.time.since(last.time).as_secs_f64() > BREAK_S);
        let apart = next.joints_camera_m[0] - last.joints_camera_m[0];
        assert!(apart.length() > 0.01, "another place");
    }

    #[test]
    fn a_child_is_smaller_and_its_head_larger_for_its_size() {
        let pose = rebuilt(
            &standing(),
            &scenario(|s| {
                s.stature = 0.7;
                s.head = 1.3;
            }),
        );
        let leg = (pose[1] - pose[2]).length();
        assert!((leg - 0.7 * 0.45).abs() < 1e-4);
        let head = (pose[10] - pose[9]).length();
        assert!((head - 0.7 * 1.3 * 0.115).abs() < 1e-4);
    }

    #[test]
    fn a_person_with_shorter_legs_stands_lower_and_not_in_the_air() {
        let lowest = |body: [Vec3; JOINTS]| {
            body.map(|joint| joint.y)
                .into_iter()
                .fold(f32::INFINITY, f32::min)
        };
        let child = rebuilt(
            &standing(),
            &scenario(|s| {
                s.stature = 0.7;
                s.legs = 0.8;
            }),
        );
        assert!((lowest(child) - 0.7 * lowest(standing())).abs() < 1e-4);
        assert!(child[0].y < 0.7 * standing()[0].y - 0.05);
    }

    #[test]
    fn hidden_knees_are_not_visible_and_come_back() {
        let hide = super::super::scenario::Hide {
            keypoints: vec!["left_knee".into()],
            every_s: 4.0,
            for_s: 2.0,
            region: None,
            below_hips: false,
        };
        let scenario = scenario(|s| {
            s.hide = vec![hide];
            s.missed = 0.0;
        });
        let moments = shown(&scenario, &motion(), 5).unwrap().moments;
        assert!(moments[30].visible[5]);
        assert!(!moments[75].visible[5]);
        assert!(moments[75].visible[2]);
        assert!(moments[125].visible[5]);
    }

    #[test]
    fn furniture_before_the_camera_hides_whatever_is_behind_it() {
        let lower = super::super::scenario::Hide {
            keypoints: Vec::new(),
            every_s: 4.0,
            for_s: 4.0,
            region: Some([0.0, 0.5, 1.0, 1.0]),
            below_hips: false,
        };
        let scenario = scenario(|s| {
            s.hide = vec![lower];
            s.noise = 0.0;
            s.missed = 0.0;
        });
        let stream = shown(&scenario, &motion(), 8).unwrap();
        let middle = 0.5 * (f32::from(640_u16) - 1.0);
        let mut hidden = 0;
        for moment in &stream.moments {
            for (joint, _) in SHARED {
                let p = moment.joints_camera_m[joint];
                let below = stream.calibration.pixel(p.truncate() / p.z).y > middle;
                hidden += usize::from(below);
                assert_eq!(moment.visible[joint], !below);
            }
        }
        assert!(hidden > 0, "legs are in the lower half");
    }

    #[test]
    fn a_quick_camera_looks_between_the_frames_of_a_slow_recording() {
        let mut slow = motion();
        slow.rate_hz = 2.0;
        slow.joints_world_m.truncate(5);
        let scenario = scenario(|s| s.rate_hz = Some(60.0));
        let moments = shown(&scenario, &slow, 9).unwrap().moments;
        assert_eq!(moments.len(), 4 * 30 + 1);
    }

    #[test]
    fn a_slow_camera_gives_a_third_of_the_frames() {
        let scenario = scenario(|s| s.rate_hz = Some(10.0));
        let moments = shown(&scenario, &motion(), 6).unwrap().moments;
        assert_eq!(moments.len(), 80);
        assert_eq!(moments[1].time.0 - moments[0].time.0, 100_000_000);
    }
}
