//! Which router waits for which answer of the system.

use std::collections::BTreeMap;

use crate::ids::{RouterId, Ticket};

/// Requests that have not been answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Tickets {
    last: u64,
    open: BTreeMap<Ticket, RouterId>,
}

impl Tickets {
    /// Continues after `last`, with these requests unanswered.
    pub(super) fn issued(last: Ticket, open: impl IntoIterator<Item = (Ticket, RouterId)>) -> Self {
        let open: BTreeMap<_, _> = open.into_iter().collect();
        let last = open.keys().copied().chain([last]).max().unwrap_or(last);
        Self { last: last.0, open }
    }

    /// The last ticket issued.
    pub(super) const fn last(&self) -> Ticket {
        Ticket(self.last)
    }

    /// Issues a ticket for a request of this router.
    pub(super) fn issue(&mut self, router: RouterId) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.open.insert(ticket, router);
        ticket
    }

    /// Marks a request as answered and returns its router. `None`: it was answered before, or the ticket is unknown.
    pub(super) fn redeem(&mut self, ticket: Ticket) -> Option<RouterId> {
        self.open.remove(&ticket)
    }

    /// The router of an unanswered request.
    pub(super) fn holder(&self, ticket: Ticket) -> Option<RouterId> {
        self.open.get(&ticket).copied()
    }

    /// Number of answered requests.
    pub(super) fn answered(&self) -> u64 {
        self.last - self.open.len() as u64
    }
}
