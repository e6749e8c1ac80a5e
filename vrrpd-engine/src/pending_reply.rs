//! The reply to a client that has requested a change: it is sent when the change was executed.

use vrrpd_common::{Duration, Instant};

use crate::engine::Engine;
use crate::ids::RouterId;
use crate::router::Router;

/// A reply that waits for these routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingReply {
    routers: Vec<RouterId>,
    until: Instant,
}

impl PendingReply {
    /// Maximum time until the reply; the client's timeout is a little longer.
    pub const LIMIT: Duration = Duration::from_secs(2);

    /// The reply to a change of these routers, requested now.
    pub fn begin(now: Instant, routers: Vec<RouterId>) -> Self {
        Self { routers, until: now + Self::LIMIT }
    }

    /// Whether to reply now: no router still executes actions, or the time is up. A router that has left executes none.
    pub fn is_due(&self, now: Instant, engine: &Engine) -> bool {
        let is_busy = |id: &RouterId| engine.router(*id).is_some_and(Router::is_busy);
        now >= self.until || !self.routers.iter().any(is_busy)
    }

    /// When the reply is due at the latest.
    pub const fn until(&self) -> Instant {
        self.until
    }
}
