//! The daemon under test, on a machine of the laboratory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::usage::children_of;
use crate::{
    Background, Datapath, Finished, Host, Process, Signal, Terminal, is_alive, needs, stretched, wait_for,
    wait_until,
};

/// Set by `cargo xtask` to the directory of the programs under test.
const BINARIES: &str = "VRRPD_LAB_BINARIES";
/// How long a daemon may take until it answers.
const READY: Duration = Duration::from_secs(10);
/// How long it may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);

/// The name of the program of the data path.
const DATAPATH_PROGRAM: &str = "vrrpd";
/// The configuration file of a daemon that has one.
const CONFIG: &str = "vrrpd.toml";

/// Set by [`use_binaries_in`].
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// From now on [`binary`] looks in this directory only; the first call decides.
pub fn use_binaries_in(directory: PathBuf) {
    CHOSEN.get_or_init(|| directory);
}

/// Where a program under test is: in the directory chosen with [`use_binaries_in`] or named by the environment
/// variable `VRRPD_LAB_BINARIES`, or else beside the running executable's own build.
pub fn binary(name: &str) -> PathBuf {
    let chosen = CHOSEN.get().cloned().or_else(|| env::var_os(BINARIES).map(PathBuf::from));
    let file = chosen.unwrap_or_else(build_directory).join(name);
    assert!(
        file.is_file(),
        "{} is missing: `cargo xtask test` builds the programs and then runs the tests",
        file.display()
    );
    file
}

/// `target/PROFILE`: tests run from its `deps`, other programs from itself.
fn build_directory() -> PathBuf {
    let executable = env::current_exe().expect("a running program has a file");
    let directory = executable.parent().expect("a file is in a directory");
    match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().expect("a directory is in a directory").to_owned(),
        _ => directory.to_owned(),
    }
}

/// The pid files and sockets in a directory: after the last daemon there must be none.
pub fn left_files(directory: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(directory) else { return Vec::new() };
    let of_a_daemon = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| ["pid", "sock", "group"].contains(&extension))
    };
    let mut names: Vec<_> = files
        .flatten()
        .map(|file| file.path())
        .filter(of_a_daemon)
        .map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Runs the client on a machine, for the daemons whose files are in `directory`.
pub fn atropos(host: &Host, directory: &Path, arguments: &[&str]) -> Finished {
    let mut all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    all.extend(["-f".into(), directory.into()]);
    host.run(binary("atropos"), all)
}

/// How a daemon is to be started: `Vrrpd::on(&host).vrid(51).address("10.0.0.100/24").start()`.
///
/// Without other words it is a router on `eth0` without a virtual MAC address (`-n`), and its data path is that of
/// [`Datapath::usual`].
#[derive(Clone, Debug)]
pub struct VrrpdBuilder {
    host: Host,
    interface: String,
    vmac: Vmac,
    vrid: Option<u8>,
    arguments: Vec<OsString>,
    config: Option<String>,
    datapath: Datapath,
    /// Whether its adverts are handled in user space whatever the data path of its interface.
    in_user_space: bool,
    /// A program that runs the daemon, with its arguments.
    through: Vec<OsString>,
    /// Another build of the daemon.
    program: Option<PathBuf>,
    /// How long it may take until it answers.
    ready: Duration,
    home: Arc<TempDir>,
}

/// Sends a signal to a process, which must be there.
pub fn signal_to(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("the process is there");
}

/// What is said about the virtual MAC address.
#[derive(Clone, Debug)]
enum Vmac {
    No,
    Mode(String),
    Unsaid,
}

/// A daemon that runs in the foreground and has answered. It is a [`Process`]; dropping it kills it.
#[derive(Debug)]
pub struct Vrrpd {
    process: Process,
    host: Host,
    vrid: Option<u8>,
    datapath: Datapath,
    home: Arc<TempDir>,
}

impl Vrrpd {
    /// Begins to describe a daemon on a machine.
    pub fn on(host: &Host) -> VrrpdBuilder {
        VrrpdBuilder {
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

    /// The state of its router; panics if it has several and no VRID was given.
    pub fn state(&self) -> Value {
        let states = self.states();
        let mut ours = states.into_iter().filter(|state| self.is_its_state(state));
        match (ours.next(), ours.next()) {
            (Some(state), None) => state,
            (first, _) => panic!(
                "one router was expected, there {}",
                if first.is_some() { "are more" } else { "is none" }
            ),
        }
    }

    /// The states of all routers whose daemons share its directory.
    pub fn states(&self) -> Vec<Value> {
        let start = Instant::now();
        let finished = loop {
            let finished = self.atropos(&["--state", "--json"]);
            // It may wait for a page of its program that a busy disk has to read.
            if finished.success() || start.elapsed() >= stretched(ANSWER) {
                break finished;
            }
        };
        assert!(finished.success(), "atropos --state ends with {}: {}", finished.code, finished.stderr);
        parse_states(&finished).unwrap_or_else(|| panic!("no JSON array: {}", finished.stdout))
    }

    /// Has it read its configuration file again, with this text.
    pub fn reload(&self, text: &str) {
        write_config(&self.home.path().join(CONFIG), text, self.datapath);
        self.signal(Signal::SIGHUP);
    }

    /// Waits until its router is in this state (`master`, `backup`, `fault`).
    pub fn wait_state(&self, state: &str, limit: Duration) -> Value {
        let what = format!("the router on {} becomes {state}", self.host.name());
        wait_for(limit, &what, || Some(self.state()).filter(|now| now["state"] == state))
    }

    /// SIGKILL to the guardian and then to the daemon, as if the machine had lost its power: nobody says a last word.
    pub fn kill(&self) {
        if let Some(guardian) = self.guardian() {
            // One that has ended just now is as good.
            let _ = kill(Pid::from_raw(guardian), Signal::SIGKILL);
            wait_until(READY, "the guardian is gone", || !is_alive(guardian));
        }
        self.process.kill();
    }

    /// SIGKILL to the daemon, as an operator or the kernel may end it; its guardian does the rest.
    pub fn kill_daemon(&self) {
        self.process.kill();
    }

    /// What is slow to be closed of what a process has open: packet sockets, and programs on interfaces, by what the
    /// kernel calls them.
    pub fn slow_to_close(&self, pid: i32) -> BTreeSet<String> {
        let sockets = self.packet_sockets();
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
        let is_slow = |file: fs::DirEntry| {
            let target = fs::read_link(file.path()).ok()?.to_string_lossy().into_owned();
            let socket = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if socket.and_then(|number| number.parse().ok()).is_some_and(|number| sockets.contains(&number)) {
                return Some(target);
            }
            let info = format!("/proc/{pid}/fdinfo/{}", file.file_name().to_string_lossy());
            let info = fs::read_to_string(info).ok().filter(|_| target.contains("bpf_link"))?;
            info.lines().find(|line| line.starts_with("link_id")).map(str::to_owned)
        };
        files.flatten().filter_map(is_slow).collect()
    }

    /// Sends a signal to its guardian.
    pub fn signal_guardian(&self, signal: Signal) {
        signal_to(self.guardian().expect("it has one"), signal);
    }

    /// The process id of its guardian, while that lives.
    pub fn guardian(&self) -> Option<i32> {
        let is_guardian = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "vrrp-guard")
        };
        children_of(self.pid()).into_iter().find(|pid| is_guardian(pid) && is_alive(*pid))
    }

    /// Whether its router is master now.
    pub fn is_master(&self) -> bool {
        self.state()["state"] == "master"
    }

    /// One counter, by its path below `counters` (`rejected/ttl`).
    pub fn counter(&self, path: &str) -> u64 {
        let state = self.state();
        let value = state.pointer(&format!("/counters/{path}")).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("there is no counter {path} in {}", state["counters"]))
    }

    /// Runs the client for its directory.
    pub fn atropos(&self, arguments: &[&str]) -> Finished {
        atropos(&self.host, &self.directory(), arguments)
    }

    /// Starts the client for its directory, to stay.
    pub fn start_atropos(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(binary("atropos"));
        command.args(arguments).arg("-f").arg(self.directory());
        Process::start(self.host.namespace(), format!("atropos on {}", self.host.name()), command)
    }

    /// Starts the client for its directory on a terminal of this size.
    pub fn atropos_on_terminal(&self, arguments: &[&str], columns: u16, rows: u16) -> Terminal {
        let mut command = Command::new(binary("atropos"));
        command.args(arguments).arg("-f").arg(self.directory());
        Terminal::start(&self.host, &command, columns, rows)
    }

    /// The directory given with `-f`.
    pub fn directory(&self) -> PathBuf {
        self.home.path().join("run")
    }

    /// Its configuration file, if it has one.
    pub fn config_file(&self) -> PathBuf {
        self.home.path().join(CONFIG)
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// The classifiers that are in the kernel beside that of the data path: its links from 6.6 on, and filters of any daemon
    /// on its machine before.
    pub fn classifiers(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fdinfo", self.pid())).expect("it runs");
        let programs = || aya::programs::loaded_programs().filter_map(Result::ok);
        let of_datapath: Vec<_> = programs()
            .filter(|program| program.name_as_str() == Some(DATAPATH_PROGRAM))
            .map(|program| format!("prog_id:\t{}", program.id()))
            .collect();
        let of_link = |text: String| {
            text.contains("link_type:\ttcx")
                && !text.lines().any(|line| of_datapath.iter().any(|program| line == program))
        };
        let links = files.flatten().filter(|file| fs::read_to_string(file.path()).is_ok_and(of_link));
        let tc = |arguments: &[&str]| self.host().run(needs::TC.require(), arguments).stdout;
        let qdiscs = tc(&["qdisc", "show"]);
        let devices = qdiscs.lines().filter_map(|line| line.strip_prefix("qdisc clsact ffff: dev "));
        let devices = devices.filter_map(|rest| rest.split(' ').next());
        let filters = devices.flat_map(|device| {
            ["ingress", "egress"].map(|direction| tc(&["filter", "show", "dev", device, direction]))
        });
        // "VR"
        let of_ours = |shown: String| shown.lines().filter(|line| line.contains(" handle 0x5652")).count();
        links.count() + filters.map(of_ours).sum::<usize>()
    }

    fn is_its_state(&self, state: &Value) -> bool {
        state["pid"] == self.pid() && self.vrid.is_none_or(|vrid| state["vrid"] == vrid)
    }

    /// The machine it runs on.
    pub const fn host(&self) -> &Host {
        &self.host
    }
}

impl Deref for Vrrpd {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

fn parse_states(finished: &Finished) -> Option<Vec<Value>> {
    serde_json::from_str::<Value>(&finished.stdout).ok()?.as_array().cloned()
}

impl VrrpdBuilder {
    /// `-i`, `eth0` without it.
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

    /// Neither `-n` nor `--vmac`: as the users of Vrrpd write it.
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

    /// Version 3 with this interval, as `-d` takes it.
    #[must_use]
    pub fn v3(self, interval: &str) -> Self {
        self.args(["--protocol", "v3", "-d", interval])
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Runs from a configuration file with this text; interface, VRID and `-n` are not given then.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// How adverts arrive, if the test is about that.
    #[must_use]
    pub const fn datapath(mut self, datapath: Datapath) -> Self {
        self.datapath = datapath;
        self
    }

    /// `-a ah/…` with this key, whose adverts are handled in user space whatever the data path.
    #[must_use]
    pub fn ah(self, key: &[u8]) -> Self {
        let mut value = String::from("ah/0x");
        for octet in key {
            write!(value, "{octet:02x}").expect("writing to a string works");
        }
        self.args(["-a", &value]).in_user_space()
    }

    /// The router looked at is one with an Authentication Header.
    #[must_use]
    pub const fn in_user_space(mut self) -> Self {
        self.in_user_space = true;
        self
    }

    /// Run by this program, which takes the daemon's command line behind its own arguments and becomes it by exec.
    #[must_use]
    pub fn through<A: Into<OsString>>(mut self, program: impl IntoIterator<Item = A>) -> Self {
        self.through = program.into_iter().map(Into::into).collect();
        self
    }

    /// Another build of the daemon than [`binary`] says.
    #[must_use]
    pub fn program(mut self, file: &Path) -> Self {
        self.program = Some(file.to_owned());
        self
    }

    /// It may take this long until it answers: with many interfaces it has many programs to load.
    #[must_use]
    pub const fn ready_within(mut self, limit: Duration) -> Self {
        self.ready = limit;
        self
    }

    /// Shares the directory of another daemon.
    #[must_use]
    pub fn beside(mut self, other: &Vrrpd) -> Self {
        self.home = Arc::clone(&other.home);
        self
    }

    /// Shares the directory of a daemon that goes to the background.
    #[must_use]
    pub fn in_directory_of(mut self, other: &Self) -> Self {
        self.home = Arc::clone(&other.home);
        self
    }

    /// The directory it will be given with `-f`. It is made by the daemon.
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

    /// Starts it without `--foreground`, as a user types it, and waits until the command returns.
    pub fn start_in_background(self) -> (Finished, Background) {
        let directory = self.directory();
        let finished = self.run();
        (finished, Background::new(directory, self.home))
    }

    /// Runs the command to its end: it must not stay in the foreground.
    pub fn run(&self) -> Finished {
        self.host.namespace().run(self.command())
    }

    /// Runs the command in the foreground to its end: for what is refused.
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

fn write_config(file: &Path, text: &str, datapath: Datapath) {
    let text = match datapath.option() {
        None => text.to_owned(),
        Some((key, value)) => with_default(text, &format!("{key} = \"{value}\"")),
    };
    fs::write(file, text).expect("the configuration file can be written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// A configuration file with one more line among its defaults.
fn with_default(text: &str, line: &str) -> String {
    const DEFAULTS: &str = "[defaults]";
    match text.split_once(DEFAULTS) {
        Some((before, after)) => format!("{before}{DEFAULTS}\n{line}{after}"),
        None => format!("{DEFAULTS}\n{line}\n{text}"),
    }
}
