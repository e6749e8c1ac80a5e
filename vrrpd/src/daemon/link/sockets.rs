//! The parts that are open on an interface: packet sockets, or the program with its sockets.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use tracing::warn;
use vrrpd_common::Family;
use vrrpd_engine::LinkId;
use vrrpd_engine::ids::Id as _;

use super::path::{self, Parts};
use crate::datapath::RouterTable;
use crate::datapath::closing;
use crate::datapath::loaded::Loaded;
use crate::datapath::membership::Membership;
use crate::datapath::raw::{RawPath, RingPath, Takes};
use crate::datapath::readiness::Readiness;
use crate::datapath::xdp::XdpPath;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::packet::{Inbox, RingSocket};
use crate::transmit::Transmitter;

/// The families, in the order of their sockets.
pub(in crate::daemon) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];
/// What can be read: a socket for each family, and a ring for each.
const SOURCES: usize = 2 * FAMILIES.len();
/// In the number of a source, so many bits are for the source, then the place of its interface, then its generation. The highest
/// bit is free: group peers and objects in the kernel have numbers with that bit.
const SOURCE_BITS: u32 = 2;
const GENERATION_SHIFT: u32 = 30;
const _: () = assert!(SOURCES <= 1 << SOURCE_BITS);

/// The event number of a source of an interface.
fn token(link: LinkId, source: usize) -> u64 {
    (u64::from(link.generation()) << GENERATION_SHIFT)
        | (u64::from(link.place()) << SOURCE_BITS)
        | source as u64
}

/// The interface and source of an event number.
pub(in crate::daemon) fn source_of(token: u64) -> (LinkId, usize) {
    let bits = |from: u32, to: u32| (token >> from) & ((1 << (to - from)) - 1);
    // Each has as many bits as in `token`.
    let place = u32::try_from(bits(SOURCE_BITS, GENERATION_SHIFT)).unwrap_or(u32::MAX);
    let generation = u32::try_from(token >> GENERATION_SHIFT).unwrap_or(u32::MAX);
    (LinkId::new(place, generation), usize::try_from(bits(0, SOURCE_BITS)).unwrap_or(usize::MAX))
}

/// The source that is the ring of a family, by index in [`FAMILIES`]; the family itself is that of its socket.
const fn ring_of(family: usize) -> usize {
    FAMILIES.len() + family
}

/// The index in [`FAMILIES`] of a source, and whether it is a ring.
const fn family_of(source: usize) -> (usize, bool) {
    (source % FAMILIES.len(), source >= FAMILIES.len())
}

/// A socket for each of [`FAMILIES`] that receives adverts.
pub(in crate::daemon) type Receivers = [Option<Kept<RawPath>>; FAMILIES.len()];

/// The parts of an interface's data path.
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
/// How adverts are received.
pub(super) type By = path::By<Sockets>;
/// What is open.
pub(super) type Open = path::Open<Sockets>;

/// What is open with every data path.
#[derive(Debug)]
pub(in crate::daemon) struct Ports {
    pub(super) transmitter: Kept<Transmitter>,
    pub(super) memberships: Vec<Kept<Membership>>,
}

/// The program, and sockets for adverts that it passes on: with an Authentication Header, which it cannot verify, and
/// to other groups than VRRP's, which it does not know.
#[derive(Debug)]
pub(in crate::daemon) struct Kernel {
    pub(super) program: Box<XdpPath>,
    pub(super) beside: Receivers,
}

/// What opening sockets of an interface needs.
#[derive(Debug)]
pub(super) struct Opener<'a> {
    pub(super) id: LinkId,
    pub(super) index: u32,
    pub(super) table: &'a RouterTable,
    pub(super) keeper: &'a Keeper,
    pub(super) readiness: &'a Readiness,
}

impl Opener<'_> {
    /// What every data path needs.
    pub(super) fn ports(&self) -> io::Result<Ports> {
        let mut memberships = Vec::new();
        self.complete_memberships(&mut memberships)?;
        Ok(Ports { transmitter: self.keeper.keep(Transmitter::open(self.index)?), memberships })
    }

    /// Adds missing memberships.
    fn complete_memberships(&self, memberships: &mut Vec<Kept<Membership>>) -> io::Result<()> {
        for group in FAMILIES.into_iter().flat_map(|family| self.table.groups(family)) {
            if !memberships.iter().any(|membership| membership.group() == group) {
                memberships.push(self.keeper.keep(Membership::new(self.index, group)?));
            }
        }
        Ok(())
    }

    /// A socket for each family in use.
    pub(super) fn receivers(&self) -> io::Result<Receivers> {
        let mut receivers = [None, None];
        self.complete(&mut receivers, true)?;
        Ok(receivers)
    }

    /// The program, with its sockets.
    pub(super) fn kernel(&self, program: Box<XdpPath>) -> io::Result<Kernel> {
        program.object().watch(self.readiness)?;
        let mut beside = [None, None];
        self.complete(&mut beside, false)?;
        Ok(Kernel { program, beside })
    }

    /// Opens a socket for each family that needs one and has none, or one with too narrow a filter. `by_program`: also
    /// for adverts that the program would handle.
    fn complete(&self, receivers: &mut Receivers, by_program: bool) -> io::Result<()> {
        for (place, (family, open)) in FAMILIES.into_iter().zip(receivers).enumerate() {
            let takes = Takes {
                group: by_program && self.table.serves(family),
                other_groups: self.table.serves_other_groups(family),
                unicast: by_program && self.table.serves_peers(family),
                authenticated: family == Family::Ipv4 && self.table.has_associations(),
            };
            if takes.any() && !open.as_ref().is_some_and(|open| open.takes(takes)) {
                let watched = (self.readiness, token(self.id, place));
                let socket = self.keeper.keep(RawPath::open(self.index, family, takes, watched)?);
                close_aside(open.replace(socket));
            }
        }
        Ok(())
    }

    /// Opens what the routers need in addition.
    pub(super) fn add(&self, open: &mut Open) -> io::Result<()> {
        self.complete_memberships(&mut open.ports.memberships)?;
        match &mut open.by {
            By::Raw(receivers, _) => self.complete(receivers, true),
            By::Kernel(kernel) => self.complete(&mut kernel.beside, false),
        }
    }
}

impl Ports {
    /// Joins the group of this family again, on an interface that has become usable for it.
    pub(super) fn rejoin(&self, interface: &str, family: Family) {
        let is_of = |group: IpAddr| group.is_ipv4() == (family == Family::Ipv4);
        for membership in self.memberships.iter().filter(|membership| is_of(membership.group())) {
            if let Err(error) = membership.rejoin() {
                warn!(interface, %error, "cannot join the VRRP multicast group");
            }
        }
    }

    /// Joins the groups of VRRP that were not joined yet.
    pub(super) fn join(&self, interface: &str) {
        for membership in &self.memberships {
            if let Err(error) = membership.join() {
                warn!(interface, %error, "cannot join the VRRP multicast group");
            }
        }
    }
}

impl By {
    /// The sockets of the families.
    const fn receivers(&self) -> &Receivers {
        match self {
            Self::Raw(receivers, _) => receivers,
            Self::Kernel(kernel) => &kernel.beside,
        }
    }

    /// The socket of a family, by index in [`FAMILIES`].
    pub(super) fn socket(&self, family: usize) -> Option<&RawPath> {
        self.receivers().get(family).and_then(Option::as_deref)
    }

    /// The open sockets, each with its family and the index of that in [`FAMILIES`].
    pub(super) fn sockets_mut(&mut self) -> impl Iterator<Item = (usize, Family, &mut RawPath)> {
        let receivers = match self {
            Self::Raw(receivers, _) => receivers,
            Self::Kernel(kernel) => &mut kernel.beside,
        };
        let all = FAMILIES.into_iter().zip(receivers).enumerate();
        all.filter_map(|(place, (family, socket))| Some((place, family, &mut **socket.as_mut()?)))
    }

    /// The socket of a family, mutable.
    pub(super) fn socket_mut(&mut self, family: usize) -> Option<&mut RawPath> {
        self.sockets_mut().find_map(|(place, _, socket)| (place == family).then_some(socket))
    }

    /// Puts a ring before the socket of a family, by index in [`FAMILIES`], if there is one.
    ///
    /// # Errors
    /// It cannot be watched, or the kernel does not support it.
    pub(super) fn put_ring(
        &mut self,
        family: usize,
        ring: RingSocket,
        opener: &Opener<'_>,
    ) -> io::Result<()> {
        let ring = RingPath::new(ring, (opener.readiness, token(opener.id, ring_of(family))))?;
        let ring = opener.keeper.keep(ring);
        let (unused, result) = match self.socket_mut(family) {
            Some(socket) => socket.put_ring(ring),
            None => (Some(ring), Ok(())),
        };
        unused.into_iter().for_each(closing::let_go);
        result
    }

    /// Records whether all frames of a source were read.
    pub(super) fn was_read(&self, source: usize, all: bool) {
        let (family, is_ring) = family_of(source);
        if let Some(socket) = self.socket(family) {
            socket.was_read(is_ring, all);
        }
    }

    /// Notes what a source that is ready means for the order of reading.
    pub(super) fn is_ready(&self, source: usize) {
        let (family, is_ring) = family_of(source);
        if !is_ring && let Some(socket) = self.socket(family) {
            socket.queue_has_frames();
        }
    }

    /// Receives frames of the family of a source; `false` if there are none.
    pub(super) fn receive(&self, interface: &str, source: usize, inbox: &mut Inbox) -> bool {
        let Some(socket) = self.socket(family_of(source).0) else { return false };
        let mut received = socket.receive(inbox);
        // The kernel reports once that the interface was down, before it returns later frames. A notification reports
        // that as well.
        let is_over = |error: &io::Error| {
            matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENETDOWN | Errno::EINTR))
        };
        if received.as_ref().is_err_and(is_over) {
            received = socket.receive(inbox);
        }
        if let Err(error) = &received {
            warn!(interface, %error, "cannot receive");
        }
        received.is_ok()
    }
}

/// Closes sockets in another thread.
pub(in crate::daemon) fn close_aside(receivers: impl IntoIterator<Item = Kept<RawPath>>) {
    receivers.into_iter().for_each(closing::let_go);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_number_encodes_the_interface_and_the_generation() {
        for (place, generation) in [(0, 0), (7, 0), (7, 1), ((1 << 28) - 1, u32::MAX)] {
            for source in 0..SOURCES {
                let link = LinkId::new(place, generation);
                let number = token(link, source);
                assert_eq!(source_of(number), (link, source));
                assert_eq!(number >> 63, 0, "the highest bit is for others");
            }
        }
    }
}
