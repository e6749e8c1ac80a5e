//! Model of a machine's kernel: its interfaces and addresses. It executes the requests of [`vrrpd_engine::ledger`], and
//! sends notifications of changes.

use std::net::IpAddr;

use vrrpd_common::MacAddr;
use vrrpd_engine::config::VirtualAddress;
use vrrpd_engine::interface::{Interface, InterfaceAddress, Remover};
use vrrpd_engine::ledger::{Cause, Order, Outcome, PlacedAddress, Resource, SystemError};

/// Prefix length of every address.
pub const PREFIX_LEN: u8 = 24;
/// Index of the first LAN's interface.
const FIRST_INDEX: u32 = 2;

/// The program that added an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The administrator: an interface's own address.
    Administrator,
    /// Another program.
    Others,
    /// Our daemon in this slot of the machine.
    Daemon(usize),
}

/// A notification of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The LAN of the interface.
    pub lan: usize,
    /// The change.
    pub what: Change,
}

/// A change of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Carrier up or down.
    Carrier(bool),
    /// This address was added.
    Added(InterfaceAddress),
    /// This address was removed, by the daemon in this slot or by another program.
    Removed(InterfaceAddress, Option<usize>),
}

/// The kernel of a machine.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// By LAN.
    interfaces: Vec<Interface>,
    /// By address of an interface, in the same order.
    owners: Vec<Vec<Owner>>,
    /// By LAN: it refuses addresses.
    pub refuses: Vec<bool>,
    /// By LAN: others have removed a virtual address, which was not added again since.
    pub robbed: Vec<bool>,
    /// By LAN: the daemon that added the virtual address, if another program has removed it since.
    lost_by: Vec<Option<usize>>,
    /// It stores our mark with addresses (`IFA_PROTO`).
    pub marks: bool,
    /// A daemon has removed an address that no daemon had added: this one, on this LAN.
    pub wronged: Option<(usize, IpAddr)>,
}

/// The name of a LAN's interface.
pub fn name(lan: usize) -> String {
    format!("lan{lan}")
}

/// The index of a LAN's interface.
fn index(lan: usize) -> u32 {
    FIRST_INDEX + u32::try_from(lan).expect("few LANs")
}

/// The LAN of the interface with this index.
fn lan_of(index: u32) -> usize {
    usize::try_from(index - FIRST_INDEX).expect("few LANs")
}

impl Kernel {
    /// A kernel with interfaces that have these own addresses, and one address each of another program.
    pub fn new(own: &[IpAddr], others: &[IpAddr], marks: bool) -> Self {
        let on_interface =
            |address| InterfaceAddress { address, prefix_len: PREFIX_LEN, ours: false, tentative: false };
        let interface = |(lan, address): (usize, &IpAddr)| Interface {
            index: index(lan),
            name: name(lan),
            admin_up: true,
            carrier: true,
            mtu: 1500,
            mac: Some(MacAddr([2, 0, 0, 0, 0, u8::try_from(lan).expect("few LANs")])),
            permanent_mac: None,
            carrier_unknown: false,
            vmac_of: None,
            below: None,
            vrf: None,
            beside: Vec::new(),
            obstacle: None,
            xdp_program: None,
            addresses: vec![on_interface(*address), on_interface(others[lan])],
        };
        Self {
            interfaces: own.iter().enumerate().map(interface).collect(),
            owners: vec![vec![Owner::Administrator, Owner::Others]; own.len()],
            refuses: vec![false; own.len()],
            robbed: vec![false; own.len()],
            lost_by: vec![None; own.len()],
            marks,
            wronged: None,
        }
    }

    /// The interface of a LAN.
    pub fn interface(&self, lan: usize) -> &Interface {
        &self.interfaces[lan]
    }

    /// Every interface.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Whether a LAN's interface has this address.
    pub fn has(&self, lan: usize, address: IpAddr) -> bool {
        self.interfaces[lan].address(address).is_some()
    }

    /// The addresses of a LAN's interface, with their owners.
    pub fn owned(&self, lan: usize) -> impl Iterator<Item = (IpAddr, Owner)> {
        self.interfaces[lan].addresses.iter().map(|there| there.address).zip(self.owners[lan].iter().copied())
    }

    /// The owner of an address on a LAN's interface, if it exists.
    pub fn owner(&self, lan: usize, address: IpAddr) -> Option<Owner> {
        self.owned(lan).find(|(there, _)| *there == address).map(|(_, owner)| owner)
    }

    /// An address that a daemon has left on an interface.
    pub fn left_behind(&self) -> Option<(usize, IpAddr)> {
        (0..self.interfaces.len()).find_map(|lan| {
            let is_left = |(_, owner): &(IpAddr, Owner)| matches!(owner, Owner::Daemon(_));
            self.owned(lan).find(is_left).map(|(address, _)| (lan, address))
        })
    }

    /// Sets the carrier of an interface.
    pub fn set_carrier(&mut self, lan: usize, carrier: bool) -> Notification {
        self.interfaces[lan].carrier = carrier;
        Notification { lan, what: Change::Carrier(carrier) }
    }

    /// Another program adds an address, unless it exists.
    pub fn others_add(&mut self, lan: usize, address: IpAddr) -> Option<Notification> {
        self.add(lan, address, Owner::Others).ok()
    }

    /// Another program removes an address, if it exists.
    pub fn others_remove(&mut self, lan: usize, address: IpAddr) -> Option<Notification> {
        if let Some(Owner::Daemon(slot)) = self.owner(lan, address) {
            self.lost_by[lan] = Some(slot);
        }
        let gone = self.remove(lan, address, None).ok()?;
        self.robbed[lan] = true;
        Some(gone)
    }

    /// Another program removes an address, if it had added it.
    pub fn others_withdraw(&mut self, lan: usize, address: IpAddr) -> Option<Notification> {
        (self.owner(lan, address) == Some(Owner::Others)).then(|| self.others_remove(lan, address)).flatten()
    }

    /// Executes a request of the daemon in this slot. The thread that does so reads all notifications before, and leaves an
    /// address that others have taken away since the daemon added it, and that has no mark now.
    pub fn perform(&mut self, slot: usize, order: &Order) -> (Outcome, Vec<Notification>) {
        self.execute(slot, order, true)
    }

    /// Executes what undoes the journal of the daemon in this slot.
    pub fn undo(&mut self, slot: usize, order: &Order) -> Vec<Notification> {
        self.execute(slot, order, false).1
    }

    fn execute(&mut self, slot: usize, order: &Order, knows_lost: bool) -> (Outcome, Vec<Notification>) {
        let mut outcome = Outcome::default();
        let mut notifications = Vec::new();
        let mut note = |result: Result<Notification, SystemError>| result.map(|new| notifications.push(new));
        match order {
            Order::Take { resources, .. } => {
                for resource in resources {
                    let placed = placed(resource);
                    let lan = lan_of(placed.on.number(None));
                    let result = if self.refuses[lan] {
                        Err(error(Cause::Other))
                    } else {
                        self.add(lan, placed.address.address, Owner::Daemon(slot))
                    };
                    outcome.results.push(note(result));
                }
            }
            Order::Release(resources) => {
                for resource in resources {
                    let placed = placed(resource);
                    let lan = lan_of(placed.on.number(None));
                    let there = self.interfaces[lan].address(placed.address.address);
                    let is_another_s = self.marks && there.is_some_and(|there| !there.ours);
                    let removed = if knows_lost && self.lost_by[lan] == Some(slot) && is_another_s {
                        Err(error(Cause::Absent))
                    } else {
                        self.remove(lan, placed.address.address, Some(slot))
                    };
                    let result = note(removed);
                    if result.is_ok() {
                        outcome.removed_from.push(index(lan));
                    }
                    outcome.results.push(result);
                }
            }
            Order::Prepare(_) | Order::Discard(_) => outcome.results.push(Ok(())),
        }
        (outcome, notifications)
    }

    /// Removes addresses in a guardian's instructions; with marks, only those that have one.
    pub fn take_off(&mut self, slot: usize, holds: &[PlacedAddress]) -> Vec<Notification> {
        let mut notifications = Vec::new();
        for placed in holds {
            let lan = lan_of(placed.on.number(None));
            if self.interfaces[lan].may_be_ours(&placed.address, self.marks) {
                notifications.extend(self.remove(lan, placed.address.address, Some(slot)));
            }
        }
        notifications
    }

    fn add(&mut self, lan: usize, address: IpAddr, owner: Owner) -> Result<Notification, SystemError> {
        if self.has(lan, address) {
            return Err(error(Cause::Exists));
        }
        let ours = self.marks && matches!(owner, Owner::Daemon(_));
        let new = InterfaceAddress { address, prefix_len: PREFIX_LEN, ours, tentative: false };
        self.interfaces[lan].addresses.push(new);
        self.owners[lan].push(owner);
        self.robbed[lan] = false;
        if matches!(owner, Owner::Daemon(_)) {
            self.lost_by[lan] = None;
        }
        Ok(Notification { lan, what: Change::Added(new) })
    }

    fn remove(
        &mut self,
        lan: usize,
        address: IpAddr,
        by: Option<usize>,
    ) -> Result<Notification, SystemError> {
        let addresses = &mut self.interfaces[lan].addresses;
        let place = addresses.iter().position(|there| there.address == address);
        let place = place.ok_or_else(|| error(Cause::Absent))?;
        let gone = addresses.remove(place);
        let owner = self.owners[lan].remove(place);
        if by.is_some() && !matches!(owner, Owner::Daemon(_)) {
            self.wronged = Some((lan, address));
        }
        Ok(Notification { lan, what: Change::Removed(gone, by) })
    }
}

/// The LANs on which a request adds addresses.
pub(crate) fn taken_on(order: &Order) -> Vec<usize> {
    match order {
        Order::Take { resources, .. } => {
            resources.iter().map(|resource| lan_of(placed(resource).on.number(None))).collect()
        }
        Order::Prepare(_) | Order::Release(_) | Order::Discard(_) => Vec::new(),
    }
}

/// Routers of the simulation take only addresses.
fn placed(resource: &Resource) -> &PlacedAddress {
    match resource {
        Resource::Address(placed) => placed,
        _ => unreachable!("{resource:?}"),
    }
}

fn error(cause: Cause) -> SystemError {
    SystemError { cause, text: String::new() }
}

/// A daemon's view of its interfaces, which may be outdated.
#[derive(Clone, Debug)]
pub struct Cache {
    interfaces: Vec<Interface>,
}

/// What a daemon learns from a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// State of an interface.
    Changed(Interface),
    /// An address was removed from an interface, by whom.
    Lost(Interface, IpAddr, Remover),
}

impl Cache {
    /// The state at the start of a daemon.
    pub fn new(interfaces: Vec<Interface>) -> Self {
        Self { interfaces }
    }

    /// Applies a notification; `slot` is the daemon's own. `None`: nothing new, or about another interface.
    pub fn notified(&mut self, slot: usize, notification: &Notification) -> Option<Report> {
        let number = index(notification.lan);
        let there = self.interfaces.iter_mut().find(|interface| interface.index == number)?;
        match notification.what {
            Change::Carrier(carrier) => there.carrier = carrier,
            Change::Added(new) if there.addresses.contains(&new) => return None,
            Change::Added(new) => {
                there.addresses.retain(|known| known.address != new.address);
                there.addresses.push(new);
            }
            Change::Removed(gone, by) => {
                let before = there.addresses.len();
                there.addresses.retain(|known| known.address != gone.address);
                if there.addresses.len() == before {
                    return None;
                }
                let remover = if by == Some(slot) { Remover::Us } else { Remover::Other };
                return Some(Report::Lost(there.clone(), gone.address, remover));
            }
        }
        Some(Report::Changed(there.clone()))
    }

    /// Applies the answer to a request, so that notifications of removed addresses are nothing new. Returns the reports
    /// that follow the answer.
    pub fn answered(&mut self, order: &Order, outcome: &Outcome) -> Vec<Report> {
        let Order::Release(resources) = order else { return Vec::new() };
        for (resource, result) in resources.iter().zip(&outcome.results) {
            if result.is_ok() {
                self.forget(placed(resource).on.number(None), &placed(resource).address);
            }
        }
        let is_changed = |interface: &&Interface| outcome.removed_from.contains(&interface.index);
        self.interfaces.iter().filter(is_changed).cloned().map(Report::Changed).collect()
    }

    fn forget(&mut self, index: u32, address: &VirtualAddress) {
        for interface in self.interfaces.iter_mut().filter(|interface| interface.index == index) {
            interface.addresses.retain(|there| there.address != address.address);
        }
    }
}
