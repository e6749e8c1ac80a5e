//! Conflicts between the routers of one process that are valid on their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Datapath, DatapathOption, Key, RouterConfig, VmacMode};

/// Routers without conflicts.
#[derive(Debug, Default)]
pub(super) struct Together {
    names: BTreeSet<String>,
    /// Their configured names.
    titles: BTreeSet<String>,
    /// Interfaces with a virtual MAC address on the interface itself.
    with_vmac: BTreeSet<String>,
    /// Addresses on an interface, with their router.
    addresses: BTreeMap<(String, IpAddr), String>,
    /// Data path of an interface, by its first router.
    datapaths: BTreeMap<String, First>,
}

/// The first router of an interface.
#[derive(Debug)]
struct First {
    name: String,
    datapath: Datapath,
    option: DatapathOption,
    xdp_pass: bool,
}

/// A conflict.
pub(super) struct Conflict {
    /// The option to change; `None`: the router as a whole.
    pub(super) key: Option<Key>,
    /// What is wrong and what is expected.
    pub(super) message: String,
}

impl Together {
    /// Adds a router, or returns its conflict with those before.
    pub(super) fn add(&mut self, config: &RouterConfig) -> Result<(), Conflict> {
        let (name, interface) = (config.name().to_string(), &config.interface);
        let conflict = |key, message| Err(Conflict { key, message });
        if !self.names.insert(name.clone()) {
            return conflict(None, format!("duplicate router {name}: a VRID must be unique on an interface"));
        }
        if let Some(title) = &config.title
            && !self.titles.insert(title.clone())
        {
            return conflict(Some(Key::Name), format!("duplicate router name {title}"));
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
        let first = self.datapaths.entry(interface.clone()).or_insert(First {
            name,
            datapath: config.datapath,
            option: config.datapath_option,
            xdp_pass: config.xdp_pass,
        });
        let of_keys = [
            (config.datapath_option.key(), first.option.key(), first.datapath != config.datapath),
            (Key::XdpPass, Key::XdpPass, first.xdp_pass != config.xdp_pass),
        ];
        for (key, first_key, differs) in of_keys {
            if differs {
                let message = format!(
                    "{} on {interface} has a different value of {}: all routers of an interface share one data path",
                    first.name,
                    first_key.name()
                );
                return conflict(Some(key), message);
            }
        }
        Ok(())
    }
}
