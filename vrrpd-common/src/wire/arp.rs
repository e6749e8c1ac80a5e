//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! Only what announcements need: the kernel answers requests.

use core::net::Ipv4Addr;

use super::put;
use crate::mac::MacAddr;
use crate::octets::Octets;

/// Octets of a packet.
pub const PACKET_LEN: usize = 28;

/// Offsets of the fields (RFC 826, "Packet format").
mod field {
    pub(super) const PREFIX: usize = 0;
    pub(super) const OPERATION: usize = 6;
    pub(super) const SENDER_HARDWARE: usize = 8;
    pub(super) const SENDER_PROTOCOL: usize = 14;
    pub(super) const TARGET_HARDWARE: usize = 18;
    pub(super) const TARGET_PROTOCOL: usize = 24;
}

/// Ethernet, IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];

/// The operation of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// Asks for the target address; the sender has its own.
    Request = 1,
    /// The sender has the sender's address.
    Reply = 2,
}

/// A packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpRepr {
    /// The operation.
    pub operation: Operation,
    /// The sender's Ethernet address.
    pub sender_hardware: MacAddr,
    /// The sender's IPv4 address.
    pub sender_protocol: Ipv4Addr,
    /// The target's Ethernet address.
    pub target_hardware: MacAddr,
    /// The target's IPv4 address.
    pub target_protocol: Ipv4Addr,
}

impl ArpRepr {
    /// Announces that `address` is at `mac`.
    ///
    /// A request, not a reply: hosts learn from either, and some from requests only (RFC 5227 §3). Sender and target
    /// address are the same; the target's Ethernet address is the sender's as well (RFC 9568 §6.4.1 with errata 7947
    /// and 7949).
    pub const fn announcement(mac: MacAddr, address: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_hardware: mac,
            sender_protocol: address,
            target_hardware: mac,
            target_protocol: address,
        }
    }

    /// `None` if the packet is too short, not for IPv4 over Ethernet, or neither request nor reply.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        if packet.get(field::PREFIX..field::OPERATION)? != ETHERNET_IPV4 {
            return None;
        }
        let operation = match packet.u16_at(field::OPERATION)? {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        Some(Self {
            operation,
            sender_hardware: MacAddr(Octets::get(packet, field::SENDER_HARDWARE)?),
            sender_protocol: Octets::get::<4>(packet, field::SENDER_PROTOCOL)?.into(),
            target_hardware: MacAddr(Octets::get(packet, field::TARGET_HARDWARE)?),
            target_protocol: Octets::get::<4>(packet, field::TARGET_PROTOCOL)?.into(),
        })
    }

    /// Octets of the packet.
    pub const fn buffer_len(&self) -> usize {
        PACKET_LEN
    }

    /// Writes the packet and returns its length; `None` if the buffer is too short.
    pub fn emit(&self, buffer: &mut [u8]) -> Option<usize> {
        let packet = buffer.get_mut(..PACKET_LEN)?;
        put(packet, field::PREFIX, &ETHERNET_IPV4)?;
        put(packet, field::OPERATION, &(self.operation as u16).to_be_bytes())?;
        put(packet, field::SENDER_HARDWARE, &self.sender_hardware.0)?;
        put(packet, field::SENDER_PROTOCOL, &self.sender_protocol.octets())?;
        put(packet, field::TARGET_HARDWARE, &self.target_hardware.0)?;
        put(packet, field::TARGET_PROTOCOL, &self.target_protocol.octets())?;
        Some(PACKET_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x00, 0x00, 0x5e, 0x00, 0x01, 0x33]);
    #[rustfmt::skip]
    const ANNOUNCEMENT: [u8; 28] = [
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
        0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 192, 0, 2, 1,
        0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 192, 0, 2, 1,
    ];

    fn announcement() -> ArpRepr {
        ArpRepr::announcement(MAC, Ipv4Addr::new(192, 0, 2, 1))
    }

    #[test]
    fn an_announcement_is_a_request_that_names_the_sender_twice() {
        // RFC 5227 §3, RFC 9568 §6.4.1 with errata 7947 and 7949
        let mut buffer = [0xa5; 29];
        assert_eq!(announcement().emit(&mut buffer), Some(28));
        assert_eq!(buffer[..28], ANNOUNCEMENT);
        assert_eq!(buffer[28], 0xa5);
    }

    #[test]
    fn requests_and_replies_are_read_back() {
        // RFC 826
        let mut packet = ANNOUNCEMENT;
        assert_eq!(ArpRepr::parse(&packet), Some(announcement()));
        packet[7] = 2;
        let reply = ArpRepr { operation: Operation::Reply, ..announcement() };
        assert_eq!(ArpRepr::parse(&packet), Some(reply));
        let mut buffer = [0xa5; 28];
        assert_eq!(reply.emit(&mut buffer), Some(28));
        assert_eq!(buffer, packet);
    }

    #[test]
    fn other_hardware_other_protocols_and_other_operations_are_refused() {
        // RFC 826: hardware, protocol, both lengths, operation
        for place in [0, 1, 2, 3, 4, 5, 6] {
            let mut packet = ANNOUNCEMENT;
            packet[place] ^= 0x10;
            assert_eq!(ArpRepr::parse(&packet), None, "octet {place}");
        }
        let mut packet = ANNOUNCEMENT;
        packet[7] = 3;
        assert_eq!(ArpRepr::parse(&packet), None);
    }

    #[test]
    fn a_packet_cut_short_is_refused_and_a_short_buffer_left_alone() {
        for len in 0..28 {
            assert_eq!(ArpRepr::parse(&ANNOUNCEMENT[..len]), None);
            let mut buffer = [0xa5; 28];
            assert_eq!(announcement().emit(&mut buffer[..len]), None);
            assert_eq!(buffer, [0xa5; 28]);
        }
    }
}
