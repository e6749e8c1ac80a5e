//! Starts a program that inherits only what is documented, in its own process group.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::check::PATH;

/// How long a program may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// A program with only `PATH` in its environment, an empty standard input, in the root directory. Umask, signals and
/// other descriptors of this process are [reset](crate::sys::inherited) at start.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).current_dir("/").stdin(Stdio::null()).process_group(0);
    command
}

/// The process group of a program that has not been waited for.
pub fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
}

/// Ends a program that has not been waited for: sends SIGTERM, then SIGKILL, to its process group.
pub async fn stop(child: &mut Child) {
    let group = group(child);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if let Some(group) = group {
            // The group may have just ended. SIGKILL is sent even if the program itself has ended, since its children
            // may have ignored SIGTERM.
            let _ = killpg(group, signal);
        }
        // The exit status does not matter.
        let _ = timeout(GRACE, child.wait()).await;
    }
}
