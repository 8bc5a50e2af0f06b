//! What a seed stands for: a camera, a room, a machine, and how much goes wrong.

use std::time::Duration;

use fastrand::Rng;
use poised::capture::SourceKind;

/// Shortest time between two frames: more than a thousand frames lost in the longest pause would look like a new count.
const PERIOD_MS: std::ops::Range<u64> = 16..120;

/// How often what goes wrong, in a thousand. A seed has some of these and not others, so that each is also seen alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Of frames: damaged, or too short.
    pub bad_frame: u32,
    /// Of frames: the time of the one before again, or an earlier one.
    pub stamp_back: u32,
    /// Of frames: from now on the driver's clock is another.
    pub clock_jump: u32,
    /// Of turns: the camera is unplugged for a while.
    pub unplug: u32,
    /// Of turns: the camera gives nothing for a while.
    pub mute: u32,
    /// Of openings: there is no camera, or it gives another size.
    pub no_camera: u32,
    /// Of turns: one thread is held up for a while.
    pub hold: u32,
    /// Of turns: the whole process is held up for a while.
    pub freeze: u32,
    /// Of frames: a network fails.
    pub network: u32,
    /// Of people: the lifter fails.
    pub lifter: u32,
    /// Of frames: the networks take long.
    pub slow: u32,
    /// Of looks at the session: it is gone.
    pub session: u32,
    /// Of turns: a peer sends a command.
    pub command: u32,
    /// Of looks of the adapter: it has another head.
    pub head: u32,
}

/// One run of the daemon.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// What gives the frames.
    pub kind: SourceKind,
    /// Time between two frames.
    pub period: Duration,
    /// Longest time until a frame is in hand.
    pub latency_ms: u64,
    /// The driver's clock less ours.
    pub offset_ns: i64,
    /// Frames of a recording.
    pub frames: u32,
    /// People in view.
    pub people: usize,
    /// Whether something learns, and takes commands.
    pub learns: bool,
    /// When the daemon is asked to stop.
    pub stop_after: Duration,
    /// What goes wrong.
    pub rates: Rates,
}

impl Plan {
    /// The plan of a seed; all of it is decided here but what is drawn on the way.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x706f_6973_6564);
        let kind = match rng.u32(0..10) {
            0 => SourceKind::Recording,
            1..4 => SourceKind::Stream,
            _ => SourceKind::Device,
        };
        // Recordings are played on the machine's clock.
        let foreign = kind != SourceKind::Recording && rng.u32(0..4) == 0;
        let mut rate = |most| if rng.bool() { 0 } else { rng.u32(1..=most) };
        let rates = Rates {
            bad_frame: rate(200),
            stamp_back: rate(100),
            clock_jump: rate(20),
            unplug: rate(20),
            mute: rate(10),
            no_camera: rate(600),
            hold: rate(30),
            freeze: rate(20),
            network: rate(300),
            lifter: rate(200),
            slow: rate(500),
            session: rate(300),
            command: rate(60),
            head: rate(60),
        };
        Self {
            seed,
            kind,
            period: Duration::from_millis(rng.u64(PERIOD_MS)),
            latency_ms: rng.u64(0..40),
            offset_ns: if foreign { other_clock(&mut rng) } else { 0 },
            frames: rng.u32(1..60),
            people: rng.usize(0..=3),
            learns: rng.bool(),
            stop_after: Duration::from_millis(rng.u64(0..STOP_AFTER_MS_MAX)),
            rates,
        }
    }

    /// A source of chance for one part of the world.
    pub fn rng(&self, part: u64) -> Rng {
        Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part)
    }
}

/// Another clock less ours: of a machine that was started up to nine minutes later, or years before.
pub fn other_clock(rng: &mut Rng) -> i64 {
    rng.i64(-1 << 39..1 << 60)
}

/// Longest life of a daemon here.
const STOP_AFTER_MS_MAX: u64 = 20_000;

/// Whether it happens this time.
pub fn chance(rng: &mut Rng, per_mille: u32) -> bool {
    per_mille > 0 && rng.u32(0..1000) < per_mille
}

/// A time of up to so many milliseconds, mostly a short one.
pub fn spell(rng: &mut Rng, most_ms: u64) -> Duration {
    let share = rng.f64();
    Duration::from_millis(most_ms).mul_f64(share * share)
}
