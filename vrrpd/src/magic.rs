//! The magic packet: a TCP SYN from a virtual address to port 1100 of the gateway. The answer, and the ARP or neighbour
//! request before it, update all tables on the path with the location of the virtual address. For networks where a
//! virtual MAC address cannot be used and gratuitous ARP is not enough.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use vrrpd_common::wire::checksum::Sum;

use crate::config::Magic;

/// Destination port, as in Vrrpd.
const PORT: u16 = 1100;
/// Source port, from the dynamic range; nothing is ever received on it.
const SOURCE_PORT: u16 = 51100;
const HEADER_LEN: u8 = 20;
const SYN: u8 = 0x02;
/// IP protocol number of TCP.
const TCP: u16 = 6;
const WINDOW: u16 = 0xffff;
const CHECKSUM: std::ops::Range<usize> = 16..18;

/// Sends one packet through the interface with the virtual address: another one would show another MAC address, and
/// link-local addresses need an interface. If that interface has no route, as a macvlan link with IPv6, any other one
/// is used. Never blocks.
pub fn send(magic: &Magic, interface: &str) -> io::Result<()> {
    match send_through(Some(interface), magic) {
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => {
            send_through(None, magic).map_err(|_| error)
        }
        result => result,
    }
}

fn send_through(interface: Option<&str>, magic: &Magic) -> io::Result<()> {
    let socket = Socket::new(
        if magic.source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 },
        Type::RAW.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.bind_device(interface.map(str::as_bytes))?;
    socket.bind(&SocketAddr::new(magic.source, 0).into())?;
    let segment = segment(magic);
    socket.send_to(&segment, &SocketAddr::new(magic.destination, 0).into()).map(drop)
}

/// The TCP header (RFC 9293 §3.1).
fn segment(magic: &Magic) -> [u8; HEADER_LEN as usize] {
    let mut segment = [0; HEADER_LEN as usize];
    segment[0..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    segment[2..4].copy_from_slice(&PORT.to_be_bytes());
    // Sequence and acknowledgement number stay 0, since there will be no connection.
    segment[12] = (HEADER_LEN / 4) << 4;
    segment[13] = SYN;
    segment[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    let addresses = match (magic.source, magic.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Sum::ZERO.plus_octets(&source.octets()).plus_octets(&destination.octets())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Sum::ZERO.plus_octets(&source.octets()).plus_octets(&destination.octets())
        }
        // The configuration has the same family for both.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Sum::ZERO,
    };
    // The pseudo-headers of both families have the same sum (RFC 9293 §3.1, RFC 8200 §8.1).
    let sum = addresses.plus_u16(TCP).plus_u16(u16::from(HEADER_LEN)).plus_octets(&segment);
    segment[CHECKSUM].copy_from_slice(&sum.checksum().to_be_bytes());
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magic_packet_is_a_syn_to_port_1100_with_a_valid_checksum() {
        let magic = Magic { source: [10, 1, 1, 1].into(), destination: [10, 1, 1, 254].into() };
        let segment = segment(&magic);
        assert_eq!(segment[2..4], [0x04, 0x4c]);
        assert_eq!(segment[12..14], [0x50, 0x02]);
        let sum = Sum::ZERO.plus_octets(&[10, 1, 1, 1]).plus_octets(&[10, 1, 1, 254]);
        assert!(sum.plus_u16(6).plus_u16(20).plus_octets(&segment).is_valid());
    }
}
