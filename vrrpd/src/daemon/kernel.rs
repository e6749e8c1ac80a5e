//! Routers with a kernel data path: commands to the kernel, and its records. [`vrrpd_engine::kernel`] decides what the
//! kernel is told and what a record means.
//!
//! The kernel monitors the master-down deadline of a Backup, without a timer in the daemon. The kernel reports nothing
//! while the master lives, so the adverts in its record are handed to the state machine before any other event.
//!
//! Network cards may take the VLAN tag out of the frame, and the program does not see it then. So an interface uses raw
//! sockets, which see the tag, if it has VLANs, or for a while after an advert from another subnet.

use tracing::error;
use vrrpd_common::Instant;
use vrrpd_common::abi::{self, EventKind, KernelCommand, slot};
use vrrpd_common::router::Event;
use vrrpd_engine::{Input, LinkId, RouterId};

use super::link::{LinkIo, LoadedProgram, MoveStep};
use super::{Aside, Daemon, Moved};
use crate::clock;
use crate::datapath::loaded::Loaded;
use crate::datapath::object::Object;
use crate::datapath::places::Owner;
use crate::datapath::refusal::Refusal;
use crate::datapath::tier::Tier;
use crate::datapath::xdp::XdpPath;

/// Maximum number of events taken at once. The ring buffer has room for an expiry of every router, and lost expiries are
/// repeated.
const MAX_EVENTS: usize = 1024;

impl Daemon {
    /// Handles the events of the object that is watched under this number.
    pub(super) fn kernel_reports(&mut self, number: u64) {
        if let Some(object) = self.objects.watched_as(number) {
            let all = self.take_kernel_events(&object);
            object.was_read(all);
        }
    }

    /// Handles up to [`MAX_EVENTS`] events; returns whether there are no more.
    fn take_kernel_events(&mut self, object: &Object) -> bool {
        for _ in 0..MAX_EVENTS {
            let Some((Owner { link, slot }, kind)) = object.event() else { return true };
            // Packet sockets receive while a program is moved to another object.
            let link = self.links.get(link).filter(|link| link.is_in_kernel());
            let router = abi::router_at(slot).and_then(|(family, vrid)| link?.table.router(family, vrid));
            let (Some(id), Some(kind)) = (router, kind) else { continue };
            match kind {
                EventKind::Advert => self.hear_kernel(id),
                EventKind::Expired => self.input(Input::KernelExpired(id)),
            }
        }
        false
    }

    /// Checks whether the program that receives adverts of a router is still attached.
    pub(super) fn check_program(&mut self, id: RouterId) {
        let Some(link) = self.engine.router(id).map(|router| router.link) else { return };
        match self.trouble(link) {
            Some(why) => self.program_is_deaf(link, why),
            None => self.event(id, Event::Timer),
        }
    }

    /// Hands the adverts that the kernel has recorded to the state machine.
    pub(super) fn hear_kernel(&mut self, id: RouterId) {
        self.input(Input::Hear(id));
    }

    /// Notes whether adverts of an interface come through the kernel now.
    pub(super) fn note_kernel(&mut self, link_id: LinkId) {
        let in_kernel = self.links.get(link_id).is_some_and(LinkIo::is_in_kernel);
        let sees_tags = self.links.get(link_id).is_some_and(LinkIo::sees_tags);
        let input = Input::InKernel { link: link_id, in_kernel, sees_tags };
        self.engine.handle(clock::moment(), input);
    }

    /// Reads the kernel's record of a router.
    pub(super) fn read_record(&mut self, id: RouterId) {
        let now = clock::moment();
        let record = self.engine.router(id).and_then(|router| {
            let link = self.links.get(router.link)?;
            link.kernel_record(router.config.family, router.config.vrid)
        });
        self.engine.handle(now, Input::Record(id, record.map(Box::new)));
    }

    /// Sends the kernel the addresses of a router and a command with the secret of its adverts, then reads its record. On
    /// an error the kernel data path is given up.
    pub(super) fn command_kernel(&mut self, id: RouterId, mut command: KernelCommand) {
        if let (Some(router), Some(handles)) = (self.engine.router(id), self.handles.get(id))
            && let Some(link) = self.links.get_mut(router.link)
        {
            command.config.auth_data = handles.authentication.in_message().data();
            let told = link.set_known_addresses(router.config.family, router.config.vrid);
            let told = told.and_then(|()| link.kernel().map_or(Ok(()), |kernel| kernel.command(command)));
            if let Err(refusal) = told {
                self.give_up_kernel(router.link, refusal);
            }
        }
        self.read_record(id);
    }

    /// Tells the kernel the MAC addresses that an interface accepts.
    pub(super) fn tell_stations(&mut self, link_id: LinkId) {
        let Some(own) = self.engine.interface(link_id).and_then(|interface| interface.mac) else { return };
        let told = self.links.get_mut(link_id).map_or(Ok(()), |link| link.tell_stations(own));
        if let Err(refusal) = told {
            self.give_up_kernel(link_id, refusal);
        }
    }

    /// Switches an interface to raw sockets, since the kernel data path is unreliable. Adverts that it has heard until
    /// now count.
    pub(super) fn give_up_kernel(&mut self, link_id: LinkId, why: Refusal) {
        let Some(link) = self.links.get_mut(link_id) else { return };
        let kernel = link.fall_back(link_id, why, &self.readiness).unwrap_or_else(|error| {
            error!(interface = link.name, %error, "cannot open raw sockets");
            None
        });
        self.take_last_records(link_id, kernel.as_deref());
        // The sockets need rings, and the program is to be taken off.
        self.is_stirred = true;
        self.retired.extend(kernel.map(|kernel| (link_id, kernel.retire())));
    }

    /// Takes off programs that are not in use any more, except on interfaces where a router is Master: some drivers take the
    /// link down for it.
    pub(super) fn take_off_programs(&mut self) {
        let engine = &self.engine;
        self.retired.retain(|(link, _)| engine.is_in_use(*link));
    }

    /// Takes over what the program of an interface has heard and counted, which listens no more.
    fn take_last_records(&mut self, link_id: LinkId, kernel: Option<&XdpPath>) {
        self.note_kernel(link_id);
        for id in self.engine.routers_on(link_id) {
            let number = self.engine.router(id).map(|router| slot(router.config.family, router.config.vrid));
            let record = kernel.zip(number).and_then(|(kernel, slot)| kernel.record(slot));
            if let Some(record) = record {
                let last = Input::LastRecord(id, Box::new(record));
                self.engine.handle(clock::moment(), last);
            }
            self.engine.handle(clock::moment(), Input::Schedule(id));
        }
        self.perform_outputs();
        if let (Some(link), Some(kernel)) = (self.links.get_mut(link_id), kernel) {
            link.carry_over(kernel);
        }
    }

    /// Moves interfaces on whose programs there is no room for the routers that come to objects with more room, which were loaded
    /// for that. Another thread replaces the programs, since the kernel may be slow; packet sockets listen meanwhile, so no
    /// advert is lost. Returns whether there are any.
    pub(super) fn move_programs(&mut self) -> bool {
        let mut are_some = false;
        for id in self.links.ids().collect::<Vec<_>>() {
            let Some(link) = self.links.get_mut(id) else { continue };
            match link.begin_move(id, &self.readiness) {
                Ok(Some((kernel, loaded))) => {
                    are_some = true;
                    self.take_last_records(id, Some(&kernel));
                    self.spawn_move(id, kernel, loaded);
                }
                Ok(None) => {}
                Err(error) => error!(interface = link.name, %error, "cannot open raw sockets"),
            }
        }
        are_some
    }

    fn spawn_move(&self, id: LinkId, mut kernel: Box<XdpPath>, loaded: Loaded) {
        let (done, lane) = (self.aside_in.clone(), self.lanes.programs.clone());
        let name = self.links.get(id).map_or_else(String::new, |link| link.name.clone());
        let tier = kernel.tier();
        let what = format!("moving the program of {name} to a larger object");
        tokio::task::spawn_local(async move {
            let moving = move || {
                let result = kernel.move_to(loaded, &name);
                (kernel, result)
            };
            let moved = match lane.run(what, moving).await {
                Ok((kernel, result)) => Moved { tier, kernel: Some(kernel), result },
                Err(error) => Moved { tier, kernel: None, result: Err(error.into()) },
            };
            // The receiver is gone when the daemon ends.
            let _ = done.send((id, Aside::Moved(moved)));
        });
    }

    /// Handles that the program of an interface was moved, or could not be.
    pub(super) fn moved(&mut self, id: LinkId, Moved { tier, kernel, result }: Moved) {
        let Some(link) = self.links.get_mut(id) else { return };
        let step = link.moved(kernel.as_deref());
        match (step, kernel, result) {
            (MoveStep::PutBack, Some(kernel), Ok(())) => {
                let returned = self.return_to_program(id, Ok(LoadedProgram::Attached(kernel)));
                if let Err(why) = returned {
                    self.not_moved(id, tier, &why);
                }
            }
            (MoveStep::PutBack, kernel, result) => {
                self.retired.extend(kernel.map(|kernel| (id, kernel.retire())));
                self.not_moved(id, tier, &result.err().unwrap_or(Refusal::NotLoaded));
            }
            (MoveStep::TakeOff, ..) => {}
            (MoveStep::Open(interface), ..) => self.link_changed(id, &interface),
        }
    }

    fn not_moved(&mut self, id: LinkId, tier: Tier, why: &Refusal) {
        if let Some(link) = self.links.get(id) {
            link.say_fallback(tier, why);
        }
        self.input(Input::NotReturned(id, why.to_string()));
    }

    /// Checks at most once a second, since the daemon is awake, whether programs are still attached, and logs what they have discarded.
    pub(super) fn look_after_programs(&mut self, now: Instant) {
        if self.program_checks.admit(now, ()).is_none() {
            return;
        }
        for link in self.links.ids().collect::<Vec<_>>() {
            if let Some(why) = self.trouble(link) {
                self.program_is_deaf(link, why);
            }
            for id in self.engine.routers_on(link) {
                let Some(router) = self.engine.router(id) else { continue };
                let (family, vrid) = (router.config.family, router.config.vrid);
                let record = self.links.get(link).and_then(|link| link.kernel_record(family, vrid));
                if let Some(record) = record {
                    self.input(Input::Counted(id, Box::new(record)));
                }
            }
        }
    }

    /// Why the program of an interface may have missed adverts, if so.
    fn trouble(&mut self, link: LinkId) -> Option<Refusal> {
        self.links.get_mut(link)?.kernel()?.trouble()
    }

    /// Handles that adverts may have been missed on an interface for an unknown time.
    fn program_is_deaf(&mut self, link: LinkId, why: Refusal) {
        // The program also disappears with the interface, whose notification follows.
        if !self.engine.interface(link).is_some_and(|there| exists(there.index)) {
            return;
        }
        self.give_up_kernel(link, why);
        for id in self.engine.routers_on(link) {
            self.input(Input::ListenAgain(id));
        }
    }
}

/// Whether our network namespace has an interface with this index.
fn exists(index: u32) -> bool {
    nix::net::if_::if_indextoname(index).is_ok()
}
