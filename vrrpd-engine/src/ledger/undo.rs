//! What a killed daemon left on interfaces, and how the guardian, or the next start if both were killed, undoes it.

use std::collections::BTreeSet;

use vrrpd_common::MacAddr;

use crate::config::{VirtualAddress, VmacMode};
use crate::held_address::AddressOptions;
use crate::interface::Interface;

use super::journal::Journal;
use super::order::Order;
use super::resource::{OwnMac, Place, PlacedAddress, Resource};

/// Something that a dead daemon left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// An address in the journal.
    Address {
        /// The interface that has it.
        interface: String,
        /// The address.
        address: VirtualAddress,
    },
    /// A virtual MAC address on an interface whose own one is in the journal.
    Mac {
        /// The interface.
        interface: String,
        /// The virtual MAC address.
        mac: MacAddr,
    },
    /// A macvlan link of a router.
    Link {
        /// The router.
        router: String,
        /// The link.
        link: String,
        /// Whether it is in the journal.
        noted: bool,
    },
}

/// The plan of a clean-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undo {
    /// What is undone, in the order in which it was found.
    pub leftovers: Vec<Leftover>,
    /// Requests to the system.
    pub orders: Vec<Order>,
    /// Interfaces whose own MAC address is restored, with that address.
    pub macs: Vec<(Interface, MacAddr)>,
    /// Name and index of interfaces that may have a classifier for frames to their own MAC address, on kernels before
    /// 6.6. A Backup has one, too. It is removed after their own MAC address was restored.
    pub own_mac_classifiers: Vec<(String, u32)>,
    /// Routers that may have classifiers on other interfaces or below a macvlan link, on kernels before 6.6.
    pub routers_with_classifiers: BTreeSet<String>,
}

impl Undo {
    /// Looks for the leftovers of `journal` on these interfaces. With `marks`, an address without our mark was added
    /// later by another program. Leftovers that `stays` accepts are not touched.
    pub fn plan(
        journal: &Journal,
        interfaces: &[Interface],
        marks: bool,
        stays: impl Fn(&Leftover) -> bool,
    ) -> Self {
        let mut undo =
            Self { routers_with_classifiers: journal.routers_with_classifiers(), ..Self::default() };
        for interface in interfaces {
            undo.look_at(interface, journal, marks, &stays);
        }
        // Removing them shows which of them exist.
        let routing: Vec<_> = journal.routing().collect();
        if !routing.is_empty() {
            undo.orders.insert(0, Order::Release(routing));
        }
        // Removed after the addresses.
        let filters: Vec<_> = journal.filters().collect();
        if !filters.is_empty() {
            undo.orders.push(Order::Release(filters));
        }
        undo
    }

    fn look_at(
        &mut self,
        interface: &Interface,
        journal: &Journal,
        marks: bool,
        stays: &impl Fn(&Leftover) -> bool,
    ) {
        let name = || interface.name.clone();
        if let Some(router) = interface.vmac_of.clone() {
            let noted = journal.has_link_of(&router);
            let link = Leftover::Link { router, link: name(), noted };
            if !stays(&link) {
                self.leftovers.push(link);
                self.orders.push(Order::Discard(interface.index));
            }
            return;
        }
        let mut resources = Vec::new();
        let own = journal.own_mac(&interface.name);
        if own.is_some() {
            self.own_mac_classifiers.push((name(), interface.index));
        }
        let virtual_mac = interface.mac.filter(|mac| mac.is_virtual_router()).zip(own);
        let mut left_mac = None;
        if let Some((mac, own)) = virtual_mac {
            let leftover = Leftover::Mac { interface: name(), mac };
            if !stays(&leftover) {
                left_mac = Some(leftover);
                self.macs.push((interface.clone(), own));
                resources.push(Resource::Mac(Box::new(OwnMac::of(interface, own, mac))));
            }
        }
        for address in journal.addresses_on(&interface.name) {
            let leftover = Leftover::Address { interface: name(), address };
            if interface.may_be_ours(&address, marks)
                && !self.leftovers.contains(&leftover)
                && !stays(&leftover)
            {
                self.leftovers.push(leftover);
                let on = Place::Interface(interface.index);
                let peer = journal.peer_of(&interface.name, &address);
                let options = AddressOptions { peer, ..AddressOptions::default() };
                resources.push(Resource::Address(PlacedAddress { on, address, route: true, options }));
            }
        }
        self.leftovers.extend(left_mac);
        if !resources.is_empty() {
            self.orders.push(Order::Release(resources));
        }
    }
}

/// A virtual MAC address on an interface before our router has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftMac {
    /// None, or it does not concern the router.
    None,
    /// A crash left it. The interface's own MAC address is restored.
    Ours {
        /// The virtual MAC address.
        mac: MacAddr,
        /// The interface's own one.
        own: MacAddr,
    },
    /// Another router uses it.
    Taken(MacAddr),
    /// A crash left it, and the interface's own MAC address is not known.
    OwnUnknown(MacAddr),
}

impl LeftMac {
    /// Evaluates the interface of a router with this virtual MAC address.
    pub fn on(interface: &Interface, vmac: MacAddr, mode: VmacMode, journal: &Journal) -> Self {
        let Some(mac) = interface.mac.filter(|mac| mac.is_virtual_router()) else { return Self::None };
        let noted = journal.own_mac(&interface.name);
        let permanent = interface.permanent_mac.filter(|mac| !mac.is_virtual_router());
        let own = match (mac == vmac, mode) {
            (true, _) => noted.or(permanent),
            // Only this daemon sets the MAC address of the interface, so a router of an earlier run left it.
            (false, VmacMode::Interface) if noted.is_some() => noted,
            (false, VmacMode::Interface) => return Self::Taken(mac),
            (false, VmacMode::Macvlan | VmacMode::None) => return Self::None,
        };
        own.map_or(Self::OwnUnknown(mac), |own| Self::Ours { mac, own })
    }
}
