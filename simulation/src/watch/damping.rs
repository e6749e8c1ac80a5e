//! Limits for take-overs of a router, checked by separate rules that are looser than the router's own.
//!
//! Times are those of the router's machine, whose clock may stop.

use std::collections::VecDeque;

/// Take-overs that may come at once.
const FREE: usize = 3;
const SECOND: u64 = 1_000_000_000;
/// After this time without a take-over, earlier ones do not count.
const FORGOTTEN: u64 = 60 * SECOND;
/// Maximum time for which a take-over is held.
const MAX_HOLD: u64 = 10 * SECOND;
/// Maximum number of take-overs in ten seconds, however they are provoked.
const IN_TEN_SECONDS: usize = 17;

/// The take-overs of a router since it started, was told to resume or was given a higher priority.
#[derive(Clone, Debug, Default)]
pub(crate) struct TakeOvers {
    last: VecDeque<u64>,
}

impl TakeOvers {
    /// The router starts, is told to resume, or gets a higher priority.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The router takes over.
    pub(crate) fn take_over(&mut self, at: u64) -> Result<(), &'static str> {
        let since = self.last.back().map(|last| at.saturating_sub(*last));
        if since.is_some_and(|since| since >= FORGOTTEN) {
            self.last.clear();
        }
        let counts = self.last.len() >= FREE;
        if counts && since.is_some_and(|since| since < SECOND / 3) {
            return Err("takes over a fourth time within a third of a second");
        }
        self.last.push_back(at);
        let lately = self.last.iter().filter(|last| at.saturating_sub(**last) < 10 * SECOND).count();
        if self.last.len() > 2 * IN_TEN_SECONDS {
            self.last.pop_front();
        }
        if counts && lately > IN_TEN_SECONDS { Err("takes over too often in ten seconds") } else { Ok(()) }
    }

    /// Its take-over is held at this time.
    pub(crate) fn held(&self, at: u64) -> Result<(), &'static str> {
        let since = self.last.back().map(|last| at.saturating_sub(*last));
        match since {
            _ if self.last.len() < FREE => Err("is held although it has not taken over three times"),
            Some(since) if since <= MAX_HOLD => Ok(()),
            Some(_) | None => Err("is held for longer than ten seconds"),
        }
    }
}
