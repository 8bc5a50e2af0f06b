//! Where a command writes: no output overwrites an input, and none an existing file without `--force`.
//!
//! A command names all it reads and all it writes before it opens any of it. Files are compared by what they are
//! (device and inode), so links and other spellings of a path are seen through.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;

use poised::base::file::followed;

/// Folders below an input folder whose files count as input: a folder of networks has one for each network.
const DEPTH: usize = 2;

/// `--force`, for every command that writes files.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Force {
    /// Overwrite existing output files. An input is never overwritten.
    #[arg(long)]
    pub force: bool,
}

/// Why an output is refused.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It would overwrite what is read.
    #[error("{option} {path}: is the input {input}, which is never overwritten; give another path")]
    IsInput {
        option: &'static str,
        path: PathBuf,
        input: PathBuf,
    },
    /// Two outputs are one file.
    #[error("{option} {path}: is the same file as {other}; give each its own path")]
    Twice {
        option: &'static str,
        path: PathBuf,
        other: PathBuf,
    },
    /// It exists.
    #[error("{option} {path}: exists; give another path, or --force to overwrite it")]
    Exists { option: &'static str, path: PathBuf },
    /// It is a folder where a file is to be written, or the other way round.
    #[error("{option} {path}: is {is}, must be {must}; give another path")]
    Kind {
        option: &'static str,
        path: PathBuf,
        is: &'static str,
        must: &'static str,
    },
    /// The folder it is to be in does not exist.
    #[error("{option} {path}: folder {folder} does not exist; create it, or give another path")]
    NoFolder {
        option: &'static str,
        path: PathBuf,
        folder: PathBuf,
    },
    /// It cannot be looked at or made.
    #[error("{option} {path}: cannot be written")]
    Unwritable {
        option: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

/// What a file is, whatever it is called.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// All that a command reads and writes.
#[derive(Debug)]
pub struct Outputs {
    force: bool,
    /// Files that are read, as they were named.
    inputs: Vec<(Identity, PathBuf)>,
    /// Files that are to be written, links followed, as they were named.
    targets: Vec<(PathBuf, PathBuf)>,
}

impl Outputs {
    /// Of a command that has read nothing yet.
    pub const fn new(force: Force) -> Self {
        Self {
            force: force.force,
            inputs: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// The command reads this file, or this folder with all its files. What does not exist cannot be overwritten
    /// and is not an error here: opening it says more.
    pub fn reads(&mut self, path: &Path) {
        self.reads_to_depth(path, DEPTH);
    }

    /// The command reads this source of frames: a path, a `file://` address, a numbered sequence
    /// (`frames/f%03d.jpg`, all of its folder), or something that is no file.
    pub fn reads_source(&mut self, source: &OsStr) {
        // What is not UTF-8 can only be a path.
        let text = source.to_str().unwrap_or_default();
        let scheme = text.get(..7).unwrap_or_default();
        let path = if scheme.eq_ignore_ascii_case("file://") {
            let path = &text[7..];
            PathBuf::from(percent_decoded(
                path.strip_prefix("localhost").unwrap_or(path),
            ))
        } else {
            PathBuf::from(source)
        };
        if !path.exists()
            && let Some(name) = path.file_name()
            && name.to_string_lossy().contains(['%', '*', '?'])
        {
            let folder = path.parent().unwrap_or(Path::new(""));
            self.reads(if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            });
        }
        self.reads(&path);
    }

    fn reads_to_depth(&mut self, path: &Path, depth: usize) {
        let Ok(metadata) = std::fs::metadata(path) else {
            return;
        };
        self.inputs.push((identity(&metadata), path.to_owned()));
        if metadata.is_dir()
            && depth > 0
            && let Ok(entries) = std::fs::read_dir(path)
        {
            for entry in entries.flatten() {
                self.reads_to_depth(&entry.path(), depth - 1);
            }
        }
    }

    /// The command writes this file, given by this option. Standard output and other pipes and devices may be
    /// written over and over.
    ///
    /// # Errors
    ///
    /// The first reason why it must not.
    pub fn writes(&mut self, option: &'static str, path: &Path) -> Result<(), OutputError> {
        let unwritable = |source| OutputError::Unwritable {
            option,
            path: path.to_owned(),
            source,
        };
        let target = followed(path).map_err(unwritable)?;
        match std::fs::metadata(&target) {
            Ok(metadata) => {
                if let Some(input) = self.input(&metadata) {
                    return Err(OutputError::IsInput {
                        option,
                        path: path.to_owned(),
                        input,
                    });
                }
                if metadata.is_dir() {
                    return Err(OutputError::Kind {
                        option,
                        path: path.to_owned(),
                        is: "a folder",
                        must: "a file",
                    });
                }
                if metadata.is_file() && !self.force {
                    return Err(OutputError::Exists {
                        option,
                        path: path.to_owned(),
                    });
                }
                if metadata.is_file() {
                    self.not_twice(option, path, &target)?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let folder = match target.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => folder,
                    _ => Path::new("."),
                };
                if !folder.is_dir() {
                    return Err(OutputError::NoFolder {
                        option,
                        path: path.to_owned(),
                        folder: folder.to_owned(),
                    });
                }
                self.not_twice(option, path, &target)?;
            }
            Err(error) => return Err(unwritable(error)),
        }
        Ok(())
    }

    /// The command writes files into this folder, given by this option; `named` says by their names which.
    ///
    /// # Errors
    ///
    /// The first reason why it must not.
    pub fn writes_into(
        &mut self,
        option: &'static str,
        folder: &Path,
        named: impl Fn(&OsStr) -> bool,
    ) -> Result<(), OutputError> {
        let metadata = match std::fs::metadata(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(OutputError::Unwritable {
                    option,
                    path: folder.to_owned(),
                    source,
                });
            }
            Ok(metadata) => metadata,
        };
        // Even where no name is taken: what is written would be input the next time.
        if let Some(input) = self.input(&metadata) {
            return Err(OutputError::IsInput {
                option,
                path: folder.to_owned(),
                input,
            });
        }
        if !metadata.is_dir() {
            return Err(OutputError::Kind {
                option,
                path: folder.to_owned(),
                is: "a file",
                must: "a folder",
            });
        }
        let entries = std::fs::read_dir(folder).map_err(|source| OutputError::Unwritable {
            option,
            path: folder.to_owned(),
            source,
        })?;
        let taken: BTreeSet<PathBuf> = entries
            .flatten()
            .filter(|entry| named(&entry.file_name()))
            .map(|entry| entry.path())
            .collect();
        for path in taken {
            self.writes(option, &path)?;
        }
        Ok(())
    }

    /// The input that this file is.
    fn input(&self, metadata: &Metadata) -> Option<PathBuf> {
        let own = identity(metadata);
        let (_, path) = self.inputs.iter().find(|(input, _)| *input == own)?;
        Some(path.clone())
    }

    fn not_twice(
        &mut self,
        option: &'static str,
        path: &Path,
        target: &Path,
    ) -> Result<(), OutputError> {
        // The file may not exist yet, its folder does.
        let real = match (target.parent(), target.file_name()) {
            (Some(folder), Some(name)) if !folder.as_os_str().is_empty() => folder
                .canonicalize()
                .map_or_else(|_| target.to_owned(), |folder| folder.join(name)),
            _ => Path::new(".")
                .canonicalize()
                .map_or_else(|_| target.to_owned(), |folder| folder.join(target)),
        };
        if let Some((_, other)) = self.targets.iter().find(|(output, _)| *output == real) {
            return Err(OutputError::Twice {
                option,
                path: path.to_owned(),
                other: other.clone(),
            });
        }
        self.targets.push((real, path.to_owned()));
        Ok(())
    }
}

/// Makes a folder for output, and those it is in.
///
/// # Errors
///
/// It cannot be made.
pub fn make_folder(option: &'static str, folder: &Path) -> Result<(), OutputError> {
    std::fs::create_dir_all(folder).map_err(|error| failed(option, folder, error))
}

/// The error of an output that could not be written.
pub fn failed(option: &'static str, path: &Path, source: std::io::Error) -> OutputError {
    OutputError::Unwritable {
        option,
        path: path.to_owned(),
        source,
    }
}

/// The text of a `file://` address with `%20` and the like replaced by what they mean.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    const FORCED: Force = Force { force: true };
    const PLAIN: Force = Force { force: false };

    /// A folder with a video and a folder of images.
    fn folder() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let film = folder.path().join("film.mp4");
        std::fs::write(&film, "film").unwrap();
        let pictures = folder.path().join("pictures");
        std::fs::create_dir(&pictures).unwrap();
        std::fs::write(pictures.join("000000.png"), "picture").unwrap();
        (folder, film, pictures)
    }

    fn refused(result: Result<(), OutputError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn an_input_is_known_under_every_name_and_refused_even_with_force() {
        let (folder, film, pictures) = folder();
        let at = |name: &str| folder.path().join(name);
        symlink("film.mp4", at("link")).unwrap();
        symlink("link", at("link_to_link")).unwrap();
        std::fs::hard_link(&film, at("hard")).unwrap();
        symlink(folder.path(), at("around")).unwrap();
        let names = [
            film.clone(),
            at("link"),
            at("link_to_link"),
            at("hard"),
            at("around/film.mp4"),
            at("pictures/../film.mp4"),
            pictures.join("000000.png"),
        ];
        for source in [
            film.display().to_string(),
            format!("FILE://{}", film.display()),
        ] {
            for name in &names {
                for force in [PLAIN, FORCED] {
                    let mut outputs = Outputs::new(force);
                    outputs.reads_source(source.as_ref());
                    outputs.reads(&pictures);
                    let error = refused(outputs.writes("--record", name));
                    assert!(error.contains("is the input"), "{name:?}: {error}");
                }
            }
        }
        let mut outputs = Outputs::new(FORCED);
        outputs.reads_source(at("pictures/%06d.png").as_os_str());
        let error = refused(outputs.writes("--poses", &pictures.join("000000.png")));
        assert!(error.contains("is the input"), "{error}");
        // Names are bytes: this one is no text.
        let odd = folder.path().join(OsStr::from_bytes(b"\xff.mp4"));
        std::fs::write(&odd, "film").unwrap();
        let mut outputs = Outputs::new(FORCED);
        outputs.reads_source(odd.as_os_str());
        let error = refused(outputs.writes("--record", &odd));
        assert!(error.contains("is the input"), "{error}");
    }

    #[test]
    fn a_file_that_exists_is_overwritten_only_with_force() {
        let (folder, film, _) = folder();
        let old = folder.path().join("old.poses");
        std::fs::write(&old, "old").unwrap();
        let link = folder.path().join("link");
        symlink(&old, &link).unwrap();
        for path in [&old, &link] {
            let mut outputs = Outputs::new(PLAIN);
            outputs.reads(&film);
            let error = refused(outputs.writes("--record", path));
            assert!(
                error.starts_with("--record /") && error.contains("--force"),
                "{error}"
            );
            Outputs::new(FORCED).writes("--record", path).unwrap();
        }
        let mut outputs = Outputs::new(PLAIN);
        outputs
            .writes("--record", &folder.path().join("new"))
            .unwrap();
        outputs.writes("--poses", Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn two_outputs_are_two_files() {
        let (folder, ..) = folder();
        let (new, link) = (folder.path().join("new"), folder.path().join("link"));
        symlink("new", &link).unwrap();
        for force in [PLAIN, FORCED] {
            for other in [&new, &link, &folder.path().join("pictures/../new")] {
                let mut outputs = Outputs::new(force);
                outputs.writes("--record", &new).unwrap();
                let error = refused(outputs.writes("--poses", other));
                assert!(error.contains("the same file"), "{error}");
            }
        }
        // A pipe or a device takes both.
        let mut outputs = Outputs::new(PLAIN);
        outputs.writes("--record", Path::new("/dev/null")).unwrap();
        outputs.writes("--poses", Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn a_folder_with_input_takes_no_output_and_one_with_output_only_with_force() {
        let (folder, film, pictures) = folder();
        let is_png = |name: &OsStr| Path::new(name).extension() == Some(OsStr::new("png"));
        for source in [&pictures, &pictures.join("000000.png")] {
            for force in [PLAIN, FORCED] {
                let mut outputs = Outputs::new(force);
                outputs.reads(source);
                let error = refused(outputs.writes_into("--overlay", &pictures, is_png));
                assert!(error.contains("is the input"), "{source:?}: {error}");
            }
        }
        // A folder whose only image is a link to the video.
        let linked = folder.path().join("linked");
        std::fs::create_dir(&linked).unwrap();
        symlink(&film, linked.join("000000.png")).unwrap();
        let mut outputs = Outputs::new(FORCED);
        outputs.reads(&film);
        let error = refused(outputs.writes_into("--overlay", &linked, is_png));
        assert!(error.contains("is the input"), "{error}");
        // Images of an earlier run.
        let error = refused(Outputs::new(PLAIN).writes_into("--overlay", &pictures, is_png));
        assert!(error.contains("--force"), "{error}");
        Outputs::new(FORCED)
            .writes_into("--overlay", &pictures, is_png)
            .unwrap();
        Outputs::new(PLAIN)
            .writes_into("--overlay", &pictures, |_| false)
            .unwrap();
        Outputs::new(PLAIN)
            .writes_into("--overlay", &folder.path().join("new"), is_png)
            .unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_named_beforehand() {
        let (folder, film, pictures) = folder();
        for (path, words) in [
            (pictures.clone(), "is a folder, must be a file"),
            (folder.path().join("missing/a.poses"), "does not exist"),
            (film.join("a.poses"), "cannot be written"),
        ] {
            let error = refused(Outputs::new(FORCED).writes("--record", &path));
            assert!(error.contains(words), "{error}");
        }
        let error = refused(Outputs::new(FORCED).writes_into("--overlay", &film, |_| true));
        assert!(error.contains("is a file, must be a folder"), "{error}");
    }
}
