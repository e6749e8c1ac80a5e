//! IPv4 (RFC 791): the header without options when sending, with any when receiving.
//!
//! Fragments are recognised, not reassembled: an advert is not fragmented.

use core::net::Ipv4Addr;

use super::checksum::Sum;
use super::put;
use crate::mac::MacAddr;
use crate::octets::Octets;

/// Octets of the header without options.
pub const HEADER_LEN: usize = 20;
/// Octets of the header with all the options it can have.
pub const MAX_HEADER_LEN: usize = 60;
/// Protocol number of VRRP (RFC 9568 §5.1.1.4).
pub const PROTOCOL_VRRP: u8 = 112;
/// Protocol number of the Authentication Header (RFC 2402 §2).
pub const PROTOCOL_AH: u8 = 51;
/// Type of service of network control traffic, class selector 6 (RFC 2474 §4.2.2).
pub const TOS_NETWORK_CONTROL: u8 = 0xc0;
/// The multicast group of VRRP (RFC 9568 §5.1.1.2).
pub const VRRP_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The Ethernet address of a multicast group (RFC 1112 §6.4); zero for any other address, which the kernel resolves.
pub const fn mac_of(destination: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = destination.octets();
    if destination.is_multicast() { MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d]) } else { MacAddr([0; 6]) }
}

/// Offsets of the fields (RFC 791 §3.1).
pub mod field {
    /// Version and header length in words.
    pub const VERSION_IHL: usize = 0;
    /// DSCP and ECN.
    pub const TOS: usize = 1;
    /// Total length in octets.
    pub const TOTAL_LEN: usize = 2;
    /// Identification.
    pub const ID: usize = 4;
    /// Flags and fragment offset.
    pub const FLAGS_OFFSET: usize = 6;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Protocol of the payload.
    pub const PROTOCOL: usize = 9;
    /// Checksum of the header.
    pub const CHECKSUM: usize = 10;
    /// Source address.
    pub const SOURCE: usize = 12;
    /// Destination address.
    pub const DESTINATION: usize = 16;
}

/// Flag "more fragments".
const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset among the flags, in units of eight octets.
const OFFSET_MASK: u16 = 0x1fff;

/// The fixed part of a header, unchecked.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Header([u8; HEADER_LEN]);

impl Ipv4Header {
    /// The header at `at`; `None` if the frame is too short.
    #[inline(always)]
    pub fn read<F: Octets + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        frame.get(at).map(Self)
    }

    /// The version nibble.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.0[field::VERSION_IHL] >> 4
    }

    /// Octets of the header with its options, 0 to 60; less than [`HEADER_LEN`] is invalid.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        (self.0[field::VERSION_IHL] & 0x0f) as usize * 4
    }

    /// Octets of header and payload.
    #[inline(always)]
    pub const fn total_len(&self) -> usize {
        self.u16(field::TOTAL_LEN) as usize
    }

    /// Whether it belongs to a fragment, including the first one.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.u16(field::FLAGS_OFFSET) & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Offset of the fragment in the packet, in octets.
    #[inline(always)]
    pub const fn fragment_offset(&self) -> u32 {
        (self.u16(field::FLAGS_OFFSET) & OFFSET_MASK) as u32 * 8
    }

    /// The time to live.
    #[inline(always)]
    pub const fn ttl(&self) -> u8 {
        self.0[field::TTL]
    }

    /// The protocol of the payload.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.0[field::PROTOCOL]
    }

    /// The checksum in the header.
    #[inline(always)]
    pub const fn checksum(&self) -> u16 {
        self.u16(field::CHECKSUM)
    }

    /// Source address.
    #[inline(always)]
    pub const fn source(&self) -> Ipv4Addr {
        self.address(field::SOURCE)
    }

    /// Destination address.
    #[inline(always)]
    pub const fn destination(&self) -> Ipv4Addr {
        self.address(field::DESTINATION)
    }

    /// The checksum over this header, which is at `at`, and its options; `None` if the options are truncated.
    #[inline(always)]
    pub fn sum<F: Octets + ?Sized>(&self, frame: &F, at: usize) -> Option<Sum> {
        let mut sum = Sum::ZERO.plus_octets(&self.0);
        for word in HEADER_LEN / 4..MAX_HEADER_LEN / 4 {
            if word * 4 >= self.header_len() {
                break;
            }
            sum = sum.plus_u32(frame.u32_at(at + word * 4)?);
        }
        Some(sum)
    }

    #[inline(always)]
    const fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    #[inline(always)]
    const fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3])
    }
}

/// A header without options, of an unfragmented packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Repr {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// The protocol of the payload.
    pub protocol: u8,
    /// The time to live.
    pub ttl: u8,
    /// The type of service.
    pub tos: u8,
    /// Octets of the payload.
    pub payload_len: u16,
}

impl Ipv4Repr {
    /// Parses the header; returns it and the offset of the payload, behind the options. `None` if the packet is
    /// truncated, is a fragment, or has a wrong checksum.
    pub fn parse(packet: &[u8]) -> Option<(Self, usize)> {
        let header = Ipv4Header::read(packet, 0)?;
        let (header_len, total_len) = (header.header_len(), header.total_len());
        let sound = header.version() == 4
            && header_len >= HEADER_LEN
            && total_len >= header_len
            && total_len <= packet.len()
            && !header.is_fragment()
            && Sum::of(packet, 0, header_len)?.is_valid();
        if !sound {
            return None;
        }
        let repr = Self {
            source: header.source(),
            destination: header.destination(),
            protocol: header.protocol(),
            ttl: header.ttl(),
            tos: header.0[field::TOS],
            payload_len: u16::try_from(total_len - header_len).ok()?,
        };
        Some((repr, header_len))
    }

    /// Octets of the header.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header and returns the offset of the payload; `None` if the buffer is too short or the payload too
    /// long for the total length.
    pub fn emit(&self, buffer: &mut [u8]) -> Option<usize> {
        let total_len = self.payload_len.checked_add(u16::try_from(HEADER_LEN).ok()?)?;
        let header = buffer.get_mut(..HEADER_LEN)?;
        put(header, field::VERSION_IHL, &[0x45])?;
        put(header, field::TOS, &[self.tos])?;
        put(header, field::TOTAL_LEN, &total_len.to_be_bytes())?;
        // The identification of a packet that is never fragmented has no meaning (RFC 6864 §4.1).
        put(header, field::ID, &[0, 0])?;
        put(header, field::FLAGS_OFFSET, &[0, 0])?;
        put(header, field::TTL, &[self.ttl])?;
        put(header, field::PROTOCOL, &[self.protocol])?;
        put(header, field::CHECKSUM, &[0, 0])?;
        put(header, field::SOURCE, &self.source.octets())?;
        put(header, field::DESTINATION, &self.destination.octets())?;
        let checksum = Sum::of(&*header, 0, HEADER_LEN)?.checksum();
        put(header, field::CHECKSUM, &checksum.to_be_bytes())?;
        Some(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPR: Ipv4Repr = Ipv4Repr {
        source: Ipv4Addr::new(192, 0, 2, 11),
        destination: VRRP_GROUP,
        protocol: PROTOCOL_VRRP,
        ttl: 255,
        tos: TOS_NETWORK_CONTROL,
        payload_len: 12,
    };
    const HEADER: [u8; 20] = [
        0x45, 0xc0, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0xff, 0x70, 0x18, 0x90, 192, 0, 2, 11, 224, 0, 0, 18,
    ];

    /// [`HEADER`] before twelve octets of payload.
    fn packet() -> [u8; 32] {
        let mut packet = [0; 32];
        packet[..20].copy_from_slice(&HEADER);
        packet
    }

    #[test]
    fn a_header_is_written_in_full_with_its_checksum() {
        // RFC 791 §3.1
        let mut buffer = [0xa5; 21];
        assert_eq!(REPR.emit(&mut buffer), Some(20));
        assert_eq!(buffer[..20], HEADER);
        assert_eq!(buffer[20], 0xa5);
    }

    #[test]
    fn a_header_is_read_back_and_padding_is_not_payload() {
        assert_eq!(Ipv4Repr::parse(&packet()), Some((REPR, 20)));
        let mut padded = [0xa5; 46];
        padded[..32].copy_from_slice(&packet());
        assert_eq!(Ipv4Repr::parse(&padded), Some((REPR, 20)));
    }

    #[test]
    fn a_packet_cut_short_is_refused_and_a_short_buffer_left_alone() {
        for len in 0..32 {
            assert_eq!(Ipv4Repr::parse(&packet()[..len]), None);
        }
        let mut buffer = [0xa5; 19];
        assert_eq!(REPR.emit(&mut buffer), None);
        assert_eq!(buffer, [0xa5; 19]);
    }

    #[test]
    fn a_payload_longer_than_the_total_length_can_say_is_refused() {
        // RFC 791 §3.1: 16 bits
        let mut buffer = [0xa5; 20];
        assert_eq!(Ipv4Repr { payload_len: 65515, ..REPR }.emit(&mut buffer), Some(20));
        assert_eq!(Ipv4Repr { payload_len: 65516, ..REPR }.emit(&mut buffer), None);
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        // RFC 791 §3.1
        for bit in 0..160 {
            let mut packet = packet();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Ipv4Repr::parse(&packet), None, "bit {bit}");
        }
    }
}
