//! `poised doctor`: what is there and what is not, one line each, with the mend.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde::Serialize;

use poised::infer::VerifyRow;
use poised::pipeline::estimate::default_directory;

#[derive(Debug, Args)]
pub struct Options {
    /// Where the networks are.
    #[arg(long)]
    models: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The mend for a network that is not whole.
const REINSTALL: &str = "install the package again, or restore the file";

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    /// As it should be.
    Good,
    /// Something will not work, but the daemon runs.
    Lacking,
    /// The daemon cannot run.
    Broken,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Finding {
    standing: Standing,
    part: &'static str,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn good(part: &'static str, what: impl fmt::Display) -> Self {
        Self {
            standing: Standing::Good,
            part,
            what: what.to_string(),
            mend: None,
        }
    }

    fn lacking(part: &'static str, what: impl fmt::Display, mend: impl fmt::Display) -> Self {
        Self {
            standing: Standing::Lacking,
            part,
            what: what.to_string(),
            mend: Some(mend.to_string()),
        }
    }

    fn broken(part: &'static str, what: impl fmt::Display, mend: impl fmt::Display) -> Self {
        Self {
            standing: Standing::Broken,
            ..Self::lacking(part, what, mend)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.standing {
            Standing::Good => "good",
            Standing::Lacking => "LACKING",
            Standing::Broken => "BROKEN",
        };
        write!(out, "{mark:<8} {:<8} {}", self.part, self.what)?;
        match &self.mend {
            Some(mend) => write!(out, " -> {mend}"),
            None => Ok(()),
        }
    }
}

/// Looks at everything and prints what it finds.
///
/// # Errors
///
/// Something without which the daemon cannot run.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut findings = cameras();
    findings.push(clock(Path::new(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    )));
    findings.extend(models(
        &options.models.clone().unwrap_or_else(default_directory),
    ));
    findings.push(engine());
    findings.push(video_decoder());
    findings.push(zenoh_port());
    findings.push(memory(Path::new("/proc/meminfo")));
    for finding in &findings {
        if options.json {
            println!("{}", serde_json::to_string(finding)?);
        } else {
            println!("{finding}");
        }
    }
    let broken = findings
        .iter()
        .filter(|finding| finding.standing == Standing::Broken)
        .count();
    anyhow::ensure!(broken == 0, "{broken} things keep the daemon from running");
    Ok(())
}

/// The video nodes, and whether they may be opened.
fn cameras() -> Vec<Finding> {
    let mut nodes: Vec<PathBuf> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_prefix("video"))
                .is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .collect();
    nodes.sort();
    if nodes.is_empty() {
        return vec![Finding::lacking(
            "camera",
            "no /dev/video* on this machine",
            "plug in a camera; `poised demo` needs none",
        )];
    }
    nodes
        .iter()
        .map(
            |node| match File::options().read(true).write(true).open(node) {
                Ok(_) => Finding::good("camera", format_args!("{} opens", node.display())),
                Err(error) => Finding::lacking(
                    "camera",
                    format_args!("{}: {error}", node.display()),
                    "add the user to the group `video`, or stop the program that holds it",
                ),
            },
        )
        .collect()
}

/// Whether the kernel takes its time from a counter that does not drift with power states.
fn clock(source: &Path) -> Finding {
    match std::fs::read_to_string(source) {
        Ok(name) if matches!(name.trim(), "tsc" | "arch_sys_counter" | "kvm-clock") => {
            Finding::good("clock", format_args!("source {}", name.trim()))
        }
        Ok(name) => Finding::lacking(
            "clock",
            format_args!("source {}: slow to read", name.trim()),
            "see the kernel's log for why the processor's counter was refused",
        ),
        Err(error) => Finding::lacking(
            "clock",
            format_args!("{}: {error}", source.display()),
            "mount /sys",
        ),
    }
}

/// The installed networks, hashes checked.
fn models(directory: &Path) -> Vec<Finding> {
    match poised::models::list(directory) {
        Ok(rows) if rows.is_empty() => vec![Finding::broken(
            "models",
            format_args!("no networks in {}", directory.display()),
            "give --models DIR, or set POISED_MODELS",
        )],
        Ok(_) => match poised::infer::verify(directory) {
            Ok(rows) => rows.iter().map(network).collect(),
            Err(error) => vec![Finding::broken("models", error, REINSTALL)],
        },
        Err(error) => vec![Finding::broken(
            "models",
            error,
            "give --models DIR, or set POISED_MODELS",
        )],
    }
}

/// One installed network.
fn network(row: &VerifyRow) -> Finding {
    match &row.result {
        Ok(model) => Finding::good(
            "models",
            format_args!(
                "{}: whole, runs in {}",
                model.description.name, model.engine
            ),
        ),
        Err(error) => Finding::broken("models", error, REINSTALL),
    }
}

/// Which engine would run the networks, and why.
fn engine() -> Finding {
    Finding::good(
        "engine",
        "tract on the CPU (this build has no other engine)",
    )
}

/// Whether video files and RTSP streams can be read.
fn video_decoder() -> Finding {
    let version = Command::new("ffmpeg").arg("-version").output();
    match version {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let line: String = text
                .lines()
                .next()
                .unwrap_or("ffmpeg")
                .chars()
                .take(60)
                .collect();
            Finding::good("video", line)
        }
        _ => Finding::lacking(
            "video",
            "no ffmpeg: video files and RTSP cannot be read",
            "install the package ffmpeg; cameras and image folders need none",
        ),
    }
}

/// Whether the default Zenoh endpoint is free.
fn zenoh_port() -> Finding {
    let endpoint = poised::publish::DEFAULT_ENDPOINT;
    let address = endpoint.trim_start_matches("tcp/");
    match std::net::TcpListener::bind(address) {
        Ok(_) => Finding::good("zenoh", format_args!("{endpoint} is free to listen on")),
        Err(error) => Finding::lacking(
            "zenoh",
            format_args!("{endpoint}: {error}"),
            "another poised or a router listens there; subscribers reach that one",
        ),
    }
}

/// Memory that is free for use.
fn memory(meminfo: &Path) -> Finding {
    /// Resident memory of the daemon with the CPU engine, with room to spare, in megabytes.
    const NEEDED_MB: u64 = 300;
    let available_mb = std::fs::read_to_string(meminfo).ok().and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("MemAvailable:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes / 1000)
    });
    match available_mb {
        Some(mb) if mb >= NEEDED_MB => Finding::good("memory", format_args!("{mb} MB available")),
        Some(mb) => Finding::lacking(
            "memory",
            format_args!("{mb} MB available, {NEEDED_MB} MB wanted"),
            "stop another program",
        ),
        None => Finding::lacking(
            "memory",
            format_args!("{} says nothing", meminfo.display()),
            "mount /proc",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_clock_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("current_clocksource");
        std::fs::write(&file, "hpet\n").unwrap();
        let finding = clock(&file);
        assert_eq!(finding.standing, Standing::Lacking);
        assert!(finding.to_string().contains("hpet"));
        std::fs::write(&file, "tsc\n").unwrap();
        assert_eq!(clock(&file).standing, Standing::Good);
    }

    #[test]
    fn too_little_memory_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meminfo");
        std::fs::write(&file, "MemTotal: 900000 kB\nMemAvailable: 120000 kB\n").unwrap();
        assert_eq!(memory(&file).standing, Standing::Lacking);
    }

    #[test]
    fn a_folder_without_networks_keeps_the_daemon_from_running() {
        let folder = tempfile::tempdir().unwrap();
        let findings = models(folder.path());
        assert!(findings.iter().all(|f| f.standing == Standing::Broken));
    }
}
