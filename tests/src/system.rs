//! A laboratory machine that boots: systemd as init, with the files of this machine and some of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::usage::children_of;
use crate::{Finished, Host, Process, needs, wait_for};

const PATIENCE: Duration = Duration::from_mins(1);

/// Mounts the prepared files as an overlay on the files of this machine, in memory and in a private mount namespace,
/// and boots from that.
const BOOT: &str = r#"
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
cp -a "$2/." "$1/upper"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
exec "$3" --directory "$1/root" --boot --register=no --keep-unit --network-namespace-path=/proc/self/ns/net \
    --capability=CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON --system-call-filter="bpf perf_event_open" \
    systemd.unit=sysinit.target systemd.firstboot=no
"#;

/// A booted system. It ends with all its processes on drop.
#[derive(Debug)]
pub struct System {
    process: Process,
    /// Its init process.
    init: i32,
    host: Host,
    _home: TempDir,
}

impl System {
    /// Boots on a machine, with these additional files: text, or the path of a program.
    pub fn boot(host: &Host, files: &[(&str, Content<'_>)]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let (mounts, laid_out) = (home.path().join("mounts"), home.path().join("files"));
        fs::create_dir(&mounts).expect("it can be made");
        // With an uninitialised machine ID, systemd does not ask for one.
        for (path, content) in [("etc/machine-id", Content::Text("uninitialized\n"))].iter().chain(files) {
            content.write(&laid_out.join(path));
        }
        let mut command = Command::new(needs::UNSHARE.require());
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", BOOT, "sh"]);
        command.arg(&mounts).arg(&laid_out).arg(needs::SYSTEMD_NSPAWN.require());
        let process = Process::start(host.namespace(), format!("systemd on {}", host.name()), command);
        let init = wait_for(PATIENCE, "the system has a first process", || {
            assert!(process.is_running(), "it ended at once, with exit code {}", process.wait());
            let is_init = |pid: &i32| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "systemd")
            };
            children_of(process.pid()).into_iter().find(is_init)
        });
        let system = Self { process, init, host: host.clone(), _home: home };
        wait_for(PATIENCE, "the system is up", || {
            let state = system.run(&["systemctl", "is-active", "sysinit.target"]);
            (state.stdout.trim() == "active").then_some(())
        });
        system
    }

    /// Runs a program in it.
    pub fn run(&self, command: &[&str]) -> Finished {
        let init = self.init.to_string();
        let enter = ["--target", &init, "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--"];
        self.host.run(needs::NSENTER.require(), enter.iter().chain(command))
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.run(&["systemctl", "show", "--value", "--property", name, unit]);
        shown.stdout.trim().to_owned()
    }

    /// Its console output.
    pub fn console(&self) -> Vec<String> {
        self.process.log()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // When the init of a pid namespace ends, all its processes end, and then the one that waits for it.
        let _ = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        self.process.wait();
    }
}

/// The content of a file.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A text.
    Text(&'a str),
    /// A copy of this program.
    Program(&'a Path),
}

impl Content<'_> {
    fn write(self, path: &Path) {
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("it can be made");
        match self {
            Self::Text(text) => fs::write(path, text).expect("it can be written"),
            Self::Program(program) => {
                fs::copy(program, path).expect("it can be copied");
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
            }
        }
    }
}
