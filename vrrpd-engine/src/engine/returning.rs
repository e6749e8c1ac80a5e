//! An interface is left to packet sockets for a while when adverts come from another subnet.
//!
//! They may have been of a VLAN whose tag the program does not see, or forged. Packet sockets see tags, so they take no
//! adverts of a VLAN. The program is put back after a pause, which grows each time, so that forged adverts cannot make it
//! come and go. An advert from another subnet that packet sockets do hear begins the pause anew. While a router of
//! the interface is Master it is not put back: some drivers take the link down for it.

use std::net::IpAddr;

use vrrpd_common::{Advert, Instant};

use super::agenda::Task;
use super::turn::Turn;
use super::{Engine, Output};
use crate::ids::LinkId;
use crate::kernel::is_on_link;
use crate::router::Router;

impl Turn<'_> {
    /// This advert may be one of a VLAN, and so may others that the program has heard.
    pub(super) fn leave_to_sockets(&mut self, source: IpAddr) {
        let pause = self.link.absence.begin(self.now.at);
        self.put_out(Output::GiveUpProgram { router: self.id, source, pause });
        self.next(Task::ListenAgain);
    }

    /// An advert came by packet sockets while the program is to be put back: not yet, if it is from another subnet.
    pub(super) fn note_subnet(&mut self, advert: &Advert) {
        let config = &self.router.config;
        if self.link.absence.deadline().is_some()
            && config.goes_to_vrrp_group()
            && !is_on_link(self.link.interface.as_ref(), config, advert.source)
        {
            self.link.absence.prolong(self.now.at);
        }
    }
}

impl Engine {
    /// When the program of an interface is to be put back.
    pub(super) fn absence_ends_at(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.absence.deadline()).min()
    }

    /// Has programs put back whose time has come.
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

    /// Whether a router of the interface is Master, or about to become something else: then its program is not put back.
    pub fn is_in_use(&self, id: LinkId) -> bool {
        let is_used = |router: &Router| router.is_master() || router.is_busy();
        self.links
            .get(id)
            .is_some_and(|link| link.routers.iter().filter_map(|id| self.routers.get(*id)).any(is_used))
    }

    /// The program of an interface cannot be put back now.
    pub(super) fn return_later(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.absence.try_later(now);
        }
    }

    /// The program of an interface is back.
    pub(super) fn returned(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.absence.over(now);
        }
    }

    /// The program of an interface could not be put back.
    pub(super) fn not_returned(&mut self, now: Instant, id: LinkId, reason: String) {
        let Some(link) = self.links.get_mut(id) else { return };
        let again_in = link.absence.begin(now);
        self.agenda.outputs.push_back(Output::NotReturned { link: id, reason, again_in });
    }
}
