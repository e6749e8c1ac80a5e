//! What is noted in the journal before a router takes it.

use std::net::IpAddr;

use vrrpd_common::MacAddr;

use super::held::Ledger;
use super::journal::Record;
use crate::config::{RouterConfig, VmacMode};
use crate::interface::{Interface, OtherInterfaces};

impl Record {
    /// The records of what a router holds or is about to take. `interface` is the router's; `others` are the states of
    /// further interfaces with its addresses; `own` is the interface's own MAC address, if the router replaces it. `is_asked`
    /// says which addresses the system was asked to add: a notification may come before its answer.
    pub fn of(
        config: &RouterConfig,
        ledger: &Ledger,
        is_asked: impl Fn(IpAddr) -> bool,
        interface: Option<&Interface>,
        others: &OtherInterfaces,
        own: Option<MacAddr>,
    ) -> Vec<Self> {
        let name = || config.interface.clone();
        // An address that another program added must survive a crash of ours.
        let mut to_take = ledger.missing(config.addresses_on(&config.interface), interface);
        for other in config.other_interfaces() {
            to_take.extend(ledger.missing(config.addresses_on(other), others.get(other)));
        }
        let asked = config.held_addresses().filter(|address| is_asked(address.address));
        let mut addresses: Vec<_> = ledger.addresses().map(|placed| placed.address).collect();
        for address in to_take.into_iter().chain(asked.copied()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let mut records: Vec<_> = addresses
            .into_iter()
            .map(|address| Self::Address {
                interface: config.interface_of(address.address).to_owned(),
                address,
                peer: config.options_of(&address).peer,
            })
            .collect();
        records.extend(own.map(|own| Self::Mac { interface: name(), own }));
        if config.vmac == VmacMode::Macvlan {
            records.push(Self::Link { interface: name(), router: config.name().to_string() });
        }
        if interface.is_some_and(|interface| !interface.beside.is_empty()) {
            records.push(Self::Answers { interface: name(), router: config.name().to_string() });
        }
        if config.drops_packets() {
            records.push(Self::Filter { interface: name(), router: config.name().to_string() });
        }
        let routes = config.routes.iter().cloned().map(Box::new);
        records.extend(routes.map(|route| Self::Route { interface: name(), route }));
        let rules = config.rules.iter().cloned().map(Box::new);
        records.extend(rules.map(|rule| Self::Rule { interface: name(), rule }));
        records
    }
}
