//! Walking and turning: footprints laid ahead along a path.

use core::f32::consts::{PI, TAU};

use glam::Vec3;

use super::body::{Arm, LEFT, Lengths, Posture, RIGHT, sign, wrap};
use super::motion::{Anchor, Stretch, smooth};

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

    /// Footprints are laid along the path ahead of time: a foot lands where the
    /// body will be half a step later, stays there, and swings to its next print.
    pub(super) fn walk(&self, lengths: &Lengths, time_s: f32) -> Posture {
        let path = |time: f32| self.on_path(time);
        let (here, speed) = (path(time_s), self.speed_share(time_s));
        let mut posture = Self::stand(lengths, &here);
        let leg = lengths.thigh + lengths.shin;
        let step = STEP_S / self.pace.sqrt();
        let beat = (time_s / step * PI).cos();
        let bob = (time_s / step * TAU).cos();
        posture.pelvis.y = lengths.ankle_height + leg * (0.985 - 0.02 * speed)
            - 0.018 * speed * bob * lengths.scale;
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
    use crate::synthetic::body::Proportions;
    use crate::synthetic::motion::Action;

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
}
