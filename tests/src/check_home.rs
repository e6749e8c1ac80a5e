//! What checks look at: a program with a unique name, and files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tempfile::TempDir;

/// A directory for a test's files, and a program with a unique name.
#[derive(Debug)]
pub struct CheckHome(TempDir);

/// A process with that name; killed on drop.
#[derive(Debug)]
pub struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl CheckHome {
    /// A new directory with a program.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let home = Self(tempfile::Builder::new().prefix("trk").tempdir().expect("a directory can be made"));
        // By another process: a child of another test would inherit the open file, which cannot be executed then.
        let copied = Command::new("cp").arg("/bin/sleep").arg(home.program()).status();
        assert!(copied.is_ok_and(|status| status.success()), "there is a sleep");
        home
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The name of the program: that of the directory, at most 15 characters.
    pub fn name(&self) -> String {
        let name = self.0.path().file_name().expect("it has a name").to_string_lossy();
        name.replace('.', "")
    }

    fn program(&self) -> PathBuf {
        self.path(&self.name())
    }

    /// Starts the program. Its first argument is the usual one, since in an emulated machine the program is busybox.
    pub fn serve(&self) -> Service {
        Service(Command::new(self.program()).arg0("sleep").arg("1000").spawn().expect("it can be started"))
    }

    /// Writes an executable shell script.
    pub fn script(&self, text: &str) -> PathBuf {
        let path = self.path("check");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" >"$0""#]).arg(&path).arg(text);
        assert!(shell.status().is_ok_and(|status| status.success()), "the script can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// The lines of a file; none if it does not exist.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
