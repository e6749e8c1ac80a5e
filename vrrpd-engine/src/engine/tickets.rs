//! Which router waits for which answer of the system.

use std::collections::BTreeMap;

use crate::ids::{RouterId, Ticket};

/// The requests that are not answered yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Tickets {
    last: u64,
    open: BTreeMap<Ticket, RouterId>,
}

impl Tickets {
    /// So many have been issued, and these are open.
    pub(super) fn issued(last: Ticket, open: impl IntoIterator<Item = (Ticket, RouterId)>) -> Self {
        let open: BTreeMap<_, _> = open.into_iter().collect();
        let last = open.keys().copied().chain([last]).max().unwrap_or(last);
        Self { last: last.0, open }
    }

    /// The last one that was issued.
    pub(super) const fn last(&self) -> Ticket {
        Ticket(self.last)
    }

    /// A new one, for a request of this router.
    pub(super) fn issue(&mut self, router: RouterId) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.open.insert(ticket, router);
        ticket
    }

    /// The request is answered: whose it was. `None`: it was answered before, or is none of ours.
    pub(super) fn redeem(&mut self, ticket: Ticket) -> Option<RouterId> {
        self.open.remove(&ticket)
    }

    /// Whose request it is, as long as it is not answered.
    pub(super) fn holder(&self, ticket: Ticket) -> Option<RouterId> {
        self.open.get(&ticket).copied()
    }

    /// How many requests have been answered.
    pub(super) fn answered(&self) -> u64 {
        self.last - self.open.len() as u64
    }
}
