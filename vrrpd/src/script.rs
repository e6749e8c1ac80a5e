//! Scripts on changes of state: run directly, one after the other, in order, never in the way of the protocol.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};
use vrrpd_common::Duration;

use crate::background;
use crate::rundir::Claim;
use crate::supervisor;

/// Runs that may wait behind a script that takes its time. When there are more, only the newest is of use to anybody:
/// what the others would set up or take down has been overtaken.
const MOST_WAITING: usize = 16;
/// How often the scripts of a daemon that has left are looked after, while ours wait for them.
const TURN: std::time::Duration = std::time::Duration::from_millis(100);
/// The next script waits this long for the last words of one that has ended.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(100);
/// Octets of a script's output in one line of the log; a longer line becomes several.
const LONGEST_LINE: u64 = 1024;
/// Lines of a script's output that are copied in one go: what prints without end must not keep the loop from its turn.
const LINES_AT_ONCE: u32 = 32;
/// How long it waits then.
const BREATH: std::time::Duration = std::time::Duration::from_millis(5);

/// How much of a script the kernel looks at for its interpreter.
const INTERPRETER_LINE: usize = 256;

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
        is_executable(path).or_else(wrong)
    }
}

/// Whether the kernel can execute a file: a program, or a script with an interpreter that is there.
fn is_executable(path: &Path) -> Result<(), String> {
    let mut beginning = Vec::with_capacity(INTERPRETER_LINE);
    let read = File::open(path).and_then(|file| {
        io::Read::read_to_end(&mut io::Read::take(file, INTERPRETER_LINE as u64), &mut beginning)
    });
    if read.is_err() || beginning.starts_with(b"\x7fELF") {
        // What may be executed and not be read cannot be looked at.
        return Ok(());
    }
    let Some(line) = beginning.strip_prefix(b"#!") else {
        return Err("the script does not begin with #! and its interpreter, as in #!/bin/sh".to_owned());
    };
    let line = line.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii_start();
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\t')).unwrap_or(line.len());
    let interpreter = Path::new(OsStr::from_bytes(line.get(..end).unwrap_or_default()));
    // A carriage return in it is to be seen.
    let name = interpreter.to_string_lossy();
    let refused = |reason: &str| Err(format!("the script's interpreter {name:?} {reason}"));
    match fs::metadata(interpreter) {
        Err(error) => refused(&format!("cannot be run: {error}")),
        Ok(there) if !there.is_file() || there.permissions().mode() & 0o111 == 0 => {
            refused("is no file that can be executed")
        }
        Ok(_) => Ok(()),
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The script.
    pub path: PathBuf,
    /// `TYPE NAME STATE PRIORITY`
    pub arguments: [String; 4],
    /// `VRRP_…`
    pub environment: Vec<(Cow<'static, str>, String)>,
}

/// The scripts of one router. When this is dropped, what waits is still run.
#[derive(Debug)]
pub struct Runner {
    queue: Rc<Queue>,
    name: String,
    task: JoinHandle<()>,
}

/// Runs that wait, shared by those who ask for them and the task that performs them.
#[derive(Debug, Default)]
struct Queue {
    waiting: RefCell<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    runs: VecDeque<Run>,
    /// Nobody asks for more.
    closed: bool,
}

impl Runner {
    /// A runner on the current runtime that ends a script after `limit`, and runs none before it has the claim: the
    /// scripts of a daemon that was here before may still run.
    pub fn start(name: String, limit: Duration, claim: Claim) -> Self {
        let queue = Rc::new(Queue::default());
        let (source, router) = (Rc::clone(&queue), name.clone());
        let task = tokio::task::spawn_local(async move {
            let mut claimed = false;
            while source.fill().await {
                while !claimed && !claim.take() {
                    sleep(TURN).await;
                }
                claimed = true;
                let next = source.waiting.borrow_mut().runs.pop_front();
                if let Some(run) = next {
                    perform(&router, &run, limit).await;
                }
            }
        });
        Self { queue, name, task }
    }

    /// Runs it after those that came before.
    pub fn run(&self, run: Run) {
        let mut waiting = self.queue.waiting.borrow_mut();
        if waiting.runs.len() == MOST_WAITING {
            self.leave_out(
                &mut waiting.runs,
                "scripts that wait are left out: the router has changed its state since",
            );
        }
        waiting.runs.push_back(run);
        self.queue.changed.notify_one();
    }

    fn leave_out(&self, runs: &mut VecDeque<Run>, why: &'static str) {
        warn!(router = self.name, scripts = runs.len(), "{why}");
        runs.clear();
    }

    /// Returns when the script that runs and the newest one that waits have ended: this router has left, and what it
    /// was in between matters no more.
    pub async fn finish(mut self) {
        {
            let mut waiting = self.queue.waiting.borrow_mut();
            waiting.closed = true;
            if let Some(newest) = waiting.runs.pop_back() {
                if !waiting.runs.is_empty() {
                    self.leave_out(&mut waiting.runs, "scripts that wait are left out: the router has left");
                }
                waiting.runs.push_back(newest);
            }
        }
        self.queue.changed.notify_one();
        // A runner that panicked has said so already.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.queue.waiting.borrow_mut().closed = true;
        self.queue.changed.notify_one();
    }
}

impl Queue {
    /// Waits until there is something to run; `false` when there will be nothing any more.
    async fn fill(&self) -> bool {
        loop {
            {
                let waiting = self.waiting.borrow();
                if !waiting.runs.is_empty() {
                    return true;
                }
                if waiting.closed {
                    return false;
                }
            }
            self.changed.notified().await;
        }
    }
}

async fn perform(router: &str, run: &Run, limit: Duration) {
    let script = run.path.display();
    let state = &run.arguments[2];
    // To start a program takes a while, and for ever if it is on a file system that does not answer: in another thread.
    let job = run.clone();
    let spawned = spawn_blocking(move || spawn(&job)).await;
    let mut child = match spawned.map_err(io::Error::other).and_then(|result| result) {
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
        // It goes on for as long as something that the script left behind may write: to take the pipe away would be to kill
        // that when it does.
        let _ = timeout(LAST_WORDS, copier).await;
    }
}

fn spawn(run: &Run) -> io::Result<Child> {
    let mut command = Command::new(&run.path);
    for variable in supervisor::VARIABLES {
        command.env_remove(variable);
    }
    command
        .args(&run.arguments)
        .envs(run.environment.iter().map(|(name, value)| (name.as_ref(), value)))
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
        let mut lines = 0;
        while matches!((&mut pipe).take(LONGEST_LINE).read_until(b'\n', &mut line).await, Ok(1..)) {
            info!(router, script, "{}", String::from_utf8_lossy(&line).trim_end());
            line.clear();
            lines += 1;
            if lines == LINES_AT_ONCE {
                lines = 0;
                sleep(BREATH).await;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rundir::RunDir;
    use std::fs::Permissions;

    /// A script, written by another process: while this one has a file open for writing, a child that another test
    /// starts has it open too, and what is open for writing cannot be run.
    fn script(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join("script");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", r#"printf %s "$1" >"$0""#]).arg(&path).arg(text);
        assert!(shell.status().expect("there is a shell").success());
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

    fn run(path: &Path, state: &str) -> Run {
        let arguments = ["INSTANCE", "eth0/51", state, "100"].map(str::to_owned);
        Run { path: path.to_owned(), arguments, environment: vec![("VRRP_STATE".into(), state.to_owned())] }
    }

    /// A claim that nobody else has.
    fn claim(dir: &Path) -> Claim {
        RunDir::open(Some(&dir.join("run"))).expect("opens").later("vrrpd_eth0_51.scripts").expect("opens")
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
                let runner = Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()));
                runner.run(run(&path, "MASTER"));
                runner.run(run(&path, "BACKUP"));
                tokio::task::yield_now().await;
                runner.finish().await;
            })
            .await;
        let lines = fs::read_to_string(&log).expect("was written");
        assert_eq!(lines, "INSTANCE eth0/51 MASTER 100 MASTER\nINSTANCE eth0/51 BACKUP 100 BACKUP\n");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn when_too_many_wait_the_newest_is_run_and_those_before_it_are_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let path = script(dir.path(), &format!("#!/bin/sh\necho $4 >>{}\n", log.display()), 0o755);
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let runner = Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()));
                for priority in 0..MOST_WAITING + 2 {
                    let mut next = run(&path, "MASTER");
                    next.arguments[3] = priority.to_string();
                    runner.run(next);
                }
                drop(runner);
                while fs::read_to_string(&log).map_or(0, |lines| lines.lines().count()) < 2 {
                    sleep(std::time::Duration::from_millis(3)).await;
                }
            })
            .await;
        assert_eq!(fs::read_to_string(&log).expect("was written"), "16\n17\n");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn when_the_router_leaves_only_the_newest_that_waits_is_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let path = script(dir.path(), &format!("#!/bin/sh\necho $3 >>{}\n", log.display()), 0o755);
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let runner = Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()));
                for state in ["BACKUP", "MASTER", "FAULT"] {
                    runner.run(run(&path, state));
                }
                runner.finish().await;
            })
            .await;
        assert_eq!(fs::read_to_string(&log).expect("was written"), "FAULT\n");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn scripts_wait_for_those_of_the_daemon_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let path = script(dir.path(), &format!("#!/bin/sh\necho $3 >>{}\n", log.display()), 0o755);
        let before = claim(dir.path());
        assert!(before.take());
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let runner = Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()));
                runner.run(run(&path, "MASTER"));
                // The runner has tried, and found the claim taken.
                sleep(2 * TURN).await;
                assert!(!log.exists());
                drop(before);
                runner.finish().await;
            })
            .await;
        assert!(log.exists());
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
                let runner = Runner::start("eth0/51".into(), Duration::from_millis(300), claim(dir.path()));
                runner.run(run(&path, "MASTER"));
                runner.finish().await;
            })
            .await;
        let child = fs::read_to_string(&pids).expect("was written");
        let is_gone = || {
            let running = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            running.map_or(true, |stat| {
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
            })
        };
        // It has been killed, and dies when it has its turn.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !is_gone() {
            assert!(std::time::Instant::now() < until, "the child of the script still runs");
            sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}
