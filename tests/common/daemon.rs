//! The built daemon on a synthetic figure, and a session to talk to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use zenoh::{Session, Wait};

use poised::base::clock::Clock;

/// Longest wait for anything, on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program with arguments.
pub fn poised(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poised"));
    command
        .args(arguments)
        .current_dir(root())
        .env("POISED_MODELS", root().join("models"))
        .env_remove("RUST_LOG");
    command
}

/// A daemon that films a synthetic figure; it does not outlive the test.
pub struct Daemon {
    pub child: Child,
    pub address: String,
    /// Key of the camera, without what follows it.
    pub key: String,
    /// Where its configuration lies, and its log, `log`.
    pub folder: tempfile::TempDir,
}

impl std::ops::Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts one; `more` goes behind its configuration, `$FOLDER` in it being the folder that lives as long as it
    /// does.
    pub fn start(device: &str, more: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), device, more)
    }

    /// The same in a folder that is there already.
    pub fn start_in(folder: tempfile::TempDir, device: &str, more: &str) -> Self {
        Self::filming("", folder, device, more)
    }

    /// The same before another scene: lines of `[camera.synthetic]`.
    pub fn filming(scene: &str, folder: tempfile::TempDir, device: &str, more: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let address = format!("tcp/127.0.0.1:{port}");
        let path: PathBuf = folder.path().join("poised.toml");
        let more = more.replace("$FOLDER", folder.path().to_str().unwrap());
        let text = format!(
            "[camera]\nname = \"front\"\n[camera.synthetic]\nwidth_px = 320\nheight_px = 240\n{scene}\
             [zenoh]\nsite = \"test\"\ndevice = \"{device}\"\nlisten = [\"{address}\"]\n{more}"
        );
        std::fs::write(&path, text).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = poised(&["run", "-c", path.to_str().unwrap()])
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            key: format!("poised/test/{device}/front"),
            folder,
        }
    }

    /// Asks it to end, waits until it has, and gives back its folder.
    pub fn stop(mut self) -> tempfile::TempDir {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(asked.unwrap().success());
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// Ends it as a power cut does, and gives back its folder.
    pub fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// A session connected with it.
    pub fn session(&self) -> Session {
        session(std::slice::from_ref(&self.address))
    }
}

/// A plain session that knows nothing but where to connect.
pub fn session(endpoints: &[String]) -> Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("connect/endpoints", format!("{endpoints:?}").as_str()),
        ("listen/endpoints", "[]"),
        ("scouting/multicast/enabled", "false"),
    ] {
        config.insert_json5(key, value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

/// Waits until something is so.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let clock = Clock::live();
    let started = clock.now();
    while clock.now().since(started) < PATIENCE {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not within {PATIENCE:?}: {what}");
}
