//! Attaches the program again to an interface that was switched to raw sockets because adverts came from another
//! subnet. The engine decides when.

use vrrpd_engine::{Input, LinkId};

use super::Daemon;
use super::link::{LoadedProgram, ReturnStep, close_aside};
use crate::clock;
use crate::datapath::refusal::Refusal;
use crate::datapath::xdp::Retired;

impl Daemon {
    /// Loads the program of an interface, to be attached again.
    pub(super) fn return_program(&mut self, id: LinkId) {
        // The hook is free before the program is attached again.
        self.take_off_programs();
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(interface) = self.engine.interface(id) else { return };
        match link.begin_return(interface) {
            ReturnStep::Load => {
                let (wanted, site) = (link.wanted, link.site(interface));
                let routers = (link.router_count(), self.engine.routers().len());
                self.spawn_loading(id, wanted, routers, Some(site));
            }
            ReturnStep::Later => self.input(Input::ReturnLater(id)),
            ReturnStep::Refused(why) => self.input(Input::NotReturned(id, why.to_string())),
            ReturnStep::Stay => {}
        }
    }

    /// Takes the loaded and attached program into use; it knows no router yet, and passes everything on.
    pub(super) fn put_program_back(&mut self, id: LinkId, program: Result<LoadedProgram, Refusal>) {
        if self.engine.is_in_use(id) {
            if let Ok(LoadedProgram::Loaded(loaded)) = program {
                self.retired.extend(Retired::of(*loaded).map(|retired| (id, retired)));
            }
            return self.input(Input::ReturnLater(id));
        }
        match self.return_to_program(id, program) {
            Ok(()) => self.input(Input::Returned(id)),
            Err(refusal) => self.input(Input::NotReturned(id, refusal.to_string())),
        }
    }

    /// Goes on with a program, which knows no router yet, in the place of packet sockets.
    pub(super) fn return_to_program(
        &mut self,
        id: LinkId,
        program: Result<LoadedProgram, Refusal>,
    ) -> Result<(), Refusal> {
        let link = self.links.get_mut(id).ok_or(Refusal::InterfaceGone)?;
        let sockets = link.return_to_kernel(id, self.engine.interface(id), program, &self.readiness)?;
        self.note_kernel(id);
        self.tell_stations(id);
        let routers = self.engine.routers_on(id);
        self.engine.handle(clock::moment(), Input::KernelForgot(id));
        for router in &routers {
            self.input(Input::TellKernel(*router));
        }
        // These frames arrived before the kernel knew the routers.
        for socket in sockets.iter().flatten() {
            self.take_frames(id, usize::MAX, |_, inbox| socket.receive(inbox).is_ok());
        }
        for router in &routers {
            self.input(Input::TellKernel(*router));
            self.input(Input::Schedule(*router));
        }
        close_aside(sockets.into_iter().flatten());
        Ok(())
    }
}
