//! All threads of the daemon on one, in an order that the seed draws, on a clock that stands between two turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use poised::adapt::control::{Control, Outcome};
use poised::adapt::thread::Worker;
use poised::adapt::{Command, Observation};
use poised::base::clock::{Clock, MonoNs};
use poised::base::limits::POSE_SLOTS;
use poised::base::slots::Receiver;
use poised::base::step::Step;
use poised::capture::thread::{Capturing, Ended};
use poised::counters::{Counters, DropReason as Reason};
use poised::output::Publisher;
use poised::pose::PoseSample;

use super::air::Air;
use super::device::Plug;
use super::heap::live_bytes;
use super::ledger::{Ledger, Shared};
use super::people::Restless;
use super::plan::{Plan, chance, spell};
use super::world::Machine;

/// The daemon has left so long after it was asked to.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// A camera is asked again after so long without a frame, as by its own wait.
const CAMERA_WAIT: Duration = Duration::from_millis(100);

/// Memory that may come and go while the daemon runs: heads, texts of errors, messages, and what the ledger writes down.
const GROWTH_BYTES_MAX: isize = 4 << 20;

/// Frames that are neither published nor counted: one waits, one is looked at, and poses wait for the publisher.
const IN_FLIGHT_MAX: u64 = 2 + POSE_SLOTS as u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    Capture,
    Estimate,
    Publish,
    Adapt,
}

const ACTORS: [Actor; 4] = [
    Actor::Capture,
    Actor::Estimate,
    Actor::Publish,
    Actor::Adapt,
];

/// A command that a peer has asked for.
pub struct Asked {
    command: Command,
    outcome: Arc<Mutex<Vec<Outcome>>>,
}

/// All threads but the one that estimates, and their sides of the queues; those that have left are gone.
pub struct Threads<'a> {
    pub capturing: Option<Capturing<'a, 'a>>,
    pub publisher: Option<Publisher<'a, Air>>,
    pub poses: Receiver<'a, PoseSample>,
    pub worker: Option<Worker<Restless>>,
    pub observations: Receiver<'a, Observation>,
}

/// These threads, and what disturbs them.
pub struct Others<'a> {
    plan: Plan,
    rng: Rng,
    clock: &'a Clock,
    counters: &'a Counters,
    ledger: Shared,
    plug: Plug,
    stop: &'a AtomicBool,
    frames_ended: &'a AtomicBool,
    poses_ended: &'a AtomicBool,
    threads: Threads<'a>,
    control: Arc<Control>,
    pub asked: Vec<Asked>,
    /// When each has its next turn, unless it is woken.
    due: [MonoNs; ACTORS.len()],
    /// Until when each is held up.
    held: [MonoNs; ACTORS.len()],
    /// Whether the capture thread waits in the camera.
    is_at_camera: bool,
    estimating: bool,
    pub ended: Option<Ended>,
    stop_at: MonoNs,
    stopped_at: Option<MonoNs>,
    left_at: MonoNs,
    cpu_ns: u64,
    pub base_bytes: isize,
}

impl<'a> Others<'a> {
    pub fn new(machine: &'a Machine, threads: Threads<'a>) -> Self {
        let start = machine.start;
        Self {
            rng: machine.plan.rng(6),
            clock: &machine.clock,
            counters: &machine.counters,
            ledger: machine.ledger.clone(),
            plug: machine.plug.clone(),
            stop: &machine.stop,
            frames_ended: &machine.frames_ended,
            poses_ended: &machine.poses_ended,
            threads,
            control: Arc::clone(&machine.control),
            asked: Vec::new(),
            due: [start; ACTORS.len()],
            held: [start; ACTORS.len()],
            is_at_camera: true,
            estimating: true,
            ended: None,
            stop_at: start.plus(machine.plan.stop_after),
            stopped_at: None,
            left_at: start,
            cpu_ns: 0,
            base_bytes: 0,
            plan: machine.plan.clone(),
        }
    }

    fn is_alive(&self, actor: Actor) -> bool {
        match actor {
            Actor::Capture => self.threads.capturing.is_some(),
            Actor::Estimate => self.estimating,
            Actor::Publish => self.threads.publisher.is_some(),
            Actor::Adapt => self.threads.worker.is_some(),
        }
    }

    pub fn all_have_left(&self) -> bool {
        !ACTORS.into_iter().any(|actor| self.is_alive(actor))
    }

    /// When it has its next turn.
    fn turn_of(&self, actor: Actor, now: MonoNs) -> MonoNs {
        let mut due = self.due[actor as usize];
        if actor == Actor::Capture && self.is_at_camera {
            due = due.min(self.plug.lock().ready(now));
        }
        due.max(self.held[actor as usize])
    }

    /// Lets time pass until an actor's turn has come, at most until `until`, and returns which.
    pub fn choose(&mut self, with_estimate: bool, until: MonoNs) -> Option<Actor> {
        self.disturb();
        let mut now = self.clock.now();
        loop {
            let mut ready = [Actor::Capture; ACTORS.len()];
            let (mut count, mut next) = (0, until);
            for actor in ACTORS {
                if !self.is_alive(actor) || actor == Actor::Estimate && !with_estimate {
                    continue;
                }
                let turn = self.turn_of(actor, now);
                if turn <= now {
                    ready[count] = actor;
                    count += 1;
                }
                next = next.min(turn);
            }
            if count > 0 {
                return Some(ready[self.rng.usize(..count)]);
            }
            if now >= until {
                return None;
            }
            // Now and then no actor is on time.
            let late = if self.rng.u8(0..4) == 0 {
                spell(&mut self.rng, 3)
            } else {
                Duration::ZERO
            };
            now = next.plus(late).min(until);
            self.clock.set(now);
        }
    }

    /// What goes wrong between two turns.
    fn disturb(&mut self) {
        let now = self.clock.now();
        if self.stopped_at.is_some() {
            return;
        }
        if now >= self.stop_at {
            self.ledger.lock().note(now, || "asked to stop".into());
            self.stop.store(true, Ordering::Release);
            self.stopped_at = Some(now);
            return;
        }
        let rates = self.plan.rates;
        if chance(&mut self.rng, rates.unplug) {
            self.ledger.lock().note(now, || "unplugged".into());
            self.plug.lock().unplug(now);
        }
        if chance(&mut self.rng, rates.mute) {
            self.plug.lock().mute(now);
        }
        if chance(&mut self.rng, rates.hold) {
            let actor = ACTORS[self.rng.usize(..ACTORS.len())];
            self.held[actor as usize] = now.plus(spell(&mut self.rng, 1_000));
        }
        if chance(&mut self.rng, rates.freeze) {
            let stands = spell(&mut self.rng, 8_000);
            self.ledger
                .lock()
                .note(now, || format!("all stand still for {stands:?}"));
            self.clock.set(now.plus(stands));
        }
        if self.threads.worker.is_some() && chance(&mut self.rng, rates.command) {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let command = Command::ALL[self.rng.usize(..Command::ALL.len())];
        self.ledger
            .lock()
            .note(self.clock.now(), || format!("a peer asks for {command:?}"));
        let mut message = minicbor::Encoder::new(Vec::new());
        message.map(1).unwrap();
        message.str("command").unwrap().str(command.name()).unwrap();
        let outcome = Arc::<Mutex<Vec<Outcome>>>::default();
        let told = Arc::clone(&outcome);
        let answer = Box::new(move |outcome: &Outcome| told.lock().unwrap().push(outcome.clone()));
        self.control.receive(&message.into_writer(), Some(answer));
        self.asked.push(Asked { command, outcome });
    }

    pub fn step(&mut self, actor: Actor) {
        let now = self.clock.now();
        match actor {
            Actor::Capture => self.capture(now),
            Actor::Publish => self.publish(now),
            Actor::Adapt => self.adapt(now),
            Actor::Estimate => {}
        }
        self.check();
    }

    fn capture(&mut self, now: MonoNs) {
        let Some(capturing) = &mut self.threads.capturing else {
            return;
        };
        let before = self.counters.captured();
        let step = capturing.step();
        // Opening a camera takes time.
        let now = self.clock.now().max(now);
        let due = match step {
            Step::Again if self.plug.lock().is_open => now.plus(CAMERA_WAIT),
            Step::Again => now,
            Step::Wait(most) => now.plus(most),
            Step::Left(ended) => {
                self.threads.capturing = None;
                self.ended = Some(ended);
                self.frames_ended.store(true, Ordering::Release);
                self.left(now, "capture");
                now
            }
        };
        // Its wait for a frame is the scheduler's.
        self.is_at_camera = step == Step::Again && self.plug.lock().is_open;
        self.due[Actor::Capture as usize] = due;
        if self.counters.captured() != before || self.threads.capturing.is_none() {
            self.wake(Actor::Estimate, now);
        }
    }

    fn publish(&mut self, now: MonoNs) {
        let Some(publisher) = &mut self.threads.publisher else {
            return;
        };
        // As on the thread, the flag is read before the ring is emptied.
        let stopping = self.poses_ended.load(Ordering::Acquire);
        match publisher.step(&mut self.threads.poses, stopping) {
            Step::Again => {}
            Step::Wait(most) => self.due[Actor::Publish as usize] = now.plus(most),
            Step::Left(()) => {
                if let Some(publisher) = self.threads.publisher.take() {
                    publisher.leave();
                }
                self.left(now, "publish");
            }
        }
    }

    fn adapt(&mut self, now: MonoNs) {
        let Some(worker) = &mut self.threads.worker else {
            return;
        };
        let ending = self.poses_ended.load(Ordering::Acquire);
        let cpu_ns = &mut self.cpu_ns;
        let mut spend = || {
            *cpu_ns += 500_000;
            *cpu_ns
        };
        match worker.step(&mut self.threads.observations, ending, now, &mut spend) {
            Step::Again => {}
            Step::Wait(most) => self.due[Actor::Adapt as usize] = now.plus(most),
            Step::Left(()) => {
                self.threads.worker = None;
                self.left(now, "adapt");
            }
        }
    }

    /// The estimate thread had its turn; gives whether that was its last.
    pub fn has_estimated(&mut self, step: Step) -> bool {
        let now = self.clock.now();
        self.due[Actor::Estimate as usize] = match step {
            Step::Wait(most) => now.plus(most),
            Step::Again | Step::Left(()) => now,
        };
        let has_left = step == Step::Left(());
        if has_left {
            self.estimating = false;
            self.poses_ended.store(true, Ordering::Release);
            self.left(now, "estimate");
        }
        self.wake(Actor::Publish, now);
        self.wake(Actor::Adapt, now);
        self.check();
        has_left
    }

    fn left(&mut self, now: MonoNs, who: &str) {
        self.left_at = now;
        self.ledger.lock().note(now, || format!("{who} has left"));
    }

    /// An actor has been woken.
    fn wake(&mut self, actor: Actor, now: MonoNs) {
        let due = &mut self.due[actor as usize];
        *due = (*due).min(now.plus(spell(&mut self.rng, 2)));
    }

    /// The others go on for so long while a frame is estimated.
    pub fn go_on_for(&mut self, time: Duration) {
        let until = self.clock.now().plus(time);
        while self.clock.now() < until {
            match self.choose(false, until) {
                Some(actor) => self.step(actor),
                None => break,
            }
        }
    }

    /// What holds between any two turns.
    fn check(&self) {
        let mut ledger = self.ledger.lock();
        let (given, accounted) = (ledger.frames.len() as u64, accounted(self.counters));
        ledger.check(accounted <= given, || {
            format!("{given} frames were captured, and {accounted} published or counted")
        });
        ledger.check(given <= accounted + IN_FLIGHT_MAX, || {
            format!("{given} frames were captured, and only {accounted} published or counted")
        });
        let stale = self.counters.drops(Reason::Stale);
        let captured = self.counters.captured() + stale;
        ledger.check(captured == given, || {
            format!("the camera gave {given} frames, and {captured} were counted")
        });
        let (lost, bad) = (ledger.lost, ledger.bad);
        let counted = [Reason::LostByCamera, Reason::Short, Reason::Damaged]
            .map(|reason| self.counters.drops(reason));
        ledger.check(counted == [lost, bad[0], bad[1]], || {
            format!("lost, short and damaged are {lost} and {bad:?}; counted: {counted:?}")
        });
        let grown = live_bytes() - self.base_bytes;
        ledger.check(grown <= GROWTH_BYTES_MAX, || {
            format!("{grown} bytes more than at the start")
        });
    }
}

/// Frames that were published or counted.
fn accounted(counters: &Counters) -> u64 {
    let reasons = [
        Reason::PassedOver,
        Reason::Stale,
        Reason::EstimateFailed,
        Reason::PublisherFull,
        Reason::NotSent,
    ];
    let drops = reasons.map(|reason| counters.drops(reason));
    counters.published.get() + drops.iter().sum::<u64>()
}

/// How it ended.
pub struct End {
    asked: Vec<Asked>,
    stopped_at: Option<MonoNs>,
    left_at: MonoNs,
}

impl End {
    pub fn of(others: Others<'_>) -> Self {
        Self {
            asked: others.asked,
            stopped_at: others.stopped_at,
            left_at: others.left_at,
        }
    }

    /// What holds once all have left.
    pub fn check(&self, counters: &Counters, ledger: &mut Ledger) {
        let (given, accounted) = (ledger.frames.len() as u64, accounted(counters));
        ledger.check(given == accounted, || {
            format!("{given} frames were captured, {accounted} published or counted")
        });
        let (failed, counted) = (ledger.failed, counters.drops(Reason::EstimateFailed));
        ledger.check(failed == counted, || {
            format!("{failed} frames failed, {counted} are counted")
        });
        let (unpublished, counted) = (ledger.unpublished(), counters.drops(Reason::NotSent));
        ledger.check(unpublished == counted, || {
            format!("{unpublished} poses were not published, {counted} are counted")
        });
        let (published, counted) = (ledger.published, counters.published.get());
        ledger.check(published == counted, || {
            format!("{published} messages left, {counted} are counted")
        });
        let is_closed = ledger.closed;
        ledger.check(is_closed, || "the session was not closed".into());
        if let Some(stopped) = self.stopped_at {
            let took = self.left_at.since(stopped);
            ledger.check(took <= FAREWELL_MAX, || {
                format!("it left {took:?} after it was asked to")
            });
        }
        let mut done = Vec::new();
        for asked in &self.asked {
            let command = asked.command;
            let outcomes = asked.outcome.lock().unwrap();
            let [outcome] = &outcomes[..] else {
                let count = outcomes.len();
                ledger.wrong(|| format!("{command:?} was answered {count} times"));
                continue;
            };
            let refused =
                |why: &String| why.contains("waiting already") || why.contains("stopping");
            if !outcome.result.as_ref().is_err_and(refused) {
                done.push(command);
            }
        }
        let obeyed = std::mem::take(&mut ledger.obeyed);
        ledger.check(done == obeyed, || {
            format!("peers were told that {done:?} was done, and {obeyed:?} was")
        });
    }
}
