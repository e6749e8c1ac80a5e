//! One interface that routers of this process run on: its sockets and what the kernel says of it.

use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;
use tracing::{debug, error, info, warn};
use vrrpd_common::abi::{RouterRecord, slot};
use vrrpd_common::wire::ipv4::{PROTOCOL_AH, PROTOCOL_VRRP};
use vrrpd_common::{Duration, Family, Instant, MacAddr, Reject, Rejection, Vrid};
use vrrpd_engine::ids::Id as _;
use vrrpd_engine::rate_limit::RateLimit;
use vrrpd_engine::{LinkId, RouterId};

use super::absence::Absence;
use super::instance::Done;
use crate::config::{VirtualAddress, Xdp};
use crate::datapath::closing;
use crate::datapath::membership::Membership;
use crate::datapath::own_mac::{OwnMacChange, OwnMacChanged, OwnMacFrames, OwnMacWanted};
use crate::datapath::program::{Loaded, Refusal};
use crate::datapath::raw::RawPath;
use crate::datapath::readiness::Readiness;
use crate::datapath::xdp::XdpPath;
use crate::datapath::{Counts, RejectCounts, RouterTable};
use crate::guardian::copies::{Keeper, Kept};
use crate::interface::{Interface, OwnMac};
use crate::sys::packet::Inbox;
use crate::transmit::{Transmitter, Unsent};

/// The number under which a source of an interface is watched.
fn token(link: LinkId, source: usize) -> u64 {
    (u64::from(link.generation()) << GENERATION_SHIFT)
        | (u64::from(link.place()) << SOURCE_BITS)
        | source as u64
}

/// The interface and its source, from that number.
pub(super) fn source_of(token: u64) -> (LinkId, usize) {
    let bits = |from: u32, to: u32| (token >> from) & ((1 << (to - from)) - 1);
    // Each has no more bits than in `token`.
    let place = u32::try_from(bits(SOURCE_BITS, GENERATION_SHIFT)).unwrap_or(u32::MAX);
    let generation = u32::try_from(token >> GENERATION_SHIFT).unwrap_or(u32::MAX);
    (LinkId::new(place, generation), usize::try_from(bits(0, SOURCE_BITS)).unwrap_or(usize::MAX))
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    /// `None` while there is no such interface, or none that is open yet.
    pub(super) interface: Option<Interface>,
    /// The interface that is there but waits for the program, or to be opened once more.
    pub(super) arriving: Option<Interface>,
    /// The program that the interface is to have, or why there is none.
    program: Program,
    /// Whether the program is to be put back onto the interface, which is open with raw sockets.
    returns: bool,
    /// When it is.
    pub(super) absence: Absence,
    /// The program is on the interface already, of which nothing else is open yet.
    attached: Option<Box<XdpPath>>,
    /// The numbers of the programs that it had; what is known of the interface may be as old as any of them.
    own_programs: Vec<u32>,
    /// The kernel keeps our mark with addresses: what has none is not ours.
    pub(super) marks: bool,
    pub(super) table: RouterTable,
    pub(super) routers: Vec<RouterId>,
    /// What routers that have left did, for when they come back.
    pub(super) left: BTreeMap<(Family, Vrid), Done>,
    /// What was said of discarded adverts.
    rejects_said: RateLimit<(Option<RouterId>, Reject)>,
    sockets: Option<Sockets>,
    /// What the user wants of the kernel.
    pub(super) xdp: Xdp,
    pub(super) xdp_pass: bool,
    /// Adverts that the interface did not take.
    pub(super) unsendable: Vec<(RouterId, usize, io::Error)>,
    /// It refused an advert as longer than its MTU, which is less by now than we have been told.
    mtu_has_fallen: bool,
    /// Its own MAC address, and what has the interface take in frames to that while it has a virtual one; `None`: that is
    /// not possible, or not done yet.
    own_mac_frames: Option<(MacAddr, Option<OwnMacFrames>)>,
    /// A failure to send is said once until sending works again.
    send_failed: bool,
    /// Holds copies of what the kernel is slow to close.
    keeper: Keeper,
}

#[derive(Debug)]
struct Sockets {
    index: u32,
    transmitter: Kept<Transmitter>,
    memberships: Vec<Kept<Membership>>,
    path: Path,
}

/// The program of an interface that is not open.
#[derive(Debug, Default)]
enum Program {
    /// Nobody has asked for it.
    #[default]
    None,
    /// A thread is at it.
    Loading,
    /// It is there, or why it is not.
    Ready(Result<Box<Loaded>, Refusal>),
}

/// How adverts arrive.
#[derive(Debug)]
enum Path {
    Raw {
        sockets: [Option<Kept<RawPath>>; FAMILIES.len()],
        reason: String,
    },
    /// What has an Authentication Header comes by a socket beside the program.
    Xdp {
        program: Box<XdpPath>,
        authenticated: Option<Kept<RawPath>>,
    },
}

/// What can be read: a socket for each family, and the kernel's events.
const SOURCES: usize = FAMILIES.len() + 1;
/// In the number of a source, so many bits are for the source, then the place of its interface, then its generation. The highest
/// bit is free, for what is watched beside interfaces.
const SOURCE_BITS: u32 = 2;
const GENERATION_SHIFT: u32 = 31;
const _: () = assert!(SOURCES <= 1 << SOURCE_BITS);
/// The place of the kernel's events among them.
pub(super) const KERNEL: usize = FAMILIES.len();

/// The families, in the order of their sockets.
pub(super) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];
/// The place of IPv4 among them.
const IPV4: usize = 0;

impl Link {
    pub(super) fn new(name: String, (xdp, xdp_pass): (Xdp, bool), marks: bool, keeper: Keeper) -> Self {
        Self {
            name,
            interface: None,
            arriving: None,
            program: Program::None,
            returns: false,
            absence: Absence::default(),
            attached: None,
            own_programs: Vec::new(),
            marks,
            table: RouterTable::default(),
            routers: Vec::new(),
            left: BTreeMap::new(),
            rejects_said: RateLimit::default(),
            sockets: None,
            xdp,
            xdp_pass,
            unsendable: Vec::new(),
            mtu_has_fallen: false,
            own_mac_frames: None,
            send_failed: false,
            keeper,
        }
    }

    /// Whether what is needed is open on the interface of this number.
    pub(super) fn is_open_on(&self, index: u32) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| sockets.index == index)
    }

    /// Opens what the families that are served need. The program goes onto the interface before anything else, since some
    /// drivers take the link down for it.
    pub(super) fn open(
        &mut self,
        id: LinkId,
        interface: &Interface,
        program: Result<Loaded, Refusal>,
        readiness: &Readiness,
    ) -> io::Result<()> {
        self.close_sockets(readiness);
        let attached = program.and_then(|program| self.attach(program, interface, self.xdp));
        self.open_with(id, interface, attached, readiness)
    }

    /// The same with a program that is on the interface, or why none is.
    fn open_with(
        &mut self,
        id: LinkId,
        interface: &Interface,
        attached: Result<XdpPath, Refusal>,
        readiness: &Readiness,
    ) -> io::Result<()> {
        let index = interface.index;
        let path = match attached {
            Ok(xdp) => self.kernel_path(id, index, xdp, readiness)?,
            Err(Refusal(reason)) => {
                if self.xdp != Xdp::Off {
                    warn!(interface = self.name, datapath = "raw", reason, "data path");
                }
                self.raw_path(id, index, reason, readiness)?
            }
        };
        let served = FAMILIES.into_iter().filter(|family| self.table.serves(*family));
        let keep = |membership| self.keeper.keep(membership);
        let memberships =
            served.map(|family| Membership::new(index, family).map(keep)).collect::<io::Result<_>>()?;
        let transmitter = self.keeper.keep(Transmitter::open(index)?);
        self.sockets = Some(Sockets { index, transmitter, memberships, path });
        Ok(())
    }

    /// What is needed beside a program that is on the interface.
    fn kernel_path(&self, id: LinkId, index: u32, xdp: XdpPath, readiness: &Readiness) -> io::Result<Path> {
        readiness.add(&xdp, token(id, KERNEL))?;
        info!(interface = self.name, datapath = xdp.tier().name(), reason = xdp.reason(), "data path");
        let authenticated = self.authenticated_path(id, index, readiness)?;
        Ok(Path::Xdp { program: Box::new(xdp), authenticated })
    }

    /// Puts a program on the interface, and notes its number.
    fn attach(&mut self, program: Loaded, interface: &Interface, wanted: Xdp) -> Result<XdpPath, Refusal> {
        let mut attached = XdpPath::attach(program, interface.index, &self.name, wanted)?;
        self.own_programs.push(attached.number());
        if let Some(mac) = interface.mac {
            attached.set_stations(mac, None)?;
        }
        Ok(attached)
    }

    /// Says once of an interface that cannot tell whether it has a carrier that it counts as if it had.
    pub(super) fn note_carrier(&self, interface: &Interface) {
        let known = self.interface.as_ref().is_some_and(|before| {
            before.index == interface.index && before.carrier_unknown && before.admin_up
        });
        if interface.carrier_unknown && interface.admin_up && !known {
            info!(interface = self.name, "the interface cannot tell whether it has a link; it counts as up");
        }
    }

    /// What is to be done that the interface takes in frames to this MAC address, its own, also while it has a virtual
    /// one; no address: it never has one. `None`: nothing. What was not possible once is not tried again.
    pub(super) fn keep_own_mac(&mut self, mac: Option<MacAddr>) -> Option<OwnMacChange> {
        if self.own_mac_frames.as_ref().map(|(kept, _)| *kept) == mac {
            return None;
        }
        let index = self.interface.as_ref()?.index;
        let before = self.own_mac_frames.take().and_then(|(_, frames)| frames);
        self.own_mac_frames = mac.map(|mac| (mac, None));
        let wanted = mac.map(|mac| OwnMacWanted {
            interface: self.name.clone(),
            index,
            mac,
            keeper: self.keeper.clone(),
        });
        Some(OwnMacChange { before, wanted })
    }

    /// That has been done; returns what is to be undone, since something else is wanted by now.
    pub(super) fn own_mac_changed(&mut self, changed: OwnMacChanged) -> Option<OwnMacChange> {
        let OwnMacChanged { index, mac, frames } = changed;
        let is_there = self.interface.as_ref().is_some_and(|interface| interface.index == index);
        let before = match (&mut self.own_mac_frames, frames) {
            (Some((wanted, kept)), Ok(frames)) if is_there && *wanted == mac => kept.replace(frames),
            (_, Ok(frames)) => Some(frames),
            (_, Err(Refusal(reason))) => {
                info!(
                    interface = self.name, %mac, reason,
                    "while Master, frames to the interface's own MAC address are lost; hosts are told of the virtual one"
                );
                None
            }
        };
        before.map(|before| OwnMacChange { before: Some(before), wanted: None })
    }

    /// The interface has its own MAC address again, ahead of the kernel's notification.
    pub(super) fn own_mac_is_back(&mut self, taken: &OwnMac) {
        if let Some(interface) = self.interface.as_mut().filter(|interface| interface.index == taken.index) {
            interface.mac = Some(taken.own);
        }
    }

    /// This address was taken off the interface, ahead of the kernel's notification.
    pub(super) fn address_is_off(&mut self, index: u32, address: &VirtualAddress) {
        if let Some(interface) = self.interface.as_mut().filter(|interface| interface.index == index) {
            interface
                .addresses
                .retain(|there| there.address != address.address || there.prefix_len != address.prefix_len);
        }
    }

    /// Why the interface cannot have a program, as far as that can be said without one.
    pub(super) fn obstacle(&self, interface: &Interface) -> Option<Refusal> {
        XdpPath::obstacle(&self.name, self.xdp, self.foreign_program(interface))
    }

    /// The program of somebody else on the interface. The kernel does not tell that ours has been taken off.
    fn foreign_program(&self, interface: &Interface) -> Option<u32> {
        interface.xdp_program.filter(|program| !self.own_programs.contains(program))
    }

    /// The places of the routers in the program's maps.
    pub(super) fn slots(&self) -> Vec<u32> {
        self.table.routers().map(|(family, vrid)| slot(family, vrid)).collect()
    }

    /// The program for an interface to be opened, or why there is none to be; `None` as long as that is not known.
    pub(super) fn take_program(&mut self, interface: &Interface) -> Option<Result<Loaded, Refusal>> {
        if self.is_loading() {
            // It may be on the interface already: whose it is is not known before it is told of.
            return None;
        }
        if let Some(obstacle) = self.obstacle(interface) {
            self.drop_program();
            return Some(Err(obstacle));
        }
        match std::mem::take(&mut self.program) {
            Program::Ready(program) => Some(program.map(|loaded| *loaded)),
            other @ (Program::None | Program::Loading) => {
                self.program = other;
                None
            }
        }
    }

    /// What holds copies of what the kernel is slow to close.
    pub(super) const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Whether the program has to be asked for; it counts as asked for from now on.
    pub(super) fn begins_loading(&mut self) -> bool {
        let begins = matches!(self.program, Program::None);
        if begins {
            self.program = Program::Loading;
        }
        begins
    }

    /// Whether the program is on its way.
    pub(super) const fn is_loading(&self) -> bool {
        matches!(self.program, Program::Loading)
    }

    /// The program that was asked for. It may be on the interface that waits for it.
    pub(super) fn loaded(&mut self, mut program: Result<Loaded, Refusal>) {
        if let Ok(loaded) = &mut program
            && let Some(index) = loaded.interface()
        {
            self.own_programs.extend(loaded.number());
            let returns = self.returns && self.is_open_on(index);
            if !returns && self.arriving.as_ref().is_none_or(|interface| interface.index != index) {
                loaded.off();
            }
        }
        self.program = Program::Ready(program.map(Box::new));
    }

    /// The program is to be put back: what it needs to be loaded; `None` where it cannot be any more.
    pub(super) fn begin_return(&mut self) -> Option<(Vec<u32>, (u32, Xdp))> {
        let interface = self.interface.as_ref()?;
        self.returns = self.is_open_on(interface.index) && self.obstacle(interface).is_none();
        self.returns.then(|| (self.slots(), (interface.index, self.xdp)))
    }

    /// Whether the program that was loaded is to be put back, which is asked once.
    pub(super) fn ends_absence(&mut self) -> bool {
        std::mem::take(&mut self.returns) && matches!(self.program, Program::Ready(_)) && !self.is_in_kernel()
    }

    /// Goes on with the program that was loaded, instead of raw sockets; returns these, in which there may be frames.
    pub(super) fn return_to_kernel(
        &mut self,
        id: LinkId,
        readiness: &Readiness,
    ) -> Result<[Option<Kept<RawPath>>; FAMILIES.len()], Refusal> {
        let gone = || Refusal("the interface is not there any more".to_owned());
        let interface = self.interface.clone().ok_or_else(gone)?;
        let Program::Ready(program) = std::mem::take(&mut self.program) else { return Err(gone()) };
        let xdp = self.attach(*program?, &interface, self.xdp)?;
        let path = self
            .kernel_path(id, interface.index, xdp, readiness)
            .map_err(|error| Refusal(error.to_string()))?;
        let sockets = self.sockets.as_mut().ok_or_else(gone)?;
        Ok(match std::mem::replace(&mut sockets.path, path) {
            Path::Raw { sockets, .. } => sockets,
            Path::Xdp { authenticated, .. } => [authenticated, None],
        })
    }

    /// Whether the interface can have the data path that is asked for by name, as far as that can be told while it has
    /// another one. A program that is loaded for it is put onto it; what there is stays in use until it is opened anew.
    pub(super) fn try_datapath(&mut self, wanted: Xdp) -> Result<(), Refusal> {
        if let Some(Path::Xdp { program, .. }) = self.sockets.as_ref().map(|sockets| &sockets.path) {
            let refused = program.reason().filter(|_| wanted == Xdp::Native);
            return refused.map_or(Ok(()), |reason| Err(Refusal(reason.to_owned())));
        }
        let Some(interface) = &self.interface else { return Ok(()) };
        if let Some(obstacle) = XdpPath::obstacle(&self.name, wanted, self.foreign_program(interface)) {
            return Err(obstacle);
        }
        match std::mem::take(&mut self.program) {
            Program::Ready(program) => {
                let interface = interface.clone();
                self.attached = Some(Box::new(self.attach(*program?, &interface, wanted)?));
            }
            other @ (Program::None | Program::Loading) => self.program = other,
        }
        Ok(())
    }

    /// Forgets a program that nobody needs any more.
    pub(super) fn drop_program(&mut self) {
        self.attached = None;
        if !self.is_loading() {
            self.program = Program::None;
        }
    }

    /// For what the program passes on, since it cannot verify it.
    fn authenticated_path(
        &self,
        id: LinkId,
        index: u32,
        readiness: &Readiness,
    ) -> io::Result<Option<Kept<RawPath>>> {
        if !self.table.has_associations() {
            return Ok(None);
        }
        let socket = self.keeper.keep(RawPath::open(index, Family::Ipv4, &[PROTOCOL_AH])?);
        readiness.add(&*socket, token(id, IPV4))?;
        Ok(Some(socket))
    }

    fn raw_path(&self, id: LinkId, index: u32, reason: String, readiness: &Readiness) -> io::Result<Path> {
        let mut sockets = [None, None];
        self.open_sockets(&mut sockets, id, index, readiness)?;
        Ok(Path::Raw { sockets, reason })
    }

    /// Opens a socket for each family that is served and has none, or one that does not take all of its protocols.
    fn open_sockets(
        &self,
        sockets: &mut [Option<Kept<RawPath>>; FAMILIES.len()],
        id: LinkId,
        index: u32,
        readiness: &Readiness,
    ) -> io::Result<()> {
        for (place, (family, open)) in FAMILIES.into_iter().zip(sockets).enumerate() {
            let protocols: &[u8] = match family {
                Family::Ipv4 if self.table.has_associations() => &[PROTOCOL_VRRP, PROTOCOL_AH],
                Family::Ipv4 | Family::Ipv6 => &[PROTOCOL_VRRP],
            };
            if self.table.serves(family) && !open.as_ref().is_some_and(|open| open.takes(protocols)) {
                let socket = self.keeper.keep(RawPath::open(index, family, protocols)?);
                readiness.add(&*socket, token(id, place))?;
                close_aside(open.replace(socket), readiness);
            }
        }
        Ok(())
    }

    /// Opens what a router that has just come needs and the others did not; returns why the program in the kernel cannot
    /// serve it, if it cannot.
    pub(super) fn serve(
        &mut self,
        id: LinkId,
        (family, vrid): (Family, Vrid),
        readiness: &Readiness,
        patience: Duration,
    ) -> io::Result<Option<Refusal>> {
        let Some(interface) = self.interface.clone() else { return Ok(None) };
        let Some(mut sockets) = self.sockets.take() else {
            if let Some(attached) = self.attached.take() {
                return self.open_with(id, &interface, Ok(*attached), readiness).map(|()| None);
            }
            let not_asked_for = || Err(Refusal("the program is not loaded".to_owned()));
            let program = self.take_program(&interface).unwrap_or_else(not_asked_for);
            return self.open(id, &interface, program, readiness).map(|()| None);
        };
        let served = self.serve_with(&mut sockets, id, (family, vrid), readiness, patience);
        // What the others need stays, whatever came of it.
        self.sockets = Some(sockets);
        served
    }

    /// Adds to what is open; why the program in the kernel cannot serve the router, if it cannot.
    fn serve_with(
        &self,
        sockets: &mut Sockets,
        id: LinkId,
        (family, vrid): (Family, Vrid),
        readiness: &Readiness,
        patience: Duration,
    ) -> io::Result<Option<Refusal>> {
        if !sockets.memberships.iter().any(|membership| membership.family() == family) {
            sockets.memberships.push(self.keeper.keep(Membership::new(sockets.index, family)?));
        }
        match &mut sockets.path {
            Path::Raw { sockets: open, .. } => {
                self.open_sockets(open, id, sockets.index, readiness)?;
                Ok(None)
            }
            Path::Xdp { program, authenticated } => {
                if authenticated.is_none() {
                    *authenticated = self.authenticated_path(id, sockets.index, readiness)?;
                }
                Ok(program.prepare(slot(family, vrid), patience).err())
            }
        }
    }

    /// Gives the program up, since the kernel does not do what it is asked, or may hear what it is not to. Returns it: it
    /// goes, with what it has heard last, when that is dropped. What it has counted is to be carried over.
    pub(super) fn fall_back(
        &mut self,
        id: LinkId,
        reason: &str,
        readiness: &Readiness,
    ) -> io::Result<Option<Box<XdpPath>>> {
        if !self.is_in_kernel() {
            return Ok(None);
        }
        error!(interface = self.name, reason, "the data path in the kernel fails; raw sockets from now on");
        let Some(index) = self.sockets.as_ref().map(|sockets| sockets.index) else { return Ok(None) };
        let path = self.raw_path(id, index, reason.to_owned(), readiness)?;
        let before = self.sockets.as_mut().map(|sockets| std::mem::replace(&mut sockets.path, path));
        Ok(match before {
            Some(Path::Xdp { program, authenticated }) => {
                close_aside(authenticated, readiness);
                Some(program)
            }
            Some(Path::Raw { .. }) | None => None,
        })
    }

    /// The data path's name, and why it is not a better one.
    pub(super) fn datapath(&self) -> (&'static str, Option<String>) {
        match self.sockets.as_ref().map(|sockets| &sockets.path) {
            None => ("raw", Some("there is no such interface".to_owned())),
            Some(Path::Raw { reason, .. }) => ("raw", Some(reason.clone())),
            Some(Path::Xdp { program, .. }) => (program.tier().name(), program.reason().map(str::to_owned)),
        }
    }

    /// Whether adverts are handled in the kernel.
    pub(super) fn is_in_kernel(&self) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| matches!(sockets.path, Path::Xdp { .. }))
    }

    /// The program in the kernel, if that is how adverts arrive.
    pub(super) fn kernel(&mut self) -> Option<&mut XdpPath> {
        match &mut self.sockets.as_mut()?.path {
            Path::Xdp { program, .. } => Some(program),
            Path::Raw { .. } => None,
        }
    }

    /// Tells the kernel the virtual addresses of a router.
    pub(super) fn tell_virtual_addresses(&mut self, family: Family, vrid: Vrid) -> Result<(), Refusal> {
        let Some(Path::Xdp { program, .. }) = self.sockets.as_mut().map(|sockets| &mut sockets.path) else {
            return Ok(());
        };
        program.set_virtual_addresses(slot(family, vrid), self.table.virtual_addresses(family, vrid))
    }

    /// Tells the kernel to which MAC addresses the interface takes in frames.
    pub(super) fn tell_stations(&mut self) -> Result<(), Refusal> {
        let Some(own) = self.interface.as_ref().and_then(|interface| interface.mac) else { return Ok(()) };
        let kept = self.own_mac_frames.as_ref().filter(|(_, frames)| frames.is_some()).map(|(mac, _)| *mac);
        self.kernel().map_or(Ok(()), |program| program.set_stations(own, kept))
    }

    /// What the kernel knows of a router.
    pub(super) fn kernel_record(&self, family: Family, vrid: Vrid) -> Option<RouterRecord> {
        match &self.sockets.as_ref()?.path {
            Path::Xdp { program, .. } => program.record(slot(family, vrid)),
            Path::Raw { .. } => None,
        }
    }

    /// Valid adverts for a router, and discarded ones, whoever counted them.
    pub(super) fn counts(&self, family: Family, vrid: Vrid) -> (u64, RejectCounts) {
        let (received, rejected) = (self.table.received(family, vrid), self.table.rejected(family, vrid));
        match self.sockets.as_ref().map(|sockets| &sockets.path) {
            Some(Path::Xdp { program, .. }) => {
                let record = program.record(slot(family, vrid)).unwrap_or_default();
                let own = RejectCounts::from(record.rejected).plus(&program.rejects().into());
                (received + record.adverts, rejected.plus(&own))
            }
            Some(Path::Raw { .. }) | None => (received, rejected),
        }
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

    /// The interface is gone, and its sockets with it; returns what remains to be done.
    pub(super) fn close(&mut self, readiness: &Readiness) -> Option<OwnMacChange> {
        self.interface = None;
        self.attached = None;
        self.rest(readiness)
    }

    /// No router needs the interface any more; returns what remains to be done.
    pub(super) fn rest(&mut self, readiness: &Readiness) -> Option<OwnMacChange> {
        self.absence = Absence::default();
        self.returns = false;
        self.close_sockets(readiness);
        let before = self.own_mac_frames.take().and_then(|(_, frames)| frames);
        before.map(|before| OwnMacChange { before: Some(before), wanted: None })
    }

    /// Closes what is open, and waits for none of it.
    fn close_sockets(&mut self, readiness: &Readiness) {
        let Some(Sockets { transmitter, path, .. }) = self.sockets.take() else { return };
        closing::let_go(transmitter.map(Transmitter::into_sender));
        let receivers = match path {
            Path::Raw { sockets, .. } => sockets,
            Path::Xdp { program, authenticated } => {
                self.carry_over(&program);
                [authenticated, None]
            }
        };
        close_aside(receivers.into_iter().flatten(), readiness);
    }

    /// Joins the group of this family anew, on an interface that has become usable for it again.
    pub(super) fn rejoin(&self, family: Family) {
        let memberships = self.sockets.iter().flat_map(|sockets| &sockets.memberships);
        for membership in memberships.filter(|membership| membership.family() == family) {
            if let Err(error) = membership.rejoin() {
                warn!(interface = self.name, %error, "the multicast group of VRRP cannot be joined");
            }
        }
    }

    /// Joins the groups of VRRP where that was not done.
    pub(super) fn join(&self) {
        for membership in self.sockets.iter().flat_map(|sockets| &sockets.memberships) {
            if let Err(error) = membership.join() {
                warn!(interface = self.name, %error, "the multicast group of VRRP cannot be joined");
            }
        }
    }

    /// Takes the frames of a socket, by its place in [`FAMILIES`]; `false` when there are none.
    pub(super) fn receive(&self, place: usize, inbox: &mut Inbox) -> bool {
        let socket = match self.sockets.as_ref().map(|sockets| &sockets.path) {
            Some(Path::Raw { sockets, .. }) => sockets.get(place).and_then(Option::as_deref),
            Some(Path::Xdp { authenticated, .. }) if place == IPV4 => authenticated.as_deref(),
            Some(Path::Xdp { .. }) | None => None,
        };
        let Some(socket) = socket else { return false };
        let received = socket.receive(inbox);
        if let Err(error) = &received {
            // Said once by the kernel when an interface goes down, which its own notification tells as well.
            if Errno::from_raw(error.raw_os_error().unwrap_or(0)) != Errno::ENETDOWN {
                warn!(interface = self.name, %error, "nothing can be received");
            }
        }
        received.is_ok()
    }

    /// Whether it is to be said now that adverts for a router were discarded for this reason.
    pub(super) fn may_say_rejected(&mut self, now: Instant, id: RouterId, reject: Reject) -> bool {
        self.rejects_said.admit(now, (Some(id), reject)).is_some()
    }

    /// Says that an advert was discarded; `router` is the name of the router of ours that it was for.
    pub(super) fn say_rejected(
        &mut self,
        now: Instant,
        id: Option<RouterId>,
        router: Option<&str>,
        why: &Rejection,
    ) {
        let Some(more) = self.rejects_said.admit(now, (id, why.reject)) else { return };
        let (interface, check) = (&self.name, why.reject.name());
        match (why.reject, router) {
            // What is meant for others is no fault.
            (Reject::NotOurs, _) => debug!(interface, check, %why, more, "an advert is not for us"),
            (_, Some(router)) => warn!(router, check, %why, more, "an advert was discarded"),
            (_, None) => warn!(interface, check, %why, more, "an advert was discarded"),
        }
    }

    /// Octets of the longest IP packet that the interface takes, as far as we have been told.
    pub(super) fn mtu(&self) -> u32 {
        self.interface.as_ref().map_or(u32::MAX, |interface| interface.mtu)
    }

    /// The same for a packet that has to get through and can be shortened: nothing is too short after one was refused.
    pub(super) fn sure_mtu(&self) -> u32 {
        if self.mtu_has_fallen { 0 } else { self.mtu() }
    }

    /// Its MTU is what we have been told.
    pub(super) const fn mtu_is_known(&mut self) {
        self.mtu_has_fallen = false;
    }

    /// Routers whose last advert has not gone out, and since when none has.
    pub(super) fn unsent(&self) -> impl Iterator<Item = (RouterId, Instant)> {
        self.sockets.iter().flat_map(|sockets| sockets.transmitter.unsent())
    }

    pub(super) fn transmitter(&mut self) -> Option<&mut Transmitter> {
        self.sockets.as_mut().map(|sockets| &mut *sockets.transmitter)
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, now: Instant) {
        let Some(sockets) = &mut self.sockets else { return };
        match sockets.transmitter.flush(now) {
            Ok(()) => self.send_failed = false,
            Err(Unsent::One { router, octets, error }) => {
                self.mtu_has_fallen |= error.raw_os_error().map(Errno::from_raw) == Some(Errno::EMSGSIZE);
                self.unsendable.push((router, octets, error));
            }
            Err(unsent @ Unsent::All { .. }) => {
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

/// Closes sockets that nobody is to be woken for any more.
pub(super) fn close_aside(receivers: impl IntoIterator<Item = Kept<RawPath>>, readiness: &Readiness) {
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
