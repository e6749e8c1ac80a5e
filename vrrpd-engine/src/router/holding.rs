//! What a Master takes from the system, and what it holds.

use std::net::IpAddr;

use vrrpd_common::MacAddr;
use vrrpd_common::router::StateName;

use super::{Pending, Router};
use crate::config::{VirtualAddress, VmacFallback, VmacMode};
use crate::interface::Interface;
use crate::ledger::{Answers, Filter, Journal, Order, Place, PlacedAddress, Record, Resource, SystemError};
use crate::vmac::WithoutVmac;

impl Router {
    /// Master without a queued change of state.
    pub fn is_settled_master(&self) -> bool {
        self.is_master() && self.waiting.is_none()
    }

    /// Master, or not giving back yet.
    pub fn is_holding(&self) -> bool {
        let gives_back = |pending: &Pending| matches!(pending.order, Order::Release(_));
        self.is_master() && !self.waiting.as_deref().is_some_and(gives_back)
    }

    /// The virtual address, if another program added it before this Master could.
    pub fn another_s(&self, address: IpAddr) -> Option<VirtualAddress> {
        let is_taken = self.ledger.addresses().any(|held| held.address.address == address);
        let known = self.config.held_addresses().find(|known| known.address == address)?;
        (!is_taken).then_some(*known)
    }

    /// Whether a pending request changes the MAC address of the interface.
    pub fn is_changing_mac(&self) -> bool {
        self.waiting.as_ref().is_some_and(|pending| pending.order.changes_mac())
    }

    /// Whether everything taken was given back.
    pub fn holds_nothing(&self) -> bool {
        self.waiting.is_none() && self.ledger.is_empty()
    }

    /// The source MAC address of adverts and announcements: the virtual one if in effect (RFC 9568 §7.2).
    pub fn source_mac(&self, interface: Option<&Interface>) -> Option<MacAddr> {
        self.ledger.vmac_address().or_else(|| interface?.mac)
    }

    /// Evaluates an interface that appeared or changed its kind: it may not support a virtual MAC address. Returns what
    /// to log.
    pub fn meet(&mut self, interface: &Interface) -> Option<(WithoutVmac, SystemError)> {
        let obstacle = self.vmac.meet(interface)?;
        self.vmac_refused(SystemError::unsupported(obstacle.to_string()))
    }

    /// Handles a refused virtual MAC address. Returns what to log.
    pub fn vmac_refused(&mut self, error: SystemError) -> Option<(WithoutVmac, SystemError)> {
        let is_new = self.vmac.refused(&error);
        match self.config.vmac_fallback {
            VmacFallback::None => {
                self.vmac.go_without(&error);
                self.ledger.forget_vmac();
                Some((WithoutVmac::GoesOn, error))
            }
            VmacFallback::Refuse => is_new.then_some((WithoutVmac::StaysBackup, error)),
        }
    }

    /// Handles an accepted virtual MAC address.
    pub fn vmac_taken(&mut self) {
        if self.ledger.vmac().is_some() {
            self.vmac.taken();
        }
    }

    /// The interface with the addresses of a Master.
    pub fn place_of_addresses(&self) -> &str {
        let made = self.ledger.made().filter(|_| self.vmac.mode() == VmacMode::Macvlan);
        made.map_or(&self.config.interface, |(_, name)| name)
    }

    /// The resources to take when the router becomes Master on this interface, or to restore.
    pub fn to_take(&self, interface: &Interface) -> Vec<Resource> {
        let is_on_link = self.vmac.mode() == VmacMode::Macvlan;
        let on = if is_on_link {
            Place::Link { below: interface.index }
        } else {
            Place::Interface(interface.index)
        };
        // Subnets of the interface below get a route through the link.
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

    /// The packet filter that the router needs, if any.
    fn filter(&self) -> Option<Filter> {
        let addresses = self.config.held_addresses().map(|held| held.address).collect::<Vec<_>>();
        (self.config.drops_packets() && !addresses.is_empty())
            .then(|| Filter { router: self.config.name().to_string(), addresses })
    }

    fn missing_filter(&self) -> Option<Resource> {
        let filter = self.filter().filter(|filter| self.ledger.filter() != Some(filter))?;
        Some(Resource::Filter(Box::new(filter)))
    }

    /// The packet filter that it holds but does not need any more.
    pub fn unwanted_filter(&self) -> Option<Resource> {
        let held = self.ledger.filter().filter(|_| !self.config.drops_packets())?;
        Some(Resource::Filter(Box::new(held.clone())))
    }

    /// The resources to take on another interface.
    pub fn to_take_on<'a>(&'a self, other: &'a Interface) -> impl Iterator<Item = Resource> + 'a {
        let on = Place::Interface(other.index);
        let missing = self.ledger.missing(self.config.addresses_on(&other.name), Some(other));
        missing.into_iter().map(move |address| {
            let options = self.config.options_of(&address);
            Resource::Address(PlacedAddress { on, address, route: true, options })
        })
    }

    /// Other interfaces of its addresses that do not exist.
    pub fn missing_interfaces(&self) -> impl Iterator<Item = &str> {
        self.config.other_interfaces().into_iter().filter(|name| !self.others.contains_key(*name))
    }

    /// Addresses taken on another interface that was removed or renamed.
    pub fn stranded_addresses(&self) -> Vec<Resource> {
        let is_stranded = |placed: &&PlacedAddress| {
            let other = self.config.address_interfaces.get(&placed.address.address);
            let is_in_place = |other: &Interface| placed.on == Place::Interface(other.index);
            other.is_some_and(|name| !self.others.get(name).is_some_and(is_in_place))
        };
        self.ledger.addresses().filter(is_stranded).copied().map(Resource::Address).collect()
    }

    /// Whether only packet filter, routes or rules are missing, for which no announcement is needed.
    pub fn lacks_only_routing(&self, interface: &Interface) -> bool {
        let is_untold = |resource: &Resource| {
            resource.is_routing() || matches!(resource, Resource::Answers(_) | Resource::Filter(_))
        };
        (self.routing().next().is_some() || self.missing_filter().is_some())
            && self.to_take(interface).iter().all(is_untold)
    }

    /// All routes and rules. The kernel removes routes together with an address or link, so each request contains all
    /// of them; the answer tells which exist.
    pub fn routing(&self) -> impl Iterator<Item = Resource> + '_ {
        let routes = self.config.routes.iter().map(|route| Resource::Route(Box::new(route.clone())));
        routes.chain(self.config.rules.iter().map(|rule| Resource::Rule(Box::new(rule.clone()))))
    }

    /// The interfaces that would answer ARP for the addresses with their own MAC addresses. Not needed for IPv6, where
    /// an interface answers for its own addresses only.
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

    /// Adopts addresses that an earlier daemon left on the interface; returns these.
    pub fn adopt(&mut self, interface: &Interface, marks: bool, journal: &Journal) -> Vec<VirtualAddress> {
        let Self { ledger, config, others, .. } = self;
        let interfaces = std::iter::once(interface).chain(others.values());
        interfaces.flat_map(|interface| ledger.adopt(config, interface, marks, journal)).collect()
    }

    /// Virtual addresses that the interface has although the router is not Master and did not add them: the machine
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
            // An address with our mark was just removed by this daemon, or belongs to another one of ours.
            !self.ledger.has(address) && there.is_some_and(|there| !there.ours)
        };
        self.config.held_addresses().filter(is_present).copied().collect()
    }

    /// Its records for the journal.
    pub fn records(&self, interface: Option<&Interface>) -> Vec<Record> {
        let is_asked = |address| self.waiting.as_ref().is_some_and(|pending| pending.order.takes(address));
        Record::of(&self.config, &self.ledger, is_asked, interface, &self.others, self.vmac.own_mac())
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
    fn addresses_are_added_to_the_macvlan_link_with_a_route_only_if_the_interface_has_none() {
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
        let refused = |what| Some((what, error.clone()));
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
