//! The same keepalived.conf run by keepalived and, imported, by vrrpd, on equal machines, through the same story.
//!
//! Each of the two has a network of its own with the same addresses. Every step happens on both, and must end in the same:
//! addresses, routes and rules of all interfaces, calls of scripts, lines of a FIFO, and advertisements. What was
//! called and sent is compared from the start, so nothing in between goes unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

use tempfile::TempDir;

use crate::keepalived::KeepalivedBuilder;
use crate::{
    Advert, AdvertFrame, Authenticated, Capture, Host, Injector, Keepalived, Lab, ScriptLog, Vrrpd, binary,
    stretched,
};

/// How long a step may take: an election in version 2, behind a check that has to fail.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Announcements that are closer together belong together.
const BURST: Duration = Duration::from_millis(500);
/// The Ethernet address of the other router.
const RIVAL: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];
/// The password in configurations with `auth_type AH`.
const AH_KEY: &[u8] = b"geheim";

/// What an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Master, and advertises this priority.
    Master(u8),
    /// Backup
    Backup,
    /// In the state fault.
    Fault,
    /// Held back by a member of its group that is in the state fault: Backup here, fault with keepalived.
    HeldBack,
}

/// What the story needs to know of a `vrrp_instance`.
#[derive(Clone, Debug)]
struct Instance {
    name: String,
    vrid: u8,
}

/// A text, and what is put in its place before keepalived and vrrpd are compared.
type Difference = (&'static str, &'static str);

/// keepalived and vrrpd with the same configuration.
///
/// In the configuration, `%home` is a directory of both, `%notify` a script that writes down its arguments, and
/// `%fifo` a FIFO that is read.
#[derive(Debug)]
pub struct Twins {
    sides: [Side; 2],
    instances: Vec<Instance>,
    home: TempDir,
    service: Option<Service>,
    /// What is no difference, and whether it was seen.
    differences: Vec<(Difference, bool)>,
}

/// One of the two with its network.
#[derive(Debug)]
struct Side {
    daemon: Option<Daemon>,
    lab: Lab,
    router: Host,
    peer: Host,
    notify: ScriptLog,
    home: TempDir,
    fifo: Option<Fifo>,
    /// Of both networks, on the other machine.
    captures: [(&'static str, Capture); 2],
    rival: Option<Rival>,
    /// What differs between two machines, and what stands for it.
    own: Vec<(String, &'static str)>,
    /// The machine before the start.
    before: BTreeSet<String>,
}

#[derive(Debug)]
enum Daemon {
    Keepalived(Keepalived),
    Vrrpd(Vrrpd),
}

/// A process that can be tracked.
#[derive(Debug)]
struct Service(Child);

/// A FIFO and what was read from it.
#[derive(Debug)]
struct Fifo {
    file: fs::File,
    read: String,
}

/// Another router, as its advertisements.
#[derive(Debug)]
struct Rival {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// All that a step is judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// What has come (+) and gone (-) since before the start.
    machine: BTreeSet<String>,
    /// Calls of the script, by its first argument.
    calls: BTreeMap<String, Vec<String>>,
    /// Lines of the FIFO, by what they are about.
    fifo: BTreeMap<String, Vec<String>>,
    /// Advertisements of each router.
    wire: BTreeMap<u8, Vec<String>>,
}

impl Twins {
    /// Starts both with this configuration, and waits until the instances have these roles.
    #[track_caller]
    pub fn start(configuration: &str, roles: &[Role]) -> Self {
        Self::start_apart_from(&[], configuration, roles)
    }

    /// The same, but these differences are no differences: the first text is replaced by the second one before keepalived and
    /// vrrpd are compared, and a line without text is left out.
    #[track_caller]
    pub fn start_apart_from(differences: &[Difference], configuration: &str, roles: &[Role]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut twins = Self {
            sides: [Side::new(), Side::new()],
            instances: instances(configuration),
            home,
            service: None,
            differences: differences.iter().map(|difference| (*difference, false)).collect(),
        };
        write_script(&twins.file("check"), &format!("test ! -e {}", twins.file("failing").display()));
        fs::write(twins.file("number"), "0\n").expect("it can be written");
        twins.service_starts();
        let [first, second] = [0, 1].map(|index| twins.sides[index].text(configuration, twins.home.path()));
        twins.sides[0].start_keepalived(&first);
        twins.sides[1].start_vrrpd(&second);
        twins.settle("start", roles);
        twins
    }

    /// Something happens on both machines.
    #[track_caller]
    pub fn after(&mut self, what: &str, roles: &[Role], event: impl Fn(&Lab, &Host)) {
        for side in &self.sides {
            event(&side.lab, &side.router);
        }
        self.settle(what, roles);
    }

    /// `%home/check` fails.
    #[track_caller]
    pub fn check_fails(&mut self, roles: &[Role]) {
        fs::write(self.file("failing"), "").expect("it can be written");
        self.settle("check fails", roles);
    }

    /// `%home/check` holds again.
    #[track_caller]
    pub fn check_holds(&mut self, roles: &[Role]) {
        fs::remove_file(self.file("failing")).expect("it is there");
        self.settle("check holds", roles);
    }

    /// `%home/number` has this text.
    #[track_caller]
    pub fn number(&mut self, text: &str, roles: &[Role]) {
        fs::write(self.file("number"), text).expect("it can be written");
        self.settle(&format!("file says {text}"), roles);
    }

    /// The process that is called as `%service` says ends.
    #[track_caller]
    pub fn service_ends(&mut self, roles: &[Role]) {
        self.service = None;
        self.settle("process ends", roles);
    }

    /// It runs again.
    #[track_caller]
    pub fn service_is_back(&mut self, roles: &[Role]) {
        self.service_starts();
        self.settle("process starts", roles);
    }

    /// The cable of an interface is pulled.
    #[track_caller]
    pub fn link_down(&mut self, interface: &str, roles: &[Role]) {
        self.after(&format!("{interface} down"), roles, |lab, router| lab.port_down_of(router, interface));
    }

    /// The cable is back.
    #[track_caller]
    pub fn link_up(&mut self, interface: &str, roles: &[Role]) {
        self.after(&format!("{interface} up"), roles, |lab, router| lab.port_up_of(router, interface));
    }

    /// Another router advertises this priority for every instance that has been Master.
    #[track_caller]
    pub fn rival(&mut self, priority: u8, roles: &[Role]) {
        for side in &mut self.sides {
            side.rival(priority);
        }
        self.settle(&format!("rival of priority {priority}"), roles);
    }

    /// The other router is gone, without a word.
    #[track_caller]
    pub fn rival_gone(&mut self, roles: &[Role]) {
        for side in &mut self.sides {
            side.rival = None;
        }
        self.settle("rival gone", roles);
    }

    /// Both announce this address in such bursts, from the start on: so many frames each time. A burst is over when there is
    /// nothing for half a second.
    #[track_caller]
    pub fn announced(&self, address: &str, wanted: &[usize]) {
        let address: IpAddr = address.parse().expect("it is an address");
        let (start, limit) = (Instant::now(), stretched(PATIENCE));
        loop {
            let found = self.sides.each_ref().map(|side| side.bursts(address));
            let is_over = |(bursts, last): &(Vec<usize>, Option<Instant>)| {
                bursts.len() > wanted.len() || last.is_some_and(|last| last.elapsed() > BURST)
            };
            if found.iter().all(|found| found.0.starts_with(wanted) && is_over(found)) {
                return;
            }
            assert!(
                start.elapsed() < limit,
                "announcements of {address}: wanted {wanted:?}, found {found:?}"
            );
            thread::sleep(POLL);
        }
    }

    /// Another router of lower priority advertises once for every instance.
    pub fn lower_advert(&self) {
        for side in &self.sides {
            side.lower_advert();
        }
    }

    /// What happens to every configuration: link down, link up beside a router of lower priority, a router of higher priority,
    /// SIGTERM.
    #[track_caller]
    pub fn usual_story(mut self, roles: &[Role]) {
        let all = |role: Role| vec![role; roles.len()];
        self.link_down("eth0", &all(Role::Fault));
        self.rival(50, &all(Role::Fault));
        self.link_up("eth0", roles);
        self.rival_gone(roles);
        self.rival(200, &all(Role::Backup));
        self.rival_gone(roles);
        self.stop();
    }

    /// SIGTERM: both resign, and nothing is left.
    #[track_caller]
    pub fn stop(mut self) {
        for side in &self.sides {
            match side.daemon.as_ref().expect("it was started") {
                Daemon::Keepalived(keepalived) => keepalived.leave(),
                Daemon::Vrrpd(vrrpd) => vrrpd.signal(crate::Signal::SIGTERM),
            }
        }
        for side in &self.sides {
            let code = match side.daemon.as_ref().expect("it was started") {
                Daemon::Keepalived(keepalived) => keepalived.wait(),
                Daemon::Vrrpd(vrrpd) => vrrpd.wait(),
            };
            assert_eq!(code, 0);
        }
        let roles = vec![None; self.instances.len()];
        let outcome = self.settle_to("SIGTERM", &roles);
        assert_eq!(outcome.machine, BTreeSet::new(), "nothing is left");
        let unseen: Vec<_> = self.differences.iter().filter(|(_, is_seen)| !is_seen).collect();
        assert!(unseen.is_empty(), "differences that there are not: {unseen:?}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn service_starts(&mut self) {
        let program = self.file(&service_name(self.home.path()));
        if !program.exists() {
            // By another process: what a child of another test has open for writing cannot be run.
            let copied = Command::new("/bin/cp").arg("/bin/sleep").arg(&program).status();
            assert!(copied.is_ok_and(|status| status.success()), "there is a sleep");
        }
        let child = Command::new(program).arg("1000").spawn().expect("it can be started");
        self.service = Some(Service(child));
    }

    #[track_caller]
    fn settle(&mut self, what: &str, roles: &[Role]) {
        let roles: Vec<_> = roles.iter().copied().map(Some).collect();
        self.settle_to(what, &roles);
    }

    /// Waits until both have these roles and are alike in everything.
    #[track_caller]
    fn settle_to(&mut self, what: &str, roles: &[Option<Role>]) -> Outcome {
        let (start, limit) = (Instant::now(), stretched(PATIENCE));
        loop {
            let found = self.sides.each_ref().map(|side| side.roles(&self.instances));
            let is_over = start.elapsed() >= limit;
            let is_one_of = |index: usize, held_back: Role| {
                found[index].iter().zip(roles).all(|(role, wanted)| match wanted {
                    Some(Role::HeldBack) => *role == Some(held_back),
                    wanted => role == wanted,
                })
            };
            let are_right = is_one_of(0, Role::Fault) && is_one_of(1, Role::Backup);
            // Looking at everything is dear.
            if are_right || is_over {
                let outcomes = self.sides.each_mut().map(Side::outcome);
                for ((known, _), is_seen) in &mut self.differences {
                    *is_seen |= outcomes.iter().flat_map(Outcome::lines).any(|line| line.contains(*known));
                }
                let known: Vec<_> = self.differences.iter().map(|(difference, _)| *difference).collect();
                let outcomes = outcomes.map(|outcome| outcome.without(&known));
                let differences = differences(&outcomes);
                if are_right && differences.is_empty() {
                    let [_, vrrpd] = outcomes;
                    return vrrpd;
                }
                assert!(!is_over, "{what}: wanted {roles:?}, found {found:?}\n{differences}");
            }
            thread::sleep(POLL);
        }
    }
}

impl Side {
    fn new() -> Self {
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
    fn text(&mut self, configuration: &str, home: &Path) -> String {
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

    fn start_keepalived(&mut self, text: &str) {
        self.daemon = Some(Daemon::Keepalived(KeepalivedBuilder::of_text(&self.router, text).start()));
    }

    /// Imports the file, of which nothing may be left out, and starts what it becomes.
    fn start_vrrpd(&mut self, text: &str) {
        let file = self.home.path().join("keepalived.conf");
        fs::write(&file, text).expect("it can be written");
        let imported = self.router.run(binary("vrrpd"), ["--import".as_ref(), file.as_os_str()]);
        assert!(imported.success(), "vrrpd --import ends with {}: {}", imported.code, imported.stderr);
        self.daemon = Some(Daemon::Vrrpd(Vrrpd::on(&self.router).config(&imported.stdout).start()));
    }

    /// The advertisements of this router or of its rivals up to now, with the interface, and the sequence number of those
    /// with an Authentication Header.
    fn adverts(&self) -> Vec<(&'static str, Advert, Option<u32>)> {
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
    fn roles(&self, instances: &[Instance]) -> Vec<Option<Role>> {
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

    fn outcome(&mut self) -> Outcome {
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

    /// The state of each instance that runs.
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

    /// Addresses, routes and rules, without what differs between two machines or two daemons of the same configuration.
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

    /// Has another router advertise what this one has advertised, with another priority.
    fn rival(&mut self, priority: u8) {
        let last: BTreeMap<_, _> = self
            .adverts()
            .into_iter()
            .map(|(interface, advert, sequence)| (advert.vrid, (interface, advert, sequence)))
            .collect();
        let mut spoken = Vec::new();
        for (interface, advert, sequence) in last.into_values() {
            let frame = self.reply(interface, &advert, priority);
            let injector = Injector::on_interface(&self.peer, interface);
            spoken.push(Spoken { injector, frame, sequence, interval: advert.interval });
        }
        self.rival = Some(Rival::start(spoken));
    }

    /// Has another router advertise once with a low priority.
    fn lower_advert(&self) {
        let last: BTreeMap<_, _> = self
            .adverts()
            .into_iter()
            .map(|(interface, advert, _)| (advert.vrid, (interface, advert)))
            .collect();
        for (interface, advert) in last.into_values() {
            Injector::on_interface(&self.peer, interface).send(&self.reply(interface, &advert, 1).build());
        }
    }

    /// How many frames announced the address each time, and when the last one did.
    fn bursts(&self, address: IpAddr) -> (Vec<usize>, Option<Instant>) {
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

    /// A text in which nothing differs because it is this machine.
    fn alike(&self, text: &str) -> String {
        self.own.iter().fold(text.to_owned(), |text, (own, word)| text.replace(own, word))
    }

    /// The same advertisement of another router.
    fn reply(&self, interface: &str, advert: &Advert, priority: u8) -> AdvertFrame {
        let source = match advert.source {
            IpAddr::V4(_) => IpAddr::from(self.peer.ipv4_of(interface)),
            IpAddr::V6(_) => self.peer.link_local(interface).into(),
        };
        let mut frame = AdvertFrame::v3(source, advert.vrid, priority, advert.interval, &advert.addresses);
        if advert.version == 2 {
            let seconds = u8::try_from(advert.interval.as_secs()).expect("it was read as an octet");
            frame.version = 2;
            frame.interval = [advert.auth_type, seconds];
            frame.auth_data = advert.auth_data;
        }
        frame.source_mac = RIVAL;
        if advert.destination.is_multicast() {
            frame.destination = Some(advert.destination);
            frame.destination_mac = Some(advert.destination_mac);
        } else {
            frame.destination = Some(advert.source);
            frame.destination_mac = Some(self.router.mac(interface));
        }
        frame
    }
}

impl Outcome {
    fn lines(&self) -> impl Iterator<Item = &String> {
        let lists = self.calls.values().chain(self.fifo.values()).chain(self.wire.values());
        self.machine.iter().chain(lists.flatten())
    }

    /// Without these differences. One line is left of several in a row that are the same, of advertisements and where a
    /// difference made them the same.
    fn without(self, differences: &[Difference]) -> Self {
        let alike = |line: &str| {
            differences.iter().fold(line.to_owned(), |line, (known, word)| line.replace(known, word))
        };
        let list = |lines: Vec<String>, repeats: bool| {
            let mut kept: Vec<(String, bool)> = Vec::new();
            for line in lines {
                let now = alike(&line);
                let is_changed = now != line;
                let repeated = kept
                    .last_mut()
                    .filter(|(last, was_changed)| *last == now && (is_changed || *was_changed || !repeats));
                match repeated {
                    Some((_, was_changed)) => *was_changed |= is_changed,
                    None if now.is_empty() => {}
                    None => kept.push((now, is_changed)),
                }
            }
            kept.into_iter().map(|(line, _)| line).collect::<Vec<_>>()
        };
        let lists = |lists: BTreeMap<String, Vec<String>>| {
            let lists = lists.into_iter().map(|(name, lines)| (name, list(lines, true)));
            lists.filter(|(_, lines)| !lines.is_empty()).collect()
        };
        Self {
            machine: self.machine.iter().map(|line| alike(line)).filter(|line| !line.is_empty()).collect(),
            calls: lists(self.calls),
            fifo: lists(self.fifo),
            wire: self.wire.into_iter().map(|(vrid, lines)| (vrid, list(lines, false))).collect(),
        }
    }
}

/// What a rival sends.
#[derive(Debug)]
struct Spoken {
    injector: Injector,
    frame: AdvertFrame,
    /// The last sequence number, with an Authentication Header: those of all routers go on from another.
    sequence: Option<u32>,
    interval: Duration,
}

impl Rival {
    fn start(mut spoken: Vec<Spoken>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let interval = spoken.iter().map(|spoken| spoken.interval).min().expect("there were advertisements");
        let thread = thread::spawn(move || {
            let mut next = Instant::now();
            while !end.load(Ordering::Relaxed) {
                if Instant::now() < next {
                    thread::sleep(POLL);
                    continue;
                }
                next += interval;
                for Spoken { injector, frame, sequence, .. } in &mut spoken {
                    injector.send(&match sequence {
                        Some(sequence) => {
                            *sequence += 1;
                            frame.clone().build_authenticated(AH_KEY, *sequence)
                        }
                        None => frame.build(),
                    });
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked; saying so from a destructor would hide what the test says.
            drop(thread.join());
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Fifo {
    fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("it can be made");
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("it can be read");
        Self { file, read: String::new() }
    }

    /// The lines up to now.
    fn lines(&mut self) -> Vec<String> {
        match self.file.read_to_string(&mut self.read) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("the FIFO cannot be read: {error}"),
        }
        self.read.lines().map(str::to_owned).collect()
    }
}

/// The instances of a configuration.
fn instances(configuration: &str) -> Vec<Instance> {
    let mut instances = Vec::new();
    for line in configuration.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("vrrp_instance"), Some(name)) => {
                instances.push(Instance { name: name.to_owned(), vrid: 0 });
            }
            (Some("virtual_router_id"), Some(vrid)) => {
                let instance = instances.last_mut().expect("it stands in an instance");
                instance.vrid = vrid.parse().expect("it is a VRID");
            }
            _ => {}
        }
    }
    instances
}

/// What an advertisement says, and how it is sent. `mac` is that of the interface.
fn described(advert: &Advert, mac: [u8; 6]) -> String {
    let from =
        if advert.source_mac == mac { "interface".to_owned() } else { format!("{:02x?}", advert.source_mac) };
    format!(
        "priority {} v{} interval {:?} auth {} {:?} addresses {:?} from {from} {} to {} ttl {} class {:#x} sum {}",
        advert.priority,
        advert.version,
        advert.interval,
        advert.auth_type,
        advert.auth_data,
        advert.addresses,
        advert.source,
        advert.destination,
        advert.ttl,
        advert.traffic_class,
        advert.checksum_is_right
    )
}

/// The name of the process that is tracked: that of the directory, of at most 15 characters.
fn service_name(home: &Path) -> String {
    home.file_name().expect("it has a name").to_string_lossy().replace('.', "")
}

/// Has another process write it: a file that is open for writing in a child of another test cannot be run.
fn write_script(path: &Path, commands: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" >"$0""#]).arg(path).arg(commands);
    assert!(shell.status().is_ok_and(|status| status.success()), "the script can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn differences([keepalived, vrrpd]: &[Outcome; 2]) -> String {
    let mut text = String::new();
    if keepalived.machine != vrrpd.machine {
        compare("machine", &keepalived.machine, &vrrpd.machine, &mut text);
    }
    if keepalived.calls != vrrpd.calls {
        compare("calls", &keepalived.calls, &vrrpd.calls, &mut text);
    }
    if keepalived.fifo != vrrpd.fifo {
        compare("FIFO", &keepalived.fifo, &vrrpd.fifo, &mut text);
    }
    if keepalived.wire != vrrpd.wire {
        compare("advertisements", &keepalived.wire, &vrrpd.wire, &mut text);
    }
    text
}

fn compare(what: &str, keepalived: &dyn fmt::Debug, vrrpd: &dyn fmt::Debug, text: &mut String) {
    writeln!(text, "{what} of keepalived: {keepalived:#?}\n{what} of vrrpd: {vrrpd:#?}")
        .expect("writing to a string works");
}
