//! Who does what when: a person's stretches of action, one after the other, round and round.

use fastrand::Rng;
use glam::Vec3;

use super::appearance::between;
use super::body::{LEFT, Lengths, Posture, RIGHT};
use super::config::Scenario;
use super::motion::{Action, Anchor, ON_THE_SPOT, Stretch, smooth};

/// How long one action flows into the next, seconds.
const BLEND_S: f32 = 0.5;

/// Where things are that people use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Places {
    /// Where one stands before the seat, looking away from it.
    pub seat: Option<Anchor>,
    /// Where one stands before the step, looking at it.
    pub step: Option<Anchor>,
    /// Half the size of the free floor in x, metres.
    pub free_x: f32,
    /// The free floor in z: nearest to the camera and farthest, metres.
    pub free_z: (f32, f32),
}

/// A person's day.
#[derive(Debug)]
pub struct Plan {
    stretches: Vec<Stretch>,
    period_s: f32,
}

impl Plan {
    /// A plan for one of `people` in a scenario. `home` is where it begins and ends.
    pub fn new(scenario: Scenario, places: &Places, home: Anchor, rng: &mut Rng) -> Self {
        let mut plan = Self {
            stretches: Vec::new(),
            period_s: 0.0,
        };
        let mut here = home;
        let add = |plan: &mut Self,
                   action: Action,
                   seconds: f32,
                   from: Anchor,
                   to: Anchor,
                   rng: &mut Rng| {
            plan.stretches.push(Stretch {
                action,
                start_s: plan.period_s,
                duration_s: seconds,
                from,
                to,
                pace: if action == Action::Walk {
                    between(rng, 0.8, 1.15)
                } else {
                    between(rng, 0.8, 1.25)
                },
                size: between(rng, 0.8, 1.1),
                lead: if rng.u32(0..3) == 0 { LEFT } else { RIGHT },
                grain: between(rng, 0.0, 6.0),
            });
            plan.period_s += seconds;
        };
        let go = |plan: &mut Self, here: &mut Anchor, to: Anchor, rng: &mut Rng| {
            let far = here.place.distance(to.place);
            let turn = super::body::wrap(to.heading - here.heading).abs();
            if far > 0.05 {
                add(
                    plan,
                    Action::Walk,
                    Stretch::walk_duration(here, &to, 0.95),
                    *here,
                    to,
                    rng,
                );
            } else if turn > 0.1 {
                add(plan, Action::Turn, 1.0 + 0.8 * turn, *here, to, rng);
            }
            *here = to;
        };
        let actions = Self::order(scenario, places, rng);
        for (action, seconds) in actions {
            match action {
                Action::Walk => {
                    let to = free_anchor(scenario, places, rng);
                    go(&mut plan, &mut here, to, rng);
                }
                Action::Turn => {
                    let to = Anchor {
                        heading: here.heading + between(rng, -2.5, 2.5),
                        ..here
                    };
                    go(&mut plan, &mut here, to, rng);
                }
                Action::SitStand | Action::Climb => {
                    let wanted = if action == Action::SitStand {
                        places.seat
                    } else {
                        places.step
                    };
                    let Some(at) = wanted else { continue };
                    go(&mut plan, &mut here, at, rng);
                    add(&mut plan, action, seconds, here, here, rng);
                    let last = plan.stretches.len() - 1;
                    // Whole cycles only: people do not walk off from a seat or a step in the air.
                    let (pace, cycles) = if action == Action::SitStand {
                        (
                            0.3 * plan.stretches[last].pace,
                            (seconds / 3.5).round().max(1.0),
                        )
                    } else {
                        (
                            0.3 * plan.stretches[last].pace,
                            (seconds / 3.3).round().max(1.0),
                        )
                    };
                    plan.period_s += cycles / pace - seconds;
                    plan.stretches[last].duration_s = cycles / pace;
                }
                action => add(&mut plan, action, seconds, here, here, rng),
            }
        }
        go(&mut plan, &mut here, home, rng);
        add(&mut plan, Action::Stand, 2.0, home, home, rng);
        plan
    }

    /// What a scenario asks for, with seconds.
    fn order(scenario: Scenario, places: &Places, rng: &mut Rng) -> Vec<(Action, f32)> {
        use Action::{
            Climb, JumpingJacks, LookAround, Lunge, March, PickUp, RaiseArms, ReachUp, SideBend,
            SitStand, Squat, Stand, Turn, Twist, Walk, Wave,
        };
        match scenario {
            Scenario::Default | Scenario::HighCamera | Scenario::Small | Scenario::Occluded => {
                vec![
                    (Stand, 1.5),
                    (Wave, 4.0),
                    (RaiseArms, 5.0),
                    (Squat, 7.0),
                    (Walk, 0.0),
                    (LookAround, 3.5),
                    (Walk, 0.0),
                    (SideBend, 5.0),
                    (JumpingJacks, 5.0),
                    (SitStand, 7.0),
                    (Walk, 0.0),
                    (ReachUp, 5.0),
                    (Lunge, 5.5),
                    (Climb, 7.0),
                    (Walk, 0.0),
                    (Twist, 4.0),
                    (Turn, 0.0),
                    (PickUp, 5.0),
                    (March, 5.0),
                ]
            }
            Scenario::Crowd => {
                let mut order = vec![(Stand, between(rng, 0.5, 2.0))];
                for _ in 0..6 {
                    order.push((Walk, 0.0));
                    order.push((
                        ON_THE_SPOT[rng.usize(..ON_THE_SPOT.len())],
                        between(rng, 1.5, 4.0),
                    ));
                    order.push((Walk, 0.0));
                }
                order
            }
            Scenario::Walk => vec![(Walk, 0.0); 8],
            Scenario::Squat => vec![(Squat, 12.0), (Stand, 2.0), (Squat, 12.0), (March, 3.0)],
            Scenario::Sit => vec![(SitStand, 14.0), (Stand, 2.0), (SitStand, 7.0)],
            Scenario::Climb => vec![(Climb, 14.0), (Stand, 1.5), (Climb, 7.0)],
            Scenario::Exercise => {
                let mut order = Vec::new();
                for action in ON_THE_SPOT {
                    order.push((action, between(rng, 3.0, 6.0)));
                }
                rng.shuffle(&mut order);
                order
            }
            Scenario::Varied => {
                let mut order = Vec::new();
                for _ in 0..8 {
                    let action = match rng.u32(0..10) {
                        0..=2 => Walk,
                        3 => Turn,
                        4 if places.seat.is_some() => SitStand,
                        5 if places.step.is_some() => Climb,
                        6 => Action::Jump,
                        _ => ON_THE_SPOT[rng.usize(..ON_THE_SPOT.len())],
                    };
                    order.push((action, between(rng, 2.5, 6.0)));
                }
                order
            }
        }
    }

    /// How long until it begins again, seconds.
    pub const fn period_s(&self) -> f32 {
        self.period_s
    }

    /// Posture and action at a time, seconds from the start, of any size.
    pub fn at(&self, lengths: &Lengths, time_s: f64) -> (Posture, Action) {
        let time = time_s.rem_euclid(f64::from(self.period_s)) as f32;
        let index = self
            .stretches
            .iter()
            .rposition(|stretch| stretch.start_s <= time)
            .unwrap_or(0);
        let stretch = &self.stretches[index];
        let since = time - stretch.start_s;
        let posture = stretch.posture(lengths, since);
        if since >= BLEND_S {
            return (posture, stretch.action);
        }
        let before = &self.stretches[(index + self.stretches.len() - 1) % self.stretches.len()];
        let left = before.posture(lengths, before.duration_s + since);
        let share = smooth(since / BLEND_S);
        (left.between(&posture, share), stretch.action)
    }
}

/// Somewhere on the free floor, looking anywhere, more often towards the camera.
fn free_anchor(scenario: Scenario, places: &Places, rng: &mut Rng) -> Anchor {
    let heading = if rng.bool()
        || matches!(
            scenario,
            Scenario::Walk | Scenario::Crowd | Scenario::Varied
        ) {
        between(rng, -3.1, 3.1)
    } else {
        between(rng, -0.9, 0.9)
    };
    Anchor {
        place: Vec3::new(
            between(rng, -places.free_x, places.free_x),
            0.0,
            between(rng, places.free_z.1, places.free_z.0),
        ),
        heading,
    }
}
