//! Snapshots of a router, and an engine that continues from one.

use std::collections::BTreeMap;

use vrrpd_common::Instant;

use super::agenda::Agenda;
use super::tickets::Tickets;
use super::{Engine, Now, Snapshot};
use crate::ids::{LinkId, RouterId, Slots};
use crate::router::SteadyState;

impl Snapshot {
    /// An engine with only this router, as the first one on the first interface.
    pub fn restore(self) -> Engine {
        let Self { now, mut router, link, checks, marks, .. } = self;
        let (id, link_id) = (RouterId::FIRST, LinkId::FIRST);
        let mut agenda = Agenda::default();
        let waits_for = router.waiting.as_ref().map(|pending| pending.ticket);
        agenda.tickets = Tickets::issued(self.issued, waits_for.map(|ticket| (ticket, id)));
        let times = |at: Option<Instant>| at.map(|at| (id, at)).into_iter().collect::<BTreeMap<_, _>>();
        agenda.put_off = times(self.put_off);
        agenda.to_put_back = times(self.to_put_back);
        agenda.to_try_sending = times(self.to_try_sending);
        agenda.to_start.extend(self.to_start.then_some(id));
        let scheduled = router.scheduled.take();
        agenda.file(&mut router, id, scheduled);
        router.link = link_id;
        let mut links = Slots::default();
        links.insert(link.with(link.interface.clone(), vec![id]));
        let mut routers = Slots::default();
        routers.insert(router);
        Engine { routers, links, checks, agenda, now, ..Engine::new(marks) }
    }
}

impl Engine {
    /// Sets the first router to the state after a number of repeated inputs.
    pub(crate) fn go_on_from(&mut self, now: Now, state: SteadyState) {
        self.now = now;
        let Self { routers, agenda, .. } = self;
        if let Some(router) = routers.get_mut(RouterId::FIRST) {
            state.put(router);
            agenda.schedule(router, RouterId::FIRST);
            agenda.put_off.extend(router.pace.due_at().map(|at| (RouterId::FIRST, at)));
        }
    }

    /// Snapshot of a router; `None`: it has left, or work is pending for it.
    pub fn snapshot(&self, now: Now, id: RouterId) -> Option<Snapshot> {
        if !self.agenda.is_idle() || self.agenda.asked_for.is_some() {
            return None;
        }
        self.snapshot_in_turn(now, id)
    }

    /// Snapshot at a moment when the only pending work is what is recorded next.
    pub(super) fn snapshot_in_turn(&self, now: Now, id: RouterId) -> Option<Snapshot> {
        let router = self.routers.get(id)?;
        let link = self.links.get(router.link)?;
        let Agenda { put_off, to_put_back, to_try_sending, to_start, .. } = &self.agenda;
        let mut router = router.clone();
        router.kernel = router.kernel.without_secret();
        Some(Snapshot {
            now,
            link: link.with(link.interface.as_ref().map(|there| there.seen_by(&router.config)), Vec::new()),
            issued: self.agenda.tickets.last(),
            checks: self.checks.tracked_by(&router.config.track),
            marks: self.marks,
            put_off: put_off.get(&id).copied(),
            to_put_back: to_put_back.get(&id).copied(),
            to_try_sending: to_try_sending.get(&id).copied(),
            to_start: to_start.contains(&id),
            router,
        })
    }
}
