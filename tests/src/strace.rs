//! System calls of a process, counted by strace.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Host, Process, Signal, needs, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// Counts from the moment this is made.
#[derive(Debug)]
pub struct Strace {
    process: Process,
    home: TempDir,
}

impl Strace {
    /// Attaches to all threads of a process on a machine.
    pub fn of(host: &Host, pid: i32) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let mut command = Command::new(needs::STRACE.require());
        command.args(["-c", "-f", "-p", &pid.to_string(), "-o"]).arg(home.path().join("summary"));
        let process = Process::start(host.namespace(), "strace".to_owned(), command);
        process.wait_log(PATIENCE, "attached");
        Self { process, home }
    }

    /// Detaches, and says how often each system call was made.
    pub fn stop(self) -> BTreeMap<String, u64> {
        self.process.signal(Signal::SIGINT);
        wait_until(PATIENCE, "strace ends", || !self.process.is_running());
        let summary = fs::read_to_string(self.home.path().join("summary")).expect("strace has written it");
        summary.lines().filter_map(row).collect()
    }
}

/// A row of the table: `% time`, `seconds`, `usecs/call`, `calls`, `errors` where there were any, `syscall`.
fn row(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, calls) = (words.last()?, words.get(3)?);
    if words.len() < 5 || *name == "total" {
        return None;
    }
    Some(((*name).to_owned(), calls.parse().ok()?))
}
