//! One router at a moment when no work is pending for it.

use serde::{Deserialize, Serialize};
use vrrpd_common::Instant;

use super::input::Now;
use crate::ids::Ticket;
use crate::link::Link;
use crate::router::Router;
use crate::track::Checks;

/// A router with everything that its decisions depend on. It contains no secret. Other routers on the same interface
/// are left out, since they do not affect it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Time of the snapshot.
    pub now: Now,
    pub(super) router: Router,
    pub(super) link: Link,
    pub(super) checks: Checks,
    /// The system stores our mark with addresses.
    pub(super) marks: bool,
    /// When delayed actions are due.
    pub(super) put_off: Option<Instant>,
    /// When it restores what other programs removed.
    pub(super) to_put_back: Option<Instant>,
    /// When it tries again to send.
    pub(super) to_try_sending: Option<Instant>,
    /// The last ticket that the engine has issued.
    pub(super) issued: Ticket,
    /// The router waits for first results of its checks.
    pub(super) to_start: bool,
}

impl Snapshot {
    /// The router.
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// The interface of the router.
    pub const fn link(&self) -> &Link {
        &self.link
    }
}
