//! Command check: the exit status is the result.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use tokio::process::Child;
use tokio::time::{Instant, timeout_at};
use vrrpd_engine::track::{Command, Finding};

use super::poll::{no_answer, turns};
use super::reporter::Reporter;
use crate::lane::Lane;
use crate::script::{self, bare};

/// Runs the command every interval, one run at a time.
pub(super) async fn watch(command: Command, reporter: Reporter, lane: Lane) {
    let mut turns = turns(command.polling);
    loop {
        turns.tick().await;
        run(&command, &reporter, &lane).await;
    }
}

/// One run, until all its processes have ended. It fails when the timeout has passed.
async fn run(command: &Command, reporter: &Reporter, lane: &Lane) {
    let until = Instant::now() + command.polling.timeout.into();
    let too_late = || reporter.tell(Finding::Fails, no_answer(command.polling));
    let (job, what) = (command.clone(), format!("starting {}", command.program.display()));
    let mut starting = std::pin::pin!(lane.run(what, move || start(&job)));
    let (started, is_late) = if let Ok(started) = timeout_at(until, &mut starting).await {
        (started, false)
    } else {
        too_late();
        (starting.await, true)
    };
    let mut running = match started.flatten() {
        Ok(running) if is_late => return drop(running),
        Ok(running) => running,
        Err(error) if is_late => return drop(error),
        Err(error) => return reporter.tell(Finding::Fails, format!("cannot run: {error}")),
    };
    match timeout_at(until, running.0.wait()).await {
        Ok(Ok(status)) if status.success() => reporter.tell(Finding::Holds, "exit status 0"),
        Ok(Ok(status)) => reporter.tell(Finding::Fails, in_words(status)),
        Ok(Err(error)) => reporter.tell(Finding::Fails, error.to_string()),
        Err(_) => {
            too_late();
            running.end().await;
        }
    }
}

/// Starts it in the environment of scripts: only a `PATH`, in the root directory, in its own process group. Its output
/// is discarded.
fn start(command: &Command) -> io::Result<Running> {
    let program = script::find(&command.program).map_err(|error| io::Error::other(error.fault))?;
    script::check(&program).map_err(|error| io::Error::other(error.fault))?;
    let mut process = bare::command(&program);
    process.args(&command.arguments).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = script::user_of(command) {
        script::identify(&user).map_err(io::Error::other)?.apply(&mut process);
    }
    process.spawn().map(Running)
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// A running command. Its process group is killed on drop.
struct Running(Child);

impl Running {
    async fn end(mut self) {
        bare::stop(&mut self.0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // None once it has been waited for, since the pid may be reused then.
        if let Some(group) = bare::group(&self.0) {
            // It may have just ended.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
