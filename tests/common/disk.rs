//! A disk that is full, or read-only.

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
