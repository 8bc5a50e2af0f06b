//! A Python interpreter with packages, for tests that need an independent reader.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a command to its end.
fn finish(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().last().unwrap_or("no reason given");
    Err(format!("{command:?}: {last}"))
}

/// An interpreter with the packages of a file of requirements, in a virtual environment of this name that is made when
/// the file has changed.
pub fn interpreter(requirements: &Path, name: &str) -> Result<PathBuf, String> {
    let wanted = std::fs::read_to_string(requirements).map_err(|error| error.to_string())?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (python, done) = (folder.join("bin/python"), folder.join("installed"));
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    finish(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    finish(install.arg(requirements))?;
    std::fs::write(done, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}
