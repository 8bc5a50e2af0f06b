//! What stands in for networks: a detector that knows where people are, a backbone that says the same of everybody, and
//! a learner that has other heads now and then. All of them fail and take long as the plan says.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fastrand::Rng;
use poised::adapt::state::{Frozen, State};
use poised::adapt::thread::Learn;
use poised::adapt::{Command, Mode, Observation, Report};
use poised::base::clock::{Clock, MonoNs};
use poised::camera::Calibration;
use poised::detect::{Detect, Lap, Seen, Shed};
use poised::engine::models::Element;
use poised::engine::{InferError, Input, Network, TensorSpec};
use poised::frame::Frame;
use poised::lift::head::Head;
use poised::pose::{BoxPx, Detection, HeadTag, Keypoint, People, VISIBILITY_GATE};
use poised::skeleton::KEYPOINTS;

use super::ledger::Shared;
use super::plan::{Plan, chance, spell};

/// Heads that may exist at once: in use and of the factory, in each mailbox, in the learner's hand and the one before.
const HEADS_MAX: usize = 6;

/// Where the keypoints of a standing person are, around the middle, in pixels.
const STANDING_PX: [(f32, f32); KEYPOINTS] = [
    (0.0, -140.0),
    (6.0, -146.0),
    (-6.0, -146.0),
    (12.0, -142.0),
    (-12.0, -142.0),
    (32.0, -100.0),
    (-32.0, -100.0),
    (42.0, -45.0),
    (-42.0, -45.0),
    (46.0, 5.0),
    (-46.0, 5.0),
    (20.0, 0.0),
    (-20.0, 0.0),
    (22.0, 75.0),
    (-22.0, 75.0),
    (22.0, 145.0),
    (-22.0, 145.0),
];

/// A detector that knows.
pub struct Knowing<'b> {
    plan: Plan,
    rng: Rng,
    ledger: Shared,
    clock: Arc<Clock>,
    /// What the other threads do while it works for so long.
    meanwhile: Box<dyn FnMut(Duration) + 'b>,
}

impl<'b> Knowing<'b> {
    pub fn new(
        plan: &Plan,
        ledger: Shared,
        clock: &Arc<Clock>,
        meanwhile: impl FnMut(Duration) + 'b,
    ) -> Self {
        Self {
            plan: plan.clone(),
            rng: plan.rng(2),
            ledger,
            clock: Arc::clone(clock),
            meanwhile: Box::new(meanwhile),
        }
    }

    fn person(&mut self, place: usize, time: MonoNs) -> Detection {
        let at = (time.0 / 1_000_000) as f32 * 1e-3;
        let x_px = 110.0 + 210.0 * place as f32 + 20.0 * at.sin();
        let keypoints = STANDING_PX.map(|(x, y)| {
            Keypoint::new(
                x_px + x,
                240.0 + y,
                if self.rng.u32(0..20) == 0 { 0.1 } else { 0.9 },
            )
        });
        Detection {
            score: 0.9,
            bounds: BoxPx::around(&keypoints, VISIBILITY_GATE).unwrap_or_default(),
            keypoints,
            features: None,
        }
    }
}

impl Detect for Knowing<'_> {
    fn step_timed(
        &mut self,
        frame: &Frame,
        _: &Calibration,
        people: &mut People,
        lap: &mut dyn FnMut(Lap),
    ) -> Result<Seen, InferError> {
        people.clear();
        let id = u64::from_le_bytes(frame.bytes[..8].try_into().unwrap()) as usize;
        self.ledger
            .lock()
            .looks_at(id, &frame.meta, self.clock.now());
        let most = if chance(&mut self.rng, self.plan.rates.slow) {
            400
        } else {
            10
        };
        let takes = spell(&mut self.rng, most);
        (self.meanwhile)(takes);
        lap(Lap::PersonNetwork);
        if chance(&mut self.rng, self.plan.rates.network) {
            self.ledger.lock().failed += 1;
            return Err(if self.rng.bool() {
                InferError::Engine
            } else {
                InferError::NotFinite { output: 0 }
            });
        }
        for place in 0..self.plan.people {
            let person = self.person(place, frame.meta.capture);
            people.push(person).unwrap();
        }
        let seen = people.len();
        self.ledger.lock().estimated(id, &frame.meta, seen);
        Ok(Seen {
            detector_ran: true,
            regions: seen,
            dropped: 0,
            waiting: 0,
            better_turned: 0,
        })
    }

    fn shed(&mut self, _: Shed) {}

    fn reset(&mut self) {
        self.ledger.lock().forgets(self.clock.now());
    }
}

/// A backbone that says the same of everybody.
#[derive(Clone)]
pub struct Same {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    rng: Rng,
    fails: u32,
}

impl Same {
    pub fn new(plan: &Plan) -> Self {
        let spec = |name: &str, shape: &[usize]| TensorSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            element: Element::F32,
        };
        Self {
            inputs: vec![spec("kp", &[1, 27, 17, 4])],
            outputs: vec![spec("feat", &[1, 256])],
            rng: plan.rng(3),
            fails: plan.rates.lifter,
        }
    }
}

impl Network for Same {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }
    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }
    fn engine(&self) -> &'static str {
        "simulated"
    }
    fn share(&self) -> Result<Box<dyn Network>, InferError> {
        Ok(Box::new(self.clone()))
    }
    fn run_into(&mut self, _: &[Input<'_>], outputs: &mut [Vec<f32>]) -> Result<(), InferError> {
        if chance(&mut self.rng, self.fails) {
            return Err(InferError::Engine);
        }
        outputs[0].fill(0.1);
        Ok(())
    }
}

/// Has another head now and then, and does what it is told.
pub struct Restless {
    plan: Plan,
    rng: Rng,
    ledger: Shared,
    clock: Arc<Clock>,
    head: Arc<Head>,
    earlier: Option<Arc<Head>>,
    heads: Vec<Weak<Head>>,
    generation: u32,
    owed: u32,
    steps: u64,
    is_frozen: bool,
    last: MonoNs,
}

impl Restless {
    pub fn new(plan: &Plan, ledger: Shared, clock: &Arc<Clock>, head: Arc<Head>) -> Self {
        Self {
            plan: plan.clone(),
            rng: plan.rng(4),
            ledger,
            clock: Arc::clone(clock),
            head,
            earlier: None,
            heads: Vec::new(),
            generation: 0,
            owed: 0,
            steps: 0,
            is_frozen: false,
            last: MonoNs(0),
        }
    }

    fn hand_out(&mut self) -> Arc<Head> {
        self.generation += 1;
        let mut head = Head::clone(&self.head);
        head.tag = HeadTag {
            generation: self.generation,
            adapted: true,
        };
        let head = Arc::new(head);
        self.heads.retain(|head| head.strong_count() > 0);
        self.heads.push(Arc::downgrade(&head));
        let count = self.heads.len();
        let mut ledger = self.ledger.lock();
        ledger.check(count <= HEADS_MAX, || {
            format!("{count} heads exist, and {HEADS_MAX} are enough")
        });
        let generation = self.generation;
        ledger.note(self.clock.now(), || format!("adapt: head {generation}"));
        self.earlier = Some(std::mem::replace(&mut self.head, Arc::clone(&head)));
        head
    }
}

impl Learn for Restless {
    fn networks(&self) -> &'static str {
        "simulated"
    }

    fn take(&mut self, observation: &Observation) {
        let (time, last) = (observation.time, self.last);
        self.ledger.lock().check(time >= last, || {
            format!("the adapter is told of {time:?} after {last:?}")
        });
        self.last = time;
        self.owed += 2;
    }

    fn work(&mut self) -> bool {
        if self.is_frozen || self.owed == 0 {
            return false;
        }
        self.owed -= 1;
        self.steps += 1;
        true
    }

    fn decide(&mut self) -> Option<Arc<Head>> {
        let has_one = !self.is_frozen && chance(&mut self.rng, self.plan.rates.head);
        has_one.then(|| self.hand_out())
    }

    fn obey(&mut self, command: Command) -> Result<Option<Arc<Head>>, &'static str> {
        let mut ledger = self.ledger.lock();
        ledger.obeyed.push(command);
        ledger.note(self.clock.now(), || format!("adapt: {command:?}"));
        drop(ledger);
        match command {
            Command::Freeze => self.is_frozen = true,
            Command::Thaw => self.is_frozen = false,
            Command::Snapshot => {}
            Command::Reset => return Ok(Some(self.hand_out())),
            Command::RollBack => {
                self.head = self.earlier.take().ok_or("there is no earlier head")?;
                self.is_frozen = true;
                return Ok(Some(self.hand_out()));
            }
        }
        Ok(None)
    }

    fn report(&self) -> Report {
        Report {
            mode: if self.is_frozen {
                Mode::Frozen
            } else {
                Mode::Learning
            },
            generation: self.generation,
            steps: self.steps,
            ..Report::default()
        }
    }

    fn frozen(&self) -> Option<Frozen> {
        self.is_frozen.then_some(Frozen::Adapted)
    }

    fn state(&self) -> Option<State> {
        None
    }

    fn resume(&mut self, _: &State) -> Option<Arc<Head>> {
        None
    }
}
