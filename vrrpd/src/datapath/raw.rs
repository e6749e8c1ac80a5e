//! Adverts by packet sockets: works on every kernel, costs a wake-up for each advert.
//!
//! Frames are read before the IP stack and its filters see them, so what a firewall does to protocol 112 or 51 does not
//! matter, and each fault can be counted under its own name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET, BPF_W,
};
use vrrpd_common::Family;
use vrrpd_common::wire::{ethernet, ipv4, ipv6};

use super::readiness::{Readiness, Source};
use crate::sys::packet::{FilterInstruction, Inbox, PacketSocket, jump, statement};

/// Which packets a socket takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// Adverts to VRRP's group.
    pub group: bool,
    /// Adverts to any other address.
    pub elsewhere: bool,
    /// Adverts in an Authentication Header: to the group, and elsewhere as those without.
    pub authenticated: bool,
}

impl Takes {
    /// Whether it takes any.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether it takes all that `wanted` takes.
    const fn includes(self, wanted: Self) -> bool {
        (self.group || !wanted.group)
            && (self.elsewhere || !wanted.elsewhere)
            && (self.authenticated || !wanted.authenticated)
    }
}

/// The socket of one interface and one family.
#[derive(Debug)]
pub struct RawPath {
    socket: Source<PacketSocket>,
    takes: Takes,
}

impl RawPath {
    /// Opens the socket on the interface `index` for these packets, and watches it under this number.
    pub fn open(
        index: u32,
        family: Family,
        takes: Takes,
        (readiness, number): (&Readiness, u64),
    ) -> io::Result<Self> {
        let socket = match family {
            Family::Ipv4 => PacketSocket::receiver(index, ethernet::TYPE_IPV4, filter_ipv4(takes))?,
            Family::Ipv6 => PacketSocket::receiver(index, ethernet::TYPE_IPV6, filter_ipv6(takes))?,
        };
        Ok(Self { socket: readiness.watch(socket, number)?, takes })
    }

    /// Whether it takes all these packets.
    pub fn takes(&self, wanted: Takes) -> bool {
        self.takes.includes(wanted)
    }

    /// The frames that are there, as many as there is room for.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        self.socket.receive(inbox)
    }

    /// Says whether all frames were taken; if not, the socket is ready again.
    pub fn was_read(&self, all: bool) {
        self.socket.was_read(all);
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

/// Ends the filter: takes the frame, or ignores it.
const fn verdict(takes: bool) -> FilterInstruction {
    statement(BPF_RET | BPF_K, if takes { u32::MAX } else { 0 })
}

/// Goes on with `then` if the octet at `at` is `protocol`, behind it if not.
fn if_protocol(at: usize, protocol: u8, then: Vec<FilterInstruction>) -> Vec<FilterInstruction> {
    let over = u8::try_from(then.len()).unwrap_or(u8::MAX);
    [load(BPF_B, at), unless(u32::from(protocol), over)].into_iter().chain(then).collect()
}

/// VRRP, with or without an Authentication Header.
fn filter_ipv4(takes: Takes) -> Vec<FilterInstruction> {
    let header = ethernet::HEADER_LEN;
    let to = |group, elsewhere| {
        [
            load(BPF_W, header + ipv4::field::DESTINATION),
            unless(u32::from(ipv4::VRRP_GROUP), 1),
            verdict(group),
            verdict(elsewhere),
        ]
    };
    let protocol = header + ipv4::field::PROTOCOL;
    let mut filter = if_protocol(protocol, ipv4::PROTOCOL_VRRP, to(takes.group, takes.elsewhere).into());
    if takes.authenticated {
        // What is in the Authentication Header stands in its first octet, behind an IPv4 header with or without options.
        #[expect(clippy::cast_possible_truncation, reason = "no header is that long")]
        let next_header = [
            statement(BPF_LDX | BPF_B | BPF_MSH, header as u32),
            statement(BPF_LD | BPF_B | BPF_IND, header as u32),
            jump(BPF_JMP | BPF_JEQ | BPF_K, u32::from(ipv4::PROTOCOL_VRRP), 1, 0),
            verdict(false),
        ];
        let then = next_header.into_iter().chain(to(true, takes.elsewhere)).collect();
        filter.extend(if_protocol(protocol, ipv4::PROTOCOL_AH, then));
    }
    filter.push(verdict(false));
    filter
}

/// VRRP; over IPv6 it has no Authentication Header here.
fn filter_ipv6(takes: Takes) -> Vec<FilterInstruction> {
    let header = ethernet::HEADER_LEN;
    let [first, second, .., last] = ipv6::VRRP_GROUP.segments();
    let destination = header + ipv6::field::DESTINATION;
    let to = vec![
        load(BPF_H, destination + 14),
        unless(u32::from(last), 3),
        load(BPF_W, destination),
        unless(u32::from(first) << 16 | u32::from(second), 1),
        verdict(takes.group),
        verdict(takes.elsewhere),
    ];
    let mut filter = if_protocol(header + ipv6::field::NEXT_HEADER, ipv6::NEXT_HEADER_VRRP, to);
    filter.push(verdict(false));
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_takes_more_is_as_good_and_one_that_takes_less_is_not() {
        let all = Takes { group: true, elsewhere: true, authenticated: true };
        let only = |group, elsewhere, authenticated| Takes { group, elsewhere, authenticated };
        for less in [only(true, false, false), only(false, true, false), only(false, false, true)] {
            assert!(all.includes(less) && !less.includes(all) && less.any());
        }
        assert!(!Takes::default().any());
    }
}
