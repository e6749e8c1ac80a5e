//! Takes addresses off at once: all of them in one message to the kernel, and before it one look at what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use nix::net::if_::if_indextoname;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use vrrpd_common::Family;

use super::sysctl::Setting;
use super::{address, mirror, secondaries};
use crate::config::VirtualAddress;

/// Octets of requests that go to the kernel together; it takes several times as many.
const TOGETHER: usize = 32 << 10;
/// Requests begin at multiples of this.
const ALIGNMENT: usize = 4;
/// While it is on, no other address of a subnet goes with the first one.
const PROMOTE: Setting = Setting { family: Family::Ipv4, key: "promote_secondaries", value: "1" };

/// Takes these addresses off the interfaces of these numbers, and no others with them; the kernel has done so when this
/// returns. One that is not there is as good, and one that is still there is found by looking. Where the kernel keeps our
/// `marks` with addresses, one without is another's by now, and stays.
pub fn remove(addresses: &BTreeMap<u32, Vec<VirtualAddress>>, marks: bool) -> io::Result<()> {
    let mut requests = Requests { socket: Socket::new(NETLINK_ROUTE)?, octets: Vec::new() };
    let ours = if marks && !addresses.is_empty() { Some(marked(&requests.socket)?) } else { None };
    for (index, addresses) in addresses {
        let is_ours = |address: &&VirtualAddress| {
            ours.as_ref().is_none_or(|ours| ours.contains(&(*index, address.address, address.prefix_len)))
        };
        let addresses: Vec<_> = addresses.iter().filter(is_ours).copied().collect();
        let promote = secondaries::may_follow(&addresses) && are_lost_with_the_first(*index);
        if promote {
            requests.add(secondaries::promote(*index, true))?;
        }
        // The last one first: it is secondary if there are several of a subnet, and costs no promotion.
        for address in addresses.iter().rev() {
            requests.add(address::remove(*index, address))?;
        }
        if promote {
            requests.add(secondaries::promote(*index, false))?;
        }
    }
    requests.send()
}

/// The addresses that bear our mark, with the numbers of their interfaces.
fn marked(socket: &Socket) -> io::Result<BTreeSet<(u32, IpAddr, u8)>> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send_to(&octets, &SocketAddr::new(0, 0), 0)?;
    let mut marked = BTreeSet::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(there)) => {
                    let address = mirror::interface_address(&there).filter(|address| address.ours);
                    marked.extend(
                        address.map(|address| (there.header.index, address.address, address.prefix_len)),
                    );
                }
                NetlinkPayload::Done(_) => return Ok(marked),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            rest = rest.get(length.max(1).next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
    }
}

/// Whether the kernel removes the other addresses of a subnet with the first. A setting that cannot be read is left alone,
/// since it could not be restored.
fn are_lost_with_the_first(index: u32) -> bool {
    let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
    name.and_then(|name| PROMOTE.read(&name)).is_some_and(|value| value == "0")
}

/// Requests that go to the kernel together.
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
