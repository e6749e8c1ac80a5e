//! Rate limits of a router's announcements and logged transitions, for any cause.
//!
//! What exceeds them is delayed, not lost: hosts are always told in the end, and the log states the number of
//! transitions without a line. The state machine damps take-overs; scripts have their own limit.

use serde::{Deserialize, Serialize};
use vrrpd_common::router::Occasion;
use vrrpd_common::{Duration, Instant};

use crate::budget::Budget;
use crate::config::RouterConfig;

/// Burst of logged transitions.
const LINES: u64 = 10;
/// Burst of announcements.
const ANNOUNCEMENTS: u64 = 5;
/// Interval of one more, after the burst.
const EVERY: Duration = Duration::from_secs(1);

/// The rate limits of a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pace {
    lines: Budget,
    /// Number of transitions without a line.
    unsaid: u64,
    announcements: Budget,
    /// The most urgent delayed announcement.
    owed: Option<Occasion>,
}

/// Which addresses are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The virtual addresses, and those of the interface if they share a MAC address. [`Occasion::Elsewhere`]: only the
    /// virtual addresses on other interfaces.
    All(Occasion),
    /// The addresses of the interface, whose own MAC address was restored.
    Own,
}

impl Announced {
    /// The occasion, which determines count and urgency.
    pub const fn occasion(self) -> Occasion {
        match self {
            Self::All(occasion) => occasion,
            Self::Own => Occasion::TakeOver,
        }
    }
}

/// Delayed actions that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// Number of transitions to sum up in a line; 0: no line.
    pub unsaid: u64,
    /// Announce the addresses, on this occasion.
    pub announces: Option<Occasion>,
}

impl Pace {
    /// With all limits unused.
    pub fn new(config: &RouterConfig) -> Self {
        // Announcements that the user configured are not limited.
        let times = &config.announce.times;
        let asked_for = [times.refresh_every, times.elsewhere_every, times.after_lower];
        let asked_for = asked_for.into_iter().flatten().min().unwrap_or(EVERY);
        Self {
            lines: Budget::new(LINES, EVERY),
            unsaid: 0,
            announcements: Budget::new(ANNOUNCEMENTS, EVERY.min(asked_for)),
            owed: None,
        }
    }

    /// Whether the addresses may be announced now; otherwise the announcement is delayed.
    pub fn announce(&mut self, now: Instant, occasion: Occasion) -> bool {
        let may = self.owed.is_none() && self.announcements.take(now);
        if !may {
            self.owed = self.owed.max(Some(occasion));
        }
        may
    }

    /// Whether a transition may be logged now; otherwise it is counted.
    pub fn say_transition(&mut self, now: Instant) -> bool {
        let may = self.unsaid == 0 && self.lines.take(now);
        self.unsaid += u64::from(!may);
        may
    }

    /// When a delayed action is due.
    pub fn due_at(&self) -> Option<Instant> {
        let line = (self.unsaid > 0).then(|| self.lines.next_at());
        line.into_iter().chain(self.owed.map(|_| self.announcements.next_at())).min()
    }

    /// Takes the delayed actions that are due now.
    pub fn catch_up(&mut self, now: Instant) -> CaughtUp {
        let says = self.unsaid > 0 && self.lines.take(now);
        let Self { owed, announcements, .. } = self;
        let announces = owed.take_if(|_| announcements.take(now));
        CaughtUp { unsaid: if says { std::mem::take(&mut self.unsaid) } else { 0 }, announces }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::router;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1000) + Duration::from_millis(millis)
    }

    #[test]
    fn announcements_beyond_the_limit_are_delayed_and_merged_into_the_most_urgent() {
        let mut pace = Pace::new(&router("192.0.2.100"));
        let mut occasions =
            [Occasion::LowerMaster, Occasion::TakeOver, Occasion::Refresh].into_iter().cycle();
        let announced: Vec<_> =
            occasions.by_ref().take(8).map(|occasion| pace.announce(at(0), occasion)).collect();
        assert_eq!(announced, [true, true, true, true, true, false, false, false]);
        assert_eq!(pace.due_at(), Some(at(1000)));
        assert_eq!(pace.catch_up(at(999)), CaughtUp { unsaid: 0, announces: None });
        assert_eq!(pace.catch_up(at(1000)), CaughtUp { unsaid: 0, announces: Some(Occasion::TakeOver) });
        assert_eq!(pace.due_at(), None);
    }

    #[test]
    fn transitions_beyond_the_limit_are_summed_up_in_one_line() {
        let mut pace = Pace::new(&router("192.0.2.100"));
        let said = (0..100).filter(|_| pace.say_transition(at(0))).count();
        assert_eq!(said, 10);
        assert!(!pace.say_transition(at(1500)), "those that were not said come first");
        assert_eq!(pace.catch_up(at(1500)), CaughtUp { unsaid: 91, announces: None });
        assert!(pace.say_transition(at(2500)));
    }
}
