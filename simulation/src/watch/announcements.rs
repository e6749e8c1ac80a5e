//! How often a router announces its addresses, as the watch sees it: by rules of its own, looser than those of the router.

use std::collections::VecDeque;

/// Announcements that may come at once.
const AT_ONCE: usize = 5;
/// Then one comes this often.
const EVERY: u64 = 1_000_000_000;
/// How much sooner or later it may be.
const SLACK: u64 = 1_000_000_000;

/// The announcements of a router since it began, by its machine's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    last: VecDeque<u64>,
}

impl Announcements {
    /// It announces its addresses.
    pub(super) fn announces(&mut self, at: u64) -> Result<(), &'static str> {
        self.last.push_back(at);
        if self.last.len() > 2 * AT_ONCE {
            self.last.pop_front();
        }
        // As many at once as there may be, and as many again in that time.
        let within = AT_ONCE as u64 * EVERY - SLACK;
        let is_full = self.last.len() == 2 * AT_ONCE;
        let is_fast = self.last.front().is_some_and(|first| at.saturating_sub(*first) < within);
        if is_full && is_fast { Err("announces its addresses too often") } else { Ok(()) }
    }
}
