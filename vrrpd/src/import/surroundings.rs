//! What an import reads from its machine.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Included files, and the values of conditions and variables.
pub trait Surroundings {
    /// The text of a file; invalid UTF-8, which may occur in comments, is replaced.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The files that match an absolute shell pattern, sorted.
    fn matching(&self, pattern: &str) -> Vec<PathBuf>;

    /// The absolute path of a directory; the empty path is the current one.
    fn absolute(&self, directory: &Path) -> PathBuf;

    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The identity for `@` conditions: `--import-id`, or the first label of the host name.
    fn config_id(&self) -> &str;
}

/// This machine.
#[derive(Debug)]
pub struct System {
    config_id: String,
}

impl System {
    /// With this identity, or the first label of the host name.
    pub fn new(config_id: Option<String>) -> Self {
        let host = || {
            let name = nix::unistd::gethostname().unwrap_or_default();
            name.to_string_lossy().split('.').next().unwrap_or_default().to_owned()
        };
        Self { config_id: config_id.unwrap_or_else(host) }
    }
}

impl Surroundings for System {
    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read(path).map(|octets| String::from_utf8_lossy(&octets).into_owned())
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        glob::glob(pattern).map(|paths| paths.flatten().collect()).unwrap_or_default()
    }

    fn absolute(&self, directory: &Path) -> PathBuf {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        env::var(name).ok()
    }

    fn config_id(&self) -> &str {
        &self.config_id
    }
}
