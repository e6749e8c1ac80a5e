//! keepalived, the peer of the interoperability tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{Host, Process, is_alive, needs, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// One `vrrp_instance`.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Interface.
    pub interface: String,
    /// Virtual router; the instance is named `VI_` and this number, plus the interface unless that is `eth0`.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// 2 or 3.
    pub version: u8,
    /// `advert_int`, in seconds.
    pub interval: Duration,
    /// `auth_type` and `auth_pass`; version 2 only.
    pub authentication: Option<(String, String)>,
    /// `use_vmac`
    pub vmac: bool,
    /// Virtual addresses with prefix length.
    pub addresses: Vec<String>,
    /// `unicast_src_ip` and `unicast_peer`; `None`: multicast.
    pub unicast: Option<(IpAddr, Vec<IpAddr>)>,
}

impl Instance {
    /// On `eth0`, version 2, one second, priority 100, no authentication.
    pub fn v2(vrid: u8, address: &str) -> Self {
        Self {
            interface: "eth0".to_owned(),
            vrid,
            priority: 100,
            version: 2,
            interval: Duration::from_secs(1),
            authentication: None,
            vmac: false,
            addresses: vec![address.to_owned()],
            unicast: None,
        }
    }

    /// The same with version 3 and this interval.
    pub fn v3(vrid: u8, address: &str, interval: Duration) -> Self {
        Self { version: 3, interval, ..Self::v2(vrid, address) }
    }

    /// On this interface.
    #[must_use]
    pub fn on(self, interface: &str) -> Self {
        Self { interface: interface.to_owned(), ..self }
    }

    /// With this priority.
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// With `auth_type PASS`.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        self.authentication("PASS", password)
    }

    /// With `auth_type AH`.
    #[must_use]
    pub fn ah(self, password: &str) -> Self {
        self.authentication("AH", password)
    }

    fn authentication(self, kind: &str, password: &str) -> Self {
        Self { authentication: Some((kind.to_owned(), password.to_owned())), ..self }
    }

    /// With `use_vmac`.
    #[must_use]
    pub fn vmac(self) -> Self {
        Self { vmac: true, ..self }
    }

    /// With unicast from this address to these peers.
    #[must_use]
    pub fn unicast(self, source: IpAddr, peers: &[IpAddr]) -> Self {
        Self { unicast: Some((source, peers.to_vec())), ..self }
    }

    /// With a further address.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    fn name(&self) -> String {
        match self.interface.as_str() {
            "eth0" => format!("VI_{}", self.vrid),
            other => format!("VI_{}_{other}", self.vrid),
        }
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "vrrp_instance {} {{", self.name())?;
        writeln!(text, "    state BACKUP\n    interface {}", self.interface)?;
        writeln!(text, "    version {}\n    virtual_router_id {}", self.version, self.vrid)?;
        writeln!(text, "    priority {}\n    advert_int {}", self.priority, self.interval.as_secs_f64())?;
        if self.vmac {
            writeln!(text, "    use_vmac")?;
        }
        if let Some((kind, password)) = &self.authentication {
            writeln!(
                text,
                "    authentication {{\n        auth_type {kind}\n        auth_pass {password}\n    }}"
            )?;
        }
        if let Some((source, peers)) = &self.unicast {
            writeln!(text, "    unicast_src_ip {source}\n    unicast_peer {{")?;
            for peer in peers {
                writeln!(text, "        {peer}")?;
            }
            writeln!(text, "    }}")?;
        }
        writeln!(text, "    virtual_ipaddress {{")?;
        for address in &self.addresses {
            writeln!(text, "        {address}")?;
        }
        writeln!(text, "    }}\n}}")
    }
}

/// Options of keepalived.
#[derive(Clone, Debug)]
pub struct KeepalivedBuilder {
    host: Host,
    instances: Vec<Instance>,
    /// The whole configuration, instead of instances.
    text: Option<String>,
}

/// keepalived with its own configuration and pid files. It is a [`Process`]; on drop it is ended together with its
/// child, since another keepalived would not take over before.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
    home: TempDir,
    instances: Vec<Instance>,
}

impl Keepalived {
    /// Starts a description of keepalived on a machine.
    pub fn on(host: &Host) -> KeepalivedBuilder {
        KeepalivedBuilder { host: host.clone(), instances: Vec::new(), text: None }
    }

    /// How often the instances with this VRID have entered this state (`MASTER`, `BACKUP`), on any interface.
    pub fn entered(&self, vrid: u8, state: &str) -> usize {
        let instances = self.instances.iter().filter(|instance| instance.vrid == vrid);
        let lines = instances.map(|instance| format!("({}) Entering {state} STATE", instance.name()));
        lines.map(|line| self.process.count_in_log(&line)).sum()
    }

    /// How often all instances together have entered this state.
    pub fn entered_by_all(&self, state: &str) -> usize {
        self.process.count_in_log(&format!(") Entering {state} STATE"))
    }

    /// The last state of each instance, by name.
    pub fn states(&self) -> BTreeMap<String, String> {
        let entered = |line: String| {
            let (name, state) = line.split_once(") Entering ")?;
            let name = name.rsplit_once('(')?.1;
            Some((name.to_owned(), state.split(' ').next()?.to_owned()))
        };
        self.process.log().into_iter().filter_map(entered).collect()
    }

    /// Waits until the instance with this VRID has entered this state this many times.
    pub fn wait_entered(&self, vrid: u8, state: &str, times: usize, limit: Duration) {
        wait_until(limit, &format!("keepalived enters {state} for VRID {vrid}"), || {
            self.entered(vrid, state) >= times
        });
    }

    /// SIGTERM: it resigns, and ends about a second later.
    pub fn leave(&self) {
        self.process.terminate();
    }

    /// SIGKILL to it and its child, like a power failure: no resignation is sent.
    pub fn crash(&self) {
        if self.process.is_running() {
            // The child ends cleanly when its parent dies, and the parent restarts its child, so the parent is stopped
            // first.
            self.process.pause();
            end(self.child());
        }
        self.process.kill();
    }

    /// The process that speaks VRRP.
    fn child(&self) -> Option<i32> {
        fs::read_to_string(self.home.path().join("vrrp.pid")).ok()?.trim().parse().ok()
    }
}

impl Deref for Keepalived {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its addresses are removed with its namespace, so it need not resign.
        self.crash();
    }
}

fn end(child: Option<i32>) {
    let Some(pid) = child else { return };
    if is_alive(pid) {
        // It may have ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    while is_alive(pid) {
        thread::sleep(Duration::from_millis(1));
    }
}

impl KeepalivedBuilder {
    /// With this configuration.
    pub(crate) fn of_text(host: &Host, text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Keepalived::on(host) }
    }

    /// Adds an instance.
    #[must_use]
    pub fn instance(mut self, instance: Instance) -> Self {
        self.instances.push(instance);
        self
    }

    /// Adds instances.
    #[must_use]
    pub fn instances(mut self, instances: impl IntoIterator<Item = Instance>) -> Self {
        self.instances.extend(instances);
        self
    }

    /// Starts it and waits until every instance is backup; the elections come after that.
    pub fn start(self) -> Keepalived {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let file = |name: &str| -> PathBuf { home.path().join(name) };
        fs::write(file("keepalived.conf"), self.text()).expect("the configuration file can be written");
        let mut command = Command::new(needs::KEEPALIVED.require());
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp"]);
        command.arg("--use-file").arg(file("keepalived.conf"));
        command.arg("--pid").arg(file("keepalived.pid"));
        command.arg("--vrrp_pid").arg(file("vrrp.pid"));
        let process =
            Process::start(self.host.namespace(), format!("keepalived on {}", self.host.name()), command);
        let keepalived = Keepalived { process, home, instances: self.instances };
        wait_until(PATIENCE, "keepalived has started", || {
            assert!(keepalived.is_running(), "keepalived ended at once: {:#?}", keepalived.log());
            keepalived.entered_by_all("BACKUP") >= keepalived.instances.len()
        });
        keepalived
    }

    fn text(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let mut text = String::from(
            "global_defs {\n    router_id lab\n    vrrp_garp_master_delay 1\n    vrrp_garp_master_repeat 1\n}\n",
        );
        for instance in &self.instances {
            instance.write(&mut text).expect("writing to a string works");
        }
        text
    }
}
