//! A machine with other programs, and a router whose daemon may be killed at any time: checks what is left in the end.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use vrrpd_common::MacAddr;

use super::*;
use crate::config::{RouterConfig, VirtualAddress, VmacMode};
use crate::held_address::AddressOptions;
use crate::interface::{Interface, InterfaceAddress, OtherInterfaces};

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
const VMAC: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 51]);
const LINK: u32 = 90;
const ROUTER: &str = "eth0/51";

fn address(text: &str) -> VirtualAddress {
    text.parse().expect("an address")
}

fn virtual_addresses() -> Vec<VirtualAddress> {
    ["10.0.0.100/24", "10.0.0.101/24", "10.9.0.1/32"].map(address).to_vec()
}

fn config() -> RouterConfig {
    RouterConfig { addresses: virtual_addresses(), ..crate::config::tests::router("10.0.0.100") }
}

fn eth0(index: u32) -> Interface {
    let own = InterfaceAddress { address: ip("10.0.0.1"), prefix_len: 24, ours: false, tentative: false };
    Interface { index, mac: Some(OWN), ..crate::interface::tests::eth0(vec![own]) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const fn error(cause: Cause) -> SystemError {
    SystemError { cause, text: String::new() }
}

/// A kernel.
#[derive(Clone, Debug)]
struct Machine {
    interfaces: Vec<Interface>,
    /// Whether it stores our mark with addresses.
    marks: bool,
    /// The addresses that we have added, by interface index.
    ours: BTreeSet<(u32, IpAddr)>,
}

impl Machine {
    fn new(marks: bool) -> Self {
        Self { interfaces: vec![eth0(2)], marks, ours: BTreeSet::new() }
    }

    fn interface(&mut self, index: u32) -> Result<&mut Interface, SystemError> {
        let found = self.interfaces.iter_mut().find(|interface| interface.index == index);
        found.ok_or_else(|| error(Cause::NoInterface))
    }

    fn eth0(&self) -> &Interface {
        self.interfaces.iter().find(|interface| interface.name == "eth0").expect("is there")
    }

    fn add(&mut self, index: u32, address: VirtualAddress, by_us: bool) -> Result<(), SystemError> {
        let ours = by_us && self.marks;
        let interface = self.interface(index)?;
        if interface.address(address.address).is_some() {
            return Err(error(Cause::Exists));
        }
        let VirtualAddress { address, prefix_len } = address;
        interface.addresses.push(InterfaceAddress { address, prefix_len, ours, tentative: false });
        if by_us {
            self.ours.insert((index, address));
        }
        Ok(())
    }

    fn remove(&mut self, index: u32, address: VirtualAddress) -> Result<(), SystemError> {
        let interface = self.interface(index)?;
        let before = interface.addresses.len();
        interface.addresses.retain(|there| there.address != address.address);
        if interface.addresses.len() == before {
            return Err(error(Cause::Absent));
        }
        self.ours.remove(&(index, address.address));
        Ok(())
    }

    fn perform(&mut self, order: &Order) -> Outcome {
        let mut outcome = Outcome::default();
        match order {
            Order::Prepare(link) => {
                outcome.results.push(Ok(()));
                outcome.made = Some(self.make(link));
            }
            Order::Take { resources, .. } => {
                for resource in resources {
                    let result = match resource {
                        Resource::Mac(taken) => {
                            self.interface(taken.index).map(|interface| interface.mac = Some(taken.vmac))
                        }
                        Resource::Link(link) => {
                            if self.interface(LINK).is_err() {
                                outcome.made = Some(self.make(link));
                            }
                            outcome.link = Some(LINK);
                            Ok(())
                        }
                        Resource::Answers(_)
                        | Resource::Filter(_)
                        | Resource::Route(_)
                        | Resource::Rule(_) => Ok(()),
                        Resource::Address(placed) => {
                            self.add(placed.on.number(outcome.link), placed.address, true)
                        }
                    };
                    outcome.results.push(result);
                }
            }
            Order::Release(resources) => {
                for resource in resources {
                    let result = match resource {
                        Resource::Mac(taken) => {
                            self.interface(taken.index).map(|interface| interface.mac = Some(taken.own))
                        }
                        Resource::Link(_)
                        | Resource::Answers(_)
                        | Resource::Filter(_)
                        | Resource::Route(_)
                        | Resource::Rule(_) => Ok(()),
                        Resource::Address(placed) => self.remove(placed.on.number(None), placed.address),
                    };
                    outcome.results.push(result);
                }
            }
            Order::Discard(index) => {
                self.interfaces.retain(|interface| interface.index != *index);
                self.ours.retain(|(on, _)| on != index);
                outcome.results.push(Ok(()));
            }
        }
        outcome
    }

    fn make(&mut self, link: &Macvlan) -> Made {
        let vmac_of = Some(link.router.clone());
        let (mac, below) = (Some(link.mac), Some(link.parent));
        let name = link.name.clone();
        let addresses = Vec::new();
        let made = Interface { name, mac, vmac_of, below, addresses, ..eth0(LINK) };
        self.interfaces.push(made);
        Made { index: LINK, name: link.name.clone(), settings: "arp_ignore=0".into() }
    }

    /// Undoes what a dead daemon has left behind; returns the number of leftovers.
    fn undo(&mut self, journal: &Journal) -> usize {
        let not_noted = |found: &Leftover| matches!(found, Leftover::Link { noted: false, .. });
        let undo = Undo::plan(journal, &self.interfaces, self.marks, not_noted);
        for order in &undo.orders {
            let outcome = self.perform(order);
            assert_eq!(outcome.failure(), None, "{order:?}");
        }
        undo.orders.len()
    }
}

/// How the virtual MAC address is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    Interface,
    Macvlan,
}

/// A router of a daemon, driven as in `vrrpd`.
#[derive(Debug)]
struct Router {
    mode: Mode,
    ledger: Ledger,
}

impl Router {
    /// Starts a daemon, which finds what the one before has left.
    fn start(mode: Mode, machine: &mut Machine, journal: &Journal) -> Self {
        let mut router = Self { mode, ledger: Ledger::default() };
        let eth0 = machine.eth0().clone();
        router.ledger.adopt(&config(), &eth0, machine.marks, journal);
        let vmac_mode = VmacMode::Interface;
        if let LeftMac::Ours { mac, own } = LeftMac::on(&eth0, VMAC, vmac_mode, journal) {
            router.ledger.adopt_mac(OwnMac::of(&eth0, own, mac));
        }
        let ours = |found: &Leftover| match found {
            Leftover::Address { .. } | Leftover::Mac { .. } => true,
            Leftover::Link { .. } => mode == Mode::Macvlan,
        };
        for order in Undo::plan(journal, &machine.interfaces, machine.marks, ours).orders {
            machine.perform(&order);
        }
        router.give_up(machine);
        if mode == Mode::Macvlan {
            machine.interfaces.retain(|interface| interface.vmac_of.is_none());
            let link = router.macvlan(machine);
            let parent = link.parent;
            let outcome = machine.perform(&Order::Prepare(Box::new(link)));
            router.ledger.prepared(outcome.made.expect("was made"), parent);
        }
        router
    }

    fn macvlan(&self, machine: &Machine) -> Macvlan {
        Macvlan {
            router: ROUTER.into(),
            family: vrrpd_common::Family::Ipv4,
            name: "vrrp4.51".into(),
            mac: VMAC,
            owned: Vec::new(),
            parent: machine.eth0().index,
            parent_name: "eth0".into(),
            vrf: None,
            obstacle: None,
            settings: None,
            made: self.ledger.made().cloned(),
        }
    }

    /// The journal that the daemon writes before a change.
    fn journal(&self, machine: &Machine) -> Journal {
        let interface = || "eth0".to_owned();
        let held: Vec<_> = self.ledger.addresses().map(|placed| placed.address).collect();
        let missing = self.ledger.missing(&virtual_addresses(), Some(machine.eth0()));
        let mut records: Vec<_> = held
            .into_iter()
            .chain(missing)
            .map(|address| Record::Address { interface: interface(), address, peer: None })
            .collect();
        match self.mode {
            Mode::None => {}
            Mode::Interface => records.push(Record::Mac { interface: interface(), own: OWN }),
            Mode::Macvlan => records.push(Record::Link { interface: interface(), router: ROUTER.into() }),
        }
        let journal: Journal = records.into_iter().collect();
        // As read from a file.
        Journal::parse(&journal.to_string())
    }

    /// Takes what is missing according to `seen`, the daemon's view of the interface.
    fn take(&mut self, machine: &mut Machine, seen: &Interface) {
        let mut resources = Vec::new();
        let on = match self.mode {
            Mode::Interface => {
                resources.push(Resource::Mac(Box::new(OwnMac::of(seen, OWN, VMAC))));
                Place::Interface(seen.index)
            }
            Mode::Macvlan => {
                resources.push(Resource::Link(Box::new(self.macvlan(machine))));
                Place::Link { below: seen.index }
            }
            Mode::None => Place::Interface(seen.index),
        };
        let missing = self.ledger.missing(&virtual_addresses(), Some(seen));
        let placed = |address| PlacedAddress { on, address, route: true, options: AddressOptions::default() };
        resources.extend(missing.into_iter().map(|address| Resource::Address(placed(address))));
        let outcome = machine.perform(&Order::Take { resources: resources.clone(), or_without: false });
        if let Some(made) = outcome.made.clone() {
            self.ledger.prepared(made, seen.index);
        }
        self.ledger.took(resources, outcome, Some(machine.eth0()), &OtherInterfaces::new(), machine.marks);
    }

    fn give_up(&mut self, machine: &mut Machine) {
        let resources =
            self.ledger.to_give_back(Some(machine.eth0()), &OtherInterfaces::new(), machine.marks);
        let outcome = machine.perform(&Order::Release(resources.clone()));
        for (resource, result) in resources.iter().zip(&outcome.results) {
            self.ledger.gave_back(resource, result);
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Take,
    /// Take with a view from before the last change by others.
    TakeLate,
    GiveUp,
    OthersRemove(usize),
    OthersAdd(usize),
    /// The interface is deleted and created again, with the router as Master or not.
    Anew,
    /// Both processes are killed, and a new daemon is started.
    KillBoth,
    /// The daemon is killed, its guardian undoes everything, and a new daemon is started.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Take),
        1 => Just(Step::TakeLate),
        2 => Just(Step::GiveUp),
        2 => (0..3_usize).prop_map(Step::OthersRemove),
        2 => (0..3_usize).prop_map(Step::OthersAdd),
        1 => Just(Step::Anew),
        1 => Just(Step::KillBoth),
        1 => Just(Step::Kill),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::None), Just(Mode::Interface), Just(Mode::Macvlan)]
}

/// Runs a sequence of steps. The machine returned tells which addresses of others are missing though they did not
/// remove them, and which of ours are left.
fn tell(mode: Mode, steps: &[Step], others_meddle: bool, marks: bool) -> Machine {
    let mut machine = Machine::new(marks);
    let mut theirs = BTreeSet::from([ip("10.0.0.1")]);
    let mut router = Router::start(mode, &mut machine, &Journal::default());
    let mut journal = router.journal(&machine);
    let mut seen = machine.eth0().clone();
    let mut number = 2;
    for step in steps {
        let late = std::mem::replace(&mut seen, machine.eth0().clone());
        match *step {
            Step::Take => router.take(&mut machine, &seen.clone()),
            Step::TakeLate => {
                if machine.interface(late.index).is_ok() {
                    router.take(&mut machine, &late);
                }
            }
            Step::GiveUp => router.give_up(&mut machine),
            Step::OthersRemove(which) if others_meddle => {
                let address = virtual_addresses()[which];
                for index in [number, LINK] {
                    if machine.remove(index, address).is_ok() {
                        router.ledger.lose(address.address);
                        if index == number {
                            theirs.remove(&address.address);
                        }
                        if !router.ledger.has(&address) {
                            journal = router.journal(&machine);
                        }
                    }
                }
            }
            Step::OthersAdd(which) if others_meddle => {
                let address = virtual_addresses()[which];
                if machine.add(number, address, false).is_ok() {
                    theirs.insert(address.address);
                }
            }
            Step::OthersRemove(_) | Step::OthersAdd(_) => {}
            Step::Anew => {
                machine.interfaces.clear();
                machine.ours.clear();
                number += 1;
                machine.interfaces.push(eth0(number));
                theirs = BTreeSet::from([ip("10.0.0.1")]);
                router.ledger.link_gone();
                router.give_up(&mut machine);
                journal = router.journal(&machine);
            }
            Step::Kill => {
                machine.undo(&journal);
                assert_eq!(machine.ours, BTreeSet::new(), "the journal has everything");
                assert_eq!((machine.eth0().mac, machine.interfaces.len()), (Some(OWN), 1));
                assert_eq!(machine.undo(&journal), 0, "undoing twice is undoing once");
                router = Router::start(mode, &mut machine, &Journal::default());
                journal = router.journal(&machine);
            }
            Step::KillBoth => {
                router = Router::start(mode, &mut machine, &journal);
                journal = router.journal(&machine);
            }
        }
        let there: BTreeSet<_> = machine.eth0().addresses.iter().map(|there| there.address).collect();
        assert!(theirs.is_subset(&there), "{step:?}: of others {theirs:?}, there is {there:?}");
    }
    router.give_up(&mut machine);
    if let Some(link) = router.ledger.link() {
        machine.perform(&Order::Discard(link));
        router.ledger.link_discarded();
    }
    assert!(router.ledger.is_empty());
    assert_eq!(machine.ours, BTreeSet::new(), "addresses of ours are left");
    assert_eq!(machine.eth0().mac, Some(OWN));
    assert_eq!(machine.interfaces.len(), 1, "a link of ours is left");
    let there: BTreeSet<_> = machine.eth0().addresses.iter().map(|there| there.address).collect();
    assert_eq!(there, theirs);
    machine
}

proptest! {
    #[test]
    fn nothing_of_others_is_removed_and_nothing_of_ours_is_forgotten(
        mode in mode(),
        steps in proptest::collection::vec(step(), 0..24),
    ) {
        tell(mode, &steps, true, true);
    }

    #[test]
    fn where_the_kernel_keeps_no_marks_nothing_of_ours_is_forgotten_either(
        mode in mode(),
        steps in proptest::collection::vec(step(), 0..24),
    ) {
        tell(mode, &steps, false, false);
    }

    #[test]
    fn a_ledger_is_the_same_after_it_was_sent_to_another_process(
        mode in mode(),
        takes in proptest::collection::vec(any::<bool>(), 0..4),
    ) {
        let mut machine = Machine::new(true);
        let mut router = Router::start(mode, &mut machine, &Journal::default());
        for take in takes {
            let seen = machine.eth0().clone();
            if take { router.take(&mut machine, &seen) } else { router.give_up(&mut machine) }
        }
        let text = serde_json::to_string(&router.ledger).expect("is data");
        prop_assert_eq!(serde_json::from_str::<Ledger>(&text).expect("is data"), router.ledger);
    }
}

fn master(mode: Mode) -> (Machine, Router) {
    let mut machine = Machine::new(true);
    let mut router = Router::start(mode, &mut machine, &Journal::default());
    let seen = machine.eth0().clone();
    router.take(&mut machine, &seen);
    (machine, router)
}

#[test]
fn a_master_holds_the_virtual_mac_address_and_its_addresses() {
    for mode in [Mode::None, Mode::Interface, Mode::Macvlan] {
        let (machine, router) = master(mode);
        let held: Vec<_> = router.ledger.addresses().map(|placed| placed.address).collect();
        assert_eq!(held, virtual_addresses(), "{mode:?}");
        let place = if mode == Mode::Macvlan { LINK } else { 2 };
        assert!(router.ledger.addresses().all(|placed| placed.on == Place::Interface(place)));
        assert_eq!(machine.ours.len(), 3);
        assert_eq!(router.ledger.own_mac().is_some(), mode == Mode::Interface);
        assert_eq!(router.ledger.link_in_force().is_some(), mode == Mode::Macvlan);
        assert_eq!(router.ledger.vmac().is_some(), mode != Mode::None);
    }
}

#[test]
fn an_address_that_was_there_before_is_neither_taken_nor_given_back() {
    let mut machine = Machine::new(true);
    machine.add(2, virtual_addresses()[0], false).expect("is free");
    let mut router = Router::start(Mode::None, &mut machine, &Journal::default());
    let seen = machine.eth0().clone();
    router.take(&mut machine, &seen);
    assert!(!router.ledger.has(&virtual_addresses()[0]));
    router.give_up(&mut machine);
    assert!(machine.eth0().address(ip("10.0.0.100")).is_some());
    assert!(router.journal(&machine).addresses_on("eth0").all(|noted| noted != virtual_addresses()[0]));
}

#[test]
fn an_address_that_is_lost_is_missing_and_still_to_be_given_back() {
    let (mut machine, mut router) = master(Mode::None);
    let lost = virtual_addresses()[1];
    machine.remove(2, lost).expect("is there");
    assert_eq!(router.ledger.lose(lost.address), Some(lost));
    assert_eq!(router.ledger.lose(lost.address), None, "that is known");
    assert_eq!(router.ledger.missing(&virtual_addresses(), Some(machine.eth0())), [lost]);
    assert!(router.ledger.has(&lost));
    assert_eq!(router.ledger.lose(ip("10.0.0.1")), None, "it was not taken");
}

#[test]
fn resources_that_cannot_be_given_back_stay_in_the_ledger() {
    let (_, mut router) = master(Mode::Interface);
    let resources = router.ledger.to_give_back(None, &OtherInterfaces::new(), true);
    for resource in &resources {
        router.ledger.gave_back(resource, &Err(error(Cause::Other)));
    }
    assert_eq!(router.ledger.to_give_back(None, &OtherInterfaces::new(), true), resources);
    for resource in &resources {
        router.ledger.gave_back(resource, &Err(error(Cause::NoInterface)));
    }
    assert!(router.ledger.is_empty());
}

#[test]
fn a_refusal_names_the_refused_resource() {
    let mut router = Ledger::default();
    let options = AddressOptions::default();
    let placed =
        PlacedAddress { on: Place::Interface(2), address: virtual_addresses()[0], route: true, options };
    let mac = Resource::Mac(Box::new(OwnMac::of(&eth0(2), OWN, VMAC)));
    let resources = vec![mac, Resource::Address(placed)];
    let results = vec![Err(error(Cause::Unsupported)), Err(error(Cause::Other))];
    let outcome = Outcome { results, ..Outcome::default() };
    let refused = router.took(resources, outcome, None, &OtherInterfaces::new(), true);
    assert_eq!(refused.vmac, Some(error(Cause::Unsupported)));
    assert_eq!(refused.addresses, [(virtual_addresses()[0], error(Cause::Other))]);
    assert!(refused.is_decisive(true));
    let vmac = |cause| Refused { vmac: Some(error(cause)), ..Refused::default() };
    assert!(!vmac(Cause::Unsupported).is_decisive(true));
    assert!(vmac(Cause::Unsupported).is_decisive(false));
    assert!(vmac(Cause::NoInterface).is_decisive(true));
    assert!(router.is_empty());
}

#[test]
fn the_own_mac_address_of_an_interface_is_found_out_or_the_router_is_refused() {
    let mut there = eth0(2);
    let journal = Journal::parse("eth0 mac 02:00:00:00:00:0a\n");
    let on = |there: &Interface, mode, journal: &Journal| LeftMac::on(there, VMAC, mode, journal);
    let nothing = Journal::default();
    assert_eq!(on(&there, VmacMode::Interface, &journal), LeftMac::None);
    there.mac = Some(VMAC);
    for mode in [VmacMode::Interface, VmacMode::Macvlan, VmacMode::None] {
        assert_eq!(on(&there, mode, &journal), LeftMac::Ours { mac: VMAC, own: OWN });
        assert_eq!(on(&there, mode, &nothing), LeftMac::OwnUnknown(VMAC));
    }
    there.permanent_mac = Some(MacAddr([4; 6]));
    assert_eq!(on(&there, VmacMode::None, &nothing), LeftMac::Ours { mac: VMAC, own: MacAddr([4; 6]) });
    let other = MacAddr([0, 0, 0x5e, 0, 1, 7]);
    there.mac = Some(other);
    assert_eq!(on(&there, VmacMode::Interface, &nothing), LeftMac::Taken(other));
    assert_eq!(on(&there, VmacMode::Interface, &journal), LeftMac::Ours { mac: other, own: OWN });
    assert_eq!(on(&there, VmacMode::None, &nothing), LeftMac::None);
}

#[test]
fn a_link_of_another_daemon_stays() {
    let (mut machine, router) = master(Mode::Macvlan);
    let journal = router.journal(&machine);
    let other = Interface { index: 91, name: "vrrp4.52".into(), vmac_of: Some("eth0/52".into()), ..eth0(91) };
    machine.interfaces.push(other);
    assert_eq!(machine.undo(&journal), 1);
    let names: Vec<_> = machine.interfaces.iter().map(|interface| &interface.name[..]).collect();
    assert_eq!(names, ["eth0", "vrrp4.52"]);
}

#[test]
fn where_the_kernel_keeps_no_marks_an_address_is_a_leftover_only_if_the_journal_has_it() {
    for marks in [true, false] {
        let mut machine = Machine::new(marks);
        machine.add(2, virtual_addresses()[0], false).expect("is free");
        machine.add(2, virtual_addresses()[1], true).expect("is free");
        let journal = Journal::parse("eth0 10.0.0.101/24\n");
        let left = Ledger::default().adopt(&config(), machine.eth0(), marks, &journal);
        assert_eq!(left, [virtual_addresses()[1]], "{marks}");
    }
}

#[test]
fn a_restored_address_is_given_back_once() {
    let (mut machine, mut router) = master(Mode::None);
    let lost = virtual_addresses()[1];
    machine.remove(2, lost).expect("is there");
    router.ledger.lose(lost.address);
    let seen = machine.eth0().clone();
    router.take(&mut machine, &seen);
    assert_eq!(router.ledger.missing(&virtual_addresses(), Some(machine.eth0())), []);
    assert_eq!(router.ledger.to_give_back(Some(machine.eth0()), &OtherInterfaces::new(), true).len(), 3);
}

#[test]
fn addresses_on_a_link_removed_by_others_are_gone_with_it() {
    let (_, mut router) = master(Mode::Macvlan);
    assert!(router.ledger.is_stranded(Some(&eth0(3))) && !router.ledger.is_stranded(Some(&eth0(2))));
    router.ledger.link_gone();
    assert!(router.ledger.is_empty() && router.ledger.link().is_none());
    assert!(!router.ledger.is_stranded(None), "there is nothing to remove");
    assert_eq!(router.ledger.settings_of(2), Some("arp_ignore=0"), "for the link that is made anew");
    assert_eq!(router.ledger.settings_of(3), None);
    router.ledger.link_discarded();
    assert_eq!(router.ledger.settings_of(2), None);
}

#[test]
fn a_route_that_is_refused_does_not_keep_the_router_from_being_master_and_one_that_exists_is_given_back() {
    let routes = ["192.0.2.0/24 via 10.0.0.9", "198.51.100.0/24 via 10.0.0.9", "blackhole 203.0.113.0/24"];
    let routes = routes.map(|text| Resource::Route(Box::new(text.parse().expect("a route"))));
    let mut ledger = Ledger::default();
    let results = vec![Ok(()), Err(error(Cause::Exists)), Err(error(Cause::Other))];
    let outcome = Outcome { results, ..Outcome::default() };
    let refused = ledger.took(routes.to_vec(), outcome, Some(&eth0(2)), &OtherInterfaces::new(), true);
    assert!(!refused.is_decisive(false));
    assert_eq!(refused.routing, [(routes[2].clone(), error(Cause::Other))]);
    assert_eq!(ledger.to_give_back(Some(&eth0(2)), &OtherInterfaces::new(), true), routes[..2]);
    assert!(
        ledger.gave_back(&routes[0], &Ok(())) && ledger.gave_back(&routes[1], &Err(error(Cause::Absent)))
    );
    assert!(ledger.is_empty() && !ledger.has_any_routing());
}

#[test]
fn routes_and_rules_of_the_journal_are_removed_even_without_their_interface() {
    let text = "eth0 route 192.0.2.0/24 via 10.0.0.9\neth0 rule from 10.0.0.100 table 10\n";
    let journal = Journal::parse(text);
    assert_eq!(journal.to_string(), text);
    let undo = Undo::plan(&journal, &[], true, |_| false);
    assert_eq!(undo.orders, [Order::Release(journal.routing().collect())]);
    assert_eq!(journal.routing().count(), 2);
}
