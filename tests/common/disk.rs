//! A disk that is full, read-only, or fails.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Bytes of a [`SmallDisk`].
const DISK_BYTES: u64 = 4 << 20;

/// A file system of its own.
pub struct SmallDisk(pub tempfile::TempDir);

impl SmallDisk {
    /// `None`, with the reason printed, where it cannot be mounted.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}")])
            .arg("poised-test")
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        eprintln!("skipped: no file system can be mounted, so no disk is full");
        None
    }

    /// Fills the disk with a file of another program, but for so many bytes; where that file is.
    pub fn fill_but(&self, bytes: u64) -> PathBuf {
        let filler = self.0.path().join("of-another-program");
        let used: u64 = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        let size = usize::try_from(DISK_BYTES - used - bytes).unwrap();
        std::fs::write(&filler, vec![0; size]).unwrap();
        filler
    }

    /// Allows or forbids to write on it from now on.
    pub fn make_writable(&self, writable: bool) {
        let option = if writable { "remount,rw" } else { "remount,ro" };
        let done = Command::new("mount")
            .args(["-o", option])
            .arg(self.0.path())
            .status();
        assert!(done.unwrap().success(), "{option}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Bytes of a [`FailingDisk`], and those of which the rest cannot be read or written once it fails.
const FAILING_BYTES: u64 = 16 << 20;
const INTACT_BYTES: u64 = 256 << 10;

/// A disk whose greater part can be made to answer with I/O errors: a file behind a loop device that becomes smaller than
/// its file system.
pub struct FailingDisk {
    pub folder: tempfile::TempDir,
    image: tempfile::NamedTempFile,
    device: String,
}

impl FailingDisk {
    /// `None`, with the reason printed, where there are no loop devices.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(FAILING_BYTES).unwrap();
        let done = |command: &mut Command| {
            let status = command.arg(image.path()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let target = format!("--target={}", folder.path().display());
        if !done(Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]))
            || !done(Command::new("mount").args(["-o", "loop", &target, "--source"]))
        {
            eprintln!("skipped: no loop device can be mounted, so no disk fails");
            return None;
        }
        let device = Command::new("findmnt")
            .args(["--noheadings", "--output", "SOURCE"])
            .arg(folder.path())
            .output()
            .unwrap();
        Some(Self {
            folder,
            image,
            device: String::from_utf8(device.stdout).unwrap().trim().to_owned(),
        })
    }

    /// From now on it fails, or no longer.
    pub fn fail(&self, failing: bool) {
        let bytes = if failing { INTACT_BYTES } else { FAILING_BYTES };
        self.image.as_file().set_len(bytes).unwrap();
        let done = Command::new("losetup")
            .args(["--set-capacity", &self.device])
            .status();
        assert!(done.unwrap().success(), "{}", self.device);
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}
