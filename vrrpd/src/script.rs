//! Scripts for transitions: executed directly, one after the other, in order, without delaying the protocol.
//!
//! [`Runner`] queues the scripts of a router, `check` decides what may be run, `process` is one run, `output` copies
//! their output to the log, and `user` finds the user that they run as.

pub mod bare;
mod check;
mod fifo;
mod output;
mod process;
mod user;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

pub use check::{ScriptError, check, find, is_bare, place};
pub use process::{Context, prepare};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;
pub use user::{UserError, identify, user_of};
use vrrpd_common::Duration;
use vrrpd_engine::budget::Budget;
use vrrpd_engine::script::Call;

use crate::clock;
use crate::rundir::Claim;

/// Maximum number of calls in the queue. Beyond that only the newest counts, since the others are obsolete.
const MAX_WAITING: usize = 16;
/// Burst of calls; after that calls are limited to one per interval, with the newest state.
const AT_ONCE: u64 = 10;
const EVERY: Duration = Duration::from_secs(1);
/// Polling interval for the end of an earlier daemon's scripts.
const TURN: std::time::Duration = std::time::Duration::from_millis(100);

/// The scripts of one router. After it is dropped, queued scripts are still run.
#[derive(Debug)]
pub struct Runner {
    queue: Rc<CallQueue>,
    name: String,
    context: Context,
    task: JoinHandle<()>,
}

/// The queued calls, shared by callers and the task that performs them.
#[derive(Debug, Default)]
struct CallQueue {
    waiting: RefCell<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: VecDeque<Call>,
    /// No more calls will be queued.
    closed: bool,
}

impl Runner {
    /// A runner on the current runtime, with this timeout of a script. It starts none before it has the claim, since
    /// scripts of an earlier daemon may still run.
    pub fn start(name: String, limit: Duration, claim: Claim, context: Context) -> Self {
        let queue = Rc::new(CallQueue::default());
        let (source, router, shared) = (Rc::clone(&queue), name.clone(), context.clone());
        let task = tokio::task::spawn_local(async move {
            let mut claimed = false;
            let mut budget = Budget::new(AT_ONCE, EVERY);
            while source.fill().await {
                while !claimed && !claim.take() {
                    sleep(TURN).await;
                }
                claimed = true;
                source.wait_for(&mut budget, &router).await;
                let next = source.waiting.borrow_mut().calls.pop_front();
                if let Some(call) = next {
                    for run in &call.runs {
                        process::perform(&router, &call.state, run, limit.into(), &context).await;
                    }
                }
            }
        });
        Self { queue, name, context: shared, task }
    }

    /// Queues these scripts; a FIFO line is written at once.
    pub fn run(&self, call: Call) {
        if let Some(line) = &call.line {
            self.context.tell(&self.name, line);
        }
        if call.runs.is_empty() {
            return;
        }
        let mut waiting = self.queue.waiting.borrow_mut();
        if waiting.calls.len() == MAX_WAITING {
            leave_out(&self.name, &mut waiting.calls, CHANGED_SINCE);
        }
        waiting.calls.push_back(call);
        self.queue.changed.notify_one();
    }

    /// Returns when the running script and the newest queued one have ended; calls in between are dropped, since the
    /// router has left.
    pub async fn finish(mut self) {
        {
            let mut waiting = self.queue.waiting.borrow_mut();
            waiting.closed = true;
            if let Some(newest) = waiting.calls.pop_back() {
                leave_out(&self.name, &mut waiting.calls, "the router is stopped");
                waiting.calls.push_back(newest);
            }
        }
        self.queue.changed.notify_one();
        // The panic was logged.
        let _ = (&mut self.task).await;
    }
}

const CHANGED_SINCE: &str = "the router changed its state since";

/// Drops obsolete calls.
fn leave_out(router: &str, calls: &mut VecDeque<Call>, reason: &'static str) {
    if !calls.is_empty() {
        let scripts: usize = calls.iter().map(|call| call.runs.len()).sum();
        warn!(router, scripts, reason, "waiting scripts skipped");
        calls.clear();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.queue.waiting.borrow_mut().closed = true;
        self.queue.changed.notify_one();
    }
}

impl CallQueue {
    /// Waits for a call; `false` if there will be none.
    async fn fill(&self) -> bool {
        loop {
            {
                let waiting = self.waiting.borrow();
                if !waiting.calls.is_empty() {
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

impl CallQueue {
    /// Waits until the rate limit allows a call. If that takes time, only the newest call is kept.
    async fn wait_for(&self, budget: &mut Budget, router: &str) {
        if budget.take(clock::now()) {
            return;
        }
        while !self.waiting.borrow().closed && !budget.take(clock::now()) {
            let wait = budget.next_at().saturating_since(clock::now());
            // Further calls, or the end of the queue, wake it as well.
            let _ = timeout(wait.into(), self.changed.notified()).await;
        }
        let mut waiting = self.waiting.borrow_mut();
        if let Some(newest) = waiting.calls.pop_back() {
            leave_out(router, &mut waiting.calls, CHANGED_SINCE);
            waiting.calls.push_back(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use vrrpd_engine::script::Run;

    use super::*;
    use crate::lane::Lane;
    use crate::rundir::RunDir;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    /// Another process writes the script: while this one has a file open for writing, a child that another test starts
    /// has it open too, and a file open for writing cannot be executed.
    fn script(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join("script");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", r#"printf %s "$1" >"$0""#]).arg(&path).arg(text);
        assert!(shell.status().expect("there is a shell").success());
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("is ours");
        path
    }

    #[test]
    fn refuses_missing_non_executable_and_writable_scripts() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(check(&dir.path().join("missing")).is_err());
        assert!(check(dir.path()).is_err());
        for (mode, right) in [(0o644, false), (0o775, false), (0o757, false), (0o755, true), (0o700, true)] {
            assert_eq!(check(&script(dir.path(), "#!/bin/sh\n", mode)).is_ok(), right, "{mode:o}");
        }
    }

    fn call(path: &Path, state: &str) -> Call {
        let arguments = ["INSTANCE", "eth0/51", state, "100"].map(str::to_owned).to_vec();
        let environment = vec![("VRRP_STATE".into(), state.to_owned())];
        let run = Run { program: path.to_owned(), arguments, user: None, environment };
        Call { state: state.to_owned().into(), runs: vec![run], line: None }
    }

    fn context() -> Context {
        Context::new(Lane::scripts())
    }

    /// A claim that no other process has.
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
                let runner =
                    Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()), context());
                runner.run(call(&path, "MASTER"));
                runner.run(call(&path, "BACKUP"));
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
                let runner =
                    Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()), context());
                for priority in 0..MAX_WAITING + 2 {
                    let mut next = call(&path, "MASTER");
                    next.runs[0].arguments[3] = priority.to_string();
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
    async fn ten_runs_come_at_once_and_then_one_a_second_of_the_newest_state() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let path = script(dir.path(), &format!("#!/bin/sh\necho $4 >>{}\n", log.display()), 0o755);
        let local = tokio::task::LocalSet::new();
        let start = std::time::Instant::now();
        let lines = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        local
            .run_until(async {
                let runner =
                    Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()), context());
                for change in 1..=18 {
                    let mut next = call(&path, "MASTER");
                    next.runs[0].arguments[3] = change.to_string();
                    runner.run(next);
                    while lines() < change.min(10) {
                        sleep(std::time::Duration::from_millis(1)).await;
                    }
                }
                while lines() < 11 {
                    sleep(std::time::Duration::from_millis(1)).await;
                }
                assert!(start.elapsed() >= std::time::Duration::from_secs(1));
                runner.finish().await;
            })
            .await;
        let text = fs::read_to_string(&log).expect("was written");
        assert_eq!(text, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n18\n");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn when_the_router_leaves_only_the_newest_that_waits_is_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let path = script(dir.path(), &format!("#!/bin/sh\necho $3 >>{}\n", log.display()), 0o755);
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let runner =
                    Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()), context());
                for state in ["BACKUP", "MASTER", "FAULT"] {
                    runner.run(call(&path, state));
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
                let runner =
                    Runner::start("eth0/51".into(), Duration::from_secs(10), claim(dir.path()), context());
                runner.run(call(&path, "MASTER"));
                // By now the runner has found the claim taken.
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
                let runner =
                    Runner::start("eth0/51".into(), Duration::from_millis(300), claim(dir.path()), context());
                runner.run(call(&path, "MASTER"));
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
        // It was killed, and dies when it is scheduled.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !is_gone() {
            assert!(std::time::Instant::now() < until, "the child of the script still runs");
            sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}
