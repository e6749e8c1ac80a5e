//! What is open on an interface: packet sockets, or the program with what it needs beside it.

use std::io;

use nix::errno::Errno;
use tracing::warn;
use vrrpd_common::Family;
use vrrpd_common::wire::ipv4::{PROTOCOL_AH, PROTOCOL_VRRP};
use vrrpd_engine::LinkId;
use vrrpd_engine::ids::Id as _;

use super::path::{self, Parts};
use crate::datapath::RouterTable;
use crate::datapath::closing;
use crate::datapath::membership::Membership;
use crate::datapath::program::Loaded;
use crate::datapath::raw::RawPath;
use crate::datapath::readiness::Readiness;
use crate::datapath::xdp::XdpPath;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::packet::Inbox;
use crate::transmit::Transmitter;

/// The families, in the order of their sockets.
pub(in crate::daemon) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];
/// What can be read: a socket for each family, and the kernel's events.
const SOURCES: usize = FAMILIES.len() + 1;
/// In the number of a source, so many bits are for the source, then the place of its interface, then its generation. The highest
/// bit is free, for what is watched beside interfaces.
const SOURCE_BITS: u32 = 2;
const GENERATION_SHIFT: u32 = 31;
const _: () = assert!(SOURCES <= 1 << SOURCE_BITS);
/// The place of the kernel's events among them.
pub(in crate::daemon) const KERNEL: usize = FAMILIES.len();
/// The place of IPv4 among them.
const IPV4: usize = 0;

/// The number under which a source of an interface is watched.
fn token(link: LinkId, source: usize) -> u64 {
    (u64::from(link.generation()) << GENERATION_SHIFT)
        | (u64::from(link.place()) << SOURCE_BITS)
        | source as u64
}

/// The interface and its source, from that number.
pub(in crate::daemon) fn source_of(token: u64) -> (LinkId, usize) {
    let bits = |from: u32, to: u32| (token >> from) & ((1 << (to - from)) - 1);
    // Each has no more bits than in `token`.
    let place = u32::try_from(bits(SOURCE_BITS, GENERATION_SHIFT)).unwrap_or(u32::MAX);
    let generation = u32::try_from(token >> GENERATION_SHIFT).unwrap_or(u32::MAX);
    (LinkId::new(place, generation), usize::try_from(bits(0, SOURCE_BITS)).unwrap_or(usize::MAX))
}

/// A socket for each of [`FAMILIES`] that receives adverts.
pub(in crate::daemon) type Receivers = [Option<Kept<RawPath>>; FAMILIES.len()];

/// What the data path of an interface consists of.
#[derive(Debug)]
pub(in crate::daemon) struct Sockets;

impl Parts for Sockets {
    type Loaded = Box<Loaded>;
    type Attached = Box<XdpPath>;
    type Ports = Ports;
    type Raw = Receivers;
    type Kernel = Kernel;
}

/// The data path of an interface.
pub(in crate::daemon) type DataPath = path::DataPath<Sockets>;
/// How adverts arrive.
pub(super) type By = path::By<Sockets>;
/// What is open.
pub(super) type Open = path::Open<Sockets>;

/// What is open however adverts arrive.
#[derive(Debug)]
pub(in crate::daemon) struct Ports {
    pub(super) transmitter: Kept<Transmitter>,
    pub(super) memberships: Vec<Kept<Membership>>,
}

/// The program, and a socket beside it for what has an Authentication Header, which it cannot verify.
#[derive(Debug)]
pub(in crate::daemon) struct Kernel {
    pub(super) program: Box<XdpPath>,
    pub(super) authenticated: Option<Kept<RawPath>>,
}

/// What is needed to open sockets of an interface.
#[derive(Debug)]
pub(super) struct Opener<'a> {
    pub(super) id: LinkId,
    pub(super) index: u32,
    pub(super) table: &'a RouterTable,
    pub(super) keeper: &'a Keeper,
    pub(super) readiness: &'a Readiness,
}

impl Opener<'_> {
    /// What is needed in any case.
    pub(super) fn ports(&self) -> io::Result<Ports> {
        let served = FAMILIES.into_iter().filter(|family| self.table.serves(*family));
        let memberships = served.map(|family| self.membership(family)).collect::<io::Result<_>>()?;
        Ok(Ports { transmitter: self.keeper.keep(Transmitter::open(self.index)?), memberships })
    }

    fn membership(&self, family: Family) -> io::Result<Kept<Membership>> {
        Ok(self.keeper.keep(Membership::new(self.index, family)?))
    }

    /// A socket for each family that is served.
    pub(super) fn receivers(&self) -> io::Result<Receivers> {
        let mut receivers = [None, None];
        self.complete(&mut receivers)?;
        Ok(receivers)
    }

    /// The program, with what it needs beside it.
    pub(super) fn kernel(&self, program: Box<XdpPath>) -> io::Result<Kernel> {
        self.readiness.add(&*program, token(self.id, KERNEL))?;
        Ok(Kernel { program, authenticated: self.authenticated()? })
    }

    /// Opens a socket for each family that is served and has none, or one that does not take all of its protocols.
    fn complete(&self, receivers: &mut Receivers) -> io::Result<()> {
        for (place, (family, open)) in FAMILIES.into_iter().zip(receivers).enumerate() {
            let protocols: &[u8] = match family {
                Family::Ipv4 if self.table.has_associations() => &[PROTOCOL_VRRP, PROTOCOL_AH],
                Family::Ipv4 | Family::Ipv6 => &[PROTOCOL_VRRP],
            };
            if self.table.serves(family) && !open.as_ref().is_some_and(|open| open.takes(protocols)) {
                let socket = self.keeper.keep(RawPath::open(self.index, family, protocols)?);
                self.readiness.add(&*socket, token(self.id, place))?;
                close_aside(open.replace(socket), self.readiness);
            }
        }
        Ok(())
    }

    /// For what the program passes on, since it cannot verify it.
    fn authenticated(&self) -> io::Result<Option<Kept<RawPath>>> {
        if !self.table.has_associations() {
            return Ok(None);
        }
        let socket = self.keeper.keep(RawPath::open(self.index, Family::Ipv4, &[PROTOCOL_AH])?);
        self.readiness.add(&*socket, token(self.id, IPV4))?;
        Ok(Some(socket))
    }

    /// Opens beside what is open what a router of this family needs.
    pub(super) fn add(&self, open: &mut Open, family: Family) -> io::Result<()> {
        let memberships = &mut open.ports.memberships;
        if !memberships.iter().any(|membership| membership.family() == family) {
            memberships.push(self.membership(family)?);
        }
        match &mut open.by {
            By::Raw(receivers, _) => self.complete(receivers)?,
            By::Kernel(kernel) => {
                if kernel.authenticated.is_none() {
                    kernel.authenticated = self.authenticated()?;
                }
            }
        }
        Ok(())
    }
}

impl Ports {
    /// Joins the group of this family anew, on an interface that has become usable for it again.
    pub(super) fn rejoin(&self, interface: &str, family: Family) {
        for membership in self.memberships.iter().filter(|membership| membership.family() == family) {
            if let Err(error) = membership.rejoin() {
                warn!(interface, %error, "cannot join the VRRP multicast group");
            }
        }
    }

    /// Joins the groups of VRRP where that was not done.
    pub(super) fn join(&self, interface: &str) {
        for membership in &self.memberships {
            if let Err(error) = membership.join() {
                warn!(interface, %error, "cannot join the VRRP multicast group");
            }
        }
    }
}

impl By {
    /// Takes the frames of a socket, by its place in [`FAMILIES`]; `false` when there are none.
    pub(super) fn receive(&self, interface: &str, place: usize, inbox: &mut Inbox) -> bool {
        let socket = match self {
            Self::Raw(receivers, _) => receivers.get(place).and_then(Option::as_deref),
            Self::Kernel(kernel) if place == IPV4 => kernel.authenticated.as_deref(),
            Self::Kernel(_) => None,
        };
        let Some(socket) = socket else { return false };
        let received = socket.receive(inbox);
        if let Err(error) = &received {
            // Said once by the kernel when an interface goes down, which its own notification tells as well.
            if Errno::from_raw(error.raw_os_error().unwrap_or(0)) != Errno::ENETDOWN {
                warn!(interface, %error, "cannot receive");
            }
        }
        received.is_ok()
    }
}

/// Closes sockets that nobody is to be woken for any more.
pub(in crate::daemon) fn close_aside(
    receivers: impl IntoIterator<Item = Kept<RawPath>>,
    readiness: &Readiness,
) {
    for receiver in receivers {
        // Until it is closed it would be ready without end. That it leaves the set cannot fail.
        let _ = readiness.remove(&*receiver);
        closing::let_go(receiver);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_a_source_says_which_interface_and_which_use_of_its_place() {
        for (place, generation) in [(0, 0), (7, 0), (7, 1), ((1 << 29) - 1, u32::MAX)] {
            for source in 0..SOURCES {
                let link = LinkId::new(place, generation);
                let number = token(link, source);
                assert_eq!(source_of(number), (link, source));
                assert_eq!(number >> 63, 0, "the highest bit is for others");
            }
        }
    }
}
