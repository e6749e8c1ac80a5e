//! Runs the same keepalived.conf with keepalived and, imported, with vrrpd, on equal machines, through the same steps.
//!
//! Each of the two has its own network with the same addresses. Every step happens on both, and must have the same
//! result: addresses, routes and rules of all interfaces, script calls, FIFO lines, and advertisements. Calls and
//! advertisements are compared from the start, so that everything in between counts.

mod files;
mod outcome;
mod rival;
mod side;

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use files::{Service, write_script};
use outcome::{Outcome, differences};
use side::{Daemon, Side};
use tempfile::TempDir;

use crate::{Host, Lab, stretched};

/// Maximum duration of a step: an election in version 2, after a check has to fail.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Announcements closer together than this form a burst.
const BURST: Duration = Duration::from_millis(500);
/// The password in configurations with `auth_type AH`.
const AH_KEY: &[u8] = b"geheim";

/// The role of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Master that advertises this priority.
    Master(u8),
    /// Backup.
    Backup,
    /// In state fault.
    Fault,
    /// Held back by a group member in state fault: Backup in vrrpd, fault in keepalived.
    HeldBack,
}

/// The properties of a `vrrp_instance` that the steps need.
#[derive(Clone, Debug)]
struct Instance {
    name: String,
    vrid: u8,
}

/// A text, and its replacement before keepalived and vrrpd are compared.
type Difference = (&'static str, &'static str);

/// keepalived and vrrpd with the same configuration.
///
/// In the configuration, `%home` is a directory of both, `%notify` a script that records its arguments, and `%fifo` a
/// FIFO with a reader.
#[derive(Debug)]
pub struct Twins {
    sides: [Side; 2],
    instances: Vec<Instance>,
    home: TempDir,
    service: Option<Service>,
    /// Accepted differences, and whether they occurred.
    differences: Vec<(Difference, bool)>,
}

impl Twins {
    /// Starts both with this configuration, and waits until the instances have these roles.
    #[track_caller]
    pub fn start(configuration: &str, roles: &[Role]) -> Self {
        Self::start_apart_from(&[], configuration, roles)
    }

    /// The same with accepted differences: the first text is replaced by the second one before keepalived and vrrpd are
    /// compared, and empty lines are left out.
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

    /// An event on both machines.
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

    /// The process named by `%service` ends.
    #[track_caller]
    pub fn service_ends(&mut self, roles: &[Role]) {
        self.service = None;
        self.settle("process ends", roles);
    }

    /// The process runs again.
    #[track_caller]
    pub fn service_is_back(&mut self, roles: &[Role]) {
        self.service_starts();
        self.settle("process starts", roles);
    }

    /// The link of an interface goes down.
    #[track_caller]
    pub fn link_down(&mut self, interface: &str, roles: &[Role]) {
        self.after(&format!("{interface} down"), roles, |lab, router| lab.port_down_of(router, interface));
    }

    /// The link goes up.
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

    /// The other router disappears silently.
    #[track_caller]
    pub fn rival_gone(&mut self, roles: &[Role]) {
        for side in &mut self.sides {
            side.rival = None;
        }
        self.settle("rival gone", roles);
    }

    /// On both, these addresses answer a ping from another machine, and those do not.
    #[track_caller]
    pub fn answer(&self, answering: &[&str], silent: &[&str]) {
        for (side, daemon) in self.sides.iter().zip(["keepalived", "vrrpd"]) {
            let answers = |address: &&&str| side.peer.can_ping(address);
            let found: Vec<_> = answering.iter().chain(silent).filter(answers).copied().collect();
            assert_eq!(found, answering, "what {daemon} answers for, of {answering:?} and {silent:?}");
        }
    }

    /// Both have announced this address since the start in bursts of these numbers of frames. A burst ends with a pause
    /// of half a second.
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

    /// Another router with a lower priority advertises once for every instance.
    pub fn lower_advert(&self) {
        for side in &self.sides {
            side.lower_advert();
        }
    }

    /// The steps for every configuration: link down, link up beside a router of lower priority, a router of higher
    /// priority, SIGTERM.
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

    /// SIGTERM: both resign, and leave nothing behind.
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
        self.service = Some(Service::start(self.home.path()));
    }

    #[track_caller]
    fn settle(&mut self, what: &str, roles: &[Role]) {
        let roles: Vec<_> = roles.iter().copied().map(Some).collect();
        self.settle_to(what, &roles);
    }

    /// Waits until both have these roles and equal results.
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
            // Comparing everything is expensive.
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
