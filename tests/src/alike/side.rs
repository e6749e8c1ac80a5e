//! One of the two daemons with its network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::files::{Fifo, service_name};
use super::outcome::{Outcome, described};
use super::rival::{RIVAL, Rival};
use super::{AH_KEY, BURST, Instance, Role};
use crate::keepalived::KeepalivedBuilder;
use crate::{Advert, Authenticated, Capture, Host, Keepalived, Lab, ScriptLog, Vrrpd, binary};

/// One of the two daemons, with its network.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) daemon: Option<Daemon>,
    pub(super) lab: Lab,
    pub(super) router: Host,
    pub(super) peer: Host,
    pub(super) notify: ScriptLog,
    pub(super) home: TempDir,
    pub(super) fifo: Option<Fifo>,
    /// Of both networks, on the other machine.
    pub(super) captures: [(&'static str, Capture); 2],
    pub(super) rival: Option<Rival>,
    /// Texts that differ between two machines, and their replacement.
    pub(super) own: Vec<(String, &'static str)>,
    /// The machine before the start.
    pub(super) before: BTreeSet<String>,
}

#[derive(Debug)]
pub(super) enum Daemon {
    Keepalived(Keepalived),
    Vrrpd(Vrrpd),
}

impl Side {
    pub(super) fn new() -> Self {
        let mut lab = Lab::new();
        let [router, peer] = lab.hosts();
        let second = lab.add_network();
        lab.join(&router, second, "eth1", "10.1.0.1/24");
        lab.join(&peer, second, "eth1", "10.1.0.2/24");
        let captures = ["eth0", "eth1"].map(|name| (name, Capture::on_interface(&peer, name)));
        let own = [("eth0", "LINK-LOCAL-0"), ("eth1", "LINK-LOCAL-1")];
        let own = own.map(|(name, word)| (router.link_local(name).to_string(), word));
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let mut side = Self {
            daemon: None,
            lab,
            router,
            peer,
            notify: ScriptLog::new(&[]),
            home,
            fifo: None,
            captures,
            rival: None,
            own: own.to_vec(),
            before: BTreeSet::new(),
        };
        side.before = side.machine();
        side
    }

    /// The configuration for this machine.
    pub(super) fn text(&mut self, configuration: &str, home: &Path) -> String {
        let fifo = self.home.path().join("fifo");
        if configuration.contains("%fifo") {
            self.fifo = Some(Fifo::new(&fifo));
        }
        let path = |path: &Path| path.to_str().expect("temporary directories have names in UTF-8").to_owned();
        configuration
            .replace("%notify", &path(&self.notify.path()))
            .replace("%fifo", &path(&fifo))
            .replace("%service", &service_name(home))
            .replace("%home", &path(home))
    }

    pub(super) fn start_keepalived(&mut self, text: &str) {
        self.daemon = Some(Daemon::Keepalived(KeepalivedBuilder::of_text(&self.router, text).start()));
    }

    /// Imports the file, which must be possible completely, and starts vrrpd with the result.
    pub(super) fn start_vrrpd(&mut self, text: &str) {
        let file = self.home.path().join("keepalived.conf");
        fs::write(&file, text).expect("it can be written");
        let imported = self.router.run(binary("vrrpd"), ["--import".as_ref(), file.as_os_str()]);
        assert!(imported.success(), "vrrpd --import ends with {}: {}", imported.code, imported.stderr);
        self.daemon = Some(Daemon::Vrrpd(Vrrpd::on(&self.router).config(&imported.stdout).start()));
    }

    /// The advertisements of this router and its rivals so far, with interface, and sequence number if there is an
    /// Authentication Header.
    pub(super) fn adverts(&self) -> Vec<(&'static str, Advert, Option<u32>)> {
        let mut adverts = Vec::new();
        for (interface, capture) in &self.captures {
            for seen in capture.frames() {
                if let Some(advert) = Advert::read(&seen.frame) {
                    adverts.push((*interface, advert, None));
                } else if let Some(packet) = Authenticated::read(&seen.frame, AH_KEY) {
                    adverts.push((*interface, packet.advert, Some(packet.sequence)));
                }
            }
        }
        adverts
    }

    /// The roles of the instances; `None` without a state, or for a Master that has not advertised.
    pub(super) fn roles(&self, instances: &[Instance]) -> Vec<Option<Role>> {
        let ours = self.adverts().into_iter().filter(|(_, advert, _)| advert.source_mac != RIVAL);
        let priorities: BTreeMap<_, _> = ours.map(|(_, advert, _)| (advert.vrid, advert.priority)).collect();
        let states = self.states();
        let role = |instance: &Instance| match states.get(&instance.name)?.as_str() {
            "MASTER" => priorities.get(&instance.vrid).copied().map(Role::Master),
            "BACKUP" => Some(Role::Backup),
            "FAULT" => Some(Role::Fault),
            _ => None,
        };
        instances.iter().map(role).collect()
    }

    pub(super) fn outcome(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let macs = BTreeMap::from(["eth0", "eth1"].map(|name| (name, self.router.mac(name))));
        for (interface, advert, _) in self.adverts() {
            if advert.source_mac != RIVAL {
                let line = self.alike(&described(&advert, macs[interface]));
                outcome.wire.entry(advert.vrid).or_default().push(line);
            }
        }
        let now = self.machine();
        outcome.machine.extend(now.difference(&self.before).map(|line| format!("+ {line}")));
        outcome.machine.extend(self.before.difference(&now).map(|line| format!("- {line}")));
        for call in self.notify.runs() {
            let tag = call.split(' ').next().unwrap_or_default().to_owned();
            outcome.calls.entry(tag).or_default().push(call);
        }
        for line in self.fifo.as_mut().map(Fifo::lines).unwrap_or_default() {
            let about = line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
            outcome.fifo.entry(about).or_default().push(line);
        }
        outcome
    }

    /// The state of each running instance.
    fn states(&self) -> BTreeMap<String, String> {
        match &self.daemon {
            Some(Daemon::Keepalived(keepalived)) if keepalived.is_running() => keepalived.states(),
            Some(Daemon::Vrrpd(vrrpd)) if vrrpd.is_running() => {
                let text = |state: &serde_json::Value, key: &str| Some(state[key].as_str()?.to_owned());
                let states = vrrpd.states();
                let named = states
                    .iter()
                    .filter_map(|state| Some((text(state, "name")?, text(state, "state")?.to_uppercase())));
                named.collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// Addresses, routes and rules, without differences between machines or daemons with the same configuration.
    fn machine(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for what in [
            "-oneline addr show",
            "-4 route show table all",
            "-6 route show table all",
            "-4 rule show",
            "-6 rule show",
        ] {
            for line in self.router.ip(what).lines() {
                let line = self.alike(line);
                // The index of an interface.
                let line = if what.contains("addr") {
                    line.split_once(": ").map_or("", |line| line.1)
                } else {
                    &line
                };
                let words: Vec<_> = line.split_whitespace().filter(|word| *word != "\\").collect();
                lines.insert(words.join(" ").replace("proto keepalived", "proto 112"));
            }
        }
        lines
    }

    /// Number of frames in each burst that announced the address, and the time of the last one.
    pub(super) fn bursts(&self, address: IpAddr) -> (Vec<usize>, Option<Instant>) {
        let (mut bursts, mut last) = (Vec::new(), None);
        for (_, capture) in &self.captures {
            for (at, _) in capture.announcements().into_iter().filter(|(_, announced)| *announced == address)
            {
                match (last.replace(at), bursts.last_mut()) {
                    (Some(before), Some(count)) if at < before + BURST => *count += 1,
                    _ => bursts.push(1),
                }
            }
        }
        (bursts, last)
    }

    /// A text with everything replaced that is specific to this machine.
    fn alike(&self, text: &str) -> String {
        self.own.iter().fold(text.to_owned(), |text, (own, word)| text.replace(own, word))
    }
}
