//! Scripts that record their calls.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::wait_for;

/// A script in its own directory, and its output file.
#[derive(Debug)]
pub struct ScriptLog {
    home: TempDir,
}

impl ScriptLog {
    /// A script that records a line: its arguments, and these environment variables, separated by `|`.
    pub fn new(variables: &[&str]) -> Self {
        let values = variables.iter().fold(String::new(), |text, name| text + "|${" + name + "-unset}");
        Self::running(&format!("echo \"$*{values}\""))
    }

    /// A script that runs these shell commands and records their standard output.
    pub fn running(commands: &str) -> Self {
        let script = Self { home: tempfile::tempdir().expect("a temporary directory can be made") };
        script.write(&format!("exec >> {}\n{commands}", script.home.path().join("runs").display()));
        script
    }

    /// A script that runs these shell commands with inherited output.
    pub fn talking(commands: &str) -> Self {
        let script = Self { home: tempfile::tempdir().expect("a temporary directory can be made") };
        script.write(commands);
        script
    }

    /// Another process writes it: while this one has a file open for writing, a child that another test starts has it
    /// open too, and a file open for writing cannot be executed.
    fn write(&self, commands: &str) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" >"$0""#]).arg(self.path()).arg(commands);
        assert!(shell.status().is_ok_and(|status| status.success()), "the script can be written");
        self.set_mode(0o755);
    }

    /// The script.
    pub fn path(&self) -> PathBuf {
        self.home.path().join("script")
    }

    /// Sets its mode.
    pub fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    /// The lines recorded so far.
    pub fn runs(&self) -> Vec<String> {
        let text = fs::read_to_string(self.home.path().join("runs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for the first line that contains the text.
    pub fn wait_run(&self, limit: Duration, text: &str) -> String {
        wait_for(limit, &format!("the script writes a line with {text:?}"), || {
            self.runs().into_iter().find(|run| run.contains(text))
        })
    }
}
