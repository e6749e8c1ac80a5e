//! What changes of a router while nothing happens to it.

use serde::{Deserialize, Serialize};
use vrrpd_common::router::VirtualRouter;

use super::{Done, NoticeKind, Router};
use crate::mismatch::Mismatches;
use crate::pace::Pace;
use crate::rate_limit::RateLimit;
use crate::sending::Sending;

/// What adverts that say nothing new, and its own adverts, change of a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SteadyState {
    machine: VirtualRouter,
    mismatches: Mismatches,
    notices: RateLimit<NoticeKind>,
    sending: Sending,
    pace: Pace,
    done: Done,
}

impl SteadyState {
    /// As it is now.
    pub fn of(router: &Router) -> Self {
        Self {
            machine: router.machine,
            mismatches: router.mismatches.clone(),
            notices: router.notices.clone(),
            sending: router.sending.clone(),
            pace: router.pace.clone(),
            done: router.done,
        }
    }

    /// Makes the router like this.
    pub fn put(self, router: &mut Router) {
        let Self { machine, mismatches, notices, sending, pace, done } = self;
        (router.machine, router.mismatches, router.notices) = (machine, mismatches, notices);
        (router.sending, router.pace, router.done) = (sending, pace, done);
    }

    /// The state machine.
    pub const fn machine(&self) -> &VirtualRouter {
        &self.machine
    }
}
