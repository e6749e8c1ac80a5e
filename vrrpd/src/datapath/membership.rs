//! Membership of VRRP's multicast group: keeps the card's filter and the switches' snooping open, however adverts are
//! received.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use vrrpd_common::Family;
use vrrpd_common::wire::{ipv4, ipv6};

fn socket(family: Family) -> io::Result<Socket> {
    let domain = match family {
        Family::Ipv4 => Domain::IPV4,
        Family::Ipv6 => Domain::IPV6,
    };
    Socket::new(domain, Type::DGRAM.cloexec(), None)
}

/// A socket that is a member on one interface, and for nothing else.
#[derive(Debug)]
pub struct Membership {
    socket: Socket,
    family: Family,
    index: u32,
}

impl Membership {
    /// A member to be, see [`Membership::join`].
    pub fn new(index: u32, family: Family) -> io::Result<Self> {
        Ok(Self { socket: socket(family)?, family, index })
    }

    /// Joins the group anew: an interface that has lost the family has lost the membership with it, and the socket still
    /// takes itself for a member. Not for nothing, since it leaves the group first.
    pub fn rejoin(&self) -> io::Result<()> {
        // One that was none is as good.
        let _ = self.leave();
        self.join()
    }

    fn leave(&self) -> io::Result<()> {
        match self.family {
            Family::Ipv4 => {
                let interface = InterfaceIndexOrAddress::Index(self.index);
                self.socket.leave_multicast_v4_n(&ipv4::VRRP_GROUP, &interface)
            }
            Family::Ipv6 => self.socket.leave_multicast_v6(&ipv6::VRRP_GROUP, self.index),
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Joins the group, which an interface may forget or not allow yet; being a member already is fine.
    pub fn join(&self) -> io::Result<()> {
        let joined = match self.family {
            Family::Ipv4 => {
                let interface = InterfaceIndexOrAddress::Index(self.index);
                self.socket.join_multicast_v4_n(&ipv4::VRRP_GROUP, &interface)
            }
            Family::Ipv6 => self.socket.join_multicast_v6(&ipv6::VRRP_GROUP, self.index),
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
