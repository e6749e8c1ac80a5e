//! What one router holds of the system's resources.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::MacAddr;

use crate::config::{RouterConfig, VirtualAddress};
use crate::interface::{Interface, OtherInterfaces};

use super::journal::Journal;
use super::order::{Cause, Made, Outcome, SystemError};
use super::resource::{Filter, Macvlan, OwnMac, Place, PlacedAddress, Resource};

/// What a router has taken and has to give back. A Backup has at most a macvlan link, set down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// In the order in which they were taken; at most one of each kind, except addresses, routes and rules.
    entries: Vec<Entry>,
    link: Option<Box<PreparedLink>>,
}

/// A resource that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The resource.
    pub resource: Resource,
    /// A notification said that it is gone. That may be older than our last take, so it is given back all the same.
    pub lost: bool,
}

/// The macvlan link of the router, from its start to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PreparedLink {
    /// Index and name; `None`: another program removed it.
    made: Option<(u32, String)>,
    /// Index of the interface below.
    parent: u32,
    /// Original settings of that interface.
    settings: String,
}

/// What the system refused of a request for resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The virtual MAC address.
    pub vmac: Option<SystemError>,
    /// The packet filter; the router is Master without it.
    pub filter: Option<SystemError>,
    /// Addresses.
    pub addresses: Vec<(VirtualAddress, SystemError)>,
    /// Routes and rules; the router is Master without them.
    pub routing: Vec<(Resource, SystemError)>,
}

impl Ledger {
    // Addresses.

    /// The addresses that were taken, including lost ones.
    pub fn addresses(&self) -> impl Iterator<Item = &PlacedAddress> {
        self.entries.iter().filter_map(|entry| entry.address())
    }

    /// Whether the address was taken.
    pub fn has(&self, address: &VirtualAddress) -> bool {
        self.addresses().any(|placed| placed.address == *address)
    }

    /// The wanted addresses that are to be taken: without those that another program has put on `interface`, which we
    /// must not remove either.
    pub fn missing<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a VirtualAddress>,
        interface: Option<&Interface>,
    ) -> Vec<VirtualAddress> {
        let is_missing = |address: &&VirtualAddress| match self.entry(address) {
            Some(entry) => entry.lost,
            None => !is_another_s(interface, address),
        };
        wanted.into_iter().filter(is_missing).copied().collect()
    }

    /// Marks an address as lost. `None`: it was not taken, or is marked already.
    pub fn lose(&mut self, address: IpAddr) -> Option<VirtualAddress> {
        let entries = self.entries.iter_mut().filter(|entry| !entry.lost);
        entries.into_iter().find_map(|entry| {
            let lost = entry.address().filter(|placed| placed.address.address == address)?.address;
            entry.lost = true;
            Some(lost)
        })
    }

    /// The macvlan link was removed or has lost its addresses.
    pub fn forget_addresses_of_link(&mut self) {
        let link = self.link().map(Place::Interface);
        self.entries.retain(|entry| entry.address().is_none_or(|placed| Some(placed.on) != link));
    }

    /// Adopts addresses that are on the interface before we added any: a daemon that could not clean up left them. They
    /// have our mark, or are in the journal if the kernel stores no `marks`. They are given back as if we had taken
    /// them. Returns these.
    pub fn adopt(
        &mut self,
        config: &RouterConfig,
        interface: &Interface,
        marks: bool,
        journal: &Journal,
    ) -> Vec<VirtualAddress> {
        let is_noted =
            |address: &VirtualAddress| journal.addresses_on(&interface.name).any(|noted| noted == *address);
        let was_ours = |address: &&VirtualAddress| {
            interface.may_be_ours(address, marks) && (marks || is_noted(address)) && !self.has(address)
        };
        let left: Vec<_> = config.addresses_on(&interface.name).filter(was_ours).copied().collect();
        let on = Place::Interface(interface.index);
        self.entries.extend(left.iter().map(|address| {
            let options = config.options_of(address);
            Entry::of(Resource::Address(PlacedAddress { on, address: *address, route: true, options }))
        }));
        left
    }

    fn entry(&self, address: &VirtualAddress) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.address().is_some_and(|placed| placed.address == *address))
    }

    /// The packet filter that was taken.
    pub fn filter(&self) -> Option<&Filter> {
        self.entries.iter().find_map(|entry| match &entry.resource {
            Resource::Filter(taken) => Some(&**taken),
            Resource::Mac(_)
            | Resource::Link(_)
            | Resource::Answers(_)
            | Resource::Address(_)
            | Resource::Route(_)
            | Resource::Rule(_) => None,
        })
    }

    fn forget_filter(&mut self) {
        self.entries.retain(|entry| !matches!(entry.resource, Resource::Filter(_)));
    }

    // The virtual MAC address.

    /// The virtual MAC address in effect: on the interface, or on a macvlan link that is up.
    pub fn vmac(&self) -> Option<&Resource> {
        self.entries.iter().map(|entry| &entry.resource).find(|resource| resource.is_vmac())
    }

    /// The MAC address for announcements, if not the interface's own.
    pub fn vmac_address(&self) -> Option<MacAddr> {
        self.own_mac().map(|taken| taken.vmac).or_else(|| self.link_in_force().map(|link| link.mac))
    }

    /// Whether the macvlan link also has this address of the interface below it.
    pub fn is_owned(&self, address: IpAddr) -> bool {
        self.link_in_force().is_some_and(|link| link.owned.iter().any(|owned| owned.address == address))
    }

    /// The interface whose MAC address was replaced.
    pub fn own_mac(&self) -> Option<&OwnMac> {
        self.entries.iter().find_map(|entry| match &entry.resource {
            Resource::Mac(taken) => Some(&**taken),
            Resource::Link(_)
            | Resource::Answers(_)
            | Resource::Filter(_)
            | Resource::Address(_)
            | Resource::Route(_)
            | Resource::Rule(_) => None,
        })
    }

    /// The macvlan link, if up.
    pub fn link_in_force(&self) -> Option<&Macvlan> {
        self.entries.iter().find_map(|entry| match &entry.resource {
            Resource::Link(taken) => Some(&**taken),
            Resource::Mac(_)
            | Resource::Answers(_)
            | Resource::Filter(_)
            | Resource::Address(_)
            | Resource::Route(_)
            | Resource::Rule(_) => None,
        })
    }

    /// Adopts a virtual MAC address that an earlier daemon left on the interface.
    pub fn adopt_mac(&mut self, left: OwnMac) {
        self.forget_vmac();
        self.entries.insert(0, Entry::of(Resource::Mac(Box::new(left))));
    }

    /// Whether another program has replaced the virtual MAC address of this interface.
    pub fn has_lost_mac(&self, interface: &Interface) -> bool {
        self.own_mac()
            .is_some_and(|taken| taken.index == interface.index && interface.mac != Some(taken.vmac))
    }

    /// The virtual MAC address is no longer in effect.
    pub fn forget_vmac(&mut self) {
        self.entries.retain(|entry| !entry.resource.is_vmac());
    }

    // The macvlan link.

    /// Index of the link that was created.
    pub fn link(&self) -> Option<u32> {
        self.made().map(|(index, _)| *index)
    }

    /// Index and name of the link that was created.
    pub fn made(&self) -> Option<&(u32, String)> {
        self.link.as_ref()?.made.as_ref()
    }

    /// Whether the link is not on this interface, which was renamed or replaced.
    pub fn is_stranded(&self, interface: Option<&Interface>) -> bool {
        self.link.as_ref().is_some_and(|link| {
            link.made.is_some() && interface.is_none_or(|interface| interface.index != link.parent)
        })
    }

    /// The original settings of the interface with this index, if this router created a link on it.
    pub fn settings_of(&self, parent: u32) -> Option<&str> {
        self.link.as_ref().filter(|link| link.parent == parent).map(|link| link.settings.as_str())
    }

    /// Notes that the link was created on the interface with this index.
    pub fn prepared(&mut self, Made { index, name, settings }: Made, parent: u32) {
        self.link = Some(Box::new(PreparedLink { made: Some((index, name)), parent, settings }));
    }

    /// Notes that the link, or the interface below it, was removed by another program, with everything on it. The
    /// settings are kept.
    pub fn link_gone(&mut self) {
        self.forget_addresses_of_link();
        if let Some(link) = &mut self.link {
            link.made = None;
        }
        self.forget_vmac();
    }

    /// Notes that we removed the link and restored the settings of the interface below.
    pub fn link_discarded(&mut self) {
        self.link = None;
        self.forget_vmac();
    }

    // All of them.

    /// Whether everything was given back, except a macvlan link that is down.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Handles the answer to a request for resources; returns what was refused. `interface` is the router's, `others`
    /// are further interfaces with its addresses; `marks`: the kernel stores our mark with addresses.
    pub fn took(
        &mut self,
        resources: Vec<Resource>,
        outcome: Outcome,
        interface: Option<&Interface>,
        others: &OtherInterfaces,
        marks: bool,
    ) -> Refused {
        let mut refused = Refused::default();
        let Outcome { results, link, addr_gen_mode, .. } = outcome;
        for (resource, result) in resources.into_iter().zip(results) {
            match (resource, result) {
                (Resource::Mac(mut taken), Ok(())) => {
                    taken.addr_gen_mode.clone_from(&addr_gen_mode);
                    self.put_first(Resource::Mac(taken));
                }
                (Resource::Link(mut taken), Ok(())) => {
                    // The link may be newer than the request.
                    taken.made = self.made().cloned();
                    self.put_first(Resource::Link(taken));
                }
                (Resource::Mac(_) | Resource::Link(_), Err(error)) => refused.vmac = Some(error),
                // The ARP answers of other interfaces are corrected as far as possible.
                (answers @ Resource::Answers(_), Ok(()) | Err(_)) => {
                    self.entries.retain(|entry| !matches!(entry.resource, Resource::Answers(_)));
                    self.entries.push(Entry::of(answers));
                }
                (filter @ Resource::Filter(_), Ok(())) => {
                    self.forget_filter();
                    self.entries.push(Entry::of(filter));
                }
                // The old filter is still in place.
                (Resource::Filter(_), Err(error)) => refused.filter = Some(error),
                (routing @ (Resource::Route(_) | Resource::Rule(_)), result) => {
                    self.forget_routing(&routing);
                    match result {
                        // An equal one of another program is never removed, since it lacks our protocol number.
                        Err(error) if error.cause != Cause::Exists => refused.routing.push((routing, error)),
                        Ok(()) | Err(_) => self.entries.push(Entry::of(routing)),
                    }
                }
                (Resource::Address(placed), result) => {
                    let placed = PlacedAddress { on: Place::Interface(placed.on.number(link)), ..placed };
                    let other = others.values().find(|other| placed.on == Place::Interface(other.index));
                    if let Err(error) = self.took_address(placed, result, other.or(interface), marks) {
                        refused.addresses.push((placed.address, error));
                    }
                }
            }
        }
        refused
    }

    fn took_address(
        &mut self,
        placed: PlacedAddress,
        result: Result<(), SystemError>,
        interface: Option<&Interface>,
        marks: bool,
    ) -> Result<(), SystemError> {
        let is_ours = match result {
            Ok(()) => true,
            // Left behind by our daemon, not yet gone, or added by another program, which keeps it. On our own link,
            // every address is ours.
            Err(error) if error.cause == Cause::Exists => {
                let was_ours = self.entry(&placed.address).is_some_and(|entry| entry.lost);
                let there = interface.and_then(|interface| interface.address(placed.address.address));
                let is_on_link = self.link().is_some_and(|link| placed.on == Place::Interface(link));
                is_on_link || there.map_or(was_ours, |there| there.ours || was_ours && !marks)
            }
            Err(error) => return Err(error),
        };
        self.forget_address(&placed.address);
        if is_ours {
            self.entries.push(Entry::of(Resource::Address(placed)));
        }
        Ok(())
    }

    /// What has to be given back, as it was taken. Addresses that another program removed and added for itself are
    /// forgotten.
    pub fn to_give_back(
        &mut self,
        interface: Option<&Interface>,
        others: &OtherInterfaces,
        marks: bool,
    ) -> Vec<Resource> {
        let is_theirs = |entry: &Entry| {
            let placed = entry.address().filter(|_| entry.lost && marks);
            placed.is_some_and(|placed| {
                let other = others.values().find(|other| placed.on == Place::Interface(other.index));
                is_another_s(other.or(interface), &placed.address)
            })
        };
        self.entries.retain(|entry| !is_theirs(entry));
        self.entries.iter().map(|entry| entry.resource.clone()).collect()
    }

    /// Handles the result of giving one resource back, and returns whether that is done. A missing resource is done;
    /// after another error it is given back later.
    pub fn gave_back(&mut self, resource: &Resource, result: &Result<(), SystemError>) -> bool {
        let is_over = result.as_ref().err().is_none_or(|error| is_over(resource, error));
        if is_over {
            match resource {
                Resource::Mac(_) | Resource::Link(_) => self.forget_vmac(),
                Resource::Answers(_) => {
                    self.entries.retain(|entry| !matches!(entry.resource, Resource::Answers(_)));
                }
                Resource::Filter(_) => self.forget_filter(),
                Resource::Address(placed) => self.forget_address(&placed.address),
                Resource::Route(_) | Resource::Rule(_) => self.forget_routing(resource),
            }
        }
        is_over
    }

    /// Whether this route or rule was taken.
    pub fn has_routing(&self, routing: &Resource) -> bool {
        routing.is_routing() && self.entries.iter().any(|entry| entry.resource == *routing)
    }

    /// Whether routes or rules were taken.
    pub fn has_any_routing(&self) -> bool {
        self.entries.iter().any(|entry| entry.resource.is_routing())
    }

    fn forget_routing(&mut self, routing: &Resource) {
        self.entries.retain(|entry| entry.resource != *routing);
    }

    fn put_first(&mut self, vmac: Resource) {
        self.forget_vmac();
        self.entries.insert(0, Entry::of(vmac));
    }

    fn forget_address(&mut self, address: &VirtualAddress) {
        self.entries.retain(|entry| entry.address().is_none_or(|placed| placed.address != *address));
    }
}

impl Entry {
    const fn of(resource: Resource) -> Self {
        Self { resource, lost: false }
    }

    const fn address(&self) -> Option<&PlacedAddress> {
        match &self.resource {
            Resource::Address(placed) => Some(placed),
            Resource::Mac(_)
            | Resource::Link(_)
            | Resource::Answers(_)
            | Resource::Filter(_)
            | Resource::Route(_)
            | Resource::Rule(_) => None,
        }
    }
}

impl Refused {
    /// Whether the router cannot be Master because something is missing.
    pub fn is_decisive(&self, or_without: bool) -> bool {
        let vmac = self.vmac.as_ref().is_some_and(|error| !or_without || error.cause == Cause::NoInterface);
        vmac || !self.addresses.is_empty()
    }
}

/// Whether this error means that nothing is left to give back.
const fn is_over(resource: &Resource, error: &SystemError) -> bool {
    match resource {
        Resource::Mac(_) | Resource::Link(_) => matches!(error.cause, Cause::NoInterface),
        Resource::Answers(_) => true,
        Resource::Filter(_) | Resource::Address(_) | Resource::Route(_) | Resource::Rule(_) => {
            error.is_gone()
        }
    }
}

/// Whether the interface has the address without our mark.
fn is_another_s(interface: Option<&Interface>, address: &VirtualAddress) -> bool {
    let there = interface.and_then(|interface| interface.address(address.address));
    there.is_some_and(|there| !there.ours)
}
