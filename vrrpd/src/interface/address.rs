//! Netlink requests that add and remove virtual addresses.

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use vrrpd_engine::held_address::AddressOptions;

use crate::config::VirtualAddress;

/// The mark of our addresses (`IFA_PROTO`, Linux 5.18): VRRP's IP protocol number.
pub(super) const MARK: AddressProtocol = AddressProtocol::Other(112);

const FOREVER: u32 = u32::MAX;
/// `IFA_PROTO`
const PROTO: u16 = 11;

/// A request that fails on every kernel, since there is no interface 0. A kernel with marks refuses it with `ERANGE`,
/// because the mark is empty. One without looks for the interface.
pub(super) fn probe_marks() -> RouteNetlinkMessage {
    let nowhere = VirtualAddress { address: IpAddr::V4(Ipv4Addr::LOCALHOST), prefix_len: 32 };
    let mut message = message(0, &nowhere, None);
    message.attributes.push(AddressAttribute::Other(DefaultNla::new(PROTO, Vec::new())));
    RouteNetlinkMessage::NewAddress(message)
}

/// Adds the address to the interface; to be sent with [`Create`](super::ask::Manner::Create). Without `route`, no route
/// to its subnet is added.
pub(super) fn add(
    index: u32,
    address: &VirtualAddress,
    route: bool,
    options: &AddressOptions,
) -> RouteNetlinkMessage {
    let mut message = message(index, address, options.peer);
    message.attributes.push(AddressAttribute::Protocol(MARK));
    message.header.scope = options.scope.map_or(AddressScope::Universe, AddressScope::from);
    message.attributes.extend(options.label.map(|label| AddressAttribute::Label(label.to_string())));
    message.attributes.extend(options.broadcast.map(AddressAttribute::Broadcast));
    let mut flags = AddressFlags::empty();
    if !route {
        flags |= AddressFlags::Noprefixroute;
    }
    let mut preferred = options.preferred_lifetime;
    if let IpAddr::V6(v6) = address.address {
        // No duplicate address detection: the master won the election, so the address is its own.
        flags |= AddressFlags::Nodad;
        if !v6.is_unicast_link_local() && preferred.is_none() {
            // Deprecated from the start: reachable, but not a source for connections, which would end with a failover.
            preferred = Some(0);
        }
    }
    if let Some(preferred) = preferred {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = preferred;
        lifetime.ifa_valid = FOREVER;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    RouteNetlinkMessage::NewAddress(message)
}

/// Removes the address; fails with `EADDRNOTAVAIL` if it does not exist.
pub(super) fn remove(index: u32, address: &VirtualAddress, peer: Option<IpAddr>) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelAddress(message(index, address, peer))
}

fn message(index: u32, address: &VirtualAddress, peer: Option<IpAddr>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len;
    message.header.scope = AddressScope::Universe;
    message.header.family = match address.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes.push(AddressAttribute::Local(address.address));
    message.attributes.push(AddressAttribute::Address(peer.unwrap_or(address.address)));
    message
}
