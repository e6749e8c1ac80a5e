//! One interface that routers of this process run on: its sockets and what the kernel says of it.

use std::io;

use nix::errno::Errno;
use tracing::warn;
use vrrpd_common::{Family, Instant};

use super::rejects::RejectLog;
use crate::datapath::raw::RawPath;
use crate::datapath::readiness::Readiness;
use crate::datapath::{RouterId, Table};
use crate::interface::Interface;
use crate::transmit::Transmitter;

/// An interface by its place in the list of all that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LinkId(pub usize);

#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    /// `None` while there is no such interface.
    pub(super) interface: Option<Interface>,
    pub(super) table: Table,
    pub(super) routers: Vec<RouterId>,
    pub(super) reject_log: RejectLog,
    sockets: Option<Sockets>,
    /// A failure to send is said once until sending works again.
    send_failed: bool,
}

#[derive(Debug)]
struct Sockets {
    index: u32,
    transmitter: Transmitter,
    paths: [Option<RawPath>; FAMILIES.len()],
}

/// The families, in the order of their sockets.
pub(super) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

impl Link {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            interface: None,
            table: Table::default(),
            routers: Vec::new(),
            reject_log: RejectLog::default(),
            sockets: None,
            send_failed: false,
        }
    }

    /// Opens the sockets for the families that are served, unless they are open on this very interface.
    pub(super) fn open(&mut self, id: LinkId, index: u32, readiness: &Readiness) -> io::Result<()> {
        if self.sockets.as_ref().is_some_and(|sockets| sockets.index == index) {
            return Ok(());
        }
        self.sockets = None;
        let mut paths = [None, None];
        for (place, family) in FAMILIES.into_iter().enumerate() {
            if self.table.serves(family) {
                let path = RawPath::open(index, family)?;
                readiness.add(path.socket(), (id.0 * FAMILIES.len() + place) as u64)?;
                paths[place] = Some(path);
            }
        }
        self.sockets = Some(Sockets { index, transmitter: Transmitter::open(index)?, paths });
        Ok(())
    }

    /// The interface is gone, and its sockets with it.
    pub(super) fn close(&mut self) {
        self.interface = None;
        self.sockets = None;
    }

    /// Joins the groups of VRRP where that was not done.
    pub(super) fn join(&self) {
        for path in self.sockets.iter().flat_map(|sockets| sockets.paths.iter().flatten()) {
            if let Err(error) = path.join() {
                warn!(interface = self.name, %error, "the multicast group of VRRP cannot be joined");
            }
        }
    }

    /// The next frame of a socket, by its place in [`FAMILIES`].
    pub(super) fn receive<'a>(&self, place: usize, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let path = self.sockets.as_ref()?.paths.get(place)?.as_ref()?;
        match path.receive(buffer) {
            Ok(frame) => frame,
            Err(error) => {
                // Said once by the kernel when an interface goes down, which its own notification tells as well.
                if Errno::from_raw(error.raw_os_error().unwrap_or(0)) != Errno::ENETDOWN {
                    warn!(interface = self.name, %error, "nothing can be received");
                }
                None
            }
        }
    }

    pub(super) fn transmitter(&mut self) -> Option<&mut Transmitter> {
        self.sockets.as_mut().map(|sockets| &mut sockets.transmitter)
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, now: Instant) {
        let Some(sockets) = &mut self.sockets else { return };
        match sockets.transmitter.flush(now) {
            Ok(()) => self.send_failed = false,
            Err(unsent) => {
                if !self.send_failed {
                    warn!(interface = self.name, error = %unsent, "sending fails");
                }
                self.send_failed = true;
            }
        }
    }

    /// When there is more to send; `None`: all is sent.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.sockets.as_ref().and_then(|sockets| sockets.transmitter.deadline(now))
    }
}
