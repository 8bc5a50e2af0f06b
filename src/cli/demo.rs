//! `poised demo`: the whole pipeline on the synthetic camera, out over Zenoh and back in.
//!
//! The threads are those of `run`. A subscriber of our own, in a session of its
//! own, receives the messages; since the camera knows where the joints are, each
//! is compared with the truth of its frame.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use clap::Args;
use glam::Vec3;
use signal_hook::consts::{SIGINT, SIGTERM};

use poised::adapt::Method;
use poised::adapt::thread::Worker;
use poised::base::clock::Clock;
use poised::camera::{Calibration, Distortion, Intrinsics, Origin};
use poised::counters::Counters;
use poised::daemon::wiring::{self, Parts};
use poised::engine::EngineStatus;
use poised::engine::select::{Choice, Engine};
use poised::error::StartError;
use poised::estimate::{EstimateConfig, Estimator, Poser};
use poised::lab::eval::metrics::{mpjpe_mm, pa_mpjpe_mm};
use poised::output::read::PoseMessage;
use poised::output::subscribe::{Received, Subscription};
use poised::output::web::About;
use poised::output::{Documents, Outlet, PublishConfig, Publisher, Web, WebConfig, ZenohConfig};
use poised::pose::{JointState, PersonPose, PoseSample};
use poised::skeleton::JOINTS;
use poised::synthetic::{Scenario, Scene, SceneTruth, SyntheticCamera, SyntheticConfig};

use super::print;
use super::report::{Report, Tally, round};

/// Name of the synthetic camera in keys.
const CAMERA: &str = "demo";

/// Where the web view is unless another address is given.
const WEB: &str = "127.0.0.1:8080";

/// Longest wait for the subscriber to find the publisher, and for its last messages.
const SETTLE: Duration = Duration::from_secs(5);

/// How often the live line is written.
const LINE_EVERY: Duration = Duration::from_millis(500);

/// Largest distance between a person's box centre and the truth's at which they
/// are the same person, in image widths.
const SAME_PERSON: f32 = 0.15;

#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Stop after this many seconds; by default, run until interrupted.
    #[arg(long)]
    seconds: Option<f64>,
    /// Scenario: default, occluded, crowd, high-camera, small, walk,
    /// squat, sit, climb, exercise or varied.
    #[arg(long, default_value = "default")]
    scenario: String,
    /// Image width, pixels.
    #[arg(long, default_value_t = 640)]
    width: u32,
    /// Image height, pixels.
    #[arg(long, default_value_t = 480)]
    height: u32,
    /// Frame rate of the camera, Hz.
    #[arg(long, default_value_t = 30.0)]
    rate: f32,
    /// Random seed of appearance, room and order of actions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Adaptation method: off, latent, replay or semantic.
    #[arg(long, default_value = "semantic")]
    adapt: Method,
    /// Folder of the networks.
    #[arg(long)]
    models: Option<std::path::PathBuf>,
    /// Inference engine: auto, tract, onnxruntime or tensorrt.
    #[arg(long)]
    engine: Option<Choice>,
    /// Serve the web view, at this address of the loopback.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = WEB)]
    web: Option<SocketAddr>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration and prints the figures.
///
/// # Errors
///
/// Networks or session do not open, or no message came back that can be read.
pub fn run(options: &DemoOptions) -> anyhow::Result<()> {
    let config = scene_config(options)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let estimate = estimate_config(options);
    estimate.adapt.validate().map_err(StartError::from)?;
    let engine = Engine::open(&estimate.inference).map_err(StartError::from)?;
    let mut estimator = Estimator::open_with(&engine, &estimate)?;
    let factory_poses = compare_with_shipped(&engine, &mut estimator, &estimate)?;
    let status = engine.status();
    let calibration = calibration_of(&config)?;
    let clock = Arc::new(Clock::live());
    let counters = Arc::<Counters>::default();

    let zenoh = ZenohConfig {
        // Two demonstrations on one machine are no mistake.
        shared_name: true,
        ..ZenohConfig::default()
    };
    let scenario = &options.scenario;
    let documents = Documents {
        config: format!("# poised demo\n[camera.synthetic]\nscenario = \"{scenario}\"\n"),
        calibration: calibration.to_toml(),
    };
    let outlet = Outlet::open(&zenoh, CAMERA, documents, clock.now()).map_err(StartError::from)?;
    let (subscription, receive) = subscribe(&zenoh, &outlet, &clock)?;
    let publish = PublishConfig::default();
    let mut publisher = Publisher::new(
        &publish,
        CAMERA,
        Arc::clone(&status),
        &clock,
        &counters,
        outlet,
    );
    if let Some(web) = open_web(options, &status, &counters, &clock)? {
        publisher.also(web);
    }
    let adapter = estimator.adapter(options.seed)?;
    let worker = adapter.map(|adapter| Worker::new(&estimate.adapt, adapter, clock.now()));
    if let Some(worker) = &worker {
        publisher.tell_of(estimate.adapt.method, worker.link());
    }
    // Begins when the networks are loaded, or the first frames would be late.
    let camera = SyntheticCamera::live(&config, Arc::clone(&clock)).map_err(StartError::from)?;
    let judge = Mutex::new(Judge::new(&config, factory_poses)?);
    let started = clock.now();
    wiring::run(
        Parts {
            camera: Box::new(camera),
            reopen: None,
            calibration: &calibration,
            estimator,
            builder: engine.builder(),
            worker,
            publisher,
            clock: &clock,
            counters: &counters,
            stop: &stop,
        },
        |_| {
            let live = !options.json && std::io::stdout().is_terminal();
            let mut judge = judge.lock().expect("one thread uses it");
            let mut said = clock.now();
            while !stop.load(Ordering::Acquire) {
                if let Ok(received) = receive.recv_timeout(Duration::from_millis(50)) {
                    judge.hear(received);
                }
                let now = clock.now();
                let elapsed = now.seconds_after(started);
                if options.seconds.is_some_and(|most| elapsed >= most) {
                    stop.store(true, Ordering::Release);
                }
                if live && now.since(said) >= LINE_EVERY {
                    said = now;
                    // A terminal that is gone ends the program by a signal.
                    let _ = print::text(format_args!("\r{}", judge.line(&counters, elapsed)));
                }
            }
        },
    )?;
    let elapsed = clock.now().since(started);
    let mut judge = judge.into_inner().expect("one thread used it");
    wait_until(SETTLE, &clock, || {
        for received in receive.try_iter() {
            judge.hear(received);
        }
        judge.received >= counters.published.get()
    });
    drop(subscription);
    let mut report = Report::of(judge.tally, &counters, status.in_use(), elapsed);
    report.published = Some(counters.published.get());
    report.received = Some(judge.received);
    report.mpjpe_mm = judge.mpjpe.mean();
    report.pa_mpjpe_mm = judge.pa_mpjpe.mean();
    report.factory_pa_mpjpe_mm = judge.factory_pa_mpjpe.mean();
    if !options.json {
        say!()?;
    }
    report.print(options.json)?;
    judge_way(counters.published.get(), judge.received, judge.unreadable)
}

/// Whether messages came through. A busy machine may lose some, since publishing never waits for a subscriber: that is
/// said, and no failure.
fn judge_way(published: u64, received: u64, unreadable: u64) -> anyhow::Result<()> {
    anyhow::ensure!(
        unreadable == 0,
        "{unreadable} of {received} messages received cannot be read"
    );
    anyhow::ensure!(
        published == 0 || received > 0,
        "{published} messages published, none received"
    );
    if received < published {
        log::warn!(
            "{} of {published} messages were dropped in transport: this machine is too busy for its own subscriber",
            published - received
        );
    }
    Ok(())
}

/// The web view, where it is asked for; says where it is.
fn open_web(
    options: &DemoOptions,
    engine: &Arc<EngineStatus>,
    counters: &Arc<Counters>,
    clock: &Arc<Clock>,
) -> anyhow::Result<Option<Web>> {
    let config = WebConfig {
        listen: options.web,
        ..WebConfig::default()
    };
    config.validate().map_err(StartError::from)?;
    let about = About {
        camera: CAMERA.to_owned(),
        engine: Arc::clone(engine),
        counters: Arc::clone(counters),
        clock: Arc::clone(clock),
        silent_after: Duration::from_millis(PublishConfig::default().silent_after_ms.into()),
    };
    let web = Web::open(&config, about).map_err(StartError::from)?;
    if let Some(web) = &web {
        let line = format!("web view: {}", web.url());
        if options.json {
            log::info!("{line}");
        } else {
            say!("{line}")?;
        }
    }
    Ok(web)
}

/// A session of our own that receives what `outlet` sends.
fn subscribe(
    zenoh: &ZenohConfig,
    outlet: &Outlet,
    clock: &Clock,
) -> Result<(Subscription, mpsc::Receiver<Received>), StartError> {
    let (send, receive) = mpsc::channel();
    let own = ZenohConfig {
        connect: outlet.endpoints().to_vec(),
        ..zenoh.clone()
    };
    let subscription = Subscription::open(&own, &zenoh.key(CAMERA, "poses"), move |received| {
        // The other end is gone only when the command ends.
        let _ = send.send(received);
    })?;
    wait_until(SETTLE, clock, || subscription.connections() > 0);
    // A connection is there before the subscription has travelled along it.
    std::thread::sleep(Duration::from_millis(200));
    Ok((subscription, receive))
}

/// Poses of the networks without adaptation, not yet compared, oldest first.
type FactoryPoses = Arc<Mutex<Vec<PoseSample>>>;

/// What the synthetic camera shows.
fn scene_config(options: &DemoOptions) -> Result<SyntheticConfig, StartError> {
    Ok(SyntheticConfig {
        scenario: Scenario::from_name(&options.scenario)?,
        width_px: options.width,
        height_px: options.height,
        rate_hz: options.rate,
        seed: options.seed,
        ..SyntheticConfig::default()
    })
}

/// What turns its frames into poses.
fn estimate_config(options: &DemoOptions) -> EstimateConfig {
    let mut estimate = EstimateConfig::default();
    estimate.adapt.method = options.adapt;
    if let Some(models) = &options.models {
        estimate.models.directory.clone_from(models);
    }
    if let Some(engine) = options.engine {
        estimate.inference.engine = engine;
    }
    estimate
}

/// Makes poses beside with the networks without adaptation: nothing refined, nothing learned.
fn compare_with_shipped(
    engine: &Engine,
    estimator: &mut Estimator,
    config: &EstimateConfig,
) -> Result<FactoryPoses, StartError> {
    let mut shipped = config.clone();
    shipped.adapt.method = Method::Off;
    let poses = FactoryPoses::default();
    let into = Arc::clone(&poses);
    estimator.compare_with(Poser::open_with(engine, &shipped)?, move |sample| {
        let mut poses = into.lock().expect("no thread panics while it holds it");
        poses.push(sample.clone());
    });
    Ok(poses)
}

/// The synthetic camera's lens, which is known.
pub fn calibration_of(config: &SyntheticConfig) -> Result<Calibration, StartError> {
    let scene = Scene::new(config)?;
    let lens = scene.intrinsics();
    Ok(Calibration::new(
        (config.width_px, config.height_px),
        Intrinsics {
            fx_px: lens.fx.into(),
            fy_px: lens.fy.into(),
            cx_px: lens.cx.into(),
            cy_px: lens.cy.into(),
        },
        Distortion::None {},
        Origin::Measured {
            camera: "drawn".into(),
            date: None,
            residual_px: None,
        },
    )?)
}

fn wait_until(most: Duration, clock: &Clock, mut done: impl FnMut() -> bool) {
    let started = clock.now();
    while !done() && clock.now().since(started) < most {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Compares what comes in with the truth of its frame.
struct Judge {
    scene: Scene,
    rate_hz: f64,
    tally: Tally,
    received: u64,
    unreadable: u64,
    mpjpe: Mean,
    pa_mpjpe: Mean,
    /// Of the networks without adaptation, on the same frames and joints.
    factory_pa_mpjpe: Mean,
    /// Their poses, not yet compared.
    factory_poses: FactoryPoses,
    age_ms: f32,
    people: usize,
    /// What the first person is doing.
    action: String,
}

/// A running mean.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| round(self.sum / f64::from(self.count)))
    }
}

impl Judge {
    fn new(config: &SyntheticConfig, factory_poses: FactoryPoses) -> Result<Self, StartError> {
        Ok(Self {
            scene: Scene::new(config)?,
            rate_hz: config.rate_hz.into(),
            tally: Tally::default(),
            received: 0,
            unreadable: 0,
            mpjpe: Mean::default(),
            pa_mpjpe: Mean::default(),
            factory_pa_mpjpe: Mean::default(),
            factory_poses,
            age_ms: 0.0,
            people: 0,
            action: String::new(),
        })
    }

    fn hear(&mut self, received: Received) {
        let message = match received.message {
            Ok(message) => message,
            Err(error) => {
                log::warn!("{}: {error}", received.key);
                self.received += 1;
                self.unreadable += 1;
                return;
            }
        };
        self.received += 1;
        self.age_ms = message.age_ms;
        self.people = message.sample.people.len();
        let action = message
            .sample
            .people
            .first()
            .and_then(|p| p.action.as_ref());
        self.action = action.map_or_else(|| "-".to_owned(), |a| a.label.as_str().to_owned());
        self.tally.add(&message.sample);
        self.compare(&message);
    }

    fn compare(&mut self, message: &PoseMessage) {
        let time_s = f64::from(message.sample.frame_sequence) / self.rate_hz;
        let truth = self.scene.truth_at(time_s);
        let factory = self.factory_of(message.sample.frame_sequence);
        for person in &message.sample.people {
            let Some(joints) = nearest(&truth, person, message.sample.width_px) else {
                continue;
            };
            // Absent joints carry no position. Poses are compared on whole skeletons and
            // on the joints there are, at least half of them.
            let there: Vec<usize> = (0..JOINTS)
                .filter(|joint| person.states[*joint] != JointState::Absent)
                .collect();
            if there.len() * 2 < JOINTS || person.states[0] == JointState::Absent {
                continue;
            }
            let estimate: Vec<Vec3> = there.iter().map(|j| person.joints_camera_m[*j]).collect();
            let truth: Vec<Vec3> = there.iter().map(|j| joints[*j]).collect();
            let known = |other: &&PersonPose| {
                other.id == person.id
                    && there.iter().all(|j| other.states[*j] != JointState::Absent)
            };
            let other = factory
                .as_ref()
                .and_then(|sample| sample.people.iter().find(known));
            let Some(other) = other else { continue };
            let other: Vec<Vec3> = there.iter().map(|j| other.joints_camera_m[*j]).collect();
            self.mpjpe.add(mpjpe_mm(
                &estimate,
                person.joints_camera_m[0],
                &truth,
                joints[0],
            ));
            if let (Some(error), Some(shipped)) =
                (pa_mpjpe_mm(&estimate, &truth), pa_mpjpe_mm(&other, &truth))
            {
                self.pa_mpjpe.add(error);
                self.factory_pa_mpjpe.add(shipped);
            }
        }
    }

    /// The pose of the networks without adaptation of a frame; older ones are dropped.
    fn factory_of(&self, frame_sequence: u32) -> Option<PoseSample> {
        let mut poses = self
            .factory_poses
            .lock()
            .expect("no thread panics while it holds it");
        let at = poses
            .iter()
            .position(|sample| sample.frame_sequence == frame_sequence)?;
        poses.drain(..=at).next_back()
    }

    fn line(&self, counters: &Counters, elapsed_s: f64) -> String {
        let of = |mean: Mean| mean.mean().map_or("-".to_owned(), |mm| format!("{mm:.0}"));
        #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
        let fps = counters.published.get() as f64 / elapsed_s.max(1e-3);
        format!(
            "{elapsed_s:6.1} s  {fps:5.1} frames/s  {:4.0} ms old  {} people  {:<26.26}  error {} mm (PA {} mm, as shipped {} mm)   ",
            self.age_ms,
            self.people,
            self.action,
            of(self.mpjpe),
            of(self.pa_mpjpe),
            of(self.factory_pa_mpjpe)
        )
    }
}

/// The joints of the true person whose box lies nearest, if near enough.
fn nearest<'a>(
    truth: &'a SceneTruth,
    person: &PersonPose,
    width_px: u32,
) -> Option<&'a [Vec3; JOINTS]> {
    #[expect(clippy::cast_precision_loss, reason = "an image's width")]
    let most = SAME_PERSON * width_px as f32;
    let (x, y) = person.bounds.centre();
    let distance = |bounds: &poised::pose::BoxPx| {
        let (tx, ty) = bounds.centre();
        (x - tx).hypot(y - ty)
    };
    truth
        .people
        .iter()
        .map(|true_person| (distance(&true_person.outline), true_person))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(distance, _)| *distance < most.max(person.bounds.width()))
        .map(|(_, true_person)| &true_person.pose.joints_camera_m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_lost_on_a_busy_machine_is_no_failure_and_silence_is() {
        for (published, received, unreadable, good) in [
            (100, 100, 0, true),
            (100, 93, 0, true),
            (100, 0, 0, false),
            (100, 100, 1, false),
            (0, 0, 0, true),
        ] {
            let said = judge_way(published, received, unreadable);
            assert_eq!(said.is_ok(), good, "{published} {received} {unreadable}");
        }
    }
}
