//! What routers of one process cannot have together, each of which is right by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Datapath, Key, RouterConfig, VmacMode};

/// Routers that go together.
#[derive(Debug, Default)]
pub(super) struct Together {
    names: BTreeSet<String>,
    /// What users call them.
    titles: BTreeSet<String>,
    /// Interfaces that take a virtual MAC address.
    with_vmac: BTreeSet<String>,
    /// Addresses on an interface, with the router that has them.
    addresses: BTreeMap<(String, IpAddr), String>,
    /// What is wanted of the kernel on an interface, with the first router that wants it.
    datapaths: BTreeMap<String, (Datapath, bool, String)>,
}

/// What does not go together.
pub(super) struct Conflict {
    /// The option to change; `None`: the whole router.
    pub(super) key: Option<Key>,
    /// What is wrong and what would be right.
    pub(super) message: String,
}

impl Together {
    /// Adds a router that goes with those before.
    pub(super) fn add(&mut self, config: &RouterConfig) -> Result<(), Conflict> {
        let (name, interface) = (config.name().to_string(), &config.interface);
        let conflict = |key, message| Err(Conflict { key, message });
        if !self.names.insert(name.clone()) {
            return conflict(None, format!("duplicate router {name}: a VRID must be unique on an interface"));
        }
        if let Some(title) = &config.title
            && !self.titles.insert(title.clone())
        {
            return conflict(Some(Key::Name), format!("another router is called {title} as well"));
        }
        if config.vmac == VmacMode::Interface && !self.with_vmac.insert(interface.clone()) {
            let message = format!(
                "{interface} takes the virtual MAC address of one virtual router only; use macvlan or none for the others"
            );
            return conflict(Some(Key::Vmac), message);
        }
        for address in config.held_addresses() {
            let place = (config.interface_of(address.address).to_owned(), address.address);
            if let Some(other) = self.addresses.insert(place, name.clone()) {
                let message = format!(
                    "{} is already used by {other}: an address belongs to one router per interface",
                    address.address
                );
                return conflict(Some(Key::Addresses), message);
            }
        }
        let wanted = (config.datapath, config.xdp_pass, name);
        let (datapath, xdp_pass, first) = self.datapaths.entry(interface.clone()).or_insert(wanted);
        let of_keys = [
            (config.datapath_option.key(), *datapath != config.datapath),
            (Key::XdpPass, *xdp_pass != config.xdp_pass),
        ];
        for (key, differs) in of_keys {
            if differs {
                let message = format!(
                    "{first} on {interface} has a different value: all routers of an interface share one data path"
                );
                return conflict(Some(key), message);
            }
        }
        Ok(())
    }
}
