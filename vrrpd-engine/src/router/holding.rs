//! What a router takes from the system as Master, and what it has of that.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::MacAddr;
use vrrpd_common::router::StateName;

use super::Router;
use crate::config::{VirtualAddress, VmacFallback, VmacMode};
use crate::engine::Line;
use crate::ids::Ticket;
use crate::interface::{Interface, Remover};
use crate::ledger::{Answers, Filter, Journal, Order, Place, PlacedAddress, Record, Resource, SystemError};

/// A request that the system has not answered yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Names the request.
    pub ticket: Ticket,
    /// What was asked for.
    pub order: Order,
    /// What was removed while it was put there, and by whom.
    pub lost: Vec<(IpAddr, Remover)>,
}

/// What becomes of a router whose virtual MAC address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutVmac {
    /// It goes on with the interface's own.
    GoesOn,
    /// It does not become Master.
    StaysBackup,
}

impl Router {
    /// Master, and not about to become something else.
    pub fn is_settled_master(&self) -> bool {
        self.is_master() && self.waiting.is_none()
    }

    /// Master, and not giving back what it has.
    pub fn is_holding(&self) -> bool {
        let gives_back = |pending: &Pending| matches!(pending.order, Order::Release(_));
        self.is_master() && !self.waiting.as_deref().is_some_and(gives_back)
    }

    /// The virtual address, if the router has not taken it: a Master found it on the interface, where another program had put
    /// it.
    pub fn another_s(&self, address: IpAddr) -> Option<VirtualAddress> {
        let is_taken = self.ledger.addresses().any(|held| held.address.address == address);
        let known = self.config.held_addresses().find(|known| known.address == address)?;
        (!is_taken).then_some(*known)
    }

    /// Whether the MAC address of the interface is being changed for this router.
    pub fn is_changing_mac(&self) -> bool {
        self.waiting.as_ref().is_some_and(|pending| pending.order.changes_mac())
    }

    /// Whether all that was taken has been given back.
    pub fn holds_nothing(&self) -> bool {
        self.waiting.is_none() && self.ledger.is_empty()
    }

    /// The MAC address that adverts and announcements come from: the virtual one where it is in force (RFC 9568 §7.2).
    pub fn source_mac(&self, interface: Option<&Interface>) -> Option<MacAddr> {
        self.ledger.vmac_address().or_else(|| interface?.mac)
    }

    /// Looks at an interface that came, or is made of something else: a virtual MAC address may not work on it. Returns what
    /// is to be logged then.
    pub fn meet(&mut self, interface: &Interface) -> Option<Line> {
        let obstacle = self.vmac.meet(interface)?;
        self.vmac_refused(SystemError::unsupported(obstacle.to_string()))
    }

    /// The interface does not take the virtual MAC address. Returns what is to be logged.
    pub fn vmac_refused(&mut self, error: SystemError) -> Option<Line> {
        let is_new = self.vmac.refused(&error);
        match self.config.vmac_fallback {
            VmacFallback::None => {
                self.vmac.go_without(&error);
                self.ledger.forget_vmac();
                Some(Line::VmacRefused(WithoutVmac::GoesOn, error))
            }
            VmacFallback::Refuse => is_new.then_some(Line::VmacRefused(WithoutVmac::StaysBackup, error)),
        }
    }

    /// The virtual MAC address was not refused.
    pub fn vmac_taken(&mut self) {
        if self.ledger.vmac().is_some() {
            self.vmac.taken();
        }
    }

    /// The interface that has the addresses of a Master.
    pub fn place_of_addresses(&self) -> &str {
        let made = self.ledger.made().filter(|_| self.vmac.mode() == VmacMode::Macvlan);
        made.map_or(&self.config.interface, |(_, name)| name)
    }

    /// What is to be taken now that the router is Master on this interface, or is to be put right again.
    pub fn to_take(&self, interface: &Interface) -> Vec<Resource> {
        let is_on_link = self.vmac.mode() == VmacMode::Macvlan;
        let on = if is_on_link {
            Place::Link { below: interface.index }
        } else {
            Place::Interface(interface.index)
        };
        // What the interface below reaches is reached through it.
        let routed = if is_on_link { interface.subnets() } else { Vec::new() };
        let address = |address: VirtualAddress| {
            let route = !routed.iter().any(|there| there.shares_subnet_with(&address));
            Resource::Address(PlacedAddress { on, address, route, options: self.config.options_of(&address) })
        };
        let stands = self.vmac.stands_on(interface, &self.ledger);
        let vmac = (!stands).then(|| self.vmac.wanted(&self.config, interface, &self.ledger)).flatten();
        let missing = self.ledger.missing(self.config.addresses_on(&self.config.interface), Some(interface));
        let addresses = missing.into_iter().map(address);
        let elsewhere = self.others.values().flat_map(|other| self.to_take_on(other));
        let before = vmac.into_iter().chain(self.answers(interface)).chain(self.missing_filter());
        let resources = before.chain(addresses);
        resources.chain(elsewhere).chain(self.routing()).collect()
    }

    /// What is to keep the system from accepting packets to its addresses.
    fn filter(&self) -> Option<Filter> {
        let addresses = self.config.held_addresses().map(|held| held.address).collect::<Vec<_>>();
        (self.config.drops_packets() && !addresses.is_empty())
            .then(|| Filter { router: self.config.name().to_string(), addresses })
    }

    fn missing_filter(&self) -> Option<Resource> {
        let filter = self.filter().filter(|filter| self.ledger.filter() != Some(filter))?;
        Some(Resource::Filter(Box::new(filter)))
    }

    /// The filter that it has and is not to have any more.
    pub fn unwanted_filter(&self) -> Option<Resource> {
        let held = self.ledger.filter().filter(|_| !self.config.drops_packets())?;
        Some(Resource::Filter(Box::new(held.clone())))
    }

    /// The same on an interface that has addresses of it beside its own.
    pub fn to_take_on<'a>(&'a self, other: &'a Interface) -> impl Iterator<Item = Resource> + 'a {
        let on = Place::Interface(other.index);
        let missing = self.ledger.missing(self.config.addresses_on(&other.name), Some(other));
        missing.into_iter().map(move |address| {
            let options = self.config.options_of(&address);
            Resource::Address(PlacedAddress { on, address, route: true, options })
        })
    }

    /// The other interfaces of its addresses that are not there.
    pub fn missing_interfaces(&self) -> impl Iterator<Item = &str> {
        self.config.other_interfaces().into_iter().filter(|name| !self.others.contains_key(*name))
    }

    /// Addresses that were taken on another interface that has gone since, or has another name.
    pub fn stranded_addresses(&self) -> Vec<Resource> {
        let is_stranded = |placed: &&PlacedAddress| {
            let other = self.config.address_interfaces.get(&placed.address.address);
            let is_in_place = |other: &Interface| placed.on == Place::Interface(other.index);
            other.is_some_and(|name| !self.others.get(name).is_some_and(is_in_place))
        };
        self.ledger.addresses().filter(is_stranded).copied().map(Resource::Address).collect()
    }

    /// Whether nothing but filter, routes and rules has to be put in force again, of which nobody has to be told.
    pub fn lacks_only_routing(&self, interface: &Interface) -> bool {
        let is_untold = |resource: &Resource| {
            resource.is_routing() || matches!(resource, Resource::Answers(_) | Resource::Filter(_))
        };
        (self.routing().next().is_some() || self.missing_filter().is_some())
            && self.to_take(interface).iter().all(is_untold)
    }

    /// All its routes and rules. The kernel forgets routes with an address or a link, so each order asks for all of them; it
    /// says which are there.
    pub fn routing(&self) -> impl Iterator<Item = Resource> + '_ {
        let routes = self.config.routes.iter().map(|route| Resource::Route(Box::new(route.clone())));
        routes.chain(self.config.rules.iter().map(|rule| Resource::Rule(Box::new(rule.clone()))))
    }

    /// The interfaces that would answer for its addresses with their own MAC addresses. Over IPv6 each answers for its own
    /// addresses only.
    fn answers(&self, interface: &Interface) -> Option<Resource> {
        let addresses = self.config.addresses_on(&self.config.interface).map(|address| address.address);
        let answers = Answers {
            router: self.config.name().to_string(),
            mac: self.vmac.mac().or(interface.mac).unwrap_or_default(),
            addresses: addresses.filter(IpAddr::is_ipv4).collect(),
            interfaces: interface.beside.clone(),
        };
        (!answers.interfaces.is_empty()).then(|| Resource::Answers(Box::new(answers)))
    }

    /// Addresses that an earlier daemon has left on its interfaces count as taken; returns those.
    pub fn adopt(&mut self, interface: &Interface, marks: bool, journal: &Journal) -> Vec<VirtualAddress> {
        let Self { ledger, config, others, .. } = self;
        let interfaces = std::iter::once(interface).chain(others.values());
        interfaces.flat_map(|interface| ledger.adopt(config, interface, marks, journal)).collect()
    }

    /// The virtual addresses that the interface has although the router is not Master and has not put them there: the machine
    /// answers for them beside the master.
    pub fn addresses_present(&self, interface: Option<&Interface>) -> Vec<VirtualAddress> {
        let is_listening =
            matches!(self.state_told(), StateName::Backup | StateName::Fault) && self.waiting.is_none();
        let Some(interface) = interface.filter(|_| is_listening) else { return Vec::new() };
        let is_present = |address: &&VirtualAddress| {
            let other = self.others.get(self.config.interface_of(address.address));
            let is_elsewhere = self.config.address_interfaces.contains_key(&address.address);
            let interface = if is_elsewhere { other } else { Some(interface) };
            let there = interface.and_then(|interface| interface.address(address.address));
            // One with our mark is on its way, or is another daemon's.
            !self.ledger.has(address) && there.is_some_and(|there| !there.ours)
        };
        self.config.held_addresses().filter(is_present).copied().collect()
    }

    /// What its journal says.
    pub fn records(&self, interface: Option<&Interface>) -> Vec<Record> {
        Record::of(&self.config, &self.ledger, interface, &self.others, self.vmac.own_mac())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RouterConfig;
    use crate::config::tests::router as config;
    use crate::ids::LinkId;
    use crate::interface::InterfaceAddress;
    use crate::interface::tests::{address, eth0};
    use crate::router::TimeOfDay;

    fn router(vmac: VmacMode, vmac_fallback: VmacFallback) -> Router {
        let config = RouterConfig { vmac, vmac_fallback, ..config("192.0.2.100") };
        Router::new(config, LinkId::FIRST, TimeOfDay::default())
    }

    fn router_address() -> VirtualAddress {
        config("192.0.2.100").addresses[0]
    }

    #[test]
    fn addresses_go_onto_the_macvlan_link_behind_it_with_a_route_only_where_the_interface_has_none() {
        let mut router = router(VmacMode::Macvlan, VmacFallback::None);
        let placed = |on, route| {
            let address = router_address();
            let options = crate::held_address::AddressOptions::default();
            Resource::Address(PlacedAddress { on, address, route, options })
        };
        for (own, route) in [("10.0.0.1/24", true), ("192.0.2.1/24", false)] {
            let taken = router.to_take(&eth0(vec![address(own)]));
            assert!(matches!(taken[0], Resource::Link(_)), "{taken:?}");
            assert_eq!(taken[1..], [placed(Place::Link { below: 2 }, route)]);
        }
        router.vmac_refused(SystemError::unsupported("no".into()));
        let taken = router.to_take(&eth0(vec![address("192.0.2.1/24")]));
        assert_eq!(taken, [placed(Place::Interface(2), true)]);
    }

    #[test]
    fn a_virtual_mac_address_is_refused_each_time_with_a_word_only_where_the_router_goes_on() {
        let error = SystemError { cause: crate::ledger::Cause::Other, text: "busy".into() };
        let mut goes_on = router(VmacMode::Macvlan, VmacFallback::None);
        let mut stays = router(VmacMode::Macvlan, VmacFallback::Refuse);
        let refused = |what| Some(Line::VmacRefused(what, error.clone()));
        assert_eq!(goes_on.vmac_refused(error.clone()), refused(WithoutVmac::GoesOn));
        assert_eq!(goes_on.vmac.mode(), VmacMode::None);
        assert_eq!(stays.vmac_refused(error.clone()), refused(WithoutVmac::StaysBackup));
        assert_eq!(stays.vmac_refused(error.clone()), None, "that was said");
        assert_eq!(stays.vmac.mode(), VmacMode::Macvlan);
    }

    #[test]
    fn only_addresses_of_others_are_present_on_a_backup() {
        let mut router = router(VmacMode::None, VmacFallback::None);
        let theirs = eth0(vec![address("192.0.2.100/24")]);
        assert_eq!(router.addresses_present(Some(&theirs)), [], "it has not begun");
        router.told = StateName::Backup;
        assert_eq!(router.addresses_present(Some(&theirs)), router.config.addresses);
        let ours = eth0(vec![InterfaceAddress { ours: true, ..address("192.0.2.100/24") }]);
        assert_eq!((router.addresses_present(Some(&ours)), router.addresses_present(None)), (vec![], vec![]));
    }
}
