//! From the octets of a frame to an [`Advert`], or to the reason why it is not one.
//!
//! This is the only parser of the receive path: the daemon runs it on slices, the program in the kernel on packet
//! memory. Therefore each load goes through [`Octets`], loops have constant bounds, everything is read before it is
//! judged (see [`Message`]), and a frame that is not VRRP is recognised in as few steps as possible. It does not change
//! the frame, keeps no state, and judges each frame alone; [`crate::router`] handles adverts.
//!
//! Start at [`classify()`]. The checks and their order are those of RFC 9568 §7.1 and RFC 3768 §7.1, with one addition:
//! whether the virtual router is ours is checked first, so that a frame for others is never counted as our reject.

use core::net::IpAddr;

use crate::advert::Advert;
use crate::mac::MacAddr;
use crate::octets::Octets;
use crate::params::{Family, Vrid};
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
pub use checks::Expect;
use checks::{Packet, advert, check_ipv4_header, check_source, cut_short};
pub use delivery::{AddressUse, Delivery};

/// The virtual routers of an interface.
pub trait Routers {
    /// The checks for this virtual router; `None` if it is not ours. `vlan` is 0 for untagged and priority-tagged
    /// frames.
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect>;

    /// Whether the virtual router may be ours, if that can be determined with less effort. Called before the message is
    /// read.
    #[inline(always)]
    fn knows(&self, vlan: u16, family: Family, vrid: Vrid) -> bool {
        self.expect(vlan, family, vrid).is_some()
    }

    /// The use of `address`, the source of an advert, by one of our virtual routers. Called before any check: in the
    /// kernel a call clobbers registers, and the compiler might copy parts of an unfinished verdict that are not
    /// initialised.
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

    /// Whether the interface accepts frames to this unicast MAC address. A packet socket gets that from the kernel
    /// (`PACKET_OTHERHOST`); a program before the network stack must know it.
    #[inline(always)]
    fn receives(&self, _destination: MacAddr) -> bool {
        true
    }
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

/// The classification of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classified {
    /// Not a VRRP message to the group or to a router with peers: ignored.
    NotVrrp,
    /// For a virtual router that is not configured here: passed on, and counted.
    NotOurs {
        /// The VLAN of the frame, 0 for none.
        vlan: u16,
        /// The address family.
        family: Family,
        /// The VRID in the message, possibly 0.
        vrid_number: u8,
    },
    /// A VRRP message that failed a check.
    Reject {
        /// The check.
        rejection: Rejection,
        /// The virtual router of ours in the message, and its source; `None` if the message is too damaged.
        router: Option<(RouterKey, IpAddr)>,
    },
    /// A valid advert for one of our virtual routers.
    Advert {
        /// The virtual router.
        router: RouterKey,
        /// The advert.
        advert: Advert,
    },
}

/// Classifies a frame, from its Ethernet header.
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

/// Classifies a frame with the Ethernet header `link` and an IPv4 packet at `at`. A program that knows the kind of
/// packet calls this or [`classify_ipv6`]: in a common path, a register for the rest of an address would be
/// uninitialised for IPv4, which the kernel's verifier refuses.
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
    // Before the payload is read: a later fragment does not begin with a VRRP header.
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

/// Classifies a frame with an IPv6 packet at `at`.
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

/// Whether a frame is for another station only, for example a guest on a bridge. It is ignored, whatever its content.
#[inline(always)]
fn is_for_another<R: Routers + ?Sized>(destination: MacAddr, routers: &R) -> bool {
    !destination.is_group() && !routers.receives(destination)
}

/// The virtual router of a packet, ours or not. Reads only the VRID, and only inside the packet.
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

/// The verdict on a packet for a virtual router that is not ours.
#[inline(always)]
const fn not_ours(router: RouterKey) -> Classified {
    Classified::NotOurs { vlan: router.vlan, family: router.family, vrid_number: router.vrid.get() }
}

/// The verdict on a packet without a router of ours: not VRRP, unless it was sent to an address of one of them. The
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
