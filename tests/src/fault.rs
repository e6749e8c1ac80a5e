//! A crashing process, held before its end, like one whose core takes long to be written.

use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Process, wait_for};

const PATIENCE: Duration = Duration::from_secs(5);

/// A process with a pending fatal signal. It dies on drop.
#[derive(Debug)]
pub struct Dying(Pid);

impl Dying {
    /// Makes a process die of this signal, which its handler may get once before.
    pub fn of(process: &Process, signal: Signal) -> Self {
        let pid = Pid::from_raw(process.pid());
        ptrace::seize(pid, ptrace::Options::empty()).expect("root may trace");
        kill(pid, signal).expect("it runs");
        // Its handler runs between the two.
        stopped_by(pid, signal);
        ptrace::cont(pid, signal).expect("it is stopped");
        stopped_by(pid, signal);
        Self(pid)
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        // Also ends a process that is stopped for its tracer.
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// Waits until the signal is about to be delivered.
fn stopped_by(pid: Pid, signal: Signal) {
    wait_for(PATIENCE, "it is about to get the signal", || {
        let status = waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).expect("it is traced");
        match status {
            WaitStatus::Stopped(_, by) if by == signal => Some(()),
            WaitStatus::Stopped(_, other) => {
                ptrace::cont(pid, other).expect("it is stopped");
                None
            }
            _ => None,
        }
    });
}
