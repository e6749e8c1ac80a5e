//! The Internet checksum (RFC 1071), written for correctness rather than speed, to check the daemon's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol number of VRRP.
const VRRP: u8 = 112;

/// The checksum of the octets. Over octets that include a correct checksum, the result is 0.
pub fn internet(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// The pseudo-header that a VRRP message's checksum includes (RFC 9568 §5.2.8, RFC 5798 §5.2.8).
pub fn pseudo_header(source: IpAddr, destination: IpAddr, message_len: usize) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => pseudo_header_ipv4(source, destination, message_len),
        (IpAddr::V6(source), IpAddr::V6(destination)) => pseudo_header_ipv6(source, destination, message_len),
        _ => panic!("{source} and {destination} are of two families"),
    }
}

fn pseudo_header_ipv4(source: Ipv4Addr, destination: Ipv4Addr, len: usize) -> Vec<u8> {
    let len = u16::try_from(len).expect("fits a packet");
    [&source.octets()[..], &destination.octets(), &[0, VRRP], &len.to_be_bytes()].concat()
}

fn pseudo_header_ipv6(source: Ipv6Addr, destination: Ipv6Addr, len: usize) -> Vec<u8> {
    let len = u32::try_from(len).expect("fits a packet");
    [&source.octets()[..], &destination.octets(), &len.to_be_bytes(), &[0, 0, 0, VRRP]].concat()
}
