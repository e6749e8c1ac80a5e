//! Routers whose adverts are handled in the kernel: commands to it, and its records. [`vrrpd_engine::kernel`] says what it has
//! to know and what a record means.
//!
//! The kernel watches the deadline of a Backup, and no timer of ours runs for it. While its master lives the kernel says
//! nothing, so the state machine is told what was heard before anything else happens to it.
//!
//! Cards take the tag of a VLAN out of a frame and hand it on beside it, where a program does not see it. The interface is
//! left to raw sockets, which do, when it has VLANs, or when an advert comes from a subnet that is not on it.

use std::net::IpAddr;

use tracing::error;
use vrrpd_common::abi::{self, EventKind, KernelCommand, slot};
use vrrpd_common::router::Event;
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::{Input, LinkId, RouterId};

use super::Daemon;
use super::link::{KERNEL, LinkIo};
use crate::clock;
use crate::datapath::refusal::Refusal;

/// Events taken at one go; an expiry of every router of an interface fits into the ring, and comes again if it must.
const MAX_EVENTS: usize = 1024;
/// How often it is looked whether programs are where they were put, while the daemon is awake for something else.
const LOOK_AFTER: Duration = Duration::from_secs(1);

impl Daemon {
    /// Handles what the kernel reports of an interface.
    pub(super) fn kernel_reports(&mut self, link_id: LinkId) {
        let all = self.take_kernel_events(link_id);
        if let Some(link) = self.links.get(link_id) {
            link.was_read(KERNEL, all);
        }
    }

    /// Handles at most [`MAX_EVENTS`] of them; whether there are no more.
    fn take_kernel_events(&mut self, link: LinkId) -> bool {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.links.get_mut(link).and_then(|link| link.kernel()?.event()) else {
                return true;
            };
            let router = abi::router_at(event.slot.into())
                .and_then(|(family, vrid)| self.links.get(link)?.table.router(family, vrid));
            let (Some(id), Some(kind)) = (router, event.kind()) else { continue };
            self.hear_kernel(id);
            match kind {
                EventKind::Advert => {}
                EventKind::Expired => match self.trouble(link) {
                    // Nothing was heard of the master, nor of anybody else.
                    Some(why) => {
                        self.program_is_deaf(link, why);
                        return false;
                    }
                    // Void if an advert came after it: the machine's deadline is in the future by now.
                    None => self.event(id, Event::Timer),
                },
            }
        }
        false
    }

    /// The take-over of a Backup was held although the kernel had said that its time is up, and is not any more.
    pub(super) fn hold_is_over(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        let link = router.link;
        // Not again, whatever comes of it.
        self.input(Input::Unschedule(id));
        self.hear_kernel(id);
        if let Some(why) = self.trouble(link) {
            return self.program_is_deaf(link, why);
        }
        self.event(id, Event::Timer);
    }

    /// Feeds the state machine with the adverts that the kernel has noted since.
    pub(super) fn hear_kernel(&mut self, id: RouterId) {
        self.input(Input::Hear(id));
    }

    /// Notes whether adverts come by the kernel now on an interface.
    pub(super) fn note_kernel(&mut self, link_id: LinkId) {
        let in_kernel = self.links.get(link_id).is_some_and(LinkIo::is_in_kernel);
        let sees_tags = self.links.get(link_id).is_some_and(LinkIo::sees_tags);
        let input = Input::InKernel { link: link_id, in_kernel, sees_tags };
        self.engine.handle(clock::moment(), input);
    }

    /// Reads what the kernel knows of a router.
    pub(super) fn read_record(&mut self, id: RouterId) {
        let now = clock::moment();
        let record = self.engine.router(id).and_then(|router| {
            let link = self.links.get(router.link)?;
            link.kernel_record(router.config.family, router.config.vrid)
        });
        self.engine.handle(now, Input::Record(id, record.map(Box::new)));
    }

    /// Gives the kernel a command about a router, with the secret of its adverts, and reads what it knows then. What is in the
    /// way has it given up.
    pub(super) fn command_kernel(
        &mut self,
        id: RouterId,
        mut command: KernelCommand,
        addresses: Option<&[IpAddr]>,
    ) {
        if let (Some(router), Some(handles)) = (self.engine.router(id), self.handles.get(id))
            && let Some(kernel) = self.links.get_mut(router.link).and_then(LinkIo::kernel)
        {
            command.config.auth_data = handles.authentication.in_message().data();
            let told =
                addresses.map_or(Ok(()), |addresses| kernel.set_virtual_addresses(command.slot, addresses));
            if let Err(refusal) = told.and_then(|()| kernel.command(command)) {
                self.give_up_kernel(router.link, refusal);
            }
        }
        self.read_record(id);
    }

    /// Tells the kernel to which MAC addresses an interface takes in frames.
    pub(super) fn tell_stations(&mut self, link_id: LinkId) {
        let Some(own) = self.engine.interface(link_id).and_then(|interface| interface.mac) else { return };
        let told = self.links.get_mut(link_id).map_or(Ok(()), |link| link.tell_stations(own));
        if let Err(refusal) = told {
            self.give_up_kernel(link_id, refusal);
        }
    }

    /// Has adverts of an interface come to user space, since the kernel cannot be relied on. What it has heard up to now
    /// counts.
    pub(super) fn give_up_kernel(&mut self, link_id: LinkId, why: Refusal) {
        let Some(link) = self.links.get_mut(link_id) else { return };
        let kernel = link.fall_back(link_id, why, &self.readiness).unwrap_or_else(|error| {
            error!(interface = link.name, %error, "cannot open raw sockets");
            None
        });
        self.note_kernel(link_id);
        for id in self.engine.routers_on(link_id) {
            let number = self.engine.router(id).map(|router| slot(router.config.family, router.config.vrid));
            let record = kernel.as_ref().zip(number).and_then(|(kernel, slot)| kernel.record(slot));
            if let Some(record) = record {
                let last = Input::LastRecord(id, Box::new(record));
                self.engine.handle(clock::moment(), last);
            }
            self.engine.handle(clock::moment(), Input::Schedule(id));
        }
        self.perform_outputs();
        if let (Some(link), Some(kernel)) = (self.links.get_mut(link_id), kernel) {
            link.carry_over(&kernel);
        }
    }

    /// Looks from time to time whether programs are still where they were put, and what they have discarded.
    pub(super) fn look_after_programs(&mut self, now: Instant) {
        if now < self.programs_looked_after + LOOK_AFTER {
            return;
        }
        self.programs_looked_after = now;
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

    /// Why the program of an interface, if it has one, may not have heard every advert.
    fn trouble(&mut self, link: LinkId) -> Option<Refusal> {
        self.links.get_mut(link)?.kernel()?.trouble()
    }

    /// Adverts may have been missed on an interface for a time that is not known.
    fn program_is_deaf(&mut self, link: LinkId, why: Refusal) {
        // With the interface it goes as well, of which a notification follows.
        if !self.engine.interface(link).is_some_and(|there| exists(there.index)) {
            return;
        }
        self.give_up_kernel(link, why);
        for id in self.engine.routers_on(link) {
            self.input(Input::ListenAgain(id));
        }
    }
}

/// Whether there is an interface of this number in our network namespace.
fn exists(index: u32) -> bool {
    nix::net::if_::if_indextoname(index).is_ok()
}
