//! `poised watch`: a live table of what comes over Zenoh, and a recording of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};

use poised::calibration::Calibration;
use poised::error::StartError;
use poised::pose::JointState;
use poised::publish::ZenohConfig;
use poised::publish::json::to_json;
use poised::publish::read::PoseMessage;
use poised::publish::subscribe::{Received, Subscription, all_poses};
use poised::record::Recorder;
use poised::settings::Settings;
use poised::skeleton::JOINTS;

use super::exit::Unavailable;
use super::output::{Force, Outputs};
use super::print;

/// How often the table is drawn anew.
const DRAW_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct Options {
    /// Which poses: a key expression.
    #[arg(default_value_t = all_poses())]
    keys: String,
    /// Where to connect; by default to a daemon on this machine.
    #[arg(long)]
    connect: Vec<String>,
    /// Stop after so many messages.
    #[arg(long)]
    messages: Option<u64>,
    /// Connect as the [zenoh] section of this configuration says: endpoints, certificates.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Print each message, of any kind, as one JSON object a line with its key.
    #[arg(long, conflicts_with = "record")]
    json: bool,
    /// Record what comes (.poses), for `replay` and `dictionary teach`. Of several cameras the first
    /// that is heard is recorded.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

/// A recording of one camera. What it needs to know of the lens it asks the publisher for.
struct Recording {
    path: PathBuf,
    /// The camera's key and its file, from its first message on.
    of: Option<(String, Recorder)>,
}

impl Recording {
    fn add(
        &mut self,
        subscription: &Subscription,
        key: &str,
        message: &PoseMessage,
    ) -> anyhow::Result<()> {
        if self.of.is_none() {
            let place = key.strip_suffix("/poses").unwrap_or(key);
            let asked = format!("{place}/calibration");
            let bytes = subscription
                .ask(&asked)
                .map_err(StartError::from)?
                .ok_or_else(|| {
                    Unavailable(format!(
                        "{asked}: no answer, and a recording needs the lens"
                    ))
                })?;
            let text = String::from_utf8(bytes)
                .map_err(|error| Unavailable(format!("{asked}: the answer is no text: {error}")))?;
            let lens = Calibration::from_toml(&text, asked.as_ref()).map_err(StartError::from)?;
            let recorder = Recorder::create(&self.path, &lens)?;
            log::info!("recording {key} to {}", self.path.display());
            self.of = Some((key.to_owned(), recorder));
        }
        if let Some((own, recorder)) = &mut self.of
            && own == key
        {
            recorder.add(&message.sample)?;
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        let Some((key, recorder)) = self.of else {
            let path = self.path.display();
            return Err(Unavailable(format!("nothing came, so {path} was not written")).into());
        };
        let frames = recorder.frames();
        recorder.finish()?;
        say!("{}: {frames} frames of {key}", self.path.display())?;
        Ok(())
    }
}

/// Subscribes and shows a table until interrupted.
///
/// # Errors
///
/// The key expression is none, the session does not open, or the recording cannot be made.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut outputs = Outputs::new(options.force);
    if let Some(config) = &options.config {
        outputs.reads(config);
    }
    if let Some(path) = &options.record {
        outputs.writes("--record", path)?;
    }
    let mut config = match &options.config {
        Some(file) => Settings::read(file).map_err(StartError::from)?.zenoh,
        None => ZenohConfig::default(),
    };
    if !options.connect.is_empty() {
        config.connect.clone_from(&options.connect);
    }
    if options.json {
        return print_json(&config, options);
    }
    let (send, receive) = mpsc::channel::<Received>();
    let subscription = Subscription::open(&config, &options.keys, move |received| {
        // The other end is gone only when this command ends.
        let _ = send.send(received);
    })
    .map_err(StartError::from)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut recording = options
        .record
        .clone()
        .map(|path| Recording { path, of: None });
    let terminal = std::io::stdout().is_terminal();
    let mut newest: BTreeMap<String, PoseMessage> = BTreeMap::new();
    let mut seen = 0;
    let mut printed = Ok(());
    while options.messages.is_none_or(|most| seen < most) && !stop.load(Ordering::Acquire) {
        let Ok(first) = receive.recv_timeout(DRAW_EVERY) else {
            if newest.is_empty() && terminal {
                print::text(format_args!("\rwaiting for {} ", options.keys))?;
            }
            continue;
        };
        for received in std::iter::once(first).chain(receive.try_iter()) {
            seen += 1;
            match received.message {
                Ok(message) => {
                    if let Some(recording) = &mut recording {
                        recording.add(&subscription, &received.key, &message)?;
                    }
                    newest.insert(received.key, message);
                }
                Err(error) => log::warn!("{}: {error}", received.key),
            }
        }
        let clear = if terminal { "\x1b[H\x1b[2J" } else { "" };
        let tables: String = newest
            .iter()
            .map(|(key, message)| table(key, message) + "\n")
            .collect();
        printed = print::text(format_args!("{clear}{tables}"));
        if printed.is_err() {
            break;
        }
        std::thread::sleep(DRAW_EVERY);
    }
    // Where the table can no longer be shown, what was recorded is kept all the same.
    recording.map_or(Ok(()), Recording::finish)?;
    Ok(printed?)
}

/// Prints messages as they come.
fn print_json(config: &ZenohConfig, options: &Options) -> anyhow::Result<()> {
    let (send, receive) = mpsc::channel::<String>();
    let _subscription = Subscription::raw(config, &options.keys, move |key, bytes| {
        let line = match to_json(bytes) {
            Ok(message) => serde_json::json!({ "key": key, "message": message }),
            Err(error) => serde_json::json!({ "key": key, "error": error.to_string() }),
        };
        let _ = send.send(line.to_string());
    })
    .map_err(StartError::from)?;
    let most = options.messages.unwrap_or(u64::MAX);
    let mut seen = 0;
    while seen < most {
        // Zenoh keeps the other end until this command ends.
        let line = receive.recv()?;
        say!("{line}")?;
        seen += 1;
    }
    Ok(())
}

/// One camera's people.
fn table(key: &str, message: &PoseMessage) -> String {
    let sample = &message.sample;
    let mut text = format!(
        "{key}  #{}  frame {}  {:.0} ms old  {} people",
        message.sequence,
        sample.frame_sequence,
        message.age_ms,
        sample.people.len()
    );
    for person in &sample.people {
        let count = |state| person.states.iter().filter(|s| **s == state).count();
        let root = person.root_camera_m;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  id {:<4} score {:.2}  at x {:+.2} y {:+.2} z {:.2} m (± {:.2})  {} of {JOINTS} joints measured, {} completed  {}",
            person.id,
            person.score,
            root.x,
            root.y,
            root.z,
            person.root_sigma_m,
            count(JointState::Measured),
            count(JointState::Completed),
            person
                .action
                .as_ref()
                .map_or("", |action| action.label.as_str()),
        );
    }
    text
}
