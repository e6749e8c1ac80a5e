//! Neighbor Advertisements of IPv6 (RFC 4861 §4.4), with which a router announces its addresses.
//!
//! Only the form with exactly one option, the target's link-layer address; the kernel, not the daemon, answers
//! solicitations.

use core::net::Ipv6Addr;

use super::checksum::Sum;
use super::{ipv6, put};
use crate::mac::MacAddr;
use crate::octets::Octets;

/// Octets of the message with its option.
pub const MESSAGE_LEN: usize = MESSAGE_LEN_U16 as usize;
/// The same, as the length field of a header holds it.
pub(crate) const MESSAGE_LEN_U16: u16 = 32;

/// Offsets of the fields (RFC 4861 §4.4, §4.6.1).
mod field {
    pub(super) const TYPE_CODE: usize = 0;
    pub(super) const CHECKSUM: usize = 2;
    pub(super) const FLAGS: usize = 4;
    pub(super) const TARGET: usize = 8;
    pub(super) const OPTION: usize = 24;
    pub(super) const LINK_LAYER_ADDRESS: usize = 26;
}

/// Type 136, code 0 of ICMP for IPv6.
const NEIGHBOR_ADVERTISEMENT: [u8; 2] = [136, 0];
/// Option 2, "target link-layer address", in one unit of eight octets.
const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
/// The sender is a router.
const ROUTER: u8 = 0x80;
/// The answer to a solicitation.
const SOLICITED: u8 = 0x40;
/// Overrides the receiver's cache entry.
const OVERRIDE: u8 = 0x20;

/// A Neighbor Advertisement with the target's link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertRepr {
    /// R: the sender is a router.
    pub router: bool,
    /// S: the answer to a solicitation.
    pub solicited: bool,
    /// O: overrides the receiver's cache entry.
    pub overriding: bool,
    /// The announced address.
    pub target: Ipv6Addr,
    /// The link-layer address of the target.
    pub link_layer_address: MacAddr,
}

impl NeighborAdvertRepr {
    /// An announcement that `target` is now at `mac` (RFC 9568 §6.4.1: R set, S clear, O set).
    pub const fn announcement(mac: MacAddr, target: Ipv6Addr) -> Self {
        Self { router: true, solicited: false, overriding: true, target, link_layer_address: mac }
    }

    /// `None` unless it is an undamaged message of this form from `source` to `destination`.
    pub fn parse(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Option<Self> {
        let message =
            message.first_chunk::<MESSAGE_LEN>().filter(|_| message.len() == MESSAGE_LEN)?.as_slice();
        let sound = message.starts_with(&NEIGHBOR_ADVERTISEMENT)
            && Octets::get(message, field::OPTION)? == TARGET_LINK_LAYER_ADDRESS
            && Sum::of(message, 0, MESSAGE_LEN)?.plus(pseudo_header(source, destination)).is_valid();
        if !sound {
            return None;
        }
        let flags = message.u8_at(field::FLAGS)?;
        Some(Self {
            router: flags & ROUTER != 0,
            solicited: flags & SOLICITED != 0,
            overriding: flags & OVERRIDE != 0,
            target: Octets::get::<16>(message, field::TARGET)?.into(),
            link_layer_address: MacAddr(Octets::get(message, field::LINK_LAYER_ADDRESS)?),
        })
    }

    /// Octets of the message.
    pub const fn buffer_len(&self) -> usize {
        MESSAGE_LEN
    }

    /// Writes the message from `source` to `destination` and returns its length; `None` if the buffer is too short.
    pub fn emit(&self, source: Ipv6Addr, destination: Ipv6Addr, buffer: &mut [u8]) -> Option<usize> {
        let message = buffer.get_mut(..MESSAGE_LEN)?;
        let flag = |set, bit| if set { bit } else { 0 };
        let flags =
            flag(self.router, ROUTER) | flag(self.solicited, SOLICITED) | flag(self.overriding, OVERRIDE);
        put(message, field::TYPE_CODE, &NEIGHBOR_ADVERTISEMENT)?;
        put(message, field::CHECKSUM, &[0, 0])?;
        put(message, field::FLAGS, &[flags, 0, 0, 0])?;
        put(message, field::TARGET, &self.target.octets())?;
        put(message, field::OPTION, &TARGET_LINK_LAYER_ADDRESS)?;
        put(message, field::LINK_LAYER_ADDRESS, &self.link_layer_address.0)?;
        let sum = Sum::of(&*message, 0, MESSAGE_LEN)?.plus(pseudo_header(source, destination));
        put(message, field::CHECKSUM, &sum.checksum().to_be_bytes())?;
        Some(MESSAGE_LEN)
    }
}

/// The pseudo-header of ICMP for IPv6 (RFC 4443 §2.3, RFC 8200 §8.1).
fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr) -> Sum {
    Sum::ZERO
        .plus_octets(&source.octets())
        .plus_octets(&destination.octets())
        .plus_u32(u32::from(MESSAGE_LEN_U16))
        .plus_u16(u16::from(ipv6::NEXT_HEADER_ICMPV6))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x00, 0x00, 0x5e, 0x00, 0x02, 0x33]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    #[rustfmt::skip]
    const ANNOUNCEMENT: [u8; 32] = [
        0x88, 0x00, 0x1a, 0xf8, 0xa0, 0x00, 0x00, 0x00,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0x02, 0x01, 0x00, 0x00, 0x5e, 0x00, 0x02, 0x33,
    ];

    fn announcement() -> NeighborAdvertRepr {
        NeighborAdvertRepr::announcement(MAC, ADDRESS)
    }

    #[test]
    fn an_announcement_sets_router_and_override_and_gives_the_link_layer_address() {
        // RFC 9568 §6.4.1, RFC 4861 §4.4, §4.6.1
        let mut buffer = [0xa5; 33];
        assert_eq!(announcement().emit(ADDRESS, ipv6::ALL_NODES, &mut buffer), Some(32));
        assert_eq!(buffer[..32], ANNOUNCEMENT);
        assert_eq!(buffer[32], 0xa5);
    }

    #[test]
    fn a_message_is_read_back_with_each_of_its_flags() {
        let parse = |message: &[u8]| NeighborAdvertRepr::parse(message, ADDRESS, ipv6::ALL_NODES);
        assert_eq!(parse(&ANNOUNCEMENT), Some(announcement()));
        for flags in 0..8 {
            let repr = NeighborAdvertRepr {
                router: flags & 1 != 0,
                solicited: flags & 2 != 0,
                overriding: flags & 4 != 0,
                ..announcement()
            };
            let mut buffer = [0xa5; 32];
            assert_eq!(repr.emit(ADDRESS, ipv6::ALL_NODES, &mut buffer), Some(32));
            assert_eq!(parse(&buffer), Some(repr));
        }
    }

    #[test]
    fn a_message_that_is_damaged_or_of_another_form_is_refused() {
        // RFC 4443 §2.3: the checksum covers the pseudo-header too
        assert_eq!(NeighborAdvertRepr::parse(&ANNOUNCEMENT, ADDRESS, ipv6::VRRP_GROUP), None);
        for bit in 0..256 {
            let mut message = ANNOUNCEMENT;
            message[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(NeighborAdvertRepr::parse(&message, ADDRESS, ipv6::ALL_NODES), None, "bit {bit}");
        }
        let mut longer = [0; 40];
        longer[..32].copy_from_slice(&ANNOUNCEMENT);
        assert_eq!(NeighborAdvertRepr::parse(&longer, ADDRESS, ipv6::ALL_NODES), None);
    }

    #[test]
    fn a_message_cut_short_is_refused_and_a_short_buffer_left_alone() {
        for len in 0..32 {
            assert_eq!(NeighborAdvertRepr::parse(&ANNOUNCEMENT[..len], ADDRESS, ipv6::ALL_NODES), None);
            let mut buffer = [0xa5; 32];
            assert_eq!(announcement().emit(ADDRESS, ipv6::ALL_NODES, &mut buffer[..len]), None);
            assert_eq!(buffer, [0xa5; 32]);
        }
    }
}
