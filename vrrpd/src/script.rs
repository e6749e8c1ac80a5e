//! Scripts on changes of state: run directly, one after the other, in order, never in the way of the protocol.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};
use vrrpd_common::Duration;

use crate::background;

/// Runs that may wait behind a script that takes its time; a router that flaps more than this has other troubles.
const MOST_WAITING: usize = 64;
/// What a script started and left behind may still write after the script has ended.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(100);
/// Octets of a script's output in one line of the log; a longer line becomes several.
const LONGEST_LINE: u64 = 1024;

/// Why a file is no script for us.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{}: {reason}", path.display())]
pub struct ScriptError {
    path: PathBuf,
    reason: String,
}

/// Refuses what could not be run later, or what others could have written.
pub fn check(path: &Path) -> Result<(), ScriptError> {
    let wrong = |reason: String| Err(ScriptError { path: path.to_owned(), reason });
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return wrong(format!("the script cannot be run: {error}")),
    };
    let mode = metadata.permissions().mode();
    if !metadata.is_file() {
        wrong("the script is no file".to_owned())
    } else if mode & 0o111 == 0 {
        wrong(format!("the script is not executable (mode {:04o}); chmod +x makes it so", mode & 0o7777))
    } else if mode & 0o022 != 0 {
        wrong(format!(
            "the script can be written by others than its owner (mode {:04o}); chmod go-w mends that",
            mode & 0o7777
        ))
    } else if metadata.uid() != 0 && metadata.uid() != nix::unistd::geteuid().as_raw() {
        wrong(format!("the script belongs to uid {}; root must own what root runs", metadata.uid()))
    } else {
        Ok(())
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The script.
    pub path: PathBuf,
    /// `TYPE NAME STATE PRIORITY`
    pub arguments: [String; 4],
    /// `VRRP_…`
    pub environment: Vec<(&'static str, String)>,
}

/// The scripts of one router. When this is dropped, what waits is still run.
#[derive(Debug)]
pub struct Runner {
    runs: mpsc::Sender<Run>,
    name: String,
    task: JoinHandle<()>,
}

impl Runner {
    /// A runner on the current runtime that ends a script after `limit`.
    pub fn start(name: String, limit: Duration) -> Self {
        let (runs, mut queue) = mpsc::channel::<Run>(MOST_WAITING);
        let router = name.clone();
        let task = tokio::task::spawn_local(async move {
            while let Some(run) = queue.recv().await {
                perform(&router, &run, limit).await;
            }
        });
        Self { runs, name, task }
    }

    /// Runs it after those that came before.
    pub fn run(&self, run: Run) {
        if let Err(mpsc::error::TrySendError::Full(run)) = self.runs.try_send(run) {
            error!(router = self.name, script = %run.path.display(), "not run: {MOST_WAITING} runs wait already");
        }
    }

    /// Returns when every script has ended.
    pub async fn finish(self) {
        drop(self.runs);
        // A runner that panicked has said so already.
        let _ = self.task.await;
    }
}

async fn perform(router: &str, run: &Run, limit: Duration) {
    let script = run.path.display();
    let state = &run.arguments[2];
    let mut child = match spawn(run) {
        Ok(child) => child,
        Err(error) => {
            error!(router, %script, %error, "the script cannot be run");
            return;
        }
    };
    let output = [
        child.stdout.take().map(|pipe| copy(router, run, pipe)),
        child.stderr.take().map(|pipe| copy(router, run, pipe)),
    ];
    match end(&mut child, limit).await {
        Ok(status) if status.success() => info!(router, %script, state, "the script has run"),
        Ok(status) => warn!(router, %script, state, %status, "the script failed"),
        Err(error) => error!(router, %script, state, %error, "the script was ended"),
    }
    for copier in output.into_iter().flatten() {
        let abort = copier.abort_handle();
        if timeout(LAST_WORDS, copier).await.is_err() {
            abort.abort();
        }
    }
}

fn spawn(run: &Run) -> std::io::Result<Child> {
    Command::new(&run.path)
        .args(&run.arguments)
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .env_remove("NOTIFY_SOCKET")
        .env_remove(background::MARK)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Waits for the end of the script, or brings it about: its whole process group is asked to end, then made to.
async fn end(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    const GRACE: std::time::Duration = std::time::Duration::from_secs(1);
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    if let Ok(status) = timeout(limit.into(), child.wait()).await {
        return status.map_err(|error| error.to_string());
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if let Some(group) = group {
            // The group may have ended by itself just now. It is made to end even when the script itself has: what it
            // started may not have listened.
            let _ = killpg(group, signal);
        }
        // How it ended does not matter any more.
        let _ = timeout(GRACE, child.wait()).await;
    }
    Err(format!("it ran longer than {limit}"))
}

/// Copies the output of a script to the log, line by line.
fn copy(router: &str, run: &Run, pipe: impl AsyncRead + Unpin + 'static) -> JoinHandle<()> {
    let router = router.to_owned();
    let script = run.path.display().to_string();
    tokio::task::spawn_local(async move {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!((&mut pipe).take(LONGEST_LINE).read_until(b'\n', &mut line).await, Ok(1..)) {
            info!(router, script, "{}", String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    fn script(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join("script");
        fs::write(&path, text).expect("writes");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("is ours");
        path
    }

    #[test]
    fn refuses_what_is_missing_not_executable_or_writable_by_others() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(check(&dir.path().join("missing")).is_err());
        assert!(check(dir.path()).is_err());
        for (mode, right) in [(0o644, false), (0o775, false), (0o757, false), (0o755, true), (0o700, true)] {
            assert_eq!(check(&script(dir.path(), "#!/bin/sh\n", mode)).is_ok(), right, "{mode:o}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn runs_come_one_after_the_other_in_order_with_arguments_and_environment() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let text = format!("#!/bin/sh\nsleep 0.05\necho \"$1 $2 $3 $4 $VRRP_STATE\" >>{}\n", log.display());
        let path = script(dir.path(), &text, 0o755);
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let runner = Runner::start("eth0/51".into(), Duration::from_secs(10));
                for state in ["MASTER", "BACKUP"] {
                    let arguments = ["INSTANCE", "eth0/51", state, "100"].map(str::to_owned);
                    let environment = vec![("VRRP_STATE", state.to_owned())];
                    runner.run(Run { path: path.clone(), arguments, environment });
                }
                runner.finish().await;
            })
            .await;
        let lines = fs::read_to_string(&log).expect("was written");
        assert_eq!(lines, "INSTANCE eth0/51 MASTER 100 MASTER\nINSTANCE eth0/51 BACKUP 100 BACKUP\n");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_script_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().expect("a directory");
        let pids = dir.path().join("pids");
        let text = format!("#!/bin/sh\nsleep 1000 &\necho $! >{}\nwait\n", pids.display());
        let path = script(dir.path(), &text, 0o755);
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let runner = Runner::start("eth0/51".into(), Duration::from_millis(300));
                let arguments = [(); 4].map(|()| String::new());
                runner.run(Run { path, arguments, environment: Vec::new() });
                runner.finish().await;
            })
            .await;
        let child = fs::read_to_string(&pids).expect("was written");
        let running = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        let gone = running.map_or(true, |stat| {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        });
        assert!(gone, "the child of the script still runs");
    }
}
