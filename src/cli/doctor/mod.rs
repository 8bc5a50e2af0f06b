//! `poised doctor`: checks the setup, one line for each part, and suggests fixes.

mod camera;
mod machine;
mod network;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde::Serialize;

use poised::capture::thread::words;
use poised::daemon::settings::Settings;
use poised::detect::VerifyRow;
use poised::engine::models::{Decoder, ListRow};
use poised::engine::select::{Engine, EngineError, InferenceConfig, TENSORRT, standings};
use poised::estimate::default_directory;

use super::exit::Unavailable;
use super::networks::MOVENET;

#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// The configuration file to check; by default that of the service, if it exists.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Folder of the networks.
    #[arg(long)]
    models: Option<PathBuf>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// The fix for an incomplete network folder.
const REINSTALL: &str = "install the package again, or restore the file";

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    /// As it should be.
    Good,
    /// Something will not work, but the daemon runs.
    Missing,
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
    fix: Option<String>,
}

impl Finding {
    fn good(part: &'static str, what: impl fmt::Display) -> Self {
        Self {
            standing: Standing::Good,
            part,
            what: what.to_string(),
            fix: None,
        }
    }

    fn missing(part: &'static str, what: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self {
            standing: Standing::Missing,
            part,
            what: what.to_string(),
            fix: Some(fix.to_string()),
        }
    }

    fn broken(part: &'static str, what: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self {
            standing: Standing::Broken,
            ..Self::missing(part, what, fix)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.standing {
            Standing::Good => "good",
            Standing::Missing => "MISSING",
            Standing::Broken => "BROKEN",
        };
        write!(out, "{mark:<8} {:<8} {}", self.part, self.what)?;
        match &self.fix {
            Some(fix) => write!(out, " -> {fix}"),
            None => Ok(()),
        }
    }
}

/// Looks at everything and prints what it finds.
///
/// # Errors
///
/// Something without which the daemon cannot run.
pub fn run(options: &DoctorOptions) -> anyhow::Result<()> {
    let root = Path::new("/");
    let (settings, config) = configuration(options.config.as_deref());
    let mut findings: Vec<Finding> = config.into_iter().collect();
    findings.extend(camera::findings(&settings.camera));
    if settings.camera.synthetic.is_none() {
        findings.push(camera::lens(&settings.calibration));
    }
    let given = options.models.clone();
    let directory = given.unwrap_or_else(|| match &options.config {
        Some(_) => settings.models.directory.clone(),
        None => default_directory(),
    });
    let taken = Engine::open(&settings.inference);
    let fallback = Engine::tract();
    findings.extend(models(taken.as_ref().unwrap_or(&fallback), &directory));
    findings.push(engine(taken.as_ref()));
    findings.extend(engines(
        &settings.inference,
        machine::tensorrt(root).as_deref(),
    ));
    findings.extend(machine::findings(root));
    findings.push(video_decoder());
    findings.extend(network::findings(&settings.session()));
    findings.extend(network::web(&settings.web));
    findings.extend(network::ros(&settings.ros));
    findings.extend(network::foxglove(&settings.foxglove));
    findings.extend(network::mqtt(&settings.mqtt));
    findings.extend(machine::record(&settings.record));
    for finding in &findings {
        if options.json {
            say!("{}", serde_json::to_string(finding)?)?;
        } else {
            say!("{finding}")?;
        }
    }
    let broken = findings
        .iter()
        .filter(|finding| finding.standing == Standing::Broken)
        .count();
    if broken > 0 {
        let why = format!("{broken} problems prevent the daemon from running");
        return Err(Unavailable(why).into());
    }
    Ok(())
}

/// The installed networks, hashes checked.
fn models(engine: &Engine, directory: &Path) -> Vec<Finding> {
    match poised::engine::models::list(directory) {
        Ok(rows) if rows.is_empty() => vec![Finding::broken(
            "models",
            format_args!("no networks in {}", directory.display()),
            "give --models DIR, or set POISED_MODELS",
        )],
        Ok(listed) => match poised::detect::verify(engine, directory) {
            Ok(rows) => rows.iter().map(network).chain(movenet(&listed)).collect(),
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
                "{}: intact, runs with {}",
                model.description.name, model.engine
            ),
        ),
        Err(error) => Finding::broken("models", error, REINSTALL),
    }
}

/// That there is a more accurate person network, where it is not installed.
fn movenet(listed: &[ListRow]) -> Option<Finding> {
    let installed = listed.iter().any(|row| {
        let decoder = row
            .description
            .as_ref()
            .ok()
            .and_then(|model| model.decoder);
        matches!(decoder, Some(Decoder::Movenet { .. }))
    });
    (!installed).then(|| Finding {
        fix: Some(MOVENET.to_owned()),
        ..Finding::good(
            "models",
            "MoveNet, which is more accurate and slower than the person network that ships, is not installed",
        )
    })
}

/// Which engine would run the networks, and why.
fn engine(taken: Result<&Engine, &EngineError>) -> Finding {
    match taken {
        Ok(engine) => Finding::good(
            "engine",
            format_args!("{}: {}", engine.name(), engine.status().reason()),
        ),
        Err(error) => Finding::broken(
            "engine",
            error,
            "put [inference] in the configuration right, or the machine",
        ),
    }
}

/// How each engine that is not always in stands on this machine; `tensorrt` is the version of NVIDIA's library,
/// where it is installed.
fn engines(config: &InferenceConfig, tensorrt: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for standing in standings(config) {
        let name = standing.engine;
        match standing.found {
            // An engine that was not requested is not missing; a requested one is reported above, as broken.
            Some(Err(lack)) => findings.push(Finding {
                fix: Some(lack.fix),
                ..Finding::good(
                    "engine",
                    format_args!("{name} is unavailable: {}", lack.why),
                )
            }),
            Some(Ok(found)) => {
                findings.push(Finding::good("engine", format_args!("{name}: {found}")));
            }
            None => {
                if let (TENSORRT, Some(version)) = (name, tensorrt) {
                    findings.push(Finding::missing(
                        "engine",
                        format_args!(
                            "TensorRT {version} is on this machine, but not in this build"
                        ),
                        "build with --features tensorrt (docs/reference/engines.md)",
                    ));
                }
            }
        }
    }
    findings
}

/// The configuration that is given, else that of the service where there is one, else the defaults.
fn configuration(given: Option<&Path>) -> (Settings, Option<Finding>) {
    let service = Path::new("/etc/poised/poised.toml");
    let Some(file) = given.or_else(|| service.exists().then_some(service)) else {
        return (Settings::default(), None);
    };
    match Settings::read(file) {
        Ok(settings) => (
            settings,
            Some(Finding::good(
                "config",
                format_args!("{}: good", file.display()),
            )),
        ),
        Err(error) => (
            Settings::default(),
            Some(Finding::broken(
                "config",
                words(&error),
                "put it right; all below is looked at with the defaults",
            )),
        ),
    }
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
        _ => Finding::missing(
            "video",
            "no ffmpeg: video files and RTSP cannot be read",
            "install the package ffmpeg; cameras and image folders need none",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_networks_keeps_the_daemon_from_running() {
        let folder = tempfile::tempdir().unwrap();
        let findings = models(&Engine::tract(), folder.path());
        assert!(findings.iter().all(|f| f.standing == Standing::Broken));
    }

    #[test]
    #[cfg(not(feature = "tensorrt"))]
    fn an_engine_that_the_machine_has_and_the_build_has_not_is_a_lack() {
        let config = InferenceConfig::default();
        let said = |version| -> Vec<String> {
            let findings = engines(&config, version);
            findings.iter().map(Finding::to_string).collect()
        };
        let lines = said(Some("10.3.0")).join("\n");
        assert!(
            lines.contains("MISSING  engine   TensorRT 10.3.0"),
            "{lines}"
        );
        assert!(lines.contains("--features tensorrt"), "{lines}");
        assert!(!said(None).join("\n").contains("MISSING"));
    }

    #[test]
    fn a_wrong_configuration_is_said_and_the_rest_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("poised.toml");
        std::fs::write(&file, "[people]\npeople_max = 12\n").unwrap();
        let (settings, finding) = configuration(Some(&file));
        assert_eq!(settings, Settings::default());
        assert!(finding.unwrap().to_string().contains("people_max = 12"));
    }
}
