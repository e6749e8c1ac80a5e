//! Options of a daemon to be started.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::programs::binary;
use super::{Vrrpd, parse_states};
use crate::{Background, Datapath, Finished, Host, Process, wait_for};

/// The configuration file of a daemon that has one.
pub(super) const CONFIG: &str = "vrrpd.toml";

/// Timeout of a daemon's first answer.
pub(super) const READY: Duration = Duration::from_secs(10);

/// Options of a daemon to be started: `Vrrpd::on(&host).vrid(51).address("10.0.0.100/24").start()`.
///
/// By default it is a router on `eth0` without a virtual MAC address (`-n`), with the data path of [`Datapath::usual`].
#[derive(Clone, Debug)]
pub struct VrrpdBuilder {
    host: Host,
    interface: String,
    vmac: Vmac,
    vrid: Option<u8>,
    arguments: Vec<OsString>,
    config: Option<String>,
    datapath: Datapath,
    /// Whether its adverts are handled in user space with any data path.
    in_user_space: bool,
    /// A program that executes the daemon, with its arguments.
    through: Vec<OsString>,
    /// Another build of the daemon.
    program: Option<PathBuf>,
    /// Timeout of its first answer.
    ready: Duration,
    home: Arc<TempDir>,
}

/// The option for the virtual MAC address.
#[derive(Clone, Debug)]
enum Vmac {
    No,
    Mode(String),
    Unsaid,
}

impl VrrpdBuilder {
    pub(super) fn on(host: &Host) -> Self {
        Self {
            host: host.clone(),
            interface: "eth0".to_owned(),
            vmac: Vmac::No,
            vrid: None,
            arguments: Vec::new(),
            config: None,
            datapath: Datapath::usual(),
            in_user_space: false,
            through: Vec::new(),
            program: None,
            ready: READY,
            home: Arc::new(tempfile::tempdir().expect("a temporary directory can be made")),
        }
    }

    /// `-i`; default `eth0`.
    #[must_use]
    pub fn interface(mut self, interface: &str) -> Self {
        interface.clone_into(&mut self.interface);
        self
    }

    /// `--vmac` instead of `-n`.
    #[must_use]
    pub fn vmac(mut self, mode: &str) -> Self {
        self.vmac = Vmac::Mode(mode.to_owned());
        self
    }

    /// Neither `-n` nor `--vmac`, as with Vrrpd.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.vmac = Vmac::Unsaid;
        self
    }

    /// `-v`.
    #[must_use]
    pub const fn vrid(mut self, vrid: u8) -> Self {
        self.vrid = Some(vrid);
        self
    }

    /// `-p`.
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        self.args(["-p", &priority.to_string()])
    }

    /// A virtual address.
    #[must_use]
    pub fn address(self, address: &str) -> Self {
        self.args([address])
    }

    /// Version 3 with this interval, in the syntax of `-d`.
    #[must_use]
    pub fn v3(self, interval: &str) -> Self {
        self.args(["--protocol", "v3", "-d", interval])
    }

    /// Further arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Runs with this configuration file, instead of interface, VRID and `-n`.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// The data path, if the test depends on it.
    #[must_use]
    pub const fn datapath(mut self, datapath: Datapath) -> Self {
        self.datapath = datapath;
        self
    }

    /// `-a ah/…` with this key. Its adverts are handled in user space with any data path.
    #[must_use]
    pub fn ah(self, key: &[u8]) -> Self {
        let mut value = String::from("ah/0x");
        for octet in key {
            write!(value, "{octet:02x}").expect("writing to a string works");
        }
        self.args(["-a", &value]).in_user_space()
    }

    /// The router has an Authentication Header.
    #[must_use]
    pub const fn in_user_space(mut self) -> Self {
        self.in_user_space = true;
        self
    }

    /// Executes the daemon by this program, which takes the daemon's command line after its own arguments.
    #[must_use]
    pub fn through<A: Into<OsString>>(mut self, program: impl IntoIterator<Item = A>) -> Self {
        self.through = program.into_iter().map(Into::into).collect();
        self
    }

    /// Another build of the daemon than [`binary`].
    #[must_use]
    pub fn program(mut self, file: &Path) -> Self {
        self.program = Some(file.to_owned());
        self
    }

    /// Another timeout of its first answer: with many interfaces it loads many programs.
    #[must_use]
    pub const fn ready_within(mut self, limit: Duration) -> Self {
        self.ready = limit;
        self
    }

    /// Uses the directory of another daemon.
    #[must_use]
    pub fn beside(mut self, other: &Vrrpd) -> Self {
        self.home = Arc::clone(&other.home);
        self
    }

    /// Uses the directory of a daemon that goes to the background.
    #[must_use]
    pub fn in_directory_of(mut self, other: &Self) -> Self {
        self.home = Arc::clone(&other.home);
        self
    }

    /// The directory for `-f`, which the daemon creates.
    pub fn directory(&self) -> PathBuf {
        self.home.path().join("run")
    }

    /// Starts it in the foreground and waits until it answers.
    pub fn start(self) -> Vrrpd {
        let mut command = self.command();
        command.arg("--foreground");
        let process =
            Process::start(self.host.namespace(), format!("vrrpd on {}", self.host.name()), command);
        let daemon =
            Vrrpd { process, host: self.host, vrid: self.vrid, datapath: self.datapath, home: self.home };
        let state = wait_for(self.ready, "vrrpd answers atropos", || {
            assert!(daemon.is_running(), "vrrpd ended at once, with exit code {}", daemon.wait());
            let answer = parse_states(&daemon.atropos(&["--state", "--json"]))?;
            answer.into_iter().find(|state| daemon.is_its_state(state))
        });
        let raw = self.in_user_space.then_some("raw");
        if let Some(wanted) = raw.or(self.datapath.name()) {
            assert_eq!(state["datapath"], wanted, "reason: {}", state["datapath_reason"]);
        }
        daemon
    }

    /// Starts it without `--foreground`, and waits until the command returns.
    pub fn start_in_background(self) -> (Finished, Background) {
        let directory = self.directory();
        let finished = self.run();
        (finished, Background::new(directory, self.home))
    }

    /// Runs the command to its end; it must not stay in the foreground.
    pub fn run(&self) -> Finished {
        self.host.namespace().run(self.command())
    }

    /// Runs the command in the foreground to its end, which must be an error.
    pub fn run_in_foreground(&self) -> Finished {
        let mut command = self.command();
        command.arg("--foreground");
        self.host.namespace().run(command)
    }

    fn command(&self) -> Command {
        let daemon = self.program.clone().unwrap_or_else(|| binary("vrrpd"));
        let mut command = match self.through.split_first() {
            None => Command::new(daemon),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(daemon);
                command
            }
        };
        if let Some(text) = &self.config {
            let file = self.home.path().join(CONFIG);
            write_config(&file, text, self.datapath);
            command.arg("--config").arg(file);
        } else {
            command.args(["-i", &self.interface]);
            match &self.vmac {
                Vmac::No => command.arg("-n"),
                Vmac::Mode(mode) => command.args(["--vmac", mode]),
                Vmac::Unsaid => &mut command,
            };
            if let Some(vrid) = self.vrid {
                command.args(["-v", &vrid.to_string()]);
            }
            command.args(self.datapath.option().map(|(option, value)| format!("--{option}={value}")));
        }
        command.arg("-f").arg(self.directory()).args(&self.arguments);
        command
    }
}

pub(super) fn write_config(file: &Path, text: &str, datapath: Datapath) {
    let text = match datapath.option() {
        None => text.to_owned(),
        Some((key, value)) => with_default(text, &format!("{key} = \"{value}\"")),
    };
    fs::write(file, text).expect("the configuration file can be written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// A configuration file with a further line in its defaults.
fn with_default(text: &str, line: &str) -> String {
    const DEFAULTS: &str = "[defaults]";
    match text.split_once(DEFAULTS) {
        Some((before, after)) => format!("{before}{DEFAULTS}\n{line}{after}"),
        None => format!("{DEFAULTS}\n{line}\n{text}"),
    }
}
