//! Which engine runs the networks: chosen once at start, by the configuration or by what the machine has.
//!
//! ```text
//!  [inference] ─▶ Engine::open ─▶ one engine and the reason ─▶ Engine::load(folder) ─▶ Box<dyn Network>
//! ```
//!
//! Everything that runs a network gets it from [`Engine::load`]: person detector, person network, lifter. An engine
//! asked for by name is taken or the program does not start; `auto` takes the fastest one that is there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::network::Network;
use super::relay::{Builder, Job};
use super::status::EngineStatus;
use super::tract;
pub use crate::engine::models::Precision;
use crate::engine::models::{Folder, ModelError};

#[cfg(feature = "onnxruntime")]
use super::onnxruntime;
#[cfg(feature = "tensorrt")]
use super::{relay::Build, standby, tensorrt};

/// `[inference]`: what runs the networks.
///
/// ```toml
/// [inference]
/// engine = "auto"
/// precision = "fp32"
/// # onnxruntime = "/usr/lib/libonnxruntime.so.1"
/// # tensorrt = "/usr/lib/aarch64-linux-gnu"
/// # cache = "/var/lib/poised/engines"
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct InferenceConfig {
    /// `"auto"` (default): the first of `"tensorrt"`, `"onnxruntime"`, `"tract"` that this build and this
    /// machine have. By name: that one, or the daemon does not start.
    pub engine: Choice,
    /// What TensorRT computes in, where the model's folder has a network for it; the others compute in `fp32`.
    pub precision: Precision,
    /// The library of ONNX Runtime. Default: `$ORT_DYLIB_PATH`, else what the system's loader finds as
    /// `libonnxruntime.so` or `libonnxruntime.so.1`.
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub onnxruntime: Option<PathBuf>,
    /// The folder with the libraries of TensorRT. Default: where the system's loader finds them.
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub tensorrt: Option<PathBuf>,
    /// Where engines built by TensorRT are kept. Default: `engines` under the state directory, see
    /// [`default_cache`].
    #[serde(deserialize_with = "crate::base::config::optional_path")]
    pub cache: Option<PathBuf>,
}

/// An engine by name, or the best there is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The best that is there.
    #[default]
    Auto,
    /// The CPU engine that is always in.
    Tract,
    /// ONNX Runtime on the CPU, where its library is installed.
    Onnxruntime,
    /// NVIDIA's engine, on a Jetson or a machine with such a GPU.
    Tensorrt,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            tract::ENGINE => Ok(Self::Tract),
            ONNXRUNTIME => Ok(Self::Onnxruntime),
            TENSORRT => Ok(Self::Tensorrt),
            _ => Err("one of auto, tract, onnxruntime, tensorrt is wanted".to_owned()),
        }
    }
}

/// Name of the engine that is ONNX Runtime.
pub const ONNXRUNTIME: &str = "onnxruntime";

/// Name of the engine that is TensorRT.
pub const TENSORRT: &str = "tensorrt";

/// What the reason begins with where the configuration left no choice.
const BY_NAME: &str = "asked for by name; ";

/// Why an explicitly requested engine is unavailable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The program was built without it.
    #[error(
        "inference.engine = {engine:?}: this build does not include it; build with `--features {engine}`, or set \"auto\""
    )]
    NotBuilt {
        /// The engine.
        engine: &'static str,
    },
    /// The machine does not have it.
    #[error("inference.engine = {engine:?}: {}; {}", .lack.why, .lack.fix)]
    Missing {
        /// The engine.
        engine: &'static str,
        /// What is not there.
        lack: Lack,
    },
}

impl EngineError {
    /// What is not there, without who asked for it.
    fn why(&self) -> &str {
        match self {
            Self::NotBuilt { .. } => "not in this build",
            Self::Missing { lack, .. } => &lack.why,
        }
    }
}

/// What an engine of this build misses on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What is missing or does not fit.
    pub why: String,
    /// What a person can do about it.
    pub fix: String,
}

/// How one engine stands on this machine, for `poised doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The engine.
    pub engine: &'static str,
    /// The available engine, or `Err` with what is missing; `None` if this build does not include it.
    pub found: Option<Result<String, Lack>>,
}

/// The engine that was taken.
pub struct Engine {
    cpu: Cpu,
    #[cfg(feature = "tensorrt")]
    gpu: Option<tensorrt::Runtime>,
    /// Whether another engine may take a network that this one refuses.
    #[cfg_attr(
        not(any(feature = "onnxruntime", feature = "tensorrt")),
        expect(dead_code, reason = "with one engine there is none to fall back to")
    )]
    may_fall_back: bool,
    status: Arc<EngineStatus>,
    /// Networks that are still to be built for the GPU.
    jobs: Mutex<Vec<Job>>,
}

/// The engine of the processor: the only one, or the one that serves while the GPU's is being built.
enum Cpu {
    Tract,
    #[cfg(feature = "onnxruntime")]
    Onnxruntime(onnxruntime::Runtime),
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.name())
            .field("reason", &self.status.reason())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Takes the engine that the configuration asks for.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where one was asked for by name that this build or this machine does not have.
    pub fn open(config: &InferenceConfig) -> Result<Self, EngineError> {
        match config.engine {
            Choice::Tract => Ok(Self::tract()),
            Choice::Onnxruntime => {
                let (cpu, found) = open_onnxruntime(config)?;
                Ok(Self::of_cpu(cpu, format!("{BY_NAME}{found}"), false))
            }
            Choice::Tensorrt => Self::open_tensorrt(config, false, BY_NAME),
            Choice::Auto => Ok(Self::best(config)),
        }
    }

    /// The CPU engine that is always in.
    pub fn tract() -> Self {
        Self::of_cpu(Cpu::Tract, format!("{BY_NAME}always in"), false)
    }

    /// The best available engine, with the reasons why no better one is.
    fn best(config: &InferenceConfig) -> Self {
        let lack = match Self::open_tensorrt(config, true, "auto; ") {
            Ok(engine) => return engine,
            Err(error) => format!("no {TENSORRT}: {}", error.why()),
        };
        match open_onnxruntime(config) {
            Ok((cpu, found)) => Self::of_cpu(cpu, format!("auto; {found}; {lack}"), true),
            Err(error) => {
                let why = error.why();
                let reason = format!("auto; {lack}; no {ONNXRUNTIME}: {why}");
                Self::of_cpu(Cpu::Tract, reason, true)
            }
        }
    }

    fn of_cpu(cpu: Cpu, reason: String, may_fall_back: bool) -> Self {
        let status = EngineStatus::new(cpu.name(), reason);
        Self {
            cpu,
            #[cfg(feature = "tensorrt")]
            gpu: None,
            may_fall_back,
            status: Arc::new(status),
            jobs: Mutex::default(),
        }
    }

    #[cfg(feature = "tensorrt")]
    fn open_tensorrt(
        config: &InferenceConfig,
        may_fall_back: bool,
        asked: &str,
    ) -> Result<Self, EngineError> {
        let runtime = tensorrt::Runtime::open(config).map_err(|lack| missing(TENSORRT, lack))?;
        // Serves while an engine is being built.
        let cpu = open_onnxruntime(config).map_or(Cpu::Tract, |(cpu, _)| cpu);
        let reason = format!("{asked}{}", runtime.words());
        let mut engine = Self::of_cpu(cpu, String::new(), may_fall_back);
        engine.status = Arc::new(EngineStatus::new(TENSORRT, reason));
        engine.gpu = Some(runtime);
        Ok(engine)
    }

    #[cfg(not(feature = "tensorrt"))]
    const fn open_tensorrt(_: &InferenceConfig, _: bool, _: &str) -> Result<Self, EngineError> {
        Err(not_built(TENSORRT))
    }

    /// Name of the engine that was taken. A single network may run in another one, see [`Engine::status`].
    pub fn name(&self) -> &'static str {
        self.status.engine()
    }

    /// What was taken and why, which network runs where, and what is being built.
    pub fn status(&self) -> Arc<EngineStatus> {
        Arc::clone(&self.status)
    }

    /// Loads the network of a checked model folder.
    ///
    /// A network for which the GPU's engine is still to be built runs on the processor until
    /// [`Engine::builder`] has built it.
    ///
    /// # Errors
    ///
    /// [`ModelError::Operator`], [`ModelError::Tensor`] or [`ModelError::Engine`]. With `auto`, only where the
    /// CPU engine that is always in refuses the network too.
    pub fn load(&self, folder: &Folder) -> Result<Box<dyn Network>, ModelError> {
        let network = self.load_with(folder)?;
        let part = folder.description.kind.part();
        self.status.runs(part, network.engine());
        Ok(network)
    }

    #[cfg(feature = "tensorrt")]
    fn load_with(&self, folder: &Folder) -> Result<Box<dyn Network>, ModelError> {
        let Some(gpu) = &self.gpu else {
            return self.load_cpu(folder);
        };
        let part = folder.description.kind.part();
        let (path, status) = (folder.path.clone(), self.status());
        let stand_by = move |network| standby::with_tract(network, path, part, status);
        match gpu.load(folder) {
            Ok(tensorrt::Loaded::Ready(network)) => Ok(stand_by(network)),
            Ok(tensorrt::Loaded::ToBuild { why, build }) => {
                let build: Build = Box::new(move |tell| build(tell).map(stand_by));
                log::info!(
                    "{part}: {why}; {} serves until it is built",
                    self.cpu.name()
                );
                let (relay, job) =
                    super::relay::pair(part, self.load_cpu(folder)?, build, &self.status);
                self.jobs
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(job);
                Ok(relay)
            }
            Err(error) if self.may_fall_back => {
                log::warn!("{error}; it runs in {}", self.cpu.name());
                self.load_cpu(folder)
            }
            Err(error) => Err(error),
        }
    }

    #[cfg(not(feature = "tensorrt"))]
    fn load_with(&self, folder: &Folder) -> Result<Box<dyn Network>, ModelError> {
        self.load_cpu(folder)
    }

    fn load_cpu(&self, folder: &Folder) -> Result<Box<dyn Network>, ModelError> {
        let tract = || -> Result<Box<dyn Network>, ModelError> {
            Ok(Box::new(tract::TractPlan::open(folder)?.state()?))
        };
        match &self.cpu {
            Cpu::Tract => tract(),
            #[cfg(feature = "onnxruntime")]
            Cpu::Onnxruntime(runtime) => match runtime.load(folder) {
                Ok(network) => Ok(network),
                Err(error) if self.may_fall_back => {
                    log::warn!("{error}; tried in {}", tract::ENGINE);
                    tract()
                }
                Err(error) => Err(error),
            },
        }
    }

    /// What is still to be built for the GPU, to be run beside the daemon; `None` if nothing is.
    pub fn builder(&self) -> Option<Builder> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = std::mem::take(&mut *jobs);
        (!jobs.is_empty()).then(|| Builder::new(jobs, self.status()))
    }

    /// Builds now what is still to be built for the GPU, for programs that measure and may wait. What cannot be
    /// built runs on the processor, with a line in the log.
    pub fn build_now(&self) {
        if let Some(builder) = self.builder() {
            // What fails is in the log.
            let _ = builder.run_alone(&AtomicBool::new(false));
        }
    }
}

impl Cpu {
    const fn name(&self) -> &'static str {
        match self {
            Self::Tract => tract::ENGINE,
            #[cfg(feature = "onnxruntime")]
            Self::Onnxruntime(_) => ONNXRUNTIME,
        }
    }
}

/// How every engine stands on this machine, the best first.
pub fn standings(config: &InferenceConfig) -> Vec<Standing> {
    [
        (TENSORRT, Choice::Tensorrt),
        (ONNXRUNTIME, Choice::Onnxruntime),
        (tract::ENGINE, Choice::Tract),
    ]
    .into_iter()
    .map(|(engine, choice)| {
        let config = InferenceConfig {
            engine: choice,
            ..config.clone()
        };
        let found = match Engine::open(&config) {
            Ok(engine) => {
                let status = engine.status();
                let reason = status.reason();
                Some(Ok(reason.trim_start_matches(BY_NAME).to_owned()))
            }
            Err(EngineError::Missing { lack, .. }) => Some(Err(lack)),
            Err(EngineError::NotBuilt { .. }) => None,
        };
        Standing { engine, found }
    })
    .collect()
}

/// ONNX Runtime with a word on what was found.
#[cfg(feature = "onnxruntime")]
fn open_onnxruntime(config: &InferenceConfig) -> Result<(Cpu, String), EngineError> {
    let runtime = onnxruntime::Runtime::open(config.onnxruntime.as_deref())
        .map_err(|lack| missing(ONNXRUNTIME, lack))?;
    let found = runtime.words();
    Ok((Cpu::Onnxruntime(runtime), found))
}

#[cfg(not(feature = "onnxruntime"))]
const fn open_onnxruntime(_: &InferenceConfig) -> Result<(Cpu, String), EngineError> {
    Err(not_built(ONNXRUNTIME))
}

#[cfg(any(feature = "onnxruntime", feature = "tensorrt"))]
const fn missing(engine: &'static str, lack: Lack) -> EngineError {
    EngineError::Missing { engine, lack }
}

#[cfg(not(all(feature = "onnxruntime", feature = "tensorrt")))]
const fn not_built(engine: &'static str) -> EngineError {
    EngineError::NotBuilt { engine }
}

/// Where engines built by TensorRT are kept when the configuration does not say: `engines` under `$STATE_DIRECTORY`
/// (as systemd sets it), else under `/var/lib/poised` where that exists or there is no home, else
/// `~/.cache/poised/engines`. Never under the working folder, which may be any user's: an engine is code.
pub fn default_cache() -> PathBuf {
    cache_of(|name| std::env::var_os(name), Path::new("/var/lib/poised"))
}

fn cache_of(variable: impl Fn(&str) -> Option<OsString>, service: &Path) -> PathBuf {
    let folder = |name: &str| {
        let value = variable(name)?;
        // systemd names several state directories with colons between them.
        let first = value.as_bytes().split(|byte| *byte == b':').next()?;
        let path = PathBuf::from(OsStr::from_bytes(first));
        path.is_absolute().then_some(path)
    };
    if let Some(state) = folder("STATE_DIRECTORY") {
        return state.join("engines");
    }
    match folder("HOME") {
        Some(home) if !service.is_dir() => home.join(".cache/poised/engines"),
        _ => service.join("engines"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_what_is_there_and_says_why_it_is_no_better_one() {
        let config = InferenceConfig {
            onnxruntime: Some("/nowhere/libonnxruntime.so".into()),
            tensorrt: Some("/nowhere".into()),
            ..InferenceConfig::default()
        };
        let engine = Engine::open(&config).unwrap();
        assert_eq!(engine.name(), "tract");
        let reason = engine.status().reason().to_owned();
        assert!(reason.starts_with("auto; no tensorrt: "), "{reason}");
        assert!(reason.contains("; no onnxruntime: "), "{reason}");
    }

    #[test]
    fn a_requested_engine_is_available_or_named_with_the_fix() {
        for (engine, name) in [
            (Choice::Onnxruntime, ONNXRUNTIME),
            (Choice::Tensorrt, TENSORRT),
        ] {
            let config = InferenceConfig {
                engine,
                onnxruntime: Some("/nowhere/libonnxruntime.so".into()),
                tensorrt: Some("/nowhere".into()),
                ..InferenceConfig::default()
            };
            let error = Engine::open(&config).unwrap_err().to_string();
            let begins = format!("inference.engine = {name:?}: ");
            assert!(error.starts_with(&begins), "{error}");
            assert!(error.contains("; "), "with the fix: {error}");
        }
        assert_eq!(Engine::tract().name(), "tract");
    }

    #[test]
    fn engines_are_never_kept_under_the_working_folder() {
        let cache = |values: &[(&str, &str)]| {
            let find = |name: &str| {
                let found = values.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            cache_of(find, Path::new("/nowhere/poised"))
        };
        for (values, want) in [
            (
                &[("STATE_DIRECTORY", "/a:/b"), ("HOME", "/h")][..],
                "/a/engines",
            ),
            (&[("HOME", "/h")], "/h/.cache/poised/engines"),
            (&[("HOME", "h")], "/nowhere/poised/engines"),
            (
                &[("STATE_DIRECTORY", ""), ("HOME", "")],
                "/nowhere/poised/engines",
            ),
            (&[], "/nowhere/poised/engines"),
        ] {
            assert_eq!(cache(values), Path::new(want), "{values:?}");
        }
    }

    #[test]
    fn names_in_the_configuration_are_those_on_the_command_line() {
        for name in ["auto", "tract", "onnxruntime", "tensorrt"] {
            let text = format!("engine = {name:?}");
            let config: InferenceConfig = toml::from_str(&text).unwrap();
            assert_eq!(name.parse(), Ok(config.engine));
        }
        assert!("cuda".parse::<Choice>().is_err());
        assert!(toml::from_str::<InferenceConfig>("engine = \"cuda\"").is_err());
    }
}
