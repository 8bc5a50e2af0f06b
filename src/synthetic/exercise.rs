//! What people do on the spot: postures as functions of a phase that grows by one a cycle.

use core::f32::consts::{FRAC_PI_2, PI, TAU};

use glam::{Mat3, Vec3};

use super::body::{Arm, LEFT, Lengths, Posture, RIGHT, sign};
use super::motion::{
    Action, SEAT_BEHIND_M, SEAT_HEIGHT_M, STEP_AHEAD_M, STEP_HEIGHT_M, Stretch, smooth,
};

impl Stretch {
    #[expect(
        clippy::too_many_lines,
        reason = "a table of movements, read one by one"
    )]
    pub(super) fn on_the_spot(&self, lengths: &Lengths, phase: f32) -> Posture {
        let mut p = Self::stand(lengths, &self.from);
        let scale = lengths.scale;
        let size = self.size;
        let (lead, other) = (self.lead, 1 - self.lead);
        let ls = sign(lead);
        // 0 to 1 and back once a cycle; -1 to 1; which half of the cycle.
        let e = 0.5 - 0.5 * (phase * TAU).cos();
        let swing = (phase * TAU).sin();
        let ahead = Mat3::from_rotation_y(self.from.heading);
        let local = |x: f32, y: f32, z: f32| ahead * Vec3::new(x, y, z) * scale;
        match self.action {
            Action::March => {
                for side in [LEFT, RIGHT] {
                    let up = (swing * sign(side)).max(0.0).powf(0.8) * size;
                    p.feet[side].place += local(0.0, 0.3 * up, 0.1 * up);
                    p.feet[side].pitch = 0.4 * up;
                    p.arms[1 - side].raise = 0.9 * up - 0.15;
                    p.arms[1 - side].elbow = 0.5 + 0.7 * up;
                }
                p.pelvis_turn.z = -0.03 * swing;
                p.pelvis.y -= 0.01 * scale;
            }
            Action::Squat => {
                let d = e * size.min(1.15);
                p.pelvis += local(0.0, -0.40 * d, -0.14 * d);
                p.pelvis_turn.x = 0.35 * d;
                p.spine.x = 0.42 * d;
                p.neck.x = -0.45 * d;
                for side in [LEFT, RIGHT] {
                    p.feet[side].place += local(sign(side) * 0.07, 0.0, 0.0);
                    p.feet[side].yaw += sign(side) * 0.2;
                    p.feet[side].knee_out = 0.25;
                    p.arms[side].raise = 0.1 + 2.0 * d;
                    p.arms[side].elbow = 0.2 + 0.15 * d;
                }
            }
            Action::Wave | Action::WaveBoth => {
                let on = smooth(phase * 4.0);
                let fast = (phase * TAU * 5.5).sin();
                for side in [LEFT, RIGHT] {
                    if side == lead || self.action == Action::WaveBoth {
                        p.arms[side] = Arm {
                            out: (1.35 + 0.35 * size) * on,
                            raise: 0.25 * on,
                            twist: 1.45 * on,
                            elbow: 0.2 + (1.05 + 0.45 * fast * size) * on,
                            wrist: 0.0,
                        };
                    }
                }
            }
            Action::SitStand => {
                // Down, stay, up, stay.
                let turn = phase.rem_euclid(1.0);
                let d = smooth(turn / 0.28) - smooth((turn - 0.6) / 0.28);
                let low = lengths.ankle_height + lengths.thigh + lengths.shin;
                let drop = 0.985 * low - (SEAT_HEIGHT_M + 0.085) * scale;
                p.pelvis +=
                    local(0.0, 0.0, -(SEAT_BEHIND_M - 0.04) * smooth(d)) - Vec3::Y * drop * d;
                let lean = (d * PI).sin();
                p.pelvis_turn.x = 0.5 * lean - 0.06 * d;
                p.spine.x = 0.45 * lean + 0.05 * d;
                p.neck.x = -0.4 * lean;
                for side in [LEFT, RIGHT] {
                    p.arms[side].raise = 0.65 * d + 0.5 * lean;
                    p.arms[side].elbow = 0.2 + 0.75 * d;
                    p.arms[side].out = 0.13 + 0.03 * d;
                    p.feet[side].place += local(sign(side) * 0.02, 0.0, 0.0);
                    p.feet[side].knee_out = 0.1;
                }
            }
            Action::Climb => {
                let turn = phase.rem_euclid(1.0) * 4.4;
                let up = |side: usize| {
                    let late = if side == lead { 0.0 } else { 1.0 };
                    (
                        (turn - late).clamp(0.0, 1.0),
                        (turn - 2.2 - late).clamp(0.0, 1.0),
                    )
                };
                let mut mean = 0.0;
                for side in [LEFT, RIGHT] {
                    let (rise, fall) = up(side);
                    let along = smooth(rise) - smooth(fall);
                    // Up before forward, and back before down.
                    let height = smooth(rise * 1.7) - smooth(fall * 1.7 - 0.7);
                    let clear = 0.07 * ((rise * PI).sin() + (fall * PI).sin());
                    let foot = &mut p.feet[side];
                    foot.place += local(0.0, 0.0, STEP_AHEAD_M * along)
                        + Vec3::Y * (STEP_HEIGHT_M * height + clear * scale);
                    foot.pitch = 0.35 * ((rise * PI).sin() + (fall * PI).sin());
                    mean += 0.5 * along;
                    p.arms[1 - side].raise += 0.35 * (rise * PI).sin();
                    p.arms[side].elbow = 0.4;
                }
                let step = (mean * PI).sin() * 0.03;
                p.pelvis += local(0.0, -step - 0.02, STEP_AHEAD_M * mean)
                    + Vec3::Y * STEP_HEIGHT_M * mean * mean.sqrt();
                p.spine.x = 0.12;
            }
            Action::RaiseArms => {
                for side in [LEFT, RIGHT] {
                    p.arms[side].raise = 0.05 + 2.85 * e * size.min(1.05);
                    p.arms[side].elbow = 0.15;
                    p.arms[side].out = 0.12;
                }
                p.spine.x = -0.1 * e;
                p.neck.x = -0.2 * e;
            }
            Action::SideBend => {
                let bend = swing * 0.5 * size;
                p.spine.z = bend;
                p.pelvis += local(-0.06 * bend, 0.0, 0.0);
                p.neck.z = 0.3 * bend;
                for side in [LEFT, RIGHT] {
                    let up = smooth(-swing * sign(side) * 1.4);
                    p.arms[side].out = 0.13 + 2.6 * up;
                    p.arms[side].elbow = 0.2 + 0.3 * up;
                    p.feet[side].place += local(sign(side) * 0.1, 0.0, 0.0);
                }
                p.pelvis.y -= 0.015 * scale;
            }
            Action::Twist => {
                p.spine.y = 0.75 * swing * size;
                p.pelvis_turn.y = 0.2 * swing;
                for side in [LEFT, RIGHT] {
                    p.arms[side] = Arm {
                        out: 1.35,
                        raise: 0.2,
                        elbow: 1.5,
                        twist: 0.1,
                        wrist: 0.0,
                    };
                    p.feet[side].place += local(sign(side) * 0.08, 0.0, 0.0);
                }
                p.pelvis.y -= 0.012 * scale;
            }
            Action::Lunge => {
                let d = e * size.min(1.1);
                p.feet[lead].place += local(0.0, 0.06 * (d * PI).sin(), 0.62 * smooth(d * 2.0));
                p.feet[other].pitch = 0.75 * smooth(d * 2.0);
                p.pelvis += local(0.0, -0.3 * d, 0.3 * smooth(d * 1.5));
                p.spine.x = 0.08 * d;
                for side in [LEFT, RIGHT] {
                    p.arms[side].out = 0.2 + 0.25 * d;
                    p.arms[side].elbow = 0.2 + 1.2 * d;
                }
            }
            Action::JumpingJacks => {
                let hop = (phase * TAU * 2.0 - FRAC_PI_2).sin().max(-0.2) * 0.05 * size;
                for side in [LEFT, RIGHT] {
                    p.feet[side].place += local(sign(side) * 0.26 * e, hop.max(0.0), 0.0);
                    p.feet[side].pitch = (hop * 6.0).max(0.0);
                    p.arms[side].out = 0.15 + 2.55 * e;
                    p.arms[side].elbow = 0.25;
                }
                p.pelvis.y += (hop - 0.05 * e) * scale;
            }
            Action::ReachUp => {
                p.arms[lead].raise = 0.05 + 2.75 * e;
                p.arms[lead].elbow = 0.2 * (1.0 - e);
                p.pelvis.y += 0.075 * e * scale;
                for side in [LEFT, RIGHT] {
                    p.feet[side].pitch = 0.6 * e;
                }
                p.neck.x = -0.45 * e;
                p.spine.z = -0.12 * ls * e;
            }
            Action::PickUp => {
                let d = e * size.min(1.1);
                p.pelvis += local(0.0, -0.22 * d, -0.16 * d);
                p.pelvis_turn.x = 0.75 * d;
                p.spine.x = 0.75 * d;
                p.neck.x = -0.3 * d;
                p.arms[lead].raise = 1.05 * d;
                p.arms[lead].elbow = 0.2;
                p.arms[other].raise = 0.5 * d;
                p.arms[other].elbow = 0.2 + 0.5 * d;
            }
            Action::Bow => {
                p.pelvis += local(0.0, -0.02 * e, -0.1 * e);
                p.pelvis_turn.x = 0.55 * e * size;
                p.spine.x = 0.4 * e * size;
                for side in [LEFT, RIGHT] {
                    p.arms[side].raise = 0.4 * e;
                }
            }
            Action::Kick => {
                let k = e.powi(3) * size;
                let back = (1.0 - e) * e * 2.0;
                p.feet[lead].place += local(0.0, 0.75 * k + 0.12 * back, 0.75 * k - 0.25 * back);
                p.feet[lead].pitch = 0.4 * k + 0.5 * back;
                p.pelvis_turn.x = -0.25 * k;
                p.pelvis += local(-ls * 0.05 * e, -0.01, 0.02 * k);
                p.arms[lead].raise = -0.4 * k;
                p.arms[other].raise = 0.9 * k;
                p.arms[other].elbow = 0.6;
                p.arms[lead].out = 0.3;
            }
            Action::Punch => {
                for side in [LEFT, RIGHT] {
                    let out = (swing * sign(side)).max(0.0).powf(1.5);
                    p.arms[side] = Arm {
                        raise: 0.6 + 0.85 * out,
                        out: 0.12 - 0.1 * out,
                        twist: -0.2,
                        elbow: 2.2 - 2.05 * out,
                        wrist: 0.0,
                    };
                }
                p.spine.y = -0.4 * swing * size;
                p.feet[LEFT].place += local(0.04, 0.0, 0.14);
                p.feet[RIGHT].place += local(-0.04, 0.0, -0.14);
                p.pelvis.y -= 0.05 * scale;
            }
            Action::Clap => {
                for side in [LEFT, RIGHT] {
                    p.arms[side] = Arm {
                        raise: 0.75,
                        out: 0.1 + 0.1 * e,
                        twist: -0.75 + 0.6 * e,
                        elbow: 1.25,
                        wrist: 0.0,
                    };
                }
            }
            Action::LookAround => {
                p.neck.y = 0.95 * swing * size;
                p.spine.y = 0.3 * swing;
                p.neck.x = 0.15 * (phase * TAU * 0.5).sin();
            }
            Action::Talk => {
                for side in [LEFT, RIGHT] {
                    let a = (phase * 9.0 + side as f32 * 1.7 + self.grain).sin();
                    let b = (phase * 13.0 + side as f32 * 0.9).sin();
                    p.arms[side] = Arm {
                        raise: 0.45 + 0.3 * a * size,
                        out: 0.2 + 0.12 * b,
                        twist: 0.1 + 0.35 * b,
                        elbow: 1.45 + 0.35 * b * size,
                        wrist: 0.2 * a,
                    };
                }
                p.neck.y = 0.2 * swing;
            }
            Action::Phone => {
                let on = smooth(phase * 5.0);
                p.arms[lead] = Arm {
                    raise: 0.75 * on,
                    out: 0.35 * on,
                    twist: -0.1,
                    elbow: 0.2 + 2.25 * on,
                    wrist: 0.0,
                };
                p.neck.z = 0.12 * ls * on;
                p.neck.x = 0.1 * on;
            }
            Action::Balance => {
                let up = smooth(e * 1.8);
                p.feet[lead].place += local(-ls * 0.05 * up, 0.33 * up, -0.05 * up);
                p.feet[lead].pitch = 0.5 * up;
                p.feet[lead].knee_out = 0.5 * up;
                p.pelvis += local(-ls * 0.08 * up, 0.0, 0.0);
                for side in [LEFT, RIGHT] {
                    p.arms[side].out = 0.15 + 1.25 * up + 0.05 * swing;
                }
            }
            Action::RotateArms => {
                for side in [LEFT, RIGHT] {
                    p.arms[side].raise = phase * TAU;
                    p.arms[side].out = 0.25;
                    p.arms[side].elbow = 0.1;
                }
            }
            Action::ElbowToKnee => {
                for side in [LEFT, RIGHT] {
                    let d = (swing * sign(side)).max(0.0);
                    p.feet[side].place += local(-0.02 * d, 0.42 * d, 0.12 * d);
                    p.feet[side].pitch = 0.4 * d;
                    p.arms[side] = Arm {
                        out: 1.25,
                        raise: 0.25,
                        twist: 1.1,
                        elbow: 2.1,
                        wrist: 0.0,
                    };
                    p.spine.y += 0.45 * sign(side) * d;
                    p.spine.x += 0.5 * d;
                }
                for side in [LEFT, RIGHT] {
                    let d = (swing * sign(1 - side)).max(0.0);
                    p.arms[side].raise += 0.9 * d;
                    p.arms[side].out -= 0.7 * d;
                }
                p.pelvis.y -= 0.012 * scale;
            }
            Action::Jump => {
                let turn = phase.rem_euclid(1.0);
                let crouch = (smooth(turn / 0.3) - smooth((turn - 0.3) / 0.12)).max(0.0)
                    + (smooth((turn - 0.62) / 0.1) - smooth((turn - 0.75) / 0.25)).max(0.0);
                let air = ((turn - 0.38) / 0.27).clamp(0.0, 1.0);
                let swung = smooth((turn - 0.25) / 0.35) * (1.0 - smooth((turn - 0.6) / 0.4));
                let high = 4.0 * air * (1.0 - air) * 0.22 * size;
                for side in [LEFT, RIGHT] {
                    p.feet[side].place.y += high * scale;
                    p.feet[side].pitch = smooth(high * 12.0) * 0.5;
                    p.arms[side].raise = -0.5 * crouch + 1.2 * swung;
                    p.arms[side].elbow = 0.35;
                }
                p.pelvis += local(0.0, high - 0.22 * crouch, -0.06 * crouch);
                p.spine.x = 0.4 * crouch;
                p.pelvis_turn.x = 0.25 * crouch;
            }
            Action::Stand | Action::Walk | Action::Turn => {
                p.pelvis += local(0.02 * swing, 0.0, 0.0);
                p.pelvis_turn.z = 0.02 * swing;
            }
        }
        p
    }
}
