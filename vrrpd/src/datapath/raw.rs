//! Adverts by packet sockets: works on every kernel, costs a wake-up for each advert.
//!
//! Frames are read before the IP stack and its filters see them, so what a firewall does to protocol 112 or 51 does not
//! matter, and each fault can be counted under its own name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::{BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use vrrpd_common::Family;
use vrrpd_common::wire::{ethernet, ipv4, ipv6};

use crate::sys::packet::{FilterInstruction, Inbox, PacketSocket, jump, statement};

/// The socket of one interface and one family.
#[derive(Debug)]
pub struct RawPath {
    socket: PacketSocket,
    protocols: Vec<u8>,
}

impl RawPath {
    /// Opens the socket on the interface `index` for packets of these protocols to VRRP's group.
    pub fn open(index: u32, family: Family, protocols: &[u8]) -> io::Result<Self> {
        let socket = match family {
            Family::Ipv4 => PacketSocket::receiver(index, ethernet::TYPE_IPV4, filter_ipv4(protocols))?,
            Family::Ipv6 => PacketSocket::receiver(index, ethernet::TYPE_IPV6, filter_ipv6(protocols))?,
        };
        Ok(Self { socket, protocols: protocols.to_vec() })
    }

    /// Whether it takes packets of all these protocols.
    pub fn takes(&self, protocols: &[u8]) -> bool {
        protocols.iter().all(|protocol| self.protocols.contains(protocol))
    }

    /// The frames that are there, as many as there is room for.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        self.socket.receive(inbox)
    }
}

impl AsFd for RawPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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

/// These protocols to 224.0.0.18, nothing else.
fn filter_ipv4(protocols: &[u8]) -> Vec<FilterInstruction> {
    let header = ethernet::HEADER_LEN;
    let group = [
        load(BPF_W, header + ipv4::field::DESTINATION),
        unless(u32::from(ipv4::VRRP_GROUP), to_ignore(protocols)),
    ];
    group.into_iter().chain(one_of(header + ipv4::field::PROTOCOL, protocols)).collect()
}

/// These next headers to ff02::12, nothing else.
fn filter_ipv6(protocols: &[u8]) -> Vec<FilterInstruction> {
    let header = ethernet::HEADER_LEN;
    let [first, second, .., last] = ipv6::VRRP_GROUP.segments();
    let destination = header + ipv6::field::DESTINATION;
    let group = [
        load(BPF_H, destination + 14),
        unless(u32::from(last), to_ignore(protocols) + 2),
        load(BPF_W, destination),
        unless(u32::from(first) << 16 | u32::from(second), to_ignore(protocols)),
    ];
    group.into_iter().chain(one_of(header + ipv6::field::NEXT_HEADER, protocols)).collect()
}

/// The end of a filter: takes the frame if the octet at `at` is one of `protocols`.
fn one_of(at: usize, protocols: &[u8]) -> impl Iterator<Item = FilterInstruction> {
    // Each jumps over those behind it and what ignores the frame.
    let tests = (1..=count(protocols))
        .rev()
        .zip(protocols)
        .map(|(over, protocol)| jump(BPF_JMP | BPF_JEQ | BPF_K, u32::from(*protocol), over, 0));
    std::iter::once(load(BPF_B, at)).chain(tests).chain([IGNORE, ACCEPT])
}

/// From before [`one_of`] to what ignores the frame.
fn to_ignore(protocols: &[u8]) -> u8 {
    1 + count(protocols)
}

fn count(protocols: &[u8]) -> u8 {
    u8::try_from(protocols.len()).unwrap_or(u8::MAX)
}
