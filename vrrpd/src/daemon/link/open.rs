//! Opens and closes an interface, and handles its loaded program. [`super::path`] decides what is opened and loaded.

use std::collections::BTreeSet;
use std::io;

use tracing::{debug, error, info, warn};
use vrrpd_common::abi::slot;
use vrrpd_common::{Family, Vrid};
use vrrpd_engine::LinkId;

use super::LinkIo;
use super::path::{LoadStep, MoveStep, OpenStep, Program, ReturnStep};
use super::sockets::{By, Kernel, Open, Opener, Receivers, Sockets, close_aside};
use crate::config::Datapath;
use crate::datapath::closing;
use crate::datapath::loaded::{Loaded, Site};
use crate::datapath::own_mac::OwnMacChange;
use crate::datapath::raw::RingOrder;
use crate::datapath::readiness::Readiness;
use crate::datapath::refusal::Refusal;
use crate::datapath::tier::Tier;
use crate::datapath::xdp::XdpPath;
use crate::interface::Interface;
use crate::sys::packet::RingSocket;
use crate::transmit::Transmitter;

/// A program that is not in use yet.
pub(in crate::daemon) type LoadedProgram = Program<Sockets>;

impl LinkIo {
    /// Opens what the families in use need. The program is attached first, since some drivers take the link down for
    /// it.
    pub(in crate::daemon) fn open(
        &mut self,
        id: LinkId,
        interface: &Interface,
        program: Result<LoadedProgram, Refusal>,
        readiness: &Readiness,
    ) -> io::Result<()> {
        let open = self.path.close();
        self.close_open(open);
        let attached = program.and_then(|program| self.attach(id, program, interface));
        let opener = self.opener(id, interface.index, readiness);
        let by = match attached {
            Ok(program) => By::Kernel(self.open_kernel(&opener, program)?),
            Err(why) => {
                let (interface, reason) = (&self.name, why.to_string());
                match self.wanted {
                    Datapath::Raw => {}
                    // No other data path was requested.
                    Datapath::Auto => info!(interface, datapath = "raw", reason, "data path selected"),
                    _ => warn!(interface, datapath = "raw", reason, "data path selected"),
                }
                By::Raw(opener.receivers()?, why)
            }
        };
        let ports = opener.ports()?;
        self.path.opened(Open { index: interface.index, ports, by });
        Ok(())
    }

    fn opener<'a>(&'a self, id: LinkId, index: u32, readiness: &'a Readiness) -> Opener<'a> {
        Opener { id, index, table: &self.table, keeper: &self.keeper, readiness }
    }

    fn open_kernel(&self, opener: &Opener<'_>, program: Box<XdpPath>) -> io::Result<Kernel> {
        let kernel = opener.kernel(program)?;
        let reason = kernel.program.refused().map(Refusal::to_string);
        info!(interface = self.name, datapath = kernel.program.tier().name(), reason, "data path selected");
        Ok(kernel)
    }

    /// Puts a program on the interface, and notes its number.
    fn attach(
        &mut self,
        id: LinkId,
        program: LoadedProgram,
        interface: &Interface,
    ) -> Result<Box<XdpPath>, Refusal> {
        let program = match program {
            Program::Attached(program) => return Ok(program),
            Program::Loaded(program) => program,
        };
        let site = site(&self.name, &self.own_programs, interface, program.wanted());
        let mut attached = XdpPath::attach(*program, id, &site, &self.name)?;
        self.own_programs.insert(attached.object().number());
        if let Some(mac) = interface.mac {
            attached.set_stations(mac, None)?;
        }
        Ok(Box::new(attached))
    }

    /// Why the interface cannot have a program, as far as known without one.
    pub(in crate::daemon) fn obstacle(&self, interface: &Interface) -> Option<Refusal> {
        self.obstacle_to(interface, self.wanted)
    }

    /// The interface, to attach a program to it.
    pub(in crate::daemon) fn site(&self, interface: &Interface) -> Site {
        site(&self.name, &self.own_programs, interface, self.wanted)
    }

    fn obstacle_to(&self, interface: &Interface, wanted: Datapath) -> Option<Refusal> {
        obstacle(&self.name, &self.own_programs, interface, wanted)
    }

    /// Handles that the interface exists; returns what to do.
    pub(in crate::daemon) fn arrives(&mut self, interface: &Interface) -> OpenStep<Sockets> {
        let Self { path, name, own_programs, wanted, .. } = self;
        path.arrives(
            interface,
            || obstacle(name, own_programs, interface, *wanted),
            |loaded| loaded.interface() == Some(interface.index),
        )
    }

    /// Handles a loaded program. It may be attached to its interface already.
    pub(in crate::daemon) fn loaded(&mut self, mut program: Result<Loaded, Refusal>) -> LoadStep<Sockets> {
        if let Ok(loaded) = &mut program
            && let Some(index) = loaded.interface()
        {
            self.own_programs.insert(loaded.number());
            if !self.path.is_awaited_on(index) {
                loaded.off();
            }
        }
        self.path.loaded(program.map(Box::new))
    }

    /// Starts to replace packet sockets by the program.
    pub(in crate::daemon) fn begin_return(&mut self, interface: &Interface) -> ReturnStep {
        let Self { path, name, own_programs, wanted, .. } = self;
        path.begin_return(interface.index, || obstacle(name, own_programs, interface, *wanted))
    }

    /// Switches from packet sockets to the loaded program; returns the sockets, which may still hold frames.
    pub(in crate::daemon) fn return_to_kernel(
        &mut self,
        id: LinkId,
        interface: Option<&Interface>,
        program: Result<LoadedProgram, Refusal>,
        readiness: &Readiness,
    ) -> Result<Receivers, Refusal> {
        let interface = interface.ok_or(Refusal::InterfaceGone)?;
        if let Some(obstacle) = self.obstacle(interface) {
            return Err(obstacle);
        }
        let program = self.attach(id, program?, interface)?;
        let kernel = self.open_kernel(&self.opener(id, interface.index, readiness), program)?;
        self.path.put_back(kernel).ok_or(Refusal::InterfaceGone)
    }

    /// Returns the program for new routers, to be attached to this interface in another thread; `of`
    /// selects data paths. While another program is attached, it waits until that one is removed.
    pub(in crate::daemon) fn begin_attaching(
        &mut self,
        interface: Option<&Interface>,
        of: impl FnOnce(Datapath) -> bool,
    ) -> Option<(Loaded, Site)> {
        let interface = interface.filter(|_| !self.is_in_kernel())?;
        let Self { path, name, own_programs, .. } = self;
        let attaching = path.begin_attaching(interface.index, |loaded| {
            let wanted = loaded.wanted();
            loaded.interface() != Some(interface.index)
                && of(wanted)
                && obstacle(name, own_programs, interface, wanted).is_none()
        });
        attaching.map(|loaded| {
            let site = site(name, own_programs, interface, loaded.wanted());
            (*loaded, site)
        })
    }

    /// Whether an explicitly requested data path is available on the interface, as far as can be determined while it
    /// has another one. A program loaded for it is attached; the present data path stays in use until the interface is
    /// opened again.
    pub(in crate::daemon) fn try_datapath(
        &mut self,
        id: LinkId,
        interface: Option<&Interface>,
        wanted: Datapath,
    ) -> Result<(), Refusal> {
        if let Some(kernel) = self.path.kernel() {
            let refused = kernel.program.refused().filter(|_| wanted == Datapath::XdpNative);
            return refused.cloned().map_or(Ok(()), Err);
        }
        let Some(interface) = interface else { return Ok(()) };
        if let Some(obstacle) = self.obstacle_to(interface, wanted) {
            return Err(obstacle);
        }
        if let Some(program) = self.path.take_ready() {
            let attached = self.attach(id, program?, interface)?;
            self.path.attached(attached);
        }
        Ok(())
    }

    /// Opens what a new router needs in addition; returns why the program in the kernel cannot serve it, if so.
    pub(in crate::daemon) fn serve(
        &mut self,
        id: LinkId,
        interface: Option<&Interface>,
        (family, vrid): (Family, Vrid),
        readiness: &Readiness,
    ) -> io::Result<Option<Refusal>> {
        let Some(interface) = interface else { return Ok(None) };
        let Self { path, table, keeper, name, own_programs, wanted, .. } = self;
        let Some(open) = path.open_mut() else {
            let program = path.take(|| obstacle(name, own_programs, interface, *wanted));
            let program = program.unwrap_or(Err(Refusal::NotLoaded));
            return self.open(id, interface, program, readiness).map(|()| None);
        };
        // What other routers need is kept in any case.
        Opener { id, index: open.index, table, keeper, readiness }.add(open)?;
        match &mut open.by {
            By::Raw(..) => Ok(None),
            By::Kernel(kernel) => Ok(kernel.program.admit(slot(family, vrid)).err()),
        }
    }

    /// Begins to put rings before sockets that were opened. Returns what is to be made, each with its family by index in
    /// [`FAMILIES`].
    pub(in crate::daemon) fn begin_rings(&mut self) -> impl Iterator<Item = (usize, RingOrder)> {
        let Self { path, table, .. } = self;
        let sockets = path.open_mut().into_iter().flat_map(|open| open.by.sockets_mut());
        sockets.filter_map(|(place, family, socket)| {
            socket.begin_ring(|| table.traffic(family)).map(|order| (place, order))
        })
    }

    /// Puts a ring before the socket of a family on the interface with this index. Without one, the socket goes on alone.
    pub(in crate::daemon) fn put_ring(
        &mut self,
        id: LinkId,
        (index, family): (u32, usize),
        ring: io::Result<RingSocket>,
        readiness: &Readiness,
    ) {
        let Self { path, table, keeper, name: interface, .. } = self;
        let Some(open) = path.open_mut().filter(|open| open.index == index) else {
            return closing::let_go(ring);
        };
        let opener = Opener { id, index, table, keeper, readiness };
        if let Err(error) = ring.and_then(|ring| open.by.put_ring(family, ring, &opener)) {
            debug!(%interface, %error, "no receive ring");
            if let Some(socket) = open.by.socket_mut(family) {
                socket.stay_alone();
            }
        }
    }

    /// Gives up the program, since the kernel refuses commands, or may receive foreign adverts. Returns it:
    /// the caller carries its counters over and retires it.
    pub(in crate::daemon) fn fall_back(
        &mut self,
        id: LinkId,
        why: Refusal,
        readiness: &Readiness,
    ) -> io::Result<Option<Box<XdpPath>>> {
        if let Some(kernel) = self.path.kernel() {
            self.say_fallback(kernel.program.tier(), &why);
        }
        self.use_sockets(id, why, readiness)
    }

    /// Logs that packet sockets receive from now on, instead of the program at a hook.
    pub(in crate::daemon) fn say_fallback(&self, tier: Tier, why: &Refusal) {
        let (interface, reason) = (&self.name, why.to_string());
        match tier {
            Tier::Tcx => error!(interface, reason, "tcx failed, falling back to raw sockets"),
            Tier::Native | Tier::Generic => {
                error!(interface, reason, "XDP failed, falling back to raw sockets");
            }
        }
    }

    /// Opens packet sockets in place of the program, which is returned.
    fn use_sockets(
        &mut self,
        id: LinkId,
        why: Refusal,
        readiness: &Readiness,
    ) -> io::Result<Option<Box<XdpPath>>> {
        let Some(open) = self.path.open().filter(|open| matches!(open.by, By::Kernel(_))) else {
            return Ok(None);
        };
        let receivers = self.opener(id, open.index, readiness).receivers()?;
        Ok(self.path.fall_back(receivers, why).map(|Kernel { program, beside, .. }| {
            close_aside(beside.into_iter().flatten());
            // From now on the packet sockets receive all adverts, and the records do not change.
            program.stop_listening();
            program
        }))
    }

    /// Begins to move the program to the object with more room that was loaded for this interface: packet sockets receive until
    /// it was [`moved`](Self::moved). Returns the program and the object; `None` if there is nothing to move.
    pub(in crate::daemon) fn begin_move(
        &mut self,
        id: LinkId,
        readiness: &Readiness,
    ) -> io::Result<Option<(Box<XdpPath>, Loaded)>> {
        if !self.is_in_kernel() {
            return Ok(None);
        }
        let loaded = match self.path.take_ready() {
            Some(Ok(Program::Loaded(loaded))) => loaded,
            Some(Err(why)) => {
                warn!(
                    interface = self.name,
                    reason = why.to_string(),
                    "cannot load a program with more room"
                );
                return Ok(None);
            }
            Some(Ok(Program::Attached(_))) | None => return Ok(None),
        };
        let Some(program) = self.use_sockets(id, Refusal::NoRoom, readiness)? else { return Ok(None) };
        self.path.moving();
        Ok(Some((program, *loaded)))
    }

    /// Handles that the program was moved to that object, or could not be.
    pub(in crate::daemon) fn moved(&mut self, program: Option<&XdpPath>) -> MoveStep {
        self.own_programs.extend(program.map(|program| program.object().number()));
        self.path.moved()
    }

    /// The interface is gone, and its sockets with it; returns what remains to be done.
    pub(in crate::daemon) fn gone(&mut self) -> Option<OwnMacChange> {
        let open = self.path.gone();
        self.close_open(open);
        self.end_own_mac()
    }

    /// Handles that no router needs the interface any more; returns what remains to be done.
    pub(in crate::daemon) fn rest(&mut self) -> Option<OwnMacChange> {
        let open = self.path.rest();
        self.close_open(open);
        self.end_own_mac()
    }

    /// Closes everything without waiting.
    fn close_open(&mut self, open: Option<Open>) {
        let Some(Open { ports, by, .. }) = open else { return };
        closing::let_go(ports.transmitter.map(Transmitter::into_sender));
        let receivers = match by {
            By::Raw(receivers, _) => receivers,
            By::Kernel(Kernel { program, beside, .. }) => {
                self.carry_over(&program);
                beside
            }
        };
        close_aside(receivers.into_iter().flatten());
    }
}

/// Why an interface cannot have the program, as far as known without it. The kernel sends no notification when one of
/// `own_programs` is detached.
fn obstacle(
    name: &str,
    own_programs: &BTreeSet<u32>,
    interface: &Interface,
    wanted: Datapath,
) -> Option<Refusal> {
    XdpPath::obstacle(name, wanted, foreign_program(own_programs, interface))
}

/// An interface, to attach a program for this data path to it.
fn site(name: &str, own_programs: &BTreeSet<u32>, interface: &Interface, wanted: Datapath) -> Site {
    let no_xdp = match wanted {
        Datapath::Xdp => XdpPath::obstacle_to_xdp(name, foreign_program(own_programs, interface)),
        // Without another hook, the obstacle is found before the program is loaded.
        Datapath::XdpNative | Datapath::XdpGeneric | Datapath::Raw | Datapath::Auto | Datapath::Tcx => None,
    };
    Site { index: interface.index, no_xdp }
}

/// The number of the XDP program on an interface, if it is not ours.
fn foreign_program(own_programs: &BTreeSet<u32>, interface: &Interface) -> Option<u32> {
    interface.xdp_program.filter(|program| !own_programs.contains(program))
}
