//! Ping check: ICMP echo, over IPv4 and IPv6.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use vrrpd_common::wire::checksum::Sum;

use crate::sys::watch;

/// Message types: request and reply.
const V4: (u8, u8) = (8, 0);
const V6: (u8, u8) = (128, 129);
const MAX_LEN: usize = 1500;

/// Sends an echo request, and waits for the reply.
///
/// The socket is raw, since an ICMP socket requires a system setting that permits it. It is connected, so it receives
/// packets of that host only.
pub(super) async fn ping(host: IpAddr, sequence: u16) -> io::Result<()> {
    let (domain, protocol, (request, reply)) = match host {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, V4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, V6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(host, 0).into())?;
    // Arbitrary values that distinguish our replies from others.
    let echo = [std::process::id().to_be_bytes()[2..].try_into().unwrap_or_default(), sequence.to_be_bytes()];
    socket.send(&message(request, echo))?;
    let socket = watch::socket(socket)?;
    let mut buffer = [0; MAX_LEN];
    loop {
        let mut ready = socket.readable().await?;
        match (&socket.get_ref().0).read(&mut buffer) {
            Ok(length) if is_reply(host, buffer.get(..length).unwrap_or_default(), reply, echo) => {
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(error),
        }
    }
}

/// Type, code, checksum, identifier and sequence number. The kernel computes the checksum of ICMPv6.
fn message(kind: u8, [identifier, sequence]: [[u8; 2]; 2]) -> [u8; 8] {
    let mut message = [kind, 0, 0, 0, identifier[0], identifier[1], sequence[0], sequence[1]];
    let sum = Sum::ZERO.plus_octets(&message);
    let [high, low] = sum.checksum().to_be_bytes();
    (message[2], message[3]) = (high, low);
    message
}

/// IPv4 packets include their header.
fn is_reply(host: IpAddr, packet: &[u8], kind: u8, [identifier, sequence]: [[u8; 2]; 2]) -> bool {
    let header = match (host, packet.first()) {
        (IpAddr::V4(_), Some(first)) => usize::from(first & 0x0f) * 4,
        (IpAddr::V4(_), None) | (IpAddr::V6(_), _) => 0,
    };
    let Some([of, 0, _, _, echo @ ..]) = packet.get(header..).and_then(|message| message.first_chunk::<8>())
    else {
        return false;
    };
    *of == kind && echo[..2] == identifier && echo[2..] == sequence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_of_our_request() {
        let echo = [[1, 2], [0, 7]];
        let v6 = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        let v4 = IpAddr::from([127, 0, 0, 1]);
        assert!(is_reply(v6, &message(129, echo), 129, echo));
        assert!(!is_reply(v6, &message(129, [[1, 2], [0, 8]]), 129, echo));
        assert!(!is_reply(v6, &message(128, echo), 129, echo));
        assert!(!is_reply(v6, &[129, 0, 0], 129, echo));
        let packet = [&[0x45; 20][..], &message(0, echo)].concat();
        assert!(is_reply(v4, &packet, 0, echo));
        assert!(!is_reply(v4, &[], 0, echo));
    }

    #[test]
    fn the_checksum_of_a_request_is_that_of_rfc_792() {
        assert_eq!(message(8, [[0x12, 0x34], [0, 1]]), [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1]);
    }
}
