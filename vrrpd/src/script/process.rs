//! One run of a script: started in a clean environment, waited for, and ended after its timeout.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use thiserror::Error;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{error, info, warn};
use vrrpd_engine::script::{FifoLine, PREPARE, Run};

use super::bare;
use super::check::check;
use super::fifo::Fifos;
use super::output::{Output, Outputs};
use super::user::identify;
use crate::lane::Lane;

/// Retry interval while the system lacks a resource.
const RETRY: Duration = Duration::from_secs(1);

/// Shared by all scripts of a process.
#[derive(Clone, Debug)]
pub struct Context {
    outputs: Outputs,
    fifos: Fifos,
    lane: Lane,
}

impl Context {
    /// Scripts are started in this lane.
    pub fn new(lane: Lane) -> Self {
        Self { outputs: Outputs::default(), fifos: Fifos::default(), lane }
    }

    /// Writes a line to a FIFO.
    pub(super) fn tell(&self, router: &str, line: &FifoLine) {
        self.fifos.tell(router, line, &self.lane);
    }

    /// Waits a short time until all FIFO lines are written.
    pub async fn finish(&self) {
        self.fifos.finish().await;
    }
}

/// Runs a script of a router for this state until it ends, or until its timeout.
pub(super) async fn perform(router: &str, state: &str, run: &Run, limit: Duration, context: &Context) {
    let script = run.program.display();
    let (mut child, output) = match timeout(limit, start(router, run, context)).await {
        Ok(Ok(started)) => started,
        Ok(Err(error)) => return error!(router, %script, state, %error, "cannot run script"),
        Err(_) => return error!(router, %script, state, ?limit, "script start timed out"),
    };
    match end(&mut child, limit).await {
        Ok(status) if status.success() => info!(router, %script, state, "script succeeded"),
        Ok(status) => warn!(router, %script, state, %status, "script failed"),
        Err(error) => error!(router, %script, state, %error, "script timed out"),
    }
    output.last_words().await;
}

/// Runs the `prepare` script. Calls `over` when it has ended, or was killed with its children after `limit`. It is also
/// killed when this is dropped.
pub async fn prepare(router: &str, run: &Run, limit: Duration, over: impl FnOnce(), context: &Context) {
    let (script, state) = (run.program.display(), PREPARE);
    let until = Instant::now() + limit;
    let output = match timeout_at(until, start(router, run, context)).await {
        Ok(Ok((child, output))) => {
            let mut started = Started::new(child);
            match timeout_at(until, started.wait()).await {
                Ok(Ok(status)) if status.success() => info!(router, %script, state, "script succeeded"),
                Ok(Ok(status)) => warn!(router, %script, state, %status, "script failed"),
                Ok(Err(error)) => error!(router, %script, state, %error, "script timed out"),
                Err(_) => {
                    let error = EndError::TooLong(limit);
                    error!(router, %script, state, %error, "script timed out");
                }
            }
            Some(output)
        }
        Ok(Err(error)) => {
            error!(router, %script, state, %error, "cannot run script");
            None
        }
        Err(_) => {
            error!(router, %script, state, ?limit, "script start timed out");
            None
        }
    };
    over();
    if let Some(output) = output {
        output.last_words().await;
    }
}

/// Starts it in another thread, since that takes a while, and forever on a file system that hangs. Waits for resources
/// that the system temporarily lacks.
async fn start(router: &str, run: &Run, context: &Context) -> io::Result<(Child, Output)> {
    let mut told = false;
    loop {
        let error = match start_once(router, run, context).await {
            Err(error) if is_transient(&error) => error,
            result => return result,
        };
        if !told {
            told = true;
            let script = run.program.display();
            warn!(router, %script, %error, "cannot start script yet, retrying");
        }
        sleep(RETRY).await;
    }
}

async fn start_once(router: &str, run: &Run, context: &Context) -> io::Result<(Child, Output)> {
    let (output, writer) = context.outputs.open(router, &run.program)?;
    let job = run.clone();
    let what = format!("starting {} of {router}", run.program.display());
    let started = context.lane.run(what, move || spawn(&job, writer).map(Started::new)).await?;
    let child = started?.keep().ok_or_else(|| io::Error::other("it is gone"))?;
    Ok((child, output))
}

/// Whether the error is temporary: descriptors, processes or memory exhausted, or the file is being written.
fn is_transient(error: &io::Error) -> bool {
    let lacks = [Errno::EMFILE, Errno::ENFILE, Errno::EAGAIN, Errno::ENOMEM, Errno::ETXTBSY];
    error.raw_os_error().is_some_and(|number| lacks.contains(&Errno::from_raw(number)))
}

/// Starts a checked script with its environment and output.
fn spawn(run: &Run, output: OwnedFd) -> io::Result<Child> {
    check(&run.program).map_err(|error| io::Error::other(error.fault))?;
    let mut command = bare::command(&run.program);
    if let Some(user) = &run.user {
        identify(user).map_err(io::Error::other)?.apply(&mut command);
    }
    command
        .args(&run.arguments)
        .envs(run.environment.iter().map(|(name, value)| (name.as_ref(), value)))
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

/// A script that was just started. It is killed on drop.
struct Started(Option<Child>);

impl Started {
    const fn new(child: Child) -> Self {
        Self(Some(child))
    }

    fn keep(mut self) -> Option<Child> {
        self.0.take()
    }

    /// Waits for its end; processes that it started may live on.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.0 else { return Err(io::Error::other("it is gone")) };
        let ended = child.wait().await;
        self.0 = None;
        ended
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(group) = self.0.as_ref().and_then(bare::group) {
            // It may have ended.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Why a script did not end normally.
#[derive(Debug, Error)]
enum EndError {
    #[error(transparent)]
    Wait(#[from] io::Error),
    #[error("it ran longer than {0:?}")]
    TooLong(Duration),
}

/// Waits for the end of the script, and ends it after the timeout.
async fn end(child: &mut Child, limit: Duration) -> Result<ExitStatus, EndError> {
    if let Ok(status) = timeout(limit, child.wait()).await {
        return Ok(status?);
    }
    bare::stop(child).await;
    Err(EndError::TooLong(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_shortages_are_waited_for_and_a_missing_file_is_not() {
        for (errno, waits) in [(Errno::EMFILE, true), (Errno::EAGAIN, true), (Errno::ENOENT, false)] {
            assert_eq!(is_transient(&errno.into()), waits, "{errno}");
        }
        assert!(!is_transient(&io::Error::other("the script is not executable")));
    }
}
