//! The daemon under test, on a machine of the laboratory.

mod builder;
mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

pub use builder::VrrpdBuilder;
use builder::{CONFIG, READY, write_config};
pub use programs::{atropos, binary, left_files, use_binaries_in};

use crate::usage::children_of;
use crate::{
    Datapath, Finished, Host, Process, Signal, Terminal, is_alive, needs, stretched, wait_for, wait_until,
};

/// Timeout of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Name of the BPF program of the data path.
const DATAPATH_PROGRAM: &str = "vrrpd";

/// Sends a signal to an existing process.
pub fn signal_to(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("the process is there");
}

/// A daemon in the foreground that has answered. It is a [`Process`], killed on drop.
#[derive(Debug)]
pub struct Vrrpd {
    process: Process,
    host: Host,
    vrid: Option<u8>,
    datapath: Datapath,
    home: Arc<TempDir>,
}

impl Vrrpd {
    /// Starts a description of a daemon on a machine.
    pub fn on(host: &Host) -> VrrpdBuilder {
        VrrpdBuilder::on(host)
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

    /// The states of all routers whose daemons use its directory.
    pub fn states(&self) -> Vec<Value> {
        let start = Instant::now();
        let finished = loop {
            let finished = self.atropos(&["--state", "--json"]);
            // It may wait for a busy disk to read a page of its program.
            if finished.success() || start.elapsed() >= stretched(ANSWER) {
                break finished;
            }
        };
        assert!(finished.success(), "atropos --state ends with {}: {}", finished.code, finished.stderr);
        parse_states(&finished).unwrap_or_else(|| panic!("no JSON array: {}", finished.stdout))
    }

    /// The state of the router with this VRID, if the daemon has it.
    pub fn find(&self, vrid: u8) -> Option<Value> {
        self.states().into_iter().find(|state| state["vrid"] == vrid)
    }

    /// The state of the router with this VRID, which must exist.
    pub fn state_of(&self, vrid: u8) -> Value {
        self.find(vrid).unwrap_or_else(|| panic!("there is no router {vrid}"))
    }

    /// Waits until the router with this VRID is in this state.
    pub fn wait_state_of(&self, vrid: u8, state: &str, limit: Duration) -> Value {
        let what = format!("router {vrid} on {} becomes {state}", self.host.name());
        wait_for(limit, &what, || self.find(vrid).filter(|now| now["state"] == state))
    }

    /// Writes this configuration file and reloads it.
    pub fn reload(&self, text: &str) {
        write_config(&self.home.path().join(CONFIG), text, self.datapath);
        self.signal(Signal::SIGHUP);
    }

    /// Waits until its router is in this state (`master`, `backup`, `fault`).
    pub fn wait_state(&self, state: &str, limit: Duration) -> Value {
        let what = format!("the router on {} becomes {state}", self.host.name());
        wait_for(limit, &what, || Some(self.state()).filter(|now| now["state"] == state))
    }

    /// SIGKILL to the guardian and then to the daemon, like a power failure: no resignation is sent.
    pub fn kill(&self) {
        if let Some(guardian) = self.guardian() {
            // It may have ended.
            let _ = kill(Pid::from_raw(guardian), Signal::SIGKILL);
            wait_until(READY, "the guardian is gone", || !is_alive(guardian));
        }
        self.process.kill();
    }

    /// SIGKILL to the daemon only; its guardian resigns and cleans up.
    pub fn kill_daemon(&self) {
        self.process.kill();
    }

    /// Open descriptors of a process that are slow to close: packet sockets and attached programs, by their names in
    /// the kernel.
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

    /// The pid of its guardian, while that is running.
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

    /// A counter, by its path below `counters` (`rejected/ttl`).
    pub fn counter(&self, path: &str) -> u64 {
        let state = self.state();
        let value = state.pointer(&format!("/counters/{path}")).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("there is no counter {path} in {}", state["counters"]))
    }

    /// Runs the client for its directory.
    pub fn atropos(&self, arguments: &[&str]) -> Finished {
        atropos(&self.host, &self.directory(), arguments)
    }

    /// Starts the client for its directory, without waiting for its end.
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

    /// Runs the client with a closed standard output, and returns its exit code. It must end by itself.
    pub fn atropos_without_reader(&self, option: &str) -> String {
        let command = r#"{ "$0" "$1" -f "$2"; echo "$?" >&2; } | true"#;
        let (program, directory) = (binary("atropos"), self.directory());
        let arguments =
            [&program, Path::new(option), &directory].map(|argument| argument.display().to_string());
        let finished = self.host.run("sh", [&["-c".to_owned(), command.to_owned()], &arguments[..]].concat());
        finished.stderr.trim().to_owned()
    }

    /// The directory given with `-f`.
    pub fn directory(&self) -> PathBuf {
        self.home.path().join("run")
    }

    /// Its configuration file, if it has one.
    pub fn config_file(&self) -> PathBuf {
        self.home.path().join(CONFIG)
    }

    /// Number of its open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// Number of classifiers in the kernel, besides that of the data path: its links from Linux 6.6 on, and before that
    /// filters of any daemon on its machine.
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
