//! A daemon in the background, known by its pid file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::vrrpd::left_files;
use crate::{is_alive, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// The daemons with pid files in a directory. They are killed on drop.
#[derive(Debug)]
pub struct Background {
    directory: PathBuf,
    /// Kept until the daemons have ended.
    _home: Arc<TempDir>,
}

impl Background {
    pub(crate) const fn new(directory: PathBuf, home: Arc<TempDir>) -> Self {
        Self { directory, _home: home }
    }

    /// The directory given with `-f`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The pid files and sockets in the directory.
    pub fn files(&self) -> Vec<String> {
        left_files(&self.directory)
    }

    /// The process in a pid file; `None` if the file or the number is missing.
    pub fn pid(&self, file: &str) -> Option<i32> {
        fs::read_to_string(self.directory.join(file)).ok()?.trim().parse().ok()
    }

    /// Sends a signal to the process in a pid file.
    pub fn signal(&self, file: &str, signal: Signal) {
        let pid = self.pid(file).unwrap_or_else(|| panic!("{file} names a process"));
        kill(Pid::from_raw(pid), signal).expect("the daemon runs");
    }

    /// Sends SIGTERM to the process in a pid file, and waits until it has ended.
    pub fn terminate(&self, file: &str) {
        let pid = self.pid(file).unwrap_or_else(|| panic!("{file} names a process"));
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the daemon runs");
        wait_until(PATIENCE, "the daemon ends", || !is_alive(pid));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for pid in self.files().iter().filter_map(|file| self.pid(file)) {
            // Only daemons under test: a stale file may name an unrelated process.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == "vrrpd" {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}
