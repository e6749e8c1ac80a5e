//! The IP Authentication Header (RFC 2402 §2) with an integrity check value of 96 bits, which version 2 of VRRP can have
//! between the IPv4 header and the message (RFC 2338 §5.3.6.3).
//!
//! This module has the wire format, and the octets that the integrity check value covers. Computing it needs a key, and
//! judging sequence numbers needs state: both are for implementations of [`crate::classify::Associations`].

use super::{ipv4, put};
use crate::octets::Octets;
use crate::wire::ipv4::Ipv4Header;

/// Octets of the header with an integrity check value of [`ICV_LEN`] octets.
pub const HEADER_LEN: usize = 24;
/// The same, as a part of an IPv4 packet's length.
pub const HEADER_LEN_U16: u16 = 24;
/// Octets of the integrity check value: HMAC-MD5 cut to 96 bits (RFC 2403 §2).
pub const ICV_LEN: usize = 12;

/// Offsets of the fields (RFC 2402 §2).
pub mod field {
    /// Protocol of the payload.
    pub const NEXT_HEADER: usize = 0;
    /// Length of the header in 32-bit words, minus two.
    pub const PAYLOAD_LEN: usize = 1;
    /// Zero.
    pub const RESERVED: usize = 2;
    /// Security Parameters Index.
    pub const SPI: usize = 4;
    /// Sequence number.
    pub const SEQUENCE: usize = 8;
    /// Integrity check value.
    pub const ICV: usize = 12;
}

/// [`HEADER_LEN`] in the format of [`field::PAYLOAD_LEN`].
const PAYLOAD_LEN: u8 = 4;

/// An unchecked view of a header.
#[derive(Clone, Copy, Debug)]
pub struct AhHeader([u8; HEADER_LEN]);

impl AhHeader {
    /// The header at `at`; `None` if it is truncated.
    pub fn read(octets: &[u8], at: usize) -> Option<Self> {
        Octets::get(octets, at).map(Self)
    }

    /// Protocol of the payload.
    pub const fn next_header(&self) -> u8 {
        self.0[field::NEXT_HEADER]
    }

    /// Length of the header according to its field, in octets. Other than [`HEADER_LEN`] means another kind of
    /// integrity check value.
    pub const fn header_len(&self) -> usize {
        (self.0[field::PAYLOAD_LEN] as usize + 2) * 4
    }

    /// The Security Parameters Index.
    pub const fn spi(&self) -> u32 {
        self.u32(field::SPI)
    }

    /// The sequence number.
    pub const fn sequence(&self) -> u32 {
        self.u32(field::SEQUENCE)
    }

    /// The integrity check value.
    pub fn icv(&self) -> [u8; ICV_LEN] {
        let mut icv = [0; ICV_LEN];
        icv.copy_from_slice(&self.0[field::ICV..]);
        icv
    }

    const fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }
}

/// A header before sealing: its integrity check value is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AhRepr {
    /// Protocol of the payload.
    pub next_header: u8,
    /// Security Parameters Index.
    pub spi: u32,
    /// Sequence number.
    pub sequence: u32,
}

impl AhRepr {
    /// The header and its end, with any integrity check value; `None` if it is truncated or has another length.
    pub fn parse(octets: &[u8]) -> Option<(Self, usize)> {
        let header = AhHeader::read(octets, 0).filter(|header| header.header_len() == HEADER_LEN)?;
        let repr = Self { next_header: header.next_header(), spi: header.spi(), sequence: header.sequence() };
        Some((repr, HEADER_LEN))
    }

    /// Octets of the header.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header and returns the offset of its payload; `None` if the buffer is too short.
    pub fn emit(&self, buffer: &mut [u8]) -> Option<usize> {
        let header = buffer.get_mut(..HEADER_LEN)?;
        put(header, field::NEXT_HEADER, &[self.next_header, PAYLOAD_LEN])?;
        put(header, field::RESERVED, &[0, 0])?;
        put(header, field::SPI, &self.spi.to_be_bytes())?;
        put(header, field::SEQUENCE, &self.sequence.to_be_bytes())?;
        put(header, field::ICV, &[0; ICV_LEN])?;
        Some(HEADER_LEN)
    }
}

/// An IPv4 packet whose payload starts with a header of [`HEADER_LEN`] octets, without padding of its frame.
#[derive(Clone, Copy, Debug)]
pub struct AhPacket<'a> {
    packet: &'a [u8],
    /// Octets of the IPv4 header.
    at: usize,
    header: AhHeader,
}

impl<'a> AhPacket<'a> {
    /// `None` if it is not such a packet, or is truncated.
    pub fn read(packet: &'a [u8]) -> Option<Self> {
        let ip = Ipv4Header::read(packet, 0)?;
        let at = ip.header_len();
        if ip.protocol() != ipv4::PROTOCOL_AH || at < ipv4::HEADER_LEN {
            return None;
        }
        let packet = packet.get(..ip.total_len())?;
        let header = AhHeader::read(packet, at).filter(|header| header.header_len() == HEADER_LEN)?;
        Some(Self { packet, at, header })
    }

    /// Its Authentication Header.
    pub const fn header(&self) -> AhHeader {
        self.header
    }

    /// Passes the covered octets to `take`, piece by piece: the packet with zeros for the integrity check value and for
    /// mutable fields: type of service, flags and fragment offset, header checksum (RFC 2402 §3.3.3.1.1).
    ///
    /// The TTL is covered unchanged in an advert to a multicast group, although that section counts it as mutable: such
    /// an advert is not routed, and keepalived requires it. Unicast may be routed, and keepalived follows the section.
    /// Options are covered unchanged; VRRP has none.
    pub fn covered(&self, mut take: impl FnMut(&[u8])) {
        let (ip, rest) = self.packet.split_at(self.at);
        let (fixed, options) = ip.split_at(ipv4::HEADER_LEN);
        let mut header = [0; ipv4::HEADER_LEN];
        header.copy_from_slice(fixed);
        for mutable in [
            ipv4::field::TOS..ipv4::field::TOTAL_LEN,
            ipv4::field::FLAGS_OFFSET..ipv4::field::TTL,
            ipv4::field::CHECKSUM..ipv4::field::SOURCE,
        ] {
            header[mutable].fill(0);
        }
        if is_unicast(fixed) {
            header[ipv4::field::TTL] = 0;
        }
        let (ah, payload) = rest.split_at(HEADER_LEN);
        take(&header);
        take(options);
        take(&ah[..field::ICV]);
        take(&[0; ICV_LEN]);
        take(payload);
    }

    /// Sets the sequence number of `packet`, and the integrity check value from `compute`; `None`, with nothing
    /// written, if it is not a packet with such a header.
    pub fn seal(
        packet: &mut [u8],
        sequence: u32,
        compute: impl FnOnce(&AhPacket<'_>) -> [u8; ICV_LEN],
    ) -> Option<()> {
        let at = AhPacket::read(packet)?.at;
        if is_unicast(packet) {
            // The system replaces an identification of zero, which would invalidate the value.
            let identification = u16::try_from(sequence & 0xffff).unwrap_or_default().max(1);
            put(packet, ipv4::field::ID, &identification.to_be_bytes())?;
        }
        put(packet, at + field::SEQUENCE, &sequence.to_be_bytes())?;
        let icv = compute(&AhPacket::read(packet)?);
        put(packet, at + field::ICV, &icv)
    }
}

/// Whether a packet goes to a single host.
fn is_unicast(packet: &[u8]) -> bool {
    Ipv4Header::read(packet, 0).is_some_and(|header| !header.destination().is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use std::vec::Vec;

    const REPR: AhRepr = AhRepr { next_header: 112, spi: 0xc000_020b, sequence: 0x0102_0304 };
    #[rustfmt::skip]
    const HEADER: [u8; 24] = [
        0x70, 0x04, 0x00, 0x00, 192, 0, 2, 11, 0x01, 0x02, 0x03, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    /// A packet with [`HEADER`] and eight octets after it.
    fn packet() -> Vec<u8> {
        let mut packet = std::vec![0xa5; 52];
        let ip = ipv4::Ipv4Repr {
            source: Ipv4Addr::new(192, 0, 2, 11),
            destination: ipv4::VRRP_GROUP,
            protocol: ipv4::PROTOCOL_AH,
            ttl: 255,
            tos: ipv4::TOS_NETWORK_CONTROL,
            payload_len: 32,
        };
        assert_eq!(ip.emit(&mut packet), Some(20));
        assert_eq!(REPR.emit(&mut packet[20..]), Some(24));
        packet
    }

    fn covered(packet: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        AhPacket::read(packet).expect("is one").covered(|piece| octets.extend_from_slice(piece));
        octets
    }

    #[test]
    fn a_header_is_written_in_full() {
        // RFC 2402 §2
        let mut buffer = [0xa5; 25];
        assert_eq!(REPR.emit(&mut buffer), Some(24));
        assert_eq!(buffer[..24], HEADER);
        assert_eq!(buffer[24], 0xa5);
        assert_eq!(REPR.buffer_len(), 24);
    }

    #[test]
    fn a_header_with_any_integrity_check_value_is_parsed() {
        let mut header = HEADER;
        header[field::ICV..].fill(0x5a);
        assert_eq!(AhRepr::parse(&header), Some((REPR, 24)));
        assert_eq!(AhHeader::read(&header, 0).map(|header| header.icv()), Some([0x5a; 12]));
    }

    #[test]
    fn a_header_cut_short_or_of_another_length_is_refused_and_a_short_buffer_left_alone() {
        for len in 0..24 {
            assert_eq!(AhRepr::parse(&HEADER[..len]), None);
            let mut buffer = [0xa5; 24];
            assert_eq!(REPR.emit(&mut buffer[..len]), None);
            assert_eq!(buffer, [0xa5; 24]);
        }
        let mut longer = [0; 28];
        longer[..24].copy_from_slice(&HEADER);
        longer[field::PAYLOAD_LEN] = 5;
        assert_eq!(AhRepr::parse(&longer), None);
    }

    #[test]
    fn mutable_fields_count_as_zero_in_the_icv_and_the_ttl_does_not() {
        // RFC 2402 §3.3.3.1.1, and keepalived as to the TTL
        #[rustfmt::skip]
        let wanted = [
            0x45, 0, 0x00, 0x34, 0x00, 0x00, 0, 0, 0xff, 0x33, 0, 0, 192, 0, 2, 11, 224, 0, 0, 18,
            0x70, 0x04, 0x00, 0x00, 192, 0, 2, 11, 0x01, 0x02, 0x03, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5,
        ];
        assert_eq!(covered(&packet()), wanted);
        for mutable in [1, 6, 7, 10, 11, 32, 43] {
            let mut changed = packet();
            changed[mutable] ^= 0xff;
            assert_eq!(covered(&changed), wanted, "octet {mutable}");
        }
    }

    #[test]
    fn padding_of_the_frame_is_not_covered() {
        let padded = [packet(), std::vec![0; 8]].concat();
        assert_eq!(covered(&padded), covered(&packet()));
    }

    #[test]
    fn options_are_covered() {
        let mut packet = packet();
        packet.splice(20..20, [0x94, 4, 0, 0]);
        packet[0] = 0x46;
        packet[3] += 4;
        assert_eq!(covered(&packet)[20..26], [0x94, 4, 0, 0, 0x70, 0x04]);
    }

    #[test]
    fn a_packet_cut_short_or_of_another_protocol_is_refused() {
        for len in 0..packet().len() {
            assert!(AhPacket::read(&packet()[..len]).is_none(), "{len} octets");
        }
        for (at, octet) in [(0, 0x44), (3, 43), (9, ipv4::PROTOCOL_VRRP), (21, 3), (21, 255)] {
            let mut other = packet();
            other[at] = octet;
            assert!(AhPacket::read(&other).is_none(), "{octet} at {at}");
        }
    }

    #[test]
    fn sealing_writes_the_sequence_number_before_the_integrity_check_value_is_computed() {
        let mut sealed = packet();
        let seen = AhPacket::seal(&mut sealed, 7, |packet| {
            assert_eq!(packet.header().sequence(), 7);
            [0x5a; 12]
        });
        assert_eq!(seen, Some(()));
        let mut wanted = packet();
        wanted[28..32].copy_from_slice(&7_u32.to_be_bytes());
        wanted[32..44].fill(0x5a);
        assert_eq!(sealed, wanted);
        let mut other = [0xa5; 60];
        assert_eq!(AhPacket::seal(&mut other, 7, |_| [0; 12]), None);
        assert_eq!(other, [0xa5; 60]);
    }
}
