//! Clients that requested a change and wait for the reply.

use tokio::sync::oneshot;
use vrrpd_common::Instant;
use vrrpd_engine::Engine;
use vrrpd_engine::pending_reply::PendingReply;

use crate::control::{Reply, Selector};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Change>);

/// A client that requested a change.
#[derive(Debug)]
pub(super) struct Change {
    /// The routers that the reply is about.
    pub(super) selector: Selector,
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) pending: PendingReply,
}

impl Changes {
    pub(super) fn add(&mut self, change: Change) {
        self.0.push(change);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out those whose reply is due.
    pub(super) fn take_due(&mut self, now: Instant, engine: &Engine) -> Vec<Change> {
        self.0.extract_if(.., |change| change.pending.is_due(now, engine)).collect()
    }

    /// When the next reply is due at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|change| change.pending.until()).min()
    }
}
