//! `poised watch`: a live table of what comes over Zenoh, and a recording of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::TrySendError;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};

use poised::camera::Calibration;
use poised::daemon::settings::Settings;
use poised::error::StartError;
use poised::output::ZenohConfig;
use poised::output::json::to_json;
use poised::output::read::PoseMessage;
use poised::output::record::Recorder;
use poised::output::subscribe::{Received, Subscription, all_poses};
use poised::output::wire::Stamp;
use poised::pose::JointState;
use poised::skeleton::JOINTS;

use super::exit::Unavailable;
use super::output::{Force, Outputs};
use super::print;

/// How often the table is redrawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Messages that wait to be shown: of eight cameras at 30 frames a second what comes while the lens is asked for. What
/// comes when they do is lost, and said.
const WAITING_MAX: usize = 1024;

/// Cameras in the table. A network has a few; a stranger may make up names without end.
const CAMERAS_MAX: usize = 64;

#[derive(Debug, Args)]
pub struct WatchOptions {
    /// Key expression of the poses to show.
    #[arg(default_value_t = all_poses())]
    keys: String,
    /// Endpoint to connect to; by default a daemon on this machine.
    #[arg(long)]
    connect: Vec<String>,
    /// Stop after this many messages.
    #[arg(long)]
    messages: Option<u64>,
    /// Connect with the [zenoh] section of this configuration file: endpoints, certificates.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Print each message, of any kind, with its key as one JSON object per line.
    #[arg(long, conflicts_with = "record")]
    json: bool,
    /// Record the messages (.poses), for `replay` and `dictionary teach`. Of several cameras, records
    /// the first one received.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

/// A daemon that was started again is silent for longer, nanoseconds: its networks have to be loaded. Two daemons under one
/// name (`zenoh.shared_name`) are not, so that their numbers, which go back with every other message, are told from it.
const RESTART_NS_MIN: u64 = 500_000_000;

/// A recording of one camera. What it needs to know of the lens it asks the publisher for. Where the daemon was started
/// again, whose ids and times begin again too, another file begins: `a.poses`, `a-2.poses`.
struct Recording {
    path: PathBuf,
    outputs: Outputs,
    /// The camera's key and its file, from its first message on.
    of: Option<(String, Recorder)>,
    /// Number of the newest message in the file, and the wall time of its frame, nanoseconds.
    newest: (u64, u64),
    /// Files so far, and frames in those that are finished.
    files: u32,
    frames: u64,
}

impl Recording {
    const fn new(path: PathBuf, outputs: Outputs) -> Self {
        Self {
            path,
            outputs,
            of: None,
            newest: (0, 0),
            files: 0,
            frames: 0,
        }
    }

    /// The file that is written, or would be next.
    fn part(&self, number: u32) -> PathBuf {
        if number <= 1 {
            return self.path.clone();
        }
        let stem = self.path.file_stem().unwrap_or_default();
        let mut name = stem.to_owned();
        name.push(format!("-{number}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// Whether a message with this number and wall time is of a daemon that was started again.
    const fn is_of_another_run(&self, sequence: u64, unix_ns: u64) -> bool {
        let (newest, newest_ns) = self.newest;
        sequence < newest && unix_ns.abs_diff(newest_ns) >= RESTART_NS_MIN
    }

    /// Ends the file where a message is of a daemon that was started again.
    fn split(&mut self, key: &str, message: &PoseMessage) -> anyhow::Result<()> {
        let again = self.is_of_another_run(message.sequence, message.capture_unix_ns);
        if again && self.of.as_ref().is_some_and(|(own, _)| own == key) {
            log::warn!("{}: started again, another file begins", printable(key));
            if let Some((_, recorder)) = self.of.take() {
                self.frames += recorder.frames();
                recorder.finish()?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        subscription: &Subscription,
        key: &str,
        message: &PoseMessage,
    ) -> anyhow::Result<()> {
        self.split(key, message)?;
        if self.of.is_none() {
            let place = key.strip_suffix("/poses").unwrap_or(key);
            let asked = format!("{place}/calibration");
            let bytes = subscription
                .ask(&asked)
                .map_err(StartError::from)?
                .ok_or_else(|| {
                    Unavailable(format!(
                        "{asked}: no reply, but a recording needs the calibration"
                    ))
                })?;
            let text = String::from_utf8(bytes)
                .map_err(|error| Unavailable(format!("{asked}: the answer is no text: {error}")))?;
            let lens = Calibration::from_toml(&text, asked.as_ref()).map_err(StartError::from)?;
            let path = self.part(self.files + 1);
            if self.files > 0 {
                self.outputs.writes("--record", &path)?;
            }
            let recorder = Recorder::create(&path, &lens)?;
            self.files += 1;
            let shown = printable(key);
            log::info!("recording {shown} to {}", path.display());
            self.of = Some((key.to_owned(), recorder));
        }
        if let Some((own, recorder)) = &mut self.of
            && own == key
        {
            let stamp = Stamp {
                sequence: message.sequence,
                camera: &message.camera,
                clock: &message.clock,
                publish: message.publish,
                unix_offset_ns: message.unix_offset_ns,
            };
            recorder.add_stamped(&stamp, &message.sample)?;
            self.newest = (message.sequence, message.capture_unix_ns);
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        let Some((key, recorder)) = self.of else {
            let path = self.path.display();
            return Err(Unavailable(format!("no message received, {path} was not written")).into());
        };
        let frames = self.frames + recorder.frames();
        let files = match self.files {
            0 | 1 => String::new(),
            files => format!(" in {files} files"),
        };
        recorder.finish()?;
        let shown = printable(&key);
        say!("{}: {frames} frames of {shown}{files}", self.path.display())?;
        Ok(())
    }
}

/// Subscribes and shows a table until interrupted.
///
/// # Errors
///
/// The key expression is none, the session does not open, or the recording cannot be made.
pub fn run(options: &WatchOptions) -> anyhow::Result<()> {
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
    let (send, receive) = mpsc::sync_channel::<Received>(WAITING_MAX);
    let lost = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&lost);
    let subscription = Subscription::open(&config, &options.keys, move |received| {
        if let Err(TrySendError::Full(_)) = send.try_send(received) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    })
    .map_err(StartError::from)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut recording = options
        .record
        .clone()
        .map(|path| Recording::new(path, outputs));
    let terminal = std::io::stdout().is_terminal();
    let mut newest = Newest::default();
    let mut seen = 0;
    let mut printed = Ok(());
    while options.messages.is_none_or(|most| seen < most) && !stop.load(Ordering::Acquire) {
        let Ok(first) = receive.recv_timeout(DRAW_EVERY) else {
            if newest.cameras.is_empty() && terminal {
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
                    newest.add(received.key, message);
                }
                Err(error) => log::warn!("{}: {error}", printable(&received.key)),
            }
        }
        let clear = if terminal { "\x1b[H\x1b[2J" } else { "" };
        let mut tables: String = newest
            .cameras
            .iter()
            .map(|(key, message)| table(key, message) + "\n")
            .collect();
        if newest.unshown > 0 {
            let _ = writeln!(
                tables,
                "and more: {} messages of further cameras",
                newest.unshown
            );
        }
        printed = print::text(format_args!("{clear}{tables}"));
        if printed.is_err() {
            break;
        }
        std::thread::sleep(DRAW_EVERY);
    }
    say_lost(&lost);
    // Where the table can no longer be shown, what was recorded is kept all the same.
    recording.map_or(Ok(()), Recording::finish)?;
    Ok(printed?)
}

fn say_lost(lost: &AtomicU64) {
    let lost = lost.load(Ordering::Relaxed);
    if lost > 0 {
        log::warn!("{lost} messages were lost: they arrived faster than they could be read");
    }
}

/// The newest message of each camera.
#[derive(Default)]
struct Newest {
    cameras: BTreeMap<String, PoseMessage>,
    /// Messages of cameras that there was no room for.
    unshown: u64,
}

impl Newest {
    fn add(&mut self, key: String, message: PoseMessage) {
        if self.cameras.len() < CAMERAS_MAX || self.cameras.contains_key(&key) {
            self.cameras.insert(key, message);
        } else {
            self.unshown += 1;
        }
    }
}

/// A text from the network for a terminal: what a terminal would obey, or what would turn the line round, is escaped.
fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Quotes and backslashes are harmless, and JSON needs them.
            '"' | '\'' | '\\' => clean.push(c),
            _ => clean.extend(c.escape_debug()),
        }
    }
    clean
}

/// Prints messages as they come.
fn print_json(config: &ZenohConfig, options: &WatchOptions) -> anyhow::Result<()> {
    let (send, receive) = mpsc::sync_channel::<String>(WAITING_MAX);
    let lost = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&lost);
    let _subscription = Subscription::raw(config, &options.keys, move |key, bytes| {
        let line = match to_json(bytes) {
            Ok(message) => serde_json::json!({ "key": key, "message": message }),
            Err(error) => serde_json::json!({ "key": key, "error": error.to_string() }),
        };
        let line = json_line(&line);
        if let Err(TrySendError::Full(_)) = send.try_send(line) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
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
    say_lost(&lost);
    Ok(())
}

/// One line of JSON, in which a terminal finds nothing to obey: the writer escapes controls up to 31, here are the
/// rest.
fn json_line(value: &serde_json::Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        let is_shown = c.escape_debug().len() == 1 || matches!(c, '"' | '\'' | '\\');
        if is_shown {
            line.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(line, "\\u{unit:04x}");
        }
    }
    line
}

/// One camera's people.
fn table(key: &str, message: &PoseMessage) -> String {
    let sample = &message.sample;
    let mut text = format!(
        "{}  #{}  frame {}  {:.0} ms old  {} people",
        printable(key),
        message.sequence,
        sample.frame_sequence,
        message.age_ms,
        sample.people.len()
    );
    for person in &sample.people {
        let count = |state| person.states.iter().filter(|s| **s == state).count();
        let place = if person.is_placed() {
            let root = person.root_camera_m;
            let sigma = person.root_sigma_m;
            format!(
                "at x {:+.2} y {:+.2} z {:.2} m (± {sigma:.2})",
                root.x, root.y, root.z
            )
        } else {
            "not placed in space".to_owned()
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  id {:<4} score {:.2}  {place}  {} of {JOINTS} joints measured, {} completed  {}",
            person.id,
            person.score,
            count(JointState::Measured),
            count(JointState::Completed),
            person
                .action
                .as_ref()
                .map_or_else(String::new, |action| printable(&action.label)),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What moves the cursor, sets the title, or turns the line round: as ESC, as C1 control, as Unicode.
    const HOSTILE: &str = "a\x1b]0;own\x07\u{9b}2J\u{202e}b\r\n\x7f\u{200b}c";

    #[test]
    fn the_files_of_a_recording_are_numbered_from_the_second_on() {
        let names = |path: &str| {
            let recording = Recording::new(path.into(), Outputs::new(Force::default()));
            [1, 2, 3].map(|number| recording.part(number).display().to_string())
        };
        assert_eq!(
            names("day/a.poses"),
            ["day/a.poses", "day/a-2.poses", "day/a-3.poses"]
        );
        assert_eq!(names("a"), ["a", "a-2", "a-3"]);
    }

    #[test]
    fn a_restart_is_told_from_a_lost_message_and_from_two_daemons_of_one_name() {
        let mut recording = Recording::new("a".into(), Outputs::new(Force::default()));
        assert!(!recording.is_of_another_run(7, 9_000_000_000), "the first");
        recording.newest = (700, 9_000_000_000);
        assert!(!recording.is_of_another_run(702, 19_000_000_000));
        assert!(
            !recording.is_of_another_run(90, 9_033_000_000),
            "another daemon's"
        );
        assert!(recording.is_of_another_run(0, 10_500_000_000));
        assert!(
            recording.is_of_another_run(3, 8_000_000_000),
            "after the clock was set"
        );
    }

    fn is_harmless(text: &str) -> bool {
        let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}');
        !text.chars().any(|c| c.is_control() || turns(c))
    }

    #[test]
    fn what_a_stranger_publishes_is_nothing_that_a_terminal_obeys() {
        assert!(is_harmless(&printable(HOSTILE)), "{:?}", printable(HOSTILE));
        assert_eq!(
            printable("poised/küche/\"a\"/日本/poses"),
            "poised/küche/\"a\"/日本/poses"
        );
        let message = PoseMessage {
            sequence: 3,
            ..PoseMessage::default()
        };
        let shown = table(HOSTILE, &message);
        assert!(is_harmless(&shown) && shown.contains("#3"), "{shown:?}");
        let value = serde_json::json!({ "key": HOSTILE, "quote": "\"\\ü" });
        let line = json_line(&value);
        assert!(is_harmless(&line), "{line:?}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back, value, "and nothing of it is lost");
    }

    #[test]
    fn names_without_end_do_not_fill_the_memory() {
        let mut newest = Newest::default();
        for number in 0..10_000 {
            newest.add(format!("poised/a/b/{number}/poses"), PoseMessage::default());
        }
        assert_eq!(newest.cameras.len(), CAMERAS_MAX);
        assert_eq!(newest.unshown, 10_000 - CAMERAS_MAX as u64);
        let later = PoseMessage {
            sequence: 9,
            ..PoseMessage::default()
        };
        newest.add("poised/a/b/7/poses".into(), later);
        assert_eq!(newest.cameras["poised/a/b/7/poses"].sequence, 9);
    }
}
