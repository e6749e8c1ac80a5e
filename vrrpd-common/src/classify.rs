//! From the octets of a frame to an [`Advert`], or to the reason why it is none.
//!
//! This is the one parser of the receive path: the daemon runs it over slices, the program in the kernel over packet
//! memory. Hence its form: each load goes through [`Octets`], loops have constant bounds, all reading is done before
//! any judging (see [`Message`]), and a frame that is not VRRP is recognised in as few steps as possible. It never
//! changes the frame, keeps no state, and judges one frame at a time: what an advert means is for [`crate::router`] to
//! say.
//!
//! Start at [`classify()`]. The checks and their order are those of RFC 9568 §7.1 and RFC 3768 §7.1, with one
//! addition: whether a virtual router is ours is asked first, so that a frame for others never counts against us.

use core::net::{IpAddr, Ipv4Addr};

use crate::advert::{AddressDigest, Advert};
use crate::mac::MacAddr;
use crate::octets::Octets;
use crate::params::{Auth, Family, Interval, Version, Vrid};
use crate::reject::{Reject, Rejection};
use crate::wire::ethernet::{self, EthernetRepr, VlanId};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::vrrp::{self, Message, PseudoHeader, number};

mod authenticated;
mod checks;
mod delivery;
#[cfg(test)]
mod tests;

pub use authenticated::{Associations, classify_authenticated};
use checks::{advert, check_ipv4_header, check_source, cut_short};
pub use delivery::{AddressUse, Delivery};

/// Which virtual routers an interface has.
pub trait Routers {
    /// What an advert for this virtual router has to look like; `None` when it is not ours. `vlan` is 0 for frames
    /// without a tag, and for those with a priority only.
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect>;

    /// Whether anything is expected for it, if that can be said with less effort. It is asked before the message is read.
    #[inline(always)]
    fn knows(&self, vlan: u16, family: Family, vrid: Vrid) -> bool {
        self.expect(vlan, family, vrid).is_some()
    }

    /// What one of our virtual routers uses `address`, the source of an advert, for. Called before any check: in the kernel a
    /// call clobbers registers, and the compiler might copy parts of an unfinished verdict that are not initialised.
    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse;

    /// Whether a router here accepts adverts to this address: its group, or its own address if it has peers.
    /// [`classify()`] asks this only about packets that name none of our routers, and before any check.
    #[inline(always)]
    fn is_destination(&self, destination: IpAddr) -> bool {
        is_vrrp_group(destination)
    }

    /// Whether `router`, one of ours, accepts an advert to this address. `sender` is what [`Routers::use_of`] returned for the
    /// source. The kernel knows VRRP's group and peers; user space knows other groups as well.
    #[inline(always)]
    fn delivery(&self, _router: &RouterKey, _sender: AddressUse, destination: IpAddr) -> Delivery {
        Delivery::to_group(is_vrrp_group(destination))
    }

    /// Whether the interface takes in frames to this address, which names one station. A packet socket has that from the
    /// kernel (`PACKET_OTHERHOST`); a program before the network stack has to know.
    #[inline(always)]
    fn receives(&self, _destination: MacAddr) -> bool {
        true
    }
}

/// What an advert for one of our virtual routers has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Expect {
    /// The version we speak. Over IPv6 it is version 3 whatever this says.
    pub version: Version,
    /// Our advertisement interval.
    pub interval: Interval,
    /// Our authentication; version 2 only.
    pub auth: Auth,
    /// Our own primary address: what comes from it is our own frame come back.
    pub source: Option<IpAddr>,
    /// The broadcast address of the subnet that it is in, if that has one: nobody's own address.
    pub broadcast: Option<Ipv4Addr>,
    /// Accept only unicast adverts from peers to `source`, each peer with a lowest TTL of its own; otherwise multicast.
    pub from_peers: bool,
    /// The lowest TTL or hop limit of multicast: 255 on a link (RFC 9568 §5.1.1.3).
    pub min_ttl: u8,
    /// Take an interval other than ours in version 2, where RFC 3768 §7.1 says to discard.
    pub accept_interval_mismatch: bool,
    /// Take adverts without addresses, where RFC 9568 §5.2.5 says to discard: ours have none either.
    pub accept_no_addresses: bool,
    /// Take this list of addresses only, unless it comes from their owner (RFC 3768 §7.1); `None` takes any.
    pub address_list: Option<AddressDigest>,
}

/// A virtual router on a parent interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouterKey {
    /// The VLAN of the frame, 0 for none.
    pub vlan: u16,
    /// The address family.
    pub family: Family,
    /// The VRID.
    pub vrid: Vrid,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classified {
    /// No VRRP message to the group, or to a router that takes unicast: none of our business.
    NotVrrp,
    /// For a virtual router that is not configured here: left to others, counted.
    NotOurs {
        /// The VLAN of the frame, 0 for none.
        vlan: u16,
        /// The address family.
        family: Family,
        /// The VRID as it stands there: 0 is possible.
        vrid_number: u8,
    },
    /// A VRRP message that failed a check.
    Reject {
        /// The check.
        rejection: Rejection,
        /// The virtual router of ours that it names, and from whom it comes; `None` when it is too damaged to name one.
        router: Option<(RouterKey, IpAddr)>,
    },
    /// A valid advert for one of our virtual routers.
    Advert {
        /// The virtual router.
        router: RouterKey,
        /// What it says.
        advert: Advert,
    },
}

/// The packet around a VRRP message.
struct Packet {
    /// Octets of it, as the IP header says.
    len: usize,
    /// Octets of it and of any padding in the frame.
    there: usize,
    /// Where the message begins.
    message: usize,
    /// Octets of the message, as the IP header says.
    message_len: usize,
    /// TTL or hop limit.
    hop_limit: u8,
    /// Source MAC address of the frame.
    mac: MacAddr,
    /// Family and addresses.
    pseudo: PseudoHeader,
    /// Whether it came in an Authentication Header that was verified.
    authenticated: bool,
    /// How it came.
    delivery: Delivery,
}

/// Says what a frame is, Ethernet header first.
#[inline(always)]
pub fn classify<F: Octets + ?Sized, R: Routers + ?Sized>(frame: &F, routers: &R) -> Classified {
    let Some((link, at)) = EthernetRepr::parse(frame) else {
        return Classified::NotVrrp;
    };
    match link.ethertype {
        ethernet::TYPE_IPV4 => classify_ipv4(frame, &link, at, routers),
        ethernet::TYPE_IPV6 => classify_ipv6(frame, &link, at, routers),
        _ => Classified::NotVrrp,
    }
}

/// The same for a frame whose header `link` is, with an IPv4 packet at `at`. A program that knows what it has calls this or
/// [`classify_ipv6`]: where both meet, the part of an address that IPv4 has not is in no register, and the kernel refuses that it
/// is kept.
#[inline(always)]
pub fn classify_ipv4<F: Octets + ?Sized, R: Routers + ?Sized>(
    frame: &F,
    link: &EthernetRepr,
    at: usize,
    routers: &R,
) -> Classified {
    let vlan = link.vlan.map_or(0, VlanId::get);
    let Some(header) = Ipv4Header::read(frame, at) else {
        return Classified::NotVrrp;
    };
    if header.protocol() != ipv4::PROTOCOL_VRRP
        || header.version() != 4
        || is_for_another(link.destination, routers)
    {
        return Classified::NotVrrp;
    }
    let (header_len, destination) = (header.header_len(), IpAddr::V4(header.destination()));
    let is_for_us = || routers.is_destination(destination);
    if header_len < ipv4::HEADER_LEN {
        return unnamed(is_for_us, || {
            Reject::Truncated.because(number(header_len), number(ipv4::HEADER_LEN))
        });
    }
    // Before anything is read from the payload: in a later fragment it does not begin with a VRRP header.
    if header.is_fragment() {
        return unnamed(is_for_us, || Reject::Fragment.because(header.fragment_offset(), 0));
    }
    let mut packet = Packet {
        len: header.total_len(),
        there: frame.len().saturating_sub(at),
        message: at + header_len,
        message_len: header.total_len().saturating_sub(header_len),
        hop_limit: header.ttl(),
        mac: link.source,
        pseudo: PseudoHeader::Ipv4 { source: header.source(), destination: header.destination() },
        authenticated: false,
        delivery: Delivery::Elsewhere,
    };
    let Some(router) = find_router(frame, &packet, vlan) else {
        return no_router(is_for_us, frame, &packet, vlan);
    };
    if !routers.knows(vlan, router.family, router.vrid) {
        return if is_for_us() { not_ours(router) } else { Classified::NotVrrp };
    }
    let message = Message::read(frame, packet.message, Family::Ipv4, packet.message_len);
    let header_sum = header.sum(frame, at).unwrap_or_default();
    let sender = routers.use_of(&router, packet.pseudo.source());
    packet.delivery = routers.delivery(&router, sender, packet.pseudo.destination());
    if packet.delivery == Delivery::Elsewhere {
        return Classified::NotVrrp;
    }
    let Some(expect) = routers.expect(vlan, router.family, router.vrid) else {
        return not_ours(router);
    };
    let checked = check_ipv4_header(&header, header_sum)
        .and_then(|()| advert(&packet, &message, router.vrid, &expect))
        .and_then(|advert| check_source(advert, &expect, sender.is_virtual()));
    verdict(router, &packet, checked)
}

/// The same for a frame with an IPv6 packet at `at`.
#[inline(always)]
pub fn classify_ipv6<F: Octets + ?Sized, R: Routers + ?Sized>(
    frame: &F,
    link: &EthernetRepr,
    at: usize,
    routers: &R,
) -> Classified {
    let vlan = link.vlan.map_or(0, VlanId::get);
    let Some(header) = Ipv6Header::read(frame, at) else {
        return Classified::NotVrrp;
    };
    if header.next_header() != ipv6::NEXT_HEADER_VRRP
        || header.version() != 6
        || is_for_another(link.destination, routers)
    {
        return Classified::NotVrrp;
    }
    let (Some(source), Some(destination)) = (header.source(), header.destination()) else {
        return Classified::NotVrrp;
    };
    let message_len = usize::from(header.payload_len());
    let mut packet = Packet {
        len: ipv6::HEADER_LEN + message_len,
        there: frame.len().saturating_sub(at),
        message: at + ipv6::HEADER_LEN,
        message_len,
        hop_limit: header.hop_limit(),
        mac: link.source,
        pseudo: PseudoHeader::Ipv6 { source, destination },
        authenticated: false,
        delivery: Delivery::Elsewhere,
    };
    let is_for_us = || routers.is_destination(destination.into());
    let Some(router) = find_router(frame, &packet, vlan) else {
        return no_router(is_for_us, frame, &packet, vlan);
    };
    if !routers.knows(vlan, router.family, router.vrid) {
        return if is_for_us() { not_ours(router) } else { Classified::NotVrrp };
    }
    let message = Message::read(frame, packet.message, Family::Ipv6, packet.message_len);
    let sender = routers.use_of(&router, packet.pseudo.source());
    packet.delivery = routers.delivery(&router, sender, packet.pseudo.destination());
    if packet.delivery == Delivery::Elsewhere {
        return Classified::NotVrrp;
    }
    let Some(expect) = routers.expect(vlan, router.family, router.vrid) else {
        return not_ours(router);
    };
    let checked = advert(&packet, &message, router.vrid, &expect)
        .and_then(|advert| check_source(advert, &expect, sender.is_virtual()));
    verdict(router, &packet, checked)
}

/// Whether a frame is for another station alone: a guest on a bridge, say. It is none of ours, whatever it holds.
#[inline(always)]
fn is_for_another<R: Routers + ?Sized>(destination: MacAddr, routers: &R) -> bool {
    !destination.is_group() && !routers.receives(destination)
}

/// The virtual router that a packet names, ours or not. Only the VRID is read, and only from inside the packet.
#[inline(always)]
fn find_router<F: Octets + ?Sized>(frame: &F, packet: &Packet, vlan: u16) -> Option<RouterKey> {
    if packet.message_len <= vrrp::field::VRID {
        return None;
    }
    let vrid = Vrid::new(frame.u8_at(packet.message + vrrp::field::VRID)?)?;
    Some(RouterKey { vlan, family: packet.pseudo.family(), vrid })
}

/// The verdict on a packet without a VRID.
#[inline(always)]
fn no_router<F: Octets + ?Sized>(
    is_for_us: impl Fn() -> bool,
    frame: &F,
    packet: &Packet,
    vlan: u16,
) -> Classified {
    if packet.message_len <= vrrp::field::VRID {
        return unnamed(is_for_us, || {
            Reject::Truncated.because(number(packet.message_len), number(vrrp::HEADER_LEN))
        });
    }
    if frame.u8_at(packet.message + vrrp::field::VRID).is_none() {
        return unnamed(is_for_us, || cut_short(packet));
    }
    if is_for_us() {
        Classified::NotOurs { vlan, family: packet.pseudo.family(), vrid_number: 0 }
    } else {
        Classified::NotVrrp
    }
}

/// Whether an address is VRRP's group (RFC 9568 §5.1.1.2, §5.1.2.2).
#[inline(always)]
pub fn is_vrrp_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address == ipv4::VRRP_GROUP,
        IpAddr::V6(address) => address == ipv6::VRRP_GROUP,
    }
}

/// Nothing is expected for this virtual router.
#[inline(always)]
const fn not_ours(router: RouterKey) -> Classified {
    Classified::NotOurs { vlan: router.vlan, family: router.family, vrid_number: router.vrid.get() }
}

/// The verdict on a packet that names no router of ours: not VRRP, unless it was sent to an address of one of them. The
/// address is looked up here, not first, so that the kernel's verifier follows the reading of a message only once.
#[inline(always)]
fn unnamed(is_for_us: impl Fn() -> bool, rejection: impl FnOnce() -> Rejection) -> Classified {
    if is_for_us() {
        Classified::Reject { rejection: rejection(), router: None }
    } else {
        Classified::NotVrrp
    }
}

#[inline(always)]
fn verdict(router: RouterKey, packet: &Packet, checked: Result<Advert, Rejection>) -> Classified {
    match checked {
        Ok(advert) => Classified::Advert { router, advert: Advert { mac: packet.mac, ..advert } },
        Err(rejection) => Classified::Reject { rejection, router: Some((router, packet.pseudo.source())) },
    }
}
