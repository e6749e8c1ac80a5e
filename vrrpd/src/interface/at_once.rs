//! Removes addresses quickly: one dump, then all requests in one message.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use nix::net::if_::if_indextoname;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressHeaderFlags, AddressMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use vrrpd_common::Family;

use super::sysctl::Setting;
use super::{address, cache, secondaries};
use crate::config::VirtualAddress;

/// Octets of requests sent together; the kernel accepts several times as many.
const TOGETHER: usize = 32 << 10;
/// Alignment of requests.
const ALIGNMENT: usize = 4;
/// While it is on, removing the first address of a subnet keeps the others.
const PROMOTE: Setting = Setting { family: Family::Ipv4, key: "promote_secondaries", value: "1" };

/// An address on an interface.
struct There {
    interface: u32,
    address: VirtualAddress,
    peer: Option<IpAddr>,
    ours: bool,
    /// Not the first of its subnet.
    secondary: bool,
}

/// Removes these addresses from the interfaces with these indexes, and no others; it is done when this returns. With
/// `marks`, an address without our mark belongs to another program and stays.
pub fn remove(addresses: &BTreeMap<u32, Vec<VirtualAddress>>, marks: bool) -> io::Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let mut requests = Requests { socket: Socket::new(NETLINK_ROUTE)?, octets: Vec::new() };
    let mut there = look(&requests.socket)?;
    // In the order in which they were added.
    there.sort_by_key(|there| there.interface);
    for interface in there.chunk_by(|one, next| one.interface == next.interface) {
        let Some((index, wanted)) =
            interface.first().and_then(|first| addresses.get_key_value(&first.interface))
        else {
            continue;
        };
        let (goes, stays): (Vec<_>, Vec<_>) =
            interface.iter().partition(|there| wanted.contains(&there.address) && (there.ours || !marks));
        let promote = is_followed(&goes, &stays) && are_lost_with_the_first(*index);
        if promote {
            requests.add(secondaries::promote(*index, true))?;
        }
        // In reverse order: a secondary address costs no promotion.
        for there in goes.iter().rev() {
            requests.add(address::remove(*index, &there.address, there.peer))?;
        }
        if promote {
            requests.add(secondaries::promote(*index, false))?;
        }
    }
    requests.send()
}

/// Whether the first address of a subnet is removed and another one stays.
fn is_followed(goes: &[&There], stays: &[&There]) -> bool {
    let first = goes.iter().filter(|there| !there.secondary && there.address.address.is_ipv4());
    first
        .flat_map(|first| stays.iter().map(move |there| (first, there)))
        .any(|(first, there)| there.address.shares_subnet_with(&first.address))
}

/// All addresses of the machine.
fn look(socket: &Socket) -> io::Result<Vec<There>> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send_to(&octets, &SocketAddr::new(0, 0), 0)?;
    let mut all = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(there)) => {
                    all.extend(cache::interface_address(&there).map(|address| There {
                        interface: there.header.index,
                        address: VirtualAddress { address: address.address, prefix_len: address.prefix_len },
                        peer: cache::peer(&there),
                        ours: address.ours,
                        secondary: there.header.flags.contains(AddressHeaderFlags::Secondary),
                    }));
                }
                NetlinkPayload::Done(_) => return Ok(all),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            rest = rest.get(length.max(1).next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
    }
}

/// Whether the kernel removes the other addresses of a subnet with the first. A setting that cannot be read is not
/// changed, since it could not be restored.
fn are_lost_with_the_first(index: u32) -> bool {
    let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
    name.and_then(|name| PROMOTE.read(&name)).is_some_and(|value| value == "0")
}

/// Requests sent together.
struct Requests {
    socket: Socket,
    octets: Vec<u8>,
}

impl Requests {
    fn add(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST;
        request.finalize();
        let start = self.octets.len();
        self.octets.resize((start + request.buffer_len()).next_multiple_of(ALIGNMENT), 0);
        if let Some(place) = self.octets.get_mut(start..) {
            request.serialize(place);
        }
        if self.octets.len() >= TOGETHER { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.octets.is_empty() {
            self.socket.send_to(&self.octets, &SocketAddr::new(0, 0), 0)?;
            self.octets.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value;

    #[test]
    fn others_are_lost_only_with_the_first_address_of_their_subnet() {
        let there = |text: &str, secondary| There {
            peer: None,
            interface: 1,
            address: value::address(text).expect("legal"),
            ours: true,
            secondary,
        };
        let lost =
            |goes: (&str, bool), stays: &str| is_followed(&[&there(goes.0, goes.1)], &[&there(stays, true)]);
        assert!(lost(("10.0.0.100/24", false), "10.0.0.101/24"));
        assert!(!lost(("10.0.0.100/24", true), "10.0.0.101/24"));
        assert!(!lost(("10.0.0.100/24", false), "10.0.1.101/24"));
        assert!(!lost(("10.0.0.100/24", false), "10.0.0.101/25"));
        assert!(!lost(("2001:db8::1/64", false), "2001:db8::2/64"));
    }
}
