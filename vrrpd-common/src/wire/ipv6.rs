//! IPv6 (RFC 8200): the fixed header.
//!
//! Extension headers are not parsed: an advert has none (RFC 9568 §5.1.2.4).

use core::net::Ipv6Addr;

use super::put;
use crate::mac::MacAddr;
use crate::octets::Octets;

/// Octets of the header.
pub const HEADER_LEN: usize = 40;
/// Next header number of VRRP (RFC 9568 §5.1.2.4).
pub const NEXT_HEADER_VRRP: u8 = 112;
/// Next header number of ICMP for IPv6 (RFC 4443 §1).
pub const NEXT_HEADER_ICMPV6: u8 = 58;
/// Traffic class of network control traffic, class selector 6 (RFC 2474 §4.2.2).
pub const TRAFFIC_CLASS_NETWORK_CONTROL: u8 = 0xc0;
/// The multicast group of VRRP (RFC 9568 §5.1.2.2).
pub const VRRP_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// All nodes of the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The Ethernet address of [`ALL_NODES`] (RFC 2464 §7).
pub const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0x00, 0x00, 0x00, 0x01]);

/// The Ethernet address of a multicast group (RFC 2464 §7); zero for any other address, which the kernel resolves.
pub const fn mac_of(destination: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = destination.octets();
    if destination.is_multicast() { MacAddr([0x33, 0x33, a, b, c, d]) } else { MacAddr([0; 6]) }
}

/// Offsets of the fields (RFC 8200 §3).
pub mod field {
    /// Version, traffic class and flow label.
    pub const VERSION_CLASS_FLOW: usize = 0;
    /// Octets after the header.
    pub const PAYLOAD_LEN: usize = 4;
    /// Protocol of the next header.
    pub const NEXT_HEADER: usize = 6;
    /// Hop limit.
    pub const HOP_LIMIT: usize = 7;
    /// Source address.
    pub const SOURCE: usize = 8;
    /// Destination address.
    pub const DESTINATION: usize = 24;
}

/// A header, unchecked. The addresses are read on demand, which saves two comparisons for most packets, which are not
/// adverts.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Header<'a, F: ?Sized> {
    frame: &'a F,
    at: usize,
    fixed: [u8; field::SOURCE],
}

impl<'a, F: Octets + ?Sized> Ipv6Header<'a, F> {
    /// The header at `at`; `None` if the frame ends before its addresses.
    #[inline(always)]
    pub fn read(frame: &'a F, at: usize) -> Option<Self> {
        Some(Self { frame, at, fixed: frame.get(at)? })
    }

    /// The version nibble.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.fixed[field::VERSION_CLASS_FLOW] >> 4
    }

    /// The traffic class.
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        self.fixed[field::VERSION_CLASS_FLOW] << 4 | self.fixed[field::VERSION_CLASS_FLOW + 1] >> 4
    }

    /// Octets after this header.
    #[inline(always)]
    pub const fn payload_len(&self) -> u16 {
        u16::from_be_bytes([self.fixed[field::PAYLOAD_LEN], self.fixed[field::PAYLOAD_LEN + 1]])
    }

    /// Protocol of the next header.
    #[inline(always)]
    pub const fn next_header(&self) -> u8 {
        self.fixed[field::NEXT_HEADER]
    }

    /// The hop limit.
    #[inline(always)]
    pub const fn hop_limit(&self) -> u8 {
        self.fixed[field::HOP_LIMIT]
    }

    /// Source address; `None` if the frame is too short.
    #[inline(always)]
    pub fn source(&self) -> Option<Ipv6Addr> {
        self.frame.get::<16>(self.at + field::SOURCE).map(Ipv6Addr::from_octets)
    }

    /// Destination address; `None` if the frame is too short.
    #[inline(always)]
    pub fn destination(&self) -> Option<Ipv6Addr> {
        self.frame.get::<16>(self.at + field::DESTINATION).map(Ipv6Addr::from_octets)
    }
}

/// A header with flow label 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Repr {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Protocol of the next header.
    pub next_header: u8,
    /// The hop limit.
    pub hop_limit: u8,
    /// The traffic class.
    pub traffic_class: u8,
    /// Octets of the payload.
    pub payload_len: u16,
}

impl Ipv6Repr {
    /// Parses the header; returns it and the offset of the payload. `None` if the packet is truncated or is not IPv6.
    pub fn parse(packet: &[u8]) -> Option<(Self, usize)> {
        let header = Ipv6Header::read(packet, 0)?;
        if header.version() != 6 || packet.len() < HEADER_LEN + usize::from(header.payload_len()) {
            return None;
        }
        let repr = Self {
            source: header.source()?,
            destination: header.destination()?,
            next_header: header.next_header(),
            hop_limit: header.hop_limit(),
            traffic_class: header.traffic_class(),
            payload_len: header.payload_len(),
        };
        Some((repr, HEADER_LEN))
    }

    /// Octets of the header.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header and returns the offset of the payload; `None` if the buffer is too short.
    pub fn emit(&self, buffer: &mut [u8]) -> Option<usize> {
        let header = buffer.get_mut(..HEADER_LEN)?;
        let version_class_flow = 6 << 28 | u32::from(self.traffic_class) << 20;
        put(header, field::VERSION_CLASS_FLOW, &version_class_flow.to_be_bytes())?;
        put(header, field::PAYLOAD_LEN, &self.payload_len.to_be_bytes())?;
        put(header, field::NEXT_HEADER, &[self.next_header])?;
        put(header, field::HOP_LIMIT, &[self.hop_limit])?;
        put(header, field::SOURCE, &self.source.octets())?;
        put(header, field::DESTINATION, &self.destination.octets())?;
        Some(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPR: Ipv6Repr = Ipv6Repr {
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x0b),
        destination: VRRP_GROUP,
        next_header: NEXT_HEADER_VRRP,
        hop_limit: 255,
        traffic_class: TRAFFIC_CLASS_NETWORK_CONTROL,
        payload_len: 4,
    };
    #[rustfmt::skip]
    const PACKET: [u8; 44] = [
        0x6c, 0x00, 0x00, 0x00, 0x00, 0x04, 0x70, 0xff,
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12,
        1, 2, 3, 4,
    ];

    #[test]
    fn a_header_is_written_in_full_with_flow_label_zero() {
        // RFC 8200 §3
        let mut buffer = [0xa5; 41];
        assert_eq!(REPR.emit(&mut buffer), Some(40));
        assert_eq!(buffer[..40], PACKET[..40]);
        assert_eq!(buffer[40], 0xa5);
    }

    #[test]
    fn a_header_with_any_flow_label_is_parsed() {
        assert_eq!(Ipv6Repr::parse(&PACKET), Some((REPR, 40)));
        let mut labelled = PACKET;
        labelled[1..4].copy_from_slice(&[0x0f, 0xff, 0xff]);
        assert_eq!(Ipv6Repr::parse(&labelled), Some((REPR, 40)));
    }

    #[test]
    fn a_packet_cut_short_or_of_another_version_is_refused() {
        for len in 0..44 {
            assert_eq!(Ipv6Repr::parse(&PACKET[..len]), None);
        }
        let mut other = PACKET;
        other[0] = 0x4c;
        assert_eq!(Ipv6Repr::parse(&other), None);
        let mut buffer = [0xa5; 39];
        assert_eq!(REPR.emit(&mut buffer), None);
        assert_eq!(buffer, [0xa5; 39]);
    }
}
