//! What one router has taken from the system.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::MacAddr;

use crate::config::{RouterConfig, VirtualAddress};
use crate::interface::{Interface, OtherInterfaces};

use super::journal::Journal;
use super::order::{Cause, Made, Outcome, SystemError};
use super::resource::{Filter, Macvlan, OwnMac, Place, PlacedAddress, Resource};

/// What a router has taken and has to give back. A Backup has at most a macvlan link, which is down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// In the order in which they were taken. There is at most one of each kind, but for addresses.
    entries: Vec<Entry>,
    link: Option<Box<PreparedLink>>,
}

/// A resource that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The resource.
    pub resource: Resource,
    /// We were told that it has gone. That may have been before we took it the last time, so it is ours to give back all the
    /// same.
    pub lost: bool,
}

/// The macvlan link of the router, from its start to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PreparedLink {
    /// Its number and name; `None`: others have removed it.
    made: Option<(u32, String)>,
    /// The interface below.
    parent: u32,
    /// The settings of that interface before there was a link of ours.
    settings: String,
}

/// What the system refused of an order to take resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The virtual MAC address.
    pub vmac: Option<SystemError>,
    /// The filter, without which the router is Master all the same.
    pub filter: Option<SystemError>,
    /// Addresses.
    pub addresses: Vec<(VirtualAddress, SystemError)>,
    /// Routes and rules, without which the router is Master all the same.
    pub routing: Vec<(Resource, SystemError)>,
}

impl Ledger {
    // Addresses.

    /// The addresses that were taken and have to be given back, those included that have gone.
    pub fn addresses(&self) -> impl Iterator<Item = &PlacedAddress> {
        self.entries.iter().filter_map(|entry| entry.address())
    }

    /// Whether the address was taken.
    pub fn has(&self, address: &VirtualAddress) -> bool {
        self.addresses().any(|placed| placed.address == *address)
    }

    /// Those of the wanted addresses that are to be taken: not those that are on `interface` without us, which are not ours
    /// to remove either.
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

    /// The address was taken and has gone. `None`: it was not taken, or that is known.
    pub fn lose(&mut self, address: IpAddr) -> Option<VirtualAddress> {
        let entries = self.entries.iter_mut().filter(|entry| !entry.lost);
        entries.into_iter().find_map(|entry| {
            let lost = entry.address().filter(|placed| placed.address.address == address)?.address;
            entry.lost = true;
            Some(lost)
        })
    }

    /// The macvlan link has gone or has forgotten its addresses.
    pub fn forget_addresses_of_link(&mut self) {
        let link = self.link().map(Place::Interface);
        self.entries.retain(|entry| entry.address().is_none_or(|placed| Some(placed.on) != link));
    }

    /// Addresses that are on the interface before we have put them there were left by a daemon that could not clean up: they
    /// have our mark, or stand in the journal where the kernel keeps no `marks`. They are given back as if we had taken them;
    /// returns those.
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

    /// What keeps the system from accepting packets to the addresses.
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

    /// The virtual MAC address in force: on the interface, or on a macvlan link that is up.
    pub fn vmac(&self) -> Option<&Resource> {
        self.entries.iter().map(|entry| &entry.resource).find(|resource| resource.is_vmac())
    }

    /// The MAC address that the addresses are announced with, if it is not the interface's own.
    pub fn vmac_address(&self) -> Option<MacAddr> {
        self.own_mac().map(|taken| taken.vmac).or_else(|| self.link_in_force().map(|link| link.mac))
    }

    /// Whether this is one of the addresses of the interface below that the macvlan link has as well.
    pub fn is_owned(&self, address: IpAddr) -> bool {
        self.link_in_force().is_some_and(|link| link.owned.iter().any(|owned| owned.address == address))
    }

    /// The interface whose MAC address is replaced.
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

    /// The macvlan link that is up.
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

    /// An earlier daemon has left the virtual MAC address on the interface.
    pub fn adopt_mac(&mut self, left: OwnMac) {
        self.forget_vmac();
        self.entries.insert(0, Entry::of(Resource::Mac(Box::new(left))));
    }

    /// Others have taken the virtual MAC address from the interface of this number.
    pub fn has_lost_mac(&self, interface: &Interface) -> bool {
        self.own_mac()
            .is_some_and(|taken| taken.index == interface.index && interface.mac != Some(taken.vmac))
    }

    /// The virtual MAC address is not in force any more.
    pub fn forget_vmac(&mut self) {
        self.entries.retain(|entry| !entry.resource.is_vmac());
    }

    // The macvlan link.

    /// The link that was made, by number.
    pub fn link(&self) -> Option<u32> {
        self.made().map(|(index, _)| *index)
    }

    /// The link that was made, by number and name.
    pub fn made(&self) -> Option<&(u32, String)> {
        self.link.as_ref()?.made.as_ref()
    }

    /// Whether the link that was made is not above this interface: that has another name by now, or is another one.
    pub fn is_stranded(&self, interface: Option<&Interface>) -> bool {
        self.link.as_ref().is_some_and(|link| {
            link.made.is_some() && interface.is_none_or(|interface| interface.index != link.parent)
        })
    }

    /// The settings of the interface of this number before it had a link of ours, if it had one of this router.
    pub fn settings_of(&self, parent: u32) -> Option<&str> {
        self.link.as_ref().filter(|link| link.parent == parent).map(|link| link.settings.as_str())
    }

    /// The link is there, above the interface of this number.
    pub fn prepared(&mut self, Made { index, name, settings }: Made, parent: u32) {
        self.link = Some(Box::new(PreparedLink { made: Some((index, name)), parent, settings }));
    }

    /// Others have removed the link, or the interface below it, and what was on it is gone. Its settings are remembered.
    pub fn link_gone(&mut self) {
        self.forget_addresses_of_link();
        if let Some(link) = &mut self.link {
            link.made = None;
        }
        self.forget_vmac();
    }

    /// We have removed the link, and put the settings of the interface below back.
    pub fn link_discarded(&mut self) {
        self.link = None;
        self.forget_vmac();
    }

    // All of them.

    /// Whether all that was taken has been given back. The macvlan link, which is down, does not count.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes in what came of an order to take resources; returns what was refused. `interface` is the one that the router
    /// serves, `others` have addresses of it as well, and the kernel keeps our mark with addresses if `marks`.
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
                    // The link may be newer than the order.
                    taken.made = self.made().cloned();
                    self.put_first(Resource::Link(taken));
                }
                (Resource::Mac(_) | Resource::Link(_), Err(error)) => refused.vmac = Some(error),
                // What other interfaces say is corrected as far as that is possible.
                (answers @ Resource::Answers(_), Ok(()) | Err(_)) => {
                    self.entries.retain(|entry| !matches!(entry.resource, Resource::Answers(_)));
                    self.entries.push(Entry::of(answers));
                }
                (filter @ Resource::Filter(_), Ok(())) => {
                    self.forget_filter();
                    self.entries.push(Entry::of(filter));
                }
                // What was there before is still there.
                (Resource::Filter(_), Err(error)) => refused.filter = Some(error),
                (routing @ (Resource::Route(_) | Resource::Rule(_)), result) => {
                    self.forget_routing(&routing);
                    match result {
                        // The same one of another is never removed: it lacks our protocol number.
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
            // One that a daemon of ours left behind, or that had not gone after all, or another's, who keeps it. On a link of
            // our own everything is ours.
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

    /// What has to be given back, as it was taken: not those addresses that others have taken away and put there for
    /// themselves, which are forgotten.
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

    /// Takes in what came of giving one of them back, and says whether it is given back. What has gone is; another error
    /// leaves it to be given back later.
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
    /// Whether something is missing without which the router cannot be Master.
    pub fn is_decisive(&self, or_without: bool) -> bool {
        let vmac = self.vmac.as_ref().is_some_and(|error| !or_without || error.cause == Cause::NoInterface);
        vmac || !self.addresses.is_empty()
    }
}

/// Whether there is nothing left to give back after this error.
const fn is_over(resource: &Resource, error: &SystemError) -> bool {
    match resource {
        Resource::Mac(_) | Resource::Link(_) => matches!(error.cause, Cause::NoInterface),
        Resource::Answers(_) => true,
        Resource::Filter(_) | Resource::Address(_) | Resource::Route(_) | Resource::Rule(_) => {
            error.is_gone()
        }
    }
}

/// Whether an address is on the interface without our mark.
fn is_another_s(interface: Option<&Interface>, address: &VirtualAddress) -> bool {
    let there = interface.and_then(|interface| interface.address(address.address));
    there.is_some_and(|there| !there.ours)
}
