//! One interface with routers of this process: its sockets and its kernel data path.
//!
//! `path` is the data path as a state machine, without I/O; `open` opens and closes its parts, and `sockets` defines
//! them. `own_mac` keeps track of accepting frames to the interface's own MAC address.

mod open;
mod own_mac;
mod path;
mod sockets;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use tracing::{error, info, warn};
use vrrpd_common::abi::{RouterRecord, slot};
use vrrpd_common::wire::ipv4::{PROTOCOL_AH, PROTOCOL_VRRP};
use vrrpd_common::{Family, Instant, MacAddr, Vrid};
use vrrpd_engine::RouterId;

use crate::config::{AuthKind, Datapath, DatapathOption, Settings};
use crate::datapath::own_mac::{OwnMacChange, OwnMacChanged, OwnMacFrames, OwnMacWanted};
use crate::datapath::refusal::Refusal;
use crate::datapath::xdp::XdpPath;
use crate::datapath::{Counts, RejectCounts, RouterTable};
use crate::guardian::copies::Keeper;
use crate::interface::Interface;
use crate::sys::packet::Inbox;
use crate::transmit::peers::PeerTransmitter;
use crate::transmit::routed::Route;
use crate::transmit::{Transmitter, Unsent};
use own_mac::{OwnMacState, Replacement};
use sockets::{By, DataPath, Kernel};

pub(super) use open::LoadedProgram;
pub(super) use path::{LoadStep, MoveStep, OpenStep, ReturnStep};
pub(super) use sockets::{FAMILIES, close_aside, source_of};

/// The I/O side of an interface: its sockets, its program, its send queue.
#[derive(Debug)]
pub(super) struct LinkIo {
    pub(super) name: String,
    /// What is open, and the program being loaded.
    pub(super) path: DataPath,
    /// IDs of its earlier programs, since the known state of the interface may be older.
    own_programs: BTreeSet<u32>,
    pub(super) table: RouterTable,
    /// The configured data path.
    pub(super) wanted: Datapath,
    /// The option that configures it.
    pub(super) datapath_option: DatapathOption,
    /// Sends to unicast peers.
    pub(super) peers: PeerTransmitter,
    /// Adverts that the interface refused.
    pub(super) unsendable: Vec<(RouterId, usize, io::Error)>,
    /// Accepts frames to its own MAC address while it has a virtual one.
    own_mac: OwnMacState<OwnMacFrames>,
    /// A failure to send is logged once until sending succeeds again.
    send_failed: bool,
    /// Holds copies of descriptors that are slow to close.
    keeper: Keeper,
}

impl LinkIo {
    pub(super) fn new(name: String, wanted: Datapath, keeper: Keeper) -> Self {
        Self {
            name,
            path: DataPath::default(),
            own_programs: BTreeSet::new(),
            table: RouterTable::default(),
            wanted,
            datapath_option: DatapathOption::default(),
            peers: PeerTransmitter::default(),
            unsendable: Vec::new(),
            own_mac: OwnMacState::Unneeded,
            send_failed: false,
            keeper,
        }
    }

    /// The change needed so that the interface accepts frames to `mac`, its own MAC address, while it has a virtual
    /// one; without `mac` it never has one. `None`: no change. A change that failed is not tried again.
    pub(super) fn keep_own_mac(&mut self, index: u32, mac: Option<MacAddr>) -> Option<OwnMacChange> {
        let Replacement { before, wanted } = self.own_mac.want(mac)?;
        let wanted = wanted.map(|mac| OwnMacWanted { index, mac, keeper: self.keeper.clone() });
        Some(OwnMacChange { before, wanted })
    }

    /// Handles the result; returns what is to be undone, if something else is needed by now.
    pub(super) fn own_mac_changed(
        &mut self,
        interface: Option<&Interface>,
        changed: OwnMacChanged,
    ) -> Option<OwnMacChange> {
        let OwnMacChanged { index, mac, frames } = changed;
        let is_there = interface.is_some_and(|interface| interface.index == index);
        let before = match frames {
            Ok(frames) if is_there => self.own_mac.done(mac, frames),
            Ok(frames) => Some(frames),
            Err(refusal) => {
                info!(
                    interface = self.name, %mac, reason = refusal.to_string(),
                    "frames to the interface's own MAC address are lost while master"
                );
                None
            }
        };
        before.map(|before| OwnMacChange { before: Some(before), wanted: None })
    }

    /// Ends this; returns what is to be undone.
    fn end_own_mac(&mut self) -> Option<OwnMacChange> {
        self.own_mac.end().map(|before| OwnMacChange { before: Some(before), wanted: None })
    }

    /// How many routers there are.
    pub(super) fn router_count(&self) -> usize {
        self.table.routers().count()
    }

    /// Holds copies of descriptors that are slow to close.
    pub(super) const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// The name of the data path, and why it is not a better one.
    pub(super) fn datapath(&self) -> (&'static str, Option<String>) {
        let name = self.path.kernel().map_or("raw", |kernel| kernel.program.tier().name());
        let reason = match self.path.open() {
            None => Some("interface not found".to_owned()),
            Some(_) => self.refused().map(Refusal::to_string),
        };
        (name, reason)
    }

    /// Why the data path is not a better one.
    pub(super) fn refused(&self) -> Option<&Refusal> {
        match &self.path.open()?.by {
            By::Raw(_, why) => Some(why),
            By::Kernel(kernel) => kernel.program.refused(),
        }
    }

    /// Whether adverts are handled in the kernel.
    pub(super) fn is_in_kernel(&self) -> bool {
        self.path.kernel().is_some()
    }

    /// Whether the program sees the VLAN tag of each advert.
    pub(super) fn sees_tags(&self) -> bool {
        self.path.kernel().is_some_and(|kernel| kernel.program.tier().sees_tags())
    }

    /// The program in the kernel, if it is the data path.
    pub(super) fn kernel(&mut self) -> Option<&mut XdpPath> {
        self.path.kernel_mut().map(|kernel| &mut *kernel.program)
    }

    /// Tells the kernel the virtual addresses and peers of a router.
    pub(super) fn set_known_addresses(&mut self, family: Family, vrid: Vrid) -> Result<(), Refusal> {
        let known = self.table.known_addresses(family, vrid);
        self.kernel().map_or(Ok(()), |program| program.set_addresses(slot(family, vrid), known))
    }

    /// Tells the kernel the MAC addresses that the interface accepts: its present one, and the one that it keeps.
    pub(super) fn tell_stations(&mut self, own: MacAddr) -> Result<(), Refusal> {
        let kept = self.own_mac.kept();
        self.kernel().map_or(Ok(()), |program| program.set_stations(own, kept))
    }

    /// The kernel's record of a router.
    pub(super) fn kernel_record(&self, family: Family, vrid: Vrid) -> Option<RouterRecord> {
        self.path.kernel()?.program.record(slot(family, vrid))
    }

    /// Valid and discarded adverts of a router, counted by any data path.
    pub(super) fn counts(&self, family: Family, vrid: Vrid) -> (u64, RejectCounts) {
        let (received, rejected) = (self.table.received(family, vrid), self.table.rejected(family, vrid));
        let Some(Kernel { program, .. }) = self.path.kernel() else { return (received, rejected) };
        let record = program.record(slot(family, vrid)).unwrap_or_default();
        let own = RejectCounts::from(record.rejected).plus(&program.rejects().into());
        (received + record.adverts, rejected.plus(&own))
    }

    /// A router has left: what was counted of it goes on if it comes back.
    pub(super) fn forget(&mut self, id: RouterId, family: Family, vrid: Vrid) -> Result<(), Refusal> {
        let slot = slot(family, vrid);
        let mut forgotten = Ok(());
        if let Some(Kernel { program, .. }) = self.path.kernel_mut() {
            let record = program.record(slot).unwrap_or_default();
            let counted = Counts { received: record.adverts, rejected: record.rejected.into() };
            self.table.carry_over(Some((family, vrid)), &counted);
            forgotten = program.forget(slot);
        }
        self.peers.remove(id);
        self.table.remove(family, vrid);
        forgotten
    }

    /// Keeps what a program that goes has counted.
    pub(super) fn carry_over(&mut self, program: &XdpPath) {
        for (family, vrid, record) in program.records() {
            let counted = Counts { received: record.adverts, rejected: record.rejected.into() };
            self.table.carry_over(Some((family, vrid)), &counted);
        }
        let of_none = Counts { received: 0, rejected: program.rejects().into() };
        self.table.carry_over(None, &of_none);
    }

    /// Joins the group of this family again, on an interface that has become usable for it.
    pub(super) fn rejoin(&mut self, family: Family) {
        if let Some(open) = self.path.open_mut() {
            open.ports.rejoin(&self.name, family);
            for (_, _, socket) in open.by.sockets_mut() {
                socket.try_ring_again();
            }
        }
    }

    /// Joins the groups of VRRP that were not joined yet.
    pub(super) fn join(&self) {
        if let Some(open) = self.path.open() {
            open.ports.join(&self.name);
        }
    }

    /// Notes that a source is ready to be read.
    pub(super) fn is_ready(&self, source: usize) {
        if let Some(open) = self.path.open() {
            open.by.is_ready(source);
        }
    }

    /// Receives frames of a source; `false` if there are none.
    pub(super) fn receive(&self, source: usize, inbox: &mut Inbox) -> bool {
        self.path.open().is_some_and(|open| open.by.receive(&self.name, source, inbox))
    }

    /// Records whether all frames of a source were read.
    pub(super) fn was_read(&self, source: usize, all: bool) {
        if let Some(open) = self.path.open() {
            open.by.was_read(source, all);
        }
    }

    /// Routers whose last advert was not sent, with the time of their first unsent one.
    pub(super) fn unsent(&self) -> impl Iterator<Item = (RouterId, Instant)> {
        let to_group = self.path.open().into_iter().flat_map(|open| open.ports.transmitter.unsent());
        to_group.chain(self.peers.unsent())
    }

    /// Takes the routers of sent adverts, one entry per advert.
    pub(super) fn take_sent(&mut self) -> impl Iterator<Item = RouterId> {
        let to_group = self.path.open_mut().into_iter().flat_map(|open| open.ports.transmitter.take_sent());
        to_group.chain(self.peers.take_sent())
    }

    /// Drops the queued frames of a router that is no longer Master, except its resignation.
    pub(super) fn withdraw(&mut self, router: RouterId) {
        if let Some(transmitter) = self.transmitter() {
            transmitter.withdraw(router);
        }
        self.peers.withdraw(router);
    }

    /// Sets the source address of a router's adverts. A router on an unusable interface may still have to resign, so
    /// its socket stays until it leaves.
    pub(super) fn set_source(
        &mut self,
        id: RouterId,
        config: &Settings,
        interface: Option<&Interface>,
        source: IpAddr,
    ) {
        let Some(interface) = interface.filter(|_| !config.peers().is_empty()) else { return };
        let route = Route {
            source,
            protocol: if config.auth == AuthKind::Ah { PROTOCOL_AH } else { PROTOCOL_VRRP },
            interface: interface.index,
            vrf: interface.vrf,
        };
        if let Err(error) = self.peers.set_route(id, route) {
            error!(router = %config.title(), %error, "cannot open a socket to the peers");
        }
    }

    pub(super) fn transmitter(&mut self) -> Option<&mut Transmitter> {
        self.path.open_mut().map(|open| &mut *open.ports.transmitter)
    }

    /// Sends queued frames.
    pub(super) fn flush(&mut self, now: Instant) {
        self.peers.flush(now);
        let Some(open) = self.path.open_mut() else { return };
        match open.ports.transmitter.flush(now) {
            Ok(()) => self.send_failed = false,
            Err(Unsent::One { router, octets, error }) => {
                self.unsendable.push((router, octets, error));
            }
            Err(unsent @ Unsent::All { .. }) => {
                if !self.send_failed {
                    warn!(interface = self.name, error = %unsent, "cannot send");
                }
                self.send_failed = true;
            }
        }
    }

    /// When to send again; `None`: nothing is queued.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let to_group = self.path.open().and_then(|open| open.ports.transmitter.deadline(now));
        to_group.into_iter().chain(self.peers.deadline(now)).min()
    }
}
