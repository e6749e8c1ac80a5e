//! Putting the program back onto an interface that was left to raw sockets because adverts came from another subnet.
//!
//! They may have been of a VLAN whose tag the program does not see, or forged. Raw sockets see tags, so they hear of the
//! former no more: the program is put back after a pause, which grows each time, so that nobody who forges such adverts
//! makes it come and go. An advert from another subnet that raw sockets do hear begins the pause anew. While a router of the
//! interface is Master it is not put back: some drivers take the link down for it.

use tracing::warn;
use vrrpd_common::Instant;
use vrrpd_engine::router::Router;
use vrrpd_engine::{Input, LinkId};

use super::Daemon;
use super::link::{LoadedProgram, close_aside};
use crate::clock;
use crate::datapath::raw::RawPath;
use crate::datapath::refusal::Refusal;
use crate::guardian::copies::Kept;

impl Daemon {
    /// Has the programs loaded that are to be put back.
    pub(super) fn put_programs_back(&mut self, now: Instant) {
        for id in self.links.ids().collect::<Vec<_>>() {
            if self.links.get(id).and_then(|link| link.path.absence_ends_at()).is_none_or(|at| at > now) {
                continue;
            }
            let is_used = self.is_being_used(id);
            let interface = self.engine.interface(id);
            if let Some((slots, (index, wanted))) =
                self.links.get_mut(id).and_then(|link| link.begin_return(interface, now, is_used))
            {
                self.spawn_loading(id, wanted, slots, Some(index));
            }
        }
    }

    /// Whether a router of the interface is Master, or about to become something else.
    fn is_being_used(&self, id: LinkId) -> bool {
        let is_used = |router: &Router| router.is_master() || router.is_busy();
        self.engine.routers().values().any(|router| router.link == id && is_used(router))
    }

    /// The program that is to be put back is loaded, and on the interface; it knows no router yet, and passes everything on.
    pub(super) fn put_program_back(&mut self, id: LinkId, program: Result<LoadedProgram, Refusal>) {
        let (now, is_used) = (clock::now(), self.is_being_used(id));
        let Some(link) = self.links.get_mut(id) else { return };
        if is_used {
            return link.path.return_later(now);
        }
        let sockets =
            match link.return_to_kernel(now, id, self.engine.interface(id), program, &self.readiness) {
                Ok(sockets) => sockets,
                Err(refusal) => {
                    let (again_in, reason) = (link.path.begin_absence(now), refusal.to_string());
                    warn!(interface = link.name, reason, %again_in, "cannot reattach the XDP program");
                    return;
                }
            };
        self.note_kernel(id);
        let routers = self.engine.routers_on(id);
        self.engine.handle(clock::moment(), Input::KernelForgot(id));
        for router in &routers {
            self.input(Input::TellKernel(*router));
        }
        // What came before the kernel knew the routers.
        self.drain(id, &sockets);
        for router in &routers {
            self.input(Input::TellKernel(*router));
            self.input(Input::Schedule(*router));
        }
        close_aside(sockets.into_iter().flatten());
    }

    /// Handles all frames that are in sockets which are not those of the interface any more.
    fn drain(&mut self, id: LinkId, sockets: &[Option<Kept<RawPath>>]) {
        let Some(mut inbox) = self.inbox.take() else { return };
        for socket in sockets.iter().flatten() {
            while socket.receive(&mut inbox).is_ok() {
                let now = clock::moment();
                for frame in inbox.frames() {
                    self.frame(now, id, frame);
                }
                if !inbox.is_full() {
                    break;
                }
            }
        }
        self.inbox = Some(inbox);
    }
}
