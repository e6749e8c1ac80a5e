//! Kernel notifications about links and addresses, and the time between two of them.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};

use crate::{Host, stretched};

const HEADER: usize = 16;
const MAX_MESSAGE: usize = 32 << 10;
/// Enough for the notifications of dozens of interfaces at once.
const BUFFER: usize = 4 << 20;
const POLL: Duration = Duration::from_micros(100);

/// A notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The link with this index has no carrier.
    NoCarrier(u32),
    /// This address was removed from its link.
    AddressGone(Ipv4Addr),
}

/// Listens to a machine's notifications, from its creation on.
#[derive(Debug)]
pub struct Monitor {
    socket: OwnedFd,
    /// When the socket was last empty.
    empty_at: Instant,
    /// Read but not returned yet, in reverse.
    waiting: Vec<Told>,
}

impl Monitor {
    /// Starts to listen.
    pub fn on(host: &Host) -> Self {
        let socket = host.namespace().enter(|| {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkRoute,
            );
            let socket = socket.expect("there is netlink");
            setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).expect("root may have a large buffer");
            let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR;
            let groups = u32::try_from(groups).expect("bits");
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).expect("everybody may listen");
            socket
        });
        Self { socket, empty_at: Instant::now(), waiting: Vec::new() }
    }

    /// Upper bound of the time between one notification and a later one. Delays in reading make the result longer,
    /// never shorter.
    pub fn longest_between(&mut self, limit: Duration, first: Told, second: Told) -> Duration {
        let (_, after) = self.wait(limit, first);
        let (before, _) = self.wait(limit, second);
        before - after
    }

    /// Waits for all of these notifications in any order; returns the latest possible time of the last one.
    pub fn wait_all(&mut self, limit: Duration, wanted: impl IntoIterator<Item = Told>) -> Instant {
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        let until = Instant::now() + stretched(limit);
        loop {
            let Some(told) = self.next() else {
                assert!(Instant::now() < until, "waited {limit:?} in vain: {wanted:?}");
                thread::sleep(POLL);
                continue;
            };
            wanted.retain(|waited| *waited != told);
            if wanted.is_empty() {
                return Instant::now();
            }
        }
    }

    /// Waits for this notification; returns its latest and earliest possible time.
    fn wait(&mut self, limit: Duration, wanted: Told) -> (Instant, Instant) {
        let until = Instant::now() + stretched(limit);
        loop {
            let after = self.empty_at;
            match self.next() {
                Some(told) if told == wanted => return (Instant::now(), after),
                Some(_) => {}
                None => {
                    assert!(Instant::now() < until, "waited {limit:?} in vain: {wanted:?}");
                    thread::sleep(POLL);
                }
            }
        }
    }

    /// The addresses removed so far.
    pub fn addresses_gone(&mut self) -> Vec<Ipv4Addr> {
        let told = std::iter::from_fn(|| self.next());
        let gone = told.filter_map(|told| match told {
            Told::AddressGone(address) => Some(address),
            Told::NoCarrier(_) => None,
        });
        gone.collect()
    }

    fn next(&mut self) -> Option<Told> {
        while self.waiting.is_empty() {
            let mut buffer = vec![0; MAX_MESSAGE];
            let now = Instant::now();
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    self.waiting = messages(&buffer[..length]);
                    self.waiting.reverse();
                }
                Err(Errno::EAGAIN) => {
                    self.empty_at = now;
                    return None;
                }
                Err(error) => panic!("what the kernel tells: {error}"),
            }
        }
        self.waiting.pop()
    }
}

/// The index of an interface of a machine.
pub fn index_of(host: &Host, interface: &str) -> u32 {
    host.namespace().enter(|| if_nametoindex(interface)).expect("the interface is there")
}

/// The notifications in a datagram of the kernel.
fn messages(mut octets: &[u8]) -> Vec<Told> {
    let mut all = Vec::new();
    while let Some(length) = number(octets, 0).and_then(|length| usize::try_from(length).ok()) {
        let Some(message) = octets.get(HEADER..length) else { break };
        let kind = u16::from_ne_bytes([octets[4], octets[5]]);
        all.extend(told(kind, message));
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

fn told(kind: u16, message: &[u8]) -> Option<Told> {
    match kind {
        libc::RTM_NEWLINK => {
            let (index, flags) = (number(message, 4)?, number(message, 8)?);
            let lower_up = u32::try_from(libc::IFF_LOWER_UP).expect("a bit");
            (flags & lower_up == 0).then_some(Told::NoCarrier(index))
        }
        libc::RTM_DELADDR => {
            let mut attributes = message.get(8..)?;
            while let [low, high, kind_low, kind_high, ..] = *attributes {
                let length = usize::from(u16::from_ne_bytes([low, high]));
                let value = attributes.get(4..length)?;
                if u16::from_ne_bytes([kind_low, kind_high]) == libc::IFA_LOCAL {
                    return Some(Told::AddressGone(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?)));
                }
                attributes = attributes.get(length.next_multiple_of(4)..)?;
            }
            None
        }
        _ => None,
    }
}

fn number(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}
