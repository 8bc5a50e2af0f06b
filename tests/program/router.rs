//! The daemon behind a router, which goes away and comes back: it connects, loses it, comes back, nothing piles up.
//!
//! The router is Zenoh's own in its router mode, in this process: what `zenohd` runs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poised::base::clock::{Clock, MonoNs};
use poised::output::ZenohConfig;
use poised::output::subscribe::Subscription;
use poised::output::zenoh::Mode;
use zenoh::{Session, Wait};

/// A child that does not outlive the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn start(config: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new(env!("CARGO_BIN_EXE_poised"))
            .args(["run", "-c", config.to_str().unwrap()])
            .env("POISED_MODELS", root.join("models"))
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn resident_kb(&self) -> u64 {
        let status = format!("/proc/{}/status", self.0.id());
        let text = std::fs::read_to_string(status).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS:"));
        let kb = line.unwrap().split_whitespace().nth(1).unwrap();
        kb.parse().unwrap()
    }
}

fn router(port: u16) -> Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("mode", "\"router\"".to_owned()),
        ("listen/endpoints", format!("[\"tcp/127.0.0.1:{port}\"]")),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

/// Sequence, age in milliseconds when it came, of each pose.
type Seen = Arc<Mutex<Vec<(u64, f64)>>>;

fn subscribe(port: u16, clock: &Arc<Clock>) -> (Subscription, Seen) {
    let seen = Seen::default();
    let (sink, clock) = (Arc::clone(&seen), Arc::clone(clock));
    let config = ZenohConfig {
        mode: Some(Mode::Client),
        connect: vec![format!("tcp/127.0.0.1:{port}")],
        ..ZenohConfig::default()
    };
    let subscription = Subscription::open(&config, "poised/**/poses", move |received| {
        let message = received.message.unwrap();
        let age_ms = clock.now().seconds_after(MonoNs(message.publish.0)) * 1e3;
        sink.lock().unwrap().push((message.sequence, age_ms));
    });
    (subscription.unwrap(), seen)
}

fn wait_for(what: &str, clock: &Clock, most: Duration, mut true_now: impl FnMut() -> bool) {
    let began = clock.now();
    while !true_now() {
        assert!(
            clock.now().since(began) < most,
            "{what}: not within {most:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn through_a_router_that_comes_and_goes(mode: &str) {
    let clock = Arc::new(Clock::live());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poised.toml");
    let text = format!(
        "[camera.synthetic]\nwidth_px = 320\nheight_px = 240\n\
         [zenoh]\nmode = \"{mode}\"\nlisten = []\nconnect = [\"tcp/127.0.0.1:{port}\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    // The daemon first: a router that is not there yet is no reason not to work.
    let mut daemon = Daemon::start(&path);
    std::thread::sleep(Duration::from_secs(2));
    let minute = Duration::from_mins(1);

    let first = router(port);
    let (subscription, seen) = subscribe(port, &clock);
    wait_for("poses", &clock, minute, || seen.lock().unwrap().len() > 20);
    let last = seen.lock().unwrap().last().unwrap().0;
    drop(subscription);
    first.close().wait().unwrap();

    let before_kb = daemon.resident_kb();
    std::thread::sleep(Duration::from_secs(10));
    assert!(daemon.0.try_wait().unwrap().is_none(), "it goes on alone");
    let alone_kb = daemon.resident_kb();

    let second = router(port);
    let (subscription, seen) = subscribe(port, &clock);
    wait_for("poses again", &clock, minute, || {
        seen.lock().unwrap().len() > 20
    });
    let back: Vec<(u64, f64)> = seen.lock().unwrap().clone();
    assert!(back[0].0 > last, "it is the same daemon");
    for (sequence, age_ms) in &back {
        assert!(
            *age_ms < 1000.0,
            "pose {sequence} had waited {age_ms:.0} ms"
        );
    }
    // Ten seconds of poses would be half a megabyte; room for what memory does by itself.
    let grown_kb = alone_kb.saturating_sub(before_kb);
    assert!(
        grown_kb < 4_000,
        "{grown_kb} kB more after ten seconds alone"
    );
    drop(subscription);
    second.close().wait().unwrap();
}

#[test]
fn a_client_outlives_its_router_and_comes_back() {
    through_a_router_that_comes_and_goes("client");
}

#[test]
fn a_peer_outlives_its_router_and_comes_back() {
    through_a_router_that_comes_and_goes("peer");
}
