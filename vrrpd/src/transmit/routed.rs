//! Raw IP sockets: packets with their IP header, sent by the system's routes and neighbour tables.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use libc::{BPF_K, BPF_RET};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use vrrpd_common::wire::ethernet;

use crate::sys::packet::{BATCH, BUFFER, Frame, PRIORITY, statement};

/// Source and routing of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// Their source address.
    pub source: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Index of the interface for link-local destinations.
    pub interface: u32,
    /// Index of the VRF with the routes; `None`: the main table.
    pub vrf: Option<u32>,
}

/// A packet for one host: an Ethernet frame whose Ethernet header the system replaces.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The destination in its IP header.
    pub to: IpAddr,
    /// The frame.
    pub frame: Frame,
}

/// A raw IP socket, non-blocking, close-on-exec. It receives nothing, but its presence keeps the system from answering
/// packets of its protocol with an ICMP error.
#[derive(Debug)]
pub struct RoutedSocket {
    socket: Socket,
    interface: u32,
}

impl RoutedSocket {
    /// Opens a socket for this route. The source address need not exist yet.
    pub fn open(route: &Route) -> io::Result<Self> {
        let domain = if route.source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let protocol = Protocol::from(i32::from(route.protocol));
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        // Before it is bound, so that nothing is received.
        socket.attach_filter(&[statement(BPF_RET | BPF_K, 0)])?;
        if setsockopt(&socket, sockopt::SndBufForce, &BUFFER).is_err() {
            socket.set_send_buffer_size(BUFFER)?;
        }
        socket.set_priority(PRIORITY)?;
        if route.source.is_ipv4() {
            socket.set_header_included_v4(true)?;
            socket.set_freebind_v4(true)?;
        } else {
            socket.set_header_included_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
        if let Some(vrf) = route.vrf {
            socket.bind_device(Some(if_indextoname(vrf)?.as_bytes()))?;
        }
        socket.bind(&address(route.source, route.interface).into())?;
        Ok(Self { socket, interface: route.interface })
    }

    /// Sends `packets` in order, at most [`BATCH`], as far as the queue takes them, and returns their number. An error
    /// concerns the first one.
    pub fn send(&self, packets: &[Packet]) -> io::Result<usize> {
        let packets = packets.get(..BATCH).unwrap_or(packets);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(packets.len(), None);
        let slices: Vec<_> = packets
            .iter()
            .map(|packet| [IoSlice::new(packet.frame.get(ethernet::HEADER_LEN..).unwrap_or_default())])
            .collect();
        let to = |packet: &Packet| Some(SockaddrStorage::from(address(packet.to, self.interface)));
        let addresses: Vec<_> = packets.iter().map(to).collect();
        match sendmmsg(self.socket.as_raw_fd(), &mut headers, &slices, &addresses, [], MsgFlags::empty()) {
            Ok(results) => Ok(results.count()),
            Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<RoutedSocket> for OwnedFd {
    fn from(socket: RoutedSocket) -> Self {
        socket.socket.into()
    }
}

/// A socket address; a link-local one includes its interface.
fn address(address: IpAddr, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => SocketAddr::V4(SocketAddrV4::new(address, 0)),
        IpAddr::V6(address) => {
            let scope = if address.is_unicast_link_local() { interface } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(address, 0, 0, scope))
        }
    }
}
