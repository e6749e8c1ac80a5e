//! An unnamed network namespace.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::{io, panic, process};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::fstat;

use crate::{needs, process::Finished, sys};

/// A network namespace held by a file descriptor, so that it ends with this process.
///
/// A thread in it starts the namespace's processes, which die with the thread. Mounts are those of the machine: `/sys`
/// and the BPF file system look the same as outside.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    fd: OwnedFd,
    /// `None` once the namespace is being dropped.
    starter: Option<Sender<Start>>,
    thread: Option<JoinHandle<()>>,
}

struct Start {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

impl Namespace {
    /// Creates a namespace with its loopback interface up. The name is used in messages only.
    pub fn new(name: &str) -> Self {
        needs::root();
        let (ready, made) = channel();
        let (starter, starts) = channel::<Start>();
        let thread = thread::Builder::new()
            .name(format!("namespace {name}"))
            .spawn(move || {
                let fd = unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(io::Error::from)
                    .and_then(|()| File::open("/proc/thread-self/ns/net"));
                // The receiver waits for it; without one the namespace is not needed.
                drop(ready.send(fd));
                for Start { mut command, reply } in starts {
                    sys::die_with_this_thread(&mut command);
                    drop(reply.send(command.spawn()));
                }
            })
            .expect("a thread can be started");
        let fd = made.recv().expect("the thread answers").expect("root can make a network namespace").into();
        let namespace = Self { name: name.to_owned(), fd, starter: Some(starter), thread: Some(thread) };
        namespace.ip("link set lo up");
        namespace
    }

    /// The name given to [`Namespace::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path that iproute2 accepts as the name of a namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.fd.as_raw_fd())
    }

    /// Directory where daemons in this namespace pin the maps of an interface.
    pub fn pins(&self, interface: &str) -> PathBuf {
        self.all_pins().join(interface)
    }

    fn all_pins(&self) -> PathBuf {
        let inode = fstat(&self.fd).expect("it is open").st_ino;
        Path::new("/sys/fs/bpf/vrrpd").join(inode.to_string())
    }

    /// Runs `work` in a thread inside the namespace: sockets it opens belong to it, and `/proc/sys/net` and
    /// `/proc/thread-self/net` are the namespace's. A panic in `work` is propagated to the caller.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let result = thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).expect("root can enter a namespace");
                    work()
                })
                .join()
        });
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Starts a program in the namespace. It is killed with the namespace at the latest.
    pub fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, child) = channel();
        let starter = self.starter.as_ref().expect("taken in drop only");
        starter.send(Start { command, reply }).map_err(io::Error::other)?;
        child.recv().map_err(io::Error::other)?
    }

    /// Runs a program in the namespace to its end; panics if that takes too long.
    pub fn run(&self, command: Command) -> Finished {
        Finished::of(self, command)
    }

    /// Runs `ip` with these arguments and returns its output; panics if it fails.
    pub fn ip(&self, arguments: &str) -> String {
        let mut command = Command::new(needs::IP.require());
        command.args(arguments.split_whitespace());
        let finished = self.run(command);
        assert!(
            finished.success(),
            "in namespace {}: `ip {arguments}` failed: {}",
            self.name,
            finished.stderr.trim()
        );
        finished.stdout
    }

    /// Sets a value below `/proc/sys/net` in this namespace.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A value below `/proc/sys/net` in this namespace.
    pub fn sysctl_value(&self, key: &str) -> String {
        let path = format!("/proc/sys/net/{key}");
        let value =
            self.enter(|| fs::read_to_string(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        value.trim().to_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.starter = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported; repeating it in a destructor would hide the test's message.
            drop(thread.join());
        }
        // Killed daemons leave their pins behind.
        let _ = fs::remove_dir_all(self.all_pins());
    }
}
