//! What people do: postures as functions of time.
//!
//! All lengths are for a stature of 1.74 m and grow with the person. Every action
//! keeps its feet where they stand until it lifts them.

use glam::{Mat3, Vec3};

use super::body::{Arm, Foot, LEFT, Lengths, Posture, RIGHT, sign};

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

impl Stretch {
    /// The posture `time_s` seconds after the stretch began.
    pub fn posture(&self, lengths: &Lengths, time_s: f32) -> Posture {
        let mut posture = match self.action {
            Action::Walk | Action::Turn => self.walk(lengths, time_s),
            action => {
                let phase = time_s * action.rate_hz() * self.pace;
                self.on_the_spot(lengths, phase)
            }
        };
        // People are never quite still.
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

    pub(super) fn stand(lengths: &Lengths, anchor: &Anchor) -> Posture {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::body::{Proportions, Stance};

    #[test]
    fn no_action_leaps_from_frame_to_frame() {
        let lengths = Proportions::median(1.74).lengths();
        let all = [Action::SitStand, Action::Climb, Action::Jump];
        for action in ON_THE_SPOT.into_iter().chain(all) {
            let stretch = Stretch {
                action,
                start_s: 0.0,
                duration_s: 13.0,
                from: Anchor::default(),
                to: Anchor::default(),
                pace: 1.0,
                size: 1.0,
                lead: LEFT,
                grain: 0.0,
            };
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
