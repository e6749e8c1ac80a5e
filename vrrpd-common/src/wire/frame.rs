//! Complete frames: the adverts, gratuitous ARP packets and Neighbor Advertisements that the daemon sends.
//!
//! The state machine and the daemon decide when to send which frame, and from which of the daemon's Ethernet addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ah::{self, AhRepr};
use super::arp::ArpRepr;
use super::ethernet::{self, EthernetRepr};
use super::ipv4::{self, Ipv4Repr};
use super::ipv6::{self, Ipv6Repr};
use super::ndisc::{self, NeighborAdvertRepr};
use super::vrrp::{Addresses, ChecksumStyle, Kind, PseudoHeader, VrrpRepr};
use crate::mac::MacAddr;
use crate::params::{Auth, Family};

/// Octets of a gratuitous ARP frame, padding included.
pub const GRATUITOUS_ARP_LEN: usize = ethernet::MIN_FRAME_LEN;
/// Octets of an unsolicited Neighbor Advertisement's frame.
pub const UNSOLICITED_NA_LEN: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + ndisc::MESSAGE_LEN;

/// TTL and hop limit that prove a packet was not routed (RFC 9568 §5.1.1.3, §5.1.2.3; RFC 4861 §4.4).
pub const NOT_ROUTED: u8 = 255;

/// An advert with the headers around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertFrame<'a> {
    /// The Ethernet address in use: the virtual router's, or the interface's own (RFC 9568 §7.2).
    pub source_mac: MacAddr,
    /// The primary IPv4 address or the link-local IPv6 address of the interface (RFC 9568 §5.1.1.1, §5.1.2.1), or a
    /// configured source address; of the same family as the advertised addresses.
    pub source: IpAddr,
    /// A multicast group, or a peer. The Ethernet address of a peer is left zero: the kernel resolves it.
    pub destination: IpAddr,
    /// TTL or hop limit: [`NOT_ROUTED`] to a group (RFC 9568 §5.1.1.3, §5.1.2.3).
    pub ttl: u8,
    /// Coverage of the checksum in version 3 over IPv4.
    pub checksum: ChecksumStyle,
    /// The advertisement.
    pub advert: VrrpRepr<'a>,
}

/// Octets of the frame that carries `advert`, without padding, which the driver or the card adds.
pub fn advert_frame_len(advert: &VrrpRepr<'_>) -> usize {
    let network = match advert.addresses().family() {
        Family::Ipv4 => ipv4::HEADER_LEN,
        Family::Ipv6 => ipv6::HEADER_LEN,
    };
    let authentication = if has_ah(advert) { ah::HEADER_LEN } else { 0 };
    ethernet::HEADER_LEN + network + authentication + advert.buffer_len()
}

/// Whether there is an Authentication Header before the message.
fn has_ah(advert: &VrrpRepr<'_>) -> bool {
    advert.kind() == Kind::V2 { auth: Auth::Ah }
}

/// Writes the frame and returns its length; `None` if the buffer is shorter than [`advert_frame_len`], or if the
/// source, the destination and the advertised addresses are not of the same family.
///
/// An Authentication Header has the source as its Security Parameters Index, as keepalived wants it, and is not sealed
/// yet: see [`ah::AhPacket::seal`].
pub fn emit_advert(frame: &AdvertFrame<'_>, buffer: &mut [u8]) -> Option<usize> {
    let message_len = u16::try_from(frame.advert.buffer_len()).ok()?;
    let link = |destination, ethertype| EthernetRepr {
        destination,
        source: frame.source_mac,
        vlan: None,
        ethertype,
    };
    let pseudo = PseudoHeader::between(frame.source, frame.destination)?;
    let headers = match pseudo {
        PseudoHeader::Ipv4 { source, destination } => {
            let at = link(ipv4::mac_of(destination), ethernet::TYPE_IPV4).emit(buffer)?;
            let next_header = ipv4::PROTOCOL_VRRP;
            let authentication =
                has_ah(&frame.advert).then_some(AhRepr { next_header, spi: source.to_bits(), sequence: 0 });
            let ip = Ipv4Repr {
                source,
                destination,
                protocol: authentication.map_or(next_header, |_| ipv4::PROTOCOL_AH),
                ttl: frame.ttl,
                tos: ipv4::TOS_NETWORK_CONTROL,
                payload_len: message_len + authentication.map_or(0, |_| ah::HEADER_LEN_U16),
            };
            let at = at + ip.emit(buffer.get_mut(at..)?)?;
            match authentication {
                Some(authentication) => at + authentication.emit(buffer.get_mut(at..)?)?,
                None => at,
            }
        }
        PseudoHeader::Ipv6 { source, destination } => {
            let at = link(ipv6::mac_of(destination), ethernet::TYPE_IPV6).emit(buffer)?;
            let ip = Ipv6Repr {
                source,
                destination,
                next_header: ipv6::NEXT_HEADER_VRRP,
                hop_limit: frame.ttl,
                traffic_class: ipv6::TRAFFIC_CLASS_NETWORK_CONTROL,
                payload_len: message_len,
            };
            at + ip.emit(buffer.get_mut(at..)?)?
        }
    };
    Some(headers + frame.advert.emit(&pseudo, frame.checksum, buffer.get_mut(headers..)?)?)
}

/// Returns the source and the content of a well-formed, undamaged advert for any virtual router; `None` for any other
/// frame.
///
/// For logs and tools: an Authentication Header is skipped. Only [`mod@crate::classify`] decides whether an advert is
/// accepted.
pub fn parse_advert(frame: &[u8]) -> Option<(IpAddr, VrrpRepr<'_>)> {
    let (link, at) = EthernetRepr::parse(frame)?;
    let packet = frame.get(at..)?;
    let (pseudo, payload, len) = match link.ethertype {
        ethernet::TYPE_IPV4 => {
            let (ip, payload) = Ipv4Repr::parse(packet)?;
            let pseudo = PseudoHeader::Ipv4 { source: ip.source, destination: ip.destination };
            match ip.protocol {
                ipv4::PROTOCOL_VRRP => (pseudo, payload, ip.payload_len),
                ipv4::PROTOCOL_AH => {
                    let (ah, len) = AhRepr::parse(packet.get(payload..)?)?;
                    let message_len = ip.payload_len.checked_sub(ah::HEADER_LEN_U16)?;
                    if ah.next_header != ipv4::PROTOCOL_VRRP {
                        return None;
                    }
                    (pseudo, payload + len, message_len)
                }
                _ => return None,
            }
        }
        ethernet::TYPE_IPV6 => {
            let (ip, payload) =
                Ipv6Repr::parse(packet).filter(|(ip, _)| ip.next_header == ipv6::NEXT_HEADER_VRRP)?;
            (PseudoHeader::Ipv6 { source: ip.source, destination: ip.destination }, payload, ip.payload_len)
        }
        _ => return None,
    };
    let message = packet.get(payload..)?.get(..usize::from(len))?;
    Some((pseudo.source(), VrrpRepr::parse(message, &pseudo).ok()?))
}

/// The addresses that an accepted advert announces, read from its frame.
pub fn addresses(frame: &[u8]) -> Option<Addresses<'_>> {
    parse_advert(frame).map(|(_, advert)| advert.addresses())
}

/// A gratuitous ARP that announces `address` at `source_mac` (RFC 9568 §6.4.1 with errata 7947 and 7949, RFC 5227 §3):
/// an ARP request with the address as both sender and target.
pub fn gratuitous_arp(source_mac: MacAddr, address: Ipv4Addr) -> [u8; GRATUITOUS_ARP_LEN] {
    let mut frame = [0; GRATUITOUS_ARP_LEN];
    let link = EthernetRepr {
        destination: MacAddr::BROADCAST,
        source: source_mac,
        vlan: None,
        ethertype: ethernet::TYPE_ARP,
    };
    let written = link.emit(&mut frame).and_then(|at| {
        let arp = ArpRepr::announcement(source_mac, address);
        arp.emit(frame.get_mut(at..)?)
    });
    debug_assert!(written.is_some(), "the frame has room for both");
    frame
}

/// An unsolicited Neighbor Advertisement that announces `address` at `source_mac` (RFC 9568 §6.4.1, RFC 4861 §7.2.6): R
/// set, S clear, O set.
///
/// The source is the address itself: RFC 4861 §4.4 requires an assigned address, as this one is by then, and a host
/// that filters neighbours by source sees the announced address.
pub fn unsolicited_na(source_mac: MacAddr, address: Ipv6Addr) -> [u8; UNSOLICITED_NA_LEN] {
    let mut frame = [0; UNSOLICITED_NA_LEN];
    let link = EthernetRepr {
        destination: ipv6::ALL_NODES_MAC,
        source: source_mac,
        vlan: None,
        ethertype: ethernet::TYPE_IPV6,
    };
    let message = NeighborAdvertRepr::announcement(source_mac, address);
    let ip = Ipv6Repr {
        source: address,
        destination: ipv6::ALL_NODES,
        next_header: ipv6::NEXT_HEADER_ICMPV6,
        hop_limit: NOT_ROUTED,
        traffic_class: 0,
        payload_len: ndisc::MESSAGE_LEN_U16,
    };
    let written = link.emit(&mut frame).and_then(|link| {
        let at = link + ip.emit(frame.get_mut(link..)?)?;
        message.emit(ip.source, ip.destination, frame.get_mut(at..)?)
    });
    debug_assert!(written.is_some(), "the frame has room for all three");
    frame
}

#[cfg(test)]
mod tests;
