//! Classification of adverts in an Authentication Header (RFC 2338 §5.3.6.3), in user space only: the program in the
//! kernel passes them on, since it cannot verify them.
//!
//! The checks are those of [`classify()`](super::classify()); those of the header come between the checks of the packet
//! and of the message, as in the IP stack of RFC 2402.

use super::checks::{check_ipv4_header, check_message, check_packet, check_source};
use super::{
    Classified, Delivery, Packet, RouterKey, Routers, find_router, is_for_another, no_router, not_ours,
    unnamed, verdict,
};
use core::net::IpAddr;

use crate::params::Auth;
use crate::reject::{Reject, Rejection};
use crate::wire::ah::{self, AhHeader, AhPacket};
use crate::wire::ethernet::{self, EthernetRepr, VlanId};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::vrrp::{Message, PseudoHeader, number};

/// Verification of Authentication Headers.
pub trait Associations: Routers {
    /// Whether a packet for a virtual router of ours with [`Auth::Ah`] is authentic and not a replay. Only its Ethernet
    /// and IPv4 headers and its length have been checked.
    fn admit(&mut self, router: RouterKey, packet: &AhPacket<'_>) -> Result<(), Rejection>;
}

/// Classifies a frame with an Authentication Header; every other frame is [`Classified::NotVrrp`].
pub fn classify_authenticated<A: Associations + ?Sized>(frame: &[u8], associations: &mut A) -> Classified {
    let Some((link, at)) = EthernetRepr::parse(frame) else {
        return Classified::NotVrrp;
    };
    let vlan = link.vlan.map_or(0, VlanId::get);
    let Some(header) = Ipv4Header::read(frame, at) else {
        return Classified::NotVrrp;
    };
    if link.ethertype != ethernet::TYPE_IPV4
        || header.protocol() != ipv4::PROTOCOL_AH
        || header.version() != 4
        || is_for_another(link.destination, associations)
    {
        return Classified::NotVrrp;
    }
    let (header_len, destination) = (header.header_len(), IpAddr::V4(header.destination()));
    let is_for_us = || associations.is_destination(destination);
    if header_len < ipv4::HEADER_LEN {
        return unnamed(is_for_us, || {
            Reject::Truncated.because(number(header_len), number(ipv4::HEADER_LEN))
        });
    }
    if header.is_fragment() {
        return unnamed(is_for_us, || Reject::Fragment.because(header.fragment_offset(), 0));
    }
    let there = frame.len().saturating_sub(at);
    let Some(authentication) = AhHeader::read(frame, at + header_len) else {
        return unnamed(is_for_us, || {
            Reject::Truncated.because(number(there), number(header_len + ah::HEADER_LEN))
        });
    };
    if authentication.next_header() != ipv4::PROTOCOL_VRRP {
        return Classified::NotVrrp;
    }
    // The end according to this header, so that one of another kind still leads to its virtual router.
    let before = header_len + authentication.header_len();
    let mut packet = Packet {
        len: header.total_len(),
        there,
        message: at + before,
        message_len: header.total_len().saturating_sub(before),
        hop_limit: header.ttl(),
        mac: link.source,
        pseudo: PseudoHeader::Ipv4 { source: header.source(), destination: header.destination() },
        authenticated: true,
        delivery: Delivery::Elsewhere,
    };
    let Some(router) = find_router(frame, &packet, vlan) else {
        return no_router(is_for_us, frame, &packet, vlan);
    };
    if !associations.knows(vlan, router.family, router.vrid) {
        return if is_for_us() { not_ours(router) } else { Classified::NotVrrp };
    }
    let sender = associations.use_of(&router, packet.pseudo.source());
    packet.delivery = associations.delivery(&router, sender, destination);
    if packet.delivery == Delivery::Elsewhere {
        return Classified::NotVrrp;
    }
    let Some(expect) = associations.expect(vlan, router.family, router.vrid) else {
        return not_ours(router);
    };
    let checked = check_ipv4_header(&header, header.sum(frame, at).unwrap_or_default())
        .and_then(|()| check_packet(&packet, &expect))
        .and_then(|()| match expect.auth {
            Auth::Ah => AhPacket::read(frame.get(at..).unwrap_or_default())
                .ok_or(Reject::Auth.because(Auth::Ah.kind().into(), Auth::Ah.kind().into()))
                .and_then(|packet| associations.admit(router, &packet)),
            Auth::None | Auth::Simple(_) => {
                Err(Reject::Auth.because(Auth::Ah.kind().into(), expect.auth.kind().into()))
            }
        });
    let message = Message::read(frame, packet.message, router.family, packet.message_len);
    let checked = checked
        .and_then(|()| check_message(&packet, &message, router.vrid, &expect))
        .and_then(|advert| check_source(advert, &expect, sender.is_virtual()));
    verdict(router, &packet, checked)
}
