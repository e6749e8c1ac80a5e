//! Adverts by packet sockets: works on every kernel, costs a wake-up for each advert or burst of adverts.
//!
//! Frames are read before the IP stack and its filters see them, so what a firewall does to protocol 112 or 51 does not
//! matter, and each fault can be counted under its own name.
//!
//! A socket of an interface starts with a queue in the kernel. A [`RingPath`], which takes the kernel longer to make, is put before
//! it: frames are then read from shared memory, and only those for which the ring has no room wait in the queue. So the ring
//! can be small.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MSH,
    BPF_RET, BPF_W,
};
use vrrpd_common::Family;
use vrrpd_common::wire::{ethernet, ipv4, ipv6};

use super::program;
use super::readiness::{Readiness, Source};
use crate::guardian::copies::Kept;
use crate::sys::packet::{FilterInstruction, Inbox, PacketSocket, RingSocket, jump, statement};

/// The first release in which a fan-out group takes no lock for each packet of the interface, which matters to a router.
const GROUPS_WITHOUT_LOCK: (u32, u32) = (5, 3);
/// Slots of a ring for each router: adverts that arrive together leave most of it free.
const SLOTS_PER_ROUTER: usize = 4;
/// Limits of the number of slots, most of which have 128 octets.
const SLOTS: std::ops::RangeInclusive<usize> = 64..=1024;

/// The packets that a socket receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// Adverts to VRRP's group.
    pub group: bool,
    /// Adverts to other groups.
    pub other_groups: bool,
    /// Adverts by unicast.
    pub unicast: bool,
    /// Adverts in an Authentication Header, to any address.
    pub authenticated: bool,
}

impl Takes {
    /// Whether it receives any.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether it receives all packets of `wanted`.
    const fn includes(self, wanted: Self) -> bool {
        (self.group || !wanted.group)
            && (self.other_groups || !wanted.other_groups)
            && (self.unicast || !wanted.unicast)
            && (self.authenticated || !wanted.authenticated)
    }
}

/// The socket of one interface and one family.
#[derive(Debug)]
pub struct RawPath {
    socket: Source<PacketSocket>,
    before: Before,
    order: Cell<Order>,
    index: u32,
    family: Family,
    takes: Takes,
}

/// What is before a socket.
#[derive(Debug)]
enum Before {
    /// No ring yet.
    Nothing,
    /// A ring is being made.
    Making,
    /// There can be no ring at present.
    Refused,
    Ring(Kept<RingPath>),
}

/// A ring before a socket.
#[derive(Debug)]
pub struct RingPath(Source<RingSocket>);

/// What a ring has to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOrder {
    index: u32,
    ethertype: u16,
    slots: usize,
    frame: usize,
}

/// What is read next, so that frames are read in the order of their arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The ring: nothing is in the queue.
    Ring,
    /// So many frames of the ring, and then the queue, whose frames arrived after these.
    RingBeforeQueue(usize),
    /// The queue: what is in the ring arrived after that.
    Queue,
}

impl RawPath {
    /// Opens the socket on the interface with this index for these packets, and watches it under this number.
    pub fn open(
        index: u32,
        family: Family,
        takes: Takes,
        (readiness, number): (&Readiness, u64),
    ) -> io::Result<Self> {
        let socket = PacketSocket::receiver(index, ethertype(family), filter(family, takes))?;
        let socket = readiness.watch(socket, number)?;
        Ok(Self { socket, before: Before::Nothing, order: Cell::new(Order::Queue), index, family, takes })
    }

    /// Whether it receives all these packets.
    pub fn takes(&self, wanted: Takes) -> bool {
        self.takes.includes(wanted)
    }

    /// Begins to put a ring before the socket, unless that was done already. `traffic` is the number of routers and the octets of
    /// their longest frame. Returns what is to be made; [`RawPath::put_ring`] or [`RawPath::stay_alone`] follows.
    pub fn begin_ring(&mut self, traffic: impl FnOnce() -> (usize, usize)) -> Option<RingOrder> {
        if !matches!(self.before, Before::Nothing) {
            return None;
        }
        if program::kernel_is_before(GROUPS_WITHOUT_LOCK) {
            self.before = Before::Refused;
            return None;
        }
        self.before = Before::Making;
        let (routers, frame) = traffic();
        let slots = (routers * SLOTS_PER_ROUTER).clamp(*SLOTS.start(), *SLOTS.end());
        Some(RingOrder { index: self.index, ethertype: ethertype(self.family), slots, frame })
    }

    /// Puts a ring before the socket, unless it has one. Returns a ring that is not used.
    ///
    /// # Errors
    /// See [`PacketSocket::put_behind`].
    pub fn put_ring(&mut self, ring: Kept<RingPath>) -> (Option<Kept<RingPath>>, io::Result<()>) {
        if matches!(self.before, Before::Ring(_)) {
            return (Some(ring), Ok(()));
        }
        match self.socket.put_behind(&ring.0, self.index, filter(self.family, self.takes)) {
            Ok(()) => {
                self.before = Before::Ring(ring);
                self.order.set(Order::Queue);
                (None, Ok(()))
            }
            Err(error) => (Some(ring), Err(error)),
        }
    }

    /// There can be no ring: the socket goes on alone.
    pub fn stay_alone(&mut self) {
        if matches!(self.before, Before::Making) {
            self.before = Before::Refused;
        }
    }

    /// The interface has become usable: before Linux 6.10 there can be no ring earlier.
    pub fn try_ring_again(&mut self) {
        if matches!(self.before, Before::Refused) {
            self.before = Before::Nothing;
        }
    }

    /// The ring before the socket.
    fn ring(&self) -> Option<&RingSocket> {
        match &self.before {
            Before::Ring(ring) => Some(&ring.0),
            Before::Nothing | Before::Making | Before::Refused => None,
        }
    }

    /// Reads some of the waiting frames.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        let Some(ring) = self.ring() else { return self.socket.receive(inbox) };
        if self.order.get() == Order::Ring && ring.is_a_quarter_full() {
            self.queue_has_frames();
        }
        match self.order.get() {
            Order::Ring => drop(ring.receive(inbox, usize::MAX)),
            Order::RingBeforeQueue(left) => {
                let read = ring.receive(inbox, left);
                inbox.expect_more();
                self.order.set(match left.saturating_sub(read) {
                    left if left > 0 && read > 0 => Order::RingBeforeQueue(left),
                    _ => Order::Queue,
                });
            }
            Order::Queue => {
                self.socket.receive(inbox)?;
                if !inbox.has_more() {
                    inbox.expect_more();
                    self.order.set(Order::Ring);
                }
            }
        }
        Ok(())
    }

    /// Handles that the queue may have frames.
    pub fn queue_has_frames(&self) {
        if let Some(ring) = self.ring()
            && self.order.get() == Order::Ring
        {
            self.order.set(match ring.waiting() {
                0 => Order::Queue,
                waiting => Order::RingBeforeQueue(waiting),
            });
        }
    }

    /// Records whether all frames were read; if not, the ring or, without `of_ring`, the socket is ready again.
    pub fn was_read(&self, of_ring: bool, all: bool) {
        match &self.before {
            Before::Ring(ring) if of_ring => ring.0.was_read(all),
            Before::Ring(_) | Before::Nothing | Before::Making | Before::Refused => {
                self.socket.was_read(all);
            }
        }
    }
}

impl RingOrder {
    /// The index of its interface.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Makes it; waits for all processors.
    pub fn make(self) -> io::Result<RingSocket> {
        RingSocket::prepare(self.index, self.ethertype, self.slots, self.frame)
    }
}

impl RingPath {
    /// Watches the ring under this number.
    pub fn new(ring: RingSocket, (readiness, number): (&Readiness, u64)) -> io::Result<Self> {
        readiness.watch(ring, number).map(Self)
    }
}

impl AsFd for RingPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for RawPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const fn ethertype(family: Family) -> u16 {
    match family {
        Family::Ipv4 => ethernet::TYPE_IPV4,
        Family::Ipv6 => ethernet::TYPE_IPV6,
    }
}

fn filter(family: Family, takes: Takes) -> Vec<FilterInstruction> {
    match family {
        Family::Ipv4 => filter_ipv4(takes),
        Family::Ipv6 => filter_ipv6(takes),
    }
}

/// Loads a value at an offset of the frame.
const fn load(size: u32, at: usize) -> FilterInstruction {
    #[expect(clippy::cast_possible_truncation, reason = "no header is that long")]
    statement(BPF_LD | size | BPF_ABS, at as u32)
}

/// Jumps over `miss` instructions unless the loaded value is `k`.
const fn unless(k: u32, miss: u8) -> FilterInstruction {
    jump(BPF_JMP | BPF_JEQ | BPF_K, k, 0, miss)
}

/// Ends the filter: accepts or ignores the frame.
const fn verdict(takes: bool) -> FilterInstruction {
    statement(BPF_RET | BPF_K, if takes { u32::MAX } else { 0 })
}

/// Executes `then` if the octet at `at` is `protocol`, and otherwise skips it.
fn if_protocol(at: usize, protocol: u8, then: Vec<FilterInstruction>) -> Vec<FilterInstruction> {
    let over = u8::try_from(then.len()).unwrap_or(u8::MAX);
    [load(BPF_B, at), unless(u32::from(protocol), over)].into_iter().chain(then).collect()
}

/// VRRP, with or without an Authentication Header.
fn filter_ipv4(takes: Takes) -> Vec<FilterInstruction> {
    let header = ethernet::HEADER_LEN;
    let to = vec![
        load(BPF_W, header + ipv4::field::DESTINATION),
        unless(u32::from(ipv4::VRRP_GROUP), 1),
        verdict(takes.group),
        // 224.0.0.0/4
        statement(BPF_ALU | BPF_AND | BPF_K, 0xf000_0000),
        unless(0xe000_0000, 1),
        verdict(takes.other_groups),
        verdict(takes.unicast),
    ];
    let protocol = header + ipv4::field::PROTOCOL;
    let mut filter = if_protocol(protocol, ipv4::PROTOCOL_VRRP, to);
    if takes.authenticated {
        // The first octet of the Authentication Header, after an IPv4 header with or without options, has the protocol
        // of its content.
        #[expect(clippy::cast_possible_truncation, reason = "no header is that long")]
        let next_header = [
            statement(BPF_LDX | BPF_B | BPF_MSH, header as u32),
            statement(BPF_LD | BPF_B | BPF_IND, header as u32),
            jump(BPF_JMP | BPF_JEQ | BPF_K, u32::from(ipv4::PROTOCOL_VRRP), 1, 0),
            verdict(false),
            verdict(true),
        ];
        filter.extend(if_protocol(protocol, ipv4::PROTOCOL_AH, next_header.into()));
    }
    filter.push(verdict(false));
    filter
}

/// VRRP; Authentication Headers are not supported over IPv6.
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
        // ff00::/8
        load(BPF_B, destination),
        unless(0xff, 1),
        verdict(takes.other_groups),
        verdict(takes.unicast),
    ];
    let mut filter = if_protocol(header + ipv6::field::NEXT_HEADER, ipv6::NEXT_HEADER_VRRP, to);
    filter.push(verdict(false));
    filter
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::os::unix::net::UnixDatagram;

    use socket2::SockRef;

    use super::*;

    /// Whether the kernel delivers a packet of this protocol to this address: it applies the filter to any socket.
    fn passes(takes: Takes, to: &str, protocol: u8, payload: &[u8]) -> bool {
        let (sender, receiver) = UnixDatagram::pair().expect("two sockets");
        receiver.set_nonblocking(true).expect("it is open");
        let mut frame = vec![0; ethernet::HEADER_LEN];
        let filter = match to.parse().expect("an address") {
            IpAddr::V4(to) => {
                frame.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 255, protocol, 0, 0, 192, 0, 2, 1]);
                frame.extend(to.octets());
                filter_ipv4(takes)
            }
            IpAddr::V6(to) => {
                frame.extend([0x60, 0, 0, 0, 0, 0, protocol, 255]);
                frame.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
                frame.extend(to.octets());
                filter_ipv6(takes)
            }
        };
        frame.extend(payload);
        SockRef::from(&receiver).attach_filter(&filter).expect("the kernel takes the filter");
        sender.send(&frame).expect("it is sent");
        let mut buffer = [0; 256];
        match receiver.recv(&mut buffer) {
            Ok(len) => {
                assert_eq!(buffer.get(..len), Some(&*frame), "all of it");
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                false
            }
        }
    }

    #[test]
    fn a_filter_passes_vrrp_to_the_addresses_that_are_asked_for_and_nothing_else() {
        let asked = [
            (Takes { group: true, ..Takes::default() }, 0),
            (Takes { other_groups: true, ..Takes::default() }, 1),
            (Takes { unicast: true, ..Takes::default() }, 2),
        ];
        for (takes, own) in asked {
            let to = [
                ("224.0.0.18", 0),
                ("224.0.0.19", 1),
                ("239.1.2.3", 1),
                ("192.0.2.2", 2),
                ("240.0.0.18", 2),
                ("ff02::12", 0),
                ("ff02::13", 1),
                ("ff05::12", 1),
                ("fe80::12", 2),
                ("2001:db8::12", 2),
            ];
            for (to, kind) in to {
                assert_eq!(
                    passes(takes, to, ipv4::PROTOCOL_VRRP, &[0x31; 16]),
                    kind == own,
                    "{to}, {takes:?}"
                );
                for other in [6, ipv4::PROTOCOL_AH] {
                    assert!(
                        !passes(takes, to, other, &[ipv4::PROTOCOL_VRRP; 16]),
                        "{other} to {to}, {takes:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_filter_passes_vrrp_in_an_authentication_header_to_any_ipv4_address() {
        let takes = Takes { authenticated: true, ..Takes::default() };
        for to in ["224.0.0.18", "224.0.0.19", "192.0.2.2"] {
            assert!(passes(takes, to, ipv4::PROTOCOL_AH, &[ipv4::PROTOCOL_VRRP; 40]), "{to}");
            assert!(!passes(takes, to, ipv4::PROTOCOL_AH, &[6; 40]), "TCP in it to {to}");
            assert!(
                !passes(takes, to, ipv4::PROTOCOL_VRRP, &[ipv4::PROTOCOL_VRRP; 40]),
                "without one to {to}"
            );
        }
    }

    #[test]
    fn a_socket_that_takes_more_is_as_good_and_one_that_takes_less_is_not() {
        let all = Takes { group: true, other_groups: true, unicast: true, authenticated: true };
        for less in [
            Takes { group: true, ..Takes::default() },
            Takes { other_groups: true, ..Takes::default() },
            Takes { unicast: true, ..Takes::default() },
            Takes { authenticated: true, ..Takes::default() },
        ] {
            assert!(all.includes(less) && !less.includes(all) && less.any());
        }
        assert!(!Takes::default().any());
    }
}
