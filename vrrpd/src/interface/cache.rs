//! The state of the interfaces in use, updated by netlink notifications.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, LinkXdp, State};
use vrrpd_common::MacAddr;
use vrrpd_engine::interface::Remover;

use super::address::MARK;
use super::stack::{self, Stack};
use super::{Interface, InterfaceAddress, alias};
use crate::config::VirtualAddress;

/// The followed interfaces, by index.
#[derive(Debug)]
pub(super) struct InterfaceCache {
    names: Vec<String>,
    interfaces: BTreeMap<u32, Interface>,
    /// The kernel stores our mark with addresses.
    marks: bool,
    /// The addresses that we have added, by the index of their interface, and whether each is still there.
    added: BTreeMap<(u32, IpAddr), bool>,
}

/// The meaning of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing of interest.
    None,
    /// This interface has changed.
    Changed(u32),
    /// This interface was removed or renamed.
    Removed(Interface),
    /// This address was removed from this interface, and by which process.
    Lost(u32, IpAddr, Remover),
    /// An interface was renamed to a followed name; its addresses are unknown, so everything must be read again.
    Unknown,
}

impl InterfaceCache {
    /// Follows the interfaces with these names, on a kernel that stores our mark with addresses or does not.
    pub(super) fn new(names: Vec<String>, marks: bool) -> Self {
        Self { names, interfaces: BTreeMap::new(), marks, added: BTreeMap::new() }
    }

    /// Follows another interface.
    pub(super) fn follow(&mut self, name: String) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(&index)
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// Adds a link that we have created, since notifications of a link that is down do not contain its mark.
    pub(super) fn made(&mut self, link: Interface) {
        self.interfaces.insert(link.index, link);
    }

    /// Our links of this router.
    pub(super) fn links_of(&self, router: &str) -> Vec<u32> {
        let links = self.interfaces().filter(|link| link.vmac_of.as_deref() == Some(router));
        links.map(|link| link.index).collect()
    }

    /// Our links on this interface. A link of another process that has not been up may be missing; it has not needed
    /// anything of the interface yet.
    pub(super) fn links_above(&self, parent: u32) -> Vec<u32> {
        let links = self.interfaces().filter(|link| link.vmac_of.is_some() && link.below == Some(parent));
        links.map(|link| link.index).collect()
    }

    /// Whether it has a followed name, or is the link of a virtual MAC address.
    fn matters(&self, interface: &Interface) -> bool {
        interface.vmac_of.is_some() || self.names.contains(&interface.name)
    }

    /// Applies a complete dump; returns what was removed since the last one, interfaces first.
    pub(super) fn replace(&mut self, links: &[LinkMessage], addresses: &[AddressMessage]) -> Vec<Change> {
        self.read(links, addresses, true)
    }

    /// Applies a dump that may be incomplete.
    pub(super) fn update(&mut self, links: &[LinkMessage], addresses: &[AddressMessage]) -> Vec<Change> {
        self.read(links, addresses, false)
    }

    fn read(&mut self, links: &[LinkMessage], addresses: &[AddressMessage], whole: bool) -> Vec<Change> {
        let before = std::mem::take(&mut self.interfaces);
        let stack = Stack::of(links);
        for link in links {
            if let Some(mut interface) = interface(link)
                && self.matters(&interface)
            {
                interface.obstacle = stack.obstacle(interface.index);
                interface.beside = stack.beside(interface.index);
                self.interfaces.insert(interface.index, interface);
            }
        }
        for address in addresses {
            self.new_address(address);
        }
        let mut gone = Vec::new();
        let mut lost = Vec::new();
        for interface in before.into_values() {
            let is_gone = whole || self.interfaces.values().any(|there| there.name == interface.name);
            match self.interfaces.get_mut(&interface.index) {
                None if is_gone => gone.push(Change::Removed(interface)),
                None => drop(self.interfaces.insert(interface.index, interface)),
                // Followers of its old name have lost it. Our links are identified by index.
                Some(now) if now.name != interface.name && interface.vmac_of.is_none() => {
                    gone.push(Change::Removed(interface));
                }
                Some(now) => {
                    let mut missing = interface.addresses;
                    missing.retain(|address| !now.addresses.iter().any(|there| same(there, address)));
                    if whole {
                        let lose =
                            |gone: &InterfaceAddress| Change::Lost(now.index, gone.address, Remover::Other);
                        lost.extend(missing.iter().map(lose));
                    } else {
                        now.addresses.append(&mut missing);
                    }
                }
            }
        }
        for ((index, address), is_there) in &mut self.added {
            let is_it = |there: &InterfaceAddress| there.address == *address;
            *is_there &= self.interfaces.get(index).is_some_and(|there| there.addresses.iter().any(is_it));
        }
        gone.append(&mut lost);
        gone
    }

    /// Sets the MAC address of an interface that we have changed, ahead of the notification.
    pub(super) fn set_mac(&mut self, index: u32, mac: MacAddr) {
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.mac = Some(mac);
        }
    }

    /// Notes an address that we add. [`Self::address_refused`] follows if the kernel does not.
    pub(super) fn address_added(&mut self, index: u32, address: IpAddr) {
        self.added.retain(|(index, _), _| self.interfaces.contains_key(index));
        self.added.insert((index, address), true);
    }

    /// Notes that an address was not added.
    pub(super) fn address_refused(&mut self, index: u32, address: IpAddr) {
        self.added.remove(&(index, address));
    }

    /// Whether an address that we have added was removed since, and is there now without our mark: another program has
    /// added it. A kernel that stores no marks does not tell.
    pub(super) fn is_another_s(&self, index: u32, address: &VirtualAddress) -> bool {
        let is_there = |there: &InterfaceAddress| {
            (there.address, there.prefix_len) == (address.address, address.prefix_len) && !there.ours
        };
        self.marks
            && self.added.get(&(index, address.address)) == Some(&false)
            && self.interfaces.get(&index).is_some_and(|there| there.addresses.iter().any(is_there))
    }

    /// Removes an address that we have removed, ahead of the notification.
    pub(super) fn address_removed(&mut self, index: u32, removed: &VirtualAddress) {
        self.added.remove(&(index, removed.address));
        if let Some(interface) = self.interfaces.get_mut(&index) {
            let is_it = |there: &InterfaceAddress| {
                there.address == removed.address && there.prefix_len == removed.prefix_len
            };
            interface.addresses.retain(|there| !is_it(there));
        }
    }

    /// `RTM_NEWLINK`
    pub(super) fn new_link(&mut self, link: &LinkMessage) -> Change {
        let Some(new) = interface(link).filter(|_| is_about_the_interface(link)) else { return Change::None };
        let wanted = self.matters(&new);
        let answers_too = self.interfaces().any(|there| is_news_beside(there, link));
        match self.interfaces.get_mut(&new.index) {
            Some(old) if old.name == new.name => {
                let addresses = std::mem::take(&mut old.addresses);
                // What it consists of is known from a complete dump.
                let new = Interface {
                    addresses,
                    obstacle: old.obstacle.take(),
                    beside: std::mem::take(&mut old.beside),
                    ..new
                };
                let index = new.index;
                *old = new;
                Change::Changed(index)
            }
            // The link of another process: its addresses do not matter here.
            None if new.vmac_of.is_some() && !self.names.contains(&new.name) => {
                let index = new.index;
                self.interfaces.insert(index, new);
                Change::Changed(index)
            }
            Some(_) | None if wanted => Change::Unknown,
            Some(_) => self.interfaces.remove(&new.index).map_or(Change::None, Change::Removed),
            // It answers ARP for the addresses of the interface as well.
            None if answers_too => Change::Unknown,
            // Interfaces on top of another one matter to it, as VLANs do.
            None => below(link)
                .filter(|below| self.interfaces.contains_key(below))
                .map_or(Change::None, Change::Changed),
        }
    }

    /// `RTM_DELLINK`
    pub(super) fn del_link(&mut self, link: &LinkMessage) -> Change {
        if !is_about_the_interface(link) {
            return Change::None;
        }
        self.interfaces.remove(&link.header.index).map_or(Change::None, Change::Removed)
    }

    /// `RTM_NEWADDR`
    pub(super) fn new_address(&mut self, message: &AddressMessage) -> Change {
        let Some(interface) = self.interfaces.get_mut(&message.header.index) else { return Change::None };
        let Some(address) = interface_address(message) else { return Change::None };
        match interface.addresses.iter_mut().find(|there| same(there, &address)) {
            Some(there) if *there == address => return Change::None,
            Some(there) => *there = address,
            None => interface.addresses.push(address),
        }
        Change::Changed(interface.index)
    }

    /// `RTM_DELADDR`
    pub(super) fn del_address(&mut self, message: &AddressMessage, remover: Remover) -> Change {
        let Some(interface) = self.interfaces.get_mut(&message.header.index) else { return Change::None };
        let Some(address) = interface_address(message) else { return Change::None };
        let before = interface.addresses.len();
        interface.addresses.retain(|there| !same(there, &address));
        if interface.addresses.len() == before {
            return Change::None;
        }
        if let Some(is_there) = self.added.get_mut(&(interface.index, address.address)) {
            *is_there = false;
        }
        Change::Lost(interface.index, address.address, remover)
    }
}

/// Whether a link has appeared on the same port as this interface.
fn is_news_beside(there: &Interface, link: &LinkMessage) -> bool {
    // A macvlan link knows its lower interface; below a VLAN is another port.
    let port = there.below.filter(|below| there.beside.contains(below));
    stack::is_beside(link, there.index, port) && !there.beside.contains(&link.header.index)
}

/// The interface below this one.
fn below(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    })
}

/// Whether a notification is about the interface itself; a bridge sends similar ones about its ports, which continue to
/// exist.
fn is_about_the_interface(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Unspec
}

fn same(one: &InterfaceAddress, other: &InterfaceAddress) -> bool {
    one.address == other.address && one.prefix_len == other.prefix_len
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    let mut name = None;
    let mut mac = None;
    let mut xdp_program = None;
    let mut mtu = u32::MAX;
    let mut permanent_mac = None;
    let mut carrier_unknown = false;
    let mut vmac_of = None;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(octets) if link.header.link_layer_type == LinkLayerType::Ether => {
                mac = octets.as_slice().try_into().ok().map(MacAddr);
            }
            LinkAttribute::PermAddress(octets) => {
                permanent_mac = octets.as_slice().try_into().ok().map(MacAddr);
            }
            LinkAttribute::OperState(state) => carrier_unknown = *state == State::Unknown,
            LinkAttribute::IfAlias(alias) => vmac_of = alias::owner(alias).map(str::to_owned),
            LinkAttribute::Mtu(octets) => mtu = *octets,
            LinkAttribute::Xdp(xdp) => {
                xdp_program = xdp.iter().find_map(|attribute| match attribute {
                    LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(Interface {
        index: link.header.index,
        name: name?,
        admin_up: link.header.flags.contains(LinkFlags::Up),
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
        mtu,
        mac,
        permanent_mac,
        carrier_unknown,
        vmac_of,
        below: below(link),
        vrf: stack::vrf(link),
        beside: Vec::new(),
        obstacle: None,
        xdp_program,
        addresses: Vec::new(),
    })
}

/// The peer of an address on a point-to-point link.
pub(super) fn peer(message: &AddressMessage) -> Option<IpAddr> {
    let is_local = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Local(_));
    let peer = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    };
    message.attributes.iter().any(is_local).then(|| message.attributes.iter().find_map(peer)).flatten()
}

pub(super) fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let mut local = None;
    let mut address = None;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(protocol) => ours = *protocol == MARK,
            _ => {}
        }
    }
    // On a point-to-point interface, `address` is the peer's and `local` is ours; IPv6 has no `local`.
    let address: IpAddr = local.or(address)?;
    let unfinished = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let flags = message.header.flags;
    Some(InterfaceAddress {
        address,
        prefix_len: message.header.prefix_len,
        ours,
        tentative: flags.intersects(unfinished) && !flags.contains(AddressHeaderFlags::Optimistic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, flags: LinkFlags) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = flags;
        link.header.link_layer_type = LinkLayerType::Ether;
        link.attributes =
            vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])];
        link
    }

    fn address(index: u32, text: &str) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = 24;
        message.attributes = vec![AddressAttribute::Local(text.parse().expect("an address"))];
        message
    }

    fn eth0() -> InterfaceCache {
        let mut cache = InterfaceCache::new(vec!["eth0".into()], true);
        cache.replace(&[link(2, "eth0", LinkFlags::Up | LinkFlags::LowerUp)], &[address(2, "10.0.0.1")]);
        cache
    }

    #[test]
    fn a_lost_carrier_changes_the_interface_and_keeps_its_addresses() {
        let mut cache = eth0();
        assert_eq!(cache.new_link(&link(2, "eth0", LinkFlags::Up)), Change::Changed(2));
        let eth0 = cache.get(2).expect("is there");
        assert!(eth0.admin_up && !eth0.carrier);
        assert_eq!(eth0.addresses.len(), 1);
    }

    #[test]
    fn a_renamed_interface_is_gone_and_its_successor_is_read_again() {
        let mut cache = eth0();
        assert!(matches!(cache.new_link(&link(2, "old0", LinkFlags::Up)), Change::Removed(_)));
        assert_eq!(cache.new_link(&link(3, "eth0", LinkFlags::Up)), Change::Unknown);
        assert_eq!(cache.new_link(&link(4, "eth4", LinkFlags::Up)), Change::None);
    }

    #[test]
    fn an_interface_that_takes_the_name_of_another_one_is_gone_under_its_own() {
        let mut cache = InterfaceCache::new(vec!["eth0".into(), "eth1".into()], true);
        let (up, none) = (LinkFlags::Up, &[][..]);
        cache.replace(&[link(2, "eth0", up), link(3, "eth1", up)], &[address(3, "10.0.0.1")]);
        assert!(matches!(cache.del_link(&link(2, "eth0", up)), Change::Removed(_)));
        assert_eq!(cache.new_link(&link(3, "eth0", up)), Change::Unknown);
        let gone = cache.replace(&[link(3, "eth0", up)], none);
        assert!(matches!(&gone[..], [Change::Removed(old)] if old.name == "eth1"), "{gone:?}");
        assert_eq!(cache.interfaces().map(|interface| &interface.name[..]).collect::<Vec<_>>(), ["eth0"]);
        // The two exchange their names between two dumps.
        cache.replace(&[link(3, "eth0", up), link(4, "eth1", up)], none);
        let gone = cache.replace(&[link(3, "eth1", up), link(4, "eth0", up)], none);
        assert!(matches!(&gone[..], [Change::Removed(_), Change::Removed(_)]), "{gone:?}");
    }

    #[test]
    fn a_link_of_ours_is_the_same_under_another_name() {
        let mut cache = eth0();
        let ours = |name: &str| {
            let mut link = link(5, name, LinkFlags::Up);
            link.attributes.push(LinkAttribute::IfAlias("vrrpd eth0/51 ".into()));
            link
        };
        let eth0 = link(2, "eth0", LinkFlags::Up);
        cache.replace(&[eth0.clone(), ours("vrrp4.51")], &[]);
        assert_eq!(cache.replace(&[eth0, ours("other")], &[]), []);
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut cache = eth0();
        let mut port = link(2, "eth0", LinkFlags::Up);
        port.header.interface_family = AddressFamily::Bridge;
        assert_eq!(cache.del_link(&port), Change::None);
        assert!(cache.get(2).is_some());
    }

    #[test]
    fn addresses_come_and_go() {
        let mut cache = eth0();
        assert_eq!(cache.new_address(&address(2, "10.0.0.1")), Change::None);
        assert_eq!(cache.new_address(&address(2, "10.0.0.2")), Change::Changed(2));
        let (gone, by) = (IpAddr::from([10, 0, 0, 1]), Remover::Us);
        assert_eq!(cache.del_address(&address(2, "10.0.0.1"), by), Change::Lost(2, gone, by));
        assert_eq!(cache.del_address(&address(2, "10.0.0.1"), by), Change::None);
        assert_eq!(cache.new_address(&address(9, "10.0.0.9")), Change::None);
        assert_eq!(cache.get(2).expect("is there").addresses.len(), 1);
    }

    #[test]
    fn entries_missing_in_an_inconsistent_dump_are_kept() {
        let mut cache = eth0();
        cache.new_address(&address(2, "10.0.0.2"));
        assert_eq!(cache.update(&[link(2, "eth0", LinkFlags::empty())], &[address(2, "10.0.0.1")]), []);
        let eth0 = cache.get(2).expect("is there");
        assert_eq!((eth0.admin_up, eth0.addresses.len()), (false, 2));
        assert_eq!(cache.update(&[], &[]), []);
        assert_eq!(cache.get(2).expect("is there").addresses.len(), 2);
        let gone = cache.update(&[link(7, "eth0", LinkFlags::Up)], &[]);
        assert!(matches!(&gone[..], [Change::Removed(interface)] if interface.index == 2), "{gone:?}");
    }

    #[test]
    fn a_dump_shows_removed_interfaces_and_addresses() {
        let mut cache = eth0();
        cache.new_address(&address(2, "10.0.0.2"));
        let lost = cache.replace(&[link(2, "eth0", LinkFlags::Up)], &[address(2, "10.0.0.1")]);
        assert_eq!(lost, [Change::Lost(2, IpAddr::from([10, 0, 0, 2]), Remover::Other)]);
        let gone = cache.replace(&[link(7, "eth0", LinkFlags::Up)], &[]);
        assert!(matches!(&gone[..], [Change::Removed(interface)] if interface.index == 2), "{gone:?}");
        assert_eq!(cache.interfaces().map(|interface| interface.index).collect::<Vec<_>>(), [7]);
    }
}
