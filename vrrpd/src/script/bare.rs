//! A program that inherits nothing but what is documented, in a process group of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::check::PATH;

/// How long a program that is asked to end may take, before it is made to.
const GRACE: Duration = Duration::from_secs(1);

/// A program with `PATH` alone in its environment, an empty standard input, in the root directory. Umask, signals and other
/// descriptors are [put right](crate::sys::inherited) in this process.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).current_dir("/").stdin(Stdio::null()).process_group(0);
    command
}

/// The process group of a program that has not been waited for.
pub fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
}

/// Ends a program that has not been waited for: its whole process group is asked to end, then made to.
pub async fn stop(child: &mut Child) {
    let group = group(child);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if let Some(group) = group {
            // The group may have ended by itself just now. It is made to end even when the program itself has: what it
            // started may not have listened.
            let _ = killpg(group, signal);
        }
        // How it ended does not matter any more.
        let _ = timeout(GRACE, child.wait()).await;
    }
}
