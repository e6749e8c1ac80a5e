//! Processes of a laboratory: one that runs to its end, and one that keeps running and whose output is collected.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Namespace, Usage, stretched, wait_for, wait_until};

/// Timeout of a test's commands.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that ran to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; 128 + the signal number if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    pub(crate) fn of(namespace: &Namespace, mut command: Command) -> Self {
        let what = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (start, limit) = (Instant::now(), stretched(PATIENCE));
        let child = namespace.spawn(command).unwrap_or_else(|error| panic!("{what}: {error}"));
        let pid = pid_of(&child);
        let (done, output) = channel();
        thread::spawn(move || drop(done.send(child.wait_with_output())));
        let output = match output.recv_timeout(limit) {
            Ok(output) => output.unwrap_or_else(|error| panic!("{what}: {error}")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                // It may have ended.
                let _ = kill(pid, Signal::SIGKILL);
                panic!("{what} did not end, or did not close its output, in {limit:?}");
            }
        };
        Self {
            code: exit_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: start.elapsed(),
        }
    }

    /// Whether the exit code was 0.
    pub const fn success(&self) -> bool {
        self.code == 0
    }
}

/// A running program; its output is collected by line. It is killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    log: Log,
}

/// Lines with their times.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<(Instant, String)>>>);

impl Process {
    /// Starts a program in a namespace. The name is used in messages.
    pub(crate) fn start(namespace: &Namespace, name: String, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            namespace.spawn(command).unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let log = Log::default();
        log.collect(child.stdout.take().expect("it is piped"));
        log.collect(child.stderr.take().expect("it is piped"));
        Self { name, pid: pid_of(&child), child: Mutex::new(child), log }
    }

    /// Its process id.
    pub const fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether it is running.
    pub fn is_running(&self) -> bool {
        self.try_wait().is_none()
    }

    /// CPU time and memory of it and its descendants so far.
    pub fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }

    /// Number of voluntary context switches of its threads so far, each with a wake-up.
    pub fn wake_ups(&self) -> u64 {
        self.usage().wake_ups
    }

    /// The open packet sockets of its machine, by inode.
    pub fn packet_sockets(&self) -> BTreeSet<u64> {
        let table = fs::read_to_string(format!("/proc/{}/net/packet", self.pid)).expect("it runs");
        table.lines().skip(1).filter_map(|line| line.split_whitespace().last()?.parse().ok()).collect()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        assert!(self.is_running(), "{} has ended before {signal} was sent", self.name);
        kill(self.pid, signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// Stops it with SIGSTOP.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        // The signal is delivered at once, but each thread handles it in its own time.
        wait_until(PATIENCE, "every thread is stopped", || {
            fs::read_dir(format!("/proc/{}/task", self.pid)).is_ok_and(|threads| {
                threads.flatten().all(|thread| stat_state(&thread.path().join("stat")) == Some('T'))
            })
        });
    }

    /// Continues it.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// SIGKILL, then waits for the end.
    pub fn kill(&self) {
        // The pid of an ended process may have been reused.
        if self.is_running() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        self.wait();
    }

    /// Waits for the end and returns the exit code; 128 + the signal number if a signal ended it.
    pub fn wait(&self) -> i32 {
        exit_code(wait_for(PATIENCE, &format!("{} ends", self.name), || self.try_wait()))
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines().iter().map(|(_, line)| line.clone()).collect()
    }

    /// Number of log lines so far with this text.
    pub fn count_in_log(&self, text: &str) -> usize {
        self.log.lines().iter().filter(|(_, line)| line.contains(text)).count()
    }

    /// Asserts that this many lines contain the text, at least one. Waits for the last of them, since its effect may be
    /// visible before the line is read here.
    pub fn assert_in_log(&self, text: &str, times: usize) {
        let what = format!("{} writes {times} lines with {text:?}", self.name);
        wait_until(PATIENCE, &what, || self.count_in_log(text) >= times);
        assert_eq!(self.count_in_log(text), times, "{text:?}: {:#?}", self.log());
    }

    /// Waits for a line with this text, and returns it.
    pub fn wait_log(&self, limit: Duration, text: &str) -> String {
        wait_for(limit, &format!("{} writes a line with {text:?}", self.name), || {
            self.log.lines().iter().find(|(_, line)| line.contains(text)).map(|(_, line)| line.clone())
        })
    }

    fn try_wait(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // An error means that it was reaped.
        drop(child.kill());
        drop(child.wait());
        if thread::panicking() {
            eprintln!("--- what {} wrote:", self.name);
            let lines = self.log.lines();
            let Some((start, _)) = lines.first() else { return };
            for (at, line) in lines.iter() {
                eprintln!("{:9.3} {line}", at.duration_since(*start).as_secs_f64());
            }
        }
    }
}

impl Log {
    fn collect(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                log.lines().push((Instant::now(), String::from_utf8_lossy(&line).into_owned()));
            }
        });
    }

    fn lines(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a process with this pid is running; a zombie is not.
pub fn is_alive(pid: i32) -> bool {
    !matches!(stat_state(format!("/proc/{pid}/stat").as_ref()), None | Some('Z' | 'X'))
}

/// The state letter in a `stat` file of `/proc`, after the name in parentheses.
fn stat_state(path: &std::path::Path) -> Option<char> {
    let stat = fs::read_to_string(path).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other).expect("process ids are positive"))
}

pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
