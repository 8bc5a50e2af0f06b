//! What people do: postures as functions of time.
//!
//! All lengths are for a stature of 1.74 m and grow with the person. Every action
//! keeps its feet where they stand until it lifts them.

use core::f32::consts::{FRAC_PI_2, PI, TAU};

use glam::{Mat3, Vec3};

use super::body::{Arm, Foot, LEFT, Lengths, Posture, RIGHT, sign, wrap};

/// A place on the floor and where one looks from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Anchor {
    /// On the floor, metres.
    pub place: Vec3,
    /// Turn about the world's y, radians.
    pub heading: f32,
}

impl Anchor {
    /// A point given in the anchor's axes (x left, y up, z ahead), in the world.
    pub fn at(&self, local: Vec3) -> Vec3 {
        self.place + Mat3::from_rotation_y(self.heading) * local
    }
}

/// Something people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Standing, breathing.
    Stand,
    /// From one anchor to another.
    Walk,
    /// Turning on the spot.
    Turn,
    /// Stepping on the spot with high knees.
    March,
    /// Knees bent deep, arms forward.
    Squat,
    /// One hand.
    Wave,
    /// Both hands.
    WaveBoth,
    /// On a seat behind the anchor, and up again.
    SitStand,
    /// Onto a step before the anchor, and down again.
    Climb,
    /// Forward and overhead.
    RaiseArms,
    /// Bending sideways, one arm overhead.
    SideBend,
    /// Trunk turned left and right.
    Twist,
    /// A long step and down.
    Lunge,
    /// Feet and arms apart in jumps.
    JumpingJacks,
    /// On the toes, one arm up.
    ReachUp,
    /// Down to the floor before the feet.
    PickUp,
    /// From the hips.
    Bow,
    /// One leg forward.
    Kick,
    /// One arm after the other.
    Punch,
    /// Before the chest.
    Clap,
    /// Head left and right.
    LookAround,
    /// Hands while talking.
    Talk,
    /// Hand at the ear.
    Phone,
    /// On one leg, arms out.
    Balance,
    /// Whole circles.
    RotateArms,
    /// Elbow to the other knee.
    ElbowToKnee,
    /// Straight up.
    Jump,
}

/// Height of the seat that [`Action::SitStand`] uses, metres at median stature.
pub const SEAT_HEIGHT_M: f32 = 0.45;
/// How far behind the anchor the middle of the seat is, metres at median stature.
pub const SEAT_BEHIND_M: f32 = 0.44;
/// Height of the step that [`Action::Climb`] uses, metres.
pub const STEP_HEIGHT_M: f32 = 0.2;
/// How far before the anchor a foot stands on the step, metres at median stature.
pub const STEP_AHEAD_M: f32 = 0.42;

/// Actions that stay on the spot and need no furniture.
pub const ON_THE_SPOT: [Action; 22] = [
    Action::Stand,
    Action::March,
    Action::Squat,
    Action::Wave,
    Action::WaveBoth,
    Action::RaiseArms,
    Action::SideBend,
    Action::Twist,
    Action::Lunge,
    Action::JumpingJacks,
    Action::ReachUp,
    Action::PickUp,
    Action::Bow,
    Action::Kick,
    Action::Punch,
    Action::Clap,
    Action::LookAround,
    Action::Talk,
    Action::Phone,
    Action::Balance,
    Action::RotateArms,
    Action::ElbowToKnee,
];

impl Action {
    /// The phrase, in the words of common motion descriptions.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Stand => "stand still",
            Self::Walk => "walk",
            Self::Turn => "turn in place",
            Self::March => "march",
            Self::Squat => "squat",
            Self::Wave => "wave with the right hand",
            Self::WaveBoth => "wave with both hands",
            Self::SitStand => "sit down and stand up",
            Self::Climb => "climb stairs",
            Self::RaiseArms => "raise both arms",
            Self::SideBend => "stretch",
            Self::Twist => "side twists",
            Self::Lunge => "lunge",
            Self::JumpingJacks => "jumping jacks",
            Self::ReachUp => "reach up",
            Self::PickUp => "pick up an object",
            Self::Bow => "bow",
            Self::Kick => "front kick",
            Self::Punch => "punch",
            Self::Clap => "clap hands",
            Self::LookAround => "look around",
            Self::Talk => "talk with gestures",
            Self::Phone => "use a phone",
            Self::Balance => "balance on one leg",
            Self::RotateArms => "rotate arms",
            Self::ElbowToKnee => "touch elbow to knee",
            Self::Jump => "jump in place",
        }
    }

    /// Cycles a second at an ordinary pace.
    const fn rate_hz(self) -> f32 {
        match self {
            Self::Squat | Self::SideBend | Self::Lunge | Self::PickUp | Self::RaiseArms => 0.38,
            Self::Twist | Self::ElbowToKnee | Self::Kick => 0.5,
            Self::JumpingJacks | Self::Punch | Self::March => 0.9,
            Self::Jump => 0.7,
            Self::Clap => 1.4,
            Self::RotateArms => 0.6,
            _ => 0.3,
        }
    }
}

/// One stretch of an action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// What.
    pub action: Action,
    /// When it begins, seconds.
    pub start_s: f32,
    /// How long it lasts, seconds.
    pub duration_s: f32,
    /// Where it begins.
    pub from: Anchor,
    /// Where it ends.
    pub to: Anchor,
    /// Pace against the ordinary one.
    pub pace: f32,
    /// Size of the movement against the ordinary one.
    pub size: f32,
    /// Which side leads.
    pub lead: usize,
    /// Varies small movements.
    pub grain: f32,
}

/// Goes from 0 to 1 while `x` does, softly.
pub fn smooth(x: f32) -> f32 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

/// How long a step takes, seconds.
const STEP_S: f32 = 0.54;

/// Ordinary walking speed at median stature, metres a second.
pub const WALK_MPS: f32 = 1.15;

/// Turning before and after a walk takes at most this long, seconds.
const TURN_S: f32 = 1.1;

impl Stretch {
    /// How long walking from one anchor to another takes, turns included, seconds.
    pub fn walk_duration(from: &Anchor, to: &Anchor, pace: f32) -> f32 {
        let distance = from.place.distance(to.place);
        2.0 * TURN_S + distance / (WALK_MPS * pace) + 0.6
    }

    /// The posture `time_s` seconds after the stretch began.
    pub fn posture(&self, lengths: &Lengths, time_s: f32) -> Posture {
        let mut posture = match self.action {
            Action::Walk | Action::Turn => self.walk(lengths, time_s),
            action => {
                let phase = time_s * action.rate_hz() * self.pace;
                self.on_the_spot(lengths, phase)
            }
        };
        // Nobody is ever quite still.
        let wobble = |rate: f32, shift: f32| (time_s * rate + self.grain * shift).sin();
        posture.spine.x += 0.012 * wobble(1.7, 1.0);
        posture.spine.y += 0.015 * wobble(0.9, 2.0);
        posture.neck.y += 0.05 * wobble(0.7, 3.0);
        posture.neck.x += 0.03 * wobble(1.1, 4.0);
        for side in [LEFT, RIGHT] {
            posture.arms[side].raise += 0.02 * wobble(1.3, 5.0 + side as f32);
        }
        posture
    }

    fn stand(lengths: &Lengths, anchor: &Anchor) -> Posture {
        let leg = lengths.thigh + lengths.shin;
        let mut posture = Posture {
            pelvis: anchor.at(Vec3::Y * (lengths.ankle_height + 0.985 * leg)),
            heading: anchor.heading,
            ..Posture::default()
        };
        for side in [LEFT, RIGHT] {
            let s = sign(side);
            posture.feet[side] = Foot {
                place: anchor.at(Vec3::X * s * (lengths.hip_half + 0.02 * lengths.scale)),
                yaw: anchor.heading + s * 0.12,
                pitch: 0.0,
                knee_out: 0.05,
            };
            posture.arms[side] = Arm {
                out: 0.13,
                elbow: 0.2,
                raise: 0.03,
                ..Arm::default()
            };
        }
        posture
    }

    /// Footprints are laid along the path ahead of time: a foot lands where the
    /// body will be half a step later, stays there, and swings to its next print.
    fn walk(&self, lengths: &Lengths, time_s: f32) -> Posture {
        let path = |time: f32| self.on_path(time);
        let (here, speed) = (path(time_s), self.speed_share(time_s));
        let mut posture = Self::stand(lengths, &here);
        let leg = lengths.thigh + lengths.shin;
        let step = STEP_S / self.pace.sqrt();
        let beat = (time_s / step * PI).cos();
        let bob = (time_s / step * TAU).cos();
        posture.pelvis.y = lengths.ankle_height + leg * (0.975 - 0.018 * speed)
            - 0.014 * speed * bob * lengths.scale;
        for side in [LEFT, RIGHT] {
            let parity = if side == LEFT { 0.0 } else { 1.0 };
            // Landings of this foot are at (2 n + parity) steps.
            let cycle = ((time_s / step - parity) / 2.0).floor();
            let landed = (2.0 * cycle + parity) * step;
            let next = landed + 2.0 * step;
            let print = |landing: f32| {
                let at = path(landing + 0.5 * step);
                // Feet stand closer together the faster one walks.
                let narrow = 1.0 - 0.35 * self.speed_share(landing + 0.5 * step);
                let out = sign(side) * (lengths.hip_half * narrow + 0.015);
                (at.at(Vec3::X * out), at.heading + sign(side) * 0.08)
            };
            let (now_at, now_yaw) = print(landed);
            let (next_at, next_yaw) = print(next);
            let swing_s = 0.78 * step;
            let swing = ((time_s - (next - swing_s)) / swing_s).clamp(0.0, 1.0);
            let stance = ((time_s - landed) / (2.0 * step - swing_s)).clamp(0.0, 1.0);
            let moves = ((next_at - now_at).length() / 0.25)
                .min(1.0)
                .max(((next_yaw - now_yaw).abs() * 3.0).min(0.6));
            let foot = &mut posture.feet[side];
            foot.place = now_at.lerp(next_at, smooth(swing));
            foot.place.y = 0.075 * moves * (swing * PI).sin() * lengths.scale;
            foot.yaw = now_yaw + wrap(next_yaw - now_yaw) * smooth(swing);
            // Heel off the ground at the end of stance, toes up before landing.
            let push = smooth((stance - 0.55) / 0.45) * (1.0 - smooth(swing * 2.2));
            let ready = smooth((swing - 0.55) / 0.45)
                * (1.0 - smooth(stance * 6.0 * f32::from(swing <= 0.0)));
            let landing = if swing <= 0.0 {
                1.0 - smooth(stance * 5.0)
            } else {
                ready
            };
            foot.pitch = speed * (0.75 * push - 0.3 * landing);
            foot.knee_out = 0.02;

            let forward = -sign(side) * beat;
            posture.arms[side] = Arm {
                raise: (0.05 + 0.45 * forward * self.size) * speed,
                out: 0.14,
                twist: 0.0,
                elbow: 0.22 + (0.2 + 0.22 * forward) * speed,
                wrist: 0.0,
            };
        }
        posture.pelvis_turn = Vec3::new(0.04 * speed, -0.09 * beat * speed, 0.03 * beat * speed);
        posture.spine = Vec3::new(0.03, 0.17 * beat * speed, -0.03 * beat * speed);
        posture.neck = Vec3::new(0.02, -0.07 * beat * speed, 0.0);
        posture
    }

    /// Where on the path one is at a time; before and after, at its ends.
    fn on_path(&self, time_s: f32) -> Anchor {
        let way = self.to.place - self.from.place;
        let distance = way.length();
        let end = self.duration_s - 0.35;
        if distance < 0.05 {
            let share = smooth(time_s / end.max(0.1));
            let turn = wrap(self.to.heading - self.from.heading);
            return Anchor {
                place: self.from.place,
                heading: self.from.heading + turn * share,
            };
        }
        let along = way.x.atan2(way.z);
        let first = wrap(along - self.from.heading);
        let last = wrap(self.to.heading - along);
        let heading = self.from.heading
            + first * smooth(time_s / TURN_S)
            + last * smooth((time_s - (end - TURN_S)) / TURN_S);
        // The body starts to move while it still turns, and stops while it turns back.
        let (start, stop) = (0.55 * TURN_S, end - 0.55 * TURN_S);
        let share = eased((time_s - start) / (stop - start));
        Anchor {
            place: self.from.place + way * share,
            heading,
        }
    }

    fn speed_share(&self, time_s: f32) -> f32 {
        let (a, b) = (self.on_path(time_s - 0.1), self.on_path(time_s + 0.1));
        let speed = a.place.distance(b.place) / 0.2;
        let turn = wrap(b.heading - a.heading).abs() / 0.2;
        (speed / WALK_MPS + 0.25 * turn).min(1.2)
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a table of movements, read one by one"
    )]
    fn on_the_spot(&self, lengths: &Lengths, phase: f32) -> Posture {
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

/// From 0 to 1 with soft ends and an even middle.
fn eased(x: f32) -> f32 {
    const SOFT: f32 = 0.18;
    let x = x.clamp(0.0, 1.0);
    let peak = 1.0 / (1.0 - SOFT);
    if x < SOFT {
        peak * x * x / (2.0 * SOFT)
    } else if x > 1.0 - SOFT {
        1.0 - peak * (1.0 - x) * (1.0 - x) / (2.0 * SOFT)
    } else {
        peak * (x - 0.5 * SOFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::synthetic::body::{Proportions, Stance};

    fn walk() -> Stretch {
        let from = Anchor::default();
        let to = Anchor {
            place: Vec3::new(2.0, 0.0, 1.5),
            heading: -1.0,
        };
        Stretch {
            action: Action::Walk,
            start_s: 0.0,
            duration_s: Stretch::walk_duration(&from, &to, 1.0),
            from,
            to,
            pace: 1.0,
            size: 1.0,
            lead: LEFT,
            grain: 0.0,
        }
    }

    #[test]
    fn walking_begins_and_ends_at_its_anchors() {
        let stretch = walk();
        let lengths = Proportions::median(1.74).lengths();
        let first = stretch.posture(&lengths, 0.0);
        let last = stretch.posture(&lengths, stretch.duration_s);
        assert!((first.pelvis * Vec3::new(1.0, 0.0, 1.0)).length() < 0.03);
        let gap = (last.pelvis - stretch.to.place) * Vec3::new(1.0, 0.0, 1.0);
        assert!(gap.length() < 0.03, "{gap}");
        assert!(wrap(last.heading - stretch.to.heading).abs() < 0.02);
    }

    #[test]
    fn one_foot_stands_still_while_the_other_swings() {
        let stretch = walk();
        let lengths = Proportions::median(1.74).lengths();
        let mut time = 0.2;
        while time < stretch.duration_s - 0.2 {
            let (a, b) = (
                stretch.posture(&lengths, time),
                stretch.posture(&lengths, time + 0.02),
            );
            let moved = |side: usize| a.feet[side].place.distance(b.feet[side].place);
            assert!(
                moved(LEFT).min(moved(RIGHT)) < 1e-4,
                "both feet slide at {time}"
            );
            time += 0.02;
        }
    }

    #[test]
    fn no_action_leaps_from_frame_to_frame() {
        let lengths = Proportions::median(1.74).lengths();
        let all = [Action::SitStand, Action::Climb, Action::Jump];
        for action in ON_THE_SPOT.into_iter().chain(all) {
            let stretch = Stretch { action, ..walk() };
            let (mut before, mut now) = (Stance::default(), Stance::default());
            before.set(&lengths, &stretch.posture(&lengths, 0.0));
            for step in 1..400 {
                now.set(&lengths, &stretch.posture(&lengths, step as f32 / 30.0));
                for joint in 0..crate::skeleton::JOINTS {
                    let far = now.joints[joint].distance(before.joints[joint]);
                    assert!(
                        far < 0.3,
                        "{action:?}: joint {joint} moves {far} m in a frame"
                    );
                }
                core::mem::swap(&mut before, &mut now);
            }
        }
    }
}
