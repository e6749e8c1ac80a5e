//! What repeating inputs change in a router.

use serde::{Deserialize, Serialize};
use vrrpd_common::router::VirtualRouter;

use super::{Done, NoticeKind, Router};
use crate::mismatch::Mismatches;
use crate::pace::Pace;
use crate::rate_limit::RateLimit;
use crate::sending::Sending;

/// The part of a router that changes with adverts without news and with its own adverts.
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
    /// The present state of a router.
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

    /// Sets the router to this state.
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
