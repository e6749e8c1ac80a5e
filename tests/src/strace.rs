//! System calls of a process, counted, recorded or delayed by strace.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Host, Process, Signal, needs, wait_until};

const OUTPUT: &str = "output";
const PATIENCE: Duration = Duration::from_secs(10);

/// An strace attached to a process, from its creation on.
#[derive(Debug)]
pub struct Strace {
    process: Process,
    home: TempDir,
}

impl Strace {
    /// Counts the calls of all threads of a process on a machine.
    pub fn of(host: &Host, pid: i32) -> Self {
        Self::attach(host, pid, &["-c"])
    }

    /// Records each call with this name by any thread of a process on a machine, with descriptors resolved.
    pub fn calls_of(host: &Host, pid: i32, name: &str) -> Self {
        Self::attach(host, pid, &["-y", "-e", &format!("trace={name}")])
    }

    /// Delays each call with this name by any thread of a process on a machine.
    pub fn delaying(host: &Host, pid: i32, name: &str, delay: Duration) -> Self {
        Self::attach(host, pid, &["-e", &format!("inject={name}:delay_enter={}", delay.as_micros())])
    }

    fn attach(host: &Host, pid: i32, what: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let mut command = Command::new(needs::STRACE.require());
        command.args(what).args(["-f", "-p", &pid.to_string(), "-o"]).arg(home.path().join(OUTPUT));
        let process = Process::start(host.namespace(), "strace".to_owned(), command);
        process.wait_log(PATIENCE, "attached");
        Self { process, home }
    }

    /// Detaches, and returns the number of calls of each system call.
    pub fn stop(self) -> BTreeMap<String, u64> {
        self.output().lines().filter_map(row).collect()
    }

    /// Detaches, and returns the recorded calls, one per line, starting with the thread.
    pub fn lines(self) -> Vec<String> {
        self.output().lines().map(str::to_owned).collect()
    }

    fn output(self) -> String {
        self.process.signal(Signal::SIGINT);
        wait_until(PATIENCE, "strace ends", || !self.process.is_running());
        fs::read_to_string(self.home.path().join(OUTPUT)).expect("strace has written it")
    }
}

/// A row of the table: `% time`, `seconds`, `usecs/call`, `calls`, `errors` if any, `syscall`.
fn row(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, calls) = (words.last()?, words.get(3)?);
    if words.len() < 5 || *name == "total" {
        return None;
    }
    Some(((*name).to_owned(), calls.parse().ok()?))
}
