//! Adverts by packet sockets: works on every kernel, costs a wake-up for each advert.
//!
//! Frames are read before the IP stack and its filters see them, so what a firewall does to protocol 112 does not
//! matter, and each fault can be counted under its own name.

use std::io;

use libc::{BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use vrrpd_common::Family;
use vrrpd_common::wire::{ethernet, ipv4, ipv6};

use crate::sys::packet::{FilterInstruction, PacketSocket, jump, statement};

/// The sockets of one interface and one family.
#[derive(Debug)]
pub struct RawPath {
    receiver: PacketSocket,
    /// Keeps the card's filter and the switches' snooping open for the group.
    membership: Socket,
    family: Family,
    index: u32,
}

impl RawPath {
    /// Opens the sockets on the interface `index`. Joining the group is tried again by [`RawPath::join`].
    pub fn open(index: u32, family: Family) -> io::Result<Self> {
        let receiver = match family {
            Family::Ipv4 => PacketSocket::receiver(index, ethernet::TYPE_IPV4, &filter_ipv4())?,
            Family::Ipv6 => PacketSocket::receiver(index, ethernet::TYPE_IPV6, &filter_ipv6())?,
        };
        let domain = match family {
            Family::Ipv4 => Domain::IPV4,
            Family::Ipv6 => Domain::IPV6,
        };
        let membership = Socket::new(domain, Type::DGRAM.cloexec(), None)?;
        Ok(Self { receiver, membership, family, index })
    }

    /// Joins the group, which an interface may forget or not allow yet; being a member already is fine.
    pub fn join(&self) -> io::Result<()> {
        let joined = match self.family {
            Family::Ipv4 => self
                .membership
                .join_multicast_v4_n(&ipv4::VRRP_GROUP, &InterfaceIndexOrAddress::Index(self.index)),
            Family::Ipv6 => self.membership.join_multicast_v6(&ipv6::VRRP_GROUP, self.index),
        };
        match joined {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        }
    }

    /// The next frame, cut to `buffer`; `None` when there is none.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        self.receiver.receive(buffer)
    }

    /// The socket to wait for.
    pub fn socket(&self) -> &PacketSocket {
        &self.receiver
    }
}

/// Loads what stands at an octet of the frame.
const fn load(size: u32, at: usize) -> FilterInstruction {
    #[expect(clippy::cast_possible_truncation, reason = "no header is that long")]
    statement(BPF_LD | size | BPF_ABS, at as u32)
}

/// Jumps over `miss` instructions unless the value loaded last is `k`.
const fn unless(k: u32, miss: u8) -> FilterInstruction {
    jump(BPF_JMP | BPF_JEQ | BPF_K, k, 0, miss)
}

const ACCEPT: FilterInstruction = statement(BPF_RET | BPF_K, u32::MAX);
const IGNORE: FilterInstruction = statement(BPF_RET | BPF_K, 0);

/// Protocol 112 to 224.0.0.18, nothing else.
fn filter_ipv4() -> [FilterInstruction; 6] {
    let header = ethernet::HEADER_LEN;
    [
        load(BPF_W, header + ipv4::field::DESTINATION),
        unless(u32::from(ipv4::VRRP_GROUP), 3),
        load(BPF_B, header + ipv4::field::PROTOCOL),
        unless(u32::from(ipv4::PROTOCOL_VRRP), 1),
        ACCEPT,
        IGNORE,
    ]
}

/// Next header 112 to ff02::12, nothing else.
fn filter_ipv6() -> [FilterInstruction; 8] {
    let header = ethernet::HEADER_LEN;
    let [first, second, .., last] = ipv6::VRRP_GROUP.segments();
    let destination = header + ipv6::field::DESTINATION;
    [
        load(BPF_H, destination + 14),
        unless(u32::from(last), 5),
        load(BPF_W, destination),
        unless(u32::from(first) << 16 | u32::from(second), 3),
        load(BPF_B, header + ipv6::field::NEXT_HEADER),
        unless(u32::from(ipv6::NEXT_HEADER_VRRP), 1),
        ACCEPT,
        IGNORE,
    ]
}
