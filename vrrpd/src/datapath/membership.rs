//! Membership in a multicast group of VRRP: keeps the network card's filter and switches' snooping open with every data
//! path.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

fn socket(group: IpAddr) -> io::Result<Socket> {
    let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::DGRAM.cloexec(), None)
}

/// A socket used only for the membership on one interface.
#[derive(Debug)]
pub struct Membership {
    socket: Socket,
    group: IpAddr,
    index: u32,
}

impl Membership {
    /// A socket for [`Membership::join`].
    pub fn new(index: u32, group: IpAddr) -> io::Result<Self> {
        Ok(Self { socket: socket(group)?, group, index })
    }

    /// Joins the group again: an interface that lost the family has lost the membership, while the socket still
    /// considers itself a member. So it leaves the group first.
    pub fn rejoin(&self) -> io::Result<()> {
        // Fails if it is not a member.
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

    /// Joins the group, which an interface may have forgotten or not allow yet; no error if it is a member already.
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
