//! Membership of a multicast group of VRRP: keeps the card's filter and the switches' snooping open, however adverts are
//! received.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

fn socket(group: IpAddr) -> io::Result<Socket> {
    let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::DGRAM.cloexec(), None)
}

/// A socket that is a member on one interface, and for nothing else.
#[derive(Debug)]
pub struct Membership {
    socket: Socket,
    group: IpAddr,
    index: u32,
}

impl Membership {
    /// A member to be, see [`Membership::join`].
    pub fn new(index: u32, group: IpAddr) -> io::Result<Self> {
        Ok(Self { socket: socket(group)?, group, index })
    }

    /// Joins the group anew: an interface that has lost the family has lost the membership with it, and the socket still
    /// takes itself for a member. Not for nothing, since it leaves the group first.
    pub fn rejoin(&self) -> io::Result<()> {
        // One that was none is as good.
        let _ = self.leave();
        self.join()
    }

    fn leave(&self) -> io::Result<()> {
        match self.group {
            IpAddr::V4(group) => {
                let interface = InterfaceIndexOrAddress::Index(self.index);
                self.socket.leave_multicast_v4_n(&group, &interface)
            }
            IpAddr::V6(group) => self.socket.leave_multicast_v6(&group, self.index),
        }
    }

    /// Its group.
    pub fn group(&self) -> IpAddr {
        self.group
    }

    /// Joins the group, which an interface may forget or not allow yet; being a member already is fine.
    pub fn join(&self) -> io::Result<()> {
        let joined = match self.group {
            IpAddr::V4(group) => {
                let interface = InterfaceIndexOrAddress::Index(self.index);
                self.socket.join_multicast_v4_n(&group, &interface)
            }
            IpAddr::V6(group) => self.socket.join_multicast_v6(&group, self.index),
        };
        match joined {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        }
    }
}

impl AsFd for Membership {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
