//! Switches an interface to raw sockets for a while when adverts come from another subnet.
//!
//! Such adverts may be forged, or belong to a VLAN whose tag the program does not see. Packet sockets see tags, so they
//! ignore adverts of a VLAN. The program is attached again after a pause that grows each time (backoff), so forged
//! adverts cannot cause frequent switches. An advert from another subnet that packet sockets accept restarts the pause.
//! The program is not attached while a router of the interface is Master, since some drivers take the link down for it.

use std::net::IpAddr;

use vrrpd_common::{Advert, Instant};

use super::agenda::Task;
use super::turn::Turn;
use super::{Engine, Output};
use crate::ids::LinkId;
use crate::kernel::is_on_link;
use crate::router::Router;

impl Turn<'_> {
    /// Gives up the program, since this advert, and others that the program has received, may be of a VLAN.
    pub(super) fn leave_to_sockets(&mut self, source: IpAddr) {
        let pause = self.link.absence.begin(self.now.at);
        self.put_out(Output::GiveUpProgram { router: self.id, source, pause });
        self.next(Task::ListenAgain);
    }

    /// Handles an advert that packet sockets received during the pause: one from another subnet restarts the pause.
    pub(super) fn note_subnet(&mut self, advert: &Advert) {
        let config = &self.router.config;
        if self.link.absence.deadline().is_some()
            && config.is_for_program()
            && !is_on_link(self.link.interface.as_ref(), config, advert.source)
        {
            self.link.absence.prolong(self.now.at);
        }
    }
}

impl Engine {
    /// When the next pause ends.
    pub(super) fn absence_ends_at(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.absence.deadline()).min()
    }

    /// Attaches the programs whose pause has ended.
    pub(super) fn end_absences(&mut self, now: Instant) {
        if self.absence_ends_at().is_none_or(|at| now < at) {
            return;
        }
        for id in self.links.ids().collect::<Vec<_>>() {
            let is_in_use = self.is_in_use(id);
            let Some(link) = self.links.get_mut(id) else { continue };
            if link.absence.ends(now) {
                if is_in_use {
                    link.absence.try_later(now);
                } else {
                    self.agenda.outputs.push_back(Output::ReturnProgram(id));
                }
            }
        }
    }

    /// Whether a router of the interface is Master or has actions pending; then its program is not attached.
    pub fn is_in_use(&self, id: LinkId) -> bool {
        let is_used = |router: &Router| router.is_master() || router.is_busy();
        self.links
            .get(id)
            .is_some_and(|link| link.routers.iter().filter_map(|id| self.routers.get(*id)).any(is_used))
    }

    /// Handles that the program of an interface cannot be attached now.
    pub(super) fn return_later(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.absence.try_later(now);
        }
    }

    /// Handles that the program of an interface is attached again.
    pub(super) fn returned(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.absence.over(now);
        }
    }

    /// Handles that the program of an interface could not be attached.
    pub(super) fn not_returned(&mut self, now: Instant, id: LinkId, reason: String) {
        let Some(link) = self.links.get_mut(id) else { return };
        let again_in = link.absence.begin(now);
        self.agenda.outputs.push_back(Output::NotReturned { link: id, reason, again_in });
    }
}
